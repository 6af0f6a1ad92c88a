/*
 * Extended attributes, kept with the inode. system.posix_acl_* are stored as they come. What a
 * value of a namespace may be, and on what, is the client's kernel's to decide; which namespaces
 * there are is decided here.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "meta/meta_internal.h"

static bool has_prefix(struct cfs_bytes name, const char *prefix, bool is_whole)
{
	size_t len = strlen(prefix);

	return is_whole ? name.len == len && !memcmp(name.p, prefix, len)
			: name.len > len && !memcmp(name.p, prefix, len);
}

static int check_name(struct cfs_bytes name)
{
	if (name.len == 0 || memchr(name.p, 0, name.len))
		return -EINVAL;
	if (name.len > CFS_NAME_BYTES_MAX)
		return -ERANGE;
	if (has_prefix(name, "user.", false) || has_prefix(name, "trusted.", false) ||
	    has_prefix(name, "security.", false) ||
	    has_prefix(name, "system.posix_acl_access", true) ||
	    has_prefix(name, "system.posix_acl_default", true))
		return 0;
	return -EOPNOTSUPP;
}

/* @bytes from the reply's buffer as data, or their number alone when no room was asked for. */
static int reply_bytes(struct cfs_shard_request *rq, uint64_t bytes)
{
	cfs_msg_set(&rq->reply, len, bytes);
	if (rq->msg->len == 0)
		return 0;
	if (bytes > rq->msg->len)
		return -ERANGE;
	cfs_msg_set_bytes(&rq->reply, data, rq->reply_buf->data, (uint32_t)bytes);
	return 0;
}

CFS_AWAITS int cfs_meta_serve_getxattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_bytes name = rq->msg->name;
	const struct cfs_xattr *x;
	struct cfs_inode *i;
	int rc = check_name(name);

	if (rc == 0)
		rc = cfs_buf_get(CFS_XATTR_BYTES_MAX, &rq->reply_buf);
	if (rc == 0)
		rc = cfs_meta_settle(m, rq->msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	x = cfs_xattr_find(i, name.p, name.len);
	if (!x)
		return -ENODATA;
	memcpy(rq->reply_buf->data, x->bytes + x->name_bytes, x->value_bytes);
	return reply_bytes(rq, x->value_bytes);
}

CFS_AWAITS int cfs_meta_serve_listxattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_inode *i;
	uint64_t bytes = 0;
	int rc = cfs_buf_get(CFS_XATTR_BYTES_MAX, &rq->reply_buf);

	if (rc == 0)
		rc = cfs_meta_settle(m, rq->msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next) {
		if (bytes + x->name_bytes + 1 > CFS_XATTR_BYTES_MAX)
			return -E2BIG; /* more than anybody can ask for */
		memcpy(rq->reply_buf->data + bytes, x->bytes, x->name_bytes);
		rq->reply_buf->data[bytes + x->name_bytes] = 0;
		bytes += x->name_bytes + 1u;
	}
	return reply_bytes(rq, bytes);
}

static int set_check(const struct cfs_msg *msg, const struct cfs_inode *i)
{
	const struct cfs_xattr *old = cfs_xattr_find(i, msg->name.p, msg->name.len);
	uint32_t bytes = i->xattr_bytes + msg->name.len + msg->data.len;

	if (old && (msg->flags & CFS_F_XATTR_CREATE))
		return -EEXIST;
	if (!old && (msg->flags & CFS_F_XATTR_REPLACE))
		return -ENODATA;
	if (old)
		bytes -= old->name_bytes + old->value_bytes;
	return bytes > CFS_XATTRS_BYTES_MAX ? -ENOSPC : 0;
}

CFS_AWAITS int cfs_meta_serve_setxattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	uint32_t bytes = msg->name.len + msg->data.len + 256;
	struct cfs_attr_set set = { .mask = CFS_A_CTIME };
	struct cfs_items it;
	struct cfs_inode *i;
	int rc = check_name(msg->name);

	if (rc == 0 && msg->data.len > CFS_XATTR_BYTES_MAX)
		rc = -E2BIG;
	if (rc == 0)
		rc = cfs_meta_begin(m, msg->ino, 0, bytes, false);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i)
		rc = set_check(msg, i);
	if (rc == 0) {
		set.attr.ctime = (int64_t)cfs_meta_now(m);
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_xattr(&it, i->attr.ino, msg->name, msg->data);
		cfs_meta_add_set(&it, i->attr.ino, &set);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	}
	cfs_meta_end(m, bytes, false);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_removexattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_attr_set set = { .mask = CFS_A_CTIME };
	struct cfs_items it;
	struct cfs_inode *i;
	int rc = check_name(msg->name);

	if (rc == 0)
		rc = cfs_meta_begin(m, msg->ino, 0, 512, true);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i && !cfs_xattr_find(i, msg->name.p, msg->name.len))
		rc = -ENODATA;
	if (rc == 0) {
		set.attr.ctime = (int64_t)cfs_meta_now(m);
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_xattr_del(&it, i->attr.ino, msg->name);
		cfs_meta_add_set(&it, i->attr.ino, &set);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	}
	cfs_meta_end(m, 512, true);
	return rc;
}
