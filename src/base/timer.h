/*
 * The timers of one core: a heap of four children a node, ordered by time, then by order of arming.
 * It holds at most CFS_TIMERS_MAX; its memory is reserved at once and used as it grows, so arming
 * never fails and never allocates.
 */
#ifndef CFS_BASE_TIMER_H
#define CFS_BASE_TIMER_H

#include <stdint.h>

#include "base/reactor.h"

#define CFS_TIMERS_MAX (1u << 20)

struct cfs_timer_slot {
	uint64_t due_ns;
	struct cfs_timer *timer;
};

struct cfs_timer_heap {
	struct cfs_timer_slot *slots;
	uint32_t count;
	uint64_t order;
};

int cfs_timer_heap_init(struct cfs_timer_heap *h); /* 0; -ENOMEM */
void cfs_timer_heap_fini(struct cfs_timer_heap *h);
/* When the first is due; UINT64_MAX: none is armed. */
uint64_t cfs_timer_heap_due(const struct cfs_timer_heap *h);
void cfs_timer_heap_add(struct cfs_timer_heap *h, struct cfs_timer *t);
void cfs_timer_heap_remove(struct cfs_timer_heap *h, struct cfs_timer *t);
/* Takes the first out if it is due at @now_ns; NULL: none is. */
struct cfs_timer *cfs_timer_heap_pop(struct cfs_timer_heap *h, uint64_t now_ns);
/* Takes all timers of @domain out. */
void cfs_timer_heap_abandon(struct cfs_timer_heap *h, uint32_t domain);

#endif
