/* The data part as the shard layer sees it: items, checkpoints, requests that are neither read nor
 * write. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "data/data_internal.h"
#include "proto/place.h"

/* --- life --- */

static void core_put(struct cfs_shard_env *env)
{
	struct cfs_data_core *core = env->data_core;

	if (--core->refs > 0)
		return;
	env->data_core = NULL;
	free(core);
}

static struct cfs_data_core *core_get(struct cfs_shard_env *env)
{
	struct cfs_data_core *core = env->data_core;

	if (!core) {
		core = calloc(1, sizeof(*core));
		if (!core)
			return NULL;
		cfs_list_init(&core->parts);
		cfs_waitq_init(&core->room);
		env->data_core = core;
	}
	core->refs++;
	return core;
}

static int data_create(struct cfs_shard *sh, void **part_out)
{
	struct cfs_data *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->shard = sh;
	d->core = core_get(sh->env);
	if (!d->core) {
		free(d);
		return -ENOMEM;
	}
	if (cfs_chunk_table_init(&d->table, sh->store, sh->id, &d->core->patch_bytes) < 0) {
		core_put(sh->env);
		free(d);
		return -ENOMEM;
	}
	cfs_list_append(&d->core->parts, &d->core_link);
	*part_out = d;
	return 0;
}

static void data_destroy(void *part)
{
	struct cfs_data *d = part;

	cfs_chunk_table_fini(&d->table);
	cfs_list_remove(&d->core_link);
	core_put(d->shard->env);
	free(d);
}

static int data_apply(void *part, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		      bool is_load)
{
	struct cfs_data *d = part;
	int rc = cfs_chunk_apply(&d->table, item);

	(void)pos;
	if (rc == 0 && !is_load && item->kind == CFS_DATA_PATCH)
		cfs_data_merge_kick(d);
	return rc;
}

static CFS_AWAITS int data_resume(void *part)
{
	struct cfs_data *d = part;

	d->is_resumed = true;
	cfs_data_merge_kick(d);
	return 0;
}

/* --- checkpoint --- */

/* The files of one turn of the scan, by number: between writes they may change or go. */
struct batch {
	uint64_t *inos;
	uint32_t count, cap;
	bool is_short; /* no memory */
};

static void batch_add(void *ctx, const struct cfs_file_chunks *f)
{
	struct batch *b = ctx;

	if (b->count == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 64;
		uint64_t *inos = realloc(b->inos, cap * sizeof(*inos));

		if (!inos) {
			b->is_short = true;
			return;
		}
		b->inos = inos;
		b->cap = cap;
	}
	b->inos[b->count++] = f->ino;
}

#define WRITER_BYTES (64u * 1024)

/* Items on their way into a checkpoint. */
struct writer {
	struct cfs_checkpoint *c;
	struct cfs_items it;
};

static CFS_AWAITS int writer_flush(struct writer *w)
{
	int rc = cfs_items_rc(&w->it);

	if (rc == 0 && w->it.len_bytes > 0)
		rc = cfs_store_checkpoint_write(w->c, w->it.buf, w->it.len_bytes);
	cfs_items_init(&w->it, w->it.buf, w->it.cap_bytes);
	return rc;
}

static CFS_AWAITS int writer_room(struct writer *w, uint32_t bytes)
{
	return w->it.cap_bytes - w->it.len_bytes < bytes ? writer_flush(w) : 0;
}

/* Where the walk of a chunk is: the next extent from a block on, then the next patch from a byte
 * on. */
struct chunk_cursor {
	uint32_t block;
	uint32_t off_bytes;
};

