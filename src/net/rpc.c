/*
 * Calls: requests, replies, and who waits for what.
 *
 * A call takes a credit of its peer, a slot (which makes its xid), encodes, hands the bytes to the
 * transport and waits. Its reply is found by xid and decoded straight into the caller's memory.
 * Three things may end the wait early:
 *
 *  - the connection is lost: every call over it gets -CFS_EDISCONNECTED, and all credits come back
 * with the next connection;
 *  - the caller is cancelled or late: it leaves, its slot stays behind so that the reply finds its
 * credit, which comes back then. If the request named a bulk region, the caller first waits
 * (settle) until no peer can touch that memory;
 *  - the endpoint or the peer is closed: as when the connection is lost.
 *
 * On the other side a request becomes a struct cfs_net_call and a fiber of the endpoint's group,
 * which runs the handler.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "net/conn.h"
#include "net/net_internal.h"

#define SLOTS_FIRST 256u
#define NS_PER_MS 1000000ull

void net_say(char *err_out, uint32_t err_bytes, const char *fmt, ...)
{
	va_list args;

	if (!err_out || err_bytes == 0)
		return;
	va_start(args, fmt);
	(void)vsnprintf(err_out, err_bytes, fmt, args);
	va_end(args);
}

/* --- slots --- */

static int slots_grow(struct cfs_net *net)
{
	uint32_t count = net->slots_count > 0 ? 2 * net->slots_count : SLOTS_FIRST;
	struct net_slot *slots;

	if (count > NET_SLOTS_MAX)
		return -EAGAIN;
	slots = realloc(net->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = net->slots_count; i < count; i++) {
		/* The uses of a slot start at random: a restarted process does not repeat xids. */
		slots[i] = (struct net_slot){
			.xid = (cfs_rand_u64() << NET_SLOT_BITS) | i,
			.next_free = i + 1 < count ? i + 1 : NET_SLOT_NONE,
		};
	}
	net->slot_free = net->slots_count;
	net->slots = slots;
	net->slots_count = count;
	return 0;
}

static int slot_take(struct cfs_net *net, struct net_pending *pd)
{
	int rc = net->slot_free == NET_SLOT_NONE ? slots_grow(net) : 0;
	struct net_slot *s;

	if (rc < 0)
		return rc;
	s = &net->slots[net->slot_free];
	net->slot_free = s->next_free;
	s->pending = pd;
	s->peer = pd->peer;
	pd->xid = s->xid;
	return 0;
}

static struct net_slot *slot_find(struct cfs_net *net, uint64_t xid)
{
	uint32_t i = (uint32_t)(xid & (NET_SLOTS_MAX - 1));

	if (i >= net->slots_count || net->slots[i].xid != xid || !net->slots[i].peer)
		return NULL;
	return &net->slots[i];
}

static void slot_release(struct cfs_net *net, struct net_slot *s)
{
	s->pending = NULL;
	s->peer = NULL;
	s->xid += NET_SLOTS_MAX;
	s->next_free = net->slot_free;
	net->slot_free = (uint32_t)(s - net->slots);
}

struct net_pending *net_pending_find(struct cfs_net *net, uint64_t xid)
{
	struct net_slot *s = slot_find(net, xid);

	return s ? s->pending : NULL;
}

/* Calls of @p that were left by their callers: nobody waits for their credits. */
static void orphans_release(struct cfs_net_peer *p)
{
	for (uint32_t i = 0; i < p->net->slots_count; i++)
		if (p->net->slots[i].peer == p && !p->net->slots[i].pending)
			slot_release(p->net, &p->net->slots[i]);
}

/* --- credits --- */

static void credit_give(struct cfs_net_peer *p)
{
	p->credits_free++;
	cfs_waitq_wake_one(&p->credit_wait);
}

static bool peer_is_gone(const struct cfs_net_peer *p)
{
	return p->is_closing || !p->net || p->net->is_closing;
}

