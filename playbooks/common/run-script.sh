# Task: runs a script of the user's.
#
# Values
#   SCRIPT        the whole of it; its first line may name its interpreter (`#!/usr/bin/env python3`), else it is sh's
#   SCRIPT_NAME   what it is called in messages
#   NODE_NAME     handed on to it, in its environment
# Ends as the script ends; 98 when it cannot be written.
folder=/run/kubewright/scripts
file=$folder/$$

give_up() {
	echo "$1" >&2
	exit 98
}

{ mkdir -p "$folder" && chmod 0700 "$folder"; } || give_up "cannot make $folder: $(df -P /run | tail -n 1)"
(umask 077 && printf '%s\n' "$SCRIPT" >"$file") || give_up "cannot write $file: $(df -P /run | tail -n 1)"
# Named and not executed: /run may be mounted so that nothing on it is.
interpreter=$(sed -n '1s/^#! *//p' "$file")
export NODE_NAME
# shellcheck disable=SC2086 # an interpreter and its argument
(cd / && ${interpreter:-/bin/sh} "$file")
status=$?
rm -f "$file"
[ "$status" -eq 0 ] || echo "$SCRIPT_NAME ended with status $status" >&2
exit "$status"
