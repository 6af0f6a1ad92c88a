/*
 * The journal: one stream of records, first in the tail's ring, then in journal segments.
 *
 * A write-out takes all that is placed when it starts, closes it with a PAD at a block's border and
 * writes it with the data blocks of the tail; the next record then opens a new batch with a BATCH
 * record. What is written leaves the ring: SIGKILL cannot take it back. What is flushed is beyond a
 * power cut. One write-out runs at a time; whoever syncs runs it himself, in his turn, and those
 * that queued behind him find it done.
 *
 * Records behind a BATCH have CRCs that start with a seed of its session, so bytes of an
 * earlier life of the store, which a torn batch may leave in its middle, are not taken for records.
 */
#include "store/store_internal.h"

#define FLUSH_INTERVAL_NS_DEFAULT (1000ull * 1000 * 1000)

/* ---- placing ---- */

/* Puts a record at the head and publishes it. */
static void record_put(struct cfs_store *s, uint8_t flags, const struct cfs_record *r)
{
	static const uint8_t zero[CFS_RECORD_ALIGN];
	struct {
		struct cfs_record_format h;
		struct cfs_dep_format deps[CFS_RECORD_DEPS_MAX];
	} CFS_PACKED buf;
	struct cfs_tail *t = &s->tail;
	uint32_t head_len = CFS_RECORD_HEADER_BYTES + r->dep_count * sizeof(struct cfs_dep_format);
	uint32_t total = (uint32_t)cfs_round_up(head_len + r->len_bytes, CFS_RECORD_ALIGN);
	bool is_batch = flags && r->kind == CFS_STORE_RECORD_BATCH;
	uint64_t pos = t->head;
	uint32_t crc;

	buf.h = (struct cfs_record_format){
		.magic = cfs_to_le32(CFS_RECORD_MAGIC),
		.version = CFS_STORE_VERSION,
		.flags = flags,
		.kind = cfs_to_le16(r->kind),
		.shard = cfs_to_le32(r->shard),
		.dep_count = cfs_to_le16(r->dep_count),
		.len_bytes = cfs_to_le32(r->len_bytes),
		.epoch = cfs_to_le64(r->epoch),
		.index = cfs_to_le64(r->index),
	};
	for (uint32_t i = 0; i < r->dep_count; i++)
		buf.deps[i] = (struct cfs_dep_format){ .shard = cfs_to_le32(r->deps[i].shard),
						       .epoch = cfs_to_le64(r->deps[i].epoch),
						       .index = cfs_to_le64(r->deps[i].index) };
	crc = cfs_crc32c(is_batch ? 0 : s->journal.seed, &buf, head_len);
	crc = cfs_crc32c(crc, r->payload, r->len_bytes);
	buf.h.crc = cfs_to_le32(crc);
	cfs_tail_put(t, pos, &buf, head_len);
	cfs_tail_put(t, pos + head_len, r->payload, r->len_bytes);
	cfs_tail_put(t, pos + head_len + r->len_bytes, zero, total - head_len - r->len_bytes);
	cfs_tail_publish_head(t, pos + total);
}

void cfs_journal_batch_push(struct cfs_journal *j, uint64_t pos)
{
	cfs_assert(j->batch_count < CFS_JOURNAL_BATCHES_MAX);
	j->batch_start = pos;
	j->batches[(j->batch_first + j->batch_count++) % CFS_JOURNAL_BATCHES_MAX] = pos;
}

void cfs_journal_place_batch(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;
	struct cfs_batch_format b = {
		.pos = cfs_to_le64(s->tail.head),
		.flushed_pos = cfs_to_le64(j->flushed),
		.stable_pos = cfs_to_le64(j->stable),
		.incarnation = cfs_to_le64(j->incarnation),
		.session = cfs_to_le64(j->session),
		.session_before = cfs_to_le64(j->session_before),
	};
	struct cfs_record r = { .kind = CFS_STORE_RECORD_BATCH,
				.payload = (const uint8_t *)&b,
				.len_bytes = sizeof(b) };

	cfs_assert(j->needs_batch);
	cfs_assert(s->tail.head % CFS_STORE_BLOCK == 0);
	cfs_journal_batch_push(j, s->tail.head);
	j->needs_batch = false;
	j->claim = (struct cfs_claim){ .flushed = j->flushed, .stable = j->stable };
	j->seed = cfs_record_seed(j->session);
	record_put(s, CFS_RECORD_FLAG_OWN, &r);
}

