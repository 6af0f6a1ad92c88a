#!/bin/bash
# What several mounts of one server see of each other, what a mount's options do, and what stays
# when a mount or the server comes again.
. "$(dirname "$0")/lib.sh"

tool=$CFS_BUILD/tests/sys/tool
other=$CFS_SCRATCH/fs/other
other_pid=

other_up() {
	mkdir -p "$other"
	: >"$CFS_SCRATCH/other.out"
	"$CFS_BIN" mount "$addr" "$other" -f -o "${1:-defaults}" >"$CFS_SCRATCH/other.out" \
		2>>"$CFS_SCRATCH/other.err" </dev/null &
	other_pid=$!
	wait_for 60 grep -q mounted "$CFS_SCRATCH/other.out" ||
		fail "the other mount: $(tail -n 1 "$CFS_SCRATCH/other.err")"
}

other_down() {
	[ -n "$other_pid" ] || return 0
	"$CFS_BIN" umount "$other" >/dev/null 2>&1 || fail "umount of the other mount"
	end_process "$other_pid" 30 || fail "the other mount ended with $?"
	other_pid=
}

# fails TEXT COMMAND...: it must, and say so.
fails() {
	local text=$1
	shift
	if "$@" >"$CFS_SCRATCH/fails.out" 2>&1; then
		fail "$* succeeded"
	else
		grep -qi "$text" "$CFS_SCRATCH/fails.out" || fail "$*: $(tail -n 1 "$CFS_SCRATCH/fails.out")"
	fi
}

# same A B: both texts are the same; differ: they are not.
same() {
	[ "$1" = "$2" ] || fail "$1 and $2"
}

differ() {
	[ "$1" != "$2" ] || fail "twice $1"
}

atime() {
	stat -c %x "$1"
}

atime_seen() {
	local before
	other_up
	echo text >"$mnt/f"
	truncate -s 5M "$mnt/f"
	before=$(atime "$mnt/f")
	sleep 0.02
	dd if="$other/f" of=/dev/null bs=4096 count=1 skip=1000 status=none
	differ "$before" "$(atime "$mnt/f")"
	same "$(atime "$mnt/f")" "$(atime "$other/f")"
	before=$(atime "$mnt/f")
	cat "$other/f" "$mnt/f" >/dev/null
	same "$before" "$(atime "$mnt/f")"
	other_down
}

# Far reads by who does not know that another has written: told of when the file is closed.
atime_at_close() {
	local before
	other_up
	"$tool" fill "$mnt/g" 5242880 1 || fail "fill"
	cat "$mnt/g" >/dev/null
	exec 7<"$other/g"
	dd bs=4096 count=1 skip=1000 status=none <&7 >/dev/null
	sleep 0.02
	echo more >>"$mnt/g"
	before=$(atime "$mnt/g")
	dd bs=4096 count=1 skip=0 status=none <&7 >/dev/null
	exec 7<&-
	wait_for 5 [ "$before" != "$(atime "$mnt/g")" ]
	differ "$before" "$(atime "$mnt/g")"
	other_down
}

guarded() {
	other_up
	"$tool" fill "$mnt/f" 8388608 1 || fail "fill"
	exec 7<>"$mnt/f"
	dd if=/dev/zero bs=4096 count=1 seek=1500 conv=notrunc status=none >&7 || fail "write"
	must chattr +i "$other/f"
	for at in 0 300 600 900 1200 1500 1800 2040; do
		fails "not permitted" dd if=/dev/zero bs=4096 count=1 seek="$at" conv=notrunc status=none of=/dev/fd/7
		dd if=/dev/zero bs=4096 count=1 seek="$at" conv=notrunc status=none >&7 2>"$CFS_SCRATCH/dd.out" &&
			fail "an immutable file was written at block $at"
		grep -q "not permitted" "$CFS_SCRATCH/dd.out" || fail "$(cat "$CFS_SCRATCH/dd.out")"
	done
	fails "not permitted" rm -f "$mnt/f"
	must chattr -i "$mnt/f"
	dd if=/dev/zero bs=4096 count=1 seek=1500 conv=notrunc status=none >&7 || fail "write after chattr -i"
	exec 7<&-
	other_down
}

