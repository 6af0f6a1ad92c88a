/*
 * Text that people write: numbers, sizes, durations, switches; and the nearest of several names.
 * Nothing here allocates; outputs stay untouched on failure.
 */
#ifndef CFS_BASE_STR_H
#define CFS_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for any text that the cfs_str_from_* functions write, with its NUL. */
#define CFS_STR_NUMBER_BYTES 32
/* Longer names are never near another. */
#define CFS_STR_DISTANCE_BYTES_MAX 64

/* Decimal digits only. Returns 0; -EINVAL: no number; -ERANGE: does not fit. */
int cfs_str_to_u64(const char *text, uint64_t *value_out);
/* "64K", "8G", "8GiB", "1.5T", "4096": bytes, by powers of 1024. Returns as above. */
int cfs_str_to_size(const char *text, uint64_t *bytes_out);
/* "500ms", "5s", "10m", "1h": nanoseconds; units ns us ms s m h d. Only 0 may lack its unit. */
int cfs_str_to_duration(const char *text, uint64_t *ns_out);
/* true/false, yes/no, on/off, 1/0. Returns 0 or -EINVAL. */
int cfs_str_to_bool(const char *text, bool *value_out);

/* The shortest text that the functions above read as exactly the same value. */
void cfs_str_from_size(uint64_t bytes, char text[CFS_STR_NUMBER_BYTES]);
void cfs_str_from_duration(uint64_t ns, char text[CFS_STR_NUMBER_BYTES]);

/* Copies @src with its NUL if it fits in @cap_bytes; false, and @dst untouched, if not. */
bool cfs_str_copy(char *dst, size_t cap_bytes, const char *src);
/* Levenshtein's distance between two names; UINT32_MAX when one is too long. */
uint32_t cfs_str_distance(const char *a, const char *b);

#endif
