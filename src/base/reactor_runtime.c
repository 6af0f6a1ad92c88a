/*
 * The runtime: the cores of a process, from start to stop, and what they ask of each other.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/reactor_internal.h"
#include "base/util.h"

/* The one runtime of this process, for its threads that are no cores. Simulations are not here. */
static struct cfs_runtime *_Atomic process_runtime;

struct cfs_runtime *cfs_runtime_current(void)
{
	const struct cfs_reactor *r = cfs_reactor_self();

	return r ? r->runtime : atomic_load_explicit(&process_runtime, memory_order_acquire);
}

void cfs_runtime_forget(void)
{
	cfs_reactor_self_set(NULL);
	atomic_store(&process_runtime, NULL);
}

uint32_t cfs_core_count(void)
{
	const struct cfs_runtime *rt = cfs_runtime_current();

	return rt ? rt->cores : 0;
}

uint32_t cfs_core_id(void)
{
	const struct cfs_reactor *r = cfs_reactor_self();

	return r ? r->core : UINT32_MAX;
}

bool cfs_runtime_is_sim(void)
{
	const struct cfs_reactor *r = cfs_reactor_self();

	return r && r->runtime->opts.is_sim;
}

/* ---- calls to other cores and to threads ---- */

struct core_call {
	int (*fn)(void *arg);
	void *arg;
	uint64_t deadline_ns;
	uint32_t from;
	int rc;
	struct cfs_done done;
};

static void call_finish(void *arg)
{
	struct core_call *c = arg;

	cfs_done_complete(&c->done, c->rc);
}

static CFS_AWAITS void call_main(void *arg)
{
	struct core_call *c = arg;

	c->rc = c->fn(c->arg);
	cfs_core_post(c->from, call_finish, c);
}

static void call_start(void *arg)
{
	struct core_call *c = arg;
	struct cfs_reactor *r = cfs_reactor_self();

	c->rc = cfs_group_start_deadline(&r->root, call_main, c, c->deadline_ns);
	if (c->rc < 0)
		cfs_core_post(c->from, call_finish, c);
}

int cfs_core_call(uint32_t core, int (*fn)(void *arg), void *arg)
{
	struct core_call c = { .fn = fn, .arg = arg, .deadline_ns = cfs_deadline() };

	cfs_assert(cfs_fiber_self() != NULL);
	c.from = cfs_core_id();
	if (core == c.from)
		return fn(arg); /* this fiber is as good as another */
	cfs_done_init(&c.done);
	cfs_core_post(core, call_start, &c);
	return cfs_done_wait_always(&c.done);
}

struct offload_call {
	struct cfs_offload_job job;
	int (*fn)(void *arg);
	void *arg;
	uint32_t core;
	int rc;
	struct cfs_done done;
};

static void offload_finish(void *arg)
{
	struct offload_call *c = arg;

	cfs_done_complete(&c->done, c->rc);
}

static void offload_run(struct cfs_offload_job *job)
{
	struct offload_call *c = cfs_container_of(job, struct offload_call, job);

	c->rc = c->fn(c->arg);
	cfs_core_post(c->core, offload_finish, c);
}

int cfs_offload(int (*fn)(void *arg), void *arg)
{
	struct cfs_runtime *rt = cfs_runtime_current();
	struct offload_call c = { .fn = fn, .arg = arg };
	int rc;

	cfs_assert(cfs_fiber_self() != NULL);
	if (rt->opts.is_sim)
		return fn(arg);
	c.job.run = offload_run;
	c.core = cfs_core_id();
	cfs_done_init(&c.done);
	rc = cfs_offload_submit(&rt->offload, &c.job);
	if (rc < 0)
		return rc;
	return cfs_done_wait_always(&c.done);
}

/* ---- placement on CPUs ---- */

static void cpus_find(struct cfs_runtime *rt)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	if (sched_getaffinity(0, sizeof(rt->cpus), &rt->cpus) == 0) {
		rt->cpu_count = (uint32_t)CPU_COUNT(&rt->cpus);
		return;
	}
	CPU_ZERO(&rt->cpus);
	rt->cpu_count = online > 0 ? (uint32_t)online : 1;
	for (uint32_t i = 0; i < rt->cpu_count && i < CPU_SETSIZE; i++)
		CPU_SET(i, &rt->cpus);
}

/* Puts the calling core's thread on its CPU. Without effect where it may not: slower, not wrong. */
static void core_pin(const struct cfs_runtime *rt, uint32_t core)
{
	uint32_t skip = core % rt->cpu_count;
	cpu_set_t one;

	if (rt->opts.pin_cpu == -2 || (rt->opts.pin_cpu == -1 && rt->cpu_count <= 2))
		return;
	CPU_ZERO(&one);
	if (rt->opts.pin_cpu >= 0) {
		CPU_SET((uint32_t)rt->opts.pin_cpu + core, &one);
	} else {
		for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (CPU_ISSET(cpu, &rt->cpus) && skip-- == 0) {
				CPU_SET(cpu, &one);
				break;
			}
		}
	}
	(void)sched_setaffinity(0, sizeof(one), &one);
}

/* ---- start and stop ---- */

static CFS_AWAITS void main_fiber(void *arg)
{
	struct cfs_runtime *rt = arg;

	rt->rc = rt->fn(rt->arg);
	atomic_store_explicit(&rt->is_stopping, true, memory_order_release);
}

static void wake_nothing(void *arg)
{
	(void)arg;
}

/* Counts the caller in and waits until all cores have come, or one has failed. */
static int cores_meet(struct cfs_runtime *rt, uint32_t *count, int rc)
{
	pthread_mutex_lock(&rt->lock);
	++*count;
	if (rc < 0 && rt->start_rc == 0)
		rt->start_rc = rc;
	pthread_cond_broadcast(&rt->started);
	while (*count < rt->cores)
		pthread_cond_wait(&rt->started, &rt->lock);
	rc = rt->start_rc;
	pthread_mutex_unlock(&rt->lock);
	return rc;
}

