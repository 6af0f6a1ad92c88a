/* fcntl(2) locks, open file description locks, flock(2): on one mount. */
#include "posix.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

static void between_processes(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));
		struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_SETLK, F_RDLCK, 15, 1));
		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_SETLK, F_WRLCK, 0, 0));
		OK(lock(other, F_SETLK, F_WRLCK, 0, 10));
		OK(lock(other, F_SETLK, F_WRLCK, 20, 0));
		OK(fcntl(other, F_GETLK, &l));
		CHECK_EQ(l.l_type, F_WRLCK);
		CHECK_EQ(l.l_start, 10);
		CHECK_EQ(l.l_len, 10);
		CHECK_EQ(l.l_pid, getppid());
	}
	/* They went with the child. */
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	OK(lock(fd, F_SETLK, F_UNLCK, 5, 5));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		OK(lock(other, F_SETLK, F_WRLCK, 5, 5));
		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_SETLK, F_WRLCK, 4, 1));
	}
	/* POSIX: closing any descriptor of the file drops the process's locks. */
	OK(close((int)OK(open("f", O_RDONLY))));
	IN_CHILD()
	{
		OK(lock((int)OK(open("f", O_RDWR)), F_SETLK, F_WRLCK, 0, 0));
	}
}

static void shared(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(lock(fd, F_SETLK, F_RDLCK, 0, 0));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		OK(lock(other, F_SETLK, F_RDLCK, 0, 0));
		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_SETLK, F_WRLCK, 0, 0));
	}
	FAILS(EBADF, lock(fd = (int)OK(open("f", O_RDONLY)), F_SETLK, F_WRLCK, 0, 0));
}

static void waiting(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), ends[2], status;
	pid_t pid;
	char c;

	OK(pipe(ends));
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		int other = (int)OK(open("f", O_RDWR));

		OK(write(ends[1], "r", 1));
		OK(lock(other, F_SETLKW, F_WRLCK, 0, 0));
		OK(write(ends[1], "g", 1));
		_exit(0);
	}
	OK(read(ends[0], &c, 1));
	posix_sleep_ms(100);
	OK(fcntl(ends[0], F_SETFL, O_NONBLOCK));
	FAILS(EAGAIN, read(ends[0], &c, 1));
	OK(fcntl(ends[0], F_SETFL, 0));
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	OK(read(ends[0], &c, 1));
	CHECK_EQ(c, 'g');
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	struct sigaction a = { .sa_handler = on_alarm };
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		OK(sigaction(SIGALRM, &a, NULL));
		alarm(1);
		FAILS(EINTR, lock(other, F_SETLKW, F_WRLCK, 0, 0));
		alarm(1);
		FAILS(EINTR, lock(other, F_OFD_SETLKW, F_WRLCK, 0, 0));
	}
	OK(flock(fd, LOCK_EX));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		OK(sigaction(SIGALRM, &a, NULL));
		alarm(1);
		FAILS(EINTR, flock(other, LOCK_EX));
	}
}

static void deadlock(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), status;
	pid_t pid;

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		int other = (int)OK(open("f", O_RDWR));

		OK(lock(other, F_SETLK, F_WRLCK, 1, 1));
		OK(lock(other, F_SETLKW, F_WRLCK, 0, 1));
		_exit(0);
	}
	posix_sleep_ms(300);
	FAILS(EDEADLK, lock(fd, F_SETLKW, F_WRLCK, 1, 1));
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
}

static void descriptions(void)
{
	int a = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), b = (int)OK(open("f", O_RDWR));

	OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 0));
	FAILS_EITHER(EAGAIN, EACCES, lock(b, F_OFD_SETLK, F_WRLCK, 0, 0));
	OK(close((int)OK(open("f", O_RDWR))));
	FAILS_EITHER(EAGAIN, EACCES, lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
	OK(close(a));
	OK(lock(b, F_OFD_SETLK, F_WRLCK, 0, 0));
}

static void whole_file(void)
{
	int a = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), b = (int)OK(open("f", O_RDONLY));

	OK(flock(a, LOCK_EX));
	FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(b, LOCK_SH | LOCK_NB));
	OK(flock(a, LOCK_SH));
	OK(flock(b, LOCK_SH | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
	OK(flock(a, LOCK_UN));
	OK(flock(b, LOCK_EX | LOCK_NB));
	OK(close(b));
	OK(flock(a, LOCK_EX | LOCK_NB));
	IN_CHILD()
	{
		/* An inherited descriptor is the same lock. */
		OK(flock(a, LOCK_EX | LOCK_NB));
		FAILS(EWOULDBLOCK, flock((int)OK(open("f", O_RDONLY)), LOCK_EX | LOCK_NB));
	}
}

static void count_up(void *arg, unsigned i)
{
	unsigned rounds = *(unsigned *)arg;
	int fd = (int)OK(open("f", O_RDWR));

	for (unsigned n = 0; n < rounds; n++) {
		uint64_t value;

		if (i % 2 == 0)
			OK(lock(fd, F_SETLKW, F_WRLCK, 0, 8));
		else
			OK(lock(fd, F_OFD_SETLKW, F_WRLCK, 0, 8));
		posix_read_all(fd, &value, 8, 0);
		value++;
		posix_write_all(fd, &value, 8, 0);
		OK(lock(fd, i % 2 == 0 ? F_SETLK : F_OFD_SETLK, F_UNLCK, 0, 8));
	}
}

static void counter(void)
{
	unsigned rounds = posix_count(200, 3000);
	uint64_t value = 0;
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_write_all(fd, &value, 8, 0);
	posix_children(4, count_up, &rounds);
	posix_read_all(fd, &value, 8, 0);
	CHECK_EQ(value, 4ull * rounds);
}

const struct posix_case lock_cases[] = {
	{ "lock_fcntl", "fcntl(2): F_SETLK, F_GETLK, ranges, released at exit and close",
	  between_processes },
	{ "lock_fcntl_shared", "fcntl(2): F_RDLCK; EBADF", shared },
	{ "lock_fcntl_wait", "fcntl(2): F_SETLKW", waiting },
	{ "lock_fcntl_interrupt", "fcntl(2): EINTR", interrupted },
	{ "lock_fcntl_deadlock", "fcntl(2): EDEADLK", deadlock },
	{ "lock_ofd", "fcntl(2): F_OFD_SETLK", descriptions },
	{ "lock_flock", "flock(2)", whole_file },
	{ "lock_counter", "four processes count under a lock, each reading what was written last",
	  counter },
	{ 0 },
};
