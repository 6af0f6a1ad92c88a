/* libclaudefs: open files and directories. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "client/api.h"

#define READDIR_BYTES (32u * 1024)
#define OPEN_TRIES 8u

struct claudefs_file {
	struct claudefs *fs;
	uint64_t ino, pos;
	int flags;
};

struct claudefs_dir {
	struct claudefs *fs;
	uint64_t ino, cookie;
	struct cfs_client_page page;
	uint32_t at;
	bool is_end;
};

/* --- open --- */

struct open_args {
	const char *path;
	int flags;
	mode_t mode;
	struct claudefs_file *file;
};

static uint32_t open_flags(int flags)
{
	return (flags & O_TRUNC ? CFS_F_TRUNC : 0) |
	       ((flags & O_ACCMODE) != O_RDONLY ? CFS_F_WRITE : 0) |
	       (flags & O_APPEND ? CFS_F_APPEND : 0);
}

static uint32_t create_flags(int flags)
{
	return CFS_F_OPEN | (flags & O_EXCL ? CFS_F_EXCL : 0) | open_flags(flags);
}

static CFS_AWAITS int open_tmpfile(struct cfs_client_op *op, const struct open_args *a,
				   const struct cfs_walk *w, struct cfs_attr *attr)
{
	const struct cfs_client_create how = {
		.mode = S_IFREG | (a->mode & 07777),
		.flags = CFS_F_OPEN | CFS_F_TMPFILE | (a->flags & O_EXCL ? CFS_F_EXCL : 0),
	};

	if (!w->exists)
		return -ENOENT;
	if (!S_ISDIR(w->attr.mode))
		return -ENOTDIR;
	return cfs_client_create(op, w->attr.ino, (struct cfs_client_name){ "", 0 }, &how, attr);
}

static CFS_AWAITS int open_new(struct cfs_client_op *op, const struct open_args *a,
			       const struct cfs_walk *w, struct cfs_attr *attr)
{
	const struct cfs_client_create how = {
		.mode = S_IFREG | (a->mode & 07777),
		.flags = create_flags(a->flags),
	};

	return cfs_client_create(op, w->dir, cfs_api_name(w->last), &how, attr);
}

static CFS_AWAITS int open_existing(struct cfs_client_op *op, const struct open_args *a,
				    const struct cfs_walk *w, struct cfs_attr *attr)
{
	if ((a->flags & O_CREAT) && (a->flags & O_EXCL))
		return -EEXIST;
	if (S_ISDIR(w->attr.mode))
		return -EISDIR;
	if (S_ISLNK(w->attr.mode))
		return -ELOOP;
	if (!S_ISREG(w->attr.mode))
		return -EOPNOTSUPP;
	return cfs_client_file_open(op, w->attr.ino, open_flags(a->flags), attr);
}

static CFS_AWAITS int64_t open_do(struct cfs_client_op *op, void *arg)
{
	struct open_args *a = arg;
	bool follows = !(a->flags & O_NOFOLLOW) && !((a->flags & O_CREAT) && (a->flags & O_EXCL));
	struct cfs_attr attr;
	struct cfs_walk w;
	int rc = -ESTALE;

	/* Others may make and remove the name between its lookup and its opening. */
	for (uint32_t i = 0; i < OPEN_TRIES && rc == -ESTALE; i++) {
		rc = cfs_walk(op, a->path, follows, &w);
		if (rc < 0)
			return rc;
		if ((a->flags & O_TMPFILE) == O_TMPFILE)
			rc = open_tmpfile(op, a, &w, &attr);
		else if (w.exists)
			rc = open_existing(op, a, &w, &attr);
		else
			rc = a->flags & O_CREAT ? open_new(op, a, &w, &attr) : -ENOENT;
	}
	if (rc == 0)
		a->file->ino = attr.ino;
	return rc;
}

int claudefs_open(struct claudefs *fs, const char *path, int flags, mode_t mode,
		  struct claudefs_file **file_out)
{
	struct open_args a = { path, flags, mode, calloc(1, sizeof(*a.file)) };
	int rc;

