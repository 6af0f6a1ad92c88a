/*
 * Threads for calls that block: at most CFS_OFFLOAD_THREADS_MAX a runtime, started when work waits
 * and none is free, kept until the runtime stops. Work waits in order of arrival; it is embedded in
 * the caller, so the queue needs no bound of its own.
 */
#ifndef CFS_BASE_OFFLOAD_H
#define CFS_BASE_OFFLOAD_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define CFS_OFFLOAD_THREADS_MAX 4u

struct cfs_offload_job {
	struct cfs_list link;
	void (*run)(struct cfs_offload_job *job); /* on a thread of the pool */
};

struct cfs_offload {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct cfs_list jobs;
	uint32_t jobs_count, free_count, threads_count;
	bool is_stopping;
	cpu_set_t cpus; /* where the threads may run: not only on the starting core's CPU */
	pthread_t threads[CFS_OFFLOAD_THREADS_MAX];
};

void cfs_offload_init(struct cfs_offload *o, const cpu_set_t *cpus);
/* Waits for the threads; no job may be left. */
void cfs_offload_fini(struct cfs_offload *o);
/* Returns 0; -EAGAIN: no thread could be started and none is there. */
int cfs_offload_submit(struct cfs_offload *o, struct cfs_offload_job *job);

#endif
