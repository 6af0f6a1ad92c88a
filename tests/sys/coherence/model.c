/* The copy in memory: objects, names, what is in them and who may use them. */
#include "coh.h"

#include <grp.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SMALL_BYTES 8000u
#define LARGE_BYTES 1300000u

uint64_t dice;

/* splitmix64 (Steele, Lea and Flood 2014). */
uint64_t roll(void)
{
	uint64_t z = (dice += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void roll_for(unsigned round)
{
	round_now = round;
	dice = options.seed * 0x2545f4914f6cdd1dull + round;
	dice = roll();
}

uint64_t pick(uint64_t below)
{
	return below ? roll() % below : 0;
}

bool chance(unsigned percent)
{
	return pick(100) < percent;
}

void fill(uint8_t *p, size_t len_bytes)
{
	uint64_t word = roll();
	size_t done = 0;

	for (; done + 8 <= len_bytes; done += 8) {
		word = word * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(p + done, &word, 8);
	}
	memcpy(p + done, &word, len_bytes - done);
}

void wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
}

long must(struct world *w, long value, const char *call)
{
	if (value == -1)
		wrong(w, "%s: %s", call, strerrorname_np(errno));
	return value;
}

void absolute(const struct world *w, unsigned mount, const char *rel, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/%s/%s%s%s%s", options.mount[mount], options.folder, w->base,
		 rel[0] ? "/" : "", rel[0] ? w->prefix : "", rel);
}

static void stand_in(struct world *w, unsigned mount)
{
	char path[PATH_BYTES];

	if (w->base_fd[mount] < 0) {
		absolute(w, mount, "", path);
		w->base_fd[mount] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		MUST(w, w->base_fd[mount]);
	}
	MUST(w, fchdir(w->base_fd[mount]));
	w->cwd = (int)mount;
}

const char *at(struct world *w, unsigned mount, const char *rel)
{
	static char paths[8][PATH_BYTES];
	static unsigned next;
	char *path = paths[next++ % 8];

	if (w->cwd != (int)mount)
		stand_in(w, mount);
	snprintf(path, sizeof(paths[0]), "%s%s", rel[0] ? w->prefix : ".", rel);
	return path;
}

bool is_kind(const struct obj *o, mode_t kind)
{
	return (o->mode & S_IFMT) == kind;
}

int model_new(struct world *w, mode_t mode)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		struct obj *o = &w->obj[i];

		if (o->is_used)
			continue;
		*o = (struct obj){ .is_used = true, .mode = mode, .acl = -1 };
		if (S_ISREG(mode))
			o->data = calloc(1, DATA_BYTES_MAX);
		if (S_ISREG(mode) && !o->data)
			abort();
		return i;
	}
	abort();
}

void model_name(struct world *w, int dir, const char *text, int obj)
{
	struct name *n = &w->name[w->name_count++];

	if (w->name_count > NAMES_MAX)
		abort();
	n->dir = dir;
	n->obj = obj;
	snprintf(n->text, sizeof(n->text), "%s", text);
}

static int find_name(const struct world *w, int dir, const char *text)
{
	for (int i = 0; i < w->name_count; i++)
		if (w->name[i].dir == dir && strcmp(w->name[i].text, text) == 0)
			return i;
	return -1;
}

void model_drop(struct world *w, int dir, const char *text)
{
	int i = find_name(w, dir, text);

	if (i < 0)
		abort();
	w->name[i] = w->name[--w->name_count];
}

int model_find(const struct world *w, const char *path, bool follow)
{
	char text[3 * TEXT_BYTES], *rest = text, *part;
	int dir = 0, i;

	snprintf(text, sizeof(text), "%s", path);
	while ((part = strsep(&rest, "/"))) {
		if (!part[0])
			continue;
		if (!is_kind(&w->obj[dir], S_IFDIR))
			return -ENOTDIR;
		i = find_name(w, dir, part);
		if (i < 0)
			return -ENOENT;
		dir = w->name[i].obj;
	}
	/* Links are in the base, and lead to names there. */
	if (follow && is_kind(&w->obj[dir], S_IFLNK))
		return model_find(w, w->obj[dir].target, false);
	return dir;
}

nlink_t model_links(const struct world *w, int obj)
{
	bool is_dir = is_kind(&w->obj[obj], S_IFDIR);
	nlink_t links = 0, below = 0;

	for (int i = 0; i < w->name_count; i++) {
		links += w->name[i].obj == obj;
		below += w->name[i].dir == obj && is_kind(&w->obj[w->name[i].obj], S_IFDIR);
	}
	if (!is_dir)
		return links;
	return links || obj == 0 ? 2 + below : 0;
}

const char *model_path(const struct world *w, int obj)
{
	static char paths[4][3 * TEXT_BYTES];
	static unsigned next;
	char *path = paths[next++ % 4];

	if (obj == 0)
		return "";
	for (int i = 0; i < w->name_count; i++) {
		const struct name *n = &w->name[i];

		if (n->obj != obj)
			continue;
		/* No directory of ours is deeper than this. */
		if (n->dir == 0)
			snprintf(path, sizeof(paths[0]), "%s", n->text);
		else
			snprintf(path, sizeof(paths[0]), "%s/%s", model_path(w, n->dir), n->text);
		return path;
	}
	return NULL;
}

