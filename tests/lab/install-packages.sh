#!/bin/sh
# Installs what the lab and the build need from Debian, and nothing when it is there: a fraction of a second then.
#
# Arguments: further packages.
#
# golang is not among them: the artefact builder looks for it only when the official downloads cannot be reached, and
# then says which Go it takes or how one arrives.
set -eu

# Debian's own Rust is too old for this; installing another is the user's decision.
if ! command -v cargo >/dev/null; then
	echo "cargo is missing. Install Rust with rustup (https://rustup.rs), open a new shell, and run make again." >&2
	echo "rust-toolchain.toml names the version; rustup fetches it by itself." >&2
	exit 1
fi

packages="
debootstrap podman runc netavark iptables nftables conntrack iproute2 util-linux
openssh-client openssh-server curl jq skopeo docker-registry busybox haproxy
gcc libc6-dev libseccomp-dev protobuf-compiler libprotobuf-dev shellcheck $*"

missing=
for package in $packages; do
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
	ii*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

echo "Installing with apt:$missing"
if ! command -v apt-get >/dev/null; then
	echo "This is no Debian: install the equivalents of these packages by hand." >&2
	exit 1
fi
run=
if [ "$(id -u)" != 0 ]; then run=sudo; fi
export DEBIAN_FRONTEND=noninteractive
# The package lists may be older than the packages they name: fetched only when that shows. Debian's own services of
# haproxy, sshd and docker-registry must not start on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $run tee "$policy" >/dev/null
	$run chmod 0755 "$policy"
	trap '$run rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086 # a list of words
install() { $run apt-get install -y -q --no-install-recommends $missing; }
install || { $run apt-get update -q && install; }
