/* The tail's memory. All stores of 64-bit words that recovery reads are aligned and in order. */
#include "store/tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "store/device_internal.h"

#define HEADER_CRC_BYTES 128u
#define NO_SLOT UINT32_MAX

static void publish(uint64_t *word, uint64_t v)
{
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
}

/* ---- mapping, on offload threads ---- */

struct map_job {
	struct cfs_device *dev;
	struct cfs_tail_request request;
	struct cfs_tail_memory *mem;
	uint32_t slice;
	bool is_kept;
};

static int map_run(void *arg)
{
	struct map_job *j = arg;

	return j->dev->ops->tail_map(j->dev->impl, &j->request, j->mem);
}

static int unmap_run(void *arg)
{
	struct map_job *j = arg;

	j->dev->ops->tail_unmap(j->dev->impl, j->slice, j->mem, j->is_kept);
	return 0;
}

static CFS_AWAITS int tail_map(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			       const char *dir, uint64_t bytes, bool is_new, bool is_read_only)
{
	struct map_job j = {
		.dev = dev,
		.mem = &t->mem,
		.request = { .dir = dir,
			     .slice = slice,
			     .bytes = bytes,
			     .is_new = is_new,
			     .is_read_only = is_read_only },
	};

	memcpy(j.request.uuid, dev->super.uuid, 16);
	return cfs_offload(map_run, &j);
}

CFS_AWAITS void cfs_tail_close(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			       bool is_kept)
{
	struct map_job j = { .dev = dev, .mem = &t->mem, .slice = slice, .is_kept = is_kept };

	if (t->mem.base)
		cfs_offload(unmap_run, &j);
	cfs_tail_forget(t);
}

void cfs_tail_forget(struct cfs_tail *t)
{
	free(t->bucket);
	free(t->next);
	free(t->slot_addr);
	memset(t, 0, sizeof(*t));
}

/* ---- layout ---- */

static uint64_t entries_bytes(uint32_t data_blocks)
{
	return cfs_round_up((uint64_t)data_blocks * sizeof(struct cfs_tail_entry_format),
			    CFS_STORE_BLOCK);
}

static uint32_t header_crc(const struct cfs_tail_format *f)
{
	uint8_t copy[HEADER_CRC_BYTES];

	memcpy(copy, f, sizeof(copy));
	memset(copy + offsetof(struct cfs_tail_format, crc), 0, sizeof(f->crc));
	return cfs_crc32c(0, copy, sizeof(copy));
}

/* The index of the data ring. */
static int index_init(struct cfs_tail *t)
{
	uint32_t buckets = 1;

	while (buckets < t->data_blocks)
		buckets *= 2;
	t->bucket = malloc(buckets * sizeof(*t->bucket));
	t->next = malloc(t->data_blocks * sizeof(*t->next));
	t->slot_addr = calloc(t->data_blocks, sizeof(*t->slot_addr));
	if (!t->bucket || !t->next || !t->slot_addr)
		return -ENOMEM;
	memset(t->bucket, 0xff, buckets * sizeof(*t->bucket));
	t->bucket_mask = buckets - 1;
	return 0;
}

static int set_layout(struct cfs_tail *t, uint64_t ring_bytes, uint32_t data_blocks)
{
	uint8_t *base = t->mem.base;

	t->f = t->mem.base;
	t->ring = base + CFS_STORE_BLOCK;
	t->ring_bytes = ring_bytes;
	t->entries = (void *)(t->ring + ring_bytes);
	t->data_blocks = data_blocks;
	t->data = t->ring + ring_bytes + entries_bytes(data_blocks);
	return index_init(t);
}

