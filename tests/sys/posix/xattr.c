/* xattr(7). */
#include "posix.h"

#include <sys/xattr.h>

static bool lists(const char *path, const char *name)
{
	static char list[70000];
	ssize_t n = OK(listxattr(path, list, sizeof(list)));

	for (char *p = list; p < list + n; p += strlen(p) + 1)
		if (strcmp(p, name) == 0)
			return true;
	return false;
}

static void basic(const char *path)
{
	char buf[64];

	OK(setxattr(path, "user.one", "value", 5, 0));
	CHECK_EQ(OK(getxattr(path, "user.one", buf, sizeof(buf))), 5);
	CHECK(memcmp(buf, "value", 5) == 0);
	CHECK_EQ(OK(getxattr(path, "user.one", NULL, 0)), 5);
	FAILS(ERANGE, getxattr(path, "user.one", buf, 4));
	FAILS(ENODATA, getxattr(path, "user.two", buf, sizeof(buf)));
	FAILS(EEXIST, setxattr(path, "user.one", "x", 1, XATTR_CREATE));
	FAILS(ENODATA, setxattr(path, "user.two", "x", 1, XATTR_REPLACE));
	OK(setxattr(path, "user.one", "longer value", 12, XATTR_REPLACE));
	CHECK_EQ(OK(getxattr(path, "user.one", buf, sizeof(buf))), 12);
	OK(setxattr(path, "user.two", "", 0, XATTR_CREATE));
	CHECK_EQ(OK(getxattr(path, "user.two", buf, sizeof(buf))), 0);
	CHECK(lists(path, "user.one") && lists(path, "user.two"));
	FAILS(ERANGE, listxattr(path, buf, 3));
	CHECK(OK(listxattr(path, NULL, 0)) >= 18);
	OK(removexattr(path, "user.one"));
	FAILS(ENODATA, removexattr(path, "user.one"));
	CHECK(!lists(path, "user.one"));
	OK(removexattr(path, "user.two"));
	FAILS(EOPNOTSUPP, setxattr(path, "nonsense", "x", 1, 0));
}

static void of_file(void)
{
	char buf[8];
	int fd;

	posix_make("f", "");
	if (setxattr("f", "user.x", "", 0, 0) < 0 && errno == EOPNOTSUPP)
		posix_skip("no extended attributes here");
	basic("f");
	fd = (int)OK(open("f", O_RDONLY));
	OK(fsetxattr(fd, "user.fd", "1", 1, 0));
	CHECK_EQ(OK(fgetxattr(fd, "user.fd", buf, sizeof(buf))), 1);
	OK(fremovexattr(fd, "user.fd"));
	FAILS(ENOENT, getxattr("g", "user.x", buf, sizeof(buf)));
}

static void of_directory(void)
{
	OK(mkdir("d", 0755));
	basic("d");
	OK(setxattr("d", "user.keep", "1", 1, 0));
	OK(mkdir("e", 0755));
	OK(rename("d", "e/d"));
	CHECK(lists("e/d", "user.keep"));
}

static void of_symlink(void)
{
	char buf[8];

	posix_make("f", "");
	OK(symlink("f", "l"));
	OK(setxattr("l", "user.x", "1", 1, 0));
	CHECK_EQ(OK(getxattr("f", "user.x", buf, sizeof(buf))), 1);
	FAILS(EPERM, lsetxattr("l", "user.x", "1", 1, 0));
	OK(lsetxattr("l", "trusted.x", "12", 2, 0));
	CHECK_EQ(OK(lgetxattr("l", "trusted.x", buf, sizeof(buf))), 2);
	FAILS(ENODATA, getxattr("f", "trusted.x", buf, sizeof(buf)));
}

static void kept(void)
{
	posix_make("f", "");
	OK(setxattr("f", "user.x", "1", 1, 0));
	OK(link("f", "g"));
	CHECK(lists("g", "user.x"));
	OK(rename("f", "h"));
	OK(chmod("h", 0600));
	posix_make("h", "text");
	CHECK(lists("h", "user.x"));
	OK(unlink("h"));
	CHECK(lists("g", "user.x"));
}

