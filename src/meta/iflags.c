/*
 * Setting inode flags. Two records where a fence is needed: the flags with a new cut, then, once
 * all shards have it, the answer. Who comes again after a crash in between does it all again, so
 * the answer never says what is not yet so.
 */
#include "meta/iflags.h"

#include <sys/stat.h>

#include "base/util.h"
#include "meta/file.h"

#define IFLAGS_BYTES 256u

int cfs_iflags_may_set(const struct cfs_inode *i, const struct cfs_msg *msg)
{
	uint32_t v = (uint32_t)msg->valid;
	uint32_t times = CFS_SET_ATIME | CFS_SET_MTIME | CFS_SET_ATIME_NOW | CFS_SET_MTIME_NOW;
	bool is_touch = (v & times) == (CFS_SET_ATIME_NOW | CFS_SET_MTIME_NOW);

	if (i->attr.iflags & CFS_IFLAG_IMMUTABLE)
		return -EPERM;
	if (!(i->attr.iflags & CFS_IFLAG_APPEND))
		return 0;
	if (v & (CFS_SET_MODE | CFS_SET_UID | CFS_SET_GID | CFS_SET_SIZE))
		return -EPERM;
	return (v & times) && !is_touch ? -EPERM : 0;
}

static int flags_check(const struct cfs_msg *msg)
{
	if (!cfs_msg_is_set(msg, iflags) || msg->valid != CFS_SET_IFLAGS)
		return -EINVAL;
	return msg->iflags & ~CFS_IFLAGS_USER ? -EOPNOTSUPP : 0;
}

/* Must clients that write by themselves be kept from it? */
static bool needs_fence(const struct cfs_inode *i, uint32_t iflags)
{
	uint32_t added = iflags & ~i->attr.iflags & (CFS_IFLAG_IMMUTABLE | CFS_IFLAG_APPEND);

	return added && S_ISREG(i->attr.mode) && i->attr.size > CFS_CHUNK_BYTES &&
	       cfs_inode_is_open(i);
}

CFS_AWAITS int cfs_iflags_serve(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_attr_set set = { .mask = CFS_A_IFLAGS | CFS_A_CTIME };
	struct cfs_attr after;
	struct cfs_items it;
	struct cfs_inode *i;
	int rc = flags_check(msg);

	if (rc == 0)
		rc = cfs_meta_settle(m, msg->ino);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i && needs_fence(i, msg->iflags))
		rc = cfs_file_fence(m, msg->ino, msg->iflags);
	if (rc == 0)
		rc = cfs_meta_begin(m, msg->sess, msg->ino, 0, IFLAGS_BYTES, false);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i && !S_ISREG(i->attr.mode) && !i->dir)
		rc = -EOPNOTSUPP;
	if (rc == 0) {
		set.attr.iflags = (i->attr.iflags & ~CFS_IFLAGS_USER) | msg->iflags;
		set.attr.ctime = (int64_t)cfs_meta_now(m);
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_set(&it, msg->ino, &set);
		after = i->attr;
		cfs_attr_merge(&after, &set.attr, set.mask);
		cfs_meta_reply_attr(rq, &after);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	}
	cfs_meta_end(m, IFLAGS_BYTES, false);
	return rc;
}
