/*
 * Random operations of one client against a tree in memory, over a bad network, with checkpoints,
 * kills and restarts in between: each answer, and at times the whole tree, is as the model says.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/reactor.h"
#include "harness.h"
#include "lib/counts.h"
#include "lib/test_fiber.h"

#define NODES_MAX 400
#define NAMES 6

/* A file or directory of the model. */
struct node {
	uint64_t ino;
	bool is_dir, is_gone;
	int nlink;  /* of files */
	int parent; /* of directories: index */
	int child[NAMES];
};

struct model {
	struct harness *h;
	struct node nodes[NODES_MAX];
	int count;
	uint64_t changes;
};

static const char *const names[NAMES] = { "a", "b", "c", "d", "e", "f" };

static uint32_t dice(uint32_t n)
{
	return (uint32_t)(cfs_rand_u64() % n);
}

static int node_add(struct model *m, uint64_t ino, bool is_dir, int parent)
{
	struct node *n = &m->nodes[m->count];

	*n = (struct node){ .ino = ino, .is_dir = is_dir, .nlink = 1, .parent = parent };
	for (int i = 0; i < NAMES; i++)
		n->child[i] = -1;
	return m->count++;
}

static bool is_empty(const struct node *n)
{
	for (int i = 0; i < NAMES; i++) {
		if (n->child[i] >= 0)
			return false;
	}
	return true;
}

/* A directory that is there. */
static int some_dir(const struct model *m)
{
	for (;;) {
		int i = (int)dice((uint32_t)m->count);

		if (m->nodes[i].is_dir && !m->nodes[i].is_gone)
			return i;
	}
}

static int some_file(const struct model *m)
{
	for (int tries = 0; tries < 50; tries++) {
		int i = (int)dice((uint32_t)m->count);

		if (!m->nodes[i].is_dir && !m->nodes[i].is_gone)
			return i;
	}
	return -1;
}

static bool is_below(const struct model *m, int dir, int top)
{
	while (dir != top && dir != 0)
		dir = m->nodes[dir].parent;
	return dir == top;
}

static void drop(struct model *m, int n)
{
	struct node *x = &m->nodes[n];

	if (x->is_dir || --x->nlink == 0)
		x->is_gone = true;
}

static void expect(int rc, int want, const char *what)
{
	if (rc != want)
		fail_msg("%s: %s, the model says %s", what, cfs_err_name(rc), cfs_err_name(want));
}

static CFS_AWAITS void do_create(struct model *m, bool is_dir)
{
	int dir = some_dir(m), name = (int)dice(NAMES);
	struct node *d = &m->nodes[dir];
	uint64_t ino = 0;
	int rc = is_dir ? hs_mkdir(m->h, d->ino, names[name], &ino)
			: hs_create(m->h, d->ino, names[name], 0644, CFS_F_EXCL, &ino);

	expect(rc, d->child[name] >= 0 ? -EEXIST : 0, is_dir ? "mkdir" : "create");
	if (rc == 0)
		d->child[name] = node_add(m, ino, is_dir, dir);
}

static CFS_AWAITS void do_remove(struct model *m, bool is_rmdir)
{
	struct node *d = &m->nodes[some_dir(m)];
	int name = (int)dice(NAMES), n = d->child[name], want = 0;
	int rc = is_rmdir ? hs_rmdir(m->h, d->ino, names[name])
			  : hs_unlink(m->h, d->ino, names[name]);

	if (n < 0)
		want = -ENOENT;
	else if (m->nodes[n].is_dir != is_rmdir)
		want = is_rmdir ? -ENOTDIR : -EISDIR;
	else if (is_rmdir && !is_empty(&m->nodes[n]))
		want = -ENOTEMPTY;
	expect(rc, want, is_rmdir ? "rmdir" : "unlink");
	if (rc == 0) {
		d->child[name] = -1;
		drop(m, n);
	}
}

static CFS_AWAITS void do_link(struct model *m)
{
	struct node *d = &m->nodes[some_dir(m)];
	int name = (int)dice(NAMES), f = some_file(m), rc;

	if (f < 0)
		return;
	rc = hs_link(m->h, m->nodes[f].ino, d->ino, names[name]);
	expect(rc, d->child[name] >= 0 ? -EEXIST : 0, "link");
	if (rc == 0) {
		d->child[name] = f;
		m->nodes[f].nlink++;
	}
}

static int rename_wanted(const struct model *m, int from_dir, int x, int to_dir, int y,
			 uint32_t flags)
{
	bool x_dir = x >= 0 && m->nodes[x].is_dir, y_dir = y >= 0 && m->nodes[y].is_dir;

	if (x < 0)
		return -ENOENT;
	if (flags & CFS_F_EXCHANGE && y < 0)
		return -ENOENT;
	if (flags & CFS_F_NOREPLACE && y >= 0)
		return -EEXIST;
	if (from_dir != to_dir && x_dir && is_below(m, to_dir, x))
		return -EINVAL;
	if (flags & CFS_F_EXCHANGE)
		return from_dir != to_dir && y_dir && is_below(m, from_dir, y) ? -EINVAL : 0;
	if (y < 0 || x == y)
		return 0;
	if (x_dir != y_dir)
		return x_dir ? -ENOTDIR : -EISDIR;
	return y_dir && !is_empty(&m->nodes[y]) ? -ENOTEMPTY : 0;
}

