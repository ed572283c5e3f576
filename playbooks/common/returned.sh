# Task: tells what runs on a node now: its boot, its kernel, its containers.
#
# Values
#   CRI_SOCKET    such as unix:///run/containerd/containerd.sock
# Prints `boot ID`, `kernel RELEASE` and `container ID` for each that runs. Changes nothing.
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
