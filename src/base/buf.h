/*
 * Buffers: page-aligned memory from per-core pools, registered once with io_uring (where memlock
 * allows) and, by the transport, with the fabric. Counted without atomics: a buffer belongs to one
 * core and crosses only by being given away. An empty pool is back-pressure: the fiber waits.
 * A pool has 256 small and 24 large ones, or what the runtime's options say; in a simulation eight
 * times as many, since processes that it kills take theirs with them.
 */
#ifndef CFS_BASE_BUF_H
#define CFS_BASE_BUF_H

#include <stdint.h>

#include "base/fiber.h"
#include "base/list.h"

#define CFS_BLOCK_BYTES 4096u
#define CFS_BUF_SMALL_BYTES (16u * 1024)          /* messages, small I/O */
#define CFS_BUF_LARGE_BYTES (1024u * 1024 + 8192) /* a chunk or a FUSE request with its header */

struct cfs_buf {
	uint8_t *data;
	uint32_t cap_bytes;
	uint32_t refs;
	uint32_t core;
	uint32_t klass; /* 0 small, 1 large */
	void *region;   /* the transport's registration, its own */
	struct cfs_list link;
};

/* Waits for a buffer of at least @len_bytes (at most CFS_BUF_LARGE_BYTES). Returns 0; -ECANCELED;
 * -ETIMEDOUT; -EMSGSIZE. */
CFS_AWAITS int cfs_buf_get(uint32_t len_bytes, struct cfs_buf **out);
/* The same without waiting: -EAGAIN when the pool is empty. */
int cfs_buf_try(uint32_t len_bytes, struct cfs_buf **out);
void cfs_buf_ref(struct cfs_buf *b);
void cfs_buf_put(struct cfs_buf *b); /* NULL is fine; from a wrong core it is sent home */
uint32_t cfs_buf_free_count(uint32_t klass);

#endif
