/*
 * A store: an exclusive slice of one device, written as one log by one core (doc/design/store.md).
 *
 * The store knows segments, streams, records and blocks; it does not know what is in a record.
 * Above it, a *shard* places records; below it, a device has zones. One store carries the logs of
 * many shards in one journal.
 *
 * Life of a change, on the store's core:
 *   1. cfs_store_reserve()      may wait: room in the tail, in the journal, blocks for data
 *   2. cfs_store_alloc()        addresses for data blocks, in a stream's open segment; never waits
 *   3. cfs_store_data_tail()    small data, copied to the tail's data ring; never waits; or
 *      cfs_store_data_write()   large data, on the device before the record is placed; waits
 *   4. cfs_store_place()        the record is whole in the tail: beyond SIGKILL; never waits
 *   5. cfs_store_unreserve()    what was not used
 * Between 1 and 4 without large data nothing suspends, so a shard checks, places and applies in one
 * step.
 *
 * Everything placed is written out and flushed every flush_interval, and when somebody syncs: one
 * device flush serves all waiters of all stores of that device on this core.
 */
#ifndef CFS_STORE_STORE_H
#define CFS_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fiber.h"

#define CFS_TAIL_DATA_MAX (64u * 1024)     /* one cfs_store_data_tail() */
#define CFS_RECORD_BYTES_MAX (128u * 1024) /* payload; inline data included */
#define CFS_RECORD_DEPS_MAX 16u
#define CFS_EXTENT_BLOCKS_MAX 256u /* 1 MiB */

struct cfs_store;
struct cfs_device;

/* A block address within a store: segment (zone) number in the upper 32 bits, block in the lower.
 * Never 0. */
typedef uint64_t cfs_addr_t;
#define CFS_ADDR_NONE 0ull
static inline uint32_t cfs_addr_segment(cfs_addr_t a)
{
	return (uint32_t)(a >> 32);
}
static inline uint32_t cfs_addr_block(cfs_addr_t a)
{
	return (uint32_t)a;
}

/* Placement classes; each has its own open segment. */
enum cfs_stream {
	CFS_STREAM_JOURNAL,
	CFS_STREAM_HOT,
	CFS_STREAM_CHECKPOINT,
	CFS_STREAM_RELOCATED,
	CFS_STREAM_COUNT
};

/* What a record rests on: that record is to be stable before this one is. */
struct cfs_record_dep {
	uint32_t shard;
	uint32_t reserved; /* 0 */
	uint64_t epoch;
	uint64_t index;
};

/* A record as placed and as replayed. @payload is opaque here. */
struct cfs_record {
	uint32_t shard;
	uint16_t kind; /* the shard layer's */
	uint16_t dep_count;
	uint64_t epoch; /* shard epoch in which it was placed */
	uint64_t index; /* in its shard's log, from 1, without gaps */
	const struct cfs_record_dep *deps;
	const uint8_t *payload;
	uint32_t len_bytes;
};

/* Data blocks that a record names, for verification after a power cut. */
struct cfs_block_ref {
	cfs_addr_t addr;
	uint32_t blocks;
	const uint32_t *crcs; /* CRC32C per block, may point into the record's payload */
};

/* --- making and opening --- */

struct cfs_mkfs_opts {
	const char *path;     /* a new file or a block device */
	uint64_t size_bytes;  /* of a new file; 0: whole device */
	uint32_t stores;      /* slices; 0: default */
	uint32_t shards;      /* of the volume; power of two; 0: 256 */
	bool is_forced;       /* overwrite what looks like somebody's data */
	uint8_t uuid[16];     /* all zero: random */
	uint8_t hash_key[16]; /* of places; all zero: random */
};

struct cfs_store_info {
	uint8_t uuid[16];
	uint8_t hash_key[16];
	uint32_t version;
	uint32_t stores, store; /* slices on this device, and which this is */
	uint32_t shards;
	uint32_t zone_blocks, zones; /* of this slice */
	uint64_t capacity_bytes;     /* what data may use */
};

/* Formats. Blocks; no runtime is needed. @err_out, when not NULL, receives a sentence with cause
 * and next step. Returns 0; -EEXIST (a file is there, or the device is not empty); -EINVAL (too
 * small); -EIO; -ENOSPC; -EBUSY. A new file that could not be finished is removed. */
