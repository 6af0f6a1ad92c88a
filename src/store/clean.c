/*
 * The cleaner: greedy. It empties the sealed segment with the fewest live blocks; the shard layer
 * moves what is still its own by new records, and the dead segment is freed once these are stable.
 *
 * It starts when free zones are few and stops at twice that, counting those that are dead already.
 * In the background it takes only what gains a quarter of a zone; when somebody waits for a zone,
 * anything that gains something.
 */
#include "store/store_internal.h"

#define TRIES_MAX 3u
#define RETRY_NS (100ull * 1000 * 1000)
#define OWNERS_AT_ONCE 8u

static struct cfs_segment *pick(struct cfs_store *s, bool is_urgent)
{
	uint32_t per_zone = s->info.zone_blocks - 1;
	uint32_t limit = is_urgent ? per_zone - 1 : per_zone - per_zone / 4;
	struct cfs_segment *best = NULL;
	uint64_t room = (uint64_t)cfs_space_available(s) * per_zone;

	/* What is moved must have somewhere to go. */
	if (s->space.open[CFS_STREAM_RELOCATED] != CFS_NO_ZONE)
		room += s->info.zone_blocks -
			s->space.segments[s->space.open[CFS_STREAM_RELOCATED]].fill;
	for (uint32_t z = 0; z < s->info.zones; z++) {
		struct cfs_segment *seg = &s->space.segments[z];

		if (seg->state != CFS_SEGMENT_SEALED || seg->stream == CFS_STREAM_JOURNAL ||
		    seg->live == 0 || seg->in_flight > 0 || seg->is_owner_lost ||
		    seg->clean_tries >= TRIES_MAX || seg->live > limit || seg->live > room)
			continue;
		if (!best || seg->live < best->live)
			best = seg;
	}
	return best;
}

/* Something that is under way will make a segment cleanable, or dead. */
static bool may_come(const struct cfs_store *s)
{
	if (s->space.dead_count > 0)
		return true;
	for (uint32_t z = 0; z < s->info.zones; z++) {
		const struct cfs_segment *seg = &s->space.segments[z];

		if (seg->state == CFS_SEGMENT_SEALED && seg->in_flight > 0)
			return true;
	}
	for (uint32_t i = 0; i < s->info.shards; i++) {
		if (s->shards[i].pending.is_there)
			return true;
	}
	return false;
}

static bool ckpt_is_in(const struct cfs_ckpt *c, uint32_t zone)
{
	for (uint32_t i = 0; c->is_there && i < c->extent_count; i++) {
		if (cfs_addr_segment(c->extents[i].addr) == zone)
			return true;
	}
	return false;
}

/* Checkpoints in @zone move by being written anew. */
static CFS_AWAITS int move_checkpoints(struct cfs_store *s, uint32_t zone)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->info.shards && rc == 0 && !s->is_stopping; i++) {
		if (!ckpt_is_in(&s->shards[i].counted, zone) || s->shards[i].pending.is_there)
			continue;
		rc = s->checkpoint_fn(s->callback_ctx, i);
	}
	return rc;
}

struct mover {
	struct cfs_store *s;
	struct cfs_segment *seg;
	uint32_t next, end; /* of the owners */
	int rc;
};

static bool any_live(const struct cfs_segment *seg, const struct cfs_owner_entry *e)
{
	for (uint32_t b = e->block; b < e->block + e->blocks; b++) {
		if (seg->bits[b / 64] >> (b % 64) & 1)
			return true;
	}
	return false;
}

static CFS_AWAITS void move_owners(void *arg)
{
	struct mover *m = arg;
	struct cfs_store *s = m->s;

	while (m->next < m->end && m->rc == 0 && !s->is_stopping) {
		/* A copy: the list may grow while we wait. */
		struct cfs_owner_entry e = m->seg->owners[m->next++];
		int rc;

		if (!any_live(m->seg, &e))
			continue;
		rc = s->relocate_fn(s->callback_ctx, &e.owner,
				    (cfs_addr_t)m->seg->zone << 32 | e.block, e.blocks);
		if (rc < 0 && m->rc == 0)
			m->rc = rc;
	}
}

static CFS_AWAITS int clean(struct cfs_store *s, struct cfs_segment *seg)
{
	struct mover m = { .s = s, .seg = seg, .end = seg->owner_count };
	uint32_t before = seg->live;
	struct cfs_group movers;
	/* One after the other where owners share blocks, so that each finds what was moved. */
	uint32_t count = seg->shares ? 1 : OWNERS_AT_ONCE;
	int rc;

	s->victim = seg->zone;
	cfs_space_moved_reset(s);
	cfs_group_init(&movers);
	for (uint32_t i = 0; i < count; i++) {
		if (cfs_group_start(&movers, move_owners, &m) < 0 && i == 0)
			m.rc = -ENOMEM;
	}
	cfs_group_join(&movers);
	rc = m.rc;
	if (rc == 0 && s->checkpoint_fn && seg->stream == CFS_STREAM_CHECKPOINT)
		rc = move_checkpoints(s, seg->zone);
	s->victim = CFS_NO_ZONE;
	cfs_space_moved_reset(s);
	s->stats.relocated_bytes += (uint64_t)(before - CFS_MIN(before, seg->live)) *
				    CFS_STORE_BLOCK;
	if (seg->live == 0)
		s->stats.segments_cleaned++;
	else
		seg->clean_tries++; /* its checkpoint is to count first, or a block is unreadable */
	cfs_space_reap(s);
	return rc;
}

static CFS_AWAITS void wait_kick(struct cfs_store *s, bool is_bounded)
{
	uint64_t old = cfs_deadline();

	if (is_bounded)
		old = cfs_deadline_narrow(cfs_now_ns() + RETRY_NS);
	cfs_waitq_wait(&s->cleaner_kick);
	cfs_deadline_restore(old);
}

CFS_AWAITS void cfs_cleaner(void *arg)
{
	struct cfs_store *s = arg;
	uint32_t low = cfs_space_low_zones(&s->dev->super);
	bool is_cleaning = false;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	while (!s->is_stopping && s->failed == 0) {
		uint32_t coming = cfs_space_available(s) + s->space.dead_count;
		bool is_urgent = cfs_reserve_wants_zones(s);
		/* Once round without room for him who waits: what is moved takes as much as it
		 * frees. */
		bool is_futile = is_urgent && s->futile > s->info.zones && s->space.dead_count == 0;
		struct cfs_segment *seg = NULL;
		int rc;

		is_cleaning = is_urgent || coming < (is_cleaning ? 2 * low : low);
		/* What is dead already comes with the next tick. */
		if (is_cleaning && !is_futile &&
		    !(is_urgent && s->space.dead_count > CFS_FLOOR_ZONES))
			seg = pick(s, is_urgent);
		if (!seg) {
			if (is_urgent && (is_futile || !may_come(s))) {
				s->futile = 0;
				s->is_cleaner_stuck = true;
				cfs_reserve_pump(s);
			}
			wait_kick(s, cfs_reserve_wants_zones(s));
			continue;
		}
		s->futile = is_urgent ? s->futile + 1 : 0;
		rc = clean(s, seg);
		if (rc < 0 && !s->is_stopping)
			wait_kick(s, true);
	}
}
