# Task: runs a script as a named unit and follows it to its end; finds the one that runs or has run by that name.
# Stands after fence-check.sh.
#
# Values
#   OPERATION STEP ATTEMPT   the unit's name
#   CARRIED       the script
#   WRAPPER       unit-wrapper.sh
#   MARK          random; tells our own last line, and the end of the output, from what the script prints
# Prints the script's output as it comes, then `MARK finished STATUS` or `MARK vanished`.
# Ends with 0, or 98 when the unit cannot be started.
#
# shellcheck disable=SC2153 # values are in capitals, our own names are not
# Nothing here asks again and again: systemd tells the end of the unit, tail sees the file grow.
name=kubewright-$OPERATION-$STEP.$ATTEMPT
folder=/var/lib/kubewright/ops/$OPERATION/$STEP.$ATTEMPT
body=/run/kubewright/$OPERATION/$STEP.$ATTEMPT

# What a line and an output may come to before the rest stays on the host alone: 15 MB at most, as one answer holds 16.
LONGEST_LINE=300
MOST_LINES=50000
TAIL=65536

give_up() {
	echo "$1" >&2
	exit 98
}

# Whether systemd has it, or is about to.
alive() {
	systemctl show --property=ActiveState,Job "$name.service" | grep -q -e '^Job=[1-9]' -e '^ActiveState=a' -e '^ActiveState=deactivating'
}

begin() {
	{ mkdir -p "$body" && chmod 0700 "$body"; } || give_up "cannot make $body: $(df -P /run | tail -n 1)"
	(
		umask 077
		printf '%s\n' "$CARRIED" >"$body/body" && printf '%s\n' "$WRAPPER" >"$body/wrapper"
		printf '%s\n' "$MARK" >"$folder/mark.new" && sync "$folder/mark.new" && : >>"$folder/output"
	) || give_up "cannot write to $folder: $(df -P "$folder" | tail -n 1)"
	# From here on a unit that is not there has vanished and was not merely never started.
	{ mv -f "$folder/mark.new" "$folder/mark" && sync "$folder"; } || give_up "cannot write to $folder"
	systemd-run --quiet --no-block --unit="$name" --description="kubewright: $STEP" -p Type=oneshot -p RemainAfterExit=yes \
		/bin/sh "$body/wrapper" "$folder" "$body" "$MARK" || give_up "systemd did not start $name"
}

# Prints the output as it grows, up to the mark. `sed -u` would read byte by byte.
follow() {
	tail -n +1 -f "$folder/output" 2>/dev/null |
		stdbuf -oL sed -e "/^$1\$/Q" -e "${MOST_LINES}Q" -e "s/^\(.\{$LONGEST_LINE\}\).*/\1 .../"
}

finished() {
	[ -f "$folder/result" ]
}

report() {
	if finished; then
		echo "$MARK finished $(cat "$folder/result")"
	else
		echo "$MARK vanished"
	fi
}

{ mkdir -p "$folder" && chmod 0700 "$folder"; } || give_up "cannot make $folder: $(df -P /var/lib | tail -n 1)"
# One at a time: whoever comes again after a lost connection may meet the first, still about to start it.
exec 9>>"$folder/lock"
flock 9
[ -f "$folder/mark" ] || begin
mark=$(cat "$folder/mark")
if finished || ! alive; then
	grep -vxF "$mark" "$folder/output" | tail -c $TAIL
	report
	exit 0
fi
# Long work keeps neither a takeover waiting, which looks for running units itself, nor others that attach.
exec 8>&- 9>&-

follow "$mark" &
follower=$!
# A start of what is starting already waits for the end of that start, which for a oneshot is its end.
systemctl start "$name.service"
# A wrapper that was killed left no mark.
if ! finished; then
	[ -z "$(tail -c 1 "$folder/output")" ] || echo >>"$folder/output"
	echo "$mark" >>"$folder/output"
fi
wait $follower
report
