/*
 * Files on several shards against an array of bytes: writes, appends, truncates, holes, over
 * restarts, kills at any message and the end of power.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "data/data.h"
#include "harness.h"
#include "lib/test_fiber.h"

#define FILE_BYTES (5u * 1024 * 1024)
#define WRITE_BYTES 60000u

static const struct harness_opts opts = { .shards = 8, .stores = 2, .delay_max_ns = 50000 };

struct model {
	uint8_t *data;
	uint64_t size;
};

struct scene {
	struct harness *h;
	struct model m;
	uint64_t ino, seed;
	uint32_t steps;
	bool is_done;
};

static uint64_t below(uint64_t n)
{
	return cfs_rand_u64() % n;
}

static struct cfs_msg request(uint16_t op, uint64_t ino)
{
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST, .op = op };

	cfs_msg_set(&m, ino, ino);
	return m;
}

static CFS_AWAITS int simple_call(struct harness *h, struct cfs_msg *m)
{
	struct cfs_net_reply r;
	int rc = harness_call(h, m, &r);

	cfs_net_reply_fini(&r);
	return rc;
}

/* --- operations --- */

static CFS_AWAITS int do_write(struct scene *s, uint64_t off, const uint8_t *data, uint32_t len,
			       bool is_append)
{
	struct cfs_msg m = request(CFS_OP_WRITE, s->ino);
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, off, is_append ? 0 : off);
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, flags, is_append ? CFS_F_APPEND : 0u);
	cfs_msg_set_bytes(&m, data, data, len);
	rc = harness_call(s->h, &m, &r);
	if (rc == 0) {
		assert_int_equal(r.msg.len, len);
		if (is_append)
			assert_int_equal(r.msg.off, s->m.size);
	}
	cfs_net_reply_fini(&r);
	return rc;
}

/* As a mapped page is written back. How much was written, or an error. */
static CFS_AWAITS int64_t do_write_inside(struct scene *s, uint64_t off, const uint8_t *data,
					  uint32_t len)
{
	struct cfs_msg m = request(CFS_OP_WRITE, s->ino);
	struct cfs_net_reply r;
	int64_t rc;

	cfs_msg_set(&m, off, off);
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, flags, CFS_F_INSIDE);
	cfs_msg_set_bytes(&m, data, data, len);
	rc = harness_call(s->h, &m, &r);
	if (rc == 0) {
		assert_int_equal(r.msg.size, s->m.size);
		rc = (int64_t)r.msg.len;
	}
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int do_truncate(struct scene *s, uint64_t size)
{
	struct cfs_msg m = request(CFS_OP_SETATTR, s->ino);

	cfs_msg_set(&m, valid, CFS_SET_SIZE);
	cfs_msg_set(&m, size, size);
	return simple_call(s->h, &m);
}

static CFS_AWAITS int do_fallocate(struct scene *s, uint32_t mode, uint64_t off, uint64_t len)
{
	struct cfs_msg m = request(CFS_OP_FALLOCATE, s->ino);

	cfs_msg_set(&m, mode, mode);
	cfs_msg_set(&m, off, off);
	cfs_msg_set(&m, len, len);
	return simple_call(s->h, &m);
}

static CFS_AWAITS int do_fsync(struct scene *s)
{
	struct cfs_msg m = request(CFS_OP_FSYNC, s->ino);

	return simple_call(s->h, &m);
}

/* A client's write inside of the size: the chunk, then the inode. */
static CFS_AWAITS int do_direct(struct scene *s, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct cfs_msg m = request(CFS_OP_CHUNK_WRITE, s->ino), w = request(CFS_OP_WROTE, s->ino);
	uint64_t chunk = off / CFS_CHUNK_BYTES;
	struct cfs_net_reply r;
	struct cfs_attr a;
	int rc;

	assert_int_equal(hs_getattr(s->h, s->ino, &a), 0);
	cfs_msg_set(&m, chunk, chunk);
	cfs_msg_set(&m, off, off % CFS_CHUNK_BYTES);
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, cut, a.cut);
	cfs_msg_set_bytes(&m, data, data, len);
	rc = s->h->env.call(s->h->env.ctx, cfs_chunk_shard(s->ino, a.seed, chunk, s->h->o.shards),
			    &m, &r);
	assert_int_equal(rc, 0);
	assert_false(cfs_msg_is_set(&r.msg, rc) && r.msg.rc < 0);
	cfs_msg_set(&w, off, off);
	cfs_msg_set(&w, len, len);
	cfs_msg_set(&w, blocks, r.msg.blocks);
	cfs_net_reply_fini(&r);
	return simple_call(s->h, &w);
}

