#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "proto/place.h"

struct sim_model *model_create(struct sim *s)
{
	struct sim_model *m = sim_alloc(sizeof(*m));

	m->sim = s;
	m->root = model_inode(m, S_IFDIR | 0755, MODEL_OWNER_ALL);
	m->root->ino = CFS_INO_ROOT;
	m->root->parent = m->root;
	m->root->nlink = 2;
	return m;
}

static void inode_free(struct m_inode *i)
{
	for (uint32_t r = 0; r < i->row_count; r++) {
		free(i->rows[r]->base);
		free(i->rows[r]->changes);
		free(i->rows[r]);
	}
	free(i->rows);
	free(i->target);
	free(i->data);
	free(i->dentries);
	free(i->base_data);
	for (uint32_t k = 0; k < i->write_count; k++)
		free(i->writes[k].bytes);
	free(i->writes);
	free(i);
}

void model_destroy(struct sim_model *m)
{
	while (m->inodes) {
		struct m_inode *i = m->inodes;

		m->inodes = i->next;
		inode_free(i);
	}
	free(m->ops);
	free(m);
}

void model_xattr_name(uint32_t mode, uint32_t index, char out[16])
{
	bool is_user = S_ISREG(mode) || S_ISDIR(mode);

	(void)snprintf(out, 16, "%s.x%u", is_user ? "user" : "trusted", index % MODEL_XATTRS);
}

struct m_inode *model_inode(struct sim_model *m, uint32_t mode, uint32_t owner)
{
	struct m_inode *i = sim_alloc(sizeof(*i));

	i->id = ++m->next_id;
	i->owner = owner;
	i->attr.mode = mode;
	i->next = m->inodes;
	m->inodes = i;
	m->inode_count++;
	return i;
}

struct m_inode *model_find(const struct sim_model *m, uint64_t ino)
{
	struct m_inode *i = m->inodes;

	while (i && i->ino != ino)
		i = i->next;
	return i;
}

uint32_t model_owner(const char *name, uint32_t len)
{
	uint32_t owner = 0, at = 1;

	if (len < 2 || name[0] != 'w')
		return MODEL_OWNER_ALL;
	while (at < len && name[at] >= '0' && name[at] <= '9')
		owner = owner * 10 + (uint32_t)(name[at++] - '0');
	return at > 1 ? owner : MODEL_OWNER_ALL;
}

/* --- names --- */

static struct m_dentry *dentry_find(const struct m_inode *dir, const char *name)
{
	for (uint32_t i = 0; i < dir->dentry_count; i++) {
		if (strcmp(dir->dentries[i].name, name) == 0)
			return &dir->dentries[i];
	}
	return NULL;
}

struct m_inode *model_look(const struct m_inode *dir, const char *name)
{
	const struct m_dentry *d = dentry_find(dir, name);

	return d ? d->to : NULL;
}

static void name_copy(char to[MODEL_NAME_MAX], const char *name)
{
	cfs_assert(strlen(name) < MODEL_NAME_MAX);
	memset(to, 0, MODEL_NAME_MAX);
	memcpy(to, name, strlen(name));
}

void model_put(struct m_inode *dir, const char *name, struct m_inode *to)
{
	struct m_dentry *d;

	if (dentry_find(dir, name))
		model_remove(dir, name);
	dir->dentries = sim_grow(dir->dentries, dir->dentry_count, &dir->dentry_cap, sizeof(*d));
	d = &dir->dentries[dir->dentry_count++];
	name_copy(d->name, name);
	d->to = to;
	if (model_is_dir(to)) {
		to->parent = dir;
		name_copy(to->name, name);
		to->nlink += to->nlink == 0 ? 2 : 0;
		dir->nlink++;
	} else {
		to->nlink++;
	}
	dir->has_times = to->has_times = false;
}

void model_remove(struct m_inode *dir, const char *name)
{
	struct m_dentry *d = dentry_find(dir, name);
	struct m_inode *to;

	cfs_assert(d != NULL);
	to = d->to;
	*d = dir->dentries[--dir->dentry_count];
	if (model_is_dir(to)) {
		to->parent = NULL;
		dir->nlink--;
	} else {
		to->nlink--;
	}
	dir->has_times = to->has_times = false;
}

bool model_is_alive(const struct sim_model *m, const struct m_inode *i)
{
	if (model_is_dir(i))
		return i == m->root || i->parent != NULL;
	return i->nlink > 0 || i->opens > 0;
}

bool model_is_below(const struct m_inode *dir, const struct m_inode *top)
{
	for (; dir; dir = dir->parent == dir ? NULL : dir->parent) {
		if (dir == top)
			return true;
	}
	return false;
}

/* --- contents --- */

/* Never a zero byte, so that a hole is told from everything written. */
void pattern_fill(uint64_t pattern, uint64_t off, uint8_t *out, uint64_t len)
{
	uint64_t at = 0;

	while (at < len) {
		uint64_t word = cfs_hash_u64(pattern * 0x9e3779b97f4a7c15ull + (off + at) / 8) |
				0x0101010101010101ull;
		uint32_t first = (uint32_t)((off + at) % 8);
		uint64_t n = CFS_MIN((uint64_t)(8 - first), len - at);

		memcpy(out + at, (uint8_t *)&word + first, n);
		at += n;
	}
}

