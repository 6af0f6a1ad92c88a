/*
 * The file and block device back end: io_uring, O_DIRECT where the file system allows it, and tails
 * as shared maps of files in tmpfs. A store's file is locked (flock) while it is open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "store/device_internal.h"

#define SHM_DIR "/dev/shm"
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
/* A killed process keeps its lock until the kernel has ended its requests. */
#define LOCK_TRIES 40u
#define LOCK_PAUSE_NS (50l * 1000 * 1000)

struct file_device {
	int fd;
	bool is_read_only;
	char *path;
};

/* ---- requests ---- */

static void transfer(struct cfs_dev_io *d);

/* A short transfer: goes on with what is left, one piece at a time. */
static void transfer_rest(struct cfs_dev_io *d)
{
	size_t skip = d->done_bytes;

	for (uint32_t i = 0; i < d->iov_count; i++) {
		if (skip < d->iov[i].iov_len) {
			d->one.iov_base = (uint8_t *)d->iov[i].iov_base + skip;
			d->one.iov_len = d->iov[i].iov_len - skip;
			break;
		}
		skip -= d->iov[i].iov_len;
	}
	d->rest = &d->one;
	transfer(d);
}

static void file_done(struct cfs_io *io)
{
	struct cfs_dev_io *d = io->arg;

	if (io->res == -EINTR || io->res == -EAGAIN) {
		transfer_rest(d);
		return;
	}
	if (io->res < 0) {
		d->rc = io->res == -ENOSPC ? -ENOSPC : -EIO;
		d->fn(d);
		return;
	}
	if (d->op == CFS_DEV_FLUSH) {
		d->fn(d);
		return;
	}
	if (io->res == 0) {
		d->rc = -EIO; /* past the end: the file was made shorter */
		d->fn(d);
		return;
	}
	d->done_bytes += (uint32_t)io->res;
	if (d->done_bytes < d->len_bytes)
		transfer_rest(d);
	else
		d->fn(d);
}

static void transfer(struct cfs_dev_io *d)
{
	struct file_device *f = d->dev;
	const struct iovec *iov = d->rest ? d->rest : d->iov;
	uint32_t count = d->rest ? 1 : d->iov_count;
	uint64_t off = d->off_bytes + d->done_bytes;

	d->io.fn = file_done;
	d->io.arg = d;
	if (d->op == CFS_DEV_FLUSH)
		cfs_io_submit_fdatasync(&d->io, f->fd);
	else if (d->op == CFS_DEV_READ && count == 1)
		cfs_io_submit_pread(&d->io, f->fd, iov->iov_base, iov->iov_len, off);
	else if (d->op == CFS_DEV_READ)
		cfs_io_submit_preadv(&d->io, f->fd, iov, count, off);
	else if (count == 1)
		cfs_io_submit_pwrite(&d->io, f->fd, iov->iov_base, iov->iov_len, off);
	else
		cfs_io_submit_pwritev(&d->io, f->fd, iov, count, off);
}

static void file_submit(void *dev, struct cfs_dev_io *d)
{
	d->dev = dev;
	d->rest = NULL;
	transfer(d);
}

/* ---- tails ---- */

static void uuid_text(const uint8_t *uuid, char out[33])
{
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", uuid[i]);
}

static int boot_id_read(uint8_t out[16])
{
	char text[64] = { 0 };
	int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint32_t digits = 0;

	if (fd >= 0)
		close(fd);
	memset(out, 0, 16);
	for (ssize_t i = 0; i < n && digits < 32; i++) {
		char c = text[i];
		uint8_t v = c >= '0' && c <= '9'   ? (uint8_t)(c - '0')
			    : c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10)
						   : 0xff;

		if (v == 0xff)
			continue;
		out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | v);
		digits++;
	}
	return digits == 32 ? 0 : -EIO;
}

