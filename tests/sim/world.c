#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "ctl/ctl.h"
#include "ctl/mem.h"
#include "net/net.h"
#include "server/fsck.h"
#include "server/node.h"
#include "store/device.h"

#define NODE_NAME "node"
#define NODE_ADDR "sim:node/0"
#define START_LIMIT_NS (120 * SIM_S)

/* One life of the node. Never freed: fibers that were abandoned may be in its group. */
struct node_life {
	struct sim *sim;
	uint32_t domain;
	struct cfs_group group;
	struct cfs_node *node;
	struct cfs_ctl *ctl;
	bool is_up, is_stopped;
	int rc;
	char error[256];
};

struct client_life {
	struct sim *sim;
	uint32_t domain;
	struct cfs_group group;
	struct cfs_client *client[SIM_CLIENTS_MAX];
	uint32_t open;
	bool is_closed;
	char error[256];
};

struct sim_world {
	struct sim_world_opts opts;
	struct cfs_sim_disk *disk;
	struct cfs_net_sim *net;
	struct cfs_ctl_mem *plane;
	struct node_life *node;
	struct client_life *clients;
	uint32_t domains, endpoints;
};

static uint64_t pick(struct sim *s, const uint64_t *from, uint32_t count)
{
	return from[sim_below(&s->rand, count)];
}

