# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: whether this machine can become a node. Asked for planning, and only where nothing was built: measuring and trying
# would disturb a node, and a node needs neither. What takes a program runs in the background, as in questions.sh.
#
# Values
#   FITNESS   yes: wanted
#   FSYNC     yes: an etcd member is to run here, so its disk is measured
#   NAMES     names whose addresses are wanted, separated by spaces

# What preparing a host calls and no package of ours brings. curl is told among the versions.
NEEDED_PROGRAMS='apt-get awk base64 dpkg dpkg-query flock grep gzip mount nsenter readlink sed sha256sum sync systemctl systemd-run tar timeout'

MODULES='overlay br_netfilter nf_tables vxlan'

SYSCTLS='net.ipv4.ip_forward vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.netfilter.nf_conntrack_max fs.inotify.max_user_instances'

# Folders whose file systems matter.
PLACES='/etc /opt /usr/local /var/lib /var/lib/containerd /var/lib/etcd /var/lib/kubelet'

# A series as etcd's own guide measures it: 2300 bytes each, synced each. Enough of them for a 99th percentile; a disk that
# needs longer than this many seconds for them has shown what it is.
WRITES=100
WRITE_SECONDS=1

programs() {
	for program in $NEEDED_PROGRAMS; do
		command -v "$program" >/dev/null || item missing-program "$program"
	done
	end_of missing-program
}

controllers() {
	if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
		first_line cgroup-controllers /sys/fs/cgroup/cgroup.controllers
	elif [ -r /proc/cgroups ]; then
		list=
		while read -r name _ _ enabled; do
			[ "$enabled" != 1 ] || list="$list $name"
		done </proc/cgroups
		known cgroup-controllers "${list# }"
	else
		unreadable cgroup-controllers 'neither cgroup.controllers nor /proc/cgroups is there'
	fi
}

# A feature that is built in without parameters leaves no folder in /sys/module, but other traces.
is_present() {
	[ ! -d "/sys/module/$1" ] || return 0
	case $1 in
	overlay) grep -qw overlay /proc/filesystems ;;
	br_netfilter) [ -d /proc/sys/net/bridge ] ;;
	nf_tables) command -v nft >/dev/null && nft list tables >/dev/null 2>&1 ;;
	*) return 1 ;;
	esac
}

module() {
	if is_present "$1"; then
		known "module/$1" present
	elif ! command -v modprobe >/dev/null; then
		unreadable "module/$1" 'there is no modprobe'
	elif ! said=$(modprobe --dry-run --verbose "$1" 2>&1); then
		absent "module/$1"
	else
		case $said in
		*'install /bin/true'* | *'install /bin/false'* | *'install /usr/bin/true'* | *'install /usr/bin/false'*) known "module/$1" forbidden ;;
		*) known "module/$1" loadable ;;
		esac
	fi
}

