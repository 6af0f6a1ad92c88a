/*
 * Chunks of one shard against an array of bytes: writes of all sizes, holes, trims, reads, merging
 * with a small budget, cleaning, over restarts and checkpoints; what is damaged is refused.
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

#include "../meta/harness.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "data/data.h"
#include "lib/test_fiber.h"
#include "net/net.h"

#define INO 12345ull
#define CHUNKS 3u
#define BYTES (CHUNKS * CFS_CHUNK_BYTES)
#define READ_BYTES 60000u

static const struct harness_opts opts = { .shards = 2, .stores = 1 };

struct scene {
	struct harness *h;
	uint8_t *model, *buf;
	uint64_t cut;
	uint64_t seed;
	uint64_t base; /* the chunk of the file where the model begins */
};

static uint64_t below(uint64_t n)
{
	return cfs_rand_u64() % n;
}

static CFS_AWAITS void scene_init(struct scene *s)
{
	*s = (struct scene){ .h = malloc(sizeof(*s->h)) };
	harness_init(s->h, &opts);
	s->h->env.patch_max_bytes = 96 * 1024;
	s->model = calloc(1, BYTES);
	s->buf = malloc(CFS_CHUNK_BYTES);
	assert_non_null(s->model);
	assert_non_null(s->buf);
}

static CFS_AWAITS void scene_fini(struct scene *s)
{
	assert_int_equal(harness_check(s->h), 0);
	harness_fini(s->h);
	free(s->h);
	free(s->model);
	free(s->buf);
}

/* A request to the data part, as it is. */
static CFS_AWAITS int serve(struct scene *s, struct cfs_msg *m, struct cfs_shard_request *rq)
{
	m->kind = CFS_MSG_REQUEST;
	cfs_msg_set(m, ino, INO);
	*rq = (struct cfs_shard_request){ .msg = m };
	cfs_shard_serve_local(s->h->shards[0], rq);
	return cfs_msg_is_set(&rq->reply, rc) ? (int)rq->reply.rc : 0;
}

static CFS_AWAITS int chunk_op(struct scene *s, uint16_t op, uint64_t off, uint64_t len,
			       const uint8_t *data, struct cfs_shard_request *rq)
{
	struct cfs_msg m = { .op = op };
	int rc;

	if (op == CFS_OP_CHUNK_ZERO) {
		cfs_msg_set(&m, off, s->base * CFS_CHUNK_BYTES + off);
	} else {
		cfs_msg_set(&m, chunk, s->base + off / CFS_CHUNK_BYTES);
		cfs_msg_set(&m, off, off % CFS_CHUNK_BYTES);
	}
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, cut, s->cut);
	if (data)
		cfs_msg_set_bytes(&m, data, data, (uint32_t)len);
	rc = serve(s, &m, rq);
	return rc;
}

static CFS_AWAITS int do_write(struct scene *s, uint64_t off, const uint8_t *data, uint64_t len)
{
	struct cfs_shard_request rq;

	return chunk_op(s, CFS_OP_CHUNK_WRITE, off, len, data, &rq);
}

static CFS_AWAITS int do_trim(struct scene *s, uint64_t size, uint64_t cut)
{
	struct cfs_msg m = { .op = CFS_OP_CHUNK_TRIM };
	struct cfs_shard_request rq;

	cfs_msg_set(&m, size, s->base * CFS_CHUNK_BYTES + size);
	cfs_msg_set(&m, cut, cut);
	return serve(s, &m, &rq);
}

/* Reads within one chunk, checks the checksums, compares. */
static CFS_AWAITS void check_range(struct scene *s, uint64_t off, uint64_t len)
{
	struct cfs_shard_request rq;
	uint64_t first = (off + 4095) / 4096, last = (off + len) / 4096;
	int rc = chunk_op(s, CFS_OP_CHUNK_READ, off, len, NULL, &rq);

	if (rc < 0)
		fail_msg("seed %llu: read: %s", (unsigned long long)s->seed, cfs_err_name(rc));
	assert_int_equal(rq.reply.data.len, len);
	for (uint64_t k = 0; k < len; k++)
		if (rq.reply.data.p[k] != s->model[off + k])
			fail_msg("seed %llu: byte %llu is %u, not %u", (unsigned long long)s->seed,
				 (unsigned long long)(off + k), rq.reply.data.p[k],
				 s->model[off + k]);
	assert_int_equal(cfs_msg_is_set(&rq.reply, crcs) ? rq.reply.crcs.len : 0,
			 last > first ? 4 * (last - first) : 0);
	for (uint64_t b = first; b < last; b++) {
		uint32_t crc;

		memcpy(&crc, rq.reply.crcs.p + 4 * (b - first), 4);
		assert_int_equal(crc, cfs_crc32c(0, s->model + b * 4096, 4096));
	}
	cfs_buf_put(rq.reply_buf);
}

