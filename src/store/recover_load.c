/*
 * Recovery, second half: load. Hands out checkpoints and records, then makes the store ready.
 *
 * Nothing is placed before the cuts are flushed: a second power cut in the middle of recovery finds
 * what the first one left. The stream goes on where it ended, in the same segment: with a tail the
 * ring still holds what is not written; without one the last block is closed by a PAD.
 */
#include "store/recover.h"

#include <inttypes.h>

/* ---- checkpoints ---- */

/* Marks @root's checkpoint as what @shard has, with its extents. Reads all of it when it may have
 * been lost with the last power cut. */
static CFS_AWAITS int ckpt_take(struct cfs_store *s, struct cfs_recovery *r,
				const struct cfs_root *root, struct cfs_ckpt *out)
{
	bool is_doubtful = !r->had_tail && root->record_pos >= r->known;
	int rc;

	*out = (struct cfs_ckpt){ .is_there = true, .root = *root };
	rc = cfs_ckpt_load_index(s, out);
	if (rc == 0 && is_doubtful)
		rc = cfs_ckpt_load(s, out, root->shard, NULL);
	if (rc < 0) {
		cfs_ckpt_fini(out);
		if (is_doubtful)
			return rc; /* the power went before it was flushed */
		cfs_recover_say(r, "shard %u: checkpoint of record %" PRIu64 " cannot be read: %s",
				root->shard, root->begin_index, cfs_err_text(rc));
	}
	return rc;
}

/* Chooses the checkpoint. The base keeps its blocks until another counts. */
static CFS_AWAITS int ckpt_choose(struct cfs_store *s, struct cfs_recovery *r, uint32_t shard)
{
	struct cfs_found_shard *fs = &r->shards[shard];
	struct cfs_store_shard *sh = &s->shards[shard];
	const struct cfs_root *root = cfs_recover_root(fs);
	int rc = 0;

	if (root && root != &fs->base)
		rc = ckpt_take(s, r, root, &sh->pending);
	if (rc == -ENOMEM)
		return rc;
	if (fs->candidate_count > 0 && !sh->pending.is_there)
		fs->has_lost = true; /* it is of no use: a cut is to say so */
	if (!fs->base.index_blocks)
		return 0;
	rc = ckpt_take(s, r, &fs->base, &sh->counted);
	if (rc < 0 && (rc == -ENOMEM || !sh->pending.is_there))
		return rc;
	if (rc < 0)
		sh->counted = (struct cfs_ckpt){ .is_there = true, .root = fs->base };
	sh->counted.is_listed = sh->counted.is_rooted = !fs->is_base_new &&
							r->roots_pos <= cfs_recover_written(s, r);
	return 0;
}

static void ckpt_own(struct cfs_store *s, const struct cfs_ckpt *c)
{
	for (uint32_t i = 0; i < c->extent_count; i++)
		cfs_space_live_add(s, c->extents[i].addr, c->extents[i].blocks);
}

static CFS_AWAITS int ckpt_load_shard(struct cfs_store *s, struct cfs_recovery *r, uint32_t shard)
{
	struct cfs_store_shard *sh = &s->shards[shard];
	struct cfs_ckpt *c;
	int rc = ckpt_choose(s, r, shard);

	if (rc < 0)
		return rc;
	ckpt_own(s, &sh->counted);
	ckpt_own(s, &sh->pending);
	c = sh->pending.is_there ? &sh->pending : &sh->counted;
	if (!c->is_there)
		return 0;
	rc = cfs_ckpt_load(s, c, shard, r->ops);
	if (rc < 0)
		cfs_recover_say(r, "shard %u: checkpoint of record %" PRIu64 " is damaged: %s",
				shard, c->root.begin_index, cfs_err_text(rc));
	return rc;
}

/* ---- records ---- */

static int record_load(struct cfs_store *s, struct cfs_recovery *r,
		       const struct cfs_stream_record *rec)
{
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_store_shard *sh;
	struct cfs_record out;
	uint64_t begin;
	int rc;

	if ((rec->h.flags & CFS_RECORD_FLAG_OWN) || rec->h.shard >= s->info.shards ||
	    cfs_recover_is_void(r, rec->h.shard, rec->pos, rec->h.index))
		return 0;
	sh = &s->shards[rec->h.shard];
	if (sh->first_pos == UINT64_MAX && rec->h.index > cfs_shard_begin_index(sh))
		sh->first_pos = rec->pos;
	if (rec->h.index > sh->last_index) {
		sh->last_index = rec->h.index;
		sh->last_epoch = rec->h.epoch;
	}
	begin = sh->pending.is_there ? sh->pending.root.begin_index : cfs_shard_begin_index(sh);
	if (rec->h.index <= begin)
		return 0;
	rc = cfs_recover_record(rec, deps, &out);
	if (rc == 0)
		rc = r->ops->record(r->ops->ctx, &out);
	if (rc < 0)
		cfs_recover_say(r, "shard %u: record %" PRIu64 " cannot be applied: %s",
				rec->h.shard, rec->h.index, cfs_err_text(rc));
	return rc;
}

