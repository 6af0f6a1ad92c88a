/*
 * Reading and writing.
 *
 * A file is chunks, chunk 0 on the inode's shard, the others where cfs_chunk_shard() says. The
 * client knows size and cut of an open file as a hint. What lies inside the hinted size goes
 * straight to the chunks' shards, with the cut: a shard that took part in a later truncate has a
 * newer cut and refuses (-CFS_EOLD_CUT), then the attributes are read again. So a hint may be
 * wrong, and no byte is ever read or written by it that truncates or grows did not allow.
 *
 *   read:  inside the hint: CHUNK_READ for each chunk, side by side. Past it: GETATTR first.
 *   write: inside the hint, all in chunk 0: WRITE to the inode's shard. Inside, elsewhere:
 * CHUNK_WRITE for each chunk side by side, then WROTE to the inode's shard (times, blocks), which
 * rests on their records. Growing or appending: WRITE to the inode's shard, which has the chunks
 * written before it moves the size.
 *
 * Payload of CFS_INLINE_BYTES_MAX and more is named as a bulk region and moved by the server. A
 * CRC32C for each whole block goes along in both directions: made here before a write leaves,
 * checked here when a read has come.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "client/client_internal.h"

int cfs_client_file_open(struct cfs_client_op *op, uint64_t ino, uint32_t flags,
			 struct cfs_attr *attr_out)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_client *c = op->client;
	struct cfs_client_file *f;
	struct cfs_msg req;
	int rc = cfs_client_file_get(c, ino, &f);

	if (rc < 0)
		return rc;
	if ((flags & CFS_F_WRITE) && c->let_go)
		c->let_go(c->recall_ctx, op, ino);
	cfs_client_request(&req, CFS_OP_OPEN, ino);
	if (flags != 0)
		cfs_msg_set(&req, flags, flags & CFS_CLIENT_OPEN_FLAGS);
	rc = cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
	if (rc == 0)
		rc = cfs_client_reply_attr(&reply, attr_out);
	if (rc < 0) {
		cfs_client_file_put(c, f);
		return rc;
	}
	f->opens++;
	f->writes += (flags & CFS_F_WRITE) != 0;
	cfs_client_file_learn_attr(f, attr_out);
	cfs_client_file_grew(f, CFS_CHUNK_BYTES, &reply.msg);
	return 0;
}

int cfs_client_release(struct cfs_client_op *op, uint64_t ino, uint32_t flags)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_client_file *f = cfs_client_file_find(op->client, ino);
	struct cfs_msg req;

	if (!f || f->opens == 0)
		return -EBADF;
	cfs_client_request(&req, CFS_OP_RELEASE, ino);
	flags &= CFS_F_WRITE;
	if (f->is_read_unsaid)
		flags |= CFS_F_ATIME;
	if (flags != 0)
		cfs_msg_set(&req, flags, flags);
	f->is_read_unsaid = false;
	f->opens--;
	if ((flags & CFS_F_WRITE) && f->writes > 0)
		f->writes--;
	cfs_client_file_put(op->client, f);
	return cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
}

/* Learns, as @f is in the table. */
CFS_AWAITS int cfs_client_file_refresh(struct cfs_client_op *op, struct cfs_client_file *f,
				       bool is_for_read)
{
	struct cfs_attr attr;
	int rc = is_for_read ? cfs_client_getattr_read(op, f->ino, &attr)
			     : cfs_client_getattr(op, f->ino, &attr);

	if (rc == 0 && !S_ISREG(attr.mode))
		rc = S_ISDIR(attr.mode) ? -EISDIR : -EINVAL;
	return rc;
}

/* --- pieces --- */

static struct cfs_client_piece *piece_get(struct cfs_client *c)
{
	struct cfs_list *n = cfs_list_pop(&c->pieces_free);
	struct cfs_client_piece *p = n ? cfs_list_entry(n, struct cfs_client_piece, link)
				       : malloc(sizeof(*p));

	if (!p)
		return NULL;
	cfs_list_init(&p->link);
	memset(&p->reply, 0, sizeof(p->reply));
	return p;
}

static void piece_put(struct cfs_client *c, struct cfs_client_piece *p)
{
	if (!p)
		return;
	cfs_net_reply_fini(&p->reply);
	cfs_list_push(&c->pieces_free, &p->link);
}

