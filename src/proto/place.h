/*
 * Where things are (doc/design/namespace.md): numbers, places, chunks to shards.
 */
#ifndef CFS_PROTO_PLACE_H
#define CFS_PROTO_PLACE_H

#include <stdint.h>

#include "base/hash.h"

#define CFS_INO_ROOT 1ull /* home shard 0, serial 1; also FUSE's root nodeid */
#define CFS_SERIAL_MAX ((1ull << 48) - 1)
#define CFS_CHUNK_BYTES (1024u * 1024)
#define CFS_FILE_BYTES_MAX ((uint64_t)INT64_MAX)                       /* 8 EiB - 1 */
#define CFS_FILE_CHUNKS_MAX (CFS_FILE_BYTES_MAX / CFS_CHUNK_BYTES + 1) /* 2^43 */
#define CFS_SEEK_CHUNKS_MAX 65536u /* that one CHUNK_SEEK for a hole looks at: 64 GiB */
#define CFS_PLACE_ROOT 0ull

static inline uint64_t cfs_ino_make(uint32_t home_shard, uint64_t serial)
{
	return (uint64_t)home_shard << 48 | serial;
}

static inline uint32_t cfs_ino_home(uint64_t ino)
{
	return (uint32_t)(ino >> 48);
}

/* A directory's place, taken at birth and kept for life. */
uint64_t cfs_place(const struct cfs_sipkey *key, uint64_t parent_place, const void *name,
		   uint32_t name_bytes);

static inline uint32_t cfs_place_shard(uint64_t place, uint32_t shards)
{
	return (uint32_t)(cfs_hash_u64(place) & (shards - 1));
}

/* Chunk 0 lives on the inode's shard, the others by hash of the file's seed. */
static inline uint32_t cfs_chunk_shard(uint64_t ino, uint64_t seed, uint64_t chunk, uint32_t shards)
{
	if (chunk == 0)
		return cfs_ino_home(ino);
	return (uint32_t)(cfs_hash_u64(seed + cfs_hash_u64(chunk)) & (shards - 1));
}

#endif
