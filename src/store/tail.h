/*
 * The tail: two rings in memory that outlives the process. The record ring is a byte image of the
 * journal's stream from `written` to `head`; the data ring holds blocks that are on their way to
 * their addresses. `head` is published after the bytes before it, so what recovery finds is whole.
 */
#ifndef CFS_STORE_TAIL_H
#define CFS_STORE_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "store/device.h"
#include "store/store_format.h"

#define CFS_TAIL_BYTES_DEFAULT (32ull * 1024 * 1024)
#define CFS_TAIL_RING_BYTES_MIN (512u * 1024)
#define CFS_TAIL_BYTES_MIN (2ull * 1024 * 1024)

struct cfs_tail {
	struct cfs_tail_memory mem;
	struct cfs_tail_format *f; /* NULL: no tail */
	uint8_t *ring;
	uint64_t ring_bytes;
	struct cfs_tail_entry_format *entries;
	uint8_t *data;
	uint32_t data_blocks;
	bool has_survived; /* it was there, and is this very store's */
	/* private copies of the published words */
	uint64_t head, written;
	uint64_t data_first, data_end;
	uint64_t block_first, block_end;
	/* address -> block in the data ring */
	uint32_t *bucket, *next;
	uint64_t *slot_addr;
	uint32_t bucket_mask;
};

/* Maps the tail of @slice if there is one. 0, or -ENOENT: none, or not of this store and boot. */
CFS_AWAITS int cfs_tail_open(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			     const char *dir, bool is_read_only);
/* Makes an empty one of @bytes; the record ring is at most @ring_bytes_max. */
CFS_AWAITS int cfs_tail_create(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			       const char *dir, uint64_t bytes, uint64_t ring_bytes_max);
CFS_AWAITS void cfs_tail_close(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			       bool is_kept);
/* Forgets it without touching the memory (a simulated end of the process). */
void cfs_tail_forget(struct cfs_tail *t);

/* Which sessions it belongs to: @old, that the device names now, and @new_session, that it will. */
void cfs_tail_session_set(struct cfs_tail *t, uint64_t old, uint64_t new_session);
bool cfs_tail_is_of_session(const struct cfs_tail *t, uint64_t session);

/* An empty record ring at @pos (of a new tail), whose bytes from @written are given. */
void cfs_tail_start_at(struct cfs_tail *t, uint64_t written, const void *bytes, uint64_t head);
/* Copies to position @pos, which is not published yet. */
void cfs_tail_put(struct cfs_tail *t, uint64_t pos, const void *bytes, uint32_t len);
void cfs_tail_get(const struct cfs_tail *t, uint64_t pos, void *bytes, uint32_t len);
void cfs_tail_publish_head(struct cfs_tail *t, uint64_t head);
void cfs_tail_publish_written(struct cfs_tail *t, uint64_t written);
/* Memory of position @pos, and in @len_out how much of [@pos, @end) lies there in one piece. */
uint8_t *cfs_tail_at(const struct cfs_tail *t, uint64_t pos, uint64_t end, uint64_t *len_out);

uint32_t cfs_tail_data_free(const struct cfs_tail *t); /* blocks */
void cfs_tail_data_add(struct cfs_tail *t, cfs_addr_t addr, const void *data, uint32_t blocks);
/* Entry @i of [data_first, data_end). 0; -CFS_EBAD_*: of a tail that survived. */
int cfs_tail_data_entry(const struct cfs_tail *t, uint64_t i, cfs_addr_t *addr_out,
			uint32_t *blocks_out, uint8_t **data_out);
/* Entries before @end are on the device. */
void cfs_tail_data_release(struct cfs_tail *t, uint64_t end);
/* The block of @addr, or NULL. */
const uint8_t *cfs_tail_data_find(const struct cfs_tail *t, cfs_addr_t addr);

#endif
