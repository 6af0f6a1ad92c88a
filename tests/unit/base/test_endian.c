#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <assert.h>
#include <cmocka.h>
#include <string.h>

#include "base/endian.h"

struct mixed {
	cfs_le16 a;
	cfs_le32 b;
	cfs_le64 c;
} CFS_PACKED;
static_assert(sizeof(struct mixed) == 14, "no padding");

static void bytes(void **state)
{
	static const uint8_t expected[] = { 0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0x0e,
					    0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07 };
	struct mixed m = {
		.a = cfs_to_le16(0x0102),
		.b = cfs_to_le32(0x03040506),
		.c = cfs_to_le64(0x0708090a0b0c0d0eull),
	};

	(void)state;
	assert_memory_equal(&m, expected, sizeof(m));
	assert_int_equal(cfs_from_le16(m.a), 0x0102);
	assert_int_equal(cfs_from_le32(m.b), 0x03040506);
	assert_true(cfs_from_le64(m.c) == 0x0708090a0b0c0d0eull);
}

static void extremes(void **state)
{
	(void)state;
	assert_int_equal(cfs_from_le16(cfs_to_le16(UINT16_MAX)), UINT16_MAX);
	assert_int_equal(cfs_from_le32(cfs_to_le32(UINT32_MAX)), UINT32_MAX);
	assert_true(cfs_from_le64(cfs_to_le64(UINT64_MAX)) == UINT64_MAX);
	assert_true(cfs_from_le64(cfs_to_le64(1)) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),
		cmocka_unit_test(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
