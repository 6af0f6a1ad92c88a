/* Each operation of the kernel: its arguments decoded, the handler called, the answer encoded. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "fuse/fuse_internal.h"

#define XATTR_STATS "claudefs.stats"
#define XATTR_STATUS "claudefs.status"
#define RENAME_NOREPLACE_BIT (1u << 0) /* renameat2(2) */
#define RENAME_EXCHANGE_BIT (1u << 1)
#define XATTR_CREATE_BIT 1u /* setxattr(2) */
#define XATTR_REPLACE_BIT 2u
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

/* The argument structure of @req; its length was checked. Requests are read to an aligned place. */
#define ARGS(req, type) ((const struct type *)(const void *)(req)->args)
/* Calls a handler if there is one. */
#define HANDLE(req, member, ...) \
	((req)->fuse->handlers->member ? (req)->fuse->handlers->member(&(req)->op, __VA_ARGS__) \
				       : -ENOSYS)

/* The @index-th of the strings that follow @skip_bytes of arguments; they were checked to be there.
 */
static struct cfs_client_name string_at(const struct cfs_fuse_req *req, uint32_t skip_bytes,
					uint32_t index)
{
	struct cfs_client_name name;

	name.p = (const char *)req->args + skip_bytes;
	for (uint32_t i = 0; i < index; i++)
		name.p += strlen(name.p) + 1;
	name.len_bytes = (uint32_t)strlen(name.p);
	return name;
}

static void reply_rc(struct cfs_fuse_req *req, int rc)
{
	cfs_fuse_reply(req, rc, NULL, 0);
}

