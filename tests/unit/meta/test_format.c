/* Items of the namespace: each comes back as it went, and every shorter or longer one is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "meta/lock_format.h"
#include "meta/meta_format.h"
#include "meta/table.h"

#define BYTES(s) ((struct cfs_bytes){ (const uint8_t *)(s), (uint32_t)strlen(s) })

static uint8_t buf[4096];

static struct cfs_item one(struct cfs_items *it, uint8_t kind)
{
	struct cfs_item item;
	uint32_t at = 0;

	assert_int_equal(cfs_items_rc(it), 0);
	assert_int_equal(cfs_items_next(it->buf, it->len_bytes, &at, &item), 1);
	assert_int_equal(at, it->len_bytes);
	assert_int_equal(item.kind, kind);
	return item;
}

static void sets_come_back(void **state)
{
	struct cfs_attr_set in = { .mask = CFS_A_ALL,
				   .attr = { .mode = 1,
					     .nlink = 2,
					     .uid = 3,
					     .gid = 4,
					     .size = 5,
					     .blocks = 6,
					     .atime = -7,
					     .mtime = 8,
					     .ctime = 9,
					     .cut = 10,
					     .seed = 11,
					     .iflags = 12 } };
	struct cfs_attr_set out;
	struct cfs_items it;
	struct cfs_item item;
	uint64_t ino;

	(void)state;
	for (uint32_t mask = 0; mask <= CFS_A_ALL; mask++) {
		struct cfs_attr want = { 0 };

		cfs_items_init(&it, buf, sizeof(buf));
		in.mask = mask;
		cfs_meta_add_set(&it, 42, &in);
		item = one(&it, CFS_META_SET);
		assert_int_equal(cfs_meta_get_set(&item, &ino, &out), 0);
		assert_int_equal(ino, 42);
		assert_int_equal(out.mask, mask);
		cfs_attr_merge(&want, &in.attr, mask);
		assert_memory_equal(&out.attr, &want, sizeof(want));
		item.len_bytes--;
		assert_int_equal(cfs_meta_get_set(&item, &ino, &out), -CFS_EBAD_FORMAT);
		item.len_bytes += 2;
		assert_int_equal(cfs_meta_get_set(&item, &ino, &out), -CFS_EBAD_FORMAT);
	}
}

static void dentries_come_back(void **state)
{
	struct cfs_dentry_value in = { .cookie = 100,
				       .ino = 2,
				       .place = 3,
				       .mode = 4,
				       .uid = 5,
				       .gid = 6,
				       .name = BYTES("name") };
	struct cfs_dentry_value out;
	struct cfs_items it;
	struct cfs_item item;
	struct cfs_bytes name;
	uint64_t dir, time;

	(void)state;
	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_dentry(&it, 9, &in, 77);
	item = one(&it, CFS_META_DENTRY);
	assert_int_equal(cfs_meta_get_dentry(&item, &dir, &out, &time), 0);
	assert_int_equal(dir, 9);
	assert_int_equal(time, 77);
	assert_int_equal(out.cookie, 100);
	assert_int_equal(out.gid, 6);
	assert_int_equal(out.name.len, 4);
	assert_memory_equal(out.name.p, "name", 4);
	item.len_bytes = sizeof(struct cfs_meta_dentry); /* no name */
	assert_int_equal(cfs_meta_get_dentry(&item, &dir, &out, &time), -CFS_EBAD_FORMAT);
	item.len_bytes += CFS_NAME_BYTES_MAX + 1;
	assert_int_equal(cfs_meta_get_dentry(&item, &dir, &out, &time), -CFS_EBAD_FORMAT);

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_dentry_del(&it, 9, BYTES("x"), 78);
	item = one(&it, CFS_META_DENTRY_DEL);
	assert_int_equal(cfs_meta_get_dentry_del(&item, &dir, &name, &time), 0);
	assert_int_equal(name.len, 1);
	assert_int_equal(time, 78);
	item.len_bytes--;
	assert_int_equal(cfs_meta_get_dentry_del(&item, &dir, &name, &time), -CFS_EBAD_FORMAT);
}

