/*
 * The namespace part of a shard (doc/design/namespace.md, transactions.md): directories, inodes,
 * names, attributes, extended attributes, opens, locks, and two-phase commit for what spans shards.
 * It serves requests 16..44 and 64..68 of proto/msg.h and owns the items of meta_format.h. The
 * shard layer drives it through cfs_meta_part_ops; everything runs on the shard's core.
 */
#ifndef CFS_META_META_H
#define CFS_META_META_H

#include "repl/shard.h"

struct cfs_meta;

extern const struct cfs_shard_part_ops cfs_meta_part_ops;

/* The meta part of @sh. */
static inline struct cfs_meta *cfs_meta_of(const struct cfs_shard *sh)
{
	return sh->part[0];
}

/*
 * Makes the root directory if this is shard 0 and it has none: at first start, before serving. 0;
 * -ENOSPC; -EIO; or what the store's reservation returned.
 */
CFS_AWAITS int cfs_meta_make_root(struct cfs_shard *sh, uint32_t mode, uint32_t uid, uint32_t gid);

struct cfs_meta_stats {
	uint64_t inodes, dentries, orphans, opens;
	uint64_t tx_started, tx_committed, tx_aborted, tx_busy, tx_ordered, tx_asked;
	uint64_t tx_prepared_now, tx_decisions_now;
};
/* Walks all inodes: for tests and reports. */
void cfs_meta_stats(const struct cfs_meta *m, struct cfs_meta_stats *out);

/* Every session that has something open or locked, as often as it has: after a load nobody else
 * knows them.
 */
void cfs_meta_sessions(const struct cfs_meta *m, void (*fn)(void *ctx, uint64_t session),
		       void *ctx);

/*
 * Facts for a check over all shards: every inode, every dentry, every prepared transaction and kept
 * decision, in no order. Shards must be quiet meanwhile. A dentry's fact has dir and name, an
 * inode's has attr. The caller compares links with dentries, directories' parents with where they
 * are, and finds what cannot be reached.
 */
enum cfs_meta_fact_kind {
	CFS_META_FACT_INODE,
	CFS_META_FACT_DENTRY,
	CFS_META_FACT_PREPARED, /* ino: a key that is held */
	CFS_META_FACT_DECISION,
	CFS_META_FACT_LOCKS, /* ino: somebody holds locks of it */
};

struct cfs_meta_fact {
	enum cfs_meta_fact_kind kind;
	uint32_t shard;
	uint64_t ino, dir, place;
	uint32_t mode, uid, gid;     /* a dentry's */
	const struct cfs_attr *attr; /* an inode's */
	struct cfs_bytes name;       /* a dentry's; a directory inode's own name in attr->parent */
	bool is_open;                /* an inode's */
	bool is_bad;                 /* locks: they contradict each other */
	uint64_t tx_shard, tx_epoch, tx_count;
};
void cfs_meta_walk(const struct cfs_meta *m,
		   void (*fn)(void *ctx, const struct cfs_meta_fact *fact), void *ctx);

/*
 * For such a check, of shards that were loaded and never served: what is prepared here and was
 * decided takes place, in memory only, as the next start will have it. @coordinator gives the part
 * of a shard. 0; -CFS_EBAD_FORMAT; -ENOMEM.
 */
int cfs_meta_resolve(struct cfs_meta *m, struct cfs_meta *(*coordinator)(void *ctx, uint64_t shard),
		     void *ctx);

#endif
