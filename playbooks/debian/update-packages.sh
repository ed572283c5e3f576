# Task: brings the distribution's packages up to date.
# Parts before it: say.sh packages.sh
#
# Values
#   HELD   packages that stay as they are, where they are installed
# Packages that own a file which kubewright installed stay as well. New packages come where others need them (kernels);
# nothing is removed.
# Ends with 0, or 21 23 24 26 (README.md).
#
# Holds are dpkg's own. Those that we set are written down before, so that a run that was cut off leaves none for good:
# the next one takes them back first.
HOLDS=$STATE/holds

# our_owners: packages that own files of ours.
our_owners() {
	cat "$STATE"/installed/* 2>/dev/null | xargs -r dpkg-query --search 2>/dev/null | grep -v '^diversion ' |
		sed -n 's/: \/.*//p' | tr ',' '\n' | sed 's/ //g; s/:.*//'
}

# held_here: those of the packages to hold that are installed.
held_here() {
	{
		printf '%s\n' "${HELD:-}" | tr ' ' '\n'
		our_owners
	} | sort -u | while read -r package; do
		[ -n "$package" ] || continue
		[ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" != installed ] || echo "$package"
	done
}

# versions: every installed package with its version.
versions() {
	dpkg-query --show --showformat '${db:Status-Status} ${binary:Package} ${Version}\n' | sed -n 's/^installed //p' | sort
}

hold() {
	apt-mark showhold >"$WORK/held-before" 2>/dev/null
	held_here >"$WORK/wanted"
	# Holds of others stay whatever happens.
	grep -vxF -f "$WORK/held-before" "$WORK/wanted" | write_file "$HOLDS" 0644 ||
		fail disk_full "Cannot write $HOLDS. Look at 'df /var/lib' on this host, then run again."
	[ -s "$HOLDS" ] || return 0
	# shellcheck disable=SC2046 # several packages
	apt-mark hold $(cat "$HOLDS") >"$WORK/apt.log" 2>&1 ||
		apt_failed "These packages could not be put on hold: $(tr '\n' ' ' <"$HOLDS")" "Try 'apt-mark hold' of them on this host"
	say "packages: held back: $(tr '\n' ' ' <"$HOLDS")"
}

release() {
	[ -f "$HOLDS" ] || return 0
	# shellcheck disable=SC2046 # several packages
	[ ! -s "$HOLDS" ] || apt-mark unhold $(cat "$HOLDS") >/dev/null 2>&1 ||
		warn "some packages are still on hold; 'apt-mark showhold' shows them"
	rm -f "$HOLDS" && sync "$STATE"
}

update() {
	take_lock
	workdir packages
	release
	if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then dpkg --configure -a >"$WORK/apt.log" 2>&1 9>&-; fi
	now
	update_began=$NOW
	say "packages: fetching the lists"
	apt update -o APT::Update::Error-Mode=any ||
		apt_failed "The lists of packages could not be fetched." "Try 'apt-get update' on this host"
	hold
	versions >"$WORK/before"
	say "packages: updating"
	apt upgrade --with-new-pkgs || {
		if grep -q 'dpkg --configure -a' "$WORK/apt.log"; then dpkg --configure -a >"$WORK/apt.log" 2>&1 9>&-; fi
		apt upgrade --with-new-pkgs || {
			release
			apt_failed "The packages could not be updated." "Try 'apt-get upgrade --with-new-pkgs' on this host"
		}
	}
	versions >"$WORK/after"
	release
	prove
	say "packages: $(comm -13 "$WORK/before" "$WORK/after" | wc -l) newer or new, after $(since "$update_began")"
	comm -13 "$WORK/before" "$WORK/after" | sed 's/^/  /'
	[ ! -e /run/reboot-required ] || warn "the system asks to be restarted: $(tr '\n' ' ' </run/reboot-required.pkgs 2>/dev/null)"
}

# prove: what was to stay has stayed, and nothing is half done.
prove() {
	moved=$(comm -23 "$WORK/before" "$WORK/after" | sed 's/ .*//; s/:.*//' | grep -xF -f "$WORK/wanted")
	[ -z "$moved" ] ||
		fail packages_failed "Packages changed that were to stay: $moved. Put the earlier versions back ($WORK/before has them) before this node takes pods."
	[ -z "$(dpkg --audit 2>/dev/null)" ] ||
		fail packages_failed "Packages are half installed: see 'dpkg --audit' on this host, mend it, then run again."
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
update </dev/null
exit
