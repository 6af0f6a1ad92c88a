/* truncate(2), fallocate(2), SEEK_HOLE and SEEK_DATA, st_blocks. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "posix.h"

#define MIB (1ll << 20)

static bool is_zero(int fd, off_t off, size_t len)
{
	static uint8_t buf[65536];

	for (size_t done = 0; done < len;) {
		size_t n = len - done < sizeof(buf) ? len - done : sizeof(buf);

		posix_read_all(fd, buf, n, off + (off_t)done);
		for (size_t i = 0; i < n; i++)
			if (buf[i])
				return false;
		done += n;
	}
	return true;
}

static int filled(const char *path, size_t len)
{
	uint8_t *buf = malloc(len);
	int fd = (int)OK(open(path, O_CREAT | O_RDWR | O_TRUNC, 0644));

	CHECK(buf);
	memset(buf, 'F', len);
	posix_write_all(fd, buf, len, 0);
	free(buf);
	return fd;
}

static void up_and_down(void)
{
	int fd = filled("f", 10000);
	char c;

	OK(ftruncate(fd, 5000));
	CHECK_EQ(posix_stat("f").st_size, 5000);
	/* What was cut off never comes back. */
	OK(ftruncate(fd, 20000));
	CHECK_EQ(posix_stat("f").st_size, 20000);
	CHECK(is_zero(fd, 5000, 15000));
	posix_read_all(fd, &c, 1, 4999);
	CHECK_EQ(c, 'F');
	OK(truncate("f", 3));
	posix_write_all(fd, "x", 1, 9000);
	CHECK(is_zero(fd, 3, 8997));
	OK(truncate("f", 0));
	CHECK_EQ(posix_stat("f").st_blocks, 0);
}

static void over_chunks(void)
{
	int fd = filled("f", 6 * MIB + 100);
	char c;

	OK(ftruncate(fd, 2 * MIB + 50));
	OK(ftruncate(fd, 8 * MIB));
	CHECK(is_zero(fd, 2 * MIB + 50, (size_t)(6 * MIB - 50)));
	posix_read_all(fd, &c, 1, 2 * MIB + 49);
	CHECK_EQ(c, 'F');
	OK(ftruncate(fd, MIB));
	OK(ftruncate(fd, MIB + 1));
	CHECK(is_zero(fd, MIB, 1));
	posix_write_all(fd, "z", 1, 5 * MIB);
	CHECK(is_zero(fd, MIB, (size_t)(4 * MIB)));
	CHECK(posix_stat("f").st_blocks * 512 <= 2 * MIB);
}

static void truncate_errors(void)
{
	posix_make("f", "abc");
	OK(mkdir("d", 0755));
	OK(symlink("f", "l"));
	FAILS(EISDIR, truncate("d", 0));
	FAILS(ENOENT, truncate("g", 0));
	FAILS(EINVAL, truncate("f", -1));
	FAILS(ENOTDIR, truncate("f/x", 0));
	FAILS_EITHER(EINVAL, EBADF, ftruncate((int)OK(open("f", O_RDONLY)), 0));
	OK(chmod("f", 0644));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, truncate("f", 0));
	}
	CHECK(strcmp(posix_text("f"), "abc") == 0);
	OK(truncate("l", 1));
	CHECK(strcmp(posix_text("f"), "a") == 0);
}

static void truncate_times(void)
{
	struct stat a, b;
	int fd = filled("f", 100);

	a = posix_stat("f");
	posix_wait_tick();
	OK(ftruncate(fd, 50));
	b = posix_stat("f");
	CHECK(memcmp(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim)) != 0);
	CHECK(memcmp(&a.st_ctim, &b.st_ctim, sizeof(a.st_ctim)) != 0);
}

static void allocate(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	if (fallocate(fd, 0, 0, 100000) < 0 && errno == EOPNOTSUPP)
		posix_skip("no fallocate here");
	CHECK_EQ(posix_stat("f").st_size, 100000);
	CHECK(is_zero(fd, 0, 100000));
	posix_write_all(fd, "abc", 3, 10);
	OK(fallocate(fd, 0, 0, 50000));
	CHECK_EQ(posix_stat("f").st_size, 100000);
	CHECK(!is_zero(fd, 10, 3));
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 90000, 3 * MIB));
	CHECK_EQ(posix_stat("f").st_size, 100000);
	CHECK(is_zero(fd, 13, 100000 - 13));
	CHECK(posix_fallocate(fd, 0, 2 * MIB) == 0);
	CHECK_EQ(posix_stat("f").st_size, 2 * MIB);
}

