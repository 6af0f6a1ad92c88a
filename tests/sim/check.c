#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/hash.h"
#include "world.h"

/* --- equal --- */

static void equal_data(struct sim *s, const struct snap_inode *p, const struct m_inode *i)
{
	uint64_t known = CFS_MIN(p->data_bytes, i->data_bytes);

	for (uint64_t at = 0; at < p->data_bytes; at++) {
		uint8_t expected = at < known ? i->data[at] : 0;

		if (p->data[at] != expected)
			sim_finding(s, "%s, inode %llx: byte %llu is %02x, not %02x", p->name,
				    (unsigned long long)p->ino, (unsigned long long)at, p->data[at],
				    expected);
	}
}

static void equal_inode(struct sim *s, const struct snap_inode *p, const struct m_inode *i)
{
	if (!check_attr_is(&p->attr, &i->attr, model_is_dir(i)))
		sim_finding(s, "%s, inode %llx: mode %o owner %u:%u size %llu, not %o %u:%u %llu",
			    p->name, (unsigned long long)p->ino, p->attr.mode, p->attr.uid,
			    p->attr.gid, (unsigned long long)p->attr.size, i->attr.mode,
			    i->attr.uid, i->attr.gid, (unsigned long long)i->attr.size);
	if (p->nlink != i->nlink)
		sim_finding(s, "%s, inode %llx: %u links, not %u", p->name,
			    (unsigned long long)p->ino, p->nlink, i->nlink);
	if (i->has_times && i->owner != MODEL_OWNER_ALL &&
	    (p->mtime != i->mtime || p->ctime != i->ctime))
		sim_finding(s, "%s, inode %llx: mtime or ctime changed by itself", p->name,
			    (unsigned long long)p->ino);
	if (model_is_reg(i))
		equal_data(s, p, i);
	if (model_is_link(i) && strcmp(p->target, i->target) != 0)
		sim_finding(s, "%s: another target", p->name);
	if (p->count != i->dentry_count)
		sim_finding(s, "%s, directory %llx: %u names, not %u", p->name,
			    (unsigned long long)p->ino, p->count, i->dentry_count);
	for (uint32_t k = 0; k < i->dentry_count; k++) {
		const struct m_dentry *d = &i->dentries[k];
		const struct snap_dentry *seen = snap_look(p, d->name);

		if (!seen || seen->ino != d->to->ino)
			sim_finding(s, "%s/%s: inode %llx, not %llx", p->name, d->name,
				    (unsigned long long)(seen ? seen->ino : 0),
				    (unsigned long long)d->to->ino);
	}
}

void check_equal(struct sim *s, const struct snap *p)
{
	for (const struct snap_inode *i = p->inodes; i; i = i->next) {
		const struct m_inode *m = model_find(s->model, i->ino);

		if (!m)
			sim_finding(s, "%s is inode %llx, which nobody made", i->name,
				    (unsigned long long)i->ino);
		equal_inode(s, i, m);
	}
}

/* --- prefix: names --- */

/* What a row's first @kept changes leave of @name. Returns false: no change names it. */
static bool row_state(const struct m_row *row, uint32_t kept, const char *name,
		      const struct m_inode **to)
{
	for (uint32_t k = kept; k > 0; k--) {
		const struct m_change *c = &row->changes[k - 1];

		if ((c->kind == M_PUT || c->kind == M_REMOVE) && strcmp(c->name, name) == 0) {
			*to = c->kind == M_PUT ? c->to : NULL;
			return true;
		}
	}
	for (uint32_t k = 0; k < row->base_count; k++) {
		if (strcmp(row->base[k].name, name) == 0) {
			*to = row->base[k].to;
			return true;
		}
	}
	*to = NULL;
	return false;
}

static bool name_matches(const struct snap_inode *p, const char *name, const struct m_inode *to)
{
	const struct snap_dentry *d = snap_look(p, name);

	if (!d || !to)
		return !d && !to;
	/* Its making was not answered: any number of that type. */
	if (to->ino == 0)
		return d->mode == (to->attr.mode & S_IFMT);
	return d->ino == to->ino;
}

/* Whether the directory looks as after @kept changes of the row, as far as its worker's names go.
 */
