/* Operations of the shared workload: each is noted before and after. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "share.h"

#define SIZE_MIN 4096u
#define LOCKED_OPS_MAX 3u

static uint32_t below(struct share_worker *w, uint32_t n)
{
	return sim_below(&w->rand, n);
}

static bool one_in(struct share_worker *w, uint32_t n)
{
	return below(w, n) == 0;
}

/* --- noting --- */

struct note {
	const struct share_worker *worker;
	struct lin_history *h;
	uint32_t index, evictions;
	struct cfs_client_op op;
};

static const char *name_of_op(const struct share_worker *w, const struct note *n)
{
	return share_op_name(&n->h->ops[n->index], n->h == &w->share->names);
}

static bool has_lost(const struct cfs_client_op *op)
{
	const struct share_worker *w = cfs_container_of_const(op, struct note, op)->worker;

	return w->has_lock && w->lock_evictions != w->mount->keep.evictions;
}

static void op_init(struct share_worker *w, struct note *n)
{
	cfs_client_op_init(&n->op, w->mount->keep.client, 0, 0);
	n->op.has_lost = has_lost;
	n->worker = w;
}

static struct lin_op *begin(struct share_worker *w, struct note *n, struct lin_history *h,
			    uint32_t kind)
{
	n->h = h;
	n->index = lin_begin(h, keep_event(), kind, w->id);
	n->evictions = w->mount->keep.evictions;
	w->share->sim->ops++;
	w->waits_for = name_of_op(w, n);
	op_init(w, n);
	return &h->ops[n->index];
}

/* Notes the answer; what it returned is to be put into the operation that comes back. */
static struct lin_op *end(struct share_worker *w, const struct note *n, int rc)
{
	struct sim *s = w->share->sim;
	struct lin_op *op = &n->h->ops[n->index];
	bool is_lost = rc == -EIO && n->evictions != w->mount->keep.evictions;

	lin_end(n->h, n->index, keep_event(), rc, is_lost);
	sim_say(s, "%llu us: worker %u by %u: %s: %s, event %" PRIu64,
		(unsigned long long)(cfs_now_ns() / SIM_US), w->id, w->mount->keep.id,
		name_of_op(w, n), cfs_err_name(rc), op->ret);
	sim_trace(s, op->kind + 100 * w->id, (uint64_t)(int64_t)rc);
	w->waits_for = NULL;
	if (rc < 0 && !is_lost && (n->h != &w->share->names || rc == -EIO))
		sim_finding(s, "worker %u: %s gives %s", w->id, name_of_op(w, n), cfs_err_name(rc));
	return op;
}

static CFS_AWAITS void rest(struct share_worker *w)
{
	uint64_t pace_ns = w->share->pace_ns;

	if (pace_ns && !one_in(w, 3))
		(void)cfs_sleep_ns(sim_rand(&w->rand) % pace_ns);
	if (one_in(w, 60))
		(void)cfs_sleep_ns(sim_rand(&w->rand) % (13 * SIM_S));
}

/* --- files --- */

static CFS_AWAITS void do_setattr(struct share_worker *w, uint32_t file)
{
	struct keep_mount *m = &w->mount->keep;
	uint32_t inode = SHARE_DIRS + file;
	bool is_size = one_in(w, 2);
	struct cfs_client_setattr set = { .valid = is_size ? CFS_SET_SIZE : CFS_SET_UID };
	struct cfs_attr attr = { 0 };
	struct lin_op *op;
	struct note n;
	int rc;

	op = begin(w, &n, &w->share->file[file], is_size ? SHARE_TRUNCATE : SHARE_CHOWN);
	op->in = ++w->share->unique + (is_size ? SIZE_MIN : 0);
	set.size = op->in;
	set.uid = (uint32_t)op->in;
	keep_change_begin(m, inode);
	rc = cfs_client_setattr(&n.op, m->inode[inode].ino, &set, &attr);
	keep_change_end(m, inode, KEEP_NAMES);
	op = end(w, &n, rc);
	op->out[0] = attr.uid;
	op->out[1] = attr.size;
}

