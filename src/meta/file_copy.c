/*
 * Copies of ranges of one file to the same offsets of another, by sharing blocks, at the shard of
 * the inode that changes (doc/design/data.md, Clones).
 *
 * Chunks of the same number lie on the same shard when both files have the same seed; chunk 0 when
 * both inodes do. A file that never had data past chunk 0 takes over the other's seed. The shards
 * of the chunks do the work, some side by side; then one record moves the size, and rests on
 * theirs: what a crash leaves is a beginning of the copy. Chunk 0 is in the same record as its
 * size.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "meta/file_internal.h"
#include "meta/iflags.h"
#include "meta/lease.h"
#include "proto/place.h"

#define COPY_BYTES_MAX (1024ull * 1024 * 1024) /* one request; the client asks for the rest */
#define CHUNKS_MAX 16u                         /* that one record tells of */
/* Shards whose records it may rest on, beside trims. */
#define SHARDS_MAX (CFS_RECORD_DEPS_MAX - CFS_FILE_TRIM_DEPS_MAX)
#define ROOM_BYTES (2 * CFS_FILE_SET_BYTES)
#define TRIES_MAX 64u

struct copy {
	struct cfs_meta *m;
	struct cfs_shard_request *rq;
	struct cfs_file_use u;
	uint64_t off, end, at; /* up to at is done */
};

/* A chunk of another shard, or not of the first number. */
struct chunk {
	struct copy *c;
	uint64_t chunk;
	uint32_t shard, off, len;
	int64_t blocks;
	struct cfs_record_dep dep; /* epoch 0: none */
	int rc;
};

struct batch {
	struct chunk chunks[CHUNKS_MAX];
	uint32_t count;
	uint64_t end;
};

static CFS_AWAITS int chunk_send(struct chunk *k)
{
	const struct cfs_msg *msg = k->c->rq->msg;
	struct cfs_meta *m = k->c->m;
	const struct cfs_shard_env *env = m->shard->env;
	const struct cfs_file *f = k->c->u.f;
	struct cfs_msg req = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_CHUNK_CLONE };
	struct cfs_net_reply reply;
	uint8_t dep[CFS_DEP_BYTES];
	int rc;

	cfs_msg_set(&req, ino, msg->ino);
	cfs_msg_set(&req, ino2, msg->ino2);
	cfs_msg_set(&req, chunk, k->chunk);
	cfs_msg_set(&req, off, k->off);
	cfs_msg_set(&req, len, k->len);
	cfs_msg_set(&req, cut, k->c->u.i->attr.cut);
	cfs_msg_set(&req, cut2, msg->cut2);
	/* No data where a power cut could leave it without the record that tells how far to look.
	 */
	if (f->top_dep.epoch && k->shard != m->shard->id &&
	    f->top_tick > env->tick_stable(env->ctx)) {
		cfs_deps_put(&f->top_dep, 1, dep);
		cfs_msg_set_bytes(&req, deps, dep, CFS_DEP_BYTES);
	}
	rc = cfs_meta_call(m, k->shard, &req, &reply);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, blocks))
		k->blocks = reply.msg.blocks;
	if (cfs_msg_is_set(&reply.msg, index))
		k->dep = (struct cfs_record_dep){ .shard = k->shard,
						  .epoch = reply.msg.epoch,
						  .index = reply.msg.index };
	cfs_net_reply_fini(&reply);
	return 0;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void chunk_run(void *arg)
{
	struct chunk *k = arg;

	k->rc = chunk_send(k);
}

static CFS_AWAITS int batch_run(struct batch *b)
{
	struct cfs_group g;
	int rc = 0;

	cfs_group_init(&g);
	for (uint32_t i = 1; i < b->count; i++)
		if (cfs_group_start(&g, chunk_run, &b->chunks[i]) < 0)
			chunk_run(&b->chunks[i]);
	chunk_run(&b->chunks[0]);
	cfs_group_join(&g);
	for (uint32_t i = 0; i < b->count && rc == 0; i++)
		rc = b->chunks[i].rc;
	return rc;
}

static bool has_shard(const struct batch *b, uint32_t shard)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->chunks[i].shard == shard)
			return true;
	return false;
}

