/*
 * What mounts do at the same time: races that one has to win, appends that must not be lost or
 * torn, and histories of the same few files and names, which must have an order (linear.c).
 */
#include "coh.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>

#define THREADS_MAX 8u
#define BLOCK 4096u
#define APPENDS 12u
#define RECORD_BYTES_MAX 6000u
#define RACES 6u

struct racer {
	pthread_t id;
	unsigned number, mount;
	uint64_t dice;
	char folder[PATH_BYTES - 100]; /* by this mount */
	struct op ops[HISTORY_MAX];
	unsigned count;
	unsigned won;
	char why[WHY_BYTES];
};

static struct racer racers[THREADS_MAX];
static unsigned racer_count;
static pthread_barrier_t gate;
static uint64_t stamps; /* the last that was written */

static uint64_t roll_own(struct racer *r, uint64_t below)
{
	uint64_t z = (r->dice += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (z ^ (z >> 31)) % below;
}

static void bad(struct racer *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void bad(struct racer *r, const char *fmt, ...)
{
	va_list ap;

	if (r->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
}

static const char *path_of(struct racer *r, char path[PATH_BYTES], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static const char *path_of(struct racer *r, char path[PATH_BYTES], const char *fmt, ...)
{
	int n = snprintf(path, PATH_BYTES, "%s/", r->folder);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + n, PATH_BYTES - (size_t)n, fmt, ap);
	va_end(ap);
	return path;
}

/* All do it at once; then the first failure, or an empty text. */
static const char *all_run(void *(*fn)(void *arg))
{
	const char *why = "";

	for (unsigned i = 0; i < racer_count; i++) {
		struct racer *r = &racers[i];

		r->number = i;
		r->mount = i % options.mount_count;
		r->dice = roll();
		r->count = r->won = 0;
		r->why[0] = 0;
		if (pthread_create(&r->id, NULL, fn, r))
			abort();
	}
	for (unsigned i = 0; i < racer_count; i++) {
		pthread_join(racers[i].id, NULL);
		if (!why[0])
			why = racers[i].why;
	}
	return why;
}

/* --- one wins --- */

static long do_excl(struct racer *r, unsigned round)
{
	char path[PATH_BYTES];
	int fd = open(path_of(r, path, "x%u", round), O_CREAT | O_EXCL | O_WRONLY, 0644);

	return fd < 0 ? -1 : close(fd);
}

static long do_mkdir(struct racer *r, unsigned round)
{
	char path[PATH_BYTES];

	return mkdir(path_of(r, path, "x%u", round), 0755);
}

static long do_symlink(struct racer *r, unsigned round)
{
	char path[PATH_BYTES];

	return symlink("there", path_of(r, path, "x%u", round));
}

static long do_link(struct racer *r, unsigned round)
{
	char path[PATH_BYTES], from[PATH_BYTES];

	return link(path_of(r, from, "own%u", r->number), path_of(r, path, "x%u", round));
}

static long do_noreplace(struct racer *r, unsigned round)
{
	char path[PATH_BYTES], from[PATH_BYTES];
	int fd = open(path_of(r, from, "from%u", r->number), O_CREAT | O_WRONLY, 0644);

	if (fd < 0 || close(fd) < 0)
		return -1;
	return renameat2(AT_FDCWD, from, AT_FDCWD, path_of(r, path, "x%u", round),
			 RENAME_NOREPLACE);
}

static const struct {
	const char *name;
	long (*fn)(struct racer *r, unsigned round);
} races[] = {
	{ "O_EXCL", do_excl }, { "mkdir", do_mkdir },         { "symlink", do_symlink },
	{ "link", do_link },   { "noreplace", do_noreplace },
};
static unsigned race_now;

static void *run_race(void *arg)
{
	struct racer *r = arg;
	char path[PATH_BYTES];
	int fd = open(path_of(r, path, "own%u", r->number), O_CREAT | O_WRONLY, 0644);

	if (fd < 0 || close(fd) < 0)
		bad(r, "own%u: %s", r->number, strerrorname_np(errno));
	for (unsigned n = 0; n < RACES; n++) {
		pthread_barrier_wait(&gate);
		if (races[race_now].fn(r, n) == 0)
			r->won++;
		else if (errno != EEXIST)
			bad(r, "round %u: %s, not EEXIST", n, strerrorname_np(errno));
	}
	return NULL;
}

static bool one_wins(void)
{
	unsigned won = 0;
	char text[WHY_BYTES];
	const char *why;

	race_now = (unsigned)pick(sizeof(races) / sizeof(races[0]));
	why = all_run(run_race);
	for (unsigned i = 0; i < racer_count; i++)
		won += racers[i].won;
	if (!why[0] && won == RACES)
		return true;
	snprintf(text, sizeof(text), "%s: %u of %u won; %s", races[race_now].name, won, RACES, why);
	report("race", text);
	return false;
}

/* --- appends --- */

struct record {
	uint32_t who, number, len_bytes;
};

static void *run_appends(void *arg)
{
	struct racer *r = arg;
	static _Thread_local uint8_t data[RECORD_BYTES_MAX];
	char path[PATH_BYTES];
	int fd = open(path_of(r, path, "append"), O_CREAT | O_WRONLY | O_APPEND, 0644);

	pthread_barrier_wait(&gate);
	for (unsigned n = 0; n < APPENDS && fd >= 0; n++) {
		struct record head = { r->number, n,
				       (uint32_t)(sizeof(head) +
						  roll_own(r, RECORD_BYTES_MAX - sizeof(head))) };

		memset(data, (int)(r->number * 31 + n), head.len_bytes);
		memcpy(data, &head, sizeof(head));
		if (write(fd, data, head.len_bytes) != (ssize_t)head.len_bytes)
			bad(r, "append: %s", strerrorname_np(errno));
	}
	if (fd < 0 || close(fd) < 0)
		bad(r, "append: %s", strerrorname_np(errno));
	return NULL;
}

/* Each record is there once, whole, and those of one writer in their order. */
static void check_appends(struct racer *r)
{
	static uint8_t all[THREADS_MAX * APPENDS * RECORD_BYTES_MAX];
	unsigned next[THREADS_MAX] = { 0 };
	struct record head;
	char path[PATH_BYTES];
	int fd = open(path_of(r, path, "append"), O_RDONLY);
	ssize_t len = 0, n = 1;
	size_t done = 0;

	while (fd >= 0 && n > 0 && (n = read(fd, all + len, sizeof(all) - (size_t)len)) > 0)
		len += n;
	close(fd);
	while (done + sizeof(head) <= (size_t)len && !r->why[0]) {
		memcpy(&head, all + done, sizeof(head));
		if (head.who >= racer_count || head.number != next[head.who] ||
		    head.len_bytes < sizeof(head) || done + head.len_bytes > (size_t)len)
			bad(r, "mount %u: at %zu is no record", r->mount, done);
		for (size_t k = sizeof(head); !r->why[0] && k < head.len_bytes; k++)
			if (all[done + k] != (uint8_t)(head.who * 31 + head.number))
				bad(r, "mount %u: the record at %zu is torn", r->mount, done);
		if (r->why[0])
			return;
		next[head.who]++;
		done += head.len_bytes;
	}
	for (unsigned i = 0; i < racer_count; i++)
		if (next[i] != APPENDS)
			bad(r, "mount %u: %u records of %u", r->mount, next[i], i);
}

static bool appends(void)
{
	const char *why = all_run(run_appends);

	for (unsigned i = 0; i < racer_count && !why[0]; i++) {
		check_appends(&racers[i]);
		why = racers[i].why;
	}
	if (why[0])
		report("append", why);
	return !why[0];
}

/* --- histories --- */

static void begin(struct racer *r, struct op *op)
{
	op->mount = r->mount;
	op->start_ns = now_ns();
}

/* An error that says nothing about the state leaves no trace. */
static void end(struct racer *r, struct op *op, int rc)
{
	op->end_ns = now_ns();
	if (rc == -ESTALE || r->count == HISTORY_MAX)
		return;
	if (rc < 0)
		bad(r, "operation %d: %s", (int)op->kind, strerrorname_np(-rc));
	r->ops[r->count++] = *op;
}

static int read_stamp(struct racer *r, int fd, uint64_t *stamp)
{
	static _Thread_local uint64_t block[BLOCK / 8];
	ssize_t n = pread(fd, block, BLOCK, 0);

	if (n < 0)
		return -errno;
	*stamp = block[0];
	for (unsigned i = 0; n == BLOCK && i < BLOCK / 8; i++)
		if (block[i] != block[0])
			bad(r, "a block is torn: %llu and %llu", (unsigned long long)block[0],
			    (unsigned long long)block[i]);
	if (n != BLOCK)
		bad(r, "a read of %zd bytes", n);
	return 0;
}

static int write_stamp(int fd, uint64_t stamp)
{
	static _Thread_local uint64_t block[BLOCK / 8];

	for (unsigned i = 0; i < BLOCK / 8; i++)
		block[i] = stamp;
	return pwrite(fd, block, BLOCK, 0) == BLOCK ? 0 : -errno;
}

/* One operation on the file, by the descriptors that are held or by new ones. */
static void file_op(struct racer *r, int rw, int append)
{
	char path[PATH_BYTES];
	uint64_t die = roll_own(r, 100);
	bool is_new = roll_own(r, 2);
	struct op op = { 0 };
	struct stat st;
	int fd = is_new ? open(path_of(r, path, "file"), O_RDWR) : rw, rc;

	if (die < 30) {
		op.kind = OP_READ;
		begin(r, &op);
		rc = read_stamp(r, fd, &op.result);
	} else if (die < 55) {
		op.kind = OP_SIZE;
		begin(r, &op);
		rc = (is_new ? stat(path, &st) : fstat(fd, &st)) < 0 ? -errno : 0;
		op.result = (uint64_t)st.st_size;
	} else if (die < 80) {
		op.kind = OP_WRITE;
		op.value = __atomic_add_fetch(&stamps, 1, __ATOMIC_SEQ_CST);
		begin(r, &op);
		rc = write_stamp(fd, op.value);
	} else if (die < 92) {
		static const uint8_t zeros[3000];

		op.kind = OP_APPEND;
		op.value = 1 + roll_own(r, sizeof(zeros));
		begin(r, &op);
		rc = write(append, zeros, op.value) == (ssize_t)op.value ? 0 : -errno;
	} else {
		op.kind = OP_CUT;
		op.value = BLOCK + roll_own(r, 3 * BLOCK);
		begin(r, &op);
		rc = ftruncate(fd, (off_t)op.value) < 0 ? -errno : 0;
	}
	end(r, &op, rc);
	if (is_new)
		close(fd);
}

static unsigned ops_each(void)
{
	return HISTORY_MAX / racer_count;
}

static void *run_file(void *arg)
{
	struct racer *r = arg;
	char path[PATH_BYTES];
	int rw = open(path_of(r, path, "file"), O_RDWR), append = open(path, O_WRONLY | O_APPEND);
	struct stat st;

	/* Everybody knows it before it begins. */
	if (rw < 0 || append < 0 || fstat(rw, &st) < 0)
		bad(r, "open: %s", strerrorname_np(errno));
	pthread_barrier_wait(&gate);
	for (unsigned i = 0; i < ops_each() && !r->why[0]; i++)
		file_op(r, rw, append);
	close(append);
	close(rw);
	return NULL;
}

static const char *slot_path(struct racer *r, char path[PATH_BYTES], unsigned slot)
{
	return path_of(r, path, "d%u/n%u", slot / 3, slot % 3);
}

/* Each name that it lists is looked up, as it were; so is each that it does not. */
static void list(struct racer *r)
{
	unsigned dir = (unsigned)roll_own(r, 2), first = r->count;
	char path[PATH_BYTES];
	struct dirent *e;
	struct op op = { .kind = OP_LOOKUP };
	uint64_t start = now_ns(), seen[3] = { 0 };
	DIR *d = opendir(path_of(r, path, "d%u", dir));

	if (r->count + 3 > ops_each() || !d) {
		if (d)
			closedir(d);
		return;
	}
	while ((e = readdir(d)))
		if (e->d_name[0] == 'n')
			seen[(e->d_name[1] - '0') % 3] = e->d_ino;
	closedir(d);
	for (unsigned i = 0; i < 3; i++) {
		op.slot = 3 * dir + i;
		op.result = seen[i];
		begin(r, &op);
		op.start_ns = start;
		end(r, &op, 0);
	}
	for (unsigned i = first; i < r->count; i++)
		r->ops[i].end_ns = r->ops[r->count - 1].end_ns;
}

static int lookup(struct racer *r, const char *path, uint64_t *ino)
{
	struct stat st;
	int fd, rc;

	if (roll_own(r, 2)) {
		rc = lstat(path, &st) < 0 ? -errno : 0;
	} else {
		fd = open(path, O_RDONLY);
		rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
		if (fd >= 0)
			close(fd);
	}
	*ino = rc == 0 ? st.st_ino : 0;
	return rc == -ENOENT ? 0 : rc;
}

static int create(const char *path, uint64_t *ino)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
	struct stat st;

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return -errno;
	}
	*ino = st.st_ino;
	return close(fd);
}

static int move(const char *from, const char *to, unsigned flags, uint64_t *result)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, flags) == 0) {
		*result = 1;
		return 0;
	}
	if (errno == EEXIST && flags == RENAME_NOREPLACE)
		*result = 2;
	else if (errno != ENOENT)
		return -errno;
	return 0;
}

