/*
 * What is remembered about files beside their inodes, and the fiber that finishes what waits to be
 * stable.
 *
 * Removal. The record that removes an inode also drops the chunks of its own shard. If the file
 * ever had others, the record has a DROP: once it is stable (a sync of the node makes it so)
 * CHUNK_DROP goes to the shards, and once those are stable, the DROP_DEL is placed. A crash
 * anywhere between repeats what may have been done: dropping what is gone is nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/util.h"
#include "meta/file_internal.h"
#include "proto/place.h"

#define SETTLE_SLEEP_NS (100ull * 1000 * 1000)
#define DROPS_AT_ONCE 32u

int cfs_file_create(struct cfs_meta *m, void **state_out)
{
	struct cfs_files *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	fs->meta = m;
	cfs_list_init(&fs->kept);
	cfs_list_init(&fs->settling);
	cfs_list_init(&fs->drops);
	*state_out = fs;
	return 0;
}

static void drop_free(struct cfs_files *fs, struct cfs_file_drop *d)
{
	cfs_list_remove(&d->link);
	fs->drop_count--;
	fs->meta->shard->env->drops_pending--;
	free(d);
}

void cfs_file_destroy(struct cfs_meta *m, void *state)
{
	struct cfs_files *fs = state;

	(void)m;
	if (!fs)
		return;
	while (!cfs_list_is_empty(&fs->drops))
		drop_free(fs, cfs_list_first(&fs->drops, struct cfs_file_drop, link));
	/* Inodes went before; what is left of their files is not in these lists. */
	cfs_assert(cfs_list_is_empty(&fs->kept));
	free(fs);
}

void cfs_file_free(struct cfs_file *f)
{
	if (!f)
		return;
	cfs_list_remove(&f->kept);
	cfs_list_remove(&f->settling);
	free(f);
}

/* --- files in use --- */

static struct cfs_file *file_get(struct cfs_inode *i)
{
	struct cfs_file *f = i->file;

	if (f)
		return f;
	f = cfs_stock_calloc(sizeof(*f));
	if (!f)
		return NULL;
	f->ino = i->attr.ino;
	/* It never had data beyond chunk 0, or a TOP item had made it. */
	f->is_clean = true;
	cfs_list_init(&f->kept);
	cfs_list_init(&f->settling);
	cfs_lock_init(&f->lock);
	i->file = f;
	return f;
}

/* Keeps it while there is something to remember, else frees it when nobody uses it. */
static void file_tidy(struct cfs_files *fs, struct cfs_inode *i)
{
	struct cfs_file *f = i->file;
	bool is_kept = f->intent_count > 0 || f->top > 1;

	if (is_kept && cfs_list_is_empty(&f->kept))
		cfs_list_append(&fs->kept, &f->kept);
	if (f->intent_count == 0)
		cfs_list_remove(&f->settling);
	else if (cfs_list_is_empty(&f->settling))
		cfs_list_append(&fs->settling, &f->settling);
	if (is_kept)
		return;
	cfs_list_remove(&f->kept);
	if (f->users == 0) {
		cfs_file_free(f);
		i->file = NULL;
	}
}

int cfs_file_use(struct cfs_meta *m, uint64_t ino, struct cfs_file_use *u)
{
	int rc = 0;
	struct cfs_inode *i = cfs_meta_inode(m, ino, &rc);
	struct cfs_file *f;

	if (!i)
		return rc;
	if (!S_ISREG(i->attr.mode))
		return S_ISDIR(i->attr.mode) ? -EISDIR : -EINVAL;
	f = file_get(i);
	if (!f)
		return -ENOMEM;
	f->users++;
	cfs_inode_pin(i);
	*u = (struct cfs_file_use){ .i = i, .f = f };
	return 0;
}

