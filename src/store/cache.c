#include "store/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/util.h"

#define NO_SLOT UINT32_MAX

int cfs_cache_init(struct cfs_cache *c, uint64_t bytes)
{
	uint64_t blocks = CFS_MIN(bytes / CFS_BLOCK_BYTES, (uint64_t)1 << 28);
	uint32_t buckets = 1;
	void *p;

	memset(c, 0, sizeof(*c));
	if (blocks == 0)
		return 0;
	while (buckets < blocks)
		buckets *= 2;
	/* Pages are taken as they are filled. */
	p = mmap(NULL, blocks * CFS_BLOCK_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	c->data = p;
	c->blocks = (uint32_t)blocks;
	c->mask = buckets - 1;
	c->bucket = malloc(buckets * sizeof(*c->bucket));
	c->next = calloc(blocks, sizeof(*c->next));
	c->addr = calloc(blocks, sizeof(*c->addr));
	c->is_used = calloc(blocks, 1);
	if (!c->bucket || !c->next || !c->addr || !c->is_used) {
		cfs_cache_fini(c);
		return -ENOMEM;
	}
	memset(c->bucket, 0xff, buckets * sizeof(*c->bucket));
	return 0;
}

void cfs_cache_fini(struct cfs_cache *c)
{
	if (c->data)
		munmap(c->data, (size_t)c->blocks * CFS_BLOCK_BYTES);
	free(c->bucket);
	free(c->next);
	free(c->addr);
	free(c->is_used);
	memset(c, 0, sizeof(*c));
}

static uint32_t *bucket_of(const struct cfs_cache *c, cfs_addr_t addr)
{
	return &c->bucket[(uint32_t)cfs_hash_u64(addr) & c->mask];
}

static uint32_t find_slot(const struct cfs_cache *c, cfs_addr_t addr)
{
	uint32_t slot = *bucket_of(c, addr);

	while (slot != NO_SLOT && c->addr[slot] != addr)
		slot = c->next[slot];
	return slot;
}

static void unlink_slot(struct cfs_cache *c, uint32_t slot)
{
	uint32_t *at = bucket_of(c, c->addr[slot]);

	while (*at != slot) {
		cfs_assert(*at != NO_SLOT);
		at = &c->next[*at];
	}
	*at = c->next[slot];
	c->addr[slot] = CFS_ADDR_NONE;
}

const uint8_t *cfs_cache_find(struct cfs_cache *c, cfs_addr_t addr)
{
	uint32_t slot;

	if (c->blocks == 0)
		return NULL;
	slot = find_slot(c, addr);
	if (slot == NO_SLOT)
		return NULL;
	c->is_used[slot] = 1;
	return c->data + (size_t)slot * CFS_BLOCK_BYTES;
}

void cfs_cache_put(struct cfs_cache *c, cfs_addr_t addr, const void *block)
{
	uint32_t slot;

	if (c->blocks == 0)
		return;
	slot = find_slot(c, addr);
	if (slot == NO_SLOT) {
		uint32_t *b = bucket_of(c, addr);

		while (c->is_used[c->hand]) {
			c->is_used[c->hand] = 0;
			c->hand = (c->hand + 1) % c->blocks;
		}
		slot = c->hand;
		c->hand = (c->hand + 1) % c->blocks;
		if (c->addr[slot] != CFS_ADDR_NONE)
			unlink_slot(c, slot);
		c->addr[slot] = addr;
		c->next[slot] = *b;
		*b = slot;
	}
	memcpy(c->data + (size_t)slot * CFS_BLOCK_BYTES, block, CFS_BLOCK_BYTES);
}

void cfs_cache_drop(struct cfs_cache *c, cfs_addr_t addr)
{
	uint32_t slot;

	if (c->blocks == 0)
		return;
	slot = find_slot(c, addr);
	if (slot == NO_SLOT)
		return;
	unlink_slot(c, slot);
	c->is_used[slot] = 0;
}
