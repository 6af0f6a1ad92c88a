/*
 * The tables. Both hashes are chained and double when full; a shard is a small part of a volume, so
 * that one step of doubling is short. The dentry hash is seeded per process: names can steer
 * neither its chains nor, through the cookies, the trees.
 */
#include "meta/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/util.h"
#include "meta/acl.h"
#include "meta/file.h"
#include "meta/lazy.h"
#include "meta/lock.h"

#define SLOTS_MIN 64u

int cfs_tables_init(struct cfs_tables *t)
{
	memset(t, 0, sizeof(*t));
	cfs_list_init(&t->inodes);
	t->seed = cfs_rand_u64();
	t->inode_slots = calloc(SLOTS_MIN, sizeof(*t->inode_slots));
	t->dentry_slots = calloc(SLOTS_MIN, sizeof(*t->dentry_slots));
	t->inode_slot_count = t->dentry_slot_count = SLOTS_MIN;
	if (t->inode_slots && t->dentry_slots && cfs_lock_table_create(&t->locks) == 0)
		return 0;
	cfs_tables_fini(t);
	return -ENOMEM;
}

void cfs_tables_fini(struct cfs_tables *t)
{
	if (!t->inodes.next)
		return;
	while (!cfs_list_is_empty(&t->inodes))
		cfs_inode_remove(t, cfs_list_first(&t->inodes, struct cfs_inode, all));
	free(t->inode_slots);
	free(t->dentry_slots);
	cfs_lock_table_destroy(t->locks);
	memset(t, 0, sizeof(*t));
}

/* --- inodes --- */

static struct cfs_inode **inode_slot(const struct cfs_tables *t, uint64_t ino)
{
	return &t->inode_slots[cfs_hash_u64(ino) & (t->inode_slot_count - 1)];
}

struct cfs_inode *cfs_inode_find(const struct cfs_tables *t, uint64_t ino)
{
	struct cfs_inode *i = *inode_slot(t, ino);

	while (i && i->attr.ino != ino)
		i = i->hash_next;
	return i;
}

/* Growth that finds no memory is only slower later. */
static void inodes_grow(struct cfs_tables *t)
{
	uint64_t count = t->inode_slot_count * 2;
	struct cfs_inode **slots = calloc(count, sizeof(*slots));

	if (!slots)
		return;
	free(t->inode_slots);
	t->inode_slots = slots;
	t->inode_slot_count = count;
	cfs_list_for_each(l, &t->inodes) {
		struct cfs_inode *i = cfs_list_entry(l, struct cfs_inode, all);
		struct cfs_inode **slot;

		if (i->is_gone) /* a walk's mark, in no chain */
			continue;
		slot = inode_slot(t, i->attr.ino);
		i->hash_next = *slot;
		*slot = i;
	}
}

bool cfs_inode_is_open(const struct cfs_inode *i)
{
	return i->opens != NULL;
}

bool cfs_inode_is_written(const struct cfs_inode *i)
{
	for (const struct cfs_open *o = i->opens; o; o = o->next) {
		if (o->n.writes)
			return true;
	}
	return false;
}

struct cfs_opens cfs_inode_opens(const struct cfs_inode *i, uint64_t session)
{
	for (const struct cfs_open *o = i->opens; o; o = o->next) {
		if (o->session == session)
			return o->n;
	}
	return (struct cfs_opens){ 0 };
}

static void inode_free(struct cfs_inode *i)
{
	cfs_file_free(i->file);
	cfs_inode_locks_free(i);
	free(i->dir);
	free(i->target);
	free(i);
}

void cfs_inode_pin(struct cfs_inode *i)
{
	i->pins++;
}

void cfs_inode_unpin(struct cfs_inode *i)
{
	cfs_assert(i->pins > 0);
	if (--i->pins == 0 && i->is_gone)
		inode_free(i);
}

