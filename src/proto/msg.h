/*
 * Messages: what clients and nodes say to each other (doc/format/message.md).
 *
 * One struct holds a request or a reply in memory; on the wire it is a header (msg_format.h), a
 * 64-bit map of the fields that follow, and those fields in order of their number. Which fields an
 * operation may and must carry is in the tables below, and the decoder refuses everything else: a
 * field not allowed, one missing, a length past the end, a bad CRC, trailing bytes.
 */
#ifndef CFS_PROTO_MSG_H
#define CFS_PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CFS_PROTO_VERSION 2
#define CFS_NAME_BYTES_MAX 255u
#define CFS_PATH_BYTES_MAX 4095u
#define CFS_XATTR_BYTES_MAX (64u * 1024)
#define CFS_INLINE_BYTES_MAX \
	(64u * 1024) /* payload below this travels in the message; from this on by RMA */
#define CFS_MSG_BYTES_MAX (68u * 1024 + 512) /* header and body */
#define CFS_IO_BYTES_MAX (1024u * 1024)      /* one WRITE or READ; a chunk */
#define CFS_ANSWER_BYTES_MAX 256u            /* a change's encoded reply, kept for exactly once */

/* F(name, number, type): u32, u64, i64 or bytes (u32 length, then that many). Numbers are never
 * reused; at most 63. */
#define CFS_FIELD_TABLE(F) \
	F(ino, 0, u64)    /* the inode or directory that the operation is about */ \
	F(ino2, 1, u64)   /* the other one: link's target directory, rename's new one */ \
	F(off, 2, u64)    /* bytes */ \
	F(len, 3, u64)    /* bytes */ \
	F(size, 4, u64)   /* bytes; a file's size */ \
	F(cookie, 5, u64) /* readdir position: the next one wanted is after it */ \
	F(cut, 6, u64)    /* the file's cut that the sender knows */ \
	F(valid, 7, u64)  /* CFS_SET_ bits of setattr */ \
	F(atime, 8, i64)  /* ns since 1970 */ \
	F(mtime, 9, i64) \
	F(ctime, 10, i64) \
	F(seed, 11, u64) /* of a file's chunks */ \
	F(place, 12, u64) \
	F(tx_shard, 13, u64) /* a try of a transaction: coordinator's shard, epoch, count */ \
	F(tx_epoch, 14, u64) \
	F(tx_count, 15, u64) \
	F(index, 16, u64)  /* a record's, in the log of the shard that answers */ \
	F(blocks, 17, i64) /* 512-byte units, may be a difference */ \
	F(mode, 18, u32)   /* S_IFMT and permissions */ \
	F(uid, 19, u32) \
	F(gid, 20, u32) \
	F(flags, 21, u32) /* CFS_F_ bits */ \
	F(rdev, 22, u32)  /* makedev() of the kernel's 32-bit encoding */ \
	/* 23 was a chunk's number in 32 bits, until version 2 */ \
	F(count, 24, u32) \
	F(umask, 25, u32) \
	F(whence, 26, u32) \
	F(rc, 27, i64) /* 0 or a negative code of base/err.h */ \
	F(map_epoch, 28, u64) \
	F(name, 29, bytes) \
	F(name2, 30, bytes) \
	F(data, 31, bytes)  /* payload; symlink target; xattr value; entries */ \
	F(attr, 32, bytes)  /* struct cfs_attr, encoded */ \
	F(items, 33, bytes) /* changes of tables (repl/item.h) */ \
	F(crcs, 34, bytes)  /* cfs_le32 per 4 KiB block of the payload that is whole, in order */ \
	F(deps, 35, bytes)  /* (shard, epoch, index) triples of u64 */ \
	F(addr, 36, bytes)  /* the sender's fabric address; in replies the cores' */ \
	F(bulk_addr, 37, u64) /* the sender's registered memory for RMA */ \
	F(bulk_key, 38, u64) \
	F(bulk_len, 39, u64) \
	F(session, 40, u64) \
	F(parent, 41, u64) \
	F(attr2, 42, bytes) /* of a second inode: the parent after a change */ \
	F(chunk, 43, u64)   /* number of a chunk of a file */ \
	F(cut2, 44, u64)    /* of the file in `ino2` */ \
	F(owner, 45, u64)   /* of a lock: a number that the session chose */ \
	F(lock, 46, u32)    /* CFS_LOCK_ type */ \
	F(pid, 47, u32)     /* of who locks, on the client's machine */ \
	F(iflags, 50, u32)  /* CFS_IFLAG_ bits */ \
	F(lease, 51, u64)   /* a stamp: what the reply says may be kept under a lease */ \
	F(life, 52, u64)    /* of a session, ns */ \
	F(ack, 53, u64)     /* recalls up to here */ \
	F(lost, 54, u64)    /* the last epoch that began without the newest records; 0: none */

