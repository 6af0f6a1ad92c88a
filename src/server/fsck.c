/*
 * Offline check. Recovery runs read-only on one core, as a start of the node would, up to the
 * loaded tables; then facts of all shards are put side by side, and every data block is read
 * against its checksum.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "data/data.h"
#include "meta/meta.h"
#include "proto/place.h"
#include "server/fsck.h"
#include "server/node_internal.h"
#include "store/device.h"

#define PATH_DEPTH_MAX 128
#define PATH_BYTES_MAX 1024
#define READ_BLOCKS_MAX 64u

/* An inode as all shards together see it. */
struct seen_inode {
	uint64_t ino, parent, size;
	uint32_t mode, nlink, refs, subdirs;
	uint32_t name_at; /* in names[], of one dentry that names it */
	uint64_t dir;     /* that dentry's directory */
	bool is_here, is_open, is_reached;
};

struct seen_dentry {
	uint64_t dir, ino;
	uint32_t mode, name_at;
};

struct fsck {
	const struct cfs_fsck_opts *opts;
	struct cfs_fsck_result *result;
	struct cfs_node *node;
	struct seen_inode *inodes; /* open addressing by ino */
	uint64_t inode_slots, inode_count;
	struct seen_dentry *dentries;
	uint64_t dentry_count, dentry_cap;
	char *names; /* one after the other, with terminating zeros */
	uint64_t names_bytes, names_cap;
	uint8_t *block_buf;
	struct cfs_store *store; /* of the shard that is walked */
	uint64_t data_total;
	struct data_job *jobs;
	uint64_t job_count, job_cap;
	int rc; /* out of memory on the way */
};

struct data_job {
	uint64_t ino, chunk;
	cfs_addr_t addr;
	uint32_t block, blocks;
	uint32_t store, shard;
	const uint32_t *crcs;
};

