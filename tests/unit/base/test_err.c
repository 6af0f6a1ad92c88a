#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>

#include "base/err.h"
#include "base/util.h"

static void names(void **state)
{
	(void)state;
	assert_string_equal(cfs_err_name(0), "OK");
	assert_string_equal(cfs_err_name(17), "OK");
	assert_string_equal(cfs_err_name(-EIO), "EIO");
	assert_string_equal(cfs_err_name(-CFS_EBAD_CHECKSUM), "BAD_CHECKSUM");
	assert_string_equal(cfs_err_name(-1000), "UNKNOWN");
	assert_string_equal(cfs_err_name(-4000), "UNKNOWN");
	assert_string_equal(cfs_err_name(INT_MIN), "UNKNOWN");
}

static void texts(void **state)
{
	(void)state;
	assert_string_equal(cfs_err_text(0), "success");
	assert_string_equal(cfs_err_text(-ENOENT), "No such file or directory");
	assert_string_equal(cfs_err_text(-CFS_ENOT_A_STORE), "not a ClaudeFS store");
	assert_string_equal(cfs_err_text(-4000), "unknown error");
}

static void classes(void **state)
{
	(void)state;
	assert_int_equal(cfs_err_class(0), 0);
	assert_int_equal(cfs_err_class(4096), 4096);
	assert_int_equal(cfs_err_class(-ENOSPC), -ENOSPC);
	assert_int_equal(cfs_err_class(-CFS_EBAD_CHECKSUM), -EIO);
	assert_int_equal(cfs_err_class(-CFS_ESTORE_BUSY), -EBUSY);
	/* What nobody knows never reaches a program as a strange number. */
	assert_int_equal(cfs_err_class(-4000), -EIO);
	assert_int_equal(cfs_err_class(INT_MIN), -EIO);
}

/* Every code has a class that the kernel knows, and no number is used twice. */
static void table(void **state)
{
	static const int codes[] = {
#define X(name, number, class, text) CFS_E##name,
		CFS_ERR_TABLE(X)
#undef X
	};

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(codes); i++) {
		assert_true(codes[i] > CFS_ERR_BASE);
		assert_in_range(-cfs_err_class(-codes[i]), 1, 200);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(codes[i], codes[j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(texts),
		cmocka_unit_test(classes),
		cmocka_unit_test(table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
