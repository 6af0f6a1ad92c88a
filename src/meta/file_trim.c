/*
 * Trims and growth of files with chunks on several shards; the order of steps is that of
 * truncate.pml.
 *
 * A truncate to less places one record: the size, a new cut, and, unless all is in the inode's
 * shard, an intent. Then the shards are told to trim; each of their records rests on that one. Then
 * it is answered, and the lock let go. The file may grow again at once: the record that moves the
 * size rests on the trims, so no power cut can leave a grown size without them. The intent stays
 * until they are stable.
 *
 * After a start, trims of an intent are sent again; a shard that had done them (its cut tells) does
 * nothing. And what a lost writer left past the size (its data was placed, its size was not) is
 * trimmed before the file grows: between the size and top, where alone it can be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "meta/file_internal.h"
#include "proto/place.h"

#define CALLS_MAX 16u /* to shards at a time, for one file */
#define TOP_STEP_MAX 4096u
#define EVERYWHERE 8ull /* chunks a shard, from which on a file is taken to be in all of them */

/* --- sets of shards --- */

int cfs_shard_set_init(struct cfs_shard_set *s, const struct cfs_meta *m, uint64_t ino,
		       uint64_t seed, uint64_t first, uint64_t end)
{
	uint32_t shards = m->shard->env->shards;

	*s = (struct cfs_shard_set){ .shards = shards };
	s->bits = calloc((shards + 63) / 64, sizeof(uint64_t));
	if (!s->bits)
		return -ENOMEM;
	/* A file of many chunks is everywhere. */
	if (end > first && end - first >= EVERYWHERE * shards) {
		for (uint32_t k = 0; k < shards; k++)
			s->bits[k / 64] |= CFS_BIT(k % 64);
		s->count = shards;
		return 0;
	}
	for (uint64_t c = first; c < end; c++) {
		uint32_t k = cfs_chunk_shard(ino, seed, c, shards);

		if (cfs_shard_set_has(s, k))
			continue;
		s->bits[k / 64] |= CFS_BIT(k % 64);
		s->count++;
	}
	return 0;
}

void cfs_shard_set_fini(struct cfs_shard_set *s)
{
	free(s->bits);
	s->bits = NULL;
}

bool cfs_shard_set_has(const struct cfs_shard_set *s, uint32_t shard)
{
	return s->bits[shard / 64] >> (shard % 64) & 1;
}

struct each {
	const struct cfs_shard_set *set;
	int (*fn)(void *ctx, uint32_t shard);
	void *ctx;
	uint32_t next;
	int rc;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void each_run(void *arg)
{
	struct each *e = arg;

	while (e->rc == 0 && e->next < e->set->shards) {
		uint32_t k = e->next++;
		int rc;

		if (!cfs_shard_set_has(e->set, k))
			continue;
		rc = e->fn(e->ctx, k);
		if (rc < 0 && e->rc == 0)
			e->rc = rc;
	}
}

CFS_AWAITS int cfs_shard_set_each(const struct cfs_shard_set *s,
				  int (*fn)(void *ctx, uint32_t shard), void *ctx)
{
	struct each e = { .set = s, .fn = fn, .ctx = ctx };
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t k = 1; k < CFS_MIN(s->count, CALLS_MAX); k++)
		if (cfs_group_start(&g, each_run, &e) < 0)
			break;
	each_run(&e);
	if (e.rc == -ECANCELED)
		cfs_group_cancel(&g);
	cfs_group_join(&g);
	return e.rc;
}

/* --- deps in messages --- */

void cfs_deps_put(const struct cfs_record_dep *deps, uint32_t count, uint8_t *out)
{
	for (uint32_t k = 0; k < count; k++) {
		cfs_le64 v[3] = { cfs_to_le64(deps[k].shard), cfs_to_le64(deps[k].epoch),
				  cfs_to_le64(deps[k].index) };

		memcpy(out + (size_t)k * CFS_DEP_BYTES, v, sizeof(v));
	}
}

/* --- trims --- */

struct trim_call {
	struct cfs_meta *m;
	struct cfs_file *f;
	uint64_t ino, size, cut;
	struct cfs_record_dep dep; /* the record that asks; epoch 0: it is of an earlier start */
	int64_t blocks;
};

/* Growth rests on this record until the intents are stable. */
static void trim_remember(struct cfs_file *f, const struct cfs_record_dep *dep)
{
	for (uint32_t k = 0; k < f->trim_count; k++) {
		if (f->trims[k].shard == dep->shard) {
			if (dep->index > f->trims[k].index)
				f->trims[k] = *dep;
			return;
		}
	}
	if (f->trim_count == CFS_FILE_TRIM_DEPS_MAX)
		f->is_trim_dep_missing = true;
	else
		f->trims[f->trim_count++] = *dep;
}

