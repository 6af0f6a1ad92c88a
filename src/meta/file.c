/*
 * Writes, truncates and sync of regular files, at the shard of the inode.
 *
 * A write within chunk 0 is one record: data, size, times. What reaches further goes to the chunks
 * first, then one record moves size and times; it rests on theirs. Whatever grows the file holds
 * its lock, so growth and truncates are one at a time; a write of chunk 0 inside of the size needs
 * none.
 */
#include "meta/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "meta/acl.h"
#include "meta/file_internal.h"
#include "meta/iflags.h"
#include "meta/lease.h"
#include "proto/place.h"

#define TRIES_MAX 64u
#define PIECE_INLINE_BYTES (CFS_INLINE_BYTES_MAX - CFS_BLOCK_BYTES)
#define NOSPC_SLEEP_NS (50ull * 1000 * 1000)
#define NOSPC_TRIES 60u
#define PIECES_MAX 2u /* chunks that one write touches */

_Static_assert(CFS_IO_BYTES_MAX <= CFS_CHUNK_BYTES, "a write touches two chunks at most");

/* --- a write --- */

/* What a WRITE brings, in our memory. */
struct payload {
	const uint8_t *data;
	struct cfs_buf *buf; /* when it had to be fetched */
	const uint8_t *crcs; /* of whole blocks, in order; NULL: none were sent */
};

static uint32_t whole_blocks(uint64_t off, uint64_t len)
{
	uint64_t first = (off + CFS_BLOCK_BYTES - 1) / CFS_BLOCK_BYTES;
	uint64_t last = (off + len) / CFS_BLOCK_BYTES;

	return last > first ? (uint32_t)(last - first) : 0;
}

static CFS_AWAITS int payload_get(struct cfs_shard_request *rq, uint64_t off, struct payload *p)
{
	const struct cfs_msg *msg = rq->msg;
	uint32_t in = (uint32_t)(off % CFS_BLOCK_BYTES); /* so that whole blocks are aligned */
	int rc;

	if (cfs_msg_is_set(msg, crcs)) {
		if (msg->crcs.len != 4 * whole_blocks(off, msg->len))
			return -EINVAL;
		p->crcs = msg->crcs.p;
	}
	if (cfs_msg_is_set(msg, data)) {
		p->data = msg->data.p;
		return msg->data.len == msg->len ? 0 : -EINVAL;
	}
	if (!rq->call || !cfs_msg_is_set(msg, bulk_len) || msg->bulk_len < msg->len)
		return -EINVAL;
	p->data = cfs_net_call_bulk(rq->call);
	if (p->data || p->buf)
		return 0;
	rc = cfs_buf_get(in + (uint32_t)msg->len, &p->buf);
	if (rc < 0)
		return rc;
	p->data = p->buf->data + in;
	return cfs_net_pull(rq->call, 0, p->buf->data + in, (uint32_t)msg->len);
}

/* A part of a write that goes to a chunk by message. */
struct piece {
	struct cfs_meta *m;
	const struct cfs_file *f;
	uint64_t ino, cut, chunk;
	uint32_t shard, off, len;
	const uint8_t *data, *crcs;
	int64_t blocks;
	struct cfs_record_dep dep; /* its record; epoch 0: none */
	int rc;
};

static void piece_request(const struct piece *p, uint32_t at, uint32_t len, struct cfs_msg *req,
			  uint8_t dep[CFS_DEP_BYTES])
{
	const struct cfs_shard_env *env = p->m->shard->env;
	uint32_t crc_at = whole_blocks(p->off, at), crc_count = whole_blocks(p->off + at, len);

	*req = (struct cfs_msg){ .kind = CFS_MSG_REQUEST, .op = CFS_OP_CHUNK_WRITE };
	cfs_msg_set(req, ino, p->ino);
	cfs_msg_set(req, chunk, p->chunk);
	cfs_msg_set(req, off, p->off + at);
	cfs_msg_set(req, len, len);
	cfs_msg_set(req, cut, p->cut);
	if (p->crcs && crc_count)
		cfs_msg_set_bytes(req, crcs, p->crcs + 4ul * crc_at, 4 * crc_count);
	/* No data where a power cut could leave it without the record that tells how far to look.
	 */
	if (p->f->top_dep.epoch && p->shard != p->m->shard->id &&
	    p->f->top_tick > env->tick_stable(env->ctx)) {
		cfs_deps_put(&p->f->top_dep, 1, dep);
		cfs_msg_set_bytes(req, deps, dep, CFS_DEP_BYTES);
	}
}

