/* The suite's runner: see posix.h and usage(). */
#include "posix.h"

#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define CASE_SECONDS_MAX 120
#define WHY_BYTES 600
#define EXIT_SKIP 77
#define EXIT_LEFT_OUT 78 /* what it needs was not given */
#define NEEDS_SECOND "needs --second"

bool posix_is_full;
uint64_t posix_seed = 1;

static const struct posix_case *const topics[] = {
#define X(topic) topic##_cases,
	POSIX_TOPICS(X)
#undef X
};

/* Where a case's process, and its children, say why. */
static int why_fd = -1;

/* How the suite is run. */
static struct {
	const char *prefix;
	const char *covers;  /* the file to write what was seen to */
	const char *differs; /* cases that fail here, with the reason: a file */
	const char *only;    /* the cases to run: a file of names */
	const char *folder;  /* of the case that runs */
	const char *second;  /* another mount of the same folder, or NULL */
	const char *twin;    /* the same, for each case to take turns with; or NULL */
	const char *without; /* cases that are not to run: a file of names */
	char home[600];      /* the folder of all */
	uid_t user;          /* 0: root */
} opt = { .prefix = "" };

unsigned posix_count(unsigned small, unsigned full)
{
	return posix_is_full ? full : small;
}

uint64_t posix_random(uint64_t *dice)
{
	uint64_t z = (*dice += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static _Noreturn void leave(int status, const char *text)
{
	ssize_t n = write(why_fd, text, strlen(text));

	_exit(n < 0 ? 1 : status);
}

_Noreturn void posix_fail(const char *file, int line, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	char text[WHY_BYTES];
	size_t n;
	va_list ap;

	n = (size_t)snprintf(text, sizeof(text), "%s:%d: ", slash ? slash + 1 : file, line);
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	leave(1, text);
}

_Noreturn void posix_skip(const char *fmt, ...)
{
	char text[WHY_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	leave(EXIT_SKIP, text);
}

void posix_check_eq(long long a, long long b, const char *a_text, const char *b_text,
		    const char *file, int line)
{
	if (a != b)
		posix_fail(file, line, "%s is %lld, not %s = %lld", a_text, a, b_text, b);
}

long posix_ok(long value, const char *text, const char *file, int line)
{
	if (value == -1)
		posix_fail(file, line, "%s: %s", text, strerrorname_np(errno));
	return value;
}

void posix_fails(long value, int code, int other, const char *text, const char *file, int line)
{
	int got = errno;

	if (value != -1)
		posix_fail(file, line, "%s returned %ld, not %s", text, value,
			   strerrorname_np(code));
	if (got != code && (other == 0 || got != other))
		posix_fail(file, line, "%s: %s, not %s", text, strerrorname_np(got),
			   strerrorname_np(code));
	posix_cover_fail(got, text);
}

/* Waits for a child; its failure, which it has told already, is ours. */
static void join(pid_t pid)
{
	int status;

	OK(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		posix_fail(__FILE__, __LINE__, "a child died of %s",
			   sigabbrev_np(WTERMSIG(status)));
	if (WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
}

void posix_own_mounts(void)
{
	posix_needs_root();
	OK(unshare(CLONE_NEWNS));
	OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

void posix_bind(const char *path, unsigned long flags)
{
	OK(mount(".", path, NULL, MS_BIND, NULL));
	if (flags)
		OK(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | flags, NULL));
}

const char *posix_second(void)
{
	static char path[600];

	if (!opt.second)
		leave(EXIT_LEFT_OUT, NEEDS_SECOND);
	if (!path[0])
		snprintf(path, sizeof(path), "%s/%s", opt.second, opt.folder);
	return path;
}

void posix_needs_root(void)
{
	if (opt.user != 0)
		leave(EXIT_LEFT_OUT, "needs root");
}

int posix_child_begin(uid_t uid, gid_t gid)
{
	pid_t pid;

	if (uid != 0 || gid != 0)
		posix_needs_root();
	pid = (pid_t)OK(fork());

	if (pid > 0) {
		join(pid);
		return 0;
	}
	if (uid != 0 || gid != 0) {
		OK(setgroups(0, NULL));
		OK(setresgid(gid, gid, gid));
		OK(setresuid(uid, uid, uid));
	}
	return 1;
}

_Noreturn void posix_child_end(void)
{
	_exit(0);
}

void posix_children(unsigned count, void (*fn)(void *arg, unsigned i), void *arg)
{
	pid_t pids[64];

	CHECK(count <= 64);
	for (unsigned i = 0; i < count; i++) {
		pids[i] = (pid_t)OK(fork());
		if (pids[i] == 0) {
			fn(arg, i);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++)
		join(pids[i]);
}

void posix_make(const char *path, const char *text)
{
	int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	posix_write_all(fd, text, strlen(text), 0);
	OK(close(fd));
}

const char *posix_text(const char *path)
{
	static char text[65536];
	int fd = (int)OK(open(path, O_RDONLY));
	size_t len = 0;

	for (;;) {
		ssize_t n = OK(read(fd, text + len, sizeof(text) - 1 - len));

		if (n == 0)
			break;
		len += (size_t)n;
		CHECK(len < sizeof(text) - 1);
	}
	text[len] = 0;
	OK(close(fd));
	return text;
}

struct stat posix_stat(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		posix_fail(__FILE__, __LINE__, "stat(%s): %s", path, strerrorname_np(errno));
	return st;
}

struct stat posix_lstat(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		posix_fail(__FILE__, __LINE__, "lstat(%s): %s", path, strerrorname_np(errno));
	return st;
}

bool posix_exists(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return true;
	if (errno != ENOENT)
		posix_fail(__FILE__, __LINE__, "lstat(%s): %s", path, strerrorname_np(errno));
	return false;
}

void posix_pattern(void *buf, size_t len_bytes, uint64_t off_bytes, uint64_t tag)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len_bytes; i++) {
		uint64_t at = off_bytes + i;
		uint64_t word = (at / 8 + 1) * 0x9e3779b97f4a7c15ull ^
				(tag * 0xff51afd7ed558ccdull);

		p[i] = (uint8_t)((word ^ (word >> 29)) >> (8 * (at % 8)));
	}
}

void posix_write_all(int fd, const void *buf, size_t len_bytes, off_t off_bytes)
{
	const char *p = buf;

	for (size_t done = 0; done < len_bytes;) {
		ssize_t n = OK(pwrite(fd, p + done, len_bytes - done, off_bytes + (off_t)done));

		CHECK(n > 0);
		done += (size_t)n;
	}
}

void posix_read_all(int fd, void *buf, size_t len_bytes, off_t off_bytes)
{
	char *p = buf;

	for (size_t done = 0; done < len_bytes;) {
		ssize_t n = OK(pread(fd, p + done, len_bytes - done, off_bytes + (off_t)done));

		CHECK(n > 0);
		done += (size_t)n;
	}
}

void posix_sleep_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

void posix_wait_tick(void)
{
	posix_sleep_ms(12);
}

/* --- the runner --- */

static int remove_tree(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--one-file-system", path, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Reads what a case says until all its processes are gone, or it is late. */
static bool listen_to(int fd, char why[WHY_BYTES], double deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char rest[WHY_BYTES];
	size_t len = 0;

	for (;;) {
		double left = deadline - now_seconds();
		ssize_t n;

		if (left <= 0)
			return false;
		if (poll(&p, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		n = len ? read(fd, rest, sizeof(rest)) : read(fd, why, WHY_BYTES - 1);
		if (n <= 0)
			return true;
		if (len == 0)
			why[len = (size_t)n] = 0;
	}
}

/* Whether the file lists @name: a line's first word, then a tab and the reason. */
static bool is_listed(const char *file, const char *name, char *reason, size_t room)
{
	FILE *f = file ? fopen(file, "r") : NULL;
	char line[WHY_BYTES];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, "\t\n");

		found = n == strlen(name) && memcmp(line, name, n) == 0;
		if (found && line[n] == '\t')
			snprintf(reason, room, "%.*s", (int)strcspn(line + n + 1, "\n"),
				 line + n + 1);
	}
	if (f)
		fclose(f);
	return found;
}

static _Noreturn void run_child(const struct posix_case *c, const char *folder)
{
	setpgid(0, 0);
	umask(022);
	opt.folder = folder;
	if (chdir(folder) < 0)
		posix_fail(__FILE__, __LINE__, "chdir(%s): %s", folder, strerrorname_np(errno));
	if (opt.user != 0) {
		OK(chown(".", opt.user, opt.user));
		OK(setgroups(0, NULL));
		OK(setresgid(opt.user, opt.user, opt.user));
		OK(setresuid(opt.user, opt.user, opt.user));
	}
	if (opt.twin)
		posix_twins(opt.home, opt.twin);
	c->run();
	_exit(0);
}

enum verdict { PASSED, FAILED, SKIPPED, LEFT_OUT };

/* Runs it in a process of its own; what it says goes to @why. */
static enum verdict run_process(const struct posix_case *c, const char *folder, int ends[2],
				char why[WHY_BYTES])
{
	double deadline = now_seconds() + CASE_SECONDS_MAX;
	int status = 0;
	bool in_time;
	pid_t pid;

	posix_cover_begin();
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		why_fd = ends[1];
		run_child(c, folder);
	}
	setpgid(pid, pid);
	close(ends[1]);
	in_time = listen_to(ends[0], why, deadline);
	if (!in_time)
		kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	kill(-pid, SIGKILL);
	/* What it left behind is ours now (main): no process may be in the folder any more. */
	while (waitpid(-pid, NULL, 0) > 0)
		;
	close(ends[0]);
	if (!in_time)
		snprintf(why, WHY_BYTES, "took longer than %d s", CASE_SECONDS_MAX);
	else if (WIFSIGNALED(status))
		snprintf(why, WHY_BYTES, "died of %s", sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == EXIT_SKIP)
		return SKIPPED;
	else if (WEXITSTATUS(status) == EXIT_LEFT_OUT)
		return LEFT_OUT;
	else if (WEXITSTATUS(status) == 0)
		return PASSED;
	return FAILED;
}

/* A case that is listed as failing (or as not possible) must not pass, so that no line outlives its
 * reason. */
static enum verdict judge(enum verdict v, const char *file, const char *name, char why[WHY_BYTES])
{
	char reason[WHY_BYTES] = "";

	if (v == LEFT_OUT || !is_listed(file, name, reason, sizeof(reason)))
		return v;
	snprintf(why, WHY_BYTES, "%s%s", v == PASSED ? "passes, but is listed: " : "", reason);
	return v == PASSED ? FAILED : LEFT_OUT;
}

static enum verdict run_case(const struct posix_case *c)
{
	double start = now_seconds();
	char why[WHY_BYTES] = "", folder[300];
	enum verdict v;
	int ends[2];

	snprintf(folder, sizeof(folder), "case-%s", c->name);
	if (mkdir(folder, 0755) < 0 || pipe2(ends, O_CLOEXEC) < 0) {
		printf("not ok %s%s cannot start: %s\n", opt.prefix, c->name, strerror(errno));
		return FAILED;
	}
	v = run_process(c, folder, ends, why);
	if (v == PASSED && posix_cover_keep(c->name) != 0)
		v = FAILED;
	/* What failed stays, to be looked at. */
	if (v != FAILED && remove_tree(folder) < 0) {
		snprintf(why, sizeof(why), "what it made cannot be removed");
		v = FAILED;
	}
	v = judge(v, opt.differs, c->name, why);
	if (v == PASSED)
		printf("ok %s%s %.2f\n", opt.prefix, c->name, now_seconds() - start);
	else if (v == FAILED)
		printf("not ok %s%s %s [%s]\n", opt.prefix, c->name, why, c->clause);
	else if (v == SKIPPED)
		printf("skip %s%s %s\n", opt.prefix, c->name, why);
	else if (opt.user == 0 && strcmp(why, NEEDS_SECOND) != 0)
		printf("# not %s%s: %s\n", opt.prefix, c->name, why);
	return v;
}

static bool is_wanted(const char *name, char **names, int count)
{
	char reason[WHY_BYTES];

	if (opt.only && !is_listed(opt.only, name, reason, sizeof(reason)))
		return false;
	if (is_listed(opt.without, name, reason, sizeof(reason)))
		return false;
	for (int i = 0; i < count; i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return count == 0;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: posix DIR [OPTION...] [CASE-OR-ITS-START ...]\n"
		"  --prefix TEXT   before each case's name\n"
		"  --user UID      as an ordinary user\n"
		"  --second DIR    the same folder by another mount, for the cases two_*\n"
		"  --twin DIR      the same; each call of a case by the one or the other in turn\n"
		"  --without FILE  not these: NAME, tab, reason\n"
		"  --only FILE     the cases that it names, one a line\n"
		"  --differs FILE  cases that fail here: NAME, tab, reason\n"
		"  --covers FILE   writes what the cases saw: CALL ERRNO CASE\n"
		"  --list          the cases; --differences  what differs from ext4 by design\n"
		"CFS_COUNTS=small|full, CFS_SEED=N\n");
	exit(2);
}

/* Returns where the cases begin. */
static int options(int argc, char **argv, bool *is_list)
{
	int at = 2;

	for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
		const char *name = argv[at] + 2, *value;

		*is_list = *is_list || strcmp(name, "list") == 0;
		if (strcmp(name, "list") == 0)
			continue;
		value = at + 1 < argc ? argv[++at] : "";
		if (strcmp(name, "prefix") == 0)
			opt.prefix = value;
		else if (strcmp(name, "user") == 0)
			opt.user = (uid_t)strtoul(value, NULL, 10);
		else if (strcmp(name, "only") == 0)
			opt.only = realpath(value, NULL);
		else if (strcmp(name, "differs") == 0)
			opt.differs = realpath(value, NULL);
		else if (strcmp(name, "second") == 0)
			opt.second = realpath(value, NULL);
		else if (strcmp(name, "twin") == 0)
			opt.twin = realpath(value, NULL);
		else if (strcmp(name, "without") == 0)
			opt.without = realpath(value, NULL);
		else if (strcmp(name, "covers") == 0)
			opt.covers = value;
		else
			usage();
	}
	return at;
}

static unsigned run_all(char **names, int count, bool is_list)
{
	unsigned tally[4] = { 0 };

	for (size_t t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
		for (const struct posix_case *c = topics[t]; c->name; c++) {
			if (!is_wanted(c->name, names, count))
				continue;
			if (is_list)
				printf("%-28s %s\n", c->name, c->clause);
			else
				tally[run_case(c)]++;
		}
	}
	if (!is_list)
		printf("# %u passed, %u failed, %u skipped, %u left out\n", tally[PASSED],
		       tally[FAILED], tally[SKIPPED], tally[LEFT_OUT]);
	return tally[FAILED];
}

int main(int argc, char **argv)
{
	const char *counts = getenv("CFS_COUNTS"), *seed = getenv("CFS_SEED");
	bool is_list = false;
	unsigned failed;
	int at, rc, home;

	if (argc == 2 && strcmp(argv[1], "--differences") == 0) {
		posix_differences();
		return 0;
	}
	if (argc < 2)
		usage();
	at = options(argc, argv, &is_list);
	posix_is_full = counts && strcmp(counts, "full") == 0;
	posix_seed = seed ? strtoull(seed, NULL, 10) : 1;
	home = open(".", O_PATH | O_CLOEXEC);
	if (!is_list && chdir(argv[1]) < 0) {
		fprintf(stderr, "posix: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	if (!getcwd(opt.home, sizeof(opt.home)))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	failed = run_all(argv + at, argc - at, is_list);
	if (opt.covers) {
		rc = fchdir(home) < 0 ? -errno : posix_cover_write(opt.covers);
		if (rc < 0) {
			fprintf(stderr, "posix: %s: %s\n", opt.covers, strerror(-rc));
			return 2;
		}
	}
	return failed ? 1 : 0;
}
