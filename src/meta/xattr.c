/*
 * Extended attributes, kept with the inode. Who may read and set them is the client's kernel's to
 * decide; which there are, on what and how large, is decided here. An access ACL changes the mode
 * too (acl.h), and so may be a transaction, as chmod of a directory is.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/acl.h"
#include "meta/iflags.h"
#include "meta/lazy.h"
#include "meta/lease.h"
#include "meta/meta_internal.h"

static bool has_prefix(struct cfs_bytes name, const char *prefix)
{
	size_t len = strlen(prefix);

	return name.len >= len && !memcmp(name.p, prefix, len);
}

static bool is_acl(struct cfs_bytes name)
{
	return cfs_acl_is_access(name) || cfs_acl_is_default(name);
}

static int check_name(struct cfs_bytes name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };

	if (name.len == 0 || memchr(name.p, 0, name.len))
		return -EINVAL;
	if (name.len > CFS_NAME_BYTES_MAX)
		return -ERANGE;
	for (size_t k = 0; k < CFS_ARRAY_COUNT(prefixes); k++) {
		if (has_prefix(name, prefixes[k]))
			return name.len > strlen(prefixes[k]) ? 0 : -EINVAL;
	}
	return is_acl(name) || cfs_lazy_is(name) ? 0 : -EOPNOTSUPP;
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
		rc = cfs_lease_look(m, rq, rq->msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	x = cfs_xattr_find(i, name.p, name.len);
	if (!x)
		return -ENODATA;
	memcpy(rq->reply_buf->data, x->bytes + x->name_bytes, x->value_bytes);
	return reply_bytes(rq, CFS_BREAK(XATTR_SHORT) ? CFS_MIN(x->value_bytes, 4096u)
						      : x->value_bytes);
}

CFS_AWAITS int cfs_meta_serve_listxattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_inode *i;
	uint64_t bytes = 0;
	int rc = cfs_buf_get(CFS_XATTR_BYTES_MAX, &rq->reply_buf);

	if (rc == 0)
		rc = cfs_lease_look(m, rq, rq->msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next) {
		if (CFS_BREAK(XATTR_UNLISTED) && !x->next)
			break;
		if ((rq->msg->flags & CFS_F_NO_TRUSTED) && !CFS_BREAK(TRUSTED_LISTED) &&
		    has_prefix((struct cfs_bytes){ x->bytes, x->name_bytes }, "trusted."))
			continue;
		if (bytes + x->name_bytes + 1 > CFS_XATTR_BYTES_MAX)
			return -E2BIG; /* more than anybody can ask for */
		memcpy(rq->reply_buf->data + bytes, x->bytes, x->name_bytes);
		rq->reply_buf->data[bytes + x->name_bytes] = 0;
		bytes += x->name_bytes + 1u;
	}
	return reply_bytes(rq, bytes);
}

/* Room for one more: values, and names as a list of them is given out. */
static int room_check(const struct cfs_inode *i, struct cfs_bytes name, uint32_t value_bytes)
{
	uint32_t bytes = name.len + value_bytes, list = name.len + 1;

	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next) {
		if (x->name_bytes == name.len && !memcmp(x->bytes, name.p, name.len))
			continue;
		bytes += x->name_bytes + x->value_bytes;
		list += x->name_bytes + 1u;
	}
	return bytes > CFS_XATTRS_BYTES_MAX || list > CFS_XATTR_BYTES_MAX ? -ENOSPC : 0;
}

static int set_check(const struct cfs_msg *msg, const struct cfs_inode *i)
{
	bool is_old = cfs_xattr_find(i, msg->name.p, msg->name.len) != NULL;

	if (has_prefix(msg->name, "user.") && !S_ISREG(i->attr.mode) && !i->dir)
		return -EPERM;
	if (cfs_lazy_is(msg->name) && !S_ISREG(i->attr.mode))
		return -EOPNOTSUPP;
	if (cfs_lazy_is(msg->name) && cfs_lazy_ms(msg->data) == 0)
		return -EINVAL;
	if (is_old && (msg->flags & CFS_F_XATTR_CREATE))
		return -EEXIST;
	if (!is_old && (msg->flags & CFS_F_XATTR_REPLACE))
		return -ENODATA;
	return room_check(i, msg->name, msg->data.len);
}

/* --- ACLs --- */

struct acl_change {
	bool is_default;
	struct cfs_bytes name, value; /* no value: none from now on */
	struct cfs_attr_set set;
};

/* What setting @value does to @i. 0; 1: nothing; -ENOSPC and what the kernel says for what has no
 * such ACL. */
static int acl_plan(struct cfs_meta *m, const struct cfs_msg *msg, const struct cfs_inode *i,
		    struct acl_change *c)
{
	struct cfs_bytes old;
	bool has_old = cfs_acl_get(i, c->is_default, &old);

