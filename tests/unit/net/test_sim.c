/* The simulated network: every case with delays, and what only it can do: losses, repetitions,
 * cuts, kills, the same run again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "cases.h"
#include "lib/test_fiber.h"

#define US 1000ull
#define MS (1000 * US)

static const struct cfs_net_sim_opts quiet = { .delay_min_ns = 5 * US, .delay_max_ns = 500 * US };

static struct net_case kind_make(void)
{
	struct net_case kind = {
		.server_addr = "sim:server/0",
		.client_addr = "sim:client/0",
		.rounds = 200,
	};

	assert_int_equal(cfs_net_sim_create(&quiet, &kind.sim), 0);
	return kind;
}

#define CASE(name) \
	CFS_TEST_SIM(name) \
	{ \
		struct net_case kind = kind_make(); \
		case_##name(&kind); \
		cfs_net_sim_destroy(kind.sim); \
	}
CASE(echo)
CASE(many)
CASE(credits)
CASE(deadline)
CASE(cancel)
CASE(large)
CASE(bulk)
CASE(bulk_cancel)
CASE(flipped)
CASE(bad_reply)
CASE(reconnect)
CASE(close_busy)
CASE(garbage)

/* Every loss is found out, in about a second, and calls go on. */
CFS_TEST_SIM(losses)
{
	struct net_case kind = kind_make();
	struct cfs_net_sim_opts lossy = quiet;
	struct cfs_net_stats stats;
	struct pair p;

	lossy.loss_ppm = 50000;
	lossy.dup_ppm = 50000;
	pair_open(&p, &kind, 0);
	cfs_net_sim_tune(kind.sim, &lossy);
	for (uint32_t i = 0; i < 500; i++) {
		uint64_t start_ns = cfs_now_ns();
		int rc = pair_echo(&p, i, "lost?");

		assert_true(rc == 0 || rc == -CFS_EDISCONNECTED);
		assert_true(cfs_now_ns() - start_ns < 5000 * MS);
	}
	cfs_net_stats(p.client, &stats);
	assert_true(stats.disconnects > 10);
	assert_true(stats.replies_received > 300);
	cfs_net_sim_tune(kind.sim, &quiet);
	pair_echo_retry(&p, 1, "healed", 5000);
	pair_close(&p);
	cfs_net_sim_destroy(kind.sim);
}

CFS_TEST_SIM(cuts)
{
	static const char *const ways[][2] = { { "sim:client", "sim:server" },
					       { "sim:server", "sim:client" } };
	struct net_case kind = kind_make();
	struct pair p;

	pair_open(&p, &kind, 0);
	for (uint32_t i = 0; i < 6; i++) {
		const char *const *way = ways[i % 2];
		uint64_t start_ns;

		pair_echo_retry(&p, i, "before", 5000);
		cfs_net_sim_cut(kind.sim, way[0], way[1], true);
		start_ns = cfs_now_ns();
		assert_int_equal(pair_echo(&p, i, "cut"), -CFS_EDISCONNECTED);
		assert_in_range(cfs_now_ns() - start_ns, 600 * MS, 1100 * MS);
		cfs_net_sim_cut(kind.sim, way[0], way[1], false);
		pair_echo_retry(&p, i, "after", 1000);
	}
	pair_close(&p);
	cfs_net_sim_destroy(kind.sim);
}

/* A slow server whose network answers is waited for. */
CFS_TEST_SIM(slow_is_not_gone)
{
	struct net_case kind = kind_make();
	struct cfs_msg req = { .op = CFS_OP_FSYNC };
	struct cfs_net_reply reply;
	uint64_t before_ns;
	struct pair p;

	pair_open(&p, &kind, 0);
	cfs_msg_set(&req, ino, 1);
	before_ns = cfs_deadline_narrow(cfs_now_ns() + 60000 * MS);
	assert_int_equal(cfs_net_call(p.peer, &req, &reply), -ETIMEDOUT);
	cfs_deadline_restore(before_ns);
	/* And a connection that is idle for long is still there. */
	assert_int_equal(cfs_sleep_ns(3600000 * MS), 0);
	assert_int_equal(pair_echo(&p, 1, "after an hour"), 0);
	pair_close(&p);
	cfs_net_sim_destroy(kind.sim);
}

struct reader {
	struct pair *p;
	struct cfs_net_region r;
	int rc;
};

static CFS_AWAITS void reader_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct reader *c = arg;
	struct cfs_msg req = { .op = CFS_OP_CHUNK_READ };
	struct cfs_net_reply reply;

	cfs_msg_set(&req, ino, 42);
	cfs_msg_set(&req, chunk, 0);
	cfs_msg_set(&req, off, 0);
	cfs_msg_set(&req, len, c->r.len_bytes);
	cfs_msg_set(&req, cut, 0);
	cfs_net_region_set(&req, &c->r);
	c->rc = cfs_net_call(c->p->peer, &req, &reply);
	if (c->rc == 0)
		cfs_net_reply_fini(&reply);
	memset(c->r.local, 9, c->r.len_bytes);
}

/* A caller that leaves while its memory is being written comes back when that is over. The region
 * stays open here, so nothing but the fence holds the writer off. */
