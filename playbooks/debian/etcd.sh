# Part: this host's etcd: its container and its data. Needs say.sh; value CRI_SOCKET.

# etcd_container STATE: prints the id of the newest of its containers in this state ("running", "exited"), nothing when there is none.
etcd_container() {
	etcd_ids=$(timeout 20 crictl --runtime-endpoint "$CRI_SOCKET" ps --state "$1" --quiet --no-trunc \
		--label io.kubernetes.container.name=etcd --label io.kubernetes.pod.namespace=kube-system 2>&1) ||
		fail service_failed "containerd does not tell its containers: $(printf '%s\n' "$etcd_ids" | plain | tail -n 1). Nothing was ended. See 'systemctl status containerd' on this host, then run again."
	# crictl lists the newest first, and warns where it likes.
	printf '%s\n' "$etcd_ids" | grep -xE '[0-9a-f]{64}' | head -n 1
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
