/*
 * The cluster map in the control plane (doc/design/control.md).
 *
 * Below /claudefs/<uuid>/ lie: `epoch` (decimal text), the epoch of the map; `map/<n>`, rows of
 * CFS_MAP_ROWS_MAX shards each (map_format.h): which node and slice holds the shard, and its shard
 * epoch; `members/<node>`, the node's start and addresses as text. Every change of any of them is
 * one transaction that compares the revision of `epoch` and raises it, so the map is always read
 * and changed as a whole. Beside them `stopped`, which rests on nothing.
 *
 * A shard's slice is chosen when the map is first made and kept: that is where its log is. A
 * slice's core is chosen by each start.
 */
#ifndef CFS_CTL_MAP_H
#define CFS_CTL_MAP_H

#include <stdint.h>

#include "ctl/ctl.h"
#include "proto/msg.h"

#define CFS_MAP_SLICE_UNKNOWN UINT16_MAX
#define CFS_MAP_WHY_BYTES 256u

/* What a node says when it starts. All borrowed. */
struct cfs_map_start {
	const uint8_t *uuid;     /* [16] of the volume */
	const uint8_t *hash_key; /* [16] */
	uint32_t shards;         /* as in the stores' superblocks */
	uint16_t node;           /* 0, the only one */
	uint16_t slices;         /* of all the node's stores, numbered in order of their devices */
	uint32_t cores;
	const uint16_t *core_of_slice; /* [slices] */
	const char (*core_addr)[128];  /* [cores] */
	uint64_t min_epoch; /* highest epoch in any of the stores: the new one is higher, even if
			       the control plane forgot */
	const uint16_t *slice_of; /* [shards] where the stores have records of it, or
				     CFS_MAP_SLICE_UNKNOWN; NULL: not known */
};

/*
 * Raises the epoch and gives every shard of this node the new one as its shard epoch: one
 * compare-and-swap, tried again when another change came first. Makes the map when there is none,
 * or the control plane lost it: shards go to where the stores say, the rest in turn.
 *
 * @map_out   for cfs_map_fini()
 * @slice_out [shards], malloc'd: the slice that holds each shard
 * @why       a sentence, on failure
 * Returns 0; -EINVAL: other shards, more slices or another place of a shard than the map says (a
 * store is missing, or the order of devices changed); -CFS_EBAD_FORMAT, -CFS_EBAD_CHECKSUM,
 * -CFS_EBAD_VERSION: of a stored row; what the engine says.
 */
CFS_AWAITS int cfs_map_start_node(struct cfs_ctl *ctl, const struct cfs_map_start *start,
				  struct cfs_map *map_out, uint16_t **slice_out,
				  char why[CFS_MAP_WHY_BYTES]);

/* Makes the map before any node has started: shards in turn over the @slices of node 0. -EEXIST:
 * there is one. */
CFS_AWAITS int cfs_map_make(struct cfs_ctl *ctl, const uint8_t uuid[16], uint32_t shards,
			    uint16_t slices, char why[CFS_MAP_WHY_BYTES]);

/* Notes that @epoch ended with everything flushed, so that no tail is missed. */
CFS_AWAITS int cfs_map_stopped_set(struct cfs_ctl *ctl, const uint8_t uuid[16], uint64_t epoch);
/* The last epoch that ended so; 0: none is known. */
CFS_AWAITS uint64_t cfs_map_stopped(struct cfs_ctl *ctl, const uint8_t uuid[16]);

/* The map's epoch now; 0 when there is no map. */
CFS_AWAITS int cfs_map_epoch(struct cfs_ctl *ctl, const uint8_t uuid[16], uint64_t *epoch_out);

#endif