int cfs_store_mkfs(const struct cfs_mkfs_opts *opts, char *err_out, uint32_t err_bytes);
/* Reads a device's superblock without opening it for use. -CFS_ENOT_A_STORE; -CFS_EBAD_VERSION;
 * -CFS_EBAD_CHECKSUM; -errno. */
int cfs_store_probe(const char *path, struct cfs_store_info *out, char *err_out,
		    uint32_t err_bytes);

/* Opens a store file or device of this machine, exclusively by flock (readers share). Blocks, up to
 * 2 s when it is in use: -CFS_ESTORE_BUSY. A damaged superblock is mended from the other. Slices
 * are opened from it, each on the core that will drive it. */
int cfs_device_open(const char *path, bool is_read_only, struct cfs_device **out, char *err_out,
		    uint32_t err_bytes);
void cfs_device_close(struct cfs_device *dev);
const struct cfs_store_info *cfs_device_info(const struct cfs_device *dev);

struct cfs_store_opts {
	const char *tail_dir;       /* NULL: /dev/shm when it has room, else beside the store */
	uint64_t tail_bytes;        /* record ring + data ring; 0: 32 MiB */
	uint64_t cache_bytes;       /* read cache of blocks; 0: none */
	uint64_t flush_interval_ns; /* 0: 1 s */
	bool is_read_only;          /* fsck: writes nothing, replays what is there */
};

/* Returns 0 with a store in recovery (cfs_store_recover_* next), on the calling core. */
CFS_AWAITS int cfs_store_open(struct cfs_device *dev, uint32_t slice,
			      const struct cfs_store_opts *opts, struct cfs_store **out);
/* Joins its fibers, writes out, flushes, removes the tail. A tail that could not be written out is
 * kept. Frees @s in any case. 0; -EIO. */
CFS_AWAITS int cfs_store_close(struct cfs_store *s);

/*
 * Recovery, in steps that the caller interleaves over all stores of the node:
 *   scan   each shard's newest checkpoint and last good record, from journal and tail; without a
 * tail (power cut) data named since the last known flush is verified, by @refs cut    the caller
 * lowers a shard's end (order across shards) from the deps that scan hands out load   checkpoint
 * pieces, then records, all shards' in the order of placing; then it is ready What is behind an end
 * is void for ever: load places and flushes a cut record before it returns.
 */
struct cfs_store_recovery_shard {
	uint32_t shard;
	uint64_t last_epoch; /* of the last good record; 0 with last_index 0: empty */
	uint64_t last_index;
	uint64_t checkpoint_index; /* replay starts after it; 0: none */
};

struct cfs_store_recovery_ops {
	void *ctx;
	/* Lists the data blocks of record @r. Returns the count, at most @max; -CFS_EBAD_FORMAT. */
	int (*refs)(void *ctx, const struct cfs_record *r, struct cfs_block_ref *out, uint32_t max);
	/* Scan: a record with deps that is not known to be stable. */
	int (*dep)(void *ctx, const struct cfs_record *r);
	/* Load: a piece of @shard's checkpoint; as it was given to cfs_store_checkpoint_write(). */
	int (*checkpoint)(void *ctx, uint32_t shard, const uint8_t *data, uint32_t len_bytes);
	/* Load: the next record of its shard. */
	int (*record)(void *ctx, const struct cfs_record *r);
	/* Anything found broken, in words, with what it hits; fsck prints them. NULL: ignored. */
	void (*finding)(void *ctx, const char *what);
};

CFS_AWAITS int cfs_store_recover_scan(struct cfs_store *s,
				      const struct cfs_store_recovery_ops *ops);
uint32_t cfs_store_recover_shard_count(const struct cfs_store *s);
void cfs_store_recover_shard(const struct cfs_store *s, uint32_t i,
			     struct cfs_store_recovery_shard *out);
void cfs_store_recover_cut(struct cfs_store *s, uint32_t shard, uint64_t last_index);
/* True when the tail of this very store survived, so that nothing placed was lost. */
bool cfs_store_recover_had_tail(const struct cfs_store *s);
/* @new_epoch is the epoch in which new records are placed. */
CFS_AWAITS int cfs_store_recover_load(struct cfs_store *s, const struct cfs_store_recovery_ops *ops,
				      uint64_t new_epoch);

