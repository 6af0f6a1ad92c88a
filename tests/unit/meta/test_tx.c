/*
 * Transactions over shards with several clients at once, over a network that delays, repeats and
 * loses.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "harness.h"
#include "lib/test_fiber.h"

static const struct harness_opts four = { .shards = 4, .stores = 2, .delay_max_ns = 300000 };
static const struct harness_opts bad = { .shards = 8,
					 .stores = 2,
					 .delay_max_ns = 2000000,
					 .loss_ppm = 100000,
					 .dup_ppm = 200000,
					 .sync_ppm = 2000 };

static struct cfs_meta_stats stats_of(struct harness *h)
{
	struct cfs_meta_stats sum = { 0 }, s;

	for (uint32_t k = 0; k < h->o.shards; k++) {
		cfs_meta_stats(cfs_meta_of(h->shards[k]), &s);
		sum.tx_started += s.tx_started;
		sum.tx_committed += s.tx_committed;
		sum.tx_aborted += s.tx_aborted;
		sum.tx_busy += s.tx_busy;
		sum.tx_ordered += s.tx_ordered;
		sum.tx_asked += s.tx_asked;
		sum.inodes += s.inodes;
	}
	return sum;
}

/* Two directories in different shards. */
static CFS_AWAITS void two_dirs(struct harness *h, uint64_t dir[2])
{
	char name[16];

	for (int i = 0, n = 0; n < 2; i++) {
		snprintf(name, sizeof(name), "dir%d", i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &dir[n]), 0);
		if (n == 0 || cfs_ino_home(dir[0]) != cfs_ino_home(dir[1]))
			n++;
	}
}

struct mover {
	struct harness *h;
	uint64_t from, to;
	int files, first, failed;
};

/* Moves its files there and back. */
static CFS_AWAITS void move_run(void *arg)
{
	struct mover *m = arg;
	char name[16];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < m->files; i++) {
			snprintf(name, sizeof(name), "f%d", m->first + i);
			m->failed += hs_rename(m->h, round ? m->to : m->from, name,
					       round ? m->from : m->to, name, 0) != 0;
		}
	}
}

static CFS_AWAITS void opposite(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);
	uint64_t dir[2], ino;
	struct mover m[6];
	struct cfs_group g;
	struct cfs_meta_stats s;
	char name[16];

	two_dirs(h, dir);
	cfs_group_init(&g);
	for (int k = 0; k < 6; k++) {
		m[k] = (struct mover){ .h = h,
				       .from = dir[k % 2],
				       .to = dir[1 - k % 2],
				       .files = 5,
				       .first = k * 10 };
		for (int i = 0; i < m[k].files; i++) {
			snprintf(name, sizeof(name), "f%d", m[k].first + i);
			assert_int_equal(hs_create(h, m[k].from, name, 0644, CFS_F_EXCL, &ino), 0);
		}
	}
	for (int k = 0; k < 6; k++)
		assert_int_equal(cfs_group_start(&g, move_run, &m[k]), 0);
	cfs_group_join(&g);
	for (int k = 0; k < 6; k++) {
		assert_int_equal(m[k].failed, 0);
		for (int i = 0; i < m[k].files; i++) {
			snprintf(name, sizeof(name), "f%d", m[k].first + i);
			assert_int_equal(hs_lookup(h, m[k].from, name, &ino), 0);
			assert_int_equal(hs_lookup(h, m[k].to, name, &ino), -ENOENT);
		}
	}
	s = stats_of(h);
	assert_true(s.tx_committed >= 60);
	assert_true(s.tx_busy > 0);
	assert_true(s.tx_ordered > 0);
	harness_finish(h);
}

CFS_TEST_SIM(opposite_renames_do_not_deadlock)
{
	opposite(&four);
}

CFS_TEST_SIM(opposite_renames_over_a_bad_network)
{
	opposite(&bad);
}

struct circler {
	struct harness *h;
	uint64_t *dir;
	int dirs, files, first, failed;
};

