#include "share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "server/fsck.h"

#define CLIENTS 4u
#define ROUNDS 4u
#define PEEKS_MAX 2000u
#define JOIN_NS (1200 * SIM_S)
#define ROUND_NS (3600 * SIM_S) /* until no trouble is made any more */

static bool dice(struct sim *s, uint32_t one_of)
{
	return sim_below(&s->rand, one_of) == 0;
}

static uint64_t pick(struct sim *s, const uint64_t *from, uint32_t count)
{
	return from[sim_below(&s->rand, count)];
}

/* --- mounts --- */

static CFS_AWAITS void mount_open(struct share *sh, uint32_t index)
{
	struct share_mount *m = sim_alloc(sizeof(*m));
	struct cfs_client_opts opts = { 0 };

	m->keep.sim = sh->sim;
	m->keep.id = index;
	m->keep.rand = sim_rand(&sh->sim->rand);
	keep_hooks(&m->keep, &opts);
	m->lone = sim_lone_open(sh->sim, &opts);
	m->keep.client = m->lone->client;
	keep_reset(&m->keep, sh->ino, SHARE_INODES, SHARE_DIRS);
	sh->mount[index] = m;
}

static void count(struct share *sh, const struct share_mount *m)
{
	sh->hits += m->keep.hits;
	sh->asks += m->keep.asks;
	sh->recalls += m->keep.recalls;
	sh->evictions += m->keep.evictions;
}

static CFS_AWAITS void worker_run(void *arg)
{
	struct share_worker *w = arg;
	struct share *sh = w->share;

	/* One mount is often alone for a while. */
	if (sh->alone && w->mount != sh->mount[sh->alone - 1])
		(void)cfs_sleep_ns(sim_rand(&w->rand) % (SHARE_ALONE_PACES * sh->pace_ns + 1));
	while (w->steps > 0) {
		w->steps--;
		sh->steps_left--;
		share_step(w);
	}
	w->mount->worker[w->place] = NULL;
	sh->busy--;
	cfs_waitq_wake_all(&sh->sim->wake);
}

/* The machine's kernel goes on whatever its client does. */
static CFS_AWAITS void peeker_run(void *arg)
{
	struct share_worker *w = arg;
	struct share *sh = w->share;

	for (uint32_t i = 0; i < PEEKS_MAX && sh->busy > 0;) {
		(void)cfs_sleep_ns(1 + sim_rand(&w->rand) % sh->peek_ns);
		i += share_peek(w);
	}
	w->mount->peeker = NULL;
	sh->peekers--;
	cfs_waitq_wake_all(&sh->sim->wake);
}

static struct share_worker *worker_new(struct share *sh, struct share_mount *m)
{
	struct share_worker *w = sim_alloc(sizeof(*w));

	w->share = sh;
	w->mount = m;
	w->id = sh->workers++;
	w->rand = sim_rand(&sh->sim->rand);
	return w;
}

static uint32_t steps_each(const struct share *sh)
{
	uint32_t workers = CFS_MAX(1u, sh->mounts * SHARE_WORKERS_EACH);

	return sh->sim->opts.steps * 5 / ROUNDS / workers + 1;
}

static void workers_start(struct share *sh, struct share_mount *m, uint32_t steps)
{
	for (uint32_t i = 0; i < SHARE_WORKERS_EACH; i++) {
		struct share_worker *w = worker_new(sh, m);

		w->place = i;
		w->steps = steps;
		m->worker[i] = w;
		sh->busy++;
		sim_lone_fiber(m->lone, worker_run, w);
	}
	m->peeker = worker_new(sh, m);
	sh->peekers++;
	sim_lone_fiber(m->lone, peeker_run, m->peeker);
}

/* It dies, with what it was doing, and another one comes that has as much left to do. */
static CFS_AWAITS void mount_dies(struct share *sh, uint32_t index)
{
	struct share_mount *m = sh->mount[index];
	uint32_t steps = 0;

	for (uint32_t i = 0; i < SHARE_WORKERS_EACH; i++) {
		sh->busy -= m->worker[i] != NULL;
		steps += m->worker[i] ? m->worker[i]->steps : 0;
	}
	sh->peekers -= m->peeker != NULL;
	sh->steps_left -= steps;
	count(sh, m);
	sim_lone_kill(m->lone);
	mount_open(sh, index);
	sh->steps_left += steps / SHARE_WORKERS_EACH * SHARE_WORKERS_EACH;
	workers_start(sh, sh->mount[index], steps / SHARE_WORKERS_EACH);
}

static void say_stuck(const struct share *sh)
{
	for (uint32_t i = 0; i < sh->mounts; i++)
		for (uint32_t k = 0; k < SHARE_WORKERS_EACH; k++) {
			const struct share_worker *w = sh->mount[i]->worker[k];

			if (w)
				fprintf(stderr, "worker %u by %u waits for %s\n", w->id, i,
					w->waits_for ? w->waits_for : "its time");
		}
	sim_finding(sh->sim, "%u workers wait for an answer that does not come", sh->busy);
}

/* --- a round --- */

