/* What can be looked at: each compares what one mount shows with the model. */
#include "coh.h"

#include <dirent.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#define MAP_BYTES DATA_BYTES_MAX

static uint8_t buf[DATA_BYTES_MAX] __attribute__((aligned(4096)));

static bool is_warming(const struct world *w)
{
	return w->truth < 0;
}

/* --- what is held --- */

static void hold_one(struct world *w, unsigned mount, int i, const char *path, bool is_changer)
{
	struct hold *h = &w->hold[mount];
	const struct obj *o = &w->obj[i];
	void *map;

	if (is_kind(o, S_IFDIR)) {
		h->fd[i] = open(at(w, mount, path), O_RDONLY | O_DIRECTORY);
		MUST(w, h->fd[i]);
	}
	if (!is_kind(o, S_IFREG))
		return;
	h->fd[i] = open(at(w, mount, path), O_RDONLY);
	MUST(w, h->fd[i]);
	h->direct[i] = open(at(w, mount, path), O_RDONLY | O_DIRECT);
	MUST(w, h->direct[i]);
	map = mmap(NULL, MAP_BYTES, PROT_READ, MAP_SHARED, h->fd[i], 0);
	if (map == MAP_FAILED)
		wrong(w, "mmap: %s", strerrorname_np(errno));
	else
		h->map[i] = map;
	if (is_changer && !o->iflags) {
		h->rw[i] = open(at(w, mount, path), O_RDWR);
		MUST(w, h->rw[i]);
	}
}

void hold_open(struct world *w, unsigned mount, bool is_changer)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		const char *path = w->obj[i].is_used ? model_path(w, i) : NULL;

		w->hold[mount].fd[i] = w->hold[mount].direct[i] = w->hold[mount].rw[i] = -1;
		w->hold[mount].map[i] = NULL;
		if (path)
			hold_one(w, mount, i, path, is_changer);
	}
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void hold_close(struct world *w, unsigned mount)
{
	struct hold *h = &w->hold[mount];

	for (int i = 0; i < OBJS_MAX; i++) {
		close_one(&h->fd[i]);
		close_one(&h->direct[i]);
		close_one(&h->rw[i]);
		if (h->map[i])
			munmap((void *)(uintptr_t)h->map[i], MAP_BYTES);
		h->map[i] = NULL;
	}
}

static bool is_held(const struct world *w, unsigned mount, int i, mode_t kind)
{
	return w->obj[i].is_used && is_kind(&w->obj[i], kind) && w->hold[mount].fd[i] >= 0;
}

/* --- attributes --- */

#define SAME(field, want) \
	do { \
		if ((unsigned long long)(st->field) != (unsigned long long)(want)) \
			wrong(w, "%s %s: " #field " %llu, not %llu", w->what, path, \
			      (unsigned long long)(st->field), (unsigned long long)(want)); \
	} while (0)

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void check_times(struct world *w, int i, const char *path, const struct stat *st)
{
	struct obj *o = &w->obj[i];

	if (o->mtime.tv_sec) {
		SAME(st_mtim.tv_sec, o->mtime.tv_sec);
		SAME(st_mtim.tv_nsec, o->mtime.tv_nsec);
	}
	if (is_warming(w)) {
		o->old_ctime = st->st_ctim;
		o->old_mtime = st->st_mtim;
		o->moves = 0;
		return;
	}
	if (o->old_ctime.tv_sec && (o->moves & MOVES_CTIME) &&
	    !is_later(&st->st_ctim, &o->old_ctime))
		wrong(w, "%s %s: ctime has not moved", w->what, path);
	if (o->old_ctime.tv_sec && (o->moves & MOVES_MTIME) &&
	    !is_later(&st->st_mtim, &o->old_mtime))
		wrong(w, "%s %s: mtime has not moved", w->what, path);
}

static void check_stat(struct world *w, int i, const char *path, const struct stat *st)
{
	const struct obj *o = &w->obj[i];

	SAME(st_ino, o->ino);
	SAME(st_mode, o->mode);
	SAME(st_nlink, model_links(w, i));
	SAME(st_uid, o->uid);
	SAME(st_gid, o->gid);
	if (is_kind(o, S_IFREG))
		SAME(st_size, o->size_bytes);
	if (is_kind(o, S_IFCHR))
		SAME(st_rdev, o->rdev);
	check_times(w, i, path, st);
}

