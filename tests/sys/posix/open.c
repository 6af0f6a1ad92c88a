/* open(2), creat, O_TMPFILE, unlinked files. */
#include "posix.h"

static void missing(void)
{
	FAILS(ENOENT, open("f", O_RDONLY));
	FAILS(ENOENT, open("d/f", O_RDWR | O_CREAT, 0644));
	FAILS(ENOENT, open("", O_RDONLY));
	posix_make("f", "x");
	FAILS(ENOTDIR, open("f/g", O_RDONLY));
	FAILS(ENOTDIR, open("f/g", O_WRONLY | O_CREAT, 0644));
}

static void creat_mode(void)
{
	struct stat st;
	int fd;

	umask(027);
	fd = (int)OK(open("f", O_CREAT | O_WRONLY, 0666));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	CHECK_EQ(st.st_nlink, 1);
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_uid, geteuid());
	CHECK_EQ(st.st_gid, getegid());
	OK(close(fd));
	/* The mode of one that exists is left alone. */
	fd = (int)OK(open("f", O_CREAT | O_WRONLY, 0777));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	umask(0);
	OK(open("g", O_CREAT | O_WRONLY, 07777));
	CHECK_EQ(posix_stat("g").st_mode & 0777, 0777);
}

static void excl(void)
{
	posix_make("f", "x");
	FAILS(EEXIST, open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
	OK(symlink("nowhere", "l"));
	FAILS(EEXIST, open("l", O_CREAT | O_EXCL | O_WRONLY, 0644));
	CHECK(!posix_exists("nowhere"));
	OK(mkdir("d", 0755));
	FAILS(EEXIST, open("d", O_CREAT | O_EXCL | O_RDONLY, 0644));
	OK(open("l", O_CREAT | O_WRONLY, 0644));
	CHECK(posix_exists("nowhere"));
	OK(unlink("f"));
	OK(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static void trunc_existing(void)
{
	struct stat before, after;
	int fd;

	posix_make("f", "some text");
	before = posix_stat("f");
	posix_wait_tick();
	fd = (int)OK(open("f", O_WRONLY | O_TRUNC));
	OK(fstat(fd, &after));
	CHECK_EQ(after.st_size, 0);
	CHECK_EQ(after.st_blocks, 0);
	CHECK_EQ(after.st_ino, before.st_ino);
	CHECK(after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
	      after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
	posix_write_all(fd, "abc", 3, 0);
	CHECK(strcmp(posix_text("f"), "abc") == 0);
	/* Through another descriptor that is open. */
	OK(open("f", O_WRONLY | O_CREAT | O_TRUNC, 0644));
	OK(fstat(fd, &after));
	CHECK_EQ(after.st_size, 0);
}

static void append(void)
{
	char buf[32];
	int a, b;

	posix_make("f", "0123");
	a = (int)OK(open("f", O_RDWR | O_APPEND));
	b = (int)OK(open("f", O_WRONLY | O_APPEND));
	OK(lseek(a, 0, SEEK_SET));
	CHECK_EQ(OK(write(a, "45", 2)), 2);
	CHECK_EQ(OK(lseek(a, 0, SEEK_CUR)), 6);
	CHECK_EQ(OK(write(b, "67", 2)), 2);
	CHECK_EQ(OK(write(a, "89", 2)), 2);
	/* Linux: pwrite(2), BUGS: with O_APPEND the offset does not matter. */
	CHECK_EQ(OK(pwrite(a, "x", 1, 0)), 1);
	CHECK(strcmp(posix_text("f"), "0123456789x") == 0);
	OK(lseek(a, 0, SEEK_SET));
	CHECK_EQ(OK(read(a, buf, sizeof(buf))), 11);
	OK(ftruncate(b, 2));
	CHECK_EQ(OK(write(a, "z", 1)), 1);
	CHECK(strcmp(posix_text("f"), "01z") == 0);
}

static void directory(void)
{
	char buf[8];
	int fd;

	OK(mkdir("d", 0755));
	posix_make("f", "x");
	FAILS(EISDIR, open("d", O_WRONLY));
	FAILS(EISDIR, open("d", O_RDWR));
	FAILS(EISDIR, open("d", O_RDONLY | O_CREAT, 0644));
	FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
	FAILS(EISDIR, read(fd, buf, sizeof(buf)));
	FAILS(EINVAL, ftruncate(fd, 0));
	OK(openat(fd, "g", O_WRONLY | O_CREAT, 0644));
	CHECK(posix_exists("d/g"));
	FAILS(ENOTDIR, openat((int)OK(open("f", O_RDONLY)), "g", O_RDONLY));
}

static void nofollow(void)
{
	posix_make("f", "x");
	OK(symlink("f", "l"));
	FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
	OK(open("f", O_RDONLY | O_NOFOLLOW));
	OK(open("l", O_PATH | O_NOFOLLOW));
}

static void access_modes(void)
{
	char c;
	int fd;

	posix_make("f", "x");
	fd = (int)OK(open("f", O_RDONLY));
	FAILS(EBADF, write(fd, "y", 1));
	FAILS_EITHER(EINVAL, EBADF, ftruncate(fd, 0));
	fd = (int)OK(open("f", O_WRONLY));
	FAILS(EBADF, read(fd, &c, 1));
	OK(write(fd, "y", 1));
	/* Who creates a file may write it through that descriptor, whatever its mode. */
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("g", O_CREAT | O_WRONLY, 0444));
	}
	OK(mkdir("d", 0777));
	OK(chmod("d", 0777));
	AS_USER(USER, USER)
	{
		fd = (int)OK(open("d/g", O_CREAT | O_RDWR, 0));
		OK(write(fd, "y", 1));
		FAILS(EACCES, open("d/g", O_RDONLY));
	}
	CHECK_EQ(posix_stat("d/g").st_uid, USER);
	CHECK_EQ(posix_stat("d/g").st_gid, USER);
}

static void path_only(void)
{
	struct stat st;
	char c;
	int fd;

	posix_make("f", "x");
	fd = (int)OK(open("f", O_PATH));
	FAILS(EBADF, read(fd, &c, 1));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_ino, posix_stat("f").st_ino);
	OK(unlink("f"));
	/* It is no opening of the file; over FUSE nobody keeps the file for it. */
	if (posix_differs("removed") && fstat(fd, &st) < 0)
		CHECK_EQ(errno, ESTALE);
	else
		CHECK_EQ(OK(fstat(fd, &st)) + (long)st.st_nlink, 0);
}

static void tmpfile_link(void)
{
	struct stat st;
	char proc[64];
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		posix_skip("no O_TMPFILE here");
	OK(fd);
	posix_write_all(fd, "hidden", 6, 0);
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(st.st_size, 6);
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, proc, AT_FDCWD, "f", AT_SYMLINK_FOLLOW));
	CHECK(strcmp(posix_text("f"), "hidden") == 0);
	CHECK_EQ(posix_stat("f").st_nlink, 1);
	CHECK_EQ(posix_stat("f").st_ino, st.st_ino);
	fd = (int)OK(open(".", O_TMPFILE | O_WRONLY | O_EXCL, 0600));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	FAILS(ENOENT, linkat(AT_FDCWD, proc, AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
}

static void sync_flags(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR | O_SYNC, 0644));

	posix_write_all(fd, "abcdef", 6, 0);
	OK(close(fd));
	fd = (int)OK(open("f", O_RDWR | O_DSYNC));
	posix_write_all(fd, "XY", 2, 2);
	CHECK(strcmp(posix_text("f"), "abXYef") == 0);
}

