/*
 * Each step is bytes of a fixed part and a name. They come from other shards of the same volume,
 * yet are decoded as from outside.
 */
#include "meta/tx_step.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/iflags.h"

struct step_floor {
	cfs_le64 epoch, count;
} CFS_PACKED;

struct step_link { /* the name follows */
	cfs_le64 dir, expect, ino, place, time;
	cfs_le32 flags, mode, uid, gid;
} CFS_PACKED;

struct step_unlink { /* the name follows */
	cfs_le64 dir, expect, time;
} CFS_PACKED;

struct step_nlink {
	cfs_le64 ino, time;
	cfs_le32 delta, reserved;
} CFS_PACKED;

struct step_dir_gone {
	cfs_le64 ino;
} CFS_PACKED;

struct step_dir_move { /* the name follows */
	cfs_le64 ino, parent, time;
	cfs_le32 mode, uid, gid, reserved;
} CFS_PACKED;

struct step_expect {
	cfs_le64 ino, acl; /* acl: cfs_acl_hash() */
	cfs_le32 mode, uid, gid, reserved;
} CFS_PACKED;

struct step_moved {
	cfs_le64 ino, time;
} CFS_PACKED;

struct step_access { /* the name follows */
	cfs_le64 dir, ino;
	cfs_le32 mode, uid, gid, reserved;
} CFS_PACKED;

/* --- encoding --- */

static void add(struct cfs_items *it, uint8_t kind, const void *fixed, uint32_t fixed_bytes,
		struct cfs_bytes name)
{
	uint8_t *p = cfs_items_add(it, kind, fixed_bytes + name.len);

	if (!p)
		return;
	memcpy(p, fixed, fixed_bytes);
	if (name.len)
		memcpy(p + fixed_bytes, name.p, name.len);
}

static const struct cfs_bytes no_name;

void cfs_tx_add_floor(struct cfs_items *it, uint64_t epoch, uint64_t count)
{
	struct step_floor s = { cfs_to_le64(epoch), cfs_to_le64(count) };

	add(it, CFS_TX_FLOOR, &s, sizeof(s), no_name);
}

void cfs_tx_add_link(struct cfs_items *it, const struct cfs_tx_link *l)
{
	struct step_link s = { .dir = cfs_to_le64(l->dir),
			       .expect = cfs_to_le64(l->expect),
			       .ino = cfs_to_le64(l->value.ino),
			       .place = cfs_to_le64(l->value.place),
			       .time = cfs_to_le64(l->time_ns),
			       .flags = cfs_to_le32(l->flags),
			       .mode = cfs_to_le32(l->value.mode),
			       .uid = cfs_to_le32(l->value.uid),
			       .gid = cfs_to_le32(l->value.gid) };

	add(it, CFS_TX_LINK, &s, sizeof(s), l->value.name);
}

void cfs_tx_add_unlink(struct cfs_items *it, uint64_t dir, uint64_t expect, struct cfs_bytes name,
		       uint64_t time_ns)
{
	struct step_unlink s = { cfs_to_le64(dir), cfs_to_le64(expect), cfs_to_le64(time_ns) };

	add(it, CFS_TX_UNLINK, &s, sizeof(s), name);
}

void cfs_tx_add_nlink(struct cfs_items *it, uint64_t ino, int32_t delta, uint64_t time_ns)
{
	struct step_nlink s = { .ino = cfs_to_le64(ino),
				.time = cfs_to_le64(time_ns),
				.delta = cfs_to_le32((uint32_t)delta) };

	add(it, CFS_TX_NLINK, &s, sizeof(s), no_name);
}

void cfs_tx_add_dir_new(struct cfs_items *it, const struct cfs_attr *attr, struct cfs_bytes name)
{
	uint8_t a[CFS_ATTR_BYTES];

	cfs_attr_encode(attr, a);
	add(it, CFS_TX_DIR_NEW, a, sizeof(a), name);
}

void cfs_tx_add_dir_gone(struct cfs_items *it, uint64_t ino)
{
	struct step_dir_gone s = { cfs_to_le64(ino) };

	add(it, CFS_TX_DIR_GONE, &s, sizeof(s), no_name);
}

