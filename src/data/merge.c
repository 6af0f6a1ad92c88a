/*
 * Patches become blocks. One fiber a shard at most, started when there is something to do: chunks
 * with a block that patches cover, or with many patches; and, while the patches of this core take
 * more than their budget, all others from the oldest on, in the shard that has most of them.
 *
 * A merge reads the blocks below without holding anything back. If the chunk has changed meanwhile
 * (its version tells) it is tried again: the record that replaces patches is placed in the step
 * that found the version unchanged, so no newer patch is lost.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "data/data_internal.h"

#define MERGE_BLOCKS (CFS_TAIL_DATA_MAX / CFS_BLOCK_BYTES)
#define MERGE_TRIES 4u

/* Runs of patched blocks of one chunk, up to MERGE_BLOCKS of them. */
struct merge {
	uint64_t ino, version, chunk;
	uint32_t count;
	uint16_t blocks[MERGE_BLOCKS];
};

static bool is_over(const struct cfs_data *d)
{
	return d->core->patch_bytes > cfs_data_patch_max(d);
}

static bool has_work(const struct cfs_data *d, bool is_pressed)
{
	const struct cfs_chunk *c;

	if (cfs_list_is_empty(&d->table.patched))
		return false;
	c = cfs_list_first(&d->table.patched, struct cfs_chunk, patched);
	return !c->is_unmergeable && (c->is_urgent || is_pressed);
}

static void merge_pick(const struct cfs_chunk *c, struct merge *m)
{
	*m = (struct merge){ .ino = c->file->ino, .version = c->version, .chunk = c->chunk };
	for (uint32_t i = 0; i < c->patch_count && m->count < MERGE_BLOCKS; i++)
		if (m->count == 0 || m->blocks[m->count - 1] != c->patches[i].block)
			m->blocks[m->count++] = c->patches[i].block;
}

/* Places the record: the blocks of @buf are the chunk's now. */
static void merge_commit(struct cfs_data *d, const struct merge *m, const uint8_t *buf,
			 const uint32_t *crcs, struct cfs_reservation *left)
{
	struct cfs_store *store = d->shard->store;
	struct cfs_items it;
	uint32_t i = 0;

	cfs_shard_items(d->shard, &it);
	while (i < m->count) {
		uint32_t n = 1, done = 0;

		while (i + n < m->count && m->blocks[i + n] == m->blocks[i] + n)
			n++;
		while (done < n) {
			cfs_addr_t addr;
			uint32_t got = cfs_store_alloc(store, CFS_STREAM_HOT, n - done, &addr);

			cfs_store_data_tail(store, addr, buf + (size_t)(i + done) * CFS_BLOCK_BYTES,
					    got);
			cfs_data_add_extent(&it, m->ino, m->chunk, m->blocks[i] + done, got, addr,
					    crcs + i + done);
			done += got;
		}
		i += n;
	}
	left->alloc_blocks -= m->count;
	left->tail_blocks -= m->count;
	cfs_shard_commit(d->shard, &it, NULL, 0, NULL);
	d->stats.merges++;
	d->stats.merged_blocks += m->count;
}

/* 0: done; -EAGAIN: the chunk changed; other codes: this chunk cannot be merged now. */
static CFS_AWAITS int merge_once(struct cfs_data *d, const struct merge *m, struct cfs_buf *buf)
{
	uint32_t crcs[MERGE_BLOCKS], bytes = m->count * cfs_data_extent_bytes(1);
	struct cfs_reservation r = {
		.record_bytes = bytes + CFS_SHARD_ANSWER_ROOM,
		.records = 1,
		.tail_blocks = m->count,
		.alloc_blocks = m->count,
	};
	const struct cfs_chunk *c;
	int rc = cfs_store_reserve(d->shard->store, &r);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; rc == 0 && i < m->count; i++) {
		uint32_t n = 1;

		while (i + n < m->count && m->blocks[i + n] == m->blocks[i] + n)
			n++;
		c = cfs_chunk_find(&d->table, m->ino, m->chunk);
		if (!c || c->version != m->version)
			rc = -EAGAIN;
		else
			rc = cfs_data_read_blocks(d, c, m->blocks[i], n,
						  buf->data + (size_t)i * CFS_BLOCK_BYTES,
						  crcs + i);
		i += n - 1;
	}
	c = cfs_chunk_find(&d->table, m->ino, m->chunk);
	if (!c || c->version != m->version)
		rc = -EAGAIN;
	if (rc == 0)
		merge_commit(d, m, buf->data, crcs, &r);
	r.record_bytes = 0;
	r.records = 0;
	if (r.alloc_blocks)
		cfs_store_unreserve(d->shard->store, &r);
	cfs_shard_unreserve(d->shard, bytes, false);
	return rc;
}