void cfs_file_unuse(struct cfs_meta *m, struct cfs_file_use *u)
{
	cfs_assert(u->f->users > 0);
	u->f->users--;
	if (!u->i->is_gone)
		file_tidy(cfs_files_of(m), u->i);
	cfs_inode_unpin(u->i);
	*u = (struct cfs_file_use){ 0 };
}

/* --- items --- */

static void intent_put(struct cfs_file *f, const struct cfs_file_change *c,
		       const struct cfs_shard_pos *pos)
{
	struct cfs_file_intent_state s = { .size = c->size, .top = c->top, .cut = c->cut };

	if (pos) {
		s.epoch = pos->epoch;
		s.index = pos->index;
	}

	for (uint32_t k = 0; k < f->intent_count; k++) {
		if (f->intents[k].cut == c->cut) {
			f->intents[k] = s;
			return;
		}
	}
	/* More than there can be only where a checkpoint is ahead: a later record takes some out.
	 */
	if (f->intent_count == CFS_FILE_INTENTS_MAX) {
		memmove(&f->intents[0], &f->intents[1],
			(CFS_FILE_INTENTS_MAX - 1) * sizeof(f->intents[0]));
		f->intent_count--;
	}
	f->intents[f->intent_count++] = s;
}

static void intent_del(struct cfs_file *f, uint64_t cut)
{
	for (uint32_t k = 0; k < f->intent_count; k++) {
		if (f->intents[k].cut != cut)
			continue;
		memmove(&f->intents[k], &f->intents[k + 1],
			(f->intent_count - k - 1) * sizeof(f->intents[0]));
		f->intent_count--;
		break;
	}
	if (f->intent_count == 0) {
		f->trim_count = 0;
		f->is_trim_dep_missing = false;
	}
}

static int drop_put(struct cfs_files *fs, const struct cfs_file_change *c, bool is_load)
{
	struct cfs_file_drop *d;

	/* Twice only where a checkpoint is ahead. */
	for (struct cfs_list *l = fs->drops.next; is_load && l != &fs->drops; l = l->next)
		if (cfs_list_entry(l, struct cfs_file_drop, link)->ino == c->ino)
			return 0;
	d = cfs_stock_calloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->ino = c->ino;
	d->seed = c->seed;
	d->top = c->top;
	cfs_list_append(&fs->drops, &d->link);
	fs->drop_count++;
	fs->meta->shard->env->drops_pending++;
	cfs_file_settle_kick(fs->meta);
	return 0;
}

static void drop_del(struct cfs_files *fs, uint64_t ino)
{
	cfs_list_for_each(l, &fs->drops) {
		struct cfs_file_drop *d = cfs_list_entry(l, struct cfs_file_drop, link);

		if (d->ino == ino) {
			drop_free(fs, d);
			return;
		}
	}
}

static void apply_top(struct cfs_meta *m, struct cfs_file *f, const struct cfs_file_change *c,
		      const struct cfs_shard_pos *pos, bool is_load)
{
	f->top = CFS_MAX(f->top, c->top);
	if (is_load) {
		f->is_clean = false; /* data may have been placed that no size tells of */
		return;
	}
	f->top_dep = (struct cfs_record_dep){
		.shard = m->shard->id,
		.epoch = pos->epoch,
		.index = pos->index,
	};
	f->top_tick = m->shard->env->tick_now(m->shard->env->ctx);
}

bool cfs_file_unstable_top(const struct cfs_meta *m, uint64_t ino, uint64_t *index_out)
{
	const struct cfs_inode *i = cfs_inode_find(&m->tables, ino);
	const struct cfs_shard_env *env = m->shard->env;
	const struct cfs_file *f = i ? i->file : NULL;

	/* One of an earlier start is there. */
	if (!f || f->top_dep.epoch != m->shard->epoch || f->top_tick <= env->tick_stable(env->ctx))
		return false;
	*index_out = f->top_dep.index;
	return true;
}