/* --- changes --- */

struct cfs_reservation {
	uint32_t record_bytes; /* payload of all records to come, together */
	uint32_t records;
	uint32_t tail_blocks;   /* data for the tail's ring */
	uint32_t alloc_blocks;  /* data blocks to allocate, tail_blocks among them */
	bool is_freeing;        /* deletes and cleaning may use the reserve */
	enum cfs_stream stream; /* where alloc_blocks go; 0: HOT; for the cleaner RELOCATED */
};

/* Waits until there is room, in order of arrival, those that free space first; who waits holds no
 * other reservation. 0; -ENOSPC: cleaning cannot make enough; -EINVAL: more than could ever fit;
 * -ECANCELED; -ETIMEDOUT; -EIO: the store failed. */
CFS_AWAITS int cfs_store_reserve(struct cfs_store *s, const struct cfs_reservation *r);
void cfs_store_unreserve(struct cfs_store *s, const struct cfs_reservation *r);

/* Allocates up to @blocks, contiguous; returns how many (at least 1) and where. Taken from what is
 * reserved in @stream, as data_tail() and place() take theirs. */
uint32_t cfs_store_alloc(struct cfs_store *s, enum cfs_stream stream, uint32_t blocks,
			 cfs_addr_t *addr_out);
/* Gives back blocks that no record names, and that no write is under way to. */
void cfs_store_alloc_undo(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks);
/* Copies whole blocks to the tail's ring; write-out brings them to @addr. */
void cfs_store_data_tail(struct cfs_store *s, cfs_addr_t addr, const void *data, uint32_t blocks);
/* Writes whole blocks to the device; page-aligned @data. Returns 0; -EIO. */
CFS_AWAITS int cfs_store_data_write(struct cfs_store *s, cfs_addr_t addr, const void *data,
				    uint32_t blocks);
/* Reads whole blocks (page-aligned @data) from ring, cache or device, and verifies @crcs when not
 * NULL. -CFS_EBAD_CHECKSUM; -EIO. The caller holds a pin (below) on the segment since it looked up
 * the address. */
CFS_AWAITS int cfs_store_data_read(struct cfs_store *s, cfs_addr_t addr, void *data,
				   uint32_t blocks, const uint32_t *crcs);
void cfs_store_pin(struct cfs_store *s, cfs_addr_t addr); /* its segment is not reset meanwhile */
void cfs_store_unpin(struct cfs_store *s, cfs_addr_t addr);

/* Places a record: whole in the tail on return. Indices of a shard follow each other, its epochs
 * never fall. */
void cfs_store_place(struct cfs_store *s, const struct cfs_record *r);

/* Space accounting, by the shard's tables as they change, at replay too, right behind the record. A
 * block may have several owners; it is live until all dropped it. @owner is opaque. */
struct cfs_extent_owner {
	uint64_t ino;
	uint64_t chunk; /* of the file */
	uint32_t block; /* within the chunk */
	uint32_t shard;
};
void cfs_store_extent_add(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks,
			  const struct cfs_extent_owner *owner);
void cfs_store_extent_drop(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks);
/* May live blocks get one more owner? No: one of them has very many, or the list of owners of their
 * segment would grow past all bounds. */
bool cfs_store_is_shareable(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks);
/*
 * For cfs_store_relocate_fn: blocks that have several owners are copied for the first of them, who
 * says where with cfs_store_moved() in the step that places its record; the others find it, and
 * their records name it too. moved_find: the length of the run from @from on, of at most @blocks,
 * that was moved to *@to_out and on; or, with CFS_ADDR_NONE there, that is to be copied. Good until
 * the caller suspends.
 */
void cfs_store_moved(struct cfs_store *s, cfs_addr_t from, cfs_addr_t to, uint32_t blocks);
uint32_t cfs_store_moved_find(struct cfs_store *s, cfs_addr_t from, uint32_t blocks,
			      cfs_addr_t *to_out);

/* --- sync and stable --- */

/* Everything placed in this store before the call is on the device on return. 0; -EIO. One flush
 * serves all waiters. */
