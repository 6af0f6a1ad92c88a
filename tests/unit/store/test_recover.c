/*
 * Recovery in situations that seeds (test_crash) seldom meet.
 *
 * Parts of the journal were let go, and written over, since its newest segment was opened. The
 * roots of that segment are then older than what the shards need, and the headers of the segments
 * that were let go still say that they are the journal's. Here the journal has three segments:
 * shard 0 has its records in the first two, and rests; checkpoints of all shards count; the second
 * segment is given to data, which goes over its first blocks. What the first one holds is still as
 * it was.
 *
 * And the power goes while what an earlier power cut took is cut off.
 */
#define TOY_SHARDS 16u /* their cuts fill more than a sector */
#include "store/store_internal.h"
#include "toy.h"

#define SERVER_DOMAIN 7u
#define OVER_BLOCKS 64u /* of the second segment that are written over */
#define ROUNDS_MAX 100u

struct stage {
	struct toy *t;
	struct cfs_sim_disk *disk;
	struct cfs_device *dev;
	struct cfs_done over;
	/* What happens to shard 0, ... */
	uint32_t first, second; /* records in the first segment, in the second */
	bool is_cut;            /* at the start of the second, all of those in the first go */
	bool is_checkpointed;   /* in the first segment already */
	bool is_resumed;        /* another record, after its segments were let go */
	/* ... and to all. */
	bool is_power;
	uint64_t want; /* its last record, then */

	uint64_t off[TOY_SHARDS]; /* bytes on the device that a power cut took */
	uint32_t off_count;
	uint64_t cut_write; /* the second power cut comes at this write of recovery */
};

/* Puts and syncs until the journal has @segments. */
static CFS_AWAITS void fill_journal(struct stage *g, uint32_t segments)
{
	struct toy *t = g->t;

	for (uint32_t i = 0; t->store->journal.count < segments; i++) {
		cfs_assert(toy_put(t, 1 + i % (TOY_SHARDS - 1), i % 8, 1, 1 + i) == 0);
		cfs_assert(cfs_store_sync(t->store) == 0);
	}
}

static CFS_AWAITS void put_synced(struct stage *g, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		cfs_assert(toy_put(g->t, 0, i % 8, 1, 1000 + i) == 0);
		cfs_assert(cfs_store_sync(g->t->store) == 0);
	}
}

/* Writes checkpoints of shards from @first up to @end, and waits until they count. */
static CFS_AWAITS void checkpoint(struct stage *g, uint32_t first, uint32_t end)
{
	struct toy *t = g->t;
	uint32_t waiting = 1;

	for (uint32_t i = first; i < end; i++)
		if (t->shards[i].index > 0)
			cfs_assert(toy_checkpoint(t, i) == 0);
	for (uint32_t n = 0; waiting > 0; n++) {
		cfs_assert(n < ROUNDS_MAX);
		cfs_assert(toy_tick(t) == 0);
		cfs_assert(cfs_sleep_ns(1000000) == 0);
		waiting = 0;
		for (uint32_t i = first; i < end; i++)
			waiting += t->store->shards[i].pending.is_there;
	}
}

/* Data goes to @zone, which was the journal's, and a flush of the drive's own covers it. */
static CFS_AWAITS void write_over(struct stage *g, uint32_t zone)
{
	struct toy *t = g->t;
	const struct cfs_segment *seg = &t->store->space.segments[zone];

	for (uint32_t i = 0; seg->stream != CFS_STREAM_HOT || seg->fill <= OVER_BLOCKS; i++) {
		cfs_assert(i < ROUNDS_MAX);
		cfs_assert(toy_put(t, 1, i % 8, TOY_BLOCKS_MAX, 2000 + i) == 0);
	}
	cfs_device_flush_coming(g->dev);
	cfs_assert(cfs_device_flush(g->dev) == 0);
}

static CFS_AWAITS void start(struct stage *g)
{
	/* Nothing is written out but for who asks. */
	struct cfs_store_opts o = { .tail_bytes = 4 << 20, .flush_interval_ns = 3600000000000 };

	cfs_assert(cfs_sim_disk_open(g->disk, &g->dev) == 0);
	cfs_assert(toy_open(g->t, g->dev, 0, &o) == 0);
}

