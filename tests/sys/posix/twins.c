/*
 * One case on two mounts of one file system (--twin): its calls that take a path go through the
 * first and the second in turn. Each such call is wrapped by the linker (--wrap,
 * tests/sys/meson.build); before it, the working directory becomes the same directory by the other
 * mount. Paths that are not relative to it, and descriptors, stay where they are; calls with two
 * paths have both in one mount.
 */
#include "posix.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#define MOUNT_BYTES 300u

static struct {
	bool is_on;
	char mount[2][MOUNT_BYTES];
	dev_t dev[2];
	unsigned now; /* where the working directory is */
} twins;

void posix_twins(const char *first, const char *second)
{
	struct stat st;

	snprintf(twins.mount[0], MOUNT_BYTES, "%s", first);
	snprintf(twins.mount[1], MOUNT_BYTES, "%s", second);
	for (unsigned i = 0; i < 2; i++) {
		OK(stat(twins.mount[i], &st));
		twins.dev[i] = st.st_dev;
	}
	twins.is_on = true;
}

/* The working directory by the mount @to, if there it can be reached. */
static void go(unsigned to)
{
	static _Thread_local char path[4096], other[4096 + MOUNT_BYTES];
	size_t len;

	for (unsigned from = 0; from < 2; from++) {
		len = strlen(twins.mount[from]);
		if (from == to || !getcwd(path, sizeof(path)))
			continue;
		if (strncmp(path, twins.mount[from], len) != 0 || (path[len] && path[len] != '/'))
			continue;
		snprintf(other, sizeof(other), "%s%s", twins.mount[to], path + len);
		if (chdir(other) == 0)
			twins.now = to;
	}
}

/* The mount of what a call names beside its relative path; -1: any. */
static int mount_of(int fd, const char *path)
{
	struct stat st;

	if (path && strncmp(path, "/proc/self/fd/", 14) == 0)
		fd = atoi(path + 14);
	else if (fd == AT_FDCWD || (path && path[0] == '/'))
		return -1;
	if (fstat(fd, &st) < 0)
		return -1;
	return st.st_dev == twins.dev[0] ? 0 : st.st_dev == twins.dev[1] ? 1 : -1;
}

static void take_turns(int fd, const char *path, int fd2, const char *path2)
{
	int kept = errno, bound;

	if (!twins.is_on)
		return;
	bound = mount_of(fd, path);
	if (bound < 0)
		bound = mount_of(fd2, path2);
	go(bound < 0 ? !twins.now : (unsigned)bound);
	errno = kept;
}

#define WRAP(type, name, params, args) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params \
	{ \
		take_turns(AT_FDCWD, path, AT_FDCWD, NULL); \
		return __real_##name args; \
	}
#define WRAP_AT(type, name, params, args) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params \
	{ \
		take_turns(fd, path, AT_FDCWD, NULL); \
		return __real_##name args; \
	}
#define WRAP_TWO(name, params, args) \
	int __real_##name params; \
	int __wrap_##name params; \
	int __wrap_##name params \
	{ \
		take_turns(AT_FDCWD, path, AT_FDCWD, path2); \
		return __real_##name args; \
	}
#define WRAP_TWO_AT(name, params, args) \
	int __real_##name params; \
	int __wrap_##name params; \
	int __wrap_##name params \
	{ \
		take_turns(fd, path, fd2, path2); \
		return __real_##name args; \
	}

/* clang-format off */
WRAP(int, creat64, (const char *path, mode_t mode), (path, mode))
WRAP(int, stat64, (const char *path, struct stat64 *st), (path, st))
WRAP(int, lstat64, (const char *path, struct stat64 *st), (path, st))
WRAP(int, access, (const char *path, int how), (path, how))
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(int, chown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
WRAP(int, lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, rmdir, (const char *path), (path))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkfifo, (const char *path, mode_t mode), (path, mode))
WRAP(int, mknod, (const char *path, mode_t mode, dev_t dev), (path, mode, dev))
WRAP(int, truncate64, (const char *path, off64_t size), (path, size))
WRAP(ssize_t, readlink, (const char *path, char *buf, size_t len), (path, buf, len))
WRAP(int, symlink, (const char *target, const char *path), (target, path))
WRAP(DIR *, opendir, (const char *path), (path))
WRAP(int, statfs64, (const char *path, struct statfs64 *st), (path, st))
WRAP(int, statvfs64, (const char *path, struct statvfs64 *st), (path, st))
WRAP(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t len), (path, name, value, len))
WRAP(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t len), (path, name, value, len))
WRAP(int, setxattr, (const char *path, const char *name, const void *value, size_t len, int how), (path, name, value, len, how))
WRAP(int, lsetxattr, (const char *path, const char *name, const void *value, size_t len, int how), (path, name, value, len, how))
WRAP(ssize_t, listxattr, (const char *path, char *list, size_t len), (path, list, len))
WRAP(int, removexattr, (const char *path, const char *name), (path, name))
WRAP_AT(int, fstatat64, (int fd, const char *path, struct stat64 *st, int flags), (fd, path, st, flags))
WRAP_AT(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *st), (fd, path, flags, mask, st))
WRAP_AT(int, faccessat, (int fd, const char *path, int how, int flags), (fd, path, how, flags))
WRAP_AT(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags))
WRAP_AT(int, fchownat, (int fd, const char *path, uid_t uid, gid_t gid, int flags), (fd, path, uid, gid, flags))
WRAP_AT(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP_AT(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP_AT(int, mknodat, (int fd, const char *path, mode_t mode, dev_t dev), (fd, path, mode, dev))
WRAP_AT(ssize_t, readlinkat, (int fd, const char *path, char *buf, size_t len), (fd, path, buf, len))
WRAP_AT(int, symlinkat, (const char *target, int fd, const char *path), (target, fd, path))
WRAP_AT(int, utimensat, (int fd, const char *path, const struct timespec t[2], int flags), (fd, path, t, flags))
WRAP_TWO(rename, (const char *path, const char *path2), (path, path2))
WRAP_TWO(link, (const char *path, const char *path2), (path, path2))
WRAP_TWO_AT(renameat, (int fd, const char *path, int fd2, const char *path2), (fd, path, fd2, path2))
WRAP_TWO_AT(renameat2, (int fd, const char *path, int fd2, const char *path2, unsigned flags), (fd, path, fd2, path2, flags))
WRAP_TWO_AT(linkat, (int fd, const char *path, int fd2, const char *path2, int flags), (fd, path, fd2, path2, flags))
/* clang-format on */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	take_turns(AT_FDCWD, path, AT_FDCWD, NULL);
	return __real_open64(path, flags, mode);
}

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	take_turns(fd, path, AT_FDCWD, NULL);
	return __real_openat64(fd, path, flags, mode);
}
