/*
 * Holding and waiting.
 *
 * A LOCK is refused, placed, or changes nothing; which of it is decided and done without a
 * suspension. One that would wait (CFS_F_LOCK_WAITS) is also refused while somebody who came before
 * could have what it wants, or has waited for it for less than CFS_LOCK_YOUNG_NS: see behind(). An
 * owner that holds something of the file already goes past the queue, as those in it may be waiting
 * for it.
 *
 * flock(2) changes its type by giving the old lock up and asking for the new one. So one that is
 * refused loses what it had, by a record whose answer is -EAGAIN; two that want to become writers
 * would wait for each other for ever else.
 *
 * Waits wake when something is given back or somebody leaves the queue, and each looks again
 * whether it is its turn. A wait goes when its lock is placed, when its client says so or does not
 * come again, with its session, and with the inode.
 */
#include "meta/lock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/util.h"

#define SESSION_END_OWNERS 32u /* items in a record */

/* Who wants a lock and has not got it. */
struct wait {
	struct cfs_list link;
	struct cfs_range_lock want;
	uint64_t since_ns, seen_ns; /* first came; was last answered */
	uint32_t calls;             /* that are held */
	bool is_left;               /* goes with the last of them */
	/* For the search: for whom it waits, since when, and when shard 0 was told (0: it was not).
	 */
	uint32_t blocker_count;
	struct cfs_lock_party blockers[CFS_LOCK_BLOCKERS_MAX];
	uint64_t blocked_ns, told_ns;
};

struct cfs_inode_locks {
	struct cfs_lock_set set;
	struct cfs_list waits; /* in order of arrival */
	uint32_t wait_count;
	struct cfs_waitq changed;
};

/* How many ranges a session has in this shard. */
struct lock_session {
	struct cfs_list link;
	uint64_t session;
	uint32_t count;
};

struct cfs_lock_table {
	struct cfs_list sessions; /* last used first */
	struct cfs_lock_cycles *cycles;
	uint32_t wait_count;
};