struct setup {
	struct share *share;
	struct share_worker *worker;
	uint32_t round;
	bool is_done;
};

/* Whose session ended meanwhile does not know what became of it: all is tried again. */
static bool is_made(struct share *sh, const char *what, int rc)
{
	if (rc < 0 && rc != -EIO)
		sim_finding(sh->sim, "%s for a round: %s", what, cfs_err_name(rc));
	return rc == 0;
}

static CFS_AWAITS bool make_inode(struct share *sh, uint32_t index, const char *stem)
{
	static const struct cfs_client_create how = { .mode = S_IFREG | 0644, .flags = CFS_F_EXCL };
	static const struct cfs_client_setattr size = { .valid = CFS_SET_SIZE, .size = 4096 };
	struct cfs_client_op op;
	struct cfs_attr attr;
	char name[40];
	struct cfs_client_name n = { name, 0 };
	uint64_t dir = sh->ino[index % SHARE_DIRS];
	bool is_fine;

	cfs_client_op_init(&op, sh->mount[0]->keep.client, 0, 0);
	n.len_bytes = (uint32_t)snprintf(name, sizeof(name), "%s-%u", stem, index);
	if (index < SHARE_DIRS)
		is_fine = is_made(sh, "mkdir", cfs_client_mkdir(&op, 1, n, 0755, &attr));
	else
		is_fine = is_made(sh, "create", cfs_client_create(&op, dir, n, &how, &attr)) &&
			  is_made(sh, "truncate", cfs_client_setattr(&op, attr.ino, &size, &attr));
	if (is_fine)
		sh->ino[index] = attr.ino;
	return is_fine;
}

static CFS_AWAITS void make_inodes(void *arg)
{
	struct setup *t = arg;
	struct share *sh = t->share;
	char stem[32];

	for (uint32_t i = 0, try = 0; i < SHARE_INODES; try++) {
		(void)snprintf(stem, sizeof(stem), "round%u-%u", t->round, try);
		i += make_inode(sh, i, stem);
	}
	t->is_done = true;
	cfs_waitq_wake_all(&sh->sim->wake);
}

static CFS_AWAITS void look_at_all(void *arg)
{
	struct setup *t = arg;

	share_look(t->worker);
	t->is_done = true;
	cfs_waitq_wake_all(&t->share->sim->wake);
}

/* As a fiber of the first mount. */
static CFS_AWAITS void by_first(struct share *sh, cfs_fiber_fn fn, struct setup *t)
{
	uint64_t until = cfs_now_ns() + JOIN_NS, old = cfs_deadline_narrow(until);

	t->share = sh;
	sim_lone_fiber(sh->mount[0]->lone, fn, t);
	while (!t->is_done && cfs_now_ns() < until)
		(void)cfs_waitq_wait(&sh->sim->wake);
	cfs_deadline_restore(old);
	if (!t->is_done)
		sim_finding(sh->sim, "before or after a round: no answer");
}

static CFS_AWAITS void round_begin(struct share *sh, uint32_t round)
{
	struct setup t = { .round = round };
	uint64_t life_ns = sh->life_ns;

	by_first(sh, make_inodes, &t);
	for (uint32_t i = 0; i < SHARE_FILES; i++) {
		lin_clear(&sh->file[i]);
		sh->file[i].apply = share_apply_file;
		sh->file[i].is_look = share_is_look_file;
		sh->file[i].first = (struct lin_state){ .w = { 0, 4096, 0 } };
	}
	lin_clear(&sh->names);
	sh->names.apply = share_apply_names;
	sh->names.is_look = share_is_look_names;
	sh->born_count = 0;
	memset(sh->lock, 0, sizeof(sh->lock));
	for (uint32_t i = 0; i < sh->mounts; i++)
		keep_reset(&sh->mount[i]->keep, sh->ino, SHARE_INODES, SHARE_DIRS);
	/* What is changed too often is not leased; what is not, has to be changed within a
	 * session's life. */
	sh->pace_ns = pick(sh->sim,
			   (const uint64_t[]){ 0, life_ns / 40, life_ns / 15, life_ns / 6 }, 4);
	sh->peek_ns = pick(sh->sim, (const uint64_t[]){ life_ns / 300, life_ns / 60, life_ns / 20 },
			   3);
	sh->alone = dice(sh->sim, 2) ? 1 + sim_below(&sh->sim->rand, sh->mounts) : 0;
	sh->lock_one_in = (uint32_t)pick(sh->sim, (const uint64_t[]){ 12, 12, 2 }, 3);
	sh->steps_left = sh->mounts * SHARE_WORKERS_EACH * steps_each(sh);
	for (uint32_t i = 0; i < sh->mounts; i++)
		workers_start(sh, sh->mount[i], steps_each(sh));
}

