/*
 * Moving a volume's map from one engine to another while both are in use.
 *
 * Happy path: freeze the old one (`moved` = "frozen TO"), copy into the new one under `arriving`,
 * take `arriving` away, unfreeze by `moved` = "TO".
 *
 * Failures: every step compares the revision of the marker that an earlier one wrote, so whoever
 * replaces a marker stops the mover that wrote it, however late that wakes up. A step that fails
 * takes the freeze back; should that fail too, or the mover die, the volume stays frozen: programs
 * go on, changes of the map wait and fail, until another move ends it.
 *
 * Invariants: nothing holds in the old engine after the freeze (volume.c); nobody is sent to the
 * new one before it is whole; a map in the new one that anybody may be using is never overwritten.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "ctl/volume_internal.h"

#define MOVE_TXN_BYTES_MAX (512u * 1024) /* etcd takes 1.5 MiB */
#define MOVE_TXN_PUTS_MAX 32u

struct move {
	const char *to_name;
	char prefix[CFS_CTL_PREFIX_BYTES], from_name[CFS_CTL_NAME_BYTES];
	char moved_key[CFS_CTL_KEY_BYTES_MAX + 1], arriving_key[CFS_CTL_KEY_BYTES_MAX + 1];
	struct cfs_ctl *from, *to;
	struct cfs_ctl_moved moved; /* of the old one, before us */
	uint64_t frozen_rev, arriving_rev;
	struct cfs_ctl_list old, there; /* all keys of the old one; what the new one has */
	/* The transaction that is being filled. */
	struct cfs_ctl_put puts[MOVE_TXN_PUTS_MAX];
	uint32_t puts_count, puts_bytes;
	struct cfs_ctl_move_result *result;
	char *why;
	uint32_t why_bytes;
};

static int say(struct move *m, int rc, const struct cfs_ctl *engine)
{
	const char *name = engine == m->to ? m->to_name : m->from_name;

	snprintf(m->why, m->why_bytes, "%.100s: %.150s", name,
		 rc == -ESTALE    ? "another move has taken over"
		 : engine->why[0] ? engine->why
				  : cfs_err_text(rc));
	return rc == -ESTALE ? -EBUSY : rc;
}

/* Is the key one of the map, and not about where it is, nor somebody's lease? */
static bool is_ours(const struct move *m, const struct cfs_ctl_kv *kv)
{
	return strcmp(kv->key, m->moved_key) != 0 && strcmp(kv->key, m->arriving_key) != 0 &&
	       kv->lease == 0;
}

static uint64_t rev_in(const struct cfs_ctl_list *list, const char *key)
{
	const struct cfs_ctl_kv *kv = cfs_ctl_list_find(list, key);

	return kv ? kv->rev : 0;
}

/* May the new place be overwritten? */
static CFS_AWAITS int look_there(struct move *m)
{
	bool is_unfinished = m->moved.is_frozen && strcmp(m->moved.to, m->to_name) == 0;
	int rc = cfs_ctl_list(m->to, m->prefix, &m->there);

	if (rc < 0)
		return say(m, rc, m->to);
	if (m->there.count == 0 || is_unfinished || rev_in(&m->there, m->moved_key) != 0 ||
	    rev_in(&m->there, m->arriving_key) != 0)
		return 0;
	snprintf(m->why, m->why_bytes,
		 "%.150s: there is a map of this volume already; look at it: cfs control show",
		 m->to_name);
	return -EEXIST;
}

static CFS_AWAITS int freeze(struct move *m)
{
	char value[CFS_CTL_NAME_BYTES + 16];
	int rc;

	snprintf(value, sizeof(value), CFS_CTL_FROZEN "%s", m->to_name);
	rc = cfs_ctl_put_if(m->from, m->moved_key, m->moved.rev, value, &m->frozen_rev);
	if (rc == 0)
		rc = cfs_ctl_list(m->from, m->prefix, &m->old);
	return rc < 0 ? say(m, rc, m->from) : 0;
}

static CFS_AWAITS int flush(struct move *m)
{
	struct cfs_ctl_compare compare = { .key = m->arriving_key, .rev = m->arriving_rev };
	struct cfs_ctl_txn txn = { &compare, 1, m->puts, m->puts_count };
	int rc = m->puts_count > 0 ? cfs_ctl_txn(m->to, &txn, NULL) : 0;

	m->puts_count = m->puts_bytes = 0;
	return rc < 0 ? say(m, rc, m->to) : 0;
}

static CFS_AWAITS int add(struct move *m, const struct cfs_ctl_put *put)
{
	int rc = 0;

	if (m->puts_count == MOVE_TXN_PUTS_MAX ||
	    m->puts_bytes + put->len_bytes > MOVE_TXN_BYTES_MAX)
		rc = flush(m);
	m->puts[m->puts_count++] = *put;
	m->puts_bytes += put->len_bytes;
	return rc;
}