options() {
	local before
	cp /bin/true "$mnt/true"
	cp /bin/true "$mnt/suid"
	chmod 4755 "$mnt/suid"
	mknod "$mnt/null" c 1 3
	echo text >"$mnt/t"
	other_up ro,nodev,noexec,nosuid
	before=$(atime "$mnt/t")
	sleep 0.02
	must cat "$other/t"
	same "$before" "$(atime "$mnt/t")"
	fails "read-only" touch "$other/new"
	fails "read-only" rm "$other/t"
	fails "permission" "$other/true"
	fails "permission" cat "$other/null"
	grep -q " $other fuse.claudefs ro,nosuid,nodev,noexec" /proc/mounts || fail "$(grep "$other" /proc/mounts)"
	must "$CFS_BIN" mount "$addr" "$other" -o remount,rw,dev,exec,nosuid
	must touch "$other/new"
	must "$other/true"
	must cat "$other/null"
	must "$CFS_BIN" mount "$addr" "$other" -o remount,ro
	fails "read-only" touch "$other/new"
	other_down
	other_up noatime
	echo more >>"$mnt/t"
	before=$(atime "$mnt/t")
	sleep 0.02
	must cat "$other/t"
	ls "$other" >/dev/null
	same "$before" "$(atime "$mnt/t")"
	must cat "$mnt/t"
	differ "$before" "$(atime "$mnt/t")"
	# A remount's options count at once, also for access times.
	must "$CFS_BIN" mount "$addr" "$other" -o remount,relatime
	echo more >>"$mnt/t"
	before=$(atime "$mnt/t")
	must cat "$other/t"
	differ "$before" "$(atime "$mnt/t")"
	must "$CFS_BIN" mount "$addr" "$other" -o remount,ro
	echo more >>"$mnt/t"
	before=$(atime "$mnt/t")
	must cat "$other/t"
	same "$before" "$(atime "$mnt/t")"
	same "$(getfattr --only-values --absolute-names -n claudefs.options "$other")" noatime
	other_down
	other_up nodiratime
	mkdir "$mnt/dir"
	touch "$mnt/dir/f"
	before=$(atime "$mnt/dir")
	ls "$other/dir" >/dev/null
	same "$before" "$(atime "$mnt/dir")"
	other_down
}

# open_handle DIR FILE STAT
open_handle() {
	same "$("$tool" open-handle "$1" "$CFS_SCRATCH/$2" 2>&1)" "$3"
}

handles() {
	local f d g
	mkdir -p "$mnt/a/b"
	echo text >"$mnt/a/f"
	echo gone >"$mnt/a/g"
	f=$(stat -c %i "$mnt/a/f") d=$(stat -c %i "$mnt/a/b")
	must "$tool" save-handle "$mnt/a/f" "$CFS_SCRATCH/f.handle"
	must "$tool" save-handle "$mnt/a/b" "$CFS_SCRATCH/b.handle"
	must "$tool" save-handle "$mnt/a/g" "$CFS_SCRATCH/g.handle"
	rm "$mnt/a/g"
	echo other >"$mnt/a/g"
	g="open_by_handle_at: Stale file handle"
	open_handle "$mnt" f.handle "$f"
	open_handle "$mnt" g.handle "$g"
	# Another mount, which has not seen them.
	other_up
	open_handle "$other" f.handle "$f"
	open_handle "$other" b.handle "$d"
	open_handle "$other" g.handle "$g"
	other_down
	mv "$mnt/a/f" "$mnt/a/b/h"
	fs_kill_server
	start_server
	[ -z "$why" ] || return
	open_handle "$mnt" f.handle "$f"
	open_handle "$mnt" g.handle "$g"
	fs_down
	fs_up
	[ -z "$why" ] || return
	open_handle "$mnt" f.handle "$f"
	open_handle "$mnt" b.handle "$d"
	open_handle "$mnt" g.handle "$g"
	same "$(stat -c %i "$mnt/a/b/h")" "$f"
}

