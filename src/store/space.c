/*
 * Segments: which zones are free, what lives in the others, and when a dead one may be written
 * again.
 *
 * A dead segment (sealed, no live block, none in flight, no pin) is reset when
 *   - the tick in which its last block was dropped is stable: no log of the node can end before the
 *     record that dropped it, and
 *   - that record lies before journal.known: no recovery will verify the data of an older record
 * that named its blocks. Without this a power cut soon after would find other data there, and end
 * the log at a record that was flushed long ago.
 */
#include "store/store_internal.h"

#define OWNERS_PER_BLOCK_MAX 8u /* past that nothing of the segment gets another owner */
#define SHARES_MAX 32768u       /* owners of a block */

static const uint8_t segment_moves[CFS_SEGMENT_STATE_COUNT] = {
	[CFS_SEGMENT_FREE] = CFS_BIT(CFS_SEGMENT_OPEN) | CFS_BIT(CFS_SEGMENT_SEALED),
	[CFS_SEGMENT_OPEN] = CFS_BIT(CFS_SEGMENT_SEALED),
	[CFS_SEGMENT_SEALED] = CFS_BIT(CFS_SEGMENT_FREE) | CFS_BIT(CFS_SEGMENT_OPEN),
};

void cfs_segment_move(struct cfs_segment *seg, enum cfs_segment_state to)
{
	cfs_assert(segment_moves[seg->state] & CFS_BIT(to));
	seg->state = (uint8_t)to;
}

static uint32_t bitmap_words(const struct cfs_store *s)
{
	return s->info.zone_blocks / 64;
}

int cfs_space_init(struct cfs_store *s)
{
	struct cfs_space *sp = &s->space;
	uint32_t zones = s->info.zones;

	sp->segments = calloc(zones, sizeof(*sp->segments));
	sp->bits = calloc((size_t)zones * bitmap_words(s), sizeof(uint64_t));
	sp->free = calloc(zones, sizeof(*sp->free));
	sp->due = calloc(zones, sizeof(*sp->due));
	cfs_list_init(&sp->dead);
	if (!sp->segments || !sp->bits || !sp->free || !sp->due)
		return -ENOMEM;
	for (uint32_t z = 0; z < zones; z++) {
		struct cfs_segment *seg = &sp->segments[z];

		seg->zone = z;
		seg->bits = sp->bits + (size_t)z * bitmap_words(s);
		cfs_list_init(&seg->dead_link);
	}
	for (uint32_t i = 0; i < CFS_STREAM_COUNT; i++)
		sp->open[i] = CFS_NO_ZONE;
	sp->capacity = cfs_space_capacity_blocks(&s->dev->super);
	sp->journal_quota = cfs_space_journal_zones(&s->dev->super) + CFS_JOURNAL_SPARE_ZONES;
	sp->next_seq = 2;
	return 0;
}

void cfs_space_fini(struct cfs_store *s)
{
	struct cfs_space *sp = &s->space;

	for (uint32_t z = 0; sp->segments && z < s->info.zones; z++) {
		free(sp->segments[z].shares);
		free(sp->segments[z].owners);
	}
	free(sp->segments);
	free(sp->bits);
	free(sp->free);
	free(sp->due);
	cfs_space_moved_reset(s);
	memset(sp, 0, sizeof(*sp));
}

static struct cfs_segment *segment_of(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks)
{
	cfs_assert(cfs_addr_is_valid(&s->dev->super, addr, blocks));
	return &s->space.segments[cfs_addr_segment(addr)];
}

/* ---- free zones ---- */

uint32_t cfs_space_available(const struct cfs_store *s)
{
	const struct cfs_space *sp = &s->space;
	uint32_t held = sp->journal_quota > s->journal.count ? sp->journal_quota - s->journal.count
							     : 0;

	return sp->free_count > held ? sp->free_count - held : 0;
}

