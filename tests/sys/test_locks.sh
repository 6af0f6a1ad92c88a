#!/bin/bash
# Locks over two mounts of one server, each a process of its own (doc/design/locks.md): who has one,
# who waits, and what becomes of both when somebody is killed.
. "$(dirname "$0")/lib.sh"

locker=$CFS_BUILD/tests/sys/locker
pids=()
declare -A pid_of

# A holder or a waiter runs beside us, says what happens in a file of its name, and goes on when
# let_go tells it to.
# begin NAME COMMAND...
begin() {
	local name=$1
	shift
	rm -f "$CFS_SCRATCH/$name.out"
	"$locker" "$@" </dev/null >"$CFS_SCRATCH/$name.out" 2>&1 &
	pids+=($!)
	pid_of[$name]=$!
}

let_go() {
	kill -USR1 "${pid_of[$1]}" 2>/dev/null
}

ended() {
	end_process "${pid_of[$1]}" 20 || fail "$1 ended with $?: $(cat "$CFS_SCRATCH/$1.out")"
}

has_said() {
	[ -s "$CFS_SCRATCH/$1.out" ] && [ "$(tail -n 1 "$CFS_SCRATCH/$1.out")" = "$2" ]
}

# says NAME WORD [SECONDS]
says() {
	wait_for "${3:-10}" has_said "$1" "$2" || fail "$1 does not say $2: $(tail -n 1 "$CFS_SCRATCH/$1.out")"
}

silent() {
	sleep "${2:-0.3}"
	[ ! -s "$CFS_SCRATCH/$1.out" ] || fail "$1 does not wait: $(cat "$CFS_SCRATCH/$1.out")"
}

# tries WORD KIND TYPE FILE OFF LEN
tries() {
	local want=$1 got
	shift
	got=$("$locker" try "$@")
	[ "$got" = "$want" ] || fail "try $*: $got, not $want"
}

end_all() {
	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	pids=()
}

# count_up KIND: two on each mount add to one number.
count_up() {
	local rounds i
	rounds=$(count 40 2000)
	pids=()
	for i in 1 2; do
		"$locker" count "$1" "$mnt/count.$1" "$rounds" &
		pids+=($!)
		"$locker" count "$1" "$mnt2/count.$1" "$rounds" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		end_process "$i" 300 || fail "a counter ended with $?"
	done
	pids=()
	i=$(od -An -tu8 -N8 "$mnt/count.$1")
	[ "$i" -eq $((4 * rounds)) ] || fail "it counts to $i, not $((4 * rounds))"
	counts="counted $i"
}

# The waits of both mounts go on in turn when the lock is given back, whoever had it.
waits() {
	begin holder hold fcntl w "$mnt/waits" 0 10
	says holder held
	begin first wait ofd w "$mnt2/waits" 5 10 0
	silent first
	begin second wait fcntl w "$mnt/waits" 5 10 0
	silent second
	tries EAGAIN fcntl r "$mnt2/waits" 0 1
	tries got flock w "$mnt2/waits" 0 0
	let_go holder
	ended holder
	says first got
	says second got
	ended first
	ended second
}

# A signal ends a wait; afterwards nobody has the lock.
interrupted() {
	local kind start
	for kind in fcntl ofd flock; do
		begin holder hold $kind w "$mnt/intr" 0 0
		says holder held
		start=$(now)
		begin waiter wait $kind w "$mnt2/intr" 0 0 200
		says waiter EINTR 5
		since "$start" | awk '{ exit !($1 < 3) }' || fail "it took $(since "$start") s"
		ended waiter
		let_go holder
		ended holder
		wait_for 2 got_it $kind || fail "$kind: somebody has it still"
	done
}

got_it() {
	[ "$("$locker" try "$1" w "$mnt/intr" 0 0)" = got ]
}

