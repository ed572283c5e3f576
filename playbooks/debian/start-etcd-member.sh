# Task: a host's etcd starts as a member that was added before, with a vote or without.
# Parts before it: say.sh service.sh health.sh wait.sh
#
# Values
#   NODE_NAME           the node's name, as in the names of its static pods
#   ADVERTISE_ADDRESS   where this etcd member listens, IPv4 or IPv6
#   DEADLINE_SECONDS    for everything together
# In place already: PKI, etcd's manifest and no other, kubeconfigs, kubelet configuration and unit; the host is prepared.
# Ends with 0, or 20 23 25 26 (README.md).

start_etcd_member() {
	require NODE_NAME ADVERTISE_ADDRESS DEADLINE_SECONDS
	take_lock
	begin "$DEADLINE_SECONDS"
	start_kubelet
	wait_for etcd etcd ask_etcd_alive
	say "etcd runs after $(since "$BEGAN")"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
start_etcd_member </dev/null
exit
