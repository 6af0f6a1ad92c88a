#include "snap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "proto/place.h"
#include "world.h"

#define READ_BYTES (1024u * 1024)
#define XATTR_BYTES 16384u

struct taker {
	struct sim *sim;
	struct snap *snap;
	struct cfs_client_op op;
	uint8_t *buf;
	bool is_done;
};

struct snap_inode *snap_find(const struct snap *p, uint64_t ino)
{
	struct snap_inode *i = p->inodes;

	while (i && i->ino != ino)
		i = i->next;
	return i;
}

const struct snap_dentry *snap_look(const struct snap_inode *dir, const char *name)
{
	for (uint32_t i = 0; i < dir->count; i++) {
		if (strcmp(dir->dentries[i].name, name) == 0)
			return &dir->dentries[i];
	}
	return NULL;
}

void snap_destroy(struct snap *p)
{
	while (p && p->inodes) {
		struct snap_inode *i = p->inodes;

		p->inodes = i->next;
		free(i->target);
		free(i->data);
		free(i->dentries);
		free(i);
	}
	free(p);
}

static void ok(struct taker *t, const char *what, uint64_t ino, int rc)
{
	if (rc < 0)
		sim_finding(t->sim, "walk: %s of inode %llx: %s", what, (unsigned long long)ino,
			    cfs_err_name(rc));
}

/* --- one inode --- */

static CFS_AWAITS void take_xattrs(struct taker *t, struct snap_inode *i)
{
	for (uint32_t x = 0; x < MODEL_XATTRS; x++) {
		struct cfs_client_bytes got;
		uint64_t size = 0;
		char name[16];
		int rc;

		model_xattr_name(i->attr.mode, x, name);
		rc = cfs_client_getxattr(&t->op, i->ino,
					 (struct cfs_client_name){ name, (uint32_t)strlen(name) },
					 XATTR_BYTES, &got, &size);
		if (rc == -ENODATA)
			continue;
		ok(t, "getxattr", i->ino, rc);
		i->attr.xattr[x].is_set = true;
		i->attr.xattr[x].len_bytes = got.len_bytes;
		i->attr.xattr[x].hash = cfs_hash_bytes(got.p, got.len_bytes, 0);
		cfs_client_bytes_fini(&got);
	}
}

static CFS_AWAITS void take_data(struct taker *t, struct snap_inode *i)
{
	i->data_bytes = CFS_MIN(i->attr.size, (uint64_t)MODEL_DATA_MAX);
	i->data = sim_alloc(i->data_bytes + 1);
	for (uint64_t at = 0; at < i->data_bytes; at += READ_BYTES) {
		uint64_t len = CFS_MIN((uint64_t)READ_BYTES, i->data_bytes - at);
		struct cfs_client_bytes got;
		int rc = cfs_client_read(&t->op, i->ino, at, (uint32_t)len, t->buf, &got);

		ok(t, "read", i->ino, rc);
		if (got.len_bytes != len)
			sim_finding(t->sim, "walk: read of %llx at %llu: %u bytes, not %llu",
				    (unsigned long long)i->ino, (unsigned long long)at,
				    got.len_bytes, (unsigned long long)len);
		memcpy(i->data + at, got.p, len);
		cfs_client_bytes_fini(&got);
	}
	sim_trace(t->sim, i->ino, cfs_hash_bytes(i->data, i->data_bytes, 0));
}

static CFS_AWAITS void take_target(struct taker *t, struct snap_inode *i)
{
	struct cfs_client_bytes got;

	ok(t, "readlink", i->ino, cfs_client_readlink(&t->op, i->ino, &got));
	i->target = strndup((const char *)got.p, got.len_bytes);
	cfs_client_bytes_fini(&got);
}

static void add_entry(struct taker *t, struct snap_inode *dir, const struct cfs_entry *e)
{
	struct snap_dentry *d;

	if (e->name.len >= MODEL_NAME_MAX)
		sim_finding(t->sim, "walk: a name that nobody made");
	dir->dentries = sim_grow(dir->dentries, dir->count, &dir->cap, sizeof(*d));
	d = &dir->dentries[dir->count++];
	*d = (struct snap_dentry){ .ino = e->ino, .mode = e->mode & S_IFMT };
	memcpy(d->name, e->name.p, e->name.len);
	t->snap->dentry_count++;
}

