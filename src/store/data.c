/* Blocks of data: to the tail's ring or the device, and back from ring, cache or device. */
#include "store/store_internal.h"

#define CACHE_FILL_BLOCKS_MAX 64u /* longer reads would push out everything else */
#define RUNS 4u                   /* device reads of one call that are under way together */

void cfs_store_data_tail(struct cfs_store *s, cfs_addr_t addr, const void *data, uint32_t blocks)
{
	const uint8_t *p = data;

	cfs_assert(blocks * CFS_STORE_BLOCK <= CFS_TAIL_DATA_MAX);
	cfs_assert(cfs_addr_is_valid(&s->dev->super, addr, blocks));
	cfs_assert(s->resv_tail >= blocks);
	s->resv_tail -= blocks;
	cfs_tail_data_add(&s->tail, addr, data, blocks);
	for (uint32_t b = 0; b < blocks; b++)
		cfs_cache_put(&s->cache, addr + b, p + (size_t)b * CFS_STORE_BLOCK);
}

CFS_AWAITS int cfs_store_data_write(struct cfs_store *s, cfs_addr_t addr, const void *data,
				    uint32_t blocks)
{
	int rc;

	cfs_assert(cfs_addr_is_valid(&s->dev->super, addr, blocks));
	cfs_assert(((uintptr_t)data & (CFS_STORE_BLOCK - 1)) == 0);
	if (s->failed < 0)
		return s->failed;
	rc = cfs_device_write(s->dev, cfs_device_off(s->dev, s->slice, addr), data,
			      blocks * CFS_STORE_BLOCK);
	if (rc < 0) {
		cfs_store_fail(s, rc);
		return -EIO;
	}
	s->stats.data_writes++;
	s->stats.data_bytes += (uint64_t)blocks * CFS_STORE_BLOCK;
	return 0;
}

struct run {
	struct cfs_dev_io io;
	struct iovec iov;
	cfs_addr_t addr;
};

/* Block @b from memory: 1; 0: it is on the device. */
static bool copy_from_memory(struct cfs_store *s, cfs_addr_t addr, uint8_t *out)
{
	const uint8_t *p = cfs_tail_data_find(&s->tail, addr);

	if (!p) {
		p = cfs_cache_find(&s->cache, addr);
		if (!p)
			return false;
		s->stats.cache_hits++;
	}
	memcpy(out, p, CFS_STORE_BLOCK);
	return true;
}

static bool is_in_memory(struct cfs_store *s, cfs_addr_t addr)
{
	return cfs_tail_data_find(&s->tail, addr) || cfs_cache_find(&s->cache, addr);
}

static void run_start(struct cfs_store *s, struct cfs_dev_batch *batch, struct run *r,
		      cfs_addr_t addr, uint8_t *out, uint32_t blocks)
{
	r->addr = addr;
	r->iov = (struct iovec){ out, (size_t)blocks * CFS_STORE_BLOCK };
	r->io = (struct cfs_dev_io){ .op = CFS_DEV_READ,
				     .off_bytes = cfs_device_off(s->dev, s->slice, addr),
				     .iov = &r->iov,
				     .iov_count = 1,
				     .len_bytes = blocks * CFS_STORE_BLOCK };
	cfs_dev_batch_add(batch, s->dev, &r->io);
	s->stats.reads++;
	s->stats.read_bytes += (uint64_t)blocks * CFS_STORE_BLOCK;
}

static void run_keep(struct cfs_store *s, const struct run *r)
{
	uint32_t blocks = (uint32_t)(r->iov.iov_len / CFS_STORE_BLOCK);

	if (blocks > CACHE_FILL_BLOCKS_MAX)
		return;
	for (uint32_t b = 0; b < blocks; b++)
		cfs_cache_put(&s->cache, r->addr + b,
			      (const uint8_t *)r->iov.iov_base + (size_t)b * CFS_STORE_BLOCK);
}

static int verify(struct cfs_store *s, const uint8_t *data, uint32_t blocks, const uint32_t *crcs,
		  cfs_addr_t addr)
{
	int rc = 0;

	for (uint32_t b = 0; crcs && b < blocks; b++) {
		if (cfs_crc32c(0, data + (size_t)b * CFS_STORE_BLOCK, CFS_STORE_BLOCK) == crcs[b])
			continue;
		cfs_cache_drop(&s->cache, addr + b);
		s->stats.bad_blocks++;
		rc = -CFS_EBAD_CHECKSUM;
	}
	return rc;
}

/* Reads what is not in memory from [*@at, @blocks), up to RUNS pieces of it. */
static CFS_AWAITS int read_runs(struct cfs_store *s, cfs_addr_t addr, uint8_t *out, uint32_t *at,
				uint32_t blocks, bool is_kept)
{
	struct run runs[RUNS];
	struct cfs_dev_batch batch;
	uint32_t n = 0, b = *at;
	int rc;

	cfs_dev_batch_init(&batch);
	while (b < blocks && n < RUNS) {
		uint32_t first = b;

		if (copy_from_memory(s, addr + b, out + (size_t)b * CFS_STORE_BLOCK)) {
			b++;
			continue;
		}
		do {
			b++;
		} while (b < blocks && !is_in_memory(s, addr + b));
		run_start(s, &batch, &runs[n++], addr + first,
			  out + (size_t)first * CFS_STORE_BLOCK, b - first);
	}
	*at = b;
	rc = cfs_dev_batch_wait(&batch, 0);
	for (uint32_t i = 0; rc == 0 && is_kept && i < n; i++)
		run_keep(s, &runs[i]);
	return rc;
}

CFS_AWAITS int cfs_store_data_read(struct cfs_store *s, cfs_addr_t addr, void *data,
				   uint32_t blocks, const uint32_t *crcs)
{
	uint32_t at = 0;
	int rc = 0;

	if (!cfs_addr_is_valid(&s->dev->super, addr, blocks))
		return -CFS_EBAD_FORMAT;
	/* Recovery reads what may be cut off next, and written anew: none of it is kept. */
	while (at < blocks && rc == 0)
		rc = read_runs(s, addr, data, &at, blocks, crcs != NULL && s->is_ready);
	if (rc < 0)
		return -EIO;
	return verify(s, data, blocks, crcs, addr);
}
