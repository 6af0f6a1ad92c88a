/* libclaudefs: operations on paths. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/util.h"
#include "client/api.h"

#define NS_PER_S 1000000000ll
#define BLKSIZE (128u * 1024)
#define NOREPLACE_BIT 1u /* renameat2(2) */
#define EXCHANGE_BIT 2u

static struct timespec time_of(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

	if (t.tv_nsec < 0) {
		t.tv_nsec += NS_PER_S;
		t.tv_sec--;
	}
	return t;
}

void cfs_api_stat(const struct cfs_attr *a, struct stat *out)
{
	memset(out, 0, sizeof(*out));
	out->st_ino = a->ino;
	out->st_mode = a->mode;
	out->st_nlink = a->nlink;
	out->st_uid = a->uid;
	out->st_gid = a->gid;
	out->st_size = (off_t)a->size;
	out->st_blocks = (blkcnt_t)a->blocks;
	out->st_blksize = BLKSIZE;
	out->st_rdev = makedev((a->rdev & 0xfff00) >> 8,
			       (a->rdev & 0xff) | ((a->rdev >> 12) & 0xfff00));
	out->st_atim = time_of(a->atime);
	out->st_mtim = time_of(a->mtime);
	out->st_ctim = time_of(a->ctime);
}

/* What most operations need: paths, and something of their own. */
struct path_args {
	const char *path, *path2;
	bool follows;
	uint32_t mode, flags;
	struct stat *st;
	struct cfs_client_setattr set;
	const char *name;
	void *out;
	const void *in;
	size_t len_bytes;
};

static CFS_AWAITS int walk_existing(struct cfs_client_op *op, const char *path, bool follows,
				    struct cfs_walk *w)
{
	int rc = cfs_walk(op, path, follows, w);

	return rc == 0 && !w->exists ? -ENOENT : rc;
}

/* The last part names something in a directory: neither the root nor a dot. */
static CFS_AWAITS int walk_name(struct cfs_client_op *op, const char *path, struct cfs_walk *w)
{
	int rc = cfs_walk(op, path, false, w);

	return rc == 0 && w->last[0] == '\0' ? -EBUSY : rc;
}

/* --- attributes --- */

static CFS_AWAITS int64_t stat_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_existing(op, a->path, a->follows, &w);

	if (rc == 0)
		cfs_api_stat(&w.attr, a->st);
	return rc;
}

int claudefs_stat(struct claudefs *fs, const char *path, struct stat *st_out)
{
	struct path_args a = { .path = path, .follows = true, .st = st_out };

	return (int)cfs_library_call(fs, stat_do, &a);
}

int claudefs_lstat(struct claudefs *fs, const char *path, struct stat *st_out)
{
	struct path_args a = { .path = path, .st = st_out };

	return (int)cfs_library_call(fs, stat_do, &a);
}

static CFS_AWAITS int64_t setattr_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_existing(op, a->path, a->follows, &w);

	if (rc == 0 && (a->set.valid & CFS_SET_SIZE) && !S_ISREG(w.attr.mode))
		rc = S_ISDIR(w.attr.mode) ? -EISDIR : -EINVAL;
	return rc < 0 ? rc : cfs_client_setattr(op, w.attr.ino, &a->set, &w.attr);
}

int claudefs_truncate(struct claudefs *fs, const char *path, uint64_t size_bytes)
{
	struct path_args a = { .path = path,
			       .follows = true,
			       .set = { .valid = CFS_SET_SIZE, .size = size_bytes } };

	return size_bytes > INT64_MAX ? -EFBIG : (int)cfs_library_call(fs, setattr_do, &a);
}

int claudefs_chmod(struct claudefs *fs, const char *path, mode_t mode)
{
	struct path_args a = { .path = path,
			       .follows = true,
			       .set = { .valid = CFS_SET_MODE, .mode = mode & 07777 } };

	return (int)cfs_library_call(fs, setattr_do, &a);
}

int claudefs_lchown(struct claudefs *fs, const char *path, uid_t uid, gid_t gid)
{
	struct path_args a = { .path = path, .set = { .uid = uid, .gid = gid } };

	if (uid != (uid_t)-1)
		a.set.valid |= CFS_SET_UID | CFS_SET_KILLPRIV;
	if (gid != (gid_t)-1)
		a.set.valid |= CFS_SET_GID | CFS_SET_KILLPRIV;
	return (int)cfs_library_call(fs, setattr_do, &a);
}

static int take_time(const struct timespec *t, uint32_t set_bit, uint32_t now_bit, uint32_t *valid,
		     int64_t *ns_out)
{
	if (t->tv_nsec == UTIME_OMIT)
		return 0;
	if (t->tv_nsec == UTIME_NOW) {
		*valid |= now_bit;
		return 0;
	}
	if (t->tv_nsec < 0 || t->tv_nsec >= NS_PER_S)
		return -EINVAL;
	*valid |= set_bit;
	if (__builtin_mul_overflow((int64_t)t->tv_sec, NS_PER_S, ns_out) ||
	    __builtin_add_overflow(*ns_out, (int64_t)t->tv_nsec, ns_out))
		*ns_out = t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return 0;
}

