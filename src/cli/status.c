/*
 * cfs status, cfs stats: of a server by its address (op STATUS over the transport), or of a mount
 * by its folder (an attribute of its root, which the mount's process answers).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/addr.h"
#include "cli/cli.h"
#include "cli/mounts.h"
#include "cli/report.h"
#include "cli/session.h"
#include "client/client.h"

#define ANSWER_NS 3000000000ull
#define ATTRIBUTE_BYTES_MAX (64u * 1024)
#define PROBE_MS 3000u

static const struct cli_opt opts[] = {
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

struct ask {
	const struct cli *c;
	char addr[CFS_NET_ADDR_BYTES];
	uint32_t flags;
	char why[512];
};

static CFS_AWAITS int ask_client(struct ask *ask, struct cfs_client *client)
{
	struct cfs_client_bytes answer;
	struct cfs_client_op op;
	int rc;

	cfs_client_op_init(&op, client, 0, 0);
	rc = cfs_client_status(&op, ask->flags, &answer);
	if (rc < 0) {
		snprintf(ask->why, sizeof(ask->why), "%s: %s", ask->addr, cfs_err_text(rc));
		return rc;
	}
	rc = cli_report_print(stdout, (const char *)answer.p, answer.len_bytes,
			      cli_opt(ask->c, "json") != NULL);
	if (rc < 0)
		snprintf(ask->why, sizeof(ask->why), "%s: its answer is no JSON", ask->addr);
	cfs_client_bytes_fini(&answer);
	return rc;
}

static CFS_AWAITS int ask_server(void *arg)
{
	struct ask *ask = arg;
	struct cfs_client_opts how = {
		.addrs = { ask->addr },
		.addr_count = 1,
		.wait_ns = ANSWER_NS,
		.connect_ns = ANSWER_NS,
	};
	struct cfs_client *client = NULL;
	int rc = cfs_client_open(&how, &client, ask->why, sizeof(ask->why));

	if (rc < 0)
		return rc;
	rc = ask_client(ask, client);
	cfs_client_close(client);
	return rc;
}

static int of_server(struct cli *c, bool is_stats)
{
	struct ask ask = { .c = c, .flags = is_stats };
	char why[128];
	int rc;

	if (cli_addr(c->words[0], c->cfg.fabric, ask.addr, why) < 0)
		return cli_usage(c, "%s", why);
	rc = cli_runtime_run(1, ask_server, &ask, ask.why, sizeof(ask.why));
	if (rc < 0)
		return cli_fail_text(c, ask.why[0] ? ask.why : cfs_err_text(rc));
	return CLI_OK;
}

/* The attribute of the mount's root. */
static int read_attribute(const char *dir, const char *name, char **text_out, uint32_t *len_out)
{
	char *text = malloc(ATTRIBUTE_BYTES_MAX);
	ssize_t got;

	if (!text)
		return -ENOMEM;
	got = getxattr(dir, name, text, ATTRIBUTE_BYTES_MAX);
	if (got < 0) {
		int rc = -errno;

		free(text);
		return rc;
	}
	*text_out = text;
	*len_out = (uint32_t)got;
	return 0;
}

static int of_mount(struct cli *c, const char *dir, bool is_stats)
{
	CFS_CLEANUP(cfs_free_p) char *text = NULL;
	uint32_t len = 0;
	/* Asked by another process first, which can be given up: the server behind it may be away.
	 */
	int rc = is_stats ? 0 : cli_mount_probe(dir, PROBE_MS);

	if (rc == -ETIMEDOUT) {
		cli_fail(c, "start the server again; operations wait for it",
			 "%s: mounted, but its server does not answer", dir);
		return CLI_DEGRADED;
	}
	if (rc == 0)
		rc = read_attribute(dir, is_stats ? "claudefs.stats" : "claudefs.status", &text,
				    &len);
	if (rc == -ENOTCONN)
		return cli_fail(c, "cfs umount, then mount it again",
				"%s: the process that served it is gone", dir);
	if (rc < 0)
		return cli_fail(c, "cfs doctor", "%s: %s", dir, cfs_err_text(rc));
	rc = cli_report_print(stdout, text, len, cli_opt(c, "json") != NULL);
	if (rc < 0)
		return cli_fail(c, "cfs version", "%s: its answer is no JSON", dir);
	return CLI_OK;
}

static int run(struct cli *c, bool is_stats)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	CFS_CLEANUP(cfs_free_p) char *dir = NULL;
	const char *word = c->words[0];
	bool is_mount = cli_path_resolve(word, &dir) == 0 && cli_mount_find(dir, &m) == 1;

	/* Only what is no mount may be looked at: a mount's server may be away. */
	if (!is_mount && !strchr(word, '/') && strcmp(word, ".") != 0 && access(word, F_OK) < 0)
		return of_server(c, is_stats);
	if (!is_mount)
		return cli_fail(c, "the folder that it is mounted on, or ADDR:PORT of a server",
				"%s: nothing is mounted there", word);
	if (!cli_mount_is_ours(m))
		return cli_fail(c, "the folder that a ClaudeFS is mounted on",
				"%s: a mount of type %s, not a ClaudeFS", word, m->type);
	return of_mount(c, dir, is_stats);
}

static int run_status(struct cli *c)
{
	return run(c, false);
}

static int run_stats(struct cli *c)
{
	return run(c, true);
}

const struct cli_verb cli_status = {
	.name = "status",
	.synopsis = "ADDR:PORT | DIR [--json]",
	.summary = "Show the state of a server or of a mount",
	.text = "Exit codes: 0 it answers, 1 error, 3 mounted, but the server does not answer.",
	.examples = "  cfs status 127.0.0.1:9870\n  cfs status /srv/claudefs/mnt --json\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run_status,
};

const struct cli_verb cli_stats = {
	.name = "stats",
	.synopsis = "ADDR:PORT | DIR [--json]",
	.summary = "Show counters and latencies of a running server or mount",
	.examples = "  cfs stats 127.0.0.1:9870\n  cfs stats /srv/claudefs/mnt --json\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run_stats,
};
