/* Measuring a file system through its mount (cfs bench). */
#ifndef CFS_CLI_BENCH_H
#define CFS_CLI_BENCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"

/* How much is done; the same for every folder that is compared. */
struct bench_plan {
	uint64_t file_bytes; /* of the big file; whole MiB */
	uint32_t files;      /* of the metadata part */
	uint64_t part_ns;    /* of each part that runs for a time */
	uint64_t seed;
};

/* One folder under test. */
struct bench_place {
	const struct bench_plan *plan;
	char dir[PATH_MAX]; /* of our own, removed at the end */
	int dir_fd;
	uint8_t *piece; /* 1 MiB of bytes that do not compress, page-aligned */
	uint64_t dice;
	void (*progress)(const char *part, uint64_t done, uint64_t total); /* NULL: none */
};

struct bench_result {
	const char *name;
	const char *unit; /* "MiB/s", "op/s" */
	double value;
	uint64_t count; /* operations */
	uint64_t ns;    /* all together */
	struct cfs_hist latency;
};

/* A part: measures one thing. 0; -errno: it failed; -EINTR: interrupted. */
struct bench_part {
	const char *name;
	const char *unit;
	const char *help;
	int (*run)(struct bench_place *p, struct bench_result *r);
};

/* In the order in which they must run (each finds what those before left); ended by one without a
 * name. */
extern const struct bench_part bench_parts[];

/* Makes a folder of our own in @parent. 0; -errno. */
int bench_place_init(struct bench_place *p, const struct bench_plan *plan, const char *parent);
/* Removes all that was made; copes with a half-made one. */
void bench_place_fini(struct bench_place *p);
/* Set by SIGINT and SIGTERM: parts end early with -EINTR. */
extern volatile bool bench_is_interrupted;

#endif
