/*
 * Leases: what a client may keep of an inode without asking (doc/design/leases.md).
 *
 * A lease is of one inode in its home shard: of a directory its names, those that are missing too,
 * and its attributes; of a file its attributes and contents. A session that has it alone
 * (*exclusive*) may change the inode while it has it; one that shares it has its own recalled like
 * those of others, so that nobody sees a change and then somebody else what was before it.
 *
 *	change	cfs_lease_clear() waits until nobody else has one, within cfs_meta_begin() and the
 *		prepare of a transaction. Nothing suspends between its last look and the record.
 *	read	cfs_lease_read() waits until nobody else has an exclusive one.
 *	grant	a record of its own, before what it covers is looked at; the reply tells the stamp.
 *	recall	counts up the shard's stamp. A client lets go of what it has and keeps nothing of a
 *		reply with a lower stamp.
 *
 * A lease that was given back has no record: after a restart it is there again, and recalled in
 * vain.
 */
#ifndef CFS_META_LEASE_H
#define CFS_META_LEASE_H

#include "meta/meta_internal.h"

struct cfs_lease_table;

int cfs_leases_create(struct cfs_meta *m, struct cfs_lease_table **out); /* 0; -ENOMEM */
void cfs_leases_destroy(struct cfs_lease_table *t);

/* Whether somebody's lease is in the way of a change of @ino by @session (0: nobody's). */
bool cfs_lease_is_in_way(const struct cfs_meta *m, uint64_t ino, uint64_t session);
/* Recalls what is in the way, until nothing is. 0; -ECANCELED; -ETIMEDOUT. */
CFS_AWAITS int cfs_lease_clear(struct cfs_meta *m, uint64_t ino, uint64_t session);
/* The same for who looks at @ino: an exclusive lease of somebody else. */
bool cfs_lease_hides(const struct cfs_meta *m, uint64_t ino, uint64_t session);
CFS_AWAITS int cfs_lease_read(struct cfs_meta *m, uint64_t ino, uint64_t session);

/*
 * Before @rq looks at @ino: settles it, sees to exclusive leases of others, and gives its session a
 * lease if it asks for one and may have it. 0; -ECANCELED; -ETIMEDOUT. Until the caller suspends
 * what it sees is what everybody sees.
 */
CFS_AWAITS int cfs_lease_look(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino);
/* Says in the reply that it may be kept, if the session has a lease on @ino. */
void cfs_lease_reply(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino);
/* @session has let go by itself, by a request that changes @ino. */
void cfs_lease_drop(struct cfs_meta *m, uint64_t ino, uint64_t session);

/* The inode is gone. */
void cfs_lease_forget(struct cfs_meta *m, uint64_t ino);

/* A client has answered a recall. */
void cfs_lease_recalled(struct cfs_meta *m, uint64_t session, uint64_t ino, uint64_t stamp);
bool cfs_lease_has_session(const struct cfs_meta *m, uint64_t session);
void cfs_lease_session_end(struct cfs_meta *m, uint64_t session);
void cfs_lease_sessions(const struct cfs_meta *m, void (*fn)(void *ctx, uint64_t session),
			void *ctx);

int cfs_lease_apply(struct cfs_meta *m, const struct cfs_item *item);
CFS_AWAITS int cfs_lease_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c);

#endif
