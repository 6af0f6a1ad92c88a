#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "data/data.h"
#include "lib/test_fiber.h"
#include "meta/meta_internal.h"

#define DISK_BYTES (256ull * 1024 * 1024)
#define TICK_NS (1000ull * 1000 * 1000)
#define RETRY_NS (1000ull * 1000)

/* One request on its way: the node's side works on copies, so that either side may vanish. */
struct harness_delivery {
	struct cfs_list link; /* of clients' */
	struct harness *h;
	uint32_t shard, refs;
	uint64_t call;
	uint8_t *req;
	uint32_t req_bytes;
	uint8_t *reply;
	uint32_t reply_bytes;
	bool is_late; /* a repeat that nobody waits for */
	struct cfs_done done;
};

static bool dice(uint32_t ppm)
{
	return ppm && cfs_rand_u64() % 1000000 < ppm;
}

/* --- the node's environment --- */

static uint64_t env_hlc(void *ctx)
{
	struct harness *h = ctx;
	uint64_t wall = cfs_wall_ns();

	h->hlc = CFS_MAX(wall, h->hlc + 1);
	return h->hlc;
}

static uint64_t env_tick_now(void *ctx)
{
	return ((struct harness *)ctx)->tick_now;
}

static uint64_t env_tick_stable(void *ctx)
{
	return ((struct harness *)ctx)->tick_stable;
}

static CFS_AWAITS int env_sync_all(void *ctx)
{
	struct harness *h = ctx;
	int rc = 0;

	for (uint32_t s = 0; rc == 0 && s < h->o.stores; s++)
		rc = cfs_store_sync(h->stores[s]);
	return rc;
}

/* --- messages --- */

/* Every message passes here: the place where the world may stop. */
static CFS_AWAITS void at_message(struct harness *h)
{
	h->messages++;
	if (h->crash_at && h->messages >= h->crash_at) {
		h->is_crashing = true;
		cfs_waitq_wake_all(&h->crash);
		cfs_waitq_wait_always(&h->stopped); /* for ever: the kill forgets us */
	}
	if (dice(h->o.sync_ppm))
		cfs_store_sync(h->stores[cfs_rand_u64() % h->o.stores]);
	if (h->o.delay_max_ns)
		cfs_sleep_ns(cfs_rand_u64() % h->o.delay_max_ns);
}

static void delivery_put(struct harness_delivery *d)
{
	if (--d->refs)
		return;
	free(d->req);
	free(d->reply);
	free(d);
}

static CFS_AWAITS void serve_run(void *arg)
{
	struct harness_delivery *d = arg;
	struct harness *h = d->h;
	struct cfs_shard_request rq = { 0 };
	struct cfs_msg msg;
	int64_t n;
	int rc;

	at_message(h);
	rc = cfs_msg_decode(d->req, d->req_bytes, &msg);
	cfs_assert(rc == 0);
	rq.msg = &msg;
	cfs_shard_serve_local(h->shards[d->shard], &rq);
	n = cfs_msg_size(&rq.reply);
	if (n < 0)
		fprintf(stderr, "reply of %s does not encode: %s\n", cfs_op_name(msg.op),
			cfs_err_name((int)n));
	cfs_assert(n > 0);
	if (!d->reply) {
		d->reply = malloc((size_t)n);
		cfs_assert(d->reply != NULL);
		n = cfs_msg_encode(&rq.reply, d->reply, (uint32_t)n);
		cfs_assert(n > 0);
		d->reply_bytes = (uint32_t)n;
	}
	cfs_buf_put(rq.reply_buf);
	at_message(h);
	if (!d->is_late)
		cfs_done_complete(&d->done, 0);
	delivery_put(d);
}