static CFS_AWAITS void check_all(struct scene *s)
{
	for (uint64_t at = 0; at < BYTES; at += 32768)
		check_range(s, at, 32768);
}

static uint64_t some_len(void)
{
	switch (below(8)) {
	case 0:
		return 65536 + below(CFS_CHUNK_BYTES - 65536);
	case 1:
		return 4096 * (1 + below(40));
	case 2:
	case 3:
		return 1 + below(30000);
	default:
		return 1 + below(500);
	}
}

/* A range within one chunk; small ones crowd together. */
static void some_range(uint64_t *off, uint64_t *len)
{
	uint64_t chunk = below(CHUNKS) * CFS_CHUNK_BYTES, in;

	*len = some_len();
	in = *len < 600 ? below(60000) : below(CFS_CHUNK_BYTES);
	if (below(3) == 0)
		in = cfs_round_down(in, 4096);
	if (in + *len > CFS_CHUNK_BYTES)
		*len = CFS_CHUNK_BYTES - in;
	*off = chunk + in;
}

static void report(void *ctx, const char *what)
{
	(void)ctx;
	fail_msg("%s", what);
}

/* What st_blocks is to be; blocks that patches alone make are not told of by the walk: asked for.
 */
static CFS_AWAITS int64_t blocks_of(struct scene *s)
{
	struct cfs_msg m = { .op = CFS_OP_CHUNK_SEEK };
	struct cfs_shard_request rq;
	int64_t blocks = 0;

	cfs_msg_set(&m, seed, 0);
	cfs_msg_set(&m, cut, s->cut);
	cfs_msg_set(&m, whence, SEEK_DATA);
	for (uint64_t b = 0; b < BYTES / 4096; b++) {
		cfs_msg_set(&m, off, s->base * CFS_CHUNK_BYTES + b * 4096);
		cfs_msg_set(&m, len, 4096);
		blocks += serve(s, &m, &rq) == 0 ? 8 : 0;
	}
	return blocks;
}

static CFS_AWAITS void step(struct scene *s)
{
	struct cfs_shard_request rq;
	uint64_t off, len;
	struct cfs_data_stats st;
	int64_t blocks;
	int rc = 0;

	some_range(&off, &len);
	switch (below(12)) {
	case 0:
		if (below(3) == 0) /* over several chunks */
			len = 1 + below(BYTES - off);
		blocks = blocks_of(s);
		rc = chunk_op(s, CFS_OP_CHUNK_ZERO, off, len, NULL, &rq);
		assert_int_equal(rq.reply.blocks, blocks_of(s) - blocks);
		memset(s->model + off, 0, len);
		break;
	case 1:
		if (below(4))
			break;
		off = below(BYTES);
		rc = do_trim(s, off, ++s->cut);
		memset(s->model + off, 0, BYTES - off);
		break;
	case 2:
	case 3:
		check_range(s, off, CFS_MIN(len, (uint64_t)READ_BYTES));
		break;
	default:
		for (uint64_t k = 0, x = cfs_rand_u64(); k < len; k++)
			s->buf[k] = (uint8_t)(1 + cfs_hash_u64(x + k / 64) % 255);
		rc = do_write(s, off, s->buf, len);
		memcpy(s->model + off, s->buf, len);
		break;
	}
	if (rc < 0)
		fail_msg("seed %llu: %s", (unsigned long long)s->seed, cfs_err_name(rc));
	cfs_data_stats(s->h->shards[0], &st);
	assert_true(st.blocks <= BYTES / 4096);
	s->h->shards[0]->ops[1]->check(s->h->shards[0]->part[1], report, NULL);
}

