/*
 * Items about contents of regular files (doc/format/record.md): kinds CFS_META_FILE_FIRST.. of
 * meta_format.h. Those that name an inode are skipped where it is gone.
 */
#ifndef CFS_META_FILE_FORMAT_H
#define CFS_META_FILE_FORMAT_H

#include <stdbool.h>

#include "base/endian.h"
#include "repl/item.h"

/* Numbers are never reused. */
enum cfs_file_item {
	CFS_FILE_INTENT =
		64, /* trims under way: to be finished before the file grows past chunk 0 */
	CFS_FILE_INTENT_DEL = 65, /* they are stable */
	CFS_FILE_TOP = 66,        /* no chunk from this number on has ever had data */
	CFS_FILE_DROP = 67,       /* chunks of a file that is gone are to go */
	CFS_FILE_DROP_DEL = 68,   /* they are gone, stable */
};

struct cfs_file_intent { /* INTENT; INTENT_DEL: size and top 0 */
	cfs_le64 ino;
	cfs_le64 size; /* bytes: what the trims leave */
	cfs_le64 top;  /* chunks: they go to the shards of those from size on and below this */
	cfs_le64 cut;
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_file_intent) == 32, "intent item is 32 bytes");

struct cfs_file_top { /* TOP; DROP, with its seed */
	cfs_le64 ino;
	cfs_le64 seed; /* TOP, DROP_DEL: 0 */
	cfs_le64 top;  /* chunks; DROP_DEL: 0 */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_file_top) == 24, "top item is 24 bytes");

#define CFS_FILE_ITEM_BYTES 48u /* room for any of them, with its header */

struct cfs_file_change {
	uint64_t ino, size, top, cut, seed;
};
int cfs_file_decode(const struct cfs_item *item,
		    struct cfs_file_change *out); /* -CFS_EBAD_FORMAT */
void cfs_file_add_item(struct cfs_items *it, uint8_t kind, const struct cfs_file_change *c);

#endif
