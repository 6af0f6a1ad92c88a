/*
 * Read cache of 4 KiB blocks by address, replaced by CLOCK. An address's content never changes
 * until its segment is reset, which drops it here.
 */
#ifndef CFS_STORE_CACHE_H
#define CFS_STORE_CACHE_H

#include <stdint.h>

#include "store/store.h"

struct cfs_cache {
	uint32_t blocks; /* 0: no cache */
	uint32_t hand, mask;
	uint8_t *data;
	uint32_t *bucket, *next;
	cfs_addr_t *addr;
	uint8_t *is_used;
};

/* 0; -ENOMEM. */
int cfs_cache_init(struct cfs_cache *c, uint64_t bytes);
void cfs_cache_fini(struct cfs_cache *c);
/* The block's bytes, valid until the next put, or NULL. */
const uint8_t *cfs_cache_find(struct cfs_cache *c, cfs_addr_t addr);
void cfs_cache_put(struct cfs_cache *c, cfs_addr_t addr, const void *block);
void cfs_cache_drop(struct cfs_cache *c, cfs_addr_t addr);

#endif
