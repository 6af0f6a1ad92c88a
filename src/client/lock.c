/*
 * Locks (doc/design/locks.md). A LOCK is a change: it is answered at once, and runs once whatever
 * is lost on the way. Waiting is not: a LOCK_WAIT is held by the server until it may be our turn,
 * then LOCK is tried again.
 *
 * A signal ends the wait and not the LOCK: what a server may have done is waited for, so that the
 * caller knows what it holds. Only a dying caller does not wait, and all that it holds goes when
 * its files are closed. The LOCK_WAIT runs in a fiber of its own, which is cancelled then; the
 * server is told, so that it lets others go first.
 *
 * Each LOCK_WAIT that is held takes a credit of its connection, which everybody else needs too; so
 * only some are held, and who finds no room asks without being held, now and then.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "client/client_internal.h"

#define LEAVE_NS (1000ull * 1000 * 1000) /* best effort: the server forgets who does not come */

static void request(struct cfs_msg *req, uint16_t op, uint64_t ino, const struct cfs_client_lock *l,
		    uint32_t flags)
{
	cfs_client_request(req, op, ino);
	cfs_msg_set(req, owner, l->owner);
	cfs_msg_set(req, lock, l->type);
	cfs_msg_set(req, off, l->start);
	cfs_msg_set(req, len, l->end - l->start + 1);
	flags |= l->is_flock ? CFS_F_FLOCK : 0;
	if (flags)
		cfs_msg_set(req, flags, flags);
}

static int check(const struct cfs_client_lock *l)
{
	return l->start > l->end || l->end > INT64_MAX || l->type > CFS_LOCK_NONE ? -EINVAL : 0;
}

static CFS_AWAITS int lock_once(struct cfs_client_op *op, uint64_t ino,
				const struct cfs_client_lock *l, bool waits)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_msg req;
	int rc;

	request(&req, CFS_OP_LOCK, ino, l, waits ? CFS_F_LOCK_WAITS : 0);
	cfs_msg_set(&req, pid, l->pid);
	rc = cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
	/* Of what is gone nobody holds anything. */
	return rc == -ESTALE && l->type == CFS_LOCK_NONE ? 0 : rc;
}

/* A LOCK_WAIT under way. */
struct turn {
	struct cfs_client_op own; /* its waits for a server are ended by cancelling */
	struct cfs_client_op *op;
	const struct cfs_client_lock *lock;
	uint64_t ino;
	int rc;
	bool is_done;
};

static CFS_AWAITS int wait_call(struct cfs_client_op *op, uint64_t ino,
				const struct cfs_client_lock *l, uint32_t flags, uint32_t hold_ms)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_msg req;

	request(&req, CFS_OP_LOCK_WAIT, ino, l, flags);
	if (hold_ms)
		cfs_msg_set(&req, count, hold_ms);
	return cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
}

static CFS_AWAITS void turn_run(void *arg)
{
	struct turn *t = arg;
	struct cfs_client *c = t->own.client;
	const struct cfs_client_lock *l = t->lock;
	bool finds_deadlocks = l->finds_deadlocks && l->finds_deadlocks(l->arg);
	uint32_t flags = finds_deadlocks ? CFS_F_LOCK_CYCLES : 0;

	do {
		bool is_held = c->lock_waits < CFS_CLIENT_LOCK_WAITS_MAX;

		c->lock_waits += is_held;
		t->rc = wait_call(&t->own, t->ino, l, flags, is_held ? CFS_CLIENT_LOCK_HOLD_MS : 0);
		c->lock_waits -= is_held;
		if (t->rc == -EAGAIN && !is_held)
			t->rc = cfs_sleep_ns(CFS_CLIENT_LOCK_POLL_NS) < 0 ? -ECANCELED : -EAGAIN;
	} while (t->rc == -EAGAIN);
	t->is_done = true;
	cfs_waitq_wake_all(&t->op->waiters);
}

static bool is_stopped(const struct cfs_client_op *op)
{
	return op->is_signaled || op->is_interrupted;
}

static CFS_AWAITS void leave(struct cfs_client *c, uint64_t ino, const struct cfs_client_lock *l)
{
	uint64_t deadline = cfs_deadline_narrow(cfs_now_ns() + LEAVE_NS);
	struct cfs_client_op op;

	cfs_client_op_init(&op, c, 0, 0);
	if (!c->is_lost)
		(void)wait_call(&op, ino, l, CFS_F_LOCK_LEAVES, 0);
	cfs_deadline_restore(deadline);
}

/* 0: it may be our turn; -EINTR; -EDEADLK; -ENOLCK; -ECANCELED. */
static CFS_AWAITS int wait_turn(struct cfs_client_op *op, uint64_t ino,
				const struct cfs_client_lock *l)
{
	struct turn t = { .op = op, .lock = l, .ino = ino };
	struct cfs_group fibers;
	int rc;

	cfs_client_op_init(&t.own, op->client, op->uid, op->gid);
	cfs_group_init(&fibers);
	rc = cfs_group_start(&fibers, turn_run, &t);
	while (rc == 0 && !t.is_done && !is_stopped(op))
		rc = cfs_waitq_wait(&op->waiters);
	cfs_group_cancel(&fibers);
	cfs_group_join(&fibers);
	if (t.is_done && t.rc != -ECANCELED)
		return t.rc;
	if (rc == 0)
		leave(op->client, ino, l);
	return rc < 0 ? rc : -EINTR;
}

int cfs_client_lock(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_lock *l,
		    bool waits)
{
	int rc = check(l);

	while (rc == 0) {
		rc = lock_once(op, ino, l, waits);
		if (rc != -EAGAIN || !waits || l->type == CFS_LOCK_NONE)
			return rc;
		rc = wait_turn(op, ino, l);
	}
	return rc;
}

int cfs_client_lock_test(struct cfs_client_op *op, uint64_t ino, struct cfs_client_lock *l)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	const struct cfs_msg *m = &reply.msg;
	struct cfs_msg req;
	int rc = check(l);

	if (rc < 0)
		return rc;
	request(&req, CFS_OP_LOCK_TEST, ino, l, 0);
	rc = cfs_client_call(op, cfs_ino_home(ino), &req, &reply);
	if (rc < 0)
		return rc;
	if (!cfs_msg_is_set(m, lock) || m->lock > CFS_LOCK_NONE)
		return -EIO;
	l->type = m->lock;
	if (l->type == CFS_LOCK_NONE)
		return 0;
	if (!cfs_msg_is_set(m, off) || !cfs_msg_is_set(m, len) || m->len == 0 ||
	    m->off > INT64_MAX || m->len - 1 > INT64_MAX - m->off)
		return -EIO;
	l->start = m->off;
	l->end = m->off + (m->len - 1);
	l->pid = m->pid;
	return 0;
}