static int change_names(struct racer *r, struct op *op)
{
	char path[PATH_BYTES], to[PATH_BYTES];
	unsigned flags = op->kind == OP_NOREPLACE  ? RENAME_NOREPLACE
			 : op->kind == OP_EXCHANGE ? RENAME_EXCHANGE
						   : 0;

	slot_path(r, path, op->slot);
	return move(path, slot_path(r, to, op->to), flags, &op->result);
}

static void name_op(struct racer *r)
{
	uint64_t die = roll_own(r, 100);
	struct op op = { .slot = (unsigned)roll_own(r, SLOTS) };
	char path[PATH_BYTES];
	int rc;

	op.to = (op.slot + 1 + (unsigned)roll_own(r, SLOTS - 1)) % SLOTS;
	slot_path(r, path, op.slot);
	op.kind = die < 30   ? OP_LOOKUP
		  : die < 55 ? OP_CREATE
		  : die < 70 ? OP_UNLINK
		  : die < 80 ? OP_RENAME
		  : die < 88 ? OP_NOREPLACE
			     : OP_EXCHANGE;
	if (die >= 94) {
		list(r);
		return;
	}
	begin(r, &op);
	switch (op.kind) {
	case OP_LOOKUP:
		rc = lookup(r, path, &op.result);
		break;
	case OP_CREATE:
		rc = create(path, &op.result);
		break;
	case OP_UNLINK:
		rc = unlink(path) < 0 ? -errno : 0;
		op.result = rc == 0;
		rc = rc == -ENOENT ? 0 : rc;
		break;
	default:
		rc = change_names(r, &op);
	}
	end(r, &op, rc);
}

