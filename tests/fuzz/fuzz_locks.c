/*
 * Items of locks, and the table that they make. Whatever is taken is in the table as it was said,
 * and comes out of an encoder as it came. A list of any items may have what conflicts: who places
 * them sees to that.
 */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "lib/fuzz.h"
#include "meta/lock_format.h"
#include "meta/meta_format.h"

#define LOCKS_MAX 256u

static void one_lock(struct cfs_lock_set *s, const struct cfs_item *item)
{
	uint8_t again[CFS_LOCK_ITEM_BYTES];
	struct cfs_range_lock l;
	struct cfs_items it;
	uint64_t ino;
	bool is_same;
	uint32_t before = s->count;
	int32_t growth;

	if (cfs_meta_get_lock(item, &ino, &l) < 0)
		return;
	cfs_assert(l.start <= l.end && l.end <= CFS_LOCK_END_MAX && l.type <= CFS_LOCK_NONE);
	cfs_items_init(&it, again, sizeof(again));
	cfs_meta_add_lock(&it, ino, &l);
	cfs_assert(cfs_items_rc(&it) == 0 && it.len_bytes == sizeof(again));
	cfs_assert(memcmp(again + it.len_bytes - item->len_bytes, item->data, item->len_bytes) ==
		   0);
	growth = cfs_lock_set_growth(s, &l, &is_same);
	cfs_assert(cfs_lock_set_put(s, &l) == 0);
	cfs_assert((int64_t)s->count == (int64_t)before + growth);
	cfs_assert(cfs_lock_set_growth(s, &l, &is_same) == 0 && is_same);
	for (uint32_t k = 1; k < s->count; k++) {
		const struct cfs_range_lock *a = &s->locks[k - 1], *b = &s->locks[k];

		cfs_assert(!cfs_range_lock_is_owner(a, b) || a->end < b->start);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cfs_lock_set s;
	struct cfs_item item;
	uint32_t at = 0;

	if (len_bytes > CFS_FUZZ_BYTES_MAX)
		return 0;
	cfs_lock_set_init(&s);
	while (s.count < LOCKS_MAX && cfs_items_next(data, (uint32_t)len_bytes, &at, &item) == 1)
		if (item.kind == CFS_META_LOCK)
			one_lock(&s, &item);
	cfs_lock_set_fini(&s);
	return 0;
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	struct cfs_items it;

	if (n >= 16)
		return 0;
	cfs_items_init(&it, data, 16384);
	for (uint32_t k = 0; k < 20; k++) {
		uint64_t x = cfs_hash_u64(n * 64 + k);
		struct cfs_range_lock l = { .session = x % 2,
					    .owner = x % 3,
					    .start = x % 50,
					    .end = x % 50 + (x >> 20) % 30,
					    .pid = (uint32_t)x,
					    .type = (uint8_t)((x >> 32) % 3),
					    .is_flock = (x >> 40) % 4 == 0 };

		if (k % 5 == 0)
			l.end = CFS_LOCK_END_MAX;
		cfs_meta_add_lock(&it, 1 + k % 2, &l);
	}
	cfs_assert(cfs_items_rc(&it) == 0);
	return it.len_bytes;
}