/* False: the file was trimmed meanwhile. */
static CFS_AWAITS bool read_chunks(struct scene *s, const struct cfs_attr *a, uint8_t *out)
{
	uint64_t at = 0, len;

	for (; at < a->size; at += len) {
		uint64_t chunk = at / CFS_CHUNK_BYTES;
		uint64_t in = at % CFS_CHUNK_BYTES;
		struct cfs_msg m = request(CFS_OP_CHUNK_READ, s->ino);
		struct cfs_net_reply r;
		int rc;

		len = CFS_MIN(CFS_MIN((uint64_t)61440, CFS_CHUNK_BYTES - in), a->size - at);
		cfs_msg_set(&m, chunk, chunk);
		cfs_msg_set(&m, off, in);
		cfs_msg_set(&m, len, len);
		cfs_msg_set(&m, cut, a->cut);
		rc = s->h->env.call(s->h->env.ctx,
				    cfs_chunk_shard(s->ino, a->seed, chunk, s->h->o.shards), &m,
				    &r);
		assert_int_equal(rc, 0);
		if (cfs_msg_is_set(&r.msg, rc) && r.msg.rc == -CFS_EOLD_CUT)
			return false;
		if (cfs_msg_is_set(&r.msg, rc) && r.msg.rc < 0)
			fail_msg("read at %llu: %s", (unsigned long long)at,
				 cfs_err_name((int)r.msg.rc));
		assert_int_equal(r.msg.data.len, len);
		memcpy(out + at, r.msg.data.p, len);
		cfs_net_reply_fini(&r);
	}
	return true;
}

/* All of the file. */
static CFS_AWAITS void read_all(struct scene *s, struct model *out)
{
	struct cfs_attr a;

	do {
		assert_int_equal(hs_getattr(s->h, s->ino, &a), 0);
		assert_true(a.size <= FILE_BYTES);
		out->size = a.size;
		memset(out->data, 0, FILE_BYTES);
	} while (!read_chunks(s, &a, out->data));
}

static CFS_AWAITS void compare(struct scene *s, struct model *now)
{
	read_all(s, now);
	assert_int_equal(now->size, s->m.size);
	for (uint64_t k = 0; k < now->size; k++)
		if (now->data[k] != s->m.data[k])
			fail_msg("seed %llu: byte %llu is %u, not %u", (unsigned long long)s->seed,
				 (unsigned long long)k, now->data[k], s->m.data[k]);
}

/* --- the model --- */

static void model_init(struct model *m)
{
	m->data = calloc(1, FILE_BYTES);
	assert_non_null(m->data);
	m->size = 0;
}

static void model_write(struct model *m, uint64_t off, const uint8_t *data, uint32_t len)
{
	memcpy(m->data + off, data, len);
	m->size = CFS_MAX(m->size, off + len);
}

static void model_truncate(struct model *m, uint64_t size)
{
	if (size < m->size)
		memset(m->data + size, 0, m->size - size);
	m->size = size;
}

static void fill(uint8_t *data, uint32_t len)
{
	uint64_t x = cfs_rand_u64();

	for (uint32_t k = 0; k < len; k++)
		data[k] = (uint8_t)(1 + cfs_hash_u64(x + k / 16) % 255);
}

static uint32_t some_len(void)
{
	switch (below(4)) {
	case 0:
		return (uint32_t)(1 + below(300));
	case 1:
		return (uint32_t)(4096 * (1 + below(8)));
	default:
		return (uint32_t)(1 + below(WRITE_BYTES));
	}
}

/* Mostly near the end, so that files are dense, and on blocks' borders. */
static uint64_t some_off(const struct model *m, uint32_t len)
{
	uint64_t off = below(3) ? below(m->size + 1) : below(FILE_BYTES);

	if (below(2))
		off = cfs_round_down(off, 4096);
	return CFS_MIN(off, (uint64_t)FILE_BYTES - len);
}