enum cfs_field {
#define F(name, number, type) CFS_FIELD_##name = number,
	CFS_FIELD_TABLE(F)
#undef F
};
#define CFS_HAS(name) (1ull << CFS_FIELD_##name)

/*
 * O(NAME, number, request must, request may, reply may, is_change). A change goes into a shard's
 * log and is exactly once by (session, sequence); its answer is at most CFS_ANSWER_BYTES_MAX
 * encoded. Replies always may carry rc, map_epoch and index. Numbers are never reused.
 */
#define CFS_H(x) CFS_HAS(x)
#define CFS_H_NEW (CFS_H(mode) | CFS_H(uid) | CFS_H(gid))
#define CFS_H_BULK (CFS_H(bulk_addr) | CFS_H(bulk_key) | CFS_H(bulk_len))
#define CFS_H_LOCK (CFS_H(ino) | CFS_H(owner) | CFS_H(lock) | CFS_H(off) | CFS_H(len))
#define CFS_H_TX (CFS_H(tx_shard) | CFS_H(tx_epoch) | CFS_H(tx_count))
#define CFS_OP_TABLE(O) \
	/* node */ \
	O(HELLO, 1, CFS_H(session), CFS_H(addr) | CFS_H(flags), \
	  CFS_H(data) | CFS_H(addr) | CFS_H(count) | CFS_H(session) | CFS_H(life) | CFS_H(lost), \
	  0) \
	O(PING, 2, 0, CFS_H(session), 0, 0) \
	O(MAP, 3, 0, 0, CFS_H(data), 0) \
	O(STATFS, 4, 0, 0, CFS_H(data), 0) \
	O(STATUS, 5, 0, CFS_H(flags), CFS_H(data), 0) \
	O(BYE, 6, CFS_H(session), 0, 0, 0) \
	O(WATCH, 7, CFS_H(session), CFS_H(ack), CFS_H(data) | CFS_H(ack), 0) \
	/* namespace: by the shard of the directory or inode in `ino` */ \
	O(LOOKUP, 16, CFS_H(ino) | CFS_H(name), CFS_H(flags), \
	  CFS_H(ino) | CFS_H(attr) | CFS_H(mode) | CFS_H(place) | CFS_H(lease), 0) \
	O(GETATTR, 17, CFS_H(ino), CFS_H(flags), CFS_H(attr) | CFS_H(lease), 0) \
	O(SETATTR, 18, CFS_H(ino) | CFS_H(valid), \
	  CFS_H_NEW | CFS_H(size) | CFS_H(atime) | CFS_H(mtime) | CFS_H(ctime) | CFS_H(flags) | \
		  CFS_H(iflags), \
	  CFS_H(attr), 1) \
	O(CREATE, 19, CFS_H(ino) | CFS_H(name) | CFS_H_NEW, \
	  CFS_H(flags) | CFS_H(rdev) | CFS_H(data) | CFS_H(umask), \
	  CFS_H(ino) | CFS_H(attr) | CFS_H(mode) | CFS_H(lease), 1) \
	O(MKDIR, 20, CFS_H(ino) | CFS_H(name) | CFS_H_NEW, CFS_H(umask) | CFS_H(flags), \
	  CFS_H(ino) | CFS_H(attr) | CFS_H(lease), 1) \
	O(UNLINK, 21, CFS_H(ino) | CFS_H(name), CFS_H(flags), CFS_H(ino), 1) \
	O(RMDIR, 22, CFS_H(ino) | CFS_H(name), CFS_H(flags), CFS_H(ino), 1) \
	O(LINK, 23, CFS_H(ino) | CFS_H(name) | CFS_H(ino2), CFS_H(flags), \
	  CFS_H(attr) | CFS_H(lease), 1) /* ino: directory, ino2: the inode */ \
	O(RENAME, 24, CFS_H(ino) | CFS_H(name) | CFS_H(ino2) | CFS_H(name2), \
	  CFS_H(flags) | CFS_H(parent), CFS_H(ino), 1) \
	O(READLINK, 25, CFS_H(ino), CFS_H(flags), CFS_H(data), 0) \
	O(READDIR, 26, CFS_H(ino) | CFS_H(cookie) | CFS_H(len), CFS_H(flags), \
	  CFS_H(data) | CFS_H(cookie) | CFS_H(flags) | CFS_H(parent) | CFS_H(lease), 0) \
	O(GETXATTR, 27, CFS_H(ino) | CFS_H(name) | CFS_H(len), 0, CFS_H(data) | CFS_H(len), 0) \
	O(SETXATTR, 28, CFS_H(ino) | CFS_H(name) | CFS_H(data), CFS_H(flags), 0, 1) \
	O(LISTXATTR, 29, CFS_H(ino) | CFS_H(len), CFS_H(flags), CFS_H(data) | CFS_H(len), 0) \
	O(REMOVEXATTR, 30, CFS_H(ino) | CFS_H(name), 0, 0, 1) \
	O(OPEN, 31, CFS_H(ino), CFS_H(flags), CFS_H(attr) | CFS_H(lease), 1) \
	O(RELEASE, 32, CFS_H(ino), CFS_H(flags), 0, 1) \
	O(WRITE, 33, CFS_H(ino) | CFS_H(off) | CFS_H(len), \
	  CFS_H(flags) | CFS_H(data) | CFS_H(crcs) | CFS_H_BULK, \
	  CFS_H(off) | CFS_H(len) | CFS_H(size) | CFS_H(cut) | CFS_H(seed) | CFS_H(mtime), 1) \
	O(WROTE, 34, CFS_H(ino) | CFS_H(off) | CFS_H(len), \
	  CFS_H(flags) | CFS_H(blocks) | CFS_H(deps), \
	  CFS_H(size) | CFS_H(cut) | CFS_H(seed) | CFS_H(mtime), 1) \
	O(FALLOCATE, 35, CFS_H(ino) | CFS_H(off) | CFS_H(len) | CFS_H(mode), CFS_H(flags), \
	  CFS_H(attr), 1) \
	O(FSYNC, 36, CFS_H(ino), CFS_H(flags), 0, 0) \
	O(COPY, 40, \
	  CFS_H(ino) | CFS_H(ino2) | CFS_H(off) | CFS_H(len) | CFS_H(seed) | CFS_H(cut2), \
	  CFS_H(flags), CFS_H(attr) | CFS_H(len), 1) /* ino2, seed, cut2: of the file it is of */ \
	O(LOCK, 41, CFS_H_LOCK, CFS_H(flags) | CFS_H(pid), 0, 1) \
	O(LOCK_TEST, 42, CFS_H_LOCK, CFS_H(flags), \
	  CFS_H(lock) | CFS_H(off) | CFS_H(len) | CFS_H(pid), 0) \
	O(LOCK_WAIT, 43, CFS_H_LOCK, CFS_H(flags) | CFS_H(count), 0, \
	  0) /* count: for how many ms it may be held */ \
	/* to shard 0: who waits, and in `data` for whom: (session, owner) pairs of u64 */ \
	O(LOCK_WAITS, 44, CFS_H_LOCK | CFS_H(session), CFS_H(data), 0, 0) \
	/* chunks: by the shard that holds them */ \
	O(CHUNK_READ, 48, CFS_H(ino) | CFS_H(chunk) | CFS_H(off) | CFS_H(len) | CFS_H(cut), \
	  CFS_H_BULK | CFS_H(flags), CFS_H(data) | CFS_H(len) | CFS_H(crcs) | CFS_H(cut), 0) \
	O(CHUNK_WRITE, 49, CFS_H(ino) | CFS_H(chunk) | CFS_H(off) | CFS_H(len) | CFS_H(cut), \
	  CFS_H(data) | CFS_H(crcs) | CFS_H_BULK | CFS_H(flags) | CFS_H(deps), \
	  CFS_H(len) | CFS_H(blocks) | CFS_H(cut), 1) \
	O(CHUNK_ZERO, 50, CFS_H(ino) | CFS_H(off) | CFS_H(len) | CFS_H(cut), 0, \
	  CFS_H(blocks) | CFS_H(cut), 1) \
	O(CHUNK_TRIM, 51, CFS_H(ino) | CFS_H(size) | CFS_H(cut), CFS_H(deps), CFS_H(blocks), 1) \
	O(CHUNK_DROP, 52, CFS_H(ino), CFS_H(deps), 0, 1) \
	O(CHUNK_CLONE, 54, \
	  CFS_H(ino) | CFS_H(ino2) | CFS_H(chunk) | CFS_H(off) | CFS_H(len) | CFS_H(cut) | \
		  CFS_H(cut2), \
	  CFS_H(deps), CFS_H(blocks) | CFS_H(cut), 1) \
	O(CHUNK_SEEK, 53, \
	  CFS_H(ino) | CFS_H(off) | CFS_H(len) | CFS_H(whence) | CFS_H(cut) | CFS_H(seed), 0, \
	  CFS_H(off) | CFS_H(cut), 0) \
	/* between shards */ \
	O(TX_PREPARE, 64, CFS_H_TX | CFS_H(items), CFS_H(flags) | CFS_H(session), \
	  CFS_H(items) | CFS_H(attr) | CFS_H(ino) | CFS_H(mode) | CFS_H(blocks), 0) \
	O(TX_END, 65, CFS_H_TX | CFS_H(flags), CFS_H(deps) | CFS_H(items), 0, 0) \
	O(TX_ASK, 66, CFS_H_TX, 0, CFS_H(flags) | CFS_H(deps), 0) \
	O(SERIALS, 67, CFS_H(count), 0, CFS_H(ino), 1) \
	O(PARENT, 68, CFS_H(ino), 0, CFS_H(parent) | CFS_H(name), 0) \
	O(TX_RECALL, 69, CFS_H(items), CFS_H(session), 0, 0)

