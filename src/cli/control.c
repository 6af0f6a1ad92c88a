/*
 * cfs control: looks at the control plane of a store, keeps a copy of it, moves it to another
 * engine. The store's server may run: all go through the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "ctl/base64.h"
#include "ctl/volume.h"
#include "server/node.h"
#include "store/store.h"

#define PATH_BYTES 1024u
#define ALL_VOLUMES "/claudefs/"

static const struct cli_opt opts[] = {
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

struct control {
	const struct cli *c;
	const char *engine; /* to look at without a store; NULL: the store's */
	const char *to;     /* where to move to; NULL: only look */
	struct cfs_store_info info;
	char local_path[PATH_BYTES];
	struct cfs_ctl_list keys;
	char engine_name[CFS_CTL_NAME_BYTES];
	struct cfs_ctl_move_result moved;
	char why[512];
};

/* --- on a core --- */

static struct cfs_ctl_volume_opts volume_opts(const struct control *k)
{
	return (struct cfs_ctl_volume_opts){ .uuid = k->info.uuid,
					     .local_path = k->local_path,
					     .secrets = k->c->cfg.control_secrets };
}

static CFS_AWAITS int list_keys(struct control *k, struct cfs_ctl *ctl, const char *prefix)
{
	int rc = cfs_ctl_list(ctl, prefix, &k->keys);

	if (rc < 0)
		snprintf(k->why, sizeof(k->why), "control plane: %s",
			 cfs_ctl_why(ctl)[0] ? cfs_ctl_why(ctl) : cfs_err_text(rc));
	cfs_ctl_close(ctl);
	return rc;
}

/* Everything of one store, or everything that an engine has. */
static CFS_AWAITS int look(void *arg)
{
	struct control *k = arg;
	const struct cfs_ctl_volume_opts how = volume_opts(k);
	char prefix[CFS_CTL_PREFIX_BYTES] = ALL_VOLUMES;
	struct cfs_ctl *ctl = NULL;
	int rc;

	if (k->engine) {
		rc = cfs_ctl_open_etcd(k->engine + strlen("etcd:"), how.secrets, &ctl, k->why,
				       sizeof(k->why));
		if (rc < 0)
			return rc;
		snprintf(k->engine_name, sizeof(k->engine_name), "%s", k->engine);
		return list_keys(k, ctl, prefix);
	}
	rc = cfs_ctl_open_volume(&how, &ctl, k->why, sizeof(k->why));
	if (rc < 0)
		return rc;
	cfs_ctl_volume_prefix(k->info.uuid, prefix);
	snprintf(k->engine_name, sizeof(k->engine_name), "%s", cfs_ctl_volume_engine(ctl));
	return list_keys(k, ctl, prefix);
}

static CFS_AWAITS int move(void *arg)
{
	struct control *k = arg;
	const struct cfs_ctl_volume_opts how = volume_opts(k);

	return cfs_ctl_volume_move(&how, k->to, &k->moved, k->why, sizeof(k->why));
}

/* --- reports --- */

static bool is_text(const struct cfs_ctl_kv *kv)
{
	for (uint32_t i = 0; i < kv->len_bytes; i++)
		if (kv->value[i] != '\n' && (kv->value[i] < ' ' || kv->value[i] > '~'))
			return false;
	return true;
}

/* The value as JSON has it: a text, or base64 of what is none. NULL: no memory. */
static json_t *value_json(const struct cfs_ctl_kv *kv)
{
	json_t *value = NULL;
	char *text;

	if (is_text(kv))
		return json_pack("{ss%}", "text", (char *)kv->value, (size_t)kv->len_bytes);
	text = malloc(CFS_BASE64_TEXT_BYTES(kv->len_bytes));
	if (!text)
		return NULL;
	cfs_base64_encode(kv->value, kv->len_bytes, text);
	value = json_pack("{ss}", "base64", text);
	free(text);
	return value;
}

static json_t *keys_json(const struct control *k)
{
	json_t *keys = json_array();

	for (uint32_t i = 0; i < k->keys.count; i++) {
		const struct cfs_ctl_kv *kv = &k->keys.kvs[i];
		json_t *key = value_json(kv);

		if (!key || json_object_set_new(key, "key", json_string(kv->key)) < 0 ||
		    json_object_set_new(key, "revision", json_integer((json_int_t)kv->rev)) < 0 ||
		    json_array_append_new(keys, key) < 0) {
			json_decref(keys);
			return NULL;
		}
	}
	return json_pack("{si ss sI so}", "claudefs_control", 1, "engine", k->engine_name,
			 "revision", (json_int_t)k->keys.rev, "keys", keys);
}

/* 0; -ENOMEM; -EIO. */
static int write_json(const struct control *k, FILE *to)
{
	json_t *all = keys_json(k);
	int rc = all ? 0 : -ENOMEM;

	if (rc == 0 && json_dumpf(all, to, JSON_INDENT(2) | JSON_SORT_KEYS) < 0)
		rc = -EIO;
	if (rc == 0 && fputc('\n', to) == EOF)
		rc = -EIO;
	json_decref(all);
	return rc;
}

static void print_value(const struct cfs_ctl_kv *kv)
{
	const char *p = (const char *)kv->value, *end = p + kv->len_bytes;

	if (!is_text(kv)) {
		printf("    %u bytes that are no text\n", kv->len_bytes);
		return;
	}
	while (p < end) {
		size_t len = strcspn(p, "\n");

		printf("    %.*s\n", (int)len, p);
		p += len + 1;
	}
}

