/*
 * Inside of the reactor, for base only: one core's state, its ring, and the runtime that they make.
 */
#ifndef CFS_BASE_REACTOR_INTERNAL_H
#define CFS_BASE_REACTOR_INTERNAL_H

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fiber_internal.h"
#include "base/mailbox.h"
#include "base/offload.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/timer.h"

#define CFS_RING_SQ_ENTRIES 256u
#define CFS_RING_CQ_ENTRIES 4096u
#define CFS_RING_INFLIGHT_MAX 2048u /* more I/O waits in cfs_ring.pending */
#define CFS_POLLERS_MAX 64u
#define CFS_SPIN_NS_MAX ((uint64_t)200000)
#define CFS_SPIN_LOST_NS 30000u
#define CFS_SPIN_HOLD_OFF_NS 5000000u

struct cfs_buf_pool;

/* The descriptor of a poller while io_uring polls it. It belongs to the ring, so a poller may go
 * away while its poll is still under way. */
struct cfs_poll_slot {
	struct cfs_poller *poller; /* NULL: removed; the completion frees the slot */
	bool is_used;
};

struct cfs_ring {
	struct io_uring uring;
	bool is_open;
	bool is_old;         /* entries were not submitted in the turn that made them */
	bool is_wake_armed;  /* a read of the mailbox's eventfd is under way */
	uint64_t wake_value; /* what that read returns */
	uint32_t inflight;
	struct cfs_list pending;
	struct cfs_poll_slot polls[CFS_POLLERS_MAX];
	uintptr_t fixed_low, fixed_high; /* registered buffer 0; equal: none */
};

struct cfs_runtime;

struct cfs_reactor {
	struct cfs_sched sched;
	struct cfs_runtime *runtime;
	uint32_t core;
	struct cfs_timer_heap timers;
	struct cfs_mailbox mailbox;
	struct cfs_msgq local;                 /* posts of this core to itself */
	struct cfs_msgq outbox[CFS_CORES_MAX]; /* posts that found a ring full */
	uint64_t outbox_bits;
	uint32_t outbox_yields;
	struct cfs_list pollers;
	struct cfs_list *poller_next; /* where the walk over pollers goes on */
	struct cfs_group root;        /* the main fiber, and those of cfs_core_call() */
	struct cfs_ring ring;
	struct cfs_buf_pool *bufs;
	struct cfs_stock stock;
	uint64_t rand[4];
	uint64_t sim_now_ns;
	uint64_t spin_ns, idle_since_ns, spun_ns, spin_again_ns;
	struct cfs_reactor_stats stats;
	pthread_t thread;
};

struct cfs_runtime {
	struct cfs_runtime_opts opts;
	uint32_t cores, cpu_count;
	cpu_set_t cpus;
	struct cfs_reactor *reactors;
	struct cfs_offload offload;
	_Atomic bool is_stopping;
	int (*fn)(void *arg);
	void *arg;
	int rc;
	pthread_mutex_t lock; /* of the two below */
	pthread_cond_t started;
	uint32_t started_count, stopped_count;
	int start_rc;
};

struct cfs_reactor *cfs_reactor_self(void); /* NULL outside of a runtime */
void cfs_reactor_self_set(struct cfs_reactor *r);
struct cfs_runtime *cfs_runtime_current(void); /* also for threads that are no cores */

/* reactor.c */
int cfs_reactor_init(struct cfs_reactor *r, struct cfs_runtime *rt, uint32_t core);
void cfs_reactor_fini(struct cfs_reactor *r);
/* Runs until the runtime stops and this core is at rest. */
void cfs_reactor_loop(struct cfs_reactor *r);
/* Tests only: forgets a runtime that a longjmp(3) left, with all that it holds. */
void cfs_runtime_forget(void);

/* reactor_ring.c. Returns 0; -errno of io_uring_setup(2). By the thread that will use it. */
int cfs_ring_open(struct cfs_ring *ring);
void cfs_ring_close(struct cfs_ring *ring);
/* Handles completions. Returns their number. */
uint32_t cfs_ring_turn(struct cfs_reactor *r);
/* Submits entries that are urgent or have waited a turn; others wait: perhaps there will be more,
 * perhaps the core sleeps, and then the call that sleeps takes them along. */
void cfs_ring_submit(struct cfs_reactor *r, bool is_urgent);
/* Submits all, and sleeps until a completion or for @timeout_ns (UINT64_MAX: no limit). */
void cfs_ring_sleep(struct cfs_reactor *r, uint64_t timeout_ns);
void cfs_ring_arm_wake(struct cfs_reactor *r);
void cfs_ring_arm_poller(struct cfs_reactor *r, struct cfs_poller *p);
void cfs_ring_disarm_poller(struct cfs_reactor *r, struct cfs_poller *p);
/* Registers one stretch of memory for the fixed operations; false: the kernel would not. */
bool cfs_ring_register(struct cfs_ring *ring, void *base, size_t len_bytes);

/* buf.c */
void cfs_buf_pool_destroy(struct cfs_buf_pool *pool);

#endif
