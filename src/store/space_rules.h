/*
 * How a slice's zones are divided: the journal's quota, the reserve of deletes and cleaning, and
 * what data may fill. Pure functions of the layout, the same for all who ask.
 */
#ifndef CFS_STORE_SPACE_RULES_H
#define CFS_STORE_SPACE_RULES_H

#include "base/util.h"
#include "store/store_format.h"

#define CFS_JOURNAL_BYTES_MAX (1024ull * 1024 * 1024)
#define CFS_JOURNAL_SPARE_ZONES 2u /* past the budget, for deletes, cleaning and recovery */
#define CFS_OPEN_ZONES 2u          /* that data streams hold open, partly filled */
#define CFS_FLOOR_ZONES 2u         /* free zones that only deletes, cleaning and checkpoints take */

/* Zones that journal segments may fill before ordinary changes wait for a checkpoint. */
static inline uint32_t cfs_space_journal_zones(const struct cfs_super *s)
{
	uint64_t zone_bytes = (uint64_t)s->zone_blocks * CFS_STORE_BLOCK;
	uint64_t zones = s->zones / 8;

	zones = CFS_MIN(zones, CFS_JOURNAL_BYTES_MAX / zone_bytes);
	return (uint32_t)CFS_MAX(zones, 2ull);
}

static inline uint32_t cfs_space_reserve_zones(const struct cfs_super *s)
{
	return CFS_MAX(s->zones / 32, 3u);
}

/* The cleaner starts below so many free zones, and stops at twice that. */
static inline uint32_t cfs_space_low_zones(const struct cfs_super *s)
{
	return CFS_MAX(s->zones / 16, 4u);
}

static inline uint64_t cfs_space_capacity_blocks(const struct cfs_super *s)
{
	uint32_t taken = cfs_space_journal_zones(s) + CFS_JOURNAL_SPARE_ZONES +
			 cfs_space_reserve_zones(s) + CFS_OPEN_ZONES;

	if (taken >= s->zones)
		return 0;
	return (uint64_t)(s->zones - taken) * (s->zone_blocks - 1);
}

/* Blocks of roots and free bitmap at the start of a journal segment, at most. */
static inline uint32_t cfs_space_roots_blocks_max(const struct cfs_super *s)
{
	uint64_t bytes = (uint64_t)s->shards * sizeof(struct cfs_root_format) + (s->zones + 7) / 8;

	return (uint32_t)((bytes + CFS_STORE_BLOCK - 1) / CFS_STORE_BLOCK);
}

/* Stream bytes that a journal segment surely holds. */
static inline uint64_t cfs_space_journal_segment_bytes(const struct cfs_super *s)
{
	return (uint64_t)(s->zone_blocks - 2 - cfs_space_roots_blocks_max(s)) * CFS_STORE_BLOCK;
}

#endif
