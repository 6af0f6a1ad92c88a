/*
 * Attributes, opens, targets, parents: what is asked of an inode by number, in its home shard.
 *
 * Permissions of a directory are in its access half too, with its dentry, so that changing them may
 * be a transaction; everything else is one record here.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/acl.h"
#include "meta/file.h"
#include "meta/iflags.h"
#include "meta/lease.h"
#include "meta/tx.h"

#define SET_BYTES 1024u /* attributes, a name, an xattr's removal */
#define CHMOD_BYTES (SET_BYTES + CFS_ACL_ITEMS_BYTES)

CFS_AWAITS int cfs_meta_getattr(struct cfs_meta *m, uint64_t ino, struct cfs_attr *out)
{
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_GETATTR };
	struct cfs_net_reply reply;
	struct cfs_inode *i;
	int rc;

	if (cfs_meta_is_home(m, ino)) {
		rc = cfs_meta_settle(m, ino);
		i = rc == 0 ? cfs_meta_inode(m, ino, &rc) : NULL;
		if (i)
			*out = i->attr;
		return rc;
	}
	if (cfs_ino_home(ino) >= m->shard->env->shards)
		return -ESTALE;
	cfs_msg_set(&msg, ino, ino);
	rc = cfs_meta_call(m, cfs_ino_home(ino), &msg, &reply);
	if (rc < 0)
		return rc;
	rc = cfs_attr_decode(reply.msg.attr.p, reply.msg.attr.len, out);
	cfs_net_reply_fini(&reply);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_getattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_inode *i;
	int rc;

	if (rq->msg->flags & CFS_F_ATIME)
		cfs_meta_accessed(m, rq->msg->ino, rq->msg->sess);
	rc = cfs_lease_look(m, rq, rq->msg->ino);
	i = rc == 0 ? cfs_meta_inode(m, rq->msg->ino, &rc) : NULL;
	if (i) {
		cfs_meta_reply_attr(rq, &i->attr);
		cfs_lease_reply(m, rq, rq->msg->ino);
	}
	return rc;
}

/* --- setattr --- */

static int set_check(const struct cfs_msg *msg)
{
	uint32_t v = (uint32_t)msg->valid;

	if ((v & CFS_SET_MODE && !cfs_msg_is_set(msg, mode)) ||
	    (v & CFS_SET_UID && !cfs_msg_is_set(msg, uid)) ||
	    (v & CFS_SET_GID && !cfs_msg_is_set(msg, gid)) ||
	    (v & CFS_SET_SIZE && !cfs_msg_is_set(msg, size)) ||
	    (v & CFS_SET_ATIME && !(v & CFS_SET_ATIME_NOW) && !cfs_msg_is_set(msg, atime)) ||
	    (v & CFS_SET_MTIME && !(v & CFS_SET_MTIME_NOW) && !cfs_msg_is_set(msg, mtime)) ||
	    (v & CFS_SET_CTIME && !cfs_msg_is_set(msg, ctime)))
		return -EINVAL;
	return 0;
}

static void set_of(struct cfs_meta *m, const struct cfs_msg *msg, const struct cfs_inode *i,
		   struct cfs_attr_set *set)
{
	int64_t now = (int64_t)cfs_meta_now(m);
	uint32_t v = (uint32_t)msg->valid;

	*set = (struct cfs_attr_set){ .mask = CFS_A_CTIME };
	set->attr.ctime = v & CFS_SET_CTIME ? msg->ctime : now;
	if (CFS_BREAK(CTIME_CHMOD) && (v & CFS_SET_MODE))
		set->mask = 0;
	if (v & CFS_SET_MODE && !(CFS_BREAK(CHMOD_LOST) && i->dir)) {
		set->mask |= CFS_A_MODE;
		set->attr.mode = (i->attr.mode & S_IFMT) | (msg->mode & 07777);
	}
	if (v & CFS_SET_UID) {
		set->mask |= CFS_A_UID;
		set->attr.uid = msg->uid;
	}
	if (v & CFS_SET_GID) {
		set->mask |= CFS_A_GID;
		set->attr.gid = msg->gid;
	}
	if (v & (CFS_SET_ATIME | CFS_SET_ATIME_NOW)) {
		set->mask |= CFS_A_ATIME;
		set->attr.atime = v & CFS_SET_ATIME_NOW ? now : msg->atime;
		if (CFS_BREAK(UTIME_NOW_LOST) && v & CFS_SET_ATIME_NOW)
			set->attr.atime = 0;
	}
	if (v & (CFS_SET_MTIME | CFS_SET_MTIME_NOW)) {
		set->mask |= CFS_A_MTIME;
		set->attr.mtime = v & CFS_SET_MTIME_NOW ? now : msg->mtime;
	}
}

