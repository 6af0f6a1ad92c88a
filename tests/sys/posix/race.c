/* Several processes and threads at once. */
#include "posix.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>

struct shared {
	unsigned rounds;
	volatile unsigned wins[64];
	volatile unsigned long done;
};

static struct shared *share(unsigned rounds)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(s != MAP_FAILED);
	s->rounds = rounds;
	return s;
}

static void try_excl(void *arg, unsigned i)
{
	struct shared *s = arg;

	for (unsigned n = 0; n < s->rounds; n++) {
		char name[32];
		int fd;

		snprintf(name, sizeof(name), "f%u", n);
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd >= 0) {
			s->wins[i]++;
			OK(close(fd));
		} else {
			CHECK_EQ(errno, EEXIST);
		}
	}
}

static void excl(void)
{
	struct shared *s = share(posix_count(300, 3000));
	unsigned wins = 0;

	posix_children(6, try_excl, s);
	for (unsigned i = 0; i < 6; i++)
		wins += s->wins[i];
	CHECK_EQ(wins, s->rounds);
}

static void try_mkdir(void *arg, unsigned i)
{
	struct shared *s = arg;

	for (unsigned n = 0; n < s->rounds; n++) {
		if (mkdir("d", 0755) == 0) {
			s->wins[i]++;
			OK(rmdir("d"));
		} else {
			CHECK_EQ(errno, EEXIST);
		}
	}
}

static void mkdirs(void)
{
	struct shared *s = share(posix_count(300, 3000));

	posix_children(4, try_mkdir, s);
	CHECK(!posix_exists("d"));
	OK(mkdir("d", 0755));
	CHECK_EQ(posix_stat(".").st_nlink, 3);
}

static void append_lines(void *arg, unsigned i)
{
	struct shared *s = arg;
	int fd = (int)OK(open("log", O_WRONLY | O_APPEND | O_CREAT, 0644));

	for (unsigned n = 0; n < s->rounds; n++) {
		char line[33];

		snprintf(line, sizeof(line), "%4u %10u ...............\n", i, n);
		CHECK_EQ(OK(write(fd, line, 32)), 32);
	}
}

static void appends(void)
{
	struct shared *s = share(posix_count(500, 5000));
	unsigned next[4] = { 0 }, lines = 0, i, n;
	char line[64];
	FILE *f;

	posix_children(4, append_lines, s);
	f = fopen("log", "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		CHECK(sscanf(line, "%u %u", &i, &n) == 2 && i < 4 && strlen(line) == 32);
		CHECK_EQ(n, next[i]);
		next[i]++;
		lines++;
	}
	CHECK_EQ(lines, 4 * s->rounds);
}

static void replace_or_read(void *arg, unsigned i)
{
	struct shared *s = arg;

	for (unsigned n = 0; n < s->rounds; n++) {
		char name[32], text[64];
		ssize_t got;
		int fd;

		if (i < 2) {
			snprintf(name, sizeof(name), "new%u", i);
			snprintf(text, sizeof(text), "%u:%u:end", i, n);
			posix_make(name, text);
			OK(rename(name, "f"));
			continue;
		}
		/* Always there, always one whole version. The kernel opens by number what it looked
		 * up by name, twice: when it was replaced in between each time it says ESTALE. */
		for (unsigned k = 0; k < 20 && access("f", R_OK) < 0; k++)
			CHECK(errno == ESTALE && posix_differs("replaced"));
		fd = open("f", O_RDONLY);
		if (fd < 0) {
			CHECK(errno == ESTALE && posix_differs("replaced"));
			continue;
		}
		got = OK(read(fd, text, sizeof(text) - 1));
		text[got] = 0;
		OK(close(fd));
		CHECK(strlen(text) >= 7 && strcmp(text + strlen(text) - 4, ":end") == 0);
	}
}

static void replace(void)
{
	struct shared *s = share(posix_count(300, 3000));

	posix_make("f", "0:0:end");
	posix_children(4, replace_or_read, s);
	OK(unlink("f"));
}

/* Directories moved into each other by several: no loop, none lost, counts right. */
static void move_around(void *arg, unsigned i)
{
	struct shared *s = arg;
	uint64_t dice = posix_seed * 100 + i;

	for (unsigned n = 0; n < s->rounds; n++) {
		unsigned a = (unsigned)(posix_random(&dice) % 5), b = (a + 1 + i % 3) % 5;
		char from[64], to[64];

		snprintf(from, sizeof(from), "d%u", a);
		snprintf(to, sizeof(to), "d%u/d%u", b, a);
		if (rename(from, to) == 0) {
			s->done++;
			/* And out again, unless another was faster. */
			if (rename(to, from) < 0)
				CHECK(errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST);
		} else {
			CHECK(errno == ENOENT || errno == EINVAL || errno == ENOTEMPTY);
		}
	}
}

