/*
 * fsx - random operations on files, compared with a copy in memory.
 *
 *   fsx DIR [--dir2 DIR] [--ops N] [--seed N] [--len BYTES] [--direct PERCENT] [--files N]
 *       [--procs N] [--report N] [--fault N [--fault-kind byte|size]]
 *
 * After the program of that name by Avadis Tevanian. Each process has files of its own, open in
 * four ways at once (read and write, read only, append, O_DIRECT) and in every folder; each
 * operation takes one way, and what it wrote is read in any. Two folders are two mounts of one
 * file system, which take turns by the dice.
 *
 * Offsets and lengths lean to what is cut: blocks, 64 KiB, chunks of 1 MiB, the end of the file.
 * With --files there are that many files with names that are linked, renamed, exchanged and
 * removed while the files are open; a file without a name goes on until it is closed.
 *
 * A difference is reported with the operations that touched its place and the last ones, and the
 * exit code is 1. The same seed and options do the same again. An operation that takes longer than
 * two minutes is a hang: reported, 2.
 *
 * --fault N spoils what operation N or the first after it that writes wrote, behind the back of
 * the copy: a byte, or the size. A run that does not report it would find nothing else either.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fsx.h"

#define PROCS_MAX 64
#define HANG_SECONDS 120
#define VERIFY_EACH 1500u

static struct options options = {
	.dir_count = 1,
	.ops = 10000,
	.seed = 1,
	.len_max_bytes = 3 * MIB + 12345,
	.direct_percent = 15,
	.files = 1,
	.procs = 1,
	.report = 40,
	.fault_kind = "byte",
};

static uint64_t *progress; /* of each process, shared */

static void *must_map(size_t len_bytes, int flags)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

static void run_ops(struct run *r)
{
	struct file *f;

	for (r->number = 1; r->number <= r->opt.ops; r->number++) {
		__atomic_store_n(r->progress, r->number, __ATOMIC_RELAXED);
		f = names_file(r);
		if (!f || (r->opt.files > 1 && chance(r, 15)))
			names_step(r);
		else
			file_step(r, f);
		if (r->number % VERIFY_EACH == 0)
			names_verify(r);
	}
}

static int child(unsigned index)
{
	static struct run run;
	struct run *r = &run;

	r->opt = options;
	r->opt.seed = options.seed + index;
	r->dice = r->opt.seed * 0x2545f4914f6cdd1dull;
	r->progress = &progress[index];
	snprintf(r->prefix, sizeof(r->prefix), "fsx.%" PRIu64 ".", r->opt.seed);
	r->buf = must_map(OP_BYTES_MAX + 2 * PAGE, MAP_PRIVATE);
	r->history = must_map(HISTORY * sizeof(*r->history), MAP_PRIVATE);
	for (unsigned i = 0; i < r->opt.files; i++)
		r->files[i].want = must_map(r->opt.len_max_bytes + PAGE, MAP_PRIVATE);
	names_start(r);
	run_ops(r);
	names_end(r);
	__atomic_store_n(r->progress, UINT64_MAX, __ATOMIC_RELAXED);
	return 0;
}

/* --- the parent --- */

static void report_hang(unsigned index, pid_t pid, uint64_t number)
{
	printf("fsx: seed %" PRIu64 ", operation %" PRIu64 " (process %d) takes longer than %d s\n",
	       options.seed + index, number, (int)pid, HANG_SECONDS);
	fflush(stdout);
}

