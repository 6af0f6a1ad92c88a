/*
 * Intrusive red-black tree (Cormen et al., chapter 13). The caller searches: it walks from root by
 * its own comparison, then links and rebalances. Nodes are owned by whoever embeds them.
 */
#ifndef CFS_BASE_RB_H
#define CFS_BASE_RB_H

#include <stdbool.h>
#include <stddef.h>

struct cfs_rb_node {
	struct cfs_rb_node *parent, *left, *right;
	bool is_red;
};

struct cfs_rb {
	struct cfs_rb_node *root;
};

/* Links @n below @parent at *@link (NULL parent: the root) and rebalances. */
void cfs_rb_insert(struct cfs_rb *t, struct cfs_rb_node *n, struct cfs_rb_node *parent,
		   struct cfs_rb_node **link);
void cfs_rb_remove(struct cfs_rb *t, struct cfs_rb_node *n);
struct cfs_rb_node *cfs_rb_first(const struct cfs_rb *t);
struct cfs_rb_node *cfs_rb_next(const struct cfs_rb_node *n);
struct cfs_rb_node *cfs_rb_prev(const struct cfs_rb_node *n);

#endif
