/*
 * Transport over libfabric: reliable datagram endpoints that send, receive, read and write. One
 * domain, endpoint and completion queue per core, driven by a poller of its reactor: providers do
 * nothing by themselves here (tcp does not even where it says so), so every endpoint is polled, and
 * its wait descriptor ends the reactor's sleep. The shared memory provider has none: a timer looks
 * instead.
 *
 *   tcp:HOST:PORT     tcp;ofi_rxm    verbs:HOST:PORT    verbs;ofi_rxm    shm:NAME    shm
 *
 * A client's endpoint has an address too, since replies are sent to it: one on the way to the
 * server that it names.
 *
 * Frames are received in whole buffers. Small ones are copied out and the buffer is posted again;
 * of large ones the buffer is handed on and another one posted. Sends that the provider cannot take
 * now wait in their link's queue, reads and writes in the endpoint's.
 */
#include "net/fabric_internal.h"

#include <stdlib.h>
#include <string.h>

#include <rdma/fi_rma.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"

#define RECVS_MIN 32u
#define RECVS_MAX 512u
#define COPY_BYTES_MAX 4096u /* received frames up to this are copied */
#define CQ_BATCH 16u
#define POLL_EVENTS_MAX 64
#define RETRY_NS (1000ull * 1000) /* for what the provider could not take */
#define RETRY_MAX_NS (128 * RETRY_NS)
#define TICK_MIN_NS (20ull * 1000) /* without a descriptor to sleep on */
#define TICK_MAX_NS (2ull * 1000 * 1000)
#define DRAIN_NS (200ull * 1000 * 1000) /* for farewells, when closing */
#define KEY_TRIES 8

enum op_kind { OP_RECV, OP_SEND, OP_RMA };

/* What libfabric gives back when an operation ends. */
struct fabric_op {
	struct fi_context2 ctx; /* the provider's; first */
	enum op_kind kind;
};

struct rma_op {
	struct fabric_op op;
	struct cfs_list link; /* of those under way */
	struct net_link *to;
	bool is_write, is_posted;
	void *buf;
	uint32_t len_bytes;
	void *desc;
	uint64_t remote_addr, remote_key;
	struct cfs_done done;
};

struct net_link {
	struct cfs_list node; /* of the endpoint's */
	struct net_addr addr;
	fi_addr_t to;
	uint32_t refs; /* connections */
	uint32_t ops;  /* under way */
	bool is_failed;
	struct cfs_list queue; /* sends that wait */
	uint64_t retry_at_ns, retry_wait_ns;
};

static_assert(sizeof(struct fabric_op) <= sizeof(((struct cfs_net_buf *)0)->op_space),
	      "a buffer has room for its operation");

static struct fabric_op *buf_op(struct cfs_net_buf *b)
{
	return (struct fabric_op *)(void *)b->op_space;
}

static struct cfs_net_buf *op_buf(struct fabric_op *op)
{
	return cfs_container_of(op, struct cfs_net_buf, op_space);
}

/* --- receiving --- */

static int recv_post_buf(struct fabric *f, struct cfs_net_buf *b)
{
	ssize_t rc;

	*buf_op(b) = (struct fabric_op){ .kind = OP_RECV };
	rc = fi_recv(f->ep, b->data, NET_HEADROOM_BYTES + b->cap_bytes, b->desc, FI_ADDR_UNSPEC,
		     buf_op(b));
	if (rc < 0) {
		net_buf_put(b);
		return rc_of(rc);
	}
	f->recvs++;
	return 0;
}

static void recvs_post(struct fabric *f)
{
	while (f->recvs < f->recvs_wanted) {
		struct cfs_net_buf *b = net_buf_get(f->net, NET_BUF_LARGE_BYTES);

		if (!b || recv_post_buf(f, b) < 0)
			return; /* the next poll tries again */
	}
}

static void fabric_credits_changed(struct cfs_net *net, uint32_t credits)
{
	struct fabric *f = fabric_of(net);

	f->recvs_wanted = CFS_MAX(f->recvs_wanted, CFS_MIN(RECVS_MIN + credits, RECVS_MAX));
	recvs_post(f);
}