int cfs_file_apply(struct cfs_meta *m, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		   bool is_load)
{
	struct cfs_files *fs = cfs_files_of(m);
	struct cfs_file_change c;
	struct cfs_inode *i;
	struct cfs_file *f;
	int rc = cfs_file_decode(item, &c);

	if (rc < 0)
		return rc;
	if (item->kind == CFS_FILE_DROP)
		return drop_put(fs, &c, is_load);
	if (item->kind == CFS_FILE_DROP_DEL) {
		drop_del(fs, c.ino);
		return 0;
	}
	i = cfs_inode_find(&m->tables, c.ino);
	if (!i || !S_ISREG(i->attr.mode))
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	f = file_get(i);
	if (!f)
		return -ENOMEM;
	if (item->kind == CFS_FILE_INTENT)
		intent_put(f, &c, is_load ? NULL : pos);
	else if (item->kind == CFS_FILE_INTENT_DEL)
		intent_del(f, c.cut);
	else
		apply_top(m, f, &c, pos, is_load);
	file_tidy(fs, i);
	if (!is_load)
		cfs_file_settle_kick(m);
	return 0;
}

void cfs_file_dropped(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it)
{
	struct cfs_file_change c = { .ino = i->attr.ino, .seed = i->attr.seed };
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);

	chunks->drop(part, i->attr.ino, it);
	if (!i->file || i->file->top <= 1)
		return;
	c.top = i->file->top;
	cfs_file_add_item(it, CFS_FILE_DROP, &c);
}

/* --- checkpoint --- */

static CFS_AWAITS int put_change(struct cfs_checkpoint *c, uint8_t kind,
				 const struct cfs_file_change *change)
{
	uint8_t buf[CFS_FILE_ITEM_BYTES];
	struct cfs_items it;

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_file_add_item(&it, kind, change);
	return cfs_store_checkpoint_write(c, buf, it.len_bytes);
}

static CFS_AWAITS int put_file(struct cfs_meta *m, struct cfs_checkpoint *c, uint64_t ino)
{
	const struct cfs_inode *i = cfs_inode_find(&m->tables, ino);
	struct cfs_file_intent_state intents[CFS_FILE_INTENTS_MAX];
	uint32_t intent_count;
	uint64_t top;
	int rc = 0;

	if (!i || !i->file)
		return 0;
	top = i->file->top;
	intent_count = i->file->intent_count;
	memcpy(intents, i->file->intents, sizeof(intents));
	if (top > 1)
		rc = put_change(c, CFS_FILE_TOP,
				&(struct cfs_file_change){ .ino = ino, .top = top });
	for (uint32_t k = 0; rc == 0 && k < intent_count; k++)
		rc = put_change(c, CFS_FILE_INTENT,
				&(struct cfs_file_change){ .ino = ino,
							   .size = intents[k].size,
							   .top = intents[k].top,
							   .cut = intents[k].cut });
	return rc;
}

/* Copies what is there now, since all of it may change while it is written. */
CFS_AWAITS int cfs_file_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c)
{
	struct cfs_files *fs = cfs_files_of(m);
	struct cfs_file_change *drops = malloc((fs->drop_count + 1ul) * sizeof(*drops));
	uint32_t drop_count = 0;
	uint64_t count = 0, *inos;
	int rc = 0;

	cfs_list_for_each(l, &fs->kept)
		count++;
	inos = malloc((count + 1) * sizeof(*inos));
	if (!inos || !drops)
		rc = -ENOMEM;
	count = 0;
	if (rc == 0) {
		cfs_list_for_each(l, &fs->kept)
			inos[count++] = cfs_list_entry(l, struct cfs_file, kept)->ino;
		cfs_list_for_each(l, &fs->drops) {
			const struct cfs_file_drop *d = cfs_list_entry(l, struct cfs_file_drop,
								       link);

			drops[drop_count++] = (struct cfs_file_change){ .ino = d->ino,
									.seed = d->seed,
									.top = d->top };
		}
	}
	for (uint64_t k = 0; rc == 0 && k < count; k++)
		rc = put_file(m, c, inos[k]);
	for (uint32_t k = 0; rc == 0 && k < drop_count; k++)
		rc = put_change(c, CFS_FILE_DROP, &drops[k]);
	free(inos);
	free(drops);
	return rc;
}

