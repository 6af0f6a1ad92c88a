/*
 * Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", chapter 13, without its sentinel:
 * a NULL child is black, so removal carries the parent of the place that lost a black node.
 */
#include "base/rb.h"

#include "base/assert.h"

static bool is_red(const struct cfs_rb_node *n)
{
	return n && n->is_red;
}

/* Puts @to where @from is in its parent. */
static void replace_child(struct cfs_rb *t, struct cfs_rb_node *from, struct cfs_rb_node *to)
{
	if (!from->parent)
		t->root = to;
	else if (from->parent->left == from)
		from->parent->left = to;
	else
		from->parent->right = to;
	if (to)
		to->parent = from->parent;
}

static void rotate_left(struct cfs_rb *t, struct cfs_rb_node *n)
{
	struct cfs_rb_node *up = n->right;

	n->right = up->left;
	if (up->left)
		up->left->parent = n;
	replace_child(t, n, up);
	up->left = n;
	n->parent = up;
}

static void rotate_right(struct cfs_rb *t, struct cfs_rb_node *n)
{
	struct cfs_rb_node *up = n->left;

	n->left = up->right;
	if (up->right)
		up->right->parent = n;
	replace_child(t, n, up);
	up->right = n;
	n->parent = up;
}

void cfs_rb_insert(struct cfs_rb *t, struct cfs_rb_node *n, struct cfs_rb_node *parent,
		   struct cfs_rb_node **link)
{
	cfs_assert(*link == NULL);
	n->parent = parent;
	n->left = n->right = NULL;
	n->is_red = true;
	*link = n;
	while (is_red(n->parent)) {
		struct cfs_rb_node *dad = n->parent, *grand = dad->parent;
		bool dad_is_left = grand->left == dad;
		struct cfs_rb_node *uncle = dad_is_left ? grand->right : grand->left;

		if (is_red(uncle)) {
			dad->is_red = uncle->is_red = false;
			grand->is_red = true;
			n = grand;
			continue;
		}
		if (dad_is_left && n == dad->right) {
			rotate_left(t, dad);
			dad = n;
		} else if (!dad_is_left && n == dad->left) {
			rotate_right(t, dad);
			dad = n;
		}
		dad->is_red = false;
		grand->is_red = true;
		if (dad_is_left)
			rotate_right(t, grand);
		else
			rotate_left(t, grand);
		break;
	}
	t->root->is_red = false;
}

/* The place @n below @parent (NULL is a place too) is one black node short. */
static void remove_fixup(struct cfs_rb *t, struct cfs_rb_node *n, struct cfs_rb_node *parent)
{
	while (n != t->root && !is_red(n)) {
		bool is_left = parent->left == n;
		struct cfs_rb_node *sib = is_left ? parent->right : parent->left;
		struct cfs_rb_node *near, *far;

		if (sib->is_red) {
			sib->is_red = false;
			parent->is_red = true;
			if (is_left)
				rotate_left(t, parent);
			else
				rotate_right(t, parent);
			sib = is_left ? parent->right : parent->left;
		}
		near = is_left ? sib->left : sib->right;
		far = is_left ? sib->right : sib->left;
		if (!is_red(near) && !is_red(far)) {
			sib->is_red = true;
			n = parent;
			parent = n->parent;
			continue;
		}
		if (!is_red(far)) {
			near->is_red = false;
			sib->is_red = true;
			if (is_left)
				rotate_right(t, sib);
			else
				rotate_left(t, sib);
			far = sib;
			sib = near;
		}
		sib->is_red = parent->is_red;
		parent->is_red = false;
		far->is_red = false;
		if (is_left)
			rotate_left(t, parent);
		else
			rotate_right(t, parent);
		n = t->root;
		break;
	}
	if (n)
		n->is_red = false;
}

void cfs_rb_remove(struct cfs_rb *t, struct cfs_rb_node *n)
{
	struct cfs_rb_node *child, *parent;
	bool lost_red = n->is_red;

	if (n->left && n->right) {
		struct cfs_rb_node *heir = n->right;

		while (heir->left)
			heir = heir->left;
		lost_red = heir->is_red;
		child = heir->right;
		parent = heir->parent;
		if (parent == n) {
			parent = heir;
		} else {
			replace_child(t, heir, child);
			heir->right = n->right;
			heir->right->parent = heir;
		}
		replace_child(t, n, heir);
		heir->left = n->left;
		heir->left->parent = heir;
		heir->is_red = n->is_red;
	} else {
		child = n->left ? n->left : n->right;
		parent = n->parent;
		replace_child(t, n, child);
	}
	n->parent = n->left = n->right = NULL;
	if (!lost_red)
		remove_fixup(t, child, parent);
}

struct cfs_rb_node *cfs_rb_first(const struct cfs_rb *t)
{
	struct cfs_rb_node *n = t->root;

	while (n && n->left)
		n = n->left;
	return n;
}

struct cfs_rb_node *cfs_rb_next(const struct cfs_rb_node *n)
{
	struct cfs_rb_node *up;

	if (n->right) {
		up = n->right;
		while (up->left)
			up = up->left;
		return up;
	}
	up = n->parent;
	while (up && up->right == n) {
		n = up;
		up = up->parent;
	}
	return up;
}

struct cfs_rb_node *cfs_rb_prev(const struct cfs_rb_node *n)
{
	struct cfs_rb_node *up;

	if (n->left) {
		up = n->left;
		while (up->right)
			up = up->right;
		return up;
	}
	up = n->parent;
	while (up && up->left == n) {
		n = up;
		up = up->parent;
	}
	return up;
}
