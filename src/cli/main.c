/* The program: finds the verb, or, called as mount.claudefs, the mount helper. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/mount_helper.h"

static void print_verbs(void)
{
	printf("usage: cfs VERB [ARGUMENT...] [--OPTION...]\n\nverbs:\n");
	for (const struct cli_verb *const *v = cli_verbs(); *v; v++)
		printf("  %-11s %s\n", (*v)->name, (*v)->summary);
	printf("  %-11s %s\n", "help", "This text, or that of a verb");
	printf("\nA first file system to try:\n  cfs quickstart /srv/claudefs\n"
	       "Each verb explains itself: cfs VERB --help. The manual: man cfs\n");
}

static const struct cli_verb *find_verb(const char *name)
{
	for (const struct cli_verb *const *v = cli_verbs(); *v; v++)
		if (strcmp((*v)->name, name) == 0)
			return *v;
	return NULL;
}

static int unknown_verb(const struct cli *c, const char *name)
{
	const char *best = NULL;
	uint32_t best_distance = 3;

	for (const struct cli_verb *const *v = cli_verbs(); *v; v++) {
		uint32_t distance = cfs_str_distance(name, (*v)->name);

		if (distance < best_distance) {
			best = (*v)->name;
			best_distance = distance;
		}
	}
	if (best)
		return cli_usage(c, "unknown verb '%.32s'; did you mean '%s'?", name, best);
	return cli_usage(c, "unknown verb '%.32s'", name);
}

static int help(const struct cli *c, int argc, char **argv)
{
	const struct cli_verb *verb;

	if (argc == 0) {
		print_verbs();
		return CLI_OK;
	}
	verb = find_verb(argv[0]);
	if (!verb)
		return unknown_verb(c, argv[0]);
	cli_help(verb);
	return CLI_OK;
}

static void log_level_set(const char *name)
{
	static const struct {
		const char *name;
		enum cfs_log_level level;
	} levels[] = { { "err", CFS_LOG_ERR },
		       { "warn", CFS_LOG_WARN },
		       { "info", CFS_LOG_INFO },
		       { "debug", CFS_LOG_DEBUG } };

	for (size_t i = 0; i < CFS_ARRAY_COUNT(levels); i++)
		if (strcmp(levels[i].name, name) == 0)
			cfs_log_level_set(levels[i].level);
}

static int run_verb(const char *name, int argc, char **argv)
{
	static struct cli c = { .name = "cfs" }; /* large, and this is called once */
	const struct cli_verb *verb;
	char full_name[32];
	bool is_help;
	int rc;

	if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return help(&c, argc, argv);
	if (strcmp(name, "--version") == 0)
		name = "version";
	verb = find_verb(name);
	if (!verb)
		return unknown_verb(&c, name);
	c.verb = verb;
	snprintf(full_name, sizeof(full_name), "cfs %s", verb->name);
	c.name = full_name;
	rc = cli_args(&c, argc, argv, &is_help);
	if (rc != CLI_OK)
		return rc;
	if (is_help) {
		cli_help(verb);
		return CLI_OK;
	}
	log_level_set(c.cfg.log_level);
	return verb->run(&c);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *self = slash ? slash + 1 : argv[0];
	int rc;

	if (strcmp(self, "mount.claudefs") == 0 || strcmp(self, "mount.fuse.claudefs") == 0)
		rc = cli_mount_helper(self, argc - 1, argv + 1);
	else if (argc < 2)
		print_verbs(), rc = CLI_USAGE;
	else
		rc = run_verb(argv[1], argc - 2, argv + 2);
	if (fflush(stdout) != 0 && rc == CLI_OK)
		rc = CLI_ERROR; /* a report that nobody got */
	return rc;
}