static CFS_AWAITS void against_model(uint64_t seed, uint32_t steps, uint64_t base)
{
	struct scene s;
	struct cfs_data_stats st;
	uint64_t merges = 0;

	scene_init(&s);
	s.seed = seed;
	s.base = base;
	for (uint32_t k = 0; k < steps; k++) {
		step(&s);
		if (below(4) == 0)
			cfs_sleep_ns(below(2000000));
		if (k % 251 == 250) {
			cfs_sleep_ns(4000000000);
			harness_checkpoint(s.h);
		}
		if (k % 199 == 198) {
			cfs_data_stats(s.h->shards[0], &st);
			merges += st.merges;
			if (below(2))
				harness_stop(s.h);
			else
				harness_kill(s.h, false);
			harness_start(s.h);
			s.h->env.patch_max_bytes = 96 * 1024;
			check_all(&s);
		}
	}
	check_all(&s);
	assert_true(merges > 0);
	scene_fini(&s);
}

CFS_TEST_SIM(random_operations_over_restarts)
{
	/* From the start of a file, over the border of 32-bit numbers, at the end of all there can
	 * be. */
	static const uint64_t bases[] = { 0, 0, (1ull << 32) - 1,
					  CFS_FILE_CHUNKS_MAX - CHUNKS - 1 };

	for (uint64_t seed = 0; seed < CFS_ARRAY_COUNT(bases); seed++)
		against_model(seed, 2000, bases[seed]);
}

/* What is written while a merge reads the blocks below is not lost. */
CFS_TEST_SIM(merges_lose_nothing)
{
	struct scene s;
	struct cfs_data_stats st;

	scene_init(&s);
	s.h->env.patch_max_bytes = 4096;
	memset(s.buf, 1, CFS_CHUNK_BYTES);
	assert_int_equal(do_write(&s, 0, s.buf, CFS_CHUNK_BYTES), 0);
	memset(s.model, 1, CFS_CHUNK_BYTES);
	for (uint32_t k = 0; k < 4000; k++) {
		uint64_t off = below(40000), len = 1 + below(200);

		memset(s.buf, (int)k, len);
		assert_int_equal(do_write(&s, off, s.buf, len), 0);
		memcpy(s.model + off, s.buf, len);
		if (k % 50 == 0)
			harness_sync(s.h); /* so that merges read from the device */
		cfs_sleep_ns(below(60000));
	}
	cfs_data_stats(s.h->shards[0], &st);
	assert_true(st.merges > 20);
	check_all(&s);
	scene_fini(&s);
}

/* --- one version --- */

struct writer {
	struct scene *s;
	uint32_t rounds;
	bool is_done;
};

static CFS_AWAITS void writer_run(void *arg)
{
	struct writer *w = arg;

	for (uint32_t k = 1; k <= w->rounds; k++) {
		memset(w->s->buf, (int)k, CFS_CHUNK_BYTES);
		/* Large ones suspend, those of 40 KiB and odd ones do not. */
		assert_int_equal(
			do_write(w->s, k % 2 ? 0 : 1, w->s->buf, k % 2 ? CFS_CHUNK_BYTES : 40001),
			0);
		cfs_sleep_ns(below(300000));
	}
	w->is_done = true;
}

CFS_TEST_SIM(readers_see_one_version)
{
	struct scene s;
	struct writer w = { .s = &s, .rounds = 200 };
	struct cfs_group g;
	uint32_t reads = 0;

	scene_init(&s);
	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, writer_run, &w), 0);
	while (!w.is_done) {
		struct cfs_shard_request rq;

		assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_READ, 1, 40000, NULL, &rq), 0);
		for (uint32_t k = 1; k < 40000; k++)
			assert_int_equal(rq.reply.data.p[k], rq.reply.data.p[0]);
		cfs_buf_put(rq.reply_buf);
		reads++;
		cfs_sleep_ns(below(200000));
	}
	cfs_group_join(&g);
	assert_true(reads > 50);
	scene_fini(&s);
}

/* --- cuts --- */

CFS_TEST_SIM(older_cuts_are_refused)
{
	struct scene s;
	struct cfs_shard_request rq;
	uint8_t byte[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

	scene_init(&s);
	s.cut = 5;
	assert_int_equal(do_write(&s, 100, byte, 8), 0);
	assert_int_equal(do_trim(&s, 104, 7), 0);
	assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_WRITE, 100, 8, byte, &rq), -CFS_EOLD_CUT);
	assert_int_equal(rq.reply.cut, 7);
	assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_READ, 100, 8, NULL, &rq), -CFS_EOLD_CUT);
	assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_ZERO, 100, 8, NULL, &rq), -CFS_EOLD_CUT);
	/* A chunk that is not there refuses too, also after a restart. */
	harness_stop(s.h);
	harness_start(s.h);
	assert_int_equal(do_write(&s, 2 * CFS_CHUNK_BYTES, byte, 8), -CFS_EOLD_CUT);
	s.cut = 7;
	assert_int_equal(do_write(&s, 104, byte, 8), 0);
	/* A repeated trim spares what is newer. */
	assert_int_equal(do_trim(&s, 104, 7), 0);
	assert_int_equal(do_trim(&s, 0, 6), 0);
	memset(s.model + 100, 1, 12);
	check_range(&s, 0, 4096);
	scene_fini(&s);
}