static CFS_AWAITS int credit_take(struct cfs_net_peer *p)
{
	bool in_turn = cfs_waitq_is_empty(&p->credit_wait);

	for (;;) {
		uint32_t resets = p->resets;
		int rc;

		if (peer_is_gone(p))
			return -CFS_EDISCONNECTED;
		if (p->credits_free > 0 && in_turn) {
			p->credits_free--;
			return 0;
		}
		rc = p->net->ops->peer_connect(p);
		if (rc < 0)
			return rc;
		p->net->stats.credit_waits++;
		rc = cfs_waitq_wait(&p->credit_wait);
		if (rc < 0 && p->credits_free > 0)
			cfs_waitq_wake_one(&p->credit_wait); /* it may have been meant for us */
		if (rc < 0)
			return rc;
		if (p->resets != resets)
			return -CFS_EDISCONNECTED;
		in_turn = true;
	}
}

void net_peer_ready(struct cfs_net_peer *p, uint32_t credits)
{
	p->credits_free += credits;
	cfs_waitq_wake_all(&p->credit_wait);
}

/* --- results of calls --- */

static void pending_end(struct net_pending *pd, int rc)
{
	if (!pd->done.is_done)
		cfs_done_complete(&pd->done, rc);
}

/* Its peer has done with it, or is gone. */
static void pending_answered(struct net_pending *pd)
{
	pd->is_answered = true;
	net_pending_settled(pd);
}

void net_pending_settled(struct net_pending *pd)
{
	if (!pd->settled.is_done)
		cfs_done_complete(&pd->settled, 0);
}

static void pendings_end(struct cfs_net_peer *p, int rc)
{
	cfs_list_for_each(node, &p->pending)
		pending_end(cfs_list_entry(node, struct net_pending, link), rc);
}

void net_peer_lost(struct cfs_net_peer *p, uint32_t credits)
{
	p->resets++;
	p->credits_free = credits;
	p->net->stats.disconnects++;
	orphans_release(p);
	pendings_end(p, -CFS_EDISCONNECTED);
	cfs_list_for_each(node, &p->pending)
		pending_answered(cfs_list_entry(node, struct net_pending, link));
	cfs_waitq_wake_all(&p->credit_wait);
}

void net_call_bounced(struct cfs_net *net, uint64_t xid, int rc)
{
	struct net_slot *s = slot_find(net, xid);

	if (s && s->pending) {
		pending_end(s->pending, rc);
		pending_answered(s->pending);
	} else if (s) {
		struct cfs_net_peer *p = s->peer;

		slot_release(net, s);
		credit_give(p);
	}
}

int net_reply_arrived(struct cfs_net *net, uint64_t xid, struct net_conn *conn,
		      struct cfs_net_buf *b)
{
	struct net_slot *s = slot_find(net, xid);
	struct net_pending *pd = s ? s->pending : NULL;
	struct cfs_msg m;
	int rc;

	net->stats.bytes_received += b->len_bytes;
	rc = cfs_msg_decode(net_buf_msg(b), b->len_bytes, &m);
	if (rc == 0 && (m.kind != CFS_MSG_REPLY || (pd && m.op != pd->op)))
		rc = -CFS_EBAD_FORMAT;
	if (rc < 0) {
		net->stats.bad_messages++;
		net_buf_put(b);
		return rc;
	}
	if (!pd || pd->done.is_done || s->peer->conn != conn) {
		/* Late: of a call that nobody waits for, or of an older connection. */
		net_buf_put(b);
		if (s && s->peer->conn == conn)
			net_call_bounced(net, xid, -ECANCELED);
		return 0;
	}
	net->stats.replies_received++;
	pd->out->msg = m;
	pd->out->buf = b;
	pending_end(pd, 0);
	pending_answered(pd);
	return 0;
}

/* --- calling --- */

