/* Requests as bytes: what the kernel could send, and what it never would, over a socket in place of
 * /dev/fuse. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/fs.h>

#include "claudefs/lazy.h"
#include "fuse/fuse_internal.h"
#include "lib/test_fiber.h"

#define FUZZ_ROUNDS 4000

struct wire {
	int kernel, server;
	struct cfs_group group;
	int rc;
	uint64_t unique;
	struct cfs_fuse_opts opts;
};

static uint32_t stub_iflags, stub_mode = S_IFDIR | 0755;

static int stub_getattr(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *attr_out)
{
	(void)op;
	*attr_out = (struct cfs_attr){ .iflags = stub_iflags,
				       .ino = ino,
				       .mode = stub_mode,
				       .nlink = 2,
				       .uid = 42,
				       .mtime = -1,
				       .parent = 1 };
	return ino > 1000 ? -ESTALE : 0;
}

static int stub_lookup(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		       struct cfs_attr *attr_out)
{
	(void)dir;
	if (strcmp(name.p, "here") != 0)
		return -ENOENT;
	return stub_getattr(op, 7, attr_out);
}

static int stub_rename(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		       uint64_t new_dir, struct cfs_client_name new_name, uint32_t flags)
{
	(void)op;
	if (dir != 1 || new_dir != 9 || strcmp(name.p, "from") != 0 ||
	    strcmp(new_name.p, "to") != 0)
		return -EBADMSG;
	return flags == CFS_F_EXCHANGE ? 0 : -EEXIST;
}

static uint32_t stub_write_flags;

static int stub_write(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_write *w,
		      uint64_t *off_out)
{
	const uint8_t *data = w->data;

	(void)op, (void)ino, (void)off_out;
	stub_write_flags = w->flags;
	for (uint32_t i = 0; i < w->len_bytes; i++)
		if (data[i] != 0x5a)
			return -EIO;
	return 0;
}

static int stub_setxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			 const void *value, uint32_t len_bytes, uint32_t flags)
{
	uint8_t sum = 0;

	(void)op, (void)ino, (void)flags, (void)name;
	for (uint32_t i = 0; i < len_bytes; i++)
		sum ^= ((const uint8_t *)value)[i];
	return sum == 0 ? 0 : -EINVAL;
}

static int stub_setattr(struct cfs_client_op *op, uint64_t ino,
			const struct cfs_client_setattr *set, struct cfs_attr *attr_out)
{
	if (set->valid != CFS_SET_IFLAGS)
		return -EBADMSG;
	stub_iflags = set->iflags;
	return stub_getattr(op, ino, attr_out);
}

/* What was opened, read and made, as it came to the handlers. */
static uint32_t stub_open_flags, stub_create_flags;
static bool stub_keeps_atime;

static int stub_open(struct cfs_client_op *op, uint64_t ino, uint32_t flags,
		     struct cfs_attr *attr_out)
{
	stub_open_flags = flags;
	return stub_getattr(op, ino, attr_out);
}

static int stub_create(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		       const struct cfs_client_create *how, struct cfs_attr *attr_out)
{
	(void)dir, (void)name;
	stub_create_flags = how->flags;
	return stub_getattr(op, 7, attr_out);
}

static int stub_read(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes, uint32_t len_bytes,
		     void *buf, struct cfs_client_bytes *out)
{
	(void)ino, (void)off_bytes, (void)len_bytes;
	stub_keeps_atime = op->keeps_atime;
	out->p = buf;
	return 0;
}

static const struct cfs_fuse_handlers stubs = {
	.lookup = stub_lookup,
	.getattr = stub_getattr,
	.rename = stub_rename,
	.write = stub_write,
	.setxattr = stub_setxattr,
	.setattr = stub_setattr,
	.open = stub_open,
	.create = stub_create,
	.read = stub_read,
};

static void serve(void *arg)
{
	struct wire *w = arg;

	w->rc = cfs_fuse_serve(&w->opts);
}

static void send_bytes(struct wire *w, const void *bytes, size_t len)
{
	assert_int_equal(send(w->kernel, bytes, len, 0), (ssize_t)len);
}

