/*
 * One operation, many times, in a folder: what bench/run times.
 *
 *	bench-ops DIR OP COUNT	prints "count N seconds S cpu C p50_ns P p99_ns Q"
 *
 * OP: pipe (a round trip to another process, as a yardstick), getattr (AT_STATX_FORCE_SYNC), miss
 * (lookup of a name that is not there), create (and close), write (COUNT pieces of 1 MiB, then
 *fsync, which is timed too), read (the same file, after its pages were dropped). CPU time is this
 * program's; CPU pinning is inherited.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)
#define COUNT_MAX 10000000u

static uint8_t *buf;
static uint32_t *times_ns;
static int dir_fd, file_fd = -1, to_peer[2], from_peer[2];

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
	uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), begin = now_ns(CLOCK_MONOTONIC),
		 last = begin, now;

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
	qsort(times_ns, count, sizeof(*times_ns), by_time);
	printf("count %u seconds %.9f cpu %.9f p50_ns %u p99_ns %u\n", count,
	       (double)(last - begin) / 1e9, (double)cpu / 1e9, times_ns[count / 2],
	       times_ns[(uint64_t)count * 99 / 100]);
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
	};
	uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;

	if (count == 0 || count > COUNT_MAX) {
		fprintf(stderr, "usage: bench-ops DIR pipe|getattr|miss|create|write|read COUNT\n");
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
