/* mkdir(2), rmdir(2), unlink(2), working directories. */
#include "posix.h"

static void make(void)
{
	struct stat st, parent;

	umask(027);
	parent = posix_stat(".");
	OK(mkdir("d", 0777));
	st = posix_stat("d");
	CHECK_EQ(st.st_mode, S_IFDIR | 0750);
	CHECK_EQ(st.st_nlink, 2);
	CHECK_EQ(posix_stat(".").st_nlink, parent.st_nlink + 1);
	CHECK_EQ(posix_stat("d/.").st_ino, st.st_ino);
	CHECK_EQ(posix_stat("d/..").st_ino, parent.st_ino);
	FAILS(EEXIST, mkdir("d", 0755));
	FAILS(ENOENT, mkdir("x/y", 0755));
	FAILS(ENOENT, mkdir("", 0755));
	posix_make("f", "");
	FAILS(EEXIST, mkdir("f", 0755));
	FAILS(ENOTDIR, mkdir("f/x", 0755));
	OK(symlink("nowhere", "l"));
	FAILS(EEXIST, mkdir("l", 0755));
	OK(mkdir("e/", 0755));
	OK(mkdir("e//f///", 0755));
	FAILS(EEXIST, mkdir(".", 0755));
	FAILS(EEXIST, mkdir("..", 0755));
	CHECK_EQ(posix_stat("e").st_nlink, 3);
	OK(mkdir("s", 01777));
	CHECK_EQ(posix_stat("s").st_mode & 07000, 01000);
}

static void remove_it(void)
{
	nlink_t links = posix_stat(".").st_nlink;

	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	posix_make("f", "");
	FAILS_EITHER(ENOTEMPTY, EEXIST, rmdir("d"));
	FAILS(ENOTDIR, rmdir("f"));
	FAILS(ENOENT, rmdir("g"));
	FAILS(EINVAL, rmdir("d/e/."));
	FAILS_EITHER(ENOTEMPTY, EEXIST, rmdir("d/e/.."));
	OK(symlink("d", "l"));
	FAILS(ENOTDIR, rmdir("l"));
	FAILS(ENOTDIR, rmdir("l/"));
	OK(rmdir("d/e/"));
	CHECK_EQ(posix_stat("d").st_nlink, 2);
	posix_make("d/f", "");
	FAILS_EITHER(ENOTEMPTY, EEXIST, rmdir("d"));
	OK(unlink("d/f"));
	OK(rmdir("d"));
	FAILS(ENOENT, rmdir("d"));
	CHECK_EQ(posix_stat(".").st_nlink, links);
}

static void unlink_errors(void)
{
	OK(mkdir("d", 0755));
	posix_make("f", "");
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOENT, unlink("g"));
	FAILS(ENOENT, unlink(""));
	FAILS(ENOTDIR, unlink("f/g"));
	FAILS(ENOTDIR, unlink("f/"));
	OK(symlink("d", "l"));
	OK(unlink("l"));
	CHECK(posix_exists("d"));
	OK(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
	OK(unlink("f"));
}

static void removed(void)
{
	bool is_stale = posix_differs("removed");
	struct stat st;
	int fd;

	OK(mkdir("d", 0755));
	fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
	OK(chdir("d"));
	OK(rmdir("../d"));
	FAILS_EITHER(ENOENT, is_stale ? ESTALE : ENOENT, open("f", O_CREAT | O_WRONLY, 0644));
	FAILS_EITHER(ENOENT, is_stale ? ESTALE : ENOENT, mkdir("e", 0755));
	FAILS_EITHER(ENOENT, is_stale ? ESTALE : ENOENT, openat(fd, "f", O_CREAT | O_WRONLY, 0644));
	if (is_stale && fstat(fd, &st) < 0)
		CHECK_EQ(errno, ESTALE);
	else
		CHECK(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink == 0);
	OK(close(fd));
}

/* A name that is used again names another directory. */
static void again(void)
{
	bool is_unique = posix_differs("numbers");
	ino_t ino;

	OK(mkdir("d", 0755));
	posix_make("d/f", "old");
	ino = posix_stat("d").st_ino;
	OK(unlink("d/f"));
	for (int i = 0; i < 20; i++) {
		OK(rmdir("d"));
		OK(mkdir("d", 0755));
		CHECK(!is_unique || posix_stat("d").st_ino != ino);
		CHECK(!posix_exists("d/f"));
	}
}

static void deep(void)
{
	char name[64];

	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "level-%u", i);
		OK(mkdir(name, 0755));
		OK(chdir(name));
	}
	posix_make("f", "down here");
	for (unsigned i = 0; i < 150; i++)
		OK(chdir(".."));
	CHECK(posix_exists("level-0/level-1/level-2"));
}

static void many(void)
{
	unsigned count = posix_count(500, 5000);
	nlink_t links = posix_stat(".").st_nlink;
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		OK(mkdir(name, 0755));
	}
	CHECK_EQ(posix_stat(".").st_nlink, links + count);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		OK(rmdir(name));
	}
	CHECK_EQ(posix_stat(".").st_nlink, links);
}

static void cwd_moved(void)
{
	char buf[512];

	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mkdir("a/w", 0755));
	OK(chdir("a/w"));
	OK(rename("../w", "../../b/v"));
	posix_make("f", "here");
	CHECK(posix_exists("../v/f"));
	CHECK_EQ(posix_stat("..").st_ino, posix_stat("../../b").st_ino);
	CHECK(getcwd(buf, sizeof(buf)) && strstr(buf, "/b/v"));
}

static void permissions(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("d/sub", 0755));
	posix_make("d/f", "");
	AS_USER(USER, USER)
	{
		FAILS(EACCES, mkdir("d/x", 0755));
		FAILS(EACCES, rmdir("d/sub"));
		FAILS(EACCES, unlink("d/f"));
		FAILS(EACCES, symlink("x", "d/y"));
		FAILS(EACCES, rename("d/f", "d/g"));
		FAILS_EITHER(EACCES, EPERM, link("d/f", "d/h"));
	}
	OK(chmod("d", 0700));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
		FAILS(EACCES, open("d", O_RDONLY));
		FAILS(EACCES, chdir("d"));
	}
	/* Search, but no read. */
	OK(chmod("d", 0711));
	AS_USER(USER, USER)
	{
		OK(open("d/f", O_RDONLY));
		FAILS(EACCES, open("d", O_RDONLY));
	}
	/* Read, but no search. */
	OK(chmod("d", 0744));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
		OK(open("d", O_RDONLY | O_DIRECTORY));
	}
}

const struct posix_case dir_cases[] = {
	{ "dir_mkdir", "mkdir(2): mode, link counts, errors", make },
	{ "dir_rmdir", "rmdir(2): errors, link counts", remove_it },
	{ "dir_unlink_errors", "unlink(2): errors", unlink_errors },
	{ "dir_removed", "rmdir(2): nothing can be made in a removed directory", removed },
	{ "dir_again", "a name used again has a new inode", again },
	{ "dir_deep", "path_resolution(7): 150 levels", deep },
	{ "dir_many", "stat(2): st_nlink counts subdirectories", many },
	{ "dir_cwd_moved", "a working directory moves along", cwd_moved },
	{ "dir_permissions", "path_resolution(7): search and write permission", permissions },
	{ 0 },
};
