/*
 * Steps: what an operation wants of one shard's tables, as items. A step says what it expects to
 * find and what is to be; evaluating a list of steps against the tables gives results (items that
 * say what is), or the reason why not. The same steps serve an operation within one shard, a
 * coordinator's own part and a participant's.
 *
 * Travel in TX_PREPARE messages and are never in a record (doc/design/transactions.md).
 */
#ifndef CFS_META_TX_STEP_H
#define CFS_META_TX_STEP_H

#include "meta/acl.h"
#include "meta/meta_internal.h"

#define CFS_TX_KEYS_MAX 8u
/* Steps of one shard: at most 4 with a name, headers, and what a directory inherits. */
#define CFS_TX_STEPS_BYTES_MAX (2048u + CFS_ACL_ITEMS_BYTES)
/* Results of one shard's @steps_bytes: as much, and room for what steps make besides. */
static inline uint32_t cfs_tx_results_max(uint32_t steps_bytes)
{
	return 4096u + steps_bytes;
}

enum cfs_tx_step_kind {
	CFS_TX_FLOOR = 80,    /* the coordinator keeps nothing below this number */
	CFS_TX_LINK = 81,     /* put a dentry */
	CFS_TX_UNLINK = 82,   /* take a dentry out */
	CFS_TX_NLINK = 83,    /* one link of an inode more or less */
	CFS_TX_DIR_NEW = 84,  /* a directory's content half */
	CFS_TX_DIR_GONE = 85, /* it must be empty */
	CFS_TX_DIR_MOVE = 86, /* it has another name or parent */
	CFS_TX_ACCESS = 87,   /* a directory's access half, in its parent */
	CFS_TX_SET = 88,      /* attributes: an item CFS_META_SET's bytes */
	CFS_TX_EXPECT = 89,   /* permissions are still these */
	CFS_TX_ACL = 90,      /* an ACL: an item CFS_META_XATTR's bytes */
	CFS_TX_ACL_DEL = 91,  /* an item CFS_META_XATTR_DEL's bytes */
	CFS_TX_MOVED = 95,    /* an inode, no directory, has another name */
};

#define CFS_TX_F_EXCL 0x1u /* LINK: what is there already is an error of the request */

struct cfs_tx_link {
	uint64_t dir, expect; /* the number now under this name; 0: none */
	uint32_t flags;
	uint64_t time_ns;
	struct cfs_dentry_value value; /* its cookie is ignored */
};

struct cfs_tx_dir_move {
	uint64_t ino, parent;
	uint32_t mode, uid, gid; /* as the mover knows them */
	uint64_t time_ns;
	struct cfs_bytes name;
};

void cfs_tx_add_floor(struct cfs_items *it, uint64_t epoch, uint64_t count);
void cfs_tx_add_link(struct cfs_items *it, const struct cfs_tx_link *l);
void cfs_tx_add_unlink(struct cfs_items *it, uint64_t dir, uint64_t expect, struct cfs_bytes name,
		       uint64_t time_ns);
/* @delta 1 or -1. */
void cfs_tx_add_nlink(struct cfs_items *it, uint64_t ino, int32_t delta, uint64_t time_ns);
void cfs_tx_add_dir_new(struct cfs_items *it, const struct cfs_attr *attr, struct cfs_bytes name);
void cfs_tx_add_dir_gone(struct cfs_items *it, uint64_t ino);
void cfs_tx_add_dir_move(struct cfs_items *it, const struct cfs_tx_dir_move *m);
/* @d: the directory's number, permissions and name; in @dir. */
void cfs_tx_add_access(struct cfs_items *it, uint64_t dir, const struct cfs_dentry_value *d);
void cfs_tx_add_moved(struct cfs_items *it, uint64_t ino, uint64_t time_ns);
void cfs_tx_add_set(struct cfs_items *it, uint64_t ino, const struct cfs_attr_set *set);
/* Mode, owner and access ACL of @i are what they are now. */
void cfs_tx_add_expect(struct cfs_items *it, const struct cfs_inode *i);
/* An ACL of @ino by its attribute's name; @ino is there, or new by a step before. */
uint8_t *cfs_tx_add_acl(struct cfs_items *it, uint64_t ino, struct cfs_bytes name,
			struct cfs_bytes value); /* as cfs_meta_add_xattr() */
/* As cfs_acl_add_inherited(). */
void cfs_tx_add_inherited(struct cfs_items *it, uint64_t ino, uint32_t mode,
			  struct cfs_bytes value);
void cfs_tx_add_acl_del(struct cfs_items *it, uint64_t ino, struct cfs_bytes name);

struct cfs_tx_keys {
	uint64_t ino[CFS_TX_KEYS_MAX]; /* ascending, each once */
	uint32_t count;
};

/* What an evaluation tells besides its results. */
struct cfs_tx_seen {
	bool has_attr;
	struct cfs_attr attr; /* of the inode whose links changed, after */
	uint64_t floor_epoch, floor_count;
	uint64_t new_dir; /* of a DIR_NEW before; 0: none */
};

/* The keys that @steps need. 0; -CFS_EBAD_FORMAT: not a list of steps, or of too many keys. */
int cfs_tx_steps_keys(const uint8_t *steps, uint32_t len_bytes, struct cfs_tx_keys *out,
		      struct cfs_tx_seen *seen);
/*
 * Evaluates @steps and appends results to @out. @is_prepare: what takes away an inode is left to
 * the commit. Never suspends. 0; the reason why the request fails (-ENOTEMPTY, -EEXIST, -EMLINK,
 * -ESTALE, ...); -CFS_EAGAIN_LATER: it rests on what is no longer so, look again.
 */
int cfs_tx_steps_eval(struct cfs_meta *m, const uint8_t *steps, uint32_t len_bytes, bool is_prepare,
		      struct cfs_items *out, struct cfs_tx_seen *seen);
/* Adds the removal of what @results leave without links and not open. */
int cfs_tx_results_removals(struct cfs_meta *m, const uint8_t *results, uint32_t len_bytes,
			    struct cfs_items *out);
/* True when @results change this name of @dir. */
bool cfs_tx_results_have_name(const uint8_t *results, uint32_t len_bytes, uint64_t dir,
			      struct cfs_bytes name);

#endif
