/*
 * Checkpoints: a shard's tables, as pieces that the shard layer gives and gets back.
 *
 * The pieces, framed by their lengths, are one stream of bytes that is cut into extents of the
 * CHECKPOINT stream; an index lists the extents with their CRCs; a CHECKPOINT record names the
 * index. It counts once all that it may hold is stable, and a flushed BATCH says so. Until then the
 * one before it counts, and keeps its blocks and its part of the journal. One is written at a time.
 */
#include "store/store_internal.h"

#define PART_BLOCKS 64u
#define PART_BYTES (PART_BLOCKS * CFS_STORE_BLOCK)
#define RETRY_NS (100ull * 1000 * 1000)

struct cfs_checkpoint {
	struct cfs_store *store;
	struct cfs_ckpt ckpt;
	uint32_t cap;
	uint8_t *buf; /* PART_BYTES */
	uint32_t used;
	uint64_t bytes;
};

void cfs_ckpt_fini(struct cfs_ckpt *c)
{
	free(c->extents);
	memset(c, 0, sizeof(*c));
}

static int extent_push(struct cfs_checkpoint *c, cfs_addr_t addr, uint32_t blocks, uint32_t crc)
{
	struct cfs_ckpt *k = &c->ckpt;

	if (k->extent_count == c->cap) {
		uint32_t cap = c->cap ? c->cap * 2 : 8;
		void *p = realloc(k->extents, cap * sizeof(*k->extents));

		if (!p)
			return -ENOMEM;
		k->extents = p;
		c->cap = cap;
	}
	k->extents[k->extent_count++] =
		(struct cfs_ckpt_extent){ .addr = addr, .blocks = blocks, .crc = crc };
	return 0;
}

/* ---- writing ---- */

CFS_AWAITS int cfs_store_checkpoint_begin(struct cfs_store *s, uint32_t shard, uint64_t index,
					  struct cfs_checkpoint **out)
{
	struct cfs_store_shard *sh;
	struct cfs_checkpoint *c;
	int rc;

	cfs_assert(s->is_ready && !s->opts.is_read_only);
	cfs_assert(shard < s->info.shards);
	c = calloc(1, sizeof(*c));
	if (c)
		c->buf = aligned_alloc(CFS_STORE_BLOCK, PART_BYTES);
	rc = c && c->buf ? cfs_lock_take(&s->ckpt_lock) : -ENOMEM;
	if (rc == 0 && s->shards[shard].pending.is_there) {
		cfs_lock_release(&s->ckpt_lock);
		rc = -EBUSY;
	}
	if (rc < 0) {
		if (c)
			free(c->buf);
		free(c);
		return rc;
	}
	sh = &s->shards[shard];
	cfs_assert(index <= sh->last_index);
	c->store = s;
	c->ckpt.root = (struct cfs_root){ .shard = shard,
					  .begin_index = index,
					  .begin_epoch = sh->last_epoch,
					  .replay_pos = s->tail.head };
	if (index < sh->last_index) /* placed, but not in the tables yet */
		c->ckpt.root.replay_pos = cfs_shard_replay_pos(sh, &sh->counted);
	*out = c;
	return 0;
}

/* Writes @blocks of @data; may make several extents. */
static CFS_AWAITS int write_extents(struct cfs_checkpoint *c, const uint8_t *data, uint32_t blocks)
{
	struct cfs_store *s = c->store;
	struct cfs_reservation r = { .alloc_blocks = blocks,
				     .is_freeing = true,
				     .stream = CFS_STREAM_CHECKPOINT };
	int rc = cfs_store_reserve(s, &r);

	if (rc < 0)
		return rc;
	while (rc == 0 && r.alloc_blocks > 0) {
		cfs_addr_t addr;
		uint32_t n = cfs_store_alloc(s, r.stream, r.alloc_blocks, &addr);
		uint64_t bytes = (uint64_t)n * CFS_STORE_BLOCK;

		r.alloc_blocks -= n;
		rc = extent_push(c, addr, n, cfs_crc32c(0, data, bytes));
		if (rc < 0)
			cfs_store_alloc_undo(s, addr, n);
		else
			rc = cfs_store_data_write(s, addr, data, n);
		data += bytes;
		c->bytes += bytes;
	}
	cfs_store_unreserve(s, &r);
	return rc;
}

