/* What the operations of the shared workload do, one after the other. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "share.h"

/* An entry whose making was never answered, until somebody sees it. */
#define WILD (1ull << 62)

/* --- a file: owner, size, contents --- */

enum { OWNER, SIZE, PAGE };

bool share_apply_file(const struct lin_history *h, struct lin_state *s, const struct lin_op *op)
{
	(void)h;
	switch ((enum share_file_op)op->kind) {
	case SHARE_CHOWN:
		s->w[OWNER] = op->in;
		return op->is_unknown || op->out[1] == s->w[SIZE];
	case SHARE_TRUNCATE:
		s->w[SIZE] = op->in;
		return op->is_unknown || op->out[0] == s->w[OWNER];
	case SHARE_WRITE:
		s->w[PAGE] = op->in;
		return true;
	case SHARE_APPEND:
		s->w[SIZE] += SHARE_APPEND_BYTES;
		return op->is_unknown || op->out[0] + SHARE_APPEND_BYTES == s->w[SIZE];
	case SHARE_STAT:
		return op->is_unknown || (op->out[0] == s->w[OWNER] && op->out[1] == s->w[SIZE]);
	case SHARE_READ:
		return op->is_unknown || op->out[0] == s->w[PAGE];
	}
	return false;
}

bool share_is_look_file(const struct lin_op *op)
{
	return op->kind == SHARE_STAT || op->kind == SHARE_READ;
}

/* --- names: each of them an entry --- */

/* The histories of names belong to one share at a time: there is one in a process. */
static const struct share *now;

static bool is_known(uint64_t entry)
{
	for (uint32_t i = 0; i < now->born_count; i++)
		if (now->born[i] == entry)
			return true;
	return false;
}

void share_born(struct share *sh, uint64_t entry)
{
	sh->born = sim_grow(sh->born, sh->born_count, &sh->born_cap, sizeof(*sh->born));
	sh->born[sh->born_count++] = entry;
}

static bool is_dir(uint64_t entry)
{
	return entry & 1;
}

static bool is_same(uint64_t entry, uint64_t seen)
{
	if (!(entry & WILD))
		return entry == seen;
	return seen != 0 && is_dir(entry) == is_dir(seen) && !is_known(seen);
}

static bool make(struct lin_state *s, const struct lin_history *h, const struct lin_op *op)
{
	uint64_t *entry = &s->w[op->slot[0]];

	if (op->is_unknown) {
		if (*entry == 0)
			*entry = WILD | (uint64_t)(op - h->ops) << 1 | (op->kind == SHARE_MKDIR);
		return true;
	}
	if (op->rc == -EEXIST)
		return *entry != 0;
	if (*entry != 0)
		return false;
	*entry = op->out[0];
	return true;
}

static bool take_away(struct lin_state *s, const struct lin_op *op)
{
	uint64_t *entry = &s->w[op->slot[0]];
	bool takes_dir = op->kind == SHARE_RMDIR;
	int rc = 0;

	if (*entry == 0)
		rc = -ENOENT;
	else if (is_dir(*entry) != takes_dir)
		rc = takes_dir ? -ENOTDIR : -EISDIR;
	if (!op->is_unknown && op->rc != rc)
		return false;
	if (rc == 0)
		*entry = 0;
	return true;
}

static bool move(struct lin_state *s, const struct lin_op *op)
{
	uint64_t *from = &s->w[op->slot[0]], *to = &s->w[op->slot[1]];
	int rc = 0;

	if (*from == 0)
		rc = -ENOENT;
	else if (*to != 0 && is_dir(*from) != is_dir(*to))
		rc = is_dir(*from) ? -ENOTDIR : -EISDIR;
	if (!op->is_unknown && op->rc != rc)
		return false;
	if (rc == 0) {
		*to = *from;
		*from = 0;
	}
	return true;
}

bool share_apply_names(const struct lin_history *h, struct lin_state *s, const struct lin_op *op)
{
	switch ((enum share_name_op)op->kind) {
	case SHARE_LOOKUP:
		return op->is_unknown || is_same(s->w[op->slot[0]], op->out[0]);
	case SHARE_LIST:
		for (uint32_t i = 0; i < KEEP_NAMES && !op->is_unknown; i++)
			if (!is_same(s->w[op->slot[0] + i], op->list[i]))
				return false;
		return true;
	case SHARE_CREATE:
	case SHARE_MKDIR:
		return make(s, h, op);
	case SHARE_UNLINK:
	case SHARE_RMDIR:
		return take_away(s, op);
	case SHARE_RENAME:
		return move(s, op);
	}
	return false;
}

bool share_is_look_names(const struct lin_op *op)
{
	return op->kind == SHARE_LOOKUP || op->kind == SHARE_LIST;
}

/* --- the verdict --- */

const char *share_op_name(const struct lin_op *op, bool is_names)
{
	static const char *const files[] = {
		"chown", "truncate", "write", "append", "stat", "read"
	};
	static const char *const names[] = { "lookup", "list",  "create", "mkdir",
					     "unlink", "rmdir", "rename" };

	return (is_names ? names : files)[op->kind];
}

static void print(const struct lin_op *op, bool is_names, bool is_stuck)
{
	char end[40] = "no return";

	if (op->ret != UINT64_MAX)
		(void)snprintf(end, sizeof(end), "%" PRIu64, op->ret);
	fprintf(stderr,
		"  %s %" PRIu64 " to %s: worker %u %s %u,%u of %" PRIx64 ": %s%s %" PRIx64
		" %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n",
		is_stuck ? "*" : " ", op->call, end, op->worker, share_op_name(op, is_names),
		op->slot[0], op->slot[1], op->in, cfs_err_name(op->rc),
		op->is_unknown ? " (unknown)" : "", op->out[0], op->out[1], op->list[0],
		op->list[1], op->list[2]);
	if (op->ret_max != UINT64_MAX)
		fprintf(stderr, "      done by %" PRIu64 ", when its lock was another's\n",
			op->ret_max);
}

#define SHOWN 60u /* so many before what is stuck, and behind it */

static void check(struct share *sh, const struct lin_history *h, const char *what)
{
	bool is_names = h == &sh->names;
	uint32_t stuck;
	enum lin_verdict v = lin_check(h, &stuck);

	sh->undecided += v == LIN_UNDECIDED;
	if (v != LIN_WRONG)
		return;
	fprintf(stderr, "the history of %s (* fits nowhere):\n", what);
	for (uint32_t i = stuck > SHOWN ? stuck - SHOWN : 0; i < h->count && i < stuck + SHOWN; i++)
		print(&h->ops[i], is_names, i == stuck);
	sim_finding(sh->sim, "not linearizable: %s", what);
}

void share_check(struct share *sh)
{
	char what[16];

	now = sh;
	check(sh, &sh->names, "names");
	for (uint32_t i = 0; i < SHARE_FILES; i++) {
		(void)snprintf(what, sizeof(what), "file %u", i);
		check(sh, &sh->file[i], what);
	}
}
