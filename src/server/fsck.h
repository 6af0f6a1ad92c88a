/*
 * Offline check of a volume's stores: reads everything and changes nothing (doc/design/fsck.md).
 * Superblocks, segments, journal, checkpoints, tails; every data block against its checksums;
 * tables against each other: dentries and inodes, link counts, directories' parents, what nothing
 * reaches, extents that overlap, space accounting, unfinished transactions.
 */
#ifndef CFS_SERVER_FSCK_H
#define CFS_SERVER_FSCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"

struct cfs_sim_disk;

struct cfs_fsck_opts {
	const char *const *paths;
	uint32_t path_count;
	struct cfs_sim_disk *const *disks; /* simulation: instead of paths */
	const char *tail_dir;
	bool is_data_skipped; /* tables only */
	/* A finding in words: what is hit (path, inode, offset) and what follows. */
	void (*finding)(void *ctx, const char *what);
	void (*progress)(void *ctx, const char *phase, uint64_t done,
			 uint64_t total); /* NULL: none */
	void *ctx;
};

struct cfs_fsck_result {
	uint64_t findings, shards, inodes, dentries, extents, data_blocks, records;
};

/* Runs on one core, in a fiber. 0: it ran, see @out->findings; negative: it could not (not a store,
 * in use, ...). */
CFS_AWAITS int cfs_fsck_run(const struct cfs_fsck_opts *opts, struct cfs_fsck_result *out,
			    char *err_out, uint32_t err_bytes);

#endif