int cfs_lock_table_create(struct cfs_lock_table **out)
{
	struct cfs_lock_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	cfs_list_init(&t->sessions);
	t->cycles = cfs_lock_cycles_create();
	if (!t->cycles) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void cfs_lock_table_destroy(struct cfs_lock_table *t)
{
	struct cfs_list *l;

	if (!t)
		return;
	while ((l = cfs_list_pop(&t->sessions)))
		free(cfs_list_entry(l, struct lock_session, link));
	cfs_lock_cycles_destroy(t->cycles);
	free(t);
}

struct cfs_lock_cycles *cfs_lock_cycles_of(const struct cfs_lock_table *t)
{
	return t->cycles;
}

static struct lock_session *session_find(struct cfs_lock_table *t, uint64_t session)
{
	cfs_list_for_each(l, &t->sessions) {
		struct lock_session *s = cfs_list_entry(l, struct lock_session, link);

		if (s->session != session)
			continue;
		cfs_list_remove(&s->link);
		cfs_list_push(&t->sessions, &s->link);
		return s;
	}
	return NULL;
}

static struct lock_session *session_get(struct cfs_lock_table *t, uint64_t session)
{
	struct lock_session *s = session_find(t, session);

	if (s)
		return s;
	s = cfs_stock_calloc(sizeof(*s));
	if (!s)
		return NULL;
	s->session = session;
	cfs_list_push(&t->sessions, &s->link);
	return s;
}

static void session_count(struct cfs_lock_table *t, uint64_t session, int32_t change)
{
	struct lock_session *s = session_find(t, session);

	cfs_assert(s || change == 0);
	if (!s)
		return;
	s->count += (uint32_t)change;
	if (s->count > 0)
		return;
	cfs_list_remove(&s->link);
	free(s);
}

/* --- of an inode --- */

static struct cfs_inode_locks *locks_get(struct cfs_inode *i)
{
	struct cfs_inode_locks *k = i->locks;

	if (k)
		return k;
	k = cfs_stock_calloc(sizeof(*k));
	if (!k)
		return NULL;
	cfs_lock_set_init(&k->set);
	cfs_list_init(&k->waits);
	cfs_waitq_init(&k->changed);
	i->locks = k;
	return k;
}

static void wait_free(struct cfs_lock_table *t, struct cfs_inode_locks *k, struct wait *w)
{
	cfs_list_remove(&w->link);
	k->wait_count--;
	t->wait_count--;
	free(w);
}

/* At once, or when its last call is answered. */
static void wait_leave(struct cfs_lock_table *t, struct cfs_inode_locks *k, struct wait *w)
{
	w->is_left = true;
	if (w->calls == 0)
		wait_free(t, k, w);
	cfs_waitq_wake_all(&k->changed);
}

static bool wait_is_old(const struct wait *w, uint64_t now)
{
	return w->calls == 0 && w->seen_ns + CFS_LOCK_TURN_NS <= now;
}

/* Frees what nobody needs any more. */
static void locks_tidy(struct cfs_lock_table *t, struct cfs_inode *i)
{
	struct cfs_inode_locks *k = i->locks;
	uint64_t now;

	if (!k || k->set.count > 0)
		return;
	now = cfs_list_is_empty(&k->waits) ? 0 : cfs_now_ns();
	cfs_list_for_each_safe(l, next, &k->waits) {
		struct wait *w = cfs_list_entry(l, struct wait, link);

		if (wait_is_old(w, now))
			wait_free(t, k, w);
	}
	if (cfs_list_is_empty(&k->waits))
		cfs_inode_locks_free(i);
}

void cfs_inode_locks_free(struct cfs_inode *i)
{
	if (!i->locks)
		return;
	cfs_assert(cfs_list_is_empty(&i->locks->waits));
	cfs_lock_set_fini(&i->locks->set);
	free(i->locks);
	i->locks = NULL;
}

void cfs_inode_locks_clear(struct cfs_lock_table *t, struct cfs_inode *i)
{
	struct cfs_inode_locks *k = i->locks;

	if (!k)
		return;
	for (uint32_t n = 0; n < k->set.count; n++)
		session_count(t, k->set.locks[n].session, -1);
	cfs_lock_set_fini(&k->set);
	cfs_list_for_each_safe(l, next, &k->waits) {
		struct wait *w = cfs_list_entry(l, struct wait, link);

		w->is_left = true;
		if (w->calls == 0)
			wait_free(t, k, w);
	}
	cfs_waitq_wake_all(&k->changed);
}

const struct cfs_lock_set *cfs_inode_locks_of(const struct cfs_inode *i)
{
	return i->locks && i->locks->set.count ? &i->locks->set : NULL;
}

bool cfs_inode_has_lock_session(const struct cfs_inode *i, uint64_t session)
{
	if (!i->locks)
		return false;
	cfs_list_for_each(l, &i->locks->waits)
		if (cfs_list_entry(l, struct wait, link)->want.session == session)
			return true;
	return cfs_lock_set_of_session(&i->locks->set, session) != NULL;
}

int cfs_lock_apply(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_lock_table *t = m->tables.locks;
	struct cfs_range_lock l;
	struct cfs_inode_locks *k;
	struct cfs_inode *i;
	uint32_t before;
	uint64_t ino;
	int rc = cfs_meta_get_lock(item, &ino, &l);

	if (rc < 0)
		return rc;
	if (is_load && CFS_BREAK(LOCKS_FORGOTTEN))
		return 0;
	i = cfs_inode_find(&m->tables, ino);
	if (!i || !S_ISREG(i->attr.mode))
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	k = locks_get(i);
	if (!k || !session_get(t, l.session))
		return -ENOMEM;
	before = k->set.count;
	rc = cfs_lock_set_put(&k->set, &l);
	session_count(t, l.session, (int32_t)k->set.count - (int32_t)before);
	if (rc < 0)
		return rc;
	/* One for writing is in nobody's way less than what was there before. */
	if (l.type != CFS_LOCK_WRITE)
		cfs_waitq_wake_all(&k->changed);
	locks_tidy(t, i);
	return 0;
}

/* --- turns --- */

static bool is_held(const struct cfs_inode_locks *k, const struct cfs_range_lock *want)
{
	uint32_t at = 0;

	return cfs_lock_set_next(&k->set, want, &at) != NULL;
}

/*
 * Whether @want, here since @since_ns, has to let somebody go first that is in the queue before
 * @self (NULL: at its end). *@again_ns: when that may be otherwise, if nothing changes.
 */
static bool behind(const struct cfs_inode_locks *k, const struct cfs_range_lock *want,
		   const struct wait *self, uint64_t since_ns, uint64_t *again_ns)
{
	uint64_t now = cfs_now_ns();

	if (cfs_lock_set_has_owner(&k->set, want))
		return false;
	cfs_list_for_each(l, &k->waits) {
		const struct wait *w = cfs_list_entry(l, struct wait, link);
		uint64_t again = 0;

		if (w == self)
			return false;
		if (w->is_left || wait_is_old(w, now) || !cfs_range_locks_conflict(&w->want, want))
			continue;
		if (!is_held(k, &w->want))
			again = (w->calls ? now : w->seen_ns) + CFS_LOCK_TURN_NS;
		else if (now < since_ns + CFS_LOCK_YOUNG_NS)
			again = since_ns + CFS_LOCK_YOUNG_NS;
		if (again) {
			*again_ns = again;
			return true;
		}
	}
	return false;
}

static struct wait *wait_find(const struct cfs_inode_locks *k, const struct cfs_range_lock *want)
{
	cfs_list_for_each(l, &k->waits) {
		struct wait *w = cfs_list_entry(l, struct wait, link);

		if (!w->is_left && cfs_range_lock_is_owner(&w->want, want) &&
		    w->want.start == want->start && w->want.end == want->end &&
		    w->want.type == want->type)
			return w;
	}
	return NULL;
}

/* --- LOCK and LOCK_TEST --- */

int cfs_lock_of_request(const struct cfs_msg *msg, uint64_t session, struct cfs_range_lock *out)
{
	bool is_flock = msg->flags & CFS_F_FLOCK;

	if (msg->lock > CFS_LOCK_NONE || msg->len == 0 || msg->off > CFS_LOCK_END_MAX ||
	    msg->len - 1 > CFS_LOCK_END_MAX - msg->off || session == 0)
		return -EINVAL;
	if (is_flock && (msg->off != 0 || msg->len - 1 != CFS_LOCK_END_MAX))
		return -EINVAL;
	*out = (struct cfs_range_lock){ .session = session,
					.owner = msg->owner,
					.start = msg->off,
					.end = msg->off + (msg->len - 1),
					.pid = msg->pid,
					.type = (uint8_t)msg->lock,
					.is_flock = is_flock };
	return 0;
}

/* Whether @l may be placed. 0; -EAGAIN; -ENOLCK. */
static int may_place(struct cfs_lock_table *t, const struct cfs_inode_locks *k,
		     const struct cfs_range_lock *l, bool is_waiting, int32_t growth)
{
	const struct lock_session *s;
	const struct wait *self;
	uint64_t again_ns;

	if (l->type != CFS_LOCK_NONE) {
		if (is_held(k, l))
			return -EAGAIN;
		self = is_waiting ? wait_find(k, l) : NULL;
		if (is_waiting &&
		    behind(k, l, self, self ? self->since_ns : cfs_now_ns(), &again_ns))
			return -EAGAIN;
	}
	/* Also by giving something back in the middle. */
	s = session_get(t, l->session);
	if (!s)
		return -ENOLCK;
	return growth > 0 && (k->set.count + (uint32_t)growth > CFS_LOCKS_PER_INODE_MAX ||
			      s->count + (uint32_t)growth > CFS_LOCKS_PER_SESSION_MAX)
		       ? -ENOLCK
		       : 0;
}

static int place(struct cfs_meta *m, struct cfs_shard_request *rq, struct cfs_range_lock *l)
{
	struct cfs_lock_table *t = m->tables.locks;
	struct cfs_inode_locks *k;
	struct cfs_items it;
	struct wait *w;
	bool is_same;
	int rc = 0, answer = 0;
	struct cfs_inode *i = cfs_meta_inode(m, rq->msg->ino, &rc);
	int32_t growth;

	if (!i)
		return rc;
	if (!S_ISREG(i->attr.mode))
		return -EINVAL;
	if (!i->locks && l->type == CFS_LOCK_NONE)
		return 0;
	k = locks_get(i);
	if (!k)
		return -ENOLCK;
	growth = cfs_lock_set_growth(&k->set, l, &is_same);
	rc = is_same ? 0 : may_place(t, k, l, rq->msg->flags & CFS_F_LOCK_WAITS, growth);
	if (rc == -EAGAIN && l->is_flock && cfs_lock_set_has_owner(&k->set, l) &&
	    !CFS_BREAK(FLOCK_KEPT)) {
		l->type = CFS_LOCK_NONE;
		answer = rc;
		rc = 0;
	}
	if (rc == 0 && !is_same && cfs_lock_set_reserve(&k->set) < 0)
		rc = -ENOLCK;
	if (rc == 0 && !is_same) {
		cfs_shard_items(m->shard, &it);
		cfs_meta_add_lock(&it, i->attr.ino, l);
		if (answer)
			cfs_msg_set(&rq->reply, rc, answer);
		cfs_shard_commit(m->shard, &it, NULL, 0, rq);
	}
	/* Applying it may have freed them. */
	k = i->locks;
	w = k && rc == 0 && answer == 0 && l->type != CFS_LOCK_NONE ? wait_find(k, l) : NULL;
	if (w)
		wait_leave(t, k, w);
	session_count(t, l->session, 0);
	locks_tidy(t, i);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_lock(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_range_lock l;
	bool is_freeing = rq->msg->lock == CFS_LOCK_NONE;
	int rc = cfs_lock_of_request(rq->msg, rq->msg->sess, &l);

	if (rc == 0)
		rc = cfs_meta_begin(m, CFS_LEASE_SKIP, rq->msg->ino, 0, CFS_LOCK_ITEM_BYTES,
				    is_freeing);
	if (rc < 0)
		return rc == -ENOSPC ? -ENOLCK : rc;
	rc = cfs_shard_has_ended(m->shard, rq->msg->sess) ? -CFS_ENO_SESSION : place(m, rq, &l);
	cfs_meta_end(m, CFS_LOCK_ITEM_BYTES, is_freeing);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_lock_test(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_range_lock *held;
	struct cfs_range_lock l;
	struct cfs_inode *i;
	uint32_t at = 0;
	int rc = cfs_lock_of_request(rq->msg, rq->msg->sess, &l);

	if (rc == 0)
		rc = cfs_meta_settle(m, rq->msg->ino);
	i = rc == 0 ? cfs_meta_inode(m, rq->msg->ino, &rc) : NULL;
	if (!i)
		return rc;
	held = i->locks ? cfs_lock_set_next(&i->locks->set, &l, &at) : NULL;
	cfs_msg_set(&rq->reply, lock, held ? held->type : CFS_LOCK_NONE);
	if (!held)
		return 0;
	cfs_msg_set(&rq->reply, off, held->start);
	cfs_msg_set(&rq->reply, len, held->end - held->start + 1);
	cfs_msg_set(&rq->reply, pid, held->pid);
	return 0;
}

/* --- LOCK_WAIT --- */

/* -ENOLCK. */
static int wait_get(struct cfs_lock_table *t, struct cfs_inode_locks *k,
		    const struct cfs_range_lock *want, struct wait **out)
{
	struct wait *w = wait_find(k, want);
	uint64_t now = cfs_now_ns();

	if (w && wait_is_old(w, now)) {
		wait_free(t, k, w);
		w = NULL;
	}
	if (!w) {
		if (k->wait_count >= CFS_LOCK_WAITS_PER_INODE_MAX ||
		    t->wait_count >= CFS_LOCK_WAITS_MAX)
			return -ENOLCK;
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOLCK;
		w->want = *want;
		w->since_ns = now;
		cfs_list_append(&k->waits, &w->link);
		k->wait_count++;
		t->wait_count++;
	}
	w->calls++;
	*out = w;
	return 0;
}

/* For whom @w waits now. True: for the same ones as before. */
static bool blockers_take(const struct cfs_inode_locks *k, struct wait *w)
{
	struct cfs_lock_party now[CFS_LOCK_BLOCKERS_MAX];
	const struct cfs_range_lock *l;
	uint32_t count = 0, at = 0;
	bool is_same;

	while (count < CFS_LOCK_BLOCKERS_MAX && (l = cfs_lock_set_next(&k->set, &w->want, &at))) {
		bool is_known = false;

		for (uint32_t n = 0; n < count; n++)
			is_known |= now[n].session == l->session && now[n].owner == l->owner;
		if (!is_known)
			now[count++] = (struct cfs_lock_party){ l->session, l->owner };
	}
	is_same = count == w->blocker_count && memcmp(now, w->blockers, count * sizeof(*now)) == 0;
	memcpy(w->blockers, now, count * sizeof(*now));
	w->blocker_count = count;
	if (!is_same)
		w->blocked_ns = cfs_now_ns();
	return is_same;
}

/*
 * Tells shard 0 what it has to know of @w. 1: told, look at everything again; 0: nothing to tell
 * before *@again_ns; -EDEADLK; -ECANCELED; -ETIMEDOUT.
 */
static CFS_AWAITS int search(struct cfs_meta *m, uint64_t ino, struct wait *w, uint64_t *again_ns)
{
	bool is_same = blockers_take(cfs_inode_find(&m->tables, ino)->locks, w);
	uint64_t due = w->told_ns ? w->told_ns + CFS_LOCK_CYCLE_AGAIN_NS
				  : w->blocked_ns + CFS_LOCK_CYCLE_AFTER_NS;
	uint32_t count = w->blocker_count;
	struct cfs_lock_party blockers[CFS_LOCK_BLOCKERS_MAX];
	int rc;

	/* It waits for others, and shard 0 knows it of those before: that has to go at once. */
	if (!is_same && w->told_ns) {
		w->told_ns = 0;
		count = 0;
	} else if (cfs_now_ns() < due || count == 0) {
		if (count)
			*again_ns = CFS_MIN(*again_ns, due);
		return 0;
	} else {
		w->told_ns = cfs_now_ns();
	}
	memcpy(blockers, w->blockers, sizeof(blockers));
	rc = cfs_lock_tell(m, ino, &w->want, blockers, count);
	if (rc == -EDEADLK)
		w->told_ns = 0;
	return rc < 0 ? rc : 1;
}

/* Until it is @w's turn. 0; -EAGAIN: not by @until_ns; -EDEADLK; -ESTALE; -ECANCELED. */
static CFS_AWAITS int wait_turn(struct cfs_meta *m, struct cfs_inode *i, struct wait *w,
				bool finds_cycles, uint64_t until_ns)
{
	for (;;) {
		struct cfs_inode_locks *k = i->locks;
		uint64_t again_ns = until_ns, next_ns = until_ns, deadline;
		int rc;

		if (i->is_gone)
			return -ESTALE;
		if (w->is_left)
			return -EAGAIN;
		if (!is_held(k, &w->want)) {
			if (!behind(k, &w->want, w, w->since_ns, &next_ns))
				return 0;
			again_ns = CFS_MIN(again_ns, next_ns);
		}
		rc = finds_cycles ? search(m, i->attr.ino, w, &again_ns) : 0;
		if (rc < 0)
			return rc;
		if (rc > 0)
			continue;
		if (cfs_now_ns() >= until_ns)
			return -EAGAIN;
		deadline = cfs_deadline_narrow(again_ns);
		rc = cfs_waitq_wait(&k->changed);
		cfs_deadline_restore(deadline);
		if (rc < 0 && rc != -ETIMEDOUT)
			return rc;
	}
}

/* It is answered with @rc: its place is kept for who comes again. */
static CFS_AWAITS void wait_put(struct cfs_meta *m, struct cfs_inode *i, struct wait *w, int rc)
{
	struct cfs_lock_table *t = m->tables.locks;

	/* Before the answer: who goes on may be waited for next. */
	if (w->told_ns && w->calls == 1 && (rc != -EAGAIN || w->is_left)) {
		w->told_ns = 0;
		(void)cfs_lock_tell(m, i->attr.ino, &w->want, NULL, 0);
	}
	w->calls--;
	w->seen_ns = cfs_now_ns();
	if (w->is_left || (rc < 0 && rc != -EAGAIN)) {
		w->is_left = true;
		cfs_waitq_wake_all(&i->locks->changed);
		if (w->calls == 0)
			wait_free(t, i->locks, w);
	}
	if (!i->is_gone)
		locks_tidy(t, i);
}

static int leave(struct cfs_meta *m, struct cfs_inode *i, const struct cfs_range_lock *l)
{
	struct wait *w = i->locks ? wait_find(i->locks, l) : NULL;

	if (w)
		wait_leave(m->tables.locks, i->locks, w);
	locks_tidy(m->tables.locks, i);
	return 0;
}

CFS_AWAITS int cfs_meta_serve_lock_wait(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	uint64_t hold_ns = CFS_MIN(msg->count * 1000000ull, CFS_LOCK_HOLD_MAX_NS);
	struct cfs_inode_locks *k;
	struct cfs_range_lock l;
	struct cfs_inode *i;
	struct wait *w;
	int rc = cfs_lock_of_request(msg, msg->sess, &l);

	if (rc == 0 && l.type == CFS_LOCK_NONE)
		rc = -EINVAL;
	if (rc == 0)
		rc = cfs_meta_settle(m, msg->ino);
	i = rc == 0 ? cfs_meta_inode(m, msg->ino, &rc) : NULL;
	if (!i)
		return rc;
	if (!S_ISREG(i->attr.mode))
		return -EINVAL;
	if (msg->flags & CFS_F_LOCK_LEAVES)
		return leave(m, i, &l);
	k = locks_get(i);
	rc = k ? wait_get(m->tables.locks, k, &l, &w) : -ENOLCK;
	if (rc < 0)
		return rc;
	cfs_inode_pin(i);
	rc = wait_turn(m, i, w, (msg->flags & CFS_F_LOCK_CYCLES) && !l.is_flock,
		       CFS_MIN(cfs_now_ns() + hold_ns, cfs_deadline()));
	wait_put(m, i, w, rc);
	cfs_inode_unpin(i);
	return rc;
}

/* --- sessions --- */

CFS_AWAITS int cfs_lock_session_end(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	uint32_t bytes = SESSION_END_OWNERS * CFS_LOCK_ITEM_BYTES;

	for (;;) {
		int rc = cfs_meta_begin(m, CFS_LEASE_SKIP, ino, 0, bytes, true);
		struct cfs_inode *i;
		struct cfs_items it;
		uint32_t owners = 0;

		if (rc < 0)
			return rc;
		i = cfs_inode_find(&m->tables, ino);
		if (i && i->locks) {
			cfs_list_for_each_safe(l, next, &i->locks->waits) {
				struct wait *w = cfs_list_entry(l, struct wait, link);

				if (w->want.session == session)
					wait_leave(m->tables.locks, i->locks, w);
			}
		}
		cfs_shard_items(m->shard, &it);
		for (uint32_t n = 0;
		     i && i->locks && n < i->locks->set.count && owners < SESSION_END_OWNERS; n++) {
			struct cfs_range_lock l = i->locks->set.locks[n];

			if (l.session != session ||
			    (n > 0 && cfs_range_lock_is_owner(&l, &i->locks->set.locks[n - 1])))
				continue;
			l.start = 0;
			l.end = CFS_LOCK_END_MAX;
			l.type = CFS_LOCK_NONE;
			cfs_meta_add_lock(&it, ino, &l);
			owners++;
		}
		if (owners)
			cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
		cfs_meta_end(m, bytes, true);
		if (owners < SESSION_END_OWNERS) {
			if (i && i->locks)
				locks_tidy(m->tables.locks, i);
			return 0;
		}
	}
}
