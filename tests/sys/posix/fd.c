/* What every call on a descriptor says of one that is none, or not of its kind; signals; limits. */
#include "posix.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define PAGE 4096u

static char buf[PAGE];
/* What the compiler shall not see through. */
static void *volatile bad = (void *)1;
static volatile int minus = -1, too_many = 2000;
static volatile size_t too_large = 65537;
static const struct iovec one = { .iov_base = buf, .iov_len = 1 };

static long getdents(int fd)
{
	return syscall(SYS_getdents64, fd, buf, sizeof(buf));
}

static long map(int fd, int prot, int flags)
{
	return (long)(intptr_t)mmap(NULL, PAGE, prot, flags, fd, 0);
}

static void of_none(int fd)
{
	struct flock l = { .l_type = F_RDLCK };
	struct statfs fs;
	struct stat st;
	int pipe_ends[2];

	OK(pipe(pipe_ends));
	FAILS(EBADF, fstat(fd, &st));
	FAILS(EBADF, fchmod(fd, 0644));
	FAILS(EBADF, fchown(fd, 0, 0));
	FAILS(EBADF, futimens(fd, NULL));
	FAILS(EBADF, ftruncate(fd, 0));
	FAILS(EBADF, read(fd, buf, 1));
	FAILS(EBADF, pread(fd, buf, 1, 0));
	FAILS(EBADF, readv(fd, &one, 1));
	FAILS(EBADF, write(fd, buf, 1));
	FAILS(EBADF, pwrite(fd, buf, 1, 0));
	FAILS(EBADF, writev(fd, &one, 1));
	FAILS(EBADF, lseek(fd, 0, SEEK_SET));
	FAILS(EBADF, fallocate(fd, 0, 0, 1));
	FAILS(EBADF, copy_file_range(fd, NULL, fd, NULL, 1, 0));
	FAILS(EBADF, fsync(fd));
	FAILS(EBADF, fdatasync(fd));
	FAILS(EBADF, sync_file_range(fd, 0, 1, 0));
	FAILS_AS("mmap", EBADF, map(fd, PROT_READ, MAP_SHARED));
	FAILS_AS("getdents", EBADF, getdents(fd));
	FAILS(EBADF, fchdir(fd));
	FAILS(EBADF, fgetxattr(fd, "user.x", buf, 1));
	FAILS(EBADF, fsetxattr(fd, "user.x", buf, 1, 0));
	FAILS(EBADF, flistxattr(fd, buf, 1));
	FAILS(EBADF, fremovexattr(fd, "user.x"));
	FAILS(EBADF, flock(fd, LOCK_EX));
	FAILS(EBADF, fcntl(fd, F_SETLK, &l));
	FAILS(EBADF, fstatfs(fd, &fs));
	FAILS(EBADF, sendfile(pipe_ends[1], fd, NULL, 1));
	FAILS(EBADF, splice(fd, NULL, pipe_ends[1], NULL, 1, 0));
}

static void none(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	fd = (int)OK(fcntl(fd, F_DUPFD, 500));
	OK(close(fd));
	of_none(-1);
	of_none(fd);
	of_none(9999);
}

