/* acl(5): access and default ACLs, by the attributes that setfacl(1) sets. */
#include "posix.h"

#include <grp.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define ACL_BYTES_MAX 4096
#define THIRD 1002u

/* An attribute's bytes (linux/posix_acl_xattr.h): a version, then (tag, permissions, id). */
struct acl {
	uint8_t bytes[ACL_BYTES_MAX];
	size_t len;
};

static const struct {
	char letter;
	uint16_t tag;
} tags[] = {
	{ 'u', 0x01 }, { 'U', 0x02 }, { 'g', 0x04 }, { 'G', 0x08 }, { 'm', 0x10 }, { 'o', 0x20 },
};

static void acl_add(struct acl *a, uint16_t tag, uint16_t perm, uint32_t id)
{
	CHECK(a->len + 8 <= sizeof(a->bytes));
	memcpy(a->bytes + a->len, &tag, 2);
	memcpy(a->bytes + a->len + 2, &perm, 2);
	memcpy(a->bytes + a->len + 4, &id, 4);
	a->len += 8;
}

/* "u7 U5:1000 g5 G4:50 m5 o0": owner, users, owning group, groups, mask, others. */
static void acl_of(const char *text, struct acl *a)
{
	*a = (struct acl){ .bytes = { 2 }, .len = 4 };
	while (*text) {
		char letter = *text++;
		uint16_t tag = 0, perm = (uint16_t)(*text++ - '0');
		uint32_t id = UINT32_MAX;

		for (size_t k = 0; k < sizeof(tags) / sizeof(tags[0]); k++)
			if (tags[k].letter == letter)
				tag = tags[k].tag;
		if (*text == ':') {
			char *end;

			id = (uint32_t)strtoul(text + 1, &end, 10);
			text = end;
		}
		acl_add(a, tag, perm, id);
		while (*text == ' ')
			text++;
	}
}

static int set(const char *path, const char *name, const char *text)
{
	static struct acl a;

	acl_of(text, &a);
	return setxattr(path, name, a.bytes, a.len, 0);
}

/* As a text, in static memory; "" when there is none. */
static const char *get(const char *path, const char *name)
{
	static char text[ACL_BYTES_MAX * 3];
	static uint8_t bytes[ACL_BYTES_MAX];
	ssize_t len = getxattr(path, name, bytes, sizeof(bytes));
	char *to = text;

	text[0] = 0;
	if (len < 0) {
		CHECK_EQ(errno, ENODATA);
		return text;
	}
	CHECK(len >= 4 && len % 8 == 4 && bytes[0] == 2);
	for (ssize_t at = 4; at < len; at += 8) {
		uint16_t tag, perm;
		uint32_t id;
		char letter = '?';

		memcpy(&tag, bytes + at, 2);
		memcpy(&perm, bytes + at + 2, 2);
		memcpy(&id, bytes + at + 4, 4);
		for (size_t k = 0; k < sizeof(tags) / sizeof(tags[0]); k++)
			if (tags[k].tag == tag)
				letter = tags[k].letter;
		to += sprintf(to, "%s%c%u", to == text ? "" : " ", letter, perm);
		if (letter == 'U' || letter == 'G')
			to += sprintf(to, ":%u", id);
	}
	return text;
}

#define IS(path, name, want) is(path, name, want, __LINE__)
static void is(const char *path, const char *name, const char *want, int line)
{
	const char *got = get(path, name);

	if (strcmp(got, want) != 0)
		posix_fail(__FILE__, line, "%s of %s is \"%s\", not \"%s\"", name, path, got, want);
}

static mode_t mode_of(const char *path)
{
	return posix_lstat(path).st_mode & 07777;
}

static void need_acls(void)
{
	posix_make("try", "");
	if (set("try", ACCESS, "u6 g4 o4") < 0 && errno == EOPNOTSUPP)
		posix_skip("no ACLs here");
	OK(unlink("try"));
}

