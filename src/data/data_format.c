#include "data/data_format.h"

#include <string.h>

#include "base/err.h"
#include "proto/place.h"

static bool is_blocks(uint32_t block, uint32_t count)
{
	return count > 0 && count <= CFS_CHUNK_BLOCKS && block <= CFS_CHUNK_BLOCKS - count;
}

static bool is_range(uint32_t off_bytes, uint32_t len_bytes)
{
	return len_bytes > 0 && len_bytes <= CFS_CHUNK_BYTES &&
	       off_bytes <= CFS_CHUNK_BYTES - len_bytes;
}

/* Blocks at an address, and their checksums behind the fixed part. */
static int run_check(const struct cfs_item *item, size_t fixed_bytes, struct cfs_data_change *c)
{
	c->crcs = item->data + fixed_bytes;
	return is_blocks(c->block, c->count) && c->addr != CFS_ADDR_NONE &&
			       item->len_bytes == fixed_bytes + 4u * c->count
		       ? 0
		       : -CFS_EBAD_FORMAT;
}

static int get_extent(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_extent h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = cfs_from_le32(h.chunk);
	c->block = cfs_from_le16(h.block);
	c->count = cfs_from_le16(h.count);
	c->addr = cfs_from_le64(h.addr);
	return run_check(item, sizeof(h), c);
}

static int get_extent_far(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_extent_far h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = cfs_from_le64(h.chunk);
	c->block = cfs_from_le16(h.block);
	c->count = cfs_from_le16(h.count);
	c->addr = cfs_from_le64(h.addr);
	return run_check(item, sizeof(h), c);
}

/* Of a patch or zero item: both halves. */
static uint64_t chunk_of(cfs_le32 low, cfs_le32 high)
{
	return (uint64_t)cfs_from_le32(high) << 32 | cfs_from_le32(low);
}

static int get_patch(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_patch h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = chunk_of(h.chunk, h.chunk_high);
	c->off_bytes = cfs_from_le32(h.off_bytes);
	c->len_bytes = cfs_from_le32(h.len_bytes);
	c->bytes = item->data + sizeof(h);
	if (!is_range(c->off_bytes, c->len_bytes) ||
	    item->len_bytes != sizeof(h) + (c->len_bytes + 3) / 4 * 4)
		return -CFS_EBAD_FORMAT;
	return 0;
}

static int get_zero(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_zero h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = chunk_of(h.chunk, h.chunk_high);
	c->off_bytes = cfs_from_le32(h.off_bytes);
	c->len_bytes = cfs_from_le32(h.len_bytes);
	if (!is_range(c->off_bytes, c->len_bytes))
		return -CFS_EBAD_FORMAT;
	return 0;
}

static int get_trim(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_trim h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->size_bytes = cfs_from_le64(h.size_bytes);
	c->cut = cfs_from_le64(h.cut);
	return c->cut ? 0 : -CFS_EBAD_FORMAT;
}

static int get_drop(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_drop h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	return 0;
}

static int get_relocate(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_relocate h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = cfs_from_le32(h.chunk);
	c->block = cfs_from_le16(h.block);
	c->count = cfs_from_le16(h.count);
	c->from = cfs_from_le64(h.from);
	c->addr = cfs_from_le64(h.to);
	return c->from == CFS_ADDR_NONE ? -CFS_EBAD_FORMAT : run_check(item, sizeof(h), c);
}

static int get_relocate_far(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_relocate_far h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->chunk = cfs_from_le64(h.chunk);
	c->block = cfs_from_le16(h.block);
	c->count = cfs_from_le16(h.count);
	c->from = cfs_from_le64(h.from);
	c->addr = cfs_from_le64(h.to);
	return c->from == CFS_ADDR_NONE ? -CFS_EBAD_FORMAT : run_check(item, sizeof(h), c);
}

static int get_punch(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_punch h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->from_bytes = cfs_from_le64(h.off_bytes);
	c->end_bytes = cfs_from_le64(h.end_bytes);
	return c->from_bytes < c->end_bytes && c->end_bytes <= CFS_FILE_BYTES_MAX
		       ? 0
		       : -CFS_EBAD_FORMAT;
}