/* What the model cannot know, the mount that made the change does; it is asked afterwards. */
static void check_truth(struct world *w, const char *path, const struct stat *st,
			const struct stat *truth)
{
	SAME(st_mtim.tv_sec, truth->st_mtim.tv_sec);
	SAME(st_mtim.tv_nsec, truth->st_mtim.tv_nsec);
	SAME(st_ctim.tv_sec, truth->st_ctim.tv_sec);
	SAME(st_ctim.tv_nsec, truth->st_ctim.tv_nsec);
	SAME(st_size, truth->st_size);
	SAME(st_blocks, truth->st_blocks);
}

static void expect(struct world *w, const char *path, int rc, int want)
{
	if (rc < 0 && want >= 0)
		wrong(w, "%s %s: %s", w->what, path, strerrorname_np(-rc));
	else if (rc >= 0 && want < 0)
		wrong(w, "%s %s: there is something, not %s", w->what, path,
		      strerrorname_np(-want));
	else if (rc < 0 && rc != want)
		wrong(w, "%s %s: %s, not %s", w->what, path, strerrorname_np(-rc),
		      strerrorname_np(-want));
}

static void look_stat(struct world *w, unsigned mount)
{
	static struct stat st[PATHS_MAX];
	struct stat truth;
	int found[PATHS_MAX];

	for (unsigned p = 0; p < w->path_count; p++) {
		int rc = lstat(at(w, mount, w->path[p]), &st[p]) < 0 ? -errno : 0;

		found[p] = model_find(w, w->path[p], false);
		expect(w, w->path[p], rc, found[p]);
		if (rc == 0 && found[p] >= 0)
			check_stat(w, found[p], w->path[p], &st[p]);
	}
	if (is_warming(w) || w->why[0])
		return;
	for (unsigned p = 0; p < w->path_count; p++)
		if (found[p] >= 0 && lstat(at(w, (unsigned)w->truth, w->path[p]), &truth) == 0)
			check_truth(w, w->path[p], &st[p], &truth);
}

/* By descriptors, of what has no name too. */
static void look_fstat(struct world *w, unsigned mount)
{
	struct stat st;

	for (int i = 0; i < OBJS_MAX; i++) {
		const char *path = w->obj[i].is_used ? model_path(w, i) : NULL;

		if (w->hold[mount].fd[i] < 0)
			continue;
		/* Nobody keeps a removed directory: doc/design/testing.md. */
		if (!path && is_kind(&w->obj[i], S_IFDIR))
			continue;
		if (MUST(w, fstat(w->hold[mount].fd[i], &st)) == 0)
			check_stat(w, i, path ? path : "(removed)", &st);
	}
}

/* What is not there, and what has come since. */
static void look_exists(struct world *w, unsigned mount)
{
	for (unsigned p = 0; p < w->path_count; p++) {
		int rc = faccessat(AT_FDCWD, at(w, mount, w->path[p]), F_OK, AT_SYMLINK_NOFOLLOW);

		expect(w, w->path[p], rc < 0 ? -errno : 0, model_find(w, w->path[p], false));
	}
}

static void look_readlink(struct world *w, unsigned mount)
{
	char want[2 * TEXT_BYTES], text[2 * TEXT_BYTES];

	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], false);
		ssize_t n;

		if (i < 0 || !is_kind(&w->obj[i], S_IFLNK))
			continue;
		n = readlink(at(w, mount, w->path[p]), text, sizeof(text) - 1);
		if (MUST(w, n) < 0)
			continue;
		text[n] = 0;
		snprintf(want, sizeof(want), "%s%s", w->prefix, w->obj[i].target);
		if (strcmp(text, want) != 0)
			wrong(w, "readlink %s: %s, not %s", w->path[p], text, want);
	}
}

/* --- open and read --- */

