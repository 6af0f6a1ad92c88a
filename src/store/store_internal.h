/*
 * Inside of a store. Everything here belongs to the store's core.
 *
 * Positions: the journal is one stream of bytes. written <= head; flushed <= written.
 *   head     end of what is placed (whole in the tail)
 *   written  what the device has accepted; the tail's ring need not keep it; on a block's border
 *   flushed  what a flush has covered
 *   known    what a BATCH record that is itself flushed says to be flushed: recovery verifies no
 * data named before it. So only what was dropped before `known` may be overwritten.
 *   stable   before it no recovery ends a log; known_stable: what such a BATCH says of it
 * Recovery takes a checkpoint for one that has counted when its record lies before known_stable;
 * so it counts then, and not before, and only then lets go of what it replaces.
 */
#ifndef CFS_STORE_STORE_INTERNAL_H
#define CFS_STORE_STORE_INTERNAL_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "store/cache.h"
#include "store/device_internal.h"
#include "store/space_rules.h"
#include "store/store.h"
#include "store/store_format.h"
#include "store/tail.h"

#define CFS_STORE_IOS 16u
#define CFS_STORE_TICKS 16u
#define CFS_JOURNAL_BATCHES_MAX 256u
#define CFS_NO_ZONE UINT32_MAX

/* ---- segments ---- */

enum cfs_segment_state {
	CFS_SEGMENT_FREE,
	CFS_SEGMENT_OPEN,
	CFS_SEGMENT_SEALED,
	CFS_SEGMENT_STATE_COUNT
};

struct cfs_owner_entry {
	struct cfs_extent_owner owner;
	uint32_t block, blocks;
};

/* Where the cleaner put a block that has several owners: the next one's goes there too. */
struct cfs_moved_block {
	cfs_addr_t to;
	uint64_t seq; /* of the segment there */
};

struct cfs_segment {
	uint8_t state; /* moved by cfs_segment_move() only */
	uint8_t stream;
	bool is_header_due; /* its header is to be written with the next write-out; it is in `due`
			     */
	bool is_touched;    /* replay named blocks in it */
	bool is_owner_lost; /* memory was short: its owners are not all known, it cannot be cleaned
			     */
	uint8_t clean_tries;
	uint32_t zone;
	uint32_t fill;      /* next block */
	uint32_t live;      /* blocks that somebody owns */
	uint32_t in_flight; /* allocated, not owned yet */
	uint32_t pins;
	uint64_t seq;
	uint64_t drop_tick; /* stable when what was last dropped is */
	uint64_t drop_pos;  /* the journal's head at the last drop */
	uint64_t *bits;     /* live blocks */
	uint16_t *shares;   /* owners per block, once any has two; else NULL */
	struct cfs_owner_entry *owners;
	uint32_t owner_count, owner_cap, owner_compact_at;
	struct cfs_list dead_link; /* sealed and without live blocks: to be freed */
};

struct cfs_space {
	struct cfs_segment *segments; /* [zones] */
	uint64_t *bits;               /* of all segments */
	uint32_t *free; /* a stack: what was freed last is taken first, so that the bottom stays
			 * as the newest journal segment's bitmap has it */
	uint32_t free_count;
	uint32_t *due; /* a stack: zones whose headers are to be written */
	uint32_t due_count;
	uint32_t open[CFS_STREAM_COUNT]; /* zone or CFS_NO_ZONE */
	uint64_t live, in_flight;        /* blocks */
	uint64_t capacity;               /* blocks */
	struct cfs_list dead;
	uint32_t dead_count;
	uint64_t next_seq;
	uint32_t journal_quota; /* zones: budget and spare */
};