CFS_AWAITS int cfs_store_sync(struct cfs_store *s);
bool cfs_store_is_dirty(const struct cfs_store *s); /* something placed is not flushed */

/*
 * Stable: a node-wide count. What is placed or freed carries the present tick. The server's ticker
 * begins a tick on all stores, flushes all, and then says that the tick before is stable: all that
 * carries it, and all that this rests on, is flushed. Freed space is used again once its tick is.
 */
void cfs_store_tick_begin(struct cfs_store *s, uint64_t tick);  /* 1 is the first, begun at open */
void cfs_store_tick_stable(struct cfs_store *s, uint64_t tick); /* all up to @tick, that is over */
/* True when space or journal is short and waits for a tick: the ticker need not wait for its
 * interval. */
bool cfs_store_tick_wanted(const struct cfs_store *s);
uint64_t cfs_store_tick_stable_now(const struct cfs_store *s);
uint64_t cfs_store_tick_now(const struct cfs_store *s);

/* --- checkpoints --- */

/* Called by the store (checkpointer, cleaner) for a shard whose checkpoint is to be written anew:
 * the callee calls cfs_store_checkpoint_begin(), _write() for pieces, _end(). */
typedef CFS_AWAITS int (*cfs_store_checkpoint_fn)(void *ctx, uint32_t shard);
/* Called by the cleaner, on several fibers: moves what @owner still has in the extent out of it
 * (reads, allocates in RELOCATED, places a record). An extent may be named that is @owner's no
 * more. */
typedef CFS_AWAITS int (*cfs_store_relocate_fn)(void *ctx, const struct cfs_extent_owner *owner,
						cfs_addr_t addr, uint32_t blocks);
void cfs_store_callbacks(struct cfs_store *s, cfs_store_checkpoint_fn checkpoint,
			 cfs_store_relocate_fn relocate, void *ctx);
/* Does @owner still have some of these blocks? Asked about segments with blocks of several owners,
 * to forget those that have gone; never suspends. The same @ctx. Without it the list only grows. */
typedef bool (*cfs_store_owns_fn)(void *ctx, const struct cfs_extent_owner *owner, cfs_addr_t addr,
				  uint32_t blocks);
void cfs_store_owns_callback(struct cfs_store *s, cfs_store_owns_fn owns);
/* Starts write-out, checkpointer and cleaner; after load and callbacks. */
int cfs_store_start(struct cfs_store *s);

struct cfs_checkpoint;
/* @index: the shard's last applied record now; replay will start after it. One checkpoint at a time
 * is written in a store; waits. -EBUSY: the shard's last one does not count yet; -ENOMEM. */
CFS_AWAITS int cfs_store_checkpoint_begin(struct cfs_store *s, uint32_t shard, uint64_t index,
					  struct cfs_checkpoint **out);
/* One piece, at most CFS_RECORD_BYTES_MAX. 0; -ENOSPC; -EIO. */
CFS_AWAITS int cfs_store_checkpoint_write(struct cfs_checkpoint *c, const void *data,
					  uint32_t len_bytes);
/* It counts once all that was applied when it ended (@end_index) is stable; until then the one
 * before counts. Takes @c. @rc < 0: abandons it. */
CFS_AWAITS int cfs_store_checkpoint_end(struct cfs_checkpoint *c, uint64_t end_index, int rc);

/* --- numbers --- */

struct cfs_store_stats {
	uint64_t capacity_bytes, live_bytes, free_zones, zones;
	uint64_t records, record_bytes, tail_used_bytes, tail_bytes;
	uint64_t flushes, syncs, journal_writes, journal_bytes, data_writes, data_bytes;
	uint64_t reads, read_bytes, cache_hits, checkpoints, checkpoint_bytes;
	uint64_t segments_cleaned, relocated_bytes, bad_blocks;
};
void cfs_store_stats(const struct cfs_store *s, struct cfs_store_stats *out);
const struct cfs_store_info *cfs_store_info(const struct cfs_store *s);
/* Asserts its invariants (tests, simulator). */
void cfs_store_check(const struct cfs_store *s);
/* Simulator only: frees the memory of a store whose process was killed. Its fibers are forgotten
 * already (cfs_domain_abandon()), and the disk is killed before time goes on. */
void cfs_store_abandon(struct cfs_store *s);

#endif
