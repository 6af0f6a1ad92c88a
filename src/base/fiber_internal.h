/*
 * Inside of fibers, for base only: the fiber, its stack pool and the scheduler of one core.
 *
 * A fiber and its stack are one thing: they are mapped together, pooled together and go together.
 * The stack's memory is never filled: fresh pages are zero, so the deepest word that is not zero
 * tells its peak, and a stack costs only the pages that it has used.
 */
#ifndef CFS_BASE_FIBER_INTERNAL_H
#define CFS_BASE_FIBER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fiber.h"
#include "base/fiber_switch.h"
#include "base/list.h"
#include "base/reactor.h"
#include "base/sanitizer.h"

#if defined(CFS_ASAN) || defined(CFS_TSAN)
#define CFS_STACK_BYTES (256u * 1024)
#else
#define CFS_STACK_BYTES (64u * 1024)
#endif
#define CFS_STACK_GUARD_BYTES (64u * 1024) /* past any single frame that the build allows */
#define CFS_FIBERS_CACHED_MAX 1024u        /* idle fibers kept per core */

enum cfs_fiber_state { CFS_FIBER_IDLE, CFS_FIBER_READY, CFS_FIBER_RUNNING, CFS_FIBER_WAITING };

struct cfs_fiber {
	struct cfs_ctx ctx;
	struct cfs_list link;       /* ready list, a wait queue, or the pool's idle list */
	struct cfs_list group_link; /* of its group */
	struct cfs_list live_link;  /* of its scheduler */
	struct cfs_group *group;
	cfs_fiber_fn fn;
	void *arg;
	uint64_t id; /* counts starts on this core; names it in lists */
	uint64_t deadline_ns;
	struct cfs_timer deadline_timer; /* stays armed over awaits; may fire early, never late */
	struct cfs_timer sleep_timer;
	int wake_rc;
	uint32_t no_await;
	uint32_t domain;
	uint8_t state;
	bool is_interruptible;
	bool is_canceled;
	uint8_t *stack; /* lowest usable byte */
	size_t stack_bytes;
	void *fake_stack; /* of ASan */
	void *tsan;
};

struct cfs_sched {
	struct cfs_list ready; /* run in the present round */
	struct cfs_list later; /* yielded: run in the next turn */
	struct cfs_list live;
	struct cfs_list idle;
	uint32_t ready_count, live_count, idle_count;
	uint32_t colour; /* of the next stack's top, so that fibers do not share cache sets */
	uint64_t starts, switches;
	struct cfs_fiber *current;
	struct cfs_ctx loop_ctx;
	uint32_t no_await;         /* of callbacks, which run in no fiber */
	uint32_t domain;           /* of the running callback */
	uint32_t stack_peak_bytes; /* of stacks that were unmapped */
	const void *loop_stack;
	size_t loop_stack_bytes;
	void *loop_fake_stack;
	void *loop_tsan;
};

void cfs_sched_init(struct cfs_sched *s);
void cfs_sched_fini(struct cfs_sched *s);
/* Runs what is ready, and what that makes ready, at most @rounds rounds. Returns the switches. */
uint32_t cfs_sched_run(struct cfs_sched *s, uint32_t rounds);
bool cfs_sched_has_ready(const struct cfs_sched *s);
/* Writes one line for each live fiber to stderr: what it runs and where it waits. */
void cfs_sched_print(const struct cfs_sched *s);

/* Forgets the fibers of @domain; cfs_domain_abandon() is this, and timers and posts. */
void cfs_sched_abandon(struct cfs_sched *s, uint32_t domain);

/* As cfs_group_start(), with a deadline of its own; cfs_group_start() inherits the caller's. */
int cfs_group_start_deadline(struct cfs_group *g, cfs_fiber_fn fn, void *arg, uint64_t deadline_ns);
/* Suspends the calling fiber, which may have put its link in one queue, until it is unparked.
 * Returns the code given there; when interruptible, also -ECANCELED and -ETIMEDOUT. */
CFS_AWAITS int cfs_fiber_park(bool is_interruptible);
/* Takes a waiting fiber out of its queue and makes it ready. */
void cfs_fiber_unpark(struct cfs_fiber *f, int rc);

/* The scheduler of the calling thread; NULL outside of a runtime. In reactor.c. */
struct cfs_sched *cfs_sched_self(void);

/* Stacks, in fiber_stack.c. */
struct cfs_fiber *cfs_fiber_map(struct cfs_sched *s); /* NULL: no memory */
void cfs_fiber_unmap(struct cfs_sched *s, struct cfs_fiber *f);
uint32_t cfs_fiber_stack_used_bytes(const struct cfs_fiber *f);

#endif
