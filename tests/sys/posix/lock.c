/* fcntl(2) locks, open file description locks, flock(2); the last cases on two mounts. */
#include "posix.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>
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

/* Soon, and again, should it come before the wait. */
static void alarm_soon(void)
{
	const struct itimerval soon = { { 0, 200000 }, { 0, 200000 } };

	OK(setitimer(ITIMER_REAL, &soon, NULL));
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
		alarm_soon();
		FAILS(EINTR, lock(other, F_SETLKW, F_WRLCK, 0, 0));
		alarm_soon();
		FAILS(EINTR, lock(other, F_OFD_SETLKW, F_WRLCK, 0, 0));
	}
	OK(flock(fd, LOCK_EX));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		OK(sigaction(SIGALRM, &a, NULL));
		alarm_soon();
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

/* Whether another process could have it, asked in one. */
static bool is_free(off_t start, off_t len)
{
	int status;
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		int fd = open("f", O_RDWR);

		_exit(fd < 0 ? 2 : lock(fd, F_SETLK, F_WRLCK, start, len) == 0 ? 0 : 1);
	}
	OK(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

static bool is_flock_free(int type)
{
	int fd = (int)OK(open("f", O_RDWR));
	int rc = flock(fd, type | LOCK_NB);

	CHECK(rc == 0 || errno == EWOULDBLOCK);
	OK(close(fd));
	return rc == 0;
}

/* What another process sees of the first lock at or behind @start. */
static void seen(off_t start, short type, off_t want_start, off_t want_len)
{
	IN_CHILD()
	{
		int fd = (int)OK(open("f", O_RDWR));
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start };

		OK(fcntl(fd, F_GETLK, &l));
		CHECK_EQ(l.l_type, type);
		if (type != F_UNLCK) {
			CHECK_EQ(l.l_start, want_start);
			CHECK_EQ(l.l_len, want_len);
			CHECK_EQ(l.l_pid, getppid());
		}
	}
}

static void pieces(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	seen(0, F_WRLCK, 0, 20);
	OK(lock(fd, F_SETLK, F_RDLCK, 5, 5));
	seen(0, F_WRLCK, 0, 5);
	seen(5, F_RDLCK, 5, 5);
	seen(10, F_WRLCK, 10, 10);
	OK(lock(fd, F_SETLK, F_UNLCK, 6, 2));
	seen(5, F_RDLCK, 5, 1);
	seen(6, F_RDLCK, 8, 2);
	CHECK(is_free(6, 2));
	CHECK(!is_free(5, 2));
	OK(lock(fd, F_SETLK, F_RDLCK, 0, 0));
	seen(0, F_RDLCK, 0, 0);
	OK(lock(fd, F_SETLK, F_UNLCK, 100, 0));
	seen(0, F_RDLCK, 0, 100);
	seen(100, F_UNLCK, 0, 0);
	/* Far behind the end of the file, and the last byte. */
	OK(lock(fd, F_SETLK, F_WRLCK, INT64_MAX, 1));
	CHECK(!is_free(INT64_MAX, 1));
	CHECK(is_free(INT64_MAX - 10, 10));
	FAILS_EITHER(EOVERFLOW, EINVAL, lock(fd, F_SETLK, F_WRLCK, INT64_MAX, 2));
	FAILS(EINVAL, lock(fd, F_SETLK, F_WRLCK, -1, 1));
}

