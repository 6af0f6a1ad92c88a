#include "meta/lease.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/util.h"

#define BUCKETS_MIN 64u
#define HOLDS_MAX 16384u /* of a shard; past that the oldest one is recalled */
#define GRANT_BYTES 64u
/* For so long after somebody else was seen there a lease is shared. */
#define SHARED_NS (10ull * 1000 * 1000 * 1000)
/* Recalls of others' leases in so short a time that leases are not worth it, and for how long. */
#define CONTENDED_RECALLS 8u
#define CONTENDED_WINDOW_NS (1000ull * 1000 * 1000)
#define CONTENDED_NS (1000ull * 1000 * 1000)
#define NO_MEMORY_NS (1000ull * 1000)
#define CHECKPOINT_BATCH 32u

struct lease;

struct hold {
	struct cfs_list link;  /* of its lease */
	struct cfs_list order; /* of the shard: oldest first */
	struct lease *lease;
	uint64_t session;
	uint64_t recall; /* the stamp of its recall; 0: none is under way */
};

struct lease {
	struct lease *next;   /* in its bucket */
	struct cfs_list idle; /* of those without a holder */
	uint64_t ino;
	struct cfs_list holds;
	uint32_t hold_count;
	uint32_t waiting; /* fibers that wait for recalls: nothing is granted meanwhile */
	bool is_exclusive;
	struct cfs_waitq waiters;
	uint64_t shared_until_ns, contended_until_ns;
	uint64_t window_ns; /* when the present count of recalls began */
	uint32_t recalls;
};

struct cfs_lease_table {
	struct cfs_meta *meta;
	struct lease **buckets;
	uint64_t bucket_count, count; /* leases; buckets: a power of two */
	struct cfs_list order, idle;
	uint32_t hold_count;
	uint64_t recalls; /* counts: the lower part of the stamp */
};

int cfs_leases_create(struct cfs_meta *m, struct cfs_lease_table **out)
{
	struct cfs_lease_table *t = calloc(1, sizeof(*t));

	if (t)
		t->buckets = calloc(BUCKETS_MIN, sizeof(struct lease *));
	if (!t || !t->buckets) {
		free(t);
		return -ENOMEM;
	}
	t->meta = m;
	t->bucket_count = BUCKETS_MIN;
	cfs_list_init(&t->order);
	cfs_list_init(&t->idle);
	*out = t;
	return 0;
}

static struct lease **bucket_of(const struct cfs_lease_table *t, uint64_t ino)
{
	return &t->buckets[cfs_hash_u64(ino) & (t->bucket_count - 1)];
}

static struct lease *lease_find(const struct cfs_lease_table *t, uint64_t ino)
{
	struct lease *l;

	if (t->count == 0)
		return NULL;
	for (l = *bucket_of(t, ino); l && l->ino != ino; l = l->next)
		;
	return l;
}

