/* Locks as records and waits in the shards: what lasts, what goes with whom, whose turn it is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "harness.h"
#include "lib/test_fiber.h"
#include "meta/lock.h"

#define MS 1000000ull
#define ALL_BYTES (1ull << 63)
#define R CFS_LOCK_READ
#define W CFS_LOCK_WRITE
#define NONE CFS_LOCK_NONE

static const struct harness_opts one = { .shards = 1, .stores = 1 };
static const struct harness_opts four = { .shards = 4, .stores = 2 };

struct ask {
	struct harness *h;
	uint64_t ino, session, owner, off, len;
	uint32_t type, flags, hold_ms;
	struct cfs_waitq *done;
	int rc;
	bool is_done;
	uint64_t done_ns;
};

static CFS_AWAITS int ask(const struct ask *a, uint16_t op, struct cfs_msg *out)
{
	struct cfs_msg m = { .op = op };
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino, a->ino);
	cfs_msg_set(&m, owner, a->owner);
	cfs_msg_set(&m, lock, a->type);
	cfs_msg_set(&m, off, a->off);
	cfs_msg_set(&m, len, a->len);
	cfs_msg_set(&m, flags, a->flags);
	if (op == CFS_OP_LOCK)
		cfs_msg_set(&m, pid, 77);
	if (op == CFS_OP_LOCK_WAIT && a->hold_ms)
		cfs_msg_set(&m, count, a->hold_ms);
	m.sess = a->session;
	rc = harness_call(a->h, &m, &r);
	if (out)
		*out = r.msg;
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int lock(struct harness *h, uint64_t ino, uint64_t owner, uint32_t type,
			   uint64_t off, uint64_t len)
{
	return ask(
		&(struct ask){
			.h = h, .ino = ino, .owner = owner, .type = type, .off = off, .len = len },
		CFS_OP_LOCK, NULL);
}

static CFS_AWAITS int flock_file(struct harness *h, uint64_t ino, uint64_t owner, uint32_t type)
{
	return ask(&(struct ask){ .h = h,
				  .ino = ino,
				  .owner = owner,
				  .type = type,
				  .len = ALL_BYTES,
				  .flags = CFS_F_FLOCK },
		   CFS_OP_LOCK, NULL);
}

/* As a client does: in a fiber, until it has the lock. */
static CFS_AWAITS void lock_waiting(void *arg)
{
	struct ask *a = arg;
	uint32_t flags = a->flags;

	do {
		a->flags = (flags & CFS_F_FLOCK) | CFS_F_LOCK_WAITS;
		a->rc = ask(a, CFS_OP_LOCK, NULL);
		a->flags = flags;
		while (a->rc == -EAGAIN) {
			a->rc = ask(a, CFS_OP_LOCK_WAIT, NULL);
			if (a->rc == 0)
				a->rc = -EINPROGRESS;
		}
	} while (a->rc == -EINPROGRESS);
	a->is_done = true;
	a->done_ns = cfs_now_ns();
}

static CFS_AWAITS uint64_t make(struct harness *h, const char *name)
{
	uint64_t ino;

	assert_int_equal(hs_create(h, HARNESS_ROOT, name, 0644, CFS_F_OPEN, &ino), 0);
	return ino;
}

static CFS_AWAITS void holds(struct harness *h, uint64_t ino, uint64_t off, uint64_t len,
			     uint32_t type, uint64_t want_off, uint64_t want_len)
{
	struct ask a = { .h = h, .ino = ino, .owner = 999, .type = W, .off = off, .len = len };
	struct cfs_msg m;

	assert_int_equal(ask(&a, CFS_OP_LOCK_TEST, &m), 0);
	assert_int_equal(m.lock, type);
	if (type == NONE)
		return;
	assert_int_equal(m.off, want_off);
	assert_int_equal(m.len, want_len);
	assert_int_equal(m.pid, 77);
}