/* Waits for a reply; returns the bytes behind the header. */
static ssize_t receive(struct wire *w, struct fuse_out_header *h, void *out, size_t cap)
{
	struct iovec iov[2] = { { h, sizeof(*h) }, { out, cap } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	for (int i = 0; i < 2000; i++) {
		ssize_t n = recvmsg(w->kernel, &m, MSG_DONTWAIT);

		if (n >= 0) {
			assert_int_equal(n, h->len);
			return n - (ssize_t)sizeof(*h);
		}
		assert_int_equal(errno, EAGAIN);
		if (i < 100) /* soon, mostly */
			cfs_fiber_yield();
		else
			cfs_sleep_ns(1000000);
	}
	fail_msg("no reply");
	return -1;
}

/* Behind the header of the last reply. */
static ssize_t last_bytes;
static uint32_t ask_uid;

/* A request of @args; waits for its reply. */
static int ask(struct wire *w, uint32_t opcode, uint64_t nodeid, const void *args,
	       size_t args_bytes, void *out, size_t cap)
{
	static uint8_t bytes[16384];
	struct fuse_in_header in = {
		.len = (uint32_t)(sizeof(in) + args_bytes),
		.opcode = opcode,
		.unique = ++w->unique,
		.nodeid = nodeid,
		.uid = ask_uid,
	};
	struct fuse_out_header h;

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), args, args_bytes);
	send_bytes(w, bytes, in.len);
	last_bytes = receive(w, &h, out, cap);
	assert_int_equal(h.unique, in.unique);
	return h.error;
}

static void begin(struct wire *w)
{
	int fds[2];

	memset(w, 0, sizeof(*w));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	w->kernel = fds[0];
	w->server = fds[1];
	w->opts.fd = w->server;
	w->opts.handlers = &stubs;
	cfs_group_init(&w->group);
	assert_int_equal(cfs_group_start(&w->group, serve, w), 0);
}