static CFS_AWAITS void step(struct scene *s, uint8_t *data, bool with_direct)
{
	uint32_t len = some_len();
	uint64_t off = some_off(&s->m, len), size;
	int rc = 0;

	switch (below(with_direct ? 11 : 10)) {
	case 0:
	case 1:
	case 2:
	case 3:
		fill(data, len);
		rc = do_write(s, off, data, len, false);
		model_write(&s->m, off, data, len);
		break;
	case 4:
	case 5:
		if (s->m.size + len > FILE_BYTES)
			return;
		fill(data, len);
		rc = do_write(s, 0, data, len, true);
		model_write(&s->m, s->m.size, data, len);
		break;
	case 6:
		size = below(3) ? below(s->m.size + 1) : below(FILE_BYTES);
		if (below(4) == 0)
			size = below(CFS_CHUNK_BYTES / 2);
		rc = do_truncate(s, size);
		model_truncate(&s->m, size);
		break;
	case 7:
		rc = do_fallocate(s, 3, off, len); /* a hole */
		if (off < s->m.size)
			memset(s->m.data + off, 0, CFS_MIN((uint64_t)len, s->m.size - off));
		break;
	case 8:
		size = below(2);
		rc = do_fallocate(s, size ? 0x10 : 0, off, len);
		if (size && off < s->m.size)
			memset(s->m.data + off, 0, CFS_MIN((uint64_t)len, s->m.size - off));
		s->m.size = CFS_MAX(s->m.size, off + len);
		break;
	case 9:
		fill(data, len);
		size = off < s->m.size ? CFS_MIN((uint64_t)len, s->m.size - off) : 0;
		assert_int_equal(do_write_inside(s, off, data, len), size);
		memcpy(s->m.data + off, data, size);
		break;
	default:
		len = CFS_MIN(len, (uint32_t)(CFS_CHUNK_BYTES - off % CFS_CHUNK_BYTES));
		if (off + len > s->m.size)
			return;
		fill(data, len);
		rc = do_direct(s, off, data, len);
		model_write(&s->m, off, data, len);
		break;
	}
	if (rc < 0)
		fail_msg("seed %llu: operation: %s", (unsigned long long)s->seed, cfs_err_name(rc));
}

static CFS_AWAITS void scene_init(struct scene *s, struct harness *h, const struct harness_opts *o)
{
	uint64_t dir;

	*s = (struct scene){ .h = h };
	harness_init(h, o);
	model_init(&s->m);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "dir", &dir), 0);
	assert_int_equal(hs_create(h, dir, "file", 0644, CFS_F_EXCL, &s->ino), 0);
	assert_int_equal(cfs_ino_home(s->ino), cfs_ino_home(dir));
}

static CFS_AWAITS uint64_t blocks_here(struct harness *h)
{
	uint64_t blocks = 0;

	for (uint32_t k = 0; k < h->o.shards; k++) {
		struct cfs_data_stats st;

		cfs_data_stats(h->shards[k], &st);
		blocks += st.blocks;
	}
	return blocks;
}

/* --- tests --- */

CFS_TEST_SIM(random_operations_over_restarts)
{
	struct harness *h = malloc(sizeof(*h));
	struct scene s;
	struct model now;
	uint8_t *data = malloc(WRITE_BYTES);

	model_init(&now);
	scene_init(&s, h, &opts);
	for (uint32_t k = 0; k < 600; k++) {
		step(&s, data, true);
		if (k % 50 == 49)
			compare(&s, &now);
		if (k % 100 == 99) {
			if (below(2)) {
				cfs_sleep_ns(4000000000); /* until the one before counts */
				harness_checkpoint(h);
			}
			if (below(2)) {
				harness_stop(h);
			} else {
				harness_kill(h, false);
			}
			harness_start(h);
			compare(&s, &now);
			assert_int_equal(harness_check(h), 0);
		}
	}
	harness_fini(h);
	free(h);
	free(data);
	free(now.data);
	free(s.m.data);
}

static CFS_AWAITS void work_run(void *arg)
{
	struct scene *s = arg;
	uint8_t *data = malloc(WRITE_BYTES);

	for (uint32_t k = 0; k < s->steps; k++)
		step(s, data, false);
	free(data);
	s->is_done = true;
}

