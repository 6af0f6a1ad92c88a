/*
 * How late a mount sees what another changes of a file (doc/design/leases.md).
 *
 *	stale RULE TIME_MS ROUNDS OBSERVER CHANGER	folders of two mounts of one volume
 *
 *	strict		every look after a change shows it
 *	close-to-open	stat(2), and reads of a descriptor that is kept, may show what was for
 *TIME_MS; what is opened after the change shows it lazy		what is opened may do so too
 *	xattr		as lazy, of one file that CHANGER's mount has marked; of another one, strict
 *	ioctl		as lazy, of one file of which OBSERVER has marked an open one; of another
 *one, and of what OBSERVER changes itself, on both mounts, strict. Strict again once that is closed
 *
 * What may be late must be at least once, or nobody would see a difference, and never later than
 * TIME_MS: each look is timed from before it begins, so a machine that is slow makes no difference.
 * A file in state n has 4096 + n bytes, all of them n. Strict is also asked of two that stay as
 *long as they are, and whose mtime is set back after each change: only reads show what they are,
 *and of one of them only those of the descriptor that is kept. Prints "looks N late L last M ms".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "claudefs/lazy.h"

#define BASE_BYTES 4096u
#define PATH_BYTES 512u
#define QUIET_ROUNDS 3u
#define QUIET_BYTES (512 * 1024)
#define STATES 250u
#define TICKS_MS 20u /* the kernel counts time-outs in ticks, and rounds up */
#define FRESH_ROUNDS 5u
#define FRESH_TRIES_MAX 100u

/* Ways to look, each a bit. */
enum { BY_STAT = 1, BY_READ = 2, BY_OPEN = 4, WAYS = 3, ALL = 7 };
static const char *const way_names[WAYS] = { "stat", "read", "open" };

static const char *rule;
static uint32_t time_ms;
static uint32_t looks, late[WAYS];
static double last_ms;

static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# %s: ", rule);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* A file as two mounts have it. */
struct file {
	char by_observer[PATH_BYTES], by_changer[PATH_BYTES];
	int fd; /* of the observer; kept */
	uint32_t state;
	unsigned ways; /* to look at it */
	bool is_quiet; /* changes but for its contents are not to be seen */
};

static void set_state(struct file *f, const char *path)
{
	static uint8_t buf[QUIET_BYTES];
	const ssize_t bytes = f->is_quiet ? QUIET_BYTES : BASE_BYTES + f->state;
	const int fd = open(path, O_WRONLY | O_CREAT, 0644);

	memset(buf, (int)f->state, sizeof(buf));
	if (fd < 0 || pwrite(fd, buf, (size_t)bytes, 0) != bytes)
		die("%s: %s", path, strerror(errno));
	if (f->is_quiet &&
	    futimens(fd, (struct timespec[2]){ { .tv_sec = 1 }, { .tv_sec = 1 } }) < 0)
		die("futimens: %s", strerror(errno));
	if (close(fd) < 0)
		die("close: %s", strerror(errno));
}

static void next_state(struct file *f, const char *path)
{
	if (++f->state > STATES)
		die("too many rounds");
	set_state(f, path);
}

static int64_t state_of_read(int fd)
{
	uint8_t byte = 0;

	if (pread(fd, &byte, 1, 100) != 1)
		die("read: %s", strerror(errno));
	return byte;
}

static int64_t state_of_open(const struct file *f)
{
	const char *path = f->by_observer;
	struct stat st;
	int fd = open(path, O_RDONLY);
	int64_t state;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s", path, strerror(errno));
	state = state_of_read(fd);
	close(fd);
	if (f->is_quiet)
		return state;
	/* A size that is later than the contents, or the other way round, is late. */
	return st.st_size - BASE_BYTES < state ? st.st_size - BASE_BYTES : state;
}

/* The state that a look shows. */
static int64_t look(const struct file *f, unsigned way)
{
	struct stat st;

	looks++;
	if (way == BY_READ)
		return state_of_read(f->fd);
	if (way == BY_OPEN)
		return state_of_open(f);
	if (stat(f->by_observer, &st) < 0)
		die("%s: %s", f->by_observer, strerror(errno));
	return st.st_size - BASE_BYTES;
}

/* The observer has seen the present state, in all ways, and keeps it if it may. */
static void settle(const struct file *f)
{
	const double end = now_ms() + 2 * time_ms + 10000;

	for (bool is_settled = false; !is_settled;) {
		double begin = now_ms();

		is_settled = true;
		/* An open makes the kernel ask again under close-to-open: it comes first. */
		for (unsigned k = WAYS; k-- > 0;)
			is_settled &= !(f->ways & 1u << k) || look(f, 1u << k) == f->state;
		if (!is_settled)
			pause_shortly();
		if (begin > end)
			die("state %u is not seen within %u ms", f->state, 2 * time_ms + 10000);
	}
}

/* @way has shown the state before in a look that began @after_ms after the change. */
static void note_late(unsigned k, double after_ms, bool may_be_late)
{
	if (!may_be_late || after_ms > time_ms + TICKS_MS)
		die("%s shows the state before, %.1f ms after the change", way_names[k], after_ms);
	late[k]++;
	if (after_ms > last_ms)
		last_ms = after_ms;
}

/* Looks by @ways until all show the change that ended at @changed_ms: those in @late_ways in time,
 * the others at once, and then all do. */
