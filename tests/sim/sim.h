/*
 * The simulator (doc/design/simulator.md): a real node and real clients on one thread, with a
 * simulated clock, network and disk, under a workload whose outcome a model knows.
 *
 *   world.h    the processes: node and clients, their starts and deaths
 *   model.h    the file system as it must be, and the history of what was done to it
 *   worker.h   fibers that do operations and compare the answers with the model
 *   snap.h     the file system as a client sees it, whole
 *   check.h    snapshot against model: equal, or what a power cut may leave
 *   share.h    another workload: clients that keep what they read, and change the same things
 *
 * Whatever is random comes from the seed; whatever happens goes into the trace's hash.
 */
#ifndef CFS_TESTS_SIM_SIM_H
#define CFS_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "base/util.h"

#define SIM_US 1000ull
#define SIM_MS (1000 * SIM_US)
#define SIM_S (1000 * SIM_MS)
#define SIM_CLIENTS_MAX 8u
#define SIM_WORKERS_MAX 32u

enum sim_mode { SIM_KILL, SIM_POWER, SIM_MIXED, SIM_CRASHALL, SIM_MODES };

/* What the workers mostly do; by the seed. */
enum sim_profile { SIM_ANY, SIM_NAMES, SIM_DATA, SIM_PROFILES };

struct sim_opts {
	uint64_t seed;
	uint32_t steps;      /* operations of all workers, in all */
	uint32_t clients;    /* 0: by the seed */
	uint32_t workers;    /* 0: by the seed */
	uint32_t points_max; /* crashall: so many, evenly; 0: every write */
	uint64_t stride;     /* crashall: each so many writes; 0: only counts them */
	uint64_t point;      /* crashall: this one alone, in this process; 0: all */
	uint32_t jobs;       /* crashall: processes at once */
	enum sim_mode mode;
	const char *break_name; /* a guard that is taken out, for the report */
	bool has_locks;         /* workers lock files, too */
	bool has_leases;        /* another workload: share.h */
	bool is_verbose;
	const char *command; /* that repeats the run */
};

struct sim_points;
struct sim_world;
struct sim_model;
struct sim_worker;

struct sim {
	struct sim_opts opts;
	uint64_t rand;  /* of the run itself; workers have their own */
	uint64_t trace; /* hash of all that happened */
	struct sim_world *world;
	struct sim_model *model;
	struct sim_worker *workers[SIM_WORKERS_MAX];
	uint32_t worker_count, workers_busy;
	uint32_t steps_left; /* of all workers */
	bool is_pausing;     /* workers end after the operation that they do */
	bool has_crashed;    /* since the main fiber looked last */
	bool is_power;       /* it was a power cut */
	enum sim_profile profile;
	struct cfs_waitq wake; /* the main fiber */
	uint64_t ops, kills, cuts;
	struct sim_points *points; /* crashall */
};

/* Says what is wrong and how to see it again, and ends the process with 1. */
_Noreturn void sim_finding(struct sim *s, const char *fmt, ...) CFS_PRINTF(2, 3);
void sim_say(const struct sim *s, const char *fmt, ...) CFS_PRINTF(2, 3); /* with --verbose */
void sim_trace(struct sim *s, uint64_t what, uint64_t value);

/* splitmix64 over @state. */
uint64_t sim_rand(uint64_t *state);
/* 0 to @n - 1. */
uint32_t sim_below(uint64_t *state, uint32_t n);

void *sim_alloc(uint64_t bytes); /* zeroed; never NULL */
/* Grows an array so that @count + 1 fit; returns it. */
void *sim_grow(void *array, uint32_t count, uint32_t *cap, uint32_t each_bytes);

/* run.c: the first fiber. */
int sim_run(void *sim);
/* The node dies now, or everything does. */
void sim_crash(struct sim *s, bool is_power);
/* Brings all back after a crash and checks; the workers go on. */
CFS_AWAITS void sim_recover(struct sim *s);

/* points.c: crashall. Begins to count device writes, and lets a child die at each that is chosen.
 */
void sim_points_start(struct sim *s);
/* No child is left when it returns; their traces are in ours. */
void sim_points_end(struct sim *s);
/* True in a child: the run ends soon. */
bool sim_points_is_child(const struct sim *s);
void sim_points_say(struct sim *s); /* in a child that ends well */
uint64_t sim_points_count(const struct sim *s);
uint64_t sim_points_writes(const struct sim *s);

#endif
