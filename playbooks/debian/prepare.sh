# shellcheck disable=SC2317 # functions are named to pool and each_artefact, which call them
#
# Task: a host gets everything it needs before the first Kubernetes process starts.
# Parts before it: say.sh pool.sh kernel.sh packages.sh artefacts.sh service.sh runtime.sh
#
# Values
#   PACKAGES      Debian packages wanted, separated by spaces
#   MODULES       kernel modules wanted, separated by spaces
#   SYSCTL_FILE   our file below /etc/sysctl.d, in place already; empty: none
#   SWAP          keep | off
#   ARTEFACTS     lines: name url sha256 kind dest mode link [members...], see artefacts.sh
#   STAGE         yes: versions for later; what has a link comes into its place and the link stays where it leads. Empty: no
#   IMAGES        lines: reference digest, digest may be "-", see runtime.sh
#   CRI_SOCKET    such as unix:///run/containerd/containerd.sock
# In place already: units, /etc/containerd (config.toml, certs.d), SYSCTL_FILE, /etc/modules-load.d.
# Ends with 0, or 20 21 22 23 24 25 26 (README.md).
#
# Three branches run side by side: packages; containerd and then images; all other binaries. If one fails the
# others still finish: what is done need not be done again, and the operator sees everything that is wrong.

DOWNLOADS_AT_ONCE=3
PULLS_AT_ONCE=3

check_values() {
	require CRI_SOCKET
	choice SWAP keep off
	each_artefact check_artefact
}

# --- binaries ---

list_missing_artefacts() {
	if [ "${STAGE:-no}" = yes ]; then
		! is_in_place "$3" "$4" "$5" || return 0
	else
		lacks=$(lacking_artefact "$@")
		[ -n "$lacks" ] || return 0
		[ ! -f "$STATE/artefacts/$1" ] || say "$1: $lacks"
	fi
	printf '%s %s %s %s %s %s %s %s\n' "$@" >>"$WORK/missing"
}

drop_archive() {
	rm -f "$STATE/downloads/$3"
}

# What it takes to pull images comes first.
for_runtime() {
	case $1 in containerd* | 'runc '* | 'crictl '*) return 0 ;; esac
	return 1
}

