/* What every engine promises: the same bodies run over `local`, `mem` and `etcd`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>

#include "ctl/ctl.h"
#include "ctl/mem.h"
#include "lib/etcd_cluster.h"
#include "lib/test_fiber.h"

enum kind { MEM, LOCAL, ETCD };

/* One for the whole program: starting it takes longer than all that is tried with it. */
static struct etcd_cluster cluster;

struct plane {
	enum kind kind;
	char dir[64];
	struct cfs_ctl_mem *mem;
};

static struct cfs_ctl *plane_open(struct plane *p)
{
	static const char *const names[] = { "mem", "local", "etcd" };
	char path[96], why[256] = "";
	struct cfs_ctl *ctl = NULL;

	snprintf(path, sizeof(path), "%s/control.sqlite", p->dir);
	if (p->kind == MEM)
		assert_int_equal(cfs_ctl_mem_open(p->mem, &ctl), 0);
	else if (p->kind == LOCAL)
		assert_int_equal(cfs_ctl_open_local(path, &ctl, why, sizeof(why)), 0);
	else
		assert_int_equal(cfs_ctl_open_etcd(cluster.urls, NULL, &ctl, why, sizeof(why)), 0);
	assert_string_equal(cfs_ctl_engine(ctl), names[p->kind]);
	return ctl;
}

/* What another test left. */
static void etcd_wipe(struct plane *p)
{
	struct cfs_ctl *ctl = plane_open(p);
	struct cfs_ctl_list l = { 0 };

	assert_int_equal(cfs_ctl_list(ctl, "/", &l), 0);
	for (uint32_t i = 0; i < l.count; i++) {
		struct cfs_ctl_put gone = { .key = l.kvs[i].key };
		struct cfs_ctl_txn txn = { .puts = &gone, .puts_count = 1 };

		assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), 0);
	}
	cfs_ctl_list_fini(&l);
	cfs_ctl_close(ctl);
}

static void plane_init(struct plane *p, enum kind kind)
{
	*p = (struct plane){ .kind = kind };
	strcpy(p->dir, "/tmp/cfs-test-ctl-XXXXXX");
	if (kind == LOCAL)
		assert_non_null(mkdtemp(p->dir));
	else if (kind == MEM)
		assert_int_equal(cfs_ctl_mem_create(7, &p->mem), 0);
	else
		etcd_wipe(p);
}

static void plane_fini(struct plane *p)
{
	static const char *const names[] = { "control.sqlite", "control.sqlite-wal",
					     "control.sqlite-shm" };
	char path[96];

	if (p->kind != LOCAL) {
		cfs_ctl_mem_destroy(p->mem);
		return;
	}
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(p->dir), 0);
}

static int put(struct cfs_ctl *ctl, const char *key, const char *value, uint64_t lease,
	       uint64_t *rev_out)
{
	struct cfs_ctl_put p = { .key = key, .value = value, .lease = lease };
	struct cfs_ctl_txn txn = { .puts = &p, .puts_count = 1 };

	p.len_bytes = value ? (uint32_t)strlen(value) : 0;
	return cfs_ctl_txn(ctl, &txn, rev_out);
}

static int swap(struct cfs_ctl *ctl, const char *key, uint64_t rev, const char *value)
{
	struct cfs_ctl_compare c = { .key = key, .rev = rev };
	struct cfs_ctl_put p = { .key = key, .value = value, .len_bytes = (uint32_t)strlen(value) };
	struct cfs_ctl_txn txn = { .compares = &c, .compares_count = 1, .puts = &p };

	txn.puts_count = 1;
	return cfs_ctl_txn(ctl, &txn, NULL);
}

static void assert_value(struct cfs_ctl *ctl, const char *key, const char *value)
{
	struct cfs_ctl_list l = { 0 };

	assert_int_equal(cfs_ctl_get(ctl, key, &l), 0);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.kvs[0].key, key);
	assert_int_equal(l.kvs[0].len_bytes, strlen(value));
	assert_memory_equal(l.kvs[0].value, value, strlen(value));
	cfs_ctl_list_fini(&l);
}

