# shellcheck disable=SC2317 # parts of the task are named to the function that calls them
#
# Task: a part of all of etcd going back to a snapshot, or of taking that back. DESIGN.md §5 has the order.
# Parts before it: say.sh service.sh health.sh wait.sh static-pods.sh etcd.sh
#
# Values
#   PART             sight | prepare | stop | exchange | start-etcd | start-server | refresh | start-controllers | finalize
#   OF               the operation that made the restore; for all but sight and refresh
#   NODE_NAME ADVERTISE_ADDRESS API_PORT CRI_SOCKET DEADLINE_SECONDS
#   SNAPSHOT DIGEST TOKEN INITIAL_CLUSTER PEER_URL BUMP   for prepare
#   WAY              forward | back, for exchange
#   CONTROL_PLANE    yes | no
# Kept on the host: /var/lib/etcd.restored-OF until it comes in, /var/lib/etcd.before-OF with what was in use before (empty where nothing
# was), /var/lib/etcd.undone-OF with what was taken back, /var/lib/kubewright/restore with the static pods' manifests while they are stopped.
# Harmless when run again at any point. Ends with 0, or 20 23 25 26 (README.md).

MANIFESTS=/etc/kubernetes/manifests
RESTORE=/var/lib/kubewright/restore
# A kube-apiserver that was told to send its clients elsewhere is gone in 2 to 4 s.
SERVER_SECONDS=5
ETCD_SECONDS=10

# etcd_image: prints the image of this host's etcd, wherever its manifest is.
etcd_image() {
	sed -n 's/^ *image: *//p' "$MANIFESTS/etcd.yaml" "$RESTORE/etcd.yaml" 2>/dev/null | head -n 1
}

# with_etcdutl COMMAND...: runs it with ETCDUTL, the program in the image of this host's etcd, while that is mounted.
with_etcdutl() {
	# containerd 2.2 and later remember a place for a day after it was unmounted, and mount nothing there again.
	mounted=$WORK/image.$(date +%s)-$$
	mkdir -p "$mounted"
	ctr --namespace k8s.io images mount "$(etcd_image)" "$mounted" >/dev/null 2>"$WORK/mount" || return
	ETCDUTL=$mounted/usr/local/bin/etcdutl
	"$@"
	with_status=$?
	release_image "$mounted"
	return $with_status
}

# release_image PLACE: nothing of an image is mounted there any more.
release_image() {
	umount "$1" 2>/dev/null
	ctr --namespace k8s.io snapshots remove "$1" >/dev/null 2>&1
}

etcdutl_version() {
	"$ETCDUTL" version 2>/dev/null | sed -n 's/^etcdutl version: */etcdutl /p'
}

# sight: tells what a plan has to know of this host.
sight() {
	workdir "restore-$$"
	with_etcdutl etcdutl_version
	rm -rf "$WORK"
	echo "free $(df --output=avail -B1 /var/lib | tail -n 1)"
	if mountpoint -q /var/lib/etcd; then echo mount; fi
	[ -f "$RESTORE/of" ] || return 0
	read -r of <"$RESTORE/of"
	before=/var/lib/etcd.before-$of
	[ -d "$before" ] || before=/var/lib/etcd
	if [ -d "$before/member" ]; then echo "kept $of data"; else echo "kept $of none"; fi
}

run_etcdutl() {
	"$ETCDUTL" snapshot restore "$SNAPSHOT" --data-dir "$restored.new" --name "$NODE_NAME" --initial-cluster "$INITIAL_CLUSTER" \
		--initial-cluster-token "$TOKEN" --initial-advertise-peer-urls "$PEER_URL" --bump-revision "$BUMP" --mark-compacted \
		>"$WORK/said" 2>&1
}

prepare() {
	require SNAPSHOT DIGEST TOKEN INITIAL_CLUSTER PEER_URL BUMP
	restored=/var/lib/etcd.restored-$OF
	if [ -d "$restored" ] || [ -d "/var/lib/etcd.before-$OF" ]; then
		say "restored before"
		return
	fi
	[ "$(sha256sum <"$SNAPSHOT" | cut -d ' ' -f 1)" = "$DIGEST" ] ||
		fail service_failed "$SNAPSHOT on this host is not the snapshot that was planned with. Nothing was stopped."
	# A run that was killed may have left one, and what is mounted must not be cleared away.
	for left in "$RUN"/restore.work/image.*; do
		release_image "$left"
	done
	workdir restore
	rm -rf "$restored.new"
	with_etcdutl run_etcdutl || {
		rm -rf "$restored.new"
		fail service_failed "etcdutl does not restore it: $(cat "$WORK/mount" "$WORK/said" 2>/dev/null | plain | tail -n 3). Nothing was stopped."
	}
	chmod 0700 "$restored.new"
	sync -f "$restored.new" && mv -T "$restored.new" "$restored" && sync /var/lib
	rm -f "$SNAPSHOT"
	rm -rf "$WORK"
	say "restored beside what is in use"
}

