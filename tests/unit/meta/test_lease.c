/* Leases: who has one, whose change waits for whom, and what outlives a restart. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/reactor.h"
#include "harness.h"
#include "lib/test_fiber.h"

#define A 101u
#define B 102u
#define SOON_NS (50ull * 1000 * 1000)
#define RECALLS_MAX 64u

static const struct harness_opts one = { .shards = 1, .stores = 1 };
static const struct harness_opts four = { .shards = 4, .stores = 1 };

struct recall {
	uint64_t session, ino, stamp;
	uint32_t shard;
};

static struct recall recalls[RECALLS_MAX];
static uint32_t recall_count;

static int on_recall(void *ctx, uint64_t session, uint32_t shard, uint64_t ino, uint64_t stamp)
{
	(void)ctx;
	assert_true(recall_count < RECALLS_MAX);
	recalls[recall_count++] = (struct recall){ session, ino, stamp, shard };
	return 0;
}

static CFS_AWAITS struct harness *begin(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);

	recall_count = 0;
	h->env.recall = on_recall;
	return h;
}

static void answer(struct harness *h, const struct recall *r)
{
	cfs_shard_recalled(h->shards[r->shard], r->session, r->ino, r->stamp);
}

/* The lease that a look at @ino brings; 0: none. */
static CFS_AWAITS uint64_t look(struct harness *h, uint64_t session, uint64_t ino,
				uint32_t *mode_out)
{
	struct cfs_msg m = { .op = CFS_OP_GETATTR, .sess = session };
	struct cfs_net_reply r;
	struct cfs_attr a;
	uint64_t lease;

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set(&m, flags, CFS_F_LEASE);
	assert_int_equal(harness_call(h, &m, &r), 0);
	assert_int_equal(cfs_attr_decode(r.msg.attr.p, r.msg.attr.len, &a), 0);
	if (mode_out)
		*mode_out = a.mode & 07777;
	lease = cfs_msg_is_set(&r.msg, lease) ? r.msg.lease : 0;
	cfs_net_reply_fini(&r);
	return lease;
}

/* Something that another client does, in a fiber. */
struct act {
	struct harness *h;
	uint64_t session, ino;
	uint32_t mode; /* 0: a look */
	bool is_done;
};

static CFS_AWAITS void act_run(void *arg)
{
	struct act *a = arg;
	struct cfs_msg m = { .op = CFS_OP_SETATTR, .sess = a->session };
	struct cfs_net_reply r;

	if (a->mode == 0) {
		(void)look(a->h, a->session, a->ino, NULL);
	} else {
		cfs_msg_set(&m, ino, a->ino);
		cfs_msg_set(&m, valid, CFS_SET_MODE);
		cfs_msg_set(&m, mode, a->mode);
		assert_int_equal(harness_call(a->h, &m, &r), 0);
		cfs_net_reply_fini(&r);
	}
	a->is_done = true;
}

static CFS_AWAITS void start(struct cfs_group *g, struct act *a)
{
	assert_int_equal(cfs_group_start(g, act_run, a), 0);
	cfs_sleep_ns(SOON_NS);
}

static CFS_AWAITS void open_as(struct harness *h, uint64_t session, uint64_t ino, uint16_t op)
{
	struct cfs_msg m = { .op = op, .sess = session };
	struct cfs_net_reply r;

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set(&m, flags, CFS_F_WRITE);
	assert_int_equal(harness_call(h, &m, &r), 0);
	cfs_net_reply_fini(&r);
}

CFS_TEST_SIM(an_only_client_is_not_asked)
{
	struct harness *h = begin(&one);
	struct act change = { h, A, 0, 0600, false };
	struct cfs_group g;
	uint64_t f;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_true(look(h, A, f, NULL) != 0);
	change.ino = f;
	start(&g, &change);
	assert_true(change.is_done);
	assert_int_equal(recall_count, 0);
	assert_true(look(h, A, f, NULL) != 0);
	harness_finish(h);
}

