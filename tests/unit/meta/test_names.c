/*
 * Names and what hangs on them, one client, several shards so that about half of the directories
 * are elsewhere.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "harness.h"
#include "lib/test_fiber.h"

static const struct harness_opts one = { .shards = 1, .stores = 1 };
static const struct harness_opts four = { .shards = 4, .stores = 2 };

static CFS_AWAITS struct cfs_attr attr_of(struct harness *h, uint64_t ino)
{
	struct cfs_attr a = { 0 };

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return a;
}

static CFS_AWAITS void files(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);
	uint64_t a, b, dir;
	struct cfs_attr before = attr_of(h, HARNESS_ROOT), after, f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "a", 0644, CFS_F_EXCL, &a), 0);
	after = attr_of(h, HARNESS_ROOT);
	assert_true(after.mtime > before.mtime);
	assert_int_equal(after.mtime, after.ctime);
	assert_int_equal(after.size, 1);
	f = attr_of(h, a);
	assert_int_equal(f.mode, S_IFREG | 0644);
	assert_int_equal(f.nlink, 1);
	assert_int_equal(f.uid, 7);
	assert_int_equal(f.gid, 8);
	assert_int_equal(f.seed, a);
	assert_int_equal(f.ctime, after.ctime);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "a", 0644, CFS_F_EXCL, &b), -EEXIST);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "a", 0600, 0, &b), 0);
	assert_int_equal(a, b);
	assert_int_equal(hs_lookup(h, HARNESS_ROOT, "a", &b), 0);
	assert_int_equal(a, b);
	assert_int_equal(hs_lookup(h, HARNESS_ROOT, "b", &b), -ENOENT);
	assert_int_equal(hs_lookup(h, a, "b", &b), -ENOTDIR);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "b"), -ENOENT);
	assert_int_equal(hs_rmdir(h, HARNESS_ROOT, "a"), -ENOTDIR);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &dir), 0);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &b), -EEXIST);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "a", &b), -EEXIST);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "d"), -EISDIR);
	assert_int_equal(attr_of(h, HARNESS_ROOT).nlink, 3);
	assert_int_equal(attr_of(h, dir).nlink, 2);
	assert_int_equal(hs_create(h, dir, "x", 0644, CFS_F_EXCL, &b), 0);
	assert_int_equal(hs_rmdir(h, HARNESS_ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(hs_unlink(h, dir, "x"), 0);
	assert_int_equal(hs_getattr(h, b, &f), -ESTALE);
	assert_int_equal(hs_rmdir(h, HARNESS_ROOT, "d"), 0);
	assert_int_equal(hs_getattr(h, dir, &f), -ESTALE);
	assert_int_equal(hs_create(h, dir, "x", 0644, CFS_F_EXCL, &b), -ESTALE);
	assert_int_equal(attr_of(h, HARNESS_ROOT).nlink, 2);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "a"), 0);
	assert_int_equal(attr_of(h, HARNESS_ROOT).size, 0);
	harness_finish(h);
}

CFS_TEST_SIM(files_one_shard)
{
	files(&one);
}

CFS_TEST_SIM(files_four_shards)
{
	files(&four);
}

CFS_TEST_SIM(bad_names)
{
	struct harness *h = harness_new(&one);
	char name[300];
	uint64_t ino;

	memset(name, 'n', sizeof(name));
	name[256] = 0;
	/* No message holds a longer one. */
	assert_true(hs_create(h, HARNESS_ROOT, name, 0644, 0, &ino) < 0);
	assert_true(hs_lookup(h, HARNESS_ROOT, name, &ino) < 0);
	name[255] = 0;
	assert_int_equal(hs_create(h, HARNESS_ROOT, name, 0644, 0, &ino), 0);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "a/b", 0644, 0, &ino), -EINVAL);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "", 0644, 0, &ino), -EINVAL);
	assert_int_equal(hs_create(h, HARNESS_ROOT, ".", 0644, 0, &ino), -EEXIST);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "..", &ino), -EEXIST);
	assert_int_equal(hs_rmdir(h, HARNESS_ROOT, "."), -EINVAL);
	assert_int_equal(hs_rmdir(h, HARNESS_ROOT, ".."), -ENOTEMPTY);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, ".."), -EISDIR);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, name, HARNESS_ROOT, "..", 0), -EBUSY);
	assert_int_equal(hs_lookup(h, HARNESS_ROOT, ".", &ino), 0);
	assert_int_equal(ino, HARNESS_ROOT);
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "", &ino), -ENOENT);
	harness_finish(h);
}

