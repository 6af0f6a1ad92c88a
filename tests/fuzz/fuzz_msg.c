/* Messages, as a peer sends them, and the directory entries that they carry. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/util.h"
#include "lib/fuzz.h"
#include "proto/msg.h"
#include "proto/msg_format.h"

#define SAMPLES_AN_OP 4u

static const struct {
	uint16_t number;
	uint64_t must, may, reply_may;
} ops[] = {
#define O(NAME, number, must, may, reply, change) { number, must, (must) | (may), reply },
	CFS_OP_TABLE(O)
#undef O
};

static void entries_walk(struct cfs_bytes data)
{
	uint32_t at = 0;

	while (at < data.len) {
		struct cfs_entry e;
		int64_t used = cfs_entry_decode(data.p + at, data.len - at, &e);

		if (used <= 0)
			return;
		cfs_assert(used <= data.len - at);
		cfs_assert(e.name.len > 0);
		cfs_assert(e.name.len <= CFS_NAME_BYTES_MAX);
		at += (uint32_t)used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	static uint8_t again[CFS_MSG_BYTES_MAX];
	struct cfs_attr attr;
	struct cfs_msg m;

	if (len_bytes > UINT32_MAX || cfs_msg_decode(data, (uint32_t)len_bytes, &m) < 0)
		return 0;
	/* What was accepted is encoded as it came. */
	cfs_assert(cfs_msg_encode(&m, again, sizeof(again)) == (int64_t)len_bytes);
	cfs_assert(memcmp(again, data, len_bytes) == 0);
	if (cfs_msg_is_set(&m, attr))
		cfs_assert(cfs_attr_decode(m.attr.p, m.attr.len, &attr) == 0);
	entries_walk(m.data);
	return 0;
}

void cfs_fuzz_mend(uint8_t *data, size_t len_bytes)
{
	struct cfs_msg_header h;
	size_t body_bytes = len_bytes - sizeof(h);

	if (len_bytes < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	h.magic = cfs_to_le32(CFS_MSG_MAGIC);
	h.version = cfs_to_le16(CFS_PROTO_VERSION);
	h.header_bytes = cfs_to_le16(sizeof(h));
	h.flags = h.reserved = cfs_to_le32(0);
	h.body_bytes = cfs_to_le32((uint32_t)body_bytes);
	h.body_crc = cfs_to_le32(cfs_crc32c(0, data + sizeof(h), body_bytes));
	h.header_crc = cfs_to_le32(cfs_crc32c(0, &h, offsetof(struct cfs_msg_header, header_crc)));
	memcpy(data, &h, sizeof(h));
}

static void bytes_set(struct cfs_msg *m, uint64_t has)
{
	static const uint8_t text[CFS_ATTR_BYTES] = "a-name-of-something";

	m->has |= has;
	m->name = (struct cfs_bytes){ text, 6 };
	m->name2 = (struct cfs_bytes){ text, 14 };
	m->addr = (struct cfs_bytes){ text, 9 };
	m->items = (struct cfs_bytes){ text, 19 };
	m->attr = m->attr2 = (struct cfs_bytes){ text, CFS_ATTR_BYTES };
	m->crcs = (struct cfs_bytes){ text, 16 };
	m->deps = (struct cfs_bytes){ text, 48 };
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static uint8_t entries[512];
	struct cfs_entry e = { .ino = 2, .cookie = 3, .mode = 0100000 };
	struct cfs_msg m = { .kind = n % 2 ? CFS_MSG_REPLY : CFS_MSG_REQUEST, .xid = n };
	uint32_t i = n / SAMPLES_AN_OP;
	int64_t used = 0, len;

	if (i >= CFS_ARRAY_COUNT(ops))
		return 0;
	e.name = (struct cfs_bytes){ (const uint8_t *)"entry", 5 };
	for (uint32_t k = 0; k < 3; k++) {
		e.has_attr = k == 1;
		used += cfs_entry_encode(&e, entries + used,
					 (uint32_t)(sizeof(entries) - (size_t)used));
	}
	m.op = ops[i].number;
	if (m.kind == CFS_MSG_REPLY)
		bytes_set(&m, n % SAMPLES_AN_OP > 1 ? ops[i].reply_may : CFS_HAS(rc));
	else
		bytes_set(&m, n % SAMPLES_AN_OP > 1 ? ops[i].may : ops[i].must);
	m.data = (struct cfs_bytes){ entries, (uint32_t)used };
	len = cfs_msg_encode(&m, data, CFS_FUZZ_BYTES_MAX);
	cfs_assert(len > 0);
	return (size_t)len;
}