static void deadline_set(struct cfs_msg *req)
{
	uint64_t due_ns = cfs_deadline(), now_ns, left_ms;

	if (due_ns == CFS_DEADLINE_NONE)
		return;
	now_ns = cfs_now_ns();
	left_ms = due_ns > now_ns ? (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 1;
	left_ms = CFS_MIN(left_ms, (uint64_t)UINT32_MAX);
	if (req->deadline_ms == 0 || req->deadline_ms > left_ms)
		req->deadline_ms = (uint32_t)left_ms;
}

static int request_send(struct net_pending *pd, struct cfs_msg *req)
{
	struct cfs_net *net = pd->peer->net;
	int64_t len_bytes = cfs_msg_size(req);
	struct cfs_net_buf *b;

	if (len_bytes < 0)
		return (int)len_bytes;
	b = net_buf_get(net, (uint32_t)len_bytes);
	if (!b)
		return -ENOMEM;
	len_bytes = cfs_msg_encode(req, net_buf_msg(b), b->cap_bytes);
	cfs_assert(len_bytes > 0);
	b->len_bytes = (uint32_t)len_bytes;
	b->xid = pd->xid;
	net->stats.requests_sent++;
	net->stats.bytes_sent += b->len_bytes;
	net->op_counts[req->op]++;
	if (net->inject)
		net->inject(net->inject_ctx, net_buf_msg(b), b->len_bytes);
	return net->ops->request(pd->peer, b);
}

static CFS_AWAITS int pending_wait(struct net_pending *pd)
{
	struct cfs_net_peer *p = pd->peer;
	int rc = cfs_done_wait(&pd->done);

	if (pd->done.is_done)
		rc = pd->done.rc;
	else
		pending_end(pd, rc); /* the reply, if it still comes, is dropped */
	if (pd->has_bulk && !pd->settled.is_done) {
		p->net->ops->settle(pd);
		(void)cfs_done_wait_always(&pd->settled);
	}
	return rc;
}

/* Leaves the slot behind when a reply may still come: its credit is at the peer until then. */
static void pending_leave(struct net_pending *pd, uint32_t resets, bool is_sent)
{
	struct cfs_net_peer *p = pd->peer;
	struct net_slot *s = slot_find(p->net, pd->xid);

	cfs_list_remove(&pd->link);
	cfs_assert(s);
	if (is_sent && !pd->is_answered && p->resets == resets && !p->is_closing) {
		s->pending = NULL;
		return;
	}
	slot_release(p->net, s);
	if (p->resets == resets)
		credit_give(p);
}

static CFS_AWAITS int call_with_credit(struct cfs_net_peer *p, struct cfs_msg *req,
				       struct cfs_net_reply *out)
{
	struct net_pending pd = {
		.peer = p,
		.out = out,
		.op = req->op,
		.has_bulk = cfs_msg_is_set(req, bulk_addr),
	};
	uint32_t resets = p->resets;
	int rc = slot_take(p->net, &pd);

	if (rc < 0) {
		credit_give(p);
		return rc;
	}
	cfs_done_init(&pd.done);
	cfs_done_init(&pd.settled);
	cfs_list_append(&p->pending, &pd.link);
	req->kind = CFS_MSG_REQUEST;
	req->xid = pd.xid;
	deadline_set(req);
	rc = request_send(&pd, req);
	if (rc < 0) {
		pending_leave(&pd, resets, false);
		return rc;
	}
	rc = pending_wait(&pd);
	pending_leave(&pd, resets, true);
	return rc;
}

int cfs_net_call(struct cfs_net_peer *p, struct cfs_msg *req, struct cfs_net_reply *out)
{
	struct cfs_net *net;
	int rc;

	if (peer_is_gone(p))
		return -CFS_EDISCONNECTED;
	net = p->net;
	p->callers++;
	net->callers++;
	rc = credit_take(p);
	if (rc == 0)
		rc = call_with_credit(p, req, out);
	p->callers--;
	net->callers--;
	if (p->callers == 0)
		cfs_waitq_wake_all(&p->idle);
	if (net->callers == 0)
		cfs_waitq_wake_all(&net->idle);
	return rc;
}

void cfs_net_reply_fini(struct cfs_net_reply *r)
{
	net_buf_put(r->buf);
	r->buf = NULL;
}

int cfs_net_peer_open(struct cfs_net *net, const char *addr, struct cfs_net_peer **out)
{
	size_t scheme_bytes = strlen(net->ops->scheme);
	struct cfs_net_peer *p;
	int rc;

	if (strncmp(addr, net->ops->scheme, scheme_bytes) != 0 || addr[scheme_bytes] != ':' ||
	    strlen(addr) >= sizeof(p->addr))
		return -EINVAL;
	if (net->is_closing)
		return -CFS_EDISCONNECTED;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->net = net;
	memcpy(p->addr, addr, strlen(addr) + 1);
	cfs_waitq_init(&p->credit_wait);
	cfs_waitq_init(&p->idle);
	cfs_list_init(&p->pending);
	cfs_list_append(&net->peers, &p->link);
	rc = net->ops->peer_open(p);
	if (rc < 0) {
		cfs_list_remove(&p->link);
		free(p);
		return rc;
	}
	*out = p;
	return 0;
}

/* Nobody waits for a result over @p any more. */
static void peer_end_calls(struct cfs_net_peer *p)
{
	pendings_end(p, -CFS_EDISCONNECTED);
	cfs_waitq_wake_all(&p->credit_wait);
}

void cfs_net_peer_close(struct cfs_net_peer *p)
{
	if (!p)
		return;
	p->is_closing = true;
	peer_end_calls(p);
	while (p->callers > 0)
		cfs_waitq_wait_always(&p->idle);
	if (p->net) {
		orphans_release(p);
		p->net->ops->peer_close(p);
		cfs_list_remove(&p->link);
	}
	free(p);
}

/* --- serving --- */

static struct cfs_net_call *call_get(struct cfs_net *net)
{
	struct cfs_list *node = cfs_list_pop(&net->calls_free);
	struct cfs_net_call *c = node ? cfs_list_entry(node, struct cfs_net_call, link)
				      : malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->net = net;
	c->rma_active = 0;
	c->is_replied = c->is_fenced = c->fence_asked = false;
	cfs_list_init(&c->conn_link);
	cfs_list_append(&net->calls, &c->link);
	return c;
}

static void call_put(struct cfs_net_call *c)
{
	cfs_list_remove(&c->link);
	cfs_list_remove(&c->conn_link);
	net_buf_put(c->buf);
	cfs_list_push(&c->net->calls_free, &c->link);
}

static CFS_AWAITS void call_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct cfs_net_call *c = arg;

	if (c->req.deadline_ms > 0)
		(void)cfs_deadline_narrow(cfs_now_ns() + c->req.deadline_ms * NS_PER_MS);
	c->net->handler(c->net->handler_ctx, c);
	cfs_assert(c->is_replied);
	call_put(c);
}

