/* What can be changed: each does it by one mount, and to the model. */
#include "coh.h"

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define ACL_NAME "system.posix_acl_access"
#define XATTR_NAME "user.coh"
#define WRITE_BYTES_MAX 200000u
#define PAGE 4096u

static uint8_t buf[WRITE_BYTES_MAX] __attribute__((aligned(4096)));

static struct obj *obj_of(struct world *w, const char *path)
{
	int i = model_find(w, path, true);

	if (i < 0)
		abort();
	return &w->obj[i];
}

static void moves(struct world *w, const char *path, unsigned what)
{
	obj_of(w, path)->moves |= what;
}

/* A directory that gets or loses a name. */
static void dir_moves(struct world *w, const char *path)
{
	moves(w, path, MOVES_CTIME | MOVES_MTIME);
}

/* A descriptor for a change: one from before, or a new one. */
static int change_fd(struct world *w, unsigned by, const char *path, int more_flags)
{
	int held = w->hold[by].rw[model_find(w, path, false)];
	int fd = held >= 0 && !more_flags ? dup(held) : open(at(w, by, path), O_RDWR | more_flags);

	MUST(w, fd);
	return fd;
}

static void learn(struct world *w, unsigned by, int i, const char *path)
{
	struct stat st;

	if (MUST(w, lstat(at(w, by, path), &st)) == 0)
		w->obj[i].ino = st.st_ino;
}

static int made(struct world *w, unsigned by, mode_t mode, const char *text)
{
	int i = model_new(w, mode);

	model_name(w, 0, text, i);
	dir_moves(w, "");
	learn(w, by, i, text);
	return i;
}

/* --- names --- */

static void write_new(struct world *w, int fd, struct obj *o)
{
	size_t len = 1 + pick(9000);

	fill(buf, len);
	if (MUST(w, write(fd, buf, len)) == (long)len)
		model_write(o, 0, buf, len);
	MUST(w, close(fd));
}

static void create(struct world *w, unsigned by)
{
	int fd = open(at(w, by, "n"), O_CREAT | O_EXCL | O_WRONLY, 0644);

	MUST(w, fd);
	write_new(w, fd, &w->obj[made(w, by, S_IFREG | 0644, "n")]);
}

static void create_over(struct world *w, unsigned by)
{
	int fd = open(at(w, by, "f"), O_CREAT | O_TRUNC | O_WRONLY, 0644);
	struct obj *o = obj_of(w, "f");

	MUST(w, fd);
	model_resize(o, 0);
	write_new(w, fd, o);
}

static void make_directory(struct world *w, unsigned by)
{
	MUST(w, mkdir(at(w, by, "n"), 0755));
	made(w, by, S_IFDIR | 0755, "n");
}

static void make_fifo(struct world *w, unsigned by)
{
	MUST(w, mknod(at(w, by, "n"), S_IFIFO | 0644, 0));
	made(w, by, S_IFIFO | 0644, "n");
}

static void make_device(struct world *w, unsigned by)
{
	MUST(w, mknod(at(w, by, "n"), S_IFCHR | 0644, makedev(1, 3)));
	w->obj[made(w, by, S_IFCHR | 0644, "n")].rdev = makedev(1, 3);
}

static void make_symlink(struct world *w, unsigned by)
{
	char target[2 * TEXT_BYTES];
	int i;

	snprintf(target, sizeof(target), "%sg", w->prefix);
	MUST(w, symlink(target, at(w, by, "n")));
	i = made(w, by, S_IFLNK | 0777, "n");
	snprintf(w->obj[i].target, TEXT_BYTES, "g");
}

static void remove_name(struct world *w, unsigned by, const char *path)
{
	moves(w, path, MOVES_CTIME);
	MUST(w, unlink(at(w, by, path)));
	model_drop(w, 0, path);
	dir_moves(w, "");
}

static void symlink_again(struct world *w, unsigned by)
{
	char target[2 * TEXT_BYTES];
	int i;

	MUST(w, unlink(at(w, by, "s")));
	model_drop(w, 0, "s");
	snprintf(target, sizeof(target), "%sg", w->prefix);
	MUST(w, symlink(target, at(w, by, "s")));
	i = made(w, by, S_IFLNK | 0777, "s");
	snprintf(w->obj[i].target, TEXT_BYTES, "g");
}

