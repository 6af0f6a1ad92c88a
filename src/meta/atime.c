/*
 * Access times, by the rules of relatime: a read changes atime when it is not after mtime and
 * ctime, or a day old. So what is read again and again is one record a change or a day, and reads
 * that change nothing cost nothing but the comparison.
 *
 * The record is placed before the read is answered, so that who asks next sees it, and has no
 * answer of its own: a read that is repeated after a crash finds atime as it should be. Without
 * room in the store atime stays as it is; no read fails for it.
 */
#include "base/breaks.h"
#include "base/util.h"
#include "meta/meta_internal.h"

#define ATIME_BYTES 128u

bool cfs_meta_atime_is_due(struct cfs_meta *m, const struct cfs_inode *i)
{
	if (CFS_BREAK(ATIME_LOST) || CFS_BREAK(ATIME_ALWAYS))
		return CFS_BREAK(ATIME_ALWAYS);
	return !(i->attr.iflags & CFS_IFLAG_NOATIME) &&
	       cfs_attr_atime_is_due(&i->attr, (int64_t)cfs_meta_now(m));
}

void cfs_meta_add_atime(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it)
{
	struct cfs_attr_set set = { .mask = CFS_A_ATIME };

	set.attr.atime = (int64_t)cfs_meta_now(m);
	cfs_meta_add_set(it, i->attr.ino, &set);
}

/* A prepared transaction need not be waited for: none changes atime. */
CFS_AWAITS void cfs_meta_accessed(struct cfs_meta *m, uint64_t ino)
{
	const struct cfs_inode *i = cfs_inode_find(&m->tables, ino);
	struct cfs_items it;

	if (!i || !cfs_meta_atime_is_due(m, i) ||
	    cfs_shard_reserve(m->shard, ATIME_BYTES, false) < 0)
		return;
	/* It may have waited: somebody else's read may have been first. */
	i = cfs_inode_find(&m->tables, ino);
	if (i && cfs_meta_atime_is_due(m, i)) {
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_atime(m, i, &it);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_shard_unreserve(m->shard, ATIME_BYTES, false);
}
