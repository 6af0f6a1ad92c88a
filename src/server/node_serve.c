/*
 * Calls that come in: node operations are answered here, the rest goes to the shard if it lives on
 * this core.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "server/node_internal.h"

#define HLC_AHEAD_MAX_NS (1000ull * 1000 * 1000)

/* --- HELLO, MAP --- */

static const char *core_addr(const struct node_core *c, bool is_listener)
{
	return cfs_net_addr(is_listener ? c->listener.net : c->local.net);
}

static CFS_AWAITS int reply_map(struct node_endpoint *ep, struct cfs_msg *reply,
				struct cfs_buf **buf)
{
	struct cfs_node *n = ep->core->node;
	struct cfs_map m = { .epoch = n->epoch, .shards = n->shards, .cores = n->cores };
	int64_t len = -ENOMEM;
	int rc;

	memcpy(m.uuid, n->info.uuid, sizeof(m.uuid));
	memcpy(m.hash_key, n->info.hash_key, sizeof(m.hash_key));
	m.core_of = calloc(n->shards, sizeof(*m.core_of));
	m.epoch_of = calloc(n->shards, sizeof(*m.epoch_of));
	m.core_addr = calloc(n->cores, sizeof(*m.core_addr));
	if (m.core_of && m.epoch_of && m.core_addr) {
		for (uint32_t i = 0; i < n->shards; i++) {
			m.core_of[i] = (uint16_t)node_core_of(n, i);
			m.epoch_of[i] = n->epoch;
		}
		for (uint32_t k = 0; k < n->cores; k++)
			strncpy(m.core_addr[k], core_addr(&n->core[k], ep->is_listener),
				sizeof(m.core_addr[k]) - 1);
		rc = cfs_buf_get(CFS_INLINE_BYTES_MAX, buf);
		len = rc < 0 ? rc : cfs_map_encode(&m, (*buf)->data, CFS_INLINE_BYTES_MAX - 1);
	}
	cfs_map_fini(&m);
	if (len < 0)
		return (int)len;
	cfs_msg_set_bytes(reply, data, (*buf)->data, (uint32_t)len);
	return 0;
}

/* --- STATFS --- */

struct statfs_job {
	struct node_core *core;
	struct cfs_statfs sum;
};

static int statfs_core(void *arg)
{
	struct statfs_job *j = arg;
	struct cfs_store_stats st;

	for (uint32_t t = 0; t < j->core->store_count; t++) {
		cfs_store_stats(j->core->stores[t], &st);
		j->sum.total_bytes += st.capacity_bytes;
		j->sum.free_bytes += st.capacity_bytes - CFS_MIN(st.live_bytes, st.capacity_bytes);
	}
	return 0;
}

static CFS_AWAITS void statfs_sum(struct cfs_node *n, struct cfs_statfs *out)
{
	struct statfs_job j = { 0 };

	for (uint32_t k = 0; k < n->cores; k++) {
		j.core = &n->core[k];
		cfs_core_call(k, statfs_core, &j);
	}
	*out = j.sum;
	out->avail_bytes = out->free_bytes;
	/* Inodes take log space, not a table's slots: as many as fit the free space at 1 KiB each.
	 */
	out->files_free = out->free_bytes / 1024;
	out->files = out->total_bytes / 1024;
}

CFS_AWAITS uint64_t cfs_node_free_bytes(struct cfs_node *n)
{
	struct cfs_statfs s;

	statfs_sum(n, &s);
	return s.avail_bytes;
}

/* --- STATUS --- */

struct stats_job {
	struct node_core *core;
	json_t *json;
};

static json_t *store_json(const struct cfs_store *s, bool with_counters)
{
	struct cfs_store_stats st;
	json_t *j = json_object();

	cfs_store_stats(s, &st);
#define PUT(name) json_object_set_new(j, #name, json_integer((json_int_t)st.name))
	PUT(capacity_bytes);
	PUT(live_bytes);
	PUT(free_zones);
	PUT(zones);
	PUT(tail_used_bytes);
	PUT(tail_bytes);
	if (with_counters) {
		PUT(records);
		PUT(record_bytes);
		PUT(flushes);
		PUT(syncs);
		PUT(journal_writes);
		PUT(journal_bytes);
		PUT(data_writes);
		PUT(data_bytes);
		PUT(reads);
		PUT(read_bytes);
		PUT(cache_hits);
		PUT(checkpoints);
		PUT(checkpoint_bytes);
		PUT(segments_cleaned);
		PUT(relocated_bytes);
		PUT(bad_blocks);
	}
#undef PUT
	return j;
}

