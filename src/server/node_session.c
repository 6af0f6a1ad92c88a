/*
 * Sessions: who lives, and who is to let go of what (doc/design/leases.md).
 *
 * A client has one request at each core that waits there, WATCH: it renews the session at core 0,
 * brings recalls, and with the next one the client says which it has carried out. Core 0 ends a
 * session that it has not heard of for its life; a core that waits too long for an answer has it
 * renewed no more. Its end goes to every core before what it held is free, so nothing of it is
 * carried out later.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "server/node_internal.h"

#define LOOK_MIN_NS (100ull * 1000 * 1000)
#define LOOK_MAX_NS (5000ull * 1000 * 1000)
#define RECALLS_AT_ONCE 512u
#define EPOCH_SHIFT 40 /* an answer names recalls of one start */

static struct cfs_list *session_bucket(struct node_core *c, uint64_t id)
{
	return &c->sessions[cfs_hash_u64(id) % CFS_NODE_SESSION_BUCKETS];
}

static struct node_session *session_find(struct node_core *c, uint64_t id)
{
	cfs_list_for_each(l, session_bucket(c, id)) {
		struct node_session *s = cfs_list_entry(l, struct node_session, link);

		if (s->id == id)
			return s;
	}
	return NULL;
}

bool cfs_node_session_is_known(const struct node_core *c, uint64_t id)
{
	return session_find((struct node_core *)(uintptr_t)c, id) != NULL;
}

static bool has_ended(const struct node_core *c, uint64_t id)
{
	for (uint32_t i = 0; i < CFS_NODE_ENDED_MAX; i++)
		if (c->ended[i] == id)
			return true;
	return false;
}

static struct node_session *session_get(struct node_core *c, uint64_t id)
{
	struct node_session *s = session_find(c, id);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	s->heard_ns = s->recall_ns = cfs_now_ns();
	s->next_seq = (c->node->epoch << EPOCH_SHIFT) + 1;
	cfs_list_init(&s->recalls);
	cfs_waitq_init(&s->watchers);
	cfs_list_append(session_bucket(c, id), &s->link);
	return s;
}

static void recalls_free(struct node_session *s)
{
	struct cfs_list *l;

	while ((l = cfs_list_pop(&s->recalls)))
		free(cfs_list_entry(l, struct node_recall, link));
}

static void session_put(struct node_session *s)
{
	if (s->is_gone && s->users == 0) {
		recalls_free(s);
		free(s);
	}
}

static void session_remove(struct node_session *s)
{
	cfs_list_remove(&s->link);
	s->is_gone = true;
	cfs_waitq_wake_all(&s->watchers);
	session_put(s);
}

void cfs_node_session_found(void *core, uint64_t id)
{
	if (id != 0)
		(void)session_get(core, id);
}

/* --- on all cores --- */

struct session_job {
	struct node_core *core;
	uint64_t id;
	bool is_new;
};

static int learn_here(void *arg)
{
	struct session_job *j = arg;

	if (j->is_new && has_ended(j->core, j->id))
		return -CFS_ENO_SESSION;
	return session_get(j->core, j->id) ? 0 : -ENOMEM;
}

static CFS_AWAITS int learn(struct cfs_node *n, uint64_t id, bool is_new)
{
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < n->cores; k++) {
		struct session_job j = { .core = &n->core[k], .id = id, .is_new = is_new };

		rc = cfs_core_call(k, learn_here, &j);
	}
	return rc;
}

struct list_job {
	struct node_core *core;
	uint64_t *ids;
	uint32_t count;
};

static int list_here(void *arg)
{
	struct list_job *j = arg;

	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++)
		cfs_list_for_each(l, &j->core->sessions[b])
			j->count++;
	j->ids = calloc(j->count + 1ul, sizeof(*j->ids));
	if (!j->ids)
		return -ENOMEM;
	j->count = 0;
	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++)
		cfs_list_for_each(l, &j->core->sessions[b])
			j->ids[j->count++] = cfs_list_entry(l, struct node_session, link)->id;
	return 0;
}

