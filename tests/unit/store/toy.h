/*
 * A toy shard layer for tests of the store: each shard is a table of keys, a key's value is a run
 * of blocks whose bytes follow from a seed. Every record is also kept in a list outside of the
 * store, so after a crash the tables can be compared with what the list says up to the shard's last
 * record.
 */
#ifndef CFS_TESTS_STORE_TOY_H
#define CFS_TESTS_STORE_TOY_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "lib/test_fiber.h"
#include "store/device.h"
#include "store/store.h"

#ifndef TOY_SHARDS
#define TOY_SHARDS 4u
#endif
#define TOY_KEYS 64u
#define TOY_BLOCKS_MAX 64u

enum { TOY_PUT = 1, TOY_DEL = 2, TOY_MOVE = 3 };

struct toy_value {
	uint64_t seed; /* 0: no value */
	uint32_t blocks;
	cfs_addr_t addr;
	uint32_t crcs[TOY_BLOCKS_MAX];
};

/* A record's payload. */
struct toy_payload {
	uint32_t key, blocks;
	uint64_t seed, addr, old_addr;
	uint32_t crcs[TOY_BLOCKS_MAX];
};

struct toy_op {
	uint32_t kind, key, blocks;
	uint64_t seed;
};

struct toy_shard {
	uint64_t index;  /* last placed */
	uint64_t synced; /* up to here a sync returned for */
	struct toy_value keys[TOY_KEYS];
	struct toy_op *ops; /* [index - 1]: outside of the store */
	uint64_t op_cap;
};

struct toy {
	struct cfs_store *store;
	uint64_t epoch, tick;
	struct toy_shard shards[TOY_SHARDS];
	uint64_t cut_at; /* the next opening ends shard 0's log there; UINT64_MAX: it does not */
	uint32_t findings;
	bool is_stopping;
	uint8_t *buf; /* TOY_BLOCKS_MAX blocks */
	struct cfs_group fibers;
	uint64_t relocations;
	char last_finding[256];
};

static inline void toy_fill(uint8_t *out, uint64_t seed, uint32_t blocks)
{
	for (uint32_t b = 0; b < blocks; b++) {
		uint64_t x = cfs_hash_u64(seed * 1000003 + b);

		for (uint32_t i = 0; i < CFS_BLOCK_BYTES / 8; i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			memcpy(out + (size_t)b * CFS_BLOCK_BYTES + i * 8, &x, 8);
		}
	}
}

static inline struct toy *toy_create(void)
{
	struct toy *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->epoch = 1;
	t->cut_at = UINT64_MAX;
	t->buf = aligned_alloc(4096, (size_t)TOY_BLOCKS_MAX * CFS_BLOCK_BYTES);
	assert_non_null(t->buf);
	cfs_group_init(&t->fibers);
	return t;
}

static inline void toy_destroy(struct toy *t)
{
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		free(t->shards[i].ops);
	free(t->buf);
	free(t);
}

/* Forgets the tables, as the end of the process does; the lists stay. */
static inline void toy_forget(struct toy *t)
{
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		memset(t->shards[i].keys, 0, sizeof(t->shards[i].keys));
	t->store = NULL;
	t->is_stopping = false;
	t->tick = 0;
}

static inline void toy_log(struct toy_shard *sh, uint32_t kind, uint32_t key, uint32_t blocks,
			   uint64_t seed)
{
	if (sh->index >= sh->op_cap) {
		sh->op_cap = sh->op_cap ? sh->op_cap * 2 : 1024;
		sh->ops = realloc(sh->ops, sh->op_cap * sizeof(*sh->ops));
		cfs_assert(sh->ops != NULL);
	}
	sh->ops[sh->index++] = (struct toy_op){ kind, key, blocks, seed };
}

static inline struct cfs_extent_owner toy_owner(uint32_t shard, uint32_t key)
{
	return (struct cfs_extent_owner){ .shard = shard, .ino = key };
}

/* What a record does to the tables; the same when it is placed and when it is replayed. */
static inline void toy_apply(struct toy *t, uint32_t shard, uint32_t kind,
			     const struct toy_payload *p)
{
	struct toy_value *v = &t->shards[shard].keys[p->key];
	struct cfs_extent_owner owner = toy_owner(shard, p->key);

	if (kind == TOY_MOVE && (v->seed == 0 || v->addr != p->old_addr))
		return;
	if (kind == TOY_PUT && v->seed == p->seed && v->addr == p->addr)
		return; /* the checkpoint had it */
	if (kind != TOY_DEL)
		cfs_store_extent_add(t->store, p->addr, p->blocks, &owner);
	if (v->seed)
		cfs_store_extent_drop(t->store, v->addr, v->blocks);
	memset(v, 0, sizeof(*v));
	if (kind == TOY_DEL)
		return;
	v->seed = p->seed;
	v->blocks = p->blocks;
	v->addr = p->addr;
	memcpy(v->crcs, p->crcs, p->blocks * sizeof(uint32_t));
}

