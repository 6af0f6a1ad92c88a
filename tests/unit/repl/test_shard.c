/* Exactly once: repeats at once, later, after restarts; floors; sessions that end. The changes are
 * writes of chunks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../meta/harness.h"
#include "base/err.h"
#include "base/util.h"
#include "lib/test_fiber.h"
#include "repl/answer.h"

static const struct harness_opts opts = { .shards = 1, .stores = 1 };

#define SESSION 77ull

static CFS_AWAITS struct harness *new_node(void)
{
	struct harness *h = malloc(sizeof(*h));

	assert_non_null(h);
	harness_init(h, &opts);
	return h;
}

static CFS_AWAITS void end_node(struct harness *h)
{
	assert_int_equal(harness_check(h), 0);
	harness_fini(h);
	free(h);
}

/* A write of @len bytes; refused when it is too long. Returns rc; *index_out: of its record. */
static CFS_AWAITS int change(struct harness *h, uint64_t session, uint64_t seq, uint64_t floor,
			     uint32_t len, uint64_t *index_out)
{
	static uint8_t data[CFS_CHUNK_BYTES];
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST,
			     .op = CFS_OP_CHUNK_WRITE,
			     .sess = session,
			     .seq = seq,
			     .floor = floor };
	struct cfs_shard_request rq = { .msg = &m };

	cfs_msg_set(&m, ino, 5);
	cfs_msg_set(&m, chunk, 0);
	cfs_msg_set(&m, off, 4096);
	cfs_msg_set(&m, len, len);
	cfs_msg_set(&m, cut, 0);
	cfs_msg_set_bytes(&m, data, data, len);
	cfs_shard_serve_local(h->shards[0], &rq);
	if (index_out)
		*index_out = cfs_msg_is_set(&rq.reply, index) ? rq.reply.index : 0;
	if (!cfs_msg_is_set(&rq.reply, rc)) {
		assert_int_equal(rq.reply.len, len);
		assert_true(rq.reply.epoch > 0);
	}
	return cfs_msg_is_set(&rq.reply, rc) ? (int)rq.reply.rc : 0;
}

CFS_TEST_SIM(repeats_are_answered_from_the_first)
{
	struct harness *h = new_node();
	uint64_t first, again, records;

	assert_int_equal(change(h, SESSION, 1, 1, 100, &first), 0);
	records = h->shards[0]->index;
	assert_int_equal(first, records);
	assert_int_equal(change(h, SESSION, 1, 1, 100, &again), 0);
	assert_int_equal(again, first);
	assert_int_equal(h->shards[0]->index, records);
	/* Over a kill, and out of a checkpoint. */
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(change(h, SESSION, 1, 1, 100, &again), 0);
	assert_int_equal(again, first);
	harness_checkpoint(h);
	cfs_sleep_ns(5000000000);
	harness_stop(h);
	harness_start(h);
	records = h->shards[0]->index;
	assert_int_equal(change(h, SESSION, 1, 1, 100, &again), 0);
	assert_int_equal(again, first);
	assert_int_equal(h->shards[0]->index, records);
	/* Another session's is another. */
	assert_int_equal(change(h, SESSION + 1, 1, 1, 100, &again), 0);
	assert_true(again > first);
	end_node(h);
}

CFS_TEST_SIM(below_the_floor_is_refused)
{
	struct harness *h = new_node();
	uint64_t index;

	for (uint64_t seq = 1; seq <= 10; seq++)
		assert_int_equal(change(h, SESSION, seq, 1, 50, NULL), 0);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 10);
	assert_int_equal(change(h, SESSION, 11, 8, 50, &index), 0);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 4);
	assert_int_equal(change(h, SESSION, 3, 1, 50, NULL), -CFS_EOLD_SEQUENCE);
	/* The floor is in the records too. */
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 4);
	assert_int_equal(change(h, SESSION, 3, 1, 50, NULL), -CFS_EOLD_SEQUENCE);
	assert_int_equal(change(h, SESSION, 9, 8, 50, NULL), 0);
	end_node(h);
}

CFS_TEST_SIM(what_was_refused_stays_refused)
{
	struct harness *h = new_node();
	uint64_t before = h->shards[0]->index;

	assert_int_equal(change(h, SESSION, 1, 1, CFS_CHUNK_BYTES, NULL), -EINVAL);
	assert_int_equal(h->shards[0]->index, before);
	/* A late copy, when it could be done. */
	assert_int_equal(change(h, SESSION, 1, 1, 10, NULL), -EINVAL);
	assert_int_equal(h->shards[0]->index, before);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 1);
	assert_int_equal(change(h, SESSION, 2, 2, 10, NULL), 0);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 1);
	/* Only in memory: after a restart there are no copies on their way. */
	assert_int_equal(change(h, SESSION, 3, 2, CFS_CHUNK_BYTES, NULL), -EINVAL);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 1);
	end_node(h);
}

struct racer {
	struct harness *h;
	uint64_t index;
	int rc;
};

static CFS_AWAITS void race_run(void *arg)
{
	struct racer *r = arg;

	/* Large: it waits for the device. */
	r->rc = change(r->h, SESSION, 5, 5, 500000, &r->index);
}

