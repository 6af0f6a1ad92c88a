/*
 * Locks for test_locks.sh, one thing a process:
 *
 *	count KIND FILE ROUNDS: adds 1 that often to the number in FILE, under a lock
 *	hold KIND TYPE FILE OFF LEN: waits for it, says "held", ends with SIGUSR1
 *	try KIND TYPE FILE OFF LEN: says "got" or the error
 *	wait KIND TYPE FILE OFF LEN MS: the same, waiting; a signal comes after MS (0: none)
 *	cross FILE FILE2: locks FILE, says "held"; with SIGUSR1 waits for FILE2, says "got" or the
 *		error
 *
 * KIND: flock, fcntl or ofd. TYPE: r or w. Locks that are got are kept to the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "locker: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* 0 or -errno. @type: r, w or u. */
static int lock(int fd, const char *kind, char type, int64_t off, int64_t len, int waits)
{
	struct flock l = { .l_type = type == 'r'   ? F_RDLCK
				     : type == 'w' ? F_WRLCK
						   : F_UNLCK,
			   .l_whence = SEEK_SET,
			   .l_start = off,
			   .l_len = len };
	int rc;

	if (strcmp(kind, "flock") == 0)
		rc = flock(fd, (type == 'r'   ? LOCK_SH
				: type == 'w' ? LOCK_EX
					      : LOCK_UN) |
				       (waits ? 0 : LOCK_NB));
	else if (strcmp(kind, "fcntl") == 0)
		rc = fcntl(fd, waits ? F_SETLKW : F_SETLK, &l);
	else
		rc = fcntl(fd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &l);
	return rc < 0 ? -errno : 0;
}

static int open_it(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

static void say(int rc)
{
	printf("%s\n", rc == 0 ? "got" : strerrorname_np(-rc));
	fflush(stdout);
}

static int count(const char *kind, const char *path, unsigned rounds)
{
	int fd = open_it(path);

	for (unsigned n = 0; n < rounds; n++) {
		uint64_t value = 0;

		if (lock(fd, kind, 'w', 0, 8, 1) < 0 || pread(fd, &value, 8, 0) < 0)
			die("count");
		value++;
		if (pwrite(fd, &value, 8, 0) != 8 || lock(fd, kind, 'u', 0, 8, 0) < 0)
			die("count");
	}
	return 0;
}

static void on_alarm(int sig)
{
	(void)sig;
}

static int wait_for(char **arg)
{
	struct sigaction action = { .sa_handler = on_alarm };
	unsigned ms = (unsigned)atoi(arg[5]);
	struct itimerval timer = { .it_value = { ms / 1000, (ms % 1000) * 1000 } };

	sigaction(SIGALRM, &action, NULL);
	if (ms)
		setitimer(ITIMER_REAL, &timer, NULL);
	say(lock(open_it(arg[2]), arg[0], arg[1][0], atoll(arg[3]), atoll(arg[4]), 1));
	return 0;
}

static void held(void)
{
	sigset_t set;
	int sig;

	puts("held");
	fflush(stdout);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigwait(&set, &sig);
}

static int cross(const char *path, const char *path2)
{
	int fd = open_it(path), fd2 = open_it(path2);

	if (lock(fd, "fcntl", 'w', 0, 0, 1) < 0)
		die(path);
	held();
	say(lock(fd2, "fcntl", 'w', 0, 0, 1));
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char **arg = argv + 2;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);

	if (strcmp(what, "count") == 0 && argc == 5)
		return count(arg[0], arg[1], (unsigned)atoi(arg[2]));
	if (strcmp(what, "hold") == 0 && argc == 7) {
		if (lock(open_it(arg[2]), arg[0], arg[1][0], atoll(arg[3]), atoll(arg[4]), 1) < 0)
			die("hold");
		held();
		return 0;
	}
	if (strcmp(what, "try") == 0 && argc == 7) {
		say(lock(open_it(arg[2]), arg[0], arg[1][0], atoll(arg[3]), atoll(arg[4]), 0));
		return 0;
	}
	if (strcmp(what, "wait") == 0 && argc == 8)
		return wait_for(arg);
	if (strcmp(what, "cross") == 0 && argc == 4)
		return cross(arg[0], arg[1]);
	fprintf(stderr, "locker: see its source\n");
	return 2;
}