CFS_TEST_SIM(a_change_waits_for_the_answer)
{
	struct harness *h = begin(&one);
	struct act change = { h, B, 0, 0600, false };
	struct cfs_group g;
	uint64_t f, before;
	uint32_t mode;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	before = look(h, A, f, NULL);
	change.ino = f;
	start(&g, &change);
	assert_false(change.is_done);
	assert_int_equal(recall_count, 1);
	assert_int_equal(recalls[0].session, A);
	assert_int_equal(recalls[0].ino, f);
	/* A reply that the recall overtook is older than it. */
	assert_true(recalls[0].stamp > before);
	/* The old state can be seen, and is not to be kept. */
	assert_int_equal(look(h, A, f, &mode), 0);
	assert_int_equal(mode, 0644);
	answer(h, &recalls[0]);
	cfs_sleep_ns(SOON_NS);
	assert_true(change.is_done);
	assert_true(look(h, A, f, &mode) >= recalls[0].stamp);
	assert_int_equal(mode, 0600);
	cfs_group_join(&g);
	harness_finish(h);
}

CFS_TEST_SIM(who_shares_is_asked_too)
{
	struct harness *h = begin(&one);
	struct act other = { h, B, 0, 0, false }, own = { h, A, 0, 0600, false };
	struct cfs_group g;
	uint64_t f;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_true(look(h, A, f, NULL) != 0);
	/* Who looks at what somebody has to himself waits. */
	other.ino = own.ino = f;
	start(&g, &other);
	assert_false(other.is_done);
	assert_int_equal(recall_count, 1);
	answer(h, &recalls[0]);
	cfs_sleep_ns(SOON_NS);
	assert_true(other.is_done);
	/* From now on it is shared, and its own holder's change recalls all of them. */
	assert_true(look(h, A, f, NULL) != 0);
	start(&g, &own);
	assert_false(own.is_done);
	assert_int_equal(recall_count, 3);
	answer(h, &recalls[1]);
	cfs_sleep_ns(SOON_NS);
	assert_false(own.is_done);
	answer(h, &recalls[2]);
	cfs_sleep_ns(SOON_NS);
	assert_true(own.is_done);
	cfs_group_join(&g);
	harness_finish(h);
}

CFS_TEST_SIM(an_answer_is_for_its_recall)
{
	struct harness *h = begin(&one);
	struct act first = { h, B, 0, 0600, false }, second = { h, B, 0, 0640, false };
	struct cfs_group g;
	uint64_t f;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	first.ino = second.ino = f;
	assert_true(look(h, A, f, NULL) != 0);
	start(&g, &first);
	answer(h, &recalls[0]);
	cfs_sleep_ns(SOON_NS);
	assert_true(first.is_done);
	assert_true(look(h, A, f, NULL) != 0);
	answer(h, &recalls[0]); /* late, and once more */
	start(&g, &second);
	assert_int_equal(recall_count, 2);
	answer(h, &recalls[0]);
	cfs_sleep_ns(SOON_NS);
	assert_false(second.is_done);
	answer(h, &recalls[1]);
	cfs_sleep_ns(SOON_NS);
	assert_true(second.is_done);
	cfs_group_join(&g);
	harness_finish(h);
}

CFS_TEST_SIM(what_is_written_is_not_leased)
{
	struct harness *h = begin(&one);
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_true(look(h, A, f, NULL) != 0);
	/* Its own open takes it, without a recall. */
	open_as(h, A, f, CFS_OP_OPEN);
	assert_int_equal(recall_count, 0);
	assert_int_equal(look(h, A, f, NULL), 0);
	assert_int_equal(look(h, B, f, NULL), 0);
	open_as(h, A, f, CFS_OP_RELEASE);
	assert_true(look(h, B, f, NULL) != 0);
	cfs_shard_session_end(h->shards[0], B);
	harness_finish(h);
}

CFS_TEST_SIM(what_may_be_seen_late_is_not_leased)
{
	struct harness *h = begin(&one);
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_int_equal(hs_setxattr(h, f, "claudefs.lazy", "500", 3, 0), 0);
	assert_int_equal(look(h, A, f, NULL), 0);
	assert_int_equal(hs_setxattr(h, f, "user.a", "500", 3, 0), 0);
	assert_int_equal(look(h, A, f, NULL), 0);
	harness_finish(h);
}