static CFS_AWAITS int put_bytes(struct cfs_checkpoint *c, const void *data, uint32_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		uint32_t n = CFS_MIN(len, PART_BYTES - c->used);
		int rc;

		memcpy(c->buf + c->used, p, n);
		c->used += n;
		p += n;
		len -= n;
		if (c->used < PART_BYTES)
			continue;
		rc = write_extents(c, c->buf, PART_BLOCKS);
		if (rc < 0)
			return rc;
		c->used = 0;
	}
	return 0;
}

CFS_AWAITS int cfs_store_checkpoint_write(struct cfs_checkpoint *c, const void *data,
					  uint32_t len_bytes)
{
	cfs_le32 frame = cfs_to_le32(len_bytes);
	int rc;

	cfs_assert(len_bytes <= CFS_RECORD_BYTES_MAX);
	if (len_bytes == 0)
		return 0;
	rc = put_bytes(c, &frame, sizeof(frame));
	return rc < 0 ? rc : put_bytes(c, data, len_bytes);
}

/* The end of the frames, and what is buffered. */
static CFS_AWAITS int finish_data(struct cfs_checkpoint *c)
{
	cfs_le32 end = cfs_to_le32(0);
	int rc = put_bytes(c, &end, sizeof(end));
	uint32_t blocks = (c->used + CFS_STORE_BLOCK - 1) / CFS_STORE_BLOCK;

	if (rc < 0 || blocks == 0)
		return rc;
	memset(c->buf + c->used, 0, (size_t)blocks * CFS_STORE_BLOCK - c->used);
	return write_extents(c, c->buf, blocks);
}

/* The index has to be in one piece; what is left of the open segment may be too short for it. */
static CFS_AWAITS int alloc_index(struct cfs_store *s, uint32_t blocks, cfs_addr_t *addr_out)
{
	struct cfs_reservation r = { .alloc_blocks = 2 * blocks,
				     .is_freeing = true,
				     .stream = CFS_STREAM_CHECKPOINT };
	int rc = cfs_store_reserve(s, &r);
	uint32_t n;

	if (rc < 0)
		return rc;
	n = cfs_store_alloc(s, r.stream, blocks, addr_out);
	r.alloc_blocks -= n;
	if (n < blocks) {
		cfs_store_alloc_undo(s, *addr_out, n);
		n = cfs_store_alloc(s, r.stream, blocks, addr_out);
		r.alloc_blocks -= n;
		cfs_assert(n == blocks); /* a fresh segment */
	}
	cfs_store_unreserve(s, &r);
	return 0;
}

static CFS_AWAITS int write_index(struct cfs_checkpoint *c)
{
	struct cfs_store *s = c->store;
	struct cfs_ckpt *k = &c->ckpt;
	uint64_t bytes = sizeof(struct cfs_checkpoint_format) +
			 (uint64_t)k->extent_count * sizeof(struct cfs_checkpoint_extent_format);
	uint32_t blocks = (uint32_t)((bytes + CFS_STORE_BLOCK - 1) / CFS_STORE_BLOCK);
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = NULL;
	struct cfs_checkpoint_extent_format *e;
	struct cfs_checkpoint_format *f;
	cfs_addr_t addr;
	int rc;

	if (blocks > s->info.zone_blocks / 2)
		return -EFBIG;
	buf = aligned_alloc(CFS_STORE_BLOCK, (size_t)blocks * CFS_STORE_BLOCK);
	if (!buf)
		return -ENOMEM;
	memset(buf, 0, (size_t)blocks * CFS_STORE_BLOCK);
	f = (void *)buf;
	f->magic = cfs_to_le32(CFS_CHECKPOINT_MAGIC);
	f->version = cfs_to_le16(CFS_STORE_VERSION);
	f->header_bytes = cfs_to_le16(sizeof(*f));
	f->shard = cfs_to_le32(k->root.shard);
	f->begin_index = cfs_to_le64(k->root.begin_index);
	f->extent_count = cfs_to_le32(k->extent_count);
	e = (void *)(buf + sizeof(*f));
	for (uint32_t i = 0; i < k->extent_count; i++) {
		e[i].addr = cfs_to_le64(k->extents[i].addr);
		e[i].blocks = cfs_to_le32(k->extents[i].blocks);
		e[i].crc = cfs_to_le32(k->extents[i].crc);
	}
	f->crc = cfs_to_le32(cfs_crc32c(0, buf, (size_t)blocks * CFS_STORE_BLOCK));
	rc = alloc_index(s, blocks, &addr);
	if (rc < 0)
		return rc;
	rc = extent_push(c, addr, blocks, 0);
	if (rc < 0) {
		cfs_store_alloc_undo(s, addr, blocks);
		return rc;
	}
	k->root.index_addr = addr;
	k->root.index_blocks = blocks;
	return cfs_store_data_write(s, addr, buf, blocks);
}

