/* Lists of items, and answers as bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "repl/shard_format.h"

static void items_come_back(__attribute__((unused)) void **state)
{
	uint8_t buf[64];
	struct cfs_items it;
	struct cfs_item item;
	uint32_t at = 0;
	uint8_t *p;

	cfs_items_init(&it, buf, sizeof(buf));
	p = cfs_items_add(&it, 40, 5);
	assert_non_null(p);
	memcpy(p, "hello", 5);
	assert_non_null(cfs_items_add(&it, 41, 0));
	assert_int_equal(cfs_items_rc(&it), 0);
	assert_int_equal(cfs_items_next(buf, it.len_bytes, &at, &item), 1);
	assert_int_equal(item.kind, 40);
	assert_int_equal(item.len_bytes, 5);
	assert_memory_equal(item.data, "hello", 5);
	assert_int_equal(cfs_items_next(buf, it.len_bytes, &at, &item), 1);
	assert_int_equal(item.kind, 41);
	assert_int_equal(item.len_bytes, 0);
	assert_int_equal(cfs_items_next(buf, it.len_bytes, &at, &item), 0);
}

static void overflow_is_remembered(__attribute__((unused)) void **state)
{
	uint8_t buf[24];
	struct cfs_items it;

	cfs_items_init(&it, buf, sizeof(buf));
	assert_non_null(cfs_items_add(&it, 40, 8));
	assert_null(cfs_items_add(&it, 40, 1));
	/* Also for one that would fit. */
	assert_null(cfs_items_add(&it, 40, 0));
	assert_int_equal(cfs_items_rc(&it), -EMSGSIZE);
	assert_int_equal(it.len_bytes, 16);
	cfs_items_init(&it, buf, sizeof(buf));
	assert_null(cfs_items_add(&it, 40, UINT32_MAX));
}

static int first(const uint8_t *buf, uint32_t len)
{
	struct cfs_item item;
	uint32_t at = 0;

	return cfs_items_next(buf, len, &at, &item);
}

static void bad_items_are_refused(__attribute__((unused)) void **state)
{
	uint8_t buf[16];
	struct cfs_items it;

	cfs_items_init(&it, buf, sizeof(buf));
	assert_non_null(cfs_items_add(&it, 40, 8));
	assert_int_equal(first(buf, 16), 1);
	assert_int_equal(first(buf, 15), -CFS_EBAD_FORMAT);
	assert_int_equal(first(buf, 7), -CFS_EBAD_FORMAT);
	buf[1] = 2;
	assert_int_equal(first(buf, 16), -CFS_EBAD_VERSION);
	buf[1] = 0;
	assert_int_equal(first(buf, 16), -CFS_EBAD_FORMAT);
	buf[1] = 1;
	buf[2] = 1;
	assert_int_equal(first(buf, 16), -CFS_EBAD_FORMAT);
	buf[2] = 0;
	buf[0] = 0;
	assert_int_equal(first(buf, 16), -CFS_EBAD_FORMAT);
	buf[0] = 40;
	memset(buf + 4, 0xff, 4);
	assert_int_equal(first(buf, 16), -CFS_EBAD_FORMAT);
}

static void answers_come_back(__attribute__((unused)) void **state)
{
	uint8_t buf[CFS_ANSWER_BYTES_MAX], attr[CFS_ATTR_BYTES];
	struct cfs_msg m = { 0 }, out = { 0 };
	int len;

	memset(attr, 7, sizeof(attr));
	cfs_msg_set(&m, ino, 0x1234567890abcdefull);
	cfs_msg_set(&m, mtime, -5);
	cfs_msg_set(&m, mode, 0644);
	cfs_msg_set(&m, rc, -ENOENT);
	cfs_msg_set_bytes(&m, attr, attr, sizeof(attr));
	cfs_msg_set_bytes(&m, name, (const uint8_t *)"", 0);
	len = cfs_answer_encode(&m, buf, sizeof(buf));
	assert_true(len > 0);
	assert_int_equal(cfs_answer_decode(buf, (uint32_t)len, &out), 0);
	assert_true(out.has == m.has);
	assert_true(out.ino == m.ino);
	assert_int_equal(out.mtime, -5);
	assert_int_equal(out.mode, 0644);
	assert_int_equal(out.rc, -ENOENT);
	assert_int_equal(out.attr.len, sizeof(attr));
	assert_memory_equal(out.attr.p, attr, sizeof(attr));
	assert_int_equal(out.name.len, 0);
	for (int cut = 0; cut < len; cut++)
		assert_int_equal(cfs_answer_decode(buf, (uint32_t)cut, &out), -CFS_EBAD_FORMAT);
	buf[7] = 0x80; /* a field that there is not */
	assert_int_equal(cfs_answer_decode(buf, (uint32_t)len, &out), -CFS_EBAD_FORMAT);
	assert_int_equal(cfs_answer_encode(&m, buf, 100), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_back),
		cmocka_unit_test(overflow_is_remembered),
		cmocka_unit_test(bad_items_are_refused),
		cmocka_unit_test(answers_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
