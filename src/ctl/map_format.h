/*
 * Rows of the cluster map as the control plane keeps them, in pieces of at most CFS_MAP_ROWS_MAX
 * shards (doc/format/map.md). A piece is a text since version 2, for who looks into the control
 * plane with its own tools:
 *
 *	claudefs-map 2 shards 256 first 0 count 256 crc32c 1a2b3c4d
 *	shard epoch node slice
 *	0 12 0 0
 *	...
 */
#ifndef CFS_CTL_MAP_FORMAT_H
#define CFS_CTL_MAP_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "base/endian.h"

#define CFS_MAP_ROWS_VERSION 2u
#define CFS_MAP_ROWS_MAX 4096u
#define CFS_MAP_ROWS_HEAD_BYTES_MAX 128u
#define CFS_MAP_ROW_BYTES_MAX 40u /* of a row's line: numbers of 5, 20, 5 and 5 digits at most */
#define CFS_MAP_ROWS_BYTES_MAX \
	(CFS_MAP_ROWS_HEAD_BYTES_MAX + CFS_MAP_ROWS_MAX * CFS_MAP_ROW_BYTES_MAX)

/* Version 1, which is read only. */
#define CFS_MAP_ROWS_1_MAGIC 0x50414d43u /* "CMAP" */
#define CFS_MAP_ROWS_1_VERSION 1u

struct cfs_map_rows_1_header {
	cfs_le32 magic;
	cfs_le16 version;
	cfs_le16 header_bytes;
	cfs_le32 shards; /* of the whole map; a power of two */
	cfs_le32 first;  /* shard of the first row */
	cfs_le32 count;  /* rows that follow */
	cfs_le32 crc;    /* CRC32C of header and rows with this field 0 */
} CFS_PACKED;
static_assert(sizeof(struct cfs_map_rows_1_header) == 24, "a map piece's header is 24 bytes");

struct cfs_map_row_1_bytes {
	cfs_le64 epoch; /* the shard's */
	cfs_le16 node;
	cfs_le16 slice;
	cfs_le32 reserved; /* written 0, verified 0 */
} CFS_PACKED;
static_assert(sizeof(struct cfs_map_row_1_bytes) == 16, "a map row is 16 bytes");

struct cfs_map_row {
	uint64_t epoch;
	uint16_t node, slice;
};

/* Encodes rows [@first, @first + @count) of @rows, which is the whole map; returns bytes. @buf
 * holds CFS_MAP_ROWS_BYTES_MAX. */
uint32_t cfs_map_rows_encode(const struct cfs_map_row *rows, uint32_t shards, uint32_t first,
			     uint32_t count, uint8_t *buf);
/* Decodes a piece into the @shards rows of @rows, at its place. Returns how many rows; @rows is
 * untouched on failure: -CFS_EBAD_FORMAT, also when it is of a map of another size;
 * -CFS_EBAD_CHECKSUM; -CFS_EBAD_VERSION. */
int cfs_map_rows_decode(const uint8_t *buf, uint32_t len_bytes, uint32_t shards,
			struct cfs_map_row *rows);

#endif
