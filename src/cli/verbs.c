#include <stddef.h>

#include "cli/cli.h"

const struct cli_verb *const *cli_verbs(void)
{
	static const struct cli_verb *const verbs[] = {
		&cli_quickstart, &cli_mkfs,   &cli_serve,   &cli_mount,  &cli_umount,
		&cli_status,     &cli_stats,  &cli_fsck,    &cli_doctor, &cli_bench,
		&cli_control,    &cli_config, &cli_version, NULL,
	};

	return verbs;
}
