/*
 * The session and its leases (doc/design/leases.md). At each core one request waits, WATCH: it
 * comes back with recalls, or with nothing after a while, and renews the session at core 0. The
 * next one says what was carried out.
 *
 * A lease is good while the session was renewed lately, counted from when the renewal was sent: a
 * server counts from when it heard of it, and waits half as long again. A reply may be overtaken by
 * the recall of what it says: so recalls raise a floor for their shard, and a reply from below it
 * is not kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/log.h"
#include "client/client_internal.h"

#define ERROR_PAUSE_NS (100ull * 1000 * 1000)
#define GRACE_NS (2000ull * 1000 * 1000) /* for an answer beside what the server waits */

static bool may_lease(uint16_t op)
{
	return op == CFS_OP_LOOKUP || op == CFS_OP_GETATTR || op == CFS_OP_READDIR ||
	       op == CFS_OP_OPEN || op == CFS_OP_CREATE || op == CFS_OP_MKDIR || op == CFS_OP_LINK;
}

void cfs_client_lease_ask(const struct cfs_client_op *op, struct cfs_msg *req)
{
	uint32_t flags = cfs_msg_is_set(req, flags) ? req->flags : 0;

	if (op->wants_lease && op->client->recall && may_lease(req->op))
		cfs_msg_set(req, flags, flags | CFS_F_LEASE);
}

void cfs_client_lease_take(struct cfs_client_op *op, uint32_t shard, const struct cfs_msg *req,
			   const struct cfs_msg *reply)
{
	if (!(req->flags & CFS_F_LEASE) || !may_lease(req->op))
		return;
	op->has_lease = cfs_msg_is_set(reply, lease);
	op->lease_stamp = reply->lease;
	op->lease_session = req->sess; /* another one may have begun since */
	op->lease_ino = req->ino;
	op->lease_shard = shard & (op->client->map.shards - 1);
}

uint64_t cfs_client_lease_ns(const struct cfs_client_op *op)
{
	const struct cfs_client *c = op->client;
	uint64_t now = cfs_now_ns(), until = c->renewed_ns + c->life_ns / 3 * 2;

	if (!op->has_lease || op->lease_session != c->session || op->lease_shard >= c->floor_count)
		return 0;
	if (op->lease_stamp < c->floors[op->lease_shard] && !CFS_BREAK(NO_GRANT_NUMBER))
		return 0;
	if (CFS_BREAK(NO_SESSION_STOP))
		return 10 * c->life_ns;
	return c->renewed_ns != 0 && until > now ? until - now : 0;
}

static void floor_raise(struct cfs_client *c, uint32_t shard, uint64_t stamp)
{
	if (shard < c->floor_count)
		c->floors[shard] = CFS_MAX(c->floors[shard], stamp);
}

/* --- watching --- */

struct watch {
	struct cfs_client *client;
	uint32_t core;
	uint64_t session, ack; /* recalls of that session up to here are carried out */
};

/* One round. The code of the call or of the answer. */
static CFS_AWAITS int watch_once(struct watch *w, struct cfs_net_reply *reply)
{
	struct cfs_client *c = w->client;
	struct cfs_client_peer *peer = c->core_peer[w->core];
	uint64_t deadline, sent_ns = cfs_now_ns(), session = c->session;
	struct cfs_msg req;
	int rc;

	if (w->session != session) {
		w->session = session;
		w->ack = 0;
	}
	cfs_client_request(&req, CFS_OP_WATCH, 0);
	req.has = 0;
	req.sess = session;
	req.hlc = c->hlc;
	cfs_msg_set(&req, session, session);
	cfs_msg_set(&req, ack, w->ack);
	peer->refs++;
	/* An answer that was lost is to be asked for again well within the life. */
	deadline =
		cfs_deadline_narrow(sent_ns + c->life_ns / 6 + CFS_MIN(GRACE_NS, c->life_ns / 6));
	rc = cfs_net_call(peer->net, &req, reply);
	cfs_deadline_restore(deadline);
	cfs_client_peer_put(peer);
	if (rc == 0 && cfs_msg_is_set(&reply->msg, rc))
		rc = (int)reply->msg.rc;
	if (rc == 0 && session != c->session)
		rc = -CFS_EAGAIN_LATER;
	if (rc == 0 && w->core == 0)
		c->renewed_ns = CFS_MAX(c->renewed_ns, sent_ns);
	return rc;
}

