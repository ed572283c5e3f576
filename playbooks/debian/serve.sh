# Part: what runs on this host proves that it serves. Needs say.sh, service.sh, health.sh and wait.sh, whose clock runs; values
# NODE_NAME, API_PORT (empty: 6443), for a control plane ADVERTISE_ADDRESS and ETCD, for a worker NODE_LOCAL.

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

# etcd_serves: waits for it, where this host has one. Without its etcd a kube-apiserver cannot be ready, so this order shows what is in
# the way.
etcd_serves() {
	[ "$ETCD" = no ] || wait_for etcd etcd ask_etcd
}

# servers_serve: waits for the rest of a control plane.
servers_serve() {
	wait_for kube-apiserver kube-apiserver ask_api "$ADVERTISE_ADDRESS"
	show_static_pods
	wait_for kube-controller-manager kube-controller-manager ask_controller_manager
	wait_for kube-scheduler kube-scheduler ask_scheduler
	say "control plane healthy after $(since "$BEGAN")"
}

# control_plane_serves: waits for all of it.
control_plane_serves() {
	etcd_serves
	servers_serve
}

# worker_serves: waits for its kubelet and its way to the API.
worker_serves() {
	wait_for kubelet kubelet ask_kubelet
	[ "$NODE_LOCAL" = no ] || wait_for "API through the local proxy" kube-apiserver-proxy ask_api 127.0.0.1
	say "worker healthy after $(since "$BEGAN")"
}