/* As many of the chunk's items as fit. True: that was all. */
static bool put_chunk(struct writer *w, const struct cfs_chunk *c, struct chunk_cursor *at)
{
	uint32_t i;

	for (i = cfs_extent_from(c, at->block); i < c->extent_count; i++) {
		const struct cfs_extent *x = &c->extents[i];

		if (w->it.cap_bytes - w->it.len_bytes < cfs_data_extent_bytes(x->count))
			return false;
		cfs_data_add_extent(&w->it, c->file->ino, c->chunk, x->block, x->count, x->addr,
				    cfs_extent_crcs(x));
		at->block = (uint32_t)x->block + x->count;
	}
	at->block = CFS_CHUNK_BLOCKS;
	for (i = cfs_patch_from(c, at->off_bytes / CFS_BLOCK_BYTES); i < c->patch_count; i++) {
		const struct cfs_patch *x = &c->patches[i];
		uint32_t off = x->block * CFS_BLOCK_BYTES + x->off;

		if (off + x->len <= at->off_bytes)
			continue;
		if (w->it.cap_bytes - w->it.len_bytes < cfs_data_patch_bytes(x->len))
			return false;
		cfs_data_add_patch(&w->it, c->file->ino, c->chunk, off, x->bytes, x->len);
		at->off_bytes = off + x->len;
	}
	return true;
}

/*
 * One chunk. If it changes while its items are written, some are of an older state than others.
 * What changed in between is in records that are replayed over that, in order, and each says all of
 * what it touched; what they did not touch is the same in both states. So the walk just goes on by
 * position.
 */
static CFS_AWAITS int write_chunk(struct cfs_data *d, struct writer *w, uint64_t ino,
				  uint64_t number)
{
	struct chunk_cursor at = { 0 };

	for (;;) {
		const struct cfs_chunk *c = cfs_chunk_find(&d->table, ino, number);
		int rc;

		if (!c || put_chunk(w, c, &at))
			return 0;
		rc = writer_flush(w);
		if (rc < 0)
			return rc;
	}
}

static CFS_AWAITS int write_file(struct cfs_data *d, struct writer *w, uint64_t ino)
{
	uint64_t next = 0;

	for (;;) {
		const struct cfs_file_chunks *f = cfs_file_chunks_find(&d->table, ino);
		const struct cfs_chunk *c;
		int rc;

		if (!f)
			return 0;
		if (next == 0 && f->cut) {
			rc = writer_room(w, CFS_DATA_FIXED_BYTES);
			if (rc < 0)
				return rc;
			/* It may be gone or trimmed again: then a record says so. */
			f = cfs_file_chunks_find(&d->table, ino);
			if (!f)
				return 0;
			cfs_data_add_file(&w->it, ino, f->cut);
		}
		c = cfs_chunk_from(f, next);
		if (!c)
			return 0;
		next = c->chunk + 1;
		rc = write_chunk(d, w, ino, c->chunk);
		if (rc < 0)
			return rc;
	}
}

static CFS_AWAITS int data_checkpoint(void *part, struct cfs_checkpoint *c)
{
	struct cfs_data *d = part;
	struct batch b = { 0 };
	struct writer w = { .c = c };
	uint64_t cursor = 0;
	uint8_t *buf = malloc(WRITER_BYTES);
	int rc = buf ? 0 : -ENOMEM;

	cfs_items_init(&w.it, buf, WRITER_BYTES);
	do {
		b.count = 0;
		cursor = cfs_chunk_table_scan(&d->table, cursor, batch_add, &b);
		if (b.is_short)
			rc = -ENOMEM;
		for (uint32_t i = 0; rc == 0 && i < b.count; i++)
			rc = write_file(d, &w, b.inos[i]);
	} while (rc == 0 && cursor != 0);
	if (rc == 0)
		rc = writer_flush(&w);
	free(b.inos);
	free(buf);
	return rc;
}

/* --- requests --- */

int cfs_data_cut_check(struct cfs_data *d, struct cfs_shard_request *rq)
{
	uint64_t cut = cfs_chunk_cut(&d->table, rq->msg->ino);

	cfs_msg_set(&rq->reply, cut, cut);
	return cut > rq->msg->cut ? -CFS_EOLD_CUT : 0;
}

