# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: the machine and its operating system. Reads files with the shell's own means where it can: each program started
# costs a millisecond or two, and a fan-out asks many hosts at once.

os() {
	id='' version_id='' id_like='' pretty=''
	for file in /etc/os-release /usr/lib/os-release; do
		[ -r "$file" ] || continue
		while IFS='=' read -r name value; do
			value=${value#[\"\']}
			value=${value%[\"\']}
			case $name in
			ID) id=$value ;;
			VERSION_ID) version_id=$value ;;
			ID_LIKE) id_like=$value ;;
			PRETTY_NAME) pretty=$value ;;
			esac
		done <"$file"
		known os "$id|$version_id|$id_like|$pretty"
		return
	done
	unreadable os 'there is no os-release'
}

memory() {
	while read -r name kib _; do
		[ "$name" != MemTotal: ] || {
			known memory-kib "$kib"
			return
		}
	done </proc/meminfo
}

swap() {
	while read -r device _; do
		[ "$device" = Filename ] || item swap "$device"
	done </proc/swaps
	end_of swap
} 2>/dev/null

# One stat for the cgroup hierarchy and for the room that we need.
file_systems() {
	stat -f -c '%n %a %S %d %c %b %T' /sys/fs/cgroup /var/lib /usr/local /etc /opt \
		/var/lib/containerd /var/lib/etcd /var/lib/kubelet 2>/dev/null >"$answers/room"
	while read -r path free size inodes all blocks kind; do
		case $path in
		/sys/fs/cgroup)
			case $kind in
			cgroup2fs) known cgroup 2 ;;
			tmpfs) known cgroup 1 ;;
			*) unreadable cgroup "/sys/fs/cgroup is a $kind" ;;
			esac
			;;
		*) item space "$path $free $size $inodes $all $blocks" ;;
		esac
	done <"$answers/room"
	end_of space
}

virtualisation() {
	kind=$(systemd-detect-virt --vm 2>/dev/null) || kind=
	[ "$kind" != none ] || kind=
	known_or_absent vm "$kind"
	kind=
	[ ! -r /run/systemd/container ] || IFS= read -r kind </run/systemd/container
	[ -n "$kind" ] || kind=$(systemd-detect-virt --container 2>/dev/null) || kind=
	[ "$kind" != none ] || kind=
	known_or_absent container "$kind"
}

# dpkg and apt lock with fcntl, which /proc/locks shows; rpm's tools leave a file with their process.
package_lock() {
	inodes=" $(stat -c %i /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/lib/rpm/.rpm.lock 2>/dev/null | tr '\n' ' ')"
	while read -r _ _ _ _ pid place _; do
		case $inodes in
		*" ${place##*:} "*)
			name=
			[ ! -r "/proc/$pid/comm" ] || IFS= read -r name <"/proc/$pid/comm"
			known package-lock "${name:-a process} ($pid)"
			return
			;;
		esac
	done </proc/locks
	absent package-lock
}

system() {
	read -r name </proc/sys/kernel/hostname && known hostname "$name"
	first_line machine-id /etc/machine-id
	first_line boot-id /proc/sys/kernel/random/boot_id
	known_or_absent sudo-user "${SUDO_USER:-}"
	os
	known architecture "$(uname -m)"
	first_line kernel /proc/sys/kernel/osrelease
	known cpus "$(nproc)"
	memory
	swap
	file_systems
	virtualisation
	package_lock
}
