# Task: a control plane starts and proves that it serves.
# Parts before it: say.sh service.sh health.sh wait.sh
#
# Values
#   NODE_NAME              the node's name, as in the names of its static pods
#   ADVERTISE_ADDRESS      where this kube-apiserver and this etcd member listen, IPv4 or IPv6
#   API_PORT               the kube-apiserver's port; empty: 6443
#   ETCD                   yes: a member runs here as a static pod; no: etcd is elsewhere
#   API_DEADLINE_SECONDS   for everything together
# In place already: PKI, manifests, kubeconfigs, kubelet configuration and unit; the host is prepared.
# Ends with 0, or 20 23 25 26 (README.md).

# show_static_pods: whoever looks at the cluster sees this host's static pods. A kubelet that meets the kube-apiserver in
# its first second registers its node too late, or is refused a pod because its priority class is not made yet; it tries again
# after seconds the one, with the next sync of the pod the other: 12 s late (measured), on one of two hosts. Started again it
# does both at once, and containers run on meanwhile. Where nobody answers, time mends it.
show_static_pods() {
	question 5 --cacert "$PKI/ca.crt" --cert /var/lib/kubelet/pki/kubelet-client-current.pem \
		"https://$(in_url "$ADVERTISE_ADDRESS"):${API_PORT:-6443}/api/v1/namespaces/kube-system/pods?fieldSelector=spec.nodeName%3D$NODE_NAME" || return 0
	for manifest in /etc/kubernetes/manifests/*.yaml; do
		static_pod=${manifest##*/}
		static_pod=${static_pod%.yaml}-$NODE_NAME
		case $BODY in
		*"\"$static_pod\""*) ;;
		*)
			say "kubelet: starting again, since the API does not show $static_pod yet"
			systemctl restart kubelet 2>/dev/null || :
			return 0
			;;
		esac
	done
}

start_control_plane() {
	require NODE_NAME ADVERTISE_ADDRESS API_DEADLINE_SECONDS
	choice ETCD yes no
	take_lock
	begin "$API_DEADLINE_SECONDS"
	start_kubelet
	# Without its etcd a kube-apiserver cannot be ready, so this order shows what is in the way.
	[ "$ETCD" = no ] || wait_for etcd etcd ask_etcd
	wait_for kube-apiserver kube-apiserver ask_api "$ADVERTISE_ADDRESS"
	show_static_pods
	wait_for kube-controller-manager kube-controller-manager ask_controller_manager
	wait_for kube-scheduler kube-scheduler ask_scheduler
	say "control plane healthy after $(since "$BEGAN")"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
start_control_plane </dev/null
exit
