/*
 * Bytes of a store (doc/format/store.md): superblock, segment header with its roots, journal
 * records, checkpoint index, and the header of the tail. Decoders check magic, version, lengths,
 * reserved bytes and CRC before anything else is believed.
 */
#ifndef CFS_STORE_STORE_FORMAT_H
#define CFS_STORE_STORE_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"
#include "store/store.h"

#define CFS_STORE_VERSION 1u
#define CFS_STORE_BLOCK 4096u

/* --- superblock: block 0 and the last block of the device --- */

#define CFS_SUPER_MAGIC 0x4342555345464343ull /* "CCFESUBC" */

struct cfs_super_format {
	cfs_le64 magic;
	cfs_le16 version; /* of everything in the store; a reader refuses anything newer */
	cfs_le16 header_bytes;
	cfs_le32 crc; /* CRC32C of the whole block with this field 0; at this place in all versions
		       */
	cfs_le64 epoch; /* the newer of two good copies counts */
	uint8_t uuid[16];
	uint8_t hash_key[16];
	cfs_le64 device_bytes;
	cfs_le64 slice_off; /* bytes, of slice 0 */
	cfs_le32 stores;
	cfs_le32 shards;
	cfs_le32 zone_blocks;
	cfs_le32 zones; /* of each slice */
	cfs_le64 created_ns;
	uint8_t reserved[4096 - 96];
} CFS_PACKED;
static_assert(sizeof(struct cfs_super_format) == 4096, "a superblock is one block");

struct cfs_super {
	uint8_t uuid[16];
	uint8_t hash_key[16];
	uint64_t epoch, device_bytes, slice_off, created_ns;
	uint32_t version, stores, shards, zone_blocks, zones;
};

void cfs_super_encode(const struct cfs_super *s, void *block);
/* 0; -CFS_ENOT_A_STORE; -CFS_EBAD_CHECKSUM; -CFS_EBAD_VERSION (then only @out->version is set);
 * -CFS_EBAD_FORMAT: numbers that cannot be. */
int cfs_super_decode(const void *block, struct cfs_super *out);

/* --- segment header: first block of a zone in use; of a journal segment also the last one --- */

#define CFS_SEGMENT_MAGIC 0x47455343u /* "CSEG" */

struct cfs_segment_format {
	cfs_le32 magic;
	cfs_le16 version;
	cfs_le16 header_bytes;
	cfs_le32 crc; /* CRC32C of the block with this field 0 */
	cfs_le16 stream;
	cfs_le16 reserved0;
	uint8_t uuid[16];
	cfs_le32 slice;
	cfs_le32 zone;
	cfs_le64 seq; /* never reused; orders recovery */
	/* the journal's only, else 0 */
	cfs_le64 start_pos;   /* stream position of the first byte behind the roots; also where the
			       * journal segment before this one ends */
	cfs_le64 prev_seq;    /* of the journal segment before this one; 0: none */
	cfs_le64 oldest_pos;  /* replay needed nothing before it when this was written */
	cfs_le64 flushed_pos; /* known flushed then */
	cfs_le64 incarnation;
	cfs_le32 roots_blocks; /* blocks of roots, and of the bitmap of free zones, behind this one
				*/
	cfs_le32 root_count;
	cfs_le32 bitmap_off; /* bytes from the start of the roots */
	cfs_le32 roots_crc;  /* of those blocks */
	uint8_t reserved[4096 - 104];
} CFS_PACKED;
static_assert(sizeof(struct cfs_segment_format) == 4096, "a segment header is one block");

struct cfs_segment_header {
	uint8_t uuid[16];
	uint32_t slice, zone, stream;
	uint64_t seq, start_pos, prev_seq, oldest_pos, flushed_pos, incarnation;
	uint32_t roots_blocks, root_count, bitmap_off, roots_crc;
};

void cfs_segment_encode(const struct cfs_segment_header *h, void *block);
/* 0; -CFS_EBAD_FORMAT (no header, another store's, nonsense); -CFS_EBAD_VERSION;
 * -CFS_EBAD_CHECKSUM. */
int cfs_segment_decode(const void *block, const struct cfs_super *super, uint32_t slice,
		       uint32_t zone, struct cfs_segment_header *out);

/* --- root: where a shard's replay begins; in journal segments and in CHECKPOINT records --- */