static int get_file(const struct cfs_item *item, struct cfs_data_change *c)
{
	struct cfs_data_file h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	c->ino = cfs_from_le64(h.ino);
	c->cut = cfs_from_le64(h.cut);
	return 0;
}

int cfs_data_decode(const struct cfs_item *item, struct cfs_data_change *out)
{
	struct cfs_data_change c = { 0 };
	int rc;

	switch (item->kind) {
	case CFS_DATA_EXTENT:
		rc = get_extent(item, &c);
		break;
	case CFS_DATA_PATCH:
		rc = get_patch(item, &c);
		break;
	case CFS_DATA_ZERO:
		rc = get_zero(item, &c);
		break;
	case CFS_DATA_TRIM:
		rc = get_trim(item, &c);
		break;
	case CFS_DATA_DROP:
		rc = get_drop(item, &c);
		break;
	case CFS_DATA_RELOCATE:
		rc = get_relocate(item, &c);
		break;
	case CFS_DATA_FILE:
		rc = get_file(item, &c);
		break;
	case CFS_DATA_EXTENT_FAR:
	case CFS_DATA_SHARED:
		rc = get_extent_far(item, &c);
		break;
	case CFS_DATA_RELOCATE_FAR:
		rc = get_relocate_far(item, &c);
		break;
	case CFS_DATA_PUNCH:
		rc = get_punch(item, &c);
		break;
	default:
		rc = -CFS_EBAD_FORMAT;
		break;
	}
	if (rc == 0 && c.chunk >= CFS_FILE_CHUNKS_MAX)
		rc = -CFS_EBAD_FORMAT;
	if (rc == 0)
		*out = c;
	return rc;
}

int cfs_data_refs(const struct cfs_item *item, struct cfs_block_ref *out, uint32_t max)
{
	struct cfs_data_change c;
	int rc;

	if (item->kind != CFS_DATA_EXTENT && item->kind != CFS_DATA_RELOCATE &&
	    item->kind != CFS_DATA_EXTENT_FAR && item->kind != CFS_DATA_RELOCATE_FAR)
		return 0;
	rc = cfs_data_decode(item, &c);
	if (rc < 0)
		return rc;
	if (max == 0)
		return -CFS_EBAD_FORMAT;
	*out = (struct cfs_block_ref){
		.addr = c.addr,
		.blocks = c.count,
		.crcs = (const uint32_t *)(const void *)c.crcs,
	};
	return 1;
}

static void put_crcs(uint8_t *to, const uint32_t *crcs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		cfs_le32 le = cfs_to_le32(crcs[i]);

		memcpy(to + 4 * i, &le, sizeof(le));
	}
}

static void add(struct cfs_items *it, uint8_t kind, const void *fixed, uint32_t len_bytes)
{
	uint8_t *to = cfs_items_add(it, kind, len_bytes);

	if (to)
		memcpy(to, fixed, len_bytes);
}

static void add_with_crcs(struct cfs_items *it, uint8_t kind, const void *fixed, uint32_t bytes,
			  const uint32_t *crcs, uint32_t count)
{
	uint8_t *to = cfs_items_add(it, kind, bytes + 4 * count);

	if (!to)
		return;
	memcpy(to, fixed, bytes);
	put_crcs(to + bytes, crcs, count);
}

void cfs_data_add_extent(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			 uint32_t count, cfs_addr_t addr, const uint32_t *crcs)
{
	struct cfs_data_extent h = {
		.ino = cfs_to_le64(ino),
		.chunk = cfs_to_le32((uint32_t)chunk),
		.block = cfs_to_le16((uint16_t)block),
		.count = cfs_to_le16((uint16_t)count),
		.addr = cfs_to_le64(addr),
	};
	struct cfs_data_extent_far far = {
		.ino = h.ino,
		.chunk = cfs_to_le64(chunk),
		.addr = h.addr,
		.block = h.block,
		.count = h.count,
	};

	if (chunk <= UINT32_MAX)
		add_with_crcs(it, CFS_DATA_EXTENT, &h, sizeof(h), crcs, count);
	else
		add_with_crcs(it, CFS_DATA_EXTENT_FAR, &far, sizeof(far), crcs, count);
}