CFS_TEST_SIM(killed_at_any_message)
{
	struct harness_opts o = opts;

	o.loss_ppm = 20000;
	o.dup_ppm = 20000;
	for (uint32_t round = 0; round < 12; round++) {
		struct harness *h = malloc(sizeof(*h));
		struct scene s;
		struct model now;
		struct cfs_group g;

		model_init(&now);
		scene_init(&s, h, &o);
		s.seed = round;
		s.steps = 60;
		cfs_group_init(&g);
		assert_int_equal(cfs_group_start(&g, work_run, &s), 0);
		while (!s.is_done) {
			h->crash_at = h->messages + 1 + below(400);
			while (!h->is_crashing && !s.is_done)
				cfs_sleep_ns(100000);
			if (!h->is_crashing)
				break;
			harness_kill(h, false);
			harness_start(h);
		}
		cfs_group_join(&g);
		h->crash_at = 0;
		compare(&s, &now);
		assert_int_equal(harness_check(h), 0);
		harness_fini(h);
		free(h);
		free(now.data);
		free(s.m.data);
	}
}

/* Once a grown size is there, what was cut off before does not come back. */
CFS_TEST_SIM(cut_bytes_stay_away_after_a_power_cut)
{
	struct harness_opts o = opts;
	uint8_t *data = malloc(WRITE_BYTES);
	struct model now;

	o.sync_ppm = 0;
	model_init(&now);
	for (uint32_t round = 0; round < 30; round++) {
		struct harness *h = malloc(sizeof(*h));
		uint64_t end, old = FILE_BYTES - below(4) * CFS_CHUNK_BYTES;
		struct scene s;

		scene_init(&s, h, &o);
		s.seed = round;
		for (uint64_t at = 0; at < old; at += 32768) {
			fill(data, 32768);
			assert_int_equal(do_write(&s, at, data, 32768, false), 0);
			model_write(&s.m, at, data, 32768);
		}
		assert_int_equal(do_fsync(&s), 0);
		assert_int_equal(do_truncate(&s, 100), 0);
		end = 1000000 + below(FILE_BYTES - 1100000);
		fill(data, 5000);
		assert_int_equal(do_write(&s, end, data, 5000, false), 0);
		/* The inode's shard is flushed, the trims of the other store are not. */
		assert_int_equal(cfs_store_sync(h->shards[cfs_ino_home(s.ino)]->store), 0);
		harness_kill(h, true);
		harness_start(h);
		read_all(&s, &now);
		if (now.size == end + 5000) {
			for (uint64_t k = 100; k < end; k++)
				if (now.data[k] != 0)
					fail_msg("round %u: byte %llu came back", round,
						 (unsigned long long)k);
			assert_memory_equal(now.data + end, data, 5000);
		} else if (now.size == 100) {
			/* Grows again: nothing of before. */
			assert_int_equal(do_truncate(&s, old), 0);
			read_all(&s, &now);
			for (uint64_t k = 100; k < old; k++)
				if (now.data[k] != 0)
					fail_msg("round %u: byte %llu came back by growth", round,
						 (unsigned long long)k);
		} else {
			assert_int_equal(now.size, old);
			assert_memory_equal(now.data, s.m.data, old);
		}
		assert_int_equal(harness_check(h), 0);
		harness_fini(h);
		free(h);
		free(s.m.data);
	}
	free(data);
	free(now.data);
}

CFS_TEST_SIM(fsynced_is_there_after_a_power_cut)
{
	struct harness_opts o = opts;
	uint8_t *data = malloc(WRITE_BYTES);
	struct model now;

	o.sync_ppm = 20000;
	model_init(&now);
	for (uint32_t round = 0; round < 12; round++) {
		struct harness *h = malloc(sizeof(*h));
		struct scene s;

		scene_init(&s, h, &o);
		s.seed = round;
		for (uint32_t life = 0; life < 4; life++) {
			for (uint32_t k = 0; k < 15; k++)
				step(&s, data, true);
			assert_int_equal(do_fsync(&s), 0);
			harness_kill(h, true);
			harness_start(h);
			compare(&s, &now);
			assert_int_equal(harness_check(h), 0);
		}
		harness_fini(h);
		free(h);
		free(s.m.data);
	}
	free(data);
	free(now.data);
}

