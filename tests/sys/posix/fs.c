/* The file system as a whole: statvfs(3), fsync(2), stat(2). */
#include "posix.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>

#define MIB (1ull << 20)

static void numbers(void)
{
	struct statvfs v;

	OK(statvfs(".", &v));
	CHECK(v.f_bsize >= 512 && v.f_frsize >= 512);
	CHECK(v.f_blocks > 0 && v.f_bfree <= v.f_blocks && v.f_bavail <= v.f_bfree);
	CHECK(v.f_files > 0 && v.f_ffree <= v.f_files && v.f_favail <= v.f_ffree);
	CHECK_EQ(v.f_namemax, 255);
}

static unsigned long long available(void)
{
	struct statvfs v;

	OK(statvfs(".", &v));
	return (unsigned long long)v.f_bavail * v.f_frsize;
}

static void room(void)
{
	unsigned long long before = available(), after;
	char *buf = malloc(MIB);
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	CHECK(buf);
	for (unsigned i = 0; i < 32; i++) {
		posix_pattern(buf, MIB, i * MIB, 1);
		posix_write_all(fd, buf, MIB, (off_t)(i * MIB));
	}
	OK(fsync(fd));
	after = available();
	if (after + 24 * MIB > before)
		posix_fail(__FILE__, __LINE__, "32 MiB took %lld bytes of the available room",
			   (long long)(before - after));
	OK(close(fd));
	OK(unlink("f"));
	/* The room is given back, soon. */
	for (unsigned i = 0; i < 100 && available() + 8 * MIB < before; i++)
		posix_sleep_ms(100);
	if (available() + 8 * MIB < before)
		posix_fail(__FILE__, __LINE__, "%lld bytes did not come back",
			   (long long)(before - available()));
}

static void sync_all(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), dir;

	posix_write_all(fd, "x", 1, 0);
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(syncfs(fd));
	OK(fsync((int)OK(open("f", O_RDONLY))));
	OK(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	dir = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
	OK(fsync(dir));
	OK(fdatasync(dir));
	OK(unlink("f"));
	OK(fsync(fd));
	sync();
}

static void stat_fields(void)
{
	struct stat a, b;
	struct statx x;

	posix_make("f", "12345");
	OK(mkdir("d", 0755));
	a = posix_stat("f");
	b = posix_stat("d");
	CHECK_EQ(a.st_dev, b.st_dev);
	CHECK_EQ(a.st_dev, posix_stat(".").st_dev);
	CHECK(a.st_ino != b.st_ino && a.st_ino != 0);
	CHECK(a.st_blksize >= 512);
	CHECK_EQ(a.st_size, 5);
	CHECK(a.st_blocks > 0 && a.st_blocks <= 16);
	OK(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &x));
	CHECK_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
	CHECK_EQ(x.stx_ino, a.st_ino);
	CHECK_EQ(x.stx_size, 5);
	CHECK_EQ(x.stx_mode, a.st_mode);
}

static int compare(const void *a, const void *b)
{
	ino_t x = *(const ino_t *)a, y = *(const ino_t *)b;

	return x < y ? -1 : x > y;
}

static void inodes(void)
{
	unsigned count = posix_count(1000, 10000);
	ino_t *ino = calloc(count, sizeof(*ino));
	char name[32];

	CHECK(ino);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%u", i % 100);
		if (i >= 100)
			OK(i % 3 ? unlink(name) : rename(name, "last"));
		OK(close((int)OK(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644))));
		ino[i] = posix_stat(name).st_ino;
	}
	/* Numbers are not used twice while both live; ours are never used again. */
	if (!posix_differs("numbers")) {
		ino += count - 100;
		count = 100;
	}
	qsort(ino, count, sizeof(*ino), compare);
	for (unsigned i = 0; i + 1 < count; i++)
		CHECK(ino[i] != ino[i + 1]);
}

/* A file's number stays, whatever is done to it. */
static void same_number(void)
{
	ino_t f, d;
	int fd;

	posix_make("f", "x");
	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	f = posix_stat("f").st_ino;
	d = posix_stat("d").st_ino;
	OK(chmod("f", 0600));
	OK(chown("f", geteuid(), getegid()));
	OK(truncate("f", 0));
	OK(link("f", "d/g"));
	OK(rename("f", "e/f"));
	CHECK_EQ(posix_stat("e/f").st_ino, f);
	CHECK_EQ(posix_stat("d/g").st_ino, f);
	OK(unlink("e/f"));
	OK(rename("d", "e/d"));
	CHECK_EQ(posix_stat("e/d").st_ino, d);
	CHECK_EQ(posix_stat("e/d/g").st_ino, f);
	fd = (int)OK(open("e/d/g", O_RDWR));
	OK(syncfs(fd));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	CHECK_EQ(posix_stat("e/d/g").st_ino, f);
}

static void other_calls(void)
{
	struct pollfd p = { .events = POLLIN | POLLOUT };
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), value;

	FAILS_EITHER(ENOTTY, ENOSYS, ioctl(fd, TCGETS, &value));
	FAILS_EITHER(ENOTTY, EINVAL, ioctl(fd, 0x12345678, &value));
	p.fd = fd;
	CHECK_EQ(OK(poll(&p, 1, 0)), 1);
	CHECK_EQ(p.revents, POLLIN | POLLOUT);
	CHECK_EQ(OK(pathconf(".", _PC_NAME_MAX)), 255);
	CHECK(isatty(fd) == 0);
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
	OK(readahead(fd, 0, 4096));
}

static void ten_thousand(void)
{
	char name[64], text[64];
	unsigned count = posix_count(1000, 10000);

	OK(mkdir("d", 0755));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d/file-%06u", i);
		snprintf(text, sizeof(text), "this is file %u", i);
		posix_make(name, text);
	}
	for (unsigned i = 0; i < count; i += 7) {
		snprintf(name, sizeof(name), "d/file-%06u", i);
		snprintf(text, sizeof(text), "this is file %u", i);
		CHECK(strcmp(posix_text(name), text) == 0);
		CHECK_EQ(posix_stat(name).st_size, strlen(text));
	}
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d/file-%06u", i);
		OK(unlink(name));
	}
	OK(rmdir("d"));
}

const struct posix_case fs_cases[] = {
	{ "fs_statvfs", "statvfs(3): numbers that can be", numbers },
	{ "fs_room", "statvfs(3): what a file takes, and that it comes back", room },
	{ "fs_sync", "fsync(2), fdatasync(2), syncfs(2): of all kinds of descriptors", sync_all },
	{ "fs_stat", "stat(2), statx(2): fields", stat_fields },
	{ "fs_inodes", "stat(2): numbers of living files differ", inodes },
	{ "fs_other_calls", "ioctl(2): ENOTTY; poll(2): ready", other_calls },
	{ "fs_ten_thousand", "ten thousand small files in a directory", ten_thousand },
	{ "fs_same_number", "stat(2): st_ino stays", same_number },
	{ 0 },
};
