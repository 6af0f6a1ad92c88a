#include "meta/file_format.h"

#include <string.h>

#include "base/err.h"

static int get_intent(const struct cfs_item *item, struct cfs_file_change *out)
{
	struct cfs_file_intent h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*out = (struct cfs_file_change){
		.ino = cfs_from_le64(h.ino),
		.size = cfs_from_le64(h.size),
		.top = cfs_from_le64(h.top),
		.cut = cfs_from_le64(h.cut),
	};
	return 0;
}

static int get_top(const struct cfs_item *item, struct cfs_file_change *out)
{
	struct cfs_file_top h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	*out = (struct cfs_file_change){
		.ino = cfs_from_le64(h.ino),
		.seed = cfs_from_le64(h.seed),
		.top = cfs_from_le64(h.top),
	};
	return 0;
}

int cfs_file_decode(const struct cfs_item *item, struct cfs_file_change *out)
{
	switch (item->kind) {
	case CFS_FILE_INTENT:
	case CFS_FILE_INTENT_DEL:
		return get_intent(item, out);
	case CFS_FILE_TOP:
	case CFS_FILE_DROP:
	case CFS_FILE_DROP_DEL:
		return get_top(item, out);
	default:
		return -CFS_EBAD_FORMAT;
	}
}

void cfs_file_add_item(struct cfs_items *it, uint8_t kind, const struct cfs_file_change *c)
{
	struct cfs_file_intent intent = {
		.ino = cfs_to_le64(c->ino),
		.size = cfs_to_le64(c->size),
		.top = cfs_to_le64(c->top),
		.cut = cfs_to_le64(c->cut),
	};
	struct cfs_file_top top = {
		.ino = cfs_to_le64(c->ino),
		.seed = cfs_to_le64(c->seed),
		.top = cfs_to_le64(c->top),
	};
	bool is_intent = kind == CFS_FILE_INTENT || kind == CFS_FILE_INTENT_DEL;
	uint32_t len = is_intent ? sizeof(intent) : sizeof(top);
	uint8_t *to = cfs_items_add(it, kind, len);

	if (!to)
		return;
	if (is_intent)
		memcpy(to, &intent, len);
	else
		memcpy(to, &top, len);
}
