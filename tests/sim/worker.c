#include "worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "worker_internal.h"
#include "world.h"

#define SHARED_DIRS 3u

void want(struct wants *w, int code)
{
	cfs_assert(w->count < CFS_ARRAY_COUNT(w->codes));
	w->codes[w->count++] = code;
}

void op_begin(struct sim_worker *w)
{
	struct sim *s = w->sim;

	w->client = below(w, sim_client_count(s));
	cfs_client_op_init(&w->op, sim_client(s, w->client), 0, 0);
	s->ops++;
}

bool op_judge(struct sim_worker *w, const char *what, int rc, const struct wants *wants,
	      const char *fmt, ...)
{
	char args[160], wanted[96] = "success";
	uint32_t at = 0;
	bool is_fine = wants->count == 0 && rc == 0;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	for (uint32_t i = 0; i < wants->count; i++) {
		is_fine |= rc == wants->codes[i];
		if (at < sizeof(wanted))
			at += (uint32_t)snprintf(wanted + at, sizeof(wanted) - at, "%s%s",
						 i ? " or " : "", cfs_err_name(wants->codes[i]));
	}
	sim_say(w->sim, "%llu us: worker %u by %u: %s %s: %s",
		(unsigned long long)(cfs_now_ns() / SIM_US), w->id, w->client, what, args,
		cfs_err_name(rc));
	sim_trace(w->sim, cfs_hash_bytes(what, strlen(what), w->id), (uint64_t)(int64_t)rc);
	if (!is_fine)
		sim_finding(w->sim, "worker %u: %s %s gives %s, not %s", w->id, what, args,
			    cfs_err_name(rc), wanted);
	return rc == 0;
}

struct cfs_client_name name_of(const char *name)
{
	return (struct cfs_client_name){ name, (uint32_t)strlen(name) };
}

void attr_check(struct sim_worker *w, const char *what, struct m_inode *i, const struct cfs_attr *a)
{
	struct sim *s = w->sim;
	bool is_own = i->owner == w->id;

	if (i->ino == 0)
		i->ino = a->ino;
	sim_trace(s, a->ino, a->size);
	if (a->ino != i->ino)
		sim_finding(s, "%s: inode %llx, not %llx", what, (unsigned long long)a->ino,
			    (unsigned long long)i->ino);
	if (a->mode != i->attr.mode || a->uid != i->attr.uid || a->gid != i->attr.gid)
		sim_finding(s, "%s: inode %llx has mode %o owner %u:%u, not %o %u:%u", what,
			    (unsigned long long)i->ino, a->mode, a->uid, a->gid, i->attr.mode,
			    i->attr.uid, i->attr.gid);
	if (!is_own)
		return;
	if (a->nlink != i->nlink)
		sim_finding(s, "%s: inode %llx has %u links, not %u", what,
			    (unsigned long long)i->ino, a->nlink, i->nlink);
	if (!model_is_dir(i) && a->size != i->attr.size)
		sim_finding(s, "%s: inode %llx has size %llu, not %llu", what,
			    (unsigned long long)i->ino, (unsigned long long)a->size,
			    (unsigned long long)i->attr.size);
	if (i->has_times && (a->mtime != i->mtime || a->ctime != i->ctime))
		sim_finding(
			s, "%s: inode %llx has mtime %lld ctime %lld, not %lld %lld as seen before",
			what, (unsigned long long)i->ino, (long long)a->mtime, (long long)a->ctime,
			(long long)i->mtime, (long long)i->ctime);
	i->has_times = true;
	i->mtime = a->mtime;
	i->ctime = a->ctime;
}

/* --- choosing --- */

static bool is_mine(const struct sim_worker *w, const struct m_inode *i)
{
	return i->owner == w->id && i->ino != 0 && model_is_alive(w->sim->model, i);
}

struct m_inode *pick_inode(struct sim_worker *w, bool (*is_fit)(const struct m_inode *i))
{
	uint32_t count = 0, at;