CFS_TEST_SIM(a_repeat_waits_for_the_first)
{
	struct harness *h = new_node();
	struct racer r[4];
	struct cfs_group g;
	uint64_t before = h->shards[0]->index;

	cfs_group_init(&g);
	for (int k = 0; k < 4; k++) {
		r[k] = (struct racer){ .h = h };
		assert_int_equal(cfs_group_start(&g, race_run, &r[k]), 0);
	}
	cfs_group_join(&g);
	for (int k = 0; k < 4; k++) {
		assert_int_equal(r[k].rc, 0);
		assert_int_equal(r[k].index, before + 1);
	}
	assert_int_equal(h->shards[0]->index, before + 1);
	end_node(h);
}

CFS_TEST_SIM(answers_are_bounded)
{
	struct harness *h = new_node();

	for (uint64_t seq = 1; seq <= CFS_ANSWERS_PER_SESSION_MAX; seq++)
		assert_int_equal(change(h, SESSION, seq, 1, 1, NULL), 0);
	assert_int_equal(change(h, SESSION, CFS_ANSWERS_PER_SESSION_MAX + 1, 1, 1, NULL),
			 -CFS_EAGAIN_LATER);
	assert_int_equal(change(h, SESSION, 7, 1, 1, NULL), 0); /* kept */
	assert_int_equal(change(h, SESSION, CFS_ANSWERS_PER_SESSION_MAX + 1, 5, 1, NULL), 0);
	end_node(h);
}

CFS_TEST_SIM(ended_sessions_leave_nothing)
{
	struct harness *h = new_node();

	for (uint64_t seq = 1; seq <= 5; seq++)
		assert_int_equal(change(h, SESSION, seq, 1, 1, NULL), 0);
	assert_int_equal(change(h, SESSION + 1, 1, 1, 1, NULL), 0);
	cfs_shard_session_end(h->shards[0], SESSION);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 1);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(cfs_answers_count(h->shards[0]->answers), 1);
	end_node(h);
}

static bool is_live(const struct harness *h, uint64_t id)
{
	const struct cfs_session_live *s = h->shards[0]->sessions.live;

	while (s && s->id != id)
		s = s->next;
	return s != NULL;
}

static bool is_over(const struct harness *h, uint64_t id)
{
	for (uint32_t i = 0; i < CFS_SESSIONS_OVER_MAX; i++)
		if (cfs_sessions_over(&h->shards[0]->sessions, i) == id)
			return true;
	return false;
}

CFS_TEST_SIM(sessions_are_known_after_a_crash)
{
	struct harness *h = new_node();

	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(cfs_shard_session_note(h->shards[0], id, false), 0);
	assert_int_equal(cfs_shard_session_note(h->shards[0], 2, true), 0);
	assert_int_equal(cfs_shard_session_note(h->shards[0], 2, false), 0); /* late */
	for (int round = 0; round < 3; round++) {
		assert_true(is_live(h, 1));
		assert_true(is_live(h, 3));
		assert_false(is_live(h, 2));
		assert_true(is_over(h, 2));
		assert_int_equal(h->shards[0]->sessions.live_count, 2);
		/* Out of the log, then out of a checkpoint. */
		harness_kill(h, false);
		harness_start(h);
		if (round == 1)
			harness_checkpoint(h);
	}
	/* An end is there after a power cut, too. */
	assert_int_equal(cfs_shard_session_note(h->shards[0], 3, true), 0);
	harness_kill(h, true);
	harness_start(h);
	assert_true(is_over(h, 2));
	assert_true(is_over(h, 3));
	assert_false(is_live(h, 3));
	/* Of those that are over the last ones are known, each once. */
	for (uint64_t id = 1; id <= CFS_SESSIONS_OVER_MAX; id++)
		assert_int_equal(cfs_sessions_put(&h->shards[0]->sessions, 1000 + id / 2, true), 0);
	assert_true(is_over(h, 2));
	for (uint64_t id = 1; id <= CFS_SESSIONS_OVER_MAX; id++)
		assert_int_equal(cfs_sessions_put(&h->shards[0]->sessions, 5000 + id, true), 0);
	assert_false(is_over(h, 3));
	end_node(h);
}

/* Reservations are balanced whatever happened to them: else the store would fill up with promises.
 */
CFS_TEST_SIM(reservations_are_given_back)
{
	struct harness *h = new_node();
	struct cfs_shard *sh = h->shards[0];

	for (uint32_t k = 0; k < 20000; k++) {
		assert_int_equal(cfs_shard_reserve(sh, 60000, k % 2), 0);
		assert_int_equal(cfs_shard_reserve(sh, 500, false), 0);
		if (k % 3 == 0)
			assert_int_equal(change(h, 0, 0, 0, 300, NULL), 0);
		cfs_shard_unreserve(sh, 500, false);
		cfs_shard_unreserve(sh, 60000, k % 2);
	}
	assert_int_equal(sh->used_bytes, 0);
	assert_int_equal(sh->used_records, 0);
	end_node(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeats_are_answered_from_the_first),
		cmocka_unit_test(below_the_floor_is_refused),
		cmocka_unit_test(what_was_refused_stays_refused),
		cmocka_unit_test(a_repeat_waits_for_the_first),
		cmocka_unit_test(answers_are_bounded),
		cmocka_unit_test(ended_sessions_leave_nothing),
		cmocka_unit_test(sessions_are_known_after_a_crash),
		cmocka_unit_test(reservations_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