# Not the shell's own `read`, which takes a byte at a time: these files answer only a reader that takes all at once.
sysctls() {
	set --
	for name in $SYSCTLS; do
		file=/proc/sys/$(echo "$name" | tr . /)
		[ ! -r "$file" ] || set -- "$@" "$file"
	done
	[ $# -eq 0 ] || awk 'FNR == 1 { print FILENAME, $0 }' "$@" | while read -r file value; do
		mode=ro
		[ ! -w "$file" ] || mode=rw
		item sysctl "$(echo "${file#/proc/sys/}" | tr / .) $mode $value"
	done
	end_of sysctl
}

# mounts: for each folder the file system it lies on, or will: the last of the longest mount points above it.
mounts() {
	[ -r /proc/self/mounts ] || {
		unreadable mount 'there is no /proc/self/mounts'
		return
	}
	for place in $PLACES; do
		echo "$place $(readlink -m "$place")"
	done | awk '
		NR == FNR { point[++points] = $2; kind[points] = $3; options[points] = $4; next }
		{
			best = 0
			for (i = 1; i <= points; i++) {
				inside = point[i] == "/" || $2 == point[i] || index($2, point[i] "/") == 1
				if (inside && (!best || length(point[i]) >= length(point[best]))) best = i
			}
			if (best) print $1, kind[best], options[best]
		}' /proc/self/mounts - | items mount
}

# fsync: small writes, each of them on the disk before the next. The file has no name any more when the first is made, so
# that nothing is left whatever happens.
fsync() {
	# A member that runs here already is not disturbed.
	if [ "${FSYNC:-}" != yes ] || [ -e /var/lib/etcd/member ]; then
		absent fsync
		return
	fi
	folder=/var/lib/etcd
	[ -d "$folder" ] || folder=/var/lib
	file=$(mktemp "$folder/.kubewright-fsync.XXXXXX" 2>/dev/null) || {
		unreadable fsync "nothing can be written to $folder"
		return
	}
	exec 3<>"$file"
	rm -f "$file"
	sleep $WRITE_SECONDS &
	end=$!
	count=0
	while [ $count -lt $WRITES ] && kill -0 $end 2>/dev/null; do
		LC_ALL=C dd if=/dev/zero of=/dev/fd/3 bs=2300 count=1 seek=$count oflag=dsync conv=notrunc 2>&1 || break
		count=$((count + 1))
	done >"$answers/fsync"
	kill $end 2>/dev/null
	exec 3>&-
	times=$(awk '/copied,/ { sub(/.*copied, /, ""); printf "%d\n", $1 * 1000000 }' "$answers/fsync" | sort -n | awk '
		{ time[NR] = $1 }
		END { if (NR) print NR, time[int((NR + 1) / 2)], time[int((NR * 99 + 99) / 100)], time[NR] }')
	if [ -n "$times" ]; then
		known fsync "$times"
	else
		unreadable fsync "$(tail -n 1 "$answers/fsync")"
	fi
}

clock_synchronised() {
	case $(timeout 5 timedatectl show --property=NTPSynchronized --value 2>/dev/null) in
	yes) known clock-synchronised true ;;
	no) known clock-synchronised false ;;
	*) unreadable clock-synchronised 'timedatectl does not tell' ;;
	esac
}

selinux() {
	mode=
	[ ! -r /sys/fs/selinux/enforce ] || read -r mode </sys/fs/selinux/enforce
	case $mode in
	1) known selinux enforcing ;;
	0) known selinux permissive ;;
	*) absent selinux ;;
	esac
}

routes() {
	if ! list=$(ip -4 route show 2>&1); then
		unreadable route "$list"
		return
	fi
	printf '%s\n' "$list" | awk '
		$1 == "default" || $1 == "nexthop" || NF < 2 { next }
		$1 ~ /^[0-9]/ { device = "several"; for (i = 2; i < NF; i++) if ($i == "dev") device = $(i + 1); print $1, device; next }
		$2 ~ /^[0-9]/ { print $2, $1 }' | items route
}

listening_udp() {
	if ! list=$(ss -Hlnup 2>&1); then
		unreadable listening-udp "$list"
		return
	fi
	sockets listening-udp <<LINES
$list
LINES
}

# What pods will be given: behind systemd-resolved's stub, the file with the real servers.
name_servers() {
	file=/etc/resolv.conf
	case $(readlink -f $file) in /run/systemd/resolve/*) file=/run/systemd/resolve/resolv.conf ;; esac
	while read -r keyword server _; do
		[ "$keyword" != nameserver ] || item name-server "$server"
	done <$file
	end_of name-server
} 2>/dev/null

# name NAME: getent asks as every program does, /etc/hosts included. 2: no such name.
name() {
	list=$(timeout 5 getent ahosts "$1")
	case $? in
	0) printf '%s\n' "$list" | awk '!seen[$1]++ { print $1 }' | items "name/$1" ;;
	2) absent "name/$1" ;;
	*) unreadable "name/$1" 'no answer within 5 s' ;;
	esac
}

# proxy: without the password that may stand in its address.
proxy() {
	address=${https_proxy:-${HTTPS_PROXY:-${http_proxy:-${HTTP_PROXY:-}}}}
	if [ -z "$address" ]; then
		absent proxy
		return
	fi
	case $address in
	*://*@*) address=${address%%://*}://${address##*@} ;;
	*@*) address=${address##*@} ;;
	esac
	known proxy "$address ${no_proxy:-${NO_PROXY:-}}"
}

# firewalls: what says of itself that it is on, and packet filters that drop what no rule names. iptables' own tables are
# nftables' on all but old systems.
firewalls() {
	while IFS='=' read -r name value; do
		case $name=$value in ENABLED=yes | ENABLED=\"yes\") item firewall ufw ;; esac
	done </etc/ufw/ufw.conf
	[ ! -d /run/firewalld ] || item firewall firewalld
	if command -v nft >/dev/null && nft list chains >"$answers/chains"; then
		awk '
			$1 == "table" { table = $2 " " $3 }
			$1 == "chain" { chain = $2 }
			/hook (input|forward)/ && /policy drop/ { print "nftables drops by default in " table " " chain }' "$answers/chains" |
			while IFS= read -r line; do item firewall "$line"; done
	fi
	if [ -s /proc/net/ip_tables_names ] && command -v iptables-legacy >/dev/null; then
		iptables-legacy -S | while read -r flag chain policy; do
			case "$flag $chain $policy" in '-P INPUT DROP' | '-P FORWARD DROP') item firewall "iptables drops by default in $chain" ;; esac
		done
	fi
	end_of firewall
} 2>/dev/null

# Files that a container runtime would read.
cni_configurations() {
	for file in /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json; do
		[ ! -e "$file" ] || item cni-configuration "${file##*/}"
	done
	end_of cni-configuration
}

