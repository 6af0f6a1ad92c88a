/*
 * Crashes at device writes: before a chosen write takes effect the process forks. The child crashes
 * there, by turns as by SIGKILL and by a power cut, recovers, is checked, and ends; the parent goes
 * on as if nothing had been.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "sim.h"
#include "world.h"

#define POINTS_MAX 65536u

struct sim_points {
	uint64_t writes; /* seen since the start */
	uint64_t count;  /* children */
	uint64_t stride;
	uint64_t *traces; /* shared with the children */
	uint32_t running;
	bool is_child;
};

static void wait_one(struct sim *s)
{
	int status = 0;
	pid_t pid;

	do {
		pid = wait(&status);
	} while (pid < 0 && errno == EINTR);
	cfs_assert(pid > 0);
	s->points->running--;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	/* It has said what it found, and how to see it. */
	while (s->points->running > 0) {
		s->points->running--;
		(void)wait(&status);
	}
	_exit(1);
}

static void die_here(struct sim *s, uint64_t point)
{
	/* Each point has dice of its own. */
	for (uint64_t i = 0; i < point % 61; i++)
		(void)cfs_rand_u64();
	s->rand ^= point * 0x9e3779b97f4a7c15ull;
	s->points->is_child = true;
	sim_crash(s, point % 2 == 0);
}

static void at_write(void *arg)
{
	struct sim *s = arg;
	struct sim_points *p = s->points;
	uint64_t point = ++p->writes;
	pid_t pid;

	if (point == s->opts.point) {
		p->count = 1;
		die_here(s, point);
		return;
	}
	sim_at_write(s, 2, at_write, s); /* this one has not been counted yet */
	if (s->opts.point || p->stride == 0 || point % p->stride != 0 || p->count == POINTS_MAX)
		return;
	if (p->running >= CFS_MAX(s->opts.jobs, 1u))
		wait_one(s);
	p->count++;
	(void)fflush(NULL);
	pid = fork();
	cfs_assert(pid >= 0);
	if (pid == 0) {
		s->opts.point = point;
		die_here(s, point);
		return;
	}
	p->running++;
}

void sim_points_start(struct sim *s)
{
	struct sim_points *p = sim_alloc(sizeof(*p));

	p->stride = s->opts.stride;
	p->traces = mmap(NULL, (POINTS_MAX + 1) * sizeof(uint64_t), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cfs_assert(p->traces != MAP_FAILED);
	s->points = p;
	sim_at_write(s, 1, at_write, s);
}

void sim_points_end(struct sim *s)
{
	struct sim_points *p = s->points;

	sim_at_write(s, UINT32_MAX, at_write, s);
	while (p->running > 0)
		wait_one(s);
	for (uint64_t i = 0; i < p->count; i++)
		sim_trace(s, i, p->traces[i]);
}

void sim_points_say(struct sim *s)
{
	if (s->points->traces)
		s->points->traces[s->points->count - 1] = s->trace;
}

bool sim_points_is_child(const struct sim *s)
{
	return s->points->is_child;
}

uint64_t sim_points_count(const struct sim *s)
{
	return s->points ? s->points->count : 0;
}

uint64_t sim_points_writes(const struct sim *s)
{
	return s->points ? s->points->writes : 0;
}
