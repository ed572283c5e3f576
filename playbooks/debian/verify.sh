# shellcheck disable=SC2317 # functions are named to each_artefact, which calls them
#
# Task: was this step done? Answers and changes nothing.
# Parts before it: say.sh packages.sh artefacts.sh service.sh runtime.sh health.sh wait.sh
#
# Values
#   STEP   prepare | etcd-member | control-plane | worker
#   and the values of that step's own task (prepare.sh, start-etcd-member.sh, start-control-plane.sh, start-worker.sh; no
#   deadlines).
# Prints one line and ends with 0:
#   done
#   not-done: reason     seen to be missing, stopped or different
#   unknown: reason      no answer within a few seconds, or nothing here to ask with
# Ends with 20 for values that make no sense.

answer() {
	printf '%s\n' "$*"
	exit 0
}

# not_done_if REASON: answers if there is a reason.
not_done_if() {
	[ -z "$1" ] || answer "not-done: $1"
}

verify_artefact() {
	not_done_if "$(lacking_artefact "$@")"
}

verify_prepare() {
	require CRI_SOCKET
	each_artefact check_artefact
	packages_lack=$(missing_packages)
	[ -z "$packages_lack" ] || answer "not-done: packages are not installed: $packages_lack"
	each_artefact verify_artefact
	not_done_if "$(lacking_unit containerd "$(containerd_print)")"
	[ -n "${IMAGES:-}" ] || answer "done"
	command -v ctr >/dev/null || answer "unknown: there is no ctr on this host to list images with"
	table=$(timeout 10 ctr --address "${CRI_SOCKET#unix://}" --namespace k8s.io images ls 2>&1)
	case $? in
	0) ;;
	124) answer "unknown: containerd is active but does not list its images within 10 s" ;;
	*) answer "unknown: containerd does not list its images: $(echo "$table" | plain | tail -n 1)" ;;
	esac
	while read -r ref digest; do
		[ -n "$ref" ] || continue
		have=$(echo "$table" | awk -v ref="$ref" '$1 == ref { print $3; exit }')
		not_done_if "$(lacking_image "$have" "$ref" "${digest:--}")"
	done <<LINES
$IMAGES
LINES
	answer "done"
}

# asked NAME COMMAND...: a refused connection is an answer, silence is none.
asked() {
	asked_name=$1
	shift
	"$@" && return
	case $ANSWER in
	'no answer'* | *'not installed'* | 'a client certificate'*) answer "unknown: $asked_name: $ANSWER" ;;
	esac
	answer "not-done: $asked_name: $ANSWER"
}

verify_kubelet() {
	not_done_if "$(lacking_unit kubelet "$(kubelet_print)")"
}

verify() {
	choice STEP prepare etcd-member control-plane worker
	case $STEP in
	prepare) verify_prepare ;;
	etcd-member)
		require ADVERTISE_ADDRESS
		verify_kubelet
		asked etcd ask_etcd_alive
		;;
	control-plane)
		require ADVERTISE_ADDRESS
		choice ETCD yes no
		verify_kubelet
		[ "$ETCD" = no ] || asked etcd ask_etcd
		asked kube-apiserver ask_api "$ADVERTISE_ADDRESS"
		asked kube-controller-manager ask_controller_manager
		asked kube-scheduler ask_scheduler
		;;
	worker)
		choice NODE_LOCAL yes no
		verify_kubelet
		asked kubelet ask_kubelet
		[ "$NODE_LOCAL" = no ] || asked "API through the local proxy" ask_api 127.0.0.1
		;;
	esac
	answer "done"
}

# Read whole before anything runs, and nothing it runs may read the rest of the script.
verify </dev/null
exit
