/*
 * The engine `etcd`, through its JSON gateway (doc/design/control.md).
 *
 * Every call is a job on an offload thread: it builds the request, waits on a line of its own for
 * the answer, and takes it apart there, since curl and jansson need more stack than a fiber has. A
 * fiber that is cancelled or late wakes the thread and loses the line, nothing else.
 *
 * A watch is a stream that only wakes: what changed is then asked by one transaction of three
 * ranges, so that nothing rests on what a stream says or keeps for itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/reactor.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/base64.h"
#include "ctl/ctl_internal.h"
#include "ctl/etcd_http.h"

#define WAIT_MS 5000u
#define WAIT_FAILED_NS 1000000000ull
#define LINES_IDLE_MAX 4u

struct etcd {
	struct cfs_ctl ctl;
	struct cfs_etcd_conf conf;
	struct cfs_etcd_line *idle[LINES_IDLE_MAX];
	uint32_t idle_count;
	uint32_t endpoint; /* that answered last */
};

/* What an offload thread is to do. */
struct job {
	struct etcd *e;
	int (*fn)(struct job *job);
	struct cfs_etcd_line *line;
	uint32_t endpoint;
	const char *key;
	bool is_exact;
	uint64_t number; /* revision, lease or time, in and out */
	const struct cfs_ctl_txn *txn;
	struct cfs_ctl_list *out;
	char why[CFS_CTL_WHY_BYTES];
	int rc;
	struct cfs_done done;
};

/* --- JSON out. NULL: no memory; jansson's setters take it and fail. --- */

static json_t *bytes_json(const void *data, size_t len_bytes)
{
	char *text = malloc(CFS_BASE64_TEXT_BYTES(len_bytes));
	json_t *json = NULL;

	if (text) {
		cfs_base64_encode(data, len_bytes, text);
		json = json_string(text);
	}
	free(text);
	return json;
}

static json_t *key_json(const char *key)
{
	return bytes_json(key, strlen(key));
}

/* The first key behind those that begin with @prefix, whose last byte is no 0xff. */
static json_t *range_end_json(const char *prefix)
{
	char end[CFS_CTL_KEY_BYTES_MAX + 1];
	size_t len = strlen(prefix);

	memcpy(end, prefix, len + 1);
	end[len - 1]++;
	return key_json(end);
}

