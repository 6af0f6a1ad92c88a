/* The transport within a process: every case on one core, and calls between two. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "cases.h"
#include "lib/test_fiber.h"

static const struct net_case kind = {
	.server_addr = "inproc:test/0",
	.client_addr = "inproc:",
	.rounds = 1000,
};

#define CASE(name) \
	CFS_TEST_FIBER(name) \
	{ \
		case_##name(&kind); \
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

CFS_TEST_FIBER(name_is_taken_once)
{
	struct cfs_net_opts opts = { .addr = "inproc:test/0" };
	struct cfs_net *a, *b;
	char err[200];

	assert_int_equal(cfs_net_open(&opts, &a, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_open(&opts, &b, err, sizeof(err)), -EADDRINUSE);
	assert_non_null(strstr(err, "inproc:test/0"));
	cfs_net_close(a);
	assert_int_equal(cfs_net_open(&opts, &a, err, sizeof(err)), 0);
	cfs_net_close(a);
	opts.addr = "carrier-pigeon:0";
	assert_int_equal(cfs_net_open(&opts, &a, err, sizeof(err)), -EINVAL);
}

/* --- two cores --- */

static struct pair far; /* its server runs on core 1 */

static CFS_AWAITS int far_open(void *arg)
{
	(void)arg;
	cfs_waitq_init(&far.gate);
	pair_server_open(&far, kind.server_addr, 0);
	return 0;
}

static CFS_AWAITS int far_close(void *arg)
{
	(void)arg;
	cfs_net_close(far.server);
	return 0;
}

static CFS_AWAITS int far_gate_open(void *arg)
{
	(void)arg;
	cfs_waitq_wake_all(&far.gate);
	return 0;
}

static CFS_AWAITS void far_run(void *arg) /* CFS_FIBER_ENTRY */
{
	uint32_t *failures = arg;

	for (uint32_t i = 0; i < 50; i++)
		if (pair_echo(&far, i, "over there") != 0)
			*failures += 1;
}

CFS_TEST_FIBER_CORES(two_cores, 2)
{
	struct cfs_net_opts opts = { .addr = "inproc:", .is_client = true };
	uint8_t *mem = malloc(CFS_IO_BYTES_MAX), *want = malloc(CFS_IO_BYTES_MAX);
	struct cfs_msg req = { .op = CFS_OP_CHUNK_READ };
	struct cfs_net_region r;
	struct cfs_net_reply reply;
	struct cfs_group g;
	uint32_t failures = 0;
	uint64_t before_ns;
	char err[200];

	assert_true(mem && want);
	far = (struct pair){ .kind = &kind };
	assert_int_equal(cfs_core_call(1, far_open, NULL), 0);
	assert_int_equal(cfs_net_open(&opts, &far.client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(far.client, kind.server_addr, &far.peer), 0);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(cfs_group_start(&g, far_run, &failures), 0);
	cfs_group_join(&g);
	assert_int_equal(failures, 0);
	assert_int_equal(far.served, 200 * 50);

	/* The other core writes our memory. */
	pattern_fill(want, CFS_IO_BYTES_MAX, 42);
	assert_int_equal(cfs_net_region_open(far.client, mem, CFS_IO_BYTES_MAX, &r), 0);
	cfs_msg_set(&req, ino, 42);
	cfs_msg_set(&req, chunk, 0);
	cfs_msg_set(&req, off, 0);
	cfs_msg_set(&req, len, CFS_IO_BYTES_MAX);
	cfs_msg_set(&req, cut, 0);
	cfs_net_region_set(&req, &r);
	assert_int_equal(cfs_net_call(far.peer, &req, &reply), 0);
	assert_int_equal(reply.msg.rc, 0);
	cfs_net_reply_fini(&reply);
	assert_memory_equal(mem, want, CFS_IO_BYTES_MAX);
	cfs_net_region_close(far.client, &r);

	/* A caller that leaves early, whose answer comes when its endpoint is gone. */
	req = (struct cfs_msg){ .op = CFS_OP_FSYNC };
	cfs_msg_set(&req, ino, 1);
	before_ns = cfs_deadline_narrow(cfs_now_ns() + 20000000);
	assert_true(cfs_net_call(far.peer, &req, &reply) == -ETIMEDOUT ||
		    reply.msg.rc == -ETIMEDOUT);
	cfs_deadline_restore(before_ns);
	cfs_net_peer_close(far.peer);
	cfs_net_close(far.client);
	assert_int_equal(cfs_core_call(1, far_gate_open, NULL), 0);
	assert_int_equal(cfs_core_call(1, far_close, NULL), 0);
	free(mem);
	free(want);
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
		cmocka_unit_test(name_is_taken_once),
		cmocka_unit_test(two_cores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