/* One record of this shard. No wait. */
static void set_now(struct cfs_meta *m, struct cfs_shard_request *rq, const struct cfs_inode *i,
		    struct cfs_attr_set *set)
{
	struct cfs_attr after = i->attr;
	struct cfs_items it;

	cfs_shard_items(m->shard, &it);
	if (set->mask & CFS_A_MODE)
		cfs_acl_add_chmod(&it, i, set->attr.mode);
	if (rq->msg->valid & CFS_SET_KILLPRIV)
		cfs_meta_kill_priv(i, set, &it);
	cfs_meta_add_set(&it, i->attr.ino, set);
	cfs_attr_merge(&after, &set->attr, set->mask);
	cfs_meta_reply_attr(rq, &after);
	cfs_shard_commit(m->shard, &it, NULL, 0, rq);
}

struct set_dir {
	uint64_t ino;
	const struct cfs_attr_set *set;
};

static void set_dir_reply(struct cfs_tx *tx, void *ctx)
{
	const struct set_dir *s = ctx;
	const struct cfs_inode *i = cfs_inode_find(&tx->meta->tables, s->ino);
	struct cfs_attr after = i->attr;

	if (tx->rq->msg->op != CFS_OP_SETATTR)
		return;
	cfs_attr_merge(&after, &s->set->attr, s->set->mask);
	cfs_meta_reply_attr(tx->rq, &after);
}

/* Its access ACL after the change: @acl, or the present one as the mode wants it. */
static void set_dir_acl(struct cfs_items *own, const struct cfs_inode *i,
			const struct cfs_attr_set *set, const struct cfs_bytes *acl)
{
	struct cfs_bytes old;
	bool has_old = cfs_acl_get(i, false, &old);
	uint8_t *to;

	if (acl && acl->len) {
		cfs_tx_add_acl(own, i->attr.ino, cfs_acl_access_name, *acl);
	} else if (acl && has_old) {
		cfs_tx_add_acl_del(own, i->attr.ino, cfs_acl_access_name);
	} else if (!acl && has_old && (set->mask & CFS_A_MODE)) {
		to = cfs_tx_add_acl(own, i->attr.ino, cfs_acl_access_name, old);
		if (to)
			cfs_acl_chmod(to, old.len, set->attr.mode);
	}
}

CFS_AWAITS int cfs_meta_set_dir(struct cfs_meta *m, struct cfs_shard_request *rq,
				const struct cfs_inode *i, const struct cfs_attr_set *set,
				const struct cfs_bytes *acl)
{
	struct set_dir ctx = { i->attr.ino, set };
	uint64_t parent = i->attr.parent;
	struct cfs_attr after = i->attr;
	struct cfs_dentry_value access = { .ino = i->attr.ino };
	struct cfs_items *own, *up;
	struct cfs_tx tx;
	int rc = -ENOMEM;

	cfs_attr_merge(&after, &set->attr, set->mask);
	access.mode = after.mode;
	access.uid = after.uid;
	access.gid = after.gid;
	access.name = (struct cfs_bytes){ (const uint8_t *)i->dir->name, i->dir->name_bytes };
	cfs_tx_init(&tx, m, rq);
	tx.reply = set_dir_reply;
	tx.ctx = &ctx;
	own = cfs_tx_at(&tx, m->shard->id);
	up = cfs_tx_at(&tx, cfs_ino_home(parent));
	if (own && up) {
		cfs_tx_add_expect(own, i);
		cfs_tx_add_set(own, i->attr.ino, set);
		set_dir_acl(own, i, set, acl);
		cfs_tx_add_access(up, parent, &access); /* copies the name */
		rc = cfs_tx_run(&tx);
	}
	cfs_tx_fini(&tx);
	return rc;
}

