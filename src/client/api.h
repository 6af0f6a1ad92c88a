/* What the files of the library's API share. */
#ifndef CFS_CLIENT_API_H
#define CFS_CLIENT_API_H

#include <string.h>

#include "client/library.h"
#include "client/walk.h"

static inline struct cfs_client_name cfs_api_name(const char *name)
{
	return (struct cfs_client_name){ name, (uint32_t)strlen(name) };
}

void cfs_api_stat(const struct cfs_attr *a, struct stat *out);

#endif
