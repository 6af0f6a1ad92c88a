#include "linear.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define TRIES_MAX 2000000u

uint32_t lin_begin(struct lin_history *h, uint64_t event, uint32_t kind, uint32_t worker)
{
	h->ops = sim_grow(h->ops, h->count, &h->cap, sizeof(*h->ops));
	h->ops[h->count] = (struct lin_op){ .kind = kind,
					    .worker = worker,
					    .call = event,
					    .ret = UINT64_MAX,
					    .ret_max = UINT64_MAX,
					    .is_unknown = true };
	return h->count++;
}

void lin_end(struct lin_history *h, uint32_t index, uint64_t event, int rc, bool is_unknown)
{
	struct lin_op *op = &h->ops[index];

	op->ret = event;
	op->rc = rc;
	op->is_unknown = is_unknown;
}

void lin_clear(struct lin_history *h)
{
	free(h->ops);
	h->ops = NULL;
	h->count = h->cap = 0;
}

/* --- the search --- */

/* A call or a return, in order of their numbers; those of what was put in its place are out. */
struct event {
	struct event *prev, *next;
	uint64_t at;
	uint32_t op;
	bool is_return;
};

struct tried {
	uint64_t a, b;
};

/* An operation that was given a place, and the state before it. */
struct placed {
	uint32_t op, way; /* way 0: with its effect, 1: without */
	struct lin_state before;
};

struct search {
	const struct lin_history *h;
	struct event *events, head;
	struct event **call, **ret; /* of each operation; ret may be NULL */
	uint32_t event_count;
	struct placed *stack;
	uint32_t depth;
	struct lin_state state;
	uint64_t set_a, set_b; /* hash of which are placed */
	struct tried *tried;
	uint32_t tried_count, tried_cap; /* a power of two */
};

