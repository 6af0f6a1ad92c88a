/* Each operation of the kernel: its arguments decoded, the handler called, the answer encoded. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "fuse/fuse_internal.h"

#define RENAME_NOREPLACE_BIT (1u << 0) /* renameat2(2) */
#define RENAME_EXCHANGE_BIT (1u << 1)
#define READDIR_OUT_BYTES_MAX (64u * 1024)

const struct cfs_fuse_handlers cfs_fuse_client_handlers = {
	.lookup = cfs_client_lookup,
	.getattr = cfs_client_getattr,
	.setattr = cfs_client_setattr,
	.create = cfs_client_create,
	.mkdir = cfs_client_mkdir,
	.unlink = cfs_client_unlink,
	.rmdir = cfs_client_rmdir,
	.link = cfs_client_link,
	.rename = cfs_client_rename,
	.readlink = cfs_client_readlink,
	.readdir = cfs_client_readdir,
	.getxattr = cfs_client_getxattr,
	.listxattr = cfs_client_listxattr,
	.setxattr = cfs_client_setxattr,
	.removexattr = cfs_client_removexattr,
	.open = cfs_client_file_open,
	.release = cfs_client_release,
	.read = cfs_client_read,
	.write = cfs_client_write,
	.fallocate = cfs_client_fallocate,
	.copy = cfs_client_copy,
	.seek = cfs_client_seek,
	.fsync = cfs_client_fsync,
	.lock = cfs_client_lock,
	.lock_test = cfs_client_lock_test,
	.statfs = cfs_client_statfs,
	.status = cfs_client_status,
};

static void reply_rc(struct cfs_fuse_req *req, int rc)
{
	cfs_fuse_reply(req, rc, NULL, 0);
}

#define NS_PER_S 1000000000ull

/* Of a name in @dir. The kernel keeps it for as long as it may; what else @attr says it asks for.
 */
static void entry_out(struct cfs_fuse_req *req, uint64_t dir, const struct cfs_attr *attr,
		      struct fuse_entry_out *out)
{
	uint64_t ns = cfs_fuse_keep_name(req, dir);

	if (attr)
		cfs_fuse_entry_encode(attr, out);
	else
		memset(out, 0, sizeof(*out)); /* there is none */
	if (ns == 0)
		return;
	out->entry_valid = ns / NS_PER_S;
	out->entry_valid_nsec = (uint32_t)(ns % NS_PER_S);
}