void cfs_segment_move(struct cfs_segment *seg, enum cfs_segment_state to);
int cfs_space_init(struct cfs_store *s);
void cfs_space_fini(struct cfs_store *s);
/* Free zones that data may take: the journal's quota is not among them. */
uint32_t cfs_space_available(const struct cfs_store *s);
/* Takes a free zone and opens it for @stream. There must be one. */
uint32_t cfs_space_open_zone(struct cfs_store *s, enum cfs_stream stream);
void cfs_space_release_zone(struct cfs_store *s, uint32_t zone); /* to FREE, content void */
/* Frees what is dead for good. True when anything was. */
bool cfs_space_reap(struct cfs_store *s);
/* Forgets what cfs_store_moved() said: before and after the cleaning of a segment. */
void cfs_space_moved_reset(struct cfs_store *s);
/* Zones that reservations of @extra more blocks in @stream may need. */
uint32_t cfs_space_zones_needed(const struct cfs_store *s, enum cfs_stream stream, uint32_t extra);
/* After load: what is free, dead, sealed. @bitmap: of the newest journal segment. */
void cfs_space_settle(struct cfs_store *s, const uint8_t *bitmap, uint64_t bitmap_seq);
/* Live blocks without an owner (checkpoints). */
void cfs_space_live_add(struct cfs_store *s, cfs_addr_t addr, uint32_t blocks);
/* Drops all that lives in @zone. */
void cfs_space_forget(struct cfs_store *s, uint32_t zone);
void cfs_space_check(const struct cfs_store *s);

/* ---- shards ---- */

struct cfs_ckpt_extent {
	cfs_addr_t addr;
	uint32_t blocks, crc;
};

/* A checkpoint as known in memory. */
struct cfs_ckpt {
	bool is_there;
	bool is_listed; /* the newest journal segment's roots name it */
	bool is_rooted; /* and that segment's header is flushed */
	struct cfs_root root;
	struct cfs_ckpt_extent *extents; /* the index's own is the last */
	uint32_t extent_count;
};

struct cfs_store_shard {
	uint64_t last_index, last_epoch;
	/* Of the first record behind the counted checkpoint, while it is the newest; UINT64_MAX:
	 * there never was one. */
	uint64_t first_pos;
	struct cfs_ckpt counted, pending;
	bool is_known;
};

/* The last record that the counted checkpoint holds; 0: none. */
static inline uint64_t cfs_shard_begin_index(const struct cfs_store_shard *sh)
{
	return sh->counted.is_there ? sh->counted.root.begin_index : 0;
}

/* ---- journal ---- */

struct cfs_journal_segment {
	uint32_t zone;
	uint32_t roots_blocks;
	uint64_t seq, start_pos;
};

struct cfs_waiter {
	struct cfs_list link;
	struct cfs_done done;
	struct cfs_reservation need;
};

/* What a BATCH says to be flushed and stable. */
struct cfs_claim {
	uint64_t flushed, stable;
};

struct cfs_journal {
	struct cfs_journal_segment *segments; /* oldest first; the last is open */
	uint32_t count, cap;
	uint64_t flushed, known, stable, known_stable;
	struct cfs_claim claim;         /* what the newest BATCH says */
	struct cfs_claim claim_written; /* the newest one that is written */
	uint64_t dirty_since_ns;
	uint64_t incarnation, session, session_before;
	uint32_t seed;
	uint64_t batch_start, batch_bytes_max;
	uint64_t
		batches[CFS_JOURNAL_BATCHES_MAX]; /* starts of those that are not written; a ring */
	uint32_t batch_first, batch_count;
	bool needs_batch; /* the next record opens a batch */
	bool must_open;   /* the last segment has no good roots: the next batch opens another */
	bool is_due;      /* a write-out was asked for */
	struct cfs_lock round_lock;
	uint8_t *roots; /* header, roots and bitmap of the segment being opened */
	uint64_t budget_bytes, spare_bytes;
};

/* ---- the store ---- */

struct cfs_store_io {
	struct cfs_dev_io dev;
	struct cfs_store *store;
	struct iovec iov[CFS_DEV_IOV_MAX];
	uint8_t *block; /* for headers */
	bool is_busy;
};

struct cfs_recovery;

struct cfs_store {
	struct cfs_device *dev;
	uint32_t slice;
	struct cfs_store_opts opts;
	struct cfs_store_info info;
	bool is_ready, is_started, is_stopping;
	int failed; /* the error that ended it for changes */
	struct cfs_tail tail;
	struct cfs_space space;
	struct cfs_journal journal;
	struct cfs_cache cache;
	struct cfs_store_shard *shards; /* [info.shards] */
	struct cfs_store_io *ios;       /* [CFS_STORE_IOS], of the write-out */
	uint8_t *io_blocks;
	uint32_t io_pending;
	int io_rc; /* first error of this write-out */
	struct cfs_waitq io_wait;
	struct cfs_recovery *recovery;

