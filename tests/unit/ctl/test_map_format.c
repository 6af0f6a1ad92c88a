/* Pieces of the cluster map: round trip, golden bytes, and every single byte flipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "ctl/map_format.h"

/* 4 shards, rows 2 and 3. */
static const char golden[] = "claudefs-map 2 shards 4 first 2 count 2 crc32c 46153d70\n"
			     "shard epoch node slice\n"
			     "2 1234605616436508552 0 7\n"
			     "3 5 1 2\n";
#define GOLDEN_BYTES (sizeof(golden) - 1)

/* The same as version 1 wrote it. */
static const uint8_t golden_1[] = {
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
	assert_int_equal(cfs_map_rows_encode(rows, 4, 2, 2, buf), GOLDEN_BYTES);
	assert_memory_equal(buf, golden, GOLDEN_BYTES);
}

/* The largest piece that there can be fits where it is written to. */
static void encodes_the_largest(void **state)
{
	static uint8_t buf[CFS_MAP_ROWS_BYTES_MAX];
	static struct cfs_map_row many[CFS_MAP_ROWS_MAX * 16], out[CFS_MAP_ROWS_MAX * 16];
	uint32_t shards = CFS_MAP_ROWS_MAX * 16, bytes;

	(void)state;
	for (uint32_t i = 0; i < shards; i++)
		many[i] = (struct cfs_map_row){ .epoch = UINT64_MAX,
						.node = UINT16_MAX,
						.slice = UINT16_MAX };
	bytes = cfs_map_rows_encode(many, shards, shards - CFS_MAP_ROWS_MAX, CFS_MAP_ROWS_MAX, buf);
	assert_in_range(bytes, 1, sizeof(buf));
	assert_int_equal(cfs_map_rows_decode(buf, bytes, shards, out), CFS_MAP_ROWS_MAX);
	assert_memory_equal(&out[shards - 1], &many[shards - 1], sizeof(out[0]));
}

static void assert_rows(const void *piece, uint32_t len_bytes)
{
	struct cfs_map_row out[4] = { { .epoch = 77 }, { .epoch = 78 } };

	assert_int_equal(cfs_map_rows_decode(piece, len_bytes, 4, out), 2);
	assert_int_equal(out[0].epoch, 77);
	assert_int_equal(out[1].epoch, 78);
	assert_int_equal(out[2].epoch, 0x1122334455667788);
	assert_int_equal(out[2].slice, 7);
	assert_int_equal(out[3].node, 1);
	assert_int_equal(out[3].slice, 2);
}

static void decodes_into_its_place(void **state)
{
	(void)state;
	assert_rows(golden, GOLDEN_BYTES);
	assert_rows(golden_1, sizeof(golden_1));
}

static void assert_refuses_each(const void *piece, uint32_t len_bytes)
{
	struct cfs_map_row out[4] = { { .epoch = 1 }, { .epoch = 2 }, { .epoch = 3 } };
	uint8_t buf[256];

	for (uint32_t i = 0; i < len_bytes; i++) {
		memcpy(buf, piece, len_bytes);
		buf[i] ^= 0x10;
		assert_true(cfs_map_rows_decode(buf, len_bytes, 4, out) < 0);
	}
	for (uint32_t len = 0; len < len_bytes; len++)
		assert_true(cfs_map_rows_decode(piece, len, 4, out) < 0);
	memcpy(buf, piece, len_bytes);
	buf[len_bytes] = '\n';
	assert_true(cfs_map_rows_decode(buf, len_bytes + 1, 4, out) < 0);
	assert_int_equal(cfs_map_rows_decode(piece, len_bytes, 8, out), -CFS_EBAD_FORMAT);
	assert_int_equal(out[2].epoch, 3);
}

static void refuses_every_flipped_byte(void **state)
{
	uint8_t buf[sizeof(golden)];
	struct cfs_map_row out[4];

	(void)state;
	assert_refuses_each(golden, GOLDEN_BYTES);
	assert_refuses_each(golden_1, sizeof(golden_1));
	memcpy(buf, golden, GOLDEN_BYTES);
	buf[13] = '3';
	assert_int_equal(cfs_map_rows_decode(buf, GOLDEN_BYTES, 4, out), -CFS_EBAD_VERSION);
	memcpy(buf, golden_1, sizeof(golden_1));
	buf[4] = 2;
	assert_int_equal(cfs_map_rows_decode(buf, sizeof(golden_1), 4, out), -CFS_EBAD_VERSION);
}

/* Right by its checksum, and still no piece. */
static void refuses_rows_out_of_order(void **state)
{
	static uint8_t buf[CFS_MAP_ROWS_BYTES_MAX];
	struct cfs_map_row out[4];
	char crc[9], *row;
	uint32_t bytes = cfs_map_rows_encode(rows, 4, 2, 2, buf);

	(void)state;
	row = strstr((char *)buf, "\n3 ");
	assert_non_null(row);
	row[1] = '1';
	memset(buf + 47, '0', 8);
	snprintf(crc, sizeof(crc), "%08x", cfs_crc32c(0, buf, bytes));
	for (int i = 0; i < 8; i++)
		buf[47 + i] = (uint8_t)crc[i];
	assert_int_equal(cfs_map_rows_decode(buf, bytes, 4, out), -CFS_EBAD_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_as_ever),
		cmocka_unit_test(encodes_the_largest),
		cmocka_unit_test(decodes_into_its_place),
		cmocka_unit_test(refuses_every_flipped_byte),
		cmocka_unit_test(refuses_rows_out_of_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
