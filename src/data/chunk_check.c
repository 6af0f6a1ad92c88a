#include <stdio.h>

#include "data/patch.h"

struct counts {
	uint64_t chunks, extents, blocks, patches, patch_bytes, listed;
};

static void check_chunk(const struct cfs_chunk *c, struct counts *n,
			void (*report)(void *ctx, const char *what), void *ctx)
{
	char what[160];
	uint32_t end = 0;

	for (uint32_t i = 0; i < c->extent_count; i++) {
		const struct cfs_extent *e = &c->extents[i];

		if (e->count == 0 || e->addr == CFS_ADDR_NONE || e->block < end ||
		    (uint32_t)e->block + e->count > CFS_CHUNK_BLOCKS) {
			snprintf(what, sizeof(what),
				 "file %llu chunk %llu: extent at block %u overlaps or is out of "
				 "bounds",
				 (unsigned long long)c->file->ino, (unsigned long long)c->chunk,
				 e->block);
			report(ctx, what);
		}
		end = (uint32_t)e->block + e->count;
		n->blocks += e->count;
	}
	for (uint32_t i = 0; i < c->patch_count; i++) {
		const struct cfs_patch *p = &c->patches[i], *q = i ? p - 1 : NULL;
		bool is_after = !q || q->block < p->block ||
				(q->block == p->block && (uint32_t)q->off + q->len < p->off);

		if (!is_after || p->len == 0 || p->len > p->cap || p->block >= CFS_CHUNK_BLOCKS ||
		    (uint32_t)p->off + p->len > CFS_BLOCK_BYTES) {
			snprintf(what, sizeof(what),
				 "file %llu chunk %llu: patch at block %u overlaps or is out of "
				 "bounds",
				 (unsigned long long)c->file->ino, (unsigned long long)c->chunk,
				 p->block);
			report(ctx, what);
		}
		n->patch_bytes += p->cap + CFS_PATCH_OVERHEAD;
	}
	if ((c->patch_count == 0) != cfs_list_is_empty(&c->patched))
		report(ctx, "data: the list of patched chunks is wrong");
	if (c->extent_count == 0 && c->patch_count == 0)
		report(ctx, "data: an empty chunk is kept");
	n->chunks++;
	n->extents += c->extent_count;
	n->patches += c->patch_count;
}

void cfs_chunk_table_check(const struct cfs_chunk_table *t,
			   void (*report)(void *ctx, const char *what), void *ctx)
{
	struct counts n = { 0 };
	uint64_t files = 0;

	for (uint64_t i = 0; i < t->slot_count; i++) {
		for (const struct cfs_file_chunks *f = t->slots[i]; f; f = f->hash_next) {
			files++;
			if (f->count == 0 && f->cut == 0)
				report(ctx, "data: an empty file is kept");
			for (uint32_t k = 0; k < f->count; k++) {
				const struct cfs_chunk *c = cfs_file_chunks_array(f)[k];

				if (c->file != f ||
				    (k && cfs_file_chunks_array(f)[k - 1]->chunk >= c->chunk))
					report(ctx, "data: chunks of a file are out of order");
				check_chunk(c, &n, report, ctx);
			}
		}
	}
	if (files != t->file_count || n.chunks != t->chunk_count || n.extents != t->extent_count ||
	    n.blocks != t->block_count || n.patches != t->patch_count ||
	    n.patch_bytes != t->patch_bytes)
		report(ctx, "data: counts differ from what is there");
}
