/*
 * A part of a chunk becomes that of another file's chunk with the same number (doc/design/data.md,
 * Clones). Its whole blocks get one more owner: the record names where they are, as a write's does.
 * What is left at both ends, less than a block each, is copied as patches. One record holds it all.
 *
 * Patches of the source are carried over as patches where they are few, else made blocks first. The
 * source's version tells, when the record is built, whether what was read before is still so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "data/data_internal.h"
#include "proto/place.h"

#define PATCHES_MAX 8u               /* of the source, that are carried over as they are */
#define PATCH_BYTES_MAX (16u * 1024) /* of them together */
#define TRIES_MAX 16u

/* Less than a block, at an end of the range. */
struct part {
	uint32_t off, len; /* within the chunk; len 0: none */
	bool is_there;     /* the source has something in this block */
	uint8_t *bytes;    /* then: the block */
};

struct clone_state {
	struct part head, tail;
	uint32_t block, blocks; /* whole ones */
	uint32_t record_bytes;
	uint64_t version; /* of the source; 0: it is not there */
	struct cfs_buf *buf;
};

static void split(uint32_t off, uint32_t len, struct clone_state *s)
{
	uint32_t end = off + len, first = (off + CFS_BLOCK_BYTES - 1) / CFS_BLOCK_BYTES;
	uint32_t last = end / CFS_BLOCK_BYTES;

	if (first > last) { /* inside of one block */
		s->head = (struct part){ .off = off, .len = len };
		return;
	}
	s->head = (struct part){ .off = off, .len = first * CFS_BLOCK_BYTES - off };
	s->tail = (struct part){ .off = last * CFS_BLOCK_BYTES, .len = end % CFS_BLOCK_BYTES };
	s->block = first;
	s->blocks = last - first;
}

static struct cfs_chunk *source_of(const struct cfs_data *d, const struct cfs_chunk_clone *c)
{
	return cfs_chunk_find(&d->table, c->ino2, c->chunk);
}

static int cuts_check(const struct cfs_data *d, const struct cfs_chunk_clone *c)
{
	return cfs_chunk_cut(&d->table, c->ino) > c->cut ||
			       cfs_chunk_cut(&d->table, c->ino2) > c->cut2
		       ? -CFS_EOLD_CUT
		       : 0;
}

/* Patches of the whole blocks: how many, and their bytes. */
static uint32_t patches_of(const struct cfs_chunk *c, const struct clone_state *s,
			   uint32_t *bytes_out)
{
	uint32_t count = 0;

	*bytes_out = 0;
	for (uint32_t i = cfs_patch_from(c, s->block);
	     i < c->patch_count && c->patches[i].block < s->block + s->blocks; i++) {
		*bytes_out += cfs_data_patch_bytes(c->patches[i].len);
		count++;
	}
	return count;
}

static CFS_AWAITS int read_part(struct cfs_data *d, const struct cfs_chunk_clone *c, struct part *p,
				uint8_t *to)
{
	const struct cfs_chunk *src = source_of(d, c);
	uint32_t block = p->off / CFS_BLOCK_BYTES;

	p->is_there = p->len && cfs_chunk_present(src, block, 1);
	p->bytes = to;
	return p->is_there ? cfs_data_read_blocks(d, src, block, 1, to, NULL) : 0;
}

/* What may wait, before anything is reserved. 0; -EAGAIN: the source changed meanwhile. */
static CFS_AWAITS int prepare(struct cfs_data *d, const struct cfs_chunk_clone *c,
			      struct clone_state *s)
{
	const struct cfs_chunk *src = source_of(d, c);
	uint32_t patch_bytes = 0;
	int rc = 0;

	if (src &&
	    (patches_of(src, s, &patch_bytes) > PATCHES_MAX || patch_bytes > PATCH_BYTES_MAX)) {
		rc = cfs_data_merge_chunk(d, c->ino2, c->chunk);
		if (rc < 0)
			return rc;
		src = source_of(d, c);
		if (src && (patches_of(src, s, &patch_bytes) > PATCHES_MAX ||
			    patch_bytes > PATCH_BYTES_MAX))
			return -EAGAIN;
	}
	s->version = src ? src->version : 0;
	s->record_bytes = c->extra_bytes + 3 * CFS_DATA_FIXED_BYTES +
			  s->blocks * cfs_data_extent_bytes(1) + PATCH_BYTES_MAX +
			  2 * cfs_data_patch_bytes(CFS_BLOCK_BYTES);
	rc = read_part(d, c, &s->head, s->buf->data);
	if (rc == 0)
		rc = read_part(d, c, &s->tail, s->buf->data + CFS_BLOCK_BYTES);
	return rc;
}

static bool is_same(const struct cfs_data *d, const struct cfs_chunk_clone *c,
		    const struct clone_state *s)
{
	const struct cfs_chunk *src = source_of(d, c);

	return (src ? src->version : 0) == s->version;
}

CFS_AWAITS int cfs_data_clone_begin(void *part, struct cfs_chunk_clone *c)
{
	struct cfs_data *d = part;
	struct clone_state *s;
	int rc;

	if (c->chunk >= CFS_FILE_CHUNKS_MAX || c->len_bytes == 0 ||
	    c->len_bytes > CFS_CHUNK_BYTES || c->off_bytes > CFS_CHUNK_BYTES - c->len_bytes ||
	    c->ino == c->ino2)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	split(c->off_bytes, c->len_bytes, s);
	rc = cfs_buf_get(2 * CFS_BLOCK_BYTES, &s->buf);
	if (rc == 0)
		rc = cfs_data_patch_room(d);
	if (rc == 0)
		rc = cuts_check(d, c);
	for (uint32_t k = 0; rc == 0; k++) {
		rc = prepare(d, c, s);
		if (rc == 0)
			rc = cfs_shard_reserve(d->shard, s->record_bytes, false);
		if (rc == 0 && is_same(d, c, s))
			break;
		if (rc == 0)
			cfs_shard_unreserve(d->shard, s->record_bytes, false);
		if (rc == 0 || (rc == -EAGAIN && k < TRIES_MAX))
			rc = k < TRIES_MAX ? 0 : -EAGAIN;
	}
	if (rc < 0) {
		cfs_buf_put(s->buf);
		free(s);
		/* Somebody writes to the source without a pause: a copy asks for less. */
		return rc == -EAGAIN ? -EXDEV : rc;
	}
	c->private = s;
	return 0;
}