static void agree(struct wire *w)
{
	const struct fuse_init_in in = {
		.major = 7,
		.minor = 45,
		.max_readahead = 1 << 17,
		.flags = UINT32_MAX,
		.flags2 = UINT32_MAX,
	};
	struct fuse_init_out out;

	assert_int_equal(ask(w, FUSE_INIT, 0, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.major, 7);
	assert_int_equal(out.max_write, 1 << 20);
}

static void finish(struct wire *w)
{
	close(w->kernel);
	cfs_group_join(&w->group);
	assert_int_equal(w->rc, 0);
	close(w->server);
}

CFS_TEST_FIBER(nothing_is_served_before_init)
{
	struct fuse_attr_out out;
	struct fuse_getattr_in in = { 0 };
	struct wire w;

	begin(&w);
	assert_int_equal(ask(&w, FUSE_GETATTR, 1, &in, sizeof(in), &out, sizeof(out)), -EIO);
	agree(&w);
	assert_int_equal(ask(&w, FUSE_GETATTR, 1, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.attr.ino, 1);
	assert_int_equal(out.attr_valid, 0);
	assert_int_equal((int64_t)out.attr.mtime, -1);
	assert_int_equal(out.attr.mtimensec, 999999999);
	finish(&w);
}

CFS_TEST_FIBER(an_old_kernel_is_refused)
{
	const struct fuse_init_in in = { .major = 7, .minor = 30 };
	struct fuse_init_out out;
	struct wire w;

	begin(&w);
	assert_int_equal(ask(&w, FUSE_INIT, 0, &in, 16, &out, sizeof(out)), -EPROTO);
	cfs_group_join(&w.group);
	assert_int_equal(w.rc, -EPROTONOSUPPORT);
	close(w.kernel);
	close(w.server);
}

CFS_TEST_FIBER(arguments_reach_handlers)
{
	struct fuse_entry_out entry;
	struct wire w;
	struct {
		struct fuse_rename2_in in;
		char names[8];
	} rename2 = { .in = { .newdir = 9, .flags = 2 }, .names = "from\0to" };
	static uint8_t write_bytes[sizeof(struct fuse_write_in) + 9000];
	struct fuse_write_in *write_in = (void *)write_bytes;
	struct fuse_write_out write_out;

	begin(&w);
	agree(&w);
	assert_int_equal(ask(&w, FUSE_LOOKUP, 1, "here", 5, &entry, sizeof(entry)), 0);
	assert_int_equal(entry.nodeid, 7);
	assert_int_equal(entry.entry_valid, 0);
	assert_int_equal(ask(&w, FUSE_LOOKUP, 1, "gone", 5, &entry, sizeof(entry)), -ENOENT);
	assert_int_equal(ask(&w, FUSE_LOOKUP, 5, ".", 2, &entry, sizeof(entry)), 0);
	assert_int_equal(entry.nodeid, 5);
	assert_int_equal(ask(&w, FUSE_LOOKUP, 5, "..", 3, &entry, sizeof(entry)), 0);
	assert_int_equal(entry.nodeid, 1);
	assert_int_equal(ask(&w, FUSE_GETATTR, 2000, write_bytes, 16, &entry, 104), -ESTALE);
	assert_int_equal(ask(&w, FUSE_RENAME2, 1, &rename2, sizeof(rename2), &entry, 0), 0);
	rename2.in.flags = 1;
	assert_int_equal(ask(&w, FUSE_RENAME2, 1, &rename2, sizeof(rename2), &entry, 0), -EEXIST);
	rename2.in.flags = 4; /* RENAME_WHITEOUT */
	assert_int_equal(ask(&w, FUSE_RENAME2, 1, &rename2, sizeof(rename2), &entry, 0), -EINVAL);
	/* In small and in large memory. */
	for (uint32_t len = 4096; len <= 9000; len += 4904) {
		memset(write_bytes, 0, sizeof(*write_in));
		memset(write_bytes + sizeof(*write_in), 0x5a, len);
		write_in->size = len;
		assert_int_equal(ask(&w, FUSE_WRITE, 7, write_bytes, sizeof(*write_in) + len,
				     &write_out, sizeof(write_out)),
				 0);
		assert_int_equal(write_out.size, len);
		assert_int_equal(stub_write_flags, 0);
	}
	/* From a mapped page: where the page is, and inside of the file. */
	write_in->flags = O_RDWR | O_APPEND;
	assert_int_equal(ask(&w, FUSE_WRITE, 7, write_bytes, sizeof(*write_in) + write_in->size,
			     &write_out, sizeof(write_out)),
			 0);
	assert_int_equal(stub_write_flags, CFS_F_APPEND);
	write_in->write_flags = FUSE_WRITE_CACHE;
	assert_int_equal(ask(&w, FUSE_WRITE, 7, write_bytes, sizeof(*write_in) + write_in->size,
			     &write_out, sizeof(write_out)),
			 0);
	assert_int_equal(stub_write_flags, CFS_F_INSIDE);
	finish(&w);
}

static int ask_ioctl(struct wire *w, uint32_t cmd, const void *arg, uint32_t in_bytes,
		     uint32_t out_bytes, void *out, ssize_t *got)
{
	struct {
		struct fuse_ioctl_in in;
		uint8_t arg[64];
	} args = { .in = { .cmd = cmd, .in_size = in_bytes, .out_size = out_bytes } };
	struct {
		struct fuse_ioctl_out head;
		uint8_t body[64];
	} reply = { 0 };
	int rc;

	memcpy(args.arg, arg, in_bytes);
	rc = ask(w, FUSE_IOCTL, 5, &args, sizeof(args.in) + in_bytes, &reply, sizeof(reply));
	assert_int_equal(reply.head.result, 0);
	*got = last_bytes - (ssize_t)sizeof(reply.head);
	if (rc == 0)
		memcpy(out, reply.body, out_bytes);
	return rc;
}

/* How long the kernel may keep the attributes of inode 5, ms. */
static uint64_t keeps_ms(struct wire *w)
{
	const struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out out;

	assert_int_equal(ask(w, FUSE_GETATTR, 5, &in, sizeof(in), &out, sizeof(out)), 0);
	return out.attr_valid * 1000 + out.attr_valid_nsec / 1000000;
}

static int mark_lazy(struct wire *w, uint64_t fh, uint32_t ms)
{
	struct {
		struct fuse_ioctl_in in;
		uint32_t ms;
	} args = { { .fh = fh, .cmd = CLAUDEFS_IOC_LAZY, .in_size = 4 }, ms };
	struct fuse_ioctl_out out;

	return ask(w, FUSE_IOCTL, 5, &args, sizeof(args.in) + 4, &out, sizeof(out));
}

static void release_handle(struct wire *w, uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	(void)ask(w, FUSE_RELEASE, 5, &in, sizeof(in), NULL, 0);
}

CFS_TEST_FIBER(an_open_may_be_lazy)
{
	struct wire w;

	begin(&w);
	agree(&w);
	assert_int_equal(mark_lazy(&w, 1, 500), -ENOTTY); /* no file */
	stub_mode = S_IFREG | 0644;
	assert_int_equal(mark_lazy(&w, 1, CLAUDEFS_LAZY_MS_MAX + 1), -EINVAL);
	ask_uid = 43;
	assert_int_equal(mark_lazy(&w, 1, 500), -EPERM);
	assert_int_equal(keeps_ms(&w), 0);
	ask_uid = 42;
	assert_int_equal(mark_lazy(&w, 1, 500), 0);
	ask_uid = 0;
	assert_int_equal(mark_lazy(&w, 2, 2500), 0);
	assert_int_equal(keeps_ms(&w), 2500);
	release_handle(&w, 3);
	release_handle(&w, 2);
	assert_int_equal(keeps_ms(&w), 500);
	assert_int_equal(mark_lazy(&w, 1, 700), 0);
	assert_int_equal(keeps_ms(&w), 700);
	assert_int_equal(mark_lazy(&w, 1, 0), 0);
	assert_int_equal(keeps_ms(&w), 0);
	assert_int_equal(mark_lazy(&w, 4, 100), 0); /* and the end finds it */
	stub_mode = S_IFDIR | 0755;
	finish(&w);
}

CFS_TEST_FIBER(a_file_may_be_lazy)
{
	const struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out out;
	struct wire w;

	begin(&w);
	agree(&w);
	stub_iflags = 1500u << 8 | CFS_IFLAG_ACL | CFS_IFLAG_IMMUTABLE;
	assert_int_equal(keeps_ms(&w), 1500);
	assert_int_equal(ask(&w, FUSE_OPEN, 5, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.open_flags & (FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO), FOPEN_KEEP_CACHE);
	stub_iflags = CFS_IFLAG_ACL | CFS_IFLAG_IMMUTABLE;
	assert_int_equal(keeps_ms(&w), 0);
	assert_int_equal(ask(&w, FUSE_OPEN, 5, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.open_flags & FOPEN_KEEP_CACHE, 0);
	stub_iflags = 0;
	finish(&w);
}

CFS_TEST_FIBER(ioctls_get_and_set_inode_flags)
{
	uint32_t flags = FS_IMMUTABLE_FL | FS_NOATIME_FL;
	struct fsxattr x = { 0 };
	struct wire w;
	ssize_t got;

	begin(&w);
	agree(&w);
	assert_int_equal(ask_ioctl(&w, FS_IOC_SETFLAGS, &flags, 4, 0, &flags, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(stub_iflags, CFS_IFLAG_IMMUTABLE | CFS_IFLAG_NOATIME);
	flags = 0;
	assert_int_equal(ask_ioctl(&w, FS_IOC_GETFLAGS, &flags, 0, 4, &flags, &got), 0);
	assert_int_equal(got, 4);
	assert_int_equal(flags, FS_IMMUTABLE_FL | FS_NOATIME_FL);
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSGETXATTR, &x, 0, sizeof(x), &x, &got), 0);
	assert_int_equal(got, sizeof(x));
	assert_int_equal(x.fsx_xflags, FS_XFLAG_IMMUTABLE | FS_XFLAG_NOATIME);
	x.fsx_xflags = FS_XFLAG_APPEND | FS_XFLAG_NODUMP;
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSSETXATTR, &x, sizeof(x), 0, &x, &got), 0);
	assert_int_equal(stub_iflags, CFS_IFLAG_APPEND | CFS_IFLAG_NODUMP);
	/* What we have not, what is too short, what is nothing. */
	flags = FS_SYNC_FL;
	assert_int_equal(ask_ioctl(&w, FS_IOC_SETFLAGS, &flags, 4, 0, &flags, &got), -EOPNOTSUPP);
	x.fsx_xflags = FS_XFLAG_SYNC;
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSSETXATTR, &x, sizeof(x), 0, &x, &got), -EOPNOTSUPP);
	x = (struct fsxattr){ .fsx_projid = 3 };
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSSETXATTR, &x, sizeof(x), 0, &x, &got), -EOPNOTSUPP);
	assert_int_equal(ask_ioctl(&w, FS_IOC_SETFLAGS, &flags, 3, 0, &flags, &got), -EINVAL);
	assert_int_equal(ask_ioctl(&w, FS_IOC_GETFLAGS, &flags, 0, 3, &flags, &got), -EINVAL);
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSGETXATTR, &x, 0, 8, &x, &got), -EINVAL);
	assert_int_equal(ask_ioctl(&w, FS_IOC_FSSETXATTR, &x, 8, 0, &x, &got), -EINVAL);
	assert_int_equal(ask_ioctl(&w, _IOW(1, 2, int), &x, 4, 0, &x, &got), -ENOTTY);
	assert_int_equal(stub_iflags, CFS_IFLAG_APPEND | CFS_IFLAG_NODUMP);
	stub_iflags = 0;
	finish(&w);
}