/* --- damage --- */

static void flip_all(struct harness *h, const uint8_t *what, uint32_t len)
{
	const uint8_t *disk = cfs_sim_disk_data(h->disk), *at = disk;
	uint64_t bytes = cfs_sim_disk_bytes(h->disk);

	while ((at = memmem(at, bytes - (uint64_t)(at - disk), what, len))) {
		cfs_sim_disk_flip(h->disk, (uint64_t)(at - disk) + 1, 4);
		disk = cfs_sim_disk_data(h->disk);
	}
}

CFS_TEST_SIM(damaged_data_is_refused)
{
	struct scene s;
	struct cfs_shard_request rq;
	struct cfs_data_stats st;

	scene_init(&s);
	for (uint32_t k = 0; k < CFS_CHUNK_BYTES; k++)
		s.buf[k] = (uint8_t)cfs_hash_u64(k / 8);
	assert_int_equal(do_write(&s, 0, s.buf, 300000), 0);
	memcpy(s.model, s.buf, 300000);
	harness_sync(s.h);
	flip_all(s.h, s.buf + 10 * 4096, 64);
	harness_stop(s.h);
	harness_start(s.h);
	assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_READ, 9 * 4096, 8192, NULL, &rq), -EIO);
	cfs_buf_put(rq.reply_buf);
	check_range(&s, 0, 10 * 4096);
	check_range(&s, 11 * 4096, 40000);
	cfs_data_stats(s.h->shards[0], &st);
	assert_int_equal(st.bad_reads, 1);
	/* Written over, it is good again; a part of it is not enough. */
	assert_int_equal(do_write(&s, 10 * 4096 + 5, s.buf, 100), 0);
	assert_int_equal(chunk_op(&s, CFS_OP_CHUNK_READ, 10 * 4096, 4096, NULL, &rq), -EIO);
	cfs_buf_put(rq.reply_buf);
	assert_int_equal(do_write(&s, 10 * 4096, s.buf, 4096), 0);
	memcpy(s.model + 10 * 4096, s.buf, 4096);
	check_range(&s, 9 * 4096, 8192);
	scene_fini(&s);
}

CFS_TEST_SIM(damaged_writes_are_refused)
{
	struct scene s;
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_WRITE };
	uint32_t crcs[2];

	scene_init(&s);
	memset(s.buf, 7, 10000);
	cfs_msg_set(&m, chunk, 0);
	cfs_msg_set(&m, off, 4000);
	cfs_msg_set(&m, len, 10000);
	cfs_msg_set(&m, cut, 0);
	cfs_msg_set_bytes(&m, data, s.buf, 10000);
	crcs[0] = cfs_crc32c(0, s.buf, 4096);
	crcs[1] = crcs[0] ^ 1;
	cfs_msg_set_bytes(&m, crcs, (const uint8_t *)crcs, 8);
	assert_int_equal(serve(&s, &m, &rq), -CFS_EBAD_CHECKSUM);
	check_range(&s, 0, 20000);
	cfs_msg_set_bytes(&m, crcs, (const uint8_t *)crcs, 4);
	assert_int_equal(serve(&s, &m, &rq), -EINVAL);
	crcs[1] = crcs[0];
	cfs_msg_set_bytes(&m, crcs, (const uint8_t *)crcs, 8);
	assert_int_equal(serve(&s, &m, &rq), 0);
	memset(s.model + 4000, 7, 10000);
	check_range(&s, 0, 20000);
	scene_fini(&s);
}

/* --- cleaning --- */

struct extents {
	struct cfs_data_fact all[4096];
	uint32_t count;
};

static void extent_add(void *ctx, const struct cfs_data_fact *fact)
{
	struct extents *e = ctx;

	assert_true(e->count < 4096);
	e->all[e->count++] = *fact;
}

