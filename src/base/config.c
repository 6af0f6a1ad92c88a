#include "base/config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

enum option_type { OPT_BOOL, OPT_U64, OPT_SIZE, OPT_DURATION, OPT_TEXT, OPT_CHOICE };

struct option {
	const char *name;
	enum option_type type;
	const char *text; /* the default, as one would write it */
	uint64_t min, max;
	const char *unit;
	const char *help;
	size_t field_off; /* in struct cfs_config */
};

static const struct option options[CFS_CONFIG_KEYS] = {
#define X(key, type_, text_, min_, max_, unit_, help_) \
	[CFS_CONFIG_KEY_##key] = { \
		.name = #key, \
		.type = OPT_##type_, \
		.text = text_, \
		.min = min_, \
		.max = max_, \
		.unit = unit_, \
		.help = help_, \
		.field_off = offsetof(struct cfs_config, key), \
	},
	CFS_CONFIG_TABLE(X)
#undef X
};

static const char *const origin_names[] = { "default", "file", "command line" };

static void *field_of(struct cfs_config *cfg, const struct option *opt)
{
	return (char *)cfg + opt->field_off;
}

static const void *const_field_of(const struct cfs_config *cfg, const struct option *opt)
{
	return (const char *)cfg + opt->field_off;
}

/* Names are compared with - as _. */
static void canonical(const char *name, size_t len, char out[CFS_STR_DISTANCE_BYTES_MAX])
{
	len = CFS_MIN(len, (size_t)CFS_STR_DISTANCE_BYTES_MAX - 1);
	for (size_t i = 0; i < len; i++)
		out[i] = name[i] == '-' ? '_' : name[i];
	out[len] = '\0';
}

static const struct option *find(const char *name)
{
	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

/* The nearest name, if one is near enough to be meant: a third of its letters may be wrong. */
static const char *nearest(const char *name)
{
	const char *best = NULL;
	uint32_t best_distance = UINT32_MAX;

	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++) {
		uint32_t distance = cfs_str_distance(name, options[i].name);

		if (distance < best_distance && distance <= 1 + strlen(options[i].name) / 3) {
			best = options[i].name;
			best_distance = distance;
		}
	}
	return best;
}

static int unknown_key(const char *name, char *why)
{
	const char *near = nearest(name);

	if (near)
		snprintf(why, CFS_CONFIG_WHY_BYTES, "unknown key '%.64s'; did you mean '%s'?", name,
			 near);
	else
		snprintf(why, CFS_CONFIG_WHY_BYTES,
			 "unknown key '%.64s'; `cfs config show` lists them all", name);
	return -ENOENT;
}

static void format_number(const struct option *opt, uint64_t value, char text[CFS_STR_NUMBER_BYTES])
{
	if (opt->type == OPT_SIZE)
		cfs_str_from_size(value, text);
	else if (opt->type == OPT_DURATION)
		cfs_str_from_duration(value, text);
	else
		snprintf(text, CFS_STR_NUMBER_BYTES, "%" PRIu64, value);
}

static int bad_value(const struct option *opt, const char *value, const char *want, char *why)
{
	snprintf(why, CFS_CONFIG_WHY_BYTES, "%s = %.64s: %s", opt->name, value, want);
	return -EINVAL;
}

static int set_number(struct cfs_config *cfg, const struct option *opt, const char *value,
		      char *why)
{
	char least[CFS_STR_NUMBER_BYTES], most[CFS_STR_NUMBER_BYTES];
	char want[2 * CFS_STR_NUMBER_BYTES + 32];
	uint64_t number;
	int rc;

	if (opt->type == OPT_SIZE)
		rc = cfs_str_to_size(value, &number);
	else if (opt->type == OPT_DURATION)
		rc = cfs_str_to_duration(value, &number);
	else
		rc = cfs_str_to_u64(value, &number);
	if (rc == -EINVAL && opt->type == OPT_SIZE)
		return bad_value(opt, value, "not a size; write 4096, 64K or 8G", why);
	if (rc == -EINVAL && opt->type == OPT_DURATION)
		return bad_value(opt, value, "not a time; write 500ms, 5s or 10m", why);
	if (rc == -EINVAL)
		return bad_value(opt, value, "not a whole number", why);
	if (rc < 0 || number < opt->min || number > opt->max) {
		format_number(opt, opt->min, least);
		format_number(opt, opt->max, most);
		if (opt->max == UINT64_MAX)
			snprintf(want, sizeof(want), "out of range, at least %s", least);
		else
			snprintf(want, sizeof(want), "out of range, %s to %s", least, most);
		return bad_value(opt, value, want, why);
	}
	*(uint64_t *)field_of(cfg, opt) = number;
	return 0;
}

