/*
 * Clones of one shard: files against arrays of bytes while parts of one become parts of another,
 * over restarts, checkpoints and cleaning; what is shared takes its space once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../meta/harness.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "data/data.h"
#include "lib/test_fiber.h"

#define FILES 3u
#define CHUNKS 2u
#define BYTES (CHUNKS * CFS_CHUNK_BYTES)
#define INO(f) (1000ull + (f))
#define READ_BYTES 32768u

struct scene {
	struct harness *h;
	uint8_t *model[FILES], *buf;
	uint64_t cut[FILES];
};

static uint64_t below(uint64_t n)
{
	return cfs_rand_u64() % n;
}

static CFS_AWAITS void scene_init(struct scene *s, uint64_t disk_bytes)
{
	const struct harness_opts opts = { .shards = 2, .stores = 1, .disk_bytes = disk_bytes };

	*s = (struct scene){ .h = malloc(sizeof(*s->h)) };
	harness_init(s->h, &opts);
	s->h->env.patch_max_bytes = 96 * 1024;
	s->buf = malloc(CFS_CHUNK_BYTES);
	assert_non_null(s->buf);
	for (uint32_t f = 0; f < FILES; f++) {
		s->model[f] = calloc(1, BYTES);
		assert_non_null(s->model[f]);
	}
}

static CFS_AWAITS void scene_fini(struct scene *s)
{
	assert_int_equal(harness_check(s->h), 0);
	harness_fini(s->h);
	free(s->h);
	for (uint32_t f = 0; f < FILES; f++)
		free(s->model[f]);
	free(s->buf);
}

static CFS_AWAITS int serve(struct scene *s, struct cfs_msg *m, struct cfs_shard_request *rq)
{
	m->kind = CFS_MSG_REQUEST;
	*rq = (struct cfs_shard_request){ .msg = m };
	cfs_shard_serve_local(s->h->shards[0], rq);
	return cfs_msg_is_set(&rq->reply, rc) ? (int)rq->reply.rc : 0;
}

static void chunk_msg(const struct scene *s, struct cfs_msg *m, uint16_t op, uint32_t f,
		      uint64_t off, uint64_t len)
{
	*m = (struct cfs_msg){ .op = op };
	cfs_msg_set(m, ino, INO(f));
	cfs_msg_set(m, chunk, off / CFS_CHUNK_BYTES);
	cfs_msg_set(m, off, off % CFS_CHUNK_BYTES);
	cfs_msg_set(m, len, len);
	cfs_msg_set(m, cut, s->cut[f]);
}

static CFS_AWAITS int do_write(struct scene *s, uint32_t f, uint64_t off, uint64_t len)
{
	uint64_t x = cfs_rand_u64();
	struct cfs_shard_request rq;
	struct cfs_msg m;

	for (uint64_t k = 0; k < len; k++)
		s->model[f][off + k] = (uint8_t)(1 + cfs_hash_u64(x + k / 64) % 255);
	memcpy(s->buf, s->model[f] + off, len);
	chunk_msg(s, &m, CFS_OP_CHUNK_WRITE, f, off, len);
	cfs_msg_set_bytes(&m, data, s->buf, (uint32_t)len);
	return serve(s, &m, &rq);
}

static CFS_AWAITS int do_clone(struct scene *s, uint32_t to, uint32_t from, uint64_t off,
			       uint64_t len)
{
	struct cfs_shard_request rq;
	struct cfs_msg m;
	int rc;

	chunk_msg(s, &m, CFS_OP_CHUNK_CLONE, to, off, len);
	cfs_msg_set(&m, ino2, INO(from));
	cfs_msg_set(&m, cut2, s->cut[from]);
	rc = serve(s, &m, &rq);
	if (rc == 0)
		memcpy(s->model[to] + off, s->model[from] + off, len);
	return rc;
}

static CFS_AWAITS int do_zero(struct scene *s, uint32_t f, uint64_t off, uint64_t len)
{
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_ZERO };

	cfs_msg_set(&m, ino, INO(f));
	cfs_msg_set(&m, off, off);
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, cut, s->cut[f]);
	memset(s->model[f] + off, 0, len);
	return serve(s, &m, &rq);
}

static CFS_AWAITS int do_trim(struct scene *s, uint32_t f, uint64_t size)
{
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_TRIM };

	cfs_msg_set(&m, ino, INO(f));
	cfs_msg_set(&m, size, size);
	cfs_msg_set(&m, cut, ++s->cut[f]);
	memset(s->model[f] + size, 0, BYTES - size);
	return serve(s, &m, &rq);
}

static CFS_AWAITS int do_drop(struct scene *s, uint32_t f)
{
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_DROP };

	cfs_msg_set(&m, ino, INO(f));
	memset(s->model[f], 0, BYTES);
	return serve(s, &m, &rq);
}

static CFS_AWAITS void check_file(struct scene *s, uint32_t f)
{
	for (uint64_t at = 0; at < BYTES; at += READ_BYTES) {
		struct cfs_shard_request rq;
		struct cfs_msg m;

		chunk_msg(s, &m, CFS_OP_CHUNK_READ, f, at, READ_BYTES);
		assert_int_equal(serve(s, &m, &rq), 0);
		assert_int_equal(rq.reply.data.len, READ_BYTES);
		if (memcmp(rq.reply.data.p, s->model[f] + at, READ_BYTES) != 0)
			fail_msg("file %u differs in the 32 KiB at %lu", f, (unsigned long)at);
		cfs_buf_put(rq.reply_buf);
	}
}

static CFS_AWAITS void check_all(struct scene *s)
{
	for (uint32_t f = 0; f < FILES; f++)
		check_file(s, f);
	cfs_store_check(s->h->stores[0]);
}

static uint64_t live_blocks(const struct scene *s)
{
	struct cfs_store_stats st;

	cfs_store_stats(s->h->stores[0], &st);
	return st.live_bytes / CFS_BLOCK_BYTES;
}

/* Extents, and how many blocks they have without what is there twice. */
struct extents {
	uint64_t addr[65536];
	uint32_t count;
	uint64_t blocks;
};