static CFS_AWAITS int piece_send(struct piece *p, uint32_t at, uint32_t len)
{
	const struct cfs_shard_env *env = p->m->shard->env;
	struct cfs_net_region region = { 0 };
	struct cfs_net_reply reply;
	uint8_t dep[CFS_DEP_BYTES];
	struct cfs_msg req;
	int rc = 0;

	piece_request(p, at, len, &req, dep);
	if (len < CFS_INLINE_BYTES_MAX) {
		cfs_msg_set_bytes(&req, data, p->data + at, len);
	} else {
		/* Only read; the region's memory has no const. */
		rc = cfs_net_region_open(env->net, (void *)(uintptr_t)(p->data + at), len, &region);
		if (rc < 0)
			return rc;
		cfs_net_region_set(&req, &region);
	}
	rc = cfs_meta_call(p->m, p->shard, &req, &reply);
	if (region.local)
		cfs_net_region_close(env->net, &region);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, blocks))
		p->blocks += reply.msg.blocks;
	if (cfs_msg_is_set(&reply.msg, index))
		p->dep = (struct cfs_record_dep){ .shard = p->shard,
						  .epoch = reply.msg.epoch,
						  .index = reply.msg.index };
	cfs_net_reply_fini(&reply);
	return 0;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void piece_run(void *arg)
{
	struct piece *p = arg;
	uint32_t at = 0;

	/* Without an endpoint for regions, in parts that fit a message; they end at blocks. */
	while (p->rc == 0 && at < p->len) {
		uint32_t len = p->len - at;

		if (len >= CFS_INLINE_BYTES_MAX && !p->m->shard->env->net)
			len = PIECE_INLINE_BYTES - (p->off + at) % CFS_BLOCK_BYTES;
		p->rc = piece_send(p, at, len);
		at += len;
	}
}

/* Chunks other than the first, side by side. */
static CFS_AWAITS int pieces_write(struct piece *pieces, uint32_t count)
{
	struct cfs_group g;
	int rc = 0;

	cfs_group_init(&g);
	for (uint32_t k = 1; k < count; k++)
		if (cfs_group_start(&g, piece_run, &pieces[k]) < 0)
			piece_run(&pieces[k]);
	if (count && !CFS_BREAK(SECOND_CHUNK_LOST))
		piece_run(&pieces[0]);
	cfs_group_join(&g);
	for (uint32_t k = 0; k < count && rc == 0; k++)
		rc = pieces[k].rc;
	return rc;
}

/* One try of a WRITE. */
struct write {
	struct cfs_meta *m;
	struct cfs_shard_request *rq;
	struct cfs_file_use u;
	struct payload payload;
	uint64_t off, end;
	struct piece pieces[PIECES_MAX];
	uint32_t piece_count;
	struct cfs_chunk_write home; /* in chunk 0; len_bytes 0: nothing */
};

static void write_split(struct write *w)
{
	const struct cfs_inode *i = w->u.i;
	const uint8_t *data = w->payload.data, *crcs = w->payload.crcs;
	uint64_t off = w->off;

	w->piece_count = 0;
	w->home = (struct cfs_chunk_write){ .ino = i->attr.ino, .cut = i->attr.cut };
	while (off < w->end) {
		uint64_t chunk = off / CFS_CHUNK_BYTES;
		uint32_t in = (uint32_t)(off % CFS_CHUNK_BYTES);
		uint32_t len = (uint32_t)CFS_MIN((uint64_t)CFS_CHUNK_BYTES - in, w->end - off);

		if (chunk == 0) {
			w->home.off_bytes = in;
			w->home.len_bytes = len;
			w->home.data = data;
			w->home.crcs = crcs;
			w->home.crc_count = whole_blocks(in, len);
			w->home.extra_bytes = CFS_FILE_SET_BYTES;
		} else {
			w->pieces[w->piece_count++] = (struct piece){
				.m = w->m,
				.f = w->u.f,
				.ino = i->attr.ino,
				.cut = i->attr.cut,
				.chunk = CFS_BREAK(FAR_WRAPS) ? chunk % 0x4000 : chunk,
				.shard = cfs_chunk_shard(i->attr.ino, i->attr.seed, chunk,
							 w->m->shard->env->shards),
				.off = in,
				.len = len,
				.data = data,
				.crcs = crcs,
			};
		}
		if (crcs)
			crcs += 4ul * whole_blocks(in, len);
		data += len;
		off += len;
	}
}