/* Counts directories below @path, and checks their link counts. */
static unsigned count_directories(const char *path, unsigned depth)
{
	unsigned found = 0, below = 0;
	DIR *d = opendir(path);
	struct dirent *e;

	CHECK(d && depth < 20);
	while ((e = readdir(d)) != NULL) {
		char full[400];

		if (e->d_name[0] == '.')
			continue;
		snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
		if (S_ISDIR(posix_lstat(full).st_mode)) {
			below++;
			CHECK_EQ(posix_stat(full).st_ino, e->d_ino);
			found += 1 + count_directories(full, depth + 1);
		}
	}
	closedir(d);
	CHECK_EQ(posix_stat(path).st_nlink, 2 + below);
	return found;
}

static void loops(void)
{
	struct shared *s = share(posix_count(200, 3000));
	char name[32];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		OK(mkdir(name, 0755));
	}
	posix_children(4, move_around, s);
	CHECK_EQ(count_directories(".", 0), 5);
	CHECK(s->done > 0);
}

/*
 * link(2) of a file that others link and unlink. The kernel counts links of a FUSE inode down by
 * itself at each unlink, also where the attributes that it got last have that unlink in them
 * already; at 0 it refuses link() with ENOENT before the server is asked, until somebody stats the
 * file (README, Limits).
 */
static void link_contended(const char *from, const char *to)
{
	for (unsigned tries = 0; link(from, to) < 0; tries++) {
		CHECK_EQ(errno, ENOENT);
		CHECK(posix_differs("linked"));
		CHECK(tries < 1000);
		(void)posix_stat(from);
	}
}

static void link_unlink(void *arg, unsigned i)
{
	struct shared *s = arg;

	for (unsigned n = 0; n < s->rounds; n++) {
		char name[32];

		snprintf(name, sizeof(name), "d%u/l", i);
		link_contended("f", name);
		CHECK(posix_stat(name).st_nlink >= 2);
		OK(unlink(name));
	}
}

static void links(void)
{
	struct shared *s = share(posix_count(200, 3000));
	char name[32];

	posix_make("f", "x");
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		OK(mkdir(name, 0755));
	}
	posix_children(4, link_unlink, s);
	CHECK_EQ(posix_stat("f").st_nlink, 1);
}

/* Names come and go under everybody's hands: only the errors that may be. */
static void fight(void *arg, unsigned i)
{
	struct shared *s = arg;
	uint64_t dice = posix_seed * 1000 + i;

	for (unsigned n = 0; n < s->rounds; n++) {
		char a[32], b[32];
		int fd;

		snprintf(a, sizeof(a), "d%u/f%u", (unsigned)(posix_random(&dice) % 2),
			 (unsigned)(posix_random(&dice) % 4));
		snprintf(b, sizeof(b), "d%u/f%u", (unsigned)(posix_random(&dice) % 2),
			 (unsigned)(posix_random(&dice) % 4));
		switch (posix_random(&dice) % 5) {
		case 0:
			fd = open(a, O_CREAT | O_RDWR, 0644);
			if (fd < 0) {
				CHECK(errno == ESTALE && posix_differs("replaced"));
				break;
			}
			CHECK_EQ(OK(write(fd, "x", 1)), 1);
			OK(close(fd));
			break;
		case 1:
			if (unlink(a) < 0)
				CHECK_EQ(errno, ENOENT);
			break;
		case 2:
			if (rename(a, b) < 0)
				CHECK_EQ(errno, ENOENT);
			break;
		case 3:
			if (link(a, b) < 0)
				CHECK(errno == ENOENT || errno == EEXIST);
			break;
		default:
			fd = open(a, O_RDONLY);
			if (fd < 0)
				CHECK(errno == ENOENT ||
				      (errno == ESTALE && posix_differs("replaced")));
			else
				OK(close(fd));
		}
	}
}

static void names(void)
{
	struct shared *s = share(posix_count(500, 8000));
	char name[32];

	OK(mkdir("d0", 0755));
	OK(mkdir("d1", 0755));
	posix_children(4, fight, s);
	/* Nothing is left over that cannot be removed, and every link count adds up. */
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "d%u/f%u", i / 4, i % 4);
		if (posix_exists(name)) {
			CHECK(posix_stat(name).st_nlink >= 1);
			OK(unlink(name));
		}
	}
	OK(rmdir("d0"));
	OK(rmdir("d1"));
}

static void own_region(void *arg, unsigned i)
{
	struct shared *s = arg;
	static uint8_t buf[5000], back[5000];
	int fd = (int)OK(open("f", O_RDWR));
	off_t base = (off_t)i * 5000;

	for (unsigned n = 0; n < s->rounds; n++) {
		posix_pattern(buf, sizeof(buf), n, i);
		posix_write_all(fd, buf, sizeof(buf), base);
		posix_read_all(fd, back, sizeof(back), base);
		CHECK(memcmp(buf, back, sizeof(buf)) == 0);
	}
}