static int show(struct control *k)
{
	int rc = cli_runtime_run(1, look, k, k->why, sizeof(k->why));

	if (rc < 0)
		return cli_fail_text(k->c, k->why[0] ? k->why : cfs_err_text(rc));
	if (cli_opt(k->c, "json")) {
		rc = write_json(k, stdout);
		return rc < 0 ? cli_fail_text(k->c, cfs_err_text(rc)) : CLI_OK;
	}
	printf("engine %s, revision %" PRIu64 ", %u keys\n", k->engine_name, k->keys.rev,
	       k->keys.count);
	for (uint32_t i = 0; i < k->keys.count; i++) {
		printf("%s  (revision %" PRIu64 ")\n", k->keys.kvs[i].key, k->keys.kvs[i].rev);
		print_value(&k->keys.kvs[i]);
	}
	return CLI_OK;
}

/* Whole or not at all, and for its owner only. */
static int write_file(const struct control *k, const char *path)
{
	char part[PATH_BYTES];
	int fd, rc;
	FILE *f;

	if ((size_t)snprintf(part, sizeof(part), "%s.part", path) >= sizeof(part))
		return -ENAMETOOLONG;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	rc = write_json(k, f);
	if (rc == 0 && (fflush(f) != 0 || fsync(fd) < 0))
		rc = -errno;
	if (fclose(f) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(part, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(part);
	return rc;
}

static int backup(struct control *k, const char *path)
{
	int rc = cli_runtime_run(1, look, k, k->why, sizeof(k->why));

	if (rc < 0)
		return cli_fail_text(k->c, k->why[0] ? k->why : cfs_err_text(rc));
	rc = write_file(k, path);
	if (rc < 0)
		return cli_fail(k->c, "another file", "%s: %s", path, cfs_err_text(rc));
	printf("%s: %u keys of revision %" PRIu64 " of %s\n", path, k->keys.count, k->keys.rev,
	       k->engine_name);
	return CLI_OK;
}

static int move_to(struct control *k, const char *to)
{
	int rc;

	k->to = to;
	rc = cli_runtime_run(1, move, k, k->why, sizeof(k->why));
	if (rc < 0)
		return cli_fail_text(k->c, k->why[0] ? k->why : cfs_err_text(rc));
	if (k->moved.keys == 0)
		printf("the map is in %s already\n", to);
	else
		printf("moved to %s: %u keys, %" PRIu64 " bytes; changes of the map waited for "
		       "%.1f ms\n",
		       to, k->moved.keys, k->moved.bytes, (double)k->moved.frozen_ns / 1e6);
	return CLI_OK;
}

/* --- arguments --- */

static int find_store(struct control *k, const char *store)
{
	const char *state_dir = k->c->cfg.state_dir;
	int rc = cfs_store_probe(store, &k->info, k->why, sizeof(k->why));

	if (rc == 0)
		rc = cfs_node_control_path(store, state_dir[0] ? state_dir : NULL, k->local_path,
					   sizeof(k->local_path), k->why, sizeof(k->why));
	if (rc < 0)
		return cli_fail_text(k->c, k->why[0] ? k->why : cfs_err_text(rc));
	return CLI_OK;
}

static int run(struct cli *c)
{
	static struct control k; /* large, and this is called once */
	const char *what = c->words[0], *store = c->words[1];
	bool is_show = strcmp(what, "show") == 0, is_move = strcmp(what, "move") == 0;
	int rc;

	if (!is_show && !is_move && strcmp(what, "backup") != 0)
		return cli_usage(c, "'%.32s': it is show, backup or move", what);
	if (c->words_count != (is_show ? 2 : 3))
		return cli_usage(c, "%s takes %s", what,
				 is_show   ? "a STORE or an etcd:http://HOST:PORT,..."
				 : is_move ? "a STORE and local or etcd:http://HOST:PORT,..."
					   : "a STORE and a FILE");
	k.c = c;
	if (is_show && strncmp(store, "etcd:", 5) == 0) {
		k.engine = store;
		rc = show(&k);
	} else {
		rc = find_store(&k, store);
		if (rc == CLI_OK)
			rc = is_show   ? show(&k)
			     : is_move ? move_to(&k, c->words[2])
				       : backup(&k, c->words[2]);
	}
	cfs_ctl_list_fini(&k.keys);
	return rc;
}

const struct cli_verb cli_control = {
	.name = "control",
	.synopsis = "show|backup|move STORE [FILE|ENGINE] [--json]",
	.summary = "Show, back up or move the control plane of a store: its map and members",
	.text = "  show STORE            every key and what it says; of an engine: all volumes\n"
		"  backup STORE FILE     the same as JSON, into a file\n"
		"  move STORE ENGINE     to another engine, under whatever goes on: the file of\n"
		"                        one machine (local), or a cluster of etcd\n"
		"\n"
		"The server may run; it follows a move by itself. A move that was interrupted\n"
		"leaves the map frozen (programs go on): do it again, or move it back.",
	.examples = "  cfs control show /srv/claudefs/store\n"
		    "  cfs control show etcd:http://10.0.0.1:2379 --json\n"
		    "  cfs control backup /srv/claudefs/store /root/map.json\n"
		    "  cfs control move /srv/claudefs/store "
		    "etcd:http://10.0.0.1:2379,http://10.0.0.2:2379\n"
		    "  cfs control move /srv/claudefs/store local\n",
	.opts = opts,
	.words_min = 2,
	.words_max = 3,
	.has_config = true,
	.run = run,
};
