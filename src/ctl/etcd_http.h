/*
 * Requests to the JSON gateway of etcd, one at a time for a line: a connection that is kept, and a
 * thread of cfs_offload() that waits on it. Any of several endpoints will do; one is used until it
 * fails. Private to src/ctl.
 *
 * What changes something goes on to the next endpoint only while it was certainly not carried out:
 * no connection came about, or a member said that it knows no leader.
 */
#ifndef CFS_CTL_ETCD_HTTP_H
#define CFS_CTL_ETCD_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"

#define CFS_ETCD_ANSWER_BYTES_MAX (32u << 20) /* of a whole map, several times */
#define CFS_ETCD_URL_BYTES 256u
#define CFS_ETCD_PATH_BYTES 512u

/* Where and as whom; written once. */
struct cfs_etcd_conf {
	char url[CFS_CTL_ETCD_URLS_MAX][CFS_ETCD_URL_BYTES];
	uint32_t urls_count;
	char ca[CFS_ETCD_PATH_BYTES], cert[CFS_ETCD_PATH_BYTES],
		key[CFS_ETCD_PATH_BYTES]; /* "": none */
	char user[128], password[128];
};

struct cfs_etcd_line;

struct cfs_etcd_request {
	const char *path; /* "/v3/kv/txn" */
	const char *body; /* JSON, borrowed */
	bool is_change;
	/* A stream: called with each of its lines, until it returns true. NULL: one answer. */
	bool (*on_line)(void *arg, const char *line, size_t len_bytes);
	void *arg;
	uint32_t limit_ms; /* of a stream, which ends then; that is no error */
	/* out */
	json_t *answer; /* an object; the caller's */
	char why[CFS_CTL_WHY_BYTES];
};

/* Not more than that goes into @conf. -EINVAL; -errno of what is in @secrets; with @why. */
int cfs_etcd_conf_read(const char *urls, const char *secrets, struct cfs_etcd_conf *conf, char *why,
		       uint32_t why_bytes);

/* 0; -ENOMEM. */
int cfs_etcd_line_create(const struct cfs_etcd_conf *conf, struct cfs_etcd_line **out);
void cfs_etcd_line_destroy(struct cfs_etcd_line *line); /* NULL is fine */

/*
 * On a thread that may block. @endpoint: where to begin; the one that answered.
 * Returns 0; -EIO; -ENOENT, -ESTALE (of old revisions), -EACCES, -ENOSPC, -EMSGSIZE, -EINVAL as the
 * member says; -CFS_EBAD_FORMAT: no answer of etcd, or a too long one; -ECANCELED: aborted;
 * -ENOMEM.
 */
int cfs_etcd_line_ask(struct cfs_etcd_line *line, uint32_t *endpoint, struct cfs_etcd_request *req);
/* Ends the request that another thread waits for, now or when it begins. */
void cfs_etcd_line_abort(struct cfs_etcd_line *line);

#endif
