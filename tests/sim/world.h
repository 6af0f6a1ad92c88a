/*
 * The simulated machines: one node on one disk, and a machine of clients, joined by a network. Each
 * life of a process is a domain of its own (base/fiber.h), so that its death takes everything.
 */
#ifndef CFS_TESTS_SIM_WORLD_H
#define CFS_TESTS_SIM_WORLD_H

#include "client/client.h"
#include "sim.h"

struct cfs_fsck_result;

struct sim_world_opts {
	uint32_t shards, stores, clients;
	uint64_t disk_bytes, tail_bytes, cache_bytes, patch_bytes, flush_interval_ns;
	uint64_t disk_latency_min_ns, disk_latency_max_ns;
	uint64_t net_delay_min_ns, net_delay_max_ns;
	uint32_t loss_ppm, dup_ppm;
	uint32_t late_ppm;
	uint64_t late_ns;
	uint64_t session_life_ns; /* 0: the node's default */
	uint64_t control_seed;
};

/* By the seed. */
void sim_world_opts_dice(struct sim *s, struct sim_world_opts *out);
void sim_world_create(struct sim *s, const struct sim_world_opts *opts);

/* Starts the node's next life and returns at once. */
void sim_node_start(struct sim *s);
bool sim_node_is_up(const struct sim *s);   /* it serves */
bool sim_node_is_dead(const struct sim *s); /* no life has been started since the last death */
CFS_AWAITS void sim_node_wait(struct sim *s);
/* An orderly stop. */
CFS_AWAITS void sim_node_stop(struct sim *s);
/* SIGKILL; the clients live. Not from a fiber of the node. */
void sim_node_kill(struct sim *s);
/* Power fails everywhere: node, disk, clients. */
void sim_power_cut(struct sim *s);

/* A new machine with clients that are connected; the node must be up or come up. */
CFS_AWAITS void sim_clients_open(struct sim *s);
CFS_AWAITS void sim_clients_close(struct sim *s);
struct cfs_client *sim_client(const struct sim *s, uint32_t index);
uint32_t sim_client_count(const struct sim *s);
/* Runs @fn(@arg) as a fiber of the clients' machine. */
void sim_client_fiber(struct sim *s, cfs_fiber_fn fn, void *arg);
/* Cuts or heals the ways between clients and node. */
void sim_net_cut(struct sim *s, bool is_cut);

/* A client on a machine of its own, which can be cut off and die by itself. */
struct sim_lone {
	struct sim *sim;
	struct cfs_client_opts opts; /* its hooks; the rest is filled in */
	struct cfs_client *client;
	uint32_t domain, number;
	struct cfs_group group;
	char addr[32], error[256];
	bool is_open, is_closed;
};
/* Never freed. @opts: hooks only. Waits until it is connected. */
CFS_AWAITS struct sim_lone *sim_lone_open(struct sim *s, const struct cfs_client_opts *opts);
void sim_lone_fiber(struct sim_lone *l, cfs_fiber_fn fn, void *arg);
void sim_lone_kill(struct sim_lone *l);
CFS_AWAITS void sim_lone_close(struct sim_lone *l);
/* The ways to the node, and from it. */
void sim_lone_cut(struct sim_lone *l, bool is_cut_to, bool is_cut_from);

/* Offline check of the disk, now; a finding is ours. */
CFS_AWAITS void sim_fsck(struct sim *s, const char *when, struct cfs_fsck_result *out);
/* Calls @fn(@arg) before the device write that comes @after writes from now (1: the next). */
void sim_at_write(struct sim *s, uint64_t after, void (*fn)(void *arg), void *arg);
uint64_t sim_disk_writes(const struct sim *s);
uint64_t sim_disk_hash(const struct sim *s);

#endif
