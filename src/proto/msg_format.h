/*
 * Bytes of a message (doc/format/message.md): header, map of fields, fields.
 *
 *   struct cfs_msg_header | le64 map of the fields that follow | fields, in order of their number
 *
 * A u32 field is 4 bytes, u64 and i64 are 8, a field of bytes is a le32 length and that many bytes.
 * Nothing is padded. A field that the map does not name is 0 or empty for the receiver.
 */
#ifndef CFS_PROTO_MSG_FORMAT_H
#define CFS_PROTO_MSG_FORMAT_H

#include <assert.h>

#include "base/endian.h"

#define CFS_MSG_MAGIC 0x4d534643u /* "CFSM" */
#define CFS_MSG_HEADER_BYTES 88u
#define CFS_MSG_MAP_BYTES 8u

struct cfs_msg_header {
	cfs_le32 magic;        /* CFS_MSG_MAGIC */
	cfs_le16 version;      /* CFS_PROTO_VERSION; anything else is refused */
	cfs_le16 header_bytes; /* CFS_MSG_HEADER_BYTES */
	cfs_le16 kind;         /* enum cfs_msg_kind */
	cfs_le16 op;           /* enum cfs_op */
	cfs_le32 flags;        /* written 0, verified 0 */
	cfs_le32 body_bytes;   /* map and fields */
	cfs_le32 body_crc;     /* CRC32C of them */
	cfs_le32 shard;
	cfs_le32 deadline_ms; /* the sender waits no longer; 0: for ever */
	cfs_le64 xid;         /* of the transport: a reply has its request's */
	cfs_le64 sess;
	cfs_le64 seq;
	cfs_le64 floor;      /* oldest sequence without an answer */
	cfs_le64 hlc;        /* hybrid time, ns */
	cfs_le64 epoch;      /* shard epoch */
	cfs_le32 reserved;   /* written 0, verified 0 */
	cfs_le32 header_crc; /* CRC32C of the header up to here */
} CFS_PACKED;
static_assert(sizeof(struct cfs_msg_header) == CFS_MSG_HEADER_BYTES, "message header is 88 bytes");

/* Attributes of an inode: attr, attr2, and in entries. */
struct cfs_attr_bytes {
	cfs_le64 ino, size, blocks;
	cfs_le64 atime, mtime, ctime, btime; /* signed, ns since 1970 */
	cfs_le32 mode, nlink, uid, gid, rdev, iflags;
	cfs_le64 cut, seed;
	cfs_le64 place, parent;
} CFS_PACKED;
static_assert(sizeof(struct cfs_attr_bytes) == 112, "attributes are 112 bytes");

/* One entry of READDIR's data: this, the name, and struct cfs_attr_bytes where has_attr is 1. */
struct cfs_entry_bytes {
	cfs_le64 ino, cookie;
	cfs_le32 mode;       /* S_IFMT only */
	cfs_le16 name_bytes; /* 1 to 255 */
	uint8_t has_attr;    /* 0 or 1 */
	uint8_t reserved;    /* written 0, verified 0 */
} CFS_PACKED;
static_assert(sizeof(struct cfs_entry_bytes) == 24, "a directory entry starts with 24 bytes");

/*
 * The map, as HELLO and MAP return it: this, for each core a le16 length and its address as text,
 * then runs of shards that together are all of them, in order.
 */
struct cfs_map_bytes {
	cfs_le64 epoch;
	uint8_t uuid[16];
	uint8_t hash_key[16];
	cfs_le32 shards;
	cfs_le32 cores;
	cfs_le32 runs;
	cfs_le32 reserved; /* written 0, verified 0 */
} CFS_PACKED;
static_assert(sizeof(struct cfs_map_bytes) == 56, "the map starts with 56 bytes");

/* @count shards of one shard epoch; the k-th is served by core (core + k * stride) mod cores. */
struct cfs_map_run_bytes {
	cfs_le32 count; /* at least 1 */
	cfs_le16 core;
	cfs_le16 stride; /* below cores */
	cfs_le64 epoch;
} CFS_PACKED;
static_assert(sizeof(struct cfs_map_run_bytes) == 16, "a run of shards is 16 bytes");

struct cfs_statfs_bytes {
	cfs_le64 total_bytes, free_bytes, avail_bytes, files, files_free;
} CFS_PACKED;
static_assert(sizeof(struct cfs_statfs_bytes) == 40, "statfs is 40 bytes");

#endif
