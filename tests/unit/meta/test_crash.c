/*
 * The node dies at every message of operations that span shards: by SIGKILL, after which nothing
 * may be lost and every request is answered in the end, once; and by the end of power, after which
 * every operation is there wholly or not at all, and what was synced is there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/reactor.h"
#include "harness.h"
#include "lib/counts.h"
#include "lib/test_fiber.h"

static const struct harness_opts opts = {
	.shards = 8, .stores = 3, .delay_max_ns = 200000, .sync_ppm = 20000
};

#define DIRS 4

struct scene {
	struct harness *h;
	uint64_t dir[DIRS], sub, file, other;
	int rc[8];
	bool is_done;
};

/* Directories in different shards: d0 holds file, d1 other, d2 the directory sub. */
static CFS_AWAITS void build(struct scene *s)
{
	struct harness *h = s->h;
	char name[16];

	for (int i = 0, n = 0; n < DIRS; i++) {
		bool is_new = true;

		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &s->dir[n]), 0);
		for (int k = 0; k < n; k++)
			is_new &= cfs_ino_home(s->dir[k]) != cfs_ino_home(s->dir[n]);
		n += is_new;
	}
	assert_int_equal(hs_create(h, s->dir[0], "file", 0644, CFS_F_EXCL, &s->file), 0);
	assert_int_equal(hs_create(h, s->dir[1], "other", 0644, CFS_F_EXCL, &s->other), 0);
	assert_int_equal(hs_mkdir(h, s->dir[2], "sub", &s->sub), 0);
	harness_quiesce(h);
	harness_sync(h);
}

/* What dies. After a power cut an operation may find that those before it are undone, so codes
 * count after a kill only. */
static CFS_AWAITS void work(void *arg)
{
	struct scene *s = arg;
	struct harness *h = s->h;
	uint64_t ino;

	s->rc[0] = hs_link(h, s->file, s->dir[3], "linked");
	s->rc[1] = hs_rename(h, s->dir[0], "file", s->dir[1], "other", 0);
	s->rc[2] = hs_rename(h, s->dir[2], "sub", s->dir[3], "moved", 0);
	s->rc[3] = hs_chmod(h, s->sub, 0711);
	s->rc[4] = hs_mkdir(h, s->sub, "below", &ino);
	s->rc[5] = hs_create(h, s->sub, "leaf", 0600, CFS_F_EXCL, &ino);
	s->rc[6] = hs_rename(h, s->sub, "leaf", s->sub, "below", CFS_F_EXCHANGE);
	s->rc[7] = hs_unlink(h, s->dir[3], "linked");
	s->is_done = true;
}

/* All operations of work() in full. */
static CFS_AWAITS void check_all(struct harness *h, const struct scene *s)
{
	uint64_t ino;
	struct cfs_attr a;

	for (int i = 0; i < 8; i++) {
		if (s->rc[i])
			fail_msg("operation %d: %s", i, cfs_err_name(s->rc[i]));
	}
	assert_int_equal(hs_lookup(h, s->dir[0], "file", &ino), -ENOENT);
	assert_int_equal(hs_lookup(h, s->dir[1], "other", &ino), 0);
	assert_int_equal(ino, s->file);
	assert_int_equal(hs_getattr(h, s->file, &a), 0);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(hs_getattr(h, s->other, NULL), -ESTALE);
	assert_int_equal(hs_lookup(h, s->dir[2], "sub", &ino), -ENOENT);
	assert_int_equal(hs_lookup(h, s->dir[3], "moved", &ino), 0);
	assert_int_equal(ino, s->sub);
	assert_int_equal(hs_getattr(h, s->sub, &a), 0);
	assert_int_equal(a.mode & 07777, 0711);
	assert_int_equal(a.parent, s->dir[3]);
	assert_int_equal(a.nlink, 3);
	assert_int_equal(hs_lookup(h, s->dir[3], "linked", &ino), -ENOENT);
}

static CFS_AWAITS struct harness *new_scene(struct scene *s)
{
	struct harness *h = malloc(sizeof(*h));

	assert_non_null(h);
	harness_init(h, &opts);
	*s = (struct scene){ .h = h };
	build(s);
	return h;
}

/* Messages that work() takes when nothing happens. */
static CFS_AWAITS uint64_t count_messages(void)
{
	struct scene s;
	struct harness *h = new_scene(&s);
	uint64_t before = h->messages;

	work(&s);
	check_all(h, &s);
	harness_quiesce(h);
	before = h->messages - before;
	harness_fini(h);
	free(h);
	return before;
}

/* Waits for the crash or the end of the work, whichever comes. True: it stands. */
static CFS_AWAITS bool until_crash(struct harness *h, struct scene *s)
{
	while (!h->is_crashing && !s->is_done)
		cfs_sleep_ns(100000);
	/* What goes on behind the last answer. */
	for (int i = 0; !h->is_crashing && i < 100; i++)
		cfs_sleep_ns(1000000);
	return h->is_crashing;
}

CFS_TEST_SIM(killed_at_every_message)
{
	uint64_t messages = count_messages();

	assert_true(messages > 50);
	for (uint64_t at = 1; at <= messages + 10; at++) {
		struct scene s;
		struct harness *h = new_scene(&s);
		struct cfs_group g;

		cfs_group_init(&g);
		h->crash_at = h->messages + at;
		assert_int_equal(cfs_group_start(&g, work, &s), 0);
		until_crash(h, &s);
		harness_kill(h, false);
		harness_start(h);
		cfs_group_join(&g);
		check_all(h, &s);
		harness_quiesce(h);
		if (harness_check(h))
			fail_msg("killed at message %llu", (unsigned long long)at);
		harness_fini(h);
		free(h);
	}
}