/* The access mode, and O_PATH, bind the descriptor. */
static void modes(void)
{
	struct flock r = { .l_type = F_RDLCK }, w = { .l_type = F_WRLCK };
	int ro, wo, path, ends[2];

	posix_make("f", "text");
	OK(pipe(ends));
	ro = (int)OK(open("f", O_RDONLY));
	wo = (int)OK(open("f", O_WRONLY));
	path = (int)OK(open("f", O_PATH));
	FAILS(EBADF, read(wo, buf, 1));
	FAILS(EBADF, pread(wo, buf, 1, 0));
	FAILS(EBADF, readv(wo, &one, 1));
	FAILS(EBADF, write(ro, buf, 1));
	FAILS(EBADF, pwrite(ro, buf, 1, 0));
	FAILS(EBADF, writev(ro, &one, 1));
	FAILS(EBADF, fallocate(ro, 0, 0, 1));
	FAILS(EINVAL, ftruncate(ro, 0));
	FAILS(EBADF, copy_file_range(wo, NULL, wo, NULL, 1, 0));
	FAILS(EBADF, copy_file_range(ro, NULL, ro, NULL, 1, 0));
	FAILS(EBADF,
	      copy_file_range(ro, NULL, (int)OK(open("g", O_CREAT | O_WRONLY | O_APPEND, 0644)),
			      NULL, 1, 0));
	FAILS(EBADF, fcntl(ro, F_SETLK, &w));
	FAILS(EBADF, fcntl(wo, F_SETLK, &r));
	FAILS(EBADF, sendfile(ro, ro, NULL, 1));
	FAILS(EBADF, sendfile(wo, wo, NULL, 1));
	FAILS(EBADF, splice(wo, NULL, ends[1], NULL, 1, 0));
	FAILS_AS("mmap", EACCES, map(wo, PROT_READ, MAP_SHARED));
	FAILS_AS("mmap", EACCES, map(ro, PROT_WRITE, MAP_SHARED));
	FAILS(EBADF, read(path, buf, 1));
	FAILS(EBADF, write(path, buf, 1));
	FAILS(EBADF, fchmod(path, 0644));
	FAILS(EBADF, fchown(path, 0, 0));
	FAILS(EBADF, fgetxattr(path, "user.x", buf, 1));
	FAILS(EBADF, flock(path, LOCK_EX));
	FAILS_AS("mmap", EBADF, map(path, PROT_READ, MAP_SHARED));
	CHECK(strcmp(posix_text("f"), "text") == 0);
}

static void of_directory(void)
{
	int d, f, out;

	OK(mkdir("d", 0755));
	posix_make("f", "x");
	d = (int)OK(open("d", O_RDONLY));
	f = (int)OK(open("f", O_RDWR));
	out = (int)OK(open("g", O_CREAT | O_RDWR, 0644));
	FAILS(EISDIR, read(d, buf, 1));
	FAILS(EISDIR, pread(d, buf, 1, 0));
	FAILS(EISDIR, readv(d, &one, 1));
	FAILS(EBADF, write(d, buf, 1));
	FAILS(EINVAL, ftruncate(d, 0));
	FAILS(EBADF, fallocate(d, 0, 0, 1));
	FAILS(EISDIR, copy_file_range(d, NULL, out, NULL, 1, 0));
	FAILS_AS("mmap", ENODEV, map(d, PROT_READ, MAP_SHARED));
	FAILS_AS("getdents", ENOTDIR, getdents(f));
	FAILS(ENOTDIR, fchdir(f));
	FAILS(ENOTDIR, fcntl(f, F_NOTIFY, DN_MODIFY));
	FAILS(EISDIR, truncate("d", 0));
	FAILS(EISDIR, open("d", O_WRONLY));
	OK(fchmod(d, 0700));
	OK(flock(d, LOCK_EX | LOCK_NB));
	OK(fsync(d));
}

static void of_pipe(void)
{
	int ends[2], f = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	off_t off = 0;

	OK(mkfifo("p", 0644));
	ends[0] = (int)OK(open("p", O_RDWR | O_NONBLOCK));
	ends[1] = (int)OK(open("p", O_WRONLY | O_NONBLOCK));
	FAILS(ESPIPE, lseek(ends[0], 0, SEEK_SET));
	FAILS(ESPIPE, pread(ends[0], buf, 1, 0));
	FAILS(ESPIPE, pwrite(ends[1], buf, 1, 0));
	FAILS(ESPIPE, preadv(ends[0], &one, 1, 0));
	FAILS(ESPIPE, pwritev(ends[1], &one, 1, 0));
	FAILS(ESPIPE, fallocate(ends[1], 0, 0, 1));
	FAILS(ESPIPE, sync_file_range(ends[1], 0, 1, 0));
	FAILS(ESPIPE, sendfile(f, ends[0], &off, 1));
	FAILS(ESPIPE, splice(ends[0], &off, f, NULL, 1, 0));
	FAILS(EINVAL, copy_file_range(ends[0], NULL, f, NULL, 1, 0));
	FAILS(EINVAL, ftruncate(ends[1], 0));
	FAILS(EINVAL, fsync(ends[1]));
	FAILS(EINVAL, splice(f, NULL, f, NULL, 1, 0));
	FAILS(EINVAL, splice(ends[0], NULL, f, &(off_t){ -1 }, 1, 0));
	FAILS(EAGAIN, read(ends[0], buf, 1));
	FAILS(EAGAIN, readv(ends[0], &one, 1));
	FAILS(EAGAIN, splice(ends[0], NULL, f, NULL, 1, SPLICE_F_NONBLOCK));
	FAILS_AS("mmap", ENODEV, map(ends[0], PROT_READ, MAP_SHARED));
	while (write(ends[1], buf, sizeof(buf)) > 0)
		;
	FAILS(EAGAIN, write(ends[1], buf, sizeof(buf)));
	FAILS(EAGAIN, writev(ends[1], &one, 1));
	posix_write_all(f, "x", 1, 0);
	FAILS(EAGAIN, sendfile(ends[1], f, &off, 1));
	OK(close(ends[0]));
	OK(close(ends[1]));
	FAILS(ENXIO, open("p", O_WRONLY | O_NONBLOCK));
	ends[0] = (int)OK(open("p", O_RDONLY | O_NONBLOCK));
	ends[1] = (int)OK(open("p", O_WRONLY | O_NONBLOCK));
	OK(close(ends[0]));
	signal(SIGPIPE, SIG_IGN);
	FAILS(EPIPE, write(ends[1], buf, 1));
	FAILS(EPIPE, writev(ends[1], &one, 1));
}

