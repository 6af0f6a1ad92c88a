/*
 * Random operations on the contents of one file. Each is done through one of the ways in which the
 * file is open, and then to the copy in memory; reads are compared with the copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fsx.h"

static const int how_flags[HOW_COUNT] = {
	[HOW_RW] = O_RDWR,
	[HOW_READ] = O_RDONLY,
	[HOW_APPEND] = O_RDWR | O_APPEND,
	[HOW_DIRECT] = O_RDWR | O_DIRECT,
};

static unsigned some_dir(struct run *r)
{
	return (unsigned)pick(r, r->opt.dir_count);
}

static bool has_two_dirs(const struct run *r)
{
	return r->opt.dir_count > 1;
}

/* --- open --- */

void file_open_all(struct run *r, struct file *f, const char *name)
{
	static char path[4200];
	struct stat st;
	const char *base = strrchr(name, '/') + 1;

	for (unsigned dir = 0; dir < DIRS_MAX; dir++) {
		f->map[dir] = NULL;
		for (unsigned how = 0; how < HOW_COUNT; how++) {
			f->fd[dir][how] = -1;
			if (dir >= r->opt.dir_count)
				continue;
			snprintf(path, sizeof(path), "%s/%s", r->opt.dir[dir], base);
			f->fd[dir][how] = open(path, how_flags[how] | O_CLOEXEC);
			if (f->fd[dir][how] < 0)
				failed_errno(r, f, "open");
		}
	}
	if (fstat(f->fd[0][HOW_RW], &st) < 0)
		failed_errno(r, f, "fstat");
	f->ino = st.st_ino;
}

static void drop_map(struct run *r, struct file *f, unsigned dir)
{
	if (!f->map[dir])
		return;
	note(r, "munmap", f, dir, 0, 0);
	if (munmap(f->map[dir], r->opt.len_max_bytes) < 0)
		failed_errno(r, f, "munmap");
	f->map[dir] = NULL;
}

void file_close(struct run *r, struct file *f)
{
	for (unsigned dir = 0; dir < r->opt.dir_count; dir++) {
		drop_map(r, f, dir);
		for (unsigned how = 0; how < HOW_COUNT; how++) {
			if (close(f->fd[dir][how]) < 0)
				failed_errno(r, f, "close");
			f->fd[dir][how] = -1;
		}
	}
}

/* Opens it anew: by a name, or by the link in /proc when it may have none. */
static void reopen_as(struct run *r, struct file *f, unsigned dir, unsigned how, int more_flags)
{
	char by_fd[64];
	const char *path = by_fd;
	int fd;

	snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", f->fd[dir][(how + 1) % HOW_COUNT]);
	if (f->links && chance(r, 80))
		path = name_path(r, dir, name_of(r, f));
	fd = open(path, how_flags[how] | more_flags | O_CLOEXEC);
	if (fd < 0)
		failed_errno(r, f, "open");
	if (close(f->fd[dir][how]) < 0)
		failed_errno(r, f, "close");
	f->fd[dir][how] = fd;
}

static void reopen(struct run *r, struct file *f)
{
	unsigned dir = some_dir(r), how = (unsigned)pick(r, HOW_COUNT);
	int more = how == HOW_RW && chance(r, 5) ? O_TRUNC : 0;

	note(r, more ? "open O_TRUNC" : "reopen", f, dir, 0, how);
	if (chance(r, 50))
		drop_map(r, f, dir);
	reopen_as(r, f, dir, how, more);
	if (more)
		model_truncate(f, 0);
}

/*
 * The kernel takes some lengths from what it last heard of a file, until there are leases: for
 * maps, copy_file_range and sendfile. With two mounts it is asked first.
 */
static void hear_size(struct run *r, struct file *f, unsigned dir)
{
	struct stat st;

	if (has_two_dirs(r) && fstat(f->fd[dir][HOW_RW], &st) < 0)
		failed_errno(r, f, "fstat");
}

/* --- checks --- */

