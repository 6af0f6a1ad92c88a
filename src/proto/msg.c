/*
 * Encoder and decoder of messages. Both are driven by the tables of msg.h, and both apply the same
 * rules (msg_check()): what this encoder accepts, this decoder accepts. The decoder is the only
 * gate for what a peer sends; behind it every field that is set is within its bounds, every field
 * that an operation must carry is there, and the others are 0.
 */
#include "proto/msg.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "proto/msg_format.h"

enum field_type { TYPE_NONE, TYPE_u32, TYPE_u64, TYPE_i64, TYPE_bytes };

struct field {
	uint16_t offset; /* in struct cfs_msg */
	uint8_t type;
};

static const struct field fields[64] = {
#define F(name, number, type) [number] = { offsetof(struct cfs_msg, name), TYPE_##type },
	CFS_FIELD_TABLE(F)
#undef F
};

struct op {
	const char *name;
	uint64_t must, may, reply_may; /* may: of a request, `must` among them */
	bool is_change;
};

static const struct op ops[CFS_OP_COUNT_MAX] = {
#define O(NAME, number, must, may, reply, change) \
	[number] = { #NAME, must, (must) | (may), \
		     (reply) | CFS_HAS(rc) | CFS_HAS(map_epoch) | CFS_HAS(index), change },
	CFS_OP_TABLE(O)
#undef O
};

