/* Addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/addr.h"

static void reads_addresses(void **state)
{
	static const struct {
		const char *text, *fabric, *want;
	} cases[] = {
		{ "10.0.0.1:9870", "tcp", "tcp:10.0.0.1:9870" },
		{ "host.example:1", "tcp", "tcp:host.example:1" },
		{ "host", "tcp", "tcp:host:9870" },
		{ ":7", "tcp", "tcp:127.0.0.1:7" },
		{ "9000", "tcp", "tcp:127.0.0.1:9000" },
		{ "[::1]:9870", "tcp", "tcp:[::1]:9870" },
		{ "[fe80::1%eth0]", "tcp", "tcp:[fe80::1%eth0]:9870" },
		{ "tcp:10.0.0.1:5", "shm", "tcp:10.0.0.1:5" },
		{ "shm:node", "tcp", "shm:node" },
		{ "node", "shm", "shm:node" },
		{ "127.0.0.1:0", "tcp", "tcp:127.0.0.1:0" },
	};
	char out[CFS_NET_ADDR_BYTES], why[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(cli_addr(cases[i].text, cases[i].fabric, out, why), 0);
		assert_string_equal(out, cases[i].want);
	}
}

static void refuses_others(void **state)
{
	static const char *const cases[] = { "",      "host:99999", "host:port", "host:",
					     "::1:5", "[::1",       "a b:5",     "[::1]x",
					     "shm:",  "host:-1",    "a;b:5",     "tcp:" };
	char out[CFS_NET_ADDR_BYTES] = "untouched", why[128], text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why[0] = '\0';
		assert_true(cli_addr(cases[i], "tcp", out, why) < 0);
		assert_true(why[0]);
	}
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_true(cli_addr(text, "tcp", out, why) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_addresses),
		cmocka_unit_test(refuses_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