/* Space of a file with chunks everywhere comes back, also over a kill right after the unlink. */
CFS_TEST_SIM(removed_chunks_go)
{
	struct harness *h = malloc(sizeof(*h));
	uint8_t *data = malloc(WRITE_BYTES);
	struct scene s;
	uint64_t dir;

	scene_init(&s, h, &opts);
	for (uint32_t round = 0; round < 4; round++) {
		for (uint64_t at = 0; at < FILE_BYTES; at += 49152) {
			fill(data, 49152);
			assert_int_equal(do_write(&s, at, data, 49152, false), 0);
		}
		assert_true(blocks_here(h) > FILE_BYTES / 4096 - 1);
		assert_int_equal(hs_lookup(h, HARNESS_ROOT, "dir", &dir), 0);
		assert_int_equal(hs_unlink(h, dir, "file"), 0);
		if (round % 2) {
			harness_kill(h, round == 3);
			harness_start(h);
			if (hs_lookup(h, dir, "file", NULL) == 0)
				assert_int_equal(hs_unlink(h, dir, "file"), 0);
		}
		for (uint32_t k = 0; k < 100 && (blocks_here(h) || h->env.drops_pending); k++)
			cfs_sleep_ns(100000000);
		assert_int_equal(blocks_here(h), 0);
		assert_int_equal(h->env.drops_pending, 0);
		assert_int_equal(hs_create(h, dir, "file", 0644, CFS_F_EXCL, &s.ino), 0);
	}
	harness_fini(h);
	free(h);
	free(data);
	free(s.m.data);
}

/* st_blocks is what the chunks hold. */
CFS_TEST_SIM(blocks_are_counted)
{
	struct harness *h = malloc(sizeof(*h));
	uint8_t *data = calloc(1, WRITE_BYTES);
	struct scene s;
	struct cfs_attr a;

	scene_init(&s, h, &opts);
	assert_int_equal(do_write(&s, 0, data, 100, false), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 8);
	assert_int_equal(do_write(&s, 50, data, 8192, false), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 24);
	assert_int_equal(do_write(&s, 3 * CFS_CHUNK_BYTES - 4096, data, 8192, false), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 40);
	assert_int_equal(do_direct(&s, 2 * CFS_CHUNK_BYTES, data, 5000), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 56);
	assert_int_equal(do_fallocate(&s, 3, 3 * CFS_CHUNK_BYTES, 4096), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 48);
	assert_int_equal(do_truncate(&s, CFS_CHUNK_BYTES), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 24);
	assert_int_equal(do_truncate(&s, 4096), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 8);
	assert_int_equal(do_truncate(&s, 0), 0);
	assert_int_equal(hs_getattr(h, s.ino, &a), 0);
	assert_int_equal(a.blocks, 0);
	harness_fini(h);
	free(h);
	free(data);
	free(s.m.data);
}

/* What is written back from a map comes at any time; it does not make the file longer. */
CFS_TEST_SIM(pages_written_back_do_not_grow_a_file)
{
	struct harness *h = malloc(sizeof(*h));
	uint8_t *data = malloc(WRITE_BYTES);
	struct scene s;
	struct model now;

	model_init(&now);
	scene_init(&s, h, &opts);
	fill(data, WRITE_BYTES);
	for (uint64_t size = 100; size < FILE_BYTES; size += CFS_CHUNK_BYTES - 1) {
		uint64_t page = cfs_round_down(size, 4096);

		assert_int_equal(do_truncate(&s, size), 0);
		model_truncate(&s.m, size);
		assert_int_equal(do_write_inside(&s, page, data, 8192), size - page);
		model_write(&s.m, page, data, (uint32_t)(size - page));
		assert_int_equal(do_write_inside(&s, size, data, 4096), 0);
		assert_int_equal(do_write_inside(&s, size + 5000, data, 4096), 0);
		compare(&s, &now);
	}
	assert_int_equal(do_truncate(&s, 0), 0);
	model_truncate(&s.m, 0);
	assert_int_equal(do_write_inside(&s, 0, data, 4096), 0);
	compare(&s, &now);
	assert_int_equal(harness_check(h), 0);
	harness_fini(h);
	free(h);
	free(data);
	free(now.data);
	free(s.m.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_counted),
		cmocka_unit_test(random_operations_over_restarts),
		cmocka_unit_test(killed_at_any_message),
		cmocka_unit_test(cut_bytes_stay_away_after_a_power_cut),
		cmocka_unit_test(fsynced_is_there_after_a_power_cut),
		cmocka_unit_test(removed_chunks_go),
		cmocka_unit_test(pages_written_back_do_not_grow_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
