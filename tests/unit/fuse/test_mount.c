/* A real mount, served from memory by a handler table of this test. Needs root and /dev/fuse, else
 * it is skipped. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/util.h"
#include "fuse/abi.h"
#include "fuse/fuse.h"
#include "lib/test_fiber.h"

#define SKIP 77
#define NODES 32
#define FILE_BYTES (8u * 1024 * 1024)

/* --- a file system in memory: one directory --- */

struct node {
	char name[CFS_NAME_BYTES_MAX + 1];
	struct cfs_attr attr;
	uint8_t *data;
	char xattr[64];
	uint32_t xattr_bytes;
	uint32_t opens;
};

struct memfs {
	struct node nodes[NODES]; /* number 10 + index */
	uint64_t next, calls, waits;
};

static struct memfs fs;

static struct node *node_of(uint64_t ino)
{
	return ino >= 10 && ino < 10 + NODES && fs.nodes[ino - 10].data ? &fs.nodes[ino - 10]
									: NULL;
}

static struct node *node_named(struct cfs_client_name name)
{
	for (int i = 0; i < NODES; i++)
		if (fs.nodes[i].data && fs.nodes[i].attr.nlink > 0 &&
		    strcmp(fs.nodes[i].name, name.p) == 0)
			return &fs.nodes[i];
	return NULL;
}

static int64_t now(void)
{
	return (int64_t)cfs_wall_ns();
}

static int mem_getattr(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *out)
{
	struct node *n = node_of(ino);

	(void)op;
	fs.calls++;
	if (ino == FUSE_ROOT_ID)
		*out = (struct cfs_attr){ .ino = 1, .mode = S_IFDIR | 0755, .nlink = 2 };
	else if (n)
		*out = n->attr;
	return ino == FUSE_ROOT_ID || n ? 0 : -ESTALE;
}

/* "hang" is there once a signal has come. */
static int wait_for_interrupt(struct cfs_client_op *op)
{
	fs.waits++;
	while (!op->is_interrupted)
		if (cfs_waitq_wait(&op->waiters) == -ECANCELED)
			return -ECANCELED;
	return -EINTR;
}

static int mem_lookup(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      struct cfs_attr *out)
{
	struct node *n = node_named(name);

	(void)dir;
	if (strcmp(name.p, "hang") == 0)
		return wait_for_interrupt(op);
	if (!n)
		return -ENOENT;
	*out = n->attr;
	return 0;
}

static int mem_create(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      const struct cfs_client_create *how, struct cfs_attr *out)
{
	struct node *n = NULL;

	(void)dir;
	if (!(how->flags & CFS_F_TMPFILE) && node_named(name))
		return -EEXIST;
	for (int i = 0; i < NODES && !n; i++)
		if (!fs.nodes[i].data)
			n = &fs.nodes[i];
	if (!n)
		return -ENOSPC;
	memset(n, 0, sizeof(*n));
	n->data = calloc(1, FILE_BYTES);
	memcpy(n->name, name.p, name.len_bytes);
	n->attr = (struct cfs_attr){
		.ino = 10 + (uint64_t)(n - fs.nodes),
		.mode = how->mode,
		.nlink = how->flags & CFS_F_TMPFILE ? 0 : 1,
		.uid = op->uid,
		.gid = op->gid,
		.rdev = how->rdev,
		.atime = now(),
		.mtime = now(),
		.ctime = now(),
		.btime = 1234567890123456789,
	};
	if (S_ISLNK(how->mode)) {
		memcpy(n->data, how->target.p, how->target.len_bytes);
		n->attr.size = how->target.len_bytes;
	}
	n->opens = how->flags & CFS_F_OPEN ? 1 : 0;
	*out = n->attr;
	return 0;
}

static int mem_mkdir(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		     uint32_t mode, struct cfs_attr *out)
{
	(void)dir, (void)name, (void)mode, (void)out;
	return wait_for_interrupt(op);
}

static int mem_unlink(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name)
{
	struct node *n = node_named(name);

	(void)op, (void)dir;
	if (!n)
		return -ENOENT;
	n->attr.nlink--;
	return 0;
}

static int mem_rename(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		      uint64_t new_dir, struct cfs_client_name new_name, uint32_t flags)
{
	struct node *n = node_named(name), *old = node_named(new_name);

	(void)op, (void)dir, (void)new_dir;
	if (!n)
		return -ENOENT;
	if (old && (flags & CFS_F_NOREPLACE))
		return -EEXIST;
	if (old)
		old->attr.nlink--;
	memcpy(n->name, new_name.p, new_name.len_bytes + 1);
	return 0;
}

