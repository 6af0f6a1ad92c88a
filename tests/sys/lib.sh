# What the tests on real mounts share; sourced by bash scripts (doc/design/testing.md).
#
# A shape is how the file system runs: inproc-1 and inproc-2 (server and mount in one process, with
# one or two cores), tcp-1 and tcp-2 (two processes over libfabric's tcp). One is up at a time:
#   fs_make SHAPE SIZE   a new store;  fs_up  starts and mounts it;  fs_down  unmounts and ends it
#   fs_second_up  mounts it once more (tcp);  fs_fsck  must be clean;  fs_kill_server  by SIGKILL;  $mnt  where it is mounted
# A case is a function: case_run NAME FUNCTION. In it, `fail WHY` or `must COMMAND...`.
#
# Expects CFS_BIN and CFS_BUILD; CFS_SCRATCH, CFS_COUNTS, CFS_SEED, CFS_CASE as tools/run-tests has
# them. Processes are ended by the ids that we started, and every wait has an end.

set -u
: "${CFS_BIN:?the program cfs}" "${CFS_BUILD:?the folder it was built in}"
CFS_COUNTS=${CFS_COUNTS:-small}
CFS_SEED=${CFS_SEED:-1}
CFS_CASE=${CFS_CASE:-}
export CFS_BIN CFS_BUILD CFS_COUNTS CFS_SEED
sys=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$sys/../.." && pwd)
own_scratch=
if [ -z "${CFS_SCRATCH:-}" ]; then
	CFS_SCRATCH=$(mktemp -d "${TMPDIR:-/var/tmp}/claudefs-sys-XXXXXX")
	own_scratch=$CFS_SCRATCH
fi
chmod 755 "$CFS_SCRATCH"
cd "$CFS_SCRATCH" || exit 1

mnt=$CFS_SCRATCH/fs/mnt
mnt2=$CFS_SCRATCH/second
store=$CFS_SCRATCH/fs/store
shape=
server_pid= mount_pid= second_pid= addr=
failed_any=0 ran_any=0 why=

# full A B: A with small counts, B with full ones.
count() {
	if [ "$CFS_COUNTS" = full ]; then echo "$2"; else echo "$1"; fi
}

now() {
	date +%s.%N
}

since() {
	echo "$1 $(now)" | awk '{ printf "%.2f", $2 - $1 }'
}

# fail WHY: the running case has failed; the first reason counts. False, so that `fail ... || return` leaves.
fail() {
	[ -n "$why" ] || why=$(printf '%s' "$*" | tr '\n' ' ' | cut -c1-500)
	return 1
}

# must COMMAND...: it must succeed.
must() {
	"$@" >"$CFS_SCRATCH/must.out" 2>&1 || fail "$*: exit $?: $(tail -n 3 "$CFS_SCRATCH/must.out")"
}

# case_run NAME FUNCTION [ARG...]
case_run() {
	local name=$1 start
	shift
	# CFS_CASE chooses one case, or those whose name starts so.
	case $name in "$CFS_CASE"*) ;; *) return 0 ;; esac
	ran_any=1
	start=$(now)
	why= counts=
	"$@"
	if [ -z "$why" ]; then
		echo "ok $name $(since "$start")${counts:+ $counts}"
	else
		echo "not ok $name $why"
		failed_any=1
		fs_logs
	fi
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" 2>/dev/null; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

is_gone() {
	! kill -0 "$1" 2>/dev/null
}

# end_process PID SECONDS: waits for it; it is killed if it takes longer. Its exit code.
end_process() {
	if ! wait_for "$2" is_gone "$1"; then
		kill -KILL "$1" 2>/dev/null
		wait "$1" 2>/dev/null
		return 124
	fi
	wait "$1" 2>/dev/null
}

is_mounted() {
	grep -q " $mnt fuse.claudefs\| $mnt fuse " /proc/mounts
}

fs_logs() {
	for log in server mount; do
		[ -s "$CFS_SCRATCH/$log.err" ] && tail -n 8 "$CFS_SCRATCH/$log.err" | cut -c1-300 |
			sed "s/^/# $log: /"
	done
}

# fs_make SHAPE SIZE [MKFS-OPTION...]
fs_make() {
	shape=$1
	local size=$2
	shift 2
	rm -rf "$CFS_SCRATCH/fs"
	mkdir -p "$mnt"
	rm -f "$CFS_SCRATCH/server.err" "$CFS_SCRATCH/mount.err"
	must "$CFS_BIN" mkfs "$store" --size "$size" --slices "${shape#*-}" "$@"
}

# limited COMMAND...: within the limits of $fs_wrap, a command that execs another; may be empty.
fs_wrap=
fs_options=

start_server() {
	# A restart listens where it did before: the mount looks there.
	: >"$CFS_SCRATCH/server.out"
	# shellcheck disable=SC2086
	$fs_wrap "$CFS_BIN" serve "$store" --listen "${addr:-127.0.0.1:0}" --cores "${shape#*-}" $fs_options \
		>"$CFS_SCRATCH/server.out" 2>>"$CFS_SCRATCH/server.err" </dev/null &
	server_pid=$!
	wait_for 60 server_said || fail "the server does not start: $(tail -n 2 "$CFS_SCRATCH/server.err")"
	addr=$(sed -n 's/^serving .* at tcp:[/]*//p' "$CFS_SCRATCH/server.out")
}

