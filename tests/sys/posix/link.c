/* link(2), symlink(2), readlink(2). */
#include "posix.h"

static void hard(void)
{
	OK(mkdir("d", 0755));
	posix_make("a", "text");
	OK(link("a", "b"));
	OK(link("a", "d/c"));
	CHECK_EQ(posix_stat("a").st_nlink, 3);
	CHECK_EQ(posix_stat("d/c").st_ino, posix_stat("a").st_ino);
	posix_make("d/c", "changed");
	CHECK(strcmp(posix_text("a"), "changed") == 0);
	OK(chmod("b", 0600));
	CHECK_EQ(posix_stat("d/c").st_mode & 0777, 0600);
	OK(unlink("a"));
	CHECK_EQ(posix_stat("b").st_nlink, 2);
	OK(unlink("b"));
	CHECK_EQ(posix_stat("d/c").st_nlink, 1);
	CHECK(strcmp(posix_text("d/c"), "changed") == 0);
	OK(unlink("d/c"));
	OK(rmdir("d"));
}

static void hard_errors(void)
{
	posix_make("a", "");
	posix_make("b", "");
	OK(mkdir("d", 0755));
	FAILS(EEXIST, link("a", "b"));
	FAILS(EEXIST, link("a", "d"));
	FAILS(EEXIST, link("a", "a"));
	FAILS(EPERM, link("d", "e"));
	FAILS(ENOENT, link("x", "y"));
	FAILS(ENOENT, link("a", "x/y"));
	FAILS(ENOTDIR, link("a", "b/y"));
	FAILS(EXDEV, link("a", "/dev/claudefs-never"));
	CHECK_EQ(posix_stat("a").st_nlink, 1);
}

static void by_descriptor(void)
{
	char proc[64];
	int fd;

	posix_make("a", "A");
	fd = (int)OK(open("a", O_RDONLY));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, proc, AT_FDCWD, "b", AT_SYMLINK_FOLLOW));
	CHECK_EQ(posix_stat("b").st_nlink, 2);
	OK(unlink("a"));
	OK(unlink("b"));
	FAILS(ENOENT, linkat(AT_FDCWD, proc, AT_FDCWD, "c", AT_SYMLINK_FOLLOW));
}

static void hard_to_symlink(void)
{
	OK(symlink("target", "l"));
	OK(link("l", "m"));
	CHECK(S_ISLNK(posix_lstat("m").st_mode));
	CHECK_EQ(posix_lstat("m").st_nlink, 2);
	CHECK_EQ(posix_lstat("m").st_ino, posix_lstat("l").st_ino);
}

static void many(void)
{
	unsigned count = posix_count(500, 5000);
	char name[64];

	posix_make("a", "");
	OK(mkdir("d", 0755));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%sl%u", i % 2 ? "d/" : "", i);
		OK(link("a", name));
	}
	CHECK_EQ(posix_stat("a").st_nlink, count + 1);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%sl%u", i % 2 ? "d/" : "", i);
		OK(unlink(name));
	}
	CHECK_EQ(posix_stat("a").st_nlink, 1);
}

/* Each file system has a limit of its own; small counts do not go that far. */
static void most(void)
{
	unsigned n = 1, max = posix_count(100, 70000);
	char name[64];

	posix_make("a", "");
	for (; n < max; n++) {
		snprintf(name, sizeof(name), "l%u", n);
		if (link("a", name) < 0)
			break;
	}
	CHECK_EQ(posix_stat("a").st_nlink, n);
	if (n < max) {
		FAILS(EMLINK, link("a", name));
		OK(unlink("l1"));
		OK(link("a", name));
	}
	COVERS("link", EMLINK);
}