static void collapse(void)
{
	int fd = filled("f", 65536);

	posix_write_all(fd, "mark", 4, 8192);
	if (posix_differs("collapse")) {
		FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
		FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096));
		CHECK_EQ(posix_stat("f").st_size, 65536);
		return;
	}
	OK(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
	CHECK_EQ(posix_stat("f").st_size, 65536 - 4096);
	OK(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096));
	CHECK_EQ(posix_stat("f").st_size, 65536);
	CHECK(is_zero(fd, 4096, 4096));
}

static void allocate_errors(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	FAILS(EINVAL, fallocate(fd, 0, 0, 0));
	FAILS(EINVAL, fallocate(fd, 0, -1, 10));
	FAILS(EFBIG, fallocate(fd, 0, INT64_MAX - 10, 100));
	FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
	FAILS(EBADF, fallocate((int)OK(open("f", O_RDONLY)), 0, 0, 10));
	CHECK_EQ(posix_stat("f").st_size, 0);
}

static void punch(void)
{
	int fd = filled("f", 3 * MIB);
	long long blocks = posix_stat("f").st_blocks;
	char c[2];

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 10) < 0 &&
	    errno == EOPNOTSUPP)
		posix_skip("no holes here");
	CHECK(is_zero(fd, 100, 10));
	posix_read_all(fd, c, 1, 99);
	posix_read_all(fd, c + 1, 1, 110);
	CHECK(c[0] == 'F' && c[1] == 'F');
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4095, 2 * MIB));
	CHECK(is_zero(fd, 4095, (size_t)(2 * MIB)));
	posix_read_all(fd, c, 1, 4094);
	posix_read_all(fd, c + 1, 1, 4095 + 2 * MIB);
	CHECK(c[0] == 'F' && c[1] == 'F');
	CHECK_EQ(posix_stat("f").st_size, 3 * MIB);
	CHECK(posix_stat("f").st_blocks < blocks);
	/* Past the end: nothing. */
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * MIB, MIB));
	CHECK_EQ(posix_stat("f").st_size, 3 * MIB);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10 * MIB));
	CHECK(is_zero(fd, 0, (size_t)(3 * MIB)));
	posix_write_all(fd, "again", 5, 2000);
	posix_read_all(fd, c, 1, 2000);
	CHECK_EQ(c[0], 'a');
}

static void zero_range(void)
{
	int fd = filled("f", 100000);
	char c;

	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, 1000, 2000) < 0 && errno == EOPNOTSUPP)
		posix_skip("no FALLOC_FL_ZERO_RANGE here");
	CHECK(is_zero(fd, 1000, 2000));
	posix_read_all(fd, &c, 1, 3000);
	CHECK_EQ(c, 'F');
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 90000, 50000));
	CHECK_EQ(posix_stat("f").st_size, 100000);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 95000, 50000));
	CHECK_EQ(posix_stat("f").st_size, 145000);
	CHECK(is_zero(fd, 90000, 55000));
}

static void hole_data(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	char *buf = calloc(1, 65536);
	off_t at;

	CHECK(buf);
	memset(buf, 'd', 65536);
	FAILS(ENXIO, lseek(fd, 0, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, 0, SEEK_HOLE));
	posix_write_all(fd, buf, 65536, 4 * MIB);
	OK(ftruncate(fd, 8 * MIB));
	at = OK(lseek(fd, 0, SEEK_DATA));
	CHECK_EQ(at, 4 * MIB);
	CHECK_EQ(OK(lseek(fd, at, SEEK_HOLE)), 4 * MIB + 65536);
	CHECK_EQ(OK(lseek(fd, 0, SEEK_HOLE)), 0);
	CHECK_EQ(OK(lseek(fd, 4 * MIB + 100, SEEK_DATA)), 4 * MIB + 100);
	FAILS(ENXIO, lseek(fd, 5 * MIB, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, 8 * MIB, SEEK_HOLE));
	FAILS(ENXIO, lseek(fd, 8 * MIB, SEEK_DATA));
	OK(ftruncate(fd, 4 * MIB + 65536));
	CHECK_EQ(OK(lseek(fd, 4 * MIB, SEEK_HOLE)), 4 * MIB + 65536);
	FAILS_EITHER(ENXIO, EINVAL, lseek(fd, -1, SEEK_DATA));
}

