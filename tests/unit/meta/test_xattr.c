/* Extended attributes: flags, limits, and that they survive a checkpoint. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "harness.h"
#include "lib/test_fiber.h"

static const struct harness_opts one = { .shards = 1, .stores = 1 };

/* Starts with a file. */
static CFS_AWAITS struct harness *start(uint64_t *ino)
{
	struct harness *h = malloc(sizeof(*h));

	assert_non_null(h);
	harness_init(h, &one);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, ino), 0);
	return h;
}

static CFS_AWAITS void finish(struct harness *h)
{
	assert_int_equal(harness_check(h), 0);
	harness_fini(h);
	free(h);
}

static CFS_AWAITS int list(struct harness *h, uint64_t ino, char *out, uint32_t cap, uint32_t flags)
{
	struct cfs_msg m = { .op = CFS_OP_LISTXATTR };
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set(&m, len, cap);
	cfs_msg_set(&m, flags, flags);
	rc = harness_call(h, &m, &r);
	if (rc == 0) {
		if (cfs_msg_is_set(&r.msg, data) && r.msg.data.len)
			memcpy(out, r.msg.data.p, r.msg.data.len);
		rc = (int)r.msg.len;
	}
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int drop(struct harness *h, uint64_t ino, const char *name)
{
	struct cfs_msg m = { .op = CFS_OP_REMOVEXATTR };
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set_bytes(&m, name, (const uint8_t *)name, (uint32_t)strlen(name));
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_TEST_SIM(set_get_list_remove)
{
	uint64_t f;
	struct harness *h = start(&f);
	struct cfs_attr before, after;
	char buf[64];

	assert_int_equal(hs_getattr(h, f, &before), 0);
	assert_int_equal(hs_setxattr(h, f, "user.a", "one", 3, 0), 0);
	assert_int_equal(hs_getattr(h, f, &after), 0);
	assert_true(after.ctime > before.ctime);
	assert_int_equal(after.mtime, before.mtime);
	assert_int_equal(hs_setxattr(h, f, "user.a", "x", 1, CFS_F_XATTR_CREATE), -EEXIST);
	assert_int_equal(hs_setxattr(h, f, "user.b", "x", 1, CFS_F_XATTR_REPLACE), -ENODATA);
	assert_int_equal(hs_setxattr(h, f, "user.a", "two!", 4, CFS_F_XATTR_REPLACE), 0);
	assert_int_equal(hs_setxattr(h, f, "security.selinux", "", 0, 0), 0);
	assert_int_equal(hs_getxattr(h, f, "user.a", buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "two!", 4);
	assert_int_equal(hs_getxattr(h, f, "user.a", buf, 0), 4);
	assert_int_equal(hs_getxattr(h, f, "user.a", buf, 3), -ERANGE);
	assert_int_equal(hs_getxattr(h, f, "user.none", buf, 3), -ENODATA);
	assert_int_equal(hs_getxattr(h, f, "security.selinux", buf, 64), 0);
	assert_int_equal(list(h, f, buf, 0, 0), 7 + 17);
	assert_int_equal(list(h, f, buf, 5, 0), -ERANGE);
	assert_int_equal(list(h, f, buf, sizeof(buf), 0), 7 + 17);
	assert_memory_equal(buf, "user.a\0security.selinux", 24);
	assert_int_equal(drop(h, f, "user.none"), -ENODATA);
	assert_int_equal(drop(h, f, "user.a"), 0);
	assert_int_equal(hs_getxattr(h, f, "user.a", buf, 64), -ENODATA);
	finish(h);
}

CFS_TEST_SIM(namespaces)
{
	uint64_t f, l;
	struct harness *h = start(&f);
	char buf[64];

	assert_int_equal(hs_setxattr(h, f, "trusted.x", "1", 1, 0), 0);
	assert_int_equal(hs_setxattr(h, f, "system.other", "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(hs_setxattr(h, f, "user.", "1", 1, 0), -EINVAL);
	assert_int_equal(hs_setxattr(h, f, "nothing", "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(hs_setxattr(h, f, "user.y", "1", 1, 0), 0);
	/* Of symbolic links and such, no user.; to the world no trusted. */
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "f", &l), 0);
	assert_int_equal(hs_setxattr(h, l, "user.x", "1", 1, 0), -EPERM);
	assert_int_equal(hs_setxattr(h, l, "trusted.x", "1", 1, 0), 0);
	assert_int_equal(list(h, f, buf, 64, 0), 10 + 7);
	assert_int_equal(list(h, f, buf, 64, CFS_F_NO_TRUSTED), 7);
	assert_memory_equal(buf, "user.y", 7);
	assert_int_equal(list(h, l, buf, 0, CFS_F_NO_TRUSTED), 0);
	finish(h);
}

static CFS_AWAITS uint32_t lazy_ms(struct harness *h, uint64_t ino)
{
	struct cfs_attr a;

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return cfs_attr_lazy_ms(&a);
}

CFS_TEST_SIM(how_late_a_file_may_be_seen)
{
	static const char *const wrong[] = { "",         "0",  "000", "60001", "4294967297",
					     "99999999", "-1", "1s",  " 5",    "5\n" };
	static const char name[] = "claudefs.lazy";
	uint64_t f, l, d;
	struct harness *h = start(&f);

	for (uint32_t k = 0; k < CFS_ARRAY_COUNT(wrong); k++)
		assert_int_equal(hs_setxattr(h, f, name, wrong[k], (uint32_t)strlen(wrong[k]), 0),
				 -EINVAL);
	assert_int_equal(hs_setxattr(h, f, "claudefs.lazyy", "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(lazy_ms(h, f), 0);
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "f", &l), 0);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_setxattr(h, l, name, "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(hs_setxattr(h, d, name, "1", 1, 0), -EOPNOTSUPP);
	assert_int_equal(hs_setxattr(h, f, name, "60000", 5, 0), 0);
	assert_int_equal(lazy_ms(h, f), 60000);
	assert_int_equal(hs_setxattr(h, f, name, "0250", 4, 0), 0);
	assert_int_equal(lazy_ms(h, f), 250);
	/* Beside other attributes, and after a restart. */
	assert_int_equal(hs_setxattr(h, f, "user.a", "x", 1, 0), 0);
	assert_int_equal(hs_chmod(h, f, 0600), 0);
	assert_int_equal(lazy_ms(h, f), 250);
	harness_checkpoint(h);
	harness_sync(h);
	harness_stop(h);
	harness_start(h);
	assert_int_equal(lazy_ms(h, f), 250);
	assert_int_equal(drop(h, f, name), 0);
	assert_int_equal(lazy_ms(h, f), 0);
	finish(h);
}

CFS_TEST_SIM(limits_and_checkpoint)
{
	uint64_t f;
	struct harness *h = start(&f);
	const uint32_t most = CFS_XATTR_BYTES_MAX;
	char *value = malloc(most + 1), *got = malloc(most);

	assert_non_null(value);
	assert_non_null(got);
	memset(value, 'v', most + 1);
	assert_int_equal(hs_setxattr(h, f, "user.big", value, most, 0), 0);
	assert_true(hs_setxattr(h, f, "user.more", value, most + 1, 0) < 0);
	/* Both together are past what one inode may have, by their names. */
	assert_int_equal(hs_setxattr(h, f, "user.more", value, most, 0), -ENOSPC);
	assert_int_equal(hs_setxattr(h, f, "user.more", value, most - 17, 0), 0);
	assert_int_equal(hs_setxattr(h, f, "user.m", value, 1, 0), -ENOSPC);
	harness_checkpoint(h);
	harness_sync(h);
	harness_stop(h);
	harness_start(h);
	assert_int_equal(hs_getxattr(h, f, "user.big", got, most), (int)most);
	assert_memory_equal(got, value, most);
	assert_int_equal(hs_getxattr(h, f, "user.more", got, most), (int)most - 17);
	assert_int_equal(drop(h, f, "user.big"), 0);
	assert_int_equal(hs_setxattr(h, f, "user.m", value, 1, 0), 0);
	free(value);
	free(got);
	finish(h);
}

/* What can be set can be listed. */
CFS_TEST_SIM(names_fit_a_list)
{
	uint64_t f;
	struct harness *h = start(&f);
	char name[256], *buf = malloc(CFS_XATTR_BYTES_MAX);
	int rc = 0;

	assert_non_null(buf);
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = 0;
	for (int k = 0; rc == 0 && k < 400; k++) {
		name[6] = (char)('a' + k % 20);
		name[7] = (char)('a' + k / 20);
		rc = hs_setxattr(h, f, name, "", 0, 0);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(list(h, f, buf, CFS_XATTR_BYTES_MAX, 0), CFS_XATTR_BYTES_MAX);
	free(buf);
	finish(h);
}

static CFS_AWAITS void checkpoint(void *arg)
{
	harness_checkpoint(arg);
}

/* One goes while a checkpoint writes the others: it has them all the same. */
CFS_TEST_SIM(removed_while_written)
{
	static uint8_t value[15000];
	uint64_t ino;
	struct harness *h = start(&ino);
	char name[32];

	for (uint32_t round = 0; round < 40; round++) {
		struct cfs_group g;

		for (uint32_t k = 0; k < 8; k++) {
			snprintf(name, sizeof(name), "user.%u", k);
			assert_int_equal(hs_setxattr(h, ino, name, value, sizeof(value), 0), 0);
		}
		/* The one before counts then, so that there is a next. */
		harness_sync(h);
		cfs_group_init(&g);
		assert_int_equal(cfs_group_start(&g, checkpoint, h), 0);
		for (uint32_t k = 0; k < round; k++)
			cfs_sleep_ns(20000);
		assert_int_equal(drop(h, ino, "user.0"), 0);
		cfs_group_join(&g);
		harness_sync(h);
		harness_kill(h, false);
		harness_start(h);
		assert_int_equal(hs_getxattr(h, ino, "user.0", value, 0), -ENODATA);
		for (uint32_t k = 1; k < 8; k++) {
			snprintf(name, sizeof(name), "user.%u", k);
			assert_int_equal(hs_getxattr(h, ino, name, value, 0), sizeof(value));
		}
	}
	finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_get_list_remove),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(limits_and_checkpoint),
		cmocka_unit_test(names_fit_a_list),
		cmocka_unit_test(removed_while_written),
		cmocka_unit_test(how_late_a_file_may_be_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
