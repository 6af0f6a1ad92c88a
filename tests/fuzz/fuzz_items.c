/*
 * Lists of items, as records and checkpoints hold them: the list, the items of data and of answers
 * in it, and what they do to a table (but for extents, which need a store).
 */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "data/chunk.h"
#include "lib/fuzz.h"
#include "proto/place.h"
#include "repl/answer.h"

static void report(void *ctx, const char *what)
{
	(void)ctx;
	(void)what;
	cfs_assert(!"the table is inconsistent");
}

static void one_item(struct cfs_chunk_table *t, struct cfs_answers *a, const struct cfs_item *item)
{
	struct cfs_data_change c;
	struct cfs_block_ref ref;
	int rc = cfs_data_decode(item, &c);

	if (item->kind == CFS_ITEM_ANSWER)
		cfs_answers_apply(a, item);
	/* Both know it or neither. */
	if (item->kind == CFS_DATA_EXTENT || item->kind == CFS_DATA_RELOCATE) {
		cfs_assert((cfs_data_refs(item, &ref, 1) == 1) == (rc == 0));
		return;
	}
	cfs_assert(cfs_data_refs(item, &ref, 1) == 0);
	if (rc == 0)
		cfs_assert(cfs_chunk_apply(t, item) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cfs_chunk_table t;
	struct cfs_answers *a;
	struct cfs_item item;
	uint32_t at = 0;

	if (len_bytes > CFS_FUZZ_BYTES_MAX)
		return 0;
	cfs_assert(cfs_chunk_table_init(&t, NULL, 0, NULL) == 0);
	cfs_assert(cfs_answers_create(&a) == 0);
	while (cfs_items_next(data, (uint32_t)len_bytes, &at, &item) == 1)
		one_item(&t, a, &item);
	cfs_chunk_table_check(&t, report, NULL);
	cfs_chunk_table_fini(&t);
	cfs_assert(t.patch_bytes == 0);
	cfs_answers_destroy(a);
	return 0;
}

static void add_answer(struct cfs_items *it, uint32_t n)
{
	struct cfs_msg reply = { 0 };
	uint8_t bytes[CFS_ANSWER_BYTES_MAX];
	struct cfs_item_answer h = { .session = cfs_to_le64(n % 3),
				     .seq = cfs_to_le64(n),
				     .floor = cfs_to_le64(n / 2) };
	uint8_t *to;
	int len;

	cfs_msg_set(&reply, len, n);
	cfs_msg_set(&reply, index, n);
	len = cfs_answer_encode(&reply, bytes, sizeof(bytes));
	cfs_assert(len > 0);
	h.len_bytes = cfs_to_le32((uint32_t)len);
	to = cfs_items_add(it, CFS_ITEM_ANSWER, (uint32_t)sizeof(h) + (uint32_t)len);
	if (!to)
		return;
	memcpy(to, &h, sizeof(h));
	memcpy(to + sizeof(h), bytes, (size_t)len);
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static const uint8_t bytes[4096] = { 1, 2, 3 };
	uint32_t crcs[4] = { 1, 2, 3, 4 };
	struct cfs_items it;

	if (n >= 16)
		return 0;
	cfs_items_init(&it, data, 16384);
	for (uint32_t k = 0; k < 8; k++) {
		uint64_t x = cfs_hash_u64(n * 64 + k);
		uint32_t off = (uint32_t)(x % 20000), chunk = (uint32_t)(x >> 32) % 3;

		cfs_data_add_patch(&it, 1 + n % 2, chunk, off, bytes,
				   1 + (uint32_t)(x >> 40) % 900);
		if (k == n % 8)
			cfs_data_add_trim(&it, 1, x % (3 * CFS_CHUNK_BYTES), k);
		if (k % 3 == 0)
			cfs_data_add_zero(&it, 1, chunk, off / 2, 5000);
	}
	cfs_data_add_extent(&it, 1, 0, 3, 4, 77, crcs);
	cfs_data_add_relocate(&it, 1, 0, 3, 4, 77, 99, crcs);
	cfs_data_add_file(&it, 2, 9);
	if (n % 4 == 0)
		cfs_data_add_drop(&it, 1);
	add_answer(&it, n);
	add_answer(&it, n + 1);
	cfs_assert(cfs_items_rc(&it) == 0);
	return it.len_bytes;
}