/* The next chunks that one record can tell of. None is chunk 0. */
static void batch_make(struct copy *c, struct batch *b)
{
	const struct cfs_inode *i = c->u.i;
	uint32_t home = c->m->shard->id, shards = c->m->shard->env->shards, remote = 0;

	*b = (struct batch){ .end = c->at };
	while (b->end < c->end && b->count < CHUNKS_MAX) {
		uint64_t chunk = b->end / CFS_CHUNK_BYTES, base = chunk * CFS_CHUNK_BYTES;
		uint64_t to = CFS_MIN(c->end, base + CFS_CHUNK_BYTES);
		uint32_t shard = cfs_chunk_shard(i->attr.ino, i->attr.seed, chunk, shards);

		if (shard != home && !has_shard(b, shard) && remote++ == SHARDS_MAX)
			break;
		b->chunks[b->count++] = (struct chunk){
			.c = c,
			.chunk = chunk,
			.shard = shard,
			.off = (uint32_t)(b->end - base),
			.len = (uint32_t)(to - b->end),
		};
		b->end = to;
	}
}

/* The record: blocks, times, and the size where it grows. The copy's last one is the answer. */
static void commit(struct copy *c, struct cfs_items *it, uint64_t to, int64_t blocks,
		   struct cfs_record_dep *deps, uint32_t dep_count)
{
	struct cfs_meta *m = c->m;
	struct cfs_inode *i = c->u.i;
	struct cfs_attr_set set = { .mask = CFS_A_BLOCKS };
	struct cfs_attr after = i->attr;
	bool is_last = to == c->end;

	set.attr.blocks = cfs_file_blocks(i, blocks);
	if (to > i->attr.size) {
		set.mask |= CFS_A_SIZE;
		set.attr.size = to;
		if (to > CFS_CHUNK_BYTES)
			dep_count = cfs_file_grow_deps(m, c->u.f, deps, dep_count);
	}
	cfs_file_set_times(m, &set);
	if (c->rq->msg->flags & CFS_F_KILLPRIV)
		cfs_meta_kill_priv(i, &set, it);
	cfs_meta_add_set(it, i->attr.ino, &set);
	cfs_attr_merge(&after, &set.attr, set.mask);
	if (is_last) {
		cfs_meta_reply_attr(c->rq, &after);
		cfs_msg_set(&c->rq->reply, len, to - c->off);
	}
	cfs_shard_commit(m->shard, it, deps, dep_count, is_last ? c->rq : NULL);
	c->at = to;
}

static uint32_t batch_deps(const struct batch *b, uint32_t home, struct cfs_record_dep *deps)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct cfs_record_dep *dep = &b->chunks[i].dep;
		uint32_t k = 0;

		if (!dep->epoch || dep->shard == home)
			continue;
		while (k < count && deps[k].shard != dep->shard)
			k++;
		if (k == count)
			deps[count++] = *dep;
		else if (dep->index > deps[k].index)
			deps[k] = *dep;
	}
	return count;
}

static CFS_AWAITS int copy_batch(struct copy *c)
{
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_meta *m = c->m;
	uint64_t to;
	struct cfs_items it;
	int64_t blocks = 0;
	struct batch b;
	int rc, run_rc;

	batch_make(c, &b);
	run_rc = batch_run(&b);
	for (uint32_t i = 0; i < b.count; i++)
		blocks += b.chunks[i].blocks;
	/* What came past the size of a part that failed is to be trimmed before anything else. */
	if (run_rc < 0 && b.end > c->u.i->attr.size)
		c->u.f->is_clean = false;
	if (run_rc < 0 && blocks == 0)
		return run_rc;
	rc = cfs_meta_begin(m, c->rq->msg->sess, c->u.i->attr.ino, 0, ROOM_BYTES, false);
	if (rc < 0) {
		c->u.f->is_clean = false;
		return run_rc < 0 ? run_rc : rc;
	}
	if (c->u.i->is_gone) {
		rc = -ESTALE;
	} else {
		cfs_shard_items(m->shard, &it);
		to = run_rc < 0 ? c->at : b.end;
		commit(c, &it, to, blocks, deps, batch_deps(&b, m->shard->id, deps));
	}
	cfs_meta_end(m, ROOM_BYTES, false);
	return run_rc < 0 ? run_rc : rc;
}

/* Chunk 0, here: in the same record as the size. */
static CFS_AWAITS int copy_first(struct copy *c)
{
	const struct cfs_msg *msg = c->rq->msg;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_meta *m = c->m;
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);
	uint64_t to = CFS_MIN(c->end, (uint64_t)CFS_CHUNK_BYTES);
	struct cfs_items it;
	int rc = -EAGAIN;

	for (uint32_t k = 0; rc == -EAGAIN && k < TRIES_MAX; k++) {
		struct cfs_chunk_clone one = {
			.ino = msg->ino,
			.cut = c->u.i->attr.cut,
			.ino2 = msg->ino2,
			.cut2 = msg->cut2,
			.off_bytes = (uint32_t)c->at,
			.len_bytes = (uint32_t)(to - c->at),
			.extra_bytes = ROOM_BYTES,
		};

		rc = cfs_lease_clear(m, msg->ino, msg->sess);
		if (rc == 0)
			rc = cfs_meta_settle(m, msg->ino);
		if (rc == 0)
			rc = chunks->clone_begin(part, &one);
		if (rc < 0)
			break;
		if (c->u.i->is_gone)
			rc = -ESTALE;
		else if (!cfs_meta_is_settled(m, msg->ino) ||
			 cfs_lease_is_in_way(m, msg->ino, msg->sess))
			rc = -EAGAIN;
		cfs_shard_items(m->shard, &it);
		if (rc == 0)
			rc = chunks->clone_items(part, &one, &it);
		if (rc == 0)
			commit(c, &it, to, one.blocks, deps, 0);
		chunks->clone_end(part, &one);
	}
	return rc == -EAGAIN ? -CFS_EAGAIN_LATER : rc;
}

