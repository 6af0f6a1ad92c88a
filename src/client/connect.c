/*
 * Finding a server, and waiting for one.
 *
 * Whoever meets a lost connection or an old map asks for a new one. One fiber tries the known
 * addresses in turn, those that the client was given and those of the last map, with growing
 * pauses; all operations wait for that fiber, each until it succeeds, is interrupted, or has waited
 * long enough. `map_gen` counts the successes: an operation that failed at generation g goes on
 * once the generation is past g, so that none goes on with what it failed with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client_internal.h"

/* An operation that waits; its op may be shared by several fibers of one request. */
struct waiter {
	struct cfs_list link;
	struct cfs_client_op *op;
};

static void wake_waiters(struct cfs_client *c)
{
	cfs_list_for_each(n, &c->waiters)
		cfs_waitq_wake_all(&cfs_list_entry(n, struct waiter, link)->op->waiters);
}

void cfs_client_peer_put(struct cfs_client_peer *p)
{
	p->refs--;
}

void cfs_client_peers_close(struct cfs_client *c, bool is_all)
{
	struct cfs_list unused;

	cfs_list_init(&unused);
	cfs_list_for_each_safe(n, next, &c->peers) {
		struct cfs_client_peer *p = cfs_list_entry(n, struct cfs_client_peer, link);

		if (!is_all && p->refs > 0)
			continue;
		cfs_list_remove(n);
		cfs_list_append(&unused, n);
	}
	for (;;) {
		struct cfs_list *n = cfs_list_pop(&unused);

		if (!n)
			return;
		struct cfs_client_peer *p = cfs_list_entry(n, struct cfs_client_peer, link);

		cfs_net_peer_close(p->net);
		free(p);
	}
}