static void sizes(void)
{
	char *big = malloc(70000), *back = malloc(70000), name[300];

	CHECK(big && back);
	posix_pattern(big, 70000, 0, 4);
	posix_make("f", "");
	OK(setxattr("f", "user.k", big, 3000, 0));
	CHECK_EQ(OK(getxattr("f", "user.k", back, 70000)), 3000);
	CHECK(memcmp(big, back, 3000) == 0);
	FAILS(E2BIG, setxattr("f", "user.big", big, 65537, 0));
	/* xattr(7): the kernel takes up to 64 KiB; a file system may take less, saying ENOSPC. */
	if (setxattr("f", "user.big", big, 60000, 0) == 0) {
		CHECK_EQ(OK(getxattr("f", "user.big", back, 70000)), 60000);
		CHECK(memcmp(big, back, 60000) == 0);
		CHECK_EQ(OK(getxattr("f", "user.k", back, 70000)), 3000);
	} else {
		CHECK(errno == ENOSPC || errno == E2BIG);
	}
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = 0;
	OK(setxattr("f", name, "1", 1, 0));
	CHECK(lists("f", name));
	name[255] = 'n';
	name[256] = 0;
	FAILS(ERANGE, setxattr("f", name, "1", 1, 0));
	FAILS(ERANGE, setxattr("f", "", "1", 1, 0));
}

static void many(void)
{
	char name[32], value[32], back[32];

	posix_make("f", "");
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "user.name-%d", i);
		snprintf(value, sizeof(value), "value %d", i * i);
		OK(setxattr("f", name, value, strlen(value), 0));
	}
	for (int i = 0; i < 60; i += 2) {
		snprintf(name, sizeof(name), "user.name-%d", i);
		OK(removexattr("f", name));
	}
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "user.name-%d", i);
		snprintf(value, sizeof(value), "value %d", i * i);
		if (i % 2 == 0) {
			FAILS(ENODATA, getxattr("f", name, back, sizeof(back)));
			continue;
		}
		CHECK_EQ(OK(getxattr("f", name, back, sizeof(back))), strlen(value));
		CHECK(memcmp(value, back, strlen(value)) == 0);
	}
}

static void trusted(void)
{
	posix_make("f", "");
	OK(chmod("f", 0666));
	OK(setxattr("f", "trusted.x", "1", 1, 0));
	CHECK(lists("f", "trusted.x"));
	AS_USER(USER, USER)
	{
		char buf[8];

		FAILS(EPERM, setxattr("f", "trusted.y", "1", 1, 0));
		FAILS(EPERM, removexattr("f", "trusted.x"));
		FAILS(ENODATA, getxattr("f", "trusted.x", buf, sizeof(buf)));
	}
}

static void permissions(void)
{
	char buf[8];

	posix_make("f", "");
	OK(chmod("f", 0600));
	OK(setxattr("f", "user.x", "1", 1, 0));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, getxattr("f", "user.x", buf, sizeof(buf)));
		FAILS(EACCES, setxattr("f", "user.x", "2", 1, 0));
		FAILS(EACCES, removexattr("f", "user.x"));
	}
	OK(chmod("f", 0644));
	AS_USER(USER, USER)
	{
		CHECK_EQ(OK(getxattr("f", "user.x", buf, sizeof(buf))), 1);
		FAILS(EACCES, setxattr("f", "user.x", "2", 1, 0));
	}
	OK(mknod("p", S_IFIFO | 0666, 0));
	FAILS(EPERM, setxattr("p", "user.x", "1", 1, 0));
	/* xattr(7): in a sticky directory only its owner sets user attributes of it. */
	OK(mkdir("t", 0777));
	OK(chmod("t", 01777));
	AS_USER(USER, USER)
	{
		FAILS(EPERM, setxattr("t", "user.x", "1", 1, 0));
	}
}

static void full(void)
{
	static char value[3000], back[3000];
	char name[32];
	unsigned n = 0;

	posix_make("f", "");
	for (;; n++) {
		snprintf(name, sizeof(name), "user.n%u", n);
		memset(value, 'a' + n % 26, sizeof(value));
		if (setxattr("f", name, value, sizeof(value), XATTR_CREATE) < 0)
			break;
		CHECK(n < 100000);
	}
	FAILS(ENOSPC, setxattr("f", name, value, sizeof(value), 0));
	/* What was there is whole, and what is removed makes room. */
	CHECK(n > 0);
	CHECK_EQ(OK(getxattr("f", "user.n0", back, sizeof(back))), sizeof(back));
	CHECK(back[0] == 'a' && back[sizeof(back) - 1] == 'a');
	OK(removexattr("f", "user.n0"));
	memset(value, 'z', sizeof(value));
	OK(setxattr("f", name, value, sizeof(value), XATTR_CREATE));
}

