/*
 * The data part of a shard: chunks of files (doc/design/data.md). It serves requests 48..63 of
 *proto/msg.h and owns the items of data_format.h; the shard layer drives it through
 *cfs_data_part_ops. Everything runs on the shard's core.
 *
 * Offsets of the CHUNK_ operations are within the chunk where not said otherwise. Every one but
 *CHUNK_TRIM and CHUNK_DROP carries the cut of the file that its sender knows, and is refused with
 *-CFS_EOLD_CUT (and the newer cut in the reply) when the chunk's shard has trimmed the file since.
 *`blocks` in a reply is by how much st_blocks changes. The checksums with a write or a read are of
 *those 4 KiB blocks of the chunk that lie in the payload whole, in order.
 *
 *	CHUNK_READ	len bytes from off; what was never written is zeros. -EIO: a copy is bad.
 *	CHUNK_WRITE	one step for all readers. -CFS_EBAD_CHECKSUM: it was damaged on its way.
 *	CHUNK_ZERO	len bytes from off of the file, in all chunks of this shard, read as zeros;
 *whole blocks are given back
 *	CHUNK_TRIM	what is at and past size of the whole file, in this shard; once for each cut
 *	CHUNK_DROP	all of the file in this shard
 *	CHUNK_CLONE	len bytes from off of file ino2 become those of ino, in this chunk. Whole
 *blocks are shared, what is left at the ends is copied, holes become holes. cut2 is of ino2.
 *			-EXDEV: the blocks have too many owners; copy them.
 *	CHUNK_SEEK	the first byte of data, or hole (whence), in len bytes from off of the file
 *that are in chunks of this shard. -ENXIO: none. It looks for holes in at most CFS_SEEK_CHUNKS_MAX
 *chunks; more are -EINVAL.
 */
#ifndef CFS_DATA_DATA_H
#define CFS_DATA_DATA_H

#include "repl/shard.h"

extern const struct cfs_shard_part_ops cfs_data_part_ops;

/* The cleaner's callback: moves what @owner still has of these blocks elsewhere. 0; -EIO,
 * -CFS_EBAD_CHECKSUM: a block cannot be read, it stays; -ENOSPC; -ECANCELED. */
CFS_AWAITS int cfs_data_relocate(struct cfs_shard *sh, const struct cfs_extent_owner *owner,
				 cfs_addr_t addr, uint32_t blocks);

/* Does @owner still have some of these blocks there? */
bool cfs_data_owns(const struct cfs_shard *sh, const struct cfs_extent_owner *owner,
		   cfs_addr_t addr, uint32_t blocks);

/* Each extent of a shard, for a check over all stores. Nothing may change meanwhile. */
struct cfs_data_fact {
	uint64_t ino, chunk;
	cfs_addr_t addr;
	const uint32_t *crcs; /* one a block */
	uint32_t shard, block, blocks;
};
void cfs_data_walk(const struct cfs_shard *sh,
		   void (*fn)(void *ctx, const struct cfs_data_fact *fact), void *ctx);

struct cfs_data_stats {
	uint64_t files, chunks, extents, blocks; /* now */
	uint64_t patches, patch_bytes;           /* now; memory */
	uint64_t reads, writes, read_bytes, write_bytes;
	uint64_t merges, merged_blocks, relocated_blocks, clones;
	uint64_t bad_reads;  /* refused with -EIO */
	uint64_t bad_writes; /* refused: did not match their checksums */
};
void cfs_data_stats(const struct cfs_shard *sh, struct cfs_data_stats *out);

#endif