CFS_TEST_SIM(bad_requests_are_refused)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f"), d;
	struct ask a = { .h = h, .ino = f, .owner = 1, .len = 1 };

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(lock(h, f, 1, 3, 0, 1), -EINVAL);
	assert_int_equal(lock(h, f, 1, W, 0, 0), -EINVAL);
	assert_int_equal(lock(h, f, 1, W, ALL_BYTES, 1), -EINVAL);
	assert_int_equal(lock(h, f, 1, W, 1, ALL_BYTES), -EINVAL);
	assert_int_equal(lock(h, f, 1, W, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(lock(h, d, 1, W, 0, 1), -EINVAL);
	assert_int_equal(lock(h, f + 1000, 1, W, 0, 1), -ESTALE);
	a.flags = CFS_F_FLOCK;
	assert_int_equal(ask(&a, CFS_OP_LOCK, NULL), -EINVAL);
	a.type = NONE;
	a.flags = 0;
	assert_int_equal(ask(&a, CFS_OP_LOCK_WAIT, NULL), -EINVAL);
	assert_int_equal(lock(h, f, 1, NONE, 0, ALL_BYTES), 0);
	harness_finish(h);
}

CFS_TEST_SIM(locks_last)
{
	struct harness *h = harness_new(&four);
	uint64_t f = make(h, "f"), g = make(h, "g"), index;

	assert_int_equal(lock(h, f, 1, W, 10, 10), 0);
	assert_int_equal(lock(h, f, 1, NONE, 14, 2), 0);
	assert_int_equal(lock(h, f, 2, R, 100, ALL_BYTES - 100), 0);
	assert_int_equal(flock_file(h, f, 1, W), 0);
	assert_int_equal(lock(h, g, 1, R, 0, 1), 0);
	for (int round = 0; round < 4; round++) {
		holds(h, f, 0, 14, W, 10, 4);
		holds(h, f, 15, 50, W, 16, 4);
		holds(h, f, 14, 2, NONE, 0, 0);
		holds(h, f, 5000, 1, R, 100, ALL_BYTES - 100);
		holds(h, g, 0, 10, R, 0, 1);
		assert_int_equal(lock(h, f, 3, R, 10, 1), -EAGAIN);
		assert_int_equal(flock_file(h, f, 2, R), -EAGAIN);
		if (round == 1)
			harness_checkpoint(h);
		if (round == 2)
			harness_sync(h);
		harness_kill(h, round == 2);
		harness_start(h);
	}
	/* What changes nothing is no record. */
	index = h->shards[0]->index;
	assert_int_equal(lock(h, f, 1, W, 11, 2), 0);
	assert_int_equal(lock(h, f, 1, NONE, 14, 2), 0);
	assert_int_equal(h->shards[0]->index, index);
	/* Without locks it is as it was before. */
	assert_int_equal(lock(h, f, 1, NONE, 0, ALL_BYTES), 0);
	assert_int_equal(lock(h, f, 2, NONE, 0, ALL_BYTES), 0);
	assert_int_equal(flock_file(h, f, 1, NONE), 0);
	holds(h, f, 0, ALL_BYTES, NONE, 0, 0);
	assert_null(cfs_inode_find(&cfs_meta_of(h->shards[0])->tables, f)->locks);
	harness_finish(h);
}

CFS_TEST_SIM(a_flock_that_is_refused_is_lost)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f");

	assert_int_equal(flock_file(h, f, 1, R), 0);
	assert_int_equal(flock_file(h, f, 2, R), 0);
	assert_int_equal(flock_file(h, f, 1, W), -EAGAIN);
	assert_int_equal(flock_file(h, f, 2, W), 0);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(flock_file(h, f, 1, R), -EAGAIN);
	/* Of the others one that is refused stays. */
	assert_int_equal(lock(h, f, 1, R, 0, 10), 0);
	assert_int_equal(lock(h, f, 2, R, 0, 10), 0);
	assert_int_equal(lock(h, f, 1, W, 0, 10), -EAGAIN);
	assert_int_equal(lock(h, f, 2, W, 0, 10), -EAGAIN);
	harness_finish(h);
}

