/* Starting a node: the epoch only goes up, shards keep their slices, whatever the engine does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "base/err.h"
#include "ctl/map.h"
#include "ctl/mem.h"
#include "lib/test_fiber.h"

#define SHARDS 16
#define UUID_KEY "/claudefs/01020304-0506-0708-090a-0b0c0d0e0f10/"

static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t hash_key[16] = { 9 };
static const uint16_t core_of_slice[4] = { 0, 1, 1, 0 };
static const char core_addr[2][128] = { "inproc:a/0", "inproc:a/1" };

struct world {
	struct cfs_ctl_mem *mem;
	struct cfs_ctl *ctl;
	struct cfs_map_start start;
	struct cfs_map map;
	uint16_t *slice_of;
	char why[CFS_MAP_WHY_BYTES];
};

static void world_init(struct world *w)
{
	*w = (struct world){ .start = { .uuid = uuid,
					.hash_key = hash_key,
					.shards = SHARDS,
					.slices = 4,
					.cores = 2,
					.core_of_slice = core_of_slice,
					.core_addr = core_addr } };
	assert_int_equal(cfs_ctl_mem_create(3, &w->mem), 0);
	assert_int_equal(cfs_ctl_mem_open(w->mem, &w->ctl), 0);
}

static void drop_map(struct world *w)
{
	cfs_map_fini(&w->map);
	free(w->slice_of);
	w->slice_of = NULL;
}

static void world_fini(struct world *w)
{
	cfs_ctl_close(w->ctl);
	cfs_ctl_mem_destroy(w->mem);
}

static int start(struct world *w)
{
	return cfs_map_start_node(w->ctl, &w->start, &w->map, &w->slice_of, w->why);
}

CFS_TEST_SIM(makes_the_map_and_raises_the_epoch)
{
	struct world w;
	uint64_t epoch;

	world_init(&w);
	assert_int_equal(cfs_map_epoch(w.ctl, uuid, &epoch), 0);
	assert_int_equal(epoch, 0);
	assert_int_equal(start(&w), 0);
	assert_int_equal(w.map.epoch, 1);
	assert_int_equal(w.map.shards, SHARDS);
	assert_int_equal(w.map.cores, 2);
	assert_memory_equal(w.map.uuid, uuid, 16);
	assert_memory_equal(w.map.hash_key, hash_key, 16);
	assert_string_equal(w.map.core_addr[1], "inproc:a/1");
	for (uint32_t i = 0; i < SHARDS; i++) {
		assert_int_equal(w.slice_of[i], i % 4);
		assert_int_equal(w.map.core_of[i], core_of_slice[i % 4]);
		assert_int_equal(w.map.epoch_of[i], 1);
	}
	drop_map(&w);
	assert_int_equal(start(&w), 0);
	assert_int_equal(w.map.epoch, 2);
	assert_int_equal(w.map.epoch_of[SHARDS - 1], 2);
	drop_map(&w);
	assert_int_equal(cfs_map_epoch(w.ctl, uuid, &epoch), 0);
	assert_int_equal(epoch, 2);
	world_fini(&w);
}

/* The control file was lost: the stores say how far epochs went, and where shards are. */
CFS_TEST_SIM(starts_again_from_the_stores)
{
	uint16_t hints[SHARDS];
	struct world w;

	world_init(&w);
	for (uint32_t i = 0; i < SHARDS; i++)
		hints[i] = i < 4 ? 3 : CFS_MAP_SLICE_UNKNOWN;
	w.start.slice_of = hints;
	w.start.min_epoch = 41;
	assert_int_equal(start(&w), 0);
	assert_int_equal(w.map.epoch, 42);
	assert_int_equal(w.slice_of[0], 3);
	assert_int_equal(w.slice_of[3], 3);
	assert_int_equal(w.slice_of[5], 1);
	drop_map(&w);
	/* An old control file whose epoch is behind the stores'. */
	w.start.min_epoch = 100;
	assert_int_equal(start(&w), 0);
	assert_int_equal(w.map.epoch, 101);
	drop_map(&w);
	world_fini(&w);
}

