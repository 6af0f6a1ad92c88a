/* mmap(2), msync(2). */
#include "posix.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096u

static char *map_file(const char *path, size_t len, int prot, int flags)
{
	int fd = (int)OK(
		open(path, (prot & PROT_WRITE) && (flags & MAP_SHARED) ? O_RDWR : O_RDONLY));
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		posix_fail(__FILE__, __LINE__, "mmap(%s): %s", path, strerrorname_np(errno));
	OK(close(fd));
	return p;
}

static void make_pattern(const char *path, size_t len)
{
	char *buf = malloc(len);
	int fd = (int)OK(open(path, O_CREAT | O_RDWR | O_TRUNC, 0644));

	CHECK(buf);
	posix_pattern(buf, len, 0, 6);
	posix_write_all(fd, buf, len, 0);
	OK(close(fd));
	free(buf);
}

static void reading(void)
{
	size_t len = 3 * 1048576 + 100;
	char *want = malloc(len), *p;

	CHECK(want);
	make_pattern("f", len);
	posix_pattern(want, len, 0, 6);
	p = map_file("f", len, PROT_READ, MAP_SHARED);
	CHECK(memcmp(p, want, len) == 0);
	/* After the end, in its page: zeros. */
	for (size_t i = len; i % PAGE; i++)
		CHECK_EQ(p[i], 0);
}

static void writing(void)
{
	size_t len = 2 * 1048576;
	char *p, buf[16];
	int fd;

	make_pattern("f", len);
	p = map_file("f", len, PROT_READ | PROT_WRITE, MAP_SHARED);
	memcpy(p + 100, "in the map", 10);
	memcpy(p + len - 10, "at the end", 10);
	OK(msync(p, len, MS_SYNC));
	fd = (int)OK(open("f", O_RDONLY));
	posix_read_all(fd, buf, 10, 100);
	CHECK(memcmp(buf, "in the map", 10) == 0);
	posix_read_all(fd, buf, 10, (off_t)len - 10);
	CHECK(memcmp(buf, "at the end", 10) == 0);
	memcpy(p + PAGE, "unsynced", 8);
	OK(munmap(p, len));
	posix_read_all(fd, buf, 8, PAGE);
	CHECK(memcmp(buf, "unsynced", 8) == 0);
	CHECK_EQ(posix_stat("f").st_size, len);
}

/* The page cache may be dropped in between: what the map wrote is in the file. */
static void writing_dropped(void)
{
	size_t len = 1048576;
	char *p, buf[16];
	int fd;

	make_pattern("f", len);
	p = map_file("f", len, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (size_t at = 0; at < len; at += PAGE)
		memcpy(p + at, "mark", 4);
	OK(msync(p, len, MS_SYNC));
	OK(munmap(p, len));
	fd = (int)OK(open("f", O_RDONLY));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	for (size_t at = 0; at < len; at += PAGE) {
		posix_read_all(fd, buf, 4, (off_t)at);
		CHECK(memcmp(buf, "mark", 4) == 0);
	}
}

static void private_map(void)
{
	char *p, c;

	make_pattern("f", 10000);
	p = map_file("f", 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	posix_read_all((int)OK(open("f", O_RDONLY)), &c, 1, 50);
	p[50] = (char)(c + 1);
	OK(msync(p, 10000, MS_SYNC));
	OK(munmap(p, 10000));
	p = map_file("f", 10000, PROT_READ, MAP_SHARED);
	CHECK_EQ(p[50], c);
}

static void coherent(void)
{
	char *a, *b, buf[4];
	int fd;

	make_pattern("f", 100000);
	a = map_file("f", 100000, PROT_READ | PROT_WRITE, MAP_SHARED);
	b = map_file("f", 100000, PROT_READ, MAP_SHARED);
	fd = (int)OK(open("f", O_RDWR));
	for (int i = 0; i < 100; i++) {
		memcpy(a + i * 900, "abcd", 4);
		CHECK(memcmp(b + i * 900, "abcd", 4) == 0);
		posix_read_all(fd, buf, 4, i * 900);
		CHECK(memcmp(buf, "abcd", 4) == 0);
		posix_write_all(fd, "wxyz", 4, i * 900);
		CHECK(memcmp(b + i * 900, "wxyz", 4) == 0);
	}
	IN_CHILD()
	{
		memcpy(a, "from child", 10);
	}
	CHECK(memcmp(b, "from child", 10) == 0);
}

static sigjmp_buf jump;

static void on_bus(int sig)
{
	siglongjmp(jump, sig);
}

static void past_end(void)
{
	volatile char *p;

	make_pattern("f", 3 * PAGE);
	p = map_file("f", 3 * PAGE, PROT_READ, MAP_SHARED);
	CHECK(p[2 * PAGE] == p[2 * PAGE]);
	OK(truncate("f", PAGE));
	signal(SIGBUS, on_bus);
	if (sigsetjmp(jump, 1) == 0) {
		char c = p[2 * PAGE];

		posix_fail(__FILE__, __LINE__, "read %d where no file is", c);
	}
	CHECK(p[10] == p[10]);
	OK(truncate("f", 3 * PAGE));
	CHECK_EQ(p[2 * PAGE + 5], 0);
}

static void errors(void)
{
	int fd;

	make_pattern("f", PAGE);
	fd = (int)OK(open("f", O_RDONLY));
	CHECK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	fd = (int)OK(open("f", O_WRONLY));
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	OK(mkdir("d", 0755));
	fd = (int)OK(open("d", O_RDONLY));
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ENODEV);
}

static void unlinked(void)
{
	char *p;

	make_pattern("f", 50000);
	p = map_file("f", 50000, PROT_READ | PROT_WRITE, MAP_SHARED);
	OK(unlink("f"));
	memcpy(p + 40000, "alive", 5);
	OK(msync(p, 50000, MS_SYNC));
	CHECK(memcmp(p + 40000, "alive", 5) == 0);
}

static void program(void)
{
	CHECK_EQ(OK(system("cp /bin/true run && ./run")), 0);
	CHECK_EQ(OK(system("cp /bin/sh sh && ./sh -c 'exit 9'")) >> 8, 9);
}

const struct posix_case map_cases[] = {
	{ "map_read", "mmap(2): a file's bytes, zeros to the end of the last page", reading },
	{ "map_write", "mmap(2): MAP_SHARED, msync(2)", writing },
	{ "map_write_dropped", "msync(2): MS_SYNC reaches the file", writing_dropped },
	{ "map_private", "mmap(2): MAP_PRIVATE does not change the file", private_map },
	{ "map_coherent", "maps, reads and writes of one mount agree", coherent },
	{ "map_past_end", "mmap(2): SIGBUS past the end", past_end },
	{ "map_errors", "mmap(2): EACCES, EINVAL, ENODEV", errors },
	{ "map_unlinked", "a map keeps the file", unlinked },
	{ "map_program", "execve(2) of a program on it", program },
	{ 0 },
};
