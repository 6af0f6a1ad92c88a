/*
 * The engine etcd where it is alone: members that die, fall silent or refuse us, and a peer that
 * answers what no etcd would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sanitizer.h"
#include "base/util.h"
#include "ctl/base64.h"
#include "ctl/ctl.h"
#include "lib/etcd_cluster.h"
#include "lib/test_fiber.h"

#define ENDLESS_BYTES (40u << 20)

static struct etcd_cluster cluster, tls;

static struct cfs_ctl *plane_open(const char *urls, const char *secrets)
{
	struct cfs_ctl *ctl = NULL;
	char why[256] = "";

	assert_int_equal(cfs_ctl_open_etcd(urls, secrets, &ctl, why, sizeof(why)), 0);
	return ctl;
}

static int put(struct cfs_ctl *ctl, const char *key, const char *value)
{
	struct cfs_ctl_put p = { .key = key, .value = value, .len_bytes = (uint32_t)strlen(value) };
	struct cfs_ctl_txn txn = { .puts = &p, .puts_count = 1 };

	return cfs_ctl_txn(ctl, &txn, NULL);
}

static int get(struct cfs_ctl *ctl, const char *key)
{
	struct cfs_ctl_list l = { 0 };
	int rc = cfs_ctl_get(ctl, key, &l);

	cfs_ctl_list_fini(&l);
	return rc;
}

CFS_TEST_FIBER(refuses_bad_names)
{
	static const char *const names[] = {
		"",
		"127.0.0.1:2379",
		"ftp://127.0.0.1:2379",
		"http://",
		"http://a:70000",
		"http://user:secret@a:1",
		"http://a:1/path",
		"http://a:1?x=y",
		"http://a:1,,http://b:1",
		"http://a b:1",
		"file:///etc/passwd",
		("http://1,http://2,http://3,http://4,http://5,http://6,http://7,http://8,http://9,"
		 "http://10"),
	};

	for (size_t i = 0; i < CFS_ARRAY_COUNT(names); i++) {
		struct cfs_ctl *ctl = NULL;
		char why[256] = "";

		assert_int_equal(cfs_ctl_open_etcd(names[i], NULL, &ctl, why, sizeof(why)),
				 -EINVAL);
		assert_null(ctl);
		assert_non_null(strstr(why, "etcd: "));
	}
}

/* --- a peer that answers what it is told to --- */

struct peer {
	pthread_t thread;
	int fd, port;
	const char *answer;
	const char *later; /* the answer from the third request on; NULL: the same */
	bool is_endless;   /* the answer, and then bytes without an end */
};

/* The head, and as much of a body as the head says. */
static void read_request(int fd)
{
	char text[8192];
	size_t len = 0, body = 0;
	const char *end = NULL, *length;

	while (len < sizeof(text) - 1 && (!end || len < (size_t)(end - text) + 4 + body)) {
		ssize_t got = read(fd, text + len, sizeof(text) - 1 - len);

		if (got <= 0)
			return;
		len += (size_t)got;
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		length = strcasestr(text, "content-length: ");
		body = length ? strtoul(length + 16, NULL, 10) : 0;
	}
}

static void *peer_main(void *arg)
{
	static const char filling[65536];
	struct peer *p = arg;
	int fd;

	for (int i = 0; (fd = accept(p->fd, NULL, NULL)) >= 0; i++) {
		const char *answer = p->later && i >= 2 ? p->later : p->answer;
		ssize_t left = p->is_endless ? ENDLESS_BYTES : 0;

		read_request(fd);
		if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			left = 0;
		while (left > 0) {
			ssize_t sent = send(fd, filling, sizeof(filling), MSG_NOSIGNAL);

			left = sent < 0 ? 0 : left - sent;
		}
		close(fd);
	}
	return NULL;
}

static struct cfs_ctl *peer_open(struct peer *p, const char *answer, const char *later,
				 bool is_endless)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	char url[64];

	*p = (struct peer){ .answer = answer, .later = later, .is_endless = is_endless };
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(p->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(p->fd, 8), 0);
	assert_int_equal(getsockname(p->fd, (struct sockaddr *)&addr, &len), 0);
	assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(addr.sin_port));
	return plane_open(url, NULL);
}

static void peer_close(struct peer *p, struct cfs_ctl *ctl)
{
	shutdown(p->fd, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->fd);
	cfs_ctl_close(ctl);
}

#define OK "HTTP/1.1 200 OK\r\n\r\n"
#define REV "{\"header\":{\"revision\":\"7\"},"

