/*
 * What shards ask of their node: calls to other shards, hybrid time, syncs over all stores, and the
 * ticks that tell what is stable.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "server/node_internal.h"

#define RETRY_MIN_NS (1000ull * 1000)
#define RETRY_MAX_NS (200ull * 1000 * 1000)
#define TICK_SLICES 20
#define HLC_AHEAD_MAX_NS (1000ull * 1000 * 1000)

/* Oldest internal change that has no answer yet; what is below it may be forgotten by the shards.
 */
static uint64_t floor_of(const struct node_core *c)
{
	if (cfs_list_is_empty(&c->pending))
		return c->seq + 1;
	return cfs_list_first(&c->pending, struct node_pending, link)->seq;
}

static CFS_AWAITS int env_call(void *ctx, uint32_t shard, struct cfs_msg *req,
			       struct cfs_net_reply *out)
{
	struct node_core *c = ctx;
	struct node_pending mine;
	/* One that has a session already is a client's that a shard passes on. */
	bool is_change = cfs_op_is_change(req->op) && req->sess == 0;
	uint64_t wait_ns = RETRY_MIN_NS;
	int rc;

	cfs_assert(shard < c->node->shards);
	req->shard = shard;
	if (is_change) {
		mine.seq = ++c->seq;
		cfs_list_append(&c->pending, &mine.link);
		req->sess = c->session;
		req->seq = mine.seq;
	}
	for (;;) {
		if (is_change)
			req->floor = floor_of(c);
		req->hlc = c->hlc;
		rc = cfs_net_call(c->peers[node_core_of(c->node, shard)], req, out);
		if (rc == 0) {
			int64_t reply_rc = cfs_msg_is_set(&out->msg, rc) ? out->msg.rc : 0;

			if (reply_rc != -CFS_ENOT_HERE)
				break;
			cfs_net_reply_fini(out);
		} else if (rc != -CFS_EDISCONNECTED && rc != -ETIMEDOUT) {
			break;
		}
		if (c->node->is_stopping) {
			rc = -ECANCELED;
			break;
		}
		rc = cfs_sleep_ns(wait_ns);
		if (rc < 0)
			break;
		wait_ns = CFS_MIN(wait_ns * 2, RETRY_MAX_NS);
	}
	if (is_change) {
		cfs_list_remove(&mine.link);
		req->sess = req->seq = req->floor = 0;
	}
	if (rc == 0 && out->msg.hlc > c->hlc && out->msg.hlc < cfs_wall_ns() + HLC_AHEAD_MAX_NS)
		c->hlc = out->msg.hlc;
	return rc;
}

static uint64_t env_hlc_now(void *ctx)
{
	struct node_core *c = ctx;
	uint64_t wall = cfs_wall_ns();

	c->hlc = CFS_MAX(wall, c->hlc + 1);
	return c->hlc;
}

static uint64_t env_tick_now(void *ctx)
{
	return ((struct node_core *)ctx)->tick_now;
}

static uint64_t env_tick_stable(void *ctx)
{
	return ((struct node_core *)ctx)->tick_stable;
}

static CFS_AWAITS int env_sync_all(void *ctx)
{
	return cfs_node_sync_all(((struct node_core *)ctx)->node);
}

static CFS_AWAITS uint64_t env_free_bytes(void *ctx)
{
	return cfs_node_free_bytes(((struct node_core *)ctx)->node);
}

void cfs_node_env_init(struct node_core *c)
{
	c->env = (struct cfs_shard_env){ .ctx = c,
					 .shards = c->node->shards,
					 .patch_max_bytes = c->node->opts.patch_bytes_max,
					 .net = c->local.net,
					 .call = env_call,
					 .sync_all = env_sync_all,
					 .free_bytes = env_free_bytes,
					 .recall = cfs_node_recall,
					 .knows = cfs_node_knows,
					 .hlc_now = env_hlc_now,
					 .tick_now = env_tick_now,
					 .tick_stable = env_tick_stable };
	for (uint32_t i = 0; i < sizeof(c->env.place_key.bytes); i++)
		c->env.place_key.bytes[i] = c->node->info.hash_key[i];
}

/* --- sync --- */

/* Syncs of one core's stores, or of one of them, side by side. */
struct sync_job {
	struct node_core *core;
	struct cfs_store *store;
	int rc;
};

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void sync_store(void *arg)
{
	struct sync_job *j = arg;

	j->rc = cfs_store_sync(j->store);
}