int net_request_arrived(struct cfs_net *net, struct inproc_ep *from, struct net_conn *conn,
			struct cfs_net_buf *b)
{
	struct cfs_net_call *c = net->handler && !net->is_closing ? call_get(net) : NULL;
	int rc;

	net->stats.bytes_received += b->len_bytes;
	if (!c) {
		net_buf_put(b);
		return -CFS_EDISCONNECTED;
	}
	c->buf = b;
	c->from = from;
	c->conn = conn;
	rc = cfs_msg_decode(net_buf_msg(b), b->len_bytes, &c->req);
	if (rc == 0 && c->req.kind != CFS_MSG_REQUEST)
		rc = -CFS_EBAD_FORMAT;
	if (rc < 0)
		net->stats.bad_messages++;
	else
		rc = cfs_group_start(&net->handlers, call_run, c);
	if (rc < 0) {
		call_put(c);
		return rc;
	}
	net->stats.requests_received++;
	if (net->ops->call_started)
		net->ops->call_started(c);
	return 0;
}

const struct cfs_msg *cfs_net_call_request(const struct cfs_net_call *c)
{
	return &c->req;
}

struct cfs_net *cfs_net_call_net(const struct cfs_net_call *c)
{
	return c->net;
}

/* The reply, encoded; if it breaks the rules, one that says so. NULL: no memory. */
static struct cfs_net_buf *reply_encode(struct cfs_net_call *c, struct cfs_msg *reply)
{
	int64_t len_bytes = cfs_msg_size(reply);
	struct cfs_msg failed = {
		.kind = CFS_MSG_REPLY,
		.op = reply->op,
		.shard = reply->shard,
		.xid = reply->xid,
		.hlc = reply->hlc,
	};
	struct cfs_net_buf *b;

	if (len_bytes < 0) {
		cfs_msg_set(&failed, rc, len_bytes);
		reply = &failed;
		len_bytes = cfs_msg_size(reply);
	}
	cfs_assert(len_bytes > 0);
	b = net_buf_get(c->net, (uint32_t)len_bytes);
	if (!b)
		return NULL;
	b->len_bytes = (uint32_t)cfs_msg_encode(reply, net_buf_msg(b), b->cap_bytes);
	b->xid = c->req.xid;
	return b;
}

