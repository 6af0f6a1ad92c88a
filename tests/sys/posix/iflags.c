/* Inode flags: chattr(1), FS_IOC_SETFLAGS(2const). What they forbid gives EPERM, to root too. */
#include "posix.h"

#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

#include <linux/capability.h>
#include <linux/fs.h>

#define MIB (1024 * 1024)

static unsigned flags_of(const char *path)
{
	int fd = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		posix_skip("no inode flags here");
	OK(close(fd));
	return (unsigned)flags;
}

static int try_flags(const char *path, unsigned flags)
{
	int fd = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
	int value = (int)flags, rc = ioctl(fd, FS_IOC_SETFLAGS, &value), error = errno;

	OK(close(fd));
	errno = error;
	return rc;
}

/* Of what is to be removed afterwards: the runner cannot. */
static void set(const char *path, unsigned add, unsigned take)
{
	OK(try_flags(path, (flags_of(path) | add) & ~take));
}

#define GUARDED(path, flag) \
	for (int go_ = (set(path, flag, 0), 1); go_; go_ = (set(path, 0, flag), 0))

static void round_trip(void)
{
	unsigned before;
	struct fsxattr x;
	int fd;

	posix_make("f", "text");
	before = flags_of("f");
	CHECK_EQ(before & (FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL), 0);
	set("f", FS_NODUMP_FL | FS_NOATIME_FL, 0);
	CHECK_EQ(flags_of("f"), before | FS_NODUMP_FL | FS_NOATIME_FL);
	fd = (int)OK(open("f", O_RDONLY));
	OK(ioctl(fd, FS_IOC_FSGETXATTR, &x));
	CHECK_EQ(x.fsx_xflags & (FS_XFLAG_NODUMP | FS_XFLAG_NOATIME | FS_XFLAG_IMMUTABLE),
		 FS_XFLAG_NODUMP | FS_XFLAG_NOATIME);
	x.fsx_xflags = FS_XFLAG_APPEND;
	OK(ioctl(fd, FS_IOC_FSSETXATTR, &x));
	CHECK_EQ(flags_of("f") & (FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL), FS_APPEND_FL);
	set("f", 0, FS_APPEND_FL);
	OK(close(fd));
	OK(mkdir("d", 0755));
	set("d", FS_NODUMP_FL, 0);
	OK(mkdir("d/e", 0755));
	posix_make("d/f", "");
	CHECK(flags_of("d/e") & FS_NODUMP_FL);
	CHECK(flags_of("d/f") & FS_NODUMP_FL);
	posix_make("g", "");
	CHECK(!(flags_of("g") & FS_NODUMP_FL));
}

static void mark(void)
{
	struct stat a, b;

	posix_make("f", "text");
	flags_of("f");
	a = posix_stat("f");
	posix_wait_tick();
	set("f", FS_NODUMP_FL, 0);
	b = posix_stat("f");
	CHECK(b.st_ctim.tv_sec > a.st_ctim.tv_sec ||
	      (b.st_ctim.tv_sec == a.st_ctim.tv_sec && b.st_ctim.tv_nsec > a.st_ctim.tv_nsec));
	CHECK_EQ(b.st_mtim.tv_nsec, a.st_mtim.tv_nsec);
	/* +A */
	set("f", FS_NOATIME_FL, 0);
	a = posix_stat("f");
	posix_wait_tick();
	posix_text("f");
	b = posix_stat("f");
	CHECK_EQ(a.st_atim.tv_nsec, b.st_atim.tv_nsec);
}

/* What neither an immutable nor an append-only inode lets anybody do. */
static void no_change(const char *path)
{
	struct timespec t[2] = { { .tv_sec = 5 }, { .tv_sec = 6 } };

	FAILS(EPERM, chmod(path, 0600));
	FAILS(EPERM, chown(path, USER, USER));
	FAILS(EPERM, utimensat(AT_FDCWD, path, t, 0));
	t[0].tv_nsec = UTIME_OMIT;
	FAILS(EPERM, utimensat(AT_FDCWD, path, t, 0));
	FAILS(EPERM, setxattr(path, "user.x", "1", 1, 0));
	FAILS(EPERM, removexattr(path, "user.old"));
	FAILS(EPERM, rename(path, "elsewhere"));
	FAILS(EPERM, renameat2(AT_FDCWD, path, AT_FDCWD, "other", RENAME_EXCHANGE));
	FAILS(EPERM, renameat2(AT_FDCWD, "other", AT_FDCWD, path, RENAME_EXCHANGE));
}

static void no_change_of_file(const char *path)
{
	no_change(path);
	FAILS(EPERM, truncate(path, 0));
	FAILS(EPERM, open(path, O_WRONLY));
	FAILS(EPERM, open(path, O_RDWR));
	FAILS(EPERM, open(path, O_RDWR | O_TRUNC));
	FAILS(EPERM, open(path, O_RDWR | O_TRUNC | O_APPEND));
	FAILS(EPERM, link(path, "elsewhere"));
	FAILS(EPERM, unlink(path));
	FAILS(EPERM, rename("other", path));
}

