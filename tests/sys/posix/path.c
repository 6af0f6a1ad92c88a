/* What every call that takes a path says of paths that lead nowhere. */
#include "posix.h"

#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

enum {
	MAKES = 1,   /* the last name must not be there */
	CHANGES = 2, /* refused by a read-only mount */
	HAS_AT = 4,  /* takes a directory's descriptor */
	REMOVES = 8, /* cannot be tried twice */
};

struct call {
	const char *page, *name;
	long (*run)(int at, const char *path);
	unsigned flags;
};

static long call_open(int at, const char *path)
{
	return openat(at, path, O_RDWR);
}

static long call_create(int at, const char *path)
{
	return openat(at, path, O_RDWR | O_CREAT | O_EXCL, 0644);
}

static long call_openat2(int at, const char *path)
{
	struct open_how how = { .flags = O_RDWR };

	return syscall(SYS_openat2, at, path, &how, sizeof(how));
}

static long call_mkdir(int at, const char *path)
{
	return mkdirat(at, path, 0755);
}

static long call_mknod(int at, const char *path)
{
	return mknodat(at, path, S_IFIFO | 0644, 0);
}

static long call_rmdir(int at, const char *path)
{
	return unlinkat(at, path, AT_REMOVEDIR);
}

static long call_unlink(int at, const char *path)
{
	return unlinkat(at, path, 0);
}

static long call_link_from(int at, const char *path)
{
	return linkat(at, path, AT_FDCWD, "made", 0);
}

static long call_link_to(int at, const char *path)
{
	return linkat(AT_FDCWD, "f", at, path, 0);
}

static long call_symlink(int at, const char *path)
{
	return symlinkat("target", at, path);
}

static long call_readlink(int at, const char *path)
{
	char buf[64];

	return readlinkat(at, path, buf, sizeof(buf));
}

static long call_rename_from(int at, const char *path)
{
	return renameat(at, path, AT_FDCWD, "made");
}

static long call_rename_to(int at, const char *path)
{
	return renameat(AT_FDCWD, "f", at, path);
}

static long call_stat(int at, const char *path)
{
	struct stat st;

	return fstatat(at, path, &st, 0);
}

static long call_statx(int at, const char *path)
{
	struct statx st;

	return statx(at, path, 0, STATX_BASIC_STATS, &st);
}

static long call_chmod(int at, const char *path)
{
	return fchmodat(at, path, 0644, 0);
}

static long call_chown(int at, const char *path)
{
	return fchownat(at, path, geteuid(), getegid(), 0);
}

static long call_utimensat(int at, const char *path)
{
	return syscall(SYS_utimensat, at, path, NULL, 0);
}

static long call_truncate(int at, const char *path)
{
	(void)at;
	return truncate(path, 0);
}

static long call_chdir(int at, const char *path)
{
	(void)at;
	return chdir(path);
}

static long call_access(int at, const char *path)
{
	return faccessat(at, path, W_OK, 0);
}

static long call_getxattr(int at, const char *path)
{
	char buf[64];

	(void)at;
	return getxattr(path, "user.x", buf, sizeof(buf));
}

static long call_setxattr(int at, const char *path)
{
	(void)at;
	return setxattr(path, "user.x", "1", 1, 0);
}

static long call_listxattr(int at, const char *path)
{
	char buf[64];

	(void)at;
	return listxattr(path, buf, sizeof(buf));
}

static long call_removexattr(int at, const char *path)
{
	(void)at;
	return removexattr(path, "user.x");
}

static long call_statfs(int at, const char *path)
{
	struct statfs fs;

	(void)at;
	return statfs(path, &fs);
}

static long call_handle(int at, const char *path)
{
	struct file_handle h = { 0 };
	int id;

	return name_to_handle_at(at, path, &h, &id, 0);
}

