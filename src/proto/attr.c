/* Codecs of what messages carry in `attr` and `data`: attributes, directory entries, statfs. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "proto/msg.h"
#include "proto/msg_format.h"

#define S_IFMT_BITS 0170000u
#define DAY_NS (24ll * 3600 * 1000 * 1000 * 1000)

void cfs_attr_encode(const struct cfs_attr *a, uint8_t out[CFS_ATTR_BYTES])
{
	struct cfs_attr_bytes b = {
		.ino = cfs_to_le64(a->ino),
		.size = cfs_to_le64(a->size),
		.blocks = cfs_to_le64(a->blocks),
		.atime = cfs_to_le64((uint64_t)a->atime),
		.mtime = cfs_to_le64((uint64_t)a->mtime),
		.ctime = cfs_to_le64((uint64_t)a->ctime),
		.btime = cfs_to_le64((uint64_t)a->btime),
		.mode = cfs_to_le32(a->mode),
		.nlink = cfs_to_le32(a->nlink),
		.uid = cfs_to_le32(a->uid),
		.gid = cfs_to_le32(a->gid),
		.rdev = cfs_to_le32(a->rdev),
		.iflags = cfs_to_le32(a->iflags),
		.cut = cfs_to_le64(a->cut),
		.seed = cfs_to_le64(a->seed),
		.place = cfs_to_le64(a->place),
		.parent = cfs_to_le64(a->parent),
	};

	static_assert(sizeof(b) == CFS_ATTR_BYTES, "attributes fill their bytes");
	memcpy(out, &b, sizeof(b));
}

int cfs_attr_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_attr *out)
{
	struct cfs_attr_bytes b;

	if (len_bytes != CFS_ATTR_BYTES)
		return -CFS_EBAD_FORMAT;
	memcpy(&b, buf, sizeof(b));
	*out = (struct cfs_attr){
		.ino = cfs_from_le64(b.ino),
		.size = cfs_from_le64(b.size),
		.blocks = cfs_from_le64(b.blocks),
		.atime = (int64_t)cfs_from_le64(b.atime),
		.mtime = (int64_t)cfs_from_le64(b.mtime),
		.ctime = (int64_t)cfs_from_le64(b.ctime),
		.btime = (int64_t)cfs_from_le64(b.btime),
		.mode = cfs_from_le32(b.mode),
		.nlink = cfs_from_le32(b.nlink),
		.uid = cfs_from_le32(b.uid),
		.gid = cfs_from_le32(b.gid),
		.rdev = cfs_from_le32(b.rdev),
		.iflags = cfs_from_le32(b.iflags),
		.cut = cfs_from_le64(b.cut),
		.seed = cfs_from_le64(b.seed),
		.place = cfs_from_le64(b.place),
		.parent = cfs_from_le64(b.parent),
	};
	return 0;
}

bool cfs_attr_atime_is_due(const struct cfs_attr *a, int64_t now_ns)
{
	int64_t age_ns;

	if (a->atime <= a->mtime || a->atime <= a->ctime)
		return true;
	return __builtin_sub_overflow(now_ns, a->atime, &age_ns) ? now_ns > a->atime
								 : age_ns >= DAY_NS;
}

int64_t cfs_entry_encode(const struct cfs_entry *e, uint8_t *buf, uint32_t cap_bytes)
{
	uint32_t len_bytes = (uint32_t)sizeof(struct cfs_entry_bytes) + e->name.len +
			     (e->has_attr ? CFS_ATTR_BYTES : 0);
	struct cfs_entry_bytes b = {
		.ino = cfs_to_le64(e->ino),
		.cookie = cfs_to_le64(e->cookie),
		.mode = cfs_to_le32(e->mode & S_IFMT_BITS),
		.name_bytes = cfs_to_le16((uint16_t)e->name.len),
		.has_attr = e->has_attr,
	};

	if (e->name.len == 0 || e->name.len > CFS_NAME_BYTES_MAX)
		return -EINVAL;
	if (len_bytes > cap_bytes)
		return -ENOSPC;
	memcpy(buf, &b, sizeof(b));
	memcpy(buf + sizeof(b), e->name.p, e->name.len);
	if (e->has_attr)
		cfs_attr_encode(&e->attr, buf + sizeof(b) + e->name.len);
	return len_bytes;
}

int64_t cfs_entry_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_entry *out)
{
	struct cfs_entry_bytes b;
	struct cfs_entry e = { 0 };
	uint32_t used_bytes;

	if (len_bytes < sizeof(b))
		return -CFS_EBAD_FORMAT;
	memcpy(&b, buf, sizeof(b));
	e.ino = cfs_from_le64(b.ino);
	e.cookie = cfs_from_le64(b.cookie);
	e.mode = cfs_from_le32(b.mode);
	e.has_attr = b.has_attr == 1;
	e.name = (struct cfs_bytes){ .p = buf + sizeof(b), .len = cfs_from_le16(b.name_bytes) };
	used_bytes = (uint32_t)sizeof(b) + e.name.len + (e.has_attr ? CFS_ATTR_BYTES : 0);
	if (b.has_attr > 1 || b.reserved != 0 || (e.mode & ~S_IFMT_BITS) != 0)
		return -CFS_EBAD_FORMAT;
	if (e.name.len == 0 || e.name.len > CFS_NAME_BYTES_MAX || used_bytes > len_bytes)
		return -CFS_EBAD_FORMAT;
	if (memchr(e.name.p, 0, e.name.len) || memchr(e.name.p, '/', e.name.len))
		return -CFS_EBAD_FORMAT;
	if (e.has_attr)
		(void)cfs_attr_decode(e.name.p + e.name.len, CFS_ATTR_BYTES, &e.attr);
	*out = e;
	return used_bytes;
}

void cfs_recall_encode(const struct cfs_recall *r, uint8_t out[CFS_RECALL_BYTES])
{
	cfs_le64 v[3] = { cfs_to_le64(r->ino), cfs_to_le64(r->stamp), cfs_to_le64(r->shard) };

	memcpy(out, v, sizeof(v));
}

void cfs_recall_decode(const uint8_t buf[CFS_RECALL_BYTES], struct cfs_recall *out)
{
	cfs_le64 v[3];

	memcpy(v, buf, sizeof(v));
	*out = (struct cfs_recall){ .ino = cfs_from_le64(v[0]),
				    .stamp = cfs_from_le64(v[1]),
				    .shard = (uint32_t)cfs_from_le64(v[2]) };
}

void cfs_statfs_encode(const struct cfs_statfs *s, uint8_t out[CFS_STATFS_BYTES])
{
	struct cfs_statfs_bytes b = {
		.total_bytes = cfs_to_le64(s->total_bytes),
		.free_bytes = cfs_to_le64(s->free_bytes),
		.avail_bytes = cfs_to_le64(s->avail_bytes),
		.files = cfs_to_le64(s->files),
		.files_free = cfs_to_le64(s->files_free),
	};

	static_assert(sizeof(b) == CFS_STATFS_BYTES, "statfs fills its bytes");
	memcpy(out, &b, sizeof(b));
}

int cfs_statfs_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_statfs *out)
{
	struct cfs_statfs_bytes b;

	if (len_bytes != sizeof(b))
		return -CFS_EBAD_FORMAT;
	memcpy(&b, buf, sizeof(b));
	*out = (struct cfs_statfs){
		.total_bytes = cfs_from_le64(b.total_bytes),
		.free_bytes = cfs_from_le64(b.free_bytes),
		.avail_bytes = cfs_from_le64(b.avail_bytes),
		.files = cfs_from_le64(b.files),
		.files_free = cfs_from_le64(b.files_free),
	};
	return 0;
}