static void make_link(struct world *w, unsigned by)
{
	MUST(w, link(at(w, by, "f"), at(w, by, "n")));
	model_name(w, 0, "n", model_find(w, "f", false));
	moves(w, "f", MOVES_CTIME);
	dir_moves(w, "");
}

static void link_tmpfile(struct world *w, unsigned by)
{
	int fd = open(at(w, by, ""), O_TMPFILE | O_RDWR, 0644), i;
	char proc[64];

	MUST(w, fd);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	MUST(w, linkat(AT_FDCWD, proc, AT_FDCWD, at(w, by, "n"), AT_SYMLINK_FOLLOW));
	i = made(w, by, S_IFREG | 0644, "n");
	write_new(w, fd, &w->obj[i]);
}

static void unlink_file(struct world *w, unsigned by)
{
	remove_name(w, by, "f");
}

static void unlink_again(struct world *w, unsigned by)
{
	int fd;

	remove_name(w, by, "f");
	fd = open(at(w, by, "f"), O_CREAT | O_EXCL | O_WRONLY, 0644);
	MUST(w, fd);
	write_new(w, fd, &w->obj[made(w, by, S_IFREG | 0644, "f")]);
}

static void remove_directory(struct world *w, unsigned by)
{
	moves(w, "t", MOVES_CTIME);
	MUST(w, rmdir(at(w, by, "t")));
	model_drop(w, 0, "t");
	dir_moves(w, "");
}

/* Of objects in the base, to @to in the directory @dir. */
static void move(struct world *w, unsigned by, const char *from, const char *dir, const char *to)
{
	char path[3 * TEXT_BYTES];
	int i = model_find(w, from, false);

	snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] ? "/" : "", to);
	MUST(w, rename(at(w, by, from), at(w, by, path)));
	w->obj[i].moves |= MOVES_CTIME;
	model_drop(w, 0, from);
	if (model_find(w, path, false) >= 0) {
		obj_of(w, path)->moves |= MOVES_CTIME;
		model_drop(w, model_find(w, dir, false), to);
	}
	model_name(w, model_find(w, dir, false), to, i);
	dir_moves(w, "");
	dir_moves(w, dir);
}

static void rename_file(struct world *w, unsigned by)
{
	move(w, by, "f", "", "n");
}

static void rename_over(struct world *w, unsigned by)
{
	move(w, by, "f", "", "g");
}

static void rename_away(struct world *w, unsigned by)
{
	move(w, by, "f", "t", "f");
}

static void rename_away_over(struct world *w, unsigned by)
{
	struct obj *o = obj_of(w, "d/k");

	MUST(w, rename(at(w, by, "f"), at(w, by, "d/k")));
	obj_of(w, "f")->moves |= MOVES_CTIME;
	o->moves |= MOVES_CTIME;
	model_drop(w, model_find(w, "d", false), "k");
	model_name(w, model_find(w, "d", false), "k", model_find(w, "f", false));
	model_drop(w, 0, "f");
	dir_moves(w, "");
	dir_moves(w, "d");
}

static void rename_directory(struct world *w, unsigned by)
{
	move(w, by, "d", "", "n");
}

static void rename_directory_over(struct world *w, unsigned by)
{
	move(w, by, "d", "", "t");
}

static void rename_directory_away(struct world *w, unsigned by)
{
	move(w, by, "d", "t", "d");
}

static void exchange(struct world *w, unsigned by, const char *a, const char *b)
{
	int i = model_find(w, a, false), k = model_find(w, b, false);

	MUST(w, renameat2(AT_FDCWD, at(w, by, a), AT_FDCWD, at(w, by, b), RENAME_EXCHANGE));
	w->obj[i].moves |= MOVES_CTIME;
	w->obj[k].moves |= MOVES_CTIME;
	model_drop(w, 0, a);
	model_drop(w, 0, b);
	model_name(w, 0, a, k);
	model_name(w, 0, b, i);
	dir_moves(w, "");
}

