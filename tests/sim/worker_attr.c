/* Operations on attributes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "worker_internal.h"

static bool is_settable(const struct m_inode *i)
{
	return !model_is_link(i) && i->nlink > 0;
}

void do_setattr(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, is_settable);
	struct cfs_client_setattr set = { 0 };
	struct wants wants = { 0 };
	struct m_write *h;
	struct cfs_attr a;
	uint32_t op;
	int rc;

	if (!i)
		return;
	op = model_op(m, w->id);
	h = model_op_write(m, op, i, M_ATTR);
	if (one_in(w, 2)) {
		set.valid |= CFS_SET_MODE;
		set.mode = 0400 | below(w, 0400);
		h->after.mode = (i->attr.mode & 0170000) | set.mode;
	}
	if (one_in(w, 3)) {
		set.valid |= CFS_SET_UID | CFS_SET_GID;
		set.uid = h->after.uid = below(w, 4);
		set.gid = h->after.gid = below(w, 4);
	}
	if (set.valid == 0 || one_in(w, 3)) {
		set.valid |= CFS_SET_MTIME | CFS_SET_ATIME;
		set.mtime = (int64_t)(sim_rand(&w->rand) >> 4);
		set.atime = (int64_t)(sim_rand(&w->rand) >> 4);
	}
	op_begin(w);
	rc = cfs_client_setattr(&w->op, i->ino, &set, &a);
	op_judge(w, "setattr", rc, &wants, "%llx valid %x mode %o", (unsigned long long)i->ino,
		 set.valid, set.mode);
	i->attr = h->after;
	i->has_times = false;
	model_op_end(m, op, true);
	attr_check(w, "setattr", i, &a);
	if ((set.valid & CFS_SET_MTIME) && a.mtime != set.mtime)
		sim_finding(w->sim, "setattr: mtime is %lld, not %lld", (long long)a.mtime,
			    (long long)set.mtime);
}

static bool is_known(const struct m_inode *i)
{
	return i->ino != 0;
}

void do_getattr(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, is_known);
	struct wants wants = { 0 };
	struct cfs_attr a;
	int rc;

	/* Now and then one that is gone: its number is never used again. */
	if (one_in(w, 5)) {
		for (i = m->inodes; i && (i->owner != w->id || i->ino == 0); i = i->next)
			;
	}
	if (!i)
		return;
	if (!model_is_alive(m, i))
		want(&wants, -ESTALE);
	/* A client that died may have had it open: until its session ends it stays. */
	if (wants.count > 0 && w->sim->cuts > 0)
		want(&wants, 0);
	op_begin(w);
	rc = cfs_client_getattr(&w->op, i->ino, &a);
	if (op_judge(w, "getattr", rc, &wants, "%llx", (unsigned long long)i->ino))
		attr_check(w, "getattr", i, &a);
}

/* --- extended attributes --- */

void do_setxattr(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, is_settable);
	uint32_t x = below(w, MODEL_XATTRS), flags = 0, op = 0;
	bool is_remove = one_in(w, 4);
	struct m_xattr next = { 0 };
	struct wants wants = { 0 };
	char name[16];
	int rc;

	if (!i)
		return;
	if (!is_remove) {
		flags = one_in(w, 6) ? CFS_F_XATTR_CREATE : one_in(w, 6) ? CFS_F_XATTR_REPLACE : 0;
		next.is_set = true;
		next.len_bytes = below(w, one_in(w, 8) ? 9000 : 200);
		pattern_fill(((uint64_t)w->id + 1) << 40 | ++w->patterns, 0, w->buf,
			     next.len_bytes);
		next.hash = cfs_hash_bytes(w->buf, next.len_bytes, 0);
	}
	if (i->attr.xattr[x].is_set && flags == CFS_F_XATTR_CREATE)
		want(&wants, -EEXIST);
	if (!i->attr.xattr[x].is_set && (is_remove || flags == CFS_F_XATTR_REPLACE))
		want(&wants, -ENODATA);
	if (wants.count == 0) {
		op = model_op(m, w->id);
		model_op_write(m, op, i, M_XATTR)->after.xattr[x] = next;
	}
	model_xattr_name(i->attr.mode, x, name);
	op_begin(w);
	rc = is_remove ? cfs_client_removexattr(&w->op, i->ino, name_of(name))
		       : cfs_client_setxattr(&w->op, i->ino, name_of(name), w->buf, next.len_bytes,
					     flags);
	if (!op_judge(w, is_remove ? "removexattr" : "setxattr", rc, &wants, "%llx %s flags %x",
		      (unsigned long long)i->ino, name, flags))
		return;
	model_op_end(m, op, true);
	i->attr.xattr[x] = next;
	i->has_times = false;
}

void do_getxattr(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_settable);
	uint32_t x = below(w, MODEL_XATTRS);
	struct cfs_client_bytes got;
	struct wants wants = { 0 };
	uint64_t size = 0;
	char name[16];
	int rc;

	if (!i)
		return;
	if (!i->attr.xattr[x].is_set)
		want(&wants, -ENODATA);
	model_xattr_name(i->attr.mode, x, name);
	op_begin(w);
	rc = cfs_client_getxattr(&w->op, i->ino, name_of(name), 10000, &got, &size);
	if (!op_judge(w, "getxattr", rc, &wants, "%llx %s", (unsigned long long)i->ino, name))
		return;
	if (got.len_bytes != i->attr.xattr[x].len_bytes ||
	    cfs_hash_bytes(got.p, got.len_bytes, 0) != i->attr.xattr[x].hash)
		sim_finding(w->sim, "getxattr of %llx %s: another value",
			    (unsigned long long)i->ino, name);
	cfs_client_bytes_fini(&got);
}

static bool is_symlink(const struct m_inode *i)
{
	return model_is_link(i) && i->nlink > 0;
}

void do_readlink(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_symlink);
	struct cfs_client_bytes got;
	struct wants wants = { 0 };
	int rc;

	if (!i)
		return;
	op_begin(w);
	rc = cfs_client_readlink(&w->op, i->ino, &got);
	op_judge(w, "readlink", rc, &wants, "%llx", (unsigned long long)i->ino);
	if (got.len_bytes != strlen(i->target) || memcmp(got.p, i->target, got.len_bytes) != 0)
		sim_finding(w->sim, "readlink of %llx: another target", (unsigned long long)i->ino);
	cfs_client_bytes_fini(&got);
}