static CFS_AWAITS int copy(struct move *m)
{
	char value[CFS_CTL_NAME_BYTES + 16];
	int rc;

	snprintf(value, sizeof(value), "from %s", m->from_name);
	rc = cfs_ctl_put_if(m->to, m->arriving_key, rev_in(&m->there, m->arriving_key), value,
			    &m->arriving_rev);
	if (rc < 0)
		return say(m, rc, m->to);
	for (uint32_t i = 0; i < m->old.count && rc == 0; i++) {
		const struct cfs_ctl_kv *kv = &m->old.kvs[i];

		if (!is_ours(m, kv))
			continue;
		rc = add(m, &(struct cfs_ctl_put){ .key = kv->key,
						   .value = kv->value,
						   .len_bytes = kv->len_bytes });
		m->result->keys++;
		m->result->bytes += kv->len_bytes;
	}
	for (uint32_t i = 0; i < m->there.count && rc == 0; i++) {
		const struct cfs_ctl_kv *kv = &m->there.kvs[i];

		if (is_ours(m, kv) && !cfs_ctl_list_find(&m->old, kv->key))
			rc = add(m, &(struct cfs_ctl_put){ .key = kv->key });
	}
	if (rc == 0)
		rc = flush(m);
	/* Now it is whole, and may be used. */
	if (rc == 0)
		rc = add(m, &(struct cfs_ctl_put){ .key = m->arriving_key });
	if (rc == 0)
		rc = add(m, &(struct cfs_ctl_put){ .key = m->moved_key });
	return rc == 0 ? flush(m) : rc;
}

/* Sends everybody to the new place. */
static CFS_AWAITS int send_on(struct move *m)
{
	struct cfs_ctl_moved now;
	int rc = cfs_ctl_put_if(m->from, m->moved_key, m->frozen_rev, m->to_name, NULL);

	if (rc == 0)
		return 0;
	say(m, rc, m->from);
	/* The answer may have been lost. */
	if (cfs_ctl_moved_read(m->from, m->prefix, &now) == 0 && !now.is_frozen &&
	    strcmp(now.to, m->to_name) == 0)
		return 0;
	return rc == -ESTALE ? -EBUSY : rc;
}

/* After a failure. It takes back nothing but our own freeze, also one whose answer was lost. */
static CFS_AWAITS void thaw(struct move *m)
{
	struct cfs_ctl_moved now = { .rev = m->frozen_rev };
	size_t len = strlen(m->why);
	int rc = cfs_ctl_moved_read(m->from, m->prefix, &now);

	if (rc == 0 && (!now.is_frozen || strcmp(now.to, m->to_name) != 0 ||
			(m->frozen_rev != 0 && now.rev != m->frozen_rev)))
		return;
	if (rc == 0)
		rc = cfs_ctl_put_if(m->from, m->moved_key, now.rev, NULL, NULL);
	if (rc < 0 && rc != -ESTALE)
		snprintf(m->why + len, m->why_bytes - len,
			 "; the map is frozen: do this again, or move it back");
}

static CFS_AWAITS int move_run(struct move *m)
{
	uint64_t before_ns;
	int rc = cfs_ctl_moved_read(m->from, m->prefix, &m->moved);

	if (rc < 0)
		return say(m, rc, m->from);
	if (strcmp(m->from_name, m->to_name) == 0) {
		/* There already; whoever wanted it elsewhere did not finish. */
		rc = m->moved.is_frozen
			     ? cfs_ctl_put_if(m->from, m->moved_key, m->moved.rev, NULL, NULL)
			     : 0;
		return rc < 0 ? say(m, rc, m->from) : 0;
	}
	rc = look_there(m);
	if (rc < 0)
		return rc;
	before_ns = cfs_now_ns();
	rc = freeze(m);
	if (rc == 0)
		rc = copy(m);
	if (rc == 0)
		rc = send_on(m);
	if (rc < 0 && rc != -EBUSY)
		thaw(m);
	m->result->frozen_ns = cfs_now_ns() - before_ns;
	return rc;
}

CFS_AWAITS int cfs_ctl_volume_move(const struct cfs_ctl_volume_opts *opts, const char *to,
				   struct cfs_ctl_move_result *out, char *why_out,
				   uint32_t why_bytes)
{
	CFS_CLEANUP(cfs_free_p) struct move *m = calloc(1, sizeof(*m));
	struct cfs_ctl_volume_opts from = *opts;
	struct cfs_ctl_move_result result = { 0 };
	struct cfs_ctl *volume = NULL;
	int rc = -ENOMEM;

	snprintf(why_out, why_bytes, "%s", cfs_err_text(rc));
	if (!m)
		return rc;
	m->to_name = to;
	m->result = &result;
	m->why = why_out;
	m->why_bytes = why_bytes;
	cfs_ctl_volume_prefix(opts->uuid, m->prefix);
	cfs_ctl_volume_key(m->prefix, CFS_CTL_MOVED, m->moved_key);
	cfs_ctl_volume_key(m->prefix, CFS_CTL_ARRIVING, m->arriving_key);
	from.engine = NULL;
	rc = cfs_ctl_open_volume(&from, &volume, why_out, why_bytes);
	if (rc < 0)
		return rc;
	snprintf(m->from_name, sizeof(m->from_name), "%s", cfs_ctl_volume_engine(volume));
	cfs_ctl_close(volume);
	rc = cfs_ctl_engine_open(opts, m->from_name, &m->from, why_out, why_bytes);
	if (rc == 0)
		rc = cfs_ctl_engine_open(opts, to, &m->to, why_out, why_bytes);
	if (rc == 0)
		rc = move_run(m);
	cfs_ctl_close(m->from);
	cfs_ctl_close(m->to);
	cfs_ctl_list_fini(&m->old);
	cfs_ctl_list_fini(&m->there);
	/* As the next start does: this machine's file leads there now. */
	if (rc == 0)
		rc = cfs_ctl_open_volume(&from, &volume, why_out, why_bytes);
	if (rc < 0)
		return rc;
	cfs_ctl_close(volume);
	*out = result;
	return 0;
}
