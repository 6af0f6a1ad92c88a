/*
 * Two mounts of one file system (--second). The kernel of one mount decides much by itself, and
 * does one thing at a time in a directory; only a second one shows whether the server holds to it.
 */
#include "posix.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#define RACERS 4u

/* Shared by the racers of a case. */
struct race {
	unsigned rounds;
	unsigned arrived;
	unsigned won;
	unsigned long total;
};

static struct race *race(unsigned rounds)
{
	struct race *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);

	CHECK(r != MAP_FAILED);
	r->rounds = rounds;
	return r;
}

/* All racers are here before one goes on, so that they start at one moment. */
static void line_up(struct race *r, unsigned round)
{
	__atomic_add_fetch(&r->arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; __atomic_load_n(&r->arrived, __ATOMIC_SEQ_CST) < (round + 1) * RACERS;
	     i++) {
		CHECK(i < 1u << 20);
		if (i > 100)
			posix_sleep_ms(0);
	}
}

/* Racer @i's folder: the case's own, or the same by the other mount. */
static void enter(unsigned i)
{
	if (i % 2)
		OK(chdir(posix_second()));
}

static long make_excl(unsigned i, unsigned round)
{
	char name[32];
	int fd;

	(void)i;
	snprintf(name, sizeof(name), "f%u", round);
	fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	return fd < 0 ? -1 : close(fd);
}

static long make_dir(unsigned i, unsigned round)
{
	char name[32];

	(void)i;
	snprintf(name, sizeof(name), "d%u", round);
	return mkdir(name, 0755);
}

static long make_link(unsigned i, unsigned round)
{
	char name[32];

	(void)i;
	snprintf(name, sizeof(name), "l%u", round);
	return link("own", name);
}

