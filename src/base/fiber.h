/*
 * Fibers: stackful coroutines of one reactor (doc/design/runtime.md).
 *
 * A fiber runs on the core that started it, never moves, and is switched only where it awaits.
 * Every fiber is in a group; a group is joined before its owner goes away. Cancelling a group makes
 * the pending and every later interruptible await of its fibers return -ECANCELED.
 * Each fiber has a deadline (CFS_DEADLINE_NONE: none), inherited by what it starts; an
 * interruptible await returns -ETIMEDOUT when it passes.
 */
#ifndef CFS_BASE_FIBER_H
#define CFS_BASE_FIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* May suspend the calling fiber. Only functions marked so may call functions marked so
 * (tools/check). */
#define CFS_AWAITS
#define CFS_DEADLINE_NONE UINT64_MAX

struct cfs_fiber;
struct cfs_reactor;

typedef void (*cfs_fiber_fn)(void *arg);

/* Waiters in order of arrival. Zero bytes are not an empty queue: init it. */
struct cfs_waitq {
	struct cfs_list waiters;
};

struct cfs_group {
	struct cfs_list fibers;
	uint32_t count;
	bool canceled;
	struct cfs_waitq empty;
};

void cfs_waitq_init(struct cfs_waitq *q);
bool cfs_waitq_is_empty(const struct cfs_waitq *q);
/* Waits until woken. Returns 0; -ETIMEDOUT; -ECANCELED. */
CFS_AWAITS int cfs_waitq_wait(struct cfs_waitq *q);
/* The same, but neither cancellation nor a deadline ends it. */
CFS_AWAITS void cfs_waitq_wait_always(struct cfs_waitq *q);
void cfs_waitq_wake_one(struct cfs_waitq *q);
void cfs_waitq_wake_all(struct cfs_waitq *q);

void cfs_group_init(struct cfs_group *g);
/* Starts @fn(@arg) as a fiber on this core; it runs when the caller next awaits.
 * Returns 0; -ENOMEM; -ECANCELED when @g is cancelled. */
int cfs_group_start(struct cfs_group *g, cfs_fiber_fn fn, void *arg);
/* A group stays cancelled until it is initialised again. Groups that its fibers made are not
 * reached: their makers, whose awaits fail now, cancel them. */
void cfs_group_cancel(struct cfs_group *g);
/* Waits (uninterruptibly) until no fiber of @g is left; @g may be used again. */
CFS_AWAITS void cfs_group_join(struct cfs_group *g);
/* Simulator only: forgets every fiber of @g at once, as SIGKILL would; nothing is unwound. Groups
 * that they made, and timers, are not reached: see cfs_domain_abandon(). Not from a fiber of @g. */
void cfs_group_abandon(struct cfs_group *g);

struct cfs_fiber *cfs_fiber_self(void);     /* NULL outside of fibers */
bool cfs_fiber_is_canceled(void);           /* of the calling fiber's group, or of itself */
void cfs_fiber_cancel(struct cfs_fiber *f); /* only that one; @f must be alive */
CFS_AWAITS void cfs_fiber_yield(void);      /* lets the others that are ready run first */
CFS_AWAITS int cfs_sleep_ns(uint64_t ns);   /* 0; -ETIMEDOUT; -ECANCELED */

/* Sets the calling fiber's deadline to the earlier of @deadline_ns (cfs_now_ns() clock) and the
 * present one; returns the present one, to be given to cfs_deadline_restore(). */
uint64_t cfs_deadline_narrow(uint64_t deadline_ns);
void cfs_deadline_restore(uint64_t deadline_ns);
uint64_t cfs_deadline(void);

/*
 * A domain is what one simulated process is: fibers, timers and posts belong to the domain of
 * whoever started, armed or sent them. 0, where all begins, is the simulator itself. Set by the
 * simulator where it starts a process, delivers to one (to the receiver's), or acts for a device or
 * network that outlives one (to 0).
 */
uint32_t cfs_domain(void);
uint32_t cfs_domain_set(uint32_t domain); /* of the calling fiber, or of the running callback;
					     returns the old one */
/* Simulator only: forgets every fiber, timer and post of @domain at once, as SIGKILL would. */
void cfs_domain_abandon(uint32_t domain);

/* A stretch that must not suspend: asserts it. CFS_NO_AWAIT { ... }; leave it only by its end. */
void cfs_no_await_enter(void);
void cfs_no_await_leave(void);
#define CFS_NO_AWAIT \
	for (int cfs_na_ = (cfs_no_await_enter(), 1); cfs_na_; cfs_na_ = (cfs_no_await_leave(), 0))

/* Fiber lock: first come, first served. */
struct cfs_lock {
	struct cfs_fiber *owner;
	struct cfs_waitq waiters;
};

void cfs_lock_init(struct cfs_lock *l);
/* A cancelled fiber gets no lock, also none that is free. */
CFS_AWAITS int cfs_lock_take(struct cfs_lock *l); /* 0; -ETIMEDOUT; -ECANCELED */
CFS_AWAITS void cfs_lock_take_always(struct cfs_lock *l);
bool cfs_lock_try(struct cfs_lock *l);
void cfs_lock_release(struct cfs_lock *l); /* handed to the first waiter */

/*
 * One completion: somebody waits, somebody else (a callback on the same core) completes.
 * cfs_done_wait() is interruptible, so the memory must outlive the operation then; use
 * cfs_done_wait_always() where a device or a peer still owns buffers.
 */
struct cfs_done {
	int rc;
	bool is_done;
	struct cfs_waitq waiters;
};

void cfs_done_init(struct cfs_done *d);
void cfs_done_complete(struct cfs_done *d, int rc);
CFS_AWAITS int cfs_done_wait(struct cfs_done *d);        /* its rc; -ETIMEDOUT; -ECANCELED */
CFS_AWAITS int cfs_done_wait_always(struct cfs_done *d); /* its rc */

/* Peak use of fiber stacks of this thread since start, bytes (tests fail past 32 KiB). */
uint32_t cfs_fiber_stack_peak_bytes(void);

#endif
