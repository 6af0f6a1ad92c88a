/*
 * A write to a chunk. Whole blocks become an extent: at most 64 KiB go through the tail's data
 * ring, more goes to the device before the record is placed. What is left at both ends, less than a
 * block each, becomes patches: nothing is read to write. All of it is one record, so readers see
 * all or nothing.
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

#define TAIL_BLOCKS_MAX (CFS_TAIL_DATA_MAX / CFS_BLOCK_BYTES)

struct piece {
	cfs_addr_t addr;
	uint32_t blocks;
};

/* A write under way. Offsets are into its data; blocks are the chunk's. */
struct write_state {
	uint32_t head_bytes, tail_off, tail_bytes;
	uint32_t block, blocks; /* whole ones */
	uint32_t record_bytes;
	uint32_t alloc_left, tail_left; /* of the reservation */
	uint32_t piece_count;
	bool is_named; /* a record names the pieces */
	struct piece *pieces;
	uint32_t crcs[];
};

/* How a range falls into a head, whole blocks and a tail. */
static void split(uint32_t off, uint32_t len, struct write_state *s)
{
	uint32_t end = off + len, first = (off + CFS_BLOCK_BYTES - 1) / CFS_BLOCK_BYTES;
	uint32_t last = end / CFS_BLOCK_BYTES;

	if (first > last) { /* inside of one block */
		s->head_bytes = len;
		return;
	}
	s->head_bytes = first * CFS_BLOCK_BYTES - off;
	s->block = first;
	s->blocks = last - first;
	s->tail_bytes = end % CFS_BLOCK_BYTES;
	s->tail_off = len - s->tail_bytes;
}

static int check_crcs(const struct cfs_chunk_write *w, const struct write_state *s)
{
	if (!w->crcs)
		return 0;
	if (w->crc_count != s->blocks)
		return -EINVAL;
	for (uint32_t i = 0; i < s->blocks; i++) {
		cfs_le32 le;

		memcpy(&le, w->crcs + 4 * i, sizeof(le));
		if (cfs_from_le32(le) != s->crcs[i])
			return -CFS_EBAD_CHECKSUM;
	}
	return 0;
}

static CFS_AWAITS int reserve(struct cfs_data *d, struct write_state *s, uint32_t extra_bytes)
{
	struct cfs_reservation r = { .records = 1, .alloc_blocks = s->blocks };
	int rc;

	s->record_bytes = s->blocks * cfs_data_extent_bytes(1) +
			  cfs_data_patch_bytes(s->head_bytes) +
			  cfs_data_patch_bytes(s->tail_bytes) + extra_bytes;
	r.record_bytes = s->record_bytes + CFS_SHARD_ANSWER_ROOM;
	r.tail_blocks = s->blocks <= TAIL_BLOCKS_MAX ? s->blocks : 0;
	rc = cfs_store_reserve(d->shard->store, &r);
	if (rc == 0) {
		s->alloc_left = r.alloc_blocks;
		s->tail_left = r.tail_blocks;
	}
	return rc;
}

static void allocate(struct cfs_data *d, struct write_state *s)
{
	uint32_t done = 0;

	while (done < s->blocks) {
		struct piece *p = &s->pieces[s->piece_count++];

		p->blocks = cfs_store_alloc(d->shard->store, CFS_STREAM_HOT, s->blocks - done,
					    &p->addr);
		done += p->blocks;
		s->alloc_left -= p->blocks;
	}
}

/* What is large goes to the device. It must be page-aligned for that: if not, through a copy. */
static CFS_AWAITS int write_out(struct cfs_data *d, const struct cfs_chunk_write *w,
				struct write_state *s)
{
	const uint8_t *data = w->data + s->head_bytes;
	struct cfs_buf *buf = NULL;
	int rc = 0;

