#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "repl/shard_format.h"

struct cursor {
	uint8_t *to;
	const uint8_t *from;
	uint32_t left;
	int rc;
};

static void put(struct cursor *c, const void *data, uint32_t len_bytes)
{
	if (c->rc < 0 || c->left < len_bytes) {
		c->rc = -EMSGSIZE;
		return;
	}
	if (len_bytes)
		memcpy(c->to, data, len_bytes);
	c->to += len_bytes;
	c->left -= len_bytes;
}

static void put_u32(struct cursor *c, uint32_t v)
{
	cfs_le32 le = cfs_to_le32(v);

	put(c, &le, sizeof(le));
}

static void put_u64(struct cursor *c, uint64_t v)
{
	cfs_le64 le = cfs_to_le64(v);

	put(c, &le, sizeof(le));
}

static void put_i64(struct cursor *c, int64_t v)
{
	put_u64(c, (uint64_t)v);
}

static void put_bytes(struct cursor *c, struct cfs_bytes v)
{
	put_u32(c, v.len);
	put(c, v.p, v.len);
}

static const uint8_t *get(struct cursor *c, uint32_t len_bytes)
{
	const uint8_t *at = c->from;

	if (c->rc < 0 || c->left < len_bytes) {
		c->rc = -CFS_EBAD_FORMAT;
		return NULL;
	}
	c->from += len_bytes;
	c->left -= len_bytes;
	return at;
}

static void get_u32(struct cursor *c, uint32_t *out)
{
	const uint8_t *at = get(c, sizeof(cfs_le32));
	cfs_le32 le;

	if (!at)
		return;
	memcpy(&le, at, sizeof(le));
	*out = cfs_from_le32(le);
}

static void get_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *at = get(c, sizeof(cfs_le64));
	cfs_le64 le;

	if (!at)
		return;
	memcpy(&le, at, sizeof(le));
	*out = cfs_from_le64(le);
}

static void get_i64(struct cursor *c, int64_t *out)
{
	uint64_t v = 0;

	get_u64(c, &v);
	*out = (int64_t)v;
}

static void get_bytes(struct cursor *c, struct cfs_bytes *out)
{
	uint32_t len = 0;

	get_u32(c, &len);
	out->p = get(c, len);
	out->len = out->p ? len : 0;
}

#define FIELD(name, number, type) CFS_HAS(name) |
#define FIELDS_KNOWN (CFS_FIELD_TABLE(FIELD) 0)

int cfs_answer_encode(const struct cfs_msg *reply, uint8_t *buf, uint32_t cap_bytes)
{
	struct cursor c = { .to = buf, .left = cap_bytes };

	put_u64(&c, reply->has);
#define PUT(name, number, type) \
	if (reply->has & CFS_HAS(name)) \
		put_##type(&c, reply->name);
	CFS_FIELD_TABLE(PUT)
#undef PUT
	return c.rc < 0 ? c.rc : (int)(cap_bytes - c.left);
}

int cfs_answer_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_msg *out)
{
	struct cursor c = { .from = buf, .left = len_bytes };
	struct cfs_msg m = { 0 };

	get_u64(&c, &m.has);
	if (c.rc < 0 || (m.has & ~FIELDS_KNOWN))
		return -CFS_EBAD_FORMAT;
#define GET(name, number, type) \
	if (m.has & CFS_HAS(name)) \
		get_##type(&c, &m.name);
	CFS_FIELD_TABLE(GET)
#undef GET
	if (c.rc < 0 || c.left != 0)
		return -CFS_EBAD_FORMAT;
#define SET(name, number, type) out->name = m.name;
	CFS_FIELD_TABLE(SET)
#undef SET
	out->has = m.has;
	return 0;
}
