#!/bin/bash
# What an operation costs, counted: messages by the mount's counters, transactions, device reads and
# flushes by the server's, flushes by the kernel's block statistics as well.
. "$(dirname "$0")/lib.sh"

tool=$CFS_BUILD/tests/sys/tool
loop=

# value FILE PATH: a counter of `cfs stats`; 0 if it is not there. A PATH that ends with a dot: the
# sum of all below; "*" is one part.
value() {
	awk -v path="$2" '
		BEGIN { gsub(/\./, "\\.", path); gsub(/\*/, "[^.]*", path); path = "^" path (path ~ /\\\.$/ ? "" : "$") }
		$1 ~ path { sum += $2 }
		END { print sum + 0 }' "$1"
}

snap_mount() {
	"$CFS_BIN" stats "$mnt" >"$CFS_SCRATCH/mount.$1" 2>&1 || fail "cfs stats: $(cat "$CFS_SCRATCH/mount.$1")"
}

snap_server() {
	"$CFS_BIN" stats "$addr" >"$CFS_SCRATCH/server.$1" 2>&1 || fail "cfs stats: $(cat "$CFS_SCRATCH/server.$1")"
}

# more FILE PATH: by how much it grew between the two snapshots.
more() {
	echo $(($(value "$CFS_SCRATCH/$1.2" "$2") - $(value "$CFS_SCRATCH/$1.1" "$2")))
}

