# Task: what a unit runs. Starts the body and keeps its output and its exit status, whatever happens to whoever waits.
#
# Arguments: the unit's folder, the folder of its body (in memory), the mark that ends its output.
folder=$1
body=$2
mark=$3

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022

# Once only: a unit that is started again does not run its body again.
mkdir "$folder/ran" || exit 0
/bin/sh "$body/body" >>"$folder/output" 2>&1 </dev/null
status=$?
# Values and secrets of the body are of no use any more.
rm -rf "$body"
[ -z "$(tail -c 1 "$folder/output")" ] || echo >>"$folder/output"
printf '%s\n' "$status" >"$folder/result.new"
sync "$folder/output" "$folder/result.new"
mv -f "$folder/result.new" "$folder/result" && sync "$folder"
# After the result: whoever reads the mark finds it.
printf '%s\n' "$mark" >>"$folder/output"
exit 0
