# Part: the end of the copies that a host takes of etcd by itself. Needs say.sh; values TIMER, SERVICE, PROGRAM, SPEC, FOLDER: the timer,
# what it starts, kubewright's place and the spec's, and the folder that they are in.

# end_copies: a copy that is being taken is given up in good order; copies that were taken stay.
end_copies() {
	systemctl disable --now --quiet "$TIMER" 2>/dev/null
	systemctl stop "$SERVICE" 2>/dev/null
	! systemctl is-active --quiet "$TIMER" ||
		fail service_failed "The timer $TIMER does not stop. See 'systemctl status $TIMER' on this host, then run again."
	! systemctl is-active --quiet "$SERVICE" ||
		fail service_failed "A copy of etcd is being taken and does not stop. See 'systemctl status $SERVICE' on this host, then run again."
	rm -f "/etc/systemd/system/$TIMER" "/etc/systemd/system/$SERVICE" "$PROGRAM" "$SPEC"
	rm -rf "$FOLDER/state"
	rmdir "$FOLDER" 2>/dev/null
	systemctl daemon-reload
	systemctl reset-failed "$SERVICE" 2>/dev/null
	say "copies of etcd: no more are taken"
}
