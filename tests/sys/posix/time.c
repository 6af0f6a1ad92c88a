/* Which operation marks which time; utimensat(2). */
#include "posix.h"

#include <sys/time.h>
#include <sys/xattr.h>
#include <time.h>

enum { M = 1, C = 2 };

static bool is_later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static int marked(const struct stat *before, const struct stat *after)
{
	CHECK(!is_later(before->st_mtim, after->st_mtim));
	CHECK(!is_later(before->st_ctim, after->st_ctim));
	return (is_later(after->st_mtim, before->st_mtim) ? M : 0) |
	       (is_later(after->st_ctim, before->st_ctim) ? C : 0);
}

/* The operation must mark exactly @times of @path. */
#define MARKS(times, path, operation) \
	do { \
		struct stat before_ = posix_lstat(path), after_; \
		posix_wait_tick(); \
		operation; \
		after_ = posix_lstat(path); \
		CHECK_EQ(marked(&before_, &after_), times); \
	} while (0)

static void of_new(void)
{
	struct timespec before, after;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &before);
	before.tv_sec--;
	posix_make("f", "");
	clock_gettime(CLOCK_REALTIME, &after);
	after.tv_sec++;
	st = posix_stat("f");
	CHECK(is_later(st.st_mtim, before) && is_later(after, st.st_mtim));
	CHECK(is_later(st.st_ctim, before) && is_later(after, st.st_ctim));
	CHECK(is_later(st.st_atim, before) && is_later(after, st.st_atim));
}

static void of_parent(void)
{
	OK(mkdir("d", 0755));
	MARKS(M | C, "d", posix_make("d/f", ""));
	MARKS(M | C, "d", OK(mkdir("d/e", 0755)));
	MARKS(M | C, "d", OK(symlink("x", "d/l")));
	MARKS(M | C, "d", OK(link("d/f", "d/g")));
	MARKS(M | C, "d", OK(mknod("d/p", S_IFIFO | 0644, 0)));
	MARKS(M | C, "d", OK(unlink("d/f")));
	MARKS(M | C, "d", OK(rmdir("d/e")));
	MARKS(M | C, "d", OK(rename("d/g", "d/h")));
	MARKS(M | C, "d", OK(rename("d/h", "out")));
	MARKS(M | C, "d", OK(rename("out", "d/in")));
	MARKS(0, "d", posix_make("d/in", "more"));
	MARKS(0, "d", OK(chmod("d/in", 0600)));
	MARKS(0, "d", posix_text("d/in"));
	MARKS(0, "d", (void)mkdir("d/in", 0755));
	MARKS(0, "d", (void)unlink("d/none"));
}

static void of_file(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	MARKS(M | C, "f", OK(write(fd, "abc", 3)));
	MARKS(M | C, "f", OK(pwrite(fd, "b", 1, 0)));
	MARKS(0, "f", OK(write(fd, "", 0)));
	MARKS(M | C, "f", OK(ftruncate(fd, 1)));
	MARKS(M | C, "f", OK(ftruncate(fd, 1)));
	MARKS(M | C, "f", OK(open("f", O_WRONLY | O_TRUNC)));
	MARKS(C, "f", OK(fchmod(fd, 0600)));
	MARKS(C, "f", OK(fchown(fd, USER, USER)));
	MARKS(C, "f", OK(link("f", "g")));
	MARKS(C, "f", OK(unlink("g")));
	MARKS(C, "f", OK(setxattr("f", "user.x", "1", 1, 0)));
	MARKS(C, "f", OK(removexattr("f", "user.x")));
	MARKS(C, "f", OK(rename("f", "h")); OK(rename("h", "f")));
	MARKS(0, "f", posix_text("f"));
	MARKS(0, "f", OK(fsync(fd)));
	MARKS(0, "f", (void)link("f", "f"));
	posix_write_all(fd, "0123456789", 10, 0);
	MARKS(M | C, "f", OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3)));
	MARKS(M | C, "f", OK(write(fd, "z", 1)));
}

