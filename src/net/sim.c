/*
 * The simulated network: frames travel by timers, with random delays (so they overtake each other),
 * losses and repetitions; pairs of endpoints can be cut, endpoints killed. All dice are
 * cfs_rand_u64(), so a seed repeats everything.
 *
 * The network is nobody's process: its timers and what is on its way belong to domain 0 and outlive
 * who sent it. What it delivers runs in the receiver's domain.
 *
 * Bulk data is copied in one step, after a delay, if then the region is still registered and the
 * way is open.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/util.h"
#include "net/conn.h"

#define ADDR_BYTES CFS_FRAME_ADDR_BYTES
#define MILLION 1000000u

struct sim_ep {
	struct cfs_list link; /* of the network's */
	struct cfs_net_sim *sim;
	struct cfs_net *net;
	uint32_t domain;
	bool is_client;
	struct cfs_list regions;
	char addr[ADDR_BYTES];
};

struct sim_region {
	struct cfs_list link;
	uint64_t key, len_bytes;
	uint8_t *mem;
};

struct net_link {
	char to[ADDR_BYTES];
};

struct sim_cut {
	struct cfs_list link;
	char from[ADDR_BYTES], to[ADDR_BYTES]; /* prefixes */
};

struct sim_frame {
	struct cfs_list link; /* on its way */
	struct cfs_net_sim *sim;
	struct cfs_timer timer;
	char from[ADDR_BYTES], to[ADDR_BYTES];
	uint32_t len_bytes;
	uint8_t data[]; /* header and body */
};

struct cfs_net_sim {
	struct cfs_net_sim_opts opts;
	struct cfs_list eps, frames, cuts;
	uint32_t clients; /* names for them */
};

/* --- the network --- */

int cfs_net_sim_create(const struct cfs_net_sim_opts *opts, struct cfs_net_sim **out)
{
	struct cfs_net_sim *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	cfs_list_init(&s->eps);
	cfs_list_init(&s->frames);
	cfs_list_init(&s->cuts);
	cfs_net_sim_tune(s, opts);
	*out = s;
	return 0;
}

static void frame_free(struct sim_frame *f)
{
	cfs_timer_disarm(&f->timer);
	cfs_list_remove(&f->link);
	free(f);
}

void cfs_net_sim_destroy(struct cfs_net_sim *s)
{
	if (!s)
		return;
	cfs_assert(cfs_list_is_empty(&s->eps));
	cfs_list_for_each_safe(node, next, &s->frames)
		frame_free(cfs_list_entry(node, struct sim_frame, link));
	cfs_list_for_each_safe(node, next, &s->cuts)
		free(cfs_list_entry(node, struct sim_cut, link));
	free(s);
}

void cfs_net_sim_tune(struct cfs_net_sim *s, const struct cfs_net_sim_opts *opts)
{
	s->opts = *opts;
	s->opts.delay_max_ns = CFS_MAX(opts->delay_min_ns, opts->delay_max_ns);
}

static bool has_prefix(const char *addr, const char *prefix)
{
	return strncmp(addr, prefix, strlen(prefix)) == 0;
}

void cfs_net_sim_cut(struct cfs_net_sim *s, const char *from_prefix, const char *to_prefix,
		     bool is_cut)
{
	struct sim_cut *cut;

	cfs_assert(strlen(from_prefix) < ADDR_BYTES);
	cfs_assert(strlen(to_prefix) < ADDR_BYTES);
	cfs_list_for_each_safe(node, next, &s->cuts) {
		cut = cfs_list_entry(node, struct sim_cut, link);
		if (strcmp(cut->from, from_prefix) == 0 && strcmp(cut->to, to_prefix) == 0) {
			cfs_list_remove(node);
			free(cut);
		}
	}
	if (!is_cut)
		return;
	cut = calloc(1, sizeof(*cut));
	cfs_assert(cut); /* a simulation without memory proves nothing */
	memcpy(cut->from, from_prefix, strlen(from_prefix) + 1);
	memcpy(cut->to, to_prefix, strlen(to_prefix) + 1);
	cfs_list_append(&s->cuts, &cut->link);
}

static bool is_cut(const struct cfs_net_sim *s, const char *from, const char *to)
{
	cfs_list_for_each(node, &s->cuts) {
		const struct sim_cut *cut = cfs_list_entry(node, struct sim_cut, link);

		if (has_prefix(from, cut->from) && has_prefix(to, cut->to))
			return true;
	}
	return false;
}

static struct sim_ep *ep_find(const struct cfs_net_sim *s, const char *addr)
{
	cfs_list_for_each(node, &s->eps) {
		struct sim_ep *ep = cfs_list_entry(node, struct sim_ep, link);

		if (strcmp(ep->addr, addr) == 0)
			return ep;
	}
	return NULL;
}

static bool dice(uint32_t ppm)
{
	return ppm > 0 && cfs_rand_u64() % MILLION < ppm;
}

