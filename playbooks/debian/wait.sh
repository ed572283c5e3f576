# Part: waiting for health, telling what is waited for, and why it did not come. Needs say.sh, service.sh and
# health.sh; value NODE_NAME.
#
# Before the API serves there is nothing to watch, so these loops ask again every quarter of a second, up to one
# deadline for the whole task.

# begin SECONDS: the clock of the task starts.
begin() {
	now
	BEGAN=$NOW
	PATIENCE=$1
	DEADLINE=$((NOW + $1 * 100))
	NEXT_WATCH=$((NOW + 300))
}

# kubelet_print: prints one digest of everything the kubelet reads only when it starts.
kubelet_print() {
	kubelet_binary=$(command -v kubelet)
	{
		find /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env /var/lib/kubelet/instance-config.yaml \
			/etc/default/kubelet /etc/kubernetes/kubelet.conf /etc/kubernetes/pki/ca.crt \
			/etc/systemd/system/kubelet.service /etc/systemd/system/kubelet.service.d \
			-type f -exec sha256sum {} + 2>/dev/null | sort
		stat -L -c '%n %s %Y' "${kubelet_binary:-kubelet}" 2>/dev/null
	} | sha256sum | cut -d ' ' -f 1
}

# start_kubelet: it runs with the files that are on disk.
start_kubelet() {
	command -v kubelet >/dev/null ||
		fail service_failed "There is no kubelet binary on this host, so the step \"prepare\" was not done here or its result was removed. Run kubewright again; it repeats that step."
	run_unit kubelet "$(kubelet_print)"
	follow_kubelet
}

# follow_kubelet: from here on each time that it ends by itself counts.
follow_kubelet() {
	kubelet_restarts
	KUBELET_RESTARTS=$RESTARTS
	KUBELET_SAID=$RESTARTS
}

# kubelet_restarts: sets RESTARTS to how often systemd had to start it again by itself.
kubelet_restarts() {
	RESTARTS=$(systemctl show kubelet --property NRestarts --value 2>/dev/null)
	RESTARTS=${RESTARTS:-0}
}

# watch CONTAINER: every three seconds, whether what is waited for goes wrong by itself.
watch() {
	[ "$NOW" -ge "$NEXT_WATCH" ] || return 0
	NEXT_WATCH=$((NOW + 300))
	watch_kubelet
	watch_container "$1"
}

# watch_kubelet: a kubelet that ends again and again will not come up by waiting longer.
watch_kubelet() {
	kubelet_restarts
	if [ "$RESTARTS" -gt "$KUBELET_SAID" ]; then
		KUBELET_SAID=$RESTARTS
		say "kubelet: ended and was started again ($((RESTARTS - KUBELET_RESTARTS)))"
	fi
	[ $((RESTARTS - KUBELET_RESTARTS)) -ge 3 ] || systemctl is-failed --quiet kubelet || return 0
	complain "The kubelet ends each time it is started. Its last words:"
	journal kubelet
	fail service_failed "Look for the cause in the lines above ('journalctl -u kubelet' on this host has more), mend it, then run again."
}

# newest_log CONTAINER: prints the log file of its latest start on this node, nothing when there is none. The
# kubelet's files, since they can be read when neither the kubelet nor the CRI answers.
newest_log() {
	# shellcheck disable=SC2012 # the kubelet makes these names, and only ls sorts by time
	ls -t "/var/log/pods/kube-system_$1-$NODE_NAME"_*/"$1"/*.log 2>/dev/null | head -n 1
}

# watch_container NAME: says so when it ended and was started again. Another pod's log (a changed manifest) is none
# of that.
watch_container() {
	log=$(newest_log "$1")
	if [ -n "$CONTAINER_LOG" ] && [ "$log" != "$CONTAINER_LOG" ] && [ "${log%/*}" = "${CONTAINER_LOG%/*}" ]; then
		say "$1: ended and was started again; its last words: $(container_words "$CONTAINER_LOG" 1)"
	fi
	CONTAINER_LOG=$log
}

# container_words FILE COUNT: its last words without the CRI's columns, and without the stack that a program prints below the line that says
# what it died of.
container_words() {
	tail -n 200 "$1" 2>/dev/null | sed 's/^[^ ]* std[a-z]* [FP] //' |
		sed -E '/"level":"(panic|fatal)"|^panic: |^fatal error: |^F[0-9]{4} /q' | telling "$2"
}

# wait_for NAME CONTAINER COMMAND...: until the command succeeds. A line only when the reason changes.
wait_for() {
	what=$1
	container=$2
	shift 2
	waited_for=
	CONTAINER_LOG=$(newest_log "$container")
	until "$@"; do
		now
		[ "$ANSWER" = "$waited_for" ] || say "$what: waiting: $ANSWER"
		waited_for=$ANSWER
		[ "$NOW" -lt "$DEADLINE" ] || gave_up "$what" "$container"
		watch "$container"
		sleep 0.25
	done
	say "$what: healthy after $(since "$BEGAN")"
}

# gave_up NAME CONTAINER: what an operator wants to read first.
gave_up() {
	complain "$1 on $NODE_NAME did not become healthy within $PATIENCE s (last answer: $ANSWER)."
	log=$(newest_log "$2")
	if [ -n "$log" ]; then
		complain "Last lines of its container ($log):"
		container_words "$log" 15 | sed 's/^/  /' >&2
	elif [ "$2" != kubelet ]; then
		complain "Its container was never started; the kubelet knows why (image missing, containerd not ready, manifest not accepted)."
	fi
	complain "Last lines of the kubelet:"
	journal kubelet
	fail timed_out "Nothing was undone and the host goes on trying. Mend what the lines above name, then run again: finished parts are not repeated."
}
