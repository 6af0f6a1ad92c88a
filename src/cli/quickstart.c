/*
 * cfs quickstart: a file system to try, in one folder: DIR/store, DIR/store.state, DIR/mnt,
 * DIR/log. Server and mount are one process in the background. Run again it mounts what is there;
 * --destroy removes what it made, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/mount.h"
#include "cli/mounts.h"
#include "cli/quickstart.h"
#include "cli/session.h"
#include "cli/umount.h"
#include "store/store.h"

#define SIZE_MAX_BYTES (20ull << 30)
#define SIZE_MIN_BYTES (64ull << 20)
#define LOG_BYTES_MAX (1024u * 1024)
#define PROBE_MS 3000u

static const struct cli_opt opts[] = {
	{ "size", 's', "BYTES", "of a new store (half of the free space, at most 20G)" },
	{ "foreground", 'f', NULL, "stay in the foreground and log to stderr" },
	{ "destroy", 0, NULL, "unmount and remove it all; asks first" },
	{ "yes", 'y', NULL, "do not ask" },
	{ 0 },
};

int cli_quick_paths(const char *dir, struct quick_paths *out)
{
	int rc = cli_path_resolve(dir, &out->dir);

	if (rc < 0)
		return rc;
	if (asprintf(&out->store, "%s/store", out->dir) < 0 ||
	    asprintf(&out->store_new, "%s/store.new", out->dir) < 0 ||
	    asprintf(&out->mnt, "%s/mnt", out->dir) < 0 ||
	    asprintf(&out->log, "%s/log", out->dir) < 0)
		return -ENOMEM;
	return 0;
}

void cli_quick_paths_fini(struct quick_paths *p)
{
	free(p->dir);
	free(p->store);
	free(p->store_new);
	free(p->mnt);
	free(p->log);
	*p = (struct quick_paths){ 0 };
}

static int make_dir(const struct cli *c, const char *path)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return CLI_OK;
	return cli_fail(c, errno == ENOENT ? "mkdir -p of the folder above" : "another folder",
			"%s: %s", path, strerror(errno));
}

/* How big a new store becomes: as asked, or half of what is free. */
static int choose_size(const struct cli *c, const char *dir, uint64_t *bytes_out)
{
	const char *size = cli_opt(c, "size");
	struct statvfs st;
	uint64_t room, half;
	char text[32];

	if (statvfs(dir, &st) < 0)
		return cli_fail(c, "another folder", "%s: %s", dir, strerror(errno));
	room = (uint64_t)st.f_bavail * st.f_frsize;
	half = cfs_round_down(CFS_MIN(room / 2, SIZE_MAX_BYTES), 1 << 20);
	cli_bytes_text(room, text);
	*bytes_out = half;
	if (size && cfs_str_to_size(size, bytes_out) < 0)
		return cli_usage(c, "--size %.32s: not a size; write 8G, 512M or 1073741824", size);
	if (*bytes_out < SIZE_MIN_BYTES)
		return cli_fail(
			c, "a folder on a disk with more room, or --size 64M",
			"%s: a store needs at least 64 MiB, half of the %s that are free here "
			"is less",
			dir, text);
	if (*bytes_out > room)
		return cli_fail(c, "a smaller --size", "%s: only %s are free", dir, text);
	return CLI_OK;
}

/* Makes the store under another name first: what is called `store` is whole. */
static int make_store(const struct cli *c, const struct quick_paths *p)
{
	struct cfs_mkfs_opts how = { .path = p->store_new };
	char why[512] = "";
	int rc = choose_size(c, p->dir, &how.size_bytes);

	if (rc != CLI_OK)
		return rc;
	if (unlink(p->store_new) < 0 && errno != ENOENT)
		return cli_fail(c, "remove it", "%s: %s", p->store_new, strerror(errno));
	rc = cfs_store_mkfs(&how, why, sizeof(why));
	if (rc < 0)
		return cli_fail_text(c, why[0] ? why : cfs_err_text(rc));
	if (rename(p->store_new, p->store) < 0)
		return cli_fail(c, "again", "%s: %s", p->store, strerror(errno));
	return CLI_OK;
}

static int find_or_make_store(const struct cli *c, const struct quick_paths *p)
{
	struct cfs_store_info info;
	char why[512] = "";
	int rc;

	if (access(p->store, F_OK) < 0)
		return make_store(c, p);
	rc = cfs_store_probe(p->store, &info, why, sizeof(why));
	if (rc < 0)
		return cli_fail_text(c, why[0] ? why : cfs_err_text(rc));
	if (cli_opt(c, "size"))
		cli_warn(c, "--size is not looked at: %s is there already", p->store);
	return CLI_OK;
}

