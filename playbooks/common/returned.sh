# Task: tells what runs on a node now: its boot, its kernel, its containers, and whether kube-proxy has
# written its rules.
#
# Values
#   CRI_SOCKET    such as unix:///run/containerd/containerd.sock
#   KUBE_PROXY    where kube-proxy serves its metrics, such as 127.0.0.1:10249; empty: it is not asked
# Prints `boot ID`, `kernel RELEASE`, `container ID` for each that runs, and `proxy written`, `proxy pending` or, where it does
# not answer, `proxy silent`. Changes nothing.
# Ends with 0; 98 where the runtime does not answer (yet).
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

running() {
	crictl --runtime-endpoint "$CRI_SOCKET" ps --quiet --state running
}

read -r boot </proc/sys/kernel/random/boot_id || exit 98
# Its warnings are none of its answer.
containers=$(running 2>/dev/null) || {
	echo "the container runtime does not answer: $(running 2>&1 | tail -n 1)" >&2
	exit 98
}
echo "boot $boot"
echo "kernel $(uname -r)"
for container in $containers; do echo "container $container"; done
[ -z "$KUBE_PROXY" ] || {
	# Its /healthz says 200 from its start, rules or none. One family of addresses is enough: it may be without the other.
	# Nobody's proxy or ~/.curlrc has a say in what this host hears from itself.
	curl --disable --noproxy '*' --silent --fail --max-time 3 "http://$KUBE_PROXY/metrics" 2>/dev/null |
		awk '/^kubeproxy_sync_proxy_rules_last_timestamp_seconds/ { if ($NF > 0) written = 1 }
			END { print "proxy " (written ? "written" : NR ? "pending" : "silent") }'
}
