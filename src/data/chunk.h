/*
 * The tables of file data of one shard: files, their chunks here, and for each chunk its *extents*
 * (whole blocks at an address, with a CRC32C each) and *patches* (bytes over them, less than a
 * block each, in memory). Whatever neither covers is a hole. Design: doc/design/data.md.
 *
 * Invariants: extents of a chunk are sorted and do not overlap; patches are sorted, do not overlap,
 * stay within one block, and two of one block do not touch (they would be one). A chunk with
 * neither is not there; a file without chunks is there only while it has a cut. Each change gives
 * the chunk a new version, which no chunk of this shard had before. Nothing here suspends. Space is
 * accounted to the store as extents come and go.
 */
#ifndef CFS_DATA_CHUNK_H
#define CFS_DATA_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "data/data_format.h"
#include "store/store.h"

struct cfs_extent {
	cfs_addr_t addr;
	uint16_t block, count;
	union {
		uint32_t one;   /* the CRC of an extent of one block */
		uint32_t *many; /* of others: count of them, owned */
	} crc;
};

struct cfs_patch {
	uint16_t block, off, len, cap; /* bytes, within the block; len up to 4096 */
	uint8_t *bytes;                /* owned */
};

struct cfs_file_chunks;

struct cfs_chunk {
	struct cfs_file_chunks *file;
	struct cfs_extent *extents;
	struct cfs_patch *patches;
	uint64_t version;
	struct cfs_list patched; /* of the table's list while it has patches */
	uint64_t chunk;          /* its number in the file */
	uint16_t extent_count, extent_cap, patch_count, patch_cap;
	bool is_urgent;      /* is to be merged whatever the memory */
	bool is_unmergeable; /* a block below a patch cannot be read */
};

struct cfs_file_chunks {
	struct cfs_file_chunks *hash_next;
	uint64_t ino;
	uint64_t cut; /* of the last trim here; what is older is refused */
	uint32_t count, cap;
	union {
		struct cfs_chunk *one;   /* cap 0: at most one */
		struct cfs_chunk **many; /* sorted by number */
	} chunks;
};

struct cfs_chunk_table {
	struct cfs_store *store;
	uint32_t shard;
	struct cfs_file_chunks **slots;
	uint64_t slot_count, file_count; /* slots: a power of two */
	uint64_t chunk_count, extent_count, block_count, patch_count;
	uint64_t version;           /* the last one given out */
	uint64_t patch_bytes;       /* memory of patches */
	uint64_t *patch_bytes_core; /* the same, summed over tables; may be NULL */
	struct cfs_list patched;    /* chunks with patches: urgent ones first, else oldest first */
};

/* 0; -ENOMEM. fini drops all memory and leaves the store's accounts alone. */
int cfs_chunk_table_init(struct cfs_chunk_table *t, struct cfs_store *store, uint32_t shard,
			 uint64_t *patch_bytes_core);
void cfs_chunk_table_fini(struct cfs_chunk_table *t);

struct cfs_file_chunks *cfs_file_chunks_find(const struct cfs_chunk_table *t, uint64_t ino);
struct cfs_chunk *cfs_chunk_find(const struct cfs_chunk_table *t, uint64_t ino, uint64_t chunk);
/* The first chunk of @f from number @chunk on; NULL: none. */
struct cfs_chunk *cfs_chunk_from(const struct cfs_file_chunks *f, uint64_t chunk);
/* A walk over the parts of a byte range of a file that are in chunks of this shard. */
struct cfs_chunk_range {
	uint64_t off, end;       /* what is left of it */
	uint32_t in_off, in_len; /* out: the part, within the chunk */
};
/* The next chunk that has anything and some bytes in @r; NULL: no more. */
struct cfs_chunk *cfs_chunk_range_next(const struct cfs_file_chunks *f, struct cfs_chunk_range *r);
/* The chunks of @f, sorted by number. */
static inline struct cfs_chunk *const *cfs_file_chunks_array(const struct cfs_file_chunks *f)
{
	return f->cap ? f->chunks.many : &f->chunks.one;
}
/* The file's cut here; 0: none. */
uint64_t cfs_chunk_cut(const struct cfs_chunk_table *t, uint64_t ino);

/* Applies one change (data_format.h). 0; -ENOMEM, after which the table is not to be used. */
int cfs_chunk_apply(struct cfs_chunk_table *t, const struct cfs_item *item);

/* The extent or patch of @c that is the first to end past @block; its index, or the count. */
uint32_t cfs_extent_from(const struct cfs_chunk *c, uint32_t block);
uint32_t cfs_patch_from(const struct cfs_chunk *c, uint32_t block);
static inline const uint32_t *cfs_extent_crcs(const struct cfs_extent *e)
{
	return e->count == 1 ? &e->crc.one : e->crc.many;
}
/* How many of the blocks @block.. have an extent or a patch. NULL: none. */
uint32_t cfs_chunk_present(const struct cfs_chunk *c, uint32_t block, uint32_t count);
/* How many would be left after zeroing the bytes. */
uint32_t cfs_chunk_present_after_zero(const struct cfs_chunk *c, uint32_t off_bytes,
				      uint32_t len_bytes);

/*
 * Walks files in an order that survives growth of the table and changes between calls: whatever is
 * there from the first call to the last is seen at least once (the reverse binary cursor of Redis'
 * SCAN). Start with 0, end when it returns 0. @fn must not change the table.
 */
uint64_t cfs_chunk_table_scan(const struct cfs_chunk_table *t, uint64_t cursor,
			      void (*fn)(void *ctx, const struct cfs_file_chunks *f), void *ctx);

/* Checks the invariants above and the counts. */
void cfs_chunk_table_check(const struct cfs_chunk_table *t,
			   void (*report)(void *ctx, const char *what), void *ctx);

#endif
