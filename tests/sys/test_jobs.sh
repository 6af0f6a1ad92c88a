#!/bin/bash
# Real jobs on the mount: unpack a source tree, copy it there and back with all attributes, build,
# git, sqlite, fio. What comes out is compared with the same on this machine's file system.
. "$(dirname "$0")/lib.sh"

other=$CFS_SCRATCH/other # on the machine's own file system
tree=$CFS_SCRATCH/tree   # what is unpacked and copied

# Without the option tar leaves the time of unpacking on some directories, on any file system.
untar="tar --delay-directory-restore"

# The tree: Debian's kernel source, or with small counts our own source and the C headers, with some
# links and odd attributes added.
get_tree() {
	[ -d "$tree" ] && return
	mkdir -p "$tree"
	if [ "$CFS_COUNTS" = full ]; then
		get_linux
		return
	fi
	mkdir -p "$tree/src"
	(cd "$root" && tar -cf - --exclude=./build --exclude=./.git .) | tar -xf - -C "$tree/src"
	cp -a /usr/include/linux "$tree/include"
	(
		cd "$tree" || exit
		ln src/LICENSE hard
		ln -s src/README.md soft
		mkdir -m 2770 shared
		mkfifo pipe
		echo x >secret
		chmod 4711 secret
		chown 1000:1001 secret
		setfattr -n user.note -v "kept" secret
		setfattr -n security.capability -v 0x0000000220000000000000000000000000000000 hard
		truncate -s 5M sparse
		echo end >>sparse
		touch -d '1999-12-31 23:59:59.123456789' old
	)
	tar -C "$tree" -cf "$tree.tar" --xattrs . || fail "tar"
}

get_linux() {
	local archive=/usr/src/linux-source-6.1.tar.xz
	[ -f "$archive" ] || {
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends linux-source-6.1 \
			>"$CFS_SCRATCH/apt.out" 2>&1 || fail "linux-source-6.1: $(tail -n 1 "$CFS_SCRATCH/apt.out")"
	}
	[ -f "$archive" ] && xz -dc "$archive" >"$tree.tar" && $untar -C "$tree" -xf "$tree.tar"
}

# same A B: the two trees are equal in contents and all attributes.
same() {
	rsync -aHXnic --delete "$1/" "$2/" >"$CFS_SCRATCH/rsync.out" 2>&1 || fail "rsync: $(tail -n 1 "$CFS_SCRATCH/rsync.out")"
	[ -s "$CFS_SCRATCH/rsync.out" ] && fail "differs: $(head -n 3 "$CFS_SCRATCH/rsync.out")"
}

unpack() {
	get_tree
	mkdir "$mnt/tree"
	must $untar -C "$mnt/tree" --xattrs --xattrs-include='*' -xf "$tree.tar"
	touch -r "$tree" "$mnt/tree"
	same "$tree" "$mnt/tree"
	counts="files $(find "$tree" | wc -l)"
	# And with cold caches.
	sync
	echo 2 >/proc/sys/vm/drop_caches 2>/dev/null
	same "$tree" "$mnt/tree"
}

there_and_back() {
	get_tree
	must rsync -aHX "$tree/" "$mnt/copy/"
	same "$tree" "$mnt/copy"
	rm -rf "$other"
	must rsync -aHX "$mnt/copy/" "$other/"
	same "$tree" "$other"
	must rm -rf "$mnt/copy"
}

# Our own source builds there; with full counts all of it, and its unit tests pass.
build() {
	mkdir "$mnt/build"
	(cd "$root" && tar -cf - --exclude=./build --exclude=./.git .) | tar -xf - -C "$mnt/build"
	cd "$mnt/build" || return
	must meson setup out
	if [ "$CFS_COUNTS" = full ]; then
		must ninja -C out
		meson test -C out --no-rebuild --suite unit --print-errorlogs -t 5 >"$CFS_SCRATCH/unit.out" 2>&1 ||
			fail "unit tests: $(grep -E ' (FAIL|TIMEOUT|ERROR) ' "$CFS_SCRATCH/unit.out" | tr -s ' ' | head -n 5)"
	else
		must ninja -C out src/libcfs-base.a src/libcfs-proto.a
	fi
	must ninja -C out -t clean
	cd "$CFS_SCRATCH" || return
	must rm -rf "$mnt/build"
}

