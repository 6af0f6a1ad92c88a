/*
 * The stream ends at the first record that is not whole, unless a later batch says that what is
 * there was flushed: then it is damage, and reading goes on at that batch.
 */
#include "store/stream.h"

#define WINDOW CFS_STREAM_WINDOW_BYTES

static_assert(CFS_RECORD_TOTAL_MAX + 2 * CFS_STORE_BLOCK < WINDOW, "a record fits the window");

uint64_t cfs_stream_limit(const struct cfs_stream_map *map)
{
	if (map->has_tail)
		return map->store->tail.head;
	return cfs_journal_segment_end(map->store, &map->segments[map->count - 1]);
}

int cfs_stream_open(struct cfs_stream_reader *r, const struct cfs_stream_map *map, uint64_t pos)
{
	memset(r, 0, sizeof(*r));
	r->map = map;
	r->pos = pos;
	r->base = cfs_round_down(pos, CFS_STORE_BLOCK);
	r->buf = aligned_alloc(CFS_STORE_BLOCK, WINDOW);
	return r->buf ? 0 : -ENOMEM;
}

void cfs_stream_close(struct cfs_stream_reader *r)
{
	free(r->buf);
	r->buf = NULL;
}

/* Reads up to @len bytes at @pos, both whole blocks, from where they are. Returns bytes; 0: the
 * end. */
static CFS_AWAITS int64_t map_read(const struct cfs_stream_map *map, uint64_t pos, uint8_t *out,
				   uint32_t len)
{
	struct cfs_store *s = map->store;
	uint64_t from = map->has_tail ? s->tail.written : UINT64_MAX;
	const struct cfs_journal_segment *seg;
	uint64_t end;
	uint32_t i = map->count, n;
	int rc;

	if (pos >= from) {
		if (pos >= s->tail.head)
			return 0;
		n = (uint32_t)CFS_MIN((uint64_t)len, s->tail.head - pos);
		cfs_tail_get(&s->tail, pos, out, n);
		/* Whole blocks for the caller; what is past the head decodes to nothing. */
		memset(out + n, 0, (size_t)cfs_round_up(n, CFS_STORE_BLOCK) - n);
		return (int64_t)cfs_round_up(n, CFS_STORE_BLOCK);
	}
	while (i > 0 && map->segments[i - 1].start_pos > pos)
		i--;
	if (i == 0)
		return 0;
	seg = &map->segments[i - 1];
	end = cfs_journal_segment_end(s, seg);
	if (i < map->count)
		end = CFS_MIN(end, map->segments[i].start_pos);
	end = CFS_MIN(end, from);
	if (pos >= end)
		return 0;
	n = (uint32_t)CFS_MIN((uint64_t)len, end - pos);
	rc = cfs_device_read(s->dev,
			     cfs_device_off(s->dev, s->slice,
					    (cfs_addr_t)seg->zone << 32 | (1 + seg->roots_blocks)) +
				     (pos - seg->start_pos),
			     out, n);
	return rc < 0 ? rc : (int64_t)n;
}

/* Brings @need bytes from r->pos into the window. Returns how many are there, at most; or negative.
 */
static CFS_AWAITS int64_t fill(struct cfs_stream_reader *r, uint32_t need)
{
	uint64_t have = r->base + r->used > r->pos ? r->base + r->used - r->pos : 0;
	uint64_t base = cfs_round_down(r->pos, CFS_STORE_BLOCK);

	if (have >= need)
		return (int64_t)have;
	if (base >= r->base && base < r->base + r->used) {
		r->used -= (uint32_t)(base - r->base);
		memmove(r->buf, r->buf + (base - r->base), r->used);
	} else {
		r->used = 0;
	}
	r->base = base;
	while (r->used < WINDOW) {
		int64_t n = map_read(r->map, r->base + r->used, r->buf + r->used, WINDOW - r->used);

		if (n < 0 && r->base + r->used > r->pos + need)
			break; /* what is asked for is there */
		if (n < 0)
			return n;
		if (n == 0)
			break;
		r->used += (uint32_t)n;
		if (r->base + r->used >= r->pos + need && n < CFS_STREAM_WINDOW_BYTES / 4)
			break;
	}
	return r->base + r->used > r->pos ? (int64_t)(r->base + r->used - r->pos) : 0;
}

