/*
 * Happy path: what is asked goes to the engine, with one look at `moved` before a read, and with
 * two more compares in a transaction: neither `moved` nor `arriving` is there.
 *
 * Failures: a compare of ours does not hold. The map is frozen or arriving: wait, look again, for
 * at most VOLUME_WAIT_NS. It has moved: open the other engine and say -ESTALE, so that the caller
 * reads again. An engine is closed when the last call that uses it is over.
 *
 * Invariant: no transaction of a volume holds in an engine that is frozen or left, so a copy taken
 * after the freeze is whole.
 */
#include "ctl/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/reactor.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/volume_internal.h"

#define VOLUME_WAIT_NS 10000000000ull
#define VOLUME_PAUSE_NS 100000000ull
#define VOLUME_HOPS_MAX 4u
#define ETCD_NAME "etcd:"

struct engine {
	struct cfs_ctl *ctl;
	uint32_t users;
	bool is_left;
	char name[CFS_CTL_NAME_BYTES];
};

struct volume {
	struct cfs_ctl ctl;
	char *local_path, *secrets;
	char prefix[CFS_CTL_PREFIX_BYTES];
	struct engine *now;
	struct cfs_lock following; /* one fiber opens the next engine */
};

void cfs_ctl_volume_prefix(const uint8_t uuid[16], char out[CFS_CTL_PREFIX_BYTES])
{
	int at = snprintf(out, CFS_CTL_PREFIX_BYTES, "/claudefs/");

	for (int i = 0; i < 16; i++)
		at += snprintf(out + at, CFS_CTL_PREFIX_BYTES - (size_t)at, "%s%02x",
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
	snprintf(out + at, CFS_CTL_PREFIX_BYTES - (size_t)at, "/");
}

bool cfs_ctl_name_is_valid(const char *name)
{
	return strcmp(name, CFS_CTL_LOCAL) == 0 || strncmp(name, ETCD_NAME, strlen(ETCD_NAME)) == 0;
}

void cfs_ctl_volume_key(const char *prefix, const char *name, char out[CFS_CTL_KEY_BYTES_MAX + 1])
{
	snprintf(out, CFS_CTL_KEY_BYTES_MAX + 1, "%s%s", prefix, name);
}

CFS_AWAITS int cfs_ctl_moved_read(struct cfs_ctl *engine, const char *prefix,
				  struct cfs_ctl_moved *out)
{
	char key[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl_list list = { 0 };
	const char *to;
	int rc;

	*out = (struct cfs_ctl_moved){ 0 };
	cfs_ctl_volume_key(prefix, CFS_CTL_MOVED, key);
	rc = cfs_ctl_get(engine, key, &list);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	to = (const char *)list.kvs[0].value;
	out->rev = list.kvs[0].rev;
	out->is_frozen = strncmp(to, CFS_CTL_FROZEN, strlen(CFS_CTL_FROZEN)) == 0;
	to += out->is_frozen ? strlen(CFS_CTL_FROZEN) : 0;
	if (!cfs_ctl_name_is_valid(to) || !cfs_str_copy(out->to, sizeof(out->to), to))
		rc = -CFS_EBAD_FORMAT;
	cfs_ctl_list_fini(&list);
	return rc;
}

CFS_AWAITS int cfs_ctl_put_if(struct cfs_ctl *engine, const char *key, uint64_t rev,
			      const char *value, uint64_t *rev_out)
{
	struct cfs_ctl_compare compare = { .key = key, .rev = rev };
	struct cfs_ctl_put put = { .key = key, .value = value };
	struct cfs_ctl_txn txn = { &compare, 1, &put, 1 };

	put.len_bytes = value ? (uint32_t)strlen(value) : 0;
	return cfs_ctl_txn(engine, &txn, rev_out);
}

CFS_AWAITS int cfs_ctl_engine_open(const struct cfs_ctl_volume_opts *opts, const char *name,
				   struct cfs_ctl **out, char *why, uint32_t why_bytes)
{
	if (strcmp(name, CFS_CTL_LOCAL) == 0)
		return cfs_ctl_open_local(opts->local_path, out, why, why_bytes);
	if (strncmp(name, ETCD_NAME, strlen(ETCD_NAME)) == 0)
		return cfs_ctl_open_etcd(name + strlen(ETCD_NAME), opts->secrets, out, why,
					 why_bytes);
	snprintf(why, why_bytes,
		 "control %.100s: no engine; it is local, or etcd:http://HOST:PORT,...", name);
	return -EINVAL;
}

/* --- engines in use --- */

static struct volume *volume_of(struct cfs_ctl *ctl)
{
	return cfs_container_of(ctl, struct volume, ctl);
}

static struct engine *enter(struct volume *v)
{
	v->now->users++;
	return v->now;
}

/* Returns @rc, for the end of a call. */
CFS_AWAITS static int leave(struct volume *v, struct engine *e, int rc)
{
	if (rc < 0)
		memcpy(v->ctl.why, e->ctl->why, sizeof(v->ctl.why));
	if (--e->users == 0 && e->is_left) {
		cfs_ctl_close(e->ctl);
		free(e);
	}
	return rc;
}

static struct cfs_ctl_volume_opts opts_of(const struct volume *v)
{
	return (struct cfs_ctl_volume_opts){ .local_path = v->local_path, .secrets = v->secrets };
}

CFS_AWAITS static int engine_set(struct volume *v, const char *name, char *why, uint32_t why_bytes)
{
	const struct cfs_ctl_volume_opts opts = opts_of(v);
	struct engine *e = calloc(1, sizeof(*e)), *old = v->now;
	int rc = e ? cfs_ctl_engine_open(&opts, name, &e->ctl, why, why_bytes) : -ENOMEM;

	if (rc < 0) {
		free(e);
		return rc;
	}
	cfs_str_copy(e->name, sizeof(e->name), name);
	v->now = e;
	if (old) {
		old->users++;
		old->is_left = true;
		leave(v, old, 0);
	}
	return 0;
}

/* The next start of this machine begins with the file: it shall lead here without a detour. Best
 * effort, since the detour works too. */
CFS_AWAITS static void pointer_set(struct volume *v)
{
	char why[CFS_CTL_WHY_BYTES], key[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl *local = NULL;
	struct cfs_ctl_moved moved;

	if (strcmp(v->now->name, CFS_CTL_LOCAL) == 0 ||
	    cfs_ctl_open_local(v->local_path, &local, why, sizeof(why)) < 0)
		return;
	cfs_ctl_volume_key(v->prefix, CFS_CTL_MOVED, key);
	if (cfs_ctl_moved_read(local, v->prefix, &moved) == 0 && moved.rev != 0 &&
	    !moved.is_frozen && strcmp(moved.to, v->now->name) != 0)
		cfs_ctl_put_if(local, key, moved.rev, v->now->name, NULL);
	cfs_ctl_close(local);
}

/* From @from to where its `moved` says, unless somebody was faster. */
CFS_AWAITS static int follow(struct volume *v, const struct engine *from, const char *to)
{
	char why[CFS_CTL_WHY_BYTES] = "";
	int rc = cfs_lock_take(&v->following);

	if (rc < 0)
		return rc;
	if (v->now == from) {
		rc = engine_set(v, to, why, sizeof(why));
		if (rc < 0)
			memcpy(v->ctl.why, why, sizeof(v->ctl.why));
		else
			pointer_set(v);
	}
	cfs_lock_release(&v->following);
	return rc;
}

/* Enters the engine that has the map. @hops_out: how often it had moved. */
CFS_AWAITS static int enter_right(struct volume *v, struct engine **out, uint32_t *hops_out)
{
	for (uint32_t hops = 0; hops <= VOLUME_HOPS_MAX; hops++) {
		struct engine *e = enter(v);
		struct cfs_ctl_moved moved;
		int rc = cfs_ctl_moved_read(e->ctl, v->prefix, &moved);

		if (rc < 0)
			return leave(v, e, rc);
		if (moved.rev == 0 || moved.is_frozen) {
			*out = e;
			*hops_out = hops;
			return 0;
		}
		rc = follow(v, e, moved.to);
		leave(v, e, 0);
		if (rc < 0)
			return rc;
	}
	snprintf(v->ctl.why, sizeof(v->ctl.why), "the map has moved in a circle");
	return -ELOOP;
}

/* --- the engine's face --- */

CFS_AWAITS static int volume_list(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
				  struct cfs_ctl_list *out)
{
	struct volume *v = volume_of(ctl);
	struct engine *e;
	uint32_t hops;
	int rc = enter_right(v, &e, &hops);

	return rc < 0 ? rc : leave(v, e, e->ctl->ops->list(e->ctl, prefix, is_exact, out));
}

/* With our compares beside the caller's. */
CFS_AWAITS static int txn_fenced(const struct volume *v, struct cfs_ctl *engine,
				 const struct cfs_ctl_txn *txn, uint64_t *rev_out)
{
	char moved[CFS_CTL_KEY_BYTES_MAX + 1], arriving[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl_compare compares[CFS_CTL_TXN_MAX + 2];
	struct cfs_ctl_txn fenced = *txn;

	cfs_ctl_volume_key(v->prefix, CFS_CTL_MOVED, moved);
	cfs_ctl_volume_key(v->prefix, CFS_CTL_ARRIVING, arriving);
	for (uint32_t i = 0; i < txn->compares_count; i++)
		compares[i] = txn->compares[i];
	compares[fenced.compares_count++] = (struct cfs_ctl_compare){ .key = moved };
	compares[fenced.compares_count++] = (struct cfs_ctl_compare){ .key = arriving };
	fenced.compares = compares;
	return engine->ops->txn(engine, &fenced, rev_out);
}

/* Why a compare did not hold: 1: because of ours, wait; 0: because of the caller's; -errno. */
CFS_AWAITS static int is_fenced(const struct volume *v, struct cfs_ctl *engine)
{
	char key[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl_list list = { 0 };
	struct cfs_ctl_moved moved;
	int rc = cfs_ctl_moved_read(engine, v->prefix, &moved);

	if (rc < 0 || moved.rev != 0)
		return rc < 0 ? rc : 1;
	cfs_ctl_volume_key(v->prefix, CFS_CTL_ARRIVING, key);
	rc = cfs_ctl_get(engine, key, &list);
	cfs_ctl_list_fini(&list);
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

CFS_AWAITS static int volume_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn,
				 uint64_t *rev_out)
{
	struct volume *v = volume_of(ctl);
	uint64_t end_ns = cfs_now_ns() + VOLUME_WAIT_NS;
	bool has_moved = false;

	for (;;) {
		struct engine *e = enter(v);
		int rc = txn_fenced(v, e->ctl, txn, rev_out), fenced;
		uint32_t hops = 0;

		fenced = rc == -ESTALE ? is_fenced(v, e->ctl) : 0;
		rc = leave(v, e, fenced < 0 ? fenced : rc);
		if (rc != -ESTALE || fenced == 0)
			return rc;
		rc = enter_right(v, &e, &hops);
		if (rc < 0)
			return rc;
		leave(v, e, 0);
		has_moved |= hops > 0;
		/* What it compares with are revisions of the old engine. */
		if (has_moved && txn->compares_count > 0)
			return -ESTALE;
		if (cfs_now_ns() >= end_ns)
			break;
		rc = cfs_sleep_ns(hops > 0 ? 0 : VOLUME_PAUSE_NS);
		if (rc < 0)
			return rc;
	}
	snprintf(v->ctl.why, sizeof(v->ctl.why),
		 "the map is being moved to another engine; finish it: cfs control move");
	return -EIO;
}

CFS_AWAITS static int volume_changes(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				     struct cfs_ctl_list *out)
{
	struct volume *v = volume_of(ctl);
	struct engine *e;
	uint32_t hops;
	int rc = enter_right(v, &e, &hops);

	if (rc < 0)
		return rc;
	if (hops > 0)
		return leave(v, e, -ESTALE);
	return leave(v, e, e->ctl->ops->changes(e->ctl, prefix, from_rev, out));
}

CFS_AWAITS static int volume_wait(struct cfs_ctl *ctl, const char *prefix, uint64_t rev)
{
	struct volume *v = volume_of(ctl);
	struct engine *e = enter(v);

	return leave(v, e, e->ctl->ops->wait(e->ctl, prefix, rev));
}

CFS_AWAITS static int volume_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out)
{
	struct volume *v = volume_of(ctl);
	struct engine *e = enter(v);

	return leave(v, e, e->ctl->ops->lease_grant(e->ctl, ttl_ns, lease_out));
}

CFS_AWAITS static int volume_lease_keep(struct cfs_ctl *ctl, uint64_t lease)
{
	struct volume *v = volume_of(ctl);
	struct engine *e = enter(v);

	return leave(v, e, e->ctl->ops->lease_keep(e->ctl, lease));
}

CFS_AWAITS static int volume_lease_end(struct cfs_ctl *ctl, uint64_t lease)
{
	struct volume *v = volume_of(ctl);
	struct engine *e = enter(v);

	return leave(v, e, e->ctl->ops->lease_end(e->ctl, lease));
}

CFS_AWAITS static void volume_close(struct cfs_ctl *ctl)
{
	struct volume *v = volume_of(ctl);

	if (v->now) {
		cfs_ctl_close(v->now->ctl);
		free(v->now);
	}
	free(v->local_path);
	free(v->secrets);
	free(v);
}

static const struct cfs_ctl_ops volume_ops = {
	.name = "volume",
	.list = volume_list,
	.txn = volume_txn,
	.changes = volume_changes,
	.wait = volume_wait,
	.lease_grant = volume_lease_grant,
	.lease_keep = volume_lease_keep,
	.lease_end = volume_lease_end,
	.close = volume_close,
};

const char *cfs_ctl_volume_engine(struct cfs_ctl *ctl)
{
	return ctl->ops == &volume_ops ? volume_of(ctl)->now->name : NULL;
}

/* --- opening --- */

/* The file is open. What the caller wants of the pointer in it. */
CFS_AWAITS static int pointer_settle(struct volume *v, const char *engine, char *why,
				     uint32_t why_bytes)
{
	struct cfs_ctl *local = v->now->ctl;
	char key[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl_list list = { 0 };
	struct cfs_ctl_moved moved;
	int rc = cfs_ctl_moved_read(local, v->prefix, &moved);

	if (rc < 0) {
		snprintf(why, why_bytes, "control file %.160s: %s", v->local_path,
			 cfs_err_text(rc));
		return rc;
	}
	if (moved.is_frozen) {
		snprintf(why, why_bytes,
			 "the map is being moved; finish it: cfs control move STORE %.160s",
			 moved.to);
		return -EBUSY;
	}
	if (moved.rev == 0) {
		cfs_ctl_volume_key(v->prefix, "epoch", key);
		rc = cfs_ctl_get(local, key, &list);
		cfs_ctl_list_fini(&list);
		if (rc == 0) {
			snprintf(why, why_bytes,
				 "the map is in %.100s; move it: cfs control move STORE %.100s",
				 v->local_path, engine);
			return -EEXIST;
		}
	}
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (strcmp(moved.to, engine) == 0)
		return 0;
	cfs_ctl_volume_key(v->prefix, CFS_CTL_MOVED, key);
	rc = cfs_ctl_put_if(local, key, moved.rev, engine, NULL);
	if (rc < 0)
		snprintf(why, why_bytes, "control file %.160s: %s", v->local_path,
			 cfs_err_text(rc));
	return rc;
}

CFS_AWAITS static int volume_begin(struct volume *v, const struct cfs_ctl_volume_opts *opts,
				   char *why, uint32_t why_bytes)
{
	bool is_elsewhere = opts->engine && opts->engine[0] &&
			    strcmp(opts->engine, CFS_CTL_LOCAL) != 0;
	struct engine *e;
	uint32_t hops;
	int rc;

	v->local_path = strdup(opts->local_path);
	v->secrets = strdup(opts->secrets ? opts->secrets : "");
	if (!v->local_path || !v->secrets)
		return -ENOMEM;
	/* A name that is none must not get into the file. */
	if (is_elsewhere) {
		struct cfs_ctl *probe = NULL;

		rc = cfs_ctl_engine_open(opts, opts->engine, &probe, why, why_bytes);
		cfs_ctl_close(probe);
		if (rc < 0)
			return rc;
	}
	rc = engine_set(v, CFS_CTL_LOCAL, why, why_bytes);
	if (rc == 0 && is_elsewhere)
		rc = pointer_settle(v, opts->engine, why, why_bytes);
	if (rc < 0)
		return rc;
	rc = enter_right(v, &e, &hops);
	if (rc < 0) {
		snprintf(why, why_bytes, "%s: %.180s", v->now->name, v->ctl.why);
		return rc;
	}
	return leave(v, e, 0);
}

CFS_AWAITS int cfs_ctl_open_volume(const struct cfs_ctl_volume_opts *opts, struct cfs_ctl **out,
				   char *why_out, uint32_t why_bytes)
{
	struct volume *v = calloc(1, sizeof(*v));
	int rc = -ENOMEM;

	snprintf(why_out, why_bytes, "%s", cfs_err_text(rc));
	if (!v)
		return rc;
	v->ctl.ops = &volume_ops;
	cfs_lock_init(&v->following);
	cfs_ctl_volume_prefix(opts->uuid, v->prefix);
	rc = volume_begin(v, opts, why_out, why_bytes);
	if (rc < 0) {
		volume_close(&v->ctl);
		return rc;
	}
	*out = &v->ctl;
	return 0;
}
