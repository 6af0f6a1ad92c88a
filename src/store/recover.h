/* Inside of recovery: what a scan finds out, and load uses. */
#ifndef CFS_STORE_RECOVER_H
#define CFS_STORE_RECOVER_H

#include "store/stream.h"

#define CFS_RECOVER_CANDIDATES 4u

/* What a segment header says, for each zone. */
struct cfs_found_segment {
	bool is_good;
	bool is_doubtful; /* its header is a copy, or its roots are bad */
	bool has_no_roots;
	struct cfs_segment_header h;
};

struct cfs_found_cut {
	uint64_t pos, last_index, last_epoch;
	uint64_t void_from; /* and what is from here up to the cut; UINT64_MAX: nothing */
	uint32_t next;      /* of the same shard, older; UINT32_MAX: none */
};

/* A shard as the journal shows it. */
struct cfs_found_shard {
	bool has_base;    /* a root of it, with a checkpoint or without */
	bool is_base_new; /* it is a checkpoint that counted since the newest segment was opened */
	bool is_seen;     /* records of it */
	bool has_ended;   /* a gap: what follows is void, until a cut says so itself */
	bool has_lost;    /* a cut is to be placed for it */
	uint32_t cuts;    /* the newest, or UINT32_MAX */
	uint32_t candidate_count;
	struct cfs_root base; /* what lies before its replay_pos says nothing, base or not */
	struct cfs_root candidates[CFS_RECOVER_CANDIDATES]; /* oldest first */
	uint64_t gap_pos;                                   /* where it has ended */
	uint64_t first_index;                               /* of the first record seen */
	uint64_t last_index, last_epoch;
};

#define CFS_RECOVER_DAMAGES 16u

struct cfs_recovery {
	struct cfs_found_segment *found; /* [zones] */
	struct cfs_journal_segment *chain;
	uint32_t chain_count;
	uint8_t *bitmap;               /* free zones as of that segment */
	uint64_t roots_seq, roots_pos; /* of the segment that roots and bitmap are from */
	uint64_t start_pos, end_pos;   /* of what was read */
	uint64_t incarnation, session; /* at the end */
	uint64_t device_session;       /* of the last batch on the device */
	uint64_t known, stable;
	struct {
		uint64_t from, to;
	} damages[CFS_RECOVER_DAMAGES]; /* positions that could not be read */
	uint32_t damage_count;
	struct cfs_found_shard *shards;
	struct cfs_found_cut *cuts;
	uint32_t cut_count, cut_cap;
	uint32_t *known_shards; /* those with records or a root */
	uint32_t known_count;
	struct cfs_stream_map map;
	bool had_tail;
	const struct cfs_store_recovery_ops *ops;
};

CFS_PRINTF(2, 3) void cfs_recover_say(struct cfs_recovery *r, const char *fmt, ...);
/* True when the record of @shard at @pos was cut off later, or lies behind the shard's end. */
bool cfs_recover_is_void(const struct cfs_recovery *r, uint32_t shard, uint64_t pos,
			 uint64_t index);
/*
 * The checkpoint that the shard's replay starts from, or NULL: its base, or one that has not
 * counted yet, unless the log lost something. That is then of no use any more: a cut says so, and
 * whatever else it may hold is not looked into. The base and what it needs are still there.
 */
const struct cfs_root *cfs_recover_root(const struct cfs_found_shard *fs);
/* Where the stream is written on: segments that begin behind it are not kept. */
uint64_t cfs_recover_written(const struct cfs_store *s, const struct cfs_recovery *r);
/* Decodes @rec for the layer above. @deps has room for CFS_RECORD_DEPS_MAX. */
int cfs_recover_record(const struct cfs_stream_record *rec, struct cfs_record_dep *deps,
		       struct cfs_record *out);

#endif
