/*
 * Recovery over all stores of a node. Each core scans its own stores; core 0 then decides the cuts
 * of all logs together (order across shards: a log ends before the first record that rests on a
 * lost one, until none does); each core loads. The cuts are flushed before anybody serves, so that
 * no index of a lost record can pass for it after a second power cut.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/util.h"
#include "data/data.h"
#include "meta/meta.h"
#include "server/node_internal.h"

static int collect_dep(void *ctx, const struct cfs_record *r)
{
	struct node_core *c = ctx;

	for (uint32_t i = 0; i < r->dep_count; i++) {
		if (r->deps[i].shard >= c->node->shards)
			return -CFS_EBAD_FORMAT;
		if (c->dep_count == c->dep_cap) {
			uint32_t cap = c->dep_cap ? c->dep_cap * 2 : 256;
			struct node_dep *deps = realloc(c->deps, cap * sizeof(*deps));

			if (!deps)
				return -ENOMEM;
			c->deps = deps;
			c->dep_cap = cap;
		}
		c->deps[c->dep_count++] = (struct node_dep){ .shard = r->shard,
							     .index = r->index,
							     .on_shard = r->deps[i].shard,
							     .on_index = r->deps[i].index };
	}
	return 0;
}

static struct cfs_shard *shard_here(struct node_core *c, uint32_t id)
{
	return id < c->node->shards ? c->shards[id] : NULL;
}

static int load_checkpoint(void *ctx, uint32_t shard, const uint8_t *data, uint32_t len_bytes)
{
	struct node_core *c = ctx;
	struct cfs_shard *sh = shard_here(c, shard);
	int rc = sh ? cfs_shard_load_checkpoint(sh, data, len_bytes) : -CFS_EBAD_FORMAT;

	if (rc < 0)
		snprintf(c->error, sizeof(c->error), "checkpoint of shard %u: %s", shard,
			 cfs_err_text(rc));
	return rc;
}

static int load_record(void *ctx, const struct cfs_record *r)
{
	struct node_core *c = ctx;
	struct cfs_shard *sh = shard_here(c, r->shard);
	int rc = sh ? cfs_shard_load_record(sh, r) : -CFS_EBAD_FORMAT;

	if (rc < 0)
		snprintf(c->error, sizeof(c->error), "record %llu of shard %u: %s",
			 (unsigned long long)r->index, r->shard, cfs_err_text(rc));
	return rc;
}

static void found(void *ctx, const char *what)
{
	struct node_core *c = ctx;

	if (c->on_finding)
		c->on_finding(c->finding_ctx, what);
	else
		cfs_warn("recovery found", "%s", what);
}

static int block_refs(void *ctx, const struct cfs_record *r, struct cfs_block_ref *out,
		      uint32_t max)
{
	static const struct cfs_shard_part_ops *const ops[CFS_SHARD_PARTS] = { &cfs_meta_part_ops,
									       &cfs_data_part_ops };

	(void)ctx;
	return cfs_shard_refs(ops, r, out, max);
}

static struct cfs_store_recovery_ops recovery_ops(struct node_core *c)
{
	return (struct cfs_store_recovery_ops){ .ctx = c,
						.refs = block_refs,
						.dep = collect_dep,
						.checkpoint = load_checkpoint,
						.record = load_record,
						.finding = found };
}

CFS_AWAITS int cfs_node_scan(struct node_core *c, const struct cfs_store_opts *so)
{
	struct cfs_node *n = c->node;
	struct cfs_store_recovery_ops ops = recovery_ops(c);
	struct cfs_store_recovery_shard rs;
	int rc;

	for (uint32_t t = c->id; t < n->stores; t += n->cores) {
		struct cfs_store *s;

		rc = cfs_store_open(n->device, t, so, &s);
		if (rc < 0) {
			snprintf(c->error, sizeof(c->error), "store %u: %s", t, cfs_err_text(rc));
			return rc;
		}
		c->stores[c->store_count++] = s;
		rc = cfs_store_recover_scan(s, &ops);
		if (rc < 0) {
			snprintf(c->error, sizeof(c->error), "store %u: scan: %s", t,
				 cfs_err_text(rc));
			return rc;
		}
		if (!cfs_store_recover_had_tail(s))
			c->is_tail_lost = true;
		for (uint32_t i = 0; i < cfs_store_recover_shard_count(s); i++) {
			cfs_store_recover_shard(s, i, &rs);
			c->epoch_seen = CFS_MAX(c->epoch_seen, rs.last_epoch);
		}
	}
	return 0;
}

/* The ends of all logs, lowered until no record before an end rests on one behind an end. */
int cfs_node_cut(struct cfs_node *n)
{
	uint64_t *end = calloc(n->shards, sizeof(*end));
	struct cfs_store_recovery_shard rs;
	bool changed = true;

	if (!end)
		return -ENOMEM;
	for (uint32_t k = 0; k < n->cores; k++) {
		for (uint32_t t = 0; t < n->core[k].store_count; t++) {
			const struct cfs_store *s = n->core[k].stores[t];

			for (uint32_t i = 0; i < cfs_store_recover_shard_count(s); i++) {
				cfs_store_recover_shard(s, i, &rs);
				if (rs.shard < n->shards)
					end[rs.shard] = rs.last_index;
			}
		}
	}
	while (changed) {
		changed = false;
		for (uint32_t k = 0; k < n->cores; k++) {
			const struct node_core *c = &n->core[k];

			for (uint32_t i = 0; i < c->dep_count; i++) {
				const struct node_dep *d = &c->deps[i];

				if (d->index > end[d->shard] || d->on_index <= end[d->on_shard])
					continue;
				end[d->shard] = d->index - 1;
				changed = true;
			}
		}
	}
	for (uint32_t k = 0; k < n->cores; k++) {
		struct node_core *c = &n->core[k];

		for (uint32_t t = 0; t < c->store_count; t++) {
			for (uint32_t i = 0; i < cfs_store_recover_shard_count(c->stores[t]); i++) {
				cfs_store_recover_shard(c->stores[t], i, &rs);
				if (rs.shard < n->shards && end[rs.shard] < rs.last_index)
					cfs_store_recover_cut(c->stores[t], rs.shard,
							      end[rs.shard]);
			}
		}
		free(c->deps);
		c->deps = NULL;
		c->dep_count = c->dep_cap = 0;
	}
	free(end);
	return 0;
}

CFS_AWAITS int cfs_node_load(struct node_core *c)
{
	struct cfs_node *n = c->node;
	struct cfs_store_recovery_ops ops = recovery_ops(c);
	int rc;

	for (uint32_t t = 0; t < c->store_count; t++) {
		rc = cfs_store_recover_load(c->stores[t], &ops, n->epoch);
		if (rc < 0) {
			if (!c->error[0])
				snprintf(c->error, sizeof(c->error), "store: load: %s",
					 cfs_err_text(rc));
			return rc;
		}
	}
	return 0;
}