static int open_as(struct world *w, unsigned mount, const char *path, int flags)
{
	int fd = open(at(w, mount, path), flags | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static bool can_open(const struct world *w, int i)
{
	return i < 0 || is_kind(&w->obj[i], S_IFREG) || is_kind(&w->obj[i], S_IFDIR);
}

static void look_open(struct world *w, unsigned mount)
{
	struct stat st;

	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], true), fd;

		if (!can_open(w, i))
			continue;
		fd = open_as(w, mount, w->path[p], O_RDONLY);
		expect(w, w->path[p], fd, i);
		if (fd < 0)
			continue;
		if (i >= 0 && MUST(w, fstat(fd, &st)) == 0 && st.st_ino != w->obj[i].ino)
			wrong(w, "open %s: another file", w->path[p]);
		close(fd);
		if (i < 0 || !is_kind(&w->obj[i], S_IFREG))
			continue;
		fd = open_as(w, mount, w->path[p], O_WRONLY);
		expect(w, w->path[p], fd, w->obj[i].iflags ? -EPERM : 0);
		if (fd >= 0)
			close(fd);
	}
}

static void compare(struct world *w, int i, const char *path, const uint8_t *p, uint64_t len)
{
	const struct obj *o = &w->obj[i];
	uint64_t k = 0;

	if (len != o->size_bytes) {
		wrong(w, "%s %s: %llu bytes, not %llu", w->what, path, (unsigned long long)len,
		      (unsigned long long)o->size_bytes);
		return;
	}
	if (memcmp(p, o->data, len) == 0)
		return;
	while (p[k] == o->data[k])
		k++;
	wrong(w, "%s %s: byte %llu of %llu is wrong", w->what, path, (unsigned long long)k,
	      (unsigned long long)len);
}

static uint64_t read_all(struct world *w, int fd)
{
	uint64_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < sizeof(buf)) {
		n = pread(fd, buf + len, sizeof(buf) - len, (off_t)len);
		if (MUST(w, n) > 0)
			len += (uint64_t)n;
	}
	return len;
}

static void look_read(struct world *w, unsigned mount)
{
	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], true), fd;

		if (i < 0 || !is_kind(&w->obj[i], S_IFREG))
			continue;
		fd = open_as(w, mount, w->path[p], O_RDONLY);
		expect(w, w->path[p], fd, 0);
		if (fd < 0)
			continue;
		compare(w, i, w->path[p], buf, read_all(w, fd));
		close(fd);
	}
}

static void look_pread(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++)
		if (is_held(w, mount, i, S_IFREG))
			compare(w, i, "(held)", buf, read_all(w, w->hold[mount].fd[i]));
}

static void look_direct(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++)
		if (is_held(w, mount, i, S_IFREG))
			compare(w, i, "(held)", buf, read_all(w, w->hold[mount].direct[i]));
}

static void look_map(struct world *w, unsigned mount)
{
	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], false), fd;
		uint8_t *map;

		if (i < 0 || !is_kind(&w->obj[i], S_IFREG) || w->obj[i].size_bytes == 0)
			continue;
		fd = open_as(w, mount, w->path[p], O_RDONLY);
		expect(w, w->path[p], fd, 0);
		if (fd < 0)
			continue;
		map = mmap(NULL, w->obj[i].size_bytes, PROT_READ, MAP_SHARED, fd, 0);
		/* Behind the end there is a signal and no byte. */
		if (map == MAP_FAILED || lseek(fd, 0, SEEK_END) < (off_t)w->obj[i].size_bytes)
			wrong(w, "map %s: too short", w->path[p]);
		else
			compare(w, i, w->path[p], map, w->obj[i].size_bytes);
		if (map != MAP_FAILED)
			munmap(map, w->obj[i].size_bytes);
		close(fd);
	}
}

/* A map from before, after a look at the file as POSIX allows. */
static void look_old_map(struct world *w, unsigned mount)
{
	struct stat st;

	for (int i = 0; i < OBJS_MAX; i++) {
		if (!is_held(w, mount, i, S_IFREG) || !w->hold[mount].map[i])
			continue;
		if (MUST(w, fstat(w->hold[mount].fd[i], &st)) == 0 &&
		    (uint64_t)st.st_size == w->obj[i].size_bytes)
			compare(w, i, "(held)", w->hold[mount].map[i], w->obj[i].size_bytes);
		else
			wrong(w, "old-map: size %llu, not %llu", (unsigned long long)st.st_size,
			      (unsigned long long)w->obj[i].size_bytes);
	}
}