static void values(void)
{
	struct flock l = { .l_type = 99 };
	struct iovec huge = { .iov_base = buf, .iov_len = SIZE_MAX };
	off_t far = INT64_MAX, at = 0;
	int fd, out;

	posix_make("f", "0123456789");
	fd = (int)OK(open("f", O_RDWR));
	out = (int)OK(open("g", O_CREAT | O_RDWR, 0644));
	FAILS(EINVAL, ftruncate(fd, -1));
	FAILS(EINVAL, truncate("f", -1));
	FAILS(EINVAL, pread(fd, buf, 1, -1));
	FAILS(EINVAL, pwrite(fd, buf, 1, -1));
	FAILS(EINVAL, preadv(fd, &one, 1, -2));
	FAILS(EINVAL, pwritev(fd, &one, 1, -2));
	FAILS(EINVAL, readv(fd, &one, minus));
	FAILS(EINVAL, writev(fd, &one, too_many));
	FAILS(EINVAL, readv(fd, &huge, 1));
	FAILS(EINVAL, writev(fd, &huge, 1));
	FAILS(EOPNOTSUPP, preadv2(fd, &one, 1, 0, 0x40000000));
	FAILS(EOPNOTSUPP, pwritev2(fd, &one, 1, 0, 0x40000000));
	FAILS(EINVAL, lseek(fd, 0, 77));
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	FAILS(EINVAL, lseek(fd, -11, SEEK_END));
	FAILS_EITHER(EOVERFLOW, EINVAL, lseek(fd, INT64_MAX, SEEK_END));
	FAILS(ENXIO, lseek(fd, 10, SEEK_DATA));
	FAILS(EINVAL, fallocate(fd, 0, 0, 0));
	FAILS(EINVAL, fallocate(fd, 0, -1, 1));
	FAILS(EFBIG, fallocate(fd, 0, INT64_MAX, 1));
	FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1));
	FAILS(EINVAL, copy_file_range(fd, NULL, out, NULL, 1, 1));
	FAILS(EINVAL, copy_file_range(fd, &at, fd, &at, 5, 0));
	FAILS(EOVERFLOW, copy_file_range(fd, &(off_t){ 1 }, out, NULL, SIZE_MAX, 0));
	FAILS(EFBIG, copy_file_range(fd, &at, out, &far, 2, 0));
	FAILS(EINVAL, sync_file_range(fd, -1, 1, 0));
	FAILS(EINVAL, sync_file_range(fd, 0, 1, 0x8000));
	FAILS(EINVAL, flock(fd, 16));
	FAILS(EINVAL, fcntl(fd, F_SETLK, &l));
	FAILS(EINVAL, fcntl(fd, 9999, 0));
	FAILS(EINVAL, fcntl(fd, F_DUPFD, -1));
	FAILS(EINVAL, sendfile(out, fd, &(off_t){ -1 }, 1));
	FAILS(EINVAL, fsetxattr(fd, "user.x", "1", 1, 99));
	FAILS(ERANGE, fsetxattr(fd, "", "1", 1, 0));
	FAILS(E2BIG, fsetxattr(fd, "user.x", buf, too_large, 0));
	FAILS(EOPNOTSUPP, fgetxattr(fd, "bogus.x", buf, 1));
	FAILS(EOPNOTSUPP, fsetxattr(fd, "bogus.x", buf, 1, 0));
	FAILS(EOPNOTSUPP, fremovexattr(fd, "bogus.x"));
	CHECK(strcmp(posix_text("f"), "0123456789") == 0);
}

