/* rename(2), renameat2(2). */
#include "posix.h"

static int rename2(const char *from, const char *to, unsigned flags)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void files(void)
{
	ino_t ino;

	posix_make("a", "A");
	ino = posix_stat("a").st_ino;
	OK(rename("a", "b"));
	CHECK(!posix_exists("a"));
	CHECK_EQ(posix_stat("b").st_ino, ino);
	posix_make("a", "A2");
	OK(rename("a", "b"));
	CHECK(strcmp(posix_text("b"), "A2") == 0);
	OK(mkdir("d", 0755));
	OK(rename("b", "d/c"));
	CHECK(!posix_exists("b"));
	CHECK(strcmp(posix_text("d/c"), "A2") == 0);
	posix_make("x", "X");
	OK(rename("d/c", "x"));
	CHECK(strcmp(posix_text("x"), "A2") == 0);
	OK(rename("x", "x"));
	CHECK(strcmp(posix_text("x"), "A2") == 0);
	OK(rmdir("d"));
}

static void same_inode(void)
{
	posix_make("a", "A");
	OK(link("a", "b"));
	OK(rename("a", "b"));
	CHECK(posix_exists("a") && posix_exists("b"));
	CHECK_EQ(posix_stat("a").st_nlink, 2);
	OK(mkdir("d", 0755));
	OK(link("a", "d/c"));
	OK(rename("a", "d/c"));
	CHECK_EQ(posix_stat("a").st_nlink, 3);
}

static void replaced_links(void)
{
	int fd;
	struct stat st;
	char c;

	posix_make("a", "A");
	posix_make("b", "B");
	OK(link("b", "b2"));
	fd = (int)OK(open("b", O_RDONLY));
	OK(rename("a", "b"));
	CHECK_EQ(posix_stat("b2").st_nlink, 1);
	OK(unlink("b2"));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_nlink, 0);
	posix_read_all(fd, &c, 1, 0);
	CHECK_EQ(c, 'B');
}

static void directories(void)
{
	ino_t ino;

	OK(mkdir("a", 0755));
	OK(mkdir("p", 0755));
	OK(mkdir("q", 0755));
	posix_make("a/f", "deep");
	ino = posix_stat("a").st_ino;
	OK(rename("a", "b"));
	CHECK_EQ(posix_stat("b").st_ino, ino);
	OK(rename("b", "p/c"));
	CHECK(strcmp(posix_text("p/c/f"), "deep") == 0);
	CHECK_EQ(posix_stat("p/c/..").st_ino, posix_stat("p").st_ino);
	CHECK_EQ(posix_stat("p").st_nlink, 3);
	OK(rename("p/c", "q/c"));
	CHECK_EQ(posix_stat("p").st_nlink, 2);
	CHECK_EQ(posix_stat("q").st_nlink, 3);
	CHECK_EQ(posix_stat("q/c/..").st_ino, posix_stat("q").st_ino);
	OK(rename("q", "p/q"));
	CHECK(strcmp(posix_text("p/q/c/f"), "deep") == 0);
	OK(rename("p/q/c", "c/"));
	CHECK(strcmp(posix_text("c/f"), "deep") == 0);
	OK(unlink("c/f"));
	OK(rmdir("c"));
	OK(rmdir("p/q"));
	OK(rmdir("p"));
}

static void over_directory(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mkdir("full", 0755));
	posix_make("full/f", "");
	posix_make("a/in", "a");
	OK(rename("a", "b"));
	CHECK(!posix_exists("a"));
	CHECK(strcmp(posix_text("b/in"), "a") == 0);
	FAILS_EITHER(ENOTEMPTY, EEXIST, rename("b", "full"));
	CHECK(posix_exists("full/f") && posix_exists("b/in"));
	OK(mkdir("p", 0755));
	OK(mkdir("p/e", 0755));
	CHECK_EQ(posix_stat("p").st_nlink, 3);
	OK(rename("b", "p/e"));
	CHECK_EQ(posix_stat("p").st_nlink, 3);
	CHECK(posix_exists("p/e/in"));
}

static void kinds(void)
{
	OK(mkdir("d", 0755));
	posix_make("f", "");
	FAILS(EISDIR, rename("f", "d"));
	FAILS(ENOTDIR, rename("d", "f"));
	OK(symlink("d", "l"));
	FAILS(ENOTDIR, rename("d", "l"));
	FAILS(EISDIR, rename("l", "d"));
	OK(rename("f", "l"));
	CHECK(S_ISREG(posix_lstat("l").st_mode));
	OK(symlink("gone", "m"));
	OK(rename("m", "n"));
	CHECK(S_ISLNK(posix_lstat("n").st_mode));
}