server_said() {
	grep -q '^serving ' "$CFS_SCRATCH/server.out" || is_gone "$server_pid"
}

mount_said() {
	grep -qi 'mounted' "$CFS_SCRATCH/mount.out" || is_gone "$mount_pid"
}

fs_up() {
	: >"$CFS_SCRATCH/mount.out"
	case $shape in
	inproc-*)
		# shellcheck disable=SC2086
		$fs_wrap "$CFS_BIN" quickstart "$CFS_SCRATCH/fs" --foreground --cores "${shape#*-}" $fs_options \
			>"$CFS_SCRATCH/mount.out" 2>>"$CFS_SCRATCH/mount.err" </dev/null &
		mount_pid=$!
		server_pid=$mount_pid
		;;
	tcp-*)
		[ -n "$server_pid" ] || start_server
		"$CFS_BIN" mount "$addr" "$mnt" -f >"$CFS_SCRATCH/mount.out" 2>>"$CFS_SCRATCH/mount.err" </dev/null &
		mount_pid=$!
		;;
	esac
	wait_for 60 mount_said
	is_mounted || fail "not mounted: $(tail -n 2 "$CFS_SCRATCH/mount.err" "$CFS_SCRATCH/server.err" 2>/dev/null)"
}

# A second mount of the same server, at $mnt2; only of the shapes tcp-*. fs_down ends it as well.
fs_second_up() {
	mkdir -p "$mnt2"
	"$CFS_BIN" mount "$addr" "$mnt2" -f >"$CFS_SCRATCH/second.out" 2>>"$CFS_SCRATCH/mount.err" </dev/null &
	second_pid=$!
	wait_for 60 second_is_up && grep -q " $mnt2 fuse" /proc/mounts || fail "the second is not mounted"
}

second_is_up() {
	grep -q " $mnt2 fuse" /proc/mounts || is_gone "$second_pid"
}

second_down() {
	[ -n "$second_pid" ] || return 0
	umount "$mnt2" 2>/dev/null || umount -l "$mnt2" 2>/dev/null
	end_process "$second_pid" 30 || fail "the second mount's process ended with $?"
	second_pid=
}

fs_kill_server() {
	kill -KILL "$server_pid" 2>/dev/null
	wait "$server_pid" 2>/dev/null
	server_pid=
}

# The processes behind the mount are gone: takes away what the kernel still shows.
fs_forget_mount() {
	is_mounted && umount -l "$mnt" 2>/dev/null
	mount_pid=
}

fs_down() {
	local rc=0
	second_down
	if is_mounted; then
		timeout 130 "$CFS_BIN" umount "$mnt" >"$CFS_SCRATCH/umount.out" 2>&1 ||
			fail "umount: $(tail -n 1 "$CFS_SCRATCH/umount.out")"
	fi
	if [ -n "$mount_pid" ]; then
		end_process "$mount_pid" 60 || fail "the mount's process ended with $?"
		[ "$mount_pid" = "$server_pid" ] && server_pid=
		mount_pid=
	fi
	if [ -n "$server_pid" ]; then
		kill -TERM "$server_pid" 2>/dev/null
		end_process "$server_pid" 60 || fail "the server ended with $?"
		server_pid=
	fi
	addr=
	return "$rc"
}

fs_fsck() {
	timeout 1800 "$CFS_BIN" fsck "$store" >"$CFS_SCRATCH/fsck.out" 2>&1 ||
		fail "fsck: exit $?: $(tail -n 4 "$CFS_SCRATCH/fsck.out")"
}

# The whole life of one: fs_with SHAPE SIZE FUNCTION [ARG...]
fs_with() {
	fs_make "$1" "$2"
	[ -n "$why" ] && return
	shift 2
	fs_up
	[ -z "$why" ] && "$@"
	fs_down
	fs_fsck
}

# ext4_up SIZE: a new ext4 on a loop device, mounted at $ext4, to compare with.
ext4=$CFS_SCRATCH/ext4
ext4_up() {
	mkdir -p "$ext4"
	rm -f "$ext4.image"
	truncate -s "$1" "$ext4.image"
	must mkfs.ext4 -q "$ext4.image"
	must mount -o loop "$ext4.image" "$ext4"
}

ext4_down() {
	must umount "$ext4"
	rm -f "$ext4.image"
}

clean_up() {
	second_down
	grep -q " $ext4 ext4 " /proc/mounts && umount -l "$ext4"
	if [ -n "$mount_pid" ] || [ -n "$server_pid" ] || is_mounted; then
		umount -l "$mnt" 2>/dev/null
		for pid in $mount_pid $server_pid; do
			kill -TERM "$pid" 2>/dev/null
			end_process "$pid" 5
		done
	fi
	mount_pid= server_pid=
	[ -z "$own_scratch" ] || { cd / && rm -rf --one-file-system "$own_scratch"; }
}
trap clean_up EXIT
trap 'exit 130' INT TERM

finish() {
	[ "$ran_any" = 1 ] || { echo "there is no case $CFS_CASE"; exit 1; }
	exit "$failed_any"
}

# stat_of PATH: the mount's counters, one "path value" a line (cfs stats).
fs_stats() {
	"$CFS_BIN" stats "$mnt"
}

need_root() {
	[ "$(id -u)" = 0 ] && [ -c /dev/fuse ] && return
	echo "needs root and /dev/fuse"
	exit 77
}
need_root
