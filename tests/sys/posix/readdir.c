/* readdir(3), telldir(3), getdents64(2). */
#include "posix.h"

#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>

struct seen {
	unsigned char *count; /* by number in the name */
	unsigned others;
	bool has_dot, has_dotdot;
};

/* Counts entries "PREFIXnnn"; checks numbers and types against stat if @is_deep. */
static void look(DIR *d, const char *path, const char *prefix, unsigned max, bool is_deep,
		 struct seen *s)
{
	struct dirent *e;

	for (errno = 0; (e = readdir(d)) != NULL; errno = 0) {
		unsigned n;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			*(e->d_name[1] ? &s->has_dotdot : &s->has_dot) = true;
		} else if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 &&
			   sscanf(e->d_name + strlen(prefix), "%u", &n) == 1 && n < max) {
			CHECK(s->count[n] == 0);
			s->count[n]++;
		} else {
			s->others++;
		}
		if (is_deep) {
			char full[600];
			struct stat st;

			snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
			st = posix_lstat(full);
			CHECK_EQ(st.st_ino, e->d_ino);
			CHECK(e->d_type == DT_UNKNOWN || e->d_type == IFTODT(st.st_mode));
		}
	}
	CHECK_EQ(errno, 0);
}

static void seen_all(const struct seen *s, unsigned max)
{
	for (unsigned i = 0; i < max; i++)
		if (s->count[i] != 1)
			posix_fail(__FILE__, __LINE__, "entry %u was returned %u times", i,
				   s->count[i]);
	CHECK(s->has_dot && s->has_dotdot);
}

static void make_many(const char *dir, const char *prefix, unsigned count)
{
	char name[600];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/%s%u", dir, prefix, i);
		OK(close((int)OK(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644))));
	}
}

static void empty(void)
{
	struct seen s = { .count = calloc(1, 1) };
	DIR *d;

	OK(mkdir("d", 0755));
	d = opendir("d");
	CHECK(d);
	look(d, "d", "f", 0, true, &s);
	CHECK(s.has_dot && s.has_dotdot && s.others == 0);
	closedir(d);
	posix_make("f", "");
	CHECK(!opendir("f") && errno == ENOTDIR);
	CHECK(!opendir("x") && errno == ENOENT);
}

static void kinds(void)
{
	struct seen s = { .count = calloc(1, 1) };
	DIR *d;

	OK(mkdir("d", 0755));
	OK(mkdir("d/dir", 0755));
	OK(symlink("x", "d/link"));
	OK(mkfifo("d/fifo", 0644));
	OK(mknod("d/sock", S_IFSOCK | 0644, 0));
	OK(mknod("d/chr", S_IFCHR | 0644, 259));
	posix_make("d/reg", "");
	d = opendir("d");
	CHECK(d);
	look(d, "d", "f", 0, true, &s);
	CHECK_EQ(s.others, 6);
	closedir(d);
}

static void thousands(void)
{
	unsigned count = posix_count(1500, 50000);
	struct seen s = { .count = calloc(1, count) };
	DIR *d;

	OK(mkdir("d", 0755));
	make_many("d", "file-", count);
	d = opendir("d");
	CHECK(d && s.count);
	look(d, "d", "file-", count, false, &s);
	seen_all(&s, count);
	memset(s.count, 0, count);
	rewinddir(d);
	look(d, "d", "file-", count, false, &s);
	seen_all(&s, count);
	closedir(d);
	CHECK_EQ(s.others, 0);
	CHECK_EQ(posix_stat("d").st_nlink, 2);
}

static void positions(void)
{
	enum { COUNT = 300 };
	static long at[COUNT + 2];
	static char *names[COUNT + 2];
	unsigned n = 0;
	struct dirent *e;
	DIR *d;

	OK(mkdir("d", 0755));
	make_many("d", "f", COUNT);
	d = opendir("d");
	CHECK(d);
	for (;;) {
		long here = telldir(d);

		e = readdir(d);
		if (!e)
			break;
		CHECK(n < COUNT + 2);
		at[n] = here;
		names[n++] = strdup(e->d_name);
	}
	CHECK_EQ(n, COUNT + 2);
	for (unsigned i = n; i-- > 0;) {
		seekdir(d, at[i]);
		e = readdir(d);
		CHECK(e && strcmp(e->d_name, names[i]) == 0);
	}
	/* A position holds in another opening of the directory. */
	closedir(d);
	d = opendir("d");
	CHECK(d);
	seekdir(d, at[n / 2]);
	e = readdir(d);
	CHECK(e && strcmp(e->d_name, names[n / 2]) == 0);
	closedir(d);
}