static void pieces_put(struct cfs_client *c, struct cfs_client_piece **pieces, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		piece_put(c, pieces[i]);
}

/* The range as chunks. Returns their number; -ENOMEM. */
static int pieces_cut(struct cfs_client_op *op, struct cfs_client_file *f, uint64_t off_bytes,
		      uint32_t len_bytes, uint8_t *data,
		      struct cfs_client_piece *pieces[CFS_CLIENT_PIECES_MAX])
{
	struct cfs_client *c = op->client;
	uint32_t count = 0;

	while (len_bytes > 0) {
		uint32_t in_chunk = (uint32_t)(off_bytes % CFS_CHUNK_BYTES);
		uint32_t step = CFS_MIN(len_bytes, CFS_CHUNK_BYTES - in_chunk);
		struct cfs_client_piece *p;

		cfs_assert(count < CFS_CLIENT_PIECES_MAX);
		p = piece_get(c);
		if (!p) {
			pieces_put(c, pieces, count);
			return -ENOMEM;
		}
		p->op = op;
		p->file = f;
		p->cut = f->cut;
		p->chunk = off_bytes / CFS_CHUNK_BYTES;
		p->shard = cfs_chunk_shard(f->ino, f->seed, p->chunk, c->map.shards);
		p->off_bytes = in_chunk;
		p->len_bytes = step;
		p->data = data;
		p->rc = 0;
		pieces[count++] = p;
		data += step;
		off_bytes += step;
		len_bytes -= step;
	}
	return (int)count;
}

/* Runs @fn for each piece, side by side. Returns the first error. */
static CFS_AWAITS int pieces_run(struct cfs_client_piece **pieces, uint32_t count, cfs_fiber_fn fn)
{
	struct cfs_group group;
	int rc = 0;

	if (count > 1)
		cfs_group_init(&group);
	for (uint32_t i = 1; i < count; i++) {
		int start_rc = cfs_group_start(&group, fn, pieces[i]);

		if (start_rc < 0)
			pieces[i]->rc = start_rc;
	}
	fn(pieces[0]);
	if (count > 1)
		cfs_group_join(&group);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = pieces[i]->rc;
	return rc;
}

static bool is_bulk(uint32_t len_bytes)
{
	return len_bytes >= CFS_INLINE_BYTES_MAX;
}

/* Offset of the first whole block in @len_bytes at @off_bytes, and the number of whole blocks. */
static uint32_t whole_blocks(uint64_t off_bytes, uint32_t len_bytes, uint32_t *first_out)
{
	uint32_t first = (uint32_t)(cfs_round_up(off_bytes, CFS_BLOCK_BYTES) - off_bytes);

	*first_out = first;
	return first >= len_bytes ? 0 : (len_bytes - first) / CFS_BLOCK_BYTES;
}

static uint32_t crcs_make(uint64_t off_bytes, const uint8_t *data, uint32_t len_bytes,
			  uint8_t *crcs_out)
{
	uint32_t first;
	uint32_t blocks = whole_blocks(off_bytes, len_bytes, &first);

	for (uint32_t i = 0; i < blocks; i++) {
		cfs_le32 crc = cfs_to_le32(
			cfs_crc32c(0, data + first + (size_t)i * CFS_BLOCK_BYTES, CFS_BLOCK_BYTES));

		memcpy(crcs_out + i * 4, &crc, 4);
	}
	return blocks * 4;
}

static int crcs_check(uint64_t off_bytes, const uint8_t *data, uint32_t len_bytes,
		      struct cfs_bytes crcs)
{
	uint32_t first;
	uint32_t blocks = whole_blocks(off_bytes, len_bytes, &first);

	if (crcs.len != blocks * 4)
		return -CFS_EBAD_CHECKSUM;
	for (uint32_t i = 0; i < blocks; i++) {
		cfs_le32 crc = cfs_to_le32(
			cfs_crc32c(0, data + first + (size_t)i * CFS_BLOCK_BYTES, CFS_BLOCK_BYTES));

		if (memcmp(crcs.p + i * 4, &crc, 4) != 0)
			return -CFS_EBAD_CHECKSUM;
	}
	return 0;
}