static void addresses(void)
{
	struct iovec v = { .iov_base = bad, .iov_len = 10 };
	int fd, d, ends[2];

	posix_make("f", "0123456789");
	fd = (int)OK(open("f", O_RDWR));
	d = (int)OK(open(".", O_RDONLY));
	OK(pipe(ends));
	FAILS(EFAULT, read(fd, bad, 1));
	FAILS(EFAULT, pread(fd, bad, 1, 0));
	FAILS(EFAULT, readv(fd, &v, 1));
	FAILS(EFAULT, readv(fd, bad, 1));
	FAILS(EFAULT, write(fd, bad, 1));
	FAILS(EFAULT, pwrite(fd, bad, 1, 0));
	FAILS(EFAULT, writev(fd, &v, 1));
	FAILS(EFAULT, fcntl(fd, F_SETLK, bad));
	FAILS(EFAULT, sendfile(ends[1], fd, bad, 1));
	FAILS(EFAULT, copy_file_range(fd, bad, fd, NULL, 1, 0));
	FAILS(EFAULT, syscall(SYS_getdents64, d, bad, 1000));
	CHECK(strcmp(posix_text("f"), "0123456789") == 0);
}

static void of_map(void)
{
	struct rlimit page = { PAGE, PAGE }, small = { 1 << 20, 1 << 20 };
	char *p, *other;
	int fd;

	posix_make("f", "0123456789");
	fd = (int)OK(open("f", O_RDWR));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	FAILS_AS("mmap", EINVAL, mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0));
	FAILS_AS("mmap", EINVAL, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1));
	FAILS_AS("mmap", EINVAL, mmap(NULL, PAGE, PROT_READ, 0, fd, 0));
	FAILS_AS("mmap", EEXIST, mmap(p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0));
	FAILS_AS("mmap", EOVERFLOW,
		 mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, INT64_MAX - PAGE + 1));
	FAILS(EINVAL, msync(p + 1, PAGE, MS_SYNC));
	FAILS(EINVAL, msync(p, PAGE, MS_SYNC | MS_ASYNC));
	OK(mlock(p, PAGE));
	FAILS(EBUSY, msync(p, PAGE, MS_SYNC | MS_INVALIDATE));
	OK(munlock(p, PAGE));
	other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(other != MAP_FAILED);
	OK(munmap(other, PAGE));
	FAILS(ENOMEM, msync(other, PAGE, MS_SYNC));
	IN_CHILD()
	{
		OK(setrlimit(RLIMIT_AS, &small));
		FAILS_AS("mmap", ENOMEM, mmap(NULL, 1 << 30, PROT_READ, MAP_PRIVATE, fd, 0));
	}
	AS_USER(USER, USER)
	{
		OK(setrlimit(RLIMIT_MEMLOCK, &page));
		FAILS_AS("mmap", EAGAIN,
			 mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED | MAP_LOCKED, fd, 0));
	}
}

static void no_exec(void)
{
	int fd;

	OK(system("cp /bin/true run"));
	OK(mkdir("m", 0755));
	posix_own_mounts();
	posix_bind("m", MS_NOEXEC);
	fd = (int)OK(open("m/run", O_RDONLY));
	FAILS_AS("mmap", EPERM, map(fd, PROT_READ | PROT_EXEC, MAP_PRIVATE));
	CHECK(map(fd, PROT_READ, MAP_PRIVATE) != -1);
	CHECK_EQ(OK(system("./m/run 2>/dev/null")) >> 8, 126);
	CHECK_EQ(OK(system("./run")), 0);
}

static void on_signal(int sig)
{
	(void)sig;
}

/* A signal comes after a while, to a call that waits. */
static void alarm_soon(void)
{
	struct sigaction a = { .sa_handler = on_signal };
	struct itimerval t = { .it_value.tv_usec = 100000, .it_interval.tv_usec = 100000 };

	OK(sigaction(SIGALRM, &a, NULL));
	OK(setitimer(ITIMER_REAL, &t, NULL));
}

