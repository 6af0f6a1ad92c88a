/*
 * Fibers, their groups, and what they wait on (doc/design/runtime.md).
 *
 * Every wait is one thing: the fiber puts its one link in one queue and switches to the loop; who
 * wakes it takes the link out, leaves a result and appends it to the ready list. So a wake-up is
 * O(1) and allocates nothing, a fiber waits in one place only, and to interrupt a wait is to wake
 * it with another result. A fiber that was woken but has not run yet keeps its result: what was
 * handed to it (a lock, a completion) is never lost to a cancellation that comes later.
 */
#include "base/fiber.h"

#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fiber_internal.h"
#include "base/reactor.h"
#include "base/util.h"

#ifdef CFS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CFS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define TRACE_FRAMES_MAX 12

/* ---- switching ---- */

static void switch_to_fiber(struct cfs_sched *s, struct cfs_fiber *f)
{
	s->switches++;
	s->current = f;
	f->state = CFS_FIBER_RUNNING;
#ifdef CFS_ASAN
	__sanitizer_start_switch_fiber(&s->loop_fake_stack, f->stack, f->stack_bytes);
#endif
#ifdef CFS_TSAN
	s->loop_tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(f->tsan, 0);
#endif
	cfs_ctx_switch(&s->loop_ctx, &f->ctx);
#ifdef CFS_ASAN
	__sanitizer_finish_switch_fiber(s->loop_fake_stack, NULL, NULL);
#endif
	s->current = NULL;
}

static void switch_to_loop(struct cfs_sched *s, struct cfs_fiber *f, bool is_dying)
{
#ifdef CFS_ASAN
	__sanitizer_start_switch_fiber(is_dying ? NULL : &f->fake_stack, s->loop_stack,
				       s->loop_stack_bytes);
#endif
#ifdef CFS_TSAN
	__tsan_switch_to_fiber(s->loop_tsan, 0);
#endif
	(void)is_dying;
	cfs_ctx_switch(&f->ctx, &s->loop_ctx);
#ifdef CFS_ASAN
	__sanitizer_finish_switch_fiber(f->fake_stack, NULL, NULL);
#endif
}

static void fiber_entry(void)
{
	struct cfs_sched *s = cfs_sched_self();
	struct cfs_fiber *f = s->current;

#ifdef CFS_ASAN
	__sanitizer_finish_switch_fiber(NULL, &s->loop_stack, &s->loop_stack_bytes);
#endif
	f->fn(f->arg);
	cfs_assert(f->no_await == 0);
	f->state = CFS_FIBER_IDLE;
	switch_to_loop(s, f, true);
	__builtin_unreachable();
}

/* ---- the scheduler ---- */

void cfs_sched_init(struct cfs_sched *s)
{
	memset(s, 0, sizeof(*s));
	cfs_list_init(&s->ready);
	cfs_list_init(&s->later);
	cfs_list_init(&s->live);
	cfs_list_init(&s->idle);
}

void cfs_sched_fini(struct cfs_sched *s)
{
	cfs_assert(s->live_count == 0);
	for (struct cfs_list *n = cfs_list_pop(&s->idle); n; n = cfs_list_pop(&s->idle))
		cfs_fiber_unmap(s, cfs_list_entry(n, struct cfs_fiber, link));
	s->idle_count = 0;
}

bool cfs_sched_has_ready(const struct cfs_sched *s)
{
	return !cfs_list_is_empty(&s->ready) || !cfs_list_is_empty(&s->later);
}

/* Gives a fiber that has ended, or was abandoned, back to the pool. */
static void fiber_retire(struct cfs_sched *s, struct cfs_fiber *f)
{
	cfs_timer_disarm(&f->deadline_timer);
	cfs_timer_disarm(&f->sleep_timer);
	cfs_list_remove(&f->live_link);
	s->live_count--;
	f->state = CFS_FIBER_IDLE;
#ifdef CFS_ASAN
	ASAN_UNPOISON_MEMORY_REGION(f->stack, f->stack_bytes);
#endif
#ifdef CFS_TSAN
	__tsan_destroy_fiber(f->tsan);
#endif
	if (s->idle_count < CFS_FIBERS_CACHED_MAX) {
		cfs_list_push(&s->idle, &f->link);
		s->idle_count++;
	} else {
		cfs_fiber_unmap(s, f);
	}
}