static void keeps_what_was_put(enum kind kind)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t rev1, rev2;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_get(ctl, "/a/x", &l), -ENOENT);
	assert_int_equal(put(ctl, "/a/x", "one", 0, &rev1), 0);
	assert_int_equal(put(ctl, "/a/y", "", 0, &rev2), 0);
	assert_true(rev2 > rev1);
	assert_int_equal(put(ctl, "/b/z", "three", 0, NULL), 0);
	assert_value(ctl, "/a/x", "one");
	assert_value(ctl, "/a/y", "");
	assert_int_equal(cfs_ctl_list(ctl, "/a/", &l), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.kvs[0].key, "/a/x");
	assert_string_equal(l.kvs[1].key, "/a/y");
	assert_int_equal(l.kvs[1].rev, rev2);
	assert_int_equal(l.rev, rev2 + 1);
	assert_non_null(cfs_ctl_list_find(&l, "/a/y"));
	assert_null(cfs_ctl_list_find(&l, "/b/z"));
	cfs_ctl_list_fini(&l);
	assert_int_equal(put(ctl, "/a/x", NULL, 0, NULL), 0);
	assert_int_equal(put(ctl, "/a/never", NULL, 0, NULL), 0);
	assert_int_equal(cfs_ctl_get(ctl, "/a/x", &l), -ENOENT);
	cfs_ctl_close(ctl);
	ctl = plane_open(&p);
	assert_value(ctl, "/b/z", "three");
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

static void swaps_or_does_nothing(enum kind kind)
{
	struct cfs_ctl *a, *b;
	struct plane p;
	uint64_t rev;

	plane_init(&p, kind);
	a = plane_open(&p);
	b = plane_open(&p);
	assert_int_equal(swap(a, "/k", 0, "first"), 0);
	assert_int_equal(swap(b, "/k", 0, "late"), -ESTALE);
	assert_value(b, "/k", "first");
	assert_int_equal(put(b, "/k", "second", 0, &rev), 0);
	assert_int_equal(swap(a, "/k", rev - 1, "late"), -ESTALE);
	assert_int_equal(swap(a, "/k", rev, "third"), 0);
	assert_value(b, "/k", "third");
	cfs_ctl_close(a);
	cfs_ctl_close(b);
	plane_fini(&p);
}

/* All puts of a transaction or none: the second names a lease that is not there. */
static void puts_all_or_none(enum kind kind)
{
	struct cfs_ctl_put puts[2] = {
		{ .key = "/k1", .value = "1", .len_bytes = 1 },
		{ .key = "/k2", .value = "2", .len_bytes = 1, .lease = 99 }
	};
	struct cfs_ctl_txn txn = { .puts = puts, .puts_count = 2 };
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), -ENOENT);
	assert_int_equal(cfs_ctl_list(ctl, "/", &l), 0);
	assert_int_equal(l.count, 0);
	cfs_ctl_list_fini(&l);
	txn.puts_count = CFS_CTL_TXN_MAX + 1;
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), -EINVAL);
	assert_int_equal(put(ctl, "/with space", "x", 0, NULL), -EINVAL);
	assert_int_equal(put(ctl, "", "x", 0, NULL), -EINVAL);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

