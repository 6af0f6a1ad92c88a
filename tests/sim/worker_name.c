/* Operations on names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "worker_internal.h"

static const char *dir_name(const struct m_inode *dir)
{
	return dir->name[0] ? dir->name : "/";
}

/* --- create --- */

static uint32_t create_mode(struct sim_worker *w)
{
	switch (below(w, 10)) {
	case 0:
	case 1:
		return S_IFLNK | 0777;
	case 2:
		return S_IFIFO | 0600;
	default:
		return S_IFREG | 0644;
	}
}

static void create_want(const struct m_inode *old, uint32_t mode, uint32_t flags,
			struct wants *wants)
{
	if (!old)
		return;
	if (flags & CFS_F_EXCL)
		want(wants, -EEXIST);
	else if (model_is_dir(old))
		want(wants, -EISDIR);
	else if (!model_is_reg(old))
		want(wants, -ESTALE);
	cfs_assert(S_ISREG(mode) || (flags & CFS_F_EXCL));
}

/* The file that CREATE will make, with its history; not in the directory yet. */
static struct m_inode *create_plan(struct sim_worker *w, struct m_inode *dir, const char *name,
				   uint32_t mode, const char *target, uint32_t *op)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = model_inode(m, mode, w->id);

	if (S_ISLNK(mode)) {
		i->target = strdup(target);
		i->attr.size = strlen(target);
	}
	*op = model_op(m, w->id);
	model_op_change(m, *op, dir, M_PUT, name, i);
	return i;
}

/* An existing file is opened, and truncated if so asked. */
static CFS_AWAITS void create_opens(struct sim_worker *w, struct m_inode *dir, const char *name,
				    struct m_inode *i, struct cfs_client_create *how)
{
	struct sim_model *m = w->sim->model;
	bool is_trunc = (how->flags & CFS_F_TRUNC) && (how->flags & CFS_F_OPEN);
	uint32_t op = model_op(m, w->id);
	struct wants wants = { 0 };
	struct cfs_attr a;
	int rc;

	if (is_trunc)
		model_op_write(m, op, i, M_SIZE)->after.size = 0;
	rc = cfs_client_create(&w->op, dir->ino, name_of(name), how, &a);
	op_judge(w, "create over", rc, &wants, "%s/%s flags %x", dir_name(dir), name, how->flags);
	model_op_end(m, op, true);
	if (is_trunc) {
		model_resize(i, 0);
		i->has_times = false;
	}
	if (how->flags & CFS_F_OPEN)
		handle_add(w, i);
	attr_check(w, "create over", i, &a);
}

void do_create(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *dir = pick_dir(w), *old, *i;
	struct cfs_client_create how = { .mode = create_mode(w) };
	char name[MODEL_NAME_MAX], target[64];
	struct wants wants = { 0 };
	struct cfs_attr a;
	uint32_t op;
	int rc;

	pick_name(w, dir, name);
	old = model_look(dir, name);
	(void)snprintf(target, sizeof(target), "to/%llx", (unsigned long long)sim_rand(&w->rand));
	how.target = name_of(target);
	if (!S_ISREG(how.mode) || one_in(w, 2))
		how.flags |= CFS_F_EXCL;
	if (S_ISREG(how.mode) && one_in(w, 3) && !handles_full(w))
		how.flags |= CFS_F_OPEN | (one_in(w, 2) ? CFS_F_TRUNC : 0);
	create_want(old, how.mode, how.flags, &wants);
	op_begin(w);
	if (old && wants.count == 0) {
		create_opens(w, dir, name, old, &how);
		return;
	}
	if (old) {
		rc = cfs_client_create(&w->op, dir->ino, name_of(name), &how, &a);
		op_judge(w, "create", rc, &wants, "%s/%s flags %x", dir_name(dir), name, how.flags);
		return;
	}
	i = create_plan(w, dir, name, how.mode, target, &op);
	rc = cfs_client_create(&w->op, dir->ino, name_of(name), &how, &a);
	op_judge(w, "create", rc, &wants, "%s/%s mode %o flags %x", dir_name(dir), name, how.mode,
		 how.flags);
	model_op_end(m, op, true);
	model_put(dir, name, i);
	if (how.flags & CFS_F_OPEN)
		handle_add(w, i);
	attr_check(w, "create", i, &a);
}

void do_mkdir(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *dir = pick_dir(w), *i = NULL;
	char name[MODEL_NAME_MAX];
	struct wants wants = { 0 };
	struct cfs_attr a;
	uint32_t op = 0;
	int rc;

	pick_name(w, dir, name);
	if (model_look(dir, name)) {
		want(&wants, -EEXIST);
	} else {
		i = model_inode(m, S_IFDIR | 0750, w->id);
		op = model_op(m, w->id);
		model_op_change(m, op, dir, M_PUT, name, i);
		model_op_change(m, op, i, M_BORN, "", NULL);
	}
	op_begin(w);
	rc = cfs_client_mkdir(&w->op, dir->ino, name_of(name), 0750, &a);
	if (!op_judge(w, "mkdir", rc, &wants, "%s/%s", dir_name(dir), name))
		return;
	model_op_end(m, op, true);
	model_put(dir, name, i);
	attr_check(w, "mkdir", i, &a);
}

