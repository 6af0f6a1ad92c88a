#!/bin/bash
# The commands as people use them, one after the other.
. "$(dirname "$0")/cli_lib.sh"

if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
	echo "root and /dev/fuse are needed"
	exit 77
fi

is_json() {
	python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$out" 2>/dev/null || fail "no JSON: $*"
}

explains_itself() {
	local verb
	expect 0 "$CFS_BIN" help
	says "quickstart"
	for verb in quickstart mkfs serve mount umount status stats fsck doctor bench control config version; do
		expect 0 "$CFS_BIN" $verb --help
		says "usage: cfs $verb"
		says "examples:"
		expect 0 "$CFS_BIN" help $verb
	done
	expect 2 "$CFS_BIN"
	expect 0 "$CFS_BIN" version
	says "store format"
	expect 0 "$CFS_BIN" version --json
	is_json version
}

shows_configuration() {
	expect 0 "$CFS_BIN" config show
	says "cores"
	cp "$out" shown.conf
	expect 0 "$CFS_BIN" config show --config shown.conf --cores 2
	says "cores = 2"
	expect 0 "$CFS_BIN" config show --json
	is_json config
}

doctor_says_all() {
	"$CFS_BIN" doctor --json >"$out" 2>"$err"
	[ $? != 2 ] || fail "doctor: $(cat "$err")"
	is_json doctor
	says '"check": "io_uring", "state": "ok"'
}

makes_stores() {
	expect 0 "$CFS_BIN" mkfs store --size 128M
	says "cfs serve"
	[ "$(stat -c %s store)" = $((128 << 20)) ] || fail "size of the file"
	[ "$(stat -c %b store)" -ge $((128 << 11)) ] || fail "not allocated"
	expect 0 "$CFS_BIN" mkfs second --size 64M --shards 16 --json
	is_json mkfs
	rm second
	expect 0 "$CFS_BIN" fsck store
	says "clean"
}

serves_and_mounts() {
	mkdir -p mnt mnt2
	start_server store || return
	expect 0 "$CFS_BIN" mount "$addr" mnt
	expect 0 "$CFS_BIN" mount "$addr" mnt2
	echo hello >mnt/file || fail "write"
	[ "$(cat mnt2/file)" = hello ] || fail "the other mount does not see it"
	expect 0 "$CFS_BIN" status "$addr" --json
	is_json status
	expect 0 "$CFS_BIN" status mnt
	says "epoch"
	expect 0 "$CFS_BIN" stats "$addr"
	says "records"
	expect 0 "$CFS_BIN" stats mnt --json
	is_json stats
	expect 0 "$CFS_BIN" umount mnt
	expect 0 "$CFS_BIN" umount mnt2
	stop_server
	expect 0 "$CFS_BIN" fsck store
	says "clean"
}

notifies_its_manager() {
	local listener
	python3 -B -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
s.settimeout(20)
for want in (b"READY=1", b"STOPPING=1"):
    print(want in s.recv(4096), flush=True)' >notified &
	listener=$!
	for _ in $(seq 50); do
		[ -S notify ] && break
		sleep 0.1
	done
	NOTIFY_SOCKET=$PWD/notify start_server store || return
	stop_server
	wait $listener
	[ "$(tr '\n' ' ' <notified)" = "True True " ] || fail "heard: $(cat notified)"
	rm -f notify
}

lives_on_after_kill() {
	local pid
	start_server store --listen 127.0.0.1:19870 || return
	expect 0 "$CFS_BIN" mount 127.0.0.1:19870 mnt
	echo before >mnt/kill || fail "write"
	kill -KILL "$server"
	wait "$server" 2>/dev/null
	(echo after >>mnt/kill) &
	pid=$!
	sleep 0.5
	kill -0 $pid || fail "a write did not wait for the server"
	expect 3 "$CFS_BIN" status mnt
	start_server store --listen 127.0.0.1:19870 || return
	wait $pid || fail "the write that waited"
	[ "$(tr '\n' ' ' <mnt/kill)" = "before after " ] || fail "content: $(cat mnt/kill)"
	expect 0 "$CFS_BIN" umount mnt
	stop_server
}

unmounts_without_server() {
	local pid
	start_server store || return
	expect 0 "$CFS_BIN" mount "$addr" mnt
	echo x >mnt/waiting
	kill -KILL "$server"
	wait "$server" 2>/dev/null
	servers=
	cat mnt/waiting >/dev/null 2>&1 &
	pid=$!
	sleep 0.3
	expect 0 "$CFS_BIN" umount mnt
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	grep -q "$PWD/mnt " /proc/self/mountinfo && fail "still mounted"
}

