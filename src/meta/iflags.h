/*
 * Inode flags, as chattr(1) sets them, and what they forbid (chattr(1), and the kernel's
 * inode_permission(), may_delete() and setattr_prepare()). Immutable: nothing of the inode changes,
 * nor its names, nor a directory's entries. Append-only: a file only grows by appends, a directory
 * only gets new entries.
 *
 * They are checked where a change is checked, in the shard of the inode, against a table that stays
 * as it is until the record. Of data that clients write to chunks of other shards by themselves,
 * the inode's shard only hears afterwards; so before one of these flags is set, the cut of a file
 * that somebody has open is counted up everywhere (cfs_file_fence()), and a client sends what it
 * writes to a file with such a flag to the inode's shard.
 */
#ifndef CFS_META_IFLAGS_H
#define CFS_META_IFLAGS_H

#include <errno.h>

#include "base/breaks.h"
#include "meta/meta_internal.h"

/* Neither is the inode changed but by appends, nor are its links. */
static inline bool cfs_inode_is_fixed(const struct cfs_inode *i)
{
	return i->attr.iflags & (CFS_IFLAG_IMMUTABLE | CFS_IFLAG_APPEND);
}

/* Each: 0; -EPERM. */

/* Owner, mode, xattrs, links, removal, truncation. */
static inline int cfs_iflags_may_change(const struct cfs_inode *i)
{
	return cfs_inode_is_fixed(i) && !CFS_BREAK(IMMUTABLE_GOES) ? -EPERM : 0;
}

/* Contents; @is_append: at the end, whatever is there stays. */
static inline int cfs_iflags_may_write(const struct cfs_inode *i, bool is_append)
{
	if (i->attr.iflags & CFS_IFLAG_IMMUTABLE)
		return CFS_BREAK(IMMUTABLE_WRITES) ? 0 : -EPERM;
	if (!(i->attr.iflags & CFS_IFLAG_APPEND) || is_append)
		return 0;
	return CFS_BREAK(APPEND_ONLY_WRITES) ? 0 : -EPERM;
}

/* Entries of directory @dir; @is_new: there is none of the name. */
static inline int cfs_iflags_may_link(const struct cfs_inode *dir, bool is_new)
{
	return cfs_iflags_may_write(dir, is_new);
}

/* A SETATTR, its fields checked. */
int cfs_iflags_may_set(const struct cfs_inode *i, const struct cfs_msg *msg);
/* What is born in @dir gets these. */
static inline uint32_t cfs_iflags_inherited(const struct cfs_inode *dir)
{
	return dir->attr.iflags & (CFS_IFLAG_NODUMP | CFS_IFLAG_NOATIME);
}

/* Serves a SETATTR with CFS_SET_IFLAGS, which has nothing else. -EOPNOTSUPP: a flag that there is
 * not; -EINVAL. */
CFS_AWAITS int cfs_iflags_serve(struct cfs_meta *m, struct cfs_shard_request *rq);

#endif
