#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fiber.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/reactor.h"
#include "base/reactor_internal.h"
#include "base/util.h"
#include "lib/test_fiber.h"

#define MS 1000000ull

/* ---- the runtime ---- */

static int give_back(void *arg)
{
	return *(int *)arg;
}

static void run_returns_what_the_fiber_returned(void **state)
{
	struct cfs_runtime_opts opts = { .cores = 2, .pin_cpu = -1 };
	int value = -42;

	(void)state;
	assert_int_equal(cfs_test_run(&opts, give_back, &value), -42);
	value = 3;
	assert_int_equal(cfs_test_run(&opts, give_back, &value), 3);
	assert_int_equal(cfs_core_id(), UINT32_MAX);
	assert_int_equal(cfs_core_count(), 0);
	assert_null(cfs_fiber_self());
	opts.is_sim = true;
	assert_int_equal(cfs_test_run(&opts, give_back, &value), 3);
}

static int core_count(void *arg)
{
	(void)arg;
	return (int)cfs_core_count();
}

static void default_is_a_core_for_two_cpus(void **state)
{
	struct cfs_runtime_opts opts = { .pin_cpu = -1 };
	cpu_set_t cpus, after;
	int want;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	want = CPU_COUNT(&cpus) > 1 ? CPU_COUNT(&cpus) / 2 : 1;
	assert_int_equal(cfs_test_run(&opts, core_count, NULL), want);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&cpus, &after));
}

/* Runs @body in a child; returns its wait status, and what it wrote to stderr. */
static int in_child(void (*body)(void), char *text_out, size_t text_bytes)
{
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		body();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], text_out + len, text_bytes - 1 - len)) > 0)
		len += (size_t)n;
	text_out[len] = 0;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* What a container's seccomp profile does. */
static void run_without_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = CFS_ARRAY_COUNT(code), .filter = code };
	struct cfs_runtime_opts opts = { .cores = 2, .pin_cpu = -2 };
	int value = 1;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &prog))
		_exit(77);
	_exit(cfs_runtime_run(&opts, give_back, &value) == -ENOSYS ? 0 : 1);
}