/* Places the last record: what belongs to the inode, and what is in chunk 0. */
static int write_commit(struct write *w)
{
	struct cfs_meta *m = w->m;
	struct cfs_inode *i = w->u.i;
	struct cfs_attr_set set = { .mask = CFS_A_BLOCKS };
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_msg *reply = &w->rq->reply;
	uint32_t dep_count = 0;
	int64_t blocks = 0;
	struct cfs_items it;
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);
	int rc;

	cfs_shard_items(m->shard, &it);
	if (w->home.len_bytes) {
		rc = chunks->items(part, &w->home, &it);
		if (rc < 0)
			return rc;
		blocks += w->home.blocks;
	}
	for (uint32_t k = 0; k < w->piece_count; k++) {
		blocks += w->pieces[k].blocks;
		if (w->pieces[k].dep.epoch && w->pieces[k].shard != m->shard->id)
			deps[dep_count++] = w->pieces[k].dep;
	}
	set.attr.blocks = cfs_file_blocks(i, blocks);
	set.attr.size = i->attr.size;
	if (w->end > i->attr.size) {
		set.mask |= CFS_A_SIZE;
		set.attr.size = w->end;
		if (CFS_BREAK(APPEND_SIZE) && (w->rq->msg->flags & CFS_F_APPEND))
			set.attr.size--;
		if (w->end > CFS_CHUNK_BYTES)
			dep_count = cfs_file_grow_deps(m, w->u.f, deps, dep_count);
	}
	cfs_file_set_times(m, &set);
	if (CFS_BREAK(MTIME_WRITE))
		set.mask &= ~CFS_A_MTIME;
	if (w->rq->msg->flags & CFS_F_KILLPRIV)
		cfs_meta_kill_priv(i, &set, &it);
	else if (!CFS_BREAK(CAPS_ROOT))
		cfs_meta_kill_cap(i, &it);
	cfs_meta_add_set(&it, i->attr.ino, &set);
	cfs_msg_set(reply, off, w->off);
	cfs_msg_set(reply, len, w->end - w->off);
	cfs_msg_set(reply, size, set.attr.size);
	cfs_msg_set(reply, cut, i->attr.cut);
	cfs_msg_set(reply, seed, i->attr.seed);
	cfs_msg_set(reply, mtime, set.attr.mtime);
	cfs_shard_commit(m->shard, &it, deps, dep_count, w->rq);
	return 0;
}

/* Still what it was when we looked: there, with the same cut, and not held by a transaction? */
static int write_recheck(const struct write *w, uint64_t size)
{
	const struct cfs_inode *i = w->u.i;

	if (i->is_gone)
		return -ESTALE;
	if (cfs_shard_has_ended(w->m->shard, w->rq->msg->sess))
		return -CFS_ENO_SESSION;
	if (cfs_iflags_may_write(i, w->rq->msg->flags & CFS_F_APPEND) < 0)
		return -EPERM;
	if (!cfs_meta_is_settled(w->m, i->attr.ino) ||
	    cfs_lease_is_in_way(w->m, i->attr.ino, w->rq->msg->sess) ||
	    i->attr.cut != w->home.cut ||
	    (w->end <= size ? i->attr.size < w->end : i->attr.size != size))
		return -EAGAIN;
	return 0;
}

/* 0; -EAGAIN: what it was built on has changed. */
static CFS_AWAITS int write_try(struct write *w, bool is_locked)
{
	struct cfs_meta *m = w->m;
	uint64_t size = w->u.i->attr.size;
	void *part;
	const struct cfs_chunk_ops *chunks = cfs_file_chunks(m, &part);
	uint32_t bytes = CFS_FILE_SET_BYTES;
	int rc = payload_get(w->rq, w->off, &w->payload);

	if (rc < 0)
		return rc;
	write_split(w);
	cfs_assert(is_locked || w->piece_count == 0);
	rc = pieces_write(w->pieces, w->piece_count);
	if (rc < 0) {
		/* What came of it past the size is to be trimmed before anything else gets there.
		 */
		if (w->end > size)
			w->u.f->is_clean = false;
		return rc == -CFS_EOLD_CUT ? -EAGAIN : rc;
	}
	rc = w->home.len_bytes ? chunks->begin(part, &w->home)
			       : cfs_shard_reserve(m->shard, bytes, false);
	if (rc == 0) {
		rc = write_recheck(w, size);
		if (rc == 0)
			rc = write_commit(w);
		if (w->home.len_bytes)
			chunks->end(part, &w->home);
		else
			cfs_shard_unreserve(m->shard, bytes, false);
	}
	if (rc < 0 && w->end > size && w->piece_count)
		w->u.f->is_clean = false;
	return rc == -CFS_EOLD_CUT ? -EAGAIN : rc;
}

