/*
 * The item of locks (doc/format/record.md): from now on this range is of this type for this owner.
 * A session's end, a file's removal and the locks that an owner gives back are items of type
 * CFS_LOCK_NONE, or follow from the inode's.
 */
#ifndef CFS_META_LOCK_FORMAT_H
#define CFS_META_LOCK_FORMAT_H

#include "base/endian.h"
#include "meta/lock_set.h"
#include "repl/item.h"

struct cfs_meta_lock {
	cfs_le64 ino;
	cfs_le64 session;
	cfs_le64 owner;
	cfs_le64 start; /* first byte */
	cfs_le64 end;   /* last byte, at most 2^63 - 1 */
	cfs_le32 pid;
	cfs_le16 type; /* CFS_LOCK_ of proto/msg.h */
	cfs_le16 kind; /* 0: fcntl or open file description; 1: flock, all of the file */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_meta_lock) == 48, "lock item is 48 bytes");

#define CFS_LOCK_ITEM_BYTES 56u /* with its header */

void cfs_meta_add_lock(struct cfs_items *it, uint64_t ino, const struct cfs_range_lock *l);
/* 0; -CFS_EBAD_FORMAT. */
int cfs_meta_get_lock(const struct cfs_item *item, uint64_t *ino, struct cfs_range_lock *out);

#endif