/* 64-bit numbers are texts there. */
static json_t *number_json(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

static json_t *range_json(const char *prefix, bool is_exact)
{
	json_t *range = json_pack("{so}", "key", key_json(prefix));

	if (range && !is_exact && json_object_set_new(range, "range_end", range_end_json(prefix))) {
		json_decref(range);
		return NULL;
	}
	return range;
}

/* --- JSON in. Everything may be missing or of another kind. --- */

/* What the gateway leaves out is 0. */
static int number_of(const json_t *object, const char *name, uint64_t *out)
{
	const json_t *v = json_object_get(object, name);

	if (!v) {
		*out = 0;
		return 0;
	}
	if (json_is_string(v))
		return cfs_str_to_u64(json_string_value(v), out) == 0 ? 0 : -CFS_EBAD_FORMAT;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -CFS_EBAD_FORMAT;
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

static int rev_of(const json_t *answer, uint64_t *out)
{
	int rc = number_of(json_object_get(answer, "header"), "revision", out);

	return rc == 0 && *out == 0 ? -CFS_EBAD_FORMAT : rc;
}

/* The bytes of the text @name, malloc'd; none if it is missing. */
static int bytes_of(const json_t *object, const char *name, uint8_t **out, uint32_t *len_out)
{
	const json_t *v = json_object_get(object, name);
	size_t len = v ? json_string_length(v) : 0;
	uint8_t *bytes;
	int64_t got;

	if ((v && !json_is_string(v)) || len > CFS_ETCD_ANSWER_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	bytes = malloc(len + 1);
	if (!bytes)
		return -ENOMEM;
	got = v ? cfs_base64_decode(json_string_value(v), len, bytes) : 0;
	if (got < 0) {
		free(bytes);
		return (int)got;
	}
	bytes[got] = '\0';
	*out = bytes;
	*len_out = (uint32_t)got;
	return 0;
}

/* Adds one of a range's keys. */
static int kv_add(const json_t *json, struct cfs_ctl_list *out)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *key = NULL;
	CFS_CLEANUP(cfs_free_p) uint8_t *value = NULL;
	struct cfs_ctl_kv like = { 0 };
	uint32_t key_bytes = 0;
	int rc = bytes_of(json, "key", &key, &key_bytes);

	if (rc == 0 && (key_bytes == 0 || strlen((char *)key) != key_bytes))
		rc = -CFS_EBAD_FORMAT;
	if (rc == 0)
		rc = bytes_of(json, "value", &value, &like.len_bytes);
	if (rc == 0)
		rc = number_of(json, "mod_revision", &like.rev);
	if (rc == 0)
		rc = number_of(json, "lease", &like.lease);
	like.key = (char *)key;
	return rc == 0 ? cfs_ctl_list_add(out, &like, value) : rc;
}

static int kvs_add(const json_t *range, struct cfs_ctl_list *out)
{
	const json_t *kvs = json_object_get(range, "kvs"), *kv;
	size_t i;

	if (!json_is_object(range) || (kvs && !json_is_array(kvs)))
		return -CFS_EBAD_FORMAT;
	json_array_foreach(kvs, i, kv)
	{
		int rc = kv_add(kv, out);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- asking --- */

static int answer_is_bad(struct job *job, int rc)
{
	if (rc == -CFS_EBAD_FORMAT)
		snprintf(job->why, sizeof(job->why), "%.100s: an answer that is not etcd's",
			 job->e->conf.url[job->endpoint]);
	return rc;
}

/* Takes @body. @answer_out: the caller's. */
static int ask(struct job *job, const char *path, json_t *body, bool is_change, json_t **answer_out)
{
	struct cfs_etcd_request req = { .path = path, .is_change = is_change };
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	int rc = text ? 0 : -ENOMEM;

	json_decref(body);
	if (rc == 0) {
		req.body = text;
		rc = cfs_etcd_line_ask(job->line, &job->endpoint, &req);
		memcpy(job->why, req.why, sizeof(job->why));
	}
	free(text);
	if (rc == 0)
		*answer_out = req.answer;
	return rc;
}

static int do_list(struct job *job)
{
	json_t *answer = NULL;
	int rc = ask(job, "/v3/kv/range", range_json(job->key, job->is_exact), false, &answer);

	if (rc < 0)
		return rc;
	rc = rev_of(answer, &job->out->rev);
	if (rc == 0)
		rc = kvs_add(answer, job->out);
	json_decref(answer);
	return answer_is_bad(job, rc);
}

static json_t *compare_json(const struct cfs_ctl_compare *c)
{
	return json_pack("{ss ss so so}", "target", "MOD", "result", "EQUAL", "key",
			 key_json(c->key), "mod_revision", number_json(c->rev));
}

static json_t *put_json(const struct cfs_ctl_put *put)
{
	if (!put->value)
		return json_pack("{s{so}}", "request_delete_range", "key", key_json(put->key));
	return json_pack("{s{so so so}}", "request_put", "key", key_json(put->key), "value",
			 bytes_json(put->value, put->len_bytes), "lease", number_json(put->lease));
}

static json_t *txn_json(const struct cfs_ctl_txn *txn)
{
	json_t *compares = json_array(), *puts = json_array();
	bool is_whole = true;

	for (uint32_t i = 0; i < txn->compares_count; i++)
		is_whole &= json_array_append_new(compares, compare_json(&txn->compares[i])) == 0;
	for (uint32_t i = 0; i < txn->puts_count; i++)
		is_whole &= json_array_append_new(puts, put_json(&txn->puts[i])) == 0;
	if (!is_whole) {
		json_decref(compares);
		json_decref(puts);
		return NULL;
	}
	return json_pack("{so so}", "compare", compares, "success", puts);
}

static int do_txn(struct job *job)
{
	json_t *answer = NULL;
	int rc = ask(job, "/v3/kv/txn", txn_json(job->txn), true, &answer);

	if (rc < 0)
		return rc;
	rc = rev_of(answer, &job->number);
	if (rc == 0 && !json_is_true(json_object_get(answer, "succeeded")))
		rc = json_object_get(answer, "succeeded") &&
				     !json_is_false(json_object_get(answer, "succeeded"))
			     ? -CFS_EBAD_FORMAT
			     : -ESTALE;
	json_decref(answer);
	/* It may have been carried out, whatever this says. */
	return answer_is_bad(job, rc) == -CFS_EBAD_FORMAT ? -EIO : rc;
}

/* --- what changed --- */

/* Ranges: keys changed since; keys of now; keys of then, unless there was no then. */
static json_t *changes_json(const char *prefix, uint64_t from_rev)
{
	json_t *changed = range_json(prefix, false), *now = range_json(prefix, false);
	json_t *then = range_json(prefix, false);
	bool is_whole = json_object_set_new(changed, "min_mod_revision", number_json(from_rev)) ==
			0;
	json_t *all = json_array();

	is_whole &= json_object_set_new(now, "keys_only", json_true()) == 0;
	is_whole &= json_object_set_new(then, "keys_only", json_true()) == 0;
	is_whole &= json_object_set_new(then, "revision", number_json(from_rev - 1)) == 0;
	is_whole &= json_array_append_new(all, json_pack("{so}", "request_range", changed)) == 0;
	is_whole &= json_array_append_new(all, json_pack("{so}", "request_range", now)) == 0;
	if (from_rev > 1)
		is_whole &= json_array_append_new(all, json_pack("{so}", "request_range", then)) ==
			    0;
	else
		json_decref(then);
	if (!is_whole) {
		json_decref(all);
		return NULL;
	}
	return json_pack("{so}", "success", all);
}

static int range_take(const json_t *responses, size_t i, struct cfs_ctl_list *out)
{
	return kvs_add(json_object_get(json_array_get(responses, i), "response_range"), out);
}

/* Adds to @out the keys of @then that are not in @now; both are sorted by key. */
static int gone_add(const struct cfs_ctl_list *then, const struct cfs_ctl_list *now,
		    struct cfs_ctl_list *out)
{
	uint32_t k = 0;
	int rc = 0;

	for (uint32_t i = 0; i < then->count && rc == 0; i++) {
		struct cfs_ctl_kv like = { .key = then->kvs[i].key, .rev = out->rev };

		while (k < now->count && strcmp(now->kvs[k].key, like.key) < 0)
			k++;
		if (k == now->count || strcmp(now->kvs[k].key, like.key) != 0)
			rc = cfs_ctl_list_add(out, &like, NULL);
	}
	return rc;
}

static int changes_take(const json_t *answer, bool has_then, struct cfs_ctl_list *out)
{
	const json_t *responses = json_object_get(answer, "responses");
	struct cfs_ctl_list now = { 0 }, then = { 0 };
	int rc = rev_of(answer, &out->rev);

	if (rc == 0)
		rc = range_take(responses, 0, out);
	if (rc == 0)
		rc = range_take(responses, 1, &now);
	if (rc == 0 && has_then)
		rc = range_take(responses, 2, &then);
	if (rc == 0)
		rc = gone_add(&then, &now, out);
	if (rc == 0)
		cfs_ctl_list_sort_by_rev(out);
	cfs_ctl_list_fini(&now);
	cfs_ctl_list_fini(&then);
	return rc;
}

static int do_changes(struct job *job)
{
	json_t *answer = NULL;
	int rc = ask(job, "/v3/kv/txn", changes_json(job->key, job->number), false, &answer);

	if (rc < 0)
		return rc;
	rc = changes_take(answer, job->number > 1, job->out);
	json_decref(answer);
	return answer_is_bad(job, rc);
}

/* Anything but "created" ends the stream: an event, a cancellation, an error, rubbish. @arg:
 * whether it was one of the last two. */
static bool wait_line(void *arg, const char *line, size_t len_bytes)
{
	json_t *json = json_loadb(line, len_bytes, 0, NULL);
	const json_t *result = json_object_get(json, "result");
	bool is_news = json_object_get(result, "events") || json_object_get(result, "canceled");
	bool is_created = json_is_true(json_object_get(result, "created"));
	bool *is_bad = arg;

	json_decref(json);
	*is_bad = !is_news && !is_created;
	return is_news || !is_created;
}

static int do_wait(struct job *job)
{
	bool is_bad = false;
	struct cfs_etcd_request req = {
		.path = "/v3/watch", .on_line = wait_line, .arg = &is_bad, .limit_ms = WAIT_MS
	};
	json_t *create = range_json(job->key, false), *body;
	char *text = NULL;
	int rc = -ENOMEM;

	if (create && json_object_set_new(create, "start_revision", number_json(job->number)) < 0) {
		json_decref(create);
		create = NULL;
	}
	body = json_pack("{so}", "create_request", create);
	if (body)
		text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (text) {
		req.body = text;
		rc = cfs_etcd_line_ask(job->line, &job->endpoint, &req);
		memcpy(job->why, req.why, sizeof(job->why));
	}
	free(text);
	return rc == 0 && is_bad ? -EIO : rc;
}

/* --- leases --- */

static int do_lease_grant(struct job *job)
{
	uint64_t seconds = (job->number + 999999999) / 1000000000;
	json_t *answer = NULL;
	int rc = ask(job, "/v3/lease/grant", json_pack("{so}", "TTL", number_json(seconds)), true,
		     &answer);

	if (rc < 0)
		return rc;
	rc = number_of(answer, "ID", &job->number);
	if (rc == 0 && job->number == 0)
		rc = -CFS_EBAD_FORMAT;
	json_decref(answer);
	return answer_is_bad(job, rc);
}

static int do_lease_keep(struct job *job)
{
	json_t *answer = NULL;
	uint64_t ttl = 0;
	int rc = ask(job, "/v3/lease/keepalive", json_pack("{so}", "ID", number_json(job->number)),
		     false, &answer);

	if (rc < 0)
		return rc;
	rc = json_object_get(answer, "result") ? 0 : -CFS_EBAD_FORMAT;
	if (rc == 0)
		rc = number_of(json_object_get(answer, "result"), "TTL", &ttl);
	json_decref(answer);
	return rc == 0 && ttl == 0 ? -ENOENT : answer_is_bad(job, rc);
}

static int do_lease_end(struct job *job)
{
	json_t *answer = NULL;
	int rc = ask(job, "/v3/lease/revoke", json_pack("{so}", "ID", number_json(job->number)),
		     false, &answer);

	json_decref(answer);
	return rc == -ENOENT ? 0 : rc;
}

/* --- the fiber's side --- */

static int job_run(void *arg)
{
	struct job *job = arg;

	return job->fn(job);
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void job_wait(void *arg)
{
	struct job *job = arg;

	job->rc = cfs_offload(job_run, job);
	cfs_done_complete(&job->done, 0);
}

static int line_take(struct etcd *e, struct cfs_etcd_line **out)
{
	if (e->idle_count == 0)
		return cfs_etcd_line_create(&e->conf, out);
	*out = e->idle[--e->idle_count];
	return 0;
}

static void line_give(struct etcd *e, struct cfs_etcd_line *line)
{
	if (e->idle_count < LINES_IDLE_MAX)
		e->idle[e->idle_count++] = line;
	else
		cfs_etcd_line_destroy(line);
}

CFS_AWAITS static int submit(struct job *job)
{
	struct etcd *e = job->e;
	struct cfs_group g;
	int rc = line_take(e, &job->line);

	if (rc < 0)
		return rc;
	job->endpoint = e->endpoint;
	cfs_done_init(&job->done);
	cfs_group_init(&g);
	rc = cfs_group_start(&g, job_wait, job);
	if (rc < 0) {
		line_give(e, job->line);
		return rc;
	}
	rc = cfs_done_wait(&job->done);
	if (rc < 0)
		cfs_etcd_line_abort(job->line);
	cfs_group_join(&g);
	if (rc < 0) {
		cfs_etcd_line_destroy(job->line);
		return rc;
	}
	line_give(e, job->line);
	e->endpoint = job->endpoint;
	if (job->rc < 0 && job->why[0])
		memcpy(e->ctl.why, job->why, sizeof(e->ctl.why));
	return job->rc;
}

static struct etcd *etcd_of(struct cfs_ctl *ctl)
{
	return cfs_container_of(ctl, struct etcd, ctl);
}

CFS_AWAITS static int etcd_list(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
				struct cfs_ctl_list *out)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_list, .key = prefix, .out = out };

	job.is_exact = is_exact;
	return submit(&job);
}

CFS_AWAITS static int etcd_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn,
			       uint64_t *rev_out)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_txn, .txn = txn };
	int rc = submit(&job);

	if (rc == 0)
		*rev_out = job.number;
	return rc;
}