static CFS_AWAITS int setattr_once(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_attr_set set;
	struct cfs_inode *i;
	uint32_t bytes = msg->valid & CFS_SET_MODE ? CHMOD_BYTES : SET_BYTES;
	int rc = cfs_meta_begin(m, msg->sess, msg->ino, 0, bytes, false);

	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i)
		rc = cfs_iflags_may_set(i, msg);
	if (rc < 0)
		i = NULL;
	if (i)
		set_of(m, msg, i, &set);
	if (i && i->dir && i->attr.ino != CFS_INO_ROOT &&
	    (set.mask & (CFS_A_MODE | CFS_A_UID | CFS_A_GID))) {
		cfs_meta_end(m, bytes, false);
		return cfs_meta_set_dir(m, rq, i, &set, NULL);
	}
	if (i)
		set_now(m, rq, i, &set);
	cfs_meta_end(m, bytes, false);
	return rc;
}

/* A change of size is the file's business; the rest goes into its record. */
static CFS_AWAITS int setattr_size(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_attr_set set;
	struct cfs_inode *i;
	int rc = cfs_meta_settle(m, msg->ino);

	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (!i)
		return rc;
	if (i->dir)
		return -EISDIR;
	if (!S_ISREG(i->attr.mode))
		return -EINVAL;
	set_of(m, msg, i, &set);
	if (!(msg->valid & CFS_SET_CTIME))
		set.mask &= ~CFS_A_CTIME;
	return cfs_file_truncate(m, rq, msg->sess, msg->ino, msg->size, &set,
				 msg->valid & CFS_SET_KILLPRIV);
}

CFS_AWAITS int cfs_meta_serve_setattr(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = set_check(rq->msg);

	if (rc < 0)
		return rc;
	if (rq->msg->valid & CFS_SET_IFLAGS)
		return cfs_iflags_serve(m, rq);
	if (rq->msg->valid & CFS_SET_SIZE)
		return setattr_size(m, rq);
	for (uint32_t round = 0;; round++) {
		rc = setattr_once(m, rq);
		if (rc != -CFS_EAGAIN_LATER)
			return rc;
		rc = cfs_meta_again(round);
		if (rc < 0)
			return rc;
	}
}

/* --- opens --- */

/* As cfs_meta_begin(); what is opened to be read must not be hidden by somebody else's lease. */
static CFS_AWAITS int open_begin(struct cfs_meta *m, uint64_t ino, uint64_t changer,
				 uint64_t session)
{
	for (;;) {
		int rc = cfs_lease_read(m, ino, session);

		if (rc == 0)
			rc = cfs_meta_begin(m, changer, ino, 0, SET_BYTES, true);
		if (rc < 0 || !cfs_lease_hides(m, ino, session))
			return rc;
		cfs_meta_end(m, SET_BYTES, true);
	}
}

CFS_AWAITS int cfs_meta_serve_open(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_attr_set none = { 0 };
	bool is_write = msg->flags & CFS_F_WRITE;
	struct cfs_inode *i;
	struct cfs_items it;
	int rc = is_write ? 0 : cfs_lease_look(m, rq, msg->ino);

	if (rc < 0)
		return rc;
	/* Size 0 first, without an answer: who comes again after a crash has not opened it yet. */
	if (msg->flags & CFS_F_TRUNC)
		rc = cfs_file_truncate(m, NULL, msg->sess, msg->ino, 0, &none,
				       msg->flags & CFS_F_KILLPRIV);
	if (rc == 0)
		rc = open_begin(m, msg->ino, is_write ? msg->sess : CFS_LEASE_SKIP, msg->sess);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i && i->dir)
		rc = -EISDIR;
	if (rc == 0 && is_write)
		rc = cfs_iflags_may_write(i, msg->flags & CFS_F_APPEND);
	if (rc == 0) {
		struct cfs_opens n = cfs_inode_opens(i, msg->sess);

		n.count++;
		n.writes += is_write;
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_open(&it, i->attr.ino, msg->sess, &n);
		cfs_meta_reply_attr(rq, &i->attr);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
		if (is_write) /* whoever opens for writing knows that */
			cfs_lease_drop(m, msg->ino, msg->sess);
		else
			cfs_lease_reply(m, rq, msg->ino);
	}
	cfs_meta_end(m, SET_BYTES, true);
	return rc;
}

