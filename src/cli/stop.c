#include "cli/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/reactor.h"

static void stop_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
}

int cli_stop_open(void)
{
	sigset_t set;
	int fd;

	stop_set(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void cli_stop_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

CFS_AWAITS int cli_stop_wait(int fd)
{
	struct signalfd_siginfo info;
	sigset_t set;

	for (;;) {
		int rc = cfs_io_poll(fd, POLLIN);

		if (rc < 0)
			return rc;
		if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			break;
	}
	stop_set(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return 0;
}