#define CFS_DEP_BYTES 24u     /* one of `deps` */
#define CFS_OP_COUNT_MAX 128u /* every number is below */

enum cfs_op {
#define O(NAME, number, must, may, reply, change) CFS_OP_##NAME = number,
	CFS_OP_TABLE(O)
#undef O
};

/* valid: */
#define CFS_SET_MODE 0x1u
#define CFS_SET_UID 0x2u
#define CFS_SET_GID 0x4u
#define CFS_SET_SIZE 0x8u
#define CFS_SET_ATIME 0x10u
#define CFS_SET_MTIME 0x20u
#define CFS_SET_ATIME_NOW 0x40u
#define CFS_SET_MTIME_NOW 0x80u
#define CFS_SET_CTIME 0x100u
#define CFS_SET_KILLPRIV 0x200u /* drop set-uid, set-gid and security.capability */
#define CFS_SET_IFLAGS 0x10000u /* alone */

/* flags of requests: */
#define CFS_F_EXCL 0x1u      /* CREATE: the name must not exist */
#define CFS_F_OPEN 0x2u      /* CREATE: the session has it open then */
#define CFS_F_APPEND 0x4u    /* WRITE: at the end, wherever that is; OPEN */
#define CFS_F_NOREPLACE 0x8u /* RENAME */
#define CFS_F_EXCHANGE 0x10u /* RENAME */
#define CFS_F_PLUS 0x20u     /* READDIR: with attributes */
#define CFS_F_KILLPRIV \
	0x40u /* WRITE, WROTE, OPEN, FALLOCATE, COPY: drop set-uid and set-gid; SETXATTR of an \
		 access ACL: set-gid */