/* Any bytes, as many as there may be; one more is refused, and so is a key put twice. */
static void bears_the_largest(enum kind kind)
{
	struct cfs_ctl_put puts[4] = { { .key = "/big/0" },
				       { .key = "/big/1" },
				       { .key = "/big/2" } };
	struct cfs_ctl_txn txn = { .puts = puts, .puts_count = 4 };
	uint8_t *value = malloc(CFS_CTL_VALUE_BYTES_MAX + 1);
	char key[CFS_CTL_KEY_BYTES_MAX + 1] = "/";
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	for (uint32_t i = 0; i <= CFS_CTL_VALUE_BYTES_MAX; i++)
		value[i] = (uint8_t)(i ^ i >> 8);
	memset(key + 1, '~', CFS_CTL_KEY_BYTES_MAX - 1);
	puts[3].key = key;
	for (uint32_t i = 0; i < 4; i++) {
		puts[i].value = value;
		puts[i].len_bytes = CFS_CTL_VALUE_BYTES_MAX - i;
	}
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), 0);
	assert_int_equal(cfs_ctl_list(ctl, "/", &l), 0);
	assert_int_equal(l.count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(l.kvs[i].len_bytes, CFS_CTL_VALUE_BYTES_MAX - i);
		assert_memory_equal(l.kvs[i].value, value, l.kvs[i].len_bytes);
	}
	assert_string_equal(l.kvs[3].key, key);
	cfs_ctl_list_fini(&l);
	puts[0].len_bytes = CFS_CTL_VALUE_BYTES_MAX + 1;
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), -EINVAL);
	puts[0].len_bytes = 1;
	puts[2].key = puts[0].key;
	assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), -EINVAL);
	free(value);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

static void watches_changes(enum kind kind)
{
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *a, *b;
	struct plane p;
	uint64_t rev;

	plane_init(&p, kind);
	a = plane_open(&p);
	b = plane_open(&p);
	assert_int_equal(put(a, "/m/1", "old", 0, &rev), 0);
	assert_int_equal(cfs_ctl_watch_open(b, "/m/", rev + 1, &w), 0);
	assert_int_equal(put(a, "/m/2", "new", 0, NULL), 0);
	assert_int_equal(put(a, "/other", "x", 0, NULL), 0);
	assert_int_equal(put(a, "/m/1", NULL, 0, NULL), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.kvs[0].key, "/m/2");
	assert_memory_equal(l.kvs[0].value, "new", 3);
	assert_string_equal(l.kvs[1].key, "/m/1");
	assert_null(l.kvs[1].value);
	cfs_ctl_list_fini(&l);
	/* The same handle's own change, and a key that comes back. */
	assert_int_equal(put(b, "/m/1", "again", 0, NULL), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_int_equal(l.count, 1);
	assert_memory_equal(l.kvs[0].value, "again", 5);
	cfs_ctl_list_fini(&l);
	cfs_ctl_watch_close(w);
	cfs_ctl_close(a);
	cfs_ctl_close(b);
	plane_fini(&p);
}

struct later {
	struct cfs_ctl *ctl;
	int rc;
};

static void put_later(void *arg)
{
	struct later *later = arg;

	cfs_sleep_ns(20000000);
	later->rc = put(later->ctl, "/late", "x", 0, NULL);
}

/* A watch that waits is woken by a change of another handle. */
static void watch_waits(enum kind kind)
{
	struct later later = { .rc = 1 };
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct cfs_group g;
	struct plane p;
	uint64_t before_ns;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	later.ctl = plane_open(&p);
	before_ns = cfs_now_ns();
	assert_int_equal(cfs_ctl_watch_open(ctl, "/", 1, &w), 0);
	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, put_later, &later), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	/* Woken, not by its look every five seconds; `local` looks once a second. */
	assert_true(cfs_now_ns() - before_ns < 4000000000);
	assert_int_equal(l.count, 1);
	cfs_ctl_list_fini(&l);
	cfs_group_join(&g);
	assert_int_equal(later.rc, 0);
	cfs_ctl_watch_close(w);
	cfs_ctl_close(ctl);
	cfs_ctl_close(later.ctl);
	plane_fini(&p);
}

static void next_later(void *arg)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl_watch *w = NULL;
	struct later *later = arg;

	assert_int_equal(cfs_ctl_list(later->ctl, "/", &l), 0);
	assert_int_equal(l.count, 0);
	assert_int_equal(cfs_ctl_watch_open(later->ctl, "/", l.rev + 1, &w), 0);
	later->rc = cfs_ctl_watch_next(w, &l);
	cfs_ctl_watch_close(w);
}

/* Who waits for a change that does not come is free at once when it is cancelled, and late when its
 * time is over. */
