# Part: refuses to work for a run that another one has overtaken. Every text that changes something stands after it.
#
# Values
#   FENCE         our number
# Ends with 97 and `kubewright-fenced SEEN` on standard error where the host has seen a higher one.
#
# The lock is kept, shared, on descriptor 8 until the script ends: a takeover (fence.sh, exclusive) waits for what
# runs, and what starts after it is refused.
FENCE_DIR=/var/lib/kubewright

fence_number() {
	fence_seen=0
	if [ -f "$FENCE_DIR/fence" ]; then
		IFS= read -r fence_seen <"$FENCE_DIR/fence" || :
	fi
	case $fence_seen in
	'' | *[!0-9]*)
		echo "$FENCE_DIR/fence holds no number. It tells which run may change this host: look at it before you remove it." >&2
		exit 98
		;;
	esac
}

fence_refuse() {
	echo "kubewright-fenced $fence_seen" >&2
	exit 97
}

# The number rises on a host that could not be reached when the lock was taken.
fence_raise() {
	flock -w 30 8 || fence_busy
	fence_number
	[ "$fence_seen" -le "$FENCE" ] || fence_refuse
	if [ "$fence_seen" -lt "$FENCE" ]; then
		printf '%s\n' "$FENCE" >"$FENCE_DIR/fence.new" && sync "$FENCE_DIR/fence.new" &&
			mv -f "$FENCE_DIR/fence.new" "$FENCE_DIR/fence" && sync "$FENCE_DIR" || exit 98
	fi
}

fence_busy() {
	echo "another run has been changing the lock of this host ($FENCE_DIR/fence.lock) for more than 30 s" >&2
	exit 98
}

if [ ! -d "$FENCE_DIR" ]; then
	mkdir -p "$FENCE_DIR" && chmod 0700 "$FENCE_DIR" || exit 98
fi
exec 8>>"$FENCE_DIR/fence.lock"
while :; do
	flock -s -w 30 8 || fence_busy
	fence_number
	[ "$fence_seen" -le "$FENCE" ] || fence_refuse
	[ "$fence_seen" -lt "$FENCE" ] || break
	fence_raise
done
