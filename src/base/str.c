#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* From the largest: the first that divides a value gives its shortest text. */
static const struct unit size_units[] = {
	{ "P", 1ull << 50 }, { "T", 1ull << 40 }, { "G", 1ull << 30 },
	{ "M", 1ull << 20 }, { "K", 1ull << 10 },
};
static const struct unit duration_units[] = {
	{ "d", 86400ull * 1000000000 },
	{ "h", 3600ull * 1000000000 },
	{ "m", 60ull * 1000000000 },
	{ "s", 1000000000 },
	{ "ms", 1000000 },
	{ "us", 1000 },
	{ "ns", 1 },
};

/* Reads digits at *@at and steps over them; false when they do not fit. */
static bool read_digits(const char **at, uint64_t *value_out)
{
	uint64_t value = 0;

	for (; **at >= '0' && **at <= '9'; (*at)++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**at - '0'), &value))
			return false;
	*value_out = value;
	return true;
}

int cfs_str_to_u64(const char *text, uint64_t *value_out)
{
	const char *at = text;
	uint64_t value;

	if (!read_digits(&at, &value))
		return -ERANGE;
	if (at == text || *at)
		return -EINVAL;
	*value_out = value;
	return 0;
}

/*
 * A decimal number with an optional fraction of up to 9 digits, times @factor; exact, or refused:
 * "0.0000001K" is no whole number of bytes.
 */
static int scale(uint64_t whole, uint64_t fraction, uint64_t fraction_unit, uint64_t factor,
		 uint64_t *value_out)
{
	__uint128_t part = (__uint128_t)fraction * factor;
	__uint128_t value = (__uint128_t)whole * factor + part / fraction_unit;

	if (part % fraction_unit)
		return -EINVAL;
	if (value > UINT64_MAX)
		return -ERANGE;
	*value_out = (uint64_t)value;
	return 0;
}

/* Splits "12.5xyz" into 12, 5 of 10, "xyz". */
static int read_decimal(const char **at, uint64_t *whole, uint64_t *fraction,
			uint64_t *fraction_unit)
{
	const char *start = *at;

	*fraction = 0;
	*fraction_unit = 1;
	if (!read_digits(at, whole))
		return -ERANGE;
	if (*at == start)
		return -EINVAL;
	if (**at != '.')
		return 0;
	start = ++*at;
	if (!read_digits(at, fraction) || *at == start || *at - start > 9)
		return -EINVAL;
	for (const char *c = start; c < *at; c++)
		*fraction_unit *= 10;
	return 0;
}

int cfs_str_to_size(const char *text, uint64_t *bytes_out)
{
	uint64_t whole, fraction, fraction_unit, factor = 1;
	const char *at = text;
	int rc = read_decimal(&at, &whole, &fraction, &fraction_unit);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(size_units); i++) {
		if (strncasecmp(at, size_units[i].name, 1) == 0) {
			factor = size_units[i].factor;
			at++;
			if (*at == 'i')
				at++;
			break;
		}
	}
	if (at[0] == 'i' || (at[-1] == 'i' && at[0] != 'B') ||
	    !(at[0] == '\0' || (at[0] == 'B' && at[1] == '\0')))
		return -EINVAL;
	return scale(whole, fraction, fraction_unit, factor, bytes_out);
}

int cfs_str_to_duration(const char *text, uint64_t *ns_out)
{
	uint64_t whole, fraction, fraction_unit;
	const char *at = text;
	int rc = read_decimal(&at, &whole, &fraction, &fraction_unit);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(duration_units); i++)
		if (strcmp(at, duration_units[i].name) == 0)
			return scale(whole, fraction, fraction_unit, duration_units[i].factor,
				     ns_out);
	if (*at || whole || fraction)
		return -EINVAL;
	*ns_out = 0;
	return 0;
}

int cfs_str_to_bool(const char *text, bool *value_out)
{
	static const char *const names[][2] = {
		{ "false", "true" },
		{ "no", "yes" },
		{ "off", "on" },
		{ "0", "1" },
	};

	for (size_t i = 0; i < CFS_ARRAY_COUNT(names); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcasecmp(text, names[i][value]) == 0) {
				*value_out = value;
				return 0;
			}
		}
	}
	return -EINVAL;
}

void cfs_str_from_size(uint64_t bytes, char text[CFS_STR_NUMBER_BYTES])
{
	for (size_t i = 0; bytes && i < CFS_ARRAY_COUNT(size_units); i++) {
		if (bytes % size_units[i].factor == 0) {
			snprintf(text, CFS_STR_NUMBER_BYTES, "%" PRIu64 "%s",
				 bytes / size_units[i].factor, size_units[i].name);
			return;
		}
	}
	snprintf(text, CFS_STR_NUMBER_BYTES, "%" PRIu64, bytes);
}

void cfs_str_from_duration(uint64_t ns, char text[CFS_STR_NUMBER_BYTES])
{
	for (size_t i = 0; ns && i < CFS_ARRAY_COUNT(duration_units); i++) {
		if (ns % duration_units[i].factor == 0) {
			snprintf(text, CFS_STR_NUMBER_BYTES, "%" PRIu64 "%s",
				 ns / duration_units[i].factor, duration_units[i].name);
			return;
		}
	}
	snprintf(text, CFS_STR_NUMBER_BYTES, "0");
}

bool cfs_str_copy(char *dst, size_t cap_bytes, const char *src)
{
	size_t len = strlen(src);

	if (len >= cap_bytes)
		return false;
	memcpy(dst, src, len + 1);
	return true;
}

uint32_t cfs_str_distance(const char *a, const char *b)
{
	uint32_t row[CFS_STR_DISTANCE_BYTES_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > CFS_STR_DISTANCE_BYTES_MAX || b_len > CFS_STR_DISTANCE_BYTES_MAX)
		return UINT32_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (uint32_t)j;
	for (size_t i = 1; i <= a_len; i++) {
		uint32_t diagonal = row[0];

		row[0] = (uint32_t)i;
		for (size_t j = 1; j <= b_len; j++) {
			uint32_t change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = CFS_MIN(change, CFS_MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_len];
}
