#!/bin/bash
# Random operations on files, compared with a copy in memory (fsx/main.c), in every shape; on ext4,
# where the program itself has to be right; and with what it wrote spoilt, which it has to report.
. "$(dirname "$0")/lib.sh"

fsx=$CFS_BUILD/tests/sys/fsx

# fsx_in FOLDER OPTION...: it must end well. Its whole report is printed if not.
fsx_in() {
	local folder=$1
	shift
	rm -rf "$folder"
	mkdir "$folder" || fail "mkdir $folder" || return
	if ! "$fsx" "$folder" "$@" >"$CFS_SCRATCH/fsx.out" 2>&1; then
		sed 's/^/# /' "$CFS_SCRATCH/fsx.out"
		fail "fsx $*: $(grep -m 1 '^fsx: ' "$CFS_SCRATCH/fsx.out")"
		return
	fi
	[ -z "$(ls -A "$folder")" ] || fail "fsx left $(ls "$folder" | head -n 3)"
	counts="${counts:+$counts }$(cat "$CFS_SCRATCH/fsx.out")"
}

# The sum of what ran in a case, for its line.
add_counts() {
	counts=$(echo "$counts" | awk '{
		for (i = 1; i < NF; i++) { if ($i == "operations") n += $(i + 1); if ($i == "seconds") s += $(i + 1) }
		printf "operations %d seconds %.1f", n, s }')
}

# Nobody may find what was spoilt by luck only: each seed spoils another way of writing.
faults() {
	local kind seed rc n=0
	for kind in byte size; do
		for seed in $(seq "$CFS_SEED" $((CFS_SEED + $(count 8 100)))); do
			rm -rf "$CFS_SCRATCH/spoilt"
			mkdir "$CFS_SCRATCH/spoilt"
			"$fsx" "$CFS_SCRATCH/spoilt" --ops 400 --files $((1 + seed % 3)) --seed "$seed" --fault 200 \
				--fault-kind $kind >"$CFS_SCRATCH/fsx.out" 2>&1
			rc=$?
			[ "$rc" = 1 ] || fail "seed $seed: a spoilt $kind is not reported: exit $rc"
			grep -q '^fsx: seed' "$CFS_SCRATCH/fsx.out" || fail "seed $seed: no report"
			n=$((n + 1))
		done
	done
	rm -rf "$CFS_SCRATCH/spoilt"
	counts="faults $n"
}

on_ext4() {
	ext4_up 1G
	[ -n "$why" ] && return
	fsx_in "$ext4/one" --ops "$(count 2000 20000)" --seed "$CFS_SEED"
	[ -n "$why" ] || fsx_in "$ext4/set" --ops "$(count 2000 20000)" --seed "$CFS_SEED" --files 6
	add_counts
	ext4_down
}

# ops PERCENT: so much of what a shape has to do, for each of two processes. With full counts the
# shapes together do more than five million.
ops() {
	local all
	case $shape in
	inproc-*) all=$(count 5000 1800000) ;;
	*) all=$(count 5000 750000) ;;
	esac
	echo $((all * $1 / 100 / 2))
}

in_shape() {
	local seed=$CFS_SEED
	# One file, up to four chunks; small files, within a chunk; sets with links; mostly O_DIRECT.
	fsx_in "$mnt/one" --procs 2 --seed "$seed" --ops "$(ops 15)"
	[ -n "$why" ] || fsx_in "$mnt/small" --procs 2 --seed $((seed + 10)) --ops "$(ops 60)" --len 200000 --files 3
	[ -n "$why" ] || fsx_in "$mnt/set" --procs 2 --seed $((seed + 20)) --ops "$(ops 15)" --files 8 --len 2500000
	[ -n "$why" ] || fsx_in "$mnt/direct" --procs 2 --seed $((seed + 30)) --ops "$(ops 10)" --files 2 --direct 60
	add_counts
}

# The server is killed and started again under it: nobody notices but by the time it takes.
under_kills() {
	local pid kills=0
	mkdir "$mnt/kills"
	"$fsx" "$mnt/kills" --procs 2 --seed $((CFS_SEED + 40)) --ops "$(count 2000 20000)" --files 5 --len 1300000 \
		>"$CFS_SCRATCH/fsx.out" 2>&1 &
	pid=$!
	while ! is_gone $pid && [ -z "$why" ] && [ $kills -lt "$(count 4 100)" ]; do
		sleep "0.$((RANDOM % 9 + 1))"
		fs_kill_server
		start_server
		kills=$((kills + 1))
	done
	wait $pid || {
		sed 's/^/# /' "$CFS_SCRATCH/fsx.out"
		fail "fsx: $(grep -m 1 '^fsx: ' "$CFS_SCRATCH/fsx.out")"
	}
	counts="kills $kills $(cat "$CFS_SCRATCH/fsx.out")"
}

case_run faults faults
case_run ext4 on_ext4
for s in inproc-1 inproc-2 tcp-1 tcp-2; do
	case $s in
	inproc-1 | tcp-2) ;;
	*) [ "$CFS_COUNTS" = full ] || [ "$CFS_CASE" = "$s" ] || continue ;;
	esac
	case_run "$s" fs_with "$s" 2G in_shape
done
case_run kills fs_with tcp-2 2G under_kills
finish