/* By how much st_blocks shrinks when the file ends at @size. */
static int64_t trim_blocks(const struct cfs_data *d, uint64_t ino, uint64_t size)
{
	const struct cfs_file_chunks *f = cfs_file_chunks_find(&d->table, ino);
	uint64_t first = size / CFS_CHUNK_BYTES, at = first;
	int64_t gone = 0;

	while (f) {
		const struct cfs_chunk *c = cfs_chunk_from(f, at);
		uint32_t off, block, count;

		if (!c)
			break;
		off = c->chunk == first ? (uint32_t)(size % CFS_CHUNK_BYTES) : 0;
		block = off / CFS_BLOCK_BYTES;
		count = CFS_CHUNK_BLOCKS - block;
		gone += cfs_chunk_present(c, block, count);
		gone -= cfs_chunk_present_after_zero(c, off, CFS_CHUNK_BYTES - off);
		at = c->chunk + 1;
	}
	return -gone * (CFS_BLOCK_BYTES / 512);
}

static CFS_AWAITS int serve_trim(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_items it;
	uint32_t dep_count;
	int rc = cfs_shard_deps(d->shard, m, deps, &dep_count);

	if (rc < 0)
		return rc;
	rc = cfs_shard_reserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	if (rc < 0)
		return rc;
	/* Once a cut: what is there at a repeat is newer than this trim. */
	if (cfs_chunk_cut(&d->table, m->ino) >= m->cut) {
		cfs_msg_set(&rq->reply, blocks, 0);
	} else {
		cfs_msg_set(&rq->reply, blocks, trim_blocks(d, m->ino, m->size));
		cfs_shard_items(d->shard, &it);
		cfs_data_add_trim(&it, m->ino, m->size, m->cut);
		cfs_shard_commit(d->shard, &it, deps, dep_count, rq);
	}
	cfs_shard_unreserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	return 0;
}

static CFS_AWAITS int serve_drop(struct cfs_data *d, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_items it;
	uint32_t dep_count;
	int rc = cfs_shard_deps(d->shard, m, deps, &dep_count);

	if (rc < 0)
		return rc;
	if (!cfs_file_chunks_find(&d->table, m->ino))
		return 0;
	rc = cfs_shard_reserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	if (rc < 0)
		return rc;
	cfs_shard_items(d->shard, &it);
	cfs_data_add_drop(&it, m->ino);
	cfs_shard_commit(d->shard, &it, deps, dep_count, rq);
	cfs_shard_unreserve(d->shard, CFS_DATA_FIXED_BYTES, true);
	return 0;
}

/* For the part that holds the inode: the same in its record. */
static int64_t chunks_trim(void *part, uint64_t ino, uint64_t size, uint64_t cut,
			   struct cfs_items *it)
{
	struct cfs_data *d = part;

	if (cfs_chunk_cut(&d->table, ino) >= cut)
		return 0;
	cfs_data_add_trim(it, ino, size, cut);
	return trim_blocks(d, ino, size);
}

static void chunks_drop(void *part, uint64_t ino, struct cfs_items *it)
{
	struct cfs_data *d = part;

	if (cfs_file_chunks_find(&d->table, ino))
		cfs_data_add_drop(it, ino);
}

static CFS_AWAITS int data_serve(void *part, struct cfs_shard_request *rq)
{
	struct cfs_data *d = part;

	switch (rq->msg->op) {
	case CFS_OP_CHUNK_READ:
		return cfs_data_serve_read(d, rq);
	case CFS_OP_CHUNK_WRITE:
		return cfs_data_serve_write(d, rq);
	case CFS_OP_CHUNK_ZERO:
		return cfs_data_serve_zero(d, rq);
	case CFS_OP_CHUNK_TRIM:
		return serve_trim(d, rq);
	case CFS_OP_CHUNK_DROP:
		return serve_drop(d, rq);
	case CFS_OP_CHUNK_CLONE:
		return cfs_data_serve_clone(d, rq);
	case CFS_OP_CHUNK_SEEK:
		return cfs_data_serve_seek(d, rq);
	default:
		return -EOPNOTSUPP;
	}
}

