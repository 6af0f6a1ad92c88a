/*
 * The shard layer's own items (doc/format/record.md): answers, ended sessions, and where a
 * checkpoint began. A record of a shard (cfs_record.kind CFS_RECORD_ITEMS) has a list of items as
 * its payload.
 */
#ifndef CFS_REPL_SHARD_FORMAT_H
#define CFS_REPL_SHARD_FORMAT_H

#include "base/endian.h"
#include "proto/msg.h"
#include "repl/item.h"

#define CFS_RECORD_ITEMS 1 /* the one kind of record there is */

enum cfs_shard_item_kind {
	CFS_ITEM_ANSWER = 1,
	CFS_ITEM_SESSION_END = 2,
	CFS_ITEM_SHARD_STATE = 3,
	/* struct cfs_item_session_end; in shard 0 */
	CFS_ITEM_SESSION_OVER = 4, /* before any other shard is told of its end */
	CFS_ITEM_SESSION_BEGUN = 5,
};

/* Kept for exactly once: what a change was answered. */
struct cfs_item_answer {
	cfs_le64 session;
	cfs_le64 seq;
	cfs_le64
		floor; /* the session's oldest unanswered sequence then; what is below is dropped */
	cfs_le64 epoch; /* where its record is */
	cfs_le64 index;
	cfs_le16 op;
	cfs_le16 reserved;  /* 0 */
	cfs_le32 len_bytes; /* of the reply's fields that follow: cfs_answer_encode() */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_item_answer) == 48, "answer item is 48 bytes and the reply");

struct cfs_item_session_end {
	cfs_le64 session;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_item_session_end) == 8, "session end item is 8 bytes");

/* First in a checkpoint: the last record that was applied when it began. */
struct cfs_item_shard_state {
	cfs_le64 epoch;
	cfs_le64 index;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_item_shard_state) == 16, "shard state item is 16 bytes");

/*
 * A reply's fields: a 64-bit map of those that follow (CFS_HAS of proto/msg.h), then each in order
 * of its number: u64 and i64 in 8 bytes, u32 in 4, bytes as a u32 length and themselves. Encode
 * returns bytes, or -EMSGSIZE. Decode sets @out's fields and has; byte fields point into @buf;
 * -CFS_EBAD_FORMAT.
 */
int cfs_answer_encode(const struct cfs_msg *reply, uint8_t *buf, uint32_t cap_bytes);
int cfs_answer_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_msg *out);

#endif