/* --- what waits to be stable --- */

/* Intents of @f that are done and stable go, in one record. */
static CFS_AWAITS int settle_file(struct cfs_meta *m, uint64_t ino)
{
	uint32_t bytes = CFS_FILE_INTENTS_MAX * CFS_FILE_ITEM_BYTES;
	uint64_t stable = m->shard->env->tick_stable(m->shard->env->ctx);
	const struct cfs_inode *i;
	struct cfs_items it;
	int rc = cfs_shard_reserve(m->shard, bytes, true);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	cfs_shard_items(m->shard, &it);
	for (uint32_t k = 0; i && i->file && k < i->file->intent_count; k++) {
		const struct cfs_file_intent_state *s = &i->file->intents[k];

		if (s->is_done && s->tick <= stable)
			cfs_file_add_item(&it, CFS_FILE_INTENT_DEL,
					  &(struct cfs_file_change){ .ino = ino, .cut = s->cut });
	}
	if (it.len_bytes)
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	cfs_shard_unreserve(m->shard, bytes, true);
	return 0;
}

static bool is_stable(const struct cfs_file *f, uint64_t stable)
{
	for (uint32_t k = 0; k < f->intent_count; k++)
		if (f->intents[k].is_done && f->intents[k].tick <= stable)
			return true;
	return false;
}

static CFS_AWAITS int settle_intents(struct cfs_meta *m)
{
	struct cfs_files *fs = cfs_files_of(m);
	uint64_t stable = m->shard->env->tick_stable(m->shard->env->ctx);
	int rc = 0;

	while (rc == 0) {
		uint64_t ino = 0;

		cfs_list_for_each(l, &fs->settling) {
			const struct cfs_file *f = cfs_list_entry(l, struct cfs_file, settling);
			const struct cfs_inode *i = cfs_inode_find(&m->tables, f->ino);

			if (i && i->file == f && is_stable(f, stable)) {
				ino = f->ino;
				break;
			}
		}
		if (ino == 0)
			break;
		rc = settle_file(m, ino);
	}
	return rc;
}

/* Trims that a crash interrupted: also finished when nobody asks for the file. */
static CFS_AWAITS int finish_intents(struct cfs_meta *m)
{
	struct cfs_files *fs = cfs_files_of(m);
	uint64_t last = 0;

	for (;;) {
		struct cfs_file_use u;
		uint64_t ino = UINT64_MAX;
		int rc;

		/* In order of number: the list may change while one is worked on. */
		cfs_list_for_each(l, &fs->settling) {
			const struct cfs_file *f = cfs_list_entry(l, struct cfs_file, settling);
			bool is_open = false;

			for (uint32_t k = 0; k < f->intent_count; k++)
				is_open |= !f->intents[k].is_done;
			if (is_open && f->ino > last && f->ino < ino)
				ino = f->ino;
		}
		if (ino == UINT64_MAX)
			return 0;
		last = ino;
		if (cfs_file_use(m, ino, &u) < 0)
			continue;
		rc = cfs_lock_take(&u.f->lock);
		if (rc == 0) {
			rc = cfs_file_grow_prepare(m, &u);
			cfs_lock_release(&u.f->lock);
		}
		cfs_file_unuse(m, &u);
		if (rc == -ECANCELED)
			return rc;
	}
}

struct drop_call {
	struct cfs_meta *m;
	uint64_t ino;
};