static CFS_AWAITS int trim_one(void *ctx, uint32_t shard)
{
	struct trim_call *t = ctx;
	struct cfs_msg req = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_CHUNK_TRIM };
	struct cfs_net_reply reply;
	uint8_t deps[CFS_DEP_BYTES];
	int rc;

	if (shard == t->m->shard->id)
		return 0; /* the record that asks did it */
	cfs_msg_set(&req, ino, t->ino);
	cfs_msg_set(&req, size, t->size);
	cfs_msg_set(&req, cut, t->cut);
	if (t->dep.epoch) {
		cfs_deps_put(&t->dep, 1, deps);
		cfs_msg_set_bytes(&req, deps, deps, CFS_DEP_BYTES);
	}
	rc = cfs_meta_call(t->m, shard, &req, &reply);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, blocks))
		t->blocks += reply.msg.blocks;
	if (cfs_msg_is_set(&reply.msg, index))
		trim_remember(t->f, &(struct cfs_record_dep){ .shard = shard,
							      .epoch = reply.msg.epoch,
							      .index = reply.msg.index });
	cfs_net_reply_fini(&reply);
	return 0;
}

static struct cfs_file_intent_state *intent_find(struct cfs_file *f, uint64_t cut)
{
	for (uint32_t k = 0; k < f->intent_count; k++)
		if (f->intents[k].cut == cut)
			return &f->intents[k];
	return NULL;
}

CFS_AWAITS int cfs_file_trim_run(struct cfs_meta *m, struct cfs_file_use *u, uint64_t cut,
				 int64_t *blocks_out)
{
	struct cfs_file_intent_state *s = intent_find(u->f, cut);
	struct trim_call t = { .m = m, .f = u->f, .ino = u->i->attr.ino, .cut = cut };
	struct cfs_shard_env *env = m->shard->env;
	struct cfs_shard_set set;
	int rc;

	cfs_assert(s != NULL);
	t.size = s->size;
	if (s->epoch)
		t.dep = (struct cfs_record_dep){ .shard = m->shard->id,
						 .epoch = s->epoch,
						 .index = s->index };
	rc = cfs_shard_set_init(&set, m, t.ino, u->i->attr.seed, s->size / CFS_CHUNK_BYTES, s->top);
	if (rc < 0)
		return rc;
	rc = cfs_shard_set_each(&set, trim_one, &t);
	cfs_shard_set_fini(&set);
	*blocks_out = t.blocks;
	if (rc < 0)
		return rc;
	if (u->i->is_gone)
		return -ESTALE;
	s = intent_find(u->f, cut);
	cfs_assert(s != NULL); /* it goes only when it is done */
	s->is_done = true;
	s->tick = env->tick_now(env->ctx);
	cfs_file_settle_kick(m);
	return 0;
}