void cfs_tx_add_dir_move(struct cfs_items *it, const struct cfs_tx_dir_move *m)
{
	struct step_dir_move s = { .ino = cfs_to_le64(m->ino),
				   .parent = cfs_to_le64(m->parent),
				   .time = cfs_to_le64(m->time_ns),
				   .mode = cfs_to_le32(m->mode),
				   .uid = cfs_to_le32(m->uid),
				   .gid = cfs_to_le32(m->gid) };

	add(it, CFS_TX_DIR_MOVE, &s, sizeof(s), m->name);
}

void cfs_tx_add_moved(struct cfs_items *it, uint64_t ino, uint64_t time_ns)
{
	struct step_moved s = { cfs_to_le64(ino), cfs_to_le64(time_ns) };

	add(it, CFS_TX_MOVED, &s, sizeof(s), no_name);
}

void cfs_tx_add_access(struct cfs_items *it, uint64_t dir, const struct cfs_dentry_value *d)
{
	struct step_access s = { .dir = cfs_to_le64(dir),
				 .ino = cfs_to_le64(d->ino),
				 .mode = cfs_to_le32(d->mode),
				 .uid = cfs_to_le32(d->uid),
				 .gid = cfs_to_le32(d->gid) };

	add(it, CFS_TX_ACCESS, &s, sizeof(s), d->name);
}

/* An item's bytes as a step: the item at @at becomes one. */
static void as_step(struct cfs_items *it, uint32_t at, uint8_t kind)
{
	if (cfs_items_rc(it) == 0)
		((struct cfs_item_header *)(void *)(it->buf + at))->kind = kind;
}

void cfs_tx_add_set(struct cfs_items *it, uint64_t ino, const struct cfs_attr_set *set)
{
	uint32_t at = it->len_bytes;

	cfs_meta_add_set(it, ino, set);
	as_step(it, at, CFS_TX_SET);
}

void cfs_tx_add_expect(struct cfs_items *it, const struct cfs_inode *i)
{
	struct step_expect s = { .ino = cfs_to_le64(i->attr.ino),
				 .acl = cfs_to_le64(cfs_acl_hash(i)),
				 .mode = cfs_to_le32(i->attr.mode),
				 .uid = cfs_to_le32(i->attr.uid),
				 .gid = cfs_to_le32(i->attr.gid) };

	add(it, CFS_TX_EXPECT, &s, sizeof(s), no_name);
}

uint8_t *cfs_tx_add_acl(struct cfs_items *it, uint64_t ino, struct cfs_bytes name,
			struct cfs_bytes value)
{
	uint32_t at = it->len_bytes;
	uint8_t *to = cfs_meta_add_xattr(it, ino, name, value);

	as_step(it, at, CFS_TX_ACL);
	return to;
}

void cfs_tx_add_inherited(struct cfs_items *it, uint64_t ino, uint32_t mode, struct cfs_bytes value)
{
	uint32_t at = it->len_bytes, next = at;
	struct cfs_item item;

	cfs_acl_add_inherited(it, ino, mode, value);
	while (cfs_items_rc(it) == 0 && cfs_items_next(it->buf, it->len_bytes, &next, &item) > 0) {
		as_step(it, at, CFS_TX_ACL);
		at = next;
	}
}

void cfs_tx_add_acl_del(struct cfs_items *it, uint64_t ino, struct cfs_bytes name)
{
	uint32_t at = it->len_bytes;

	cfs_meta_add_xattr_del(it, ino, name);
	as_step(it, at, CFS_TX_ACL_DEL);
}

/* --- decoding --- */

/* Copies the fixed part of @item to @fixed; what follows must be a name if @has_name, else nothing.
 */
static bool get(const struct cfs_item *item, void *fixed, uint32_t fixed_bytes, bool has_name,
		struct cfs_bytes *name)
{
	uint32_t rest = item->len_bytes - fixed_bytes;

	if (item->len_bytes < fixed_bytes || rest > CFS_NAME_BYTES_MAX || (rest > 0) != has_name)
		return false;
	memcpy(fixed, item->data, fixed_bytes);
	*name = (struct cfs_bytes){ item->data + fixed_bytes, rest };
	return true;
}

/* The first field of every step but FLOOR is its key. */
static bool step_key(const struct cfs_item *item, uint64_t *key)
{
	cfs_le64 first;

	if (item->len_bytes < sizeof(first))
		return false;
	memcpy(&first, item->data, sizeof(first));
	*key = cfs_from_le64(first);
	return true;
}