static void immutable_file(void)
{
	struct stat before, after;
	int fd;

	posix_make("f", "text");
	posix_make("other", "");
	OK(setxattr("f", "user.old", "1", 1, 0));
	flags_of("f");
	before = posix_stat("f");
	GUARDED("f", FS_IMMUTABLE_FL)
	{
		CHECK(flags_of("f") & FS_IMMUTABLE_FL);
		no_change_of_file("f");
		FAILS(EPERM, utimensat(AT_FDCWD, "f", NULL, 0));
		FAILS(EPERM, open("f", O_WRONLY | O_APPEND));
		FAILS(EPERM, open("f", O_WRONLY | O_CREAT, 0644));
		CHECK(strcmp(posix_text("f"), "text") == 0);
		fd = (int)OK(open("f", O_RDONLY));
		OK(close(fd));
	}
	after = posix_stat("f");
	CHECK_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	CHECK_EQ(before.st_nlink, after.st_nlink);
	CHECK_EQ(before.st_mode, after.st_mode);
	OK(chmod("f", 0600));
	posix_make("f", "new");
	OK(unlink("f"));
}

/* Who has it open for writing already: ext4 since Linux 5.2. */
static void immutable_open(void)
{
	char *page = calloc(1, 4096);
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	int from = (int)OK(open("from", O_CREAT | O_RDWR, 0644));

	flags_of("f");
	posix_pattern(page, 4096, 0, 1);
	posix_write_all(from, page, 4096, 0);
	for (off_t at = 0; at < 6 * MIB; at += MIB)
		posix_write_all(fd, page, 4096, at);
	GUARDED("f", FS_IMMUTABLE_FL)
	{
		for (off_t at = 0; at <= 7 * MIB; at += MIB)
			FAILS(EPERM, pwrite(fd, "?", 1, at));
		FAILS(EPERM, ftruncate(fd, 100));
		FAILS(EPERM, ftruncate(fd, 100 * MIB));
		FAILS(EPERM, fallocate(fd, 0, 0, 10 * MIB));
		FAILS(EPERM, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
		FAILS(EPERM, copy_file_range(from, &(off_t){ 0 }, fd, &(off_t){ 0 }, 100, 0));
		FAILS(EPERM, fchmod(fd, 0600));
		FAILS(EPERM, fsetxattr(fd, "user.x", "1", 1, 0));
		for (off_t at = 0; at < 6 * MIB; at += MIB) {
			char got[64];

			posix_read_all(fd, got, sizeof(got), at);
			CHECK(memcmp(got, page, sizeof(got)) == 0);
		}
		OK(fsync(fd));
	}
	for (off_t at = 0; at <= 7 * MIB; at += MIB)
		OK(pwrite(fd, "!", 1, at));
	OK(close(fd));
	free(page);
}

static void append_file(void)
{
	int fd;

	posix_make("f", "one");
	posix_make("other", "");
	OK(setxattr("f", "user.old", "1", 1, 0));
	flags_of("f");
	GUARDED("f", FS_APPEND_FL)
	{
		CHECK(flags_of("f") & FS_APPEND_FL);
		no_change_of_file("f");
		OK(utimensat(AT_FDCWD, "f", NULL, 0));
		fd = (int)OK(open("f", O_RDWR | O_APPEND));
		CHECK_EQ(OK(write(fd, "two", 3)), 3);
		CHECK_EQ(OK(pwrite(fd, "three", 5, 0)), 5);
		FAILS(EPERM, ftruncate(fd, 0));
		FAILS(EPERM, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
		OK(close(fd));
		CHECK(strcmp(posix_text("f"), "onetwothree") == 0);
	}
	OK(truncate("f", 1));
	OK(unlink("f"));
}

static void immutable_dir(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("other", 0755));
	OK(setxattr("d", "user.old", "1", 1, 0));
	posix_make("d/f", "text");
	OK(mkdir("d/e", 0755));
	posix_make("out", "");
	flags_of("d");
	GUARDED("d", FS_IMMUTABLE_FL)
	{
		no_change("d");
		FAILS(EPERM, open("d/new", O_CREAT | O_WRONLY, 0644));
		FAILS(EPERM, mkdir("d/new", 0755));
		FAILS(EPERM, symlink("x", "d/new"));
		FAILS(EPERM, mknod("d/new", S_IFIFO | 0644, 0));
		FAILS(EPERM, link("out", "d/new"));
		FAILS(EPERM, rename("out", "d/new"));
		FAILS(EPERM, rename("d/f", "d/new"));
		FAILS(EPERM, rename("d/f", "new"));
		FAILS(EPERM, rename("out", "d/f"));
		FAILS(EPERM, unlink("d/f"));
		FAILS(EPERM, rmdir("d/e"));
		FAILS(EPERM, rmdir("d"));
		FAILS(EPERM, open("d", O_TMPFILE | O_RDWR, 0600));
		FAILS(ENOENT, unlink("d/none"));
		FAILS(EEXIST, mkdir("d/f", 0755));
		/* What is in it is not. */
		posix_make("d/f", "other text");
		OK(chmod("d/f", 0600));
		posix_make("d/e/new", "");
	}
	OK(unlink("d/f"));
}

static void append_dir(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("other", 0755));
	OK(setxattr("d", "user.old", "1", 1, 0));
	posix_make("d/f", "text");
	posix_make("out", "");
	posix_make("in", "");
	flags_of("d");
	GUARDED("d", FS_APPEND_FL)
	{
		no_change("d");
		posix_make("d/new", "");
		OK(mkdir("d/dir", 0755));
		OK(symlink("x", "d/link"));
		OK(link("out", "d/hard"));
		OK(rename("in", "d/moved"));
		FAILS(EPERM, rename("out", "d/f"));
		FAILS(EPERM, rename("d/f", "d/g"));
		FAILS(EPERM, rename("d/f", "g"));
		FAILS(EPERM, unlink("d/new"));
		FAILS(EPERM, rmdir("d/dir"));
		posix_make("d/f", "other text");
	}
	OK(rmdir("d/dir"));
}