	if (!a.file)
		return -ENOMEM;
	a.file->fs = fs;
	a.file->flags = flags;
	rc = (int)cfs_library_call(fs, open_do, &a);
	if (rc < 0) {
		free(a.file);
		return rc;
	}
	*file_out = a.file;
	return 0;
}

static CFS_AWAITS int64_t close_do(struct cfs_client_op *op, void *arg)
{
	const struct claudefs_file *f = arg;

	return cfs_client_release(op, f->ino, (f->flags & O_ACCMODE) == O_RDONLY ? 0 : CFS_F_WRITE);
}

int claudefs_close(struct claudefs_file *file)
{
	int rc = (int)cfs_library_call(file->fs, close_do, file);

	free(file);
	return rc;
}

/* --- read and write --- */

struct io_args {
	struct claudefs_file *file;
	uint8_t *buf;
	size_t len_bytes;
	uint64_t off_bytes, end_bytes; /* end: of an append */
};

static CFS_AWAITS int64_t read_do(struct cfs_client_op *op, void *arg)
{
	struct io_args *a = arg;
	size_t done = 0;

	while (done < a->len_bytes) {
		uint32_t step = (uint32_t)CFS_MIN(a->len_bytes - done, (size_t)CFS_IO_BYTES_MAX);
		struct cfs_client_bytes bytes = { 0 };
		uint32_t got;
		int rc = cfs_client_read(op, a->file->ino, a->off_bytes + done, step, a->buf + done,
					 &bytes);

		if (rc < 0)
			return done > 0 ? (int64_t)done : rc;
		got = bytes.len_bytes;
		if (got > 0 && bytes.p != a->buf + done)
			memcpy(a->buf + done, bytes.p, got);
		cfs_client_bytes_fini(&bytes);
		done += got;
		if (got < step)
			break;
	}
	return (int64_t)done;
}

static CFS_AWAITS int write_pieces(struct cfs_client_op *op, struct io_args *a, size_t *done)
{
	while (*done < a->len_bytes) {
		struct cfs_client_write w = {
			.off_bytes = a->off_bytes + *done,
			.flags = a->file->flags & O_APPEND ? CFS_F_APPEND : 0,
			.len_bytes = (uint32_t)CFS_MIN(a->len_bytes - *done,
						       (size_t)CFS_IO_BYTES_MAX),
			.data = a->buf + *done,
		};
		uint64_t off;
		int rc = cfs_client_write(op, a->file->ino, &w, &off);

		if (rc < 0)
			return rc;
		a->end_bytes = off + w.len_bytes;
		*done += w.len_bytes;
	}
	return 0;
}

static CFS_AWAITS int64_t write_do(struct cfs_client_op *op, void *arg)
{
	struct io_args *a = arg;
	size_t done = 0;
	int rc = write_pieces(op, a, &done);

	if (done == 0)
		return rc;
	if (a->file->flags & O_DSYNC) {
		bool is_datasync = (a->file->flags & O_SYNC) != O_SYNC;

		rc = cfs_client_fsync(op, a->file->ino, is_datasync);
		if (rc < 0)
			return rc;
	}
	return (int64_t)done;
}

static int access_check(const struct claudefs_file *file, int wrong_mode, uint64_t off_bytes)
{
	if ((file->flags & O_ACCMODE) == wrong_mode)
		return -EBADF;
	return off_bytes > INT64_MAX ? -EINVAL : 0;
}

ssize_t claudefs_pread(struct claudefs_file *file, void *buf, size_t len_bytes, uint64_t off_bytes)
{
	struct io_args a = { file, buf, CFS_MIN(len_bytes, (size_t)INT32_MAX), off_bytes, 0 };
	int rc = access_check(file, O_WRONLY, off_bytes);

	return rc < 0 ? rc : cfs_library_call(file->fs, read_do, &a);
}

static ssize_t write_at(struct claudefs_file *file, const void *buf, size_t len_bytes,
			uint64_t off_bytes, uint64_t *end_out)
{
	struct io_args a = { file, (uint8_t *)(uintptr_t)buf, CFS_MIN(len_bytes, (size_t)INT32_MAX),
			     off_bytes, off_bytes };
	int64_t n = access_check(file, O_RDONLY, off_bytes);

	if (n == 0)
		n = cfs_library_call(file->fs, write_do, &a);
	*end_out = a.end_bytes;
	return n;
}