static long rename_noreplace(unsigned i, unsigned round)
{
	char from[32], to[32];

	snprintf(from, sizeof(from), "from%u-%u", i, round);
	snprintf(to, sizeof(to), "to%u", round);
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

static struct race *now;
static long (*what)(unsigned i, unsigned round);

static void run_race(void *arg, unsigned i)
{
	(void)arg;
	enter(i);
	for (unsigned n = 0; n < now->rounds; n++) {
		line_up(now, n);
		if (what(i, n) == 0)
			__atomic_add_fetch(&now->won, 1, __ATOMIC_SEQ_CST);
		else
			CHECK_EQ(errno, EEXIST);
	}
}

/* Of all that do it at the same time exactly one wins, in each round. */
static void one_wins(long (*fn)(unsigned i, unsigned round), unsigned rounds)
{
	now = race(rounds);
	what = fn;
	posix_children(RACERS, run_race, NULL);
	CHECK_EQ(now->won, now->rounds);
}

static void excl(void)
{
	posix_second();
	one_wins(make_excl, posix_count(150, 2000));
}

static void mkdirs(void)
{
	posix_second();
	one_wins(make_dir, posix_count(100, 1000));
}

static void links(void)
{
	posix_second();
	posix_make("own", "");
	one_wins(make_link, posix_count(150, 2000));
	CHECK_EQ(posix_stat("own").st_nlink, 1 + now->rounds);
}

static void noreplace(void)
{
	unsigned rounds = posix_count(150, 1500);
	char name[32];

	posix_second();
	for (unsigned n = 0; n < rounds; n++) {
		for (unsigned i = 0; i < RACERS; i++) {
			snprintf(name, sizeof(name), "from%u-%u", i, n);
			posix_make(name, "");
		}
	}
	one_wins(rename_noreplace, rounds);
}

static void append_lines(void *arg, unsigned i)
{
	int fd;

	(void)arg;
	enter(i);
	fd = (int)OK(open("f", O_WRONLY | O_APPEND));
	for (unsigned n = 0; n < now->rounds; n++) {
		char line[32];

		snprintf(line, sizeof(line), "%3u %10u\n", i, n);
		CHECK_EQ(OK(write(fd, line, 15)), 15);
	}
}

static void appends(void)
{
	unsigned next[RACERS] = { 0 };
	char line[16] = "";
	int fd;

	posix_second();
	now = race(posix_count(200, 5000));
	posix_make("f", "");
	posix_children(RACERS, append_lines, NULL);
	CHECK_EQ(posix_stat("f").st_size, 15 * RACERS * now->rounds);
	fd = (int)OK(open("f", O_RDONLY));
	for (unsigned k = 0; k < RACERS * now->rounds; k++) {
		unsigned i, n;

		posix_read_all(fd, line, 15, 15l * k);
		CHECK(sscanf(line, "%u %u\n", &i, &n) == 2 && i < RACERS);
		CHECK_EQ(n, next[i]);
		next[i]++;
	}
}

static const char *there(const char *name)
{
	static char path[2][600];
	static unsigned k;

	k ^= 1;
	snprintf(path[k], sizeof(path[k]), "%s/%s", posix_second(), name);
	return path[k];
}

static unsigned count_there(void)
{
	DIR *d = opendir(posix_second());
	unsigned count = 0;

	CHECK(d);
	while (readdir(d))
		count++;
	closedir(d);
	return count;
}

static void seen(void)
{
	char buf[64];
	int fd, other;

	posix_make("f", "one");
	CHECK(strcmp(posix_text(there("f")), "one") == 0);
	CHECK_EQ(posix_stat(there("f")).st_ino, posix_stat("f").st_ino);
	fd = (int)OK(open("f", O_RDWR));
	other = (int)OK(open(there("f"), O_RDWR));
	for (unsigned i = 0; i < 50; i++) {
		posix_write_all(fd, &i, sizeof(i), i * 1000);
		CHECK_EQ(posix_stat(there("f")).st_size, i * 1000 + sizeof(i));
		posix_read_all(other, buf, sizeof(i), i * 1000);
		CHECK(memcmp(buf, &i, sizeof(i)) == 0);
		posix_write_all(other, "x", 1, i * 1000);
		posix_read_all(fd, buf, 1, i * 1000);
		CHECK_EQ(buf[0], 'x');
	}
	OK(ftruncate(other, 10));
	CHECK_EQ(OK(pread(fd, buf, sizeof(buf), 0)), 10);
	OK(ftruncate(other, 100));
	CHECK_EQ(OK(pread(fd, buf, sizeof(buf), 50)), 50);
	CHECK_EQ(buf[0], 0);
	OK(chmod("f", 0600));
	CHECK_EQ(posix_stat(there("f")).st_mode & 07777, 0600);
	OK(setxattr("f", "user.x", "1", 1, 0));
	CHECK_EQ(OK(getxattr(there("f"), "user.x", buf, sizeof(buf))), 1);
	OK(removexattr(there("f"), "user.x"));
	FAILS(ENODATA, getxattr("f", "user.x", buf, sizeof(buf)));
	OK(rename(there("f"), there("g")));
	CHECK(!posix_exists("f") && posix_exists("g"));
	CHECK_EQ(count_there(), 3);
	OK(mkdir(there("d"), 0755));
	FAILS(EEXIST, mkdir("d", 0755));
	CHECK_EQ(posix_stat(".").st_nlink, posix_stat(posix_second()).st_nlink);
	OK(symlink("g", there("l")));
	CHECK(S_ISLNK(posix_lstat("l").st_mode));
	CHECK_EQ(count_there(), 5);
	OK(rmdir("d"));
	CHECK(!posix_exists(there("d")));
}

static void unlinked(void)
{
	struct stat st;
	char buf[8];
	int fd;

	posix_make("f", "alive");
	fd = (int)OK(open("f", O_RDWR));
	OK(unlink(there("f")));
	CHECK(!posix_exists("f"));
	posix_read_all(fd, buf, 5, 0);
	CHECK(memcmp(buf, "alive", 5) == 0);
	posix_write_all(fd, "still", 5, 3 << 20);
	OK(fstat(fd, &st));
	CHECK_EQ(st.st_size, (3 << 20) + 5);
	CHECK_EQ(st.st_nlink, 0);
	/* Replaced by the other mount. */
	posix_make("g", "old");
	fd = (int)OK(open("g", O_RDONLY));
	posix_make(there("h"), "new");
	OK(rename(there("h"), there("g")));
	posix_read_all(fd, buf, 3, 0);
	CHECK(memcmp(buf, "old", 3) == 0);
	CHECK(strcmp(posix_text("g"), "new") == 0);
}

static void move_into(void *arg, unsigned i)
{
	uint64_t dice = posix_seed * 77 + i;

	(void)arg;
	enter(i);
	for (unsigned n = 0; n < now->rounds; n++) {
		char from[64], to[64];
		unsigned a = (unsigned)(posix_random(&dice) % 3);
		unsigned b = (a + 1 + (unsigned)(posix_random(&dice) % 2)) % 3;

		/* a into b, or back to the top from wherever it may be. */
		line_up(now, n);
		snprintf(from, sizeof(from), "d%u", a);
		snprintf(to, sizeof(to), "d%u/d%u", b, a);
		if (rename(from, to) == 0)
			__atomic_add_fetch(&now->won, 1, __ATOMIC_SEQ_CST);
		else
			CHECK(errno == ENOENT || errno == EINVAL || errno == ENOTEMPTY ||
			      errno == EEXIST || errno == ESTALE);
		for (unsigned k = 0; k < 9; k++) {
			snprintf(from, sizeof(from), "d%u/d%u", k / 3, k % 3);
			snprintf(to, sizeof(to), "d%u", k % 3);
			if (k / 3 != k % 3)
				(void)rename(from, to);
		}
	}
}

static void loops(void)
{
	char name[64];
	unsigned found = 0;

	posix_second();
	now = race(posix_count(100, 2000));
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		OK(mkdir(name, 0755));
	}
	posix_children(RACERS, move_into, NULL);
	CHECK(now->won > 0);
	/* Every directory can still be reached: none is below itself. */
	for (unsigned k = 0; k < 3; k++) {
		bool is_there = false;

		for (unsigned a = 0; a < 3 && !is_there; a++) {
			snprintf(name, sizeof(name), "d%u", k);
			is_there = posix_exists(name);
			snprintf(name, sizeof(name), "d%u/d%u", a, k);
			is_there = is_there || posix_exists(name);
			for (unsigned b = 0; b < 3 && !is_there; b++) {
				snprintf(name, sizeof(name), "d%u/d%u/d%u", b, a, k);
				is_there = posix_exists(name);
			}
		}
		found += is_there;
	}
	CHECK_EQ(found, 3);
}

