/* capabilities(7), write(2), chown(2): which changes take set-user-ID, set-group-ID and file
 * capabilities away. */
#include "posix.h"

#include <grp.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#define CAPABILITY "security.capability"
#define BLOCK 4096

static const uint8_t cap[20] = { 0, 0, 0, 2, 0x20 }; /* VFS_CAP_REVISION_2 */

static mode_t mode_of(const char *path)
{
	return posix_stat(path).st_mode & 07777;
}

static bool has_cap(const char *path)
{
	uint8_t buf[64];
	ssize_t n = getxattr(path, CAPABILITY, buf, sizeof(buf));

	if (n < 0)
		CHECK_EQ(errno, ENODATA);
	return n >= 0;
}

/* --- changes of contents, each of the file f --- */

static void by_write(void)
{
	OK(write((int)OK(open("f", O_WRONLY)), "x", 1));
}

static void by_append(void)
{
	OK(write((int)OK(open("f", O_WRONLY | O_APPEND)), "x", 1));
}

static void by_rdwr(void)
{
	struct iovec v[2] = { { "a", 1 }, { "b", 1 } };

	OK(pwritev((int)OK(open("f", O_RDWR)), v, 2, 10));
}

static void by_direct(void)
{
	void *buf;

	CHECK(posix_memalign(&buf, BLOCK, BLOCK) == 0);
	memset(buf, 'd', BLOCK);
	OK(pwrite((int)OK(open("f", O_WRONLY | O_DIRECT)), buf, BLOCK, 0));
}

static void by_truncate(void)
{
	OK(truncate("f", 5));
}

static void by_ftruncate(void)
{
	OK(ftruncate((int)OK(open("f", O_WRONLY)), 10000));
}

static void by_open(void)
{
	OK(open("f", O_WRONLY | O_TRUNC));
}

static void by_creat(void)
{
	OK(creat("f", 0644));
}

static void by_allocate(void)
{
	OK(fallocate((int)OK(open("f", O_WRONLY)), 0, 0, 20000));
}

static void by_punch(void)
{
	OK(fallocate((int)OK(open("f", O_WRONLY)), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		     BLOCK));
}

static void by_copy(void)
{
	CHECK_EQ(OK(copy_file_range((int)OK(open("source", O_RDONLY)), NULL,
				    (int)OK(open("f", O_WRONLY)), NULL, 100, 0)),
		 100);
}

static void by_sendfile(void)
{
	OK(sendfile((int)OK(open("f", O_WRONLY)), (int)OK(open("source", O_RDONLY)), NULL, 100));
}

static const struct {
	const char *name;
	void (*change)(void);
} changes[] = {
	{ "write", by_write },     { "append", by_append },        { "pwritev", by_rdwr },
	{ "O_DIRECT", by_direct }, { "truncate", by_truncate },    { "ftruncate", by_ftruncate },
	{ "O_TRUNC", by_open },    { "creat", by_creat },          { "fallocate", by_allocate },
	{ "punch", by_punch },     { "copy_file_range", by_copy }, { "sendfile", by_sendfile },
};
#define CHANGES (sizeof(changes) / sizeof(changes[0]))

static void prepare(mode_t mode, bool with_cap)
{
	static char text[6000];

	memset(text, 't', sizeof(text));
	posix_make("f", "");
	posix_write_all((int)OK(open("f", O_WRONLY)), text, sizeof(text), 0);
	if (!posix_exists("source")) {
		posix_make("source", "");
		posix_write_all((int)OK(open("source", O_WRONLY)), text, sizeof(text), 0);
	}
	OK(chmod("f", mode));
	if (with_cap)
		OK(setxattr("f", CAPABILITY, cap, sizeof(cap), 0));
}

static void expect(const char *who, size_t k, mode_t mode, bool with_cap)
{
	if (mode_of("f") != mode || has_cap("f") != with_cap)
		posix_fail(__FILE__, __LINE__, "%s by %s leaves mode %o and %s capability, not %o",
			   changes[k].name, who, mode_of("f"), has_cap("f") ? "the" : "no", mode);
}

