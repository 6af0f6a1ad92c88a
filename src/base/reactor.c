/*
 * The loop of one core (doc/design/runtime.md).
 *
 * A turn runs the fibers that are ready, then messages, completions, pollers and timers. A turn
 * that found nothing may spin, and then sleeps; entries that it left for io_uring go with the same
 * system call that sleeps.
 */
#include "base/reactor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/reactor_internal.h"
#include "base/util.h"

#define FIBER_ROUNDS_MAX 8u /* of one turn, before the others are asked again */
#define TIMERS_PER_TURN_MAX 256u
#define POLLER_TURNS_OUT_MAX 8u /* of a core that does not sleep, for a drained poller */
#define OUTBOX_RETRY_NS 50000u  /* sleep of a core whose receiver is far behind */
#define OUTBOX_YIELDS_MAX 64u   /* before that */
#define SIM_START_NS 1000000000ull
#define NS_PER_S 1000000000ull

static _Thread_local struct cfs_reactor *reactor_self;

struct cfs_reactor *cfs_reactor_self(void)
{
	return reactor_self;
}

void cfs_reactor_self_set(struct cfs_reactor *r)
{
	reactor_self = r;
}

struct cfs_sched *cfs_sched_self(void)
{
	return reactor_self ? &reactor_self->sched : NULL;
}

/* ---- clocks and chance ---- */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	int rc = clock_gettime(id, &ts);

	cfs_assert(rc == 0);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static bool reactor_is_sim(const struct cfs_reactor *r)
{
	return r->runtime->opts.is_sim;
}

uint64_t cfs_now_ns(void)
{
	const struct cfs_reactor *r = reactor_self;

	return r && reactor_is_sim(r) ? r->sim_now_ns : clock_ns(CLOCK_BOOTTIME);
}

uint64_t cfs_wall_ns(void)
{
	const struct cfs_reactor *r = reactor_self;

	if (r && reactor_is_sim(r))
		return r->runtime->opts.sim_wall_ns + (r->sim_now_ns - SIM_START_NS);
	return clock_ns(CLOCK_REALTIME);
}

static void get_random(void *out, size_t len_bytes)
{
	ssize_t n;

	do {
		n = getrandom(out, len_bytes, 0);
	} while (n < 0 && errno == EINTR);
	cfs_assert(n == (ssize_t)len_bytes); /* never short up to 256 bytes */
}

static void rand_init(struct cfs_reactor *r)
{
	uint64_t x = r->runtime->opts.sim_seed;

	if (!reactor_is_sim(r)) {
		get_random(r->rand, sizeof(r->rand));
		return;
	}
	for (uint32_t i = 0; i < 4; i++) {
		x += 0x9e3779b97f4a7c15ull;
		r->rand[i] = cfs_hash_u64(x);
	}
}

static uint64_t rotate_left(uint64_t x, uint32_t bits)
{
	return x << bits | x >> (64 - bits);
}

/* xoshiro256** (Blackman, Vigna 2018). */
uint64_t cfs_rand_u64(void)
{
	struct cfs_reactor *r = reactor_self;
	uint64_t *s, out, t;

	if (!r) {
		get_random(&out, sizeof(out));
		return out;
	}
	s = r->rand;
	out = rotate_left(s[1] * 5, 7) * 9;
	t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return out;
}

/* ---- timers ---- */

void cfs_timer_arm(struct cfs_timer *t, uint64_t due_ns, void (*fn)(void *arg), void *arg)
{
	struct cfs_reactor *r = reactor_self;

	cfs_assert(r != NULL);
	if (t->slot)
		cfs_timer_heap_remove(&r->timers, t);
	t->due_ns = due_ns;
	t->fn = fn;
	t->arg = arg;
	t->domain = cfs_domain();
	cfs_timer_heap_add(&r->timers, t);
}

void cfs_timer_disarm(struct cfs_timer *t)
{
	struct cfs_reactor *r = reactor_self;

	cfs_assert(r != NULL);
	if (t->slot)
		cfs_timer_heap_remove(&r->timers, t);
}

