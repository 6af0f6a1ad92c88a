#include "lib/etcd_cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEADER_TRIES 400
#define LEADER_PAUSE_US 50000

/* A port that was free a moment ago. All are held until all are found. */
static int port_take(int *fd_out)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	*fd_out = fd;
	return ntohs(addr.sin_port);
}

static int ports_take(struct etcd_cluster *c)
{
	int fds[2 * ETCD_MEMBERS_MAX] = { 0 }, rc = 0;

	for (int i = 0; i < c->members && rc == 0; i++) {
		c->client_port[i] = port_take(&fds[2 * i]);
		c->peer_port[i] = port_take(&fds[2 * i + 1]);
		rc = c->client_port[i] < 0 || c->peer_port[i] < 0 ? -1 : 0;
	}
	for (int i = 0; rc == 0 && i < 2 * c->members; i++)
		close(fds[i]);
	return rc;
}

/* A certificate that is its own authority, for members and clients alike. It has no common name:
 * etcd's gateway refuses those that have one. */
static int tls_make(const struct etcd_cluster *c)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "mkdir %s/tls && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
		 "-nodes -days 2 -subj /O=test -addext subjectAltName=IP:127.0.0.1 "
		 "-keyout %s/tls/key.pem -out %s/tls/cert.pem 2>/dev/null && "
		 "cp %s/tls/cert.pem %s/tls/ca.pem",
		 c->dir, c->dir, c->dir, c->dir, c->dir);
	return system(command) == 0 ? 0 : -1;
}

static void url_write(const struct etcd_cluster *c, int i, char url[64])
{
	snprintf(url, 64, "http%s://127.0.0.1:%d", c->is_tls ? "s" : "", c->client_port[i]);
}

/* "m0=http://127.0.0.1:1,m1=..." */
static void peers_write(const struct etcd_cluster *c, char all[256])
{
	int len = 0;

	for (int i = 0; i < c->members; i++)
		len += snprintf(all + len, 256 - (size_t)len, "%sm%d=http://127.0.0.1:%d",
				i ? "," : "", i, c->peer_port[i]);
}

static void member_exec(struct etcd_cluster *c, int i)
{
	char name[8], dir[96], log[96], client[64], peer[64], all[256], cert[96], key[96], ca[96];
	int fd, last = 21;
	const char *args[32] = { "etcd",
				 "--name",
				 name,
				 "--data-dir",
				 dir,
				 "--listen-peer-urls",
				 peer,
				 "--initial-advertise-peer-urls",
				 peer,
				 "--listen-client-urls",
				 client,
				 "--advertise-client-urls",
				 client,
				 "--initial-cluster",
				 all,
				 "--heartbeat-interval=50",
				 "--election-timeout=300",
				 "--logger",
				 "zap",
				 "--log-level",
				 "error" };

	snprintf(name, sizeof(name), "m%d", i);
	snprintf(dir, sizeof(dir), "%s/%s", c->dir, name);
	snprintf(log, sizeof(log), "%s/%s.log", c->dir, name);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", c->peer_port[i]);
	snprintf(cert, sizeof(cert), "--cert-file=%s/tls/cert.pem", c->dir);
	snprintf(key, sizeof(key), "--key-file=%s/tls/key.pem", c->dir);
	snprintf(ca, sizeof(ca), "--trusted-ca-file=%s/tls/ca.pem", c->dir);
	url_write(c, i, client);
	peers_write(c, all);
	if (c->is_tls) {
		args[last++] = cert;
		args[last++] = key;
		args[last++] = ca;
		args[last++] = "--client-cert-auth";
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execvp("etcd", (char *const *)(uintptr_t)args);
	_exit(127);
}

int etcd_member_start(struct etcd_cluster *c, int i)
{
	c->pid[i] = fork();
	if (c->pid[i] == 0)
		member_exec(c, i);
	return c->pid[i] > 0 ? 0 : -1;
}

void etcd_member_kill(struct etcd_cluster *c, int i)
{
	if (c->pid[i] <= 0)
		return;
	kill(c->pid[i], SIGKILL);
	waitpid(c->pid[i], NULL, 0);
	c->pid[i] = 0;
}

int etcd_ctl(struct etcd_cluster *c, const char *args, char *out, int out_bytes)
{
	char command[512];
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command),
		 "cd %s && ETCDCTL_API=3 etcdctl --command-timeout=2s --endpoints=%s %s %s "
		 "2>/dev/null",
		 c->dir, c->urls,
		 c->is_tls ? "--cacert=tls/ca.pem --cert=tls/cert.pem --key=tls/key.pem" : "",
		 args);
	f = popen(command, "re");
	if (!f)
		return -1;
	len = fread(out, 1, (size_t)out_bytes - 1, f);
	out[len] = '\0';
	return pclose(f) == 0 ? 0 : -1;
}

/* One line a member: "URL, id, version, size, leads, ..." */
static int leader_in(const struct etcd_cluster *c, const char *status)
{
	for (int i = 0; i < c->members; i++) {
		char url[64];
		const char *line;
		int n = 0;

		url_write(c, i, url);
		line = strstr(status, url);
		while (line && n < 4) {
			line = strstr(line, ", ");
			line = line ? line + 2 : NULL;
			n++;
		}
		if (c->pid[i] > 0 && line && strncmp(line, "true", 4) == 0)
			return i;
	}
	return -1;
}

int etcd_leader(struct etcd_cluster *c)
{
	char status[1024];

	for (int i = 0; i < LEADER_TRIES; i++) {
		int leader;

		/* It says false when a member does not answer, and tells of the others. */
		etcd_ctl(c, "endpoint status", status, sizeof(status));
		leader = leader_in(c, status);
		if (leader >= 0)
			return leader;
		usleep(LEADER_PAUSE_US);
	}
	fprintf(stderr, "etcd has no leader; see %s\n", c->dir);
	return -1;
}

int etcd_cluster_start(struct etcd_cluster *c, int members, bool is_tls)
{
	char url[64];
	int rc;

	*c = (struct etcd_cluster){ .members = members, .is_tls = is_tls };
	if (system("command -v etcd etcdctl >/dev/null") != 0) {
		fprintf(stderr, "no etcd and etcdctl here; on Debian: etcd-server etcd-client\n");
		return -1;
	}
	/* In memory: a slow disk makes leaders change, which is not what is tried here. */
	strcpy(c->dir, "/dev/shm/cfs-test-etcd-XXXXXX");
	if (!mkdtemp(c->dir))
		return -1;
	rc = ports_take(c);
	for (int i = 0; i < members; i++) {
		url_write(c, i, url);
		snprintf(c->urls + strlen(c->urls), sizeof(c->urls) - strlen(c->urls), "%s%s",
			 i ? "," : "", url);
	}
	if (rc == 0 && is_tls)
		rc = tls_make(c);
	for (int i = 0; i < c->members && rc == 0; i++)
		rc = etcd_member_start(c, i);
	if (rc < 0)
		fprintf(stderr, "etcd cannot be started in %s\n", c->dir);
	return rc;
}

void etcd_cluster_stop(struct etcd_cluster *c)
{
	char command[96];

	for (int i = 0; i < c->members; i++)
		etcd_member_kill(c, i);
	if (!c->dir[0])
		return;
	snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", c->dir);
	if (system(command) != 0)
		fprintf(stderr, "%s is left\n", c->dir);
}
