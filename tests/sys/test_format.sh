#!/bin/bash
# A store of every format that there ever was is kept in tests/sys/format: today's program reads it,
# or refuses it by name. (A newer format than ours: test_cli_bad_input, other_version.)
. "$(dirname "$0")/lib.sh"

# What was put into store-1: names, types, modes, owners, links, sizes, contents, times, attributes.
is_content_1() {
	[ "$(cat "$mnt/d/hard")" = hello ] || fail "d/hard reads otherwise"
	[ "$(stat -c '%h %Y' "$mnt/d/hard")" = "2 -14256000" ] || fail "d/hard: $(stat -c '%h %Y' "$mnt/d/hard")"
	[ "$mnt/d/hard" -ef "$mnt/d/e/moved" ] || fail "d/hard and d/e/moved are two files"
	[ "$(getfattr --only-values -n user.k "$mnt/d/e/moved" 2>/dev/null)" = v ] || fail "user.k is lost"
	[ "$( (seq 1 60000; printf tail) | sha256sum)" = "$(sha256sum <"$mnt/d/e/numbers")" ] ||
		fail "d/e/numbers reads otherwise"
	[ "$(stat -c '%a %u %g' "$mnt/d/e/numbers")" = "750 12 34" ] || fail "owner or mode of d/e/numbers"
	[ "$(readlink "$mnt/d/e/sym")" = ../small ] || fail "d/e/sym leads elsewhere"
	[ "$(stat -c '%s %b' "$mnt/d/sparse")" = "5000000 0" ] || fail "d/sparse: $(stat -c '%s %b' "$mnt/d/sparse")"
	[ -p "$mnt/d/fifo" ] || fail "d/fifo is no fifo"
	[ "$(find "$mnt" | wc -l)" = 9 ] || fail "$(find "$mnt" | wc -l) names instead of 9"
}

reads_1() {
	shape=inproc-1
	mkdir -p "$mnt"
	xz -dc "$sys/format/store-1.xz" >"$store" || fail "no image"
	fs_fsck
	fs_up && is_content_1
	must touch "$mnt/new"
	fs_down
	fs_fsck
}

case_run reads_1 reads_1
finish
