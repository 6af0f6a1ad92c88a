/* cfs mkfs: makes a store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "store/store.h"

static const struct cli_opt opts[] = {
	{ "size", 's', "BYTES", "of a new file (8G, 512M); of a device: use only so much" },
	{ "shards", 0, "COUNT", "partitions of the volume, a power of two (256)" },
	{ "slices", 0, "COUNT", "logs on this device, at most one core each (by its size)" },
	{ "force", 0, NULL, "overwrite what is there" },
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

static void report(const struct cli *c, const struct cfs_store_info *info)
{
	char uuid[CLI_UUID_BYTES], room[32];

	cli_uuid_text(info->uuid, uuid);
	cli_bytes_text(info->capacity_bytes, room);
	if (cli_opt(c, "json")) {
		printf("{\"path\": ");
		cli_json_text(stdout, c->words[0]);
		printf(", \"uuid\": \"%s\", \"version\": %u, \"shards\": %u, \"slices\": %u, "
		       "\"capacity_bytes\": %" PRIu64 "}\n",
		       uuid, info->version, info->shards, info->stores, info->capacity_bytes);
		return;
	}
	printf("%s: a new ClaudeFS store, format %u, with room for %s in %u shards\n"
	       "uuid:  %s\nnext:  cfs serve %s\n",
	       c->words[0], info->version, room, info->shards, uuid, c->words[0]);
}

/* A whole number in [1, @max], or 0 when it was not given. */
static int count_of(const struct cli *c, const char *name, uint64_t max, uint32_t *out)
{
	const char *text = cli_opt(c, name);
	uint64_t value = 0;

	if (text && (cfs_str_to_u64(text, &value) < 0 || value == 0 || value > max))
		return cli_usage(c, "--%s %.32s: must be a whole number from 1 to %" PRIu64, name,
				 text, max);
	*out = (uint32_t)value;
	return CLI_OK;
}

static int run(struct cli *c)
{
	struct cfs_mkfs_opts how = { .path = c->words[0], .is_forced = cli_opt(c, "force") };
	const char *size = cli_opt(c, "size");
	struct cfs_store_info info;
	char why[512] = "";
	int rc = count_of(c, "shards", 65536, &how.shards);

	if (rc == CLI_OK)
		rc = count_of(c, "slices", 1024, &how.stores);
	if (rc != CLI_OK)
		return rc;
	if (how.shards & (how.shards - 1))
		return cli_usage(c, "--shards %u: must be a power of two", how.shards);
	if (size && cfs_str_to_size(size, &how.size_bytes) < 0)
		return cli_usage(c, "--size %.32s: not a size; write 8G, 512M or 1073741824", size);
	if (size && how.size_bytes == 0)
		return cli_usage(c, "--size 0: a store needs at least 64 MiB");
	rc = cfs_store_mkfs(&how, why, sizeof(why));
	if (rc == 0)
		rc = cfs_store_probe(c->words[0], &info, why, sizeof(why));
	if (rc < 0)
		return cli_fail_text(c, why[0] ? why : cfs_err_text(rc));
	report(c, &info);
	return CLI_OK;
}

const struct cli_verb cli_mkfs = {
	.name = "mkfs",
	.synopsis = "STORE [--size BYTES]",
	.summary = "Make a store in a new file or on a block device",
	.text = "The file is allocated at once, so that a full host disk cannot surprise it "
		"later.\n"
		"What looks like somebody's data is not overwritten without --force.",
	.examples = "  cfs mkfs /srv/store --size 8G\n  cfs mkfs /dev/nvme0n1\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
