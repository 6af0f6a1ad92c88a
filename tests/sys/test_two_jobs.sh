#!/bin/bash
# Two mounts of one volume work side by side in one directory: each clones our own source there, builds
# it, and stats all of it. Then each looks at what the other made, and it is compared with the same
# outside.
. "$(dirname "$0")/lib.sh"

bare=$CFS_SCRATCH/source.git
outside=$CFS_SCRATCH/outside
export GIT_CONFIG_GLOBAL=$CFS_SCRATCH/gitconfig

get_source() {
	git config --global user.name Test
	git config --global user.email test@example.com
	git config --global safe.directory '*'
	git config --global init.defaultBranch main
	mkdir "$outside"
	# shellcheck disable=SC2046
	(cd "$root" && tar -cf - --exclude=./build --exclude=./.git $(count src/base .)) | tar -xf - -C "$outside"
	must git -C "$outside" init -q
	must git -C "$outside" add -A -f
	must git -C "$outside" commit -q -m source
	must git clone -q --bare "$outside" "$bare"
}

# With small counts a few files by a build file of our own, as configuring takes longer than they do.
build() {
	if [ "$CFS_COUNTS" = full ]; then
		meson setup out >"$1" 2>&1 && ninja -C out >>"$1" 2>&1
		return
	fi
	{
		printf 'rule cc\n  command = gcc -D_GNU_SOURCE -std=gnu17 -Isrc -MMD -MF $out.d -c $in -o $out\n  depfile = $out.d\n'
		printf 'rule ar\n  command = ar rc $out $in\n'
		for f in src/base/{hash,str,err}.c; do
			printf 'build out/%s.o: cc %s\n' "${f##*/}" "$f"
		done
		printf 'build out/all.a: ar'
		for f in src/base/{hash,str,err}.c; do
			printf ' out/%s.o' "${f##*/}"
		done
		printf '\n'
	} >build.ninja
	ninja >"$1" 2>&1
}

# job FOLDER NAME: what each mount does, in a process.
job() {
	local log=$CFS_SCRATCH/job.$2
	cd "$1" || return
	git clone -q --no-local --template= "$bare" "$2" >"$log" 2>&1 || return
	cd "$2" || return
	build "$log" || return
	find . -print0 | xargs -0 stat >"$log.stat" 2>"$log" || return
	git status --porcelain >"$log" 2>&1 || return
	[ "$(grep -cv 'build.ninja\|out/\|.ninja_' "$log")" = 0 ]
}

# What is there by a mount: contents and attributes of everything.
look() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum &&
		find . -printf '%p %y %i %m %n %s %T@ %C@ %l\n' | sort) >"$2" 2>&1 || fail "look at $1: $(tail -n 1 "$2")"
}

two_jobs() {
	local first second name
	mkdir "$mnt/work"
	(job "$mnt/work" one) &
	first=$!
	(job "$mnt2/work" two) &
	second=$!
	wait $first || fail "one: $(tail -n 2 "$CFS_SCRATCH/job.one")"
	wait $second || fail "two: $(tail -n 2 "$CFS_SCRATCH/job.two")"
	[ -z "$why" ] || return
	look "$mnt/work" "$CFS_SCRATCH/look.1"
	look "$mnt2/work" "$CFS_SCRATCH/look.2"
	cmp -s "$CFS_SCRATCH/look.1" "$CFS_SCRATCH/look.2" ||
		fail "they differ: $(diff "$CFS_SCRATCH/look.1" "$CFS_SCRATCH/look.2" | head -n 3)"
	# Each the other's.
	must diff -r --no-dereference -x .git -x out -x 'build.ninja' -x '.ninja_*' "$outside" "$mnt/work/two"
	must diff -r --no-dereference -x .git -x out -x 'build.ninja' -x '.ninja_*' "$outside" "$mnt2/work/one"
	must git -C "$mnt/work/two" fsck --full
	must git -C "$mnt2/work/one" fsck --full
	for name in $(cd "$mnt/work/one" && find out -name '*.a'); do
		[ -s "$mnt2/work/two/$name" ] || fail "two has no $name"
	done
	counts="files $(find "$mnt/work" | wc -l)"
	must rm -rf "$mnt/work/two" "$mnt2/work/one"
	[ -z "$(ls -A "$mnt/work")" ] && [ -z "$(ls -A "$mnt2/work")" ] || fail "something is left"
}

in_shape() {
	fs_second_up
	[ -n "$why" ] || two_jobs
}

get_source
[ -z "$why" ] || { echo "not ok source $why"; exit 1; }
for s in tcp-2 $(count "" tcp-1); do
	case_run "$s" fs_with "$s" "$(count 2G 6G)" in_shape
done
finish
