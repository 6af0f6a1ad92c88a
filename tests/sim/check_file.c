/*
 * A file after a power cut. Its attributes are as after its first `kept` changes. A chunk lies on
 * another shard, perhaps, and has its own end: it holds the first `chunk_kept` writes, but
 *   - at least up to the last write that made the file grow to where it is (no size without data),
 *     and all that was synced;
 *   - none that was written after a truncate of the chunk that is not there (the trim rests on it);
 *   - and of every truncate that is there nothing is left of what it took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "proto/place.h"

static bool xattr_is(const struct m_xattr *seen, const struct m_xattr *x)
{
	if (!seen->is_set || !x->is_set)
		return seen->is_set == x->is_set;
	return seen->len_bytes == x->len_bytes && seen->hash == x->hash;
}

bool check_attr_is(const struct m_attr *seen, const struct m_attr *a, bool is_dir)
{
	if (seen->mode != a->mode || seen->uid != a->uid || seen->gid != a->gid)
		return false;
	if (!is_dir && seen->size != a->size)
		return false;
	for (uint32_t x = 0; x < MODEL_XATTRS; x++) {
		if (!xattr_is(&seen->xattr[x], &a->xattr[x]))
			return false;
	}
	return true;
}

/* The attributes after the first @kept changes. */
static const struct m_attr *attr_after(const struct m_inode *i, uint32_t kept,
				       const struct m_attr *first)
{
	return kept ? &i->writes[kept - 1].after : first;
}

/* As it was made, or at the base. */
static struct m_attr attr_first(const struct m_inode *i)
{
	struct m_attr a = i->has_base ? i->base_attr : i->attr;

	if (i->has_base || i->write_count == 0)
		return a;
	/* Born since then: what the first change found. */
	return i->writes[0].before;
}

struct chunk {
	uint64_t begin, end; /* of the part that is inside of the seen size */
	uint8_t *bytes;
};

static void chunk_zero(struct chunk *c, uint64_t from, uint64_t to)
{
	from = CFS_MAX(from, c->begin);
	to = CFS_MIN(to, c->end);
	if (from < to)
		memset(c->bytes + (from - c->begin), 0, to - from);
}

static void chunk_fill(struct chunk *c, const struct m_write *w)
{
	uint64_t from = CFS_MAX(w->off, c->begin), to = CFS_MIN(w->off + w->len, c->end);

	if (from < to && w->bytes)
		memcpy(c->bytes + (from - c->begin), w->bytes + (from - w->off), to - from);
	else if (from < to)
		pattern_fill(w->pattern, from, c->bytes + (from - c->begin), to - from);
}

static bool is_cut(const struct m_write *w)
{
	return w->kind == M_SIZE && w->after.size < w->size_before;
}

/* The chunk with the first @chunk_kept writes and the first @kept truncates. */
static void chunk_make(const struct m_inode *i, uint32_t kept, uint32_t chunk_kept, struct chunk *c)
{
	uint64_t base_end = CFS_MIN(i->base_data_bytes, c->end);

	memset(c->bytes, 0, c->end - c->begin);
	if (i->has_base && base_end > c->begin)
		memcpy(c->bytes, i->base_data + c->begin, base_end - c->begin);
	for (uint32_t k = 0; k < i->write_count; k++) {
		const struct m_write *w = &i->writes[k];

		if (w->kind == M_WRITE && k < chunk_kept)
			chunk_fill(c, w);
		else if (w->kind == M_ZERO && k < chunk_kept)
			chunk_zero(c, w->off, w->off + w->len);
		else if (is_cut(w) && k < kept)
			chunk_zero(c, w->after.size, UINT64_MAX);
	}
}

static bool touches(const struct m_write *w, uint64_t begin)
{
	return w->off < begin + CFS_CHUNK_BYTES && w->off + w->len > begin;
}

