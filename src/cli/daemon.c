#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct report {
	int rc;
	char text[CLI_DAEMON_TEXT_BYTES];
};

_Static_assert(sizeof(struct report) <= PIPE_BUF, "a report is one write");

static int become_background(void)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (setsid() < 0 || chdir("/") < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null_fd, fd) < 0)
			return -errno;
	close(null_fd);
	return 0;
}

static int wait_for_report(int fd, pid_t pid, char text[CLI_DAEMON_TEXT_BYTES])
{
	struct report r;
	ssize_t got;

	do
		got = read(fd, &r, sizeof(r));
	while (got < 0 && errno == EINTR);
	close(fd);
	if (got == (ssize_t)sizeof(r)) {
		r.text[sizeof(r.text) - 1] = '\0';
		memcpy(text, r.text, sizeof(r.text));
		if (r.rc < 0)
			waitpid(pid, NULL, 0);
		return r.rc;
	}
	waitpid(pid, NULL, 0);
	return -EIO;
}

int cli_daemon_fork(struct cli_daemon *d, char text[CLI_DAEMON_TEXT_BYTES])
{
	int fds[2], rc;
	pid_t pid;

	text[0] = '\0';
	fflush(stdout);
	fflush(stderr);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (pid > 0) {
		close(fds[1]);
		return wait_for_report(fds[0], pid, text);
	}
	close(fds[0]);
	d->fd = fds[1];
	rc = become_background();
	if (rc < 0) {
		cli_daemon_report(d, rc, strerror(-rc));
		_exit(1);
	}
	return 1;
}

bool cli_daemon_report(struct cli_daemon *d, int rc, const char *text)
{
	struct report r = { .rc = rc };
	ssize_t put;

	if (d->fd < 0)
		return true;
	snprintf(r.text, sizeof(r.text), "%s", text);
	put = write(d->fd, &r, sizeof(r));
	close(d->fd);
	d->fd = -1;
	return put == (ssize_t)sizeof(r);
}
