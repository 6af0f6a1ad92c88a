/*
 * Serials: shard 0 gives out blocks of numbers and never the same twice; every shard takes from its
 * block. What is left of a block when the process ends is lost, and with 2^48 numbers nobody misses
 * it. The first record that uses a block rests on shard 0's record of it: a power cut that loses
 * the one loses the other.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/err.h"
#include "meta/meta_internal.h"

/* Shard 0: the next block, recorded. 0; what the reservation returned; -ENOSPC: all numbers are
 * used. */
static CFS_AWAITS int block_give(struct cfs_meta *m, uint64_t count, struct cfs_shard_request *rq,
				 uint64_t *first)
{
	struct cfs_items it;
	int rc = cfs_shard_reserve(m->shard, 64, false);

	if (rc < 0)
		return rc;
	if (count > CFS_SERIAL_MAX - m->serials.next_block) {
		cfs_shard_unreserve(m->shard, 64, false);
		return -ENOSPC;
	}
	*first = m->serials.next_block;
	cfs_shard_items(m->shard, &it);
	cfs_meta_add_serials(&it, *first + count);
	if (rq)
		cfs_msg_set(&rq->reply, ino, *first);
	cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	cfs_shard_unreserve(m->shard, 64, false);
	return 0;
}

CFS_AWAITS int cfs_serials_serve(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	uint64_t first;

	if (m->shard->id != 0 || rq->msg->count == 0 || rq->msg->count > CFS_SERIALS_BLOCK)
		return -EINVAL;
	return block_give(m, rq->msg->count, rq, &first);
}

static CFS_AWAITS int fetch(struct cfs_meta *m)
{
	struct cfs_serials *s = &m->serials;
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_SERIALS };
	struct cfs_net_reply reply;
	int rc;

	if (m->shard->id == 0) {
		rc = block_give(m, CFS_SERIALS_BLOCK, NULL, &s->next);
		if (rc == 0)
			s->end = s->next + CFS_SERIALS_BLOCK;
		return rc;
	}
	cfs_msg_set(&msg, count, CFS_SERIALS_BLOCK);
	rc = cfs_meta_call(m, 0, &msg, &reply);
	if (rc < 0)
		return rc;
	s->next = reply.msg.ino;
	s->end = s->next + CFS_SERIALS_BLOCK;
	s->dep = (struct cfs_record_dep){ .shard = 0,
					  .epoch = reply.msg.epoch,
					  .index = reply.msg.index };
	s->has_dep = true;
	cfs_net_reply_fini(&reply);
	return 0;
}

CFS_AWAITS int cfs_serials_fill(struct cfs_meta *m)
{
	struct cfs_serials *s = &m->serials;
	int rc = 0;

	if (s->next < s->end)
		return 0;
	rc = cfs_lock_take(&s->fetch);
	if (rc < 0)
		return rc;
	if (s->next == s->end)
		rc = fetch(m);
	cfs_lock_release(&s->fetch);
	return rc;
}

uint64_t cfs_serials_take(struct cfs_meta *m, uint32_t home)
{
	struct cfs_serials *s = &m->serials;

	if (s->next == s->end)
		return 0;
	return cfs_ino_make(home, s->next++);
}
