/*
 * A read of a chunk: what there is is captured without a suspension (addresses, checksums,
 * patches), with a pin on each segment, and only then read. So a reader sees one version of the
 * chunk, whatever is written meanwhile: blocks that are overwritten are dropped from the table, but
 * stay where they are while pinned.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "data/data_internal.h"
#include "proto/place.h"

#define READERS_MAX 8u /* reads of one chunk at a time */

enum block_state { BLOCK_HOLE, BLOCK_CLEAN, BLOCK_PATCHED };

/* Blocks that lie together on the device. */
struct run {
	cfs_addr_t addr;
	uint32_t block, count;
};

struct overlay {
	uint32_t block, off, len;
	uint8_t *bytes;
};

/* What a range of blocks was at one moment. */
struct plan {
	struct cfs_data *data;
	uint32_t block, count;
	uint32_t run_count, overlay_count;
	struct run *runs;
	struct overlay *overlays;
	uint8_t *state;  /* enum block_state, one a block */
	uint32_t crcs[]; /* one a block; valid for those that have an extent */
};

static void plan_size(const struct cfs_chunk *c, uint32_t block, uint32_t count, uint32_t *runs,
		      uint32_t *overlays, uint32_t *bytes)
{
	uint32_t end = block + count;

	*runs = *overlays = *bytes = 0;
	for (uint32_t i = cfs_extent_from(c, block);
	     i < c->extent_count && c->extents[i].block < end; i++)
		(*runs)++;
	for (uint32_t i = cfs_patch_from(c, block); i < c->patch_count && c->patches[i].block < end;
	     i++) {
		(*overlays)++;
		*bytes += c->patches[i].len;
	}
}

static void plan_extents(struct plan *p, const struct cfs_chunk *c)
{
	uint32_t end = p->block + p->count;

	for (uint32_t i = cfs_extent_from(c, p->block);
	     i < c->extent_count && c->extents[i].block < end; i++) {
		const struct cfs_extent *e = &c->extents[i];
		uint32_t from = CFS_MAX((uint32_t)e->block, p->block);
		uint32_t n = CFS_MIN((uint32_t)e->block + e->count, end) - from;
		cfs_addr_t addr = e->addr + (from - e->block);
		struct run *last = p->run_count ? &p->runs[p->run_count - 1] : NULL;

		memcpy(p->crcs + (from - p->block), cfs_extent_crcs(e) + (from - e->block),
		       n * sizeof(uint32_t));
		memset(p->state + (from - p->block), BLOCK_CLEAN, n);
		if (last && last->block + last->count == from && last->addr + last->count == addr) {
			last->count += n;
			continue;
		}
		p->runs[p->run_count++] = (struct run){ .addr = addr, .block = from, .count = n };
		cfs_store_pin(p->data->shard->store, addr);
	}
}

static void plan_patches(struct plan *p, const struct cfs_chunk *c, uint8_t *bytes)
{
	for (uint32_t i = cfs_patch_from(c, p->block);
	     i < c->patch_count && c->patches[i].block < p->block + p->count; i++) {
		const struct cfs_patch *x = &c->patches[i];

		p->overlays[p->overlay_count++] = (struct overlay){
			.block = x->block, .off = x->off, .len = x->len, .bytes = bytes
		};
		memcpy(bytes, x->bytes, x->len);
		bytes += x->len;
		p->state[x->block - p->block] = BLOCK_PATCHED;
	}
}

/* NULL: no memory. @c may be NULL: all is a hole. */
static struct plan *plan_capture(struct cfs_data *d, const struct cfs_chunk *c, uint32_t block,
				 uint32_t count)
{
	uint32_t runs = 0, overlays = 0, bytes = 0;
	struct plan *p;

	if (c)
		plan_size(c, block, count, &runs, &overlays, &bytes);
	p = malloc(sizeof(*p) + (count + 1) * sizeof(uint32_t) + runs * sizeof(struct run) +
		   overlays * sizeof(struct overlay) + bytes + count);
	if (!p)
		return NULL;
	*p = (struct plan){ .data = d, .block = block, .count = count };
	p->runs = (void *)(p->crcs + (count + 1) / 2 * 2);
	p->overlays = (void *)(p->runs + runs);
	p->state = (void *)(p->overlays + overlays);
	memset(p->state, BLOCK_HOLE, count);
	if (c) {
		plan_extents(p, c);
		plan_patches(p, c, p->state + count);
	}
	return p;
}

