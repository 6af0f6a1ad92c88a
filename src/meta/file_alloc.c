/*
 * Allocation of regular files, at the shard of the inode: fallocate(2).
 *
 * Blocks cannot be set aside in a log that is never written in place, so allocating moves the size,
 * and fails when the stores could not take that many bytes now. Punching and zeroing go to the
 * shards that hold chunks of the range, one message each however long it is.
 */
#include <errno.h>
#include <string.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/file_internal.h"
#include "meta/iflags.h"
#include "proto/place.h"

#define FALLOC_KEEP_SIZE 0x01u /* linux/falloc.h */
#define FALLOC_PUNCH_HOLE 0x02u
#define FALLOC_ZERO_RANGE 0x10u

/* Zeroing a range, in all shards that may have chunks of it. */
struct zero {
	struct cfs_meta *m;
	uint64_t ino, cut, off, end; /* bytes */
	int64_t blocks;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	uint32_t dep_count;
	bool is_dep_missing; /* more than fit: a size that grows waits for a sync */
};

static void zero_dep(struct zero *z, const struct cfs_record_dep *dep)
{
	if (z->dep_count < CFS_RECORD_DEPS_MAX - CFS_FILE_TRIM_DEPS_MAX)
		z->deps[z->dep_count++] = *dep;
	else
		z->is_dep_missing = true;
}

static CFS_AWAITS int zero_one(void *ctx, uint32_t shard)
{
	struct zero *z = ctx;
	struct cfs_msg req = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_CHUNK_ZERO };
	struct cfs_net_reply reply;
	int rc;

	cfs_msg_set(&req, ino, z->ino);
	cfs_msg_set(&req, off, z->off);
	cfs_msg_set(&req, len, z->end - z->off);
	cfs_msg_set(&req, cut, z->cut);
	rc = cfs_meta_call(z->m, shard, &req, &reply);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, blocks))
		z->blocks += reply.msg.blocks;
	if (cfs_msg_is_set(&reply.msg, index) && shard != z->m->shard->id)
		zero_dep(z, &(struct cfs_record_dep){ .shard = shard,
						      .epoch = reply.msg.epoch,
						      .index = reply.msg.index });
	cfs_net_reply_fini(&reply);
	return 0;
}

static CFS_AWAITS int zero_range(struct zero *z, const struct cfs_file_use *u)
{
	/* Data were never past top, nor in any but chunk 0 without one. */
	uint64_t top = CFS_MAX(u->f->top, 1ull);
	uint64_t end = CFS_MIN(cfs_file_chunks_of(z->end), top);
	struct cfs_shard_set set;
	int rc;

	if (z->off >= z->end || z->off / CFS_CHUNK_BYTES >= end)
		return 0;
	rc = cfs_shard_set_init(&set, z->m, z->ino, u->i->attr.seed, z->off / CFS_CHUNK_BYTES, end);
	if (rc < 0)
		return rc;
	rc = cfs_shard_set_each(&set, zero_one, z);
	cfs_shard_set_fini(&set);
	return rc;
}

static int fallocate_check(const struct cfs_msg *msg, bool *is_zero, bool *keeps_size)
{
	uint32_t mode = msg->mode;

	*keeps_size = mode & FALLOC_KEEP_SIZE && !CFS_BREAK(KEEP_SIZE_IGNORED);
	if (CFS_BREAK(ALLOCATE_SHORT))
		*keeps_size = true;
	*is_zero = mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE);
	if (mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_PUNCH_HOLE) &&
	    (!(mode & FALLOC_KEEP_SIZE) || (mode & FALLOC_ZERO_RANGE)))
		return -EOPNOTSUPP;
	if (msg->len == 0)
		return -EINVAL;
	if (msg->off > CFS_FILE_BYTES_MAX || msg->len > CFS_FILE_BYTES_MAX - msg->off)
		return -EFBIG;
	return 0;
}

