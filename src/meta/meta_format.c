#include "meta/meta_format.h"

#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "meta/table.h"

static uint8_t *put_bytes(uint8_t *p, struct cfs_bytes b)
{
	if (b.len)
		memcpy(p, b.p, b.len);
	return p + b.len;
}

void cfs_meta_add_inode(struct cfs_items *it, const struct cfs_attr *attr)
{
	uint8_t *p = cfs_items_add(it, CFS_META_INODE, CFS_ATTR_BYTES);
	struct cfs_attr a = *attr;

	a.iflags &= ~CFS_IFLAGS_DERIVED;
	if (p)
		cfs_attr_encode(&a, p);
}

/* Where an attribute is, by the order of its bit; @is_wide: 64 bits. */
static void *attr_field(struct cfs_attr *a, uint32_t bit, bool *is_wide)
{
	*is_wide = true;
	switch (1u << bit) {
	case CFS_A_SIZE:
		return &a->size;
	case CFS_A_BLOCKS:
		return &a->blocks;
	case CFS_A_ATIME:
		return &a->atime;
	case CFS_A_MTIME:
		return &a->mtime;
	case CFS_A_CTIME:
		return &a->ctime;
	case CFS_A_CUT:
		return &a->cut;
	case CFS_A_SEED:
		return &a->seed;
	default:
		break;
	}
	*is_wide = false;
	switch (1u << bit) {
	case CFS_A_MODE:
		return &a->mode;
	case CFS_A_NLINK:
		return &a->nlink;
	case CFS_A_UID:
		return &a->uid;
	case CFS_A_GID:
		return &a->gid;
	default:
		return &a->iflags;
	}
}

static uint64_t attr_get(const struct cfs_attr *a, uint32_t bit)
{
	struct cfs_attr copy = *a;
	bool is_wide;
	void *p = attr_field(&copy, bit, &is_wide);

	return is_wide ? *(uint64_t *)p : *(uint32_t *)p;
}

static void attr_put(struct cfs_attr *a, uint32_t bit, uint64_t v)
{
	bool is_wide;
	void *p = attr_field(a, bit, &is_wide);

	if (is_wide)
		*(uint64_t *)p = v;
	else
		*(uint32_t *)p = (uint32_t)v;
}

void cfs_attr_merge(struct cfs_attr *to, const struct cfs_attr *from, uint32_t mask)
{
	for (uint32_t bit = 0; bit < CFS_A_COUNT; bit++) {
		if (mask & (1u << bit))
			attr_put(to, bit, attr_get(from, bit));
	}
}

void cfs_meta_add_set(struct cfs_items *it, uint64_t ino, const struct cfs_attr_set *set)
{
	uint32_t count = (uint32_t)__builtin_popcount(set->mask);
	uint8_t *p = cfs_items_add(it, CFS_META_SET,
				   (uint32_t)sizeof(struct cfs_meta_set) + count * 8);
	struct cfs_meta_set h = { .ino = cfs_to_le64(ino), .mask = cfs_to_le32(set->mask) };

	if (!p)
		return;
	memcpy(p, &h, sizeof(h));
	p += sizeof(h);
	for (uint32_t bit = 0; bit < CFS_A_COUNT; bit++) {
		if (set->mask & (1u << bit)) {
			cfs_le64 v = cfs_to_le64(attr_get(&set->attr, bit));

			memcpy(p, &v, 8);
			p += 8;
		}
	}
}

int cfs_meta_get_set(const struct cfs_item *item, uint64_t *ino, struct cfs_attr_set *out)
{
	struct cfs_meta_set h;
	const uint8_t *p = item->data + sizeof(h);
	uint32_t mask;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	mask = cfs_from_le32(h.mask);
	if ((mask & ~CFS_A_ALL) || h.reserved.raw != 0 ||
	    item->len_bytes != sizeof(h) + 8u * (uint32_t)__builtin_popcount(mask))
		return -CFS_EBAD_FORMAT;
	*ino = cfs_from_le64(h.ino);
	memset(out, 0, sizeof(*out));
	out->mask = mask;
	for (uint32_t bit = 0; bit < CFS_A_COUNT; bit++) {
		if (mask & (1u << bit)) {
			cfs_le64 v;

			memcpy(&v, p, 8);
			attr_put(&out->attr, bit, cfs_from_le64(v));
			p += 8;
		}
	}
	return 0;
}

static void add_ino(struct cfs_items *it, uint8_t kind, uint64_t ino, struct cfs_bytes rest)
{
	struct cfs_meta_ino h = { cfs_to_le64(ino) };
	uint8_t *p = cfs_items_add(it, kind, (uint32_t)sizeof(h) + rest.len);

	if (!p)
		return;
	memcpy(p, &h, sizeof(h));
	put_bytes(p + sizeof(h), rest);
}