/* Those of dead mounts have no answer; whoever lives has to end. */
static CFS_AWAITS void round_end(struct share *sh)
{
	uint64_t until = cfs_now_ns() + JOIN_NS, old = cfs_deadline_narrow(until);
	struct share_worker w = { .share = sh, .id = sh->workers++ };
	struct setup t = { .worker = &w };

	while (sh->busy + sh->peekers > 0 && cfs_now_ns() < until)
		(void)cfs_waitq_wait(&sh->sim->wake);
	cfs_deadline_restore(old);
	if (sh->busy + sh->peekers > 0)
		say_stuck(sh);
	/* What it keeps is part of it. */
	w.mount = sh->mount[0];
	by_first(sh, look_at_all, &t);
	share_check(sh);
	for (uint32_t i = 0; i < sh->mounts; i++)
		keep_reset(&sh->mount[i]->keep, sh->ino, SHARE_INODES, SHARE_DIRS);
}

/* --- what happens meanwhile --- */

static CFS_AWAITS void node_dies(struct share *sh)
{
	struct sim *s = sh->sim;
	struct cfs_fsck_result fsck;

	sim_node_kill(s);
	if (dice(s, 4))
		sim_fsck(s, "after a kill", &fsck);
	if (dice(s, 2))
		(void)cfs_sleep_ns(sim_below(&s->rand, 2000) * SIM_MS);
	sim_node_start(s);
	sim_node_wait(s);
}

/* A client is cut off, one way or both, for up to twice a session's life. */
static void client_cut(struct share *sh, uint64_t life_ns)
{
	struct sim *s = sh->sim;
	struct share_mount *m = sh->mount[sim_below(&s->rand, sh->mounts)];
	uint32_t way = sim_below(&s->rand, 4);

	if (m->cut_until_ns)
		return;
	m->cut_until_ns = cfs_now_ns() + sim_rand(&s->rand) % (2 * life_ns);
	sim_lone_cut(m->lone, way != 1, way != 2);
}

static void heal(struct share *sh, uint64_t now)
{
	for (uint32_t i = 0; i < sh->mounts; i++) {
		struct share_mount *m = sh->mount[i];

		if (m->cut_until_ns && m->cut_until_ns <= now) {
			m->cut_until_ns = 0;
			sim_lone_cut(m->lone, false, false);
		}
	}
}

static CFS_AWAITS void trouble(struct share *sh, uint64_t life_ns)
{
	struct sim *s = sh->sim;
	uint32_t one_of = 8 + sim_below(&s->rand, 24);
	uint64_t until = cfs_now_ns() + ROUND_NS;

	while (sh->busy > 0 && cfs_now_ns() < until) {
		uint64_t pause_ns = sim_rand(&s->rand) % (life_ns / 8);

		if (sh->pace_ns == 0)
			pause_ns /= 50;
		(void)cfs_sleep_ns(pause_ns + 1);
		heal(sh, cfs_now_ns());
		if (sh->steps_left == 0 || !dice(s, one_of))
			continue;
		switch (sim_below(&s->rand, 12)) {
		case 0:
			node_dies(sh);
			break;
		case 1:
		case 2:
			mount_dies(sh, sim_below(&s->rand, sh->mounts));
			break;
		default:
			client_cut(sh, life_ns);
			break;
		}
	}
	heal(sh, UINT64_MAX);
}

/* --- the run --- */

static void world_dice(struct sim *s, struct sim_world_opts *o)
{
	sim_world_opts_dice(s, o);
	o->clients = s->opts.clients ? s->opts.clients : CLIENTS;
	o->session_life_ns = pick(s, (const uint64_t[]){ 600, 1500, 6000, 6000, 6000, 20000 }, 6) *
			     SIM_MS;
	o->net_delay_max_ns = CFS_MIN(o->net_delay_max_ns, o->session_life_ns / 200);
	if (dice(s, 2)) {
		o->late_ppm = (uint32_t)pick(s, (const uint64_t[]){ 1000, 10000 }, 2);
		o->late_ns = o->session_life_ns * pick(s, (const uint64_t[]){ 1, 2, 4 }, 3) / 2;
	}
}

CFS_AWAITS void share_run(struct sim *s)
{
	struct share *sh = sim_alloc(sizeof(*sh));
	struct sim_world_opts opts;
	struct cfs_fsck_result fsck;

	sh->sim = s;
	cfs_waitq_init(&s->wake);
	world_dice(s, &opts);
	sh->life_ns = opts.session_life_ns;
	sim_world_create(s, &opts);
	sim_node_start(s);
	sim_node_wait(s);
	for (sh->mounts = 0; sh->mounts < opts.clients; sh->mounts++)
		mount_open(sh, sh->mounts);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		round_begin(sh, i);
		trouble(sh, opts.session_life_ns);
		round_end(sh);
	}
	for (uint32_t i = 0; i < sh->mounts; i++) {
		count(sh, sh->mount[i]);
		sim_lone_close(sh->mount[i]->lone);
	}
	sim_node_stop(s);
	sim_fsck(s, "at the end", &fsck);
	printf("kept: %llu answers, %llu asked for, %llu recalls, %llu evictions, %llu histories "
	       "not decided\n",
	       (unsigned long long)sh->hits, (unsigned long long)sh->asks,
	       (unsigned long long)sh->recalls, (unsigned long long)sh->evictions,
	       (unsigned long long)sh->undecided);
	sim_trace(s, sim_disk_hash(s), cfs_now_ns());
}
