/*
 * Rename. The shard of the source directory coordinates, unless a directory gets another parent:
 * shard 0 then does, one at a time, after a walk from the new parent up to the root by present
 * parents. Since each such move is decided before the next one begins to walk, and a walk waits for
 * what is prepared, no two of them close a loop.
 *
 * The steps say what was seen; who finds it changed has the whole built anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/stock.h"
#include "base/util.h"
#include "meta/tx.h"

#define DEPTH_MAX (1u << 20)

/* Verdicts beside errors. */
#define REPARENTING 1 /* shard 0 is to do it */
#define NO_CHANGE 2   /* two names of one inode */

/* What a rename moves, with what it found. */
struct move {
	uint64_t from_dir, to_dir;
	struct cfs_bytes from_name, to_name;
	uint32_t flags;
	struct cfs_dentry_value from, to; /* to.ino 0: nothing is there */
	bool is_found;                    /* both directories are there, and the source */
	uint64_t now;
};

static bool is_dir(const struct cfs_dentry_value *v)
{
	return v->ino && S_ISDIR(v->mode);
}

/* A directory gets another parent: only shard 0 may. */
static bool is_reparenting(const struct move *v)
{
	return v->from_dir != v->to_dir &&
	       (is_dir(&v->from) || ((v->flags & CFS_F_EXCHANGE) && is_dir(&v->to)));
}

/* -EINVAL when @dir is @top or below it. */
static CFS_AWAITS int check_not_below(struct cfs_meta *m, uint64_t dir, uint64_t top)
{
	int rc;

	for (uint32_t depth = 0; depth < DEPTH_MAX; depth++) {
		if (dir == top)
			return -EINVAL;
		if (dir == CFS_INO_ROOT)
			return 0;
		rc = cfs_meta_parent(m, dir, &dir);
		if (rc < 0)
			return rc == -ESTALE ? -ENOENT : rc;
	}
	return -ELOOP;
}

/* The access half of a directory that moves: what its content half says, which the steps check. */
static CFS_AWAITS int fill_access(struct cfs_meta *m, struct cfs_dentry_value *v)
{
	struct cfs_attr a;
	int rc;

	if (!is_dir(v))
		return 0;
	rc = cfs_meta_getattr(m, v->ino, &a);
	if (rc < 0)
		return rc == -ESTALE ? -CFS_EAGAIN_LATER : rc;
	v->mode = a.mode;
	v->uid = a.uid;
	v->gid = a.gid;
	v->place = a.place;
	return 0;
}

static CFS_AWAITS int look(struct cfs_meta *m, struct move *v)
{
	int rc;

	v->is_found = false;
	rc = cfs_meta_look(m, v->from_dir, v->from_name, &v->from);
	if (rc < 0)
		return rc;
	rc = cfs_meta_look(m, v->to_dir, v->to_name, &v->to);
	if (rc == -ENOENT) {
		v->to = (struct cfs_dentry_value){ 0 };
		rc = 0;
	}
	v->is_found = rc == 0;
	if (rc == 0)
		rc = fill_access(m, &v->from);
	if (rc == 0 && (v->flags & CFS_F_EXCHANGE))
		rc = fill_access(m, &v->to);
	return rc;
}

/* Is the target there, or not, as it has to be? */
static int check_target(const struct move *v)
{
	if (v->flags & CFS_F_EXCHANGE)
		return v->to.ino == 0 ? -ENOENT : 0;
	return v->to.ino && (v->flags & CFS_F_NOREPLACE) ? -EEXIST : 0;
}

/* After loops, as Linux has it. NO_CHANGE; 0: go on; else why not. */
static int check_types(const struct move *v)
{
	if (v->to.ino == v->from.ino)
		return NO_CHANGE;
	if (v->to.ino == 0 || (v->flags & CFS_F_EXCHANGE) || is_dir(&v->from) == is_dir(&v->to))
		return 0;
	return is_dir(&v->from) ? -ENOTDIR : -EISDIR;
}

static CFS_AWAITS int check_loops(struct cfs_meta *m, const struct move *v)
{
	int rc = 0;

	if (v->from_dir == v->to_dir || CFS_BREAK(RENAME_LOOPS))
		return 0;
	if (is_dir(&v->from))
		rc = check_not_below(m, v->to_dir, v->from.ino);
	if (rc == 0 && (v->flags & CFS_F_EXCHANGE) && is_dir(&v->to))
		rc = check_not_below(m, v->from_dir, v->to.ino);
	return rc;
}