static uint64_t delay_ns(const struct cfs_net_sim *s)
{
	uint64_t range_ns = s->opts.delay_max_ns - s->opts.delay_min_ns;

	if (dice(s->opts.late_ppm))
		return s->opts.delay_max_ns +
		       (s->opts.late_ns ? cfs_rand_u64() % s->opts.late_ns : 0);
	return s->opts.delay_min_ns + (range_ns > 0 ? cfs_rand_u64() % range_ns : 0);
}

static void frame_due(void *arg)
{
	struct sim_frame *f = arg;
	struct sim_ep *ep = ep_find(f->sim, f->to);
	struct cfs_net_buf *b;
	uint32_t domain;

	if (!ep || is_cut(f->sim, f->from, f->to)) {
		frame_free(f);
		return;
	}
	domain = cfs_domain_set(ep->domain);
	b = net_buf_get(ep->net, f->len_bytes - NET_HEADROOM_BYTES);
	if (b) {
		memcpy(b->data, f->data, f->len_bytes);
		b->len_bytes = f->len_bytes - NET_HEADROOM_BYTES;
	}
	frame_free(f);
	if (b)
		conn_frame_arrived(ep->net, b);
	(void)cfs_domain_set(domain);
}

static void frame_post(struct sim_ep *ep, const char *to, const uint8_t *data, uint32_t len_bytes)
{
	struct cfs_net_sim *s = ep->sim;
	struct sim_frame *f = malloc(sizeof(*f) + len_bytes);
	uint32_t domain;

	cfs_assert(f);
	*f = (struct sim_frame){ .sim = s, .len_bytes = len_bytes };
	memcpy(f->from, ep->addr, ADDR_BYTES);
	memcpy(f->to, to, ADDR_BYTES);
	memcpy(f->data, data, len_bytes);
	cfs_list_append(&s->frames, &f->link);
	domain = cfs_domain_set(0);
	cfs_timer_arm(&f->timer, cfs_now_ns() + delay_ns(s), frame_due, f);
	(void)cfs_domain_set(domain);
}

/* --- endpoints --- */

static int sim_open(struct cfs_net *net, const struct cfs_net_opts *opts, char *err_out,
		    uint32_t err_bytes)
{
	struct sim_ep *ep;
	struct net_addr self = { 0 };

	if (!opts->sim || strlen(net->addr) > ADDR_BYTES - 16) {
		net_say(err_out, err_bytes, "%s: needs a simulated network and a shorter name",
			net->addr);
		return -EINVAL;
	}
	if (opts->is_client)
		(void)snprintf(net->addr + strlen(net->addr), 16, "#%u", opts->sim->clients++);
	if (ep_find(opts->sim, net->addr)) {
		net_say(err_out, err_bytes, "%s: somebody listens there; give another name",
			net->addr);
		return -EADDRINUSE;
	}
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	ep->sim = opts->sim;
	ep->net = net;
	ep->domain = cfs_domain();
	ep->is_client = opts->is_client;
	cfs_list_init(&ep->regions);
	memcpy(ep->addr, net->addr, strlen(net->addr) + 1);
	self.len_bytes = (uint32_t)strlen(ep->addr);
	memcpy(self.bytes, ep->addr, self.len_bytes);
	if (conn_layer_init(net, &self) < 0) {
		free(ep);
		return -ENOMEM;
	}
	cfs_list_append(&ep->sim->eps, &ep->link);
	net->transport = ep;
	return 0;
}

static void ep_free(struct sim_ep *ep)
{
	cfs_list_remove(&ep->link);
	cfs_list_for_each_safe(node, next, &ep->regions)
		free(cfs_list_entry(node, struct sim_region, link));
	free(ep);
}

static void sim_close(struct cfs_net *net)
{
	conn_layer_fini(net);
	ep_free(net->transport);
	net->transport = NULL;
}

void cfs_net_sim_kill(struct cfs_net_sim *s, const char *addr_prefix)
{
	cfs_list_for_each_safe(node, next, &s->eps) {
		struct sim_ep *ep = cfs_list_entry(node, struct sim_ep, link);
		struct cfs_net *net = ep->net;

		if (!has_prefix(ep->addr, addr_prefix))
			continue;
		ep_free(ep);
		net->transport = NULL;
		net_forget(net);
	}
}

/* --- links --- */

static int sim_resolve(struct cfs_net *net, const char *addr, struct net_addr *out)
{
	(void)net;
	if (strlen(addr) >= sizeof(out->bytes))
		return -EINVAL;
	*out = (struct net_addr){ .len_bytes = (uint32_t)strlen(addr) };
	memcpy(out->bytes, addr, out->len_bytes);
	return 0;
}

