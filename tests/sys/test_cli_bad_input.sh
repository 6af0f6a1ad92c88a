#!/bin/bash
# Bad input: each gives one line with cause and next step, a non-zero exit code, and changes nothing.
. "$(dirname "$0")/cli_lib.sh"

if [ "$(id -u)" != 0 ] || [ ! -e /dev/fuse ]; then
	echo "root and /dev/fuse are needed"
	exit 77
fi

sum() {
	sha256sum "$1" | cut -d ' ' -f 1
}

# unchanged FILE COMMAND...: the command leaves the file as it was.
unchanged() {
	local file=$1 before
	shift
	before=$(sum "$file")
	"$@"
	[ "$(sum "$file")" = "$before" ] || fail "$file was changed"
}

# super FILE COPY STATEMENT: changes a superblock's bytes `b` (COPY 0 first, 1 last) by Python and mends its checksum.
super() {
	python3 -B - "$@" <<'PYTHON'
import os, struct, sys
path, copy, statement = sys.argv[1:4]
table = []
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    table.append(c)
def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = c >> 8 ^ table[(c ^ byte) & 255]
    return c ^ 0xFFFFFFFF
with open(path, "r+b") as f:
    at = 0 if copy == "0" else os.path.getsize(path) // 4096 * 4096 - 4096
    f.seek(at)
    b = bytearray(f.read(4096))
    exec(statement)
    b[12:16] = bytes(4)
    b[12:16] = struct.pack("<I", crc32c(b))
    f.seek(at)
    f.write(b)
PYTHON
}

# without_io_uring COMMAND...: as in a container whose seccomp profile forbids it. A file: timeout(1) runs no functions.
cat >without_io_uring <<'PYTHON'
#!/usr/bin/env -S python3 -B
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ops = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | 1), (0x06, 0, 0, 0x7fff0000)]
code = b"".join(struct.pack("HBBI", *op) for op in ops)
buf = ctypes.create_string_buffer(code)
prog = struct.pack("HxxxxxxP", len(ops), ctypes.addressof(buf))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(prog), 0, 0):
    sys.exit("no seccomp")
os.execv(sys.argv[1], sys.argv[1:])
PYTHON
chmod +x without_io_uring

new_store() {
	rm -rf store store.state store.tail*
	"$CFS_BIN" mkfs store --size 128M >/dev/null || fail "mkfs"
}

not_a_store() {
	head -c 100M /dev/urandom >random
	unchanged random refuses 1 "not a ClaudeFS store" "$CFS_BIN" serve random
	unchanged random refuses 1 "not a ClaudeFS store" "$CFS_BIN" fsck random
	[ ! -e random.state ] || fail "a state folder was made"
	refuses 1 "there is a file already" "$CFS_BIN" mkfs random --size 100M
	refuses 1 "No such file" "$CFS_BIN" serve nothing
	refuses 1 "No such file" "$CFS_BIN" fsck nothing
	mkdir -p folder
	refuses 1 "folder" "$CFS_BIN" fsck folder
	rm -f random
}

other_version() {
	local version
	new_store
	for version in 0 2 77; do
		for copy in 0 1; do
			super store $copy "b[8:10] = struct.pack('<H', $version)"
		done
		unchanged store refuses 1 "format $version" "$CFS_BIN" serve store
		unchanged store refuses 1 "format $version" "$CFS_BIN" fsck store
	done
}

in_use() {
	new_store
	start_server store || return
	refuses 1 "in use" "$CFS_BIN" serve store --listen 127.0.0.1:0
	refuses 1 "in use" "$CFS_BIN" fsck store
	refuses 1 "in use" "$CFS_BIN" mkfs store --size 128M --force
	expect 0 "$CFS_BIN" status "$addr"
	stop_server
}

one_superblock_damaged() {
	for copy in 0 1; do
		new_store
		if [ $copy = 0 ]; then
			dd if=/dev/urandom of=store bs=4096 count=1 conv=notrunc status=none
		else
			dd if=/dev/urandom of=store bs=4096 seek=32767 count=1 conv=notrunc status=none
		fi
		start_server store || return
		expect 0 "$CFS_BIN" status "$addr"
		stop_server
	done
}

