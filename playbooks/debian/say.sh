# Part: what every task shares. Speaking to the operator, exit codes, time, locks, safe writing.
#
# A part has no effect by itself; README.md tells which parts stand before which task.
set -u
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Messages of tools are matched below, so they must not be translated.
LC_ALL=C
export PATH LC_ALL

# shellcheck disable=SC2034 # for the texts after this one
STATE=/var/lib/kubewright
RUN=/run/kubewright

# say WORDS: one line of progress.
say() {
	printf ':: %s\n' "$*"
}

# warn WORDS: something the operator should know that stops nothing.
warn() {
	printf ':: warning: %s\n' "$*"
}

# complain SENTENCES: an error, with the operator's next step in it.
complain() {
	printf '%s\n' "$*" >&2
}

# fail KIND SENTENCES: an error that ends this task (or this branch of it, in a subshell) with the code of its kind.
fail() {
	fail_kind=$1
	shift
	complain "$*"
	case $fail_kind in
	bad_input) exit 20 ;;
	no_network) exit 21 ;;
	wrong_digest) exit 22 ;;
	disk_full) exit 23 ;;
	packages_failed) exit 24 ;;
	service_failed) exit 25 ;;
	timed_out) exit 26 ;;
	esac
	exit 1
}

# require NAMES: the values that a task cannot do without.
require() {
	for required in "$@"; do
		eval "[ -n \"\${$required:-}\" ]" ||
			fail bad_input "The value $required is missing. This is a mistake in kubewright, not on this host; please report it."
	done
}

# choice NAME WORDS: the value NAME must be one of the words.
choice() {
	choice_name=$1
	choice_value=
	eval "choice_value=\${$1:-}"
	shift
	for choice_word in "$@"; do
		[ "$choice_value" != "$choice_word" ] || return 0
	done
	fail bad_input "The value $choice_name is \"$choice_value\", but may only be one of: $*. This is a mistake in kubewright; please report it."
}

# now: sets NOW to hundredths of a second since boot. Reading the file costs no process, and the clock
# may be set while we wait.
now() {
	read -r now_uptime _ </proc/uptime
	NOW=${now_uptime%.*}${now_uptime#*.}
}

# since THEN: prints the time from THEN (a NOW) until now, such as "4.1 s".
since() {
	now
	since_time=$((NOW - $1))
	printf '%d.%d s' $((since_time / 100)) $((since_time % 100 / 10))
}

# megabytes BYTES
megabytes() {
	printf '%d' $((($1 + 500000) / 1000000))
}

# size FILE: its bytes, 0 when it is not there.
size() {
	stat -c %s "$1" 2>/dev/null || echo 0
}

# last_lines FILE COUNT: the end of a log without what would disturb a terminal.
last_lines() {
	tail -n "$2" "$1" 2>/dev/null | plain
}

# plain: a filter that takes escape codes and control characters out.
plain() {
	plain_escape=$(printf '\033')
	sed "s/$plain_escape\\[[0-9;?]*[A-Za-z]//g" | tr -d '\000-\010\013-\037'
}

# take_lock: one task at a time on this host. Children keep the lock while they live, so a task started after the
# death of another waits for what that one left behind instead of working against it.
take_lock() {
	mkdir -p "$RUN" || fail disk_full "Cannot create $RUN. Look at 'df /run' on this host."
	exec 9>"$RUN/task.lock"
	flock --nonblock 9 && return
	say "an earlier task is still at work here; waiting for it to end"
	flock --timeout 300 9 ||
		fail timed_out "An earlier task has been at work on this host for more than 300 s. 'lslocks | grep kubewright' shows the process; end it, then run again."
}

# write_file PATH MODE: standard input becomes the file, whole or not at all, even if power fails now.
write_file() {
	write_temp=$1.kubewright-new
	cat >"$write_temp" && chmod "$2" "$write_temp" && place "$write_temp" "$1"
}

# place TEMP PATH: a finished temporary file takes its place, on disk before this returns.
place() {
	sync "$1" && mv -f "$1" "$2" && sync "$(dirname "$2")"
}

# workdir NAME: sets WORK to an empty folder for this run (in memory; what a killed run left goes away).
workdir() {
	WORK=$RUN/$1.work
	rm -rf "$WORK"
	mkdir -p "$WORK" || fail disk_full "Cannot create $WORK. Look at 'df /run' on this host."
}
