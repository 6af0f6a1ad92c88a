/*
 * One operation, many times, in a folder: what bench/run times.
 *
 *	bench-ops DIR OP COUNT	prints "count N seconds S cpu C p50_ns P p99_ns Q requests R"
 *
 * OP: pipe (a round trip to another process, as a yardstick), getattr (AT_STATX_FORCE_SYNC), miss
 * (lookup of a name that is not there), create (and close), write (COUNT pieces of 1 MiB, then
 * fsync, which is timed too), read (the same file, after its pages were dropped); and what a kernel
 * can answer from its caches: stat (of names that were just walked), cached (4 KiB of pages that
 * are there, in turns by the descriptor that brought them and by one that was opened later). R is
 * what reached a ClaudeFS mount's process while they ran.
 *
 * CPU time is this program's; CPU pinning is inherited. DIR is a mount's root, or of no mount of
 * ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)
#define COUNT_MAX 10000000u
#define PAGE_BYTES 4096u
#define WARM_NAMES 512u
#define WARM_PASSES_MAX 10u
#define STATS_BYTES (64u * 1024)

static uint8_t *buf;
static uint32_t *times_ns;
static int dir_fd, file_fd = -1, second_fd = -1, to_peer[2], from_peer[2];
static char warm_dir[32], warm_names[WARM_NAMES][48];

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-ops: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void op_getattr(uint32_t i)
{
	struct statx x;

	(void)i;
	if (statx(file_fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &x) < 0)
		die("statx");
}

static void op_miss(uint32_t i)
{
	char name[32];

	snprintf(name, sizeof(name), "missing-%u", i);
	if (faccessat(dir_fd, name, F_OK, 0) == 0 || errno != ENOENT)
		die(name);
}

static void op_create(uint32_t i)
{
	char name[48];
	int fd;

	snprintf(name, sizeof(name), "new-%d-%u", (int)getpid(), i);
	fd = openat(dir_fd, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (fd < 0 || close(fd) < 0)
		die(name);
}

static void op_write(uint32_t i)
{
	if (pwrite(file_fd, buf, MIB, (off_t)i * MIB) != MIB)
		die("write");
}

static void op_read(uint32_t i)
{
	if (pread(file_fd, buf, MIB, (off_t)i * MIB) != MIB)
		die("read");
}

static void op_pipe(uint32_t i)
{
	char c = (char)i;

	if (write(to_peer[1], &c, 1) != 1 || read(from_peer[0], &c, 1) != 1)
		die("pipe");
}

static void op_stat(uint32_t i)
{
	struct stat st;

	if (fstatat(dir_fd, warm_names[i % WARM_NAMES], &st, 0) < 0)
		die("stat");
}

static void op_cached(uint32_t i)
{
	const off_t at = (off_t)(i / 2 % (MIB / PAGE_BYTES)) * PAGE_BYTES;

	if (pread(i % 2 ? second_fd : file_fd, buf, PAGE_BYTES, at) != PAGE_BYTES)
		die("cached");
}

/* Requests that the mount's process has answered, this one not included; 0: @dir_fd has none. */
static uint64_t requests(void)
{
	static char text[STATS_BYTES];
	ssize_t got = fgetxattr(dir_fd, "claudefs.stats", text, sizeof(text) - 1);
	uint64_t sum = 0;

	if (got < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		die("claudefs.stats");
	text[got < 0 ? 0 : got] = '\0';
	for (const char *at = text; (at = strstr(at, "\"count\":")); at++)
		sum += strtoull(at + strlen("\"count\":"), NULL, 10);
	return sum;
}

/* What a pass of @count costs in requests, but for those that count them. */
static uint64_t requests_of(void (*op)(uint32_t i), uint32_t count)
{
	const uint64_t before = requests(), own = requests() - before;

	for (uint32_t i = 0; i < count; i++)
		op(i);
	return requests() - before - 2 * own;
}

/* Until a pass costs no request, if it ever does: the end of a close(2) may come late, and what is
 * open for writing is not kept. */
static void warm_up(void (*op)(uint32_t i), uint32_t count)
{
	uint64_t sent = 1;

	for (uint32_t k = 0; k < WARM_PASSES_MAX && sent; k++)
		sent = requests_of(op, count);
}

/* New ones: how long the kernel keeps a name counts from when it learned it. */
static void make_names(void)
{
	snprintf(warm_dir, sizeof(warm_dir), "warm-%d", (int)getpid());
	if (mkdirat(dir_fd, warm_dir, 0755) < 0)
		die(warm_dir);
	for (uint32_t i = 0; i < WARM_NAMES; i++) {
		int fd;

		snprintf(warm_names[i], sizeof(warm_names[i]), "%s/name-%u", warm_dir, i);
		fd = openat(dir_fd, warm_names[i], O_CREAT | O_WRONLY, 0644);
		if (fd < 0 || close(fd) < 0)
			die(warm_names[i]);
	}
}

static void make_pages(void)
{
	int fd = openat(dir_fd, "cached", O_CREAT | O_WRONLY, 0644);

	if (fd < 0 || pwrite(fd, buf, MIB, 0) != MIB || close(fd) < 0)
		die("cached");
	file_fd = openat(dir_fd, "cached", O_RDONLY);
	if (file_fd < 0 || read(file_fd, buf, MIB) != MIB)
		die("cached");
	second_fd = openat(dir_fd, "cached", O_RDONLY);
	if (second_fd < 0)
		die("cached");
}

static void echo(void)
{
	char c;

	close(to_peer[1]);
	while (read(to_peer[0], &c, 1) == 1)
		if (write(from_peer[1], &c, 1) != 1)
			_exit(1);
	_exit(0);
}

static void prepare(const char *op)
{
	if (strcmp(op, "pipe") == 0) {
		if (pipe(to_peer) < 0 || pipe(from_peer) < 0)
			die("pipe");
		if (fork() == 0)
			echo();
		close(to_peer[0]);
	} else if (strcmp(op, "getattr") == 0) {
		file_fd = openat(dir_fd, "file", O_CREAT | O_RDWR, 0644);
	} else if (strcmp(op, "write") == 0) {
		file_fd = openat(dir_fd, "stream", O_CREAT | O_RDWR | O_TRUNC, 0644);
	} else if (strcmp(op, "read") == 0) {
		file_fd = openat(dir_fd, "stream", O_RDONLY);
		if (file_fd >= 0)
			posix_fadvise(file_fd, 0, 0, POSIX_FADV_DONTNEED);
	} else if (strcmp(op, "stat") == 0) {
		make_names();
		warm_up(op_stat, WARM_NAMES);
		return;
	} else if (strcmp(op, "cached") == 0) {
		make_pages();
		warm_up(op_cached, 2 * MIB / PAGE_BYTES);
	} else {
		return;
	}
	if (file_fd < 0 && strcmp(op, "pipe") != 0)
		die(op);
}

/* What was made goes again, and is not timed. */
static void clean_up(const char *op, uint32_t count)
{
	for (uint32_t i = 0; i < count && strcmp(op, "create") == 0; i++) {
		char name[48];

		snprintf(name, sizeof(name), "new-%d-%u", (int)getpid(), i);
		unlinkat(dir_fd, name, 0);
	}
	for (uint32_t i = 0; i < WARM_NAMES && warm_dir[0]; i++)
		unlinkat(dir_fd, warm_names[i], 0);
	if (warm_dir[0])
		unlinkat(dir_fd, warm_dir, AT_REMOVEDIR);
	if (strcmp(op, "pipe") == 0) {
		close(to_peer[1]);
		wait(NULL);
	}
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*op)(uint32_t i), uint32_t count)
{
	const uint64_t sent_before = requests(), own = requests() - sent_before;
	uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), begin = now_ns(CLOCK_MONOTONIC),
		 last = begin, now, sent;

	for (uint32_t i = 0; i < count; i++) {
		op(i);
		now = now_ns(CLOCK_MONOTONIC);
		times_ns[i] = now - last > UINT32_MAX ? UINT32_MAX : (uint32_t)(now - last);
		last = now;
	}
	if (op == op_write && fsync(file_fd) < 0)
		die("fsync");
	last = now_ns(CLOCK_MONOTONIC);
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	sent = requests() - sent_before - 2 * own;
	qsort(times_ns, count, sizeof(*times_ns), by_time);
	printf("count %u seconds %.9f cpu %.9f p50_ns %u p99_ns %u requests %llu\n", count,
	       (double)(last - begin) / 1e9, (double)cpu / 1e9, times_ns[count / 2],
	       times_ns[(uint64_t)count * 99 / 100], (unsigned long long)sent);
	fflush(stdout);
	clean_up(name, count);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*op)(uint32_t i);
	} all[] = {
		{ "pipe", op_pipe },     { "getattr", op_getattr }, { "miss", op_miss },
		{ "create", op_create }, { "write", op_write },     { "read", op_read },
		{ "stat", op_stat },     { "cached", op_cached },
	};
	uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;

	if (count == 0 || count > COUNT_MAX) {
		fprintf(stderr, "usage: bench-ops DIR "
				"pipe|getattr|miss|create|write|read|stat|cached COUNT\n");
		return 2;
	}
	times_ns = calloc(count, sizeof(*times_ns));
	buf = aligned_alloc(4096, MIB);
	dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (!times_ns || !buf || dir_fd < 0)
		die(argv[1]);
	/* Bytes that do not compress. */
	for (uint64_t i = 0, z = 1; i < MIB; i++, z = z * 6364136223846793005ull + 1)
		buf[i] = (uint8_t)(z >> 56);
	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		if (strcmp(all[k].name, argv[2]) != 0)
			continue;
		prepare(argv[2]);
		measure(argv[2], all[k].op, count);
		return 0;
	}
	fprintf(stderr, "bench-ops: %s: no such operation\n", argv[2]);
	return 2;
}