/* The kernel takes the length from what it knows. */
static void look_sendfile(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		uint64_t want = w->obj[i].size_bytes < 4096 ? w->obj[i].size_bytes : 4096;
		uint64_t from;
		int ends[2];
		off_t off;

		if (!is_held(w, mount, i, S_IFREG) || pipe(ends) < 0)
			continue;
		from = w->obj[i].size_bytes - want;
		off = (off_t)from;
		if (MUST(w, sendfile(ends[1], w->hold[mount].fd[i], &off, 4096)) != (long)want)
			wrong(w, "sendfile: not %llu bytes", (unsigned long long)want);
		else if (want && (read(ends[0], buf, 4096) != (ssize_t)want ||
				  memcmp(buf, w->obj[i].data + from, want) != 0))
			wrong(w, "sendfile: wrong bytes");
		close(ends[0]);
		close(ends[1]);
	}
}

/* What is a hole is zero, and all of it is there. */
static void look_holes(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		const struct obj *o = &w->obj[i];
		off_t hole = 0, data;

		if (!is_held(w, mount, i, S_IFREG))
			continue;
		while ((uint64_t)hole < o->size_bytes) {
			data = lseek(w->hold[mount].fd[i], hole, SEEK_DATA);
			if (data < 0 && errno != ENXIO)
				wrong(w, "SEEK_DATA: %s", strerrorname_np(errno));
			data = data < 0 ? (off_t)o->size_bytes : data;
			for (; hole < data && (uint64_t)hole < o->size_bytes; hole++)
				if (o->data[hole])
					wrong(w, "holes: byte %lld is data", (long long)hole);
			if ((uint64_t)data >= o->size_bytes || w->why[0])
				break;
			hole = lseek(w->hold[mount].fd[i], data, SEEK_HOLE);
			if (hole <= data)
				wrong(w, "holes: SEEK_HOLE of %lld gives %lld", (long long)data,
				      (long long)hole);
		}
	}
}

/* --- directories --- */

static unsigned kind_of(mode_t mode)
{
	return IFTODT(mode);
}

/* Lists it, from the start; what has our prefix, or is not in the base, must be the model's. */
static void check_listing(struct world *w, unsigned mount, int dir, DIR *d, bool is_plus)
{
	size_t skip = dir == 0 ? strlen(w->prefix) : 0;
	unsigned seen[NAMES_MAX] = { 0 }, entries = 0;
	struct dirent *e;
	struct stat st;
	int i;

	(void)mount;
	while ((errno = 0, e = readdir(d))) {
		entries += e->d_name[0] == 'e';
		if (e->d_name[0] == '.' || (skip && strncmp(e->d_name, w->prefix, skip) != 0))
			continue;
		for (i = 0; i < w->name_count; i++)
			if (w->name[i].dir == dir && strcmp(w->name[i].text, e->d_name + skip) == 0)
				break;
		if (i == w->name_count) {
			wrong(w, "%s: %s is listed", w->what, e->d_name + skip);
			continue;
		}
		seen[i]++;
		if (e->d_ino != w->obj[w->name[i].obj].ino ||
		    e->d_type != kind_of(w->obj[w->name[i].obj].mode))
			wrong(w, "%s: %s is another inode", w->what, e->d_name + skip);
		if (is_plus && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			check_stat(w, w->name[i].obj, w->name[i].text, &st);
		else if (is_plus)
			wrong(w, "%s: %s: %s", w->what, e->d_name, strerrorname_np(errno));
	}
	if (errno)
		wrong(w, "%s: %s", w->what, strerrorname_np(errno));
	for (i = 0; i < w->name_count; i++)
		if (w->name[i].dir == dir && seen[i] != 1)
			wrong(w, "%s: %s is listed %u times", w->what, w->name[i].text, seen[i]);
	if (dir == 0 && w->is_big && entries != BIG_ENTRIES)
		wrong(w, "%s: %u others are listed", w->what, entries);
}

static void list_all(struct world *w, unsigned mount, bool is_plus)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		const char *path = w->obj[i].is_used ? model_path(w, i) : NULL;
		DIR *d;

		if (!path || !is_kind(&w->obj[i], S_IFDIR))
			continue;
		d = opendir(at(w, mount, path));
		if (!d) {
			wrong(w, "%s %s: %s", w->what, path, strerrorname_np(errno));
			continue;
		}
		check_listing(w, mount, i, d, is_plus);
		closedir(d);
	}
}

