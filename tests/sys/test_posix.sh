#!/bin/bash
# The POSIX suite (tests/sys/posix) on the real mount, in every shape, as root and as an ordinary
# user; over tcp with a second mount of the same server. In the shape tcp-2+2 each call of a case goes by the first or
# the second mount in turn. In the same run on ext4: what fails there is a wrong case, unless posix/ext4-differs has it.
# There it is also noted which documented errors the cases see; posix/covers must say the same, as
# doc/posix-table.md is made from it.
. "$(dirname "$0")/lib.sh"
. "$sys/ext4_lib.sh"

# SHAPE, or SHAPE/CASE; ext4, or ext4/CASE.
pick=$CFS_CASE
CFS_CASE=
posix=$CFS_BUILD/tests/sys/posix
user=1000

# on_ext4 CASES [OPTION...]
on_ext4() {
	local only=$1
	shift
	ext4_up 1G || return
	# shellcheck disable=SC2086
	"$posix" "$ext4_mnt" --second "$ext4_mnt" --differs "$sys/posix/ext4-differs" "$@" $only
	case $? in
	0) ;;
	1) failed_any=1 ;;
	*) fail "the suite did not run" ;;
	esac
	ext4_down
}

# The files that table.py reads say what the cases do.
covers() {
	[ -s "$CFS_SCRATCH/covers" ] || fail "nothing was noted"
	if ! cmp -s "$CFS_SCRATCH/covers" "$sys/posix/covers"; then
		diff "$sys/posix/covers" "$CFS_SCRATCH/covers" | grep '^[<>]' | head -n 10 | sed 's/^/# /'
		fail "posix/covers is not what the cases saw: posix DIR-ON-EXT4 --covers tests/sys/posix/covers," \
			"then tests/sys/posix/table.py"
	fi
	[ -n "$why" ] || must "$sys/posix/table.py" --check
}

# What cases let pass here and not on ext4, users can read.
differences() {
	local id text
	"$posix" --differences >"$CFS_SCRATCH/differences" || fail "it lists nothing"
	while IFS=$'\t' read -r id text; do
		grep -qF -- "- $text" "$root/README.md" || fail "the README does not have, of '$id': $text"
	done <"$CFS_SCRATCH/differences"
}

# The cases that an ordinary user can run: those that pass on ext4.
user_cases() {
	local failed_before=$failed_any
	[ -s "$CFS_SCRATCH/user-cases" ] && return
	on_ext4 "" --user "$user" >"$CFS_SCRATCH/user.out"
	# What fails there as a user is no failure, it needs root.
	failed_any=$failed_before
	sed -n 's/^ok \([^ ]*\) .*/\1/p' "$CFS_SCRATCH/user.out" >"$CFS_SCRATCH/user-cases"
	[ "$(wc -l <"$CFS_SCRATCH/user-cases")" -ge 100 ] ||
		fail "as a user only these pass on ext4: $(tr '\n' ' ' <"$CFS_SCRATCH/user-cases")"
}

# suite CASES [OPTION...]
suite() {
	local only=$1
	shift
	# shellcheck disable=SC2086
	"$posix" "$mnt" ${second_pid:+--second "$mnt2"} "$@" $only
	case $? in
	0) ;;
	1) failed_any=1 ;;
	*) fail "the suite did not run" ;;
	esac
	is_gone "$mount_pid" && fail "the mount's process died"
	must fs_stats
}

both() {
	case $shape in tcp-*) fs_second_up ;; esac
	[ -z "$why" ] || return
	suite "$1" --prefix "$shape/"
	if [ "$2" = user ] && [ -z "$why" ]; then
		suite "" --prefix "$shape/user/" --user "$user" --only "$CFS_SCRATCH/user-cases"
	fi
}

# Calls by two mounts in turn. What is of one mount by its nature, posix/twins-differ lists; with full
# counts it must fail, unless that depends on whose turn it was. Counts are small here: all costs twice as much.
twins() {
	local chance='^race_\|^lock_\|^fd_running\|^atime_' without=$CFS_SCRATCH/without differs=$CFS_SCRATCH/differs
	[ "$CFS_COUNTS" = full ] || chance=.
	grep "$chance" "$sys/posix/twins-differ" >"$without"
	grep -v "$chance" "$sys/posix/twins-differ" >"$differs"
	fs_second_up
	[ -z "$why" ] || return
	# shellcheck disable=SC2086
	CFS_COUNTS=small "$posix" "$mnt" --twin "$mnt2" --prefix tcp-2+2/ --without "$without" --differs "$differs" $1
	case $? in
	0) ;;
	1) failed_any=1 ;;
	*) fail "the suite did not run" ;;
	esac
	{ is_gone "$mount_pid" || is_gone "$second_pid"; } && fail "a mount's process died"
	must fs_stats
}

case $pick in
"" | ext4)
	case_run ext4/whole on_ext4 "" --prefix ext4/ --covers "$CFS_SCRATCH/covers"
	case_run ext4/covers covers
	case_run ext4/differences differences
	;;
ext4/*) case_run ext4/whole on_ext4 "${pick#*/}" --prefix ext4/ ;;
esac
for s in inproc-1 inproc-2 tcp-1 tcp-2; do
	as_user=$(count "" user)
	case $pick in
	# With small counts two shapes are enough for what neither cores nor processes change, and one
	# for the user.
	"") case $s in inproc-1 | tcp-2) only= ;; *) only=$(count "open race rename link readdir lock rw_model two" "") ;; esac
		[ "$s" = inproc-2 ] && as_user=user ;;
	"$s") only= ;;
	"$s"/user) only=no-case as_user=user ;;
	"$s"/*) only=${pick#*/} as_user= ;;
	*) continue ;;
	esac
	if [ -n "$as_user" ]; then
		case_run "$s/user-cases" user_cases
		[ -s "$CFS_SCRATCH/user-cases" ] || continue
	fi
	case_run "$s/whole" fs_with "$s" 2G both "$only" "$as_user"
done
case $pick in
"") only=$(count "link_ xattr_ perm_ open_" "") ;;
tcp-2+2) only= ;;
tcp-2+2/*) only=${pick#*/} ;;
*) finish ;;
esac
case_run tcp-2+2/whole fs_with tcp-2 2G twins "$only"
finish
