/*
 * Inode flags as the shards enforce them: over shards, against clients that write to chunks by
 * themselves, over restarts; and what may get a name that has none.
 */
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

static const struct harness_opts many = { .shards = 8, .stores = 2, .delay_max_ns = 50000 };

static const uint32_t guards[] = { CFS_IFLAG_IMMUTABLE, CFS_IFLAG_APPEND };

static struct cfs_msg request(uint16_t op, uint64_t ino)
{
	struct cfs_msg m = { .kind = CFS_MSG_REQUEST, .op = op };

	cfs_msg_set(&m, ino, ino);
	return m;
}

static CFS_AWAITS int ask(struct harness *h, struct cfs_msg *m)
{
	struct cfs_net_reply r;
	int rc = harness_call(h, m, &r);

	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int set_iflags(struct harness *h, uint64_t ino, uint32_t iflags)
{
	struct cfs_msg m = request(CFS_OP_SETATTR, ino);

	cfs_msg_set(&m, valid, CFS_SET_IFLAGS);
	cfs_msg_set(&m, iflags, iflags);
	return ask(h, &m);
}

static CFS_AWAITS struct cfs_attr attr_of(struct harness *h, uint64_t ino)
{
	struct cfs_attr a;

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return a;
}

static CFS_AWAITS int truncate_to(struct harness *h, uint64_t ino, uint64_t size)
{
	struct cfs_msg m = request(CFS_OP_SETATTR, ino);

	cfs_msg_set(&m, valid, CFS_SET_SIZE);
	cfs_msg_set(&m, size, size);
	return ask(h, &m);
}

static CFS_AWAITS int write_at(struct harness *h, uint64_t ino, uint64_t off, uint32_t flags)
{
	struct cfs_msg m = request(CFS_OP_WRITE, ino);

	cfs_msg_set(&m, off, off);
	cfs_msg_set(&m, len, 4);
	cfs_msg_set(&m, flags, flags);
	cfs_msg_set_bytes(&m, data, (const uint8_t *)"text", 4);
	return ask(h, &m);
}

static CFS_AWAITS int open_for(struct harness *h, uint64_t ino, uint32_t flags)
{
	struct cfs_msg m = request(CFS_OP_OPEN, ino);

	cfs_msg_set(&m, flags, flags);
	return ask(h, &m);
}

/* As a client does by what it knew when the file had @a. */
static CFS_AWAITS int write_chunk(struct harness *h, const struct cfs_attr *a, uint32_t chunk)
{
	struct cfs_msg m = request(CFS_OP_CHUNK_WRITE, a->ino);
	uint32_t shard = cfs_chunk_shard(a->ino, a->seed, chunk, h->o.shards);
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, chunk, chunk);
	cfs_msg_set(&m, off, 0);
	cfs_msg_set(&m, len, 4);
	cfs_msg_set(&m, cut, a->cut);
	cfs_msg_set_bytes(&m, data, (const uint8_t *)"text", 4);
	rc = h->env.call(h->env.ctx, shard, &m, &r);
	assert_int_equal(rc, 0);
	rc = cfs_msg_is_set(&r.msg, rc) ? (int)r.msg.rc : 0;
	cfs_net_reply_fini(&r);
	return rc;
}

static CFS_AWAITS int wrote(struct harness *h, uint64_t ino)
{
	struct cfs_msg m = request(CFS_OP_WROTE, ino);

	cfs_msg_set(&m, off, 0);
	cfs_msg_set(&m, len, 4);
	return ask(h, &m);
}

/* Two directories on different shards. */
static CFS_AWAITS void two_dirs(struct harness *h, uint64_t *a, uint64_t *b)
{
	char name[16];

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "a", a), 0);
	for (int k = 0;; k++) {
		snprintf(name, sizeof(name), "b%d", k);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, b), 0);
		if (cfs_ino_home(*a) != cfs_ino_home(*b))
			return;
	}
}

CFS_TEST_SIM(set_and_kept)
{
	struct harness *h = harness_new(&many);
	struct cfs_attr before;
	uint64_t f, l;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "f", &l), 0);
	before = attr_of(h, f);
	assert_int_equal(set_iflags(h, f, CFS_IFLAG_NODUMP), 0);
	assert_int_equal(attr_of(h, f).iflags, CFS_IFLAG_NODUMP);
	assert_true(attr_of(h, f).ctime > before.ctime);
	assert_int_equal(attr_of(h, f).mtime, before.mtime);
	assert_int_equal(set_iflags(h, f, 1u << 17), -EOPNOTSUPP);
	assert_int_equal(set_iflags(h, f, CFS_IFLAG_LINKABLE), -EOPNOTSUPP);
	assert_int_equal(set_iflags(h, l, CFS_IFLAG_NODUMP), -EOPNOTSUPP);
	assert_int_equal(set_iflags(h, f, CFS_IFLAG_IMMUTABLE), 0);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(attr_of(h, f).iflags, CFS_IFLAG_IMMUTABLE);
	assert_int_equal(hs_chmod(h, f, 0600), -EPERM);
	harness_checkpoint(h);
	harness_stop(h);
	harness_start(h);
	assert_int_equal(hs_chmod(h, f, 0600), -EPERM);
	assert_int_equal(set_iflags(h, f, 0), 0);
	assert_int_equal(hs_chmod(h, f, 0600), 0);
	harness_finish(h);
}

