#include "data/chunk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/stock.h"
#include "base/util.h"
#include "data/patch.h"
#include "proto/place.h"

#define SLOTS_MIN 16u
#define PATCHES_URGENT 64u /* more than this in one chunk are merged whatever the memory */

int cfs_chunk_table_init(struct cfs_chunk_table *t, struct cfs_store *store, uint32_t shard,
			 uint64_t *patch_bytes_core)
{
	*t = (struct cfs_chunk_table){
		.store = store,
		.shard = shard,
		.slot_count = SLOTS_MIN,
		.patch_bytes_core = patch_bytes_core,
	};
	cfs_list_init(&t->patched);
	t->slots = calloc(t->slot_count, sizeof(struct cfs_file_chunks *));
	return t->slots ? 0 : -ENOMEM;
}

/* --- files and chunks --- */

static uint64_t slot_of(const struct cfs_chunk_table *t, uint64_t ino)
{
	return cfs_hash_u64(ino) & (t->slot_count - 1);
}

struct cfs_file_chunks *cfs_file_chunks_find(const struct cfs_chunk_table *t, uint64_t ino)
{
	struct cfs_file_chunks *f = t->slots[slot_of(t, ino)];

	while (f && f->ino != ino)
		f = f->hash_next;
	return f;
}

/* Growth that finds no memory is only slower later. */
static void table_resize(struct cfs_chunk_table *t, uint64_t slot_count)
{
	struct cfs_file_chunks **slots = calloc(slot_count, sizeof(*slots));
	struct cfs_file_chunks **old = t->slots;
	uint64_t old_count = t->slot_count;

	if (!slots)
		return;
	t->slots = slots;
	t->slot_count = slot_count;
	for (uint64_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct cfs_file_chunks *f = old[i];
			struct cfs_file_chunks **to = &slots[slot_of(t, f->ino)];

			old[i] = f->hash_next;
			f->hash_next = *to;
			*to = f;
		}
	}
	free(old);
}

static struct cfs_file_chunks *file_get(struct cfs_chunk_table *t, uint64_t ino)
{
	struct cfs_file_chunks *f = cfs_file_chunks_find(t, ino), **slot;

	if (f)
		return f;
	if (t->file_count >= t->slot_count)
		table_resize(t, t->slot_count * 2);
	f = cfs_stock_calloc(sizeof(*f));
	if (!f)
		return NULL;
	f->ino = ino;
	slot = &t->slots[slot_of(t, ino)];
	f->hash_next = *slot;
	*slot = f;
	t->file_count++;
	return f;
}

static void file_remove(struct cfs_chunk_table *t, struct cfs_file_chunks *f)
{
	struct cfs_file_chunks **at = &t->slots[slot_of(t, f->ino)];

	cfs_assert(f->count == 0);
	while (*at != f)
		at = &(*at)->hash_next;
	*at = f->hash_next;
	if (f->cap)
		free(f->chunks.many);
	free(f);
	t->file_count--;
}