struct cfs_root_format {
	cfs_le32 shard;
	cfs_le32 index_blocks; /* 0: no checkpoint yet */
	cfs_le64 index_addr;   /* of the checkpoint's index */
	cfs_le64 begin_index;  /* replay starts after it */
	cfs_le64 begin_epoch;  /* of that record */
	cfs_le64 end_index;    /* it counts when this one is stable */
	cfs_le64 replay_pos;   /* no record after begin_index lies before it */
	cfs_le64 record_pos;   /* of the CHECKPOINT record; 0: none */
	cfs_le64 reserved;
} CFS_PACKED;
static_assert(sizeof(struct cfs_root_format) == 64, "a root is 64 bytes");

struct cfs_root {
	uint32_t shard, index_blocks;
	cfs_addr_t index_addr;
	uint64_t begin_index, begin_epoch, end_index, replay_pos, record_pos;
};

void cfs_root_encode(const struct cfs_root *r, void *out);
/* 0; -CFS_EBAD_FORMAT. */
int cfs_root_decode(const void *bytes, const struct cfs_super *super, struct cfs_root *out);

/* --- journal records --- */

#define CFS_RECORD_MAGIC 0x43455243u /* "CREC" */
#define CFS_RECORD_ALIGN 8u

/* X(name, number): the store's own kinds (flag OWN); never reused. */
#define CFS_STORE_RECORD_TABLE(X) \
	X(BATCH, 1) /* starts every write-out, on a block's border */ \
	X(PAD, 2)   /* fills up to a block's border */ \
	X(CHECKPOINT, 3) \
	X(CUT, 4)
enum {
#define X(name, number) CFS_STORE_RECORD_##name = number,
	CFS_STORE_RECORD_TABLE(X)
#undef X
};

#define CFS_RECORD_FLAG_OWN 1u

struct cfs_record_format {
	cfs_le32 magic;
	uint8_t version;
	uint8_t flags;
	cfs_le16 kind;
	cfs_le32 shard;
	cfs_le16 dep_count;
	cfs_le16 reserved;
	cfs_le32 len_bytes; /* of the payload */
	cfs_le32 crc;       /* CRC32C of header (this field 0), deps and payload, started
			     * with a seed that follows from the BATCH before it */
	cfs_le64 epoch;
	cfs_le64 index;
} CFS_PACKED;
static_assert(sizeof(struct cfs_record_format) == 40, "a record header is 40 bytes");

struct cfs_dep_format {
	cfs_le32 shard;
	cfs_le32 reserved;
	cfs_le64 epoch;
	cfs_le64 index;
} CFS_PACKED;
static_assert(sizeof(struct cfs_dep_format) == 24, "a dep is 24 bytes");

struct cfs_batch_format {
	cfs_le64 pos;         /* this record's own */
	cfs_le64 flushed_pos; /* known flushed, and never verified again */
	cfs_le64 stable_pos;  /* known stable */
	cfs_le64 incarnation; /* counts the opens of the store; never falls along the stream */
	/* Random, one for each open; the tail knows it. A batch follows one of its own session, or,
	 * the first of a session, one of the session before. So what an earlier life left beyond
	 * the end of the stream does not follow what is written up to it later. */
	cfs_le64 session;
	cfs_le64 session_before;
} CFS_PACKED;
static_assert(sizeof(struct cfs_batch_format) == 48, "a batch is 48 bytes");

struct cfs_cut_format {
	cfs_le64 last_index; /* records of the shard before this one and behind that index are void
			      */
	cfs_le64 last_epoch;
} CFS_PACKED;
static_assert(sizeof(struct cfs_cut_format) == 16, "a cut is 16 bytes");

#define CFS_RECORD_HEADER_BYTES ((uint32_t)sizeof(struct cfs_record_format))
#define CFS_BATCH_RECORD_BYTES (CFS_RECORD_HEADER_BYTES + (uint32_t)sizeof(struct cfs_batch_format))
/* The longest record, padding included. */
#define CFS_RECORD_TOTAL_MAX \
	(CFS_RECORD_HEADER_BYTES + CFS_RECORD_DEPS_MAX * 24u + CFS_RECORD_BYTES_MAX + 8u)

/* A record's header as decoded. */
struct cfs_record_header {
	uint8_t flags;
	uint16_t kind, dep_count;
	uint32_t shard, len_bytes, crc;
	uint64_t epoch, index;
	uint32_t total_bytes; /* with deps, payload and padding */
};