CFS_TEST_SIM(leases_outlive_a_restart_and_end_with_their_session)
{
	struct harness *h = begin(&one);
	struct act change = { h, B, 0, 0600, false }, again = { h, B, 0, 0640, false };
	struct cfs_group g;
	uint64_t f;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_true(look(h, A, f, NULL) != 0);
	for (int i = 0; i < 2; i++) {
		harness_kill(h, false);
		harness_start(h);
		h->env.recall = on_recall;
		harness_checkpoint(h);
	}
	change.ino = again.ino = f;
	start(&g, &change);
	assert_false(change.is_done);
	assert_int_equal(recall_count, 1);
	cfs_shard_session_end(h->shards[0], A);
	cfs_sleep_ns(SOON_NS);
	assert_true(change.is_done);
	cfs_group_join(&g);
	harness_kill(h, false);
	harness_start(h);
	h->env.recall = on_recall;
	start(&g, &again);
	assert_true(again.is_done);
	assert_int_equal(recall_count, 1);
	harness_finish(h);
}

/* Whoever changed it may still have what was before that: after a restart, too, nobody looks
 * without asking. */
CFS_TEST_SIM(what_is_exclusive_stays_so_over_a_restart)
{
	struct harness *h = begin(&one);
	struct act seen = { h, B, 0, 0, false };
	struct cfs_group g;
	uint64_t f;

	cfs_group_init(&g);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_true(look(h, A, f, NULL) != 0);
	for (int i = 0; i < 2; i++) {
		harness_kill(h, false);
		harness_start(h);
		h->env.recall = on_recall;
		harness_checkpoint(h);
	}
	seen.ino = f;
	start(&g, &seen);
	assert_false(seen.is_done);
	assert_int_equal(recall_count, 1);
	answer(h, &recalls[0]);
	cfs_group_join(&g);
	assert_true(seen.is_done);
	/* And what is shared is shared. */
	assert_true(look(h, A, f, NULL) != 0);
	harness_kill(h, false);
	harness_start(h);
	h->env.recall = on_recall;
	assert_true(look(h, 103, f, NULL) != 0);
	assert_int_equal(recall_count, 1);
	harness_finish(h);
}

CFS_TEST_SIM(transactions_wait_with_nothing_locked)
{
	struct harness *h = begin(&four);
	struct act change = { h, B, 0, 0700, false };
	struct cfs_group g;
	uint64_t d = 0, f;
	char name[8] = "d0";

	cfs_group_init(&g);
	/* One whose home is another shard than the root's. */
	for (int i = 0; d == 0 || cfs_ino_home(d) == cfs_ino_home(HARNESS_ROOT); i++) {
		name[1] = (char)('0' + i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &d), 0);
	}
	assert_true(look(h, A, d, NULL) != 0);
	change.ino = d;
	start(&g, &change);
	assert_false(change.is_done);
	assert_int_equal(recall_count, 1);
	/* Its parent, which takes part, is nobody's meanwhile. */
	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", S_IFREG | 0644, 0, &f), 0);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "e", &f), 0);
	answer(h, &recalls[0]);
	cfs_sleep_ns(SOON_NS);
	assert_true(change.is_done);
	cfs_group_join(&g);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_only_client_is_not_asked),
		cmocka_unit_test(a_change_waits_for_the_answer),
		cmocka_unit_test(who_shares_is_asked_too),
		cmocka_unit_test(an_answer_is_for_its_recall),
		cmocka_unit_test(what_is_written_is_not_leased),
		cmocka_unit_test(what_may_be_seen_late_is_not_leased),
		cmocka_unit_test(leases_outlive_a_restart_and_end_with_their_session),
		cmocka_unit_test(what_is_exclusive_stays_so_over_a_restart),
		cmocka_unit_test(transactions_wait_with_nothing_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
