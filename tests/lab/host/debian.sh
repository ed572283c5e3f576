#!/bin/sh
# Makes a plain Debian with the packages of a host, as a tar file: the slow part of a host's image, which changes only
# with the package list.
#
#   debian.sh <package list> <tar file to write>
#
# Needs root and debootstrap. The tar file appears only when it is whole.
set -eu

packages=$1
output=$2
# The release that everything in README.md was measured with.
suite=bookworm

# A machine that is Debian itself knows a mirror that it can reach; any other asks the default one.
mirror=
# shellcheck disable=SC1091 # every Linux has it
if . /etc/os-release && [ "$ID" = debian ]; then
	# shellcheck disable=SC2016 # $(SITE) is apt's
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
fi

work=$(mktemp -d "$(dirname "$output")/rootfs.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root

debootstrap --variant=minbase --include="$(paste -sd, "$packages")" "$suite" "$root" ${mirror:+"$mirror"}

rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
	"$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*

# ping's capability is an extended attribute.
tar -C "$root" --xattrs --xattrs-include=security.capability -cf "$output.partial" .
mv "$output.partial" "$output"
