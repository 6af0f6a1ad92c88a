/* The way to a volume's engine, and moves of the map under writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/map.h"
#include "ctl/volume.h"
#include "lib/etcd_cluster.h"
#include "lib/test_fiber.h"

#define WRITERS 3
#define MOVES 4
#define PAUSE_NS 30000000ull

static struct etcd_cluster cluster;

struct world {
	char dir[64], path[96], etcd[160], prefix[CFS_CTL_PREFIX_BYTES];
	uint8_t uuid[16];
	struct cfs_ctl_volume_opts opts;
	char why[256];
};

static void world_init(struct world *w)
{
	static uint8_t next;

	*w = (struct world){ .uuid = { 1, ++next } };
	strcpy(w->dir, "/tmp/cfs-test-volume-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/control.sqlite", w->dir);
	snprintf(w->etcd, sizeof(w->etcd), "etcd:%s", cluster.urls);
	w->opts = (struct cfs_ctl_volume_opts){ .uuid = w->uuid, .local_path = w->path };
	cfs_ctl_volume_prefix(w->uuid, w->prefix);
}

static void world_fini(struct world *w)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[128];

	for (size_t i = 0; i < CFS_ARRAY_COUNT(tails); i++) {
		snprintf(path, sizeof(path), "%s%s", w->path, tails[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(w->dir), 0);
}

static struct cfs_ctl *volume_open(struct world *w)
{
	struct cfs_ctl *ctl = NULL;

	assert_int_equal(cfs_ctl_open_volume(&w->opts, &ctl, w->why, sizeof(w->why)), 0);
	return ctl;
}

static struct cfs_ctl *etcd_open(struct world *w)
{
	struct cfs_ctl *ctl = NULL;

	assert_int_equal(cfs_ctl_open_etcd(cluster.urls, NULL, &ctl, w->why, sizeof(w->why)), 0);
	return ctl;
}

static const char *key_of(const struct world *w, const char *name)
{
	static char keys[4][128];
	static uint32_t at;
	char *key = keys[at++ % 4];

	snprintf(key, sizeof(keys[0]), "%s%s", w->prefix, name);
	return key;
}

static int put(struct cfs_ctl *ctl, const char *key, const char *value, uint64_t lease)
{
	struct cfs_ctl_put p = { .key = key, .value = value, .lease = lease };
	struct cfs_ctl_txn txn = { .puts = &p, .puts_count = 1 };

	p.len_bytes = value ? (uint32_t)strlen(value) : 0;
	return cfs_ctl_txn(ctl, &txn, NULL);
}

static void assert_value(struct cfs_ctl *ctl, const char *key, const char *value)
{
	struct cfs_ctl_list l = { 0 };
	int rc = cfs_ctl_get(ctl, key, &l);

	assert_int_equal(rc, value ? 0 : -ENOENT);
	if (value)
		assert_string_equal((char *)l.kvs[0].value, value);
	cfs_ctl_list_fini(&l);
}

static int move(struct world *w, const char *to, struct cfs_ctl_move_result *out)
{
	return cfs_ctl_volume_move(&w->opts, to, out, w->why, sizeof(w->why));
}

CFS_TEST_FIBER(begins_with_the_file)
{
	struct cfs_ctl *ctl, *raw, *none = NULL;
	struct world w;

	world_init(&w);
	w.opts.engine = "nosuch:x";
	assert_int_equal(cfs_ctl_open_volume(&w.opts, &none, w.why, sizeof(w.why)), -EINVAL);
	assert_non_null(strstr(w.why, "nosuch:x"));
	w.opts.engine = "etcd:127.0.0.1";
	assert_int_equal(cfs_ctl_open_volume(&w.opts, &none, w.why, sizeof(w.why)), -EINVAL);
	w.opts.engine = w.etcd;
	ctl = volume_open(&w);
	assert_string_equal(cfs_ctl_volume_engine(ctl), w.etcd);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), 0);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), -EEXIST);
	cfs_ctl_close(ctl);
	raw = etcd_open(&w);
	assert_value(raw, key_of(&w, "epoch"), "1");
	cfs_ctl_close(raw);
	/* The next start need not be told. */
	w.opts.engine = NULL;
	ctl = volume_open(&w);
	assert_value(ctl, key_of(&w, "epoch"), "1");
	assert_string_equal(cfs_ctl_volume_engine(ctl), w.etcd);
	cfs_ctl_close(ctl);
	world_fini(&w);
}

