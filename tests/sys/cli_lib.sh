# What the tests of the command line share; sourced. Cases are functions; a case that fails says why through `fail` and goes on to the next.
# Expects: CFS_BIN, CFS_SCRATCH (empty folder of our own).

set -u
: "${CFS_BIN:?the program}"
own_scratch=
if [ -z "${CFS_SCRATCH:-}" ]; then
	CFS_SCRATCH=$(mktemp -d /tmp/cfs-cli-XXXXXX)
	own_scratch=$CFS_SCRATCH
fi
cd "$CFS_SCRATCH" || exit 1
out=$CFS_SCRATCH/out err=$CFS_SCRATCH/err
why= failed_any=0 servers=

# fail WHY: the running case has failed; the first reason counts.
fail() {
	[ -n "$why" ] || why=$*
}

# expect CODE COMMAND...: runs it, its output in $out and $err.
expect() {
	local want=$1 got
	shift
	timeout 60 "$@" >"$out" 2>"$err" </dev/null
	got=$?
	[ "$got" = "$want" ] || fail "exit code $got instead of $want: $* ($(head -c 200 "$err" | tr '\n' ' '))"
}

# says TEXT: it is in what the last command wrote.
says() {
	cat "$out" "$err" | grep -qF -- "$1" || fail "does not say '$1' but: $(head -c 300 "$err" "$out" | tr '\n' ' ')"
}

# refuses CODE TEXT COMMAND...: an error as it has to be: the code, one line on stderr that names the verb, TEXT in it.
refuses() {
	local code=$1 text=$2
	shift 2
	expect "$code" "$@"
	[ "$(wc -l <"$err")" = 1 ] || fail "not one line: $(head -c 400 "$err" | tr '\n' '|')"
	grep -qE '^(cfs|mount)[ .a-z]*: ' "$err" || fail "does not name the verb: $(cat "$err")"
	says "$text"
}

# start_server STORE [ARG...]: in the background, on a free port; sets $addr and $server.
start_server() {
	: >"$CFS_SCRATCH/server.out"
	# Mounts that were killed, or unmounted without a server, hold others up no longer than that.
	"$CFS_BIN" serve --listen 127.0.0.1:0 --session-life 5s "$@" >"$CFS_SCRATCH/server.out" 2>"$CFS_SCRATCH/server.err" </dev/null &
	server=$!
	servers="$servers $server"
	for _ in $(seq 100); do
		addr=$(sed -n 's/^serving .* at tcp://p' "$CFS_SCRATCH/server.out")
		[ -n "$addr" ] && return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	fail "server does not start: $(tail -n 2 "$CFS_SCRATCH/server.err" | tr '\n' ' ')"
	return 1
}

# stop_server: by SIGTERM; its exit code must be 0.
stop_server() {
	kill -TERM "$server" 2>/dev/null
	wait "$server"
	local code=$?
	[ "$code" = 0 ] || fail "server ended with $code: $(tail -n 1 "$CFS_SCRATCH/server.err")"
	servers=
}

# run NAME: one case, the function of that name; CFS_CASE chooses one.
run() {
	local start
	[ -z "${CFS_CASE:-}" ] || [ "$CFS_CASE" = "$1" ] || return 0
	start=$(date +%s.%N)
	why=
	"$1"
	if [ -z "$why" ]; then
		echo "ok $1 $(echo "$(date +%s.%N) - $start" | awk '{ printf "%.2f", $1 - $3 }')"
	else
		echo "not ok $1 $why"
		failed_any=1
	fi
}

# The end: nothing of ours is left running.
finish() {
	for pid in $servers; do
		kill -KILL "$pid" 2>/dev/null
	done
	if [ -n "$own_scratch" ]; then
		cd / && rm -rf --one-file-system "$own_scratch"
	fi
	exit "$failed_any"
}
