#include "repl/item.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

void cfs_items_init(struct cfs_items *it, uint8_t *buf, uint32_t cap_bytes)
{
	*it = (struct cfs_items){ .buf = buf, .cap_bytes = cap_bytes };
}

void *cfs_items_add(struct cfs_items *it, uint8_t kind, uint32_t len_bytes)
{
	struct cfs_item_header h = { .kind = kind, .version = CFS_ITEM_VERSION };
	uint32_t free_bytes = it->cap_bytes - it->len_bytes;
	uint8_t *to = it->buf + it->len_bytes;

	if (it->rc < 0 || free_bytes < sizeof(h) || free_bytes - sizeof(h) < len_bytes) {
		it->rc = -EMSGSIZE;
		return NULL;
	}
	h.len_bytes = cfs_to_le32(len_bytes);
	memcpy(to, &h, sizeof(h));
	memset(to + sizeof(h), 0, len_bytes);
	it->len_bytes += (uint32_t)sizeof(h) + len_bytes;
	return to + sizeof(h);
}

int cfs_items_rc(const struct cfs_items *it)
{
	return it->rc;
}

int cfs_items_next(const uint8_t *buf, uint32_t len_bytes, uint32_t *pos, struct cfs_item *out)
{
	struct cfs_item_header h;
	uint32_t left;

	if (*pos >= len_bytes)
		return *pos == len_bytes ? 0 : -CFS_EBAD_FORMAT;
	left = len_bytes - *pos;
	if (left < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, buf + *pos, sizeof(h));
	if (h.version != CFS_ITEM_VERSION)
		return h.version == 0 ? -CFS_EBAD_FORMAT : -CFS_EBAD_VERSION;
	if (h.kind == 0 || cfs_from_le16(h.reserved) != 0)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(h.len_bytes) > left - sizeof(h))
		return -CFS_EBAD_FORMAT;
	*out = (struct cfs_item){
		.kind = h.kind,
		.len_bytes = cfs_from_le32(h.len_bytes),
		.data = buf + *pos + sizeof(h),
	};
	*pos += (uint32_t)sizeof(h) + out->len_bytes;
	return 1;
}