CFS_TEST_FIBER(flags_of_open_reach_handlers)
{
	struct fuse_open_in open_in = { .flags = O_RDWR | O_APPEND | O_TRUNC };
	struct {
		struct fuse_create_in in;
		char name[2];
	} create = { .in = { .flags = O_RDWR | O_EXCL | O_CREAT, .mode = 0644 }, .name = "f" };
	struct fuse_read_in read_in = { .size = 10, .flags = O_RDONLY | O_NOATIME };
	uint8_t out[256];
	struct wire w;

	begin(&w);
	agree(&w);
	assert_int_equal(ask(&w, FUSE_OPEN, 5, &open_in, sizeof(open_in), out, sizeof(out)), 0);
	assert_int_equal(stub_open_flags, CFS_F_WRITE | CFS_F_APPEND | CFS_F_TRUNC);
	open_in.flags = O_RDONLY;
	assert_int_equal(ask(&w, FUSE_OPEN, 5, &open_in, sizeof(open_in), out, sizeof(out)), 0);
	assert_int_equal(stub_open_flags, 0);
	assert_int_equal(ask(&w, FUSE_CREATE, 1, &create, sizeof(create), out, sizeof(out)), 0);
	assert_int_equal(stub_create_flags, CFS_F_OPEN | CFS_F_EXCL | CFS_F_WRITE);
	assert_int_equal(ask(&w, FUSE_TMPFILE, 1, &create, sizeof(create), out, sizeof(out)), 0);
	assert_int_equal(stub_create_flags, CFS_F_OPEN | CFS_F_EXCL | CFS_F_WRITE | CFS_F_TMPFILE);
	assert_int_equal(ask(&w, FUSE_READ, 5, &read_in, sizeof(read_in), out, sizeof(out)), 0);
	assert_true(stub_keeps_atime);
	read_in.flags = O_RDONLY;
	assert_int_equal(ask(&w, FUSE_READ, 5, &read_in, sizeof(read_in), out, sizeof(out)), 0);
	assert_false(stub_keeps_atime);
	finish(&w);
	begin(&w);
	w.opts.keeps_atime = true;
	agree(&w);
	assert_int_equal(ask(&w, FUSE_READ, 5, &read_in, sizeof(read_in), out, sizeof(out)), 0);
	assert_true(stub_keeps_atime);
	finish(&w);
}

