/* The parts of the benchmark on an ordinary folder: each counts what it did, and nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#include "cli/bench.h"

static const struct bench_plan plan = {
	.file_bytes = 4 << 20,
	.files = 20,
	.part_ns = 20000000,
	.seed = 5,
};

static uint32_t entries_of(const char *dir)
{
	DIR *d = opendir(dir);
	uint32_t count = 0;

	assert_non_null(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count - 2;
}

static void runs_every_part(void **state)
{
	static struct bench_place p;
	static struct bench_result r;
	char parent[] = "/tmp/cfs-test-bench-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(parent));
	assert_int_equal(bench_place_init(&p, &plan, parent), 0);
	for (const struct bench_part *part = bench_parts; part->name; part++) {
		memset(&r, 0, sizeof(r));
		r.name = part->name;
		assert_int_equal(part->run(&p, &r), 0);
		assert_true(r.count > 0);
		assert_true(r.value > 0);
		assert_int_equal(cfs_counter_get(&r.latency.count), r.count);
		if (strcmp(part->name, "seq-write") == 0)
			assert_int_equal(r.count, 4);
		if (strcmp(part->name, "create") == 0)
			assert_int_equal(entries_of(p.dir), 21);
	}
	assert_int_equal(entries_of(p.dir), 1); /* the big file: unlink took the others */
	bench_place_fini(&p);
	assert_int_equal(entries_of(parent), 0);
	assert_int_equal(rmdir(parent), 0);
}

static void cleans_up_when_interrupted(void **state)
{
	static struct bench_place p;
	static struct bench_result r;
	char parent[] = "/tmp/cfs-test-bench-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(parent));
	assert_int_equal(bench_place_init(&p, &plan, parent), 0);
	bench_is_interrupted = true;
	for (const struct bench_part *part = bench_parts; part->name; part++) {
		memset(&r, 0, sizeof(r));
		assert_true(part->run(&p, &r) < 0);
	}
	bench_is_interrupted = false;
	bench_place_fini(&p);
	assert_int_equal(entries_of(parent), 0);
	assert_int_equal(rmdir(parent), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_every_part),
		cmocka_unit_test(cleans_up_when_interrupted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