static void data_reach(struct m_inode *i, uint64_t end)
{
	cfs_assert(end <= MODEL_DATA_MAX);
	if (end <= i->data_bytes)
		return;
	if (end > i->data_cap) {
		i->data_cap = CFS_MAX(end, i->data_cap * 2);
		i->data = realloc(i->data, i->data_cap);
		cfs_assert(i->data != NULL);
	}
	memset(i->data + i->data_bytes, 0, end - i->data_bytes);
	i->data_bytes = end;
}

void model_write(struct m_inode *i, uint64_t off, uint64_t len, uint64_t pattern)
{
	data_reach(i, off + len);
	pattern_fill(pattern, off, i->data + off, len);
	i->attr.size = CFS_MAX(i->attr.size, off + len);
}

void model_copy(struct m_inode *i, uint64_t off, uint64_t len, const uint8_t *bytes)
{
	data_reach(i, off + len);
	memcpy(i->data + off, bytes, len);
	i->attr.size = CFS_MAX(i->attr.size, off + len);
}

void model_zero(struct m_inode *i, uint64_t off, uint64_t len)
{
	uint64_t end = CFS_MIN(off + len, i->data_bytes);

	if (off < end)
		memset(i->data + off, 0, end - off);
}

void model_resize(struct m_inode *i, uint64_t size)
{
	if (size < i->data_bytes)
		i->data_bytes = size;
	i->attr.size = size;
}

uint64_t model_read(const struct m_inode *i, uint64_t off, uint64_t len, uint8_t *out)
{
	uint64_t end = CFS_MIN(off + len, i->attr.size), known;

	if (off >= end)
		return 0;
	known = CFS_MIN(end, i->data_bytes);
	if (off < known)
		memcpy(out, i->data + off, known - off);
	else
		known = off;
	memset(out + (known - off), 0, end - known);
	return end - off;
}

/* --- history --- */

struct m_row *model_row(struct m_inode *dir, uint32_t worker)
{
	struct m_row *row;

	for (uint32_t r = 0; r < dir->row_count; r++) {
		if (dir->rows[r]->worker == worker)
			return dir->rows[r];
	}
	row = sim_alloc(sizeof(*row));
	row->dir = dir;
	row->worker = worker;
	/* What of the worker's names is there now was there before its first change. */
	row->base = sim_alloc((dir->dentry_count + 1) * sizeof(*row->base));
	for (uint32_t i = 0; i < dir->dentry_count; i++) {
		const struct m_dentry *d = &dir->dentries[i];

		if (model_owner(d->name, (uint32_t)strlen(d->name)) == worker)
			row->base[row->base_count++] = *d;
	}
	dir->rows = sim_grow(dir->rows, dir->row_count, &dir->row_cap, sizeof(*dir->rows));
	dir->rows[dir->row_count++] = row;
	return row;
}

uint32_t model_op(struct sim_model *m, uint32_t worker)
{
	m->ops = sim_grow(m->ops, m->op_count, &m->op_cap, sizeof(*m->ops));
	m->ops[m->op_count] =
		(struct m_op){ .worker = worker, .call_ns = cfs_now_ns(), .return_ns = UINT64_MAX };
	return m->op_count++;
}

void model_op_change(struct sim_model *m, uint32_t op, struct m_inode *dir, enum m_change_kind kind,
		     const char *name, struct m_inode *to)
{
	struct m_op *o = &m->ops[op];
	struct m_row *row = model_row(dir, o->worker);
	struct m_change *c;

	cfs_assert(o->place_count < MODEL_PLACES_MAX);
	row->changes = sim_grow(row->changes, row->count, &row->cap, sizeof(*c));
	c = &row->changes[row->count];
	*c = (struct m_change){ .kind = kind, .op = op, .to = to };
	name_copy(c->name, name);
	o->places[o->place_count++] = (struct m_place){ row, row->count++ };
}

struct m_write *model_op_write(struct sim_model *m, uint32_t op, struct m_inode *i,
			       enum m_write_kind kind)
{
	struct m_write *w;

	(void)m;
	i->writes = sim_grow(i->writes, i->write_count, &i->write_cap, sizeof(*w));
	w = &i->writes[i->write_count++];
	*w = (struct m_write){ .kind = kind,
			       .op = op,
			       .size_before = i->attr.size,
			       .before = i->attr,
			       .after = i->attr };
	return w;
}

/* An operation that failed changed nothing: its changes are the last of their rows, as a worker
 * does one at a time. */
static void op_undo(struct sim_model *m, uint32_t op)
{
	struct m_op *o = &m->ops[op];

	while (o->place_count > 0) {
		const struct m_place *p = &o->places[--o->place_count];

		cfs_assert(p->index + 1 == p->row->count);
		p->row->count--;
	}
	for (struct m_inode *i = m->inodes; i; i = i->next) {
		while (i->write_count > 0 && i->writes[i->write_count - 1].op == op)
			free(i->writes[--i->write_count].bytes);
	}
}

void model_op_end(struct sim_model *m, uint32_t op, bool has_effect)
{
	m->ops[op].return_ns = cfs_now_ns();
	if (!has_effect)
		op_undo(m, op);
}

void model_synced(struct sim_model *m, uint64_t ns)
{
	m->synced_ns = CFS_MAX(m->synced_ns, ns);
}