/* Directories and files move between places (and shards): all kinds of renames meet the flag. */
static void moved(void)
{
	static const unsigned flags[] = { FS_IMMUTABLE_FL, FS_APPEND_FL };

	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mkdir("a/d", 0755));
	OK(mkdir("b/d", 0755));
	posix_make("a/f", "");
	OK(rename("a/f", "b/f"));
	flags_of("a");
	for (unsigned i = 0; i < 2; i++) {
		GUARDED("b/f", flags[i])
		{
			FAILS(EPERM, rename("b/f", "b/g"));
			FAILS(EPERM, rename("b/f", "a/f"));
			FAILS(EPERM, unlink("b/f"));
			FAILS(EPERM, link("b/f", "a/f"));
		}
		GUARDED("a/d", flags[i])
		{
			FAILS(EPERM, rename("a/d", "a/e"));
			FAILS(EPERM, rename("a/d", "b/e"));
			FAILS(EPERM, rename("a/d", "b/d"));
			FAILS(EPERM, rename("b/d", "a/d"));
			FAILS(EPERM, rmdir("a/d"));
		}
	}
	OK(rename("b/f", "a/f"));
	OK(rename("a/d", "b/d"));
}

static void drop_capability(unsigned cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	extern int capget(struct __user_cap_header_struct *, struct __user_cap_data_struct *);
	extern int capset(struct __user_cap_header_struct *, struct __user_cap_data_struct *);

	OK(capget(&head, data));
	data[cap / 32].effective &= ~(1u << cap % 32);
	OK(capset(&head, data));
}

static void permission(void)
{
	posix_make("mine", "");
	OK(chown("mine", USER, USER));
	posix_make("f", "");
	flags_of("f");
	AS_USER(USER, USER)
	{
		unsigned flags = flags_of("mine");

		OK(try_flags("mine", flags | FS_NODUMP_FL));
		FAILS(EPERM, try_flags("mine", flags | FS_IMMUTABLE_FL));
		FAILS(EPERM, try_flags("mine", flags | FS_APPEND_FL));
		FAILS_EITHER(EPERM, EACCES, try_flags("f", flags | FS_NODUMP_FL));
	}
	set("mine", FS_APPEND_FL, 0);
	AS_USER(USER, USER)
	{
		FAILS(EPERM, try_flags("mine", flags_of("mine") & ~(unsigned)FS_APPEND_FL));
	}
	set("mine", 0, FS_APPEND_FL);
	IN_CHILD()
	{
		drop_capability(CAP_LINUX_IMMUTABLE);
		FAILS(EPERM, try_flags("f", FS_IMMUTABLE_FL));
	}
}

static void unknown(void)
{
	int fd, value = 0;

	posix_make("f", "");
	flags_of("f");
	FAILS_EITHER(EOPNOTSUPP, EINVAL, try_flags("f", FS_NOCOW_FL));
	fd = (int)OK(open("f", O_RDONLY));
	FAILS(ENOTTY, ioctl(fd, _IOR('f', 99, int), &value));
	OK(close(fd));
}

const struct posix_case iflags_cases[] = {
	{ "iflags_set", "FS_IOC_SETFLAGS(2const), FSSETXATTR: set, read, inherited", round_trip },
	{ "iflags_times", "chattr marks ctime; chattr(1) +A", mark },
	{ "iflags_immutable", "chattr(1) +i of a file: EPERM of every change", immutable_file },
	{ "iflags_immutable_open", "chattr(1) +i of a file that is open", immutable_open },
	{ "iflags_append", "chattr(1) +a of a file: appends only", append_file },
	{ "iflags_immutable_dir", "chattr(1) +i of a directory", immutable_dir },
	{ "iflags_append_dir", "chattr(1) +a of a directory: new entries only", append_dir },
	{ "iflags_moved", "rename(2): EPERM for what is immutable or append-only", moved },
	{ "iflags_permission", "capabilities(7) CAP_LINUX_IMMUTABLE; owner", permission },
	{ "iflags_unknown", "ioctl(2): ENOTTY; flags that there are not", unknown },
	{ 0 },
};