static int peer_get(struct cfs_client *c, const char *addr, struct cfs_client_peer **out)
{
	struct cfs_client_peer *p;
	int rc;

	cfs_list_for_each(n, &c->peers) {
		p = cfs_list_entry(n, struct cfs_client_peer, link);
		if (strcmp(p->addr, addr) == 0) {
			p->refs++;
			*out = p;
			return 0;
		}
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	rc = cfs_str_copy(p->addr, sizeof(p->addr), addr) ? 0 : -EINVAL;
	if (rc == 0)
		rc = cfs_net_peer_open(c->net, addr, &p->net);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->refs = 1;
	cfs_list_append(&c->peers, &p->link);
	*out = p;
	return 0;
}

static void core_peers_put(struct cfs_client_peer **peers, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (peers[i])
			cfs_client_peer_put(peers[i]);
}

void cfs_client_map_fini(struct cfs_client *c)
{
	if (!c->has_map)
		return;
	core_peers_put(c->core_peer, c->map.cores);
	memset(c->core_peer, 0, sizeof(c->core_peer));
	cfs_map_fini(&c->map);
	c->has_map = false;
}

static int map_check(const struct cfs_map *m)
{
	if (m->cores == 0 || m->cores > CFS_CORES_MAX)
		return -CFS_EBAD_FORMAT;
	if (m->shards == 0 || m->shards > CFS_MAP_SHARDS_MAX || (m->shards & (m->shards - 1)) != 0)
		return -CFS_EBAD_FORMAT;
	for (uint32_t i = 0; i < m->shards; i++)
		if (m->core_of[i] >= m->cores)
			return -CFS_EBAD_FORMAT;
	return 0;
}

/* Takes @m over, or ends it. */
static int map_take(struct cfs_client *c, struct cfs_map *m)
{
	struct cfs_client_peer *peers[CFS_CORES_MAX] = { 0 };
	int rc = map_check(m);

	for (uint32_t i = 0; rc == 0 && i < m->cores; i++)
		rc = peer_get(c, m->core_addr[i], &peers[i]);
	if (rc == 0 && c->has_map && memcmp(c->map.uuid, m->uuid, sizeof(m->uuid)) != 0) {
		cfs_warn("another file system answers at this address", "addr=%s", m->core_addr[0]);
		rc = -ESTALE;
	}
	if (rc < 0) {
		core_peers_put(peers, CFS_CORES_MAX);
		cfs_map_fini(m);
		return rc;
	}
	/* A power cut may have taken back a size that was heard of. */
	if (c->has_map && c->map.epoch != m->epoch)
		cfs_client_files_doubt(c);
	cfs_client_map_fini(c);
	c->map = *m;
	c->has_map = true;
	memcpy(c->core_peer, peers, sizeof(peers));
	if (c->floor_count != c->map.shards) {
		free(c->floors);
		c->floors = calloc(c->map.shards, sizeof(*c->floors));
		c->floor_count = c->floors ? c->map.shards : 0;
	}
	return cfs_client_watch_cores(c);
}

/* A call of the node itself that says whose session it is; it waits no longer than one try. */
static CFS_AWAITS int say(struct cfs_client *c, struct cfs_client_peer *peer, uint16_t op,
			  uint64_t session, struct cfs_net_reply *out)
{
	struct cfs_msg req;
	uint64_t deadline;
	int rc;

	cfs_client_request(&req, op, 0);
	req.has = 0;
	cfs_msg_set(&req, session, session);
	if (op == CFS_OP_HELLO && c->is_new)
		cfs_msg_set(&req, flags, CFS_F_NEW);
	req.sess = session;
	req.hlc = c->hlc;
	deadline = cfs_deadline_narrow(cfs_now_ns() + CFS_CLIENT_HELLO_NS);
	rc = cfs_net_call(peer->net, &req, out);
	cfs_deadline_restore(deadline);
	return rc;
}

static CFS_AWAITS int hello(struct cfs_client *c, struct cfs_client_peer *peer)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	uint64_t old_epoch = c->has_map ? c->map.epoch : UINT64_MAX;
	struct cfs_map map = { 0 };
	uint64_t sent_ns = cfs_now_ns();
	bool was_new = c->is_new;
	int rc = say(c, peer, CFS_OP_HELLO, c->session, &reply);

	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, rc) && reply.msg.rc < 0)
		return (int)reply.msg.rc;
	if (!cfs_msg_is_set(&reply.msg, data))
		return -CFS_EBAD_FORMAT;
	rc = cfs_map_decode(reply.msg.data.p, reply.msg.data.len, &map);
	if (rc < 0)
		return rc;
	if (cfs_msg_is_set(&reply.msg, life) && reply.msg.life >= CFS_CLIENT_LIFE_MIN_NS)
		c->life_ns = reply.msg.life;
	rc = map_take(c, &map);
	if (rc < 0)
		return rc;
	c->is_new = false;
	c->renewed_ns = CFS_MAX(c->renewed_ns, sent_ns);
	if (cfs_msg_is_set(&reply.msg, lost) && reply.msg.lost > old_epoch)
		cfs_client_leases_doubt(c);
	return was_new ? cfs_client_reopen_start(c) : 0;
}

void cfs_client_bye(struct cfs_client *c, uint64_t session)
{
	for (uint32_t i = 0; c->has_map && i < c->map.cores; i++) {
		struct cfs_client_peer *peer = c->core_peer[i];
		struct cfs_net_reply reply = { 0 };
		int rc;

		peer->refs++;
		rc = say(c, peer, CFS_OP_BYE, session, &reply);
		cfs_client_peer_put(peer);
		if (rc < 0)
			continue;
		cfs_net_reply_fini(&reply);
		return;
	}
}

static CFS_AWAITS int hello_at(struct cfs_client *c, const char *addr)
{
	struct cfs_client_peer *peer;
	int rc = peer_get(c, addr, &peer);

	if (rc < 0)
		return rc;
	rc = hello(c, peer);
	if (rc == -CFS_ENO_SESSION) {
		/* The first may have begun, and ended, while its answers were lost. */
		if (!c->has_map)
			cfs_client_session_new(c);
		else
			cfs_client_evicted(c);
		rc = hello(c, peer);
	}
	cfs_client_peer_put(peer);
	return rc;
}

