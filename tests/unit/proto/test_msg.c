/* Messages: what the encoder accepts comes back equal, and what the tables forbid is refused on
 * both sides. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "proto/msg.h"
#include "proto/msg_format.h"

#define ROUNDS 20000u

static uint64_t rand_state = 1;
static uint8_t pool[CFS_INLINE_BYTES_MAX];
static uint8_t wire[CFS_MSG_BYTES_MAX + 1], again[CFS_MSG_BYTES_MAX];

static uint64_t dice(void)
{
	rand_state += 0x9e3779b97f4a7c15ull;
	return cfs_hash_u64(rand_state);
}

struct op_row {
	uint16_t number;
	uint64_t must, may, reply_may;
};

static const struct op_row rows[] = {
#define O(NAME, number, must, may, reply, change) \
	{ number, must, (must) | (may), \
	  (reply) | CFS_HAS(rc) | CFS_HAS(map_epoch) | CFS_HAS(index) },
	CFS_OP_TABLE(O)
#undef O
};

static uint32_t bytes_len(uint32_t number)
{
	switch (number) {
	case CFS_FIELD_name:
	case CFS_FIELD_name2:
		return 1 + (uint32_t)(dice() % CFS_NAME_BYTES_MAX);
	case CFS_FIELD_attr:
	case CFS_FIELD_attr2:
		return CFS_ATTR_BYTES;
	case CFS_FIELD_crcs:
		return (uint32_t)(dice() % 257) * 4;
	case CFS_FIELD_deps:
		return (uint32_t)(dice() % 17) * 24;
	case CFS_FIELD_addr:
		return (uint32_t)(dice() % 200);
	default:
		return dice() % 8 == 0 ? (uint32_t)(dice() % 30000) : (uint32_t)(dice() % 300);
	}
}

/* Sets field @number of @m to something random that is allowed. */
static void field_fill(struct cfs_msg *m, uint32_t number)
{
	switch (number) {
#define FILL_u32(name) cfs_msg_set(m, name, (uint32_t)dice())
#define FILL_u64(name) cfs_msg_set(m, name, dice())
#define FILL_i64(name) cfs_msg_set(m, name, (int64_t)dice())
#define FILL_bytes(name) cfs_msg_set_bytes(m, name, pool + dice() % 1000, bytes_len(number))
#define F(name, n, type) \
	case n: \
		FILL_##type(name); \
		break;
		CFS_FIELD_TABLE(F)
#undef F
	default:
		fail();
	}
}

static bool is_field(uint32_t number)
{
#define F(name, n, type) \
	if (number == (n)) \
		return true;
	CFS_FIELD_TABLE(F)
#undef F
	return false;
}

static struct cfs_msg random_msg(const struct op_row *row, uint8_t kind)
{
	uint64_t may = kind == CFS_MSG_REQUEST ? row->may : row->reply_may;
	uint64_t must = kind == CFS_MSG_REQUEST ? row->must : 0;
	struct cfs_msg m = {
		.kind = kind,
		.op = row->number,
		.shard = (uint32_t)dice(),
		.xid = dice(),
		.sess = dice(),
		.seq = dice(),
		.floor = dice(),
		.hlc = dice(),
		.epoch = dice(),
		.deadline_ms = (uint32_t)dice(),
	};
	uint64_t has = (may & dice()) | must;

	for (; has; has &= has - 1)
		field_fill(&m, (uint32_t)__builtin_ctzll(has));
	return m;
}

static void assert_bytes_equal(struct cfs_bytes a, struct cfs_bytes b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.p, b.p, a.len);
}

static void assert_msg_equal(const struct cfs_msg *a, const struct cfs_msg *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->op, b->op);
	assert_int_equal(a->shard, b->shard);
	assert_int_equal(a->xid, b->xid);
	assert_int_equal(a->sess, b->sess);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->floor, b->floor);
	assert_int_equal(a->hlc, b->hlc);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->deadline_ms, b->deadline_ms);
	assert_int_equal(a->has, b->has);
#define SAME_u32(name) assert_int_equal(a->name, b->name)
#define SAME_u64(name) assert_int_equal(a->name, b->name)
#define SAME_i64(name) assert_int_equal(a->name, b->name)
#define SAME_bytes(name) assert_bytes_equal(a->name, b->name)
#define F(name, number, type) SAME_##type(name);
	CFS_FIELD_TABLE(F)
#undef F
}

static void test_roundtrip(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		const struct op_row *row = &rows[dice() % CFS_ARRAY_COUNT(rows)];
		struct cfs_msg m = random_msg(row, dice() % 2 ? CFS_MSG_REQUEST : CFS_MSG_REPLY);
		int64_t len = cfs_msg_encode(&m, wire, sizeof(wire));
		struct cfs_msg out;

		assert_true(len > 0);
		assert_int_equal(len, cfs_msg_size(&m));
		assert_int_equal(cfs_msg_decode(wire, (uint32_t)len, &out), 0);
		assert_msg_equal(&m, &out);
		assert_int_equal(cfs_msg_encode(&out, again, sizeof(again)), len);
		assert_memory_equal(wire, again, (size_t)len);
		assert_int_equal(cfs_msg_encode(&m, again, (uint32_t)len - 1), -EMSGSIZE);
	}
}

