/*
 * POSIX ACLs (acl(5), POSIX 1003.1e draft 17): what a value may be, how it and the mode change each
 * other, what a new inode inherits (doc/design/namespace.md).
 *
 * An ACL is kept as the extended attribute that it is set by. Enforcing it is the client's
 * kernel's. Invariants of an inode's access ACL: it is valid, it says more than the mode (else it
 * is not kept), and its entries of owner, mask (or owning group) and others are the mode's
 * permissions. So whatever changes one of the two changes both in the same record. Only directories
 * have a default ACL. Functions on values take valid ones, but for cfs_acl_check().
 */
#ifndef CFS_META_ACL_H
#define CFS_META_ACL_H

#include "meta/acl_format.h"
#include "meta/table.h"
#include "repl/item.h"

#define CFS_ACL_PERM 0777u /* the bits of a mode that an ACL stands for */

/* The attributes' names. */
extern const struct cfs_bytes cfs_acl_access_name, cfs_acl_default_name;
static inline bool cfs_acl_is_access(struct cfs_bytes name)
{
	return name.len == cfs_acl_access_name.len &&
	       !__builtin_memcmp(name.p, cfs_acl_access_name.p, name.len);
}
static inline bool cfs_acl_is_default(struct cfs_bytes name)
{
	return name.len == cfs_acl_default_name.len &&
	       !__builtin_memcmp(name.p, cfs_acl_default_name.p, name.len);
}

/* Any bytes: 0; -EINVAL: not an ACL of at least the three entries that each has; -E2BIG: more than
 * CFS_ACL_ENTRIES_MAX. The rules are the kernel's (posix_acl_valid()): it does not ask for ids in
 * order either. */
int cfs_acl_check(struct cfs_bytes value);
/* Any bytes: nothing, or a header without entries. Setting it removes the ACL. */
bool cfs_acl_is_empty(struct cfs_bytes value);
/* The permissions that @value stands for in a mode. */
uint32_t cfs_acl_perm(struct cfs_bytes value);
/* Whether it says no more than a mode does. */
bool cfs_acl_is_minimal(struct cfs_bytes value);
/* chmod(2): rewrites the entries of owner, mask (or owning group) and others. */
void cfs_acl_chmod(uint8_t *value, uint32_t len_bytes, uint32_t mode);

/* --- of inodes --- */

/* Its access or default ACL. False: none. */
bool cfs_acl_get(const struct cfs_inode *i, bool is_default, struct cfs_bytes *out);
/* Tells apart what its access ACL is; 0: none. */
uint64_t cfs_acl_hash(const struct cfs_inode *i);
/* The mode of @i becomes @mode: adds the item that changes its access ACL, if it has one. */
void cfs_acl_add_chmod(struct cfs_items *it, const struct cfs_inode *i, uint32_t mode);

/* What a new inode of @mode (a symbolic link has none) inherits of @dir. False: nothing, and then
 * the umask counts. True: *@value_out, and *@mode is cut down to what it allows. */
bool cfs_acl_inherit(const struct cfs_inode *dir, uint32_t *mode, struct cfs_bytes *value_out);
/* Adds the items of what @ino, of @mode, has inherited: @value of cfs_acl_inherit(). (As steps:
 * cfs_tx_add_inherited().) */
void cfs_acl_add_inherited(struct cfs_items *it, uint64_t ino, uint32_t mode,
			   struct cfs_bytes value);
#define CFS_ACL_ITEMS_BYTES (2u * (CFS_ACL_BYTES_MAX + 64u)) /* room for those */

#endif
