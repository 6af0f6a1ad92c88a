/* What every engine promises: the same bodies run over `local` and over `mem`. */
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
#include "lib/test_fiber.h"

struct plane {
	char dir[64];
	struct cfs_ctl_mem *mem;
};

static void plane_init(struct plane *p, bool is_local)
{
	*p = (struct plane){ 0 };
	strcpy(p->dir, "/tmp/cfs-test-ctl-XXXXXX");
	if (is_local)
		assert_non_null(mkdtemp(p->dir));
	else
		assert_int_equal(cfs_ctl_mem_create(7, &p->mem), 0);
}

static struct cfs_ctl *plane_open(struct plane *p)
{
	char path[96], why[256] = "";
	struct cfs_ctl *ctl = NULL;

	snprintf(path, sizeof(path), "%s/control.sqlite", p->dir);
	if (p->mem)
		assert_int_equal(cfs_ctl_mem_open(p->mem, &ctl), 0);
	else
		assert_int_equal(cfs_ctl_open_local(path, &ctl, why, sizeof(why)), 0);
	assert_string_equal(cfs_ctl_engine(ctl), p->mem ? "mem" : "local");
	return ctl;
}

static void plane_fini(struct plane *p)
{
	static const char *const names[] = { "control.sqlite", "control.sqlite-wal",
					     "control.sqlite-shm" };
	char path[96];

	if (p->mem) {
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

static void keeps_what_was_put(bool is_local)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t rev1, rev2;

	plane_init(&p, is_local);
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

static void swaps_or_does_nothing(bool is_local)
{
	struct cfs_ctl *a, *b;
	struct plane p;
	uint64_t rev;

	plane_init(&p, is_local);
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
static void puts_all_or_none(bool is_local)
{
	struct cfs_ctl_put puts[2] = {
		{ .key = "/k1", .value = "1", .len_bytes = 1 },
		{ .key = "/k2", .value = "2", .len_bytes = 1, .lease = 99 }
	};
	struct cfs_ctl_txn txn = { .puts = puts, .puts_count = 2 };
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;

	plane_init(&p, is_local);
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

static void watches_changes(bool is_local)
{
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *a, *b;
	struct plane p;
	uint64_t rev;

	plane_init(&p, is_local);
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
static void watch_waits(bool is_local)
{
	struct later later = { .rc = 1 };
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct cfs_group g;
	struct plane p;

	plane_init(&p, is_local);
	ctl = plane_open(&p);
	later.ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_watch_open(ctl, "/", 1, &w), 0);
	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, put_later, &later), 0);
	assert_int_equal(cfs_ctl_watch_next(w, &l), 0);
	assert_int_equal(l.count, 1);
	cfs_ctl_list_fini(&l);
	cfs_group_join(&g);
	assert_int_equal(later.rc, 0);
	cfs_ctl_watch_close(w);
	cfs_ctl_close(ctl);
	cfs_ctl_close(later.ctl);
	plane_fini(&p);
}

static void forgets_old_deletions(bool is_local)
{
	static struct cfs_ctl_put puts[CFS_CTL_TXN_MAX];
	struct cfs_ctl_txn txn = { .puts = puts, .puts_count = CFS_CTL_TXN_MAX };
	static char keys[CFS_CTL_TXN_MAX][32];
	struct cfs_ctl_watch *w = NULL;
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t rev = 0;

	plane_init(&p, is_local);
	ctl = plane_open(&p);
	for (uint32_t round = 0; round <= CFS_CTL_GONE_MAX / CFS_CTL_TXN_MAX; round++) {
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

static void leases_end(bool is_local)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl;
	struct plane p;
	uint64_t brief, kept, ended;

	plane_init(&p, is_local);
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
	assert_int_equal(cfs_sleep_ns(150000000), 0);
	assert_int_equal(cfs_ctl_list(ctl, "/l/", &l), 0);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.kvs[0].key, "/l/kept");
	cfs_ctl_list_fini(&l);
	assert_int_equal(cfs_ctl_lease_keep(ctl, brief), -ENOENT);
	assert_int_equal(cfs_ctl_lease_keep(ctl, kept), 0);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

#define BOTH(name) \
	CFS_TEST_FIBER(name##_local) \
	{ \
		name(true); \
	} \
	CFS_TEST_SIM(name##_mem) \
	{ \
		name(false); \
	}

BOTH(keeps_what_was_put)
BOTH(swaps_or_does_nothing)
BOTH(puts_all_or_none)
BOTH(watches_changes)
BOTH(watch_waits)
BOTH(forgets_old_deletions)
BOTH(leases_end)

/* Faults of mem alone. */
CFS_TEST_SIM(fails_and_loses_answers)
{
	struct cfs_ctl_mem_faults faults = { .fail_ppm = 1000000 };
	struct cfs_ctl *ctl;
	struct plane p;

	plane_init(&p, false);
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

	plane_init(&p, false);
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

	plane_init(&p, false);
	ctl = plane_open(&p);
	assert_int_equal(cfs_ctl_lease_grant(ctl, 60000000000, &lease), 0);
	cfs_ctl_mem_expire(p.mem);
	assert_int_equal(cfs_ctl_lease_keep(ctl, lease), -ENOENT);
	cfs_ctl_close(ctl);
	plane_fini(&p);
}

#define TESTS_OF(name) cmocka_unit_test(name##_local), cmocka_unit_test(name##_mem)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS_OF(keeps_what_was_put),
		TESTS_OF(swaps_or_does_nothing),
		TESTS_OF(puts_all_or_none),
		TESTS_OF(watches_changes),
		TESTS_OF(watch_waits),
		TESTS_OF(forgets_old_deletions),
		TESTS_OF(leases_end),
		cmocka_unit_test(fails_and_loses_answers),
		cmocka_unit_test(delays_and_repeats_events),
		cmocka_unit_test(ends_leases_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
