#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/cli.h"

#define CLI_LINE_BYTES 1024

/* Not inlined: with the buffers of its callers the frame would be too large. */
__attribute__((noinline)) static void say_line(const struct cli *c, const char *text,
					       const char *next)
{
	char line[CLI_LINE_BYTES];

	snprintf(line, sizeof(line), "%s: %s%s%s", c->name, text, next ? "; try: " : "",
		 next ? next : "");
	for (char *p = line; *p; p++) /* whatever came from outside, it stays one line */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	fflush(stdout);
	fprintf(stderr, "%s\n", line);
}

int cli_fail(const struct cli *c, const char *next, const char *fmt, ...)
{
	char text[CLI_LINE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say_line(c, text, next);
	return CLI_ERROR;
}

int cli_fail_text(const struct cli *c, const char *text)
{
	say_line(c, text, NULL);
	return CLI_ERROR;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	char text[CLI_LINE_BYTES], next[64];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(next, sizeof(next), "cfs %s --help", c->verb ? c->verb->name : "");
	say_line(c, text, c->verb ? next : "cfs help");
	return CLI_USAGE;
}

void cli_warn(const struct cli *c, const char *fmt, ...)
{
	char text[CLI_LINE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say_line(c, text, NULL);
}

bool cli_ask(const char *question)
{
	char answer[16] = "";

	if (!isatty(STDIN_FILENO))
		return false;
	printf("%s [yes/no] ", question);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	answer[strcspn(answer, "\n")] = '\0';
	return strcmp(answer, "yes") == 0;
}

void cli_bytes_text(uint64_t bytes, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1023.95 && unit < CFS_ARRAY_COUNT(units) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 32,
		 value < 10 && unit > 0    ? "%.2f %s"
		 : value < 100 && unit > 0 ? "%.1f %s"
					   : "%.0f %s",
		 value, units[unit]);
}

/* Options that every verb has. */
static const struct cli_opt common_opts[] = {
	{ "help", 'h', NULL, "this text" },
	{ "config", 0, "FILE", "configuration instead of " CFS_CONFIG_PATH },
	{ 0 },
};

static bool names_equal(const char *arg, size_t len, const char *name)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((arg[i] == '_' ? '-' : arg[i]) != (name[i] == '_' ? '-' : name[i]))
			return false;
	return true;
}

/* The position of the option that @arg ("--size=8G", "-f") is, or -1. */
static int opt_find(const struct cli_opt *opts, const char *arg)
{
	for (int i = 0; opts && opts[i].name; i++) {
		if (arg[1] == '-' && names_equal(arg + 2, strcspn(arg + 2, "="), opts[i].name))
			return i;
		if (arg[1] != '-' && opts[i].letter == arg[1] && arg[2] == '\0')
			return i;
	}
	return -1;
}

const char *cli_opt(const struct cli *c, const char *name)
{
	for (uint32_t i = 0; c->verb->opts && c->verb->opts[i].name; i++)
		if (strcmp(c->verb->opts[i].name, name) == 0)
			return c->values[i];
	return NULL;
}

/* Takes the option's value from behind its = or from the next argument. NULL: there is none, which
 * was said. */
static const char *value_of(const struct cli *c, const struct cli_opt *opt, char **argv, int argc,
			    int *at)
{
	const char *equals = argv[*at][1] == '-' ? strchr(argv[*at], '=') : NULL;

	if (!opt->value) {
		if (!equals)
			return "";
		cli_usage(c, "--%s takes no value", opt->name);
		return NULL;
	}
	if (equals)
		return equals + 1;
	if (*at + 1 < argc)
		return argv[++*at];
	cli_usage(c, "--%s needs %s", opt->name, opt->value);
	return NULL;
}