/* The extents of the whole blocks, as far as they may have one more owner. */
static int add_extents(struct cfs_data *d, const struct cfs_chunk_clone *c,
		       const struct clone_state *s, const struct cfs_chunk *src,
		       struct cfs_items *it)
{
	uint32_t end = s->block + s->blocks;

	for (uint32_t i = cfs_extent_from(src, s->block);
	     i < src->extent_count && src->extents[i].block < end; i++) {
		const struct cfs_extent *e = &src->extents[i];
		uint32_t from = CFS_MAX((uint32_t)e->block, s->block);
		uint32_t n = CFS_MIN((uint32_t)e->block + e->count, end) - from;
		cfs_addr_t addr = e->addr + (from - e->block);

		if (!cfs_store_is_shareable(d->shard->store, addr, n))
			return -EXDEV;
		cfs_data_add_shared(it, c->ino, c->chunk, from, n, addr,
				    cfs_extent_crcs(e) + (from - e->block));
	}
	for (uint32_t i = cfs_patch_from(src, s->block);
	     i < src->patch_count && src->patches[i].block < end; i++) {
		const struct cfs_patch *p = &src->patches[i];

		cfs_data_add_patch(it, c->ino, c->chunk, p->block * CFS_BLOCK_BYTES + p->off,
				   p->bytes, p->len);
	}
	return 0;
}

/* Returns how many blocks are there in the end: 0 or 1. */
static uint32_t add_part(const struct cfs_chunk_clone *c, const struct part *p,
			 const struct cfs_chunk *dst, struct cfs_items *it)
{
	if (p->len == 0)
		return 0;
	if (p->is_there) {
		cfs_data_add_patch(it, c->ino, c->chunk, p->off,
				   p->bytes + p->off % CFS_BLOCK_BYTES, p->len);
		return 1;
	}
	if (dst)
		cfs_data_add_zero(it, c->ino, c->chunk, p->off, p->len);
	return cfs_chunk_present_after_zero(dst, p->off, p->len);
}

int cfs_data_clone_items(void *part, struct cfs_chunk_clone *c, struct cfs_items *it)
{
	struct cfs_data *d = part;
	const struct clone_state *s = c->private;
	const struct cfs_chunk *src = source_of(d, c);
	const struct cfs_chunk *dst = cfs_chunk_find(&d->table, c->ino, c->chunk);
	uint32_t first = c->off_bytes / CFS_BLOCK_BYTES;
	uint32_t last = (c->off_bytes + c->len_bytes - 1) / CFS_BLOCK_BYTES;
	int64_t before = cfs_chunk_present(dst, first, last - first + 1);
	int64_t after = cfs_chunk_present(src, s->block, s->blocks);
	int rc = cuts_check(d, c);

	if (rc < 0)
		return rc;
	if (!is_same(d, c, s))
		return -EAGAIN;
	if (dst && s->blocks)
		cfs_data_add_zero(it, c->ino, c->chunk, s->block * CFS_BLOCK_BYTES,
				  s->blocks * CFS_BLOCK_BYTES);
	if (src && s->blocks)
		rc = add_extents(d, c, s, src, it);
	after += add_part(c, &s->head, dst, it);
	after += add_part(c, &s->tail, dst, it);
	c->blocks = (after - before) * (int64_t)(CFS_BLOCK_BYTES / 512);
	if (rc == 0)
		d->stats.clones++;
	return rc;
}

void cfs_data_clone_end(void *part, struct cfs_chunk_clone *c)
{
	struct cfs_data *d = part;
	struct clone_state *s = c->private;

	cfs_shard_unreserve(d->shard, s->record_bytes, false);
	cfs_buf_put(s->buf);
	free(s);
	c->private = NULL;
}

CFS_AWAITS int cfs_data_serve_clone(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_chunk_clone c = {
		.ino = m->ino,
		.cut = m->cut,
		.ino2 = m->ino2,
		.cut2 = m->cut2,
		.chunk = m->chunk,
		.off_bytes = (uint32_t)m->off,
		.len_bytes = (uint32_t)m->len,
	};
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	uint32_t dep_count;
	struct cfs_items it;
	int rc = cfs_shard_deps(d->shard, m, deps, &dep_count);

	if (rc == 0 && (m->off > CFS_CHUNK_BYTES || m->len > CFS_CHUNK_BYTES))
		rc = -EINVAL;
	if (rc == 0)
		rc = cfs_data_clone_begin(d, &c);
	if (rc != 0)
		return rc;
	/* Nothing has suspended since, so nothing has changed. */
	cfs_shard_items(d->shard, &it);
	rc = cfs_data_clone_items(d, &c, &it);
	if (rc == 0) {
		cfs_msg_set(&rq->reply, blocks, c.blocks);
		if (it.len_bytes) /* a hole over a hole is nothing to say */
			cfs_shard_commit(d->shard, &it, deps, dep_count, rq);
	}
	cfs_data_clone_end(d, &c);
	return rc;
}
