/*
 * Inside of transactions: what tx.c (participant, locks) and tx_run.c (coordinator) share.
 */
#ifndef CFS_META_TX_INTERNAL_H
#define CFS_META_TX_INTERNAL_H

#include "base/reactor.h"
#include "meta/tx.h"

#define CFS_TX_BUCKETS 256u
#define CFS_TX_DEP_BYTES 24u /* (shard, epoch, index), 64 bits each */

struct cfs_tx_number {
	uint64_t shard, epoch, count;
};

/* Who holds a key: a prepared transaction or a try that runs here. */
struct cfs_tx_holder {
	struct cfs_tx_prepared *prepared; /* NULL: a coordinator's try */
	bool is_aborted;                  /* give up waiting */
};

/* A key that is held or waited for. */
struct cfs_tx_key {
	struct cfs_list link;
	uint64_t ino;
	const struct cfs_tx_holder *holder;
	struct cfs_waitq waiters;
	uint32_t waiting;
};

/* A participant's. In the table from the prepare's arrival on; what it holds is placed or not yet.
 */
struct cfs_tx_prepared {
	struct cfs_list link;
	struct cfs_meta *meta;
	struct cfs_tx_number number;
	struct cfs_tx_holder holder;
	struct cfs_tx_keys keys;
	uint8_t *results;
	uint32_t result_bytes;
	uint32_t refs;
	struct cfs_shard_pos at; /* its record */
	struct cfs_tx_seen seen; /* for a repeated prepare */
	struct cfs_timer timer;  /* until it asks */
	struct cfs_waitq waiters;
	bool is_placed, is_over, is_asking;
};

struct cfs_tx_ended {
	struct cfs_rb_node node;
	struct cfs_tx_number number;
};

/* A coordinator as its participant knows it. */
struct cfs_tx_peer {
	struct cfs_list link;
	uint64_t shard;
	struct cfs_tx_number floor;
	struct cfs_rb ended; /* by (epoch, count), from floor on */
};

enum cfs_tx_try_state { CFS_TX_RUNNING, CFS_TX_DECIDED };

/* A coordinator's try, or its decision. */
struct cfs_tx_try {
	struct cfs_rb_node node; /* tries, by (epoch, count) */
	struct cfs_list link;    /* told: waits until that is stable */
	struct cfs_meta *meta;
	struct cfs_tx_number number;
	struct cfs_tx_holder holder;
	enum cfs_tx_try_state state;
	struct cfs_waitq askers;
	struct cfs_shard_pos at; /* the decision's record */
	uint64_t tick;           /* of when all were told */
	uint32_t refs;
	uint32_t shard_count;
	uint32_t shards[CFS_TX_SHARDS_MAX]; /* participants */
	bool is_telling, is_removed;
};

struct cfs_tx_table {
	struct cfs_list keys[CFS_TX_BUCKETS];
	struct cfs_list prepared[CFS_TX_BUCKETS];
	struct cfs_list peers;
	struct cfs_rb tries;
	struct cfs_list told;
	uint64_t next_count; /* of the next try in this shard epoch */
	uint32_t key_count;
	bool is_forgetting; /* the fiber runs */
};

int cfs_tx_number_cmp(const struct cfs_tx_number *a,
		      const struct cfs_tx_number *b); /* of one shard */
struct cfs_meta_tx_number cfs_tx_number_encode(const struct cfs_tx_number *n);
struct cfs_tx_number cfs_tx_number_of(const struct cfs_msg *msg);
void cfs_tx_dep_encode(uint8_t out[CFS_TX_DEP_BYTES], uint32_t shard,
		       const struct cfs_shard_pos *pos);

/* All or nothing, without waiting: -CFS_EBUSY_TX. */
int cfs_tx_lock_try(struct cfs_meta *m, struct cfs_tx_holder *h, const struct cfs_tx_keys *keys);
/* One after the other, waiting. On failure the holder still has some: unlock. -ECANCELED;
 * -ETIMEDOUT; -ENOMEM. */
CFS_AWAITS int cfs_tx_lock_wait(struct cfs_meta *m, struct cfs_tx_holder *h,
				const struct cfs_tx_keys *keys);
void cfs_tx_unlock(struct cfs_meta *m, const struct cfs_tx_holder *h,
		   const struct cfs_tx_keys *keys);

struct cfs_tx_key *cfs_tx_key_find(struct cfs_tx_table *t,
				   uint64_t ino); /* NULL: neither held nor waited for */

/* tx.c: a prepared one is in somebody's way; asks its coordinator soon. */
void cfs_tx_ask_soon(struct cfs_tx_prepared *p);

/* tx_ended.c */
struct cfs_tx_peer *cfs_tx_peer_get(struct cfs_tx_table *t, uint64_t shard); /* NULL: no memory */
bool cfs_tx_peer_refuses(const struct cfs_tx_peer *peer, const struct cfs_tx_number *n);
int cfs_tx_ended_add(struct cfs_tx_table *t, const struct cfs_tx_number *n); /* 0; -ENOMEM */
/* The coordinator keeps nothing below @floor. 0; -ENOMEM. */
int cfs_tx_floor_raise(struct cfs_tx_table *t, const struct cfs_tx_number *floor);
CFS_AWAITS int cfs_tx_checkpoint_peer(struct cfs_tx_peer *peer, struct cfs_checkpoint *c);
void cfs_tx_peers_fini(struct cfs_tx_table *t);

/* tx_run.c */
bool cfs_tx_is_leased(const struct cfs_meta *m, const struct cfs_tx_keys *keys, uint64_t session);
int cfs_tx_apply_decide(struct cfs_meta *m, const struct cfs_item *item,
			const struct cfs_shard_pos *pos);
int cfs_tx_apply_forget(struct cfs_meta *m, const struct cfs_item *item);
int cfs_tx_resume_tries(struct cfs_meta *m);
CFS_AWAITS int cfs_tx_checkpoint_tries(struct cfs_meta *m, struct cfs_checkpoint *c);
void cfs_tx_walk_tries(const struct cfs_meta *m,
		       void (*fn)(void *ctx, const struct cfs_meta_fact *fact), void *ctx);
bool cfs_tx_is_decided(const struct cfs_meta *m, const struct cfs_tx_number *n);
void cfs_tx_tries_fini(struct cfs_meta *m);

#endif
