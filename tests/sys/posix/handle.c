/* File handles: open_by_handle_at(2). test_mounts.sh has what a mount and a server come and go for.
 */
#include "posix.h"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>

struct handle {
	struct file_handle h;
	unsigned char room[MAX_HANDLE_SZ];
};

static int here;

static void handle_of(const char *path, struct handle *out)
{
	int id;

	*out = (struct handle){ .h.handle_bytes = MAX_HANDLE_SZ };
	here = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
	if (name_to_handle_at(AT_FDCWD, path, &out->h, &id, 0) < 0 && errno == EOPNOTSUPP)
		posix_skip("no file handles here");
	OK(name_to_handle_at(AT_FDCWD, path, &out->h, &id, 0));
}

/* The handle opens what @st is. */
static void opens(struct handle *h, int flags, const struct stat *st)
{
	int fd = (int)OK(open_by_handle_at(here, &h->h, flags));
	struct stat now;

	OK(fstat(fd, &now));
	CHECK_EQ(now.st_ino, st->st_ino);
	CHECK_EQ(now.st_mode, st->st_mode);
	CHECK_EQ(now.st_size, st->st_size);
	OK(close(fd));
}

static void kinds(void)
{
	struct handle h;
	struct stat st;

	posix_make("f", "text");
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	OK(symlink("f", "l"));
	OK(mknod("p", S_IFIFO | 0600, 0));
	OK(mknod("c", S_IFCHR | 0600, makedev(1, 3)));
	handle_of("f", &h);
	st = posix_stat("f");
	opens(&h, O_RDONLY, &st);
	opens(&h, O_RDWR, &st);
	opens(&h, O_PATH, &st);
	handle_of("d/e", &h);
	st = posix_stat("d/e");
	opens(&h, O_RDONLY | O_DIRECTORY, &st);
	FAILS(EISDIR, open_by_handle_at(here, &h.h, O_RDWR));
	handle_of("l", &h);
	st = posix_lstat("l");
	opens(&h, O_PATH, &st);
	FAILS(ELOOP, open_by_handle_at(here, &h.h, O_RDONLY));
	handle_of("p", &h);
	st = posix_stat("p");
	opens(&h, O_RDWR | O_NONBLOCK, &st);
	handle_of("c", &h);
	st = posix_stat("c");
	opens(&h, O_PATH, &st);
	handle_of(".", &h);
	st = posix_stat(".");
	opens(&h, O_RDONLY, &st);
}

/* It stands for the file, whatever its names are. */
static void names(void)
{
	struct handle h, again;
	struct stat st;
	int fd;

	posix_make("f", "text");
	OK(mkdir("d", 0755));
	handle_of("f", &h);
	OK(link("f", "d/g"));
	handle_of("d/g", &again);
	CHECK_EQ(h.h.handle_bytes, again.h.handle_bytes);
	CHECK(memcmp(h.h.f_handle, again.h.f_handle, h.h.handle_bytes) == 0);
	OK(unlink("f"));
	OK(rename("d/g", "d/h"));
	posix_make("f", "another");
	st = posix_stat("d/h");
	opens(&h, O_RDONLY, &st);
	fd = (int)OK(open_by_handle_at(here, &h.h, O_WRONLY | O_APPEND));
	OK(write(fd, " more", 5));
	OK(close(fd));
	CHECK(strcmp(posix_text("d/h"), "text more") == 0);
	OK(rename("d/h", "f"));
	st = posix_stat("f");
	opens(&h, O_RDONLY, &st);
	/* A directory that has moved: its ".." is where it is now. */
	OK(mkdir("d/e", 0755));
	handle_of("d/e", &h);
	OK(mkdir("x", 0755));
	OK(rename("d/e", "x/e"));
	fd = (int)OK(open_by_handle_at(here, &h.h, O_RDONLY));
	OK(fstatat(fd, "..", &st, 0));
	CHECK_EQ(st.st_ino, posix_stat("x").st_ino);
	OK(close(fd));
}

static void removed(void)
{
	struct handle h, d;
	struct stat st;
	int fd;

	posix_make("f", "text");
	OK(mkdir("d", 0755));
	handle_of("f", &h);
	handle_of("d", &d);
	OK(unlink("f"));
	OK(rmdir("d"));
	for (unsigned i = 0; i < posix_count(30, 300); i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		posix_make(name, "another");
		FAILS(ESTALE, open_by_handle_at(here, &h.h, O_RDONLY));
		FAILS(ESTALE, open_by_handle_at(here, &d.h, O_RDONLY));
	}
	/* While it is open it may be reached, but never another. */
	posix_make("f", "text");
	handle_of("f", &h);
	fd = (int)OK(open("f", O_RDONLY));
	OK(unlink("f"));
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_nlink, 0);
	if (open_by_handle_at(here, &h.h, O_RDONLY) < 0)
		CHECK_EQ(errno, ESTALE);
	else
		opens(&h, O_RDONLY, &st);
	OK(close(fd));
}

const struct posix_case handle_cases[] = {
	{ "handle_kinds", "open_by_handle_at(2): each kind of file; EISDIR, ELOOP", kinds },
	{ "handle_names", "open_by_handle_at(2): the file, not its name", names },
	{ "handle_removed", "open_by_handle_at(2): ESTALE, and never another file", removed },
	{ 0 },
};