static bool header_is_good(const struct cfs_tail *t, const struct cfs_device *dev, uint32_t slice)
{
	const struct cfs_tail_format *f = t->mem.base;
	uint64_t ring = cfs_from_le64(f->ring_bytes);
	uint64_t blocks = cfs_from_le32(f->data_blocks);

	if (t->mem.bytes < CFS_STORE_BLOCK || cfs_from_le64(f->magic) != CFS_TAIL_MAGIC ||
	    cfs_from_le16(f->version) != CFS_TAIL_VERSION || cfs_from_le32(f->crc) != header_crc(f))
		return false;
	if (memcmp(f->uuid, dev->super.uuid, 16) != 0 ||
	    memcmp(f->boot_id, t->mem.boot_id, 16) != 0 || cfs_from_le32(f->slice) != slice)
		return false;
	if (ring < CFS_TAIL_RING_BYTES_MIN || ring % CFS_STORE_BLOCK || blocks == 0 ||
	    ring > t->mem.bytes)
		return false;
	if (CFS_STORE_BLOCK + ring + entries_bytes((uint32_t)blocks) + blocks * CFS_STORE_BLOCK >
	    t->mem.bytes)
		return false;
	return f->written % CFS_STORE_BLOCK == 0 && f->head >= f->written &&
	       f->head - f->written <= ring && f->data_end - f->data_first <= blocks &&
	       f->block_end - f->block_first <= blocks;
}

static void index_add(struct cfs_tail *t, uint64_t count, cfs_addr_t addr)
{
	uint32_t slot = (uint32_t)(count % t->data_blocks);
	uint32_t b = (uint32_t)cfs_hash_u64(addr) & t->bucket_mask;

	t->slot_addr[slot] = addr;
	t->next[slot] = t->bucket[b];
	t->bucket[b] = slot;
}

static void index_drop(struct cfs_tail *t, uint32_t slot)
{
	uint32_t *at = &t->bucket[(uint32_t)cfs_hash_u64(t->slot_addr[slot]) & t->bucket_mask];

	while (*at != slot) {
		cfs_assert(*at != NO_SLOT);
		at = &t->next[*at];
	}
	*at = t->next[slot];
	t->slot_addr[slot] = CFS_ADDR_NONE;
}

/*
 * Entries of a tail that survived are found again; what they say about blocks wins over the counts,
 * which the end of the process may have caught between two stores. A bad entry (memory that went
 * wrong) ends them: its blocks fail their checksum when they are read.
 */
static void index_rebuild(struct cfs_tail *t)
{
	uint64_t end = t->block_first;
	bool is_first = true;
	cfs_addr_t addr;
	uint32_t blocks;
	uint8_t *data;

	for (uint64_t i = t->data_first; i < t->data_end; i++) {
		uint64_t slot = cfs_from_le64(t->entries[i % t->data_blocks].slot);

		if (cfs_tail_data_entry(t, i, &addr, &blocks, &data) < 0 ||
		    (!is_first && slot < end)) {
			t->data_end = i;
			break;
		}
		for (uint32_t b = 0; b < blocks; b++)
			index_add(t, slot + b, addr + b);
		if (is_first)
			t->block_first = slot;
		is_first = false;
		end = slot + blocks;
	}
	if (is_first)
		t->block_first = t->block_end;
	else
		t->block_end = end;
}

CFS_AWAITS int cfs_tail_open(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			     const char *dir, bool is_read_only)
{
	int rc;

	memset(t, 0, sizeof(*t));
	rc = tail_map(t, dev, slice, dir, 0, false, is_read_only);
	if (rc < 0)
		return rc == -ENOMEM ? rc : -ENOENT;
	if (!header_is_good(t, dev, slice)) {
		cfs_tail_close(t, dev, slice, true);
		return -ENOENT;
	}
	t->f = t->mem.base;
	rc = set_layout(t, cfs_from_le64(t->f->ring_bytes), cfs_from_le32(t->f->data_blocks));
	if (rc < 0) {
		cfs_tail_close(t, dev, slice, true);
		return rc;
	}
	t->head = t->f->head;
	t->written = t->f->written;
	t->data_first = t->f->data_first;
	t->data_end = t->f->data_end;
	t->block_first = t->f->block_first;
	t->block_end = t->f->block_end;
	index_rebuild(t);
	t->has_survived = true;
	return 0;
}