/* The exit code of all: the worst. Children that make no progress are killed. */
static int wait_for(pid_t *pids)
{
	uint64_t last[PROCS_MAX] = { 0 };
	unsigned still[PROCS_MAX] = { 0 }, left = options.procs;
	const struct timespec second = { .tv_sec = 0, .tv_nsec = 100000000 };
	int worst = 0, status;

	while (left) {
		for (unsigned i = 0; i < options.procs; i++) {
			uint64_t at = __atomic_load_n(&progress[i], __ATOMIC_RELAXED);

			if (!pids[i])
				continue;
			if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
				int code = WIFEXITED(status) ? WEXITSTATUS(status) : 3;

				if (code == 3)
					printf("fsx: seed %" PRIu64 ", operation %" PRIu64
					       ": died of signal %d\n",
					       options.seed + i, at, WTERMSIG(status));
				worst = code > worst ? code : worst;
				pids[i] = 0;
				left--;
				continue;
			}
			still[i] = at == last[i] ? still[i] + 1 : 0;
			last[i] = at;
			if (still[i] == HANG_SECONDS * 10) {
				report_hang(i, pids[i], at);
				kill(pids[i], SIGKILL);
				worst = 2;
			} else if (still[i] == HANG_SECONDS * 10 + 50) {
				pids[i] = 0; /* it cannot even be killed */
				left--;
			}
		}
		nanosleep(&second, NULL);
	}
	return worst;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum {
	OPT_DIR2 = 256,
	OPT_OPS,
	OPT_SEED,
	OPT_LEN,
	OPT_DIRECT,
	OPT_FILES,
	OPT_PROCS,
	OPT_REPORT,
	OPT_FAULT,
	OPT_KIND
};

static const struct option long_options[] = {
	{ "dir2", required_argument, NULL, OPT_DIR2 },
	{ "ops", required_argument, NULL, OPT_OPS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "len", required_argument, NULL, OPT_LEN },
	{ "direct", required_argument, NULL, OPT_DIRECT },
	{ "files", required_argument, NULL, OPT_FILES },
	{ "procs", required_argument, NULL, OPT_PROCS },
	{ "report", required_argument, NULL, OPT_REPORT },
	{ "fault", required_argument, NULL, OPT_FAULT },
	{ "fault-kind", required_argument, NULL, OPT_KIND },
	{ NULL, 0, NULL, 0 },
};

static uint64_t number_of(const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (*end || end == text || n < least || n > most) {
		fprintf(stderr, "fsx: %s is not a number from %" PRIu64 " to %" PRIu64 "\n", text,
			least, most);
		exit(2);
	}
	return n;
}

static void take_option(int which, const char *value)
{
	switch (which) {
	case OPT_DIR2:
		options.dir[1] = value;
		options.dir_count = 2;
		break;
	case OPT_OPS:
		options.ops = number_of(value, 1, UINT64_MAX - 1);
		break;
	case OPT_SEED:
		options.seed = number_of(value, 0, UINT32_MAX);
		break;
	case OPT_LEN:
		options.len_max_bytes = number_of(value, 1, 1u << 30);
		break;
	case OPT_DIRECT:
		options.direct_percent = (unsigned)number_of(value, 0, 100);
		break;
	case OPT_FILES:
		options.files = (unsigned)number_of(value, 1, FILES_MAX);
		break;
	case OPT_PROCS:
		options.procs = (unsigned)number_of(value, 1, PROCS_MAX);
		break;
	case OPT_REPORT:
		options.report = (unsigned)number_of(value, 0, HISTORY - 1);
		break;
	case OPT_FAULT:
		options.fault = number_of(value, 1, UINT64_MAX);
		break;
	case OPT_KIND:
		options.fault_kind = value;
		break;
	default:
		exit(2);
	}
}

int main(int argc, char **argv)
{
	pid_t pids[PROCS_MAX];
	double start = now();
	int which, worst;

	while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(which, optarg);
	if (optind != argc - 1) {
		fprintf(stderr, "usage: fsx DIR [options]\n");
		return 2;
	}
	options.dir[0] = argv[optind];
	progress = must_map(PROCS_MAX * sizeof(*progress), MAP_SHARED);
	fflush(stdout);
	for (unsigned i = 0; i < options.procs; i++) {
		pids[i] = fork();
		if (pids[i] < 0) {
			perror("fork");
			return 2;
		}
		if (pids[i] == 0)
			exit(child(i));
	}
	worst = wait_for(pids);
	if (worst == 0)
		printf("operations %" PRIu64 " seconds %.1f\n", options.ops * options.procs,
		       now() - start);
	return worst;
}