	for (struct m_inode *i = w->sim->model->inodes; i; i = i->next)
		count += is_mine(w, i) && is_fit(i);
	if (count == 0)
		return NULL;
	at = below(w, count);
	for (struct m_inode *i = w->sim->model->inodes; i; i = i->next) {
		if (is_mine(w, i) && is_fit(i) && at-- == 0)
			return i;
	}
	return NULL;
}

static bool is_dir(const struct m_inode *i)
{
	return model_is_dir(i);
}

static struct m_inode *pick_shared(struct sim_worker *w)
{
	char name[MODEL_NAME_MAX];
	uint32_t n = below(w, SHARED_DIRS + 1);

	if (n == SHARED_DIRS)
		return w->sim->model->root;
	(void)snprintf(name, sizeof(name), "s%u", n);
	return model_look(w->sim->model->root, name);
}

struct m_inode *pick_dir(struct sim_worker *w)
{
	bool is_shared = w->sim->profile == SIM_NAMES ? !one_in(w, 4) : one_in(w, 2);
	struct m_inode *dir = is_shared ? pick_shared(w) : pick_inode(w, is_dir);

	return dir ? dir : w->sim->model->root;
}

void pick_name(struct sim_worker *w, const struct m_inode *dir, char out[MODEL_NAME_MAX])
{
	(void)snprintf(out, MODEL_NAME_MAX, "w%u-%u", w->id, below(w, WORKER_NAMES));
	/* Mostly one that is there. */
	for (uint32_t i = 0; i < 4 && !model_look(dir, out) && !one_in(w, 4); i++)
		(void)snprintf(out, MODEL_NAME_MAX, "w%u-%u", w->id, below(w, WORKER_NAMES));
}

void handle_add(struct sim_worker *w, struct m_inode *i)
{
	cfs_assert(!handles_full(w));
	w->handles[w->handle_count++] = (struct worker_handle){ i, w->client };
	i->opens++;
}

/* --- the loop --- */

struct deed {
	CFS_AWAITS void (*fn)(struct sim_worker *w);
	uint32_t weight[SIM_PROFILES];
};

static const struct deed deeds[] = {
	{ do_create, { 14, 10, 10 } }, { do_mkdir, { 5, 8, 1 } },     { do_remove, { 8, 8, 4 } },
	{ do_rename, { 14, 50, 3 } },  { do_link, { 4, 8, 0 } },      { do_lookup, { 4, 6, 0 } },
	{ do_readdir, { 3, 3, 0 } },   { do_write, { 22, 2, 50 } },   { do_read, { 8, 1, 20 } },
	{ do_truncate, { 5, 0, 12 } }, { do_fallocate, { 3, 0, 8 } }, { do_fsync, { 4, 2, 4 } },
	{ do_open, { 3, 1, 2 } },      { do_release, { 2, 1, 2 } },   { do_setattr, { 4, 6, 1 } },
	{ do_getattr, { 4, 4, 2 } },   { do_setxattr, { 4, 1, 1 } },  { do_getxattr, { 2, 0, 0 } },
	{ do_readlink, { 1, 0, 0 } },  { do_copy, { 5, 0, 10 } },
};

static CFS_AWAITS void step(struct sim_worker *w)
{
	enum sim_profile profile = w->sim->profile;
	uint32_t total = 0, at;

	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(deeds); i++)
		total += deeds[i].weight[profile];
	at = below(w, total);
	for (uint32_t i = 0; i < CFS_ARRAY_COUNT(deeds); i++) {
		if (at < deeds[i].weight[profile]) {
			deeds[i].fn(w);
			return;
		}
		at -= deeds[i].weight[profile];
	}
}

