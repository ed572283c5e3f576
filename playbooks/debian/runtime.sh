# Part: containerd and its images. Needs say.sh; value CRI_SOCKET.
#
# IMAGES holds one image a line: reference digest. The digest is what the tag must resolve to (the index of a
# multi-platform image), or "-" when unknown.

ctr_here() {
	ctr --address "${CRI_SOCKET#unix://}" --namespace k8s.io "$@"
}

# containerd_print: prints one digest of everything that containerd reads only when it starts.
containerd_print() {
	{
		find /etc/containerd/config.toml /etc/containerd/conf.d /etc/systemd/system/containerd.service \
			/etc/systemd/system/containerd.service.d -type f -exec sha256sum {} + 2>/dev/null | sort
		cat "$STATE"/artefacts/containerd* 2>/dev/null
	} | sha256sum | cut -d ' ' -f 1
}

# list_images FILE: writes "reference digest" lines of what the CRI has; why not, if not, into FILE.error.
list_images() {
	ctr_here images ls >"$1.table" 2>"$1.error" && awk 'NR > 1 { print $1, $3 }' "$1.table" >"$1"
}

# lacking_image HAVE REF DIGEST: prints why an image whose digest here is HAVE is not as wanted; nothing when it is.
lacking_image() {
	if [ -z "$1" ]; then
		echo "image $2 is not there"
	elif [ "$3" != - ] && [ "$3" != "$1" ]; then
		echo "image $2 has the digest $1, not $3"
	fi
}

# pull REF DIGEST: fetches one image and proves its digest.
#
# crictl and not ctr: as quick (five images of 120 MB in all: 3 to 5 s either way), but ctr leaves no record under the
# digest, so that pods would show an image's id instead of its digest, and only the CRI ends a pull that hangs.
pull() {
	now
	began=$NOW
	log=$WORK/pull.$(echo "$1" | tr -c 'A-Za-z0-9.\n' _)
	tries=0
	until crictl --runtime-endpoint "$CRI_SOCKET" pull "$1" >"$log" 2>&1; do
		words=$(plain <"$log" | grep . | tail -n 1)
		case $words in
		*'no space left'*) fail disk_full "Image $1 could not be stored: the disk of containerd is full. Free some space below /var/lib/containerd on this host, then run again." ;;
		*': not found'* | *'unauthorized'* | *'denied'* | *'x509'*) tries=3 ;;
		esac
		tries=$((tries + 1))
		[ $tries -lt 3 ] ||
			fail no_network "Image $1 could not be pulled: $words. Check the registry or its mirror in /etc/containerd/certs.d and in the cluster file, then run again."
		# A registry has no event to wait for.
		sleep $tries
	done
	[ "$2" = - ] && {
		say "image $1: pulled in $(since "$began")"
		return
	}
	have=$(ctr_here images ls "name==$1" 2>/dev/null | awk 'NR == 2 { print $3 }')
	if [ "$have" != "$2" ]; then
		# What nobody planned must not lie about under a name that a pod may ask for.
		ctr_here images rm "$1" "${1%:*}@$have" >/dev/null 2>&1
		fail wrong_digest "Image $1 has the digest $have, but $2 is expected; it was removed again. Either the registry's tag moved or the mirror holds another image: compare both digests with those its makers publish, mend the mirror or the cluster file, then run again."
	fi
	say "image $1: pulled in $(since "$began"), digest as planned"
}
