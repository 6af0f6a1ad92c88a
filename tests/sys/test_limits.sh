#!/bin/bash
# At the limits: little memory, a full store, a byte that flipped, and a reactor that never waits
# for a disk.
. "$(dirname "$0")/lib.sh"

tool=$CFS_BUILD/tests/sys/tool
mib=1048576
cgroup=

# --- memory ---

# A memory cgroup with this limit, of version 1 or 2; $fs_wrap then starts programs in it.
cgroup_make() {
	local base
	if [ -d /sys/fs/cgroup/memory ]; then
		cgroup=/sys/fs/cgroup/memory/claudefs-test-$$
		mkdir "$cgroup" && echo "$1" >"$cgroup/memory.limit_in_bytes"
	else
		base=/sys/fs/cgroup
		echo +memory >"$base/cgroup.subtree_control" 2>/dev/null
		cgroup=$base/claudefs-test-$$
		mkdir "$cgroup" && echo "$1" >"$cgroup/memory.max"
	fi
	[ -n "$cgroup" ] && [ -e "$cgroup/cgroup.procs" ] || return 1
	cat >"$CFS_SCRATCH/in-cgroup" <<-END
		#!/bin/sh
		echo \$\$ >$cgroup/cgroup.procs && exec "\$@"
	END
	chmod +x "$CFS_SCRATCH/in-cgroup"
	fs_wrap=$CFS_SCRATCH/in-cgroup
}

cgroup_remove() {
	fs_wrap= fs_options=
	[ -z "$cgroup" ] || wait_for 10 rmdir "$cgroup"
	cgroup=
}

peak() {
	cat "$cgroup/memory.max_usage_in_bytes" "$cgroup/memory.peak" 2>/dev/null | head -n 1
}

# Writes, reads and recovers a file much bigger than the memory.
big_file() {
	local bytes=$(($(count 640 4096) * mib))
	must "$tool" fill "$mnt/big" "$bytes" 7
	must "$tool" verify "$mnt/big" "$bytes" 7
	fs_kill_server
	start_server
	[ -n "$why" ] && return
	must "$tool" verify "$mnt/big" "$bytes" 7
	is_gone "$server_pid" && fail "the server died"
	counts="bytes $bytes peak $(peak)"
}

little_memory() {
	cgroup_make "$(count 192M 512M)" || {
		fail "no memory cgroup can be made"
		return
	}
	fs_options=$(count "--tail-size 32M --cache-size 32M --memory-patch-max 16M" "")
	fs_with tcp-1 "$(count 1G 6G)" big_file
	cgroup_remove
}

# --- a full store ---

# MiB of room for files.
room() {
	df -B1M --output=avail "$mnt" | tail -n 1 | tr -d ' '
}

overwrite_full() {
	local total files=4 each i
	total=$(df -B1M --output=size "$mnt" | tail -n 1)
	each=$((total * 80 / 100 / files))
	for i in 0 1 2 3; do
		must "$tool" fill "$mnt/f$i" $((each * mib)) "$i"
	done
	must "$tool" overwrite "$mnt" "$files" $((each * mib)) $(($(count 2 5) * total * mib)) "$CFS_SEED"
	counts="store-mib $total full-percent $((each * files * 100 / total)) overwritten-times $(count 2 5)"
}

no_space() {
	local i rc before after
	before=$(room)
	"$tool" fill "$mnt/full" $((4096 * mib)) 1 2>"$CFS_SCRATCH/full.err"
	rc=$?
	[ "$rc" = 3 ] || fail "no ENOSPC but exit $rc: $(cat "$CFS_SCRATCH/full.err")"
	# Small things until nothing goes any more; then removing must.
	mkdir "$mnt/small" 2>/dev/null
	for i in $(seq 3000); do
		{ echo "$i" >"$mnt/small/$i"; } 2>/dev/null || break
	done
	must rm -rf "$mnt/small"
	must rm "$mnt/full"
	for i in $(seq 100); do
		after=$(room)
		[ "$after" -ge $((before * 9 / 10)) ] && break
		sleep 0.1
	done
	[ "$after" -ge $((before * 9 / 10)) ] || fail "of $before MiB only $after came back"
	must "$tool" fill "$mnt/again" $((before * mib / 2)) 2
	must "$tool" verify "$mnt/again" $((before * mib / 2)) 2
	counts="room-mib $before"
}