	if (S_ISLNK(i->attr.mode))
		return -EOPNOTSUPP;
	if (c->is_default && !i->dir)
		return c->value.len ? -EACCES : 1;
	c->set = (struct cfs_attr_set){ .mask = CFS_A_CTIME };
	c->set.attr.ctime = (int64_t)cfs_meta_now(m);
	if (c->value.len == 0)
		return has_old ? 0 : 1;
	if (c->is_default)
		return room_check(i, c->name, c->value.len);
	c->set.attr.mode = (i->attr.mode & ~CFS_ACL_PERM) | cfs_acl_perm(c->value);
	if (CFS_BREAK(ACL_MODE))
		c->set.attr.mode = i->attr.mode;
	if ((msg->flags & CFS_F_KILLPRIV) && !CFS_BREAK(ACL_SETGID))
		c->set.attr.mode &= ~(uint32_t)S_ISGID;
	if (c->set.attr.mode != i->attr.mode)
		c->set.mask |= CFS_A_MODE;
	if (!cfs_acl_is_minimal(c->value) || CFS_BREAK(ACL_MINIMAL))
		return room_check(i, c->name, c->value.len);
	c->value.len = 0; /* the mode says it all */
	return 0;
}

/* One record of this shard. No wait. */
static void acl_set_now(struct cfs_meta *m, struct cfs_shard_request *rq, const struct cfs_inode *i,
			const struct acl_change *c)
{
	struct cfs_items it;

	cfs_shard_items(m->shard, &it);
	if (c->value.len)
		cfs_meta_add_xattr(&it, i->attr.ino, c->name, c->value);
	else if (cfs_xattr_find(i, c->name.p, c->name.len))
		cfs_meta_add_xattr_del(&it, i->attr.ino, c->name);
	cfs_meta_add_set(&it, i->attr.ino, &c->set);
	cfs_shard_commit(m->shard, &it, NULL, 0, rq);
}

static CFS_AWAITS int acl_set_once(struct cfs_meta *m, struct cfs_shard_request *rq,
				   struct cfs_bytes value)
{
	struct acl_change c = { .is_default = cfs_acl_is_default(rq->msg->name),
				.name = rq->msg->name,
				.value = value };
	const uint32_t bytes = CFS_ACL_ITEMS_BYTES;
	bool is_freeing = value.len == 0;
	struct cfs_inode *i;
	int rc = cfs_meta_begin(m, rq->msg->sess, rq->msg->ino, 0, bytes, is_freeing);

	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (i)
		rc = cfs_iflags_may_change(i);
	if (rc == 0)
		rc = acl_plan(m, rq->msg, i, &c);
	if (rc == 0 && i->dir && (c.set.mask & CFS_A_MODE) && i->attr.ino != CFS_INO_ROOT) {
		cfs_meta_end(m, bytes, is_freeing);
		return cfs_meta_set_dir(m, rq, i, &c.set, &c.value);
	}
	if (rc == 0)
		acl_set_now(m, rq, i, &c);
	cfs_meta_end(m, bytes, is_freeing);
	return rc < 0 ? rc : 0;
}

/* @value empty: removes it, and it is no error when there is none. */
static CFS_AWAITS int acl_set(struct cfs_meta *m, struct cfs_shard_request *rq,
			      struct cfs_bytes value)
{
	int rc = 0;

	if (cfs_acl_is_empty(value))
		value.len = 0;
	else
		rc = cfs_acl_check(value);
	for (uint32_t round = 0; rc == 0; round++) {
		rc = acl_set_once(m, rq, value);
		if (rc != -CFS_EAGAIN_LATER)
			break;
		rc = cfs_meta_again(round);
	}
	return rc;
}

/* --- changes --- */

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
	if (rc == 0 && is_acl(msg->name))
		return acl_set(m, rq, msg->data);
	if (rc == 0)
		rc = cfs_meta_begin(m, msg->sess, msg->ino, 0, bytes, false);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i)
		rc = cfs_iflags_may_change(i);
	if (rc == 0)
		rc = set_check(msg, i);
	if (rc == 0) {
		set.attr.ctime = (int64_t)cfs_meta_now(m);
		if (CFS_BREAK(CTIME_XATTR))
			set.mask = 0;
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

	if (rc == 0 && is_acl(msg->name))
		return acl_set(m, rq, (struct cfs_bytes){ 0 });
	if (rc == 0)
		rc = cfs_meta_begin(m, msg->sess, msg->ino, 0, 512, true);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i)
		rc = cfs_iflags_may_change(i);
	if (rc == 0 && !cfs_xattr_find(i, msg->name.p, msg->name.len))
		rc = -ENODATA;
	if (rc == 0) {
		set.attr.ctime = (int64_t)cfs_meta_now(m);
		cfs_shard_items(m->shard, &it);
		if (!CFS_BREAK(XATTR_KEPT))
			cfs_meta_add_xattr_del(&it, i->attr.ino, msg->name);
		cfs_meta_add_set(&it, i->attr.ino, &set);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	}
	cfs_meta_end(m, 512, true);
	return rc;
}
