/* Paths for the library: from names to inode numbers, one lookup a part, links followed. */
#ifndef CFS_CLIENT_WALK_H
#define CFS_CLIENT_WALK_H

#include "client/client.h"

#define CFS_WALK_LINKS_MAX 40u /* as in path_resolution(7) */

/* Where a path ends. */
struct cfs_walk {
	uint64_t dir;                      /* the last part's directory */
	char last[CFS_NAME_BYTES_MAX + 1]; /* the last part; "" for the root, "." or ".." */
	bool exists;
	struct cfs_attr attr; /* if it exists */
};

/*
 * Follows @path from the root, and a link at its end too if @follows. A last part that does not
 * exist is no error. -ENOENT: a part before it does not exist, or @path is empty; -ENOTDIR; -ELOOP;
 * -ENAMETOOLONG.
 */
CFS_AWAITS int cfs_walk(struct cfs_client_op *op, const char *path, bool follows,
			struct cfs_walk *out);

#endif