static void recv_ended(struct fabric *f, struct cfs_net_buf *b, size_t len_bytes)
{
	struct cfs_net *net = f->net;
	struct cfs_net_buf *whole = b;

	f->recvs--;
	if (len_bytes < NET_HEADROOM_BYTES || len_bytes > NET_HEADROOM_BYTES + b->cap_bytes) {
		net->stats.bad_messages++;
		(void)recv_post_buf(f, b);
		return;
	}
	if (len_bytes <= COPY_BYTES_MAX)
		whole = net_buf_get(net, (uint32_t)len_bytes);
	if (whole && whole != b) {
		memcpy(whole->data, b->data, len_bytes);
		(void)recv_post_buf(f, b);
	}
	if (!whole)
		whole = b;
	whole->len_bytes = (uint32_t)(len_bytes - NET_HEADROOM_BYTES);
	conn_frame_arrived(net, whole);
}

/* --- links and sending --- */

static void link_fail(struct fabric *f, struct net_link *link)
{
	link->is_failed = true;
	f->has_failed = true;
}

static void queue_drop(struct fabric *f, struct net_link *link)
{
	struct cfs_list *node;

	while ((node = cfs_list_pop(&link->queue)) != NULL) {
		f->queued--;
		net_buf_put(cfs_list_entry(node, struct cfs_net_buf, send_link));
	}
}

/* Frees @link when nobody needs it. */
static void link_check(struct fabric *f, struct net_link *link)
{
	if (link->is_failed)
		queue_drop(f, link);
	if (link->refs > 0 || link->ops > 0 || !cfs_list_is_empty(&link->queue))
		return;
	cfs_list_remove(&link->node);
	(void)fi_av_remove(f->av, &link->to, 1, 0);
	free(link);
}

static int fabric_link_open(struct cfs_net *net, const struct net_addr *addr, struct net_link **out)
{
	struct fabric *f = fabric_of(net);
	struct net_link *link;

	if (!fabric_addr_is_fine(f, addr))
		return -EINVAL;
	cfs_list_for_each(node, &f->links) {
		link = cfs_list_entry(node, struct net_link, node);
		if (!link->is_failed && link->addr.len_bytes == addr->len_bytes &&
		    memcmp(link->addr.bytes, addr->bytes, addr->len_bytes) == 0) {
			link->refs++;
			*out = link;
			return 0;
		}
	}
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->addr = *addr;
	link->refs = 1;
	cfs_list_init(&link->queue);
	if (fi_av_insert(f->av, link->addr.bytes, 1, &link->to, 0, NULL) != 1) {
		free(link);
		return -CFS_EDISCONNECTED;
	}
	cfs_list_append(&f->links, &link->node);
	*out = link;
	return 0;
}

static void fabric_link_close(struct cfs_net *net, struct net_link *link)
{
	cfs_assert(link->refs > 0);
	link->refs--;
	link_check(fabric_of(net), link);
}

/* Gives @b to the provider. -EAGAIN: not now. Any other error is the link's. */
static int send_post(struct fabric *f, struct net_link *link, struct cfs_net_buf *b)
{
	ssize_t rc;

	*buf_op(b) = (struct fabric_op){ .kind = OP_SEND };
	b->owner = link;
	rc = fi_send(f->ep, b->data, NET_HEADROOM_BYTES + b->len_bytes, b->desc, link->to,
		     buf_op(b));
	if (rc == 0)
		link->ops++;
	return rc == -FI_EAGAIN ? -EAGAIN : rc_of(rc);
}

/* A refused or full link is asked again after a while: one on which nothing is under way is not
 * connected, and every try makes a connection, so its pauses grow. */
static void retry_later(struct net_link *link)
{
	link->retry_wait_ns = link->ops > 0 || link->retry_wait_ns == 0
				      ? RETRY_NS
				      : CFS_MIN(link->retry_wait_ns * 2, RETRY_MAX_NS);
	link->retry_at_ns = cfs_now_ns() + link->retry_wait_ns;
}