static inline uint32_t toy_payload_bytes(uint32_t blocks)
{
	return (uint32_t)offsetof(struct toy_payload, crcs) + blocks * 4;
}

static inline void toy_place(struct toy *t, uint32_t shard, uint16_t kind,
			     const struct toy_payload *p)
{
	struct toy_shard *sh = &t->shards[shard];
	struct cfs_record r = { .shard = shard,
				.kind = kind,
				.epoch = t->epoch,
				.index = sh->index + 1,
				.payload = (const uint8_t *)p,
				.len_bytes = toy_payload_bytes(p->blocks) };

	cfs_store_place(t->store, &r);
	toy_log(sh, kind, p->key, p->blocks, p->seed);
	toy_apply(t, shard, kind, p);
}

static inline CFS_AWAITS int toy_put(struct toy *t, uint32_t shard, uint32_t key, uint32_t blocks,
				     uint64_t seed)
{
	bool is_small = blocks * CFS_BLOCK_BYTES <= CFS_TAIL_DATA_MAX;
	struct cfs_reservation r = { .record_bytes = toy_payload_bytes(blocks),
				     .records = 1,
				     .tail_blocks = is_small ? blocks : 0,
				     .alloc_blocks = 2 * blocks };
	uint8_t *buf = aligned_alloc(4096, (size_t)blocks * CFS_BLOCK_BYTES);
	struct toy_payload p = { .key = key, .blocks = blocks, .seed = seed };
	uint32_t n;
	int rc = cfs_store_reserve(t->store, &r);

	cfs_assert(buf != NULL);
	if (rc < 0) {
		free(buf);
		return rc;
	}
	toy_fill(buf, seed, blocks);
	cfs_crc32c_blocks(buf, blocks, p.crcs);
	n = cfs_store_alloc(t->store, CFS_STREAM_HOT, blocks, &p.addr);
	r.alloc_blocks -= n;
	if (n < blocks) { /* the toy wants one piece */
		cfs_store_alloc_undo(t->store, p.addr, n);
		n = cfs_store_alloc(t->store, CFS_STREAM_HOT, blocks, &p.addr);
		r.alloc_blocks -= n;
		cfs_assert(n == blocks);
	}
	if (is_small) {
		cfs_store_data_tail(t->store, p.addr, buf, blocks);
		r.tail_blocks = 0;
	} else {
		rc = cfs_store_data_write(t->store, p.addr, buf, blocks);
	}
	free(buf);
	if (rc == 0) {
		toy_place(t, shard, TOY_PUT, &p);
		r.records = r.record_bytes = 0;
	} else {
		cfs_store_alloc_undo(t->store, p.addr, blocks);
	}
	cfs_store_unreserve(t->store, &r);
	return rc;
}

static inline CFS_AWAITS int toy_del(struct toy *t, uint32_t shard, uint32_t key)
{
	struct cfs_reservation r = { .record_bytes = toy_payload_bytes(0),
				     .records = 1,
				     .is_freeing = true };
	struct toy_payload p = { .key = key };
	int rc = cfs_store_reserve(t->store, &r);

	if (rc == 0)
		toy_place(t, shard, TOY_DEL, &p);
	return rc;
}