static void group_leave(struct cfs_group *g, struct cfs_fiber *f)
{
	cfs_assert(g->count > 0);
	cfs_list_remove(&f->group_link);
	g->count--;
	if (g->count == 0)
		cfs_waitq_wake_all(&g->empty);
}

uint32_t cfs_sched_run(struct cfs_sched *s, uint32_t rounds)
{
	uint32_t ran = 0;

	cfs_list_splice(&s->ready, &s->later);
	for (uint32_t round = 0; round < rounds && !cfs_list_is_empty(&s->ready); round++) {
		struct cfs_list batch;

		/* The batch's head is a queue like any other: abandoning takes fibers out of it. */
		cfs_list_init(&batch);
		cfs_list_splice(&batch, &s->ready);
		for (struct cfs_list *n = cfs_list_pop(&batch); n; n = cfs_list_pop(&batch)) {
			struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, link);

			switch_to_fiber(s, f);
			ran++;
			if (f->state == CFS_FIBER_IDLE) {
				group_leave(f->group, f);
				fiber_retire(s, f);
			}
		}
	}
	return ran;
}

static void print_frames(const struct cfs_fiber *f)
{
	void *frames[TRACE_FRAMES_MAX];
	void *const *bp = cfs_ctx_frame(&f->ctx);
	const uint8_t *low = f->stack, *high = f->stack + f->stack_bytes;
	int count = 0;

	while (count < TRACE_FRAMES_MAX && (const uint8_t *)bp >= low &&
	       (const uint8_t *)(bp + 2) <= high && bp[1]) {
		frames[count++] = bp[1];
		bp = (void *const *)bp[0];
	}
	backtrace_symbols_fd(frames, count, STDERR_FILENO);
}

void cfs_sched_print(const struct cfs_sched *s)
{
	static const char *const states[] = { "idle", "ready", "running", "waiting" };

	cfs_list_for_each(n, &s->live) {
		const struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, live_link);

		dprintf(STDERR_FILENO, "fiber %" PRIu64 " %s%s%s\n", f->id, states[f->state],
			f->is_interruptible ? " interruptible" : "",
			f->is_canceled || f->group->canceled ? " canceled" : "");
		if (f->state == CFS_FIBER_WAITING || f->state == CFS_FIBER_READY)
			print_frames(f);
	}
}

uint32_t cfs_fiber_stack_peak_bytes(void)
{
	struct cfs_sched *s = cfs_sched_self();
	uint32_t peak;

	if (!s)
		return 0;
	peak = s->stack_peak_bytes;
	cfs_list_for_each(n, &s->live) {
		const struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, live_link);
		uint32_t used = cfs_fiber_stack_used_bytes(f);

		peak = CFS_MAX(peak, used);
	}
	cfs_list_for_each(n, &s->idle) {
		const struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, link);
		uint32_t used = cfs_fiber_stack_used_bytes(f);

		peak = CFS_MAX(peak, used);
	}
	return peak;
}

/* ---- parking ---- */

static void deadline_fire(void *arg)
{
	struct cfs_fiber *f = arg;

	if (f->state != CFS_FIBER_WAITING || !f->is_interruptible ||
	    f->deadline_ns == CFS_DEADLINE_NONE)
		return; /* the next interruptible wait looks at the deadline itself */
	if (f->deadline_ns > cfs_now_ns())
		cfs_timer_arm(&f->deadline_timer, f->deadline_ns, deadline_fire, f);
	else
		cfs_fiber_unpark(f, -ETIMEDOUT);
}

