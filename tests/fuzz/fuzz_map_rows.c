/* Rows of the cluster map, as the control plane hands them back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/util.h"
#include "ctl/map_format.h"
#include "lib/fuzz.h"

#define SHARDS 256u

/* The number after the @n-th blank; what was accepted has it. */
static uint32_t number_at(const char *text, uint32_t n)
{
	while (n-- > 0)
		text = strchr(text, ' ') + 1;
	return (uint32_t)strtoul(text, NULL, 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t again[CFS_MAP_ROWS_BYTES_MAX];
	static struct cfs_map_row rows[SHARDS];
	char head[CFS_MAP_ROWS_HEAD_BYTES_MAX] = "";
	int count;

	if (len_bytes > UINT32_MAX)
		return 0;
	count = cfs_map_rows_decode(data, (uint32_t)len_bytes, SHARDS, rows);
	if (count < 0 || data[0] == 'C')
		return 0;
	/* What was accepted is encoded as it came. */
	memcpy(head, data, CFS_MIN(len_bytes, sizeof(head) - 1));
	cfs_assert(cfs_map_rows_encode(rows, SHARDS, number_at(head, 5), (uint32_t)count, again) ==
		   len_bytes);
	cfs_assert(memcmp(again, data, len_bytes) == 0);
	return 0;
}

static void mend_1(uint8_t *data, size_t len_bytes)
{
	struct cfs_map_rows_1_header h;

	if (len_bytes < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	h.magic = cfs_to_le32(CFS_MAP_ROWS_1_MAGIC);
	h.version = cfs_to_le16(CFS_MAP_ROWS_1_VERSION);
	h.header_bytes = cfs_to_le16(sizeof(h));
	h.crc = cfs_to_le32(0);
	memcpy(data, &h, sizeof(h));
	h.crc = cfs_to_le32(cfs_crc32c(0, data, len_bytes));
	memcpy(data, &h, sizeof(h));
}

void cfs_fuzz_mend(uint8_t *data, size_t len_bytes)
{
	static const char before[] = " crc32c ";
	uint8_t *crc = memmem(data, CFS_MIN(len_bytes, CFS_MAP_ROWS_HEAD_BYTES_MAX), before,
			      sizeof(before) - 1);
	char digits[9];

	if (!crc || (size_t)(data + len_bytes - crc) < sizeof(before) - 1 + 8) {
		mend_1(data, len_bytes);
		return;
	}
	crc += sizeof(before) - 1;
	memset(crc, '0', 8);
	snprintf(digits, sizeof(digits), "%08x", cfs_crc32c(0, data, len_bytes));
	memcpy(crc, digits, 8);
}

/* Of version 1, which nobody writes any more. */
static size_t sample_1(uint8_t *data)
{
	struct cfs_map_rows_1_header h = { .shards = cfs_to_le32(SHARDS),
					   .count = cfs_to_le32(SHARDS) };
	struct cfs_map_row_1_bytes row = { .epoch = cfs_to_le64(7) };

	memcpy(data, &h, sizeof(h));
	for (uint32_t i = 0; i < SHARDS; i++)
		memcpy(data + sizeof(h) + i * sizeof(row), &row, sizeof(row));
	mend_1(data, sizeof(h) + SHARDS * sizeof(row));
	return sizeof(h) + SHARDS * sizeof(row);
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static struct cfs_map_row rows[SHARDS];

	if (n == 8)
		return sample_1(data);
	if (n > 8)
		return 0;
	for (uint32_t i = 0; i < SHARDS; i++)
		rows[i] = (struct cfs_map_row){ .epoch = cfs_hash_u64(n * SHARDS + i),
						.slice = (uint16_t)(i % 3) };
	return cfs_map_rows_encode(rows, SHARDS, n * 16, n * 16, data);
}