/* Up to the next block's border; nothing when a batch ended there. A gap too short for a header is
 * zeros. */
static void place_pad(struct cfs_store *s)
{
	static const uint8_t zero[CFS_STORE_BLOCK];
	uint32_t gap = CFS_STORE_BLOCK - (uint32_t)(s->tail.head % CFS_STORE_BLOCK);
	struct cfs_record r = { .kind = CFS_STORE_RECORD_PAD, .payload = zero };

	if (s->journal.needs_batch)
		return;
	s->journal.needs_batch = true;
	if (gap == CFS_STORE_BLOCK)
		return;
	if (gap < CFS_RECORD_HEADER_BYTES) {
		cfs_tail_put(&s->tail, s->tail.head, zero, gap);
		cfs_tail_publish_head(&s->tail, s->tail.head + gap);
	} else {
		r.len_bytes = gap - CFS_RECORD_HEADER_BYTES;
		record_put(s, CFS_RECORD_FLAG_OWN, &r);
	}
	cfs_assert(s->tail.head % CFS_STORE_BLOCK == 0);
}

/* Before a record: opens a batch where none is open, and closes one that is long enough, because a
 * batch lies in one segment. */
void cfs_journal_prepare(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;

	if (!j->needs_batch && s->tail.head - j->batch_start >= j->batch_bytes_max)
		place_pad(s);
	if (j->needs_batch)
		cfs_journal_place_batch(s);
}

/* Wakes the write-out when something became dirty, or the rings fill up. */
static void note_dirty(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;
	const struct cfs_tail *t = &s->tail;
	bool is_full = t->head - t->written > t->ring_bytes / 2 ||
		       t->block_end - t->block_first > t->data_blocks / 2;

	if (is_full && !j->is_due) {
		j->is_due = true;
		cfs_waitq_wake_all(&s->writer_kick);
	}
	if (j->dirty_since_ns == UINT64_MAX) {
		j->dirty_since_ns = cfs_now_ns();
		cfs_waitq_wake_all(&s->writer_kick);
	}
}

void cfs_journal_place_own(struct cfs_store *s, uint16_t kind, uint32_t shard, const void *payload,
			   uint32_t len_bytes)
{
	struct cfs_record r = {
		.kind = kind, .shard = shard, .payload = payload, .len_bytes = len_bytes
	};

	cfs_journal_prepare(s);
	record_put(s, CFS_RECORD_FLAG_OWN, &r);
	note_dirty(s);
}

void cfs_store_place(struct cfs_store *s, const struct cfs_record *r)
{
	struct cfs_store_shard *sh;

	cfs_assert(s->is_ready);
	cfs_assert(r->shard < s->info.shards);
	cfs_assert(r->len_bytes <= CFS_RECORD_BYTES_MAX);
	cfs_assert(r->dep_count <= CFS_RECORD_DEPS_MAX);
	cfs_assert(s->resv_records > 0);
	cfs_assert(s->resv_bytes >= r->len_bytes);
	sh = &s->shards[r->shard];
	cfs_assert(r->index == sh->last_index + 1);
	cfs_assert(r->epoch >= sh->last_epoch);
	s->resv_records--;
	s->resv_bytes -= r->len_bytes;
	cfs_journal_prepare(s);
	if (sh->last_index == cfs_shard_begin_index(sh))
		sh->first_pos = s->tail.head;
	record_put(s, 0, r);
	sh->last_index = r->index;
	sh->last_epoch = r->epoch;
	s->stats.records++;
	s->stats.record_bytes += r->len_bytes;
	note_dirty(s);
}

/* ---- segments of the journal ---- */

