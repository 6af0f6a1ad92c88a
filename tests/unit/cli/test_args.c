/* Arguments: the verb's options, the configuration's keys, words, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "cli/cli.h"

static const struct cli_opt opts[] = {
	{ "size", 's', "BYTES", "size" },
	{ "dry-run", 'n', NULL, "switch" },
	{ 0 },
};

static int run_nothing(struct cli *c)
{
	(void)c;
	return CLI_OK;
}

static const struct cli_verb verb = {
	.name = "test",
	.synopsis = "A [B]",
	.summary = "Nothing",
	.opts = opts,
	.words_min = 1,
	.words_max = 2,
	.has_config = true,
	.run = run_nothing,
};

static char config_path[64];

/* Reads @line, blank-separated; a configuration of this test's own comes first. */
static int args(struct cli *c, const char *line)
{
	static char copy[256];
	char *argv[16] = { NULL }, *save = NULL;
	int argc = 0;
	bool is_help;

	snprintf(copy, sizeof(copy), "--config %s %s", config_path, line);
	for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	*c = (struct cli){ .verb = &verb, .name = "cfs test" };
	return cli_args(c, argc, argv, &is_help);
}

static int make_config(void **state)
{
	FILE *f;
	int fd;

	(void)state;
	strcpy(config_path, "/tmp/cfs-test-args-XXXXXX");
	fd = mkstemp(config_path);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return -1;
	fprintf(f, "[claudefs]\ncores = 3\ncache_size = 1M\n");
	return fclose(f);
}

static int remove_config(void **state)
{
	(void)state;
	return unlink(config_path);
}

static void takes_options_and_words(void **state)
{
	struct cli c;

	(void)state;
	assert_int_equal(args(&c, "one --size 8G -n two"), CLI_OK);
	assert_int_equal(c.words_count, 2);
	assert_string_equal(c.words[0], "one");
	assert_string_equal(c.words[1], "two");
	assert_string_equal(cli_opt(&c, "size"), "8G");
	assert_string_equal(cli_opt(&c, "dry-run"), "");
	assert_int_equal(args(&c, "--size=1M one"), CLI_OK);
	assert_string_equal(cli_opt(&c, "size"), "1M");
	assert_null(cli_opt(&c, "dry-run"));
	assert_int_equal(args(&c, "-s 2M -- -one --two"), CLI_OK);
	assert_string_equal(c.words[0], "-one");
	assert_string_equal(c.words[1], "--two");
	assert_int_equal(args(&c, "one --dry_run"), CLI_OK);
	assert_string_equal(cli_opt(&c, "dry-run"), "");
}

static void arguments_override_the_file(void **state)
{
	struct cli c;

	(void)state;
	assert_int_equal(args(&c, "one"), CLI_OK);
	assert_int_equal(c.cfg.cores, 3);
	assert_int_equal(c.cfg.cache_size, 1 << 20);
	assert_int_equal(args(&c, "one --cores=2 --cache-size 2M --listen 1.2.3.4:5"), CLI_OK);
	assert_int_equal(c.cfg.cores, 2);
	assert_int_equal(c.cfg.cache_size, 2 << 20);
	assert_string_equal(c.cfg.listen, "1.2.3.4:5");
	assert_int_equal(c.cfg.origin[CFS_CONFIG_KEY_cores], CFS_CONFIG_ARGUMENT);
	assert_int_equal(c.cfg.origin[CFS_CONFIG_KEY_tail_size], CFS_CONFIG_DEFAULT);
}

static void refuses_what_is_wrong(void **state)
{
	static const char *const lines[] = {
		"",
		"one two three",
		"one --sise 8G",
		"one --size",
		"one -x",
		"one --dry-run=1",
		"one --cores x",
		"one --cores=99999",
		"one --cachesize",
		"one --listen",
	};
	struct cli c;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(args(&c, lines[i]), CLI_USAGE);
}

static void refuses_a_bad_file(void **state)
{
	char *argv[] = { "--config=/nowhere/at/all", "one" };
	struct cli c = { .verb = &verb, .name = "cfs test" };
	bool is_help;

	(void)state;
	assert_int_equal(cli_args(&c, 2, argv, &is_help), CLI_ERROR);
}

static void finds_help_first(void **state)
{
	char *argv[] = { "--nonsense", "--help" };
	struct cli c = { .verb = &verb, .name = "cfs test" };
	bool is_help;

	(void)state;
	assert_int_equal(cli_args(&c, 2, argv, &is_help), CLI_OK);
	assert_true(is_help);
}

static void writes_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{ 0, "0 B" },         { 1023, "1023 B" },          { 1024, "1.00 KiB" },
		{ 1536, "1.50 KiB" }, { 20ull << 30, "20.0 GiB" }, { 300ull << 20, "300 MiB" }
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cli_bytes_text(cases[i].bytes, text);
		assert_string_equal(text, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_options_and_words),
		cmocka_unit_test(arguments_override_the_file),
		cmocka_unit_test(refuses_what_is_wrong),
		cmocka_unit_test(refuses_a_bad_file),
		cmocka_unit_test(finds_help_first),
		cmocka_unit_test(writes_sizes),
	};

	return cmocka_run_group_tests(tests, make_config, remove_config);
}