static void into_itself(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(mkdir("a/b/c", 0755));
	FAILS(EINVAL, rename("a", "a/x"));
	FAILS(EINVAL, rename("a", "a/b/c/x"));
	FAILS(EINVAL, rename("a", "a/b/c"));
	FAILS_EITHER(ENOTEMPTY, EEXIST, rename("a/b/c", "a"));
	OK(rename("a", "a"));
	CHECK(posix_exists("a/b/c"));
}

static void errors(void)
{
	posix_make("f", "");
	OK(mkdir("d", 0755));
	FAILS(ENOENT, rename("x", "y"));
	FAILS(ENOENT, rename("f", "x/y"));
	FAILS(ENOENT, rename("", "y"));
	FAILS(ENOENT, rename("f", ""));
	FAILS(ENOTDIR, rename("f/x", "y"));
	FAILS(ENOTDIR, rename("f", "f/y"));
	FAILS(ENOTDIR, rename("f", "g/"));
	FAILS_EITHER(EBUSY, EINVAL, rename("d/.", "e"));
	FAILS_EITHER(EBUSY, EINVAL, rename("d/..", "e"));
	FAILS_EITHER(EBUSY, EINVAL, rename("f", "."));
	FAILS(EXDEV, rename("f", "/dev/claudefs-never"));
	FAILS(EINVAL, rename2("f", "g", RENAME_NOREPLACE | RENAME_EXCHANGE));
	CHECK(posix_exists("f") && posix_exists("d"));
}

static void noreplace(void)
{
	posix_make("a", "A");
	posix_make("b", "B");
	OK(mkdir("d", 0755));
	FAILS(EEXIST, rename2("a", "b", RENAME_NOREPLACE));
	FAILS(EEXIST, rename2("a", "d", RENAME_NOREPLACE));
	FAILS(EEXIST, rename2("d", "a", RENAME_NOREPLACE));
	FAILS(ENOENT, rename2("x", "y", RENAME_NOREPLACE));
	OK(rename2("a", "c", RENAME_NOREPLACE));
	OK(rename2("c", "d/c", RENAME_NOREPLACE));
	CHECK(strcmp(posix_text("d/c"), "A") == 0);
	CHECK(strcmp(posix_text("b"), "B") == 0);
}

static void whiteout(void)
{
	struct stat st;

	posix_make("a", "A");
	if (posix_differs("whiteout")) {
		FAILS(EINVAL, rename2("a", "b", RENAME_WHITEOUT));
		CHECK(posix_exists("a") && !posix_exists("b"));
		return;
	}
	OK(rename2("a", "b", RENAME_WHITEOUT));
	st = posix_lstat("a");
	CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0);
}

static void exchange(void)
{
	ino_t a, d;

	posix_make("a", "A");
	posix_make("b", "B");
	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	OK(mkdir("d/sub", 0755));
	posix_make("e/f", "F");
	OK(rename2("a", "b", RENAME_EXCHANGE));
	CHECK(strcmp(posix_text("a"), "B") == 0);
	CHECK(strcmp(posix_text("b"), "A") == 0);
	OK(rename2("a", "e/f", RENAME_EXCHANGE));
	CHECK(strcmp(posix_text("a"), "F") == 0);
	CHECK(strcmp(posix_text("e/f"), "B") == 0);
	OK(rename2("d", "e", RENAME_EXCHANGE));
	CHECK(posix_exists("e/sub") && posix_exists("d/f"));
	FAILS(ENOENT, rename2("a", "gone", RENAME_EXCHANGE));
	FAILS(EINVAL, rename2("e", "e/sub", RENAME_EXCHANGE));
	/* A file and a directory of different parents. */
	a = posix_stat("a").st_ino;
	d = posix_stat("e/sub").st_ino;
	CHECK_EQ(posix_stat("e").st_nlink, 3);
	OK(rename2("a", "e/sub", RENAME_EXCHANGE));
	CHECK_EQ(posix_stat("a").st_ino, d);
	CHECK_EQ(posix_stat("e/sub").st_ino, a);
	CHECK_EQ(posix_stat("e").st_nlink, 2);
	CHECK_EQ(posix_stat("a/..").st_ino, posix_stat(".").st_ino);
	/* Two directories of different parents. */
	OK(mkdir("d/s", 0755));
	posix_make("d/s/x", "1");
	posix_make("a/y", "2");
	OK(rename2("a", "d/s", RENAME_EXCHANGE));
	CHECK(posix_exists("a/x") && posix_exists("d/s/y"));
	CHECK_EQ(posix_stat("a/..").st_ino, posix_stat(".").st_ino);
	CHECK_EQ(posix_stat("d/s/..").st_ino, posix_stat("d").st_ino);
}

static void open_files(void)
{
	struct stat st;
	char c;
	int fd;

	OK(mkdir("d", 0755));
	posix_make("a", "A");
	fd = (int)OK(open("a", O_RDWR));
	OK(rename("a", "d/b"));
	posix_write_all(fd, "Z", 1, 0);
	CHECK(strcmp(posix_text("d/b"), "Z") == 0);
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_ino, posix_stat("d/b").st_ino);
	posix_make("n", "N");
	OK(rename("n", "d/b"));
	posix_read_all(fd, &c, 1, 0);
	CHECK_EQ(c, 'Z');
	OK(ftruncate(fd, 10));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_size, 10);
	CHECK_EQ(st.st_nlink, 0);
}

