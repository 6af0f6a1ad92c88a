/*
 * Locks (--locks): a worker locks a part of somebody's file by one of the clients, holds it for a
 * while, and nobody else may have it meanwhile, whatever dies. Each has one lock at a time, so
 * there are no deadlocks.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "worker_internal.h"

#define LOCK_FILES 3u /* few, so that they meet */
#define LOCK_BYTES 8u

/* One of the oldest files of all; NULL: there is none. */
static const struct m_inode *pick_file(struct sim_worker *w)
{
	const struct m_inode *found[LOCK_FILES];
	uint32_t count = 0;

	for (const struct m_inode *i = w->sim->model->inodes; i && count < LOCK_FILES; i = i->next)
		if (i->ino != 0 && S_ISREG(i->attr.mode) && i->nlink > 0)
			found[count++] = i;
	return count ? found[below(w, count)] : NULL;
}

static void check_alone(const struct sim_worker *w)
{
	const struct worker_lock *a = &w->lock;

	for (uint32_t n = 0; n < w->sim->worker_count; n++) {
		const struct worker_lock *b = &w->sim->workers[n]->lock;

		if (w->sim->workers[n] == w || b->ino != a->ino || b->is_flock != a->is_flock ||
		    b->start > a->end || a->start > b->end ||
		    (a->type == CFS_LOCK_READ && b->type == CFS_LOCK_READ))
			continue;
		sim_finding(w->sim, "workers %u and %u both have %llx %u to %u locked", w->id,
			    w->sim->workers[n]->id, (unsigned long long)a->ino, a->start, a->end);
	}
}

void do_lock(struct sim_worker *w)
{
	const struct m_inode *i = pick_file(w);
	struct cfs_client_lock l = { .owner = w->id + 1 };
	struct wants wants = { 0 };
	struct worker_lock mine = { 0 };
	/* What a client held that died with the power goes with its session only. */
	bool waits = w->sim->cuts == 0 && !one_in(w, 4);
	int rc;

	if (!i)
		return;
	mine.ino = i->ino;
	mine.is_flock = one_in(w, 3);
	mine.type = one_in(w, 2) ? CFS_LOCK_READ : CFS_LOCK_WRITE;
	mine.start = mine.is_flock ? 0 : below(w, LOCK_BYTES);
	mine.end = mine.is_flock ? LOCK_BYTES : mine.start + below(w, LOCK_BYTES - mine.start);
	l.start = mine.start;
	l.end = mine.is_flock ? INT64_MAX : mine.end;
	l.type = mine.type;
	l.is_flock = mine.is_flock;
	want(&wants, 0);
	/* Somebody removes it. */
	want(&wants, -ESTALE);
	if (!waits)
		want(&wants, -EAGAIN);
	op_begin(w);
	rc = cfs_client_lock(&w->op, mine.ino, &l, waits);
	if (!op_judge(w, "lock", rc, &wants, "%llx %u to %u type %u flock %d waits %d",
		      (unsigned long long)mine.ino, mine.start, mine.end, mine.type, mine.is_flock,
		      waits))
		return;
	w->lock = mine;
	check_alone(w);
	/* Now and then until after a restart. */
	(void)cfs_sleep_ns(below(w, 3000) * (one_in(w, 6) ? SIM_MS : SIM_US));
	check_alone(w);
	w->lock.ino = 0;
	wants.count = 0;
	l.start = 0;
	l.end = INT64_MAX;
	l.type = CFS_LOCK_NONE;
	rc = cfs_client_lock(&w->op, mine.ino, &l, false);
	op_judge(w, "unlock", rc, &wants, "%llx", (unsigned long long)mine.ino);
}
