/*
 * A node: the stores, shards and endpoints of one process, spread over its cores
 * (doc/design/node.md). Wiring only: what a shard does is below.
 *
 * Start: open devices, scan all stores, decide the cuts together, raise the epoch in the control
 * plane, load, flush the cuts, serve. Stop: refuse new calls, finish those under way, flush, close.
 * A killed node needs no stop: the next start reads the tails.
 */
#ifndef CFS_SERVER_NODE_H
#define CFS_SERVER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "proto/msg.h"

struct cfs_node;
struct cfs_ctl;
struct cfs_net_sim;
struct cfs_sim_disk;

#define CFS_NODE_DEVICES_MAX 32

struct cfs_node_opts {
	const char *const *paths; /* store files or block devices of one volume */
	uint32_t path_count;
	const char *name;   /* in-process address: "inproc:NAME/CORE"; NULL: "node" */
	const char *listen; /* "tcp:HOST:PORT" of core 0, the other cores take any port; "shm:NAME";
			       NULL: only in process */
	const char *state_dir;       /* control.sqlite; NULL: beside the first store */
	const char *control;         /* engine to put the map into; NULL: as control.sqlite says */
	const char *control_secrets; /* folder, for the engine; NULL: none */
	const char *tail_dir;        /* NULL: the store's own rule */
	uint64_t tail_bytes, cache_bytes, flush_interval_ns, patch_bytes_max; /* 0: defaults */
	uint64_t session_life_ns; /* a client that is silent for so long has ended; 0: 30 s */
	struct cfs_ctl *ctl;      /* borrowed; NULL: opens the one that belongs to state_dir */
	/* simulation */
	struct cfs_sim_disk *const *disks; /* instead of paths */
	struct cfs_net_sim *sim;           /* endpoint "sim:NAME/0" instead of inproc and listen */
};

/* Starts on all cores of the runtime; called from a fiber of core 0. @err_out: a sentence with
 * cause and next step. Returns 0; negative with nothing left behind. */
CFS_AWAITS int cfs_node_start(const struct cfs_node_opts *opts, struct cfs_node **out,
			      char *err_out, uint32_t err_bytes);
/* Drains, flushes and closes. 0; -EIO: something could not be flushed. */
CFS_AWAITS int cfs_node_stop(struct cfs_node *node);
/* Simulation: the rest of a SIGKILL, after cfs_domain_abandon(). Network and disks are killed by
 * the caller; what the process held is lost to us. */
void cfs_node_abandon(struct cfs_node *node);

/* Where the control plane of a store begins, "DIR/control.sqlite"; makes the folder @state_dir, or
 * if that is NULL the one beside the store. -errno with @why. */
int cfs_node_control_path(const char *store, const char *state_dir, char *out, uint32_t out_bytes,
			  char *why, uint32_t why_bytes);

/* Addresses of core 0: in process, and as listened to (NULL if it does not listen). */
const char *cfs_node_addr(const struct cfs_node *node);
const char *cfs_node_listen_addr(const struct cfs_node *node);

/* What STATUS answers: JSON, malloc'd. */
CFS_AWAITS int cfs_node_status_json(struct cfs_node *node, bool with_counters, char **out);

#endif
