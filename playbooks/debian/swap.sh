# shellcheck disable=SC2317 # functions are named to each_program, which calls them
#
# Task: a host goes over to another version of Kubernetes, or back. The kubelet stops, static pods end in order, files and
# programs change, the kubelet starts again, and what it starts serves.
# Parts before it: say.sh artefacts.sh service.sh health.sh wait.sh serve.sh static-pods.sh
#
# Values
#   WAY                 forward | back
#   FOLDER              whose new/ holds the new texts, each at its own path; old/ gets what was there before
#   VERSION             what the kube-apiserver says in the end, such as v1.36.3
#   PROGRAMS            lines as ARTEFACTS of artefacts.sh; each with a link, and in its place already
#   NODE_NAME ADVERTISE_ADDRESS API_PORT CRI_SOCKET
#   CONTROL_PLANE ETCD NODE_LOCAL   yes | no
#   DEADLINE_SECONDS    for everything together
# Forward again after a crash does what is left. Back brings what old/ holds, but for etcd: one that has served is never
# followed by an older one.
# Ends with 0, or 20 23 25 26 (README.md).

# A kube-apiserver that was told to send its clients elsewhere is gone in 2 to 4 s, one that was not lingers for as long as
# its longest requests; then it has had its time, as under the kubelet.
SERVER_SECONDS=30
# etcd has handed over its leadership before, and needs less than a second.
ETCD_SECONDS=10

each_program() {
	ARTEFACTS=$PROGRAMS each_artefact "$@"
}

# each_text COMMAND: runs COMMAND path for every file that has a new text.
each_text() {
	find "$FOLDER/new" -type f >"$WORK/texts" || fail service_failed "$FOLDER/new cannot be read. Nothing was changed."
	while read -r text; do
		"$1" "${text#"$FOLDER/new"}" || return
	done <"$WORK/texts"
}

# --- what was there ---

keep_text() {
	if [ -e "$1" ]; then
		mkdir -p "$FOLDER/old${1%/*}" && cp -p "$1" "$FOLDER/old$1"
	else
		echo "$1" >>"$FOLDER/absent"
	fi
}

# keep_program NAME URL SHA KIND DEST MODE LINK MEMBERS
keep_program() {
	[ -L "$7" ] && [ -f "$STATE/artefacts/$1" ] ||
		fail service_failed "$7 on this host is not what kubewright put there, so there is no way back from another version. Nothing was changed."
	read -r kept_sha <"$STATE/artefacts/$1"
	echo "$1 $kept_sha $(readlink "$7") $7" >>"$FOLDER/programs"
}

# keep_old: once, before anything changes; a mark says that it is whole.
keep_old() {
	[ ! -f "$FOLDER/kept" ] || return 0
	rm -rf "$FOLDER/old" "$FOLDER/absent" "$FOLDER/programs"
	{ mkdir -p "$FOLDER/old" && chmod 0700 "$FOLDER" && : >"$FOLDER/absent" && : >"$FOLDER/programs"; } ||
		fail disk_full "Cannot write to $FOLDER. Nothing was changed. Look at 'df /var/lib' on this host, then run again."
	each_text keep_text && each_program keep_program ||
		fail disk_full "What is there now could not be kept in $FOLDER. Nothing was changed. Look at 'df /var/lib' on this host, then run again."
	find "$FOLDER" -type f -exec sync {} +
	echo kept | write_file "$FOLDER/kept" 0600
}

# --- what is to be there ---

list_other_text() {
	cmp -s "$FOLDER/new$1" "$1" || echo "$1" >>"$WORK/others"
}

# list_other_program NAME URL SHA KIND DEST MODE LINK MEMBERS: one whose link leads elsewhere, or whose stamp is of another, too: a
# run may have ended between the two.
list_other_program() {
	[ -z "$(lacking_artefact "$@")" ] || echo "$7" >>"$WORK/others"
}

# check_program: as above.
check_program() {
	is_in_place "$3" "$4" "$5" ||
		fail service_failed "$5 is not there, or is not what was planned. Nothing was changed; run the step \"stage\" of this host again."
}

# put_text FOLDER PATH: the text there takes its place, with its mode and owner.
put_text() {
	mkdir -p "${2%/*}" && cp -p "$1$2" "$2.kubewright-new" && place "$2.kubewright-new" "$2"
}

