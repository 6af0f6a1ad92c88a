/*
 * Copies within the file system.
 *
 * At equal offsets the shard of the inode that changes is asked to share blocks (COPY). What cannot
 * be shared (other offsets, chunks on other shards) is read and written here, a chunk at a time.
 * Holes of a chunk or more are not read but made, in both cases, so a copy costs what is there.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "client/client_internal.h"

#define COPIED_MAX \
	(16u * 1024 * 1024)     /* read and written for one call; the rest is asked for again */
#define FALLOC_ZERO_RANGE 0x10u /* linux/falloc.h */

struct copy {
	struct cfs_client_op *op;
	struct cfs_client_file *from, *to;
	uint64_t from_off, to_off, end; /* what is left: end is of @from */
	uint64_t copied;
	bool may_share;
	struct cfs_buf *buf;
};

static void step(struct copy *c, uint64_t len)
{
	c->from_off += len;
	c->to_off += len;
}

static CFS_AWAITS int share(struct copy *c)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_client *client = c->op->client;
	struct cfs_attr attr;
	struct cfs_msg req;
	int rc;

	cfs_client_request(&req, CFS_OP_COPY, c->to->ino);
	cfs_msg_set(&req, ino2, c->from->ino);
	cfs_msg_set(&req, off, c->from_off);
	cfs_msg_set(&req, len, c->end - c->from_off);
	cfs_msg_set(&req, seed, c->from->seed);
	cfs_msg_set(&req, cut2, c->from->cut);
	if (c->op->uid != 0)
		cfs_msg_set(&req, flags, CFS_F_KILLPRIV);
	rc = cfs_client_call(c->op, cfs_ino_home(c->to->ino), &req, &reply);
	if (rc < 0)
		return rc;
	if (cfs_client_reply_attr(&reply, &attr) < 0 || reply.msg.len == 0 ||
	    reply.msg.len > c->end - c->from_off)
		return -EIO;
	cfs_client_learn_change(client, &attr, &reply.msg);
	step(c, reply.msg.len);
	return 0;
}

/* One piece that ends with a chunk of the target at the latest. */
static CFS_AWAITS int read_and_write(struct copy *c)
{
	uint64_t room = CFS_CHUNK_BYTES - c->to_off % CFS_CHUNK_BYTES;
	struct cfs_client_bytes bytes;
	struct cfs_client_write w = {
		.off_bytes = c->to_off,
		.flags = c->op->uid != 0 ? CFS_F_KILLPRIV : 0,
	};
	int rc = c->buf ? 0 : cfs_buf_get(CFS_IO_BYTES_MAX, &c->buf);

	if (rc == 0)
		rc = cfs_client_read(c->op, c->from->ino, c->from_off,
				     (uint32_t)CFS_MIN(room, c->end - c->from_off), c->buf->data,
				     &bytes);
	if (rc < 0)
		return rc;
	w.data = (void *)(uintptr_t)bytes.p;
	w.len_bytes = bytes.len_bytes;
	if (w.len_bytes == 0) /* it was cut meanwhile */
		c->end = c->from_off;
	else
		rc = cfs_client_write(c->op, c->to->ino, &w, NULL);
	if (rc == 0)
		step(c, w.len_bytes);
	c->copied += w.len_bytes;
	cfs_client_bytes_fini(&bytes);
	return rc;
}

/* Makes a hole of what is one in the source, if whole chunks of the target lie in it. */
static CFS_AWAITS int skip_hole(struct copy *c, uint64_t *len_out)
{
	uint64_t data, len;
	int rc = cfs_client_seek(c->op, c->from->ino, c->from_off, SEEK_DATA, &data);

	if (rc == -ENXIO) /* or it ends before */
		data = c->end;
	else if (rc < 0)
		return rc;
	len = CFS_MIN(data, c->end) - c->from_off;
	*len_out = 0;
	/* To the end, or to the last border of a chunk before data. */
	if (c->from_off + len < c->end)
		len = len < (c->to_off + len) % CFS_CHUNK_BYTES
			      ? 0
			      : len - (c->to_off + len) % CFS_CHUNK_BYTES;
	if (len == 0)
		return 0;
	rc = cfs_client_fallocate(c->op, c->to->ino, FALLOC_ZERO_RANGE, c->to_off, len);
	if (rc == 0)
		*len_out = len;
	return rc;
}

static CFS_AWAITS int copy_some(struct copy *c)
{
	uint64_t hole = 0;
	int rc = c->op->is_interrupted ? -EINTR : skip_hole(c, &hole);

	if (rc < 0 || hole > 0) {
		step(c, hole);
		return rc;
	}
	if (c->may_share) {
		rc = share(c);
		if (rc != -EXDEV)
			return rc;
		/* Chunk 0 may lie elsewhere, and the others not. */
		c->may_share = c->from_off < CFS_CHUNK_BYTES;
	}
	return read_and_write(c);
}

static CFS_AWAITS int copy_file(struct copy *c, uint64_t len_bytes)
{
	uint64_t first = c->from_off;
	int rc = cfs_client_file_refresh(c->op, c->from, true);

	if (rc == 0)
		rc = cfs_client_file_refresh(c->op, c->to, false);
	if (rc < 0)
		return rc;
	c->end = first + CFS_MIN(len_bytes, c->from->size > first ? c->from->size - first : 0);
	c->may_share = c->from_off == c->to_off;
	for (uint32_t tries = 0; c->from_off < c->end && c->copied < COPIED_MAX;) {
		rc = copy_some(c);
		if (rc == -CFS_EOLD_CUT && ++tries < CFS_CLIENT_CUT_TRIES) {
			c->op->client->stats.old_cuts++;
			rc = cfs_client_file_refresh(c->op, c->from, true);
			c->end = CFS_MIN(c->end, CFS_MAX(c->from->size, c->from_off));
		}
		if (rc < 0)
			break;
	}
	/* A beginning that is there is an answer. */
	return rc < 0 && c->from_off == first ? rc : 0;
}

int cfs_client_copy(struct cfs_client_op *op, const struct cfs_client_copy *how, uint64_t *done_out)
{
	struct copy c = { .op = op, .from_off = how->from_off, .to_off = how->to_off };
	int rc;

	if (how->from_off > CFS_FILE_BYTES_MAX || how->to_off > CFS_FILE_BYTES_MAX ||
	    how->len_bytes > CFS_FILE_BYTES_MAX - how->from_off)
		return -EINVAL;
	if (how->len_bytes > CFS_FILE_BYTES_MAX - how->to_off)
		return -EFBIG;
	if (how->from == how->to && how->from_off < how->to_off + how->len_bytes &&
	    how->to_off < how->from_off + how->len_bytes)
		return -EINVAL;
	rc = cfs_client_file_get(op->client, how->from, &c.from);
	if (rc < 0)
		return rc;
	rc = cfs_client_file_get(op->client, how->to, &c.to);
	if (rc == 0) {
		rc = copy_file(&c, how->len_bytes);
		cfs_client_file_put(op->client, c.to);
	}
	cfs_client_file_put(op->client, c.from);
	cfs_buf_put(c.buf);
	if (rc == 0)
		*done_out = c.from_off - how->from_off;
	return rc;
}
