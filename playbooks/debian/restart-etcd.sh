# Task: this host's etcd ends, and the kubelet starts the next one, which serves.
# Parts before it: say.sh service.sh health.sh wait.sh static-pods.sh etcd.sh
#
# Values
#   NODE_NAME           the node's name, as in the names of its static pods
#   ADVERTISE_ADDRESS   where this etcd member listens, IPv4 or IPv6
#   CRI_SOCKET          such as unix:///run/containerd/containerd.sock
#   OPERATION STEP      whose restart it is
#   DEADLINE_SECONDS    for everything together
# Which container ran before is written down first, once: whoever comes again ends no other one.
# Ends with 0, or 20 23 25 26 (README.md).

# What etcd gets to end in: the grace of its static pod. It needs less than a second.
GRACE_SECONDS=30

# What a kube-apiserver without its etcd gets: it can answer nobody.
SERVER_SECONDS=2

# note_container: sets BEFORE to the container that is to end, "none" where none ran.
note_container() {
	folder=$STATE/ops/$OPERATION
	record=$folder/$STEP.container
	if [ -f "$record" ]; then
		read -r BEFORE <"$record"
		return
	fi
	BEFORE=$(etcd_container) || exit
	BEFORE=${BEFORE:-none}
	{ mkdir -p "$folder" && chmod 0700 "$folder" && echo "$BEFORE" | write_file "$record" 0600; } ||
		fail disk_full "Cannot write $record. etcd was not touched. Look at 'df /var/lib' on this host, then run again."
}

end_container() {
	end_running=$(etcd_container) || exit
	if [ "$end_running" = "$BEFORE" ]; then
		say "etcd: ending"
		end_words=$(cri stop --timeout $GRACE_SECONDS "$BEFORE") ||
			fail service_failed "etcd's container does not end: $(printf '%s\n' "$end_words" | plain | tail -n 1). See 'crictl ps' on this host, then run again."
	elif [ -z "$end_running" ]; then
		# One that ended again and again is started again only after minutes; a kubelet that starts has forgotten that. But a kubelet
		# asks its own kube-apiserver first, which answers nothing without etcd: 60 to 120 s, measured; 3 s where nothing listens.
		say "etcd: does not run; kube-apiserver ends, for it would keep the kubelet waiting, and the kubelet starts both"
		end_static_pod kube-apiserver $SERVER_SECONDS
		systemctl restart kubelet 2>/dev/null ||
			fail service_failed "The kubelet does not start. See 'journalctl -u kubelet' on this host, then run again."
	else
		say "etcd: was ended before"
	fi
}

restart_etcd() {
	# shellcheck disable=SC2034 # for etcd.sh
	SAFE='Nothing was ended.'
	require NODE_NAME ADVERTISE_ADDRESS CRI_SOCKET OPERATION STEP DEADLINE_SECONDS
	[ -f /etc/kubernetes/manifests/etcd.yaml ] ||
		fail service_failed "There is no /etc/kubernetes/manifests/etcd.yaml on this host, so the kubelet would start no etcd. Nothing was ended."
	take_lock
	begin "$DEADLINE_SECONDS"
	note_container
	end_container
	follow_kubelet
	wait_for etcd etcd ask_etcd
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
restart_etcd </dev/null
exit