static int key_add(struct cfs_tx_keys *keys, uint64_t key)
{
	uint32_t at = 0;

	while (at < keys->count && keys->ino[at] < key)
		at++;
	if (at < keys->count && keys->ino[at] == key)
		return 0;
	if (keys->count == CFS_TX_KEYS_MAX)
		return -CFS_EBAD_FORMAT;
	memmove(&keys->ino[at + 1], &keys->ino[at], (keys->count - at) * sizeof(keys->ino[0]));
	keys->ino[at] = key;
	keys->count++;
	return 0;
}

/* Is it a step, of the right length? What its numbers mean is for the evaluation. */
static bool step_is_sound(const struct cfs_item *item)
{
	switch (item->kind) {
	case CFS_TX_FLOOR:
		return item->len_bytes == sizeof(struct step_floor);
	case CFS_TX_LINK:
		return item->len_bytes > sizeof(struct step_link);
	case CFS_TX_UNLINK:
		return item->len_bytes > sizeof(struct step_unlink);
	case CFS_TX_NLINK:
		return item->len_bytes == sizeof(struct step_nlink);
	case CFS_TX_DIR_NEW:
		return item->len_bytes > CFS_ATTR_BYTES;
	case CFS_TX_DIR_GONE:
		return item->len_bytes == sizeof(struct step_dir_gone);
	case CFS_TX_DIR_MOVE:
		return item->len_bytes > sizeof(struct step_dir_move);
	case CFS_TX_ACCESS:
		return item->len_bytes > sizeof(struct step_access);
	case CFS_TX_SET:
		return item->len_bytes >= sizeof(struct cfs_meta_set);
	case CFS_TX_EXPECT:
		return item->len_bytes == sizeof(struct step_expect);
	case CFS_TX_ACL:
	case CFS_TX_ACL_DEL:
		return item->len_bytes > sizeof(struct cfs_meta_xattr);
	case CFS_TX_MOVED:
		return item->len_bytes == sizeof(struct step_moved);
	default:
		return false;
	}
}

int cfs_tx_steps_keys(const uint8_t *steps, uint32_t len_bytes, struct cfs_tx_keys *out,
		      struct cfs_tx_seen *seen)
{
	struct cfs_item item;
	uint32_t at = 0;
	uint64_t key;
	int rc;