static CFS_AWAITS void worker_run(void *arg)
{
	struct sim_worker *w = arg;
	struct sim *s = w->sim;

	while (!s->is_pausing && s->steps_left > 0) {
		s->steps_left--;
		if (s->opts.has_locks && one_in(w, 4))
			do_lock(w);
		else
			step(w);
		if (s->profile != SIM_NAMES && one_in(w, 4))
			(void)cfs_sleep_ns(below(w, 500) * SIM_US);
	}
	s->workers_busy--;
	cfs_waitq_wake_all(&s->wake);
}

void sim_workers_create(struct sim *s, uint32_t count)
{
	cfs_assert(count <= SIM_WORKERS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		struct sim_worker *w = sim_alloc(sizeof(*w));

		w->sim = s;
		w->id = i;
		w->rand = sim_rand(&s->rand);
		w->buf = sim_alloc(WORKER_BUF_BYTES);
		w->expect = sim_alloc(WORKER_BUF_BYTES);
		s->workers[i] = w;
	}
	s->worker_count = count;
}

void sim_workers_start(struct sim *s)
{
	s->is_pausing = false;
	for (uint32_t i = 0; i < s->worker_count; i++) {
		s->workers_busy++;
		sim_client_fiber(s, worker_run, s->workers[i]);
	}
}

void sim_workers_forget(struct sim *s)
{
	s->workers_busy = 0;
	for (uint32_t i = 0; i < s->worker_count; i++) {
		s->workers[i]->handle_count = 0;
		s->workers[i]->lock.ino = 0;
	}
}

void sim_workers_join(struct sim *s, uint64_t limit_ns)
{
	uint64_t until = cfs_now_ns() + limit_ns;
	uint64_t old = cfs_deadline_narrow(until);

	while (s->workers_busy > 0 && cfs_now_ns() < until)
		(void)cfs_waitq_wait(&s->wake);
	cfs_deadline_restore(old);
	if (s->workers_busy > 0)
		sim_finding(s, "%u workers wait for an answer that does not come in %llu s",
			    s->workers_busy, (unsigned long long)(limit_ns / SIM_S));
}

static CFS_AWAITS void worker_release(void *arg)
{
	struct sim_worker *w = arg;

	while (w->handle_count > 0)
		do_release_at(w, 0);
	w->sim->workers_busy--;
	cfs_waitq_wake_all(&w->sim->wake);
}

void sim_workers_release(struct sim *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++) {
		s->workers_busy++;
		sim_client_fiber(s, worker_release, s->workers[i]);
	}
	sim_workers_join(s, 60 * SIM_S);
}

/* --- what is there at first --- */

static CFS_AWAITS void make_dir(struct sim_worker *w, const char *name, uint32_t owner)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *dir = model_inode(m, S_IFDIR | 0755, owner);
	struct wants wants = { 0 };
	struct cfs_attr a;
	int rc;

	op_begin(w);
	rc = cfs_client_mkdir(&w->op, m->root->ino, name_of(name), 0755, &a);
	op_judge(w, "mkdir", rc, &wants, "%s", name);
	model_put(m->root, name, dir);
	attr_check(w, "mkdir", dir, &a);
}

static CFS_AWAITS void setup(void *arg)
{
	struct sim *s = arg;
	struct wants wants = { 0 };
	char name[MODEL_NAME_MAX];
	uint64_t before;

	for (uint32_t i = 0; i < SHARED_DIRS; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		make_dir(s->workers[0], name, MODEL_OWNER_ALL);
	}
	for (uint32_t i = 0; i < s->worker_count; i++) {
		(void)snprintf(name, sizeof(name), "w%u", i);
		make_dir(s->workers[i], name, i);
	}
	before = cfs_now_ns();
	op_begin(s->workers[0]);
	op_judge(s->workers[0], "fsync",
		 cfs_client_fsync(&s->workers[0]->op, s->model->root->ino, false), &wants, "root");
	model_synced(s->model, before);
	s->workers_busy--;
	cfs_waitq_wake_all(&s->wake);
}

void sim_workers_setup(struct sim *s)
{
	s->workers_busy++;
	sim_client_fiber(s, setup, s);
	sim_workers_join(s, 60 * SIM_S);
}