static void blocks(void)
{
	int fd = filled("f", MIB);
	long long full = posix_stat("f").st_blocks;

	CHECK(full * 512 >= MIB && full * 512 < 2 * MIB);
	for (int i = 0; i < 5; i++)
		posix_write_all(fd, "overwritten", 11, 4096 * i);
	CHECK_EQ(posix_stat("f").st_blocks, full);
	OK(ftruncate(fd, MIB / 2));
	CHECK(posix_stat("f").st_blocks < full);
	OK(ftruncate(fd, 4 * MIB));
	CHECK(posix_stat("f").st_blocks < full);
	OK(ftruncate(fd, 0));
	CHECK_EQ(posix_stat("f").st_blocks, 0);
}

/* The last page that a file can have begins here; its last byte does not exist. */
#define LAST_PAGE (INT64_MAX - 4095)

static int far_file(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	if (ftruncate(fd, INT64_MAX) < 0 && errno == EFBIG)
		posix_skip("files end sooner here");
	CHECK_EQ(posix_stat("f").st_size, INT64_MAX);
	CHECK_EQ(posix_stat("f").st_blocks, 0);
	OK(ftruncate(fd, 0));
	return fd;
}

static void far_ends(void)
{
	static uint8_t page[4096], back[4096];
	int fd = far_file();

	posix_pattern(page, sizeof(page), 0, 7);
	posix_write_all(fd, page, 4095, LAST_PAGE);
	posix_write_all(fd, page, 4096, LAST_PAGE - 8192);
	posix_write_all(fd, page, 4096, 0);
	CHECK_EQ(posix_stat("f").st_size, INT64_MAX);
	posix_read_all(fd, back, 4095, LAST_PAGE);
	CHECK(memcmp(page, back, 4095) == 0);
	posix_read_all(fd, back, 4096, LAST_PAGE - 8192);
	CHECK(memcmp(page, back, 4096) == 0);
	CHECK(is_zero(fd, LAST_PAGE - 4096, 4096));
	CHECK(is_zero(fd, 1ll << 62, 65536));
	posix_write_all(fd, "x", 1, INT64_MAX - 1);
	FAILS_EITHER(EINVAL, EOVERFLOW, pwrite(fd, "xy", 2, INT64_MAX - 1));
	FAILS_EITHER(EFBIG, EINVAL, pwrite(fd, "y", 1, INT64_MAX));
	CHECK_EQ(OK(lseek(fd, 4096, SEEK_DATA)), LAST_PAGE - 8192);
	CHECK_EQ(OK(lseek(fd, 100, SEEK_HOLE)), 4096);
	CHECK_EQ(OK(lseek(fd, LAST_PAGE - 8000, SEEK_HOLE)), LAST_PAGE - 4096);
	CHECK_EQ(OK(lseek(fd, LAST_PAGE - 4096, SEEK_DATA)), LAST_PAGE);
	CHECK_EQ(OK(lseek(fd, LAST_PAGE, SEEK_HOLE)), INT64_MAX);
	CHECK_EQ(OK(lseek(fd, 0, SEEK_END)), INT64_MAX);
	/* What is punched and cut in between is not looked at chunk by chunk. */
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, LAST_PAGE - 4096));
	CHECK(is_zero(fd, LAST_PAGE - 8192, 8192));
	posix_read_all(fd, back, 1, LAST_PAGE);
	CHECK_EQ(back[0], page[0]);
	OK(ftruncate(fd, 100));
	OK(ftruncate(fd, INT64_MAX));
	CHECK(is_zero(fd, LAST_PAGE, 4095));
	CHECK(is_zero(fd, 100, 3996));
	FAILS(ENXIO, lseek(fd, 4096, SEEK_DATA));
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, INT64_MAX));
	CHECK_EQ(posix_stat("f").st_blocks, 0);
	OK(unlink("f"));
}