int cfs_journal_init(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;
	const struct cfs_super *super = &s->dev->super;
	uint64_t segment_bytes = cfs_space_journal_segment_bytes(super);
	uint64_t per_zone = segment_bytes -
			    segment_bytes / 4; /* its end may be too short for a batch */

	cfs_lock_init(&j->round_lock);
	j->dirty_since_ns = UINT64_MAX;
	j->budget_bytes = cfs_space_journal_zones(super) * per_zone;
	j->batch_bytes_max = segment_bytes / 4 - CFS_RECORD_TOTAL_MAX - CFS_STORE_BLOCK;
	j->spare_bytes = CFS_JOURNAL_SPARE_ZONES * per_zone;
	j->roots = aligned_alloc(CFS_STORE_BLOCK,
				 (size_t)(1 + cfs_space_roots_blocks_max(super)) * CFS_STORE_BLOCK);
	return j->roots ? 0 : -ENOMEM;
}

void cfs_journal_fini(struct cfs_store *s)
{
	free(s->journal.segments);
	free(s->journal.roots);
	s->journal.segments = NULL;
	s->journal.roots = NULL;
}

int cfs_journal_segment_push(struct cfs_store *s, const struct cfs_journal_segment *seg)
{
	struct cfs_journal *j = &s->journal;

	if (j->count == j->cap) {
		uint32_t cap = j->cap ? j->cap * 2 : 16;
		void *p = realloc(j->segments, cap * sizeof(*j->segments));

		if (!p)
			return -ENOMEM;
		j->segments = p;
		j->cap = cap;
	}
	j->segments[j->count++] = *seg;
	return 0;
}

uint64_t cfs_journal_segment_end(const struct cfs_store *s, const struct cfs_journal_segment *seg)
{
	return seg->start_pos +
	       (uint64_t)(s->info.zone_blocks - 2 - seg->roots_blocks) * CFS_STORE_BLOCK;
}

uint64_t cfs_journal_used_bytes(const struct cfs_store *s)
{
	return s->journal.count ? s->tail.head - s->journal.segments[0].start_pos : 0;
}

uint64_t cfs_shard_replay_pos(const struct cfs_store_shard *sh, const struct cfs_ckpt *c)
{
	if (sh->last_index <= (c->is_there ? c->root.begin_index : 0))
		return UINT64_MAX;
	return CFS_MAX(c->is_there ? c->root.replay_pos : 0, sh->first_pos);
}

/* What recovery needs of @sh: the position before which it needs nothing. */
static uint64_t shard_needs(const struct cfs_store_shard *sh, bool is_hopeful)
{
	const struct cfs_ckpt *c = is_hopeful && sh->pending.is_there ? &sh->pending : &sh->counted;
	uint64_t pos = cfs_shard_replay_pos(sh, c);

	if (c->is_there && !c->is_rooted)
		pos = CFS_MIN(pos, c->root.record_pos);
	if (sh->pending.is_there)
		pos = CFS_MIN(pos, sh->pending.root.record_pos);
	return pos;
}

uint64_t cfs_journal_oldest_needed(const struct cfs_store *s, bool is_hopeful, uint32_t *shard_out)
{
	uint64_t oldest = s->tail.head, free_oldest = UINT64_MAX;

	if (shard_out)
		*shard_out = UINT32_MAX;
	for (uint32_t i = 0; i < s->info.shards; i++) {
		const struct cfs_store_shard *sh = &s->shards[i];
		uint64_t pos = shard_needs(sh, is_hopeful);

		oldest = CFS_MIN(oldest, pos);
		if (shard_out && !sh->pending.is_there && pos < free_oldest) {
			free_oldest = pos;
			*shard_out = i;
		}
	}
	return oldest;
}

void cfs_journal_trim(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;
	uint64_t oldest = cfs_journal_oldest_needed(s, false, NULL);
	uint32_t n = 0;

	oldest = CFS_MIN(oldest, j->flushed);
	while (n + 1 < j->count && j->segments[n + 1].start_pos <= oldest) {
		cfs_space_release_zone(s, j->segments[n].zone);
		n++;
	}
	if (n == 0)
		return;
	j->count -= n;
	memmove(j->segments, j->segments + n, j->count * sizeof(*j->segments));
	s->is_checkpointer_stuck = false;
	cfs_reserve_pump(s);
}

