#include "meta/lazy.h"

#include <string.h>

bool cfs_lazy_is(struct cfs_bytes name)
{
	static const char own[] = "claudefs.lazy";

	return name.len == sizeof(own) - 1 && memcmp(name.p, own, name.len) == 0;
}

uint32_t cfs_lazy_ms(struct cfs_bytes value)
{
	uint32_t ms = 0;

	for (uint32_t i = 0; i < value.len; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return 0;
		ms = ms * 10 + (value.p[i] - '0');
		if (ms > CFS_LAZY_MS_MAX)
			return 0;
	}
	return ms;
}