/* Says how many blocks the trims gave back. */
static CFS_AWAITS int put_blocks(struct cfs_meta *m, struct cfs_file_use *u, int64_t blocks)
{
	struct cfs_attr_set set = { .mask = CFS_A_BLOCKS };
	struct cfs_items it;
	int rc;

	if (blocks == 0)
		return 0;
	rc = cfs_meta_begin(m, CFS_LEASE_SKIP, u->i->attr.ino, 0, CFS_FILE_SET_BYTES, true);
	if (rc < 0)
		return rc;
	if (!u->i->is_gone) {
		set.attr.blocks = cfs_file_blocks(u->i, blocks);
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_set(&it, u->i->attr.ino, &set);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_meta_end(m, CFS_FILE_SET_BYTES, true);
	return 0;
}

CFS_AWAITS int cfs_file_trim_finish(struct cfs_meta *m, struct cfs_file_use *u)
{
	/* In order of their cuts: a shard that a later one has trimmed takes no earlier one. */
	for (uint32_t k = 0; k < u->f->intent_count; k++) {
		uint64_t cut = u->f->intents[k].cut;
		bool is_all = u->f->intents[k].size == 0;
		int64_t blocks = 0;
		int rc;

		if (u->f->intents[k].is_done)
			continue;
		rc = cfs_file_trim_run(m, u, cut, &blocks);
		if (rc < 0)
			return rc;
		/* A truncate to 0 said that nothing is left. */
		rc = is_all ? 0 : put_blocks(m, u, blocks);
		if (rc < 0)
			return rc;
		if (u->i->is_gone)
			return -ESTALE;
		k = UINT32_MAX; /* the list may have changed: from its start */
	}
	return 0;
}

CFS_AWAITS int cfs_file_intent_room(struct cfs_meta *m, struct cfs_file_use *u)
{
	struct cfs_shard_env *env = m->shard->env;
	uint32_t bytes = CFS_FILE_INTENTS_MAX * CFS_FILE_ITEM_BYTES;
	struct cfs_items it;
	int rc = cfs_file_trim_finish(m, u);

	if (rc < 0 || u->f->intent_count < CFS_FILE_INTENTS_MAX)
		return rc;
	/* After a sync all that was placed before it is stable. */
	rc = env->sync_all(env->ctx);
	if (rc == 0)
		rc = cfs_shard_reserve(m->shard, bytes, true);
	if (rc < 0)
		return rc;
	if (!u->i->is_gone) {
		cfs_shard_items(m->shard, &it);
		for (uint32_t k = 0; k < u->f->intent_count; k++)
			cfs_file_add_item(&it, CFS_FILE_INTENT_DEL,
					  &(struct cfs_file_change){ .ino = u->i->attr.ino,
								     .cut = u->f->intents[k].cut });
		if (it.len_bytes)
			cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_shard_unreserve(m->shard, bytes, true);
	return u->i->is_gone ? -ESTALE : 0;
}

void cfs_file_trim_items(struct cfs_meta *m, struct cfs_file_use *u, uint64_t size, uint64_t top,
			 uint64_t cut, struct cfs_items *it, struct cfs_trim_plan *out)
{
	const struct cfs_inode *i = u->i;
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);
	uint64_t first = size / CFS_CHUNK_BYTES;
	uint32_t shards = m->shard->env->shards, home = m->shard->id;
	bool is_home = false, is_remote = false;

	*out = (struct cfs_trim_plan){ 0 };
	if (top > first && top - first >= EVERYWHERE * shards) {
		is_home = true;
		is_remote = shards > 1;
		first = top;
	}
	for (uint64_t c = first; c < top && !(is_home && is_remote); c++) {
		bool here = cfs_chunk_shard(i->attr.ino, i->attr.seed, c, shards) == home;

		is_home |= here;
		is_remote |= !here;
	}
	if (is_home)
		out->blocks = chunks->trim(part, i->attr.ino, size, cut, it);
	out->is_remote = is_remote;
	if (is_remote)
		cfs_file_add_item(
			it, CFS_FILE_INTENT,
			&(struct cfs_file_change){
				.ino = i->attr.ino, .size = size, .top = top, .cut = cut });
}

/* All from the size to top: nobody has told of it, so nobody may see it. */
static CFS_AWAITS int clean(struct cfs_meta *m, struct cfs_file_use *u)
{
	uint32_t bytes = CFS_FILE_SET_BYTES + CFS_FILE_ITEM_BYTES + CFS_CHUNK_ITEM_BYTES;
	struct cfs_attr_set set = { .mask = CFS_A_CUT };
	uint64_t ino = u->i->attr.ino, first;
	struct cfs_trim_plan plan;
	struct cfs_items it;
	int rc = cfs_file_intent_room(m, u);

	if (rc == 0)
		rc = cfs_meta_begin(m, CFS_LEASE_SKIP, ino, 0, bytes, true);
	if (rc < 0)
		return rc;
	first = CFS_MAX(u->i->attr.size, (uint64_t)CFS_CHUNK_BYTES) / CFS_CHUNK_BYTES;
	if (u->i->is_gone || first >= u->f->top) {
		u->f->is_clean = true;
		cfs_meta_end(m, bytes, true);
		return u->i->is_gone ? -ESTALE : 0;
	}
	set.attr.cut = cfs_file_next_cut(m, u->i);
	cfs_shard_items(m->shard, &it);
	cfs_file_trim_items(m, u, u->i->attr.size, u->f->top, set.attr.cut, &it, &plan);
	if (plan.blocks) {
		set.mask |= CFS_A_BLOCKS;
		set.attr.blocks = cfs_file_blocks(u->i, plan.blocks);
	}
	cfs_meta_add_set(&it, ino, &set);
	cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	cfs_meta_end(m, bytes, true);
	rc = cfs_file_trim_finish(m, u);
	if (rc == 0)
		u->f->is_clean = true;
	return rc;
}

/* --- growth --- */

CFS_AWAITS int cfs_file_grow_prepare(struct cfs_meta *m, struct cfs_file_use *u)
{
	struct cfs_shard_env *env = m->shard->env;
	int rc = cfs_file_trim_finish(m, u);

	if (rc == 0 && !u->f->is_clean)
		rc = clean(m, u);
	if (rc == 0 && u->f->is_trim_dep_missing) {
		rc = env->sync_all(env->ctx);
		if (rc == 0) {
			u->f->is_trim_dep_missing = false;
			u->f->trim_count = 0;
		}
	}
	return rc == 0 && u->i->is_gone ? -ESTALE : rc;
}

CFS_AWAITS int cfs_file_top_raise(struct cfs_meta *m, struct cfs_file_use *u, uint64_t chunk)
{
	struct cfs_file_change c = { .ino = u->i->attr.ino };
	struct cfs_items it;
	int rc;

	cfs_assert(chunk > 0);
	if (chunk < u->f->top)
		return 0;
	rc = cfs_meta_begin(m, CFS_LEASE_SKIP, c.ino, 0, CFS_FILE_ITEM_BYTES, false);
	if (rc < 0)
		return rc;
	if (!u->i->is_gone) {
		/* Ahead, so that a file that grows chunk by chunk seldom comes here. */
		c.top = chunk + 1 + CFS_MIN(CFS_MAX(chunk, 3ull), (uint64_t)TOP_STEP_MAX);
		c.top = CFS_MIN(c.top, CFS_FILE_CHUNKS_MAX);
		cfs_shard_items(m->shard, &it);
		cfs_file_add_item(&it, CFS_FILE_TOP, &c);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_meta_end(m, CFS_FILE_ITEM_BYTES, false);
	return u->i->is_gone ? -ESTALE : 0;
}

uint32_t cfs_file_grow_deps(const struct cfs_meta *m, const struct cfs_file *f,
			    struct cfs_record_dep *deps, uint32_t count)
{
	for (uint32_t k = 0; k < f->trim_count && count < CFS_RECORD_DEPS_MAX; k++)
		if (f->trims[k].shard != m->shard->id)
			deps[count++] = f->trims[k];
	return count;
}

/* --- fences --- */

/* The record of it, with the trim of what is past the size in this shard, which has the cut. */
static struct cfs_record_dep fence_commit(struct cfs_meta *m, struct cfs_file_use *u,
					  const struct cfs_attr_set *set)
{
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);
	const struct cfs_inode *i = u->i;
	struct cfs_shard_pos pos;
	struct cfs_items it;

	cfs_shard_items(m->shard, &it);
	cfs_meta_add_set(&it, i->attr.ino, set);
	(void)chunks->trim(part, i->attr.ino, i->attr.size, set->attr.cut, &it);
	pos = cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	return (struct cfs_record_dep){ .shard = m->shard->id,
					.epoch = pos.epoch,
					.index = pos.index };
}

static CFS_AWAITS int fence_locked(struct cfs_meta *m, struct cfs_file_use *u, uint32_t iflags)
{
	uint32_t bytes = CFS_FILE_SET_BYTES + CFS_CHUNK_ITEM_BYTES;
	struct cfs_attr_set set = { .mask = CFS_A_IFLAGS | CFS_A_CUT };
	struct cfs_inode *i = u->i;
	struct trim_call t = { .m = m, .f = u->f, .ino = i->attr.ino };
	struct cfs_shard_set shards;
	uint64_t end;
	int rc = cfs_file_grow_prepare(m, u); /* nothing is past the size, no trim is under way */

	if (rc == 0)
		rc = cfs_meta_begin(m, CFS_LEASE_SKIP, t.ino, 0, bytes, true);
	if (rc < 0)
		return rc;
	if (i->is_gone) {
		cfs_meta_end(m, bytes, true);
		return -ESTALE;
	}
	set.attr.iflags = (i->attr.iflags & ~CFS_IFLAGS_USER) | iflags;
	set.attr.cut = cfs_file_next_cut(m, i);
	t.size = i->attr.size;
	t.cut = set.attr.cut;
	t.dep = fence_commit(m, u, &set);
	cfs_meta_end(m, bytes, true);
	end = cfs_round_up(t.size, CFS_CHUNK_BYTES) / CFS_CHUNK_BYTES;
	rc = cfs_shard_set_init(&shards, m, t.ino, i->attr.seed, 0, CFS_MAX(end, u->f->top));
	if (rc < 0)
		return rc;
	rc = cfs_shard_set_each(&shards, trim_one, &t);
	cfs_shard_set_fini(&shards);
	return rc;
}

CFS_AWAITS int cfs_file_fence(struct cfs_meta *m, uint64_t ino, uint32_t iflags)
{
	struct cfs_file_use u;
	int rc = cfs_file_use(m, ino, &u);

	if (rc < 0)
		return rc;
	rc = cfs_lock_take(&u.f->lock);
	if (rc == 0) {
		rc = u.i->is_gone ? -ESTALE : fence_locked(m, &u, iflags);
		cfs_lock_release(&u.f->lock);
	}
	cfs_file_unuse(m, &u);
	return rc;
}