static const struct call calls[] = {
	{ "open", "open", call_open, CHANGES | HAS_AT },
	{ "open", "creat", call_create, MAKES | CHANGES | HAS_AT },
	{ "openat2", "openat2", call_openat2, CHANGES | HAS_AT },
	{ "mkdir", "mkdir", call_mkdir, MAKES | CHANGES | HAS_AT },
	{ "mknod", "mknod", call_mknod, MAKES | CHANGES | HAS_AT },
	{ "rmdir", "rmdir", call_rmdir, CHANGES | HAS_AT | REMOVES },
	{ "unlink", "unlink", call_unlink, CHANGES | HAS_AT | REMOVES },
	{ "link", "link from", call_link_from, HAS_AT },
	{ "link", "link to", call_link_to, MAKES | CHANGES | HAS_AT },
	{ "symlink", "symlink", call_symlink, MAKES | CHANGES | HAS_AT },
	{ "readlink", "readlink", call_readlink, HAS_AT },
	{ "rename", "rename from", call_rename_from, HAS_AT | REMOVES },
	{ "rename", "rename to", call_rename_to, MAKES | HAS_AT },
	{ "stat", "fstatat", call_stat, HAS_AT },
	{ "statx", "statx", call_statx, HAS_AT },
	{ "chmod", "fchmodat", call_chmod, CHANGES | HAS_AT },
	{ "chown", "fchownat", call_chown, CHANGES | HAS_AT },
	{ "utimensat", "utimensat", call_utimensat, CHANGES | HAS_AT },
	{ "truncate", "truncate", call_truncate, CHANGES },
	{ "chdir", "chdir", call_chdir, 0 },
	{ "access", "faccessat", call_access, CHANGES | HAS_AT },
	{ "getxattr", "getxattr", call_getxattr, 0 },
	{ "setxattr", "setxattr", call_setxattr, CHANGES },
	{ "listxattr", "listxattr", call_listxattr, 0 },
	{ "removexattr", "removexattr", call_removexattr, CHANGES },
	{ "statfs", "statfs", call_statfs, 0 },
	{ "open_by_handle_at", "name_to_handle_at", call_handle, HAS_AT },
};

/* Every call that has all of @flags must fail so. */
static void all_fail(int code, int at, const char *path, unsigned flags)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct call *c = &calls[i];
		long rc;

		if ((c->flags & flags) != flags)
			continue;
		errno = 0;
		rc = c->run(at, path);
		if (rc != -1 || errno != code)
			posix_fail(__FILE__, __LINE__, "%s(%.40s): %s, not %s", c->name,
				   (uintptr_t)path < 4096 ? "bad address" : path,
				   rc == -1 ? strerrorname_np(errno) : "no error",
				   strerrorname_np(code));
		posix_covers(c->page, code);
	}
}

static void missing(void)
{
	posix_make("f", "");
	OK(symlink("nowhere", "dangling"));
	all_fail(ENOENT, AT_FDCWD, "x/y", 0);
	all_fail(ENOENT, AT_FDCWD, "", 0);
	all_fail(ENOENT, AT_FDCWD, "dangling/y", 0);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!(calls[i].flags & MAKES))
			FAILS_AS(calls[i].page, ENOENT, calls[i].run(AT_FDCWD, "x"));
}

static void through_file(void)
{
	posix_make("f", "");
	OK(symlink("f", "l"));
	OK(mkfifo("p", 0644));
	all_fail(ENOTDIR, AT_FDCWD, "f/y", 0);
	all_fail(ENOTDIR, AT_FDCWD, "l/y", 0);
	all_fail(ENOTDIR, AT_FDCWD, "p/y", 0);
	all_fail(ENOTDIR, AT_FDCWD, "f/.", 0);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!(calls[i].flags & MAKES))
			FAILS_AS(calls[i].page, ENOTDIR, calls[i].run(AT_FDCWD, "f/"));
}

static void loops(void)
{
	posix_make("f", "");
	OK(symlink("loop", "loop"));
	OK(symlink("b", "a"));
	OK(symlink("a", "b"));
	all_fail(ELOOP, AT_FDCWD, "loop/y", 0);
	all_fail(ELOOP, AT_FDCWD, "a/y", 0);
}