CFS_TEST_FIBER(malformed_requests_get_errors)
{
	static const struct {
		uint32_t opcode;
		uint32_t bytes;
		const char *args;
		int rc;
	} cases[] = {
		{ FUSE_LOOKUP, 4, "here", -EIO }, /* no NUL */
		{ FUSE_LOOKUP, 0, "", -EIO },
		{ FUSE_GETATTR, 8, "12345678", -EIO },               /* cut short */
		{ FUSE_RENAME, 13, "\1\0\0\0\0\0\0\0from\0", -EIO }, /* one name */
		{ FUSE_WRITE, 40,
		  "0123456789abcdef\xff\xff\xff\xff"
		  "0123456789abcdefghij",
		  -EIO },
		{ FUSE_SETXATTR, 10, "\xff\xff\xff\xff\0\0\0\0n\0", -EIO },
		{ 0, 0, "", -ENOSYS },
		{ 7, 0, "", -ENOSYS },
		{ 999999, 16, "0123456789abcdef", -ENOSYS },
		{ FUSE_BMAP, 16, "0123456789abcdef", -ENOSYS },
		{ FUSE_IOCTL, 32, "0123456789abcdef0123456789abcdef", -EINVAL },
		{ FUSE_UNLINK, 5, "here", -ENOSYS }, /* no handler */
	};
	char out[512];
	struct wire w;

	begin(&w);
	agree(&w);
	for (size_t i = 0; i < CFS_ARRAY_COUNT(cases); i++)
		assert_int_equal(ask(&w, cases[i].opcode, 1, cases[i].args, cases[i].bytes, out,
				     sizeof(out)),
				 cases[i].rc);
	finish(&w);
}

