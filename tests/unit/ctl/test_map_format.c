/* Pieces of the cluster map: round trip, golden bytes, and every single byte flipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "ctl/map_format.h"

/* Version 1: 4 shards, rows 2 and 3. */
static const uint8_t golden[] = {
	0x43, 0x4d, 0x41, 0x50, 0x01, 0x00, 0x18, 0x00, 0x04, 0x00, 0x00, 0x00, 0x02, 0x00,
	0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x16, 0x7d, 0x23, 0xc3, 0x88, 0x77, 0x66, 0x55,
	0x44, 0x33, 0x22, 0x11, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const struct cfs_map_row rows[4] = {
	{ 0 },
	{ 0 },
	{ .epoch = 0x1122334455667788, .slice = 7 },
	{ .epoch = 5, .node = 1, .slice = 2 },
};

static void encodes_as_ever(void **state)
{
	static uint8_t buf[CFS_MAP_ROWS_BYTES_MAX];

	(void)state;
	assert_int_equal(cfs_map_rows_encode(rows, 4, 2, 2, buf), sizeof(golden));
	assert_memory_equal(buf, golden, sizeof(golden));
}

static void decodes_into_its_place(void **state)
{
	struct cfs_map_row out[4] = { { .epoch = 77 }, { .epoch = 78 } };

	(void)state;
	assert_int_equal(cfs_map_rows_decode(golden, sizeof(golden), 4, out), 2);
	assert_int_equal(out[0].epoch, 77);
	assert_int_equal(out[1].epoch, 78);
	assert_int_equal(out[2].epoch, 0x1122334455667788);
	assert_int_equal(out[2].slice, 7);
	assert_int_equal(out[3].node, 1);
	assert_int_equal(out[3].slice, 2);
}

static void refuses_every_flipped_byte(void **state)
{
	struct cfs_map_row out[4];
	uint8_t buf[sizeof(golden)];

	(void)state;
	for (size_t i = 0; i < sizeof(golden); i++) {
		memcpy(buf, golden, sizeof(golden));
		buf[i] ^= 0x10;
		assert_true(cfs_map_rows_decode(buf, sizeof(buf), 4, out) < 0);
	}
	for (uint32_t len = 0; len < sizeof(golden); len++)
		assert_true(cfs_map_rows_decode(golden, len, 4, out) < 0);
	memcpy(buf, golden, sizeof(golden));
	buf[4] = 2;
	assert_int_equal(cfs_map_rows_decode(buf, sizeof(buf), 4, out), -CFS_EBAD_VERSION);
	assert_int_equal(cfs_map_rows_decode(golden, sizeof(golden), 8, out), -CFS_EBAD_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_as_ever),
		cmocka_unit_test(decodes_into_its_place),
		cmocka_unit_test(refuses_every_flipped_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
