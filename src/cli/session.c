#include "cli/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/reactor.h"
#include "cli/addr.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/mounts.h"
#include "cli/notify.h"
#include "cli/stop.h"
#include "client/client.h"
#include "fuse/fuse.h"
#include "proto/place.h"
#include "server/node.h"

#define CONNECT_NS 10000000000ull
#define LAZY_NS 1000000000ull
#define LAST_SYNC_NS 5000000000ull

/* What a session has open. */
struct work {
	struct cli_session *s;
	struct cfs_node *node;
	struct cfs_client *client;
	struct cfs_fuse_cache *cache;
	struct cfs_fuse_mount mount;
	int stop_fd, claim_fd;
	char device[32];          /* of the mount, "0:53" */
	struct cfs_group serving; /* the mount's fiber; cancelled when it cannot be unmounted */
	struct cfs_group waiting; /* for a signal */
	int serve_rc;
};

int cli_runtime_run(uint32_t cores, int (*fn)(void *arg), void *arg, char *why, uint32_t why_bytes)
{
	struct cfs_runtime_opts opts = { .cores = cores, .pin_cpu = -1 };
	struct doctor_finding f = { 0 };

	doctor_io_uring(&f);
	if (f.state == DOCTOR_FAIL) {
		snprintf(why, why_bytes, "io_uring: %s; try: %s", f.detail, f.next);
		return -ENOSYS;
	}
	return cfs_runtime_run(&opts, fn, arg);
}

static CFS_AWAITS int start_node(struct work *w)
{
	const struct cfs_config *cfg = w->s->cfg;
	struct cfs_node_opts how = {
		.paths = &w->s->store,
		.path_count = 1,
		.listen = w->s->listen,
		.state_dir = cfg->state_dir[0] ? cfg->state_dir : NULL,
		.control = cfg->control,
		.control_secrets = cfg->control_secrets,
		.tail_bytes = cfg->tail_size,
		.cache_bytes = cfg->cache_size,
		.flush_interval_ns = cfg->flush_interval,
		.patch_bytes_max = cfg->memory_patch_max,
		.session_life_ns = cfg->session_life,
	};
	int rc;

	if (!w->s->store)
		return 0;
	rc = cfs_node_start(&how, &w->node, w->s->why, sizeof(w->s->why));
	if (rc == 0)
		cfs_info("serving", "store=%s listen=%s", w->s->store,
			 w->s->listen ? cfs_node_listen_addr(w->node) : "-");
	return rc;
}

static CFS_AWAITS int start_client(struct work *w)
{
	struct cfs_client_opts how = {
		.addrs = { w->node ? cfs_node_addr(w->node) : w->s->server },
		.addr_count = 1,
		.wait_ns = w->s->cfg->mount_wait,
		.connect_ns = CONNECT_NS,
		.recall = cfs_fuse_cache_recall,
		.recall_all = cfs_fuse_cache_recall_all,
		.let_go = cfs_fuse_cache_let_go,
		.evicted = cfs_fuse_cache_evicted,
	};
	int rc;

	if (!w->s->dir)
		return 0;
	rc = cfs_fuse_cache_create(&w->cache);
	if (rc < 0)
		return rc;
	how.recall_ctx = w->cache;
	return cfs_client_open(&how, &w->client, w->s->why, sizeof(w->s->why));
}

/* On a thread: mount(2) may wait. */
static int mount_now(void *arg)
{
	struct work *w = arg;
	struct cfs_fuse_mount_opts how = {
		.source = w->s->source,
		.dir = w->s->dir,
		.flags = w->s->flags,
		.may_be_nonempty = w->s->may_be_nonempty,
	};
	int rc = cfs_fuse_mount(&how, &w->mount, w->s->why, sizeof(w->s->why));

	if (rc < 0)
		return rc;
	snprintf(w->device, sizeof(w->device), "%u:%u", w->mount.dev_major, w->mount.dev_minor);
	w->claim_fd = cli_mount_claim(w->s->dir);
	return 0;
}

/* On a thread: out of the way, in use or not. */
static int unmount_now(void *arg)
{
	struct work *w = arg;
	char why[256];
	int rc = cfs_fuse_unmount(w->s->dir, false, why, sizeof(why));

	return rc == -EBUSY ? cfs_fuse_unmount(w->s->dir, true, why, sizeof(why)) : rc;
}

