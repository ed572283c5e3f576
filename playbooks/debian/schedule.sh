# Task: has this host take copies of etcd by itself, or stop it, or tells how that goes. Program, spec and unit files are in their places
# before it starts.
# Parts before it: say.sh copies.sh
#
# Values
#   ACTION   program | start | stop | tell
#   PROGRAM  where kubewright is
#   SPEC     where the spec is
#   FOLDER   what all these are in, and what it keeps for itself
#   TIMER    the timer
#   SERVICE  what it starts
# program prints the SHA-256 of the program that is there. tell prints `timer STATE`, `next WHEN`, `ended WHEN`, `result RESULT`, without
# those that there are not. stop waits for a copy that is being taken, which is given up in good order, and removes everything but copies.
# Ends with 0, or 20 23 (README.md).

tell() {
	case $(systemctl show "$TIMER" --property LoadState --value) in
	loaded) if systemctl is-active --quiet "$TIMER"; then echo "timer active"; else echo "timer inactive"; fi ;;
	*) echo "timer none" ;;
	esac
	# A monotonic timer's next time is told only by the list, in words.
	next=$(systemctl list-timers --all --no-legend "$TIMER" 2>/dev/null | awk '$1 != "n/a" && $1 != "-" { print $2 "T" $3; exit }')
	[ -z "$next" ] || echo "next $next"
	ended=$(systemctl show "$SERVICE" --property ExecMainExitTimestamp --value)
	[ -z "$ended" ] || {
		echo "ended $(date --utc --date "$ended" +%Y-%m-%dT%H:%M:%SZ)"
		echo "result $(systemctl show "$SERVICE" --property Result --value)"
	}
}

schedule() {
	require ACTION PROGRAM SPEC FOLDER TIMER SERVICE
	choice ACTION program start stop tell
	case $ACTION in
	program) [ ! -f "$PROGRAM" ] || sha256sum "$PROGRAM" | cut -d ' ' -f 1 ;;
	tell) tell ;;
	start)
		"$PROGRAM" version >/dev/null 2>&1 ||
			fail service_failed "$PROGRAM does not run on this host: it is for other processors, or for a newer C library. No timer was started. Give the command from a machine like this host."
		systemctl daemon-reload
		systemctl enable --quiet "$TIMER" && systemctl restart "$TIMER" ||
			fail service_failed "The timer $TIMER does not start. See 'systemctl status $TIMER' on this host, then run again."
		;;
	stop) end_copies ;;
	esac
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
schedule </dev/null
exit