CFS_AWAITS int cfs_meta_close(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino,
			      uint64_t session, bool is_all)
{
	struct cfs_inode *i;
	struct cfs_items it;
	struct cfs_opens had, left = { 0 };
	int rc = cfs_meta_begin(m, CFS_LEASE_SKIP, ino, 0, SET_BYTES, true);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	had = i ? cfs_inode_opens(i, session) : (struct cfs_opens){ 0 };
	if (!is_all && had.count > 0) {
		bool is_write = rq->msg->flags & CFS_F_WRITE;

		left.count = had.count - 1;
		left.writes = had.writes - (is_write && had.writes ? 1 : 0);
		left.writes = CFS_MIN(left.writes, left.count);
	}
	cfs_shard_items(m->shard, &it);
	if (had.count != left.count)
		cfs_meta_add_open(&it, ino, session, &left);
	if (i && !is_all && (rq->msg->flags & CFS_F_ATIME) && cfs_meta_atime_is_due(m, i) &&
	    !cfs_lease_is_in_way(m, ino, session))
		cfs_meta_add_atime(m, i, &it);
	/* The last one of all takes an orphan with it. */
	if (i && !i->dir && i->attr.nlink == 0 && left.count == 0 &&
	    (!i->opens || (i->opens->session == session && !i->opens->next)))
		cfs_meta_add_removal(m, i, &it);
	if (it.len_bytes)
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	cfs_meta_end(m, SET_BYTES, true);
	return 0;
}

CFS_AWAITS int cfs_meta_serve_release(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	return cfs_meta_close(m, rq, rq->msg->ino, rq->msg->sess, false);
}

/* --- targets and parents --- */

CFS_AWAITS int cfs_meta_serve_readlink(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_inode *i;
	uint32_t len;
	int rc = cfs_buf_get(CFS_PATH_BYTES_MAX, &rq->reply_buf);

	if (rc == 0)
		rc = cfs_meta_settle(m, rq->msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	if (!S_ISLNK(i->attr.mode) || !i->target)
		return -EINVAL;
	len = (uint32_t)strlen(i->target);
	if (CFS_BREAK(SYMLINK_SHORT) && len > 255)
		len = 255;
	memcpy(rq->reply_buf->data, i->target, len);
	cfs_msg_set_bytes(&rq->reply, data, rq->reply_buf->data, len);
	if (rq->msg->flags & CFS_F_ATIME)
		cfs_meta_accessed(m, rq->msg->ino, rq->msg->sess);
	return 0;
}

CFS_AWAITS int cfs_meta_serve_parent(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_inode *i;
	int rc = cfs_meta_settle(m, rq->msg->ino);

	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, rq->msg->ino, &rc);
	if (!i)
		return rc;
	if (!i->dir)
		return -ENOTDIR;
	memcpy(rq->scratch, i->dir->name, i->dir->name_bytes);
	cfs_msg_set(&rq->reply, parent, i->attr.parent);
	cfs_msg_set_bytes(&rq->reply, name, rq->scratch, i->dir->name_bytes);
	return 0;
}

CFS_AWAITS int cfs_meta_parent(struct cfs_meta *m, uint64_t dir, uint64_t *parent)
{
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_PARENT };
	struct cfs_net_reply reply;
	struct cfs_inode *i;
	int rc;

	if (cfs_meta_is_home(m, dir)) {
		rc = cfs_meta_settle(m, dir);
		i = rc == 0 ? cfs_meta_inode(m, dir, &rc) : NULL;
		if (i)
			*parent = i->attr.parent;
		return rc;
	}
	cfs_msg_set(&msg, ino, dir);
	rc = cfs_meta_call(m, cfs_ino_home(dir), &msg, &reply);
	if (rc < 0)
		return rc;
	*parent = reply.msg.parent;
	cfs_net_reply_fini(&reply);
	return 0;
}
