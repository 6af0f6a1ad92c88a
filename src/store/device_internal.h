/*
 * Inside of devices: the object, shared read-only by the cores that opened it, with one flush
 * coalescer for each of them.
 */
#ifndef CFS_STORE_DEVICE_INTERNAL_H
#define CFS_STORE_DEVICE_INTERNAL_H

#include "base/reactor.h"
#include "store/device.h"
#include "store/store.h"
#include "store/store_format.h"

/* Of one core. A flush serves all who asked before it began. */
struct cfs_flusher {
	bool is_running;
	uint32_t approaching; /* stores whose writes are under way and that will ask */
	uint64_t started, completed;
	uint64_t failed_at; /* the newest flush that failed; 0: none */
	uint64_t flushes;
	struct cfs_waitq waiters;
};

struct cfs_device {
	const struct cfs_device_ops *ops;
	void *impl;
	bool is_read_only;
	struct cfs_super super;
	struct cfs_store_info info;
	struct cfs_flusher flushers[CFS_CORES_MAX];
};

/* Wraps a back end whose superblock is @super. Takes @impl on success. 0; -ENOMEM. */
int cfs_device_create(const struct cfs_device_ops *ops, void *impl, const struct cfs_super *super,
		      bool is_read_only, struct cfs_device **out);
/* Bytes from the device's start of @addr in @slice. */
uint64_t cfs_device_off(const struct cfs_device *dev, uint32_t slice, cfs_addr_t addr);
void cfs_device_submit(struct cfs_device *dev, struct cfs_dev_io *io);
/* One request, in one piece. 0; -EIO. */
CFS_AWAITS int cfs_device_read(struct cfs_device *dev, uint64_t off_bytes, void *buf,
			       uint32_t len_bytes);
CFS_AWAITS int cfs_device_write(struct cfs_device *dev, uint64_t off_bytes, const void *buf,
				uint32_t len_bytes);
/* Says that a flush will be asked for soon, so that one under preparation waits for it; each call
 * is followed by one cfs_device_flush() or cfs_device_flush_skip(). */
void cfs_device_flush_coming(struct cfs_device *dev);
void cfs_device_flush_skip(struct cfs_device *dev);
CFS_AWAITS int cfs_device_flush(struct cfs_device *dev);
uint64_t cfs_device_flushes(const struct cfs_device *dev); /* on this core */

/* Splits @device_bytes into slices and zones. 0; -EINVAL: too small for that. */
int cfs_super_layout(uint64_t device_bytes, uint32_t stores, uint32_t shards,
		     struct cfs_super *out);
/* Default number of stores for this machine. */
uint32_t cfs_super_stores_default(uint64_t device_bytes);
/* The first journal segment of an empty slice: header and roots, @blocks_out blocks at @buf (of
 * CFS_SUPER_FIRST_BLOCKS_MAX), for zone 0; the first of them for its last block, too. */
#define CFS_SUPER_FIRST_BLOCKS_MAX 40u
void cfs_super_first_segment(const struct cfs_super *super, uint32_t slice, void *buf,
			     uint32_t *blocks_out);
/* The file back end; @fd is taken. */
int cfs_device_file_create(int fd, const char *path, const struct cfs_super *super,
			   bool is_read_only, struct cfs_device **out);
/* Reads both superblocks of @fd and takes the better one. @is_damaged_out: one of them is to be
 * mended. 0; as cfs_store_probe(). */
int cfs_super_read(int fd, struct cfs_super *out, bool *is_damaged_out);
int cfs_super_write(int fd, const struct cfs_super *s);

/* A batch of requests that one fiber waits for. */
struct cfs_dev_batch {
	uint32_t pending;
	int rc; /* the first error */
	struct cfs_waitq waiters;
};
void cfs_dev_batch_init(struct cfs_dev_batch *b);
/* Submits @io as one of @b; its fn and arg are overwritten. */
void cfs_dev_batch_add(struct cfs_dev_batch *b, struct cfs_device *dev, struct cfs_dev_io *io);
/* Waits until at most @left are under way. Returns the first error so far. */
CFS_AWAITS int cfs_dev_batch_wait(struct cfs_dev_batch *b, uint32_t left);

#endif
