/*
 * Transactions over shards: two-phase commit (doc/design/transactions.md). The shard that got the
 *request coordinates.
 *
 *	coordinator: number the try, lock the own keys, send all prepares
 *	participant: lock its keys or say busy, evaluate its steps, place a PREPARE record with the
 *results coordinator: all prepared: place one record with its own results, the answer and the
 *decision; answer; tell the participants; keep the decision until their commits are stable
 *	participant: told, or after asking: place a record with the results and the end of the
 *number
 *
 * Busy lets all go; the retry takes the keys in order of (home shard, number), waiting. Keys are
 *inode numbers. A key is in one transaction at a time; local changes go past one that is only
 *locked (what a transaction rests on is checked again when it decides), and wait for one that is
 *prepared.
 */
#ifndef CFS_META_TX_H
#define CFS_META_TX_H

#include "meta/tx_step.h"

#define CFS_TX_SHARDS_MAX 6u                  /* own one and participants */
#define CFS_TX_ASK_NS (2000ull * 1000 * 1000) /* a participant asks by itself after this */
#define CFS_TX_ASK_SOON_NS (1000ull * 1000)   /* and this soon when somebody waits */

/* What a transaction does in one shard. */
struct cfs_tx_piece {
	uint32_t shard;
	struct cfs_items steps;
	struct cfs_tx_keys keys;
	/* after its prepare */
	int rc;
	struct cfs_record_dep at; /* its record */
	struct cfs_tx_seen seen;
	uint8_t bytes[CFS_TX_STEPS_BYTES_MAX];
};

/* An operation as pieces. One that has all in its own shard is one record, without any of the
 * above. */
struct cfs_tx {
	struct cfs_meta *meta;
	struct cfs_shard_request *rq;
	struct cfs_tx_piece *pieces[CFS_TX_SHARDS_MAX];
	uint32_t count;
	bool uses_serial; /* the decision rests on where the number came from */
	bool is_freeing;
	/* Called when the outcome is certain, before the record: puts what is known now in the
	 * reply. */
	void (*reply)(struct cfs_tx *tx, void *ctx);
	void *ctx;
};

void cfs_tx_init(struct cfs_tx *tx, struct cfs_meta *m, struct cfs_shard_request *rq);
void cfs_tx_fini(struct cfs_tx *tx);
/* Where to add steps for @shard; NULL: no memory, or too many shards. */
struct cfs_items *cfs_tx_at(struct cfs_tx *tx, uint32_t shard);
/* The piece of @shard, NULL: none. */
const struct cfs_tx_piece *cfs_tx_piece_of(const struct cfs_tx *tx, uint32_t shard);

/*
 * Carries it out: 0 with the record placed and the reply committed; -CFS_EAGAIN_LATER: what the
 * steps rest on has changed, build it anew (after a wait where that is needed); other: why not,
 * nothing is changed. A tx runs once.
 */
CFS_AWAITS int cfs_tx_run(struct cfs_tx *tx);

/* --- the part's own --- */

int cfs_tx_table_create(struct cfs_meta *m);
void cfs_tx_table_destroy(struct cfs_meta *m);
CFS_AWAITS int cfs_tx_serve_prepare(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_tx_serve_end(struct cfs_meta *m, struct cfs_shard_request *rq);
/* Recalls what leases are in the way of the steps in the request. */
CFS_AWAITS int cfs_tx_serve_recall(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_tx_serve_ask(struct cfs_meta *m, struct cfs_shard_request *rq);
int cfs_tx_apply(struct cfs_meta *m, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		 bool is_load);
CFS_AWAITS int cfs_tx_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c);
/* All records are loaded: locks what is prepared. Before the first request. */
void cfs_tx_ready(struct cfs_meta *m);
/* Asks about what is prepared, tells what is decided. */
int cfs_tx_resume(struct cfs_meta *m);
void cfs_tx_walk(const struct cfs_meta *m, void (*fn)(void *ctx, const struct cfs_meta_fact *fact),
		 void *ctx);
void cfs_tx_check(const struct cfs_meta *m, void (*report)(void *ctx, const char *what), void *ctx);

/* As cfs_meta_settle(), only if what is prepared changes @name of @dir. */
CFS_AWAITS int cfs_tx_settle_name(struct cfs_meta *m, uint64_t dir, struct cfs_bytes name);

#endif
