/*
 * Mounts as the kernel lists them (proc(5), mountinfo), and which process serves one: a file in
 * /run/claudefs that it holds locked. Nothing here asks the mounted file system, so nothing here
 * waits for a server that is away.
 */
#ifndef CFS_CLI_MOUNTS_H
#define CFS_CLI_MOUNTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct cli_mount {
	char dir[PATH_MAX];
	char type[64];
	char source[PATH_MAX];
	char device[32]; /* "0:53" */
};

/* The absolute path of @path without symlinks; its last component need not exist. @out: malloc'd.
 * 0; -errno. */
int cli_path_resolve(const char *path, char **out);

/* The topmost mount at @dir (resolved). 1: there is one, in @out, malloc'd; 0: none; -errno. */
int cli_mount_find(const char *dir, struct cli_mount **out);
bool cli_mount_is_ours(const struct cli_mount *m);

/* Asks the file system at @dir for its numbers, for at most @timeout_ms. 0: it answers; -ETIMEDOUT;
 * -ENOTCONN: its process is gone; -errno. */
int cli_mount_probe(const char *dir, uint32_t timeout_ms);

/* Notes that this process serves the mount at @dir. Returns a descriptor to keep until the end, or
 * -errno (it works without). */
int cli_mount_claim(const char *dir);
/* Removes the note of @device, once the mount is gone. */
void cli_mount_disclaim(const char *device);
/* A pidfd of the process that serves @m. -ESRCH: not known, or gone. */
int cli_mount_process(const struct cli_mount *m);

#endif
