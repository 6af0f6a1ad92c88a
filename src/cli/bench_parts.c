/*
 * The parts of cfs bench. Each is one thread that does one thing after the other: what it measures
 * is the way of a single request. Reads are cold for the kernel's page cache; what a server caches
 * is part of what is measured.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/bench.h"

#define PIECE_BYTES (1024u * 1024)
#define SMALL_BYTES 4096u
#define PROGRESS_NS 200000000ull

volatile bool bench_is_interrupted;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t roll(struct bench_place *p)
{
	return cfs_hash_u64(p->dice += 0x9e3779b97f4a7c15ull);
}

/* One run of a part: its clock, and when it last told where it is. */
struct meter {
	struct bench_place *p;
	struct bench_result *r;
	uint64_t start_ns, last_ns, told_ns;
};

static struct meter meter_start(struct bench_place *p, struct bench_result *r)
{
	uint64_t now = now_ns();

	return (struct meter){ p, r, now, now, now };
}

/* An operation is done. -EINTR: we are to stop. */
static int meter_tick(struct meter *m, uint64_t total)
{
	uint64_t now = now_ns();

	cfs_hist_add(&m->r->latency, now - m->last_ns);
	m->r->count++;
	if (m->p->progress && now - m->told_ns >= PROGRESS_NS) {
		m->told_ns = now;
		m->p->progress(m->r->name, total ? m->r->count : now - m->start_ns,
			       total ? total : m->p->plan->part_ns);
	}
	m->last_ns = now_ns();
	return bench_is_interrupted ? -EINTR : 0;
}

static bool meter_is_over(const struct meter *m)
{
	return m->last_ns - m->start_ns >= m->p->plan->part_ns;
}

/* @per_op: how much of the unit an operation is. */
static void meter_stop(struct meter *m, double per_op)
{
	m->r->ns = now_ns() - m->start_ns;
	m->r->value = m->r->ns ? (double)m->r->count * per_op * 1e9 / (double)m->r->ns : 0;
}

static int whole_write(int fd, const void *buf, size_t len, uint64_t off)
{
	ssize_t put = pwrite(fd, buf, len, (off_t)off);

	return put == (ssize_t)len ? 0 : put < 0 ? -errno : -EIO;
}

static int whole_read(int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t got = pread(fd, buf, len, (off_t)off);

	return got == (ssize_t)len ? 0 : got < 0 ? -errno : -EIO;
}