static CFS_AWAITS int place_checkpoint(struct cfs_checkpoint *c, uint64_t end_index)
{
	struct cfs_store *s = c->store;
	struct cfs_ckpt *k = &c->ckpt;
	struct cfs_reservation r = { .record_bytes = sizeof(struct cfs_root_format),
				     .records = 1,
				     .is_freeing = true };
	uint8_t payload[sizeof(struct cfs_root_format)];
	int rc = cfs_store_reserve(s, &r);

	if (rc < 0)
		return rc;
	cfs_store_unreserve(s, &r); /* nothing suspends until it is placed */
	cfs_assert(end_index >= k->root.begin_index);
	cfs_assert(end_index <= s->shards[k->root.shard].last_index);
	k->root.end_index = end_index;
	cfs_journal_prepare(s);
	k->root.record_pos = s->tail.head;
	cfs_root_encode(&k->root, payload);
	cfs_journal_place_own(s, CFS_STORE_RECORD_CHECKPOINT, k->root.shard, payload,
			      sizeof(payload));
	for (uint32_t i = 0; i < k->extent_count; i++)
		cfs_space_live_add(s, k->extents[i].addr, k->extents[i].blocks);
	k->is_there = true;
	s->shards[k->root.shard].pending = *k;
	s->stats.checkpoints++;
	s->stats.checkpoint_bytes += c->bytes;
	return 0;
}

CFS_AWAITS int cfs_store_checkpoint_end(struct cfs_checkpoint *c, uint64_t end_index, int rc)
{
	struct cfs_store *s = c->store;

	if (rc == 0)
		rc = finish_data(c);
	if (rc == 0)
		rc = write_index(c);
	if (rc == 0)
		rc = place_checkpoint(c, end_index);
	if (rc < 0) {
		for (uint32_t i = 0; i < c->ckpt.extent_count; i++)
			cfs_store_alloc_undo(s, c->ckpt.extents[i].addr, c->ckpt.extents[i].blocks);
		cfs_ckpt_fini(&c->ckpt);
	}
	free(c->buf);
	free(c);
	cfs_lock_release(&s->ckpt_lock);
	return rc;
}

/* ---- counting ---- */

/*
 * What a checkpoint replaces is let go, and may be overwritten at once: recovery must not look
 * there any more. So the checkpoint counts when recovery would find that it does.
 */
void cfs_checkpoint_settle(struct cfs_store *s)
{
	for (uint32_t i = 0; i < s->info.shards; i++) {
		struct cfs_store_shard *sh = &s->shards[i];

		if (!sh->pending.is_there || sh->pending.root.record_pos >= s->journal.known_stable)
			continue;
		for (uint32_t k = 0; k < sh->counted.extent_count; k++)
			cfs_store_extent_drop(s, sh->counted.extents[k].addr,
					      sh->counted.extents[k].blocks);
		cfs_ckpt_fini(&sh->counted);
		sh->counted = sh->pending;
		sh->counted.is_listed = sh->counted.is_rooted = false;
		memset(&sh->pending, 0, sizeof(sh->pending));
	}
}

bool cfs_checkpoint_wants_known(const struct cfs_store *s)
{
	for (uint32_t i = 0; i < s->info.shards; i++) {
		const struct cfs_ckpt *p = &s->shards[i].pending;

		if (p->is_there && p->root.record_pos < s->journal.stable &&
		    p->root.record_pos >= s->journal.known_stable)
			return true;
	}
	return false;
}

CFS_AWAITS void cfs_checkpointer(void *arg)
{
	struct cfs_store *s = arg;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	while (!s->is_stopping && s->failed == 0) {
		uint32_t shard;
		uint64_t oldest = cfs_journal_oldest_needed(s, true, &shard);
		int rc;

		if (s->tail.head - oldest <= s->journal.budget_bytes / 2 || shard == UINT32_MAX) {
			cfs_waitq_wait(&s->checkpointer_kick);
			continue;
		}
		rc = s->checkpoint_fn(s->callback_ctx, shard);
		if (rc == -ENOSPC) {
			s->is_checkpointer_stuck = true;
			cfs_reserve_pump(s);
		}
		if (rc < 0) {
			uint64_t old = cfs_deadline_narrow(cfs_now_ns() + RETRY_NS);

			cfs_waitq_wait(&s->checkpointer_kick);
			cfs_deadline_restore(old);
		}
	}
}

