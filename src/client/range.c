/*
 * Ranges of a file: allocation, and looking for data and holes.
 *
 * The shard of the chunk at the offset is asked first: usually the answer is there. Then all shards
 * that may have chunks behind it, side by side, once for data; for holes once for each
 * CFS_SEEK_CHUNKS_MAX chunks, as what is not there cannot be listed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "client/client_internal.h"

#define SEEKS_MAX 16u   /* at a time */
#define EVERYWHERE 8ull /* chunks a shard, from which on a range is taken to be in all of them */

int cfs_client_fallocate(struct cfs_client_op *op, uint64_t ino, uint32_t mode, uint64_t off_bytes,
			 uint64_t len_bytes)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_attr attr;
	struct cfs_msg req;
	int rc;

	if (len_bytes == 0)
		return -EINVAL;
	if (off_bytes > CFS_FILE_BYTES_MAX || len_bytes > CFS_FILE_BYTES_MAX - off_bytes)
		return -EFBIG;
	cfs_client_request(&req, CFS_OP_FALLOCATE, ino);
	cfs_msg_set(&req, off, off_bytes);
	cfs_msg_set(&req, len, len_bytes);
	cfs_msg_set(&req, mode, mode);
	/* The kernel leaves that to us, and says nothing of capabilities. */
	if (op->uid != 0)
		cfs_msg_set(&req, flags, CFS_F_KILLPRIV);
	rc = cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
	if (rc == 0 && cfs_client_reply_attr(&reply, &attr) == 0)
		cfs_client_learn_change(op->client, &attr, &reply.msg);
	return rc;
}

/* One round of questions. */
struct seek {
	struct cfs_client_op *op;
	const struct cfs_client_file *f;
	uint64_t off, end, found; /* found: at or past end: nothing yet */
	uint64_t cut;
	uint64_t *shards; /* a bit each */
	uint32_t next, whence;
	int rc;
};

static CFS_AWAITS int seek_shard(struct seek *s, uint32_t shard)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	uint64_t end = CFS_MIN(s->end, s->found);
	struct cfs_msg req;
	int rc;

	if (end <= s->off)
		return 0; /* what another has found cannot be beaten */
	cfs_client_request(&req, CFS_OP_CHUNK_SEEK, s->f->ino);
	cfs_msg_set(&req, off, s->off);
	cfs_msg_set(&req, len, end - s->off);
	cfs_msg_set(&req, whence, s->whence);
	cfs_msg_set(&req, cut, s->cut);
	cfs_msg_set(&req, seed, s->f->seed);
	rc = cfs_client_call(s->op, shard, &req, &reply);
	if (rc == 0 && cfs_msg_is_set(&reply.msg, off) && reply.msg.off >= s->off)
		s->found = CFS_MIN(s->found, reply.msg.off);
	return rc == -ENXIO ? 0 : rc;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void seek_run(void *arg)
{
	struct seek *s = arg;
	uint32_t shards = s->op->client->map.shards;

	while (s->rc == 0 && s->next < shards) {
		uint32_t k = s->next++;
		int rc;

		if (!(s->shards[k / 64] >> (k % 64) & 1))
			continue;
		rc = s->op->is_interrupted ? -EINTR : seek_shard(s, k);
		if (rc < 0 && s->rc == 0)
			s->rc = rc;
	}
}

/* Which shards may have chunks of the range, as bits; their number. */
static uint32_t seek_shards(struct seek *s)
{
	uint32_t shards = s->op->client->map.shards, count = 0;
	uint64_t first = s->off / CFS_CHUNK_BYTES, last = (s->end - 1) / CFS_CHUNK_BYTES;
	bool is_all = last - first >= EVERYWHERE * shards;

	for (uint64_t c = 0; c < (is_all ? shards : last - first + 1); c++) {
		uint32_t k = is_all ? (uint32_t)c
				    : cfs_chunk_shard(s->f->ino, s->f->seed, first + c, shards);

		count += !(s->shards[k / 64] >> (k % 64) & 1);
		s->shards[k / 64] |= 1ull << (k % 64);
	}
	return count;
}

/* Asks all shards that may have chunks of [s->off, s->end). */
static CFS_AWAITS int seek_all(struct seek *s)
{
	uint32_t shards = s->op->client->map.shards, count;
	struct cfs_group group;

	s->shards = calloc((shards + 63) / 64, sizeof(uint64_t));
	if (!s->shards)
		return -ENOMEM;
	count = seek_shards(s);
	cfs_group_init(&group);
	for (uint32_t k = 1; k < CFS_MIN(count, SEEKS_MAX); k++)
		if (cfs_group_start(&group, seek_run, s) < 0)
			break;
	seek_run(s);
	cfs_group_join(&group);
	free(s->shards);
	s->shards = NULL;
	return s->rc;
}

static CFS_AWAITS int seek_by_hint(struct cfs_client_op *op, struct cfs_client_file *f,
				   uint64_t off_bytes, uint32_t whence, uint64_t *off_out)
{
	const uint64_t window = (uint64_t)(CFS_SEEK_CHUNKS_MAX - 1) * CFS_CHUNK_BYTES;
	uint64_t size = f->size, chunk = off_bytes / CFS_CHUNK_BYTES;
	struct seek s = {
		.op = op,
		.f = f,
		.off = off_bytes,
		.end = CFS_MIN(size, (chunk + 1) * CFS_CHUNK_BYTES),
		.found = UINT64_MAX,
		.cut = f->cut,
		.whence = whence,
	};
	int rc = seek_shard(&s, cfs_chunk_shard(f->ino, f->seed, chunk, op->client->map.shards));

	while (rc == 0 && s.found >= s.end && s.end < size) {
		s.off = s.end;
		s.end = whence == SEEK_HOLE ? CFS_MIN(size, s.off + window) : size;
		s.next = 0;
		rc = seek_all(&s);
	}
	if (rc < 0)
		return rc;
	if (s.found >= s.end) {
		/* The end of a file is a hole. */
		if (whence == SEEK_DATA)
			return -ENXIO;
		s.found = size;
	}
	*off_out = s.found;
	return 0;
}

static CFS_AWAITS int seek_file(struct cfs_client_op *op, struct cfs_client_file *f,
				uint64_t off_bytes, uint32_t whence, uint64_t *off_out)
{
	for (uint32_t i = 0; i < CFS_CLIENT_CUT_TRIES; i++) {
		int rc = cfs_client_file_refresh(op, f, false);

		if (rc < 0)
			return rc;
		if (off_bytes >= f->size)
			return -ENXIO;
		rc = seek_by_hint(op, f, off_bytes, whence, off_out);
		if (rc != -CFS_EOLD_CUT)
			return rc;
		f->has_hint = false;
	}
	return -EIO;
}

int cfs_client_seek(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes, uint32_t whence,
		    uint64_t *off_out)
{
	struct cfs_client_file *f;
	int rc;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	rc = cfs_client_file_get(op->client, ino, &f);
	if (rc < 0)
		return rc;
	rc = seek_file(op, f, off_bytes, whence, off_out);
	cfs_client_file_put(op->client, f);
	return rc;
}