# A mount outlives a power cut of its server: what it has heard of sizes is not so any more. The
# server alone is killed and its tail taken away; it flushes seldom enough to have lost something.
server_power_cut() {
	local size
	must "$tool" fill "$mnt/f" 2097152 1
	sync -d "$mnt/f"
	exec 7<>"$mnt/f"
	dd if=/dev/zero bs=1M count=4 oflag=append conv=notrunc of="$mnt/f" status=none
	same "$(stat -c %s "$mnt/f")" 6291456
	# Written inside of the size that is about to go.
	printf old | dd of="$mnt/f" bs=1 seek=5000000 conv=notrunc status=none
	fs_kill_server
	must rm "/dev/shm/claudefs-$uuid"-*
	start_server 7<&-
	[ -z "$why" ] || return
	same "$(dd bs=1M skip=4 iflag=fullblock status=none <&7 | wc -c)" 0
	size=$(stat -c %s "$mnt/f")
	same "$size" 2097152
	printf new | dd of="$mnt/f" bs=1 seek=5500000 conv=notrunc status=none
	same "$(stat -c %s "$mnt/f")" 5500003
	same "$(tail -c +2097153 "$mnt/f" | tr -d '\0')" new
	exec 7<&-
}

case_power_cut() {
	fs_options="--flush-interval 60s --session-life 1s"
	fs_make "$1" 1G
	uuid=$(sed -n 's/^uuid: *//p' "$CFS_SCRATCH/must.out" | tr -d -)
	[ -n "$uuid" ] || fail "mkfs says no uuid"
	[ -n "$why" ] || fs_up
	[ -n "$why" ] || server_power_cut
	fs_down
	fs_fsck
	fs_options=
}

# Of a mount that asks for no lease and has nothing open no shard knows anything; its session is there all the same
# when the server comes again.
idle_over_a_kill() {
	other_up consistency=lazy
	same "$(ls -A "$other")" ""
	fs_kill_server
	start_server
	[ -n "$why" ] || must mkdir "$other/new"
	same "$("$CFS_BIN" stats "$other" --json | grep -o '"evictions":[ 0-9]*' | tr -dc 0-9)" 0
	other_down
}

# A mount's process stops until its session has ended, while its files are read: what it then drops is being
# read by those who wait for its next session.
read_on() {
	python3 - "$mnt/f" "$CFS_SCRATCH/passes" <<-'EOF'
		import os, random, sys, threading, time
		done = [0] * 4
		def run(i):
		    fd = os.open(sys.argv[1], os.O_RDONLY)
		    while True:
		        os.pread(fd, 65536, random.randrange(256) * 65536)
		        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
		        done[i] += 1
		for i in range(4):
		    threading.Thread(target=run, args=(i,), daemon=True).start()
		while os.path.exists(sys.argv[2]):
		    with open(sys.argv[2], "w") as f:
		        print(min(done), file=f)
		    time.sleep(0.05)
		os._exit(0)
	EOF
}

passes() {
	awk '{ n = $1 } END { print n + 0 }' "$CFS_SCRATCH/passes"
}

has_read() {
	[ "$(passes)" -ge "$1" ]
}

has_ended() {
	[ "$(grep -c "session ended" "$CFS_SCRATCH/server.err")" -gt "$1" ]
}

stopped_while_read() {
	local n reader
	must "$tool" fill "$mnt/f" 16777216 1
	echo 0 >"$CFS_SCRATCH/passes"
	read_on &
	reader=$!
	for _ in $(seq "$(count 2 20)"); do
		wait_for 20 has_read $(($(passes) + 100)) || fail "nothing is read: $(passes)"
		n=$(grep -c "session ended" "$CFS_SCRATCH/server.err")
		kill -STOP "$mount_pid"
		wait_for 20 has_ended "$n" || fail "its session does not end"
		kill -CONT "$mount_pid"
		wait_for 20 has_read $(($(passes) + 100)) || fail "reads do not go on"
		[ -z "$why" ] || break
	done
	[ -z "$why" ] || umount -f "$mnt"
	rm -f "$CFS_SCRATCH/passes"
	wait "$reader"
}

case_stopped() {
	fs_options="--session-life 1s"
	fs_with "$1" 1G stopped_while_read
	fs_options=
}

for s in tcp-1 tcp-2; do
	case_run "$s/stopped-while-read" case_stopped "$s"
	case_run "$s/server-power-cut" case_power_cut "$s"
	case_run "$s/idle-over-a-kill" fs_with "$s" 1G idle_over_a_kill
	[ "$s" = tcp-1 ] && [ "$CFS_COUNTS" != full ] && continue
	for c in atime_seen atime_at_close guarded options handles; do
		case_run "$s/$c" fs_with "$s" 1G "$c"
		[ -z "$other_pid" ] || { umount -l "$other"; end_process "$other_pid" 5; other_pid=; }
	done
done
finish