void cfs_net_reply(struct cfs_net_call *c, struct cfs_msg *reply)
{
	struct cfs_net *net = c->net;
	struct cfs_net_buf *b;

	cfs_assert(!c->is_replied);
	cfs_assert(c->rma_active == 0);
	c->is_replied = true;
	reply->kind = CFS_MSG_REPLY;
	reply->op = c->req.op;
	reply->xid = c->req.xid;
	b = reply_encode(c, reply);
	if (!b) {
		net->ops->refuse(c);
		return;
	}
	net->stats.replies_sent++;
	net->stats.bytes_sent += b->len_bytes;
	if (net->inject)
		net->inject(net->inject_ctx, net_buf_msg(b), b->len_bytes);
	net->ops->reply(c, b);
}

/* --- bulk --- */

int cfs_net_region_open(struct cfs_net *net, void *mem, uint64_t len_bytes,
			struct cfs_net_region *out)
{
	struct cfs_net_region r = { .local = mem, .len_bytes = len_bytes };
	int rc = len_bytes > 0 ? net->ops->region_open(net, &r) : -EINVAL;

	if (rc < 0)
		return rc;
	*out = r;
	return 0;
}

void cfs_net_region_close(struct cfs_net *net, struct cfs_net_region *r)
{
	if (r->local)
		net->ops->region_close(net, r);
	*r = (struct cfs_net_region){ 0 };
}

static bool call_has_bulk(const struct cfs_net_call *c)
{
	return cfs_msg_is_set(&c->req, bulk_addr) && cfs_msg_is_set(&c->req, bulk_key) &&
	       cfs_msg_is_set(&c->req, bulk_len) && !c->is_replied;
}

void *cfs_net_call_bulk(const struct cfs_net_call *c)
{
	return call_has_bulk(c) && c->net->ops->bulk ? c->net->ops->bulk(c) : NULL;
}

static CFS_AWAITS int call_rma(struct cfs_net_call *c, bool is_write, uint64_t off_bytes, void *buf,
			       uint32_t len_bytes)
{
	if (!call_has_bulk(c) || len_bytes > CFS_IO_BYTES_MAX)
		return -EINVAL;
	if (off_bytes > c->req.bulk_len || len_bytes > c->req.bulk_len - off_bytes)
		return -EINVAL;
	if (len_bytes == 0)
		return 0;
	return c->net->ops->rma(c, is_write, off_bytes, buf, len_bytes);
}

int cfs_net_pull(struct cfs_net_call *c, uint64_t off_bytes, void *buf, uint32_t len_bytes)
{
	int rc = call_rma(c, false, off_bytes, buf, len_bytes);

	if (rc == 0) {
		c->net->stats.rma_reads++;
		c->net->stats.rma_read_bytes += len_bytes;
	}
	return rc;
}

int cfs_net_push(struct cfs_net_call *c, uint64_t off_bytes, const void *buf, uint32_t len_bytes)
{
	/* Only read; the transports' vectors have no const. */
	int rc = call_rma(c, true, off_bytes, (void *)(uintptr_t)buf, len_bytes);

	if (rc == 0) {
		c->net->stats.rma_writes++;
		c->net->stats.rma_write_bytes += len_bytes;
	}
	return rc;
}

bool cfs_net_bulk_is_forwardable(const struct cfs_net_call *c)
{
	return cfs_net_call_bulk(c) != NULL;
}

/* --- endpoints --- */

static const struct net_ops *ops_find(const char *addr)
{
	static const struct net_ops *const all[] = {
		&net_inproc_ops,     &net_sim_ops,          &net_fabric_tcp_ops,
		&net_fabric_shm_ops, &net_fabric_verbs_ops,
	};

	for (size_t i = 0; i < CFS_ARRAY_COUNT(all); i++) {
		size_t len = strlen(all[i]->scheme);

		if (strncmp(addr, all[i]->scheme, len) == 0 && addr[len] == ':')
			return all[i];
	}
	return NULL;
}

static struct cfs_net *net_new(const struct cfs_net_opts *opts, const struct net_ops *ops)
{
	struct cfs_net *net = calloc(1, sizeof(*net));

