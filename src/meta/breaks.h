/*
 * Guards of the protocols that a test may take out, one at a time, to see that it finds what then
 * breaks (doc/design/transactions.md). Only in builds with -DCFS_BREAKS; elsewhere every guard is
 * in its place and costs nothing.
 */
#ifndef CFS_META_BREAKS_H
#define CFS_META_BREAKS_H

#include <stdbool.h>
#include <stdint.h>

enum cfs_break {
	CFS_BREAK_NONE,
	CFS_BREAK_NO_DIR_LOCK,      /* a coordinator locks its directory against nobody */
	CFS_BREAK_NO_ORDERED_RETRY, /* busy: all at once again */
	CFS_BREAK_SAME_NUMBER,      /* the ordered retry keeps the number of the first try */
	CFS_BREAK_REUSE_NUMBER, /* numbers without the shard epoch start again with the process */
	CFS_BREAK_ASK_ABORTS_RUNNING, /* an asker is told abort while the try runs */
	CFS_BREAK_NO_ASK_COORDINATOR, /* no decision and no try is not an answer */
	CFS_BREAK_NO_DIR_ASK,         /* a local change goes past what is prepared */
	CFS_BREAK_NO_SYNC_ASK,        /* so does a sync */
	CFS_BREAK_NO_KEEP,            /* a decision is forgotten when it is placed */
	CFS_BREAK_FORGET_FLUSHED, /* a decision is forgotten when the participants know, before that
				     is stable */
	CFS_BREAK_NO_ENDED,       /* a number that ended may be prepared again */
	CFS_BREAK_WAIT_UNORDERED, /* the ordered retry takes its own directory first */
	CFS_BREAK_NO_JOIN,        /* a repeated request does not wait for the first */
	CFS_BREAK_COUNT
};

#ifdef CFS_BREAKS
extern uint32_t cfs_break_now; /* the one guard that is out; set by the simulator */
#define CFS_BREAK(name) (cfs_break_now == CFS_BREAK_##name)
#else
#define CFS_BREAK(name) false
#endif

#endif
