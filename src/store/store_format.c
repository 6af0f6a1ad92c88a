/* Encoders and decoders of the store's bytes. No I/O, no state. */
#include "store/store_format.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#define ZONE_BLOCKS_MIN 256u
#define ZONE_BLOCKS_MAX (1u << 24)
#define ZONES_MIN 8u
#define ZONES_MAX (1u << 20)

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* CRC of @len bytes in which the four bytes at @field_off count as 0. */
static uint32_t crc_without_field(uint32_t seed, const void *bytes, size_t len, size_t field_off)
{
	static const uint8_t zero[4];
	const uint8_t *p = bytes;
	uint32_t crc = cfs_crc32c(seed, p, field_off);

	crc = cfs_crc32c(crc, zero, sizeof(zero));
	return cfs_crc32c(crc, p + field_off + 4, len - field_off - 4);
}

/* ---- superblock ---- */

void cfs_super_encode(const struct cfs_super *s, void *block)
{
	struct cfs_super_format *f = block;

	memset(f, 0, sizeof(*f));
	f->magic = cfs_to_le64(CFS_SUPER_MAGIC);
	f->version = cfs_to_le16((uint16_t)s->version);
	f->header_bytes = cfs_to_le16(sizeof(*f));
	f->epoch = cfs_to_le64(s->epoch);
	memcpy(f->uuid, s->uuid, 16);
	memcpy(f->hash_key, s->hash_key, 16);
	f->device_bytes = cfs_to_le64(s->device_bytes);
	f->slice_off = cfs_to_le64(s->slice_off);
	f->stores = cfs_to_le32(s->stores);
	f->shards = cfs_to_le32(s->shards);
	f->zone_blocks = cfs_to_le32(s->zone_blocks);
	f->zones = cfs_to_le32(s->zones);
	f->created_ns = cfs_to_le64(s->created_ns);
	f->crc = cfs_to_le32(
		crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_super_format, crc)));
}

static bool super_is_sane(const struct cfs_super *s)
{
	uint64_t slice_bytes = (uint64_t)s->zones * s->zone_blocks * CFS_STORE_BLOCK;

	if (s->zone_blocks < ZONE_BLOCKS_MIN || s->zone_blocks > ZONE_BLOCKS_MAX ||
	    (s->zone_blocks & (s->zone_blocks - 1)))
		return false;
	if (s->zones < ZONES_MIN || s->zones > ZONES_MAX)
		return false;
	if (s->stores == 0 || s->stores > 1024)
		return false;
	if (s->shards == 0 || s->shards > 65536 || (s->shards & (s->shards - 1)))
		return false;
	if (s->slice_off < CFS_STORE_BLOCK || s->slice_off % CFS_STORE_BLOCK ||
	    s->device_bytes % CFS_STORE_BLOCK || s->slice_off > s->device_bytes)
		return false;
	return slice_bytes <= (s->device_bytes - s->slice_off) / s->stores;
}

int cfs_super_decode(const void *block, struct cfs_super *out)
{
	const struct cfs_super_format *f = block;
	struct cfs_super s = { 0 };

	if (cfs_from_le64(f->magic) != CFS_SUPER_MAGIC)
		return -CFS_ENOT_A_STORE;
	if (cfs_from_le32(f->crc) !=
	    crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_super_format, crc)))
		return -CFS_EBAD_CHECKSUM;
	s.version = cfs_from_le16(f->version);
	if (s.version != CFS_STORE_VERSION) {
		out->version = s.version;
		return -CFS_EBAD_VERSION;
	}
	if (cfs_from_le16(f->header_bytes) != sizeof(*f) ||
	    !is_zero(f->reserved, sizeof(f->reserved)))
		return -CFS_EBAD_FORMAT;
	s.epoch = cfs_from_le64(f->epoch);
	memcpy(s.uuid, f->uuid, 16);
	memcpy(s.hash_key, f->hash_key, 16);
	s.device_bytes = cfs_from_le64(f->device_bytes);
	s.slice_off = cfs_from_le64(f->slice_off);
	s.stores = cfs_from_le32(f->stores);
	s.shards = cfs_from_le32(f->shards);
	s.zone_blocks = cfs_from_le32(f->zone_blocks);
	s.zones = cfs_from_le32(f->zones);
	s.created_ns = cfs_from_le64(f->created_ns);
	if (!super_is_sane(&s))
		return -CFS_EBAD_FORMAT;
	*out = s;
	return 0;
}

