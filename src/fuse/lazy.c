/*
 * Files that this mount sees late, as an ioctl of an open file description has asked for
 * (include/claudefs/lazy.h): for as long as that is there. Those with the attribute need nothing
 * here: it comes with their attributes.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "claudefs/lazy.h"
#include "fuse/fuse_internal.h"

#define NS_PER_MS 1000000ull

_Static_assert(CLAUDEFS_LAZY_MS_MAX == CFS_LAZY_MS_MAX, "what is promised is what may be");

struct lazy_open {
	struct cfs_list link;
	uint64_t ino, fh, ns;
};

static struct cfs_list *bucket_of(struct cfs_fuse *f, uint64_t ino)
{
	return &f->lazy_opens[cfs_hash_u64(ino) % CFS_FUSE_LAZY_BUCKETS];
}

void cfs_fuse_lazy_init(struct cfs_fuse *f)
{
	for (uint32_t b = 0; b < CFS_FUSE_LAZY_BUCKETS; b++)
		cfs_list_init(&f->lazy_opens[b]);
}

static void forget(struct cfs_fuse *f, struct lazy_open *o)
{
	cfs_list_remove(&o->link);
	free(o);
	f->lazy_open_count--;
}

void cfs_fuse_lazy_fini(struct cfs_fuse *f)
{
	for (uint32_t b = 0; b < CFS_FUSE_LAZY_BUCKETS; b++)
		cfs_list_for_each_safe(n, next, &f->lazy_opens[b])
			forget(f, cfs_list_entry(n, struct lazy_open, link));
}

static struct lazy_open *find(struct cfs_fuse *f, uint64_t ino, uint64_t fh)
{
	if (f->lazy_open_count == 0)
		return NULL;
	cfs_list_for_each(n, bucket_of(f, ino)) {
		struct lazy_open *o = cfs_list_entry(n, struct lazy_open, link);

		if (o->ino == ino && o->fh == fh)
			return o;
	}
	return NULL;
}

uint64_t cfs_fuse_lazy_ns(struct cfs_fuse *f, uint64_t ino)
{
	uint64_t ns = 0;

	if (f->lazy_open_count == 0)
		return 0;
	cfs_list_for_each(n, bucket_of(f, ino)) {
		const struct lazy_open *o = cfs_list_entry(n, struct lazy_open, link);

		if (o->ino == ino)
			ns = CFS_MAX(ns, o->ns);
	}
	return ns;
}

/* 0; -ENFILE: too many; -ENOMEM. */
static int mark(struct cfs_fuse *f, uint64_t ino, uint64_t fh, uint32_t ms)
{
	struct lazy_open *o = find(f, ino, fh);

	if (ms == 0) {
		cfs_fuse_lazy_release(f, ino, fh);
		return 0;
	}
	if (!o && f->lazy_open_count >= CFS_FUSE_LAZY_MAX)
		return -ENFILE;
	if (!o) {
		o = malloc(sizeof(*o));
		if (!o)
			return -ENOMEM;
		*o = (struct lazy_open){ .ino = ino, .fh = fh };
		cfs_list_append(bucket_of(f, ino), &o->link);
		f->lazy_open_count++;
	}
	o->ns = ms * NS_PER_MS;
	return 0;
}

CFS_AWAITS int cfs_fuse_lazy_set(struct cfs_fuse_req *req, uint64_t fh, uint32_t ms)
{
	struct cfs_attr attr;
	int rc;

	if (ms > CLAUDEFS_LAZY_MS_MAX)
		return -EINVAL;
	rc = HANDLE(req, getattr, req->in.nodeid, &attr);
	if (rc < 0)
		return rc;
	if (!S_ISREG(attr.mode))
		return -ENOTTY;
	if (req->in.uid != 0 && req->in.uid != attr.uid)
		return -EPERM;
	return mark(req->fuse, req->in.nodeid, fh, ms);
}

void cfs_fuse_lazy_release(struct cfs_fuse *f, uint64_t ino, uint64_t fh)
{
	struct lazy_open *o = find(f, ino, fh);

	if (o)
		forget(f, o);
}