/* Where it goes, and what has to be done before. */
static CFS_AWAITS int write_place(struct write *w)
{
	const struct cfs_msg *msg = w->rq->msg;
	const struct cfs_inode *i = w->u.i;
	int rc;

	w->off = (msg->flags & CFS_F_APPEND) && !CFS_BREAK(APPEND_IGNORED) ? i->attr.size
									   : msg->off;
	if (w->off > CFS_FILE_BYTES_MAX || msg->len > CFS_FILE_BYTES_MAX - w->off)
		return -EFBIG;
	w->end = w->off + msg->len;
	if (msg->flags & CFS_F_INSIDE)
		w->end = CFS_MAX(w->off, CFS_MIN(w->end, i->attr.size));
	if (w->end <= CFS_CHUNK_BYTES)
		return 0;
	if (w->end > i->attr.size) {
		rc = cfs_file_grow_prepare(w->m, &w->u);
		if (rc < 0)
			return rc;
	}
	rc = cfs_file_top_raise(w->m, &w->u, (w->end - 1) / CFS_CHUNK_BYTES);
	return rc == 0 && i->is_gone ? -ESTALE : rc;
}

/* All of it lies past the end, and it must not grow the file: no record, so no answer is kept. */
static void write_nothing(struct write *w)
{
	struct cfs_msg *reply = &w->rq->reply;

	cfs_msg_set(reply, off, w->off);
	cfs_msg_set(reply, len, 0);
	cfs_msg_set(reply, size, w->u.i->attr.size);
	cfs_msg_set(reply, cut, w->u.i->attr.cut);
	cfs_msg_set(reply, mtime, w->u.i->attr.mtime);
}

static CFS_AWAITS int write_locked(struct write *w)
{
	int rc = cfs_lock_take(&w->u.f->lock);

	if (rc < 0)
		return rc;
	rc = w->u.i->is_gone ? -ESTALE : write_place(w);
	if (rc == 0 && w->end == w->off)
		write_nothing(w);
	else if (rc == 0)
		rc = write_try(w, true);
	cfs_lock_release(&w->u.f->lock);
	return rc;
}

static bool needs_lock(const struct write *w)
{
	const struct cfs_msg *msg = w->rq->msg;
	uint64_t inside = CFS_MIN(w->u.i->attr.size, (uint64_t)CFS_CHUNK_BYTES);

	return (msg->flags & CFS_F_APPEND) || msg->off > inside || msg->len > inside - msg->off;
}

static CFS_AWAITS int write_once(struct write *w)
{
	int rc = cfs_lease_clear(w->m, w->rq->msg->ino, w->rq->msg->sess);

	if (rc == 0)
		rc = cfs_meta_settle(w->m, w->rq->msg->ino);
	if (rc == 0)
		rc = cfs_file_use(w->m, w->rq->msg->ino, &w->u);
	if (rc != 0)
		return rc;
	rc = cfs_iflags_may_write(w->u.i, w->rq->msg->flags & CFS_F_APPEND);
	if (rc < 0) {
		/* before anything goes to chunks elsewhere */
	} else if (needs_lock(w)) {
		rc = write_locked(w);
	} else {
		w->off = w->rq->msg->off;
		w->end = w->off + w->rq->msg->len;
		rc = write_try(w, false);
	}
	cfs_file_unuse(w->m, &w->u);
	return rc;
}

/* Files that were removed give their space back within moments: worth waiting for. */
CFS_AWAITS int cfs_file_wait_for_space(struct cfs_meta *m, uint32_t *tries)
{
	if (m->shard->env->drops_pending == 0 || ++*tries > NOSPC_TRIES)
		return -ENOSPC;
	return cfs_sleep_ns(NOSPC_SLEEP_NS);
}

static CFS_AWAITS int serve_write(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct write w = { .m = m, .rq = rq };
	uint32_t waits = 0;
	int rc = -EAGAIN;

	if (rq->msg->len == 0 || rq->msg->len > CFS_IO_BYTES_MAX)
		return -EINVAL;
	for (uint32_t k = 0; k < TRIES_MAX && rc == -EAGAIN; k++) {
		/* Where an append goes decides how its bytes lie to blocks: fetch them again. */
		cfs_buf_put(w.payload.buf);
		w.payload = (struct payload){ 0 };
		rc = write_once(&w);
		if (rc == -ENOSPC && cfs_file_wait_for_space(m, &waits) == 0) {
			rc = -EAGAIN;
			k = 0;
		}
	}
	cfs_buf_put(w.payload.buf);
	return rc == -EAGAIN ? -CFS_EAGAIN_LATER : rc;
}