CFS_TEST_SIM(files)
{
	struct harness *h = harness_new(&many);
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(write_at(h, f, 0, 0), 0);
	for (int k = 0; k < 2; k++) {
		bool is_append = guards[k] == CFS_IFLAG_APPEND;

		assert_int_equal(set_iflags(h, f, guards[k]), 0);
		assert_int_equal(write_at(h, f, 0, 0), -EPERM);
		assert_int_equal(write_at(h, f, 4, 0), -EPERM);
		assert_int_equal(write_at(h, f, 1 << 20, 0), -EPERM);
		assert_int_equal(write_at(h, f, 0, CFS_F_APPEND), is_append ? 0 : -EPERM);
		assert_int_equal(wrote(h, f), -EPERM);
		assert_int_equal(truncate_to(h, f, 0), -EPERM);
		assert_int_equal(open_for(h, f, CFS_F_TRUNC), -EPERM);
		assert_int_equal(open_for(h, f, CFS_F_WRITE), -EPERM);
		assert_int_equal(open_for(h, f, CFS_F_WRITE | CFS_F_APPEND),
				 is_append ? 0 : -EPERM);
		assert_int_equal(open_for(h, f, 0), 0);
		assert_int_equal(hs_setxattr(h, f, "user.x", "1", 1, 0), -EPERM);
		assert_int_equal(hs_chmod(h, f, 0600), -EPERM);
		assert_int_equal(attr_of(h, f).mode, S_IFREG | 0644);
	}
	assert_int_equal(attr_of(h, f).size, 8);
	harness_finish(h);
}

CFS_TEST_SIM(names_over_shards)
{
	struct harness *h = harness_new(&many);
	uint64_t a, b, f, d, t;

	two_dirs(h, &a, &b);
	assert_int_equal(hs_create(h, a, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_rename(h, a, "f", b, "f", 0), 0);
	assert_int_equal(hs_mkdir(h, a, "d", &d), 0);
	assert_int_equal(hs_create(h, b, "t", 0644, CFS_F_EXCL, &t), 0);
	for (int k = 0; k < 2; k++) {
		bool is_append = guards[k] == CFS_IFLAG_APPEND;

		/* The inode is elsewhere than its name. */
		assert_int_equal(set_iflags(h, f, guards[k]), 0);
		assert_int_equal(hs_rename(h, b, "f", b, "g", 0), -EPERM);
		assert_int_equal(hs_rename(h, b, "f", a, "g", 0), -EPERM);
		assert_int_equal(hs_rename(h, b, "t", b, "f", 0), -EPERM);
		assert_int_equal(hs_rename(h, b, "t", b, "f", CFS_F_EXCHANGE), -EPERM);
		assert_int_equal(hs_unlink(h, b, "f"), -EPERM);
		assert_int_equal(hs_link(h, f, a, "g"), -EPERM);
		assert_int_equal(set_iflags(h, f, 0), 0);
		assert_int_equal(set_iflags(h, d, guards[k]), 0);
		assert_int_equal(hs_rename(h, a, "d", a, "e", 0), -EPERM);
		assert_int_equal(hs_rename(h, a, "d", b, "e", 0), -EPERM);
		assert_int_equal(hs_rmdir(h, a, "d"), -EPERM);
		assert_int_equal(hs_chmod(h, d, 0700), -EPERM);
		assert_int_equal(set_iflags(h, d, 0), 0);
		/* The directory of the name. */
		assert_int_equal(set_iflags(h, b, guards[k]), 0);
		assert_int_equal(hs_unlink(h, b, "t"), -EPERM);
		assert_int_equal(hs_rename(h, b, "f", a, "f", 0), -EPERM);
		assert_int_equal(hs_create(h, b, is_append ? "n1" : "n0", 0644, CFS_F_EXCL, NULL),
				 is_append ? 0 : -EPERM);
		assert_int_equal(hs_mkdir(h, b, is_append ? "m1" : "m0", &t),
				 is_append ? 0 : -EPERM);
		assert_int_equal(hs_link(h, f, b, is_append ? "l1" : "l0"), is_append ? 0 : -EPERM);
		assert_int_equal(set_iflags(h, b, 0), 0);
	}
	assert_int_equal(hs_rename(h, b, "f", a, "f", 0), 0);
	harness_finish(h);
}

/* What a client knew of an open file is void when a flag that forbids writes is set. */
CFS_TEST_SIM(fence)
{
	struct harness *h = harness_new(&many);
	struct cfs_attr before, after;
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL | CFS_F_OPEN, &f), 0);
	assert_int_equal(truncate_to(h, f, 6 * CFS_CHUNK_BYTES), 0);
	before = attr_of(h, f);
	for (uint32_t chunk = 0; chunk < 6; chunk++)
		assert_int_equal(write_chunk(h, &before, chunk), 0);
	assert_int_equal(wrote(h, f), 0);
	assert_int_equal(set_iflags(h, f, CFS_IFLAG_IMMUTABLE | CFS_IFLAG_NODUMP), 0);
	after = attr_of(h, f);
	assert_int_equal(after.iflags, CFS_IFLAG_IMMUTABLE | CFS_IFLAG_NODUMP);
	assert_true(after.cut > before.cut);
	assert_int_equal(after.size, before.size);
	for (uint32_t chunk = 0; chunk < 6; chunk++)
		assert_int_equal(write_chunk(h, &before, chunk), -CFS_EOLD_CUT);
	assert_int_equal(wrote(h, f), -EPERM);
	harness_kill(h, false);
	harness_start(h);
	for (uint32_t chunk = 0; chunk < 6; chunk++)
		assert_int_equal(write_chunk(h, &before, chunk), -CFS_EOLD_CUT);
	/* Where there is nothing to be kept out, none is needed. */
	assert_int_equal(set_iflags(h, f, 0), 0);
	assert_int_equal(attr_of(h, f).cut, after.cut);
	assert_int_equal(hs_release(h, f), 0);
	assert_int_equal(set_iflags(h, f, CFS_IFLAG_APPEND), 0);
	assert_int_equal(attr_of(h, f).cut, after.cut);
	/* Nothing was lost. */
	assert_int_equal(attr_of(h, f).size, before.size);
	harness_finish(h);
}