/* --- cleaning --- */

/* The blocks of extent @e that are still where the cleaner saw them. */
static uint32_t still_there(const struct cfs_extent *e, const struct cfs_extent_owner *o,
			    cfs_addr_t addr, uint32_t blocks, uint32_t *from_out)
{
	uint32_t from = CFS_MAX((uint32_t)e->block, o->block);
	uint32_t end = CFS_MIN((uint32_t)e->block + e->count, o->block + blocks);

	if (from >= end || e->addr + (from - e->block) != addr + (from - o->block))
		return 0;
	*from_out = from;
	return end - from;
}

struct move {
	uint32_t block, count;
	cfs_addr_t addr;
	uint32_t crcs[CFS_CHUNK_BLOCKS];
};

static bool move_next(const struct cfs_data *d, const struct cfs_extent_owner *o, cfs_addr_t addr,
		      uint32_t blocks, uint32_t at, struct move *m)
{
	const struct cfs_chunk *c = cfs_chunk_find(&d->table, o->ino, o->chunk);

	if (!c)
		return false;
	for (uint32_t i = cfs_extent_from(c, at);
	     i < c->extent_count && c->extents[i].block < o->block + blocks; i++) {
		const struct cfs_extent *e = &c->extents[i];

		m->count = still_there(e, o, addr, blocks, &m->block);
		if (m->count == 0)
			continue;
		m->addr = e->addr + (m->block - e->block);
		memcpy(m->crcs, cfs_extent_crcs(e) + (m->block - e->block), 4ul * m->count);
		return true;
	}
	return false;
}

#define MOVE_PIECES_MAX 8u /* a zone has 256 blocks at least, so an extent takes three */

struct move_piece {
	cfs_addr_t addr;
	uint32_t blocks;
};

/* Is the chunk's block where the move took it from? */
static bool is_unmoved(const struct cfs_data *d, const struct cfs_extent_owner *o,
		       const struct move *m, uint32_t i)
{
	const struct cfs_chunk *c = cfs_chunk_find(&d->table, o->ino, o->chunk);
	uint32_t block = m->block + i, x;

	if (!c)
		return false;
	x = cfs_extent_from(c, block);
	return x < c->extent_count && c->extents[x].block <= block &&
	       c->extents[x].addr + (block - c->extents[x].block) == m->addr + i;
}

/* Adds what of a piece is to be taken over; what was overwritten meanwhile is given back. */
static uint32_t move_items(struct cfs_data *d, const struct cfs_extent_owner *o,
			   const struct move *m, uint32_t at, const struct move_piece *p,
			   struct cfs_items *it)
{
	uint32_t i = 0, taken = 0;

	while (i < p->blocks) {
		bool is_live = is_unmoved(d, o, m, at + i);
		uint32_t n = 1;

		while (i + n < p->blocks && is_unmoved(d, o, m, at + i + n) == is_live)
			n++;
		if (is_live) {
			cfs_data_add_relocate(it, o->ino, o->chunk, m->block + at + i, n,
					      m->addr + at + i, p->addr + i, m->crcs + at + i);
			cfs_store_moved(d->shard->store, m->addr + at + i, p->addr + i, n);
			taken += n;
		} else {
			cfs_store_alloc_undo(d->shard->store, p->addr + i, n);
		}
		i += n;
	}
	return taken;
}

