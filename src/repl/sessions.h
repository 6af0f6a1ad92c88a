/*
 * Sessions, as shard 0 knows them: those that live, so that one of which no shard holds anything is
 * known after a restart too; and the last ones that are over, so that one whose end a crash has cut
 * short does not come back with less than it had (doc/design/leases.md).
 */
#ifndef CFS_REPL_SESSIONS_H
#define CFS_REPL_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#define CFS_SESSIONS_OVER_MAX 256u

struct cfs_session_live {
	struct cfs_session_live *next;
	uint64_t id;
};

struct cfs_sessions { /* all zero: empty */
	struct cfs_session_live *live;
	uint32_t live_count;
	uint64_t *over; /* a ring of CFS_SESSIONS_OVER_MAX, 0: none; or NULL */
	uint32_t over_at;
};

/* @id has begun, or is over. To say it again, or that it begins after that, changes nothing. 0;
 * -ENOMEM. */
int cfs_sessions_put(struct cfs_sessions *t, uint64_t id, bool is_over);
/* The @i-th that is over, up to CFS_SESSIONS_OVER_MAX, oldest first; 0: none. */
uint64_t cfs_sessions_over(const struct cfs_sessions *t, uint32_t i);
void cfs_sessions_fini(struct cfs_sessions *t);

#endif