static int big_open(struct bench_place *p, int flags)
{
	int fd = openat(p->dir_fd, "big", flags | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

/* Drops what the page cache has of the file. */
static int make_cold(int fd)
{
	if (fsync(fd) < 0)
		return -errno;
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int seq_write(struct bench_place *p, struct bench_result *r)
{
	uint64_t pieces = p->plan->file_bytes / PIECE_BYTES;
	int fd = big_open(p, O_RDWR | O_CREAT | O_EXCL), rc = 0;
	struct meter m = meter_start(p, r);

	if (fd < 0)
		return fd;
	for (uint64_t i = 0; rc == 0 && i < pieces; i++) {
		rc = whole_write(fd, p->piece, PIECE_BYTES, i * PIECE_BYTES);
		if (rc == 0)
			rc = meter_tick(&m, pieces);
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	meter_stop(&m, 1);
	close(fd);
	return rc;
}

static int seq_read(struct bench_place *p, struct bench_result *r)
{
	uint64_t pieces = p->plan->file_bytes / PIECE_BYTES;
	void *buf = aligned_alloc(4096, PIECE_BYTES);
	int fd = big_open(p, O_RDONLY), rc = fd < 0 ? fd : make_cold(fd);
	struct meter m = meter_start(p, r);

	if (!buf)
		rc = -ENOMEM;
	for (uint64_t i = 0; rc == 0 && i < pieces; i++) {
		rc = whole_read(fd, buf, PIECE_BYTES, i * PIECE_BYTES);
		if (rc == 0 && memcmp(buf, p->piece, PIECE_BYTES) != 0)
			rc = -EIO;
		if (rc == 0)
			rc = meter_tick(&m, pieces);
	}
	meter_stop(&m, 1);
	free(buf);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The same bytes are written as are there already, so that reads can be compared. */
static int small_writes(struct bench_place *p, struct bench_result *r, bool is_synced)
{
	uint64_t blocks = p->plan->file_bytes / SMALL_BYTES;
	int fd = big_open(p, O_RDWR), rc = fd < 0 ? fd : 0;
	struct meter m = meter_start(p, r);

	while (rc == 0 && !meter_is_over(&m)) {
		uint64_t off = roll(p) % blocks * SMALL_BYTES;

		rc = whole_write(fd, p->piece + off % PIECE_BYTES, SMALL_BYTES, off);
		if (rc == 0 && is_synced && fdatasync(fd) < 0)
			rc = -errno;
		if (rc == 0)
			rc = meter_tick(&m, 0);
	}
	meter_stop(&m, 1);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int rand_write(struct bench_place *p, struct bench_result *r)
{
	return small_writes(p, r, false);
}

static int sync_write(struct bench_place *p, struct bench_result *r)
{
	return small_writes(p, r, true);
}

static int rand_read(struct bench_place *p, struct bench_result *r)
{
	uint64_t blocks = p->plan->file_bytes / SMALL_BYTES;
	int fd = big_open(p, O_RDONLY), rc = fd < 0 ? fd : make_cold(fd);
	uint8_t *block = aligned_alloc(4096, SMALL_BYTES);
	struct meter m;

	if (!block)
		rc = -ENOMEM;
	if (rc == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	m = meter_start(p, r);
	while (rc == 0 && !meter_is_over(&m)) {
		uint64_t off = roll(p) % blocks * SMALL_BYTES;

		rc = whole_read(fd, block, SMALL_BYTES, off);
		if (rc == 0 && memcmp(block, p->piece + off % PIECE_BYTES, SMALL_BYTES) != 0)
			rc = -EIO;
		if (rc == 0)
			rc = meter_tick(&m, 0);
	}
	meter_stop(&m, 1);
	free(block);
	if (fd >= 0)
		close(fd);
	return rc;
}

static void file_name(uint32_t i, char out[16])
{
	snprintf(out, 16, "f%07u", i);
}

/* Calls @fn for the name of each of the plan's files. */
static int each_file(struct bench_place *p, struct bench_result *r,
		     int (*fn)(struct bench_place *p, const char *name))
{
	struct meter m = meter_start(p, r);
	char name[16];
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < p->plan->files; i++) {
		file_name(i, name);
		rc = fn(p, name);
		if (rc == 0)
			rc = meter_tick(&m, p->plan->files);
	}
	meter_stop(&m, 1);
	return rc;
}

static int create_one(struct bench_place *p, const char *name)
{
	int fd = openat(p->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	return close(fd) < 0 ? -errno : 0;
}

static int stat_one(struct bench_place *p, const char *name)
{
	struct stat st;

	return fstatat(p->dir_fd, name, &st, 0) < 0 ? -errno : 0;
}

static int unlink_one(struct bench_place *p, const char *name)
{
	return unlinkat(p->dir_fd, name, 0) < 0 ? -errno : 0;
}

static int create(struct bench_place *p, struct bench_result *r)
{
	return each_file(p, r, create_one);
}

static int stat_files(struct bench_place *p, struct bench_result *r)
{
	return each_file(p, r, stat_one);
}

static int unlink_files(struct bench_place *p, struct bench_result *r)
{
	return each_file(p, r, unlink_one);
}

/* Reads the folder from start to end, again and again; an operation is an entry. */
static int readdir_all(struct bench_place *p, struct bench_result *r)
{
	int fd = openat(p->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct meter m = meter_start(p, r);
	uint64_t entries = 0;

	if (!dir) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	do {
		rewinddir(dir);
		for (errno = 0; readdir(dir); errno = 0)
			entries++;
		rc = errno ? -errno : meter_tick(&m, 0);
	} while (rc == 0 && !meter_is_over(&m));
	meter_stop(&m, 1);
	r->value = r->ns ? (double)entries * 1e9 / (double)r->ns : 0;
	closedir(dir);
	return rc;
}

const struct bench_part bench_parts[] = {
	{ "seq-write", "MiB/s", "1 MiB writes, fsync at the end", seq_write },
	{ "seq-read", "MiB/s", "1 MiB reads, page cache cold", seq_read },
	{ "rand-write", "op/s", "4 KiB writes at random places", rand_write },
	{ "rand-read", "op/s", "4 KiB reads at random places, page cache cold", rand_read },
	{ "sync-write", "op/s", "4 KiB writes, each with fdatasync", sync_write },
	{ "create", "op/s", "create and close", create },
	{ "stat", "op/s", "stat by name", stat_files },
	{ "readdir", "entries/s", "whole folder, again and again", readdir_all },
	{ "unlink", "op/s", "unlink", unlink_files },
	{ 0 },
};

int bench_place_init(struct bench_place *p, const struct bench_plan *plan, const char *parent)
{
	int n = snprintf(p->dir, sizeof(p->dir), "%s/.cfs-bench-XXXXXX", parent);

	p->plan = plan;
	p->dice = plan->seed;
	p->dir_fd = -1;
	p->piece = aligned_alloc(4096, PIECE_BYTES);
	if (!p->piece)
		return -ENOMEM;
	for (size_t i = 0; i < PIECE_BYTES; i += sizeof(uint64_t)) {
		uint64_t v = roll(p);

		memcpy(p->piece + i, &v, sizeof(v));
	}
	if (n < 0 || (size_t)n >= sizeof(p->dir)) {
		p->dir[0] = '\0';
		return -ENAMETOOLONG;
	}
	if (!mkdtemp(p->dir)) {
		int rc = -errno;

		p->dir[0] = '\0';
		return rc;
	}
	p->dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir_fd < 0 ? -errno : 0;
}

void bench_place_fini(struct bench_place *p)
{
	char name[16];

	free(p->piece);
	p->piece = NULL;
	if (p->dir_fd >= 0) {
		unlinkat(p->dir_fd, "big", 0);
		for (uint32_t i = 0; i < p->plan->files; i++) {
			file_name(i, name);
			unlinkat(p->dir_fd, name, 0);
		}
		close(p->dir_fd);
		p->dir_fd = -1;
	}
	if (p->dir[0])
		rmdir(p->dir);
	p->dir[0] = '\0';
}