/* Neighbours share blocks: no write may take another's bytes along. */
static void regions(void)
{
	struct shared *s = share(posix_count(200, 3000));
	static uint8_t buf[5000], back[5000];
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	OK(ftruncate(fd, 4 * 5000));
	posix_children(4, own_region, s);
	for (unsigned i = 0; i < 4; i++) {
		posix_pattern(buf, sizeof(buf), s->rounds - 1, i);
		posix_read_all(fd, back, sizeof(back), i * 5000);
		CHECK(memcmp(buf, back, sizeof(buf)) == 0);
	}
}

static void own_files(void *arg, unsigned i)
{
	struct shared *s = arg;
	char name[32];

	for (unsigned n = 0; n < s->rounds; n++) {
		snprintf(name, sizeof(name), "d/p%u-%u", i, n);
		posix_make(name, name);
	}
	for (unsigned n = 0; n < s->rounds; n++) {
		snprintf(name, sizeof(name), "d/p%u-%u", i, n);
		CHECK(strcmp(posix_text(name), name) == 0);
		if (n % 2)
			OK(unlink(name));
	}
}

static void one_directory(void)
{
	struct shared *s = share(posix_count(400, 2500));
	unsigned left = 0;
	DIR *d;

	OK(mkdir("d", 0755));
	posix_children(4, own_files, s);
	d = opendir("d");
	CHECK(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		left += e->d_name[0] != '.';
	closedir(d);
	CHECK_EQ(left, 4 * ((s->rounds + 1) / 2));
}

static void cut_or_write(void *arg, unsigned i)
{
	struct shared *s = arg;
	static char buf[20000];
	int fd = (int)OK(open("f", O_RDWR));

	for (unsigned n = 0; n < s->rounds; n++) {
		ssize_t got;

		if (i == 0) {
			OK(ftruncate(fd, (off_t)(n % 7) * 3000));
			continue;
		}
		if (i == 1) {
			memset(buf, 'w', sizeof(buf));
			posix_write_all(fd, buf, 10000, (off_t)(n % 5) * 2000);
			continue;
		}
		/* Only what was written, or zeros. */
		got = OK(pread(fd, buf, sizeof(buf), 0));
		for (ssize_t k = 0; k < got; k++)
			CHECK(buf[k] == 0 || buf[k] == 'w');
	}
}

static void cuts(void)
{
	struct shared *s = share(posix_count(300, 5000));

	posix_make("f", "");
	posix_children(3, cut_or_write, s);
}

struct thread {
	pthread_t id;
	unsigned number;
	int fd;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	for (unsigned i = 0; i < 200; i++) {
		char name[48], text[16];

		snprintf(name, sizeof(name), "t%u-%u", t->number, i);
		snprintf(text, sizeof(text), "%7u\n", i);
		posix_write_all(t->fd, text, 8, (off_t)(t->number * 200 + i) * 8);
		OK(close((int)OK(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644))));
		OK(unlink(name));
	}
	return NULL;
}

static void threads(void)
{
	struct thread t[8];
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	char text[16] = "";

	for (unsigned i = 0; i < 8; i++) {
		t[i].number = i;
		t[i].fd = fd;
		CHECK_EQ(pthread_create(&t[i].id, NULL, thread_main, &t[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(t[i].id, NULL);
	for (unsigned i = 0; i < 8 * 200; i++) {
		posix_read_all(fd, text, 8, i * 8);
		CHECK_EQ(atoi(text), i % 200);
	}
}

/* Several append through descriptors that share one offset: every byte once. */
static void shared_offset(void *arg, unsigned i)
{
	struct shared *s = arg;
	char c = (char)('a' + i);

	for (unsigned n = 0; n < s->rounds; n++)
		CHECK_EQ(OK(write((int)s->done, &c, 1)), 1);
}

static void offsets(void)
{
	struct shared *s = share(posix_count(300, 3000));
	unsigned count[4] = { 0 };
	const char *text;

	s->done = (unsigned long)OK(open("f", O_CREAT | O_WRONLY, 0644));
	posix_children(4, shared_offset, s);
	text = posix_text("f");
	CHECK_EQ(strlen(text), 4 * s->rounds);
	for (; *text; text++)
		count[*text - 'a']++;
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(count[i], s->rounds);
}

const struct posix_case race_cases[] = {
	{ "race_excl", "open(2): of O_EXCL creators exactly one wins", excl },
	{ "race_mkdir", "mkdir(2): exactly one wins", mkdirs },
	{ "race_append", "write(2): O_APPEND is atomic", appends },
	{ "race_replace", "rename(2): the name is always there, whole", replace },
	{ "race_loops", "rename(2): directories moved into each other make no loop", loops },
	{ "race_links", "link(2), unlink(2): st_nlink adds up", links },
	{ "race_names", "names made, moved, linked and removed by all", names },
	{ "race_regions", "write(2): neighbours in one block", regions },
	{ "race_one_directory", "four processes fill one directory", one_directory },
	{ "race_cuts", "ftruncate against write and read", cuts },
	{ "race_threads", "pwrite and create by eight threads", threads },
	{ "race_offset", "write(2): a shared file offset", offsets },
	{ 0 },
};
