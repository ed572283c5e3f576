# Part: several things at once. Needs say.sh.

# pool LIST COUNT COMMAND: COMMAND line for every line of the file, COUNT at a time, in order. Fails with the code
# of a line that failed, after all were tried. A line belongs to whoever makes its folder first.
pool() {
	pool_workers=
	pool_number=0
	while [ $pool_number -lt "$2" ]; do
		(
			code=0
			line_number=0
			while IFS= read -r line; do
				line_number=$((line_number + 1))
				mkdir "$1.$line_number" 2>/dev/null || continue
				("$3" "$line" </dev/null) || code=$?
			done <"$1"
			exit $code
		) &
		pool_workers="$pool_workers $!"
		pool_number=$((pool_number + 1))
	done
	pool_code=0
	for worker in $pool_workers; do wait "$worker" || pool_code=$?; done
	return $pool_code
}