static int mem_setattr(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_setattr *set,
		       struct cfs_attr *out)
{
	struct node *n = node_of(ino);

	(void)op;
	if (!n)
		return -ESTALE;
	if (set->valid & CFS_SET_SIZE) {
		if (set->size > FILE_BYTES)
			return -EFBIG;
		if (set->size < n->attr.size)
			memset(n->data + set->size, 0, n->attr.size - set->size);
		n->attr.size = set->size;
	}
	if (set->valid & CFS_SET_MODE)
		n->attr.mode = (n->attr.mode & S_IFMT) | set->mode;
	if (set->valid & CFS_SET_MTIME)
		n->attr.mtime = set->mtime;
	*out = n->attr;
	return 0;
}

static int mem_open(struct cfs_client_op *op, uint64_t ino, uint32_t flags, struct cfs_attr *out)
{
	const struct cfs_client_setattr cut = { .valid = CFS_SET_SIZE };
	struct node *n = node_of(ino);

	if (!n)
		return -ESTALE;
	n->opens++;
	if (flags & CFS_F_TRUNC)
		return mem_setattr(op, ino, &cut, out);
	*out = n->attr;
	return 0;
}

static int mem_release(struct cfs_client_op *op, uint64_t ino, uint32_t flags)
{
	(void)flags;
	(void)op;
	if (node_of(ino))
		node_of(ino)->opens--;
	return 0;
}

static int mem_read(struct cfs_client_op *op, uint64_t ino, uint64_t off, uint32_t len, void *buf,
		    struct cfs_client_bytes *out)
{
	struct node *n = node_of(ino);

	(void)op;
	if (!n)
		return -ESTALE;
	len = off >= n->attr.size ? 0 : (uint32_t)CFS_MIN((uint64_t)len, n->attr.size - off);
	if (len > 0)
		memcpy(buf, n->data + off, len);
	out->p = buf;
	out->len_bytes = len;
	return 0;
}

static int mem_write(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_write *w,
		     uint64_t *off_out)
{
	struct node *n = node_of(ino);
	uint64_t off;

	(void)op, (void)off_out;
	if (!n)
		return -ESTALE;
	off = w->flags & CFS_F_APPEND ? n->attr.size : w->off_bytes;
	if (off + w->len_bytes > FILE_BYTES)
		return -EFBIG;
	/* Large payloads come page aligned, as the store wants them. */
	if (w->len_bytes >= 65536 && (uintptr_t)w->data % 4096 != 0)
		return -EIO;
	memcpy(n->data + off, w->data, w->len_bytes);
	n->attr.size = CFS_MAX(n->attr.size, off + w->len_bytes);
	n->attr.mtime = now();
	return 0;
}

static int mem_readlink(struct cfs_client_op *op, uint64_t ino, struct cfs_client_bytes *out)
{
	(void)op;
	if (!node_of(ino))
		return -ESTALE;
	out->p = node_of(ino)->data;
	out->len_bytes = (uint32_t)node_of(ino)->attr.size;
	return 0;
}

static int mem_readdir(struct cfs_client_op *op, uint64_t dir, uint64_t cookie, uint32_t len_bytes,
		       bool has_attrs, struct cfs_client_page *out)
{
	static uint8_t page[65536];
	uint32_t used = 0;

	(void)op, (void)dir;
	out->is_last = true;
	for (uint64_t i = cookie; i < NODES + 2; i++) {
		struct cfs_entry e = { .cookie = i + 1 };
		int64_t n;

		if (i < 2) {
			e.name.p = (const uint8_t *)"..";
			e.name.len = (uint32_t)i + 1;
			e.ino = 1;
			e.mode = S_IFDIR;
		} else {
			struct node *node = &fs.nodes[i - 2];

			if (!node->data || node->attr.nlink == 0)
				continue;
			e.ino = node->attr.ino;
			e.mode = node->attr.mode & S_IFMT;
			e.name.p = (const uint8_t *)node->name;
			e.name.len = (uint32_t)strlen(node->name);
			e.has_attr = has_attrs && i % 2 == 0;
			e.attr = node->attr;
		}
		n = cfs_entry_encode(&e, page + used, len_bytes - used);
		if (n < 0) {
			out->is_last = false;
			break;
		}
		used += (uint32_t)n;
	}
	out->bytes.p = page;
	out->bytes.len_bytes = used;
	return 0;
}

