/*
 * Deadlocks of fcntl(2) locks, over all shards and clients.
 *
 * A shard where somebody has waited for a while tells shard 0 who it is and for whom it waits, says
 * so again every second, and takes it back before it answers that the wait is over. All of it is
 * memory, which fills again after a restart and forgets by itself what is not said again.
 *
 * A cycle that was found may be one of waits that are over and not taken back yet, as the messages
 * of several shards are not in order. A deadlock stays. So one looks twice, with time for such a
 * message between, and only the wait that closed the cycle fails: it is taken out at the second
 * look, and whoever looks after finds none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "meta/lock.h"

#define BUCKETS 256u
#define LOOK_AGAIN_NS (50ull * 1000 * 1000)

struct waits {
	struct cfs_list link, todo;
	struct cfs_range_lock want;
	uint64_t ino, serial, until_ns, search;
	uint32_t count;
	struct cfs_lock_party blockers[CFS_LOCK_BLOCKERS_MAX];
};

struct cfs_lock_cycles {
	struct cfs_list buckets[BUCKETS]; /* by who waits */
	uint32_t count;
	uint64_t next_serial, search;
};

struct cfs_lock_cycles *cfs_lock_cycles_create(void)
{
	struct cfs_lock_cycles *c = calloc(1, sizeof(*c));

	for (uint32_t b = 0; c && b < BUCKETS; b++)
		cfs_list_init(&c->buckets[b]);
	return c;
}

static struct cfs_list *bucket(struct cfs_lock_cycles *c, uint64_t session, uint64_t owner)
{
	return &c->buckets[cfs_hash_u64(session ^ cfs_hash_u64(owner)) % BUCKETS];
}

static void waits_free(struct cfs_lock_cycles *c, struct waits *w)
{
	cfs_list_remove(&w->link);
	c->count--;
	free(w);
}

void cfs_lock_cycles_destroy(struct cfs_lock_cycles *c)
{
	if (!c)
		return;
	for (uint32_t b = 0; b < BUCKETS; b++)
		while (!cfs_list_is_empty(&c->buckets[b]))
			waits_free(c, cfs_list_first(&c->buckets[b], struct waits, link));
	free(c);
}

static struct waits *waits_find(struct cfs_lock_cycles *c, uint64_t ino,
				const struct cfs_range_lock *want)
{
	struct cfs_list *b = bucket(c, want->session, want->owner);

	cfs_list_for_each(l, b) {
		struct waits *w = cfs_list_entry(l, struct waits, link);

		if (w->ino == ino && cfs_range_lock_is_owner(&w->want, want) &&
		    w->want.start == want->start && w->want.end == want->end &&
		    w->want.type == want->type)
			return w;
	}
	return NULL;
}

/* Forgets what has not been said again, when there is too much. */
static void forget_old(struct cfs_lock_cycles *c, uint64_t now)
{
	for (uint32_t b = 0; b < BUCKETS; b++) {
		cfs_list_for_each_safe(l, next, &c->buckets[b]) {
			struct waits *w = cfs_list_entry(l, struct waits, link);

			if (w->until_ns <= now)
				waits_free(c, w);
		}
	}
}

/* NULL: no room; then this wait is not in the search. */
static struct waits *waits_get(struct cfs_lock_cycles *c, uint64_t ino,
			       const struct cfs_range_lock *want)
{
	struct waits *w = waits_find(c, ino, want);

	if (w)
		return w;
	if (c->count >= CFS_LOCK_CYCLE_WAITS_MAX)
		forget_old(c, cfs_now_ns());
	if (c->count >= CFS_LOCK_CYCLE_WAITS_MAX)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->ino = ino;
	w->want = *want;
	w->serial = ++c->next_serial;
	cfs_list_init(&w->todo);
	cfs_list_append(bucket(c, want->session, want->owner), &w->link);
	c->count++;
	return w;
}

