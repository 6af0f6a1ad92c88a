/*
 * The empty FUSE server: the ceiling that a mount is measured against.
 *
 * One thread, blocking read(2) and write(2) on /dev/fuse, answers from memory, no data: files have
 *a size and nothing in them, writes are dropped, reads are zeros. It negotiates what the mount does
 *and caches nothing either. Only the kernel's ABI is shared with ClaudeFS.
 *
 *	fuse-null DIR [CPU]	mounts on DIR, pinned to CPU if given, until it is unmounted
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/abi.h"

#define BUF_BYTES (1024u * 1024 + 8192)
#define IO_BYTES_MAX (1024u * 1024)
#define FILES_MAX 262144u /* a power of two */
#define NAME_MAX_BYTES 255u

/* A name in the one directory; node ids are 2 + index. */
struct file {
	char *name;
	uint64_t size;
	uint32_t mode;
};

static struct file files[FILES_MAX];
static uint8_t zeros[IO_BYTES_MAX];

static uint32_t slot_of(const char *name)
{
	uint32_t h = 2166136261u;

	for (const char *at = name; *at; at++)
		h = (h ^ (uint8_t)*at) * 16777619u;
	return h & (FILES_MAX - 1);
}

/* Open addressing; a removed name leaves an empty string in its place. */
static struct file *find(const char *name, bool for_new)
{
	for (uint32_t i = slot_of(name), n = 0; n < FILES_MAX; i = (i + 1) & (FILES_MAX - 1), n++) {
		if (!files[i].name)
			return for_new ? &files[i] : NULL;
		if (strcmp(files[i].name, name) == 0 || (for_new && !files[i].name[0]))
			return &files[i];
	}
	return NULL;
}

static struct file *by_node(uint64_t node)
{
	return node >= 2 && node < 2 + FILES_MAX && files[node - 2].name ? &files[node - 2] : NULL;
}

static void attr_of(uint64_t node, struct fuse_attr *out)
{
	const struct file *f = by_node(node);

	memset(out, 0, sizeof(*out));
	out->ino = node;
	out->mode = f ? f->mode : S_IFDIR | 0777;
	out->nlink = 1;
	out->size = f ? f->size : 0;
	out->blksize = 128 * 1024;
}

static void entry_of(const struct file *f, struct fuse_entry_out *out)
{
	memset(out, 0, sizeof(*out));
	out->nodeid = 2 + (uint64_t)(f - files);
	attr_of(out->nodeid, &out->attr);
}

static size_t serve_init(const struct fuse_init_in *in, struct fuse_init_out *out)
{
	const uint64_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
				FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
				FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT |
				FUSE_DIRECT_IO_ALLOW_MMAP;
	uint64_t features = in->flags;

	if (in->flags & FUSE_INIT_EXT)
		features |= (uint64_t)in->flags2 << 32;
	features &= wanted;
	memset(out, 0, sizeof(*out));
	out->major = FUSE_KERNEL_VERSION;
	out->minor = FUSE_KERNEL_MINOR_VERSION;
	out->max_readahead = in->max_readahead;
	out->flags = (uint32_t)features;
	out->flags2 = (uint32_t)(features >> 32);
	out->max_background = 64;
	out->congestion_threshold = 48;
	out->max_write = IO_BYTES_MAX;
	out->max_pages = IO_BYTES_MAX / 4096;
	out->time_gran = 1;
	return sizeof(*out);
}

static int serve_create(const char *name, uint32_t mode, uint32_t flags, void *out, size_t *len)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} made = { 0 };
	struct file *f = find(name, true);

	if (!f)
		return -ENOSPC;
	free(f->name);
	f->name = strdup(name);
	f->mode = S_IFREG | (mode & 07777);
	f->size = 0;
	entry_of(f, &made.entry);
	made.open.open_flags = FOPEN_NOFLUSH |
			       ((flags & O_ACCMODE) == O_RDONLY
					? 0
					: FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	memcpy(out, &made, sizeof(made));
	*len = sizeof(made);
	return 0;
}