static void unlinked(void)
{
	char *buf = malloc(1 << 20), *back = malloc(1 << 20);
	struct stat st;
	int fd, again;

	CHECK(buf && back);
	fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	posix_pattern(buf, 1 << 20, 0, 1);
	posix_write_all(fd, buf, 1 << 20, 0);
	OK(unlink("f"));
	CHECK(!posix_exists("f"));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(st.st_size, 1 << 20);
	posix_read_all(fd, back, 1 << 20, 0);
	CHECK(memcmp(buf, back, 1 << 20) == 0);
	/* It can still be written, grown and cut; the name is free for another. */
	posix_write_all(fd, "tail", 4, 3 << 20);
	OK(ftruncate(fd, (3 << 20) + 2));
	posix_make("f", "new");
	OK(fstat(fd, &st));
	CHECK(st.st_ino != posix_stat("f").st_ino);
	posix_read_all(fd, back, 2, 3 << 20);
	CHECK(memcmp(back, "ta", 2) == 0);
	OK(fchmod(fd, 0600));
	OK(fsync(fd));
	snprintf(back, 64, "/proc/self/fd/%d", fd);
	again = (int)OK(open(back, O_RDONLY));
	OK(close(fd));
	OK(fstat(again, &st));
	CHECK_EQ(st.st_size, (3 << 20) + 2);
	posix_read_all(again, back, 2, 3 << 20);
	OK(close(again));
	CHECK(strcmp(posix_text("f"), "new") == 0);
}