static int by_number(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void search_begin(struct search *s, const struct lin_history *h)
{
	struct event *last = &s->head;

	memset(s, 0, sizeof(*s));
	s->h = h;
	s->events = sim_alloc((2ul * h->count + 1) * sizeof(*s->events));
	s->call = sim_alloc((h->count + 1ul) * sizeof(*s->call));
	s->ret = sim_alloc((h->count + 1ul) * sizeof(*s->ret));
	s->stack = sim_alloc((h->count + 1ul) * sizeof(*s->stack));
	s->tried_cap = 1024;
	s->tried = sim_alloc(s->tried_cap * sizeof(*s->tried));
	s->state = h->first;
	for (uint32_t i = 0; i < h->count; i++) {
		uint64_t ret = CFS_MIN(h->ops[i].ret, h->ops[i].ret_max);

		s->events[s->event_count++] = (struct event){ .at = h->ops[i].call, .op = i };
		if (ret != UINT64_MAX)
			s->events[s->event_count++] =
				(struct event){ .at = ret, .op = i, .is_return = true };
	}
	qsort(s->events, s->event_count, sizeof(*s->events), by_number);
	for (uint32_t i = 0; i < s->event_count; i++) {
		struct event *e = &s->events[i];

		e->prev = last;
		last->next = e;
		last = e;
		(e->is_return ? s->ret : s->call)[e->op] = e;
	}
}

static void search_end(struct search *s)
{
	free(s->events);
	free(s->call);
	free(s->ret);
	free(s->stack);
	free(s->tried);
}

static void take_out(struct event *e)
{
	e->prev->next = e->next;
	if (e->next)
		e->next->prev = e->prev;
}

static void put_back(struct event *e)
{
	e->prev->next = e;
	if (e->next)
		e->next->prev = e;
}

static void flip(struct search *s, uint32_t op)
{
	s->set_a ^= cfs_hash_u64(2ull * op + 1);
	s->set_b ^= cfs_hash_u64(0x5851f42d4c957f2dull + op);
}

static bool tried_put(struct tried *all, uint32_t cap, struct tried t)
{
	for (uint32_t at = (uint32_t)t.a & (cap - 1);; at = (at + 1) & (cap - 1)) {
		if (all[at].a == t.a && all[at].b == t.b)
			return false;
		if (all[at].a == 0 && all[at].b == 0) {
			all[at] = t;
			return true;
		}
	}
}

/* Notes that these are placed, with this state. False: that was there before. */
static bool is_new(struct search *s, const struct lin_state *state)
{
	struct tried t = { s->set_a, s->set_b };

	for (uint32_t i = 0; i < LIN_STATE_WORDS; i++) {
		t.a = cfs_hash_u64(t.a + state->w[i]);
		t.b = cfs_hash_u64(t.b ^ (state->w[i] + 0x9e3779b97f4a7c15ull * (i + 1)));
	}
	t.a |= 1; /* never both zero */
	if (s->tried_count * 2 >= s->tried_cap) {
		uint32_t cap = s->tried_cap * 2;
		struct tried *all = sim_alloc(cap * sizeof(*all));

		for (uint32_t i = 0; i < s->tried_cap; i++)
			if (s->tried[i].a)
				tried_put(all, cap, s->tried[i]);
		free(s->tried);
		s->tried = all;
		s->tried_cap = cap;
	}
	if (!tried_put(s->tried, s->tried_cap, t))
		return false;
	s->tried_count++;
	return true;
}

static void push(struct search *s, uint32_t op, uint32_t way, const struct lin_state *after)
{
	s->stack[s->depth++] = (struct placed){ op, way, s->state };
	s->state = *after;
	take_out(s->call[op]);
	if (s->ret[op])
		take_out(s->ret[op]);
}

/* Gives @op, which may change something, the next place, from @way on. */
static bool place(struct search *s, uint32_t op, uint32_t way)
{
	const struct lin_op *o = &s->h->ops[op];

	for (; way < (o->is_unknown ? 2u : 1u); way++) {
		struct lin_state after = s->state;

		if (way == 0 && !s->h->apply(s->h, &after, o))
			continue;
		flip(s, op);
		if (is_new(s, &after)) {
			push(s, op, way, &after);
			return true;
		}
		flip(s, op);
	}
	return false;
}

/* Places the looks that fit. */
static void place_looks(struct search *s)
{
	struct event *e = s->head.next;

	while (e && !e->is_return) {
		struct lin_state same = s->state;

		if (!s->h->is_look(&s->h->ops[e->op]) ||
		    !s->h->apply(s->h, &same, &s->h->ops[e->op])) {
			e = e->next;
			continue;
		}
		flip(s, e->op);
		push(s, e->op, 0, &s->state);
		e = s->head.next; /* what came after its return may fit, too */
	}
}

static struct placed unplace(struct search *s)
{
	struct placed p = s->stack[--s->depth];

	if (s->ret[p.op])
		put_back(s->ret[p.op]);
	put_back(s->call[p.op]);
	flip(s, p.op);
	s->state = p.before;
	return p;
}

/* Takes places away up to that of the last one that could have another. False: there is none. */
static bool step_back(struct search *s, struct placed *out)
{
	while (s->depth > 0) {
		*out = unplace(s);
		if (!s->h->is_look(&s->h->ops[out->op]))
			return true;
	}
	return false;
}

enum lin_verdict lin_check(const struct lin_history *h, uint32_t *stuck_out)
{
	enum lin_verdict verdict = LIN_FINE;
	uint32_t deepest = 0, way = 0;
	struct search s;
	struct event *e;

	search_begin(&s, h);
	*stuck_out = 0;
	place_looks(&s);
	e = s.head.next;
	while (e) {
		if (e->is_return) {
			struct placed p;

			if (s.depth >= deepest) {
				deepest = s.depth;
				*stuck_out = e->op;
			}
			if (s.tried_count > TRIES_MAX || !step_back(&s, &p)) {
				verdict = s.tried_count > TRIES_MAX ? LIN_UNDECIDED : LIN_WRONG;
				break;
			}
			e = s.call[p.op];
			way = p.way + 1;
		}
		if (!h->is_look(&h->ops[e->op]) && place(&s, e->op, way)) {
			place_looks(&s);
			e = s.head.next;
		} else {
			e = e->next;
		}
		way = 0;
	}
	search_end(&s);
	return verdict;
}
