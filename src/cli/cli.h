/*
 * The command line (doc/design/cli.md): verbs in a table, their arguments, and what they all say in
 * the same way.
 *
 * An error is one line on stderr: "cfs VERB: cause; try: next step". Reports go to stdout, progress
 * to stderr and only to a terminal.
 */
#ifndef CFS_CLI_CLI_H
#define CFS_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/util.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_ERROR = 1,
	CLI_USAGE = 2,
	CLI_DEGRADED = 3, /* doctor: it works, with warnings; status: the server does not answer */
	CLI_MOUNT_FAILED = 32, /* as mount(8) wants it of its helpers */
};

#define CLI_OPTS_MAX 12u
#define CLI_WORDS_MAX 32u

/* An option of a verb, beside those of the configuration. The last of a list has no name. */
struct cli_opt {
	const char *name;
	char letter;       /* 0: none */
	const char *value; /* what it takes; NULL: it is a switch */
	const char *help;
};

struct cli;

struct cli_verb {
	const char *name;
	const char *synopsis; /* after "cfs NAME" */
	const char *summary;
	const char *text; /* a paragraph or more for --help; NULL: none */
	const char *examples;
	const struct cli_opt *opts; /* NULL: none */
	uint32_t words_min, words_max;
	bool has_config; /* takes the keys of the configuration as options */
	int (*run)(struct cli *c);
};

/* One invocation. */
struct cli {
	const struct cli_verb *verb;
	const char *name;                 /* in front of errors: "cfs mkfs", "mount.claudefs" */
	const char *values[CLI_OPTS_MAX]; /* of the verb's options, in their order; NULL: not given;
					     "": a switch */
	const char *words[CLI_WORDS_MAX];
	uint32_t words_count;
	struct cfs_config cfg;
};

extern const struct cli_verb cli_mkfs, cli_serve, cli_mount, cli_umount, cli_quickstart, cli_status,
	cli_stats, cli_fsck, cli_doctor, cli_config, cli_control, cli_bench, cli_version;

/* Every verb, ended by NULL. */
const struct cli_verb *const *cli_verbs(void);

/* Reads the arguments after the verb, the configuration's file first. CLI_OK, or an exit code after
 * the error was said. @is_help_out: --help was among them, nothing else was checked. */
int cli_args(struct cli *c, int argc, char **argv, bool *is_help_out);
/* Only the configuration's file, for who reads its arguments by itself. CLI_OK, or CLI_ERROR after
 * the error was said. */
int cli_config_file(struct cli *c);
/* The value of the verb's option @name; "" for a switch that is set, NULL if not given. */
const char *cli_opt(const struct cli *c, const char *name);
/* --help of a verb, to stdout. */
void cli_help(const struct cli_verb *verb);

/* Says what went wrong and what to do; returns CLI_ERROR. */
int cli_fail(const struct cli *c, const char *next, const char *fmt, ...) CFS_PRINTF(3, 4);
/* The same for a sentence that has both in it. */
int cli_fail_text(const struct cli *c, const char *text);
/* Wrong arguments; returns CLI_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...) CFS_PRINTF(2, 3);
void cli_warn(const struct cli *c, const char *fmt, ...) CFS_PRINTF(2, 3);

/* Asks on the terminal; anything but "yes" is no, and so is no terminal. */
bool cli_ask(const char *question);
/* "1.5 GiB" */
void cli_bytes_text(uint64_t bytes, char out[32]);

#endif