static void reply_entry(struct cfs_fuse_req *req, int rc, uint64_t dir, const struct cfs_attr *attr)
{
	struct fuse_entry_out out;

	if (rc == 0)
		entry_out(req, dir, attr, &out);
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static void reply_attr(struct cfs_fuse_req *req, int rc, const struct cfs_attr *attr,
		       uint64_t valid_ns)
{
	struct fuse_attr_out out = { .attr_valid = valid_ns / NS_PER_S,
				     .attr_valid_nsec = (uint32_t)(valid_ns % NS_PER_S) };

	if (rc == 0)
		cfs_fuse_attr_encode(attr, &out.attr);
	if (CFS_BREAK(STALE_ATTR) || CFS_BREAK(STALE_ALL))
		out.attr_valid = 10;
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

/* --- names --- */

/* "." and ".." come from the NFS server only, of nodes that the kernel has forgotten. */
static CFS_AWAITS int lookup_special(struct cfs_fuse_req *req, struct cfs_client_name name,
				     struct cfs_attr *attr)
{
	int rc = HANDLE(req, getattr, req->in.nodeid, attr);

	if (rc < 0 || name.len_bytes == 1)
		return rc;
	if (!S_ISDIR(attr->mode))
		return -ENOTDIR;
	return HANDLE(req, getattr, attr->ino == FUSE_ROOT_ID ? FUSE_ROOT_ID : attr->parent, attr);
}

static CFS_AWAITS void op_lookup(struct cfs_fuse_req *req)
{
	struct cfs_client_name name = cfs_fuse_string_at(req, 0, 0);
	struct cfs_attr attr;
	struct fuse_entry_out none;
	int rc;

	if (strcmp(name.p, ".") == 0 || strcmp(name.p, "..") == 0) {
		rc = lookup_special(req, name, &attr);
	} else {
		cfs_fuse_cache_ask(req);
		rc = HANDLE(req, lookup, req->in.nodeid, name, &attr);
	}
	if (rc == 0)
		cfs_fuse_acl_learn(req, &attr);
	if (rc == -ENOENT && (CFS_BREAK(STALE_GONE) || CFS_BREAK(STALE_ALL))) {
		cfs_fuse_reply(req, 0, &(struct fuse_entry_out){ .entry_valid = 10 },
			       sizeof(struct fuse_entry_out));
		return;
	}
	if (rc == -ENOENT) {
		entry_out(req, req->in.nodeid, NULL, &none);
		if (none.entry_valid || none.entry_valid_nsec) {
			cfs_fuse_reply(req, 0, &none, sizeof(none));
			return;
		}
	}
	reply_entry(req, rc, req->in.nodeid, &attr);
}

/* Without DONT_MASK the kernel has applied it. */
static void take_umask(struct cfs_fuse_req *req, uint32_t umask)
{
	if (req->fuse->features & FUSE_DONT_MASK)
		req->op.umask = umask & 0777;
}

static CFS_AWAITS void make_node(struct cfs_fuse_req *req, struct cfs_client_name name,
				 const struct cfs_client_create *how)
{
	struct cfs_attr attr;
	int rc;

	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, create, req->in.nodeid, name, how, &attr);
	reply_entry(req, rc, req->in.nodeid, &attr);
}

static CFS_AWAITS void op_mknod(struct cfs_fuse_req *req)
{
	const struct fuse_mknod_in *in = ARGS(req, fuse_mknod_in);
	const struct cfs_client_create how = {
		.mode = in->mode,
		.rdev = in->rdev,
		.flags = CFS_F_EXCL,
	};

	if (S_ISDIR(in->mode) || S_ISLNK(in->mode)) {
		reply_rc(req, -EINVAL);
		return;
	}
	take_umask(req, in->umask);
	make_node(req, cfs_fuse_string_at(req, sizeof(*in), 0), &how);
}

static CFS_AWAITS void op_symlink(struct cfs_fuse_req *req)
{
	const struct cfs_client_create how = {
		.mode = S_IFLNK | 0777,
		.flags = CFS_F_EXCL,
		.target = cfs_fuse_string_at(req, 0, 1),
	};

	if (how.target.len_bytes > CFS_PATH_BYTES_MAX) {
		reply_rc(req, -ENAMETOOLONG);
		return;
	}
	make_node(req, cfs_fuse_string_at(req, 0, 0), &how);
}

static CFS_AWAITS void op_mkdir(struct cfs_fuse_req *req)
{
	const struct fuse_mkdir_in *in = ARGS(req, fuse_mkdir_in);
	struct cfs_attr attr;
	int rc;

	take_umask(req, in->umask);
	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, mkdir, req->in.nodeid, cfs_fuse_string_at(req, sizeof(*in), 0),
		    in->mode & 07777, &attr);
	reply_entry(req, rc, req->in.nodeid, &attr);
}

static CFS_AWAITS void op_unlink(struct cfs_fuse_req *req)
{
	reply_rc(req, HANDLE(req, unlink, req->in.nodeid, cfs_fuse_string_at(req, 0, 0)));
}

static CFS_AWAITS void op_rmdir(struct cfs_fuse_req *req)
{
	reply_rc(req, HANDLE(req, rmdir, req->in.nodeid, cfs_fuse_string_at(req, 0, 0)));
}

static CFS_AWAITS void rename_to(struct cfs_fuse_req *req, uint32_t skip_bytes, uint64_t new_dir,
				 uint32_t flags)
{
	reply_rc(req, HANDLE(req, rename, req->in.nodeid, cfs_fuse_string_at(req, skip_bytes, 0),
			     new_dir, cfs_fuse_string_at(req, skip_bytes, 1), flags));
}

static CFS_AWAITS void op_rename(struct cfs_fuse_req *req)
{
	const struct fuse_rename_in *in = ARGS(req, fuse_rename_in);

	rename_to(req, sizeof(*in), in->newdir, 0);
}