traces() {
	while read -r tool path; do
		[ ! -e "$path" ] || item trace "$tool $path"
	done <<LINES
k3s /etc/rancher/k3s
k3s /var/lib/rancher/k3s
k3s /etc/systemd/system/k3s.service
k3s /etc/systemd/system/k3s-agent.service
rke2 /etc/rancher/rke2
rke2 /var/lib/rancher/rke2
k0s /etc/k0s
k0s /var/lib/k0s
microk8s /var/snap/microk8s
minikube /var/lib/minikube
kubeadm /etc/kubernetes/kubelet.conf
kubeadm /etc/kubernetes/bootstrap-kubelet.conf
kubeadm /etc/kubernetes/admin.conf
LINES
	for file in /etc/kubernetes/manifests/*.yaml; do
		[ ! -e "$file" ] || item trace "kubeadm $file"
	done
	end_of trace
}

# A socket without its process is what a crash left.
runtime_sockets() {
	if ! list=$(ss -Hlx 2>&1); then
		unreadable runtime-socket "$list"
		return
	fi
	printf '%s\n' "$list" | awk '
		$5 ~ "^(/var)?/run/(docker|crio/crio|cri-dockerd|containerd/containerd|k3s/containerd/containerd)[.]sock$" {
			sub("^/var", "", $5)
			if (!seen[$5]++) print $5
		}' | items runtime-socket
}

# dpkg's list has a few megabytes: one look for what is not as it should be.
broken_packages() {
	if [ ! -r /var/lib/dpkg/status ]; then
		unreadable broken-package 'there is no /var/lib/dpkg/status'
		return
	fi
	set -- /var/lib/dpkg/updates/*
	[ ! -e "$1" ] || item broken-package 'an interrupted dpkg'
	awk '
		$1 == "Package:" { package = $2 }
		$1 == "Status:" && ($3 == "reinstreq" || $4 ~ /^(half-|unpacked|triggers-)/) { print package " (" $4 ")" }' /var/lib/dpkg/status |
		items broken-package
}

is_bare() {
	[ ! -e "$STATE/host" ]
}

# fitness_asked: begins what takes programs; the rest is fitness_seen's.
fitness_asked() {
	[ "${FITNESS:-}" = yes ] && is_bare || return 0
	ask fsync
	ask clock_synchronised
	for name in $MODULES; do
		ask module "$name"
	done
	read -r own </proc/sys/kernel/hostname
	for name in $own ${NAMES:-}; do
		ask name "$name"
	done
	for question in sysctls mounts routes listening_udp firewalls runtime_sockets broken_packages; do
		ask $question
	done
}

fitness_seen() {
	if [ "${FITNESS:-}" != yes ] || ! is_bare; then
		absent fitness
		return
	fi
	known fitness asked
	if [ -d /run/systemd/system ]; then known systemd true; else known systemd false; fi
	programs
	controllers
	selinux
	name_servers
	proxy
	cni_configurations
	traces
}