/* --- steps --- */

/* What @what's own shard has to do when it is now called @name in @dir. */
static int add_moved(struct cfs_tx *tx, const struct cfs_dentry_value *what, uint64_t dir,
		     struct cfs_bytes name, uint64_t now)
{
	struct cfs_items *it = cfs_tx_at(tx, cfs_ino_home(what->ino));
	struct cfs_tx_dir_move move = { .ino = what->ino,
					.parent = dir,
					.mode = what->mode,
					.uid = what->uid,
					.gid = what->gid,
					.time_ns = now,
					.name = name };

	if (!it)
		return -ENOMEM;
	if (is_dir(what))
		cfs_tx_add_dir_move(it, &move);
	else
		cfs_tx_add_moved(it, what->ino, now);
	return 0;
}

static int add_put(struct cfs_tx *tx, uint64_t dir, struct cfs_bytes name, uint64_t expect,
		   const struct cfs_dentry_value *what, uint64_t now)
{
	struct cfs_items *it = cfs_tx_at(tx, cfs_ino_home(dir));
	struct cfs_tx_link link = { .dir = dir, .expect = expect, .time_ns = now, .value = *what };

	if (!it)
		return -ENOMEM;
	link.value.name = name;
	if (!is_dir(what)) { /* no access half */
		link.value.mode &= S_IFMT;
		link.value.uid = link.value.gid = 0;
		link.value.place = 0;
	}
	cfs_tx_add_link(it, &link);
	return 0;
}

static int add_exchange(struct cfs_tx *tx, const struct move *v)
{
	int rc = add_put(tx, v->from_dir, v->from_name, v->from.ino, &v->to, v->now);

	if (rc == 0 && !CFS_BREAK(EXCHANGE_HALF))
		rc = add_put(tx, v->to_dir, v->to_name, v->to.ino, &v->from, v->now);
	if (rc == 0)
		rc = add_moved(tx, &v->from, v->to_dir, v->to_name, v->now);
	if (rc == 0)
		rc = add_moved(tx, &v->to, v->from_dir, v->from_name, v->now);
	return rc;
}

static int add_rename(struct cfs_tx *tx, const struct move *v)
{
	struct cfs_items *from = cfs_tx_at(tx, cfs_ino_home(v->from_dir)), *gone;
	int rc;

	if (!from)
		return -ENOMEM;
	if (!CFS_BREAK(RENAME_KEEPS))
		cfs_tx_add_unlink(from, v->from_dir, v->from.ino, v->from_name, v->now);
	rc = add_put(tx, v->to_dir, v->to_name, v->to.ino, &v->from, v->now);
	if (rc == 0)
		rc = add_moved(tx, &v->from, v->to_dir, v->to_name, v->now);
	if (rc < 0 || v->to.ino == 0 || (CFS_BREAK(RENAME_OVER_FULL) && is_dir(&v->to)))
		return rc;
	gone = cfs_tx_at(tx, cfs_ino_home(v->to.ino));
	if (!gone)
		return -ENOMEM;
	if (is_dir(&v->to))
		cfs_tx_add_dir_gone(gone, v->to.ino);
	else
		cfs_tx_add_nlink(gone, v->to.ino, -1, v->now);
	return 0;
}

static CFS_AWAITS int judge(struct cfs_meta *m, const struct move *v, bool is_alone)
{
	int rc;

	if (is_reparenting(v) && !is_alone)
		return REPARENTING;
	rc = check_target(v);
	if (rc == 0 && is_reparenting(v))
		rc = check_loops(m, v);
	return rc == 0 ? check_types(v) : rc;
}

/*
 * What changes nothing rests on two looks, one after the other, and the first may be over by the
 * second: then both may be true, and never were at once. So the source's directory has to be the
 * same before and after: each change of its names gives it a time that it never had.
 */
