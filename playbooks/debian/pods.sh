# Part: ends every pod of a host. Needs say.sh and runtime.sh (ctr_here); value CRI_SOCKET. The kubelet is stopped
# before, or it would start them again.

PODS_GRACE_SECONDS=5

# end_pods: containers get a moment to end by themselves (etcd above all), then all pods are removed through the CRI,
# which also takes them off the network. What it cannot remove is removed behind its back.
end_pods() {
	if ! command -v ctr >/dev/null || ! systemctl start containerd 2>/dev/null; then
		# Containers live on without containerd, each with a shim of its own.
		pgrep -x containerd-shim >/dev/null || return 0
		fail service_failed "Containers run on this host, but containerd does not start and so they cannot be ended; nothing was removed. See 'journalctl -u containerd' on this host, then run again."
	fi
	let_containers_end
	pods_count=$(ctr_here containers ls --quiet 2>/dev/null | wc -l)
	if command -v crictl >/dev/null; then
		# shellcheck disable=SC2046 # many ids
		set -- $(crictl --runtime-endpoint "$CRI_SOCKET" pods --quiet 2>/dev/null)
		[ $# -eq 0 ] || timeout 60 crictl --runtime-endpoint "$CRI_SOCKET" rmp --force "$@" >/dev/null 2>&1
	fi
	remove_leftovers
	pods_left=$(ctr_here containers ls --quiet 2>/dev/null)
	[ -z "$pods_left" ] ||
		fail service_failed "These containers could not be ended: $(echo "$pods_left" | tr '\n' ' ')- see 'ctr -n k8s.io tasks ls' on this host, then run again; etcd's data and Kubernetes' files are untouched."
	[ "$pods_count" -eq 0 ] || say "pods: $pods_count containers ended"
}

# containers_with LABEL VALUE: prints the ids.
containers_with() {
	ctr_here containers ls --quiet "labels.\"$1\"==$2" 2>/dev/null
}

# let_containers_end: SIGTERM to all but the pods' own containers (pause), which hold the network meanwhile.
let_containers_end() {
	sandboxes=$(containers_with io.cri-containerd.kind sandbox)
	ending=$(running_tasks | grep -vxF "${sandboxes:-none}")
	# A kube-apiserver would serve its open connections for half a minute more, to nobody's use.
	for task in $(containers_with io.kubernetes.container.name kube-apiserver); do
		ctr_here tasks kill --signal SIGKILL "$task" 2>/dev/null
	done
	for task in $ending; do ctr_here tasks kill --signal SIGTERM "$task" 2>/dev/null; done
	now
	ended_by=$((NOW + PODS_GRACE_SECONDS * 100))
	# Following containerd's events would take a process that outlives this wait.
	while [ -n "$ending" ]; do
		still=$(running_tasks)
		ending=$(printf '%s\n' "$ending" | grep -xF "${still:-none}")
		now
		[ "$NOW" -lt $ended_by ] || break
		[ -z "$ending" ] || sleep 0.25
	done
}

running_tasks() {
	ctr_here tasks ls 2>/dev/null | awk 'NR > 1 && $3 == "RUNNING" { print $1 }'
}

# remove_leftovers: what is there without a CRI that could remove it.
remove_leftovers() {
	leftovers=0
	for container in $(ctr_here containers ls --quiet 2>/dev/null); do
		ctr_here tasks delete --force "$container" >/dev/null 2>&1
		ctr_here containers delete "$container" >/dev/null 2>&1
		leftovers=$((leftovers + 1))
	done
	for sandbox in $(ctr_here sandboxes ls 2>/dev/null | awk 'NR > 1 { print $1 }'); do
		ctr_here sandboxes rm --force "$sandbox" >/dev/null 2>&1
		leftovers=$((leftovers + 1))
	done
	# The CRI keeps what it knows in memory; without a restart it would show these pods still.
	[ $leftovers -eq 0 ] || systemctl restart containerd
}