static CFS_AWAITS void op_rename2(struct cfs_fuse_req *req)
{
	const struct fuse_rename2_in *in = ARGS(req, fuse_rename2_in);
	uint32_t flags = 0;

	if (in->flags & ~(RENAME_NOREPLACE_BIT | RENAME_EXCHANGE_BIT)) {
		reply_rc(req, -EINVAL);
		return;
	}
	if ((in->flags & RENAME_NOREPLACE_BIT) && !CFS_BREAK(NOREPLACE_IGNORED))
		flags |= CFS_F_NOREPLACE;
	if (in->flags & RENAME_EXCHANGE_BIT)
		flags |= CFS_F_EXCHANGE;
	rename_to(req, sizeof(*in), in->newdir, flags);
}

static CFS_AWAITS void op_link(struct cfs_fuse_req *req)
{
	const struct fuse_link_in *in = ARGS(req, fuse_link_in);
	struct cfs_attr attr;
	int rc;

	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, link, in->oldnodeid, req->in.nodeid,
		    cfs_fuse_string_at(req, sizeof(*in), 0), &attr);
	reply_entry(req, rc, req->in.nodeid, &attr);
}

static CFS_AWAITS void op_readlink(struct cfs_fuse_req *req)
{
	struct cfs_client_bytes bytes = { 0 };
	int rc;

	req->op.keeps_atime = req->fuse->keeps_atime;
	rc = HANDLE(req, readlink, req->in.nodeid, &bytes);
	cfs_fuse_reply(req, rc, bytes.p, bytes.len_bytes);
	cfs_client_bytes_fini(&bytes);
}

/* --- attributes --- */

static CFS_AWAITS void op_getattr(struct cfs_fuse_req *req)
{
	struct cfs_attr attr;
	int rc;

	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, getattr, req->in.nodeid, &attr);
	if (rc == 0)
		cfs_fuse_acl_learn(req, &attr);
	reply_attr(req, rc, &attr, rc == 0 ? cfs_fuse_keep_attr(req, &attr) : 0);
}

static CFS_AWAITS void op_statx(struct cfs_fuse_req *req)
{
	struct fuse_statx_out out;
	struct cfs_attr attr;
	uint64_t ns;
	int rc;

	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, getattr, req->in.nodeid, &attr);
	if (rc == 0) {
		ns = cfs_fuse_keep_attr(req, &attr);
		cfs_fuse_statx_encode(&attr, &out);
		out.attr_valid = ns / NS_PER_S;
		out.attr_valid_nsec = (uint32_t)(ns % NS_PER_S);
	}
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static CFS_AWAITS void op_setattr(struct cfs_fuse_req *req)
{
	struct cfs_client_setattr set;
	struct cfs_attr attr;
	int rc;

	cfs_fuse_setattr_decode(ARGS(req, fuse_setattr_in), &set);
	if (set.size > CFS_FILE_BYTES_MAX && (set.valid & CFS_SET_SIZE))
		rc = -EFBIG;
	else
		rc = HANDLE(req, setattr, req->in.nodeid, &set, &attr);
	reply_attr(req, rc, &attr, 0);
}

/* --- files --- */

static void open_out(struct cfs_fuse_req *req, uint32_t flags, const struct cfs_attr *attr,
		     struct fuse_open_out *out)
{
	memset(out, 0, sizeof(*out));
	out->open_flags = cfs_fuse_keep_pages(req, flags, attr);
	req->fuse->last_fh = (req->fuse->last_fh | 1) + (out->open_flags & FOPEN_DIRECT_IO ? 1 : 2);
	out->fh = req->fuse->last_fh;
}

/* What the server wants to know of the flags of open(2). */
static uint32_t flags_of_open(uint32_t flags)
{
	return ((flags & O_TRUNC) && !CFS_BREAK(OPEN_TRUNC_IGNORED) ? CFS_F_TRUNC : 0) |
	       ((flags & O_ACCMODE) != O_RDONLY ? CFS_F_WRITE : 0) |
	       (flags & O_APPEND ? CFS_F_APPEND : 0);
}

