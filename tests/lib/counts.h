/* How much a test tries: small counts with every change, full ones with `make soak`. */
#ifndef CFS_TESTS_LIB_COUNTS_H
#define CFS_TESTS_LIB_COUNTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* By the environment's CFS_COUNTS, small unless it says full. */
static inline uint64_t cfs_test_count(uint64_t small, uint64_t full)
{
	const char *counts = getenv("CFS_COUNTS");

	return counts && strcmp(counts, "full") == 0 ? full : small;
}

#endif
