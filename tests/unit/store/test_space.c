/* Space on a simulated device: full, cleaned, and a journal that wraps by checkpoints. */
#include "lib/counts.h"
#include "toy.h"

#define SIZE (64ull << 20)

struct space {
	struct toy *t;
	struct cfs_sim_disk *disk;
	struct cfs_device *dev;
	struct cfs_store_opts opts;
};

static CFS_AWAITS void space_open(struct space *c)
{
	assert_int_equal(cfs_sim_disk_open(c->disk, &c->dev), 0);
	assert_int_equal(toy_open(c->t, c->dev, 0, &c->opts), 0);
	cfs_group_init(&c->t->fibers);
	assert_int_equal(cfs_group_start(&c->t->fibers, toy_ticker, c->t), 0);
}

static CFS_AWAITS void space_close(struct space *c)
{
	cfs_store_check(c->t->store);
	assert_int_equal(toy_close(c->t), 0);
	cfs_device_close(c->dev);
	assert_int_equal(c->t->findings, 0);
}

static CFS_AWAITS void space_begin(struct space *c, uint64_t bytes)
{
	struct cfs_sim_disk_opts d = { .size_bytes = bytes,
				       .latency_min_ns = 10000,
				       .latency_max_ns = 100000 };
	const uint8_t uuid[16] = { 9 };

	*c = (struct space){ .t = toy_create(),
			     .opts = { .tail_bytes = 8 << 20, .flush_interval_ns = 20000000 } };
	assert_int_equal(cfs_sim_disk_create(&d, &c->disk), 0);
	assert_int_equal(cfs_sim_disk_mkfs(c->disk, 1, TOY_SHARDS, uuid, uuid), 0);
	space_open(c);
}

static CFS_AWAITS void space_end(struct space *c)
{
	space_close(c);
	cfs_sim_disk_destroy(c->disk);
	toy_destroy(c->t);
}

/* Puts values of @blocks until @limit blocks are live or the store is full. Returns the last code.
 */
static CFS_AWAITS int fill_up(struct space *c, uint32_t blocks, uint64_t limit, uint32_t *keys_out)
{
	uint64_t seed = 1;
	uint32_t n = 0;
	int rc = 0;

	for (; n < TOY_SHARDS * TOY_KEYS && (uint64_t)n * blocks + blocks <= limit; n++) {
		rc = toy_put(c->t, n % TOY_SHARDS, n / TOY_SHARDS, blocks, seed++);
		if (rc < 0)
			break;
	}
	*keys_out = n;
	return rc;
}

CFS_TEST_SIM(says_enospc_and_deletes_when_full)
{
	struct cfs_store_stats st;
	struct space c;
	uint32_t keys;

	space_begin(&c, SIZE);
	assert_int_equal(fill_up(&c, 51, UINT64_MAX, &keys), -ENOSPC);
	cfs_store_stats(c.t->store, &st);
	/* The toy reserves twice what it needs. */
	assert_true(st.live_bytes <= st.capacity_bytes);
	assert_true(st.live_bytes + 3 * 51 * 4096 > st.capacity_bytes);
	assert_int_equal(toy_put(c.t, 0, 0, 51, 77), -ENOSPC);
	for (uint32_t i = 0; i < keys; i++)
		assert_int_equal(toy_del(c.t, i % TOY_SHARDS, i / TOY_SHARDS), 0);
	assert_int_equal(fill_up(&c, 51, UINT64_MAX, &keys), -ENOSPC);
	assert_true((uint64_t)keys * 51 * 4096 + 3 * 51 * 4096 > st.capacity_bytes);
	toy_verify(c.t);
	space_close(&c);
	space_open(&c);
	toy_verify(c.t);
	space_end(&c);
}

CFS_TEST_SIM(says_enospc_when_cleaning_gains_nothing)
{
	struct space c;
	uint32_t keys;

	/* Of 255 blocks the toy uses 192, and what is moved wastes as much as what it leaves. */
	space_begin(&c, SIZE);
	assert_int_equal(fill_up(&c, 64, UINT64_MAX, &keys), -ENOSPC);
	assert_int_equal(toy_put(c.t, 0, 0, 64, 77), -ENOSPC);
	for (uint32_t i = 0; i < keys / 2; i++)
		assert_int_equal(toy_del(c.t, i % TOY_SHARDS, i / TOY_SHARDS), 0);
	assert_int_equal(toy_put(c.t, 0, 0, 64, 78), 0);
	toy_verify(c.t);
	space_end(&c);
}

