#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"

static char path[] = "/tmp/cfs-test-config-XXXXXX";
static struct cfs_config cfg;
static char why[CFS_CONFIG_WHY_BYTES];

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int load(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	cfs_config_defaults(&cfg);
	why[0] = '\0';
	return cfs_config_load(&cfg, path, why);
}

/* The text is refused with @error at its @line, and nothing is changed. */
static void refused(const char *text, int line, const char *error)
{
	struct cfs_config before;
	char expected[CFS_CONFIG_WHY_BYTES];

	cfs_config_defaults(&before);
	assert_int_equal(load(text), -EINVAL);
	snprintf(expected, sizeof(expected), "%s:%d: %s", path, line, error);
	assert_string_equal(why, expected);
	assert_memory_equal(&cfg, &before, sizeof(cfg));
}

static void defaults(void **state)
{
	(void)state;
	cfs_config_defaults(&cfg);
	assert_string_equal(cfg.listen, "");
	assert_string_equal(cfg.fabric, "tcp");
	assert_int_equal(cfg.cores, 0);
	assert_int_equal(cfg.flush_interval, 1000000000);
	assert_int_equal(cfg.cache_size, 64 << 20);
	assert_int_equal(cfg.origin[CFS_CONFIG_KEY_cores], CFS_CONFIG_DEFAULT);
}

static void good_file(void **state)
{
	(void)state;
	assert_int_equal(load("# a comment\n"
			      "cores = 2\n"
			      "[claudefs]\n"
			      "; another\n"
			      "  flush_interval = 250ms ; and one behind\n"
			      "\tcache-size=1G\r\n"
			      "listen = 127.0.0.1:7400"),
			 0);
	assert_int_equal(cfg.cores, 2);
	assert_int_equal(cfg.flush_interval, 250000000);
	assert_true(cfg.cache_size == 1ull << 30);
	assert_string_equal(cfg.listen, "127.0.0.1:7400");
	assert_int_equal(cfg.origin[CFS_CONFIG_KEY_cores], CFS_CONFIG_FILE);
	assert_int_equal(cfg.origin[CFS_CONFIG_KEY_fabric], CFS_CONFIG_DEFAULT);
	assert_int_equal(load(""), 0);
}

static void bad_files(void **state)
{
	(void)state;
	refused("cores = 2\nflush_intervall = 1s\n", 2,
		"unknown key 'flush_intervall'; did you mean 'flush_interval'?");
	refused("zzz = 2\n", 1, "unknown key 'zzz'; `cfs config show` lists them all");
	refused("\n\ncores = 65\n", 3, "cores = 65: out of range, 0 to 64");
	refused("cores = two\n", 1, "cores = two: not a whole number");
	refused("cache_size = 5\n", 1, "cache_size = 5: out of range, 1M to 16T");
	refused("cache_size = 5X\n", 1, "cache_size = 5X: not a size; write 4096, 64K or 8G");
	refused("flush_interval = 5\n", 1,
		"flush_interval = 5: not a time; write 500ms, 5s or 10m");
	refused("fabric = udp\n", 1, "fabric = udp: must be one of tcp|shm");
	refused("fabric = tc\n", 1, "fabric = tc: must be one of tcp|shm");
	refused("cores = 2\nnonsense\n", 2, "not of the form key = value");
	refused("nonsense\ncoresx = 2\n", 1, "not of the form key = value");
	refused("[server]\ncores = 2\n", 2, "unknown section [server]; there is only [claudefs]");
	/* An indented line is a line of its own, not more of the one above. */
	refused("cores = 2\n  core = 3\n", 2, "unknown key 'core'; did you mean 'cores'?");
}

static void long_line(void **state)
{
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "listen = ", 9);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(load(text), -EINVAL);
	assert_non_null(strstr(why, ":1: line is longer than "));
}

static void no_file(void **state)
{
	(void)state;
	cfs_config_defaults(&cfg);
	assert_int_equal(cfs_config_load(&cfg, "/nonexistent/file", why), -ENOENT);
	assert_string_equal(why, "/nonexistent/file: No such file or directory");
	assert_int_equal(cfs_config_load(&cfg, "/tmp", why), -EINVAL);
}

static void arguments(void **state)
{
	(void)state;
	cfs_config_defaults(&cfg);
	assert_int_equal(cfs_config_argument(&cfg, "--cores=3", why), 0);
	assert_int_equal(cfs_config_argument(&cfg, "--tail-size=2M", why), 0);
	assert_int_equal(cfg.cores, 3);
	assert_int_equal(cfg.tail_size, 2 << 20);
	assert_int_equal(cfg.origin[CFS_CONFIG_KEY_cores], CFS_CONFIG_ARGUMENT);
	assert_int_equal(cfs_config_argument(&cfg, "--core=3", why), -ENOENT);
	assert_string_equal(why, "unknown key 'core'; did you mean 'cores'?");
	assert_int_equal(cfs_config_argument(&cfg, "--cores", why), -EINVAL);
	assert_string_equal(why, "--cores needs a value, --cores=0");
	assert_int_equal(cfs_config_argument(&cfg, "--cores=", why), -EINVAL);
	assert_int_equal(cfs_config_argument(&cfg, "store", why), -ENOENT);
	assert_int_equal(cfs_config_argument(&cfg, "--fabric=a\nb", why), -EINVAL);
	assert_int_equal(cfs_config_argument(&cfg, "--listen=a\nb", why), -EINVAL);
	assert_int_equal(cfg.cores, 3);
	assert_string_equal(cfg.listen, "");
}

/* What `cfs config show` prints gives the same configuration again. */
static void show_reads_back(void **state)
{
	struct cfs_config first;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	cfs_config_defaults(&cfg);
	assert_int_equal(cfs_config_argument(&cfg, "--mount_wait=1500ms", why), 0);
	assert_int_equal(cfs_config_argument(&cfg, "--log_level=debug", why), 0);
	assert_int_equal(cfs_config_argument(&cfg, "--state_dir=/var/lib/x y", why), 0);
	cfs_config_show(&cfg, f);
	assert_int_equal(fclose(f), 0);
	first = cfg;
	assert_int_equal(load(text), 0);
	memset(first.origin, 0, sizeof(first.origin));
	memset(cfg.origin, 0, sizeof(cfg.origin));
	assert_memory_equal(&cfg, &first, sizeof(cfg));
	free(text);
}

/* Every key is in the help and in the man page. */
static void documents(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	cfs_config_help(f);
	cfs_config_man(f);
	assert_int_equal(fclose(f), 0);
	for (int key = 0; key < CFS_CONFIG_KEYS; key++) {
		char option[80];

		snprintf(option, sizeof(option), "  --%s=", cfs_config_name(key));
		assert_non_null(strstr(text, option));
	}
	assert_non_null(strstr(text, "*--flush\\_interval*=time\n\t"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),        cmocka_unit_test(good_file),
		cmocka_unit_test(bad_files),       cmocka_unit_test(long_line),
		cmocka_unit_test(no_file),         cmocka_unit_test(arguments),
		cmocka_unit_test(show_reads_back), cmocka_unit_test(documents),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