static bool fiber_canceled(const struct cfs_fiber *f)
{
	return f->is_canceled || f->group->canceled;
}

int cfs_fiber_park(bool is_interruptible)
{
	struct cfs_sched *s = cfs_sched_self();
	struct cfs_fiber *f = s ? s->current : NULL;

	cfs_assert(f != NULL);
	cfs_assert(f->no_await == 0);
	if (is_interruptible && fiber_canceled(f)) {
		cfs_list_remove(&f->link);
		return -ECANCELED;
	}
	/* A timer armed for an earlier deadline fires too soon and arms itself again. */
	if (is_interruptible && f->deadline_ns != CFS_DEADLINE_NONE &&
	    (!f->deadline_timer.slot || f->deadline_timer.due_ns > f->deadline_ns))
		cfs_timer_arm(&f->deadline_timer, f->deadline_ns, deadline_fire, f);
	f->is_interruptible = is_interruptible;
	f->state = CFS_FIBER_WAITING;
	switch_to_loop(s, f, false);
	return f->wake_rc;
}

static void make_ready(struct cfs_sched *s, struct cfs_fiber *f, int rc)
{
	f->wake_rc = rc;
	f->state = CFS_FIBER_READY;
	f->is_interruptible = false;
	cfs_list_append(&s->ready, &f->link);
}

void cfs_fiber_unpark(struct cfs_fiber *f, int rc)
{
	cfs_assert(f->state == CFS_FIBER_WAITING);
	cfs_list_remove(&f->link);
	make_ready(cfs_sched_self(), f, rc);
}

static void fiber_interrupt(struct cfs_fiber *f)
{
	if (f->state == CFS_FIBER_WAITING && f->is_interruptible)
		cfs_fiber_unpark(f, -ECANCELED);
}

/* ---- fibers ---- */

struct cfs_fiber *cfs_fiber_self(void)
{
	struct cfs_sched *s = cfs_sched_self();

	return s ? s->current : NULL;
}

bool cfs_fiber_is_canceled(void)
{
	const struct cfs_fiber *f = cfs_fiber_self();

	return f && fiber_canceled(f);
}

void cfs_fiber_cancel(struct cfs_fiber *f)
{
	f->is_canceled = true;
	fiber_interrupt(f);
}

void cfs_fiber_yield(void)
{
	struct cfs_sched *s = cfs_sched_self();
	struct cfs_fiber *f = s ? s->current : NULL;

	cfs_assert(f != NULL);
	cfs_assert(f->no_await == 0);
	f->state = CFS_FIBER_READY;
	f->is_interruptible = false;
	cfs_list_append(&s->later, &f->link);
	switch_to_loop(s, f, false);
}

static void sleep_fire(void *arg)
{
	struct cfs_fiber *f = arg;

	if (f->state == CFS_FIBER_WAITING) /* else it was interrupted and has yet to run */
		cfs_fiber_unpark(f, 0);
}

int cfs_sleep_ns(uint64_t ns)
{
	struct cfs_fiber *f = cfs_fiber_self();
	uint64_t now_ns = cfs_now_ns();
	int rc;

	cfs_assert(f != NULL);
	cfs_timer_arm(&f->sleep_timer, ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + ns,
		      sleep_fire, f);
	rc = cfs_fiber_park(true);
	cfs_timer_disarm(&f->sleep_timer);
	return rc;
}

uint64_t cfs_deadline(void)
{
	const struct cfs_fiber *f = cfs_fiber_self();

	return f ? f->deadline_ns : CFS_DEADLINE_NONE;
}

uint64_t cfs_deadline_narrow(uint64_t deadline_ns)
{
	struct cfs_fiber *f = cfs_fiber_self();
	uint64_t old_ns;

	cfs_assert(f != NULL);
	old_ns = f->deadline_ns;
	f->deadline_ns = CFS_MIN(old_ns, deadline_ns);
	return old_ns;
}

