/* Operations on names and attributes: each is one message to the shard of its directory or inode.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "client/client_internal.h"

#define READDIR_BYTES_MAX (60u * 1024)

/* Sends @req to the home of @ino and drops the answer but its rc. */
static CFS_AWAITS int call_plain(struct cfs_client_op *op, uint64_t ino, struct cfs_msg *req)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };

	return cfs_client_call(op, cfs_ino_home(ino), req, &reply);
}

static CFS_AWAITS int call_attr(struct cfs_client_op *op, uint64_t ino, struct cfs_msg *req,
				struct cfs_attr *attr_out)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	int rc = cfs_client_call(op, cfs_ino_home(ino), req, &reply);

	if (rc == 0)
		rc = cfs_client_reply_attr(&reply, attr_out);
	if (rc == 0 && S_ISREG(attr_out->mode))
		cfs_client_learn_change(op->client, attr_out, &reply.msg);
	return rc;
}

static void set_name(struct cfs_msg *req, struct cfs_client_name name)
{
	cfs_msg_set_bytes(req, name, (const uint8_t *)name.p, name.len_bytes);
}

static void set_umask(struct cfs_msg *req, const struct cfs_client_op *op)
{
	if (op->umask)
		cfs_msg_set(req, umask, op->umask);
}

static int name_check(struct cfs_client_name name)
{
	if (name.len_bytes > CFS_NAME_BYTES_MAX - (CFS_BREAK(NAME_254) ? 1u : 0))
		return -ENAMETOOLONG;
	return name.len_bytes == 0 ? -ENOENT : 0;
}

static CFS_AWAITS int get_attr(struct cfs_client_op *op, uint64_t ino, uint32_t flags,
			       struct cfs_attr *attr_out)
{
	struct cfs_msg req;

	cfs_client_request(&req, CFS_OP_GETATTR, ino);
	if (flags != 0)
		cfs_msg_set(&req, flags, flags);
	return call_attr(op, ino, &req, attr_out);
}

int cfs_client_getattr(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *attr_out)
{
	return get_attr(op, ino, 0, attr_out);
}

int cfs_client_getattr_read(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *attr_out)
{
	return get_attr(op, ino, op->keeps_atime ? 0 : CFS_F_ATIME, attr_out);
}

/* One walk step: *ino_out, and *attr_out if *has_attr_out. */
static CFS_AWAITS int lookup_once(struct cfs_client_op *op, uint64_t dir,
				  struct cfs_client_name name, uint64_t *ino_out,
				  bool *has_attr_out, struct cfs_attr *attr_out)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_msg req;
	int rc;

	cfs_client_request(&req, CFS_OP_LOOKUP, dir);
	set_name(&req, name);
	rc = cfs_client_call(op, cfs_ino_home(dir), &req, &reply);
	if (rc < 0)
		return rc;
	if (!cfs_msg_is_set(&reply.msg, ino))
		return -EIO;
	*ino_out = reply.msg.ino;
	*has_attr_out = cfs_msg_is_set(&reply.msg, attr);
	if (!*has_attr_out)
		return 0;
	rc = cfs_client_reply_attr(&reply, attr_out);
	if (rc == 0 && S_ISREG(attr_out->mode))
		cfs_client_learn_attr(op->client, attr_out);
	return rc;
}

int cfs_client_lookup(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      struct cfs_attr *attr_out)
{
	int rc = name_check(name);

	if (rc < 0)
		return rc;
	/* Between the two messages the name may get another inode: then the walk starts again. */
	for (uint32_t i = 0; i < CFS_CLIENT_WALK_TRIES; i++) {
		bool has_attr = false, wants_lease;
		uint64_t ino = 0;

		rc = lookup_once(op, dir, name, &ino, &has_attr, attr_out);
		if (rc < 0 || has_attr)
			return rc;
		/* What may be kept is the name. */
		wants_lease = op->wants_lease;
		op->wants_lease = false;
		rc = cfs_client_getattr(op, ino, attr_out);
		op->wants_lease = wants_lease;
		if (rc != -ESTALE && rc != -ENOENT)
			return rc;
	}
	return -ESTALE;
}