static struct harness_delivery *delivery_create(struct harness *h, uint32_t shard,
						const struct cfs_msg *req)
{
	struct harness_delivery *d = calloc(1, sizeof(*d));
	int64_t n = cfs_msg_size(req);

	cfs_assert(d != NULL);
	if (n < 0)
		fprintf(stderr, "request %s does not encode: %s\n", cfs_op_name(req->op),
			cfs_err_name((int)n));
	cfs_assert(n > 0);
	d->h = h;
	d->shard = shard;
	d->refs = 1;
	d->req = malloc((size_t)n);
	cfs_assert(d->req != NULL);
	n = cfs_msg_encode(req, d->req, (uint32_t)n);
	cfs_assert(n > 0);
	d->req_bytes = (uint32_t)n;
	cfs_done_init(&d->done);
	cfs_list_init(&d->link);
	return d;
}

/* A call that has no answer yet. */
struct pending_call {
	struct cfs_list link; /* of its session, by sequence */
	struct cfs_list all;
	uint64_t seq, id;
};

static void call_begin(struct harness *h, struct pending_call *c, bool is_client)
{
	c->id = ++h->calls_made;
	cfs_list_init(&c->link);
	cfs_list_append(is_client ? &h->client_calls : &h->node_calls, &c->all);
}

static void call_end(struct pending_call *c)
{
	cfs_list_remove(&c->link);
	cfs_list_remove(&c->all);
}

static bool is_in(const struct cfs_list *calls, uint64_t id)
{
	cfs_list_for_each(l, calls) {
		if (cfs_list_entry(l, struct pending_call, all)->id == id)
			return true;
	}
	return false;
}

static bool is_pending(const struct harness *h, uint64_t id)
{
	return is_in(&h->client_calls, id) || is_in(&h->node_calls, id);
}

/*
 * A copy of the request that comes when it likes; one of a change only as long as its sender has no
 * answer: what is left of a connection that was lost is gone before its successor is used.
 */
static CFS_AWAITS void repeat_run(void *arg)
{
	struct harness_delivery *d = arg;
	struct harness *h = d->h;
	struct cfs_msg msg;
	int rc;

	cfs_sleep_ns(cfs_rand_u64() % (h->o.delay_max_ns * 20 + 1));
	rc = cfs_msg_decode(d->req, d->req_bytes, &msg);
	cfs_assert(rc == 0);
	if (cfs_op_is_change(msg.op) && !is_pending(h, d->call))
		delivery_put(d);
	else
		serve_run(d);
}

static void repeat(struct harness *h, uint32_t shard, const struct cfs_msg *req, uint64_t call)
{
	struct harness_delivery *d = delivery_create(h, shard, req);

	d->is_late = true;
	d->call = call;
	if (cfs_group_start(&h->fibers, repeat_run, d) < 0)
		delivery_put(d);
}

/* The bytes stay for as long as many more replies have not come: long enough for who took it. */
static void reply_take(struct harness_delivery *d, struct cfs_net_reply *out)
{
	struct harness *h = d->h;
	uint8_t **slot = &h->replies[h->reply_count++ % HARNESS_REPLIES_KEPT];
	int rc;

	free(*slot);
	*slot = d->reply;
	d->reply = NULL;
	out->buf = NULL;
	rc = cfs_msg_decode(*slot, d->reply_bytes, &out->msg);
	cfs_assert(rc == 0);
}

/* Delivers once. -CFS_EDISCONNECTED: no reply. Starts the fiber in the node's domain. */
static CFS_AWAITS int deliver(struct harness *h, uint32_t shard, const struct cfs_msg *req,
			      uint64_t call, bool is_client, struct cfs_net_reply *out)
{
	struct harness_delivery *d = delivery_create(h, shard, req);
	uint32_t domain = cfs_domain_set(h->domain);
	int rc;

	d->refs++;
	rc = cfs_group_start(&h->fibers, serve_run, d);
	if (rc == 0 && dice(h->o.dup_ppm))
		repeat(h, shard, req, call);
	cfs_domain_set(domain);
	if (rc < 0) {
		d->refs--;
		delivery_put(d);
		return -CFS_EDISCONNECTED;
	}
	if (is_client)
		cfs_list_append(&h->deliveries, &d->link);
	rc = cfs_done_wait_always(&d->done);
	cfs_list_remove(&d->link);
	if (rc == 0 && dice(h->o.loss_ppm))
		rc = -CFS_EDISCONNECTED;
	if (rc == 0)
		reply_take(d, out);
	delivery_put(d);
	return rc;
}

