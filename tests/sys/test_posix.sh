#!/bin/bash
# The POSIX suite on the real mount, in every shape. The suite itself is tests/sys/posix; it runs in
# any folder, so a case that fails here can be tried on ext4.
. "$(dirname "$0")/lib.sh"

# SHAPE, or SHAPE/CASE.
pick=$CFS_CASE
CFS_CASE=

suite() {
	# shellcheck disable=SC2086
	"$CFS_BUILD/tests/sys/posix" "$mnt" --prefix "$shape/" $1
	case $? in
	0) ;;
	1) failed_any=1 ;;
	*) fail "the suite did not run" ;;
	esac
	is_gone "$mount_pid" && fail "the mount's process died"
	must fs_stats
}

for s in inproc-1 inproc-2 tcp-1 tcp-2; do
	case $pick in
	# With small counts two shapes are enough for what neither cores nor processes change.
	"") case $s in inproc-1 | tcp-2) only= ;; *) only=$(count "open race rename link readdir lock rw_model" "") ;; esac ;;
	"$s") only= ;;
	"$s"/*) only=${pick#*/} ;;
	*) continue ;;
	esac
	case_run "$s/whole" fs_with "$s" 2G suite "$only"
done
finish
