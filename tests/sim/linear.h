/*
 * Linearizability: whether the answers of concurrent operations on one object are those of some
 * order of them, one after the other, in which nobody comes before who ended before it began. The
 * search is that of Wing and Gong, with Lowe's memory of what has been tried. What changes nothing,
 * and fits now, is placed now: where it fits later it fits here as well.
 *
 * When things happen is counted, not timed: one thread runs everything, so each event has a number.
 */
#ifndef CFS_TESTS_SIM_LINEAR_H
#define CFS_TESTS_SIM_LINEAR_H

#include "sim.h"

#define LIN_STATE_WORDS 8u
#define LIN_LIST_MAX 4u

struct lin_op {
	uint32_t kind, worker;
	uint64_t call, ret;          /* numbers of events; UINT64_MAX: it has not returned */
	uint64_t ret_max;            /* it has had its effect by then, if ever */
	bool is_unknown;             /* no answer: it had its effect or none */
	uint32_t slot[2];            /* which part of the object */
	uint64_t in, out[2];         /* what it was given, and what it returned */
	uint64_t list[LIN_LIST_MAX]; /* or that */
	int rc;
};

struct lin_state {
	uint64_t w[LIN_STATE_WORDS];
};

struct lin_history {
	struct lin_op *ops;
	uint32_t count, cap;
	struct lin_state first;
	/* Does @op to the state. False: it cannot have returned that, in this state. Of an unknown
	 * one it is asked for its effect; that it had none is always possible. */
	bool (*apply)(const struct lin_history *h, struct lin_state *s, const struct lin_op *op);
	bool (*is_look)(const struct lin_op *op); /* it changes nothing, in no state */
};

enum lin_verdict { LIN_FINE, LIN_WRONG, LIN_UNDECIDED };

/* The index of a new operation, which has not returned. */
uint32_t lin_begin(struct lin_history *h, uint64_t event, uint32_t kind, uint32_t worker);
void lin_end(struct lin_history *h, uint32_t index, uint64_t event, int rc, bool is_unknown);
/* @stuck_out: of a wrong one, the index of an operation that fits nowhere. */
enum lin_verdict lin_check(const struct lin_history *h, uint32_t *stuck_out);
void lin_clear(struct lin_history *h);

#endif
