/*
 * cfs mount: a process in the background that serves a mount, from a server elsewhere or from a
 * store in the same process. The command returns when the mount can be used.
 */
#include "cli/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/addr.h"
#include "cli/daemon.h"
#include "cli/doctor.h"
#include "cli/mounts.h"
#include "cli/session.h"
#include "fuse/fuse.h"

#define LOG_DIR "/var/log/claudefs"
#define LOG_BYTES_MAX (1024u * 1024)

/* What -o came to. */
struct mount_options {
	unsigned long flags;
	bool is_remount, may_be_nonempty;
	char *log; /* malloc'd */
};

/* Said by habit; and what the kernel shows of a FUSE mount, which mount(8) hands back at a remount.
 * With '=': whatever the value. */
static const char *const ignored_options[] = {
	"allow_other", "default_permissions", "users",     "user",
	"user_id=",    "group_id=",           "max_read=", "blksize="
};

static bool is_ignored(const char *option)
{
	for (size_t i = 0; i < CFS_ARRAY_COUNT(ignored_options); i++) {
		const char *name = ignored_options[i];
		size_t len = strlen(name);

		if (name[len - 1] == '=' ? strncmp(option, name, len) == 0
					 : strcmp(option, name) == 0)
			return true;
	}
	return false;
}

/* One option of -o. 0; -EINVAL with @why. */
static int take_option(struct cli *c, const char *option, struct mount_options *out, bool is_sloppy,
		       char why[CFS_CONFIG_WHY_BYTES])
{
	CFS_CLEANUP(cfs_free_p) char *key = strdup(option);
	char *value = key ? strchr(key, '=') : NULL;
	int rc;

	if (!key)
		return -ENOMEM;
	if (is_ignored(option))
		return 0;
	if (strcmp(option, "remount") == 0) {
		out->is_remount = true;
		return 0;
	}
	if (strcmp(option, "nonempty") == 0) {
		out->may_be_nonempty = true;
		return 0;
	}
	if (strncmp(option, "log=", 4) == 0) {
		free(out->log);
		out->log = strdup(option + 4);
		return out->log ? 0 : -ENOMEM;
	}
	if (cfs_fuse_mount_flag(option, &out->flags) == 0)
		return 0;
	if (value)
		*value++ = '\0';
	rc = cfs_config_set(&c->cfg, key, value ? value : "true", CFS_CONFIG_ARGUMENT, why);
	return rc == -ENOENT && is_sloppy ? 0 : rc;
}

static int take_options(struct cli *c, const struct cli_mount_request *request,
			struct mount_options *out)
{
	CFS_CLEANUP(cfs_free_p) char *list = strdup(request->options ? request->options : "");
	char why[CFS_CONFIG_WHY_BYTES] = "no memory";
	char *save = NULL;

	if (!list)
		return cli_fail_text(c, why);
	for (char *o = strtok_r(list, ",", &save); o; o = strtok_r(NULL, ",", &save))
		if (take_option(c, o, out, request->is_sloppy, why) < 0)
			return cli_usage(c, "option '%.64s': %s", o, why);
	return CLI_OK;
}

int cli_mount_precheck(const struct cli *c)
{
	static void (*const checks[])(struct doctor_finding *) = { doctor_fuse, doctor_privilege,
								   doctor_io_uring };

	for (size_t i = 0; i < CFS_ARRAY_COUNT(checks); i++) {
		struct doctor_finding f = { 0 };

		checks[i](&f);
		if (f.state == DOCTOR_FAIL)
			return cli_fail(c, f.next, "%s", f.detail);
	}
	return CLI_OK;
}

/* Looks at the mount point without asking whatever is mounted on it. */
static int check_dir(const struct cli *c, const char *dir)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	struct stat st;

	if (cli_mount_find(dir, &m) == 1 && cli_mount_is_ours(m))
		return cli_fail(c, "cfs umount, if it is to be mounted anew",
				"%s: a ClaudeFS is mounted there already, from %s", dir, m->source);
	if (stat(dir, &st) < 0)
		return cli_fail(c, errno == ENOENT ? "mkdir" : "cfs umount", "%s: %s", dir,
				errno == ENOTCONN ? "a mount whose process is gone"
						  : strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return cli_fail(c, "a folder", "%s: a mount point must be a folder", dir);
	return CLI_OK;
}

static int remount(struct cli *c, const char *dir, const struct mount_options *o)
{
	char why[CLI_WHY_BYTES] = "";
	int rc = cfs_fuse_remount(dir, o->flags, why, sizeof(why));

	return rc < 0 ? cli_fail_text(c, why[0] ? why : cfs_err_text(rc)) : CLI_OK;
}

struct mounting {
	struct cli *c;
	struct cli_daemon daemon;
	const char *dir;
	bool is_foreground;
};

static bool on_ready(void *arg, const char *addr)
{
	struct mounting *m = arg;

	(void)addr;
	if (!m->is_foreground)
		return cli_daemon_report(&m->daemon, 0, "");
	printf("mounted on %s\n", m->dir);
	fflush(stdout);
	return true;
}