void cfs_deadline_restore(uint64_t deadline_ns)
{
	struct cfs_fiber *f = cfs_fiber_self();

	cfs_assert(f != NULL);
	f->deadline_ns = deadline_ns;
}

static uint32_t *no_await_count(void)
{
	struct cfs_sched *s = cfs_sched_self();

	cfs_assert(s != NULL);
	return s->current ? &s->current->no_await : &s->no_await;
}

void cfs_no_await_enter(void)
{
	++*no_await_count();
}

void cfs_no_await_leave(void)
{
	uint32_t *count = no_await_count();

	cfs_assert(*count > 0);
	--*count;
}

/* ---- groups ---- */

void cfs_group_init(struct cfs_group *g)
{
	cfs_list_init(&g->fibers);
	g->count = 0;
	g->canceled = false;
	cfs_waitq_init(&g->empty);
}

static struct cfs_fiber *fiber_get(struct cfs_sched *s)
{
	struct cfs_list *n = cfs_list_pop(&s->idle);

	if (!n)
		return cfs_fiber_map(s);
	s->idle_count--;
	return cfs_list_entry(n, struct cfs_fiber, link);
}

int cfs_group_start_deadline(struct cfs_group *g, cfs_fiber_fn fn, void *arg, uint64_t deadline_ns)
{
	struct cfs_sched *s = cfs_sched_self();
	struct cfs_fiber *f;

	cfs_assert(s != NULL);
	if (g->canceled)
		return -ECANCELED;
	f = fiber_get(s);
	if (!f)
		return -ENOMEM;
	*f = (struct cfs_fiber){
		.group = g,
		.fn = fn,
		.arg = arg,
		.id = ++s->starts,
		.deadline_ns = deadline_ns,
		.domain = cfs_domain(),
		.stack = f->stack,
		.stack_bytes = f->stack_bytes,
	};
#ifdef CFS_TSAN
	f->tsan = __tsan_create_fiber(0);
#endif
	cfs_ctx_make(&f->ctx, f->stack, f->stack_bytes, fiber_entry);
	cfs_list_append(&g->fibers, &f->group_link);
	g->count++;
	cfs_list_append(&s->live, &f->live_link);
	s->live_count++;
	make_ready(s, f, 0);
	return 0;
}

int cfs_group_start(struct cfs_group *g, cfs_fiber_fn fn, void *arg)
{
	return cfs_group_start_deadline(g, fn, arg, cfs_deadline());
}

void cfs_group_cancel(struct cfs_group *g)
{
	g->canceled = true;
	cfs_list_for_each(n, &g->fibers)
		fiber_interrupt(cfs_list_entry(n, struct cfs_fiber, group_link));
}

void cfs_group_join(struct cfs_group *g)
{
	while (g->count > 0)
		cfs_waitq_wait_always(&g->empty);
}

void cfs_group_abandon(struct cfs_group *g)
{
	struct cfs_sched *s = cfs_sched_self();

	cfs_assert(s != NULL);
	for (struct cfs_list *n = cfs_list_pop(&g->fibers); n; n = cfs_list_pop(&g->fibers)) {
		struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, group_link);

		cfs_assert(f != s->current);
		cfs_list_remove(&f->link);
		fiber_retire(s, f);
	}
	g->count = 0;
	cfs_waitq_wake_all(&g->empty);
}

/* ---- domains ---- */

static uint32_t *domain_place(struct cfs_sched *s)
{
	return s->current ? &s->current->domain : &s->domain;
}

uint32_t cfs_domain(void)
{
	struct cfs_sched *s = cfs_sched_self();

	return s ? *domain_place(s) : 0;
}

uint32_t cfs_domain_set(uint32_t domain)
{
	struct cfs_sched *s = cfs_sched_self();
	uint32_t *place, old;

	cfs_assert(s != NULL);
	place = domain_place(s);
	old = *place;
	*place = domain;
	return old;
}

