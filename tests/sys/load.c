/*
 * Writers for the kill loop, and the check of what they were promised.
 *
 *   load run DIR RECORDS WRITERS SEED     works below DIR until SIGTERM
 *   load check DIR RECORDS WRITERS        DIR against the records
 *
 * Each writer has a folder DIR/wN of its own and a record RECORDS/wN outside of the mount. Before
 * an operation it appends what it will do, after the reply that it was acknowledged; both are
 * written (write(2) into a file of another file system: SIGKILL of the server, or of the writer,
 * cannot take them back) before the next step. So after a kill everything is known but the one
 * operation that was in flight, which may have happened or not.
 *
 * `run` prints a line "in-flight N" when it gets SIGUSR1: how many writers are inside an operation
 * at that moment. SIGTERM ends it. A writer whose mount is gone (ENOTCONN and kin) ends quietly:
 * the operation stays unacknowledged.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WRITERS_MAX 32u
#define FILES 24u /* names that a writer uses */
#define FILE_BYTES_MAX (3u << 20)
#define NAMES (FILES + 8u) /* and subdirectories */

enum op { WRITE, APPEND, CUT, CREATE, UNLINK, RENAME, LINK, MKDIR, RMDIR, FSYNC, OPS };

/* A record: written twice, with is_done 0 before and 1 after. */
struct step {
	uint32_t op;
	uint32_t a, b; /* names */
	uint32_t tag;  /* of the bytes */
	uint64_t off, len;
	uint32_t number;
	uint32_t is_done; /* 1: acknowledged; 2: refused */
};

/* What a file must hold: extents of pattern over zeros, replayed into memory. */
struct file {
	uint8_t *bytes;
	uint64_t size;
	unsigned names;
};

struct model {
	struct file *name[FILES];
	bool dir[NAMES - FILES];
};

static const char *name_of(char buf[64], const char *dir, uint32_t n)
{
	snprintf(buf, 64, "%s/%s%u", dir, n < FILES ? "f" : "d", n < FILES ? n : n - FILES);
	return buf;
}