static CFS_AWAITS int look_surely(struct cfs_meta *m, struct move *v, bool is_alone)
{
	struct cfs_attr before, after;
	int rc = look(m, v), verdict;

	if (rc == 0)
		rc = judge(m, v, is_alone);
	if (rc == 0 || rc == REPARENTING)
		return rc;
	rc = cfs_meta_getattr(m, v->from_dir, &before);
	if (rc == 0)
		rc = look(m, v);
	if (rc < 0)
		return rc;
	verdict = judge(m, v, is_alone);
	rc = cfs_meta_getattr(m, v->from_dir, &after);
	if (rc < 0 || verdict == 0 || verdict == REPARENTING)
		return rc < 0 ? rc : verdict;
	return before.ctime == after.ctime ? verdict : -CFS_EAGAIN_LATER;
}

/* One attempt. @is_alone: this is shard 0 with the lock. */
static CFS_AWAITS int rename_once(struct cfs_meta *m, struct cfs_shard_request *rq, struct move *v,
				  bool is_alone)
{
	struct cfs_tx tx;
	int rc = look_surely(m, v, is_alone);

	if (rc != 0)
		return rc == NO_CHANGE ? 0 : rc;
	v->now = cfs_meta_now(m);
	cfs_tx_init(&tx, m, rq);
	/* Makes no more than it takes, but for a longer name: it may use the reserve only if it
	 * frees. */
	tx.is_freeing = v->to.ino != 0 && !(v->flags & CFS_F_EXCHANGE);
	rc = v->flags & CFS_F_EXCHANGE ? add_exchange(&tx, v) : add_rename(&tx, v);
	cfs_msg_set(&rq->reply, ino, v->from.ino);
	if (rc == 0)
		rc = cfs_tx_run(&tx);
	cfs_tx_fini(&tx);
	return rc;
}

static CFS_AWAITS int rename_until(struct cfs_meta *m, struct cfs_shard_request *rq, struct move *v,
				   bool is_alone)
{
	int rc;

	for (uint32_t round = 0;; round++) {
		rc = rename_once(m, rq, v, is_alone);
		/* What was found is gone; the next look says whether names or directories are. */
		if (rc == -ESTALE && v->is_found && round < CFS_META_STALE_ROUNDS)
			rc = -CFS_EAGAIN_LATER;
		if (rc != -CFS_EAGAIN_LATER)
			return rc;
		rc = cfs_meta_again(round);
		if (rc < 0)
			return rc;
	}
}

/* Shard 0: directories get other parents one after the other. */
static CFS_AWAITS int rename_alone(struct cfs_meta *m, struct cfs_shard_request *rq, struct move *v)
{
	int rc = cfs_lock_take(&m->rename);

	if (rc < 0)
		return rc;
	rc = rename_until(m, rq, v, true);
	cfs_lock_release(&m->rename);
	return rc;
}

/* --- forwarding --- */

static struct cfs_forward *forward_find(const struct cfs_meta *m, uint64_t session, uint64_t seq)
{
	cfs_list_for_each(l, &m->forwards) {
		struct cfs_forward *f = cfs_list_entry(l, struct cfs_forward, link);

		if (f->session == session && f->seq == seq)
			return f;
	}
	return NULL;
}

int cfs_forward_apply(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_forward *f;
	uint64_t session, seq;
	bool is_pending;
	int rc = cfs_meta_get_forwarded(item, &session, &seq, &is_pending);

	if (rc < 0)
		return rc;
	f = forward_find(m, session, seq);
	if (f && !is_pending) {
		cfs_list_remove(&f->link);
		free(f);
	} else if (!f && is_pending) {
		f = cfs_stock_malloc(sizeof(*f));
		if (!f)
			return -ENOMEM;
		*f = (struct cfs_forward){ .session = session, .seq = seq };
		cfs_list_append(&m->forwards, &f->link);
	}
	return 0;
}

void cfs_forwards_fini(struct cfs_meta *m)
{
	struct cfs_list *l;

	while ((l = cfs_list_pop(&m->forwards)))
		free(cfs_list_entry(l, struct cfs_forward, link));
}

void cfs_forwards_add(const struct cfs_meta *m, struct cfs_items *it)
{
	cfs_list_for_each(l, &m->forwards) {
		const struct cfs_forward *f = cfs_list_entry(l, struct cfs_forward, link);

		cfs_meta_add_forwarded(it, f->session, f->seq, true);
	}
}