void model_resize(struct obj *o, uint64_t size_bytes)
{
	if (size_bytes > DATA_BYTES_MAX)
		abort();
	if (size_bytes < o->size_bytes)
		memset(o->data + size_bytes, 0, o->size_bytes - size_bytes);
	o->size_bytes = size_bytes;
	o->mtime.tv_sec = 0;
	o->moves |= MOVES_CTIME | MOVES_MTIME;
}

void model_write(struct obj *o, uint64_t off_bytes, const uint8_t *p, uint64_t len_bytes)
{
	if (off_bytes + len_bytes > o->size_bytes)
		model_resize(o, off_bytes + len_bytes);
	memcpy(o->data + off_bytes, p, len_bytes);
	o->mtime.tv_sec = 0;
	o->moves |= MOVES_CTIME | MOVES_MTIME;
}

/* As acl(5) says, for who is in no group but his own. */
static unsigned user_bits(const struct obj *o)
{
	if (o->uid == USER)
		return (o->mode >> 6) & 7;
	if (o->acl >= 0)
		return (unsigned)o->acl & (o->mode >> 3) & 7;
	if (o->gid == USER)
		return (o->mode >> 3) & 7;
	return o->mode & 7;
}

int model_access(const struct world *w, const char *path, int want)
{
	const char *slash = strchr(path, '/');
	char above[3 * TEXT_BYTES];
	const struct obj *o;
	int found;

	for (; slash; slash = strchr(slash + 1, '/')) {
		snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
		found = model_find(w, above, false);
		if (found < 0)
			return found;
		if (!is_kind(&w->obj[found], S_IFDIR))
			return -ENOTDIR;
		if (!(user_bits(&w->obj[found]) & X_OK))
			return -EACCES;
	}
	found = model_find(w, path, true);
	if (found < 0)
		return found;
	o = &w->obj[found];
	return ((int)user_bits(o) & want) == want ? 0 : -EACCES;
}

static void add_path(struct world *w, const char *dir, const char *text)
{
	char path[3 * TEXT_BYTES];

	snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", text);
	for (unsigned i = 0; i < w->path_count; i++)
		if (strcmp(w->path[i], path) == 0)
			return;
	if (w->path_count == PATHS_MAX)
		abort();
	memcpy(w->path[w->path_count++], path, sizeof(path));
}

void model_paths(struct world *w)
{
	/* In a directory of the base the last three make sense. */
	static const char *const universe[] = { "g", "h", "t", "s", "n", "f", "d", "k" };

	for (int i = 0; i < OBJS_MAX; i++) {
		const char *path = w->obj[i].is_used ? model_path(w, i) : NULL;

		if (!path || !is_kind(&w->obj[i], S_IFDIR))
			continue;
		for (size_t k = i == 0 ? 0 : 5; k < sizeof(universe) / sizeof(universe[0]); k++)
			add_path(w, path, universe[k]);
	}
}

/* Version 2 of system.posix_acl_access: tag, permissions and id of each entry, in the order of tags
 * (include/uapi/linux/posix_acl_xattr.h). */
size_t acl_encode(const struct obj *o, uint8_t out[ACL_BYTES_MAX])
{
	const struct {
		uint16_t tag, perm;
		uint32_t id;
	} entries[] = {
		{ 0x01, (o->mode >> 6) & 7, UINT32_MAX }, { 0x02, (uint16_t)o->acl, USER },
		{ 0x04, (uint16_t)o->group, UINT32_MAX }, { 0x10, (o->mode >> 3) & 7, UINT32_MAX },
		{ 0x20, o->mode & 7, UINT32_MAX },
	};
	const uint32_t version = 2;

	static_assert(sizeof(entries) + 4 == ACL_BYTES_MAX, "an entry has 8 bytes");
	memcpy(out, &version, 4);
	memcpy(out + 4, entries, sizeof(entries));
	return ACL_BYTES_MAX;
}

int user_begin(void)
{
	/* The saved id stays root's. */
	if (setgroups(0, NULL) < 0 || setresgid(USER, USER, 0) < 0 || setresuid(USER, USER, 0) < 0)
		abort();
	return 1;
}

void user_end(void)
{
	if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0)
		abort();
}

/* --- the scene --- */

static void learn_number(struct world *w, unsigned by, const char *path)
{
	int i = model_find(w, path, false);
	struct stat st;

	if (MUST(w, lstat(at(w, by, path), &st)) == 0)
		w->obj[i].ino = st.st_ino;
}