both_superblocks_damaged() {
	new_store
	for block in 0 32767; do
		printf '\377' | dd of=store bs=1 seek=$((block * 4096 + 50)) conv=notrunc status=none
	done
	unchanged store refuses 1 "damaged" "$CFS_BIN" serve store
	unchanged store expect 1 "$CFS_BIN" fsck store
	says "both superblocks are damaged"
}

unknown_words() {
	refuses 2 "unknown verb" "$CFS_BIN" frobnicate
	refuses 2 "did you mean 'mount'" "$CFS_BIN" mont
	refuses 2 "did you mean '--size'" "$CFS_BIN" mkfs store --sise 8G
	refuses 2 "unknown option" "$CFS_BIN" doctor --frobnicate
	refuses 2 "too few arguments" "$CFS_BIN" mkfs
	refuses 2 "too many arguments" "$CFS_BIN" mkfs a b
	refuses 2 "not a size" "$CFS_BIN" mkfs new --size much
	refuses 2 "power of two" "$CFS_BIN" mkfs new --size 128M --shards 100
	refuses 1 "64 MiB" "$CFS_BIN" mkfs new --size 1M
	refuses 2 "port" "$CFS_BIN" serve store --listen 127.0.0.1:http
	refuses 2 "cores" "$CFS_BIN" serve store --cores many
	[ ! -e new ] || fail "a file was made"
}

port_in_use() {
	new_store
	start_server store || return
	"$CFS_BIN" mkfs second --size 128M >/dev/null || fail "mkfs"
	refuses 1 "in use" "$CFS_BIN" serve second --listen "$addr"
	stop_server
	rm -rf second second.state
}

bad_mount_point() {
	new_store
	echo text >file
	mkdir -p full mnt
	echo text >full/file
	unchanged file refuses 1 "folder" "$CFS_BIN" mount "$PWD/store" file
	refuses 1 "not empty" "$CFS_BIN" mount "$PWD/store" full
	refuses 1 "No such file" "$CFS_BIN" mount "$PWD/store" missing
	expect 0 "$CFS_BIN" mount "$PWD/store" mnt
	refuses 1 "already" "$CFS_BIN" mount "$PWD/store" mnt
	expect 0 "$CFS_BIN" umount mnt
	refuses 1 "nothing is mounted" "$CFS_BIN" umount mnt
	refuses 1 "not a ClaudeFS" "$CFS_BIN" umount /proc
	refuses 1 "nothing is mounted" "$CFS_BIN" status mnt/
}

stale_mount() {
	local pid
	new_store
	mkdir -p mnt
	"$CFS_BIN" mount "$PWD/store" mnt --foreground >/dev/null 2>&1 &
	pid=$!
	for _ in $(seq 100); do
		grep -q "$PWD/mnt" /proc/self/mountinfo && timeout 5 stat mnt >/dev/null 2>&1 && break
		sleep 0.1
	done
	kill -KILL $pid
	wait $pid 2>/dev/null
	refuses 1 "" "$CFS_BIN" mount "$PWD/store" mnt
	refuses 1 "gone" "$CFS_BIN" status mnt/
	expect 0 "$CFS_BIN" umount mnt
	expect 0 "$CFS_BIN" mount "$PWD/store" mnt
	expect 0 "$CFS_BIN" umount mnt
}

no_server() {
	mkdir -p mnt
	refuses 1 "no answer" "$CFS_BIN" status 127.0.0.1:1
	refuses 32 "no answer" bash -c "exec -a mount.claudefs '$CFS_BIN' 127.0.0.1:1 mnt -o rw,_netdev,nofail"
	refuses 32 "unknown key" bash -c "exec -a mount.claudefs '$CFS_BIN' 127.0.0.1:1 mnt -o frobnicate"
}

