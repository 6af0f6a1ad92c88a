#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/rb.h"

#define KEYS 512

struct item {
	uint32_t key;
	bool is_in;
	struct cfs_rb_node node;
};

static struct item *item_of(struct cfs_rb_node *n)
{
	return n ? cfs_container_of(n, struct item, node) : NULL;
}

static void insert(struct cfs_rb *t, struct item *it)
{
	struct cfs_rb_node **link = &t->root, *parent = NULL;

	while (*link) {
		parent = *link;
		link = it->key < item_of(parent)->key ? &parent->left : &parent->right;
	}
	cfs_rb_insert(t, &it->node, parent, link);
	it->is_in = true;
}

/* Returns the black height of the tree below @n; checks order, parents and colours on the way. */
static int check(const struct cfs_rb_node *n, const struct cfs_rb_node *parent)
{
	int left, right;

	if (!n)
		return 1;
	assert_ptr_equal(n->parent, parent);
	assert_false(n->is_red && (!parent || parent->is_red));
	left = check(n->left, n);
	right = check(n->right, n);
	assert_int_equal(left, right);
	return left + !n->is_red;
}

/* The walk forward and the walk back name exactly the keys that are in. */
static void check_walks(const struct cfs_rb *t, const struct item *items)
{
	struct cfs_rb_node *n = cfs_rb_first(t), *last = NULL;
	uint32_t i;

	check(t->root, NULL);
	for (i = 0; i < KEYS; i++) {
		if (!items[i].is_in)
			continue;
		assert_non_null(n);
		assert_int_equal(item_of(n)->key, i);
		last = n;
		n = cfs_rb_next(n);
	}
	assert_null(n);
	for (n = last; i-- > 0;) {
		if (!items[i].is_in)
			continue;
		assert_non_null(n);
		assert_int_equal(item_of(n)->key, i);
		n = cfs_rb_prev(n);
	}
	assert_null(n);
}

static void random_moves(void **state)
{
	static struct item items[KEYS];
	struct cfs_rb t = { NULL };
	uint32_t seed = 1;

	(void)state;
	for (uint32_t i = 0; i < KEYS; i++)
		items[i].key = i;
	/* Grows to full, shrinks to empty, and in between does some of both. */
	for (uint32_t round = 0; round < 12000; round++) {
		uint32_t grow_percent = round / 3000 % 2 ? 30 : 70;
		struct item *it;

		seed = seed * 1664525 + 1013904223;
		it = &items[(seed >> 8) % KEYS];
		seed = seed * 1664525 + 1013904223;
		if (it->is_in && (seed >> 8) % 100 >= grow_percent) {
			cfs_rb_remove(&t, &it->node);
			it->is_in = false;
		} else if (!it->is_in && (seed >> 8) % 100 < grow_percent) {
			insert(&t, it);
		}
		if (round % 16 == 0)
			check_walks(&t, items);
		else
			check(t.root, NULL);
	}
	for (uint32_t i = 0; i < KEYS; i++) {
		if (items[i].is_in)
			cfs_rb_remove(&t, &items[i].node);
		items[i].is_in = false;
		check_walks(&t, items);
	}
	assert_null(t.root);
}

/* A sorted load is the worst case of a tree without balance. */
static void sorted_load(void **state)
{
	static struct item items[KEYS];
	struct cfs_rb t = { NULL };
	int depth = 0;

	(void)state;
	for (uint32_t i = 0; i < KEYS; i++) {
		items[i].key = i;
		insert(&t, &items[i]);
	}
	check_walks(&t, items);
	for (struct cfs_rb_node *n = &items[KEYS - 1].node; n; n = n->parent)
		depth++;
	assert_true(depth <= 2 * 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_moves),
		cmocka_unit_test(sorted_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