uint32_t cfs_space_open_zone(struct cfs_store *s, enum cfs_stream stream)
{
	struct cfs_space *sp = &s->space;
	struct cfs_segment *seg;

	cfs_assert(sp->free_count > 0);
	seg = &sp->segments[sp->free[--sp->free_count]];
	cfs_assert(seg->live == 0 && seg->in_flight == 0 && seg->pins == 0);
	cfs_segment_move(seg, CFS_SEGMENT_OPEN);
	seg->stream = (uint8_t)stream;
	seg->seq = sp->next_seq++;
	seg->fill = 1;
	if (stream != CFS_STREAM_JOURNAL && !seg->is_header_due) {
		seg->is_header_due = true;
		sp->due[sp->due_count++] = seg->zone;
	}
	seg->clean_tries = 0;
	return seg->zone;
}

void cfs_space_release_zone(struct cfs_store *s, uint32_t zone)
{
	struct cfs_space *sp = &s->space;
	struct cfs_segment *seg = &sp->segments[zone];

	cfs_assert(seg->live == 0 && seg->in_flight == 0 && seg->pins == 0);
	cfs_segment_move(seg, CFS_SEGMENT_FREE);
	if (seg->stream != CFS_STREAM_JOURNAL) {
		for (uint32_t b = 1; s->cache.blocks && b < s->info.zone_blocks; b++)
			cfs_cache_drop(&s->cache, (cfs_addr_t)zone << 32 | b);
	}
	free(seg->owners);
	free(seg->shares);
	seg->owners = NULL;
	seg->shares = NULL;
	seg->owner_count = seg->owner_cap = seg->owner_compact_at = 0;
	seg->is_owner_lost = seg->is_touched = false;
	seg->drop_tick = seg->drop_pos = 0;
	sp->free[sp->free_count++] = zone;
	s->is_cleaner_stuck = false;
}

static bool segment_is_dead(const struct cfs_segment *seg)
{
	return seg->state == CFS_SEGMENT_SEALED && seg->live == 0 && seg->in_flight == 0 &&
	       seg->stream != CFS_STREAM_JOURNAL;
}

/* To be called after each change of what segment_is_dead() looks at. */
static void segment_update(struct cfs_store *s, struct cfs_segment *seg)
{
	bool is_listed = !cfs_list_is_empty(&seg->dead_link);

	if (!s->is_ready || segment_is_dead(seg) == is_listed)
		return;
	if (is_listed) {
		cfs_list_remove(&seg->dead_link);
		s->space.dead_count--;
	} else {
		cfs_list_append(&s->space.dead, &seg->dead_link);
		s->space.dead_count++;
	}
}

bool cfs_space_reap(struct cfs_store *s)
{
	bool any = false;

	cfs_list_for_each_safe(pos, tmp, &s->space.dead) {
		struct cfs_segment *seg = cfs_list_entry(pos, struct cfs_segment, dead_link);

		if (seg->pins > 0 || seg->drop_tick > s->tick_stable ||
		    seg->drop_pos > s->journal.known || seg->zone == s->victim)
			continue;
		cfs_list_remove(&seg->dead_link);
		s->space.dead_count--;
		cfs_space_release_zone(s, seg->zone);
		any = true;
	}
	if (any)
		cfs_reserve_pump(s);
	return any;
}

uint32_t cfs_space_zones_needed(const struct cfs_store *s, enum cfs_stream stream, uint32_t extra)
{
	uint32_t per_zone = s->info.zone_blocks - 1, zones = 0;

	for (uint32_t i = CFS_STREAM_HOT; i < CFS_STREAM_COUNT; i++) {
		uint64_t want = s->resv_alloc[i] + (i == (uint32_t)stream ? extra : 0);
		uint32_t zone = s->space.open[i];
		uint64_t room = zone == CFS_NO_ZONE
					? 0
					: s->info.zone_blocks - s->space.segments[zone].fill;

		if (want > room)
			zones += (uint32_t)((want - room + per_zone - 1) / per_zone);
	}
	return zones;
}

/* ---- allocation ---- */

static void seal(struct cfs_store *s, enum cfs_stream stream)
{
	struct cfs_segment *seg = &s->space.segments[s->space.open[stream]];

	s->space.open[stream] = CFS_NO_ZONE;
	cfs_segment_move(seg, CFS_SEGMENT_SEALED);
	segment_update(s, seg);
}

