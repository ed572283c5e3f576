# Task: keeps, shows and lists copies of operations: plan, facts and journal, so that another machine can go on.
#
# Values
#   ACTION        append | replace | fetch | list
#   OPERATION     append, replace, fetch: which
#   FILE          append, replace: plan.json | facts.json | journal.jsonl
#   OFFSET        append: where in the file CONTENT begins
#   CONTENT       append, replace: base64
# append prints `done SIZE`, `gap SIZE` (the file is shorter than OFFSET, nothing written) or `conflict SIZE` (it has
# other bytes where CONTENT overlaps it, nothing written); the same again, or more of the same, changes nothing that
# is there. replace puts CONTENT in place of the whole file and prints `done SIZE`; what was there stays beside it as
# FILE.fork-N, unless CONTENT begins with it. fetch prints `FILE BASE64`; list prints `OPERATION FILE SIZE SECONDS`.
# Ends with 0, or 98 when the copy cannot be written.
# shellcheck disable=SC2153 # values are in capitals, our own names are not
OPS=/var/lib/kubewright/ops

broken() {
	echo "cannot write $1: $(df -P "$OPS" | tail -n 1)" >&2
	rm -f "${piece:-}"
	exit 98
}

# The folder, for us alone until we end.
enter() {
	folder=$OPS/$OPERATION
	if [ ! -d "$folder" ]; then
		{ mkdir -p "$folder" && chmod 0700 "$folder"; } || broken "$folder"
	fi
	exec 9>>"$folder/lock"
	flock 9
	file=$folder/$FILE
	piece=$folder/.$FILE.piece
	size=$(stat -c %s "$file" 2>/dev/null || echo 0)
}

append() {
	enter
	if [ "$size" -lt "$OFFSET" ]; then
		echo "gap $size"
		return
	fi
	printf '%s' "$CONTENT" | base64 -d >"$piece" || broken "$piece"
	length=$(stat -c %s "$piece")
	overlap=$((size - OFFSET))
	[ "$overlap" -le "$length" ] || overlap=$length
	if [ "$overlap" -gt 0 ] && ! cmp -s -n "$overlap" -i "$OFFSET:0" "$file" "$piece"; then
		rm -f "$piece"
		echo "conflict $size"
		return
	fi
	if [ "$length" -gt "$overlap" ]; then
		{ tail -c "+$((overlap + 1))" "$piece" >>"$file" && sync "$file"; } || broken "$file"
		[ "$size" -gt 0 ] || sync "$folder"
	fi
	rm -f "$piece"
	echo "done $(stat -c %s "$file" 2>/dev/null || echo 0)"
}

# A crash leaves the old file or the new one; the old one is kept under its other name before.
replace() {
	enter
	{ printf '%s' "$CONTENT" | base64 -d >"$piece" && sync "$piece"; } || broken "$piece"
	if [ "$size" -gt 0 ] && ! cmp -s -n "$size" "$file" "$piece"; then
		number=1
		while [ -e "$file.fork-$number" ]; do number=$((number + 1)); done
		ln "$file" "$file.fork-$number" || broken "$file.fork-$number"
	fi
	{ mv -f "$piece" "$file" && sync "$folder"; } || broken "$file"
	echo "done $(stat -c %s "$file")"
}

fetch() {
	for name in plan.json facts.json journal.jsonl; do
		[ -f "$OPS/$OPERATION/$name" ] || continue
		printf '%s %s\n' "$name" "$(base64 -w0 <"$OPS/$OPERATION/$name")"
	done
}

list() {
	for file in "$OPS"/*/plan.json "$OPS"/*/facts.json "$OPS"/*/journal.jsonl; do
		[ -f "$file" ] || continue
		operation=${file%/*}
		echo "${operation##*/} ${file##*/} $(stat -c '%s %Y' "$file")"
	done
}

case $ACTION in
append) append ;;
replace) replace ;;
fetch) fetch ;;
list) list ;;
*) exit 98 ;;
esac
