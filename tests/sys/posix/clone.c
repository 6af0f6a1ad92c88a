/* copy_file_range(2): by sharing or not, nobody can tell by the bytes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "posix.h"

#define MIB (1ll << 20)
#define BYTES (5 * MIB + 12345)

static int patterned(const char *path, size_t len, uint64_t tag)
{
	uint8_t *buf = malloc(len);
	int fd = (int)OK(open(path, O_CREAT | O_RDWR | O_TRUNC, 0644));

	CHECK(buf);
	posix_pattern(buf, len, 0, tag);
	posix_write_all(fd, buf, len, 0);
	free(buf);
	return fd;
}

/* All of it, however often it has to be asked. */
static void copy_all(int from, off_t from_off, int to, off_t to_off, size_t len)
{
	while (len > 0) {
		ssize_t n = copy_file_range(from, &from_off, to, &to_off, len, 0);

		if (n < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
			posix_skip("no copy_file_range here");
		CHECK(n > 0);
		CHECK((size_t)n <= len);
		len -= (size_t)n;
	}
}

/* The bytes of @fd at @off are those of the pattern @tag at @at. */
static bool is_pattern(int fd, off_t off, size_t len, uint64_t at, uint64_t tag)
{
	uint8_t *got = malloc(len + 1), *want = malloc(len + 1);
	bool is_same;

	CHECK(got && want);
	posix_read_all(fd, got, len, off);
	posix_pattern(want, len, at, tag);
	is_same = memcmp(got, want, len) == 0;
	free(got);
	free(want);
	return is_same;
}

static bool is_zero(int fd, off_t off, size_t len)
{
	uint8_t *got = calloc(1, len + 1);
	bool is_same = true;

	CHECK(got);
	posix_read_all(fd, got, len, off);
	for (size_t i = 0; i < len; i++)
		is_same = is_same && got[i] == 0;
	free(got);
	return is_same;
}

static void whole(void)
{
	int a = patterned("a", BYTES, 1), b = (int)OK(open("b", O_CREAT | O_RDWR, 0644));

	copy_all(a, 0, b, 0, BYTES);
	CHECK_EQ(posix_stat("b").st_size, BYTES);
	CHECK(is_pattern(b, 0, BYTES, 0, 1));
	CHECK(posix_stat("b").st_blocks * 512 >= BYTES);
	/* What is behind the end is not copied, and nothing is when all is. */
	CHECK_EQ(OK(copy_file_range(a, &(off_t){ BYTES - 10 }, b, &(off_t){ 100 }, 1000, 0)), 10);
	CHECK(is_pattern(b, 100, 10, BYTES - 10, 1));
	CHECK_EQ(OK(copy_file_range(a, &(off_t){ BYTES }, b, NULL, 1000, 0)), 0);
	CHECK_EQ(OK(copy_file_range(a, NULL, b, NULL, 0, 0)), 0);
	CHECK_EQ(posix_stat("b").st_size, BYTES);
}

static void apart(void)
{
	int a = patterned("a", BYTES, 1), b = (int)OK(open("b", O_CREAT | O_RDWR, 0644)), c;
	uint8_t *other = malloc(BYTES);

	CHECK(other);
	copy_all(a, 0, b, 0, BYTES);
	/* Writing, cutting and punching one leaves the other as it is. */
	posix_pattern(other, BYTES, 0, 2);
	posix_write_all(b, other + 5000, 10000, 5000);
	posix_write_all(b, other + 2 * MIB, (size_t)MIB, 2 * MIB);
	posix_write_all(a, other, 100, 4 * MIB - 50);
	CHECK(is_pattern(a, 0, (size_t)(4 * MIB - 50), 0, 1));
	CHECK(is_pattern(b, 0, 5000, 0, 1));
	CHECK(is_pattern(b, 5000, 10000, 5000, 2));
	CHECK(is_pattern(b, 15000, (size_t)(2 * MIB - 15000), 15000, 1));
	CHECK(is_pattern(b, 2 * MIB, (size_t)MIB, (uint64_t)(2 * MIB), 2));
	CHECK(is_pattern(b, 3 * MIB, BYTES - (size_t)(3 * MIB), (uint64_t)(3 * MIB), 1));
	OK(ftruncate(b, MIB + 100));
	OK(ftruncate(b, BYTES));
	CHECK(is_zero(b, MIB + 100, (size_t)MIB));
	CHECK(is_pattern(a, MIB, (size_t)MIB, (uint64_t)MIB, 1));
	c = (int)OK(open("c", O_CREAT | O_RDWR, 0644));
	copy_all(a, 0, c, 0, (size_t)(3 * MIB));
	OK(unlink("a"));
	OK(close(a));
	CHECK(is_pattern(c, 0, (size_t)(3 * MIB), 0, 1));
	OK(unlink("b"));
	OK(close(b));
	CHECK(is_pattern(c, 0, (size_t)(3 * MIB), 0, 1));
	free(other);
}

static void offsets(void)
{
	static const struct {
		off_t from, to;
		size_t len;
	} rows[] = {
		{ 0, 0, 1 },
		{ 100, 100, 50 },
		{ 4000, 4000, 200 },
		{ 4096, 4096, 4096 },
		{ 4095, 4095, 8194 },
		{ MIB - 1, MIB - 1, 2 },
		{ MIB - 5000, MIB - 5000, 2 * MIB },
		{ 0, 4096, 100000 },
		{ 777, 12345, 3 * MIB },
		{ MIB, 3 * MIB, MIB },
		{ 3 * MIB, MIB, MIB + 5 },
		{ BYTES - 3, 10, 3 },
		{ 1234567, 1234567, BYTES - 1234567 },
	};
	int a = patterned("a", BYTES, 1);

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int b = patterned("b", BYTES, 2);
		off_t end = rows[i].to + (off_t)rows[i].len;

		copy_all(a, rows[i].from, b, rows[i].to, rows[i].len);
		CHECK(is_pattern(b, 0, (size_t)rows[i].to, 0, 2));
		CHECK(is_pattern(b, rows[i].to, rows[i].len, (uint64_t)rows[i].from, 1));
		CHECK(is_pattern(b, end, (size_t)(BYTES - end), (uint64_t)end, 2));
		OK(close(b));
		/* The same into nothing: what is before it is a hole. */
		OK(unlink("b"));
		b = (int)OK(open("b", O_CREAT | O_RDWR, 0644));
		copy_all(a, rows[i].from, b, rows[i].to, rows[i].len);
		CHECK_EQ(posix_stat("b").st_size, end);
		CHECK(is_zero(b, 0, (size_t)rows[i].to));
		CHECK(is_pattern(b, rows[i].to, rows[i].len, (uint64_t)rows[i].from, 1));
		OK(close(b));
		OK(unlink("b"));
	}
}

