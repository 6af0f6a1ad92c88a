#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fiber.h"
#include "base/mailbox.h"
#include "base/reactor.h"
#include "base/util.h"
#include "lib/test_fiber.h"

static void nothing(void *arg)
{
	(void)arg;
}

static struct cfs_mail message(uintptr_t n)
{
	return (struct cfs_mail){ .fn = nothing, .arg = (void *)n };
}

static void queue_keeps_order_while_it_grows(void **state)
{
	struct cfs_msgq q = { 0 };
	uintptr_t in = 0, out = 0;
	struct cfs_mail msg;

	(void)state;
	assert_false(cfs_msgq_pop(&q, &msg));
	for (uint32_t round = 0; round < 300; round++) {
		for (uint32_t i = 0; i < 3; i++)
			cfs_msgq_push(&q, message(in++));
		assert_true(cfs_msgq_pop(&q, &msg));
		assert_int_equal((uintptr_t)msg.arg, out++);
	}
	while (cfs_msgq_pop(&q, &msg))
		assert_int_equal((uintptr_t)msg.arg, out++);
	assert_int_equal(in, out);
	cfs_msgq_fini(&q);
}

struct collected {
	uintptr_t args[4 * CFS_MAILBOX_SLOTS];
	uint32_t count;
};

static void collect(void *ctx, const struct cfs_mail *msg)
{
	struct collected *c = ctx;

	assert_true(c->count < CFS_ARRAY_COUNT(c->args));
	c->args[c->count++] = (uintptr_t)msg->arg;
}

static void full_ring_says_so_and_keeps_what_it_has(void **state)
{
	static struct collected got;
	struct cfs_mailbox mb;
	uint32_t sent = 0;
	bool woke;

	(void)state;
	got.count = 0;
	assert_int_equal(cfs_mailbox_init(&mb, 0, 2), 0);
	assert_true(cfs_mailbox_is_empty(&mb));
	while (cfs_mailbox_push(&mb, 1, message(sent), &woke))
		sent++;
	assert_in_range(sent, CFS_MAILBOX_SLOTS - 1, CFS_MAILBOX_SLOTS);
	assert_false(cfs_mailbox_is_empty(&mb));
	assert_int_equal(cfs_mailbox_run(&mb, collect, &got), sent);
	for (uint32_t i = 0; i < sent; i++)
		assert_int_equal(got.args[i], i);
	assert_true(cfs_mailbox_push(&mb, 1, message(7), &woke));
	assert_int_equal(cfs_mailbox_run(&mb, collect, &got), 1);
	cfs_mailbox_fini(&mb);
}