int cfs_client_setattr(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_setattr *set,
		       struct cfs_attr *attr_out)
{
	struct cfs_msg req;

	cfs_client_request(&req, CFS_OP_SETATTR, ino);
	cfs_msg_set(&req, valid, set->valid);
	if (set->valid & CFS_SET_MODE)
		cfs_msg_set(&req, mode, set->mode);
	if (set->valid & CFS_SET_UID)
		cfs_msg_set(&req, uid, set->uid);
	if (set->valid & CFS_SET_GID)
		cfs_msg_set(&req, gid, set->gid);
	if (set->valid & CFS_SET_SIZE)
		cfs_msg_set(&req, size, set->size);
	if (set->valid & CFS_SET_ATIME)
		cfs_msg_set(&req, atime, set->atime);
	if (set->valid & CFS_SET_MTIME)
		cfs_msg_set(&req, mtime, set->mtime);
	if (set->valid & CFS_SET_CTIME)
		cfs_msg_set(&req, ctime, set->ctime);
	if (set->valid & CFS_SET_IFLAGS)
		cfs_msg_set(&req, iflags, set->iflags);
	return call_attr(op, ino, &req, attr_out);
}

/* What CREATE found or made. */
struct created {
	uint64_t ino;
	uint32_t mode;
	bool has_attr;
	bool is_new; /* a record was made, so the server has opened it if asked to */
};

static CFS_AWAITS int create_once(struct cfs_client_op *op, uint64_t dir,
				  struct cfs_client_name name, const struct cfs_client_create *how,
				  struct created *made, struct cfs_attr *attr_out)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	uint32_t flags = how->flags & (CFS_F_EXCL | CFS_F_OPEN | CFS_F_TMPFILE | CFS_F_WRITE);
	struct cfs_msg req;
	int rc;

	cfs_client_request(&req, CFS_OP_CREATE, dir);
	set_name(&req, name);
	cfs_msg_set(&req, mode, how->mode & S_IFMT ? how->mode : how->mode | S_IFREG);
	cfs_msg_set(&req, uid, op->uid);
	cfs_msg_set(&req, gid, op->gid);
	set_umask(&req, op);
	cfs_msg_set(&req, flags, flags);
	if (S_ISBLK(how->mode) || S_ISCHR(how->mode))
		cfs_msg_set(&req, rdev, how->rdev);
	if (S_ISLNK(how->mode))
		cfs_msg_set_bytes(&req, data, (const uint8_t *)how->target.p,
				  how->target.len_bytes);
	rc = cfs_client_call(op, cfs_ino_home(dir), &req, &reply);
	if (rc < 0)
		return rc;
	if (!cfs_msg_is_set(&reply.msg, ino))
		return -EIO;
	made->ino = reply.msg.ino;
	made->is_new = cfs_msg_is_set(&reply.msg, index);
	made->has_attr = cfs_msg_is_set(&reply.msg, attr);
	if (made->has_attr) {
		rc = cfs_client_reply_attr(&reply, attr_out);
		made->mode = attr_out->mode;
		return rc;
	}
	made->mode = cfs_msg_is_set(&reply.msg, mode) ? reply.msg.mode : S_IFREG;
	return 0;
}

/* The name existed: what open(2) without O_EXCL says about each type. */
static int create_type_check(uint32_t mode)
{
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISREG(mode) ? 0 : -ESTALE;
}

/* The server opened it with the CREATE; here its hints begin. */
static int create_opened(struct cfs_client_op *op, const struct cfs_attr *attr, uint32_t flags)
{
	struct cfs_client_file *f;
	int rc = cfs_client_file_get(op->client, attr->ino, &f);

	if (rc < 0)
		return rc;
	f->opens++;
	f->writes += (flags & (CFS_F_WRITE | CFS_F_TMPFILE)) != 0;
	cfs_client_file_learn_attr(f, attr);
	return 0;
}

