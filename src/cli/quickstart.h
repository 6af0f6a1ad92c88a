/* What quickstart makes in its folder, and its removal. */
#ifndef CFS_CLI_QUICKSTART_H
#define CFS_CLI_QUICKSTART_H

#include <stdbool.h>

struct cli;

/* All malloc'd, absolute. */
struct quick_paths {
	char *dir, *store, *store_new, *mnt, *log;
};

int cli_quick_paths(const char *dir, struct quick_paths *out); /* 0; -errno; fini it either way */
void cli_quick_paths_fini(struct quick_paths *p);

/* Unmounts and removes what quickstart made, and the folder if nothing else is in it. Asks unless
 * @is_agreed. Returns an exit code. */
int cli_quick_destroy(const struct cli *c, const struct quick_paths *p, bool is_agreed);

#endif