static CFS_AWAITS int sync_core(void *arg)
{
	struct node_core *c = arg;
	struct sync_job jobs[CFS_NODE_STORES_MAX / 16];
	struct cfs_group g;
	uint32_t count = 0;
	int rc = 0;

	cfs_group_init(&g);
	for (uint32_t t = 0; t < c->store_count; t++) {
		if (!cfs_store_is_dirty(c->stores[t]))
			continue;
		if (count + 1 == CFS_ARRAY_COUNT(jobs)) {
			int one = cfs_store_sync(c->stores[t]);

			rc = rc ? rc : one;
			continue;
		}
		jobs[count] = (struct sync_job){ .core = c, .store = c->stores[t] };
		if (cfs_group_start(&g, sync_store, &jobs[count]) < 0)
			sync_store(&jobs[count]);
		count++;
	}
	if (count)
		cfs_group_join(&g);
	for (uint32_t i = 0; i < count; i++)
		rc = rc ? rc : jobs[i].rc;
	return rc;
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void sync_remote(void *arg)
{
	struct sync_job *j = arg;

	j->rc = cfs_core_call(j->core->id, sync_core, j->core);
}

CFS_AWAITS int cfs_node_sync_all(struct cfs_node *n)
{
	struct sync_job jobs[CFS_CORES_MAX];
	struct cfs_group g;
	uint32_t me = cfs_core_id();
	int rc = 0;

	cfs_group_init(&g);
	for (uint32_t k = 0; k < n->cores; k++) {
		jobs[k] = (struct sync_job){ .core = &n->core[k] };
		if (k == me)
			continue;
		if (cfs_group_start(&g, sync_remote, &jobs[k]) < 0)
			sync_remote(&jobs[k]);
	}
	if (me < n->cores)
		jobs[me].rc = sync_core(&n->core[me]);
	if (n->cores > 1)
		cfs_group_join(&g);
	for (uint32_t k = 0; k < n->cores; k++)
		rc = rc ? rc : jobs[k].rc;
	n->syncs++;
	return rc;
}

/* --- ticks --- */

static int tick_begin(void *arg)
{
	struct node_core *c = arg;
	int is_dirty = 0;

	for (uint32_t t = 0; t < c->store_count; t++) {
		is_dirty |= cfs_store_is_dirty(c->stores[t]);
		cfs_store_tick_begin(c->stores[t], c->node->tick);
	}
	c->tick_now = c->node->tick;
	return is_dirty;
}

static int tick_stable(void *arg)
{
	struct node_core *c = arg;

	c->tick_stable = c->node->tick - 1;
	for (uint32_t t = 0; t < c->store_count; t++)
		cfs_store_tick_stable(c->stores[t], c->tick_stable);
	return 0;
}

static int tick_wanted(void *arg)
{
	struct node_core *c = arg;

	for (uint32_t t = 0; t < c->store_count; t++) {
		if (cfs_store_tick_wanted(c->stores[t]))
			return 1;
	}
	return 0;
}

/* The interval, or less where a store is short of space that waits for a tick. */
static CFS_AWAITS int wait_for_tick(struct cfs_node *n, uint64_t interval_ns)
{
	uint32_t slices = n->is_busy ? TICK_SLICES : 1; /* idle: one wake-up an interval */

	for (uint32_t slice = 0; slice < slices; slice++) {
		int rc = cfs_sleep_ns(interval_ns / slices);

		if (rc < 0)
			return rc;
		for (uint32_t k = 0; n->is_busy && k < n->cores; k++) {
			if (cfs_core_call(k, tick_wanted, &n->core[k]) > 0)
				return 0;
		}
	}
	return 0;
}

/*
 * Every flush interval: a new tick begins on all stores, everything placed before is flushed, and
 * then all up to the tick before is stable: whatever a record of it rests on was placed earlier, so
 * it was flushed as well.
 */
CFS_AWAITS void cfs_node_ticker_run(void *arg)
{
	struct cfs_node *n = arg;
	uint64_t interval_ns = n->opts.flush_interval_ns ? n->opts.flush_interval_ns
							 : 1000ull * 1000 * 1000;
	bool was_dirty = true, is_failed = false;

	while (wait_for_tick(n, interval_ns) == 0) {
		bool is_dirty = false;
		int rc = 0;

		n->tick++;
		for (uint32_t k = 0; k < n->cores; k++)
			is_dirty |= cfs_core_call(k, tick_begin, &n->core[k]) > 0;
		if (is_dirty)
			rc = cfs_node_sync_all(n);
		if (rc < 0 && !is_failed)
			cfs_err("stores cannot be flushed; nothing more is made stable", "rc=%s",
				cfs_err_name(rc));
		is_failed = rc < 0;
		if (rc < 0)
			continue;
		if (is_dirty || was_dirty) {
			for (uint32_t k = 0; k < n->cores; k++)
				cfs_core_call(k, tick_stable, &n->core[k]);
		}
		was_dirty = is_dirty;
		n->is_busy = is_dirty;
	}
}
