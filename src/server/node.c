/*
 * Start and stop of a node, as tables of steps over its cores.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/map.h"
#include "data/data.h"
#include "meta/meta.h"
#include "server/node_internal.h"
#include "store/device.h"

/* Runs @fn on every core at once and waits; the first error counts. */
struct each_job {
	struct node_core *core;
	int (*fn)(void *arg);
	int rc;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void each_one(void *arg)
{
	struct each_job *j = arg;

	j->rc = cfs_core_call(j->core->id, j->fn, j->core);
}

static CFS_AWAITS int each_core(struct cfs_node *n, int (*fn)(void *arg))
{
	struct each_job jobs[CFS_CORES_MAX];
	struct cfs_group g;
	int rc = 0;

	cfs_group_init(&g);
	for (uint32_t k = 0; k < n->cores; k++) {
		jobs[k] = (struct each_job){ .core = &n->core[k], .fn = fn };
		if (cfs_group_start(&g, each_one, &jobs[k]) < 0)
			each_one(&jobs[k]);
	}
	cfs_group_join(&g);
	for (uint32_t k = 0; k < n->cores; k++)
		rc = rc ? rc : jobs[k].rc;
	return rc;
}

/* --- one core's steps --- */

static CFS_AWAITS int core_scan(void *arg)
{
	struct node_core *c = arg;
	const struct cfs_node_opts *o = &c->node->opts;
	const struct cfs_store_opts so = { .tail_dir = o->tail_dir,
					   .tail_bytes = o->tail_bytes,
					   .cache_bytes = o->cache_bytes,
					   .flush_interval_ns = o->flush_interval_ns };

	return cfs_node_scan(c, &so);
}

static CFS_AWAITS int core_listen(void *arg)
{
	struct node_core *c = arg;
	struct cfs_node *n = c->node;
	char addr[CFS_NET_ADDR_BYTES];
	struct cfs_net_opts no = { .addr = addr, .handler = cfs_node_handle, .sim = n->opts.sim };
	int rc;

	snprintf(addr, sizeof(addr), "%s:%s/%u", n->opts.sim ? "sim" : "inproc", n->name, c->id);
	c->local = (struct node_endpoint){ .core = c };
	no.ctx = &c->local;
	rc = cfs_net_open(&no, &c->local.net, c->error, sizeof(c->error));
	if (rc < 0 || !n->opts.listen)
		return rc;
	c->listener = (struct node_endpoint){ .core = c, .is_listener = true };
	no.ctx = &c->listener;
	snprintf(addr, sizeof(addr), "%s", n->opts.listen);
	if (c->id > 0) {
		/* Only core 0 has the port that people type; the map tells the others. */
		char *colon = strrchr(addr, ':');

		if (colon && strncmp(addr, "shm:", 4) != 0)
			snprintf(colon, sizeof(addr) - (size_t)(colon - addr), ":0");
		else
			snprintf(addr, sizeof(addr), "%s-%u", n->opts.listen, c->id);
	}
	return cfs_net_open(&no, &c->listener.net, c->error, sizeof(c->error));
}

static CFS_AWAITS int core_connect(void *arg)
{
	struct node_core *c = arg;
	struct cfs_node *n = c->node;
	int rc = 0;

	c->peers = calloc(n->cores, sizeof(struct cfs_net_peer *));
	if (!c->peers)
		return -ENOMEM;
	for (uint32_t k = 0; k < n->cores && rc == 0; k++)
		rc = cfs_net_peer_open(c->local.net, cfs_net_addr(n->core[k].local.net),
				       &c->peers[k]);
	return rc;
}

/* Makes the core's shards, empty, and fills them from the stores. */
static CFS_AWAITS int core_load(void *arg)
{
	struct node_core *c = arg;
	struct cfs_node *n = c->node;
	int rc;

	cfs_node_env_init(c);
	c->session = cfs_rand_u64() | 1;
	c->scratch = malloc(CFS_RECORD_BYTES_MAX);
	if (!c->scratch)
		return -ENOMEM;
	for (uint32_t i = 0; i < n->shards; i++) {
		if (node_core_of(n, i) != c->id)
			continue;
		rc = cfs_shard_create(i, c->stores[node_store_of(n, i) / n->cores], &c->env,
				      c->scratch, &cfs_meta_part_ops, &cfs_data_part_ops,
				      &c->shards[i]);
		if (rc < 0)
			return rc;
		c->shards[i]->epoch = n->epoch;
	}
	return cfs_node_load(c);
}

static CFS_AWAITS int checkpoint_shard(void *ctx, uint32_t shard)
{
	struct node_core *c = ctx;

	return c->shards[shard] ? cfs_shard_checkpoint(c->shards[shard]) : -EINVAL;
}

static bool owns_extent(void *ctx, const struct cfs_extent_owner *owner, cfs_addr_t addr,
			uint32_t blocks)
{
	const struct node_core *c = ctx;

	return cfs_data_owns(c->shards[owner->shard], owner, addr, blocks);
}

static CFS_AWAITS int relocate_extent(void *ctx, const struct cfs_extent_owner *owner,
				      cfs_addr_t addr, uint32_t blocks)
{
	struct node_core *c = ctx;

	if (owner->shard >= c->node->shards || !c->shards[owner->shard])
		return -EINVAL;
	return cfs_data_relocate(c->shards[owner->shard], owner, addr, blocks);
}

static CFS_AWAITS int core_start_stores(void *arg)
{
	struct node_core *c = arg;
	int rc;

	for (uint32_t t = 0; t < c->store_count; t++) {
		cfs_store_callbacks(c->stores[t], checkpoint_shard, relocate_extent, c);
		cfs_store_owns_callback(c->stores[t], owns_extent);
		rc = cfs_store_start(c->stores[t]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What recovery found is durable before anybody builds on it. */
static CFS_AWAITS int core_sync(void *arg)
{
	struct node_core *c = arg;
	int rc = 0;

	for (uint32_t t = 0; t < c->store_count && rc == 0; t++)
		rc = cfs_store_sync(c->stores[t]);
	return rc;
}

/* Those that do not come back end like those that fell silent. */
static int core_find_sessions(void *arg)
{
	struct node_core *c = arg;

	for (uint32_t i = 0; i < c->node->shards; i++) {
		if (!c->shards[i])
			continue;
		cfs_meta_sessions(cfs_meta_of(c->shards[i]), cfs_node_session_found, c);
		cfs_shard_sessions(c->shards[i], cfs_node_session_found, c);
	}
	if (c->id == 0)
		for (const struct cfs_session_live *s = c->shards[0]->sessions.live; s; s = s->next)
			cfs_node_session_found(c, s->id);
	return 0;
}

static CFS_AWAITS int core_resume(void *arg)
{
	struct node_core *c = arg;
	int rc;

	for (uint32_t i = 0; i < c->node->shards; i++) {
		struct cfs_shard *sh = c->shards[i];

		for (uint32_t p = 0; sh && p < CFS_SHARD_PARTS; p++) {
			rc = sh->ops[p]->resume ? sh->ops[p]->resume(sh->part[p]) : 0;
			if (rc < 0)
				return rc;
		}
		if (!sh)
			continue;
		sh->is_serving = true;
	}
	return cfs_group_start(&c->fibers, cfs_node_sessions_run, c);
}

static CFS_AWAITS int core_close_net(void *arg)
{
	struct node_core *c = arg;

	cfs_net_close(c->listener.net);
	c->listener.net = NULL;
	return 0;
}

/* Shards ask each other: none goes before all have stopped answering. */
static CFS_AWAITS int core_drain(void *arg)
{
	struct node_core *c = arg;

	cfs_group_cancel(&c->fibers);
	cfs_group_join(&c->fibers);
	cfs_net_drain(c->local.net);
	return 0;
}

static CFS_AWAITS int core_stop_shards(void *arg)
{
	struct node_core *c = arg;

	for (uint32_t i = 0; c->shards && i < c->node->shards; i++) {
		cfs_shard_destroy(c->shards[i]);
		c->shards[i] = NULL;
	}
	return 0;
}

static CFS_AWAITS int core_stop(void *arg)
{
	struct node_core *c = arg;
	int rc = 0;

	for (uint32_t k = 0; c->peers && k < c->node->cores; k++)
		cfs_net_peer_close(c->peers[k]);
	free(c->peers);
	cfs_net_close(c->listener.net);
	cfs_net_close(c->local.net);
	cfs_node_sessions_fini(c);
	for (uint32_t t = 0; t < c->store_count; t++) {
		int one = cfs_store_close(c->stores[t]);

		rc = rc ? rc : one;
	}
	free(c->scratch);
	free(c->deps);
	c->peers = NULL;
	c->local.net = c->listener.net = NULL;
	c->scratch = NULL;
	c->deps = NULL;
	c->store_count = 0;
	return rc;
}

/* --- the node's steps --- */

/* Raises the epoch: from here on an older start of this node has no shard. */
static CFS_AWAITS int take_epoch(struct cfs_node *n, char *err_out, uint32_t err_bytes)
{
	CFS_CLEANUP(cfs_free_p) uint16_t *slice_of = calloc(n->shards, sizeof(*slice_of));
	CFS_CLEANUP(cfs_free_p) uint16_t *slice_out = NULL;
	CFS_CLEANUP(cfs_free_p) char(*addrs)[128] = calloc(n->cores, sizeof(*addrs));
	uint16_t core_of_slice[CFS_NODE_STORES_MAX];
	char why[CFS_MAP_WHY_BYTES] = "";
	struct cfs_map map = { 0 };
	struct cfs_map_start st = { .uuid = n->info.uuid,
				    .hash_key = n->info.hash_key,
				    .shards = n->shards,
				    .slices = (uint16_t)n->stores,
				    .cores = n->cores,
				    .core_of_slice = core_of_slice };
	int rc;

	if (!slice_of || !addrs)
		return -ENOMEM;
	for (uint32_t i = 0; i < n->shards; i++)
		slice_of[i] = (uint16_t)node_store_of(n, i);
	for (uint32_t t = 0; t < n->stores; t++)
		core_of_slice[t] = (uint16_t)(t % n->cores);
	for (uint32_t k = 0; k < n->cores; k++) {
		const struct node_core *c = &n->core[k];

		snprintf(addrs[k], sizeof(addrs[k]), "%s",
			 cfs_net_addr(c->listener.net ? c->listener.net : c->local.net));
		st.min_epoch = CFS_MAX(st.min_epoch, c->epoch_seen);
	}
	st.slice_of = slice_of;
	st.core_addr = (const char(*)[128])addrs;
	rc = cfs_map_start_node(n->ctl, &st, &map, &slice_out, why);
	if (rc < 0) {
		snprintf(err_out, err_bytes, "control plane: %s", why[0] ? why : cfs_err_text(rc));
		return rc;
	}
	n->epoch = map.epoch;
	cfs_map_fini(&map);
	return 0;
}

static int node_alloc(struct cfs_node *n)
{
	n->core = calloc(n->cores, sizeof(*n->core));
	if (!n->core)
		return -ENOMEM;
	/* Tick 0 is stable from the start: what is placed now waits for the first one that ends. */
	n->tick = 1;
	for (uint32_t k = 0; k < n->cores; k++) {
		struct node_core *c = &n->core[k];

		c->node = n;
		c->id = k;
		c->tick_now = n->tick;
		c->shards = calloc(n->shards, sizeof(struct cfs_shard *));
		c->stores = calloc(n->stores, sizeof(struct cfs_store *));
		cfs_list_init(&c->pending);
		for (uint32_t b = 0; b < CFS_NODE_SESSION_BUCKETS; b++)
			cfs_list_init(&c->sessions[b]);
		cfs_group_init(&c->fibers);
		if (!c->shards || !c->stores)
			return -ENOMEM;
	}
	return 0;
}

static CFS_AWAITS int open_device(struct cfs_node *n, char *err_out, uint32_t err_bytes)
{
	const struct cfs_node_opts *o = &n->opts;
	int rc;

	if (o->disks) {
		rc = cfs_sim_disk_open(o->disks[0], &n->device);
		if (rc < 0)
			return rc;
	} else {
		if (o->path_count != 1) {
			snprintf(err_out, err_bytes,
				 "a node has one store; start one node for each of %u",
				 o->path_count);
			return -EINVAL;
		}
		rc = cfs_device_open(o->paths[0], false, &n->device, err_out, err_bytes);
		if (rc < 0)
			return rc;
	}
	n->info = *cfs_device_info(n->device);
	n->shards = n->info.shards;
	n->stores = n->info.stores;
	n->cores = CFS_MIN(cfs_core_count(), n->stores);
	if (n->shards == 0 || n->stores == 0 || n->stores > CFS_NODE_STORES_MAX)
		return -CFS_EBAD_FORMAT;
	return node_alloc(n);
}

/* Clients may have leases whose records went with the tail: nothing changes until they know, which
 * is so once none has been renewed for as long as it counts. Who is in our own process began after
 * us. */
static void leases_doubt(struct cfs_node *n)
{
	n->lost_epoch = n->epoch;
	for (uint32_t k = 0; k < n->cores; k++)
		if (n->core[k].listener.net || n->opts.sim)
			n->core[k].env.quiet_until_ns = cfs_now_ns() + n->session_life_ns * 2 / 3;
}

static CFS_AWAITS int start_steps(struct cfs_node *n, char *err_out, uint32_t err_bytes)
{
	static int (*const until_epoch[])(void *) = { core_scan, core_listen };
	static int (*const until_serving[])(void *) = { core_connect, core_load, core_start_stores,
							core_sync, core_find_sessions };
	bool is_new;
	uint32_t lost = 0;
	int rc = open_device(n, err_out, err_bytes);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(until_epoch); i++) {
		rc = each_core(n, until_epoch[i]);
		if (rc < 0)
			return rc;
	}
	for (uint32_t k = 0; k < n->cores; k++)
		lost += n->core[k].is_tail_lost;
	rc = cfs_node_cut(n);
	if (rc == 0)
		rc = cfs_node_control_open(n, err_out, err_bytes);
	if (rc == 0)
		rc = take_epoch(n, err_out, err_bytes);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(until_serving); i++) {
		rc = each_core(n, until_serving[i]);
		if (rc < 0)
			return rc;
	}
	is_new = n->core[0].shards[0]->index == 0;
	if (is_new) {
		rc = cfs_meta_make_root(n->core[0].shards[0], 0755, 0, 0);
		if (rc < 0)
			return rc;
	} else if (lost) {
		cfs_info("started from what was flushed; the tail in memory is gone", "epoch=%llu",
			 (unsigned long long)n->epoch);
	}
	rc = cfs_node_sessions_share(n);
	if (rc < 0)
		return rc;
	cfs_node_sessions_refuse_over(n);
	if (lost && !is_new && !cfs_node_control_was_stopped(n))
		leases_doubt(n);
	n->started_ns = cfs_now_ns();
	n->is_serving = true;
	rc = each_core(n, core_resume);
	if (rc == 0)
		cfs_node_sessions_release_over(n);
	/* Who was served before was in the process that has ended. */
	if (rc == 0 && !n->opts.listen && !n->opts.sim)
		cfs_node_sessions_end_all(n);
	if (rc == 0)
		rc = cfs_group_start(&n->ticker, cfs_node_ticker_run, n);
	if (rc == 0 && n->is_ctl_ours)
		rc = cfs_group_start(&n->ticker, cfs_node_control_run, n);
	return rc;
}

static void node_free(struct cfs_node *n)
{
	for (uint32_t k = 0; n->core && k < n->cores; k++) {
		free(n->core[k].shards);
		free(n->core[k].stores);
	}
	free(n->core);
	free(n);
}

CFS_AWAITS int cfs_node_stop(struct cfs_node *n)
{
	int rc = 0;

	if (!n)
		return 0;
	n->is_ending = true;
	if (n->core) {
		each_core(n, cfs_node_sessions_wake);
		each_core(n, core_close_net);
		cfs_group_cancel(&n->ticker);
		cfs_group_join(&n->ticker);
		if (n->is_serving)
			rc = cfs_node_sync_all(n);
		n->is_stopping = true;
		each_core(n, core_drain);
		each_core(n, core_stop_shards);
		rc = each_core(n, core_stop) < 0 ? -EIO : rc;
	}
	if (rc == 0 && n->is_serving && n->ctl)
		cfs_node_control_note_stop(n);
	if (n->is_ctl_ours)
		cfs_ctl_close(n->ctl);
	cfs_device_close(n->device);
	node_free(n);
	return rc;
}

CFS_AWAITS int cfs_node_start(const struct cfs_node_opts *opts, struct cfs_node **out,
			      char *err_out, uint32_t err_bytes)
{
	struct cfs_node *n = calloc(1, sizeof(*n));
	int rc;

	if (!n) {
		snprintf(err_out, err_bytes, "%s", cfs_err_text(-ENOMEM));
		return -ENOMEM;
	}
	n->opts = *opts;
	n->session_life_ns = opts->session_life_ns ? opts->session_life_ns
						   : CFS_NODE_SESSION_LIFE_NS;
	snprintf(n->name, sizeof(n->name), "%s", opts->name ? opts->name : "node");
	cfs_group_init(&n->ticker);
	if (err_bytes)
		err_out[0] = 0;
	rc = start_steps(n, err_out, err_bytes);
	if (rc < 0) {
		for (uint32_t k = 0; n->core && k < n->cores; k++) {
			if (err_bytes && !err_out[0] && n->core[k].error[0])
				snprintf(err_out, err_bytes, "%s", n->core[k].error);
		}
		if (err_bytes && !err_out[0])
			snprintf(err_out, err_bytes, "%s", cfs_err_text(rc));
		cfs_node_stop(n);
		return rc;
	}
	*out = n;
	return 0;
}

/* The caller has abandoned the process's fibers; stores keep memory that only they know. */
void cfs_node_abandon(struct cfs_node *n)
{
	for (uint32_t k = 0; k < n->cores; k++) {
		for (uint32_t t = 0; t < n->core[k].store_count; t++)
			cfs_store_abandon(n->core[k].stores[t]);
	}
}

const char *cfs_node_addr(const struct cfs_node *n)
{
	return cfs_net_addr(n->core[0].local.net);
}

const char *cfs_node_listen_addr(const struct cfs_node *n)
{
	return n->core[0].listener.net ? cfs_net_addr(n->core[0].listener.net) : NULL;
}
