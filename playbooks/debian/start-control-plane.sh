# Task: a control plane starts and proves that it serves.
# Parts before it: say.sh service.sh health.sh wait.sh serve.sh
#
# Values
#   NODE_NAME              the node's name, as in the names of its static pods
#   ADVERTISE_ADDRESS      where this kube-apiserver and this etcd member listen, IPv4 or IPv6
#   API_PORT               the kube-apiserver's port; empty: 6443
#   ETCD                   yes: a member runs here as a static pod; no: etcd is elsewhere
#   API_DEADLINE_SECONDS   for everything together
# In place already: PKI, manifests, kubeconfigs, kubelet configuration and unit; the host is prepared.
# Ends with 0, or 20 23 25 26 (README.md).

start_control_plane() {
	require NODE_NAME ADVERTISE_ADDRESS API_DEADLINE_SECONDS
	choice ETCD yes no
	take_lock
	begin "$API_DEADLINE_SECONDS"
	start_kubelet
	control_plane_serves
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
start_control_plane </dev/null
exit
