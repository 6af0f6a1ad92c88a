#include "base/hist.h"

#include "base/assert.h"
#include "base/util.h"

/* Values below CFS_HIST_STEPS have a bucket each; above, the top CFS_HIST_STEP_BITS + 1 bits
 * choose. */
static uint32_t bucket_of(uint64_t ns)
{
	uint32_t shift;

	if (ns >= 1ull << CFS_HIST_BITS_MAX)
		return CFS_HIST_BUCKETS - 1;
	if (ns < CFS_HIST_STEPS)
		return (uint32_t)ns;
	shift = 63 - (uint32_t)__builtin_clzll(ns) - CFS_HIST_STEP_BITS;
	return (shift << CFS_HIST_STEP_BITS) + (uint32_t)(ns >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_last_ns(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < CFS_HIST_STEPS)
		return bucket;
	shift = (bucket >> CFS_HIST_STEP_BITS) - 1;
	return ((uint64_t)(bucket - (shift << CFS_HIST_STEP_BITS) + 1) << shift) - 1;
}

void cfs_hist_add(struct cfs_hist *h, uint64_t ns)
{
	cfs_counter_add(&h->buckets[bucket_of(ns)], 1);
	cfs_counter_add(&h->count, 1);
	cfs_counter_add(&h->sum_ns, ns);
	if (ns > cfs_counter_get(&h->max_ns))
		__atomic_store_n(&h->max_ns.value, ns, __ATOMIC_RELAXED);
}

void cfs_hist_merge(struct cfs_hist *into, const struct cfs_hist *from)
{
	uint64_t max_ns = cfs_counter_get(&from->max_ns);

	for (uint32_t i = 0; i < CFS_HIST_BUCKETS; i++) {
		uint64_t n = cfs_counter_get(&from->buckets[i]);

		if (n == 0)
			continue;
		/* The count follows the buckets, which may have moved on since @from's was stored.
		 */
		cfs_counter_add(&into->buckets[i], n);
		cfs_counter_add(&into->count, n);
	}
	cfs_counter_add(&into->sum_ns, cfs_counter_get(&from->sum_ns));
	if (max_ns > cfs_counter_get(&into->max_ns))
		__atomic_store_n(&into->max_ns.value, max_ns, __ATOMIC_RELAXED);
}

uint64_t cfs_hist_permille_ns(const struct cfs_hist *h, uint32_t permille)
{
	uint64_t count = cfs_counter_get(&h->count), max_ns = cfs_counter_get(&h->max_ns);
	uint64_t rank, seen = 0;

	cfs_assert(permille <= 1000);
	if (count == 0)
		return 0;
	/* The smallest rank that covers the share; divided first where the product could overflow.
	 */
	rank = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
	rank = CFS_MAX(rank, (uint64_t)1);
	for (uint32_t i = 0; i < CFS_HIST_BUCKETS - 1; i++) {
		seen += cfs_counter_get(&h->buckets[i]);
		if (seen >= rank)
			return CFS_MIN(bucket_last_ns(i), max_ns);
	}
	return max_ns;
}

uint64_t cfs_hist_mean_ns(const struct cfs_hist *h)
{
	uint64_t count = cfs_counter_get(&h->count);

	return count ? cfs_counter_get(&h->sum_ns) / count : 0;
}