static int make_file(struct world *w, unsigned by, int dir, const char *text, const char *path)
{
	static uint8_t data[2 * LARGE_BYTES];
	size_t len = 1 + (w->is_large ? LARGE_BYTES + pick(LARGE_BYTES - 1) : pick(SMALL_BYTES));
	int i = model_new(w, S_IFREG | 0644), fd;

	if (strcmp(text, "f") != 0)
		len = 1 + pick(SMALL_BYTES);
	fill(data, len);
	/* As another name first: it is born in another directory than where it will be. */
	fd = open(at(w, by, path), O_CREAT | O_EXCL | O_WRONLY, 0644);
	MUST(w, fd);
	if (MUST(w, pwrite(fd, data, len, 0)) != (long)len)
		wrong(w, "a short write");
	close(fd);
	model_write(&w->obj[i], 0, data, len);
	if (dir >= 0)
		model_name(w, dir, text, i);
	return i;
}

static void make_dir(struct world *w, unsigned by, const char *text)
{
	MUST(w, mkdir(at(w, by, text), 0755));
	model_name(w, 0, text, model_new(w, S_IFDIR | 0755));
	learn_number(w, by, text);
}

static void make_f(struct world *w, unsigned by)
{
	int f;

	if (w->is_moved) {
		f = make_file(w, by, -1, "f", "t/n");
		MUST(w, rename(at(w, by, "t/n"), at(w, by, "f")));
		model_name(w, 0, "f", f);
	} else {
		f = make_file(w, by, 0, "f", "f");
	}
	learn_number(w, by, "f");
	if (w->is_linked) {
		MUST(w, link(at(w, by, "f"), at(w, by, "h")));
		model_name(w, 0, "h", f);
	}
}

static void make_base(struct world *w, unsigned by)
{
	char path[PATH_BYTES];
	struct stat st;

	model_new(w, S_IFDIR | 0755);
	if (w->is_big)
		snprintf(w->base, sizeof(w->base), "big");
	absolute(w, by, "", path);
	if (!w->is_big)
		MUST(w, mkdir(path, 0755));
	if (MUST(w, stat(at(w, by, ""), &st)) == 0)
		w->obj[0].ino = st.st_ino;
}

void world_make(struct world *w, unsigned by, uint64_t number)
{
	char target[2 * TEXT_BYTES];

	snprintf(w->base, sizeof(w->base), "w%llu", (unsigned long long)number);
	snprintf(w->prefix, sizeof(w->prefix), "c%llu-", (unsigned long long)number);
	w->lock_fd = -1;
	w->truth = w->cwd = -1;
	memset(w->base_fd, 0xff, sizeof(w->base_fd));
	for (unsigned m = 0; m < MOUNTS_MAX; m++)
		for (int i = 0; i < OBJS_MAX; i++)
			w->hold[m].fd[i] = w->hold[m].direct[i] = w->hold[m].rw[i] = -1;
	make_base(w, by);
	make_dir(w, by, "d");
	make_dir(w, by, "t");
	make_f(w, by);
	make_file(w, by, 0, "g", "g");
	learn_number(w, by, "g");
	make_file(w, by, model_find(w, "d", false), "k", "d/k");
	learn_number(w, by, "d/k");
	snprintf(target, sizeof(target), "%sf", w->prefix);
	MUST(w, symlink(target, at(w, by, "s")));
	model_name(w, 0, "s", model_new(w, S_IFLNK | 0777));
	snprintf(w->obj[model_find(w, "s", false)].target, TEXT_BYTES, "f");
	learn_number(w, by, "s");
	model_paths(w);
	for (int i = 0; i < OBJS_MAX; i++)
		w->obj[i].moves = 0;
}

static void remove_one(struct world *w, unsigned by, const struct name *n)
{
	char path[3 * TEXT_BYTES];
	const char *dir = model_path(w, n->dir);
	int flags = 0, fd;

	snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", n->text);
	if (w->obj[n->obj].iflags) {
		fd = open(at(w, by, path), O_RDONLY);
		MUST(w, ioctl(fd, FS_IOC_SETFLAGS, &flags));
		close(fd);
		w->obj[n->obj].iflags = 0;
	}
	if (is_kind(&w->obj[n->obj], S_IFDIR))
		MUST(w, rmdir(at(w, by, path)));
	else
		MUST(w, unlink(at(w, by, path)));
}

/* Children before their directories: those are never deeper than two. */
void world_remove(struct world *w, unsigned by)
{
	char path[PATH_BYTES];

	for (int deep = 2; deep >= 0; deep--) {
		for (int i = 0; i < w->name_count; i++) {
			const struct name *n = &w->name[i];
			int depth = n->dir == 0 ? 0 : strchr(model_path(w, n->dir), '/') ? 2 : 1;

			if (depth == deep)
				remove_one(w, by, n);
		}
	}
	MUST(w, chdir("/"));
	absolute(w, by, "", path);
	if (!w->is_big)
		MUST(w, rmdir(path));
	for (unsigned m = 0; m < options.mount_count; m++)
		if (w->base_fd[m] >= 0)
			close(w->base_fd[m]);
	for (int i = 0; i < OBJS_MAX; i++)
		free(w->obj[i].data);
}