	memset(out, 0, sizeof(*out));
	memset(seen, 0, sizeof(*seen));
	while ((rc = cfs_items_next(steps, len_bytes, &at, &item)) > 0) {
		if (!step_is_sound(&item))
			return -CFS_EBAD_FORMAT;
		if (item.kind == CFS_TX_FLOOR) {
			struct step_floor s;

			memcpy(&s, item.data, sizeof(s));
			seen->floor_epoch = cfs_from_le64(s.epoch);
			seen->floor_count = cfs_from_le64(s.count);
			continue;
		}
		if (item.kind == CFS_TX_DIR_NEW) {
			struct cfs_attr a;

			rc = cfs_attr_decode(item.data, CFS_ATTR_BYTES, &a);
			if (rc < 0)
				return rc;
			key = a.ino;
		} else if (!step_key(&item, &key)) {
			return -CFS_EBAD_FORMAT;
		}
		rc = key_add(out, key);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* --- evaluation --- */

static struct cfs_inode *find_dir(struct cfs_meta *m, uint64_t ino)
{
	struct cfs_inode *i = cfs_inode_find(&m->tables, ino);

	return i && i->dir ? i : NULL;
}

static int eval_link(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_link s;
	struct cfs_dentry_value v = { 0 };
	struct cfs_inode *dir;
	struct cfs_dentry *d;

	if (!get(item, &s, sizeof(s), true, &v.name))
		return -CFS_EBAD_FORMAT;
	dir = find_dir(m, cfs_from_le64(s.dir));
	if (!dir)
		return -ESTALE;
	d = cfs_dentry_find(&m->tables, dir, v.name.p, v.name.len);
	if ((d ? d->ino : 0) != cfs_from_le64(s.expect) && !CFS_BREAK(EXISTS_IGNORED))
		return cfs_from_le32(s.flags) & CFS_TX_F_EXCL ? -EEXIST : -CFS_EAGAIN_LATER;
	if (cfs_iflags_may_link(dir, !d) < 0)
		return -EPERM;
	v.cookie = d ? d->cookie : cfs_dentry_cookie(&m->tables, dir, v.name.p, v.name.len);
	v.ino = cfs_from_le64(s.ino);
	v.place = cfs_from_le64(s.place);
	v.mode = cfs_from_le32(s.mode);
	v.uid = cfs_from_le32(s.uid);
	v.gid = cfs_from_le32(s.gid);
	cfs_meta_add_dentry(out, dir->attr.ino, &v, cfs_from_le64(s.time));
	return 0;
}

static int eval_unlink(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_unlink s;
	struct cfs_bytes name;
	struct cfs_inode *dir;
	struct cfs_dentry *d;

	if (!get(item, &s, sizeof(s), true, &name))
		return -CFS_EBAD_FORMAT;
	dir = find_dir(m, cfs_from_le64(s.dir));
	if (!dir)
		return -ESTALE;
	d = cfs_dentry_find(&m->tables, dir, name.p, name.len);
	if (!d || d->ino != cfs_from_le64(s.expect))
		return -CFS_EAGAIN_LATER;
	if (cfs_iflags_may_change(dir) < 0 && !CFS_BREAK(APPEND_DIR_LOSES))
		return -EPERM;
	cfs_meta_add_dentry_del(out, dir->attr.ino, name, cfs_from_le64(s.time));
	return 0;
}

static int eval_nlink(struct cfs_meta *m, const struct cfs_item *item, bool is_prepare,
		      struct cfs_items *out, struct cfs_tx_seen *seen)
{
	struct step_nlink s;
	struct cfs_bytes none;
	struct cfs_attr_set set = { .mask = CFS_A_NLINK | CFS_A_CTIME };
	struct cfs_inode *i;
	int32_t delta;

	if (!get(item, &s, sizeof(s), false, &none))
		return -CFS_EBAD_FORMAT;
	delta = (int32_t)cfs_from_le32(s.delta);
	if ((CFS_BREAK(LINK_UNCOUNTED) && delta > 0) || (CFS_BREAK(UNLINK_UNCOUNTED) && delta < 0))
		delta = 0;
	i = cfs_inode_find(&m->tables, cfs_from_le64(s.ino));
	if (!i)
		return -ESTALE;
	if (i->dir)
		return -EPERM;
	if (delta > 0 && i->attr.nlink >= CFS_LINKS_MAX)
		return -EMLINK;
	if (delta < 0 && i->attr.nlink == 0)
		return -CFS_EAGAIN_LATER;
	/* What has lost its last name gets none again, but for what was born without. */
	if (delta > 0 && i->attr.nlink == 0 && !(i->attr.iflags & CFS_IFLAG_LINKABLE))
		return -ENOENT;
	if (cfs_iflags_may_change(i) < 0)
		return -EPERM;
	set.attr.nlink = i->attr.nlink + (uint32_t)delta;
	set.attr.ctime = (int64_t)cfs_from_le64(s.time);
	if (CFS_BREAK(CTIME_LINK))
		set.mask &= ~CFS_A_CTIME;
	if (i->attr.iflags & CFS_IFLAG_LINKABLE) {
		set.mask |= CFS_A_IFLAGS;
		set.attr.iflags = i->attr.iflags & ~CFS_IFLAG_LINKABLE;
	}
	cfs_meta_add_set(out, i->attr.ino, &set);
	seen->has_attr = true;
	seen->attr = i->attr;
	cfs_attr_merge(&seen->attr, &set.attr, set.mask);
	if (!is_prepare && set.attr.nlink == 0 &&
	    (!cfs_inode_is_open(i) || CFS_BREAK(OPEN_UNLINKED_GONE)))
		cfs_meta_add_removal(m, i, out);
	return 0;
}

static int eval_dir_new(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out,
			struct cfs_tx_seen *seen)
{
	struct cfs_attr a;
	struct cfs_bytes name = { item->data + CFS_ATTR_BYTES, item->len_bytes - CFS_ATTR_BYTES };
	int rc = cfs_attr_decode(item->data, CFS_ATTR_BYTES, &a);

	if (rc < 0 || name.len > CFS_NAME_BYTES_MAX || !S_ISDIR(a.mode) ||
	    !cfs_meta_is_home(m, a.ino))
		return -CFS_EBAD_FORMAT;
	if (cfs_inode_find(&m->tables, a.ino))
		return -CFS_EAGAIN_LATER;
	cfs_meta_add_inode(out, &a);
	cfs_meta_add_dir_parent(out, a.ino, a.parent, name);
	seen->new_dir = a.ino;
	return 0;
}

static int eval_dir_gone(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_dir_gone s;
	struct cfs_bytes none;
	struct cfs_inode *dir;

	if (!get(item, &s, sizeof(s), false, &none))
		return -CFS_EBAD_FORMAT;
	dir = find_dir(m, cfs_from_le64(s.ino));
	if (!dir)
		return -CFS_EAGAIN_LATER;
	if (dir->attr.ino == CFS_INO_ROOT)
		return -EBUSY;
	if (cfs_iflags_may_change(dir) < 0)
		return -EPERM;
	if (dir->dir->entries > 0 && !CFS_BREAK(RMDIR_FULL))
		return -ENOTEMPTY;
	cfs_meta_add_inode_del(out, dir->attr.ino);
	return 0;
}

static int eval_dir_move(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_dir_move s;
	struct cfs_attr_set set = { .mask = CFS_A_CTIME };
	struct cfs_bytes name;
	struct cfs_inode *dir;

	if (!get(item, &s, sizeof(s), true, &name))
		return -CFS_EBAD_FORMAT;
	dir = find_dir(m, cfs_from_le64(s.ino));
	if (!dir || dir->attr.mode != cfs_from_le32(s.mode) ||
	    dir->attr.uid != cfs_from_le32(s.uid) || dir->attr.gid != cfs_from_le32(s.gid))
		return -CFS_EAGAIN_LATER;
	if (cfs_iflags_may_change(dir) < 0)
		return -EPERM;
	set.attr.ctime = (int64_t)cfs_from_le64(s.time);
	cfs_meta_add_dir_parent(out, dir->attr.ino, cfs_from_le64(s.parent), name);
	cfs_meta_add_set(out, dir->attr.ino, &set);
	return 0;
}

static int eval_access(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_access s;
	struct cfs_dentry_value v = { 0 };
	struct cfs_inode *dir;
	struct cfs_dentry *d;

	if (!get(item, &s, sizeof(s), true, &v.name))
		return -CFS_EBAD_FORMAT;
	dir = find_dir(m, cfs_from_le64(s.dir));
	d = dir ? cfs_dentry_find(&m->tables, dir, v.name.p, v.name.len) : NULL;
	if (!d || d->ino != cfs_from_le64(s.ino))
		return -CFS_EAGAIN_LATER;
	v.cookie = d->cookie;
	v.ino = d->ino;
	v.place = d->place;
	v.mode = cfs_from_le32(s.mode);
	v.uid = cfs_from_le32(s.uid);
	v.gid = cfs_from_le32(s.gid);
	cfs_meta_add_dentry(out, dir->attr.ino, &v, 0);
	return 0;
}

static int eval_set(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct cfs_attr_set set;
	uint64_t ino;
	struct cfs_inode *i;
	int rc = cfs_meta_get_set(item, &ino, &set);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return -ESTALE;
	cfs_meta_add_set(out, ino, &set);
	return 0;
}

static int eval_expect(struct cfs_meta *m, const struct cfs_item *item)
{
	const struct cfs_inode *i;
	struct step_expect s;
	struct cfs_bytes none;

	if (!get(item, &s, sizeof(s), false, &none))
		return -CFS_EBAD_FORMAT;
	i = cfs_inode_find(&m->tables, cfs_from_le64(s.ino));
	if (!i)
		return -ESTALE;
	return i->attr.mode == cfs_from_le32(s.mode) && i->attr.uid == cfs_from_le32(s.uid) &&
			       i->attr.gid == cfs_from_le32(s.gid) &&
			       cfs_acl_hash(i) == cfs_from_le64(s.acl)
		       ? 0
		       : -CFS_EAGAIN_LATER;
}

static int eval_acl(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out,
		    const struct cfs_tx_seen *seen)
{
	bool is_del = item->kind == CFS_TX_ACL_DEL;
	struct cfs_bytes name, value;
	uint64_t ino;
	int rc = cfs_meta_get_xattr(item, &ino, &name, &value);

	if (rc < 0)
		return rc;
	if ((!cfs_acl_is_access(name) && !cfs_acl_is_default(name)) ||
	    (is_del ? value.len > 0 : cfs_acl_check(value) < 0))
		return -CFS_EBAD_FORMAT;
	if (ino != seen->new_dir && !find_dir(m, ino))
		return -ESTALE;
	if (is_del)
		cfs_meta_add_xattr_del(out, ino, name);
	else
		cfs_meta_add_xattr(out, ino, name, value);
	return 0;
}

static int eval_moved(struct cfs_meta *m, const struct cfs_item *item, struct cfs_items *out)
{
	struct step_moved s;
	struct cfs_attr_set set = { .mask = CFS_A_CTIME };
	struct cfs_bytes none;
	struct cfs_inode *i;

	if (!get(item, &s, sizeof(s), false, &none))
		return -CFS_EBAD_FORMAT;
	i = cfs_inode_find(&m->tables, cfs_from_le64(s.ino));
	if (!i)
		return -ESTALE;
	if (cfs_iflags_may_change(i) < 0)
		return -EPERM;
	set.attr.ctime = (int64_t)cfs_from_le64(s.time);
	if (!CFS_BREAK(CTIME_RENAME))
		cfs_meta_add_set(out, i->attr.ino, &set);
	return 0;
}

static int eval_step(struct cfs_meta *m, const struct cfs_item *item, bool is_prepare,
		     struct cfs_items *out, struct cfs_tx_seen *seen)
{
	switch (item->kind) {
	case CFS_TX_FLOOR:
		return 0;
	case CFS_TX_LINK:
		return eval_link(m, item, out);
	case CFS_TX_UNLINK:
		return eval_unlink(m, item, out);
	case CFS_TX_NLINK:
		return eval_nlink(m, item, is_prepare, out, seen);
	case CFS_TX_DIR_NEW:
		return eval_dir_new(m, item, out, seen);
	case CFS_TX_DIR_GONE:
		return eval_dir_gone(m, item, out);
	case CFS_TX_DIR_MOVE:
		return eval_dir_move(m, item, out);
	case CFS_TX_ACCESS:
		return eval_access(m, item, out);
	case CFS_TX_SET:
		return eval_set(m, item, out);
	case CFS_TX_EXPECT:
		return eval_expect(m, item);
	case CFS_TX_ACL:
	case CFS_TX_ACL_DEL:
		return eval_acl(m, item, out, seen);
	case CFS_TX_MOVED:
		return eval_moved(m, item, out);
	default:
		return -CFS_EBAD_FORMAT;
	}
}

int cfs_tx_steps_eval(struct cfs_meta *m, const uint8_t *steps, uint32_t len_bytes, bool is_prepare,
		      struct cfs_items *out, struct cfs_tx_seen *seen)
{
	struct cfs_item item;
	uint32_t at = 0;
	int rc;

	while ((rc = cfs_items_next(steps, len_bytes, &at, &item)) > 0) {
		if (!step_is_sound(&item))
			return -CFS_EBAD_FORMAT;
		rc = eval_step(m, &item, is_prepare, out, seen);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : cfs_items_rc(out);
}

int cfs_tx_results_removals(struct cfs_meta *m, const uint8_t *results, uint32_t len_bytes,
			    struct cfs_items *out)
{
	struct cfs_item item;
	uint32_t at = 0;
	int rc;

	while ((rc = cfs_items_next(results, len_bytes, &at, &item)) > 0) {
		struct cfs_attr_set set;
		struct cfs_inode *i;
		uint64_t ino;

		if (item.kind != CFS_META_SET || cfs_meta_get_set(&item, &ino, &set) < 0 ||
		    !(set.mask & CFS_A_NLINK) || set.attr.nlink > 0)
			continue;
		i = cfs_inode_find(&m->tables, ino);
		if (i && !cfs_inode_is_open(i))
			cfs_meta_add_removal(m, i, out);
	}
	return rc < 0 ? rc : cfs_items_rc(out);
}

bool cfs_tx_results_have_name(const uint8_t *results, uint32_t len_bytes, uint64_t dir,
			      struct cfs_bytes name)
{
	struct cfs_item item;
	uint32_t at = 0;

	while (cfs_items_next(results, len_bytes, &at, &item) > 0) {
		struct cfs_dentry_value v;
		uint64_t in, time;

		if (item.kind == CFS_META_DENTRY) {
			if (cfs_meta_get_dentry(&item, &in, &v, &time) < 0)
				continue;
		} else if (item.kind == CFS_META_DENTRY_DEL) {
			if (cfs_meta_get_dentry_del(&item, &in, &v.name, &time) < 0)
				continue;
		} else {
			continue;
		}
		if (in == dir && v.name.len == name.len && !memcmp(v.name.p, name.p, name.len))
			return true;
	}
	return false;
}