/* --- calls between shards --- */

static CFS_AWAITS int env_call(void *ctx, uint32_t shard, struct cfs_msg *req,
			       struct cfs_net_reply *out)
{
	struct harness *h = ctx;
	struct pending_call mine = { 0 };
	bool is_mine = cfs_op_is_change(req->op) && req->sess == 0;
	int rc;

	cfs_assert(shard < h->o.shards);
	req->shard = shard;
	call_begin(h, &mine, false);
	if (is_mine) {
		mine.seq = ++h->node_seq;
		cfs_list_append(&h->pending_seqs, &mine.link);
		req->sess = h->node_session;
		req->seq = mine.seq;
	}
	do {
		if (is_mine)
			req->floor =
				cfs_list_first(&h->pending_seqs, struct pending_call, link)->seq;
		rc = deliver(h, shard, req, mine.id, false, out);
		if (rc == -CFS_EDISCONNECTED && cfs_sleep_ns(RETRY_NS) < 0)
			rc = -ECANCELED;
	} while (rc == -CFS_EDISCONNECTED);
	call_end(&mine);
	return rc;
}

static CFS_AWAITS void ticker_run(void *arg)
{
	struct harness *h = arg;

	while (cfs_sleep_ns(TICK_NS) == 0) {
		uint64_t tick = h->tick_now + 1;

		for (uint32_t s = 0; s < h->o.stores; s++)
			cfs_store_tick_begin(h->stores[s], tick);
		h->tick_now = tick;
		if (env_sync_all(h) < 0)
			continue;
		h->tick_stable = tick - 1;
		for (uint32_t s = 0; s < h->o.stores; s++)
			cfs_store_tick_stable(h->stores[s], h->tick_stable);
	}
}

/* --- recovery, as a node's --- */

struct dep {
	uint32_t shard, on_shard;
	uint64_t index, on_index;
};

struct recovery {
	struct harness *h;
	struct dep *deps;
	uint32_t dep_count, dep_cap;
	uint64_t epoch_seen;
};

static const struct cfs_shard_part_ops *const parts[CFS_SHARD_PARTS] = { &cfs_meta_part_ops,
									 &cfs_data_part_ops };

static int rec_refs(__attribute__((unused)) void *ctx, const struct cfs_record *r,
		    struct cfs_block_ref *out, uint32_t max)
{
	return cfs_shard_refs(parts, r, out, max);
}

static int rec_dep(void *ctx, const struct cfs_record *r)
{
	struct recovery *v = ctx;

	for (uint32_t i = 0; i < r->dep_count; i++) {
		if (v->dep_count == v->dep_cap) {
			v->dep_cap = v->dep_cap ? v->dep_cap * 2 : 64;
			v->deps = realloc(v->deps, v->dep_cap * sizeof(*v->deps));
			cfs_assert(v->deps != NULL);
		}
		v->deps[v->dep_count++] = (struct dep){ r->shard, r->deps[i].shard, r->index,
							r->deps[i].index };
	}
	return 0;
}

static int rec_checkpoint(void *ctx, uint32_t shard, const uint8_t *data, uint32_t len)
{
	int rc = cfs_shard_load_checkpoint(((struct recovery *)ctx)->h->shards[shard], data, len);

	if (rc < 0)
		fprintf(stderr, "checkpoint of shard %u: %s\n", shard, cfs_err_name(rc));
	return rc;
}

static int rec_record(void *ctx, const struct cfs_record *r)
{
	int rc = cfs_shard_load_record(((struct recovery *)ctx)->h->shards[r->shard], r);

	if (rc < 0)
		fprintf(stderr, "record %llu of shard %u: %s\n", (unsigned long long)r->index,
			r->shard, cfs_err_name(rc));
	return rc;
}