static void by_user(void)
{
	for (size_t k = 0; k < CHANGES; k++) {
		prepare(06777, true);
		AS_USER(USER, USER)
		{
			changes[k].change();
		}
		expect("a user", k, 0777, false);
		/* Without the capability as well: nothing hinges on it. */
		prepare(06777, false);
		AS_USER(USER, USER)
		{
			changes[k].change();
		}
		expect("a user", k, 0777, false);
		/* The owner is no exception. */
		prepare(04755, false);
		OK(chown("f", USER, USER));
		OK(chmod("f", 04755));
		AS_USER(USER, USER)
		{
			changes[k].change();
		}
		expect("its owner", k, 0755, false);
		OK(unlink("f"));
	}
}

static void by_root(void)
{
	posix_needs_root();
	for (size_t k = 0; k < CHANGES; k++) {
		prepare(06755, false);
		changes[k].change();
		expect("root", k, 06755, false);
		prepare(0755, true);
		changes[k].change();
		expect("root", k, 0755, false);
		/* The kernel tells of both by the same request, or of neither. */
		if ((changes[k].change == by_allocate || changes[k].change == by_punch ||
		     changes[k].change == by_copy) &&
		    posix_differs("root-allocates"))
			continue;
		prepare(06755, true);
		changes[k].change();
		expect("root", k, 06755, false);
	}
}

/* What changes no contents. */
static void untouched(void)
{
	struct timespec t[2] = { { 1, 0 }, { 2, 0 } };
	char c;

	posix_needs_root();
	prepare(06755, true);
	OK(read((int)OK(open("f", O_RDWR)), &c, 1));
	OK(utimensat(AT_FDCWD, "f", t, 0));
	OK(link("f", "g"));
	OK(rename("g", "h"));
	OK(setxattr("f", "user.x", "1", 1, 0));
	OK(write((int)OK(open("f", O_WRONLY)), "", 0));
	CHECK_EQ(mode_of("f"), 06755);
	CHECK(has_cap("f"));
	OK(chmod("f", 0711));
	CHECK(has_cap("f"));
}

static void by_chown(void)
{
	posix_needs_root();
	prepare(06755, true);
	OK(chown("f", USER, USER));
	CHECK_EQ(mode_of("f"), 0755);
	CHECK(!has_cap("f"));
	prepare(06755, true);
	OK(chown("f", (uid_t)-1, OTHER));
	CHECK_EQ(mode_of("f"), 0755);
	CHECK(!has_cap("f"));
	/* chown(2): also when nothing changes. */
	prepare(06755, true);
	OK(chown("f", (uid_t)-1, (gid_t)-1));
	CHECK_EQ(mode_of("f"), 0755);
	CHECK(!has_cap("f"));
	OK(chown("f", USER, USER));
	OK(chmod("f", 06755));
	AS_USER(USER, USER)
	{
		OK(chown("f", (uid_t)-1, (gid_t)-1));
	}
	CHECK_EQ(mode_of("f"), 0755);
	OK(chmod("f", 06755));
	AS_USER(USER, USER)
	{
		OK(fchown((int)OK(open("f", O_RDONLY)), USER, USER));
	}
	CHECK_EQ(mode_of("f"), 0755);
	/* Directories keep theirs. */
	OK(mkdir("d", 0755));
	OK(chmod("d", 06755));
	OK(chown("d", USER, USER));
	CHECK_EQ(mode_of("d"), 06755);
	AS_USER(USER, USER)
	{
		OK(chown("d", (uid_t)-1, (gid_t)-1));
	}
	CHECK_EQ(mode_of("d"), 06755);
}

const struct posix_case priv_cases[] = {
	{ "priv_user", "write(2) and what else changes contents: all is taken away", by_user },
	{ "priv_root", "capabilities(7): root's changes take file capabilities only", by_root },
	{ "priv_untouched", "what changes no contents takes nothing away", untouched },
	{ "priv_chown", "chown(2): also of -1, and not of directories", by_chown },
	{ 0 },
};