/*
 * What a new segment, which begins at @start_pos, says of @sh. What the shard does not need any
 * more may be let go once the segment is flushed, so it must not be looked at: cuts there may be
 * gone while what they cut off is not.
 */
static struct cfs_root root_of(const struct cfs_store_shard *sh, uint32_t shard, uint64_t start_pos)
{
	struct cfs_root root = sh->counted.is_there ? sh->counted.root
						    : (struct cfs_root){ .shard = shard };

	root.replay_pos = CFS_MIN(cfs_shard_replay_pos(sh, &sh->counted), start_pos);
	if (sh->pending.is_there)
		root.replay_pos = CFS_MIN(root.replay_pos, sh->pending.root.record_pos);
	return root;
}

/* Writes header, roots and bitmap of a new segment to j->roots. Returns blocks of roots. */
static uint32_t encode_roots(struct cfs_store *s, struct cfs_segment_header *h)
{
	struct cfs_journal *j = &s->journal;
	uint8_t *roots = j->roots + CFS_STORE_BLOCK;
	uint32_t bytes, count = 0;

	memset(j->roots, 0,
	       (size_t)(1 + cfs_space_roots_blocks_max(&s->dev->super)) * CFS_STORE_BLOCK);
	for (uint32_t i = 0; i < s->info.shards; i++) {
		struct cfs_store_shard *sh = &s->shards[i];
		struct cfs_root root;

		if (!sh->counted.is_there && !sh->pending.is_there && sh->last_index == 0)
			continue;
		root = root_of(sh, i, h->start_pos);
		cfs_root_encode(&root, roots + (size_t)count * sizeof(struct cfs_root_format));
		sh->counted.is_listed = sh->counted.is_there;
		count++;
	}
	h->root_count = count;
	h->bitmap_off = count * (uint32_t)sizeof(struct cfs_root_format);
	for (uint32_t i = 0; i < s->space.free_count; i++) {
		uint32_t zone = s->space.free[i];

		roots[h->bitmap_off + zone / 8] |= (uint8_t)(1u << (zone % 8));
	}
	bytes = h->bitmap_off + (s->info.zones + 7) / 8;
	h->roots_blocks = (bytes + CFS_STORE_BLOCK - 1) / CFS_STORE_BLOCK;
	h->roots_crc = cfs_crc32c(0, roots, (size_t)h->roots_blocks * CFS_STORE_BLOCK);
	return h->roots_blocks;
}

/* ---- requests of a write-out ---- */

static void io_done(struct cfs_dev_io *dev)
{
	struct cfs_store_io *io = dev->arg;
	struct cfs_store *s = io->store;

	io->is_busy = false;
	s->io_pending--;
	if (dev->rc < 0 && s->io_rc == 0)
		s->io_rc = dev->rc;
	cfs_waitq_wake_all(&s->io_wait);
}

static CFS_AWAITS struct cfs_store_io *io_get(struct cfs_store *s)
{
	while (true) {
		for (uint32_t i = 0; i < CFS_STORE_IOS; i++) {
			struct cfs_store_io *io = &s->ios[i];

			if (io->is_busy)
				continue;
			io->is_busy = true;
			io->dev = (struct cfs_dev_io){
				.op = CFS_DEV_WRITE, .iov = io->iov, .fn = io_done, .arg = io
			};
			return io;
		}
		cfs_waitq_wait_always(&s->io_wait);
	}
}

static void io_add(struct cfs_store_io *io, void *data, uint64_t len)
{
	cfs_assert(io->dev.iov_count < CFS_DEV_IOV_MAX);
	io->iov[io->dev.iov_count++] = (struct iovec){ data, len };
	io->dev.len_bytes += (uint32_t)len;
}