static void observe(const struct file *f, double changed_ms, unsigned ways, unsigned late_ways)
{
	ways &= f->ways;
	while (ways) {
		for (unsigned k = 0; k < WAYS; k++) {
			const double begin = now_ms();
			const unsigned way = 1u << k;
			int64_t state;

			if (!(ways & way))
				continue;
			state = look(f, way);
			if (state == f->state - 1) {
				note_late(k, begin - changed_ms, late_ways & way);
				continue;
			}
			if (state != f->state)
				die("%s shows state %d, after %u", way_names[k], (int)state,
				    f->state);
			ways &= ~way;
			if (!(late_ways & way))
				late_ways = 0;
		}
		if (ways)
			pause_shortly();
	}
}

static void round_of(struct file *f, unsigned first, unsigned late_ways)
{
	double changed_ms;

	settle(f);
	next_state(f, f->by_changer);
	changed_ms = now_ms();
	observe(f, changed_ms, first, late_ways);
	observe(f, changed_ms, ALL & ~first, late_ways);
}

static void expect_late(unsigned ways)
{
	for (unsigned k = 0; k < WAYS; k++)
		if ((ways & 1u << k) && !late[k])
			die("%s was never late", way_names[k]);
}

static void make(struct file *f, char *const folders[2], const char *name, unsigned ways)
{
	*f = (struct file){ .state = 1, .ways = ways, .is_quiet = !(ways & BY_STAT) };
	snprintf(f->by_observer, sizeof(f->by_observer), "%s/%s", folders[0], name);
	snprintf(f->by_changer, sizeof(f->by_changer), "%s/%s", folders[1], name);
	set_state(f, f->by_changer);
	f->fd = open(f->by_observer, O_RDONLY);
	if (f->fd < 0)
		die("%s: %s", f->by_observer, strerror(errno));
}

/* The observer's own changes, on both mounts. */
static void own_changes(struct file *f)
{
	struct file back = *f;

	memcpy(back.by_observer, f->by_changer, sizeof(back.by_observer));
	back.fd = open(back.by_observer, O_RDONLY);
	for (unsigned round = 0; round < FRESH_ROUNDS; round++) {
		settle(f);
		settle(&back);
		next_state(f, f->by_observer);
		back.state = f->state;
		observe(f, now_ms(), ALL, 0);
		observe(&back, now_ms(), ALL, 0);
	}
	close(back.fd);
}

static void ioctl_lazy(int fd, uint32_t ms)
{
	if (ioctl(fd, CLAUDEFS_IOC_LAZY, &ms) < 0)
		die("ioctl: %s", strerror(errno));
}

/* Nobody waits for the end of a close(2). It is over when nothing has been late for a while. */
static void until_strict(struct file *f)
{
	uint32_t before, fresh = 0;

	for (unsigned round = 0; round < FRESH_TRIES_MAX && fresh < FRESH_ROUNDS; round++) {
		before = late[0] + late[1] + late[2];
		round_of(f, ALL, ALL);
		fresh = late[0] + late[1] + late[2] == before ? fresh + 1 : 0;
	}
	if (fresh < FRESH_ROUNDS)
		die("still late after the close(2)");
}

static void of_one_file(struct file *f, struct file *other, uint32_t rounds)
{
	char text[16];
	bool is_ioctl = strcmp(rule, "ioctl") == 0;
	int fd = is_ioctl ? open(f->by_observer, O_RDONLY) : -1;

	snprintf(text, sizeof(text), "%u", time_ms);
	if (is_ioctl)
		ioctl_lazy(fd, time_ms);
	else if (setxattr(f->by_changer, CLAUDEFS_XATTR_LAZY, text, strlen(text), 0) < 0)
		die("setxattr: %s", strerror(errno));
	for (uint32_t round = 0; round < rounds; round++) {
		round_of(f, ALL, ALL);
		round_of(other, ALL, 0);
	}
	expect_late(ALL);
	if (is_ioctl)
		own_changes(f);
	if (is_ioctl ? close(fd) < 0 : removexattr(f->by_changer, CLAUDEFS_XATTR_LAZY) < 0)
		die("the end: %s", strerror(errno));
	until_strict(f);
}

int main(int argc, char **argv)
{
	static struct file f, other, quiet, held;
	uint32_t rounds;
	unsigned late_ways;

	if (argc != 6) {
		fprintf(stderr, "usage: stale RULE TIME_MS ROUNDS OBSERVER CHANGER\n");
		return 2;
	}
	rule = argv[1];
	time_ms = (uint32_t)strtoul(argv[2], NULL, 10);
	rounds = (uint32_t)strtoul(argv[3], NULL, 10);
	late_ways = strcmp(rule, "lazy") == 0            ? ALL
		    : strcmp(rule, "close-to-open") == 0 ? BY_STAT | BY_READ
							 : 0;
	make(&f, argv + 4, "file", ALL);
	make(&other, argv + 4, "other", ALL);
	make(&quiet, argv + 4, "quiet", BY_READ | BY_OPEN);
	make(&held, argv + 4, "held", BY_READ);
	if (strcmp(rule, "xattr") == 0 || strcmp(rule, "ioctl") == 0) {
		of_one_file(&f, &other, rounds);
	} else {
		for (uint32_t round = 0; round < rounds; round++) {
			/* An open ends it for all of the mount: in turns early and late. */
			const unsigned first = late_ways == ALL || round % 2 ? ALL : ALL & ~BY_OPEN;

			round_of(&f, first, late_ways);
			/* What is recalled too often is not leased, and mtime decides. */
			if (late_ways == 0 && round < QUIET_ROUNDS) {
				round_of(&quiet, ALL, 0);
				round_of(&held, ALL, 0);
			}
		}
		expect_late(late_ways);
	}
	close(f.fd);
	close(other.fd);
	close(quiet.fd);
	close(held.fd);
	printf("looks %u late %u last %.0f ms\n", looks, late[0] + late[1] + late[2], last_ms);
	return 0;
}