/* Whether somebody that @start waits for waits for it. */
static bool is_in_cycle(struct cfs_lock_cycles *c, struct waits *start)
{
	uint64_t now = cfs_now_ns();
	struct cfs_list todo, *n;
	bool is_found = false;

	c->search++;
	cfs_list_init(&todo);
	cfs_list_append(&todo, &start->todo);
	start->search = c->search;
	while ((n = cfs_list_pop(&todo))) {
		struct waits *w = cfs_list_entry(n, struct waits, todo);

		for (uint32_t k = 0; k < w->count; k++) {
			const struct cfs_lock_party *p = &w->blockers[k];

			is_found |= p->session == start->want.session &&
				    p->owner == start->want.owner;
			cfs_list_for_each(l, bucket(c, p->session, p->owner)) {
				struct waits *next = cfs_list_entry(l, struct waits, link);

				if (next->want.session != p->session ||
				    next->want.owner != p->owner || next->search == c->search ||
				    next->until_ns <= now)
					continue;
				next->search = c->search;
				cfs_list_append(&todo, &next->todo);
			}
		}
	}
	return is_found;
}

CFS_AWAITS int cfs_lock_cycles_tell(struct cfs_lock_cycles *c, uint64_t ino,
				    const struct cfs_range_lock *want,
				    const struct cfs_lock_party *blockers, uint32_t count)
{
	struct waits *w = count ? waits_get(c, ino, want) : waits_find(c, ino, want);
	uint64_t serial;
	int rc;

	if (!w)
		return 0;
	if (count == 0) {
		waits_free(c, w);
		return 0;
	}
	w->count = CFS_MIN(count, CFS_LOCK_BLOCKERS_MAX);
	memcpy(w->blockers, blockers, w->count * sizeof(*blockers));
	w->until_ns = cfs_now_ns() + CFS_LOCK_CYCLE_KEPT_NS;
	if (!is_in_cycle(c, w))
		return 0;
	serial = w->serial;
	rc = cfs_sleep_ns(LOOK_AGAIN_NS);
	if (rc < 0)
		return rc;
	w = waits_find(c, ino, want);
	if (!w || w->serial != serial || !is_in_cycle(c, w))
		return 0;
	waits_free(c, w);
	return -EDEADLK;
}

CFS_AWAITS int cfs_lock_tell(struct cfs_meta *m, uint64_t ino, const struct cfs_range_lock *want,
			     const struct cfs_lock_party *blockers, uint32_t count)
{
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_LOCK_WAITS };
	struct cfs_net_reply reply;
	cfs_le64 data[CFS_LOCK_BLOCKERS_MAX * 2];
	int rc;

	if (m->shard->id == 0)
		return cfs_lock_cycles_tell(cfs_lock_cycles_of(m->tables.locks), ino, want,
					    blockers, count);
	for (uint32_t k = 0; k < count; k++) {
		data[2 * k] = cfs_to_le64(blockers[k].session);
		data[2 * k + 1] = cfs_to_le64(blockers[k].owner);
	}
	cfs_msg_set(&msg, ino, ino);
	cfs_msg_set(&msg, session, want->session);
	cfs_msg_set(&msg, owner, want->owner);
	cfs_msg_set(&msg, lock, want->type);
	cfs_msg_set(&msg, off, want->start);
	cfs_msg_set(&msg, len, want->end - want->start + 1);
	if (count)
		cfs_msg_set_bytes(&msg, data, (const uint8_t *)data, count * 16);
	rc = cfs_meta_call(m, 0, &msg, &reply);
	if (rc == 0)
		cfs_net_reply_fini(&reply);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_lock_waits(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_lock_party blockers[CFS_LOCK_BLOCKERS_MAX];
	struct cfs_range_lock want;
	uint32_t count = cfs_msg_is_set(msg, data) ? msg->data.len / 16 : 0;
	int rc = cfs_lock_of_request(msg, msg->session, &want);

	if (rc < 0)
		return rc;
	if (m->shard->id != 0 || count > CFS_LOCK_BLOCKERS_MAX ||
	    (cfs_msg_is_set(msg, data) && msg->data.len % 16))
		return -EINVAL;
	for (uint32_t k = 0; k < count; k++) {
		cfs_le64 v[2];

		memcpy(v, msg->data.p + 16ul * k, sizeof(v));
		blockers[k] = (struct cfs_lock_party){ cfs_from_le64(v[0]), cfs_from_le64(v[1]) };
	}
	return cfs_lock_cycles_tell(cfs_lock_cycles_of(m->tables.locks), msg->ino, &want, blockers,
				    count);
}