/* One core's life, on its thread. */
static void core_run(struct cfs_reactor *r)
{
	struct cfs_runtime *rt = r->runtime;
	int rc;

	cfs_reactor_self_set(r);
	rc = cfs_reactor_init(r, rt, r->core);
	if (rc == 0 && r->core == 0)
		rc = cfs_group_start_deadline(&r->root, main_fiber, rt, CFS_DEADLINE_NONE);
	rc = cores_meet(rt, &rt->started_count, rc);
	if (rc == 0) {
		cfs_reactor_loop(r);
		for (uint32_t i = 0; r->core == 0 && i < rt->cores; i++)
			if (i != r->core)
				cfs_mailbox_push_other(&rt->reactors[i].mailbox,
						       (struct cfs_mail){ .fn = wake_nothing });
		/* Nobody takes its own things down while another may still send to it. */
		cores_meet(rt, &rt->stopped_count, 0);
	} else {
		cfs_group_abandon(&r->root);
	}
	cfs_reactor_fini(r);
	cfs_reactor_self_set(NULL);
}

static void *core_main(void *arg)
{
	struct cfs_reactor *r = arg;

	core_pin(r->runtime, r->core);
	core_run(r);
	return NULL;
}

static int cores_start(struct cfs_runtime *rt, uint32_t *started_out)
{
	sigset_t all, old;
	uint32_t i = 1;
	int rc = 0;

	/* Signals stay with the thread that called us. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; i < rt->cores && rc == 0; i++) {
		rc = -pthread_create(&rt->reactors[i].thread, NULL, core_main, &rt->reactors[i]);
		if (rc < 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	*started_out = i;
	return rc;
}

static int runtime_init(struct cfs_runtime *rt)
{
	int rc = 0;

	rt->reactors = calloc(rt->cores, sizeof(*rt->reactors));
	if (!rt->reactors)
		return -ENOMEM;
	for (uint32_t i = 0; i < rt->cores && rc == 0; i++) {
		rt->reactors[i].runtime = rt;
		rt->reactors[i].core = i;
		if (!rt->opts.is_sim)
			rc = cfs_mailbox_init(&rt->reactors[i].mailbox, i, rt->cores);
	}
	cfs_offload_init(&rt->offload, &rt->cpus);
	pthread_mutex_init(&rt->lock, NULL);
	pthread_cond_init(&rt->started, NULL);
	return rc;
}

static void runtime_fini(struct cfs_runtime *rt)
{
	if (!rt->reactors)
		return;
	cfs_offload_fini(&rt->offload);
	for (uint32_t i = 0; i < rt->cores; i++)
		cfs_mailbox_fini(&rt->reactors[i].mailbox);
	pthread_cond_destroy(&rt->started);
	pthread_mutex_destroy(&rt->lock);
	free(rt->reactors);
}

static int runtime_run(struct cfs_runtime *rt)
{
	uint32_t threads = 1;
	int rc = runtime_init(rt);

	if (rc < 0)
		return rc;
	rc = cores_start(rt, &threads);
	if (rc < 0) {
		/* Those that never came count as come, with the reason. */
		pthread_mutex_lock(&rt->lock);
		rt->started_count += rt->cores - threads;
		rt->start_rc = rc;
		pthread_cond_broadcast(&rt->started);
		pthread_mutex_unlock(&rt->lock);
	}
	if (!rt->opts.is_sim)
		core_pin(rt, 0);
	core_run(&rt->reactors[0]);
	for (uint32_t i = 1; i < threads; i++)
		pthread_join(rt->reactors[i].thread, NULL);
	if (!rt->opts.is_sim)
		(void)sched_setaffinity(0, sizeof(rt->cpus), &rt->cpus);
	return rt->start_rc < 0 ? rt->start_rc : rt->rc;
}

static int start_error(int rc)
{
	switch (rc) {
	case -EPERM:
	case -EACCES:
		cfs_err("io_uring is forbidden here; see sysctl kernel.io_uring_disabled, or the "
			"seccomp profile of the container",
			"rc=%s", cfs_err_name(rc));
		return -ENOSYS;
	case -ENOSYS:
		cfs_err("this kernel has no usable io_uring; Linux 5.11 or newer is needed",
			"rc=%s", cfs_err_name(rc));
		return -ENOSYS;
	default:
		return rc;
	}
}

int cfs_runtime_run(const struct cfs_runtime_opts *opts, int (*fn)(void *arg), void *arg)
{
	/* Not on the stack: a test whose check failed leaves threads behind that wait in it. */
	CFS_CLEANUP(cfs_free_p) struct cfs_runtime *rt = calloc(1, sizeof(*rt));
	struct cfs_runtime *none = NULL;
	int rc;

	cfs_assert(cfs_reactor_self() == NULL);
	if (!rt)
		return -ENOMEM;
	rt->opts = *opts;
	rt->fn = fn;
	rt->arg = arg;
	cpus_find(rt);
	rt->cores = opts->cores ? opts->cores : CFS_MAX(rt->cpu_count / 2, 1u);
	rt->cores = opts->is_sim ? 1 : CFS_MIN(rt->cores, (uint32_t)CFS_CORES_MAX);
	if (!opts->is_sim && !atomic_compare_exchange_strong(&process_runtime, &none, rt))
		return -EBUSY;
	rc = runtime_run(rt);
	runtime_fini(rt);
	if (!opts->is_sim)
		atomic_store(&process_runtime, NULL);
	return rt->start_rc < 0 ? start_error(rc) : rc;
}