# put_manifest POD: it is back in the kubelet's sight.
put_manifest() {
	[ -f "$RESTORE/$1.yaml" ] || return 0
	# Whole at once, wherever the two folders are; the kubelet passes over names with a dot before them.
	{ cp -p "$RESTORE/$1.yaml" "$MANIFESTS/.$1.new" && place "$MANIFESTS/.$1.new" "$MANIFESTS/$1.yaml" && rm -f "$RESTORE/$1.yaml"; } || fail disk_full "The manifest of $1 could not come back from $RESTORE. Run again."
}

stop() {
	mkdir -p "$RESTORE" && chmod 0700 "$RESTORE" && echo "$OF" | write_file "$RESTORE/of" 0600 ||
		fail disk_full "Cannot write to $RESTORE. Nothing was stopped. Look at 'df /var/lib' on this host, then run again."
	systemctl stop kubelet 2>/dev/null
	! systemctl is-active --quiet kubelet ||
		fail service_failed "The kubelet does not stop. Nothing was ended. See 'systemctl status kubelet' on this host, then run again."
	for pod in kube-scheduler kube-controller-manager kube-apiserver etcd; do
		[ ! -f "$MANIFESTS/$pod.yaml" ] || place "$MANIFESTS/$pod.yaml" "$RESTORE/$pod.yaml" ||
			fail disk_full "The manifest of $pod could not be kept in $RESTORE. The kubelet is stopped; run again."
	done
	SAFE="etcd's data is untouched."
	end_static_pods $SERVER_SECONDS kube-scheduler kube-controller-manager || exit
	end_static_pods $SERVER_SECONDS kube-apiserver || exit
	end_static_pods $ETCD_SECONDS etcd || exit
	no_etcd_runs
}

exchange() {
	choice WAY forward back
	# shellcheck disable=SC2034 # no_etcd_runs tells it
	SAFE="etcd's data is untouched."
	no_etcd_runs
	before=/var/lib/etcd.before-$OF
	if [ "$WAY" = forward ]; then
		move_in "/var/lib/etcd.restored-$OF" "$before"
		[ -d "$before" ] || fail service_failed "Nothing was restored on this host for $OF."
	else
		move_in "$before" "/var/lib/etcd.undone-$OF"
	fi
	sync /var/lib
}

# move_in DATA ASIDE: what is in use moves aside, then the data comes in; what was done before is not done again.
move_in() {
	[ -d "$1" ] || return 0
	if [ -d "$2" ]; then
		# A run ended between the two: nothing has run since, so there is nothing of anybody's here.
		rmdir /var/lib/etcd 2>/dev/null
	elif [ -d /var/lib/etcd ]; then
		mv -T /var/lib/etcd "$2" || fail service_failed "etcd's data could not be moved to $2. It is untouched."
	else
		mkdir -m 0700 "$2"
	fi
	mv -T "$1" /var/lib/etcd || fail service_failed "$1 could not take its place. What was in use is in $2; run again."
	say "what was in use is kept in $2"
}

start_etcd() {
	put_manifest etcd
	start_kubelet
	wait_for etcd etcd ask_etcd
}

start_server() {
	put_manifest kube-apiserver
	start_kubelet
	wait_for kube-apiserver kube-apiserver ask_api "$ADVERTISE_ADDRESS"
}

# refresh: the kubelet registers anew. Pods of kube-proxy and the network add-on have no name of their own, so they are known by their
# DaemonSets' containers; the kubelet starts them again.
refresh() {
	systemctl restart kubelet 2>/dev/null || fail service_failed "The kubelet does not start. See 'journalctl -u kubelet' on this host."
	for name in kube-proxy kube-flannel cilium-agent calico-node; do
		for id in $(cri ps --quiet --no-trunc --state running --label "io.kubernetes.container.name=$name" | grep -xE '[0-9a-f]{64}'); do
			cri stop --timeout 2 "$id" >/dev/null
			say "$name: ended, the kubelet starts it again"
		done
	done
	follow_kubelet
	wait_for kubelet kubelet ask_kubelet
}

start_controllers() {
	put_manifest kube-controller-manager
	put_manifest kube-scheduler
	start_kubelet
	wait_for kube-controller-manager kube-controller-manager ask_controller_manager
	wait_for kube-scheduler kube-scheduler ask_scheduler
	# Nothing is kept any more where a restore was taken back.
	[ -d "/var/lib/etcd.before-$OF" ] || rm -f "$RESTORE/of"
}

finalize() {
	rm -rf "/var/lib/etcd.before-$OF" "/var/lib/etcd.restored-$OF" "/var/lib/etcd.undone-$OF" "$RESTORE" ||
		fail service_failed "/var/lib/etcd.before-$OF could not be deleted."
}

restore() {
	require PART CRI_SOCKET
	[ "$PART" != sight ] || {
		sight
		return
	}
	require OF NODE_NAME ADVERTISE_ADDRESS DEADLINE_SECONDS
	take_lock
	begin "$DEADLINE_SECONDS"
	case $PART in
	prepare | stop | exchange | refresh | finalize) "$PART" ;;
	start-etcd) start_etcd ;;
	start-server) start_server ;;
	start-controllers) start_controllers ;;
	*) fail bad_input "PART is $PART." ;;
	esac
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
restore </dev/null
exit