static CFS_AWAITS void links(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);
	uint64_t a, d[4], ino;
	char name[8] = "d0";

	for (int i = 0; i < 4; i++) {
		name[1] = (char)('0' + i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &d[i]), 0);
	}
	assert_int_equal(hs_create(h, d[0], "f", 0644, CFS_F_EXCL, &a), 0);
	for (int i = 1; i < 4; i++) {
		assert_int_equal(hs_link(h, a, d[i], "g"), 0);
		assert_int_equal(attr_of(h, a).nlink, i + 1);
		assert_int_equal(hs_link(h, a, d[i], "g"), -EEXIST);
		assert_int_equal(hs_lookup(h, d[i], "g", &ino), 0);
		assert_int_equal(ino, a);
	}
	assert_int_equal(hs_link(h, d[0], d[1], "dir"), -EPERM);
	assert_int_equal(hs_link(h, a + 1000, d[1], "none"), -ESTALE);
	assert_int_equal(hs_unlink(h, d[0], "f"), 0);
	assert_int_equal(attr_of(h, a).nlink, 3);
	/* Two names of one inode: a rename does nothing. */
	assert_int_equal(hs_rename(h, d[1], "g", d[2], "g", 0), 0);
	assert_int_equal(hs_lookup(h, d[1], "g", &ino), 0);
	/* One name replaces another file. */
	assert_int_equal(hs_create(h, d[3], "other", 0644, CFS_F_EXCL, &ino), 0);
	assert_int_equal(hs_rename(h, d[1], "g", d[3], "other", CFS_F_NOREPLACE), -EEXIST);
	assert_int_equal(hs_rename(h, d[1], "g", d[3], "other", 0), 0);
	assert_int_equal(hs_getattr(h, ino, NULL), -ESTALE);
	assert_int_equal(hs_lookup(h, d[1], "g", &ino), -ENOENT);
	assert_int_equal(hs_lookup(h, d[3], "other", &ino), 0);
	assert_int_equal(ino, a);
	assert_int_equal(attr_of(h, a).nlink, 3);
	assert_int_equal(hs_unlink(h, d[3], "other"), 0);
	assert_int_equal(hs_unlink(h, d[3], "g"), 0);
	assert_int_equal(hs_unlink(h, d[2], "g"), 0);
	assert_int_equal(hs_getattr(h, a, NULL), -ESTALE);
	harness_finish(h);
}

CFS_TEST_SIM(links_one_shard)
{
	links(&one);
}

CFS_TEST_SIM(links_four_shards)
{
	links(&four);
}

