/*
 * The mailbox of one core: a ring from each other core (ck_ring, one producer, one consumer), and
 * one locked queue for all threads that are no cores. A word of bits tells the owner which to look
 * at, so an empty mailbox costs one load.
 *
 * Sleep. The owner says that it sleeps and then looks at the bits; a sender sets its bit and then
 * looks whether the owner sleeps; all four are sequentially consistent, so at least one sees the
 * other. Only then an eventfd is written: a message to a core that is awake costs no system call.
 *
 * A sender that finds a ring full keeps the messages itself (struct cfs_outbox), in order, and
 * tries again in each turn of its loop; nothing is lost.
 */
#ifndef CFS_BASE_MAILBOX_H
#define CFS_BASE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <ck_ring.h>

#include "base/reactor.h"

#define CFS_MAILBOX_SLOTS 256u   /* per ring; a power of two */
#define CFS_POSTS_MAX (1u << 20) /* that wait in one queue; more is a defect */

struct cfs_mail {
	void (*fn)(void *arg);
	void *arg;
	uint32_t domain;
};

/* Messages in order, as many as memory holds up to CFS_POSTS_MAX. Zeroed is empty. */
struct cfs_msgq {
	struct cfs_mail *slots;
	uint32_t slots_max, head, count;
};

struct cfs_mailbox_ring {
	ck_ring_t ring;
	struct cfs_mail slots[CFS_MAILBOX_SLOTS];
};

struct cfs_mailbox {
	_Atomic uint64_t pending; /* a bit a sender; the owner's own bit is of the other threads */
	_Atomic bool is_sleeping;
	uint32_t core, cores;
	int wake_fd;
	struct cfs_mailbox_ring *rings; /* by sender */
	pthread_mutex_t lock;
	struct cfs_msgq others;
};

void cfs_msgq_push(struct cfs_msgq *q, struct cfs_mail msg);
bool cfs_msgq_pop(struct cfs_msgq *q, struct cfs_mail *out);
void cfs_msgq_fini(struct cfs_msgq *q);

/* Returns 0; -ENOMEM; -errno of eventfd(2). */
int cfs_mailbox_init(struct cfs_mailbox *mb, uint32_t core, uint32_t cores);
void cfs_mailbox_fini(struct cfs_mailbox *mb);

/* Called by core @from. False: the ring is full, nothing was done. @woke_out: whether the owner
 * slept and was woken. */
bool cfs_mailbox_push(struct cfs_mailbox *mb, uint32_t from, struct cfs_mail msg, bool *woke_out);
/* Called by threads that are no cores. */
void cfs_mailbox_push_other(struct cfs_mailbox *mb, struct cfs_mail msg);

/* The owner's side. Runs what is there, at most a ring's worth from each sender. */
uint32_t cfs_mailbox_run(struct cfs_mailbox *mb, void (*run)(void *ctx, const struct cfs_mail *msg),
			 void *ctx);
bool cfs_mailbox_is_empty(struct cfs_mailbox *mb);
/* False: a message is there, do not sleep. True: from now on a sender writes the eventfd. */
bool cfs_mailbox_sleep(struct cfs_mailbox *mb);
void cfs_mailbox_awake(struct cfs_mailbox *mb);

#endif
