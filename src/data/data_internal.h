/* What the files of the data part share. */
#ifndef CFS_DATA_DATA_INTERNAL_H
#define CFS_DATA_DATA_INTERNAL_H

#include "data/chunk.h"
#include "data/data.h"

#define CFS_DATA_PATCH_MAX_DEFAULT (64ull * 1024 * 1024)

/* Of one core, shared by the data parts there: the budget for patches. */
struct cfs_data_core {
	uint32_t refs;
	uint64_t patch_bytes; /* of all parts */
	struct cfs_list parts;
	struct cfs_waitq room; /* writers wait while patches take twice their budget */
	bool is_stuck;         /* the last merge found no space */
};

struct cfs_data {
	struct cfs_shard *shard;
	struct cfs_data_core *core;
	struct cfs_list core_link;
	struct cfs_chunk_table table;
	struct cfs_data_stats stats;
	bool is_merging; /* a fiber is at it */
	bool is_resumed; /* merging may start */
};

static inline struct cfs_data *cfs_data_of(const struct cfs_shard *sh)
{
	return sh->part[1];
}

static inline uint64_t cfs_data_patch_max(const struct cfs_data *d)
{
	uint64_t max = d->shard->env->patch_max_bytes;

	return max ? max : CFS_DATA_PATCH_MAX_DEFAULT;
}

/* Sets @rq's cut and says -CFS_EOLD_CUT when the request's is older than this shard's. */
int cfs_data_cut_check(struct cfs_data *d, struct cfs_shard_request *rq);

/* range.c */
CFS_AWAITS int cfs_data_serve_zero(struct cfs_data *d, struct cfs_shard_request *rq);
int cfs_data_serve_seek(struct cfs_data *d, struct cfs_shard_request *rq);

/* read.c */
CFS_AWAITS int cfs_data_serve_read(struct cfs_data *d, struct cfs_shard_request *rq);
/* Reads blocks of a chunk as they are now, all of one version, into page-aligned @to: extents
 * verified, patches laid over, zeros in holes. @crcs_out[count], may be NULL. 0; -EIO; -ENOMEM. */
CFS_AWAITS int cfs_data_read_blocks(struct cfs_data *d, const struct cfs_chunk *c, uint32_t block,
				    uint32_t count, uint8_t *to, uint32_t *crcs_out);

/* write.c */
CFS_AWAITS int cfs_data_write_begin(void *part, struct cfs_chunk_write *w);
int cfs_data_write_items(void *part, struct cfs_chunk_write *w, struct cfs_items *it);
void cfs_data_write_end(void *part, struct cfs_chunk_write *w);
CFS_AWAITS int cfs_data_serve_write(struct cfs_data *d, struct cfs_shard_request *rq);

/* clone.c */
CFS_AWAITS int cfs_data_clone_begin(void *part, struct cfs_chunk_clone *c);
int cfs_data_clone_items(void *part, struct cfs_chunk_clone *c, struct cfs_items *it);
void cfs_data_clone_end(void *part, struct cfs_chunk_clone *c);
CFS_AWAITS int cfs_data_serve_clone(struct cfs_data *d, struct cfs_shard_request *rq);

/* merge.c: patches become blocks, in the background. */
void cfs_data_merge_kick(struct cfs_data *d);           /* patches have come; never suspends */
CFS_AWAITS int cfs_data_patch_room(struct cfs_data *d); /* before they come; -ENOSPC */
/* All patches of one chunk, now. 0; -EAGAIN: it changes all the time; -ENOSPC; -EIO; ... */
CFS_AWAITS int cfs_data_merge_chunk(struct cfs_data *d, uint64_t ino, uint64_t chunk);

#endif
