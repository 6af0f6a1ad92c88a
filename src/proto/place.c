#include "proto/place.h"

#include <string.h>

#include "base/assert.h"
#include "base/endian.h"
#include "proto/msg.h"

uint64_t cfs_place(const struct cfs_sipkey *key, uint64_t parent_place, const void *name,
		   uint32_t name_bytes)
{
	uint8_t text[sizeof(cfs_le64) + CFS_NAME_BYTES_MAX];
	cfs_le64 parent = cfs_to_le64(parent_place);

	cfs_assert(name_bytes <= CFS_NAME_BYTES_MAX);
	memcpy(text, &parent, sizeof(parent));
	memcpy(text + sizeof(parent), name, name_bytes);
	return cfs_siphash(key, text, sizeof(parent) + name_bytes);
}