/* Is @value one of "a|b|c"? */
static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	while (*choices) {
		size_t choice_len = strcspn(choices, "|");

		if (choice_len == len && memcmp(choices, value, len) == 0)
			return true;
		choices += choice_len + (choices[choice_len] == '|');
	}
	return false;
}

static int set_text(struct cfs_config *cfg, const struct option *opt, const char *value, char *why)
{
	char want[128];
	size_t len = strlen(value);

	if (opt->type == OPT_CHOICE && !is_choice(opt->unit, value)) {
		snprintf(want, sizeof(want), "must be one of %s", opt->unit);
		return bad_value(opt, value, want, why);
	}
	if (opt->type == OPT_TEXT && (len < opt->min || len > opt->max)) {
		snprintf(want, sizeof(want), "length must be %" PRIu64 " to %" PRIu64, opt->min,
			 opt->max);
		return bad_value(opt, value, want, why);
	}
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return bad_value(opt, "(text)", "has a control character", why);
	if (!cfs_str_copy(field_of(cfg, opt), CFS_CONFIG_TEXT_BYTES, value))
		return bad_value(opt, value, "too long", why);
	return 0;
}

static int set_option(struct cfs_config *cfg, const struct option *opt, const char *value,
		      enum cfs_config_origin origin, char *why)
{
	int rc = 0;

	switch (opt->type) {
	case OPT_BOOL:
		if (cfs_str_to_bool(value, field_of(cfg, opt)) < 0)
			return bad_value(opt, value, "must be true or false", why);
		break;
	case OPT_U64:
	case OPT_SIZE:
	case OPT_DURATION:
		rc = set_number(cfg, opt, value, why);
		break;
	case OPT_TEXT:
	case OPT_CHOICE:
		rc = set_text(cfg, opt, value, why);
		break;
	}
	if (rc == 0)
		cfg->origin[opt - options] = (uint8_t)origin;
	return rc;
}

void cfs_config_defaults(struct cfs_config *cfg)
{
	char why[CFS_CONFIG_WHY_BYTES];

	memset(cfg, 0, sizeof(*cfg));
	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++) {
		int rc = set_option(cfg, &options[i], options[i].text, CFS_CONFIG_DEFAULT, why);

		cfs_assert(rc == 0);
	}
}

int cfs_config_set(struct cfs_config *cfg, const char *key, const char *value,
		   enum cfs_config_origin origin, char why[CFS_CONFIG_WHY_BYTES])
{
	char name[CFS_STR_DISTANCE_BYTES_MAX];
	const struct option *opt;

	canonical(key, strlen(key), name);
	opt = find(name);
	return opt ? set_option(cfg, opt, value, origin, why) : unknown_key(key, why);
}

int cfs_config_argument(struct cfs_config *cfg, const char *argument,
			char why[CFS_CONFIG_WHY_BYTES])
{
	char name[CFS_STR_DISTANCE_BYTES_MAX];
	const struct option *opt;
	const char *value;

	if (strncmp(argument, "--", 2) != 0) {
		snprintf(why, CFS_CONFIG_WHY_BYTES, "'%.64s' is not an option", argument);
		return -ENOENT;
	}
	argument += 2;
	value = strchr(argument, '=');
	canonical(argument, value ? (size_t)(value - argument) : strlen(argument), name);
	opt = find(name);
	if (!opt)
		return unknown_key(name, why);
	if (!value && opt->type != OPT_BOOL) {
		snprintf(why, CFS_CONFIG_WHY_BYTES, "--%s needs a value, --%s=%s", name, name,
			 *opt->text ? opt->text : "...");
		return -EINVAL;
	}
	return set_option(cfg, opt, value ? value + 1 : "true", CFS_CONFIG_ARGUMENT, why);
}

/* What the INI parser's callbacks share. The library does not tell the line, so the reader counts.
 */
struct load {
	FILE *file;
	const char *path;
	struct cfs_config *cfg;
	char *why;
	uint32_t line;
	bool is_bad;
};

static CFS_PRINTF(2, 3) void load_fail(struct load *load, const char *fmt, ...)
{
	int len;
	va_list args;

	if (load->is_bad)
		return;
	load->is_bad = true;
	len = snprintf(load->why, CFS_CONFIG_WHY_BYTES, "%.250s:%u: ", load->path, load->line);
	va_start(args, fmt);
	vsnprintf(load->why + len, CFS_CONFIG_WHY_BYTES - (size_t)len, fmt, args);
	va_end(args);
}

/* A line for the parser, without its indent, which the parser would take for a continuation. */
static char *load_line(char *buf, int cap, void *arg)
{
	struct load *load = arg;
	size_t len, indent;

	if (load->is_bad || !fgets(buf, cap, load->file))
		return NULL;
	load->line++;
	len = strlen(buf);
	if (len + 1 == (size_t)cap && buf[len - 1] != '\n' && !feof(load->file)) {
		load_fail(load, "line is longer than %d bytes", cap - 2);
		return NULL;
	}
	indent = strspn(buf, " \t");
	memmove(buf, buf + indent, len - indent + 1);
	return buf;
}