/* --- unlink, rmdir --- */

void do_remove(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *dir = pick_dir(w), *old;
	char name[MODEL_NAME_MAX];
	struct wants wants = { 0 };
	bool is_rmdir;
	uint32_t op = 0;
	int rc;

	pick_name(w, dir, name);
	old = model_look(dir, name);
	is_rmdir = (old && model_is_dir(old)) != one_in(w, 8);
	if (!old)
		want(&wants, -ENOENT);
	else if (model_is_dir(old) != is_rmdir)
		want(&wants, is_rmdir ? -ENOTDIR : -EISDIR);
	else if (is_rmdir && old->dentry_count > 0)
		want(&wants, -ENOTEMPTY);
	op_begin(w);
	if (wants.count == 0) {
		op = model_op(m, w->id);
		model_op_change(m, op, dir, M_REMOVE, name, NULL);
		if (is_rmdir)
			model_op_change(m, op, old, M_GONE, "", NULL);
	}
	rc = is_rmdir ? cfs_client_rmdir(&w->op, dir->ino, name_of(name))
		      : cfs_client_unlink(&w->op, dir->ino, name_of(name));
	if (!op_judge(w, is_rmdir ? "rmdir" : "unlink", rc, &wants, "%s/%s", dir_name(dir), name))
		return;
	model_op_end(m, op, true);
	model_remove(dir, name);
}

/* --- rename --- */

struct move {
	struct m_inode *from_dir, *to_dir, *from, *to;
	char from_name[MODEL_NAME_MAX], to_name[MODEL_NAME_MAX];
	uint32_t flags;
};

/* Every error that holds: which of them is told first is not the model's business. */
static void rename_want(const struct move *v, struct wants *wants)
{
	bool is_exchange = v->flags & CFS_F_EXCHANGE;

	if (!v->from || (is_exchange && !v->to))
		want(wants, -ENOENT);
	if (!v->from || (is_exchange && !v->to))
		return;
	if (v->to && (v->flags & CFS_F_NOREPLACE))
		want(wants, -EEXIST);
	if (v->to == v->from)
		return;
	if (model_is_dir(v->from) && model_is_below(v->to_dir, v->from))
		want(wants, -EINVAL);
	if (is_exchange && model_is_dir(v->to) && model_is_below(v->from_dir, v->to))
		want(wants, -EINVAL);
	if (!v->to || is_exchange)
		return;
	if (model_is_dir(v->from) && !model_is_dir(v->to))
		want(wants, -ENOTDIR);
	if (!model_is_dir(v->from) && model_is_dir(v->to))
		want(wants, -EISDIR);
	if (model_is_dir(v->to) && v->to->dentry_count > 0)
		want(wants, -ENOTEMPTY);
}

static uint32_t rename_plan(struct sim_worker *w, const struct move *v)
{
	struct sim_model *m = w->sim->model;
	uint32_t op = model_op(m, w->id);

	if (v->flags & CFS_F_EXCHANGE) {
		model_op_change(m, op, v->from_dir, M_PUT, v->from_name, v->to);
		model_op_change(m, op, v->to_dir, M_PUT, v->to_name, v->from);
		return op;
	}
	model_op_change(m, op, v->from_dir, M_REMOVE, v->from_name, NULL);
	model_op_change(m, op, v->to_dir, M_PUT, v->to_name, v->from);
	if (v->to && model_is_dir(v->to))
		model_op_change(m, op, v->to, M_GONE, "", NULL);
	return op;
}

static void rename_apply(const struct move *v)
{
	model_remove(v->from_dir, v->from_name);
	if (v->to)
		model_remove(v->to_dir, v->to_name);
	model_put(v->to_dir, v->to_name, v->from);
	if (v->flags & CFS_F_EXCHANGE)
		model_put(v->from_dir, v->from_name, v->to);
}

void do_rename(struct sim_worker *w)
{
	struct move v = { .from_dir = pick_dir(w) };
	struct wants wants = { 0 };
	bool is_noop;
	uint32_t op = 0;
	int rc;

	v.to_dir = one_in(w, 4) ? v.from_dir : pick_dir(w);
	pick_name(w, v.from_dir, v.from_name);
	pick_name(w, v.to_dir, v.to_name);
	v.from = model_look(v.from_dir, v.from_name);
	v.to = model_look(v.to_dir, v.to_name);
	v.flags = one_in(w, 6) ? CFS_F_NOREPLACE : one_in(w, 5) ? CFS_F_EXCHANGE : 0;
	rename_want(&v, &wants);
	is_noop = v.from == v.to;
	op_begin(w);
	if (wants.count == 0 && !is_noop)
		op = rename_plan(w, &v);
	rc = cfs_client_rename(&w->op, v.from_dir->ino, name_of(v.from_name), v.to_dir->ino,
			       name_of(v.to_name), v.flags);
	if (!op_judge(w, "rename", rc, &wants, "%s/%s to %s/%s flags %x", dir_name(v.from_dir),
		      v.from_name, dir_name(v.to_dir), v.to_name, v.flags) ||
	    is_noop)
		return;
	model_op_end(w->sim->model, op, true);
	rename_apply(&v);
}

