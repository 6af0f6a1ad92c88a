#include "base/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/sanitizer.h"
#include "base/stock.h"
#include "base/util.h"

#define MSGQ_SLOTS_MIN 64u

CK_RING_PROTOTYPE(msg, cfs_mail)

/* ---- queue ---- */

static int msgq_grow(struct cfs_msgq *q)
{
	uint32_t max = q->slots_max ? q->slots_max * 2 : MSGQ_SLOTS_MIN;
	struct cfs_mail *slots;

	cfs_assert(max <= CFS_POSTS_MAX);
	slots = cfs_stock_malloc(max * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->count; i++)
		slots[i] = q->slots[(q->head + i) & (q->slots_max - 1)];
	free(q->slots);
	q->slots = slots;
	q->slots_max = max;
	q->head = 0;
	return 0;
}

void cfs_msgq_push(struct cfs_msgq *q, struct cfs_mail msg)
{
	/* A post cannot fail, and dropping one would hang its waiter. */
	cfs_assert(q->count < q->slots_max || msgq_grow(q) == 0);
	q->slots[(q->head + q->count) & (q->slots_max - 1)] = msg;
	q->count++;
}

bool cfs_msgq_pop(struct cfs_msgq *q, struct cfs_mail *out)
{
	if (q->count == 0)
		return false;
	*out = q->slots[q->head];
	q->head = (q->head + 1) & (q->slots_max - 1);
	q->count--;
	return true;
}

void cfs_msgq_fini(struct cfs_msgq *q)
{
	free(q->slots);
	*q = (struct cfs_msgq){ 0 };
}

/* ---- ring ---- */

/* TSan does not see the barriers in ck's assembly; a lock tells it what they do. */
static void ring_lock(struct cfs_mailbox *mb)
{
#ifdef CFS_TSAN
	pthread_mutex_lock(&mb->lock);
#endif
	(void)mb;
}

static void ring_unlock(struct cfs_mailbox *mb)
{
#ifdef CFS_TSAN
	pthread_mutex_unlock(&mb->lock);
#endif
	(void)mb;
}

static bool ring_push(struct cfs_mailbox *mb, uint32_t from, struct cfs_mail *msg)
{
	struct cfs_mailbox_ring *r = &mb->rings[from];
	bool has_room;

	ring_lock(mb);
	has_room = ck_ring_enqueue_spsc_msg(&r->ring, r->slots, msg);
	ring_unlock(mb);
	return has_room;
}

static bool ring_pop(struct cfs_mailbox *mb, uint32_t from, struct cfs_mail *out)
{
	struct cfs_mailbox_ring *r = &mb->rings[from];
	bool has;

	ring_lock(mb);
	has = ck_ring_dequeue_spsc_msg(&r->ring, r->slots, out);
	ring_unlock(mb);
	return has;
}

/* ---- mailbox ---- */

int cfs_mailbox_init(struct cfs_mailbox *mb, uint32_t core, uint32_t cores)
{
	int rc;

	cfs_assert(cores <= CFS_CORES_MAX);
	cfs_assert(core < cores);
	memset(mb, 0, sizeof(*mb));
	mb->core = core;
	mb->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (mb->wake_fd < 0)
		return -errno;
	/* The other threads have no stock: room for as many posts as there usually are. */
	if (cores > 1)
		mb->rings = aligned_alloc(64, cfs_round_up(cores * sizeof(*mb->rings), 64));
	if ((cores > 1 && !mb->rings) || msgq_grow(&mb->others) < 0) {
		free(mb->rings);
		close(mb->wake_fd);
		return -ENOMEM;
	}
	if (cores > 1) {
		for (uint32_t i = 0; i < cores; i++)
			ck_ring_init(&mb->rings[i].ring, CFS_MAILBOX_SLOTS);
	}
	rc = pthread_mutex_init(&mb->lock, NULL);
	cfs_assert(rc == 0);
	mb->cores = cores; /* says that it is whole */
	return 0;
}

void cfs_mailbox_fini(struct cfs_mailbox *mb)
{
	if (mb->cores == 0)
		return;
	close(mb->wake_fd);
	free(mb->rings);
	cfs_msgq_fini(&mb->others);
	pthread_mutex_destroy(&mb->lock);
	mb->cores = 0;
}

/* Tells the owner that @from has sent. Returns whether it had to be woken. */
static bool mailbox_notify(struct cfs_mailbox *mb, uint32_t from)
{
	static const uint64_t one = 1;
	ssize_t n;

	/* Whoever set a bit that still stands has looked, or will, whether the owner sleeps. */
	if (atomic_fetch_or(&mb->pending, CFS_BIT(from)) & CFS_BIT(from))
		return false;
	if (!atomic_load(&mb->is_sleeping) || !atomic_exchange(&mb->is_sleeping, false))
		return false;
	do {
		n = write(mb->wake_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	cfs_assert(n == sizeof(one));
	return true;
}

bool cfs_mailbox_push(struct cfs_mailbox *mb, uint32_t from, struct cfs_mail msg, bool *woke_out)
{
	cfs_assert(from < mb->cores && from != mb->core);
	if (!ring_push(mb, from, &msg))
		return false;
	*woke_out = mailbox_notify(mb, from);
	return true;
}

void cfs_mailbox_push_other(struct cfs_mailbox *mb, struct cfs_mail msg)
{
	pthread_mutex_lock(&mb->lock);
	cfs_msgq_push(&mb->others, msg);
	pthread_mutex_unlock(&mb->lock);
	mailbox_notify(mb, mb->core);
}

static bool mailbox_take(struct cfs_mailbox *mb, uint32_t from, struct cfs_mail *out)
{
	bool has;

	if (from != mb->core)
		return ring_pop(mb, from, out);
	pthread_mutex_lock(&mb->lock);
	has = cfs_msgq_pop(&mb->others, out);
	pthread_mutex_unlock(&mb->lock);
	return has;
}

uint32_t cfs_mailbox_run(struct cfs_mailbox *mb, void (*run)(void *ctx, const struct cfs_mail *msg),
			 void *ctx)
{
	uint64_t bits;
	uint32_t ran = 0;

	if (cfs_mailbox_is_empty(mb))
		return 0;
	/* Cleared before the rings are read: who sends after this sets its bit again. */
	for (bits = atomic_exchange(&mb->pending, 0); bits; bits &= bits - 1) {
		uint32_t from = (uint32_t)__builtin_ctzll(bits), n = 0;
		struct cfs_mail msg;

		for (; n < CFS_MAILBOX_SLOTS && mailbox_take(mb, from, &msg); n++)
			run(ctx, &msg);
		if (n == CFS_MAILBOX_SLOTS)
			atomic_fetch_or(&mb->pending, CFS_BIT(from)); /* perhaps more */
		ran += n;
	}
	return ran;
}

bool cfs_mailbox_is_empty(struct cfs_mailbox *mb)
{
	return atomic_load_explicit(&mb->pending, memory_order_relaxed) == 0;
}

bool cfs_mailbox_sleep(struct cfs_mailbox *mb)
{
	atomic_store(&mb->is_sleeping, true);
	if (atomic_load(&mb->pending) == 0)
		return true;
	atomic_store(&mb->is_sleeping, false);
	return false;
}

void cfs_mailbox_awake(struct cfs_mailbox *mb)
{
	atomic_store_explicit(&mb->is_sleeping, false, memory_order_relaxed);
}
