/* What all back ends share: requests that a fiber waits for, batches, and one flush for many. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "store/device_internal.h"
#include "store/space_rules.h"

int cfs_device_create(const struct cfs_device_ops *ops, void *impl, const struct cfs_super *super,
		      bool is_read_only, struct cfs_device **out)
{
	struct cfs_device *dev = calloc(1, sizeof(*dev));

	if (!dev)
		return -ENOMEM;
	dev->ops = ops;
	dev->impl = impl;
	dev->is_read_only = is_read_only;
	dev->super = *super;
	for (uint32_t i = 0; i < CFS_CORES_MAX; i++)
		cfs_waitq_init(&dev->flushers[i].waiters);
	memcpy(dev->info.uuid, super->uuid, 16);
	memcpy(dev->info.hash_key, super->hash_key, 16);
	dev->info.version = super->version;
	dev->info.stores = super->stores;
	dev->info.shards = super->shards;
	dev->info.zone_blocks = super->zone_blocks;
	dev->info.zones = super->zones;
	dev->info.capacity_bytes = cfs_space_capacity_blocks(super) * CFS_STORE_BLOCK;
	*out = dev;
	return 0;
}

void cfs_device_close(struct cfs_device *dev)
{
	if (!dev)
		return;
	dev->ops->close(dev->impl);
	free(dev);
}

const struct cfs_store_info *cfs_device_info(const struct cfs_device *dev)
{
	return &dev->info;
}

uint64_t cfs_device_off(const struct cfs_device *dev, uint32_t slice, cfs_addr_t addr)
{
	const struct cfs_super *s = &dev->super;
	uint64_t zone = (uint64_t)slice * s->zones + cfs_addr_segment(addr);

	cfs_debug_assert(cfs_addr_segment(addr) < s->zones);
	cfs_debug_assert(cfs_addr_block(addr) < s->zone_blocks);
	return s->slice_off + (zone * s->zone_blocks + cfs_addr_block(addr)) * CFS_STORE_BLOCK;
}

void cfs_device_submit(struct cfs_device *dev, struct cfs_dev_io *io)
{
	cfs_assert(!dev->is_read_only || io->op == CFS_DEV_READ);
	io->rc = 0;
	io->done_bytes = 0;
	dev->ops->submit(dev->impl, io);
}

static void batch_done(struct cfs_dev_io *io)
{
	struct cfs_dev_batch *b = io->arg;

	cfs_assert(b->pending > 0);
	b->pending--;
	if (io->rc < 0 && b->rc == 0)
		b->rc = io->rc;
	cfs_waitq_wake_all(&b->waiters);
}

void cfs_dev_batch_init(struct cfs_dev_batch *b)
{
	b->pending = 0;
	b->rc = 0;
	cfs_waitq_init(&b->waiters);
}

void cfs_dev_batch_add(struct cfs_dev_batch *b, struct cfs_device *dev, struct cfs_dev_io *io)
{
	b->pending++;
	io->fn = batch_done;
	io->arg = b;
	cfs_device_submit(dev, io);
}

CFS_AWAITS int cfs_dev_batch_wait(struct cfs_dev_batch *b, uint32_t left)
{
	while (b->pending > left)
		cfs_waitq_wait_always(&b->waiters);
	return b->rc;
}

static CFS_AWAITS int one_request(struct cfs_device *dev, enum cfs_dev_op op, uint64_t off_bytes,
				  void *buf, uint32_t len_bytes)
{
	struct iovec iov = { buf, len_bytes };
	struct cfs_dev_io io = { .op = (uint8_t)op,
				 .off_bytes = off_bytes,
				 .iov = &iov,
				 .iov_count = len_bytes ? 1 : 0,
				 .len_bytes = len_bytes };
	struct cfs_dev_batch b;

	cfs_dev_batch_init(&b);
	cfs_dev_batch_add(&b, dev, &io);
	return cfs_dev_batch_wait(&b, 0);
}

CFS_AWAITS int cfs_device_read(struct cfs_device *dev, uint64_t off_bytes, void *buf,
			       uint32_t len_bytes)
{
	return one_request(dev, CFS_DEV_READ, off_bytes, buf, len_bytes);
}

CFS_AWAITS int cfs_device_write(struct cfs_device *dev, uint64_t off_bytes, const void *buf,
				uint32_t len_bytes)
{
	void *mutable_buf = (void *)(uintptr_t)buf; /* struct iovec knows no const */

	return one_request(dev, CFS_DEV_WRITE, off_bytes, mutable_buf, len_bytes);
}

static struct cfs_flusher *flusher(struct cfs_device *dev)
{
	uint32_t core = cfs_core_id();

	cfs_assert(core < CFS_CORES_MAX);
	return &dev->flushers[core];
}

void cfs_device_flush_coming(struct cfs_device *dev)
{
	flusher(dev)->approaching++;
}

void cfs_device_flush_skip(struct cfs_device *dev)
{
	struct cfs_flusher *f = flusher(dev);

	cfs_assert(f->approaching > 0);
	f->approaching--;
	cfs_waitq_wake_all(&f->waiters);
}

/*
 * Whoever asks needs a flush that begins after now. It waits for the one under way, then for the
 * stores of this core that are about to ask (their writes are at the device, so this is short and
 * has no cycle), and then either begins the next one or finds that somebody else has.
 */
CFS_AWAITS int cfs_device_flush(struct cfs_device *dev)
{
	struct cfs_flusher *f = flusher(dev);
	uint64_t want = f->started + 1;
	int rc;

	cfs_device_flush_skip(dev);
	while (f->completed < want) {
		if (f->is_running || (f->approaching > 0 && f->started < want)) {
			cfs_waitq_wait_always(&f->waiters);
			continue;
		}
		f->is_running = true;
		f->started++;
		rc = one_request(dev, CFS_DEV_FLUSH, 0, NULL, 0);
		if (rc < 0)
			f->failed_at = f->started;
		f->completed = f->started;
		f->flushes++;
		f->is_running = false;
		cfs_waitq_wake_all(&f->waiters);
	}
	return f->failed_at >= want ? -EIO : 0;
}

uint64_t cfs_device_flushes(const struct cfs_device *dev)
{
	uint32_t core = cfs_core_id();

	return core < CFS_CORES_MAX ? dev->flushers[core].flushes : 0;
}
