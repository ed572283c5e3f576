# Part: is it healthy, and if not, why? Needs say.sh; values API_PORT (empty: 6443) and, for etcd, ADVERTISE_ADDRESS.
#
# Every ask_ function asks once and answers by its status; ANSWER is the reason in few words. They read only. While the
# port is not open a question costs next to nothing, later one short process: waiting must not slow down what it waits for.

PKI=/etc/kubernetes/pki
ANSWER=

# question SECONDS CURL-ARGUMENTS: asks; sets BODY and CODE (000 without an answer).
question() {
	question_limit=$1
	shift
	# Nobody's proxy or ~/.curlrc has a say in what this host hears from itself.
	BODY=$(curl --disable --noproxy '*' --silent --max-time "$question_limit" --write-out '\n%{http_code}' "$@" 2>/dev/null)
	question_status=$?
	CODE=${BODY##*
}
	BODY=${BODY%
*}
	case $question_status in
	0) ANSWER="answers $CODE" ;;
	7) ANSWER="port not open yet" ;;
	28) ANSWER="no answer within $question_limit s" ;;
	35 | 51 | 52 | 56) ANSWER="port open, no TLS answer yet" ;;
	58) ANSWER="a client certificate in $PKI is missing or unusable" ;;
	60 | 77) ANSWER="its certificate is not from the expected authority" ;;
	127) ANSWER="curl is not installed on this host" ;;
	*) ANSWER="no answer (curl ends with $question_status)" ;;
	esac
	[ "$CODE" = 200 ]
}

# listens PORT: whether anybody on this host listens there, by the kernel's own table. A process with a TLS library in it costs
# thirty times as much (measured: 11 ms against 0.4), four times a second on every host that starts.
listens() {
	listens_at=$(printf '%04X' "$1")
	listens_known=no
	for listens_table in /proc/net/tcp /proc/net/tcp6; do
		[ -r "$listens_table" ] || continue
		listens_known=yes
		while read -r _ listens_local _ listens_state _; do
			case $listens_state in
			0A) ;;
			st) continue ;;
			# Whoever listens stands before all connections.
			*) break ;;
			esac
			[ "${listens_local##*:}" != "$listens_at" ] || return 0
		done <"$listens_table"
	done
	[ $listens_known = yes ] || return 0
	# shellcheck disable=SC2034 # whoever waits tells it
	ANSWER="port not open yet"
	return 1
}

# in_url ADDRESS
in_url() {
	case $1 in *:*) printf '[%s]' "$1" ;; *) printf '%s' "$1" ;; esac
}

# ask_etcd: this member serves, and a quorum answers. /health reads through the quorum and waits for a leader, so
# one request is held open during an election instead of many; the client's certificate proves what the
# kube-apiserver needs too.
ask_etcd() {
	listens 2379 || return 1
	question 3 --cacert "$PKI/etcd/ca.crt" --cert "$PKI/etcd/healthcheck-client.crt" \
		--key "$PKI/etcd/healthcheck-client.key" "https://$(in_url "$ADVERTISE_ADDRESS"):2379/health" && case $BODY in *'"true"'*) return 0 ;; esac
	[ "$question_status" != 28 ] || ANSWER="runs, but no quorum answers yet"
	case $BODY in *'"reason":"'?*)
		ANSWER=${BODY#*'"reason":"'}
		ANSWER=${ANSWER%%'"'*}
		;;
	esac
	return 1
}

# ask_etcd_alive: this member runs and can read its own data; a learner, too, which answers no other read.
ask_etcd_alive() {
	listens 2379 || return 1
	question 3 --cacert "$PKI/etcd/ca.crt" --cert "$PKI/etcd/healthcheck-client.crt" \
		--key "$PKI/etcd/healthcheck-client.key" "https://$(in_url "$ADVERTISE_ADDRESS"):2379/livez"
}

# ask_api ADDRESS: everything the kube-apiserver itself wants to be ready for. RBAC opens the path to everyone, as
# soon as its first roles are made; where anonymous requests are switched off, a certificate of this host helps.
ask_api() {
	listens "${API_PORT:-6443}" || return 1
	api_url=https://$(in_url "$1"):${API_PORT:-6443}/readyz
	question 10 --cacert "$PKI/ca.crt" "$api_url" && return 0
	if [ "$CODE" = 401 ]; then
		if [ -f "$PKI/apiserver-kubelet-client.key" ]; then
			question 10 --cacert "$PKI/ca.crt" --cert "$PKI/apiserver-kubelet-client.crt" \
				--key "$PKI/apiserver-kubelet-client.key" "$api_url" && return 0
		else
			question 10 --cacert "$PKI/ca.crt" --cert /var/lib/kubelet/pki/kubelet-client-current.pem "$api_url" && return 0
		fi
	fi
	[ "$CODE" != 403 ] || ANSWER="/readyz: its first roles are not made yet"
	api_first=
	api_more=0
	while read -r api_check _; do
		case $api_check in '[-]'*) ;; *) continue ;; esac
		if [ -z "$api_first" ]; then api_first=$api_check; else api_more=$((api_more + 1)); fi
	done <<LINES
$BODY
LINES
	[ -z "$api_first" ] || ANSWER="/readyz: $api_first"
	[ $api_more -eq 0 ] || ANSWER="$ANSWER and $api_more more"
	return 1
}

# ask_local PORT: controller-manager and scheduler sign a certificate for themselves in memory at each start, so
# there is no authority to verify it with; they listen on the loopback address only, and nothing secret is sent.
ask_local() {
	listens "$1" || return 1
	question 5 --insecure "https://localhost:$1/healthz"
}
ask_controller_manager() {
	ask_local 10257
}
ask_scheduler() {
	ask_local 10259
}

ask_kubelet() {
	listens 10248 || return 1
	question 5 http://127.0.0.1:10248/healthz
}