static int mem_setxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			const void *value, uint32_t len, uint32_t flags)
{
	struct node *n = node_of(ino);

	(void)op, (void)flags;
	if (!n || strcmp(name.p, "user.colour") != 0 || len > sizeof(n->xattr))
		return -EOPNOTSUPP;
	memcpy(n->xattr, value, len);
	n->xattr_bytes = len;
	return 0;
}

static int mem_getxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			uint32_t len, struct cfs_client_bytes *out, uint64_t *size_out)
{
	struct node *n = node_of(ino);

	(void)op, (void)len;
	if (!n || strcmp(name.p, "user.colour") != 0 || n->xattr_bytes == 0)
		return -ENODATA;
	out->p = (const uint8_t *)n->xattr;
	out->len_bytes = n->xattr_bytes;
	*size_out = n->xattr_bytes;
	return 0;
}

static int mem_statfs(struct cfs_client_op *op, struct cfs_statfs *out)
{
	(void)op;
	*out = (struct cfs_statfs){ 1 << 30, 1 << 29, 1 << 28, 5, 95 };
	return 0;
}

static const struct cfs_fuse_handlers memory = {
	.lookup = mem_lookup,
	.getattr = mem_getattr,
	.setattr = mem_setattr,
	.create = mem_create,
	.mkdir = mem_mkdir,
	.unlink = mem_unlink,
	.rename = mem_rename,
	.readlink = mem_readlink,
	.readdir = mem_readdir,
	.getxattr = mem_getxattr,
	.setxattr = mem_setxattr,
	.open = mem_open,
	.release = mem_release,
	.read = mem_read,
	.write = mem_write,
	.statfs = mem_statfs,
};

/* --- mounting it --- */

struct mounted {
	struct cfs_fuse_mount mount;
	struct cfs_fuse_opts opts;
	struct cfs_group group;
	struct cfs_done ready;
	int rc;
	char err[512];
};

static char dir[] = "/tmp/cfs-test-mount-XXXXXX";

static void on_ready(void *arg)
{
	cfs_done_complete(arg, 0);
}

static void serve(void *arg)
{
	struct mounted *m = arg;

	m->rc = cfs_fuse_serve(&m->opts);
}

static void begin(struct mounted *m, uint64_t features)
{
	const struct cfs_fuse_mount_opts opts = { .source = "test:memory", .dir = dir };

	memset(m, 0, sizeof(*m));
	for (int i = 0; i < NODES; i++)
		free(fs.nodes[i].data);
	memset(&fs, 0, sizeof(fs));
	assert_int_equal(cfs_fuse_mount(&opts, &m->mount, m->err, sizeof(m->err)), 0);
	m->opts = (struct cfs_fuse_opts){
		.fd = m->mount.fd,
		.handlers = &memory,
		.dev_major = m->mount.dev_major,
		.dev_minor = m->mount.dev_minor,
		.features = features,
		.ready = on_ready,
		.arg = &m->ready,
	};
	cfs_done_init(&m->ready);
	cfs_group_init(&m->group);
	assert_int_equal(cfs_group_start(&m->group, serve, m), 0);
	assert_int_equal(cfs_done_wait(&m->ready), 0);
}

static int unmount(void *arg)
{
	struct mounted *m = arg;

	return cfs_fuse_unmount(dir, false, m->err, sizeof(m->err));
}

static void finish(struct mounted *m)
{
	assert_int_equal(cfs_offload(unmount, m), 0);
	cfs_group_join(&m->group);
	assert_int_equal(m->rc, 0);
	cfs_fuse_mount_fini(&m->mount);
	assert_false(cfs_fuse_is_mounted(dir, NULL, 0));
}

/* --- what is done to it; on a thread, so results are line numbers --- */

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "line %d: %s, errno %d\n", __LINE__, #cond, errno); \
			return __LINE__; \
		} \
	} while (0)