static json_t *net_json(const struct cfs_net *net)
{
	struct cfs_net_stats st;
	json_t *j = json_object(), *ops = json_object();

	cfs_net_stats(net, &st);
#define PUT(name) json_object_set_new(j, #name, json_integer((json_int_t)st.name))
	PUT(requests_sent);
	PUT(requests_received);
	PUT(replies_sent);
	PUT(replies_received);
	PUT(bytes_sent);
	PUT(bytes_received);
	PUT(rma_reads);
	PUT(rma_read_bytes);
	PUT(rma_writes);
	PUT(rma_write_bytes);
	PUT(bad_messages);
	PUT(disconnects);
	PUT(credit_waits);
#undef PUT
	for (uint16_t op = 1; op < 128; op++) {
		uint64_t count = cfs_op_is_known(op) ? cfs_net_op_count(net, op) : 0;

		if (count)
			json_object_set_new(ops, cfs_op_name(op), json_integer((json_int_t)count));
	}
	json_object_set_new(j, "sent_by_op", ops);
	return j;
}

static int counters_core(void *arg)
{
	struct stats_job *job = arg;
	struct cfs_reactor_stats rs;
	json_t *j = json_object(), *stores = json_array();

	for (uint32_t t = 0; t < job->core->store_count; t++)
		json_array_append_new(stores, store_json(job->core->stores[t], true));
	json_object_set_new(j, "stores", stores);
	json_object_set_new(j, "net_local", net_json(job->core->local.net));
	if (job->core->listener.net)
		json_object_set_new(j, "net_listen", net_json(job->core->listener.net));
	cfs_reactor_stats(&rs);
#define PUT(name) json_object_set_new(j, "reactor_" #name, json_integer((json_int_t)rs.name))
	PUT(switches);
	PUT(wakeups_sent);
	PUT(sleeps);
	PUT(submits);
	PUT(cqes);
	PUT(posts);
	PUT(fibers_live);
#undef PUT
	job->json = j;
	return 0;
}

static void uuid_text(const uint8_t uuid[16], char out[37])
{
	static const char hex[] = "0123456789abcdef";
	uint32_t at = 0;

	for (uint32_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		out[at++] = hex[uuid[i] >> 4];
		out[at++] = hex[uuid[i] & 15];
	}
	out[at] = 0;
}

CFS_AWAITS int cfs_node_status_json(struct cfs_node *n, bool with_counters, char **out)
{
	json_t *j = json_object();
	struct cfs_statfs sf;
	char uuid[37];

	statfs_sum(n, &sf);
	uuid_text(n->info.uuid, uuid);
	json_object_set_new(j, "schema", json_integer(1));
	json_object_set_new(j, "volume", json_string(uuid));
	json_object_set_new(j, "epoch", json_integer((json_int_t)n->epoch));
	json_object_set_new(j, "shards", json_integer(n->shards));
	json_object_set_new(j, "stores", json_integer(n->stores));
	json_object_set_new(j, "cores", json_integer(n->cores));
	json_object_set_new(
		j, "uptime_seconds",
		json_integer((json_int_t)((cfs_now_ns() - n->started_ns) / 1000000000)));
	json_object_set_new(j, "listen",
			    n->core[0].listener.net
				    ? json_string(cfs_net_addr(n->core[0].listener.net))
				    : json_null());
	json_object_set_new(j, "control", cfs_node_control_json(n));
	json_object_set_new(j, "total_bytes", json_integer((json_int_t)sf.total_bytes));
	json_object_set_new(j, "free_bytes", json_integer((json_int_t)sf.free_bytes));
	json_object_set_new(j, "tick", json_integer((json_int_t)n->tick));
	json_object_set_new(j, "syncs", json_integer((json_int_t)n->syncs));
	if (with_counters) {
		json_t *cores = json_array();

		for (uint32_t k = 0; k < n->cores; k++) {
			struct stats_job job = { .core = &n->core[k] };

			cfs_core_call(k, counters_core, &job);
			json_array_append_new(cores, job.json);
		}
		json_object_set_new(j, "core", cores);
	}
	*out = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(j);
	return *out ? 0 : -ENOMEM;
}