static CFS_AWAITS void do_write(struct share_worker *w, uint32_t file)
{
	struct keep_mount *m = &w->mount->keep;
	uint32_t inode = SHARE_DIRS + file, flags = one_in(w, 3) ? CFS_F_APPEND : 0;
	uint64_t ino = m->inode[inode].ino, value = ++w->share->unique, off = 0;
	struct cfs_client_write how = { .flags = flags,
					.len_bytes = sizeof(value),
					.data = &value };
	struct cfs_attr attr;
	struct note n, open;
	int rc;

	op_init(w, &open);
	keep_change_begin(m, inode);
	rc = cfs_client_file_open(&open.op, ino, CFS_F_WRITE | flags, &attr);
	if (rc == 0) {
		begin(w, &n, &w->share->file[file], flags ? SHARE_APPEND : SHARE_WRITE)->in = value;
		rc = cfs_client_write(&n.op, ino, &how, &off);
		keep_written(m, inode);
		end(w, &n, rc)->out[0] = off;
		cfs_client_op_init(&open.op, m->client, 0, 0);
		(void)cfs_client_release(&open.op, ino, CFS_F_WRITE | flags);
	}
	keep_change_end(m, inode, KEEP_NAMES);
}

static CFS_AWAITS void do_stat(struct share_worker *w, uint32_t file)
{
	struct cfs_attr attr = { 0 };
	struct lin_op *op;
	struct note n;
	int rc;

	begin(w, &n, &w->share->file[file], SHARE_STAT);
	rc = keep_stat(&w->mount->keep, SHARE_DIRS + file, &attr);
	op = end(w, &n, rc);
	op->out[0] = attr.uid;
	op->out[1] = attr.size;
}

static CFS_AWAITS void do_read(struct share_worker *w, uint32_t file)
{
	uint64_t value = 0;
	struct note n;
	int rc;

	begin(w, &n, &w->share->file[file], SHARE_READ);
	rc = keep_read(&w->mount->keep, SHARE_DIRS + file, &value);
	end(w, &n, rc)->out[0] = value;
}

static CFS_AWAITS void any_of_file(struct share_worker *w, uint32_t file)
{
	switch (below(w, 12)) {
	case 0:
	case 1:
		do_setattr(w, file);
		break;
	case 2:
		do_write(w, file);
		break;
	case 3:
		keep_close(&w->mount->keep, SHARE_DIRS + file);
		break;
	case 4:
	case 5:
	case 6:
		do_read(w, file);
		break;
	default:
		do_stat(w, file);
		break;
	}
}

/* --- under a lock --- */

/* Whoever had it before has lost it with its session: what it began under it is over by now. */
static void lock_taken(struct share_worker *w, uint32_t file)
{
	struct share_lock *l = &w->share->lock[file];
	struct lin_history *h = &w->share->file[file];
	uint64_t event = keep_event();

	for (uint32_t i = 0; i < h->count && l->holder; i++) {
		struct lin_op *op = &h->ops[i];

		if (op->worker == l->holder->id && op->call > l->since_event &&
		    op->kind != SHARE_STAT && op->kind != SHARE_READ &&
		    (op->ret == UINT64_MAX || op->is_unknown))
			op->ret_max = CFS_MIN(op->ret_max, event);
	}
	*l = (struct share_lock){ w, event };
}

