#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fiber.h"
#include "base/fiber_internal.h"
#include "base/reactor.h"
#include "base/util.h"
#include "lib/test_fiber.h"

#define MS 1000000ull

/* What ran, in order. */
struct trace {
	char text[256];
	uint32_t len;
};

static void trace_add(struct trace *t, char c)
{
	assert_true(t->len + 1 < sizeof(t->text));
	t->text[t->len++] = c;
	t->text[t->len] = 0;
}

struct walker {
	struct trace *trace;
	char name;
	uint32_t steps;
};

static void walk(void *arg)
{
	struct walker *w = arg;

	for (uint32_t i = 0; i < w->steps; i++) {
		trace_add(w->trace, w->name);
		cfs_fiber_yield();
	}
}

CFS_TEST_FIBER(fibers_take_turns_in_order)
{
	struct trace trace = { 0 };
	struct walker a = { &trace, 'a', 3 }, b = { &trace, 'b', 2 }, c = { &trace, 'c', 3 };
	struct cfs_group g;

	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, walk, &a), 0);
	assert_int_equal(cfs_group_start(&g, walk, &b), 0);
	assert_int_equal(cfs_group_start(&g, walk, &c), 0);
	assert_string_equal(trace.text, "");
	assert_int_equal(g.count, 3);
	cfs_group_join(&g);
	assert_int_equal(g.count, 0);
	assert_string_equal(trace.text, "abcabcac");
}

/* ---- wait queues, cancellation, deadlines ---- */

struct waiter {
	struct cfs_waitq *q;
	struct trace *trace;
	char name;
	bool is_always;
	int rc;
};

static void wait_once(void *arg)
{
	struct waiter *w = arg;

	if (w->is_always)
		cfs_waitq_wait_always(w->q);
	else
		w->rc = cfs_waitq_wait(w->q);
	trace_add(w->trace, w->name);
}

CFS_TEST_FIBER(wakes_in_order_of_arrival)
{
	struct trace trace = { 0 };
	struct cfs_waitq q;
	struct waiter w[3];
	struct cfs_group g;

	cfs_waitq_init(&q);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < 3; i++) {
		w[i] = (struct waiter){ &q, &trace, (char)('a' + i), false, 1 };
		assert_int_equal(cfs_group_start(&g, wait_once, &w[i]), 0);
	}
	cfs_waitq_wake_one(&q); /* nobody is there yet: not remembered */
	cfs_fiber_yield();
	assert_false(cfs_waitq_is_empty(&q));
	cfs_waitq_wake_one(&q);
	cfs_fiber_yield();
	assert_string_equal(trace.text, "a");
	cfs_waitq_wake_all(&q);
	cfs_group_join(&g);
	assert_string_equal(trace.text, "abc");
	assert_true(cfs_waitq_is_empty(&q));
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(w[i].rc, 0);
}

CFS_TEST_FIBER(cancel_ends_interruptible_waits_only)
{
	struct trace trace = { 0 };
	struct cfs_waitq q;
	struct waiter w = { &q, &trace, 'w', false, 1 }, always = { &q, &trace, 'x', true, 1 };
	struct cfs_group g;

	cfs_waitq_init(&q);
	cfs_group_init(&g);
	cfs_group_start(&g, wait_once, &always);
	cfs_group_start(&g, wait_once, &w);
	cfs_fiber_yield();
	cfs_group_cancel(&g);
	cfs_fiber_yield();
	assert_string_equal(trace.text, "w");
	assert_int_equal(w.rc, -ECANCELED);
	assert_int_equal(cfs_group_start(&g, wait_once, &w), -ECANCELED);
	assert_false(cfs_fiber_is_canceled()); /* we are in another group */
	cfs_waitq_wake_all(&q);
	cfs_group_join(&g);
	assert_string_equal(trace.text, "wx");
}

