/* inotify(7) of what happens through the same mount; fexecve(3). */
#include "posix.h"

#include <sys/inotify.h>
#include <sys/wait.h>

/* The next event must be @mask, of @name. */
static void expect(int fd, uint32_t mask, const char *name)
{
	static _Alignas(struct inotify_event) char buf[4096];
	static ssize_t have, at;
	const struct inotify_event *e;

	if (at == have) {
		have = OK(read(fd, buf, sizeof(buf)));
		at = 0;
	}
	e = (const void *)(buf + at);
	at += (ssize_t)(sizeof(*e) + e->len);
	CHECK_EQ(e->mask & mask, mask);
	CHECK(strcmp(e->len ? e->name : "", name) == 0);
}

static void events(void)
{
	int fd = (int)OK(inotify_init1(IN_NONBLOCK)), f;

	OK(mkdir("d", 0755));
	OK(mkdir("e", 0755));
	OK(inotify_add_watch(fd, "d",
			     IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |
				     IN_DELETE | IN_CLOSE_WRITE | IN_DELETE_SELF));
	f = (int)OK(open("d/f", O_CREAT | O_WRONLY, 0644));
	expect(fd, IN_CREATE, "f");
	OK(write(f, "x", 1));
	expect(fd, IN_MODIFY, "f");
	OK(close(f));
	expect(fd, IN_CLOSE_WRITE, "f");
	OK(chmod("d/f", 0600));
	expect(fd, IN_ATTRIB, "f");
	OK(rename("d/f", "d/g"));
	expect(fd, IN_MOVED_FROM, "f");
	expect(fd, IN_MOVED_TO, "g");
	OK(rename("d/g", "e/g"));
	expect(fd, IN_MOVED_FROM, "g");
	OK(link("e/g", "d/h"));
	expect(fd, IN_CREATE, "h");
	OK(unlink("d/h"));
	expect(fd, IN_DELETE, "h");
	OK(mkdir("d/s", 0755));
	expect(fd, IN_CREATE | IN_ISDIR, "s");
	OK(rmdir("d/s"));
	expect(fd, IN_DELETE | IN_ISDIR, "s");
	OK(rmdir("d"));
	expect(fd, IN_DELETE_SELF, "");
	OK(close(fd));
}

static void copy_program(const char *to)
{
	static char buf[65536];
	int in = (int)OK(open("/bin/true", O_RDONLY));
	int out = (int)OK(open(to, O_CREAT | O_WRONLY, 0755));
	ssize_t n;

	while ((n = OK(read(in, buf, sizeof(buf)))) > 0)
		CHECK_EQ(OK(write(out, buf, (size_t)n)), n);
	OK(close(in));
	OK(close(out));
}

static int run(int fd)
{
	char *const argv[] = { (char *)(uintptr_t) "true", NULL }, *const envp[] = { NULL };
	int status;
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		fexecve(fd, argv, envp);
		_exit(errno == EACCES ? 2 : 1);
	}
	OK(waitpid(pid, &status, 0));
	return WEXITSTATUS(status);
}

static void execute(void)
{
	int fd;

	copy_program("p");
	fd = (int)OK(open("p", O_PATH));
	CHECK_EQ(run(fd), 0);
	OK(close(fd));
	fd = (int)OK(open("p", O_RDONLY));
	CHECK_EQ(run(fd), 0);
	/* It has no name any more. */
	OK(unlink("p"));
	CHECK_EQ(run(fd), 0);
	OK(close(fd));
	copy_program("q");
	OK(chmod("q", 0644));
	fd = (int)OK(open("q", O_RDONLY));
	CHECK_EQ(run(fd), 2);
}

const struct posix_case watch_cases[] = {
	{ "watch_events", "inotify(7): events of names, contents and attributes", events },
	{ "watch_execute", "fexecve(3): by O_RDONLY and O_PATH; EACCES", execute },
	{ 0 },
};
