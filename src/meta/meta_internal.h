/*
 * What the files of the meta part share: the part's state, and what an operation needs around its
 * change. How a change goes: settle the keys and reserve (may wait: cfs_meta_begin()); then,
 * without suspending, check, build items, commit.
 *
 * Keys are inode numbers: a directory stands for all its names. A key that a transaction has
 * prepared here may be decided already, so who changes it, or reads what the transaction changes,
 * waits for the outcome first (tx.h).
 */
#ifndef CFS_META_META_INTERNAL_H
#define CFS_META_META_INTERNAL_H

#include <errno.h>

#include "meta/meta.h"
#include "meta/meta_format.h"
#include "meta/table.h"

struct cfs_tx_table;
struct cfs_lease_table;

#define CFS_LEASE_SKIP UINT64_MAX /* for a session: the change is none that a lease covers */

/* So often a name is looked at again whose inode is gone; then it is an error. */
#define CFS_META_STALE_ROUNDS 64u

#define CFS_SERIALS_BLOCK 65536u

/* Numbers for new inodes: a block from shard 0. */
struct cfs_serials {
	uint64_t next, end;        /* of our block; equal: used up */
	struct cfs_record_dep dep; /* shard 0's record that gave it */
	bool has_dep;              /* no record of ours that rests on it yet */
	struct cfs_lock fetch;
	uint64_t next_block; /* shard 0: where the next block begins */
};

/* A rename that shard 0 carries out: a client that asks here again is sent there again. */
struct cfs_forward {
	struct cfs_list link;
	uint64_t session, seq;
};

struct cfs_meta {
	struct cfs_shard *shard;
	struct cfs_tables tables;
	struct cfs_serials serials;
	struct cfs_tx_table *tx;
	struct cfs_lease_table *leases;
	struct cfs_lock rename; /* shard 0: directories get another parent one at a time */
	struct cfs_list forwards;
	void *files;   /* file.c's */
	bool is_ready; /* all is loaded, locks are in place */
	struct cfs_meta_stats stats;
};

static inline uint64_t cfs_meta_now(const struct cfs_meta *m)
{
	return m->shard->env->hlc_now(m->shard->env->ctx);
}

static inline bool cfs_meta_is_home(const struct cfs_meta *m, uint64_t ino)
{
	return cfs_ino_home(ino) == m->shard->id;
}

/*
 * Waits until no prepared transaction holds @ino (a number that need not exist). 0; -ECANCELED;
 * -ETIMEDOUT. What was read from the tables before is stale after. Free when nothing is prepared.
 */
CFS_AWAITS int cfs_meta_settle(struct cfs_meta *m, uint64_t ino);
bool cfs_meta_is_settled(const struct cfs_meta *m, uint64_t ino);

/*
 * Before a change by @session: settles @ino and @ino2 (0: none), recalls leases on them that are in
 * its way, and reserves room for a record of @bytes. On return nothing is held that the caller did
 * not ask for, and until it suspends the keys stay free. cfs_meta_end() gives the rest of the
 * reservation back, in every case of 0.
 */
CFS_AWAITS int cfs_meta_begin(struct cfs_meta *m, uint64_t session, uint64_t ino, uint64_t ino2,
			      uint32_t bytes, bool is_freeing);
void cfs_meta_end(struct cfs_meta *m, uint32_t bytes, bool is_freeing);

/* The inode of a request: NULL with *@rc -ESTALE (gone, or never here). */
static inline struct cfs_inode *cfs_meta_inode(struct cfs_meta *m, uint64_t ino, int *rc)
{
	struct cfs_inode *i = cfs_inode_find(&m->tables, ino);

	if (!i)
		*rc = -ESTALE;
	return i;
}
/* What FSYNC, WRITE and so on put in a reply: @attr in scratch. */
void cfs_meta_reply_attr(struct cfs_shard_request *rq, const struct cfs_attr *attr);

/* What a change of contents takes away, whoever makes it: security.capability. Adds an item; none
 * when there is nothing to take. */
void cfs_meta_kill_cap(const struct cfs_inode *i, struct cfs_items *it);
/* What a change of owner takes away too, and one of contents by a caller who may not set them:
 * set-uid, and set-gid with group execution. Updates @set besides. */
void cfs_meta_kill_priv(const struct cfs_inode *i, struct cfs_attr_set *set, struct cfs_items *it);

/* atime.c: @session has read @ino, which need not be here: its access time is seen to. Does not
 * wait for anybody's lease. */
CFS_AWAITS void cfs_meta_accessed(struct cfs_meta *m, uint64_t ino, uint64_t session);
/* Whether a read now changes it; adds the item that does. */
bool cfs_meta_atime_is_due(struct cfs_meta *m, const struct cfs_inode *i);
void cfs_meta_add_atime(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it);