static void forbidden_io_uring_is_said_in_a_line(void **state)
{
	static char text[8192];
	int status = in_child(run_without_io_uring, text, sizeof(text));

	(void)state;
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_non_null(strstr(text, "io_uring"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* Descriptors run out at each step of the start: an error is returned and nothing is left. */
static void run_with_few_descriptors(void)
{
	struct cfs_runtime_opts opts = { .cores = 2, .pin_cpu = -2 };
	struct rlimit limit = { .rlim_max = 64 };
	uint32_t refused = 0;
	int value = 1, rc = -EMFILE;

	for (limit.rlim_cur = 3; limit.rlim_cur < 32 && rc < 0; limit.rlim_cur++) {
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			_exit(1);
		rc = cfs_test_run(&opts, give_back, &value);
		if (rc < 0 && rc != -EMFILE)
			_exit(2);
		refused += rc < 0;
	}
	_exit(rc == 1 && refused >= 3 ? 0 : 3);
}

static void too_few_descriptors_are_an_error(void **state)
{
	static char text[8192];
	int status = in_child(run_with_few_descriptors, text, sizeof(text));

	(void)state;
	assert_string_equal(text, "");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- calls to cores and threads ---- */

struct call_seen {
	uint32_t core;
	bool is_fiber;
	uint64_t deadline_ns;
};

static int look_around(void *arg)
{
	struct call_seen *s = arg;

	s->core = cfs_core_id();
	s->is_fiber = cfs_fiber_self() != NULL;
	s->deadline_ns = cfs_deadline();
	cfs_fiber_yield();
	return -EXDEV;
}

CFS_TEST_FIBER_CORES(call_runs_as_a_fiber_of_the_other_core, 2)
{
	struct call_seen s = { 0 };
	uint64_t deadline_ns = cfs_now_ns() + 10000 * MS;
	uint64_t old_ns = cfs_deadline_narrow(deadline_ns);

	assert_int_equal(cfs_core_count(), 2);
	assert_int_equal(cfs_core_call(1, look_around, &s), -EXDEV);
	assert_int_equal(s.core, 1);
	assert_true(s.is_fiber);
	assert_true(s.deadline_ns == deadline_ns);
	assert_int_equal(cfs_core_call(0, look_around, &s), -EXDEV);
	assert_int_equal(s.core, 0);
	assert_true(s.is_fiber);
	cfs_deadline_restore(old_ns);
}

static int call_back(void *arg)
{
	return cfs_core_call(0, look_around, arg);
}

CFS_TEST_FIBER_CORES(calls_nest_between_cores, 2)
{
	struct call_seen s = { .core = 9 };

	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(cfs_core_call(1, call_back, &s), -EXDEV);
	assert_int_equal(s.core, 0);
}

struct blocking {
	pthread_barrier_t *barrier;
	pthread_t thread;
	uint32_t core;
};

static int block_together(void *arg)
{
	struct blocking *b = arg;

	b->thread = pthread_self();
	b->core = cfs_core_id();
	pthread_barrier_wait(b->barrier);
	return 5;
}

struct offloader {
	struct blocking blocking;
	int rc;
};

static void offload_one(void *arg)
{
	struct offloader *o = arg;

	o->rc = cfs_offload(block_together, &o->blocking);
}

CFS_TEST_FIBER(offloaded_calls_block_side_by_side)
{
	struct offloader o[3 * CFS_OFFLOAD_THREADS_MAX];
	pthread_barrier_t barrier;
	struct cfs_group g;

	cfs_group_init(&g);
	/* Would wait for ever if there were fewer threads, or if one ran on the core. */
	pthread_barrier_init(&barrier, NULL, CFS_OFFLOAD_THREADS_MAX);
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(o); i++) {
		o[i] = (struct offloader){ .blocking.barrier = &barrier };
		cfs_group_start(&g, offload_one, &o[i]);
	}
	cfs_group_join(&g);
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(o); i++) {
		assert_int_equal(o[i].rc, 5);
		assert_int_equal(o[i].blocking.core, UINT32_MAX);
		assert_false(pthread_equal(o[i].blocking.thread, pthread_self()));
	}
	pthread_barrier_destroy(&barrier);
}

CFS_TEST_SIM(simulated_calls_run_in_place)
{
	int value = 8;

	assert_int_equal(cfs_offload(give_back, &value), 8);
	assert_int_equal(cfs_core_call(0, give_back, &value), 8);
	assert_true(cfs_runtime_is_sim());
	assert_int_equal(cfs_core_count(), 1);
}

/* ---- files ---- */

static int file_open(void)
{
	char path[] = "/tmp/cfs-reactor-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

CFS_TEST_FIBER(files_are_written_and_read)
{
	char a[] = "one ", b[] = "two", in[8] = { 0 }, x[4] = { 0 }, y[4] = { 0 };
	struct iovec out_iov[2] = { { a, 4 }, { b, 3 } }, in_iov[2] = { { x, 4 }, { y, 3 } };
	int fd = file_open();

	assert_int_equal(cfs_io_pwritev(fd, out_iov, 2, 10), 7);
	assert_int_equal(cfs_io_pread(fd, in, 7, 10), 7);
	assert_string_equal(in, "one two");
	assert_int_equal(cfs_io_preadv(fd, in_iov, 2, 10), 7);
	assert_memory_equal(x, "one ", 4);
	assert_memory_equal(y, "two", 3);
	assert_int_equal(cfs_io_pwrite(fd, "T", 1, 14), 1);
	assert_int_equal(cfs_io_fdatasync(fd), 0);
	assert_int_equal(cfs_io_pread(fd, in, 8, 14), 3); /* up to the end */
	assert_memory_equal(in, "Two", 3);
	assert_int_equal(cfs_io_pread(fd, in, 8, 100), 0);
	assert_int_equal(cfs_io_fallocate(fd, 0, 0, 100000), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 100000);
	close(fd);
	assert_int_equal(cfs_io_pread(fd, in, 1, 0), -EBADF);
	assert_int_equal(cfs_io_fdatasync(fd), -EBADF);
}

#define MANY_IO (CFS_RING_INFLIGHT_MAX + 1000u)

struct many_io {
	struct cfs_io io[MANY_IO];
	uint32_t value[MANY_IO];
	uint32_t done, wrong;
	struct cfs_done all;
};

static void many_io_complete(struct cfs_io *io)
{
	struct many_io *m = io->arg;

	m->wrong += io->res != sizeof(m->value[0]);
	if (++m->done == MANY_IO)
		cfs_done_complete(&m->all, 0);
}

CFS_TEST_FIBER(more_io_than_the_ring_holds_waits_its_turn)
{
	static struct many_io m;
	int fd = file_open();

	for (uint32_t round = 0; round < 2; round++) {
		memset(&m.io, 0, sizeof(m.io));
		m.done = m.wrong = 0;
		cfs_done_init(&m.all);
		for (uint32_t i = 0; i < MANY_IO; i++) {
			m.io[i].fn = many_io_complete;
			m.io[i].arg = &m;
			if (round == 0) {
				m.value[i] = i;
				cfs_io_submit_pwrite(&m.io[i], fd, &m.value[i], 4, i * 4);
			} else {
				m.value[i] = 0;
				cfs_io_submit_pread(&m.io[i], fd, &m.value[i], 4, i * 4);
			}
		}
		assert_true(cfs_reactor_self()->ring.inflight <= CFS_RING_INFLIGHT_MAX);
		assert_int_equal(cfs_done_wait_always(&m.all), 0);
		assert_int_equal(m.wrong, 0);
	}
	for (uint32_t i = 0; i < MANY_IO; i++)
		assert_int_equal(m.value[i], i);
	close(fd);
}

static void poll_pipe(void *arg)
{
	int *fd_rc = arg;

	fd_rc[1] = cfs_io_poll(fd_rc[0], POLLIN);
}

CFS_TEST_FIBER(poll_waits_for_readable_deadline_and_cancel)
{
	int fds[2], fd_rc[2];
	struct cfs_group g;
	uint64_t old_ns;

	cfs_group_init(&g);
	assert_int_equal(pipe(fds), 0);
	old_ns = cfs_deadline_narrow(cfs_now_ns() + 2 * MS);
	assert_int_equal(cfs_io_poll(fds[0], POLLIN), -ETIMEDOUT);
	cfs_deadline_restore(old_ns);
	fd_rc[0] = fds[0];
	cfs_group_start(&g, poll_pipe, fd_rc);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	cfs_group_join(&g);
	assert_true(fd_rc[1] & POLLIN);
	assert_true(cfs_io_poll(fds[0], POLLIN) & POLLIN); /* is so already */
	close(fds[0]);
	assert_int_equal(pipe(fds), 0);
	fd_rc[0] = fds[0];
	cfs_group_start(&g, poll_pipe, fd_rc);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	cfs_group_cancel(&g);
	cfs_group_join(&g);
	assert_int_equal(fd_rc[1], -ECANCELED);
	close(fds[0]);
	close(fds[1]);
}

static void cancel_group(void *arg)
{
	cfs_group_cancel(arg);
}

/* The completion comes after the cancellation, before the fiber has run: it is given. */
CFS_TEST_FIBER(cancel_and_completion_in_the_same_turn)
{
	int fds[2], fd_rc[2];
	struct cfs_group g;

	cfs_group_init(&g);
	assert_int_equal(pipe(fds), 0);
	fd_rc[0] = fds[0];
	cfs_group_start(&g, poll_pipe, fd_rc);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	cfs_core_post(0, cancel_group, &g);
	cfs_group_join(&g);
	assert_true(fd_rc[1] & POLLIN);
	close(fds[0]);
	close(fds[1]);
}

/* ---- pollers ---- */

struct counter_poller {
	struct cfs_poller poller;
	uint64_t sum;
	uint32_t polls, asked;
	bool refuses_once;
	struct cfs_waitq changed;
};

static int counter_poll(void *arg)
{
	struct counter_poller *c = arg;
	uint64_t value;

	c->polls++;
	if (read(c->poller.fd, &value, sizeof(value)) < 0)
		return 0;
	c->sum += value;
	cfs_waitq_wake_all(&c->changed);
	return 1;
}

static bool counter_may_sleep(void *arg)
{
	struct counter_poller *c = arg;

	c->asked++;
	if (!c->refuses_once)
		return true;
	c->refuses_once = false;
	return false;
}

static void counter_poller_init(struct counter_poller *c)
{
	*c = (struct counter_poller){ .refuses_once = true };
	c->poller.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	c->poller.poll = counter_poll;
	c->poller.may_sleep = counter_may_sleep;
	c->poller.arg = c;
	cfs_waitq_init(&c->changed);
	cfs_poller_add(&c->poller);
}

static void *add_slowly(void *arg)
{
	const uint64_t one = 1;
	int fd = *(int *)arg;

	for (uint32_t i = 0; i < 50; i++) {
		usleep(500);
		if (write(fd, &one, sizeof(one)) != sizeof(one))
			return arg;
	}
	return NULL;
}

CFS_TEST_FIBER(a_poller_is_woken_by_its_descriptor)
{
	struct counter_poller c;
	struct cfs_reactor_stats before, after;
	pthread_t thread;
	void *failed;

	counter_poller_init(&c);
	cfs_reactor_stats(&before);
	assert_int_equal(pthread_create(&thread, NULL, add_slowly, &c.poller.fd), 0);
	while (c.sum < 50)
		assert_int_equal(cfs_waitq_wait(&c.changed), 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	cfs_reactor_stats(&after);
	assert_false(c.refuses_once);
	/* It slept between: once an event, and not much more; one system call each, but for spins.
	 */
	assert_in_range(after.sleeps - before.sleeps, 5, 60);
	assert_true(c.polls < 400 + (after.spins - before.spins));
	cfs_poller_remove(&c.poller);
	cfs_poller_remove(&c.poller); /* harmless */
	close(c.poller.fd);
}

static int counter_poll_once(void *arg)
{
	struct counter_poller *c = arg;

	/* Says so even if there is more. */
	c->poller.is_drained = true;
	return counter_poll(arg);
}

CFS_TEST_FIBER(a_drained_poller_is_left_out_until_it_is_readable)
{
	const uint64_t one = 1;
	struct counter_poller c;
	uint32_t polls;

	counter_poller_init(&c);
	c.poller.poll = counter_poll_once;
	c.refuses_once = false;
	assert_int_equal(cfs_sleep_ns(MS / 20), 0);
	polls = c.polls;
	for (uint32_t i = 0; i < 80; i++)
		cfs_fiber_yield();
	assert_in_range(c.polls - polls, 5, 20);
	/* A core that is busy finds what comes, one that sleeps is woken by it. */
	assert_int_equal(write(c.poller.fd, &one, sizeof(one)), sizeof(one));
	for (uint32_t i = 0; i < 20; i++)
		cfs_fiber_yield();
	assert_int_equal(c.sum, 1);
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(write(c.poller.fd, &one, sizeof(one)), sizeof(one));
		while (c.sum < i + 2)
			assert_int_equal(cfs_waitq_wait(&c.changed), 0);
	}
	cfs_poller_remove(&c.poller);
	close(c.poller.fd);
}

CFS_TEST_FIBER(a_poller_may_go_while_it_is_armed)
{
	for (uint32_t i = 0; i < 3 * CFS_POLLERS_MAX; i++) {
		struct counter_poller c;
		const uint64_t one = 1;

		counter_poller_init(&c);
		c.refuses_once = false;
		assert_int_equal(cfs_sleep_ns(MS / 20), 0); /* sleeping arms it */
		if (i % 2)
			assert_int_equal(write(c.poller.fd, &one, sizeof(one)), sizeof(one));
		cfs_poller_remove(&c.poller);
		close(c.poller.fd);
		memset(&c, 0xee, sizeof(c));
	}
	assert_int_equal(cfs_sleep_ns(MS), 0);
}

struct removing {
	struct cfs_poller pollers[3];
	uint32_t polls[3];
};

static int poll_and_remove(void *arg)
{
	struct removing *r = arg;

	r->polls[0]++;
	cfs_poller_remove(&r->pollers[0]);
	cfs_poller_remove(&r->pollers[1]);
	return 1;
}

static int poll_count(void *arg)
{
	++*(uint32_t *)arg;
	return 0;
}

CFS_TEST_SIM(a_poller_may_remove_itself_and_the_next)
{
	struct removing r = { 0 };

	r.pollers[0] = (struct cfs_poller){ .fd = -1, .poll = poll_and_remove, .arg = &r };
	for (uint32_t i = 1; i < 3; i++)
		r.pollers[i] =
			(struct cfs_poller){ .fd = -1, .poll = poll_count, .arg = &r.polls[i] };
	for (uint32_t i = 0; i < 3; i++)
		cfs_poller_add(&r.pollers[i]);
	assert_int_equal(cfs_sleep_ns(MS), 0);
	assert_int_equal(r.polls[0], 1);
	assert_int_equal(r.polls[1], 0);
	assert_true(r.polls[2] > 1);
	cfs_poller_remove(&r.pollers[2]);
}

/* ---- idleness ---- */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

CFS_TEST_FIBER_CORES(an_idle_process_uses_no_cpu, 2)
{
	struct counter_poller c;
	uint64_t before_ns;

	counter_poller_init(&c);
	assert_int_equal(cfs_sleep_ns(10 * MS), 0);
	before_ns = cpu_ns();
	assert_int_equal(cfs_sleep_ns(1000 * MS), 0);
	assert_true(cpu_ns() - before_ns < 5 * MS);
	cfs_poller_remove(&c.poller);
	close(c.poller.fd);
}

/* One read at a time: one system call each, which submits, and waits and reaps unless the answer is
 * found while spinning. */
CFS_TEST_FIBER(a_read_costs_one_system_call)
{
	struct cfs_reactor_stats before, after;
	int fd = file_open();
	char c = 'c';

	assert_int_equal(cfs_io_pwrite(fd, &c, 1, 0), 1);
	cfs_reactor_stats(&before);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(cfs_io_pread(fd, &c, 1, 0), 1);
	cfs_reactor_stats(&after);
	assert_in_range(after.submits - before.submits, 100, 104);
	assert_in_range(after.sleeps - before.sleeps, 0, 104);
	close(fd);
}

/* ---- simulation ---- */

struct world {
	uint64_t hash;
	uint32_t events;
	struct cfs_waitq q;
	struct cfs_lock lock;
};

static void world_note(struct world *w, uint64_t what)
{
	w->hash = cfs_hash_u64(w->hash ^ what ^ cfs_now_ns());
	w->events++;
}

static void world_fiber(void *arg)
{
	struct world *w = arg;

	for (uint32_t i = 0; i < 20; i++) {
		uint64_t old_ns, what = cfs_rand_u64();

		world_note(w, what);
		switch (what % 4) {
		case 0:
			(void)cfs_sleep_ns(cfs_rand_u64() % MS);
			break;
		case 1:
			old_ns = cfs_deadline_narrow(cfs_now_ns() + cfs_rand_u64() % MS);
			world_note(w, (uint64_t)(cfs_waitq_wait(&w->q) == 0));
			cfs_deadline_restore(old_ns);
			break;
		case 2:
			cfs_waitq_wake_one(&w->q);
			break;
		default:
			cfs_lock_take_always(&w->lock);
			(void)cfs_sleep_ns(cfs_rand_u64() % 1000);
			cfs_lock_release(&w->lock);
		}
	}
}

static int world_main(void *arg)
{
	struct world *w = arg;
	struct cfs_group g;

	cfs_waitq_init(&w->q);
	cfs_lock_init(&w->lock);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < 50; i++)
		cfs_group_start(&g, world_fiber, w);
	cfs_group_join(&g);
	world_note(w, cfs_wall_ns());
	return 0;
}

static uint64_t world_run(uint64_t seed)
{
	struct cfs_runtime_opts opts = { .is_sim = true, .sim_seed = seed, .sim_wall_ns = 77 };
	struct world w = { 0 };

	assert_int_equal(cfs_test_run(&opts, world_main, &w), 0);
	assert_true(w.events > 1000);
	return w.hash;
}

static void same_seed_same_run(void **state)
{
	uint64_t first = world_run(1), *scattered[50];

	(void)state;
	/* Other addresses must not matter. */
	for (uint32_t i = 0; i < 50; i++)
		scattered[i] = malloc(100 + i * 1000);
	assert_true(world_run(1) == first);
	assert_true(world_run(2) != first);
	for (uint32_t i = 0; i < 50; i++)
		free(scattered[i]);
}

CFS_TEST_FIBER_OPTS(simulated_clocks_stand_still, .is_sim = true, .sim_wall_ns = 5000)
{
	uint64_t now_ns = cfs_now_ns();

	assert_true(now_ns == 1000 * MS);
	assert_true(cfs_wall_ns() == 5000);
	usleep(1000);
	assert_true(cfs_now_ns() == now_ns);
	assert_int_equal(cfs_sleep_ns(123), 0);
	assert_true(cfs_now_ns() == now_ns + 123);
	assert_true(cfs_wall_ns() == 5123);
}

static int wait_for_ever(void *arg)
{
	struct cfs_waitq q;

	(void)arg;
	cfs_waitq_init(&q);
	return cfs_waitq_wait(&q);
}

static void sim_deadlock(void)
{
	struct cfs_runtime_opts opts = { .is_sim = true, .sim_seed = 4711 };

	(void)cfs_runtime_run(&opts, wait_for_ever, NULL);
}

static void a_simulation_that_hangs_aborts_and_says_who_waits(void **state)
{
	static char text[8192];
	int status = in_child(sim_deadlock, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(text, "simulation deadlock"));
	assert_non_null(strstr(text, "4711"));
	assert_non_null(strstr(text, "fiber 1 waiting interruptible"));
}

static int no_await_main(void *arg)
{
	(void)arg;
	CFS_NO_AWAIT
	{
		cfs_fiber_yield();
	}
	return 0;
}

static void no_await_child(void)
{
	struct cfs_runtime_opts opts = { .is_sim = true };

	(void)cfs_runtime_run(&opts, no_await_main, NULL);
}

static void awaiting_where_it_must_not_be_aborts(void **state)
{
	static char text[8192];
	int status = in_child(no_await_child, text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_non_null(strstr(text, "no_await"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_returns_what_the_fiber_returned),
		cmocka_unit_test(default_is_a_core_for_two_cpus),
		cmocka_unit_test(forbidden_io_uring_is_said_in_a_line),
		cmocka_unit_test(too_few_descriptors_are_an_error),
		cmocka_unit_test(call_runs_as_a_fiber_of_the_other_core),
		cmocka_unit_test(calls_nest_between_cores),
		cmocka_unit_test(offloaded_calls_block_side_by_side),
		cmocka_unit_test(simulated_calls_run_in_place),
		cmocka_unit_test(files_are_written_and_read),
		cmocka_unit_test(more_io_than_the_ring_holds_waits_its_turn),
		cmocka_unit_test(poll_waits_for_readable_deadline_and_cancel),
		cmocka_unit_test(cancel_and_completion_in_the_same_turn),
		cmocka_unit_test(a_poller_is_woken_by_its_descriptor),
		cmocka_unit_test(a_drained_poller_is_left_out_until_it_is_readable),
		cmocka_unit_test(a_poller_may_go_while_it_is_armed),
		cmocka_unit_test(a_poller_may_remove_itself_and_the_next),
		cmocka_unit_test(an_idle_process_uses_no_cpu),
		cmocka_unit_test(a_read_costs_one_system_call),
		cmocka_unit_test(same_seed_same_run),
		cmocka_unit_test(simulated_clocks_stand_still),
		cmocka_unit_test(a_simulation_that_hangs_aborts_and_says_who_waits),
		cmocka_unit_test(awaiting_where_it_must_not_be_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
