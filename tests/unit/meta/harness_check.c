/* Judges all shards of a harness together: what no shard alone can see. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "harness.h"
#include "meta/meta_internal.h"

struct fact {
	struct cfs_meta_fact f;
	struct cfs_attr attr;
	char name[CFS_NAME_BYTES_MAX + 1];
	uint32_t dentries;
	bool is_seen;
};

struct facts {
	struct fact *all;
	uint32_t count, cap, findings;
};

static void fact_add(void *ctx, const struct cfs_meta_fact *f)
{
	struct facts *t = ctx;
	struct fact *n;

	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 256;
		t->all = realloc(t->all, t->cap * sizeof(*t->all));
		cfs_assert(t->all != NULL);
	}
	n = &t->all[t->count++];
	*n = (struct fact){ .f = *f };
	if (f->attr)
		n->attr = *f->attr;
	if (f->name.len)
		memcpy(n->name, f->name.p, f->name.len);
}

static int fact_cmp(const void *a, const void *b)
{
	const struct fact *x = a, *y = b;

	if (x->f.kind != y->f.kind)
		return x->f.kind < y->f.kind ? -1 : 1;
	return x->f.ino == y->f.ino ? 0 : x->f.ino < y->f.ino ? -1 : 1;
}

static struct fact *inode_of(struct facts *t, uint64_t ino)
{
	struct fact key = { .f = { .kind = CFS_META_FACT_INODE, .ino = ino } };

	return bsearch(&key, t->all, t->count, sizeof(key), fact_cmp);
}

static void found(struct facts *t, const char *what, const struct fact *f)
{
	t->findings++;
	fprintf(stderr, "check: %s: ino %llx dir %llx name '%s' (nlink %u, dentries %u)\n", what,
		(unsigned long long)f->f.ino, (unsigned long long)f->f.dir, f->name, f->attr.nlink,
		f->dentries);
}

static void check_dentry(struct facts *t, struct fact *d)
{
	struct fact *i = inode_of(t, d->f.ino);

	if (!i) {
		found(t, "dentry without inode", d);
		return;
	}
	i->dentries++;
	if ((i->attr.mode & S_IFMT) != (d->f.mode & S_IFMT))
		found(t, "dentry of another type than its inode", d);
	if (!S_ISDIR(i->attr.mode))
		return;
	if (i->attr.parent != d->f.dir || strcmp(i->name, d->name))
		found(t, "directory is not where it says", d);
	if (i->attr.mode != d->f.mode || i->attr.uid != d->f.uid || i->attr.gid != d->f.gid ||
	    i->attr.place != d->f.place)
		found(t, "access half and content half differ", d);
}

/* Up from @i by parents: ends at the root within the number of inodes. */
static bool reaches_root(struct facts *t, const struct fact *i)
{
	for (uint32_t n = 0; n <= t->count; n++) {
		if (i->f.ino == HARNESS_ROOT)
			return true;
		i = inode_of(t, i->attr.parent);
		if (!i)
			return false;
	}
	return false;
}

static void report_found(void *ctx, const char *what)
{
	struct facts *t = ctx;

	t->findings++;
	fprintf(stderr, "check: %s\n", what);
}

uint32_t harness_check(struct harness *h)
{
	struct facts t = { 0 };

	for (uint32_t k = 0; k < h->o.shards; k++) {
		cfs_shard_check(h->shards[k], report_found, &t);
		cfs_meta_walk(cfs_meta_of(h->shards[k]), fact_add, &t);
	}
	qsort(t.all, t.count, sizeof(*t.all), fact_cmp);
	for (uint32_t i = 0; i < t.count; i++) {
		if (t.all[i].f.kind == CFS_META_FACT_DENTRY)
			check_dentry(&t, &t.all[i]);
		else if (t.all[i].f.kind == CFS_META_FACT_PREPARED)
			found(&t, "prepared transaction left over", &t.all[i]);
	}
	for (uint32_t i = 0; i < t.count && t.all[i].f.kind == CFS_META_FACT_INODE; i++) {
		struct fact *f = &t.all[i];

		if (S_ISDIR(f->attr.mode)) {
			if (f->dentries != (f->f.ino != HARNESS_ROOT))
				found(&t, "directory has not one dentry", f);
			if (!reaches_root(&t, f))
				found(&t, "directory does not lead to the root", f);
		} else if (f->dentries != f->attr.nlink) {
			found(&t, "link count differs from dentries", f);
		} else if (f->attr.nlink == 0 && !f->f.is_open) {
			found(&t, "orphan that nobody has open", f);
		}
	}
	free(t.all);
	return t.findings;
}