/* Adds the items that take away @i (no directory, nlink 0 and not open after @it): its inode and
 * its chunks. */
void cfs_meta_add_removal(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it);

/* A name for a new dentry: 0; -EINVAL: empty, '/' or 0 in it; -ENAMETOOLONG; -EEXIST: "." and "..".
 */
int cfs_meta_check_name(struct cfs_bytes name);
static inline bool cfs_meta_is_dots(struct cfs_bytes n)
{
	return n.len > 0 && n.len <= 2 && n.p[0] == '.' && n.p[n.len - 1] == '.';
}

/* Waits a little before an operation is built anew, the longer the more often. 0; -ECANCELED;
 * -ETIMEDOUT; -CFS_EAGAIN_LATER: often enough. @round counts from 0. */
CFS_AWAITS int cfs_meta_again(uint32_t round);

/* Sends @msg to another shard. 0 with *@out to be ended by cfs_net_reply_fini(); the reply's code
 * or that of the call, nothing to be ended. */
CFS_AWAITS int cfs_meta_call(struct cfs_meta *m, uint32_t shard, struct cfs_msg *msg,
			     struct cfs_net_reply *out);
/* Attributes, wherever the inode is. -ESTALE. */
CFS_AWAITS int cfs_meta_getattr(struct cfs_meta *m, uint64_t ino, struct cfs_attr *out);
/*
 * Permissions of a directory that is not the root, in both halves: @set, and its access ACL: @acl,
 * empty to have none, NULL to have the present one follow the mode. @i must not have been waited
 * with. Returns as cfs_tx_run(); a SETATTR is answered with the attributes.
 */
CFS_AWAITS int cfs_meta_set_dir(struct cfs_meta *m, struct cfs_shard_request *rq,
				const struct cfs_inode *i, const struct cfs_attr_set *set,
				const struct cfs_bytes *acl);
/* A dentry, wherever the directory is: number, type, place; what is prepared there is awaited.
 * -ENOENT; -ENOTDIR; -ESTALE. */
CFS_AWAITS int cfs_meta_look(struct cfs_meta *m, uint64_t dir, struct cfs_bytes name,
			     struct cfs_dentry_value *out);
/* A directory's present parent, wherever it is. */
CFS_AWAITS int cfs_meta_parent(struct cfs_meta *m, uint64_t dir, uint64_t *parent);

/* A number for an inode born here or, a directory, in @home. May wait for shard 0: before checks.
 */
CFS_AWAITS int cfs_serials_fill(struct cfs_meta *m);
uint64_t cfs_serials_take(struct cfs_meta *m, uint32_t home); /* 0: fill first */
CFS_AWAITS int cfs_serials_serve(struct cfs_meta *m, struct cfs_shard_request *rq);

/* checkpoint.c: what is written, in pieces of many items. */
struct cfs_meta_writer {
	struct cfs_checkpoint *c;
	struct cfs_items it;
	uint8_t *buf; /* CFS_RECORD_BYTES_MAX; the caller's */
};
/* Writes out what has come together, when there are @from_bytes of it. */
CFS_AWAITS int cfs_meta_writer_flush(struct cfs_meta_writer *w, uint32_t from_bytes);
CFS_AWAITS int cfs_meta_write_inode(struct cfs_meta_writer *w, struct cfs_inode *i);

/* rename.c */
int cfs_forward_apply(struct cfs_meta *m, const struct cfs_item *item);
void cfs_forwards_fini(struct cfs_meta *m);
void cfs_forwards_add(const struct cfs_meta *m,
		      struct cfs_items *it); /* all, as items; up to what fits */
CFS_AWAITS void cfs_forwards_session_end(struct cfs_meta *m, uint64_t session);

/* Requests, by file: name.c, rename.c, attr.c, xattr.c, readdir.c. */
CFS_AWAITS int cfs_meta_serve_lookup(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_create(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_mkdir(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_unlink(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_rmdir(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_link(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_rename(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_getattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_setattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_readlink(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_open(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_release(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_parent(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_getxattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_setxattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_listxattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_removexattr(struct cfs_meta *m, struct cfs_shard_request *rq);
CFS_AWAITS int cfs_meta_serve_readdir(struct cfs_meta *m, struct cfs_shard_request *rq);
/* Takes one open of @session away (all of them: @is_all), and the inode with it if it was the last
 * of an orphan. */
CFS_AWAITS int cfs_meta_close(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino,
			      uint64_t session, bool is_all);

#endif