/* One flipped bit, wherever it is, is seen; so is every cut and an added byte. */
static void test_damage_is_refused(void **state)
{
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_CREATE };
	struct cfs_msg out = { .xid = 77 };
	uint32_t len;

	(void)state;
	cfs_msg_set(&m, ino, 1);
	cfs_msg_set_bytes(&m, name, pool, 9);
	cfs_msg_set(&m, mode, 0100644);
	cfs_msg_set(&m, uid, 0);
	cfs_msg_set(&m, gid, 0);
	len = (uint32_t)cfs_msg_encode(&m, wire, sizeof(wire));
	for (uint32_t bit = 0; bit < len * 8; bit++) {
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(cfs_msg_decode(wire, len, &out) < 0);
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (uint32_t cut = 0; cut < len; cut++)
		assert_true(cfs_msg_decode(wire, cut, &out) < 0);
	assert_true(cfs_msg_decode(wire, len + 1, &out) < 0);
	assert_int_equal(out.xid, 77);
	assert_int_equal(cfs_msg_decode(wire, len, &out), 0);
}

/* Puts @has in place of the map of fields and mends the checksums, as a peer that lies would. */
static void reseal(uint32_t len)
{
	struct cfs_msg_header h;

	memcpy(&h, wire, sizeof(h));
	h.body_bytes = cfs_to_le32(len - CFS_MSG_HEADER_BYTES);
	h.body_crc =
		cfs_to_le32(cfs_crc32c(0, wire + CFS_MSG_HEADER_BYTES, len - CFS_MSG_HEADER_BYTES));
	h.header_crc = cfs_to_le32(cfs_crc32c(0, &h, offsetof(struct cfs_msg_header, header_crc)));
	memcpy(wire, &h, sizeof(h));
}

/* With right checksums: lengths past the end, fields not allowed or missing, bytes that follow. */
static void test_lies_are_refused(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		const struct op_row *row = &rows[dice() % CFS_ARRAY_COUNT(rows)];
		struct cfs_msg m = random_msg(row, CFS_MSG_REQUEST), out;
		uint32_t len = (uint32_t)cfs_msg_encode(&m, wire, sizeof(wire));
		uint32_t body = len - CFS_MSG_HEADER_BYTES;
		uint32_t at = CFS_MSG_HEADER_BYTES + (uint32_t)(dice() % CFS_MIN(body, 64u));

		if (dice() % 4 == 0)
			len -= (uint32_t)(dice() % 8);
		else
			wire[at] ^= (uint8_t)(1u << dice() % 8);
		reseal(len);
		if (cfs_msg_decode(wire, len, &out) < 0)
			continue;
		/* It still means something: then the encoder means the same by it. */
		assert_int_equal(cfs_msg_encode(&out, again, sizeof(again)), len);
		assert_memory_equal(wire, again, len);
	}
}

static void test_field_rules(void **state)
{
	struct cfs_msg out;

	(void)state;
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(rows); i++) {
		for (uint32_t number = 0; number < 64; number++) {
			struct cfs_msg m = random_msg(&rows[i], CFS_MSG_REQUEST);
			uint64_t bit = 1ull << number;

			if (!is_field(number))
				continue; /* refused by all */

			m.has &= ~bit;
			if (rows[i].must & bit) {
				assert_int_equal(cfs_msg_encode(&m, wire, sizeof(wire)), -EINVAL);
			} else if (!(rows[i].may & bit)) {
				field_fill(&m, number);
				assert_int_equal(cfs_msg_encode(&m, wire, sizeof(wire)), -EINVAL);
			} else {
				assert_true(cfs_msg_encode(&m, wire, sizeof(wire)) > 0);
			}
		}
	}
	/* An operation and a kind that nobody knows. */
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST, .op = 15 };

	assert_int_equal(cfs_msg_encode(&m, wire, sizeof(wire)), -EINVAL);
	m.op = CFS_OP_PING;
	m.kind = 3;
	assert_int_equal(cfs_msg_encode(&m, wire, sizeof(wire)), -EINVAL);
	m.kind = CFS_MSG_REQUEST;
	assert_int_equal(cfs_msg_encode(&m, wire, sizeof(wire)), 96);
	wire[10] = 15;
	reseal(96);
	assert_int_equal(cfs_msg_decode(wire, 96, &out), -CFS_EBAD_FORMAT);
	wire[10] = CFS_OP_PING;
	wire[4] = CFS_PROTO_VERSION + 1;
	reseal(96);
	assert_int_equal(cfs_msg_decode(wire, 96, &out), -CFS_EBAD_VERSION);
}