int claudefs_utimens(struct claudefs *fs, const char *path, const struct timespec times[2])
{
	struct path_args a = { .path = path, .follows = true };
	int rc = take_time(&times[0], CFS_SET_ATIME, CFS_SET_ATIME_NOW, &a.set.valid, &a.set.atime);

	if (rc == 0)
		rc = take_time(&times[1], CFS_SET_MTIME, CFS_SET_MTIME_NOW, &a.set.valid,
			       &a.set.mtime);
	return rc < 0 ? rc : (int)cfs_library_call(fs, setattr_do, &a);
}

/* --- names --- */

static CFS_AWAITS int64_t mkdir_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = cfs_walk(op, a->path, false, &w);

	if (rc == 0 && w.exists)
		rc = -EEXIST;
	return rc < 0 ? rc : cfs_client_mkdir(op, w.dir, cfs_api_name(w.last), a->mode, &w.attr);
}

int claudefs_mkdir(struct claudefs *fs, const char *path, mode_t mode)
{
	struct path_args a = { .path = path, .mode = mode & 07777 };

	return (int)cfs_library_call(fs, mkdir_do, &a);
}

static CFS_AWAITS int64_t rmdir_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_name(op, a->path, &w);

	return rc < 0 ? rc : cfs_client_rmdir(op, w.dir, cfs_api_name(w.last));
}

int claudefs_rmdir(struct claudefs *fs, const char *path)
{
	struct path_args a = { .path = path };

	return (int)cfs_library_call(fs, rmdir_do, &a);
}

static CFS_AWAITS int64_t unlink_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_name(op, a->path, &w);

	if (rc == -EBUSY)
		rc = -EISDIR;
	return rc < 0 ? rc : cfs_client_unlink(op, w.dir, cfs_api_name(w.last));
}

int claudefs_unlink(struct claudefs *fs, const char *path)
{
	struct path_args a = { .path = path };

	return (int)cfs_library_call(fs, unlink_do, &a);
}

static CFS_AWAITS int64_t rename_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk from, to;
	int rc = walk_name(op, a->path, &from);

	if (rc == 0)
		rc = walk_name(op, a->path2, &to);
	return rc < 0 ? rc
		      : cfs_client_rename(op, from.dir, cfs_api_name(from.last), to.dir,
					  cfs_api_name(to.last), a->flags);
}

int claudefs_rename(struct claudefs *fs, const char *from, const char *to, unsigned int flags)
{
	struct path_args a = { .path = from, .path2 = to };

	if (flags & ~(NOREPLACE_BIT | EXCHANGE_BIT))
		return -EINVAL;
	if (flags & NOREPLACE_BIT)
		a.flags |= CFS_F_NOREPLACE;
	if (flags & EXCHANGE_BIT)
		a.flags |= CFS_F_EXCHANGE;
	return (int)cfs_library_call(fs, rename_do, &a);
}

static CFS_AWAITS int64_t link_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk from, to;
	int rc = walk_existing(op, a->path, false, &from);

	if (rc == 0)
		rc = cfs_walk(op, a->path2, false, &to);
	if (rc == 0 && to.exists)
		rc = -EEXIST;
	return rc < 0 ? rc
		      : cfs_client_link(op, from.attr.ino, to.dir, cfs_api_name(to.last), &to.attr);
}

int claudefs_link(struct claudefs *fs, const char *existing, const char *path)
{
	struct path_args a = { .path = existing, .path2 = path };

	return (int)cfs_library_call(fs, link_do, &a);
}

static CFS_AWAITS int64_t symlink_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	const struct cfs_client_create how = {
		.mode = S_IFLNK | 0777,
		.flags = CFS_F_EXCL,
		.target = cfs_api_name(a->path),
	};
	struct cfs_walk w;
	int rc = cfs_walk(op, a->path2, false, &w);

	if (rc == 0 && w.exists)
		rc = -EEXIST;
	return rc < 0 ? rc : cfs_client_create(op, w.dir, cfs_api_name(w.last), &how, &w.attr);
}