CFS_TEST_FIBER(leaves_a_map_where_it_is)
{
	struct cfs_ctl_move_result result;
	struct cfs_ctl *ctl, *none = NULL;
	struct world w;

	world_init(&w);
	ctl = volume_open(&w);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), 0);
	cfs_ctl_close(ctl);
	w.opts.engine = w.etcd;
	assert_int_equal(cfs_ctl_open_volume(&w.opts, &none, w.why, sizeof(w.why)), -EEXIST);
	assert_non_null(strstr(w.why, "cfs control move"));
	w.opts.engine = NULL;
	/* And one that is where we would move to. */
	ctl = etcd_open(&w);
	assert_int_equal(put(ctl, key_of(&w, "epoch"), "77", 0), 0);
	assert_int_equal(move(&w, w.etcd, &result), -EEXIST);
	assert_value(ctl, key_of(&w, "epoch"), "77");
	cfs_ctl_close(ctl);
	ctl = volume_open(&w);
	assert_value(ctl, key_of(&w, "moved"), NULL);
	cfs_ctl_close(ctl);
	/* Nobody there. */
	assert_int_equal(move(&w, "etcd:http://127.0.0.1:1", &result), -EIO);
	ctl = volume_open(&w);
	assert_int_equal(put(ctl, key_of(&w, "free"), "x", 0), 0);
	cfs_ctl_close(ctl);
	world_fini(&w);
}

/* --- under writes --- */

struct writer {
	struct world *w;
	uint64_t counted, lost;
	bool is_over;
};

/* Counts up by compare and swap, as the map does, and says what was answered. */
static void count_up(void *arg)
{
	struct writer *me = arg;
	struct cfs_ctl *ctl = volume_open(me->w);
	const char *name = "count";

	while (!me->is_over) {
		struct cfs_ctl_list l = { 0 };
		char key[128], text[24];
		struct cfs_ctl_compare c = { .key = key };
		struct cfs_ctl_put p = { .key = key, .value = text };
		struct cfs_ctl_txn txn = { &c, 1, &p, 1 };
		uint64_t n = 0;
		int rc;

		snprintf(key, sizeof(key), "%s%s", me->w->prefix, name);
		rc = cfs_ctl_get(ctl, key, &l);
		assert_true(rc == 0 || rc == -ENOENT);
		if (rc == 0) {
			assert_int_equal(cfs_str_to_u64((char *)l.kvs[0].value, &n), 0);
			c.rev = l.kvs[0].rev;
		}
		cfs_ctl_list_fini(&l);
		p.len_bytes = (uint32_t)snprintf(text, sizeof(text), "%llu",
						 (unsigned long long)n + 1);
		rc = cfs_ctl_txn(ctl, &txn, NULL);
		assert_true(rc == 0 || rc == -ESTALE || rc == -EIO);
		me->counted += rc == 0;
		me->lost += rc == -EIO;
	}
	cfs_ctl_close(ctl);
}

