/* cfs config show: every key, its value, and where that comes from. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

static const struct cli_opt opts[] = {
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

static void show_json(const struct cfs_config *cfg)
{
	static const char *const origins[] = { "default", "file", "command line" };
	static struct cfs_config defaults; /* large, and this is called once */
	char value[CFS_CONFIG_TEXT_BYTES], plain[CFS_CONFIG_TEXT_BYTES];

	cfs_config_defaults(&defaults);
	printf("[\n");
	for (int i = 0; i < CFS_CONFIG_KEYS; i++) {
		enum cfs_config_key key = (enum cfs_config_key)i;

		cfs_config_value(cfg, key, value);
		cfs_config_value(&defaults, key, plain);
		printf("  {\"key\": \"%s\", \"value\": ", cfs_config_name(key));
		cli_json_text(stdout, value);
		printf(", \"origin\": \"%s\", \"default\": ", origins[cfg->origin[i]]);
		cli_json_text(stdout, plain);
		printf("}%s\n", i + 1 < CFS_CONFIG_KEYS ? "," : "");
	}
	printf("]\n");
}

static int run(struct cli *c)
{
	if (strcmp(c->words[0], "show") != 0)
		return cli_usage(c, "'%.32s': the only thing to do with it is show", c->words[0]);
	if (cli_opt(c, "json"))
		show_json(&c->cfg);
	else
		cfs_config_show(&c->cfg, stdout);
	return CLI_OK;
}

const struct cli_verb cli_config = {
	.name = "config",
	.synopsis = "show [--json]",
	.summary = "Show every key of the configuration, its value and where that comes from",
	.text = "What is printed is a configuration file that gives this very configuration.",
	.examples = "  cfs config show\n  cfs config show --config /tmp/test.conf --cores 2\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run,
};