static void exchange_files(struct world *w, unsigned by)
{
	exchange(w, by, "f", "g");
}

static void exchange_kinds(struct world *w, unsigned by)
{
	exchange(w, by, "f", "d");
}

/* --- contents --- */

static void write_at(struct world *w, unsigned by, uint64_t off, size_t len, int flags)
{
	int fd = change_fd(w, by, "f", flags);
	ssize_t n;

	fill(buf, len);
	n = flags & O_APPEND ? write(fd, buf, len) : pwrite(fd, buf, len, (off_t)off);
	if (MUST(w, n) == (long)len)
		model_write(obj_of(w, "f"), off, buf, len);
	else
		wrong(w, "a short write");
	close(fd);
}

static size_t some_length(void)
{
	return 1 + pick(1ull << (4 + pick(13)));
}

static void write_inside(struct world *w, unsigned by)
{
	uint64_t size = obj_of(w, "f")->size_bytes, off = pick(size);
	size_t len = 1 + pick(size - off);

	write_at(w, by, off, len < WRITE_BYTES_MAX ? len : WRITE_BYTES_MAX, 0);
}

static void write_grow(struct world *w, unsigned by)
{
	write_at(w, by, obj_of(w, "f")->size_bytes, some_length(), 0);
}

static void write_far(struct world *w, unsigned by)
{
	write_at(w, by, obj_of(w, "f")->size_bytes + pick(1u << 20), some_length(), 0);
}

static void write_append(struct world *w, unsigned by)
{
	write_at(w, by, obj_of(w, "f")->size_bytes, some_length(), O_APPEND);
}

static void write_direct(struct world *w, unsigned by)
{
	uint64_t off = pick(obj_of(w, "f")->size_bytes);

	write_at(w, by, off - off % PAGE, PAGE * (1 + pick(4)), O_DIRECT);
}

static void prepare_suid(struct world *w, unsigned by)
{
	MUST(w, chmod(at(w, by, "f"), 04777));
	obj_of(w, "f")->mode = S_IFREG | 04777;
}

/* What USER writes is no longer set-uid. */
static void write_suid(struct world *w, unsigned by)
{
	struct obj *o = obj_of(w, "f");
	uint8_t byte = (uint8_t)~o->data[0];

	AS_USER
	{
		int fd = open(at(w, by, "f"), O_WRONLY);

		MUST(w, fd);
		MUST(w, pwrite(fd, &byte, 1, 0));
		close(fd);
	}
	model_write(o, 0, &byte, 1);
	o->mode = S_IFREG | 0777;
}

static void resize(struct world *w, unsigned by, uint64_t size)
{
	int fd;

	if (chance(50)) {
		MUST(w, truncate(at(w, by, "f"), (off_t)size));
	} else {
		fd = change_fd(w, by, "f", 0);
		MUST(w, ftruncate(fd, (off_t)size));
		close(fd);
	}
	model_resize(obj_of(w, "f"), size);
}

static void truncate_down(struct world *w, unsigned by)
{
	resize(w, by, pick(obj_of(w, "f")->size_bytes));
}

static void truncate_up(struct world *w, unsigned by)
{
	resize(w, by, obj_of(w, "f")->size_bytes + some_length());
}

static void truncate_open(struct world *w, unsigned by)
{
	int fd = open(at(w, by, "f"), O_WRONLY | O_TRUNC);

	MUST(w, fd);
	close(fd);
	model_resize(obj_of(w, "f"), 0);
}

static void allocate(struct world *w, unsigned by, int mode, uint64_t off, uint64_t len)
{
	struct obj *o = obj_of(w, "f");
	uint64_t end = off + len;
	int fd = change_fd(w, by, "f", 0);

	MUST(w, fallocate(fd, mode, (off_t)off, (off_t)len));
	close(fd);
	if (end > o->size_bytes && !(mode & FALLOC_FL_KEEP_SIZE))
		model_resize(o, end);
	if (mode && off < o->size_bytes)
		memset(o->data + off, 0, (end < o->size_bytes ? end : o->size_bytes) - off);
	o->mtime.tv_sec = 0;
	o->moves |= MOVES_CTIME | MOVES_MTIME;
}

