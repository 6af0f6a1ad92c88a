#!/bin/bash
# The ratios that are promised, from bench/run. With small counts only that it runs and reports
# everything: numbers of a busy machine and of few operations mean nothing. Requests are counted all the same.
. "$(dirname "$0")/lib.sh"

measured=$CFS_SCRATCH/ratios.json

measure() {
	# shellcheck disable=SC2046
	"$root/bench/run" --build "$CFS_BUILD" --dir "$CFS_SCRATCH" --json "$measured" \
		$(count "--small --rounds 1" "") >"$CFS_SCRATCH/bench.out" 2>"$CFS_SCRATCH/bench.err" ||
		fail "bench/run: $(tail -n 2 "$CFS_SCRATCH/bench.err")"
	sed 's/^/# /' "$CFS_SCRATCH/bench.out"
	[ "$(grep -c '^ratio' "$CFS_SCRATCH/bench.out")" = 21 ] || fail "ratios are missing"
}

ratio() {
	sed -n "s/^ratio *\([0-9.]*\)  $1\$/\1/p" "$CFS_SCRATCH/bench.out"
}

# at_most MAX NAME, at_least MIN NAME
at_most() {
	local r
	r=$(ratio "$2")
	awk "BEGIN { exit !(\"$r\" != \"\" && ${r:-0} <= $1) }" || fail "$2: ${r:-none}, not at most $1"
	counts="${counts:-}${counts:+ }$r"
}

at_least() {
	local r
	r=$(ratio "$2")
	awk "BEGIN { exit !(${r:-0} >= $1) }" || fail "$2: ${r:-none}, not at least $1"
	counts="${counts:-}${counts:+ }$r"
}

yardstick() {
	at_most 2 "empty-server getattr \/ pipe"
}

metadata() {
	at_most 2 "claudefs-$1 getattr \/ empty-server"
	at_most 2 "claudefs-$1 miss \/ empty-server"
	at_most 2.5 "claudefs-$1 create \/ empty-server"
}

streams() {
	at_least 0.5 "claudefs-$1 write rate \/ lower of ext4-$1 and empty-server"
	at_least 0.5 "claudefs-$1 read rate \/ lower of ext4-$1 and empty-server"
}

# What an only mount has just looked at.
warm() {
	at_least 0.7 "claudefs-$1 stat rate \/ ext4-$1"
	at_least 0.9 "claudefs-$1 cached rate \/ ext4-$1"
}

# The kernel alone answers it, in every round: nothing reaches the mount's process.
no_requests() {
	local warm="^claudefs-[a-z]* *\(stat\|cached\) .* requests"
	[ "$(grep -c "$warm 0\$" "$CFS_SCRATCH/bench.out")" = 8 ] ||
		fail "$(grep "$warm [1-9]" "$CFS_SCRATCH/bench.out" || echo "results are missing")"
}

pick=$CFS_CASE
CFS_CASE=
case_run bench measure
CFS_CASE=$pick
case_run no-requests no_requests
if [ "$CFS_COUNTS" = full ] && [ "$failed_any" = 0 ]; then
	case_run yardstick yardstick
	for disk in disk loop; do
		case_run "metadata-$disk" metadata "$disk"
		case_run "streams-$disk" streams "$disk"
		case_run "warm-$disk" warm "$disk"
	done
fi
finish