/* Copies to the device, then one record. */
static CFS_AWAITS int move_blocks(struct cfs_data *d, const struct cfs_extent_owner *o,
				  const struct move *m, const uint8_t *data)
{
	struct cfs_store *store = d->shard->store;
	uint32_t bytes = m->count * (CFS_DATA_FIXED_BYTES + 4), done = 0, pieces = 0, taken = 0;
	struct cfs_reservation r = {
		.record_bytes = bytes + CFS_SHARD_ANSWER_ROOM,
		.records = 1,
		.alloc_blocks = m->count,
		.is_freeing = true,
		.stream = CFS_STREAM_RELOCATED,
	};
	struct move_piece piece[MOVE_PIECES_MAX];
	struct cfs_items it;
	int rc = cfs_store_reserve(store, &r);

	if (rc < 0)
		return rc;
	while (rc == 0 && done < m->count) {
		struct move_piece *p = &piece[pieces++];

		cfs_assert(pieces <= MOVE_PIECES_MAX);
		p->blocks = cfs_store_alloc(store, CFS_STREAM_RELOCATED, m->count - done, &p->addr);
		r.alloc_blocks -= p->blocks;
		rc = cfs_store_data_write(store, p->addr, data + (size_t)done * CFS_BLOCK_BYTES,
					  p->blocks);
		done += p->blocks;
	}
	if (rc < 0) {
		for (uint32_t i = 0; i < pieces; i++)
			cfs_store_alloc_undo(store, piece[i].addr, piece[i].blocks);
	} else {
		cfs_shard_items(d->shard, &it);
		done = 0;
		for (uint32_t i = 0; i < pieces; i++) {
			taken += move_items(d, o, m, done, &piece[i], &it);
			done += piece[i].blocks;
		}
		if (taken)
			cfs_shard_commit(d->shard, &it, NULL, 0, NULL);
		d->stats.relocated_blocks += taken;
	}
	r.record_bytes = 0;
	r.records = 0;
	if (r.alloc_blocks)
		cfs_store_unreserve(store, &r);
	cfs_shard_unreserve(d->shard, bytes, true);
	return rc;
}

/* Blocks that were copied for another owner already: only a record. What was not, or is no more
 * when there is room for it, is left to the caller: *done_out blocks of @m are dealt with. */
static CFS_AWAITS int move_shared(struct cfs_data *d, const struct cfs_extent_owner *o,
				  const struct move *m, uint32_t *done_out)
{
	uint32_t bytes = m->count * (CFS_DATA_FIXED_BYTES + 4), at = 0;
	struct cfs_items it;
	int rc = cfs_shard_reserve(d->shard, bytes, true);

	if (rc < 0)
		return rc;
	cfs_shard_items(d->shard, &it);
	while (at < m->count) {
		cfs_addr_t to;
		uint32_t n = cfs_store_moved_find(d->shard->store, m->addr + at, m->count - at,
						  &to);

		if (to == CFS_ADDR_NONE)
			break;
		for (uint32_t i = 0, run; i < n; i += run) {
			bool is_live = is_unmoved(d, o, m, at + i);

			run = 1;
			while (i + run < n && is_unmoved(d, o, m, at + i + run) == is_live)
				run++;
			if (is_live)
				cfs_data_add_relocate(&it, o->ino, o->chunk, m->block + at + i, run,
						      m->addr + at + i, to + i, m->crcs + at + i);
		}
		at += n;
	}
	if (it.len_bytes)
		cfs_shard_commit(d->shard, &it, NULL, 0, NULL);
	cfs_shard_unreserve(d->shard, bytes, true);
	*done_out = at;
	return 0;
}

CFS_AWAITS int cfs_data_relocate(struct cfs_shard *sh, const struct cfs_extent_owner *owner,
				 cfs_addr_t addr, uint32_t blocks)
{
	struct cfs_data *d = cfs_data_of(sh);
	struct cfs_buf *buf = NULL;
	struct move *m;
	uint32_t at = owner->block;
	int rc = 0;

	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	rc = cfs_buf_get(CFS_CHUNK_BYTES, &buf);
	while (rc == 0 && move_next(d, owner, addr, blocks, at, m)) {
		cfs_addr_t to;
		uint32_t done = cfs_store_moved_find(sh->store, m->addr, m->count, &to);

		if (to != CFS_ADDR_NONE) {
			rc = move_shared(d, owner, m, &done);
			at = m->block + done;
			continue;
		}
		m->count = done;
		cfs_store_pin(sh->store, m->addr);
		rc = cfs_store_data_read(sh->store, m->addr, buf->data, m->count, m->crcs);
		if (rc == 0)
			rc = move_blocks(d, owner, m, buf->data);
		cfs_store_unpin(sh->store, m->addr);
		at = m->block + m->count;
	}
	cfs_buf_put(buf);
	free(m);
	return rc;
}