static void first_life(void *arg)
{
	struct stage *g = arg;

	start(g);
	put_synced(g, g->first);
	if (g->is_checkpointed) {
		checkpoint(g, 0, 1);
		put_synced(g, g->first);
	}
	fill_journal(g, 2);
	cfs_done_complete(&g->over, 0);
}

static void second_life(void *arg)
{
	struct stage *g = arg;
	uint32_t zone;

	if (g->is_cut)
		g->t->cut_at = g->is_checkpointed ? g->first : 0;
	start(g);
	put_synced(g, g->second);
	fill_journal(g, 3);
	zone = g->t->store->journal.segments[1].zone;
	checkpoint(g, g->is_cut ? 1 : 0, TOY_SHARDS);
	cfs_assert(g->t->store->journal.count == 1);
	write_over(g, zone);
	if (g->is_resumed)
		cfs_assert(toy_put(g->t, 0, 1, 1, 3000) == 0);
	cfs_done_complete(&g->over, 0);
}

static void die(struct stage *g, bool is_power)
{
	cfs_test_lose_memory();
	cfs_domain_abandon(SERVER_DOMAIN);
	cfs_store_abandon(g->t->store);
	cfs_device_close(g->dev);
	if (is_power)
		cfs_sim_disk_power_cut(g->disk);
	else
		cfs_sim_disk_kill(g->disk);
	toy_forget(g->t);
}

static void power_goes(void *arg)
{
	struct stage *g = arg;

	die(g, true);
	cfs_done_complete(&g->over, 0);
}

/* Runs @life to its end, or until the power goes. */
static CFS_AWAITS void live(struct stage *g, void (*life)(void *arg))
{
	struct cfs_group group;
	uint32_t old;

	cfs_group_init(&group);
	cfs_group_init(&g->t->fibers);
	cfs_done_init(&g->over);
	old = cfs_domain_set(SERVER_DOMAIN);
	assert_int_equal(cfs_group_start(&group, life, g), 0);
	cfs_domain_set(old);
	cfs_done_wait_always(&g->over);
}

static void setup(struct stage *g)
{
	struct cfs_sim_disk_opts d = { .size_bytes = 64 << 20,
				       .latency_min_ns = 10000,
				       .latency_max_ns = 200000 };
	const uint8_t uuid[16] = { 1, 2, 3 };

	g->t = toy_create();
	assert_int_equal(cfs_sim_disk_create(&d, &g->disk), 0);
	assert_int_equal(cfs_sim_disk_mkfs(g->disk, 1, TOY_SHARDS, uuid, uuid), 0);
}

/* Opens once more, compares, and ends. */
static CFS_AWAITS void finish(struct stage *g)
{
	start(g);
	toy_verify(g->t);
	assert_int_equal(g->t->shards[0].index, g->want);
	if (g->t->findings)
		print_error("finding: %s\n", g->t->last_finding);
	assert_int_equal(g->t->findings, 0);
	assert_int_equal(toy_close(g->t), 0);
	cfs_device_close(g->dev);
	cfs_sim_disk_destroy(g->disk);
	toy_destroy(g->t);
}

static int run(void *arg)
{
	struct stage *g = arg;

	setup(g);
	live(g, first_life);
	die(g, false);
	live(g, second_life);
	die(g, g->is_power);
	finish(g);
	return 0;
}

static void run_both(struct stage g)
{
	struct cfs_runtime_opts o = { .is_sim = true, .sim_seed = 1 };

	g.is_power = false;
	assert_int_equal(cfs_test_run(&o, run, &g), 0);
	g.is_power = true;
	g.want -= g.is_resumed; /* that one was not synced */
	assert_int_equal(cfs_test_run(&o, run, &g), 0);
}

/* Its last records are written over, and none follows: the checkpoint has them. */
static void keeps_a_shard_that_rests(void **state)
{
	(void)state;
	run_both((struct stage){ .first = 10, .second = 10, .want = 20 });
}

/* One follows, which no BATCH says to be flushed. */
static void keeps_a_shard_that_wakes_up(void **state)
{
	(void)state;
	run_both((struct stage){ .first = 10, .second = 10, .is_resumed = true, .want = 21 });
}

/* The cut of its records is written over, the records are not. */
static void brings_back_nothing_that_was_cut_off(void **state)
{
	(void)state;
	run_both((struct stage){ .first = 10, .is_cut = true, .want = 0 });
	run_both((struct stage){ .first = 10, .is_cut = true, .is_resumed = true, .want = 1 });
}