mounts_by_mount8() {
	local helper=$CFS_SCRATCH/bin
	mkdir -p "$helper"
	ln -sf "$CFS_BIN" "$helper/mount.claudefs"
	start_server store || return
	expect 0 "$helper/mount.claudefs" "$addr" mnt -o rw,noatime,_netdev,nofail,x-systemd.automount
	echo text >mnt/by-mount8 || fail "write"
	expect 0 "$helper/mount.claudefs" "$addr" mnt -o remount,ro
	(echo text >mnt/not) 2>/dev/null && fail "read-only mount was written"
	expect 0 "$helper/mount.claudefs" "$addr" mnt -o remount,rw
	echo text >mnt/again || fail "write after remount"
	umount mnt || fail "umount(8)"
	expect 0 "$helper/mount.claudefs" -f "$addr" mnt
	expect 1 "$helper/mount.claudefs" "$addr"
	for _ in $(seq 50); do
		grep -q "$PWD/mnt " /proc/self/mountinfo || break
		sleep 0.1
	done
	stop_server
}

# The same by mount(8) itself, which finds its helpers in /sbin and hands a remount the kernel's options: in
# a mount namespace with our helpers laid over /usr/sbin.
mounts_by_mount8_itself() {
	mkdir -p lay/up lay/work
	cat >by-mount8 <<-EOF
		mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$PWD/lay/up,workdir=$PWD/lay/work" none /usr/sbin &&
		ln -s "$CFS_BIN" /usr/sbin/mount.claudefs && ln -s "$CFS_BIN" /usr/sbin/mount.fuse.claudefs || exit 40
		mount -t claudefs -o noatime,x-any=1,_netdev,nofail "$PWD/store" mnt && echo text >mnt/itself || exit 41
		mount -o remount,ro mnt && ! touch mnt/not 2>/dev/null || exit 42
		mount -o remount,rw mnt && touch mnt/itself && umount mnt || exit 43
		echo "$PWD/store $PWD/mnt claudefs nofail 0 0" >fstab
		mount -T fstab "$PWD/mnt" && grep -q text mnt/itself && umount mnt || exit 44
		mount -t fuse.claudefs "$PWD/store" mnt && grep -q text mnt/itself && umount mnt || exit 45
	EOF
	expect 0 unshare --mount bash by-mount8
	expect 0 "$CFS_BIN" fsck store
}

quickstarts() {
	local start
	start=$(date +%s%N)
	expect 0 "$CFS_BIN" quickstart quick --size 256M
	echo text >quick/mnt/file || fail "write"
	[ "$(cat quick/mnt/file)" = text ] || fail "read"
	[ $((($(date +%s%N) - start) / 1000000)) -lt 3000 ] || fail "took more than 3 s"
	expect 0 "$CFS_BIN" quickstart quick
	says "already"
	expect 0 "$CFS_BIN" status quick/mnt
	expect 1 "$CFS_BIN" quickstart quick --destroy
	says "not agreed"
	[ "$(cat quick/mnt/file)" = text ] || fail "gone without being agreed"
	expect 0 "$CFS_BIN" umount quick/mnt
	expect 0 "$CFS_BIN" fsck quick/store
	expect 0 "$CFS_BIN" quickstart quick
	[ "$(cat quick/mnt/file)" = text ] || fail "lost over a restart"
	expect 0 "$CFS_BIN" bench quick/mnt --size 8M --files 50 --time 50ms
	says "seq-write"
	expect 0 "$CFS_BIN" bench quick/mnt --size 8M --files 50 --time 50ms --compare . --json
	is_json bench
	[ -z "$(ls -A quick/mnt | grep bench)" ] || fail "bench left something"
	(cd quick/mnt && exec sleep 30) &
	sleep 0.2
	expect 1 "$CFS_BIN" umount quick/mnt
	says "in use"
	kill -KILL $!
	wait $! 2>/dev/null
	expect 0 "$CFS_BIN" quickstart quick --destroy --yes
	[ ! -e quick ] || fail "not removed: $(ls -R quick)"
}

starts_again_after_kill() {
	local pid
	expect 0 "$CFS_BIN" quickstart quick --size 128M
	echo text >quick/mnt/file || fail "write"
	pid=$(cat "/run/claudefs/$(findmnt -no MAJ:MIN quick/mnt | tr -d ' ')")
	kill -KILL "$pid"
	for _ in $(seq 50); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	expect 0 "$CFS_BIN" quickstart quick
	[ "$(cat quick/mnt/file)" = text ] || fail "lost what was acknowledged"
	touch quick/other
	expect 0 "$CFS_BIN" quickstart quick --destroy --yes
	[ "$(ls -A quick)" = other ] || fail "left: $(ls -A quick)"
	rm -rf quick
}

for case in explains_itself shows_configuration doctor_says_all makes_stores serves_and_mounts notifies_its_manager \
	lives_on_after_kill unmounts_without_server mounts_by_mount8 mounts_by_mount8_itself quickstarts starts_again_after_kill; do
	run $case
done
finish