bool cfs_data_owns(const struct cfs_shard *sh, const struct cfs_extent_owner *owner,
		   cfs_addr_t addr, uint32_t blocks)
{
	const struct cfs_chunk *c = cfs_chunk_find(&cfs_data_of(sh)->table, owner->ino,
						   owner->chunk);
	uint32_t from;

	if (!c)
		return false;
	for (uint32_t i = cfs_extent_from(c, owner->block);
	     i < c->extent_count && c->extents[i].block < owner->block + blocks; i++)
		if (still_there(&c->extents[i], owner, addr, blocks, &from))
			return true;
	return false;
}

/* --- looking --- */

struct walk {
	uint32_t shard;
	void (*fn)(void *ctx, const struct cfs_data_fact *fact);
	void *ctx;
};

static void walk_file(void *ctx, const struct cfs_file_chunks *f)
{
	struct walk *w = ctx;
	uint64_t at = 0;
	const struct cfs_chunk *c;

	while ((c = cfs_chunk_from(f, at))) {
		for (uint32_t i = 0; i < c->extent_count; i++) {
			const struct cfs_extent *e = &c->extents[i];
			struct cfs_data_fact fact = {
				.ino = f->ino,
				.addr = e->addr,
				.crcs = cfs_extent_crcs(e),
				.shard = w->shard,
				.chunk = c->chunk,
				.block = e->block,
				.blocks = e->count,
			};

			w->fn(w->ctx, &fact);
		}
		at = c->chunk + 1;
	}
}

void cfs_data_walk(const struct cfs_shard *sh,
		   void (*fn)(void *ctx, const struct cfs_data_fact *fact), void *ctx)
{
	const struct cfs_data *d = cfs_data_of(sh);
	struct walk w = { .shard = sh->id, .fn = fn, .ctx = ctx };
	uint64_t cursor = 0;

	do
		cursor = cfs_chunk_table_scan(&d->table, cursor, walk_file, &w);
	while (cursor != 0);
}

void cfs_data_stats(const struct cfs_shard *sh, struct cfs_data_stats *out)
{
	const struct cfs_data *d = cfs_data_of(sh);

	*out = d->stats;
	out->files = d->table.file_count;
	out->chunks = d->table.chunk_count;
	out->extents = d->table.extent_count;
	out->blocks = d->table.block_count;
	out->patches = d->table.patch_count;
	out->patch_bytes = d->table.patch_bytes;
}

static void data_check(void *part, void (*report)(void *ctx, const char *what), void *ctx)
{
	const struct cfs_data *d = part;

	cfs_chunk_table_check(&d->table, report, ctx);
}

const struct cfs_shard_part_ops cfs_data_part_ops = {
	.name = "data",
	.kind_first = CFS_ITEM_DATA_FIRST,
	.kind_last = CFS_ITEM_DATA_LAST,
	.op_first = 48,
	.op_last = 63,
	.create = data_create,
	.destroy = data_destroy,
	.apply = data_apply,
	.refs = cfs_data_refs,
	.checkpoint = data_checkpoint,
	.resume = data_resume,
	.serve = data_serve,
	.check = data_check,
	.chunks =
		&(const struct cfs_chunk_ops){
			.begin = cfs_data_write_begin,
			.items = cfs_data_write_items,
			.end = cfs_data_write_end,
			.clone_begin = cfs_data_clone_begin,
			.clone_items = cfs_data_clone_items,
			.clone_end = cfs_data_clone_end,
			.trim = chunks_trim,
			.drop = chunks_drop,
		},
};