static int serve_open(uint64_t node, uint32_t flags, struct fuse_open_out *out)
{
	struct file *f = by_node(node);

	if (!f)
		return -ENOENT;
	if (flags & O_TRUNC)
		f->size = 0;
	memset(out, 0, sizeof(*out));
	out->open_flags = FOPEN_NOFLUSH |
			  ((flags & O_ACCMODE) == O_RDONLY
				   ? 0
				   : FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	return 0;
}

static int serve_lookup(const char *name, struct fuse_entry_out *out)
{
	const struct file *f = find(name, false);

	if (!f)
		return -ENOENT;
	entry_of(f, out);
	return 0;
}

static int serve_unlink(const char *name)
{
	struct file *f = find(name, false);

	if (!f)
		return -ENOENT;
	f->name[0] = '\0';
	return 0;
}

static int serve_read(uint64_t node, const struct fuse_read_in *in, size_t *len)
{
	const struct file *f = by_node(node);
	uint64_t left = f && f->size > in->offset ? f->size - in->offset : 0;

	if (in->size > IO_BYTES_MAX)
		return -EINVAL;
	*len = left < in->size ? (size_t)left : in->size;
	return 0;
}

static int serve_write(uint64_t node, const struct fuse_write_in *in, struct fuse_write_out *out)
{
	struct file *f = by_node(node);

	if (!f)
		return -ENOENT;
	if (in->offset + in->size > f->size)
		f->size = in->offset + in->size;
	*out = (struct fuse_write_out){ .size = in->size };
	return 0;
}

static int serve_setattr(uint64_t node, const struct fuse_setattr_in *in, struct fuse_attr_out *out)
{
	struct file *f = by_node(node);

	if (f && (in->valid & FATTR_SIZE))
		f->size = in->size;
	memset(out, 0, sizeof(*out));
	attr_of(node, &out->attr);
	return 0;
}

/* Answers the request at @buf into @out or, for READ, from zeros. False: it wants no reply. */
static bool serve(const uint8_t *buf, struct fuse_out_header *h, uint8_t *out, const void **data)
{
	const struct fuse_in_header *in = (const void *)buf;
	const uint8_t *args = buf + sizeof(*in);
	size_t len = 0;
	int rc = 0;

	*data = out;
	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return false;
	case FUSE_INIT:
		len = serve_init((const void *)args, (void *)out);
		break;
	case FUSE_GETATTR:
		len = sizeof(struct fuse_attr_out);
		memset(out, 0, len);
		attr_of(in->nodeid, &((struct fuse_attr_out *)(void *)out)->attr);
		break;
	case FUSE_SETATTR:
		len = sizeof(struct fuse_attr_out);
		rc = serve_setattr(in->nodeid, (const void *)args, (void *)out);
		break;
	case FUSE_LOOKUP:
		len = sizeof(struct fuse_entry_out);
		rc = serve_lookup((const char *)args, (void *)out);
		break;
	case FUSE_CREATE:
		rc = serve_create((const char *)args + sizeof(struct fuse_create_in),
				  ((const struct fuse_create_in *)(const void *)args)->mode,
				  ((const struct fuse_create_in *)(const void *)args)->flags, out,
				  &len);
		break;
	case FUSE_OPEN:
		len = sizeof(struct fuse_open_out);
		rc = serve_open(in->nodeid, *(const uint32_t *)(const void *)args, (void *)out);
		break;
	case FUSE_UNLINK:
		rc = serve_unlink((const char *)args);
		break;
	case FUSE_READ:
		rc = serve_read(in->nodeid, (const void *)args, &len);
		*data = zeros;
		break;
	case FUSE_WRITE:
		len = sizeof(struct fuse_write_out);
		rc = serve_write(in->nodeid, (const void *)args, (void *)out);
		break;
	case FUSE_STATFS:
		len = sizeof(struct fuse_kstatfs);
		*(struct fuse_kstatfs *)(void *)out = (struct fuse_kstatfs){
			.blocks = 1u << 30,
			.bfree = 1u << 30,
			.bavail = 1u << 30,
			.bsize = 4096,
			.frsize = 4096,
			.namelen = NAME_MAX_BYTES,
		};
		break;
	case FUSE_OPENDIR:
		len = sizeof(struct fuse_open_out);
		memset(out, 0, len);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_READDIR: /* an empty listing */
	case FUSE_FSYNC:
	case FUSE_FLUSH:
		break;
	default:
		rc = -ENOSYS;
	}
	if (rc < 0)
		len = 0;
	*h = (struct fuse_out_header){ .len = (uint32_t)(sizeof(*h) + len),
				       .error = rc,
				       .unique = in->unique };
	return true;
}

static int loop(int fd)
{
	uint8_t *buf = aligned_alloc(4096, BUF_BYTES), *out = calloc(1, 4096);

	if (!buf || !out)
		return -ENOMEM;
	for (;;) {
		struct fuse_out_header h;
		const void *data;
		struct iovec iov[2] = { { &h, sizeof(h) } };
		ssize_t n = read(fd, buf, BUF_BYTES);

		if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (n < 0)
			return errno == ENODEV ? 0 : -errno;
		if (n < (ssize_t)sizeof(struct fuse_in_header) || !serve(buf, &h, out, &data))
			continue;
		iov[1] = (struct iovec){ (void *)(uintptr_t)data, h.len - sizeof(h) };
		/* What was interrupted meanwhile is not there any more. */
		(void)!writev(fd, iov, 2);
	}
}

static int pin(const char *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)atoi(cpu), &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	char data[128];
	int fd;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: fuse-null DIR [CPU]\n");
		return 2;
	}
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0 || (argc == 3 && pin(argv[2]) < 0)) {
		fprintf(stderr, "fuse-null: %s; needs root, /dev/fuse and that CPU\n",
			strerrordesc_np(errno));
		return 1;
	}
	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
	if (mount("fuse-null", argv[1], "fuse.null", MS_NOSUID | MS_NODEV, data) < 0) {
		fprintf(stderr, "fuse-null: mount on %s: %s\n", argv[1], strerrordesc_np(errno));
		return 1;
	}
	return loop(fd) == 0 ? 0 : 1;
}