/* Every number that was answered is counted once, wherever the map was at that time. */
CFS_TEST_FIBER(moves_under_writes)
{
	struct cfs_ctl_move_result result;
	struct writer writers[WRITERS];
	struct cfs_ctl_watch *watch = NULL;
	struct cfs_ctl_list l = { 0 };
	uint64_t counted = 0, lost = 0, n = 0;
	struct cfs_ctl *ctl;
	struct cfs_group g;
	struct world w;

	world_init(&w);
	ctl = volume_open(&w);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), 0);
	assert_int_equal(cfs_ctl_list(ctl, w.prefix, &l), 0);
	assert_int_equal(cfs_ctl_watch_open(ctl, w.prefix, l.rev + 1, &watch), 0);
	cfs_ctl_list_fini(&l);
	cfs_group_init(&g);
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .w = &w };
		assert_int_equal(cfs_group_start(&g, count_up, &writers[i]), 0);
	}
	for (int i = 0; i < MOVES; i++) {
		uint64_t before = writers[0].counted;

		while (writers[0].counted == before)
			assert_int_equal(cfs_sleep_ns(PAUSE_NS), 0);
		assert_int_equal(move(&w, i % 2 ? "local" : w.etcd, &result), 0);
		assert_true(result.keys >= 3); /* epoch, map, count */
		assert_true(result.frozen_ns > 0);
	}
	for (int i = 0; i < WRITERS; i++)
		writers[i].is_over = true;
	cfs_group_join(&g);
	for (int i = 0; i < WRITERS; i++) {
		counted += writers[i].counted;
		lost += writers[i].lost;
	}
	assert_int_equal(cfs_ctl_get(ctl, key_of(&w, "count"), &l), 0);
	assert_int_equal(cfs_str_to_u64((char *)l.kvs[0].value, &n), 0);
	cfs_ctl_list_fini(&l);
	assert_in_range(n, counted, counted + lost);
	assert_string_equal(cfs_ctl_volume_engine(ctl), MOVES % 2 ? w.etcd : "local");
	/* Who watched before knows nothing of the new revisions. */
	assert_int_equal(cfs_ctl_watch_next(watch, &l), 0);
	cfs_ctl_list_fini(&l);
	cfs_ctl_watch_close(watch);
	cfs_ctl_close(ctl);
	world_fini(&w);
}

/* A watch learns of a move as of a revision that is too old; a transaction with compares as of one
 * that does not hold; one without is carried out at the new place. Leased keys stay behind. */
CFS_TEST_FIBER(follows)
{
	struct cfs_ctl_move_result result;
	struct cfs_ctl_watch *watch = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl_compare c = { 0 };
	struct cfs_ctl_put p = { .value = "2", .len_bytes = 1 };
	struct cfs_ctl_txn txn = { &c, 1, &p, 1 };
	struct cfs_ctl *a, *b, *raw;
	uint64_t lease;
	struct world w;

	world_init(&w);
	a = volume_open(&w);
	b = volume_open(&w);
	assert_int_equal(cfs_map_make(a, w.uuid, 16, 2, w.why), 0);
	assert_int_equal(cfs_ctl_lease_grant(a, 60000000000, &lease), 0);
	assert_int_equal(put(a, key_of(&w, "leased"), "x", lease), 0);
	assert_int_equal(cfs_ctl_get(a, key_of(&w, "epoch"), &l), 0);
	assert_int_equal(cfs_ctl_watch_open(a, w.prefix, l.rev + 1, &watch), 0);
	c = (struct cfs_ctl_compare){ .key = key_of(&w, "epoch"), .rev = l.kvs[0].rev };
	p.key = c.key;
	cfs_ctl_list_fini(&l);
	assert_int_equal(move(&w, w.etcd, &result), 0);
	assert_int_equal(result.keys, 2);
	assert_int_equal(cfs_ctl_watch_next(watch, &l), -ESTALE);
	assert_int_equal(cfs_ctl_txn(b, &txn, NULL), -ESTALE);
	assert_string_equal(cfs_ctl_volume_engine(b), w.etcd);
	cfs_ctl_watch_close(watch);
	assert_int_equal(put(a, key_of(&w, "more"), "x", 0), 0);
	assert_value(b, key_of(&w, "more"), "x");
	assert_value(b, key_of(&w, "leased"), NULL);
	assert_value(b, key_of(&w, "epoch"), "1");
	raw = etcd_open(&w);
	assert_value(raw, key_of(&w, "more"), "x");
	assert_value(raw, key_of(&w, "arriving"), NULL);
	cfs_ctl_close(raw);
	/* There already. */
	assert_int_equal(move(&w, w.etcd, &result), 0);
	assert_int_equal(result.keys, 0);
	cfs_ctl_close(a);
	cfs_ctl_close(b);
	world_fini(&w);
}

