/* The cluster map, as HELLO and MAP return it to a client. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "lib/fuzz.h"
#include "proto/msg.h"
#include "proto/msg_format.h"

#define CORES_MAX 4u
#define SHARDS_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct cfs_map m;

	if (len_bytes > UINT32_MAX || cfs_map_decode(data, (uint32_t)len_bytes, &m) < 0)
		return 0;
	/* Whoever looks up a shard finds a core, and its address ends. */
	for (uint32_t i = 0; i < m.shards; i++)
		cfs_assert(m.core_of[i] < m.cores);
	for (uint32_t i = 0; i < m.cores; i++)
		cfs_assert(memchr(m.core_addr[i], 0, sizeof(m.core_addr[i])) != NULL);
	cfs_map_fini(&m);
	return 0;
}

size_t cfs_fuzz_sample(uint32_t n, uint8_t *data)
{
	static uint16_t core_of[SHARDS_MAX];
	static uint64_t epoch_of[SHARDS_MAX];
	static char core_addr[CORES_MAX][128] = { "tcp:127.0.0.1:1", "shm:x", "", "inproc:a/3" };
	struct cfs_map m = {
		.epoch = n,
		.shards = 1u << n % 7,
		.cores = 1 + n % CORES_MAX,
		.core_of = core_of,
		.epoch_of = epoch_of,
		.core_addr = core_addr,
	};
	int64_t len;

	if (n >= 64)
		return 0;
	for (uint32_t i = 0; i < m.shards; i++) {
		core_of[i] = (uint16_t)((n < 32 ? i : cfs_hash_u64(i + n)) % m.cores);
		epoch_of[i] = n % 3 ? n : i / 5;
	}
	len = cfs_map_encode(&m, data, CFS_FUZZ_BYTES_MAX);
	cfs_assert(len > 0);
	return (size_t)len;
}