static CFS_AWAITS int call_with_bulk(struct cfs_client_op *op, uint32_t shard, struct cfs_msg *req,
				     void *mem, uint32_t len_bytes, struct cfs_net_reply *out)
{
	struct cfs_net_region region;
	int rc = cfs_net_region_open(op->client->net, mem, len_bytes, &region);

	if (rc < 0)
		return rc;
	cfs_net_region_set(req, &region);
	rc = cfs_client_call(op, shard, req, out);
	cfs_net_region_close(op->client->net, &region);
	return rc;
}

/* --- read --- */

/* How many bytes the answer is; the rest of the piece is a hole. -EIO: it contradicts itself. */
static int64_t piece_got(const struct cfs_client_piece *p)
{
	const struct cfs_msg *m = &p->reply.msg;
	uint64_t got = is_bulk(p->len_bytes) ? m->len : m->data.len;

	if (got > p->len_bytes)
		return -EIO;
	return (int64_t)got;
}

static CFS_AWAITS int piece_read_once(struct cfs_client_piece *p)
{
	struct cfs_msg *req = &p->req;
	const struct cfs_msg *m = &p->reply.msg;
	int64_t got;
	int rc;

	cfs_net_reply_fini(&p->reply);
	memset(&p->reply, 0, sizeof(p->reply));
	cfs_client_request(req, CFS_OP_CHUNK_READ, p->file->ino);
	cfs_msg_set(req, chunk, p->chunk);
	cfs_msg_set(req, off, p->off_bytes);
	cfs_msg_set(req, len, p->len_bytes);
	cfs_msg_set(req, cut, p->cut);
	if (!p->op->keeps_atime && p->shard == cfs_ino_home(p->file->ino))
		cfs_msg_set(req, flags, CFS_F_ATIME);
	if (is_bulk(p->len_bytes))
		rc = call_with_bulk(p->op, p->shard, req, p->data, p->len_bytes, &p->reply);
	else
		rc = cfs_client_call(p->op, p->shard, req, &p->reply);
	if (rc < 0)
		return rc;
	got = piece_got(p);
	if (got < 0)
		return (int)got;
	if (is_bulk(p->len_bytes))
		memset(p->data + got, 0, p->len_bytes - (size_t)got);
	return crcs_check(p->off_bytes, is_bulk(p->len_bytes) ? p->data : m->data.p, (uint32_t)got,
			  m->crcs);
}

static CFS_AWAITS void piece_read(void *arg)
{
	struct cfs_client_piece *p = arg;

	for (uint32_t i = 0; i < CFS_CLIENT_CRC_TRIES; i++) {
		p->rc = piece_read_once(p);
		if (p->rc != -CFS_EBAD_CHECKSUM)
			return;
		p->op->client->stats.bad_checksums++;
	}
	cfs_err("read does not match its checksum", "ino=%llx chunk=%llu off=%u",
		(unsigned long long)p->file->ino, (unsigned long long)p->chunk, p->off_bytes);
	p->rc = -EIO;
}

/* Whole and in the reply: then it need not be copied. */
static bool is_whole_inline(const struct cfs_client_piece *p)
{
	return !is_bulk(p->len_bytes) && p->reply.msg.data.len == p->len_bytes;
}

static void pieces_gather(struct cfs_client_piece **pieces, uint32_t count, void *buf,
			  uint32_t len_bytes, struct cfs_client_bytes *out)
{
	out->len_bytes = len_bytes;
	if (count == 1 && is_whole_inline(pieces[0])) {
		out->reply = pieces[0]->reply;
		out->p = out->reply.msg.data.p;
		memset(&pieces[0]->reply, 0, sizeof(pieces[0]->reply));
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_client_piece *p = pieces[i];
		uint32_t got = p->reply.msg.data.len;

		if (is_bulk(p->len_bytes))
			continue;
		if (got > 0)
			memcpy(p->data, p->reply.msg.data.p, got);
		memset(p->data + got, 0, p->len_bytes - got);
	}
	out->p = buf;
}

/* *@is_told: the inode's shard took part, and knows that the file was read. */
static CFS_AWAITS int read_by_hint(struct cfs_client_op *op, struct cfs_client_file *f,
				   uint64_t off_bytes, uint32_t len_bytes, void *buf,
				   struct cfs_client_bytes *out, bool *is_told)
{
	struct cfs_client_piece *pieces[CFS_CLIENT_PIECES_MAX];
	int count = pieces_cut(op, f, off_bytes, len_bytes, buf, pieces);
	int rc;

