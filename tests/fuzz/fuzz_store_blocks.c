/* Blocks of a store as they come from a device: superblock, segment header, roots, checkpoint
 * index, descriptors of the tail. Whatever is accepted encodes to the same bytes. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "lib/fuzz.h"
#include "store/device_internal.h"
#include "store/store_format.h"

#define BLOCK CFS_STORE_BLOCK

static struct cfs_super super(void)
{
	struct cfs_super s = { 0 };

	cfs_assert(cfs_super_layout(64ull << 20, 1, 16, &s) == 0);
	return s;
}

static void try_super(const uint8_t *block)
{
	static uint8_t again[BLOCK];
	struct cfs_super s = { 0 };

	if (cfs_super_decode(block, &s) < 0)
		return;
	cfs_super_encode(&s, again);
	cfs_assert(memcmp(again, block, BLOCK) == 0);
	cfs_assert((uint64_t)s.stores * s.zones * s.zone_blocks * BLOCK <= s.device_bytes);
}

static void try_segment(const uint8_t *block)
{
	static uint8_t again[BLOCK];
	struct cfs_segment_header h;
	struct cfs_super s = super();

	if (cfs_segment_decode(block, &s, 0, 3, &h) < 0)
		return;
	cfs_segment_encode(&h, again);
	cfs_assert(memcmp(again, block, BLOCK) == 0);
	cfs_assert(h.roots_blocks < s.zone_blocks);
}

static void try_root(const uint8_t *bytes)
{
	struct cfs_super s = super();
	struct cfs_root r;

	if (cfs_root_decode(bytes, &s, &r) == 0)
		cfs_assert(r.shard < s.shards);
}

static void try_index(const uint8_t *bytes, uint32_t blocks)
{
	struct cfs_super s = super();
	uint32_t count = 0, n, crc;
	cfs_addr_t addr;

	if (cfs_checkpoint_index_verify(bytes, blocks, 5, &count) < 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (cfs_checkpoint_extent_decode(bytes, i, &s, &addr, &n, &crc) == 0)
			cfs_assert(cfs_addr_is_valid(&s, addr, n));
	}
}

static void try_entry(const uint8_t *bytes)
{
	uint8_t again[sizeof(struct cfs_tail_entry_format)];
	cfs_addr_t addr;
	uint32_t blocks;
	uint64_t slot;

	if (cfs_tail_entry_decode(bytes, &addr, &blocks, &slot) < 0)
		return;
	cfs_tail_entry_encode(addr, blocks, slot, again);
	cfs_assert(memcmp(again, bytes, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t buf[CFS_FUZZ_BYTES_MAX + BLOCK];
	size_t len = len_bytes > CFS_FUZZ_BYTES_MAX ? CFS_FUZZ_BYTES_MAX : len_bytes;
	uint32_t blocks = (uint32_t)((len + BLOCK - 1) / BLOCK);

	memset(buf, 0, sizeof(buf));
	memcpy(buf, data, len);
	try_super(buf);
	try_segment(buf);
	try_root(buf);
	try_entry(buf);
	if (blocks > 0)
		try_index(buf, blocks);
	return 0;
}

static void mend_crc(uint8_t *data, size_t len, size_t field)
{
	cfs_le32 crc = cfs_to_le32(0);

	memcpy(data + field, &crc, sizeof(crc));
	crc = cfs_to_le32(cfs_crc32c(0, data, len));
	memcpy(data + field, &crc, sizeof(crc));
}

void cfs_fuzz_mend(uint8_t *data, size_t len_bytes)
{
	cfs_le32 magic;

	if (len_bytes < BLOCK)
		return;
	memcpy(&magic, data, sizeof(magic));
	if (cfs_from_le32(magic) == CFS_SEGMENT_MAGIC)
		mend_crc(data, BLOCK, offsetof(struct cfs_segment_format, crc));
	else if (cfs_from_le32(magic) == CFS_CHECKPOINT_MAGIC)
		mend_crc(data, len_bytes / BLOCK * BLOCK,
			 offsetof(struct cfs_checkpoint_format, crc));
	else if (cfs_from_le32(magic) == (uint32_t)CFS_SUPER_MAGIC)
		mend_crc(data, BLOCK, offsetof(struct cfs_super_format, crc));
	else
		mend_crc(data, sizeof(struct cfs_tail_entry_format),
			 offsetof(struct cfs_tail_entry_format, crc));
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	struct cfs_super s = super();
	struct cfs_segment_header h = { .zone = 3, .stream = n % 2, .seq = 9, .prev_seq = 4 };
	struct cfs_root root = { .shard = 5, .replay_pos = 8192 };
	struct cfs_checkpoint_format *f = (void *)data;
	struct cfs_checkpoint_extent_format e = { cfs_to_le64(3ull << 32 | 1), cfs_to_le32(7),
						  cfs_to_le32(1) };

	memset(data, 0, 2 * BLOCK);
	switch (n) {
	case 0:
		cfs_super_encode(&s, data);
		return BLOCK;
	case 1:
	case 2:
		if (h.stream == CFS_STREAM_JOURNAL) {
			h.start_pos = BLOCK;
			h.roots_blocks = 1;
		}
		cfs_segment_encode(&h, data);
		return BLOCK;
	case 3:
		cfs_root_encode(&root, data);
		return sizeof(struct cfs_root_format);
	case 4:
		cfs_tail_entry_encode(77, 3, 5, data);
		return sizeof(struct cfs_tail_entry_format);
	case 5:
		f->magic = cfs_to_le32(CFS_CHECKPOINT_MAGIC);
		f->version = cfs_to_le16(CFS_STORE_VERSION);
		f->header_bytes = cfs_to_le16(sizeof(*f));
		f->shard = cfs_to_le32(5);
		f->extent_count = cfs_to_le32(1);
		memcpy(data + sizeof(*f), &e, sizeof(e));
		mend_crc(data, BLOCK, offsetof(struct cfs_checkpoint_format, crc));
		return BLOCK;
	default:
		return 0;
	}
}