#define CFS_F_XATTR_CREATE 0x80u
#define CFS_F_XATTR_REPLACE 0x100u
#define CFS_F_DATASYNC 0x200u /* FSYNC */
#define CFS_F_TRUNC 0x400u    /* OPEN: size 0 */
#define CFS_F_TMPFILE 0x800u  /* CREATE: no dentry, nlink 0 */
#define CFS_F_DIR_OK \
	0x1000u /* RENAME at shard 0: the source is a directory that gets another parent */
#define CFS_F_COMMIT 0x2000u      /* TX_END, TX_ASK's reply: decided; else aborted */
#define CFS_F_UNDECIDED 0x4000u   /* TX_ASK's reply: still running */
#define CFS_F_EOF 0x8000u         /* READDIR's reply: nothing follows */
#define CFS_F_ORDERED 0x10000u    /* TX_PREPARE: wait, do not say busy */
#define CFS_F_NO_TRUSTED 0x20000u /* LISTXATTR: without trusted. */
#define CFS_F_WRITE 0x80000u      /* OPEN: for writing; with CFS_F_APPEND at the end only */
#define CFS_F_ATIME \
	0x100000u /* GETATTR, CHUNK_READ, READDIR, READLINK, RELEASE: it was read, see to its \
		     atime */

#define CFS_F_INSIDE \
	0x200000u /* WRITE: does not grow the file; what would lie past its end is left out, and \
		     len of the reply says how much was written */

