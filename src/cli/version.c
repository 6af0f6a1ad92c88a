/* cfs version: the program, and every format and protocol that it speaks. */
#include <stdio.h>

#include "cli/cli.h"
#include "ctl/ctl.h"
#include "fuse/abi.h"
#include "proto/msg.h"
#include "store/store_format.h"

static const struct cli_opt opts[] = {
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

static int run(struct cli *c)
{
	if (cli_opt(c, "json"))
		printf("{\"version\": \"%s\", \"store_format\": %u, \"protocol\": %u, "
		       "\"control_schema\": %u, \"fuse_abi\": \"%u.%u\"}\n",
		       CFS_VERSION, CFS_STORE_VERSION, CFS_PROTO_VERSION, CFS_CTL_SCHEMA,
		       FUSE_KERNEL_VERSION, FUSE_KERNEL_MINOR_VERSION);
	else
		printf("ClaudeFS %s\nstore format %u, protocol %u, control schema %u, FUSE ABI up "
		       "to "
		       "%u.%u\n",
		       CFS_VERSION, CFS_STORE_VERSION, CFS_PROTO_VERSION, CFS_CTL_SCHEMA,
		       FUSE_KERNEL_VERSION, FUSE_KERNEL_MINOR_VERSION);
	return CLI_OK;
}

const struct cli_verb cli_version = {
	.name = "version",
	.synopsis = "[--json]",
	.summary = "Show the version of the program, its formats and its protocol",
	.examples = "  cfs version\n",
	.opts = opts,
	.run = run,
};
