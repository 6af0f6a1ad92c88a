#include "base/breaks.h"

#ifdef CFS_BREAKS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t cfs_break_now = CFS_BREAK_NONE;

static const char *const names[CFS_BREAK_COUNT] = { [CFS_BREAK_NONE] = "NONE",
#define X(name, what) [CFS_BREAK_##name] = #name,
						    CFS_BREAK_TX_TABLE(X) CFS_BREAK_LEASE_TABLE(X)
							    CFS_BREAK_POSIX_TABLE(X)
								    CFS_BREAK_COHERENCE_TABLE(X)
#undef X
};

bool cfs_break_set(const char *name)
{
	for (uint32_t i = 0; i < CFS_BREAK_COUNT; i++) {
		if (strcmp(names[i], name) == 0) {
			cfs_break_now = i;
			return true;
		}
	}
	return false;
}

__attribute__((constructor)) static void set_from_environment(void)
{
	const char *name = getenv("CFS_BREAK");

	if (name && strcmp(name, "?") == 0) {
#define X(name, what) puts(#name);
		CFS_BREAK_POSIX_TABLE(X)
#undef X
		exit(0);
	}
	if (name && !cfs_break_set(name)) {
		fprintf(stderr, "there is no break %s\n", name);
		exit(2);
	}
}
#endif