#define O(NAME, number, must, may, reply, change) \
	static_assert((number) < CFS_OP_COUNT_MAX, "operation " #NAME " is past the table");
CFS_OP_TABLE(O)
#undef O

#define XATTR_OPS_FIRST CFS_OP_GETXATTR
#define XATTR_OPS_LAST CFS_OP_REMOVEXATTR
#define ADDRS_BYTES_MAX (8u * 1024)

bool cfs_op_is_known(uint16_t op)
{
	return op < CFS_OP_COUNT_MAX && ops[op].name;
}

const char *cfs_op_name(uint16_t op)
{
	return cfs_op_is_known(op) ? ops[op].name : "?";
}

bool cfs_op_is_change(uint16_t op)
{
	return cfs_op_is_known(op) && ops[op].is_change;
}

/* A name of a directory or of an xattr: no NUL; only xattr names may hold a slash. Requests name
 * something, but for CREATE, which may make a file without a name. */
static bool name_is_fine(const struct cfs_msg *m, const struct cfs_bytes *name)
{
	bool is_xattr = m->op >= XATTR_OPS_FIRST && m->op <= XATTR_OPS_LAST;

	if (name->len == 0)
		return m->kind == CFS_MSG_REPLY || m->op == CFS_OP_CREATE;
	if (name->len > CFS_NAME_BYTES_MAX)
		return false;
	return !memchr(name->p, 0, name->len) && (is_xattr || !memchr(name->p, '/', name->len));
}

static bool bytes_are_fine(const struct cfs_msg *m)
{
	if (cfs_msg_is_set(m, name) && !name_is_fine(m, &m->name))
		return false;
	if (cfs_msg_is_set(m, name2) && !name_is_fine(m, &m->name2))
		return false;
	if (m->data.len > CFS_INLINE_BYTES_MAX || m->items.len > CFS_INLINE_BYTES_MAX)
		return false;
	if (cfs_msg_is_set(m, attr) && m->attr.len != CFS_ATTR_BYTES)
		return false;
	if (cfs_msg_is_set(m, attr2) && m->attr2.len != CFS_ATTR_BYTES)
		return false;
	if (m->crcs.len % sizeof(cfs_le32) != 0)
		return false;
	return m->deps.len % CFS_DEP_BYTES == 0 && m->addr.len <= ADDRS_BYTES_MAX;
}

static bool fields_are_fine(uint16_t kind, uint16_t op, uint64_t has)
{
	if (!cfs_op_is_known(op))
		return false;
	if (kind == CFS_MSG_REQUEST)
		return (has & ~ops[op].may) == 0 && (ops[op].must & ~has) == 0;
	return kind == CFS_MSG_REPLY && (has & ~ops[op].reply_may) == 0;
}

static const void *field_at(const struct cfs_msg *m, uint32_t number)
{
	return (const uint8_t *)m + fields[number].offset;
}

int64_t cfs_msg_size(const struct cfs_msg *m)
{
	uint64_t size_bytes = CFS_MSG_HEADER_BYTES + CFS_MSG_MAP_BYTES;

	if (!fields_are_fine(m->kind, m->op, m->has) || !bytes_are_fine(m))
		return -EINVAL;
	for (uint64_t left = m->has; left; left &= left - 1) {
		uint32_t number = (uint32_t)__builtin_ctzll(left);
		const struct cfs_bytes *b = field_at(m, number);

		switch (fields[number].type) {
		case TYPE_u32:
			size_bytes += sizeof(cfs_le32);
			break;
		case TYPE_bytes:
			size_bytes += sizeof(cfs_le32) + b->len;
			break;
		default:
			size_bytes += sizeof(cfs_le64);
		}
	}
	return size_bytes <= CFS_MSG_BYTES_MAX ? (int64_t)size_bytes : -EMSGSIZE;
}

static void put_le32(uint8_t *at, uint32_t v)
{
	cfs_le32 le = cfs_to_le32(v);

	memcpy(at, &le, sizeof(le));
}

static void put_le64(uint8_t *at, uint64_t v)
{
	cfs_le64 le = cfs_to_le64(v);

	memcpy(at, &le, sizeof(le));
}

static uint32_t get_le32(const uint8_t *at)
{
	cfs_le32 le;

	memcpy(&le, at, sizeof(le));
	return cfs_from_le32(le);
}

static uint64_t get_le64(const uint8_t *at)
{
	cfs_le64 le;

	memcpy(&le, at, sizeof(le));
	return cfs_from_le64(le);
}

static uint8_t *put_field(const struct cfs_msg *m, uint32_t number, uint8_t *at)
{
	const struct cfs_bytes *b = field_at(m, number);
	uint32_t v32;
	uint64_t v64;

	switch (fields[number].type) {
	case TYPE_u32:
		memcpy(&v32, field_at(m, number), sizeof(v32));
		put_le32(at, v32);
		return at + sizeof(cfs_le32);
	case TYPE_bytes:
		put_le32(at, b->len);
		if (b->len > 0)
			memcpy(at + sizeof(cfs_le32), b->p, b->len);
		return at + sizeof(cfs_le32) + b->len;
	default:
		memcpy(&v64, field_at(m, number), sizeof(v64));
		put_le64(at, v64);
		return at + sizeof(cfs_le64);
	}
}

int64_t cfs_msg_encode(const struct cfs_msg *m, uint8_t *buf, uint32_t cap_bytes)
{
	int64_t size_bytes = cfs_msg_size(m);
	uint8_t *body = buf + CFS_MSG_HEADER_BYTES, *at = body + CFS_MSG_MAP_BYTES;
	uint32_t body_bytes;
	struct cfs_msg_header h;

	if (size_bytes < 0)
		return size_bytes;
	if (size_bytes > cap_bytes)
		return -EMSGSIZE;
	put_le64(body, m->has);
	for (uint64_t left = m->has; left; left &= left - 1)
		at = put_field(m, (uint32_t)__builtin_ctzll(left), at);
	cfs_assert(at == buf + size_bytes);
	body_bytes = (uint32_t)(size_bytes - CFS_MSG_HEADER_BYTES);
	h = (struct cfs_msg_header){
		.magic = cfs_to_le32(CFS_MSG_MAGIC),
		.version = cfs_to_le16(CFS_PROTO_VERSION),
		.header_bytes = cfs_to_le16(CFS_MSG_HEADER_BYTES),
		.kind = cfs_to_le16(m->kind),
		.op = cfs_to_le16(m->op),
		.body_bytes = cfs_to_le32(body_bytes),
		.body_crc = cfs_to_le32(cfs_crc32c(0, body, body_bytes)),
		.shard = cfs_to_le32(m->shard),
		.deadline_ms = cfs_to_le32(m->deadline_ms),
		.xid = cfs_to_le64(m->xid),
		.sess = cfs_to_le64(m->sess),
		.seq = cfs_to_le64(m->seq),
		.floor = cfs_to_le64(m->floor),
		.hlc = cfs_to_le64(m->hlc),
		.epoch = cfs_to_le64(m->epoch),
	};
	h.header_crc = cfs_to_le32(cfs_crc32c(0, &h, offsetof(struct cfs_msg_header, header_crc)));
	memcpy(buf, &h, sizeof(h));
	return size_bytes;
}

/* Everything that can be said without looking at the body. */
static int header_verify(const struct cfs_msg_header *h, uint32_t len_bytes)
{
	if (cfs_from_le32(h->magic) != CFS_MSG_MAGIC)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(h->header_crc) !=
	    cfs_crc32c(0, h, offsetof(struct cfs_msg_header, header_crc)))
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le16(h->version) != CFS_PROTO_VERSION)
		return -CFS_EBAD_VERSION;
	if (cfs_from_le16(h->header_bytes) != CFS_MSG_HEADER_BYTES ||
	    cfs_from_le32(h->body_bytes) != len_bytes - CFS_MSG_HEADER_BYTES)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(h->flags) != 0 || cfs_from_le32(h->reserved) != 0)
		return -CFS_EBAD_FORMAT;
	return 0;
}

