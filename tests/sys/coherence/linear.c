/*
 * Whether a history has an order: see coh.h. Operations are tried depth first; what has been tried
 * in vain, the set of operations that are done and the state that they made, is remembered. Next
 * can only be one that began before every other that is left had ended.
 */
#include "coh.h"

#include <inttypes.h>

#define TRIED_BITS 17u
#define STEPS_MAX 4000000u

struct tried {
	uint64_t done[2];
	struct state state;
	bool is_used;
};

static struct search {
	const struct op *ops;
	unsigned count;
	uint64_t done[2];
	uint64_t steps;
	struct tried *tried;
} s;

static bool is_done(unsigned i)
{
	return s.done[i / 64] >> (i % 64) & 1;
}

static void mark(unsigned i)
{
	s.done[i / 64] ^= 1ull << (i % 64);
}

/* Names: what it does, and whether its result fits; see `struct op`. */
static bool apply_name(const struct op *op, struct state *st)
{
	uint64_t *from = &st->slot[op->slot], *to = &st->slot[op->to], kept;

	switch (op->kind) {
	case OP_CREATE:
		if (!op->result)
			return *from != 0;
		if (*from)
			return false;
		*from = op->result;
		return true;
	case OP_UNLINK:
		if ((*from != 0) != (op->result != 0))
			return false;
		*from = 0;
		return true;
	case OP_LOOKUP:
		return *from == op->result;
	case OP_NOREPLACE:
		if (op->result == 2)
			return *to != 0;
		if (op->result == 1 && *to)
			return false;
		break;
	case OP_EXCHANGE:
		if (!op->result)
			return !*from || !*to;
		if (!*from || !*to)
			return false;
		kept = *from;
		*from = *to;
		*to = kept;
		return true;
	default:
		break;
	}
	if (!op->result)
		return *from == 0;
	if (!*from)
		return false;
	*to = *from;
	*from = 0;
	return true;
}

static bool apply(const struct op *op, struct state *st)
{
	switch (op->kind) {
	case OP_WRITE:
		st->stamp = op->value;
		return true;
	case OP_READ:
		return st->stamp == op->result;
	case OP_SIZE:
		return st->size == op->result;
	case OP_APPEND:
		st->size += op->value;
		return true;
	case OP_CUT:
		st->size = op->value;
		return true;
	default:
		return apply_name(op, st);
	}
}

/*
 * The kernel looks both names up before it asks for a rename. When another mount moves the file
 * from the one to the other between the two, it sees the same file twice and has nothing to do.
 */
static bool may_be_nothing(const struct op *op, const struct state *st)
{
	return (op->kind == OP_RENAME || op->kind == OP_EXCHANGE) && op->result &&
	       st->slot[op->to] != 0;
}

static uint64_t hash_of(const struct state *st)
{
	uint64_t h = s.done[0] * 0x9e3779b97f4a7c15ull ^ s.done[1] * 0xc2b2ae3d27d4eb4full;
	const uint64_t words[] = { st->stamp,   st->size,    st->slot[0], st->slot[1],
				   st->slot[2], st->slot[3], st->slot[4], st->slot[5] };

	static_assert(sizeof(words) == sizeof(*st), "all of the state");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		h = (h ^ words[i]) * 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

/* True: it was tried before. What is forgotten, as its place is taken, is tried again. */
static bool remember(const struct state *st)
{
	struct tried *t = &s.tried[hash_of(st) >> (64 - TRIED_BITS)];

	if (t->is_used && memcmp(t->done, s.done, sizeof(s.done)) == 0 &&
	    memcmp(&t->state, st, sizeof(*st)) == 0)
		return true;
	t->is_used = true;
	memcpy(t->done, s.done, sizeof(s.done));
	t->state = *st;
	return false;
}

static int search(unsigned left, const struct state *st)
{
	uint64_t first_end = UINT64_MAX;

	if (!left)
		return 1;
	if (++s.steps > STEPS_MAX)
		return -1;
	if (remember(st))
		return 0;
	for (unsigned i = 0; i < s.count; i++)
		if (!is_done(i) && s.ops[i].end_ns < first_end)
			first_end = s.ops[i].end_ns;
	for (unsigned i = 0; i < s.count; i++) {
		const struct op *op = &s.ops[i];

		if (is_done(i) || op->start_ns > first_end)
			continue;
		mark(i);
		for (int nothing = 0; nothing < 2; nothing++) {
			struct state next = *st;
			int rc = 0;

			if (nothing ? may_be_nothing(op, st) : apply(op, &next))
				rc = search(left - 1, &next);
			if (rc)
				return rc;
		}
		mark(i);
	}
	return 0;
}

int linear_check(const struct op *ops, unsigned count, const struct state *first)
{
	int rc;

	if (count > HISTORY_MAX)
		abort();
	s = (struct search){
		.ops = ops,
		.count = count,
		.tried = calloc(1ull << TRIED_BITS, sizeof(*s.tried)),
	};
	if (!s.tried)
		abort();
	rc = search(count, first);
	free(s.tried);
	return rc;
}

void linear_print(const struct op *ops, unsigned count)
{
	static const char *const kinds[] = { "write",     "read",     "size",   "append",
					     "cut",       "create",   "unlink", "rename",
					     "noreplace", "exchange", "lookup" };
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < count; i++)
		first = ops[i].start_ns < first ? ops[i].start_ns : first;
	for (unsigned i = 0; i < count; i++) {
		const struct op *op = &ops[i];

		printf("#   %9" PRIu64 " to %9" PRIu64 " ns mount %u %-9s %u %u value %" PRIu64
		       " result %" PRIu64 "\n",
		       op->start_ns - first, op->end_ns - first, op->mount, kinds[op->kind],
		       op->slot, op->to, op->value, op->result);
	}
}