static void punch(struct world *w, unsigned by)
{
	allocate(w, by, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		 pick(obj_of(w, "f")->size_bytes), some_length());
}

static void zero_range(struct world *w, unsigned by)
{
	allocate(w, by, FALLOC_FL_ZERO_RANGE, pick(obj_of(w, "f")->size_bytes), some_length());
}

static void allocate_more(struct world *w, unsigned by)
{
	allocate(w, by, 0, obj_of(w, "f")->size_bytes, some_length());
}

static void copy_range(struct world *w, unsigned by)
{
	struct obj *from = obj_of(w, "g"), *to = obj_of(w, "f");
	int in = open(at(w, by, "g"), O_RDONLY), out = change_fd(w, by, "f", 0);
	off_t off = (off_t)pick(to->size_bytes), here = 0, there = off;
	uint64_t left = from->size_bytes;
	ssize_t n = 1;

	while (left && n > 0 && MUST(w, n = copy_file_range(in, &here, out, &there, left, 0)) > 0)
		left -= (uint64_t)n;
	close(in);
	close(out);
	if (left)
		wrong(w, "copy_file_range copies too little");
	model_write(to, (uint64_t)off, from->data, from->size_bytes);
}

static void store(struct world *w, unsigned by, bool by_fsync)
{
	struct obj *o = obj_of(w, "f");
	uint64_t off = pick(o->size_bytes), len = 1 + pick(o->size_bytes - off);
	int fd = change_fd(w, by, "f", 0);
	uint8_t *map = mmap(NULL, o->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	len = len < WRITE_BYTES_MAX ? len : WRITE_BYTES_MAX;
	if (map == MAP_FAILED) {
		wrong(w, "mmap: %s", strerrorname_np(errno));
		close(fd);
		return;
	}
	fill(buf, len);
	memcpy(map + off, buf, len);
	if (by_fsync)
		MUST(w, fsync(fd));
	else
		MUST(w, msync(map + off - off % PAGE, len + off % PAGE, MS_SYNC));
	MUST(w, munmap(map, o->size_bytes));
	close(fd);
	model_write(o, off, buf, len);
	/* The kernel may have told of the store before. */
	o->moves &= ~(MOVES_CTIME | MOVES_MTIME);
}

static void map_msync(struct world *w, unsigned by)
{
	store(w, by, false);
}

static void map_fsync(struct world *w, unsigned by)
{
	store(w, by, true);
}

/* --- attributes --- */

static void set_mode(struct world *w, unsigned by, const char *path, mode_t mode)
{
	struct obj *o = obj_of(w, path);

	MUST(w, chmod(at(w, by, path), mode));
	o->mode = (o->mode & S_IFMT) | mode;
	o->moves |= MOVES_CTIME;
}

static void chmod_file(struct world *w, unsigned by)
{
	set_mode(w, by, "f", 0600);
}

static void chmod_more(struct world *w, unsigned by)
{
	set_mode(w, by, "f", 0666);
}

static void chmod_directory(struct world *w, unsigned by)
{
	set_mode(w, by, "d", 0700);
}

static void chmod_base(struct world *w, unsigned by)
{
	if (!w->is_big)
		set_mode(w, by, "", 0711);
}

static void own(struct world *w, unsigned by, const char *path, uid_t uid, gid_t gid)
{
	struct obj *o = obj_of(w, path);

	MUST(w, chown(at(w, by, path), uid, gid));
	o->uid = uid == (uid_t)-1 ? o->uid : uid;
	o->gid = gid == (gid_t)-1 ? o->gid : gid;
	o->moves |= MOVES_CTIME;
}

static void chown_file(struct world *w, unsigned by)
{
	own(w, by, "f", USER, USER);
}

static void prepare_private(struct world *w, unsigned by)
{
	set_mode(w, by, "f", 0640);
	set_mode(w, by, "d", 0750);
}

static void chgrp_file(struct world *w, unsigned by)
{
	own(w, by, "f", (uid_t)-1, USER);
}

static void chown_directory(struct world *w, unsigned by)
{
	own(w, by, "d", USER, (gid_t)-1);
}

static void set_times(struct world *w, unsigned by)
{
	struct timespec t[2] = {
		{ .tv_sec = 1000000000 + (long)pick(1u << 28), .tv_nsec = (long)pick(1000000000) },
		{ .tv_sec = 1000000000 + (long)pick(1u << 28), .tv_nsec = (long)pick(1000000000) },
	};
	struct obj *o = obj_of(w, "f");

	MUST(w, utimensat(AT_FDCWD, at(w, by, "f"), t, 0));
	o->mtime = t[1];
	o->moves |= MOVES_CTIME;
}

static void set_xattr(struct world *w, unsigned by, const char *value)
{
	struct obj *o = obj_of(w, "f");

	MUST(w, setxattr(at(w, by, "f"), XATTR_NAME, value, strlen(value), 0));
	snprintf(o->xattr, sizeof(o->xattr), "%s", value);
	o->moves |= MOVES_CTIME;
}

static void xattr_new(struct world *w, unsigned by)
{
	set_xattr(w, by, "first");
}

static void xattr_again(struct world *w, unsigned by)
{
	set_xattr(w, by, "another value");
}

static void xattr_remove(struct world *w, unsigned by)
{
	struct obj *o = obj_of(w, "f");

	MUST(w, removexattr(at(w, by, "f"), XATTR_NAME));
	o->xattr[0] = 0;
	o->moves |= MOVES_CTIME;
}

/* The mask is the group's bits then. */
static void set_acl(struct world *w, unsigned by, const char *path, int perm)
{
	struct obj *o = obj_of(w, path);
	uint8_t acl[ACL_BYTES_MAX];

	if (o->acl < 0)
		o->group = (o->mode >> 3) & 7;
	o->mode |= 0070;
	o->acl = perm;
	MUST(w, setxattr(at(w, by, path), ACL_NAME, acl, acl_encode(o, acl), 0));
	o->moves |= MOVES_CTIME;
}

static void acl_file(struct world *w, unsigned by)
{
	set_acl(w, by, "f", 0);
}

static void acl_more(struct world *w, unsigned by)
{
	set_acl(w, by, "f", 6);
}

static void acl_directory(struct world *w, unsigned by)
{
	set_acl(w, by, "d", 4);
}

static void acl_remove(struct world *w, unsigned by)
{
	struct obj *o = obj_of(w, "f");

	MUST(w, removexattr(at(w, by, "f"), ACL_NAME));
	/* The mode keeps what was the mask. */
	o->acl = -1;
	o->moves |= MOVES_CTIME;
}

static void set_iflags(struct world *w, unsigned by, int flags)
{
	struct obj *o = obj_of(w, "f");
	int fd = open(at(w, by, "f"), O_RDONLY);

	MUST(w, fd);
	MUST(w, ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	o->iflags = (unsigned)flags;
	o->moves |= MOVES_CTIME;
}

static void chattr_on(struct world *w, unsigned by)
{
	set_iflags(w, by, FS_IMMUTABLE_FL);
}

static void chattr_off(struct world *w, unsigned by)
{
	set_iflags(w, by, 0);
}

/* --- locks --- */

static void lock(struct world *w, unsigned by, enum lock_kind kind)
{
	struct flock fl = { .l_type = F_WRLCK };

	w->lock_fd = open(at(w, by, "f"), O_RDWR);
	MUST(w, w->lock_fd);
	if (kind == LOCK_FLOCK)
		MUST(w, flock(w->lock_fd, LOCK_EX | LOCK_NB));
	else
		MUST(w, fcntl(w->lock_fd, kind == LOCK_OFD ? F_OFD_SETLK : F_SETLK, &fl));
	w->lock = kind;
}

static void lock_flock(struct world *w, unsigned by)
{
	lock(w, by, LOCK_FLOCK);
}

static void lock_fcntl(struct world *w, unsigned by)
{
	lock(w, by, LOCK_FCNTL);
}

static void lock_ofd(struct world *w, unsigned by)
{
	lock(w, by, LOCK_OFD);
}

static void unlock(struct world *w, unsigned by)
{
	struct flock fl = { .l_type = F_UNLCK };

	(void)by;
	if (w->lock == LOCK_FLOCK)
		MUST(w, flock(w->lock_fd, LOCK_UN));
	else
		MUST(w, fcntl(w->lock_fd, w->lock == LOCK_OFD ? F_OFD_SETLK : F_SETLK, &fl));
	w->lock = LOCK_NONE;
}

static void unlock_by_close(struct world *w, unsigned by)
{
	(void)by;
	lock_release(w);
}

void lock_release(struct world *w)
{
	if (w->lock_fd >= 0)
		MUST(w, close(w->lock_fd));
	w->lock_fd = -1;
	w->lock = LOCK_NONE;
}

const struct change changes[] = {
	{ "create", NULL, create, false },
	{ "create-over", NULL, create_over, false },
	{ "mkdir", NULL, make_directory, false },
	{ "mkfifo", NULL, make_fifo, false },
	{ "mknod", NULL, make_device, false },
	{ "symlink", NULL, make_symlink, false },
	{ "symlink-again", NULL, symlink_again, false },
	{ "link", NULL, make_link, false },
	{ "tmpfile", NULL, link_tmpfile, false },
	{ "unlink", NULL, unlink_file, false },
	{ "unlink-again", NULL, unlink_again, false },
	{ "rmdir", NULL, remove_directory, false },
	{ "rename", NULL, rename_file, false },
	{ "rename-over", NULL, rename_over, false },
	{ "rename-away", NULL, rename_away, false },
	{ "rename-away-over", NULL, rename_away_over, false },
	{ "rename-dir", NULL, rename_directory, false },
	{ "rename-dir-over", NULL, rename_directory_over, false },
	{ "rename-dir-away", NULL, rename_directory_away, false },
	{ "exchange", NULL, exchange_files, false },
	{ "exchange-kinds", NULL, exchange_kinds, false },
	{ "write", NULL, write_inside, false },
	{ "write-grow", NULL, write_grow, false },
	{ "write-far", NULL, write_far, false },
	{ "write-append", NULL, write_append, false },
	{ "write-direct", NULL, write_direct, false },
	{ "write-suid", prepare_suid, write_suid, false },
	{ "truncate-down", NULL, truncate_down, false },
	{ "truncate-up", NULL, truncate_up, false },
	{ "truncate-open", NULL, truncate_open, false },
	{ "punch", NULL, punch, false },
	{ "zero-range", NULL, zero_range, false },
	{ "allocate", NULL, allocate_more, false },
	{ "copy-range", NULL, copy_range, false },
	{ "map-msync", NULL, map_msync, false },
	{ "map-fsync", NULL, map_fsync, false },
	{ "chmod", NULL, chmod_file, false },
	{ "chmod-more", chmod_file, chmod_more, false },
	{ "chmod-dir", NULL, chmod_directory, false },
	{ "chmod-base", NULL, chmod_base, false },
	{ "chown", prepare_private, chown_file, false },
	{ "chgrp", prepare_private, chgrp_file, false },
	{ "chown-dir", prepare_private, chown_directory, false },
	{ "utimens", NULL, set_times, false },
	{ "setxattr", NULL, xattr_new, false },
	{ "setxattr-again", xattr_new, xattr_again, false },
	{ "removexattr", xattr_new, xattr_remove, false },
	{ "setfacl", NULL, acl_file, false },
	{ "setfacl-again", acl_file, acl_more, false },
	{ "setfacl-dir", NULL, acl_directory, false },
	{ "removeacl", acl_file, acl_remove, false },
	{ "chattr+i", NULL, chattr_on, false },
	{ "chattr-i", chattr_on, chattr_off, false },
	{ "flock", NULL, lock_flock, true },
	{ "fcntl", NULL, lock_fcntl, true },
	{ "ofd", NULL, lock_ofd, true },
	{ "unflock", lock_flock, unlock, true },
	{ "unfcntl", lock_fcntl, unlock, true },
	{ "unofd", lock_ofd, unlock, true },
	{ "close-flock", lock_flock, unlock_by_close, true },
	{ "close-fcntl", lock_fcntl, unlock_by_close, true },
	{ "close-ofd", lock_ofd, unlock_by_close, true },
};
const unsigned change_count = sizeof(changes) / sizeof(changes[0]);