/* --- after a client wrote to chunks itself --- */

static CFS_AWAITS int serve_wrote(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_attr_set set = { 0 };
	struct cfs_items it;
	struct cfs_inode *i;
	uint32_t dep_count;
	int rc = cfs_shard_deps(m->shard, msg, deps, &dep_count);

	if (rc < 0)
		return rc;
	rc = cfs_meta_begin(m, msg->sess, msg->ino, 0, CFS_FILE_SET_BYTES, true);
	if (rc < 0)
		return rc;
	i = cfs_meta_inode(m, msg->ino, &rc);
	if (i)
		rc = S_ISREG(i->attr.mode) ? cfs_iflags_may_write(i, false) : -EINVAL;
	if (i && rc == 0) {
		cfs_shard_items(m->shard, &it);
		cfs_file_set_times(m, &set);
		if (cfs_msg_is_set(msg, blocks) && msg->blocks) {
			set.mask |= CFS_A_BLOCKS;
			set.attr.blocks = cfs_file_blocks(i, msg->blocks);
		}
		if (msg->flags & CFS_F_KILLPRIV)
			cfs_meta_kill_priv(i, &set, &it);
		else
			cfs_meta_kill_cap(i, &it);
		cfs_meta_add_set(&it, msg->ino, &set);
		cfs_msg_set(&rq->reply, size, i->attr.size);
		cfs_msg_set(&rq->reply, cut, i->attr.cut);
		cfs_msg_set(&rq->reply, seed, i->attr.seed);
		cfs_msg_set(&rq->reply, mtime, set.attr.mtime);
		cfs_shard_commit(m->shard, &it, deps, dep_count, rq);
	}
	cfs_meta_end(m, CFS_FILE_SET_BYTES, true);
	return rc;
}

/* --- truncate --- */

struct truncate {
	struct cfs_meta *m;
	struct cfs_shard_request *rq; /* NULL: no answer */
	uint64_t session;
	struct cfs_file_use u;
	uint64_t size;
	const struct cfs_attr_set *more;
	bool kills_priv;
};

/* The record of it. *@is_remote: trims of other shards are next. */
static void truncate_commit(struct truncate *t, bool *is_remote)
{
	struct cfs_meta *m = t->m;
	struct cfs_inode *i = t->u.i;
	uint64_t old = i->attr.size, top = t->u.f->is_clean ? cfs_file_chunks_of(old) : t->u.f->top;
	struct cfs_attr_set set = *t->more;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_trim_plan plan = { 0 };
	struct cfs_attr after = i->attr;
	uint32_t dep_count = 0;
	struct cfs_items it;

	cfs_shard_items(m->shard, &it);
	set.mask |= CFS_A_SIZE;
	set.attr.size = t->size;
	if (t->size != old) {
		set.mask |= CFS_A_CUT;
		set.attr.cut = cfs_file_next_cut(m, i);
	}
	if (t->size < old && !CFS_BREAK(TRUNCATE_STALE))
		cfs_file_trim_items(m, &t->u, t->size, CFS_MAX(top, cfs_file_chunks_of(old)),
				    set.attr.cut, &it, &plan);
	if (t->size == 0) {
		set.mask |= CFS_A_BLOCKS;
		set.attr.blocks = 0;
	} else if (plan.blocks) {
		set.mask |= CFS_A_BLOCKS;
		set.attr.blocks = cfs_file_blocks(i, plan.blocks);
	}
	if (t->size > old && t->size > CFS_CHUNK_BYTES) {
		dep_count = cfs_file_grow_deps(m, t->u.f, deps, 0);
		/* Clients may write anywhere inside of the size by themselves. */
		if (cfs_file_chunks_of(t->size) > t->u.f->top)
			cfs_file_add_item(
				&it, CFS_FILE_TOP,
				&(struct cfs_file_change){ .ino = i->attr.ino,
							   .top = cfs_file_chunks_of(t->size) });
	}
	if (!(set.mask & CFS_A_MTIME) || !(set.mask & CFS_A_CTIME)) {
		int64_t now = (int64_t)cfs_meta_now(m);

		if (!(set.mask & CFS_A_MTIME))
			set.attr.mtime = CFS_BREAK(MTIME_TRUNCATE) ? i->attr.mtime : now;
		if (!(set.mask & CFS_A_CTIME))
			set.attr.ctime = now;
		set.mask |= CFS_A_MTIME | CFS_A_CTIME;
	}
	if (set.mask & CFS_A_MODE)
		cfs_acl_add_chmod(&it, i, set.attr.mode);
	if (t->kills_priv)
		cfs_meta_kill_priv(i, &set, &it);
	else
		cfs_meta_kill_cap(i, &it);
	cfs_meta_add_set(&it, i->attr.ino, &set);
	cfs_attr_merge(&after, &set.attr, set.mask);
	if (t->rq)
		cfs_meta_reply_attr(t->rq, &after);
	cfs_shard_commit(m->shard, &it, deps, dep_count, t->rq);
	*is_remote = plan.is_remote;
}

