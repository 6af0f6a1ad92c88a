#include "ctl/base64.h"

#include "base/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void cfs_base64_encode(const void *data, size_t len_bytes, char *text_out)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len_bytes; i += 3) {
		size_t left = len_bytes - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			     (left > 2 ? (uint32_t)p[i + 2] : 0);

		*text_out++ = digits[v >> 18];
		*text_out++ = digits[v >> 12 & 63];
		*text_out++ = left > 1 ? digits[v >> 6 & 63] : '=';
		*text_out++ = left > 2 ? digits[v & 63] : '=';
	}
	*text_out = '\0';
}

static int digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int64_t cfs_base64_decode(const char *text, size_t len_bytes, uint8_t *out)
{
	uint8_t *at = out;

	if (len_bytes % 4 != 0)
		return -CFS_EBAD_FORMAT;
	for (size_t i = 0; i < len_bytes; i += 4) {
		uint32_t v = 0, have = 0;

		while (have < 4 && digit_of(text[i + have]) >= 0)
			v = v << 6 | (uint32_t)digit_of(text[i + have++]);
		/* Padding is at the end only, and the bits that it cuts off are 0. */
		if (have < 2 || (have < 4 && i + 4 != len_bytes))
			return -CFS_EBAD_FORMAT;
		for (uint32_t k = have; k < 4; k++) {
			if (text[i + k] != '=')
				return -CFS_EBAD_FORMAT;
			v <<= 6;
		}
		if ((have == 2 && v & 0xffff) || (have == 3 && v & 0xff))
			return -CFS_EBAD_FORMAT;
		*at++ = (uint8_t)(v >> 16);
		if (have > 2)
			*at++ = (uint8_t)(v >> 8);
		if (have > 3)
			*at++ = (uint8_t)v;
	}
	return at - out;
}
