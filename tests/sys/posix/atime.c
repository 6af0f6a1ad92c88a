/* Access times, as of relatime (mount(8)): a read marks what was changed since it was last read. */
#include "posix.h"

#include <dirent.h>
#include <sys/mman.h>

#define FAR (4 * 1024 * 1024)

static bool is_marked(const struct stat *before, const char *path)
{
	struct stat after = posix_lstat(path);

	/* Reading changes nothing else. */
	CHECK_EQ(before->st_mtim.tv_sec, after.st_mtim.tv_sec);
	CHECK_EQ(before->st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	CHECK_EQ(before->st_ctim.tv_sec, after.st_ctim.tv_sec);
	CHECK_EQ(before->st_ctim.tv_nsec, after.st_ctim.tv_nsec);
	return after.st_atim.tv_sec != before->st_atim.tv_sec ||
	       after.st_atim.tv_nsec != before->st_atim.tv_nsec;
}

/* Whether atime of @path is another after the operation. */
#define MARKED(path, operation) \
	({ \
		struct stat before_ = posix_lstat(path); \
		posix_wait_tick(); \
		operation; \
		is_marked(&before_, path); \
	})

static void read_some(const char *path, int flags, off_t off)
{
	static char buf[4096];
	int fd = (int)OK(open(path, O_RDONLY | flags));

	OK(pread(fd, buf, sizeof(buf), off));
	OK(close(fd));
}

static void of_file(void)
{
	struct stat st;
	char c;
	int fd;

	posix_make("f", "some text");
	CHECK(MARKED("f", read_some("f", 0, 0)));
	CHECK(!MARKED("f", read_some("f", 0, 0)));
	CHECK(!MARKED("f", read_some("f", 0, 5)));
	st = posix_stat("f");
	CHECK(st.st_atim.tv_sec > st.st_mtim.tv_sec ||
	      (st.st_atim.tv_sec == st.st_mtim.tv_sec && st.st_atim.tv_nsec > st.st_mtim.tv_nsec));
	posix_make("f", "other text");
	CHECK(MARKED("f", read_some("f", 0, 0)));
	OK(chmod("f", 0600));
	CHECK(MARKED("f", read_some("f", 0, 0)));
	/* By who has it open already. */
	fd = (int)OK(open("f", O_RDWR));
	CHECK_EQ(OK(pwrite(fd, "x", 1, 0)), 1);
	CHECK(MARKED("f", OK(read(fd, &c, 1))));
	CHECK(!MARKED("f", OK(read(fd, &c, 1))));
	OK(close(fd));
}

static void untouched(void)
{
	char c;
	int fd;

	posix_make("f", "some text");
	CHECK(!MARKED("f", fd = (int)OK(open("f", O_RDONLY))));
	CHECK(!MARKED("f", OK(read(fd, &c, 0))));
	OK(close(fd));
	CHECK(!MARKED("f", read_some("f", O_NOATIME, 0)));
	CHECK(MARKED("f", read_some("f", 0, 0)));
	OK(mkdir("d", 0755));
	fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY | O_NOATIME));
	CHECK(!MARKED("d", {
		DIR *dir = fdopendir(fd);

		CHECK(dir && readdir(dir));
		closedir(dir);
	}));
	OK(chmod("f", 0666));
	AS_USER(USER, USER)
	{
		FAILS(EPERM, open("f", O_RDONLY | O_NOATIME));
	}
}

/* Beyond what is in one place with the inode, and at the end. */
static void far(void)
{
	char *page = malloc(4096);
	char c;
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_pattern(page, 4096, FAR, 1);
	for (off_t at = 0; at <= FAR; at += 512 * 1024)
		posix_write_all(fd, page, 4096, at);
	OK(close(fd));
	CHECK(MARKED("f", read_some("f", 0, FAR)));
	CHECK(!MARKED("f", read_some("f", 0, FAR / 2)));
	fd = (int)OK(open("f", O_RDWR));
	posix_write_all(fd, page, 4096, FAR / 2);
	CHECK(MARKED("f", OK(pread(fd, page, 4096, FAR))));
	CHECK(!MARKED("f", OK(pread(fd, page, 4096, FAR / 2))));
	posix_write_all(fd, page, 1, FAR);
	/* The end of it was read. */
	CHECK(MARKED("f", CHECK_EQ(OK(pread(fd, &c, 1, 2 * FAR)), 0)));
	OK(close(fd));
	posix_make("empty", "");
	CHECK(MARKED("empty", read_some("empty", 0, 0)));
	free(page);
}

static void of_directory(void)
{
	OK(mkdir("d", 0755));
	posix_make("d/a", "");
	CHECK(MARKED("d", {
		DIR *dir = opendir("d");

		CHECK(dir && readdir(dir));
		closedir(dir);
	}));
	CHECK(!MARKED("d", {
		DIR *dir = opendir("d");

		CHECK(dir && readdir(dir));
		closedir(dir);
	}));
	CHECK(!MARKED("d", CHECK(posix_exists("d/a"))));
	posix_make("d/b", "");
	CHECK(MARKED("d", {
		DIR *dir = opendir("d");

		CHECK(dir && readdir(dir));
		closedir(dir);
	}));
}

static void of_symlink(void)
{
	char to[16];

	posix_make("f", "");
	OK(symlink("f", "l"));
	CHECK(!MARKED("l", posix_lstat("l")));
	CHECK(MARKED("l", OK(readlink("l", to, sizeof(to)))));
	CHECK(!MARKED("l", OK(readlink("l", to, sizeof(to)))));
	OK(lchown("l", USER, USER));
	CHECK(MARKED("l", posix_stat("l")));
}

static void mapped(void)
{
	volatile const char *map;
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_write_all(fd, "some text", 9, 0);
	CHECK(MARKED("f", {
		map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		CHECK(map != MAP_FAILED);
		CHECK_EQ(map[5], 't');
	}));
	OK(close(fd));
}

const struct posix_case atime_cases[] = {
	{ "atime_file", "mount(8) relatime: the first read after a change marks atime", of_file },
	{ "atime_untouched", "open(2) O_NOATIME; what is no read marks nothing", untouched },
	{ "atime_far", "mount(8) relatime: wherever the file is read, its end too", far },
	{ "atime_directory", "mount(8) relatime: readdir", of_directory },
	{ "atime_symlink", "mount(8) relatime: readlink, and who follows one", of_symlink },
	{ "atime_map", "mmap(2): a private or shared map of what was changed marks atime", mapped },
	{ 0 },
};