static void wait_canceled(void *arg)
{
	int *rcs = arg;
	struct cfs_waitq q;
	struct cfs_lock lock;
	struct cfs_done done;

	cfs_waitq_init(&q);
	cfs_lock_init(&lock);
	cfs_done_init(&done);
	rcs[0] = cfs_waitq_wait(&q);
	rcs[1] = cfs_waitq_wait(&q);
	rcs[2] = cfs_sleep_ns(3600 * 1000 * MS);
	rcs[3] = cfs_lock_take(&lock);
	rcs[4] = cfs_done_wait(&done);
	rcs[5] = cfs_fiber_is_canceled();
	cfs_done_complete(&done, 7);
	rcs[6] = cfs_done_wait(&done); /* what is there is given */
}

CFS_TEST_FIBER(every_await_after_cancel_says_so)
{
	int rcs[7] = { 0 };
	struct cfs_group g;

	cfs_group_init(&g);
	cfs_group_start(&g, wait_canceled, rcs);
	cfs_fiber_yield();
	cfs_fiber_cancel(cfs_list_first(&g.fibers, struct cfs_fiber, group_link));
	cfs_group_join(&g);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(rcs[i], -ECANCELED);
	assert_int_equal(rcs[5], 1);
	assert_int_equal(rcs[6], 7);
	assert_false(g.canceled);
}

CFS_TEST_FIBER(a_wake_before_cancel_is_kept)
{
	struct trace trace = { 0 };
	struct cfs_waitq q;
	struct waiter w = { &q, &trace, 'w', false, 1 };
	struct cfs_group g;

	cfs_waitq_init(&q);
	cfs_group_init(&g);
	cfs_group_start(&g, wait_once, &w);
	cfs_fiber_yield();
	cfs_waitq_wake_one(&q);
	cfs_group_cancel(&g);
	cfs_group_join(&g);
	assert_int_equal(w.rc, 0);
}

CFS_TEST_SIM(deadline_ends_a_wait_at_its_time)
{
	struct cfs_waitq q;
	uint64_t start_ns = cfs_now_ns(), old_ns;

	cfs_waitq_init(&q);
	assert_true(cfs_deadline() == CFS_DEADLINE_NONE);
	old_ns = cfs_deadline_narrow(start_ns + 5 * MS);
	assert_true(old_ns == CFS_DEADLINE_NONE);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT);
	assert_true(cfs_now_ns() == start_ns + 5 * MS);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT); /* and so do all later ones */
	assert_true(cfs_now_ns() == start_ns + 5 * MS);
	cfs_deadline_restore(old_ns);
	assert_int_equal(cfs_sleep_ns(2 * MS), 0);
	assert_true(cfs_now_ns() == start_ns + 7 * MS);
}

CFS_TEST_SIM(deadline_only_narrows_and_restores)
{
	struct cfs_waitq q;
	uint64_t start_ns = cfs_now_ns(), outer_ns, inner_ns;

	cfs_waitq_init(&q);
	outer_ns = cfs_deadline_narrow(start_ns + 20 * MS);
	inner_ns = cfs_deadline_narrow(start_ns + 3 * MS);
	assert_true(inner_ns == start_ns + 20 * MS);
	assert_true(cfs_deadline_narrow(start_ns + 30 * MS) == start_ns + 3 * MS);
	assert_true(cfs_deadline() == start_ns + 3 * MS);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT);
	/* The timer of the shorter one, still armed or not, does not end a wait of the longer. */
	cfs_deadline_restore(inner_ns);
	assert_int_equal(cfs_sleep_ns(10 * MS), 0);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT);
	assert_true(cfs_now_ns() == start_ns + 20 * MS);
	cfs_deadline_restore(outer_ns);
}

static void deadline_store(void *arg)
{
	*(uint64_t *)arg = cfs_deadline();
}