static void timer_arm(struct fabric *f);

static void fabric_link_send(struct cfs_net *net, struct net_link *link, struct cfs_net_buf *b)
{
	struct fabric *f = fabric_of(net);
	int rc = -EAGAIN;

	if (link->is_failed || f->is_down) {
		net_buf_put(b);
		return;
	}
	if (cfs_list_is_empty(&link->queue))
		rc = send_post(f, link, b);
	if (rc == -EAGAIN) {
		cfs_list_append(&link->queue, &b->send_link);
		f->queued++;
		if (link->retry_wait_ns == 0)
			retry_later(link);
	} else if (rc < 0) {
		net_buf_put(b);
		link_fail(f, link);
	}
	timer_arm(f);
}

static void queue_retry(struct fabric *f, struct net_link *link)
{
	if (link->ops == 0 && cfs_now_ns() < link->retry_at_ns)
		return;
	while (!cfs_list_is_empty(&link->queue) && !link->is_failed) {
		struct cfs_net_buf *b = cfs_list_first(&link->queue, struct cfs_net_buf, send_link);
		int rc = send_post(f, link, b);

		if (rc == -EAGAIN) {
			retry_later(link);
			return;
		}
		link->retry_wait_ns = 0;
		cfs_list_remove(&b->send_link);
		f->queued--;
		if (rc < 0) {
			net_buf_put(b);
			link_fail(f, link);
		}
	}
}

static void send_ended(struct fabric *f, struct cfs_net_buf *b, bool is_error)
{
	struct net_link *link = b->owner;

	link->ops--;
	if (is_error && link->refs > 0)
		link_fail(f, link);
	else if (is_error)
		link->is_failed = true;
	net_buf_put(b);
	link_check(f, link);
}

/* --- RMA --- */

static int rma_post(struct fabric *f, struct rma_op *r)
{
	ssize_t rc;

	if (r->is_write)
		rc = fi_write(f->ep, r->buf, r->len_bytes, r->desc, r->to->to, r->remote_addr,
			      r->remote_key, &r->op);
	else
		rc = fi_read(f->ep, r->buf, r->len_bytes, r->desc, r->to->to, r->remote_addr,
			     r->remote_key, &r->op);
	r->is_posted = rc == 0;
	return rc == -FI_EAGAIN ? -EAGAIN : rc_of(rc);
}

static void rma_ended(struct rma_op *r, int rc)
{
	cfs_list_remove(&r->link);
	cfs_done_complete(&r->done, rc);
}

static void rmas_retry(struct fabric *f)
{
	cfs_list_for_each_safe(node, next, &f->rmas) {
		struct rma_op *r = cfs_list_entry(node, struct rma_op, link);
		int rc;

		if (r->is_posted)
			continue;
		rc = r->to->is_failed ? -CFS_EDISCONNECTED : rma_post(f, r);
		if (rc == -EAGAIN)
			return;
		f->queued--;
		if (rc < 0)
			rma_ended(r, -CFS_EDISCONNECTED);
	}
}

/* Posts @r, now or when the provider can, and waits: the memory is the provider's until then. */
static CFS_AWAITS int rma_run(struct fabric *f, struct rma_op *r)
{
	int rc = rma_post(f, r);

	if (rc < 0 && rc != -EAGAIN)
		return -CFS_EDISCONNECTED;
	if (rc == -EAGAIN)
		f->queued++;
	r->to->ops++;
	cfs_done_init(&r->done);
	cfs_list_append(&f->rmas, &r->link);
	timer_arm(f);
	rc = cfs_done_wait_always(&r->done);
	r->to->ops--;
	link_check(f, r->to);
	return rc;
}

