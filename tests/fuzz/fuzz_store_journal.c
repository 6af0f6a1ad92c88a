/*
 * A journal as it comes from a device, through the whole of recovery: the input is the stream of
 * the first segment of a simulated store. Opening to read, and to go on with it, neither crashes
 * nor accepts what does not follow.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "lib/fuzz.h"
#include "store/device_internal.h"
#include "store/store.h"
#include "store/store_format.h"

#define BLOCK CFS_STORE_BLOCK
#define SHARDS 4u
#define STREAM_OFF (1024u * 1024 + 2 * BLOCK) /* zone 0, behind header and roots */

struct input {
	const uint8_t *data;
	size_t len;
	struct cfs_sim_disk *disk;
	uint64_t last[SHARDS];
};

static int refs(void *ctx, const struct cfs_record *r, struct cfs_block_ref *out, uint32_t max)
{
	(void)ctx;
	(void)out;
	(void)max;
	return r->len_bytes % 7 == 3 ? -CFS_EBAD_FORMAT : 0;
}

static int checkpoint(void *ctx, uint32_t shard, const uint8_t *data, uint32_t len_bytes)
{
	(void)ctx;
	(void)data;
	cfs_assert(shard < SHARDS);
	cfs_assert(len_bytes <= CFS_RECORD_BYTES_MAX);
	return 0;
}

static int record(void *ctx, const struct cfs_record *r)
{
	struct input *in = ctx;

	/* Without gaps, whatever came. */
	cfs_assert(r->shard < SHARDS);
	cfs_assert(in->last[r->shard] == 0 || r->index == in->last[r->shard] + 1);
	in->last[r->shard] = r->index;
	return 0;
}

static CFS_AWAITS void recover(struct input *in, bool is_read_only)
{
	struct cfs_store_opts o = { .tail_bytes = 2 << 20, .is_read_only = is_read_only };
	struct cfs_store_recovery_ops ops = {
		.ctx = in, .refs = refs, .checkpoint = checkpoint, .record = record
	};
	struct cfs_device *dev;
	struct cfs_store *s;
	int rc;

	memset(in->last, 0, sizeof(in->last));
	cfs_assert(cfs_sim_disk_open(in->disk, &dev) == 0);
	cfs_assert(cfs_store_open(dev, 0, &o, &s) == 0);
	rc = cfs_store_recover_scan(s, &ops);
	if (rc == 0)
		rc = cfs_store_recover_load(s, &ops, UINT64_MAX);
	if (rc == 0 && !is_read_only)
		cfs_store_check(s);
	cfs_store_close(s);
	cfs_device_close(dev);
}

static int run(void *arg)
{
	struct input *in = arg;
	struct cfs_sim_disk_opts d = { .size_bytes = 64u << 20 };
	const uint8_t uuid[16] = { 3 };
	uint8_t *stored;

	cfs_assert(cfs_sim_disk_create(&d, &in->disk) == 0);
	cfs_assert(cfs_sim_disk_mkfs(in->disk, 1, SHARDS, uuid, uuid) == 0);
	stored = (uint8_t *)(uintptr_t)cfs_sim_disk_data(in->disk);
	memcpy(stored + STREAM_OFF, in->data, in->len);
	recover(in, false);
	/* What it made of it is sound. */
	recover(in, true);
	cfs_sim_disk_destroy(in->disk);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cfs_runtime_opts o = { .is_sim = true, .sim_seed = 1 };
	struct input in = { .data = data,
			    .len = len_bytes > CFS_FUZZ_BYTES_MAX ? CFS_FUZZ_BYTES_MAX
								  : len_bytes };

	cfs_assert(cfs_runtime_run(&o, run, &in) == 0);
	return 0;
}

