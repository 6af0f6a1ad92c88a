/*
 * Locks of files, in the home shard of the inode (doc/design/locks.md): who holds what (lock_set.h)
 * are records, who waits is memory.
 *
 * A request to lock never waits, so that it can be a change. Who gets -EAGAIN and wants to wait
 * asks with LOCK_WAIT, which is none: the shard holds it until it is this one's turn, and the
 * client tries again. Its place in the queue is kept from its first LOCK_WAIT on, as long as it
 * comes again within CFS_LOCK_TURN_NS.
 */
#ifndef CFS_META_LOCK_H
#define CFS_META_LOCK_H

#include "meta/lock_format.h"
#include "meta/meta_internal.h"

#define CFS_LOCKS_PER_INODE_MAX 16384u
#define CFS_LOCKS_PER_SESSION_MAX 65536u /* in one shard */
#define CFS_LOCK_WAITS_PER_INODE_MAX 1024u
#define CFS_LOCK_WAITS_MAX 16384u                    /* in one shard */
#define CFS_LOCK_HOLD_MAX_NS (2000ull * 1000 * 1000) /* a LOCK_WAIT is answered after this */
/* How long one whose turn it is may take to come, before others may go. */
#define CFS_LOCK_TURN_NS (1000ull * 1000 * 1000)
/* Who waits for less lets those that were there before go first, also while they cannot: so readers
 * that keep coming do not starve a writer. Bounded, as it is a wait that no deadlock search knows.
 */
#define CFS_LOCK_YOUNG_NS (1000ull * 1000 * 1000)
#define CFS_LOCK_BLOCKERS_MAX 8u /* owners that one waits for, as the search sees it */
#define CFS_LOCK_CYCLE_AFTER_NS (50ull * 1000 * 1000) /* no search for shorter waits */
#define CFS_LOCK_CYCLE_AGAIN_NS (1000ull * 1000 * 1000)
#define CFS_LOCK_CYCLE_KEPT_NS (3000ull * 1000 * 1000)
#define CFS_LOCK_CYCLE_WAITS_MAX 4096u

struct cfs_lock_table; /* a shard's */
struct cfs_inode_locks;

int cfs_lock_table_create(struct cfs_lock_table **out); /* 0; -ENOMEM */
void cfs_lock_table_destroy(struct cfs_lock_table *t);  /* after the inodes; NULL is fine */

/* What @i holds; NULL: nothing. */
const struct cfs_lock_set *cfs_inode_locks_of(const struct cfs_inode *i);
/* @i goes from the tables: nobody holds anything of it, who waits is woken. */
void cfs_inode_locks_clear(struct cfs_lock_table *t, struct cfs_inode *i);
void cfs_inode_locks_free(struct cfs_inode *i); /* with its memory */

CFS_AWAITS int cfs_meta_serve_lock(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_lock_test(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_lock_wait(struct cfs_meta *m, struct cfs_shard_request *rq);
/* Applies an item of locks. */
int cfs_lock_apply(struct cfs_meta *m, const struct cfs_item *item, bool is_load);
/* Whether @session holds or waits for something of @i. */
bool cfs_inode_has_lock_session(const struct cfs_inode *i, uint64_t session);
/* What @session holds of @ino goes, and it waits no more. As cfs_meta_begin(). */
CFS_AWAITS int cfs_lock_session_end(struct cfs_meta *m, uint64_t ino, uint64_t session);

/* --- lock_cycle.c: shard 0 knows who waits for whom, and finds deadlocks --- */

struct cfs_lock_cycles;

struct cfs_lock_party {
	uint64_t session, owner;
};

struct cfs_lock_cycles *cfs_lock_cycles_create(void);
void cfs_lock_cycles_destroy(struct cfs_lock_cycles *c);
/*
 * @want of @ino waits for @blockers, of which there are @count; 0: no more. 0; -EDEADLK: they wait
 * for it, directly or not; it is taken as not waiting then. -ECANCELED; -ETIMEDOUT.
 */
CFS_AWAITS int cfs_lock_cycles_tell(struct cfs_lock_cycles *c, uint64_t ino,
				    const struct cfs_range_lock *want,
				    const struct cfs_lock_party *blockers, uint32_t count);
/* The same by whatever shard: a message to shard 0. */
CFS_AWAITS int cfs_lock_tell(struct cfs_meta *m, uint64_t ino, const struct cfs_range_lock *want,
			     const struct cfs_lock_party *blockers, uint32_t count);
CFS_AWAITS int cfs_meta_serve_lock_waits(struct cfs_meta *m, struct cfs_shard_request *rq);
/* The lock that a request is about. -EINVAL. */
int cfs_lock_of_request(const struct cfs_msg *msg, uint64_t session, struct cfs_range_lock *out);
struct cfs_lock_cycles *cfs_lock_cycles_of(const struct cfs_lock_table *t);

#endif
