# Task: a worker starts its kubelet and reaches the API.
# Parts before it: say.sh service.sh health.sh wait.sh serve.sh
#
# Values
#   NODE_NAME          the node's name, as in the names of its static pods
#   NODE_LOCAL         yes: the proxy to the API servers runs here as a static pod on 127.0.0.1; no: it does not
#   API_PORT           the proxy's port; empty: 6443
#   DEADLINE_SECONDS   for everything together
# In place already: PKI, manifests, kubeconfig, kubelet configuration and unit; the host is prepared.
# Ends with 0, or 20 23 25 26 (README.md). That the node is registered and Ready is seen at the API, not here.

start_worker() {
	require NODE_NAME DEADLINE_SECONDS
	choice NODE_LOCAL yes no
	take_lock
	begin "$DEADLINE_SECONDS"
	start_kubelet
	worker_serves
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
start_worker </dev/null
exit
