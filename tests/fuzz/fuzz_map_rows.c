/* Rows of the cluster map, as the control plane hands them back. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "ctl/map_format.h"
#include "lib/fuzz.h"

#define SHARDS 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t again[CFS_MAP_ROWS_BYTES_MAX];
	static struct cfs_map_row rows[SHARDS];
	uint32_t first;
	int count;

	if (len_bytes > UINT32_MAX)
		return 0;
	count = cfs_map_rows_decode(data, (uint32_t)len_bytes, SHARDS, rows);
	if (count < 0)
		return 0;
	/* What was accepted is encoded as it came. */
	memcpy(&first, data + 12, sizeof(first));
	first = le32toh(first);
	cfs_assert(cfs_map_rows_encode(rows, SHARDS, first, (uint32_t)count, again) == len_bytes);
	cfs_assert(memcmp(again, data, len_bytes) == 0);
	return 0;
}

void cfs_fuzz_mend(uint8_t *data, size_t len_bytes)
{
	struct cfs_map_rows_header h;

	if (len_bytes < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	h.magic = cfs_to_le32(CFS_MAP_ROWS_MAGIC);
	h.version = cfs_to_le16(CFS_MAP_ROWS_VERSION);
	h.header_bytes = cfs_to_le16(sizeof(h));
	h.crc = cfs_to_le32(0);
	memcpy(data, &h, sizeof(h));
	h.crc = cfs_to_le32(cfs_crc32c(0, data, len_bytes));
	memcpy(data, &h, sizeof(h));
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static struct cfs_map_row rows[SHARDS];

	if (n >= 8)
		return 0;
	for (uint32_t i = 0; i < SHARDS; i++)
		rows[i] = (struct cfs_map_row){ .epoch = cfs_hash_u64(n * SHARDS + i),
						.slice = (uint16_t)(i % 3) };
	return cfs_map_rows_encode(rows, SHARDS, n * 16, n * 16, data);
}
