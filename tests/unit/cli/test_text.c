/* JSON strings, identifiers, and reports from JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/report.h"
#include "cli/text.h"

static void assert_json(const char *text, const char *want)
{
	char *got = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&got, &len);

	cli_json_text(f, text);
	fclose(f);
	assert_string_equal(got, want);
	free(got);
}

static void writes_json_strings(void **state)
{
	(void)state;
	assert_json("plain", "\"plain\"");
	assert_json("a\"b\\c", "\"a\\\"b\\\\c\"");
	assert_json("a\nb\x01", "\"a\\u000ab\\u0001\"");
	assert_json("\xc3\xa9", "\"\xc3\xa9\"");
	assert_json("x\xffy", "\"x\\ufffdy\"");
	assert_json("\xc3", "\"\\ufffd\"");
	assert_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
	assert_json("\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"");
}

static void writes_uuids(void **state)
{
	uint8_t uuid[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };
	char text[CLI_UUID_BYTES];

	(void)state;
	cli_uuid_text(uuid, text);
	assert_string_equal(text, "01234567-89ab-cdef-0000-000000000000");
}

static void prints_a_line_a_value(void **state)
{
	static const char json[] =
		"{\"a\": 1, \"b\": {\"bytes\": 2048, \"c\": [true, null, \"x\"]}}";
	char *got = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&got, &len);

	(void)state;
	assert_int_equal(cli_report_print(f, json, sizeof(json) - 1, 0), 0);
	fclose(f);
	assert_non_null(strstr(got, "a      "));
	assert_non_null(strstr(got, "b.bytes"));
	assert_non_null(strstr(got, "2048  (2.00 KiB)"));
	assert_non_null(strstr(got, "b.c.0"));
	assert_non_null(strstr(got, "yes\n"));
	assert_non_null(strstr(got, "b.c.2"));
	free(got);
	assert_true(cli_report_print(stdout, "{\"a\": ", 6, 0) < 0);
}

static void prints_latencies_in_a_line(void **state)
{
	static const char json[] = "{\"op\": {\"count\": 7, \"mean_ns\": 1500, \"p50_ns\": 1000, "
				   "\"max_ns\": 2500000}}";
	char *got = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&got, &len);

	(void)state;
	assert_int_equal(cli_report_print(f, json, sizeof(json) - 1, 0), 0);
	fclose(f);
	assert_non_null(strstr(got, " 7  mean 1.5 us  p50 1.0 us  max 2.50 ms\n"));
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_json_strings),
		cmocka_unit_test(writes_uuids),
		cmocka_unit_test(prints_a_line_a_value),
		cmocka_unit_test(prints_latencies_in_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
