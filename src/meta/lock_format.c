#include "meta/lock_format.h"

#include <string.h>

#include "base/err.h"
#include "meta/meta_format.h"

void cfs_meta_add_lock(struct cfs_items *it, uint64_t ino, const struct cfs_range_lock *l)
{
	struct cfs_meta_lock h = { .ino = cfs_to_le64(ino),
				   .session = cfs_to_le64(l->session),
				   .owner = cfs_to_le64(l->owner),
				   .start = cfs_to_le64(l->start),
				   .end = cfs_to_le64(l->end),
				   .pid = cfs_to_le32(l->pid),
				   .type = cfs_to_le16(l->type),
				   .kind = cfs_to_le16(l->is_flock) };
	uint8_t *p = cfs_items_add(it, CFS_META_LOCK, sizeof(h));

	if (p)
		memcpy(p, &h, sizeof(h));
}

int cfs_meta_get_lock(const struct cfs_item *item, uint64_t *ino, struct cfs_range_lock *out)
{
	struct cfs_meta_lock h;
	uint16_t type, kind;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	type = cfs_from_le16(h.type);
	kind = cfs_from_le16(h.kind);
	if (type > CFS_LOCK_NONE || kind > 1 || cfs_from_le64(h.start) > cfs_from_le64(h.end) ||
	    cfs_from_le64(h.end) > CFS_LOCK_END_MAX)
		return -CFS_EBAD_FORMAT;
	*ino = cfs_from_le64(h.ino);
	*out = (struct cfs_range_lock){ .session = cfs_from_le64(h.session),
					.owner = cfs_from_le64(h.owner),
					.start = cfs_from_le64(h.start),
					.end = cfs_from_le64(h.end),
					.pid = cfs_from_le32(h.pid),
					.type = (uint8_t)type,
					.is_flock = kind == 1 };
	return 0;
}