static void look_readdir(struct world *w, unsigned mount)
{
	list_all(w, mount, false);
}

static void look_readdir_plus(struct world *w, unsigned mount)
{
	list_all(w, mount, true);
}

/* By the descriptor from before, from the start. */
static void look_rewind(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		int fd;
		DIR *d;

		if (!is_held(w, mount, i, S_IFDIR) || !model_path(w, i))
			continue;
		fd = dup(w->hold[mount].fd[i]);
		d = MUST(w, fd) < 0 ? NULL : fdopendir(fd);
		if (!d) {
			close(fd);
			continue;
		}
		rewinddir(d);
		check_listing(w, mount, i, d, false);
		closedir(d);
	}
}

/* Where a directory is that somebody stands in, and what he finds there. */
static void look_cwd(struct world *w, unsigned mount)
{
	char child[4 * TEXT_BYTES], proc[64], text[PATH_BYTES], want[PATH_BYTES];

	for (int i = 1; i < OBJS_MAX; i++) {
		const char *path = w->obj[i].is_used ? model_path(w, i) : NULL;
		int fd = w->hold[mount].fd[i];
		ssize_t n;

		if (!is_held(w, mount, i, S_IFDIR) || !path)
			continue;
		snprintf(child, sizeof(child), "%s/k", path);
		expect(w, child, faccessat(fd, "k", F_OK, 0) < 0 ? -errno : 0,
		       model_find(w, child, false));
		/* The kernel learns that it was moved when somebody comes by the new way. */
		if (access(at(w, mount, path), F_OK) < 0)
			wrong(w, "cwd: %s: %s", path, strerrorname_np(errno));
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		n = readlink(proc, text, sizeof(text) - 1);
		text[n < 0 ? 0 : n] = 0;
		absolute(w, mount, path, want);
		if (strcmp(text, want) != 0)
			wrong(w, "getcwd: %s, not %s", text, want);
	}
}

/* --- permissions, xattrs, flags, locks --- */

static void look_access(struct world *w, unsigned mount)
{
	static const int wants[] = { R_OK, W_OK, X_OK };

	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], true);
		int rc[3];

		AS_USER
		{
			for (int k = 0; k < 3; k++)
				rc[k] = access(at(w, mount, w->path[p]), wants[k]) < 0 ? -errno : 0;
		}
		/* Devices are the mount's business too, flags of an inode the server's alone. */
		for (int k = 0; k < 3; k++)
			if (i < 0 || (!is_kind(&w->obj[i], S_IFCHR) && !w->obj[i].iflags))
				expect(w, w->path[p], rc[k], model_access(w, w->path[p], wants[k]));
	}
}

static void look_user_open(struct world *w, unsigned mount)
{
	for (unsigned p = 0; p < w->path_count; p++) {
		int fd = -1;

		if (!can_open(w, model_find(w, w->path[p], true)))
			continue;
		AS_USER
		fd = open_as(w, mount, w->path[p], O_RDONLY);
		expect(w, w->path[p], fd, model_access(w, w->path[p], R_OK));
		if (fd >= 0)
			close(fd);
	}
}