CFS_AWAITS int cfs_tail_create(struct cfs_tail *t, struct cfs_device *dev, uint32_t slice,
			       const char *dir, uint64_t bytes, uint64_t ring_bytes_max)
{
	uint64_t ring, rest;
	uint32_t blocks;
	int rc;

	memset(t, 0, sizeof(*t));
	bytes = CFS_MAX(bytes ? bytes : CFS_TAIL_BYTES_DEFAULT, CFS_TAIL_BYTES_MIN);
	bytes = cfs_round_up(bytes, CFS_STORE_BLOCK);
	ring = cfs_round_down(CFS_MIN(bytes / 4, ring_bytes_max), CFS_STORE_BLOCK);
	ring = CFS_MAX(ring, (uint64_t)CFS_TAIL_RING_BYTES_MIN);
	rest = bytes - CFS_STORE_BLOCK - ring;
	blocks = (uint32_t)(rest / (CFS_STORE_BLOCK + sizeof(struct cfs_tail_entry_format)));
	while (entries_bytes(blocks) + (uint64_t)blocks * CFS_STORE_BLOCK > rest)
		blocks--;
	rc = tail_map(t, dev, slice, dir, bytes, true, false);
	if (rc < 0)
		return rc;
	rc = set_layout(t, ring, blocks);
	if (rc < 0) {
		cfs_tail_close(t, dev, slice, false);
		return rc;
	}
	memset(t->f, 0, sizeof(*t->f));
	t->f->version = cfs_to_le16(CFS_TAIL_VERSION);
	t->f->header_bytes = cfs_to_le16(sizeof(*t->f));
	memcpy(t->f->uuid, dev->super.uuid, 16);
	memcpy(t->f->boot_id, t->mem.boot_id, 16);
	t->f->slice = cfs_to_le32(slice);
	t->f->data_blocks = cfs_to_le32(blocks);
	t->f->ring_bytes = cfs_to_le64(ring);
	return 0;
}

void cfs_tail_session_set(struct cfs_tail *t, uint64_t old, uint64_t new_session)
{
	/* At every step one of the two is what the device names. */
	publish(&t->f->session_old, old);
	publish(&t->f->session_new, new_session);
	if (cfs_from_le64(t->f->magic) == CFS_TAIL_MAGIC)
		return;
	/* A new tail counts from here. */
	t->f->magic = cfs_to_le64(CFS_TAIL_MAGIC);
	t->f->crc = cfs_to_le32(header_crc(t->f));
}

bool cfs_tail_is_of_session(const struct cfs_tail *t, uint64_t session)
{
	return t->f->session_old == session || t->f->session_new == session;
}

/* ---- record ring ---- */

void cfs_tail_start_at(struct cfs_tail *t, uint64_t written, const void *bytes, uint64_t head)
{
	cfs_assert(written % CFS_STORE_BLOCK == 0 && head - written < CFS_STORE_BLOCK);
	t->written = t->head = written;
	cfs_tail_put(t, written, bytes, (uint32_t)(head - written));
	publish(&t->f->written, written);
	cfs_tail_publish_head(t, head);
}

uint8_t *cfs_tail_at(const struct cfs_tail *t, uint64_t pos, uint64_t end, uint64_t *len_out)
{
	uint64_t off = pos % t->ring_bytes;

	*len_out = CFS_MIN(end - pos, t->ring_bytes - off);
	return t->ring + off;
}

void cfs_tail_put(struct cfs_tail *t, uint64_t pos, const void *bytes, uint32_t len)
{
	const uint8_t *from = bytes;
	uint64_t end = pos + len, n;

	cfs_assert(end - t->written <= t->ring_bytes);
	while (pos < end) {
		uint8_t *to = cfs_tail_at(t, pos, end, &n);

		memcpy(to, from, n);
		from += n;
		pos += n;
	}
}

void cfs_tail_get(const struct cfs_tail *t, uint64_t pos, void *bytes, uint32_t len)
{
	uint64_t end = pos + len, n;
	uint8_t *to = bytes;

	while (pos < end) {
		const uint8_t *from = cfs_tail_at(t, pos, end, &n);

		memcpy(to, from, n);
		to += n;
		pos += n;
	}
}

