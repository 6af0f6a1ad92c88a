/* cfs mkfs: makes a store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "cli/text.h"
#include "ctl/map.h"
#include "ctl/volume.h"
#include "server/node.h"
#include "store/store.h"

#define PATH_BYTES 1024u

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

/* What a map in another engine than the file is made with. */
struct mkfs_map {
	const struct cli *c;
	const struct cfs_store_info *info;
	char local_path[PATH_BYTES];
	char why[512];
};

static CFS_AWAITS int make_map(void *arg)
{
	struct mkfs_map *m = arg;
	const struct cfs_ctl_volume_opts how = {
		.uuid = m->info->uuid,
		.local_path = m->local_path,
		.secrets = m->c->cfg.control_secrets,
		.engine = m->c->cfg.control,
	};
	struct cfs_ctl *ctl = NULL;
	int rc = cfs_ctl_open_volume(&how, &ctl, m->why, sizeof(m->why));

	if (rc < 0)
		return rc;
	rc = cfs_map_make(ctl, m->info->uuid, m->info->shards, (uint16_t)m->info->stores, m->why);
	cfs_ctl_close(ctl);
	return rc;
}

/* A map in the file is made by the first start; one in an engine now, so that mistakes show. */
static int put_map(struct cli *c, const struct cfs_store_info *info)
{
	static struct mkfs_map m; /* large, and this is called once */
	const char *state_dir = c->cfg.state_dir;
	int rc;

	if (strcmp(c->cfg.control, CFS_CTL_LOCAL) == 0)
		return CLI_OK;
	m.c = c;
	m.info = info;
	rc = cfs_node_control_path(c->words[0], state_dir[0] ? state_dir : NULL, m.local_path,
				   sizeof(m.local_path), m.why, sizeof(m.why));
	if (rc == 0)
		rc = cli_runtime_run(1, make_map, &m, m.why, sizeof(m.why));
	if (rc < 0)
		return cli_fail(c, "cfs serve with the same --control makes it when that answers",
				"the store is made, its map is not: %s",
				m.why[0] ? m.why : cfs_err_text(rc));
	return CLI_OK;
}

static int run(struct cli *c)
{
	struct cfs_mkfs_opts how = { .path = c->words[0], .is_forced = cli_opt(c, "force") };
	const char *size = cli_opt(c, "size");
	struct cfs_store_info info = { 0 };
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
	if (!cfs_ctl_name_is_valid(c->cfg.control))
		return cli_usage(c, "--control %.64s: it is local, or etcd:http://HOST:PORT,...",
				 c->cfg.control);
	if (size && how.size_bytes == 0)
		return cli_usage(c, "--size 0: a store needs at least 64 MiB");
	rc = cfs_store_mkfs(&how, why, sizeof(why));
	if (rc == 0)
		rc = cfs_store_probe(c->words[0], &info, why, sizeof(why));
	if (rc < 0)
		return cli_fail_text(c, why[0] ? why : cfs_err_text(rc));
	report(c, &info);
	return put_map(c, &info);
}

const struct cli_verb cli_mkfs = {
	.name = "mkfs",
	.synopsis = "STORE [--size BYTES]",
	.summary = "Make a store in a new file or on a block device",
	.text = "The file is allocated at once, so that a full host disk cannot surprise it "
		"later.\n"
		"What looks like somebody's data is not overwritten without --force.",
	.examples = "  cfs mkfs /srv/store --size 8G\n  cfs mkfs /dev/nvme0n1\n"
		    "  cfs mkfs /dev/nvme0n1 --control "
		    "etcd:http://10.0.0.1:2379,http://10.0.0.2:2379\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run,
};