CFS_TEST_SIM(power_cut_at_every_message)
{
	uint64_t messages = count_messages();

	for (uint64_t at = 1; at <= messages + 10; at++) {
		struct scene s;
		struct harness *h = new_scene(&s);
		struct cfs_group g;
		uint64_t ino;

		cfs_group_init(&g);
		h->crash_at = h->messages + at;
		assert_int_equal(cfs_group_start(&g, work, &s), 0);
		until_crash(h, &s);
		harness_kill(h, true);
		harness_start(h);
		cfs_group_join(&g);
		harness_quiesce(h);
		if (harness_check(h))
			fail_msg("power cut at message %llu", (unsigned long long)at);
		/* The scene was synced, so the file has a name, the old or the new one. */
		assert_true(hs_lookup(h, s.dir[0], "file", &ino) == 0 ||
			    hs_lookup(h, s.dir[1], "other", &ino) == 0);
		assert_int_equal(hs_getattr(h, s.file, NULL), 0);
		assert_int_equal(hs_getattr(h, s.sub, NULL), 0);
		harness_fini(h);
		free(h);
	}
}

/* What a sync returned for is there after a power cut. */
CFS_TEST_SIM(synced_survives_a_power_cut)
{
	for (int round = 0; round < 20; round++) {
		struct scene s;
		struct harness *h = new_scene(&s);

		work(&s);
		harness_sync(h);
		harness_kill(h, true);
		harness_start(h);
		check_all(h, &s);
		harness_quiesce(h);
		assert_int_equal(harness_check(h), 0);
		harness_fini(h);
		free(h);
	}
}

/* --- several clients --- */

struct client {
	struct harness *h;
	const uint64_t *dir;
	bool *is_over;
	uint32_t done;
};

/* Anything anywhere among a few names: what it is told does not matter, what is left does. */
static CFS_AWAITS void client_run(void *arg)
{
	struct client *c = arg;
	static const char *const names[] = { "a", "b", "c", "d" };

	while (!*c->is_over) {
		uint64_t from = c->dir[cfs_rand_u64() % DIRS], to = c->dir[cfs_rand_u64() % DIRS];
		const char *name = names[cfs_rand_u64() % 4], *name2 = names[cfs_rand_u64() % 4];
		uint64_t ino;

		switch (cfs_rand_u64() % 8) {
		case 0:
			hs_create(c->h, from, name, 0644, 0, &ino);
			break;
		case 1:
			hs_mkdir(c->h, from, name, &ino);
			break;
		case 2:
			hs_unlink(c->h, from, name);
			break;
		case 3:
			hs_rmdir(c->h, from, name);
			break;
		case 4:
			if (hs_lookup(c->h, from, name, &ino) == 0)
				hs_link(c->h, ino, to, name2);
			break;
		case 5:
			if (hs_lookup(c->h, from, name, &ino) == 0)
				hs_chmod(c->h, ino, 0700 + cfs_rand_u64() % 8);
			break;
		default:
			hs_rename(c->h, from, name, to, name2,
				  cfs_rand_u64() % 3 ? 0 : CFS_F_EXCHANGE);
			break;
		}
		c->done++;
	}
}

static CFS_AWAITS void many(bool is_power_cut, int lives)
{
	const struct harness_opts o = { .shards = 8,
					.stores = 3,
					.delay_max_ns = 300000,
					.loss_ppm = 20000,
					.dup_ppm = 20000,
					.sync_ppm = 10000 };
	struct harness *h = malloc(sizeof(*h));
	struct client c[5];
	struct cfs_group g;
	uint64_t dir[DIRS];
	bool is_over = false;
	char name[16];
	uint32_t done = 0;

	assert_non_null(h);
	harness_init(h, &o);
	for (int i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &dir[i]), 0);
	}
	harness_quiesce(h);
	harness_sync(h);
	cfs_group_init(&g);
	for (int i = 0; i < 5; i++) {
		c[i] = (struct client){ .h = h, .dir = dir, .is_over = &is_over };
		assert_int_equal(cfs_group_start(&g, client_run, &c[i]), 0);
	}
	for (int life = 0; life < lives; life++) {
		h->crash_at = h->messages + 50 + cfs_rand_u64() % 500;
		if (life % 3 == 2)
			harness_checkpoint(h);
		harness_wait_crash(h);
		harness_kill(h, is_power_cut);
		harness_start(h);
	}
	is_over = true;
	cfs_group_join(&g);
	harness_quiesce(h);
	if (harness_check(h))
		fail_msg("after %d lives", lives);
	for (int i = 0; i < 5; i++)
		done += c[i].done;
	assert_true(done > (uint32_t)lives * 5);
	harness_fini(h);
	free(h);
}

CFS_TEST_SIM(many_clients_and_kills)
{
	many(false, (int)cfs_test_count(15, 60));
}

CFS_TEST_SIM(many_clients_and_power_cuts)
{
	int rounds = (int)cfs_test_count(6, 30);

	for (int round = 0; round < rounds; round++)
		many(true, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_at_every_message),
		cmocka_unit_test(power_cut_at_every_message),
		cmocka_unit_test(synced_survives_a_power_cut),
		cmocka_unit_test(many_clients_and_kills),
		cmocka_unit_test(many_clients_and_power_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