int cfs_client_create(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      const struct cfs_client_create *how, struct cfs_attr *attr_out)
{
	bool is_reg = (how->mode & S_IFMT) == 0 || S_ISREG(how->mode);
	int rc = 0;

	/* The kernel has a name of its own for what has none. */
	if (how->flags & CFS_F_TMPFILE)
		name = (struct cfs_client_name){ .p = "" };
	else
		rc = name_check(name);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < CFS_CLIENT_WALK_TRIES; i++) {
		struct created made = { 0 };

		rc = create_once(op, dir, name, how, &made, attr_out);
		if (rc < 0)
			return rc;
		if (made.is_new && made.has_attr)
			return how->flags & CFS_F_OPEN ? create_opened(op, attr_out, how->flags)
						       : 0;
		if (made.is_new)
			return -EIO;
		rc = is_reg ? create_type_check(made.mode) : 0;
		if (rc < 0)
			return rc;
		if (how->flags & CFS_F_OPEN)
			rc = cfs_client_file_open(op, made.ino, how->flags & CFS_CLIENT_OPEN_FLAGS,
						  attr_out);
		else if (!made.has_attr)
			rc = cfs_client_getattr(op, made.ino, attr_out);
		if (rc != -ESTALE && rc != -ENOENT)
			return rc;
	}
	return -ESTALE;
}

int cfs_client_mkdir(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		     uint32_t mode, struct cfs_attr *attr_out)
{
	struct cfs_msg req;
	int rc = name_check(name);

	if (rc < 0)
		return rc;
	cfs_client_request(&req, CFS_OP_MKDIR, dir);
	set_name(&req, name);
	cfs_msg_set(&req, mode, (mode & ~(uint32_t)S_IFMT) | S_IFDIR);
	cfs_msg_set(&req, uid, op->uid);
	cfs_msg_set(&req, gid, op->gid);
	set_umask(&req, op);
	return call_attr(op, dir, &req, attr_out);
}

static CFS_AWAITS int remove_name(struct cfs_client_op *op, uint16_t msg_op, uint64_t dir,
				  struct cfs_client_name name)
{
	struct cfs_msg req;
	int rc = name_check(name);

	if (rc < 0)
		return rc;
	cfs_client_request(&req, msg_op, dir);
	set_name(&req, name);
	return call_plain(op, dir, &req);
}

int cfs_client_unlink(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name)
{
	return remove_name(op, CFS_OP_UNLINK, dir, name);
}

int cfs_client_rmdir(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name)
{
	return remove_name(op, CFS_OP_RMDIR, dir, name);
}

int cfs_client_link(struct cfs_client_op *op, uint64_t ino, uint64_t dir,
		    struct cfs_client_name name, struct cfs_attr *attr_out)
{
	struct cfs_msg req;
	int rc = name_check(name);

	if (rc < 0)
		return rc;
	cfs_client_request(&req, CFS_OP_LINK, dir);
	set_name(&req, name);
	cfs_msg_set(&req, ino2, ino);
	return call_attr(op, dir, &req, attr_out);
}

int cfs_client_rename(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      uint64_t new_dir, struct cfs_client_name new_name, uint32_t flags)
{
	struct cfs_msg req;
	int rc = name_check(name);

	if (rc == 0)
		rc = name_check(new_name);
	if (rc < 0)
		return rc;
	cfs_client_request(&req, CFS_OP_RENAME, dir);
	set_name(&req, name);
	cfs_msg_set(&req, ino2, new_dir);
	cfs_msg_set_bytes(&req, name2, (const uint8_t *)new_name.p, new_name.len_bytes);
	if (flags != 0)
		cfs_msg_set(&req, flags, flags & (CFS_F_NOREPLACE | CFS_F_EXCHANGE));
	return call_plain(op, dir, &req);
}

/* Sends @req and hands out the answer's data. */
static CFS_AWAITS int call_bytes(struct cfs_client_op *op, uint64_t ino, struct cfs_msg *req,
				 struct cfs_client_bytes *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = cfs_client_call(op, cfs_ino_home(ino), req, &out->reply);
	if (rc < 0) {
		cfs_client_bytes_fini(out);
		return rc;
	}
	if (cfs_msg_is_set(&out->reply.msg, data)) {
		out->p = out->reply.msg.data.p;
		out->len_bytes = out->reply.msg.data.len;
	}
	return 0;
}