static void one_file(void)
{
	int a = patterned("a", BYTES, 1);

	copy_all(a, 0, a, 3 * MIB, (size_t)(2 * MIB));
	CHECK(is_pattern(a, 3 * MIB, (size_t)(2 * MIB), 0, 1));
	CHECK(is_pattern(a, 0, (size_t)(3 * MIB), 0, 1));
	copy_all(a, 100, a, BYTES, 5000);
	CHECK_EQ(posix_stat("a").st_size, BYTES + 5000);
	CHECK(is_pattern(a, BYTES, 5000, 100, 1));
	FAILS(EINVAL, copy_file_range(a, &(off_t){ 0 }, a, &(off_t){ 100 }, 200, 0));
}

static void holes(void)
{
	int a = (int)OK(open("a", O_CREAT | O_RDWR, 0644)), b = patterned("b", 9 * MIB, 2);
	static uint8_t page[4096];

	posix_pattern(page, sizeof(page), 0, 1);
	posix_write_all(a, page, sizeof(page), 4 * MIB);
	OK(ftruncate(a, 8 * MIB));
	copy_all(a, 0, b, 0, (size_t)(8 * MIB));
	CHECK(is_zero(b, 0, (size_t)(4 * MIB)));
	CHECK(is_pattern(b, 4 * MIB, sizeof(page), 0, 1));
	CHECK(is_zero(b, 4 * MIB + 4096, (size_t)(4 * MIB - 4096)));
	CHECK(is_pattern(b, 8 * MIB, (size_t)MIB, (uint64_t)(8 * MIB), 2));
	OK(ftruncate(b, 0));
	copy_all(a, 0, b, 0, (size_t)(8 * MIB));
	CHECK_EQ(posix_stat("b").st_size, 8 * MIB);
	CHECK(is_pattern(b, 4 * MIB, sizeof(page), 0, 1));
	CHECK(posix_stat("b").st_blocks * 512 <= 2 * MIB);
	/* Elsewhere too. */
	copy_all(a, 0, b, 8 * MIB, (size_t)(8 * MIB));
	CHECK(is_pattern(b, 12 * MIB, sizeof(page), 0, 1));
	CHECK(is_zero(b, 8 * MIB, (size_t)(4 * MIB)));
	CHECK(posix_stat("b").st_blocks * 512 <= 4 * MIB);
}