/* "/var/log/claudefs/srv-claudefs-mnt.log"; without a place for it there is no log. */
static void open_log(const struct cli *c, const char *path, const char *dir)
{
	CFS_CLEANUP(cfs_free_p) char *own = NULL;
	int rc;

	if (!path) {
		if (mkdir(LOG_DIR, 0755) < 0 && errno != EEXIST) {
			cli_warn(c, "no log: %s: %s", LOG_DIR, strerror(errno));
			return;
		}
		if (asprintf(&own, LOG_DIR "/%.200s.log", dir + 1) < 0)
			return;
		for (char *p = own + sizeof(LOG_DIR); *p; p++)
			if (*p == '/')
				*p = '-';
		path = own;
	}
	rc = cfs_log_open(path, LOG_BYTES_MAX);
	if (rc < 0)
		cli_warn(c, "no log: %s: %s", path, cfs_err_text(rc));
}

/* The session, in this process or in one in the background. */
static int start(struct cli *c, struct cli_session *s, const struct cli_mount_request *request,
		 const struct mount_options *o)
{
	struct mounting m = { .c = c, .dir = s->dir, .is_foreground = request->is_foreground };
	char text[CLI_DAEMON_TEXT_BYTES];
	int rc;

	s->ready = on_ready;
	s->arg = &m;
	if (request->is_foreground) {
		rc = cli_session_run(s);
		s->arg = NULL;
		return rc < 0 ? cli_fail_text(c, s->why) : CLI_OK;
	}
	open_log(c, o->log ? o->log : request->log, s->dir);
	rc = cli_daemon_fork(&m.daemon, text);
	if (rc == 1) {
		rc = cli_session_run(s);
		if (rc < 0) {
			cfs_err("ended", "why=%s", s->why);
			cli_daemon_report(&m.daemon, rc, s->why);
		}
		exit(rc < 0 ? CLI_ERROR : CLI_OK);
	}
	s->arg = NULL;
	if (rc < 0)
		return cli_fail_text(c, text[0] ? text
						: "the process in the background died; look "
						  "into its log in " LOG_DIR);
	return CLI_OK;
}

static int find_dir(const struct cli *c, const char *path, char **dir_out)
{
	int rc = cli_path_resolve(path, dir_out);

	return rc < 0 ? cli_fail(c, "mkdir", "%s: %s", path, cfs_err_text(rc)) : CLI_OK;
}

/* What has a slash in it is the path of a store, anything else a server's address. @server: that,
 * or where the store is served to others too. */
static int find_source(const struct cli *c, const char *source, struct cli_session *s,
		       char server[CFS_NET_ADDR_BYTES], char **store_out)
{
	char why[128];

	if (strchr(source, '/')) {
		*store_out = realpath(source, NULL);
		s->store = *store_out;
		if (!*store_out)
			return cli_fail(c, "cfs mkfs", "%s: %s", source, strerror(errno));
		return cli_listen(c, s, server);
	}
	s->server = server;
	return cli_addr(source, c->cfg.fabric, server, why) < 0 ? cli_usage(c, "%s", why) : CLI_OK;
}

int cli_mount_do(struct cli *c, const struct cli_mount_request *request)
{
	CFS_CLEANUP(cfs_free_p) char *dir = NULL, *store = NULL;
	struct mount_options o = { 0 };
	char server[CFS_NET_ADDR_BYTES];
	struct cli_session s = { .source = request->source, .cfg = &c->cfg };
	int rc = take_options(c, request, &o);

	if (rc == CLI_OK)
		rc = find_dir(c, request->dir, &dir);
	if (rc == CLI_OK && o.is_remount) {
		rc = remount(c, dir, &o);
		free(o.log);
		return rc;
	}
	if (rc == CLI_OK)
		rc = find_source(c, request->source, &s, server, &store);
	if (rc == CLI_OK)
		rc = cli_mount_precheck(c);
	if (rc == CLI_OK)
		rc = check_dir(c, dir);
	if (rc == CLI_OK) {
		s.dir = dir;
		s.flags = o.flags;
		s.may_be_nonempty = o.may_be_nonempty;
		rc = start(c, &s, request, &o);
	}
	free(o.log);
	return rc;
}

static const struct cli_opt opts[] = {
	{ "options", 'o', "LIST",
	  "as of mount(8), and keys of the configuration: ro,mount_wait=30s" },
	{ "foreground", 'f', NULL, "stay in the foreground and log to stderr" },
	{ "log", 0, "FILE", "of the background process (" LOG_DIR "/DIR.log)" },
	{ 0 },
};

static int run(struct cli *c)
{
	struct cli_mount_request request = {
		.source = c->words[0],
		.dir = c->words[1],
		.options = cli_opt(c, "options"),
		.log = cli_opt(c, "log"),
		.is_foreground = cli_opt(c, "foreground") != NULL,
	};

	return cli_mount_do(c, &request);
}

const struct cli_verb cli_mount = {
	.name = "mount",
	.synopsis = "ADDR:PORT|STORE DIR [-o LIST] [--foreground]",
	.summary = "Mount a file system; returns when it can be used",
	.text = "From a server by its address, or from a store (a path) that this process then "
		"serves by\n"
		"itself. While the server is away operations wait, unless mount_wait says how "
		"long.\n"
		"In /etc/fstab: 127.0.0.1:9870 /mnt claudefs _netdev,nofail 0 0",
	.examples = "  cfs mount 127.0.0.1:9870 /mnt\n  cfs mount /srv/store /mnt -o ro\n"
		    "  mount -t claudefs 127.0.0.1:9870 /mnt\n",
	.opts = opts,
	.words_min = 2,
	.words_max = 2,
	.has_config = true,
	.run = run,
};
