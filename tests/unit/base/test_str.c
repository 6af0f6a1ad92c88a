#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/str.h"

static void u64(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_int_equal(cfs_str_to_u64("0", &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(cfs_str_to_u64("18446744073709551615", &v), 0);
	assert_true(v == UINT64_MAX);
	v = 77;
	assert_int_equal(cfs_str_to_u64("18446744073709551616", &v), -ERANGE);
	assert_int_equal(cfs_str_to_u64("", &v), -EINVAL);
	assert_int_equal(cfs_str_to_u64("-1", &v), -EINVAL);
	assert_int_equal(cfs_str_to_u64(" 1", &v), -EINVAL);
	assert_int_equal(cfs_str_to_u64("1x", &v), -EINVAL);
	assert_int_equal(v, 77);
}

static void sizes(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_int_equal(cfs_str_to_size("4096", &v), 0);
	assert_int_equal(v, 4096);
	assert_int_equal(cfs_str_to_size("64K", &v), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(cfs_str_to_size("8GiB", &v), 0);
	assert_true(v == 8ull << 30);
	assert_int_equal(cfs_str_to_size("8g", &v), 0);
	assert_true(v == 8ull << 30);
	assert_int_equal(cfs_str_to_size("1.5T", &v), 0);
	assert_true(v == 3ull << 39);
	assert_int_equal(cfs_str_to_size("512B", &v), 0);
	assert_int_equal(v, 512);
	v = 77;
	assert_int_equal(cfs_str_to_size("1.0001K", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("17000000P", &v), -ERANGE);
	assert_int_equal(cfs_str_to_size("8X", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("8Gi", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("8i", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("8GB8", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("G", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("1.", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("1.1.1", &v), -EINVAL);
	assert_int_equal(cfs_str_to_size("", &v), -EINVAL);
	assert_int_equal(v, 77);
}

static void durations(void **state)
{
	uint64_t v = 77;

	(void)state;
	assert_int_equal(cfs_str_to_duration("500ms", &v), 0);
	assert_int_equal(v, 500000000);
	assert_int_equal(cfs_str_to_duration("1.5s", &v), 0);
	assert_int_equal(v, 1500000000);
	assert_int_equal(cfs_str_to_duration("2h", &v), 0);
	assert_true(v == 7200000000000ull);
	assert_int_equal(cfs_str_to_duration("0", &v), 0);
	assert_int_equal(v, 0);
	v = 77;
	assert_int_equal(cfs_str_to_duration("5", &v), -EINVAL);
	assert_int_equal(cfs_str_to_duration("0.5", &v), -EINVAL);
	assert_int_equal(cfs_str_to_duration("5 s", &v), -EINVAL);
	assert_int_equal(cfs_str_to_duration("1.5ns", &v), -EINVAL);
	assert_int_equal(cfs_str_to_duration("999999999d", &v), -ERANGE);
	assert_int_equal(v, 77);
}

static void booleans(void **state)
{
	bool v = false;

	(void)state;
	assert_int_equal(cfs_str_to_bool("Yes", &v), 0);
	assert_true(v);
	assert_int_equal(cfs_str_to_bool("off", &v), 0);
	assert_false(v);
	v = true;
	assert_int_equal(cfs_str_to_bool("maybe", &v), -EINVAL);
	assert_int_equal(cfs_str_to_bool("", &v), -EINVAL);
	assert_true(v);
}

static void round_trips(void **state)
{
	char text[CFS_STR_NUMBER_BYTES];
	uint64_t v;

	(void)state;
	for (uint64_t i = 1; i < UINT64_MAX / 7; i = i * 3 + (i & 7)) {
		cfs_str_from_size(i, text);
		assert_int_equal(cfs_str_to_size(text, &v), 0);
		assert_true(v == i);
		cfs_str_from_duration(i, text);
		assert_int_equal(cfs_str_to_duration(text, &v), 0);
		assert_true(v == i);
	}
	cfs_str_from_size(0, text);
	assert_string_equal(text, "0");
	cfs_str_from_size(8ull << 30, text);
	assert_string_equal(text, "8G");
	cfs_str_from_duration(0, text);
	assert_string_equal(text, "0");
	cfs_str_from_duration(90000000000, text);
	assert_string_equal(text, "90s");
	cfs_str_from_size(UINT64_MAX, text);
	assert_string_equal(text, "18446744073709551615");
}

static void copies(void **state)
{
	char dst[4] = "abc";

	(void)state;
	assert_false(cfs_str_copy(dst, sizeof(dst), "1234"));
	assert_string_equal(dst, "abc");
	assert_true(cfs_str_copy(dst, sizeof(dst), "123"));
	assert_string_equal(dst, "123");
}

static void distances(void **state)
{
	char longer[CFS_STR_DISTANCE_BYTES_MAX + 2] = { 0 };

	(void)state;
	assert_int_equal(cfs_str_distance("", ""), 0);
	assert_int_equal(cfs_str_distance("abc", ""), 3);
	assert_int_equal(cfs_str_distance("kitten", "sitting"), 3);
	assert_int_equal(cfs_str_distance("cores", "core"), 1);
	for (size_t i = 0; i < sizeof(longer) - 1; i++)
		longer[i] = 'x';
	assert_int_equal(cfs_str_distance(longer, "x"), UINT32_MAX);
	assert_int_equal(cfs_str_distance(longer + 1, "x"), CFS_STR_DISTANCE_BYTES_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(u64),         cmocka_unit_test(sizes),
		cmocka_unit_test(durations),   cmocka_unit_test(booleans),
		cmocka_unit_test(round_trips), cmocka_unit_test(copies),
		cmocka_unit_test(distances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