int cfs_client_readlink(struct cfs_client_op *op, uint64_t ino, struct cfs_client_bytes *out)
{
	struct cfs_msg req;

	cfs_client_request(&req, CFS_OP_READLINK, ino);
	if (!op->keeps_atime)
		cfs_msg_set(&req, flags, CFS_F_ATIME);
	return call_bytes(op, ino, &req, out);
}

int cfs_client_readdir(struct cfs_client_op *op, uint64_t dir, uint64_t cookie, uint32_t len_bytes,
		       bool has_attrs, struct cfs_client_page *out)
{
	struct cfs_msg req;
	int rc;

	cfs_client_request(&req, CFS_OP_READDIR, dir);
	cfs_msg_set(&req, cookie, cookie);
	cfs_msg_set(&req, len, CFS_MIN(len_bytes, READDIR_BYTES_MAX));
	cfs_msg_set(&req, flags,
		    (has_attrs ? CFS_F_PLUS : 0) | (op->keeps_atime ? 0 : CFS_F_ATIME));
	rc = call_bytes(op, dir, &req, &out->bytes);
	if (rc < 0)
		return rc;
	out->is_last = cfs_msg_is_set(&out->bytes.reply.msg, flags) &&
		       (out->bytes.reply.msg.flags & CFS_F_EOF) != 0;
	return 0;
}

static CFS_AWAITS int xattr_get(struct cfs_client_op *op, uint64_t ino, struct cfs_msg *req,
				uint32_t len_bytes, struct cfs_client_bytes *out,
				uint64_t *size_out)
{
	int rc;

	cfs_msg_set(req, len, CFS_MIN(len_bytes, CFS_XATTR_BYTES_MAX));
	rc = call_bytes(op, ino, req, out);
	if (rc < 0)
		return rc;
	if (size_out)
		*size_out = cfs_msg_is_set(&out->reply.msg, len) ? out->reply.msg.len
								 : out->len_bytes;
	return 0;
}

int cfs_client_getxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			uint32_t len_bytes, struct cfs_client_bytes *out, uint64_t *size_out)
{
	struct cfs_msg req;

	if (name.len_bytes == 0 || name.len_bytes > CFS_NAME_BYTES_MAX)
		return -ERANGE;
	cfs_client_request(&req, CFS_OP_GETXATTR, ino);
	set_name(&req, name);
	return xattr_get(op, ino, &req, len_bytes, out, size_out);
}

int cfs_client_listxattr(struct cfs_client_op *op, uint64_t ino, uint32_t len_bytes,
			 struct cfs_client_bytes *out, uint64_t *size_out)
{
	struct cfs_msg req;

	cfs_client_request(&req, CFS_OP_LISTXATTR, ino);
	if (op->uid != 0)
		cfs_msg_set(&req, flags, CFS_F_NO_TRUSTED);
	return xattr_get(op, ino, &req, len_bytes, out, size_out);
}

int cfs_client_setxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			const void *value, uint32_t len_bytes, uint32_t flags)
{
	struct cfs_msg req;

	if (name.len_bytes == 0 || name.len_bytes > CFS_NAME_BYTES_MAX)
		return -ERANGE;
	if (len_bytes > CFS_XATTR_BYTES_MAX)
		return -E2BIG;
	cfs_client_request(&req, CFS_OP_SETXATTR, ino);
	set_name(&req, name);
	cfs_msg_set_bytes(&req, data, value, len_bytes);
	if (flags != 0)
		cfs_msg_set(&req, flags,
			    flags & (CFS_F_XATTR_CREATE | CFS_F_XATTR_REPLACE | CFS_F_KILLPRIV));
	return call_plain(op, ino, &req);
}

int cfs_client_removexattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name)
{
	struct cfs_msg req;

	if (name.len_bytes == 0 || name.len_bytes > CFS_NAME_BYTES_MAX)
		return -ERANGE;
	cfs_client_request(&req, CFS_OP_REMOVEXATTR, ino);
	set_name(&req, name);
	return call_plain(op, ino, &req);
}
