# Task: puts, reads or removes files. Paths have no spaces and are absolute; the caller has checked that.
#
# Values
#   ACTION        put | read | remove
#   FILES         put: lines `file|link|folder MODE WANTED SHA256 SIZE PATH [TARGET]`, where WANTED is the raw mode in
#                 hexadecimal as stat prints it; read, remove: one path a line
#   CONTENT       put: the bytes of all files, one after the other, in base64
# put prints `changed PATH` and touches nothing that is as wanted; read prints `MODE PATH BASE64` of what exists;
# remove prints `removed PATH`.
# put writes everything beside its place first and syncs it; only then is the first file replaced. One put or remove
# runs on a host at a time: the names beside the places are the same for all of them.
# Ends with 0, or 98 when something cannot be written; then nothing was replaced unless the message says so.
nl='
'
temps='' work=''

# Whatever ends us; the lock is still ours then.
clean() {
	# shellcheck disable=SC2086 # a list of paths without spaces
	[ -z "$temps" ] || rm -f $temps
	[ -z "$work" ] || rm -rf "$work"
}

alone() {
	mkdir -p /run/kubewright || exit 98
	exec 7>>/run/kubewright/files.lock || exit 98
	if ! flock -w 30 7; then
		echo "another script has been changing files of this host for more than 30 s (/run/kubewright/files.lock); nothing was replaced" >&2
		exit 98
	fi
	trap clean EXIT
	trap 'exit 98' HUP INT PIPE TERM
}

give_up() {
	echo "$1" >&2
	exit 98
}

full() {
	give_up "cannot write $1; nothing was replaced. $(df -P "${1%/*}" 2>/dev/null | tail -n 1)"
}

# What is there: digests, and type with mode and owner.
look() {
	paths=
	while read -r _ _ _ _ _ path _; do
		paths="$paths $path"
	done <<LINES
$FILES
LINES
	# shellcheck disable=SC2086 # a list of paths without spaces
	sums=$nl$(sha256sum -- $paths 2>/dev/null || :)$nl
	# shellcheck disable=SC2086
	stats=$nl$(stat -c '%n %f:%u:%g' -- $paths 2>/dev/null || :)$nl
}

is_as_wanted() {
	case $1 in
	link) [ -L "$5" ] && [ "$(readlink "$5")" = "$6" ] && return 0 ;;
	*)
		case $stats in *"$nl$5 $3:0:0$nl"*) ;; *) return 1 ;; esac
		[ "$1" != folder ] || return 0
		case $sums in *"$nl$4  $5$nl"*) return 0 ;; esac
		;;
	esac
	return 1
}

prepare() {
	kind=$1 mode=$2 from=$3 size=$4 path=$5 target=$6
	folder=${path%/*}
	[ -d "$folder" ] || mkdir -p "$folder" || full "$folder"
	temp=$folder/.${path##*/}.kubewright-new
	if [ "$kind" = folder ]; then
		[ -d "$path" ] || mkdir "$path" || full "$path"
		{ chmod "$mode" "$path" && chown 0:0 "$path"; } || full "$path"
		echo "changed $path"
		return
	fi
	temps="$temps $temp"
	moves="$moves$temp $path$nl"
	rm -f "$temp"
	if [ "$kind" = link ]; then
		ln -s "$target" "$temp" || full "$temp"
		return
	fi
	{
		(
			umask 077
			tail -c "+$((from + 1))" "$work/content" | head -c "$size" >"$temp"
		) && [ "$(stat -c %s "$temp")" = "$size" ] && chmod "$mode" "$temp" && chown 0:0 "$temp"
	} || full "$temp"
	synced="$synced $temp"
}

put() {
	moves='' synced='' content_at=0
	alone
	work=$(mktemp -d /run/kubewright/files.XXXXXX) || exit 98
	printf '%s' "$CONTENT" | base64 -d >"$work/content" || full "$work/content"
	look
	while read -r kind mode wanted sum size path target; do
		[ -n "$kind" ] || continue
		is_as_wanted "$kind" "$mode" "$wanted" "$sum" "$path" "$target" ||
			prepare "$kind" "$mode" "$content_at" "$size" "$path" "$target"
		content_at=$((content_at + size))
	done <<LINES
$FILES
LINES
	rm -rf "$work"
	# shellcheck disable=SC2086 # a list of paths without spaces
	[ -z "$synced" ] || sync $synced || full "${synced##* }"
	folders=
	while read -r temp path; do
		[ -n "$temp" ] || continue
		mv -fT "$temp" "$path" || give_up "cannot replace $path; files before it in the list were replaced"
		echo "changed $path"
		case " $folders " in *" ${path%/*} "*) ;; *) folders="$folders ${path%/*}" ;; esac
	done <<LINES
$moves
LINES
	# shellcheck disable=SC2086
	[ -z "$folders" ] || sync $folders
}

read_all() {
	while read -r path; do
		[ -f "$path" ] || continue
		printf '%s %s %s\n' "$(stat -L -c %a "$path")" "$path" "$(base64 -w0 <"$path")"
	done <<LINES
$FILES
LINES
}

remove() {
	alone
	folders=
	while read -r path; do
		[ -e "$path" ] || [ -L "$path" ] || continue
		rm -f "$path" || exit 98
		echo "removed $path"
		folders="$folders ${path%/*}"
	done <<LINES
$FILES
LINES
	# shellcheck disable=SC2086 # a list of paths without spaces
	[ -z "$folders" ] || sync $folders
}

case $ACTION in
put) put ;;
read) read_all ;;
remove) remove ;;
*) exit 98 ;;
esac
