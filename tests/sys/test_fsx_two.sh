#!/bin/bash
# The random operations of test_fsx.sh, each by one of two mounts of one server (fsx --dir2): on contents
# and names, with maps (a store is synced before the other mount looks), and while the server is
# killed. In inproc-* the first mount is the server's own.
. "$(dirname "$0")/lib.sh"

fsx=$CFS_BUILD/tests/sys/fsx

# fsx_two NAME OPTION...: it must end well. Its whole report is printed if not.
fsx_two() {
	local name=$1
	shift
	mkdir "$mnt/$name" || fail "mkdir" || return
	if ! "$fsx" "$mnt/$name" --dir2 "$mnt2/$name" --procs 2 "$@" >"$CFS_SCRATCH/fsx.out" 2>&1; then
		sed 's/^/# /' "$CFS_SCRATCH/fsx.out"
		fail "fsx --dir2 $*: $(grep -m 1 '^fsx: ' "$CFS_SCRATCH/fsx.out")"
		return
	fi
	[ -z "$(ls -A "$mnt/$name")" ] || fail "fsx left $(ls "$mnt/$name" | head -n 3)"
	counts="${counts:+$counts }$(cat "$CFS_SCRATCH/fsx.out")"
}

# ops PERCENT: of a shape's, for each of two processes. Full counts are a million in all.
ops() {
	echo $(($(count 2000 350000) * $1 / 100 / 2))
}

in_shape() {
	local seed=$((CFS_SEED + 50))
	fsx_two one --seed "$seed" --ops "$(ops 20)"
	[ -n "$why" ] || fsx_two small --seed $((seed + 10)) --ops "$(ops 50)" --len 200000 --files 3
	[ -n "$why" ] || fsx_two set --seed $((seed + 20)) --ops "$(ops 20)" --files 8 --len 2500000
	[ -n "$why" ] || fsx_two direct --seed $((seed + 30)) --ops "$(ops 10)" --files 2 --direct 60
	counts=$(echo "$counts" | awk '{
		for (i = 1; i < NF; i++) { if ($i == "operations") n += $(i + 1); if ($i == "seconds") s += $(i + 1) }
		printf "operations %d seconds %.1f", n, s }')
}

under_kills() {
	local pid kills=0
	(fsx_two kills --seed $((CFS_SEED + 90)) --ops "$(count 1000 20000)" --files 5 --len 1300000
		[ -z "$why" ] && echo "$counts" >"$CFS_SCRATCH/ended") >"$CFS_SCRATCH/run.out" 2>&1 &
	pid=$!
	while ! is_gone $pid && [ -z "$why" ] && [ $kills -lt "$(count 2 100)" ]; do
		sleep "0.$((RANDOM % 9 + 1))"
		fs_kill_server
		start_server
		kills=$((kills + 1))
	done
	wait $pid
	[ -s "$CFS_SCRATCH/ended" ] || { cat "$CFS_SCRATCH/run.out"; fail "$(grep -m 1 'fsx: ' "$CFS_SCRATCH/run.out")"; }
	counts="kills $kills $(cat "$CFS_SCRATCH/ended")"
}

# A mount that keeps pages is noticed.
stale_pages() {
	CFS_BIN=$CFS_BUILD/tests/sys/cfs-breaks
	export CFS_BREAK=STALE_PAGES
	fs_make tcp-1 2G
	fs_up
	[ -n "$why" ] || fs_second_up
	[ -n "$why" ] || mkdir "$mnt/stale"
	"$fsx" "$mnt/stale" --dir2 "$mnt2/stale" --ops 3000 --seed "$CFS_SEED" >"$CFS_SCRATCH/fsx.out" 2>&1
	[ $? = 1 ] || fail "stale pages are not noticed: $(tail -n 1 "$CFS_SCRATCH/fsx.out")"
	fs_down
	unset CFS_BREAK
	CFS_BIN=$CFS_BUILD/src/cfs
}

# with SHAPE FUNCTION: one life, with two mounts.
with() {
	case $1 in inproc-*) fs_options="--listen 127.0.0.1:0" ;; esac
	fs_make "$1" 2G
	[ -n "$why" ] || fs_up
	[ -n "$addr" ] || addr=$(sed -n 's/.* listen=tcp:\([0-9.:]*\)$/\1/p' "$CFS_SCRATCH/mount.err" | tail -n 1)
	[ -n "$why" ] || fs_second_up
	[ -n "$why" ] || "$2"
	fs_down
	fs_fsck
	fs_options=
}

case_run tcp-2 with tcp-2 in_shape
if [ "$CFS_COUNTS" = full ] || [ -n "$CFS_CASE" ]; then
	case_run tcp-1 with tcp-1 in_shape
	case_run inproc-2 with inproc-2 in_shape
	case_run kills with tcp-2 under_kills
	case_run stale-pages stale_pages
fi
finish
