#ifndef CFS_CLI_UMOUNT_H
#define CFS_CLI_UMOUNT_H

#include <stdbool.h>

#include "cli/mounts.h"

/* Unmounts @m and waits until its process is gone, which it is told to be when it does not answer.
 * 0; -EBUSY: in use; -EPERM; -ETIMEDOUT. */
int cli_umount_dir(const struct cli_mount *m, bool is_lazy);

#endif
