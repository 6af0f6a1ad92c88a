/*
 * The namespace tables of one shard: inodes by number, dentries by (directory, name) and, for each
 * directory, by cookie (doc/design/namespace.md).
 *
 * A table is the result of items: only apply() of the meta part changes it, nothing else assigns a
 * field of what is on the log. Everything that belongs to a directory is in one shard, so a dentry
 * points at its directory's inode; the inode that it names may be elsewhere. All memory here
 * belongs to the tables; a fiber that keeps a pointer over an await pins the inode and looks at
 * is_gone afterwards.
 */
#ifndef CFS_META_TABLE_H
#define CFS_META_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rb.h"
#include "proto/msg.h"

struct cfs_lock_table; /* lock.h */
struct cfs_inode_locks;
struct cfs_file; /* file.h: growth lock and intentions of one regular file */

#define CFS_LINKS_MAX 65535u
#define CFS_XATTRS_BYTES_MAX (128u * 1024) /* names and values of one inode */
#define CFS_COOKIE_DOT 1ull
#define CFS_COOKIE_DOTDOT 2ull
#define CFS_COOKIE_FIRST 16ull /* cookies of names are from here to INT64_MAX */

/* One extended attribute: the name, then the value. */
struct cfs_xattr {
	struct cfs_xattr *next;
	uint32_t value_bytes;
	uint8_t name_bytes;
	uint8_t bytes[];
};

struct cfs_opens {
	uint32_t count, writes; /* writes: of these for writing */
};

/* How often one session has an inode open. */
struct cfs_open {
	struct cfs_open *next;
	uint64_t session;
	struct cfs_opens n; /* its count is never 0 */
};

/* What only a directory has. */
struct cfs_dir {
	struct cfs_rb by_cookie;
	uint32_t entries, subdirs; /* follow from the dentries */
	uint32_t name_bytes;       /* own name in attr.parent; root has none */
	char name[CFS_NAME_BYTES_MAX + 1];
};

/*
 * An inode whose home this shard is. attr.nlink of a directory is kept at 2 + subdirs, attr.size at
 * its entries; for others both are as the items said. CFS_IFLAG_ACL follows from the xattrs. An
 * inode that is no directory and has nlink 0 is an orphan: it stays while somebody has it open.
 */
struct cfs_inode {
	struct cfs_inode *hash_next;
	struct cfs_list all; /* cfs_tables.inodes: oldest last */
	struct cfs_attr attr;
	struct cfs_xattr *xattrs;
	struct cfs_open *opens;
	struct cfs_dir *dir; /* of directories */
	char *target;        /* of symbolic links, with a terminating 0; its length is attr.size */
	struct cfs_file *file;         /* file.c's; NULL until it is needed */
	struct cfs_inode_locks *locks; /* lock.c's; NULL: nobody locks it */
	uint32_t pins;
	uint32_t xattr_bytes;
	bool is_gone; /* removed from the tables; freed with the last pin */
};

/* A dentry. For a directory it is the access half too: place and permissions, for walks. */
struct cfs_dentry {
	struct cfs_dentry *hash_next;
	struct cfs_inode *dir;
	struct cfs_rb_node by_cookie;
	uint64_t cookie, ino, place;
	uint32_t mode, uid, gid; /* of others than directories only S_IFMT, 0, 0 */
	uint8_t name_bytes;
	char name[];
};

struct cfs_tables {
	struct cfs_inode **inode_slots;
	struct cfs_dentry **dentry_slots;
	uint64_t inode_count, inode_slot_count; /* slots: a power of two */
	uint64_t dentry_count, dentry_slot_count;
	struct cfs_list inodes; /* newest first, so that a walk from old to new ends */
	uint64_t seed;          /* of the dentry hash; random, per process */
	struct cfs_lock_table *locks;
	/* Test only: all cookies are this modulo, so that they collide; 0: no. */
	uint64_t cookie_modulo;
};

int cfs_tables_init(struct cfs_tables *t); /* 0; -ENOMEM */
void cfs_tables_fini(struct cfs_tables *t);

/* --- inodes --- */

struct cfs_inode *cfs_inode_find(const struct cfs_tables *t, uint64_t ino); /* NULL: not here */
/* Cheap; what it is: acl.h. */
static inline bool cfs_inode_has_acl(const struct cfs_inode *i)
{
	return i->attr.iflags & CFS_IFLAG_ACL;
}
static inline bool cfs_inode_is_dir(const struct cfs_inode *i)
{
	return i->dir != NULL;
}
bool cfs_inode_is_open(const struct cfs_inode *i);
bool cfs_inode_is_written(const struct cfs_inode *i); /* open for writing */
struct cfs_opens cfs_inode_opens(const struct cfs_inode *i, uint64_t session);
/* Keeps the memory over an await. */
void cfs_inode_pin(struct cfs_inode *i);
void cfs_inode_unpin(struct cfs_inode *i);

/* Puts an inode with @attr in, or replaces the attributes of the one that is there. -ENOMEM;
 * -CFS_EBAD_FORMAT: it was of another type. */
int cfs_inode_put(struct cfs_tables *t, const struct cfs_attr *attr, struct cfs_inode **out);
/* Takes it out with all that hangs on it (dentries too: at replay they may still be there). */
void cfs_inode_remove(struct cfs_tables *t, struct cfs_inode *i);
int cfs_inode_set_target(struct cfs_inode *i, const void *target, uint32_t bytes);
/* A count of 0 takes it out. */
int cfs_inode_set_open(struct cfs_inode *i, uint64_t session, struct cfs_opens n);

const struct cfs_xattr *cfs_xattr_find(const struct cfs_inode *i, const void *name,
				       uint32_t name_bytes);
int cfs_xattr_put(struct cfs_inode *i, const void *name, uint32_t name_bytes, const void *value,
		  uint32_t value_bytes);
void cfs_xattr_remove(struct cfs_inode *i, const void *name, uint32_t name_bytes);

/* --- dentries --- */

struct cfs_dentry *cfs_dentry_find(const struct cfs_tables *t, const struct cfs_inode *dir,
				   const void *name, uint32_t name_bytes);
/* The first of @dir whose cookie is above @cookie; NULL: none. */
struct cfs_dentry *cfs_dentry_after(const struct cfs_inode *dir, uint64_t cookie);
/* A cookie for a new name: its hash, made unique in @dir. Changes nothing. */
uint64_t cfs_dentry_cookie(const struct cfs_tables *t, const struct cfs_inode *dir,
			   const void *name, uint32_t name_bytes);

struct cfs_dentry_value {
	uint64_t cookie, ino, place;
	uint32_t mode, uid, gid;
	struct cfs_bytes name;
};
/*
 * Puts or replaces; counts of the directory follow. Where another name has the cookie, that one is
 * taken out if @may_evict: at replay over a checkpoint that is ahead, a later record brings it
 * back. -ENOMEM; -CFS_EBAD_FORMAT: the cookie is another name's.
 */
int cfs_dentry_put(struct cfs_tables *t, struct cfs_inode *dir, const struct cfs_dentry_value *v,
		   bool may_evict);
void cfs_dentry_remove(struct cfs_tables *t, struct cfs_dentry *d);

/* Checks counts, trees and links of everything; for tests and fsck. */
void cfs_tables_check(const struct cfs_tables *t, void (*report)(void *ctx, const char *what),
		      void *ctx);

#endif