# Two files of different shards, by different mounts.
deadlock() {
	local dir home first=
	for dir in 1 2 3 4 5 6 7 8 9; do
		mkdir -p "$mnt/dead/$dir"
		: >"$mnt/dead/$dir/f"
		home=$(($(stat -c %i "$mnt/dead/$dir/f") >> 48))
		[ -n "$first" ] || first=$home
		[ "$home" = "$first" ] || break
	done
	[ "$home" != "$first" ] || fail "all directories are in one shard" || return
	begin a cross "$mnt/dead/1/f" "$mnt/dead/$dir/f"
	begin b cross "$mnt2/dead/$dir/f" "$mnt2/dead/1/f"
	says a held
	says b held
	let_go a
	sleep 0.4
	let_go b
	says b EDEADLK 5
	ended b
	says a got
	ended a
}

# The server dies and comes back: what is held is held, who waits waits, a second time too.
restarted() {
	local round
	for round in 1 $(count "" 2); do
		begin holder hold ofd w "$mnt/kill" 0 10
		begin flocker hold flock w "$mnt2/kill" 0 0
		says holder held
		says flocker held
		begin waiter wait fcntl w "$mnt2/kill" 5 1 0
		silent waiter
		fs_kill_server
		start_server
		silent waiter
		tries EAGAIN fcntl w "$mnt2/kill" 9 1
		tries EAGAIN flock r "$mnt/kill" 0 0
		tries got fcntl w "$mnt2/kill" 10 1
		let_go holder
		ended holder
		says waiter got
		let_go flocker
		ended flocker
		ended waiter
		rm -f "$mnt/kill"
		counts="restarts $round"
	done
}

# While the server is away a program that is killed ends, and its lock is gone when it is back.
killed_meanwhile() {
	begin holder hold fcntl w "$mnt/away" 0 10
	says holder held
	fs_kill_server
	kill -KILL "${pid_of[holder]}"
	end_process "${pid_of[holder]}" 10
	start_server
	wait_for 10 away_is_free || fail "a lock of a process that is gone"
}

away_is_free() {
	[ "$("$locker" try fcntl w "$mnt2/away" 0 0)" = got ]
}

# More wait than there are credits, and the one that has it can still let go.
crowd() {
	local i n
	n=$(count 80 200)
	begin holder hold flock w "$mnt/crowd" 0 0
	says holder held
	pids=()
	for ((i = 0; i < n; i++)); do
		"$locker" wait flock r "$mnt/crowd" 0 0 0 >"$CFS_SCRATCH/crowd.$i" 2>&1 &
		pids+=($!)
	done
	sleep 0.5
	must stat "$mnt/crowd"
	let_go holder
	ended holder
	for i in "${pids[@]}"; do
		end_process "$i" 20 || fail "one of the crowd ended with $?"
	done
	pids=()
	n=$(cat "$CFS_SCRATCH"/crowd.* | grep -cv got)
	[ "$n" = 0 ] || fail "$n of the crowd got none"
	rm -f "$CFS_SCRATCH"/crowd.*
}

# A mount whose process is killed loses its locks when its session ends, and waiters get them.
client_killed() {
	begin holder hold fcntl w "$mnt2/died" 0 10
	says holder held
	begin waiter wait fcntl w "$mnt/died" 0 1 0
	silent waiter
	kill -KILL "$second_pid"
	end_process "$second_pid" 10
	second_pid=
	umount -l "$mnt2" 2>/dev/null
	let_go holder
	end_process "${pid_of[holder]}" 10
	says waiter got 90
	ended waiter
	fs_second_up
}

# A case that fails leaves nobody behind.
run() {
	"$@"
	end_all
}

life() {
	local kind
	fs_second_up
	[ -z "$why" ] || return
	for kind in flock fcntl ofd; do
		case_run "count-$kind" run count_up $kind
	done
	case_run waits run waits
	case_run interrupted run interrupted
	case_run deadlock run deadlock
	case_run crowd run crowd
	case_run restarted run restarted
	case_run killed-meanwhile run killed_meanwhile
	[ "$CFS_COUNTS" = small ] || case_run client-killed run client_killed
	why=
}

fs_make tcp-2 1G
fs_up
if [ -n "$why" ]; then
	case_run "" fail "$why"
else
	life
	case_run clean fs_down
	why=
	case_run fsck fs_fsck
fi
finish