static void mode(void)
{
	struct stat st;

	need_acls();
	posix_make("f", "");
	OK(chmod("f", 04604));
	IS("f", ACCESS, "");
	st = posix_stat("f");
	posix_wait_tick();
	OK(set("f", ACCESS, "u7 U6:1000 g5 m4 o1"));
	IS("f", ACCESS, "u7 U6:1000 g5 m4 o1");
	CHECK_EQ(mode_of("f"), 04741);
	CHECK(posix_stat("f").st_ctim.tv_sec > st.st_ctim.tv_sec ||
	      posix_stat("f").st_ctim.tv_nsec > st.st_ctim.tv_nsec);
	CHECK_EQ(posix_stat("f").st_mtim.tv_nsec, st.st_mtim.tv_nsec);
	/* The group's bits of the mode are the mask's. */
	OK(chmod("f", 0620));
	IS("f", ACCESS, "u6 U6:1000 g5 m2 o0");
	OK(set("f", ACCESS, "u6 g4 m6 o4"));
	CHECK_EQ(mode_of("f"), 0664);
	/* One that says no more than the mode is none. */
	OK(set("f", ACCESS, "u6 g0 o4"));
	IS("f", ACCESS, "");
	CHECK_EQ(mode_of("f"), 0604);
	OK(mkdir("d", 0755));
	OK(set("d", ACCESS, "u7 U7:1000 g0 m7 o0"));
	CHECK_EQ(mode_of("d"), 0770);
	OK(chmod("d", 01755));
	IS("d", ACCESS, "u7 U7:1000 g0 m5 o5");
	/* Without it the mask's bits stay the group's. */
	OK(removexattr("d", ACCESS));
	IS("d", ACCESS, "");
	CHECK_EQ(mode_of("d"), 01755);
	OK(mknod("p", S_IFIFO | 0600, 0));
	OK(set("p", ACCESS, "u6 U6:1000 g0 m6 o0"));
	CHECK_EQ(mode_of("p"), 0660);
}

static void values(void)
{
	static const char *const wrong[] = {
		"u7",
		"u7 g5",
		"u7 o5",
		"g5 o5",
		"u7 u7 g5 o5",
		"u7 g5 g5 o5",
		"u7 g5 o5 o5",
		"g5 u7 o5",
		"u7 U5:1 g5 o5",
		"u7 g5 G5:1 o5",
		"u7 g5 U5:1 m5 o5",
		"u7 G5:1 g5 m5 o5",
		"u7 g5 m5 m5 o5",
		"u8 g5 o5",
		"u7 ?5 g5 o5",
	};

	need_acls();
	posix_make("f", "");
	for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++)
		FAILS_AS("setxattr", EINVAL, set("f", ACCESS, wrong[k]));
	FAILS(EINVAL, setxattr("f", ACCESS, "\2\0\0\0\1", 5, 0));
	FAILS(EINVAL, setxattr("f", ACCESS, "\2\0", 2, 0));
	FAILS(EOPNOTSUPP, setxattr("f", ACCESS, "\1\0\0\0\1\0\7\0\0\0\0\0", 12, 0));
	CHECK_EQ(mode_of("f"), 0644);
	/* An ACL of no entries is none. */
	OK(set("f", ACCESS, "u6 U4:1 g4 m4 o4"));
	OK(setxattr("f", ACCESS, "\2\0\0\0", 4, 0));
	IS("f", ACCESS, "");
	OK(removexattr("f", ACCESS));
	OK(mkdir("d", 0755));
	OK(removexattr("d", DEFAULT));
	/* Only directories have a default. */
	FAILS_AS("setxattr", EACCES, set("f", DEFAULT, "u7 g5 o5"));
	OK(removexattr("f", DEFAULT));
	OK(symlink("f", "l"));
	FAILS(EOPNOTSUPP, lsetxattr("l", ACCESS, "\2\0\0\0", 4, 0));
	/* The default says nothing of the directory itself. */
	OK(set("d", DEFAULT, "u0 g0 o0"));
	CHECK_EQ(mode_of("d"), 0755);
	IS("d", DEFAULT, "u0 g0 o0");
	IS("d", ACCESS, "");
}

