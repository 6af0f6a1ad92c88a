#!/bin/bash
# Several mounts of one volume behave as one machine (tests/sys/coherence): what one changes the
# others see at once, whatever they have cached; random cells of that, the whole matrix, and all
# mounts at work at the same time. Over tcp each mount is a process; in inproc-* one is the server's.
#
#   SHAPE/mounts-N   rounds, races, and with tcp the same while the server is killed
#   SHAPE/matrix     each change by each observation
#   breaks/NAME-MODE with a rule taken out the suite finds something
#   stop             one mount's process is stopped
#   lazy             consistency=lazy: the matrix fails where it should
#   late/RULE        how late what is seen, by the mount's consistency or the file's (tests/sys/stale.c)
#   counted          what an only client has cached costs no request
. "$(dirname "$0")/lib.sh"

coherence=$CFS_BUILD/tests/sys/coherence
known=$sys/coherence/known
more=() more_pids=()

# more_up COUNT [OPTIONS]: so many mounts beside the first, each a process.
more_up() {
	local k
	for k in $(seq "$1"); do
		mkdir -p "$CFS_SCRATCH/more$k"
		"$CFS_BIN" mount "$addr" "$CFS_SCRATCH/more$k" -f -o "${2:-defaults}" >"$CFS_SCRATCH/more$k.out" \
			2>>"$CFS_SCRATCH/mount.err" </dev/null &
		more_pids+=($!)
		more+=("$CFS_SCRATCH/more$k")
	done
	wait_for 60 more_are_up || fail "not mounted: $(tail -n 1 "$CFS_SCRATCH/mount.err")"
}

more_are_up() {
	local k
	for k in "${more[@]}"; do
		grep -q " $k fuse" /proc/mounts || return 1
	done
}

more_down() {
	local k
	for k in "${!more[@]}"; do
		umount "${more[k]}" 2>/dev/null || umount -l "${more[k]}" 2>/dev/null
		end_process "${more_pids[k]}" 30 || fail "the mount ${more[k]} ended with $?"
	done
	more=() more_pids=()
}
trap 'more_down; clean_up' EXIT

# run MODE OPTION...: of the suite, on all mounts. Its findings are printed.
run() {
	local out=$CFS_SCRATCH/coherence.out mode=$1
	shift
	[ -z "$why" ] || return
	timeout 3000 "$coherence" "$mode" --seed "$CFS_SEED" --folder "$mode-$((folder += 1))" "$@" "$mnt" "${more[@]}" \
		>"$out" 2>&1 || fail "$mode $*: $(grep -m 1 '^#' "$out" || tail -n 1 "$out")"
	[ -z "$why" ] || grep '^#' "$out"
	counts="${counts:+$counts }$mode $(tail -n 1 "$out")"
}
folder=0

# under_kills KILLS MODE OPTION...: the server is killed and started again while it runs.
under_kills() {
	local kills=0 most=$1 pid
	shift
	[ -z "$why" ] || return
	(run "$@" && [ -z "$why" ] && echo "$counts" >"$CFS_SCRATCH/under-kills") >"$CFS_SCRATCH/run.out" 2>&1 &
	pid=$!
	rm -f "$CFS_SCRATCH/under-kills"
	while ! is_gone $pid && [ -z "$why" ] && [ $kills -lt "$most" ]; do
		sleep "0.$((RANDOM % 4 + 1))"
		fs_kill_server
		start_server
		kills=$((kills + 1))
	done
	wait $pid
	if [ -f "$CFS_SCRATCH/under-kills" ]; then
		counts="$(cat "$CFS_SCRATCH/under-kills") kills $kills"
	else
		cat "$CFS_SCRATCH/run.out"
		fail "while the server was killed: $(grep -m 1 '^#' "$CFS_SCRATCH/run.out")"
	fi
}