static void cut(struct recovery *v)
{
	uint64_t end[HARNESS_SHARDS_MAX] = { 0 }, was[HARNESS_SHARDS_MAX] = { 0 };
	struct harness *h = v->h;
	struct cfs_store_recovery_shard rs;
	bool changed = true;

	for (uint32_t s = 0; s < h->o.stores; s++) {
		for (uint32_t i = 0; i < cfs_store_recover_shard_count(h->stores[s]); i++) {
			cfs_store_recover_shard(h->stores[s], i, &rs);
			v->epoch_seen = CFS_MAX(v->epoch_seen, rs.last_epoch);
			end[rs.shard] = was[rs.shard] = rs.last_index;
		}
	}
	while (changed) {
		changed = false;
		for (uint32_t i = 0; i < v->dep_count; i++) {
			const struct dep *d = &v->deps[i];

			if (d->index <= end[d->shard] && d->on_index > end[d->on_shard]) {
				end[d->shard] = d->index - 1;
				changed = true;
			}
		}
	}
	cfs_assert(h->o.stores > 0);
	for (uint32_t k = 0; k < h->o.shards; k++) {
		if (end[k] < was[k])
			cfs_store_recover_cut(h->stores[k % h->o.stores], k, end[k]);
	}
}

static CFS_AWAITS int checkpoint_cb(void *ctx, uint32_t shard)
{
	return cfs_shard_checkpoint(((struct harness *)ctx)->shards[shard]);
}

static CFS_AWAITS int relocate_cb(void *ctx, const struct cfs_extent_owner *owner, cfs_addr_t addr,
				  uint32_t blocks)
{
	struct harness *h = ctx;

	return cfs_data_relocate(h->shards[owner->shard], owner, addr, blocks);
}

static bool owns_cb(void *ctx, const struct cfs_extent_owner *owner, cfs_addr_t addr,
		    uint32_t blocks)
{
	const struct harness *h = ctx;

	return cfs_data_owns(h->shards[owner->shard], owner, addr, blocks);
}

static void env_init(struct harness *h)
{
	h->env = (struct cfs_shard_env){ .ctx = h,
					 .shards = h->o.shards,
					 .call = env_call,
					 .sync_all = env_sync_all,
					 .hlc_now = env_hlc,
					 .tick_now = env_tick_now,
					 .tick_stable = env_tick_stable };
	memcpy(h->env.place_key.bytes, "0123456789abcdef", 16);
}

static CFS_AWAITS void start_in_domain(struct harness *h)
{
	struct recovery v = { .h = h };
	struct cfs_store_recovery_ops ops = { .ctx = &v,
					      .refs = rec_refs,
					      .dep = rec_dep,
					      .checkpoint = rec_checkpoint,
					      .record = rec_record };
	struct cfs_store_opts so = { .tail_bytes = 4ull * 1024 * 1024 };
	int rc = cfs_sim_disk_open(h->disk, &h->dev);

	cfs_assert(rc == 0);
	cfs_group_init(&h->fibers);
	cfs_list_init(&h->pending_seqs);
	cfs_list_init(&h->node_calls);
	h->node_session = cfs_rand_u64() | 1;
	h->node_seq = 0;
	h->tick_now = 1; /* nothing is stable yet */
	h->tick_stable = 0;
	h->scratch = malloc(CFS_RECORD_BYTES_MAX);
	env_init(h);
	cfs_assert(h->o.stores > 0);
	for (uint32_t s = 0; s < h->o.stores; s++) {
		rc = cfs_store_open(h->dev, s, &so, &h->stores[s]);
		cfs_assert(rc == 0);
	}
	for (uint32_t k = 0; k < h->o.shards; k++) {
		rc = cfs_shard_create(k, h->stores[k % h->o.stores], &h->env, h->scratch,
				      &cfs_meta_part_ops, &cfs_data_part_ops, &h->shards[k]);
		cfs_assert(rc == 0);
		cfs_meta_of(h->shards[k])->tables.cookie_modulo = h->o.cookie_modulo;
	}
	for (uint32_t s = 0; s < h->o.stores; s++) {
		rc = cfs_store_recover_scan(h->stores[s], &ops);
		cfs_assert(rc == 0);
	}
	cut(&v);
	h->epoch = CFS_MAX(h->epoch, v.epoch_seen) + 1;
	for (uint32_t s = 0; s < h->o.stores; s++) {
		rc = cfs_store_recover_load(h->stores[s], &ops, h->epoch);
		cfs_assert(rc == 0);
		cfs_store_callbacks(h->stores[s], checkpoint_cb, relocate_cb, h);
		cfs_store_owns_callback(h->stores[s], owns_cb);
		rc = cfs_store_start(h->stores[s]);
		cfs_assert(rc == 0);
	}
	free(v.deps);
	/* The cuts are on the disk before anybody serves. */
	env_sync_all(h);
	for (uint32_t k = 0; k < h->o.shards; k++)
		h->shards[k]->epoch = h->epoch;
	rc = cfs_meta_make_root(h->shards[0], 0755, 0, 0);
	cfs_assert(rc == 0);
	for (uint32_t k = 0; k < h->o.shards; k++)
		h->shards[k]->is_serving = true;
	for (uint32_t k = 0; k < h->o.shards; k++) {
		rc = cfs_shard_resume(h->shards[k]);
		cfs_assert(rc == 0);
	}
	rc = cfs_group_start(&h->fibers, ticker_run, h);
	cfs_assert(rc == 0);
}

