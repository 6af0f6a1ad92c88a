/*
 * A device: a row of zones behind one interface (doc/design/store.md). Back ends: file and block
 * device (zones emulated, O_DIRECT where it is allowed), sim (torn, lost and reordered writes).
 * Offsets and lengths are whole blocks of CFS_BLOCK_BYTES, memory is page-aligned.
 *
 * A request is embedded in its owner and lives until its callback ran; callbacks run on the
 * submitting core, outside of fibers. Requests may complete in any order; a write that completed
 * is read back by later reads, and is beyond a power cut once a flush submitted after that
 * completed.
 */
#ifndef CFS_STORE_DEVICE_H
#define CFS_STORE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/fiber.h"
#include "base/reactor.h"

#define CFS_DEV_IOV_MAX 64u
#define CFS_DEV_IO_BYTES_MAX (1024u * 1024) /* of one request that a store makes */

enum cfs_dev_op { CFS_DEV_READ, CFS_DEV_WRITE, CFS_DEV_FLUSH };

struct cfs_dev_io {
	uint8_t op; /* enum cfs_dev_op */
	uint64_t off_bytes;
	const struct iovec *iov; /* borrowed until done; not of a flush */
	uint32_t iov_count;
	uint32_t len_bytes; /* of all pieces */
	int rc;             /* 0 or a negative code; all or nothing */
	void (*fn)(struct cfs_dev_io *io);
	void *arg;
	/* private to the back end */
	struct cfs_io io;
	struct iovec one;
	struct iovec *rest; /* pieces not yet transferred after a short transfer */
	uint32_t done_bytes;
	void *dev;
};

/* What a store asks of its tail's memory. */
struct cfs_tail_request {
	const char *dir; /* NULL: the back end's own rule */
	uint8_t uuid[16];
	uint32_t slice;
	uint64_t bytes; /* of a new one */
	bool is_new;    /* make one, whatever is there; else: only what is there */
	bool is_read_only;
};

struct cfs_tail_memory {
	void *base; /* page-aligned */
	uint64_t bytes;
	uint8_t boot_id[16]; /* of this boot: the memory of another one is void */
	char path[256];      /* for unlink; "" in a simulation */
};

struct cfs_device_ops {
	const char *name;
	void (*submit)(void *dev, struct cfs_dev_io *io);
	/* Blocks (called on an offload thread). 0; -ENOENT; -ENOSPC; -errno. */
	int (*tail_map)(void *dev, const struct cfs_tail_request *r, struct cfs_tail_memory *out);
	/* Blocks. @is_kept: the next open finds it; else it is gone. */
	void (*tail_unmap)(void *dev, uint32_t slice, struct cfs_tail_memory *m, bool is_kept);
	void (*close)(void *dev);
};

/* The simulated device and its tails: memory that survives a simulated SIGKILL (tail kept) or power
 * cut (tail void; unflushed writes lost, torn at 512 bytes, or kept, each by the dice). Dice are
 * cfs_rand_u64(). */
struct cfs_sim_disk;
struct cfs_device;

struct cfs_sim_disk_opts {
	uint64_t size_bytes;
	uint64_t latency_min_ns, latency_max_ns;
};

int cfs_sim_disk_create(const struct cfs_sim_disk_opts *opts, struct cfs_sim_disk **out);
void cfs_sim_disk_destroy(struct cfs_sim_disk *d);
/* Formats it as cfs_store_mkfs() would. */
int cfs_sim_disk_mkfs(struct cfs_sim_disk *d, uint32_t stores, uint32_t shards,
		      const uint8_t uuid[16], const uint8_t hash_key[16]);
/* A device on it; more than one may be open only for reading. After a kill the old one is only to
 * be closed. */
int cfs_sim_disk_open(struct cfs_sim_disk *d, struct cfs_device **out);
/* SIGKILL: requests under way complete or not (or in part), by the dice, their callbacks never run;
 * the tails stay. Abandon the process's fibers first (cfs_domain_abandon(), cfs_store_abandon()).
 */
void cfs_sim_disk_kill(struct cfs_sim_disk *d);
/* Power cut: as above, then every write since its last flush is kept, lost or torn by the dice;
 * tails are void. */
void cfs_sim_disk_power_cut(struct cfs_sim_disk *d);
uint64_t cfs_sim_disk_writes(const struct cfs_sim_disk *d); /* device writes so far */
uint64_t cfs_sim_disk_flushes(const struct cfs_sim_disk *d);
/* Calls @fn(@arg) (outside of fibers) just before write number @n takes effect; it may kill or cut.
 */
void cfs_sim_disk_at_write(struct cfs_sim_disk *d, uint64_t n, void (*fn)(void *arg), void *arg);
/* Faults: the next read or write that touches @off_bytes gives -EIO; a stored byte is flipped. */
void cfs_sim_disk_fail_at(struct cfs_sim_disk *d, uint64_t off_bytes, int is_write);
void cfs_sim_disk_fail_clear(struct cfs_sim_disk *d); /* faults that have not hit yet never do */
void cfs_sim_disk_flip(struct cfs_sim_disk *d, uint64_t off_bytes, uint8_t mask);
uint64_t cfs_sim_disk_bytes(const struct cfs_sim_disk *d);
/* The stored bytes as they are now, for comparison and for hashes. Valid until the next write. */
const uint8_t *cfs_sim_disk_data(const struct cfs_sim_disk *d);

#endif
