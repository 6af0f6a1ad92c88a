#!/bin/bash
# dbench: the file server's load, on the mount and on ext4. Its own checks must hold; the throughput
# of both is printed.
. "$(dirname "$0")/lib.sh"

clients=$(count 2 8)
seconds=$(count 3 60)

# bench FOLDER: sets $rate, MB/s.
bench() {
	local log=$CFS_SCRATCH/dbench.out
	rate=
	mkdir "$1/d" || fail "mkdir" || return
	timeout -k 10 $((seconds * 3 + 120)) dbench -D "$1/d" -t "$seconds" "$clients" >"$log" 2>&1 ||
		fail "dbench: exit $?: $(tail -n 2 "$log")"
	# Its processes remove one semaphore each for itself, and it complains at times.
	grep -i 'error\|failed\|child.*exit' "$log" | grep -v semaphore >"$log.bad"
	[ -s "$log.bad" ] && fail "dbench: $(head -n 2 "$log.bad")"
	rate=$(sed -n 's/^Throughput \([0-9.]*\) .*/\1/p' "$log")
	[ -n "$rate" ] || fail "dbench: no throughput: $(tail -n 2 "$log")"
	rm -rf "$1/d" || fail "rm -rf"
}

here() {
	bench "$mnt"
	[ -z "$(ls -A "$mnt")" ] || fail "left: $(ls -A "$mnt")"
	counts="clients $clients mb-per-s $rate ext4 ${ext4_rate:-?}"
}

command -v dbench >/dev/null || {
	echo "dbench is not installed"
	exit 77
}
ext4_rate=
ext4_up 2G
[ -n "$why" ] || bench "$ext4"
ext4_rate=$rate
ext4_down
[ -z "$why" ] || {
	echo "not ok ext4 $why"
	failed_any=1
}
for s in inproc-1 tcp-2; do
	case_run "$s" fs_with "$s" "$(count 1G 4G)" here
done
finish