static const char *path_of(const char *name)
{
	static __thread char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int write_and_read(void)
{
	const size_t len = 3 * 1024 * 1024 + 777;
	uint8_t *out = malloc(len), *in = malloc(len);
	int fd = open(path_of("big"), O_CREAT | O_EXCL | O_RDWR, 0640);
	struct stat st;

	CHECK(fd >= 0);
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(i * 31 + i / 4096);
	CHECK(write(fd, out, len) == (ssize_t)len);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)len && (st.st_mode & 0777) == 0640);
	CHECK(pread(fd, in, len, 0) == (ssize_t)len && memcmp(in, out, len) == 0);
	CHECK(pread(fd, in, 100, (off_t)len - 50) == 50);
	CHECK(pread(fd, in, 100, (off_t)len) == 0);
	CHECK(close(fd) == 0);
	/* Large enough for the page cache. */
	fd = open(path_of("big"), O_RDONLY);
	CHECK(fd >= 0 && read(fd, in, len) == (ssize_t)len && memcmp(in, out, len) == 0);
	close(fd);
	fd = open(path_of("big"), O_WRONLY | O_APPEND);
	CHECK(write(fd, "tail", 4) == 4 && close(fd) == 0);
	CHECK(stat(path_of("big"), &st) == 0 && st.st_size == (off_t)len + 4);
	fd = open(path_of("big"), O_WRONLY | O_TRUNC);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0);
	CHECK(ftruncate(fd, 4096) == 0 && close(fd) == 0);
	CHECK(truncate(path_of("big"), (off_t)FILE_BYTES * 2) == -1 && errno == EFBIG);
	free(out);
	free(in);
	return 0;
}

static int map_shared(bool may_lack)
{
	int fd = open(path_of("mapped"), O_CREAT | O_RDWR, 0600);
	char text[8] = "";
	char *map;

	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(may_lack || map != MAP_FAILED);
	if (map != MAP_FAILED) {
		memcpy(map + 4096, "mapped", 6);
		CHECK(msync(map, 8192, MS_SYNC) == 0);
		CHECK(munmap(map, 8192) == 0);
		CHECK(pread(fd, text, 6, 4096) == 6 && strcmp(text, "mapped") == 0);
	}
	return close(fd);
}

static int names(void)
{
	char target[64] = "";
	struct stat st;
	int fd, count = 0;
	DIR *d;

	CHECK(symlink("somewhere/else", path_of("link")) == 0);
	CHECK(readlink(path_of("link"), target, sizeof(target)) == 14);
	CHECK(strcmp(target, "somewhere/else") == 0);
	CHECK(mkfifo(path_of("fifo"), 0600) == 0);
	CHECK(stat(path_of("fifo"), &st) == 0 && S_ISFIFO(st.st_mode));
	CHECK(mknod(path_of("dev"), S_IFCHR | 0600, makedev(300, 70000)) == 0);
	CHECK(stat(path_of("dev"), &st) == 0 && st.st_rdev == makedev(300, 70000));
	fd = open(path_of("a"), O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0 && close(fd) == 0);
	d = opendir(dir);
	CHECK(d != NULL);
	while (readdir(d))
		count++;
	closedir(d);
	CHECK(count == 2 + 6); /* big, mapped, link, fifo, dev, a */
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	CHECK(renameat2(fd, "a", fd, "fifo", 1) == -1 && errno == EEXIST);
	CHECK(renameat2(fd, "a", fd, "b", 1) == 0);
	close(fd);
	CHECK(stat(path_of("a"), &st) == -1 && errno == ENOENT);
	CHECK(unlink(path_of("b")) == 0);
	CHECK(open(path_of("b"), O_RDONLY) == -1 && errno == ENOENT);
	fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && fstat(fd, &st) == 0 && st.st_nlink == 0);
	return close(fd);
}

static int attributes(void)
{
	const struct timespec times[2] = { { 5, 6 }, { -7, 8 } };
	struct statvfs vfs;
	struct statx sx;
	char value[64];
	struct stat st;

	CHECK(chmod(path_of("big"), 04755) == 0 && stat(path_of("big"), &st) == 0);
	CHECK((st.st_mode & 07777) == 04755);
	CHECK(utimensat(AT_FDCWD, path_of("big"), times, 0) == 0);
	CHECK(stat(path_of("big"), &st) == 0 && st.st_mtim.tv_sec == -7 && st.st_mtim.tv_nsec == 8);
	CHECK(statx(AT_FDCWD, path_of("big"), 0, STATX_BTIME | STATX_BASIC_STATS, &sx) == 0);
	if (sx.stx_mask & STATX_BTIME) /* kernels from 6.6 on */
		CHECK(sx.stx_btime.tv_sec == 1234567890 && sx.stx_btime.tv_nsec == 123456789);
	CHECK(setxattr(path_of("big"), "user.colour", "blue", 4, 0) == 0);
	CHECK(getxattr(path_of("big"), "user.colour", NULL, 0) == 4);
	CHECK(getxattr(path_of("big"), "user.colour", value, 2) == -1 && errno == ERANGE);
	CHECK(getxattr(path_of("big"), "user.colour", value, sizeof(value)) == 4);
	CHECK(memcmp(value, "blue", 4) == 0);
	CHECK(getxattr(path_of("big"), "user.other", value, 4) == -1 && errno == ENODATA);
	CHECK(listxattr(path_of("big"), value, 64) == -1 && errno == EOPNOTSUPP);
	CHECK(statvfs(dir, &vfs) == 0 && vfs.f_blocks == (1 << 30) / 4096 && vfs.f_files == 100);
	CHECK(vfs.f_bavail == (1 << 28) / 4096 && vfs.f_namemax == 255);
	return 0;
}