/* A file capability (VFS_CAP_REVISION_2), and that a write takes it away. */
static void security(void)
{
	static const uint8_t cap[20] = { 0, 0, 0, 2, 0x20 };
	char buf[64];

	posix_make("f", "");
	OK(setxattr("f", "security.capability", cap, sizeof(cap), 0));
	CHECK_EQ(OK(getxattr("f", "security.capability", buf, sizeof(buf))), sizeof(cap));
	CHECK(lists("f", "security.capability"));
	OK(chmod("f", 0666));
	AS_USER(USER, USER)
	{
		OK(write((int)OK(open("f", O_WRONLY)), "x", 1));
	}
	FAILS(ENODATA, getxattr("f", "security.capability", buf, sizeof(buf)));
	OK(setxattr("f", "security.capability", cap, sizeof(cap), 0));
	OK(chown("f", USER, USER));
	FAILS(ENODATA, getxattr("f", "security.capability", buf, sizeof(buf)));
	OK(setxattr("f", "security.claudefs-test", "label", 5, 0));
	CHECK_EQ(OK(getxattr("f", "security.claudefs-test", buf, sizeof(buf))), 5);
}

/* What is neither file nor directory has none of user. */
static void kinds(void)
{
	static const char *const paths[] = { "p", "s", "c" };
	char buf[8];

	OK(mknod("p", S_IFIFO | 0666, 0));
	OK(mknod("s", S_IFSOCK | 0666, 0));
	OK(mknod("c", S_IFCHR | 0666, 0x103));
	for (size_t k = 0; k < sizeof(paths) / sizeof(paths[0]); k++) {
		FAILS(EPERM, setxattr(paths[k], "user.x", "1", 1, 0));
		FAILS(ENODATA, getxattr(paths[k], "user.x", buf, sizeof(buf)));
		FAILS(EPERM, removexattr(paths[k], "user.x"));
		OK(setxattr(paths[k], "trusted.x", "1", 1, 0));
		OK(setxattr(paths[k], "security.claudefs-test", "1", 1, 0));
		CHECK(lists(paths[k], "trusted.x"));
	}
}

/* xattr(7): trusted. is invisible to unprivileged processes. */
static void hidden(void)
{
	posix_make("f", "");
	OK(setxattr("f", "trusted.x", "1", 1, 0));
	OK(setxattr("f", "user.x", "1", 1, 0));
	CHECK_EQ(OK(listxattr("f", NULL, 0)), 10 + 7);
	AS_USER(USER, USER)
	{
		char list[64];

		CHECK(!lists("f", "trusted.x") && lists("f", "user.x"));
		CHECK_EQ(OK(listxattr("f", NULL, 0)), 7);
		CHECK_EQ(OK(listxattr("f", list, 7)), 7);
		FAILS(EPERM, removexattr("f", "trusted.x"));
	}
}

static void names(void)
{
	posix_make("f", "");
	FAILS(EINVAL, setxattr("f", "user.", "1", 1, 0));
	FAILS(EINVAL, setxattr("f", "trusted.", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "user", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "system.claudefs", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "User.x", "1", 1, 0));
	FAILS(EINVAL, setxattr("f", "user.x", "1", 1, XATTR_CREATE | XATTR_REPLACE | 8));
	OK(setxattr("f", "user.with/slash and \xff", "1", 1, 0));
	CHECK(lists("f", "user.with/slash and \xff"));
	OK(setxattr("f", "user.X", "1", 1, 0));
	FAILS(ENODATA, getxattr("f", "user.x", NULL, 0));
}

const struct posix_case xattr_cases[] = {
	{ "xattr_file", "setxattr(2), getxattr(2), listxattr(2), removexattr(2)", of_file },
	{ "xattr_directory", "the same of a directory, which keeps them when renamed",
	  of_directory },
	{ "xattr_symlink", "xattr(7): no user attributes on symlinks", of_symlink },
	{ "xattr_kept", "attributes are the inode's, not the name's", kept },
	{ "xattr_sizes", "xattr(7): limits of names and values", sizes },
	{ "xattr_many", "many attributes on one file", many },
	{ "xattr_kinds", "xattr(7): user. is of files and directories", kinds },
	{ "xattr_hidden", "xattr(7): who does not see trusted.", hidden },
	{ "xattr_names", "xattr(7): namespaces and names", names },
	{ "xattr_trusted", "xattr(7): trusted. is for CAP_SYS_ADMIN", trusted },
	{ "xattr_permissions", "xattr(7): permissions of user.", permissions },
	{ "xattr_full", "setxattr(2): ENOSPC", full },
	{ "xattr_security", "xattr(7): security., capabilities(7): cleared by write and chown",
	  security },
	{ 0 },
};
