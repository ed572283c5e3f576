# Task: reads or changes the lock of this host: the highest number seen, and who holds it.
#
# Values
#   ACTION        read | take | renew | release
#   FENCE         our number (not for read)
#   HIGHEST       take: the highest number that any host told us
#   HOLDER        take, renew: who we are, JSON on one line
# Prints the record as it stands afterwards: the number, then the holder if there is one. For read also `age SECONDS`,
# how long ago the record was written by this host's own clock; 0 where there is none.
# Ends with 0; 97 where the host has seen a higher number (or, for take, ours from somebody else); 98 when it cannot
# be read or written.
DIR=/var/lib/kubewright

refuse() {
	show
	exit 97
}

show() {
	printf '%s\n' "$number"
	[ -z "$holder" ] || printf '%s\n' "$holder"
}

load() {
	number=0
	holder=
	if [ -f "$DIR/fence" ]; then
		{
			IFS= read -r number
			IFS= read -r holder
		} <"$DIR/fence"
	fi
	case $number in
	'' | *[!0-9]*)
		echo "$DIR/fence holds no number. It tells which run may change this host: look at it before you remove it." >&2
		exit 98
		;;
	esac
}

store() {
	number=$1
	holder=$2
	show >"$DIR/fence.new" && sync "$DIR/fence.new" && mv -f "$DIR/fence.new" "$DIR/fence" && sync "$DIR" && return
	echo "cannot write $DIR/fence: $(df -P "$DIR" | tail -n 1)" >&2
	exit 98
}

if [ "$ACTION" = read ]; then
	load
	show
	# After the record: one that was replaced meanwhile is taken for younger than it is, never for older.
	written=$(stat -c %Y "$DIR/fence" 2>/dev/null) && age=$(($(date +%s) - written)) || age=0
	echo "age $age"
	exit 0
fi

if [ ! -d "$DIR" ]; then
	mkdir -p "$DIR" && chmod 0700 "$DIR" || exit 98
fi
exec 9>>"$DIR/fence.lock"
# What holds it shared are scripts of the run before, seconds long; long work is in units, which do not hold it.
if ! flock -w 30 9; then
	echo "a script of another run has been working on this host for more than 30 s" >&2
	exit 98
fi
load
case $ACTION in
take)
	# The same again is an answer that got lost, not a second holder.
	# shellcheck disable=SC2153 # HOLDER is a value, holder what stands in the record
	if [ "$number" -ne "$FENCE" ] || [ "$holder" != "$HOLDER" ]; then
		if [ "$number" -ge "$FENCE" ] || [ "$number" -gt "$HIGHEST" ]; then refuse; fi
		store "$FENCE" "$HOLDER"
	fi
	;;
renew)
	[ "$number" -le "$FENCE" ] || refuse
	store "$FENCE" "$HOLDER"
	;;
release)
	[ "$number" -le "$FENCE" ] || refuse
	[ "$number" -ne "$FENCE" ] || [ -z "$holder" ] || store "$number" ''
	;;
*)
	echo "no such action: $ACTION" >&2
	exit 98
	;;
esac
show
