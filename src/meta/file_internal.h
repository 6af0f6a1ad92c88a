/*
 * What the files of file.c share (doc/design/data.md). Terms:
 *
 *	top	no chunk from this number on has ever had data. It is raised by a record of its own
 *before data goes further out, so that what a crash left past the size can be found: below top.
 *	clean	past the size there is nothing. True again, after a restart or a write that failed
 *half way, once all from size to top was trimmed. intent	trims that were asked for, and may
 *have to be asked for again after a crash.
 *
 * Chunk 0 is in the inode's own shard: its data, size and trims are in one record, and need none of
 *it.
 */
#ifndef CFS_META_FILE_INTERNAL_H
#define CFS_META_FILE_INTERNAL_H

#include "meta/file.h"
#include "meta/file_format.h"

#define CFS_FILE_INTENTS_MAX 4u
#define CFS_FILE_TRIM_DEPS_MAX 12u /* beside two chunks that a write may touch */

struct cfs_file_intent_state {
	uint64_t size, top, cut;
	uint64_t epoch, index; /* of its record; 0: of an earlier start */
	uint64_t tick;         /* when its trims were placed */
	bool is_done;          /* they were, in this start */
};

/* Beside an inode, while it is needed: in use, or with something to remember. */
struct cfs_file {
	uint64_t ino;
	struct cfs_list kept;     /* of all that have something to remember */
	struct cfs_list settling; /* of those whose trims wait to be stable */
	struct cfs_lock lock;     /* what grows, truncates, or allocates: one at a time */
	uint32_t users;
	uint32_t intent_count;
	uint64_t top;
	struct cfs_record_dep
		top_dep; /* the record that raised it; epoch 0: stable, or of before */
	uint64_t top_tick;
	bool is_clean;
	bool is_trim_dep_missing; /* more trims than fit: a sync comes before growth */
	uint32_t trim_count;
	struct cfs_record_dep trims[CFS_FILE_TRIM_DEPS_MAX]; /* of intents, not stable yet */
	struct cfs_file_intent_state intents[CFS_FILE_INTENTS_MAX];
};

/* A file that is gone, and whose chunks are not. */
struct cfs_file_drop {
	struct cfs_list link;
	uint64_t ino, seed, top;
};

/* Of a shard. */
struct cfs_files {
	struct cfs_meta *meta;
	struct cfs_list kept, settling; /* cfs_file */
	struct cfs_list drops;          /* cfs_file_drop */
	uint32_t drop_count;
	bool is_settling; /* the fiber that waits for what is stable runs */
	bool is_resumed;
};

static inline struct cfs_files *cfs_files_of(const struct cfs_meta *m)
{
	return m->files;
}

/* An inode in use, with its file's state. The pointers stay while it is open; i->is_gone must be
 * looked at after every await. */
struct cfs_file_use {
	struct cfs_inode *i;
	struct cfs_file *f;
};

/* file_state.c. 0; -ESTALE; -EISDIR, -EINVAL: no regular file; -ENOMEM. */
int cfs_file_use(struct cfs_meta *m, uint64_t ino, struct cfs_file_use *u);
void cfs_file_unuse(struct cfs_meta *m, struct cfs_file_use *u);
/* Starts the settling fiber when there is something for it. */
void cfs_file_settle_kick(struct cfs_meta *m);

static inline uint64_t cfs_file_next_cut(const struct cfs_meta *m, const struct cfs_inode *i)
{
	uint64_t floor = m->shard->epoch << 32;

	return (i->attr.cut > floor ? i->attr.cut : floor) + 1;
}

/* Room for an item that sets attributes, and what kill-priv adds. */
#define CFS_FILE_SET_BYTES 256u

/* st_blocks after a change; never below 0, where a change that is still to be told of would bring
 * it. */
static inline uint64_t cfs_file_blocks(const struct cfs_inode *i, int64_t change)
{
	int64_t blocks = (int64_t)i->attr.blocks + change;

	return blocks > 0 ? (uint64_t)blocks : 0;
}

static inline uint64_t cfs_file_chunks_of(uint64_t size_bytes)
{
	return (size_bytes + CFS_CHUNK_BYTES - 1) / CFS_CHUNK_BYTES;
}

/* mtime and ctime are now. */
static inline void cfs_file_set_times(const struct cfs_meta *m, struct cfs_attr_set *set)
{
	set->attr.mtime = (int64_t)cfs_meta_now(m);
	set->attr.ctime = set->attr.mtime;
	set->mask |= CFS_A_MTIME | CFS_A_CTIME;
}

