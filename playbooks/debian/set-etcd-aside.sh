# Task: this host's etcd ends, and with it the static pods that cannot serve without it. Everything else goes on.
# Parts before it: say.sh service.sh health.sh wait.sh static-pods.sh etcd.sh
#
# Values
#   NODE_NAME    the node's name, as in the names of its static pods
#   CRI_SOCKET   such as unix:///run/containerd/containerd.sock
#   OPERATION    whose work it is
# Manifests are kept in /var/lib/kubewright/aside/OPERATION, etcd's data beside its place under a dated name. The kubelet runs in the
# end, without these pods, and runs again wherever this stops: an etcd that starts without data where it had some could vote twice, but
# data moves only once nothing can start it any more.
# Ends with 0, or 20 23 25 26 (README.md).

# A kube-apiserver ends before its etcd does, or requests would fail that it still takes.
STATIC_PODS='kube-apiserver kube-controller-manager kube-scheduler etcd'

# What a container gets to end in. etcd needs less than a second.
END_SECONDS=5

make_aside() {
	aside=$STATE/aside/$OPERATION
	{ mkdir -p "$aside" && chmod 0700 "$STATE/aside" "$aside"; } ||
		fail disk_full "Cannot make $aside. Nothing was ended or moved, and the kubelet was left alone. Look at 'df /var/lib' on this host, then run again."
}

stop_kubelet() {
	trap leave_kubelet_running EXIT
	systemctl stop kubelet 2>/dev/null
	! systemctl is-active --quiet kubelet ||
		fail service_failed "The kubelet does not stop. See 'systemctl status kubelet' on this host, then run again; nothing was ended or moved."
}

# leave_kubelet_running: whatever ended this task before its end, the host's other pods need their kubelet. It starts nothing whose
# manifest has moved.
# shellcheck disable=SC2317 # a trap calls it
leave_kubelet_running() {
	left_with=$?
	trap - EXIT
	if systemctl start kubelet 2>/dev/null; then
		complain "The kubelet runs again; manifests that have moved already are in $aside."
	else
		complain "The kubelet is stopped and does not start: see 'journalctl -u kubelet' on this host. Manifests that have moved already are in $aside."
	fi
	exit "$left_with"
}

# keep_manifests: out of the kubelet's sight before anything ends, so that no kubelet starts it again.
keep_manifests() {
	for pod in $STATIC_PODS; do
		[ -f "/etc/kubernetes/manifests/$pod.yaml" ] || continue
		{ cp -p "/etc/kubernetes/manifests/$pod.yaml" "$aside/$pod.yaml.new" && place "$aside/$pod.yaml.new" "$aside/$pod.yaml" &&
			rm -f "/etc/kubernetes/manifests/$pod.yaml"; } ||
			fail disk_full "The manifest of $pod could not be moved to $aside; no pod was ended. Look at 'df /var/lib /etc' on this host, then run again."
		say "$pod: its manifest is kept in $aside"
	done
	sync /etc/kubernetes/manifests
}

end_pod() {
	containers=$(ids_of_pod ps "$1") || exit
	for container in $containers; do cri stop --timeout $END_SECONDS "$container" >/dev/null; done
	pods=$(ids_of_pod pods "$1") || exit
	for pod_id in $pods; do
		pod_words=$(cri rmp --force "$pod_id") ||
			fail service_failed "The pod of $1 does not end: $(printf '%s\n' "$pod_words" | plain | tail -n 1). $SAFE See 'crictl pods' on this host, then run again."
	done
	[ -z "$pods" ] || say "$1: ended"
}

set_etcd_aside() {
	SAFE="etcd's data is untouched."
	require NODE_NAME CRI_SOCKET OPERATION
	take_lock
	make_aside
	stop_kubelet
	keep_manifests
	for static_pod in $STATIC_PODS; do end_pod "$static_pod"; done
	no_etcd_runs
	keep_etcd
	trap - EXIT
	start_kubelet
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
set_etcd_aside </dev/null
exit
