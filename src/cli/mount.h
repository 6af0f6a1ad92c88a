/* Mounting, as cfs mount and as the helper that mount(8) calls. */
#ifndef CFS_CLI_MOUNT_H
#define CFS_CLI_MOUNT_H

#include <stdbool.h>

#include "cli/cli.h"

struct cli_mount_request {
	const char *source; /* ADDR:PORT, or the path of a store that is to be served in the same
			       process */
	const char *dir;
	const char *options; /* as after -o; NULL: none */
	const char *log;     /* file of the background process; NULL: by the folder's name */
	bool is_foreground;
	bool is_sloppy; /* unknown options are no error */
};

/* Mounts, or remounts when the options say so. Returns an exit code, everything was said. */
int cli_mount_do(struct cli *c, const struct cli_mount_request *request);

/* Is there what a mount needs on this machine? CLI_OK, or an exit code after the error was said. */
int cli_mount_precheck(const struct cli *c);

#endif