static void extents_add(void *ctx, const struct cfs_data_fact *fact)
{
	struct extents *e = ctx;

	for (uint32_t b = 0; b < fact->blocks && e->count < CFS_ARRAY_COUNT(e->addr); b++)
		e->addr[e->count++] = fact->addr + b;
	e->blocks += fact->blocks;
}

static int addr_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t unique_blocks(const struct scene *s, uint64_t *all_out)
{
	struct extents *e = calloc(1, sizeof(*e));
	uint64_t unique = 0;

	assert_non_null(e);
	cfs_data_walk(s->h->shards[0], extents_add, e);
	qsort(e->addr, e->count, sizeof(e->addr[0]), addr_order);
	for (uint32_t i = 0; i < e->count; i++)
		unique += i == 0 || e->addr[i] != e->addr[i - 1];
	*all_out = e->blocks;
	free(e);
	return unique;
}

static void some_range(uint64_t *off, uint64_t *len)
{
	uint64_t in = below(CFS_CHUNK_BYTES);

	*len = below(3) ? 1 + below(20000) : 1 + below(CFS_CHUNK_BYTES);
	if (below(3) == 0) {
		in = cfs_round_down(in, 4096);
		*len = cfs_round_up(*len, 4096);
	}
	*len = CFS_MIN(*len, CFS_CHUNK_BYTES - in);
	*off = below(CHUNKS) * CFS_CHUNK_BYTES + in;
}

static CFS_AWAITS void step(struct scene *s)
{
	uint32_t f = (uint32_t)below(FILES), g = (f + 1 + (uint32_t)below(FILES - 1)) % FILES;
	uint64_t off, len;
	int rc;

	some_range(&off, &len);
	switch (below(10)) {
	case 0:
		rc = do_zero(s, f, off, len);
		break;
	case 1:
		rc = below(3) ? 0 : do_trim(s, f, below(BYTES));
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		if (below(4) == 0) {
			off = cfs_round_down(off, CFS_CHUNK_BYTES);
			len = CFS_CHUNK_BYTES;
		}
		rc = do_clone(s, f, g, off, len);
		break;
	default:
		rc = do_write(s, f, off, len);
		break;
	}
	assert_int_equal(rc, 0);
}

static CFS_AWAITS void stay_apart(void)
{
	struct scene s;
	uint64_t all;

	scene_init(&s, 0);
	for (uint32_t k = 0; k < 4000; k++) {
		step(&s);
		if (below(4) == 0)
			cfs_sleep_ns(below(2000000));
		if (k % 251 == 250) {
			cfs_sleep_ns(4000000000);
			harness_checkpoint(s.h);
		}
		if (k % 199 != 198)
			continue;
		check_all(&s);
		if (below(2))
			harness_stop(s.h);
		else
			harness_kill(s.h, false);
		harness_start(s.h);
		s.h->env.patch_max_bytes = 96 * 1024;
		check_all(&s);
	}
	check_all(&s);
	assert_true(unique_blocks(&s, &all) < all);
	scene_fini(&s);
}

CFS_TEST_SIM(files_stay_apart)
{
	for (uint32_t k = 0; k < 3; k++)
		stay_apart();
}