static void too_long(void)
{
	static char name[300], path[5000];

	posix_make("f", "");
	memset(name, 'n', 256);
	all_fail(ENAMETOOLONG, AT_FDCWD, name, 0);
	snprintf(path, sizeof(path), "%s/y", name);
	all_fail(ENAMETOOLONG, AT_FDCWD, path, 0);
	for (size_t i = 0; i < 4096; i += 2)
		memcpy(path + i, "./", 3);
	all_fail(ENAMETOOLONG, AT_FDCWD, path, 0);
}

static void bad_address(void)
{
	posix_make("f", "");
	all_fail(EFAULT, AT_FDCWD, (const char *)1, 0);
}

static void bad_directory(void)
{
	int fd;

	posix_make("f", "");
	fd = (int)OK(open("f", O_RDONLY));
	all_fail(EBADF, -1, "x", HAS_AT);
	all_fail(EBADF, 999, "x", HAS_AT);
	all_fail(ENOTDIR, fd, "x", HAS_AT);
}

static void no_search(void)
{
	OK(mkdir("locked", 0755));
	posix_make("f", "");
	OK(chmod("f", 0666));
	OK(chmod(".", 0777));
	posix_make("locked/f", "");
	OK(chmod("locked/f", 0777));
	OK(chmod("locked", 0644));
	AS_USER(USER, USER)
	{
		all_fail(EACCES, AT_FDCWD, "locked/f", 0);
		all_fail(EACCES, AT_FDCWD, "locked/missing", 0);
		all_fail(EACCES, AT_FDCWD, "locked/../f", 0);
	}
}

static void no_write(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("d/sub", 0755));
	posix_make("d/f", "");
	posix_make("f", "");
	posix_make("g", "");
	OK(chown("f", USER, USER)); /* others' files cannot be linked: protected_hardlinks */
	AS_USER(USER, USER)
	{
		all_fail(EACCES, AT_FDCWD, "d/new", MAKES);
		all_fail(EACCES, AT_FDCWD, "d/f", REMOVES);
		FAILS(EACCES, truncate("g", 0));
		FAILS(EACCES, open("g", O_WRONLY));
		FAILS(EACCES, access("g", W_OK));
		FAILS(EACCES, utimensat(AT_FDCWD, "g", NULL, 0));
		FAILS(EPERM, chmod("g", 0600));
		FAILS(EPERM, chown("g", USER, USER));
	}
}

static void read_only(void)
{
	posix_make("f", "text");
	OK(mkdir("empty", 0755));
	OK(mkdir("ro", 0755));
	OK(setxattr("f", "user.x", "1", 1, 0));
	posix_own_mounts();
	posix_bind("ro", MS_RDONLY);
	all_fail(EROFS, AT_FDCWD, "ro/new", MAKES | CHANGES);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct call *c = &calls[i];

		if ((c->flags & (CHANGES | MAKES)) == CHANGES)
			FAILS_AS(c->page, EROFS,
				 c->run(AT_FDCWD, c->run == call_rmdir ? "ro/empty" : "ro/f"));
	}
	FAILS(EROFS, rename("ro/f", "ro/g"));
	FAILS(EROFS, open("ro/f", O_RDONLY | O_TRUNC));
	FAILS(EROFS, open("ro/new", O_CREAT | O_RDONLY, 0644));
	/* What is there can be read, and "created" without O_EXCL. */
	CHECK(strcmp(posix_text("ro/f"), "text") == 0);
	OK(open("ro/f", O_CREAT | O_RDONLY, 0644));
	FAILS(EEXIST, mkdir("ro/f", 0755));
	FAILS(EXDEV, rename("f", "ro/g"));
}

/* A mount point cannot be removed or replaced. */
static void busy(void)
{
	OK(mkdir("top", 0755));
	OK(mkdir("d", 0755));
	posix_make("f", "");
	posix_make("g", "");
	posix_own_mounts();
	posix_bind("top", 0);
	OK(mount("g", "f", NULL, MS_BIND, NULL));
	FAILS(EBUSY, rmdir("top"));
	FAILS(EBUSY, unlink("f"));
	FAILS(EBUSY, rename("top", "other"));
	FAILS(EBUSY, rename("d", "top"));
	FAILS(EBUSY, rename("g", "f"));
	FAILS(EISDIR, unlink("top"));
}

