#!/bin/bash
# A volume whose map an etcd of three members keeps: what lies in it, the loss of its leader, the loss of
# all, and moves between it and the file, all under programs that go on.
. "$(dirname "$0")/lib.sh"

members=(0 1 2)
member_pid=()
client_port=() peer_port=()
writer_pid=

# Six ports that were free a moment ago.
choose_ports() {
	local ports
	ports=$(python3 -B -c '
import socket
held = [socket.socket() for _ in range(6)]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
	# shellcheck disable=SC2206
	ports=($ports)
	client_port=("${ports[@]:0:3}")
	peer_port=("${ports[@]:3:3}")
}

member_start() {
	local i all=
	for i in "${members[@]}"; do
		all=$all${all:+,}m$i=http://127.0.0.1:${peer_port[$i]}
	done
	etcd --name "m$1" --data-dir "$CFS_SCRATCH/etcd/m$1" --initial-cluster "$all" \
		--listen-peer-urls "http://127.0.0.1:${peer_port[$1]}" \
		--initial-advertise-peer-urls "http://127.0.0.1:${peer_port[$1]}" \
		--listen-client-urls "http://127.0.0.1:${client_port[$1]}" \
		--advertise-client-urls "http://127.0.0.1:${client_port[$1]}" \
		--heartbeat-interval 50 --election-timeout 300 --logger zap --log-level error \
		>>"$CFS_SCRATCH/etcd/log$1" 2>&1 </dev/null &
	member_pid[$1]=$!
}

member_kill() {
	[ -n "${member_pid[$1]:-}" ] || return 0
	kill -KILL "${member_pid[$1]}" 2>/dev/null
	wait "${member_pid[$1]}" 2>/dev/null
	member_pid[$1]=
}

ctl() {
	ETCDCTL_API=3 etcdctl --command-timeout=3s --endpoints "$urls" "$@" 2>/dev/null
}

# The member that leads, in $leader.
find_leader() {
	local i
	for i in "${members[@]}"; do
		if ctl endpoint status | grep -q "^http://127.0.0.1:${client_port[$i]}, .* true, "; then
			leader=$i
			return 0
		fi
	done
	return 1
}

etcd_up() {
	local i
	command -v etcd etcdctl >/dev/null || fail "no etcd and etcdctl here; on Debian: etcd-server etcd-client" || return
	mkdir -p "$CFS_SCRATCH/etcd"
	choose_ports
	for i in "${members[@]}"; do
		member_start "$i"
	done
	urls=http://127.0.0.1:${client_port[0]},http://127.0.0.1:${client_port[1]},http://127.0.0.1:${client_port[2]}
	wait_for 30 find_leader || fail "etcd has no leader: $(tail -n 2 "$CFS_SCRATCH/etcd/log0")"
}

etcd_down() {
	local i
	for i in "${members[@]}"; do
		member_kill "$i"
	done
}

# A program that writes and reads, counting in a file outside of the mount what it was told.
writer_start() {
	(
		n=0
		while echo "$n" >"$mnt/beat" && [ "$(cat "$mnt/beat")" = "$n" ]; do
			echo "$n" >"$CFS_SCRATCH/beats"
			n=$((n + 1))
		done
		echo stopped >"$CFS_SCRATCH/beats"
	) &
	writer_pid=$!
}

writer_stop() {
	kill -TERM "$writer_pid" 2>/dev/null
	wait "$writer_pid" 2>/dev/null
	writer_pid=
}

# Programs go on: two more beats within some seconds.
goes_on() {
	local before
	before=$(cat "$CFS_SCRATCH/beats" 2>/dev/null)
	wait_for 10 beats_past "${before:-0}" || fail "$1: programs do not go on"
}

beats_past() {
	local now
	now=$(cat "$CFS_SCRATCH/beats")
	[ "$now" != stopped ] && [ "$now" -gt $(($1 + 1)) ]
}

epoch() {
	ctl get --print-value-only "$prefix/epoch"
}

status_says() {
	"$CFS_BIN" status "$addr" >"$CFS_SCRATCH/status.out" 2>&1 && grep -qE "$1" "$CFS_SCRATCH/status.out"
}

# What people read in etcd itself.
map_is_readable() {
	local shards
	ctl get --prefix /claudefs/ >"$CFS_SCRATCH/keys"
	grep -q "^claudefs-map 2 shards 64 first 0 count 64 crc32c [0-9a-f]\{8\}$" "$CFS_SCRATCH/keys" ||
		fail "no map in etcd: $(head -c 300 "$CFS_SCRATCH/keys")"
	shards=$(grep -c "^[0-9]* $(epoch) 0 0$" "$CFS_SCRATCH/keys")
	[ "$shards" = 64 ] || fail "$shards rows of this epoch instead of 64"
	grep -q "^addr tcp:.*$addr" "$CFS_SCRATCH/keys" || fail "the member's address is not there"
}

# The server starts again; its start changes the map. In $before and by how much.
restart_changes_map() {
	local before
	before=$(epoch)
	fs_kill_server
	start_server
	[ "$(epoch)" -gt "$before" ] || fail "$1: the epoch is $(epoch) after $before"
	goes_on "$1"
}

# A volume of etcd, served and mounted, with a program at work. Each case begins here.
all_up() {
	[ -z "$server_pid" ] || return
	etcd_up || return
	fs_make tcp-1 512M --shards 64 --control "etcd:$urls"
	[ -z "$why" ] || return
	prefix=$(ctl get --prefix --keys-only /claudefs/ | sed -n 's,/epoch$,,p')
	[ "$(epoch)" = 1 ] || fail "mkfs made no map: $(ctl get --prefix /claudefs/ | head -c 200)"
	# The file says where it is; it needs no option.
	fs_up
	[ -z "$why" ] || return
	writer_start
	goes_on "at first"
}

of_etcd() {
	local lost
	all_up
	[ -z "$why" ] || return
	map_is_readable
	find_leader
	lost=$leader
	member_kill "$lost"
	restart_changes_map "without the leader"
	member_start "$lost"
	etcd_down
	wait_for 20 status_says 'control.answers +no' || fail "status does not say that etcd is gone"
	status_says 'control.silent_since +20[0-9-]+T[0-9:]+Z' && status_says 'control.why +http' ||
		fail "status does not say since when: $(cat "$CFS_SCRATCH/status.out")"
	goes_on "without etcd"
	must touch "$mnt/without-etcd"
	grep -q 'control plane does not answer' "$CFS_SCRATCH/server.err" || fail "nothing in the log"
	for lost in "${members[@]}"; do
		member_start "$lost"
	done
	wait_for 30 status_says 'control.answers +yes' || fail "status does not say that etcd is there again"
	grep -q 'control plane answers again' "$CFS_SCRATCH/server.err" || fail "nothing in the log"
}

# The epoch that the file of local has.
epoch_in_file() {
	sqlite3 "$store.state/control.sqlite" "SELECT value FROM kv WHERE key = '$prefix/epoch'"
}

moved_forth_and_back() {
	all_up
	[ -z "$why" ] || return
	must "$CFS_BIN" control move "$store" local
	goes_on "moved to the file"
	[ -n "$(epoch_in_file)" ] || fail "no map in the file"
	[ "$(ctl get --print-value-only "$prefix/moved")" = local ] || fail "etcd does not say where it went"
	wait_for 10 status_says 'control.engine +local' || fail "the server does not follow to the file"
	must "$CFS_BIN" control backup "$store" "$CFS_SCRATCH/map.json"
	python3 -B -c '
import json, sys
m = json.load(open(sys.argv[1]))
keys = {k["key"].split("/", 3)[3]: k for k in m["keys"]}
assert m["engine"] == "local", m["engine"]
assert keys["epoch"]["text"] == sys.argv[2], keys["epoch"]
assert keys["map/00000"]["text"].startswith("claudefs-map 2 shards 64 "), keys["map/00000"]
' "$CFS_SCRATCH/map.json" "$(epoch_in_file)" >"$CFS_SCRATCH/must.out" 2>&1 || fail "backup: $(tail -n 1 "$CFS_SCRATCH/must.out")"
	[ "$(stat -c %a "$CFS_SCRATCH/map.json")" = 600 ] || fail "others may read the backup"
	must "$CFS_BIN" control move "$store" "etcd:$urls"
	wait_for 10 status_says 'control.engine +etcd:' || fail "the server does not follow to etcd"
	goes_on "moved to etcd"
	restart_changes_map "moved to etcd"
	must "$CFS_BIN" control show "$store"
	grep -q "engine etcd:.* keys" "$CFS_SCRATCH/must.out" && grep -q "claudefs-map 2" "$CFS_SCRATCH/must.out" ||
		fail "show: $(head -n 3 "$CFS_SCRATCH/must.out")"
	must "$CFS_BIN" control show "etcd:$urls" --json
	python3 -B -c 'import json, sys; json.load(open(sys.argv[1]))' "$CFS_SCRATCH/must.out" || fail "show --json is none"
}

ends_and_refuses() {
	local out=$CFS_SCRATCH/refused
	all_up
	[ -z "$why" ] || return
	writer_stop
	fs_down
	[ "$(ctl get --print-value-only "$prefix/stopped")" = "$(epoch)" ] || fail "the stop is not noted"
	fs_fsck
	"$CFS_BIN" control move "$store" nonsense >"$out" 2>&1 && fail "moved to nonsense"
	grep -q "^cfs control: .*etcd:http" "$out" || fail "says: $(cat "$out")"
	"$CFS_BIN" control move "$store" etcd:http://127.0.0.1:1 >"$out" 2>&1 && fail "moved to nobody"
	grep -q "127.0.0.1:1" "$out" || fail "says: $(cat "$out")"
	"$CFS_BIN" control turn "$store" >"$out" 2>&1
	[ $? = 2 ] || fail "control turn"
	"$CFS_BIN" mkfs "$CFS_SCRATCH/other" --size 64M --control nonsense >"$out" 2>&1
	[ $? = 2 ] && [ ! -e "$CFS_SCRATCH/other" ] || fail "mkfs with nonsense: $(cat "$out")"
	# The first start may be told as well; afterwards the map is moved, not made elsewhere.
	must "$CFS_BIN" mkfs "$CFS_SCRATCH/other" --size 64M --shards 16
	store=$CFS_SCRATCH/other fs_options="--control etcd:$urls" start_server
	kill -TERM "$server_pid"
	end_process "$server_pid" 20 || fail "the other server ended with $?"
	server_pid= addr=
	[ "$(ctl get --prefix --keys-only /claudefs/ | grep -c '/epoch$')" = 2 ] || fail "--control of serve made no map"
	must "$CFS_BIN" control move "$CFS_SCRATCH/other" local
	timeout 60 "$CFS_BIN" serve "$CFS_SCRATCH/other" --listen 127.0.0.1:0 --control "etcd:$urls" >"$out" 2>&1 &&
		fail "made another map"
	grep -q "cfs control move STORE etcd:" "$out" || fail "says: $(cat "$out")"
	etcd_down
	timeout 60 "$CFS_BIN" serve "$store" --listen 127.0.0.1:0 >"$out" 2>&1 && fail "serves without its map"
	grep -q "^cfs serve: control plane: etcd:.*127.0.0.1" "$out" || fail "says: $(cat "$out")"
}

trap 'etcd_down; [ -z "$writer_pid" ] || writer_stop; clean_up' EXIT
urls= prefix= leader=
case_run etcd of_etcd
case_run move moved_forth_and_back
case_run refusals ends_and_refuses
finish