static CFS_AWAITS void renames(const struct harness_opts *o)
{
	struct harness *h = harness_new(o);
	uint64_t a, b, c, f, x, ino;
	struct cfs_attr before;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "a", &a), 0);
	assert_int_equal(hs_mkdir(h, a, "b", &b), 0);
	assert_int_equal(hs_mkdir(h, b, "c", &c), 0);
	assert_int_equal(hs_create(h, a, "f", 0644, CFS_F_EXCL, &f), 0);
	/* files */
	before = attr_of(h, f);
	assert_int_equal(hs_rename(h, a, "f", a, "f2", 0), 0);
	assert_true(attr_of(h, f).ctime > before.ctime);
	assert_int_equal(hs_rename(h, a, "f2", a, "f2", 0), 0);
	assert_int_equal(hs_rename(h, a, "none", b, "f2", 0), -ENOENT);
	assert_int_equal(hs_rename(h, a, "f2", c, "f3", 0), 0);
	assert_int_equal(hs_lookup(h, a, "f2", &ino), -ENOENT);
	assert_int_equal(hs_lookup(h, c, "f3", &ino), 0);
	assert_int_equal(ino, f);
	assert_int_equal(attr_of(h, f).nlink, 1);
	assert_int_equal(hs_rename(h, c, "f3", a, "b", 0), -EISDIR);
	assert_int_equal(hs_rename(h, a, "b", c, "f3", 0), -EINVAL);
	assert_int_equal(hs_rename(h, a, "b", a, "f2", CFS_F_EXCHANGE), -ENOENT);
	assert_int_equal(hs_rename(h, a, "b", a, "f2", CFS_F_EXCHANGE | CFS_F_NOREPLACE), -EINVAL);
	/* directories, in place */
	assert_int_equal(hs_rename(h, a, "b", a, "bb", 0), 0);
	assert_int_equal(hs_lookup(h, a, "bb", &ino), 0);
	assert_int_equal(ino, b);
	assert_int_equal(attr_of(h, a).nlink, 3);
	/* into themselves */
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "a", c, "a", 0), -EINVAL);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "a", a, "a", 0), -EINVAL);
	assert_int_equal(hs_rename(h, a, "bb", b, "x", 0), -EINVAL);
	/* what is above them */
	assert_int_equal(hs_rename(h, b, "c", HARNESS_ROOT, "a", 0), -ENOTEMPTY);
	/* to another parent */
	assert_int_equal(hs_rename(h, b, "c", HARNESS_ROOT, "c", 0), 0);
	assert_int_equal(attr_of(h, c).parent, HARNESS_ROOT);
	assert_int_equal(attr_of(h, HARNESS_ROOT).nlink, 4);
	assert_int_equal(attr_of(h, b).nlink, 2);
	/* over an empty one, and one that is not */
	assert_int_equal(hs_mkdir(h, a, "empty", &x), 0);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "c", a, "empty", CFS_F_NOREPLACE), -EEXIST);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "c", a, "empty", 0), 0);
	assert_int_equal(hs_getattr(h, x, NULL), -ESTALE);
	assert_int_equal(attr_of(h, a).nlink, 4);
	assert_int_equal(hs_rename(h, a, "bb", a, "empty", 0), -ENOTEMPTY);
	/* exchange: two directories of different parents, a file and a directory */
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "e", &x), 0);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "e", a, "empty", CFS_F_EXCHANGE), 0);
	assert_int_equal(attr_of(h, x).parent, a);
	assert_int_equal(attr_of(h, c).parent, HARNESS_ROOT);
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "e", c, "f3", CFS_F_EXCHANGE), -EINVAL);
	assert_int_equal(hs_rename(h, c, "f3", a, "bb", CFS_F_EXCHANGE), 0);
	assert_int_equal(hs_lookup(h, a, "bb", &ino), 0);
	assert_int_equal(ino, f);
	assert_int_equal(attr_of(h, b).parent, c);
	assert_int_equal(attr_of(h, c).nlink, 3);
	/* a loop by exchange */
	assert_int_equal(hs_rename(h, HARNESS_ROOT, "e", c, "f3", CFS_F_EXCHANGE), -EINVAL);
	assert_int_equal(hs_rename(h, c, "f3", HARNESS_ROOT, "e", CFS_F_EXCHANGE), -EINVAL);
	harness_finish(h);
}

CFS_TEST_SIM(renames_one_shard)
{
	renames(&one);
}

CFS_TEST_SIM(renames_four_shards)
{
	renames(&four);
}