# check_space: what is to be fetched must fit, so that the answer comes before the download and not in its middle.
# A server that does not tell a size is believed to be small.
check_space() {
	mkdir -p "$STATE/downloads" || fail disk_full "Cannot create $STATE/downloads. Check that the disk is writable and has space."
	# Only one request for each archive.
	awk '!seen[$3]++ { print $2, $3 }' "$WORK/missing" >"$WORK/archives"
	while read -r url sha; do
		[ ! -f "$STATE/downloads/$sha" ] || continue
		curl --silent --head --location --proto '=http,https' --connect-timeout 5 --max-time 10 "$url" 2>/dev/null |
			tr -d '\r' | awk '
				/^HTTP\// { good = $2 == 200; size = 0 }
				tolower($1) == "content-length:" { size = $2 }
				END { print good ? size : 0 }
			' >"$WORK/size.$sha" &
	done <"$WORK/archives"
	wait
	fetching=0
	while read -r _ sha; do
		total=$(cat "$WORK/size.$sha" 2>/dev/null || echo 0)
		rest=$((total - $(size "$STATE/downloads/$sha.part")))
		[ $rest -le 0 ] || fetching=$((fetching + rest))
	done <"$WORK/archives"
	# Unpacked, archives take about three times their size; a fifth on top for what else happens on the disk.
	room_for "$STATE/downloads" $((fetching * 6 / 5))
	while read -r _ _ sha kind dest _; do
		total=$(cat "$WORK/size.$sha" 2>/dev/null || echo 0)
		[ "$kind" = file ] || total=$((total * 3))
		while [ ! -d "${dest:=/}" ]; do dest=${dest%/*}; done
		echo "$(df -Pk "$dest" | awk 'NR == 2 { print $6 }') $total"
	done <"$WORK/missing" | awk '{ sum[$1] += $2 } END { for (disk in sum) printf "%s %.0f\n", disk, sum[disk] }' >"$WORK/disks"
	while read -r disk total; do
		# Where downloads and binaries share a disk, both must fit.
		[ "$disk" != "$(df -Pk "$STATE/downloads" | awk 'NR == 2 { print $6 }')" ] || total=$((total + fetching))
		room_for "$disk" "$total"
	done <"$WORK/disks"
	[ "$fetching" -eq 0 ] || say "binaries: $(megabytes $fetching) MB to fetch"
}

# room_for FOLDER BYTES
room_for() {
	free=$(($(df -Pk "$1" | awk 'NR == 2 { print $4 }') * 1024))
	[ "$free" -ge "$2" ] ||
		fail disk_full "$(megabytes "$2") MB are needed on the disk of $1, $(megabytes "$free") MB are free. Free some space on this host, then run again."
}

# obtain_listed LIST: every artefact of the list, a few at a time.
obtain_listed() {
	pool "$1" $DOWNLOADS_AT_ONCE obtain_line
}

obtain_line() {
	# shellcheck disable=SC2086 # fields of the line; the members stay one field
	set -- $1
	line_name=$1 line_url=$2 line_sha=$3 line_kind=$4 line_dest=$5 line_mode=$6 line_link=$7
	shift 7
	obtain "$line_name" "$line_url" "$line_sha" "$line_kind" "$line_dest" "$line_mode" "$line_link" "$*"
}

# show_progress PARENT: every two seconds, how much of the running downloads is there. For people only; ends with
# its parent, and never holds the lock.
show_progress() {
	while kill -0 "$1" 2>/dev/null; do
		for active in "$WORK"/active.*; do
			{ [ -f "$active" ] && read -r part <"$active"; } 2>/dev/null || continue
			sha=${part##*/}
			total=$(cat "$WORK/size.${sha%.part}" 2>/dev/null || echo 0)
			line="${active##*/active.}: $(megabytes "$(size "$part")") of $(megabytes "$total") MB"
			[ "$total" -gt 0 ] || continue
			[ "$line" != "$(cat "$WORK/said.${active##*/active.}" 2>/dev/null)" ] || continue
			say "$line"
			echo "$line" >"$WORK/said.${active##*/active.}"
		done
		sleep 2
	done
}

# --- containerd and images ---

bring_up_runtime() {
	obtain_listed "$WORK/runtime" || exit
	run_unit containerd "$(containerd_print)"
	# Only a unit that does not announce its readiness needs a second look.
	now
	ready_until=$((NOW + 3000))
	until list_images "$WORK/images"; do
		now
		[ "$NOW" -lt $ready_until ] || fail service_failed "containerd does not answer on $CRI_SOCKET: $(plain <"$WORK/images.error" | tail -n 1). See 'systemctl status containerd' on this host, then run again."
		sleep 0.25
	done
	while read -r ref digest; do
		[ -n "$ref" ] || continue
		have=$(awk -v ref="$ref" '$1 == ref { print $2; exit }' "$WORK/images")
		[ -z "$(lacking_image "$have" "$ref" "${digest:--}")" ] || echo "$ref ${digest:--}"
	done >"$WORK/pulls" <<LINES
${IMAGES:-}
LINES
	count=$(wc -l <"$WORK/pulls")
	if [ "$count" -eq 0 ]; then
		say "images: nothing to do"
		return
	fi
	command -v crictl >/dev/null ||
		fail bad_input "There is no crictl on this host to pull images with. Have it among the artefacts; if the cluster file leaves it to you, install it, then run again."
	say "images: $count to pull"
	pool "$WORK/pulls" $PULLS_AT_ONCE pull_line || exit
}

pull_line() {
	pull "${1% *}" "${1##* }"
}

# --- all of it ---

prepare() {
	check_values
	take_lock
	workdir prepare
	now
	prepare_began=$NOW

	load_modules
	set_sysctls
	turn_swap_off

	touch "$WORK/missing" "$WORK/archives"
	each_artefact list_missing_artefacts
	# Nothing can be fetched without these, and containerd cannot start before it is installed.
	case " $(missing_packages) " in *' curl '* | *' ca-certificates '* | *' containerd '* | *' tar '*) install_packages ;; esac
	if [ -s "$WORK/missing" ]; then check_space; else say "binaries: nothing to do"; fi
	while IFS= read -r line; do
		for_runtime "$line" && echo "$line" >>"$WORK/runtime" || echo "$line" >>"$WORK/others"
	done <"$WORK/missing"
	touch "$WORK/runtime" "$WORK/others"

	show_progress $$ 9>&- &
	progress=$!
	(bring_up_runtime) &
	runtime=$!
	(obtain_listed "$WORK/others") &
	others=$!
	(install_packages)
	code=$?
	wait $others || code=$?
	wait $runtime || code=$?
	kill $progress 2>/dev/null
	[ $code -eq 0 ] || exit $code

	# What is installed needs no archive any more.
	each_artefact drop_archive
	rm -rf "$WORK"
	say "prepared after $(since "$prepare_began")"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
prepare </dev/null
exit
