# Part: kernel modules, sysctls and swap. Needs say.sh; values MODULES, SYSCTL_FILE, SWAP.

# An entry of /etc/fstab whose third field is swap, up to that field.
SWAP_LINE='^[^#[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]'

load_modules() {
	for module in ${MODULES:-}; do
		[ ! -d "/sys/module/$(echo "$module" | tr - _)" ] || continue
		module_words=$(modprobe "$module" 2>&1) ||
			warn "kernel module $module was not loaded (${module_words:-no reason given}); harmless where it is built in or belongs to the machine beneath a container"
	done
}

set_sysctls() {
	[ -n "${SYSCTL_FILE:-}" ] || return 0
	[ -f "$SYSCTL_FILE" ] || fail bad_input "The file $SYSCTL_FILE should have been in place before this step. Please report this as a mistake in kubewright."
	changed=0
	while IFS='=' read -r key value; do
		key=$(echo "$key" | tr -d ' \t')
		case $key in '' | '#'* | ';'*) continue ;; esac
		# A leading "-" is sysctl's own mark for "never mind if it cannot be set".
		optional=no
		case $key in -*) key=${key#-} optional=yes ;; esac
		value=$(echo "$value" | awk '{ $1 = $1; print }')
		file=/proc/sys/$(echo "$key" | tr . /)
		# A key comes with its module, so a kernel without the feature has no such file.
		if [ ! -f "$file" ]; then
			[ $optional = yes ] || warn "sysctl $key does not exist in this kernel"
			continue
		fi
		# Not "read": these files answer only a reader that takes the whole value at once.
		current=$(awk '{ $1 = $1; print }' "$file" 2>/dev/null)
		[ "$current" != "$value" ] || continue
		if (echo "$value" >"$file") 2>/dev/null; then
			changed=$((changed + 1))
		elif [ $optional = no ]; then
			warn "sysctl $key is $current and could not be set to $value; on a container set it on the machine beneath"
		fi
	done <"$SYSCTL_FILE"
	[ $changed -eq 0 ] || say "sysctl: $changed set"
}

# swap_on: whether the kernel swaps anywhere (the first line of the file is its heading).
swap_on() {
	[ "$(wc -l </proc/swaps)" -gt 1 ]
}

turn_swap_off() {
	[ "$SWAP" = off ] || return 0
	# Marked, so that reset can give the lines back.
	if grep -Eq "$SWAP_LINE" /etc/fstab 2>/dev/null; then
		if ! { cp -p /etc/fstab /etc/fstab.kubewright-new &&
			sed -E "s/$SWAP_LINE/#kubewright# &/" /etc/fstab >/etc/fstab.kubewright-new &&
			place /etc/fstab.kubewright-new /etc/fstab; }; then
			fail disk_full "/etc/fstab could not be rewritten. Check that / is writable and has space, then run again."
		fi
		say "swap: taken out of /etc/fstab (the lines are kept as comments)"
	fi
	swap_on || return 0
	swapoff -a 2>/dev/null
	if swap_on; then
		warn "swap is still on; the kubelet starts only if its configuration says failSwapOn: false"
	else
		say "swap: off"
	fi
}
