/*
 * What the kernel keeps, and for how long (doc/design/leases.md).
 *
 * Under `strict` it keeps names, attributes and pages of what is leased, for as long as the lease
 * counts at most. A recall ends that: attributes by INVAL_INODE, which waits for nobody; names by a
 * new epoch, which ends all names of the mount, as one alone can only be taken away under its
 * directory's lock, that somebody may hold who waits for this very recall; pages by a thread of its
 * own, as that waits for reads under way, again and again until none was answered meanwhile.
 *
 * A reply that was under way while this mount changed the same thing is not kept: the server may
 * have looked before. Attributes go along with a name, but are not kept: the kernel could not be
 * told to drop them, as long as it does not have the inode.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "fuse/fuse_internal.h"

#define BUCKETS_MIN 256u
#define SWEEP_MIN 16384u
#define OWN_MOUNTS_MAX 64u
#define DROP_ROUNDS_MAX 1000u
#define NS_PER_MS 1000000ull
#define CLOSE_TO_OPEN_NS (1000 * NS_PER_MS)

/* An inode that the kernel keeps something of. */
struct kept {
	struct kept *next;
	uint64_t ino, until_ns; /* names and attributes are not kept longer */
	bool has_pages;
	bool are_pages_good; /* under a lease since they were read: an open need not drop them */
};

/* Pages that are being dropped. */
struct drop {
	struct cfs_list link;
	int fd;
	uint64_t ino;
	bool was_read;
};

struct cfs_fuse_cache {
	struct cfs_fuse *fuse; /* NULL: nothing is mounted */
	struct kept **buckets;
	uint32_t bucket_count, count; /* buckets: a power of two */
	uint32_t sweep_at;            /* with so many, those that are over go */
	bool is_sweeping;
	struct cfs_list drops;
};

int cfs_fuse_cache_create(struct cfs_fuse_cache **out)
{
	struct cfs_fuse_cache *c = calloc(1, sizeof(*c));

	if (c)
		c->buckets = calloc(BUCKETS_MIN, sizeof(struct kept *));
	if (!c || !c->buckets) {
		free(c);
		return -ENOMEM;
	}
	c->bucket_count = BUCKETS_MIN;
	c->sweep_at = SWEEP_MIN;
	cfs_list_init(&c->drops);
	*out = c;
	return 0;
}

static struct kept **bucket_of(const struct cfs_fuse_cache *c, uint64_t ino)
{
	return &c->buckets[cfs_hash_u64(ino) & (c->bucket_count - 1)];
}

static struct kept *kept_find(const struct cfs_fuse_cache *c, uint64_t ino)
{
	struct kept *k = *bucket_of(c, ino);

	while (k && k->ino != ino)
		k = k->next;
	return k;
}

static void grow(struct cfs_fuse_cache *c)
{
	struct cfs_fuse_cache wide = { .bucket_count = c->bucket_count * 2 };

	wide.buckets = calloc(wide.bucket_count, sizeof(struct kept *));
	if (!wide.buckets)
		return;
	for (uint32_t b = 0; b < c->bucket_count; b++) {
		while (c->buckets[b]) {
			struct kept *k = c->buckets[b], **to = bucket_of(&wide, k->ino);

			c->buckets[b] = k->next;
			k->next = *to;
			*to = k;
		}
	}
	free(c->buckets);
	c->buckets = wide.buckets;
	c->bucket_count = wide.bucket_count;
}

static struct kept *kept_get(struct cfs_fuse_cache *c, uint64_t ino)
{
	struct kept *k = kept_find(c, ino), **to;

	if (k)
		return k;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	if (c->count >= c->bucket_count)
		grow(c);
	k->ino = ino;
	to = bucket_of(c, ino);
	k->next = *to;
	*to = k;
	c->count++;
	return k;
}

/* Takes it out; *@was: what it was. False: it was not there. */
static bool kept_take(struct cfs_fuse_cache *c, uint64_t ino, struct kept *was)
{
	struct kept **at = bucket_of(c, ino), *k;

	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	k = *at;
	if (!k)
		return false;
	*at = k->next;
	*was = *k;
	c->count--;
	free(k);
	return true;
}

static void forget_all(struct cfs_fuse_cache *c)
{
	for (uint32_t b = 0; b < c->bucket_count; b++) {
		while (c->buckets[b]) {
			struct kept *k = c->buckets[b];

			c->buckets[b] = k->next;
			free(k);
		}
	}
	c->count = 0;
}

