/* Extended attributes: the file system's, and those of the mount itself on its root. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/breaks.h"
#include "fuse/fuse_internal.h"

#define XATTR_STATS "claudefs.stats"
#define XATTR_STATUS "claudefs.status"
#define XATTR_CREATE_BIT 1u /* setxattr(2) */
#define XATTR_REPLACE_BIT 2u

/* A kernel that does not obey ACLs does not get any: the error is better, after which cp(1) and
 * others set the mode. */
static bool is_refused(const struct cfs_fuse_req *req, struct cfs_client_name name)
{
	return !(req->fuse->features & FUSE_POSIX_ACL) && cfs_fuse_is_acl(name);
}

struct options_read {
	uint32_t major, minor;
	unsigned long flags;
};

static int options_read(void *arg)
{
	struct options_read *o = arg;

	return cfs_fuse_mount_flags(o->major, o->minor, &o->flags);
}

/* After a remount. The kernel tells nobody of options, so whoever remounts does. */
static CFS_AWAITS int options_take(struct cfs_fuse *f, char **text_out)
{
	struct options_read o = { .major = f->opts->dev_major, .minor = f->opts->dev_minor };
	int rc = cfs_offload(options_read, &o);

	if (rc < 0)
		return rc == -ENOENT ? -ENODATA : rc;
	f->keeps_atime = o.flags & (MS_RDONLY | MS_NOATIME);
	f->keeps_diratime = o.flags & MS_NODIRATIME;
	*text_out = strdup(f->keeps_atime      ? "noatime"
			   : f->keeps_diratime ? "nodiratime"
					       : "relatime");
	return *text_out ? 0 : -ENOMEM;
}

static CFS_AWAITS int own_xattr(struct cfs_fuse_req *req, const char *name, char **text_out)
{
	struct cfs_client_bytes bytes = { 0 };
	int rc;

	if (strcmp(name, XATTR_STATS) == 0) {
		*text_out = cfs_fuse_stats_json(req->fuse);
		return *text_out ? 0 : -ENOMEM;
	}
	if (strcmp(name, CFS_FUSE_XATTR_OPTIONS) == 0)
		return options_take(req->fuse, text_out);
	rc = HANDLE(req, status, 0, &bytes);
	if (rc < 0)
		return rc;
	*text_out = strndup((const char *)bytes.p, bytes.len_bytes);
	cfs_client_bytes_fini(&bytes);
	return *text_out ? 0 : -ENOMEM;
}

static void reply_xattr(struct cfs_fuse_req *req, int rc, uint32_t room_bytes, const void *value,
			uint32_t value_bytes, uint64_t size_bytes)
{
	const struct fuse_getxattr_out size = { .size = (uint32_t)size_bytes };

	if (rc == 0 && room_bytes == 0)
		cfs_fuse_reply(req, 0, &size, sizeof(size));
	else if (rc == 0 && value_bytes > room_bytes)
		cfs_fuse_reply(req, -ERANGE, NULL, 0);
	else
		cfs_fuse_reply(req, rc, value, value_bytes);
}

CFS_AWAITS void cfs_fuse_serve_getxattr(struct cfs_fuse_req *req)
{
	const struct fuse_getxattr_in *in = ARGS(req, fuse_getxattr_in);
	struct cfs_client_name name = cfs_fuse_string_at(req, sizeof(*in), 0);
	struct cfs_client_bytes bytes = { 0 };
	uint64_t size = 0;
	int rc;

	if (req->in.nodeid == FUSE_ROOT_ID &&
	    (strcmp(name.p, XATTR_STATS) == 0 || strcmp(name.p, XATTR_STATUS) == 0 ||
	     strcmp(name.p, CFS_FUSE_XATTR_OPTIONS) == 0)) {
		char *text = NULL;
		uint32_t len;

		rc = own_xattr(req, name.p, &text);
		len = text ? (uint32_t)strlen(text) : 0;
		reply_xattr(req, rc, in->size, text, len, len);
		free(text);
		return;
	}
	if (is_refused(req, name))
		rc = -EOPNOTSUPP;
	else if (cfs_fuse_is_acl(name) && cfs_fuse_acl_is_absent(req))
		rc = -ENODATA;
	else
		rc = HANDLE(req, getxattr, req->in.nodeid, name, in->size, &bytes, &size);
	if (cfs_fuse_is_acl(name))
		cfs_fuse_cache_acl(req);
	reply_xattr(req, rc, in->size, bytes.p, bytes.len_bytes, size);
	cfs_client_bytes_fini(&bytes);
}

CFS_AWAITS void cfs_fuse_serve_listxattr(struct cfs_fuse_req *req)
{
	const struct fuse_getxattr_in *in = ARGS(req, fuse_getxattr_in);
	struct cfs_client_bytes bytes = { 0 };
	uint64_t size = 0;
	int rc = HANDLE(req, listxattr, req->in.nodeid, in->size, &bytes, &size);

	reply_xattr(req, rc, in->size, bytes.p, bytes.len_bytes, size);
	cfs_client_bytes_fini(&bytes);
}

CFS_AWAITS void cfs_fuse_serve_setxattr(struct cfs_fuse_req *req)
{
	const struct fuse_setxattr_in *in = ARGS(req, fuse_setxattr_in);
	bool is_ext = req->fuse->features & FUSE_SETXATTR_EXT;
	uint32_t head = is_ext ? (uint32_t)sizeof(*in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	struct cfs_client_name name;
	uint32_t flags = 0;
	int rc;

	/* With the extension the name is further on than where it was checked to be. */
	if (req->args_bytes < head || !memchr(req->args + head, '\0', req->args_bytes - head)) {
		cfs_fuse_reply_rc(req, -EIO);
		return;
	}
	name = cfs_fuse_string_at(req, head, 0);
	head += name.len_bytes + 1;
	if (in->size > req->args_bytes - head || is_refused(req, name)) {
		cfs_fuse_reply_rc(req, is_refused(req, name) ? -EOPNOTSUPP : -EIO);
		return;
	}
	if (is_ext && (in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID))
		flags |= CFS_F_KILLPRIV;
	if ((in->flags & XATTR_CREATE_BIT) && !CFS_BREAK(XATTR_CREATE))
		flags |= CFS_F_XATTR_CREATE;
	if ((in->flags & XATTR_REPLACE_BIT) && !CFS_BREAK(XATTR_REPLACE))
		flags |= CFS_F_XATTR_REPLACE;
	rc = HANDLE(req, setxattr, req->in.nodeid, name, req->args + head, in->size, flags);
	if (cfs_fuse_is_acl(name))
		cfs_fuse_acl_changed(req);
	cfs_fuse_reply_rc(req, rc);
}

CFS_AWAITS void cfs_fuse_serve_removexattr(struct cfs_fuse_req *req)
{
	struct cfs_client_name name = cfs_fuse_string_at(req, 0, 0);

	int rc = is_refused(req, name) ? -EOPNOTSUPP
				       : HANDLE(req, removexattr, req->in.nodeid, name);

	if (cfs_fuse_is_acl(name))
		cfs_fuse_acl_changed(req);
	cfs_fuse_reply_rc(req, rc);
}