CFS_TEST_SIM(refuses_a_missing_store)
{
	uint16_t hints[SHARDS];
	uint64_t epoch;
	struct world w;

	world_init(&w);
	assert_int_equal(start(&w), 0);
	drop_map(&w);
	w.start.slices = 3;
	assert_int_equal(start(&w), -EINVAL);
	assert_non_null(strstr(w.why, "a store is missing"));
	w.start.slices = 4;
	for (uint32_t i = 0; i < SHARDS; i++)
		hints[i] = (uint16_t)((i + 1) % 4);
	w.start.slice_of = hints;
	assert_int_equal(start(&w), -EINVAL);
	assert_non_null(strstr(w.why, "order"));
	w.start.slice_of = NULL;
	w.start.shards = SHARDS * 2;
	assert_int_equal(start(&w), -CFS_EBAD_FORMAT);
	assert_int_equal(cfs_map_epoch(w.ctl, uuid, &epoch), 0);
	assert_int_equal(epoch, 1); /* nothing was changed */
	world_fini(&w);
}

CFS_TEST_SIM(refuses_a_damaged_map)
{
	struct cfs_ctl_put put = { .key = UUID_KEY "map/00000" };
	struct cfs_ctl_txn txn = { .puts = &put, .puts_count = 1 };
	struct cfs_ctl_list l = { 0 };
	struct world w;

	world_init(&w);
	assert_int_equal(start(&w), 0);
	drop_map(&w);
	assert_int_equal(cfs_ctl_get(w.ctl, put.key, &l), 0);
	l.kvs[0].value[l.kvs[0].len_bytes - 2] ^= 1;
	put.value = l.kvs[0].value;
	put.len_bytes = l.kvs[0].len_bytes;
	assert_int_equal(cfs_ctl_txn(w.ctl, &txn, NULL), 0);
	cfs_ctl_list_fini(&l);
	assert_int_equal(start(&w), -CFS_EBAD_CHECKSUM);
	assert_non_null(strstr(w.why, "damaged"));
	world_fini(&w);
}

/* Answers that were lost: it goes on, and no epoch is handed out twice. */
CFS_TEST_SIM(bears_a_bad_engine)
{
	struct cfs_ctl_mem_faults faults = { .fail_ppm = 200000,
					     .lost_ppm = 400000,
					     .delay_max_ns = 5000000 };
	uint64_t epoch = 0;
	struct world w;

	world_init(&w);
	cfs_ctl_mem_faults_set(w.mem, &faults);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(start(&w), 0);
		assert_true(w.map.epoch > epoch);
		epoch = w.map.epoch;
		drop_map(&w);
	}
	assert_true(epoch > 50); /* some answers were lost */
	world_fini(&w);
}

struct starter {
	struct world *w;
	uint64_t epochs[8];
};

static void start_many(void *arg)
{
	struct starter *s = arg;

	for (int i = 0; i < 8; i++) {
		struct cfs_map map;
		uint16_t *slice_of;
		char why[CFS_MAP_WHY_BYTES];

		assert_int_equal(cfs_map_start_node(s->w->ctl, &s->w->start, &map, &slice_of, why),
				 0);
		s->epochs[i] = map.epoch;
		cfs_map_fini(&map);
		free(slice_of);
	}
}

/* Several that start at once never get the same epoch. */
CFS_TEST_SIM(gives_each_start_its_own_epoch)
{
	struct cfs_ctl_mem_faults faults = { .delay_max_ns = 5000000 };
	struct starter s[3];
	struct cfs_group g;
	uint64_t seen = 0;
	struct world w;

	world_init(&w);
	cfs_ctl_mem_faults_set(w.mem, &faults);
	cfs_group_init(&g);
	for (int i = 0; i < 3; i++) {
		s[i].w = &w;
		assert_int_equal(cfs_group_start(&g, start_many, &s[i]), 0);
	}
	cfs_group_join(&g);
	for (int i = 0; i < 24; i++) {
		uint64_t epoch = s[i / 8].epochs[i % 8];

		assert_in_range(epoch, 1, 24);
		assert_false(seen & 1ull << epoch);
		seen |= 1ull << epoch;
	}
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_the_map_and_raises_the_epoch),
		cmocka_unit_test(starts_again_from_the_stores),
		cmocka_unit_test(refuses_a_missing_store),
		cmocka_unit_test(refuses_a_damaged_map),
		cmocka_unit_test(bears_a_bad_engine),
		cmocka_unit_test(gives_each_start_its_own_epoch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
