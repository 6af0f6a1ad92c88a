#include "base/offload.h"

#include <errno.h>
#include <signal.h>

#include "base/assert.h"

void cfs_offload_init(struct cfs_offload *o, const cpu_set_t *cpus)
{
	*o = (struct cfs_offload){ .cpus = *cpus };
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->work, NULL);
	cfs_list_init(&o->jobs);
}

void cfs_offload_fini(struct cfs_offload *o)
{
	pthread_mutex_lock(&o->lock);
	cfs_assert(o->jobs_count == 0);
	o->is_stopping = true;
	pthread_cond_broadcast(&o->work);
	pthread_mutex_unlock(&o->lock);
	for (uint32_t i = 0; i < o->threads_count; i++)
		pthread_join(o->threads[i], NULL);
	pthread_cond_destroy(&o->work);
	pthread_mutex_destroy(&o->lock);
}

static void *offload_main(void *arg)
{
	struct cfs_offload *o = arg;

	pthread_mutex_lock(&o->lock);
	while (!o->is_stopping) {
		struct cfs_list *n = cfs_list_pop(&o->jobs);
		struct cfs_offload_job *job;

		if (!n) {
			o->free_count++;
			pthread_cond_wait(&o->work, &o->lock);
			o->free_count--;
			continue;
		}
		o->jobs_count--;
		pthread_mutex_unlock(&o->lock);
		job = cfs_list_entry(n, struct cfs_offload_job, link);
		job->run(job); /* its memory may be gone after this */
		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

/* Signals stay with the thread that has the runtime. */
static int thread_start(struct cfs_offload *o)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(o->cpus), &o->cpus);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&o->threads[o->threads_count], &attr, offload_main, o);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		o->threads_count++;
	return -rc;
}

int cfs_offload_submit(struct cfs_offload *o, struct cfs_offload_job *job)
{
	int rc = 0;

	pthread_mutex_lock(&o->lock);
	cfs_assert(!o->is_stopping);
	if (o->jobs_count >= o->free_count && o->threads_count < CFS_OFFLOAD_THREADS_MAX)
		rc = thread_start(o);
	if (rc == 0 || o->threads_count > 0) {
		cfs_list_append(&o->jobs, &job->link);
		o->jobs_count++;
		pthread_cond_signal(&o->work);
		rc = 0;
	}
	pthread_mutex_unlock(&o->lock);
	return rc < 0 ? -EAGAIN : 0;
}
