#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timer.h"
#include "base/util.h"
#include "lib/test_fiber.h"

#define MS 1000000ull
#define MANY 2000u

static uint64_t chance(uint64_t *x)
{
	*x = *x * 6364136223846793005ull + 1442695040888963407ull;
	return *x >> 33;
}

static void heap_gives_order_of_time_then_of_arming(void **state)
{
	static struct cfs_timer timers[MANY];
	struct cfs_timer_heap h;
	uint64_t seed = 1, last_due_ns = 0, last_order = 0;
	uint32_t left = 0, popped = 0;

	(void)state;
	assert_int_equal(cfs_timer_heap_init(&h), 0);
	memset(timers, 0, sizeof(timers));
	for (uint32_t i = 0; i < MANY; i++) {
		timers[i].due_ns = chance(&seed) % 100;
		cfs_timer_heap_add(&h, &timers[i]);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		if (chance(&seed) % 3 == 0)
			cfs_timer_heap_remove(&h, &timers[i]);
		else
			left++;
	}
	assert_int_equal(h.count, left);
	for (struct cfs_timer *t = cfs_timer_heap_pop(&h, 1000); t;
	     t = cfs_timer_heap_pop(&h, 1000)) {
		assert_int_equal(t->slot, 0);
		assert_true(t->due_ns > last_due_ns ||
			    (t->due_ns == last_due_ns && t->order > last_order));
		last_due_ns = t->due_ns;
		last_order = t->order;
		popped++;
	}
	assert_int_equal(popped, left);
	assert_true(cfs_timer_heap_due(&h) == UINT64_MAX);
	cfs_timer_heap_fini(&h);
}

static void heap_gives_nothing_early(void **state)
{
	struct cfs_timer t = { .due_ns = 10 };
	struct cfs_timer_heap h;

	(void)state;
	assert_int_equal(cfs_timer_heap_init(&h), 0);
	cfs_timer_heap_add(&h, &t);
	assert_null(cfs_timer_heap_pop(&h, 9));
	assert_true(cfs_timer_heap_due(&h) == 10);
	assert_ptr_equal(cfs_timer_heap_pop(&h, 10), &t);
	cfs_timer_heap_fini(&h);
}

static void heap_keeps_order_when_a_domain_goes(void **state)
{
	static struct cfs_timer timers[MANY];
	struct cfs_timer_heap h;
	uint64_t seed = 5, last_ns = 0;
	uint32_t popped = 0;

	(void)state;
	assert_int_equal(cfs_timer_heap_init(&h), 0);
	memset(timers, 0, sizeof(timers));
	for (uint32_t i = 0; i < MANY; i++) {
		timers[i].due_ns = chance(&seed);
		timers[i].domain = i % 4;
		cfs_timer_heap_add(&h, &timers[i]);
	}
	cfs_timer_heap_abandon(&h, 2);
	for (struct cfs_timer *t = cfs_timer_heap_pop(&h, UINT64_MAX - 1); t;
	     t = cfs_timer_heap_pop(&h, UINT64_MAX - 1)) {
		assert_int_not_equal(t->domain, 2);
		assert_true(t->due_ns >= last_ns);
		last_ns = t->due_ns;
		popped++;
	}
	assert_int_equal(popped, MANY / 4 * 3);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(timers[i].slot, 0);
	cfs_timer_heap_fini(&h);
}

struct fired {
	uint64_t at_ns;
	uint32_t count;
	struct cfs_timer *disarm;
};

static void fire(void *arg)
{
	struct fired *f = arg;

	assert_null(cfs_fiber_self());
	f->at_ns = cfs_now_ns();
	f->count++;
	if (f->disarm)
		cfs_timer_disarm(f->disarm);
}

CFS_TEST_SIM(timers_fire_once_at_their_time)
{
	struct cfs_timer a = { 0 }, b = { 0 }, c = { 0 };
	struct fired fa = { 0 }, fb = { 0 }, fc = { 0 };
	uint64_t start_ns = cfs_now_ns();

	assert_true(start_ns == 1000 * MS);
	cfs_timer_arm(&a, start_ns + 2 * MS, fire, &fa);
	cfs_timer_arm(&a, start_ns + 4 * MS, fire, &fa); /* moves it */
	cfs_timer_arm(&b, start_ns + 3 * MS, fire, &fb);
	cfs_timer_arm(&c, start_ns + 3 * MS, fire, &fc); /* same time, armed later */
	fb.disarm = &c;
	assert_int_equal(cfs_sleep_ns(10 * MS), 0);
	assert_int_equal(fa.count, 1);
	assert_true(fa.at_ns == start_ns + 4 * MS);
	assert_int_equal(fb.count, 1);
	assert_true(fb.at_ns == start_ns + 3 * MS);
	assert_int_equal(fc.count, 0);
	assert_int_equal(c.slot, 0);
	cfs_timer_disarm(&c); /* harmless */
}

CFS_TEST_FIBER(real_timers_are_not_early)
{
	struct cfs_timer t = { 0 };
	struct fired f = { 0 };
	uint64_t start_ns = cfs_now_ns();

	cfs_timer_arm(&t, start_ns + 3 * MS, fire, &f);
	assert_int_equal(cfs_sleep_ns(6 * MS), 0);
	assert_int_equal(f.count, 1);
	assert_true(f.at_ns >= start_ns + 3 * MS);
	assert_true(cfs_now_ns() >= start_ns + 6 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heap_gives_order_of_time_then_of_arming),
		cmocka_unit_test(heap_gives_nothing_early),
		cmocka_unit_test(heap_keeps_order_when_a_domain_goes),
		cmocka_unit_test(timers_fire_once_at_their_time),
		cmocka_unit_test(real_timers_are_not_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
