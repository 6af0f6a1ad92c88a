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
#define CFS_MIN(a, b) \
	({ \
		__typeof__(a) cfs_a_ = (a); \
		__typeof__(b) cfs_b_ = (b); \
		cfs_a_ < cfs_b_ ? cfs_a_ : cfs_b_; \
	})
#define CFS_MAX(a, b) \
	({ \
		__typeof__(a) cfs_a_ = (a); \
		__typeof__(b) cfs_b_ = (b); \
		cfs_a_ > cfs_b_ ? cfs_a_ : cfs_b_; \
	})
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
