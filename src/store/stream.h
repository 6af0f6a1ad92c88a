/*
 * Reading the journal's stream back: from journal segments, then, where a tail survived, from its
 * ring. Memory is bounded by one window. Used by recovery only.
 */
#ifndef CFS_STORE_STREAM_H
#define CFS_STORE_STREAM_H

#include "store/store_internal.h"

#define CFS_STREAM_WINDOW_BYTES (1024u * 1024)

/* Where the stream's bytes are. */
struct cfs_stream_map {
	struct cfs_store *store;
	const struct cfs_journal_segment *segments; /* oldest first, each begins where the one
						     * before ends */
	uint32_t count;
	bool has_tail; /* from tail.written on, bytes come from the ring, up to tail.head */
};

struct cfs_stream_reader {
	const struct cfs_stream_map *map;
	uint64_t pos; /* of the next record */
	uint8_t *buf;
	uint64_t base; /* position of buf[0], on a block's border */
	uint32_t used; /* bytes in it */
	bool has_batch;
	uint64_t incarnation, session;
	uint32_t seed;
	uint64_t skipped_from, skipped_to; /* damaged bytes that the last call skipped, or 0, 0 */
};

struct cfs_stream_record {
	uint64_t pos;
	struct cfs_record_header h;
	const uint8_t *bytes; /* the whole record; valid until the next call */
	const uint8_t *payload;
};

/* Begins at @pos, the start of a batch. 0; -ENOMEM. */
int cfs_stream_open(struct cfs_stream_reader *r, const struct cfs_stream_map *map, uint64_t pos);
void cfs_stream_close(struct cfs_stream_reader *r);
/*
 * The next record. 1; 0: the stream ends at r->pos; -EIO: unreadable device; -ENOMEM. Damage that a
 * later batch proves to have been flushed is skipped and reported in skipped_from, skipped_to.
 */
CFS_AWAITS int cfs_stream_next(struct cfs_stream_reader *r, struct cfs_stream_record *out);
/* The stream's last byte that could be there. */
uint64_t cfs_stream_limit(const struct cfs_stream_map *map);
/* Decodes a BATCH at @pos. True when it is one. */
bool cfs_stream_batch_decode(const struct cfs_stream_record *rec, struct cfs_batch_format *out);
/* True when a batch in the tail's ring is of @session: recoveries that were killed each left one
 * there, and any of them may have reached the device. */
bool cfs_stream_ring_has_session(const struct cfs_tail *t, uint64_t session);
/* The session of the last batch that is on the device, tail or not; 0: no batch. 0; negative. */
CFS_AWAITS int cfs_stream_newest_session(const struct cfs_stream_map *map, uint64_t *session);

#endif
