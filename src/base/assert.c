#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void cfs_assert_failed(const char *expr, const char *file, int line, const char *func)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "%s:%d: %s: assertion failed: %s\n", file, line,
			   func, expr);

	/* Straight to the descriptor: stdio and the log may be what is broken. */
	if (len > 0)
		(void)!write(STDERR_FILENO, text,
			     (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
	abort();
}