static CFS_AWAITS int truncate_locked(struct truncate *t)
{
	struct cfs_meta *m = t->m;
	struct cfs_inode *i = t->u.i;
	uint32_t bytes = CFS_FILE_TRUNCATE_BYTES +
			 (t->more->mask & CFS_A_MODE ? CFS_ACL_ITEMS_BYTES : 0);
	bool is_less, is_remote = false;
	int rc;

	if (i->is_gone)
		return -ESTALE;
	rc = cfs_iflags_may_change(i);
	if (rc < 0)
		return rc;
	is_less = t->size < i->attr.size;
	if (is_less && (i->attr.size > CFS_CHUNK_BYTES || t->u.f->top > 1))
		rc = cfs_file_intent_room(m, &t->u);
	else if (!is_less && t->size > CFS_CHUNK_BYTES)
		rc = cfs_file_grow_prepare(m, &t->u);
	else
		rc = 0;
	if (rc == 0)
		rc = cfs_meta_begin(m, t->session, i->attr.ino, 0, bytes, t->size <= i->attr.size);
	if (rc < 0)
		return rc;
	is_less = t->size < i->attr.size; /* a write of chunk 0 needs no lock, but moves no size */
	rc = i->is_gone ? -ESTALE : cfs_iflags_may_change(i);
	if (rc == 0)
		truncate_commit(t, &is_remote);
	cfs_meta_end(m, bytes, is_less || t->size == i->attr.size);
	if (rc == 0 && is_remote) {
		rc = cfs_file_trim_finish(m, &t->u);
		if (rc == 0)
			t->u.f->is_clean = true;
	}
	return rc;
}

CFS_AWAITS int cfs_file_truncate(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t session,
				 uint64_t ino, uint64_t size, const struct cfs_attr_set *more,
				 bool kills_priv)
{
	static const struct cfs_attr_set none;
	struct truncate t = {
		.m = m,
		.rq = rq,
		.session = session,
		.size = size,
		.more = more ? more : &none,
		.kills_priv = kills_priv,
	};
	int rc;

	if (size > CFS_FILE_BYTES_MAX)
		return -EFBIG;
	rc = cfs_meta_settle(m, ino);
	if (rc == 0)
		rc = cfs_file_use(m, ino, &t.u);
	if (rc != 0)
		return rc;
	rc = cfs_lock_take(&t.u.f->lock);
	if (rc == 0) {
		rc = truncate_locked(&t);
		cfs_lock_release(&t.u.f->lock);
	}
	cfs_file_unuse(m, &t.u);
	return rc;
}

/* --- sync --- */

/* Of a file or a directory. All stores of the node: whatever its records rest on is there too. */
static CFS_AWAITS int serve_fsync(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_shard_env *env = m->shard->env;
	int rc = 0;

	if (!CFS_BREAK(NO_SYNC_ASK))
		rc = cfs_meta_settle(m, rq->msg->ino);
	if (rc == 0)
		cfs_meta_inode(m, rq->msg->ino, &rc);
	return rc < 0 ? rc : env->sync_all(env->ctx);
}

CFS_AWAITS int cfs_file_serve(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	switch (rq->msg->op) {
	case CFS_OP_WRITE:
		return serve_write(m, rq);
	case CFS_OP_WROTE:
		return serve_wrote(m, rq);
	case CFS_OP_FALLOCATE:
		return cfs_file_fallocate(m, rq);
	case CFS_OP_COPY:
		return cfs_file_copy(m, rq);
	case CFS_OP_FSYNC:
		return serve_fsync(m, rq);
	default:
		return -EOPNOTSUPP;
	}
}
