#!/bin/bash
# The POSIX suite is tested itself: with each rule of src/base/breaks.h taken out, in the program
# cfs-breaks, it must fail; with none it must pass. posix/breaks names the cases that should notice.
. "$(dirname "$0")/lib.sh"

pick=$CFS_CASE
CFS_CASE=
posix=$CFS_BUILD/tests/sys/posix
CFS_BIN=$CFS_BUILD/tests/sys/cfs-breaks

# A mount whose rules are not in place may not go away by itself; a store that it leaves is nobody's.
drop() {
	second_down
	is_mounted && umount -l "$mnt"
	[ -z "$mount_pid" ] || end_process "$mount_pid" 10 || :
	if [ "$server_pid" != "$mount_pid" ]; then
		kill -TERM "$server_pid" 2>/dev/null
		end_process "$server_pid" 10 || :
	fi
	mount_pid= server_pid= addr=
}

# noticed NAME CASES: at least one case fails, as the file system does the wrong thing, not as it is
# gone.
noticed() {
	local second=
	# What the kernel of one mount sees to by itself needs two.
	case $2 in two_*) second=1 ;; esac
	fs_make "$([ -n "$second" ] && echo tcp-1 || echo inproc-1)" 1G
	[ -z "$why" ] || return
	export CFS_BREAK=$1
	fs_up
	[ -z "$second" ] || [ -n "$why" ] || fs_second_up
	unset CFS_BREAK
	if [ -z "$why" ]; then
		# shellcheck disable=SC2086
		"$posix" "$mnt" ${second:+--second "$mnt2"} $2 >"$CFS_SCRATCH/out" 2>&1
		{ is_gone "$mount_pid" || is_gone "$server_pid"; } && fail "the server died: $(tail -n 1 "$CFS_SCRATCH/mount.err")"
		grep -q '^not ok ' "$CFS_SCRATCH/out" ||
			fail "not noticed by: $(sed -n 's/^ok \([^ ]*\) .*/\1/p' "$CFS_SCRATCH/out" | tr '\n' ' ')"
		counts="$(sed -n 's/^not ok \([^ ]*\) .*/\1/p' "$CFS_SCRATCH/out" | head -n 3 | tr '\n' ' ')"
	fi
	drop
}

# whole PATTERN [SECOND]: what is noticed must be the rule's absence.
whole() {
	[ -z "${2-}" ] || fs_second_up
	# shellcheck disable=SC2046
	"$posix" "$mnt" ${2:+--second "$mnt2"} \
		$(sed 's/#.*//; s/^[^ ]* *//' "$sys/posix/breaks" | tr ' ' '\n' | grep "$1" | sort -u) >"$CFS_SCRATCH/out" 2>&1 ||
		fail "without a break: $(grep '^not ok' "$CFS_SCRATCH/out" | head -n 2)"
	grep -q '^ok' "$CFS_SCRATCH/out" || fail "no case ran"
}

# Every rule that can be taken out is in the list.
listed() {
	local name
	for name in $(CFS_BREAK='?' "$CFS_BIN"); do
		grep -q "^$name " "$sys/posix/breaks" || fail "posix/breaks does not have $name"
	done
}

[ -x "$CFS_BIN" ] || { echo "not ok cfs-breaks was not built"; exit 1; }
CFS_CASE=$pick
case_run listed listed
case_run none fs_with inproc-1 1G whole '^[^t]\|^t[^w]'
case_run none-two fs_with tcp-1 1G whole '^two_' second
number=0
while read -r name cases; do
	case $name in '' | '#'*) continue ;; esac
	# With small counts every third, by the seed.
	number=$((number + 1))
	[ -n "$pick" ] || [ $(((number + CFS_SEED) % $(count 3 1))) = 0 ] || continue
	case_run "$name" noticed "$name" "$cases"
done <"$sys/posix/breaks"
finish
