/* cfs-sim: options, one run, its verdict. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/breaks.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/reactor.h"
#include "sim.h"

#define STEPS_DEFAULT 400u
#define WALL_START_NS 1700000000000000000ull
/* Processes that die take buffers with them; memory that is not touched costs nothing. */
#define BUFS_SMALL 32768u
#define BUFS_LARGE 4096u

static const char usage[] =
	"usage: cfs-sim --seed N [options]\n"
	"  --mode M         kill, power, mixed (the default) or crashall\n"
	"  --steps K        operations of all workers together\n"
	"  --clients C      clients; by the seed if not given\n"
	"  --workers W      fibers that work; by the seed if not given\n"
	"  --locks          they lock files, too\n"
	"  --leases         clients that keep what they read, and change the same things; a mode "
	"of "
	"its own\n"
	"  --points-max N   crashall: at N device writes, evenly; at each if not given\n"
	"  --point K        crashall: at this write only\n"
	"  --jobs J         crashall: children at once\n"
	"  --break NAME     takes out a guard (a build with -DCFS_BREAKS)\n"
	"  --verbose        says what happens\n"
	"Ends with 0 and a last line `trace HASH`, the same for the same seed and options; with 1 "
	"and\n"
	"a finding; with 2 if an option is wrong.\n";

static const char *const mode_names[SIM_MODES] = { "kill", "power", "mixed", "crashall" };
static char repeat[512]; /* the command that repeats the run, for who dies */

static void repeat_make(const struct sim *s)
{
	const struct sim_opts *o = &s->opts;
	int at = snprintf(repeat, sizeof(repeat),
			  "repeat with: %s --seed %" PRIu64 " --mode %s "
			  "--steps %u",
			  o->command, o->seed, mode_names[o->mode], o->steps);

	if (o->clients)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --clients %u",
			       o->clients);
	if (o->workers)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --workers %u",
			       o->workers);
	if (o->has_locks)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --locks");
	if (o->has_leases)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --leases");
	if (o->break_name)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --break %.64s",
			       o->break_name);
	if (o->point)
		at += snprintf(repeat + at, sizeof(repeat) - (size_t)at, " --point %" PRIu64,
			       o->point);
	(void)snprintf(repeat + at, sizeof(repeat) - (size_t)at, "\n");
}

void sim_finding(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	repeat_make(s);
	fprintf(stderr, "finding: seed %" PRIu64 ", %s%s: ", s->opts.seed, mode_names[s->opts.mode],
		s->opts.point ? (s->opts.point % 2 ? ", kill" : ", power cut") : "");
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n%s", repeat);
	(void)fflush(NULL);
	_exit(1);
}

void sim_say(const struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->opts.is_verbose)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

void sim_trace(struct sim *s, uint64_t what, uint64_t value)
{
	s->trace = cfs_hash_u64(s->trace ^ what) + value;
	s->trace = cfs_hash_u64(s->trace + cfs_now_ns());
}

uint64_t sim_rand(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return cfs_hash_u64(*state);
}

uint32_t sim_below(uint64_t *state, uint32_t n)
{
	return n ? (uint32_t)((sim_rand(state) >> 32) * n >> 32) : 0;
}

void *sim_alloc(uint64_t bytes)
{
	void *p = calloc(1, bytes);

	if (!p)
		abort();
	return p;
}

