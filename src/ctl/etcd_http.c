/*
 * Happy path: one POST, one JSON object.
 *
 * Failures: each try of an endpoint ends in one of four ways. DONE: it answered. FINAL: it answered
 * that the request is wrong. NOT_DONE: the request was certainly not carried out, so anybody may go
 * on with the next endpoint. UNSURE: who only reads may. When all have been tried, another round
 * begins only if somebody was there and may wait for a leader, and the time is not over: where
 * nobody is at all, the caller knows better than we how long to wait.
 *
 * A line is used by one thread at a time; is_aborted and the wake-up of curl are what others touch.
 */
#include "ctl/etcd_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#define CONNECT_MS 1000
#define ANSWER_MS 2000
#define ROUNDS_MS 8000 /* of all tries together, unless the last one takes longer */
#define PAUSE_US 100000
#define POLL_MS 1000
#define TOKEN_BYTES 1024u
#define START_BYTES 96u

/* Of google.golang.org/grpc/codes. */
enum {
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

enum outcome { DONE, FINAL, NOT_DONE, UNSURE };

struct cfs_etcd_line {
	const struct cfs_etcd_conf *conf;
	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	atomic_bool is_aborted;
	char error[CURL_ERROR_SIZE];
	char token[TOKEN_BYTES]; /* of our user; "": none yet */
	/* The answer so far; of a stream: its line so far. */
	char *text;
	size_t len, room;
	bool is_too_long, is_enough;
	struct cfs_etcd_request *req;
	/* Of the running request. */
	bool waits_for_leader;
	int rc;
};

/* --- configuration --- */

static bool url_is_valid(const char *url)
{
	CURLU *u = curl_url();
	char *path = NULL, *user = NULL, *query = NULL, *scheme = NULL;
	bool is_valid = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
			curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
			curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
			strcmp(path, "/") == 0 &&
			curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK &&
			curl_url_get(u, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
			(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

	curl_free(path);
	curl_free(user);
	curl_free(query);
	curl_free(scheme);
	curl_url_cleanup(u);
	return is_valid;
}

static int urls_read(const char *urls, struct cfs_etcd_conf *conf, char *why, uint32_t why_bytes)
{
	while (*urls) {
		size_t len = strcspn(urls, ",");
		char *url = conf->url[conf->urls_count];

		if (conf->urls_count == CFS_CTL_ETCD_URLS_MAX) {
			snprintf(why, why_bytes, "etcd: more than %u addresses",
				 CFS_CTL_ETCD_URLS_MAX);
			return -EINVAL;
		}
		snprintf(url, CFS_ETCD_URL_BYTES, "%.*s", (int)CFS_MIN(len, CFS_ETCD_URL_BYTES - 1),
			 urls);
		if (len >= CFS_ETCD_URL_BYTES || !url_is_valid(url)) {
			snprintf(why, why_bytes,
				 "etcd: '%.100s' is no address; it is etcd:http://HOST:PORT,...",
				 url);
			return -EINVAL;
		}
		if (url[len - 1] == '/')
			url[len - 1] = '\0';
		conf->urls_count++;
		urls += len + (urls[len] == ',');
	}
	if (conf->urls_count > 0)
		return 0;
	snprintf(why, why_bytes, "etcd: no address given; it is etcd:http://HOST:PORT,...");
	return -EINVAL;
}

/* The path of a file that is there, or "". */
static int secret_path(const char *secrets, const char *name, char out[CFS_ETCD_PATH_BYTES])
{
	int len = snprintf(out, CFS_ETCD_PATH_BYTES, "%s/%s", secrets, name);

	if (len >= (int)CFS_ETCD_PATH_BYTES)
		return -ENAMETOOLONG;
	if (access(out, R_OK) == 0)
		return 0;
	out[0] = '\0';
	return errno == ENOENT ? 0 : -errno;
}

static int user_read(const char *path, struct cfs_etcd_conf *conf)
{
	FILE *f = fopen(path, "re");
	char line[sizeof(conf->user) + sizeof(conf->password)] = "", *colon;

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	colon = strchr(line, ':');
	if (!colon || colon == line)
		return -CFS_EBAD_FORMAT;
	*colon = '\0';
	if (!cfs_str_copy(conf->user, sizeof(conf->user), line) ||
	    !cfs_str_copy(conf->password, sizeof(conf->password), colon + 1))
		return -CFS_EBAD_FORMAT;
	return 0;
}

static int secrets_read(const char *secrets, struct cfs_etcd_conf *conf)
{
	char user[CFS_ETCD_PATH_BYTES];
	int rc = access(secrets, X_OK) == 0 ? 0 : -errno;

	if (rc == 0)
		rc = secret_path(secrets, "ca.pem", conf->ca);
	if (rc == 0)
		rc = secret_path(secrets, "cert.pem", conf->cert);
	if (rc == 0)
		rc = secret_path(secrets, "key.pem", conf->key);
	if (rc == 0)
		rc = secret_path(secrets, "user", user);
	return rc == 0 && user[0] ? user_read(user, conf) : rc;
}

int cfs_etcd_conf_read(const char *urls, const char *secrets, struct cfs_etcd_conf *conf, char *why,
		       uint32_t why_bytes)
{
	int rc = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM;

	memset(conf, 0, sizeof(*conf));
	if (rc < 0) {
		snprintf(why, why_bytes, "etcd: %s", cfs_err_text(rc));
		return rc;
	}
	rc = urls_read(urls, conf, why, why_bytes);
	if (rc < 0 || !secrets || !secrets[0])
		return rc;
	rc = secrets_read(secrets, conf);
	if (rc < 0)
		snprintf(why, why_bytes,
			 "control_secrets %.100s: %s; it is a folder with ca.pem, cert.pem, "
			 "key.pem, user (name:password)",
			 secrets, cfs_err_text(rc));
	return rc;
}

/* --- what comes in --- */

static bool text_append(struct cfs_etcd_line *line, const char *data, size_t len)
{
	size_t room = line->room ? line->room : 4096;
	char *text = line->text;

	if (len >= CFS_ETCD_ANSWER_BYTES_MAX - line->len) {
		line->is_too_long = true;
		return false;
	}
	while (room < line->len + len + 1)
		room *= 2;
	if (room != line->room) {
		text = realloc(line->text, room);
		if (!text)
			return false;
		line->text = text;
		line->room = room;
	}
	memcpy(text + line->len, data, len);
	line->len += len;
	text[line->len] = '\0';
	return true;
}

/* Hands out the whole lines that there are. */
static void lines_take(struct cfs_etcd_line *line)
{
	char *end;

	while (!line->is_enough && line->len > 0 && (end = memchr(line->text, '\n', line->len))) {
		size_t used = (size_t)(end - line->text);

		line->is_enough = line->req->on_line(line->req->arg, line->text, used);
		memmove(line->text, end + 1, line->len - used - 1);
		line->len -= used + 1;
	}
}

/* Called by curl. Anything but @count ends the transfer. */
static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct cfs_etcd_line *line = arg;

	if (!text_append(line, data, size * count))
		return 0;
	if (line->req->on_line)
		lines_take(line);
	return line->is_enough ? 0 : count;
}

/* --- one try --- */

static void say(struct cfs_etcd_line *line, const char *url, const char *text)
{
	snprintf(line->req->why, sizeof(line->req->why), "%.100s: %.140s", url, text);
}

/* Whether curl was happy. @was_sent_out: the request may have reached somebody. */
static CURLcode transfer(struct cfs_etcd_line *line, bool *was_sent_out)
{
	CURLcode result = CURLE_OUT_OF_MEMORY;
	curl_off_t sent_us = 0;
	int running = 1, left;
	CURLMsg *msg;

	if (curl_multi_add_handle(line->multi, line->easy) != CURLM_OK)
		return result;
	while (!atomic_load(&line->is_aborted)) {
		if (curl_multi_perform(line->multi, &running) != CURLM_OK)
			break;
		msg = curl_multi_info_read(line->multi, &left);
		if (msg && msg->msg == CURLMSG_DONE)
			result = msg->data.result;
		if (msg || running == 0)
			break;
		curl_multi_poll(line->multi, NULL, 0, POLL_MS, NULL);
	}
	curl_easy_getinfo(line->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	*was_sent_out = sent_us != 0;
	curl_multi_remove_handle(line->multi, line->easy);
	return result;
}

/* What the member says about a request that it refuses. */
static enum outcome refused(struct cfs_etcd_line *line, const char *url, const json_t *answer)
{
	const char *text = json_string_value(json_object_get(answer, "message"));
	json_int_t code = json_integer_value(json_object_get(answer, "code"));

	if (!text)
		text = json_string_value(json_object_get(answer, "error"));
	say(line, url, text ? text : "refused, without a reason");
	switch (code) {
	case GRPC_NOT_FOUND:
		line->rc = -ENOENT;
		return FINAL;
	case GRPC_OUT_OF_RANGE:
		line->rc = -ESTALE;
		return FINAL;
	case GRPC_PERMISSION_DENIED:
		line->rc = -EACCES;
		return FINAL;
	case GRPC_UNAUTHENTICATED:
		line->rc = -EACCES;
		/* Tokens live for minutes: the next try gets another one. */
		if (!line->token[0])
			return FINAL;
		line->token[0] = '\0';
		return NOT_DONE;
	case GRPC_RESOURCE_EXHAUSTED:
		line->rc = -ENOSPC;
		return FINAL;
	case GRPC_INVALID_ARGUMENT:
		line->rc = text && strstr(text, "too large")            ? -EMSGSIZE
			   : text && strstr(text, "user name is empty") ? -EACCES
									: -EINVAL;
		return FINAL;
	case GRPC_FAILED_PRECONDITION:
		line->rc = -EACCES;
		return FINAL;
	default:
		line->rc = -EIO;
		line->waits_for_leader |= code == GRPC_UNAVAILABLE;
		return text && strcmp(text, "etcdserver: no leader") == 0 ? NOT_DONE : UNSURE;
	}
}

/* The first words of whatever came, for people. */
static void text_start(const struct cfs_etcd_line *line, char start[START_BYTES])
{
	size_t len = 0;

	while (len < START_BYTES - 1 && len < line->len && line->text[len] >= ' ' &&
	       line->text[len] <= '~') {
		start[len] = line->text[len];
		len++;
	}
	start[len] = '\0';
}

/* The transfer went well: is it an answer of etcd? */
static enum outcome judge(struct cfs_etcd_line *line, const char *url)
{
	json_t *answer = json_loadb(line->text ? line->text : "", line->len, 0, NULL);
	char start[START_BYTES], text[START_BYTES + 64];
	long status = 0;
	enum outcome outcome;

	curl_easy_getinfo(line->easy, CURLINFO_RESPONSE_CODE, &status);
	if (!json_is_object(answer) || (status != 200 && !json_object_get(answer, "code"))) {
		json_decref(answer);
		text_start(line, start);
		snprintf(text, sizeof(text), "HTTP %ld and no answer of etcd%s%s", status,
			 start[0] ? ": " : "", start);
		say(line, url, text);
		line->rc = -CFS_EBAD_FORMAT;
		return UNSURE;
	}
	if (status == 200) {
		line->req->answer = answer;
		line->rc = 0;
		return DONE;
	}
	outcome = refused(line, url, answer);
	json_decref(answer);
	return outcome;
}

static bool headers_set(struct cfs_etcd_line *line)
{
	char token[TOKEN_BYTES + 32];
	struct curl_slist *more;

	curl_slist_free_all(line->headers);
	/* A member that is cut off says so instead of falling silent. No waiting for a 100. */
	line->headers = curl_slist_append(NULL, "Grpc-Metadata-hasleader: true");
	if (!line->headers)
		return false;
	more = curl_slist_append(line->headers, "Expect:");
	if (more && line->token[0]) {
		snprintf(token, sizeof(token), "Authorization: %s", line->token);
		more = curl_slist_append(line->headers, token);
	}
	return more && curl_easy_setopt(line->easy, CURLOPT_HTTPHEADER, line->headers) == CURLE_OK;
}

static enum outcome try_post(struct cfs_etcd_line *line, const char *url)
{
	struct cfs_etcd_request *req = line->req;
	long limit_ms = req->on_line ? (long)req->limit_ms : ANSWER_MS;
	char full[CFS_ETCD_URL_BYTES + 64];
	bool was_sent_out = false;
	CURLcode result;

	line->len = 0;
	line->is_too_long = line->is_enough = false;
	line->error[0] = '\0';
	snprintf(full, sizeof(full), "%s%s", url, req->path);
	if (!headers_set(line) || curl_easy_setopt(line->easy, CURLOPT_URL, full) != CURLE_OK) {
		line->rc = -ENOMEM;
		return FINAL;
	}
	curl_easy_setopt(line->easy, CURLOPT_POSTFIELDS, req->body);
	curl_easy_setopt(line->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(req->body));
	curl_easy_setopt(line->easy, CURLOPT_TIMEOUT_MS, limit_ms);
	result = transfer(line, &was_sent_out);
	if (atomic_load(&line->is_aborted)) {
		line->rc = -ECANCELED;
		return FINAL;
	}
	line->rc = 0;
	if (req->on_line &&
	    (line->is_enough || (result == CURLE_OPERATION_TIMEDOUT && was_sent_out)))
		return DONE;
	if (result == CURLE_OK && !req->on_line)
		return judge(line, url);
	line->rc = line->is_too_long ? -CFS_EBAD_FORMAT : -EIO;
	/* Members without a leader may keep silent instead of saying so. */
	line->waits_for_leader |= result == CURLE_OPERATION_TIMEDOUT && was_sent_out;
	if (line->is_too_long)
		say(line, url, "an answer longer than any map");
	else if (result == CURLE_OK)
		say(line, url, "the stream ended");
	else
		say(line, url, line->error[0] ? line->error : curl_easy_strerror(result));
	return was_sent_out ? UNSURE : NOT_DONE;
}

/* Gets a token for our user. */
static enum outcome authenticate(struct cfs_etcd_line *line, const char *url)
{
	struct cfs_etcd_request *req = line->req, auth = { .path = "/v3/auth/authenticate" };
	json_t *body = json_pack("{ss ss}", "name", line->conf->user, "password",
				 line->conf->password);
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	const char *token;
	enum outcome outcome;

	json_decref(body);
	if (!text) {
		line->rc = -ENOMEM;
		return FINAL;
	}
	auth.body = text;
	line->req = &auth;
	outcome = try_post(line, url);
	line->req = req;
	free(text);
	token = json_string_value(json_object_get(auth.answer, "token"));
	if (outcome == DONE && (!token || strpbrk(token, "\r\n") ||
				!cfs_str_copy(line->token, sizeof(line->token), token))) {
		say(line, url, "no token for our user");
		line->rc = -CFS_EBAD_FORMAT;
		outcome = NOT_DONE;
	} else if (outcome != DONE) {
		memcpy(req->why, auth.why, sizeof(req->why));
		/* It refuses the name or the password by this. */
		line->rc = line->rc == -EINVAL ? -EACCES : line->rc;
		outcome = outcome == UNSURE ? NOT_DONE : outcome;
	}
	json_decref(auth.answer);
	return outcome;
}

static enum outcome try_endpoint(struct cfs_etcd_line *line, const char *url)
{
	enum outcome outcome = DONE;

	/* Twice: a token may have run out. */
	for (int i = 0; i < 2; i++) {
		bool had_token = line->token[0];

		if (line->conf->user[0] && !had_token)
			outcome = authenticate(line, url);
		if (outcome == DONE)
			outcome = try_post(line, url);
		if (!had_token || line->token[0])
			break;
		outcome = DONE;
	}
	return outcome;
}

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int cfs_etcd_line_ask(struct cfs_etcd_line *line, uint32_t *endpoint, struct cfs_etcd_request *req)
{
	uint64_t end_ms = clock_ms() + ROUNDS_MS;
	uint32_t count = line->conf->urls_count;

	line->req = req;
	for (uint32_t tries = 0;; tries++) {
		uint32_t at = (*endpoint + tries) % count;
		enum outcome outcome = try_endpoint(line, line->conf->url[at]);

		if (outcome == DONE)
			*endpoint = at;
		if (outcome == DONE || outcome == FINAL)
			return line->rc;
		if (outcome == UNSURE && req->is_change) {
			*endpoint = (at + 1) % count;
			return -EIO;
		}
		if (tries % count != count - 1)
			continue;
		if (!line->waits_for_leader || clock_ms() >= end_ms)
			return line->rc;
		line->waits_for_leader = false;
		usleep(PAUSE_US);
	}
}

/* --- life --- */

int cfs_etcd_line_create(const struct cfs_etcd_conf *conf, struct cfs_etcd_line **out)
{
	struct cfs_etcd_line *line = calloc(1, sizeof(*line));

	if (!line)
		return -ENOMEM;
	line->conf = conf;
	line->easy = curl_easy_init();
	line->multi = curl_multi_init();
	if (!line->easy || !line->multi) {
		cfs_etcd_line_destroy(line);
		return -ENOMEM;
	}
	curl_easy_setopt(line->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(line->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(line->easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(line->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(line->easy, CURLOPT_ERRORBUFFER, line->error);
	curl_easy_setopt(line->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(line->easy, CURLOPT_WRITEDATA, line);
	if (conf->ca[0])
		curl_easy_setopt(line->easy, CURLOPT_CAINFO, conf->ca);
	if (conf->cert[0])
		curl_easy_setopt(line->easy, CURLOPT_SSLCERT, conf->cert);
	if (conf->key[0])
		curl_easy_setopt(line->easy, CURLOPT_SSLKEY, conf->key);
	*out = line;
	return 0;
}

void cfs_etcd_line_destroy(struct cfs_etcd_line *line)
{
	if (!line)
		return;
	curl_easy_cleanup(line->easy);
	curl_multi_cleanup(line->multi);
	curl_slist_free_all(line->headers);
	free(line->text);
	free(line);
}

void cfs_etcd_line_abort(struct cfs_etcd_line *line)
{
	atomic_store(&line->is_aborted, true);
	curl_multi_wakeup(line->multi);
}