static uint32_t timers_turn(struct cfs_reactor *r)
{
	uint32_t fired = 0;
	uint64_t now_ns;

	if (!r->timers.count)
		return 0;
	now_ns = cfs_now_ns();
	while (fired < TIMERS_PER_TURN_MAX) {
		struct cfs_timer *t = cfs_timer_heap_pop(&r->timers, now_ns);

		if (!t)
			break;
		fired++;
		r->sched.domain = t->domain;
		t->fn(t->arg);
		r->sched.domain = 0;
	}
	r->stats.timers += fired;
	return fired;
}

/* ---- messages ---- */

static void msg_run(void *ctx, const struct cfs_mail *msg)
{
	struct cfs_reactor *r = ctx;

	r->sched.domain = msg->domain;
	msg->fn(msg->arg);
	r->sched.domain = 0;
}

static void outbox_turn(struct cfs_reactor *r)
{
	for (uint64_t bits = r->outbox_bits; bits; bits &= bits - 1) {
		uint32_t core = (uint32_t)__builtin_ctzll(bits);
		struct cfs_msgq *q = &r->outbox[core];
		bool woke = false;

		while (q->count && cfs_mailbox_push(&r->runtime->reactors[core].mailbox, r->core,
						    q->slots[q->head], &woke)) {
			struct cfs_mail sent;

			cfs_msgq_pop(q, &sent);
			r->stats.wakeups_sent += woke;
		}
		if (!q->count)
			r->outbox_bits &= ~CFS_BIT(core);
	}
}

static void post_from_core(struct cfs_reactor *r, uint32_t core, struct cfs_mail msg)
{
	bool woke = false;

	r->stats.posts++;
	if (core == r->core) {
		cfs_msgq_push(&r->local, msg);
		return;
	}
	if (r->outbox[core].count == 0 &&
	    cfs_mailbox_push(&r->runtime->reactors[core].mailbox, r->core, msg, &woke)) {
		r->stats.wakeups_sent += woke;
		return;
	}
	cfs_msgq_push(&r->outbox[core], msg);
	r->outbox_bits |= CFS_BIT(core);
}

void cfs_core_post(uint32_t core, void (*fn)(void *arg), void *arg)
{
	struct cfs_runtime *rt = cfs_runtime_current();
	struct cfs_mail msg = { .fn = fn, .arg = arg, .domain = cfs_domain() };

	cfs_assert(rt != NULL);
	cfs_assert(core < rt->cores);
	if (reactor_self)
		post_from_core(reactor_self, core, msg);
	else
		cfs_mailbox_push_other(&rt->reactors[core].mailbox, msg);
}

static uint32_t msgs_turn(struct cfs_reactor *r)
{
	uint32_t local = r->local.count;
	uint32_t ran = 0;
	struct cfs_mail msg;

	/* What a message posts to its own core waits for the next turn. */
	for (; ran < local && cfs_msgq_pop(&r->local, &msg); ran++)
		msg_run(r, &msg);
	if (r->outbox_bits)
		outbox_turn(r);
	if (!reactor_is_sim(r))
		ran += cfs_mailbox_run(&r->mailbox, msg_run, r);
	return ran;
}

/* ---- pollers ---- */

void cfs_poller_add(struct cfs_poller *p)
{
	struct cfs_reactor *r = reactor_self;

	cfs_assert(r != NULL);
	cfs_assert(!p->is_added);
	cfs_assert(p->fd < 0 || !reactor_is_sim(r));
	p->is_added = true;
	p->is_armed = false;
	p->is_drained = false;
	cfs_list_append(&r->pollers, &p->link);
}

void cfs_poller_remove(struct cfs_poller *p)
{
	struct cfs_reactor *r = reactor_self;

	cfs_assert(r != NULL);
	if (!p->is_added)
		return;
	if (p->is_armed)
		cfs_ring_disarm_poller(r, p);
	if (r->poller_next == &p->link)
		r->poller_next = p->link.next;
	cfs_list_remove(&p->link);
	p->is_added = false;
}

/* Whether @p said that there is nothing, and its descriptor has not said otherwise since. */
static bool poller_is_out(struct cfs_poller *p)
{
	if (!p->is_drained)
		return false;
	if (++p->turns_left_out < POLLER_TURNS_OUT_MAX)
		return true;
	p->is_drained = false;
	return false;
}

