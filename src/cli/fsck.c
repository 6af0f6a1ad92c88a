/* cfs fsck: reads a store that nobody uses, changes nothing, and names what is hit. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "cli/text.h"
#include "server/fsck.h"

static const struct cli_opt opts[] = {
	{ "no-data", 0, NULL, "check the tables only, do not read the data" },
	{ "tail-dir", 0, "DIR", "where the store's tails are, if not where they usually are" },
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

struct check {
	struct cli *c;
	struct cfs_fsck_result result;
	bool is_json, is_tty, is_first;
	char why[512];
};

static void on_finding(void *ctx, const char *what)
{
	struct check *k = ctx;

	if (k->is_tty)
		fprintf(stderr, "\r%-40s\r", "");
	if (!k->is_json) {
		printf("%s\n", what);
		return;
	}
	printf("%s\n    ", k->is_first ? "{\"findings\": [" : ",");
	cli_json_text(stdout, what);
	k->is_first = false;
}

static void on_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	(void)ctx;
	fprintf(stderr, "\r%-20s %3u %%", phase,
		(unsigned int)(total ? CFS_MIN(done * 100 / total, 100ull) : 0));
	fflush(stderr);
}

static CFS_AWAITS int check(void *arg)
{
	struct check *k = arg;
	struct cfs_fsck_opts how = {
		.paths = k->c->words,
		.path_count = k->c->words_count,
		.tail_dir = cli_opt(k->c, "tail-dir"),
		.is_data_skipped = cli_opt(k->c, "no-data") != NULL,
		.finding = on_finding,
		.progress = k->is_tty ? on_progress : NULL,
		.ctx = k,
	};

	return cfs_fsck_run(&how, &k->result, k->why, sizeof(k->why));
}

static void print_result(const struct check *k)
{
	const struct cfs_fsck_result *r = &k->result;

	if (k->is_json)
		printf("%s], \"findings_count\": %" PRIu64 ", \"shards\": %" PRIu64
		       ", \"inodes\": %" PRIu64 ", \"dentries\": %" PRIu64 ", \"extents\": %" PRIu64
		       ", \"data_blocks\": %" PRIu64 ", \"records\": %" PRIu64 "}\n",
		       k->is_first ? "{\"findings\": [" : "\n  ", r->findings, r->shards, r->inodes,
		       r->dentries, r->extents, r->data_blocks, r->records);
	else
		printf("%s: %" PRIu64 " finding%s; read %" PRIu64 " inodes, %" PRIu64
		       " names, %" PRIu64 " extents, %" PRIu64 " data blocks in %" PRIu64
		       " shards\n",
		       r->findings ? "damaged" : "clean", r->findings, r->findings == 1 ? "" : "s",
		       r->inodes, r->dentries, r->extents, r->data_blocks, r->shards);
}

static int run(struct cli *c)
{
	struct check k = { .c = c, .is_first = true };
	int rc;

	k.is_json = cli_opt(c, "json");
	k.is_tty = isatty(STDERR_FILENO);
	rc = cli_runtime_run(1, check, &k, k.why, sizeof(k.why));
	if (k.is_tty)
		fprintf(stderr, "\r%-40s\r", "");
	if (rc == -CFS_ESTORE_BUSY)
		return cli_fail(c, "stop its server; fsck reads only what nobody changes", "%s",
				k.why[0] ? k.why : cfs_err_text(rc));
	if (rc < 0)
		return cli_fail_text(c, k.why[0] ? k.why : cfs_err_text(rc));
	print_result(&k);
	return k.result.findings ? CLI_ERROR : CLI_OK;
}

const struct cli_verb cli_fsck = {
	.name = "fsck",
	.synopsis = "STORE [--no-data] [--json]",
	.summary = "Check a store that is not in use: reads everything, changes nothing",
	.text = "Each finding is a line that names what is hit. Exit codes: 0 clean, 1 findings, "
		"or it\n"
		"could not be checked (said on stderr), 2 wrong arguments.",
	.examples = "  cfs fsck /srv/claudefs/store\n  cfs fsck /dev/nvme0n1 --json\n",
	.opts = opts,
	.words_min = 1,
	.words_max = CLI_WORDS_MAX,
	.run = run,
};