CFS_TEST_FIBER(garbage_does_no_harm)
{
	static uint8_t bytes[512], out[4096];
	struct fuse_out_header h;
	struct fuse_getattr_in in = { 0 };
	const uint32_t commands[] = { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR,
				      FS_IOC_FSSETXATTR };
	struct fuse_ioctl_in ioctl_in = { 0 };
	struct fuse_in_header head;
	unsigned int seed = 42;
	struct wire w;

	begin(&w);
	agree(&w);
	for (int i = 0; i < FUZZ_ROUNDS; i++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes) + 1;

		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)(rand_r(&seed) >> 7);
		/* Mostly a plausible header, so that more than its check is reached. */
		memset(&head, 0, sizeof(head));
		head.len = (uint32_t)len;
		head.opcode = (uint32_t)rand_r(&seed) % 60;
		head.unique = 1000000 + (uint64_t)i;
		head.total_extlen = (uint16_t)(i % 7 == 0 ? rand_r(&seed) : 0);
		/* A second INIT is not answered twice; DESTROY is harmless. */
		if (head.opcode == FUSE_INIT)
			continue;
		if (i % 10 != 0)
			memcpy(bytes, &head, CFS_MIN(len, sizeof(head)));
		/* A known command, of any sizes. */
		if (head.opcode == FUSE_IOCTL && len >= sizeof(head) + sizeof(ioctl_in)) {
			ioctl_in.cmd = commands[rand_r(&seed) % 4];
			ioctl_in.in_size = (uint32_t)rand_r(&seed) % 80;
			ioctl_in.out_size = (uint32_t)rand_r(&seed) % 80;
			memcpy(bytes + sizeof(head), &ioctl_in, sizeof(ioctl_in));
		}
		send_bytes(&w, bytes, len);
		cfs_fiber_yield();
		while (recv(w.kernel, out, sizeof(out), MSG_DONTWAIT) >= 0)
			;
	}
	/* It still serves. */
	head = (struct fuse_in_header){
		.len = sizeof(head) + sizeof(in), .opcode = FUSE_GETATTR, .unique = 5, .nodeid = 1
	};
	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), &in, sizeof(in));
	send_bytes(&w, bytes, head.len);
	do {
		(void)receive(&w, &h, out, sizeof(out));
	} while (h.unique != 5);
	assert_int_equal(h.error, 0);
	finish(&w);
}

/* --- ACLs --- */

#define ACL "system.posix_acl_access"

/* What handlers were called with. */
static struct {
	uint32_t iflags; /* of every inode */
	uint32_t gets, flags, umask, valid;
} seen;

static int acl_getattr(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *attr_out)
{
	int rc = stub_getattr(op, ino, attr_out);

	attr_out->iflags = seen.iflags;
	return rc;
}

static int acl_getxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			uint32_t len_bytes, struct cfs_client_bytes *out, uint64_t *size_out)
{
	(void)op, (void)ino, (void)name, (void)len_bytes, (void)out, (void)size_out;
	seen.gets++;
	return -ENODATA;
}

static int acl_setxattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name,
			const void *value, uint32_t len_bytes, uint32_t flags)
{
	(void)op, (void)ino;
	seen.flags = flags;
	if (strncmp(name.p, "system.", 7) != 0 && strcmp(name.p, "user.x") != 0)
		return -EBADMSG;
	return len_bytes == 5 && memcmp(value, "value", 5) == 0 ? 0 : -EINVAL;
}