static void rewound(void)
{
	unsigned char one = 0;
	struct seen s = { .count = &one };
	DIR *d;

	OK(mkdir("d", 0755));
	d = opendir("d");
	CHECK(d);
	look(d, "d", "f", 1, false, &s);
	CHECK_EQ(one, 0);
	posix_make("d/f0", "");
	rewinddir(d);
	look(d, "d", "f", 1, false, &s);
	CHECK_EQ(one, 1);
	OK(unlink("d/f0"));
	rewinddir(d);
	one = 0;
	look(d, "d", "f", 1, false, &s);
	CHECK_EQ(one, 0);
	closedir(d);
}

/* As rm -r does it. */
static void removing(void)
{
	unsigned count = posix_count(1200, 20000), gone = 0;
	struct dirent *e;
	DIR *d;

	OK(mkdir("d", 0755));
	make_many("d", "f", count);
	d = opendir("d");
	CHECK(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		OK(unlinkat(dirfd(d), e->d_name, 0));
		gone++;
	}
	closedir(d);
	CHECK_EQ(gone, count);
	OK(rmdir("d"));
}

/* What is there all the time is returned exactly once, whatever others do meanwhile. */
static void with_others(void)
{
	unsigned count = posix_count(2000, 100000);
	struct seen s = { .count = calloc(1, count) };
	pid_t pids[2];

	CHECK(s.count);
	OK(mkdir("d", 0755));
	make_many("d", "stays-", count);
	for (unsigned i = 0; i < 2; i++) {
		pids[i] = (pid_t)OK(fork());
		for (unsigned n = 0; pids[i] == 0; n++) {
			char name[64], to[64];

			snprintf(name, sizeof(name), "d/x%u-%u", i, n % 97);
			snprintf(to, sizeof(to), "d/y%u-%u", i, n % 89);
			close(open(name, O_CREAT | O_WRONLY, 0644));
			rename(name, to);
			if (n % 3 == 0)
				unlink(to);
		}
	}
	for (unsigned round = 0; round < posix_count(20, 10); round++) {
		DIR *d = opendir("d");

		CHECK(d);
		memset(s.count, 0, count);
		look(d, "d", "stays-", count, false, &s);
		seen_all(&s, count);
		closedir(d);
	}
	for (unsigned i = 0; i < 2; i++)
		OK(kill(pids[i], SIGKILL));
	posix_sleep_ms(50);
}

static void small_buffer(void)
{
	enum { COUNT = 200 };
	static char buf[64];
	unsigned seen = 0;
	int fd;

	OK(mkdir("d", 0755));
	make_many("d", "f", COUNT);
	fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
	for (;;) {
		long n = OK(syscall(SYS_getdents64, fd, buf, sizeof(buf)));

		if (n == 0)
			break;
		for (long at = 0; at < n; seen++)
			at += *(unsigned short *)(void *)(buf + at + 16);
	}
	CHECK_EQ(seen, COUNT + 2);
	OK(lseek(fd, 0, SEEK_SET));
	FAILS(EINVAL, syscall(SYS_getdents64, fd, buf, 8));
}

static void long_names(void)
{
	enum { COUNT = 500 };
	struct seen s = { .count = calloc(1, COUNT) };
	char prefix[240];
	DIR *d;

	memset(prefix, 'L', sizeof(prefix));
	prefix[239] = 0;
	OK(mkdir("d", 0755));
	make_many("d", prefix, COUNT);
	d = opendir("d");
	CHECK(d);
	look(d, "d", prefix, COUNT, false, &s);
	seen_all(&s, COUNT);
	closedir(d);
}

const struct posix_case readdir_cases[] = {
	{ "readdir_empty", "readdir(3): . and ..", empty },
	{ "readdir_kinds", "readdir(3): d_ino and d_type as stat says", kinds },
	{ "readdir_thousands", "readdir(3): thousands of files, each once", thousands },
	{ "readdir_positions", "telldir(3), seekdir(3)", positions },
	{ "readdir_rewound", "rewinddir(3) shows what is there now", rewound },
	{ "readdir_removing", "readdir(3) while the entries are removed", removing },
	{ "readdir_others", "readdir(3): what stays is returned exactly once", with_others },
	{ "readdir_small_buffer", "getdents64(2) with a small buffer; EINVAL", small_buffer },
	{ "readdir_long_names", "readdir(3) with long names", long_names },
	{ 0 },
};
