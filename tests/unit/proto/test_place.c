/* Places and numbers: pinned, since stores remember them, and spread evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/place.h"

static void test_numbers(void **state)
{
	uint64_t ino = cfs_ino_make(65535, CFS_SERIAL_MAX);

	(void)state;
	assert_int_equal(cfs_ino_home(ino), 65535);
	assert_int_equal(ino & CFS_SERIAL_MAX, CFS_SERIAL_MAX);
	assert_int_equal(cfs_ino_home(CFS_INO_ROOT), 0);
	assert_int_equal(cfs_chunk_shard(cfs_ino_make(17, 5), 99, 0, 256), 17);
}

static void test_place_depends_on_all(void **state)
{
	struct cfs_sipkey key = { "0123456789abcdef" }, other = key;
	uint64_t a = cfs_place(&key, 1, "usr", 3);

	(void)state;
	other.bytes[15] ^= 1;
	assert_int_equal(a, cfs_place(&key, 1, "usr", 3));
	assert_int_not_equal(a, cfs_place(&key, 2, "usr", 3));
	assert_int_not_equal(a, cfs_place(&key, 1, "usR", 3));
	assert_int_not_equal(a, cfs_place(&other, 1, "usr", 3));
	assert_int_equal(a, 0xda6e47ef72ab34f2ull);
}

static void test_spread(void **state)
{
	struct cfs_sipkey key = { "0123456789abcdef" };
	uint16_t dirs[256] = { 0 }, chunks[256] = { 0 };
	char name[16];

	(void)state;
	for (uint32_t i = 0; i < 256 * 100; i++) {
		int len = snprintf(name, sizeof(name), "d%u", i);

		dirs[cfs_place_shard(cfs_place(&key, 5, name, (uint32_t)len), 256)]++;
		chunks[cfs_chunk_shard(cfs_ino_make(1, 2), 12345, i + 1, 256)]++;
	}
	for (uint32_t i = 0; i < 256; i++) {
		assert_in_range(dirs[i], 50, 150);
		assert_in_range(chunks[i], 50, 150);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_place_depends_on_all),
		cmocka_unit_test(test_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