static inline const struct cfs_chunk_ops *cfs_file_chunks(const struct cfs_meta *m, void **part)
{
	*part = m->shard->part[1];
	return m->shard->ops[1]->chunks;
}

/* file.c */

/* Room for the record of a truncate or an allocation. */
#define CFS_FILE_TRUNCATE_BYTES \
	(2 * CFS_FILE_SET_BYTES + 3 * CFS_FILE_ITEM_BYTES + CFS_CHUNK_ITEM_BYTES)
/* Files that were removed give their space back within moments: waits for some, @tries counts how
 * often. 0: try again; -ENOSPC; -ECANCELED. */
CFS_AWAITS int cfs_file_wait_for_space(struct cfs_meta *m, uint32_t *tries);

/* file_alloc.c: serves FALLOCATE. */
CFS_AWAITS int cfs_file_fallocate(struct cfs_meta *m, struct cfs_shard_request *rq);

/* file_copy.c: serves COPY. */
CFS_AWAITS int cfs_file_copy(struct cfs_meta *m, struct cfs_shard_request *rq);

/* file_trim.c */

/* Which shards hold chunks [first, end) of a file: a bit a shard. */
struct cfs_shard_set {
	uint32_t shards, count;
	uint64_t *bits;
};
int cfs_shard_set_init(struct cfs_shard_set *s, const struct cfs_meta *m, uint64_t ino,
		       uint64_t seed, uint64_t first, uint64_t end); /* 0; -ENOMEM */
void cfs_shard_set_fini(struct cfs_shard_set *s);
bool cfs_shard_set_has(const struct cfs_shard_set *s, uint32_t shard);
/* Calls @fn for each shard, several at a time; the first error ends it. */
CFS_AWAITS int cfs_shard_set_each(const struct cfs_shard_set *s,
				  int (*fn)(void *ctx, uint32_t shard), void *ctx);

/* What a record that trims has to do besides. */
struct cfs_trim_plan {
	int64_t blocks; /* by how much st_blocks changes with it */
	bool is_remote; /* it has an intent: cfs_file_trim_finish() is next */
};
/* Adds the trim of chunks from @size on, below chunk @top: this shard's own, and an intent for
 * others. Room: CFS_FILE_ITEM_BYTES + CFS_CHUNK_ITEM_BYTES. cfs_file_intent_room() came before.
 * Never suspends. */
void cfs_file_trim_items(struct cfs_meta *m, struct cfs_file_use *u, uint64_t size, uint64_t top,
			 uint64_t cut, struct cfs_items *it, struct cfs_trim_plan *out);
/* Makes sure that one more intent fits. The lock is held. */
CFS_AWAITS int cfs_file_intent_room(struct cfs_meta *m, struct cfs_file_use *u);
/* Sends the trims of the intent with @cut to the shards of @u's file other than its own, and
 * remembers what growth rests on. @blocks_out: by how much st_blocks changes. The lock is held. */
CFS_AWAITS int cfs_file_trim_run(struct cfs_meta *m, struct cfs_file_use *u, uint64_t cut,
				 int64_t *blocks_out);
/* The same for all intents that are not done, with a record of the blocks. */
CFS_AWAITS int cfs_file_trim_finish(struct cfs_meta *m, struct cfs_file_use *u);
/*
 * Before the file's size passes chunk 0: trims that a crash interrupted are finished, and what was
 * left past the size is trimmed. The lock is held. 0; -ESTALE; or what a call or a reservation
 * returned.
 */
CFS_AWAITS int cfs_file_grow_prepare(struct cfs_meta *m, struct cfs_file_use *u);
/* Before data goes to chunk @chunk (not 0): top is raised past it. The lock is held. */
CFS_AWAITS int cfs_file_top_raise(struct cfs_meta *m, struct cfs_file_use *u, uint64_t chunk);
/* What a record that moves the size past chunk 0 rests on, appended to @deps[@count]. */
uint32_t cfs_file_grow_deps(const struct cfs_meta *m, const struct cfs_file *f,
			    struct cfs_record_dep *deps, uint32_t count);

/* deps of a message, CFS_DEP_BYTES each. */
void cfs_deps_put(const struct cfs_record_dep *deps, uint32_t count, uint8_t *out);

#endif