/* SIGTERM ends a mount by unmounting it. Somebody may have detached it already while programs wait
 * in it: these get errors then. */
static CFS_AWAITS void wait_for_stop(void *arg)
{
	struct work *w = arg;

	if (cli_stop_wait(w->stop_fd) < 0)
		return;
	cfs_info("told to stop, unmounting", "dir=%s", w->s->dir);
	if (cfs_offload(unmount_now, w) < 0)
		cfs_group_cancel(&w->serving);
}

static void tell_ready(void *arg)
{
	struct work *w = arg;
	const char *addr = w->s->listen ? cfs_node_listen_addr(w->node) : NULL;
	char state[CFS_NET_ADDR_BYTES + 64];

	if (w->s->dir)
		cfs_info("mounted", "dir=%s source=%s", w->s->dir, w->s->source);
	snprintf(state, sizeof(state), "READY=1\nSTATUS=%s%s", addr ? "serving at " : "mounted",
		 addr ? addr : "");
	cli_notify(state);
	if (!w->s->ready(w->s->arg, addr))
		kill(getpid(), SIGTERM); /* who started it is gone */
}

static void interrupt_op(void *arg)
{
	cfs_client_op_interrupt(arg);
}

/* What was written to a mount is flushed when it is gone, unless the server is away. */
static CFS_AWAITS void last_sync(struct work *w)
{
	struct cfs_client_stats stats;
	struct cfs_timer timer = { 0 };
	struct cfs_client_op op;
	int rc;

	cfs_client_stats(w->client, &stats);
	if (stats.is_lost)
		return;
	cfs_client_op_init(&op, w->client, 0, 0);
	cfs_timer_arm(&timer, cfs_now_ns() + LAST_SYNC_NS, interrupt_op, &op);
	rc = cfs_client_fsync(&op, CFS_INO_ROOT, false);
	cfs_timer_disarm(&timer);
	if (rc < 0)
		cfs_warn("last sync failed", "rc=%s", cfs_err_name(rc));
}

/* The mount's fiber. */
static CFS_AWAITS void serve_fuse(void *arg)
{
	struct work *w = arg;
	struct cfs_fuse_opts how = {
		.cache = w->cache,
		.consistency = w->s->consistency,
		.lazy_ns = w->s->lazy_ns,
		.fd = w->mount.fd,
		.client = w->client,
		.dev_major = w->mount.dev_major,
		.dev_minor = w->mount.dev_minor,
		/* The kernel leaves access times to us, and tells us of no option. */
		.keeps_atime = w->s->flags & (MS_NOATIME | MS_RDONLY),
		.keeps_diratime = w->s->flags & MS_NODIRATIME,
		.ready = tell_ready,
		.arg = w,
	};

	w->serve_rc = cfs_fuse_serve(&how);
}

/* Serves the mount until it is unmounted. */
static CFS_AWAITS int serve_mount(struct work *w)
{
	int rc = cfs_offload(mount_now, w);

	if (rc < 0)
		return rc;
	rc = cfs_group_start(&w->waiting, wait_for_stop, w);
	if (rc == 0)
		rc = cfs_group_start(&w->serving, serve_fuse, w);
	if (rc == 0) {
		cfs_group_join(&w->serving);
		rc = w->serve_rc;
	}
	cfs_group_cancel(&w->waiting);
	cfs_group_join(&w->waiting);
	cfs_fuse_mount_fini(&w->mount);
	if (rc == -ECONNABORTED || rc == -ECANCELED)
		rc = 0; /* taken away by force, and that is what was wanted */
	if (rc < 0)
		cfs_offload(unmount_now, w);
	if (rc < 0 && !w->s->why[0])
		snprintf(w->s->why, sizeof(w->s->why), "%s: %s; look into the log", w->s->dir,
			 cfs_err_text(rc));
	cfs_info("unmounted", "dir=%s", w->s->dir);
	last_sync(w);
	return rc;
}

/* Without a mount: until told to stop. */
static CFS_AWAITS int serve_only(struct work *w)
{
	tell_ready(w);
	cli_stop_wait(w->stop_fd);
	return 0;
}

