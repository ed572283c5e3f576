# Part: this host's static pods as the runtime shows them, and the end of their containers; a kubelet that runs starts them again. Needs say.sh; values
# CRI_SOCKET and, for pods, NODE_NAME.
#
# SAFE is the task's own sentence: what is untouched where the runtime does not answer.
SAFE=

# cri ARGUMENTS: crictl, with all that it says; for a minute, which is longer than any grace that a container gets here.
cri() {
	timeout 60 crictl --runtime-endpoint "$CRI_SOCKET" "$@" 2>&1
}

# ids_of COMMAND ARGUMENTS: prints the ids of what "ps" or "pods" lists by these labels, the newest first.
ids_of() {
	ids_command=$1
	shift
	ids_said=$(cri "$ids_command" --quiet --no-trunc --label io.kubernetes.pod.namespace=kube-system "$@") ||
		fail service_failed "containerd does not tell what runs: $(printf '%s\n' "$ids_said" | plain | tail -n 1). $SAFE See 'systemctl status containerd' on this host, then run again."
	# crictl lists the newest first, and warns where it likes.
	printf '%s\n' "$ids_said" | grep -xE '[0-9a-f]{64}'
	return 0
}

# ids_of_pod COMMAND NAME ARGUMENTS: the same of one static pod, by the name that its kubelet gives it: labels of a manifest are its
# author's.
ids_of_pod() {
	pod_command=$1
	pod_name=$2-$NODE_NAME
	shift 2
	ids_of "$pod_command" --label "io.kubernetes.pod.name=$pod_name" "$@"
}

# end_static_pod POD SECONDS: its containers end, with so long for each to do it by itself.
end_static_pod() {
	ending=$(ids_of_pod ps "$1" --state running) || exit
	[ -n "$ending" ] || return 0
	now
	end_began=$NOW
	for container in $ending; do
		end_words=$(cri stop --timeout "$2" "$container") ||
			fail service_failed "The container of $1 does not end: $(printf '%s\n' "$end_words" | plain | tail -n 1). $SAFE See 'crictl ps' on this host, then run again."
	done
	say "$1: ended after $(since "$end_began")"
}

# end_static_pods SECONDS POD...: all of these at once.
end_static_pods() {
	end_seconds=$1
	shift
	end_jobs=
	for end_pod in "$@"; do
		(end_static_pod "$end_pod" "$end_seconds") &
		end_jobs="$end_jobs $!"
	done
	end_code=0
	for end_job in $end_jobs; do wait "$end_job" || end_code=$?; done
	return $end_code
}