	if (count < 0)
		return count;
	for (int i = 0; i < count; i++)
		*is_told |= pieces[i]->shard == cfs_ino_home(f->ino);
	rc = pieces_run(pieces, (uint32_t)count, piece_read);
	if (rc == 0)
		pieces_gather(pieces, (uint32_t)count, buf, len_bytes, out);
	pieces_put(op->client, pieces, (uint32_t)count);
	return rc;
}

/*
 * What was read lay in other shards than the inode's. Its shard is told now if by the times last
 * heard of that changes atime; else when the file is closed, as somebody else may have changed it.
 */
static CFS_AWAITS void tell_read(struct cfs_client_op *op, struct cfs_client_file *f)
{
	const struct cfs_attr known = {
		.atime = f->atime,
		.mtime = f->changed,
		.ctime = f->changed,
	};

	/* A read does not fail for it: then it is tried again. */
	if (!cfs_attr_atime_is_due(&known, (int64_t)cfs_wall_ns()) ||
	    cfs_client_file_refresh(op, f, true) < 0)
		f->is_read_unsaid = true;
}

static CFS_AWAITS int read_file(struct cfs_client_op *op, struct cfs_client_file *f,
				uint64_t off_bytes, uint32_t len_bytes, void *buf,
				struct cfs_client_bytes *out)
{
	bool is_told = false;

	for (uint32_t i = 0; i < CFS_CLIENT_CUT_TRIES; i++) {
		uint64_t size;
		int rc;

		/* Past the hint the file may have grown: ask, so that no end is seen that has
		 * moved. */
		if (!f->has_hint || (off_bytes + len_bytes > f->size && !CFS_BREAK(OLD_SIZE))) {
			rc = cfs_client_file_refresh(op, f, true);
			if (rc < 0)
				return rc;
			is_told = true;
		}
		size = f->size;
		if (off_bytes >= size)
			return 0;
		if (CFS_BREAK(READ_PAST_END))
			size = UINT64_MAX;
		rc = read_by_hint(op, f, off_bytes,
				  (uint32_t)CFS_MIN((uint64_t)len_bytes, size - off_bytes), buf,
				  out, &is_told);
		if (rc == 0 && !is_told && !op->keeps_atime)
			tell_read(op, f);
		if (rc != -CFS_EOLD_CUT)
			return rc;
		op->client->stats.old_cuts++;
		f->has_hint = false;
	}
	return -EIO;
}

int cfs_client_read(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes, uint32_t len_bytes,
		    void *buf, struct cfs_client_bytes *out)
{
	struct cfs_client_file *f;
	int rc;

	memset(out, 0, sizeof(*out));
	out->p = buf;
	if (len_bytes > CFS_IO_BYTES_MAX || off_bytes > CFS_FILE_BYTES_MAX)
		return -EINVAL;
	if (len_bytes == 0)
		return 0;
	rc = cfs_client_file_get(op->client, ino, &f);
	if (rc < 0)
		return rc;
	rc = read_file(op, f, off_bytes, len_bytes, buf, out);
	cfs_client_file_put(op->client, f);
	return rc;
}

/* --- write --- */

static void learn_from_reply(struct cfs_client_file *f, const struct cfs_msg *m)
{
	uint64_t old_size = f->size;

	/* With another cut it may have another seed. */
	if (!f->has_hint || !cfs_msg_is_set(m, size) || !cfs_msg_is_set(m, cut) ||
	    !cfs_msg_is_set(m, seed))
		return;
	cfs_client_file_learn(f, m->size, m->cut, m->seed);
	cfs_client_file_grew(f, old_size, m);
	if (cfs_msg_is_set(m, mtime))
		f->changed = CFS_MAX(f->changed, m->mtime);
}

