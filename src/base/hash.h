/* Hashes: xxhash for tables, SipHash-2-4 (Aumasson, Bernstein 2012) where hostile names must not
 * steer. CRC32C by ISA-L. */
#ifndef CFS_BASE_HASH_H
#define CFS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct cfs_sipkey {
	uint8_t bytes[16];
};

uint64_t cfs_siphash(const struct cfs_sipkey *key, const void *data, size_t len_bytes);
uint64_t cfs_hash_bytes(const void *data, size_t len_bytes, uint64_t seed);
/* Mixes a 64-bit number (splitmix64's finaliser). */
static inline uint64_t cfs_hash_u64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* CRC32C (Castagnoli) of @len_bytes, chained: start with 0. */
uint32_t cfs_crc32c(uint32_t crc, const void *data, size_t len_bytes);
/* One CRC per 4 KiB block of @data into @crcs_out. */
void cfs_crc32c_blocks(const void *data, uint32_t blocks, uint32_t *crcs_out);

#endif
