/*
 * The control plane: a few kilobytes that all processes of a cluster agree on
 * (doc/design/control.md).
 *
 * One interface over engines: `local` (one SQLite file that every process of the machine opens),
 * `etcd` (a cluster of etcd) and `mem` (in memory, deterministic, with faults; for tests and the
 * simulator). Keys are paths of printable ASCII, values are bytes. Every transaction that changes
 * something gets the next *revision*; a key remembers the revision that last changed it. Epoch is
 * truth, lease is rumour: what must not be changed by two is compared by revision, and a lease that
 * ran out proves nothing.
 *
 * A handle belongs to the core that opened it. Every call may suspend; engines do their work on
 * offload threads. Any call may fail with -EIO (the engine failed or cannot be reached; a
 * transaction may or may not have been carried out: read again), -EACCES, -ENOSPC,
 * -CFS_EBAD_FORMAT (what it answers is no answer), -ETIMEDOUT, -ECANCELED and -ENOMEM, beside what
 * its own comment says. cfs_ctl_why() tells people more.
 */
#ifndef CFS_CTL_CTL_H
#define CFS_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fiber.h"

#define CFS_CTL_SCHEMA 1u /* of the local engine's file; a newer one is refused */
#define CFS_CTL_KEY_BYTES_MAX 255u
#define CFS_CTL_VALUE_BYTES_MAX (256u * 1024)
#define CFS_CTL_TXN_MAX 64u    /* compares and puts of a transaction, each */
#define CFS_CTL_GONE_MAX 4096u /* deleted keys that `local` and `mem` remember for watches */
#define CFS_CTL_WHY_BYTES 256u

struct cfs_ctl;
struct cfs_ctl_watch;

struct cfs_ctl_kv {
	char *key;
	uint8_t *value; /* NULL, in what a watch hands out: the key was deleted */
	uint32_t len_bytes;
	uint64_t rev;   /* that last changed it */
	uint64_t lease; /* that it goes with; 0: none */
};

/* Owned by who got it; sorted by key, or by revision when a watch hands it out. */
struct cfs_ctl_list {
	struct cfs_ctl_kv *kvs;
	uint32_t count, room;
	uint64_t rev; /* of the whole: all keys were so at this revision */
};

void cfs_ctl_list_fini(struct cfs_ctl_list *l);
/* The key's entry, or NULL. */
const struct cfs_ctl_kv *cfs_ctl_list_find(const struct cfs_ctl_list *l, const char *key);

struct cfs_ctl_compare {
	const char *key;
	uint64_t rev; /* that last changed the key; 0: there is no such key */
};

struct cfs_ctl_put {
	const char *key;
	const void *value; /* NULL: delete the key; deleting what is missing is fine */
	uint32_t len_bytes;
	uint64_t lease; /* the key goes with it; 0: none */
};

struct cfs_ctl_txn {
	const struct cfs_ctl_compare *compares;
	uint32_t compares_count;
	const struct cfs_ctl_put *puts;
	uint32_t puts_count;
};

/*
 * Opens the SQLite file @path, made if missing (its folder is not). @why_out: a sentence with cause
 * and next step. -CFS_EBAD_FORMAT: not such a file, or damaged; -CFS_EBAD_VERSION: of a newer
 * program; -errno.
 */
CFS_AWAITS int cfs_ctl_open_local(const char *path, struct cfs_ctl **out, char *why_out,
				  uint32_t why_bytes);

#define CFS_CTL_ETCD_URLS_MAX 9u

/*
 * A cluster of etcd (3.4 or newer) by its members' @urls, "http://HOST:PORT,https://HOST:PORT,...";
 * asks it nothing yet. @secrets: a folder with those of ca.pem, cert.pem, key.pem and user
 * (name:password) that are needed; NULL or "": none. -EINVAL: no such list, -errno of what is in
 * @secrets; both with @why_out.
 */
CFS_AWAITS int cfs_ctl_open_etcd(const char *urls, const char *secrets, struct cfs_ctl **out,
				 char *why_out, uint32_t why_bytes);
/* Watches must be closed before. NULL is fine. */
CFS_AWAITS void cfs_ctl_close(struct cfs_ctl *ctl);
const char *cfs_ctl_engine(const struct cfs_ctl *ctl); /* "local", "etcd", "mem" */
/* What the last call that failed has to say: "http://10.0.0.1:2379: connection refused". */
const char *cfs_ctl_why(const struct cfs_ctl *ctl);

/* One key. -ENOENT. @out: a list of one, or untouched. */
CFS_AWAITS int cfs_ctl_get(struct cfs_ctl *ctl, const char *key, struct cfs_ctl_list *out);
/* All keys that begin with @prefix, at one revision. None is not an error. */
CFS_AWAITS int cfs_ctl_list(struct cfs_ctl *ctl, const char *prefix, struct cfs_ctl_list *out);
/* If every compare holds, does every put, as one step. @rev_out may be NULL. -ESTALE: a compare
 * does not hold, nothing was done; -ENOENT: a lease is not known any more; -EINVAL: a key or value
 * too long, too many, or a key put twice; -EMSGSIZE: together more than the engine takes. */
CFS_AWAITS int cfs_ctl_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn, uint64_t *rev_out);

/*
 * Keys that begin with @prefix and were changed in revision @from_rev (a list's rev + 1) or later,
 * each once and as it is now, in order of revision. _next() waits until there is one. At least
 * once: a change may be handed out again; a key that came and went in between may be left out, and
 * a deletion may be told with a later revision than its own. -ESTALE: so long ago that the engine
 * may have forgotten deletions; list, and open a new watch. A watch is a hint to look, not a proof:
 * readers of the map list it again now and then.
 */
CFS_AWAITS int cfs_ctl_watch_open(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				  struct cfs_ctl_watch **out);
CFS_AWAITS int cfs_ctl_watch_next(struct cfs_ctl_watch *w, struct cfs_ctl_list *out);
void cfs_ctl_watch_close(struct cfs_ctl_watch *w); /* not while a _next() waits; NULL is fine */

/* A lease ends @ttl_ns after it was granted or kept last, or later (etcd counts whole seconds), or
 * (mem) earlier. _keep(): -ENOENT: it ended. */
CFS_AWAITS int cfs_ctl_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out);
CFS_AWAITS int cfs_ctl_lease_keep(struct cfs_ctl *ctl, uint64_t lease);
CFS_AWAITS int cfs_ctl_lease_end(struct cfs_ctl *ctl, uint64_t lease); /* its keys go at once */

#endif
