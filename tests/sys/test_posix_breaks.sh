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
	is_mounted && umount -l "$mnt"
	[ -z "$mount_pid" ] || end_process "$mount_pid" 10 || :
	mount_pid= server_pid=
}

# noticed NAME CASES: at least one case fails, as the file system does the wrong thing, not as it is
# gone.
noticed() {
	fs_make inproc-1 1G
	[ -z "$why" ] || return
	export CFS_BREAK=$1
	fs_up
	unset CFS_BREAK
	if [ -z "$why" ]; then
		# shellcheck disable=SC2086
		"$posix" "$mnt" $2 >"$CFS_SCRATCH/out" 2>&1
		is_gone "$mount_pid" && fail "the server died: $(tail -n 1 "$CFS_SCRATCH/mount.err")"
		grep -q '^not ok ' "$CFS_SCRATCH/out" ||
			fail "not noticed by: $(sed -n 's/^ok \([^ ]*\) .*/\1/p' "$CFS_SCRATCH/out" | tr '\n' ' ')"
		counts="$(sed -n 's/^not ok \([^ ]*\) .*/\1/p' "$CFS_SCRATCH/out" | head -n 3 | tr '\n' ' ')"
	fi
	drop
}

# What is noticed must be the rule's absence.
whole() {
	# shellcheck disable=SC2046
	"$posix" "$mnt" $(sed 's/#.*//; s/^[^ ]* *//' "$sys/posix/breaks" | tr ' ' '\n' | sort -u) >"$CFS_SCRATCH/out" 2>&1 ||
		fail "without a break: $(grep '^not ok' "$CFS_SCRATCH/out" | head -n 2)"
	grep -q '^ok' "$CFS_SCRATCH/out" || fail "no case ran"
}

[ -x "$CFS_BIN" ] || { echo "not ok cfs-breaks was not built"; exit 1; }
CFS_CASE=$pick
case_run none fs_with inproc-1 1G whole
while read -r name cases; do
	case $name in '' | '#'*) continue ;; esac
	case_run "$name" noticed "$name" "$(count "$cases" "")"
done <"$sys/posix/breaks"
finish
