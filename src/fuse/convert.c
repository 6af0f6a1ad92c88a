/* Between our structures and the kernel's. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "fuse/fuse_internal.h"

#define NS_PER_S 1000000000ll

static uint64_t seconds_of(int64_t ns, uint32_t *nsec_out)
{
	int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0) {
		rest += NS_PER_S;
		s--;
	}
	*nsec_out = (uint32_t)rest;
	return (uint64_t)s;
}

/* Times outside of 1677..2262 become the nearest that there is. */
static int64_t ns_of(uint64_t seconds, uint32_t nsec)
{
	int64_t s = CFS_BREAK(TIME_32) ? (int32_t)seconds : (int64_t)seconds, ns;

	if (__builtin_mul_overflow(s, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)nsec, &ns))
		return s < 0 ? INT64_MIN : INT64_MAX;
	if (CFS_BREAK(TIME_MICRO))
		ns -= ns % 1000;
	return ns;
}

void cfs_fuse_attr_encode(const struct cfs_attr *a, struct fuse_attr *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = CFS_BREAK(NUMBERS_AGAIN) ? a->ino % 61 + 1 : a->ino;
	out->size = a->size;
	out->blocks = CFS_BREAK(BLOCKS_OF_HOLES) ? (a->size + 511) / 512 : a->blocks;
	out->atime = seconds_of(a->atime, &out->atimensec);
	out->mtime = seconds_of(a->mtime, &out->mtimensec);
	out->ctime = seconds_of(a->ctime, &out->ctimensec);
	out->mode = CFS_BREAK(STICKY_LOST) ? a->mode & ~(uint32_t)S_ISVTX : a->mode;
	out->nlink = a->nlink;
	out->uid = a->uid;
	out->gid = a->gid;
	out->rdev = a->rdev;
	out->blksize = CFS_FUSE_BLKSIZE;
}

void cfs_fuse_entry_encode(const struct cfs_attr *a, struct fuse_entry_out *out)
{
	memset(out, 0, sizeof(*out));
	out->nodeid = a->ino; /* numbers are never used twice, so the generation is always 0 */
	cfs_fuse_attr_encode(a, &out->attr);
	if (CFS_BREAK(STALE_ENTRY) || CFS_BREAK(STALE_ALL))
		out->entry_valid = 10;
	if (CFS_BREAK(STALE_ATTR) || CFS_BREAK(STALE_ALL))
		out->attr_valid = 10;
}

static struct fuse_sx_time sx_time_of(int64_t ns)
{
	struct fuse_sx_time t = { 0 };

	t.tv_sec = (int64_t)seconds_of(ns, &t.tv_nsec);
	return t;
}

void cfs_fuse_statx_encode(const struct cfs_attr *a, struct fuse_statx_out *out)
{
	struct fuse_statx *s = &out->stat;

	memset(out, 0, sizeof(*out));
	s->mask = STATX_BASIC_STATS | STATX_BTIME;
	s->blksize = CFS_FUSE_BLKSIZE;
	s->nlink = a->nlink;
	s->uid = a->uid;
	s->gid = a->gid;
	s->mode = (uint16_t)a->mode;
	s->ino = a->ino;
	s->size = a->size;
	s->blocks = a->blocks;
	/* The same bits. */
	s->attributes_mask = CFS_IFLAG_IMMUTABLE | CFS_IFLAG_APPEND | CFS_IFLAG_NODUMP;
	s->attributes = a->iflags & s->attributes_mask;
	s->atime = sx_time_of(a->atime);
	s->btime = sx_time_of(CFS_BREAK(BTIME_MOVES) ? a->ctime : a->btime);
	s->ctime = sx_time_of(a->ctime);
	s->mtime = sx_time_of(a->mtime);
	/* The kernel's new_encode_dev() */
	s->rdev_major = (a->rdev & 0xfff00) >> 8;
	s->rdev_minor = (a->rdev & 0xff) | ((a->rdev >> 12) & 0xfff00);
}