static void sticky(void)
{
	OK(mkdir("t", 0777));
	OK(chmod("t", 01777));
	posix_make("t/roots", "");
	AS_USER(USER, USER)
	{
		FAILS(EPERM, rename("t/roots", "t/x"));
		FAILS(EPERM, unlink("t/roots"));
		posix_make("t/mine", "");
		FAILS(EPERM, rename("t/mine", "t/roots"));
		OK(rename("t/mine", "t/mine2"));
		OK(mkdir("t/dir", 0755));
	}
	AS_USER(OTHER, OTHER)
	{
		FAILS(EPERM, unlink("t/mine2"));
		FAILS(EPERM, rmdir("t/dir"));
	}
	AS_USER(USER, USER)
	{
		OK(unlink("t/mine2"));
		OK(rmdir("t/dir"));
	}
}

static void directory_permission(void)
{
	OK(mkdir("a", 0777));
	OK(chmod("a", 0777));
	OK(mkdir("b", 0777));
	OK(chmod("b", 0777));
	OK(mkdir("a/roots", 0755));
	AS_USER(USER, USER)
	{
		/* rename(2), EACCES: .. of a moved directory must be writable. */
		FAILS(EACCES, rename("a/roots", "b/roots"));
		OK(rename("a/roots", "a/roots2"));
	}
}

/* Back and forth over many directories: names, counts and contents stay right. */
static void around(void)
{
	unsigned rounds = posix_count(200, 3000);
	char from[64], to[64];
	uint64_t dice = posix_seed;
	unsigned at = 0;

	for (unsigned i = 0; i < 12; i++) {
		snprintf(to, sizeof(to), "d%u", i);
		OK(mkdir(to, 0755));
	}
	OK(mkdir("d0/x", 0755));
	posix_make("d0/x/f", "content");
	for (unsigned i = 0; i < rounds; i++) {
		unsigned next = (unsigned)(posix_random(&dice) % 12);

		if (next == at)
			continue;
		snprintf(from, sizeof(from), "d%u/x", at);
		snprintf(to, sizeof(to), "d%u/x", next);
		OK(rename(from, to));
		CHECK(!posix_exists(from));
		at = next;
	}
	snprintf(from, sizeof(from), "d%u/x/f", at);
	CHECK(strcmp(posix_text(from), "content") == 0);
	for (unsigned i = 0; i < 12; i++) {
		snprintf(to, sizeof(to), "d%u", i);
		CHECK_EQ(posix_stat(to).st_nlink, i == at ? 3 : 2);
	}
}

/* The way in which editors and builds write a file. */
static void save(void)
{
	for (unsigned i = 0; i < 200; i++) {
		char text[32];
		int fd = (int)OK(open("f.tmp", O_CREAT | O_EXCL | O_WRONLY, 0644));

		snprintf(text, sizeof(text), "version %u", i);
		posix_write_all(fd, text, strlen(text), 0);
		if (i % 50 == 0)
			OK(fsync(fd));
		OK(close(fd));
		OK(rename("f.tmp", "f"));
		CHECK(strcmp(posix_text("f"), text) == 0);
	}
}

const struct posix_case rename_cases[] = {
	{ "rename_files", "rename(2): within and across directories, over a file", files },
	{ "rename_same_inode", "rename(2): two links of one file: nothing happens", same_inode },
	{ "rename_replaced", "rename(2): the replaced file lives on where it is linked or open",
	  replaced_links },
	{ "rename_directories", "rename(2): a directory, its .., both parents' link counts",
	  directories },
	{ "rename_over_directory", "rename(2): over an empty directory; ENOTEMPTY",
	  over_directory },
	{ "rename_kinds", "rename(2): EISDIR, ENOTDIR; symlinks themselves are renamed", kinds },
	{ "rename_into_itself", "rename(2): EINVAL", into_itself },
	{ "rename_errors", "rename(2): errors", errors },
	{ "rename_noreplace", "rename(2): RENAME_NOREPLACE", noreplace },
	{ "rename_whiteout", "rename(2): RENAME_WHITEOUT", whiteout },
	{ "rename_exchange", "rename(2): RENAME_EXCHANGE", exchange },
	{ "rename_open", "rename(2): open descriptors are not affected", open_files },
	{ "rename_sticky", "rename(2), unlink(2): EPERM in a sticky directory", sticky },
	{ "rename_dir_permission", "rename(2): EACCES where .. cannot be changed",
	  directory_permission },
	{ "rename_around", "rename(2): a directory moved many times", around },
	{ "rename_save", "write a new file, rename it over the old one", save },
	{ 0 },
};