static int own_here(void *arg)
{
	struct session_job *j = arg;
	struct node_session *s = session_get(j->core, j->id);

	if (!s)
		return -ENOMEM;
	s->is_ours = true;
	return 0;
}

CFS_AWAITS int cfs_node_sessions_share(struct cfs_node *n)
{
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < n->cores; k++) {
		struct list_job j = { .core = &n->core[k] };

		rc = cfs_core_call(k, list_here, &j);
		for (uint32_t i = 0; rc == 0 && i < j.count; i++)
			rc = learn(n, j.ids[i], false);
		free(j.ids);
		for (uint32_t i = 0; rc == 0 && i < n->cores; i++) {
			struct session_job own = { .core = &n->core[i], .id = n->core[k].session };

			rc = cfs_core_call(i, own_here, &own);
		}
	}
	return rc;
}

/* The oldest that is not ours; 0: there is none. */
static int first_here(void *arg)
{
	struct session_job *j = arg;

	j->id = 0;
	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS && j->id == 0; b++)
		cfs_list_for_each(l, &j->core->sessions[b]) {
			const struct node_session *s = cfs_list_entry(l, struct node_session, link);

			if (!s->is_ours)
				j->id = s->id;
		}
	return 0;
}

CFS_AWAITS void cfs_node_sessions_end_all(struct cfs_node *n)
{
	struct session_job j = { .core = &n->core[0] };

	while (cfs_core_call(0, first_here, &j) == 0 && j.id != 0)
		cfs_node_session_end(n, j.id);
}

static int hear_here(void *arg)
{
	struct session_job *j = arg;
	struct node_session *s = session_find(j->core, j->id);

	if (!s || s->is_refused)
		return -CFS_ENO_SESSION;
	s->heard_ns = cfs_now_ns();
	return 0;
}

/* So that it is known after a restart, whether any shard holds something for it or not. Who only
 * wants to know what is wrong with the store is let in all the same. */
static CFS_AWAITS int begun_here(void *arg)
{
	struct session_job *j = arg;
	int rc = CFS_BREAK(NO_SESSION_BEGUN)
			 ? 0
			 : cfs_shard_session_note(j->core->shards[0], j->id, false);

	if (rc < 0)
		cfs_warn(
			"a session has begun without a record: after a restart it may not be known",
			"session=%016llx cause=%s", (unsigned long long)j->id, cfs_err_text(rc));
	return 0;
}

static CFS_AWAITS int begin(struct node_core *c, uint64_t id)
{
	struct session_job j = { .core = &c->node->core[0], .id = id };
	int rc = learn(c->node, id, true);

	return rc < 0 ? rc : cfs_core_call(0, begun_here, &j);
}

CFS_AWAITS int cfs_node_hello(struct node_core *c, uint64_t id, bool is_new)
{
	struct node_session *s = id ? session_find(c, id) : NULL;

	if (id == 0)
		return -EINVAL;
	if (s && s->is_refused)
		return -CFS_ENO_SESSION;
	if (s) {
		struct session_job j = { .core = &c->node->core[0], .id = id };

		return cfs_core_call(0, hear_here, &j);
	}
	return is_new ? begin(c, id) : -CFS_ENO_SESSION;
}

/* Nobody is let in any more; what it held is still held. */
static int refuse_here(void *arg)
{
	struct session_job *j = arg;
	struct node_core *c = j->core;
	struct node_session *s = session_find(c, j->id);

	c->ended[c->ended_at++ % CFS_NODE_ENDED_MAX] = j->id;
	if (s && !s->is_ours)
		session_remove(s);
	return 0;
}

static CFS_AWAITS int release_here(void *arg)
{
	struct session_job *j = arg;
	struct node_core *c = j->core;

	for (uint32_t i = 0; i < c->node->shards; i++) {
		if (c->shards[i])
			cfs_shard_session_end(c->shards[i], j->id);
	}
	return 0;
}

static CFS_AWAITS void on_all(struct cfs_node *n, uint64_t id, int (*fn)(void *))
{
	struct session_job j = { .id = id };

	for (uint32_t k = 0; k < n->cores; k++) {
		j.core = &n->core[k];
		cfs_core_call(k, fn, &j);
	}
}