static uint32_t pollers_turn(struct cfs_reactor *r)
{
	uint32_t found = 0;

	for (struct cfs_list *n = r->pollers.next; n != &r->pollers; n = r->poller_next) {
		struct cfs_poller *p = cfs_list_entry(n, struct cfs_poller, link);
		int rc;

		r->poller_next = n->next;
		if (poller_is_out(p))
			continue;
		p->turns_left_out = 0;
		rc = p->poll(p->arg);
		found += rc > 0 ? (uint32_t)rc : 0;
	}
	r->poller_next = NULL;
	return found;
}

/* Asks all whether they may sleep. A poller may not remove itself here. */
static bool pollers_may_sleep(struct cfs_reactor *r)
{
	cfs_list_for_each(n, &r->pollers) {
		struct cfs_poller *p = cfs_list_entry(n, struct cfs_poller, link);

		if (p->may_sleep && !p->may_sleep(p->arg))
			return false;
	}
	return true;
}

/* ---- the loop ---- */

static uint32_t reactor_turn(struct cfs_reactor *r)
{
	uint32_t work = cfs_sched_run(&r->sched, FIBER_ROUNDS_MAX);

	work += msgs_turn(r);
	if (r->ring.is_open)
		work += cfs_ring_turn(r);
	work += pollers_turn(r);
	work += timers_turn(r);
	if (work > 0 && r->ring.is_open)
		cfs_ring_submit(r, false);
	return work;
}

/* After a sleep of @slept_ns: a short one would better have been spun away. */
static void spin_adapt(struct cfs_reactor *r, uint64_t now_ns, uint64_t slept_ns)
{
	if (now_ns < r->spin_again_ns)
		return;
	if (slept_ns < CFS_SPIN_NS_MAX)
		r->spin_ns = CFS_MIN(CFS_SPIN_NS_MAX, r->spin_ns * 2 + 25000);
	else
		r->spin_ns -= r->spin_ns / 4 + (r->spin_ns > 0);
}

static void cpu_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

/*
 * True while it is too early to sleep. A look takes about a microsecond; when one took very much
 * longer, somebody else has use for the CPU: no more of this for a while.
 */
static bool reactor_spin(struct cfs_reactor *r)
{
	uint64_t now_ns;

	if (!r->spin_ns)
		return false;
	now_ns = cfs_now_ns();
	if (!r->idle_since_ns)
		r->idle_since_ns = now_ns;
	else if (now_ns - r->spun_ns > CFS_SPIN_LOST_NS) {
		r->spin_ns = 0;
		r->spin_again_ns = now_ns + CFS_SPIN_HOLD_OFF_NS;
		r->stats.spins_lost++;
		return false;
	}
	r->spun_ns = now_ns;
	if (now_ns - r->idle_since_ns >= r->spin_ns)
		return false;
	r->stats.spins++;
	cfs_ring_submit(r, true);
	cpu_relax();
	return true;
}

/* False: it was no time to sleep. */
static bool reactor_sleep(struct cfs_reactor *r)
{
	uint64_t before_ns, now_ns, timeout_ns = UINT64_MAX, due_ns;

	if (!pollers_may_sleep(r))
		return false;
	due_ns = cfs_timer_heap_due(&r->timers);
	before_ns = cfs_now_ns();
	if (due_ns <= before_ns)
		return false;
	if (due_ns != UINT64_MAX)
		timeout_ns = due_ns - before_ns;
	if (r->outbox_bits)
		timeout_ns = CFS_MIN(timeout_ns, (uint64_t)OUTBOX_RETRY_NS);
	cfs_list_for_each(n, &r->pollers) {
		struct cfs_poller *p = cfs_list_entry(n, struct cfs_poller, link);

		if (p->fd >= 0 && !p->is_armed)
			cfs_ring_arm_poller(r, p);
	}
	cfs_ring_arm_wake(r);
	if (!cfs_mailbox_sleep(&r->mailbox))
		return false;
	r->stats.sleeps++;
	cfs_ring_sleep(r, timeout_ns);
	cfs_mailbox_awake(&r->mailbox);
	now_ns = cfs_now_ns();
	spin_adapt(r, now_ns, now_ns - before_ns);
	return true;
}

