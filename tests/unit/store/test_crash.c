/*
 * Crashes of a store on the simulated device, by seeds: at a random device write the process is
 * killed or the power is cut, then it recovers, is compared with the list of what was placed, and
 * goes on. With a tail nothing placed is lost; without one, what remains of each shard is a prefix
 * that has all that a sync returned for.
 */
#include "lib/counts.h"
#include "toy.h"

#define LIVES 4u
#define LIVES_SHORT 8u
#define WORKERS 3u
#define SERVER_DOMAIN 7u

struct crash {
	struct toy *t;
	struct cfs_sim_disk *disk;
	struct cfs_device *dev;
	struct cfs_done over;
	bool is_power, is_over;
	bool is_dense; /* nearly full: the cleaner is at work */
	uint64_t seed, keys, blocks_max;
	uint64_t turn; /* shards take turns of so many steps, and rest in between; 0: none rests */
	uint64_t steps;
};

enum how {
	EVENLY,   /* all shards are busy all the time */
	IN_TURNS, /* shards rest for long */
	SHORTLY,  /* power cuts, most of them while it recovers from the one before */
	HOW_COUNT
};

struct run {
	uint64_t seed;
	enum how how;
};

/* A private stream of random numbers: the store's own dice do not move it. */
static uint64_t dice(struct crash *c)
{
	return cfs_hash_u64(++c->seed * 0x9e3779b97f4a7c15ull);
}

static void crash_now(void *arg)
{
	struct crash *c = arg;

	cfs_test_lose_memory();
	cfs_domain_abandon(SERVER_DOMAIN);
	cfs_store_abandon(c->t->store);
	cfs_device_close(c->dev);
	if (c->is_power)
		cfs_sim_disk_power_cut(c->disk);
	else
		cfs_sim_disk_kill(c->disk);
	c->is_over = true;
	cfs_done_complete(&c->over, 0);
}

static void worker(void *arg)
{
	struct crash *c = arg;
	struct toy *t = c->t;

	while (!t->is_stopping) {
		uint32_t shard = (uint32_t)(dice(c) % TOY_SHARDS);
		uint32_t key = (uint32_t)(dice(c) % c->keys);
		uint64_t what = dice(c) % 100;
		int rc;

		if (c->turn)
			shard = (uint32_t)(c->steps++ / c->turn % TOY_SHARDS);
		if (what < 4) {
			uint64_t placed[TOY_SHARDS];

			for (uint32_t i = 0; i < TOY_SHARDS; i++)
				placed[i] = t->shards[i].index;
			rc = cfs_store_sync(t->store);
			for (uint32_t i = 0; rc == 0 && i < TOY_SHARDS; i++)
				t->shards[i].synced = CFS_MAX(t->shards[i].synced, placed[i]);
		} else if (what < (c->is_dense ? 7 : 14)) {
			rc = toy_del(t, shard, key);
		} else if (what < 17) {
			rc = cfs_sleep_ns(dice(c) % 3000000);
		} else {
			uint32_t blocks = 1 + (uint32_t)(dice(c) % (what < 80 ? 4 : c->blocks_max));

			if (c->is_dense && what > 20)
				blocks = 51; /* five fill a zone */

			rc = toy_put(t, shard, key, blocks, dice(c) | 1);
			if (rc == -ENOSPC)
				rc = cfs_sleep_ns(1000000);
		}
		cfs_assert(rc == 0 || rc == -ECANCELED);
	}
}

