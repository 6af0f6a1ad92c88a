/*
 * The patches of a chunk: bytes over its extents and holes, in memory until they are merged into
 * whole blocks. Part of the tables of chunk.h, whose invariants they keep; the memory they take is
 * accounted to the table and its core. A caller then says that the chunk has changed.
 */
#ifndef CFS_DATA_PATCH_H
#define CFS_DATA_PATCH_H

#include "data/chunk.h"

/* What a patch takes beside its bytes, with malloc's own. */
#define CFS_PATCH_OVERHEAD ((uint32_t)sizeof(struct cfs_patch) + 16u)

/*
 * Puts @len bytes at @off within one block, over what is there; @bytes NULL: zeros. Patches that
 * touch become one. 0; -ENOMEM.
 */
int cfs_patch_put(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block, uint32_t off,
		  const uint8_t *bytes, uint32_t len);

/* Takes bytes within one block out of its patches. 0; -ENOMEM: a rest behind found no memory. */
int cfs_patch_erase(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block, uint32_t off,
		    uint32_t len);

/* Drops all patches of @count blocks. */
void cfs_patches_drop(struct cfs_chunk_table *t, struct cfs_chunk *c, uint32_t block,
		      uint32_t count);

#endif
