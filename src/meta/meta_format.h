/*
 * Items of the namespace: bytes in records, checkpoints and prepared transactions
 * (doc/format/record.md). Items say what is: putting one twice in order changes nothing. What names
 * something that is not there is skipped at replay, since a checkpoint may be ahead. Names, targets
 * and values follow the fixed part to the end of the item.
 */
#ifndef CFS_META_META_FORMAT_H
#define CFS_META_META_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"
#include "proto/msg.h"
#include "repl/item.h"

/* Numbers are never reused. */
enum cfs_meta_item {
	CFS_META_INODE = 32,      /* all attributes (msg.h, cfs_attr_encode) */
	CFS_META_SET = 33,        /* some attributes */
	CFS_META_INODE_DEL = 34,  /* the inode is gone, and all that hangs on it */
	CFS_META_TARGET = 35,     /* a symbolic link's */
	CFS_META_DIR_PARENT = 36, /* a directory's present parent and name */
	CFS_META_XATTR = 37,
	CFS_META_XATTR_DEL = 38,
	CFS_META_OPEN = 39,   /* how often a session has it open; 0: no more */
	CFS_META_DENTRY = 40, /* put */
	CFS_META_DENTRY_DEL = 41,
	CFS_META_SERIALS = 42, /* shard 0: the next serial to give out */
	CFS_META_LEASE = 44,   /* a session has one on an inode: both, and flags */
	CFS_META_FORWARDED =
		43, /* a request that another shard carries out and keeps the answer of */
	CFS_META_TX_PREPARE = 48, /* participant */
	CFS_META_TX_COMMIT = 49,  /* participant; the results are the other items of the record */
	CFS_META_TX_ABORT = 50,
	CFS_META_TX_DECIDE =
		51, /* coordinator; its own results are the other items of the record */
	CFS_META_TX_FORGET = 52,
	CFS_META_TX_ENDED =
		53, /* checkpoint of a participant: numbers that ended here, of one coordinator */
	CFS_META_LOCK = 54,       /* lock_format.h: what an owner holds of a file */
	CFS_META_FILE_FIRST = 64, /* file.c: 64..79 */
	CFS_META_FILE_LAST = 79,
	/* 80..95: steps of TX_PREPARE messages, never in a record (tx_format.h) */
	CFS_META_STEP_FIRST = 80,
	CFS_META_STEP_LAST = 95,
};

/* Attributes in CFS_META_SET; values of 8 bytes in this order follow, for each bit that is set. */
#define CFS_A_MODE 0x1u
#define CFS_A_NLINK 0x2u
#define CFS_A_UID 0x4u
#define CFS_A_GID 0x8u
#define CFS_A_SIZE 0x10u
#define CFS_A_BLOCKS 0x20u
#define CFS_A_ATIME 0x40u
#define CFS_A_MTIME 0x80u
#define CFS_A_CTIME 0x100u
#define CFS_A_CUT 0x200u
#define CFS_A_SEED 0x400u
#define CFS_A_IFLAGS 0x800u
#define CFS_A_ALL 0xfffu
#define CFS_A_COUNT 12u

/* Attributes to set, in memory: those of @mask. */
struct cfs_attr_set {
	uint32_t mask; /* CFS_A_ */
	struct cfs_attr attr;
};

struct cfs_meta_set {
	cfs_le64 ino;
	cfs_le32 mask;
	cfs_le32 reserved;
} CFS_PACKED;

struct cfs_meta_ino { /* INODE_DEL; TARGET, followed by the target */
	cfs_le64 ino;
} CFS_PACKED;

struct cfs_meta_dir_parent {
	cfs_le64 ino;
	cfs_le64 parent;
} CFS_PACKED;

struct cfs_meta_xattr { /* XATTR: name, value; XATTR_DEL: name */
	cfs_le64 ino;
	cfs_le32 name_bytes;
	cfs_le32 reserved;
} CFS_PACKED;

struct cfs_meta_open {
	cfs_le64 ino;
	cfs_le64 session;
	cfs_le32 count;
	cfs_le32 writes; /* of these for writing */
} CFS_PACKED;

struct cfs_meta_dentry {
	cfs_le64 dir;
	cfs_le64 cookie;
	cfs_le64 ino;
	cfs_le64 place;
	cfs_le64 time; /* the directory's mtime and ctime from now on; 0: as they are */
	cfs_le32 mode;
	cfs_le32 uid;
	cfs_le32 gid;
	cfs_le32 reserved;
} CFS_PACKED;

struct cfs_meta_dentry_del {
	cfs_le64 dir;
	cfs_le64 time;
} CFS_PACKED;

struct cfs_meta_serials {
	cfs_le64 next;
} CFS_PACKED;

struct cfs_meta_forwarded {
	cfs_le64 session;
	cfs_le64 seq;
	cfs_le32 is_pending; /* 1; 0: its answer is here too, or it was refused */
	cfs_le32 reserved;
} CFS_PACKED;