static CFS_AWAITS void do_locked(struct share_worker *w, uint32_t file)
{
	struct share_lock *l = &w->share->lock[file];
	struct keep_mount *m = &w->mount->keep;
	struct cfs_client_lock lock = {
		.owner = w->id + 1, .end = INT64_MAX, .type = CFS_LOCK_WRITE, .is_flock = true
	};
	struct cfs_client_op op;
	uint64_t ino = m->inode[SHARE_DIRS + file].ino;
	uint32_t evictions;
	bool is_mine;
	int rc;

	cfs_client_op_init(&op, m->client, 0, 0);
	w->waits_for = "a lock";
	rc = cfs_client_lock(&op, ino, &lock, true);
	w->waits_for = NULL;
	sim_say(w->share->sim, "%llu us: worker %u by %u: lock of %u: %s",
		(unsigned long long)(cfs_now_ns() / SIM_US), w->id, m->id, file, cfs_err_name(rc));
	if (rc < 0)
		return;
	lock_taken(w, file);
	w->has_lock = true;
	w->lock_evictions = evictions = m->evictions;
	for (uint32_t i = below(w, LOCKED_OPS_MAX) + 1; i > 0 && evictions == m->evictions; i--) {
		any_of_file(w, file);
		if (one_in(w, 2))
			rest(w);
	}
	w->has_lock = false;
	is_mine = l->holder == w;
	if (is_mine)
		l->holder = NULL;
	lock.type = CFS_LOCK_NONE;
	w->waits_for = "the end of a lock";
	rc = cfs_client_lock(&op, ino, &lock, false);
	w->waits_for = NULL;
	sim_say(w->share->sim, "%llu us: worker %u by %u: unlock of %u: %s",
		(unsigned long long)(cfs_now_ns() / SIM_US), w->id, m->id, file, cfs_err_name(rc));
	if (rc == 0 && evictions == m->evictions && !is_mine)
		sim_finding(w->share->sim, "workers %u and another both had file %u locked", w->id,
			    file);
}

/* --- names --- */

struct place {
	uint32_t dir, name, slot;
};

static struct place any_place(struct share_worker *w)
{
	uint32_t slot = below(w, SHARE_SLOTS);

	return (struct place){ slot / KEEP_NAMES, slot % KEEP_NAMES, slot };
}

static CFS_AWAITS void do_lookup(struct share_worker *w, struct place p)
{
	uint64_t entry = 0;
	struct note n;
	int rc;

	begin(w, &n, &w->share->names, SHARE_LOOKUP)->slot[0] = p.slot;
	rc = keep_lookup(&w->mount->keep, p.dir, p.name, &entry);
	end(w, &n, rc)->out[0] = entry;
}

static CFS_AWAITS void do_list(struct share_worker *w, struct place p)
{
	uint64_t entries[KEEP_NAMES] = { 0 };
	struct lin_op *op;
	struct note n;
	int rc;

	begin(w, &n, &w->share->names, SHARE_LIST)->slot[0] = p.dir * KEEP_NAMES;
	rc = keep_list(&w->mount->keep, p.dir, entries);
	op = end(w, &n, rc);
	for (uint32_t i = 0; i < KEEP_NAMES; i++)
		op->list[i] = entries[i];
}

static CFS_AWAITS void do_make(struct share_worker *w, struct place p)
{
	static const struct cfs_client_create how = { .mode = S_IFREG | 0644, .flags = CFS_F_EXCL };
	struct keep_mount *m = &w->mount->keep;
	uint64_t dir = m->inode[p.dir].ino;
	bool is_dir = one_in(w, 3);
	struct cfs_attr attr = { 0 };
	struct lin_op *op;
	struct note n;
	int rc;

	begin(w, &n, &w->share->names, is_dir ? SHARE_MKDIR : SHARE_CREATE)->slot[0] = p.slot;
	keep_change_begin(m, p.dir);
	rc = is_dir ? cfs_client_mkdir(&n.op, dir, keep_name(p.name), 0755, &attr)
		    : cfs_client_create(&n.op, dir, keep_name(p.name), &how, &attr);
	keep_change_end(m, p.dir, p.name);
	op = end(w, &n, rc);
	if (rc == 0) {
		op->out[0] = keep_entry(attr.ino, attr.mode);
		share_born(w->share, op->out[0]);
	}
}

static CFS_AWAITS void do_take_away(struct share_worker *w, struct place p)
{
	struct keep_mount *m = &w->mount->keep;
	uint64_t dir = m->inode[p.dir].ino;
	bool is_dir = one_in(w, 3);
	struct note n;
	int rc;

	begin(w, &n, &w->share->names, is_dir ? SHARE_RMDIR : SHARE_UNLINK)->slot[0] = p.slot;
	keep_change_begin(m, p.dir);
	rc = is_dir ? cfs_client_rmdir(&n.op, dir, keep_name(p.name))
		    : cfs_client_unlink(&n.op, dir, keep_name(p.name));
	keep_change_end(m, p.dir, p.name);
	end(w, &n, rc);
}

