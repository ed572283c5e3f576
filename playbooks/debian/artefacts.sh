# Part: downloads and installation of binaries. Needs say.sh.
#
# ARTEFACTS holds one artefact a line: name url sha256 kind dest mode link [members...]
#   kind file: dest is the file's path; link, where it is not "-", is where people and units look for it: a symbolic
#              link to dest, so that going from one version to the next, and back, is one rename.
#   kind tgz:  dest is a folder; members are files or folders in the archive (a folder stands for all files below
#              it; no members at all for all files), installed under their last names. Several lines may name one
#              archive: it is fetched once.
#
# Kept on the host, below /var/lib/kubewright:
#   downloads/<sha256>.part   being fetched; a later run goes on where this one was cut off
#   downloads/<sha256>        whole, digest proven; removed once everything is installed
#   artefacts/<name>          the stamp: digest of what is installed, and the members on a second line; written last.
#                             Of what has a link, that of the version it leads to
#   installed/<name>          the paths it consists of, one a line, for the probe and for reset

# each_artefact COMMAND: runs COMMAND name url sha256 kind dest mode link members for every line.
each_artefact() {
	while read -r name url sha kind dest mode link members; do
		[ -n "$name" ] || continue
		"$1" "$name" "$url" "$sha" "$kind" "$dest" "$mode" "$link" "$members" || return
	done <<LINES
${ARTEFACTS:-}
LINES
}

check_artefact() {
	case $1 in *[!A-Za-z0-9._-]* | .*) artefact_nonsense "$1" "name" ;; esac
	case $2 in http://* | https://*) ;; *) artefact_nonsense "$1" "URL $2" ;; esac
	case $3 in *[!0-9a-f]*) artefact_nonsense "$1" "digest $3" ;; esac
	[ ${#3} -eq 64 ] || artefact_nonsense "$1" "digest $3"
	case $4 in file | tgz) ;; *) artefact_nonsense "$1" "kind $4" ;; esac
	case $5 in /*/*) ;; *) artefact_nonsense "$1" "destination $5" ;; esac
	case $6 in '' | *[!0-7]*) artefact_nonsense "$1" "mode $6" ;; esac
	case $4:$7 in *:- | file:/*/*) ;; *) artefact_nonsense "$1" "link $7" ;; esac
}

artefact_nonsense() {
	fail bad_input "The artefact \"$1\" has an unusable $2. Correct it in the cluster file, if it stands there; otherwise this is a mistake in kubewright, please report it."
}