static void far_allocate(void)
{
	int fd = far_file();

	FAILS(ENOSPC, fallocate(fd, 0, 0, INT64_MAX));
	FAILS(ENOSPC, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, INT64_MAX));
	CHECK_EQ(posix_stat("f").st_size, 0);
	FAILS(EFBIG, fallocate(fd, 0, 1, INT64_MAX));
	FAILS(EFBIG, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, INT64_MAX, 1));
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, INT64_MAX - 10, 10));
	CHECK_EQ(posix_stat("f").st_size, INT64_MAX);
}

static void far_map(void)
{
	off_t at = LAST_PAGE - 4096;
	int fd = far_file(), direct;
	uint8_t *p, *page;

	CHECK(posix_memalign((void **)&page, 4096, 4096) == 0);
	OK(ftruncate(fd, INT64_MAX));
	direct = open("f", O_RDWR | O_DIRECT);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(p[17], 0);
	memcpy(p + 100, "mapped", 6);
	OK(msync(p, 4096, MS_SYNC));
	if (direct >= 0) {
		CHECK_EQ(OK(pread(direct, page, 4096, at)), 4096);
		CHECK(memcmp(page + 100, "mapped", 6) == 0);
		memset(page, 'D', 4096);
		CHECK_EQ(OK(pwrite(direct, page, 4096, at - 4096)), 4096);
		CHECK(is_zero(fd, at - 8192, 4096));
		CHECK(!is_zero(fd, at - 4096, 1));
		OK(close(direct));
	}
	OK(munmap(p, 4096));
	free(page);
}

static void suid_fallocate(void)
{
	int fd;

	posix_make("f", "abc");
	OK(chmod("f", 06777));
	AS_USER(USER, USER)
	{
		fd = (int)OK(open("f", O_RDWR));
		if (fallocate(fd, 0, 0, 100) < 0 && errno == EOPNOTSUPP)
			posix_skip("no fallocate here");
	}
	CHECK_EQ(posix_stat("f").st_mode & 07777, 0777);
}

static void suid_cut(void)
{
	posix_make("f", "abc");
	OK(chmod("f", 06777));
	AS_USER(USER, USER)
	{
		OK(truncate("f", 1));
	}
	CHECK_EQ(posix_stat("f").st_mode & 07777, 0777);
}

const struct posix_case size_cases[] = {
	{ "size_truncate", "truncate(2): what was cut off reads as zeros", up_and_down },
	{ "size_truncate_chunks", "truncate(2) over several chunks", over_chunks },
	{ "size_truncate_errors", "truncate(2): errors", truncate_errors },
	{ "size_truncate_times", "ftruncate: marks mtime and ctime", truncate_times },
	{ "size_truncate_suid", "truncate(2): clears set-user-ID for others", suid_cut },
	{ "size_allocate", "fallocate(2): default mode, FALLOC_FL_KEEP_SIZE", allocate },
	{ "size_collapse", "fallocate(2): FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE",
	  collapse },
	{ "size_allocate_errors", "fallocate(2): errors", allocate_errors },
	{ "size_punch", "fallocate(2): FALLOC_FL_PUNCH_HOLE", punch },
	{ "size_zero_range", "fallocate(2): FALLOC_FL_ZERO_RANGE", zero_range },
	{ "size_hole_data", "lseek(2): SEEK_HOLE, SEEK_DATA", hole_data },
	{ "size_blocks", "stat(2): st_blocks is what is allocated", blocks },
	{ "size_far", "a file of 2^63 - 1 bytes: both ends, holes, punching, cutting", far_ends },
	{ "size_far_allocate", "fallocate(2): ENOSPC, EFBIG of huge ranges", far_allocate },
	{ "size_far_map", "mmap(2), O_DIRECT at the far end", far_map },
	{ "size_allocate_suid", "fallocate(2): clears set-user-ID for others", suid_fallocate },
	{ 0 },
};