CFS_TEST_SIM(they_go_with_session_and_inode)
{
	struct harness *h = harness_new(&four);
	uint64_t f = make(h, "f"), g = make(h, "g"), other = h->session + 2;
	struct ask a = { .h = h, .ino = f, .session = other, .owner = 1, .type = W, .len = 1 };
	const struct cfs_tables *t;

	/* More owners than one record takes. */
	for (uint64_t n = 0; n < 100; n++) {
		a.owner = n;
		a.off = n * 10;
		assert_int_equal(ask(&a, CFS_OP_LOCK, NULL), 0);
	}
	a.off = 0;
	a.len = ALL_BYTES;
	a.flags = CFS_F_FLOCK;
	assert_int_equal(ask(&a, CFS_OP_LOCK, NULL), 0);
	assert_int_equal(lock(h, f, 1, W, 5, 1), 0);
	for (uint32_t k = 0; k < h->o.shards; k++)
		cfs_shard_session_end(h->shards[k], other);
	holds(h, f, 0, ALL_BYTES, W, 5, 1);
	assert_int_equal(flock_file(h, f, 1, W), 0);
	harness_kill(h, false);
	harness_start(h);
	t = &cfs_meta_of(h->shards[0])->tables;
	holds(h, f, 0, ALL_BYTES, W, 5, 1);
	/* With the last name and the last open. */
	assert_int_equal(lock(h, g, 1, W, 5, 1), 0);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "g"), 0);
	holds(h, g, 0, ALL_BYTES, W, 5, 1);
	assert_int_equal(hs_release(h, g), 0);
	assert_null(cfs_inode_find(t, g));
	assert_int_equal(lock(h, g, 1, NONE, 0, ALL_BYTES), -ESTALE);
	harness_finish(h);
}

CFS_TEST_SIM(there_are_limits)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f");

	for (uint64_t n = 0; n < CFS_LOCKS_PER_INODE_MAX; n++)
		assert_int_equal(lock(h, f, 1, W, n * 10, 5), 0);
	assert_int_equal(lock(h, f, 1, W, 9999999, 5), -ENOLCK);
	assert_int_equal(lock(h, f, 2, W, 9999999, 5), -ENOLCK);
	/* Also what splits one. */
	assert_int_equal(lock(h, f, 1, NONE, 1, 1), -ENOLCK);
	assert_int_equal(lock(h, f, 1, R, 1, 1), -ENOLCK);
	assert_int_equal(lock(h, f, 1, NONE, 10, 5), 0);
	assert_int_equal(lock(h, f, 1, NONE, 1, 1), 0);
	assert_int_equal(lock(h, f, 1, NONE, 0, ALL_BYTES), 0);
	assert_int_equal(lock(h, f, 2, W, 9999999, 5), 0);
	harness_finish(h);
}

static void start(struct cfs_group *g, struct ask *a)
{
	a->hold_ms = a->hold_ms ? a->hold_ms : 2000;
	assert_int_equal(cfs_group_start(g, lock_waiting, a), 0);
}

CFS_TEST_SIM(first_come_first_served)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f"), begin;
	struct cfs_group g;
	struct ask w[6];

	cfs_group_init(&g);
	assert_int_equal(lock(h, f, 100, W, 0, 10), 0);
	for (uint32_t n = 0; n < 6; n++) {
		w[n] = (struct ask){ .h = h, .ino = f, .owner = n, .type = W, .len = 10 };
		start(&g, &w[n]);
		cfs_sleep_ns(10 * MS);
	}
	/* One that needs none of it does not wait. */
	assert_int_equal(lock(h, f, 50, W, 10, 1), 0);
	cfs_sleep_ns(5000 * MS);
	begin = cfs_now_ns();
	for (uint32_t n = 0; n < 6; n++) {
		assert_false(w[n].is_done);
		assert_int_equal(lock(h, f, n ? n - 1 : 100, NONE, 0, 10), 0);
		cfs_sleep_ns(50 * MS);
		assert_true(w[n].is_done);
		assert_int_equal(w[n].rc, 0);
	}
	assert_true(cfs_now_ns() - begin < 1000 * MS);
	cfs_group_join(&g);
	harness_finish(h);
}

