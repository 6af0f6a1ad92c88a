/* The table of files in use, with what is known of their size and cut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "client/client_internal.h"

#define FILES_BUCKETS_MIN 1024u

int cfs_client_files_init(struct cfs_client_files *t)
{
	t->buckets = calloc(FILES_BUCKETS_MIN, sizeof(*t->buckets));
	if (!t->buckets)
		return -ENOMEM;
	t->bucket_count = FILES_BUCKETS_MIN;
	t->count = 0;
	return 0;
}

void cfs_client_files_fini(struct cfs_client_files *t)
{
	for (uint32_t i = 0; i < t->bucket_count; i++) {
		while (t->buckets[i]) {
			struct cfs_client_file *f = t->buckets[i];

			t->buckets[i] = f->next;
			free(f);
		}
	}
	free(t->buckets);
	memset(t, 0, sizeof(*t));
}

static struct cfs_client_file **bucket_of(struct cfs_client_files *t, uint64_t ino)
{
	return &t->buckets[cfs_hash_u64(ino) & (t->bucket_count - 1)];
}

/* Best effort: with the old table chains are longer, that is all. */
static void grow(struct cfs_client_files *t)
{
	struct cfs_client_files wide = { .bucket_count = t->bucket_count * 2, .count = t->count };

	wide.buckets = calloc(wide.bucket_count, sizeof(*wide.buckets));
	if (!wide.buckets)
		return;
	for (uint32_t i = 0; i < t->bucket_count; i++) {
		while (t->buckets[i]) {
			struct cfs_client_file *f = t->buckets[i];
			struct cfs_client_file **to = bucket_of(&wide, f->ino);

			t->buckets[i] = f->next;
			f->next = *to;
			*to = f;
		}
	}
	free(t->buckets);
	*t = wide;
}

struct cfs_client_file *cfs_client_file_find(struct cfs_client *c, uint64_t ino)
{
	struct cfs_client_file *f = *bucket_of(&c->files, ino);

	while (f && f->ino != ino)
		f = f->next;
	return f;
}

int cfs_client_file_get(struct cfs_client *c, uint64_t ino, struct cfs_client_file **out)
{
	struct cfs_client_file *f = cfs_client_file_find(c, ino);

	if (!f) {
		struct cfs_client_file **to;

		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		if (c->files.count >= c->files.bucket_count)
			grow(&c->files);
		f->ino = ino;
		to = bucket_of(&c->files, ino);
		f->next = *to;
		*to = f;
		c->files.count++;
	}
	f->refs++;
	*out = f;
	return 0;
}

void cfs_client_file_put(struct cfs_client *c, struct cfs_client_file *f)
{
	struct cfs_client_file **at;

	cfs_assert(f->refs > 0);
	if (--f->refs > 0)
		return;
	cfs_assert(f->opens == 0);
	for (at = bucket_of(&c->files, f->ino); *at != f; at = &(*at)->next)
		;
	*at = f->next;
	c->files.count--;
	free(f);
}

void cfs_client_files_doubt(struct cfs_client *c)
{
	for (uint32_t b = 0; b < c->files.bucket_count; b++)
		for (struct cfs_client_file *f = c->files.buckets[b]; f; f = f->next)
			f->has_hint = false;
}

void cfs_client_file_learn(struct cfs_client_file *f, uint64_t size, uint64_t cut, uint64_t seed)
{
	/* A file gets another seed only together with a cut. */
	if (!f->has_hint || cut > f->cut) {
		f->size = size;
		f->cut = cut;
		f->seed = seed;
	} else if (cut == f->cut) {
		/* Replies may overtake each other; without a new cut a file only grows. */
		f->size = CFS_MAX(f->size, size);
	}
	f->has_hint = true;
}

void cfs_client_file_learn_attr(struct cfs_client_file *f, const struct cfs_attr *attr)
{
	if (!f->has_hint || attr->cut >= f->cut)
		f->is_guarded = attr->iflags & (CFS_IFLAG_IMMUTABLE | CFS_IFLAG_APPEND);
	cfs_client_file_learn(f, attr->size, attr->cut, attr->seed);
	f->atime = attr->atime;
	f->changed = CFS_MAX(attr->mtime, attr->ctime);
}

void cfs_client_learn_attr(struct cfs_client *c, const struct cfs_attr *attr)
{
	struct cfs_client_file *f = cfs_client_file_find(c, attr->ino);

	if (f)
		cfs_client_file_learn_attr(f, attr);
}

void cfs_client_file_grew(struct cfs_client_file *f, uint64_t old_size, const struct cfs_msg *reply)
{
	/* A question is answered with an index only where it matters. */
	if ((f->size <= old_size && cfs_op_is_change(reply->op)) || !cfs_msg_is_set(reply, index) ||
	    (f->grown_epoch == reply->epoch && f->grown_index > reply->index))
		return;
	f->grown_epoch = reply->epoch;
	f->grown_index = reply->index;
	f->grown_until_ns = cfs_now_ns() + CFS_CLIENT_GROWN_NS;
}

void cfs_client_learn_change(struct cfs_client *c, const struct cfs_attr *attr,
			     const struct cfs_msg *reply)
{
	struct cfs_client_file *f = cfs_client_file_find(c, attr->ino);
	uint64_t old_size = f && f->has_hint ? f->size : 0;

	if (!f)
		return;
	cfs_client_file_learn_attr(f, attr);
	cfs_client_file_grew(f, old_size, reply);
}