static const struct {
	const char *answer;
	int get_rc;
	const char *words;
} bad_answers[] = {
	{ "", -EIO, "127.0.0.1" },
	{ "SSH-2.0-OpenSSH_9.2\r\n", -EIO, "127.0.0.1" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"header\":", -EIO, "127.0.0.1" },
	{ OK, -CFS_EBAD_FORMAT, "no answer of etcd" },
	{ OK "hello", -CFS_EBAD_FORMAT, "no answer of etcd" },
	{ OK "[]", -CFS_EBAD_FORMAT, "no answer of etcd" },
	{ OK "{}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK "{\"header\":3}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK "{\"header\":{\"revision\":\"-7\"}}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK "{\"header\":{\"revision\":-7}}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK "{\"header\":{\"revision\":7.5}}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK "{\"header\":{\"revision\":\"99999999999999999999\"}}", -CFS_EBAD_FORMAT, "etcd's" },
	{ OK REV "\"kvs\":{}}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK REV "\"kvs\":[3]}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK REV "\"kvs\":[{\"key\":3}]}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK REV "\"kvs\":[{\"key\":\"L2sx*===\"}]}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK REV "\"kvs\":[{\"key\":\"AAAA\"}]}", -CFS_EBAD_FORMAT, "not etcd's" },
	{ OK REV "\"kvs\":[{\"key\":\"L2sx\",\"value\":\"A\"}]}", -CFS_EBAD_FORMAT, "etcd's" },
	{ OK REV "\"kvs\":[{\"key\":\"L2sx\",\"mod_revision\":[]}]}", -CFS_EBAD_FORMAT, "etcd's" },
	{ "HTTP/1.1 404 Not Found\r\n\r\n404 page not found\n", -CFS_EBAD_FORMAT, "HTTP 404" },
	{ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", -CFS_EBAD_FORMAT, "302" },
	{ "HTTP/1.1 401 No\r\n\r\n{\"error\":\"etcdserver: invalid auth token\",\"code\":16}",
	  -EACCES, "invalid auth token" },
	{ "HTTP/1.1 403 No\r\n\r\n{\"error\":\"etcdserver: permission denied\",\"code\":7}",
	  -EACCES, "permission denied" },
	{ "HTTP/1.1 429 No\r\n\r\n{\"error\":\"mvcc: database space exceeded\",\"code\":8}",
	  -ENOSPC, "space exceeded" },
	{ "HTTP/1.1 500 No\r\n\r\n{\"code\":[]}", -EIO, "without a reason" },
};

CFS_TEST_FIBER(bears_bad_answers)
{
	for (size_t i = 0; i < CFS_ARRAY_COUNT(bad_answers); i++) {
		struct cfs_ctl_watch *w = NULL;
		struct cfs_ctl_list l = { 0 };
		struct peer p;
		struct cfs_ctl *ctl = peer_open(&p, bad_answers[i].answer, NULL, false);
		uint64_t lease;

		assert_int_equal(get(ctl, "/k1"), bad_answers[i].get_rc);
		assert_non_null(strstr(cfs_ctl_why(ctl), bad_answers[i].words));
		assert_true(put(ctl, "/k1", "x") < 0);
		assert_true(cfs_ctl_lease_grant(ctl, 1000000000, &lease) < 0);
		assert_true(cfs_ctl_lease_keep(ctl, 5) < 0);
		assert_int_equal(cfs_ctl_watch_open(ctl, "/", 9, &w), 0);
		assert_true(cfs_ctl_watch_next(w, &l) < 0);
		assert_int_equal(l.count, 0);
		cfs_ctl_watch_close(w);
		peer_close(&p, ctl);
	}
}

CFS_TEST_FIBER(bears_a_deep_answer)
{
	static char answer[200000] = OK;
	struct cfs_ctl *ctl;
	struct peer p;

	memset(answer + strlen(answer), '[', sizeof(answer) - strlen(OK) - 1);
	ctl = peer_open(&p, answer, NULL, false);
	assert_int_equal(get(ctl, "/k1"), -CFS_EBAD_FORMAT);
	peer_close(&p, ctl);
}

CFS_TEST_FIBER(bears_an_endless_answer)
{
	struct peer p;
	struct cfs_ctl *ctl = peer_open(&p, OK, NULL, true);

	assert_int_equal(get(ctl, "/k1"), -CFS_EBAD_FORMAT);
	assert_non_null(strstr(cfs_ctl_why(ctl), "longer than any map"));
	peer_close(&p, ctl);
}

/* An answer that does not come means that it may have been carried out, and it is not tried again
 * elsewhere: the second address would have told. */
CFS_TEST_FIBER(changes_nothing_twice)
{
	char urls[256];
	struct peer p;
	struct cfs_ctl *ctl = peer_open(&p, "", NULL, false);
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(p.fd, (struct sockaddr *)&addr, &len), 0);
	snprintf(urls, sizeof(urls), "http://127.0.0.1:%d,%s", ntohs(addr.sin_port), cluster.urls);
	cfs_ctl_close(ctl);
	ctl = plane_open(urls, NULL);
	assert_int_equal(put(ctl, "/twice", "x"), -EIO);
	assert_int_equal(get(ctl, "/twice"), -ENOENT);
	assert_int_equal(put(ctl, "/twice", "x"), 0); /* now elsewhere */
	peer_close(&p, ctl);
	/* Nobody listens there: certainly not carried out. */
	ctl = plane_open(urls, NULL);
	assert_int_equal(put(ctl, "/twice", "y"), 0);
	cfs_ctl_close(ctl);
}

/* A member without a leader says so and has done nothing: even changes wait for the next one. Of
 * another trouble they cannot know. */
CFS_TEST_FIBER(waits_for_a_leader)
{
	static const char *const troubles[] = { "no leader", "leader changed" };

	for (int i = 0; i < 2; i++) {
		char answer[256];
		struct cfs_ctl *ctl;
		struct peer p;

		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 503 No\r\n\r\n{\"error\":\"etcdserver: %s\",\"code\":14}",
			 troubles[i]);
		ctl = peer_open(&p, answer, OK REV "\"succeeded\":true}", false);
		assert_int_equal(put(ctl, "/k", "x"), i == 0 ? 0 : -EIO);
		peer_close(&p, ctl);
	}
}

/* --- real members that fail --- */

static int find_leader(void *arg)
{
	(void)arg;
	return etcd_leader(&cluster);
}

/* A change whose answer is lost says so. */
static int put_soon(struct cfs_ctl *ctl, const char *key)
{
	int rc = -EIO;

	for (int i = 0; i < 200 && rc == -EIO; i++) {
		rc = put(ctl, key, "x");
		if (rc == -EIO)
			cfs_sleep_ns(50000000);
	}
	return rc;
}

static const char *url_of(int member)
{
	static char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d", cluster.client_port[member]);
	return url;
}

/* The leader falls silent, then wakes up; the next one is killed. Changes go on soon after. */
CFS_TEST_FIBER(goes_on_without_the_leader)
{
	int first = cfs_offload(find_leader, NULL), second = first;
	char urls[256];
	struct cfs_ctl *ctl;
	uint64_t before_ns = cfs_now_ns();
	int rc;

	assert_in_range(first, 0, cluster.members - 1);
	snprintf(urls, sizeof(urls), "%s,%s", url_of(first), cluster.urls);
	ctl = plane_open(urls, NULL);
	assert_int_equal(put_soon(ctl, "/before"), 0);
	kill(cluster.pid[first], SIGSTOP);
	rc = put(ctl, "/after", "x");
	assert_true(rc == -EIO || rc == 0); /* on a slow machine another may lead by now */
	assert_int_equal(put_soon(ctl, "/after"), 0);
	assert_int_equal(get(ctl, "/before"), 0);
	assert_true(cfs_now_ns() - before_ns < 20000000000);
	kill(cluster.pid[first], SIGCONT);
	for (int i = 0; i < 100 && (second == first || second < 0); i++) {
		assert_int_equal(cfs_sleep_ns(50000000), 0);
		second = cfs_offload(find_leader, NULL);
	}
	assert_in_range(second, 0, cluster.members - 1);
	etcd_member_kill(&cluster, second);
	/* What reads needs no second call, it waits for the next leader. */
	assert_int_equal(get(ctl, "/before"), 0);
	assert_int_equal(put_soon(ctl, "/later"), 0);
	assert_int_equal(get(ctl, "/after"), 0);
	assert_int_equal(etcd_member_start(&cluster, second), 0);
	cfs_ctl_close(ctl);
}

static int enable_auth(void *arg)
{
	char out[256];

	(void)arg;
	return etcd_ctl(&tls, "user add root:pw", out, sizeof(out)) == 0 &&
			       etcd_ctl(&tls, "user grant-role root root", out, sizeof(out)) == 0 &&
			       etcd_ctl(&tls, "auth enable", out, sizeof(out)) == 0
		       ? 0
		       : -EIO;
}

static int forget_tokens(void *arg)
{
	char out[256];

	(void)arg;
	return etcd_ctl(&tls, "--user root:pw auth disable", out, sizeof(out)) == 0 &&
			       etcd_ctl(&tls, "auth enable", out, sizeof(out)) == 0
		       ? 0
		       : -EIO;
}

static void write_user(const char *secrets, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/user", secrets);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

CFS_TEST_FIBER(shows_its_secrets)
{
	struct cfs_ctl *ctl = plane_open(tls.urls, NULL), *none = NULL;
	char secrets[96], why[256];

	/* The member's certificate is of nobody that the machine trusts. */
	assert_int_equal(get(ctl, "/k"), -EIO);
	assert_non_null(strstr(cfs_ctl_why(ctl), "certificate"));
	cfs_ctl_close(ctl);
	snprintf(secrets, sizeof(secrets), "%s/tls", tls.dir);
	ctl = plane_open(tls.urls, secrets);
	assert_int_equal(put(ctl, "/k", "x"), 0);
	assert_int_equal(cfs_offload(enable_auth, NULL), 0);
	assert_int_equal(get(ctl, "/k"), -EACCES);
	cfs_ctl_close(ctl);
	write_user(secrets, "root:wrong\n");
	ctl = plane_open(tls.urls, secrets);
	assert_int_equal(get(ctl, "/k"), -EACCES);
	cfs_ctl_close(ctl);
	write_user(secrets, "root:pw\n");
	ctl = plane_open(tls.urls, secrets);
	assert_int_equal(get(ctl, "/k"), 0);
	assert_int_equal(put(ctl, "/k", "y"), 0);
	/* It knows no token any more that it gave before. */
	assert_int_equal(cfs_offload(forget_tokens, NULL), 0);
	assert_int_equal(get(ctl, "/k"), 0);
	cfs_ctl_close(ctl);
	write_user(secrets, "nobody\n");
	assert_true(cfs_ctl_open_etcd(tls.urls, secrets, &none, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "name:password"));
	assert_int_equal(cfs_ctl_open_etcd(tls.urls, "/nowhere", &none, why, sizeof(why)), -ENOENT);
}

/* --- base64: the RFC's vectors, and what the encoder never writes --- */

static void base64_goes_both_ways(void **state)
{
	static const char *const vectors[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};
	static const char *const bad[] = {
		"Z",    "Zg",    "Zg=",  "Zg=a",     "Zh==",     "Zm9=",
		"=AAA", "Zm9v*", "Z m=", "Zg==Zg==", "Zm8=Zm8=", "===="
	};
	uint8_t out[64];
	char text[64];

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(vectors); i++) {
		size_t len = strlen(vectors[i][0]);

		cfs_base64_encode(vectors[i][0], len, text);
		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(cfs_base64_decode(text, strlen(text), out), len);
		assert_memory_equal(out, vectors[i][0], len);
	}
	for (size_t i = 0; i < CFS_ARRAY_COUNT(bad); i++)
		assert_int_equal(cfs_base64_decode(bad[i], strlen(bad[i]), out), -CFS_EBAD_FORMAT);
}

static int clusters_start(void **state)
{
	(void)state;
	return etcd_cluster_start(&cluster, 3, false) < 0 ||
			       etcd_cluster_start(&tls, 1, true) < 0 || etcd_leader(&cluster) < 0 ||
			       etcd_leader(&tls) < 0
		       ? -1
		       : 0;
}

static int clusters_stop(void **state)
{
	(void)state;
	etcd_cluster_stop(&cluster);
	etcd_cluster_stop(&tls);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_goes_both_ways),
		cmocka_unit_test(refuses_bad_names),
		cmocka_unit_test(bears_bad_answers),
		cmocka_unit_test(bears_a_deep_answer),
		cmocka_unit_test(bears_an_endless_answer),
		cmocka_unit_test(changes_nothing_twice),
		cmocka_unit_test(waits_for_a_leader),
#if !defined(CFS_ASAN)
		cmocka_unit_test(goes_on_without_the_leader),
#endif
		cmocka_unit_test(shows_its_secrets),
	};

	/* Seconds of waiting, and nothing that a sanitizer would see better. */
	(void)goes_on_without_the_leader;
	return cmocka_run_group_tests(tests, clusters_start, clusters_stop);
}
