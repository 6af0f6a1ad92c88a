#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/mounts.h"
#include "cli/quickstart.h"
#include "cli/umount.h"
#include "store/store.h"

/* Removes @dir/@name, or @dir without a name. Missing is fine. */
static void remove_one(const char *dir, const char *name)
{
	CFS_CLEANUP(cfs_free_p) char *path = NULL;

	if (asprintf(&path, "%s%s", dir, name) >= 0)
		unlink(path);
}

static int unmount(const struct cli *c, const struct quick_paths *p)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	int rc;

	if (cli_mount_find(p->mnt, &m) != 1)
		return CLI_OK;
	if (!cli_mount_is_ours(m))
		return cli_fail(c, "umount", "%s: something else is mounted there, of type %s",
				p->mnt, m->type);
	rc = cli_umount_dir(m, false);
	if (rc < 0)
		return cli_fail(c, "fuser -vm on it", "%s: %s, nothing was removed", p->mnt,
				cfs_err_text(rc));
	return CLI_OK;
}

/* The store's own memory that outlives processes: in /dev/shm, or beside it. */
static void remove_tails(const struct quick_paths *p, const struct cfs_store_info *info)
{
	char uuid[33], name[64];

	for (int i = 0; i < 16; i++)
		snprintf(uuid + 2 * i, 3, "%02x", info->uuid[i]);
	for (uint32_t i = 0; i < info->stores; i++) {
		snprintf(name, sizeof(name), "/claudefs-%s-%u", uuid, i);
		remove_one("/dev/shm", name);
		snprintf(name, sizeof(name), ".tail%u", i);
		remove_one(p->store, name);
	}
}

static int remove_store(const struct cli *c, const struct quick_paths *p)
{
	struct cfs_store_info info;
	char why[512] = "";
	int fd = open(p->store, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc;

	if (fd < 0 && errno == ENOENT)
		return CLI_OK;
	if (fd < 0)
		return cli_fail(c, "sudo", "%s: %s", p->store, strerror(errno));
	rc = cfs_store_probe(p->store, &info, why, sizeof(why));
	if (rc < 0 && rc != -CFS_EBAD_VERSION && rc != -CFS_EBAD_CHECKSUM) {
		close(fd);
		return cli_fail_text(c, why[0] ? why : cfs_err_text(rc));
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return cli_fail(c, "stop its server", "%s: in use, nothing was removed", p->store);
	}
	if (rc == 0)
		remove_tails(p, &info);
	if (unlink(p->store) < 0)
		rc = cli_fail(c, "sudo", "%s: %s", p->store, strerror(errno));
	else
		rc = CLI_OK;
	close(fd);
	return rc;
}

/* All that may lie in the folder of ours. What else is there stays, and so does the folder then. */
static void remove_rest(const struct quick_paths *p)
{
	static const char *const state_files[] = { "/control.sqlite", "/control.sqlite-wal",
						   "/control.sqlite-shm" };
	CFS_CLEANUP(cfs_free_p) char *state = NULL;

	remove_one(p->store_new, "");
	if (asprintf(&state, "%s.state", p->store) >= 0) {
		for (size_t i = 0; i < CFS_ARRAY_COUNT(state_files); i++)
			remove_one(state, state_files[i]);
		rmdir(state);
	}
	remove_one(p->log, "");
	remove_one(p->log, ".1");
	rmdir(p->mnt);
}

int cli_quick_destroy(const struct cli *c, const struct quick_paths *p, bool is_agreed)
{
	CFS_CLEANUP(cfs_free_p) char *question = NULL;
	int rc;

	if (access(p->store, F_OK) < 0 && access(p->store_new, F_OK) < 0 &&
	    access(p->mnt, F_OK) < 0)
		return cli_fail(c, "the folder that was given to quickstart",
				"%s: no quickstart is there", p->dir);
	if (!is_agreed && asprintf(&question, "Remove %s with all files in it?", p->store) < 0)
		return cli_fail_text(c, "no memory");
	if (!is_agreed && !cli_ask(question))
		return cli_fail(c, "--yes, if it is to be removed without a question",
				"%s: not agreed to, nothing was removed", p->store);
	rc = unmount(c, p);
	if (rc == CLI_OK)
		rc = remove_store(c, p);
	if (rc != CLI_OK)
		return rc;
	remove_rest(p);
	if (rmdir(p->dir) < 0 && errno == ENOTEMPTY)
		printf("%s: removed; other files are in the folder, which stays\n", p->store);
	else
		printf("%s: removed\n", p->dir);
	return CLI_OK;
}