/* Is @arg a key of the configuration that waits for its value in the next argument? */
static bool config_wants_value(const char *arg)
{
#define TAKES_BOOL false
#define TAKES_U64 true
#define TAKES_SIZE true
#define TAKES_DURATION true
#define TAKES_TEXT true
#define TAKES_CHOICE true
#define X(key, type, text, min, max, unit, help) \
	if (names_equal(arg + 2, strlen(arg + 2), #key)) \
		return TAKES_##type;
	if (strncmp(arg, "--", 2) != 0)
		return false;
	CFS_CONFIG_TABLE(X)
#undef X
	return false;
}

static void nearest_consider(const char *name, const char *candidate, const char **best,
			     uint32_t *best_distance)
{
	uint32_t distance = cfs_str_distance(name, candidate);

	if (distance < *best_distance && distance <= 1 + strlen(candidate) / 3) {
		*best = candidate;
		*best_distance = distance;
	}
}

static int unknown_option(const struct cli *c, const char *arg)
{
	const char *best = NULL;
	uint32_t best_distance = UINT32_MAX;
	char name[CFS_STR_DISTANCE_BYTES_MAX] = "";

	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		snprintf(name, sizeof(name), "%.*s", (int)CFS_MIN(len, sizeof(name) - 1), arg + 2);
	}
	for (const struct cli_opt *o = c->verb->opts; o && o->name; o++)
		nearest_consider(name, o->name, &best, &best_distance);
	for (int i = 0; c->verb->has_config && i < CFS_CONFIG_KEYS; i++)
		nearest_consider(name, cfs_config_name((enum cfs_config_key)i), &best,
				 &best_distance);
	if (best && name[0])
		return cli_usage(c, "unknown option '%.64s'; did you mean '--%s'?", arg, best);
	return cli_usage(c, "unknown option '%.64s'", arg);
}

/* One option. */
static int take_option(struct cli *c, int argc, char **argv, int *at)
{
	char why[CFS_CONFIG_WHY_BYTES], joined[CFS_CONFIG_TEXT_BYTES + 64];
	const char *arg = argv[*at];
	int i = opt_find(c->verb->opts, arg), rc;

	if (i >= 0) {
		c->values[i] = value_of(c, &c->verb->opts[i], argv, argc, at);
		return c->values[i] ? CLI_OK : CLI_USAGE;
	}
	i = opt_find(common_opts, arg);
	if (i >= 0)
		return value_of(c, &common_opts[i], argv, argc, at) ? CLI_OK : CLI_USAGE;
	if (!c->verb->has_config)
		return unknown_option(c, arg);
	if (config_wants_value(arg)) {
		if (*at + 1 == argc)
			return cli_usage(c, "%s needs a value", arg);
		snprintf(joined, sizeof(joined), "%s=%s", arg, argv[++*at]);
		arg = joined;
	}
	rc = cfs_config_argument(&c->cfg, arg, why);
	if (rc == -ENOENT)
		return unknown_option(c, arg);
	return rc < 0 ? cli_usage(c, "%s", why) : CLI_OK;
}

/* --config must be known before the arguments override what is in it. */
static int load_config(struct cli *c, int argc, char **argv)
{
	char why[CFS_CONFIG_WHY_BYTES] = "";
	const char *path = NULL;
	int rc;

	cfs_config_defaults(&c->cfg);
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strncmp(argv[i], "--config=", 9) == 0)
			path = argv[i] + 9;
		else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			path = argv[i + 1];
	}
	rc = cfs_config_load(&c->cfg, path ? path : CFS_CONFIG_PATH, why);
	if (rc == 0 || (rc == -ENOENT && !path))
		return CLI_OK;
	if (rc == -EINVAL)
		return cli_fail(c, "correct that line", "%s", why);
	return cli_fail(c, "name a file that can be read", "%s: %s", path ? path : CFS_CONFIG_PATH,
			cfs_err_text(rc));
}

int cli_config_file(struct cli *c)
{
	return load_config(c, 0, NULL);
}

int cli_args(struct cli *c, int argc, char **argv, bool *is_help_out)
{
	int rc = CLI_OK;

	*is_help_out = false;
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		*is_help_out |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
	if (*is_help_out)
		return CLI_OK;
	rc = load_config(c, argc, argv);
	for (int i = 0; rc == CLI_OK && i < argc; i++) {
		bool is_end = strcmp(argv[i], "--") == 0;

		if (!is_end && argv[i][0] == '-' && argv[i][1]) {
			rc = take_option(c, argc, argv, &i);
			continue;
		}
		for (i += is_end; i < argc && rc == CLI_OK; i++) {
			if (c->words_count == CFS_MIN(c->verb->words_max, CLI_WORDS_MAX))
				return cli_usage(c, "too many arguments, from '%.64s' on", argv[i]);
			c->words[c->words_count++] = argv[i];
			if (!is_end)
				break;
		}
	}
	if (rc == CLI_OK && c->words_count < c->verb->words_min)
		return cli_usage(c, "too few arguments; it is: cfs %s %s", c->verb->name,
				 c->verb->synopsis);
	return rc;
}

static void print_opts(const struct cli_opt *opts)
{
	char head[64];

	for (; opts && opts->name; opts++) {
		snprintf(head, sizeof(head), "%s%c%s--%s%s%s", opts->letter ? "-" : " ",
			 opts->letter ? opts->letter : ' ', opts->letter ? ", " : "  ", opts->name,
			 opts->value ? " " : "", opts->value ? opts->value : "");
		printf("  %-28s %s\n", head, opts->help);
	}
}

void cli_help(const struct cli_verb *verb)
{
	printf("usage: cfs %s %s\n\n%s.\n", verb->name, verb->synopsis, verb->summary);
	if (verb->text)
		printf("\n%s\n", verb->text);
	printf("\noptions:\n");
	print_opts(verb->opts);
	print_opts(common_opts);
	if (verb->has_config) {
		printf("\nkeys of the configuration, as options:\n");
		cfs_config_help(stdout);
	}
	if (verb->examples)
		printf("\nexamples:\n%s", verb->examples);
}
