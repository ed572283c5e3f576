#!/bin/sh
# First process of a lab host: makes the host safe for the machine beneath and distinct from other hosts,
# then becomes systemd.
set -eu

# A host shares the kernel, so only network settings, which belong to its own network namespace, may change.
# The kubelet, sysctl and systemd-sysctl all meet a read-only file system elsewhere.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net
# A kernel may be built without it.
if [ -e /proc/sysrq-trigger ]; then
	mount --bind /proc/sysrq-trigger /proc/sysrq-trigger
	mount -o remount,bind,ro /proc/sysrq-trigger
fi

# The kernel's boot id is one for all hosts and does not change when a host restarts; a fresh one per start
# makes "has it rebooted?" a real question.
cat /proc/sys/kernel/random/uuid >/run/lab-boot-id
mount --bind /run/lab-boot-id /proc/sys/kernel/random/boot_id

# The kubelet insists on five settings of the whole kernel, and may have them here: files of the host's own stand in
# for them, with the values the kubelet wants, so that it neither fails nor changes anything beneath.
while read -r setting value; do
	mkdir -p /run/lab-sysctl
	echo "$value" >"/run/lab-sysctl/${setting##*/}"
	mount --bind "/run/lab-sysctl/${setting##*/}" "/proc/sys/$setting"
done <<SETTINGS
vm/overcommit_memory 1
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS

# A machine starts without rules. A container keeps its network over a restart and kube-proxy's table in it; kube-proxy
# would fill that table anew, which loses the map of Services with nft 1.0.6 on Linux 6.18 (seen).
nft flush ruleset 2>/dev/null || :

# A machine has a default route, and needs it: without a route that covers it, the kernel gives up on a Service's address
# before kube-proxy's rules see the packet, and API servers reach no webhook. This one leads to nobody.
ip route add default dev eth0 2>/dev/null || :

# podman mounts these three over the host's own; as mounts they could not be replaced by a rename, as a
# node's preparation does. A plain Debian host has plain files.
for file in hosts hostname resolv.conf; do
	if mountpoint -q "/etc/$file"; then umount "/etc/$file"; fi
done

# The first start gives the host its identity; what its users change afterwards survives restarts. A host that was
# copied from another one (a snapshot) gets its own.
identity="$(hostname) ${LAB_HOSTS:-} ${LAB_AUTHORIZED_KEY:-}"
if [ "$(cat /etc/lab-host 2>/dev/null)" != "$identity" ]; then
	hostname >/etc/hostname
	printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >/etc/hosts
	# "10.77.0.11 cp1,10.77.0.12 cp2": the lab's hosts know each other's names.
	echo "${LAB_HOSTS:-}" | tr , '\n' >>/etc/hosts
	# Nothing answers there: a question about a name fails at once instead of waiting for a timeout.
	echo "nameserver ${LAB_NAMESERVER:-127.0.0.1}" >/etc/resolv.conf
	rm -f /etc/ssh/ssh_host_*
	ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
	: >/etc/machine-id
	# systemd would take this one over, the same on every copy, before it made a new one.
	rm -f /var/lib/dbus/machine-id
	# The key of whoever raised the lab.
	for user in root ops opspw; do
		home=$(getent passwd "$user" | cut -d: -f6)
		install -d -m 0700 -o "$user" -g "$user" "$home/.ssh"
		echo "${LAB_AUTHORIZED_KEY:-}" >"$home/.ssh/authorized_keys"
		chown "$user:$user" "$home/.ssh/authorized_keys"
		chmod 0600 "$home/.ssh/authorized_keys"
	done
	echo "$identity" >/etc/lab-host
fi

# Mounts of a pod must be seen by the kubelet and the other way round.
mount --make-rshared /

# Without these two nothing in a host can load a module or set the machine's clock, whatever it calls.
exec setpriv --bounding-set=-sys_module,-sys_time /sbin/init
