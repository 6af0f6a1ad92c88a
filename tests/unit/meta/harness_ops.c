/* The operations of a harness's client: one request each. */
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/util.h"
#include "harness.h"

static struct cfs_msg request(uint16_t op, uint64_t ino)
{
	struct cfs_msg m = { .op = op };

	cfs_msg_set(&m, ino, ino);
	return m;
}

#define SET_NAME(m, field, s) cfs_msg_set_bytes(m, field, (const uint8_t *)(s), (uint32_t)strlen(s))

CFS_AWAITS int hs_lookup(struct harness *h, uint64_t dir, const char *name, uint64_t *ino)
{
	struct cfs_msg m = request(CFS_OP_LOOKUP, dir);
	struct cfs_net_reply r;
	int rc;

	SET_NAME(&m, name, name);
	rc = harness_call(h, &m, &r);
	if (rc == 0 && ino)
		*ino = r.msg.ino;
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_getattr(struct harness *h, uint64_t ino, struct cfs_attr *out)
{
	struct cfs_msg m = request(CFS_OP_GETATTR, ino);
	struct cfs_net_reply r;
	int rc = harness_call(h, &m, &r);

	if (rc == 0 && out)
		rc = cfs_attr_decode(r.msg.attr.p, r.msg.attr.len, out);
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int make(struct harness *h, struct cfs_msg *m, uint32_t mode, const char *name,
			   uint64_t *ino)
{
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(m, mode, mode);
	cfs_msg_set(m, uid, 7);
	cfs_msg_set(m, gid, 8);
	SET_NAME(m, name, name);
	rc = harness_call(h, m, &r);
	if (rc == 0 && ino)
		*ino = r.msg.ino;
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_create(struct harness *h, uint64_t dir, const char *name, uint32_t mode,
			 uint32_t flags, uint64_t *ino)
{
	struct cfs_msg m = request(CFS_OP_CREATE, dir);

	cfs_msg_set(&m, flags, flags);
	return make(h, &m, mode & S_IFMT ? mode : mode | S_IFREG, name, ino);
}

CFS_AWAITS int hs_symlink(struct harness *h, uint64_t dir, const char *name, const char *target,
			  uint64_t *ino)
{
	struct cfs_msg m = request(CFS_OP_CREATE, dir);

	cfs_msg_set(&m, flags, CFS_F_EXCL);
	SET_NAME(&m, data, target);
	return make(h, &m, S_IFLNK | 0777, name, ino);
}

CFS_AWAITS int hs_mkdir(struct harness *h, uint64_t dir, const char *name, uint64_t *ino)
{
	struct cfs_msg m = request(CFS_OP_MKDIR, dir);

	return make(h, &m, 0755, name, ino);
}

static CFS_AWAITS int by_name(struct harness *h, uint16_t op, uint64_t dir, const char *name)
{
	struct cfs_msg m = request(op, dir);
	struct cfs_net_reply r;
	int rc;

	SET_NAME(&m, name, name);
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_unlink(struct harness *h, uint64_t dir, const char *name)
{
	return by_name(h, CFS_OP_UNLINK, dir, name);
}

CFS_AWAITS int hs_rmdir(struct harness *h, uint64_t dir, const char *name)
{
	return by_name(h, CFS_OP_RMDIR, dir, name);
}

CFS_AWAITS int hs_link(struct harness *h, uint64_t ino, uint64_t dir, const char *name)
{
	struct cfs_msg m = request(CFS_OP_LINK, dir);
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino2, ino);
	SET_NAME(&m, name, name);
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_rename(struct harness *h, uint64_t dir, const char *name, uint64_t dir2,
			 const char *name2, uint32_t flags)
{
	struct cfs_msg m = request(CFS_OP_RENAME, dir);
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino2, dir2);
	cfs_msg_set(&m, flags, flags);
	SET_NAME(&m, name, name);
	SET_NAME(&m, name2, name2);
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_chmod(struct harness *h, uint64_t ino, uint32_t mode)
{
	struct cfs_msg m = request(CFS_OP_SETATTR, ino);
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, valid, CFS_SET_MODE);
	cfs_msg_set(&m, mode, mode);
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int by_ino(struct harness *h, uint16_t op, uint64_t ino)
{
	struct cfs_msg m = request(op, ino);
	struct cfs_net_reply r;
	int rc = harness_call(h, &m, &r);

	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_open(struct harness *h, uint64_t ino)
{
	return by_ino(h, CFS_OP_OPEN, ino);
}

CFS_AWAITS int hs_release(struct harness *h, uint64_t ino)
{
	return by_ino(h, CFS_OP_RELEASE, ino);
}

CFS_AWAITS int hs_setxattr(struct harness *h, uint64_t ino, const char *name, const void *value,
			   uint32_t len, uint32_t flags)
{
	struct cfs_msg m = request(CFS_OP_SETXATTR, ino);
	struct cfs_net_reply r;
	int rc;

	SET_NAME(&m, name, name);
	cfs_msg_set_bytes(&m, data, value, len);
	cfs_msg_set(&m, flags, flags);
	rc = harness_call(h, &m, &r);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_getxattr(struct harness *h, uint64_t ino, const char *name, void *value,
			   uint32_t cap)
{
	struct cfs_msg m = request(CFS_OP_GETXATTR, ino);
	struct cfs_net_reply r;
	int rc;

	SET_NAME(&m, name, name);
	cfs_msg_set(&m, len, cap);
	rc = harness_call(h, &m, &r);
	if (rc == 0) {
		if (cfs_msg_is_set(&r.msg, data) && r.msg.data.len)
			memcpy(value, r.msg.data.p, r.msg.data.len);
		rc = (int)r.msg.len;
	}
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_AWAITS int hs_readdir(struct harness *h, uint64_t dir, uint64_t cookie, uint32_t bytes,
			  struct hs_entry *out, uint32_t max, bool *is_eof)
{
	struct cfs_msg m = request(CFS_OP_READDIR, dir);
	struct cfs_net_reply r;
	uint32_t at = 0, count = 0;
	int rc;

	cfs_msg_set(&m, cookie, cookie);
	cfs_msg_set(&m, len, bytes);
	cfs_msg_set(&m, flags, CFS_F_PLUS);
	rc = harness_call(h, &m, &r);
	while (rc == 0 && at < r.msg.data.len && count < max) {
		struct cfs_entry e;
		int64_t n = cfs_entry_decode(r.msg.data.p + at, r.msg.data.len - at, &e);

		cfs_assert(n > 0);
		at += (uint32_t)n;
		out[count] = (struct hs_entry){
			.ino = e.ino, .cookie = e.cookie, .mode = e.mode, .has_attr = e.has_attr
		};
		memcpy(out[count++].name, e.name.p, CFS_MIN(e.name.len, 63u));
	}
	if (rc == 0 && is_eof)
		*is_eof = (r.msg.flags & CFS_F_EOF) && at == r.msg.data.len;
	cfs_net_reply_fini(&r);
	return rc < 0 ? rc : (int)count;
}