	/* reservations */
	uint64_t resv_bytes, resv_records;
	uint64_t resv_tail;
	uint64_t resv_alloc[CFS_STREAM_COUNT];
	struct cfs_list waiting, waiting_freeing; /* cfs_waiter */

	/* ticks */
	uint64_t tick_now, tick_stable;
	struct {
		uint64_t tick, pos;
	} ticks[CFS_STORE_TICKS];

	/* background */
	struct cfs_group fibers;
	struct cfs_waitq writer_kick, checkpointer_kick, cleaner_kick;
	cfs_store_checkpoint_fn checkpoint_fn;
	cfs_store_relocate_fn relocate_fn;
	void *callback_ctx;
	struct cfs_lock ckpt_lock;
	uint8_t *ckpt_buf;
	bool is_cleaner_stuck, is_checkpointer_stuck;
	uint32_t victim;               /* zone being cleaned */
	cfs_store_owns_fn owns_fn;     /* NULL: nobody knows */
	struct cfs_moved_block *moved; /* [zone_blocks] of the victim, once there is one; NULL */
	uint32_t futile; /* segments cleaned since somebody who waited for zones got them */

	struct cfs_store_stats stats;
};

/* journal.c */
/* The position from which on the log is replayed on @c, one of @sh's checkpoints; UINT64_MAX: there
 * is nothing to replay. */
uint64_t cfs_shard_replay_pos(const struct cfs_store_shard *sh, const struct cfs_ckpt *c);
int cfs_journal_init(struct cfs_store *s);
void cfs_journal_fini(struct cfs_store *s);
/* What opening the next batch or record would put before it is put: the record's position is
 * tail.head. */
void cfs_journal_prepare(struct cfs_store *s);
/* Places one of the store's own records. Its room is in the slack, or reserved. */
void cfs_journal_place_own(struct cfs_store *s, uint16_t kind, uint32_t shard, const void *payload,
			   uint32_t len_bytes);
/* Opens a batch. None may be open. */
void cfs_journal_place_batch(struct cfs_store *s);
/* One write-out: all that is placed when it starts; flushed too if @is_flush. 0; -EIO. */
CFS_AWAITS int cfs_journal_round(struct cfs_store *s, bool is_flush);
/* Journal segments that nobody needs go back to the free ones. */
void cfs_journal_trim(struct cfs_store *s);
/* Lowest position that recovery would need if all pending checkpoints counted (@is_hopeful), or
 * now. @shard_out, when not NULL: whose it is, among those without a pending checkpoint, or
 * UINT32_MAX. */
uint64_t cfs_journal_oldest_needed(const struct cfs_store *s, bool is_hopeful, uint32_t *shard_out);
/* Makes @seg the last one. 0; -ENOMEM. */
int cfs_journal_segment_push(struct cfs_store *s, const struct cfs_journal_segment *seg);
uint64_t cfs_journal_segment_end(const struct cfs_store *s, const struct cfs_journal_segment *seg);
uint64_t cfs_journal_used_bytes(const struct cfs_store *s);
void cfs_journal_batch_push(struct cfs_journal *j, uint64_t pos);
/* Closes the batch that the session before us left open. */
void cfs_journal_resume(struct cfs_store *s);
void cfs_journal_writer(void *arg);
void cfs_store_fail(struct cfs_store *s, int rc);

/* reserve.c */
/* Grants what fits now to those who wait, in order. */
void cfs_reserve_pump(struct cfs_store *s);
bool cfs_reserve_wants_zones(const struct cfs_store *s);

/* checkpoint.c */
void cfs_checkpoint_settle(struct cfs_store *s); /* pending ones that count now */
/* One of them waits for nothing but that its record is known to be flushed. */
bool cfs_checkpoint_wants_known(const struct cfs_store *s);
void cfs_checkpointer(void *arg);
void cfs_ckpt_fini(struct cfs_ckpt *c);
/* Reads the index of @c->root. 0; negative: unreadable. */
CFS_AWAITS int cfs_ckpt_load_index(struct cfs_store *s, struct cfs_ckpt *c);
/* Hands out the pieces. */
CFS_AWAITS int cfs_ckpt_load(struct cfs_store *s, const struct cfs_ckpt *c, uint32_t shard,
			     const struct cfs_store_recovery_ops *ops);

/* clean.c */
void cfs_cleaner(void *arg);

/* recover.c */
void cfs_recovery_destroy(struct cfs_recovery *r);

#endif