void cfs_meta_add_inode_del(struct cfs_items *it, uint64_t ino)
{
	add_ino(it, CFS_META_INODE_DEL, ino, (struct cfs_bytes){ 0 });
}

void cfs_meta_add_target(struct cfs_items *it, uint64_t ino, struct cfs_bytes target)
{
	add_ino(it, CFS_META_TARGET, ino, target);
}

int cfs_meta_get_ino(const struct cfs_item *item, uint64_t *ino, struct cfs_bytes *rest)
{
	struct cfs_meta_ino h;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*ino = cfs_from_le64(h.ino);
	rest->p = item->data + sizeof(h);
	rest->len = item->len_bytes - (uint32_t)sizeof(h);
	return 0;
}

void cfs_meta_add_dir_parent(struct cfs_items *it, uint64_t ino, uint64_t parent,
			     struct cfs_bytes name)
{
	struct cfs_meta_dir_parent h = { cfs_to_le64(ino), cfs_to_le64(parent) };
	uint8_t *p = cfs_items_add(it, CFS_META_DIR_PARENT, (uint32_t)sizeof(h) + name.len);

	if (!p)
		return;
	memcpy(p, &h, sizeof(h));
	put_bytes(p + sizeof(h), name);
}

int cfs_meta_get_dir_parent(const struct cfs_item *item, uint64_t *ino, uint64_t *parent,
			    struct cfs_bytes *name)
{
	struct cfs_meta_dir_parent h;

	if (item->len_bytes < sizeof(h) || item->len_bytes - sizeof(h) > CFS_NAME_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*ino = cfs_from_le64(h.ino);
	*parent = cfs_from_le64(h.parent);
	name->p = item->data + sizeof(h);
	name->len = item->len_bytes - (uint32_t)sizeof(h);
	return 0;
}

static uint8_t *add_xattr(struct cfs_items *it, uint8_t kind, uint64_t ino, struct cfs_bytes name,
			  struct cfs_bytes value)
{
	struct cfs_meta_xattr h = { .ino = cfs_to_le64(ino), .name_bytes = cfs_to_le32(name.len) };
	uint8_t *p = cfs_items_add(it, kind, (uint32_t)sizeof(h) + name.len + value.len);