/* --- link --- */

static bool is_linkable(const struct m_inode *i)
{
	return !model_is_dir(i) && i->nlink > 0;
}

static bool is_any(const struct m_inode *i)
{
	return i->nlink > 0;
}

void do_link(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, one_in(w, 10) ? is_any : is_linkable);
	struct m_inode *dir = pick_dir(w);
	char name[MODEL_NAME_MAX];
	struct wants wants = { 0 };
	struct cfs_attr a;
	uint32_t op = 0;
	int rc;

	if (!i)
		return;
	pick_name(w, dir, name);
	if (model_look(dir, name))
		want(&wants, -EEXIST);
	if (model_is_dir(i))
		want(&wants, -EPERM);
	op_begin(w);
	if (wants.count == 0) {
		op = model_op(m, w->id);
		model_op_change(m, op, dir, M_PUT, name, i);
	}
	rc = cfs_client_link(&w->op, i->ino, dir->ino, name_of(name), &a);
	if (!op_judge(w, "link", rc, &wants, "%llx to %s/%s", (unsigned long long)i->ino,
		      dir_name(dir), name))
		return;
	model_op_end(m, op, true);
	model_put(dir, name, i);
	attr_check(w, "link", i, &a);
}

/* --- looking --- */

void do_lookup(struct sim_worker *w)
{
	struct m_inode *dir = pick_dir(w), *i;
	char name[MODEL_NAME_MAX];
	struct wants wants = { 0 };
	struct cfs_attr a;
	int rc;

	pick_name(w, dir, name);
	i = model_look(dir, name);
	if (!i)
		want(&wants, -ENOENT);
	op_begin(w);
	rc = cfs_client_lookup(&w->op, dir->ino, name_of(name), &a);
	if (op_judge(w, "lookup", rc, &wants, "%s/%s", dir_name(dir), name))
		attr_check(w, "lookup", i, &a);
}

/* One page; returns the last cookie. */
static uint64_t page_check(struct sim_worker *w, const struct m_inode *dir,
			   const struct cfs_client_page *page, uint64_t cookie, uint32_t *mine)
{
	const uint8_t *at = page->bytes.p;
	uint32_t left = page->bytes.len_bytes;

	while (left > 0) {
		char name[MODEL_NAME_MAX] = "";
		const struct m_inode *i;
		struct cfs_entry e;
		int64_t n = cfs_entry_decode(at, left, &e);

		if (n <= 0)
			sim_finding(w->sim, "readdir: an entry does not decode");
		if (e.cookie <= cookie)
			sim_finding(w->sim, "readdir: cookies do not grow");
		cookie = e.cookie;
		at += n;
		left -= (uint32_t)n;
		if (model_owner((const char *)e.name.p, e.name.len) != w->id ||
		    e.name.len >= MODEL_NAME_MAX)
			continue;
		memcpy(name, e.name.p, e.name.len);
		i = model_look(dir, name);
		if (!i || i->ino != e.ino || (i->attr.mode & S_IFMT) != (e.mode & S_IFMT))
			sim_finding(w->sim, "readdir: %s/%s is inode %llx, not %llx", dir_name(dir),
				    name, (unsigned long long)e.ino,
				    (unsigned long long)(i ? i->ino : 0));
		++*mine;
	}
	return cookie;
}

void do_readdir(struct sim_worker *w)
{
	struct m_inode *dir = pick_dir(w);
	uint32_t bytes = 512 + below(w, one_in(w, 3) ? 60000 : 800), mine = 0, want_count = 0;
	bool has_attrs = one_in(w, 2), is_last = false;
	struct wants wants = { 0 };
	uint64_t cookie = 0;

	op_begin(w);
	while (!is_last) {
		struct cfs_client_page page;
		int rc = cfs_client_readdir(&w->op, dir->ino, cookie, bytes, has_attrs, &page);

		op_judge(w, "readdir", rc, &wants, "%s after %llx", dir_name(dir),
			 (unsigned long long)cookie);
		cookie = page_check(w, dir, &page, cookie, &mine);
		is_last = page.is_last;
		if (!is_last && page.bytes.len_bytes == 0)
			sim_finding(w->sim, "readdir: an empty page that is not the last");
		cfs_client_bytes_fini(&page.bytes);
	}
	for (uint32_t i = 0; i < dir->dentry_count; i++) {
		const char *name = dir->dentries[i].name;

		want_count += model_owner(name, (uint32_t)strlen(name)) == w->id;
	}
	if (mine != want_count)
		sim_finding(w->sim, "readdir of %s: %u names of worker %u, not %u", dir_name(dir),
			    mine, w->id, want_count);
}