/* The inode's shard does it all. */
static CFS_AWAITS int write_at_home(struct cfs_client_op *op, struct cfs_client_file *f,
				    const struct cfs_client_write *w, struct cfs_client_piece *p,
				    uint64_t *off_out)
{
	struct cfs_msg *req = &p->req;
	uint32_t shard = cfs_ino_home(f->ino);
	uint32_t crc_bytes;
	int rc;

	cfs_client_request(req, CFS_OP_WRITE, f->ino);
	cfs_msg_set(req, off, w->flags & CFS_F_APPEND ? 0 : w->off_bytes);
	cfs_msg_set(req, len, w->len_bytes);
	cfs_msg_set(req, flags, w->flags & (CFS_F_APPEND | CFS_F_KILLPRIV | CFS_F_INSIDE));
	/* Where an append goes, and so which of its blocks are whole, only the shard knows. */
	if (!(w->flags & CFS_F_APPEND)) {
		crc_bytes = crcs_make(w->off_bytes, w->data, w->len_bytes, p->crcs);
		if (crc_bytes > 0)
			cfs_msg_set_bytes(req, crcs, p->crcs, crc_bytes);
	}
	if (is_bulk(w->len_bytes)) {
		rc = call_with_bulk(op, shard, req, w->data, w->len_bytes, &p->reply);
	} else {
		cfs_msg_set_bytes(req, data, w->data, w->len_bytes);
		rc = cfs_client_call(op, shard, req, &p->reply);
	}
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&p->reply.msg, len) && p->reply.msg.len != w->len_bytes &&
	    !(w->flags & CFS_F_INSIDE))
		return -EIO;
	learn_from_reply(f, &p->reply.msg);
	*off_out = cfs_msg_is_set(&p->reply.msg, off) ? p->reply.msg.off : w->off_bytes;
	return 0;
}

static CFS_AWAITS int piece_write_once(struct cfs_client_piece *p)
{
	struct cfs_msg *req = &p->req;
	uint32_t crc_bytes = crcs_make(p->off_bytes, p->data, p->len_bytes, p->crcs);
	cfs_le64 dep[3];

	cfs_client_request(req, CFS_OP_CHUNK_WRITE, p->file->ino);
	cfs_msg_set(req, chunk, p->chunk);
	cfs_msg_set(req, off, p->off_bytes);
	cfs_msg_set(req, len, p->len_bytes);
	cfs_msg_set(req, cut, p->cut);
	if (crc_bytes > 0)
		cfs_msg_set_bytes(req, crcs, p->crcs, crc_bytes);
	if (p->shard != cfs_ino_home(p->file->ino) && cfs_now_ns() < p->file->grown_until_ns) {
		dep[0] = cfs_to_le64(cfs_ino_home(p->file->ino));
		dep[1] = cfs_to_le64(p->file->grown_epoch);
		dep[2] = cfs_to_le64(p->file->grown_index);
		cfs_msg_set_bytes(req, deps, (const uint8_t *)dep, sizeof(dep));
	}
	if (is_bulk(p->len_bytes))
		return call_with_bulk(p->op, p->shard, req, p->data, p->len_bytes, &p->reply);
	cfs_msg_set_bytes(req, data, p->data, p->len_bytes);
	return cfs_client_call(p->op, p->shard, req, &p->reply);
}

/* A server refuses what was damaged on its way: it is sent once more. */
static bool is_sent_again(struct cfs_client_piece *p, int rc, uint32_t tries)
{
	if (rc != -CFS_EBAD_CHECKSUM)
		return false;
	p->op->client->stats.bad_checksums++;
	cfs_net_reply_fini(&p->reply);
	memset(&p->reply, 0, sizeof(p->reply));
	return tries + 1 < CFS_CLIENT_CRC_TRIES;
}

static CFS_AWAITS void piece_write(void *arg)
{
	struct cfs_client_piece *p = arg;
	uint32_t tries = 0;

	do {
		p->rc = piece_write_once(p);
	} while (is_sent_again(p, p->rc, tries++));
}

/* Tells the inode's shard what the chunks did; its record rests on theirs. */
static CFS_AWAITS int tell_wrote(struct cfs_client_op *op, struct cfs_client_file *f,
				 struct cfs_client_piece **pieces, uint32_t count,
				 const struct cfs_client_write *w)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	cfs_le64 deps[CFS_CLIENT_PIECES_MAX * 3];
	uint32_t dep_count = 0;
	int64_t blocks = 0;
	struct cfs_msg req;
	int rc;

	for (uint32_t i = 0; i < count; i++) {
		const struct cfs_msg *m = &pieces[i]->reply.msg;

		if (pieces[i]->rc < 0)
			continue;
		if (cfs_msg_is_set(m, blocks))
			blocks += m->blocks;
		if (!cfs_msg_is_set(m, index))
			continue;
		deps[dep_count * 3] = cfs_to_le64(pieces[i]->shard);
		deps[dep_count * 3 + 1] = cfs_to_le64(m->epoch);
		deps[dep_count * 3 + 2] = cfs_to_le64(m->index);
		dep_count++;
	}
	cfs_client_request(&req, CFS_OP_WROTE, f->ino);
	cfs_msg_set(&req, off, w->off_bytes);
	cfs_msg_set(&req, len, w->len_bytes);
	cfs_msg_set(&req, blocks, blocks);
	cfs_msg_set(&req, flags, w->flags & CFS_F_KILLPRIV);
	if (dep_count > 0)
		cfs_msg_set_bytes(&req, deps, (const uint8_t *)deps, dep_count * CFS_DEP_BYTES);
	rc = cfs_client_call(op, cfs_ino_home(f->ino), &req, &reply);
	if (rc == 0)
		learn_from_reply(f, &reply.msg);
	return rc;
}