/* Walks the records and puts right checksums in, with the seeds of the batches. */
void cfs_fuzz_mend(uint8_t *data, size_t len_bytes)
{
	uint32_t seed = 0;
	size_t pos = 0;

	while (pos + CFS_RECORD_HEADER_BYTES <= len_bytes) {
		struct cfs_record_format f;
		struct cfs_record_header h;

		if (cfs_record_header_decode(data + pos, &h) < 0) {
			pos = (pos / BLOCK + 1) * BLOCK;
			continue;
		}
		if (h.total_bytes > len_bytes - pos)
			return;
		memcpy(&f, data + pos, sizeof(f));
		f.crc = cfs_to_le32(cfs_record_crc(data + pos, &h, seed));
		memcpy(data + pos, &f, sizeof(f));
		if ((h.flags & CFS_RECORD_FLAG_OWN) && h.kind == CFS_STORE_RECORD_BATCH &&
		    h.len_bytes == sizeof(struct cfs_batch_format)) {
			struct cfs_batch_format b;

			memcpy(&b, data + pos + sizeof(f), sizeof(b));
			seed = cfs_record_seed(cfs_from_le64(b.session));
		}
		pos += h.total_bytes;
	}
}

static size_t put(uint8_t *data, size_t pos, uint8_t flags, uint16_t kind, uint32_t shard,
		  uint64_t index, const void *payload, uint32_t len)
{
	struct cfs_record_format f = { .magic = cfs_to_le32(CFS_RECORD_MAGIC),
				       .version = CFS_STORE_VERSION,
				       .flags = flags,
				       .kind = cfs_to_le16(kind),
				       .shard = cfs_to_le32(shard),
				       .len_bytes = cfs_to_le32(len),
				       .epoch = cfs_to_le64(1),
				       .index = cfs_to_le64(index) };

	memcpy(data + pos, &f, sizeof(f));
	memcpy(data + pos + sizeof(f), payload, len);
	return pos + (sizeof(f) + len + 7) / 8 * 8;
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static const uint8_t bytes[BLOCK];
	struct cfs_cut_format cut = { cfs_to_le64(n), cfs_to_le64(1) };
	struct cfs_root root = { .shard = 1,
				 .index_blocks = 1,
				 .index_addr = 5ull << 32 | 3,
				 .begin_index = 1,
				 .end_index = 2 };
	uint8_t root_bytes[sizeof(struct cfs_root_format)];
	size_t pos = 0;

	if (n >= 6)
		return 0;
	memset(data, 0, CFS_FUZZ_BYTES_MAX);
	for (uint32_t batch = 0; batch < 4; batch++) {
		struct cfs_batch_format b = { .pos = cfs_to_le64(pos),
					      .flushed_pos = cfs_to_le64(batch ? batch * BLOCK / 2
									       : 0),
					      .incarnation = cfs_to_le64(1 + batch / 2),
					      .session = cfs_to_le64(10 + batch / 2),
					      .session_before = cfs_to_le64(9 + batch / 2) };

		pos = put(data, pos, 1, CFS_STORE_RECORD_BATCH, 0, 0, &b, sizeof(b));
		for (uint32_t i = 0; i < 6; i++)
			pos = put(data, pos, 0, 1, i % 2, batch * 3 + i / 2 + 1, bytes, i * 40 + n);
		if (n % 2 && batch == 2) {
			pos = put(data, pos, 1, CFS_STORE_RECORD_CUT, 1, 0, &cut, sizeof(cut));
		} else if (n > 3 && batch == 1) {
			root.record_pos = pos;
			cfs_root_encode(&root, root_bytes);
			pos = put(data, pos, 1, CFS_STORE_RECORD_CHECKPOINT, 1, 0, root_bytes,
				  sizeof(root_bytes));
		}
		if (BLOCK - pos % BLOCK >= CFS_RECORD_HEADER_BYTES)
			pos = put(data, pos, 1, CFS_STORE_RECORD_PAD, 0, 0, bytes,
				  (uint32_t)(BLOCK - pos % BLOCK) - CFS_RECORD_HEADER_BYTES);
		else
			pos = (pos + BLOCK - 1) / BLOCK * BLOCK;
	}
	cfs_fuzz_mend(data, pos);
	return pos;
}
