/*
 * A run: setup, work with crashes in between, the end. At the end nobody works any more: what a
 * client sees is what the model says, a clean disk is left, and when all files are removed nothing
 * else is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "check.h"
#include "server/fsck.h"
#include "share.h"
#include "sim.h"
#include "worker.h"
#include "world.h"

#define CRASHES_MAX 10u
#define STUCK_NS (90 * SIM_S)
#define JOIN_NS (300 * SIM_S)
#define CHILD_STEPS 24u

static bool dice(struct sim *s, uint32_t n)
{
	return sim_below(&s->rand, n) == 0;
}

static CFS_AWAITS void sleep_ns(uint64_t ns)
{
	(void)cfs_sleep_ns(ns);
}

void sim_crash(struct sim *s, bool is_power)
{
	if (is_power)
		sim_power_cut(s);
	else
		sim_node_kill(s);
	s->has_crashed = true;
	s->is_power = is_power;
}

/* --- recovery --- */

/* Starts the node; sometimes it dies again before it serves. */
static CFS_AWAITS void start_again(struct sim *s)
{
	for (uint32_t again = 0;; again++) {
		bool has_power = true;

		sim_node_start(s);
		if (again == 2 || !dice(s, 4))
			break;
		sleep_ns(sim_below(&s->rand, 3000) * SIM_US);
		/* A power cut would take the clients: only where they are gone already. */
		has_power = s->is_power && dice(s, 2);
		sim_crash(s, has_power);
		s->is_power |= has_power;
	}
	sim_node_wait(s);
}

static CFS_AWAITS void look_and_rebase(struct sim *s)
{
	struct snap *p;

	sim_clients_open(s);
	p = snap_take(s);
	check_prefix(s, p);
	model_rebase(s, p);
	snap_destroy(p);
}

void sim_recover(struct sim *s)
{
	struct cfs_fsck_result fsck;
	bool is_power = s->is_power;

	s->has_crashed = false;
	if (is_power)
		sim_workers_forget(s);
	if (dice(s, 2))
		sim_fsck(s, is_power ? "after a power cut" : "after a kill", &fsck);
	if (!is_power && dice(s, 2))
		sleep_ns(sim_below(&s->rand, 2000) * SIM_MS);
	start_again(s);
	s->has_crashed = s->is_power = false;
	if (!is_power)
		return;
	look_and_rebase(s);
	sim_workers_start(s);
}

/* --- crashes --- */

static void crash_now(void *arg)
{
	struct sim *s = arg;

	if (!s->has_crashed && !sim_node_is_dead(s))
		sim_crash(s, s->is_power);
}

static bool is_power_next(struct sim *s)
{
	return s->opts.mode == SIM_POWER || (s->opts.mode == SIM_MIXED && dice(s, 2));
}

/* Until @count operations more were begun, or nobody works. */
static CFS_AWAITS void wait_for_ops(struct sim *s, uint32_t count)
{
	uint64_t last = s->ops, until_ops = s->ops + count, since = cfs_now_ns();

	while (s->workers_busy > 0 && s->ops < until_ops) {
		sleep_ns(SIM_MS);
		if (s->ops != last) {
			last = s->ops;
			since = cfs_now_ns();
		} else if (cfs_now_ns() - since > STUCK_NS) {
			sim_finding(s, "no operation has been answered for %llu s",
				    (unsigned long long)(STUCK_NS / SIM_S));
		}
	}
}

/* The network goes for a while: nobody may notice but by the time it takes. */
static CFS_AWAITS void net_outage(struct sim *s)
{
	sim_net_cut(s, true);
	sleep_ns(sim_below(&s->rand, 4000) * SIM_MS);
	sim_net_cut(s, false);
}

/* At some moment soon, or at some write of the device soon. */
static CFS_AWAITS void wait_and_crash(struct sim *s)
{
	bool is_power = is_power_next(s);

	if (dice(s, 2)) {
		sleep_ns(sim_below(&s->rand, 4000) * SIM_US);
		sim_crash(s, is_power);
		return;
	}
	s->is_power = is_power;
	sim_at_write(s, 1 + sim_below(&s->rand, 12), crash_now, s);
	for (uint32_t i = 0; i < 200 && !s->has_crashed; i++)
		sleep_ns(SIM_MS);
	sim_at_write(s, UINT32_MAX, crash_now, s);
	if (!s->has_crashed)
		sim_crash(s, is_power);
}

static CFS_AWAITS void work_and_crash(struct sim *s)
{
	uint32_t crashes = 1 + sim_below(&s->rand, CRASHES_MAX);
	uint32_t apart = s->opts.steps / (crashes + 1) + 1;

	for (uint32_t i = 0; i < crashes && s->workers_busy > 0; i++) {
		wait_for_ops(s, 1 + apart / 2 + sim_below(&s->rand, apart));
		if (s->workers_busy == 0)
			break;
		if (dice(s, 5)) {
			net_outage(s);
			continue;
		}
		wait_and_crash(s);
		sim_recover(s);
	}
}

