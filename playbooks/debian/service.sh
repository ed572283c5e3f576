# Part: units that must run with the files that are on disk now. Needs say.sh.
#
# started/<unit> keeps the digest of the files a unit was last started with, written after the start. If it is
# what the files are now, the running process has read them: it started then, or at a later boot.

# lacking_unit UNIT PRINT: prints why the unit does not run with these files; nothing when it does.
lacking_unit() {
	if ! systemctl is-active --quiet "$1"; then
		echo "$1 is not running"
	elif ! { [ -f "$STATE/started/$1" ] && read -r started_with <"$STATE/started/$1" && [ "$started_with" = "$2" ]; }; then
		echo "$1 was started with other files than those on disk now"
	fi
}

# run_unit UNIT PRINT: the unit is enabled and runs with the files of this digest. A service of Type=notify is
# ready when this returns.
run_unit() {
	unit_lacks=$(lacking_unit "$1" "$2")
	if [ -z "$unit_lacks" ]; then
		systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl --quiet enable "$1" 2>/dev/null ||
			warn "$1 runs but could not be enabled, so it will not start at boot"
		say "$1: nothing to do"
		return
	fi
	say "$1: starting ($unit_lacks)"
	now
	unit_began=$NOW
	# This also has systemd read all units anew.
	unit_words=$(systemctl --quiet enable "$1" 2>&1) ||
		fail service_failed "The unit $1 cannot be enabled: $unit_words. See 'systemctl cat $1' on this host, then run again."
	# After many failed starts systemd refuses further ones until told to forget them.
	systemctl reset-failed "$1" 2>/dev/null
	if ! systemctl restart "$1" 2>/dev/null; then
		complain "The service $1 does not start. Its last words:"
		journal "$1"
		fail service_failed "Look for the cause in the lines above ('journalctl -u $1' on this host has more), mend it, then run again."
	fi
	mkdir -p "$STATE/started" && echo "$2" | write_file "$STATE/started/$1" 0644
	say "$1: started after $(since "$unit_began")"
}

# journal UNIT: its last words, on stderr; not those that only repeat that the API is not there yet.
journal() {
	journal_words=$(journalctl --unit "$1" --lines 200 --no-pager --output cat 2>/dev/null |
		grep -Ev 'connect: connection refused|Scheduled restart job|^(Start|Stopp)(ed|ing) ' | telling 15)
	printf '%s\n' "${journal_words:-(the journal has none; \"systemctl status systemd-journald $1\" may tell why)}" | sed 's/^/  /' >&2
	case $journal_words in *inotify*'too many open files'*)
		complain "This host has used up its inotify instances ($(cat /proc/sys/fs/inotify/max_user_instances) for each user, containers included): set the sysctl fs.inotify.max_user_instances to 8192."
		;;
	esac
}

# telling COUNT: a filter for logs of Kubernetes' programs, which say the same things again and again. The last lines
# that are not mere information, one for each place in their source.
telling() {
	plain | grep -Ev '^I[0-9]{4} |"level":"info"' |
		awk '
			{ key = match($0, /[a-z0-9_]+\.go:[0-9]+/) ? substr($0, RSTART, RLENGTH) : $0; line[key] = $0; last[key] = NR }
			END { for (key in line) printf "%d\t%s\n", last[key], line[key] }
		' | sort -n | cut -f 2- | tail -n "$1" | cut -c 1-400
}