/* Larger buckets when there is memory for them; without them it is only slower. */
static void grow(struct cfs_lease_table *t)
{
	uint64_t count = t->bucket_count * 2;
	struct lease **buckets = calloc(count, sizeof(*buckets));

	if (!buckets)
		return;
	for (uint64_t b = 0; b < t->bucket_count; b++) {
		while (t->buckets[b]) {
			struct lease *l = t->buckets[b];
			struct lease **to = &buckets[cfs_hash_u64(l->ino) & (count - 1)];

			t->buckets[b] = l->next;
			l->next = *to;
			*to = l;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->bucket_count = count;
}

static void lease_free(struct cfs_lease_table *t, struct lease *l)
{
	struct lease **at = bucket_of(t, l->ino);

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	cfs_list_remove(&l->idle);
	t->count--;
	free(l);
}

/* Without a holder or a waiter it is kept while it has something to say. */
static void tidy(struct cfs_lease_table *t, struct lease *l)
{
	if (l->hold_count > 0 || l->waiting > 0)
		return;
	l->is_exclusive = false;
	if (CFS_MAX(l->shared_until_ns, l->contended_until_ns) <= cfs_now_ns())
		lease_free(t, l);
	else if (cfs_list_is_empty(&l->idle))
		cfs_list_append(&t->idle, &l->idle);
}

static void tidy_oldest(struct cfs_lease_table *t)
{
	struct lease *l;

	if (cfs_list_is_empty(&t->idle))
		return;
	l = cfs_list_first(&t->idle, struct lease, idle);
	cfs_list_remove(&l->idle);
	cfs_list_init(&l->idle);
	tidy(t, l);
}

static struct lease *lease_get(struct cfs_lease_table *t, uint64_t ino)
{
	struct lease *l = lease_find(t, ino), **bucket;

	if (l)
		return l;
	tidy_oldest(t);
	tidy_oldest(t);
	l = cfs_stock_calloc(sizeof(*l));
	if (!l)
		return NULL;
	if (t->count >= t->bucket_count)
		grow(t);
	l->ino = ino;
	cfs_list_init(&l->holds);
	cfs_list_init(&l->idle);
	cfs_waitq_init(&l->waiters);
	bucket = bucket_of(t, ino);
	l->next = *bucket;
	*bucket = l;
	t->count++;
	return l;
}

static struct hold *hold_find(const struct lease *l, uint64_t session)
{
	cfs_list_for_each(n, &l->holds) {
		struct hold *h = cfs_list_entry(n, struct hold, link);

		if (h->session == session)
			return h;
	}
	return NULL;
}

static int hold_add(struct cfs_lease_table *t, struct lease *l, uint64_t session)
{
	struct hold *h = cfs_stock_calloc(sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->lease = l;
	h->session = session;
	cfs_list_append(&l->holds, &h->link);
	cfs_list_append(&t->order, &h->order);
	cfs_list_remove(&l->idle);
	cfs_list_init(&l->idle);
	l->hold_count++;
	t->hold_count++;
	return 0;
}

/* The lease may be gone after it. */
static void hold_remove(struct cfs_lease_table *t, struct hold *h)
{
	struct lease *l = h->lease;

	cfs_list_remove(&h->link);
	cfs_list_remove(&h->order);
	l->hold_count--;
	t->hold_count--;
	free(h);
	cfs_waitq_wake_all(&l->waiters);
	tidy(t, l);
}

void cfs_leases_destroy(struct cfs_lease_table *t)
{
	if (!t)
		return;
	for (uint64_t b = 0; b < t->bucket_count; b++) {
		while (t->buckets[b]) {
			struct lease *l = t->buckets[b];
			struct cfs_list *n;

			while ((n = cfs_list_pop(&l->holds)))
				free(cfs_list_entry(n, struct hold, link));
			t->buckets[b] = l->next;
			free(l);
		}
	}
	free(t->buckets);
	free(t);
}

/* --- what is in the way --- */

static bool is_alone(const struct lease *l, uint64_t session)
{
	return l->hold_count == 1 && l->is_exclusive &&
	       cfs_list_first(&l->holds, struct hold, link)->session == session;
}

bool cfs_lease_is_in_way(const struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct lease *l = lease_find(m->leases, ino);

	if (!l || l->hold_count == 0 || CFS_BREAK(NO_RECALL))
		return false;
	if (CFS_BREAK(OWN_LEASE_EXEMPT) && l->hold_count == 1 && hold_find(l, session))
		return false;
	return session == 0 || !is_alone(l, session);
}

bool cfs_lease_hides(const struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct lease *l = lease_find(m->leases, ino);

	return l && l->is_exclusive && l->hold_count > 0 && !hold_find(l, session) &&
	       !CFS_BREAK(READ_WHILE_WRITTEN);
}

static uint64_t stamp_of(const struct cfs_meta *m)
{
	return (m->shard->epoch << 40) + m->leases->recalls;
}

/* Tells the client. One whose session nobody knows has ended. False: no memory to tell it. */
static bool recall(struct cfs_meta *m, struct hold *h, uint64_t stamp)
{
	struct cfs_shard_env *env = m->shard->env;
	int rc = -ENOENT;

	if (env->recall)
		rc = env->recall(env->ctx, h->session, m->shard->id, h->lease->ino, stamp);
	if (rc == -ENOENT)
		hold_remove(m->leases, h);
	else if (rc == 0)
		h->recall = stamp;
	return rc == 0 || rc == -ENOENT;
}

/* False: not all of them. */
static bool recall_all(struct cfs_meta *m, struct lease *l)
{
	bool is_all = true;
	uint64_t stamp = 0;

	cfs_list_for_each_safe(n, next, &l->holds) {
		struct hold *h = cfs_list_entry(n, struct hold, link);

		if (h->recall)
			continue;
		if (stamp == 0) {
			m->leases->recalls++;
			stamp = stamp_of(m);
		}
		is_all &= recall(m, h, stamp);
	}
	return is_all;
}

/* Somebody else is there: what has to be recalled again and again is not given. */
static void note_other(struct lease *l)
{
	uint64_t now = cfs_now_ns();

	l->shared_until_ns = now + SHARED_NS;
	if (now - l->window_ns > CONTENDED_WINDOW_NS) {
		l->window_ns = now;
		l->recalls = 0;
	}
	if (++l->recalls >= CONTENDED_RECALLS)
		l->contended_until_ns = now + CONTENDED_NS;
}

/* After a power cut clients may have leases that nobody knows of any more. */
static CFS_AWAITS int wait_quiet(struct cfs_meta *m)
{
	uint64_t until = m->shard->env->quiet_until_ns, now = cfs_now_ns();

	return now < until ? cfs_sleep_ns(until - now) : 0;
}

/* @is_in_way: whether to go on recalling. */
static CFS_AWAITS int clear(struct cfs_meta *m, uint64_t ino, uint64_t session,
			    bool (*is_in_way)(const struct cfs_meta *m, uint64_t ino,
					      uint64_t session))
{
	struct lease *l;
	int rc = 0;

	if (!is_in_way(m, ino, session))
		return 0;
	l = lease_find(m->leases, ino);
	if (l->hold_count > 1 || !hold_find(l, session))
		note_other(l);
	l->waiting++;
	while (rc == 0 && is_in_way(m, ino, session)) {
		bool is_all = recall_all(m, l);

		if (is_in_way(m, ino, session))
			rc = is_all ? cfs_waitq_wait(&l->waiters) : cfs_sleep_ns(NO_MEMORY_NS);
	}
	l->waiting--;
	tidy(m->leases, l);
	return rc;
}

CFS_AWAITS int cfs_lease_clear(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	int rc = wait_quiet(m);

	return rc < 0 ? rc : clear(m, ino, session, cfs_lease_is_in_way);
}

CFS_AWAITS int cfs_lease_read(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	return clear(m, ino, session, cfs_lease_hides);
}

/* --- grants --- */

/* A file that somebody has open for writing is not leased: its data changes where nobody looks for
 * leases. Nor one that may be seen late. */
static bool may_have(const struct cfs_meta *m, const struct cfs_inode *i)
{
	const struct lease *l = lease_find(m->leases, i->attr.ino);

	if (!S_ISDIR(i->attr.mode) && (!S_ISREG(i->attr.mode) || cfs_inode_is_written(i)))
		return false;
	if (cfs_attr_lazy_ms(&i->attr))
		return false;
	return !l || ((l->waiting == 0 || CFS_BREAK(GRANT_DURING_RECALL)) &&
		      l->contended_until_ns <= cfs_now_ns());
}

static bool is_open_by_other(const struct cfs_inode *i, uint64_t session)
{
	for (const struct cfs_open *o = i->opens; o; o = o->next)
		if (o->session != session)
			return true;
	return false;
}

#define EXCLUSIVE 1u /* in a grant's flags */

int cfs_lease_apply(struct cfs_meta *m, const struct cfs_item *item)
{
	struct lease *l;
	cfs_le64 v[3] = { 0 }; /* the third was not always there */

	if (item->len_bytes != sizeof(v) && item->len_bytes != 2 * sizeof(v[0]))
		return -CFS_EBAD_FORMAT;
	memcpy(v, item->data, item->len_bytes);
	/* A load may come to it before or after the inode has gone. */
	if (!cfs_inode_find(&m->tables, cfs_from_le64(v[0])))
		return 0;
	l = lease_get(m->leases, cfs_from_le64(v[0]));
	if (!l)
		return -ENOMEM;
	/* Whoever had one before has given it back, which has no record. */
	l->waiting++;
	while ((cfs_from_le64(v[2]) & EXCLUSIVE) && !cfs_list_is_empty(&l->holds))
		hold_remove(m->leases, cfs_list_first(&l->holds, struct hold, link));
	l->waiting--;
	l->is_exclusive = cfs_from_le64(v[2]) & EXCLUSIVE;
	return hold_find(l, cfs_from_le64(v[1])) ? 0 : hold_add(m->leases, l, cfs_from_le64(v[1]));
}

static void add_grant(struct cfs_items *it, uint64_t ino, uint64_t session, bool is_exclusive)
{
	cfs_le64 v[3] = { cfs_to_le64(ino), cfs_to_le64(session),
			  cfs_to_le64(is_exclusive ? EXCLUSIVE : 0) };
	uint8_t *p = cfs_items_add(it, CFS_META_LEASE, sizeof(v));

	if (p)
		memcpy(p, v, sizeof(v));
}

static bool has(const struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct lease *l = lease_find(m->leases, ino);
	const struct hold *h = l ? hold_find(l, session) : NULL;

	return h && (h->recall == 0 || CFS_BREAK(GRANT_DURING_RECALL));
}

/* Without room in the store, or memory, there is none: no request fails for it. */
static CFS_AWAITS void grant(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	const struct cfs_inode *i = cfs_inode_find(&m->tables, ino);
	struct lease *l;
	struct cfs_items it;

	if (!i || !may_have(m, i) || has(m, ino, session) || !m->shard->env->recall ||
	    cfs_shard_reserve(m->shard, GRANT_BYTES, false) < 0)
		return;
	i = cfs_inode_find(&m->tables, ino);
	l = i && may_have(m, i) ? lease_get(m->leases, ino) : NULL;
	if (l && !hold_find(l, session) && !cfs_lease_hides(m, ino, session) &&
	    cfs_meta_is_settled(m, ino)) {
		bool is_exclusive = l->hold_count == 0 && l->shared_until_ns <= cfs_now_ns() &&
				    !is_open_by_other(i, session);

		cfs_shard_items(m->shard, &it);
		add_grant(&it, ino, session, is_exclusive);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
		if (m->leases->hold_count > HOLDS_MAX) {
			struct hold *h = cfs_list_first(&m->leases->order, struct hold, order);

			if (h->recall == 0) {
				m->leases->recalls++;
				recall(m, h, stamp_of(m));
			}
		}
	} else if (l) {
		tidy(m->leases, l);
	}
	cfs_shard_unreserve(m->shard, GRANT_BYTES, false);
}

CFS_AWAITS int cfs_lease_look(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino)
{
	uint64_t session = rq->msg->sess;
	bool wants = session != 0 && (rq->msg->flags & CFS_F_LEASE);
	int rc;

	do {
		rc = cfs_meta_settle(m, ino);
		if (rc == 0)
			rc = cfs_lease_read(m, ino, session);
		if (rc == 0 && wants) {
			grant(m, ino, session);
			wants = false;
			if (CFS_BREAK(GRANT_DURING_RECALL))
				break;
			rc = cfs_meta_settle(m, ino);
		}
	} while (rc == 0 && (!cfs_meta_is_settled(m, ino) || cfs_lease_hides(m, ino, session)));
	return rc;
}

void cfs_lease_reply(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino)
{
	if (rq->msg->sess != 0 && (rq->msg->flags & CFS_F_LEASE) && has(m, ino, rq->msg->sess) &&
	    cfs_meta_is_settled(m, ino))
		cfs_msg_set(&rq->reply, lease, stamp_of(m));
}

void cfs_lease_drop(struct cfs_meta *m, uint64_t ino, uint64_t session)
{
	struct lease *l = lease_find(m->leases, ino);
	struct hold *h = l ? hold_find(l, session) : NULL;

	if (h)
		hold_remove(m->leases, h);
}

void cfs_lease_forget(struct cfs_meta *m, uint64_t ino)
{
	struct lease *l = lease_find(m->leases, ino);

	if (!l)
		return;
	l->waiting++; /* it stays for the loop */
	while (!cfs_list_is_empty(&l->holds))
		hold_remove(m->leases, cfs_list_first(&l->holds, struct hold, link));
	l->waiting--;
	l->shared_until_ns = l->contended_until_ns = 0;
	tidy(m->leases, l);
}

void cfs_lease_recalled(struct cfs_meta *m, uint64_t session, uint64_t ino, uint64_t stamp)
{
	struct lease *l = lease_find(m->leases, ino);
	struct hold *h = l ? hold_find(l, session) : NULL;

	/* One that was given since is another. */
	if (h && h->recall != 0 && (h->recall <= stamp || CFS_BREAK(ANSWER_UNNAMED)))
		hold_remove(m->leases, h);
}

bool cfs_lease_has_session(const struct cfs_meta *m, uint64_t session)
{
	cfs_list_for_each(n, &m->leases->order) {
		if (cfs_list_entry(n, struct hold, order)->session == session)
			return true;
	}
	return false;
}

void cfs_lease_session_end(struct cfs_meta *m, uint64_t session)
{
	cfs_list_for_each_safe(n, next, &m->leases->order) {
		struct hold *h = cfs_list_entry(n, struct hold, order);

		if (h->session == session)
			hold_remove(m->leases, h);
	}
}

void cfs_lease_sessions(const struct cfs_meta *m, void (*fn)(void *ctx, uint64_t session),
			void *ctx)
{
	cfs_list_for_each(n, &m->leases->order)
		fn(ctx, cfs_list_entry(n, struct hold, order)->session);
}

/* Copies what is there: all of it may change while it is written. */
CFS_AWAITS int cfs_lease_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c)
{
	uint64_t count = m->leases->hold_count, at = 0;
	uint64_t(*holds)[3] = malloc((count + 1) * sizeof(*holds));
	int rc = holds ? 0 : -ENOMEM;

	if (rc == 0) {
		cfs_list_for_each(n, &m->leases->order) {
			const struct hold *h = cfs_list_entry(n, struct hold, order);

			holds[at][0] = h->lease->ino;
			holds[at][1] = h->session;
			holds[at++][2] = h->lease->is_exclusive;
		}
		cfs_assert(at == count);
	}
	for (uint64_t k = 0; rc == 0 && k < count; k += CHECKPOINT_BATCH) {
		uint8_t buf[CHECKPOINT_BATCH * 32];
		struct cfs_items it;

		cfs_items_init(&it, buf, sizeof(buf));
		for (uint64_t j = k; j < count && j < k + CHECKPOINT_BATCH; j++)
			add_grant(&it, holds[j][0], holds[j][1], holds[j][2]);
		rc = cfs_store_checkpoint_write(c, buf, it.len_bytes);
	}
	free(holds);
	return rc;
}