static void reply_entry(struct cfs_fuse_req *req, int rc, const struct cfs_attr *attr)
{
	struct fuse_entry_out out;

	if (rc == 0)
		cfs_fuse_entry_encode(attr, &out);
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

static void reply_attr(struct cfs_fuse_req *req, int rc, const struct cfs_attr *attr)
{
	struct fuse_attr_out out = { 0 };

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
	struct cfs_client_name name = string_at(req, 0, 0);
	struct cfs_attr attr;
	int rc;

	if (strcmp(name.p, ".") == 0 || strcmp(name.p, "..") == 0)
		rc = lookup_special(req, name, &attr);
	else
		rc = HANDLE(req, lookup, req->in.nodeid, name, &attr);
	if (rc == 0)
		cfs_fuse_acl_learn(req, &attr);
	if (rc == -ENOENT && (CFS_BREAK(STALE_GONE) || CFS_BREAK(STALE_ALL))) {
		cfs_fuse_reply(req, 0, &(struct fuse_entry_out){ .entry_valid = 10 },
			       sizeof(struct fuse_entry_out));
		return;
	}
	reply_entry(req, rc, &attr);
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
	int rc = HANDLE(req, create, req->in.nodeid, name, how, &attr);

	reply_entry(req, rc, &attr);
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
	make_node(req, string_at(req, sizeof(*in), 0), &how);
}

static CFS_AWAITS void op_symlink(struct cfs_fuse_req *req)
{
	const struct cfs_client_create how = {
		.mode = S_IFLNK | 0777,
		.flags = CFS_F_EXCL,
		.target = string_at(req, 0, 1),
	};

	if (how.target.len_bytes > CFS_PATH_BYTES_MAX) {
		reply_rc(req, -ENAMETOOLONG);
		return;
	}
	make_node(req, string_at(req, 0, 0), &how);
}

static CFS_AWAITS void op_mkdir(struct cfs_fuse_req *req)
{
	const struct fuse_mkdir_in *in = ARGS(req, fuse_mkdir_in);
	struct cfs_attr attr;
	int rc;

	take_umask(req, in->umask);
	rc = HANDLE(req, mkdir, req->in.nodeid, string_at(req, sizeof(*in), 0), in->mode & 07777,
		    &attr);
	reply_entry(req, rc, &attr);
}

static CFS_AWAITS void op_unlink(struct cfs_fuse_req *req)
{
	reply_rc(req, HANDLE(req, unlink, req->in.nodeid, string_at(req, 0, 0)));
}

static CFS_AWAITS void op_rmdir(struct cfs_fuse_req *req)
{
	reply_rc(req, HANDLE(req, rmdir, req->in.nodeid, string_at(req, 0, 0)));
}

static CFS_AWAITS void rename_to(struct cfs_fuse_req *req, uint32_t skip_bytes, uint64_t new_dir,
				 uint32_t flags)
{
	reply_rc(req, HANDLE(req, rename, req->in.nodeid, string_at(req, skip_bytes, 0), new_dir,
			     string_at(req, skip_bytes, 1), flags));
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
	int rc = HANDLE(req, link, in->oldnodeid, req->in.nodeid, string_at(req, sizeof(*in), 0),
			&attr);

	reply_entry(req, rc, &attr);
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
	int rc = HANDLE(req, getattr, req->in.nodeid, &attr);

	if (rc == 0)
		cfs_fuse_acl_learn(req, &attr);
	reply_attr(req, rc, &attr);
}

static CFS_AWAITS void op_statx(struct cfs_fuse_req *req)
{
	struct fuse_statx_out out;
	struct cfs_attr attr;
	int rc = HANDLE(req, getattr, req->in.nodeid, &attr);

	if (rc == 0)
		cfs_fuse_statx_encode(&attr, &out);
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
	reply_attr(req, rc, &attr);
}

/* --- xattrs --- */

/* A kernel that does not obey ACLs does not get any: the error is better, after which cp(1) and
 * others set the mode. */
static bool is_refused(const struct cfs_fuse_req *req, struct cfs_client_name name)
{
	return !(req->fuse->features & FUSE_POSIX_ACL) && cfs_fuse_is_acl(name);
}

struct options_read {
	uint32_t major, minor;
	unsigned long flags;
};

static int options_read(void *arg)
{
	struct options_read *o = arg;

	return cfs_fuse_mount_flags(o->major, o->minor, &o->flags);
}

/* After a remount. The kernel tells nobody of options, so whoever remounts does. */
static CFS_AWAITS int options_take(struct cfs_fuse *f, char **text_out)
{
	struct options_read o = { .major = f->opts->dev_major, .minor = f->opts->dev_minor };
	int rc = cfs_offload(options_read, &o);

	if (rc < 0)
		return rc == -ENOENT ? -ENODATA : rc;
	f->keeps_atime = o.flags & (MS_RDONLY | MS_NOATIME);
	f->keeps_diratime = o.flags & MS_NODIRATIME;
	*text_out = strdup(f->keeps_atime      ? "noatime"
			   : f->keeps_diratime ? "nodiratime"
					       : "relatime");
	return *text_out ? 0 : -ENOMEM;
}

static CFS_AWAITS int own_xattr(struct cfs_fuse_req *req, const char *name, char **text_out)
{
	struct cfs_client_bytes bytes = { 0 };
	int rc;

	if (strcmp(name, XATTR_STATS) == 0) {
		*text_out = cfs_fuse_stats_json(req->fuse);
		return *text_out ? 0 : -ENOMEM;
	}
	if (strcmp(name, CFS_FUSE_XATTR_OPTIONS) == 0)
		return options_take(req->fuse, text_out);
	rc = HANDLE(req, status, 0, &bytes);
	if (rc < 0)
		return rc;
	*text_out = strndup((const char *)bytes.p, bytes.len_bytes);
	cfs_client_bytes_fini(&bytes);
	return *text_out ? 0 : -ENOMEM;
}

static void reply_xattr(struct cfs_fuse_req *req, int rc, uint32_t room_bytes, const void *value,
			uint32_t value_bytes, uint64_t size_bytes)
{
	const struct fuse_getxattr_out size = { .size = (uint32_t)size_bytes };

	if (rc == 0 && room_bytes == 0)
		cfs_fuse_reply(req, 0, &size, sizeof(size));
	else if (rc == 0 && value_bytes > room_bytes)
		cfs_fuse_reply(req, -ERANGE, NULL, 0);
	else
		cfs_fuse_reply(req, rc, value, value_bytes);
}

static CFS_AWAITS void op_getxattr(struct cfs_fuse_req *req)
{
	const struct fuse_getxattr_in *in = ARGS(req, fuse_getxattr_in);
	struct cfs_client_name name = string_at(req, sizeof(*in), 0);
	struct cfs_client_bytes bytes = { 0 };
	uint64_t size = 0;
	int rc;

	if (req->in.nodeid == FUSE_ROOT_ID &&
	    (strcmp(name.p, XATTR_STATS) == 0 || strcmp(name.p, XATTR_STATUS) == 0 ||
	     strcmp(name.p, CFS_FUSE_XATTR_OPTIONS) == 0)) {
		char *text = NULL;
		uint32_t len;

		rc = own_xattr(req, name.p, &text);
		len = text ? (uint32_t)strlen(text) : 0;
		reply_xattr(req, rc, in->size, text, len, len);
		free(text);
		return;
	}
	if (is_refused(req, name))
		rc = -EOPNOTSUPP;
	else if (cfs_fuse_is_acl(name) && cfs_fuse_acl_is_absent(req))
		rc = -ENODATA;
	else
		rc = HANDLE(req, getxattr, req->in.nodeid, name, in->size, &bytes, &size);
	reply_xattr(req, rc, in->size, bytes.p, bytes.len_bytes, size);
	cfs_client_bytes_fini(&bytes);
}

static CFS_AWAITS void op_listxattr(struct cfs_fuse_req *req)
{
	const struct fuse_getxattr_in *in = ARGS(req, fuse_getxattr_in);
	struct cfs_client_bytes bytes = { 0 };
	uint64_t size = 0;
	int rc = HANDLE(req, listxattr, req->in.nodeid, in->size, &bytes, &size);

	reply_xattr(req, rc, in->size, bytes.p, bytes.len_bytes, size);
	cfs_client_bytes_fini(&bytes);
}

static CFS_AWAITS void op_setxattr(struct cfs_fuse_req *req)
{
	const struct fuse_setxattr_in *in = ARGS(req, fuse_setxattr_in);
	bool is_ext = req->fuse->features & FUSE_SETXATTR_EXT;
	uint32_t head = is_ext ? (uint32_t)sizeof(*in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct cfs_client_name name;
	uint32_t flags = 0;
	int rc;

	/* With the extension the name is further on than where it was checked to be. */
	if (req->args_bytes < head || !memchr(req->args + head, '\0', req->args_bytes - head)) {
		reply_rc(req, -EIO);
		return;
	}
	name = string_at(req, head, 0);
	head += name.len_bytes + 1;
	if (in->size > req->args_bytes - head || is_refused(req, name)) {
		reply_rc(req, is_refused(req, name) ? -EOPNOTSUPP : -EIO);
		return;
	}
	if (is_ext && (in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID))
		flags |= CFS_F_KILLPRIV;
	if ((in->flags & XATTR_CREATE_BIT) && !CFS_BREAK(XATTR_CREATE))
		flags |= CFS_F_XATTR_CREATE;
	if ((in->flags & XATTR_REPLACE_BIT) && !CFS_BREAK(XATTR_REPLACE))
		flags |= CFS_F_XATTR_REPLACE;
	rc = HANDLE(req, setxattr, req->in.nodeid, name, req->args + head, in->size, flags);
	if (cfs_fuse_is_acl(name))
		cfs_fuse_acl_changed(req);
	reply_rc(req, rc);
}

static CFS_AWAITS void op_removexattr(struct cfs_fuse_req *req)
{
	struct cfs_client_name name = string_at(req, 0, 0);

	int rc = is_refused(req, name) ? -EOPNOTSUPP
				       : HANDLE(req, removexattr, req->in.nodeid, name);

	if (cfs_fuse_is_acl(name))
		cfs_fuse_acl_changed(req);
	reply_rc(req, rc);
}

/* --- files --- */

static void open_out(struct cfs_fuse_req *req, uint32_t flags, const struct cfs_attr *attr,
		     struct fuse_open_out *out)
{
	memset(out, 0, sizeof(*out));
	out->fh = ++req->fuse->last_fh;
	out->open_flags = cfs_fuse_open_flags(req->fuse->features, flags, attr->size);
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
	rc = HANDLE(req, create, req->in.nodeid, string_at(req, sizeof(*in), 0), &how, &attr);
	if (rc == 0) {
		cfs_fuse_entry_encode(&attr, &out.entry);
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
	cfs_fuse_locks_release(req);
	reply_rc(req, HANDLE(req, release, req->in.nodeid));
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
	if (rc == 0)
		rc = HANDLE(req, readdir, req->in.nodeid, in->offset, cap, is_plus, &page);
	if (rc == 0) {
		used = dirents_encode(&page.bytes, is_plus, out, cap);
		rc = used < 0 ? (int)used : 0;
		/* Room for not even one entry, though there are some. */
		if (used == 0 && page.bytes.len_bytes > 0)
			rc = -EINVAL;
	}
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

/* No state: a listing goes on from the cookie that comes with it. ENOSYS would make the kernel
 * cache listings. */
static void op_opendir(struct cfs_fuse_req *req)
{
	const struct fuse_open_out out = { 0 };

	cfs_fuse_reply(req, 0, &out, sizeof(out));
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
	[FUSE_SETXATTR] = { op_setxattr, CHANGES },
	[FUSE_GETXATTR] = { op_getxattr, READS },
	[FUSE_LISTXATTR] = { op_listxattr, READS },
	[FUSE_REMOVEXATTR] = { op_removexattr, CHANGES },
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
	if (ops[req->in.opcode].serve)
		ops[req->in.opcode].serve(req);
	else
		reply_rc(req, -ENOSYS);
}
