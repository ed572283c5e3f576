# Task: tells what runs on a node now: its boot, its kernel, its containers.
#
# Values
#   CRI_SOCKET    such as unix:///run/containerd/containerd.sock
# Prints `boot ID`, `kernel RELEASE` and `container ID` for each that runs. Changes nothing.
# Ends with 0; 98 where the runtime does not answer (yet).
read -r boot </proc/sys/kernel/random/boot_id || exit 98
containers=$(crictl --runtime-endpoint "$CRI_SOCKET" ps --quiet --state running 2>&1) || {
	echo "the container runtime does not answer: $(printf '%s\n' "$containers" | tail -n 1)" >&2
	exit 98
}
echo "boot $boot"
echo "kernel $(uname -r)"
for container in $containers; do echo "container $container"; done
