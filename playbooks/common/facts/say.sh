# Part: how facts are stated, one statement a line; core/src/facts/parse.rs reads them. Values are one line each.

# known KEY VALUE
known() {
	printf '= %s %s\n' "$1" "$2"
}

# item KEY VALUE: one more of a list.
item() {
	printf '+ %s %s\n' "$1" "$2"
}

# end_of KEY: the list has no more.
end_of() {
	printf '. %s\n' "$1"
}

# absent KEY
absent() {
	printf -- '- %s\n' "$1"
}

# unreadable KEY WHY
unreadable() {
	printf '! %s %s\n' "$1" "$2"
}

# known_or_absent KEY VALUE
known_or_absent() {
	if [ -n "$2" ]; then known "$1" "$2"; else absent "$1"; fi
}

# first_line KEY FILE: the first line of a file is the value.
first_line() {
	if [ ! -e "$2" ]; then
		absent "$1"
	elif IFS= read -r line <"$2" || [ -n "$line" ]; then
		known "$1" "$line"
	else
		unreadable "$1" "$2 is empty"
	fi 2>/dev/null
}

# items KEY: standard input is the list.
items() {
	while IFS= read -r line; do
		item "$1" "$line"
	done
	end_of "$1"
}