bool cfs_addr_is_valid(const struct cfs_super *super, cfs_addr_t addr, uint32_t blocks)
{
	uint32_t block = cfs_addr_block(addr);

	return cfs_addr_segment(addr) < super->zones && block >= 1 && blocks >= 1 &&
	       block < super->zone_blocks && blocks <= super->zone_blocks - block;
}

/* ---- segment header ---- */

void cfs_segment_encode(const struct cfs_segment_header *h, void *block)
{
	struct cfs_segment_format *f = block;

	memset(f, 0, sizeof(*f));
	f->magic = cfs_to_le32(CFS_SEGMENT_MAGIC);
	f->version = cfs_to_le16(CFS_STORE_VERSION);
	f->header_bytes = cfs_to_le16(sizeof(*f));
	f->stream = cfs_to_le16((uint16_t)h->stream);
	memcpy(f->uuid, h->uuid, 16);
	f->slice = cfs_to_le32(h->slice);
	f->zone = cfs_to_le32(h->zone);
	f->seq = cfs_to_le64(h->seq);
	f->start_pos = cfs_to_le64(h->start_pos);
	f->prev_seq = cfs_to_le64(h->prev_seq);
	f->oldest_pos = cfs_to_le64(h->oldest_pos);
	f->flushed_pos = cfs_to_le64(h->flushed_pos);
	f->incarnation = cfs_to_le64(h->incarnation);
	f->roots_blocks = cfs_to_le32(h->roots_blocks);
	f->root_count = cfs_to_le32(h->root_count);
	f->bitmap_off = cfs_to_le32(h->bitmap_off);
	f->roots_crc = cfs_to_le32(h->roots_crc);
	f->crc = cfs_to_le32(
		crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_segment_format, crc)));
}

static bool segment_is_sane(const struct cfs_segment_header *h, const struct cfs_super *super)
{
	uint64_t roots_bytes = (uint64_t)h->roots_blocks * CFS_STORE_BLOCK;

	if (h->stream >= CFS_STREAM_COUNT || h->seq == 0 || h->prev_seq >= h->seq)
		return false;
	if (h->stream != CFS_STREAM_JOURNAL)
		return h->roots_blocks == 0;
	if (h->start_pos % CFS_STORE_BLOCK || h->roots_blocks > super->zone_blocks / 2)
		return false;
	if (h->bitmap_off > roots_bytes || h->root_count > super->shards ||
	    (uint64_t)h->root_count * sizeof(struct cfs_root_format) > h->bitmap_off)
		return false;
	return (super->zones + 7) / 8 <= roots_bytes - h->bitmap_off;
}

int cfs_segment_decode(const void *block, const struct cfs_super *super, uint32_t slice,
		       uint32_t zone, struct cfs_segment_header *out)
{
	const struct cfs_segment_format *f = block;
	struct cfs_segment_header h = { 0 };

	if (cfs_from_le32(f->magic) != CFS_SEGMENT_MAGIC || memcmp(f->uuid, super->uuid, 16) != 0)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le16(f->version) != CFS_STORE_VERSION)
		return -CFS_EBAD_VERSION;
	if (cfs_from_le32(f->crc) !=
	    crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_segment_format, crc)))
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le16(f->header_bytes) != sizeof(*f) || cfs_from_le16(f->reserved0) != 0 ||
	    !is_zero(f->reserved, sizeof(f->reserved)))
		return -CFS_EBAD_FORMAT;
	memcpy(h.uuid, f->uuid, 16);
	h.slice = cfs_from_le32(f->slice);
	h.zone = cfs_from_le32(f->zone);
	h.stream = cfs_from_le16(f->stream);
	h.seq = cfs_from_le64(f->seq);
	h.start_pos = cfs_from_le64(f->start_pos);
	h.prev_seq = cfs_from_le64(f->prev_seq);
	h.oldest_pos = cfs_from_le64(f->oldest_pos);
	h.flushed_pos = cfs_from_le64(f->flushed_pos);
	h.incarnation = cfs_from_le64(f->incarnation);
	h.roots_blocks = cfs_from_le32(f->roots_blocks);
	h.root_count = cfs_from_le32(f->root_count);
	h.bitmap_off = cfs_from_le32(f->bitmap_off);
	h.roots_crc = cfs_from_le32(f->roots_crc);
	if (h.slice != slice || h.zone != zone || !segment_is_sane(&h, super))
		return -CFS_EBAD_FORMAT;
	*out = h;
	return 0;
}