/* The same behind a checkpoint. */
static void brings_back_nothing_behind_a_checkpoint(void **state)
{
	(void)state;
	run_both(
		(struct stage){ .first = 10, .is_checkpointed = true, .is_cut = true, .want = 10 });
	run_both((struct stage){ .first = 10,
				 .is_checkpointed = true,
				 .is_cut = true,
				 .is_resumed = true,
				 .want = 11 });
}

/* ---- the power goes twice ---- */

/* One record of each shard, whose data the first power cut takes. */
static void put_in_each(void *arg)
{
	struct stage *g = arg;

	start(g);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		cfs_assert(toy_put(g->t, i, 0, 1, 1 + i) == 0);
	cfs_assert(cfs_store_sync(g->t->store) == 0);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		g->off[g->off_count++] = cfs_device_off(g->dev, 0, g->t->shards[i].keys[0].addr);
	cfs_done_complete(&g->over, 0);
}

static CFS_AWAITS void write_out(struct cfs_store *s)
{
	cfs_lock_take_always(&s->journal.round_lock);
	cfs_assert(cfs_journal_round(s, false) == 0);
	cfs_lock_release(&s->journal.round_lock);
}

/* Two batches, of which no flush is known; the first power cut takes the end of the first one. */
static void put_in_two_batches(void *arg)
{
	struct stage *g = arg;
	struct cfs_store *s;
	const struct cfs_journal_segment *seg;

	start(g);
	s = g->t->store;
	cfs_assert(toy_put(g->t, 0, 0, 1, 1) == 0);
	seg = &s->journal.segments[0];
	g->off[g->off_count++] =
		cfs_device_off(g->dev, 0, (cfs_addr_t)seg->zone << 32 | (1 + seg->roots_blocks)) +
		s->tail.head - seg->start_pos;
	cfs_assert(toy_put(g->t, 1, 0, 1, 2) == 0);
	write_out(s);
	cfs_assert(toy_put(g->t, 2, 0, 1, 3) == 0);
	write_out(s);
	cfs_device_flush_coming(g->dev);
	cfs_assert(cfs_device_flush(g->dev) == 0);
	cfs_done_complete(&g->over, 0);
}

static void only_start(void *arg)
{
	struct stage *g = arg;

	start(g);
	cfs_done_complete(&g->over, 0);
}

static int cut_twice(struct stage *g, void (*life)(void *arg))
{
	setup(g);
	live(g, life);
	die(g, true);
	for (uint32_t i = 0; i < g->off_count; i++)
		cfs_sim_disk_flip(g->disk, g->off[i], 1);
	/* What is gone is so from now on. */
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		g->t->shards[i].index = i == 0 ? g->want : 0;
	cfs_sim_disk_at_write(g->disk, cfs_sim_disk_writes(g->disk) + g->cut_write, power_goes, g);
	live(g, only_start);
	cfs_sim_disk_at_write(g->disk, 0, NULL, NULL);
	if (g->t->store)
		die(g, true);
	finish(g);
	return 0;
}

static int lose_data(void *arg)
{
	return cut_twice(arg, put_in_each);
}

static int lose_a_batch(void *arg)
{
	return cut_twice(arg, put_in_two_batches);
}

/* The second power cut comes in each write of recovery, and takes this and that of it. */
static void run_cuts(int (*fn)(void *arg), uint64_t want)
{
	for (uint64_t seed = 0; seed < 96; seed++) {
		struct cfs_runtime_opts o = { .is_sim = true, .sim_seed = seed };
		struct stage g = { .want = want, .cut_write = 1 + seed % 3 };

		assert_int_equal(cfs_test_run(&o, fn, &g), 0);
	}
}

/* The batch with the cuts comes through in part. */
static void cuts_off_for_good(void **state)
{
	(void)state;
	run_cuts(lose_data, 0);
}

/* The last block comes through, closed now, and what begins the new session does not. */
static void goes_on_from_nothing_old(void **state)
{
	(void)state;
	run_cuts(lose_a_batch, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_a_shard_that_rests),
		cmocka_unit_test(keeps_a_shard_that_wakes_up),
		cmocka_unit_test(brings_back_nothing_that_was_cut_off),
		cmocka_unit_test(brings_back_nothing_behind_a_checkpoint),
		cmocka_unit_test(cuts_off_for_good),
		cmocka_unit_test(goes_on_from_nothing_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
