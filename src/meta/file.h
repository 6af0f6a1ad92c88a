/*
 * Contents of regular files as their inode sees them: size, cut, times, blocks; writes, truncates,
 * allocation, sync; and the removal of chunks of files that are gone (doc/design/data.md). Chunks
 * themselves are the data part's.
 */
#ifndef CFS_META_FILE_H
#define CFS_META_FILE_H

#include "meta/meta_internal.h"

/* Serves WRITE, WROTE, FALLOCATE, COPY, FSYNC. */
CFS_AWAITS int cfs_file_serve(struct cfs_meta *m, struct cfs_shard_request *rq);

/*
 * Sets the size of regular file @ino, and in the same record the attributes of @more (its mask may
 * be 0; mtime and ctime are set to now where it does not). @kills_priv: set-uid, set-gid and
 * security.capability go too (cfs_meta_kill_priv()). @rq: gets the attributes after in its reply,
 * and the record is its answer; NULL: no answer, the caller's record follows. It waits by itself
 * for what is prepared on @ino. 0; -ESTALE; -EINVAL, -EISDIR: no regular file; -EFBIG; -ENOSPC;
 * -EIO.
 */
CFS_AWAITS int cfs_file_truncate(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t session,
				 uint64_t ino, uint64_t size, const struct cfs_attr_set *more,
				 bool kills_priv);

/*
 * Sets @iflags (CFS_IFLAG_ bits; others stay) of regular file @ino with a new cut that all its
 * shards know on return, so that no client goes on writing by what it knew before. No answer: the
 * caller's record follows. 0; -ESTALE; -EINVAL; or what a call or a reservation returned.
 */
CFS_AWAITS int cfs_file_fence(struct cfs_meta *m, uint64_t ino, uint32_t iflags);

/* Adds to @it, the record that removes @i, what makes its chunks go once that record is stable.
 * Never suspends. */
void cfs_file_dropped(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it);

/* Kinds CFS_META_FILE_FIRST..CFS_META_FILE_LAST of meta_format.h. */
int cfs_file_apply(struct cfs_meta *m, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		   bool is_load);
/* The items that bring back what it holds for all files (intentions). */
CFS_AWAITS int cfs_file_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c);
CFS_AWAITS int cfs_file_resume(struct cfs_meta *m);

int cfs_file_create(struct cfs_meta *m, void **state_out); /* kept in m->files */
void cfs_file_destroy(struct cfs_meta *m, void *state);
void cfs_file_free(struct cfs_file *f); /* of an inode whose memory goes; NULL is fine */

/* The record that raised how far @ino's data may reach, while a power cut may still take it. */
bool cfs_file_unstable_top(const struct cfs_meta *m, uint64_t ino, uint64_t *index_out);

#endif