static inline CFS_AWAITS int toy_relocate(void *ctx, const struct cfs_extent_owner *owner,
					  cfs_addr_t addr, uint32_t blocks)
{
	struct toy *t = ctx;
	struct toy_value *v = &t->shards[owner->shard].keys[owner->ino];
	struct cfs_reservation r = { .record_bytes = toy_payload_bytes(blocks),
				     .records = 1,
				     .alloc_blocks = 2 * blocks,
				     .is_freeing = true,
				     .stream = CFS_STREAM_RELOCATED };
	struct toy_payload p;
	uint8_t *buf;
	uint32_t n;
	int rc;

	/* The same address may have had another owner in an earlier life of its segment. */
	if (v->seed == 0 || v->addr != addr || v->blocks != blocks)
		return 0;
	rc = cfs_store_reserve(t->store, &r);
	if (rc < 0)
		return rc;
	p = (struct toy_payload){
		.key = (uint32_t)owner->ino, .blocks = v->blocks, .seed = v->seed, .old_addr = addr
	};
	if (v->seed == 0 || v->addr != addr || v->blocks != blocks) {
		cfs_store_unreserve(t->store, &r);
		return 0;
	}
	memcpy(p.crcs, v->crcs, sizeof(p.crcs));
	buf = aligned_alloc(4096, (size_t)blocks * CFS_BLOCK_BYTES);
	cfs_assert(buf != NULL);
	n = cfs_store_alloc(t->store, r.stream, blocks, &p.addr);
	r.alloc_blocks -= n;
	if (n < blocks) {
		cfs_store_alloc_undo(t->store, p.addr, n);
		n = cfs_store_alloc(t->store, r.stream, blocks, &p.addr);
		r.alloc_blocks -= n;
		cfs_assert(n == blocks);
	}
	rc = cfs_store_data_read(t->store, addr, buf, blocks, p.crcs);
	if (rc == 0)
		rc = cfs_store_data_write(t->store, p.addr, buf, blocks);
	free(buf);
	/* Perhaps it was overwritten meanwhile. */
	if (rc == 0 && v->seed == p.seed && v->addr == addr) {
		toy_place(t, owner->shard, TOY_MOVE, &p);
		r.records = r.record_bytes = 0;
		t->relocations++;
	} else {
		cfs_store_alloc_undo(t->store, p.addr, blocks);
	}
	cfs_store_unreserve(t->store, &r);
	return rc;
}

static inline CFS_AWAITS int toy_checkpoint(void *ctx, uint32_t shard)
{
	struct toy *t = ctx;
	struct cfs_checkpoint *c;
	int rc = cfs_store_checkpoint_begin(t->store, shard, t->shards[shard].index, &c);

	if (rc < 0)
		return rc;
	for (uint32_t k = 0; k < TOY_KEYS && rc == 0; k++) {
		const struct toy_value *v = &t->shards[shard].keys[k];
		struct toy_payload p = {
			.key = k, .blocks = v->blocks, .seed = v->seed, .addr = v->addr
		};

		if (v->seed == 0)
			continue;
		memcpy(p.crcs, v->crcs, sizeof(p.crcs));
		rc = cfs_store_checkpoint_write(c, &p, sizeof(p));
	}
	return cfs_store_checkpoint_end(c, t->shards[shard].index, rc);
}

/* ---- recovery ---- */

static inline int toy_refs(void *ctx, const struct cfs_record *r, struct cfs_block_ref *out,
			   uint32_t max)
{
	static struct toy_payload p;

	(void)ctx;
	(void)max;
	if (r->len_bytes > sizeof(p))
		return -CFS_EBAD_FORMAT;
	memcpy(&p, r->payload, r->len_bytes);
	if (r->kind == TOY_DEL)
		return 0;
	out[0] = (struct cfs_block_ref){ .addr = p.addr, .blocks = p.blocks, .crcs = p.crcs };
	return 1;
}

static inline int toy_load_checkpoint(void *ctx, uint32_t shard, const uint8_t *data, uint32_t len)
{
	struct toy_payload p;

	cfs_assert(len == sizeof(p));
	memcpy(&p, data, len);
	toy_apply(ctx, shard, TOY_PUT, &p);
	return 0;
}

static inline int toy_load_record(void *ctx, const struct cfs_record *r)
{
	struct toy_payload p = { 0 };

	cfs_assert(r->len_bytes <= sizeof(p));
	memcpy(&p, r->payload, r->len_bytes);
	toy_apply(ctx, r->shard, r->kind, &p);
	return 0;
}

static inline void toy_finding(void *ctx, const char *what)
{
	struct toy *t = ctx;

	t->findings++;
	snprintf(t->last_finding, sizeof(t->last_finding), "%s", what);
	if (getenv("TOY_VERBOSE"))
		fprintf(stderr, "finding: %s\n", what);
}

static inline struct cfs_store_recovery_ops toy_ops(struct toy *t)
{
	return (struct cfs_store_recovery_ops){ .ctx = t,
						.refs = toy_refs,
						.checkpoint = toy_load_checkpoint,
						.record = toy_load_record,
						.finding = toy_finding };
}

