#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hist.h"

static void empty(void **state)
{
	static struct cfs_hist h;

	(void)state;
	assert_int_equal(cfs_hist_permille_ns(&h, 500), 0);
	assert_int_equal(cfs_hist_permille_ns(&h, 1000), 0);
	assert_int_equal(cfs_hist_mean_ns(&h), 0);
}

/* One value alone: every percentile is that value, within a sixteenth and never above the maximum.
 */
static void within_a_step(void **state)
{
	static struct cfs_hist h;

	(void)state;
	for (uint64_t ns = 0; ns < 1ull << 39; ns = ns * 9 / 8 + 1) {
		h = (struct cfs_hist){ 0 };
		cfs_hist_add(&h, ns);
		assert_true(cfs_hist_permille_ns(&h, 500) == ns);
		cfs_hist_add(&h, ns * 2);
		assert_in_range(cfs_hist_permille_ns(&h, 500), ns, ns + ns / 16);
		assert_true(cfs_hist_permille_ns(&h, 1000) == ns * 2);
	}
}

static void percentiles(void **state)
{
	static struct cfs_hist h;

	(void)state;
	h = (struct cfs_hist){ 0 };
	for (uint64_t i = 1; i <= 10000; i++)
		cfs_hist_add(&h, i * 1000);
	assert_in_range(cfs_hist_permille_ns(&h, 500), 5000000, 5000000 + 5000000 / 16);
	assert_in_range(cfs_hist_permille_ns(&h, 990), 9900000, 10000000);
	assert_int_equal(cfs_hist_permille_ns(&h, 1000), 10000000);
	assert_in_range(cfs_hist_permille_ns(&h, 0), 1000, 1000 + 1000 / 16);
	assert_int_equal(cfs_hist_mean_ns(&h), 5000500);
	assert_int_equal(cfs_counter_get(&h.count), 10000);
}

static void longest(void **state)
{
	static struct cfs_hist h;

	(void)state;
	h = (struct cfs_hist){ 0 };
	cfs_hist_add(&h, 1ull << 50);
	cfs_hist_add(&h, 10);
	assert_int_equal(cfs_hist_permille_ns(&h, 500), 10);
	assert_true(cfs_hist_permille_ns(&h, 999) == 1ull << 50);
}

static void merged(void **state)
{
	static struct cfs_hist a, b, both;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		cfs_hist_add(i % 3 ? &a : &b, i * i);
		cfs_hist_add(&both, i * i);
	}
	cfs_hist_merge(&a, &b);
	assert_memory_equal(&a, &both, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),       cmocka_unit_test(within_a_step),
		cmocka_unit_test(percentiles), cmocka_unit_test(longest),
		cmocka_unit_test(merged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