static CFS_AWAITS void op_open(struct cfs_fuse_req *req)
{
	const struct fuse_open_in *in = ARGS(req, fuse_open_in);
	struct fuse_open_out out;
	struct cfs_attr attr;
	uint32_t flags = 0;
	int rc;

	flags = flags_of_open(in->flags);
	if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		flags |= CFS_F_KILLPRIV;
	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, open, req->in.nodeid, flags, &attr);
	if (rc == 0)
		open_out(req, in->flags, &attr, &out);
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static CFS_AWAITS void create_and_open(struct cfs_fuse_req *req, uint32_t flags)
{
	const struct fuse_create_in *in = ARGS(req, fuse_create_in);
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	struct cfs_client_create how = {
		.mode = S_IFREG | (in->mode & 07777),
		.flags = CFS_F_OPEN | flags,
	};
	struct cfs_attr attr;
	int rc;

	if ((in->flags & O_EXCL) && !CFS_BREAK(EXCL_IGNORED))
		how.flags |= CFS_F_EXCL;
	how.flags |= flags_of_open(in->flags);
	if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		how.flags |= CFS_F_KILLPRIV;
	take_umask(req, in->umask);
	cfs_fuse_cache_ask(req);
	rc = HANDLE(req, create, req->in.nodeid, cfs_fuse_string_at(req, sizeof(*in), 0), &how,
		    &attr);
	if (rc == 0) {
		entry_out(req, flags & CFS_F_TMPFILE ? 0 : req->in.nodeid, &attr, &out.entry);
		open_out(req, in->flags, &attr, &out.open);
	}
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static CFS_AWAITS void op_create(struct cfs_fuse_req *req)
{
	create_and_open(req, 0);
}

static CFS_AWAITS void op_tmpfile(struct cfs_fuse_req *req)
{
	create_and_open(req, CFS_F_TMPFILE);
}

/* Nobody waits for it: the kernel has the close(2) done already. */
static CFS_AWAITS void op_release(struct cfs_fuse_req *req)
{
	const struct fuse_release_in *in = ARGS(req, fuse_release_in);

	cfs_fuse_lazy_release(req->fuse, req->in.nodeid, in->fh);
	cfs_fuse_locks_release(req);
	reply_rc(req, HANDLE(req, release, req->in.nodeid,
			     (in->flags & O_ACCMODE) != O_RDONLY ? CFS_F_WRITE : 0));
}

static CFS_AWAITS void read_into(struct cfs_fuse_req *req, const struct fuse_read_in *in, void *buf)
{
	struct cfs_client_bytes bytes = { 0 };
	int rc;

	req->op.keeps_atime = req->fuse->keeps_atime || (in->flags & O_NOATIME);
	rc = HANDLE(req, read, req->in.nodeid, in->offset, in->size, buf, &bytes);
	if (rc == 0)
		cfs_counter_add(&req->fuse->bytes_read, bytes.len_bytes);
	cfs_fuse_reply(req, rc, bytes.p, bytes.len_bytes);
	cfs_fuse_cache_read(req->fuse, req->in.nodeid, in->fh & 1);
	cfs_client_bytes_fini(&bytes);
}

static CFS_AWAITS void op_read(struct cfs_fuse_req *req)
{
	const struct fuse_read_in in = *ARGS(req, fuse_read_in);
	struct cfs_fuse_mem *mem;
	int rc;

	if (in.size > CFS_FUSE_WRITE_BYTES_MAX) {
		reply_rc(req, -EINVAL);
		return;
	}
	/* The arguments were copied; their room is free now. */
	if (in.size <= CFS_FUSE_SMALL_BYTES) {
		read_into(req, &in, req->small);
		return;
	}
	rc = cfs_fuse_mem_get(req->fuse, &mem);
	if (rc < 0) {
		reply_rc(req, rc);
		return;
	}
	read_into(req, &in, mem->data);
	cfs_fuse_mem_put(req->fuse, mem);
}

static CFS_AWAITS void op_write(struct cfs_fuse_req *req)
{
	const struct fuse_write_in *in = ARGS(req, fuse_write_in);
	struct fuse_write_out out = { .size = in->size };
	struct cfs_client_write w = {
		.off_bytes = in->offset,
		.len_bytes = in->size,
		.data = (void *)(uintptr_t)(req->args + sizeof(*in)),
	};
	int rc;

	if (in->size > req->args_bytes - sizeof(*in) || in->size > CFS_FUSE_WRITE_BYTES_MAX) {
		reply_rc(req, -EIO);
		return;
	}
	/*
	 * What is written back from a mapped page goes where the page is, and never makes a file
	 * longer: it may come after the truncate that took the page away.
	 */
	if (in->write_flags & FUSE_WRITE_CACHE)
		w.flags |= CFS_F_INSIDE;
	else if ((in->flags & O_APPEND) && !CFS_BREAK(APPEND_HINT))
		w.flags |= CFS_F_APPEND;
	if ((in->write_flags & FUSE_WRITE_KILL_SUIDGID) && !CFS_BREAK(SUID_WRITE))
		w.flags |= CFS_F_KILLPRIV;
	rc = HANDLE(req, write, req->in.nodeid, &w, NULL);
	/* O_SYNC contains O_DSYNC. */
	if (rc == 0 && (in->flags & O_DSYNC))
		rc = HANDLE(req, fsync, req->in.nodeid, (in->flags & O_SYNC) != O_SYNC);
	if (rc == 0)
		cfs_counter_add(&req->fuse->bytes_written, in->size);
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static CFS_AWAITS void op_fsync(struct cfs_fuse_req *req)
{
	const struct fuse_fsync_in *in = ARGS(req, fuse_fsync_in);

	reply_rc(req,
		 HANDLE(req, fsync, req->in.nodeid, (in->fsync_flags & FUSE_FSYNC_FDATASYNC) != 0));
}

static CFS_AWAITS void op_fallocate(struct cfs_fuse_req *req)
{
	const struct fuse_fallocate_in *in = ARGS(req, fuse_fallocate_in);

	reply_rc(req, HANDLE(req, fallocate, req->in.nodeid, in->mode, in->offset, in->length));
}

static CFS_AWAITS void op_lseek(struct cfs_fuse_req *req)
{
	const struct fuse_lseek_in *in = ARGS(req, fuse_lseek_in);
	struct fuse_lseek_out out = { 0 };
	int rc = HANDLE(req, seek, req->in.nodeid, in->offset, in->whence, &out.offset);

	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

/* 0: *@done_out bytes were copied. */
static CFS_AWAITS int copy_range(struct cfs_fuse_req *req, uint64_t len_bytes, uint64_t *done_out)
{
	const struct fuse_copy_file_range_in *in = ARGS(req, fuse_copy_file_range_in);
	const struct cfs_client_copy how = {
		.from = req->in.nodeid,
		.from_off = in->off_in,
		.to = in->nodeid_out,
		.to_off = in->off_out,
		.len_bytes = len_bytes,
	};

	if (in->flags != 0)
		return -EINVAL;
	return HANDLE(req, copy, &how, done_out);
}

static CFS_AWAITS void op_copy_file_range(struct cfs_fuse_req *req)
{
	const struct fuse_copy_file_range_in *in = ARGS(req, fuse_copy_file_range_in);
	struct fuse_write_out out = { 0 };
	uint64_t done = 0;
	/* The answer has 32 bits. */
	int rc = copy_range(req, CFS_MIN(in->len, (uint64_t)INT32_MAX & ~4095ull), &done);

	out.size = (uint32_t)done;
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static CFS_AWAITS void op_copy_file_range_64(struct cfs_fuse_req *req)
{
	const struct fuse_copy_file_range_in *in = ARGS(req, fuse_copy_file_range_in);
	struct fuse_copy_file_range_out out = { 0 };
	int rc = copy_range(req, in->len, &out.bytes_copied);

	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

/* --- directories --- */

/* Entries as the kernel wants them, until @buf is full. Bytes used. */
static int64_t dirents_encode(const struct cfs_client_bytes *page, bool is_plus, uint8_t *buf,
			      uint32_t cap_bytes)
{
	uint32_t used = 0, at = 0;

	while (at < page->len_bytes) {
		struct cfs_entry e;
		int64_t n = cfs_entry_decode(page->p + at, page->len_bytes - at, &e);
		uint32_t step;

		if (n < 0)
			return n;
		step = cfs_fuse_dirent_encode(&e, is_plus, buf + used, cap_bytes - used);
		if (step == 0)
			break;
		used += step;
		at += (uint32_t)n;
	}
	return used;
}

static CFS_AWAITS void read_dir(struct cfs_fuse_req *req, bool is_plus)
{
	const struct fuse_read_in *in = ARGS(req, fuse_read_in);
	uint32_t cap = CFS_MIN(in->size, READDIR_OUT_BYTES_MAX);
	struct cfs_client_page page = { 0 };
	uint8_t *out = malloc(cap ? cap : 1);
	int64_t used = 0;
	int rc = out ? 0 : -ENOMEM;

	req->op.keeps_atime = req->fuse->keeps_atime || req->fuse->keeps_diratime ||
			      (in->flags & O_NOATIME);
	cfs_fuse_cache_ask(req);
	if (rc == 0)
		rc = HANDLE(req, readdir, req->in.nodeid, in->offset, cap, is_plus, &page);
	if (rc == 0) {
		used = dirents_encode(&page.bytes, is_plus, out, cap);
		rc = used < 0 ? (int)used : 0;
		/* Room for not even one entry, though there are some. */
		if (used == 0 && page.bytes.len_bytes > 0)
			rc = -EINVAL;
	}
	if (rc == 0)
		cfs_fuse_keep_listing(req);
	cfs_fuse_reply(req, rc, out, (size_t)used);
	cfs_client_bytes_fini(&page.bytes);
	free(out);
}

static CFS_AWAITS void op_readdir(struct cfs_fuse_req *req)
{
	read_dir(req, false);
}

static CFS_AWAITS void op_readdirplus(struct cfs_fuse_req *req)
{
	read_dir(req, true);
}

/* No state: a listing goes on from the cookie that comes with it. With ENOSYS the kernel asks no
 * more, and keeps listings. */
static void op_opendir(struct cfs_fuse_req *req)
{
	const struct fuse_open_out out = { 0 };
	const struct cfs_fuse *f = req->fuse;
	bool is_kept = f->cache && f->has_epochs && f->opts->consistency == CFS_FUSE_STRICT;

	cfs_fuse_reply(req, is_kept ? -ENOSYS : 0, &out, sizeof(out));
}

static void op_ok(struct cfs_fuse_req *req)
{
	reply_rc(req, 0);
}

static CFS_AWAITS void op_statfs(struct cfs_fuse_req *req)
{
	struct fuse_kstatfs out = { 0 };
	struct cfs_statfs s;
	int rc = HANDLE(req, statfs, &s);

	if (rc == 0) {
		out.bsize = CFS_BLOCK_BYTES;
		out.frsize = CFS_BLOCK_BYTES;
		out.blocks = s.total_bytes / CFS_BLOCK_BYTES;
		out.bfree = s.free_bytes / CFS_BLOCK_BYTES;
		out.bavail = s.avail_bytes / CFS_BLOCK_BYTES;
		if (CFS_BREAK(STATFS_FULL))
			out.bfree = out.bavail = out.blocks;
		out.files = s.files + s.files_free;
		out.ffree = s.files_free;
		out.namelen = CFS_NAME_BYTES_MAX;
	}
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

/* --- the table --- */

struct op_format {
	const char *name;
	uint32_t args_bytes, strings;
};

#define F(NAME, number, bytes, count) [FUSE_##NAME] = { #NAME, bytes, count },
static const struct op_format formats[FUSE_OPCODE_MAX + 1] = { FUSE_OPCODE_TABLE(F) };
#undef F

/* No function: ENOSYS, and the kernel does without. */
#define READS true
#define CHANGES false
static const struct {
	CFS_AWAITS void (*serve)(struct cfs_fuse_req *req);
	bool is_read;
} ops[FUSE_OPCODE_MAX + 1] = {
	[FUSE_LOOKUP] = { op_lookup, READS },
	[FUSE_GETATTR] = { op_getattr, READS },
	[FUSE_SETATTR] = { op_setattr, CHANGES },
	[FUSE_READLINK] = { op_readlink, READS },
	[FUSE_SYMLINK] = { op_symlink, CHANGES },
	[FUSE_MKNOD] = { op_mknod, CHANGES },
	[FUSE_MKDIR] = { op_mkdir, CHANGES },
	[FUSE_UNLINK] = { op_unlink, CHANGES },
	[FUSE_RMDIR] = { op_rmdir, CHANGES },
	[FUSE_RENAME] = { op_rename, CHANGES },
	[FUSE_LINK] = { op_link, CHANGES },
	[FUSE_OPEN] = { op_open, CHANGES },
	[FUSE_READ] = { op_read, READS },
	[FUSE_WRITE] = { op_write, CHANGES },
	[FUSE_STATFS] = { op_statfs, READS },
	[FUSE_RELEASE] = { op_release, CHANGES },
	[FUSE_FSYNC] = { op_fsync, READS },
	[FUSE_SETXATTR] = { cfs_fuse_serve_setxattr, CHANGES },
	[FUSE_GETXATTR] = { cfs_fuse_serve_getxattr, READS },
	[FUSE_LISTXATTR] = { cfs_fuse_serve_listxattr, READS },
	[FUSE_REMOVEXATTR] = { cfs_fuse_serve_removexattr, CHANGES },
	[FUSE_FLUSH] = { cfs_fuse_serve_flush, CHANGES },
	[FUSE_GETLK] = { cfs_fuse_serve_getlk, READS },
	[FUSE_SETLK] = { cfs_fuse_serve_setlk, CHANGES },
	[FUSE_SETLKW] = { cfs_fuse_serve_setlk, CHANGES },
	[FUSE_OPENDIR] = { op_opendir, READS },
	[FUSE_READDIR] = { op_readdir, READS },
	[FUSE_RELEASEDIR] = { op_ok, READS },
	[FUSE_FSYNCDIR] = { op_fsync, READS },
	[FUSE_CREATE] = { op_create, CHANGES },
	[FUSE_IOCTL] = { cfs_fuse_serve_ioctl, CHANGES },
	[FUSE_FALLOCATE] = { op_fallocate, CHANGES },
	[FUSE_READDIRPLUS] = { op_readdirplus, READS },
	[FUSE_RENAME2] = { op_rename2, CHANGES },
	[FUSE_LSEEK] = { op_lseek, READS },
	[FUSE_COPY_FILE_RANGE] = { op_copy_file_range, CHANGES },
	[FUSE_COPY_FILE_RANGE_64] = { op_copy_file_range_64, CHANGES },
	[FUSE_TMPFILE] = { op_tmpfile, CHANGES },
	[FUSE_STATX] = { op_statx, READS },
};

const char *cfs_fuse_opcode_name(uint32_t opcode)
{
	if (opcode > FUSE_OPCODE_MAX || !formats[opcode].name)
		return "?";
	return formats[opcode].name;
}

bool cfs_fuse_opcode_is_read(uint32_t opcode)
{
	return opcode <= FUSE_OPCODE_MAX && ops[opcode].is_read;
}

bool cfs_fuse_request_is_valid(const struct fuse_in_header *in, const uint8_t *args,
			       uint32_t args_bytes)
{
	const struct op_format *row;

	if (in->opcode > FUSE_OPCODE_MAX || !formats[in->opcode].name)
		return false;
	row = &formats[in->opcode];
	if (args_bytes < row->args_bytes)
		return false;
	args += row->args_bytes;
	args_bytes -= row->args_bytes;
	for (uint32_t i = 0; i < row->strings; i++) {
		const uint8_t *nul = memchr(args, '\0', args_bytes);

		if (!nul)
			return false;
		args_bytes -= (uint32_t)(nul + 1 - args);
		args = nul + 1;
	}
	return true;
}

CFS_AWAITS void cfs_fuse_serve_request(struct cfs_fuse_req *req)
{
	cfs_assert(req->in.opcode <= FUSE_OPCODE_MAX);
	if (cfs_fuse_handle_is_lost(req))
		reply_rc(req, -EIO);
	else if (ops[req->in.opcode].serve)
		ops[req->in.opcode].serve(req);
	else
		reply_rc(req, -ENOSYS);
}