static void io_submit(struct cfs_store *s, struct cfs_store_io *io)
{
	s->io_pending++;
	cfs_device_submit(s->dev, &io->dev);
}

static CFS_AWAITS int io_drain(struct cfs_store *s)
{
	while (s->io_pending > 0)
		cfs_waitq_wait_always(&s->io_wait);
	return s->io_rc;
}

/* ---- the write-out ---- */

static CFS_AWAITS int open_segment(struct cfs_store *s, uint64_t pos)
{
	struct cfs_journal *j = &s->journal;
	struct cfs_segment_header h = { .slice = s->slice,
					.stream = CFS_STREAM_JOURNAL,
					.start_pos = pos,
					.flushed_pos = j->flushed,
					.incarnation = j->incarnation };
	struct cfs_journal_segment seg = { .start_pos = pos };
	struct cfs_store_io *io;
	int rc;

	/* j->roots may still be on its way for the segment before. */
	rc = io_drain(s);
	if (rc < 0)
		return rc;
	if (s->space.free_count == 0)
		return -ENOSPC;
	if (j->count > 0) {
		h.prev_seq = j->segments[j->count - 1].seq;
		cfs_segment_move(&s->space.segments[j->segments[j->count - 1].zone],
				 CFS_SEGMENT_SEALED);
	}
	h.oldest_pos = cfs_journal_oldest_needed(s, false, NULL);
	seg.zone = h.zone = cfs_space_open_zone(s, CFS_STREAM_JOURNAL);
	seg.seq = h.seq = s->space.segments[seg.zone].seq;
	seg.roots_blocks = encode_roots(s, &h);
	memcpy(h.uuid, s->info.uuid, 16);
	cfs_segment_encode(&h, j->roots);
	rc = cfs_journal_segment_push(s, &seg);
	if (rc < 0)
		return rc;
	io = io_get(s);
	io->dev.off_bytes = cfs_device_off(s->dev, s->slice, (cfs_addr_t)seg.zone << 32);
	io_add(io, j->roots, (uint64_t)(1 + seg.roots_blocks) * CFS_STORE_BLOCK);
	io_submit(s, io);
	/* A segment whose header is damaged would be missed by nobody: it has a copy at its end. */
	io = io_get(s);
	memcpy(io->block, j->roots, CFS_STORE_BLOCK);
	io->dev.off_bytes = cfs_device_off(s->dev, s->slice,
					   (cfs_addr_t)seg.zone << 32 | (s->info.zone_blocks - 1));
	io_add(io, io->block, CFS_STORE_BLOCK);
	io_submit(s, io);
	j->must_open = false;
	return 0;
}

/* One batch, or the rest of one, into the segment that has room for it. */
static CFS_AWAITS int write_batch(struct cfs_store *s, uint64_t pos, uint64_t end, bool is_whole)
{
	struct cfs_journal *j = &s->journal;
	const struct cfs_journal_segment *seg = &j->segments[j->count - 1];
	int rc;

	cfs_assert(pos >= seg->start_pos);
	if (end > cfs_journal_segment_end(s, seg) || (is_whole && j->must_open)) {
		rc = open_segment(s, pos);
		if (rc < 0)
			return rc;
	}
	while (pos < end) {
		uint64_t stop = CFS_MIN(end, pos + CFS_DEV_IO_BYTES_MAX), n;
		struct cfs_store_io *io = io_get(s);

		seg = &j->segments[j->count - 1];
		cfs_assert(stop <= cfs_journal_segment_end(s, seg));
		io->dev.off_bytes = cfs_device_off(s->dev, s->slice,
						   (cfs_addr_t)seg->zone << 32 |
							   (1 + seg->roots_blocks)) +
				    (pos - seg->start_pos);
		s->stats.journal_writes++;
		s->stats.journal_bytes += stop - pos;
		while (pos < stop) {
			uint8_t *p = cfs_tail_at(&s->tail, pos, stop, &n);

			io_add(io, p, n);
			pos += n;
		}
		io_submit(s, io);
	}
	return 0;
}

