/*
 * Little-endian fields of formats: one-member structs, so that arithmetic on raw bytes does not
 * compile.
 */
#ifndef CFS_BASE_ENDIAN_H
#define CFS_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>

#define CFS_PACKED __attribute__((packed))

typedef struct {
	uint16_t raw;
} CFS_PACKED cfs_le16;
typedef struct {
	uint32_t raw;
} CFS_PACKED cfs_le32;
typedef struct {
	uint64_t raw;
} CFS_PACKED cfs_le64;

static inline cfs_le16 cfs_to_le16(uint16_t v)
{
	return (cfs_le16){ htole16(v) };
}
static inline cfs_le32 cfs_to_le32(uint32_t v)
{
	return (cfs_le32){ htole32(v) };
}
static inline cfs_le64 cfs_to_le64(uint64_t v)
{
	return (cfs_le64){ htole64(v) };
}
static inline uint16_t cfs_from_le16(cfs_le16 v)
{
	return le16toh(v.raw);
}
static inline uint32_t cfs_from_le32(cfs_le32 v)
{
	return le32toh(v.raw);
}
static inline uint64_t cfs_from_le64(cfs_le64 v)
{
	return le64toh(v.raw);
}

#endif