	if ((uintptr_t)data % CFS_BLOCK_BYTES) {
		rc = cfs_buf_get(s->blocks * CFS_BLOCK_BYTES, &buf);
		if (rc < 0)
			return rc;
		memcpy(buf->data, data, (size_t)s->blocks * CFS_BLOCK_BYTES);
		data = buf->data;
	}
	allocate(d, s);
	for (uint32_t i = 0; rc == 0 && i < s->piece_count; i++) {
		rc = cfs_store_data_write(d->shard->store, s->pieces[i].addr, data,
					  s->pieces[i].blocks);
		data += (size_t)s->pieces[i].blocks * CFS_BLOCK_BYTES;
	}
	cfs_buf_put(buf);
	return rc;
}

void cfs_data_write_end(void *part, struct cfs_chunk_write *w)
{
	struct cfs_data *d = part;
	struct write_state *s = w->private;
	struct cfs_reservation left = { .alloc_blocks = s->alloc_left,
					.tail_blocks = s->tail_left };

	if (!s->is_named)
		for (uint32_t i = 0; i < s->piece_count; i++)
			cfs_store_alloc_undo(d->shard->store, s->pieces[i].addr,
					     s->pieces[i].blocks);
	if (s->alloc_left)
		cfs_store_unreserve(d->shard->store, &left);
	cfs_shard_unreserve(d->shard, s->record_bytes, false);
	free(s);
	w->private = NULL;
}

CFS_AWAITS int cfs_data_write_begin(void *part, struct cfs_chunk_write *w)
{
	struct cfs_data *d = part;
	struct write_state sizes = { 0 }, *s;
	int rc;

	if (w->chunk >= CFS_FILE_CHUNKS_MAX || w->len_bytes == 0 ||
	    w->len_bytes > CFS_CHUNK_BYTES || w->off_bytes > CFS_CHUNK_BYTES - w->len_bytes)
		return -EINVAL;
	if (cfs_chunk_cut(&d->table, w->ino) > w->cut)
		return -CFS_EOLD_CUT;
	split(w->off_bytes, w->len_bytes, &sizes);
	s = malloc(sizeof(*s) + sizes.blocks * (sizeof(uint32_t) + sizeof(struct piece)) +
		   sizeof(struct piece));
	if (!s)
		return -ENOMEM;
	*s = sizes;
	s->pieces = (void *)(s->crcs + (s->blocks + 1) / 2 * 2);
	cfs_crc32c_blocks(w->data + s->head_bytes, s->blocks, s->crcs);
	rc = check_crcs(w, s);
	if (rc == -CFS_EBAD_CHECKSUM)
		d->stats.bad_writes++;
	if (rc == 0 && s->head_bytes + s->tail_bytes)
		rc = cfs_data_patch_room(d);
	if (rc == 0)
		rc = reserve(d, s, w->extra_bytes);
	if (rc < 0) {
		free(s);
		return rc;
	}
	w->private = s;
	if (s->blocks > TAIL_BLOCKS_MAX)
		rc = write_out(d, w, s);
	if (rc < 0)
		cfs_data_write_end(d, w);
	return rc;
}

/* By how much st_blocks grows: every block that is touched is there afterwards. */
static int64_t blocks_grown(const struct cfs_data *d, const struct cfs_chunk_write *w)
{
	uint32_t first = w->off_bytes / CFS_BLOCK_BYTES;
	uint32_t count = (w->off_bytes + w->len_bytes - 1) / CFS_BLOCK_BYTES - first + 1;
	const struct cfs_chunk *c = cfs_chunk_find(&d->table, w->ino, w->chunk);

	return (int64_t)(count - cfs_chunk_present(c, first, count)) * (CFS_BLOCK_BYTES / 512);
}

