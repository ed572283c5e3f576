# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: what kubewright itself has left on this host.

STATE=/var/lib/kubewright

artefacts() {
	for stamp in "$STATE"/artefacts/*; do
		[ -f "$stamp" ] || continue
		IFS= read -r digest <"$stamp" || :
		item artefact "$digest ${stamp##*/}"
	done
	end_of artefact
}

lock() {
	if [ ! -f $STATE/fence ]; then
		absent lock
		return
	fi
	items lock <$STATE/fence
}

running_units() {
	systemctl list-units --plain --no-legend --no-pager --state=activating,deactivating 'kubewright-*.service' >"$answers/running" 2>/dev/null || {
		unreadable running-unit 'systemd does not answer'
		return
	}
	while read -r name _; do
		item running-unit "${name%.service}"
	done <"$answers/running"
	end_of running-unit
}

ours() {
	first_line record $STATE/host
	lock
	artefacts
	running_units
}