static void attribute(void)
{
	char list[300], buf[64];
	ssize_t n;
	int fd;

	need_acls();
	OK(mkdir("d", 0755));
	FAILS(ENODATA, getxattr("d", ACCESS, buf, sizeof(buf)));
	FAILS(ENODATA, getxattr("d", DEFAULT, NULL, 0));
	OK(set("d", ACCESS, "u7 U7:1000 g5 m7 o5"));
	OK(set("d", DEFAULT, "u7 g5 o5"));
	OK(setxattr("d", "user.x", "1", 1, 0));
	CHECK_EQ(OK(getxattr("d", ACCESS, NULL, 0)), 4 + 5 * 8);
	FAILS(ERANGE, getxattr("d", ACCESS, buf, 8));
	n = OK(listxattr("d", list, sizeof(list)));
	CHECK(memmem(list, (size_t)n, ACCESS, sizeof(ACCESS)) != NULL);
	CHECK(memmem(list, (size_t)n, DEFAULT, sizeof(DEFAULT)) != NULL);
	/* Through a descriptor it is the same one, at once. */
	posix_make("f", "");
	fd = (int)OK(open("f", O_RDONLY));
	FAILS(ENODATA, fgetxattr(fd, ACCESS, buf, sizeof(buf)));
	OK(fstat(fd, &(struct stat){ 0 }));
	OK(fsetxattr(fd, ACCESS,
		     "\2\0\0\0\1\0\6\0\377\377\377\377\4\0\0\0\377\377\377\377"
		     "\20\0\4\0\377\377\377\377\40\0\0\0\377\377\377\377",
		     36, 0));
	CHECK_EQ(OK(fgetxattr(fd, ACCESS, buf, sizeof(buf))), 36);
	IS("f", ACCESS, "u6 g0 m4 o0");
	OK(fchmod(fd, 0600));
	IS("f", ACCESS, "u6 g0 m0 o0");
	OK(fremovexattr(fd, ACCESS));
	FAILS(ENODATA, fgetxattr(fd, ACCESS, buf, sizeof(buf)));
	CHECK_EQ(OK(listxattr("f", list, sizeof(list))), 0);
}

static void owners(void)
{
	need_acls();
	posix_make("f", "");
	OK(chmod("f", 0666));
	OK(set("f", ACCESS, "u6 U7:1000 g6 m7 o6"));
	AS_USER(USER, USER)
	{
		FAILS_AS("setxattr", EPERM, set("f", ACCESS, "u7 U7:1000 g6 m7 o6"));
		FAILS(EPERM, removexattr("f", ACCESS));
		IS("f", ACCESS, "u6 U7:1000 g6 m7 o6");
	}
	OK(chown("f", USER, OTHER));
	IS("f", ACCESS, "u6 U7:1000 g6 m7 o6");
	AS_USER(USER, USER)
	{
		OK(set("f", ACCESS, "u4 U7:1001 g6 m7 o6"));
	}
	OK(chown("f", 0, 0));
	IS("f", ACCESS, "u4 U7:1001 g6 m7 o6");
}

