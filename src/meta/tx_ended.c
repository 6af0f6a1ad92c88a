/*
 * Numbers that ended at a participant, by coordinator. A late repeat of a prepare is refused by
 * them; below the coordinator's floor everything is, so that what is below it may be forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/stock.h"
#include "meta/tx_internal.h"

struct cfs_tx_peer *cfs_tx_peer_get(struct cfs_tx_table *t, uint64_t shard)
{
	struct cfs_tx_peer *peer;

	cfs_list_for_each(l, &t->peers) {
		peer = cfs_list_entry(l, struct cfs_tx_peer, link);
		if (peer->shard == shard)
			return peer;
	}
	peer = cfs_stock_calloc(sizeof(*peer));
	if (!peer)
		return NULL;
	peer->shard = shard;
	cfs_list_append(&t->peers, &peer->link);
	return peer;
}

static struct cfs_tx_ended *ended_of(struct cfs_rb_node *n)
{
	return n ? cfs_container_of(n, struct cfs_tx_ended, node) : NULL;
}

bool cfs_tx_peer_refuses(const struct cfs_tx_peer *peer, const struct cfs_tx_number *n)
{
	struct cfs_rb_node *at = peer->ended.root;

	if (cfs_tx_number_cmp(n, &peer->floor) < 0)
		return true;
	while (at) {
		int cmp = cfs_tx_number_cmp(n, &ended_of(at)->number);

		if (cmp == 0)
			return true;
		at = cmp < 0 ? at->left : at->right;
	}
	return false;
}

int cfs_tx_ended_add(struct cfs_tx_table *t, const struct cfs_tx_number *n)
{
	struct cfs_tx_peer *peer = cfs_tx_peer_get(t, n->shard);
	struct cfs_rb_node **link, *parent = NULL;
	struct cfs_tx_ended *e;

	if (!peer)
		return -ENOMEM;
	if (cfs_tx_peer_refuses(peer, n))
		return 0;
	e = cfs_stock_calloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->number = *n;
	link = &peer->ended.root;
	while (*link) {
		parent = *link;
		link = cfs_tx_number_cmp(n, &ended_of(parent)->number) < 0 ? &parent->left
									   : &parent->right;
	}
	cfs_rb_insert(&peer->ended, &e->node, parent, link);
	return 0;
}

/* The coordinator keeps nothing below @floor: nobody will ask, and a late prepare is refused by the
 * floor. */
int cfs_tx_floor_raise(struct cfs_tx_table *t, const struct cfs_tx_number *floor)
{
	struct cfs_tx_peer *peer = cfs_tx_peer_get(t, floor->shard);
	struct cfs_rb_node *n;

	if (!peer)
		return -ENOMEM;
	if (cfs_tx_number_cmp(floor, &peer->floor) <= 0)
		return 0;
	peer->floor = *floor;
	while ((n = cfs_rb_first(&peer->ended)) &&
	       cfs_tx_number_cmp(&ended_of(n)->number, floor) < 0) {
		cfs_rb_remove(&peer->ended, n);
		free(ended_of(n));
	}
	return 0;
}

void cfs_tx_peers_fini(struct cfs_tx_table *t)
{
	struct cfs_list *l;

	while ((l = cfs_list_pop(&t->peers))) {
		struct cfs_tx_peer *peer = cfs_list_entry(l, struct cfs_tx_peer, link);
		struct cfs_rb_node *n;

		while ((n = cfs_rb_first(&peer->ended))) {
			cfs_rb_remove(&peer->ended, n);
			free(ended_of(n));
		}
		free(peer);
	}
}

#define ENDED_PER_ITEM 64u

CFS_AWAITS int cfs_tx_checkpoint_peer(struct cfs_tx_peer *peer, struct cfs_checkpoint *c)
{
	uint8_t buf[sizeof(struct cfs_meta_tx_ended) + ENDED_PER_ITEM * 16];
	struct cfs_tx_number last = { 0 };
	bool is_first = true;
	int rc = 0;

	for (;;) {
		struct cfs_meta_tx_ended h = { cfs_to_le64(peer->shard),
					       cfs_to_le64(peer->floor.epoch),
					       cfs_to_le64(peer->floor.count) };
		uint32_t len = sizeof(h);
		struct cfs_rb_node *n = cfs_rb_first(&peer->ended);

		/* The next ones after the last that was written; the tree may have changed. */
		while (!is_first && n && cfs_tx_number_cmp(&ended_of(n)->number, &last) <= 0)
			n = cfs_rb_next(n);
		memcpy(buf, &h, sizeof(h));
		for (; n && len < sizeof(buf); n = cfs_rb_next(n)) {
			cfs_le64 v[2] = { cfs_to_le64(ended_of(n)->number.epoch),
					  cfs_to_le64(ended_of(n)->number.count) };

			last = ended_of(n)->number;
			memcpy(buf + len, v, sizeof(v));
			len += sizeof(v);
		}
		if (!is_first && len == sizeof(h))
			return 0;
		is_first = false;
		rc = cfs_shard_checkpoint_add(c, CFS_META_TX_ENDED, buf, len);
		if (rc < 0 || len < sizeof(buf))
			return rc;
	}
}