static CFS_AWAITS int fabric_rma(struct cfs_net_call *c, bool is_write, uint64_t off_bytes,
				 void *buf, uint32_t len_bytes)
{
	struct fabric *f = fabric_of(c->net);
	struct fid_mr *mr = NULL;
	struct rma_op r = {
		.op.kind = OP_RMA,
		.is_write = is_write,
		.buf = buf,
		.len_bytes = len_bytes,
		.remote_addr = c->req.bulk_addr + off_bytes,
		.remote_key = c->req.bulk_key,
	};
	int rc;

	if (!c->conn || c->is_fenced || f->is_down)
		return -CFS_EDISCONNECTED;
	if (f->info->domain_attr->mr_mode & FI_MR_LOCAL) {
		rc = rc_of(fi_mr_reg(f->domain, buf, len_bytes, is_write ? FI_WRITE : FI_READ, 0,
				     cfs_rand_u64(), 0, &mr, NULL));
		if (rc < 0)
			return rc;
		r.desc = fi_mr_desc(mr);
	}
	r.to = c->conn->link;
	c->rma_active++;
	rc = rma_run(f, &r);
	c->rma_active--;
	conn_rma_ended(c);
	if (mr)
		(void)fi_close(&mr->fid);
	return rc;
}

static int fabric_region_open(struct cfs_net *net, struct cfs_net_region *r)
{
	struct fabric *f = fabric_of(net);
	struct fid_mr *mr;
	int rc = -FI_ENOKEY;

	if (f->is_down)
		return -CFS_EDISCONNECTED;
	/* Keys at random: a peer cannot guess one, nor hit a later region with an old one. */
	for (uint32_t i = 0; rc == -FI_ENOKEY && i < KEY_TRIES; i++)
		rc = fi_mr_reg(f->domain, r->local, r->len_bytes, FI_REMOTE_READ | FI_REMOTE_WRITE,
			       0, cfs_rand_u64(), 0, &mr, NULL);
	if (rc != 0)
		return rc_of(rc);
	r->key = fi_mr_key(mr);
	r->addr = f->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)(uintptr_t)r->local
								  : 0;
	r->private = mr;
	return 0;
}

static void fabric_region_close(struct cfs_net *net, struct cfs_net_region *r)
{
	struct fid_mr *mr = r->private;

	(void)net;
	(void)fi_close(&mr->fid);
}

static int fabric_buf_register(struct cfs_net *net, struct cfs_net_buf *b)
{
	struct fabric *f = fabric_of(net);
	struct fid_mr *mr;
	int rc;

	if (!f || !(f->info->domain_attr->mr_mode & FI_MR_LOCAL))
		return 0;
	rc = rc_of(fi_mr_reg(f->domain, b->data, NET_HEADROOM_BYTES + b->cap_bytes,
			     FI_SEND | FI_RECV, 0, cfs_rand_u64(), 0, &mr, NULL));
	if (rc < 0)
		return rc;
	b->mr = mr;
	b->desc = fi_mr_desc(mr);
	return 0;
}

static void fabric_buf_unregister(struct cfs_net *net, struct cfs_net_buf *b)
{
	struct fid_mr *mr = b->mr;

	(void)net;
	if (mr)
		(void)fi_close(&mr->fid);
}

/* --- progress --- */

static void op_ended(struct fabric *f, struct fabric_op *op, size_t len_bytes)
{
	switch (op->kind) {
	case OP_RECV:
		recv_ended(f, op_buf(op), len_bytes);
		break;
	case OP_SEND:
		send_ended(f, op_buf(op), false);
		break;
	case OP_RMA:
		rma_ended(cfs_container_of(op, struct rma_op, op), 0);
		break;
	}
}

static void op_failed(struct fabric *f)
{
	struct fi_cq_err_entry e = { 0 };
	struct fabric_op *op;

	if (fi_cq_readerr(f->cq, &e, 0) != 1 || !e.op_context)
		return;
	op = e.op_context;
	switch (op->kind) {
	case OP_RECV:
		f->recvs--;
		f->net->stats.bad_messages++;
		(void)recv_post_buf(f, op_buf(op));
		break;
	case OP_SEND:
		send_ended(f, op_buf(op), true);
		break;
	case OP_RMA:
		rma_ended(cfs_container_of(op, struct rma_op, op), -CFS_EDISCONNECTED);
		break;
	}
}

