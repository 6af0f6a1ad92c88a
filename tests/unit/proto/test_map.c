/* The cluster map: every spread comes back, and what does not add up is refused. */
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
#include "base/hash.h"
#include "proto/msg.h"

#define BUF_BYTES (2u * 1024 * 1024)

static uint8_t *buf;

static struct cfs_map map_make(uint32_t shards, uint32_t cores)
{
	struct cfs_map m = { .epoch = 9, .shards = shards, .cores = cores };

	memset(m.uuid, 0xaa, sizeof(m.uuid));
	memset(m.hash_key, 0xbb, sizeof(m.hash_key));
	m.core_of = calloc(shards, sizeof(*m.core_of));
	m.epoch_of = calloc(shards, sizeof(*m.epoch_of));
	m.core_addr = calloc(cores, sizeof(*m.core_addr));
	for (uint32_t i = 0; i < cores; i++)
		(void)snprintf(m.core_addr[i], sizeof(m.core_addr[i]), "tcp:127.0.0.1:%u", i);
	return m;
}

static int64_t roundtrip(const struct cfs_map *m)
{
	int64_t len = cfs_map_encode(m, buf, BUF_BYTES);
	struct cfs_map out;

	assert_true(len > 0);
	assert_int_equal(cfs_map_encode(m, buf, (uint32_t)len - 1), -ENOSPC);
	assert_int_equal(cfs_map_encode(m, buf, (uint32_t)len), len);
	assert_int_equal(cfs_map_decode(buf, (uint32_t)len, &out), 0);
	assert_int_equal(out.epoch, m->epoch);
	assert_int_equal(out.shards, m->shards);
	assert_int_equal(out.cores, m->cores);
	assert_memory_equal(out.uuid, m->uuid, 16);
	assert_memory_equal(out.hash_key, m->hash_key, 16);
	assert_memory_equal(out.core_of, m->core_of, m->shards * sizeof(*m->core_of));
	assert_memory_equal(out.epoch_of, m->epoch_of, m->shards * sizeof(*m->epoch_of));
	for (uint32_t i = 0; i < m->cores; i++)
		assert_string_equal(out.core_addr[i], m->core_addr[i]);
	cfs_map_fini(&out);
	for (uint32_t cut = 0; cut < len; cut += 1 + cut / 7)
		assert_true(cfs_map_decode(buf, cut, &out) < 0);
	return len;
}

static void test_spreads(void **state)
{
	struct cfs_map m;

	(void)state;
	m = map_make(1, 1);
	(void)roundtrip(&m);
	cfs_map_fini(&m);
	m = map_make(65536, 7);
	for (uint32_t i = 0; i < m.shards; i++)
		m.core_of[i] = (uint16_t)(i % 7);
	assert_true(roundtrip(&m) < 400); /* round robin is one run */
	for (uint32_t i = 0; i < m.shards; i++)
		m.core_of[i] = (uint16_t)(i / 9363);
	assert_true(roundtrip(&m) < 500); /* slices are one each */
	for (uint32_t i = 0; i < m.shards; i++)
		m.epoch_of[i] = i / 100;
	(void)roundtrip(&m);
	cfs_map_fini(&m);
	for (uint32_t round = 0; round < 200; round++) {
		m = map_make(256, 1 + round % 13);
		for (uint32_t i = 0; i < m.shards; i++) {
			m.core_of[i] = (uint16_t)(cfs_hash_u64(i + round) % m.cores);
			m.epoch_of[i] = cfs_hash_u64(i * 3 + round) % 3;
		}
		assert_true(roundtrip(&m) < 8192);
		cfs_map_fini(&m);
	}
}

static void test_lies_are_refused(void **state)
{
	struct cfs_map m = map_make(256, 3), out;
	int64_t len;

	(void)state;
	m.core_of[7] = 2;
	len = cfs_map_encode(&m, buf, BUF_BYTES);
	for (uint32_t i = 0; i < 200000; i++) {
		uint64_t dice = cfs_hash_u64(i + 1);
		uint32_t at = (uint32_t)(dice % (uint64_t)len);
		uint8_t was = buf[at];

		buf[at] = (uint8_t)(dice >> 40);
		if (cfs_map_decode(buf, (uint32_t)len, &out) == 0) {
			assert_true(out.shards <= CFS_MAP_SHARDS_MAX);
			for (uint32_t k = 0; k < out.shards; k++)
				assert_true(out.core_of[k] < out.cores);
			cfs_map_fini(&out);
		}
		buf[at] = was;
	}
	m.core_of[7] = 3;
	assert_int_equal(cfs_map_encode(&m, buf, BUF_BYTES), -EINVAL);
	cfs_map_fini(&m);
}

static int setup(void **state)
{
	(void)state;
	buf = malloc(BUF_BYTES);
	return buf ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(buf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spreads),
		cmocka_unit_test(test_lies_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
