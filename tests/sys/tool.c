/*
 * Small things that a shell cannot do, for the scripts of this folder.
 *
 *   tool syncs DIR N          N threads, each with a file and a write of its own, call fsync at the
 * same moment; prints the seconds tool stat PATH N          N times statx(AT_STATX_FORCE_SYNC) of
 * an open file tool creat DIR N          N times create and close tool pwrite PATH OFF LEN [direct]
 *                             one pwrite(2), with fsync before and after
 *   tool fill PATH BYTES TAG  a file of that many bytes of pattern; stops at ENOSPC with exit 3
 *   tool verify PATH BYTES TAG
 *                             exit 0: right; 1: wrong bytes; 4: EIO (or another error)
 *   tool overwrite DIR FILES BYTES TOTAL SEED
 *                             overwrites random aligned 1 MiB pieces of DIR/f0.. until TOTAL bytes
 *                             are written, then verifies all of it
 *   tool flip PATH OFF        flips one bit of a byte of a file or device
 *   tool blocks STORE BYTES TAG
 *                             where in STORE the 4 KiB blocks of a file of `fill` lie: "OFFSET
 * INDEX" lines tool texts STORE TEXT     where in STORE that text is: offsets tool rand SEED MAX N
 * N random numbers below MAX
 *   tool save-handle PATH FILE
 *                             writes the file handle of PATH to FILE
 *   tool open-handle DIR FILE opens what FILE is the handle of, on the mount of DIR; prints its
 *                             inode number
 *   tool rewind FD            of a descriptor that it has inherited
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)
#define EXIT_WRONG 1
#define EXIT_FULL 3
#define EXIT_ERROR 4

static _Alignas(4096) uint8_t buf[MIB], want[MIB];

static uint64_t roll(uint64_t *dice)
{
	uint64_t z = (*dice += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void pattern(uint8_t *p, size_t len_bytes, uint64_t off_bytes, uint64_t tag)
{
	uint64_t *words = (uint64_t *)(void *)p;

	for (size_t i = 0; i < len_bytes / 8; i++) {
		uint64_t dice = (off_bytes / 8 + i) * 31 + tag * 0xff51afd7ed558ccdull;

		words[i] = roll(&dice);
	}
}

static int die(const char *what)
{
	int code = errno == ENOSPC ? EXIT_FULL : EXIT_ERROR;

	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return code;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct syncer {
	pthread_t id;
	pthread_barrier_t *gate;
	int fd, rc;
};

static void *sync_main(void *arg)
{
	struct syncer *s = arg;

	pthread_barrier_wait(s->gate);
	s->rc = fsync(s->fd);
	return NULL;
}

static int syncs(const char *dir, unsigned count)
{
	static pthread_barrier_t gate;
	static struct syncer s[64];
	double start;
	int rc = 0;

	if (count > 64 || pthread_barrier_init(&gate, NULL, count + 1))
		return 2;
	for (unsigned i = 0; i < count; i++) {
		char path[300];

		snprintf(path, sizeof(path), "%s/sync%u", dir, i);
		s[i].fd = open(path, O_CREAT | O_WRONLY, 0644);
		s[i].gate = &gate;
		if (s[i].fd < 0 || pwrite(s[i].fd, path, 100, i) != 100 ||
		    pthread_create(&s[i].id, NULL, sync_main, &s[i]))
			return die(path);
	}
	start = now();
	pthread_barrier_wait(&gate);
	for (unsigned i = 0; i < count; i++) {
		pthread_join(s[i].id, NULL);
		rc |= s[i].rc;
	}
	printf("%.6f\n", now() - start);
	return rc ? EXIT_ERROR : 0;
}

static int stats(const char *path, unsigned count)
{
	int fd = open(path, O_RDONLY);
	struct statx x;

	if (fd < 0)
		return die(path);
	for (unsigned i = 0; i < count; i++)
		if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &x) < 0)
			return die(path);
	return 0;
}

static int stats_in(const char *dir, const char *name, unsigned count)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct statx x;

	if (fd < 0)
		return die(dir);
	for (unsigned i = 0; i < count; i++)
		if (statx(fd, name, 0, STATX_BASIC_STATS, &x) < 0)
			return die(name);
	return 0;
}

static int creations(const char *dir, unsigned count)
{
	if (chdir(dir) < 0)
		return die(dir);
	for (unsigned i = 0; i < count; i++) {
		char name[64];
		int fd;

		snprintf(name, sizeof(name), "new-%d-%u", (int)getpid(), i);
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			return die(name);
		close(fd);
	}
	return 0;
}

static int one_write(const char *path, uint64_t off, uint64_t len, bool is_direct)
{
	int fd = open(path, O_CREAT | O_WRONLY | (is_direct ? O_DIRECT : 0), 0644);

	if (len > MIB)
		return 2;
	pattern(buf, MIB, off, 1);
	if (fd < 0 || fsync(fd) < 0 || pwrite(fd, buf, len, (off_t)off) != (ssize_t)len ||
	    fsync(fd) < 0)
		return die(path);
	return 0;
}

static int fill(const char *path, uint64_t bytes, uint64_t tag)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);

	if (fd < 0)
		return die(path);
	for (uint64_t at = 0; at < bytes; at += MIB) {
		size_t len = bytes - at < MIB ? (size_t)(bytes - at) : MIB;

		pattern(buf, MIB, at, tag);
		if (pwrite(fd, buf, len, (off_t)at) != (ssize_t)len)
			return die(path);
	}
	return fsync(fd) < 0 || close(fd) < 0 ? die(path) : 0;
}

/* All pieces that can be read are compared; a read may end before one that cannot. */
static int verify(const char *path, uint64_t bytes, uint64_t tag)
{
	int fd = open(path, O_RDONLY), rc = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return die(path);
	if ((uint64_t)st.st_size != bytes) {
		fprintf(stderr, "%s: %lld bytes\n", path, (long long)st.st_size);
		return EXIT_WRONG;
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	for (uint64_t at = 0; at < bytes;) {
		size_t len = MIB - at % MIB < bytes - at ? MIB - at % MIB : (size_t)(bytes - at);
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			rc = die(path);
			at = (at / 4096 + 1) * 4096;
			continue;
		}
		pattern(want, MIB, at / MIB * MIB, tag);
		if (memcmp(buf, want + at % MIB, (size_t)n) != 0) {
			fprintf(stderr, "%s: wrong bytes in %zd at %llu\n", path, n,
				(unsigned long long)at);
			return EXIT_WRONG;
		}
		at += (uint64_t)n;
	}
	return rc;
}