int cfs_client_connect_once(struct cfs_client *c)
{
	char addr[CFS_NET_ADDR_BYTES];
	int rc = -CFS_EDISCONNECTED;

	for (uint32_t i = 0; i < c->addr_count; i++) {
		rc = hello_at(c, c->addrs[i]);
		if (rc == 0 || rc == -ECANCELED || c->is_closing)
			return rc;
	}
	for (uint32_t i = 0; c->has_map && i < c->map.cores; i++) {
		if (!cfs_str_copy(addr, sizeof(addr), c->map.core_addr[i]))
			continue;
		rc = hello_at(c, addr);
		if (rc == 0 || rc == -ECANCELED || c->is_closing)
			return rc;
	}
	return rc;
}

static CFS_AWAITS void connector(void *arg)
{
	struct cfs_client *c = arg;
	uint64_t pause_ns = CFS_CLIENT_BACKOFF_MIN_NS;
	int rc;

	for (;;) {
		rc = cfs_client_connect_once(c);
		if (rc == 0 || cfs_fiber_is_canceled())
			break;
		if (!c->is_lost) {
			c->is_lost = true;
			cfs_warn("server lost, operations wait", "addr=%s rc=%s", c->addrs[0],
				 cfs_err_name(rc));
		}
		rc = cfs_sleep_ns(pause_ns);
		if (rc == -ECANCELED)
			break;
		pause_ns = CFS_MIN(pause_ns * 2, CFS_CLIENT_BACKOFF_MAX_NS);
	}
	if (rc == 0) {
		c->stats.refreshes++;
		c->map_gen++;
		if (c->is_lost)
			cfs_info("server is back", "addr=%s epoch=%llu", c->addrs[0],
				 (unsigned long long)c->map.epoch);
		c->is_lost = false;
		cfs_client_peers_close(c, false);
	}
	c->is_connecting = false;
	wake_waiters(c);
}

static int connector_start(struct cfs_client *c)
{
	int rc = c->is_connecting ? 0 : cfs_group_start(&c->fibers, connector, c);

	if (rc == 0)
		c->is_connecting = true;
	return rc;
}

/* One wait on the op's queue, ended by a wake-up, @until_ns, the fiber's deadline, or cancellation.
 */
static CFS_AWAITS int op_wait(struct cfs_client_op *op, uint64_t until_ns)
{
	uint64_t deadline;
	int rc;

	if (op->is_interrupted)
		return -EINTR;
	deadline = cfs_deadline_narrow(until_ns);
	rc = cfs_waitq_wait(&op->waiters);
	cfs_deadline_restore(deadline);
	return op->is_interrupted ? -EINTR : rc;
}

int cfs_client_op_sleep(struct cfs_client_op *op, uint64_t until_ns)
{
	while (cfs_now_ns() < until_ns) {
		int rc = op_wait(op, until_ns);

		if (rc == -ETIMEDOUT && cfs_now_ns() < until_ns)
			return rc;
		if (rc < 0 && rc != -ETIMEDOUT)
			return rc;
	}
	return 0;
}

int cfs_client_wait_map(struct cfs_client_op *op, uint64_t gen, uint64_t give_up_ns)
{
	struct cfs_client *c = op->client;
	struct waiter w = { .op = op };
	int rc = 0;

	cfs_list_append(&c->waiters, &w.link);
	while (rc == 0 && c->map_gen == gen) {
		if (c->is_closing) {
			rc = -ECANCELED;
			break;
		}
		rc = connector_start(c);
		if (rc < 0)
			break;
		rc = op_wait(op, give_up_ns);
	}
	cfs_list_remove(&w.link);
	return rc;
}

CFS_AWAITS int cfs_client_wait_floor(struct cfs_client_op *op)
{
	struct cfs_client *c = op->client;
	struct waiter w = { .op = op };
	int rc;

	cfs_list_append(&c->waiters, &w.link);
	c->floor_waiters++;
	rc = op_wait(op, CFS_DEADLINE_NONE);
	c->floor_waiters--;
	cfs_list_remove(&w.link);
	return rc;
}

void cfs_client_wake_floor(struct cfs_client *c)
{
	if (c->floor_waiters > 0)
		wake_waiters(c);
}
