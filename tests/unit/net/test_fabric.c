/*
 * libfabric: every case over tcp and over shared memory, and what only real processes can show: a
 * server that is killed and started again, a port in use, an idle endpoint that uses no CPU.
 * "test-net-fabric serve ADDR" is that server.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "cases.h"
#include "lib/test_fiber.h"

#define MS 1000000ull

extern char **environ;

static const struct net_case tcp = {
	.server_addr = "tcp:127.0.0.1:0",
	.client_addr = "tcp:",
	.rounds = 300,
};
static char shm_name[64];
static struct net_case shm = {
	.server_addr = shm_name,
	.client_addr = "shm:",
	.rounds = 300,
};

#define CASE(name) \
	CFS_TEST_FIBER(tcp_##name) \
	{ \
		case_##name(&tcp); \
	} \
	CFS_TEST_FIBER(shm_##name) \
	{ \
		case_##name(&shm); \
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
CASE(garbage)

/*
 * Over tcp only: within one process the shared memory provider (1.17) uses the other endpoint's
 * memory as it is, and crashes when it sends to one that was closed. Between processes, see
 * killed_and_restarted, it does not.
 */
CFS_TEST_FIBER(tcp_reconnect)
{
	case_reconnect(&tcp);
}

CFS_TEST_FIBER(tcp_close_busy)
{
	case_close_busy(&tcp);
}

CFS_TEST_FIBER(port_in_use)
{
	struct cfs_net_opts opts = { .addr = "tcp:127.0.0.1:0" };
	struct cfs_net *a, *b;
	char err[200] = "";

	assert_int_equal(cfs_net_open(&opts, &a, err, sizeof(err)), 0);
	opts.addr = cfs_net_addr(a);
	assert_int_equal(cfs_net_open(&opts, &b, err, sizeof(err)), -EADDRINUSE);
	assert_non_null(strstr(err, "in use"));
	cfs_net_close(a);
}

CFS_TEST_FIBER(bad_addresses)
{
	static const char *const bad[] = {
		"tcp:127.0.0.1",
		"tcp:127.0.0.1:",
		"tcp:127.0.0.1:65536",
		"tcp:127.0.0.1:12x",
		"tcp:::1:80",
		"tcp:[::1]",
		"tcp::80",
		"tcp:no.such.host.invalid:80",
		"tcp:0.0.0.0:0",
		"tcp:[::]:0",
		"shm:",
		"shm:../../etc/passwd",
		"shm:a/b",
		"shm:a b",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cfs_net_opts opts = { .addr = bad[i] };
		struct cfs_net *net = NULL;
		char err[200] = "";
		int rc = cfs_net_open(&opts, &net, err, sizeof(err));

		if (rc == 0)
			print_error("%s was taken\n", bad[i]);
		assert_true(rc < 0);
		assert_true(strlen(err) > 10);
		assert_null(net);
	}
}

CFS_TEST_FIBER(ipv6)
{
	struct net_case kind = {
		.server_addr = "tcp:[::1]:0",
		.client_addr = "tcp:[::1]:1",
		.rounds = 20,
	};

	case_echo(&kind);
}