uint32_t cfs_store_alloc(struct cfs_store *s, enum cfs_stream stream, uint32_t blocks,
			 cfs_addr_t *addr_out)
{
	struct cfs_space *sp = &s->space;
	struct cfs_segment *seg;
	uint32_t n;

	cfs_assert(stream > CFS_STREAM_JOURNAL && stream < CFS_STREAM_COUNT);
	cfs_assert(blocks > 0);
	cfs_assert(blocks <= s->resv_alloc[stream]);
	if (sp->open[stream] == CFS_NO_ZONE) {
		sp->open[stream] = cfs_space_open_zone(s, stream);
		if (cfs_space_available(s) < cfs_space_low_zones(&s->dev->super))
			cfs_waitq_wake_all(&s->cleaner_kick);
	}
	seg = &sp->segments[sp->open[stream]];
	n = CFS_MIN(blocks, s->info.zone_blocks - seg->fill);
	*addr_out = (cfs_addr_t)seg->zone << 32 | seg->fill;
	seg->fill += n;
	seg->in_flight += n;
	sp->in_flight += n;
	s->resv_alloc[stream] -= n;
	if (seg->fill == s->info.zone_blocks)
		seal(s, stream);
	return n;
}

static void in_flight_drop(struct cfs_store *s, struct cfs_segment *seg, uint32_t blocks)
{
	/* Replay adds what was not allocated. */
	uint32_t n = CFS_MIN(blocks, seg->in_flight);

	seg->in_flight -= n;
	s->space.in_flight -= n;
}

void cfs_store_alloc_undo(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks)
{
	struct cfs_segment *seg = segment_of(s, addr, blocks);

	cfs_assert(seg->in_flight >= blocks);
	in_flight_drop(s, seg, blocks);
	seg->drop_pos = s->tail.head;
	segment_update(s, seg);
	cfs_reserve_pump(s);
}

void cfs_store_pin(struct cfs_store *s, cfs_addr_t addr)
{
	segment_of(s, addr, 1)->pins++;
}

void cfs_store_unpin(struct cfs_store *s, cfs_addr_t addr)
{
	struct cfs_segment *seg = segment_of(s, addr, 1);

	cfs_assert(seg->pins > 0);
	seg->pins--;
	if (seg->pins == 0 && !cfs_list_is_empty(&seg->dead_link))
		cfs_space_reap(s);
}

/* ---- live blocks ---- */

static bool bit_get(const struct cfs_segment *seg, uint32_t block)
{
	return seg->bits[block / 64] >> (block % 64) & 1;
}

/* Counts owners per block from now on: some block has two. */
static bool shares_begin(const struct cfs_store *s, struct cfs_segment *seg)
{
	seg->shares = calloc(s->info.zone_blocks, sizeof(*seg->shares));
	if (!seg->shares)
		return false;
	for (uint32_t b = 0; b < s->info.zone_blocks; b++)
		seg->shares[b] = bit_get(seg, b);
	return true;
}

/* Returns how many of them had no owner before. */
static uint32_t live_add(struct cfs_store *s, struct cfs_segment *seg, uint32_t first,
			 uint32_t blocks)
{
	uint32_t new = 0;

	for (uint32_t b = first; b < first + blocks; b++) {
		if (bit_get(seg, b)) {
			if (!seg->shares)
				cfs_assert(shares_begin(s, seg));
			/* More than are ever made come of a corrupt log: then it stays for good. */
			if (seg->shares[b] < UINT16_MAX)
				seg->shares[b]++;
			continue;
		}
		seg->bits[b / 64] |= CFS_BIT(b % 64);
		if (seg->shares)
			seg->shares[b] = 1;
		new ++;
	}
	seg->live += new;
	s->space.live += new;
	return new;
}

static void live_drop(struct cfs_store *s, struct cfs_segment *seg, uint32_t first, uint32_t blocks)
{
	for (uint32_t b = first; b < first + blocks; b++) {
		if (!bit_get(seg, b))
			continue; /* a corrupt record dropped it twice; fsck says so */
		if (seg->shares && (seg->shares[b] == UINT16_MAX || --seg->shares[b] > 0))
			continue;
		seg->bits[b / 64] &= ~CFS_BIT(b % 64);
		seg->live--;
		s->space.live--;
	}
}