static void of_directory(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	MARKS(C, "d", OK(chmod("d", 0700)));
	MARKS(C, "d", OK(chown("d", USER, USER)));
	MARKS(C, "d", OK(setxattr("d", "user.x", "1", 1, 0)));
	/* The contents of the parents change, not those of what moves. */
	MARKS(0, "d", OK(mkdir("e/x", 0755)));
	MARKS(M | C, "e", OK(rename("d", "e/d")));
	MARKS(M | C, ".", OK(rename("e/d", "d")));
}

static void replaced(void)
{
	int fd;
	struct stat a, b;

	posix_make("a", "A");
	posix_make("b", "B");
	OK(link("b", "b2"));
	fd = (int)OK(open("b", O_RDONLY));
	OK(fstat(fd, &a));
	posix_wait_tick();
	OK(rename("a", "b"));
	OK(fstat(fd, &b));
	CHECK_EQ(marked(&a, &b), C);
}

static void set(void)
{
	struct timespec t[2] = { { .tv_sec = 100, .tv_nsec = 123456789 },
				 { .tv_sec = 200, .tv_nsec = 987654321 } };
	struct stat st;

	posix_make("f", "");
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = posix_stat("f");
	CHECK_EQ(st.st_atim.tv_sec, 100);
	CHECK_EQ(st.st_atim.tv_nsec, 123456789);
	CHECK_EQ(st.st_mtim.tv_sec, 200);
	CHECK_EQ(st.st_mtim.tv_nsec, 987654321);
	CHECK(st.st_ctim.tv_sec > 1000000);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_sec = 300;
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = posix_stat("f");
	CHECK_EQ(st.st_atim.tv_sec, 100);
	CHECK_EQ(st.st_mtim.tv_sec, 300);
	t[1].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = posix_stat("f");
	CHECK_EQ(st.st_atim.tv_sec, 100);
	CHECK(st.st_mtim.tv_sec >= time(NULL) - 5 && st.st_mtim.tv_sec <= time(NULL) + 5);
	OK(utimensat(AT_FDCWD, "f", NULL, 0));
	CHECK(posix_stat("f").st_atim.tv_sec > 1000000);
	t[0].tv_nsec = t[1].tv_nsec = UTIME_OMIT;
	MARKS(0, "f", OK(utimensat(AT_FDCWD, "f", t, 0)));
	t[0].tv_nsec = 1000000000;
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", t, 0));
	FAILS(ENOENT, utimensat(AT_FDCWD, "g", NULL, 0));
}

static void set_far(void)
{
	struct timespec t[2] = { { .tv_sec = -1000, .tv_nsec = 5 },
				 { .tv_sec = 4102444800, .tv_nsec = 7 } };
	struct stat st;

	posix_make("f", "");
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = posix_stat("f");
	CHECK_EQ(st.st_atim.tv_sec, -1000);
	CHECK_EQ(st.st_atim.tv_nsec, 5);
	CHECK_EQ(st.st_mtim.tv_sec, 4102444800);
	CHECK_EQ(st.st_mtim.tv_nsec, 7);
	OK(mkdir("d", 0755));
	OK(utimensat(AT_FDCWD, "d", t, 0));
	CHECK_EQ(posix_stat("d").st_mtim.tv_sec, 4102444800);
}

/* What a file system cannot keep becomes the nearest that it can, as vfs does with s_time_max. */
static void set_beyond(void)
{
	static const time_t far[] = { -2147483648, 4294967296, 9223372036, 15032385535 };
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT } };
	time_t last = INT64_MIN;

	posix_make("f", "");
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		time_t got;

		t[1].tv_sec = far[i];
		OK(utimensat(AT_FDCWD, "f", t, 0));
		got = posix_stat("f").st_mtim.tv_sec;
		if (i < 3)
			CHECK_EQ(got, far[i]);
		CHECK(got <= far[i] && got >= last);
		last = got;
	}
	t[1].tv_sec = -99999999999;
	OK(utimensat(AT_FDCWD, "f", t, 0));
	last = posix_stat("f").st_mtim.tv_sec;
	CHECK(last >= -99999999999 && last <= -2147483648);
}