void cfs_data_add_shared(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			 uint32_t count, cfs_addr_t addr, const uint32_t *crcs)
{
	struct cfs_data_extent_far h = {
		.ino = cfs_to_le64(ino),
		.chunk = cfs_to_le64(chunk),
		.addr = cfs_to_le64(addr),
		.block = cfs_to_le16((uint16_t)block),
		.count = cfs_to_le16((uint16_t)count),
	};

	add_with_crcs(it, CFS_DATA_SHARED, &h, sizeof(h), crcs, count);
}

void cfs_data_add_patch(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t off_bytes,
			const void *bytes, uint32_t len_bytes)
{
	struct cfs_data_patch h = {
		.ino = cfs_to_le64(ino),
		.chunk = cfs_to_le32((uint32_t)chunk),
		.off_bytes = cfs_to_le32(off_bytes),
		.len_bytes = cfs_to_le32(len_bytes),
		.chunk_high = cfs_to_le32((uint32_t)(chunk >> 32)),
	};
	uint8_t *to = cfs_items_add(it, CFS_DATA_PATCH,
				    (uint32_t)sizeof(h) + (len_bytes + 3) / 4 * 4);

	if (!to)
		return;
	memcpy(to, &h, sizeof(h));
	memcpy(to + sizeof(h), bytes, len_bytes);
}

void cfs_data_add_zero(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t off_bytes,
		       uint32_t len_bytes)
{
	struct cfs_data_zero h = {
		.ino = cfs_to_le64(ino),
		.chunk = cfs_to_le32((uint32_t)chunk),
		.off_bytes = cfs_to_le32(off_bytes),
		.len_bytes = cfs_to_le32(len_bytes),
		.chunk_high = cfs_to_le32((uint32_t)(chunk >> 32)),
	};

	add(it, CFS_DATA_ZERO, &h, sizeof(h));
}

void cfs_data_add_trim(struct cfs_items *it, uint64_t ino, uint64_t size_bytes, uint64_t cut)
{
	struct cfs_data_trim h = {
		.ino = cfs_to_le64(ino),
		.size_bytes = cfs_to_le64(size_bytes),
		.cut = cfs_to_le64(cut),
	};

	add(it, CFS_DATA_TRIM, &h, sizeof(h));
}

void cfs_data_add_punch(struct cfs_items *it, uint64_t ino, uint64_t off_bytes, uint64_t end_bytes)
{
	struct cfs_data_punch h = {
		.ino = cfs_to_le64(ino),
		.off_bytes = cfs_to_le64(off_bytes),
		.end_bytes = cfs_to_le64(end_bytes),
	};

	add(it, CFS_DATA_PUNCH, &h, sizeof(h));
}

void cfs_data_add_drop(struct cfs_items *it, uint64_t ino)
{
	struct cfs_data_drop h = { .ino = cfs_to_le64(ino) };

	add(it, CFS_DATA_DROP, &h, sizeof(h));
}

void cfs_data_add_relocate(struct cfs_items *it, uint64_t ino, uint64_t chunk, uint32_t block,
			   uint32_t count, cfs_addr_t from, cfs_addr_t to, const uint32_t *crcs)
{
	struct cfs_data_relocate h = {
		.ino = cfs_to_le64(ino),
		.chunk = cfs_to_le32((uint32_t)chunk),
		.block = cfs_to_le16((uint16_t)block),
		.count = cfs_to_le16((uint16_t)count),
		.from = cfs_to_le64(from),
		.to = cfs_to_le64(to),
	};
	struct cfs_data_relocate_far far = {
		.ino = h.ino,
		.chunk = cfs_to_le64(chunk),
		.from = h.from,
		.to = h.to,
		.block = h.block,
		.count = h.count,
	};

	if (chunk <= UINT32_MAX)
		add_with_crcs(it, CFS_DATA_RELOCATE, &h, sizeof(h), crcs, count);
	else
		add_with_crcs(it, CFS_DATA_RELOCATE_FAR, &far, sizeof(far), crcs, count);
}

void cfs_data_add_file(struct cfs_items *it, uint64_t ino, uint64_t cut)
{
	struct cfs_data_file h = { .ino = cfs_to_le64(ino), .cut = cfs_to_le64(cut) };

	add(it, CFS_DATA_FILE, &h, sizeof(h));
}