void cfs_fuse_cache_destroy(struct cfs_fuse_cache *c)
{
	if (!c)
		return;
	forget_all(c);
	free(c->buckets);
	free(c);
}

/* --- telling the kernel --- */

static int notify(int fd, int32_t code, const void *body, size_t bytes)
{
	struct fuse_out_header h = { .len = (uint32_t)(sizeof(h) + bytes), .error = code };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)body, bytes } };

	return writev(fd, iov, bytes ? 2 : 1) < 0 ? -errno : 0;
}

/* It need not know the inode. */
static void inval_attr(int fd, uint64_t ino)
{
	const struct fuse_notify_inval_inode_out out = { .ino = ino, .off = -1 };

	(void)notify(fd, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out));
}

static int inval_pages(void *arg)
{
	const struct drop *d = arg;
	const struct fuse_notify_inval_inode_out out = { .ino = d->ino };

	return notify(d->fd, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out));
}

static int inval_names(int fd)
{
	return notify(fd, FUSE_NOTIFY_INC_EPOCH, NULL, 0);
}

/* Whether a line of mountinfo is of this device: its id. */
static bool is_own(const struct cfs_fuse *f, const char *line, unsigned int *id,
		   unsigned int *parent)
{
	unsigned int major, minor;

	return sscanf(line, "%u %u %u:%u ", id, parent, &major, &minor) == 4 &&
	       major == f->opts->dev_major && minor == f->opts->dev_minor;
}

/*
 * Whether something is mounted below. The kernel takes mounts off the names that an epoch ends, so
 * then no names are kept. Mounts of other namespaces are not seen.
 */
static bool has_mounts_below(struct cfs_fuse *f)
{
	unsigned int own[OWN_MOUNTS_MAX], count = 0, id, parent;
	struct pollfd p = { .fd = f->mounts_fd, .events = POLLPRI };
	static char line[4096];
	FILE *from;

	if (f->mounts_fd < 0 || (f->has_read_mounts && poll(&p, 1, 0) == 0))
		return f->is_mounted_on;
	f->has_read_mounts = true;
	f->is_mounted_on = false;
	for (int round = 0; round < 2; round++) {
		from = fopen("/proc/self/mountinfo", "re");
		while (from && fgets(line, sizeof(line), from)) {
			if (round == 0 && count < OWN_MOUNTS_MAX && is_own(f, line, &id, &parent))
				own[count++] = id;
			for (unsigned int i = 0; round == 1 && i < count; i++)
				if (sscanf(line, "%u %u", &id, &parent) == 2 && parent == own[i])
					f->is_mounted_on = true;
		}
		if (from)
			fclose(from);
	}
	return f->is_mounted_on;
}

/* Ends all names; where that would unmount something they are waited for, which is once, as no more
 * are given then. */
static CFS_AWAITS void drop_names(struct cfs_fuse_cache *c)
{
	uint64_t now = cfs_now_ns();

	if (!has_mounts_below(c->fuse)) {
		(void)inval_names(c->fuse->fd);
		c->fuse->names_until_ns = 0;
	} else if (c->fuse->names_until_ns > now) {
		(void)cfs_sleep_ns(c->fuse->names_until_ns - now);
	}
}

static CFS_AWAITS void drop_pages(struct cfs_fuse_cache *c, uint64_t ino)
{
	struct drop d = { .ino = ino };

	for (uint32_t round = 0; c->fuse && round < DROP_ROUNDS_MAX; round++) {
		d.fd = c->fuse->fd;
		d.was_read = false;
		cfs_list_append(&c->drops, &d.link);
		while (cfs_offload(inval_pages, &d) == -EAGAIN && c->fuse)
			cfs_fiber_yield();
		cfs_list_remove(&d.link);
		if (!d.was_read)
			break;
	}
}

void cfs_fuse_cache_read(struct cfs_fuse *f, uint64_t ino, bool is_paged)
{
	struct kept *k;

	if (!f->cache)
		return;
	/* Its lease may have come after the open: the next recall has to drop this too. */
	k = is_paged && f->opts->consistency == CFS_FUSE_STRICT ? kept_get(f->cache, ino) : NULL;
	if (k)
		k->has_pages = true;
	cfs_list_for_each(n, &f->cache->drops) {
		struct drop *d = cfs_list_entry(n, struct drop, link);

		d->was_read |= d->ino == ino;
	}
}