int cfs_data_write_items(void *part, struct cfs_chunk_write *w, struct cfs_items *it)
{
	struct cfs_data *d = part;
	struct write_state *s = w->private;
	uint32_t at = 0;

	if (cfs_chunk_cut(&d->table, w->ino) > w->cut)
		return -CFS_EOLD_CUT;
	if (s->piece_count == 0 && s->blocks > 0) {
		allocate(d, s);
		for (uint32_t i = 0; i < s->piece_count; i++) {
			cfs_store_data_tail(d->shard->store, s->pieces[i].addr,
					    w->data + s->head_bytes + (size_t)at * CFS_BLOCK_BYTES,
					    s->pieces[i].blocks);
			at += s->pieces[i].blocks;
		}
		s->tail_left -= at;
		at = 0;
	}
	for (uint32_t i = 0; i < s->piece_count; i++) {
		const struct piece *p = &s->pieces[i];

		cfs_data_add_extent(it, w->ino, w->chunk, s->block + at, p->blocks, p->addr,
				    s->crcs + at);
		at += p->blocks;
	}
	s->is_named = true;
	if (s->head_bytes && !CFS_BREAK(PATCH_LOST))
		cfs_data_add_patch(it, w->ino, w->chunk, w->off_bytes, w->data, s->head_bytes);
	if (s->tail_bytes)
		cfs_data_add_patch(it, w->ino, w->chunk, w->off_bytes + s->tail_off,
				   w->data + s->tail_off, s->tail_bytes);
	w->blocks = blocks_grown(d, w);
	d->stats.writes++;
	d->stats.write_bytes += w->len_bytes;
	return 0;
}

/* Where the request's payload is in our memory; a buffer when it had to be fetched. */
static CFS_AWAITS int payload(struct cfs_shard_request *rq, uint32_t off, uint32_t len,
			      const uint8_t **data, struct cfs_buf **buf)
{
	const struct cfs_msg *m = rq->msg;
	uint32_t in = off % CFS_BLOCK_BYTES; /* so that whole blocks are aligned */
	int rc;

	if (cfs_msg_is_set(m, data)) {
		*data = m->data.p;
		return m->data.len == len ? 0 : -EINVAL;
	}
	if (!rq->call || !cfs_msg_is_set(m, bulk_len) || m->bulk_len < len)
		return -EINVAL;
	*data = cfs_net_call_bulk(rq->call);
	if (*data)
		return 0;
	rc = cfs_buf_get(in + len, buf);
	if (rc < 0)
		return rc;
	*data = (*buf)->data + in;
	return cfs_net_pull(rq->call, 0, (*buf)->data + in, len);
}

CFS_AWAITS int cfs_data_serve_write(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_chunk_write w = {
		.ino = m->ino,
		.cut = m->cut,
		.chunk = m->chunk,
		.off_bytes = (uint32_t)m->off,
		.len_bytes = (uint32_t)m->len,
	};
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_buf *buf = NULL;
	struct cfs_items it;
	uint32_t dep_count;
	int rc = cfs_data_cut_check(d, rq);

	if (rc < 0)
		return rc;
	if (m->len == 0 || m->len > CFS_CHUNK_BYTES || m->off > CFS_CHUNK_BYTES - m->len)
		return -EINVAL;
	rc = cfs_shard_deps(d->shard, m, deps, &dep_count);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(m, crcs)) {
		w.crcs = m->crcs.p;
		w.crc_count = m->crcs.len / 4;
	}
	rc = payload(rq, w.off_bytes, w.len_bytes, &w.data, &buf);
	if (rc == 0)
		rc = cfs_data_write_begin(d, &w);
	if (rc != 0) {
		cfs_buf_put(buf);
		return rc == -CFS_EOLD_CUT ? cfs_data_cut_check(d, rq) : rc;
	}
	cfs_shard_items(d->shard, &it);
	rc = cfs_shard_has_ended(d->shard, m->sess) ? -CFS_ENO_SESSION
						    : cfs_data_write_items(d, &w, &it);
	if (rc == 0) {
		cfs_msg_set(&rq->reply, len, m->len);
		cfs_msg_set(&rq->reply, blocks, w.blocks);
		cfs_shard_commit(d->shard, &it, deps, dep_count, rq);
	} else {
		cfs_data_cut_check(d, rq);
	}
	cfs_data_write_end(d, &w);
	cfs_buf_put(buf);
	return rc;
}