# is WHAT GOT LEAST MOST
is() {
	[ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || fail "$1: $2, not between $3 and $4"
	counts="${counts:-}${counts:+ }$1 $2"
}

# --- in one process: messages ---

# The open and the close of it, and what the shell does, are some messages more.
stat_messages() {
	must "$tool" fill "$mnt/f" 4096 1
	snap_mount 1
	must "$tool" stat "$mnt/f" 1000
	snap_mount 2
	is requests "$(more mount fuse.GETATTR)" 1000 1010
	is messages "$(more mount messages.GETATTR)" 1000 1010
	is all "$(more mount messages.)" 1000 1020
}

# By name in a known directory, of an only client: the kernel has it all.
name_messages() {
	must mkdir -p "$mnt/a/b/c"
	must "$tool" fill "$mnt/a/b/c/f" 10 1
	snap_mount 1
	must "$tool" statin "$mnt/a/b/c" f 1000
	snap_mount 2
	is requests "$(more mount fuse.LOOKUP)" 0 10
	is messages "$(more mount messages.)" 0 20
}

create_messages() {
	must mkdir "$mnt/new"
	snap_mount 1
	must "$tool" creat "$mnt/new" 500
	snap_mount 2
	is creates "$(more mount fuse.CREATE)" 500 500
	is messages "$(more mount messages.CREATE)" 500 500
}

# Of somebody else's directory the kernel asks for an ACL, once while it has the attributes.
acl_messages() {
	must mkdir -p "$mnt/p/q"
	must "$tool" fill "$mnt/p/q/f" 10 1
	must chmod -R a+rX "$mnt/p"
	snap_mount 1
	must "$tool" statin "$mnt/p/q" f 500
	snap_mount 2
	is owner-requests "$(more mount fuse.GETXATTR)" 0 10
	snap_mount 1
	must setpriv --reuid 1000 --regid 1000 --clear-groups "$tool" statin "$mnt/p/q" f 500
	snap_mount 2
	is requests "$(more mount fuse.GETXATTR)" 0 10
	must setfacl -m u:1000:rx "$mnt/p/q"
	snap_mount 1
	must setpriv --reuid 1000 --regid 1000 --clear-groups "$tool" statin "$mnt/p/q" f 500
	snap_mount 2
	is messages-with-acl "$(more mount messages.GETXATTR)" 1 10
}

write_messages() {
	must "$tool" fill "$mnt/w" 3145728 1
	snap_mount 1
	must "$tool" pwrite "$mnt/w" 8192 4096 direct
	must "$tool" pwrite "$mnt/w" 1048576 1048576 direct
	must "$tool" pwrite "$mnt/w" 1572864 1048576 direct
	snap_mount 2
	# 4 KiB: one; a chunk: one and one to the inode; over two chunks: two and one.
	is requests "$(more mount fuse.WRITE)" 3 4
	is data-messages "$(($(more mount messages.WRITE) + $(more mount messages.CHUNK_WRITE)))" 4 5
	is reads "$(($(more mount messages.CHUNK_READ) + $(more mount messages.READ)))" 0 0
}

# --- in two processes: what the server did ---

create_costs() {
	must mkdir "$mnt/new"
	snap_server 1
	must "$tool" creat "$mnt/new" 500
	snap_server 2
	is prepares "$(more server 'core.*.net_local.sent_by_op.TX_PREPARE')" 0 0
	is records "$(more server 'core.*.stores.*.records')" 1000 1600
}

write_costs() {
	must "$tool" fill "$mnt/w" 1048576 1
	sync
	sleep 1.5
	snap_server 1
	for i in 1 2 3 4 5 6 7 8; do
		must "$tool" pwrite "$mnt/w" $((i * 65536)) 4096
	done
	snap_server 2
	is device-reads "$(more server 'core.*.stores.*.reads')" 0 0
	# Pieces of blocks are records; they meet their blocks later, in the background.
	snap_server 1
	must "$tool" pwrite "$mnt/w" 70123 2000
	must "$tool" pwrite "$mnt/w" 140000 100
	snap_server 2
	is device-reads-of-pieces "$(more server 'core.*.stores.*.reads')" 0 2
}

rma_bytes() {
	snap_server 1
	must "$tool" pwrite "$mnt/big" 0 1048576 direct
	must "$tool" verify "$mnt/big" 1048576 1
	snap_server 2
	# From 64 KiB payloads move by RMA: the server reads what is written, and writes what is read.
	is rma-reads "$(more server 'core.*.net_listen.rma_read_bytes')" 1048576 1200000
	is rma-writes "$(more server 'core.*.net_listen.rma_write_bytes')" 1048576 3000000
}

# Flushes of the loop device, by the kernel (Documentation/block/stat.rst, field 16).
kernel_flushes() {
	awk '{ print $16 }' "/sys/block/${loop#/dev/}/stat"
}

# The ticks of a second flush too; the best of some tries has none in it.
sync_flushes() {
	local n before best=1000 best_kernel=1000
	for _ in 1 2 3 4 5 6; do
		snap_server 1
		before=$(kernel_flushes)
		must "$tool" syncs "$mnt" 16
		n=$(($(kernel_flushes) - before))
		snap_server 2
		[ "$n" -ge "$best_kernel" ] || best_kernel=$n
		n=$(more server 'core.*.stores.*.flushes')
		[ "$n" -ge "$best" ] || best=$n
		sleep 0.3
	done
	is flushes "$best" 1 $((3 * cores))
	is kernel-flushes "$best_kernel" 1 $((3 * cores))
}

life_inproc() {
	fs_make "inproc-1" 512M
	fs_up
	[ -z "$why" ] || fail "$why"
	if [ -n "$why" ]; then case_run inproc/start fail "$why"; return; fi
	case_run inproc/stat stat_messages
	case_run inproc/name name_messages
	case_run inproc/create create_messages
	case_run inproc/acl acl_messages
	case_run inproc/write write_messages
	case_run inproc/end end_life
}

end_life() {
	fs_down
	fs_fsck
}

# switches: how often the threads of the mount's process gave up their CPU of themselves.
switches() {
	cat /proc/"$mount_pid"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'
}

# Waking a CPU costs more than all else in a request: at most one for each, whichever core has the
# shard (six directories are on both). The least of some tries: what else runs on the machine takes
# the CPU from those who spin.
wake_ups() {
	local dir before n least worst=0
	for dir in 1 2 3 4 5 6; do
		must mkdir -p "$mnt/w/$dir"
		must "$tool" fill "$mnt/w/$dir/f" 10 1
		least=
		for _ in $(seq 30); do
			before=$(switches)
			must "$tool" stat "$mnt/w/$dir/f" 2000
			n=$(($(switches) - before))
			[ -n "$least" ] && [ "$least" -le "$n" ] || least=$n
			[ "$least" -gt 2000 ] || break
		done
		[ "$worst" -ge "$least" ] || worst=$least
	done
	is switches-of-2000-requests "$worst" 0 2000
}

life_wake_ups() {
	fs_make inproc-2 1G
	fs_up
	if [ -n "$why" ]; then case_run inproc-2/start fail "$why"; return; fi
	case_run inproc-2/wake-ups wake_ups
	case_run inproc-2/end end_life
}

# On a loop device in memory, so that the kernel counts flushes of this store alone.
life_tcp() {
	local image=/dev/shm/claudefs-costs-$$ uuid
	cores=$1
	truncate -s 1G "$image"
	loop=$(losetup --find --show --direct-io=off "$image") || loop=
	rm -f "$image"
	if [ -z "$loop" ]; then
		echo "skip tcp-$cores no loop device"
		return
	fi
	shape=tcp-$cores
	why=
	store=$loop
	mkdir -p "$mnt"
	must "$CFS_BIN" mkfs "$loop" --slices "$cores"
	uuid=$(sed -n 's/^uuid: *//p' "$CFS_SCRATCH/must.out")
	[ -n "$why" ] || fs_up
	if [ -n "$why" ]; then
		case_run "tcp-$cores/start" fail "$why"
	else
		case_run "tcp-$cores/create" create_costs
		case_run "tcp-$cores/write" write_costs
		case_run "tcp-$cores/rma" rma_bytes
		case_run "tcp-$cores/fsync" sync_flushes
	fi
	case_run "tcp-$cores/end" end_life
	losetup -d "$loop"
	store=$CFS_SCRATCH/fs/store
	[ -z "$uuid" ] || rm -rf "/var/lib/claudefs/${uuid:?}"
}

life_inproc
life_wake_ups
life_tcp 1
life_tcp 2
finish