CFS_AWAITS void cfs_fuse_cache_recall(void *ctx, uint64_t ino)
{
	struct cfs_fuse_cache *c = ctx;
	struct kept was;

	if (!kept_take(c, ino, &was) || !c->fuse)
		return;
	inval_attr(c->fuse->fd, ino);
	/* Of a file too: where the kernel looks at the owner to see who may change it, it goes by
	 * what the walk there has brought, and does not ask again. */
	drop_names(c);
	if (c->fuse && was.has_pages)
		drop_pages(c, ino);
}

CFS_AWAITS void cfs_fuse_cache_recall_all(void *ctx)
{
	struct cfs_fuse_cache *c = ctx;
	uint64_t *inos = malloc((c->count + 1ul) * sizeof(*inos));
	uint32_t count = 0;

	/* Without memory the kernel keeps it until its time is over, which it is by now or soon. */
	for (uint32_t b = 0; inos && b < c->bucket_count; b++)
		for (const struct kept *k = c->buckets[b]; k; k = k->next)
			inos[count++] = k->ino;
	for (uint32_t i = 0; i < count; i++)
		cfs_fuse_cache_recall(c, inos[i]);
	free(inos);
}

/* All opens for writing are those of requests. */
void cfs_fuse_cache_let_go(void *ctx, struct cfs_client_op *op, uint64_t ino)
{
	struct cfs_fuse_req *req = cfs_container_of(op, struct cfs_fuse_req, op);
	struct cfs_fuse_cache *c = ctx;
	struct kept *k;

	if (!c->fuse)
		return;
	req->change.ino[1] = ino; /* of a CREATE, too, that opens what is there */
	k = kept_find(c, ino);
	if (!k)
		return;
	/* Descriptors that are open have its pages still, and may bring more. */
	k->until_ns = 0;
	k->are_pages_good = false;
	inval_attr(c->fuse->fd, ino);
}

void cfs_fuse_cache_evicted(void *ctx)
{
	struct cfs_fuse_cache *c = ctx;

	if (c->fuse)
		cfs_fuse_locks_lost(c->fuse);
}

uint32_t cfs_fuse_cache_count(const struct cfs_fuse *f)
{
	return f->cache ? f->cache->count : 0;
}

void cfs_fuse_cache_attr_changed(struct cfs_fuse *f, uint64_t ino)
{
	if (f->cache)
		inval_attr(f->fd, ino);
}

void cfs_fuse_cache_start(struct cfs_fuse *f)
{
	f->cache = f->opts->cache;
	f->has_epochs = f->cache && inval_names(f->fd) == 0;
	f->mounts_fd = f->cache ? open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) : -1;
	if (f->cache)
		f->cache->fuse = f;
}

void cfs_fuse_cache_ready(struct cfs_fuse *f)
{
	if (f->cache)
		(void)has_mounts_below(f);
}

void cfs_fuse_cache_stop(struct cfs_fuse *f)
{
	if (!f->cache)
		return;
	if (f->mounts_fd >= 0)
		close(f->mounts_fd);
	f->cache->fuse = NULL;
	forget_all(f->cache);
}

/* --- changes of this mount --- */

/* The inodes that a request changes, but for what its names stand for. */
static bool change_of(const struct cfs_fuse_req *req, struct cfs_fuse_change *out)
{
	uint32_t flags;

	*out = (struct cfs_fuse_change){ .ino = { req->in.nodeid } };
	switch (req->in.opcode) {
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		out->is_any = true;
		return true;
	case FUSE_LINK:
		if (req->args_bytes >= sizeof(uint64_t))
			memcpy(&out->ino[1], req->args, sizeof(uint64_t));
		return true;
	case FUSE_OPEN: /* one that writes ends the lease, and may cut the file */
		memcpy(&flags, req->args, sizeof(flags));
		return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	case FUSE_SETATTR:
	case FUSE_SYMLINK:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
	case FUSE_IOCTL:
		return true;
	default:
		return false;
	}
}

void cfs_fuse_change_begin(struct cfs_fuse_req *req)
{
	req->is_change = req->fuse->cache && change_of(req, &req->change);
	if (req->is_change)
		cfs_list_append(&req->fuse->changing, &req->change.link);
}

