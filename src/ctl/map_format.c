#include "ctl/map_format.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"

static uint32_t crc_of(const struct cfs_map_rows_header *h, const uint8_t *rows, uint32_t len_bytes)
{
	struct cfs_map_rows_header zeroed = *h;

	zeroed.crc = cfs_to_le32(0);
	return cfs_crc32c(cfs_crc32c(0, &zeroed, sizeof(zeroed)), rows, len_bytes);
}

uint32_t cfs_map_rows_encode(const struct cfs_map_row *rows, uint32_t shards, uint32_t first,
			     uint32_t count, uint8_t *buf)
{
	struct cfs_map_rows_header h = {
		.magic = cfs_to_le32(CFS_MAP_ROWS_MAGIC),
		.version = cfs_to_le16(CFS_MAP_ROWS_VERSION),
		.header_bytes = cfs_to_le16(sizeof(h)),
		.shards = cfs_to_le32(shards),
		.first = cfs_to_le32(first),
		.count = cfs_to_le32(count),
	};
	uint32_t rows_bytes = count * (uint32_t)sizeof(struct cfs_map_row_bytes);

	cfs_assert(count <= CFS_MAP_ROWS_MAX);
	cfs_assert(first + count <= shards);
	for (uint32_t i = 0; i < count; i++) {
		const struct cfs_map_row *row = &rows[first + i];
		struct cfs_map_row_bytes r = {
			.epoch = cfs_to_le64(row->epoch),
			.node = cfs_to_le16(row->node),
			.slice = cfs_to_le16(row->slice),
		};

		memcpy(buf + sizeof(h) + i * sizeof(r), &r, sizeof(r));
	}
	h.crc = cfs_to_le32(crc_of(&h, buf + sizeof(h), rows_bytes));
	memcpy(buf, &h, sizeof(h));
	return (uint32_t)sizeof(h) + rows_bytes;
}

static int header_verify(const struct cfs_map_rows_header *h, const uint8_t *buf,
			 uint32_t len_bytes, uint32_t shards)
{
	uint64_t count = cfs_from_le32(h->count);
	uint64_t rows_bytes = len_bytes - sizeof(*h);

	if (cfs_from_le32(h->magic) != CFS_MAP_ROWS_MAGIC)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le16(h->version) != CFS_MAP_ROWS_VERSION)
		return -CFS_EBAD_VERSION;
	if (cfs_from_le16(h->header_bytes) != sizeof(*h) || count > CFS_MAP_ROWS_MAX ||
	    count * sizeof(struct cfs_map_row_bytes) != rows_bytes)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(h->crc) != crc_of(h, buf + sizeof(*h), (uint32_t)rows_bytes))
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le32(h->shards) != shards || cfs_from_le32(h->first) + count > shards)
		return -CFS_EBAD_FORMAT;
	return 0;
}

int cfs_map_rows_decode(const uint8_t *buf, uint32_t len_bytes, uint32_t shards,
			struct cfs_map_row *rows)
{
	struct cfs_map_rows_header h;
	struct cfs_map_row_bytes r;
	uint32_t first, count;
	int rc;

	if (len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, buf, sizeof(h));
	rc = header_verify(&h, buf, len_bytes, shards);
	if (rc < 0)
		return rc;
	first = cfs_from_le32(h.first);
	count = cfs_from_le32(h.count);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&r, buf + sizeof(h) + i * sizeof(r), sizeof(r));
		if (cfs_from_le32(r.reserved) != 0)
			return -CFS_EBAD_FORMAT;
	}
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&r, buf + sizeof(h) + i * sizeof(r), sizeof(r));
		rows[first + i] = (struct cfs_map_row){
			.epoch = cfs_from_le64(r.epoch),
			.node = cfs_from_le16(r.node),
			.slice = cfs_from_le16(r.slice),
		};
	}
	return (int)count;
}
