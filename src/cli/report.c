#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "cli/cli.h"

#define PATH_BYTES 256
#define DEPTH_MAX 12u

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static void print_number(FILE *to, const char *path, json_int_t value)
{
	char text[32];

	fprintf(to, "%-40s %" JSON_INTEGER_FORMAT, path, value);
	if (ends_with(path, "bytes") && value >= 1024) {
		cli_bytes_text((uint64_t)value, text);
		fprintf(to, "  (%s)", text);
	} else if (ends_with(path, "_ns") && value >= 1000) {
		fprintf(to, "  (%.1f us)", (double)value / 1e3);
	}
	fputc('\n', to);
}

/* "12.3 us" */
static void print_time(FILE *to, const char *label, const json_t *ns)
{
	double value = (double)json_integer_value(ns);

	if (value < 1e6)
		fprintf(to, "  %s %.1f us", label, value / 1e3);
	else
		fprintf(to, "  %s %.2f ms", label, value / 1e6);
}

/* A histogram of latencies is one line. False: it is none. */
static bool print_latencies(FILE *to, const char *path, const json_t *value)
{
	static const char *const fields[] = { "mean", "p50", "p90", "p99", "p999", "max" };
	char name[16];

	if (!json_object_get(value, "count") || !json_object_get(value, "p50_ns"))
		return false;
	fprintf(to, "%-28s %10" JSON_INTEGER_FORMAT, path,
		json_integer_value(json_object_get(value, "count")));
	for (size_t i = 0; i < CFS_ARRAY_COUNT(fields); i++) {
		const json_t *ns;

		snprintf(name, sizeof(name), "%s_ns", fields[i]);
		ns = json_object_get(value, name);
		if (ns)
			print_time(to, fields[i], ns);
	}
	fputc('\n', to);
	return true;
}

static void print_value(FILE *to, char path[PATH_BYTES], json_t *value, uint32_t depth);

/* Goes into a member or element; the path is as before after it. */
static void print_below(FILE *to, char path[PATH_BYTES], const char *name, json_t *value,
			uint32_t depth)
{
	size_t len = strlen(path);

	snprintf(path + len, PATH_BYTES - len, "%s%s", len ? "." : "", name);
	print_value(to, path, value, depth + 1);
	path[len] = '\0';
}

static void print_value(FILE *to, char path[PATH_BYTES], json_t *value, uint32_t depth)
{
	const char *name;
	char number[24];
	json_t *below;
	size_t i;

	if (depth > DEPTH_MAX)
		return;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		if (print_latencies(to, path, value))
			break;
		json_object_foreach(value, name, below) print_below(to, path, name, below, depth);
		break;
	case JSON_ARRAY:
		json_array_foreach(value, i, below)
		{
			snprintf(number, sizeof(number), "%zu", i);
			print_below(to, path, number, below, depth);
		}
		break;
	case JSON_STRING:
		fprintf(to, "%-40s %s\n", path, json_string_value(value));
		break;
	case JSON_INTEGER:
		print_number(to, path, json_integer_value(value));
		break;
	case JSON_REAL:
		fprintf(to, "%-40s %.3f\n", path, json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fprintf(to, "%-40s %s\n", path, json_is_true(value) ? "yes" : "no");
		break;
	case JSON_NULL:
		fprintf(to, "%-40s -\n", path);
		break;
	}
}

int cli_report_print(FILE *to, const char *text, uint32_t len_bytes, int is_json)
{
	json_t *root = json_loadb(text, len_bytes, JSON_REJECT_DUPLICATES, NULL);
	char path[PATH_BYTES] = "";

	if (!root)
		return -CFS_EBAD_FORMAT;
	if (is_json) {
		json_dumpf(root, to, JSON_INDENT(2));
		fputc('\n', to);
	} else {
		print_value(to, path, root, 0);
	}
	json_decref(root);
	return 0;
}