static int stats(void)
{
	static char text[32768];
	ssize_t n = getxattr(dir, "claudefs.stats", text, sizeof(text) - 1);

	CHECK(n > 0);
	text[n] = '\0';
	CHECK(strstr(text, "\"WRITE\":{\"count\":") && strstr(text, "\"malformed\":0,"));
	CHECK(strstr(text, "\"reply_errors\":0}"));
	return 0;
}

static int use(void *arg)
{
	const uint64_t *features = arg;
	bool may_lack_map = (*features & FUSE_DIRECT_IO_ALLOW_MMAP) == 0;
	int rc = write_and_read();

	rc = rc ? rc : map_shared(may_lack_map);
	rc = rc ? rc : names();
	rc = rc ? rc : attributes();
	return rc ? rc : stats();
}

CFS_TEST_FIBER(serves_with_any_set_of_features)
{
	static uint64_t sets[] = {
		UINT64_MAX,
		~FUSE_DIRECT_IO_ALLOW_MMAP,
		~FUSE_INIT_EXT,
		~FUSE_MAX_PAGES,
		~FUSE_BIG_WRITES,
		~(FUSE_DO_READDIRPLUS | FUSE_AUTO_INVAL_DATA),
		~FUSE_READDIRPLUS_AUTO,
		~(FUSE_ATOMIC_O_TRUNC | FUSE_HANDLE_KILLPRIV_V2),
		FUSE_ASYNC_READ,
	};

	for (size_t i = 0; i < CFS_ARRAY_COUNT(sets); i++) {
		struct mounted m;

		begin(&m, sets[i]);
		assert_int_equal(cfs_offload(use, &sets[i]), 0);
		finish(&m);
	}
}

/* --- interrupts --- */

static void on_signal(int signo)
{
	(void)signo;
}

static pid_t start_child(int op)
{
	pid_t child = fork();

	if (child == 0) {
		const struct sigaction sa = { .sa_handler = on_signal };
		struct stat st;
		sigset_t none;
		int rc;

		/* Offload threads block signals, and cmocka catches some. */
		signal(SIGTERM, SIG_DFL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		sigaction(SIGUSR1, &sa, NULL);
		rc = op == 'l' ? stat(path_of("hang"), &st) : mkdir(path_of("new"), 0700);
		_exit(rc == 0 ? 0 : errno);
	}
	return child;
}

/* Its exit code; -1: still running after @ms; -2: killed. */
static int child_result(pid_t child, int ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int status;

	for (int i = 0; i < ms; i++) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
		nanosleep(&pause, NULL);
	}
	return -1;
}

static int interrupt_them(void *arg)
{
	pid_t child = start_child('l');

	(void)arg;
	CHECK(child_result(child, 100) == -1);
	kill(child, SIGUSR1);
	CHECK(child_result(child, 3000) == EINTR);
	/* A change bears signals, but not SIGKILL. */
	child = start_child('m');
	CHECK(child_result(child, 100) == -1);
	kill(child, SIGUSR1);
	CHECK(child_result(child, 300) == -1);
	kill(child, SIGKILL);
	CHECK(child_result(child, 3000) == -2);
	/* SIGTERM, without a handler, ends it too. */
	child = start_child('m');
	CHECK(child_result(child, 100) == -1);
	kill(child, SIGTERM);
	CHECK(child_result(child, 3000) == -2);
	return 0;
}

CFS_TEST_FIBER(signals_end_waits)
{
	struct mounted m;

	begin(&m, 0);
	assert_int_equal(cfs_offload(interrupt_them, NULL), 0);
	finish(&m);
}

