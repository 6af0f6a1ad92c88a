/*
 * A device: a row of zones behind one interface (doc/design/store.md). Back ends: file and block device (zones emulated, O_DIRECT), sim
 * (torn, lost and reordered writes). Offsets and lengths are whole blocks.
 */
#ifndef CFS_STORE_DEVICE_H
#define CFS_STORE_DEVICE_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/fiber.h"

struct cfs_device_ops {
	const char *name;
	CFS_AWAITS int (*write)(void *dev, uint64_t off_bytes, const struct iovec *iov, uint32_t count);
	CFS_AWAITS int (*read)(void *dev, uint64_t off_bytes, void *buf, uint32_t len_bytes);
	CFS_AWAITS int (*flush)(void *dev);
	CFS_AWAITS int (*reset)(void *dev, uint64_t off_bytes, uint64_t len_bytes); /* zone's content is void */
	void (*close)(void *dev);
};

/* The simulated device and its tails: memory that survives a simulated SIGKILL (tail kept) or power cut (tail void; unflushed
 * writes lost, torn at 512 bytes, or kept, each by the dice). */
struct cfs_sim_disk;

struct cfs_sim_disk_opts {
	uint64_t size_bytes;
	uint64_t latency_min_ns, latency_max_ns;
};

int cfs_sim_disk_create(const struct cfs_sim_disk_opts *opts, struct cfs_sim_disk **out);
void cfs_sim_disk_destroy(struct cfs_sim_disk *d);
/* Formats it as cfs_store_mkfs() would. */
int cfs_sim_disk_mkfs(struct cfs_sim_disk *d, uint32_t stores, uint32_t shards, const uint8_t uuid[16],
		      const uint8_t hash_key[16]);
struct cfs_device;
int cfs_sim_disk_open(struct cfs_sim_disk *d, struct cfs_device **out);
/* SIGKILL: requests under way complete or not, by the dice; the tails stay. */
void cfs_sim_disk_kill(struct cfs_sim_disk *d);
/* Power cut: as above, then every write since its last flush is kept, lost or torn by the dice; tails are void. */
void cfs_sim_disk_power_cut(struct cfs_sim_disk *d);
uint64_t cfs_sim_disk_writes(const struct cfs_sim_disk *d); /* device writes so far */
/* Calls @fn(@arg) (outside of fibers) just before write number @n takes effect. */
void cfs_sim_disk_at_write(struct cfs_sim_disk *d, uint64_t n, void (*fn)(void *arg), void *arg);
/* Faults: the next read or write of @off_bytes gives -EIO; a stored byte is flipped. */
void cfs_sim_disk_fail_at(struct cfs_sim_disk *d, uint64_t off_bytes, int is_write);
void cfs_sim_disk_flip(struct cfs_sim_disk *d, uint64_t off_bytes, uint8_t mask);

#endif
