#!/bin/bash
# Kills the server with SIGKILL while writers are at work, and looks for what was promised.
#
# Round by round: writers work (tests/sys/load.c: what they were told stands outside of the mount),
# at a random moment the server is killed, it starts again, the mount goes on (in two processes), the
# writers are stopped, all that was acknowledged must be there, cfs fsck must find nothing.
#
#   server-2p-1, server-2p-2  only the server of a mount over tcp, with one core and with two
#   all-1p-1, all-1p-2        server and mount in one process
#   all-2p-2                  both processes at once
. "$(dirname "$0")/lib.sh"

writers=$(count 4 8)
size=3G
records=$CFS_SCRATCH/records
load=$CFS_BUILD/tests/sys/load
RANDOM=$((CFS_SEED % 32768))
load_pid= flight_min= ops=0

# pause LEAST MOST: some ms.
pause() {
	local ms=$(($1 + RANDOM % ($2 - $1)))
	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

load_start() {
	# The records would grow for ever, and with them the time to go through them.
	if [ $(($1 % 5)) = 0 ]; then
		must rm -rf "$mnt"/w* "$records"
		mkdir -p "$records"
	fi
	: >"$CFS_SCRATCH/load.out"
	"$load" run "$mnt" "$records" "$writers" "$1" >"$CFS_SCRATCH/load.out" 2>&1 </dev/null &
	load_pid=$!
	wait_for 20 grep -q started "$CFS_SCRATCH/load.out" || fail "the writers do not start"
	wait_for 60 goes_on "$writers" || fail "the writers do nothing"
}

# The last "in-flight N done N" that the writers told, after one more of them.
load_ask() {
	local before
	before=$(grep -c '^in-flight' "$CFS_SCRATCH/load.out")
	kill -USR1 "$load_pid" 2>/dev/null
	wait_for 10 load_said "$before"
	grep '^in-flight' "$CFS_SCRATCH/load.out" | tail -n 1
}

load_said() {
	[ "$(grep -c '^in-flight' "$CFS_SCRATCH/load.out")" -gt "$1" ]
}

load_stop() {
	kill -TERM "$load_pid" 2>/dev/null
	end_process "$load_pid" 60 || fail "the writers: $(grep -v '^started\|^in-flight' "$CFS_SCRATCH/load.out")"
	load_pid=
}

check() {
	timeout 300 "$load" check "$mnt" "$records" "$writers" >"$CFS_SCRATCH/check.out" 2>&1 ||
		fail "lost: $(cat "$CFS_SCRATCH/check.out")"
}

# note ROUND LINE: how many operations were in flight at the kill.
note() {
	local n=${2#in-flight }
	n=${n%% *}
	ops=$((ops + ${2##* }))
	echo "# $shape round $1: $n in flight, ${2##* } done"
	[ -n "$flight_min" ] && [ "$flight_min" -le "$n" ] || flight_min=$n
}

# Only the server: its clients wait, and go on.
round_server() {
	local line after
	load_start "$((CFS_SEED * 1000 + $1))"
	pause 100 1200
	line=$(load_ask)
	fs_kill_server
	note "$1" "$line"
	pause 1 500
	start_server
	[ -z "$why" ] || return
	line=$(load_ask)
	pause 400 1000
	after=$(load_ask)
	[ "${after##* }" -gt "${line##* }" ] || wait_for 30 goes_on "${line##* }" || fail "the mount does not go on"
	load_stop
	[ -z "$why" ] && check
	fs_down
	fs_fsck
	[ -n "$why" ] || fs_up
}

goes_on() {
	local line
	line=$(load_ask)
	[ "${line##* }" -gt "$1" ]
}

# Server and mount: fsck of what was left, then recovery.
round_all() {
	local line
	load_start "$((CFS_SEED * 1000 + $1))"
	pause 100 1200
	line=$(load_ask)
	kill -KILL "$server_pid" "$mount_pid" 2>/dev/null
	wait "$server_pid" "$mount_pid" 2>/dev/null
	server_pid=
	note "$1" "$line"
	load_stop
	fs_forget_mount
	fs_fsck
	addr=
	[ -n "$why" ] || fs_up
	[ -n "$why" ] || check
}

# kills SHAPE ROUND-FUNCTION ROUNDS
kills() {
	local round
	flight_min= ops=0 fs_options=
	# What a killed mount held is in the next one's way for as long as its session lives.
	case $2-$1 in round_all-tcp-*) fs_options="--session-life 5s" ;; esac
	rm -rf "$records"
	mkdir -p "$records"
	fs_make "$1" "$size"
	fs_up
	for round in $(seq "$3"); do
		[ -z "$why" ] || break
		"$2" "$round"
		[ -z "$why" ] || why="round $round: $why"
	done
	[ -z "$load_pid" ] || load_stop
	fs_down
	fs_fsck
	counts="rounds $3 writers $writers in-flight-min ${flight_min:-?} operations $ops seed $CFS_SEED"
	[ -n "$why" ] || [ "${flight_min:-0}" -ge 1 ] || fail "nothing was in flight in some round"
}

case_run server-2p-1 kills tcp-1 round_server "$(count 2 50)"
case_run server-2p-2 kills tcp-2 round_server "$(count 2 50)"
case_run all-1p-1 kills inproc-1 round_all "$(count 1 7)"
case_run all-1p-2 kills inproc-2 round_all "$(count 1 7)"
case_run all-2p-2 kills tcp-2 round_all "$(count 1 6)"
finish