/* Says in a record of its own that a request was forwarded, or is no more. */
static CFS_AWAITS int forward_mark(struct cfs_meta *m, uint64_t session, uint64_t seq,
				   bool is_pending)
{
	struct cfs_items it;
	int rc = cfs_shard_reserve(m->shard, 64, true);

	if (rc < 0)
		return rc;
	cfs_shard_items(m->shard, &it);
	cfs_meta_add_forwarded(&it, session, seq, is_pending);
	cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	cfs_shard_unreserve(m->shard, 64, true);
	return 0;
}

CFS_AWAITS void cfs_forwards_session_end(struct cfs_meta *m, uint64_t session)
{
	struct cfs_list *l = m->forwards.next;
	int rc = 0;

	while (rc == 0 && l != &m->forwards) {
		const struct cfs_forward *f = cfs_list_entry(l, struct cfs_forward, link);

		l = l->next;
		if (f->session != session)
			continue;
		rc = forward_mark(m, session, f->seq, false);
		l = m->forwards.next; /* it may have waited */
	}
}

/*
 * Has shard 0 do it. The request goes on under the client's own session and sequence, so that shard
 * 0 keeps the answer for it, whatever becomes of us. That we forwarded it is placed first: a client
 * that comes again after a crash is sent there again, where the answer is, and not told that the
 * name is gone. (The source directory is here and is prepared after that, so the decision rests on
 * it.)
 */
static CFS_AWAITS int rename_forward(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_msg msg = *rq->msg;
	bool is_once = msg.sess != 0;
	struct cfs_record_dep dep;
	struct cfs_net_reply reply;
	struct cfs_items it;
	bool has_dep;
	int rc = 0;

	if (is_once && !forward_find(m, msg.sess, msg.seq))
		rc = forward_mark(m, msg.sess, msg.seq, true);
	if (rc == 0)
		rc = cfs_shard_reserve(m->shard, 64, true);
	if (rc < 0)
		return rc;
	cfs_msg_set(&msg, flags, rq->msg->flags | CFS_F_DIR_OK);
	msg.epoch = 0; /* it was this shard's */
	rc = cfs_meta_call(m, 0, &msg, &reply);
	if (rc == 0) {
		has_dep = cfs_msg_is_set(&reply.msg, index) && reply.msg.index;
		dep = (struct cfs_record_dep){ .shard = 0,
					       .epoch = reply.msg.epoch,
					       .index = reply.msg.index };
		cfs_msg_set(&rq->reply, ino, reply.msg.ino);
		cfs_net_reply_fini(&reply);
	}
	if (is_once && rc != -ECANCELED && rc != -ETIMEDOUT) {
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_forwarded(&it, msg.sess, msg.seq, false);
		if (rc == 0)
			cfs_shard_commit(m->shard, &it, &dep, has_dep, rq);
		else
			cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	cfs_shard_unreserve(m->shard, 64, true);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_rename(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	uint32_t shards = m->shard->env->shards;
	bool is_forwarded = msg->flags & CFS_F_DIR_OK;
	struct move v = { .from_dir = msg->ino,
			  .to_dir = msg->ino2,
			  .from_name = msg->name,
			  .to_name = msg->name2,
			  .flags = msg->flags & (CFS_F_NOREPLACE | CFS_F_EXCHANGE) };
	int rc = cfs_meta_check_name(v.from_name);

	if (rc == 0)
		rc = cfs_meta_check_name(v.to_name);
	if (rc < 0)
		return rc == -EEXIST ? -EBUSY : rc; /* "." and "..", as Linux has it */
	if (v.flags == (CFS_F_NOREPLACE | CFS_F_EXCHANGE))
		return -EINVAL;
	if (cfs_ino_home(v.from_dir) >= shards || cfs_ino_home(v.to_dir) >= shards)
		return -ESTALE;
	if (is_forwarded)
		return m->shard->id == 0 ? rename_alone(m, rq, &v) : -EINVAL;
	if (!cfs_meta_is_home(m, v.from_dir))
		return -ESTALE;
	if (forward_find(m, msg->sess, msg->seq))
		return rename_forward(m, rq);
	rc = rename_until(m, rq, &v, false);
	if (rc != REPARENTING)
		return rc;
	return m->shard->id == 0 ? rename_alone(m, rq, &v) : rename_forward(m, rq);
}