/* As many shards as there may be: one transaction of etcd takes them, and a move takes several. */
CFS_TEST_FIBER(bears_the_largest_map)
{
	struct cfs_ctl_list before = { 0 }, after = { 0 };
	struct cfs_ctl_move_result result;
	struct cfs_ctl *ctl;
	struct world w;

	world_init(&w);
	w.opts.engine = w.etcd;
	ctl = volume_open(&w);
	assert_int_equal(cfs_map_make(ctl, w.uuid, CFS_MAP_SHARDS_MAX, 256, w.why), 0);
	assert_int_equal(cfs_ctl_list(ctl, w.prefix, &before), 0);
	w.opts.engine = NULL;
	assert_int_equal(move(&w, "local", &result), 0);
	assert_true(result.bytes > 800000);
	assert_int_equal(result.keys, before.count);
	assert_int_equal(move(&w, w.etcd, &result), 0);
	assert_int_equal(cfs_ctl_list(ctl, w.prefix, &after), 0);
	assert_int_equal(after.count, before.count);
	for (uint32_t i = 0; i < after.count; i++) {
		assert_string_equal(after.kvs[i].key, before.kvs[i].key);
		assert_int_equal(after.kvs[i].len_bytes, before.kvs[i].len_bytes);
		assert_memory_equal(after.kvs[i].value, before.kvs[i].value,
				    after.kvs[i].len_bytes);
	}
	cfs_ctl_list_fini(&before);
	cfs_ctl_list_fini(&after);
	cfs_ctl_close(ctl);
	world_fini(&w);
}

/* Revisions of two engines may be equal by accident, and mean nothing then. */
CFS_TEST_FIBER(compares_no_revision_of_another_engine)
{
	struct cfs_ctl_move_result result;
	struct cfs_ctl_compare c = { 0 };
	struct cfs_ctl_put p = { .value = "late", .len_bytes = 4 };
	struct cfs_ctl_txn txn = { &c, 1, &p, 1 };
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl, *raw;
	uint64_t there;
	struct world w;

	world_init(&w);
	ctl = volume_open(&w);
	raw = etcd_open(&w);
	assert_int_equal(cfs_ctl_list(raw, w.prefix, &l), 0);
	there = l.rev;
	do {
		assert_int_equal(put(ctl, key_of(&w, "k"), "read", 0), 0);
		cfs_ctl_list_fini(&l);
		assert_int_equal(cfs_ctl_get(ctl, key_of(&w, "k"), &l), 0);
		/* The mover's second transaction there copies it. */
	} while (l.kvs[0].rev < there + 2);
	assert_int_equal(l.kvs[0].rev, there + 2);
	c = (struct cfs_ctl_compare){ .key = key_of(&w, "k"), .rev = there + 2 };
	p.key = c.key;
	cfs_ctl_list_fini(&l);
	assert_int_equal(put(ctl, c.key, "changed", 0), 0);
	assert_int_equal(move(&w, w.etcd, &result), 0);
	assert_int_equal(cfs_ctl_get(raw, c.key, &l), 0);
	assert_int_equal(l.kvs[0].rev, c.rev); /* the accident did happen */
	cfs_ctl_list_fini(&l);
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), -ESTALE);
	assert_value(ctl, c.key, "changed");
	cfs_ctl_close(ctl);
	cfs_ctl_close(raw);
	world_fini(&w);
}