static void set_symlink(void)
{
	struct timespec t[2] = { { .tv_sec = 100 }, { .tv_sec = 200 } };

	posix_make("f", "");
	OK(symlink("f", "l"));
	OK(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
	CHECK_EQ(posix_lstat("l").st_mtim.tv_sec, 200);
	CHECK(posix_stat("f").st_mtim.tv_sec != 200);
	OK(utimensat(AT_FDCWD, "l", t, 0));
	CHECK_EQ(posix_stat("f").st_mtim.tv_sec, 200);
}

static void set_permission(void)
{
	struct timespec t[2] = { { .tv_sec = 100 }, { .tv_sec = 200 } };

	posix_make("f", "");
	posix_make("w", "");
	OK(chmod("w", 0666));
	posix_make("mine", "");
	OK(chown("mine", USER, USER));
	OK(chmod("mine", 0400));
	AS_USER(USER, USER)
	{
		FAILS(EPERM, utimensat(AT_FDCWD, "f", t, 0));
		FAILS(EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
		FAILS(EPERM, utimensat(AT_FDCWD, "w", t, 0));
		OK(utimensat(AT_FDCWD, "w", NULL, 0));
		OK(utimensat(AT_FDCWD, "mine", t, 0));
	}
}

static void birth(void)
{
	struct statx a, b;

	posix_make("f", "");
	OK(statx(AT_FDCWD, "f", 0, STATX_BTIME | STATX_BASIC_STATS, &a));
	if (!(a.stx_mask & STATX_BTIME))
		posix_skip("no time of birth here");
	CHECK(a.stx_btime.tv_sec >= time(NULL) - 5);
	posix_wait_tick();
	posix_make("f", "text");
	OK(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_BTIME | STATX_BASIC_STATS, &b));
	CHECK_EQ(a.stx_btime.tv_sec, b.stx_btime.tv_sec);
	CHECK_EQ(a.stx_btime.tv_nsec, b.stx_btime.tv_nsec);
	CHECK_EQ(b.stx_size, 4);
}

/* A time never runs behind one that was seen before. */
static void forward(void)
{
	struct stat last, now;

	posix_make("f", "");
	last = posix_stat("f");
	for (unsigned i = 0; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof(name), "g%u", i);
		posix_make(name, "x");
		now = posix_stat(name);
		CHECK(!is_later(last.st_ctim, now.st_ctim));
		last = now;
	}
}

const struct posix_case time_cases[] = {
	{ "time_new", "creat marks all times of the file", of_new },
	{ "time_parent", "what changes entries marks mtime and ctime of the directory", of_parent },
	{ "time_file", "write, truncate: mtime and ctime; chmod, link, setxattr: ctime", of_file },
	{ "time_directory", "times of a directory", of_directory },
	{ "time_replaced", "rename marks ctime of what it replaces", replaced },
	{ "time_set", "utimensat(2): values, UTIME_NOW, UTIME_OMIT", set },
	{ "time_set_far", "utimensat(2): before 1970, after 2038", set_far },
	{ "time_set_beyond", "utimensat(2): 1901, 2106, 2262, 2446", set_beyond },
	{ "time_set_symlink", "utimensat(2): AT_SYMLINK_NOFOLLOW", set_symlink },
	{ "time_set_permission", "utimensat(2): EPERM, EACCES", set_permission },
	{ "time_birth", "statx(2): stx_btime never changes", birth },
	{ "time_forward", "later operations have later times", forward },
	{ 0 },
};
