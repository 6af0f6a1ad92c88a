/*
 * Items of file data (doc/format/record.md). Offsets are within the chunk. Every item is a multiple
 * of four bytes long, so that the checksums of an extent are aligned in a record that begins with
 * data items.
 */
#ifndef CFS_DATA_DATA_FORMAT_H
#define CFS_DATA_DATA_FORMAT_H

#include "base/endian.h"
#include "repl/item.h"
#include "store/store.h"

#define CFS_CHUNK_BLOCKS 256u /* of 4 KiB in a chunk of 1 MiB */

/* Numbers are never reused. */
enum cfs_data_item {
	CFS_DATA_EXTENT = 96,      /* blocks of a chunk are at an address */
	CFS_DATA_PATCH = 97,       /* bytes that lie over what is there */
	CFS_DATA_ZERO = 98,        /* a range reads as zeros, whole blocks of it are gone */
	CFS_DATA_TRIM = 99,        /* a file's bytes from a size on are gone, and its cut here */
	CFS_DATA_DROP = 100,       /* all of a file is gone, its cut too */
	CFS_DATA_RELOCATE = 101,   /* blocks that were at one address are at another */
	CFS_DATA_FILE = 102,       /* a file's cut here (checkpoint) */
	CFS_DATA_EXTENT_FAR = 103, /* EXTENT, RELOCATE of chunks that need more than 32 bits */
	CFS_DATA_RELOCATE_FAR = 104,
	CFS_DATA_PUNCH = 105,  /* a range of the file reads as zeros, in all chunks here */
	CFS_DATA_SHARED = 106, /* EXTENT of blocks that another file of the shard named before */
};

struct cfs_data_extent { /* followed by a cfs_le32 CRC32C a block */
	cfs_le64 ino;
	cfs_le32 chunk;
	cfs_le16 block;
	cfs_le16 count; /* 1 to CFS_CHUNK_BLOCKS */
	cfs_le64 addr;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_extent) == 24, "extent item is 24 bytes and checksums");

struct cfs_data_extent_far { /* the same of a chunk past 2^32 - 1; SHARED: of any */
	cfs_le64 ino;
	cfs_le64 chunk;
	cfs_le64 addr;
	cfs_le16 block;
	cfs_le16 count;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_extent_far) == 28, "far extent item is 28 bytes");

struct cfs_data_patch { /* followed by the bytes, padded with zeros to a multiple of four */
	cfs_le64 ino;
	cfs_le32 chunk; /* lower half */
	cfs_le32 off_bytes;
	cfs_le32 len_bytes;
	cfs_le32 chunk_high; /* 0 for 2^32 chunks */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_patch) == 24, "patch item is 24 bytes and what it writes");

struct cfs_data_zero {
	cfs_le64 ino;
	cfs_le32 chunk; /* lower half */
	cfs_le32 off_bytes;
	cfs_le32 len_bytes;
	cfs_le32 chunk_high; /* 0 for 2^32 chunks */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_zero) == 24, "zero item is 24 bytes");

struct cfs_data_trim {
	cfs_le64 ino;
	cfs_le64 size_bytes; /* of the file */
	cfs_le64 cut;        /* not 0 */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_trim) == 24, "trim item is 24 bytes");

struct cfs_data_drop {
	cfs_le64 ino;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_drop) == 8, "drop item is 8 bytes");

struct cfs_data_relocate { /* followed by a cfs_le32 CRC32C a block */
	cfs_le64 ino;
	cfs_le32 chunk;
	cfs_le16 block;
	cfs_le16 count;
	cfs_le64 from;
	cfs_le64 to;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_relocate) == 32, "relocate item is 32 bytes and checksums");

struct cfs_data_relocate_far { /* the same of a chunk past 2^32 - 1 */
	cfs_le64 ino;
	cfs_le64 chunk;
	cfs_le64 from;
	cfs_le64 to;
	cfs_le16 block;
	cfs_le16 count;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_relocate_far) == 36, "far relocate item is 36 bytes");

struct cfs_data_punch {
	cfs_le64 ino;
	cfs_le64 off_bytes; /* of the file */
	cfs_le64 end_bytes;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_punch) == 24, "punch item is 24 bytes");

struct cfs_data_file {
	cfs_le64 ino;
	cfs_le64 cut;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_data_file) == 16, "file item is 16 bytes");

/* An item decoded and checked: ranges lie within a chunk, addresses are not 0. */
struct cfs_data_change {
	uint64_t ino, chunk;
	uint16_t block, count;          /* EXTENT, RELOCATE; FAR too, as all below */
	cfs_addr_t addr, from;          /* EXTENT, RELOCATE; RELOCATE */
	const uint8_t *crcs;            /* EXTENT, RELOCATE: cfs_le32 each */
	uint32_t off_bytes, len_bytes;  /* PATCH, ZERO */
	const uint8_t *bytes;           /* PATCH */
	uint64_t size_bytes, cut;       /* TRIM; TRIM, FILE */
	uint64_t from_bytes, end_bytes; /* PUNCH */
};
/* 0; -CFS_EBAD_FORMAT. Pointers go into the item. */
int cfs_data_decode(const struct cfs_item *item, struct cfs_data_change *out);
/* Data blocks that an item names: 0 or 1 of them; -CFS_EBAD_FORMAT. */
int cfs_data_refs(const struct cfs_item *item, struct cfs_block_ref *out, uint32_t max);

/* Room that an item takes, with its header. */
static inline uint32_t cfs_data_extent_bytes(uint32_t count)
{
	return (uint32_t)(sizeof(struct cfs_item_header) + sizeof(struct cfs_data_extent_far)) +
	       4 * count;
}
static inline uint32_t cfs_data_patch_bytes(uint32_t len_bytes)
{
	return (uint32_t)(sizeof(struct cfs_item_header) + sizeof(struct cfs_data_patch)) +
	       (len_bytes + 3) / 4 * 4;
}
#define CFS_DATA_FIXED_BYTES 64u /* more than any other item */

/* Each appends one item; overflow is remembered in @it. Chunks are below CFS_FILE_CHUNKS_MAX. */
void cfs_data_add_extent(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			 uint32_t count, cfs_addr_t addr, const uint32_t *crcs);
/* The same of blocks that are not new: they are not looked at after a power cut, as the record that
 * named them first is in the same log, before. */
void cfs_data_add_shared(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			 uint32_t count, cfs_addr_t addr, const uint32_t *crcs);
void cfs_data_add_patch(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t off_bytes,
			const void *bytes, uint32_t len_bytes);
void cfs_data_add_zero(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t off_bytes,
		       uint32_t len_bytes);
void cfs_data_add_trim(struct cfs_items *it, uint64_t ino, uint64_t size_bytes, uint64_t cut);
void cfs_data_add_punch(struct cfs_items *it, uint64_t ino, uint64_t off_bytes, uint64_t end_bytes);
void cfs_data_add_drop(struct cfs_items *it, uint64_t ino);
void cfs_data_add_relocate(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			   uint32_t count, cfs_addr_t from, cfs_addr_t to, const uint32_t *crcs);
void cfs_data_add_file(struct cfs_items *it, uint64_t ino, uint64_t cut);

#endif