#define PICK(s, ...) \
	pick(s, (const uint64_t[]){ __VA_ARGS__ }, \
	     sizeof((const uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

void sim_world_opts_dice(struct sim *s, struct sim_world_opts *o)
{
	*o = (struct sim_world_opts){ 0 };
	o->shards = (uint32_t)PICK(s, 16, 16, 64, 256);
	o->stores = 2 + sim_below(&s->rand, 3);
	o->disk_bytes = (uint64_t)o->stores * PICK(s, 48, 64, 96) << 20;
	o->tail_bytes = PICK(s, 2, 4, 8) << 20;
	o->cache_bytes = PICK(s, 256, 4096) << 10;
	o->patch_bytes = PICK(s, 16, 64, 1024) << 10;
	o->flush_interval_ns = PICK(s, 5, 20, 100, 1000) * SIM_MS;
	o->disk_latency_min_ns = 10 * SIM_US;
	o->disk_latency_max_ns = PICK(s, 50, 200, 2000) * SIM_US;
	o->net_delay_min_ns = 2 * SIM_US;
	o->net_delay_max_ns = PICK(s, 5, 20, 100, 1000, 50000) * SIM_US;
	o->loss_ppm = (uint32_t)PICK(s, 0, 0, 100, 2000, 20000);
	o->dup_ppm = (uint32_t)PICK(s, 0, 1000, 30000);
	o->clients = s->opts.clients ? s->opts.clients : 1 + sim_below(&s->rand, 3);
	o->control_seed = sim_rand(&s->rand);
}

static void keys_dice(struct sim *s, uint8_t uuid[16], uint8_t key[16])
{
	for (uint32_t i = 0; i < 16; i++) {
		uuid[i] = (uint8_t)sim_rand(&s->rand);
		key[i] = (uint8_t)sim_rand(&s->rand);
	}
}

void sim_world_create(struct sim *s, const struct sim_world_opts *opts)
{
	struct sim_world *w = sim_alloc(sizeof(*w));
	const struct cfs_sim_disk_opts disk = { .size_bytes = opts->disk_bytes,
						.latency_min_ns = opts->disk_latency_min_ns,
						.latency_max_ns = opts->disk_latency_max_ns };
	const struct cfs_net_sim_opts net = { .delay_min_ns = opts->net_delay_min_ns,
					      .delay_max_ns = opts->net_delay_max_ns,
					      .loss_ppm = opts->loss_ppm,
					      .dup_ppm = opts->dup_ppm,
					      .late_ppm = opts->late_ppm,
					      .late_ns = opts->late_ns };
	uint8_t uuid[16], key[16];
	int rc;

	w->opts = *opts;
	s->world = w;
	keys_dice(s, uuid, key);
	rc = cfs_sim_disk_create(&disk, &w->disk);
	if (rc == 0)
		rc = cfs_sim_disk_mkfs(w->disk, opts->stores, opts->shards, uuid, key);
	if (rc == 0)
		rc = cfs_net_sim_create(&net, &w->net);
	if (rc == 0)
		rc = cfs_ctl_mem_create(opts->control_seed, &w->plane);
	if (rc < 0)
		sim_finding(s, "cannot make the world: %s", cfs_err_name(rc));
	sim_say(s,
		"world: %u shards, %u stores, disk %llu MiB, tail %llu MiB, patches %llu KiB, "
		"flush "
		"%llu ms, net up to %llu us, loss %u, dup %u, clients %u",
		opts->shards, opts->stores, (unsigned long long)opts->disk_bytes >> 20,
		(unsigned long long)opts->tail_bytes >> 20,
		(unsigned long long)opts->patch_bytes >> 10,
		(unsigned long long)(opts->flush_interval_ns / SIM_MS),
		(unsigned long long)(opts->net_delay_max_ns / SIM_US), opts->loss_ppm,
		opts->dup_ppm, opts->clients);
}

static void wake(struct sim *s)
{
	cfs_waitq_wake_all(&s->wake);
}

/* Starts @fn(@arg) in @group as a fiber of @domain. */
static void start_in(struct sim *s, uint32_t domain, struct cfs_group *group, cfs_fiber_fn fn,
		     void *arg)
{
	uint32_t old = cfs_domain_set(domain);
	int rc = cfs_group_start(group, fn, arg);

	cfs_domain_set(old);
	if (rc < 0)
		sim_finding(s, "no fiber: %s", cfs_err_name(rc));
}

/* --- the node --- */

static CFS_AWAITS void node_starts(void *arg)
{
	struct node_life *l = arg;
	const struct sim_world *w = l->sim->world;
	struct cfs_sim_disk *disks[1] = { w->disk };
	const struct cfs_node_opts opts = { .path_count = 1,
					    .name = NODE_NAME,
					    .tail_bytes = w->opts.tail_bytes,
					    .cache_bytes = w->opts.cache_bytes,
					    .flush_interval_ns = w->opts.flush_interval_ns,
					    .patch_bytes_max = w->opts.patch_bytes,
					    .session_life_ns = w->opts.session_life_ns,
					    .ctl = l->ctl,
					    .disks = disks,
					    .sim = w->net };

	l->rc = cfs_node_start(&opts, &l->node, l->error, sizeof(l->error));
	l->is_up = l->rc == 0;
	wake(l->sim);
}

void sim_node_start(struct sim *s)
{
	struct sim_world *w = s->world;
	struct node_life *l = sim_alloc(sizeof(*l));
	uint32_t old;
	int rc;

	cfs_assert(!w->node);
	l->sim = s;
	l->domain = ++w->domains;
	cfs_group_init(&l->group);
	old = cfs_domain_set(l->domain);
	rc = cfs_ctl_mem_open(w->plane, &l->ctl);
	cfs_domain_set(old);
	if (rc < 0)
		sim_finding(s, "control plane: %s", cfs_err_name(rc));
	w->node = l;
	start_in(s, l->domain, &l->group, node_starts, l);
}

bool sim_node_is_up(const struct sim *s)
{
	return s->world->node && s->world->node->is_up;
}

bool sim_node_is_dead(const struct sim *s)
{
	return !s->world->node;
}

void sim_node_wait(struct sim *s)
{
	const struct node_life *l = s->world->node;
	uint64_t until = cfs_now_ns() + START_LIMIT_NS;
	uint64_t old = cfs_deadline_narrow(until);

	cfs_assert(l != NULL);
	while (!l->is_up && l->rc == 0 && cfs_now_ns() < until)
		(void)cfs_waitq_wait(&s->wake);
	cfs_deadline_restore(old);
	if (l->rc < 0)
		sim_finding(s, "the node does not start: %s (%s)", l->error, cfs_err_name(l->rc));
	if (!l->is_up)
		sim_finding(s, "the node does not start in %llu s",
			    (unsigned long long)(START_LIMIT_NS / SIM_S));
}

static CFS_AWAITS void node_stops(void *arg)
{
	struct node_life *l = arg;

	l->rc = cfs_node_stop(l->node);
	l->is_stopped = true;
	wake(l->sim);
}

void sim_node_stop(struct sim *s)
{
	struct sim_world *w = s->world;
	struct node_life *l = w->node;
	uint64_t until = cfs_now_ns() + START_LIMIT_NS;
	uint64_t old = cfs_deadline_narrow(until);

	start_in(s, l->domain, &l->group, node_stops, l);
	while (!l->is_stopped && cfs_now_ns() < until)
		(void)cfs_waitq_wait(&s->wake);
	cfs_deadline_restore(old);
	if (!l->is_stopped)
		sim_finding(s, "the node does not stop");
	if (l->rc < 0)
		sim_finding(s, "the node's stop: %s", cfs_err_name(l->rc));
	w->node = NULL;
}

/* Its memory is gone with it; what only the process knew is not given back. */
static void node_dies(struct sim *s)
{
	struct sim_world *w = s->world;
	struct node_life *l = w->node;

	if (!l)
		return;
	cfs_domain_abandon(l->domain);
	cfs_net_sim_kill(w->net, "sim:" NODE_NAME);
	if (l->is_up)
		cfs_node_abandon(l->node);
	w->node = NULL;
}

void sim_node_kill(struct sim *s)
{
	sim_say(s, "%llu us: SIGKILL of the node%s", (unsigned long long)(cfs_now_ns() / SIM_US),
		sim_node_is_up(s) ? "" : ", which was starting");
	sim_trace(s, 1, cfs_now_ns());
	node_dies(s);
	cfs_sim_disk_kill(s->world->disk);
	s->kills++;
	wake(s);
}

void sim_power_cut(struct sim *s)
{
	struct sim_world *w = s->world;

	sim_say(s, "%llu us: power cut", (unsigned long long)(cfs_now_ns() / SIM_US));
	sim_trace(s, 2, cfs_now_ns());
	node_dies(s);
	if (w->clients) {
		cfs_domain_abandon(w->clients->domain);
		cfs_net_sim_kill(w->net, "sim:client");
		w->clients = NULL;
	}
	cfs_sim_disk_power_cut(w->disk);
	s->cuts++;
	wake(s);
}

/* --- clients --- */

static CFS_AWAITS void clients_connect(void *arg)
{
	struct client_life *l = arg;
	const struct sim_world *w = l->sim->world;
	const struct cfs_client_opts opts = { .addrs = { NODE_ADDR },
					      .addr_count = 1,
					      .sim = w->net };

	for (uint32_t i = 0; i < w->opts.clients; i++) {
		int rc = cfs_client_open(&opts, &l->client[i], l->error, sizeof(l->error));

		if (rc < 0)
			sim_finding(l->sim, "client %u does not connect: %s (%s)", i, l->error,
				    cfs_err_name(rc));
		l->open++;
	}
	wake(l->sim);
}

void sim_clients_open(struct sim *s)
{
	struct sim_world *w = s->world;
	struct client_life *l = sim_alloc(sizeof(*l));

	cfs_assert(!w->clients);
	l->sim = s;
	l->domain = ++w->domains;
	cfs_group_init(&l->group);
	w->clients = l;
	start_in(s, l->domain, &l->group, clients_connect, l);
	while (l->open < w->opts.clients)
		(void)cfs_waitq_wait(&s->wake);
}

static CFS_AWAITS void clients_leave(void *arg)
{
	struct client_life *l = arg;

	for (uint32_t i = 0; i < l->open; i++)
		cfs_client_close(l->client[i]);
	l->is_closed = true;
	wake(l->sim);
}

void sim_clients_close(struct sim *s)
{
	struct client_life *l = s->world->clients;

	start_in(s, l->domain, &l->group, clients_leave, l);
	while (!l->is_closed)
		(void)cfs_waitq_wait(&s->wake);
	s->world->clients = NULL;
}

struct cfs_client *sim_client(const struct sim *s, uint32_t index)
{
	return s->world->clients->client[index % s->world->opts.clients];
}

uint32_t sim_client_count(const struct sim *s)
{
	return s->world->opts.clients;
}

void sim_client_fiber(struct sim *s, cfs_fiber_fn fn, void *arg)
{
	struct client_life *l = s->world->clients;

	start_in(s, l->domain, &l->group, fn, arg);
}

void sim_net_cut(struct sim *s, bool is_cut)
{
	sim_say(s, "%llu us: network %s", (unsigned long long)(cfs_now_ns() / SIM_US),
		is_cut ? "cut" : "healed");
	sim_trace(s, 5, cfs_now_ns());
	cfs_net_sim_cut(s->world->net, "sim:client", NODE_ADDR, is_cut);
	cfs_net_sim_cut(s->world->net, NODE_ADDR, "sim:client", is_cut);
}

/* --- clients that are alone --- */

static CFS_AWAITS void lone_connects(void *arg)
{
	struct sim_lone *l = arg;
	int rc = cfs_client_open(&l->opts, &l->client, l->error, sizeof(l->error));

	if (rc < 0)
		sim_finding(l->sim, "client %s does not connect: %s (%s)", l->addr, l->error,
			    cfs_err_name(rc));
	l->is_open = true;
	wake(l->sim);
}

struct sim_lone *sim_lone_open(struct sim *s, const struct cfs_client_opts *opts)
{
	struct sim_world *w = s->world;
	struct sim_lone *l = sim_alloc(sizeof(*l));

	l->sim = s;
	l->domain = ++w->domains;
	l->number = w->endpoints++;
	(void)snprintf(l->addr, sizeof(l->addr), "sim:lone%u/0", l->number);
	cfs_group_init(&l->group);
	l->opts = *opts;
	l->opts.addrs[0] = NODE_ADDR;
	l->opts.addr_count = 1;
	l->opts.sim = w->net;
	l->opts.endpoint = l->addr;
	start_in(s, l->domain, &l->group, lone_connects, l);
	while (!l->is_open)
		(void)cfs_waitq_wait(&s->wake);
	return l;
}

void sim_lone_fiber(struct sim_lone *l, cfs_fiber_fn fn, void *arg)
{
	start_in(l->sim, l->domain, &l->group, fn, arg);
}

void sim_lone_kill(struct sim_lone *l)
{
	sim_say(l->sim, "%llu us: SIGKILL of client %s",
		(unsigned long long)(cfs_now_ns() / SIM_US), l->addr);
	sim_trace(l->sim, 6, l->number);
	cfs_domain_abandon(l->domain);
	cfs_net_sim_kill(l->sim->world->net, l->addr);
	l->client = NULL;
}

static CFS_AWAITS void lone_leaves(void *arg)
{
	struct sim_lone *l = arg;

	cfs_client_close(l->client);
	l->client = NULL;
	l->is_closed = true;
	wake(l->sim);
}

void sim_lone_close(struct sim_lone *l)
{
	start_in(l->sim, l->domain, &l->group, lone_leaves, l);
	while (!l->is_closed)
		(void)cfs_waitq_wait(&l->sim->wake);
}

void sim_lone_cut(struct sim_lone *l, bool is_cut_to, bool is_cut_from)
{
	struct cfs_net_sim *net = l->sim->world->net;

	sim_say(l->sim, "%llu us: %s: way to the node %s, from it %s",
		(unsigned long long)(cfs_now_ns() / SIM_US), l->addr, is_cut_to ? "cut" : "open",
		is_cut_from ? "cut" : "open");
	sim_trace(l->sim, 7, l->number);
	cfs_net_sim_cut(net, l->addr, NODE_ADDR, is_cut_to);
	cfs_net_sim_cut(net, NODE_ADDR, l->addr, is_cut_from);
}

/* --- the disk --- */

struct fsck_ctx {
	struct sim *sim;
	const char *when;
};

static void fsck_finding(void *arg, const char *what)
{
	const struct fsck_ctx *c = arg;

	sim_finding(c->sim, "fsck %s: %s", c->when, what);
}

void sim_fsck(struct sim *s, const char *when, struct cfs_fsck_result *out)
{
	struct cfs_sim_disk *disks[1] = { s->world->disk };
	struct fsck_ctx ctx = { s, when };
	const struct cfs_fsck_opts opts = {
		.path_count = 1, .disks = disks, .finding = fsck_finding, .ctx = &ctx
	};
	char error[256] = "";
	int rc = cfs_fsck_run(&opts, out, error, sizeof(error));

	if (rc < 0)
		sim_finding(s, "fsck %s does not run: %s (%s)", when, error, cfs_err_name(rc));
	sim_trace(s, 3, out->inodes);
	sim_trace(s, 4, out->extents);
}

void sim_at_write(struct sim *s, uint64_t after, void (*fn)(void *arg), void *arg)
{
	cfs_sim_disk_at_write(s->world->disk, cfs_sim_disk_writes(s->world->disk) + after, fn, arg);
}

uint64_t sim_disk_writes(const struct sim *s)
{
	return cfs_sim_disk_writes(s->world->disk);
}

uint64_t sim_disk_hash(const struct sim *s)
{
	return cfs_hash_bytes(cfs_sim_disk_data(s->world->disk), cfs_sim_disk_bytes(s->world->disk),
			      0);
}