CFS_TEST_SIM(opens_keep_orphans)
{
	struct harness *h = harness_new(&four);
	uint64_t d, a, b;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_create(h, d, "a", 0644, CFS_F_EXCL | CFS_F_OPEN, &a), 0);
	assert_int_equal(hs_open(h, a), 0);
	/* Its only name goes to another directory, then goes. */
	assert_int_equal(hs_rename(h, d, "a", HARNESS_ROOT, "a", 0), 0);
	assert_int_equal(hs_unlink(h, HARNESS_ROOT, "a"), 0);
	assert_int_equal(attr_of(h, a).nlink, 0);
	assert_int_equal(hs_release(h, a), 0);
	assert_int_equal(attr_of(h, a).nlink, 0);
	harness_quiesce(h);
	harness_kill(h, false);
	harness_start(h);
	assert_int_equal(attr_of(h, a).nlink, 0);
	assert_int_equal(hs_release(h, a), 0);
	assert_int_equal(hs_getattr(h, a, NULL), -ESTALE);
	assert_int_equal(hs_release(h, a), 0);
	/* Without a name from the start; given one in another directory. */
	assert_int_equal(hs_create(h, d, "ignored", 0600, CFS_F_TMPFILE, &a), 0);
	assert_int_equal(attr_of(h, a).nlink, 0);
	assert_int_equal(attr_of(h, d).size, 0);
	assert_int_equal(hs_link(h, a, HARNESS_ROOT, "named"), 0);
	assert_int_equal(hs_release(h, a), 0);
	assert_int_equal(attr_of(h, a).nlink, 1);
	/* The end of a session closes what it had open. */
	assert_int_equal(hs_create(h, d, "ignored", 0600, CFS_F_TMPFILE, &b), 0);
	for (uint32_t k = 0; k < h->o.shards; k++)
		cfs_shard_session_end(h->shards[k], h->session);
	assert_int_equal(hs_getattr(h, b, NULL), -ESTALE);
	assert_int_equal(attr_of(h, a).nlink, 1);
	harness_finish(h);
}

CFS_TEST_SIM(setgid_is_handed_down)
{
	struct harness *h = harness_new(&four);
	uint64_t d, f, s;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_chmod(h, d, 02775), 0);
	harness_quiesce(h);
	assert_int_equal(attr_of(h, d).mode, S_IFDIR | 02775);
	assert_int_equal(hs_create(h, d, "f", 0644, 0, &f), 0);
	assert_int_equal(hs_mkdir(h, d, "s", &s), 0);
	assert_int_equal(attr_of(h, s).mode, S_IFDIR | 02755);
	assert_int_equal(attr_of(h, f).gid, 8);
	harness_finish(h);
}

CFS_TEST_SIM(targets_and_devices)
{
	struct harness *h = harness_new(&one);
	struct cfs_msg m = { .op = CFS_OP_READLINK };
	struct cfs_net_reply r;
	static char target[CFS_PATH_BYTES_MAX + 2];
	uint64_t l, p;

	memset(target, 't', sizeof(target));
	target[CFS_PATH_BYTES_MAX + 1] = 0;
	assert_true(hs_symlink(h, HARNESS_ROOT, "l", target, &l) < 0);
	target[CFS_PATH_BYTES_MAX] = 0;
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", target, &l), 0);
	cfs_msg_set(&m, ino, l);
	assert_int_equal(harness_call(h, &m, &r), 0);
	assert_int_equal(r.msg.data.len, CFS_PATH_BYTES_MAX);
	assert_memory_equal(r.msg.data.p, target, CFS_PATH_BYTES_MAX);
	cfs_net_reply_fini(&r);
	assert_int_equal(attr_of(h, l).size, CFS_PATH_BYTES_MAX);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "p", S_IFIFO | 0600, CFS_F_EXCL, &p), 0);
	assert_int_equal(attr_of(h, p).mode, S_IFIFO | 0600);
	assert_int_equal(hs_create(h, HARNESS_ROOT, "q", S_IFDIR | 0600, CFS_F_EXCL, &p), -EINVAL);
	harness_finish(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_one_shard),
		cmocka_unit_test(files_four_shards),
		cmocka_unit_test(bad_names),
		cmocka_unit_test(links_one_shard),
		cmocka_unit_test(links_four_shards),
		cmocka_unit_test(renames_one_shard),
		cmocka_unit_test(renames_four_shards),
		cmocka_unit_test(opens_keep_orphans),
		cmocka_unit_test(setgid_is_handed_down),
		cmocka_unit_test(targets_and_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