CFS_AWAITS void harness_start(struct harness *h)
{
	uint32_t domain = cfs_domain_set(++h->domain);

	start_in_domain(h);
	cfs_domain_set(domain);
	h->is_up = true;
	cfs_waitq_wake_all(&h->up);
}

CFS_AWAITS void harness_init(struct harness *h, const struct harness_opts *o)
{
	struct cfs_sim_disk_opts d = { .size_bytes = o->disk_bytes ? o->disk_bytes : DISK_BYTES,
				       .latency_min_ns = 10000,
				       .latency_max_ns = 200000 };
	uint8_t uuid[16] = { 1 }, key[16] = "0123456789abcde";
	int rc;

	memset(h, 0, sizeof(*h));
	h->o = *o;
	cfs_list_init(&h->deliveries);
	cfs_list_init(&h->client_seqs);
	cfs_list_init(&h->client_calls);
	cfs_waitq_init(&h->crash);
	cfs_waitq_init(&h->stopped);
	cfs_waitq_init(&h->up);
	h->session = cfs_rand_u64() | 1;
	rc = cfs_sim_disk_create(&d, &h->disk);
	cfs_assert(rc == 0);
	rc = cfs_sim_disk_mkfs(h->disk, o->stores, o->shards, uuid, key);
	cfs_assert(rc == 0);
	harness_start(h);
}

CFS_AWAITS void harness_stop(struct harness *h)
{
	uint32_t domain = cfs_domain_set(h->domain);

	h->is_up = false;
	cfs_group_cancel(&h->fibers);
	cfs_group_join(&h->fibers);
	for (uint32_t k = 0; k < h->o.shards; k++)
		cfs_group_cancel(&h->shards[k]->fibers);
	for (uint32_t k = 0; k < h->o.shards; k++)
		cfs_shard_destroy(h->shards[k]);
	for (uint32_t s = 0; s < h->o.stores; s++)
		cfs_store_close(h->stores[s]);
	cfs_device_close(h->dev);
	free(h->scratch);
	cfs_domain_set(domain);
}

CFS_AWAITS void harness_fini(struct harness *h)
{
	if (h->is_up)
		harness_stop(h);
	cfs_sim_disk_destroy(h->disk);
	for (uint32_t i = 0; i < HARNESS_REPLIES_KEPT; i++)
		free(h->replies[i]);
}

CFS_AWAITS struct harness *harness_new(const struct harness_opts *o)
{
	struct harness *h = malloc(sizeof(*h));

	assert_non_null(h);
	harness_init(h, o);
	return h;
}

