/* Life of a store: open, start, close; ticks; numbers. */
#include "store/store_internal.h"

static int ios_init(struct cfs_store *s)
{
	s->ios = calloc(CFS_STORE_IOS, sizeof(*s->ios));
	s->io_blocks = aligned_alloc(CFS_STORE_BLOCK, (size_t)CFS_STORE_IOS * CFS_STORE_BLOCK);
	cfs_waitq_init(&s->io_wait);
	if (!s->ios || !s->io_blocks)
		return -ENOMEM;
	for (uint32_t i = 0; i < CFS_STORE_IOS; i++) {
		s->ios[i].store = s;
		s->ios[i].block = s->io_blocks + (size_t)i * CFS_STORE_BLOCK;
	}
	return 0;
}

static int shards_init(struct cfs_store *s)
{
	s->shards = calloc(s->info.shards, sizeof(*s->shards));
	if (!s->shards)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->info.shards; i++)
		s->shards[i].first_pos = UINT64_MAX;
	return 0;
}

/* All but the tail's map. */
static void store_free(struct cfs_store *s)
{
	for (uint32_t i = 0; s->shards && i < s->info.shards; i++) {
		cfs_ckpt_fini(&s->shards[i].counted);
		cfs_ckpt_fini(&s->shards[i].pending);
	}
	cfs_recovery_destroy(s->recovery);
	cfs_journal_fini(s);
	cfs_space_fini(s);
	cfs_cache_fini(&s->cache);
	cfs_tail_forget(&s->tail);
	free(s->shards);
	free(s->ios);
	free(s->io_blocks);
	free(s);
}