static bool row_matches(const struct snap_inode *p, const struct m_row *row, uint32_t kept)
{
	const struct m_inode *to;

	/* Within an operation is no state. */
	if (kept > 0 && kept < row->count && row->changes[kept].op == row->changes[kept - 1].op)
		return false;
	if (!p)
		return true;
	if (row->count > 0 && row->changes[0].kind == M_BORN && kept == 0)
		return false;
	if (kept > 0 && row->changes[kept - 1].kind == M_GONE)
		return false;
	for (uint32_t k = 0; k < row->count; k++) {
		const char *name = row->changes[k].name;

		if (!name[0])
			continue;
		(void)row_state(row, kept, name, &to);
		if (!name_matches(p, name, to))
			return false;
	}
	for (uint32_t k = 0; k < row->base_count; k++) {
		(void)row_state(row, kept, row->base[k].name, &to);
		if (!name_matches(p, row->base[k].name, to))
			return false;
	}
	for (uint32_t k = 0; k < p->count; k++) {
		const char *name = p->dentries[k].name;

		if (model_owner(name, (uint32_t)strlen(name)) == row->worker &&
		    (!row_state(row, kept, name, &to) || !to))
			return false;
	}
	return true;
}

static const struct snap_inode *seen_of(const struct snap *p, const struct m_inode *dir)
{
	return dir->ino ? snap_find(p, dir->ino) : NULL;
}

/* The greatest count at or below @most that matches; UINT32_MAX: none. */
static uint32_t row_best(const struct snap *p, const struct m_row *row, uint32_t most)
{
	const struct snap_inode *seen = seen_of(p, row->dir);

	for (uint32_t kept = most; kept != UINT32_MAX; kept--) {
		if (row_matches(seen, row, kept))
			return kept;
	}
	return UINT32_MAX;
}

static uint32_t row_synced(const struct sim_model *m, const struct m_row *row)
{
	uint32_t n = 0;

	while (n < row->count && m->ops[row->changes[n].op].return_ns < m->synced_ns)
		n++;
	return n;
}

static void row_say(struct sim *s, const struct snap *p, const struct m_row *row)
{
	const struct snap_inode *seen = seen_of(p, row->dir);

	fprintf(stderr, "directory %s (%llx), names of worker %u; %u of %u changes flushed\n",
		row->dir->name, (unsigned long long)row->dir->ino, row->worker,
		row_synced(s->model, row), row->count);
	for (uint32_t k = 0; k < row->base_count; k++)
		fprintf(stderr, "  before: %s is %llx\n", row->base[k].name,
			(unsigned long long)row->base[k].to->ino);
	for (uint32_t k = 0; k < row->count; k++) {
		static const char *const kinds[] = { "put", "remove", "born", "gone" };
		const struct m_change *c = &row->changes[k];
		const struct m_op *o = &s->model->ops[c->op];

		fprintf(stderr, "  %2u %s %s %llx, operation %u at %llu us%s%s\n", k,
			kinds[c->kind], c->name, (unsigned long long)(c->to ? c->to->ino : 0),
			c->op, (unsigned long long)(o->call_ns / SIM_US),
			o->return_ns == UINT64_MAX ? ", not answered" : "",
			k < row->kept ? "" : ", not there");
	}
	for (uint32_t k = 0; seen && k < seen->count; k++)
		fprintf(stderr, "  seen: %s is %llx\n", seen->dentries[k].name,
			(unsigned long long)seen->dentries[k].ino);
}

static void row_lower(struct sim *s, const struct snap *p, struct m_row *row, uint32_t most,
		      const char *why)
{
	uint32_t best = row_best(p, row, most);

	if (best == UINT32_MAX || best < row_synced(s->model, row)) {
		row_say(s, p, row);
		sim_finding(s, "after a power cut: directory %s (%llx), names of worker %u: %s",
			    row->dir->name, (unsigned long long)row->dir->ino, row->worker, why);
	}
	row->kept = best;
}

/* An operation is in all of its rows or in none. True: something was lowered. */
static bool op_settle(struct sim *s, const struct snap *p, const struct m_op *o)
{
	bool is_missing = false, has_lowered = false;

	for (uint32_t k = 0; k < o->place_count; k++)
		is_missing |= o->places[k].row->kept <= o->places[k].index;
	for (uint32_t k = 0; is_missing && k < o->place_count; k++) {
		struct m_row *row = o->places[k].row;

		if (row->kept <= o->places[k].index)
			continue;
		row_lower(s, p, row, o->places[k].index,
			  "a change of two directories is in one of them only");
		has_lowered = true;
	}
	return has_lowered;
}

/* Among the rows of one directory: what had returned before another was called is there if that is.
 */
static bool dir_settle(struct sim *s, const struct snap *p, struct m_inode *dir)
{
	const struct m_op *ops = s->model->ops;
	bool has_lowered = false;

	for (uint32_t a = 0; a < dir->row_count; a++) {
		const struct m_row *early = dir->rows[a];
		uint64_t lost_ns = early->kept < early->count
					   ? ops[early->changes[early->kept].op].return_ns
					   : UINT64_MAX;

		for (uint32_t b = 0; b < dir->row_count; b++) {
			struct m_row *late = dir->rows[b];
			uint32_t k = 0;

			while (k < late->kept && ops[late->changes[k].op].call_ns <= lost_ns)
				k++;
			if (k == late->kept)
				continue;
			row_lower(s, p, late, k,
				  "a change is there, one that returned before it "
				  "was called is not");
			has_lowered = true;
		}
	}
	return has_lowered;
}