/* Takes its files around all directories; their inodes stay where they were born, a third shard. */
static CFS_AWAITS void circle_run(void *arg)
{
	struct circler *c = arg;
	char name[16];

	for (int round = 0; round < 2 * c->dirs; round++) {
		for (int i = 0; i < c->files; i++) {
			int at = (c->first + round) % c->dirs;

			snprintf(name, sizeof(name), "f%d.%d", c->first, i);
			c->failed += hs_rename(c->h, c->dir[at], name, c->dir[(at + 1) % c->dirs],
					       name, 0) != 0;
		}
	}
}

static CFS_AWAITS void circles(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);
	uint64_t dir[4], ino;
	struct circler c[4];
	struct cfs_group g;
	struct cfs_attr a;
	char name[16];

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "dir%d", i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &dir[i]), 0);
	}
	cfs_group_init(&g);
	for (int k = 0; k < 4; k++) {
		c[k] = (struct circler){ .h = h, .dir = dir, .dirs = 4, .files = 3, .first = k };
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "f%d.%d", k, i);
			assert_int_equal(
				hs_create(h, dir[(k + 2) % 4], name, 0644, CFS_F_EXCL, &ino), 0);
			assert_int_equal(hs_rename(h, dir[(k + 2) % 4], name, dir[k], name, 0), 0);
		}
	}
	for (int k = 0; k < 4; k++)
		assert_int_equal(cfs_group_start(&g, circle_run, &c[k]), 0);
	cfs_group_join(&g);
	for (int k = 0; k < 4; k++) {
		assert_int_equal(c[k].failed, 0);
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "f%d.%d", k, i);
			assert_int_equal(hs_lookup(h, dir[k], name, &ino), 0);
			assert_int_equal(hs_getattr(h, ino, &a), 0);
			assert_int_equal(a.nlink, 1);
		}
	}
	for (int k = 0; k < 4; k++) {
		assert_int_equal(hs_getattr(h, dir[k], &a), 0);
		assert_int_equal(a.size, 3);
	}
	harness_finish(h);
}

CFS_TEST_SIM(renames_in_circles)
{
	circles(&four);
}

CFS_TEST_SIM(renames_in_circles_over_a_bad_network)
{
	circles(&bad);
}

struct looper {
	struct harness *h;
	uint64_t dir, to;
	const char *name;
	int rc;
};

static CFS_AWAITS void loop_run(void *arg)
{
	struct looper *l = arg;

	l->rc = hs_rename(l->h, HARNESS_ROOT, l->name, l->to, "x", 0);
}

/* a into b and b into a: one of them must not. */
static CFS_AWAITS void no_loop(const struct harness_opts *o)
{
	for (int round = 0; round < 10; round++) {
		struct harness *h = harness_new(o);
		struct looper l[3] = { { .h = h, .name = "a" },
				       { .h = h, .name = "b" },
				       { .h = h, .name = "c" } };
		struct cfs_group g;
		int moved = 0;

		cfs_group_init(&g);
		for (int i = 0; i < 3; i++)
			assert_int_equal(hs_mkdir(h, HARNESS_ROOT, l[i].name, &l[i].dir), 0);
		for (int i = 0; i < 3; i++) {
			l[i].to = l[(i + 1) % 3].dir;
			assert_int_equal(cfs_group_start(&g, loop_run, &l[i]), 0);
		}
		cfs_group_join(&g);
		for (int i = 0; i < 3; i++) {
			moved += l[i].rc == 0;
			if (l[i].rc != 0 && l[i].rc != -EINVAL)
				fail_msg("%s", cfs_err_name(l[i].rc));
		}
		assert_int_equal(moved, 2);
		harness_finish(h);
	}
}

CFS_TEST_SIM(no_loops)
{
	no_loop(&four);
}

CFS_TEST_SIM(no_loops_over_a_bad_network)
{
	no_loop(&bad);
}

struct maker {
	struct harness *h;
	uint64_t dir;
	int made, removed, id;
};

