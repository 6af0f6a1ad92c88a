/*
 * The reactor: one thread, one io_uring, timers, a mailbox from each other core, pollers, fibers
 * (doc/design/runtime.md).
 *
 * A process has a runtime of N cores. Core 0 is the thread that calls cfs_runtime_run(); the others
 * are its threads, pinned only where the machine has more than two CPUs. A reactor spins for a
 * bounded, adaptive time (zero where cores are fewer than busy threads), then sleeps in
 * io_uring_enter; everything that can wake it (mailbox eventfd, pollers' descriptors, CQEs, the
 * next timer) ends that one wait.
 *
 * The simulated runtime has one core, no io_uring and a clock that jumps to the next timer when no
 * fiber is ready: same seed, same run.
 */
#ifndef CFS_BASE_REACTOR_H
#define CFS_BASE_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/fiber.h"
#include "base/list.h"

#define CFS_CORES_MAX 64

struct cfs_runtime_opts {
	uint32_t cores; /* 0: one for every two CPUs, at least one */
	int pin_cpu;    /* CPU of core 0, the others follow; -1: the default rule; -2: never pin */
	bool is_sim;    /* simulated clock, one core */
	uint64_t sim_seed;                         /* feeds cfs_rand_u64() in a simulation */
	uint64_t sim_wall_ns;                      /* simulated wall clock at start */
	uint32_t buf_small_count, buf_large_count; /* of each core's pool; 0: the default (buf.h) */
};

/* Runs @fn(@arg) as the first fiber of core 0 and returns its result once it has returned and every
 * core has stopped. Returns -ENOSYS with a log line where io_uring is missing or forbidden. */
int cfs_runtime_run(const struct cfs_runtime_opts *opts, int (*fn)(void *arg), void *arg);

uint32_t cfs_core_count(void);
uint32_t cfs_core_id(void); /* of the calling thread; UINT32_MAX outside the runtime */
bool cfs_runtime_is_sim(void);

/* Runs @fn(@arg) on @core, in no fiber (it must not await); does not wait. From any core, also its
 * own, and from any other thread of the process while its runtime runs. Order from one sender to
 * one core is kept. */
void cfs_core_post(uint32_t core, void (*fn)(void *arg), void *arg);
/* Runs @fn(@arg) as a fiber on @core and waits (uninterruptibly) for its result; on the own core it
 * is a plain call. The deadline goes along, cancellation does not. -ENOMEM: no stack, nothing ran.
 */
CFS_AWAITS int cfs_core_call(uint32_t core, int (*fn)(void *arg), void *arg);
/* Runs @fn(@arg) on a thread where it may block; waits uninterruptibly. In a simulation: runs it in
 * place. -EAGAIN: no thread could be started, nothing ran. */
CFS_AWAITS int cfs_offload(int (*fn)(void *arg), void *arg);

/* Clocks, nanoseconds. now: CLOCK_BOOTTIME; wall: CLOCK_REALTIME. Simulated in a simulation. */
uint64_t cfs_now_ns(void);
uint64_t cfs_wall_ns(void);
uint64_t cfs_rand_u64(void); /* per core; seeded by getrandom(2) or the simulation's seed */

/* Timer: calls @fn(@arg) outside of fibers when due. Embedded; zeroed is unarmed. */
struct cfs_timer {
	uint64_t due_ns;
	uint64_t order;  /* ties fire in order of arming */
	uint32_t slot;   /* heap position + 1; 0 unarmed */
	uint32_t domain; /* of who armed it (fiber.h) */
	void (*fn)(void *arg);
	void *arg;
};

void cfs_timer_arm(struct cfs_timer *t, uint64_t due_ns, void (*fn)(void *arg), void *arg);
void cfs_timer_disarm(struct cfs_timer *t);

/*
 * I/O by io_uring. The await forms wait uninterruptibly (the kernel owns the buffer) and return the
 * kernel's result: bytes or a negative errno. Not available in a simulation.
 */
CFS_AWAITS ssize_t cfs_io_pread(int fd, void *buf, size_t len_bytes, uint64_t off_bytes);
CFS_AWAITS ssize_t cfs_io_pwrite(int fd, const void *buf, size_t len_bytes, uint64_t off_bytes);
CFS_AWAITS ssize_t cfs_io_preadv(int fd, const struct iovec *iov, uint32_t count,
				 uint64_t off_bytes);
CFS_AWAITS ssize_t cfs_io_pwritev(int fd, const struct iovec *iov, uint32_t count,
				  uint64_t off_bytes);
CFS_AWAITS int cfs_io_fdatasync(int fd);
CFS_AWAITS int cfs_io_fallocate(int fd, int mode, uint64_t off_bytes, uint64_t len_bytes);
/* Waits until @fd has one of @events (poll(2)); interruptible. Returns the events. */
CFS_AWAITS int cfs_io_poll(int fd, uint32_t events);

/* The same without waiting: @fn(@io) runs outside of fibers with io->res set. Embedded; alive until
 * then. */
struct cfs_io {
	int64_t res;
	void (*fn)(struct cfs_io *io);
	void *arg;
	/* private to the reactor */
	uint8_t op;
	int fd;
	void *buf;
	uint64_t len, off;
	uint32_t flags;
	struct cfs_list pending;
};

void cfs_io_submit_pread(struct cfs_io *io, int fd, void *buf, size_t len_bytes,
			 uint64_t off_bytes);
void cfs_io_submit_pwrite(struct cfs_io *io, int fd, const void *buf, size_t len_bytes,
			  uint64_t off_bytes);
void cfs_io_submit_preadv(struct cfs_io *io, int fd, const struct iovec *iov, uint32_t count,
			  uint64_t off_bytes);
void cfs_io_submit_pwritev(struct cfs_io *io, int fd, const struct iovec *iov, uint32_t count,
			   uint64_t off_bytes);
void cfs_io_submit_fdatasync(struct cfs_io *io, int fd);

/*
 * A poller is asked in every turn of the loop: @poll returns how many events it handled (0: idle).
 * @fd, if not -1, wakes the reactor's sleep when readable. @may_sleep, if not NULL, is asked before
 * sleeping and arms @fd's source; false: something is there already, poll again. It must not add or
 * remove pollers.
 *
 * @poll runs outside of fibers; it does a bounded part of what there is, and may remove any poller,
 * also its own. A descriptor that stays readable though @poll finds nothing (after a hang-up) makes
 * the reactor spin: remove the poller. The simulation has no descriptors: @fd is -1 there.
 *
 * @poll may set @is_drained where @fd alone tells whether there is anything. It is left out then
 * until @fd was seen readable, which saves a system call that finds nothing. Nothing is lost if
 * there was something after all: the sleep ends at once. A core that does not sleep asks again
 * after some turns.
 */
struct cfs_poller {
	int (*poll)(void *arg);
	bool (*may_sleep)(void *arg);
	void *arg;
	int fd;
	bool is_drained;
	bool is_added;
	/* private */
	bool is_armed;
	uint8_t turns_left_out;
	struct cfs_list link;
	struct cfs_io io;
};

void cfs_poller_add(struct cfs_poller *p);
void cfs_poller_remove(struct cfs_poller *p);

/* Counters of the calling core. */
struct cfs_reactor_stats {
	uint64_t switches, wakeups_sent, sleeps, spins, spins_lost, submits, cqes, posts, timers,
		fibers_live;
};
void cfs_reactor_stats(struct cfs_reactor_stats *out);

#endif