static void remove_or_fill(void *arg, unsigned i)
{
	char dir[32], name[64];

	(void)arg;
	enter(i);
	for (unsigned n = 0; n < now->rounds; n++) {
		snprintf(dir, sizeof(dir), "d%u", n);
		snprintf(name, sizeof(name), "d%u/f%u", n, i);
		line_up(now, n);
		if (i < 2) {
			if (rmdir(dir) < 0)
				CHECK(errno == ENOTEMPTY || errno == ENOENT || errno == ESTALE);
		} else {
			int fd = open(name, O_CREAT | O_WRONLY, 0644);

			if (fd < 0)
				CHECK(errno == ENOENT || errno == ESTALE);
			else
				__atomic_add_fetch(&now->total, 1, __ATOMIC_SEQ_CST);
		}
	}
}

/* A file that was made is there: its directory was not removed meanwhile. */
static void removed_directories(void)
{
	unsigned long left = 0;
	char name[64];

	posix_second();
	now = race(posix_count(100, 1500));
	for (unsigned n = 0; n < now->rounds; n++) {
		snprintf(name, sizeof(name), "d%u", n);
		OK(mkdir(name, 0755));
	}
	posix_children(RACERS, remove_or_fill, NULL);
	for (unsigned n = 0; n < now->rounds * RACERS; n++) {
		snprintf(name, sizeof(name), "d%u/f%u", n / RACERS, n % RACERS);
		left += posix_exists(name);
	}
	CHECK_EQ(left, now->total);
}

const struct posix_case two_cases[] = {
	{ "two_seen", "write(2): what one mount did the other sees at once", seen },
	{ "two_unlinked", "unlink(2): a file that another mount has open lives on", unlinked },
	{ "two_excl", "open(2): O_EXCL: of two mounts one wins", excl },
	{ "two_mkdir", "mkdir(2): EEXIST: of two mounts one wins", mkdirs },
	{ "two_link", "link(2): EEXIST: of two mounts one wins", links },
	{ "two_noreplace", "rename(2): RENAME_NOREPLACE: of two mounts one wins", noreplace },
	{ "two_append", "write(2): O_APPEND is atomic over mounts", appends },
	{ "two_loops", "rename(2): EINVAL: two mounts make no loop of directories", loops },
	{ "two_rmdir", "rmdir(2): ENOTEMPTY: no file is made in a directory that is gone",
	  removed_directories },
	{ 0 },
};