/* Nothing is ready: the clock moves to the next timer. */
static void sim_idle(struct cfs_reactor *r)
{
	uint64_t due_ns;

	if (!pollers_may_sleep(r))
		return;
	due_ns = cfs_timer_heap_due(&r->timers);
	if (due_ns == UINT64_MAX) {
		dprintf(STDERR_FILENO, "simulation deadlock at %" PRIu64 " ns, seed %" PRIu64 "\n",
			r->sim_now_ns, r->runtime->opts.sim_seed);
		cfs_sched_print(&r->sched);
		cfs_assert(!"simulation deadlock");
	}
	r->sim_now_ns = CFS_MAX(r->sim_now_ns, due_ns);
}

/* A ring that a receiver empties is empty soon: give it the CPU, then look again. */
static bool outbox_yield(struct cfs_reactor *r)
{
	if (!r->outbox_bits || r->outbox_yields >= OUTBOX_YIELDS_MAX) {
		r->outbox_yields = 0;
		return false;
	}
	r->outbox_yields++;
	cfs_ring_submit(r, true);
	sched_yield();
	return true;
}

static bool reactor_is_done(const struct cfs_reactor *r)
{
	return atomic_load_explicit(&r->runtime->is_stopping, memory_order_acquire) &&
	       r->root.count == 0 && r->ring.inflight == 0 && r->local.count == 0 &&
	       !r->outbox_bits && !cfs_sched_has_ready(&r->sched);
}

void cfs_reactor_loop(struct cfs_reactor *r)
{
	while (!reactor_is_done(r)) {
		if (reactor_turn(r) > 0) {
			r->idle_since_ns = 0;
			continue;
		}
		if (reactor_is_done(r))
			break;
		if (reactor_is_sim(r)) {
			sim_idle(r);
			continue;
		}
		if (outbox_yield(r) || reactor_spin(r))
			continue;
		r->idle_since_ns = 0;
		if (!reactor_sleep(r))
			cfs_ring_submit(r, true);
	}
}

/* ---- life ---- */

int cfs_reactor_init(struct cfs_reactor *r, struct cfs_runtime *rt, uint32_t core)
{
	int rc;

	r->runtime = rt;
	r->core = core;
	cfs_sched_init(&r->sched);
	cfs_group_init(&r->root);
	cfs_list_init(&r->pollers);
	r->sim_now_ns = SIM_START_NS;
	rand_init(r);
	rc = cfs_stock_init(&r->stock);
	if (rc < 0)
		return rc;
	rc = cfs_timer_heap_init(&r->timers);
	if (rc == 0 && !rt->opts.is_sim)
		rc = cfs_ring_open(&r->ring);
	return rc;
}

void cfs_reactor_fini(struct cfs_reactor *r)
{
	if (r->sched.live_count > 0)
		cfs_sched_print(&r->sched); /* each is in a group that nobody joined */
	cfs_sched_fini(&r->sched);
	if (r->ring.is_open)
		cfs_ring_close(&r->ring);
	cfs_buf_pool_destroy(r->bufs);
	cfs_timer_heap_fini(&r->timers);
	cfs_stock_fini(&r->stock);
	cfs_msgq_fini(&r->local);
	for (uint32_t i = 0; i < r->runtime->cores; i++)
		cfs_msgq_fini(&r->outbox[i]);
}

void cfs_reactor_stats(struct cfs_reactor_stats *out)
{
	const struct cfs_reactor *r = reactor_self;

	cfs_assert(r != NULL);
	*out = r->stats;
	out->switches = r->sched.switches;
	out->fibers_live = r->sched.live_count;
}

/* ---- domains ---- */

void cfs_domain_abandon(uint32_t domain)
{
	struct cfs_reactor *r = reactor_self;
	uint32_t posts;

	cfs_assert(r != NULL);
	cfs_assert(reactor_is_sim(r));
	cfs_assert(domain != 0);
	cfs_timer_heap_abandon(&r->timers, domain); /* first: some lie on the fibers' stacks */
	cfs_sched_abandon(&r->sched, domain);
	posts = r->local.count;
	for (uint32_t i = 0; i < posts; i++) {
		struct cfs_mail msg;

		cfs_msgq_pop(&r->local, &msg);
		if (msg.domain != domain)
			cfs_msgq_push(&r->local, msg);
	}
}
