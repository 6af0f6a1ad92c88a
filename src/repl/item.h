/*
 * Items: changes of a shard's tables as bytes. A record is a list of items, a checkpoint is a list
 * of items, a prepared transaction holds a list of items: one way to apply them all. Items say what
 * is, not what to do (results, not steps): applying one twice in order changes nothing. Formats and
 * numbers: doc/format/record.md; each part (meta, data) has its own *_format.h.
 */
#ifndef CFS_REPL_ITEM_H
#define CFS_REPL_ITEM_H

#include <stdint.h>

#include "base/endian.h"

/* Ranges of kinds, each owned by one part. Numbers are never reused. */
#define CFS_ITEM_SHARD_FIRST 1 /* repl: answers, sessions */
#define CFS_ITEM_SHARD_LAST 31
#define CFS_ITEM_META_FIRST 32
#define CFS_ITEM_META_LAST 95
#define CFS_ITEM_DATA_FIRST 96
#define CFS_ITEM_DATA_LAST 127

#define CFS_ITEM_VERSION 1

struct cfs_item_header {
	uint8_t kind;
	uint8_t version;    /* CFS_ITEM_VERSION; a reader refuses anything newer */
	cfs_le16 reserved;  /* 0 */
	cfs_le32 len_bytes; /* of what follows */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_item_header) == 8, "item header is 8 bytes");

struct cfs_item {
	uint8_t kind;
	uint32_t len_bytes;
	const uint8_t *data;
};

/* A builder over memory of the caller's. Overflow is remembered, not written: see cfs_items_rc().
 */
struct cfs_items {
	uint8_t *buf;
	uint32_t cap_bytes, len_bytes;
	int rc;
};

void cfs_items_init(struct cfs_items *it, uint8_t *buf, uint32_t cap_bytes);
/* Appends an item and returns where to write its @len_bytes (unaligned; zeroed), NULL: no room. */
void *cfs_items_add(struct cfs_items *it, uint8_t kind, uint32_t len_bytes);
int cfs_items_rc(const struct cfs_items *it); /* 0; -EMSGSIZE */
/*
 * Reads the item at *@pos of @buf and moves *@pos behind it. Returns 1: there is one, its data
 * point into @buf; 0: end; -CFS_EBAD_FORMAT; -CFS_EBAD_VERSION: written by a newer program.
 */
int cfs_items_next(const uint8_t *buf, uint32_t len_bytes, uint32_t *pos, struct cfs_item *out);

#endif