static void trailing_slash(void)
{
	posix_make("f", "x");
	OK(mkdir("d", 0755));
	FAILS(ENOTDIR, open("f/", O_RDONLY));
	FAILS(EISDIR, open("g/", O_CREAT | O_WRONLY, 0644));
	OK(open("d/", O_RDONLY));
	OK(open("d/.", O_RDONLY));
	OK(open("d/..//f", O_RDONLY));
}

static void creat_unreadable(void)
{
	posix_make("f", "x");
	OK(chmod("f", 0600));
	OK(chmod(".", 0777));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("f", O_RDONLY));
		FAILS(EACCES, open("f", O_CREAT | O_WRONLY, 0644));
		FAILS(EACCES, open("f", O_CREAT | O_RDWR | O_TRUNC, 0644));
		FAILS(EEXIST, open("f", O_CREAT | O_EXCL | O_RDONLY, 0644));
	}
	CHECK(strcmp(posix_text("f"), "x") == 0);
}

static void reopen_many(void)
{
	int fds[200];

	posix_make("f", "hello");
	for (int i = 0; i < 200; i++)
		fds[i] = (int)OK(open("f", i % 2 ? O_RDONLY : O_RDWR));
	OK(unlink("f"));
	for (int i = 0; i < 200; i++) {
		char buf[5];

		posix_read_all(fds[i], buf, 5, 0);
		CHECK(memcmp(buf, "hello", 5) == 0);
		OK(close(fds[i]));
	}
}

const struct posix_case open_cases[] = {
	{ "open_missing", "open(2): ENOENT, ENOTDIR", missing },
	{ "open_creat_mode", "open(2): mode & ~umask, only when created", creat_mode },
	{ "open_excl", "open(2): O_CREAT|O_EXCL fails with EEXIST, also on a symlink", excl },
	{ "open_trunc", "open(2): O_TRUNC makes the length 0 and keeps the inode", trunc_existing },
	{ "open_append", "write(2): with O_APPEND the offset is first set to the end", append },
	{ "open_directory", "open(2): EISDIR, ENOTDIR; read(2): EISDIR", directory },
	{ "open_nofollow", "open(2): O_NOFOLLOW of a symlink is ELOOP", nofollow },
	{ "open_access_modes", "open(2): the access mode binds the descriptor", access_modes },
	{ "open_path", "open(2): O_PATH", path_only },
	{ "open_tmpfile", "open(2): O_TMPFILE, then linkat", tmpfile_link },
	{ "open_sync", "open(2): O_SYNC, O_DSYNC", sync_flags },
	{ "open_unlinked", "unlink(2): an open file lives until its last close", unlinked },
	{ "open_trailing_slash", "path_resolution(7): a trailing slash means a directory",
	  trailing_slash },
	{ "open_unreadable", "open(2): EACCES; an existing file is not touched", creat_unreadable },
	{ "open_many", "open(2): each open counts", reopen_many },
	{ 0 },
};