CFS_TEST_SIM(inherited)
{
	struct harness *h = harness_new(&many);
	uint64_t d, e, f, l;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(set_iflags(h, d, CFS_IFLAG_NODUMP | CFS_IFLAG_NOATIME | CFS_IFLAG_APPEND),
			 0);
	assert_int_equal(hs_mkdir(h, d, "e", &e), 0);
	assert_int_equal(hs_create(h, d, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_symlink(h, d, "l", "f", &l), 0);
	assert_int_equal(attr_of(h, e).iflags, CFS_IFLAG_NODUMP | CFS_IFLAG_NOATIME);
	assert_int_equal(attr_of(h, f).iflags, CFS_IFLAG_NODUMP | CFS_IFLAG_NOATIME);
	assert_int_equal(attr_of(h, l).iflags, 0);
	assert_int_equal(set_iflags(h, d, 0), 0);
	harness_finish(h);
}

CFS_TEST_SIM(names_for_the_nameless)
{
	struct harness *h = harness_new(&many);
	uint64_t a, b, t;

	two_dirs(h, &a, &b);
	assert_int_equal(hs_create(h, a, "x", 0600, CFS_F_TMPFILE, &t), 0);
	assert_int_equal(hs_link(h, t, b, "t"), 0);
	assert_int_equal(attr_of(h, t).iflags, 0);
	/* Once it has had one, it is as any other: gone with the last. */
	assert_int_equal(hs_unlink(h, b, "t"), 0);
	assert_int_equal(attr_of(h, t).nlink, 0);
	assert_int_equal(hs_link(h, t, a, "t"), -ENOENT);
	assert_int_equal(hs_link(h, t, b, "t"), -ENOENT);
	assert_int_equal(hs_release(h, t), 0);
	assert_int_equal(hs_create(h, a, "x", 0600, CFS_F_TMPFILE | CFS_F_EXCL, &t), 0);
	assert_int_equal(hs_link(h, t, a, "t"), -ENOENT);
	assert_int_equal(hs_release(h, t), 0);
	assert_int_equal(hs_create(h, a, "f", 0600, CFS_F_EXCL | CFS_F_OPEN, &t), 0);
	assert_int_equal(hs_unlink(h, a, "f"), 0);
	assert_int_equal(hs_link(h, t, a, "t"), -ENOENT);
	assert_int_equal(hs_release(h, t), 0);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_and_kept),      cmocka_unit_test(files),
		cmocka_unit_test(names_over_shards), cmocka_unit_test(fence),
		cmocka_unit_test(inherited),         cmocka_unit_test(names_for_the_nameless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
