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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fibers_take_turns_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