int claudefs_symlink(struct claudefs *fs, const char *target, const char *path)
{
	struct path_args a = { .path = target, .path2 = path };

	if (target[0] == '\0')
		return -ENOENT;
	if (strlen(target) > CFS_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	return (int)cfs_library_call(fs, symlink_do, &a);
}

static CFS_AWAITS int64_t readlink_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_client_bytes bytes = { 0 };
	struct cfs_walk w;
	size_t n;
	int rc = walk_existing(op, a->path, false, &w);

	if (rc == 0 && !S_ISLNK(w.attr.mode))
		rc = -EINVAL;
	if (rc == 0)
		rc = cfs_client_readlink(op, w.attr.ino, &bytes);
	if (rc < 0)
		return rc;
	n = CFS_MIN((size_t)bytes.len_bytes, a->len_bytes);
	memcpy(a->out, bytes.p, n);
	cfs_client_bytes_fini(&bytes);
	return (int64_t)n;
}

ssize_t claudefs_readlink(struct claudefs *fs, const char *path, char *buf, size_t len_bytes)
{
	struct path_args a = { .path = path, .out = buf, .len_bytes = len_bytes };

	return cfs_library_call(fs, readlink_do, &a);
}

/* --- the whole, and xattrs --- */

static CFS_AWAITS int64_t statvfs_do(struct cfs_client_op *op, void *arg)
{
	return cfs_client_statfs(op, arg);
}

int claudefs_statvfs(struct claudefs *fs, struct statvfs *out)
{
	struct cfs_statfs s;
	int rc = (int)cfs_library_call(fs, statvfs_do, &s);

	if (rc < 0)
		return rc;
	memset(out, 0, sizeof(*out));
	out->f_bsize = BLKSIZE;
	out->f_frsize = CFS_BLOCK_BYTES;
	out->f_blocks = s.total_bytes / CFS_BLOCK_BYTES;
	out->f_bfree = s.free_bytes / CFS_BLOCK_BYTES;
	out->f_bavail = s.avail_bytes / CFS_BLOCK_BYTES;
	out->f_files = s.files + s.files_free;
	out->f_ffree = s.files_free;
	out->f_favail = s.files_free;
	out->f_namemax = CFS_NAME_BYTES_MAX;
	return 0;
}

/* The names if there is no name, else its value. */
static CFS_AWAITS int64_t xattr_get_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	uint32_t room = (uint32_t)CFS_MIN(a->len_bytes, (size_t)CFS_XATTR_BYTES_MAX);
	struct cfs_client_bytes bytes = { 0 };
	struct cfs_walk w;
	uint64_t size = 0;
	int rc = walk_existing(op, a->path, true, &w);

	if (rc == 0 && a->name)
		rc = cfs_client_getxattr(op, w.attr.ino, cfs_api_name(a->name), room, &bytes,
					 &size);
	else if (rc == 0)
		rc = cfs_client_listxattr(op, w.attr.ino, room, &bytes, &size);
	if (rc < 0)
		return rc;
	if (bytes.len_bytes > 0 && room > 0)
		memcpy(a->out, bytes.p, CFS_MIN(bytes.len_bytes, room));
	cfs_client_bytes_fini(&bytes);
	return room > 0 && size > room ? -ERANGE : (int64_t)size;
}

ssize_t claudefs_getxattr(struct claudefs *fs, const char *path, const char *name, void *value,
			  size_t len_bytes)
{
	struct path_args a = { .path = path, .name = name, .out = value, .len_bytes = len_bytes };

	return cfs_library_call(fs, xattr_get_do, &a);
}

ssize_t claudefs_listxattr(struct claudefs *fs, const char *path, char *names, size_t len_bytes)
{
	struct path_args a = { .path = path, .out = names, .len_bytes = len_bytes };

	return cfs_library_call(fs, xattr_get_do, &a);
}

static CFS_AWAITS int64_t setxattr_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_existing(op, a->path, true, &w);

	return rc < 0 ? rc
		      : cfs_client_setxattr(op, w.attr.ino, cfs_api_name(a->name), a->in,
					    (uint32_t)a->len_bytes, a->flags);
}

int claudefs_setxattr(struct claudefs *fs, const char *path, const char *name, const void *value,
		      size_t len_bytes, int flags)
{
	struct path_args a = { .path = path, .name = name, .in = value, .len_bytes = len_bytes };

	if (len_bytes > CFS_XATTR_BYTES_MAX)
		return -E2BIG;
	if (flags & XATTR_CREATE)
		a.flags |= CFS_F_XATTR_CREATE;
	if (flags & XATTR_REPLACE)
		a.flags |= CFS_F_XATTR_REPLACE;
	return (int)cfs_library_call(fs, setxattr_do, &a);
}

static CFS_AWAITS int64_t removexattr_do(struct cfs_client_op *op, void *arg)
{
	const struct path_args *a = arg;
	struct cfs_walk w;
	int rc = walk_existing(op, a->path, true, &w);

	return rc < 0 ? rc : cfs_client_removexattr(op, w.attr.ino, cfs_api_name(a->name));
}

int claudefs_removexattr(struct claudefs *fs, const char *path, const char *name)
{
	struct path_args a = { .path = path, .name = name };

	return (int)cfs_library_call(fs, removexattr_do, &a);
}
