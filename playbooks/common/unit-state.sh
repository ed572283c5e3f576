# Task: tells what is known of units of ours.
#
# Values
#   OPERATION STEP ATTEMPT   one unit; without them all that run
# Prints `running`, `finished STATUS`, `vanished` or `absent`; without a name the names of those that run.
if [ -z "${OPERATION:-}" ]; then
	systemctl list-units --plain --no-legend --no-pager --state=activating,deactivating 'kubewright-*.service' |
		while read -r name _; do echo "${name%.service}"; done
	exit 0
fi
folder=/var/lib/kubewright/ops/$OPERATION/$STEP.$ATTEMPT
# Whoever starts it holds this until systemd knows it.
if [ -f "$folder/lock" ]; then
	exec 9<"$folder/lock"
	flock -s 9
fi
alive=$(systemctl show --property=ActiveState,Job "kubewright-$OPERATION-$STEP.$ATTEMPT.service" |
	grep -e '^Job=[1-9]' -e '^ActiveState=activating' -e '^ActiveState=deactivating')
# The result after the state: a unit that ends in between has written it.
if [ -f "$folder/result" ]; then
	echo "finished $(cat "$folder/result")"
elif [ -n "$alive" ]; then
	echo running
elif [ -f "$folder/mark" ]; then
	echo vanished
else
	echo absent
fi