/* 1: may read; 2: may write; of a file, as it is opened. */
static int may(const char *path, uid_t uid, gid_t gid, gid_t more)
{
	pid_t pid = (pid_t)OK(fork());
	int status;

	if (pid == 0) {
		int can = 0;

		if (setgroups(more != 0, &more) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			_exit(100);
		if (open(path, O_RDONLY) >= 0)
			can |= 1;
		else if (errno != EACCES)
			_exit(101);
		if (open(path, O_WRONLY) >= 0)
			can |= 2;
		else if (errno != EACCES)
			_exit(102);
		_exit(can | ((access(path, R_OK | W_OK) == 0) == (can == 3) ? 0 : 64));
	}
	OK(waitpid(pid, &status, 0));
	return WEXITSTATUS(status);
}

static void algorithm(void)
{
	need_acls();
	posix_needs_root();
	posix_make("f", "");
	OK(chown("f", USER, 500));
	/* The owner's entry counts for the owner, without the mask. */
	OK(set("f", ACCESS, "u6 U4:1001 U6:1002 g4 G2:600 G6:700 m5 o2"));
	CHECK_EQ(may("f", USER, 600, 0), 3);
	/* A user's entry, under the mask, whatever groups he is in. */
	CHECK_EQ(may("f", 1001, 600, 700), 1);
	CHECK_EQ(may("f", 1002, 9, 0), 1);
	OK(set("f", ACCESS, "u6 U0:1001 U6:1002 g6 G2:600 G6:700 m7 o6"));
	CHECK_EQ(may("f", 1001, 500, 700), 0);
	CHECK_EQ(may("f", 1002, 9, 0), 3);
	/* Groups: any that allows all that is wanted; supplementary ones too. */
	OK(set("f", ACCESS, "u6 g4 G2:600 G6:700 m7 o6"));
	CHECK_EQ(may("f", 1003, 500, 0), 1);
	CHECK_EQ(may("f", 1003, 600, 0), 2);
	CHECK_EQ(may("f", 1003, 9, 600), 2);
	CHECK_EQ(may("f", 1003, 700, 0), 3);
	CHECK_EQ(may("f", 1003, 9, 700), 3);
	/* Permissions of two groups do not add up in one open (access() of both fails there). */
	CHECK_EQ(may("f", 1003, 500, 600), 3 + 64);
	OK(set("f", ACCESS, "u6 g4 G2:600 G6:700 m2 o6"));
	CHECK_EQ(may("f", 1003, 500, 0), 0);
	CHECK_EQ(may("f", 1003, 9, 700), 2);
	/* Others: who is in none of it, without the mask. */
	CHECK_EQ(may("f", 1003, 9, 0), 3);
	/* A mode without group permissions means: nobody but owner and others. */
	OK(chmod("f", 0604));
	CHECK_EQ(may("f", 1003, 500, 0), 0);
	CHECK_EQ(may("f", 1003, 9, 0), 1);
	CHECK_EQ(may("f", USER, 9, 0), 3);
	/* Root is not asked. */
	OK(set("f", ACCESS, "u0 U0:0 g0 m0 o0"));
	CHECK_EQ(may("f", 0, 0, 0), 3);
}

static void directories(void)
{
	need_acls();
	OK(mkdir("d", 0700));
	posix_make("d/f", "secret");
	OK(chmod("d/f", 0644));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
	}
	OK(set("d", ACCESS, "u7 U1:1000 U7:1001 g0 m7 o0"));
	AS_USER(USER, USER)
	{
		/* Search, but neither read nor write. */
		CHECK(strcmp(posix_text("d/f"), "secret") == 0);
		FAILS(EACCES, open("d", O_RDONLY | O_DIRECTORY));
		FAILS(EACCES, open("d/g", O_CREAT | O_WRONLY, 0600));
		FAILS(EACCES, unlink("d/f"));
		FAILS(EACCES, rename("d/f", "d/g"));
	}
	AS_USER(OTHER, OTHER)
	{
		posix_make("d/g", "");
		OK(rename("d/g", "d/h"));
		OK(unlink("d/h"));
		OK(mkdir("d/e", 0755));
		OK(rmdir("d/e"));
	}
	AS_USER(THIRD, THIRD)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
	}
	/* The sticky bit is above it. */
	OK(chmod("d", 01770));
	AS_USER(OTHER, OTHER)
	{
		FAILS(EPERM, unlink("d/f"));
	}
	OK(removexattr("d", ACCESS));
	AS_USER(OTHER, OTHER)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
	}
}

