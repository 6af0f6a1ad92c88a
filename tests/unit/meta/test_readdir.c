/*
 * Readdir while others create, rename and remove: what stays is given once, whatever the cookies
 * collide.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "harness.h"
#include "lib/test_fiber.h"

#define STAY 120

static CFS_AWAITS void stable(uint64_t modulo, bool with_restarts)
{
	const struct harness_opts o = { .shards = 2, .stores = 1, .cookie_modulo = modulo };
	struct harness *h = malloc(sizeof(*h));
	uint32_t seen[STAY] = { 0 };
	struct hs_entry e[16];
	uint64_t ino, cookie = 0;
	bool is_eof = false;
	char name[32];
	int calls = 0, dots = 0;

	assert_non_null(h);
	harness_init(h, &o);
	for (int i = 0; i < STAY; i++) {
		snprintf(name, sizeof(name), "stay%d", i);
		assert_int_equal(hs_create(h, HARNESS_ROOT, name, 0644, CFS_F_EXCL, &ino), 0);
		snprintf(name, sizeof(name), "go%d", i);
		assert_int_equal(hs_create(h, HARNESS_ROOT, name, 0644, CFS_F_EXCL, &ino), 0);
	}
	while (!is_eof) {
		int n = hs_readdir(h, HARNESS_ROOT, cookie, 1200, e, 16, &is_eof);

		assert_true(n > 0 || is_eof);
		for (int i = 0; i < n; i++) {
			assert_true(e[i].cookie > cookie);
			cookie = e[i].cookie;
			if (strncmp(e[i].name, "stay", 4) == 0)
				seen[atoi(e[i].name + 4)]++;
			dots += e[i].name[0] == '.';
			if (strncmp(e[i].name, "stay", 4) == 0)
				assert_true(e[i].has_attr && S_ISREG(e[i].mode));
		}
		snprintf(name, sizeof(name), "go%d", calls);
		if (calls < STAY)
			assert_int_equal(hs_unlink(h, HARNESS_ROOT, name), 0);
		snprintf(name, sizeof(name), "new%d", calls);
		assert_int_equal(hs_create(h, HARNESS_ROOT, name, 0644, CFS_F_EXCL, &ino), 0);
		if (with_restarts && calls % 10 == 3) {
			if (calls % 20 == 3)
				harness_checkpoint(h);
			harness_stop(h);
			harness_start(h);
		}
		calls++;
	}
	assert_int_equal(dots, 2);
	assert_true(calls > 10);
	for (int i = 0; i < STAY; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(harness_check(h), 0);
	harness_fini(h);
	free(h);
}

CFS_TEST_SIM(what_stays_is_given_once)
{
	stable(0, false);
}

CFS_TEST_SIM(over_restarts_too)
{
	stable(0, true);
}

CFS_TEST_SIM(with_cookies_that_collide)
{
	stable(1, false);
	stable(50, true);
}

CFS_TEST_SIM(too_small_a_buffer)
{
	const struct harness_opts o = { .shards = 1, .stores = 1 };
	struct harness *h = malloc(sizeof(*h));
	struct hs_entry e[4];
	bool is_eof;
	uint64_t ino;

	assert_non_null(h);
	harness_init(h, &o);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &ino), 0);
	assert_int_equal(hs_readdir(h, HARNESS_ROOT, 0, 8, e, 4, &is_eof), -EINVAL);
	assert_int_equal(hs_readdir(h, ino, 0, 4096, e, 4, &is_eof), -ENOTDIR);
	assert_int_equal(hs_readdir(h, HARNESS_ROOT, INT64_MAX, 4096, e, 4, &is_eof), 0);
	assert_true(is_eof);
	harness_fini(h);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_stays_is_given_once),
		cmocka_unit_test(over_restarts_too),
		cmocka_unit_test(with_cookies_that_collide),
		cmocka_unit_test(too_small_a_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
