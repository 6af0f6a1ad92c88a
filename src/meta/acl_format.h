/*
 * The value of system.posix_acl_access and system.posix_acl_default, on the wire and on the device:
 * the kernel's (include/uapi/linux/posix_acl_xattr.h), version 2. Entries follow the header.
 */
#ifndef CFS_META_ACL_FORMAT_H
#define CFS_META_ACL_FORMAT_H

#include "base/endian.h"

#define CFS_ACL_VERSION 2u

struct cfs_acl_header {
	cfs_le32 version; /* CFS_ACL_VERSION; anything else is refused */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_acl_header) == 4, "ACL header is 4 bytes");

struct cfs_acl_entry {
	cfs_le16 tag;  /* CFS_ACL_ */
	cfs_le16 perm; /* 4 read, 2 write, 1 execute */
	cfs_le32 id;   /* of USER and GROUP; else not looked at */
} CFS_PACKED;
_Static_assert(sizeof(struct cfs_acl_entry) == 8, "ACL entry is 8 bytes");

/* Tags, in the order in which entries stand. */
#define CFS_ACL_USER_OBJ 0x01u
#define CFS_ACL_USER 0x02u
#define CFS_ACL_GROUP_OBJ 0x04u
#define CFS_ACL_GROUP 0x08u
#define CFS_ACL_MASK 0x10u
#define CFS_ACL_OTHER 0x20u

/* The kernel's mounts read and write a page of it. */
#define CFS_ACL_ENTRIES_MAX 511u
#define CFS_ACL_BYTES_MAX (4u + CFS_ACL_ENTRIES_MAX * 8u)

#endif
