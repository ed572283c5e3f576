#!/bin/sh
# Stands in for a program that would change the kernel, which a lab host shares with the machine beneath it.
name=$(basename "$0")
case $name in
swapoff | swapon)
	echo "$name: a lab host leaves the machine's swap alone" >&2
	exit 0
	;;
lsmod)
	exec cat /proc/modules
	;;
modprobe)
	missing=0
	for module in "$@"; do
		case $module in -*) continue ;; esac
		folder=$(echo "$module" | tr - _)
		# Built into the kernel without parameters, a module has no folder in /sys/module: a file system is
		# in /proc/filesystems then, and the bridge filter has its sysctls.
		if [ -d "/sys/module/$folder" ] || grep -qw "$module" /proc/filesystems; then continue; fi
		if [ "$folder" = br_netfilter ] && [ -d /proc/sys/net/bridge ]; then continue; fi
		echo "modprobe: FATAL: $module is not loaded, and a lab host loads nothing: load it on the machine beneath" >&2
		missing=1
	done
	exit "$missing"
	;;
*)
	echo "$name: a lab host changes no kernel modules" >&2
	exit 1
	;;
esac