static void interrupted(void)
{
	int f = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), p;
	struct flock l = { .l_type = F_WRLCK };

	OK(mkfifo("p", 0644));
	OK(flock(f, LOCK_EX));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		alarm_soon();
		FAILS(EINTR, open("p", O_RDONLY));
		FAILS(EINTR, flock(other, LOCK_SH));
		p = (int)OK(open("p", O_RDWR));
		FAILS(EINTR, read(p, buf, 1));
		FAILS(EINTR, readv(p, &one, 1));
		OK(fcntl(p, F_SETFL, O_NONBLOCK));
		while (write(p, buf, sizeof(buf)) > 0)
			;
		OK(fcntl(p, F_SETFL, 0));
		FAILS(EINTR, write(p, buf, sizeof(buf)));
		FAILS(EINTR, writev(p, &one, 1));
	}
	OK(fcntl(f, F_OFD_SETLK, &l));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		alarm_soon();
		FAILS(EINTR, fcntl(other, F_SETLKW, &l));
		FAILS(EINTR, fcntl(other, F_OFD_SETLKW, &l));
	}
	/* What waited has left nothing behind. */
	OK(flock(f, LOCK_UN));
	l.l_type = F_UNLCK;
	OK(fcntl(f, F_OFD_SETLK, &l));
	IN_CHILD()
	{
		int other = (int)OK(open("f", O_RDWR));

		l.l_type = F_WRLCK;
		OK(fcntl(other, F_OFD_SETLK, &l));
		OK(flock(other, LOCK_EX | LOCK_NB));
	}
}

static void limits(void)
{
	struct rlimit few = { 16, 16 }, small = { 1000, 1000 };
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), from;
	static char big[2000];

	posix_write_all((int)OK(open("from", O_CREAT | O_RDWR, 0644)), big, sizeof(big), 0);
	from = (int)OK(open("from", O_RDONLY));
	IN_CHILD()
	{
		OK(setrlimit(RLIMIT_NOFILE, &few));
		while (open("f", O_RDONLY) >= 0)
			;
		FAILS(EMFILE, open("f", O_RDONLY));
		FAILS(EMFILE, fcntl(fd, F_DUPFD, 0));
	}
	signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &small));
	CHECK_EQ(OK(pwrite(fd, big, 2000, 0)), 1000);
	FAILS(EFBIG, pwrite(fd, big, 1, 1000));
	FAILS(EFBIG, pwritev(fd, &one, 1, 1000));
	OK(lseek(fd, 1000, SEEK_SET));
	FAILS(EFBIG, write(fd, big, 1));
	FAILS(EFBIG, ftruncate(fd, 1001));
	FAILS(EFBIG, truncate("f", 1001));
	FAILS(EFBIG, fallocate(fd, 0, 0, 2000));
	FAILS(EFBIG, copy_file_range(from, NULL, fd, &(off_t){ 1000 }, 10, 0));
	CHECK_EQ(posix_stat("f").st_size, 1000);
}

/* ETXTBSY: a program that runs cannot be written, one that is written cannot be run. */
static void running(void)
{
	int ends[2], fd, status;
	pid_t pid;

	OK(system("cp /bin/cat run"));
	OK(pipe(ends));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(dup2(ends[0], 0));
		OK(close(ends[1]));
		OK(open("/dev/null", O_WRONLY));
		execl("./run", "run", (char *)NULL);
		_exit(127);
	}
	OK(close(ends[0]));
	for (int i = 0; i < 200; i++) {
		char exe[64], link[256];
		ssize_t n;

		snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
		n = readlink(exe, link, sizeof(link));
		if (n > 4 && memcmp(link + n - 4, "/run", 4) == 0)
			break;
		posix_sleep_ms(10);
	}
	FAILS(ETXTBSY, open("run", O_WRONLY));
	if (!posix_differs("trunc-running"))
		FAILS(ETXTBSY, open("run", O_RDONLY | O_TRUNC));
	FAILS(ETXTBSY, truncate("run", 0));
	OK(rename("run", "ran"));
	FAILS(ETXTBSY, open("ran", O_RDWR));
	OK(unlink("ran"));
	OK(close(ends[1]));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	OK(system("cp /bin/true run"));
	fd = (int)OK(open("run", O_WRONLY));
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		execl("./run", "run", (char *)NULL);
		_exit(errno == ETXTBSY ? 3 : 4);
	}
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(WEXITSTATUS(status), 3);
	OK(close(fd));
	CHECK_EQ(OK(system("./run")), 0);
}