static CFS_AWAITS void recall_these(struct watch *w, const struct cfs_msg *m)
{
	struct cfs_client *c = w->client;
	struct cfs_recall r;

	if (!cfs_msg_is_set(m, data) || !cfs_msg_is_set(m, ack))
		return;
	for (uint32_t at = 0; at + CFS_RECALL_BYTES <= m->data.len; at += CFS_RECALL_BYTES) {
		cfs_recall_decode(m->data.p + at, &r);
		floor_raise(c, r.shard, r.stamp);
	}
	for (uint32_t at = 0; at + CFS_RECALL_BYTES <= m->data.len; at += CFS_RECALL_BYTES) {
		cfs_recall_decode(m->data.p + at, &r);
		c->stats.recalls++;
		if (c->recall)
			c->recall(c->recall_ctx, r.ino);
	}
	w->ack = m->ack;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void watch_run(void *arg)
{
	struct watch *w = arg;
	struct cfs_client *c = w->client;
	struct cfs_client_op op;
	int rc = 0;

	cfs_client_op_init(&op, c, 0, 0);
	while (!cfs_fiber_is_canceled() && !c->is_closing && w->core < c->map.cores) {
		CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
		uint64_t gen = c->map_gen, begin_ns = cfs_now_ns();

		rc = watch_once(w, &reply);
		if (rc == 0 && cfs_msg_is_set(&reply.msg, data)) {
			recall_these(w, &reply.msg);
		} else if (rc == 0) {
			/* One that does not let us wait is asked less often. */
			if (cfs_now_ns() - begin_ns < ERROR_PAUSE_NS)
				rc = cfs_sleep_ns(ERROR_PAUSE_NS);
		} else if (rc == -CFS_EDISCONNECTED || rc == -CFS_ENOT_HERE ||
			   rc == -CFS_ENO_SESSION) {
			rc = cfs_client_wait_map(&op, gen, CFS_DEADLINE_NONE);
		} else if (rc != -ETIMEDOUT && rc != -CFS_EAGAIN_LATER) {
			rc = cfs_sleep_ns(ERROR_PAUSE_NS);
		}
		if (rc == -ECANCELED)
			break;
	}
	c->is_watched[w->core] = false;
	free(w);
}

int cfs_client_watch_cores(struct cfs_client *c)
{
	for (uint32_t i = 0; i < c->map.cores; i++) {
		struct watch *w;

		if (c->is_watched[i])
			continue;
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->client = c;
		w->core = i;
		if (cfs_group_start(&c->fibers, watch_run, w) < 0) {
			free(w);
			return -ENOMEM;
		}
		c->is_watched[i] = true;
	}
	return 0;
}

/* --- starting over --- */

struct dropping {
	struct cfs_client *client;
	uint64_t session; /* that holds it; 0: ours */
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void drop_run(void *arg)
{
	struct dropping *d = arg;
	struct cfs_client *c = d->client;

	if (c->recall_all)
		c->recall_all(c->recall_ctx);
	/* If it has not ended yet, whoever waits for it need not wait longer. */
	if (d->session)
		cfs_client_bye(c, d->session);
	free(d);
}

/* Without memory what is kept ends with its time, and the session by itself. */
static void drop_all(struct cfs_client *c, uint64_t session)
{
	struct dropping *d = malloc(sizeof(*d));

	if (!d)
		return;
	*d = (struct dropping){ c, session };
	if (cfs_group_start(&c->fibers, drop_run, d) < 0)
		free(d);
}

void cfs_client_leases_doubt(struct cfs_client *c)
{
	for (uint32_t i = 0; i < c->floor_count; i++)
		c->floors[i] = CFS_MAX(c->floors[i], c->map.epoch << 40);
	drop_all(c, 0);
}

void cfs_client_session_new(struct cfs_client *c)
{
	do {
		c->session = cfs_rand_u64();
	} while (c->session == 0);
	c->is_new = true;
	c->renewed_ns = 0;
}

void cfs_client_evicted(struct cfs_client *c)
{
	uint64_t old = c->session;

	cfs_warn("the session has ended, another one begins", "session=%016llx",
		 (unsigned long long)c->session);
	c->stats.evictions++;
	cfs_client_session_new(c);
	cfs_client_files_doubt(c);
	if (c->evicted)
		c->evicted(c->recall_ctx);
	drop_all(c, old);
}

struct reopen {
	uint64_t ino;
	uint32_t opens, writes;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void reopen_run(void *arg)
{
	struct cfs_client *c = arg;
	uint64_t session = c->session;
	uint32_t count = 0;
	struct reopen *all = calloc(c->files.count + 1ul, sizeof(*all));
	struct cfs_client_op op;

	cfs_client_op_init(&op, c, 0, 0);
	for (uint32_t b = 0; all && b < c->files.bucket_count; b++)
		for (const struct cfs_client_file *f = c->files.buckets[b]; f; f = f->next)
			if (f->opens)
				all[count++] = (struct reopen){ f->ino, f->opens, f->writes };
	for (uint32_t i = 0; i < count && session == c->session; i++) {
		for (uint32_t k = 0; k < all[i].opens; k++) {
			CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
			const struct cfs_client_file *f = cfs_client_file_find(c, all[i].ino);
			struct cfs_msg req;
			int rc;

			if (!f || f->opens <= k)
				break; /* closed meanwhile */
			cfs_client_request(&req, CFS_OP_OPEN, all[i].ino);
			if (k < all[i].writes)
				cfs_msg_set(&req, flags, CFS_F_WRITE | CFS_F_APPEND);
			rc = cfs_client_call(&op, cfs_ino_home(all[i].ino), &req, &reply);
			if (rc < 0)
				break; /* what is gone says so itself to who uses it */
		}
	}
	free(all);
}

int cfs_client_reopen_start(struct cfs_client *c)
{
	return c->files.count ? cfs_group_start(&c->fibers, reopen_run, c) : 0;
}
