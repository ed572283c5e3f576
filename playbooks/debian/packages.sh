# Part: Debian packages. Needs say.sh; value PACKAGES.

APT_LOCK_SECONDS=180

# missing_packages: prints those that are not installed.
missing_packages() {
	for package in ${PACKAGES:-}; do
		[ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done | tr '\n' ' ' | sed 's/ $//'
}

# apt WORDS: apt-get that asks nothing, keeps changed configuration files and waits for other users of dpkg.
# Its output goes to a log; the lock on descriptor 9 is not for services that packages start.
apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get --quiet --assume-yes \
		-o "DPkg::Lock::Timeout=$APT_LOCK_SECONDS" -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		-o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@" >"$WORK/apt.log" 2>&1 9>&-
}

install_packages() {
	wanted=$(missing_packages)
	if [ -z "$wanted" ]; then
		say "packages: nothing to do"
		return
	fi
	say "packages: installing $wanted"
	now
	packages_began=$NOW
	# A dpkg that was cut off refuses everything until it has finished what it began.
	if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then dpkg --configure -a >"$WORK/apt.log" 2>&1 9>&-; fi
	# The host's package lists usually do; fetching new ones takes longer than the installation.
	# shellcheck disable=SC2086 # several packages
	apt install --no-install-recommends $wanted || {
		if grep -q 'dpkg --configure -a' "$WORK/apt.log"; then dpkg --configure -a >"$WORK/apt.log" 2>&1 9>&-; fi
		{ apt update -o APT::Update::Error-Mode=any && apt install --no-install-recommends $wanted; } || packages_failed
	}
	wanted=$(missing_packages)
	[ -z "$wanted" ] || packages_failed
	say "packages: installed after $(since "$packages_began")"
}

packages_failed() {
	apt_failed "These packages could not be installed: $wanted." "Try 'apt-get install $wanted' on this host"
}

# apt_failed WHAT TRY: ends the task with the kind of failure that apt's log tells.
apt_failed() {
	complain "$1 The package manager's last words:"
	last_lines "$WORK/apt.log" 8 | sed 's/^/  /' >&2
	if grep -Eq 'No space left|not enough free space|enough free space in' "$WORK/apt.log"; then
		fail disk_full "The disk is full. Free some space ('apt-get clean' may help), then run again."
	elif grep -Eq 'Could not get lock|Unable to acquire' "$WORK/apt.log"; then
		fail packages_failed "Another process has held the package manager's lock for $APT_LOCK_SECONDS s (often unattended-upgrades). Let it end, then run again."
	elif grep -Eq 'Temporary failure|Could not resolve|Could not connect|Failed to fetch|Unable to connect|Connection' "$WORK/apt.log"; then
		fail no_network "This host does not reach its package mirror. Check /etc/apt/sources.list and the network, or install the packages by hand, then run again."
	fi
	fail packages_failed "$2, mend what it names, then run again."
}