static void *run_names(void *arg)
{
	struct racer *r = arg;
	char path[PATH_BYTES];

	for (unsigned slot = 0; slot < SLOTS; slot++)
		(void)access(slot_path(r, path, slot), F_OK);
	pthread_barrier_wait(&gate);
	while (r->count < ops_each() && !r->why[0])
		name_op(r);
	return NULL;
}

static int by_start(const void *a, const void *b)
{
	const struct op *x = a, *y = b;

	return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static bool history(const char *name, void *(*fn)(void *arg), const struct state *first)
{
	static struct op all[HISTORY_MAX];
	const char *why = all_run(fn);
	unsigned count = 0;
	int rc = 1;

	for (unsigned i = 0; i < racer_count; i++) {
		memcpy(all + count, racers[i].ops, racers[i].count * sizeof(all[0]));
		count += racers[i].count;
	}
	qsort(all, count, sizeof(all[0]), by_start);
	if (!why[0])
		rc = linear_check(all, count, first);
	if (rc < 0)
		printf("# the search of a history was too long\n");
	if (!why[0] && rc)
		return true;
	report(name, why[0] ? why : "the history has no order");
	linear_print(all, count);
	return false;
}

static bool histories(unsigned round)
{
	struct racer *r = &racers[0];
	struct state first = { 0 };
	char path[PATH_BYTES];
	int fd;

	if (round % 2 == 0) {
		first.size = chance(30) ? (3u << 20) : BLOCK * (1 + pick(3));
		fd = open(path_of(r, path, "file"), O_CREAT | O_RDWR, 0644);
		first.stamp = ++stamps;
		if (fd < 0 || write_stamp(fd, first.stamp) < 0 ||
		    ftruncate(fd, (off_t)first.size) < 0)
			report("file-history", strerrorname_np(errno));
		close(fd);
		return history("file-history", run_file, &first);
	}
	first.size = 0;
	for (unsigned i = 0; i < 2; i++)
		if (mkdir(path_of(r, path, "d%u", i), 0755) < 0)
			report("name-history", strerrorname_np(errno));
	return history("name-history", run_names, &first);
}

static void remove_folder(const char *path)
{
	char command[PATH_BYTES + 16];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	if (system(command) != 0)
		report("race", "what it made cannot be removed");
}

bool race_rounds(unsigned first, unsigned rounds)
{
	unsigned failed = 0;

	racer_count = options.mount_count < 4 ? 2 * options.mount_count : options.mount_count;
	pthread_barrier_init(&gate, NULL, racer_count);
	for (unsigned n = first; n < first + rounds; n++) {
		roll_for(n);
		for (unsigned i = 0; i < racer_count; i++)
			snprintf(racers[i].folder, sizeof(racers[i].folder), "%s/%s/r%u",
				 options.mount[i % options.mount_count], options.folder, n);
		if (mkdir(racers[0].folder, 0755) < 0)
			report("race", strerrorname_np(errno));
		switch (n % 4) {
		case 0:
			failed += !one_wins();
			break;
		case 1:
			failed += !appends();
			break;
		default:
			failed += !histories(n);
		}
		remove_folder(racers[0].folder);
	}
	pthread_barrier_destroy(&gate);
	return !failed;
}