/* All that a process holds of a file goes with any descriptor of it, however it came to that. */
static void any_close(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	char path[64];

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	OK(close((int)OK(dup(fd))));
	CHECK(is_free(0, 1));
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	CHECK(!is_free(0, 1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(close((int)OK(open(path, O_RDONLY))));
	CHECK(is_free(0, 1));
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	OK(link("f", "g"));
	OK(close((int)OK(open("g", O_RDONLY))));
	CHECK(is_free(0, 1));
	/* Through two opens it is one owner. */
	int second = (int)OK(open("f", O_RDWR));
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(lock(second, F_SETLK, F_RDLCK, 0, 5));
	OK(lock(second, F_SETLK, F_WRLCK, 20, 5));
	OK(close(fd));
	CHECK(is_free(0, 0));
	OK(lock(second, F_SETLK, F_WRLCK, 0, 10));
	CHECK(!is_free(0, 1));
	OK(close((int)OK(open("f", O_PATH))));
	CHECK(!is_free(0, 1));
	OK(dup2(0, second));
	CHECK(is_free(0, 0));
}

/* A child has none of its parent's, and what it closes are its own. */
static void forked(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	IN_CHILD()
	{
		FAILS_EITHER(EAGAIN, EACCES, lock(fd, F_SETLK, F_WRLCK, 0, 1));
		OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
		OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
		OK(close(fd));
	}
	CHECK(!is_free(0, 10));
	CHECK(is_free(10, 10));
	/* flock and OFD locks are of the description, which both have. */
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	OK(flock(fd, LOCK_EX));
	OK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	IN_CHILD()
	{
		OK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 20));
		OK(close(fd));
	}
	CHECK(!is_free(15, 1));
	CHECK(!is_flock_free(LOCK_SH));
	IN_CHILD()
	{
		OK(flock(fd, LOCK_UN));
		OK(lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
	}
	CHECK(is_free(0, 0));
	CHECK(is_flock_free(LOCK_EX));
}

/* They last until the last descriptor of the description, whoever has it. */
static void last_close(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), other = (int)OK(dup(fd)), ends[2];
	pid_t pid;
	int status;
	char c;

	OK(flock(fd, LOCK_EX));
	OK(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	OK(close((int)OK(open("f", O_RDWR))));
	OK(close(fd));
	CHECK(!is_flock_free(LOCK_SH));
	CHECK(!is_free(0, 1));
	OK(pipe(ends));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		close(ends[1]);
		_exit(read(ends[0], &c, 1) == 1 ? 0 : 1);
	}
	OK(close(other));
	CHECK(!is_flock_free(LOCK_SH));
	CHECK(!is_free(0, 1));
	OK(write(ends[1], "x", 1));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	CHECK(is_flock_free(LOCK_EX));
	CHECK(is_free(0, 0));
}

/* Runs cat(1) in place of a child that holds locks; true: they are there while it runs. */
static bool keeps_over_exec(int flags)
{
	int in[2], out[2], status;
	bool is_there;
	pid_t pid;
	char c;

	OK(pipe2(in, O_CLOEXEC));
	OK(pipe2(out, O_CLOEXEC));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		int fd = (int)OK(open("f", O_CREAT | O_RDWR | flags, 0644));

		OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
		OK(lock(fd, F_OFD_SETLK, F_WRLCK, 20, 10));
		OK(flock(fd, LOCK_EX));
		OK(dup2(in[0], 0));
		OK(dup2(out[1], 1));
		OK(execlp("cat", "cat", NULL));
	}
	OK(write(in[1], "x", 1));
	CHECK_EQ(OK(read(out[0], &c, 1)), 1);
	is_there = !is_free(0, 10);
	CHECK_EQ(is_there, !is_free(20, 10));
	CHECK_EQ(is_there, !is_flock_free(LOCK_EX));
	OK(close(in[1]));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	CHECK(is_free(0, 0));
	CHECK(is_flock_free(LOCK_EX));
	OK(close(in[0]));
	OK(close(out[0]));
	OK(close(out[1]));
	return is_there;
}

static void executed(void)
{
	CHECK(keeps_over_exec(0));
	CHECK(!keeps_over_exec(O_CLOEXEC));
}

/* Who is killed holds nothing, and gets nothing that it waited for. */
static void killed(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), ends[2], status;
	pid_t holder, waiter;
	char c;

	OK(pipe(ends));
	holder = (pid_t)OK(fork());
	if (holder == 0) {
		OK(lock((int)OK(open("f", O_RDWR)), F_SETLK, F_WRLCK, 0, 10));
		OK(flock((int)OK(open("f", O_RDWR)), LOCK_EX));
		OK(lock((int)OK(open("f", O_RDWR)), F_OFD_SETLK, F_WRLCK, 20, 10));
		OK(write(ends[1], "r", 1));
		pause();
	}
	OK(read(ends[0], &c, 1));
	waiter = (pid_t)OK(fork());
	if (waiter == 0) {
		int other = (int)OK(open("f", O_RDWR));

		OK(write(ends[1], "r", 1));
		lock(other, F_SETLKW, F_WRLCK, 0, 10);
		pause();
	}
	OK(read(ends[0], &c, 1));
	posix_sleep_ms(100);
	OK(kill(waiter, SIGKILL));
	OK(waitpid(waiter, &status, 0));
	CHECK(!is_free(0, 1));
	OK(kill(holder, SIGKILL));
	OK(waitpid(holder, &status, 0));
	CHECK(is_free(0, 0));
	OK(flock(fd, LOCK_EX | LOCK_NB));
}