/* Every worker has a row wherever it has names. */
static void rows_complete(struct sim *s)
{
	for (struct m_inode *i = s->model->inodes; i; i = i->next) {
		for (uint32_t k = 0; model_is_dir(i) && k < i->dentry_count; k++) {
			uint32_t owner = model_owner(i->dentries[k].name,
						     (uint32_t)strlen(i->dentries[k].name));

			if (owner != MODEL_OWNER_ALL)
				(void)model_row(i, owner);
		}
	}
}

static void check_names(struct sim *s, const struct snap *p)
{
	bool again = true;

	rows_complete(s);
	for (struct m_inode *i = s->model->inodes; i; i = i->next) {
		for (uint32_t r = 0; r < i->row_count; r++) {
			i->rows[r]->kept = i->rows[r]->count;
			row_lower(s, p, i->rows[r], i->rows[r]->count,
				  "no beginning of its changes leaves what is there");
		}
	}
	while (again) {
		again = false;
		for (uint32_t k = 0; k < s->model->op_count; k++)
			again |= op_settle(s, p, &s->model->ops[k]);
		for (struct m_inode *i = s->model->inodes; i; i = i->next)
			again |= dir_settle(s, p, i);
	}
}

/* The inode whose making was not answered got its number: the name says which. */
static void numbers_learn(struct sim *s, const struct snap *p)
{
	for (struct m_inode *i = s->model->inodes; i; i = i->next) {
		const struct snap_inode *seen = model_is_dir(i) ? seen_of(p, i) : NULL;

		for (uint32_t r = 0; seen && r < i->row_count; r++) {
			const struct m_row *row = i->rows[r];

			for (uint32_t k = 0; k < row->count; k++) {
				struct m_inode *to = row->changes[k].to;
				const struct snap_dentry *d = snap_look(seen, row->changes[k].name);

				if (to && to->ino == 0 && d && !model_find(s->model, d->ino))
					to->ino = d->ino;
			}
		}
	}
}

static const char *target_of(const struct m_inode *i)
{
	return i->target ? i->target : "";
}

void check_prefix(struct sim *s, const struct snap *p)
{
	numbers_learn(s, p);
	check_names(s, p);
	for (const struct snap_inode *i = p->inodes; i; i = i->next) {
		const struct m_inode *m = model_find(s->model, i->ino);

		if (!m)
			sim_finding(s, "after a power cut: %s is inode %llx, which nobody made",
				    i->name, (unsigned long long)i->ino);
		if (model_is_link(m) && strcmp(i->target, target_of(m)) != 0)
			sim_finding(s, "after a power cut: %s: another target", i->name);
		check_file_prefix(s, i, m);
	}
}

/* --- anew --- */

static void rebase_attr(struct m_inode *i, const struct snap_inode *p)
{
	i->ino = p->ino;
	i->attr = p->attr;
	i->has_times = true;
	i->mtime = p->mtime;
	i->ctime = p->ctime;
	i->has_base = true;
	i->base_attr = i->attr;
	if (p->target)
		i->target = strdup(p->target);
	if (p->data_bytes == 0)
		return;
	i->data = sim_alloc(p->data_bytes);
	memcpy(i->data, p->data, p->data_bytes);
	i->data_bytes = i->data_cap = p->data_bytes;
	i->base_data = sim_alloc(p->data_bytes);
	memcpy(i->base_data, p->data, p->data_bytes);
	i->base_data_bytes = p->data_bytes;
}

void model_rebase(struct sim *s, const struct snap *p)
{
	struct sim_model *m = model_create(s);

	for (const struct snap_inode *i = p->inodes; i; i = i->next) {
		struct m_inode *to = m->root;

		if (i != p->root)
			to = model_inode(m, i->attr.mode,
					 model_owner(i->name, (uint32_t)strlen(i->name)));
		rebase_attr(to, i);
	}
	for (const struct snap_inode *i = p->inodes; i; i = i->next) {
		struct m_inode *dir = model_find(m, i->ino);

		for (uint32_t k = 0; k < i->count; k++)
			model_put(dir, i->dentries[k].name, model_find(m, i->dentries[k].ino));
	}
	for (const struct snap_inode *i = p->inodes; i; i = i->next)
		model_find(m, i->ino)->has_times = true;
	m->next_id = s->model->next_id;
	model_destroy(s->model);
	s->model = m;
}