static void inherit(void)
{
	int fd;

	need_acls();
	OK(mkdir("d", 0755));
	OK(set("d", DEFAULT, "u7 U7:1000 g5 m7 o5"));
	umask(077);
	/* The umask does not count; what the mode does not give does. */
	OK(close((int)OK(open("d/f", O_CREAT | O_WRONLY, 0666))));
	IS("d/f", ACCESS, "u6 U7:1000 g5 m6 o4");
	CHECK_EQ(mode_of("d/f"), 0664);
	OK(close((int)OK(open("d/private", O_CREAT | O_WRONLY, 0600))));
	IS("d/private", ACCESS, "u6 U7:1000 g5 m0 o0");
	OK(mknod("d/p", S_IFIFO | 0640, 0));
	IS("d/p", ACCESS, "u6 U7:1000 g5 m4 o0");
	OK(symlink("x", "d/l"));
	CHECK_EQ(mode_of("d/l"), 0777);
	FAILS(EOPNOTSUPP, lgetxattr("d/l", ACCESS, NULL, 0));
	fd = (int)OK(open("d", O_TMPFILE | O_RDWR, 0644));
	CHECK_EQ(OK(fgetxattr(fd, ACCESS, NULL, 0)), 4 + 5 * 8);
	OK(mkdir("d/e", 0777));
	IS("d/e", ACCESS, "u7 U7:1000 g5 m7 o5");
	IS("d/e", DEFAULT, "u7 U7:1000 g5 m7 o5");
	CHECK_EQ(mode_of("d/e"), 0775);
	OK(mkdir("d/e/g", 0700));
	IS("d/e/g", ACCESS, "u7 U7:1000 g5 m0 o0");
	IS("d/e/g", DEFAULT, "u7 U7:1000 g5 m7 o5");
	/* What exists, or comes from elsewhere, inherits nothing. */
	posix_make("old", "");
	OK(rename("old", "d/old"));
	IS("d/old", ACCESS, "");
	OK(link("d/old", "d/e/old"));
	IS("d/e/old", ACCESS, "");
	/* A default of a mode's three entries leaves files without an ACL. */
	OK(mkdir("m", 0755));
	OK(set("m", DEFAULT, "u6 g4 o2"));
	OK(close((int)OK(open("m/f", O_CREAT | O_WRONLY, 0777))));
	IS("m/f", ACCESS, "");
	CHECK_EQ(mode_of("m/f"), 0642);
	OK(mkdir("m/e", 0777));
	IS("m/e", ACCESS, "");
	IS("m/e", DEFAULT, "u6 g4 o2");
	CHECK_EQ(mode_of("m/e"), 0642);
	OK(removexattr("d", DEFAULT));
	OK(close((int)OK(open("d/after", O_CREAT | O_WRONLY, 0666))));
	CHECK_EQ(mode_of("d/after"), 0600);
}

/* Without a default ACL the umask counts, in each call that makes something. */
static void without_default(void)
{
	struct stat st;
	int fd;

	umask(027);
	OK(close((int)OK(open("f", O_CREAT | O_WRONLY, 0666))));
	CHECK_EQ(mode_of("f"), 0640);
	OK(mkdir("d", 01777));
	CHECK_EQ(mode_of("d"), 01750);
	OK(mknod("p", S_IFIFO | 0666, 0));
	CHECK_EQ(mode_of("p"), 0640);
	OK(mknod("r", S_IFREG | 0777, 0));
	CHECK_EQ(mode_of("r"), 0750);
	fd = (int)OK(open(".", O_TMPFILE | O_RDWR, 0666));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_mode & 07777, 0640);
	umask(0);
	OK(close((int)OK(open("g", O_CREAT | O_WRONLY, 0666))));
	CHECK_EQ(mode_of("g"), 0666);
}

static void inherit_setgid(void)
{
	need_acls();
	OK(mkdir("d", 0777));
	OK(chown("d", 0, OTHER));
	OK(chmod("d", 02777));
	OK(set("d", DEFAULT, "u7 U5:1002 g7 m7 o7"));
	CHECK_EQ(mode_of("d"), 02777);
	AS_USER(USER, USER)
	{
		OK(close((int)OK(open("d/f", O_CREAT | O_WRONLY, 0664))));
		OK(mkdir("d/e", 0775));
	}
	CHECK_EQ(posix_stat("d/f").st_gid, OTHER);
	IS("d/f", ACCESS, "u6 U5:1002 g7 m6 o4");
	CHECK_EQ(posix_stat("d/e").st_gid, OTHER);
	CHECK_EQ(mode_of("d/e"), 02775);
	IS("d/e", ACCESS, "u7 U5:1002 g7 m7 o5");
}

/* chmod(2): who is not in the group cannot leave set-group-ID on; nor by an ACL. */
static void setgid_lost(void)
{
	need_acls();
	posix_make("f", "");
	OK(mkdir("d", 0755));
	OK(chown("f", USER, OTHER));
	OK(chown("d", USER, OTHER));
	OK(chmod("f", 02755));
	OK(chmod("d", 02755));
	AS_USER(USER, USER)
	{
		OK(set("f", ACCESS, "u7 U5:1002 g5 m5 o5"));
		OK(set("d", ACCESS, "u7 U5:1002 g5 m7 o5"));
	}
	CHECK_EQ(mode_of("f"), 0755);
	CHECK_EQ(mode_of("d"), 0775);
	OK(chown("f", USER, USER));
	OK(chown("d", USER, USER));
	OK(chmod("f", 02755));
	OK(chmod("d", 02755));
	AS_USER(USER, USER)
	{
		OK(set("f", ACCESS, "u7 U7:1002 g5 m7 o5"));
		OK(set("d", ACCESS, "u7 U7:1002 g5 m7 o5"));
	}
	CHECK_EQ(mode_of("f"), 02775);
	CHECK_EQ(mode_of("d"), 02775);
}