/* The timer is armed for one deadline when another one comes. */
CFS_TEST_SIM(deadline_may_change_between_waits)
{
	struct cfs_waitq q;
	uint64_t start_ns = cfs_now_ns(), outer_ns, inner_ns;

	cfs_waitq_init(&q);
	outer_ns = cfs_deadline_narrow(start_ns + 20 * MS);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	inner_ns = cfs_deadline_narrow(start_ns + 3 * MS);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT);
	assert_true(cfs_now_ns() == start_ns + 3 * MS);
	cfs_deadline_restore(inner_ns);
	inner_ns = cfs_deadline_narrow(start_ns + 6 * MS);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	cfs_deadline_restore(inner_ns);
	assert_int_equal(cfs_waitq_wait(&q), -ETIMEDOUT);
	assert_true(cfs_now_ns() == start_ns + 20 * MS);
	cfs_deadline_restore(outer_ns);
}

CFS_TEST_SIM(deadline_is_inherited)
{
	struct cfs_group g;
	uint64_t seen = 0, old_ns = cfs_deadline_narrow(cfs_now_ns() + 9 * MS);

	cfs_group_init(&g);
	cfs_group_start(&g, deadline_store, &seen);
	cfs_group_join(&g); /* uninterruptible */
	assert_true(seen == cfs_now_ns() + 9 * MS);
	cfs_deadline_restore(old_ns);
}

CFS_TEST_SIM(sleep_is_cut_by_the_deadline)
{
	uint64_t start_ns = cfs_now_ns(), old_ns = cfs_deadline_narrow(start_ns + 4 * MS);

	assert_int_equal(cfs_sleep_ns(UINT64_MAX), -ETIMEDOUT);
	assert_true(cfs_now_ns() == start_ns + 4 * MS);
	cfs_deadline_restore(old_ns);
}

static void cancel_group(void *arg)
{
	cfs_group_cancel(arg);
}

static void sleep_rc(void *arg)
{
	*(int *)arg = cfs_sleep_ns(MS);
}

/* The timer of the sleep fires after the cancellation, before the fiber has run. */
CFS_TEST_SIM(cancel_and_timer_at_the_same_time)
{
	struct cfs_timer timer = { 0 };
	struct cfs_group g;
	int rc = 1;

	cfs_group_init(&g);
	cfs_timer_arm(&timer, cfs_now_ns() + MS, cancel_group, &g);
	cfs_group_start(&g, sleep_rc, &rc);
	cfs_group_join(&g);
	assert_int_equal(rc, -ECANCELED);
}

/* ---- locks ---- */

struct locker {
	struct cfs_lock *lock;
	struct trace *trace;
	char name;
	int rc;
};

static void lock_step(void *arg)
{
	struct locker *l = arg;

	for (uint32_t i = 0; i < 2; i++) {
		l->rc = cfs_lock_take(l->lock);
		if (l->rc < 0)
			return;
		trace_add(l->trace, l->name);
		cfs_fiber_yield();
		trace_add(l->trace, l->name);
		cfs_lock_release(l->lock);
	}
}

CFS_TEST_FIBER(lock_is_first_come_first_served)
{
	struct trace trace = { 0 };
	struct cfs_lock lock;
	struct locker l[3];
	struct cfs_group g;

	cfs_lock_init(&lock);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < 3; i++) {
		l[i] = (struct locker){ &lock, &trace, (char)('a' + i), 1 };
		cfs_group_start(&g, lock_step, &l[i]);
	}
	cfs_group_join(&g);
	assert_string_equal(trace.text, "aabbccaabbcc");
	assert_true(cfs_lock_try(&lock));
	assert_false(cfs_lock_try(&lock));
	cfs_lock_release(&lock);
}

CFS_TEST_SIM(lock_wait_times_out_and_leaves_the_queue)
{
	struct trace trace = { 0 };
	struct cfs_lock lock;
	struct locker l = { &lock, &trace, 'l', 1 };
	struct cfs_group g;
	uint64_t old_ns = cfs_deadline_narrow(cfs_now_ns() + MS);

	cfs_lock_init(&lock);
	cfs_group_init(&g);
	cfs_lock_take_always(&lock);
	cfs_group_start(&g, lock_step, &l);
	cfs_group_join(&g);
	assert_int_equal(l.rc, -ETIMEDOUT);
	cfs_deadline_restore(old_ns);
	cfs_lock_release(&lock);
	assert_null(lock.owner);
}