# lacking_artefact NAME URL SHA KIND DEST MODE LINK MEMBERS: prints why it is not installed; nothing when it is.
# A file younger than its stamp was changed by someone else; then what it contains is unknown.
lacking_artefact() {
	stamp=$STATE/artefacts/$1
	listed=$STATE/installed/$1
	if ! { [ -f "$stamp" ] && [ -s "$listed" ] && read -r stamped <"$stamp"; }; then
		echo "$1 is not installed"
		return
	fi
	if [ "$stamped" != "$3" ]; then
		echo "$1 has the digest $stamped, not $3"
		return
	fi
	if [ "$(sed -n 2p "$stamp")" != "$8" ]; then
		echo "of $1 other files are installed than wanted"
		return
	fi
	while read -r path; do
		# Where it has to be may have changed with the digest the same.
		case $path in "$5" | "$5"/* | "$7") ;; *) echo "$1 is at $path, not $5" ;; esac
		if [ "$path" = "$7" ] && [ "$(readlink "$path")" != "$5" ]; then
			echo "$path does not lead to $5"
		elif [ ! -f "$path" ]; then
			echo "$path is gone"
		elif [ -n "$(find "$path" -newer "$stamp")" ]; then
			echo "$path was changed after it was installed"
		fi
	done <"$listed" | head -n 1
}

# fetch NAME URL SHA: leaves the whole file, digest proven, as downloads/SHA.
fetch() {
	whole=$STATE/downloads/$3
	part=$whole.part
	[ ! -f "$whole" ] || return 0
	fresh=no
	while :; do
		[ -s "$part" ] || fresh=yes
		[ "$fresh" = yes ] || say "$1: going on after $(megabytes "$(size "$part")") MB"
		# A run may have ended between the last byte and the proof.
		if [ "$fresh" = yes ] || [ "$(digest "$part")" != "$3" ]; then transfer "$1" "$2" "$part"; fi
		found=$(digest "$part")
		if [ "$found" = "$3" ]; then
			mv -f "$part" "$whole"
			return
		fi
		rm -f "$part"
		[ "$fresh" = no ] || break
		# The part and its rest came from different files; once more from the beginning.
	done
	fail wrong_digest "$1 from $2 has the digest $found, but $3 is expected. Nothing was installed. Either the server gives out another file than the one planned (a wrong version in the mirror, a proxy's error page) or it was tampered with: compare both digests with those its makers publish, mend the mirror or the cluster file, then run again."
}

digest() {
	sha256sum "$1" 2>/dev/null | cut -d ' ' -f 1
}

# transfer NAME URL PART: fetches until PART is complete. It tries again as long as bytes come; without any it
# gives up after four tries (7 s of waiting: a network has no event to wait for).
transfer() {
	tries=0
	server=$(echo "$2" | cut -d / -f 3)
	echo "$3" >"$WORK/active.$1"
	while :; do
		before=$(size "$3")
		# --retry of curl itself begins again at the offset of its first try, so the loop is ours.
		answer=$(curl --silent --show-error --fail --location --proto '=http,https' --connect-timeout 10 \
			--speed-limit 1000 --speed-time 30 --continue-at - --output "$3" --write-out '%{http_code}' \
			"$2" 2>"$WORK/curl.$1")
		status=$?
		words=$(plain <"$WORK/curl.$1" | tail -n 1)
		case $status:$answer in
		0:*) break ;;
		# Nothing left to ask for: the digest tells whether the part is the file.
		22:416) break ;;
		22:408 | 22:429 | 22:5*) ;;
		22:*)
			rm -f "$WORK/active.$1"
			fail no_network "$1: the server answers $answer for $2. Check the version and the mirror in the cluster file, then run again."
			;;
		23:*)
			rm -f "$WORK/active.$1"
			fail disk_full "$1 could not be written: the disk of $STATE is full. Free some space on this host, then run again; what is already there is kept."
			;;
		# The server cannot resume: begin again.
		33:*) rm -f "$3" ;;
		esac
		[ "$(size "$3")" -gt "$before" ] && tries=0
		tries=$((tries + 1))
		if [ $tries -ge 4 ] || [ -d "$WORK/dead.$server" ]; then
			rm -f "$WORK/active.$1"
			# One full account of a dead server is enough, and one wait for it.
			mkdir "$WORK/dead.$server" 2>/dev/null || fail no_network "$1 could not be fetched from there either."
			fail no_network "$1 could not be fetched from $2: $words. Check that this host reaches that address ('curl -I $2'), or set a mirror or a bundle in the cluster file, then run again; what was fetched is kept."
		fi
		sleep $((1 << (tries - 1)))
	done
	rm -f "$WORK/active.$1"
}

# put_file SHA DEST MODE: from downloads/SHA into its place.
put_file() {
	mkdir -p "${2%/*}" && cp "$STATE/downloads/$1" "$2.kubewright-new" && chmod "$3" "$2.kubewright-new" &&
		chown 0:0 "$2.kubewright-new" && place "$2.kubewright-new" "$2"
}

# switch_to NAME SHA DEST LINK: what is in place is what runs from the next start on: its link leads there, then the stamp
# says so. A name that was a program's own becomes a link. With STAGE=yes nothing of that: what runs stays what it is.
switch_to() {
	[ "${STAGE:-no}" != yes ] || return 0
	mkdir -p "$STATE/artefacts" "$STATE/installed" && rm -f "$STATE/artefacts/$1" || return
	if [ "$4" != - ] && [ "$(readlink "$4")" != "$3" ]; then
		mkdir -p "${4%/*}" && ln -sfn "$3" "$4.kubewright-new" && mv -fT "$4.kubewright-new" "$4" && sync "${4%/*}" || return
	fi
	{
		echo "$3"
		[ "$4" = - ] || echo "$4"
	} | write_file "$STATE/installed/$1" 0644 && printf '%s\n\n' "$2" | write_file "$STATE/artefacts/$1" 0644
}

# install_artefact NAME SHA KIND DEST MODE LINK MEMBERS: from downloads/SHA into its place, then the stamp.
install_artefact() {
	whole=$STATE/downloads/$2
	mkdir -p "$STATE/artefacts" "$STATE/installed" || return
	case $3 in
	file)
		# The old stamp must not vouch for a mixture of old and new files.
		[ "$6" != - ] || rm -f "$STATE/artefacts/$1"
		put_file "$2" "$4" "$5" && switch_to "$1" "$2" "$4" "$6"
		return
		;;
	tgz)
		# Unpacked beside its destination, so that taking its place is one rename.
		rm -f "$STATE/artefacts/$1"
		unpacked=$4/.kubewright-$1
		rm -rf "$unpacked"
		mkdir -p "$unpacked" && tar -xzf "$whole" -C "$unpacked" --no-same-owner || return
		picked=
		for member in ${7:-.}; do
			[ -e "$unpacked/$member" ] || fail bad_input "The archive of $1 has no $member. Correct the artefact in the cluster file, if it stands there; otherwise please report this as a mistake in kubewright."
			picked="$picked $(cd "$unpacked" && find "$member" -type f)"
		done
		for member in $picked; do
			chmod "$5" "$unpacked/$member" && sync "$unpacked/$member" && mv -f "$unpacked/$member" "$4/${member##*/}" || return
		done
		for member in $picked; do echo "$4/${member##*/}"; done | write_file "$STATE/installed/$1" 0644 || return
		rm -rf "$unpacked"
		sync "$4"
		;;
	esac
	printf '%s\n%s\n' "$2" "$7" | write_file "$STATE/artefacts/$1" 0644
}

# is_in_place SHA KIND DEST: whether the very file is where it has to be.
is_in_place() {
	[ "$2" = file ] && [ "$(digest "$3")" = "$1" ]
}

# obtain NAME URL SHA KIND DEST MODE LINK MEMBERS: fetched, proven, installed, stamped.
obtain() {
	now
	began=$NOW
	# A run may have ended between the last rename and the stamp, or someone else brought the very file.
	if is_in_place "$3" "$4" "$5"; then
		chmod "$6" "$5" && switch_to "$1" "$3" "$5" "$7" && say "$1: was there already" && return
	fi
	# Of several lines with one archive the first to come fetches it, the others wait for it.
	(
		flock 8
		fetch "$1" "$2" "$3"
	) 8>"$WORK/fetch.$3.lock" || return
	bytes=$(size "$STATE/downloads/$3")
	(install_artefact "$1" "$3" "$4" "$5" "$6" "$7" "$8") 2>"$WORK/install.$1" || {
		code=$?
		# It has explained itself.
		if [ $code -ge 20 ]; then
			cat "$WORK/install.$1" >&2
			return $code
		fi
		fail disk_full "$1 could not be installed into $5: $(plain <"$WORK/install.$1" | tail -n 1). Check free space and that the file system is writable ('df $5'), then run again."
	}
	say "$1: $(megabytes "$bytes") MB installed after $(since "$began")"
}