/* What a directory shows follows from its dentries, whatever an item says. */
static void dir_counts(struct cfs_inode *i)
{
	i->attr.nlink = 2 + (CFS_BREAK(SUBDIRS_UNCOUNTED) ? 0 : i->dir->subdirs);
	i->attr.size = i->dir->entries;
}

int cfs_inode_put(struct cfs_tables *t, const struct cfs_attr *attr, struct cfs_inode **out)
{
	struct cfs_inode *i = cfs_inode_find(t, attr->ino);
	struct cfs_inode **slot;
	uint32_t iflags;

	if (i) {
		if ((i->attr.mode & S_IFMT) != (attr->mode & S_IFMT))
			return -CFS_EBAD_FORMAT;
		iflags = i->attr.iflags;
		i->attr = *attr;
		i->attr.iflags = (attr->iflags & ~CFS_IFLAGS_DERIVED) |
				 (iflags & CFS_IFLAGS_DERIVED);
		if (i->dir)
			dir_counts(i);
		*out = i;
		return 0;
	}
	if (t->inode_count >= t->inode_slot_count)
		inodes_grow(t);
	i = cfs_stock_calloc(sizeof(*i));
	if (!i)
		return -ENOMEM;
	i->attr = *attr;
	i->attr.iflags &= ~CFS_IFLAGS_DERIVED; /* it has no xattrs yet */
	if (S_ISDIR(attr->mode)) {
		i->dir = cfs_stock_calloc(sizeof(*i->dir));
		if (!i->dir) {
			free(i);
			return -ENOMEM;
		}
		dir_counts(i);
	}
	slot = inode_slot(t, attr->ino);
	i->hash_next = *slot;
	*slot = i;
	cfs_list_push(&t->inodes, &i->all);
	t->inode_count++;
	*out = i;
	return 0;
}

void cfs_inode_remove(struct cfs_tables *t, struct cfs_inode *i)
{
	struct cfs_inode **slot = inode_slot(t, i->attr.ino);
	struct cfs_dentry *d;

	while (i->dir && (d = cfs_dentry_after(i, 0)))
		cfs_dentry_remove(t, d);
	while (i->opens)
		(void)cfs_inode_set_open(i, i->opens->session, (struct cfs_opens){ 0 });
	cfs_inode_locks_clear(t->locks, i);
	while (i->xattrs) {
		struct cfs_xattr *x = i->xattrs;

		i->xattrs = x->next;
		free(x);
	}
	while (*slot != i)
		slot = &(*slot)->hash_next;
	*slot = i->hash_next;
	cfs_list_remove(&i->all);
	t->inode_count--;
	i->is_gone = true;
	if (i->pins == 0)
		inode_free(i);
}

int cfs_inode_set_target(struct cfs_inode *i, const void *target, uint32_t bytes)
{
	char *copy = cfs_stock_malloc(bytes + 1ul);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, target, bytes);
	copy[bytes] = 0;
	free(i->target);
	i->target = copy;
	return 0;
}

int cfs_inode_set_open(struct cfs_inode *i, uint64_t session, struct cfs_opens n)
{
	struct cfs_open **link = &i->opens, *o;

	while (*link && (*link)->session != session)
		link = &(*link)->next;
	o = *link;
	if (o && n.count == 0) {
		*link = o->next;
		free(o);
	} else if (o) {
		o->n = n;
	} else if (n.count) {
		o = cfs_stock_malloc(sizeof(*o));
		if (!o)
			return -ENOMEM;
		*o = (struct cfs_open){ .session = session, .n = n };
		*link = o;
	}
	return 0;
}

/* --- extended attributes --- */

/* Whoever asks for attributes learns whether there is an ACL to be asked for, and how late the
 * file may be seen. */
static void derive_flags(struct cfs_inode *i)
{
	i->attr.iflags &= ~CFS_IFLAGS_DERIVED;
	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next) {
		struct cfs_bytes name = { x->bytes, x->name_bytes };

		if (cfs_acl_is_access(name) || cfs_acl_is_default(name))
			i->attr.iflags |= CFS_IFLAG_ACL;
		if (cfs_lazy_is(name))
			i->attr.iflags |= cfs_lazy_ms((struct cfs_bytes){ x->bytes + x->name_bytes,
									  x->value_bytes })
					  << 8;
	}
}

