/*
 * Clients that share (--leases): a few directories and files that all of them use, mounts that keep
 * what they may (keep.h), and histories that have to be linearizable (linear.h), while nodes and
 * clients die, messages are lost and late, and clients are cut off for longer than their sessions
 * live. A round has new inodes; after it the histories are checked.
 */
#ifndef CFS_TESTS_SIM_SHARE_H
#define CFS_TESTS_SIM_SHARE_H

#include "keep.h"
#include "linear.h"
#include "sim.h"
#include "world.h"

#define SHARE_DIRS 2u
#define SHARE_FILES 3u
#define SHARE_INODES (SHARE_DIRS + SHARE_FILES)
#define SHARE_SLOTS (SHARE_DIRS * KEEP_NAMES)
#define SHARE_WORKERS_EACH 2u
#define SHARE_ALONE_PACES 8u /* so long a mount is alone, at most */

struct share_mount {
	struct keep_mount keep;
	struct sim_lone *lone;
	struct share_worker *worker[SHARE_WORKERS_EACH], *peeker; /* NULL: ended */
	uint64_t cut_until_ns;
};

struct share_worker {
	struct share *share;
	struct share_mount *mount;
	uint32_t id, place, steps; /* steps: that it is to do */
	uint64_t rand;
	const char *waits_for; /* while it does */
	bool has_lock;
	uint32_t lock_evictions; /* of its mount when it got that */
};

/* Who has a file locked, as its holder knows. */
struct share_lock {
	const struct share_worker *holder; /* NULL: nobody */
	uint64_t since_event;
};

struct share {
	struct sim *sim;
	struct share_mount *mount[SIM_CLIENTS_MAX];
	uint32_t mounts, workers;   /* counts; workers: for their numbers */
	uint64_t ino[SHARE_INODES]; /* directories, then files */
	struct lin_history file[SHARE_FILES], names;
	struct share_lock lock[SHARE_FILES];
	uint64_t *born; /* what was made, and is known */
	uint32_t born_count, born_cap;
	uint64_t unique;
	uint32_t busy, steps_left, peekers;
	uint32_t alone;            /* which mount begins, from 1; 0: all do */
	uint32_t lock_one_in;      /* so often files are changed under a lock */
	uint64_t life_ns;          /* of a session */
	uint64_t pace_ns, peek_ns; /* between the operations of a worker, and peeks, at most */
	uint64_t hits, asks, recalls, evictions, undecided;
};

CFS_AWAITS void share_run(struct sim *s);

/* share_spec.c: what operations do to a file, and to the names of all directories. */
enum share_file_op {
	SHARE_CHOWN,
	SHARE_TRUNCATE,
	SHARE_WRITE,
	SHARE_APPEND,
	SHARE_STAT,
	SHARE_READ
};
enum share_name_op {
	SHARE_LOOKUP,
	SHARE_LIST,
	SHARE_CREATE,
	SHARE_MKDIR,
	SHARE_UNLINK,
	SHARE_RMDIR,
	SHARE_RENAME
};
#define SHARE_APPEND_BYTES 8u
bool share_apply_file(const struct lin_history *h, struct lin_state *s, const struct lin_op *op);
bool share_apply_names(const struct lin_history *h, struct lin_state *s, const struct lin_op *op);
bool share_is_look_file(const struct lin_op *op);
bool share_is_look_names(const struct lin_op *op);
const char *share_op_name(const struct lin_op *op, bool is_names);
/* What a later look finds that nobody was told of comes from a making without an answer. */
void share_born(struct share *sh, uint64_t entry);
/* Checks all histories of the round. */
void share_check(struct share *sh);

/* share_work.c: one operation of a worker. */
CFS_AWAITS void share_step(struct share_worker *w);
/* A look at what its mount keeps. False: it does not. */
bool share_peek(struct share_worker *w);
/* All that can be looked at, from the servers. */
CFS_AWAITS void share_look(struct share_worker *w);

#endif
