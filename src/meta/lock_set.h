/*
 * The locked ranges of one file: a pure table without clock, fibers or memory of others, that holds
 * what POSIX says of fcntl(2) locks and Linux of open file description locks and flock(2)
 * (doc/design/locks.md).
 *
 * A range belongs to an owner: a session, a number that its client chose, and whether it is a
 * flock. An owner's ranges never overlap; those that touch and are of one type are one. Different
 * owners' ranges may overlap, if both are for reading. flocks and the others do not see each other.
 */
#ifndef CFS_META_LOCK_SET_H
#define CFS_META_LOCK_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/msg.h"

#define CFS_LOCK_END_MAX ((uint64_t)INT64_MAX) /* of the last byte that a range can have */

/* A range of a file, its owner, and what it is or shall be. */
struct cfs_range_lock {
	uint64_t session, owner;
	uint64_t start, end; /* first and last byte */
	uint32_t pid;        /* who asked for it, as the client says; 0: unknown */
	uint8_t type;        /* CFS_LOCK_READ, _WRITE; in a request also _NONE */
	bool is_flock;
};

struct cfs_lock_set {
	struct cfs_range_lock *locks; /* by owner, then in order of their starts */
	uint32_t count, room;
};

void cfs_lock_set_init(struct cfs_lock_set *s);
void cfs_lock_set_fini(struct cfs_lock_set *s);

/* Room for one cfs_lock_set_put() more, which then cannot fail. 0; -ENOMEM. */
int cfs_lock_set_reserve(struct cfs_lock_set *s);
/* From now on @l's range is of @l's type for its owner, whatever others hold. 0; -ENOMEM. */
int cfs_lock_set_put(struct cfs_lock_set *s, const struct cfs_range_lock *l);
/* By how many ranges a put would change the table; *@is_same: it would change nothing at all. */
int32_t cfs_lock_set_growth(const struct cfs_lock_set *s, const struct cfs_range_lock *l,
			    bool *is_same);

/* Whether @a and @b, of different owners or not, cannot both be. */
bool cfs_range_locks_conflict(const struct cfs_range_lock *a, const struct cfs_range_lock *b);
static inline bool cfs_range_lock_is_owner(const struct cfs_range_lock *a,
					   const struct cfs_range_lock *b)
{
	return a->session == b->session && a->owner == b->owner && a->is_flock == b->is_flock;
}
/*
 * The first range at or behind number *@at that keeps @l from being placed; *@at is behind it then.
 * With type CFS_LOCK_NONE the first of the owner's own that overlaps. NULL: none.
 */
const struct cfs_range_lock *cfs_lock_set_next(const struct cfs_lock_set *s,
					       const struct cfs_range_lock *l, uint32_t *at);
/* The first range of @session; NULL: it has none. */
const struct cfs_range_lock *cfs_lock_set_of_session(const struct cfs_lock_set *s,
						     uint64_t session);
bool cfs_lock_set_has_owner(const struct cfs_lock_set *s, const struct cfs_range_lock *l);
/* Reports what contradicts the above. */
void cfs_lock_set_check(const struct cfs_lock_set *s, void (*report)(void *ctx, const char *what),
			void *ctx);

#endif
