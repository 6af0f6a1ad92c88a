/*
 * Answers: what makes changes exactly once (doc/design/shard.md). One table a shard, keyed by
 * (session, sequence). An entry is *running* from the first arrival of a request until it is
 * answered; *kept* when its record is placed, with the reply, until the session's floor (its oldest
 * unanswered sequence) passes. What was answered without a record (refused, or nothing was to be
 * done) is kept in memory only: a copy of it that comes late must not find that it may be done now.
 * After a restart none comes, as they went with their connections.
 */
#ifndef CFS_REPL_ANSWER_H
#define CFS_REPL_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "base/rb.h"
#include "proto/msg.h"
#include "repl/shard_format.h"

#define CFS_ANSWERS_PER_SESSION_MAX 4096u

struct cfs_answers;
struct cfs_answer_session;

struct cfs_answer {
	struct cfs_rb_node node;
	struct cfs_answer_session *session; /* its own; valid while is_linked */
	uint64_t seq;                       /* from 1 */
	uint64_t epoch, index;              /* its record */
	uint8_t *reply;                     /* cfs_answer_encode(); NULL: running */
	uint32_t reply_bytes;
	uint32_t holders; /* the runner and those that wait for it */
	uint16_t op;
	bool is_linked; /* in the table */
	bool is_light;  /* has no record */
	struct cfs_waitq waiters;
};

int cfs_answers_create(struct cfs_answers **out);
void cfs_answers_destroy(struct cfs_answers *a);

/*
 * A change has arrived. Returns 0: run it, then cfs_answers_end(*out); 1: it was answered, *out
 * holds the reply, then cfs_answers_end(); -CFS_EOLD_SEQUENCE; -CFS_EAGAIN_LATER: the session has
 * too many unanswered ones; -ENOMEM; -ETIMEDOUT; -ECANCELED. Waits for the first when it is a
 * repeat.
 */
CFS_AWAITS int cfs_answers_begin(struct cfs_answers *a, uint64_t session, uint64_t seq,
				 uint64_t floor, struct cfs_answer **out);
void cfs_answers_end(struct cfs_answers *a, struct cfs_answer *e);

/* Keeps what a request that runs is answered without a record. Without memory it is not kept. */
void cfs_answers_keep_light(struct cfs_answer *e, const struct cfs_msg *reply, uint64_t epoch);

/* Applies an ANSWER item. Never suspends. -CFS_EBAD_FORMAT. */
int cfs_answers_apply(struct cfs_answers *a, const struct cfs_item *item);
/* A session has ended: what is kept for it goes. True: there was something. */
bool cfs_answers_drop_session(struct cfs_answers *a, uint64_t session);
bool cfs_answers_has_session(const struct cfs_answers *a, uint64_t session); /* with an answer */

/* Walks the kept answers that have records, in order of (session, seq): the first one after these,
 * from (0, 0). False: no more. */
bool cfs_answers_next(const struct cfs_answers *a, uint64_t *session, uint64_t *seq,
		      uint64_t *floor_out, const struct cfs_answer **out);
uint32_t cfs_answers_count(const struct cfs_answers *a); /* entries, running ones too */

#endif