no_fuse() {
	new_store
	mkdir -p mnt
	unchanged store refuses 1 "/dev/fuse" unshare -m sh -c \
		'mount -t tmpfs none /dev && exec "$0" "$@"' "$CFS_BIN" mount "$PWD/store" mnt
	refuses 1 "/dev/fuse" unshare -m sh -c \
		'mount -t tmpfs none /dev && exec "$0" "$@"' "$CFS_BIN" quickstart "$PWD/quick"
	[ ! -e quick ] || fail "a folder was made"
}

no_io_uring() {
	new_store
	mkdir -p mnt
	unchanged store refuses 1 "io_uring" ./without_io_uring "$CFS_BIN" serve store
	unchanged store refuses 1 "io_uring" ./without_io_uring "$CFS_BIN" fsck store
	refuses 1 "io_uring" ./without_io_uring "$CFS_BIN" mount 127.0.0.1:1 mnt
	refuses 1 "io_uring" ./without_io_uring "$CFS_BIN" status 127.0.0.1:1
	expect 1 ./without_io_uring "$CFS_BIN" doctor
	says "FAIL  io_uring"
}

no_privilege() {
	local dir
	dir=$(mktemp -d /tmp/cfs-cli-nobody-XXXXXX)
	cp "$CFS_BIN" "$dir/cfs"
	mkdir "$dir/mnt"
	chmod -R a+rX "$dir"
	chown 65534:65534 "$dir/mnt"
	refuses 1 "" setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
		"$dir/cfs" mount 127.0.0.1:1 "$dir/mnt"
	expect 1 setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$dir/cfs" doctor
	says "FAIL  privilege"
	rm -rf "$dir"
}

full_disk() {
	mkdir -p small
	mount -t tmpfs -o size=100M none small || fail "tmpfs"
	refuses 1 "smaller --size" "$CFS_BIN" mkfs small/store --size 200M
	[ ! -e small/store ] || fail "half a store was left"
	refuses 1 "64 MiB" "$CFS_BIN" quickstart small/quick
	[ ! -e small/quick/store ] || fail "half a quickstart was left"
	refuses 1 "free" "$CFS_BIN" bench small --size 1G
	umount small
}

lying_peer() {
	local i
	new_store
	start_server store || return
	for i in $(seq 20); do
		python3 -B - "$addr" "$i" <<'PYTHON'
import os, random, socket, struct, sys
host, port = sys.argv[1].rsplit(":", 1)
random.seed(int(sys.argv[2]))
s = socket.create_connection((host, int(port)), 5)
s.settimeout(0.2)
try:
    for _ in range(8):
        size = random.choice([1, 4, 16, 64, 500, 70000])
        body = bytearray(random.randbytes(size))
        if size >= 16 and random.random() < 0.5:
            body[0:8] = struct.pack("<Q", random.choice([0, 1, 2**31, 2**63, 2**64 - 1]))
        s.sendall(body)
    s.recv(4096)
except OSError:
    pass
PYTHON
	done
	expect 0 "$CFS_BIN" status "$addr"
	stop_server
}

bad_config() {
	printf '[claudefs]\ncores = 1\ncache_sise = 64M\n' >typo.conf
	printf 'cores = many\n' >value.conf
	refuses 1 "typo.conf:3" "$CFS_BIN" config show --config typo.conf
	says "cache_size"
	refuses 1 "value.conf:1" "$CFS_BIN" serve store --config value.conf
	refuses 1 "missing.conf" "$CFS_BIN" config show --config missing.conf
}

damaged_control_file() {
	new_store
	mkdir -p store.state
	head -c 100000 /dev/urandom >store.state/control.sqlite
	refuses 1 "move it away" "$CFS_BIN" serve store --listen 127.0.0.1:0
	mv store.state/control.sqlite away
	start_server store || return
	stop_server
	sqlite3 store.state/control.sqlite 'PRAGMA user_version = 99'
	refuses 1 "version" "$CFS_BIN" serve store --listen 127.0.0.1:0
}

for case in not_a_store other_version in_use one_superblock_damaged both_superblocks_damaged unknown_words \
	port_in_use bad_mount_point stale_mount no_server no_fuse no_io_uring no_privilege full_disk \
	lying_peer bad_config damaged_control_file; do
	run $case
done
finish