static CFS_AWAITS void mkdir_run(void *arg)
{
	struct maker *m = arg;
	uint64_t ino;

	for (int i = 0; i < 8; i++) {
		m->made += hs_mkdir(m->h, m->dir, i % 2 ? "same" : "other", &ino) == 0;
		m->removed += hs_rmdir(m->h, m->dir, i % 2 ? "same" : "other") == 0;
	}
}

/* Of those who make one name only one succeeds, until it is removed. */
CFS_TEST_SIM(one_maker_of_a_name)
{
	struct harness *h = harness_new(&bad);
	struct maker m[5];
	struct cfs_group g;
	struct cfs_attr a;
	int made = 0, removed = 0;
	uint64_t dir;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "dir", &dir), 0);
	cfs_group_init(&g);
	for (int i = 0; i < 5; i++) {
		m[i] = (struct maker){ .h = h, .dir = dir, .id = i };
		assert_int_equal(cfs_group_start(&g, mkdir_run, &m[i]), 0);
	}
	cfs_group_join(&g);
	for (int i = 0; i < 5; i++) {
		made += m[i].made;
		removed += m[i].removed;
	}
	harness_quiesce(h);
	assert_int_equal(hs_getattr(h, dir, &a), 0);
	assert_int_equal(a.nlink, 2 + made - removed);
	assert_true(made > 2);
	harness_finish(h);
}

/* Who was told of a new directory finds it at once, though its shard may not have heard yet. */
CFS_TEST_SIM(answered_is_visible)
{
	struct harness *h = harness_new(&bad);
	uint64_t dir = HARNESS_ROOT, sub, ino;
	struct cfs_attr a;

	for (int i = 0; i < 30; i++) {
		assert_int_equal(hs_mkdir(h, dir, "d", &sub), 0);
		assert_int_equal(hs_getattr(h, sub, &a), 0);
		assert_int_equal(a.parent, dir);
		assert_int_equal(hs_create(h, sub, "f", 0644, CFS_F_EXCL, &ino), 0);
		assert_int_equal(hs_chmod(h, sub, 0700 + (uint32_t)i % 8), 0);
		assert_int_equal(hs_rename(h, sub, "f", dir, "g", 0), 0);
		assert_int_equal(hs_lookup(h, dir, "g", &ino), 0);
		assert_int_equal(hs_lookup(h, sub, "f", &ino), -ENOENT);
		assert_int_equal(hs_unlink(h, dir, "g"), 0);
		assert_int_equal(hs_getattr(h, ino, NULL), -ESTALE);
		dir = sub;
	}
	harness_finish(h);
}

/* What is in one shard is one record: no transaction. */
CFS_TEST_SIM(local_operations_are_local)
{
	struct harness *h = harness_new(&four);
	uint64_t dir[2], ino, index;
	struct cfs_meta_stats before, after;
	uint32_t home;

	two_dirs(h, dir);
	harness_quiesce(h);
	assert_int_equal(hs_create(h, dir[0], "first", 0644, 0, &ino), 0);
	before = stats_of(h);
	home = cfs_ino_home(dir[0]);
	index = h->shards[home]->index;
	assert_int_equal(hs_create(h, dir[0], "a", 0644, CFS_F_EXCL, &ino), 0);
	assert_int_equal(hs_link(h, ino, dir[0], "b"), 0);
	assert_int_equal(hs_rename(h, dir[0], "a", dir[0], "c", 0), 0);
	assert_int_equal(hs_unlink(h, dir[0], "b"), 0);
	assert_int_equal(hs_unlink(h, dir[0], "c"), 0);
	assert_int_equal(h->shards[home]->index, index + 5);
	after = stats_of(h);
	assert_int_equal(before.tx_started, after.tx_started);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opposite_renames_do_not_deadlock),
		cmocka_unit_test(opposite_renames_over_a_bad_network),
		cmocka_unit_test(renames_in_circles),
		cmocka_unit_test(renames_in_circles_over_a_bad_network),
		cmocka_unit_test(no_loops),
		cmocka_unit_test(no_loops_over_a_bad_network),
		cmocka_unit_test(one_maker_of_a_name),
		cmocka_unit_test(answered_is_visible),
		cmocka_unit_test(local_operations_are_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