CFS_AWAITS int cfs_store_open(struct cfs_device *dev, uint32_t slice,
			      const struct cfs_store_opts *opts, struct cfs_store **out)
{
	struct cfs_store *s;
	int rc;

	if (slice >= dev->super.stores)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->dev = dev;
	s->slice = slice;
	s->opts = *opts;
	s->opts.is_read_only |= dev->is_read_only;
	s->info = dev->info;
	s->info.store = slice;
	s->victim = CFS_NO_ZONE;
	s->tick_now = 1;
	cfs_list_init(&s->waiting);
	cfs_list_init(&s->waiting_freeing);
	cfs_group_init(&s->fibers);
	cfs_waitq_init(&s->writer_kick);
	cfs_waitq_init(&s->checkpointer_kick);
	cfs_waitq_init(&s->cleaner_kick);
	cfs_lock_init(&s->ckpt_lock);
	rc = cfs_space_init(s);
	if (rc == 0)
		rc = shards_init(s);
	if (rc == 0)
		rc = ios_init(s);
	if (rc == 0)
		rc = cfs_journal_init(s);
	if (rc == 0)
		rc = cfs_cache_init(&s->cache, opts->cache_bytes);
	if (rc == 0)
		rc = cfs_tail_open(&s->tail, dev, slice, opts->tail_dir, s->opts.is_read_only);
	if (rc == -ENOENT)
		rc = 0; /* none: recovery goes by the device */
	if (rc < 0) {
		cfs_tail_close(&s->tail, dev, slice, true);
		store_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void cfs_store_callbacks(struct cfs_store *s, cfs_store_checkpoint_fn checkpoint,
			 cfs_store_relocate_fn relocate, void *ctx)
{
	s->checkpoint_fn = checkpoint;
	s->relocate_fn = relocate;
	s->callback_ctx = ctx;
}

void cfs_store_owns_callback(struct cfs_store *s, cfs_store_owns_fn owns)
{
	s->owns_fn = owns;
}

int cfs_store_start(struct cfs_store *s)
{
	int rc;

	cfs_assert(s->is_ready && !s->is_started);
	cfs_assert(!s->opts.is_read_only);
	rc = cfs_group_start(&s->fibers, cfs_journal_writer, s);
	if (rc == 0 && s->checkpoint_fn)
		rc = cfs_group_start(&s->fibers, cfs_checkpointer, s);
	if (rc == 0 && s->relocate_fn)
		rc = cfs_group_start(&s->fibers, cfs_cleaner, s);
	s->is_started = true;
	return rc;
}

/* A batch that says that everything before it is flushed: the next open verifies nothing. */
static CFS_AWAITS int write_clean_end(struct cfs_store *s)
{
	int rc = cfs_store_sync(s);

	if (rc < 0 || s->journal.known >= s->tail.head)
		return rc;
	cfs_lock_take_always(&s->journal.round_lock);
	cfs_journal_place_batch(s);
	rc = cfs_journal_round(s, true);
	cfs_lock_release(&s->journal.round_lock);
	return rc;
}

CFS_AWAITS int cfs_store_close(struct cfs_store *s)
{
	bool is_writable = s->is_ready && !s->opts.is_read_only;
	int rc = 0;

	s->is_stopping = true;
	cfs_group_cancel(&s->fibers);
	cfs_waitq_wake_all(&s->writer_kick);
	cfs_waitq_wake_all(&s->checkpointer_kick);
	cfs_waitq_wake_all(&s->cleaner_kick);
	cfs_group_join(&s->fibers);
	if (is_writable)
		rc = s->failed ? s->failed : write_clean_end(s);
	/* What the tail holds is needed until all of it is on the device. */
	cfs_tail_close(&s->tail, s->dev, s->slice, !is_writable || rc < 0);
	store_free(s);
	return rc;
}

void cfs_store_abandon(struct cfs_store *s)
{
	if (s)
		store_free(s);
}

/* ---- ticks ---- */

uint64_t cfs_store_tick_now(const struct cfs_store *s)
{
	return s->tick_now;
}

uint64_t cfs_store_tick_stable_now(const struct cfs_store *s)
{
	return s->tick_stable;
}

void cfs_store_tick_begin(struct cfs_store *s, uint64_t tick)
{
	if (tick <= s->tick_now)
		return;
	s->tick_now = tick;
	s->ticks[tick % CFS_STORE_TICKS].tick = tick;
	/* On a batch's border, where recovery can begin to read. */
	s->ticks[tick % CFS_STORE_TICKS].pos = s->journal.needs_batch ? s->tail.head
								      : s->journal.batch_start;
}

void cfs_store_tick_stable(struct cfs_store *s, uint64_t tick)
{
	/* The present tick is not over: more may carry it. */
	if (tick <= s->tick_stable || tick >= s->tick_now)
		return;
	s->tick_stable = tick;
	/* What was placed before the next one began is stable. */
	if (s->ticks[(tick + 1) % CFS_STORE_TICKS].tick == tick + 1)
		s->journal.stable = CFS_MAX(s->journal.stable,
					    s->ticks[(tick + 1) % CFS_STORE_TICKS].pos);
	if (!s->is_ready || s->opts.is_read_only)
		return;
	cfs_checkpoint_settle(s);
	cfs_space_reap(s);
	cfs_journal_trim(s);
	if (s->space.dead_count > 0 || cfs_checkpoint_wants_known(s))
		cfs_waitq_wake_all(&s->writer_kick); /* perhaps only a BATCH is missing */
	cfs_waitq_wake_all(&s->cleaner_kick);
	cfs_waitq_wake_all(&s->checkpointer_kick);
}

bool cfs_store_tick_wanted(const struct cfs_store *s)
{
	if (s->failed < 0)
		return false;
	cfs_list_for_each(pos, &s->space.dead) {
		if (cfs_list_entry(pos, const struct cfs_segment, dead_link)->drop_tick >
		    s->tick_stable)
			return cfs_reserve_wants_zones(s) ||
			       cfs_space_available(s) < cfs_space_low_zones(&s->dev->super);
	}
	for (uint32_t i = 0; i < s->info.shards; i++) {
		const struct cfs_ckpt *p = &s->shards[i].pending;

		if (p->is_there && p->root.record_pos >= s->journal.stable)
			return cfs_journal_used_bytes(s) > s->journal.budget_bytes / 2;
	}
	return false;
}

/* ---- numbers ---- */

void cfs_store_stats(const struct cfs_store *s, struct cfs_store_stats *out)
{
	*out = s->stats;
	out->capacity_bytes = s->info.capacity_bytes;
	out->live_bytes = s->space.live * CFS_STORE_BLOCK;
	out->free_zones = s->space.free_count;
	out->zones = s->info.zones;
	if (!s->tail.f)
		return;
	out->tail_used_bytes = s->tail.head - s->tail.written +
			       (s->tail.block_end - s->tail.block_first) * CFS_STORE_BLOCK;
	out->tail_bytes = s->tail.mem.bytes;
}

const struct cfs_store_info *cfs_store_info(const struct cfs_store *s)
{
	return &s->info;
}

void cfs_store_check(const struct cfs_store *s)
{
	cfs_space_check(s);
	cfs_assert(s->tail.written <= s->tail.head);
	cfs_assert(s->journal.flushed <= s->tail.written);
	cfs_assert(s->journal.known <= s->journal.flushed);
	cfs_assert(s->journal.known_stable <= s->journal.stable);
	for (uint32_t i = 0; i < s->info.shards; i++) {
		const struct cfs_store_shard *sh = &s->shards[i];
		uint64_t pos = cfs_shard_replay_pos(sh, &sh->counted);

		cfs_assert(pos == UINT64_MAX || pos < s->tail.head);
		cfs_assert(sh->counted.root.replay_pos <= s->tail.head);
	}
}