bool cfs_stream_batch_decode(const struct cfs_stream_record *rec, struct cfs_batch_format *out)
{
	if (!(rec->h.flags & CFS_RECORD_FLAG_OWN) || rec->h.kind != CFS_STORE_RECORD_BATCH ||
	    rec->h.len_bytes != sizeof(*out))
		return false;
	memcpy(out, rec->payload, sizeof(*out));
	return rec->pos % CFS_STORE_BLOCK == 0 && cfs_from_le64(out->pos) == rec->pos &&
	       cfs_from_le64(out->flushed_pos) <= rec->pos &&
	       cfs_from_le64(out->stable_pos) <= rec->pos;
}

/* A BATCH in memory at @bytes, which is stream position @pos. */
static bool batch_at(const uint8_t *bytes, uint64_t pos, struct cfs_batch_format *out)
{
	struct cfs_stream_record rec = { .pos = pos,
					 .bytes = bytes,
					 .payload = bytes + CFS_RECORD_HEADER_BYTES };

	return cfs_record_header_decode(bytes, &rec.h) == 0 &&
	       rec.h.total_bytes <= CFS_STORE_BLOCK && cfs_stream_batch_decode(&rec, out) &&
	       cfs_record_crc(bytes, &rec.h, 0) == rec.h.crc;
}

static bool batch_follows(const struct cfs_stream_reader *r, const struct cfs_batch_format *b)
{
	return !r->has_batch || cfs_from_le64(b->session) == r->session ||
	       cfs_from_le64(b->session_before) == r->session;
}

/* What record_decode() says. */
enum { RECORD_BAD, RECORD_GOOD, RECORD_SKIP };

static CFS_AWAITS int64_t record_decode(struct cfs_stream_reader *r, struct cfs_stream_record *out)
{
	uint32_t gap = CFS_STORE_BLOCK - (uint32_t)(r->pos % CFS_STORE_BLOCK);
	struct cfs_batch_format b;
	const uint8_t *p;
	int64_t n;

	if (r->map->has_tail && r->pos >= r->map->store->tail.head)
		return RECORD_BAD;
	n = fill(r, CFS_RECORD_HEADER_BYTES);
	if (n < 0)
		return n;
	p = r->buf + (r->pos - r->base);
	if (gap < CFS_RECORD_HEADER_BYTES && n >= gap && p[0] == 0) {
		for (uint32_t i = 0; i < gap; i++) {
			if (p[i])
				return RECORD_BAD;
		}
		r->pos += gap;
		return RECORD_SKIP;
	}
	if (n < CFS_RECORD_HEADER_BYTES || cfs_record_header_decode(p, &out->h) < 0)
		return RECORD_BAD;
	n = fill(r, out->h.total_bytes);
	if (n < 0)
		return n;
	if (n < out->h.total_bytes)
		return RECORD_BAD;
	p = r->buf + (r->pos - r->base);
	out->pos = r->pos;
	out->bytes = p;
	out->payload = p + CFS_RECORD_HEADER_BYTES +
		       out->h.dep_count * sizeof(struct cfs_dep_format);
	if (cfs_record_crc(p, &out->h, r->seed) != out->h.crc)
		return RECORD_BAD;
	if ((out->h.flags & CFS_RECORD_FLAG_OWN) && out->h.kind == CFS_STORE_RECORD_BATCH) {
		if (!cfs_stream_batch_decode(out, &b) || !batch_follows(r, &b))
			return RECORD_BAD;
		r->incarnation = cfs_from_le64(b.incarnation);
		r->session = cfs_from_le64(b.session);
		r->seed = cfs_record_seed(r->session);
		r->has_batch = true;
	} else if (!r->has_batch) {
		return RECORD_BAD;
	}
	return RECORD_GOOD;
}

