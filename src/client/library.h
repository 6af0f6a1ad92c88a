/*
 * libclaudefs inside: callers' threads hand operations to the library's thread.
 *
 * That thread runs a runtime of one core. Pointers to calls reach it through a pipe, each becomes a
 * fiber, and its caller waits on a semaphore in the call, so no lock is shared.
 */
#ifndef CFS_CLIENT_LIBRARY_H
#define CFS_CLIENT_LIBRARY_H

#include <pthread.h>
#include <semaphore.h>

#include "base/fiber.h"
#include "claudefs/claudefs.h"
#include "client/client.h"

struct claudefs {
	pthread_t thread;
	int pipe_out, pipe_in; /* calls go in at the latter */
	struct claudefs_options opts;
	char server[CFS_NET_ADDR_BYTES];
	/* of the library's thread */
	struct cfs_client *client;
	struct cfs_group calls;
	/* the start's outcome, until `started` is posted */
	sem_t started;
	int start_rc;
	char *why;
	size_t why_bytes;
};

/* An operation: runs as a fiber on the library's thread. */
typedef CFS_AWAITS int64_t (*cfs_library_fn)(struct cfs_client_op *op, void *arg);

/* Has @fn(@arg) run there and waits for its result, translated for the outside. */
int64_t cfs_library_call(struct claudefs *fs, cfs_library_fn fn, void *arg);

#endif