const struct cfs_xattr *cfs_xattr_find(const struct cfs_inode *i, const void *name,
				       uint32_t name_bytes)
{
	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next) {
		if (x->name_bytes == name_bytes && memcmp(x->bytes, name, name_bytes) == 0)
			return x;
	}
	return NULL;
}

int cfs_xattr_put(struct cfs_inode *i, const void *name, uint32_t name_bytes, const void *value,
		  uint32_t value_bytes)
{
	struct cfs_xattr *x, **link = &i->xattrs;

	if (name_bytes == 0 || name_bytes > CFS_NAME_BYTES_MAX || value_bytes > CFS_XATTR_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	x = cfs_stock_malloc(sizeof(*x) + name_bytes + value_bytes);
	if (!x)
		return -ENOMEM;
	x->name_bytes = (uint8_t)name_bytes;
	x->value_bytes = value_bytes;
	memcpy(x->bytes, name, name_bytes);
	memcpy(x->bytes + name_bytes, value, value_bytes);
	cfs_xattr_remove(i, name, name_bytes);
	while (*link)
		link = &(*link)->next;
	x->next = NULL;
	*link = x;
	i->xattr_bytes += name_bytes + value_bytes;
	derive_flags(i);
	return 0;
}

void cfs_xattr_remove(struct cfs_inode *i, const void *name, uint32_t name_bytes)
{
	struct cfs_xattr *x, **link = &i->xattrs;

	while ((x = *link) &&
	       (x->name_bytes != name_bytes || memcmp(x->bytes, name, name_bytes) != 0))
		link = &x->next;
	if (!x)
		return;
	*link = x->next;
	i->xattr_bytes -= x->name_bytes + x->value_bytes;
	free(x);
	derive_flags(i);
}

/* --- dentries --- */

static struct cfs_dentry **dentry_slot(const struct cfs_tables *t, uint64_t dir, const void *name,
				       uint32_t name_bytes)
{
	uint64_t h = cfs_hash_bytes(name, name_bytes, t->seed ^ cfs_hash_u64(dir));

	return &t->dentry_slots[h & (t->dentry_slot_count - 1)];
}

struct cfs_dentry *cfs_dentry_find(const struct cfs_tables *t, const struct cfs_inode *dir,
				   const void *name, uint32_t name_bytes)
{
	struct cfs_dentry *d = *dentry_slot(t, dir->attr.ino, name, name_bytes);

	while (d && (d->dir != dir || d->name_bytes != name_bytes ||
		     memcmp(d->name, name, name_bytes) != 0))
		d = d->hash_next;
	return d;
}

static void dentries_grow(struct cfs_tables *t)
{
	uint64_t old_count = t->dentry_slot_count;
	struct cfs_dentry **old = t->dentry_slots;
	struct cfs_dentry **slots = calloc(old_count * 2, sizeof(*slots));

	if (!slots)
		return;
	t->dentry_slots = slots;
	t->dentry_slot_count = old_count * 2;
	for (uint64_t k = 0; k < old_count; k++) {
		struct cfs_dentry *d, **slot;

		while ((d = old[k])) {
			old[k] = d->hash_next;
			slot = dentry_slot(t, d->dir->attr.ino, d->name, d->name_bytes);
			d->hash_next = *slot;
			*slot = d;
		}
	}
	free(old);
}

static struct cfs_dentry *dentry_of(struct cfs_rb_node *n)
{
	return n ? cfs_container_of(n, struct cfs_dentry, by_cookie) : NULL;
}

struct cfs_dentry *cfs_dentry_after(const struct cfs_inode *dir, uint64_t cookie)
{
	struct cfs_rb_node *n = dir->dir->by_cookie.root, *best = NULL;

	while (n) {
		if (dentry_of(n)->cookie > cookie) {
			best = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return dentry_of(best);
}

/* The dentry of @dir with just this cookie. */
static struct cfs_dentry *dentry_at(const struct cfs_inode *dir, uint64_t cookie)
{
	struct cfs_dentry *d = cfs_dentry_after(dir, cookie - 1);

	return d && d->cookie == cookie ? d : NULL;
}

uint64_t cfs_dentry_cookie(const struct cfs_tables *t, const struct cfs_inode *dir,
			   const void *name, uint32_t name_bytes)
{
	uint64_t c = cfs_hash_bytes(name, name_bytes, ~t->seed) >> 1;
	struct cfs_dentry *d;

	if (t->cookie_modulo)
		c %= t->cookie_modulo;
	if (c < CFS_COOKIE_FIRST)
		c += CFS_COOKIE_FIRST;
	/* Walks along those that follow each other: few, unless the names are a test's. After the
	 * last comes the first. */
	d = dentry_at(dir, c);
	while (d && d->cookie == c) {
		c = c == INT64_MAX ? CFS_COOKIE_FIRST : c + 1;
		d = c == CFS_COOKIE_FIRST ? dentry_at(dir, c)
					  : dentry_of(cfs_rb_next(&d->by_cookie));
	}
	return c;
}

static void count_entry(struct cfs_inode *dir, uint32_t mode, int delta)
{
	dir->dir->entries += (uint32_t)delta;
	if (S_ISDIR(mode))
		dir->dir->subdirs += (uint32_t)delta;
	dir_counts(dir);
}

static void tree_insert(struct cfs_inode *dir, struct cfs_dentry *d)
{
	struct cfs_rb_node **link = &dir->dir->by_cookie.root, *parent = NULL;

	while (*link) {
		parent = *link;
		cfs_assert(dentry_of(parent)->cookie != d->cookie);
		link = d->cookie < dentry_of(parent)->cookie ? &parent->left : &parent->right;
	}
	cfs_rb_insert(&dir->dir->by_cookie, &d->by_cookie, parent, link);
}

static bool is_name(struct cfs_bytes name)
{
	return name.len > 0 && name.len <= CFS_NAME_BYTES_MAX && !memchr(name.p, '/', name.len) &&
	       !memchr(name.p, 0, name.len);
}

int cfs_dentry_put(struct cfs_tables *t, struct cfs_inode *dir, const struct cfs_dentry_value *v,
		   bool may_evict)
{
	struct cfs_dentry *d, *other, **slot;

	if (!dir->dir || !is_name(v->name) || v->cookie < CFS_COOKIE_FIRST || v->cookie > INT64_MAX)
		return -CFS_EBAD_FORMAT;
	d = cfs_dentry_find(t, dir, v->name.p, v->name.len);
	other = dentry_at(dir, v->cookie);
	if (other && other != d) {
		if (!may_evict)
			return -CFS_EBAD_FORMAT;
		cfs_dentry_remove(t, other);
	}
	if (d) {
		count_entry(dir, d->mode, -1);
		if (d->cookie != v->cookie)
			cfs_rb_remove(&dir->dir->by_cookie, &d->by_cookie);
	} else {
		if (t->dentry_count >= t->dentry_slot_count)
			dentries_grow(t);
		d = cfs_stock_calloc(sizeof(*d) + v->name.len);
		if (!d)
			return -ENOMEM;
		d->dir = dir;
		d->name_bytes = (uint8_t)v->name.len;
		memcpy(d->name, v->name.p, v->name.len);
		slot = dentry_slot(t, dir->attr.ino, d->name, d->name_bytes);
		d->hash_next = *slot;
		*slot = d;
		t->dentry_count++;
	}
	if (d->cookie != v->cookie) {
		d->cookie = v->cookie;
		tree_insert(dir, d);
	}
	d->ino = v->ino;
	d->place = v->place;
	d->mode = v->mode;
	d->uid = v->uid;
	d->gid = v->gid;
	count_entry(dir, d->mode, 1);
	return 0;
}

void cfs_dentry_remove(struct cfs_tables *t, struct cfs_dentry *d)
{
	struct cfs_dentry **slot = dentry_slot(t, d->dir->attr.ino, d->name, d->name_bytes);

	while (*slot != d)
		slot = &(*slot)->hash_next;
	*slot = d->hash_next;
	cfs_rb_remove(&d->dir->dir->by_cookie, &d->by_cookie);
	count_entry(d->dir, d->mode, -1);
	t->dentry_count--;
	free(d);
}

/* --- check --- */

static void check_dir(const struct cfs_tables *t, const struct cfs_inode *dir, uint64_t *dentries,
		      void (*report)(void *ctx, const char *what), void *ctx)
{
	uint32_t entries = 0, subdirs = 0;
	uint64_t last = CFS_COOKIE_FIRST - 1;

	for (struct cfs_rb_node *n = cfs_rb_first(&dir->dir->by_cookie); n; n = cfs_rb_next(n)) {
		const struct cfs_dentry *d = dentry_of(n);

		if (d->cookie <= last)
			report(ctx, "directory: cookies are not in order");
		if (d->dir != dir)
			report(ctx, "directory: a dentry in the tree is another directory's");
		if (cfs_dentry_find(t, dir, d->name, d->name_bytes) != d)
			report(ctx, "directory: a dentry in the tree is not found by its name");
		last = d->cookie;
		entries++;
		if (S_ISDIR(d->mode))
			subdirs++;
	}
	if (entries != dir->dir->entries || subdirs != dir->dir->subdirs)
		report(ctx, "directory: counts differ from its dentries");
	if (dir->attr.nlink != 2 + subdirs)
		report(ctx, "directory: its link count differs from its subdirectories");
	*dentries += entries;
}

static void check_acls(const struct cfs_inode *i, void (*report)(void *ctx, const char *what),
		       void *ctx)
{
	struct cfs_bytes v;

	if (cfs_acl_get(i, false, &v)) {
		if (cfs_acl_check(v) < 0 || cfs_acl_is_minimal(v))
			report(ctx, "inode: its access ACL is none");
		else if (cfs_acl_perm(v) != (i->attr.mode & CFS_ACL_PERM))
			report(ctx, "inode: its access ACL and its mode differ");
	}
	if (cfs_acl_get(i, true, &v) && (!i->dir || cfs_acl_check(v) < 0))
		report(ctx, "inode: its default ACL is none, or it is no directory");
}

void cfs_tables_check(const struct cfs_tables *t, void (*report)(void *ctx, const char *what),
		      void *ctx)
{
	uint64_t inodes = 0, dentries = 0;

	cfs_list_for_each(l, &t->inodes) {
		const struct cfs_inode *i = cfs_list_entry(l, struct cfs_inode, all);

		if (i->is_gone)
			continue;
		inodes++;
		if (cfs_inode_find(t, i->attr.ino) != i)
			report(ctx, "inode is not found by its number");
		if (S_ISDIR(i->attr.mode) != (i->dir != NULL))
			report(ctx, "inode: its mode and its directory differ");
		if (i->dir)
			check_dir(t, i, &dentries, report, ctx);
		if (S_ISLNK(i->attr.mode) && !i->target)
			report(ctx, "symbolic link without a target");
		check_acls(i, report, ctx);
		if (cfs_inode_locks_of(i)) {
			cfs_lock_set_check(cfs_inode_locks_of(i), report, ctx);
			if (!S_ISREG(i->attr.mode))
				report(ctx, "lock: of what is no regular file");
		}
	}
	if (inodes != t->inode_count)
		report(ctx, "count of inodes differs from the table");
	if (dentries != t->dentry_count)
		report(ctx, "count of dentries differs from the directories");
}