CFS_TEST_SIM(leaves_during_rma)
{
	static const struct cfs_net_sim_opts slow = { .delay_min_ns = 20 * MS,
						      .delay_max_ns = 30 * MS };
	struct net_case kind = kind_make();
	uint8_t mem[1024];
	struct reader c = { 0 };
	struct pair p;

	pair_open(&p, &kind, 0);
	assert_int_equal(pair_echo(&p, 1, "connect"), 0);
	cfs_net_sim_tune(kind.sim, &slow);
	c.p = &p;
	assert_int_equal(cfs_net_region_open(p.client, mem, sizeof(mem), &c.r), 0);
	for (uint32_t after_ms = 31; after_ms < 140; after_ms += 2) {
		struct cfs_group g;

		cfs_group_init(&g);
		assert_int_equal(cfs_group_start(&g, reader_run, &c), 0);
		assert_int_equal(cfs_sleep_ns(after_ms * MS), 0);
		cfs_group_cancel(&g);
		cfs_group_join(&g);
		assert_true(c.rc == 0 || c.rc == -ECANCELED);
		assert_int_equal(cfs_sleep_ns(300 * MS), 0);
		for (uint32_t i = 0; i < sizeof(mem); i++)
			assert_int_equal(mem[i], 9);
	}
	cfs_net_region_close(p.client, &c.r);
	pair_close(&p);
	cfs_net_sim_destroy(kind.sim);
}

/* --- kill --- */

static struct pair victim;

static CFS_AWAITS void victim_run(void *arg) /* CFS_FIBER_ENTRY */
{
	(void)arg;
	cfs_domain_set(7);
	pair_server_open(&victim, "sim:server/0", 0);
	for (;;)
		(void)cfs_sleep_ns(1000 * MS);
}

struct waiter {
	struct pair *p;
	int rc;
	uint64_t took_ns;
};

static CFS_AWAITS void waiter_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct waiter *w = arg;
	struct cfs_msg req = { .op = CFS_OP_FSYNC };
	struct cfs_net_reply reply;
	uint64_t start_ns = cfs_now_ns();

	cfs_msg_set(&req, ino, 1);
	w->rc = cfs_net_call(w->p->peer, &req, &reply);
	w->took_ns = cfs_now_ns() - start_ns;
}

CFS_TEST_SIM(kill)
{
	struct net_case kind = kind_make();
	struct cfs_net_opts opts = { .addr = "sim:client/0", .sim = kind.sim, .is_client = true };
	struct waiter w = { .p = &victim };
	struct cfs_group server, g;
	char err[200];

	victim = (struct pair){ .kind = &kind };
	assert_int_equal(cfs_net_open(&opts, &victim.client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(victim.client, "sim:server/0", &victim.peer), 0);
	for (uint32_t i = 0; i < 4; i++) {
		cfs_waitq_init(&victim.gate);
		cfs_group_init(&server);
		cfs_group_init(&g);
		assert_int_equal(cfs_group_start(&server, victim_run, NULL), 0);
		pair_echo_retry(&victim, i, "alive", 3000);
		assert_int_equal(cfs_group_start(&g, waiter_run, &w), 0);
		assert_int_equal(cfs_sleep_ns(300 * MS), 0);
		assert_int_equal(victim.at_gate, i + 1);
		/* Both orders. */
		if (i % 2 == 0)
			cfs_domain_abandon(7);
		cfs_net_sim_kill(kind.sim, "sim:server");
		if (i % 2 == 1)
			cfs_domain_abandon(7);
		cfs_group_join(&g);
		assert_int_equal(w.rc, -CFS_EDISCONNECTED);
		assert_true(w.took_ns < 1400 * MS);
	}
	cfs_net_peer_close(victim.peer);
	cfs_net_close(victim.client);
	cfs_net_sim_destroy(kind.sim);
}

/* --- the same seed, the same run --- */

static uint64_t trace[2];

static CFS_AWAITS int noisy_run(void *arg)
{
	uint64_t *hash = arg;
	struct net_case kind = kind_make();
	struct cfs_net_sim_opts noisy = quiet;
	struct pair p;

	noisy.loss_ppm = 30000;
	noisy.dup_ppm = 30000;
	cfs_net_sim_tune(kind.sim, &noisy);
	pair_open(&p, &kind, 0);
	for (uint32_t i = 0; i < 300; i++) {
		uint64_t rc = (uint64_t)(int64_t)pair_echo(&p, i, "again");

		*hash = cfs_hash_u64(*hash + rc) ^ cfs_now_ns();
	}
	pair_close(&p);
	cfs_net_sim_destroy(kind.sim);
	return 0;
}

static void repeats(void **state)
{
	struct cfs_runtime_opts opts = { .is_sim = true, .sim_seed = 5 };

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		trace[i] = 0;
		assert_int_equal(cfs_runtime_run(&opts, noisy_run, &trace[i]), 0);
	}
	assert_int_equal(trace[0], trace[1]);
	opts.sim_seed = 6;
	trace[1] = 0;
	assert_int_equal(cfs_runtime_run(&opts, noisy_run, &trace[1]), 0);
	assert_int_not_equal(trace[0], trace[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo),
		cmocka_unit_test(many),
		cmocka_unit_test(credits),
		cmocka_unit_test(deadline),
		cmocka_unit_test(cancel),
		cmocka_unit_test(large),
		cmocka_unit_test(bulk),
		cmocka_unit_test(bulk_cancel),
		cmocka_unit_test(flipped),
		cmocka_unit_test(bad_reply),
		cmocka_unit_test(reconnect),
		cmocka_unit_test(close_busy),
		cmocka_unit_test(garbage),
		cmocka_unit_test(losses),
		cmocka_unit_test(cuts),
		cmocka_unit_test(slow_is_not_gone),
		cmocka_unit_test(leaves_during_rma),
		cmocka_unit_test(kill),
		cmocka_unit_test(repeats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
