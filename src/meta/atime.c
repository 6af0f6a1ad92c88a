/*
 * Access times, by the rules of relatime: a read changes atime when it is not after mtime and
 * ctime, or a day old. So what is read again and again is one record a change or a day, and reads
 * that change nothing cost nothing but the comparison.
 *
 * The record is placed before the read is answered, so that who asks next sees it, and has no
 * answer of its own: a read that is repeated after a crash finds atime as it should be. Without
 * room in the store atime stays as it is; no read fails for it.
 */
#include <stdlib.h>

#include "base/breaks.h"
#include "base/reactor.h"
#include "base/util.h"
#include "meta/lease.h"

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
static CFS_AWAITS void mark(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct cfs_inode *i;
	struct cfs_items it;

	if (cfs_shard_reserve(m->shard, ATIME_BYTES, false) < 0)
		return;
	/* It may have waited: somebody else's read may have been first. */
	i = cfs_inode_find(&m->tables, ino);
	if (i && cfs_meta_atime_is_due(m, i) && !cfs_lease_is_in_way(m, ino, session)) {
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_atime(m, i, &it);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_shard_unreserve(m->shard, ATIME_BYTES, false);
}

struct later {
	struct cfs_meta *meta;
	uint64_t ino, session;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void mark_later(void *arg)
{
	struct later *l = arg;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	if (cfs_lease_clear(l->meta, l->ino, l->session) == 0)
		mark(l->meta, l->ino, l->session);
	free(l);
}

/* A client that is asked to let go of pages may wait for this very read: so the read does not wait
 * for it, and the access time comes a little later. */
CFS_AWAITS void cfs_meta_accessed(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct cfs_inode *i = cfs_inode_find(&m->tables, ino);
	struct later *l;

	if (!i || !cfs_meta_atime_is_due(m, i))
		return;
	if (!cfs_lease_is_in_way(m, ino, session)) {
		mark(m, ino, session);
		return;
	}
	l = malloc(sizeof(*l));
	if (!l)
		return;
	*l = (struct later){ .meta = m, .ino = ino, .session = session };
	if (cfs_group_start(&m->shard->fibers, mark_later, l) < 0)
		free(l);
}