/* What records behind a BATCH of @session start their CRC with. */
uint32_t cfs_record_seed(uint64_t session);
/* Checks all but the CRC. 0; -CFS_EBAD_FORMAT. */
int cfs_record_header_decode(const void *bytes, struct cfs_record_header *out);
/* CRC of a whole record that lies in one piece at @bytes. */
uint32_t cfs_record_crc(const void *bytes, const struct cfs_record_header *h, uint32_t seed);
/* Decodes the deps behind the header at @bytes. 0; -CFS_EBAD_FORMAT. */
int cfs_record_deps_decode(const void *bytes, uint32_t dep_count, struct cfs_record_dep *out);

/* --- checkpoint --- */

#define CFS_CHECKPOINT_MAGIC 0x4b504343u /* "CCPK" */

/* The index lists the extents; their bytes, one after the other, are frames: length (4 bytes, 0
 * ends) and that many bytes. */
struct cfs_checkpoint_format {
	cfs_le32 magic;
	cfs_le16 version;
	cfs_le16 header_bytes;
	cfs_le32 crc; /* CRC32C of all of the index's blocks with this field 0 */
	cfs_le32 shard;
	cfs_le64 begin_index;
	cfs_le32 extent_count;
	cfs_le32 reserved;
} CFS_PACKED;
static_assert(sizeof(struct cfs_checkpoint_format) == 32, "a checkpoint header is 32 bytes");

struct cfs_checkpoint_extent_format {
	cfs_le64 addr;
	cfs_le32 blocks;
	cfs_le32 crc; /* of all its bytes */
} CFS_PACKED;
static_assert(sizeof(struct cfs_checkpoint_extent_format) == 16, "an extent is 16 bytes");

/* Checks an index of @blocks blocks. 0 and the count, or -CFS_EBAD_FORMAT, -CFS_EBAD_CHECKSUM. */
int cfs_checkpoint_index_verify(const void *bytes, uint32_t blocks, uint32_t shard,
				uint32_t *count_out);
/* Extent @i of a verified index. -CFS_EBAD_FORMAT: an address outside of the store. */
int cfs_checkpoint_extent_decode(const void *bytes, uint32_t i, const struct cfs_super *super,
				 cfs_addr_t *addr_out, uint32_t *blocks_out, uint32_t *crc_out);

/* True when [@addr, @blocks) is inside one zone of the store and not its header. */
bool cfs_addr_is_valid(const struct cfs_super *super, cfs_addr_t addr, uint32_t blocks);

/* --- tail: one file of memory that outlives the process --- */

#define CFS_TAIL_MAGIC 0x4c494154454c4946ull
#define CFS_TAIL_VERSION 1u

/* First block. Rings follow: records, then descriptors of data, then data. */
struct cfs_tail_format {
	cfs_le64 magic;
	cfs_le16 version;
	cfs_le16 header_bytes;
	cfs_le32 crc; /* CRC32C of the first 128 bytes with this field 0 */
	uint8_t uuid[16];
	uint8_t boot_id[16];
	cfs_le32 slice;
	cfs_le32 data_blocks; /* of the data ring; as many descriptors */
	cfs_le64 ring_bytes;  /* of the record ring */
	uint8_t reserved[128 - 64];
	/* Each of these is one aligned store of native words, published in order. */
	uint64_t session_old; /* the tail belongs to a store whose newest BATCH names either */
	uint64_t session_new;
	uint64_t written;                /* stream position from where the record ring counts */
	uint64_t head;                   /* and up to where */
	uint64_t data_first, data_end;   /* counts of descriptors ever used */
	uint64_t block_first, block_end; /* counts of data blocks ever used */
	uint8_t unused[4096 - 192];
}; /* not packed: the words are to be aligned */
static_assert(sizeof(struct cfs_tail_format) == 4096, "a tail header is one block");
static_assert(offsetof(struct cfs_tail_format, session_old) == 128, "published words are aligned");

struct cfs_tail_entry_format {
	cfs_le64 addr;
	cfs_le32 blocks;
	cfs_le32 crc;  /* CRC32C of this with the field 0 */
	cfs_le64 slot; /* count of data blocks before this entry's first */
	cfs_le64 reserved;
} CFS_PACKED;
static_assert(sizeof(struct cfs_tail_entry_format) == 32, "a descriptor is 32 bytes");

void cfs_tail_entry_encode(cfs_addr_t addr, uint32_t blocks, uint64_t slot, void *out);
/* 0; -CFS_EBAD_CHECKSUM; -CFS_EBAD_FORMAT. */
int cfs_tail_entry_decode(const void *bytes, cfs_addr_t *addr_out, uint32_t *blocks_out,
			  uint64_t *slot_out);

#endif