CFS_TEST_FIBER(nobody_there)
{
	struct cfs_net_opts opts = { .addr = "tcp:", .is_client = true };
	struct pair p = { .kind = &tcp };
	char err[200];

	assert_int_equal(cfs_net_open(&opts, &p.client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(p.client, "tcp:127.0.0.1:9", &p.peer), 0);
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t start_ns = cfs_now_ns();

		assert_int_equal(pair_echo(&p, 1, "hello?"), -CFS_EDISCONNECTED);
		assert_true(cfs_now_ns() - start_ns < 3000 * MS);
	}
	cfs_net_peer_close(p.peer);
	cfs_net_close(p.client);
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 * MS +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

/* Connected and quiet: no CPU, and the first call after it is answered at once. */
CFS_TEST_FIBER(idle)
{
	uint64_t start_ns, used_ns;
	struct pair p;

	pair_open(&p, &tcp, 0);
	assert_int_equal(pair_echo(&p, 1, "connect"), 0);
	assert_int_equal(cfs_sleep_ns(500 * MS), 0);
	used_ns = cpu_ns();
	assert_int_equal(cfs_sleep_ns(2000 * MS), 0);
	used_ns = cpu_ns() - used_ns;
	assert_true(used_ns < 20 * MS);
	start_ns = cfs_now_ns();
	assert_int_equal(pair_echo(&p, 1, "awake?"), 0);
	assert_true(cfs_now_ns() - start_ns < 100 * MS);
	pair_close(&p);
}

/* --- another process --- */

static CFS_AWAITS int serve_run(void *arg)
{
	struct pair p = { .kind = &tcp };

	cfs_waitq_init(&p.gate);
	pair_server_open(&p, arg, 0);
	while (p.server) /* until it is killed */
		(void)cfs_sleep_ns(1000 * MS);
	return 0;
}

static pid_t server_spawn(const char *addr)
{
	char self[] = "/proc/self/exe", verb[] = "serve", text[CFS_NET_ADDR_BYTES];
	char *argv[] = { self, verb, text, NULL };
	pid_t pid = -1;

	(void)snprintf(text, sizeof(text), "%s", addr);
	assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
	return pid;
}

static void server_kill(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A port that nobody listens on now. */
static CFS_AWAITS void free_addr(char out[CFS_NET_ADDR_BYTES])
{
	struct cfs_net_opts opts = { .addr = "tcp:127.0.0.1:0" };
	struct cfs_net *net;
	char err[200];

	assert_int_equal(cfs_net_open(&opts, &net, err, sizeof(err)), 0);
	(void)snprintf(out, CFS_NET_ADDR_BYTES, "%s", cfs_net_addr(net));
	cfs_net_close(net);
}

struct waiter {
	struct pair *p;
	struct cfs_net_region r;
	uint16_t op;
	int rc;
	uint64_t ended_ns;
};

static CFS_AWAITS void waiter_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct waiter *w = arg;
	struct cfs_msg req = { .op = w->op };
	struct cfs_net_reply reply;

	cfs_msg_set(&req, ino, 42);
	if (w->op != CFS_OP_FSYNC) {
		cfs_msg_set(&req, chunk, 0);
		cfs_msg_set(&req, off, 0);
		cfs_msg_set(&req, len, CFS_IO_BYTES_MAX);
		cfs_msg_set(&req, cut, 1); /* waits at the gate, too */
		cfs_net_region_set(&req, &w->r);
	}
	w->rc = cfs_net_call(w->p->peer, &req, &reply);
	w->ended_ns = cfs_now_ns();
}

static CFS_AWAITS void killed_and_restarted(const char *client_addr, const char *addr)
{
	struct cfs_net_opts opts = { .addr = client_addr, .is_client = true };
	struct pair p = { .kind = &tcp };
	uint8_t *mem = malloc(CFS_IO_BYTES_MAX);
	struct waiter w[4];
	struct cfs_group g;
	char err[200];
	pid_t pid;

	assert_non_null(mem);
	(void)snprintf(p.addr, sizeof(p.addr), "%s", addr);
	pid = server_spawn(p.addr);
	assert_int_equal(cfs_net_open(&opts, &p.client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(p.client, p.addr, &p.peer), 0);
	pair_echo_retry(&p, 1, "first", 10000);
	for (uint32_t round = 0; round < 6; round++) {
		uint64_t kill_ns;

		cfs_group_init(&g);
		for (uint32_t i = 0; i < 4; i++) {
			w[i] = (struct waiter){ .p = &p,
						.op = i % 2 ? CFS_OP_CHUNK_READ : CFS_OP_FSYNC };
			assert_int_equal(
				cfs_net_region_open(p.client, mem, CFS_IO_BYTES_MAX, &w[i].r), 0);
			assert_int_equal(cfs_group_start(&g, waiter_run, &w[i]), 0);
		}
		pair_echo_retry(&p, 1, "alive", 1000);
		server_kill(pid);
		kill_ns = cfs_now_ns();
		if (round % 2 == 0) /* found out before it is back, or after */
			cfs_group_join(&g);
		pid = server_spawn(p.addr);
		pair_echo_retry(&p, 1, "again", 5000);
		cfs_group_join(&g);
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(w[i].rc, -CFS_EDISCONNECTED);
			assert_true(w[i].ended_ns - kill_ns < 2000 * MS);
			cfs_net_region_close(p.client, &w[i].r);
		}
	}
	server_kill(pid);
	free(mem);
	cfs_net_peer_close(p.peer);
	cfs_net_close(p.client);
}

CFS_TEST_FIBER(tcp_killed_and_restarted)
{
	char addr[CFS_NET_ADDR_BYTES];

	free_addr(addr);
	killed_and_restarted("tcp:", addr);
}

CFS_TEST_FIBER(shm_killed_and_restarted)
{
	char file[100];

	killed_and_restarted("shm:", shm_name);
	/* Who is killed leaves it behind, and takes it over when it starts again. */
	(void)snprintf(file, sizeof(file), "/dev/shm/%s", strchr(shm_name, ':') + 1);
	(void)unlink(file);
}

/* A server that is stopped is gone after a second, and is found again when it goes on. */
CFS_TEST_FIBER(stopped)
{
	struct cfs_net_opts opts = { .addr = "tcp:", .is_client = true };
	struct pair p = { .kind = &tcp };
	uint64_t start_ns;
	char err[200];
	pid_t pid;

	free_addr(p.addr);
	pid = server_spawn(p.addr);
	assert_int_equal(cfs_net_open(&opts, &p.client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(p.client, p.addr, &p.peer), 0);
	pair_echo_retry(&p, 1, "first", 10000);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(kill(pid, SIGSTOP), 0);
		start_ns = cfs_now_ns();
		assert_int_equal(pair_echo(&p, 1, "stopped"), -CFS_EDISCONNECTED);
		assert_in_range(cfs_now_ns() - start_ns, 500 * MS, 2500 * MS);
		assert_int_equal(kill(pid, SIGCONT), 0);
		pair_echo_retry(&p, 1, "goes on", 5000);
	}
	server_kill(pid);
	cfs_net_peer_close(p.peer);
	cfs_net_close(p.client);
}

static int shm_setup(void **state)
{
	(void)state;
	static uint32_t count;

	(void)snprintf(shm_name, sizeof(shm_name), "shm:claudefs-test-%d-%u", (int)getpid(),
		       count++);
	return 0;
}

/* libfabric's libraries take signals as they are loaded; they are given back. cmocka has those of
 * crashes. */
static void leaves_signals_alone(void **state)
{
	/* Of others the test's own library has taken some. */
	static const int signals[] = { SIGINT, SIGTERM };

	(void)state;
	for (uint32_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction now;

		assert_int_equal(sigaction(signals[i], NULL, &now), 0);
		/* Ignored is what nohup and background shells hand down. */
		assert_true(now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN);
	}
}

#define BOTH(name) \
	cmocka_unit_test_setup(tcp_##name, shm_setup), cmocka_unit_test_setup(shm_##name, shm_setup)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		/* The first: the shm provider takes signals while it is used, to remove its files.
		 */
		cmocka_unit_test(leaves_signals_alone),
		BOTH(echo),
		BOTH(many),
		BOTH(credits),
		BOTH(deadline),
		BOTH(cancel),
		BOTH(large),
		BOTH(bulk),
		BOTH(bulk_cancel),
		BOTH(flipped),
		BOTH(bad_reply),
		BOTH(garbage),
		cmocka_unit_test(tcp_reconnect),
		cmocka_unit_test(tcp_close_busy),
		cmocka_unit_test(port_in_use),
		cmocka_unit_test(bad_addresses),
		cmocka_unit_test(ipv6),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(idle),
		BOTH(killed_and_restarted),
		cmocka_unit_test(stopped),
	};
	struct cfs_runtime_opts opts = { .cores = 1, .pin_cpu = -2 };

	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return cfs_runtime_run(&opts, serve_run, argv[2]);
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
