/* A store on a plain file, with the real runtime: life, SIGKILL, power cut. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/device_internal.h"
#include "toy.h"

#define SIZE (64ull << 20)

static char dir[] = "/tmp/cfs-test-store-XXXXXX";
static char path[128];

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void make_store(uint32_t stores)
{
	struct cfs_mkfs_opts o = {
		.path = path, .size_bytes = SIZE * stores, .stores = stores, .shards = TOY_SHARDS
	};
	char err[256];

	snprintf(path, sizeof(path), "%s/store", dir);
	unlink(path);
	assert_int_equal(cfs_store_mkfs(&o, err, sizeof(err)), 0);
}

static struct cfs_store_opts opts(void)
{
	return (struct cfs_store_opts){ .tail_dir = dir, .tail_bytes = 8 << 20 };
}

static struct cfs_device *open_device(bool is_read_only)
{
	struct cfs_device *dev = NULL;
	char err[256] = "";
	int rc = cfs_device_open(path, is_read_only, &dev, err, sizeof(err));

	if (rc < 0)
		print_error("%s\n", err);
	assert_int_equal(rc, 0);
	return dev;
}

CFS_TEST_FIBER(places_syncs_and_reopens)
{
	struct cfs_store_opts o = opts();
	struct cfs_device *dev;
	struct toy *t = toy_create();

	make_store(1);
	for (int round = 0; round < 3; round++) {
		dev = open_device(false);
		assert_int_equal(toy_open(t, dev, 0, &o), 0);
		assert_int_equal(t->shards[0].index, round * 100);
		toy_verify(t);
		for (uint32_t i = 0; i < 100; i++)
			assert_int_equal(toy_put(t, i % TOY_SHARDS, i % 7, 1 + i % 20,
						 1 + i + 1000 * (uint32_t)round),
					 0);
		for (uint32_t s = 1; s < TOY_SHARDS; s++)
			assert_int_equal(t->shards[s].index, t->shards[0].index);
		for (uint32_t i = 0; i < 300; i++)
			assert_int_equal(toy_put(t, i % TOY_SHARDS, 40, 1, 5000 + i), 0);
		assert_int_equal(cfs_store_sync(t->store), 0);
		assert_false(cfs_store_is_dirty(t->store));
		toy_verify(t);
		cfs_store_check(t->store);
		assert_int_equal(toy_close(t), 0);
		cfs_device_close(dev);
	}
	assert_int_equal(t->findings, 0);
	toy_destroy(t);
	unlink(path);
}

/* ---- the end of the process ---- */

/* A child that places, syncs some of it, and is killed. What it placed goes through @report_fd. */
struct victim {
	int report_fd;
	bool is_synced;
};

static int victim_run(void *arg)
{
	const struct victim *v = arg;
	struct cfs_store_opts o = opts();
	struct toy *t = toy_create();
	uint64_t index[TOY_SHARDS];

	o.flush_interval_ns = 3600ull * 1000000000; /* only what is asked for */
	if (toy_open(t, open_device(false), 0, &o) < 0)
		_exit(1);
	for (uint32_t i = 0; i < 400; i++) {
		if (toy_put(t, i % TOY_SHARDS, i % 50, 1 + i % 20, 1 + i) < 0)
			_exit(2);
		if (v->is_synced && i == 199 && cfs_store_sync(t->store) < 0)
			_exit(3);
	}
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		index[i] = t->shards[i].index;
	if (write(v->report_fd, index, sizeof(index)) != sizeof(index))
		_exit(4);
	kill(getpid(), SIGKILL);
	return 0;
}

/* Runs a victim; @t gets the list of what it placed. */
static void run_victim(struct toy *t, bool is_synced)
{
	struct cfs_runtime_opts o = { .cores = 1, .pin_cpu = -2 };
	uint64_t index[TOY_SHARDS];
	struct victim v;
	int fds[2], status;
	pid_t pid;

	make_store(1);
	assert_int_equal(pipe(fds), 0);
	v = (struct victim){ fds[1], is_synced };
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		_exit(cfs_runtime_run(&o, victim_run, &v) == 0 ? 5 : 6);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], index, sizeof(index)), sizeof(index));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	for (uint32_t i = 0; i < 400; i++)
		toy_log(&t->shards[i % TOY_SHARDS], TOY_PUT, i % 50, 1 + i % 20, 1 + i);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		assert_int_equal(index[i], t->shards[i].index);
}

static int reopen_body(void *arg)
{
	struct cfs_store_opts o = opts();
	struct toy *t = arg;
	struct cfs_device *dev = open_device(false);

	assert_int_equal(toy_open(t, dev, 0, &o), 0);
	toy_verify(t);
	cfs_store_check(t->store);
	assert_int_equal(toy_put(t, 0, 0, 3, 999), 0);
	assert_int_equal(toy_close(t), 0);
	cfs_device_close(dev);
	dev = open_device(false);
	assert_int_equal(toy_open(t, dev, 0, &o), 0);
	toy_verify(t);
	assert_int_equal(toy_close(t), 0);
	cfs_device_close(dev);
	assert_int_equal(t->findings, 0);
	return 0;
}

static void remove_tails(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -f %s/claudefs-*", dir);
	assert_int_equal(system(command), 0);
}

static void survives_sigkill(void **state)
{
	struct cfs_runtime_opts o = { .cores = 1, .pin_cpu = -2 };
	struct toy *t = toy_create();

	(void)state;
	run_victim(t, false);
	assert_int_equal(cfs_test_run(&o, reopen_body, t), 0);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		assert_int_equal(t->shards[i].index, 100 + (i == 0));
	toy_destroy(t);
	unlink(path);
}

