/*
 * A snapshot: the whole file system as one client reads it, by names from the root. Nobody changes
 * it meanwhile. Names, attributes and contents; what a hard link names is there once.
 */
#ifndef CFS_TESTS_SIM_SNAP_H
#define CFS_TESTS_SIM_SNAP_H

#include "model.h"

struct snap_dentry {
	char name[MODEL_NAME_MAX];
	uint64_t ino;
	uint32_t mode; /* type only */
};

struct snap_inode {
	struct snap_inode *next;
	uint64_t ino;
	uint32_t id; /* order in which it was found, from 0 */
	struct m_attr attr;
	uint32_t nlink, names; /* as it says; as were found */
	int64_t mtime, ctime;
	struct snap_inode *parent; /* of a directory: where it was found */
	char name[MODEL_NAME_MAX]; /* as it was found first */
	char *target;
	uint8_t *data; /* up to MODEL_DATA_MAX */
	uint64_t data_bytes;
	struct snap_dentry *dentries;
	uint32_t count, cap;
};

struct snap {
	struct snap_inode *inodes, *last, *root;
	uint32_t inode_count, dentry_count;
};

/* Reads all; what contradicts itself is a finding. */
CFS_AWAITS struct snap *snap_take(struct sim *s);
void snap_destroy(struct snap *p);
struct snap_inode *snap_find(const struct snap *p, uint64_t ino); /* NULL */
const struct snap_dentry *snap_look(const struct snap_inode *dir, const char *name);

#endif
