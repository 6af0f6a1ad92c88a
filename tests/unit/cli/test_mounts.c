/* The kernel's list of mounts, and paths. */
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

#include "cli/mounts.h"

static void finds_mounts(void **state)
{
	struct cli_mount *m = NULL;

	(void)state;
	assert_int_equal(cli_mount_find("/proc", &m), 1);
	assert_string_equal(m->type, "proc");
	assert_string_equal(m->dir, "/proc");
	assert_non_null(strchr(m->device, ':'));
	assert_false(cli_mount_is_ours(m));
	assert_int_equal(cli_mount_process(m), -ESRCH);
	free(m);
	m = NULL;
	assert_int_equal(cli_mount_find("/nowhere at all", &m), 0);
	assert_null(m);
}

static void resolves_paths(void **state)
{
	char dir[] = "/tmp/cfs-test-mounts-XXXXXX", path[96], want[96], *out = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink(dir, path), 0);
	assert_int_equal(cli_path_resolve(path, &out), 0);
	assert_string_equal(out, dir);
	free(out);
	snprintf(want, sizeof(want), "%s/new", dir);
	snprintf(path, sizeof(path), "%s/link/new//", dir);
	assert_int_equal(cli_path_resolve(path, &out), 0);
	assert_string_equal(out, want);
	free(out);
	snprintf(path, sizeof(path), "%s/no/new", dir);
	assert_int_equal(cli_path_resolve(path, &out), -ENOENT);
	assert_int_equal(cli_path_resolve("", &out), -ENOENT);
	assert_int_equal(cli_path_resolve("/", &out), 0);
	assert_string_equal(out, "/");
	free(out);
	snprintf(path, sizeof(path), "%s/link", dir);
	unlink(path);
	rmdir(dir);
}

static void probes(void **state)
{
	(void)state;
	assert_int_equal(cli_mount_probe("/", 2000), 0);
	assert_int_equal(cli_mount_probe("/nowhere", 2000), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_mounts),
		cmocka_unit_test(resolves_paths),
		cmocka_unit_test(probes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