ssize_t claudefs_pwrite(struct claudefs_file *file, const void *buf, size_t len_bytes,
			uint64_t off_bytes)
{
	uint64_t end;

	return write_at(file, buf, len_bytes, off_bytes, &end);
}

ssize_t claudefs_read(struct claudefs_file *file, void *buf, size_t len_bytes)
{
	ssize_t n = claudefs_pread(file, buf, len_bytes, file->pos);

	if (n > 0)
		file->pos += (uint64_t)n;
	return n;
}

ssize_t claudefs_write(struct claudefs_file *file, const void *buf, size_t len_bytes)
{
	uint64_t end;
	ssize_t n = write_at(file, buf, len_bytes, file->pos, &end);

	if (n > 0)
		file->pos = end;
	return n;
}

/* --- the rest of a file --- */

struct seek_args {
	struct claudefs_file *file;
	int64_t off_bytes;
	int whence;
};

static CFS_AWAITS int64_t seek_do(struct cfs_client_op *op, void *arg)
{
	struct seek_args *a = arg;
	struct cfs_attr attr;
	uint64_t off;
	int rc;

	if (a->whence == SEEK_END) {
		rc = cfs_client_getattr(op, a->file->ino, &attr);
		return rc < 0 ? rc : (int64_t)attr.size;
	}
	if (a->off_bytes < 0)
		return -ENXIO;
	rc = cfs_client_seek(op, a->file->ino, (uint64_t)a->off_bytes, (uint32_t)a->whence, &off);
	return rc < 0 ? rc : (int64_t)off;
}

int64_t claudefs_seek(struct claudefs_file *file, int64_t off_bytes, int whence)
{
	struct seek_args a = { file, off_bytes, whence };
	int64_t base = 0;

	if (whence == SEEK_CUR)
		base = (int64_t)file->pos;
	else if (whence != SEEK_SET)
		base = cfs_library_call(file->fs, seek_do, &a);
	if (base < 0)
		return base;
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		off_bytes = 0;
	if (__builtin_add_overflow(base, off_bytes, &base))
		return -EOVERFLOW;
	if (base < 0)
		return -EINVAL;
	file->pos = (uint64_t)base;
	return base;
}

static CFS_AWAITS int64_t fsync_do(struct cfs_client_op *op, void *arg)
{
	return cfs_client_fsync(op, ((struct claudefs_file *)arg)->ino, false);
}

static CFS_AWAITS int64_t fdatasync_do(struct cfs_client_op *op, void *arg)
{
	return cfs_client_fsync(op, ((struct claudefs_file *)arg)->ino, true);
}

int claudefs_fsync(struct claudefs_file *file)
{
	return (int)cfs_library_call(file->fs, fsync_do, file);
}

int claudefs_fdatasync(struct claudefs_file *file)
{
	return (int)cfs_library_call(file->fs, fdatasync_do, file);
}

struct resize_args {
	struct claudefs_file *file;
	int mode;
	uint64_t off_bytes, len_bytes;
};

static CFS_AWAITS int64_t ftruncate_do(struct cfs_client_op *op, void *arg)
{
	const struct resize_args *a = arg;
	const struct cfs_client_setattr set = { .valid = CFS_SET_SIZE, .size = a->len_bytes };
	struct cfs_attr attr;

	return cfs_client_setattr(op, a->file->ino, &set, &attr);
}

static CFS_AWAITS int64_t fallocate_do(struct cfs_client_op *op, void *arg)
{
	const struct resize_args *a = arg;

	return cfs_client_fallocate(op, a->file->ino, (uint32_t)a->mode, a->off_bytes,
				    a->len_bytes);
}

int claudefs_ftruncate(struct claudefs_file *file, uint64_t size_bytes)
{
	struct resize_args a = { .file = file, .len_bytes = size_bytes };
	int rc = access_check(file, O_RDONLY, 0);

	if (size_bytes > INT64_MAX)
		return -EFBIG;
	return rc < 0 ? rc : (int)cfs_library_call(file->fs, ftruncate_do, &a);
}