static void of_device(void)
{
	int fd;

	OK(mknod("null", S_IFCHR | 0666, 0x103));
	fd = open("null", O_RDWR);
	if (fd < 0)
		posix_skip("a mount without devices");
	FAILS(ENODEV, fallocate(fd, 0, 0, 1));
	FAILS(EINVAL, fsync(fd));
	FAILS(EINVAL, ftruncate(fd, 0));
	OK(mknod("nothing", S_IFCHR | 0666, 0xefefe));
	FAILS(ENXIO, open("nothing", O_RDONLY));
}

static void owners_only(void)
{
	posix_make("f", "x");
	OK(chmod("f", 0666));
	OK(chmod(".", 0777));
	AS_USER(USER, USER)
	{
		int fd = (int)OK(open("f", O_RDWR));

		FAILS(EPERM, open("f", O_RDONLY | O_NOATIME));
		FAILS(EPERM, fcntl(fd, F_SETFL, O_NOATIME));
		FAILS(EPERM, fchmod(fd, 0600));
		FAILS(EPERM, fchown(fd, USER, USER));
		FAILS(EPERM, mknod("dev", S_IFCHR, 0x103));
		FAILS(EPERM, setxattr("f", "trusted.x", "1", 1, 0));
	}
	OK((int)OK(open("f", O_RDONLY | O_NOATIME)));
}

/* A lease that another holds: who opens without waiting is told so. */
static void leased(void)
{
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(signal(SIGIO, SIG_IGN) == SIG_ERR ? -1 : 0);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		posix_skip("no leases here");
	IN_CHILD()
	{
		FAILS(EAGAIN, open("f", O_RDONLY | O_NONBLOCK));
	}
	OK(fcntl(fd, F_SETLEASE, F_UNLCK));
	OK(open("f", O_RDONLY | O_NONBLOCK));
}

static void removed_directory(void)
{
	int fd;

	OK(mkdir("d", 0755));
	fd = (int)OK(open("d", O_RDONLY));
	OK(rmdir("d"));
	FAILS_AS("getdents", ENOENT, getdents(fd));
}

static void elsewhere(void)
{
	int fd, out = (int)OK(open("/dev/shm", O_TMPFILE | O_RDWR, 0600));

	posix_make("f", "text");
	fd = (int)OK(open("f", O_RDONLY));
	FAILS(EXDEV, copy_file_range(fd, NULL, out, NULL, 4, 0));
	FAILS(EXDEV, rename("f", "/dev/shm/claudefs-never"));
	FAILS(EXDEV, link("f", "/dev/shm/claudefs-never"));
}

const struct posix_case fd_cases[] = {
	{ "fd_none", "EBADF from every call that takes a descriptor", none },
	{ "fd_modes", "open(2): the access mode and O_PATH bind the descriptor", modes },
	{ "fd_directory", "read(2), truncate(2), getdents(2): EISDIR, ENOTDIR, EINVAL",
	  of_directory },
	{ "fd_pipe", "fifo(7): ESPIPE, EAGAIN, EPIPE, EINVAL", of_pipe },
	{ "fd_values", "EINVAL, EFBIG, EOVERFLOW of lengths, offsets and flags", values },
	{ "fd_addresses", "EFAULT of buffers", addresses },
	{ "fd_map", "mmap(2), msync(2): EINVAL, EEXIST, EOVERFLOW, EBUSY, ENOMEM, EAGAIN", of_map },
	{ "fd_no_exec", "mmap(2), execve(2): EPERM, EACCES on a mount that is noexec", no_exec },
	{ "fd_interrupted", "signal(7): EINTR from what waits, which leaves nothing behind",
	  interrupted },
	{ "fd_limits", "setrlimit(2): EMFILE, EFBIG", limits },
	{ "fd_running", "execve(2), open(2), truncate(2): ETXTBSY", running },
	{ "fd_device", "fallocate(2): ENODEV; open(2): ENXIO", of_device },
	{ "fd_owners_only", "EPERM of what only the owner or root may", owners_only },
	{ "fd_leased", "open(2): EAGAIN while another holds a lease", leased },
	{ "fd_removed_directory", "getdents(2): ENOENT", removed_directory },
	{ "fd_elsewhere", "copy_file_range(2), rename(2), link(2): EXDEV", elsewhere },
	{ 0 },
};
