/*
 * One operation after the other in a directory, each timed: what the thin path costs.
 *
 *	bench-micro DIR [COUNT [CPU]]	prints a line an operation: name, mean, p50 and p99 of its
 *					time in ns, CPU time of the whole machine's users in ns
 *
 * Pin it and the server to one CPU to compare servers; waking another CPU drowns all else in a
 * virtual machine. The CPU column is this process only; the server's is in /proc/PID/stat.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNT_DEFAULT 20000u
#define SMALL_BYTES 4096u
#define LARGE_BYTES (1024u * 1024)
#define LARGE_COUNT 512u

static uint8_t *buf;
static uint64_t *times_ns;
static int dir_fd, file_fd;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-micro: %s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

static void op_getattr(uint32_t i)
{
	struct statx sx;

	(void)i;
	if (statx(file_fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &sx) < 0)
		die("statx");
}

static void op_lookup_miss(uint32_t i)
{
	char name[32];

	snprintf(name, sizeof(name), "miss%u", i);
	if (faccessat(dir_fd, name, F_OK, 0) == 0)
		die("a name that nobody made is there");
}

static void op_create_close(uint32_t i)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "f%u", i);
	fd = openat(dir_fd, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (fd < 0)
		die(name);
	close(fd);
}

static void op_unlink(uint32_t i)
{
	char name[32];

	snprintf(name, sizeof(name), "f%u", i);
	if (unlinkat(dir_fd, name, 0) < 0)
		die(name);
}

static void op_write_small(uint32_t i)
{
	if (pwrite(file_fd, buf, SMALL_BYTES, (off_t)(i % 256) * SMALL_BYTES) != SMALL_BYTES)
		die("write");
}

static void op_read_small(uint32_t i)
{
	if (pread(file_fd, buf, SMALL_BYTES, (off_t)(i % 256) * SMALL_BYTES) < 0)
		die("read");
}

static void op_write_large(uint32_t i)
{
	if (pwrite(file_fd, buf, LARGE_BYTES, (off_t)i * LARGE_BYTES) != LARGE_BYTES)
		die("write");
}

static void op_fsync(uint32_t i)
{
	(void)i;
	if (fsync(file_fd) < 0)
		die("fsync");
}

/* With cold caches: what was read before is dropped first. */
static void op_read_large(uint32_t i)
{
	if (i == 0)
		posix_fadvise(file_fd, 0, 0, POSIX_FADV_DONTNEED);
	if (pread(file_fd, buf, LARGE_BYTES, (off_t)i * LARGE_BYTES) < 0)
		die("read");
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*op)(uint32_t i), uint32_t count)
{
	uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), begin = now_ns(CLOCK_MONOTONIC),
		 last = begin;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t now;

		op(i);
		now = now_ns(CLOCK_MONOTONIC);
		times_ns[i] = now - last;
		last = now;
	}
	cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	qsort(times_ns, count, sizeof(*times_ns), by_time);
	printf("%-13s mean %8lu p50 %8lu p99 %8lu cpu %8lu\n", name,
	       (unsigned long)((last - begin) / count), (unsigned long)times_ns[count / 2],
	       (unsigned long)times_ns[(uint64_t)count * 99 / 100], (unsigned long)(cpu / count));
	fflush(stdout);
}

static void pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)atoi(cpu), &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("pin");
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : COUNT_DEFAULT;
	uint32_t large = count < LARGE_COUNT ? count : LARGE_COUNT;

	if (argc < 2 || argc > 4 || count == 0) {
		fprintf(stderr, "usage: bench-micro DIR [COUNT [CPU]]\n");
		return 2;
	}
	if (argc == 4)
		pin(argv[3]);
	times_ns = calloc(count, sizeof(*times_ns));
	buf = aligned_alloc(4096, LARGE_BYTES);
	dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!times_ns || !buf || dir_fd < 0)
		die(argv[1]);
	memset(buf, 0x5a, LARGE_BYTES);
	file_fd = openat(dir_fd, "micro", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
	if (file_fd < 0)
		die("micro");
	measure("getattr", op_getattr, count);
	measure("lookup-miss", op_lookup_miss, count);
	measure("create-close", op_create_close, count);
	measure("unlink", op_unlink, count);
	measure("write-4k", op_write_small, count);
	measure("read-4k", op_read_small, count);
	measure("write-1m", op_write_large, large);
	measure("fsync", op_fsync, 1);
	measure("read-1m", op_read_large, large);
	unlinkat(dir_fd, "micro", 0);
	return 0;
}