CFS_AWAITS static int etcd_changes(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				   struct cfs_ctl_list *out)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_changes, .key = prefix, .out = out };

	job.number = from_rev;
	return submit(&job);
}

CFS_AWAITS static int etcd_wait(struct cfs_ctl *ctl, const char *prefix, uint64_t rev)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_wait, .key = prefix, .number = rev };
	int rc = submit(&job);

	if (rc == 0 || rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ENOMEM)
		return rc;
	/* Without a stream we are no better than a look now and then. */
	return cfs_sleep_ns(WAIT_FAILED_NS);
}

CFS_AWAITS static int etcd_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_lease_grant, .number = ttl_ns };
	int rc = submit(&job);

	if (rc == 0)
		*lease_out = job.number;
	return rc;
}

CFS_AWAITS static int etcd_lease_keep(struct cfs_ctl *ctl, uint64_t lease)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_lease_keep, .number = lease };

	return submit(&job);
}

CFS_AWAITS static int etcd_lease_end(struct cfs_ctl *ctl, uint64_t lease)
{
	struct job job = { .e = etcd_of(ctl), .fn = do_lease_end, .number = lease };

	return submit(&job);
}

static int do_close(void *arg)
{
	struct etcd *e = arg;

	while (e->idle_count > 0)
		cfs_etcd_line_destroy(e->idle[--e->idle_count]);
	return 0;
}