static void symbolic(void)
{
	char buf[64];
	struct stat st;

	posix_make("f", "text");
	OK(symlink("f", "l"));
	CHECK_EQ(OK(readlink("l", buf, sizeof(buf))), 1);
	CHECK_EQ(buf[0], 'f');
	CHECK(strcmp(posix_text("l"), "text") == 0);
	st = posix_lstat("l");
	CHECK(S_ISLNK(st.st_mode));
	CHECK_EQ(st.st_mode & 0777, 0777);
	CHECK_EQ(st.st_size, 1);
	OK(symlink("a longer target/that is not there", "m"));
	CHECK_EQ(OK(readlink("m", buf, 8)), 8);
	CHECK(memcmp(buf, "a longer", 8) == 0);
	CHECK_EQ(posix_lstat("m").st_size, 33);
	FAILS(ENOENT, open("m", O_RDONLY));
	FAILS(EINVAL, readlink("f", buf, sizeof(buf)));
	FAILS(ENOENT, readlink("x", buf, sizeof(buf)));
	FAILS(EEXIST, symlink("x", "f"));
	FAILS(EEXIST, symlink("x", "l"));
	FAILS(ENOENT, symlink("", "n"));
	FAILS(ENOENT, symlink("x", "y/z"));
	OK(unlink("l"));
	CHECK(posix_exists("f"));
}

static void symbolic_long(void)
{
	static char target[4097], back[4200];

	memset(target, 'x', sizeof(target));
	for (size_t len = 1; len <= 4095; len = len < 4000 ? len * 5 + 3 : len + 19) {
		char name[32];

		target[len] = 0;
		snprintf(name, sizeof(name), "l%zu", len);
		OK(symlink(target, name));
		CHECK_EQ(OK(readlink(name, back, sizeof(back))), len);
		CHECK(memcmp(back, target, len) == 0);
		CHECK_EQ(posix_lstat(name).st_size, len);
		target[len] = 'x';
	}
	target[4095] = 0;
	OK(symlink(target, "longest"));
	CHECK_EQ(OK(readlink("longest", back, sizeof(back))), 4095);
	target[4095] = 'x';
	target[4096] = 0;
	FAILS(ENAMETOOLONG, symlink(target, "too-long"));
}

static void loops(void)
{
	char name[64], next[64];

	OK(symlink("b", "a"));
	OK(symlink("a", "b"));
	OK(symlink("self", "self"));
	FAILS(ELOOP, open("a", O_RDONLY));
	FAILS(ELOOP, open("self", O_RDONLY));
	FAILS(ELOOP, open("a/x", O_RDONLY));
	FAILS(ELOOP, truncate("a", 0));
	posix_make("l0", "end");
	for (unsigned i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		snprintf(next, sizeof(next), "l%u", i - 1);
		OK(symlink(next, name));
	}
	OK(open("l40", O_RDONLY));
	FAILS(ELOOP, open("l41", O_RDONLY));
}

static void through_directories(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	posix_make("d/e/f", "text");
	OK(symlink("d/e", "l"));
	CHECK(strcmp(posix_text("l/f"), "text") == 0);
	CHECK(strcmp(posix_text("l/../e/f"), "text") == 0);
	OK(symlink("../e/f", "d/e/up"));
	CHECK(strcmp(posix_text("l/up"), "text") == 0);
	OK(lchown("l", USER, OTHER));
	CHECK_EQ(posix_lstat("l").st_uid, USER);
	CHECK_EQ(posix_stat("d/e").st_uid, 0);
}

const struct posix_case link_cases[] = {
	{ "link_hard", "link(2): one file, several names", hard },
	{ "link_errors", "link(2): errors", hard_errors },
	{ "link_descriptor", "linkat(2): by /proc/self/fd; ENOENT at st_nlink 0", by_descriptor },
	{ "link_of_symlink", "link(2): a symlink is not followed", hard_to_symlink },
	{ "link_many", "stat(2): st_nlink", many },
	{ "link_most", "link(2): EMLINK, with full counts", most },
	{ "link_symlink", "symlink(2), readlink(2)", symbolic },
	{ "link_symlink_long", "symlink(2): up to 4095 bytes; ENAMETOOLONG", symbolic_long },
	{ "link_loops", "path_resolution(7): 40 symlinks, then ELOOP", loops },
	{ "link_directories", "path_resolution(7): symlinks inside a path", through_directories },
	{ 0 },
};