static CFS_AWAITS void overwrite_run(void *arg)
{
	struct scene *s = arg;

	for (uint32_t k = 0; k < 60; k++) {
		uint64_t off = below(CFS_CHUNK_BYTES - 20000);

		memset(s->buf, (int)k, 20000);
		assert_int_equal(do_write(s, off, s->buf, 20000), 0);
		memcpy(s->model + off, s->buf, 20000);
		cfs_sleep_ns(below(100000));
	}
}

CFS_TEST_SIM(moved_blocks_are_the_same)
{
	struct scene s;
	struct extents *e = calloc(1, sizeof(*e));
	struct cfs_group g;

	scene_init(&s);
	for (uint32_t k = 0; k < 300; k++) {
		uint64_t off, len;

		some_range(&off, &len);
		memset(s.buf, (int)k, len);
		assert_int_equal(do_write(&s, off, s.buf, len), 0);
		memcpy(s.model + off, s.buf, len);
	}
	cfs_data_walk(s.h->shards[0], extent_add, e);
	assert_true(e->count > 10);
	cfs_group_init(&g);
	assert_int_equal(cfs_group_start(&g, overwrite_run, &s), 0);
	for (uint32_t k = 0; k < e->count; k++) {
		struct cfs_extent_owner o = { .shard = 0,
					      .ino = e->all[k].ino,
					      .chunk = e->all[k].chunk,
					      .block = e->all[k].block };

		assert_int_equal(
			cfs_data_relocate(s.h->shards[0], &o, e->all[k].addr, e->all[k].blocks), 0);
	}
	cfs_group_join(&g);
	check_all(&s);
	/* Nothing is where it was. */
	for (uint32_t k = 0, n = e->count; k < n; k++) {
		struct extents *now = calloc(1, sizeof(*now));

		if (k % 50 == 0) {
			cfs_data_walk(s.h->shards[0], extent_add, now);
			for (uint32_t i = 0; i < now->count; i++)
				assert_false(now->all[i].addr == e->all[k].addr);
		}
		free(now);
	}
	harness_kill(s.h, false);
	harness_start(s.h);
	check_all(&s);
	scene_fini(&s);
	free(e);
}

/* --- seek, drop --- */

CFS_TEST_SIM(seek_finds_data_and_holes)
{
	struct scene s;
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_SEEK };

	scene_init(&s);
	memset(s.buf, 1, 8192);
	assert_int_equal(do_write(&s, 40960, s.buf, 8192), 0);
	assert_int_equal(do_write(&s, 100000, s.buf, 10), 0); /* a patch */
	cfs_msg_set(&m, seed, 0);
	cfs_msg_set(&m, cut, 0);
	cfs_msg_set(&m, off, 5);
	cfs_msg_set(&m, len, CFS_CHUNK_BYTES - 5);
	cfs_msg_set(&m, whence, SEEK_DATA);
	assert_int_equal(serve(&s, &m, &rq), 0);
	assert_int_equal(rq.reply.off, 40960);
	m.whence = SEEK_HOLE;
	assert_int_equal(serve(&s, &m, &rq), 0);
	assert_int_equal(rq.reply.off, 5);
	m.off = 45000;
	assert_int_equal(serve(&s, &m, &rq), 0);
	assert_int_equal(rq.reply.off, 49152);
	m.off = 49152;
	m.whence = SEEK_DATA;
	assert_int_equal(serve(&s, &m, &rq), 0);
	assert_int_equal(rq.reply.off, 98304);
	m.off = 200000;
	assert_int_equal(serve(&s, &m, &rq), -ENXIO);
	/* However far the next data are. */
	s.base = CFS_FILE_CHUNKS_MAX - 2;
	assert_int_equal(do_write(&s, 40, s.buf, 10), 0);
	s.base = 0;
	m.len = CFS_FILE_BYTES_MAX - m.off;
	assert_int_equal(serve(&s, &m, &rq), 0);
	assert_int_equal(rq.reply.off, (CFS_FILE_CHUNKS_MAX - 2) * CFS_CHUNK_BYTES);
	m.whence = SEEK_HOLE;
	assert_int_equal(serve(&s, &m, &rq), -EINVAL); /* so many chunks it does not look at */
	m.len = CFS_FILE_BYTES_MAX;
	m.whence = SEEK_DATA;
	assert_int_equal(serve(&s, &m, &rq), -EINVAL); /* past the last byte there can be */
	scene_fini(&s);
}