#define CFS_F_FLOCK 0x1000000u /* LOCK, LOCK_TEST, LOCK_WAIT: of flock(2); off and len are all */
#define CFS_F_LOCK_WAITS \
	0x2000000u /* LOCK: the caller waits if need be, so those that wait already go first */
#define CFS_F_LOCK_CYCLES 0x4000000u /* LOCK_WAIT: deadlocks are looked for */
#define CFS_F_LOCK_LEAVES 0x8000000u /* LOCK_WAIT: waits no more; answered at once */

/* Types of locks; off and len of a range that ends with the last possible byte: 2^63 - off. */
#define CFS_LOCK_READ 0u
#define CFS_LOCK_WRITE 1u
#define CFS_LOCK_NONE 2u
#define CFS_F_NEW 0x400000u   /* HELLO: the session begins; else it is known or has ended */
#define CFS_F_LEASE 0x800000u /* what the reply says is to be kept, under a lease */

/* Attributes of an inode. */
struct cfs_attr {
	uint64_t ino, size, blocks; /* blocks: 512 bytes each */
	int64_t atime, mtime, ctime, btime;
	uint32_t mode, nlink, uid, gid, rdev, iflags;
	uint64_t cut, seed;     /* of a file */
	uint64_t place, parent; /* of a directory */
};
#define CFS_ATTR_BYTES 112u
/* In iflags of a reply: it has an access or a default ACL. Follows from the extended attributes; in
 * an item it says nothing. */
#define CFS_IFLAG_ACL 0x80000000u
/* Follows from them too: how late the file may be seen, ms (leases.md). */
#define CFS_IFLAGS_LAZY 0xffff00u
#define CFS_LAZY_MS_MAX 60000u
static inline uint32_t cfs_attr_lazy_ms(const struct cfs_attr *a)
{
	return (a->iflags & CFS_IFLAGS_LAZY) >> 8;
}
#define CFS_IFLAGS_DERIVED (CFS_IFLAG_ACL | CFS_IFLAGS_LAZY)

/* iflags; values as of FS_IOC_GETFLAGS, lsattr(1): */
#define CFS_IFLAG_IMMUTABLE 0x10u
#define CFS_IFLAG_APPEND 0x20u
#define CFS_IFLAG_NODUMP 0x40u
#define CFS_IFLAG_NOATIME 0x80u
#define CFS_IFLAGS_USER \
	(CFS_IFLAG_IMMUTABLE | CFS_IFLAG_APPEND | CFS_IFLAG_NODUMP | CFS_IFLAG_NOATIME)
/* Of our own: born without a name (O_TMPFILE), so that it may get one though it has none. */
#define CFS_IFLAG_LINKABLE 0x40000000u

struct cfs_bytes {
	const uint8_t *p;
	uint32_t len;
};

typedef uint32_t cfs_field_u32;
typedef uint64_t cfs_field_u64;
typedef int64_t cfs_field_i64;
typedef struct cfs_bytes cfs_field_bytes;

enum cfs_msg_kind { CFS_MSG_REQUEST = 1, CFS_MSG_REPLY = 2 };

/*
 * A request or reply in memory. Byte fields point elsewhere: into the sender's memory, or into the
 * received message. Setting a field: cfs_msg_set(m, ino, 5); cfs_msg_set_bytes(m, name, p, len).
 */
struct cfs_msg {
	uint8_t kind;
	uint16_t op;
	uint32_t shard;
	uint64_t xid;  /* of the transport: matches replies to requests */
	uint64_t sess; /* exactly once: session, sequence, and the oldest unanswered one */
	uint64_t seq;
	uint64_t floor;
	uint64_t hlc;         /* hybrid time, ns */
	uint64_t epoch;       /* shard epoch known to the sender; 0: none */
	uint32_t deadline_ms; /* the sender waits no longer; 0: for ever */
	uint64_t has;         /* CFS_HAS() of the fields below */
#define F(name, number, type) cfs_field_##type name;
	CFS_FIELD_TABLE(F)
#undef F
};

