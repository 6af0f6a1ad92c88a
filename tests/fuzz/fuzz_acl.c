/* Values of system.posix_acl_*: what is taken for one can be worked with. */
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "lib/fuzz.h"
#include "meta/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t value[CFS_ACL_BYTES_MAX];
	struct cfs_bytes v = { data, (uint32_t)len_bytes };
	uint32_t mode;

	if (len_bytes > CFS_FUZZ_BYTES_MAX || cfs_acl_check(v) < 0)
		return 0;
	cfs_assert(!cfs_acl_is_empty(v) && len_bytes <= sizeof(value));
	mode = S_IFREG | (len_bytes * 37 & 07777);
	memcpy(value, data, len_bytes);
	v.p = value;
	cfs_assert((cfs_acl_perm(v) & ~CFS_ACL_PERM) == 0);
	cfs_acl_chmod(value, v.len, mode);
	cfs_assert(cfs_acl_check(v) == 0);
	cfs_assert(cfs_acl_perm(v) == (mode & CFS_ACL_PERM));
	cfs_assert(cfs_acl_is_minimal(v) == (v.len == 4 + 3 * 8));
	return 0;
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static const uint8_t tags[] = { CFS_ACL_USER_OBJ,  CFS_ACL_USER,  CFS_ACL_USER,
					CFS_ACL_GROUP_OBJ, CFS_ACL_GROUP, CFS_ACL_MASK,
					CFS_ACL_OTHER };
	size_t len = 4;

	if (n >= 16)
		return 0;
	memcpy(data, "\2\0\0\0", 4);
	for (uint32_t k = 0; k < sizeof(tags); k++) {
		struct cfs_acl_entry e = { cfs_to_le16(tags[k]), cfs_to_le16((uint16_t)(n + k) % 8),
					   cfs_to_le32(k * 1000) };

		/* Minimal ones, and some that are none. */
		if ((n & 1 && (k == 1 || k == 2)) || (n & 2 && k == 4) || (n & 4 && k == 5))
			continue;
		memcpy(data + len, &e, sizeof(e));
		len += sizeof(e);
	}
	return len;
}