	if (!net)
		return NULL;
	net->ops = ops;
	net->core = cfs_core_id();
	net->credits = opts->credits > 0 ? CFS_MIN(opts->credits, NET_CREDITS_MAX)
					 : NET_CREDITS_DEFAULT;
	net->handler = opts->handler;
	net->handler_ctx = opts->ctx;
	net->slot_free = NET_SLOT_NONE;
	memcpy(net->addr, opts->addr, strlen(opts->addr) + 1);
	cfs_list_init(&net->peers);
	cfs_list_init(&net->calls);
	cfs_list_init(&net->calls_free);
	cfs_list_init(&net->bufs_used);
	cfs_list_init(&net->bufs_small);
	cfs_list_init(&net->bufs_large);
	cfs_group_init(&net->handlers);
	cfs_waitq_init(&net->idle);
	return net;
}

static void net_free(struct cfs_net *net)
{
	struct cfs_list *node;

	while ((node = cfs_list_pop(&net->calls_free)) != NULL)
		free(cfs_list_entry(node, struct cfs_net_call, link));
	free(net->slots);
	free(net);
}

int cfs_net_open(const struct cfs_net_opts *opts, struct cfs_net **out, char *err_out,
		 uint32_t err_bytes)
{
	const struct net_ops *ops = ops_find(opts->addr);
	struct cfs_net *net;
	int rc;

	if (!ops || strlen(opts->addr) >= CFS_NET_ADDR_BYTES) {
		net_say(err_out, err_bytes,
			"%.100s: not a transport address; give tcp:HOST:PORT, shm:NAME or "
			"inproc:NAME",
			opts->addr);
		return -EINVAL;
	}
	net = net_new(opts, ops);
	if (!net)
		return -ENOMEM;
	rc = ops->open(net, opts, err_out, err_bytes);
	if (rc < 0) {
		net_bufs_fini(net);
		net_free(net);
		return rc;
	}
	*out = net;
	return 0;
}

/* Handlers may finish what they began; those that wait for something longer are cancelled. */
static CFS_AWAITS void handlers_end(struct cfs_net *net)
{
	uint64_t before_ns = cfs_deadline_narrow(cfs_now_ns() + NET_CLOSE_GRACE_NS);

	while (net->handlers.count > 0)
		if (cfs_waitq_wait(&net->handlers.empty) < 0)
			break;
	cfs_deadline_restore(before_ns);
	if (net->handlers.count > 0 && net->ops->shutdown)
		net->ops->shutdown(net);
	cfs_group_cancel(&net->handlers);
	cfs_group_join(&net->handlers);
}

void cfs_net_drain(struct cfs_net *net)
{
	if (!net)
		return;
	net->is_closing = true;
	cfs_list_for_each(node, &net->peers)
		peer_end_calls(cfs_list_entry(node, struct cfs_net_peer, link));
	handlers_end(net);
}

void cfs_net_close(struct cfs_net *net)
{
	if (!net)
		return;
	cfs_net_drain(net);
	while (net->callers > 0)
		cfs_waitq_wait_always(&net->idle);
	cfs_list_for_each_safe(node, next, &net->peers) {
		struct cfs_net_peer *p = cfs_list_entry(node, struct cfs_net_peer, link);

		net->ops->peer_close(p);
		cfs_list_remove(&p->link);
		p->net = NULL;
	}
	net->ops->close(net);
	net_bufs_fini(net);
	net_free(net);
}

void net_forget(struct cfs_net *net)
{
	cfs_list_for_each_safe(node, next, &net->peers) {
		struct cfs_net_peer *p = cfs_list_entry(node, struct cfs_net_peer, link);

		conn_forget(p->conn);
		free(p);
	}
	conn_layer_forget(net);
	cfs_list_for_each_safe(node, next, &net->calls)
		free(cfs_list_entry(node, struct cfs_net_call, link));
	net_bufs_fini(net);
	net_free(net);
}

const char *cfs_net_addr(const struct cfs_net *net)
{
	return net->addr;
}

void cfs_net_stats(const struct cfs_net *net, struct cfs_net_stats *out)
{
	*out = net->stats;
}

uint64_t cfs_net_op_count(const struct cfs_net *net, uint16_t op)
{
	return op < CFS_OP_COUNT_MAX ? net->op_counts[op] : 0;
}

void cfs_net_inject(struct cfs_net *net, void (*fn)(void *ctx, uint8_t *msg, uint32_t len_bytes),
		    void *ctx)
{
	net->inject = fn;
	net->inject_ctx = ctx;
}