/* ---- groups ---- */

static void join_child(void *arg)
{
	cfs_group_join(arg);
}

static void sleep_little(void *arg)
{
	(void)cfs_sleep_ns(*(uint64_t *)arg);
}

CFS_TEST_SIM(several_may_join_and_join_of_nothing_returns)
{
	struct cfs_group g, joiners;
	uint64_t ns[4] = { 3 * MS, MS, 0, 2 * MS }, start_ns = cfs_now_ns();

	cfs_group_init(&g);
	cfs_group_init(&joiners);
	cfs_group_join(&g);
	for (uint32_t i = 0; i < 4; i++)
		cfs_group_start(&g, sleep_little, &ns[i]);
	cfs_group_start(&joiners, join_child, &g);
	cfs_group_start(&joiners, join_child, &g);
	cfs_group_join(&g);
	assert_true(cfs_now_ns() == start_ns + 3 * MS);
	cfs_group_join(&joiners);
}

static void count_up(void *arg)
{
	++*(uint32_t *)arg;
}

CFS_TEST_FIBER(many_fibers_reuse_few_stacks)
{
	uint32_t count = 0;
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 500; i++)
			assert_int_equal(cfs_group_start(&g, count_up, &count), 0);
		cfs_group_join(&g);
	}
	assert_int_equal(count, 10000);
	assert_true(cfs_sched_self()->idle_count <= 500);
}

CFS_TEST_FIBER(idle_stacks_are_bounded)
{
	uint32_t count = 0;
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t i = 0; i < CFS_FIBERS_CACHED_MAX + 100; i++)
		assert_int_equal(cfs_group_start(&g, count_up, &count), 0);
	cfs_group_join(&g);
	assert_int_equal(cfs_sched_self()->idle_count, CFS_FIBERS_CACHED_MAX);
}

/* Not a tail call: each level has a frame. */
__attribute__((noinline)) static uint32_t use_stack(uint32_t levels)
{
	volatile char frame[1000];

	memset((void *)(uintptr_t)frame, 1, sizeof(frame));
	return levels ? use_stack(levels - 1) + (uint32_t)frame[levels % sizeof(frame)] : 0;
}

static void use_20k(void *arg)
{
	*(uint32_t *)arg = use_stack(20);
}

CFS_TEST_FIBER(stack_peak_is_measured)
{
	uint32_t before = cfs_fiber_stack_peak_bytes(), levels = 0, after;
	struct cfs_group g;

	cfs_group_init(&g);
	cfs_group_start(&g, use_20k, &levels);
	cfs_group_join(&g);
	after = cfs_fiber_stack_peak_bytes();
	assert_int_equal(levels, 20);
	assert_true(before < 16000);
	assert_in_range(after, 20000, CFS_STACK_BYTES);
}

/* ---- abandoning ---- */

static void abandoned(void *arg)
{
	struct trace *trace = arg;

	trace_add(trace, '+');
	(void)cfs_sleep_ns(MS);
	trace_add(trace, '-');
}

CFS_TEST_SIM(abandoned_fibers_never_run_again)
{
	struct trace trace = { 0 }, others = { 0 };
	struct cfs_waitq q;
	struct waiter w = { &q, &trace, 'w', false, 1 }, kept = { &q, &others, 'k', false, 1 };
	struct waiter late[2] = { { &q, &others, 'l', false, 1 }, { &q, &others, 'm', false, 1 } };
	struct cfs_group g, other;

	cfs_waitq_init(&q);
	cfs_group_init(&g);
	cfs_group_init(&other);
	cfs_group_start(&g, wait_once, &w); /* waits in a queue */
	cfs_group_start(&other, wait_once, &kept);
	cfs_group_start(&g, abandoned, &trace); /* waits for a timer */
	cfs_fiber_yield();
	cfs_group_start(&g, abandoned, &trace); /* is ready */
	cfs_group_abandon(&g);
	assert_int_equal(g.count, 0);
	/* Takes over a stack, whose old timer must not wake it. */
	cfs_group_start(&other, wait_once, &late[0]);
	cfs_group_start(&other, wait_once, &late[1]);
	cfs_waitq_wake_one(&q);
	(void)cfs_sleep_ns(5 * MS);
	assert_string_equal(trace.text, "+");
	assert_string_equal(others.text, "k");
	cfs_waitq_wake_all(&q);
	cfs_group_join(&other);
	cfs_group_join(&g);
}