static void errors(void)
{
	int a = patterned("a", 10000, 1), d, r, w, p;

	OK(mkdir("d", 0755));
	posix_make("b", "text");
	d = (int)OK(open("d", O_RDONLY));
	r = (int)OK(open("b", O_RDONLY));
	w = (int)OK(open("b", O_WRONLY));
	p = (int)OK(open("b", O_WRONLY | O_APPEND));
	FAILS(EBADF, copy_file_range(a, NULL, r, NULL, 10, 0));
	FAILS(EBADF, copy_file_range(w, &(off_t){ 0 }, a, NULL, 10, 0));
	FAILS(EBADF, copy_file_range(a, &(off_t){ 0 }, p, NULL, 10, 0));
	FAILS_EITHER(EISDIR, EBADF, copy_file_range(d, NULL, w, NULL, 10, 0));
	FAILS(EINVAL, copy_file_range(a, NULL, w, NULL, 10, 1));
	FAILS_EITHER(EINVAL, EOVERFLOW, copy_file_range(a, &(off_t){ -1 }, w, NULL, 10, 0));
	CHECK(strcmp(posix_text("b"), "text") == 0);
}

static void attributes(void)
{
	struct stat before, after;
	int a = patterned("a", 100000, 1), b;

	posix_make("b", "x");
	OK(chmod("b", 06777));
	before = posix_stat("b");
	posix_wait_tick();
	AS_USER(USER, USER)
	{
		b = (int)OK(open("b", O_RDWR));
		copy_all((int)OK(open("a", O_RDONLY)), 0, b, 0, 100000);
	}
	after = posix_stat("b");
	CHECK_EQ(after.st_mode & 07777, 0777);
	CHECK_EQ(after.st_size, 100000);
	CHECK(memcmp(&before.st_mtim, &after.st_mtim, sizeof(after.st_mtim)) != 0);
	CHECK(memcmp(&before.st_ctim, &after.st_ctim, sizeof(after.st_ctim)) != 0);
	OK(close(a));
}

/* What is in the page cache, of a mapping, is what is copied, and what is seen. */
static void mapped(void)
{
	int a = patterned("a", (size_t)(2 * MIB), 1), b = patterned("b", (size_t)(2 * MIB), 2);
	uint8_t *from = mmap(NULL, (size_t)(2 * MIB), PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	uint8_t *to = mmap(NULL, (size_t)(2 * MIB), PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);

	CHECK(from != MAP_FAILED && to != MAP_FAILED);
	memset(from + 5000, 'm', 10000);
	CHECK(to[MIB + 7] != 0 || to[MIB + 8] != 0);
	copy_all(a, 0, b, 0, (size_t)(2 * MIB));
	CHECK(memcmp(from, to, (size_t)(2 * MIB)) == 0);
	CHECK(to[5000] == 'm' && to[14999] == 'm');
	to[5000] = 'n';
	OK(msync(to, (size_t)(2 * MIB), MS_SYNC));
	CHECK_EQ(from[5000], 'm');
	OK(munmap(from, (size_t)(2 * MIB)));
	OK(munmap(to, (size_t)(2 * MIB)));
}

/* Many copies of copies, then all but the last go. */
static void generations(void)
{
	char name[16], next[16];
	int a = patterned("g0", (size_t)(2 * MIB + 100), 1), b;

	for (int i = 0; i < 20; i++) {
		uint8_t byte = (uint8_t)i;

		snprintf(next, sizeof(next), "g%d", i + 1);
		b = (int)OK(open(next, O_CREAT | O_RDWR, 0644));
		copy_all(a, 0, b, 0, (size_t)(2 * MIB + 100));
		posix_write_all(b, &byte, 1, 8192 * i + 5);
		OK(close(a));
		a = b;
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		OK(unlink(name));
	}
	for (int i = 0; i < 20; i++) {
		uint8_t byte;

		posix_read_all(a, &byte, 1, 8192 * i + 5);
		CHECK_EQ(byte, i);
		CHECK(is_pattern(a, 8192 * i + 6, 8191, (uint64_t)(8192 * i + 6), 1));
	}
}

const struct posix_case clone_cases[] = {
	{ "clone_whole", "copy_file_range(2): all of a file, and past its end", whole },
	{ "clone_apart", "copy_file_range(2): the copy is another file", apart },
	{ "clone_offsets", "copy_file_range(2): any offset and length", offsets },
	{ "clone_one_file", "copy_file_range(2): within a file; EINVAL: overlapping", one_file },
	{ "clone_holes", "copy_file_range(2): holes stay holes", holes },
	{ "clone_errors", "copy_file_range(2): errors", errors },
	{ "clone_attributes", "copy_file_range(2): times, set-user-ID", attributes },
	{ "clone_mapped", "copy_file_range(2) of mapped files", mapped },
	{ "clone_generations", "copy_file_range(2) of copies", generations },
	{ 0 },
};