/* Forgets owners none of whose blocks is live, or, where blocks are shared, that have none. */
static void owners_compact(struct cfs_store *s, struct cfs_segment *seg)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < seg->owner_count; i++) {
		const struct cfs_owner_entry *e = &seg->owners[i];
		bool is_live = false;

		for (uint32_t b = 0; b < e->blocks && !is_live; b++)
			is_live = bit_get(seg, e->block + b);
		if (is_live && seg->shares && s->owns_fn)
			is_live = s->owns_fn(s->callback_ctx, &e->owner,
					     (cfs_addr_t)seg->zone << 32 | e->block, e->blocks);
		if (is_live)
			seg->owners[kept++] = *e;
	}
	seg->owner_count = kept;
	seg->owner_compact_at = CFS_MAX(2 * kept, 64u);
}

static void owner_add(struct cfs_store *s, struct cfs_segment *seg, uint32_t block, uint32_t blocks,
		      const struct cfs_extent_owner *owner)
{
	if (seg->owner_count >= CFS_MAX(seg->owner_compact_at, 64u))
		owners_compact(s, seg);
	if (seg->owner_count == seg->owner_cap) {
		uint32_t cap = seg->owner_cap ? seg->owner_cap * 2 : 16;
		void *p = realloc(seg->owners, cap * sizeof(*seg->owners));

		if (!p) {
			seg->is_owner_lost = true;
			return;
		}
		seg->owners = p;
		seg->owner_cap = cap;
	}
	seg->owners[seg->owner_count++] =
		(struct cfs_owner_entry){ .owner = *owner, .block = block, .blocks = blocks };
}

void cfs_space_live_add(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks)
{
	struct cfs_segment *seg = segment_of(s, addr, blocks);

	/* A second owner's blocks are not among those that are on their way. */
	in_flight_drop(s, seg, live_add(s, seg, cfs_addr_block(addr), blocks));
	seg->is_touched = true;
	segment_update(s, seg);
}

void cfs_store_extent_add(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks,
			  const struct cfs_extent_owner *owner)
{
	cfs_space_live_add(s, addr, blocks);
	owner_add(s, segment_of(s, addr, blocks), cfs_addr_block(addr), blocks, owner);
}

void cfs_store_extent_drop(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks)
{
	struct cfs_segment *seg = segment_of(s, addr, blocks);

	live_drop(s, seg, cfs_addr_block(addr), blocks);
	seg->drop_tick = cfs_store_tick_now(s);
	seg->drop_pos = s->tail.head;
	seg->is_touched = true;
	seg->clean_tries = 0;
	s->is_cleaner_stuck = false;
	segment_update(s, seg);
	if (s->is_ready)
		cfs_reserve_pump(s);
}

/* ---- several owners ---- */

bool cfs_store_is_shareable(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks)
{
	struct cfs_segment *seg = segment_of(s, addr, blocks);
	uint32_t first = cfs_addr_block(addr), max = OWNERS_PER_BLOCK_MAX * s->info.zone_blocks;

	if (seg->owner_count >= max && seg->owner_count > seg->owner_compact_at / 2 * 5 / 4)
		owners_compact(s, seg);
	if (seg->owner_count >= max)
		return false;
	for (uint32_t b = first; b < first + blocks; b++)
		if (!bit_get(seg, b) || (seg->shares && seg->shares[b] >= SHARES_MAX))
			return false;
	return true;
}

void cfs_space_moved_reset(struct cfs_store *s)
{
	free(s->moved);
	s->moved = NULL;
}

void cfs_store_moved(struct cfs_store *s, cfs_addr_t from, cfs_addr_t to, uint32_t blocks)
{
	const struct cfs_segment *seg = segment_of(s, from, blocks);
	const struct cfs_segment *new = segment_of(s, to, blocks);

	if (seg->zone != s->victim || !seg->shares)
		return;
	if (!s->moved)
		s->moved = calloc(s->info.zone_blocks, sizeof(*s->moved));
	for (uint32_t b = 0; s->moved && b < blocks; b++)
		s->moved[cfs_addr_block(from) + b] = (struct cfs_moved_block){ .to = to + b,
									       .seq = new->seq };
}