/* A lock of another type is got by giving the first one up, for better or worse. */
static void converted(void)
{
	int a = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), b = (int)OK(open("f", O_RDWR));

	OK(flock(a, LOCK_SH));
	OK(flock(b, LOCK_SH));
	FAILS(EWOULDBLOCK, flock(a, LOCK_EX | LOCK_NB));
	OK(flock(b, LOCK_EX | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(a, LOCK_SH | LOCK_NB));
	OK(flock(b, LOCK_SH | LOCK_NB));
	OK(flock(a, LOCK_SH | LOCK_NB));
	/* Of a range a refused change leaves what was there. */
	OK(lock(a, F_OFD_SETLK, F_RDLCK, 0, 10));
	OK(lock(b, F_OFD_SETLK, F_RDLCK, 5, 10));
	FAILS_EITHER(EAGAIN, EACCES, lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	FAILS_EITHER(EAGAIN, EACCES, lock(b, F_OFD_SETLK, F_WRLCK, 5, 10));
	OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 5));
	FAILS_EITHER(EAGAIN, EACCES, lock(b, F_OFD_SETLK, F_RDLCK, 0, 10));
	/* flocks and the others are of no concern to each other. */
	OK(flock(b, LOCK_UN));
	OK(flock(a, LOCK_EX | LOCK_NB));
	OK(lock(b, F_OFD_SETLK, F_WRLCK, 10, 10));
}

/* Both kinds see each other; a cycle of waits of OFD locks is nobody's business. */
static void descriptions_and_processes(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	int a = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), b = (int)OK(open("f", O_RDWR)), status;
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	pid_t pid;

	OK(lock(a, F_SETLK, F_WRLCK, 0, 1));
	FAILS_EITHER(EAGAIN, EACCES, lock(a, F_OFD_SETLK, F_WRLCK, 0, 1));
	OK(fcntl(b, F_OFD_GETLK, &l));
	CHECK_EQ(l.l_type, F_WRLCK);
	CHECK_EQ(l.l_len, 1);
	OK(lock(a, F_SETLK, F_UNLCK, 0, 1));
	OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 1));
	OK(lock(b, F_OFD_SETLK, F_WRLCK, 1, 1));
	FAILS_EITHER(EAGAIN, EACCES, lock(a, F_SETLK, F_RDLCK, 0, 1));
	OK(sigaction(SIGALRM, &action, NULL));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		alarm_soon();
		FAILS(EINTR, lock(a, F_OFD_SETLKW, F_WRLCK, 1, 1));
		_exit(0);
	}
	alarm_soon();
	FAILS(EINTR, lock(b, F_OFD_SETLKW, F_WRLCK, 0, 1));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
}

/* The wait goes on after a signal whose handler asks for that. */
static void restarted(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), status;
	pid_t pid;

	OK(flock(fd, LOCK_EX));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		int other = (int)OK(open("f", O_RDWR));

		OK(sigaction(SIGUSR1, &action, NULL));
		OK(flock(other, LOCK_EX));
		_exit(0);
	}
	for (int n = 0; n < 3; n++) {
		posix_sleep_ms(100);
		OK(kill(pid, n ? SIGUSR1 : SIGCONT));
	}
	CHECK_EQ(OK(waitpid(pid, &status, WNOHANG)), 0);
	OK(flock(fd, LOCK_UN));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
}