use_git() {
	get_tree
	mkdir "$mnt/git"
	if [ "$CFS_COUNTS" = full ]; then must cp -a "$tree/." "$mnt/git/"; else must cp -a "$tree/src/." "$mnt/git/"; fi
	cd "$mnt/git" || return
	export GIT_CONFIG_GLOBAL=$CFS_SCRATCH/gitconfig
	git config --global user.name Test
	git config --global user.email test@example.com
	git config --global safe.directory '*'
	git config --global init.defaultBranch main
	git config --global gc.auto 0 # it would run beside what follows
	must git init -q
	must git add -A -f # Debian's tree ignores all of itself
	must git commit -q -m first
	echo more >>new-file
	must git add -A -f
	must git commit -q -m second
	must git gc -q
	must git fsck --full --strict
	must git checkout -q -b side HEAD~1
	must git checkout -q main
	[ -z "$(git status --porcelain)" ] || fail "git status: $(git status --porcelain | head -n 3)"
	must git clone -q "$mnt/git" "$mnt/clone"
	[ -z "$(git -C "$mnt/clone" status --porcelain)" ] || fail "the clone differs"
	cd "$CFS_SCRATCH" || return
	must rm -rf "$mnt/git" "$mnt/clone"
}

# use_sqlite MODE
use_sqlite() {
	local db=$mnt/$1.db n
	n=$(count 300 5000)
	must sqlite3 "$db" "PRAGMA journal_mode=$1; CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB, n INT); CREATE INDEX i ON t(n);"
	# Many small transactions, and two processes that write at once.
	for w in 1 2; do
		seq "$n" | sed "s/.*/INSERT INTO t(v, n) VALUES(randomblob(700), &);/" |
			sqlite3 -cmd ".timeout 60000" "$db" >"$CFS_SCRATCH/sqlite.$w" 2>&1 &
		eval "pid$w=\$!"
	done
	wait "$pid1" "$pid2"
	[ -s "$CFS_SCRATCH/sqlite.1" ] || [ -s "$CFS_SCRATCH/sqlite.2" ] &&
		fail "sqlite: $(cat "$CFS_SCRATCH"/sqlite.? | head -n 2)"
	must sqlite3 "$db" "BEGIN; UPDATE t SET v = randomblob(900) WHERE n % 3 = 0; DELETE FROM t WHERE n % 7 = 0; COMMIT; VACUUM;"
	[ "$(sqlite3 "$db" 'PRAGMA integrity_check')" = ok ] || fail "integrity_check"
	[ "$(sqlite3 "$db" 'SELECT count(*) FROM t')" = $((2 * (n - n / 7))) ] || fail "rows are missing"
	rm -f "$mnt/$1".db*
}

use_fio() {
	local mib bs
	mib=$(count 24 1024)
	for bs in 512 4k 7777 64k 1m; do
		must fio --name=v --directory="$mnt" --ioengine=psync --rw=randwrite --bs="$bs" --size="${mib}m" \
			--io_size="$(count 6 256)m" --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed="$CFS_SEED" \
			--fsync_on_close=1 --output=/dev/null
		rm -f "$mnt"/v.*
	done
	must fio --name=d --directory="$mnt" --ioengine=psync --direct=1 --rw=write --bs=1m --size="${mib}m" \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --output=/dev/null
	must fio --name=j --directory="$mnt" --ioengine=psync --rw=randrw --bsrange=1k-128k --size="$(count 8 256)m" \
		--numjobs=4 --verify=crc32c --verify_fatal=1 --randseed="$CFS_SEED" --output=/dev/null
	rm -f "$mnt"/[djv].*
}

# All jobs in one life of the file system, in a shape.
jobs_in() {
	shape=$1
	why=
	fs_make "$1" "$(count 3G 12G)"
	fs_up
	if [ -n "$why" ]; then
		echo "not ok $1/start $why"
		failed_any=1
		return
	fi
	case_run "$1/unpack" unpack
	case_run "$1/rsync" there_and_back
	case_run "$1/build" build
	case_run "$1/git" use_git
	case_run "$1/sqlite-rollback" use_sqlite delete
	case_run "$1/sqlite-wal" use_sqlite wal
	case_run "$1/fio" use_fio
	case_run "$1/fsck" after
}

# After the next start everything is there, and fsck finds nothing.
after() {
	fs_down
	fs_fsck
	[ -z "$why" ] && fs_up
	[ -z "$why" ] && [ -d "$mnt/tree" ] && same "$tree" "$mnt/tree"
	fs_down
}

for s in inproc-1 tcp-2 $(count "" "inproc-2 tcp-1"); do
	case $CFS_CASE in "" | "$s"*) jobs_in "$s" ;; esac
done
finish