	if (!p)
		return NULL;
	memcpy(p, &h, sizeof(h));
	p = put_bytes(p + sizeof(h), name);
	put_bytes(p, value);
	return p;
}

uint8_t *cfs_meta_add_xattr(struct cfs_items *it, uint64_t ino, struct cfs_bytes name,
			    struct cfs_bytes value)
{
	return add_xattr(it, CFS_META_XATTR, ino, name, value);
}

void cfs_meta_add_xattr_del(struct cfs_items *it, uint64_t ino, struct cfs_bytes name)
{
	add_xattr(it, CFS_META_XATTR_DEL, ino, name, (struct cfs_bytes){ 0 });
}

int cfs_meta_get_xattr(const struct cfs_item *item, uint64_t *ino, struct cfs_bytes *name,
		       struct cfs_bytes *value)
{
	struct cfs_meta_xattr h;
	uint32_t rest = item->len_bytes - (uint32_t)sizeof(h);

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	name->len = cfs_from_le32(h.name_bytes);
	if (h.reserved.raw != 0 || name->len == 0 || name->len > CFS_NAME_BYTES_MAX ||
	    name->len > rest || rest - name->len > CFS_XATTR_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	*ino = cfs_from_le64(h.ino);
	name->p = item->data + sizeof(h);
	value->p = name->p + name->len;
	value->len = rest - name->len;
	return 0;
}

void cfs_meta_add_open(struct cfs_items *it, uint64_t ino, uint64_t session,
		       const struct cfs_opens *n)
{
	struct cfs_meta_open h = { .ino = cfs_to_le64(ino),
				   .session = cfs_to_le64(session),
				   .count = cfs_to_le32(n->count),
				   .writes = cfs_to_le32(n->writes) };
	uint8_t *p = cfs_items_add(it, CFS_META_OPEN, sizeof(h));

	if (p)
		memcpy(p, &h, sizeof(h));
}

int cfs_meta_get_open(const struct cfs_item *item, uint64_t *ino, uint64_t *session,
		      struct cfs_opens *n)
{
	struct cfs_meta_open h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*ino = cfs_from_le64(h.ino);
	*session = cfs_from_le64(h.session);
	n->count = cfs_from_le32(h.count);
	n->writes = cfs_from_le32(h.writes);
	return n->writes <= n->count ? 0 : -CFS_EBAD_FORMAT;
}

void cfs_meta_add_dentry(struct cfs_items *it, uint64_t dir, const struct cfs_dentry_value *v,
			 uint64_t time_ns)
{
	struct cfs_meta_dentry h = { .dir = cfs_to_le64(dir),
				     .cookie = cfs_to_le64(v->cookie),
				     .ino = cfs_to_le64(v->ino),
				     .place = cfs_to_le64(v->place),
				     .time = cfs_to_le64(time_ns),
				     .mode = cfs_to_le32(v->mode),
				     .uid = cfs_to_le32(v->uid),
				     .gid = cfs_to_le32(v->gid) };
	uint8_t *p = cfs_items_add(it, CFS_META_DENTRY, (uint32_t)sizeof(h) + v->name.len);

	if (!p)
		return;
	memcpy(p, &h, sizeof(h));
	put_bytes(p + sizeof(h), v->name);
}

int cfs_meta_get_dentry(const struct cfs_item *item, uint64_t *dir, struct cfs_dentry_value *v,
			uint64_t *time_ns)
{
	struct cfs_meta_dentry h;

	if (item->len_bytes <= sizeof(h) || item->len_bytes - sizeof(h) > CFS_NAME_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	if (h.reserved.raw != 0)
		return -CFS_EBAD_FORMAT;
	*dir = cfs_from_le64(h.dir);
	*time_ns = cfs_from_le64(h.time);
	*v = (struct cfs_dentry_value){ .cookie = cfs_from_le64(h.cookie),
					.ino = cfs_from_le64(h.ino),
					.place = cfs_from_le64(h.place),
					.mode = cfs_from_le32(h.mode),
					.uid = cfs_from_le32(h.uid),
					.gid = cfs_from_le32(h.gid),
					.name = { item->data + sizeof(h),
						  item->len_bytes - (uint32_t)sizeof(h) } };
	return 0;
}

void cfs_meta_add_dentry_del(struct cfs_items *it, uint64_t dir, struct cfs_bytes name,
			     uint64_t time_ns)
{
	struct cfs_meta_dentry_del h = { cfs_to_le64(dir), cfs_to_le64(time_ns) };
	uint8_t *p = cfs_items_add(it, CFS_META_DENTRY_DEL, (uint32_t)sizeof(h) + name.len);

	if (!p)
		return;
	memcpy(p, &h, sizeof(h));
	put_bytes(p + sizeof(h), name);
}

int cfs_meta_get_dentry_del(const struct cfs_item *item, uint64_t *dir, struct cfs_bytes *name,
			    uint64_t *time_ns)
{
	struct cfs_meta_dentry_del h;

	if (item->len_bytes <= sizeof(h) || item->len_bytes - sizeof(h) > CFS_NAME_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*dir = cfs_from_le64(h.dir);
	*time_ns = cfs_from_le64(h.time);
	name->p = item->data + sizeof(h);
	name->len = item->len_bytes - (uint32_t)sizeof(h);
	return 0;
}

void cfs_meta_add_serials(struct cfs_items *it, uint64_t next)
{
	struct cfs_meta_serials h = { cfs_to_le64(next) };
	uint8_t *p = cfs_items_add(it, CFS_META_SERIALS, sizeof(h));

	if (p)
		memcpy(p, &h, sizeof(h));
}

int cfs_meta_get_serials(const struct cfs_item *item, uint64_t *next)
{
	struct cfs_meta_serials h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*next = cfs_from_le64(h.next);
	return 0;
}

void cfs_meta_add_forwarded(struct cfs_items *it, uint64_t session, uint64_t seq, bool is_pending)
{
	struct cfs_meta_forwarded h = { .session = cfs_to_le64(session),
					.seq = cfs_to_le64(seq),
					.is_pending = cfs_to_le32(is_pending) };
	uint8_t *p = cfs_items_add(it, CFS_META_FORWARDED, sizeof(h));

	if (p)
		memcpy(p, &h, sizeof(h));
}

int cfs_meta_get_forwarded(const struct cfs_item *item, uint64_t *session, uint64_t *seq,
			   bool *is_pending)
{
	struct cfs_meta_forwarded h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*session = cfs_from_le64(h.session);
	*seq = cfs_from_le64(h.seq);
	*is_pending = cfs_from_le32(h.is_pending) != 0;
	return h.reserved.raw == 0 && cfs_from_le32(h.is_pending) <= 1 ? 0 : -CFS_EBAD_FORMAT;
}