put_new_text() {
	put_text "$FOLDER/new" "$1"
}

# switch_program: as above.
switch_program() {
	switch_to "$1" "$3" "$5" "$7"
}

# --- both ways ---

stop_all() {
	say "kubelet: stopping"
	systemctl stop kubelet 2>/dev/null
	! systemctl is-active --quiet kubelet ||
		fail service_failed "The kubelet does not stop. Nothing was ended. See 'systemctl status kubelet' on this host, then run again."
	[ "$CONTROL_PLANE" = yes ] || return 0
	# A kube-apiserver with an open port and no etcd behind it would fail requests, so it is gone first.
	end_static_pods $SERVER_SECONDS kube-apiserver kube-controller-manager kube-scheduler || exit
	[ "$ETCD" = no ] || end_static_pods $ETCD_SECONDS etcd || exit
}

serve() {
	start_kubelet
	if [ "$CONTROL_PLANE" = yes ]; then control_plane_serves; else worker_serves; fi
}

say_no_room() {
	fail disk_full "Not every file could take its place on this host ('df /etc /var/lib /usr/local' tells where there is no room). The kubelet is stopped; going back, or running this again, finishes it."
}

# --- forward ---

# no_etcd_before: writes down that there is no way back from the etcd that serves.
no_etcd_before() {
	[ "$ETCD" = yes ] || return 0
	[ -f "$FOLDER/etcd-served" ] || echo yes | write_file "$FOLDER/etcd-served" 0600
}

# says_version: the kube-apiserver of this host is of the version that was asked for.
says_version() {
	question 5 --cacert "$PKI/ca.crt" --cert "$PKI/apiserver-kubelet-client.crt" --key "$PKI/apiserver-kubelet-client.key" \
		"https://$(in_url "$ADVERTISE_ADDRESS"):${API_PORT:-6443}/version" || return 1
	case $BODY in *"\"$VERSION\""*) return 0 ;; esac
	# shellcheck disable=SC2034 # wait_for tells it
	ANSWER="serves, but not $VERSION yet"
	return 1
}

forward() {
	each_program check_program || exit
	keep_old
	: >"$WORK/others"
	each_text list_other_text
	each_program list_other_program
	if [ -s "$WORK/others" ]; then
		stop_all
		each_text put_new_text || say_no_room
		# After the manifests: a host that dies in between starts an older kubelet with them, never a newer one without.
		each_program switch_program || say_no_room
		say "$(wc -l <"$WORK/others") files and programs changed"
	fi
	start_kubelet
	if [ "$CONTROL_PLANE" = yes ]; then
		etcd_serves
		no_etcd_before
		servers_serve
		wait_for kube-apiserver kube-apiserver says_version
	else
		worker_serves
	fi
}

# --- back ---

put_old_text() {
	case $1 in
	*/etc/kubernetes/manifests/etcd.yaml)
		[ ! -f "$FOLDER/etcd-served" ] || return 0
		;;
	esac
	put_text "$FOLDER/old" "$1"
}

put_back() {
	(cd "$FOLDER/old" && find . -type f) | sed 's/^\.//' >"$WORK/kept"
	# Programs first: never a newer kubelet with older manifests.
	while read -r name sha dest link; do
		switch_to "$name" "$sha" "$dest" "$link" || return
	done <"$FOLDER/programs"
	while read -r path; do
		put_old_text "$path" || return
	done <"$WORK/kept"
	while read -r path; do
		rm -f "$path" || return
	done <"$FOLDER/absent"
}

back() {
	if [ ! -f "$FOLDER/kept" ]; then
		say "nothing was changed here"
		serve
		return
	fi
	stop_all
	put_back || say_no_room
	say "the files and programs from before are in place"
	serve
}

swap() {
	require WAY FOLDER VERSION PROGRAMS NODE_NAME ADVERTISE_ADDRESS CRI_SOCKET DEADLINE_SECONDS
	choice WAY forward back
	choice CONTROL_PLANE yes no
	choice ETCD yes no
	choice NODE_LOCAL yes no
	each_program check_artefact
	take_lock
	workdir swap
	begin "$DEADLINE_SECONDS"
	"$WAY"
	rm -rf "$WORK"
	say "$WAY after $(since "$BEGAN")"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
swap </dev/null
exit