static CFS_AWAITS void do_rename(struct share_worker *w, struct place from, struct place to)
{
	struct keep_mount *m = &w->mount->keep;
	struct lin_op *op;
	struct note n;
	int rc;

	if (from.slot == to.slot)
		return;
	op = begin(w, &n, &w->share->names, SHARE_RENAME);
	op->slot[0] = from.slot;
	op->slot[1] = to.slot;
	keep_change_begin(m, CFS_MIN(from.dir, to.dir));
	if (from.dir != to.dir)
		keep_change_begin(m, CFS_MAX(from.dir, to.dir));
	rc = cfs_client_rename(&n.op, m->inode[from.dir].ino, keep_name(from.name),
			       m->inode[to.dir].ino, keep_name(to.name), 0);
	if (from.dir != to.dir)
		keep_change_end(m, to.dir, to.name);
	else
		m->inode[to.dir].name_until_ns[to.name] = 0;
	keep_change_end(m, from.dir, from.name);
	end(w, &n, rc);
}

static CFS_AWAITS void any_of_names(struct share_worker *w)
{
	struct place p = any_place(w);

	switch (below(w, 12)) {
	case 0:
	case 1:
		do_make(w, p);
		break;
	case 2:
		do_take_away(w, p);
		break;
	case 3:
		do_rename(w, p, any_place(w));
		break;
	case 4:
	case 5:
		do_list(w, p);
		break;
	default:
		do_lookup(w, p);
		break;
	}
}

CFS_AWAITS void share_step(struct share_worker *w)
{
	uint32_t file = below(w, SHARE_FILES);

	if (one_in(w, 2))
		any_of_names(w);
	else if (one_in(w, w->share->lock_one_in))
		do_locked(w, file);
	else
		any_of_file(w, file);
	rest(w);
}

bool share_peek(struct share_worker *w)
{
	struct keep_mount *m = &w->mount->keep;
	uint32_t file = below(w, SHARE_FILES);
	struct place p = any_place(w);
	uint64_t out[KEEP_NAMES] = { 0 };
	struct cfs_attr attr;
	struct lin_op *op;
	struct note n;

	switch (below(w, 4)) {
	case 0:
		if (!keep_peek_stat(m, SHARE_DIRS + file, &attr))
			return false;
		begin(w, &n, &w->share->file[file], SHARE_STAT);
		op = end(w, &n, 0);
		op->out[0] = attr.uid;
		op->out[1] = attr.size;
		return true;
	case 1:
		if (!keep_peek_read(m, SHARE_DIRS + file, out))
			return false;
		begin(w, &n, &w->share->file[file], SHARE_READ);
		end(w, &n, 0)->out[0] = out[0];
		return true;
	case 2:
		if (!keep_peek_list(m, p.dir, out))
			return false;
		begin(w, &n, &w->share->names, SHARE_LIST)->slot[0] = p.dir * KEEP_NAMES;
		op = end(w, &n, 0);
		for (uint32_t i = 0; i < KEEP_NAMES; i++)
			op->list[i] = out[i];
		return true;
	default:
		if (!keep_peek_lookup(m, p.dir, p.name, out))
			return false;
		begin(w, &n, &w->share->names, SHARE_LOOKUP)->slot[0] = p.slot;
		end(w, &n, 0)->out[0] = out[0];
		return true;
	}
}

CFS_AWAITS void share_look(struct share_worker *w)
{
	for (uint32_t i = 0; i < SHARE_FILES; i++) {
		do_stat(w, i);
		do_read(w, i);
		keep_close(&w->mount->keep, SHARE_DIRS + i);
	}
	for (uint32_t i = 0; i < SHARE_DIRS; i++)
		do_list(w, (struct place){ .dir = i });
	for (uint32_t i = 0; i < SHARE_SLOTS; i++)
		do_lookup(w, (struct place){ i / KEEP_NAMES, i % KEEP_NAMES, i });
}