/* ---- roots ---- */

void cfs_root_encode(const struct cfs_root *r, void *out)
{
	struct cfs_root_format *f = out;

	memset(f, 0, sizeof(*f));
	f->shard = cfs_to_le32(r->shard);
	f->index_blocks = cfs_to_le32(r->index_blocks);
	f->index_addr = cfs_to_le64(r->index_addr);
	f->begin_index = cfs_to_le64(r->begin_index);
	f->begin_epoch = cfs_to_le64(r->begin_epoch);
	f->end_index = cfs_to_le64(r->end_index);
	f->replay_pos = cfs_to_le64(r->replay_pos);
	f->record_pos = cfs_to_le64(r->record_pos);
}

int cfs_root_decode(const void *bytes, const struct cfs_super *super, struct cfs_root *out)
{
	const struct cfs_root_format *f = bytes;
	struct cfs_root r = {
		.shard = cfs_from_le32(f->shard),
		.index_blocks = cfs_from_le32(f->index_blocks),
		.index_addr = cfs_from_le64(f->index_addr),
		.begin_index = cfs_from_le64(f->begin_index),
		.begin_epoch = cfs_from_le64(f->begin_epoch),
		.end_index = cfs_from_le64(f->end_index),
		.replay_pos = cfs_from_le64(f->replay_pos),
		.record_pos = cfs_from_le64(f->record_pos),
	};

	if (r.shard >= super->shards || cfs_from_le64(f->reserved) != 0 ||
	    r.end_index < r.begin_index)
		return -CFS_EBAD_FORMAT;
	if (r.index_blocks ? !cfs_addr_is_valid(super, r.index_addr, r.index_blocks)
			   : r.index_addr != CFS_ADDR_NONE || r.begin_index != 0)
		return -CFS_EBAD_FORMAT;
	*out = r;
	return 0;
}

/* ---- records ---- */

uint32_t cfs_record_seed(uint64_t session)
{
	return (uint32_t)cfs_hash_u64(session + 0x9e3779b97f4a7c15ull);
}