static void only_a_sleeper_is_woken(void **state)
{
	static struct collected got;
	struct cfs_mailbox mb;
	uint64_t value;
	bool woke = true;

	(void)state;
	got.count = 0;
	assert_int_equal(cfs_mailbox_init(&mb, 0, 2), 0);
	assert_true(cfs_mailbox_push(&mb, 1, message(1), &woke));
	assert_false(woke);
	assert_false(cfs_mailbox_sleep(&mb)); /* there is something */
	cfs_mailbox_run(&mb, collect, &got);
	assert_true(cfs_mailbox_sleep(&mb));
	assert_true(cfs_mailbox_push(&mb, 1, message(2), &woke));
	assert_true(woke);
	assert_true(cfs_mailbox_push(&mb, 1, message(3), &woke));
	assert_false(woke); /* once is enough */
	assert_int_equal(read(mb.wake_fd, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 1);
	cfs_mailbox_awake(&mb);
	cfs_mailbox_run(&mb, collect, &got);
	assert_int_equal(got.count, 3);
	assert_true(cfs_mailbox_sleep(&mb));
	cfs_mailbox_push_other(&mb, message(4));
	assert_int_equal(read(mb.wake_fd, &value, sizeof(value)), sizeof(value));
	cfs_mailbox_fini(&mb);
}

/* ---- posts between cores ---- */

#define POSTS (20 * CFS_MAILBOX_SLOTS)

struct order {
	uint32_t next;
	uint32_t wrong;
	struct cfs_done done; /* of core 0 */
};

struct numbered {
	struct order *order;
	uint32_t number;
};

static void order_done(void *arg)
{
	cfs_done_complete(arg, 0);
}

static void order_check(void *arg)
{
	struct numbered *n = arg;

	n->order->wrong += n->order->next != n->number;
	if (++n->order->next == POSTS)
		cfs_core_post(0, order_done, &n->order->done);
}

/* Far more than a ring holds; then the ring is empty again, but what did not fit comes first. */
CFS_TEST_FIBER_CORES(posts_keep_their_order_and_none_is_lost, 2)
{
	static struct numbered numbers[POSTS];
	struct order order = { 0 };
	struct cfs_reactor_stats stats;
	uint32_t i = 0;

	cfs_done_init(&order.done);
	for (; i < POSTS / 2; i++) {
		numbers[i] = (struct numbered){ &order, i };
		cfs_core_post(1, order_check, &numbers[i]);
	}
	usleep(20000); /* blocks this core: nothing that it kept is sent */
	for (; i < POSTS; i++) {
		numbers[i] = (struct numbered){ &order, i };
		cfs_core_post(1, order_check, &numbers[i]);
	}
	cfs_done_wait_always(&order.done);
	assert_int_equal(order.next, POSTS);
	assert_int_equal(order.wrong, 0);
	cfs_reactor_stats(&stats);
	assert_true(stats.posts >= POSTS);
}

CFS_TEST_FIBER(posts_to_oneself_run_outside_of_fibers_in_order)
{
	static struct numbered numbers[POSTS];
	struct order order = { 0 };

	cfs_done_init(&order.done);
	for (uint32_t i = 0; i < POSTS; i++) {
		numbers[i] = (struct numbered){ &order, i };
		cfs_core_post(0, order_check, &numbers[i]);
	}
	assert_int_equal(order.next, 0);
	cfs_done_wait_always(&order.done);
	assert_int_equal(order.wrong, 0);
}

struct other_thread {
	struct order *order;
	struct numbered numbers[POSTS];
};

static void *post_from_thread(void *arg)
{
	struct other_thread *t = arg;

	for (uint32_t i = 0; i < POSTS; i++) {
		t->numbers[i] = (struct numbered){ t->order, i };
		cfs_core_post(0, order_check, &t->numbers[i]);
	}
	return NULL;
}

CFS_TEST_FIBER(any_thread_may_post)
{
	static struct other_thread t;
	struct order order = { 0 };
	pthread_t thread;

	cfs_done_init(&order.done);
	t.order = &order;
	assert_int_equal(pthread_create(&thread, NULL, post_from_thread, &t), 0);
	cfs_done_wait_always(&order.done);
	pthread_join(thread, NULL);
	assert_int_equal(order.wrong, 0);
}

/* ---- many short sleeps on both sides: no wake-up may be lost ---- */

struct ping {
	uint32_t left;
	struct cfs_done done;
};

static void ping_step(void *arg)
{
	struct ping *p = arg;

	if (p->left == 0)
		cfs_core_post(0, order_done, &p->done);
	else if (p->left--, true)
		cfs_core_post(1 - cfs_core_id(), ping_step, p);
}

CFS_TEST_FIBER_CORES(a_ball_goes_to_and_fro, 2)
{
	struct ping p = { .left = 20000 };

	cfs_done_init(&p.done);
	cfs_core_post(1, ping_step, &p);
	cfs_done_wait_always(&p.done);
	assert_int_equal(p.left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_keeps_order_while_it_grows),
		cmocka_unit_test(full_ring_says_so_and_keeps_what_it_has),
		cmocka_unit_test(only_a_sleeper_is_woken),
		cmocka_unit_test(posts_keep_their_order_and_none_is_lost),
		cmocka_unit_test(posts_to_oneself_run_outside_of_fibers_in_order),
		cmocka_unit_test(any_thread_may_post),
		cmocka_unit_test(a_ball_goes_to_and_fro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