static CFS_AWAITS int write_inside(struct cfs_client_op *op, struct cfs_client_file *f,
				   const struct cfs_client_write *w)
{
	struct cfs_client_piece *pieces[CFS_CLIENT_PIECES_MAX];
	int count = pieces_cut(op, f, w->off_bytes, w->len_bytes, w->data, pieces);
	bool is_any_done = false;
	int rc, told;

	if (count < 0)
		return count;
	rc = pieces_run(pieces, (uint32_t)count, piece_write);
	for (int i = 0; i < count; i++)
		is_any_done |= pieces[i]->rc == 0;
	/* Also when a part failed: what the others did has changed the file. */
	if (is_any_done) {
		told = tell_wrote(op, f, pieces, (uint32_t)count, w);
		rc = rc < 0 ? rc : told;
	}
	pieces_put(op->client, pieces, (uint32_t)count);
	return rc;
}

static CFS_AWAITS int write_home_with_piece(struct cfs_client_op *op, struct cfs_client_file *f,
					    const struct cfs_client_write *w, uint64_t *off_out)
{
	struct cfs_client_piece *p = piece_get(op->client);
	uint32_t tries = 0;
	int rc;

	if (!p)
		return -ENOMEM;
	p->op = op;
	do {
		rc = write_at_home(op, f, w, p, off_out);
	} while (is_sent_again(p, rc, tries++));
	piece_put(op->client, p);
	return rc;
}

static CFS_AWAITS int write_file(struct cfs_client_op *op, struct cfs_client_file *f,
				 const struct cfs_client_write *w, uint64_t *off_out)
{
	uint64_t end = w->off_bytes + w->len_bytes;

	*off_out = w->off_bytes;
	if ((w->flags & CFS_F_APPEND) || end <= CFS_CHUNK_BYTES)
		return write_home_with_piece(op, f, w, off_out);
	for (uint32_t i = 0; i < CFS_CLIENT_CUT_TRIES; i++) {
		int rc = f->has_hint ? 0 : cfs_client_file_refresh(op, f, false);

		if (rc < 0)
			return rc;
		if (end > f->size || f->is_guarded)
			return write_home_with_piece(op, f, w, off_out);
		rc = write_inside(op, f, w);
		if (rc != -CFS_EOLD_CUT)
			return rc;
		op->client->stats.old_cuts++;
		f->has_hint = false;
	}
	return -EIO;
}

int cfs_client_write(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_write *w,
		     uint64_t *off_out)
{
	struct cfs_client_file *f;
	uint64_t off = 0;
	int rc;

	if (w->len_bytes > CFS_IO_BYTES_MAX)
		return -EINVAL;
	if (!(w->flags & CFS_F_APPEND) &&
	    (w->off_bytes > CFS_FILE_BYTES_MAX || w->len_bytes > CFS_FILE_BYTES_MAX - w->off_bytes))
		return -EFBIG;
	if (w->len_bytes == 0)
		return 0;
	rc = cfs_client_file_get(op->client, ino, &f);
	if (rc < 0)
		return rc;
	rc = write_file(op, f, w, &off);
	cfs_client_file_put(op->client, f);
	if (rc == 0 && off_out)
		*off_out = off;
	return rc;
}

/* --- the rest --- */

int cfs_client_fsync(struct cfs_client_op *op, uint64_t ino, bool is_datasync)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_msg req;

	cfs_client_request(&req, CFS_OP_FSYNC, ino);
	cfs_msg_set(&req, flags, is_datasync ? CFS_F_DATASYNC : 0);
	return cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
}