void cfs_fuse_change_end(struct cfs_fuse_req *req)
{
	struct cfs_fuse *f = req->fuse;
	struct cfs_fuse_change *to;

	if (!req->is_change)
		return;
	cfs_list_remove(&req->change.link);
	to = &f->changed[f->changed_at++ % CFS_FUSE_CHANGES];
	*to = req->change;
	to->end_ns = cfs_now_ns();
}

static bool touches(const struct cfs_fuse_change *c, uint64_t ino)
{
	return c->is_any || c->ino[0] == ino || c->ino[1] == ino;
}

/* Whether this mount has changed @ino, perhaps, since @req began. */
static bool is_changed(const struct cfs_fuse_req *req, uint64_t ino)
{
	const struct cfs_fuse *f = req->fuse;

	cfs_list_for_each(n, &f->changing) {
		const struct cfs_fuse_change *c = cfs_list_entry(n, struct cfs_fuse_change, link);

		if (c != &req->change && touches(c, ino))
			return true;
	}
	for (uint32_t i = 1; i <= CFS_FUSE_CHANGES; i++) {
		const struct cfs_fuse_change *c =
			&f->changed[(f->changed_at - i) % CFS_FUSE_CHANGES];

		if (c->end_ns < req->begin_ns)
			return false;
		if (touches(c, ino))
			return true;
	}
	return true; /* too many to be remembered */
}

/* --- what may be kept --- */

void cfs_fuse_cache_ask(struct cfs_fuse_req *req)
{
	req->op.wants_lease = req->fuse->cache && req->fuse->has_epochs &&
			      req->fuse->opts->consistency == CFS_FUSE_STRICT &&
			      cfs_fuse_lazy_ns(req->fuse, req->in.nodeid) == 0;
}

static uint64_t relaxed_ns(const struct cfs_fuse *f)
{
	if (f->opts->consistency == CFS_FUSE_CLOSE_TO_OPEN)
		return CLOSE_TO_OPEN_NS;
	return f->opts->consistency == CFS_FUSE_LAZY ? f->opts->lazy_ns : 0;
}

/* How late a file may be seen, also by who opens it anew; 0: not at all. */
static uint64_t lazy_ns(struct cfs_fuse *f, const struct cfs_attr *attr)
{
	uint64_t ns = CFS_MAX(cfs_fuse_lazy_ns(f, attr->ino), cfs_attr_lazy_ms(attr) * NS_PER_MS);

	return f->opts->consistency == CFS_FUSE_LAZY ? CFS_MAX(ns, f->opts->lazy_ns) : ns;
}

/*
 * Of what was removed nobody is told, and of what is not looked at any more neither. Names and
 * attributes of those end by themselves; pages have to be dropped.
 */
/* CFS_FIBER_ENTRY */
static CFS_AWAITS void sweep(void *arg)
{
	struct cfs_fuse_cache *c = arg;
	uint64_t *inos = malloc((c->count + 1ul) * sizeof(*inos)), now = cfs_now_ns();
	uint32_t count = 0;
	struct kept was;

	for (uint32_t b = 0; inos && b < c->bucket_count; b++)
		for (const struct kept *k = c->buckets[b]; k; k = k->next)
			if (k->until_ns < now)
				inos[count++] = k->ino;
	for (uint32_t i = 0; i < count && c->fuse; i++) {
		const struct kept *k = kept_find(c, inos[i]);

		if (k && k->until_ns < now && kept_take(c, inos[i], &was) && was.has_pages)
			drop_pages(c, inos[i]);
	}
	free(inos);
	c->sweep_at = CFS_MAX(SWEEP_MIN, 2 * c->count);
	c->is_sweeping = false;
}

static struct kept *keep(struct cfs_fuse_req *req, uint64_t ino, uint64_t *ns_out)
{
	struct cfs_fuse *f = req->fuse;
	struct kept *k;

	*ns_out = 0;
	if (!req->op.wants_lease || req->op.lease_ino != ino || is_changed(req, ino))
		return NULL;
	*ns_out = cfs_client_lease_ns(&req->op);
	k = *ns_out ? kept_get(f->cache, ino) : NULL;
	if (!k) {
		*ns_out = 0;
		return NULL;
	}
	k->until_ns = CFS_MAX(k->until_ns, cfs_now_ns() + *ns_out);
	if (f->cache->count >= f->cache->sweep_at && !f->cache->is_sweeping)
		f->cache->is_sweeping = cfs_group_start(&f->fibers, sweep, f->cache) == 0;
	return k;
}