static void keeps_a_prefix_without_its_tail(void **state)
{
	struct cfs_runtime_opts o = { .cores = 1, .pin_cpu = -2 };
	struct toy *t = toy_create();

	(void)state;
	run_victim(t, true);
	remove_tails();
	assert_int_equal(cfs_test_run(&o, reopen_body, t), 0);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		assert_true(t->shards[i].index >= 50 && t->shards[i].index <= 100);
	toy_destroy(t);
	unlink(path);
}

/* A tail of another store of the same place is not taken for its own. */
static void voids_a_foreign_tail(void **state)
{
	struct cfs_runtime_opts o = { .cores = 1, .pin_cpu = -2 };
	struct toy *t = toy_create();

	(void)state;
	run_victim(t, true);
	make_store(1);
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		t->shards[i].index = 0;
	assert_int_equal(cfs_test_run(&o, reopen_body, t), 0);
	assert_int_equal(t->shards[0].index, 1);
	remove_tails();
	toy_destroy(t);
	unlink(path);
}

/* ---- flushes ---- */

struct syncer {
	struct toy *t;
	uint32_t shard;
};

static void sync_one(void *arg)
{
	struct syncer *y = arg;

	assert_int_equal(toy_put(y->t, y->shard, 1, 2, y->shard + 10), 0);
	assert_int_equal(cfs_store_sync(y->t->store), 0);
}

CFS_TEST_FIBER(shares_flushes_between_stores)
{
	struct cfs_store_opts o = opts();
	struct toy *t[2] = { toy_create(), toy_create() };
	struct syncer y[16];
	struct cfs_device *dev;
	struct cfs_group g;
	uint64_t before;

	make_store(2);
	dev = open_device(false);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(toy_open(t[i], dev, i, &o), 0);
	before = cfs_device_flushes(dev);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < 16; i++) {
		y[i] = (struct syncer){ t[i % 2], i / 2 % TOY_SHARDS };
		assert_int_equal(cfs_group_start(&g, sync_one, &y[i]), 0);
	}
	cfs_group_join(&g);
	assert_true(cfs_device_flushes(dev) - before <= 3);
	assert_true(cfs_device_flushes(dev) > before);
	for (uint32_t i = 0; i < 2; i++) {
		toy_verify(t[i]);
		assert_int_equal(toy_close(t[i]), 0);
		toy_destroy(t[i]);
	}
	cfs_device_close(dev);
	unlink(path);
}

/* ---- bit rot ---- */

/* Opens only to read. Returns 0 when all is right, else -EIO or what opening said. */
static CFS_AWAITS int read_all(struct toy *t)
{
	struct cfs_store_opts o = opts();
	struct cfs_device *dev = open_device(true);
	uint8_t *buf = aligned_alloc(4096, TOY_BLOCKS_MAX * 4096),
		*want = malloc(TOY_BLOCKS_MAX * 4096);
	int rc;

	o.is_read_only = true;
	t->findings = 0;
	rc = toy_open(t, dev, 0, &o);
	for (uint32_t i = 0; rc == 0 && i < TOY_SHARDS * TOY_KEYS; i++) {
		const struct toy_value *v = &t->shards[i / TOY_KEYS].keys[i % TOY_KEYS];

		if (v->seed == 0)
			continue;
		rc = cfs_store_data_read(t->store, v->addr, buf, v->blocks, v->crcs);
		toy_fill(want, v->seed, v->blocks);
		/* Right or refused, never wrong. */
		assert_true(rc < 0 || memcmp(buf, want, v->blocks * 4096ul) == 0);
	}
	if (t->store)
		cfs_store_close(t->store);
	toy_forget(t);
	cfs_device_close(dev);
	free(buf);
	free(want);
	return t->findings > 0 && rc == 0 ? -EIO : rc;
}

CFS_TEST_FIBER(notices_every_flipped_byte)
{
	struct cfs_store_opts o = opts();
	struct toy *t = toy_create();
	struct cfs_device *dev;
	struct cfs_store_stats st;
	uint64_t index[TOY_SHARDS], journal_bytes, seed = 7;
	int fd;

	make_store(1);
	dev = open_device(false);
	assert_int_equal(toy_open(t, dev, 0, &o), 0);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(toy_put(t, i % TOY_SHARDS, i % 50, 1 + i % 20, 1 + i), 0);
	cfs_store_stats(t->store, &st);
	assert_int_equal(toy_close(t), 0);
	cfs_device_close(dev);
	journal_bytes = 32768; /* of records; the roots before them are flipped too */
	for (uint32_t i = 0; i < TOY_SHARDS; i++)
		index[i] = t->shards[i].index;
	assert_int_equal(read_all(t), 0);
	fd = open(path, O_RDWR);
	for (uint32_t i = 0; i < 60; i++) {
		uint64_t off = (1 << 20) + (seed = cfs_hash_u64(seed)) % journal_bytes;
		uint8_t byte, old;

		for (uint32_t k = 0; k < TOY_SHARDS; k++)
			t->shards[k].index = index[k];
		assert_int_equal(pread(fd, &old, 1, (off_t)off), 1);
		byte = old ^ (uint8_t)(1u << (i % 8));
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
		if (read_all(t) == 0) {
			print_error("byte %lu was %02x\n", (unsigned long)off, old);
			fail();
		}
		assert_int_equal(pwrite(fd, &old, 1, (off_t)off), 1);
	}
	close(fd);
	toy_destroy(t);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_syncs_and_reopens),
		cmocka_unit_test(survives_sigkill),
		cmocka_unit_test(keeps_a_prefix_without_its_tail),
		cmocka_unit_test(voids_a_foreign_tail),
		cmocka_unit_test(shares_flushes_between_stores),
		cmocka_unit_test(notices_every_flipped_byte),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