static CFS_AWAITS void work_in_points(struct sim *s)
{
	sim_points_start(s);
	while (s->workers_busy > 0 && !s->has_crashed)
		(void)cfs_waitq_wait(&s->wake);
	if (!s->has_crashed) {
		sim_points_end(s);
		return;
	}
	s->steps_left = CFS_MIN(s->steps_left, CHILD_STEPS);
	sim_recover(s);
}

/* --- the end --- */

struct remover {
	struct sim *sim;
	struct cfs_client_op op;
	bool is_done;
};

static CFS_AWAITS void remove_below(struct remover *r, struct m_inode *dir, uint32_t depth)
{
	cfs_assert(depth < 64);
	while (dir->dentry_count > 0) {
		struct m_dentry *d = &dir->dentries[0];
		struct cfs_client_name name = { d->name, (uint32_t)strlen(d->name) };
		bool is_dir = model_is_dir(d->to);
		int rc;

		if (is_dir)
			remove_below(r, d->to, depth + 1);
		rc = is_dir ? cfs_client_rmdir(&r->op, dir->ino, name)
			    : cfs_client_unlink(&r->op, dir->ino, name);
		if (rc < 0)
			sim_finding(r->sim, "at the end: %s/%s cannot be removed: %s", dir->name,
				    d->name, cfs_err_name(rc));
		model_remove(dir, d->name);
	}
}

static CFS_AWAITS void remove_all(void *arg)
{
	struct remover *r = arg;

	remove_below(r, r->sim->model->root, 0);
	r->is_done = true;
	cfs_waitq_wake_all(&r->sim->wake);
}

/* Stops all in order and counts what the disk holds. */
static CFS_AWAITS void stop_and_count(struct sim *s, const struct snap *p, bool is_empty)
{
	struct cfs_fsck_result fsck;

	sim_clients_close(s);
	/* Sessions of clients that died end by themselves, and what they held open goes. */
	sleep_ns(is_empty || s->cuts > 0 ? 100 * SIM_S : 5 * SIM_S);
	sim_node_stop(s);
	sim_fsck(s, is_empty ? "when all was removed" : "at the end", &fsck);
	if (fsck.inodes != p->inode_count || fsck.dentries != p->dentry_count)
		sim_finding(s, "the disk holds %llu inodes and %llu names, the walk found %u, %u",
			    (unsigned long long)fsck.inodes, (unsigned long long)fsck.dentries,
			    p->inode_count, p->dentry_count);
	if (is_empty && (fsck.extents > 0 || fsck.data_blocks > 0))
		sim_finding(s, "all files are gone, %llu extents and %llu blocks of data are not",
			    (unsigned long long)fsck.extents, (unsigned long long)fsck.data_blocks);
}

static CFS_AWAITS void look(struct sim *s, bool is_empty)
{
	struct snap *p = snap_take(s);

	check_equal(s, p);
	stop_and_count(s, p, is_empty);
	snap_destroy(p);
}

static CFS_AWAITS void finish(struct sim *s)
{
	struct remover *r;

	sim_workers_join(s, JOIN_NS);
	sim_workers_release(s);
	look(s, false);
	if (s->points && sim_points_is_child(s) && !dice(s, 4))
		return;
	/* Once more from the disk, and then nothing is to be left. */
	sim_node_start(s);
	sim_node_wait(s);
	sim_clients_open(s);
	r = sim_alloc(sizeof(*r));
	r->sim = s;
	cfs_client_op_init(&r->op, sim_client(s, 0), 0, 0);
	sim_client_fiber(s, remove_all, r);
	while (!r->is_done)
		(void)cfs_waitq_wait(&s->wake);
	free(r);
	look(s, true);
}

int sim_run(void *arg)
{
	struct sim *s = arg;
	struct sim_world_opts opts;
	uint32_t workers;

	if (s->opts.has_leases) {
		share_run(s);
		return 0;
	}
	s->profile = (enum sim_profile)sim_below(&s->rand, SIM_PROFILES);
	workers = 2 + sim_below(&s->rand, s->profile == SIM_NAMES ? 9 : 5);
	if (s->opts.workers)
		workers = s->opts.workers;
	cfs_waitq_init(&s->wake);
	sim_world_opts_dice(s, &opts);
	sim_world_create(s, &opts);
	s->model = model_create(s);
	sim_workers_create(s, workers);
	sim_node_start(s);
	sim_node_wait(s);
	sim_clients_open(s);
	sim_workers_setup(s);
	s->steps_left = s->opts.steps;
	sim_workers_start(s);
	if (s->opts.mode == SIM_CRASHALL)
		work_in_points(s);
	else
		work_and_crash(s);
	finish(s);
	sim_trace(s, sim_disk_hash(s), cfs_now_ns());
	return 0;
}
