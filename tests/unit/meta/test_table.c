/* The tables alone: growth, counts, cookies, pins, and what a replay over a newer checkpoint meets.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "lib/test_fiber.h"
#include "meta/table.h"

static int findings;

static void report(void *ctx, const char *what)
{
	(void)ctx;
	findings++;
	fprintf(stderr, "check: %s\n", what);
}

static void check(const struct cfs_tables *t)
{
	findings = 0;
	cfs_tables_check(t, report, NULL);
	assert_int_equal(findings, 0);
}

static struct cfs_inode *put(struct cfs_tables *t, uint64_t ino, uint32_t mode)
{
	struct cfs_attr a = { .ino = ino, .mode = mode, .nlink = 1 };
	struct cfs_inode *i;

	assert_int_equal(cfs_inode_put(t, &a, &i), 0);
	return i;
}

static struct cfs_dentry_value value(const char *name, uint64_t ino, uint32_t mode, uint64_t cookie)
{
	return (struct cfs_dentry_value){ .cookie = cookie,
					  .ino = ino,
					  .mode = mode,
					  .name = { (const uint8_t *)name,
						    (uint32_t)strlen(name) } };
}

static int link_to(struct cfs_tables *t, struct cfs_inode *dir, const char *name, uint64_t ino,
		   uint32_t mode)
{
	struct cfs_dentry_value v = value(name, ino, mode,
					  cfs_dentry_cookie(t, dir, name, (uint32_t)strlen(name)));

	return cfs_dentry_put(t, dir, &v, false);
}

CFS_TEST_SIM(grows_and_shrinks)
{
	struct cfs_tables t;
	struct cfs_inode *dir;
	char name[32];

	assert_int_equal(cfs_tables_init(&t), 0);
	dir = put(&t, 1, S_IFDIR | 0755);
	for (uint64_t i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "name%d", (int)i);
		put(&t, 100 + i, i % 5 ? S_IFREG : S_IFDIR);
		assert_int_equal(link_to(&t, dir, name, 100 + i, i % 5 ? S_IFREG : S_IFDIR), 0);
	}
	assert_int_equal(dir->attr.nlink, 2 + 1000);
	assert_int_equal(dir->attr.size, 5000);
	check(&t);
	for (uint64_t i = 0; i < 5000; i += 2) {
		snprintf(name, sizeof(name), "name%d", (int)i);
		cfs_dentry_remove(&t, cfs_dentry_find(&t, dir, name, (uint32_t)strlen(name)));
		cfs_inode_remove(&t, cfs_inode_find(&t, 100 + i));
	}
	assert_int_equal(t.inode_count, 2501);
	assert_int_equal(t.dentry_count, 2500);
	assert_int_equal(dir->attr.nlink, 2 + 500);
	check(&t);
	cfs_tables_fini(&t);
}

CFS_TEST_SIM(cookies_are_unique_and_keep)
{
	struct cfs_tables t;
	struct cfs_inode *dir;
	struct cfs_dentry *d = NULL;
	uint64_t cookie, n = 0;
	char name[16];

	assert_int_equal(cfs_tables_init(&t), 0);
	t.cookie_modulo = 1;
	dir = put(&t, 1, S_IFDIR | 0755);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(link_to(&t, dir, name, 7, S_IFREG), 0);
	}
	while ((d = cfs_dentry_after(dir, d ? d->cookie : 0)))
		assert_int_equal(d->cookie, CFS_COOKIE_FIRST + n++);
	assert_int_equal(n, 100);
	/* One that goes leaves a gap, which the next one fills; nobody else moves. */
	cfs_dentry_remove(&t, cfs_dentry_find(&t, dir, "n50", 3));
	cookie = cfs_dentry_find(&t, dir, "n51", 3)->cookie;
	assert_int_equal(link_to(&t, dir, "again", 7, S_IFREG), 0);
	assert_int_equal(cfs_dentry_find(&t, dir, "again", 5)->cookie, CFS_COOKIE_FIRST + 50);
	assert_int_equal(cfs_dentry_find(&t, dir, "n51", 3)->cookie, cookie);
	check(&t);
	cfs_tables_fini(&t);
}