void file_check_size(struct run *r, struct file *f, unsigned dir)
{
	struct stat st;

	if (fstat(f->fd[dir][pick(r, HOW_COUNT)], &st) < 0)
		failed_errno(r, f, "fstat");
	if ((uint64_t)st.st_size != f->size_bytes)
		failed(r, f, "st_size is %#" PRIx64, (uint64_t)st.st_size);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What is left of @len_bytes at @off_bytes before the end of the file. */
static uint64_t within(const struct file *f, uint64_t off_bytes, uint64_t len_bytes)
{
	return off_bytes < f->size_bytes ? min_u64(len_bytes, f->size_bytes - off_bytes) : 0;
}

static void read_plain(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	enum how how = (enum how)pick(r, 3);
	int fd = f->fd[dir][how];
	bool seek = chance(r, 30);
	ssize_t got;

	note(r, how == HOW_READ ? "read" : "read (rw)", f, dir, off, len);
	if (seek && lseek(fd, (off_t)off, SEEK_SET) != (off_t)off)
		failed_errno(r, f, "lseek");
	got = seek ? read(fd, r->buf, len) : pread(fd, r->buf, len, (off_t)off);
	if (got < 0)
		failed_errno(r, f, "read");
	if ((uint64_t)got != within(f, off, len))
		failed(r, f, "read of %#" PRIx64 " + %#" PRIx64 " gives %#zx bytes", off, len, got);
	check_bytes(r, f, off, r->buf, (uint64_t)got, how == HOW_READ ? "read" : "read (rw)");
}

static void read_direct(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	uint8_t *p = r->buf + (chance(r, 30) ? 512 : 0);
	ssize_t got;

	len = (off % PAGE + len + PAGE - 1) / PAGE * PAGE;
	off -= off % PAGE;
	len = min_u64(len, OP_BYTES_MAX);
	note(r, "read O_DIRECT", f, dir, off, len);
	got = pread(f->fd[dir][HOW_DIRECT], p, len, (off_t)off);
	if (got < 0)
		failed_errno(r, f, "read O_DIRECT");
	if ((uint64_t)got != within(f, off, len))
		failed(r, f, "O_DIRECT read of %#" PRIx64 " + %#" PRIx64 " gives %#zx bytes", off,
		       len, got);
	check_bytes(r, f, off, p, (uint64_t)got, "O_DIRECT read");
}

/* The bytes that a read-only private map shows, from there to the end of the page behind. */
static void check_map(struct run *r, const struct file *f, const uint8_t *map, uint64_t off,
		      uint64_t len, bool is_fresh)
{
	uint64_t end = off + len;

	check_bytes(r, f, off, map + off, len, "map");
	if (!is_fresh || end != f->size_bytes)
		return;
	for (; end % PAGE; end++) {
		if (map[end])
			failed(r, f, "the map is not 0 past the end, at %#" PRIx64, end);
	}
}

/*
 * With two mounts a map shows what the other mount wrote from the next open on, so it is opened
 * anew, and no map is kept.
 */
static uint8_t *shared_map(struct run *r, struct file *f, unsigned dir, bool *is_kept)
{
	uint8_t *map;

	*is_kept = !has_two_dirs(r) && chance(r, 50);
	if (*is_kept && f->map[dir])
		return f->map[dir];
	if (has_two_dirs(r))
		reopen_as(r, f, dir, HOW_RW, 0);
	hear_size(r, f, dir);
	map = mmap(NULL, r->opt.len_max_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   f->fd[dir][HOW_RW], 0);
	if (map == MAP_FAILED)
		failed_errno(r, f, "mmap");
	if (*is_kept)
		f->map[dir] = map;
	return map;
}

static void unmap(struct run *r, struct file *f, uint8_t *map)
{
	if (munmap(map, r->opt.len_max_bytes) < 0)
		failed_errno(r, f, "munmap");
}

static void read_map(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	bool is_kept;
	uint8_t *map;

	len = within(f, off, len);
	if (!len)
		return;
	note(r, "read map", f, dir, off, len);
	map = shared_map(r, f, dir, &is_kept);
	check_map(r, f, map, off, len, !is_kept);
	if (!is_kept)
		unmap(r, f, map);
}

/* Stores to a private map are seen there, and nowhere else. */
static void use_private_map(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	enum how how = chance(r, 50) ? HOW_READ : HOW_RW;
	uint64_t at;
	uint8_t *map;

	len = within(f, off, len);
	if (!len)
		return;
	note(r, "private map", f, dir, off, len);
	if (has_two_dirs(r))
		reopen_as(r, f, dir, how, 0);
	hear_size(r, f, dir);
	map = mmap(NULL, r->opt.len_max_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->fd[dir][how],
		   0);
	if (map == MAP_FAILED)
		failed_errno(r, f, "mmap MAP_PRIVATE");
	check_map(r, f, map, off, len, true);
	at = off + pick(r, len);
	map[at] ^= 0xff;
	if (map[at] == f->want[at])
		failed(r, f, "a private map keeps no store");
	read_plain(r, f, dir, off, len);
	unmap(r, f, map);
}

static void send_bytes(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	off_t at = (off_t)off;
	ssize_t sent, got;
	int pipe_fd[2];

	len = min_u64(len, 64 * KIB);
	note(r, "sendfile", f, dir, off, len);
	hear_size(r, f, dir);
	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		failed_errno(r, f, "pipe2");
	sent = sendfile(pipe_fd[1], f->fd[dir][HOW_READ], &at, len);
	if (sent < 0)
		failed_errno(r, f, "sendfile");
	/* How much goes into a pipe at once is the kernel's business. */
	if (sent == 0 && within(f, off, len))
		failed(r, f, "sendfile of %#" PRIx64 " + %#" PRIx64 " gives nothing", off, len);
	got = sent ? read(pipe_fd[0], r->buf, (size_t)sent) : 0;
	if (got != sent || (uint64_t)sent > within(f, off, len))
		failed(r, f, "sendfile of %#" PRIx64 " + %#" PRIx64 " gives %#zx, the pipe %#zx",
		       off, len, sent, got);
	check_bytes(r, f, off, r->buf, (uint64_t)got, "sendfile");
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static void read_range(struct run *r, struct file *f, uint64_t off, uint64_t len)
{
	unsigned dir = some_dir(r);

	if (chance(r, r->opt.direct_percent))
		read_direct(r, f, dir, off, len);
	else if (chance(r, 60))
		read_plain(r, f, dir, off, len);
	else if (chance(r, 60))
		read_map(r, f, dir, off, len);
	else if (chance(r, 70))
		use_private_map(r, f, dir, off, len);
	else
		send_bytes(r, f, dir, off, len);
}

static bool is_zero(const struct file *f, uint64_t from, uint64_t to)
{
	return from >= to || (f->want[from] == 0 &&
			      memcmp(f->want + from, f->want + from + 1, to - from - 1) == 0);
}

/*
 * What is said to be a hole must be 0; data and holes must take turns, up to the end. Stores to a
 * map are synced first: the kernel asks a FUSE daemon for holes without writing its pages back.
 */
static void check_holes(struct run *r, struct file *f, unsigned steps)
{
	unsigned dir = some_dir(r);
	int fd = f->fd[dir][pick(r, HOW_COUNT)];
	uint64_t at = chance(r, 50) ? 0 : pick(r, f->size_bytes);
	off_t data, hole;

	if (f->map_is_dirty) {
		note(r, "fsync", f, dir, 0, 0);
		if (fsync(fd) < 0)
			failed_errno(r, f, "fsync");
		f->map_is_dirty = false;
	}
	note(r, "seek", f, dir, at, steps);
	while (steps-- && at < f->size_bytes) {
		data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			failed_errno(r, f, "lseek SEEK_DATA");
		if (data >= 0 && ((uint64_t)data < at || (uint64_t)data >= f->size_bytes))
			failed(r, f, "SEEK_DATA of %#" PRIx64 " gives %#" PRIx64, at,
			       (uint64_t)data);
		if (!is_zero(f, at, data < 0 ? f->size_bytes : (uint64_t)data))
			failed(r, f, "SEEK_DATA of %#" PRIx64 " gives %#" PRIx64 " and skips data",
			       at, (uint64_t)data);
		if (data < 0)
			return;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data || (uint64_t)hole > f->size_bytes)
			failed(r, f, "SEEK_HOLE of %#" PRIx64 " gives %#" PRIx64, (uint64_t)data,
			       (uint64_t)hole);
		at = (uint64_t)hole;
	}
	if (at >= f->size_bytes && lseek(fd, (off_t)f->size_bytes, SEEK_DATA) != -1)
		failed(r, f, "SEEK_DATA at the end of the file finds data");
}

void file_verify(struct run *r, struct file *f)
{
	unsigned dir = some_dir(r);

	file_check_size(r, f, dir);
	for (uint64_t at = 0; at < f->size_bytes; at += OP_BYTES_MAX / 2)
		read_range(r, f, at, OP_BYTES_MAX / 2);
	check_holes(r, f, 1000);
}

/* --- what changes a file --- */

static void spoil(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	int fd = f->fd[dir][HOW_RW];
	uint64_t at = off + pick(r, len);
	uint8_t byte;

	r->fault_done = true;
	if (strcmp(r->opt.fault_kind, "size") == 0) {
		if (ftruncate(fd, (off_t)f->size_bytes - 1) < 0)
			failed_errno(r, f, "ftruncate");
		return;
	}
	byte = f->want[at] ^ (uint8_t)(1 + pick(r, 255));
	if (pwrite(fd, &byte, 1, (off_t)at) != 1)
		failed_errno(r, f, "pwrite");
}

/* Often what was written is read at once, in another way. */
static void after_write(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	bool is_spoilt = r->opt.fault && r->number >= r->opt.fault && !r->fault_done &&
			 within(f, off, len) == len;

	if (is_spoilt)
		spoil(r, f, dir, off, len);
	if (is_spoilt || chance(r, 30))
		read_range(r, f, off, len);
	if (is_spoilt || chance(r, 20))
		file_check_size(r, f, some_dir(r));
}

static void written(struct run *r, struct file *f, unsigned dir, uint64_t off, ssize_t rc,
		    const uint8_t *p, uint64_t len)
{
	if (rc < 0)
		failed_errno(r, f, "write");
	if ((uint64_t)rc != len)
		failed(r, f, "write of %#" PRIx64 " bytes wrote %#zx", len, rc);
	model_write(f, off, p, len);
	after_write(r, f, dir, off, len);
}

static void write_pieces(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	uint64_t one = pick(r, len + 1), two = pick(r, len - one + 1);
	struct iovec iov[3] = {
		{ r->buf, one },
		{ r->buf + one, two },
		{ r->buf + one + two, len - one - two },
	};

	note(r, "pwritev", f, dir, off, len);
	written(r, f, dir, off, pwritev(f->fd[dir][HOW_RW], iov, 3, (off_t)off), r->buf, len);
}

static void write_plain(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	int fd = f->fd[dir][HOW_RW];

	fill(r, r->buf, len);
	if (chance(r, 20)) {
		write_pieces(r, f, dir, off, len);
		return;
	}
	note(r, "write", f, dir, off, len);
	if (chance(r, 30)) {
		if (lseek(fd, (off_t)off, SEEK_SET) != (off_t)off)
			failed_errno(r, f, "lseek");
		written(r, f, dir, off, write(fd, r->buf, len), r->buf, len);
		return;
	}
	written(r, f, dir, off, pwrite(fd, r->buf, len, (off_t)off), r->buf, len);
}

static void write_direct(struct run *r, struct file *f, unsigned dir, uint64_t off, uint64_t len)
{
	uint8_t *p = r->buf + (chance(r, 30) ? 512 : 0);

	off -= off % PAGE;
	len = min_u64((len + PAGE - 1) / PAGE * PAGE, OP_BYTES_MAX);
	len = min_u64(len, (r->opt.len_max_bytes - off) / PAGE * PAGE);
	if (!len)
		return;
	fill(r, p, len);
	note(r, "write O_DIRECT", f, dir, off, len);
	written(r, f, dir, off, pwrite(f->fd[dir][HOW_DIRECT], p, len, (off_t)off), p, len);
}

static void do_write(struct run *r, struct file *f)
{
	uint64_t off = pick_off(r, f, r->opt.len_max_bytes);
	uint64_t len = pick_len(r, off, r->opt.len_max_bytes - off);
	unsigned dir = some_dir(r);

	if (chance(r, r->opt.direct_percent))
		write_direct(r, f, dir, off, len);
	else
		write_plain(r, f, dir, off, len);
}

static void do_append(struct run *r, struct file *f)
{
	uint64_t off = f->size_bytes, len;
	unsigned dir = some_dir(r);

	if (off >= r->opt.len_max_bytes)
		return;
	len = pick_len(r, off, r->opt.len_max_bytes - off);
	fill(r, r->buf, len);
	note(r, "append", f, dir, off, len);
	written(r, f, dir, off, write(f->fd[dir][HOW_APPEND], r->buf, len), r->buf, len);
}

static void do_read(struct run *r, struct file *f)
{
	uint64_t off = pick_off(r, f, f->size_bytes + PAGE);

	read_range(r, f, off, pick_len(r, off, OP_BYTES_MAX));
}

static void do_truncate(struct run *r, struct file *f)
{
	unsigned dir = some_dir(r);
	uint64_t size = pick_off(r, f, r->opt.len_max_bytes + 1);
	int rc;

	if (chance(r, 60)) /* not too often much of it */
		size = f->size_bytes - min_u64(f->size_bytes, pick_len(r, 0, MIB));
	note(r, size < f->size_bytes ? "truncate down" : "truncate up", f, dir, size, 0);
	if (f->links && chance(r, 30))
		rc = truncate(name_path(r, dir, name_of(r, f)), (off_t)size);
	else
		rc = ftruncate(f->fd[dir][HOW_RW], (off_t)size);
	if (rc < 0)
		failed_errno(r, f, "truncate");
	model_truncate(f, size);
	file_check_size(r, f, some_dir(r));
}

static void do_map_write(struct run *r, struct file *f)
{
	uint64_t off = pick_off(r, f, f->size_bytes), from, len;
	unsigned dir = some_dir(r);
	bool is_kept, sync;
	uint8_t *map;

	len = within(f, off, pick_len(r, off, 256 * KIB));
	if (!len)
		return;
	fill(r, r->buf, len);
	map = shared_map(r, f, dir, &is_kept);
	sync = has_two_dirs(r) || chance(r, 40);
	note(r, sync ? "map write, msync" : "map write", f, dir, off, len);
	memcpy(map + off, r->buf, len);
	model_write(f, off, r->buf, len);
	f->map_is_dirty |= !sync;
	from = off - off % PAGE;
	if (sync && msync(map + from, off + len - from, MS_SYNC) < 0)
		failed_errno(r, f, "msync");
	if (!is_kept)
		unmap(r, f, map);
	after_write(r, f, dir, off, len);
}

static const struct {
	const char *name;
	int mode;
} allocations[] = {
	{ "allocate", 0 },
	{ "allocate, keep", FALLOC_FL_KEEP_SIZE },
	{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
	{ "punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
	{ "zero", FALLOC_FL_ZERO_RANGE },
	{ "zero, keep", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE },
};

static void do_allocate(struct run *r, struct file *f)
{
	unsigned which = (unsigned)pick(r, 6), dir = some_dir(r);
	int mode = allocations[which].mode;
	uint64_t off = pick_off(r, f, r->opt.len_max_bytes);
	uint64_t len = pick_len(r, off, r->opt.len_max_bytes - off);

	note(r, allocations[which].name, f, dir, off, len);
	if (fallocate(f->fd[dir][chance(r, 50) ? HOW_RW : HOW_DIRECT], mode, (off_t)off,
		      (off_t)len) < 0)
		failed_errno(r, f, allocations[which].name);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		model_zero(f, off, len, !(mode & FALLOC_FL_KEEP_SIZE));
	else if (!mode && off + len > f->size_bytes)
		model_truncate(f, off + len);
	file_check_size(r, f, some_dir(r));
	if (chance(r, 30))
		read_range(r, f, off, len);
}

static void copy(struct run *r, struct file *from, off_t off_in, struct file *f, off_t off_out,
		 uint64_t len)
{
	unsigned dir = some_dir(r);
	off_t in = off_in, out = off_out;
	uint64_t left = len;
	ssize_t rc;

	note(r, from == f ? "copy within from" : "copy from", from, dir, (uint64_t)off_in, len);
	note(r, "copy to", f, dir, (uint64_t)off_out, len);
	hear_size(r, from, dir);
	hear_size(r, f, dir);
	while (left) {
		rc = copy_file_range(from->fd[dir][HOW_READ], &in, f->fd[dir][HOW_RW], &out, left,
				     0);
		if (rc < 0)
			failed_errno(r, f, "copy_file_range");
		if (rc == 0 || (uint64_t)rc > left)
			failed(r, f, "copy_file_range of %#" PRIx64 " copies %#zx", left, rc);
		left -= (uint64_t)rc;
	}
	if (in != off_in + (off_t)len || out != off_out + (off_t)len)
		failed(r, f, "copy_file_range does not move its offsets");
	memcpy(r->buf, from->want + off_in, len);
	model_write(f, (uint64_t)off_out, r->buf, len);
	after_write(r, f, dir, (uint64_t)off_out, len);
}

static void do_copy(struct run *r, struct file *f)
{
	struct file *from = chance(r, 50) ? f : names_file(r);
	uint64_t in = pick_off(r, from, from->size_bytes), out, len;

	out = pick_off(r, f, r->opt.len_max_bytes);
	if (chance(r, 50)) {
		in -= in % PAGE;
		out -= out % PAGE;
	}
	len = within(from, in, pick_len(r, in, r->opt.len_max_bytes - out));
	if (from == f) /* a file's ranges must not overlap */
		len = min_u64(len, in < out ? out - in : in - out);
	if (len)
		copy(r, from, (off_t)in, f, (off_t)out, len);
}

static void do_sync(struct run *r, struct file *f)
{
	unsigned dir = some_dir(r), how = (unsigned)pick(r, HOW_COUNT);
	int rc;

	note(r, "fsync", f, dir, 0, 0);
	rc = chance(r, 50) ? fsync(f->fd[dir][how]) : fdatasync(f->fd[dir][how]);
	if (rc < 0)
		failed_errno(r, f, "fsync");
}

static void do_forget_pages(struct run *r, struct file *f)
{
	unsigned dir = some_dir(r);

	note(r, "dontneed", f, dir, 0, 0);
	if (posix_fadvise(f->fd[dir][HOW_READ], 0, 0, POSIX_FADV_DONTNEED) != 0)
		failed(r, f, "posix_fadvise");
}

static void do_holes(struct run *r, struct file *f)
{
	check_holes(r, f, 8);
}

static void do_drop_map(struct run *r, struct file *f)
{
	drop_map(r, f, some_dir(r));
}

static const struct {
	void (*run)(struct run *r, struct file *f);
	unsigned weight;
} steps[] = {
	{ do_read, 26 },     { do_write, 26 }, { do_append, 5 },       { do_truncate, 9 },
	{ do_map_write, 9 }, { do_copy, 6 },   { do_allocate, 8 },     { reopen, 4 },
	{ do_holes, 3 },     { do_sync, 1 },   { do_forget_pages, 2 }, { do_drop_map, 1 },
};

void file_step(struct run *r, struct file *f)
{
	unsigned at = (unsigned)pick(r, 100), i = 0;

	while (at >= steps[i].weight)
		at -= steps[i++].weight;
	steps[i].run(r, f);
	if (chance(r, 10))
		file_check_size(r, f, some_dir(r));
}