/* The stream from `written` up to @end, which is a batch's end. */
static CFS_AWAITS int write_stream(struct cfs_store *s, uint64_t end)
{
	struct cfs_journal *j = &s->journal;
	uint64_t pos = s->tail.written;
	int rc = 0;

	while (pos < end && rc == 0) {
		uint64_t next = end;
		bool is_whole = false;

		if (j->batch_count > 0 && j->batches[j->batch_first] == pos) {
			j->batch_first = (j->batch_first + 1) % CFS_JOURNAL_BATCHES_MAX;
			j->batch_count--;
			is_whole = true;
		}
		if (j->batch_count > 0)
			next = CFS_MIN(end, j->batches[j->batch_first]);
		rc = write_batch(s, pos, next, is_whole);
		pos = next;
	}
	return rc;
}

/* Data entries before @end, merged where their addresses follow each other. */
static CFS_AWAITS void write_data(struct cfs_store *s, uint64_t end)
{
	uint64_t i = s->tail.data_first;
	struct cfs_store_io *io = NULL;
	cfs_addr_t next = CFS_ADDR_NONE, addr;
	uint32_t blocks;
	uint8_t *data;

	for (; i < end; i++) {
		int rc = cfs_tail_data_entry(&s->tail, i, &addr, &blocks, &data);
		uint32_t bytes = blocks * CFS_STORE_BLOCK;

		cfs_assert(rc == 0);
		if (io && (addr != next || io->dev.iov_count == CFS_DEV_IOV_MAX ||
			   io->dev.len_bytes + bytes > CFS_DEV_IO_BYTES_MAX)) {
			io_submit(s, io);
			io = NULL;
		}
		if (!io) {
			io = io_get(s);
			io->dev.off_bytes = cfs_device_off(s->dev, s->slice, addr);
			s->stats.data_writes++;
		}
		s->stats.data_bytes += bytes;
		io_add(io, data, bytes);
		next = addr + blocks;
	}
	if (io)
		io_submit(s, io);
}

static CFS_AWAITS void write_headers(struct cfs_store *s)
{
	struct cfs_space *sp = &s->space;

	while (sp->due_count > 0) {
		struct cfs_segment *seg = &sp->segments[sp->due[--sp->due_count]];
		struct cfs_segment_header h = {
			.slice = s->slice, .zone = seg->zone, .stream = seg->stream, .seq = seg->seq
		};
		struct cfs_store_io *io;

		seg->is_header_due = false;
		if (seg->state == CFS_SEGMENT_FREE)
			continue;
		io = io_get(s);
		memcpy(h.uuid, s->info.uuid, 16);
		cfs_segment_encode(&h, io->block);
		io->dev.off_bytes = cfs_device_off(s->dev, s->slice, (cfs_addr_t)seg->zone << 32);
		io_add(io, io->block, CFS_STORE_BLOCK);
		io_submit(s, io);
	}
}

static void flushed_to(struct cfs_store *s, uint64_t pos, const struct cfs_claim *claim)
{
	struct cfs_journal *j = &s->journal;

	j->flushed = pos;
	j->known = CFS_MAX(j->known, claim->flushed);
	j->known_stable = CFS_MAX(j->known_stable, claim->stable);
	j->dirty_since_ns = s->tail.head > pos ? cfs_now_ns() : UINT64_MAX;
	for (uint32_t i = 0; i < s->info.shards; i++)
		s->shards[i].counted.is_rooted = s->shards[i].counted.is_listed;
	cfs_checkpoint_settle(s);
	cfs_space_reap(s);
	cfs_journal_trim(s);
	if (cfs_journal_used_bytes(s) > j->budget_bytes / 2)
		cfs_waitq_wake_all(&s->checkpointer_kick);
}

