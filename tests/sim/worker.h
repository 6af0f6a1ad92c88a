/*
 * Workers: fibers on the clients' machine, each with names and files of its own, that do one
 * operation after the other by any of the clients and compare every answer with the model.
 */
#ifndef CFS_TESTS_SIM_WORKER_H
#define CFS_TESTS_SIM_WORKER_H

#include "client/client.h"
#include "model.h"
#include "sim.h"

#define WORKER_HANDLES_MAX 6u
#define WORKER_NAMES 9u /* of a worker in a directory; few, so that they meet */
#define WORKER_BUF_BYTES (1024u * 1024)

struct worker_handle {
	struct m_inode *inode;
	uint32_t client;
};

/* What a worker has locked, as it knows. */
struct worker_lock {
	uint64_t ino; /* 0: nothing */
	uint32_t start, end, type;
	bool is_flock;
};

struct sim_worker {
	struct sim *sim;
	uint32_t id;
	uint64_t rand;
	uint32_t client; /* by which the present operation goes */
	struct cfs_client_op op;
	struct worker_handle handles[WORKER_HANDLES_MAX];
	uint32_t handle_count;
	uint8_t *buf, *expect; /* WORKER_BUF_BYTES each */
	uint64_t patterns;
	struct worker_lock lock;
};

void sim_workers_create(struct sim *s, uint32_t count);
/* The directories that all share, and each worker's home; flushed. */
CFS_AWAITS void sim_workers_setup(struct sim *s);
/* Starts a fiber for each worker; they end by themselves when no steps are left, or the run is
 * pausing, and wake the main fiber. */
void sim_workers_start(struct sim *s);
/* They died with their machine: nothing is open, nothing is under way. */
void sim_workers_forget(struct sim *s);
/* Waits for all to end, at most @limit_ns of simulated time. */
CFS_AWAITS void sim_workers_join(struct sim *s, uint64_t limit_ns);
/* Each gives back what it has open. */
CFS_AWAITS void sim_workers_release(struct sim *s);

#endif