static void bad_flags(void)
{
	const struct timespec t[2] = { { .tv_nsec = 1000000000 }, { 0 } };
	struct statx sx;
	struct stat st;
	char buf[8];

	posix_make("f", "");
	OK(symlink("f", "l"));
	FAILS(EINVAL, unlinkat(AT_FDCWD, "f", 0x8000));
	FAILS(EINVAL, linkat(AT_FDCWD, "f", AT_FDCWD, "g", 0x8000));
	FAILS(EINVAL, fstatat(AT_FDCWD, "f", &st, 0x40000000));
	FAILS(EINVAL, statx(AT_FDCWD, "f", 0x40000000, STATX_BASIC_STATS, &sx));
	FAILS(EINVAL, statx(AT_FDCWD, "f", 0, 1u << 31, &sx));
	FAILS(EINVAL, statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &sx));
	FAILS(EINVAL, fchownat(AT_FDCWD, "f", geteuid(), getegid(), 0x8000));
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", NULL, 0x8000));
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", t, 0));
	FAILS(EINVAL, faccessat(AT_FDCWD, "f", 8, 0));
	FAILS(EINVAL, readlink("l", buf, 0));
	FAILS(EINVAL, readlink("f", buf, sizeof(buf)));
	FAILS(EINVAL, renameat2(AT_FDCWD, "f", AT_FDCWD, "g", 0x8000));
	FAILS(EINVAL, renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_EXCHANGE | RENAME_NOREPLACE));
	FAILS(EINVAL, open(".", O_TMPFILE | O_RDONLY, 0644));
	FAILS(EINVAL, open(".", O_DIRECTORY | O_CREAT | O_RDONLY, 0644));
	FAILS(EINVAL, fchmodat(AT_FDCWD, "f", 0644, 0x8000));
	FAILS(EOPNOTSUPP, fchmodat(AT_FDCWD, "l", 0644, AT_SYMLINK_NOFOLLOW));
	FAILS_EITHER(EINVAL, EPERM, mknod("m", S_IFMT, 0));
	CHECK(!posix_exists("g") && !posix_exists("m"));
}

static void bad_buffers(void)
{
	void *volatile bad = (void *)1;

	posix_make("f", "");
	OK(symlink("f", "l"));
	FAILS(EFAULT, readlink("l", bad, 8));
	FAILS(EFAULT, fstatat(AT_FDCWD, "f", bad, 0));
	FAILS(EFAULT, statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, bad));
	FAILS_AS("statfs", EFAULT, syscall(SYS_statfs, "f", bad));
	FAILS(EFAULT, utimensat(AT_FDCWD, "f", bad, 0));
	FAILS(EFAULT, symlink(bad, "m"));
	FAILS(EFAULT, rename("f", bad));
	FAILS(EFAULT, link("f", bad));
	OK(setxattr("f", "user.x", "1", 1, 0));
	FAILS(EFAULT, getxattr("f", "user.x", bad, 8));
	FAILS(EFAULT, setxattr("f", "user.x", bad, 8, 0));
	FAILS(EFAULT, listxattr("f", bad, 100));
	FAILS(EFAULT, syscall(SYS_openat2, AT_FDCWD, "f", bad, sizeof(struct open_how)));
}

static long open2(int at, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve };

	return syscall(SYS_openat2, at, path, &how, sizeof(how));
}