/* Opens, recovers, starts. The lists are cut to what the store has. */
static inline CFS_AWAITS int toy_open(struct toy *t, struct cfs_device *dev, uint32_t slice,
				      const struct cfs_store_opts *opts)
{
	struct cfs_store_recovery_ops ops = toy_ops(t);
	uint64_t last[TOY_SHARDS] = { 0 };
	struct cfs_store_recovery_shard rs;
	int rc = cfs_store_open(dev, slice, opts, &t->store);

	if (rc < 0)
		return rc;
	rc = cfs_store_recover_scan(t->store, &ops);
	for (uint32_t i = 0; rc == 0 && i < cfs_store_recover_shard_count(t->store); i++) {
		cfs_store_recover_shard(t->store, i, &rs);
		cfs_assert(rs.shard < TOY_SHARDS);
		last[rs.shard] = rs.last_index;
		t->epoch = CFS_MAX(t->epoch, rs.last_epoch);
	}
	t->epoch++;
	if (rc == 0 && t->cut_at < last[0]) {
		last[0] = t->cut_at;
		cfs_store_recover_cut(t->store, 0, last[0]);
	}
	t->cut_at = UINT64_MAX;
	if (rc == 0)
		rc = cfs_store_recover_load(t->store, &ops, t->epoch);
	for (uint32_t i = 0; rc == 0 && i < TOY_SHARDS; i++) {
		/* Nothing that was not placed. */
		cfs_assert(last[i] <= t->shards[i].index);
		t->shards[i].index = last[i];
	}
	if (rc == 0 && !opts->is_read_only) {
		cfs_store_callbacks(t->store, toy_checkpoint, toy_relocate, t);
		rc = cfs_store_start(t->store);
	}
	if (rc < 0) {
		cfs_store_close(t->store);
		t->store = NULL;
	}
	return rc;
}

/* The tables are what the lists say; every block reads back. Returns the number of values. */
static inline CFS_AWAITS uint32_t toy_verify(struct toy *t)
{
	uint8_t *buf = aligned_alloc(4096, (size_t)TOY_BLOCKS_MAX * CFS_BLOCK_BYTES);
	uint8_t *want = malloc((size_t)TOY_BLOCKS_MAX * CFS_BLOCK_BYTES);
	uint32_t count = 0;

	for (uint32_t i = 0; i < TOY_SHARDS; i++) {
		struct toy_shard *sh = &t->shards[i];

		for (uint32_t k = 0; k < TOY_KEYS; k++) {
			struct toy_value *v = &sh->keys[k];
			struct toy_op last = { 0 };

			for (uint64_t n = sh->index; n > 0; n--) {
				if (sh->ops[n - 1].key != k || sh->ops[n - 1].kind == TOY_MOVE)
					continue;
				last = sh->ops[n - 1];
				break;
			}
			if (v->seed != last.seed || v->blocks != last.blocks) {
				fprintf(stderr, "shard %u key %u index %lu: seed %lx, want %lx\n",
					i, k, (unsigned long)sh->index, (unsigned long)v->seed,
					(unsigned long)last.seed);
				fail();
			}
			if (v->seed == 0)
				continue;
			toy_fill(want, v->seed, v->blocks);
			cfs_addr_t addr = v->addr; /* the cleaner may move it meanwhile */
			cfs_store_pin(t->store, addr);
			int rc = cfs_store_data_read(t->store, addr, buf, v->blocks, v->crcs);
			cfs_store_unpin(t->store, addr);
			if (rc < 0)
				fprintf(stderr, "shard %u key %u addr %lx: %s\n", i, k,
					(unsigned long)addr, cfs_err_name(rc));
			assert_int_equal(rc, 0);
			assert_memory_equal(buf, want, (size_t)v->blocks * CFS_BLOCK_BYTES);
			count++;
		}
	}
	free(buf);
	free(want);
	return count;
}

/* One tick, as the server's ticker does it for its stores. */
static inline CFS_AWAITS int toy_tick(struct toy *t)
{
	uint64_t tick = ++t->tick + 1;
	int rc;

	cfs_store_tick_begin(t->store, tick);
	rc = cfs_store_sync(t->store);
	if (rc == 0)
		cfs_store_tick_stable(t->store, tick - 1);
	return rc;
}

static inline void toy_ticker(void *arg)
{
	struct toy *t = arg;

	while (!t->is_stopping) {
		uint64_t ns = cfs_store_tick_wanted(t->store) ? 1000000 : 20000000;

		if (cfs_sleep_ns(ns) < 0 || toy_tick(t) < 0)
			break;
	}
}

static inline CFS_AWAITS int toy_close(struct toy *t)
{
	int rc;

	t->is_stopping = true;
	cfs_group_cancel(&t->fibers);
	cfs_group_join(&t->fibers);
	rc = cfs_store_close(t->store);
	toy_forget(t);
	return rc;
}

#endif