void cfs_tail_publish_head(struct cfs_tail *t, uint64_t head)
{
	t->head = head;
	publish(&t->f->head, head);
}

void cfs_tail_publish_written(struct cfs_tail *t, uint64_t written)
{
	cfs_assert(written >= t->written && written <= t->head);
	t->written = written;
	publish(&t->f->written, written);
}

/* ---- data ring ---- */

uint32_t cfs_tail_data_free(const struct cfs_tail *t)
{
	return t->data_blocks - (uint32_t)(t->block_end - t->block_first);
}

static void data_add_piece(struct cfs_tail *t, cfs_addr_t addr, const uint8_t *data,
			   uint32_t blocks)
{
	uint64_t at = t->block_end % t->data_blocks;

	memcpy(t->data + at * CFS_STORE_BLOCK, data, (size_t)blocks * CFS_STORE_BLOCK);
	cfs_tail_entry_encode(addr, blocks, t->block_end,
			      &t->entries[t->data_end % t->data_blocks]);
	for (uint32_t b = 0; b < blocks; b++)
		index_add(t, t->block_end + b, addr + b);
	t->block_end += blocks;
	t->data_end++;
	publish(&t->f->block_end, t->block_end);
	publish(&t->f->data_end, t->data_end);
}

void cfs_tail_data_add(struct cfs_tail *t, cfs_addr_t addr, const void *data, uint32_t blocks)
{
	const uint8_t *from = data;

	cfs_assert(blocks > 0 && blocks <= cfs_tail_data_free(t));
	while (blocks > 0) {
		uint32_t at = (uint32_t)(t->block_end % t->data_blocks);
		uint32_t n = CFS_MIN(blocks, t->data_blocks - at);

		data_add_piece(t, addr, from, n);
		addr += n;
		from += (size_t)n * CFS_STORE_BLOCK;
		blocks -= n;
	}
}

int cfs_tail_data_entry(const struct cfs_tail *t, uint64_t i, cfs_addr_t *addr_out,
			uint32_t *blocks_out, uint8_t **data_out)
{
	uint64_t slot, at;
	int rc = cfs_tail_entry_decode(&t->entries[i % t->data_blocks], addr_out, blocks_out,
				       &slot);

	if (rc < 0)
		return rc;
	at = slot % t->data_blocks;
	if (slot < t->block_first || slot + *blocks_out > t->block_end ||
	    *blocks_out > t->data_blocks - at)
		return -CFS_EBAD_FORMAT;
	*data_out = t->data + at * CFS_STORE_BLOCK;
	return 0;
}

void cfs_tail_data_release(struct cfs_tail *t, uint64_t end)
{
	cfs_addr_t addr;
	uint32_t blocks;
	uint8_t *data;

	cfs_assert(end >= t->data_first && end <= t->data_end);
	for (uint64_t i = t->data_first; i < end; i++) {
		int rc = cfs_tail_data_entry(t, i, &addr, &blocks, &data);
		uint32_t slot;

		cfs_assert(rc == 0);
		slot = (uint32_t)((uint64_t)(data - t->data) / CFS_STORE_BLOCK);
		for (uint32_t b = 0; b < blocks; b++)
			index_drop(t, slot + b);
		t->block_first = cfs_from_le64(t->entries[i % t->data_blocks].slot) + blocks;
	}
	t->data_first = end;
	/* Entries first: those that remain lie in the blocks that remain. */
	publish(&t->f->data_first, t->data_first);
	publish(&t->f->block_first, t->block_first);
}

const uint8_t *cfs_tail_data_find(const struct cfs_tail *t, cfs_addr_t addr)
{
	uint32_t slot;

	if (!t->f || t->block_end == t->block_first)
		return NULL;
	slot = t->bucket[(uint32_t)cfs_hash_u64(addr) & t->bucket_mask];
	while (slot != NO_SLOT && t->slot_addr[slot] != addr)
		slot = t->next[slot];
	return slot == NO_SLOT ? NULL : t->data + (size_t)slot * CFS_STORE_BLOCK;
}