/* One reader or another has it all the time, and yet the writer's turn comes. */
CFS_TEST_SIM(a_writer_does_not_starve)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f");
	struct ask writer = { .h = h, .ino = f, .owner = 1, .type = W, .len = 10 };
	struct ask readers[40];
	struct cfs_group g;
	uint32_t n = 0, let_go = 0;

	cfs_group_init(&g);
	assert_int_equal(lock(h, f, 10, R, 0, 10), 0);
	start(&g, &writer);
	for (; n < 40 && !writer.is_done; n++) {
		readers[n] =
			(struct ask){ .h = h, .ino = f, .owner = 11 + n, .type = R, .len = 10 };
		start(&g, &readers[n]);
		cfs_sleep_ns(100 * MS);
		if (n == 0)
			assert_int_equal(lock(h, f, 10, NONE, 0, 10), 0);
		for (; let_go < n && readers[let_go].is_done; let_go++)
			lock(h, f, 11 + let_go, NONE, 0, 10);
	}
	assert_true(writer.is_done);
	assert_int_equal(writer.rc, 0);
	assert_int_equal(lock(h, f, 1, NONE, 0, 10), 0);
	cfs_group_join(&g);
	/* Who does not wait is refused by what is held only. */
	assert_int_equal(lock(h, f, 500, R, 0, 10), 0);
	harness_finish(h);
}

/* Whose turn it is and does not come keeps the others for a second. */
CFS_TEST_SIM(a_lost_waiter_is_passed)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f"), begin;
	struct ask lost = { .h = h, .ino = f, .owner = 1, .type = W, .len = 10, .hold_ms = 100 };
	struct ask next = { .h = h, .ino = f, .owner = 2, .type = W, .len = 10 };
	struct cfs_group g;

	cfs_group_init(&g);
	assert_int_equal(lock(h, f, 100, W, 0, 10), 0);
	assert_int_equal(ask(&lost, CFS_OP_LOCK_WAIT, NULL), -EAGAIN);
	start(&g, &next);
	cfs_sleep_ns(100 * MS);
	begin = cfs_now_ns();
	assert_int_equal(lock(h, f, 100, NONE, 0, 10), 0);
	cfs_group_join(&g);
	assert_int_equal(next.rc, 0);
	assert_true(next.done_ns - begin > 500 * MS && next.done_ns - begin < 1500 * MS);
	/* One that says so is passed at once. */
	assert_int_equal(ask(&lost, CFS_OP_LOCK_WAIT, NULL), -EAGAIN);
	next.owner = 3;
	next.is_done = false;
	start(&g, &next);
	cfs_sleep_ns(100 * MS);
	lost.flags = CFS_F_LOCK_LEAVES;
	assert_int_equal(ask(&lost, CFS_OP_LOCK_WAIT, NULL), 0);
	begin = cfs_now_ns();
	assert_int_equal(lock(h, f, 2, NONE, 0, 10), 0);
	cfs_group_join(&g);
	assert_int_equal(next.rc, 0);
	assert_true(next.done_ns - begin < 100 * MS);
	harness_finish(h);
}

CFS_TEST_SIM(waits_end_with_what_they_wait_for)
{
	struct harness *h = harness_new(&four);
	uint64_t f = make(h, "f");
	struct ask w = { .h = h, .ino = f, .owner = 1, .type = W, .len = 10, .session = 4711 };
	struct cfs_group g;

	cfs_group_init(&g);
	assert_int_equal(lock(h, f, 100, W, 0, 10), 0);
	start(&g, &w);
	cfs_sleep_ns(100 * MS);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "f"), 0);
	assert_int_equal(hs_release(h, f), 0);
	cfs_group_join(&g);
	assert_int_equal(w.rc, -ESTALE);
	/* And the holder's session: the waiter has it then. */
	f = make(h, "g");
	w = (struct ask){ .h = h, .ino = f, .owner = 1, .type = W, .len = 10, .session = 4711 };
	assert_int_equal(lock(h, f, 100, W, 0, 10), 0);
	start(&g, &w);
	cfs_sleep_ns(100 * MS);
	for (uint32_t k = 0; k < h->o.shards; k++)
		cfs_shard_session_end(h->shards[k], h->session);
	cfs_group_join(&g);
	assert_int_equal(w.rc, 0);
	harness_finish(h);
}