static void resolve(void)
{
	struct {
		struct open_how how;
		uint64_t more;
	} big = { .how.flags = O_RDONLY };
	int fd;

	OK(mkdir("d", 0755));
	posix_make("d/f", "in");
	posix_make("out", "out");
	OK(symlink("../out", "d/up"));
	OK(symlink("f", "d/l"));
	fd = (int)OK(open("d", O_PATH));
	OK(open2(fd, "f", O_RDONLY, RESOLVE_BENEATH));
	OK(open2(fd, "l", O_RDONLY, RESOLVE_BENEATH));
	FAILS_AS("openat2", EXDEV, open2(fd, "../out", O_RDONLY, RESOLVE_BENEATH));
	FAILS_AS("openat2", EXDEV, open2(fd, "up", O_RDONLY, RESOLVE_BENEATH));
	FAILS_AS("openat2", ENOENT, open2(fd, "up", O_RDONLY, RESOLVE_IN_ROOT));
	FAILS_AS("openat2", ELOOP, open2(fd, "l", O_RDONLY, RESOLVE_NO_SYMLINKS));
	FAILS_AS("openat2", EAGAIN, open2(fd, "new", O_CREAT | O_WRONLY, RESOLVE_CACHED));
	FAILS_AS("openat2", EINVAL, open2(fd, "f", O_RDONLY, 1ull << 60));
	FAILS_AS("openat2", EINVAL, open2(fd, "f", 1ull << 50, 0));
	OK(syscall(SYS_openat2, fd, "f", &big, sizeof(big)));
	big.more = 1;
	FAILS_AS("openat2", E2BIG, syscall(SYS_openat2, fd, "f", &big, sizeof(big)));
}

static void handles(void)
{
	struct {
		struct file_handle h;
		unsigned char room[MAX_HANDLE_SZ];
	} f = { .h.handle_bytes = MAX_HANDLE_SZ }, small = { .h.handle_bytes = 0 };
	int id, fd, here = (int)OK(open(".", O_RDONLY | O_DIRECTORY));
	char c;

	posix_make("f", "x");
	FAILS(EOVERFLOW, name_to_handle_at(AT_FDCWD, "f", &small.h, &id, 0));
	CHECK(small.h.handle_bytes > 0);
	OK(name_to_handle_at(AT_FDCWD, "f", &f.h, &id, 0));
	FAILS(EINVAL, name_to_handle_at(AT_FDCWD, "f", &f.h, &id, 0x40000000));
	fd = (int)OK(open_by_handle_at(here, &f.h, O_RDONLY));
	posix_read_all(fd, &c, 1, 0);
	CHECK_EQ(c, 'x');
	OK(close(fd));
	FAILS(EBADF, open_by_handle_at(-1, &f.h, O_RDONLY));
	FAILS(ENOTDIR, open_by_handle_at(here, &f.h, O_RDONLY | O_DIRECTORY));
	AS_USER(USER, USER)
	{
		FAILS(EPERM, open_by_handle_at(here, &f.h, O_RDONLY));
	}
	OK(rename("f", "g"));
	OK(close((int)OK(open_by_handle_at(here, &f.h, O_RDONLY))));
	OK(unlink("g"));
	posix_make("f", "y");
	FAILS(ESTALE, open_by_handle_at(here, &f.h, O_RDONLY));
	f.h.handle_bytes = MAX_HANDLE_SZ + 1;
	FAILS(EINVAL, open_by_handle_at(here, &f.h, O_RDONLY));
}

const struct posix_case path_cases[] = {
	{ "path_missing", "path_resolution(7): ENOENT from every call that takes a path", missing },
	{ "path_through_file", "path_resolution(7): ENOTDIR from every call", through_file },
	{ "path_loops", "path_resolution(7): ELOOP from every call", loops },
	{ "path_too_long", "path_resolution(7): ENAMETOOLONG, component and path, from every call",
	  too_long },
	{ "path_bad_address", "EFAULT from every call that takes a path", bad_address },
	{ "path_bad_directory", "open(2), openat: EBADF, ENOTDIR of the directory's descriptor",
	  bad_directory },
	{ "path_no_search", "path_resolution(7): EACCES from every call, without search permission",
	  no_search },
	{ "path_no_write", "EACCES where the directory or the file must be written", no_write },
	{ "path_read_only", "EROFS from every call that changes something", read_only },
	{ "path_busy", "rmdir(2), unlink(2), rename(2): EBUSY of a mount point", busy },
	{ "path_bad_flags", "EINVAL of flags and modes", bad_flags },
	{ "path_bad_buffers", "EFAULT of what else is passed", bad_buffers },
	{ "path_openat2", "openat2(2): RESOLVE_...: EXDEV, ELOOP, EAGAIN, E2BIG, EINVAL", resolve },
	{ "path_handles", "open_by_handle_at(2): EOVERFLOW, EINVAL, EPERM, ESTALE", handles },
	{ 0 },
};
