/* mount.claudefs: what mount(8) calls for -t claudefs, and for lines of /etc/fstab. */
#ifndef CFS_CLI_MOUNT_HELPER_H
#define CFS_CLI_MOUNT_HELPER_H

/* "SOURCE DIR [-sfnv] [-N NAMESPACE] [-t TYPE] [-o LIST]". Returns the exit code that mount(8)
 * expects. */
int cli_mount_helper(const char *name, int argc, char **argv);

#endif
