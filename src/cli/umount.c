/*
 * cfs umount: takes a mount away and waits until the process behind it is gone, so that all is
 * flushed and the folder can be used again at once. A server that is away does not hold it up: then
 * the mount goes out of sight, and its process is told to end.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/mounts.h"
#include "cli/umount.h"

#define PROBE_MS 2000u
#define GONE_MS 120000

static const struct cli_opt opts[] = {
	{ "lazy", 'l', NULL, "take it out of sight now; it ends when nobody uses it any more" },
	{ 0 },
};

/* Waits for the process's end. @pidfd < 0: it is not known. */
static int wait_gone(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	if (pidfd < 0)
		return 0;
	do
		n = poll(&p, 1, GONE_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : -ETIMEDOUT;
}

/* Nobody answers behind the mount: it need not be waited for. */
static bool is_dead(const char *dir)
{
	int rc = cli_mount_probe(dir, PROBE_MS);

	return rc == -ETIMEDOUT || rc == -ENOTCONN || rc == -ECONNABORTED;
}

static int detach_dead(const char *dir, int pidfd)
{
	if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return -errno;
	if (pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
	return wait_gone(pidfd);
}

int cli_umount_dir(const struct cli_mount *m, bool is_lazy)
{
	int pidfd = cli_mount_process(m), rc = 0;

	if (umount2(m->dir, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0)) == 0)
		rc = is_lazy ? 0 : wait_gone(pidfd);
	else if (errno == EBUSY && is_dead(m->dir))
		rc = detach_dead(m->dir, pidfd);
	else
		rc = -errno;
	if (rc == 0 && !is_lazy)
		cli_mount_disclaim(m->device);
	if (pidfd >= 0)
		close(pidfd);
	return rc;
}

static int explain(struct cli *c, const char *dir, int rc)
{
	switch (rc) {
	case -EBUSY:
		return cli_fail(c, "fuser -vm on it, or cfs umount --lazy",
				"%s: in use by some process", dir);
	case -EPERM:
		return cli_fail(c, "sudo cfs umount", "%s: only root may unmount", dir);
	case -ETIMEDOUT:
		return cli_fail(c, "its log",
				"%s: unmounted, but its process has not ended after 2 minutes",
				dir);
	default:
		return cli_fail(c, "cfs doctor", "%s: %s", dir, cfs_err_text(rc));
	}
}

static int run(struct cli *c)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	CFS_CLEANUP(cfs_free_p) char *dir = NULL;
	int rc = cli_path_resolve(c->words[0], &dir);

	if (rc < 0)
		return cli_fail(c, "the folder that it is mounted on", "%s: %s", c->words[0],
				cfs_err_text(rc));
	if (cli_mount_find(dir, &m) != 1)
		return cli_fail(c, "findmnt -t fuse.claudefs", "%s: nothing is mounted there",
				c->words[0]);
	if (!cli_mount_is_ours(m))
		return cli_fail(c, "umount, if that is what you want",
				"%s: a mount of type %s, not a ClaudeFS", c->words[0], m->type);
	rc = cli_umount_dir(m, cli_opt(c, "lazy") != NULL);
	return rc < 0 ? explain(c, dir, rc) : CLI_OK;
}

const struct cli_verb cli_umount = {
	.name = "umount",
	.synopsis = "DIR [--lazy]",
	.summary = "Unmount and wait until everything is flushed and the process is gone",
	.text = "When the server is away, the mount is taken away all the same; programs that wait "
		"in it\n"
		"get an error.",
	.examples = "  cfs umount /srv/claudefs/mnt\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