static void watch_is_cancelled(enum kind kind)
{
	struct later later = { .rc = 1 };
	uint64_t before_ns;
	struct cfs_group g;
	struct plane p;

	plane_init(&p, kind);
	later.ctl = plane_open(&p);
	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, next_later, &later), 0);
	assert_int_equal(cfs_sleep_ns(100000000), 0);
	assert_int_equal(later.rc, 1);
	cfs_group_cancel(&g);
	before_ns = cfs_now_ns();
	cfs_group_join(&g);
	assert_true(cfs_now_ns() - before_ns < 3000000000);
	assert_int_equal(later.rc, -ECANCELED);
	before_ns = cfs_deadline_narrow(cfs_now_ns() + 100000000);
	next_later(&later);
	assert_int_equal(later.rc, -ETIMEDOUT);
	cfs_deadline_restore(before_ns);
	cfs_ctl_close(later.ctl);
	plane_fini(&p);
}

static int etcd_compact_on_thread(void *arg)
{
	char args[64], out[256];

	snprintf(args, sizeof(args), "compact %llu", *(unsigned long long *)arg);
	return etcd_ctl(&cluster, args, out, sizeof(out));
}

static void etcd_compact(unsigned long long rev)
{
	assert_int_equal(cfs_offload(etcd_compact_on_thread, &rev), 0);
}

static void forgets_old_deletions(enum kind kind)
{
	static struct cfs_ctl_put puts[CFS_CTL_TXN_MAX];
	struct cfs_ctl_txn txn = { .puts = puts, .puts_count = CFS_CTL_TXN_MAX };
	static char keys[CFS_CTL_TXN_MAX][32];
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	/* etcd forgets when it is told to. */
	uint32_t rounds = kind == ETCD ? 1 : CFS_CTL_GONE_MAX / CFS_CTL_TXN_MAX;
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t rev = 0;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	for (uint32_t round = 0; round <= rounds; round++) {
		for (uint32_t i = 0; i < CFS_CTL_TXN_MAX; i++) {
			snprintf(keys[i], sizeof(keys[i]), "/gone/%u-%u", round, i);
			puts[i] = (struct cfs_ctl_put){
				.key = keys[i],
				.value = "",
			};
		}
		assert_int_equal(cfs_ctl_txn(ctl, &txn, NULL), 0);
		for (uint32_t i = 0; i < CFS_CTL_TXN_MAX; i++)
			puts[i].value = NULL;
		assert_int_equal(cfs_ctl_txn(ctl, &txn, &rev), 0);
	}
	if (kind == ETCD)
		etcd_compact(rev - 1);
	assert_int_equal(cfs_ctl_watch_open(ctl, "/", 2, &w), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), -ESTALE);
	cfs_ctl_watch_close(w);
	assert_int_equal(cfs_ctl_watch_open(ctl, "/", rev, &w), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_int_equal(l.count, CFS_CTL_TXN_MAX);
	cfs_ctl_list_fini(&l);
	cfs_ctl_watch_close(w);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

static void leases_end(enum kind kind)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t brief, kept, ended;

	plane_init(&p, kind);
	ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_lease_grant(ctl, 100000000, &brief), 0);
	assert_int_equal(cfs_ctl_lease_grant(ctl, 60000000000, &kept), 0);
	assert_int_equal(cfs_ctl_lease_grant(ctl, 60000000000, &ended), 0);
	assert_int_equal(put(ctl, "/l/brief", "b", brief, NULL), 0);
	assert_int_equal(put(ctl, "/l/kept", "k", kept, NULL), 0);
	assert_int_equal(put(ctl, "/l/ended", "e", ended, NULL), 0);
	assert_int_equal(cfs_ctl_lease_keep(ctl, brief), 0);
	assert_value(ctl, "/l/brief", "b");
	assert_int_equal(cfs_ctl_lease_end(ctl, ended), 0);
	/* Never early; etcd has leases of whole seconds, two at least, and looks twice a second. */
	for (uint32_t i = 0; i < 100; i++) {
		cfs_ctl_list_fini(&l);
		assert_int_equal(cfs_sleep_ns(150000000), 0);
		assert_int_equal(cfs_ctl_list(ctl, "/l/", &l), 0);
		if (l.count == 1 || kind != ETCD)
			break;
	}
	assert_int_equal(l.count, 1);
	assert_int_equal(l.kvs[0].lease, kept);
	assert_string_equal(l.kvs[0].key, "/l/kept");
	cfs_ctl_list_fini(&l);
	assert_int_equal(cfs_ctl_lease_keep(ctl, brief), -ENOENT);
	assert_int_equal(cfs_ctl_lease_keep(ctl, kept), 0);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

