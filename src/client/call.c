/*
 * One call: routed by the map, tried again until it is answered.
 *
 * A change takes the next sequence number of the session before its first try and keeps it over all
 * of them, so the shard that carried it out sends its kept answer again. The list of unanswered
 * changes is in order of sequence: its first one is the *floor* that each request tells, below
 * which servers forget answers. One change that cannot be answered holds the floor, so the window
 * between floor and newest is bounded and later changes wait.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "client/client_internal.h"

struct change {
	struct cfs_list link;
	uint64_t seq;
};

static uint64_t floor_of(const struct cfs_client *c)
{
	if (cfs_list_is_empty(&c->changes))
		return c->next_seq;
	return cfs_list_first(&c->changes, struct change, link)->seq;
}

static CFS_AWAITS int change_begin(struct cfs_client_op *op, struct change *ch)
{
	struct cfs_client *c = op->client;

	while (c->next_seq - floor_of(c) >= CFS_CLIENT_SEQ_WINDOW) {
		int rc = cfs_client_wait_floor(op);

		if (rc < 0)
			return rc;
	}
	ch->seq = c->next_seq++;
	cfs_list_append(&c->changes, &ch->link);
	return 0;
}

static void change_end(struct cfs_client *c, struct change *ch)
{
	bool moves_floor = floor_of(c) == ch->seq;

	cfs_list_remove(&ch->link);
	if (moves_floor)
		cfs_client_wake_floor(c);
}

/* What a try ended with. */
enum verdict { ANSWERED, NEEDS_MAP, NEEDS_PAUSE };

static enum verdict judge(int rc)
{
	switch (rc) {
	case -CFS_EDISCONNECTED:
	case -CFS_ENOT_HERE:
	case -CFS_EOLD_EPOCH:
	case -CFS_EBAD_FORMAT:
	case -CFS_EBAD_VERSION:
	case -CFS_ENO_SESSION:
		return NEEDS_MAP;
	case -CFS_EAGAIN_LATER:
	case -CFS_EBUSY_TX:
		return NEEDS_PAUSE;
	default:
		return ANSWERED;
	}
}

/* Whether the server may have carried it out all the same. */
static bool may_have_run(int rc)
{
	return rc == -CFS_EDISCONNECTED || rc == -CFS_EBAD_FORMAT || rc == -CFS_EBAD_VERSION;
}

static CFS_AWAITS int send_once(struct cfs_client *c, uint32_t shard, struct cfs_msg *req,
				struct cfs_net_reply *out)
{
	struct cfs_client_peer *peer;
	int rc;

	if (!c->has_map || c->is_closing)
		return c->is_closing ? -ECANCELED : -CFS_EDISCONNECTED;
	shard &= c->map.shards - 1;
	peer = c->core_peer[c->map.core_of[shard]];
	req->shard = shard;
	req->epoch = c->map.epoch_of[shard];
	req->sess = c->session;
	req->floor = floor_of(c);
	req->hlc = c->hlc;
	peer->refs++;
	rc = cfs_net_call(peer->net, req, out);
	cfs_client_peer_put(peer);
	if (rc < 0)
		return rc;
	c->hlc = CFS_MAX(c->hlc, out->msg.hlc);
	return cfs_msg_is_set(&out->msg, rc) ? (int)out->msg.rc : 0;
}

static CFS_AWAITS int pause_before_retry(struct cfs_client_op *op, uint32_t tries,
					 uint64_t give_up_ns)
{
	uint64_t now = cfs_now_ns();
	uint32_t shift = CFS_MIN(tries, 16u);
	uint64_t pause_ns = CFS_MIN(CFS_CLIENT_BACKOFF_MIN_NS << shift, CFS_CLIENT_BACKOFF_MAX_NS);

	if (now >= give_up_ns)
		return -ETIMEDOUT;
	return cfs_client_op_sleep(op, now + pause_ns);
}

static CFS_AWAITS int call_until_answered(struct cfs_client_op *op, uint32_t shard,
					  struct cfs_msg *req, struct cfs_net_reply *out)
{
	struct cfs_client *c = op->client;
	uint64_t give_up_ns = CFS_DEADLINE_NONE;
	uint64_t ran_in = 0; /* the session in which a copy may have been carried out */
	uint32_t bad_replies = 0;

	for (uint32_t tries = 0;; tries++) {
		uint64_t gen = c->map_gen, session = c->session;
		enum verdict v;
		int rc;

		/* Answers go with their session: nobody knows any more what became of it. */
		if (ran_in && ran_in != session)
			return -EIO;
		/* Somebody else may have had the lock since. */
		if (op->session != session && op->has_lost && op->has_lost(op) &&
		    !CFS_BREAK(NO_LOCK_CHECK))
			return -EIO;
		rc = send_once(c, shard, req, out);
		v = judge(rc);

		if (v == ANSWERED)
			return rc;
		cfs_net_reply_fini(out);
		memset(out, 0, sizeof(*out));
		/* A peer that keeps sending what does not decode is an error, not an outage. */
		if (rc == -CFS_EBAD_FORMAT && ++bad_replies >= CFS_CLIENT_BAD_REPLY_TRIES)
			return -EIO;
		if (rc == -CFS_EBAD_VERSION)
			return -EPROTONOSUPPORT;
		if (may_have_run(rc) && cfs_op_is_change(req->op))
			ran_in = session;
		c->stats.retries++;
		c->stats.disconnects += rc == -CFS_EDISCONNECTED;
		if (give_up_ns == CFS_DEADLINE_NONE && c->wait_ns > 0)
			give_up_ns = cfs_now_ns() + c->wait_ns;
		rc = v == NEEDS_MAP ? cfs_client_wait_map(op, gen, give_up_ns) : 0;
		/* The first try with a new map is at once. */
		if (rc == 0 && (tries > 0 || v == NEEDS_PAUSE))
			rc = pause_before_retry(op, tries, give_up_ns);
		if (rc < 0)
			return rc;
	}
}

int cfs_client_call(struct cfs_client_op *op, uint32_t shard, struct cfs_msg *req,
		    struct cfs_net_reply *out)
{
	struct cfs_client *c = op->client;
	struct change ch;
	int rc;

	cfs_assert(out->buf == NULL);
	cfs_client_lease_ask(op, req);
	if (!cfs_op_is_change(req->op)) {
		rc = call_until_answered(op, shard, req, out);
	} else {
		rc = change_begin(op, &ch);
		if (rc < 0)
			return rc;
		req->seq = ch.seq;
		rc = call_until_answered(op, shard, req, out);
		change_end(c, &ch);
	}
	cfs_client_lease_take(op, shard, req, &out->msg);
	return rc;
}

void cfs_client_request(struct cfs_msg *req, uint16_t op, uint64_t ino)
{
	memset(req, 0, sizeof(*req));
	req->kind = CFS_MSG_REQUEST;
	req->op = op;
	cfs_msg_set(req, ino, ino);
}

int cfs_client_reply_attr(const struct cfs_net_reply *r, struct cfs_attr *attr_out)
{
	if (!cfs_msg_is_set(&r->msg, attr))
		return -EIO;
	return cfs_attr_decode(r->msg.attr.p, r->msg.attr.len, attr_out);
}