static void kept(void)
{
	need_acls();
	posix_make("f", "text");
	OK(set("f", ACCESS, "u6 U6:1000 g4 m6 o4"));
	OK(chmod("f", 06775));
	IS("f", ACCESS, "u7 U6:1000 g4 m7 o5");
	AS_USER(USER, USER)
	{
		OK(write((int)OK(open("f", O_WRONLY)), "x", 1));
	}
	CHECK_EQ(mode_of("f"), 0775);
	IS("f", ACCESS, "u7 U6:1000 g4 m7 o5");
	OK(truncate("f", 0));
	OK(chown("f", OTHER, OTHER));
	OK(link("f", "g"));
	OK(rename("f", "h"));
	OK(mkdir("d", 0755));
	OK(rename("h", "d/h"));
	IS("d/h", ACCESS, "u7 U6:1000 g4 m7 o5");
	IS("g", ACCESS, "u7 U6:1000 g4 m7 o5");
	OK(set("d", DEFAULT, "u7 g5 o5"));
	OK(set("d", ACCESS, "u7 U7:1000 g5 m7 o5"));
	OK(rename("d", "e"));
	IS("e", ACCESS, "u7 U7:1000 g5 m7 o5");
	IS("e", DEFAULT, "u7 g5 o5");
	CHECK_EQ(mode_of("e"), 0775);
	OK(chown("e", USER, USER));
	CHECK_EQ(mode_of("e"), 0775);
	IS("e", ACCESS, "u7 U7:1000 g5 m7 o5");
}

static void many(void)
{
	static struct acl a = { .bytes = { 2 }, .len = 4 };
	static uint8_t back[ACL_BYTES_MAX];
	int fd;

	need_acls();
	acl_add(&a, 0x01, 6, UINT32_MAX);
	for (uint32_t k = 0; k < 120; k++)
		acl_add(&a, 0x02, k % 8 ? 4 : 0, 1000 + k);
	acl_add(&a, 0x04, 4, UINT32_MAX);
	acl_add(&a, 0x10, 7, UINT32_MAX);
	acl_add(&a, 0x20, 0, UINT32_MAX);
	posix_make("f", "");
	OK(setxattr("f", ACCESS, a.bytes, a.len, 0));
	CHECK_EQ(OK(getxattr("f", ACCESS, back, sizeof(back))), a.len);
	CHECK(memcmp(a.bytes, back, a.len) == 0);
	AS_USER(1119, 9)
	{
		OK(open("f", O_RDONLY));
	}
	AS_USER(1112, 9)
	{
		FAILS(EACCES, open("f", O_RDONLY));
	}
	AS_USER(1120, 9)
	{
		FAILS(EACCES, open("f", O_RDONLY));
	}
	OK(mkdir("d", 0755));
	OK(setxattr("d", DEFAULT, a.bytes, a.len, 0));
	OK(mkdir("d/e", 0777));
	CHECK_EQ(OK(getxattr("d/e", ACCESS, back, sizeof(back))), a.len);
	CHECK_EQ(OK(getxattr("d/e", DEFAULT, back, sizeof(back))), a.len);
	CHECK(memcmp(a.bytes, back, a.len) == 0);
	fd = (int)OK(open("d/e/f", O_CREAT | O_RDWR, 0666));
	CHECK_EQ(OK(fgetxattr(fd, ACCESS, back, sizeof(back))), a.len);
}

static void change_at_once(void *arg, unsigned i)
{
	const char *path = arg;
	char text[48];

	for (unsigned k = 0; k < posix_count(40, 400); k++) {
		snprintf(text, sizeof(text), "u7 U7:%u g%u m%u o%u", 1000 + k % 5, k % 8, k * 3 % 8,
			 k * 5 % 8);
		if (i == 0)
			OK(set(path, ACCESS, text));
		else if (i == 1)
			OK(chmod(path, 0700 | (k * 7 & 077)));
		else
			OK(chown(path, 1000 + k % 3, (gid_t)-1));
	}
}

