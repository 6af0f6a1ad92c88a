/*
 * ioctl(2): that a file may be seen late (lazy.h); inode flags, as chattr(1) and lsattr(1) want
 * them (FS_IOC_GETFLAGS(2const)), in both their forms. Whether the caller may is checked by the
 * kernel since Linux 5.13: owner, and CAP_LINUX_IMMUTABLE for what needs it. Before that it hands
 * these on unchecked, so an older one gets none.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/fs.h>

#include "claudefs/lazy.h"
#include "fuse/fuse_internal.h"

#define MINOR_CHECKED 34u /* the first version after it */

_Static_assert(FS_IMMUTABLE_FL == CFS_IFLAG_IMMUTABLE && FS_APPEND_FL == CFS_IFLAG_APPEND &&
		       FS_NODUMP_FL == CFS_IFLAG_NODUMP && FS_NOATIME_FL == CFS_IFLAG_NOATIME,
	       "our flags are the kernel's");

static const struct {
	uint32_t flag, xflag;
} flags_table[] = {
	{ CFS_IFLAG_IMMUTABLE, FS_XFLAG_IMMUTABLE },
	{ CFS_IFLAG_APPEND, FS_XFLAG_APPEND },
	{ CFS_IFLAG_NODUMP, FS_XFLAG_NODUMP },
	{ CFS_IFLAG_NOATIME, FS_XFLAG_NOATIME },
};

static uint32_t xflags_of(uint32_t flags)
{
	uint32_t xflags = 0;

	for (size_t i = 0; i < CFS_ARRAY_COUNT(flags_table); i++)
		if (flags & flags_table[i].flag)
			xflags |= flags_table[i].xflag;
	return xflags;
}

/* -EOPNOTSUPP: something that we have not. */
static int flags_of_x(const struct fsxattr *x, uint32_t *flags_out)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < CFS_ARRAY_COUNT(flags_table); i++)
		if (x->fsx_xflags & flags_table[i].xflag)
			flags |= flags_table[i].flag;
	if (xflags_of(flags) != x->fsx_xflags || x->fsx_extsize || x->fsx_projid ||
	    x->fsx_cowextsize)
		return -EOPNOTSUPP;
	*flags_out = flags;
	return 0;
}

static CFS_AWAITS int flags_get(struct cfs_fuse_req *req, uint32_t *flags_out)
{
	struct cfs_attr attr;
	int rc = req->fuse->handlers->getattr
			 ? req->fuse->handlers->getattr(&req->op, req->in.nodeid, &attr)
			 : -ENOTTY;

	if (rc == 0)
		*flags_out = attr.iflags & CFS_IFLAGS_USER;
	return rc;
}

static CFS_AWAITS int flags_set(struct cfs_fuse_req *req, uint32_t flags)
{
	const struct cfs_client_setattr set = { .valid = CFS_SET_IFLAGS, .iflags = flags };
	struct cfs_attr attr;
	int rc;

	if (flags & ~CFS_IFLAGS_USER)
		return -EOPNOTSUPP;
	rc = req->fuse->handlers->setattr
		     ? req->fuse->handlers->setattr(&req->op, req->in.nodeid, &set, &attr)
		     : -ENOTTY;
	if (rc == 0)
		cfs_fuse_cache_attr_changed(req->fuse, req->in.nodeid);
	return rc;
}

struct ioctl_reply {
	struct fuse_ioctl_out head;
	union {
		uint32_t flags;
		struct fsxattr x;
	} body;
};

/* @body_bytes of the reply, or why not. */
static CFS_AWAITS int serve(struct cfs_fuse_req *req, const struct fuse_ioctl_in *in,
			    const uint8_t *body, struct ioctl_reply *out)
{
	struct fsxattr x;
	uint32_t flags = 0;
	int rc;

	switch (in->cmd) {
	case FS_IOC_GETFLAGS:
		rc = in->out_size < sizeof(flags) ? -EINVAL : flags_get(req, &flags);
		out->body.flags = flags;
		return rc < 0 ? rc : (int)sizeof(flags);
	case FS_IOC_SETFLAGS:
		if (in->in_size < sizeof(flags))
			return -EINVAL;
		memcpy(&flags, body, sizeof(flags));
		return flags_set(req, flags);
	case FS_IOC_FSGETXATTR:
		rc = in->out_size < sizeof(x) ? -EINVAL : flags_get(req, &flags);
		out->body.x.fsx_xflags = xflags_of(flags);
		return rc < 0 ? rc : (int)sizeof(x);
	case FS_IOC_FSSETXATTR:
		if (in->in_size < sizeof(x))
			return -EINVAL;
		memcpy(&x, body, sizeof(x));
		rc = flags_of_x(&x, &flags);
		return rc < 0 ? rc : flags_set(req, flags);
	case CLAUDEFS_IOC_LAZY:
		if (in->in_size < sizeof(flags))
			return -EINVAL;
		memcpy(&flags, body, sizeof(flags));
		return cfs_fuse_lazy_set(req, in->fh, flags);
	default:
		return -ENOTTY;
	}
}

CFS_AWAITS void cfs_fuse_serve_ioctl(struct cfs_fuse_req *req)
{
	const struct fuse_ioctl_in *in = (const struct fuse_ioctl_in *)(const void *)req->args;
	struct ioctl_reply out = { 0 };
	int rc = -ENOTTY;

	if (in->in_size > req->args_bytes - sizeof(*in))
		rc = -EINVAL;
	else if (req->fuse->minor >= MINOR_CHECKED && !(in->flags & FUSE_IOCTL_UNRESTRICTED))
		rc = serve(req, in, req->args + sizeof(*in), &out);
	cfs_fuse_reply(req, rc < 0 ? rc : 0, &out, sizeof(out.head) + (size_t)CFS_MAX(rc, 0));
}