uint64_t cfs_fuse_keep_name(struct cfs_fuse_req *req, uint64_t dir)
{
	struct cfs_fuse *f = req->fuse;
	uint64_t ns = relaxed_ns(f);

	/* A mount that has come since is seen with the next recall. */
	if (ns == 0 && f->cache && !(f->is_mounted_on && has_mounts_below(f))) {
		keep(req, dir, &ns);
		f->names_until_ns = CFS_MAX(f->names_until_ns, ns ? cfs_now_ns() + ns : 0);
	}
	return ns;
}

uint64_t cfs_fuse_keep_attr(struct cfs_fuse_req *req, const struct cfs_attr *attr)
{
	uint64_t ns = CFS_MAX(relaxed_ns(req->fuse), lazy_ns(req->fuse, attr));

	if (ns == 0)
		keep(req, attr->ino, &ns);
	return ns;
}

uint32_t cfs_fuse_keep_pages(struct cfs_fuse_req *req, uint32_t flags, const struct cfs_attr *attr)
{
	uint32_t open_flags = cfs_fuse_open_flags(req->fuse->features, flags, attr->size);
	struct kept *k;
	bool is_due;
	uint64_t ns;

	if ((flags & O_ACCMODE) != O_RDONLY)
		return open_flags; /* the lease went with the open */
	/* Who asks for it sees what is there, and the kernel keeps nothing of it. */
	if ((flags & O_DIRECT) && (req->fuse->features & FUSE_DIRECT_IO_ALLOW_MMAP))
		return open_flags | FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	if (lazy_ns(req->fuse, attr))
		return (open_flags & ~(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES)) |
		       FOPEN_KEEP_CACHE;
	if (relaxed_ns(req->fuse)) {
		open_flags &= ~(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
		inval_attr(req->fuse->fd, attr->ino);
		return open_flags;
	}
	k = keep(req, attr->ino, &ns);
	is_due = !req->fuse->keeps_atime && !(attr->iflags & CFS_IFLAG_NOATIME) &&
		 !(flags & O_NOATIME) && cfs_attr_atime_is_due(attr, (int64_t)cfs_wall_ns());
	/* A read of nothing that is kept does not reach us, and this one has to. */
	if (!k || (is_due && attr->size == 0))
		return open_flags;
	open_flags &= ~(FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES);
	/* What the kernel had before this lease may be old. */
	if (k->are_pages_good && !is_due)
		open_flags |= FOPEN_KEEP_CACHE;
	k->has_pages = true;
	k->are_pages_good = true;
	return open_flags;
}

/* The kernel keeps an ACL until it hears of the inode's attributes, which a walk of names that are
 * kept does not bring. An invalidation while it waits for the answer makes it keep none. */
void cfs_fuse_cache_acl(struct cfs_fuse_req *req)
{
	struct cfs_fuse *f = req->fuse;
	const struct kept *k = f->cache ? kept_find(f->cache, req->in.nodeid) : NULL;

	if (f->cache && f->has_epochs && !relaxed_ns(f) && !(k && k->until_ns > cfs_now_ns()))
		inval_attr(f->fd, req->in.nodeid);
}

/* CFS_FIBER_ENTRY */
static CFS_AWAITS void drop_listing(void *arg)
{
	struct drop *d = arg;

	(void)cfs_offload(inval_pages, d);
	free(d);
}

void cfs_fuse_keep_listing(struct cfs_fuse_req *req)
{
	struct cfs_fuse *f = req->fuse;
	struct kept *k;
	struct drop *d;
	uint64_t ns;

	if (!f->cache || !f->has_epochs || relaxed_ns(f))
		return;
	k = keep(req, req->in.nodeid, &ns);
	if (k) {
		k->has_pages = true;
		return;
	}
	/* The kernel keeps it all the same, and looks only whether mtime is another. */
	d = malloc(sizeof(*d));
	if (!d)
		return;
	*d = (struct drop){ .fd = f->fd, .ino = req->in.nodeid };
	if (cfs_group_start(&f->fibers, drop_listing, d) < 0)
		free(d);
}