static void post_trace(void *arg)
{
	trace_add(arg, 'p');
}

struct process {
	struct trace *trace;
	struct cfs_timer timer;
	struct cfs_group inner;
	bool is_killed;
};

static void inner_fiber(void *arg)
{
	struct process *p = arg;

	for (;;) {
		trace_add(p->trace, 'i');
		(void)cfs_sleep_ns(MS);
	}
}

static void timer_again(void *arg)
{
	struct process *p = arg;

	trace_add(p->trace, 't');
	cfs_timer_arm(&p->timer, cfs_now_ns() + MS, timer_again, p);
}

static void process_main(void *arg)
{
	struct process *p = arg;

	cfs_group_init(&p->inner);
	cfs_group_start(&p->inner, inner_fiber, p);
	cfs_timer_arm(&p->timer, cfs_now_ns() + MS, timer_again, p);
	cfs_group_join(&p->inner);
}

static void poster(void *arg)
{
	cfs_core_post(0, post_trace, arg);
	cfs_fiber_yield();
	cfs_fiber_yield();
	trace_add(arg, '!');
}

CFS_TEST_SIM(a_domain_goes_as_a_whole)
{
	struct trace trace = { 0 }, mine = { 0 };
	struct process p = { .trace = &trace };
	struct cfs_group g;
	uint32_t old;
	uint32_t len;

	cfs_group_init(&g);
	old = cfs_domain_set(7);
	assert_int_equal(old, 0);
	cfs_group_start(&g, process_main, &p);
	cfs_domain_set(old);
	(void)cfs_sleep_ns(3 * MS + MS / 2);
	assert_string_equal(trace.text, "itititi");
	cfs_core_post(0, post_trace, &mine);
	cfs_domain_set(7);
	cfs_group_start(&g, poster, &trace);
	cfs_core_post(0, post_trace, &trace);
	cfs_domain_set(old);
	len = trace.len;
	cfs_domain_abandon(7);
	(void)cfs_sleep_ns(10 * MS);
	assert_int_equal(trace.len, len);
	assert_string_equal(mine.text, "p");
	assert_int_equal(cfs_sched_self()->live_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fibers_take_turns_in_order),
		cmocka_unit_test(wakes_in_order_of_arrival),
		cmocka_unit_test(cancel_ends_interruptible_waits_only),
		cmocka_unit_test(every_await_after_cancel_says_so),
		cmocka_unit_test(a_wake_before_cancel_is_kept),
		cmocka_unit_test(deadline_ends_a_wait_at_its_time),
		cmocka_unit_test(deadline_only_narrows_and_restores),
		cmocka_unit_test(deadline_may_change_between_waits),
		cmocka_unit_test(deadline_is_inherited),
		cmocka_unit_test(sleep_is_cut_by_the_deadline),
		cmocka_unit_test(cancel_and_timer_at_the_same_time),
		cmocka_unit_test(lock_is_first_come_first_served),
		cmocka_unit_test(lock_wait_times_out_and_leaves_the_queue),
		cmocka_unit_test(several_may_join_and_join_of_nothing_returns),
		cmocka_unit_test(many_fibers_reuse_few_stacks),
		cmocka_unit_test(idle_stacks_are_bounded),
		cmocka_unit_test(stack_peak_is_measured),
		cmocka_unit_test(abandoned_fibers_never_run_again),
		cmocka_unit_test(a_domain_goes_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