static int force(void *arg)
{
	struct mounted *m = arg;
	pid_t child = start_child('m');

	CHECK(child_result(child, 100) == -1);
	CHECK(cfs_fuse_unmount(dir, true, m->err, sizeof(m->err)) == 0);
	CHECK(child_result(child, 3000) > 0);
	return 0;
}

CFS_TEST_FIBER(a_forced_unmount_ends_waits)
{
	struct mounted m;

	begin(&m, 0);
	assert_int_equal(cfs_offload(force, &m), 0);
	cfs_group_join(&m.group);
	assert_true(m.rc == 0 || m.rc == -ECONNABORTED);
	cfs_fuse_mount_fini(&m.mount);
}

/* --- what cannot be mounted --- */

static int try_mount(const char *on, char *err)
{
	const struct cfs_fuse_mount_opts opts = { .source = "test:memory", .dir = on };
	struct cfs_fuse_mount mount;
	int rc = cfs_fuse_mount(&opts, &mount, err, 512);

	if (rc == 0)
		cfs_fuse_mount_fini(&mount);
	return rc;
}

static void errors_name_cause_and_next_step(void **state)
{
	const struct cfs_fuse_mount_opts opts = { .source = "test:memory", .dir = dir };
	struct cfs_fuse_mount mount;
	char err[512], file[64], source[64];
	int fd;

	(void)state;
	assert_int_equal(try_mount("/nowhere/at/all", err), -ENOENT);
	assert_non_null(strstr(err, "mkdir -p /nowhere/at/all"));
	snprintf(file, sizeof(file), "%s/file", dir);
	fd = open(file, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0 && close(fd) == 0);
	assert_int_equal(try_mount(file, err), -ENOTDIR);
	assert_int_equal(try_mount(dir, err), -ENOTEMPTY);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(cfs_fuse_unmount(dir, false, err, sizeof(err)), -EINVAL);

	assert_int_equal(cfs_fuse_mount(&opts, &mount, err, sizeof(err)), 0);
	assert_string_equal(mount.dir, dir);
	assert_true(mount.dev_minor != 0);
	assert_true(cfs_fuse_is_mounted(dir, source, sizeof(source)));
	assert_string_equal(source, "test:memory");
	/* Nobody serves it, so touching it would hang. */
	assert_int_equal(try_mount(dir, err), -EBUSY);
	assert_non_null(strstr(err, "cfs umount"));
	cfs_fuse_mount_fini(&mount);
	assert_int_equal(try_mount(dir, err), -ENOTCONN);
	assert_non_null(strstr(err, "stale"));
	assert_int_equal(cfs_fuse_unmount(dir, false, err, sizeof(err)), 0);
	assert_false(cfs_fuse_is_mounted(dir, NULL, 0));
}

static void options_become_flags(void **state)
{
	unsigned long flags = 0;

	(void)state;
	assert_int_equal(cfs_fuse_mount_flag("ro", &flags), 0);
	assert_int_equal(cfs_fuse_mount_flag("nosuid", &flags), 0);
	assert_int_equal(cfs_fuse_mount_flag("x-systemd.automount", &flags), 0);
	assert_int_equal(cfs_fuse_mount_flag("_netdev", &flags), 0);
	assert_int_equal(cfs_fuse_mount_flag("acl", &flags), 0);
	assert_int_equal(cfs_fuse_mount_flag("noacl", &flags), -ENOENT);
	assert_int_equal(flags, MS_RDONLY | MS_NOSUID);
	assert_int_equal(cfs_fuse_mount_flag("rw", &flags), 0);
	assert_int_equal(flags, MS_NOSUID);
	assert_int_equal(cfs_fuse_mount_flag("colour=blue", &flags), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_become_flags),
		cmocka_unit_test(errors_name_cause_and_next_step),
		cmocka_unit_test(serves_with_any_set_of_features),
		cmocka_unit_test(signals_end_waits),
		cmocka_unit_test(a_forced_unmount_ends_waits),
	};
	int rc;

	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0) {
		printf("skipped: needs root and /dev/fuse\n");
		return SKIP;
	}
	if (!mkdtemp(dir))
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	if (cfs_fuse_is_mounted(dir, NULL, 0)) {
		char err[512];

		cfs_fuse_unmount(dir, true, err, sizeof(err));
	}
	rmdir(dir);
	return rc;
}