CFS_TEST_SIM(the_last_cookie_is_followed_by_the_first)
{
	struct cfs_tables t;
	struct cfs_inode *dir;
	struct cfs_dentry_value v;
	uint64_t at;

	assert_int_equal(cfs_tables_init(&t), 0);
	dir = put(&t, 1, S_IFDIR | 0755);
	/* Takes all from where "x" would be to the end. */
	at = cfs_dentry_cookie(&t, dir, "x", 1);
	v = value("first", 7, S_IFREG, at);
	assert_int_equal(cfs_dentry_put(&t, dir, &v, false), 0);
	assert_int_equal(cfs_dentry_cookie(&t, dir, "x", 1), at + 1);
	v = value("last", 7, S_IFREG, INT64_MAX);
	assert_int_equal(cfs_dentry_put(&t, dir, &v, false), 0);
	v.cookie = (uint64_t)INT64_MAX + 1;
	assert_int_equal(cfs_dentry_put(&t, dir, &v, false), -CFS_EBAD_FORMAT);
	v.cookie = CFS_COOKIE_DOTDOT;
	assert_int_equal(cfs_dentry_put(&t, dir, &v, false), -CFS_EBAD_FORMAT);
	check(&t);
	cfs_tables_fini(&t);
}

CFS_TEST_SIM(a_replay_meets_what_is_newer)
{
	struct cfs_tables t;
	struct cfs_inode *dir;
	struct cfs_dentry_value old = value("old", 7, S_IFREG, 100), twice;

	assert_int_equal(cfs_tables_init(&t), 0);
	dir = put(&t, 1, S_IFDIR | 0755);
	twice = value("newer", 8, S_IFDIR, 100);
	assert_int_equal(cfs_dentry_put(&t, dir, &twice, false), 0);
	assert_int_equal(cfs_dentry_put(&t, dir, &twice, false), 0); /* no count changes */
	assert_int_equal(dir->attr.nlink, 3);
	assert_int_equal(cfs_dentry_put(&t, dir, &old, false), -CFS_EBAD_FORMAT);
	assert_int_equal(cfs_dentry_put(&t, dir, &old, true), 0);
	assert_null(cfs_dentry_find(&t, dir, "newer", 5));
	check(&t);
	twice.cookie = 101;
	assert_int_equal(cfs_dentry_put(&t, dir, &twice, true), 0);
	twice.cookie = 200; /* removed and made again by then */
	assert_int_equal(cfs_dentry_put(&t, dir, &twice, true), 0);
	assert_int_equal(dir->attr.nlink, 3);
	check(&t);
	cfs_tables_fini(&t);
}

CFS_TEST_SIM(pins_keep_memory)
{
	struct cfs_tables t;
	struct cfs_inode *i;

	assert_int_equal(cfs_tables_init(&t), 0);
	i = put(&t, 5, S_IFREG | 0600);
	assert_int_equal(cfs_inode_set_open(i, 77, (struct cfs_opens){ 2, 1 }), 0);
	assert_int_equal(cfs_inode_opens(i, 77).count, 2);
	assert_int_equal(cfs_xattr_put(i, "user.a", 6, "v", 1), 0);
	assert_int_equal(cfs_xattr_put(i, "user.a", 6, "longer", 6), 0);
	assert_int_equal(i->xattr_bytes, 12);
	cfs_inode_pin(i);
	cfs_inode_remove(&t, i);
	assert_true(i->is_gone);
	assert_null(cfs_inode_find(&t, 5));
	cfs_inode_unpin(i);
	check(&t);
	cfs_tables_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_shrinks),
		cmocka_unit_test(cookies_are_unique_and_keep),
		cmocka_unit_test(the_last_cookie_is_followed_by_the_first),
		cmocka_unit_test(a_replay_meets_what_is_newer),
		cmocka_unit_test(pins_keep_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
