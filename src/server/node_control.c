/*
 * The node and its control plane: opened at the start, asked for nothing while it serves, but
 * looked at, so that people learn when it does not answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/map.h"
#include "ctl/volume.h"
#include "server/node_internal.h"

#define CONTROL_LOOK_NS 1000000000ull
#define STATE_DIR_BYTES 4000u

int cfs_node_control_path(const char *store, const char *state_dir, char *out, uint32_t out_bytes,
			  char *why, uint32_t why_bytes)
{
	char dir[STATE_DIR_BYTES / 4];
	int rc;

	snprintf(dir, sizeof(dir), "%s%s", state_dir ? state_dir : store,
		 state_dir ? "" : ".state");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		rc = -errno;
		snprintf(why, why_bytes, "state folder %.200s: %s; name another with --state-dir",
			 dir, strerror(-rc));
		return rc;
	}
	if ((size_t)snprintf(out, out_bytes, "%s/control.sqlite", dir) < out_bytes)
		return 0;
	snprintf(why, why_bytes, "state folder: its name is too long");
	return -ENAMETOOLONG;
}

CFS_AWAITS int cfs_node_control_open(struct cfs_node *n, char *err_out, uint32_t err_bytes)
{
	CFS_CLEANUP(cfs_free_p) char *path = NULL;
	struct cfs_ctl_volume_opts how = { .uuid = n->info.uuid,
					   .secrets = n->opts.control_secrets,
					   .engine = n->opts.control };
	char why[CFS_CTL_WHY_BYTES];
	int rc;

	if (n->opts.ctl) {
		n->ctl = n->opts.ctl;
		return 0;
	}
	path = malloc(STATE_DIR_BYTES);
	if (!path)
		return -ENOMEM;
	rc = cfs_node_control_path(n->opts.paths[0], n->opts.state_dir, path, STATE_DIR_BYTES,
				   err_out, err_bytes);
	if (rc < 0)
		return rc;
	how.local_path = path;
	rc = cfs_ctl_open_volume(&how, &n->ctl, why, sizeof(why));
	if (rc < 0) {
		snprintf(err_out, err_bytes, "control plane: %s", why);
		return rc;
	}
	n->is_ctl_ours = true;
	return 0;
}

/* Without it the next start takes it for a power cut, and waits. */
CFS_AWAITS void cfs_node_control_note_stop(struct cfs_node *n)
{
	int rc = cfs_map_stopped_set(n->ctl, n->info.uuid, n->epoch);

	if (rc < 0)
		cfs_warn("control plane: the stop is not noted", "rc=%s why=\"%s\"",
			 cfs_err_name(rc), cfs_ctl_why(n->ctl));
}

CFS_AWAITS bool cfs_node_control_was_stopped(struct cfs_node *n)
{
	return cfs_map_stopped(n->ctl, n->info.uuid) + 1 == n->epoch;
}

/* What the last look gave. */
static void note_look(struct cfs_node *n, int rc)
{
	struct node_control *c = &n->control;

	if (rc < 0 && c->silent_since_ns == 0) {
		c->silent_since_ns = cfs_now_ns();
		c->silent_wall_ns = cfs_wall_ns();
		cfs_warn("control plane does not answer; the map cannot be changed",
			 "engine=%s why=\"%s\"", cfs_ctl_volume_engine(n->ctl),
			 cfs_ctl_why(n->ctl));
	} else if (rc == 0 && c->silent_since_ns != 0) {
		cfs_info("control plane answers again", "engine=%s silent_seconds=%" PRIu64,
			 cfs_ctl_volume_engine(n->ctl),
			 (cfs_now_ns() - c->silent_since_ns) / 1000000000);
		c->silent_since_ns = 0;
	}
	if (rc < 0)
		snprintf(c->why, sizeof(c->why), "%s", cfs_ctl_why(n->ctl));
}

/* CFS_FIBER_ENTRY. Ends when its group is cancelled. */
CFS_AWAITS void cfs_node_control_run(void *node)
{
	struct cfs_node *n = node;
	uint64_t epoch;
	int rc;

	while (cfs_sleep_ns(CONTROL_LOOK_NS) == 0) {
		rc = cfs_map_epoch(n->ctl, n->info.uuid, &epoch);
		if (rc == -ECANCELED)
			return;
		note_look(n, rc);
	}
}

json_t *cfs_node_control_json(struct cfs_node *n)
{
	const struct node_control *c = &n->control;
	const char *engine = cfs_ctl_volume_engine(n->ctl);
	time_t since = (time_t)(c->silent_wall_ns / 1000000000);
	json_t *j = json_object();
	char text[32];
	struct tm tm;

	json_object_set_new(j, "engine", json_string(engine ? engine : cfs_ctl_engine(n->ctl)));
	json_object_set_new(j, "answers", json_boolean(c->silent_since_ns == 0));
	if (c->silent_since_ns == 0)
		return j;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&since, &tm));
	json_object_set_new(j, "silent_since", json_string(text));
	json_object_set_new(
		j, "silent_seconds",
		json_integer((json_int_t)((cfs_now_ns() - c->silent_since_ns) / 1000000000)));
	json_object_set_new(j, "why", json_string(c->why));
	return j;
}