int claudefs_fallocate(struct claudefs_file *file, int mode, uint64_t off_bytes, uint64_t len_bytes)
{
	struct resize_args a = { file, mode, off_bytes, len_bytes };
	int rc = access_check(file, O_RDONLY, off_bytes);

	return rc < 0 ? rc : (int)cfs_library_call(file->fs, fallocate_do, &a);
}

struct fstat_args {
	uint64_t ino;
	struct stat *st;
};

static CFS_AWAITS int64_t fstat_do(struct cfs_client_op *op, void *arg)
{
	const struct fstat_args *a = arg;
	struct cfs_attr attr;
	int rc = cfs_client_getattr(op, a->ino, &attr);

	if (rc == 0)
		cfs_api_stat(&attr, a->st);
	return rc;
}

int claudefs_fstat(struct claudefs_file *file, struct stat *st_out)
{
	struct fstat_args a = { file->ino, st_out };

	return (int)cfs_library_call(file->fs, fstat_do, &a);
}

/* --- directories --- */

struct opendir_args {
	const char *path;
	struct claudefs_dir *dir;
};

static CFS_AWAITS int64_t opendir_do(struct cfs_client_op *op, void *arg)
{
	const struct opendir_args *a = arg;
	struct cfs_walk w;
	int rc = cfs_walk(op, a->path, true, &w);

	if (rc < 0)
		return rc;
	if (!w.exists)
		return -ENOENT;
	if (!S_ISDIR(w.attr.mode))
		return -ENOTDIR;
	a->dir->ino = w.attr.ino;
	return 0;
}

int claudefs_opendir(struct claudefs *fs, const char *path, struct claudefs_dir **dir_out)
{
	struct opendir_args a = { path, calloc(1, sizeof(*a.dir)) };
	int rc;

	if (!a.dir)
		return -ENOMEM;
	a.dir->fs = fs;
	rc = (int)cfs_library_call(fs, opendir_do, &a);
	if (rc < 0) {
		free(a.dir);
		return rc;
	}
	*dir_out = a.dir;
	return 0;
}

/* The next page, or the end. */
static CFS_AWAITS int64_t readdir_do(struct cfs_client_op *op, void *arg)
{
	struct claudefs_dir *d = arg;
	int rc;

	cfs_client_bytes_fini(&d->page.bytes);
	d->at = 0;
	rc = cfs_client_readdir(op, d->ino, d->cookie, READDIR_BYTES, false, &d->page);
	if (rc == 0 && d->page.bytes.len_bytes == 0)
		d->is_end = true;
	return rc;
}

int claudefs_readdir(struct claudefs_dir *dir, struct claudefs_entry *entry_out)
{
	struct cfs_entry e;
	int64_t n;

	if (dir->at == dir->page.bytes.len_bytes && !dir->is_end) {
		n = cfs_library_call(dir->fs, readdir_do, dir);
		if (n < 0)
			return (int)n;
	}
	if (dir->is_end)
		return 0;
	n = cfs_entry_decode(dir->page.bytes.p + dir->at, dir->page.bytes.len_bytes - dir->at, &e);
	if (n < 0 || e.name.len >= sizeof(entry_out->name))
		return -EIO;
	dir->at += (uint32_t)n;
	dir->cookie = e.cookie;
	entry_out->ino = e.ino;
	entry_out->mode = e.mode;
	memcpy(entry_out->name, e.name.p, e.name.len);
	entry_out->name[e.name.len] = '\0';
	return 1;
}

/* The page's buffer belongs to the library's core. */
static int64_t closedir_do(struct cfs_client_op *op, void *arg)
{
	(void)op;
	cfs_client_bytes_fini(&((struct claudefs_dir *)arg)->page.bytes);
	return 0;
}

void claudefs_closedir(struct claudefs_dir *dir)
{
	if (!dir)
		return;
	(void)cfs_library_call(dir->fs, closedir_do, dir);
	free(dir);
}
