/* Inside of the node: one struct node_core per core, touched by that core only; the node itself is
 * written before it serves. */
#ifndef CFS_SERVER_NODE_INTERNAL_H
#define CFS_SERVER_NODE_INTERNAL_H

#include <jansson.h>

#include "base/list.h"
#include "base/reactor.h"
#include "repl/shard.h"
#include "server/node.h"
#include "store/store.h"

#define CFS_NODE_STORES_MAX 256
#define CFS_NODE_SESSION_BUCKETS 256
#define CFS_NODE_SESSION_LIFE_NS (30ull * 1000 * 1000 * 1000)
#define CFS_NODE_ENDED_MAX 4096u

struct node_core;

/* Which of a core's endpoints a call came by. */
struct node_endpoint {
	struct node_core *core;
	struct cfs_net *net;
	bool is_listener;
};

/* A recall on its way to a client. */
struct node_recall {
	struct cfs_list link;
	uint64_t seq;
	struct cfs_recall what;
};

/* A client's session as one core knows it. Core 0 keeps it: what it heard counts. */
struct node_session {
	struct cfs_list link;
	uint64_t id;
	uint64_t heard_ns;
	bool is_ours;    /* a core's own: it lives as long as the node */
	bool is_refused; /* renewed no more */
	bool is_gone;    /* somebody holds it still */
	uint32_t users;
	struct cfs_list recalls; /* node_recall that it has not answered, oldest first */
	uint64_t next_seq;       /* of the next recall */
	uint64_t recall_ns;      /* since when it owes an answer, or gave the last one */
	struct cfs_waitq watchers;
};

/* An internal change on its way: its sequence bounds the floor of our session. */
struct node_pending {
	struct cfs_list link;
	uint64_t seq;
};

/* A record that rests on another shard's, found by a scan. */
struct node_dep {
	uint32_t shard, on_shard;
	uint64_t index, on_index;
};

struct node_core {
	struct cfs_node *node;
	uint32_t id;
	struct cfs_store **stores; /* [store_count] */
	uint32_t store_count;
	struct cfs_shard **shards; /* [node->shards]; NULL: not on this core */
	uint8_t *scratch;
	struct cfs_shard_env env;
	struct node_endpoint local, listener;
	struct cfs_net_peer **peers; /* [node->cores], by the local address */
	uint64_t session, seq;
	struct cfs_list pending; /* node_pending, in order of seq */
	uint64_t hlc, tick_now, tick_stable;
	struct cfs_list sessions[CFS_NODE_SESSION_BUCKETS];
	uint64_t ended[CFS_NODE_ENDED_MAX]; /* the last ones that ended */
	uint32_t ended_at;
	struct cfs_group fibers;
	/* recovery */
	struct node_dep *deps;
	uint32_t dep_count, dep_cap;
	uint64_t epoch_seen;
	bool is_tail_lost;
	void (*on_finding)(void *ctx, const char *what); /* NULL: logged */
	void *finding_ctx;
	char error[256];
};

/* What the node knows of its control plane. Of core 0. */
struct node_control {
	uint64_t silent_since_ns, silent_wall_ns; /* 0: it answers */
	char why[256];
};

struct cfs_node {
	struct cfs_node_opts opts;
	char name[64];
	struct cfs_device *device;
	struct cfs_store_info info;
	uint32_t shards, stores, cores;
	uint64_t epoch;
	struct cfs_ctl *ctl;
	struct node_control control;
	bool is_ctl_ours, is_serving, is_ending, is_stopping;
	bool is_busy;           /* something was written in the last tick */
	struct node_core *core; /* [cores] */
	struct cfs_group ticker;
	uint64_t tick, started_ns, syncs;
	uint64_t session_life_ns;
	uint64_t lost_epoch; /* the last one that began without a tail; 0: none */
	uint64_t half_over[CFS_SESSIONS_OVER_MAX]; /* sessions that had ended, but not everywhere */
	uint32_t half_over_count;
};

static inline uint32_t node_store_of(const struct cfs_node *n, uint32_t shard)
{
	return shard % n->stores;
}

static inline uint32_t node_core_of(const struct cfs_node *n, uint32_t shard)
{
	return node_store_of(n, shard) % n->cores;
}

/* node_serve.c: calls that come in. */
CFS_AWAITS void cfs_node_handle(void *endpoint, struct cfs_net_call *call);

/* node_session.c */
/* Recovery found it: it is known from now on, until it falls silent. Out of memory: it is not. */
void cfs_node_session_found(void *core, uint64_t id);
/* On all cores: what one of them found, and the cores' own. 0; -ENOMEM. */
CFS_AWAITS int cfs_node_sessions_share(struct cfs_node *n);
/* All but the cores' own: of a process that is no more, as were its clients. */
CFS_AWAITS void cfs_node_sessions_end_all(struct cfs_node *n);
bool cfs_node_session_is_known(const struct node_core *c, uint64_t id);
/* 0; -CFS_ENO_SESSION: it has ended, or is not new and not known; -ENOMEM. */
CFS_AWAITS int cfs_node_hello(struct node_core *c, uint64_t id, bool is_new);
/* Takes what the client has answered, and waits for what to ask of it. 0; -CFS_ENO_SESSION. */
CFS_AWAITS int cfs_node_watch(struct node_core *c, const struct cfs_msg *req, struct cfs_msg *reply,
			      struct cfs_buf **buf);
/* On every core: what the session held is dropped, nothing of it is carried out any more. */
CFS_AWAITS void cfs_node_session_end(struct cfs_node *n, uint64_t id);
/* At a start: sessions whose end a crash may have cut short are not let in, and later released. */
CFS_AWAITS void cfs_node_sessions_refuse_over(struct cfs_node *n);
CFS_AWAITS void cfs_node_sessions_release_over(struct cfs_node *n);
int cfs_node_recall(void *core, uint64_t session, uint32_t shard, uint64_t ino, uint64_t stamp);
CFS_AWAITS void cfs_node_sessions_run(void *core); /* fiber: ends sessions that fell silent */
int cfs_node_sessions_wake(void *core);            /* whoever watches is told that we end */
bool cfs_node_knows(void *core, uint64_t id);
void cfs_node_sessions_fini(struct node_core *c);

/* node_control.c */
CFS_AWAITS int cfs_node_control_open(struct cfs_node *n, char *err_out, uint32_t err_bytes);
CFS_AWAITS void cfs_node_control_run(void *node); /* fiber of core 0: looks whether it answers */
CFS_AWAITS void cfs_node_control_note_stop(struct cfs_node *n);
CFS_AWAITS bool cfs_node_control_was_stopped(struct cfs_node *n); /* the epoch before ours */
json_t *cfs_node_control_json(struct cfs_node *n);                /* for STATUS; on core 0 */

/* What all stores together could still take. */
CFS_AWAITS uint64_t cfs_node_free_bytes(struct cfs_node *n);

/* node_call.c: what shards ask of their node. */
void cfs_node_env_init(struct node_core *c);
CFS_AWAITS int cfs_node_sync_all(struct cfs_node *n);
CFS_AWAITS void cfs_node_ticker_run(void *node); /* fiber of core 0 */

/* node_recover.c: from opened stores to loaded shards; shared with fsck. */
CFS_AWAITS int cfs_node_scan(struct node_core *c, const struct cfs_store_opts *so);
CFS_AWAITS int cfs_node_load(struct node_core *c);
int cfs_node_cut(struct cfs_node *n); /* 0; -ENOMEM */

#endif
