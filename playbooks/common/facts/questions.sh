# shellcheck disable=SC2154 # all.sh makes the folder $answers
#
# Part: what only an answer of somebody else tells: mirrors, registries, programs. Each question runs beside the rest
# of the script and writes into a file of its own, so that answers do not mix.
#
# Values
#   CHECKSUM_URLS   lines `ADDRESS [PROGRAM SHA256]`: the text behind the address is wanted, unless that program is
#                   installed with that digest
#   IMAGE_REFS      lines `REFERENCE DIGEST REGISTRY...`: the digest that the first registry API at one of these addresses to
#                   know the image has for it, unless it is here with that digest ("-": none is known)
#   PROGRAMS        no: nothing of this is asked and no program started to tell its version; all of it stays unknown

# Longer than any list of checksums: sha256sum.txt of a big release has a few kilobytes.
MOST_TEXT=65536

CONTAINERD=/run/containerd/containerd.sock

# How long a mirror may take for its few bytes.
PATIENCE=20

ACCEPT='Accept: application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'

asked=0

# ask COMMAND...: runs it in the background, its statements in a file.
ask() {
	asked=$((asked + 1))
	"$@" >"$answers/$asked" 2>/dev/null &
}

# fetch CURL-ARGUMENTS: prints the answer, and curl's own words where there is none.
fetch() {
	curl --silent --show-error --location --fail --proto '=http,https' --retry 2 --max-time $PATIENCE "$@" 2>&1
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

# is_installed PROGRAM SHA256: whether the stamp of what is installed has this digest.
is_installed() {
	[ -f "$STATE/artefacts/$1" ] && IFS= read -r stamped <"$STATE/artefacts/$1" && [ "$stamped" = "$2" ]
}

# image_digest REFERENCE REGISTRY...
image_digest() {
	reference=$1
	shift
	path=${reference#*/}
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
	whys=
	for registry in "$@"; do
		if digest=$(published_digest "$registry" "$path" "$tag"); then
			known "image-digest/$reference" "$digest"
			return
		fi
		whys="${whys:+$whys, }$digest"
	done
	unreadable "image-digest/$reference" "$whys"
}

# published_digest REGISTRY PATH TAG: the digest that a registry tells; why it does not, with another status.
published_digest() {
	where="$1/$2/manifests/$3"
	# A mirror of many registries is told which one is meant, as containerd does.
	case $1/ in *"//${reference%%/*}/"* | https://registry-1.docker.io/*) ;; *) where="$where?ns=${reference%%/*}" ;; esac
	answer=$(manifest "$where" </dev/null)
	case $answer in
	'401 '*)
		# Docker Hub and ghcr.io hand out images to everybody, but only with a token for nobody in particular.
		token=$(anonymous_token "${answer#* * }" "$2")
		[ -z "$token" ] || answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" | manifest "$where")
		;;
	esac
	case $answer in
	'200 sha256:'*)
		digest=${answer#200 }
		printf '%s' "${digest%% *}"
		;;
	'200 '*) printf '%s' "$1 names no digest" && return 1 ;;
	[1-5][0-9][0-9]' '*) printf '%s' "$1 answers ${answer%% *}" && return 1 ;;
	*) printf '%s' "$answer" && return 1 ;;
	esac
}

# manifest ADDRESS: `STATUS DIGEST CHALLENGE` of the last answer, or curl's own words. Standard input has more of curl's
# configuration, so that no token stands in a list of processes.
manifest() {
	head=$(curl --config - --silent --show-error --location --head --proto '=http,https' --retry 2 --max-time $PATIENCE \
		--header "$ACCEPT" --write-out 'status: %{http_code}\n' "$1" 2>&1) || {
		printf '%s\n' "$head" | curls_words
		return
	}
	printf '%s\n' "$head" | tr -d '\r' | awk '
		tolower($1) ~ /^http\// { digest = "-"; challenge = "" }
		tolower($1) == "docker-content-digest:" { digest = $2 }
		tolower($1) == "www-authenticate:" { challenge = $0; sub(/^[^:]*: */, "", challenge) }
		$1 == "status:" { status = $2 }
		END { print status, digest, challenge }'
}

# anonymous_token CHALLENGE PATH: a token from where the registry says there are some; nothing where it says no such place.
anonymous_token() {
	realm=$(challenged realm "$1")
	[ -n "$realm" ] || return 0
	scope=$(challenged scope "$1")
	curl --silent --location --fail --proto '=http,https' --retry 2 --max-time $PATIENCE --max-filesize $MOST_TEXT \
		--get --data-urlencode "service=$(challenged service "$1")" \
		--data-urlencode "scope=${scope:-repository:$2:pull}" "$realm" 2>/dev/null |
		tr ',{}' '\n\n\n' | sed -n 's/^[[:space:]]*"\(access_\)\{0,1\}token"[[:space:]]*:[[:space:]]*"\([A-Za-z0-9._~+/=-]*\)".*/\2/p' |
		head -n 1
}

# challenged NAME CHALLENGE: one of its quoted values.
challenged() {
	printf '%s' "$2" | sed -n "s/^.*[ ,]$1=\"\([^\"]*\)\".*\$/\1/p"
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

# images: what containerd has, and then what only registries know of the images that are wanted.
images() {
	have=
	if [ ! -S "$CONTAINERD" ]; then
		absent image
	elif table=$(timeout 10 ctr --address "$CONTAINERD" --namespace k8s.io images ls 2>&1); then
		# Without warnings, the header and the names that are digests themselves.
		have=$(printf '%s\n' "$table" | awk '$3 ~ /^sha256:/ && $1 !~ /^sha256:/ { print $3, $1 }')
		[ -z "$have" ] || printf '%s\n' "$have" | items image
		[ -n "$have" ] || end_of image
	else
		unreadable image "$(printf '%s\n' "$table" | tail -n 1)"
	fi
	[ "$curl_is_here" = yes ] || return 0
	while read -r reference pinned registries; do
		[ -n "$reference" ] || continue
		case "
$have
" in *"
$pinned $reference
"*) continue ;; esac
		# shellcheck disable=SC2086 # addresses have no spaces
		ask image_digest "$reference" $registries
	done <<LINES
${IMAGE_REFS:-}
LINES
	wait
}

ask_all() {
	[ "${PROGRAMS:-}" != no ] || return 0
	# Its answers are in files of their own, and so are those of what it asks in turn, from 1000 on.
	begun=$asked
	asked=1000
	# That it is absent is answer enough.
	if command -v curl >/dev/null; then curl_is_here=yes; else curl_is_here=no; fi
	images >"$answers/0" 2>/dev/null &
	asked=$begun
	for program in kubelet containerd runc crictl curl; do
		# What we installed is known by its digest, and each of these programs takes a fifth of a second of processor time
		# to say its version.
		[ -f "/var/lib/kubewright/artefacts/$program" ] || ask version "$program"
	done
	[ "$curl_is_here" = yes ] || return 0
	while read -r url name sha256; do
		[ -n "$url" ] || continue
		[ -z "$name" ] || ! is_installed "$name" "$sha256" || continue
		ask checksum "$url"
	done <<LINES
${CHECKSUM_URLS:-}
LINES
}