CFS_AWAITS int cfs_journal_round(struct cfs_store *s, bool is_flush)
{
	struct cfs_journal *j = &s->journal;
	uint64_t end, data_end;
	int rc;

	cfs_assert(j->round_lock.owner != NULL);
	if (s->failed < 0)
		return s->failed;
	place_pad(s);
	j->is_due = false;
	end = s->tail.head;
	data_end = s->tail.data_end;
	if (end > s->tail.written)
		j->claim_written = j->claim;
	if (is_flush)
		cfs_device_flush_coming(s->dev);
	s->io_rc = 0;
	write_headers(s);
	write_data(s, data_end);
	rc = write_stream(s, end);
	if (io_drain(s) < 0 && rc == 0)
		rc = s->io_rc;
	if (rc < 0) {
		if (is_flush)
			cfs_device_flush_skip(s->dev);
		cfs_store_fail(s, rc);
		return s->failed;
	}
	cfs_tail_publish_written(&s->tail, end);
	cfs_tail_data_release(&s->tail, data_end);
	cfs_reserve_pump(s);
	if (!is_flush)
		return 0;
	rc = cfs_device_flush(s->dev);
	if (rc < 0) {
		cfs_store_fail(s, rc);
		return s->failed;
	}
	s->stats.flushes++;
	flushed_to(s, end, &j->claim_written);
	return 0;
}

void cfs_store_fail(struct cfs_store *s, int rc)
{
	cfs_assert(rc < 0);
	if (s->failed == 0)
		s->failed = -EIO;
	cfs_reserve_pump(s);
	cfs_waitq_wake_all(&s->checkpointer_kick);
	cfs_waitq_wake_all(&s->cleaner_kick);
}

CFS_AWAITS int cfs_store_sync(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;
	uint64_t target = s->tail.head;
	int rc = 0;

	s->stats.syncs++;
	while (rc == 0 && s->failed == 0 && j->flushed < target) {
		rc = cfs_lock_take(&j->round_lock);
		if (rc < 0)
			break;
		if (j->flushed < target)
			rc = cfs_journal_round(s, true);
		cfs_lock_release(&j->round_lock);
	}
	return rc < 0 ? rc : s->failed;
}

bool cfs_store_is_dirty(const struct cfs_store *s)
{
	return s->tail.head > s->journal.flushed;
}

/* A dead segment or a checkpoint waits for nothing but a BATCH that says so. */
static bool wants_known(const struct cfs_store *s)
{
	if (cfs_checkpoint_wants_known(s))
		return true;
	cfs_list_for_each(pos, &s->space.dead) {
		const struct cfs_segment *seg = cfs_list_entry(pos, const struct cfs_segment,
							       dead_link);

		if (seg->drop_pos > s->journal.known && seg->drop_pos <= s->journal.flushed &&
		    seg->drop_tick <= s->tick_stable)
			return true;
	}
	return false;
}

void cfs_journal_resume(struct cfs_store *s)
{
	struct cfs_journal *j = &s->journal;

	/* What is after the last border belongs to the batch before us: close it as its own. */
	j->seed = cfs_record_seed(s->journal.session_before);
	j->needs_batch = false;
	place_pad(s);
	cfs_assert(s->tail.head % CFS_STORE_BLOCK == 0);
	j->needs_batch = true;
}

CFS_AWAITS void cfs_journal_writer(void *arg)
{
	struct cfs_store *s = arg;
	struct cfs_journal *j = &s->journal;
	uint64_t interval = s->opts.flush_interval_ns ? s->opts.flush_interval_ns
						      : FLUSH_INTERVAL_NS_DEFAULT;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	while (!s->is_stopping && s->failed == 0) {
		uint64_t now = cfs_now_ns();
		uint64_t due = j->dirty_since_ns == UINT64_MAX ? UINT64_MAX
							       : j->dirty_since_ns + interval;
		bool is_known_wanted = wants_known(s);

		if (!j->is_due && now < due && !is_known_wanted) {
			uint64_t old = cfs_deadline_narrow(due);

			cfs_waitq_wait(&s->writer_kick);
			cfs_deadline_restore(old);
			continue;
		}
		cfs_lock_take_always(&j->round_lock);
		if (is_known_wanted && j->needs_batch && wants_known(s))
			cfs_journal_place_batch(s);
		cfs_journal_round(s, now >= due || is_known_wanted);
		cfs_lock_release(&j->round_lock);
	}
}