/* The chunk goes behind the others, and is left alone until it changes again. */
static void set_aside(struct cfs_data *d, const struct merge *m)
{
	struct cfs_chunk *c = cfs_chunk_find(&d->table, m->ino, m->chunk);

	if (!c || c->patch_count == 0)
		return;
	c->is_unmergeable = true;
	cfs_list_remove(&c->patched);
	cfs_list_append(&d->table.patched, &c->patched);
}

CFS_AWAITS int cfs_data_merge_chunk(struct cfs_data *d, uint64_t ino, uint64_t chunk)
{
	struct cfs_buf *buf;
	int rc = cfs_buf_get(CFS_TAIL_DATA_MAX, &buf);

	if (rc < 0)
		return rc;
	for (uint32_t k = 0; k < CFS_CHUNK_BLOCKS + MERGE_TRIES; k++) {
		const struct cfs_chunk *c = cfs_chunk_find(&d->table, ino, chunk);
		struct merge m;

		rc = 0;
		if (!c || c->patch_count == 0)
			break;
		merge_pick(c, &m);
		rc = merge_once(d, &m, buf);
		if (rc < 0 && rc != -EAGAIN)
			break;
	}
	cfs_buf_put(buf);
	return rc;
}

static void wake_room(struct cfs_data *d)
{
	if (d->core->is_stuck || d->core->patch_bytes <= 2 * cfs_data_patch_max(d))
		cfs_waitq_wake_all(&d->core->room);
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void merge_run(void *arg)
{
	struct cfs_data *d = arg;
	struct cfs_buf *buf;
	uint32_t tries = 0;
	int rc = cfs_buf_get(CFS_TAIL_DATA_MAX, &buf);

	if (rc < 0) {
		d->is_merging = false;
		return;
	}
	while (has_work(d, is_over(d)) && !cfs_fiber_is_canceled()) {
		struct merge m;

		merge_pick(cfs_list_first(&d->table.patched, struct cfs_chunk, patched), &m);
		rc = merge_once(d, &m, buf);
		if (rc == -EAGAIN && ++tries < MERGE_TRIES)
			continue;
		tries = 0;
		d->core->is_stuck = rc == -ENOSPC;
		if (rc < 0 && rc != -EAGAIN)
			set_aside(d, &m);
		wake_room(d);
		if (rc == -EAGAIN)
			cfs_fiber_yield();
		if (rc == -ENOSPC || rc == -ECANCELED || rc == -ETIMEDOUT)
			break;
	}
	cfs_buf_put(buf);
	d->is_merging = false;
	wake_room(d);
	if (is_over(d) && rc == 0)
		cfs_data_merge_kick(d);
}

static void merge_start(struct cfs_data *d)
{
	if (d->is_merging || !d->is_resumed || d->shard->fibers.canceled)
		return;
	if (cfs_group_start(&d->shard->fibers, merge_run, d) == 0)
		d->is_merging = true;
}

void cfs_data_merge_kick(struct cfs_data *d)
{
	struct cfs_data *most = NULL;

	if (has_work(d, false))
		merge_start(d);
	if (!is_over(d))
		return;
	cfs_list_for_each(l, &d->core->parts) {
		struct cfs_data *p = cfs_list_entry(l, struct cfs_data, core_link);

		if (p->is_merging)
			return;
		if (has_work(p, true) && (!most || p->table.patch_bytes > most->table.patch_bytes))
			most = p;
	}
	if (most)
		merge_start(most);
}

CFS_AWAITS int cfs_data_patch_room(struct cfs_data *d)
{
	while (d->core->patch_bytes > 2 * cfs_data_patch_max(d)) {
		int rc;

		cfs_data_merge_kick(d);
		if (d->core->is_stuck)
			return -ENOSPC;
		rc = cfs_waitq_wait(&d->core->room);
		if (rc < 0)
			return rc;
	}
	return 0;
}