static CFS_AWAITS int stream_load(struct cfs_store *s, struct cfs_recovery *r)
{
	struct cfs_stream_reader st;
	struct cfs_stream_record rec;
	int first_rc = 0, rc = cfs_stream_open(&st, &r->map, r->start_pos);

	if (rc < 0)
		return rc;
	while (st.pos < r->end_pos && (rc = cfs_stream_next(&st, &rec)) == 1) {
		rc = record_load(s, r, &rec);
		if (rc < 0 && first_rc == 0)
			first_rc = rc;
		if (rc < 0 && !s->opts.is_read_only)
			break;
	}
	cfs_stream_close(&st);
	return rc < 0 ? rc : first_rc;
}

/* ---- getting ready to write ---- */

/*
 * Segments that were let go and given to data before the end, which came before their new headers
 * were written: records name data in them. They, and those before them, are the journal's no more.
 */
static void chain_let_go(struct cfs_store *s, struct cfs_recovery *r)
{
	uint32_t first = 0;

	for (uint32_t i = 0; i + 1 < r->chain_count; i++)
		if (s->space.segments[r->chain[i].zone].live > 0)
			first = i + 1;
	for (uint32_t i = 0; i < first; i++) {
		struct cfs_segment *seg = &s->space.segments[r->chain[i].zone];

		seg->stream = CFS_STREAM_HOT;
		seg->seq = s->space.next_seq++;
		seg->is_header_due = true;
		s->space.due[s->space.due_count++] = seg->zone;
	}
	r->chain_count -= first;
	memmove(r->chain, r->chain + first, r->chain_count * sizeof(*r->chain));
}

/* The part of the chain that the stream is continued in; later segments never counted, and must not
 * be found again. */
static CFS_AWAITS int chain_take(struct cfs_store *s, struct cfs_recovery *r, uint64_t written)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *zero = aligned_alloc(CFS_STORE_BLOCK, CFS_STORE_BLOCK);
	int rc = zero ? 0 : -ENOMEM;

	if (zero)
		memset(zero, 0, CFS_STORE_BLOCK);
	while (rc == 0 && r->chain_count > 1 && r->chain[r->chain_count - 1].start_pos > written) {
		uint32_t zone = r->chain[--r->chain_count].zone;

		rc = cfs_device_write(s->dev,
				      cfs_device_off(s->dev, s->slice, (cfs_addr_t)zone << 32),
				      zero, CFS_STORE_BLOCK);
	}
	chain_let_go(s, r);
	for (uint32_t i = 0; rc == 0 && i < r->chain_count; i++) {
		struct cfs_segment *seg = &s->space.segments[r->chain[i].zone];

		if (seg->live > 0) {
			cfs_recover_say(
				r, "segment %u: records name data in it, but it is the journal's",
				seg->zone);
			cfs_space_forget(s, seg->zone);
		}
		rc = cfs_journal_segment_push(s, &r->chain[i]);
		cfs_segment_move(seg, CFS_SEGMENT_OPEN);
		seg->stream = CFS_STREAM_JOURNAL;
		if (i + 1 < r->chain_count)
			cfs_segment_move(seg, CFS_SEGMENT_SEALED);
		else
			s->journal.must_open = r->found[seg->zone].has_no_roots;
	}
	return rc;
}

static void segments_take(struct cfs_store *s, const struct cfs_recovery *r)
{
	for (uint32_t z = 0; z < s->info.zones; z++) {
		const struct cfs_found_segment *f = &r->found[z];
		struct cfs_segment *seg = &s->space.segments[z];

		if (!f->is_good)
			continue;
		seg->seq = f->h.seq;
		seg->stream = (uint8_t)f->h.stream;
		s->space.next_seq = CFS_MAX(s->space.next_seq, f->h.seq + 1);
	}
}

/*
 * Makes what lies behind the end unreadable, for good: the next batch of the session that ended may
 * have come through, and would be its continuation as soon as the last block is closed. (A later
 * one would follow no batch of that session.)
 */
static CFS_AWAITS int end_settle(struct cfs_store *s, uint64_t end_off, uint8_t *block,
				 bool has_next)
{
	int rc = 0;

	memset(block, 0, CFS_STORE_BLOCK);
	if (has_next)
		rc = cfs_device_write(s->dev, end_off, block, CFS_STORE_BLOCK);
	if (rc < 0)
		return rc;
	cfs_device_flush_coming(s->dev);
	return cfs_device_flush(s->dev);
}