static CFS_AWAITS int drop_one(void *ctx, uint32_t shard)
{
	struct drop_call *d = ctx;
	struct cfs_msg req = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_CHUNK_DROP };
	struct cfs_net_reply reply;
	int rc;

	cfs_msg_set(&req, ino, d->ino);
	rc = cfs_meta_call(d->m, shard, &req, &reply);
	if (rc == 0)
		cfs_net_reply_fini(&reply);
	return rc;
}

static CFS_AWAITS int drop_chunks(struct cfs_meta *m, const struct cfs_file_change *c)
{
	struct drop_call d = { .m = m, .ino = c->ino };
	struct cfs_shard_set set;
	int rc = cfs_shard_set_init(&set, m, c->ino, c->seed, 0, c->top);

	if (rc < 0)
		return rc;
	rc = cfs_shard_set_each(&set, drop_one, &d);
	cfs_shard_set_fini(&set);
	return rc;
}

/* The oldest drops: their records are made stable, their chunks dropped, that made stable,
 * forgotten. */
static CFS_AWAITS int settle_drops(struct cfs_meta *m)
{
	struct cfs_files *fs = cfs_files_of(m);
	struct cfs_shard_env *env = m->shard->env;
	struct cfs_file_change drops[DROPS_AT_ONCE];
	uint32_t count = 0, bytes = DROPS_AT_ONCE * CFS_FILE_ITEM_BYTES;
	struct cfs_items it;
	int rc;

	cfs_list_for_each(l, &fs->drops) {
		const struct cfs_file_drop *d = cfs_list_entry(l, struct cfs_file_drop, link);

		if (count == DROPS_AT_ONCE)
			break;
		drops[count++] =
			(struct cfs_file_change){ .ino = d->ino, .seed = d->seed, .top = d->top };
	}
	if (count == 0)
		return 0;
	rc = env->sync_all(env->ctx);
	for (uint32_t k = 0; rc == 0 && k < count; k++)
		rc = drop_chunks(m, &drops[k]);
	if (rc == 0)
		rc = env->sync_all(env->ctx);
	if (rc == 0)
		rc = cfs_shard_reserve(m->shard, bytes, true);
	if (rc < 0)
		return rc;
	cfs_shard_items(m->shard, &it);
	for (uint32_t k = 0; k < count; k++)
		cfs_file_add_item(&it, CFS_FILE_DROP_DEL,
				  &(struct cfs_file_change){ .ino = drops[k].ino });
	cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	cfs_shard_unreserve(m->shard, bytes, true);
	return 0;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void settle_run(void *arg)
{
	struct cfs_meta *m = arg;
	struct cfs_files *fs = cfs_files_of(m);

	while (!cfs_fiber_is_canceled()) {
		int rc = finish_intents(m);

		if (rc == 0)
			rc = settle_drops(m);
		if (rc == 0)
			rc = settle_intents(m);
		if (rc == -ECANCELED)
			break;
		if (cfs_list_is_empty(&fs->settling) && cfs_list_is_empty(&fs->drops))
			break;
		/* More drops came meanwhile: on with them. Else what is left waits for a tick. */
		if (rc == 0 && !cfs_list_is_empty(&fs->drops))
			continue;
		if (cfs_sleep_ns(SETTLE_SLEEP_NS) < 0)
			break;
	}
	fs->is_settling = false;
}

void cfs_file_settle_kick(struct cfs_meta *m)
{
	struct cfs_files *fs = cfs_files_of(m);

	if (fs->is_settling || !fs->is_resumed || m->shard->fibers.canceled)
		return;
	if (cfs_list_is_empty(&fs->settling) && cfs_list_is_empty(&fs->drops))
		return;
	if (cfs_group_start(&m->shard->fibers, settle_run, m) == 0)
		fs->is_settling = true;
}

CFS_AWAITS int cfs_file_resume(struct cfs_meta *m)
{
	cfs_files_of(m)->is_resumed = true;
	cfs_file_settle_kick(m);
	return 0;
}