/* A mount that is there already: good if it answers, taken away if its process is gone. */
static int settle_mount(const struct cli *c, const struct quick_paths *p, bool *is_mounted_out)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	int rc;

	*is_mounted_out = false;
	if (cli_mount_find(p->mnt, &m) != 1)
		return CLI_OK;
	if (!cli_mount_is_ours(m))
		return cli_fail(c, "umount", "%s: something else is mounted there, of type %s",
				p->mnt, m->type);
	rc = cli_mount_probe(p->mnt, PROBE_MS);
	if (rc == 0) {
		*is_mounted_out = true;
		return CLI_OK;
	}
	rc = cli_umount_dir(m, rc == -ENOTCONN);
	if (rc < 0)
		return cli_fail(c, "fuser -vm on it", "%s: a mount that does not answer: %s",
				p->mnt, cfs_err_text(rc));
	return CLI_OK;
}

static void print_how_to(const struct quick_paths *p, bool was_there)
{
	printf("%s\n"
	       "  files:   %s\n"
	       "  log:     %s\n"
	       "  try:     cp -r /usr/include %s/ && ls %s/include\n"
	       "           cfs status %s; cfs bench %s\n"
	       "  stop:    cfs umount %s\n"
	       "  again:   cfs quickstart %s\n"
	       "  remove:  cfs quickstart %s --destroy\n",
	       was_there ? "ClaudeFS is mounted already." : "ClaudeFS is mounted.", p->mnt, p->log,
	       p->mnt, p->mnt, p->mnt, p->mnt, p->mnt, p->dir, p->dir);
}

struct quick {
	struct cli_daemon daemon;
	const struct quick_paths *paths;
	bool is_foreground;
};

static bool on_ready(void *arg, const char *addr)
{
	struct quick *q = arg;

	(void)addr;
	if (!q->is_foreground)
		return cli_daemon_report(&q->daemon, 0, "");
	print_how_to(q->paths, false);
	fflush(stdout);
	return true;
}

static int start(struct cli *c, const struct quick_paths *p)
{
	struct quick q = { .paths = p, .is_foreground = cli_opt(c, "foreground") };
	struct cli_session s = { .store = p->store, .dir = p->mnt, .source = p->store };
	char text[CLI_DAEMON_TEXT_BYTES], listen[CFS_NET_ADDR_BYTES];
	int rc = cli_listen(c, &s, listen);

	if (rc != CLI_OK)
		return rc;
	s.cfg = &c->cfg;
	s.ready = on_ready;
	s.arg = &q;
	if (q.is_foreground)
		return cli_session_run(&s) < 0 ? cli_fail_text(c, s.why) : CLI_OK;
	rc = cfs_log_open(p->log, LOG_BYTES_MAX);
	if (rc < 0)
		return cli_fail(c, "a folder that can be written to", "%s: %s", p->log,
				cfs_err_text(rc));
	rc = cli_daemon_fork(&q.daemon, text);
	if (rc == 1) {
		rc = cli_session_run(&s);
		if (rc < 0) {
			cfs_err("ended", "why=%s", s.why);
			cli_daemon_report(&q.daemon, rc, s.why);
		}
		exit(rc < 0 ? CLI_ERROR : CLI_OK);
	}
	if (rc < 0 && !text[0])
		return cli_fail(c, p->log, "the process in the background died");
	if (rc < 0)
		return cli_fail_text(c, text);
	print_how_to(p, false);
	return CLI_OK;
}

static int quickstart(struct cli *c, const struct quick_paths *p)
{
	bool is_mounted;
	int rc = cli_mount_precheck(c);

	if (rc == CLI_OK)
		rc = settle_mount(c, p, &is_mounted);
	if (rc != CLI_OK)
		return rc;
	if (is_mounted) {
		print_how_to(p, true);
		return CLI_OK;
	}
	rc = make_dir(c, p->dir);
	if (rc == CLI_OK)
		rc = make_dir(c, p->mnt);
	if (rc == CLI_OK)
		rc = find_or_make_store(c, p);
	return rc == CLI_OK ? start(c, p) : rc;
}

static int run(struct cli *c)
{
	CFS_CLEANUP(cli_quick_paths_fini) struct quick_paths p = { 0 };
	int rc = cli_quick_paths(c->words[0], &p);

	if (rc < 0)
		return cli_fail(c, "mkdir -p of the folder above", "%s: %s", c->words[0],
				cfs_err_text(rc));
	if (cli_opt(c, "destroy"))
		return cli_quick_destroy(c, &p, cli_opt(c, "yes") != NULL);
	return quickstart(c, &p);
}

const struct cli_verb cli_quickstart = {
	.name = "quickstart",
	.synopsis = "DIR [--size BYTES] | DIR --destroy",
	.summary = "Make a file system in a folder, and mount it",
	.text = "Makes DIR/store, an allocated file, and mounts it on DIR/mnt; server and mount "
		"are one\n"
		"process in the background. Run again, it mounts what is there.",
	.examples = "  cfs quickstart /srv/claudefs\n  cfs quickstart /srv/claudefs --size 2G\n"
		    "  cfs quickstart /srv/claudefs --destroy\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run,
};