/* Overwrites at random five times the store's size, @percent full. */
static CFS_AWAITS void overwrite(struct space *c, uint32_t percent, uint32_t blocks)
{
	struct cfs_store_stats st;
	uint64_t written = 0, seed = 1u << 20;
	uint32_t keys;

	cfs_store_stats(c->t->store, &st);
	assert_int_equal(fill_up(c, blocks, st.capacity_bytes / 4096 * percent / 100, &keys), 0);
	while (written < 5 * SIZE) {
		uint32_t k = (uint32_t)(cfs_rand_u64() % keys);
		int rc = toy_put(c->t, k % TOY_SHARDS, k / TOY_SHARDS, blocks, seed++);

		if (rc < 0)
			print_error("after %lu MiB: %s\n", (unsigned long)(written >> 20),
				    cfs_err_name(rc));
		assert_int_equal(rc, 0);
		written += (uint64_t)blocks * 4096;
	}
	cfs_store_stats(c->t->store, &st);
	print_message(
		"%u %% full, %u blocks: %lu segments cleaned, %lu MiB relocated, %lu checkpoints\n",
		percent, blocks, (unsigned long)st.segments_cleaned,
		(unsigned long)(st.relocated_bytes >> 20), (unsigned long)st.checkpoints);
	toy_verify(c->t);
}

CFS_TEST_SIM(cleans_at_80_percent)
{
	struct space c;

	space_begin(&c, SIZE);
	overwrite(&c, 80, 51);
	assert_true(c.t->relocations > 0);
	space_close(&c);
	space_open(&c);
	toy_verify(c.t);
	space_end(&c);
}

CFS_TEST_SIM(cleans_at_95_percent)
{
	struct space c;

	space_begin(&c, SIZE);
	overwrite(&c, 95, 51);
	space_close(&c);
	space_open(&c);
	toy_verify(c.t);
	space_end(&c);
}

CFS_TEST_SIM(wraps_the_journal_by_checkpoints)
{
	struct cfs_store_stats st;
	struct space c;
	uint64_t seed = 1, rounds = cfs_test_count(2, 4);

	space_begin(&c, SIZE);
	for (uint32_t round = 0; round < rounds; round++) {
		uint64_t journal = 0;

		/* Some shards are busy, others hold old records that pin the journal. */
		if (round % 2 == 0)
			for (uint32_t s = 0; s < TOY_SHARDS; s++)
				assert_int_equal(toy_put(c.t, s, 3, 2, seed++), 0);
		while (journal < 40ull << 20) {
			assert_int_equal(toy_put(c.t, 1 + round % 2, (uint32_t)seed % 9, 1, seed),
					 0);
			seed++;
			if (seed % 3 == 0)
				assert_int_equal(cfs_store_sync(c.t->store), 0);
			cfs_store_stats(c.t->store, &st);
			journal = st.journal_bytes;
		}
		cfs_store_stats(c.t->store, &st);
		assert_true(st.checkpoints > 0);
		space_close(&c);
		space_open(&c);
		toy_verify(c.t);
	}
	space_end(&c);
}

CFS_TEST_SIM(refuses_a_reservation_that_never_fits)
{
	struct cfs_reservation r = { .record_bytes = 1u << 30, .records = 1 };
	struct space c;

	space_begin(&c, SIZE);
	assert_int_equal(cfs_store_reserve(c.t->store, &r), -EINVAL);
	r = (struct cfs_reservation){ .alloc_blocks = 1u << 24 };
	assert_int_equal(cfs_store_reserve(c.t->store, &r), -ENOSPC);
	space_end(&c);
}

CFS_TEST_SIM(fails_for_changes_after_a_write_error)
{
	struct cfs_reservation r = { .record_bytes = 10, .records = 1 };
	uint64_t index;
	struct space c;

	space_begin(&c, SIZE);
	assert_int_equal(toy_put(c.t, 0, 1, 4, 5), 0);
	assert_int_equal(cfs_store_sync(c.t->store), 0);
	for (uint64_t off = 0; off < 8; off++) /* whichever journal write comes next */
		cfs_sim_disk_fail_at(c.disk, (1 << 20) + 4096 * (1 + off * 2), 1);
	index = c.t->shards[0].index;
	assert_int_equal(toy_put(c.t, 0, 2, 4, 6), 0);
	while (cfs_store_sync(c.t->store) == 0)
		assert_int_equal(toy_put(c.t, 0, 2, 4, 6 + index++), 0);
	assert_int_equal(cfs_store_sync(c.t->store), -EIO);
	assert_int_equal(cfs_store_reserve(c.t->store, &r), -EIO);
	toy_verify(c.t); /* reads go on */
	assert_int_equal(toy_close(c.t), -EIO);
	cfs_device_close(c.dev);
	/* What was placed is in the tail. */
	cfs_sim_disk_fail_clear(c.disk);
	space_open(&c);
	toy_verify(c.t);
	space_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_enospc_and_deletes_when_full),
		cmocka_unit_test(says_enospc_when_cleaning_gains_nothing),
		cmocka_unit_test(cleans_at_80_percent),
		cmocka_unit_test(cleans_at_95_percent),
		cmocka_unit_test(wraps_the_journal_by_checkpoints),
		cmocka_unit_test(refuses_a_reservation_that_never_fits),
		cmocka_unit_test(fails_for_changes_after_a_write_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
