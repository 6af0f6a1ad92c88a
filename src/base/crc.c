#include <isa-l/crc.h>

#include "base/hash.h"

#define CRC_STEP_BYTES (1u << 30) /* ISA-L takes an int */
#define CRC_BLOCK_BYTES 4096u

/* ISA-L's crc32_iscsi() neither inverts its seed nor its result; the standard does both. */
uint32_t cfs_crc32c(uint32_t crc, const void *data, size_t len_bytes)
{
	/* Its prototype lacks the const; it only reads. */
	unsigned char *at = (unsigned char *)(uintptr_t)data;
	uint32_t raw = ~crc;

	while (len_bytes > 0) {
		size_t step = len_bytes < CRC_STEP_BYTES ? len_bytes : CRC_STEP_BYTES;

		raw = crc32_iscsi(at, (int)step, raw);
		at += step;
		len_bytes -= step;
	}
	return ~raw;
}

void cfs_crc32c_blocks(const void *data, uint32_t blocks, uint32_t *crcs_out)
{
	const uint8_t *at = data;

	for (uint32_t i = 0; i < blocks; i++)
		crcs_out[i] = cfs_crc32c(0, at + (size_t)i * CRC_BLOCK_BYTES, CRC_BLOCK_BYTES);
}