/* Connections learn of their links' ends here, where nobody is in the middle of sending. */
static void failures_tell(struct fabric *f)
{
	f->has_failed = false;
	cfs_list_for_each_safe(node, next, &f->links) {
		struct net_link *link = cfs_list_entry(node, struct net_link, node);

		if (!link->is_failed)
			continue;
		link->refs++; /* it stays until the last of them has let go */
		conn_link_failed(f->net, link);
		link->refs--;
	}
	/* In a second walk: ends of connections change the list. */
	cfs_list_for_each_safe(node, next, &f->links)
		if (cfs_list_entry(node, struct net_link, node)->is_failed)
			link_check(f, cfs_list_entry(node, struct net_link, node));
}

static void queues_retry(struct fabric *f)
{
	cfs_list_for_each_safe(node, next, &f->links) {
		struct net_link *link = cfs_list_entry(node, struct net_link, node);

		if (!cfs_list_is_empty(&link->queue))
			queue_retry(f, link);
		link_check(f, link);
	}
	rmas_retry(f);
}

static int fabric_poll(void *arg)
{
	struct fabric *f = arg;
	struct fi_cq_msg_entry entries[CQ_BATCH];
	int events = 0;

	while (events < POLL_EVENTS_MAX) {
		ssize_t count = fi_cq_read(f->cq, entries, CQ_BATCH);

		if (count == -FI_EAVAIL) {
			op_failed(f);
			events++;
			continue;
		}
		if (count <= 0)
			break;
		for (ssize_t i = 0; i < count; i++)
			op_ended(f, entries[i].op_context, entries[i].len);
		events += (int)count;
	}
	if (f->queued > 0)
		queues_retry(f);
	if (f->has_failed)
		failures_tell(f);
	if (f->recvs < f->recvs_wanted)
		recvs_post(f);
	if (events > 0 && f->poller.fd < 0)
		f->tick_ns = TICK_MIN_NS;
	return events;
}

static bool fabric_may_sleep(void *arg)
{
	struct fabric *f = arg;
	struct fid *fids[1] = { &f->cq->fid };

	if (f->has_failed)
		return false;
	timer_arm(f);
	return f->poller.fd < 0 || fi_trywait(f->fabric, fids, 1) == FI_SUCCESS;
}

static void timer_fired(void *arg)
{
	struct fabric *f = arg;

	/* The poller looks in this turn; then it sleeps again, and longer if there was nothing. */
	f->tick_ns = CFS_MIN(f->tick_ns * 2, TICK_MAX_NS);
}

/* When the first of the queues is to be tried again. */
static uint64_t retry_due(const struct fabric *f)
{
	uint64_t now = cfs_now_ns(), due = now + RETRY_MAX_NS;

	cfs_list_for_each(node, &f->links) {
		const struct net_link *link = cfs_list_entry(node, struct net_link, node);

		if (!cfs_list_is_empty(&link->queue))
			due = CFS_MIN(due, CFS_MAX(link->retry_at_ns, now + RETRY_NS));
	}
	return cfs_list_is_empty(&f->rmas) ? due : now + RETRY_NS;
}

/* Sleep ends by itself where nothing else would end it. */
static void timer_arm(struct fabric *f)
{
	if (f->timer.slot)
		return;
	if (f->poller.fd < 0)
		cfs_timer_arm(&f->timer, cfs_now_ns() + f->tick_ns, timer_fired, f);
	else if (f->queued > 0)
		cfs_timer_arm(&f->timer, retry_due(f), timer_fired, f);
}

/* --- life --- */

static CFS_AWAITS void fabric_free(struct fabric *f)
{
	if (!f)
		return;
	fabric_stop_ep(f);
	/* Nothing is sent or received any more; what is registered goes before its domain. */
	net_bufs_fini(f->net);
	fabric_stop(f);
	f->net->transport = NULL;
	free(f);
}