void *sim_grow(void *array, uint32_t count, uint32_t *cap, uint32_t each_bytes)
{
	if (count < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 8;
	array = realloc(array, (size_t)*cap * each_bytes);
	if (!array)
		abort();
	return array;
}

/* An assertion failed, or memory was touched that is not there. */
static void on_death(int sig)
{
	(void)!write(STDERR_FILENO, repeat, strlen(repeat));
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

static void deaths_catch(void)
{
	static const int signals[] = { SIGABRT,
#ifndef CFS_DEBUG
				       SIGSEGV, SIGBUS
#endif
	};
	struct sigaction sa = { .sa_handler = on_death, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = sim_alloc(65536), .ss_size = 65536 };

	(void)sigaltstack(&stack, NULL);
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(signals); i++)
		(void)sigaction(signals[i], &sa, NULL);
}

static void run(struct sim *s)
{
	const struct cfs_runtime_opts opts = { .cores = 1,
					       .pin_cpu = -2,
					       .is_sim = true,
					       .sim_seed = s->opts.seed,
					       .sim_wall_ns = WALL_START_NS,
					       .buf_small_count = BUFS_SMALL,
					       .buf_large_count = BUFS_LARGE };
	int rc;

	repeat_make(s);
	s->rand = cfs_hash_u64(s->opts.seed);
	rc = cfs_runtime_run(&opts, sim_run, s);
	if (rc < 0)
		_exit(2);
}

/* How many device writes there are, found by a run that nobody dies in. */
static uint64_t writes_count(const struct sim_opts *opts)
{
	struct sim s = { .opts = *opts };
	uint64_t count = 0;
	int fds[2], status = 0;
	pid_t pid;

	if (pipe(fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		run(&s);
		count = sim_points_writes(&s);
		_exit(write(fds[1], &count, sizeof(count)) == sizeof(count) ? 0 : 2);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 ||
	    read(fds[0], &count, sizeof(count)) != sizeof(count))
		_exit(1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return count;
}

static int break_set(const char *name)
{
#ifdef CFS_BREAKS
	if (cfs_break_set(name))
		return 0;
#endif
	fprintf(stderr, "cfs-sim: no such guard, or not a build with breaks: %s\n", name);
	return -EINVAL;
}

static int mode_of(const char *name)
{
	for (int i = 0; i < SIM_MODES; i++) {
		if (strcmp(mode_names[i], name) == 0)
			return i;
	}
	return -EINVAL;
}

static int parse(int argc, char **argv, struct sim_opts *o)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "mode", required_argument, NULL, 'm' },
		{ "steps", required_argument, NULL, 'k' },
		{ "clients", required_argument, NULL, 'c' },
		{ "workers", required_argument, NULL, 'w' },
		{ "points-max", required_argument, NULL, 'n' },
		{ "point", required_argument, NULL, 'p' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "locks", no_argument, NULL, 'l' },
		{ "leases", no_argument, NULL, 'e' },
		{ "break", required_argument, NULL, 'b' },
		{ "verbose", no_argument, NULL, 'v' },
		{ 0 },
	};
	int c, mode = SIM_MIXED;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;

		if (c == 's')
			o->seed = n;
		else if (c == 'm')
			mode = mode_of(optarg ? optarg : "");
		else if (c == 'k')
			o->steps = (uint32_t)n;
		else if (c == 'c')
			o->clients = (uint32_t)CFS_MIN(n, (uint64_t)SIM_CLIENTS_MAX);
		else if (c == 'w')
			o->workers = (uint32_t)CFS_MIN(n, (uint64_t)SIM_WORKERS_MAX);
		else if (c == 'n')
			o->points_max = (uint32_t)n;
		else if (c == 'p')
			o->point = n;
		else if (c == 'j')
			o->jobs = (uint32_t)n;
		else if (c == 'b')
			o->break_name = optarg;
		else if (c == 'l')
			o->has_locks = true;
		else if (c == 'e')
			o->has_leases = true;
		else if (c == 'v')
			o->is_verbose = true;
		else
			return -EINVAL;
	}
	if (optind != argc || mode < 0)
		return -EINVAL;
	o->mode = (enum sim_mode)mode;
	return o->break_name ? break_set(o->break_name) : 0;
}

int main(int argc, char **argv)
{
	struct sim s = { .opts = { .steps = STEPS_DEFAULT, .jobs = 1, .stride = 1 } };
	bool is_point;

	s.opts.command = argv[0];
	if (parse(argc, argv, &s.opts) < 0) {
		fputs(usage, stderr);
		return 2;
	}
	cfs_log_level_set(s.opts.is_verbose ? CFS_LOG_DEBUG : CFS_LOG_ERR);
	deaths_catch();
	if (s.opts.mode == SIM_CRASHALL && s.opts.points_max && !s.opts.point) {
		struct sim_opts dry = s.opts;
		uint64_t writes;

		dry.stride = 0;
		writes = writes_count(&dry);
		s.opts.stride = CFS_MAX(1ull, writes / s.opts.points_max);
	}
	is_point = s.opts.point != 0;
	run(&s);
	if (s.points && sim_points_is_child(&s)) {
		sim_points_say(&s);
		if (!is_point)
			_exit(0);
	}
	printf("seed %" PRIu64 " mode %s: %" PRIu64 " operations, %" PRIu64 " kills, %" PRIu64
	       " power cuts, %" PRIu64 " crash points\n",
	       s.opts.seed, mode_names[s.opts.mode], s.ops, s.kills, s.cuts, sim_points_count(&s));
	printf("trace %016" PRIx64 "\n", s.trace);
	(void)fflush(NULL);
	_exit(0); /* what died left its memory */
}
