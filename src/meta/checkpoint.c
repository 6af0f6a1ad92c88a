/*
 * An inode in a checkpoint: it and all that hangs on it, as items. Each list of it is written as it
 * is at one moment, or goes by keys: what others change meanwhile has records, what stays as it is
 * has none and must not be left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "meta/lock.h"
#include "meta/meta_internal.h"
#include "store/store.h"

#define SLICE_BYTES (32u * 1024)

CFS_AWAITS int cfs_meta_writer_flush(struct cfs_meta_writer *w, uint32_t from_bytes)
{
	int rc = cfs_items_rc(&w->it);

	if (rc < 0 || w->it.len_bytes < from_bytes || w->it.len_bytes == 0)
		return rc;
	rc = cfs_store_checkpoint_write(w->c, w->buf, w->it.len_bytes);
	cfs_items_init(&w->it, w->buf, CFS_RECORD_BYTES_MAX);
	cfs_fiber_yield();
	return rc;
}

/* As they are now: while some are written others may come and go, and what stays has no record. */
static CFS_AWAITS int write_xattrs(struct cfs_meta_writer *w, const struct cfs_inode *i)
{
	uint32_t cap = 0, at = 0;
	struct cfs_items copy;
	struct cfs_item item;
	uint8_t *buf;
	int rc = 0;

	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next)
		cap += (uint32_t)(sizeof(struct cfs_item_header) + sizeof(struct cfs_meta_xattr)) +
		       x->name_bytes + x->value_bytes;
	if (cap == 0)
		return 0;
	buf = malloc(cap);
	if (!buf)
		return -ENOMEM;
	cfs_items_init(&copy, buf, cap);
	for (const struct cfs_xattr *x = i->xattrs; x; x = x->next)
		cfs_meta_add_xattr(&copy, i->attr.ino,
				   (struct cfs_bytes){ x->bytes, x->name_bytes },
				   (struct cfs_bytes){ x->bytes + x->name_bytes, x->value_bytes });
	cfs_assert(cfs_items_rc(&copy) == 0 && copy.len_bytes == cap);
	while (rc == 0 && cfs_items_next(buf, cap, &at, &item) == 1) {
		uint8_t *to = cfs_items_add(&w->it, item.kind, item.len_bytes);

		cfs_assert(to != NULL);
		memcpy(to, item.data, item.len_bytes);
		rc = cfs_meta_writer_flush(w, SLICE_BYTES);
	}
	free(buf);
	return rc;
}

static CFS_AWAITS int write_dentries(struct cfs_meta_writer *w, struct cfs_inode *dir)
{
	uint64_t cookie = 0;
	int rc = 0;

	while (rc == 0 && !dir->is_gone) {
		const struct cfs_dentry *d = cfs_dentry_after(dir, cookie);
		struct cfs_dentry_value v;

		if (!d)
			break;
		cookie = d->cookie;
		v = (struct cfs_dentry_value){ .cookie = d->cookie,
					       .ino = d->ino,
					       .place = d->place,
					       .mode = d->mode,
					       .uid = d->uid,
					       .gid = d->gid,
					       .name = { (const uint8_t *)d->name,
							 d->name_bytes } };
		cfs_meta_add_dentry(&w->it, dir->attr.ino, &v, 0);
		rc = cfs_meta_writer_flush(w, SLICE_BYTES);
	}
	return rc;
}

/* As they are now: they may move in their table while they are written. */
static CFS_AWAITS int write_locks(struct cfs_meta_writer *w, const struct cfs_inode *i)
{
	const struct cfs_lock_set *set = cfs_inode_locks_of(i);
	uint32_t count = set ? set->count : 0;
	struct cfs_range_lock *locks = malloc((count + 1ul) * sizeof(*locks));
	int rc = locks ? 0 : -ENOMEM;

	if (rc == 0 && count)
		memcpy(locks, set->locks, count * sizeof(*locks));
	for (uint32_t k = 0; rc == 0 && k < count; k++) {
		cfs_meta_add_lock(&w->it, i->attr.ino, &locks[k]);
		rc = cfs_meta_writer_flush(w, SLICE_BYTES);
	}
	free(locks);
	return rc;
}

CFS_AWAITS int cfs_meta_write_inode(struct cfs_meta_writer *w, struct cfs_inode *i)
{
	uint64_t ino = i->attr.ino;
	int rc = 0;

	cfs_meta_add_inode(&w->it, &i->attr);
	if (i->target)
		cfs_meta_add_target(&w->it, ino,
				    (struct cfs_bytes){ (const uint8_t *)i->target,
							(uint32_t)strlen(i->target) });
	if (i->dir)
		cfs_meta_add_dir_parent(
			&w->it, ino, i->attr.parent,
			(struct cfs_bytes){ (const uint8_t *)i->dir->name, i->dir->name_bytes });
	/* Few: one step, so that the list needs no mark. */
	for (const struct cfs_open *o = i->opens; o; o = o->next)
		cfs_meta_add_open(&w->it, ino, o->session, &o->n);
	cfs_inode_pin(i);
	rc = cfs_meta_writer_flush(w, SLICE_BYTES);
	if (rc == 0 && cfs_inode_locks_of(i))
		rc = write_locks(w, i);
	if (rc == 0 && i->xattrs)
		rc = write_xattrs(w, i);
	if (rc == 0 && i->dir)
		rc = write_dentries(w, i);
	cfs_inode_unpin(i);
	return rc;
}
