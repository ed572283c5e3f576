#!/bin/sh
# Makes a lab host of a plain Debian: users, sshd, and the guards that keep whatever runs in it from changing the
# machine whose kernel it shares.
#
#   customise.sh <folder of this script's files> <tar file of debian.sh> <tar file to write>
#
# Needs root. The tar file appears only when it is whole.
set -eu

files=$1
debian=$2
output=$3

work=$(mktemp -d "$(dirname "$output")/rootfs.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
mkdir "$root"
tar -C "$root" --xattrs --xattrs-include=security.capability -xpf "$debian"

# People: `ops` may do everything without a password, `opspw` with one (the password is "lab").
chroot "$root" useradd --create-home --shell /bin/bash ops
chroot "$root" useradd --create-home --shell /bin/bash opspw
echo 'opspw:lab' | chroot "$root" chpasswd
printf 'ops ALL=(ALL:ALL) NOPASSWD: ALL\nopspw ALL=(ALL:ALL) ALL\n' >"$root/etc/sudoers.d/lab"
chmod 0440 "$root/etc/sudoers.d/lab"

# Identities are made at a host's first start, so no two hosts share them.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
# systemd would take this one, the same for all, before it made a new one.
rm -f "$root/var/lib/dbus/machine-id"

install -m 0644 "$files/sshd.conf" "$root/etc/ssh/sshd_config.d/lab.conf"
install -m 0755 "$files/lab-init.sh" "$root/sbin/lab-init"

# A guard takes the place of the real program, so that absolute paths and sudo's secure_path meet it too.
# kmod is the one file behind modprobe, insmod, rmmod and depmod.
for program in sbin/swapoff sbin/swapon bin/kmod; do
	rm -f "$root/$program"
	install -m 0755 "$files/guard.sh" "$root/$program"
done

# What cannot work on a shared kernel, or would only cost time at every start.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
	systemd-udevd-kernel.socket systemd-timesyncd.service getty.target console-getty.service \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
	systemd-tmpfiles-clean.timer; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

tar -C "$root" --xattrs --xattrs-include=security.capability -cf "$output.partial" .
mv "$output.partial" "$output"