/* What is released in part must not come back with a restart. */
static CFS_AWAITS int over_here(void *arg)
{
	struct session_job *j = arg;
	int rc = CFS_BREAK(NO_SESSION_OVER)
			 ? 0
			 : cfs_shard_session_note(j->core->shards[0], j->id, true);

	if (rc < 0)
		cfs_err("a session's end is not on the device: after a crash it may come back with "
			"less than it had",
			"session=%016llx cause=%s", (unsigned long long)j->id, cfs_err_text(rc));
	return 0;
}

CFS_AWAITS void cfs_node_session_end(struct cfs_node *n, uint64_t id)
{
	struct session_job j = { .core = &n->core[0], .id = id };

	on_all(n, id, refuse_here);
	cfs_core_call(0, over_here, &j);
	on_all(n, id, release_here);
}

/* Their shards still hold something for them, as everybody knows by now. */
CFS_AWAITS void cfs_node_sessions_refuse_over(struct cfs_node *n)
{
	n->half_over_count = 0;
	for (uint32_t i = 0; i < CFS_SESSIONS_OVER_MAX; i++) {
		uint64_t id = cfs_sessions_over(&n->core[0].shards[0]->sessions, i);

		if (id && session_find(&n->core[0], id))
			n->half_over[n->half_over_count++] = id;
		if (id)
			on_all(n, id, refuse_here);
	}
}

CFS_AWAITS void cfs_node_sessions_release_over(struct cfs_node *n)
{
	for (uint32_t i = 0; i < n->half_over_count; i++)
		on_all(n, n->half_over[i], release_here);
}

/* --- recalls --- */

int cfs_node_recall(void *core, uint64_t session, uint32_t shard, uint64_t ino, uint64_t stamp)
{
	struct node_core *c = core;
	struct node_session *s = session_find(c, session);
	struct node_recall *r;

	if (!s)
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (cfs_list_is_empty(&s->recalls))
		s->recall_ns = cfs_now_ns();
	r->seq = s->next_seq++;
	r->what = (struct cfs_recall){ .ino = ino, .stamp = stamp, .shard = shard };
	cfs_list_append(&s->recalls, &r->link);
	cfs_waitq_wake_all(&s->watchers);
	return 0;
}

/* Recalls up to @ack are carried out. */
static void answered(struct node_core *c, struct node_session *s, uint64_t ack)
{
	while (!cfs_list_is_empty(&s->recalls)) {
		struct node_recall *r = cfs_list_first(&s->recalls, struct node_recall, link);
		struct cfs_recall what = r->what;

		if (r->seq > ack)
			break;
		cfs_list_remove(&r->link);
		free(r);
		s->recall_ns = cfs_now_ns();
		if (what.shard < c->node->shards && c->shards[what.shard])
			cfs_shard_recalled(c->shards[what.shard], s->id, what.ino, what.stamp);
	}
}

static CFS_AWAITS int reply_recalls(struct node_session *s, struct cfs_msg *reply,
				    struct cfs_buf **buf)
{
	uint32_t count = 0;
	int rc = cfs_buf_get(RECALLS_AT_ONCE * CFS_RECALL_BYTES, buf);

	if (rc < 0)
		return rc;
	cfs_list_for_each(l, &s->recalls) {
		const struct node_recall *r = cfs_list_entry(l, struct node_recall, link);

		if (count == RECALLS_AT_ONCE)
			break;
		cfs_recall_encode(&r->what, (*buf)->data + count++ * CFS_RECALL_BYTES);
		cfs_msg_set(reply, ack, r->seq);
	}
	cfs_msg_set_bytes(reply, data, (*buf)->data, count * CFS_RECALL_BYTES);
	return 0;
}

CFS_AWAITS int cfs_node_watch(struct node_core *c, const struct cfs_msg *req, struct cfs_msg *reply,
			      struct cfs_buf **buf)
{
	struct node_session *s = session_find(c, req->session);
	uint64_t deadline;
	int rc = 0;