static int acl_setattr(struct cfs_client_op *op, uint64_t ino, const struct cfs_client_setattr *set,
		       struct cfs_attr *attr_out)
{
	seen.valid = set->valid;
	return stub_getattr(op, ino, attr_out);
}

static int acl_mkdir(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
		     uint32_t mode, struct cfs_attr *attr_out)
{
	(void)name;
	seen.umask = op->umask;
	return mode == 0777 ? stub_getattr(op, dir, attr_out) : -EBADMSG;
}

static int acl_removexattr(struct cfs_client_op *op, uint64_t ino, struct cfs_client_name name)
{
	(void)op, (void)ino, (void)name;
	return 0;
}

static const struct cfs_fuse_handlers acl_stubs = {
	.getattr = acl_getattr,
	.setattr = acl_setattr,
	.mkdir = acl_mkdir,
	.getxattr = acl_getxattr,
	.setxattr = acl_setxattr,
	.removexattr = acl_removexattr,
};

static void begin_acls(struct wire *w, uint64_t without)
{
	begin(w);
	w->opts.handlers = &acl_stubs;
	w->opts.features = ~without;
	memset(&seen, 0, sizeof(seen));
	agree(w);
}

static int get_acl(struct wire *w, uint64_t ino)
{
	struct {
		struct fuse_getxattr_in in;
		char name[sizeof(ACL)];
	} q = { .in = { .size = 100 }, .name = ACL };
	char out[128];

	return ask(w, FUSE_GETXATTR, ino, &q, sizeof(q), out, sizeof(out));
}

static int ask_attr(struct wire *w, uint64_t ino)
{
	const struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out out;

	return ask(w, FUSE_GETATTR, ino, &in, sizeof(in), &out, sizeof(out));
}

static int set_xattr(struct wire *w, const char *name, uint32_t ext_flags)
{
	static const uint8_t value[] = { 'v', 'a', 'l', 'u', 'e' };
	uint8_t bytes[128] = { 0 };
	struct fuse_setxattr_in in = { .size = 5, .setxattr_flags = ext_flags };
	size_t len = sizeof(in);

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + len, name, strlen(name) + 1);
	len += strlen(name) + 1;
	memcpy(bytes + len, value, sizeof(value));
	return ask(w, FUSE_SETXATTR, 5, bytes, len + sizeof(value), bytes, sizeof(bytes));
}

/* Asks for attributes, then for the ACL, until the latter reaches no handler; on a machine that has
 * other work to do too much time may pass between the two. */
static bool costs_nothing(struct wire *w)
{
	for (int i = 0; i < 100; i++) {
		uint32_t before = seen.gets;

		assert_int_equal(ask_attr(w, 5), 0);
		assert_int_equal(get_acl(w, 5), -ENODATA);
		if (seen.gets == before)
			return true;
	}
	return false;
}

/* Where the attributes have just said that there is no ACL, nobody is asked for it. */
CFS_TEST_FIBER(an_acl_that_is_not_there_costs_nothing)
{
	struct wire w;

	begin_acls(&w, 0);
	assert_int_equal(get_acl(&w, 5), -ENODATA);
	assert_int_equal(seen.gets, 1);
	assert_true(costs_nothing(&w));
	/* Once, and of that inode. */
	seen.gets = 1;
	assert_int_equal(get_acl(&w, 5), -ENODATA);
	assert_int_equal(seen.gets, 2);
	assert_int_equal(ask_attr(&w, 5), 0);
	assert_int_equal(get_acl(&w, 6), -ENODATA);
	assert_int_equal(seen.gets, 3);
	/* Not after a while, nor after a change. */
	assert_int_equal(ask_attr(&w, 5), 0);
	cfs_sleep_ns(3000000);
	assert_int_equal(get_acl(&w, 5), -ENODATA);
	assert_int_equal(seen.gets, 4);
	assert_int_equal(ask_attr(&w, 5), 0);
	assert_int_equal(set_xattr(&w, ACL, 0), 0);
	assert_int_equal(get_acl(&w, 5), -ENODATA);
	assert_int_equal(seen.gets, 5);
	/* Where there is one it is asked for. */
	seen.iflags = CFS_IFLAG_ACL;
	assert_int_equal(ask_attr(&w, 5), 0);
	assert_int_equal(get_acl(&w, 5), -ENODATA);
	assert_int_equal(seen.gets, 6);
	finish(&w);
}