static CFS_AWAITS void take_entries(struct taker *t, struct snap_inode *dir)
{
	struct cfs_client_page page = { 0 };
	uint64_t cookie = 0;

	while (!page.is_last) {
		uint32_t at = 0;

		ok(t, "readdir", dir->ino,
		   cfs_client_readdir(&t->op, dir->ino, cookie, 2000, false, &page));
		while (at < page.bytes.len_bytes) {
			struct cfs_entry e;
			int64_t n = cfs_entry_decode(page.bytes.p + at, page.bytes.len_bytes - at,
						     &e);

			if (n <= 0 || e.cookie <= cookie)
				sim_finding(t->sim, "walk: readdir of %llx: a bad entry",
					    (unsigned long long)dir->ino);
			cookie = e.cookie;
			at += (uint32_t)n;
			if (e.name.p[0] != '.')
				add_entry(t, dir, &e);
		}
		cfs_client_bytes_fini(&page.bytes);
	}
}

static CFS_AWAITS struct snap_inode *take_inode(struct taker *t, uint64_t ino)
{
	struct snap_inode *i = sim_alloc(sizeof(*i));
	struct cfs_attr a;

	ok(t, "getattr", ino, cfs_client_getattr(&t->op, ino, &a));
	i->ino = ino;
	i->attr = (struct m_attr){ .mode = a.mode, .uid = a.uid, .gid = a.gid, .size = a.size };
	i->nlink = a.nlink;
	i->mtime = a.mtime;
	i->ctime = a.ctime;
	i->id = t->snap->inode_count++;
	if (t->snap->last)
		t->snap->last->next = i;
	else
		t->snap->inodes = i;
	t->snap->last = i;
	take_xattrs(t, i);
	if (S_ISREG(a.mode))
		take_data(t, i);
	else if (S_ISLNK(a.mode))
		take_target(t, i);
	else if (S_ISDIR(a.mode))
		take_entries(t, i);
	return i;
}

/* --- the walk --- */

/* The name is as the readdir said; a lookup must say the same. */
static CFS_AWAITS void take_child(struct taker *t, struct snap_inode *dir,
				  const struct snap_dentry *d)
{
	struct snap_inode *i = snap_find(t->snap, d->ino);
	struct cfs_attr a;
	int rc = cfs_client_lookup(&t->op, dir->ino,
				   (struct cfs_client_name){ d->name, (uint32_t)strlen(d->name) },
				   &a);

	if (rc < 0 || a.ino != d->ino)
		sim_finding(t->sim, "walk: %s/%s is inode %llx by readdir, by lookup %llx (%s)",
			    dir->name, d->name, (unsigned long long)d->ino,
			    (unsigned long long)(rc < 0 ? 0 : a.ino), cfs_err_name(rc));
	if (i && S_ISDIR(i->attr.mode))
		sim_finding(t->sim, "walk: directory %llx has two names, %s and %s",
			    (unsigned long long)d->ino, i->name, d->name);
	if (!i) {
		i = take_inode(t, d->ino);
		memcpy(i->name, d->name, sizeof(i->name));
		i->parent = dir;
	}
	if ((i->attr.mode & S_IFMT) != d->mode)
		sim_finding(t->sim, "walk: %s/%s is of type %o by readdir, %o by getattr",
			    dir->name, d->name, d->mode, i->attr.mode & S_IFMT);
	i->names++;
}

static void links_check(const struct taker *t)
{
	for (const struct snap_inode *i = t->snap->inodes; i; i = i->next) {
		uint32_t expected = i->names;

		if (S_ISDIR(i->attr.mode)) {
			expected = 2;
			for (uint32_t k = 0; k < i->count; k++)
				expected += S_ISDIR(i->dentries[k].mode);
		}
		if (i->nlink != expected)
			sim_finding(t->sim, "walk: %s, inode %llx, says %u links and has %u",
				    i->name, (unsigned long long)i->ino, i->nlink, expected);
	}
}

static CFS_AWAITS void take_all(void *arg)
{
	struct taker *t = arg;

	t->snap->root = take_inode(t, CFS_INO_ROOT);
	/* New ones come at the end of the list: a walk in breadth. */
	for (struct snap_inode *i = t->snap->inodes; i; i = i->next) {
		for (uint32_t k = 0; k < i->count; k++)
			take_child(t, i, &i->dentries[k]);
	}
	links_check(t);
	t->is_done = true;
	cfs_waitq_wake_all(&t->sim->wake);
}

struct snap *snap_take(struct sim *s)
{
	/* Not on the stack: the fiber may outlive a wait of ours that fails. */
	struct taker *t = sim_alloc(sizeof(*t));
	struct snap *p = sim_alloc(sizeof(*p));

	t->sim = s;
	t->snap = p;
	t->buf = sim_alloc(READ_BYTES);
	cfs_client_op_init(&t->op, sim_client(s, 0), 0, 0);
	sim_client_fiber(s, take_all, t);
	while (!t->is_done)
		(void)cfs_waitq_wait(&s->wake);
	free(t->buf);
	free(t);
	return p;
}
