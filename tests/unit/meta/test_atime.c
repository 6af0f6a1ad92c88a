/* Access times: the rules of relatime, in which requests, and that they last. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "harness.h"
#include "lib/test_fiber.h"

#define HOUR_NS (3600ll * 1000 * 1000 * 1000)

static const struct harness_opts one = { .shards = 1, .stores = 1 };

static CFS_AWAITS int ask(struct harness *h, struct cfs_msg *m)
{
	struct cfs_net_reply r;
	int rc = harness_call(h, m, &r);

	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int read_op(struct harness *h, uint16_t op, uint64_t ino, uint32_t flags)
{
	struct cfs_msg m = { .op = op };

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set(&m, flags, flags);
	if (op == CFS_OP_READDIR) {
		cfs_msg_set(&m, cookie, 0);
		cfs_msg_set(&m, len, 4096);
	} else if (op == CFS_OP_CHUNK_READ) {
		cfs_msg_set(&m, chunk, 0);
		cfs_msg_set(&m, off, 0);
		cfs_msg_set(&m, len, 100);
		cfs_msg_set(&m, cut, UINT64_MAX);
	}
	return ask(h, &m);
}

static CFS_AWAITS void set_times(struct harness *h, uint64_t ino, int64_t atime, int64_t mtime,
				 int64_t ctime)
{
	struct cfs_msg m = { .op = CFS_OP_SETATTR };

	cfs_msg_set(&m, ino, ino);
	cfs_msg_set(&m, valid, CFS_SET_ATIME | CFS_SET_MTIME | CFS_SET_CTIME);
	cfs_msg_set(&m, atime, atime);
	cfs_msg_set(&m, mtime, mtime);
	cfs_msg_set(&m, ctime, ctime);
	assert_int_equal(ask(h, &m), 0);
}

static CFS_AWAITS int64_t atime_of(struct harness *h, uint64_t ino)
{
	struct cfs_attr a;

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return a.atime;
}

/* Whether @op on @ino changes atime from @atime. */
static CFS_AWAITS bool changes(struct harness *h, uint16_t op, uint64_t ino, int64_t age_ns,
			       int64_t mtime_age_ns, int64_t ctime_age_ns)
{
	int64_t now = (int64_t)h->env.hlc_now(h->env.ctx);
	int64_t atime = now - age_ns;

	set_times(h, ino, atime, now - mtime_age_ns, now - ctime_age_ns);
	assert_int_equal(read_op(h, op, ino, 0), 0);
	assert_int_equal(atime_of(h, ino), atime);
	assert_int_equal(read_op(h, op, ino, CFS_F_ATIME), 0);
	if (atime_of(h, ino) == atime)
		return false;
	assert_true(atime_of(h, ino) > now);
	/* The next one does not. */
	atime = atime_of(h, ino);
	assert_int_equal(read_op(h, op, ino, CFS_F_ATIME), 0);
	assert_int_equal(atime_of(h, ino), atime);
	return true;
}

CFS_TEST_SIM(rules)
{
	struct harness *h = harness_new(&one);
	uint64_t f, d, l;
	struct {
		uint16_t op;
		uint64_t *ino;
	} reads[] = {
		{ CFS_OP_GETATTR, &f },
		{ CFS_OP_CHUNK_READ, &f },
		{ CFS_OP_READDIR, &d },
		{ CFS_OP_READLINK, &l },
	};

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "f", &l), 0);
	for (size_t k = 0; k < sizeof(reads) / sizeof(reads[0]); k++) {
		uint16_t op = reads[k].op;
		uint64_t ino = *reads[k].ino;

		assert_false(changes(h, op, ino, HOUR_NS, 2 * HOUR_NS, 2 * HOUR_NS));
		assert_true(changes(h, op, ino, HOUR_NS, HOUR_NS, 2 * HOUR_NS));
		assert_true(changes(h, op, ino, HOUR_NS, HOUR_NS / 2, 2 * HOUR_NS));
		assert_true(changes(h, op, ino, HOUR_NS, 2 * HOUR_NS, HOUR_NS));
		assert_false(changes(h, op, ino, 23 * HOUR_NS, 99 * HOUR_NS, 99 * HOUR_NS));
		assert_true(changes(h, op, ino, 24 * HOUR_NS, 99 * HOUR_NS, 99 * HOUR_NS));
	}
	harness_finish(h);
}

/* Told of when the file is closed: part of the record that there is anyway. */
CFS_TEST_SIM(release)
{
	struct harness *h = harness_new(&one);
	int64_t before, after;
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	before = atime_of(h, f);
	assert_int_equal(hs_open(h, f), 0);
	assert_int_equal(read_op(h, CFS_OP_RELEASE, f, 0), 0);
	assert_int_equal(atime_of(h, f), before);
	assert_int_equal(hs_open(h, f), 0);
	assert_int_equal(read_op(h, CFS_OP_RELEASE, f, CFS_F_ATIME), 0);
	after = atime_of(h, f);
	assert_true(after > before);
	assert_int_equal(hs_open(h, f), 0);
	assert_int_equal(read_op(h, CFS_OP_RELEASE, f, CFS_F_ATIME), 0);
	assert_int_equal(atime_of(h, f), after);
	/* Of one that goes with its last open, nothing is left to mark. */
	assert_int_equal(hs_chmod(h, f, 0600), 0);
	assert_int_equal(hs_open(h, f), 0);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "f"), 0);
	assert_int_equal(read_op(h, CFS_OP_RELEASE, f, CFS_F_ATIME), 0);
	assert_int_equal(hs_getattr(h, f, NULL), -ESTALE);
	harness_finish(h);
}

/* Each change of atime is a record, a read that changes none is none; a start brings it back. */
CFS_TEST_SIM(records_and_restarts)
{
	struct harness *h = harness_new(&one);
	uint64_t f, records;
	int64_t atime;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	records = h->shards[0]->index;
	for (int k = 0; k < 10; k++)
		assert_int_equal(read_op(h, CFS_OP_CHUNK_READ, f, CFS_F_ATIME), 0);
	assert_int_equal(h->shards[0]->index, records + 1);
	atime = atime_of(h, f);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(atime_of(h, f), atime);
	harness_checkpoint(h);
	harness_stop(h);
	harness_start(h);
	assert_int_equal(atime_of(h, f), atime);
	assert_int_equal(read_op(h, CFS_OP_CHUNK_READ, f, CFS_F_ATIME), 0);
	assert_int_equal(atime_of(h, f), atime);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),
		cmocka_unit_test(release),
		cmocka_unit_test(records_and_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
