# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: what only an answer of somebody else tells: mirrors, registries, programs. Each question runs beside the rest
# of the script and writes into a file of its own, so that answers do not mix.
#
# Values
#   CHECKSUM_URLS   one address a line; the text behind each is wanted
#   IMAGE_REFS      lines `REFERENCE REGISTRY`: the digest that the registry at this base address has for it

# Longer than any list of checksums: sha256sum.txt of a big release has a few kilobytes.
MOST_TEXT=65536

CONTAINERD=/run/containerd/containerd.sock

# How long a mirror may take for its few bytes.
PATIENCE=20

ACCEPT='Accept: application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'

# ask COMMAND...: runs it in the background, its statements in a file.
ask() {
	asked=$((asked + 1))
	"$@" >"$answers/$asked" 2>/dev/null &
}

# fetch CURL-ARGUMENTS: prints the answer, and curl's own words where there is none.
fetch() {
	curl --silent --show-error --location --fail --retry 2 --max-time $PATIENCE "$@" 2>&1
}

curls_words() {
	grep '^curl: ' | tail -n 1
}

checksum() {
	if text=$(fetch --max-filesize $MOST_TEXT "$1"); then
		printf '%s\n' "$text" | items "checksum/$1"
	else
		unreadable "checksum/$1" "$(printf '%s\n' "$text" | curls_words)"
	fi
}

image_digest() {
	path=${1#*/}
	tag=latest
	case $path in
	*@*)
		tag=${path##*@}
		path=${path%@*}
		path=${path%%:*}
		;;
	*:*)
		tag=${path##*:}
		path=${path%:*}
		;;
	esac
	if head=$(fetch --head --header "$ACCEPT" "${2%/}/v2/$path/manifests/$tag"); then
		digest=$(printf '%s\n' "$head" | tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" { digest = $2 } END { print digest }')
		if [ -n "$digest" ]; then known "image-digest/$1" "$digest"; else unreadable "image-digest/$1" "$2 names no digest"; fi
	else
		unreadable "image-digest/$1" "$(printf '%s\n' "$head" | curls_words)"
	fi
}

# version NAME: the word of the first line of its answer that looks like a version.
version() {
	program=$(command -v "$1") || {
		absent "version/$1"
		return
	}
	said=$(timeout 5 "$program" --version 2>&1 | head -n 1)
	for word in $said; do
		case $word in
		v[0-9]*.* | [0-9]*.*)
			known "version/$1" "$word"
			return
			;;
		esac
	done
	unreadable "version/$1" "$program says: $said"
}

images() {
	if [ ! -S "$CONTAINERD" ]; then
		absent image
	elif table=$(timeout 10 ctr --address "$CONTAINERD" --namespace k8s.io images ls 2>&1); then
		# Without warnings, the header and the names that are digests themselves.
		printf '%s\n' "$table" | awk '$3 ~ /^sha256:/ && $1 !~ /^sha256:/ { print $3, $1 }' | items image
	else
		unreadable image "$(printf '%s\n' "$table" | tail -n 1)"
	fi
}

ask_all() {
	asked=0
	for program in kubelet containerd runc crictl curl; do
		ask version "$program"
	done
	ask images
	# That it is absent is answer enough.
	command -v curl >/dev/null || return 0
	# shellcheck disable=SC2086 # addresses have no spaces
	for url in ${CHECKSUM_URLS:-}; do
		ask checksum "$url"
	done
	while read -r reference registry; do
		[ -z "$reference" ] || ask image_digest "$reference" "$registry"
	done <<LINES
${IMAGE_REFS:-}
LINES
}