/* --- the judge is judged --- */

struct example {
	int want;
	unsigned count;
	struct op ops[5];
};

#define OP(k, from, end, ...) \
	{ \
		.kind = OP_##k, .start_ns = from, .end_ns = end, ##__VA_ARGS__ \
	}

static const struct example examples[] = {
	{ 1, 2, { OP(WRITE, 0, 9, .value = 1), OP(READ, 1, 2, .result = 0) } },
	{ 1, 2, { OP(WRITE, 0, 9, .value = 1), OP(READ, 1, 2, .result = 1) } },
	{ 0, 2, { OP(WRITE, 0, 1, .value = 1), OP(READ, 2, 3, .result = 0) } },
	/* Seen new, then old: by two readers, under a write that goes on. */
	{ 0,
	  3,
	  { OP(WRITE, 0, 9, .value = 1), OP(READ, 1, 2, .result = 1),
	    OP(READ, 3, 4, .result = 0) } },
	{ 0, 2, { OP(APPEND, 0, 1, .value = 5), OP(SIZE, 2, 3, .result = 0) } },
	{ 1,
	  3,
	  { OP(APPEND, 0, 9, .value = 5), OP(CUT, 0, 9, .value = 7),
	    OP(SIZE, 10, 11, .result = 12) } },
	{ 0,
	  3,
	  { OP(APPEND, 0, 9, .value = 5), OP(CUT, 0, 9, .value = 7),
	    OP(SIZE, 10, 11, .result = 5) } },
	/* Size and contents are one file. */
	{ 0,
	  4,
	  { OP(WRITE, 0, 9, .value = 1), OP(APPEND, 10, 11, .value = 5),
	    OP(SIZE, 1, 2, .result = 5), OP(READ, 12, 13, .result = 1) } },
	/* Two created one name. */
	{ 0, 2, { OP(CREATE, 0, 9, .result = 8), OP(CREATE, 0, 9, .result = 9) } },
	{ 1, 2, { OP(CREATE, 0, 9, .result = 8), OP(CREATE, 0, 9) } },
	{ 0, 2, { OP(CREATE, 0, 1), OP(CREATE, 2, 9, .result = 8) } },
	{ 1,
	  3,
	  { OP(CREATE, 0, 1, .result = 8), OP(RENAME, 2, 9, .to = 1, .result = 1),
	    OP(LOOKUP, 3, 4, .result = 8) } },
	/* A renamed file is at no time without a name. */
	{ 0,
	  4,
	  { OP(CREATE, 0, 1, .result = 8), OP(RENAME, 2, 9, .to = 1, .result = 1), OP(LOOKUP, 3, 4),
	    OP(LOOKUP, 5, 6, .slot = 1) } },
	{ 0,
	  3,
	  { OP(CREATE, 0, 1, .result = 8), OP(NOREPLACE, 2, 9, .to = 1, .result = 2),
	    OP(LOOKUP, 10, 11, .result = 8) } },
	{ 0,
	  3,
	  { OP(CREATE, 0, 1, .result = 8), OP(UNLINK, 2, 3, .result = 1),
	    OP(LOOKUP, 4, 5, .result = 8) } },
	{ 0, 2, { OP(CREATE, 0, 1, .result = 8), OP(EXCHANGE, 2, 3, .to = 1, .result = 1) } },
};

bool linear_self_test(void)
{
	const struct state nothing = { 0 };
	bool is_right = true;

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		if (linear_check(examples[i].ops, examples[i].count, &nothing) == examples[i].want)
			continue;
		printf("# history %zu is judged wrong\n", i);
		linear_print(examples[i].ops, examples[i].count);
		is_right = false;
	}
	return is_right;
}