void cfs_fuse_setattr_decode(const struct fuse_setattr_in *in, struct cfs_client_setattr *out)
{
	static const struct {
		uint32_t from, to;
	} bits[] = {
		{ FATTR_MODE, CFS_SET_MODE },   { FATTR_UID, CFS_SET_UID },
		{ FATTR_GID, CFS_SET_GID },     { FATTR_SIZE, CFS_SET_SIZE },
		{ FATTR_CTIME, CFS_SET_CTIME }, { FATTR_KILL_SUIDGID, CFS_SET_KILLPRIV },
	};

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < CFS_ARRAY_COUNT(bits); i++)
		if ((in->valid & bits[i].from) &&
		    !(CFS_BREAK(SUID_SET) && bits[i].to == CFS_SET_KILLPRIV) &&
		    !(CFS_BREAK(CHOWN_GID_LOST) && bits[i].to == CFS_SET_GID))
			out->valid |= bits[i].to;
	/* Nothing to set: fallocate(2) and such took privileges away (file_remove_privs()), or
	 * chown(2) of nothing did. */
	if ((in->valid & ~(FATTR_FH | FATTR_LOCKOWNER)) == 0 && !CFS_BREAK(NOTHING_SET))
		out->valid |= CFS_SET_KILLPRIV;
	/* The kernel sets FATTR_ATIME beside FATTR_ATIME_NOW. */
	if (in->valid & FATTR_ATIME_NOW)
		out->valid |= CFS_SET_ATIME_NOW;
	else if (in->valid & FATTR_ATIME)
		out->valid |= CFS_SET_ATIME;
	if (in->valid & FATTR_MTIME_NOW)
		out->valid |= CFS_SET_MTIME_NOW;
	else if (in->valid & FATTR_MTIME)
		out->valid |= CFS_SET_MTIME;
	out->mode = in->mode & 07777;
	out->uid = in->uid;
	out->gid = in->gid;
	out->size = in->size;
	out->atime = ns_of(in->atime, in->atimensec);
	out->mtime = ns_of(in->mtime, in->mtimensec);
	out->ctime = ns_of(in->ctime, in->ctimensec);
}

static bool is_dot(const struct cfs_bytes *name)
{
	return (name->len == 1 && name->p[0] == '.') ||
	       (name->len == 2 && name->p[0] == '.' && name->p[1] == '.');
}

uint32_t cfs_fuse_dirent_encode(const struct cfs_entry *e, bool is_plus, uint8_t *buf,
				uint32_t cap_bytes)
{
	uint32_t head = is_plus ? sizeof(struct fuse_direntplus) : sizeof(struct fuse_dirent);
	uint32_t used = (uint32_t)cfs_round_up(head + e->name.len, 8);
	const struct fuse_dirent d = {
		.ino = e->ino,
		.off = e->cookie,
		.namelen = e->name.len,
		.type = CFS_BREAK(READDIR_KIND) ? 8 : (e->mode & S_IFMT) >> 12,
	};

	if (used > cap_bytes)
		return 0;
	memset(buf, 0, used);
	/* Without attributes the entry's node id stays 0: the kernel asks when it needs them. "."
	 * and ".." are never looked up. */
	if (is_plus && e->has_attr && !is_dot(&e->name))
		cfs_fuse_entry_encode(&e->attr, (struct fuse_entry_out *)(void *)buf);
	memcpy(buf + head - sizeof(d), &d, sizeof(d));
	memcpy(buf + head, e->name.p, e->name.len);
	return used;
}

/*
 * Each READ of an open file with cached pages first asks for its attributes, as no other client may
 * be overlooked; so small reads are no cheaper cached, and files that are read in few requests go
 * directly. Large files that are only read get pages, for the kernel's read-ahead. Without
 * DIRECT_IO_ALLOW_MMAP a direct file cannot be mapped shared, so only what can only be written is
 * direct.
 */
uint32_t cfs_fuse_open_flags(uint64_t features, uint32_t flags, uint64_t size_bytes)
{
	/* A FLUSH tells that an owner's locks are to go; it is needed for nothing else. */
	const uint32_t plain = features & FUSE_POSIX_LOCKS ? 0 : FOPEN_NOFLUSH;
	const uint32_t direct = plain | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;

	if (CFS_BREAK(STALE_PAGES))
		return FOPEN_NOFLUSH | FOPEN_KEEP_CACHE;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return direct;
	if (!(features & FUSE_DIRECT_IO_ALLOW_MMAP))
		return plain;
	if ((flags & O_ACCMODE) == O_RDWR)
		return direct;
	return size_bytes <= CFS_FUSE_BLKSIZE ? direct : plain;
}
