/* Small helpers that everybody needs: cleanup, sizes, bits. */
#ifndef CFS_BASE_UTIL_H
#define CFS_BASE_UTIL_H

#include <stdint.h>
#include <stdlib.h>

#define CFS_CLEANUP(fn) __attribute__((cleanup(fn)))
#define CFS_STEAL(p) \
	({ \
		__typeof__(p) cfs_steal_ = (p); \
		(p) = NULL; \
		cfs_steal_; \
	})
#define CFS_BIT(n) (1ull << (n))
#define CFS_ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* The counter names the temporaries apart, so that the two may be nested. */
#define CFS_PICK_3(a, b, op, n) \
	({ \
		__typeof__(a) cfs_a_##n = (a); \
		__typeof__(b) cfs_b_##n = (b); \
		cfs_a_##n op cfs_b_##n ? cfs_a_##n : cfs_b_##n; \
	})
#define CFS_PICK_2(a, b, op, n) CFS_PICK_3(a, b, op, n)
#define CFS_MIN(a, b) CFS_PICK_2(a, b, <, __COUNTER__)
#define CFS_MAX(a, b) CFS_PICK_2(a, b, >, __COUNTER__)
#define CFS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

static inline uint64_t cfs_round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

static inline uint64_t cfs_round_down(uint64_t v, uint64_t unit)
{
	return v / unit * unit;
}

static inline void cfs_free_p(void *p)
{
	free(*(void **)p);
}

#endif
