#include "lib/test_fiber.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/reactor_internal.h"

struct fiber_test {
	void (*body)(void **state);
	void **state;
	uint32_t peak_bytes;
};

static CFS_AWAITS int fiber_test_main(void *arg)
{
	struct fiber_test *t = arg;

	t->body(t->state);
	t->peak_bytes = cfs_fiber_stack_peak_bytes();
	return 0;
}

int cfs_test_run(const struct cfs_runtime_opts *opts, int (*fn)(void *arg), void *arg)
{
	cfs_runtime_forget();
	return cfs_runtime_run(opts, fn, arg);
}

void cfs_test_fiber(const struct cfs_runtime_opts *opts, void (*body)(void **state), void **state)
{
	struct fiber_test t = { .body = body, .state = state };
	int rc;

	rc = cfs_test_run(opts, fiber_test_main, &t);
	assert_int_equal(rc, 0);
#if !defined(CFS_ASAN) && !defined(CFS_TSAN)
	assert_in_range(t.peak_bytes, 0, CFS_TEST_STACK_PEAK_BYTES);
#endif
}

static bool is_memory_lost;

/* Asked by the leak checker. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return is_memory_lost;
}

void cfs_test_lose_memory(void)
{
	is_memory_lost = true;
}
