/* mknod(2): FIFOs, sockets, devices. */
#include "posix.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static void fifo(void)
{
	struct stat st;
	char buf[8];

	OK(mkfifo("p", 0640));
	st = posix_stat("p");
	CHECK_EQ(st.st_mode, S_IFIFO | 0640);
	CHECK_EQ(st.st_size, 0);
	FAILS(EEXIST, mkfifo("p", 0644));
	FAILS(ENXIO, open("p", O_WRONLY | O_NONBLOCK));
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		int fd = open("p", O_WRONLY);

		_exit(write(fd, "through", 7) == 7 ? 0 : 1);
	}
	int fd = (int)OK(open("p", O_RDONLY));

	CHECK_EQ(OK(read(fd, buf, 7)), 7);
	CHECK(memcmp(buf, "through", 7) == 0);
	OK(rename("p", "q"));
	OK(unlink("q"));
}

static void sock(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "s" };
	int server = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), client, peer;
	char c;

	OK(bind(server, (struct sockaddr *)&to, sizeof(to)));
	CHECK(S_ISSOCK(posix_stat("s").st_mode));
	OK(listen(server, 1));
	client = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(connect(client, (struct sockaddr *)&to, sizeof(to)));
	peer = (int)OK(accept(server, NULL, NULL));
	CHECK_EQ(OK(write(client, "x", 1)), 1);
	CHECK_EQ(OK(read(peer, &c, 1)), 1);
	FAILS(EADDRINUSE,
	      bind((int)OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&to, sizeof(to)));
	FAILS(ENXIO, open("s", O_RDONLY));
	OK(mknod("t", S_IFSOCK | 0600, 0));
	CHECK(S_ISSOCK(posix_stat("t").st_mode));
	OK(unlink("s"));
}

static void devices(void)
{
	struct stat st;
	char c = 'x';
	int fd;

	OK(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	st = posix_stat("null");
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(major(st.st_rdev), 1);
	CHECK_EQ(minor(st.st_rdev), 3);
	OK(mknod("b", S_IFBLK | 0600, makedev(259, 70000)));
	st = posix_stat("b");
	CHECK(S_ISBLK(st.st_mode));
	CHECK_EQ(major(st.st_rdev), 259);
	CHECK_EQ(minor(st.st_rdev), 70000);
	CHECK_EQ(st.st_size, 0);
	fd = open("null", O_RDWR);
	if (fd >= 0) {
		CHECK_EQ(OK(write(fd, &c, 1)), 1);
		CHECK_EQ(OK(read(fd, &c, 1)), 0);
	} else {
		CHECK(errno == EACCES); /* a mount without devices */
	}
	AS_USER(USER, USER)
	{
		FAILS_EITHER(EPERM, EACCES, mknod("c", S_IFCHR | 0666, makedev(1, 3)));
	}
	/* Overlays mark what was deleted with this one. */
	OK(mknod("white", S_IFCHR, makedev(0, 0)));
	CHECK_EQ(posix_stat("white").st_rdev, 0);
}

static void regular(void)
{
	OK(mknod("f", S_IFREG | 0640, 0));
	CHECK_EQ(posix_stat("f").st_mode, S_IFREG | 0640);
	OK(mknod("g", 0600, 0));
	CHECK(S_ISREG(posix_stat("g").st_mode));
	FAILS(EEXIST, mknod("f", S_IFREG | 0640, 0));
	FAILS(ENOENT, mknod("x/y", S_IFREG | 0640, 0));
	FAILS_EITHER(EPERM, EINVAL, mknod("d", S_IFDIR | 0755, 0));
	posix_make("f", "text");
	CHECK(strcmp(posix_text("f"), "text") == 0);
}

const struct posix_case node_cases[] = {
	{ "node_fifo", "mkfifo(3), fifo(7)", fifo },
	{ "node_socket", "unix(7)", sock },
	{ "node_device", "mknod(2): devices and their numbers", devices },
	{ "node_regular", "mknod(2): a regular file", regular },
	{ 0 },
};
