# Task: this host's etcd ends, and with it the static pods that cannot serve without it. Everything else goes on.
# Parts before it: say.sh service.sh health.sh wait.sh etcd.sh
#
# Values
#   CRI_SOCKET   such as unix:///run/containerd/containerd.sock
#   OPERATION    whose work it is
# Manifests are kept in /var/lib/kubewright/aside/OPERATION, etcd's data beside its place under a dated name. The kubelet runs in the
# end, without these pods: an etcd that starts without data where it had some could vote twice.
# Ends with 0, or 20 23 25 26 (README.md).

# A kube-apiserver ends before its etcd does, or requests would fail that it still takes.
STATIC_PODS='kube-apiserver kube-controller-manager kube-scheduler etcd'

# What a container gets to end in. etcd needs less than a second.
END_SECONDS=5

stop_kubelet() {
	systemctl stop kubelet 2>/dev/null
	! systemctl is-active --quiet kubelet ||
		fail service_failed "The kubelet does not stop. See 'systemctl status kubelet' on this host, then run again; nothing was ended or moved."
}

# keep_manifests: out of the kubelet's sight before anything ends, so that no kubelet starts it again.
keep_manifests() {
	aside=$STATE/aside/$OPERATION
	{ mkdir -p "$aside" && chmod 0700 "$STATE/aside" "$aside"; } ||
		fail disk_full "Cannot make $aside. Nothing was ended or moved. Look at 'df /var/lib' on this host, then run again."
	for pod in $STATIC_PODS; do
		[ -f "/etc/kubernetes/manifests/$pod.yaml" ] || continue
		{ cp -p "/etc/kubernetes/manifests/$pod.yaml" "$aside/$pod.yaml.new" && place "$aside/$pod.yaml.new" "$aside/$pod.yaml" &&
			rm -f "/etc/kubernetes/manifests/$pod.yaml"; } ||
			fail disk_full "The manifest of $pod could not be moved to $aside. Look at 'df /var/lib /etc' on this host, then run again."
		say "$pod: its manifest is kept in $aside"
	done
	sync /etc/kubernetes/manifests
}

cri() {
	timeout 60 crictl --runtime-endpoint "$CRI_SOCKET" "$@" 2>&1
}

# ids_of COMMAND LABEL...: prints ids of the pods or containers with these labels.
ids_of() {
	ids_command=$1
	shift
	ids_said=$(cri "$ids_command" --quiet --no-trunc "$@") ||
		fail service_failed "containerd does not tell what runs: $(printf '%s\n' "$ids_said" | plain | tail -n 1). etcd's data is untouched, and the kubelet stays stopped until then. See 'systemctl status containerd' on this host, then run again."
	printf '%s\n' "$ids_said" | grep -xE '[0-9a-f]{64}'
	return 0
}

end_pod() {
	containers=$(ids_of ps --label "io.kubernetes.container.name=$1" --label io.kubernetes.pod.namespace=kube-system) || exit
	for container in $containers; do cri stop --timeout $END_SECONDS "$container" >/dev/null; done
	pods=$(ids_of pods --namespace kube-system --label "component=$1") || exit
	for pod_id in $pods; do
		pod_words=$(cri rmp --force "$pod_id") ||
			fail service_failed "The pod of $1 does not end: $(printf '%s\n' "$pod_words" | plain | tail -n 1). etcd's data is untouched. See 'crictl pods' on this host, then run again."
	done
	[ -z "$pods" ] || say "$1: ended"
}

set_etcd_aside() {
	require CRI_SOCKET OPERATION
	take_lock
	stop_kubelet
	keep_manifests
	for static_pod in $STATIC_PODS; do end_pod "$static_pod"; done
	keep_etcd
	start_kubelet
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
set_etcd_aside </dev/null
exit
