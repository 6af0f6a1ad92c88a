#include "cli/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

#define CLAIMS_DIR "/run/claudefs"

int cli_path_resolve(const char *path, char **out)
{
	CFS_CLEANUP(cfs_free_p) char *text = strdup(path);
	CFS_CLEANUP(cfs_free_p) char *parent = NULL;
	const char *name;
	char *slash;
	size_t len;

	if (!text)
		return -ENOMEM;
	for (len = strlen(text); len > 1 && text[len - 1] == '/'; len--)
		text[len - 1] = '\0';
	*out = realpath(text, NULL); /* it asks no mounted file system about its root */
	if (*out)
		return 0;
	slash = strrchr(text, '/');
	name = slash ? slash + 1 : text;
	if (errno != ENOENT || !*name || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
		return -errno;
	if (slash)
		*slash = '\0';
	parent = realpath(!slash ? "." : slash == text ? "/" : text, NULL);
	if (!parent)
		return -errno;
	if (asprintf(out, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name) < 0)
		return -ENOMEM;
	return 0;
}

/* Undoes the \040 that the kernel writes for a blank. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] && p[3]) {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /dir options [tags...] - type source options" */
static bool parse_line(char *line, struct cli_mount *out)
{
	char *fields[6], *save = NULL, *tail = strstr(line, " - ");
	char *type, *source;

	if (!tail)
		return false;
	*tail = '\0';
	for (size_t i = 0; i < CFS_ARRAY_COUNT(fields); i++) {
		fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (!fields[i])
			return false;
	}
	type = strtok_r(tail + 3, " ", &save);
	source = strtok_r(NULL, " ", &save);
	if (!type || !source)
		return false;
	unescape(fields[4]);
	unescape(source);
	return cfs_str_copy(out->device, sizeof(out->device), fields[2]) &&
	       cfs_str_copy(out->dir, sizeof(out->dir), fields[4]) &&
	       cfs_str_copy(out->type, sizeof(out->type), type) &&
	       cfs_str_copy(out->source, sizeof(out->source), source);
}

int cli_mount_find(const char *dir, struct cli_mount **out)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = malloc(2 * sizeof(*m));
	CFS_CLEANUP(cfs_free_p) char *line = NULL;
	size_t room = 0;
	int found = 0;

	if (!f)
		return -errno;
	while (m && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!parse_line(line, &m[1]) || strcmp(m[1].dir, dir) != 0)
			continue;
		found = 1; /* a later one lies on top */
		m[0] = m[1];
	}
	fclose(f);
	if (!m)
		return -ENOMEM;
	if (found)
		*out = CFS_STEAL(m);
	return found;
}

bool cli_mount_is_ours(const struct cli_mount *m)
{
	return strcmp(m->type, "fuse.claudefs") == 0 || strcmp(m->type, "claudefs") == 0;
}

static int pidfd_open(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

int cli_mount_probe(const char *dir, uint32_t timeout_ms)
{
	struct pollfd p = { .events = POLLIN };
	struct statfs st;
	int status = 0, n;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(statfs(dir, &st) == 0 ? 0 : errno & 0xff);
	p.fd = pidfd_open(pid);
	n = p.fd < 0 ? 0 : poll(&p, 1, (int)timeout_ms);
	if (p.fd >= 0)
		close(p.fd);
	if (n <= 0)
		kill(pid, SIGKILL); /* a FUSE request that waits can be killed */
	waitpid(pid, &status, 0);
	if (n <= 0 || !WIFEXITED(status))
		return -ETIMEDOUT;
	return -WEXITSTATUS(status);
}

static void claim_path(const char *device, char path[64])
{
	snprintf(path, 64, CLAIMS_DIR "/%.31s", device);
}

int cli_mount_claim(const char *dir)
{
	CFS_CLEANUP(cfs_free_p) struct cli_mount *m = NULL;
	char path[64], text[32];
	int fd, len;

	if (cli_mount_find(dir, &m) <= 0)
		return -ENOENT;
	if (mkdir(CLAIMS_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;
	claim_path(m->device, path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%d\n", getpid());
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || write(fd, text, (size_t)len) != len) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

void cli_mount_disclaim(const char *device)
{
	char path[64];

	claim_path(device, path);
	unlink(path);
}

int cli_mount_process(const struct cli_mount *m)
{
	char path[64], text[32] = "";
	uint64_t pid = 0;
	ssize_t got;
	bool is_held;
	int fd;

	claim_path(m->device, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -ESRCH;
	got = read(fd, text, sizeof(text) - 1);
	is_held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	if (got <= 0 || !is_held)
		return -ESRCH;
	text[strcspn(text, "\n")] = '\0';
	if (cfs_str_to_u64(text, &pid) < 0 || pid <= 1 || pid > INT32_MAX)
		return -ESRCH;
	return pidfd_open((pid_t)pid);
}