/* From now on its chunks lie with those of the other file. It never had any but chunk 0. */
static CFS_AWAITS int take_seed(struct copy *c)
{
	struct cfs_attr_set set = { .mask = CFS_A_SEED | CFS_A_CUT };
	struct cfs_meta *m = c->m;
	struct cfs_items it;
	int rc = cfs_meta_begin(m, c->rq->msg->sess, c->u.i->attr.ino, 0, CFS_FILE_SET_BYTES,
				false);

	if (rc < 0)
		return rc;
	rc = c->u.i->is_gone ? -ESTALE : 0;
	if (rc == 0) {
		set.attr.seed = c->rq->msg->seed;
		/* Who knows the old seed has the old cut with it. */
		set.attr.cut = cfs_file_next_cut(m, c->u.i);
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_set(&it, c->u.i->attr.ino, &set);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_meta_end(m, CFS_FILE_SET_BYTES, false);
	return rc;
}

/* How far blocks can be shared. -EXDEV: not at all. */
static CFS_AWAITS int copy_place(struct copy *c)
{
	const struct cfs_msg *msg = c->rq->msg;
	const struct cfs_file *f = c->u.f;
	int rc = 0;

	if (c->off < CFS_CHUNK_BYTES && cfs_ino_home(msg->ino) != cfs_ino_home(msg->ino2))
		return -EXDEV;
	if (c->end <= CFS_CHUNK_BYTES)
		return 0;
	if (c->u.i->attr.seed != msg->seed) {
		if (f->top <= 1 && f->intent_count == 0 && c->u.i->attr.size <= CFS_CHUNK_BYTES) {
			rc = take_seed(c);
		} else if (c->off < CFS_CHUNK_BYTES) {
			c->end = CFS_CHUNK_BYTES;
			return 0;
		} else {
			rc = -EXDEV;
		}
	}
	if (rc == 0 && c->end > c->u.i->attr.size)
		rc = cfs_file_grow_prepare(c->m, &c->u);
	if (rc == 0)
		rc = cfs_file_top_raise(c->m, &c->u, (c->end - 1) / CFS_CHUNK_BYTES);
	return rc == 0 && c->u.i->is_gone ? -ESTALE : rc;
}

static CFS_AWAITS int copy_locked(struct copy *c)
{
	int rc = c->u.i->is_gone ? -ESTALE : cfs_iflags_may_write(c->u.i, false);

	if (rc == 0)
		rc = copy_place(c);
	while (rc == 0 && c->at < c->end)
		rc = c->at < CFS_CHUNK_BYTES ? copy_first(c) : copy_batch(c);
	if (rc == 0 || c->at == c->off || c->u.i->is_gone)
		return rc;
	/* A beginning is there, and told of: that is the answer. */
	cfs_meta_reply_attr(c->rq, &c->u.i->attr);
	cfs_msg_set(&c->rq->reply, len, c->at - c->off);
	return 0;
}

CFS_AWAITS int cfs_file_copy(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct copy c = { .m = m, .rq = rq, .off = msg->off, .at = msg->off };
	int rc;

	if (msg->len == 0 || msg->ino == msg->ino2)
		return -EINVAL;
	if (msg->off > CFS_FILE_BYTES_MAX || msg->len > CFS_FILE_BYTES_MAX - msg->off)
		return -EFBIG;
	c.end = msg->off + CFS_MIN(msg->len, COPY_BYTES_MAX);
	rc = cfs_meta_settle(m, msg->ino);
	if (rc == 0)
		rc = cfs_file_use(m, msg->ino, &c.u);
	if (rc != 0)
		return rc;
	rc = cfs_lock_take(&c.u.f->lock);
	if (rc == 0) {
		rc = copy_locked(&c);
		cfs_lock_release(&c.u.f->lock);
	}
	cfs_file_unuse(m, &c.u);
	return rc;
}