CFS_TEST_SIM(shared_blocks_are_counted_once)
{
	struct scene s;
	uint64_t all, full = CFS_CHUNK_BYTES / CFS_BLOCK_BYTES;

	scene_init(&s, 0);
	assert_int_equal(live_blocks(&s), 0);
	assert_int_equal(do_write(&s, 0, 0, CFS_CHUNK_BYTES), 0);
	assert_int_equal(live_blocks(&s), full);
	assert_int_equal(do_clone(&s, 1, 0, 0, CFS_CHUNK_BYTES), 0);
	assert_int_equal(do_clone(&s, 2, 1, 0, CFS_CHUNK_BYTES), 0);
	assert_int_equal(live_blocks(&s), full);
	/* Also after a start, and while large writes are on their way to the same segment. */
	harness_kill(s.h, false);
	harness_start(s.h);
	assert_int_equal(live_blocks(&s), full);
	assert_int_equal(do_write(&s, 1, 40960, 8192), 0);
	assert_int_equal(live_blocks(&s), full + 2);
	assert_int_equal(do_trim(&s, 0, 0), 0);
	assert_int_equal(live_blocks(&s), full + 2);
	check_all(&s);
	assert_int_equal(do_drop(&s, 2), 0);
	assert_int_equal(live_blocks(&s), full);
	check_all(&s);
	assert_int_equal(unique_blocks(&s, &all), full);
	assert_int_equal(all, full);
	assert_int_equal(do_drop(&s, 1), 0);
	assert_int_equal(live_blocks(&s), 0);
	scene_fini(&s);
}

CFS_TEST_SIM(older_cuts_are_refused)
{
	struct scene s;

	scene_init(&s, 0);
	assert_int_equal(do_write(&s, 0, 0, 10000), 0);
	assert_int_equal(do_write(&s, 1, 0, 10000), 0);
	assert_int_equal(do_trim(&s, 0, 5000), 0);
	s.cut[0]--;
	assert_int_equal(do_clone(&s, 1, 0, 0, 8192), -CFS_EOLD_CUT);
	assert_int_equal(do_clone(&s, 0, 1, 0, 8192), -CFS_EOLD_CUT);
	s.cut[0]++;
	assert_int_equal(do_clone(&s, 1, 0, 0, 8192), 0);
	assert_int_equal(do_clone(&s, 1, 1, 0, 8192), -EINVAL);
	assert_int_equal(do_clone(&s, 1, 0, 4096, CFS_CHUNK_BYTES), -EINVAL);
	check_all(&s);
	scene_fini(&s);
}

/* Patches of the source, few and many. */
CFS_TEST_SIM(patches_go_along)
{
	struct scene s;

	scene_init(&s, 0);
	s.h->env.patch_max_bytes = 1 << 20;
	assert_int_equal(do_write(&s, 0, 0, 100000), 0);
	for (uint32_t n = 1; n < 60; n++) {
		for (uint32_t k = 0; k < n; k++)
			assert_int_equal(do_write(&s, 0, below(150000), 1 + below(3000)), 0);
		assert_int_equal(do_clone(&s, 1, 0, below(5000), 140000), 0);
		assert_int_equal(do_clone(&s, 2, 1, 100, 200000), 0);
		check_all(&s);
	}
	scene_fini(&s);
}

/* Cleaning moves what is shared once: without that the store would not hold it. */
CFS_TEST_SIM(cleaning_keeps_shares)
{
	struct cfs_store_stats st;
	struct scene s;
	uint64_t all, unique;

	scene_init(&s, 64ull << 20);
	/* Two small ones that come and go lie between the parts of a large one. */
	for (uint32_t c = 0; c < CHUNKS; c++) {
		for (uint64_t off = 0; off < CFS_CHUNK_BYTES; off += 32768) {
			assert_int_equal(do_write(&s, 0, c * CFS_CHUNK_BYTES + off, 32768), 0);
			for (uint32_t k = 0; k < 12; k++)
				assert_int_equal(do_write(&s, 2, 0, 65536), 0);
		}
		assert_int_equal(do_clone(&s, 1, 0, c * CFS_CHUNK_BYTES, CFS_CHUNK_BYTES), 0);
	}
	unique = unique_blocks(&s, &all);
	for (uint32_t k = 0; k < 3000; k++) {
		assert_int_equal(do_write(&s, 2, below(15) * 65536, 65536), 0);
		if (k % 64 == 0)
			cfs_sleep_ns(50000000);
	}
	cfs_store_stats(s.h->stores[0], &st);
	assert_true(st.segments_cleaned > 10);
	assert_true(st.relocated_bytes > 0);
	check_all(&s);
	assert_int_equal(do_drop(&s, 2), 0);
	unique = unique_blocks(&s, &all);
	assert_int_equal(all, 2 * BYTES / CFS_BLOCK_BYTES);
	assert_int_equal(unique, BYTES / CFS_BLOCK_BYTES);
	harness_kill(s.h, false);
	harness_start(s.h);
	check_all(&s);
	assert_int_equal(unique_blocks(&s, &all), unique);
	scene_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_stay_apart),
		cmocka_unit_test(shared_blocks_are_counted_once),
		cmocka_unit_test(older_cuts_are_refused),
		cmocka_unit_test(patches_go_along),
		cmocka_unit_test(cleaning_keeps_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
