#include "data/patch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/stock.h"
#include "base/util.h"

static void patch_account(struct cfs_chunk_table *t, int64_t bytes)
{
	t->patch_bytes += (uint64_t)bytes;
	if (t->patch_bytes_core)
		*t->patch_bytes_core += (uint64_t)bytes;
}

static void patch_release(struct cfs_chunk_table *t, struct cfs_patch *p)
{
	patch_account(t, -(int64_t)(p->cap + CFS_PATCH_OVERHEAD));
	t->patch_count--;
	free(p->bytes);
}

uint32_t cfs_patch_from(const struct cfs_chunk *c, uint32_t block)
{
	uint32_t lo = 0, hi = c->patch_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (c->patches[mid].block < block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void patches_cut_out(struct cfs_chunk *c, uint32_t first, uint32_t count)
{
	memmove(&c->patches[first], &c->patches[first + count],
		(c->patch_count - first - count) * sizeof(struct cfs_patch));
	c->patch_count -= (uint16_t)count;
}

void cfs_patches_drop(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block,
		      uint32_t count)
{
	uint32_t first = cfs_patch_from(c, block), end = cfs_patch_from(c, block + count);

	for (uint32_t i = first; i < end; i++)
		patch_release(t, &c->patches[i]);
	if (end > first)
		patches_cut_out(c, first, end - first);
}

static int patch_room(struct cfs_chunk *c)
{
	uint32_t cap = c->patch_cap ? c->patch_cap * 2u : 1;
	struct cfs_patch *a;

	if (c->patch_count < c->patch_cap)
		return 0;
	a = cfs_stock_realloc(c->patches, c->patch_cap * sizeof(*a), cap * sizeof(*a));
	if (!a)
		return -ENOMEM;
	c->patches = a;
	c->patch_cap = (uint16_t)cap;
	return 0;
}

/* Inserts a patch that touches no other, with @cap bytes of memory, not filled. */
static struct cfs_patch *patch_insert(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t i,
				      const struct cfs_patch *p)
{
	uint8_t *bytes = cfs_stock_malloc(p->cap);

	if (!bytes || patch_room(c) < 0) {
		free(bytes);
		return NULL;
	}
	memmove(&c->patches[i + 1], &c->patches[i],
		(c->patch_count - i) * sizeof(struct cfs_patch));
	c->patches[i] = *p;
	c->patches[i].bytes = bytes;
	c->patch_count++;
	t->patch_count++;
	patch_account(t, p->cap + CFS_PATCH_OVERHEAD);
	return &c->patches[i];
}

/* Makes room for @len bytes: twice what is there, so that a growing patch is copied seldom. */
static int patch_grow(struct cfs_chunk_table *t, struct cfs_patch *p, uint32_t len)
{
	uint32_t cap = p->cap;
	uint8_t *bytes;

	if (len <= cap)
		return 0;
	cap = CFS_MIN(CFS_MAX(len, cap * 2u), CFS_BLOCK_BYTES);
	bytes = cfs_stock_realloc(p->bytes, p->cap, cap);
	if (!bytes)
		return -ENOMEM;
	patch_account(t, (int64_t)cap - p->cap);
	p->bytes = bytes;
	p->cap = (uint16_t)cap;
	return 0;
}

int cfs_patch_put(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block, uint32_t off,
		  const uint8_t *bytes, uint32_t len)
{
	uint32_t i = cfs_patch_from(c, block), end = off + len, last;
	struct cfs_patch *p;

	while (i < c->patch_count && c->patches[i].block == block &&
	       (uint32_t)c->patches[i].off + c->patches[i].len < off)
		i++;
	if (i == c->patch_count || c->patches[i].block != block || c->patches[i].off > end) {
		struct cfs_patch one = {
			.block = (uint16_t)block,
			.off = (uint16_t)off,
			.len = (uint16_t)len,
			.cap = (uint16_t)len,
		};

		p = patch_insert(t, c, i, &one);
		if (!p)
			return -ENOMEM;
	} else {
		/* One patch of all that it touches, from @i to before @last. */
		uint32_t from = CFS_MIN((uint32_t)c->patches[i].off, off), to = end;

		for (last = i; last < c->patch_count && c->patches[last].block == block &&
			       c->patches[last].off <= end;
		     last++)
			to = CFS_MAX(to, (uint32_t)c->patches[last].off + c->patches[last].len);
		p = &c->patches[i];
		if (patch_grow(t, p, to - from) < 0)
			return -ENOMEM;
		if (from < p->off) {
			memmove(p->bytes + (p->off - from), p->bytes, p->len);
			p->len = (uint16_t)(p->len + (p->off - from));
			p->off = (uint16_t)from;
		}
		for (uint32_t k = i + 1; k < last; k++) {
			struct cfs_patch *q = &c->patches[k];

			memcpy(p->bytes + (q->off - from), q->bytes, q->len);
			patch_release(t, q);
		}
		if (last > i + 1)
			patches_cut_out(c, i + 1, last - i - 1);
		p->len = (uint16_t)(to - from);
	}
	if (bytes)
		memcpy(p->bytes + (off - p->off), bytes, len);
	else
		memset(p->bytes + (off - p->off), 0, len);
	return 0;
}

int cfs_patch_erase(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block, uint32_t off,
		    uint32_t len)
{
	uint32_t i = cfs_patch_from(c, block), end = off + len;

	while (i < c->patch_count && c->patches[i].block == block && c->patches[i].off < end) {
		struct cfs_patch *p = &c->patches[i];
		uint32_t p_end = (uint32_t)p->off + p->len;

		if (p_end <= off) {
			i++;
			continue;
		}
		if (p_end > end) {
			/* A part behind is left: a patch of its own, then this one is cut. */
			struct cfs_patch right = {
				.block = p->block,
				.off = (uint16_t)end,
				.len = (uint16_t)(p_end - end),
				.cap = (uint16_t)(p_end - end),
			};
			struct cfs_patch *q = patch_insert(t, c, i + 1, &right);

			if (!q)
				return -ENOMEM;
			p = &c->patches[i];
			memcpy(q->bytes, p->bytes + (end - p->off), q->len);
		}
		if (p->off < off) {
			p->len = (uint16_t)(off - p->off);
			i++;
		} else {
			patch_release(t, p);
			patches_cut_out(c, i, 1);
		}
	}
	return 0;
}