static CFS_AWAITS void do_rename(struct model *m)
{
	static const uint32_t some_flags[] = { 0, 0, 0, CFS_F_NOREPLACE, CFS_F_EXCHANGE };
	int a = some_dir(m), b = dice(3) ? some_dir(m) : a;
	int an = (int)dice(NAMES), bn = (int)dice(NAMES);
	int x = m->nodes[a].child[an], y = m->nodes[b].child[bn];
	uint32_t flags = some_flags[dice(5)];
	int want = rename_wanted(m, a, x, b, y, flags);
	int rc = hs_rename(m->h, m->nodes[a].ino, names[an], m->nodes[b].ino, names[bn], flags);

	expect(rc, want, "rename");
	if (rc < 0 || x == y)
		return;
	m->nodes[a].child[an] = flags & CFS_F_EXCHANGE ? y : -1;
	m->nodes[b].child[bn] = x;
	if (m->nodes[x].is_dir)
		m->nodes[x].parent = b;
	if (y >= 0 && (flags & CFS_F_EXCHANGE)) {
		if (m->nodes[y].is_dir)
			m->nodes[y].parent = a;
	} else if (y >= 0) {
		drop(m, y);
	}
}

/* The directory as readdir and lookup show it. */
static CFS_AWAITS void check_dir(struct model *m, int dir)
{
	struct node *d = &m->nodes[dir];
	struct hs_entry e[NAMES + 3];
	struct cfs_attr a;
	bool is_eof;
	int n, found = 0, subdirs = 0;

	n = hs_readdir(m->h, d->ino, 0, 4096, e, NAMES + 3, &is_eof);
	assert_true(n >= 2 && is_eof);
	for (int i = 2; i < n; i++) {
		int name = e[i].name[0] - 'a';

		assert_in_range(name, 0, NAMES - 1);
		assert_true(d->child[name] >= 0);
		assert_int_equal(e[i].ino, m->nodes[d->child[name]].ino);
		assert_int_equal(S_ISDIR(e[i].mode), m->nodes[d->child[name]].is_dir);
		subdirs += m->nodes[d->child[name]].is_dir;
		found++;
	}
	for (int i = 0; i < NAMES; i++)
		found -= d->child[i] >= 0;
	assert_int_equal(found, 0);
	expect(hs_getattr(m->h, d->ino, &a), 0, "getattr");
	assert_int_equal(a.nlink, 2 + subdirs);
	assert_int_equal(e[1].ino, m->nodes[d->parent].ino);
}

static CFS_AWAITS void check_all(struct model *m)
{
	struct cfs_attr a;

	for (int i = 0; i < m->count; i++) {
		const struct node *n = &m->nodes[i];
		int rc = hs_getattr(m->h, n->ino, &a);

		expect(rc, n->is_gone ? -ESTALE : 0, "getattr");
		if (rc == 0 && n->is_dir)
			check_dir(m, i);
		else if (rc == 0)
			assert_int_equal(a.nlink, n->nlink);
	}
	harness_quiesce(m->h);
	assert_int_equal(harness_check(m->h), 0);
}

static CFS_AWAITS void trouble(struct model *m)
{
	struct harness *h = m->h;

	switch (dice(4)) {
	case 0:
		harness_checkpoint(h);
		break;
	case 1:
		harness_stop(h);
		harness_start(h);
		break;
	case 2: /* with what goes on behind the last answer */
		harness_kill(h, false);
		harness_start(h);
		break;
	default:
		harness_sync(h);
		harness_kill(h, true);
		harness_start(h);
		break;
	}
}

static CFS_AWAITS void run(const struct harness_opts *o, uint64_t seed, int steps)
{
	struct harness *h = malloc(sizeof(*h));
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(h);
	assert_non_null(m);
	for (uint64_t i = 0; i < seed; i++)
		(void)cfs_rand_u64();
	harness_init(h, o);
	m->h = h;
	node_add(m, HARNESS_ROOT, true, 0);
	for (int step = 0; step < steps && m->count < NODES_MAX; step++) {
		switch (dice(12)) {
		case 0:
		case 1:
			do_create(m, true);
			break;
		case 2:
		case 3:
			do_create(m, false);
			break;
		case 4:
			do_remove(m, true);
			break;
		case 5:
			do_remove(m, false);
			break;
		case 6:
			do_link(m);
			break;
		case 7:
		case 8:
		case 9:
			do_rename(m);
			break;
		case 10:
			check_dir(m, some_dir(m));
			break;
		default:
			if (dice(8) == 0)
				trouble(m);
			break;
		}
		if (step % 200 == 199)
			check_all(m);
	}
	check_all(m);
	harness_fini(h);
	free(h);
	free(m);
}

static const struct harness_opts good = { .shards = 8, .stores = 2, .delay_max_ns = 1 };
static const struct harness_opts bad = { .shards = 8,
					 .stores = 3,
					 .delay_max_ns = 1000000,
					 .loss_ppm = 50000,
					 .dup_ppm = 100000,
					 .sync_ppm = 3000,
					 .cookie_modulo = 7 };
static const struct harness_opts single = { .shards = 1, .stores = 1, .cookie_modulo = 3 };

static int rounds(void)
{
	const char *s = getenv("CFS_TEST_SEEDS");

	return s ? atoi(s) : (int)cfs_test_count(3, 60);
}

CFS_TEST_SIM(good_network)
{
	for (int seed = 0; seed < rounds(); seed++)
		run(&good, (uint64_t)seed, 800);
}

CFS_TEST_SIM(bad_network)
{
	for (int seed = 0; seed < rounds(); seed++)
		run(&bad, (uint64_t)seed, 800);
}

CFS_TEST_SIM(one_shard)
{
	for (int seed = 0; seed < rounds(); seed++)
		run(&single, (uint64_t)seed, 800);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_network),
		cmocka_unit_test(bad_network),
		cmocka_unit_test(one_shard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
