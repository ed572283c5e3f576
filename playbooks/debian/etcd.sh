# Part: this host's etcd: its container and its data. Needs say.sh and static-pods.sh; value CRI_SOCKET and, for its container, NODE_NAME.

# etcd_container: prints the id of its newest container that runs, nothing when none does.
etcd_container() {
	etcd_ids=$(ids_of_pod ps etcd --label io.kubernetes.container.name=etcd --state running) || exit
	printf '%s\n' "$etcd_ids" | head -n 1
}

# no_etcd_runs: fails where an etcd may still write what is about to be moved, whoever started it. etcd holds its database locked
# (flock) for as long as it lives.
no_etcd_runs() {
	etcd_ids=$(ids_of ps --label io.kubernetes.container.name=etcd --state running) || exit
	[ -z "$etcd_ids" ] ||
		fail service_failed "A container of etcd still runs: $(printf '%s\n' "$etcd_ids" | head -n 1). $SAFE See 'crictl ps --name etcd' on this host, end it, then run again."
	[ ! -f /var/lib/etcd/member/snap/db ] || flock --nonblock /var/lib/etcd/member/snap/db true ||
		fail service_failed "A process still has etcd's database open. $SAFE 'lslocks | grep etcd' on this host tells which; end it, then run again."
}

# keep_etcd: the data moves aside, by renaming alone. Where the folder is a disk of its own its contents move within.
keep_etcd() {
	[ -n "$(ls -A /var/lib/etcd 2>/dev/null)" ] || return 0
	kept=etcd.$(date -u +%Y%m%dT%H%M%SZ)
	if mountpoint -q /var/lib/etcd; then
		[ -e /var/lib/etcd/member ] || return 0
		kept=/var/lib/etcd/member.${kept#etcd.}
		mv -T /var/lib/etcd/member "$kept"
	else
		kept=/var/lib/$kept
		mv -T /var/lib/etcd "$kept"
	fi || fail service_failed "etcd's data could not be moved aside to $kept. It is untouched; look at 'ls -la /var/lib/etcd', then run again."
	sync "$(dirname "$kept")"
	say "etcd: its data is kept in $kept; delete it yourself when nobody needs it"
}
