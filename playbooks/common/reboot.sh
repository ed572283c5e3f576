# Task: restarts the machine, and tells whether it was. Which boot it was before is written down before the restart, once:
# whoever asks later, from wherever, compares with that.
# Stands after fence-check.sh for `begin`.
#
# Values
#   ACTION            begin | state
#   OPERATION STEP    whose restart it is
# Prints `absent` (nothing was written down), `pending BOOT` (it runs the boot written down), `stopping BOOT` (the same, on
# its way down) or `done BEFORE NOW KERNEL_BEFORE KERNEL_NOW`. After `begin` the answer may get lost with the host.
# Ends with 0; 98 when it cannot be written down, or systemd refuses.
folder=/var/lib/kubewright/ops/$OPERATION
record=$folder/$STEP.boot

give_up() {
	echo "$1" >&2
	exit 98
}

state() {
	read -r now </proc/sys/kernel/random/boot_id || give_up "the boot id cannot be read from /proc/sys/kernel/random/boot_id"
	if ! [ -f "$record" ]; then
		echo absent
		return
	fi
	read -r before kernel_before <"$record"
	if [ "$before" != "$now" ]; then
		echo "done $before $now $kernel_before $(uname -r)"
	elif [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then
		echo "stopping $before"
	else
		echo "pending $before"
	fi
}

begin() {
	if ! [ -f "$record" ]; then
		{ mkdir -p "$folder" && chmod 0700 "$folder"; } || give_up "cannot make $folder: $(df -P /var/lib | tail -n 1)"
		read -r now </proc/sys/kernel/random/boot_id || give_up "the boot id cannot be read from /proc/sys/kernel/random/boot_id"
		{ echo "$now $(uname -r)" >"$record.new" && sync "$record.new" && mv -f "$record.new" "$record" && sync "$folder"; } ||
			give_up "cannot write $record: $(df -P "$folder" | tail -n 1)"
	fi
	answer=$(state)
	echo "$answer"
	case $answer in
	pending*) words=$(systemctl --no-block reboot 2>&1) || give_up "systemd does not restart the machine: $words" ;;
	esac
}

case $ACTION in
begin) begin ;;
state) state ;;
*) give_up "no such action: $ACTION" ;;
esac