static int load_value(void *arg, const char *section, const char *key, const char *value)
{
	struct load *load = arg;
	char why[CFS_CONFIG_WHY_BYTES];

	if (load->is_bad)
		return 0;
	if (*section && strcmp(section, "claudefs") != 0)
		load_fail(load, "unknown section [%.64s]; there is only [claudefs]", section);
	else if (cfs_config_set(load->cfg, key, value, CFS_CONFIG_FILE, why) < 0)
		load_fail(load, "%s", why);
	return !load->is_bad;
}

int cfs_config_load(struct cfs_config *cfg, const char *path, char why[CFS_CONFIG_WHY_BYTES])
{
	struct cfs_config copy = *cfg;
	struct load load = { .path = path, .cfg = &copy, .why = why };
	int rc;

	load.file = fopen(path, "re");
	if (!load.file) {
		rc = -errno;
		snprintf(why, CFS_CONFIG_WHY_BYTES, "%.250s: %s", path, cfs_err_text(rc));
		return rc;
	}
	rc = ini_parse_stream(load_line, &load, load_value, &load);
	/* The parser's own finding is a line without '=' or a bad section; ours come first if
	 * earlier. */
	if (rc > 0 && (!load.is_bad || (uint32_t)rc < load.line)) {
		load.is_bad = false;
		load.line = (uint32_t)rc;
		load_fail(&load, "not of the form key = value");
	} else if (rc < 0) {
		load_fail(&load, "out of memory");
	}
	if (ferror(load.file))
		load_fail(&load, "cannot be read");
	fclose(load.file);
	if (load.is_bad)
		return -EINVAL;
	*cfg = copy;
	return 0;
}

const char *cfs_config_name(enum cfs_config_key key)
{
	cfs_assert((unsigned int)key < CFS_CONFIG_KEYS);
	return options[key].name;
}

void cfs_config_value(const struct cfs_config *cfg, enum cfs_config_key key,
		      char text[CFS_CONFIG_TEXT_BYTES])
{
	const struct option *opt = &options[key];
	const void *field = const_field_of(cfg, opt);

	static_assert(CFS_CONFIG_TEXT_BYTES >= CFS_STR_NUMBER_BYTES, "a number fits");
	cfs_assert((unsigned int)key < CFS_CONFIG_KEYS);
	switch (opt->type) {
	case OPT_BOOL:
		snprintf(text, CFS_CONFIG_TEXT_BYTES, "%s",
			 *(const bool *)field ? "true" : "false");
		break;
	case OPT_U64:
	case OPT_SIZE:
	case OPT_DURATION:
		format_number(opt, *(const uint64_t *)field, text);
		break;
	case OPT_TEXT:
	case OPT_CHOICE:
		snprintf(text, CFS_CONFIG_TEXT_BYTES, "%s", (const char *)field);
		break;
	}
}

void cfs_config_show(const struct cfs_config *cfg, FILE *to)
{
	char text[CFS_CONFIG_TEXT_BYTES];

	fprintf(to, "[claudefs]\n");
	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++) {
		cfs_config_value(cfg, (enum cfs_config_key)i, text);
		fprintf(to, "; %s (%s; default: %s; here: %s)\n%s = %s\n", options[i].help,
			options[i].unit, *options[i].text ? options[i].text : "empty",
			origin_names[cfg->origin[i]], options[i].name, text);
	}
}

void cfs_config_help(FILE *to)
{
	char left[64];

	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++) {
		snprintf(left, sizeof(left), "--%s=%s", options[i].name, options[i].unit);
		fprintf(to, "  %-34s %s", left, options[i].help);
		if (*options[i].text)
			fprintf(to, " [%s]", options[i].text);
		fprintf(to, "\n");
	}
}

/* scdoc: * is bold, _ underlines and is escaped inside names. */
static void put_scdoc(const char *text, FILE *to)
{
	for (; *text; text++) {
		if (strchr("_*\\#<|", *text))
			fputc('\\', to);
		fputc(*text, to);
	}
}

void cfs_config_man(FILE *to)
{
	for (size_t i = 0; i < CFS_CONFIG_KEYS; i++) {
		fprintf(to, "*--");
		put_scdoc(options[i].name, to);
		fprintf(to, "*=");
		put_scdoc(options[i].unit, to);
		fprintf(to, "\n\t");
		put_scdoc(options[i].help, to);
		fprintf(to, ". Default: ");
		put_scdoc(*options[i].text ? options[i].text : "empty", to);
		fprintf(to, ".\n\n");
	}
}