static void the_others_come_back(void **state)
{
	struct cfs_bytes name, value;
	struct cfs_items it;
	struct cfs_item item;
	uint64_t a, b;
	struct cfs_opens opens;
	bool is_pending;

	(void)state;
	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_xattr(&it, 5, BYTES("user.x"), BYTES("value"));
	item = one(&it, CFS_META_XATTR);
	assert_int_equal(cfs_meta_get_xattr(&item, &a, &name, &value), 0);
	assert_int_equal(value.len, 5);
	item.len_bytes -= 6; /* shorter than its name */
	assert_int_equal(cfs_meta_get_xattr(&item, &a, &name, &value), -CFS_EBAD_FORMAT);
	item.len_bytes = 3;
	assert_int_equal(cfs_meta_get_xattr(&item, &a, &name, &value), -CFS_EBAD_FORMAT);

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_dir_parent(&it, 5, 6, BYTES(""));
	item = one(&it, CFS_META_DIR_PARENT);
	assert_int_equal(cfs_meta_get_dir_parent(&item, &a, &b, &name), 0);
	assert_int_equal(b, 6);
	assert_int_equal(name.len, 0);
	item.len_bytes--;
	assert_int_equal(cfs_meta_get_dir_parent(&item, &a, &b, &name), -CFS_EBAD_FORMAT);

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_open(&it, 5, 6, &(struct cfs_opens){ 7, 3 });
	item = one(&it, CFS_META_OPEN);
	assert_int_equal(cfs_meta_get_open(&item, &a, &b, &opens), 0);
	assert_int_equal(opens.count, 7);
	assert_int_equal(opens.writes, 3);
	item.len_bytes++;
	assert_int_equal(cfs_meta_get_open(&item, &a, &b, &opens), -CFS_EBAD_FORMAT);

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_forwarded(&it, 5, 6, true);
	item = one(&it, CFS_META_FORWARDED);
	assert_int_equal(cfs_meta_get_forwarded(&item, &a, &b, &is_pending), 0);
	assert_true(is_pending);
	item.len_bytes--;
	assert_int_equal(cfs_meta_get_forwarded(&item, &a, &b, &is_pending), -CFS_EBAD_FORMAT);

	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_serials(&it, 5);
	item = one(&it, CFS_META_SERIALS);
	assert_int_equal(cfs_meta_get_serials(&item, &a), 0);
	assert_int_equal(a, 5);
	item.len_bytes--;
	assert_int_equal(cfs_meta_get_serials(&item, &a), -CFS_EBAD_FORMAT);
}

static void locks_come_back(void **state)
{
	const struct cfs_range_lock in = { .session = 6,
					   .owner = 7,
					   .start = 8,
					   .end = CFS_LOCK_END_MAX,
					   .pid = 9,
					   .type = CFS_LOCK_NONE,
					   .is_flock = true };
	struct cfs_range_lock out = { 0 };
	struct cfs_items it;
	struct cfs_item item;
	uint64_t ino;

	(void)state;
	cfs_items_init(&it, buf, sizeof(buf));
	cfs_meta_add_lock(&it, 5, &in);
	item = one(&it, CFS_META_LOCK);
	assert_int_equal(cfs_meta_get_lock(&item, &ino, &out), 0);
	assert_int_equal(ino, 5);
	assert_int_equal(out.session, 6);
	assert_int_equal(out.owner, 7);
	assert_int_equal(out.start, 8);
	assert_int_equal(out.end, CFS_LOCK_END_MAX);
	assert_int_equal(out.pid, 9);
	assert_int_equal(out.type, CFS_LOCK_NONE);
	assert_true(out.is_flock);
	item.len_bytes--;
	assert_int_equal(cfs_meta_get_lock(&item, &ino, &out), -CFS_EBAD_FORMAT);
	item.len_bytes += 2;
	assert_int_equal(cfs_meta_get_lock(&item, &ino, &out), -CFS_EBAD_FORMAT);
	/* A type, a kind and a range that are none. */
	for (uint32_t at = 0; at < 3; at++) {
		static const uint32_t bytes[] = { 44, 46, 39 };

		cfs_items_init(&it, buf, sizeof(buf));
		cfs_meta_add_lock(&it, 5, &in);
		item = one(&it, CFS_META_LOCK);
		((uint8_t *)(uintptr_t)item.data)[bytes[at]] = 0xff;
		assert_int_equal(cfs_meta_get_lock(&item, &ino, &out), -CFS_EBAD_FORMAT);
	}
}

static void overflow_is_remembered(void **state)
{
	struct cfs_items it;

	(void)state;
	cfs_items_init(&it, buf, 20);
	cfs_meta_add_open(&it, 5, 6, &(struct cfs_opens){ 7, 0 });
	assert_int_equal(cfs_items_rc(&it), -EMSGSIZE);
	assert_int_equal(it.len_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_come_back),         cmocka_unit_test(dentries_come_back),
		cmocka_unit_test(the_others_come_back),   cmocka_unit_test(locks_come_back),
		cmocka_unit_test(overflow_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
