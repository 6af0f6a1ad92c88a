/*
 * Counters and latency histograms. One core writes, any thread may read: every access is a relaxed
 * atomic load or store, so a reader sees whole numbers, perhaps a moment apart.
 *
 * The histogram is log-linear (as HdrHistogram's): CFS_HIST_STEPS buckets for each power of two, so
 * a value is known within 1/16 of itself, from 1 ns to 18 minutes; what is longer counts as the
 * longest.
 */
#ifndef CFS_BASE_HIST_H
#define CFS_BASE_HIST_H

#include <stdint.h>

#define CFS_HIST_STEP_BITS 4
#define CFS_HIST_STEPS (1u << CFS_HIST_STEP_BITS)
#define CFS_HIST_BITS_MAX 40
#define CFS_HIST_BUCKETS ((CFS_HIST_BITS_MAX - CFS_HIST_STEP_BITS + 1) * CFS_HIST_STEPS)

struct cfs_counter {
	uint64_t value;
};

static inline uint64_t cfs_counter_get(const struct cfs_counter *c)
{
	return __atomic_load_n(&c->value, __ATOMIC_RELAXED);
}

/* Only the counter's own core. */
static inline void cfs_counter_add(struct cfs_counter *c, uint64_t n)
{
	__atomic_store_n(&c->value, __atomic_load_n(&c->value, __ATOMIC_RELAXED) + n,
			 __ATOMIC_RELAXED);
}

/* Zero bytes are an empty histogram. */
struct cfs_hist {
	struct cfs_counter count;
	struct cfs_counter sum_ns;
	struct cfs_counter max_ns;
	struct cfs_counter buckets[CFS_HIST_BUCKETS];
};

/* Only the histogram's own core. */
void cfs_hist_add(struct cfs_hist *h, uint64_t ns);
/* Adds @from, which may be another core's, to @into, which is the caller's. */
void cfs_hist_merge(struct cfs_hist *into, const struct cfs_hist *from);
/* The value that @permille of 1000 values are not above: 500 the median, 999, 1000 the maximum. 0
 * when empty. */
uint64_t cfs_hist_permille_ns(const struct cfs_hist *h, uint32_t permille);
/* 0 when empty. */
uint64_t cfs_hist_mean_ns(const struct cfs_hist *h);

#endif
