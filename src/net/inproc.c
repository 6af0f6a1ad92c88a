/*
 * Transport between the cores of one process. The encoded bytes of a message go from one endpoint
 * to another by reference: the buffer changes hands, on the same core at once, to another core by
 * cfs_core_post(). Bulk regions are the caller's memory itself.
 *
 * Nothing gets lost here, so there is nothing to detect: every request comes back as a reply or as
 * a bounce (its endpoint is closed, its bytes were refused). A caller whose region is in use waits
 * for that.
 *
 * An endpoint is known to others as a struct inproc_ep, which is counted and outlives it. Only its
 * core touches ep->net.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "net/net_internal.h"

struct inproc_ep {
	struct cfs_list link; /* in the directory, if it listens */
	atomic_uint refs;
	atomic_bool is_closed;
	uint32_t core;
	struct cfs_net *net; /* NULL: closed. Its core's. */
	char addr[CFS_NET_ADDR_BYTES];
};

/* The endpoints of this process that listen, by address. Taken when an endpoint opens or closes, or
 * a peer connects. */
static pthread_mutex_t directory_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cfs_list directory = CFS_LIST_INIT(directory);
static _Atomic uint64_t key_secret; /* makes region keys that cannot be guessed */

static void ep_ref(struct inproc_ep *ep)
{
	atomic_fetch_add_explicit(&ep->refs, 1, memory_order_relaxed);
}

static void ep_put(struct inproc_ep *ep)
{
	if (ep && atomic_fetch_sub_explicit(&ep->refs, 1, memory_order_acq_rel) == 1)
		free(ep);
}

/* Called with the directory locked. */
static struct inproc_ep *ep_find(const char *addr)
{
	cfs_list_for_each(node, &directory) {
		struct inproc_ep *ep = cfs_list_entry(node, struct inproc_ep, link);

		if (strcmp(ep->addr, addr) == 0)
			return ep;
	}
	return NULL;
}

static int inproc_open(struct cfs_net *net, const struct cfs_net_opts *opts, char *err_out,
		       uint32_t err_bytes)
{
	struct inproc_ep *ep = calloc(1, sizeof(*ep));
	uint64_t none = 0;
	bool is_taken = false;

	if (!ep)
		return -ENOMEM;
	(void)atomic_compare_exchange_strong(&key_secret, &none, cfs_rand_u64() | 1);
	cfs_list_init(&ep->link);
	atomic_init(&ep->refs, 1);
	ep->core = net->core;
	ep->net = net;
	memcpy(ep->addr, net->addr, sizeof(ep->addr));
	if (!opts->is_client) {
		pthread_mutex_lock(&directory_lock);
		is_taken = ep_find(ep->addr) != NULL;
		if (!is_taken)
			cfs_list_append(&directory, &ep->link);
		pthread_mutex_unlock(&directory_lock);
	}
	if (is_taken) {
		ep_put(ep);
		net_say(err_out, err_bytes,
			"%s: another endpoint of this process listens there; give another name",
			net->addr);
		return -EADDRINUSE;
	}
	net->ep = ep;
	return 0;
}

static void inproc_close(struct cfs_net *net)
{
	struct inproc_ep *ep = net->ep;

	pthread_mutex_lock(&directory_lock);
	cfs_list_remove(&ep->link);
	pthread_mutex_unlock(&directory_lock);
	atomic_store(&ep->is_closed, true);
	ep->net = NULL;
	ep_put(ep);
}

static int inproc_peer_open(struct cfs_net_peer *p)
{
	p->credits_free = p->net->credits;
	return 0;
}

static void inproc_peer_close(struct cfs_net_peer *p)
{
	ep_put(p->ep);
	p->ep = NULL;
}

/* There is nothing to connect; who waits, waits for a credit. */
static int inproc_peer_connect(struct cfs_net_peer *p)
{
	(void)p;
	return 0;
}

/* --- moving messages --- */

static void request_arrived(void *arg);
static void reply_arrived(void *arg);

static void cross(struct cfs_net_buf *b, void (*fn)(void *arg), uint32_t from_core)
{
	net_buf_detach(b);
	if (b->to->core == from_core)
		fn(b);
	else
		cfs_core_post(b->to->core, fn, b);
}

/* Sends @b back to where it came from: it will not be answered. */
static void bounce(struct cfs_net_buf *b, int rc, uint32_t core)
{
	struct inproc_ep *from = b->from;

	b->from = b->to;
	b->to = from;
	b->bounce_rc = rc;
	cross(b, reply_arrived, core);
}