static void server(void *arg)
{
	struct crash *c = arg;
	struct cfs_store_opts o = { .tail_bytes = 4 << 20,
				    .cache_bytes = 1 << 20,
				    .flush_interval_ns = 5000000 };
	int rc = toy_open(c->t, c->dev, 0, &o);

	cfs_assert(rc == 0);
	/* Recovery ends with a flush. */
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		c->t->shards[i].synced = c->t->shards[i].index;
	cfs_store_check(c->t->store);
	toy_verify(c->t);
	cfs_assert(cfs_group_start(&c->t->fibers, toy_ticker, c->t) == 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		cfs_assert(cfs_group_start(&c->t->fibers, worker, c) == 0);
}

/* One life, ended at device write @n from now. */
static CFS_AWAITS void live(struct crash *c, uint64_t n, bool is_power)
{
	struct cfs_group g;
	uint32_t old;

	cfs_group_init(&g);
	cfs_group_init(&c->t->fibers);
	cfs_done_init(&c->over);
	c->is_power = is_power;
	c->is_over = false;
	assert_int_equal(cfs_sim_disk_open(c->disk, &c->dev), 0);
	cfs_sim_disk_at_write(c->disk, cfs_sim_disk_writes(c->disk) + n, crash_now, c);
	old = cfs_domain_set(SERVER_DOMAIN);
	assert_int_equal(cfs_group_start(&g, server, c), 0);
	cfs_domain_set(old);
	cfs_done_wait_always(&c->over);
	toy_forget(c->t);
}

/* Opens once more, compares, closes. @is_tail: nothing may be missing. */
static CFS_AWAITS void check(struct crash *c, bool is_tail)
{
	struct cfs_store_opts o = { .tail_bytes = 4 << 20, .is_read_only = true };
	struct cfs_store_recovery_ops ops = toy_ops(c->t);
	struct cfs_store_recovery_shard rs;
	struct cfs_store *s = NULL;
	uint64_t last[TOY_SHARDS] = { 0 };

	assert_int_equal(cfs_sim_disk_open(c->disk, &c->dev), 0);
	assert_int_equal(cfs_store_open(c->dev, 0, &o, &s), 0);
	c->t->store = s;
	assert_int_equal(cfs_store_recover_scan(s, &ops), 0);
	for (uint32_t i = 0; i < cfs_store_recover_shard_count(s); i++) {
		cfs_store_recover_shard(s, i, &rs);
		last[rs.shard] = rs.last_index;
	}
	for (uint32_t i = 0; i < TOY_SHARDS; i++) {
		struct toy_shard *sh = &c->t->shards[i];

		if (last[i] > sh->index || last[i] < sh->synced ||
		    (is_tail && last[i] < sh->index)) {
			print_error("shard %u: last %lu, placed %lu, synced %lu, tail %d\n", i,
				    (unsigned long)last[i], (unsigned long)sh->index,
				    (unsigned long)sh->synced, is_tail);
			fail();
		}
		sh->index = last[i];
		if (!is_tail)
			sh->synced = last[i]; /* what a power cut left is there for good */
	}
	assert_int_equal(cfs_store_recover_load(s, &ops, UINT64_MAX), 0);
	toy_verify(c->t);
	assert_int_equal(cfs_store_close(s), 0);
	cfs_device_close(c->dev);
	toy_forget(c->t);
	if (c->t->findings)
		print_error("finding: %s\n", c->t->last_finding);
	assert_int_equal(c->t->findings, 0);
}

static int run_seed(void *arg)
{
	const struct run *run = arg;
	struct cfs_sim_disk_opts d = { .size_bytes = 64 << 20,
				       .latency_min_ns = 10000,
				       .latency_max_ns = 200000 };
	const uint8_t uuid[16] = { 1, 2, 3 };
	struct crash c = { .t = toy_create(), .seed = run->seed << 32 };

	c.keys = 4 + dice(&c) % (TOY_KEYS - 4);
	c.is_dense = dice(&c) % 6 == 0;
	if (c.is_dense)
		c.keys = TOY_KEYS;
	c.blocks_max = dice(&c) % 2 ? 16 : TOY_BLOCKS_MAX;
	if (run->how == IN_TURNS)
		c.turn = 16ull << dice(&c) % 6;
	assert_int_equal(cfs_sim_disk_create(&d, &c.disk), 0);
	assert_int_equal(cfs_sim_disk_mkfs(c.disk, 1, TOY_SHARDS, uuid, uuid), 0);
	for (uint32_t life = 0; life < (run->how == SHORTLY ? LIVES_SHORT : LIVES); life++) {
		bool is_power = dice(&c) % 2;
		/* Often in the middle of recovery, too. */
		uint64_t n = 1 + dice(&c) % (dice(&c) % 3 == 0 ? 6 : c.is_dense ? 1500 : 600);

		if (run->how == SHORTLY) {
			is_power = true;
			n = 1 + dice(&c) % (life % 4 == 0 ? 300 : 3);
		}
		live(&c, n, is_power);
		if (getenv("TOY_VERBOSE"))
			print_message("life %u: %s after %lu writes, index %lu\n", life,
				      is_power ? "power" : "kill", (unsigned long)n,
				      (unsigned long)c.t->shards[0].index);
		check(&c, !is_power);
	}
	cfs_sim_disk_destroy(c.disk);
	toy_destroy(c.t);
	return 0;
}

static void survives(uint64_t seed, enum how how)
{
	static const char *const names[HOW_COUNT] = { "evenly", "in turns", "shortly" };
	struct cfs_runtime_opts o = { .is_sim = true, .sim_seed = seed };
	struct run run = { seed, how };

	if (getenv("TOY_VERBOSE"))
		print_message("seed %lu, %s\n", (unsigned long)seed, names[how]);
	assert_int_equal(cfs_test_run(&o, run_seed, &run), 0);
}

/* Seeds that have found something. */
static void survives_found_seeds(void **state)
{
	static const struct run found[] = {
		/* A record that was cut off before the checkpoint was replayed after it. */
		{ 1533580370, EVENLY },
		/* A gap where segments had been let go was taken for the log's end, because it was
		 * judged before the BATCH was read that says that all there was flushed. */
		{ 1992337071, EVENLY },
		/* A checkpoint whose blocks a power cut took was found again by the next recovery,
		 * and believed: a newer BATCH said that all before it was flushed. */
		{ 70270, IN_TURNS },
		/* The end's block was closed, and what an earlier power cut had made unreachable
		 * behind it went on: the batch of the same session, where the new one's was lost.
		 */
		{ 70264, SHORTLY },
	};

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(found); i++)
		survives(found[i].seed, found[i].how);
}

static void survives_seeds(void **state)
{
	const char *one = getenv("CFS_SEED");
	uint64_t first = one ? strtoull(one, NULL, 0) : 1;
	uint64_t count = getenv("CFS_COUNTS") || !one ? cfs_test_count(4, 700) : 1;

	(void)state;
	for (uint64_t seed = first; seed < first + count; seed++) {
		for (enum how how = 0; how < HOW_COUNT; how++)
			survives(seed, how);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_found_seeds),
		cmocka_unit_test(survives_seeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