static CFS_AWAITS int reply_status(struct cfs_node *n, const struct cfs_msg *req,
				   struct cfs_msg *reply, struct cfs_buf **buf)
{
	CFS_CLEANUP(cfs_free_p) char *json = NULL;
	size_t len;
	int rc = cfs_node_status_json(n, cfs_msg_is_set(req, flags) && req->flags != 0, &json);

	if (rc < 0)
		return rc;
	len = strlen(json);
	if (len >= CFS_INLINE_BYTES_MAX)
		return -EMSGSIZE;
	rc = cfs_buf_get((uint32_t)len + 1, buf);
	if (rc < 0)
		return rc;
	memcpy((*buf)->data, json, len);
	cfs_msg_set_bytes(reply, data, (*buf)->data, (uint32_t)len);
	return 0;
}

/* --- dispatch --- */

static CFS_AWAITS void node_op(struct node_endpoint *ep, struct cfs_net_call *call)
{
	const struct cfs_msg *req = cfs_net_call_request(call);
	struct node_core *c = ep->core;
	struct cfs_msg reply = { .kind = CFS_MSG_REPLY, .op = req->op };
	uint8_t sf_bytes[CFS_STATFS_BYTES];
	struct cfs_buf *buf = NULL;
	struct cfs_statfs sf;
	int rc = 0;

	switch (req->op) {
	case CFS_OP_HELLO:
		rc = cfs_node_hello(c, req->session, req->flags & CFS_F_NEW);
		if (rc < 0)
			break;
		cfs_msg_set(&reply, session, req->session);
		cfs_msg_set(&reply, life, c->node->session_life_ns);
		cfs_msg_set(&reply, lost, c->node->lost_epoch);
		rc = reply_map(ep, &reply, &buf);
		break;
	case CFS_OP_MAP:
		rc = reply_map(ep, &reply, &buf);
		break;
	case CFS_OP_PING:
		break;
	case CFS_OP_WATCH:
		rc = cfs_node_watch(c, req, &reply, &buf);
		break;
	case CFS_OP_BYE:
		if (cfs_node_session_is_known(c, req->session))
			cfs_node_session_end(c->node, req->session);
		break;
	case CFS_OP_STATFS:
		statfs_sum(c->node, &sf);
		cfs_statfs_encode(&sf, sf_bytes);
		cfs_msg_set_bytes(&reply, data, sf_bytes, sizeof(sf_bytes));
		break;
	case CFS_OP_STATUS:
		rc = reply_status(c->node, req, &reply, &buf);
		break;
	default:
		rc = -EOPNOTSUPP;
		break;
	}
	if (rc < 0)
		reply.has = 0;
	cfs_msg_set(&reply, rc, rc);
	cfs_msg_set(&reply, map_epoch, c->node->epoch);
	reply.hlc = c->hlc;
	cfs_net_reply(call, &reply);
	cfs_buf_put(buf);
}

static CFS_AWAITS void refuse(struct node_core *c, struct cfs_net_call *call, int rc)
{
	struct cfs_msg reply = { .kind = CFS_MSG_REPLY, .op = cfs_net_call_request(call)->op };

	cfs_msg_set(&reply, rc, rc);
	cfs_msg_set(&reply, map_epoch, c->node->epoch);
	cfs_net_reply(call, &reply);
}

CFS_AWAITS void cfs_node_handle(void *endpoint, struct cfs_net_call *call)
{
	struct node_endpoint *ep = endpoint;
	struct node_core *c = ep->core;
	const struct cfs_msg *req = cfs_net_call_request(call);

	if (req->hlc > c->hlc && req->hlc < cfs_wall_ns() + HLC_AHEAD_MAX_NS)
		c->hlc = req->hlc;
	if (req->op < 16 && c->node->is_serving) {
		node_op(ep, call);
		return;
	}
	/* Nothing of an ended session is carried out, however late it comes. */
	if (c->node->is_serving && req->op >= 16 && req->sess != 0 &&
	    !cfs_node_session_is_known(c, req->sess) && !CFS_BREAK(NO_REFUSE)) {
		refuse(c, call, -CFS_ENO_SESSION);
		return;
	}
	/* Also while we start: who asks comes again. */
	if (req->shard >= c->node->shards || !c->shards[req->shard] || req->op < 16) {
		refuse(c, call, -CFS_ENOT_HERE);
		return;
	}
	cfs_shard_serve(c->shards[req->shard], call);
}