static int sim_link_open(struct cfs_net *net, const struct net_addr *addr, struct net_link **out)
{
	struct net_link *link;

	(void)net;
	if (addr->len_bytes >= sizeof(link->to))
		return -EINVAL;
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	memcpy(link->to, addr->bytes, addr->len_bytes);
	*out = link;
	return 0;
}

static void sim_link_close(struct cfs_net *net, struct net_link *link)
{
	(void)net;
	free(link);
}

static void sim_link_send(struct cfs_net *net, struct net_link *link, struct cfs_net_buf *b)
{
	struct sim_ep *ep = net->transport;
	struct cfs_net_sim *s = ep ? ep->sim : NULL;
	uint32_t len_bytes = NET_HEADROOM_BYTES + b->len_bytes;

	if (s && !dice(s->opts.loss_ppm) && !is_cut(s, ep->addr, link->to)) {
		frame_post(ep, link->to, b->data, len_bytes);
		if (dice(s->opts.dup_ppm))
			frame_post(ep, link->to, b->data, len_bytes);
	}
	net_buf_put(b);
}

/* --- bulk --- */

static int sim_region_open(struct cfs_net *net, struct cfs_net_region *r)
{
	struct sim_ep *ep = net->transport;
	struct sim_region *region = calloc(1, sizeof(*region));

	if (!region)
		return -ENOMEM;
	region->key = cfs_rand_u64();
	region->len_bytes = r->len_bytes;
	region->mem = r->local;
	cfs_list_append(&ep->regions, &region->link);
	r->addr = 0; /* offsets count from the region's start */
	r->key = region->key;
	r->private = region;
	return 0;
}

static void sim_region_close(struct cfs_net *net, struct cfs_net_region *r)
{
	struct sim_region *region = r->private;

	(void)net;
	cfs_list_remove(&region->link);
	free(region);
}

static struct sim_region *region_find(const struct sim_ep *ep, uint64_t key)
{
	cfs_list_for_each(node, &ep->regions) {
		struct sim_region *r = cfs_list_entry(node, struct sim_region, link);

		if (r->key == key)
			return r;
	}
	return NULL;
}

static void rma_due(void *arg)
{
	cfs_done_complete(arg, 0);
}

/* The caller's endpoint, if it is the one that called and the way there and back is open. */
static struct sim_ep *caller_find(const struct cfs_net_call *c)
{
	const struct sim_ep *ep = c->net->transport;
	const struct net_conn *conn = c->conn;
	struct sim_ep *caller;

	if (!conn || !conn->link)
		return NULL;
	caller = ep_find(ep->sim, conn->link->to);
	if (!caller || caller->net->conns->instance != conn->remote_instance)
		return NULL;
	if (is_cut(ep->sim, ep->addr, caller->addr) || is_cut(ep->sim, caller->addr, ep->addr))
		return NULL;
	return caller;
}

static int rma_copy(const struct cfs_net_call *c, bool is_write, uint64_t off_bytes, void *buf,
		    uint32_t len_bytes)
{
	struct sim_ep *caller = caller_find(c);
	const struct sim_region *r = caller ? region_find(caller, c->req.bulk_key) : NULL;

	if (!caller)
		return -CFS_EDISCONNECTED;
	if (!r || off_bytes > r->len_bytes || len_bytes > r->len_bytes - off_bytes)
		return -EINVAL;
	if (is_write)
		memcpy(r->mem + off_bytes, buf, len_bytes);
	else
		memcpy(buf, r->mem + off_bytes, len_bytes);
	return 0;
}

static CFS_AWAITS int sim_rma(struct cfs_net_call *c, bool is_write, uint64_t off_bytes, void *buf,
			      uint32_t len_bytes)
{
	const struct sim_ep *ep = c->net->transport;
	struct cfs_timer timer = { 0 };
	struct cfs_done done;
	int rc;

	if (!c->conn || c->is_fenced)
		return -CFS_EDISCONNECTED;
	c->rma_active++;
	cfs_done_init(&done);
	cfs_timer_arm(&timer, cfs_now_ns() + 2 * delay_ns(ep->sim), rma_due, &done);
	(void)cfs_done_wait_always(&done);
	rc = rma_copy(c, is_write, off_bytes, buf, len_bytes);
	c->rma_active--;
	conn_rma_ended(c);
	return rc;
}

const struct net_ops net_sim_ops = {
	.scheme = "sim",
	.open = sim_open,
	.close = sim_close,
	.peer_open = conn_peer_open,
	.peer_close = conn_peer_close,
	.peer_connect = conn_peer_connect,
	.request = conn_request,
	.reply = conn_reply,
	.refuse = conn_refuse,
	.settle = conn_settle,
	.call_started = conn_call_started,
	.region_open = sim_region_open,
	.region_close = sim_region_close,
	.rma = sim_rma,
	.resolve = sim_resolve,
	.link_open = sim_link_open,
	.link_close = sim_link_close,
	.link_send = sim_link_send,
};