static void plan_free(struct plan *p)
{
	for (uint32_t i = 0; i < p->run_count; i++)
		cfs_store_unpin(p->data->shard->store, p->runs[i].addr);
	free(p);
}

/* Several fibers take one run after the other. */
struct fill {
	struct plan *plan;
	uint32_t block, end, next;
	uint8_t *to;
	int rc;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void fill_runs(void *arg)
{
	struct fill *f = arg;
	struct plan *p = f->plan;

	while (f->rc == 0 && f->next < p->run_count) {
		const struct run *r = &p->runs[f->next++];
		uint32_t from = CFS_MAX(r->block, f->block);
		uint32_t to = CFS_MIN(r->block + r->count, f->end);
		int rc;

		if (from >= to)
			continue;
		rc = cfs_store_data_read(p->data->shard->store, r->addr + (from - r->block),
					 f->to + (size_t)(from - f->block) * CFS_BLOCK_BYTES,
					 to - from, p->crcs + (from - p->block));
		if (rc < 0)
			f->rc = rc;
	}
}

/* Brings the blocks into page-aligned @to. */
static CFS_AWAITS int plan_fill(struct plan *p, uint32_t block, uint32_t count, uint8_t *to)
{
	struct fill f = { .plan = p, .block = block, .end = block + count, .to = to };
	struct cfs_group g;

	for (uint32_t b = block; b < f.end; b++)
		if (p->state[b - p->block] == BLOCK_HOLE ||
		    (p->state[b - p->block] == BLOCK_PATCHED && p->overlay_count))
			memset(to + (size_t)(b - block) * CFS_BLOCK_BYTES,
			       CFS_BREAK(HOLE_NOT_ZERO) ? 0x5a : 0, CFS_BLOCK_BYTES);
	cfs_group_init(&g);
	for (uint32_t i = 1; i < CFS_MIN(p->run_count, READERS_MAX); i++)
		if (cfs_group_start(&g, fill_runs, &f) < 0)
			break;
	fill_runs(&f);
	cfs_group_join(&g);
	if (f.rc < 0) {
		p->data->stats.bad_reads++;
		return f.rc == -ECANCELED ? f.rc : -EIO;
	}
	for (uint32_t i = 0; i < p->overlay_count; i++) {
		const struct overlay *o = &p->overlays[i];

		if (o->block >= block && o->block < f.end)
			memcpy(to + (size_t)(o->block - block) * CFS_BLOCK_BYTES + o->off, o->bytes,
			       o->len);
	}
	return 0;
}

/* The checksum of a block that is at @data. */
static uint32_t plan_crc(const struct plan *p, uint32_t block, const uint8_t *data)
{
	if (p->state[block - p->block] == BLOCK_CLEAN)
		return p->crcs[block - p->block];
	return cfs_crc32c(0, data, CFS_BLOCK_BYTES);
}

CFS_AWAITS int cfs_data_read_blocks(struct cfs_data *d, const struct cfs_chunk *c, uint32_t block,
				    uint32_t count, uint8_t *to, uint32_t *crcs_out)
{
	struct plan *p = plan_capture(d, c, block, count);
	int rc;

	if (!p)
		return -ENOMEM;
	rc = plan_fill(p, block, count, to);
	for (uint32_t i = 0; rc == 0 && crcs_out && i < count; i++)
		crcs_out[i] = plan_crc(p, block + i, to + (size_t)i * CFS_BLOCK_BYTES);
	plan_free(p);
	return rc;
}

/* A CHUNK_READ under way. */
struct read {
	struct cfs_data *data;
	struct cfs_shard_request *rq;
	struct plan *plan;
	uint32_t off, len;
	uint32_t crc_first, crc_count; /* blocks that lie in the payload whole */
	uint8_t *crcs;                 /* cfs_le32 each */
};

static void put_crcs(struct read *r, uint32_t block, uint32_t count, const uint8_t *data)
{
	for (uint32_t b = block; b < block + count; b++) {
		cfs_le32 le;

		if (b < r->crc_first || b >= r->crc_first + r->crc_count)
			continue;
		le = cfs_to_le32(
			plan_crc(r->plan, b, data + (size_t)(b - block) * CFS_BLOCK_BYTES));
		memcpy(r->crcs + 4 * (b - r->crc_first), &le, sizeof(le));
	}
}

/* Whole blocks straight into the caller's memory, the rest of the last one through a buffer. */
static CFS_AWAITS int read_direct(struct read *r, uint8_t *mem)
{
	uint32_t first = r->off / CFS_BLOCK_BYTES, whole = r->len / CFS_BLOCK_BYTES;
	uint32_t rest = r->len % CFS_BLOCK_BYTES;
	struct cfs_buf *buf = NULL;
	int rc = 0;

	if (r->crc_count * 4 > sizeof(r->rq->scratch)) {
		rc = cfs_buf_get(r->crc_count * 4, &r->rq->reply_buf);
		if (rc < 0)
			return rc;
		r->crcs = r->rq->reply_buf->data;
	}
	if (whole)
		rc = plan_fill(r->plan, first, whole, mem);
	if (rc == 0 && rest) {
		rc = cfs_buf_get(CFS_BLOCK_BYTES, &buf);
		if (rc == 0)
			rc = plan_fill(r->plan, first + whole, 1, buf->data);
		if (rc == 0)
			memcpy(mem + (size_t)whole * CFS_BLOCK_BYTES, buf->data, rest);
		cfs_buf_put(buf);
	}
	if (rc == 0)
		put_crcs(r, first, whole, mem);
	return rc;
}

/* Through a buffer: into the message, into memory that is not aligned, or over the fabric. */
static CFS_AWAITS int read_buffered(struct read *r, uint8_t *mem)
{
	struct cfs_shard_request *rq = r->rq;
	struct plan *p = r->plan;
	uint32_t in = r->off % CFS_BLOCK_BYTES, bytes = p->count * CFS_BLOCK_BYTES;
	struct cfs_buf *buf;
	int rc = cfs_buf_get(bytes + p->count * 4, &buf);

	if (rc < 0)
		return rc;
	rq->reply_buf = buf;
	r->crcs = buf->data + bytes;
	rc = plan_fill(p, p->block, p->count, buf->data);
	if (rc < 0)
		return rc;
	put_crcs(r, p->block, p->count, buf->data);
	if (mem)
		memcpy(mem, buf->data + in, r->len);
	else if (rq->call && cfs_msg_is_set(rq->msg, bulk_len))
		rc = cfs_net_push(rq->call, 0, buf->data + in, r->len);
	else
		cfs_msg_set_bytes(&rq->reply, data, buf->data + in, r->len);
	return rc;
}

CFS_AWAITS int cfs_data_serve_read(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	bool is_bulk = rq->call && cfs_msg_is_set(m, bulk_len);
	struct read r = { .data = d, .rq = rq, .crcs = rq->scratch };
	struct cfs_shard *sh = d->shard;
	uint8_t *mem = NULL;
	uint32_t first, last;
	int rc = cfs_data_cut_check(d, rq);

	if (rc < 0)
		return rc;
	if (m->len == 0 || m->len > CFS_CHUNK_BYTES || m->off > CFS_CHUNK_BYTES - m->len ||
	    (is_bulk ? m->bulk_len < m->len : m->len >= CFS_INLINE_BYTES_MAX))
		return -EINVAL;
	r.off = (uint32_t)m->off;
	r.len = (uint32_t)m->len;
	first = r.off / CFS_BLOCK_BYTES;
	last = (r.off + r.len - 1) / CFS_BLOCK_BYTES;
	r.crc_first = (r.off + CFS_BLOCK_BYTES - 1) / CFS_BLOCK_BYTES;
	r.crc_count = CFS_MAX((r.off + r.len) / CFS_BLOCK_BYTES, r.crc_first) - r.crc_first;
	r.plan = plan_capture(d, cfs_chunk_find(&d->table, m->ino, m->chunk), first,
			      last - first + 1);
	if (!r.plan)
		return -ENOMEM;
	if (is_bulk)
		mem = cfs_net_call_bulk(rq->call);
	if (mem && r.off % CFS_BLOCK_BYTES == 0 && (uintptr_t)mem % CFS_BLOCK_BYTES == 0)
		rc = read_direct(&r, mem);
	else
		rc = read_buffered(&r, mem);
	plan_free(r.plan);
	if (rc < 0)
		return rc;
	cfs_msg_set(&rq->reply, len, m->len);
	if (r.crc_count)
		cfs_msg_set_bytes(&rq->reply, crcs, r.crcs, r.crc_count * 4);
	d->stats.reads++;
	d->stats.read_bytes += r.len;
	if ((m->flags & CFS_F_ATIME) && sh->ops[0] && sh->ops[0]->accessed)
		sh->ops[0]->accessed(sh->part[0], m->ino, m->sess);
	return 0;
}
