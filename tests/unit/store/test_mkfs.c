/* Making stores and reading superblocks: what is refused, what is mended, and how it is said. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/device_internal.h"
#include "toy.h"

#define SIZE (64ull << 20)

static char dir[] = "/tmp/cfs-test-mkfs-XXXXXX";
static char path[128];
static char err[256];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/store", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static int make(uint64_t bytes, uint32_t stores, uint32_t shards, bool is_forced)
{
	struct cfs_mkfs_opts o = { .path = path,
				   .size_bytes = bytes,
				   .stores = stores,
				   .shards = shards,
				   .is_forced = is_forced };

	return cfs_store_mkfs(&o, err, sizeof(err));
}

static void poke(uint64_t off, const void *bytes, size_t len)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, (off_t)off), len);
	close(fd);
}

static void peek(uint64_t off, void *bytes, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, len, (off_t)off), len);
	close(fd);
}

static void makes_a_store_that_is_allocated(void **state)
{
	struct cfs_store_info info;
	struct stat st;

	(void)state;
	unlink(path);
	assert_int_equal(make(SIZE, 0, 0, false), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true((uint64_t)st.st_blocks * 512 >= SIZE);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), 0);
	assert_int_equal(info.version, CFS_STORE_VERSION);
	assert_int_equal(info.shards, 256);
	assert_true(info.zones >= 32);
	assert_true(info.capacity_bytes > SIZE / 2 && info.capacity_bytes < SIZE);
}

static void refuses_what_is_there(void **state)
{
	(void)state;
	unlink(path);
	assert_int_equal(make(SIZE, 0, 0, false), 0);
	assert_int_equal(make(SIZE, 0, 0, false), -EEXIST);
	assert_non_null(strstr(err, "--force"));
	assert_int_equal(make(SIZE, 0, 0, true), 0);
}

static void refuses_what_is_too_small(void **state)
{
	(void)state;
	unlink(path);
	assert_int_equal(make(SIZE - 4096, 0, 0, false), -EINVAL);
	assert_non_null(strstr(err, "64 MiB"));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(make(SIZE, 8, 0, false), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(make(SIZE, 1, 65536, false), -EINVAL);
	assert_int_equal(make(SIZE, 1, 100, false), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(make(1ull << 60, 0, 0, false) < 0, 1);
	assert_int_equal(access(path, F_OK), -1);
}

static void says_what_is_not_a_store(void **state)
{
	static uint8_t zero[4096];
	struct cfs_store_info info;
	int fd;

	(void)state;
	unlink(path);
	assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), -ENOENT);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), -CFS_ENOT_A_STORE);
	assert_non_null(strstr(err, "cfs mkfs"));
	poke(0, zero, 1);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), -CFS_ENOT_A_STORE);
	assert_int_equal(cfs_store_probe(dir, &info, err, sizeof(err)), -EISDIR);
}

/* Writes the superblock back with another version, and a right checksum. */
static void set_version(uint64_t off, uint16_t version)
{
	static uint8_t block[4096];
	struct cfs_super s;

	peek(0, block, sizeof(block));
	assert_int_equal(cfs_super_decode(block, &s), 0);
	s.version = version;
	cfs_super_encode(&s, block);
	poke(off, block, sizeof(block));
}

static void refuses_another_version_by_name(void **state)
{
	struct cfs_store_info info;
	struct cfs_device *dev;

	(void)state;
	for (uint16_t version = 0; version <= 2; version += 2) {
		unlink(path);
		assert_int_equal(make(SIZE, 0, 0, false), 0);
		set_version(SIZE - 4096, version);
		set_version(0, version);
		assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), -CFS_EBAD_VERSION);
		assert_non_null(strstr(err, version ? "format 2" : "format 0"));
		assert_int_equal(cfs_device_open(path, false, &dev, err, sizeof(err)),
				 -CFS_EBAD_VERSION);
	}
}

static void mends_a_damaged_superblock(void **state)
{
	static uint8_t before[2][4096], after[2][4096];
	struct cfs_device *dev;
	uint8_t junk = 0x5a;

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint64_t off = i ? SIZE - 4096 : 0;

		unlink(path);
		assert_int_equal(make(SIZE, 0, 0, false), 0);
		peek(0, before[0], 4096);
		poke(off + 70, &junk, 1);
		/* Reading only changes nothing. */
		assert_int_equal(cfs_device_open(path, true, &dev, err, sizeof(err)), 0);
		cfs_device_close(dev);
		peek(off, after[i], 4096);
		assert_memory_not_equal(after[i], before[0], 4096);
		assert_int_equal(cfs_device_open(path, false, &dev, err, sizeof(err)), 0);
		cfs_device_close(dev);
		peek(0, after[0], 4096);
		peek(SIZE - 4096, after[1], 4096);
		assert_memory_equal(after[0], before[0], 4096);
		assert_memory_equal(after[1], before[0], 4096);
	}
}

static void refuses_two_damaged_superblocks(void **state)
{
	struct cfs_store_info info;
	uint8_t junk = 0x5a;

	(void)state;
	unlink(path);
	assert_int_equal(make(SIZE, 0, 0, false), 0);
	poke(70, &junk, 1);
	poke(SIZE - 4096 + 70, &junk, 1);
	assert_int_equal(cfs_store_probe(path, &info, err, sizeof(err)), -CFS_EBAD_CHECKSUM);
	assert_non_null(strstr(err, "damaged"));
}

static void refuses_a_store_in_use(void **state)
{
	struct cfs_device *dev, *second;

	(void)state;
	unlink(path);
	assert_int_equal(make(SIZE, 0, 0, false), 0);
	assert_int_equal(cfs_device_open(path, false, &dev, err, sizeof(err)), 0);
	assert_int_equal(cfs_device_open(path, false, &second, err, sizeof(err)), -CFS_ESTORE_BUSY);
	assert_non_null(strstr(err, "in use"));
	assert_int_equal(cfs_device_open(path, true, &second, err, sizeof(err)), -CFS_ESTORE_BUSY);
	assert_int_equal(make(SIZE, 0, 0, true), -EBUSY);
	cfs_device_close(dev);
	/* Two readers are fine. */
	assert_int_equal(cfs_device_open(path, true, &dev, err, sizeof(err)), 0);
	assert_int_equal(cfs_device_open(path, true, &second, err, sizeof(err)), 0);
	cfs_device_close(second);
	cfs_device_close(dev);
}

static void lays_out_many_sizes(void **state)
{
	(void)state;
	for (uint64_t mib = 64; mib < 40ull << 20; mib = mib * 3 / 2) {
		struct cfs_super s;
		uint64_t slice;

		assert_int_equal(cfs_super_layout(mib << 20, 0, 0, &s), 0);
		slice = (uint64_t)s.zones * s.zone_blocks * 4096;
		assert_true(s.zones >= 32 && s.zones <= 16384 + 64);
		assert_true(s.slice_off + slice * s.stores + 4096 <= s.device_bytes);
		/* At most two zones a slice, and what no slice takes, are lost. */
		assert_true(slice * s.stores + s.stores * s.zone_blocks * 8192ull + (2 << 20) >=
			    s.device_bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_store_that_is_allocated),
		cmocka_unit_test(refuses_what_is_there),
		cmocka_unit_test(refuses_what_is_too_small),
		cmocka_unit_test(says_what_is_not_a_store),
		cmocka_unit_test(refuses_another_version_by_name),
		cmocka_unit_test(mends_a_damaged_superblock),
		cmocka_unit_test(refuses_two_damaged_superblocks),
		cmocka_unit_test(refuses_a_store_in_use),
		cmocka_unit_test(lays_out_many_sizes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
