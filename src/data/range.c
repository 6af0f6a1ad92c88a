/* Requests about ranges of a file, as far as its chunks are in this shard: zeroing, and looking for
 * data and holes. Their cost is that of the chunks that are there, however long the range. */
#include <errno.h>
#include <unistd.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "data/data_internal.h"
#include "proto/place.h"

static int range_of(const struct cfs_msg *m, struct cfs_chunk_range *r)
{
	if (m->len == 0 || m->off >= CFS_FILE_BYTES_MAX || m->len > CFS_FILE_BYTES_MAX - m->off)
		return -EINVAL;
	*r = (struct cfs_chunk_range){ .off = m->off, .end = m->off + m->len };
	return 0;
}

/* By how many blocks the file shrinks when the range reads as zeros. @any: there is something. */
static int64_t zero_blocks(const struct cfs_file_chunks *f, struct cfs_chunk_range r, bool *any)
{
	const struct cfs_chunk *c;
	int64_t gone = 0;

	*any = false;
	while (f && (c = cfs_chunk_range_next(f, &r))) {
		uint32_t first = r.in_off / CFS_BLOCK_BYTES;
		uint32_t last = (r.in_off + r.in_len - 1) / CFS_BLOCK_BYTES;

		gone += cfs_chunk_present(c, first, last - first + 1);
		gone -= cfs_chunk_present_after_zero(c, r.in_off, r.in_len);
		*any = true;
	}
	return gone;
}

CFS_AWAITS int cfs_data_serve_zero(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_chunk_range r;
	struct cfs_items it;
	int64_t gone;
	bool any;
	int rc = range_of(m, &r);

	if (rc == 0)
		rc = cfs_shard_reserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	if (rc < 0)
		return rc;
	rc = cfs_data_cut_check(d, rq);
	if (rc == 0) {
		gone = zero_blocks(cfs_file_chunks_find(&d->table, m->ino), r, &any);
		cfs_msg_set(&rq->reply, blocks, -gone * (int64_t)(CFS_BLOCK_BYTES / 512));
		if (any) { /* else there is nothing to say, and nothing to keep */
			uint64_t chunk = r.off / CFS_CHUNK_BYTES;

			cfs_shard_items(d->shard, &it);
			if (chunk == (r.end - 1) / CFS_CHUNK_BYTES)
				cfs_data_add_zero(&it, m->ino, chunk,
						  (uint32_t)(r.off % CFS_CHUNK_BYTES),
						  (uint32_t)m->len);
			else
				cfs_data_add_punch(&it, m->ino, r.off, r.end);
			cfs_shard_commit(d->shard, &it, NULL, 0, rq);
		}
	}
	cfs_shard_unreserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	return rc;
}

/* The first block of @count from @block on that is there, or is not; @block + @count: none. */
static uint32_t block_find(const struct cfs_chunk *c, uint32_t block, uint32_t count, bool is_there)
{
	uint32_t end = block + count;

	/* The usual answers: all is there, or nothing is. */
	if (cfs_chunk_present(c, block, count) == (is_there ? 0 : count))
		return end;
	while (block < end && (cfs_chunk_present(c, block, 1) == 1) != is_there)
		block++;
	return block;
}

/* In the part of chunk number @chunk that is in @r. True: found, *off_out is of the file. */
static bool seek_in(const struct cfs_chunk *c, uint64_t chunk, const struct cfs_chunk_range *r,
		    bool is_data, uint64_t *off_out)
{
	uint64_t base = chunk * CFS_CHUNK_BYTES, at;
	uint32_t first = (uint32_t)(CFS_MAX(r->off, base) - base) / CFS_BLOCK_BYTES;
	uint32_t end =
		(uint32_t)((CFS_MIN(r->end, base + CFS_CHUNK_BYTES) - base - 1) / CFS_BLOCK_BYTES) +
		1;

	at = base + (uint64_t)block_find(c, first, end - first, is_data) * CFS_BLOCK_BYTES;
	*off_out = CFS_MAX(r->off, at);
	return at < base + (uint64_t)end * CFS_BLOCK_BYTES;
}

static int seek_data(const struct cfs_file_chunks *f, const struct cfs_chunk_range *r,
		     uint64_t *off_out)
{
	struct cfs_chunk_range left = *r;
	const struct cfs_chunk *c;

	if (CFS_BREAK(SEEK_DATA)) {
		*off_out = r->off;
		return 0;
	}
	while (f && (c = cfs_chunk_range_next(f, &left)))
		if (seek_in(c, c->chunk, r, true, off_out))
			return 0;
	return -ENXIO;
}

static int seek_hole(const struct cfs_data *d, const struct cfs_msg *m,
		     const struct cfs_chunk_range *r, uint64_t *off_out)
{
	uint64_t last = (r->end - 1) / CFS_CHUNK_BYTES;
	uint32_t shards = d->shard->env->shards;

	for (uint64_t k = r->off / CFS_CHUNK_BYTES; k <= last && !CFS_BREAK(SEEK_HOLE); k++) {
		if (cfs_chunk_shard(m->ino, m->seed, k, shards) != d->shard->id)
			continue;
		if (seek_in(cfs_chunk_find(&d->table, m->ino, k), k, r, false, off_out))
			return 0;
	}
	return -ENXIO;
}

int cfs_data_serve_seek(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_chunk_range r;
	uint64_t off;
	int rc = cfs_data_cut_check(d, rq);

	if (rc == 0)
		rc = range_of(m, &r);
	if (rc < 0)
		return rc;
	if (m->whence == SEEK_DATA)
		rc = seek_data(cfs_file_chunks_find(&d->table, m->ino), &r, &off);
	else if (m->whence == SEEK_HOLE &&
		 (r.end - 1) / CFS_CHUNK_BYTES - r.off / CFS_CHUNK_BYTES < CFS_SEEK_CHUNKS_MAX)
		rc = seek_hole(d, m, &r, &off);
	else
		rc = -EINVAL;
	if (rc == 0)
		cfs_msg_set(&rq->reply, off, off);
	return rc;
}
