/* A store on a plain file, with the real runtime: life, SIGKILL, power cut. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_syncs_and_reopens),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
