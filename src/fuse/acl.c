/*
 * ACLs, of which the kernel asks more often than needed: as attributes are never valid for longer
 * than the request that asked for them, each check of a permission by group or others asks for the
 * attributes, forgets the ACL and asks for that too (fuse_perm_getattr(), check_acl()). The
 * attributes have said whether there is one (CFS_IFLAG_ACL), so where there is none the second
 * question is answered here, without a message.
 *
 * Only if it comes from the same thread, right after: then the answer is as new as the attributes
 * that the check goes by. Changes through another mount may be older than that by no more than
 * FRESH_NS, and only for fgetxattr(2), where the kernel itself may show what it has kept for
 * longer; one through this mount ends all that was learned before.
 */
#include <string.h>

#include "base/breaks.h"
#include "fuse/fuse_internal.h"

#define XATTR_ACL "system.posix_acl_" /* access, default */
#define FRESH_NS (1000ull * 1000)

bool cfs_fuse_is_acl(struct cfs_client_name name)
{
	return strncmp(name.p, XATTR_ACL, strlen(XATTR_ACL)) == 0;
}

static struct cfs_fuse_acl_slot *slot_of(struct cfs_fuse_req *req)
{
	return &req->fuse->acl_slots[req->in.pid % CFS_FUSE_ACL_SLOTS];
}

void cfs_fuse_acl_learn(struct cfs_fuse_req *req, const struct cfs_attr *attr)
{
	*slot_of(req) = (struct cfs_fuse_acl_slot){
		.ino = attr->iflags & CFS_IFLAG_ACL ? 0 : attr->ino,
		.begin_ns = req->begin_ns,
		.learned_ns = cfs_now_ns(),
		.pid = req->in.pid,
	};
}

void cfs_fuse_acl_changed(struct cfs_fuse_req *req)
{
	if (!CFS_BREAK(ACL_UNSEEN))
		req->fuse->acl_changed_ns = cfs_now_ns();
}

bool cfs_fuse_acl_is_absent(struct cfs_fuse_req *req)
{
	struct cfs_fuse_acl_slot *s = slot_of(req);
	bool is_absent = s->ino == req->in.nodeid && s->pid == req->in.pid &&
			 s->begin_ns > req->fuse->acl_changed_ns &&
			 req->begin_ns - s->learned_ns < FRESH_NS;

	/* Once: the next one has another answer before it. */
	s->ino = 0;
	return is_absent;
}