#define cfs_msg_set(m, field, value) ((m)->field = (value), (m)->has |= CFS_HAS(field))
#define cfs_msg_set_bytes(m, field, ptr, n) \
	((m)->field.p = (ptr), (m)->field.len = (n), (m)->has |= CFS_HAS(field))
#define cfs_msg_is_set(m, field) (((m)->has & CFS_HAS(field)) != 0)

/*
 * Encoded size; encode into @buf of at least that. Returns bytes; -EMSGSIZE; -EINVAL: what the
 * decoder would refuse: a field that the operation does not allow or lacks, a length out of bounds.
 *
 * Bounds: names 1 to 255 bytes without NUL (CREATE's may be empty, so may a reply's; only xattr
 * names may hold a slash); data and items up to CFS_INLINE_BYTES_MAX; attr and attr2 exactly
 * CFS_ATTR_BYTES; crcs whole le32, deps whole triples.
 */
int64_t cfs_msg_size(const struct cfs_msg *m);
int64_t cfs_msg_encode(const struct cfs_msg *m, uint8_t *buf, uint32_t cap_bytes);
/* Decodes and verifies @buf; byte fields point into it. 0; -CFS_EBAD_FORMAT; -CFS_EBAD_CHECKSUM;
 * -CFS_EBAD_VERSION. @out untouched then. */
int cfs_msg_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_msg *out);

/* The xid that @buf claims, before anything is verified. 0; -CFS_EBAD_FORMAT: too short. */
int cfs_msg_peek_xid(const uint8_t *buf, uint32_t len_bytes, uint64_t *xid_out);

void cfs_attr_encode(const struct cfs_attr *a, uint8_t out[CFS_ATTR_BYTES]);
int cfs_attr_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_attr *out);
/* Whether a read at @now_ns changes the access time: the rules of relatime (mount(8)). */
bool cfs_attr_atime_is_due(const struct cfs_attr *a, int64_t now_ns);

const char *cfs_op_name(uint16_t op); /* "CREATE"; "?" */
bool cfs_op_is_change(uint16_t op);
bool cfs_op_is_known(uint16_t op);

/* READDIR's data: entries one after the other. */
struct cfs_entry {
	uint64_t ino, cookie;
	uint32_t mode; /* S_IFMT only */
	bool has_attr;
	struct cfs_attr attr;
	struct cfs_bytes name;
};
/* Appends; returns bytes used, or -ENOSPC when it does not fit. */
int64_t cfs_entry_encode(const struct cfs_entry *e, uint8_t *buf, uint32_t cap_bytes);
/* Reads one at @buf; returns bytes used; -CFS_EBAD_FORMAT. */
int64_t cfs_entry_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_entry *out);

/* The cluster map, as HELLO and MAP return it in `data`. */
#define CFS_MAP_SHARDS_MAX 65536u
#define CFS_MAP_CORES_MAX 1024u
struct cfs_map {
	uint64_t epoch;
	uint8_t uuid[16];
	uint8_t hash_key[16];
	uint32_t shards;        /* power of two */
	uint32_t cores;         /* of the node, in order of `core_addr` */
	uint16_t *core_of;      /* [shards]: which core serves it (malloc'd) */
	uint64_t *epoch_of;     /* [shards] shard epochs (malloc'd) */
	char (*core_addr)[128]; /* [cores] textual transport addresses (malloc'd) */
};
/* Returns bytes; -ENOSPC; -EINVAL. Addresses end at their NUL. */
int64_t cfs_map_encode(const struct cfs_map *m, uint8_t *buf, uint32_t cap_bytes);
/* 0; -CFS_EBAD_FORMAT; -ENOMEM. @out is to be given to cfs_map_fini(). */
int cfs_map_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_map *out);
void cfs_map_fini(struct cfs_map *m);

/* One of WATCH's data. */
struct cfs_recall {
	uint64_t ino, stamp;
	uint32_t shard;
};
#define CFS_RECALL_BYTES 24u
void cfs_recall_encode(const struct cfs_recall *r, uint8_t out[CFS_RECALL_BYTES]);
void cfs_recall_decode(const uint8_t buf[CFS_RECALL_BYTES], struct cfs_recall *out);

/* STATFS's data. */
struct cfs_statfs {
	uint64_t total_bytes, free_bytes, avail_bytes, files, files_free;
};
#define CFS_STATFS_BYTES 40u
void cfs_statfs_encode(const struct cfs_statfs *s, uint8_t out[CFS_STATFS_BYTES]);
int cfs_statfs_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_statfs *out);

#endif
