/*
 * A node for tests of the meta part: N shards (with their data parts) over stores of a simulated
 * disk, in one process on simulated time. Requests are encoded, delivered to the shard in a fiber
 * of its own, and answered as over a network that may delay, repeat and lose. The node is killed,
 * or its power cut, at any message; it starts again from the disk as a real node does.
 */
#ifndef CFS_TESTS_META_HARNESS_H
#define CFS_TESTS_META_HARNESS_H

#include "meta/meta.h"
#include "store/device.h"
#include "store/store.h"

#define HARNESS_SHARDS_MAX 16u
#define HARNESS_STORES_MAX 4u
#define HARNESS_REPLIES_KEPT 1024u
#define HARNESS_ROOT CFS_INO_ROOT

struct harness_opts {
	uint32_t shards; /* power of two */
	uint32_t stores;
	uint64_t delay_max_ns; /* of a message */
	uint32_t loss_ppm,
		dup_ppm;        /* a reply is lost, so the request comes again; one comes twice */
	uint32_t sync_ppm;      /* a random store is flushed at a message */
	uint64_t cookie_modulo; /* cookies collide */
	uint64_t disk_bytes;    /* 0: 256 MiB */
};

struct harness_delivery;

struct harness {
	struct harness_opts o;
	struct cfs_sim_disk *disk;
	struct cfs_device *dev;
	struct cfs_store *stores[HARNESS_STORES_MAX];
	struct cfs_shard *shards[HARNESS_SHARDS_MAX];
	struct cfs_shard_env env;
	uint8_t *scratch;
	uint64_t epoch, hlc, tick_now, tick_stable;
	struct cfs_group fibers; /* the node's, but for the shards' own */
	uint32_t domain;         /* of the node's present life */
	bool is_up, is_crashing;
	uint64_t node_session, node_seq; /* calls between shards */
	struct cfs_list pending_seqs;
	struct cfs_list deliveries; /* of clients, under way */
	/* messages so far, and where to stop the world (0: nowhere) */
	uint64_t messages, crash_at;
	struct cfs_waitq crash, stopped, up;
	/* the client */
	uint64_t session, seq;
	struct cfs_list client_seqs; /* not answered */
	struct cfs_list client_calls, node_calls;
	uint64_t calls_made;
	uint8_t *replies[HARNESS_REPLIES_KEPT];
	uint64_t reply_count;
};

/* Makes a disk and starts a node with a root directory. */
CFS_AWAITS void harness_init(struct harness *h, const struct harness_opts *o);
CFS_AWAITS void harness_fini(struct harness *h);
/* A harness that fails the test where it must; ended by finish, which checks all, also after a
 * start. */
CFS_AWAITS struct harness *harness_new(const struct harness_opts *o);
CFS_AWAITS void harness_finish(struct harness *h);
/* Starts (again): recovery over all stores. */
CFS_AWAITS void harness_start(struct harness *h);
/* An orderly end. */
CFS_AWAITS void harness_stop(struct harness *h);
/* SIGKILL, or the end of power. Clients' requests under way are answered -CFS_EDISCONNECTED. */
CFS_AWAITS void harness_kill(struct harness *h, bool is_power_cut);
/* Waits until the node stands at message crash_at. */
CFS_AWAITS void harness_wait_crash(struct harness *h);
/* Checkpoints all shards. */
CFS_AWAITS void harness_checkpoint(struct harness *h);
CFS_AWAITS void harness_sync(struct harness *h);
/* Waits until no transaction is left over and what they left behind is forgotten. */
CFS_AWAITS void harness_quiesce(struct harness *h);
/* All invariants, in each shard and over all; prints what it finds, returns how much. */
uint32_t harness_check(struct harness *h);

/*
 * Sends a request as a client, to the shard it is for; a change gets a sequence number, and is sent
 * again over restarts until it is answered. It is of h->session unless it says of which. Returns
 * the reply's rc (0 or negative); the reply in *out, to be ended by cfs_net_reply_fini() (always).
 */
CFS_AWAITS int harness_call(struct harness *h, struct cfs_msg *req, struct cfs_net_reply *out);

/* Operations; each returns 0 or a negative code. Names are C strings. */
CFS_AWAITS int hs_lookup(struct harness *h, uint64_t dir, const char *name, uint64_t *ino);
CFS_AWAITS int hs_getattr(struct harness *h, uint64_t ino, struct cfs_attr *out);
CFS_AWAITS int hs_create(struct harness *h, uint64_t dir, const char *name, uint32_t mode,
			 uint32_t flags, uint64_t *ino);
CFS_AWAITS int hs_symlink(struct harness *h, uint64_t dir, const char *name, const char *target,
			  uint64_t *ino);
CFS_AWAITS int hs_mkdir(struct harness *h, uint64_t dir, const char *name, uint64_t *ino);
CFS_AWAITS int hs_unlink(struct harness *h, uint64_t dir, const char *name);
CFS_AWAITS int hs_rmdir(struct harness *h, uint64_t dir, const char *name);
CFS_AWAITS int hs_link(struct harness *h, uint64_t ino, uint64_t dir, const char *name);
CFS_AWAITS int hs_rename(struct harness *h, uint64_t dir, const char *name, uint64_t dir2,
			 const char *name2, uint32_t flags);
CFS_AWAITS int hs_chmod(struct harness *h, uint64_t ino, uint32_t mode);
CFS_AWAITS int hs_open(struct harness *h, uint64_t ino);
CFS_AWAITS int hs_release(struct harness *h, uint64_t ino);
CFS_AWAITS int hs_setxattr(struct harness *h, uint64_t ino, const char *name, const void *value,
			   uint32_t len, uint32_t flags);
/* The value's length. */
CFS_AWAITS int hs_getxattr(struct harness *h, uint64_t ino, const char *name, void *value,
			   uint32_t cap);

/* Entries of a directory after @cookie, up to @max; count, or negative. Names are cut to 63 bytes.
 */
struct hs_entry {
	uint64_t ino, cookie;
	uint32_t mode;
	bool has_attr;
	char name[64];
};
CFS_AWAITS int hs_readdir(struct harness *h, uint64_t dir, uint64_t cookie, uint32_t bytes,
			  struct hs_entry *out, uint32_t max, bool *is_eof);

#endif