static void header_take(const struct cfs_msg_header *h, struct cfs_msg *m)
{
	m->kind = (uint8_t)cfs_from_le16(h->kind);
	m->op = cfs_from_le16(h->op);
	m->shard = cfs_from_le32(h->shard);
	m->deadline_ms = cfs_from_le32(h->deadline_ms);
	m->xid = cfs_from_le64(h->xid);
	m->sess = cfs_from_le64(h->sess);
	m->seq = cfs_from_le64(h->seq);
	m->floor = cfs_from_le64(h->floor);
	m->hlc = cfs_from_le64(h->hlc);
	m->epoch = cfs_from_le64(h->epoch);
}

/* Takes field @number at @at, before @end, into @m; NULL: it does not fit. */
static const uint8_t *get_field(const uint8_t *at, const uint8_t *end, uint32_t number,
				struct cfs_msg *m)
{
	void *to = (uint8_t *)m + fields[number].offset;
	struct cfs_bytes b;
	uint32_t v32;
	uint64_t v64;
	size_t left_bytes = (size_t)(end - at);

	switch (fields[number].type) {
	case TYPE_u32:
		if (left_bytes < sizeof(cfs_le32))
			return NULL;
		v32 = get_le32(at);
		memcpy(to, &v32, sizeof(v32));
		return at + sizeof(cfs_le32);
	case TYPE_u64:
	case TYPE_i64:
		if (left_bytes < sizeof(cfs_le64))
			return NULL;
		v64 = get_le64(at);
		memcpy(to, &v64, sizeof(v64));
		return at + sizeof(cfs_le64);
	case TYPE_bytes:
		if (left_bytes < sizeof(cfs_le32))
			return NULL;
		b = (struct cfs_bytes){ .p = at + sizeof(cfs_le32), .len = get_le32(at) };
		if (b.len > left_bytes - sizeof(cfs_le32))
			return NULL;
		memcpy(to, &b, sizeof(b));
		return b.p + b.len;
	default:
		return NULL;
	}
}

int cfs_msg_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_msg *out)
{
	const uint8_t *body = buf + CFS_MSG_HEADER_BYTES, *end = buf + len_bytes, *at;
	struct cfs_msg m = { 0 };
	struct cfs_msg_header h;
	int rc;

	if (len_bytes < CFS_MSG_HEADER_BYTES + CFS_MSG_MAP_BYTES || len_bytes > CFS_MSG_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, buf, sizeof(h));
	rc = header_verify(&h, len_bytes);
	if (rc < 0)
		return rc;
	if (cfs_from_le32(h.body_crc) != cfs_crc32c(0, body, len_bytes - CFS_MSG_HEADER_BYTES))
		return -CFS_EBAD_CHECKSUM;
	header_take(&h, &m);
	m.has = get_le64(body);
	if (!fields_are_fine(cfs_from_le16(h.kind), m.op, m.has))
		return -CFS_EBAD_FORMAT;
	at = body + CFS_MSG_MAP_BYTES;
	for (uint64_t left = m.has; left; left &= left - 1) {
		at = get_field(at, end, (uint32_t)__builtin_ctzll(left), &m);
		if (!at)
			return -CFS_EBAD_FORMAT;
	}
	if (at != end || !bytes_are_fine(&m))
		return -CFS_EBAD_FORMAT;
	*out = m;
	return 0;
}

int cfs_msg_peek_xid(const uint8_t *buf, uint32_t len_bytes, uint64_t *xid_out)
{
	struct cfs_msg_header h;

	if (len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, buf, sizeof(h));
	*xid_out = cfs_from_le64(h.xid);
	return 0;
}
