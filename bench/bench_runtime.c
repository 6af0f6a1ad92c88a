/*
 * What the runtime costs: a switch between fibers, messages and calls between cores, timers, a
 * poller's wake-up, a read. One line a result: median of the rounds, least and most.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fiber.h"
#include "base/reactor.h"
#include "base/util.h"

#define ROUNDS 11u

struct bench {
	const char *name;
	uint32_t count;              /* operations in a round */
	void (*run)(uint32_t count); /* awaits */
};

static void yield_many(void *arg)
{
	for (uint32_t i = 0; i < *(uint32_t *)arg; i++)
		cfs_fiber_yield();
}

/* Eight fibers in turn; each yield is two switches: to the loop and to the next. */
static CFS_AWAITS void bench_yield(uint32_t count)
{
	uint32_t each = count / 8;
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t i = 0; i < 8; i++)
		(void)cfs_group_start(&g, yield_many, &each);
	cfs_group_join(&g);
}

struct pair {
	struct cfs_waitq a, b;
	uint32_t count;
};

static CFS_AWAITS void pair_other(void *arg)
{
	struct pair *p = arg;

	for (uint32_t i = 0; i < p->count; i++) {
		cfs_waitq_wake_one(&p->a);
		cfs_waitq_wait_always(&p->b);
	}
}

static CFS_AWAITS void bench_wake(uint32_t count)
{
	struct pair p = { .count = count / 2 };
	struct cfs_group g;

	cfs_waitq_init(&p.a);
	cfs_waitq_init(&p.b);
	cfs_group_init(&g);
	(void)cfs_group_start(&g, pair_other, &p);
	for (uint32_t i = 0; i < p.count; i++) {
		cfs_waitq_wait_always(&p.a);
		cfs_waitq_wake_one(&p.b);
	}
	cfs_group_join(&g);
}

static void nothing(void *arg)
{
	(void)arg;
}

static CFS_AWAITS void bench_start(uint32_t count)
{
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t i = 0; i < count; i += 16) {
		for (uint32_t j = 0; j < 16; j++)
			(void)cfs_group_start(&g, nothing, NULL);
		cfs_group_join(&g);
	}
}

static int call_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static CFS_AWAITS void bench_call(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)cfs_core_call(1, call_nothing, NULL);
}

static CFS_AWAITS void bench_offload(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)cfs_offload(call_nothing, NULL);
}

static void complete(void *arg)
{
	cfs_done_complete(arg, 0);
}

static void complete_there(void *arg)
{
	cfs_core_post(0, complete, arg);
}

/* A burst one way, and one message back that says that all have come. */
static CFS_AWAITS void bench_post(uint32_t count)
{
	struct cfs_done done;

	cfs_done_init(&done);
	for (uint32_t i = 1; i < count; i++)
		cfs_core_post(1, nothing, NULL);
	cfs_core_post(1, complete_there, &done);
	(void)cfs_done_wait_always(&done);
}

static CFS_AWAITS void bench_timer(uint32_t count)
{
	static struct cfs_timer timers[1024];

	for (uint32_t i = 0; i < count; i++) {
		struct cfs_timer *t = &timers[i % CFS_ARRAY_COUNT(timers)];

		cfs_timer_arm(t, cfs_rand_u64() | UINT64_MAX << 62, nothing, NULL);
	}
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(timers); i++)
		cfs_timer_disarm(&timers[i]);
}

struct event {
	struct cfs_poller poller;
	struct cfs_waitq came;
};

static int event_poll(void *arg)
{
	struct event *e = arg;
	uint64_t value;

	if (read(e->poller.fd, &value, sizeof(value)) < 0)
		return 0;
	cfs_waitq_wake_all(&e->came);
	return 1;
}

static void event_write(void *arg)
{
	static const uint64_t one = 1;
	const struct event *e = arg;

	if (write(e->poller.fd, &one, sizeof(one)) < 0)
		perror("eventfd");
}

/* An event from another core through a descriptor: the path of a FUSE request. */
static CFS_AWAITS void bench_poller(uint32_t count)
{
	struct event e = { .poller = { .poll = event_poll } };

	e.poller.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	e.poller.arg = &e;
	cfs_waitq_init(&e.came);
	cfs_poller_add(&e.poller);
	for (uint32_t i = 0; i < count; i++) {
		cfs_core_post(1, event_write, &e);
		cfs_waitq_wait_always(&e.came);
	}
	cfs_poller_remove(&e.poller);
	close(e.poller.fd);
}

static CFS_AWAITS void bench_read(uint32_t count)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct cfs_buf *b;

	if (fd < 0 || cfs_buf_get(CFS_BLOCK_BYTES, &b) < 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		(void)cfs_io_pread(fd, b->data, CFS_BLOCK_BYTES, 0);
	cfs_buf_put(b);
	close(fd);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static CFS_AWAITS void bench_print(const struct bench *b)
{
	uint64_t ns[ROUNDS];

	b->run(b->count / 10 + 1);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t start_ns = cfs_now_ns();

		b->run(b->count);
		ns[i] = (cfs_now_ns() - start_ns) * 10 / b->count;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), compare_u64);
	printf("%-34s %8.1f ns  least %.1f most %.1f  rounds %u of %u\n", b->name,
	       (double)ns[ROUNDS / 2] / 10, (double)ns[0] / 10, (double)ns[ROUNDS - 1] / 10, ROUNDS,
	       b->count);
}

static CFS_AWAITS int bench_main(void *arg)
{
	static const struct bench benches[] = {
		{ "yield (two switches)", 400000, bench_yield },
		{ "wake and switch", 400000, bench_wake },
		{ "fiber start and end", 160000, bench_start },
		{ "timer arm, 1024 armed", 200000, bench_timer },
		{ "read 4 KiB, page cache", 50000, bench_read },
		{ "post to another core, in bursts", 100000, bench_post },
		{ "call of another core", 10000, bench_call },
		{ "post, eventfd, poller", 10000, bench_poller },
		{ "offloaded call", 10000, bench_offload },
	};

	(void)arg;
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(benches); i++)
		bench_print(&benches[i]);
	return 0;
}

int main(void)
{
	struct cfs_runtime_opts opts = { .cores = 2, .pin_cpu = -1 };
	struct utsname u;

	if (uname(&u) == 0)
		printf("hardware: %s, %ld CPUs, Linux %s\n", u.machine,
		       sysconf(_SC_NPROCESSORS_ONLN), u.release);
	return cfs_runtime_run(&opts, bench_main, NULL) < 0;
}
