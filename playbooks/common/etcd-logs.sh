# The end of what etcd's container logged: LINES of it, of the container before where PREVIOUS is set. Changes nothing.
#
# The newest container of that name is asked, whether it runs or has ended; where the runtime does not answer, the kubelet's own
# files are read, which is what the runtime would print.
#
# Values: LINES, PREVIOUS. Exit: 0 its lines, 3 there is none (standard error says what was seen).
set -u

LOGS=/var/log/pods

newest() {
	which=1
	[ -z "$PREVIOUS" ] || which=2
	# crictl lists the newest first.
	crictl ps --all --name '^etcd$' --quiet 2>/dev/null | sed -n "${which}p"
}

id=$(newest)
if [ -n "$id" ] && crictl logs --tail "$LINES" "$id" 2>&1; then
	exit 0
fi

# Files are named 0.log, 1.log, ... by restart.
files=$(find "$LOGS"/kube-system_etcd-*/etcd -name '*.log' 2>/dev/null | sort -t/ -k7 -n -r)
file=$(printf '%s\n' "$files" | sed -n "$([ -z "$PREVIOUS" ] && echo 1p || echo 2p)")
if [ -n "$file" ]; then
	# TIME STREAM FLAG TEXT
	tail -n "$LINES" "$file" | sed -E 's/^[^ ]+ std(out|err) [FP] //'
	exit 0
fi
echo "crictl lists no container named etcd${PREVIOUS:+ before the one that runs}, and $LOGS has no log of one" >&2
exit 3