CFS_TEST_SIM(dropped_files_leave_nothing)
{
	struct scene s;
	struct cfs_shard_request rq;
	struct cfs_msg m = { .op = CFS_OP_CHUNK_DROP };
	struct cfs_data_stats st;

	scene_init(&s);
	for (uint32_t k = 0; k < 100; k++)
		step(&s);
	assert_int_equal(do_trim(&s, BYTES, ++s.cut), 0);
	assert_int_equal(serve(&s, &m, &rq), 0);
	cfs_data_stats(s.h->shards[0], &st);
	assert_int_equal(st.files, 0);
	assert_int_equal(st.blocks, 0);
	assert_int_equal(st.patch_bytes, 0);
	assert_int_equal(serve(&s, &m, &rq), 0);
	scene_fini(&s);
}

/* --- through a transport, by bulk --- */

static CFS_AWAITS void handle(void *ctx, struct cfs_net_call *call)
{
	struct scene *s = ctx;

	cfs_shard_serve(s->h->shards[0], call);
}

CFS_TEST_SIM(bulk_goes_straight_to_memory)
{
	struct scene s;
	struct cfs_net *server, *client;
	struct cfs_net_opts so = { .addr = "inproc:data/0", .handler = handle, .ctx = &s };
	struct cfs_net_opts co = { .addr = "inproc:data-client/0", .is_client = true };
	struct cfs_net_peer *peer;
	struct cfs_net_region region;
	struct cfs_net_reply reply;
	struct cfs_buf *buf;
	char err[256];

	scene_init(&s);
	assert_int_equal(cfs_net_open(&so, &server, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_open(&co, &client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(client, cfs_net_addr(server), &peer), 0);
	assert_int_equal(cfs_buf_get(CFS_CHUNK_BYTES, &buf), 0);
	for (uint32_t k = 0; k < 40; k++) {
		uint64_t off = below(2) ? 4096 * below(100) : below(400000);
		uint64_t len = 65536 + below(500000);
		struct cfs_msg m = { .kind = CFS_MSG_REQUEST,
				     .op = k % 2 ? CFS_OP_CHUNK_READ : CFS_OP_CHUNK_WRITE };
		uint8_t *at = buf->data + (below(2) ? 0 : off % 4096);

		assert_int_equal(cfs_net_region_open(client, at, len, &region), 0);
		cfs_msg_set(&m, ino, INO);
		cfs_msg_set(&m, chunk, 0);
		cfs_msg_set(&m, off, off);
		cfs_msg_set(&m, len, len);
		cfs_msg_set(&m, cut, 0);
		cfs_net_region_set(&m, &region);
		if (k % 2) {
			memset(at, 0xee, len);
		} else {
			for (uint64_t i = 0; i < len; i++)
				at[i] = (uint8_t)cfs_hash_u64(k + i / 32);
			memcpy(s.model + off, at, len);
		}
		assert_int_equal(cfs_net_call(peer, &m, &reply), 0);
		assert_false(cfs_msg_is_set(&reply.msg, rc) && reply.msg.rc < 0);
		if (k % 2) {
			uint64_t first = (off + 4095) / 4096, last = (off + len) / 4096;

			assert_memory_equal(at, s.model + off, len);
			assert_int_equal(reply.msg.crcs.len, 4 * (last - first));
			for (uint64_t b = first; b < last; b++) {
				uint32_t crc;

				memcpy(&crc, reply.msg.crcs.p + 4 * (b - first), 4);
				assert_int_equal(crc, cfs_crc32c(0, s.model + b * 4096, 4096));
			}
		}
		cfs_net_reply_fini(&reply);
		cfs_net_region_close(client, &region);
	}
	cfs_buf_put(buf);
	cfs_net_peer_close(peer);
	cfs_net_close(client);
	cfs_net_close(server);
	check_all(&s);
	scene_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_over_restarts),
		cmocka_unit_test(merges_lose_nothing),
		cmocka_unit_test(readers_see_one_version),
		cmocka_unit_test(older_cuts_are_refused),
		cmocka_unit_test(damaged_data_is_refused),
		cmocka_unit_test(damaged_writes_are_refused),
		cmocka_unit_test(moved_blocks_are_the_same),
		cmocka_unit_test(seek_finds_data_and_holes),
		cmocka_unit_test(dropped_files_leave_nothing),
		cmocka_unit_test(bulk_goes_straight_to_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
