# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: addresses, routes and ports.

addresses() {
	if list=$(ip -o addr show 2>&1); then
		printf '%s\n' "$list" >"$answers/addresses"
		while read -r _ interface _ address _; do
			[ "$interface" = lo ] || item address "$interface $address"
		done <"$answers/addresses"
		end_of address
	else
		unreadable address "$list"
	fi
}

default_interface() {
	while read -r interface destination _ _ _ _ _ mask _; do
		if [ "$destination" = 00000000 ] && [ "$mask" = 00000000 ]; then
			known default-interface "$interface"
			return
		fi
	done </proc/net/route
	if [ -r /proc/net/ipv6_route ]; then
		while read -r destination length _ _ _ _ _ _ _ interface; do
			if [ "$destination$length" = 0000000000000000000000000000000000 ] && [ "$interface" != lo ]; then
				known default-interface "$interface"
				return
			fi
		done </proc/net/ipv6_route
	fi
	absent default-interface
}

# sockets KEY: standard input is ss's list; each port with the process that has it, where that can be seen.
sockets() {
	while read -r _ _ _ local _ process; do
		[ -n "$local" ] || continue
		process=${process#*\"}
		item "$1" "${local##*:} ${process%%\"*}"
	done
	end_of "$1"
}

listening() {
	if ! list=$(ss -Hltnp 2>&1); then
		unreadable listening "$list"
		return
	fi
	sockets listening <<LINES
$list
LINES
}

network() {
	addresses
	default_interface
	listening
	# Its stub is of no use inside of pods; then kubelets need the file with the real servers.
	case $(readlink -f /etc/resolv.conf) in
	/run/systemd/resolve/*) known systemd-resolved true ;;
	*) known systemd-resolved false ;;
	esac
}