/* ---- reading ---- */

CFS_AWAITS int cfs_ckpt_load_index(struct cfs_store *s, struct cfs_ckpt *c)
{
	const struct cfs_super *super = &s->dev->super;
	size_t bytes = (size_t)c->root.index_blocks * CFS_STORE_BLOCK;
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = aligned_alloc(CFS_STORE_BLOCK, bytes);
	uint32_t count = 0;
	int rc = buf ? cfs_store_data_read(s, c->root.index_addr, buf, c->root.index_blocks, NULL)
		     : -ENOMEM;

	if (rc == 0)
		rc = cfs_checkpoint_index_verify(buf, c->root.index_blocks, c->root.shard, &count);
	if (rc == 0 && cfs_from_le64(((const struct cfs_checkpoint_format *)buf)->begin_index) !=
			       c->root.begin_index)
		rc = -CFS_EBAD_FORMAT; /* that of an older one, which was in the same place */
	if (rc < 0)
		return rc;
	c->extents = calloc(count + 1, sizeof(*c->extents));
	if (!c->extents)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_ckpt_extent *e = &c->extents[i];

		rc = cfs_checkpoint_extent_decode(buf, i, super, &e->addr, &e->blocks, &e->crc);
		if (rc == 0 && e->blocks > PART_BLOCKS)
			rc = -CFS_EBAD_FORMAT;
		if (rc < 0) {
			free(c->extents);
			c->extents = NULL;
			return rc;
		}
	}
	c->extents[count] = (struct cfs_ckpt_extent){ .addr = c->root.index_addr,
						      .blocks = c->root.index_blocks };
	c->extent_count = count + 1;
	return 0;
}

/* Frames as they are put together again from extents. */
struct frames {
	uint8_t *buf; /* a length and the longest piece, and one part behind it */
	uint32_t used;
	bool is_done;
};

static int frames_take(struct frames *f, uint32_t shard, const struct cfs_store_recovery_ops *ops)
{
	uint32_t at = 0;

	while (!f->is_done && f->used - at >= sizeof(cfs_le32)) {
		cfs_le32 raw;
		uint32_t len;
		int rc;

		memcpy(&raw, f->buf + at, sizeof(raw));
		len = cfs_from_le32(raw);
		if (len > CFS_RECORD_BYTES_MAX)
			return -CFS_EBAD_FORMAT;
		if (len == 0) {
			f->is_done = true;
			break;
		}
		if (f->used - at - sizeof(raw) < len)
			break;
		rc = ops ? ops->checkpoint(ops->ctx, shard, f->buf + at + sizeof(raw), len) : 0;
		if (rc < 0)
			return rc;
		at += (uint32_t)sizeof(raw) + len;
	}
	memmove(f->buf, f->buf + at, f->used - at);
	f->used -= at;
	return 0;
}

CFS_AWAITS int cfs_ckpt_load(struct cfs_store *s, const struct cfs_ckpt *c, uint32_t shard,
			     const struct cfs_store_recovery_ops *ops)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *part = aligned_alloc(CFS_STORE_BLOCK, PART_BYTES);
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = malloc(CFS_RECORD_BYTES_MAX + 8 + PART_BYTES);
	struct frames f = { .buf = buf };
	int rc = part && buf ? 0 : -ENOMEM;

	/* The last extent is the index itself. */
	for (uint32_t i = 0; i + 1 < c->extent_count && rc == 0 && !f.is_done; i++) {
		const struct cfs_ckpt_extent *e = &c->extents[i];
		uint32_t bytes = e->blocks * CFS_STORE_BLOCK;

		rc = cfs_store_data_read(s, e->addr, part, e->blocks, NULL);
		if (rc == 0 && cfs_crc32c(0, part, bytes) != e->crc)
			rc = -CFS_EBAD_CHECKSUM;
		if (rc < 0)
			break;
		memcpy(f.buf + f.used, part, bytes);
		f.used += bytes;
		rc = frames_take(&f, shard, ops);
	}
	if (rc == 0 && !f.is_done)
		rc = -CFS_EBAD_FORMAT;
	return rc;
}