__attribute__((format(printf, 2, 3))) static void finding(struct fsck *f, const char *fmt, ...)
{
	char what[PATH_BYTES_MAX + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	f->result->findings++;
	f->opts->finding(f->opts->ctx, what);
}

static void progress(struct fsck *f, const char *phase, uint64_t done, uint64_t total)
{
	if (f->opts->progress)
		f->opts->progress(f->opts->ctx, phase, done, total);
}

/* --- collecting --- */

static struct seen_inode *inode_slot(struct fsck *f, uint64_t ino)
{
	uint64_t at = cfs_hash_u64(ino) & (f->inode_slots - 1);

	while (f->inodes[at].ino && f->inodes[at].ino != ino)
		at = (at + 1) & (f->inode_slots - 1);
	return &f->inodes[at];
}

static int inodes_grow(struct fsck *f)
{
	struct seen_inode *old = f->inodes;
	uint64_t old_slots = f->inode_slots;

	if (f->inode_slots && f->inode_count * 2 < f->inode_slots)
		return 0;
	f->inode_slots = old_slots ? old_slots * 2 : 1024;
	f->inodes = calloc(f->inode_slots, sizeof(*f->inodes));
	if (!f->inodes) {
		f->inodes = old;
		f->inode_slots = old_slots;
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < old_slots; i++) {
		if (old[i].ino)
			*inode_slot(f, old[i].ino) = old[i];
	}
	free(old);
	return 0;
}

static struct seen_inode *inode_get(struct fsck *f, uint64_t ino)
{
	struct seen_inode *s;

	if (inodes_grow(f) < 0) {
		f->rc = -ENOMEM;
		return NULL;
	}
	s = inode_slot(f, ino);
	if (!s->ino) {
		s->ino = ino;
		f->inode_count++;
	}
	return s;
}

static uint32_t name_keep(struct fsck *f, struct cfs_bytes name)
{
	uint64_t at = f->names_bytes;

	if (at + name.len + 1 > f->names_cap) {
		uint64_t cap = CFS_MAX(f->names_cap * 2, 1ull << 16);
		char *names = realloc(f->names, cap);

		if (!names || cap > UINT32_MAX) {
			f->rc = -ENOMEM;
			return 0;
		}
		f->names = names;
		f->names_cap = cap;
	}
	memcpy(f->names + at, name.p, name.len);
	f->names[at + name.len] = 0;
	f->names_bytes += name.len + 1;
	return (uint32_t)at;
}

static void collect_inode(struct fsck *f, const struct cfs_meta_fact *fact)
{
	struct seen_inode *s = inode_get(f, fact->ino);

	if (!s)
		return;
	f->result->inodes++;
	if (s->is_here)
		finding(f, "inode %llu is there twice", (unsigned long long)fact->ino);
	if (cfs_ino_home(fact->ino) != fact->shard)
		finding(f, "inode %llu is in shard %u, its number says %u",
			(unsigned long long)fact->ino, fact->shard, cfs_ino_home(fact->ino));
	s->is_here = true;
	s->is_open = fact->is_open;
	s->mode = fact->attr->mode;
	s->nlink = fact->attr->nlink;
	s->parent = fact->attr->parent;
	s->size = fact->attr->size;
}

static void collect_dentry(struct fsck *f, const struct cfs_meta_fact *fact)
{
	struct seen_inode *s, *dir;
	uint32_t name_at = name_keep(f, fact->name);

	if (f->dentry_count == f->dentry_cap) {
		uint64_t cap = CFS_MAX(f->dentry_cap * 2, 1024ull);
		struct seen_dentry *d = realloc(f->dentries, cap * sizeof(*d));

		if (!d) {
			f->rc = -ENOMEM;
			return;
		}
		f->dentries = d;
		f->dentry_cap = cap;
	}
	f->result->dentries++;
	f->dentries[f->dentry_count++] = (struct seen_dentry){
		.dir = fact->dir, .ino = fact->ino, .mode = fact->mode, .name_at = name_at
	};
	s = inode_get(f, fact->ino);
	if (!s)
		return;
	s->refs++;
	s->name_at = name_at;
	s->dir = fact->dir;
	dir = inode_get(f, fact->dir); /* may move s */
	if (dir && S_ISDIR(fact->mode))
		dir->subdirs++;
}

static void collect_fact(void *ctx, const struct cfs_meta_fact *fact)
{
	struct fsck *f = ctx;

	switch (fact->kind) {
	case CFS_META_FACT_INODE:
		collect_inode(f, fact);
		break;
	case CFS_META_FACT_DENTRY:
		collect_dentry(f, fact);
		break;
	case CFS_META_FACT_LOCKS:
		if (fact->is_bad)
			finding(f, "inode %llu: its locks contradict each other",
				(unsigned long long)fact->ino);
		break;
	case CFS_META_FACT_PREPARED:
	case CFS_META_FACT_DECISION:
		break; /* under way when the node stopped; the next start ends them */
	}
}

static void collect_extent(void *ctx, const struct cfs_data_fact *fact)
{
	struct fsck *f = ctx;

	f->result->extents++;
	if (f->job_count == f->job_cap) {
		uint64_t cap = CFS_MAX(f->job_cap * 2, 1024ull);
		struct data_job *jobs = realloc(f->jobs, cap * sizeof(*jobs));

		if (!jobs) {
			f->rc = -ENOMEM;
			return;
		}
		f->jobs = jobs;
		f->job_cap = cap;
	}
	f->jobs[f->job_count++] = (struct data_job){ .ino = fact->ino,
						     .addr = fact->addr,
						     .chunk = fact->chunk,
						     .block = fact->block,
						     .blocks = fact->blocks,
						     .store = node_store_of(f->node, fact->shard),
						     .shard = fact->shard,
						     .crcs = fact->crcs };
	f->data_total += fact->blocks;
}

/* --- naming --- */

/* "/a/b" for an inode, as far as dentries lead up; its number where they do not. */
static void path_of(struct fsck *f, uint64_t ino, char *out, uint32_t out_bytes)
{
	const char *part[PATH_DEPTH_MAX];
	uint32_t depth = 0, at = 0;
	uint64_t up = ino;

	while (up != CFS_INO_ROOT && depth < PATH_DEPTH_MAX) {
		const struct seen_inode *s = f->inode_slots ? inode_slot(f, up) : NULL;

		if (!s || !s->ino || !s->refs) {
			snprintf(out, out_bytes, "inode %llu", (unsigned long long)ino);
			return;
		}
		part[depth++] = f->names + s->name_at;
		up = s->dir;
	}
	out[0] = 0;
	while (depth > 0 && at + 2 < out_bytes)
		at += (uint32_t)snprintf(out + at, out_bytes - at, "/%s", part[--depth]);
	if (at == 0)
		snprintf(out, out_bytes, "/");
}

/* --- comparing --- */

static void check_inode(struct fsck *f, struct seen_inode *s)
{
	char path[PATH_BYTES_MAX];
	uint32_t links;

	path_of(f, s->ino, path, sizeof(path));
	if (!s->is_here) {
		if (s->refs)
			finding(f, "%s: name of inode %llu, which is not there", path,
				(unsigned long long)s->ino);
		else
			finding(f, "names lie in directory %llu, which is not there",
				(unsigned long long)s->ino);
		return;
	}
	if (S_ISDIR(s->mode)) {
		links = 2 + s->subdirs;
		if (s->ino != CFS_INO_ROOT && s->refs != 1)
			finding(f, "%s: directory with %u names", path, s->refs);
		if (s->ino != CFS_INO_ROOT && s->refs == 1 && s->parent != s->dir)
			finding(f, "%s: directory's parent is %llu, its name lies in %llu", path,
				(unsigned long long)s->parent, (unsigned long long)s->dir);
	} else {
		links = s->refs;
		if (s->refs == 0 && s->nlink == 0 && !s->is_open)
			finding(f, "inode %llu has no name and nobody has it open",
				(unsigned long long)s->ino);
	}
	if (s->nlink != links)
		finding(f, "%s: link count is %u, names say %u", path, s->nlink, links);
}

static void check_dentry(struct fsck *f, const struct seen_dentry *d)
{
	const struct seen_inode *s = inode_slot(f, d->ino);
	const struct seen_inode *dir = inode_slot(f, d->dir);
	char path[PATH_BYTES_MAX];

	if (s->is_here && (s->mode & S_IFMT) != (d->mode & S_IFMT)) {
		path_of(f, d->dir, path, sizeof(path));
		finding(f, "%s/%s: type in the name is %o, the inode's %o", path,
			f->names + d->name_at, d->mode & S_IFMT, s->mode & S_IFMT);
	}
	if (dir->is_here && !S_ISDIR(dir->mode))
		finding(f, "inode %llu has names in it and is no directory",
			(unsigned long long)d->dir);
}

/* Directories reached from root: a loop, or a tree cut off, is not. */
static void check_reached(struct fsck *f)
{
	for (uint64_t i = 0; i < f->inode_slots; i++) {
		const struct seen_inode *s = &f->inodes[i];
		uint64_t up = s->ino;
		uint32_t steps = 0;

		if (!s->ino || !s->is_here || !S_ISDIR(s->mode) || s->refs == 0)
			continue;
		while (up != CFS_INO_ROOT && steps++ < 1u << 20) {
			const struct seen_inode *p = inode_slot(f, up);

			if (!p->ino || p->refs == 0)
				break;
			up = p->dir;
		}
		if (up != CFS_INO_ROOT)
			finding(f, "directory %llu cannot be reached from the root",
				(unsigned long long)s->ino);
	}
}

static void report(void *ctx, const char *what)
{
	finding(ctx, "%s", what);
}

static struct cfs_meta *coordinator_of(void *ctx, uint64_t shard)
{
	const struct fsck *f = ctx;

	return shard < f->node->shards ? cfs_meta_of(f->node->core[0].shards[shard]) : NULL;
}

/* A transaction that was decided may have reached some of its shards only: that is no damage. */
static void resolve(struct fsck *f)
{
	struct node_core *c = &f->node->core[0];

	for (uint32_t i = 0; i < f->node->shards; i++) {
		int rc = cfs_meta_resolve(cfs_meta_of(c->shards[i]), coordinator_of, f);

		if (rc == -ENOMEM)
			f->rc = rc;
		else if (rc < 0)
			finding(f, "shard %u: a decided transaction: %s", i, cfs_err_text(rc));
	}
}

static void check_tables(struct fsck *f)
{
	struct node_core *c = &f->node->core[0];

	resolve(f);
	for (uint32_t i = 0; i < f->node->shards; i++) {
		struct cfs_shard *sh = c->shards[i];

		f->result->shards++;
		f->result->records += sh->index;
		for (uint32_t p = 0; p < CFS_SHARD_PARTS; p++) {
			if (sh->ops[p]->check)
				sh->ops[p]->check(sh->part[p], report, f);
		}
		cfs_meta_walk(cfs_meta_of(sh), collect_fact, f);
		cfs_data_walk(sh, collect_extent, f);
		progress(f, "tables", i + 1, f->node->shards);
	}
	if (f->rc < 0 || !f->inode_slots)
		return;
	for (uint64_t i = 0; i < f->inode_slots; i++) {
		if (f->inodes[i].ino)
			check_inode(f, &f->inodes[i]);
	}
	for (uint64_t i = 0; i < f->dentry_count; i++)
		check_dentry(f, &f->dentries[i]);
	check_reached(f);
}

/* --- data --- */

static int job_order(const void *a, const void *b)
{
	const struct data_job *x = a, *y = b;

	if (x->store != y->store)
		return x->store < y->store ? -1 : 1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static void bad_data(struct fsck *f, const struct data_job *j, uint32_t from, uint32_t blocks,
		     int rc)
{
	char path[PATH_BYTES_MAX];

	path_of(f, j->ino, path, sizeof(path));
	finding(f, "%s: bytes %llu to %llu: %s", path,
		(unsigned long long)(j->chunk * CFS_CHUNK_BYTES +
				     (uint64_t)(j->block + from) * CFS_BLOCK_BYTES),
		(unsigned long long)(j->chunk * CFS_CHUNK_BYTES +
				     (uint64_t)(j->block + from + blocks) * CFS_BLOCK_BYTES - 1),
		cfs_err_text(rc));
}

/* Reads one extent; where a piece is bad, block by block, to name just what is hit. */
static CFS_AWAITS void check_extent(struct fsck *f, const struct data_job *j)
{
	struct cfs_store *s = f->node->core[0].stores[j->store];

	for (uint32_t at = 0; at < j->blocks; at += READ_BLOCKS_MAX) {
		uint32_t n = CFS_MIN(READ_BLOCKS_MAX, j->blocks - at);
		int rc = cfs_store_data_read(s, j->addr + at, f->block_buf, n, j->crcs + at);

		for (uint32_t b = 0; rc < 0 && b < n; b++) {
			int one = cfs_store_data_read(s, j->addr + at + b, f->block_buf, 1,
						      j->crcs + at + b);

			if (one < 0)
				bad_data(f, j, at + b, 1, one);
		}
		f->result->data_blocks += n;
	}
}

/*
 * Two extents name the same blocks. Clones do, within a shard and with the same checksums; @p
 * begins no later than @j.
 */
static void check_overlap(struct fsck *f, const struct data_job *p, const struct data_job *j)
{
	uint64_t at = j->addr - p->addr, n = CFS_MIN(p->blocks - at, (uint64_t)j->blocks);

	if (p->shard == j->shard && memcmp(p->crcs + at, j->crcs, n * sizeof(*j->crcs)) == 0)
		return;
	finding(f, "blocks of inodes %llu and %llu overlap at segment %u block %u",
		(unsigned long long)p->ino, (unsigned long long)j->ino, cfs_addr_segment(j->addr),
		cfs_addr_block(j->addr));
}

static CFS_AWAITS void check_data(struct fsck *f)
{
	const struct data_job *p = NULL; /* of those before, the one that ends last */
	uint64_t done = 0;

	if (f->job_count)
		qsort(f->jobs, f->job_count, sizeof(*f->jobs), job_order);
	for (uint64_t i = 0; i < f->job_count; i++) {
		const struct data_job *j = &f->jobs[i];
		bool is_again = p && p->store == j->store && p->addr + p->blocks > j->addr;

		if (is_again)
			check_overlap(f, p, j);
		/* Blocks with several owners are read once. */
		is_again = is_again && p->addr + p->blocks >= j->addr + j->blocks;
		if (!is_again)
			p = j;
		if (!f->opts->is_data_skipped && !is_again)
			check_extent(f, j);
		done += j->blocks;
		if (i % 64 == 0)
			progress(f, "data", done, f->data_total);
	}
	progress(f, "data", f->data_total, f->data_total);
}

/* --- the run --- */

static CFS_AWAITS int no_call(void *ctx, uint32_t shard, struct cfs_msg *req,
			      struct cfs_net_reply *out)
{
	(void)ctx;
	(void)shard;
	(void)req;
	(void)out;
	return -ECANCELED;
}

static CFS_AWAITS int open_node(struct fsck *f, char *err_out, uint32_t err_bytes)
{
	struct cfs_node *n = f->node;
	struct node_core *c;
	int rc;

	if (f->opts->disks) {
		rc = cfs_sim_disk_open(f->opts->disks[0], &n->device);
	} else if (f->opts->path_count != 1) {
		snprintf(err_out, err_bytes, "one store at a time, not %u", f->opts->path_count);
		return -EINVAL;
	} else {
		rc = cfs_device_open(f->opts->paths[0], true, &n->device, err_out, err_bytes);
	}
	if (rc < 0)
		return rc;
	n->info = *cfs_device_info(n->device);
	n->shards = n->info.shards;
	n->stores = n->info.stores;
	n->cores = 1;
	n->core = c = calloc(1, sizeof(*n->core));
	if (!c)
		return -ENOMEM;
	c->node = n;
	c->shards = calloc(n->shards, sizeof(struct cfs_shard *));
	c->stores = calloc(n->stores, sizeof(struct cfs_store *));
	c->scratch = malloc(CFS_RECORD_BYTES_MAX);
	c->on_finding = report;
	c->finding_ctx = f;
	cfs_node_env_init(c);
	c->env.call = no_call;
	return c->shards && c->stores && c->scratch ? 0 : -ENOMEM;
}

static CFS_AWAITS int load_node(struct fsck *f, char *err_out, uint32_t err_bytes)
{
	struct cfs_node *n = f->node;
	struct node_core *c = &n->core[0];
	const struct cfs_store_opts so = { .tail_dir = f->opts->tail_dir, .is_read_only = true };
	int rc = cfs_node_scan(c, &so);

	if (rc == 0)
		rc = cfs_node_cut(n);
	if (rc == 0) {
		n->epoch = c->epoch_seen + 1;
		for (uint32_t i = 0; i < n->shards && rc == 0; i++)
			rc = cfs_shard_create(i, c->stores[node_store_of(n, i)], &c->env,
					      c->scratch, &cfs_meta_part_ops, &cfs_data_part_ops,
					      &c->shards[i]);
	}
	if (rc == 0)
		rc = cfs_node_load(c);
	if (rc < 0 && c->error[0])
		snprintf(err_out, err_bytes, "%s", c->error);
	return rc;
}

static CFS_AWAITS void close_node(struct cfs_node *n)
{
	struct node_core *c = n->core;

	for (uint32_t i = 0; c && c->shards && i < n->shards; i++)
		cfs_shard_destroy(c->shards[i]);
	for (uint32_t t = 0; c && t < c->store_count; t++)
		cfs_store_close(c->stores[t]);
	if (c) {
		free(c->shards);
		free(c->stores);
		free(c->scratch);
		free(c->deps);
	}
	free(c);
	cfs_device_close(n->device);
	free(n);
}

CFS_AWAITS int cfs_fsck_run(const struct cfs_fsck_opts *opts, struct cfs_fsck_result *out,
			    char *err_out, uint32_t err_bytes)
{
	struct fsck f = { .opts = opts, .result = out };
	struct cfs_buf *buf = NULL;
	int rc;

	memset(out, 0, sizeof(*out));
	if (err_bytes)
		err_out[0] = 0;
	f.node = calloc(1, sizeof(*f.node));
	if (!f.node)
		return -ENOMEM;
	rc = cfs_buf_get(READ_BLOCKS_MAX * CFS_BLOCK_BYTES, &buf);
	if (rc == 0) {
		f.block_buf = buf->data;
		rc = open_node(&f, err_out, err_bytes);
	}
	if (rc == 0)
		rc = load_node(&f, err_out, err_bytes);
	if (rc == -CFS_EBAD_FORMAT || rc == -CFS_EBAD_CHECKSUM) {
		/* That tables cannot be read is a finding, not a failure to look. */
		finding(&f, "%s", err_bytes && err_out[0] ? err_out : cfs_err_text(rc));
		rc = 0;
	} else if (rc == 0) {
		check_tables(&f);
		if (f.rc == 0)
			check_data(&f);
		rc = f.rc;
	}
	if (rc < 0 && err_bytes && !err_out[0])
		snprintf(err_out, err_bytes, "%s", cfs_err_text(rc));
	cfs_buf_put(buf);
	close_node(f.node);
	free(f.inodes);
	free(f.dentries);
	free(f.names);
	free(f.jobs);
	return rc;
}