# with MOUNTS SHAPE FUNCTION ARG...: one life of the file system, with so many mounts.
with() {
	local mounts=$1
	fs_options=
	case $2 in inproc-*) fs_options="--listen 127.0.0.1:0" ;; esac
	fs_make "$2" 2G
	shift 2
	[ -n "$why" ] || fs_up
	# The process of quickstart says it in its log.
	[ -n "$addr" ] || addr=$(sed -n 's/.* listen=tcp:\([0-9.:]*\)$/\1/p' "$CFS_SCRATCH/mount.err" | tail -n 1)
	[ -n "$why" ] || more_up $((mounts - 1)) "${more_options:-}"
	[ -n "$why" ] || "$@"
	more_down
	fs_down
	fs_fsck
	fs_options= more_options=
}

# rounds ROUNDS RACES [ROUNDS-UNDER-KILLS]
rounds() {
	run rounds --rounds "$1" --may "$known" $(count "" --big)
	run races --rounds "$2"
	[ -n "${3:-}" ] || return
	under_kills "$(count 1 100)" rounds --rounds "$3" --may "$known" --first 100000
	[ "$CFS_COUNTS" != full ] || under_kills 100 races --rounds 400
}

matrix() {
	run matrix --apart --big --may "$known"
	run matrix --own
}

# notices BREAK MODE: with that rule out (src/base/breaks.h) the suite finds something, and nothing dies.
notices() {
	local out=$CFS_SCRATCH/coherence.out
	CFS_BIN=$CFS_BUILD/tests/sys/cfs-breaks
	export CFS_BREAK=$1
	fs_make tcp-1 2G
	fs_up
	[ -n "$why" ] || more_up 1
	[ -n "$why" ] || timeout 300 "$coherence" "$2" --may "$known" --rounds "$(count 16 100)" "$mnt" "${more[@]}" >"$out" 2>&1
	[ $? = 1 ] && grep -q '^# seed' "$out" || fail "$2 does not notice $1: $(tail -n 1 "$out")"
	is_gone "$mount_pid" && fail "the mount died"
	counts="findings $(grep -c '^# seed' "$out")"
	more_down
	fs_down
	unset CFS_BREAK
	CFS_BIN=$CFS_BUILD/src/cfs
}

# What coherence/lazy lists is what stale names and attributes show, and no change of the mount's own.
stale_list() {
	CFS_BIN=$CFS_BUILD/tests/sys/cfs-breaks
	export CFS_BREAK=STALE_ALL
	fs_make tcp-1 2G
	fs_up
	[ -n "$why" ] || more_up 1
	run matrix --apart --must "$sys/coherence/lazy"
	run matrix --own
	more_down
	fs_down
	unset CFS_BREAK
	CFS_BIN=$CFS_BUILD/src/cfs
}

# --- what needs leases ---

# Of serve: nothing else is as quick.
life=${CFS_SESSION_LIFE:-2}

stop() {
	run stop --rounds "$(count 3 40)" --life "$life" --pid "$mount_pid" --pid "${more_pids[0]}"
	kill -CONT "${more_pids[0]}"
}

stop_case() {
	"$CFS_BIN" serve --help | grep -q session.life || { fail "cfs serve has no --session-life"; return; }
	fs_make tcp-2 2G
	fs_options="--session-life ${life}s"
	[ -n "$why" ] || fs_up
	[ -n "$why" ] || more_up 1
	[ -n "$why" ] || stop
	more_down
	fs_down
	fs_fsck
	fs_options=
}

# Two lazy mounts; what one has changed itself it sees.
lazy() {
	local first=$mnt
	mnt=${more[0]}
	more=("${more[1]}")
	run matrix --apart --must "$sys/coherence/lazy"
	run matrix --own
	more=("$mnt" "${more[0]}")
	mnt=$first
}

lazy_case() {
	more_options=consistency=lazy:10000
	with 3 tcp-1 lazy
}

# late RULE TIME_MS: the second mount looks at what the first changes.
late() {
	local out=$CFS_SCRATCH/stale.out
	timeout 600 "$CFS_BUILD/tests/sys/stale" "$1" "$2" "$(count 3 30)" "${more[0]}" "$mnt" >"$out" 2>&1 ||
		fail "$(grep -m 1 '^#' "$out" || tail -n 1 "$out")"
	counts=$(tail -n 1 "$out")
}