static bool chunk_matches(const struct m_inode *i, const struct snap_inode *p, uint32_t kept,
			  uint32_t synced, struct chunk *c)
{
	uint32_t least = synced, most = i->write_count;

	for (uint32_t k = 0; k < kept; k++) {
		const struct m_write *w = &i->writes[k];

		if (w->kind == M_WRITE && w->off + w->len > w->size_before && touches(w, c->begin))
			least = CFS_MAX(least, k + 1);
	}
	for (uint32_t k = i->write_count; k > kept; k--) {
		if (is_cut(&i->writes[k - 1]) &&
		    i->writes[k - 1].after.size < c->begin + CFS_CHUNK_BYTES)
			most = k - 1;
	}
	for (uint32_t n = most; n != UINT32_MAX && n >= least; n--) {
		/* Only what is the chunk's makes another state of it. */
		if (n > least &&
		    !(i->writes[n - 1].kind <= M_ZERO && touches(&i->writes[n - 1], c->begin)))
			continue;
		chunk_make(i, kept, n, c);
		if (memcmp(c->bytes, p->data + c->begin, c->end - c->begin) == 0)
			return true;
	}
	return false;
}

static bool data_matches(const struct m_inode *i, const struct snap_inode *p, uint32_t kept,
			 uint32_t synced, uint64_t *bad)
{
	struct chunk c = { .bytes = sim_alloc(CFS_CHUNK_BYTES) };
	bool is_fine = true;

	for (uint64_t at = 0; is_fine && at < p->data_bytes; at += CFS_CHUNK_BYTES) {
		c.begin = at;
		c.end = CFS_MIN(at + CFS_CHUNK_BYTES, p->data_bytes);
		is_fine = chunk_matches(i, p, kept, synced, &c);
		*bad = at / CFS_CHUNK_BYTES;
	}
	free(c.bytes);
	return is_fine;
}

static void file_say(struct sim *s, const struct snap_inode *p, const struct m_inode *i,
		     uint32_t synced)
{
	static const char *const kinds[] = { "write", "zero", "size", "attr", "xattr" };

	fprintf(stderr, "%s, inode %llx: seen mode %o owner %u:%u size %llu; %u of %u flushed\n",
		p->name, (unsigned long long)p->ino, p->attr.mode, p->attr.uid, p->attr.gid,
		(unsigned long long)p->attr.size, synced, i->write_count);
	if (i->has_base)
		fprintf(stderr, "  before: mode %o size %llu\n", i->base_attr.mode,
			(unsigned long long)i->base_attr.size);
	for (uint32_t k = 0; k < i->write_count; k++) {
		const struct m_write *w = &i->writes[k];
		const struct m_op *o = &s->model->ops[w->op];

		fprintf(stderr,
			"  %2u %s at %llu of %llu, then mode %o owner %u:%u size %llu, operation "
			"%u at %llu us%s\n",
			k, kinds[w->kind], (unsigned long long)w->off, (unsigned long long)w->len,
			w->after.mode, w->after.uid, w->after.gid,
			(unsigned long long)w->after.size, w->op,
			(unsigned long long)(o->call_ns / SIM_US),
			o->return_ns == UINT64_MAX ? ", not answered" : "");
	}
}

void check_file_prefix(struct sim *s, const struct snap_inode *p, const struct m_inode *i)
{
	struct m_attr first = attr_first(i);
	uint32_t synced = 0;
	uint64_t bad = UINT64_MAX;
	bool has_attr = false;

	while (synced < i->write_count &&
	       s->model->ops[i->writes[synced].op].return_ns < s->model->synced_ns)
		synced++;
	for (uint32_t kept = i->write_count; kept != UINT32_MAX && kept >= synced; kept--) {
		if (!check_attr_is(&p->attr, attr_after(i, kept, &first), model_is_dir(i)))
			continue;
		has_attr = true;
		if (!model_is_reg(i) || data_matches(i, p, kept, synced, &bad))
			return;
	}
	file_say(s, p, i, synced);
	if (!has_attr)
		sim_finding(s, "after a power cut: %s, inode %llx: no such attributes or size",
			    p->name, (unsigned long long)p->ino);
	sim_finding(s, "after a power cut: %s, inode %llx: chunk %llu holds what it never held",
		    p->name, (unsigned long long)p->ino, (unsigned long long)bad);
}