CFS_AWAITS static void etcd_close(struct cfs_ctl *ctl)
{
	cfs_offload(do_close, etcd_of(ctl));
	free(etcd_of(ctl));
}

static const struct cfs_ctl_ops etcd_ops = {
	.name = "etcd",
	.list = etcd_list,
	.txn = etcd_txn,
	.changes = etcd_changes,
	.wait = etcd_wait,
	.lease_grant = etcd_lease_grant,
	.lease_keep = etcd_lease_keep,
	.lease_end = etcd_lease_end,
	.close = etcd_close,
};

struct open_job {
	struct etcd *e;
	const char *urls, *secrets;
	char *why;
	uint32_t why_bytes;
};

static int do_open(void *arg)
{
	struct open_job *job = arg;

	return cfs_etcd_conf_read(job->urls, job->secrets, &job->e->conf, job->why, job->why_bytes);
}

CFS_AWAITS int cfs_ctl_open_etcd(const char *urls, const char *secrets, struct cfs_ctl **out,
				 char *why_out, uint32_t why_bytes)
{
	struct open_job job = { calloc(1, sizeof(*job.e)), urls, secrets, why_out, why_bytes };
	int rc = job.e ? cfs_offload(do_open, &job) : -ENOMEM;

	if (rc < 0) {
		free(job.e);
		return rc;
	}
	job.e->ctl.ops = &etcd_ops;
	*out = &job.e->ctl;
	return 0;
}