# late_case CONSISTENCY RULE TIME_MS
late_case() {
	more_options=consistency=$1
	with 2 tcp-1 late "$2" "$3"
}

requests() {
	"$CFS_BIN" stats "$mnt" | awk '$1 ~ /^fuse\.[A-Z_]+$/ && $1 !~ /^fuse\.(OPEN|OPENDIR|RELEASE|RELEASEDIR|FLUSH|FORGET|BATCH_FORGET|STATFS)$/ { n += $2 } END { print n + 0 }'
}

# twice WHAT COMMAND...: the second time no request but those of open and close, and find's statfs(2), of which no
# kernel keeps the answer.
twice() {
	local what=$1 before after own
	shift
	must "$@"
	# What asking costs.
	before=$(requests)
	own=$(($(requests) - before))
	# Something may have run out just then: not three times.
	for _ in 1 2 3; do
		before=$(requests)
		must "$@"
		after=$(requests)
		[ $((after - before - own)) = 0 ] && return
	done
	fail "$what: $((after - before - own)) requests the second time"
}

held_reads() {
	local k
	for k in $handles; do
		dd bs=64k status=none of=/dev/null <&"$k" || return
		# From the start again: by the descriptor that is kept.
		"$CFS_BUILD/tests/sys/tool" rewind "$k" || return
	done
}

counted() {
	local k handles
	handles=$(seq 10 "$(count 14 40)")
	must cp -a "/usr/include/linux$(count /netfilter "")" "$mnt/tree"
	twice "find | xargs stat" sh -c "find '$mnt/tree' -print0 | xargs -0 stat"
	# Not ls -l: it asks for attributes that no kernel keeps.
	twice "find -ls" find "$mnt/tree" -ls
	# After a READ the kernel asks for the access time once more.
	cat "$mnt"/tree/*.h >"$CFS_SCRATCH/must.out"
	twice cat sh -c "cat '$mnt'/tree/*.h"
	for k in $handles; do
		head -c $((k * 10000)) /dev/urandom >"$mnt/r$k"
		eval "exec $k<'$mnt/r$k'"
	done
	twice "reads of kept descriptors" held_reads
	for k in $handles; do eval "exec $k<&-"; done
}

case_run self-test must "$coherence" self-test
if [ "$CFS_COUNTS" = full ]; then
	for s in tcp-1 tcp-2; do
		case_run "$s/mounts-2" with 2 "$s" rounds 1000 400 150
		case_run "$s/mounts-3" with 3 "$s" rounds 300 200 50
		case_run "$s/mounts-8" with 8 "$s" rounds 200 200 50
		case_run "$s/matrix" with 2 "$s" matrix
	done
	for s in inproc-1 inproc-2; do
		case_run "$s/mounts-2" with 2 "$s" rounds 200 100
		case_run "$s/mounts-3" with 3 "$s" rounds 100 100
	done
else
	case_run tcp-2/mounts-3 with 3 tcp-2 rounds 12 8 4
	case_run inproc-1/mounts-2 with 2 inproc-1 rounds 6 4
fi
while read -r name mode; do
	case $name in '' | '#'*) continue ;; esac
	# With small counts by their names only.
	[ "$CFS_COUNTS" = full ] || [ -n "$CFS_CASE" ] || continue
	case_run "breaks/$name-$mode" notices "$name" "$mode"
done <"$sys/coherence/breaks"
if [ "$CFS_COUNTS" = full ] || [ "$CFS_CASE" = stale-list ]; then case_run stale-list stale_list; fi
case_run counted fs_with tcp-1 2G counted
case_run late/strict late_case strict strict 0
case_run late/close-to-open late_case close-to-open close-to-open 1000
case_run late/lazy late_case lazy lazy 1000
case_run late/lazy-300 late_case lazy:300 lazy 300
case_run late/file late_case strict xattr 400
case_run late/open late_case strict ioctl 400
# With small counts by their names only.
for c in stop lazy; do
	[ "$CFS_COUNTS" = full ] || [ "$CFS_CASE" = "$c" ] || continue
	case_run "$c" "${c}_case"
done
finish