/* A try of a transaction: coordinator's shard, its shard epoch, a count. Used once. */
struct cfs_meta_tx_number {
	cfs_le64 shard;
	cfs_le64 epoch;
	cfs_le64 count;
} CFS_PACKED;

struct cfs_meta_tx_prepare { /* followed by the keys (cfs_le64 each), then the results (items) */
	struct cfs_meta_tx_number number;
	cfs_le64 floor_epoch; /* the coordinator keeps nothing below: as TX_ENDED */
	cfs_le64 floor_count;
	cfs_le64 epoch; /* of the record that prepared it; 0: this one (a checkpoint says) */
	cfs_le64 index;
	cfs_le32 keys;
	cfs_le32 reserved;
} CFS_PACKED;

struct cfs_meta_tx_end { /* COMMIT, ABORT, FORGET */
	struct cfs_meta_tx_number number;
} CFS_PACKED;

struct cfs_meta_tx_decide { /* followed by the participants' shards (cfs_le64 each) */
	struct cfs_meta_tx_number number;
	cfs_le64 epoch; /* of the record that decided; 0: this one */
	cfs_le64 index;
} CFS_PACKED;

struct cfs_meta_tx_ended { /* followed by (epoch, count) pairs */
	cfs_le64 shard;    /* the coordinator's */
	cfs_le64 floor_epoch;
	cfs_le64 floor_count;
} CFS_PACKED;

_Static_assert(sizeof(struct cfs_meta_dentry) == 56, "dentry item is 56 bytes and a name");
_Static_assert(sizeof(struct cfs_meta_tx_prepare) == 64,
	       "prepare item is 64 bytes and what follows");

/* --- encoding: each appends one item to @it (overflow is remembered there) --- */

void cfs_meta_add_inode(struct cfs_items *it, const struct cfs_attr *attr);
void cfs_meta_add_set(struct cfs_items *it, uint64_t ino, const struct cfs_attr_set *set);
void cfs_meta_add_inode_del(struct cfs_items *it, uint64_t ino);
void cfs_meta_add_target(struct cfs_items *it, uint64_t ino, struct cfs_bytes target);
void cfs_meta_add_dir_parent(struct cfs_items *it, uint64_t ino, uint64_t parent,
			     struct cfs_bytes name);
/* Returns where the value is, until the items are placed; NULL: no room. */
uint8_t *cfs_meta_add_xattr(struct cfs_items *it, uint64_t ino, struct cfs_bytes name,
			    struct cfs_bytes value);
void cfs_meta_add_xattr_del(struct cfs_items *it, uint64_t ino, struct cfs_bytes name);
struct cfs_opens;
void cfs_meta_add_open(struct cfs_items *it, uint64_t ino, uint64_t session,
		       const struct cfs_opens *n);

struct cfs_dentry_value;
/* @time_ns 0: the directory's times stay. */
void cfs_meta_add_dentry(struct cfs_items *it, uint64_t dir, const struct cfs_dentry_value *v,
			 uint64_t time_ns);
void cfs_meta_add_dentry_del(struct cfs_items *it, uint64_t dir, struct cfs_bytes name,
			     uint64_t time_ns);
void cfs_meta_add_serials(struct cfs_items *it, uint64_t next);
void cfs_meta_add_forwarded(struct cfs_items *it, uint64_t session, uint64_t seq, bool is_pending);

/* --- decoding: 0; -CFS_EBAD_FORMAT. Names and such point into the item. --- */

int cfs_meta_get_set(const struct cfs_item *item, uint64_t *ino, struct cfs_attr_set *out);
int cfs_meta_get_ino(const struct cfs_item *item, uint64_t *ino, struct cfs_bytes *rest);
int cfs_meta_get_dir_parent(const struct cfs_item *item, uint64_t *ino, uint64_t *parent,
			    struct cfs_bytes *name);
int cfs_meta_get_xattr(const struct cfs_item *item, uint64_t *ino, struct cfs_bytes *name,
		       struct cfs_bytes *value);
int cfs_meta_get_open(const struct cfs_item *item, uint64_t *ino, uint64_t *session,
		      struct cfs_opens *n);
int cfs_meta_get_dentry(const struct cfs_item *item, uint64_t *dir, struct cfs_dentry_value *v,
			uint64_t *time_ns);
int cfs_meta_get_dentry_del(const struct cfs_item *item, uint64_t *dir, struct cfs_bytes *name,
			    uint64_t *time_ns);
int cfs_meta_get_serials(const struct cfs_item *item, uint64_t *next);
int cfs_meta_get_forwarded(const struct cfs_item *item, uint64_t *session, uint64_t *seq,
			   bool *is_pending);

/* Copies the attributes of @mask from @from into @to. */
void cfs_attr_merge(struct cfs_attr *to, const struct cfs_attr *from, uint32_t mask);

#endif