/* Files of different shards and sessions; one is told, the others go on. */
CFS_TEST_SIM(deadlocks_are_found)
{
	struct harness *h = harness_new(&four);
	uint64_t f[3], d, own = h->session;
	struct ask w[3];
	struct cfs_group g;
	char name[8];
	uint32_t shards = 0;

	cfs_group_init(&g);
	for (uint32_t n = 0; n < 3; n++) {
		/* Another shard than the others'. */
		for (uint32_t k = 0;; k++) {
			snprintf(name, sizeof(name), "d%u.%u", n, k);
			assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &d), 0);
			if (shards & 1u << cfs_ino_home(d))
				continue;
			shards |= 1u << cfs_ino_home(d);
			break;
		}
		assert_int_equal(hs_create(h, d, "f", 0644, CFS_F_OPEN, &f[n]), 0);
		h->session = own + n;
		assert_int_equal(lock(h, f[n], n, W, 0, 1), 0);
		h->session = own;
	}
	for (uint32_t n = 0; n < 3; n++) {
		w[n] = (struct ask){ .h = h,
				     .ino = f[(n + 1) % 3],
				     .session = own + n,
				     .owner = n,
				     .type = W,
				     .len = 1,
				     .flags = CFS_F_LOCK_CYCLES };
		start(&g, &w[n]);
		cfs_sleep_ns(n == 2 ? 1000 * MS : 300 * MS);
	}
	/* It was the last that closed the cycle. */
	assert_false(w[0].is_done || w[1].is_done);
	assert_true(w[2].is_done);
	assert_int_equal(w[2].rc, -EDEADLK);
	h->session = own + 2;
	assert_int_equal(lock(h, f[2], 2, NONE, 0, 1), 0);
	cfs_sleep_ns(200 * MS);
	assert_true(w[1].is_done && w[1].rc == 0);
	/* Who waited before and does no more is in no cycle. */
	h->session = own + 1;
	w[1].is_done = false;
	w[1].ino = f[0];
	assert_int_equal(lock(h, f[1], 1, NONE, 0, 1), 0);
	cfs_sleep_ns(200 * MS);
	assert_true(w[0].is_done && w[0].rc == 0);
	start(&g, &w[1]);
	cfs_sleep_ns(500 * MS);
	assert_false(w[1].is_done);
	h->session = own;
	assert_int_equal(lock(h, f[0], 0, NONE, 0, 1), 0);
	cfs_group_join(&g);
	assert_int_equal(w[1].rc, 0);
	harness_finish(h);
}

/* Without the flag nobody looks. */
CFS_TEST_SIM(deadlocks_of_others_stay)
{
	struct harness *h = harness_new(&one);
	uint64_t f = make(h, "f");
	struct ask w[2];
	struct cfs_group g;

	cfs_group_init(&g);
	for (uint32_t n = 0; n < 2; n++)
		assert_int_equal(lock(h, f, n, W, n, 1), 0);
	for (uint32_t n = 0; n < 2; n++) {
		w[n] = (struct ask){
			.h = h, .ino = f, .owner = n, .type = W, .off = 1 - n, .len = 1
		};
		start(&g, &w[n]);
	}
	cfs_sleep_ns(5000 * MS);
	assert_false(w[0].is_done || w[1].is_done);
	assert_int_equal(lock(h, f, 0, NONE, 0, 1), 0);
	cfs_sleep_ns(200 * MS);
	assert_true(w[1].is_done && w[1].rc == 0);
	assert_int_equal(lock(h, f, 1, NONE, 0, 2), 0);
	cfs_group_join(&g);
	assert_int_equal(w[0].rc, 0);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_requests_are_refused),
		cmocka_unit_test(locks_last),
		cmocka_unit_test(a_flock_that_is_refused_is_lost),
		cmocka_unit_test(they_go_with_session_and_inode),
		cmocka_unit_test(there_are_limits),
		cmocka_unit_test(first_come_first_served),
		cmocka_unit_test(a_writer_does_not_starve),
		cmocka_unit_test(a_lost_waiter_is_passed),
		cmocka_unit_test(waits_end_with_what_they_wait_for),
		cmocka_unit_test(deadlocks_are_found),
		cmocka_unit_test(deadlocks_of_others_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
