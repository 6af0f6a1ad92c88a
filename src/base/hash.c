#include "base/hash.h"

#include <endian.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t rotl(uint64_t x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static uint64_t load_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* The paper, section 2: two rounds a word, four at the end, the length in the last word's top byte.
 */
uint64_t cfs_siphash(const struct cfs_sipkey *key, const void *data, size_t len_bytes)
{
	const uint8_t *at = data;
	uint64_t k0 = load_le64(key->bytes), k1 = load_le64(key->bytes + 8);
	uint64_t v[4] = {
		k0 ^ 0x736f6d6570736575ull,
		k1 ^ 0x646f72616e646f6dull,
		k0 ^ 0x6c7967656e657261ull,
		k1 ^ 0x7465646279746573ull,
	};
	uint64_t last = (uint64_t)len_bytes << 56;
	size_t whole = len_bytes / 8, rest = len_bytes % 8;

	for (size_t i = 0; i <= whole; i++) {
		uint64_t word = last;

		if (i < whole)
			word = load_le64(at + 8 * i);
		else
			for (size_t j = 0; j < rest; j++)
				word |= (uint64_t)at[8 * whole + j] << (8 * j);
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t cfs_hash_bytes(const void *data, size_t len_bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len_bytes, seed);
}
