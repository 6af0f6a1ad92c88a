#include "cli/mount_helper.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/mount.h"

struct helper {
	struct cli_mount_request request;
	char *options; /* malloc'd: several -o are one list */
	bool is_fake;
	uint32_t words_count;
};

static int add_options(struct helper *h, const char *list)
{
	char *joined = NULL;

	if (asprintf(&joined, "%s%s%s", h->options ? h->options : "", h->options ? "," : "", list) <
	    0)
		return -1;
	free(h->options);
	h->options = joined;
	return 0;
}

/* One argument. 0, or an exit code. */
static int take(struct cli *c, struct helper *h, int argc, char **argv, int *at)
{
	const char *arg = argv[*at];

	if (arg[0] != '-' || !arg[1]) {
		if (h->words_count == 2)
			return cli_usage(c, "too many arguments, from '%.64s' on", arg);
		*(h->words_count++ ? &h->request.dir : &h->request.source) = arg;
		return 0;
	}
	for (const char *p = arg + 1; *p; p++) {
		switch (*p) {
		case 's':
			h->request.is_sloppy = true;
			break;
		case 'f':
			h->is_fake = true;
			break;
		case 'n':
		case 'v':
			break;
		case 'o':
		case 't':
		case 'N':
			if (*at + 1 == argc)
				return cli_usage(c, "-%c needs a value", *p);
			++*at;
			if (*p == 'o' && add_options(h, argv[*at]) < 0)
				return cli_fail_text(c, "no memory");
			break;
		default:
			return cli_usage(c, "unknown option '%.64s'", arg);
		}
	}
	return 0;
}

int cli_mount_helper(const char *name, int argc, char **argv)
{
	static struct cli c; /* large, and this is called once */
	struct helper h = { 0 };
	int rc;

	c.name = name;
	c.verb = &cli_mount;
	rc = cli_config_file(&c);

	for (int i = 0; rc == CLI_OK && i < argc; i++)
		rc = take(&c, &h, argc, argv, &i);
	if (rc == CLI_OK && h.words_count != 2)
		rc = cli_usage(&c, "it is: %s SOURCE DIR [-o LIST]", name);
	h.request.options = h.options;
	if (rc == CLI_OK && !h.is_fake && cli_mount_do(&c, &h.request) != CLI_OK)
		rc = CLI_MOUNT_FAILED;
	free(h.options);
	return rc == CLI_USAGE ? CLI_ERROR : rc; /* mount(8): 1 is wrong invocation */
}