static CFS_AWAITS int stop_node(struct work *w, int rc)
{
	int stop_rc;

	if (!w->node)
		return rc;
	cli_notify("STOPPING=1\nSTATUS=finishing what is under way");
	cfs_info("stopping", "store=%s", w->s->store);
	stop_rc = cfs_node_stop(w->node);
	w->node = NULL;
	if (stop_rc == 0) {
		cfs_info("stopped", "store=%s", w->s->store);
		return rc;
	}
	cfs_err("not all could be flushed", "store=%s rc=%s", w->s->store, cfs_err_name(stop_rc));
	if (rc == 0)
		snprintf(w->s->why, sizeof(w->s->why),
			 "%s: not all could be flushed: %s; look at its device, then: cfs fsck",
			 w->s->store, cfs_err_text(stop_rc));
	return rc < 0 ? rc : stop_rc;
}

static CFS_AWAITS int work_main(void *arg)
{
	struct work *w = arg;
	int rc = start_node(w);

	cfs_group_init(&w->serving);
	cfs_group_init(&w->waiting);
	if (rc == 0)
		rc = start_client(w);
	if (rc == 0)
		rc = w->s->dir ? serve_mount(w) : serve_only(w);
	cfs_client_close(w->client);
	cfs_fuse_cache_destroy(w->cache);
	return stop_node(w, rc);
}

/* Every connection is a descriptor: as many as are allowed. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int cli_listen(const struct cli *c, struct cli_session *s, char listen[CFS_NET_ADDR_BYTES])
{
	char why[128];

	if (!c->cfg.listen[0])
		return CLI_OK;
	if (cli_addr(c->cfg.listen, c->cfg.fabric, listen, why) < 0)
		return cli_usage(c, "%s", why);
	s->listen = listen;
	return CLI_OK;
}

/* "strict", "close-to-open", "lazy", "lazy:500ms"; a number alone is milliseconds. */
static int take_consistency(struct cli_session *s)
{
	const char *text = s->cfg->consistency;
	static struct cfs_config lazy; /* large, and this is called once */
	char why[CFS_CONFIG_WHY_BYTES], value[CFS_CONFIG_TEXT_BYTES];
	size_t len;

	s->consistency = CFS_FUSE_STRICT;
	if (strcmp(text, "strict") == 0)
		return 0;
	s->consistency = CFS_FUSE_CLOSE_TO_OPEN;
	if (strcmp(text, "close-to-open") == 0)
		return 0;
	s->consistency = CFS_FUSE_LAZY;
	s->lazy_ns = LAZY_NS;
	if (strcmp(text, "lazy") == 0)
		return 0;
	if (strncmp(text, "lazy:", 5) == 0) {
		len = strspn(text + 5, "0123456789");
		snprintf(value, sizeof(value), "%.200s%s", text + 5, text[5 + len] ? "" : "ms");
		/* Read as any other time is. */
		cfs_config_defaults(&lazy);
		if (len > 0 &&
		    cfs_config_set(&lazy, "mount_wait", value, CFS_CONFIG_ARGUMENT, why) == 0) {
			s->lazy_ns = lazy.mount_wait;
			return 0;
		}
	}
	snprintf(s->why, sizeof(s->why),
		 "consistency=%.64s: not known; it is strict, close-to-open, or lazy with a time, "
		 "as in "
		 "lazy:500ms",
		 text);
	return -EINVAL;
}

int cli_session_run(struct cli_session *s)
{
	struct work w = { .s = s, .claim_fd = -1 };
	int rc;

	s->why[0] = '\0';
	rc = take_consistency(s);
	if (rc < 0)
		return rc;
	raise_files();
	signal(SIGPIPE, SIG_IGN);
	w.stop_fd = cli_stop_open();
	if (w.stop_fd < 0)
		return w.stop_fd;
	rc = cli_runtime_run((uint32_t)s->cfg->cores, work_main, &w, s->why, sizeof(s->why));
	cli_stop_close(w.stop_fd);
	if (w.claim_fd >= 0) {
		cli_mount_disclaim(w.device);
		close(w.claim_fd);
	}
	if (rc < 0 && !s->why[0])
		snprintf(s->why, sizeof(s->why), "%s", cfs_err_text(rc));
	return rc;
}