/* Could the stores take the range, what the file has not counted? */
static CFS_AWAITS int room_check(struct cfs_meta *m, const struct cfs_file_use *u, uint64_t len)
{
	struct cfs_shard_env *env = m->shard->env;
	uint32_t tries = 0;

	while (env->free_bytes) {
		uint64_t had = u->i->attr.blocks * 512;
		int rc;

		if (len <= had || len - had <= env->free_bytes(env->ctx))
			break;
		rc = cfs_file_wait_for_space(m, &tries);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static CFS_AWAITS int fallocate_locked(struct cfs_meta *m, struct cfs_shard_request *rq,
				       struct cfs_file_use *u, bool is_zero, bool keeps_size)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_inode *i = u->i;
	uint64_t end = msg->off + msg->len;
	bool grows = !keeps_size && end > i->attr.size;
	struct zero z = {
		.m = m,
		.ino = i->attr.ino,
		.off = msg->off,
		.end = is_zero ? CFS_MIN(end, i->attr.size) : 0,
	};
	struct cfs_attr_set set = { 0 };
	struct cfs_attr after;
	struct cfs_items it;
	int rc = 0, zero_rc;

	if (i->is_gone)
		return -ESTALE;
	rc = cfs_iflags_may_write(i, !is_zero);
	if (rc == 0 && !is_zero)
		rc = room_check(m, u, msg->len);
	if (rc == 0 && grows && end > CFS_CHUNK_BYTES)
		rc = cfs_file_grow_prepare(m, u);
	if (rc < 0)
		return rc;
	if (i->is_gone)
		return -ESTALE;
	rc = cfs_iflags_may_write(i, !is_zero);
	if (rc < 0)
		return rc;
	z.cut = i->attr.cut;
	zero_rc = CFS_BREAK(PUNCH_NOTHING) ? 0 : zero_range(&z, u);
	if (zero_rc == 0 && grows && z.is_dep_missing)
		zero_rc = m->shard->env->sync_all(m->shard->env->ctx);
	rc = cfs_meta_begin(m, msg->sess, i->attr.ino, 0, CFS_FILE_TRUNCATE_BYTES, !grows);
	if (rc < 0)
		return rc;
	rc = i->is_gone ? -ESTALE : 0;
	if (rc == 0) {
		cfs_shard_items(m->shard, &it);
		cfs_file_set_times(m, &set);
		if (z.blocks) {
			set.mask |= CFS_A_BLOCKS;
			set.attr.blocks = cfs_file_blocks(i, z.blocks);
		}
		if (grows && zero_rc == 0) {
			set.mask |= CFS_A_SIZE | CFS_A_CUT;
			set.attr.size = end;
			set.attr.cut = cfs_file_next_cut(m, i);
			if (end > CFS_CHUNK_BYTES) {
				z.dep_count = cfs_file_grow_deps(m, u->f, z.deps, z.dep_count);
				if (cfs_file_chunks_of(end) > u->f->top)
					cfs_file_add_item(&it, CFS_FILE_TOP,
							  &(struct cfs_file_change){
								  .ino = i->attr.ino,
								  .top = cfs_file_chunks_of(end) });
			}
		}
		if (msg->flags & CFS_F_KILLPRIV)
			cfs_meta_kill_priv(i, &set, &it);
		else
			cfs_meta_kill_cap(i, &it);
		cfs_meta_add_set(&it, i->attr.ino, &set);
		after = i->attr;
		cfs_attr_merge(&after, &set.attr, set.mask);
		cfs_meta_reply_attr(rq, &after);
		/* What was zeroed of a range that failed is told of, but not answered. */
		cfs_shard_commit(m->shard, &it, z.deps, z.dep_count, zero_rc == 0 ? rq : NULL);
	}
	cfs_meta_end(m, CFS_FILE_TRUNCATE_BYTES, !grows);
	if (zero_rc < 0)
		rq->reply.has = 0;
	return rc < 0 ? rc : zero_rc;
}

CFS_AWAITS int cfs_file_fallocate(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_file_use u;
	bool is_zero, keeps_size;
	int rc = fallocate_check(rq->msg, &is_zero, &keeps_size);

	if (rc == 0)
		rc = cfs_meta_settle(m, rq->msg->ino);
	if (rc == 0)
		rc = cfs_file_use(m, rq->msg->ino, &u);
	if (rc != 0)
		return rc;
	rc = cfs_lock_take(&u.f->lock);
	if (rc == 0) {
		rc = fallocate_locked(m, rq, &u, is_zero, keeps_size);
		cfs_lock_release(&u.f->lock);
	}
	cfs_file_unuse(m, &u);
	return rc;
}