static CFS_AWAITS int fabric_open(struct cfs_net *net, const struct cfs_net_opts *opts,
				  char *err_out, uint32_t err_bytes)
{
	struct fabric *f = calloc(1, sizeof(*f));
	const char *what;
	struct net_addr self;
	int wait_fd, rc;

	if (!f)
		return -ENOMEM;
	f->net = net;
	f->is_shm = strcmp(net->ops->scheme, "shm") == 0;
	f->provider = f->is_shm                                ? "shm"
		      : strcmp(net->ops->scheme, "verbs") == 0 ? "verbs;ofi_rxm"
							       : "tcp;ofi_rxm";
	f->tick_ns = cfs_rand_u64(); /* until it ticks: names a client */
	cfs_list_init(&f->links);
	cfs_list_init(&f->rmas);
	net->transport = f;
	rc = fabric_start(f, opts, &self, &wait_fd, &what);
	f->tick_ns = TICK_MIN_NS;
	if (rc == 0)
		rc = conn_layer_init(net, &self);
	if (rc < 0) {
		net_say(err_out, err_bytes, "%s: %s (%s)", opts->addr,
			rc == -EADDRINUSE ? "the port is in use, give another one" : what,
			cfs_err_text(rc));
		fabric_free(f);
		return rc;
	}
	fabric_addr_print(f, &self);
	f->recvs_wanted = RECVS_MIN;
	recvs_post(f);
	f->poller = (struct cfs_poller){
		.poll = fabric_poll,
		.may_sleep = fabric_may_sleep,
		.arg = f,
		.fd = wait_fd,
	};
	cfs_poller_add(&f->poller);
	return 0;
}

/* After that no handler waits for RMA: what is under way has failed. */
static CFS_AWAITS void fabric_shutdown(struct cfs_net *net)
{
	struct fabric *f = fabric_of(net);

	if (f->is_down)
		return;
	f->is_down = true;
	cfs_poller_remove(&f->poller);
	fabric_stop_ep(f);
	while (!cfs_list_is_empty(&f->rmas))
		rma_ended(cfs_list_first(&f->rmas, struct rma_op, link), -CFS_EDISCONNECTED);
}

static bool links_are_quiet(const struct fabric *f)
{
	cfs_list_for_each(node, &f->links)
		if (cfs_list_entry(node, struct net_link, node)->ops > 0)
			return false;
	return f->queued == 0;
}

static CFS_AWAITS void fabric_close(struct cfs_net *net)
{
	struct fabric *f = fabric_of(net);
	uint64_t due_ns = cfs_now_ns() + DRAIN_NS;

	conn_layer_fini(net);
	while (!f->is_down && !links_are_quiet(f) && cfs_now_ns() < due_ns)
		if (cfs_sleep_ns(RETRY_NS) < 0)
			break;
	fabric_shutdown(net);
	cfs_timer_disarm(&f->timer);
	cfs_list_for_each_safe(node, next, &f->links)
		free(cfs_list_entry(node, struct net_link, node));
	fabric_free(f);
}

#define FABRIC_OPS(name) \
	{ \
		.scheme = (name), .open = fabric_open, .shutdown = fabric_shutdown, \
		.close = fabric_close, .peer_open = conn_peer_open, .peer_close = conn_peer_close, \
		.peer_connect = conn_peer_connect, .request = conn_request, .reply = conn_reply, \
		.refuse = conn_refuse, .settle = conn_settle, .call_started = conn_call_started, \
		.credits_changed = fabric_credits_changed, .region_open = fabric_region_open, \
		.region_close = fabric_region_close, .rma = fabric_rma, .resolve = fabric_resolve, \
		.link_open = fabric_link_open, .link_close = fabric_link_close, \
		.link_send = fabric_link_send, .buf_register = fabric_buf_register, \
		.buf_unregister = fabric_buf_unregister, \
	}

const struct net_ops net_fabric_tcp_ops = FABRIC_OPS("tcp");
const struct net_ops net_fabric_verbs_ops = FABRIC_OPS("verbs");
const struct net_ops net_fabric_shm_ops = FABRIC_OPS("shm");