static void request_arrived(void *arg)
{
	struct cfs_net_buf *b = arg;
	struct inproc_ep *from = b->from, *to = b->to;
	struct cfs_net *net = to->net;
	uint64_t xid = b->xid;
	struct cfs_net_buf *note;
	int rc;

	if (!net) {
		bounce(b, -CFS_EDISCONNECTED, to->core);
		return;
	}
	net_buf_attach(net, b);
	/* It counts on @from's reference until it has replied. */
	rc = net_request_arrived(net, from, NULL, b);
	if (rc == 0) {
		ep_put(to);
		return;
	}
	note = net_buf_get(net, 0);
	cfs_assert(note); /* the refused one's memory was just given back */
	note->xid = xid;
	note->from = from;
	note->to = to;
	bounce(note, rc, to->core);
}

static void reply_arrived(void *arg)
{
	struct cfs_net_buf *b = arg;
	struct inproc_ep *from = b->from, *to = b->to;
	struct cfs_net *net = to->net;
	uint64_t xid = b->xid;
	int rc = b->bounce_rc;

	if (net)
		net_buf_attach(net, b);
	if (net && rc == 0)
		rc = net_reply_arrived(net, xid, NULL, b);
	else
		net_buf_put(b);
	if (net && rc < 0)
		net_call_bounced(net, xid, -CFS_EDISCONNECTED);
	ep_put(from);
	ep_put(to);
}

/* Finds who listens at @p's address now. */
static int peer_find(struct cfs_net_peer *p)
{
	struct inproc_ep *ep;

	ep_put(p->ep);
	pthread_mutex_lock(&directory_lock);
	ep = ep_find(p->addr);
	if (ep)
		ep_ref(ep);
	pthread_mutex_unlock(&directory_lock);
	p->ep = ep;
	return ep ? 0 : -CFS_EDISCONNECTED;
}

static int inproc_request(struct cfs_net_peer *p, struct cfs_net_buf *b)
{
	if (!p->ep || atomic_load_explicit(&p->ep->is_closed, memory_order_relaxed)) {
		int rc = peer_find(p);

		if (rc < 0) {
			p->net->stats.disconnects++;
			net_buf_put(b);
			return rc;
		}
	}
	ep_ref(p->ep);
	ep_ref(p->net->ep);
	b->from = p->net->ep;
	b->to = p->ep;
	b->bounce_rc = 0;
	cross(b, request_arrived, p->net->core);
	return 0;
}

static void reply_cross(struct cfs_net_call *c, struct cfs_net_buf *b, int rc)
{
	b->from = c->net->ep;
	ep_ref(b->from);
	b->to = c->from; /* with its reference */
	b->bounce_rc = rc;
	cross(b, reply_arrived, c->net->core);
}

static void inproc_reply(struct cfs_net_call *c, struct cfs_net_buf *b)
{
	reply_cross(c, b, 0);
}

/* There was no memory for the reply. The request's bytes carry the news; the handler has done with
 * them. */
static void inproc_refuse(struct cfs_net_call *c)
{
	struct cfs_net_buf *b = c->buf;

	c->buf = NULL;
	b->xid = c->req.xid;
	reply_cross(c, b, -CFS_EDISCONNECTED);
}

static void inproc_settle(struct net_pending *pd)
{
	(void)pd; /* the reply will come, and until then the handler may use the region */
}

/* --- bulk --- */

static uint64_t region_key(uint64_t addr, uint64_t len_bytes)
{
	uint64_t secret = atomic_load_explicit(&key_secret, memory_order_relaxed);

	return cfs_hash_u64(cfs_hash_u64(addr ^ secret) + len_bytes);
}

static int inproc_region_open(struct cfs_net *net, struct cfs_net_region *r)
{
	(void)net;
	r->addr = (uint64_t)(uintptr_t)r->local;
	r->key = region_key(r->addr, r->len_bytes);
	return 0;
}

static void inproc_region_close(struct cfs_net *net, struct cfs_net_region *r)
{
	(void)net;
	(void)r;
}

static void *inproc_bulk(const struct cfs_net_call *c)
{
	if (c->req.bulk_key != region_key(c->req.bulk_addr, c->req.bulk_len))
		return NULL;
	return (void *)(uintptr_t)c->req.bulk_addr;
}

static int inproc_rma(struct cfs_net_call *c, bool is_write, uint64_t off_bytes, void *buf,
		      uint32_t len_bytes)
{
	uint8_t *mem = inproc_bulk(c);

	if (!mem)
		return -EINVAL;
	if (is_write)
		memcpy(mem + off_bytes, buf, len_bytes);
	else
		memcpy(buf, mem + off_bytes, len_bytes);
	return 0;
}

const struct net_ops net_inproc_ops = {
	.scheme = "inproc",
	.open = inproc_open,
	.close = inproc_close,
	.peer_open = inproc_peer_open,
	.peer_close = inproc_peer_close,
	.peer_connect = inproc_peer_connect,
	.request = inproc_request,
	.reply = inproc_reply,
	.refuse = inproc_refuse,
	.settle = inproc_settle,
	.region_open = inproc_region_open,
	.region_close = inproc_region_close,
	.bulk = inproc_bulk,
	.rma = inproc_rma,
};