static void test_bounds(void **state)
{
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_LOOKUP };
	char name[CFS_NAME_BYTES_MAX + 1];

	(void)state;
	memset(name, 'n', sizeof(name));
	cfs_msg_set(&m, ino, 1);
	cfs_msg_set_bytes(&m, name, (const uint8_t *)name, CFS_NAME_BYTES_MAX);
	assert_true(cfs_msg_size(&m) > 0);
	m.name.len++;
	assert_int_equal(cfs_msg_size(&m), -EINVAL);
	m.name.len = 0;
	assert_int_equal(cfs_msg_size(&m), -EINVAL);
	m.name.len = 5;
	name[2] = '/';
	assert_int_equal(cfs_msg_size(&m), -EINVAL);
	m.op = CFS_OP_REMOVEXATTR;
	assert_true(cfs_msg_size(&m) > 0);
	name[2] = 0;
	assert_int_equal(cfs_msg_size(&m), -EINVAL);

	m = (struct cfs_msg){ .kind = CFS_MSG_REPLY, .op = CFS_OP_READLINK };
	cfs_msg_set_bytes(&m, data, pool, CFS_INLINE_BYTES_MAX);
	assert_true(cfs_msg_size(&m) > CFS_INLINE_BYTES_MAX);
	m.data.len++;
	assert_int_equal(cfs_msg_size(&m), -EINVAL);
	/* A WRITE of the greatest inline payload with all that may go with it fits in a message. */
	m = random_msg(&(struct op_row){ CFS_OP_WRITE, CFS_HAS(ino) | CFS_HAS(off) | CFS_HAS(len),
					 CFS_HAS(ino), 0 },
		       CFS_MSG_REQUEST);
	cfs_msg_set_bytes(&m, data, pool, CFS_INLINE_BYTES_MAX);
	cfs_msg_set_bytes(&m, crcs, pool, 64);
	assert_true(cfs_msg_size(&m) > CFS_INLINE_BYTES_MAX);
	m.crcs.len = 63;
	assert_int_equal(cfs_msg_size(&m), -EINVAL);
}

static void test_attr_entry_statfs(void **state)
{
	struct cfs_attr a, b;
	uint8_t bytes[CFS_ATTR_BYTES];
	struct cfs_statfs s = { 1, 2, 3, 4, 5 }, t;
	struct cfs_entry e = { .ino = 5, .cookie = 6, .mode = 0040000, .has_attr = true }, f;
	int64_t used;

	(void)state;
	memcpy(&a, pool, sizeof(a));
	cfs_attr_encode(&a, bytes);
	assert_int_equal(cfs_attr_decode(bytes, sizeof(bytes), &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(cfs_attr_decode(bytes, sizeof(bytes) - 1, &b), -CFS_EBAD_FORMAT);

	e.attr = a;
	e.name = (struct cfs_bytes){ (const uint8_t *)"name", 4 };
	used = cfs_entry_encode(&e, wire, 140);
	assert_int_equal(used, 24 + 4 + CFS_ATTR_BYTES);
	assert_int_equal(cfs_entry_encode(&e, wire, 139), -ENOSPC);
	assert_int_equal(cfs_entry_decode(wire, 140, &f), used);
	assert_memory_equal(&e.attr, &f.attr, sizeof(a));
	assert_memory_equal(f.name.p, "name", 4);
	assert_int_equal(f.mode, 0040000);
	assert_int_equal(cfs_entry_decode(wire, 139, &f), -CFS_EBAD_FORMAT);
	wire[20] = 0;
	assert_int_equal(cfs_entry_decode(wire, 140, &f), -CFS_EBAD_FORMAT);

	cfs_statfs_encode(&s, bytes);
	assert_int_equal(cfs_statfs_decode(bytes, CFS_STATFS_BYTES, &t), 0);
	assert_memory_equal(&s, &t, sizeof(s));
}

/* Numbers are on the wire: these stand for all. */
static void test_numbers_are_pinned(void **state)
{
	(void)state;
	assert_string_equal(cfs_op_name(18), "SETATTR");
	assert_string_equal(cfs_op_name(68), "PARENT");
	assert_string_equal(cfs_op_name(500), "?");
	assert_int_equal(CFS_FIELD_chunk, 43);
	assert_true(cfs_op_is_change(CFS_OP_CREATE));
	assert_false(cfs_op_is_change(CFS_OP_LOOKUP));
	assert_false(cfs_op_is_known(15));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_damage_is_refused),
		cmocka_unit_test(test_lies_are_refused),
		cmocka_unit_test(test_field_rules),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_attr_entry_statfs),
		cmocka_unit_test(test_numbers_are_pinned),
	};

	for (uint32_t i = 0; i < sizeof(pool); i++)
		pool[i] = (uint8_t)(1 + (i * 7 + i / 255) % 40); /* no NUL, no slash */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