CFS_AWAITS void harness_finish(struct harness *h)
{
	harness_quiesce(h);
	assert_int_equal(harness_check(h), 0);
	/* What is there survives a start. */
	harness_stop(h);
	harness_start(h);
	harness_quiesce(h);
	assert_int_equal(harness_check(h), 0);
	harness_fini(h);
	free(h);
}

CFS_AWAITS void harness_kill(struct harness *h, bool is_power_cut)
{
	cfs_test_lose_memory();
	h->is_up = false;
	h->is_crashing = false;
	h->crash_at = 0;
	cfs_domain_abandon(h->domain);
	for (uint32_t s = 0; s < h->o.stores; s++)
		cfs_store_abandon(h->stores[s]);
	if (is_power_cut)
		cfs_sim_disk_power_cut(h->disk);
	else
		cfs_sim_disk_kill(h->disk);
	cfs_device_close(h->dev);
	/* The shards' memory is lost, as a process's would be; their deliveries are refused. */
	while (!cfs_list_is_empty(&h->deliveries)) {
		struct harness_delivery *d = cfs_list_first(&h->deliveries, struct harness_delivery,
							    link);

		cfs_list_remove(&d->link);
		cfs_done_complete(&d->done, -CFS_EDISCONNECTED);
	}
	cfs_fiber_yield();
}

CFS_AWAITS void harness_wait_crash(struct harness *h)
{
	while (!h->is_crashing)
		cfs_waitq_wait_always(&h->crash);
}

CFS_AWAITS void harness_checkpoint(struct harness *h)
{
	uint32_t domain = cfs_domain_set(h->domain);

	for (uint32_t k = 0; k < h->o.shards; k++) {
		int rc = cfs_shard_checkpoint(h->shards[k]);

		cfs_assert(rc == 0 || rc == -EBUSY); /* the one before does not count yet */
	}
	cfs_domain_set(domain);
}

CFS_AWAITS void harness_sync(struct harness *h)
{
	env_sync_all(h);
}

CFS_AWAITS void harness_quiesce(struct harness *h)
{
	for (uint32_t round = 0; round < 200; round++) {
		struct cfs_meta_stats s;
		uint64_t left = 0;

		for (uint32_t k = 0; k < h->o.shards; k++) {
			cfs_meta_stats(cfs_meta_of(h->shards[k]), &s);
			left += s.tx_prepared_now + s.tx_decisions_now;
		}
		if (left == 0)
			return;
		cfs_sleep_ns(TICK_NS / 4);
	}
	fprintf(stderr, "transactions are left over\n");
}

/* --- the client --- */

static uint32_t shard_of(const struct cfs_msg *req)
{
	return cfs_msg_is_set(req, ino) ? cfs_ino_home(req->ino) : 0;
}

CFS_AWAITS int harness_call(struct harness *h, struct cfs_msg *req, struct cfs_net_reply *out)
{
	bool is_change = cfs_op_is_change(req->op);
	struct pending_call mine = { 0 };
	int rc;

	memset(out, 0, sizeof(*out));
	req->kind = CFS_MSG_REQUEST;
	req->shard = shard_of(req);
	if (req->shard >= h->o.shards)
		return -ESTALE;
	if (cfs_msg_size(req) < 0)
		return (int)cfs_msg_size(req);
	call_begin(h, &mine, true);
	if (req->sess == 0)
		req->sess = h->session;
	if (is_change) {
		mine.seq = ++h->seq;
		cfs_list_append(&h->client_seqs, &mine.link);
		req->seq = mine.seq;
	}
	for (;;) {
		if (is_change)
			req->floor =
				cfs_list_first(&h->client_seqs, struct pending_call, link)->seq;
		while (!h->is_up)
			cfs_waitq_wait_always(&h->up);
		rc = deliver(h, req->shard, req, mine.id, true, out);
		if (rc != -CFS_EDISCONNECTED)
			break;
		cfs_sleep_ns(RETRY_NS);
	}
	cfs_assert(rc == 0);
	call_end(&mine);
	return cfs_msg_is_set(&out->msg, rc) ? (int)out->msg.rc : 0;
}
