/* open(2) O_TMPFILE, and the names that linkat(2) gives later. */
#include "posix.h"

#include <sys/xattr.h>

static int make(const char *dir, int flags, mode_t mode)
{
	int fd = open(dir, O_TMPFILE | flags, mode);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		posix_skip("no O_TMPFILE here");
	return (int)OK(fd);
}

static int name_by_proc(int fd, const char *path)
{
	char proc[64];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static void named(void)
{
	struct stat st;
	char value[8];
	int fd;

	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	fd = make("a", O_RDWR, 0640);
	posix_write_all(fd, "text", 4, 0);
	OK(fsetxattr(fd, "user.x", "1", 1, 0));
	OK(fchmod(fd, 0600));
	/* AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH. */
	OK(linkat(fd, "", AT_FDCWD, "b/f", AT_EMPTY_PATH));
	FAILS(EEXIST, linkat(fd, "", AT_FDCWD, "b/f", AT_EMPTY_PATH));
	CHECK(strcmp(posix_text("b/f"), "text") == 0);
	CHECK_EQ(OK(getxattr("b/f", "user.x", value, sizeof(value))), 1);
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_nlink, 1);
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	/* One more, as of any file. */
	OK(name_by_proc(fd, "a/g"));
	OK(link("a/g", "h"));
	CHECK_EQ(posix_stat("h").st_nlink, 3);
	CHECK_EQ(posix_stat("h").st_ino, st.st_ino);
	OK(close(fd));
	CHECK(strcmp(posix_text("h"), "text") == 0);
}

/* What has lost its last name gets none again. */
static void once(void)
{
	int fd = make(".", O_RDWR, 0600);

	OK(name_by_proc(fd, "f"));
	OK(unlink("f"));
	FAILS(ENOENT, name_by_proc(fd, "f"));
	FAILS(ENOENT, linkat(fd, "", AT_FDCWD, "f", AT_EMPTY_PATH));
	OK(close(fd));
	fd = make(".", O_RDWR | O_EXCL, 0600);
	posix_write_all(fd, "text", 4, 0);
	FAILS(ENOENT, name_by_proc(fd, "f"));
	FAILS(ENOENT, linkat(fd, "", AT_FDCWD, "f", AT_EMPTY_PATH));
	OK(close(fd));
	posix_make("f", "");
	fd = (int)OK(open("f", O_RDWR));
	OK(unlink("f"));
	FAILS(ENOENT, name_by_proc(fd, "f"));
	OK(close(fd));
}

static void owner(void)
{
	struct stat st;
	int fd;

	OK(mkdir("d", 0755));
	OK(chown("d", USER, OTHER));
	OK(chmod("d", 02777));
	OK(mkdir("closed", 0755));
	OK(umask(027));
	fd = make("d", O_RDWR, 0666);
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	CHECK_EQ(st.st_uid, 0);
	CHECK_EQ(st.st_gid, OTHER);
	OK(close(fd));
	AS_USER(USER, USER)
	{
		fd = make("d", O_RDWR, 0600);
		OK(fstat(fd, &st));
		CHECK_EQ(st.st_uid, USER);
		CHECK_EQ(st.st_gid, OTHER);
		OK(name_by_proc(fd, "d/mine"));
		FAILS(EACCES, open("closed", O_TMPFILE | O_RDWR, 0600));
	}
	CHECK_EQ(posix_stat("d/mine").st_uid, USER);
	OK(rmdir("closed"));
	FAILS(ENOENT, open("closed", O_TMPFILE | O_RDWR, 0600));
	posix_make("f", "");
	FAILS(ENOTDIR, open("f", O_TMPFILE | O_RDWR, 0600));
}

/* Nothing shows in the directory; it is there as long as somebody has it open. */
static void unseen(void)
{
	struct stat before, after, st;
	char proc[64], text[16];
	int fd, again;

	OK(mkdir("d", 0755));
	before = posix_stat("d");
	posix_wait_tick();
	fd = make("d", O_RDWR, 0600);
	after = posix_stat("d");
	CHECK_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	CHECK_EQ(before.st_size, after.st_size);
	posix_write_all(fd, "text", 4, 0);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	again = (int)OK(open(proc, O_RDONLY));
	OK(rmdir("d"));
	OK(close(fd));
	CHECK_EQ(OK(read(again, text, sizeof(text))), 4);
	OK(fstat(again, &st));
	CHECK_EQ(st.st_nlink, 0);
	OK(close(again));
}

const struct posix_case tmpfile_cases[] = {
	{ "tmpfile_named", "open(2) O_TMPFILE: linkat by AT_EMPTY_PATH and by /proc", named },
	{ "tmpfile_once", "open(2) O_TMPFILE, linkat(2): ENOENT with O_EXCL, and without links",
	  once },
	{ "tmpfile_owner", "open(2) O_TMPFILE: owner, group and mode; EACCES, ENOENT, ENOTDIR",
	  owner },
	{ "tmpfile_unseen", "open(2) O_TMPFILE: the directory does not change", unseen },
	{ 0 },
};