	if (!s)
		return -CFS_ENO_SESSION;
	s->users++;
	answered(c, s, req->ack);
	if (s->is_refused)
		rc = -CFS_ENO_SESSION;
	else
		s->heard_ns = cfs_now_ns();
	deadline = cfs_deadline_narrow(cfs_now_ns() + c->node->session_life_ns / 6);
	while (rc == 0 && !s->is_gone && !s->is_refused && !c->node->is_ending &&
	       cfs_list_is_empty(&s->recalls))
		rc = cfs_waitq_wait(&s->watchers);
	cfs_deadline_restore(deadline);
	if (rc == -ETIMEDOUT)
		rc = 0;
	if (rc == 0 && (s->is_gone || s->is_refused))
		rc = -CFS_ENO_SESSION;
	if (rc == 0 && !cfs_list_is_empty(&s->recalls))
		rc = reply_recalls(s, reply, buf);
	s->users--;
	session_put(s);
	return rc;
}

bool cfs_node_knows(void *core, uint64_t id)
{
	return cfs_node_session_is_known(core, id) || CFS_BREAK(NO_REFUSE);
}

/* --- those that fell silent --- */

static int refuse_renewals(void *arg)
{
	struct session_job *j = arg;
	struct node_session *s = session_find(j->core, j->id);

	if (s) {
		s->is_refused = true;
		cfs_waitq_wake_all(&s->watchers);
	}
	if (s && j->core->id == 0) {
		cfs_warn("client does not answer a recall, its session ends", "session=%016llx",
			 (unsigned long long)j->id);
	}
	return 0;
}

/* The first session with something due at @now, or NULL; *@next_ns: when to look again. */
static struct node_session *due(struct node_core *c, uint64_t now, uint64_t *next_ns)
{
	uint64_t life_ns = c->node->session_life_ns;

	if (CFS_BREAK(RELEASE_EARLY))
		life_ns /= 3;
	*next_ns = now + CFS_MIN(life_ns, LOOK_MAX_NS); /* one may begin meanwhile */
	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++) {
		cfs_list_for_each(l, &c->sessions[b]) {
			struct node_session *s = cfs_list_entry(l, struct node_session, link);
			uint64_t end = UINT64_MAX;

			if (s->is_ours)
				continue;
			if (c->id == 0)
				end = s->heard_ns + life_ns;
			if (!cfs_list_is_empty(&s->recalls) && !s->is_refused)
				end = CFS_MIN(end, s->recall_ns + life_ns / 3);
			if (end <= now)
				return s;
			*next_ns = CFS_MIN(*next_ns, end);
		}
	}
	return NULL;
}

CFS_AWAITS void cfs_node_sessions_run(void *arg)
{
	struct node_core *c = arg;
	uint64_t next_ns = cfs_now_ns() + LOOK_MIN_NS;

	for (;;) {
		uint64_t now = cfs_now_ns();
		struct node_session *s;

		if (cfs_sleep_ns(next_ns > now + LOOK_MIN_NS ? next_ns - now : LOOK_MIN_NS) < 0)
			return;
		while ((s = due(c, cfs_now_ns(), &next_ns))) {
			struct session_job j = { .core = &c->node->core[0], .id = s->id };

			if (c->id == 0 &&
			    s->heard_ns + c->node->session_life_ns /
						    (CFS_BREAK(RELEASE_EARLY) ? 3 : 1) <=
				    cfs_now_ns()) {
				cfs_info("session ended: silent", "session=%016llx",
					 (unsigned long long)s->id);
				cfs_node_session_end(c->node, j.id);
				continue;
			}
			for (uint32_t k = 0; k < c->node->cores; k++) {
				j.core = &c->node->core[k];
				cfs_core_call(k, refuse_renewals, &j);
			}
		}
	}
}

int cfs_node_sessions_wake(void *core)
{
	struct node_core *c = core;

	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++)
		cfs_list_for_each(l, &c->sessions[b])
			cfs_waitq_wake_all(&cfs_list_entry(l, struct node_session, link)->watchers);
	return 0;
}

void cfs_node_sessions_fini(struct node_core *c)
{
	for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++) {
		while (!cfs_list_is_empty(&c->sessions[b]))
			session_remove(cfs_list_first(&c->sessions[b], struct node_session, link));
	}
}
