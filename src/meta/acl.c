#include "meta/acl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/hash.h"
#include "meta/meta_format.h"

#define NAME(text) \
	{ \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

const struct cfs_bytes cfs_acl_access_name = NAME("system.posix_acl_access");
const struct cfs_bytes cfs_acl_default_name = NAME("system.posix_acl_default");

/* --- values --- */

static uint32_t entry_count(struct cfs_bytes v)
{
	return (v.len - (uint32_t)sizeof(struct cfs_acl_header)) /
	       (uint32_t)sizeof(struct cfs_acl_entry);
}

static struct cfs_acl_entry entry_at(struct cfs_bytes v, uint32_t index)
{
	struct cfs_acl_entry e;

	memcpy(&e, v.p + sizeof(struct cfs_acl_header) + index * sizeof(e), sizeof(e));
	return e;
}

static bool has_header(struct cfs_bytes v)
{
	struct cfs_acl_header h;

	if (v.len < sizeof(h))
		return false;
	memcpy(&h, v.p, sizeof(h));
	return cfs_from_le32(h.version) == CFS_ACL_VERSION;
}

bool cfs_acl_is_empty(struct cfs_bytes v)
{
	return v.len == 0 || (v.len == sizeof(struct cfs_acl_header) && has_header(v));
}

/* Which tag may come after which: each state is the set of tags that may follow. */
static uint32_t tags_after(uint32_t tag, bool needs_mask)
{
	switch (tag) {
	case CFS_ACL_USER_OBJ:
	case CFS_ACL_USER:
		return CFS_ACL_USER | CFS_ACL_GROUP_OBJ;
	case CFS_ACL_GROUP_OBJ:
	case CFS_ACL_GROUP:
		return CFS_ACL_GROUP | CFS_ACL_MASK | (needs_mask ? 0 : CFS_ACL_OTHER);
	case CFS_ACL_MASK:
		return CFS_ACL_OTHER;
	default:
		return 0;
	}
}

int cfs_acl_check(struct cfs_bytes v)
{
	uint32_t allowed = CFS_ACL_USER_OBJ, last = 0;
	bool needs_mask = false;

	if (!has_header(v) ||
	    (v.len - sizeof(struct cfs_acl_header)) % sizeof(struct cfs_acl_entry))
		return -EINVAL;
	if (v.len > CFS_ACL_BYTES_MAX)
		return -E2BIG;
	for (uint32_t k = 0; k < entry_count(v); k++) {
		struct cfs_acl_entry e = entry_at(v, k);
		uint32_t tag = cfs_from_le16(e.tag);
		bool has_id = tag == CFS_ACL_USER || tag == CFS_ACL_GROUP;

		if (__builtin_popcount(tag) != 1 || !(tag & allowed) ||
		    (cfs_from_le16(e.perm) & ~7u) || (has_id && cfs_from_le32(e.id) == UINT32_MAX))
			return -EINVAL;
		needs_mask |= has_id;
		allowed = tags_after(tag, needs_mask);
		last = tag;
	}
	return last == CFS_ACL_OTHER ? 0 : -EINVAL;
}

/* How far the permissions of @tag are shifted in a mode; -1: not in it. The mask stands in for the
 * owning group. */
static int shift_of(uint32_t tag, bool has_mask)
{
	switch (tag) {
	case CFS_ACL_USER_OBJ:
		return 6;
	case CFS_ACL_GROUP_OBJ:
		return has_mask ? -1 : 3;
	case CFS_ACL_MASK:
		return 3;
	case CFS_ACL_OTHER:
		return 0;
	default:
		return -1;
	}
}

/* A mask stands before the last entry. */
static bool has_mask(struct cfs_bytes v)
{
	uint32_t count = entry_count(v);

	return count > 3 && !CFS_BREAK(ACL_MASK) &&
	       cfs_from_le16(entry_at(v, count - 2).tag) == CFS_ACL_MASK;
}

uint32_t cfs_acl_perm(struct cfs_bytes v)
{
	bool masked = has_mask(v);
	uint32_t perm = 0;

	for (uint32_t k = 0; k < entry_count(v); k++) {
		struct cfs_acl_entry e = entry_at(v, k);
		int shift = shift_of(cfs_from_le16(e.tag), masked);

		if (shift >= 0)
			perm |= (uint32_t)cfs_from_le16(e.perm) << shift;
	}
	return perm;
}

bool cfs_acl_is_minimal(struct cfs_bytes v)
{
	return entry_count(v) == 3;
}

void cfs_acl_chmod(uint8_t *value, uint32_t len_bytes, uint32_t mode)
{
	struct cfs_bytes v = { value, len_bytes };
	bool masked = has_mask(v);

	for (uint32_t k = 0; k < entry_count(v); k++) {
		struct cfs_acl_entry e = entry_at(v, k);
		int shift = shift_of(cfs_from_le16(e.tag), masked);

		if (shift < 0)
			continue;
		e.perm = cfs_to_le16((uint16_t)((mode >> shift) & 7));
		memcpy(value + sizeof(struct cfs_acl_header) + k * sizeof(e), &e, sizeof(e));
	}
}

/* --- of inodes --- */

bool cfs_acl_get(const struct cfs_inode *i, bool is_default, struct cfs_bytes *out)
{
	const struct cfs_bytes *name = is_default ? &cfs_acl_default_name : &cfs_acl_access_name;
	const struct cfs_xattr *x = cfs_inode_has_acl(i) ? cfs_xattr_find(i, name->p, name->len)
							 : NULL;

	if (!x)
		return false;
	*out = (struct cfs_bytes){ x->bytes + x->name_bytes, x->value_bytes };
	return true;
}

uint64_t cfs_acl_hash(const struct cfs_inode *i)
{
	struct cfs_bytes v;

	return cfs_acl_get(i, false, &v) ? cfs_hash_bytes(v.p, v.len, 0) | 1 : 0;
}

void cfs_acl_add_chmod(struct cfs_items *it, const struct cfs_inode *i, uint32_t mode)
{
	struct cfs_bytes v;
	uint8_t *to;

	if (!cfs_acl_get(i, false, &v) || CFS_BREAK(ACL_CHMOD))
		return;
	to = cfs_meta_add_xattr(it, i->attr.ino, cfs_acl_access_name, v);
	if (to)
		cfs_acl_chmod(to, v.len, mode);
}

bool cfs_acl_inherit(const struct cfs_inode *dir, uint32_t *mode, struct cfs_bytes *value_out)
{
	if (S_ISLNK(*mode) || CFS_BREAK(ACL_INHERIT) || !cfs_acl_get(dir, true, value_out))
		return false;
	*mode &= ~CFS_ACL_PERM | cfs_acl_perm(*value_out);
	return true;
}

void cfs_acl_add_inherited(struct cfs_items *it, uint64_t ino, uint32_t mode,
			   struct cfs_bytes value)
{
	uint8_t *to;

	if (S_ISDIR(mode) && !CFS_BREAK(ACL_INHERIT_DIR))
		cfs_meta_add_xattr(it, ino, cfs_acl_default_name, value);
	if (cfs_acl_is_minimal(value))
		return;
	to = cfs_meta_add_xattr(it, ino, cfs_acl_access_name, value);
	if (to)
		cfs_acl_chmod(to, value.len, mode);
}