static uint64_t roll(uint64_t *dice)
{
	uint64_t z = (*dice += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void pattern(uint8_t *p, uint64_t len, uint64_t off, uint32_t tag)
{
	for (uint64_t i = 0; i < len;) {
		uint64_t at = off + i, skip = at % 8, n = 8 - skip;
		uint64_t word = (at / 8 + 1) * 0x9e3779b97f4a7c15ull ^ tag * 0xff51afd7ed558ccdull;

		n = n < len - i ? n : len - i;
		memcpy(p + i, (uint8_t *)&word + skip, n);
		i += n;
	}
}

/* --- the model --- */

static struct file *file_new(void)
{
	struct file *f = calloc(1, sizeof(*f));

	if (f)
		f->bytes = calloc(1, FILE_BYTES_MAX);
	if (!f || !f->bytes)
		abort();
	f->names = 1;
	return f;
}

static void file_put(struct file *f)
{
	if (f && --f->names == 0) {
		free(f->bytes);
		free(f);
	}
}

static void file_cut(struct file *f, uint64_t size)
{
	if (size < f->size)
		memset(f->bytes + size, 0, f->size - size);
	f->size = size;
}

static void file_write(struct file *f, const struct step *s)
{
	uint64_t off = s->op == APPEND ? f->size : s->off;

	pattern(f->bytes + off, s->len, off, s->tag);
	if (off + s->len > f->size)
		f->size = off + s->len;
}

/* Whether the model allows the step: the writers only do what must succeed. */
static bool model_may(const struct model *m, const struct step *s)
{
	const struct file *f = s->a < FILES ? m->name[s->a] : NULL;

	switch (s->op) {
	case CREATE:
		return !f;
	case WRITE:
	case CUT:
	case UNLINK:
	case FSYNC:
		return f;
	case APPEND:
		return f && f->size + s->len <= FILE_BYTES_MAX;
	case RENAME:
		return f && s->a != s->b && f != m->name[s->b];
	case LINK:
		return f && !m->name[s->b];
	case MKDIR:
		return !m->dir[s->a - FILES];
	case RMDIR:
		return m->dir[s->a - FILES];
	default:
		return false;
	}
}

static void model_apply(struct model *m, const struct step *s)
{
	struct file *f = s->a < FILES ? m->name[s->a] : NULL;

	switch (s->op) {
	case CREATE:
		m->name[s->a] = file_new();
		break;
	case WRITE:
	case APPEND:
		file_write(f, s);
		break;
	case CUT:
		file_cut(f, s->len);
		break;
	case UNLINK:
		file_put(f);
		m->name[s->a] = NULL;
		break;
	case RENAME:
		file_put(m->name[s->b]);
		m->name[s->b] = f;
		m->name[s->a] = NULL;
		break;
	case LINK:
		f->names++;
		m->name[s->b] = f;
		break;
	case MKDIR:
		m->dir[s->a - FILES] = true;
		break;
	case RMDIR:
		m->dir[s->a - FILES] = false;
		break;
	default:
		break;
	}
}

/* --- doing it --- */

/* One write(2), so that a step is one operation: whole, or an error. */
static int write_step(const char *path, const struct step *s, uint64_t size)
{
	static _Alignas(4096) uint8_t buf[1u << 20];
	uint64_t off = s->op == APPEND ? size : s->off;
	int fd = open(path, O_WRONLY | (s->op == APPEND ? O_APPEND : 0));
	ssize_t n;

	if (fd < 0)
		return -errno;
	pattern(buf, s->len, off, s->tag);
	n = s->op == APPEND ? write(fd, buf, s->len) : pwrite(fd, buf, s->len, (off_t)off);
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? (int)n : n == (ssize_t)s->len ? 0 : -EIO;
}

static int sync_step(const char *path)
{
	int fd = open(path, O_RDONLY), rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int create_step(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int step_do(const char *dir, const struct step *s, const struct model *m)
{
	char a[64], b[64];

	name_of(a, dir, s->a);
	name_of(b, dir, s->b);
	switch (s->op) {
	case CREATE:
		return create_step(a);
	case WRITE:
	case APPEND:
		return write_step(a, s, m->name[s->a]->size);
	case CUT:
		return truncate(a, (off_t)s->len) < 0 ? -errno : 0;
	case UNLINK:
		return unlink(a) < 0 ? -errno : 0;
	case RENAME:
		return rename(a, b) < 0 ? -errno : 0;
	case LINK:
		return link(a, b) < 0 ? -errno : 0;
	case MKDIR:
		return mkdir(a, 0755) < 0 ? -errno : 0;
	case RMDIR:
		return rmdir(a) < 0 ? -errno : 0;
	default:
		return sync_step(a);
	}
}

static void step_choose(uint64_t *dice, struct step *s)
{
	static const uint8_t weights[] = { WRITE,  WRITE,  WRITE,  WRITE,  APPEND, APPEND,
					   CUT,    CREATE, CREATE, CREATE, UNLINK, RENAME,
					   RENAME, LINK,   MKDIR,  RMDIR,  FSYNC };
	bool is_dir;

	s->op = weights[roll(dice) % sizeof(weights)];
	is_dir = s->op == MKDIR || s->op == RMDIR;
	s->a = (uint32_t)(is_dir ? FILES + roll(dice) % (NAMES - FILES) : roll(dice) % FILES);
	s->b = (uint32_t)(roll(dice) % FILES);
	s->tag = (uint32_t)roll(dice);
	s->off = roll(dice) % (FILE_BYTES_MAX - (1u << 20));
	s->len = roll(dice) % (roll(dice) % 6 == 0 ? 1u << 20 : 20000u) + 1;
	if (s->op == CUT)
		s->len = roll(dice) % FILE_BYTES_MAX;
}

static bool is_mount_gone(int rc)
{
	return rc == -ENOTCONN || rc == -ECONNABORTED || rc == -EINTR || rc == -ENODEV;
}

static void die(const char *what, unsigned writer, const struct step *s, int rc)
{
	printf("writer %u step %u (op %u, %u, %u): %s: %s\n", writer, s->number, s->op, s->a, s->b,
	       what, strerror(-rc));
	fflush(stdout);
	_exit(1);
}

static int open_record(const char *records, unsigned writer, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/w%u", records, writer);
	fd = open(path, flags, 0644);
	if (fd < 0) {
		perror(path);
		_exit(2);
	}
	return fd;
}

static void record(int fd, const struct step *s)
{
	if (write(fd, s, sizeof(*s)) != (ssize_t)sizeof(*s)) {
		perror("record");
		_exit(2);
	}
}

static bool read_record(int fd, struct step *s)
{
	return read(fd, s, sizeof(*s)) == (ssize_t)sizeof(*s);
}

/* Shared by `run` and its writers. */
struct board {
	volatile uint32_t in_flight[WRITERS_MAX];
	volatile uint64_t done[WRITERS_MAX];
};

/* The model that the records so far give; *@last_out is a step without an end. */
static bool replay(int fd, struct model *m, struct step *last_out, uint32_t *number_out)
{
	bool is_open = false;
	struct step s;

	while (read_record(fd, &s)) {
		*number_out = s.number;
		if (s.is_done == 0) {
			*last_out = s;
			is_open = true;
			continue;
		}
		is_open = false;
		if (s.is_done == 1)
			model_apply(m, &s);
	}
	return is_open;
}

/* --- the check --- */

static bool is_file_as(const char *path, const struct file *f, char why[200])
{
	uint8_t *bytes = malloc(FILE_BYTES_MAX + 1);
	int fd = open(path, O_RDONLY);
	struct stat st;
	size_t len = 0;
	bool is_fine = false;

	why[0] = 0;
	if (!bytes || fd < 0 || fstat(fd, &st) < 0) {
		snprintf(why, 200, "%s", strerror(errno));
		goto out;
	}
	for (;;) {
		ssize_t n = read(fd, bytes + len, FILE_BYTES_MAX + 1 - len);

		if (n < 0)
			snprintf(why, 200, "read: %s", strerror(errno));
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (why[0])
		goto out;
	if (len != f->size || (uint64_t)st.st_size != f->size) {
		snprintf(why, 200, "%zu bytes (st_size %lld) instead of %llu", len,
			 (long long)st.st_size, (unsigned long long)f->size);
		goto out;
	}
	is_fine = true;
	for (size_t i = 0; i < len && is_fine; i++)
		if (bytes[i] != f->bytes[i]) {
			snprintf(why, 200, "byte %zu of %zu is %02x, not %02x", i, len, bytes[i],
				 f->bytes[i]);
			is_fine = false;
		}
	if (is_fine && st.st_nlink != f->names) {
		snprintf(why, 200, "%lu links instead of %u", (unsigned long)st.st_nlink, f->names);
		is_fine = false;
	}
out:
	if (fd >= 0)
		close(fd);
	free(bytes);
	return is_fine;
}

/*
 * A write that nobody was told of: within a chunk it is one step for each request that the kernel
 * made of it, in their order, and they end at pages. So of each chunk's part a beginning may be
 * new and the rest old, and the size is the old one or the new one.
 */
static bool is_write_half(const char *path, const struct file *was, const struct file *is,
			  const struct step *s)
{
	uint64_t off = s->op == APPEND ? was->size : s->off, end = off + s->len, at = off;
	uint8_t *bytes = calloc(1, FILE_BYTES_MAX + 1);
	int fd = open(path, O_RDONLY);
	ssize_t got = bytes && fd >= 0 ? pread(fd, bytes, FILE_BYTES_MAX + 1, 0) : -1;
	bool is_fine = got >= 0 && ((uint64_t)got == was->size || (uint64_t)got == is->size);

	if (is_fine && end > (uint64_t)got)
		end = (uint64_t)got;
	for (uint64_t i = 0; is_fine && i < (uint64_t)got; i++)
		if (i < off || i >= end)
			is_fine = bytes[i] == was->bytes[i];
	while (is_fine && at < end) {
		uint64_t stop = (at | ((1u << 20) - 1)) + 1, split;

		if (stop > end)
			stop = end;
		for (split = at; split < stop && bytes[split] == is->bytes[split];)
			split++;
		/* Bytes may be equal by chance past the page where the new ones end. */
		if (split < stop)
			split = split / 4096 * 4096 > at ? split / 4096 * 4096 : at;
		for (uint64_t i = split; i < stop && is_fine; i++)
			is_fine = bytes[i] == was->bytes[i];
		at = stop;
	}
	if (fd >= 0)
		close(fd);
	free(bytes);
	return is_fine;
}

static bool is_as(const char *dir, const struct model *m, char why[300])
{
	char path[64], what[200];
	struct stat st;

	for (uint32_t n = 0; n < NAMES; n++) {
		bool wanted = n < FILES ? m->name[n] != NULL : m->dir[n - FILES];

		name_of(path, dir, n);
		if (lstat(path, &st) < 0) {
			if (wanted || errno != ENOENT) {
				snprintf(why, 300, "%s: %s", path, strerror(errno));
				return false;
			}
			continue;
		}
		if (!wanted) {
			snprintf(why, 300, "%s is there again", path);
			return false;
		}
		if (n < FILES && !is_file_as(path, m->name[n], what)) {
			snprintf(why, 300, "%s: %s", path, what);
			return false;
		}
	}
	return true;
}

/*
 * A half done write cannot go into the model as it is: it is written again, whole, and checked.
 * Without one (@s is another step, or was done wholly or not at all): false.
 */
static bool settle_half(const char *dir, const char *records, unsigned writer,
			const struct model *m, const struct step *s)
{
	struct file *was, *is;
	struct step again = *s;
	char path[64];
	bool is_half;
	int fd;

	if (s->op != WRITE && s->op != APPEND)
		return false;
	was = m->name[s->a];
	is = file_new();
	memcpy(is->bytes, was->bytes, FILE_BYTES_MAX);
	is->size = was->size;
	is->names = was->names;
	file_write(is, s);
	name_of(path, dir, s->a);
	is_half = !is_file_as(path, is, (char[200]){ 0 }) && is_write_half(path, was, is, s);
	is->names = 1;
	file_put(is);
	if (!is_half)
		return false;
	again.off = s->op == APPEND ? was->size : s->off;
	again.op = WRITE;
	if (write_step(path, &again, was->size) < 0)
		return false;
	again.is_done = 1;
	fd = open_record(records, writer, O_WRONLY | O_APPEND);
	record(fd, &again);
	close(fd);
	printf("writer %u: step %u was half done\n", writer, s->number);
	return true;
}

/* Compares, and where the open step must have happened applies it and closes the record. */
static int settle(const char *dir, const char *records, unsigned writer, struct model *m,
		  uint32_t *number_out)
{
	int fd = open_record(records, writer, O_RDWR | O_CREAT | O_APPEND);
	char before[300], after[300];
	struct step open_step;
	bool is_open;

	*number_out = 0;
	is_open = replay(fd, m, &open_step, number_out);
	if (is_as(dir, m, before)) {
		open_step.is_done = 2;
	} else {
		if (!is_open) {
			printf("writer %u, after step %u: %s\n", writer, *number_out, before);
			return 1;
		}
		if (settle_half(dir, records, writer, m, &open_step)) {
			close(fd);
			return 0;
		}
		model_apply(m, &open_step);
		if (!is_as(dir, m, after)) {
			printf("writer %u: without its last step %u (op %u): %s; with it: %s\n",
			       writer, open_step.number, open_step.op, before, after);
			return 1;
		}
		open_step.is_done = 1;
	}
	if (is_open)
		record(fd, &open_step);
	close(fd);
	return 0;
}

static int check_all(const char *dir, const char *records, unsigned writers)
{
	int rc = 0;

	for (unsigned w = 0; w < writers; w++) {
		struct model *m = calloc(1, sizeof(*m));
		char own[300];
		uint32_t number;

		snprintf(own, sizeof(own), "%s/w%u", dir, w);
		if (!m || chdir(own) < 0) {
			printf("%s: %s\n", own, strerror(errno));
			return 1;
		}
		rc |= settle(".", records, w, m, &number);
		for (uint32_t n = 0; n < FILES; n++)
			file_put(m->name[n]);
		free(m);
	}
	return rc;
}

/* --- the run --- */

static _Noreturn void writer_main(struct board *board, const char *dir, const char *records,
				  unsigned writer, uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t dice = seed * 1000003u + writer;
	struct step s = { 0 };
	char own[300];
	uint32_t number = 0;
	int fd, rc;

	signal(SIGTERM, SIG_DFL);
	snprintf(own, sizeof(own), "%s/w%u", dir, writer);
	if (!m || (mkdir(own, 0755) < 0 && errno != EEXIST) || chdir(own) < 0) {
		perror(own);
		_exit(2);
	}
	fd = open_record(records, writer, O_RDWR | O_CREAT | O_APPEND);
	if (replay(fd, m, &s, &number)) {
		printf("writer %u: check first\n", writer);
		_exit(2);
	}
	for (;;) {
		step_choose(&dice, &s);
		if (!model_may(m, &s))
			continue;
		s.number = ++number;
		s.is_done = 0;
		record(fd, &s);
		board->in_flight[writer] = 1;
		rc = step_do(".", &s, m);
		board->in_flight[writer] = 0;
		if (rc < 0 && is_mount_gone(rc))
			_exit(3);
		if (rc < 0)
			die("refused", writer, &s, rc);
		s.is_done = 1;
		record(fd, &s);
		model_apply(m, &s);
		board->done[writer]++;
	}
}

static void tell(const struct board *board, unsigned writers)
{
	uint64_t done = 0;
	unsigned busy = 0;

	for (unsigned w = 0; w < writers; w++) {
		busy += board->in_flight[w];
		done += board->done[w];
	}
	printf("in-flight %u done %llu\n", busy, (unsigned long long)done);
	fflush(stdout);
}

/* Ends the writers; a writer that said that something was wrong counts. */
static int end_writers(pid_t *pids, unsigned writers)
{
	int rc = 0, status;

	for (unsigned w = 0; w < writers; w++)
		kill(pids[w], SIGKILL);
	for (unsigned w = 0; w < writers; w++) {
		waitpid(pids[w], &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) != 3)
			rc = 1;
	}
	return rc;
}

static int run_all(const char *dir, const char *records, unsigned writers, uint64_t seed)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[WRITERS_MAX];
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	if (board == MAP_FAILED || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return 2;
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return 2;
	for (unsigned w = 0; w < writers; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			sigprocmask(SIG_UNBLOCK, &set, NULL);
			writer_main(board, dir, records, w, seed);
		}
	}
	printf("started\n");
	fflush(stdout);
	for (;;) {
		struct signalfd_siginfo got;

		if (read(fd, &got, sizeof(got)) != (ssize_t)sizeof(got))
			return 2;
		if (got.ssi_signo == SIGTERM)
			return end_writers(pids, writers);
		tell(board, writers);
	}
}

int main(int argc, char **argv)
{
	unsigned writers = argc > 4 ? (unsigned)atoi(argv[4]) : 0;

	if (writers == 0 || writers > WRITERS_MAX)
		argc = 0;
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		return run_all(argv[2], argv[3], writers, strtoull(argv[5], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "check") == 0)
		return check_all(argv[2], argv[3], writers);
	fprintf(stderr,
		"usage: load run DIR RECORDS WRITERS SEED | load check DIR RECORDS WRITERS\n");
	return 2;
}