/* What a mover that died at any step leaves is finished by the next, or called off. */
CFS_TEST_FIBER(ends_what_a_dead_mover_left)
{
	char frozen[200];
	struct cfs_ctl_move_result result;
	struct cfs_ctl *ctl, *raw, *none = NULL;
	uint64_t before_ns;
	struct world w;

	world_init(&w);
	snprintf(frozen, sizeof(frozen), "frozen %s", w.etcd);
	ctl = volume_open(&w);
	raw = etcd_open(&w);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), 0);
	assert_int_equal(put(ctl, key_of(&w, "moved"), frozen, 0), 0);
	assert_int_equal(put(raw, key_of(&w, "arriving"), "from local", 0), 0);
	assert_int_equal(put(raw, key_of(&w, "epoch"), "stale", 0), 0);
	assert_int_equal(put(raw, key_of(&w, "old"), "stale", 0), 0);
	/* Reads go on, changes wait. */
	assert_value(ctl, key_of(&w, "epoch"), "1");
	before_ns = cfs_deadline_narrow(cfs_now_ns() + 300000000);
	assert_int_equal(put(ctl, key_of(&w, "late"), "x", 0), -ETIMEDOUT);
	cfs_deadline_restore(before_ns);
	w.opts.engine = w.etcd;
	assert_int_equal(cfs_ctl_open_volume(&w.opts, &none, w.why, sizeof(w.why)), -EBUSY);
	w.opts.engine = NULL;
	/* Called off. */
	assert_int_equal(move(&w, "local", &result), 0);
	assert_int_equal(put(ctl, key_of(&w, "late"), "x", 0), 0);
	/* Finished; what it had copied may be old. */
	assert_int_equal(put(ctl, key_of(&w, "moved"), frozen, 0), 0);
	assert_int_equal(move(&w, w.etcd, &result), 0);
	assert_int_equal(put(ctl, key_of(&w, "late"), "y", 0), 0);
	assert_value(raw, key_of(&w, "late"), "y");
	assert_value(raw, key_of(&w, "epoch"), "1");
	assert_value(raw, key_of(&w, "old"), NULL);
	assert_value(raw, key_of(&w, "arriving"), NULL);
	/* Nobody may use a place that is only half there. */
	assert_int_equal(put(raw, key_of(&w, "arriving"), "from local", 0), 0);
	before_ns = cfs_deadline_narrow(cfs_now_ns() + 300000000);
	assert_int_equal(put(ctl, key_of(&w, "late"), "z", 0), -ETIMEDOUT);
	cfs_deadline_restore(before_ns);
	cfs_ctl_close(ctl);
	cfs_ctl_close(raw);
	world_fini(&w);
}

struct mover {
	struct world *w;
	int rc;
};

static void move_once(void *arg)
{
	struct cfs_ctl_move_result result;
	struct mover *m = arg;
	char why[256];

	m->rc = cfs_ctl_volume_move(&m->w->opts, m->w->etcd, &result, why, sizeof(why));
}

/* Two at once: the one that was overtaken ends, and nothing is lost. */
CFS_TEST_FIBER(two_movers_do_no_harm)
{
	struct mover movers[2];
	struct cfs_ctl *ctl;
	struct cfs_group g;
	struct world w;

	world_init(&w);
	ctl = volume_open(&w);
	assert_int_equal(cfs_map_make(ctl, w.uuid, 16, 2, w.why), 0);
	cfs_group_init(&g);
	for (int i = 0; i < 2; i++) {
		movers[i] = (struct mover){ .w = &w };
		assert_int_equal(cfs_group_start(&g, move_once, &movers[i]), 0);
	}
	cfs_group_join(&g);
	assert_true(movers[0].rc == 0 || movers[1].rc == 0);
	for (int i = 0; i < 2; i++)
		assert_true(movers[i].rc == 0 || movers[i].rc == -EBUSY || movers[i].rc == -EEXIST);
	assert_value(ctl, key_of(&w, "epoch"), "1");
	assert_string_equal(cfs_ctl_volume_engine(ctl), w.etcd);
	assert_int_equal(put(ctl, key_of(&w, "after"), "x", 0), 0);
	cfs_ctl_close(ctl);
	world_fini(&w);
}

static int cluster_start(void **state)
{
	(void)state;
	return etcd_cluster_start(&cluster, 1, false) < 0 || etcd_leader(&cluster) < 0 ? -1 : 0;
}

static int cluster_stop(void **state)
{
	(void)state;
	etcd_cluster_stop(&cluster);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First, while etcd's revision is small. */
		cmocka_unit_test(compares_no_revision_of_another_engine),
		cmocka_unit_test(begins_with_the_file),
		cmocka_unit_test(leaves_a_map_where_it_is),
		cmocka_unit_test(bears_the_largest_map),
		cmocka_unit_test(moves_under_writes),
		cmocka_unit_test(follows),
		cmocka_unit_test(ends_what_a_dead_mover_left),
		cmocka_unit_test(two_movers_do_no_harm),
	};

	return cmocka_run_group_tests(tests, cluster_start, cluster_stop);
}