/* Where a block of the victim is too; CFS_ADDR_NONE: nowhere, or there no more. */
static cfs_addr_t moved_to(struct cfs_store *s, cfs_addr_t from)
{
	const struct cfs_moved_block *m = &s->moved[cfs_addr_block(from)];
	const struct cfs_segment *seg;

	if (m->to == CFS_ADDR_NONE)
		return CFS_ADDR_NONE;
	seg = segment_of(s, m->to, 1);
	/* A block is allocated once between two resets of its segment, which change seq. */
	if (seg->seq != m->seq || !bit_get(seg, cfs_addr_block(m->to)))
		return CFS_ADDR_NONE;
	return m->to;
}

uint32_t cfs_store_moved_find(struct cfs_store *s, cfs_addr_t from, uint32_t blocks,
			      cfs_addr_t *to_out)
{
	uint32_t n = 1;

	*to_out = CFS_ADDR_NONE;
	if (!s->moved || cfs_addr_segment(from) != s->victim)
		return blocks;
	*to_out = moved_to(s, from);
	while (n < blocks &&
	       moved_to(s, from + n) == (*to_out == CFS_ADDR_NONE ? CFS_ADDR_NONE : *to_out + n))
		n++;
	return n;
}

/* ---- after recovery ---- */

void cfs_space_settle(struct cfs_store *s, const uint8_t *bitmap, uint64_t bitmap_seq)
{
	struct cfs_space *sp = &s->space;

	sp->free_count = 0;
	/* Downwards, so that low zones are on top of the stack and taken first. */
	for (uint32_t z = s->info.zones; z-- > 0;) {
		struct cfs_segment *seg = &sp->segments[z];
		bool was_free = bitmap[z / 8] >> (z % 8) & 1;

		if (seg->state == CFS_SEGMENT_OPEN ||
		    (seg->state == CFS_SEGMENT_SEALED && seg->stream == CFS_STREAM_JOURNAL))
			continue; /* the journal's own */
		if (seg->shares) {
			bool is_shared = false;

			for (uint32_t b = 0; b < s->info.zone_blocks && !is_shared; b++)
				is_shared = seg->shares[b] > 1;
			if (!is_shared) {
				free(seg->shares);
				seg->shares = NULL;
			}
		}
		/* Free when the newest journal segment was opened, and not used since. */
		if (was_free && seg->seq < bitmap_seq && !seg->is_touched) {
			cfs_assert(seg->live == 0);
			sp->free[sp->free_count++] = z;
			continue;
		}
		cfs_segment_move(seg, CFS_SEGMENT_SEALED);
		if (seg->stream == CFS_STREAM_JOURNAL)
			seg->stream = CFS_STREAM_HOT; /* of an older journal; dead now */
		seg->fill = s->info.zone_blocks;
		seg->drop_tick = cfs_store_tick_now(s);
		seg->drop_pos = s->tail.head;
	}
	s->is_ready = true;
	for (uint32_t z = 0; z < s->info.zones; z++)
		segment_update(s, &sp->segments[z]);
}

void cfs_space_forget(struct cfs_store *s, uint32_t zone)
{
	struct cfs_segment *seg = &s->space.segments[zone];

	s->space.live -= seg->live;
	seg->live = 0;
	memset(seg->bits, 0, bitmap_words(s) * sizeof(*seg->bits));
	free(seg->shares);
	seg->shares = NULL;
}

void cfs_space_check(const struct cfs_store *s)
{
	uint64_t live = 0, in_flight = 0;

	for (uint32_t z = 0; z < s->info.zones; z++) {
		const struct cfs_segment *seg = &s->space.segments[z];
		uint32_t n = 0;

		for (uint32_t w = 0; w < bitmap_words(s); w++)
			n += (uint32_t)__builtin_popcountll(seg->bits[w]);
		cfs_assert(n == seg->live);
		cfs_assert(seg->state != CFS_SEGMENT_FREE || n == 0);
		live += n;
		in_flight += seg->in_flight;
	}
	cfs_assert(live == s->space.live);
	cfs_assert(in_flight == s->space.in_flight);
	cfs_assert(s->space.free_count <= s->info.zones);
}