/* Index of the first chunk from number @chunk on. */
static uint32_t file_index(const struct cfs_file_chunks *f, uint64_t chunk)
{
	struct cfs_chunk *const *a = cfs_file_chunks_array(f);
	uint32_t lo = 0, hi = f->count;

	/* Files grow at their end. */
	if (hi > 0 && a[hi - 1]->chunk < chunk)
		return hi;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (a[mid]->chunk < chunk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct cfs_chunk *cfs_chunk_from(const struct cfs_file_chunks *f, uint64_t chunk)
{
	uint32_t i = file_index(f, chunk);

	return i < f->count ? cfs_file_chunks_array(f)[i] : NULL;
}

struct cfs_chunk *cfs_chunk_find(const struct cfs_chunk_table *t, uint64_t ino, uint64_t chunk)
{
	const struct cfs_file_chunks *f = cfs_file_chunks_find(t, ino);
	struct cfs_chunk *c = f ? cfs_chunk_from(f, chunk) : NULL;

	return c && c->chunk == chunk ? c : NULL;
}

struct cfs_chunk *cfs_chunk_range_next(const struct cfs_file_chunks *f, struct cfs_chunk_range *r)
{
	struct cfs_chunk *c = r->off < r->end ? cfs_chunk_from(f, r->off / CFS_CHUNK_BYTES) : NULL;
	uint64_t base, from, to;

	if (!c || c->chunk > (r->end - 1) / CFS_CHUNK_BYTES)
		return NULL;
	base = c->chunk * CFS_CHUNK_BYTES;
	from = CFS_MAX(r->off, base);
	to = CFS_MIN(r->end, base + CFS_CHUNK_BYTES);
	r->in_off = (uint32_t)(from - base);
	r->in_len = (uint32_t)(to - from);
	r->off = base + CFS_CHUNK_BYTES;
	return c;
}

uint64_t cfs_chunk_cut(const struct cfs_chunk_table *t, uint64_t ino)
{
	const struct cfs_file_chunks *f = cfs_file_chunks_find(t, ino);

	return f ? f->cut : 0;
}

static int file_room(struct cfs_file_chunks *f)
{
	uint32_t cap = f->cap ? f->cap * 2 : 4;
	struct cfs_chunk **a;

	if (f->count < f->cap || (f->cap == 0 && f->count == 0))
		return 0;
	a = cfs_stock_malloc(cap * sizeof(*a));
	if (!a)
		return -ENOMEM;
	memcpy(a, cfs_file_chunks_array(f), f->count * sizeof(*a));
	if (f->cap)
		free(f->chunks.many);
	f->chunks.many = a;
	f->cap = cap;
	return 0;
}

static struct cfs_chunk *chunk_get(struct cfs_chunk_table *t, uint64_t ino, uint64_t chunk)
{
	struct cfs_file_chunks *f = file_get(t, ino);
	struct cfs_chunk *c, **a;
	uint32_t i;

	if (!f)
		return NULL;
	i = file_index(f, chunk);
	if (i < f->count && cfs_file_chunks_array(f)[i]->chunk == chunk)
		return cfs_file_chunks_array(f)[i];
	c = cfs_stock_calloc(sizeof(*c));
	if (!c || file_room(f) < 0) {
		free(c);
		return NULL;
	}
	c->file = f;
	c->chunk = chunk;
	cfs_list_init(&c->patched);
	a = f->cap ? f->chunks.many : &f->chunks.one;
	memmove(a + i + 1, a + i, (f->count - i) * sizeof(struct cfs_chunk *));
	a[i] = c;
	f->count++;
	t->chunk_count++;
	return c;
}

static void chunk_remove(struct cfs_chunk_table *t, struct cfs_chunk *c)
{
	struct cfs_file_chunks *f = c->file;
	struct cfs_chunk **a = f->cap ? f->chunks.many : &f->chunks.one;
	uint32_t i = file_index(f, c->chunk);

	cfs_assert(i < f->count && a[i] == c);
	cfs_assert(c->extent_count == 0 && c->patch_count == 0);
	memmove(a + i, a + i + 1, (f->count - i - 1) * sizeof(struct cfs_chunk *));
	f->count--;
	cfs_list_remove(&c->patched);
	free(c->extents);
	free(c->patches);
	free(c);
	t->chunk_count--;
	if (f->count == 0 && f->cut == 0)
		file_remove(t, f);
}

/* --- extents --- */

uint32_t cfs_extent_from(const struct cfs_chunk *c, uint32_t block)
{
	uint32_t lo = 0, hi = c->extent_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if ((uint32_t)c->extents[mid].block + c->extents[mid].count <= block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void extent_account(struct cfs_chunk_table *t, const struct cfs_chunk *c,
			   const struct cfs_extent *e)
{
	struct cfs_extent_owner owner = {
		.shard = t->shard,
		.chunk = c->chunk,
		.ino = c->file->ino,
		.block = e->block,
	};

	cfs_store_extent_add(t->store, e->addr, e->count, &owner);
}

static int crcs_set(struct cfs_extent *e, const uint32_t *crcs)
{
	if (e->count == 1) {
		e->crc.one = crcs[0];
		return 0;
	}
	e->crc.many = cfs_stock_malloc(e->count * sizeof(uint32_t));
	if (!e->crc.many)
		return -ENOMEM;
	memcpy(e->crc.many, crcs, e->count * sizeof(uint32_t));
	return 0;
}

static void crcs_free(struct cfs_extent *e)
{
	if (e->count > 1)
		free(e->crc.many);
}

static int extent_room(struct cfs_chunk *c, uint32_t more)
{
	uint32_t cap = c->extent_cap ? c->extent_cap : 1;
	struct cfs_extent *a;

	if (c->extent_count + more <= c->extent_cap)
		return 0;
	while (cap < c->extent_count + more)
		cap *= 2;
	a = cfs_stock_realloc(c->extents, c->extent_cap * sizeof(*a), cap * sizeof(*a));
	if (!a)
		return -ENOMEM;
	c->extents = a;
	c->extent_cap = (uint16_t)cap;
	return 0;
}

/* The extent keeps @count blocks from its block number @skip on. */
static int extent_slice(struct cfs_extent *e, uint32_t skip, uint32_t count)
{
	struct cfs_extent s = {
		.addr = e->addr + skip,
		.block = (uint16_t)(e->block + skip),
		.count = (uint16_t)count,
	};
	int rc = crcs_set(&s, cfs_extent_crcs(e) + skip);

	if (rc < 0)
		return rc;
	crcs_free(e);
	*e = s;
	return 0;
}

/* Takes the blocks out; what they held is a hole. Needs room for one more extent: a split. */
static int extents_punch(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block,
			 uint32_t count)
{
	uint32_t end = block + count, i = cfs_extent_from(c, block), gone = i;
	int rc = 0;

	if (i < c->extent_count && c->extents[i].block < block) {
		struct cfs_extent *e = &c->extents[i];
		uint32_t e_end = (uint32_t)e->block + e->count, keep = block - e->block;

		if (e_end > end) {
			struct cfs_extent right = {
				.addr = e->addr + (end - e->block),
				.block = (uint16_t)end,
				.count = (uint16_t)(e_end - end),
			};

			rc = extent_room(c, 1);
			e = &c->extents[i];
			if (rc == 0)
				rc = crcs_set(&right, cfs_extent_crcs(e) + (end - e->block));
			if (rc < 0)
				return rc;
			memmove(e + 2, e + 1, (c->extent_count - i - 1) * sizeof(*e));
			e[1] = right;
			c->extent_count++;
			t->extent_count++;
			e_end = end;
		}
		cfs_store_extent_drop(t->store, e->addr + keep, e_end - block);
		t->block_count -= e_end - block;
		rc = extent_slice(e, 0, keep);
		if (rc < 0)
			return rc;
		gone = ++i;
	}
	while (i < c->extent_count && (uint32_t)c->extents[i].block + c->extents[i].count <= end) {
		struct cfs_extent *e = &c->extents[i++];

		cfs_store_extent_drop(t->store, e->addr, e->count);
		t->block_count -= e->count;
		crcs_free(e);
	}
	if (i > gone) {
		memmove(&c->extents[gone], &c->extents[i],
			(c->extent_count - i) * sizeof(struct cfs_extent));
		c->extent_count -= (uint16_t)(i - gone);
		t->extent_count -= i - gone;
	}
	if (gone < c->extent_count && c->extents[gone].block < end) {
		struct cfs_extent *e = &c->extents[gone];
		uint32_t off = end - e->block;

		cfs_store_extent_drop(t->store, e->addr, off);
		t->block_count -= off;
		rc = extent_slice(e, off, e->count - off);
	}
	return rc;
}

static int extent_insert(struct cfs_chunk_table *t, struct cfs_chunk *c, const struct cfs_extent *x)
{
	uint32_t i;
	int rc = extent_room(c, 1);

	if (rc < 0)
		return rc;
	i = cfs_extent_from(c, x->block);
	memmove(&c->extents[i + 1], &c->extents[i],
		(c->extent_count - i) * sizeof(struct cfs_extent));
	c->extents[i] = *x;
	c->extent_count++;
	t->extent_count++;
	t->block_count += x->count;
	extent_account(t, c, x);
	return 0;
}

static bool has_extent(const struct cfs_chunk *c, uint32_t block)
{
	uint32_t i = cfs_extent_from(c, block);

	return i < c->extent_count && c->extents[i].block <= block;
}

/* --- changes --- */

/* After a change: a new version; in the list of patched chunks or out of it; gone when empty. */
static void chunk_changed(struct cfs_chunk_table *t, struct cfs_chunk *c)
{
	bool is_urgent = c->patch_count > PATCHES_URGENT;

	if (c->extent_count == 0 && c->patch_count == 0) {
		chunk_remove(t, c);
		return;
	}
	c->version = ++t->version;
	if (c->patch_count == 0) {
		cfs_list_remove(&c->patched);
		c->is_urgent = false;
		if (c->patch_cap > 4) {
			free(c->patches);
			c->patches = NULL;
			c->patch_cap = 0;
		}
		return;
	}
	for (uint32_t i = 0; i < c->patch_count && !is_urgent; i++)
		is_urgent = c->patches[i].len == CFS_BLOCK_BYTES;
	if (is_urgent && !c->is_urgent) {
		cfs_list_remove(&c->patched);
		cfs_list_push(&t->patched, &c->patched);
	} else if (cfs_list_is_empty(&c->patched)) {
		cfs_list_append(&t->patched, &c->patched);
	}
	c->is_urgent = is_urgent;
	c->is_unmergeable = false;
}

static int apply_extent(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_chunk *c = chunk_get(t, d->ino, d->chunk);
	struct cfs_extent x = { .addr = d->addr, .block = d->block, .count = d->count };
	uint32_t crcs[CFS_CHUNK_BLOCKS];
	int rc;

	if (!c)
		return -ENOMEM;
	memcpy(crcs, d->crcs, d->count * sizeof(uint32_t));
	for (uint32_t i = 0; i < d->count; i++)
		crcs[i] = le32toh(crcs[i]);
	rc = crcs_set(&x, crcs);
	if (rc == 0)
		rc = extents_punch(t, c, d->block, d->count);
	if (rc == 0)
		rc = extent_insert(t, c, &x);
	if (rc < 0)
		return rc;
	cfs_patches_drop(t, c, d->block, d->count);
	chunk_changed(t, c);
	return 0;
}

static int apply_patch(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_chunk *c = chunk_get(t, d->ino, d->chunk);
	uint32_t at = 0;

	if (!c)
		return -ENOMEM;
	while (at < d->len_bytes) {
		uint32_t off = d->off_bytes + at, in = off % CFS_BLOCK_BYTES;
		uint32_t n = CFS_MIN(CFS_BLOCK_BYTES - in, d->len_bytes - at);
		int rc = cfs_patch_put(t, c, off / CFS_BLOCK_BYTES, in, d->bytes + at, n);

		if (rc < 0)
			return rc;
		at += n;
	}
	chunk_changed(t, c);
	return 0;
}

/* A part of a block: over an extent zeros must lie, else the bytes just go. */
static int zero_part(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block, uint32_t off,
		     uint32_t len)
{
	if (has_extent(c, block))
		return cfs_patch_put(t, c, block, off, NULL, len);
	return cfs_patch_erase(t, c, block, off, len);
}

static int chunk_zero(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t off, uint32_t len)
{
	uint32_t end = off + len, first = (off + CFS_BLOCK_BYTES - 1) / CFS_BLOCK_BYTES;
	uint32_t last = end / CFS_BLOCK_BYTES;
	int rc = 0;

	if (first > last) /* within one block */
		return zero_part(t, c, last, off % CFS_BLOCK_BYTES, len);
	if (off % CFS_BLOCK_BYTES)
		rc = zero_part(t, c, first - 1, off % CFS_BLOCK_BYTES,
			       CFS_BLOCK_BYTES - off % CFS_BLOCK_BYTES);
	if (rc == 0 && end % CFS_BLOCK_BYTES)
		rc = zero_part(t, c, last, 0, end % CFS_BLOCK_BYTES);
	if (rc == 0 && last > first) {
		cfs_patches_drop(t, c, first, last - first);
		rc = extents_punch(t, c, first, last - first);
	}
	return rc;
}

static int apply_zero(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_chunk *c = cfs_chunk_find(t, d->ino, d->chunk);
	int rc;

	if (!c)
		return 0;
	rc = chunk_zero(t, c, d->off_bytes, d->len_bytes);
	if (rc == 0)
		chunk_changed(t, c);
	return rc;
}

static int apply_trim(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_file_chunks *f = file_get(t, d->ino);
	uint64_t border = d->size_bytes / CFS_CHUNK_BYTES, next = border;
	uint32_t in = (uint32_t)(d->size_bytes % CFS_CHUNK_BYTES);
	struct cfs_chunk *c;
	int rc = 0;

	if (!f)
		return -ENOMEM;
	/* First the cut, never 0: a file without chunks stays for its sake. */
	f->cut = CFS_MAX(f->cut, d->cut);
	while (rc == 0 && (c = cfs_chunk_from(f, next))) {
		uint32_t off = c->chunk == border ? in : 0;

		if (CFS_BREAK(TRUNCATE_EXTENT))
			off = (uint32_t)cfs_round_up(off, CFS_BLOCK_BYTES);
		next = c->chunk + 1;
		rc = chunk_zero(t, c, off, CFS_CHUNK_BYTES - off);
		if (rc == 0)
			chunk_changed(t, c);
	}
	return rc;
}

static int apply_punch(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_file_chunks *f = cfs_file_chunks_find(t, d->ino);
	struct cfs_chunk_range r = { .off = d->from_bytes, .end = d->end_bytes };
	struct cfs_chunk *c;
	int rc = 0;

	while (rc == 0 && f && (c = cfs_chunk_range_next(f, &r))) {
		bool is_last = f->count == 1 && f->cut == 0;

		rc = chunk_zero(t, c, r.in_off, r.in_len);
		is_last = is_last && c->extent_count == 0 && c->patch_count == 0;
		if (rc == 0)
			chunk_changed(t, c);
		if (is_last)
			break; /* the file went with it */
	}
	return rc;
}

static int apply_drop(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_file_chunks *f = cfs_file_chunks_find(t, d->ino);
	int rc = 0;

	if (!f)
		return 0;
	f->cut = UINT64_MAX; /* so that it stays until we are done with it */
	while (rc == 0 && f->count > 0) {
		struct cfs_chunk *c = cfs_file_chunks_array(f)[f->count - 1];

		rc = chunk_zero(t, c, 0, CFS_CHUNK_BYTES);
		if (rc == 0)
			chunk_changed(t, c);
	}
	if (rc == 0)
		file_remove(t, f);
	return rc;
}

/* Only where the old address is still there: what was written meanwhile stays. */
static int apply_relocate(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_chunk *c = cfs_chunk_find(t, d->ino, d->chunk);
	uint32_t at = d->block, end = (uint32_t)d->block + d->count;
	int rc = 0;

	while (c && rc == 0 && at < end) {
		uint32_t i = cfs_extent_from(c, at), from, n;
		struct cfs_extent *e = &c->extents[i], x;

		if (i == c->extent_count || e->block >= end)
			break;
		from = CFS_MAX(at, (uint32_t)e->block);
		n = CFS_MIN(end, (uint32_t)e->block + e->count) - from;
		at = from + n;
		if (e->addr + (from - e->block) != d->from + (from - d->block))
			continue;
		x = (struct cfs_extent){
			.addr = d->addr + (from - d->block),
			.block = (uint16_t)from,
			.count = (uint16_t)n,
		};
		rc = crcs_set(&x, cfs_extent_crcs(e) + (from - e->block));
		if (rc == 0)
			rc = extents_punch(t, c, from, n);
		if (rc == 0)
			rc = extent_insert(t, c, &x);
		c->version = ++t->version;
	}
	return rc;
}

static int apply_file(struct cfs_chunk_table *t, const struct cfs_data_change *d)
{
	struct cfs_file_chunks *f;

	if (d->cut == 0)
		return 0;
	f = file_get(t, d->ino);
	if (!f)
		return -ENOMEM;
	f->cut = CFS_MAX(f->cut, d->cut);
	return 0;
}

int cfs_chunk_apply(struct cfs_chunk_table *t, const struct cfs_item *item)
{
	struct cfs_data_change d;
	int rc = cfs_data_decode(item, &d);

	if (rc < 0)
		return rc;
	switch (item->kind) {
	case CFS_DATA_EXTENT:
	case CFS_DATA_EXTENT_FAR:
	case CFS_DATA_SHARED:
		return apply_extent(t, &d);
	case CFS_DATA_PATCH:
		return apply_patch(t, &d);
	case CFS_DATA_ZERO:
		return apply_zero(t, &d);
	case CFS_DATA_TRIM:
		return apply_trim(t, &d);
	case CFS_DATA_DROP:
		return apply_drop(t, &d);
	case CFS_DATA_RELOCATE:
	case CFS_DATA_RELOCATE_FAR:
		return apply_relocate(t, &d);
	case CFS_DATA_PUNCH:
		return apply_punch(t, &d);
	default:
		return apply_file(t, &d);
	}
}

void cfs_chunk_table_fini(struct cfs_chunk_table *t)
{
	if (!t->slots)
		return;
	for (uint64_t i = 0; i < t->slot_count; i++) {
		while (t->slots[i]) {
			struct cfs_file_chunks *f = t->slots[i];

			f->cut = UINT64_MAX;
			while (f->count > 0) {
				struct cfs_chunk *c = cfs_file_chunks_array(f)[f->count - 1];

				cfs_patches_drop(t, c, 0, CFS_CHUNK_BLOCKS);
				for (uint32_t k = 0; k < c->extent_count; k++)
					crcs_free(&c->extents[k]);
				c->extent_count = 0;
				chunk_remove(t, c);
			}
			file_remove(t, f);
		}
	}
	free(t->slots);
	t->slots = NULL;
}

/* --- questions --- */

uint32_t cfs_chunk_present(const struct cfs_chunk *c, uint32_t block, uint32_t count)
{
	uint32_t end = block + count, sum = 0, last = UINT32_MAX;

	if (!c)
		return 0;
	for (uint32_t i = cfs_extent_from(c, block);
	     i < c->extent_count && c->extents[i].block < end; i++) {
		uint32_t from = CFS_MAX((uint32_t)c->extents[i].block, block);
		uint32_t to = CFS_MIN((uint32_t)c->extents[i].block + c->extents[i].count, end);

		sum += to - from;
	}
	for (uint32_t i = cfs_patch_from(c, block); i < c->patch_count && c->patches[i].block < end;
	     i++) {
		if (c->patches[i].block != last && !has_extent(c, c->patches[i].block))
			sum++;
		last = c->patches[i].block;
	}
	return sum;
}

/* Is anything of the block left when bytes of it are zeroed? */
static bool is_left(const struct cfs_chunk *c, uint32_t block, uint32_t off, uint32_t end)
{
	if (has_extent(c, block))
		return true;
	for (uint32_t i = cfs_patch_from(c, block);
	     i < c->patch_count && c->patches[i].block == block; i++)
		if (c->patches[i].off < off ||
		    (uint32_t)c->patches[i].off + c->patches[i].len > end)
			return true;
	return false;
}

uint32_t cfs_chunk_present_after_zero(const struct cfs_chunk *c, uint32_t off_bytes,
				      uint32_t len_bytes)
{
	uint32_t end = off_bytes + len_bytes, sum = 0;
	uint32_t first = off_bytes / CFS_BLOCK_BYTES, last = (end - 1) / CFS_BLOCK_BYTES;

	if (!c)
		return 0;
	for (uint32_t b = first; b <= last; b = b == first ? CFS_MAX(last, b + 1) : b + 1) {
		uint32_t from = b == first ? off_bytes % CFS_BLOCK_BYTES : 0;
		uint32_t to = b == last ? end - b * CFS_BLOCK_BYTES : CFS_BLOCK_BYTES;

		if ((from > 0 || to < CFS_BLOCK_BYTES) && is_left(c, b, from, to))
			sum++;
	}
	return sum;
}

static uint64_t reverse(uint64_t v)
{
	uint64_t out = 0;

	for (uint32_t i = 0; i < 64; i++, v >>= 1)
		out = out << 1 | (v & 1);
	return out;
}

uint64_t cfs_chunk_table_scan(const struct cfs_chunk_table *t, uint64_t cursor,
			      void (*fn)(void *ctx, const struct cfs_file_chunks *f), void *ctx)
{
	uint64_t mask = t->slot_count - 1;

	for (const struct cfs_file_chunks *f = t->slots[cursor & mask]; f; f = f->hash_next)
		fn(ctx, f);
	/* Counts up from the highest bit of the mask: growth splits a slot into ones not yet seen.
	 */
	cursor |= ~mask;
	return reverse(reverse(cursor) + 1);
}