# --- flipped bytes ---

flip_bytes=$((4 * mib))

flip_prepare() {
	local i
	fs_make inproc-1 96M
	fs_up
	[ -n "$why" ] && return
	must "$tool" fill "$mnt/data-file" "$flip_bytes" 5
	mkdir "$mnt/names"
	for i in $(seq 50); do
		echo "small file $i" >"$mnt/names/flip-name-$i"
	done
	fs_down
	fs_fsck
	"$tool" blocks "$store" "$flip_bytes" 5 >"$CFS_SCRATCH/blocks"
	"$tool" texts "$store" flip-name- >"$CFS_SCRATCH/texts"
	[ "$(wc -l <"$CFS_SCRATCH/blocks")" -ge $((flip_bytes / 4096)) ] || fail "the file's blocks are not in the store"
	[ -s "$CFS_SCRATCH/texts" ] || fail "the names are not in the store"
	cp --sparse=never "$store" "$CFS_SCRATCH/pristine"
	cp -a "$store.state" "$CFS_SCRATCH/pristine.state"
}

# line FILE N: the line N modulo its length.
line() {
	sed -n "$(($2 % $(wc -l <"$1") + 1))p" "$1"
}

# A fresh start from the pristine store: what a mount changed is undone.
flip_restore() {
	cp --sparse=never "$CFS_SCRATCH/pristine" "$store"
	rm -rf "$store.state"
	cp -a "$CFS_SCRATCH/pristine.state" "$store.state"
}

# In what a file holds: fsck names the file, reads give EIO or what is right.
flip_data() {
	local off rc place i=0
	flip_prepare
	[ -n "$why" ] && return
	for place in $("$tool" rand "$CFS_SEED" 1000000000 "$(count 10 700)"); do
		i=$((i + 1))
		off=$(line "$CFS_SCRATCH/blocks" "$place" | cut -d' ' -f1)
		off=$((off + place % 4096))
		must "$tool" flip "$store" "$off"
		"$CFS_BIN" fsck "$store" >"$CFS_SCRATCH/fsck.out" 2>&1
		rc=$?
		[ "$rc" = 1 ] || fail "byte $off: fsck exits with $rc"
		grep -q data-file "$CFS_SCRATCH/fsck.out" || fail "byte $off: fsck does not name the file: $(head -n 3 "$CFS_SCRATCH/fsck.out")"
		if [ $((i % $(count 5 10))) = 0 ]; then
			fs_up
			"$tool" verify "$mnt/data-file" "$flip_bytes" 5 2>"$CFS_SCRATCH/verify.err"
			rc=$?
			[ "$rc" = 4 ] || fail "byte $off: reading exits with $rc: $(head -n 2 "$CFS_SCRATCH/verify.err")"
			fs_down
			flip_restore
		else
			must "$tool" flip "$store" "$off"
		fi
		[ -n "$why" ] && return
	done
	counts="flips $i"
	fs_fsck
}