CFS_TEST_FIBER(set_gid_goes_with_an_acl)
{
	uint8_t cut[24] = { 5 };
	struct wire w;

	begin_acls(&w, 0);
	assert_int_equal(set_xattr(&w, ACL, 0), 0);
	assert_int_equal(seen.flags, 0);
	assert_int_equal(set_xattr(&w, ACL, FUSE_SETXATTR_ACL_KILL_SGID), 0);
	assert_int_equal(seen.flags, CFS_F_KILLPRIV);
	/* The name is behind the longer structure. */
	assert_int_equal(ask(&w, FUSE_SETXATTR, 5, cut, 12, cut, 0), -EIO);
	assert_int_equal(ask(&w, FUSE_SETXATTR, 5, cut, 16, cut, 0), -EIO);
	memset(cut + 16, 'n', 8);
	assert_int_equal(ask(&w, FUSE_SETXATTR, 5, cut, 24, cut, 0), -EIO);
	finish(&w);
}

CFS_TEST_FIBER(a_kernel_without_acls)
{
	static const uint64_t without[] = { FUSE_POSIX_ACL, FUSE_DONT_MASK };
	const struct {
		struct fuse_mkdir_in in;
		char name[4];
	} mkdir_q = { .in = { 0777, 027 }, .name = "dir" };
	char name[] = ACL, out[256];
	struct wire w;

	for (size_t k = 0; k < CFS_ARRAY_COUNT(without); k++) {
		begin_acls(&w, without[k]);
		assert_int_equal(get_acl(&w, 5), -EOPNOTSUPP);
		assert_int_equal(set_xattr(&w, ACL, 0), -EOPNOTSUPP);
		assert_int_equal(set_xattr(&w, "user.x", 0), 0);
		assert_int_equal(ask(&w, FUSE_REMOVEXATTR, 5, name, sizeof(name), out, sizeof(out)),
				 -EOPNOTSUPP);
		assert_int_equal(seen.gets, 0);
		/* There the kernel has applied the umask. */
		assert_int_equal(
			ask(&w, FUSE_MKDIR, 1, &mkdir_q, sizeof(mkdir_q), out, sizeof(out)), 0);
		assert_int_equal(seen.umask, 0);
		finish(&w);
	}
	begin_acls(&w, 0);
	assert_int_equal(ask(&w, FUSE_MKDIR, 1, &mkdir_q, sizeof(mkdir_q), out, sizeof(out)), 0);
	assert_int_equal(seen.umask, 027);
	finish(&w);
}

/* SETATTR of nothing: file_remove_privs() of the kernel. */
CFS_TEST_FIBER(to_set_nothing_takes_privileges)
{
	struct fuse_setattr_in in = { .valid = FATTR_FH };
	struct fuse_attr_out out;
	struct wire w;

	begin_acls(&w, 0);
	assert_int_equal(ask(&w, FUSE_SETATTR, 5, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(seen.valid, CFS_SET_KILLPRIV);
	in.valid = FATTR_MODE;
	assert_int_equal(ask(&w, FUSE_SETATTR, 5, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(seen.valid, CFS_SET_MODE);
	finish(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_served_before_init),
		cmocka_unit_test(an_old_kernel_is_refused),
		cmocka_unit_test(arguments_reach_handlers),
		cmocka_unit_test(an_open_may_be_lazy),
		cmocka_unit_test(a_file_may_be_lazy),
		cmocka_unit_test(ioctls_get_and_set_inode_flags),
		cmocka_unit_test(flags_of_open_reach_handlers),
		cmocka_unit_test(malformed_requests_get_errors),
		cmocka_unit_test(garbage_does_no_harm),
		cmocka_unit_test(an_acl_that_is_not_there_costs_nothing),
		cmocka_unit_test(set_gid_goes_with_an_acl),
		cmocka_unit_test(a_kernel_without_acls),
		cmocka_unit_test(to_set_nothing_takes_privileges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
