#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/hash.h"

/* RFC 3720 (iSCSI), appendix B.4. */
static void rfc3720(void **state)
{
	uint8_t data[32];

	(void)state;
	assert_int_equal(cfs_crc32c(0, "", 0), 0);
	assert_int_equal(cfs_crc32c(0, "123456789", 9), 0xe3069283);
	memset(data, 0, sizeof(data));
	assert_int_equal(cfs_crc32c(0, data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(cfs_crc32c(0, data, sizeof(data)), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	assert_int_equal(cfs_crc32c(0, data, sizeof(data)), 0x46dd794e);
}

static void chained(void **state)
{
	uint8_t data[1000];
	uint32_t whole;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	whole = cfs_crc32c(0, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 13) {
		uint32_t head = cfs_crc32c(0, data, cut);

		assert_int_equal(cfs_crc32c(head, data + cut, sizeof(data) - cut), whole);
	}
}

static void blocks(void **state)
{
	static uint8_t data[3 * 4096];
	uint32_t crcs[4] = { 0, 0, 0, 0xabcd };

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 4096 + i);
	cfs_crc32c_blocks(data, 3, crcs);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(crcs[i], cfs_crc32c(0, data + 4096 * i, 4096));
	assert_int_not_equal(crcs[0], crcs[1]);
	assert_int_equal(crcs[3], 0xabcd);
	data[4096] ^= 1;
	cfs_crc32c_blocks(data + 4096, 1, crcs);
	assert_int_not_equal(crcs[0], crcs[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3720),
		cmocka_unit_test(chained),
		cmocka_unit_test(blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