static int overwrite(const char *dir, unsigned files, uint64_t bytes, uint64_t total, uint64_t seed)
{
	uint64_t pieces = bytes / MIB, *tags = calloc(files * pieces, sizeof(*tags));
	int *fds = calloc(files, sizeof(*fds));

	if (!tags || !fds)
		return 2;
	for (unsigned f = 0; f < files; f++) {
		char path[300];

		snprintf(path, sizeof(path), "%s/f%u", dir, f);
		fds[f] = open(path, O_RDWR);
		if (fds[f] < 0)
			return die(path);
	}
	for (uint64_t done = 0; done < total; done += MIB) {
		uint64_t k = roll(&seed) % (files * pieces), off = k % pieces * MIB;

		tags[k] = done / MIB + 1000;
		pattern(buf, MIB, off, tags[k]);
		if (pwrite(fds[k / pieces], buf, MIB, (off_t)off) != MIB)
			return die("overwrite");
	}
	for (uint64_t k = 0; k < files * pieces; k++) {
		uint64_t off = k % pieces * MIB;

		if (!tags[k])
			continue;
		pattern(want, MIB, off, tags[k]);
		if (pread(fds[k / pieces], buf, MIB, (off_t)off) != MIB)
			return die("read");
		if (memcmp(buf, want, MIB) != 0) {
			fprintf(stderr, "f%llu: wrong bytes in the MiB at %llu\n",
				(unsigned long long)(k / pieces), (unsigned long long)off);
			return EXIT_WRONG;
		}
	}
	return 0;
}

static int flip(const char *path, uint64_t off)
{
	int fd = open(path, O_RDWR);
	uint8_t c;

	if (fd < 0 || pread(fd, &c, 1, (off_t)off) != 1)
		return die(path);
	c ^= 0x10;
	if (pwrite(fd, &c, 1, (off_t)off) != 1 || fsync(fd) < 0)
		return die(path);
	return 0;
}

/* Finds a block by its first 16 bytes, which depend on the place in the file, then compares it. */
static int blocks(const char *store, uint64_t bytes, uint64_t tag)
{
	uint64_t count = bytes / 4096, table_count = 1, at = 0, (*table)[2];
	int fd = open(store, O_RDONLY);
	ssize_t n;

	while (table_count < count * 2)
		table_count *= 2;
	table = calloc(table_count, sizeof(*table));
	if (fd < 0 || !table)
		return die(store);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t first, slot;

		pattern(want, 8, i * 4096, tag);
		memcpy(&first, want, 8);
		for (slot = first % table_count; table[slot][0]; slot = (slot + 1) % table_count)
			;
		table[slot][0] = first;
		table[slot][1] = i;
	}
	for (; (n = pread(fd, buf, MIB, (off_t)at)) > 0; at += (uint64_t)n) {
		for (ssize_t k = 0; k + 4096 <= n; k += 4096) {
			uint64_t first, slot;

			memcpy(&first, buf + k, 8);
			slot = first % table_count;
			while (table[slot][0] && table[slot][0] != first)
				slot = (slot + 1) % table_count;
			if (!table[slot][0])
				continue;
			pattern(want, 4096, table[slot][1] * 4096, tag);
			if (memcmp(buf + k, want, 4096) == 0)
				printf("%llu %llu\n", (unsigned long long)at + (uint64_t)k,
				       (unsigned long long)table[slot][1]);
		}
	}
	free(table);
	return 0;
}