# In records: fsck says so; the server refuses to start, or what is read is right or an error.
flip_records() {
	local off rc place i=0 n text
	flip_prepare
	[ -n "$why" ] && return
	for place in $("$tool" rand "$((CFS_SEED + 1))" 1000000000 "$(count 6 300)"); do
		i=$((i + 1))
		off=$(line "$CFS_SCRATCH/texts" "$place")
		off=$((off + place % 9))
		must "$tool" flip "$store" "$off"
		"$CFS_BIN" fsck "$store" >"$CFS_SCRATCH/fsck.out" 2>&1
		rc=$?
		[ "$rc" = 1 ] || fail "byte $off: fsck exits with $rc: $(tail -n 1 "$CFS_SCRATCH/fsck.out")"
		if [ $((i % $(count 3 10))) = 0 ]; then
			fs_up
			if [ -n "$why" ]; then
				why=
				fs_down
			else
				for n in 1 25 50; do
					text=$(cat "$mnt/names/flip-name-$n" 2>/dev/null) || continue
					[ "$text" = "small file $n" ] || fail "byte $off: wrong data: $text"
				done
				fs_down
			fi
			flip_restore
		else
			must "$tool" flip "$store" "$off"
		fi
		[ -n "$why" ] && return
	done
	counts="flips $i"
	fs_fsck
}

# --- system calls ---

# What a reactor may do under load: sleep in io_uring_enter, talk to /dev/fuse and to sockets, wake
# others, look at clocks, get memory. Nothing of it waits for a disk.
may='io_uring_enter|futex|clock_gettime|clock_nanosleep|getrandom|madvise|mmap|munmap|mremap|mprotect|brk|sched_yield|epoll_wait|epoll_pwait|epoll_ctl|poll|ppoll|recvfrom|recvmsg|sendto|sendmsg|recv|send|accept4|getpid|gettid|rt_sigprocmask|rt_sigreturn|restart_syscall|timerfd_settime|socket|bind|listen|accept|getpeername|io_uring_register|connect|setsockopt|getsockopt|getsockname|shutdown|fcntl|close'
# These by what their descriptor is.
may_on='read|write|readv|writev'
fds='/dev/fuse|anon_inode:|socket:|TCP|UNIX|pipe:'

trace() {
	local pid=$1 tid
	strace -f -y -qq -p "$pid" -o "$CFS_SCRATCH/strace" 2>"$CFS_SCRATCH/strace.err" &
	local tracer=$!
	sleep 1
	must "$tool" creat "$mnt" 200
	must "$tool" fill "$mnt/traced" $((8 * mib)) 3
	must "$tool" syncs "$mnt" 8
	must "$tool" verify "$mnt/traced" $((8 * mib)) 3
	ls -lR "$mnt" >/dev/null
	kill -INT "$tracer"
	end_process "$tracer" 10
	[ -s "$CFS_SCRATCH/strace" ] || fail "no trace: $(cat "$CFS_SCRATCH/strace.err")"
	# Who sleeps in io_uring_enter is a reactor; others may wait for a disk.
	for tid in $(awk '$2 ~ /^io_uring_enter\(/ { print $1 }' "$CFS_SCRATCH/strace" | sort -u); do
		grep "^$tid " "$CFS_SCRATCH/strace" | grep -v ' resumed>\| +++\| ---'
	done >"$CFS_SCRATCH/calls"
	[ -s "$CFS_SCRATCH/calls" ] || fail "no thread calls io_uring_enter"
	grep -vE "^[0-9]+ +($may)\(" "$CFS_SCRATCH/calls" | grep -vE "^[0-9]+ +($may_on)\([0-9]+<($fds)" >"$CFS_SCRATCH/strange"
	[ -s "$CFS_SCRATCH/strange" ] && fail "$(wc -l <"$CFS_SCRATCH/strange") calls: $(cut -c1-120 "$CFS_SCRATCH/strange" | head -n 3)"
	counts="calls $(wc -l <"$CFS_SCRATCH/calls")"
}

trace_server() {
	trace "$server_pid"
}

case_run memory little_memory
case_run overwrite fs_with inproc-1 "$(count 128M 2G)" overwrite_full
case_run no-space fs_with inproc-1 "$(count 128M 1G)" no_space
case_run flip-data flip_data
case_run flip-records flip_records
case_run strace-inproc fs_with inproc-1 256M trace_server
case_run strace-server fs_with tcp-2 256M trace_server
finish