/* By the other mount it is another open of the same file. */
static void on_second(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), other;
	const char *second = posix_second();

	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	OK(flock(fd, LOCK_SH));
	IN_CHILD()
	{
		struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

		OK(chdir(second));
		other = (int)OK(open("f", O_RDWR));
		OK(fcntl(other, F_GETLK, &l));
		CHECK_EQ(l.l_type, F_WRLCK);
		CHECK_EQ(l.l_start, 10);
		CHECK_EQ(l.l_len, 10);
		CHECK_EQ(l.l_pid, getppid());
		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_SETLK, F_RDLCK, 0, 11));
		FAILS_EITHER(EAGAIN, EACCES, lock(other, F_OFD_SETLK, F_RDLCK, 19, 1));
		OK(lock(other, F_SETLK, F_WRLCK, 0, 10));
		FAILS(EWOULDBLOCK, flock(other, LOCK_EX | LOCK_NB));
		OK(flock(other, LOCK_SH | LOCK_NB));
	}
	OK(close((int)OK(open("f", O_RDONLY))));
	IN_CHILD()
	{
		OK(chdir(second));
		other = (int)OK(open("f", O_RDWR));
		OK(lock(other, F_OFD_SETLK, F_WRLCK, 0, 0));
	}
}

static void count_on_both(void *arg, unsigned i)
{
	if (i % 4 >= 2)
		OK(chdir(posix_second()));
	count_up(arg, i);
}

static void second_counter(void)
{
	unsigned rounds = posix_count(50, 1000);
	uint64_t value = 0;
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_second();
	posix_write_all(fd, &value, 8, 0);
	posix_children(4, count_on_both, &rounds);
	posix_read_all(fd, &value, 8, 0);
	CHECK_EQ(value, 4ull * rounds);
}

static void cross(const char *dir, const char *first, const char *then)
{
	OK(chdir(dir));
	OK(lock((int)OK(open(first, O_RDWR)), F_SETLK, F_WRLCK, 0, 0));
	OK(lock((int)OK(open(then, O_RDWR)), F_SETLKW, F_WRLCK, 0, 0));
	_exit(0);
}

/* Over two mounts and files. */
static void second_deadlock(void)
{
	int a, b, status;
	const char *second = posix_second();
	pid_t pid;

	OK(mkdir("d", 0755));
	OK(close((int)OK(open("f", O_CREAT | O_RDWR, 0644))));
	OK(close((int)OK(open("d/g", O_CREAT | O_RDWR, 0644))));
	a = (int)OK(open("f", O_RDWR));
	OK(lock(a, F_SETLK, F_WRLCK, 0, 0));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(close(a));
		cross(second, "d/g", "f");
	}
	posix_sleep_ms(400);
	b = (int)OK(open("d/g", O_RDWR));
	FAILS(EDEADLK, lock(b, F_SETLKW, F_WRLCK, 0, 0));
	OK(close(a));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	OK(lock(b, F_SETLKW, F_WRLCK, 0, 0));
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
	{ "lock_fcntl_ranges", "fcntl(2): locks are split, joined, and change their type", pieces },
	{ "lock_fcntl_close", "fcntl(2): any close of the file releases the process's locks",
	  any_close },
	{ "lock_fork", "fork(2): locks of processes are not inherited, those of descriptions are",
	  forked },
	{ "lock_last_close", "flock(2), F_OFD_SETLK: released by the last close of the description",
	  last_close },
	{ "lock_exec", "execve(2): locks stay; with O_CLOEXEC they go", executed },
	{ "lock_kill", "locks go with a process that is killed, and so does its wait", killed },
	{ "lock_convert", "flock(2): a conversion is not atomic; fcntl(2): it is", converted },
	{ "lock_ofd_and_fcntl", "fcntl(2): both conflict; no deadlock detection for F_OFD_SETLKW",
	  descriptions_and_processes },
	{ "lock_restart", "signal(7): flock(2) is restarted with SA_RESTART", restarted },
	{ "lock_second", "a lock counts on a second mount", on_second },
	{ "lock_second_counter", "four processes on two mounts count under a lock",
	  second_counter },
	{ "lock_second_deadlock", "fcntl(2): EDEADLK, over two mounts and files", second_deadlock },
	{ "lock_counter", "four processes count under a lock, each reading what was written last",
	  counter },
	{ 0 },
};