/* A tail that survived is continued; else a new one begins with the last, partly filled block. */
static CFS_AWAITS int tail_take(struct cfs_store *s, struct cfs_recovery *r)
{
	struct cfs_journal *j = &s->journal;
	CFS_CLEANUP(cfs_free_p) uint8_t *block = NULL;
	const struct cfs_journal_segment *seg;
	uint64_t written = cfs_recover_written(s, r), off;
	int rc;

	/* What came through a power cut is on the device for good; but the next recovery is not to
	 * believe what this one cut off, so no BATCH says so before the cuts are flushed. */
	j->flushed = j->known = CFS_MIN(r->known, written);
	if (r->had_tail)
		return chain_take(s, r, written);
	block = aligned_alloc(CFS_STORE_BLOCK, CFS_STORE_BLOCK);
	rc = block ? chain_take(s, r, written) : -ENOMEM;
	if (rc < 0)
		return rc;
	seg = &j->segments[j->count - 1];
	off = cfs_device_off(s->dev, s->slice,
			     (cfs_addr_t)seg->zone << 32 | (1 + seg->roots_blocks)) +
	      (written - seg->start_pos);
	rc = end_settle(s, off + CFS_STORE_BLOCK, block,
			r->end_pos > written &&
				written + CFS_STORE_BLOCK < cfs_journal_segment_end(s, seg));
	if (rc == 0 && r->end_pos > written)
		rc = cfs_device_read(s->dev, off, block, CFS_STORE_BLOCK);
	if (rc < 0)
		return rc;
	cfs_tail_close(&s->tail, s->dev, s->slice, false);
	rc = cfs_tail_create(&s->tail, s->dev, s->slice, s->opts.tail_dir, s->opts.tail_bytes,
			     j->budget_bytes / 4);
	if (rc < 0)
		return rc;
	cfs_tail_start_at(&s->tail, written, block, r->end_pos);
	return 0;
}

static CFS_AWAITS int cuts_place(struct cfs_store *s, struct cfs_recovery *r)
{
	int rc = 0;

	for (uint32_t i = 0; i < r->known_count && rc == 0; i++) {
		uint32_t shard = r->known_shards[i];
		struct cfs_cut_format cut = {
			.last_index = cfs_to_le64(s->shards[shard].last_index),
			.last_epoch = cfs_to_le64(s->shards[shard].last_epoch),
		};

		if (!r->shards[shard].has_lost)
			continue;
		cfs_journal_place_own(s, CFS_STORE_RECORD_CUT, shard, &cut, sizeof(cut));
		if (s->journal.is_due)
			rc = cfs_journal_round(s, false);
	}
	return rc;
}

static CFS_AWAITS int make_ready(struct cfs_store *s, struct cfs_recovery *r)
{
	struct cfs_journal *j = &s->journal;
	int rc;

	segments_take(s, r);
	rc = tail_take(s, r);
	if (rc < 0)
		return rc;
	j->stable = r->stable;
	j->known_stable = j->stable;
	j->claim = j->claim_written = (struct cfs_claim){ .flushed = j->known,
							  .stable = j->stable };
	j->incarnation = r->incarnation + 1;
	j->session_before = r->session;
	do {
		j->session = cfs_rand_u64();
	} while (j->session == 0);
	cfs_tail_session_set(&s->tail, r->device_session, j->session);
	cfs_space_settle(s, r->bitmap, r->roots_seq);
	cfs_lock_take_always(&j->round_lock);
	if (s->tail.head % CFS_STORE_BLOCK)
		cfs_journal_resume(s);
	j->needs_batch = true;
	cfs_journal_place_batch(s);
	rc = cuts_place(s, r);
	if (rc == 0)
		rc = cfs_journal_round(s, true);
	cfs_lock_release(&j->round_lock);
	return rc;
}

CFS_AWAITS int cfs_store_recover_load(struct cfs_store *s, const struct cfs_store_recovery_ops *ops,
				      uint64_t new_epoch)
{
	struct cfs_recovery *r = s->recovery;
	int first_rc = 0, rc = 0;

	cfs_assert(r && !s->is_ready);
	r->ops = ops;
	for (uint32_t i = 0; i < r->known_count; i++) {
		uint32_t shard = r->known_shards[i];
		const struct cfs_root *root;

		if (r->shards[shard].last_epoch > new_epoch && !s->opts.is_read_only)
			return -CFS_EOLD_EPOCH;
		rc = ckpt_load_shard(s, r, shard);
		if (rc < 0 && first_rc == 0)
			first_rc = rc;
		if (rc < 0 && !s->opts.is_read_only)
			return rc;
		root = cfs_recover_root(&r->shards[shard]);
		s->shards[shard].last_index = root ? root->begin_index : 0;
		s->shards[shard].last_epoch = root ? root->begin_epoch : 0;
	}
	rc = stream_load(s, r);
	if (rc < 0 && first_rc == 0)
		first_rc = rc;
	if (s->opts.is_read_only)
		return first_rc;
	if (rc == 0)
		rc = make_ready(s, r);
	if (rc < 0)
		return rc;
	cfs_recovery_destroy(r);
	s->recovery = NULL;
	return 0;
}