static int tail_path(const struct file_device *f, const struct cfs_tail_request *r, bool is_beside,
		     char *out, size_t bytes)
{
	char uuid[33];
	int n;

	uuid_text(r->uuid, uuid);
	if (is_beside)
		n = snprintf(out, bytes, "%s.tail%u", f->path, r->slice);
	else
		n = snprintf(out, bytes, "%s/claudefs-%s-%u", r->dir ? r->dir : SHM_DIR, uuid,
			     r->slice);
	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

static int tail_map_fd(int fd, uint64_t bytes, bool is_read_only, struct cfs_tail_memory *out)
{
	int prot = is_read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	out->base = p;
	out->bytes = bytes;
	return 0;
}

static int tail_open(const char *path, const struct cfs_tail_request *r,
		     struct cfs_tail_memory *out)
{
	int fd = open(path, (r->is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	int rc;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) < 0 ? -errno : 0;
	if (rc == 0 &&
	    (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_size < (off_t)CFS_STORE_BLOCK))
		rc = -ENOENT; /* not one that we made */
	if (rc == 0)
		rc = tail_map_fd(fd, (uint64_t)st.st_size, r->is_read_only, out);
	close(fd);
	return rc;
}

static int tail_create(const char *path, const struct cfs_tail_request *r,
		       struct cfs_tail_memory *out)
{
	int fd, rc;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	/* All of it now: a store to a hole of a full tmpfs is a SIGBUS. */
	rc = -posix_fallocate(fd, 0, (off_t)r->bytes);
	if (rc == 0)
		rc = tail_map_fd(fd, r->bytes, false, out);
	close(fd);
	if (rc < 0)
		unlink(path);
	return rc;
}

static bool shm_has_room(uint64_t bytes)
{
	struct statvfs st;

	if (statvfs(SHM_DIR, &st) < 0)
		return false;
	return (uint64_t)st.f_bavail * st.f_frsize >= bytes + bytes / 4;
}

static int file_tail_map(void *dev, const struct cfs_tail_request *r, struct cfs_tail_memory *out)
{
	struct file_device *f = dev;
	int rc = boot_id_read(out->boot_id);

	for (int beside = 0; beside < 2 && rc == 0; beside++) {
		if (beside && r->dir)
			return -ENOENT;
		rc = tail_path(f, r, beside, out->path, sizeof(out->path));
		if (rc < 0)
			return rc;
		if (!r->is_new) {
			rc = tail_open(out->path, r, out);
			if (rc != -ENOENT || beside)
				return rc;
			rc = 0;
			continue;
		}
		if (!beside && !r->dir && !shm_has_room(r->bytes))
			continue;
		rc = tail_create(out->path, r, out);
		if (rc == 0 || beside || r->dir)
			return rc;
		rc = 0;
	}
	return rc < 0 ? rc : -ENOENT;
}

static void file_tail_unmap(void *dev, uint32_t slice, struct cfs_tail_memory *m, bool is_kept)
{
	(void)dev;
	(void)slice;
	if (!m->base)
		return;
	munmap(m->base, m->bytes);
	m->base = NULL;
	if (!is_kept)
		unlink(m->path);
}

/* ---- open and close ---- */

static void file_close(void *dev)
{
	struct file_device *f = dev;

	close(f->fd); /* the lock goes with it */
	free(f->path);
	free(f);
}

static const struct cfs_device_ops file_ops = {
	.name = "file",
	.submit = file_submit,
	.tail_map = file_tail_map,
	.tail_unmap = file_tail_unmap,
	.close = file_close,
};

int cfs_device_file_create(int fd, const char *path, const struct cfs_super *super,
			   bool is_read_only, struct cfs_device **out)
{
	struct file_device *f = calloc(1, sizeof(*f));
	int rc = -ENOMEM;

	if (f) {
		f->fd = fd;
		f->is_read_only = is_read_only;
		f->path = strdup(path);
		if (f->path)
			rc = cfs_device_create(&file_ops, f, super, is_read_only, out);
		if (rc < 0) {
			free(f->path);
			free(f);
		}
	}
	if (rc < 0)
		close(fd);
	return rc;
}

static int lock_file(int fd, bool is_shared)
{
	struct timespec pause = { 0, LOCK_PAUSE_NS };

	for (uint32_t i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, (is_shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -CFS_ESTORE_BUSY;
}

/* Direct I/O skips the page cache, which would keep a second copy of what we cache. tmpfs and some
 * others refuse it, either at open or at the first request. */
static int try_direct(int fd)
{
	CFS_CLEANUP(cfs_free_p) void *block = aligned_alloc(CFS_STORE_BLOCK, CFS_STORE_BLOCK);
	int flags = fcntl(fd, F_GETFL);

	if (!block || flags < 0)
		return -ENOMEM;
	if (fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return 0;
	if (pread(fd, block, CFS_STORE_BLOCK, 0) != (ssize_t)CFS_STORE_BLOCK &&
	    fcntl(fd, F_SETFL, flags) < 0)
		return -errno;
	return 0;
}

int cfs_device_open(const char *path, bool is_read_only, struct cfs_device **out, char *err_out,
		    uint32_t err_bytes)
{
	struct cfs_store_info info;
	struct cfs_super super = { 0 };
	bool is_damaged = false;
	struct stat st;
	int flags = (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	int fd, rc;

	rc = cfs_store_probe(path, &info, err_out, err_bytes);
	if (rc < 0)
		return rc;
	/* O_EXCL on a block device: not while it is mounted. On a file it means nothing here. */
	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode) && !is_read_only)
		flags |= O_EXCL;
	fd = open(path, flags);
	if (fd < 0) {
		rc = errno == EBUSY ? -CFS_ESTORE_BUSY : -errno;
		if (err_out && err_bytes)
			snprintf(err_out, err_bytes, "%s: %s", path, cfs_err_text(rc));
		return rc;
	}
	rc = lock_file(fd, is_read_only);
	if (rc == 0)
		rc = cfs_super_read(fd, &super, &is_damaged);
	if (rc == 0 && is_damaged && !is_read_only)
		rc = cfs_super_write(fd, &super);
	if (rc == 0)
		rc = try_direct(fd);
	if (rc < 0) {
		close(fd);
		if (err_out && err_bytes)
			snprintf(err_out, err_bytes,
				 rc == -CFS_ESTORE_BUSY
					 ? "%s: %s; stop that process first, or wait for it"
					 : "%s: %s",
				 path, cfs_err_text(rc));
		return rc;
	}
	return cfs_device_file_create(fd, path, &super, is_read_only, out);
}