int cfs_record_header_decode(const void *bytes, struct cfs_record_header *out)
{
	const struct cfs_record_format *f = bytes;
	struct cfs_record_header h = {
		.flags = f->flags,
		.kind = cfs_from_le16(f->kind),
		.dep_count = cfs_from_le16(f->dep_count),
		.shard = cfs_from_le32(f->shard),
		.len_bytes = cfs_from_le32(f->len_bytes),
		.crc = cfs_from_le32(f->crc),
		.epoch = cfs_from_le64(f->epoch),
		.index = cfs_from_le64(f->index),
	};

	if (cfs_from_le32(f->magic) != CFS_RECORD_MAGIC || f->version != CFS_STORE_VERSION ||
	    (f->flags & ~CFS_RECORD_FLAG_OWN) || cfs_from_le16(f->reserved) != 0)
		return -CFS_EBAD_FORMAT;
	if (h.dep_count > CFS_RECORD_DEPS_MAX || h.len_bytes > CFS_RECORD_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	if (!(h.flags & CFS_RECORD_FLAG_OWN) && h.index == 0)
		return -CFS_EBAD_FORMAT;
	h.total_bytes = (uint32_t)cfs_round_up(
		CFS_RECORD_HEADER_BYTES + h.dep_count * sizeof(struct cfs_dep_format) + h.len_bytes,
		CFS_RECORD_ALIGN);
	*out = h;
	return 0;
}

uint32_t cfs_record_crc(const void *bytes, const struct cfs_record_header *h, uint32_t seed)
{
	bool is_own = h->flags & CFS_RECORD_FLAG_OWN;
	uint32_t len = CFS_RECORD_HEADER_BYTES +
		       h->dep_count * (uint32_t)sizeof(struct cfs_dep_format) + h->len_bytes;

	if (is_own && h->kind == CFS_STORE_RECORD_BATCH)
		seed = 0; /* it says which seed the others have */
	return crc_without_field(seed, bytes, len, offsetof(struct cfs_record_format, crc));
}

int cfs_record_deps_decode(const void *bytes, uint32_t dep_count, struct cfs_record_dep *out)
{
	const struct cfs_dep_format *f =
		(const void *)((const uint8_t *)bytes + CFS_RECORD_HEADER_BYTES);

	cfs_assert(dep_count <= CFS_RECORD_DEPS_MAX);
	for (uint32_t i = 0; i < dep_count; i++) {
		if (cfs_from_le32(f[i].reserved) != 0)
			return -CFS_EBAD_FORMAT;
		out[i] = (struct cfs_record_dep){ .shard = cfs_from_le32(f[i].shard),
						  .epoch = cfs_from_le64(f[i].epoch),
						  .index = cfs_from_le64(f[i].index) };
	}
	return 0;
}

/* ---- checkpoint index ---- */

int cfs_checkpoint_index_verify(const void *bytes, uint32_t blocks, uint32_t shard,
				uint32_t *count_out)
{
	const struct cfs_checkpoint_format *f = bytes;
	uint64_t len = (uint64_t)blocks * CFS_STORE_BLOCK;
	uint32_t count;

	if (blocks == 0 || cfs_from_le32(f->magic) != CFS_CHECKPOINT_MAGIC ||
	    cfs_from_le16(f->version) != CFS_STORE_VERSION)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(f->crc) !=
	    crc_without_field(0, f, len, offsetof(struct cfs_checkpoint_format, crc)))
		return -CFS_EBAD_CHECKSUM;
	count = cfs_from_le32(f->extent_count);
	if (cfs_from_le16(f->header_bytes) != sizeof(*f) || cfs_from_le32(f->shard) != shard ||
	    cfs_from_le32(f->reserved) != 0)
		return -CFS_EBAD_FORMAT;
	if (count > (len - sizeof(*f)) / sizeof(struct cfs_checkpoint_extent_format))
		return -CFS_EBAD_FORMAT;
	*count_out = count;
	return 0;
}

int cfs_checkpoint_extent_decode(const void *bytes, uint32_t i, const struct cfs_super *super,
				 cfs_addr_t *addr_out, uint32_t *blocks_out, uint32_t *crc_out)
{
	const struct cfs_checkpoint_extent_format *f =
		(const void *)((const uint8_t *)bytes + sizeof(struct cfs_checkpoint_format));
	cfs_addr_t addr = cfs_from_le64(f[i].addr);
	uint32_t blocks = cfs_from_le32(f[i].blocks);

	if (!cfs_addr_is_valid(super, addr, blocks))
		return -CFS_EBAD_FORMAT;
	*addr_out = addr;
	*blocks_out = blocks;
	*crc_out = cfs_from_le32(f[i].crc);
	return 0;
}

/* ---- tail ---- */

void cfs_tail_entry_encode(cfs_addr_t addr, uint32_t blocks, uint64_t slot, void *out)
{
	struct cfs_tail_entry_format *f = out;

	f->addr = cfs_to_le64(addr);
	f->blocks = cfs_to_le32(blocks);
	f->slot = cfs_to_le64(slot);
	f->reserved = cfs_to_le64(0);
	f->crc = cfs_to_le32(
		crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_tail_entry_format, crc)));
}

int cfs_tail_entry_decode(const void *bytes, cfs_addr_t *addr_out, uint32_t *blocks_out,
			  uint64_t *slot_out)
{
	const struct cfs_tail_entry_format *f = bytes;

	if (cfs_from_le32(f->crc) !=
	    crc_without_field(0, f, sizeof(*f), offsetof(struct cfs_tail_entry_format, crc)))
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le64(f->reserved) != 0 || cfs_from_le32(f->blocks) == 0)
		return -CFS_EBAD_FORMAT;
	*addr_out = cfs_from_le64(f->addr);
	*blocks_out = cfs_from_le32(f->blocks);
	*slot_out = cfs_from_le64(f->slot);
	return 0;
}
