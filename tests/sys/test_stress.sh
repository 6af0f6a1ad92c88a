#!/bin/bash
# The stressors of `stress-ng --class filesystem`, with --verify: what passes on ext4 has to pass
# here. Each is a case, and says its operations a second and those of ext4.
#
# tests/sys/stress-known lists, with reasons, what fails on both (it is then said, not counted) and
# what cannot run here at all.
. "$(dirname "$0")/lib.sh"

seconds=$(count 1 5)
# Some look at their clock after thousands of operations only, and clean up as many.
late=$(count 120 240)
known=$sys/stress-known

# Those of a shape. With small counts a few, for breadth; those with thousands of names not over tcp.
stressors() {
	if [ "$CFS_COUNTS" = full ]; then
		stress-ng --class 'filesystem?' | sed -n 's/^.*stressors: //p'
	else
		case $1 in inproc-*) echo "chmod dentry dir link utime" ;; esac
		echo "copy-file fallocate fcntl iomix mknod rename xattr"
	fi
}

# reason PREFIX NAME: from the list; false if it is not there.
reason() {
	awk -F '\t' -v what="$1" -v name="$2" '
		$1 == what && $2 == name { print $3; found = 1 }
		END { exit !found }' "$known"
}

# stress NAME FOLDER LOG: 0 if it ran and passed; 1: failed; 2: it did not run.
stress() {
	local rc
	mkdir -p "$2/t"
	chmod 1777 "$2/t"
	setsid --wait timeout -k 10 $((seconds + late)) \
		stress-ng "--$1" 3 --timeout "${seconds}s" --verify --seed "$CFS_SEED" --temp-path "$2/t" \
		--metrics-brief >"$3" 2>&1 </dev/null
	rc=$?
	timeout 120 rm -rf "$2/t" || return 1
	[ "$rc" = 124 ] || [ "$rc" = 137 ] && echo "fail: it hangs" >>"$3"
	# Exit code 4: nothing of what it needs is there. A skip says so and exits with 0.
	grep -q 'skipping stress\|No stress workers invoked' "$3" && return 2
	[ "$rc" = 0 ] && ! grep -q 'fail:\|error:' "$3"
}

# bogo NAME LOG: its operations a second, in real time.
bogo() {
	awk -v name="$1" '$2 == "metrc:" && $4 == name { print $9; exit }' "$2"
}

first_error() {
	grep -m 1 'fail:\|error:\|skipping' "$1" || tail -n 1 "$1"
}

# Once a name: what ext4 makes of it.
on_ext4() {
	local name
	ext4_up 2G
	[ -n "$why" ] && return
	for name in $(stressors inproc-1); do
		is_asked "$name" || continue
		stress "$name" "$ext4" "$CFS_SCRATCH/ext4.$name"
		echo $? >"$CFS_SCRATCH/ext4.$name.rc"
	done
	ext4_down
}

# Does CFS_CASE want this name in some shape?
is_asked() {
	case $CFS_CASE in "" | */"$1") ;; */*) return 1 ;; esac
}

rss_kib() {
	awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

rss_all() {
	local sum=0 pid
	for pid in $(printf '%s\n' "$mount_pid" "$server_pid" | sort -u); do
		sum=$((sum + $(rss_kib "$pid")))
	done
	echo $sum
}

serves() {
	local file=$mnt/serves
	timeout 20 bash -c 'echo hello >"$1" && [ "$(cat "$1")" = hello ] && rm "$1"' - "$file"
}

here() {
	local name=$1 log=$CFS_SCRATCH/here.$1 rc
	stress "$name" "$mnt" "$log"
	rc=$?
	counts="per-second $(bogo "$name" "$log") ext4 $(bogo "$name" "$CFS_SCRATCH/ext4.$name")"
	[ "$rc" = 0 ] || {
		sed 's/^/# /' "$log" | tail -n 20
		fail "$(first_error "$log")"
	}
	is_gone "$mount_pid" && fail "the mount's process died"
	is_gone "$server_pid" && fail "the server died"
	serves || fail "the mount does not serve afterwards"
	[ -z "$(ls -A "$mnt")" ] || fail "left in the mount: $(ls -A "$mnt" | head -n 3)"
}

# Nothing is left open, nothing hangs in the mount, memory and space are back.
nothing_left() {
	local rss
	wait_for 10 nothing_open || fail "left open: $(fs_stats | grep 'files_open\|under_way' | tr -s ' \n' ' ')"
	rss=$(rss_all)
	[ "$rss" -le $((rss_half + 96 * 1024)) ] || fail "memory grew from $rss_half to $rss KiB in the second half"
	wait_for 20 room_is_back || fail "of $room_before MiB only $(room) came back"
	fs_stats | grep -q '^mount.malformed  *0$' || fail "malformed requests: $(fs_stats | grep malformed)"
	counts="rss-kib $rss at-half-time $rss_half at-start $rss_before"
	fs_down
	fs_fsck
}

# The question itself is under way.
nothing_open() {
	fs_stats >"$CFS_SCRATCH/stats" &&
		grep -q '^client.files_open  *0$' "$CFS_SCRATCH/stats" &&
		grep -q '^mount.under_way  *1$' "$CFS_SCRATCH/stats"
}

room() {
	df -B1M --output=avail "$mnt" | tail -n 1 | tr -d ' '
}

room_is_back() {
	[ "$(room)" -ge $((room_before * 95 / 100)) ]
}

# Fills caches and pools, which takes some hundred MiB a core, so that what grows in the second half
# grows without end.
warm_up() {
	local name
	for name in hdd iomix fpunch dentry; do
		stress "$name" "$mnt" "$CFS_SCRATCH/warm" || fail "warming up with $name: $(first_error "$CFS_SCRATCH/warm")"
	done
	rss_before=$(rss_all)
	room_before=$(room)
}

all_in() {
	local name names done=0
	why= rss_half=
	names=$(stressors "$1")
	fs_make "$1" 4G
	fs_up
	[ -z "$why" ] && warm_up
	if [ -n "$why" ]; then
		echo "not ok $1/start $why"
		failed_any=1
		return
	fi
	for name in $names; do
		done=$((done + 1))
		[ $done -gt $(($(echo "$names" | wc -w) / 2)) ] && [ -z "$rss_half" ] && rss_half=$(rss_all)
		is_asked "$name" || continue
		if [ "$(cat "$CFS_SCRATCH/ext4.$name.rc")" != 0 ]; then
			not_on_ext4 "$1" "$name"
		elif reason here "$name" >"$CFS_SCRATCH/reason"; then
			echo "# $1/$name cannot run here: $(cat "$CFS_SCRATCH/reason")"
		else
			case_run "$1/$name" here "$name"
		fi
		is_gone "$mount_pid" && return
	done
	case_run "$1/nothing-left" nothing_left
}

not_on_ext4() {
	local said
	said=$(reason both "$2") || said=$(first_error "$CFS_SCRATCH/ext4.$2")
	echo "# $1/$2 does not pass on ext4: $said"
}

command -v stress-ng >/dev/null || {
	echo "stress-ng is not installed"
	exit 77
}
on_ext4
[ -z "$why" ] || {
	echo "not ok ext4 $why"
	exit 1
}
for s in inproc-1 tcp-2; do
	case $CFS_CASE in "" | "$s" | "$s"/*) all_in "$s" ;; esac
	fs_down
done
finish