/* After changes at the same time mode and ACL still say the same. */
static void at_once(void)
{
	need_acls();
	posix_make("f", "");
	OK(mkdir("d", 0755));
	for (int k = 0; k < 2; k++) {
		const char *path = k ? "d" : "f", *p;
		unsigned mask = 8;

		posix_children(3, change_at_once, (void *)(uintptr_t)path);
		p = strstr(get(path, ACCESS), "m");
		if (p)
			mask = (unsigned)(p[1] - '0');
		CHECK_EQ(mask, mode_of(path) >> 3 & 7);
		p = strstr(get(path, ACCESS), "o");
		CHECK_EQ((unsigned)(p[1] - '0'), mode_of(path) & 7);
	}
}

/* What one mount sets the other obeys at once. */
static void two_mounts(void)
{
	const char *second = posix_second();
	char dir[600], file[600];

	need_acls();
	posix_needs_root();
	snprintf(dir, sizeof(dir), "%s/d", second);
	snprintf(file, sizeof(file), "%s/d/f", second);
	OK(mkdir("d", 0700));
	posix_make("d/f", "");
	OK(chmod("d/f", 0600));
	for (unsigned k = 0; k < posix_count(20, 300); k++) {
		CHECK_EQ(may(file, USER, 9, 0), 0);
		OK(set("d", ACCESS, "u7 U1:1000 g0 m1 o0"));
		CHECK_EQ(may(file, USER, 9, 0), 0);
		OK(set("d/f", ACCESS, "u6 U4:1000 g0 m4 o0"));
		CHECK_EQ(may(file, USER, 9, 0), 1);
		CHECK_EQ(mode_of(file), 0640);
		IS(file, ACCESS, "u6 U4:1000 g0 m4 o0");
		OK(set(file, ACCESS, "u6 U6:1000 g0 m6 o0"));
		CHECK_EQ(may("d/f", USER, 9, 0), 3);
		OK(set(dir, DEFAULT, "u7 U2:1000 g0 m7 o0"));
		OK(mknod("d/n", S_IFREG | 0666, 0));
		CHECK_EQ(may("d/n", USER, 9, 0), 2);
		IS(file, ACCESS, "u6 U6:1000 g0 m6 o0");
		OK(chmod(file, 0600));
		CHECK_EQ(may("d/f", USER, 9, 0), 0);
		OK(removexattr(file, ACCESS));
		IS("d/f", ACCESS, "");
		OK(unlink("d/n"));
		OK(removexattr("d", DEFAULT));
		OK(removexattr(dir, ACCESS));
		OK(chmod(dir, 0700));
	}
}

const struct posix_case acl_cases[] = {
	{ "acl_mode", "acl(5): entries of owner, mask and others are the mode's", mode },
	{ "acl_values", "acl(5): what a valid ACL is; EINVAL, EACCES of a file's default", values },
	{ "acl_attribute", "getxattr(2), listxattr(2), fsetxattr(2) of an ACL", attribute },
	{ "acl_owners", "acl_set_file(3): EPERM for others; chown keeps it", owners },
	{ "acl_algorithm", "acl(5): the access check algorithm", algorithm },
	{ "acl_directories", "acl(5): search, read and write of directories", directories },
	{ "acl_inherit", "acl(5): object creation and default ACLs; no umask", inherit },
	{ "acl_without_default", "umask(2): where there is no default ACL", without_default },
	{ "acl_inherit_setgid", "inode(7): S_ISGID beside a default ACL", inherit_setgid },
	{ "acl_setgid", "chmod(2): S_ISGID of a strange group is dropped by an ACL too",
	  setgid_lost },
	{ "acl_kept", "write, truncate, chown, link and rename keep an ACL", kept },
	{ "acl_many", "acl(5): as many entries as fit", many },
	{ "acl_at_once", "chmod and ACLs at the same time stay one", at_once },
	{ "two_acl", "acl(5): what one mount sets the other obeys at once", two_mounts },
	{ 0 },
};