static void look_xattr(struct world *w, unsigned mount)
{
	char value[2 * TEXT_BYTES], list[512];

	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], false);
		ssize_t n, length;

		if (i < 0 || !is_kind(&w->obj[i], S_IFREG))
			continue;
		n = getxattr(at(w, mount, w->path[p]), "user.coh", value, sizeof(value));
		expect(w, w->path[p], n < 0 ? -errno : 0, w->obj[i].xattr[0] ? 0 : -ENODATA);
		if (n >= 0 && ((size_t)n != strlen(w->obj[i].xattr) ||
			       memcmp(value, w->obj[i].xattr, (size_t)n) != 0))
			wrong(w, "getxattr %s: %.*s, not %s", w->path[p], (int)n, value,
			      w->obj[i].xattr);
		length = listxattr(at(w, mount, w->path[p]), list, sizeof(list));
		if (MUST(w, length) < 0)
			continue;
		if (!memmem(list, (size_t)length, "user.coh", 9) != !w->obj[i].xattr[0])
			wrong(w, "listxattr %s", w->path[p]);
	}
}

static void look_acl(struct world *w, unsigned mount)
{
	uint8_t value[ACL_BYTES_MAX + 64], want[ACL_BYTES_MAX];

	for (unsigned p = 0; p < w->path_count; p++) {
		int i = model_find(w, w->path[p], false);
		ssize_t n;

		if (i < 0 || is_kind(&w->obj[i], S_IFLNK))
			continue;
		n = getxattr(at(w, mount, w->path[p]), "system.posix_acl_access", value,
			     sizeof(value));
		expect(w, w->path[p], n < 0 ? -errno : 0, w->obj[i].acl >= 0 ? 0 : -ENODATA);
		if (n >= 0 && w->obj[i].acl >= 0 &&
		    ((size_t)n != acl_encode(&w->obj[i], want) ||
		     memcmp(value, want, (size_t)n) != 0))
			wrong(w, "acl %s: another one", w->path[p]);
	}
}

static void look_iflags(struct world *w, unsigned mount)
{
	for (int i = 0; i < OBJS_MAX; i++) {
		int flags = 0;

		if (!is_held(w, mount, i, S_IFREG))
			continue;
		if (MUST(w, ioctl(w->hold[mount].fd[i], FS_IOC_GETFLAGS, &flags)) == 0 &&
		    (flags & FS_IMMUTABLE_FL) != (int)w->obj[i].iflags)
			wrong(w, "lsattr: %#x", flags);
	}
}

static void check_free(struct world *w, int fd, int command, bool is_free)
{
	struct flock fl = { .l_type = F_WRLCK };

	if (MUST(w, fcntl(fd, command, &fl)) == 0 && (fl.l_type == F_UNLCK) != is_free)
		wrong(w, "lock: %s", is_free ? "held" : "free");
}

static void look_lock(struct world *w, unsigned mount)
{
	int i = model_find(w, "f", false), fd, rc;

	if (i < 0 || !is_kind(&w->obj[i], S_IFREG) || w->obj[i].iflags)
		return;
	fd = open_as(w, mount, "f", O_RDWR);
	expect(w, "f", fd, 0);
	if (fd < 0)
		return;
	rc = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	expect(w, "f", rc, w->lock == LOCK_FLOCK ? -EWOULDBLOCK : 0);
	check_free(w, fd, F_GETLK, w->lock != LOCK_FCNTL && w->lock != LOCK_OFD);
	check_free(w, fd, F_OFD_GETLK, w->lock != LOCK_FCNTL && w->lock != LOCK_OFD);
	close(fd);
}

const struct look looks[] = {
	{ "stat", look_stat, false },       { "fstat", look_fstat, false },
	{ "exists", look_exists, false },   { "open", look_open, false },
	{ "read", look_read, false },       { "pread", look_pread, false },
	{ "direct", look_direct, false },   { "map", look_map, false },
	{ "old-map", look_old_map, false }, { "sendfile", look_sendfile, false },
	{ "holes", look_holes, false },     { "readlink", look_readlink, false },
	{ "readdir", look_readdir, true },  { "readdir-plus", look_readdir_plus, true },
	{ "rewind", look_rewind, true },    { "cwd", look_cwd, false },
	{ "access", look_access, false },   { "user-open", look_user_open, false },
	{ "xattr", look_xattr, false },     { "acl", look_acl, false },
	{ "lsattr", look_iflags, false },   { "lock", look_lock, false },
};
const unsigned look_count = sizeof(looks) / sizeof(looks[0]);