static int texts(const char *store, const char *text)
{
	size_t len = strlen(text), keep = len - 1, have = 0;
	int fd = open(store, O_RDONLY);
	uint64_t at = 0;
	ssize_t n;

	if (fd < 0 || len == 0 || len > 256)
		return die(store);
	while ((n = pread(fd, buf + have, MIB - have, (off_t)(at + have))) > 0) {
		size_t end = have + (size_t)n;

		for (uint8_t *p = buf; (p = memmem(p, end - (size_t)(p - buf), text, len)); p++)
			printf("%" PRIu64 "\n", (uint64_t)at + (uint64_t)(p - buf));
		have = end < keep ? end : keep;
		at += end - have;
		memmove(buf, buf + end - have, have);
	}
	return 0;
}

static int randoms(uint64_t seed, uint64_t max, unsigned count)
{
	while (count--)
		printf("%" PRIu64 "\n", (uint64_t)(roll(&seed) % max));
	return 0;
}

/* A handle of a file, as bytes in another file. */
struct handle {
	struct file_handle h;
	unsigned char room[MAX_HANDLE_SZ];
};

static int save_handle(const char *path, const char *to)
{
	struct handle h = { .h.handle_bytes = MAX_HANDLE_SZ };
	int id, fd = open(to, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	if (fd < 0 || name_to_handle_at(AT_FDCWD, path, &h.h, &id, 0) < 0)
		return die("name_to_handle_at");
	if (write(fd, &h, sizeof(h)) != (ssize_t)sizeof(h))
		return die("write");
	return close(fd) < 0 ? die("close") : 0;
}

static int open_handle(const char *mount, const char *from)
{
	struct handle h;
	struct stat st;
	int at = open(mount, O_RDONLY | O_DIRECTORY), in = open(from, O_RDONLY), fd;

	if (at < 0 || in < 0 || read(in, &h, sizeof(h)) != (ssize_t)sizeof(h))
		return die("open");
	fd = open_by_handle_at(at, &h.h, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return die("open_by_handle_at");
	printf("%" PRIu64 "\n", (uint64_t)st.st_ino);
	return 0;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc == 4 && strcmp(what, "syncs") == 0)
		return syncs(argv[2], (unsigned)number(argv[3]));
	if (argc == 4 && strcmp(what, "stat") == 0)
		return stats(argv[2], (unsigned)number(argv[3]));
	if (argc == 5 && strcmp(what, "statin") == 0)
		return stats_in(argv[2], argv[3], (unsigned)number(argv[4]));
	if (argc == 4 && strcmp(what, "creat") == 0)
		return creations(argv[2], (unsigned)number(argv[3]));
	if (argc >= 5 && strcmp(what, "pwrite") == 0)
		return one_write(argv[2], number(argv[3]), number(argv[4]), argc == 6);
	if (argc == 5 && strcmp(what, "fill") == 0)
		return fill(argv[2], number(argv[3]), number(argv[4]));
	if (argc == 5 && strcmp(what, "verify") == 0)
		return verify(argv[2], number(argv[3]), number(argv[4]));
	if (argc == 7 && strcmp(what, "overwrite") == 0)
		return overwrite(argv[2], (unsigned)number(argv[3]), number(argv[4]),
				 number(argv[5]), number(argv[6]));
	if (argc == 4 && strcmp(what, "flip") == 0)
		return flip(argv[2], number(argv[3]));
	if (argc == 5 && strcmp(what, "blocks") == 0)
		return blocks(argv[2], number(argv[3]), number(argv[4]));
	if (argc == 4 && strcmp(what, "texts") == 0)
		return texts(argv[2], argv[3]);
	if (argc == 5 && strcmp(what, "rand") == 0)
		return randoms(number(argv[2]), number(argv[3]), (unsigned)number(argv[4]));
	if (argc == 4 && strcmp(what, "save-handle") == 0)
		return save_handle(argv[2], argv[3]);
	if (argc == 4 && strcmp(what, "open-handle") == 0)
		return open_handle(argv[2], argv[3]);
	if (argc == 3 && strcmp(what, "rewind") == 0)
		return lseek((int)number(argv[2]), 0, SEEK_SET) == 0 ? 0 : die("rewind");
	fprintf(stderr, "usage: see the head of tests/sys/tool.c\n");
	return 2;
}