/* No group is told: those of the domain are as gone as its fibers. */
void cfs_sched_abandon(struct cfs_sched *s, uint32_t domain)
{
	cfs_list_for_each_safe(n, next, &s->live) {
		struct cfs_fiber *f = cfs_list_entry(n, struct cfs_fiber, live_link);

		if (f->domain != domain)
			continue;
		cfs_assert(f != s->current);
		cfs_list_remove(&f->link);
		fiber_retire(s, f);
	}
}

/* ---- what fibers wait on ---- */

void cfs_waitq_init(struct cfs_waitq *q)
{
	cfs_list_init(&q->waiters);
}

bool cfs_waitq_is_empty(const struct cfs_waitq *q)
{
	return cfs_list_is_empty(&q->waiters);
}

static CFS_AWAITS int waitq_park(struct cfs_waitq *q, bool is_interruptible)
{
	struct cfs_fiber *f = cfs_fiber_self();

	cfs_assert(f != NULL);
	cfs_list_append(&q->waiters, &f->link);
	return cfs_fiber_park(is_interruptible);
}

int cfs_waitq_wait(struct cfs_waitq *q)
{
	return waitq_park(q, true);
}

void cfs_waitq_wait_always(struct cfs_waitq *q)
{
	(void)waitq_park(q, false);
}

void cfs_waitq_wake_one(struct cfs_waitq *q)
{
	if (!cfs_list_is_empty(&q->waiters))
		cfs_fiber_unpark(cfs_list_first(&q->waiters, struct cfs_fiber, link), 0);
}

void cfs_waitq_wake_all(struct cfs_waitq *q)
{
	while (!cfs_list_is_empty(&q->waiters))
		cfs_fiber_unpark(cfs_list_first(&q->waiters, struct cfs_fiber, link), 0);
}

void cfs_lock_init(struct cfs_lock *l)
{
	l->owner = NULL;
	cfs_waitq_init(&l->waiters);
}

bool cfs_lock_try(struct cfs_lock *l)
{
	struct cfs_fiber *f = cfs_fiber_self();

	cfs_assert(f != NULL);
	if (l->owner)
		return false;
	l->owner = f;
	return true;
}

int cfs_lock_take(struct cfs_lock *l)
{
	if (cfs_fiber_is_canceled())
		return -ECANCELED;
	if (cfs_lock_try(l))
		return 0;
	cfs_assert(l->owner != cfs_fiber_self());
	return cfs_waitq_wait(&l->waiters);
}

void cfs_lock_take_always(struct cfs_lock *l)
{
	if (cfs_lock_try(l))
		return;
	cfs_assert(l->owner != cfs_fiber_self());
	cfs_waitq_wait_always(&l->waiters);
}

void cfs_lock_release(struct cfs_lock *l)
{
	struct cfs_fiber *next = NULL;

	cfs_assert(l->owner != NULL);
	cfs_assert(l->owner == cfs_fiber_self());
	if (!cfs_waitq_is_empty(&l->waiters))
		next = cfs_list_first(&l->waiters.waiters, struct cfs_fiber, link);
	l->owner = next;
	if (next)
		cfs_fiber_unpark(next, 0);
}

void cfs_done_init(struct cfs_done *d)
{
	d->rc = 0;
	d->is_done = false;
	cfs_waitq_init(&d->waiters);
}

void cfs_done_complete(struct cfs_done *d, int rc)
{
	cfs_assert(!d->is_done);
	d->rc = rc;
	d->is_done = true;
	cfs_waitq_wake_all(&d->waiters);
}

int cfs_done_wait(struct cfs_done *d)
{
	while (!d->is_done) {
		int rc = cfs_waitq_wait(&d->waiters);

		if (rc < 0 && !d->is_done)
			return rc;
	}
	return d->rc;
}

int cfs_done_wait_always(struct cfs_done *d)
{
	while (!d->is_done)
		cfs_waitq_wait_always(&d->waiters);
	return d->rc;
}