/* The next batch after @pos that may follow. With a tail all of the stream was placed, so any does;
 * else it must say that @pos was flushed. 1: found, r->pos is there; 0: none; negative. */
static CFS_AWAITS int find_batch(struct cfs_stream_reader *r, uint64_t pos)
{
	uint64_t at = cfs_round_down(pos, CFS_STORE_BLOCK) + CFS_STORE_BLOCK;
	uint64_t limit = cfs_stream_limit(r->map);
	struct cfs_batch_format b;
	uint64_t old = r->pos;

	for (; at < limit; at += CFS_STORE_BLOCK) {
		int64_t n;

		r->pos = at;
		n = fill(r, CFS_BATCH_RECORD_BYTES);
		if (n == -EIO)
			continue; /* unreadable: perhaps what is behind is not */
		if (n < 0)
			return (int)n;
		if (n < CFS_BATCH_RECORD_BYTES)
			continue; /* the unused end of a segment */
		if (batch_at(r->buf + (at - r->base), at, &b) &&
		    cfs_from_le64(b.incarnation) >= r->incarnation &&
		    (r->map->has_tail || cfs_from_le64(b.flushed_pos) > pos))
			return 1;
	}
	r->pos = old;
	return 0;
}

CFS_AWAITS int cfs_stream_next(struct cfs_stream_reader *r, struct cfs_stream_record *out)
{
	uint64_t bad;
	int64_t rc;

	r->skipped_from = r->skipped_to = 0;
	do {
		rc = record_decode(r, out);
	} while (rc == RECORD_SKIP);
	if (rc == RECORD_GOOD) {
		r->pos += out->h.total_bytes;
		return 1;
	}
	if (rc < 0 && rc != -EIO)
		return (int)rc;
	if (r->map->has_tail && r->pos >= r->map->store->tail.head)
		return 0;
	bad = r->pos;
	rc = find_batch(r, bad);
	if (rc <= 0)
		return (int)rc;
	r->skipped_from = bad;
	r->skipped_to = r->pos;
	r->has_batch = false; /* sessions may have been skipped */
	rc = record_decode(r, out);
	if (rc != RECORD_GOOD)
		return rc < 0 ? (int)rc : 0;
	r->pos += out->h.total_bytes;
	return 1;
}

bool cfs_stream_ring_has_session(const struct cfs_tail *t, uint64_t session)
{
	uint8_t bytes[CFS_BATCH_RECORD_BYTES];
	struct cfs_batch_format b;

	for (uint64_t pos = t->written; pos + sizeof(bytes) <= t->head; pos += CFS_STORE_BLOCK) {
		cfs_tail_get(t, pos, bytes, sizeof(bytes));
		if (batch_at(bytes, pos, &b) && cfs_from_le64(b.session) == session)
			return true;
	}
	return false;
}

CFS_AWAITS int cfs_stream_newest_session(const struct cfs_stream_map *map, uint64_t *session)
{
	struct cfs_stream_map device = *map;
	struct cfs_stream_reader r;
	struct cfs_stream_record rec;
	int rc = 0;

	device.has_tail = false;
	*session = 0;
	/* The last segment may be open and still without a batch. */
	for (uint32_t i = map->count; i-- > 0 && rc == 0 && *session == 0;) {
		rc = cfs_stream_open(&r, &device, map->segments[i].start_pos);
		if (rc < 0)
			return rc;
		do {
			rc = cfs_stream_next(&r, &rec);
		} while (rc == 1);
		if (r.has_batch)
			*session = r.session;
		cfs_stream_close(&r);
	}
	return rc;
}