#define ALL(name) \
	CFS_TEST_FIBER(name##_local) \
	{ \
		name(LOCAL); \
	} \
	CFS_TEST_FIBER(name##_etcd) \
	{ \
		name(ETCD); \
	} \
	CFS_TEST_SIM(name##_mem) \
	{ \
		name(MEM); \
	}

ALL(keeps_what_was_put)
ALL(swaps_or_does_nothing)
ALL(puts_all_or_none)
ALL(bears_the_largest)
ALL(watches_changes)
ALL(watch_waits)
ALL(watch_is_cancelled)
ALL(forgets_old_deletions)
ALL(leases_end)

/* Faults of mem alone. */
CFS_TEST_SIM(fails_and_loses_answers)
{
	struct cfs_ctl_mem_faults faults = { .fail_ppm = 1000000 };
	struct cfs_ctl *ctl;
	struct plane p;

	plane_init(&p, MEM);
	ctl = plane_open(&p);
	cfs_ctl_mem_faults_set(p.mem, &faults);
	assert_int_equal(put(ctl, "/k", "failed", 0, NULL), -EIO);
	assert_int_equal(cfs_ctl_mem_rev(p.mem), 1);
	faults = (struct cfs_ctl_mem_faults){ .lost_ppm = 1000000 };
	cfs_ctl_mem_faults_set(p.mem, &faults);
	assert_int_equal(put(ctl, "/k", "lost", 0, NULL), -EIO);
	assert_value(ctl, "/k", "lost");
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

CFS_TEST_SIM(delays_and_repeats_events)
{
	struct cfs_ctl_mem_faults faults = { .event_delay_ns = 5000000000, .dup_ppm = 1000000 };
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t before_ns = cfs_now_ns();

	plane_init(&p, MEM);
	ctl = plane_open(&p);
	cfs_ctl_mem_faults_set(p.mem, &faults);
	assert_int_equal(put(ctl, "/k", "x", 0, NULL), 0);
	assert_int_equal(cfs_ctl_watch_open(ctl, "/", 1, &w), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_true(cfs_now_ns() - before_ns >= 5000000000);
	cfs_ctl_list_fini(&l);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_int_equal(l.count, 1); /* the same again */
	cfs_ctl_list_fini(&l);
	cfs_ctl_watch_close(w);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

CFS_TEST_SIM(ends_leases_early)
{
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t lease;

	plane_init(&p, MEM);
	ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_lease_grant(ctl, 60000000000, &lease), 0);
	cfs_ctl_mem_expire(p.mem);
	assert_int_equal(cfs_ctl_lease_keep(ctl, lease), -ENOENT);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

#define TESTS_OF(name) \
	cmocka_unit_test(name##_local), cmocka_unit_test(name##_mem), cmocka_unit_test(name##_etcd)

static int cluster_start(void **state)
{
	(void)state;
	return etcd_cluster_start(&cluster, 3, false) < 0 || etcd_leader(&cluster) < 0 ? -1 : 0;
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
		TESTS_OF(keeps_what_was_put),
		TESTS_OF(swaps_or_does_nothing),
		TESTS_OF(puts_all_or_none),
		TESTS_OF(bears_the_largest),
		TESTS_OF(watches_changes),
		TESTS_OF(watch_waits),
		TESTS_OF(watch_is_cancelled),
		TESTS_OF(forgets_old_deletions),
		TESTS_OF(leases_end),
		cmocka_unit_test(fails_and_loses_answers),
		cmocka_unit_test(delays_and_repeats_events),
		cmocka_unit_test(ends_leases_early),
	};

	return cmocka_run_group_tests(tests, cluster_start, cluster_stop);
}
