/*
 * Reservations: room in the tail, in the journal and on the device, taken before anything is done.
 * Waiters are served in order, those that free space first; whoever makes room pumps.
 */
#include "base/stock.h"
#include "store/store_internal.h"

/* Bytes that a record takes besides its payload, at most. */
#define RECORD_OVERHEAD \
	(CFS_RECORD_HEADER_BYTES + CFS_RECORD_DEPS_MAX * sizeof(struct cfs_dep_format) + \
	 CFS_RECORD_ALIGN)

static uint64_t record_cost(uint64_t bytes, uint64_t records)
{
	return bytes + records * RECORD_OVERHEAD;
}

/* What BATCH and PAD records may take before the next write-out has made room. */
static uint64_t ring_slack(const struct cfs_store *s)
{
	return (2 + s->tail.ring_bytes / s->journal.batch_bytes_max) *
	       (CFS_STORE_BLOCK + CFS_BATCH_RECORD_BYTES);
}

static enum cfs_stream stream_of(const struct cfs_reservation *r)
{
	return r->stream == CFS_STREAM_JOURNAL ? CFS_STREAM_HOT : r->stream;
}

/* Room for records in ring and journal. 0; -EAGAIN; -ENOSPC. */
static int records_fit(struct cfs_store *s, const struct cfs_reservation *r)
{
	const struct cfs_tail *t = &s->tail;
	const struct cfs_journal *j = &s->journal;
	uint64_t cost = record_cost(s->resv_bytes + r->record_bytes, s->resv_records + r->records) +
			ring_slack(s);
	uint64_t limit = j->budget_bytes + (r->is_freeing ? j->spare_bytes : 0);

	if (r->records == 0)
		return 0;
	if (t->head - t->written + cost > t->ring_bytes)
		return -EAGAIN;
	if (cfs_journal_used_bytes(s) + cost <= limit)
		return 0;
	if (s->is_checkpointer_stuck)
		return -ENOSPC;
	cfs_waitq_wake_all(&s->checkpointer_kick);
	return -EAGAIN;
}

static uint64_t resv_alloc_total(const struct cfs_store *s)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < CFS_STREAM_COUNT; i++)
		n += s->resv_alloc[i];
	return n;
}

/* Blocks to allocate. 0; -EAGAIN; -ENOSPC. */
static int blocks_fit(struct cfs_store *s, const struct cfs_reservation *r)
{
	uint64_t used = s->space.live + s->space.in_flight + resv_alloc_total(s);
	uint32_t needed;

	if (r->alloc_blocks == 0)
		return 0;
	if (!r->is_freeing && used + r->alloc_blocks > s->space.capacity)
		return -ENOSPC;
	needed = cfs_space_zones_needed(s, stream_of(r), r->alloc_blocks);
	if (needed == 0 || needed + (r->is_freeing ? 0 : CFS_FLOOR_ZONES) <= cfs_space_available(s))
		return 0;
	if (s->is_cleaner_stuck || (!s->relocate_fn && s->space.dead_count == 0))
		return -ENOSPC;
	cfs_waitq_wake_all(&s->cleaner_kick);
	return -EAGAIN;
}

/* 0: fits now; -EAGAIN: later; -ENOSPC; -EIO. */
static int fits(struct cfs_store *s, const struct cfs_reservation *r)
{
	int rc = s->failed;

	if (rc == 0 && r->tail_blocks + s->resv_tail > cfs_tail_data_free(&s->tail))
		rc = -EAGAIN;
	if (rc == 0 || rc == -EAGAIN) {
		int one = records_fit(s, r);

		rc = one < 0 ? one : rc;
	}
	if (rc == 0 || rc == -EAGAIN) {
		int one = blocks_fit(s, r);

		rc = one < 0 ? one : rc;
	}
	return rc;
}

static void take(struct cfs_store *s, const struct cfs_reservation *r)
{
	s->resv_bytes += r->record_bytes;
	s->resv_records += r->records;
	s->resv_tail += r->tail_blocks;
	s->resv_alloc[stream_of(r)] += r->alloc_blocks;
}

static bool pump_list(struct cfs_store *s, struct cfs_list *list)
{
	while (!cfs_list_is_empty(list)) {
		struct cfs_waiter *w = cfs_list_first(list, struct cfs_waiter, link);
		int rc = fits(s, &w->need);

		if (rc == -EAGAIN)
			return false;
		if (rc == 0) {
			take(s, &w->need);
			if (w->need.alloc_blocks > 0 && !w->need.is_freeing)
				s->futile = 0;
		}
		cfs_list_remove(&w->link);
		cfs_done_complete(&w->done, rc);
	}
	return true;
}

void cfs_reserve_pump(struct cfs_store *s)
{
	if (pump_list(s, &s->waiting_freeing))
		pump_list(s, &s->waiting);
	if (cfs_list_is_empty(&s->waiting) && cfs_list_is_empty(&s->waiting_freeing))
		return;
	/* Most likely the rings are what is short. */
	if (!s->journal.is_due &&
	    (s->tail.head > s->tail.written || s->tail.data_end > s->tail.data_first)) {
		s->journal.is_due = true;
		cfs_waitq_wake_all(&s->writer_kick);
	}
}

bool cfs_reserve_wants_zones(const struct cfs_store *s)
{
	const struct cfs_list *lists[2] = { &s->waiting_freeing, &s->waiting };

	for (uint32_t i = 0; i < 2; i++) {
		const struct cfs_waiter *w;
		uint32_t needed;

		if (cfs_list_is_empty(lists[i]))
			continue;
		w = cfs_list_first(lists[i], const struct cfs_waiter, link);
		needed = cfs_space_zones_needed(s, stream_of(&w->need), w->need.alloc_blocks);
		if (needed > 0 && needed + (i == 0 ? 0 : CFS_FLOOR_ZONES) > cfs_space_available(s))
			return true;
	}
	return false;
}

/* What is placed is applied at once, and may find no memory for that: the stock is the reservation
 * of it. */
static int with_memory(struct cfs_store *s, const struct cfs_reservation *r)
{
	int rc = cfs_stock_fill();

	if (rc < 0)
		cfs_store_unreserve(s, r);
	return rc;
}

CFS_AWAITS int cfs_store_reserve(struct cfs_store *s, const struct cfs_reservation *r)
{
	struct cfs_list *list = r->is_freeing ? &s->waiting_freeing : &s->waiting;
	struct cfs_waiter w;
	int rc;

	cfs_assert(s->is_ready);
	cfs_assert(r->stream < CFS_STREAM_COUNT);
	if (record_cost(r->record_bytes, r->records) + ring_slack(s) > s->tail.ring_bytes ||
	    r->tail_blocks > s->tail.data_blocks)
		return -EINVAL;
	rc = cfs_list_is_empty(list) ? fits(s, r) : -EAGAIN;
	if (rc == 0) {
		take(s, r);
		return with_memory(s, r);
	}
	if (rc != -EAGAIN)
		return rc;
	w.need = *r;
	cfs_done_init(&w.done);
	cfs_list_append(list, &w.link);
	cfs_reserve_pump(s);
	rc = cfs_done_wait(&w.done);
	if (w.done.is_done) {
		if (rc < 0 && w.done.rc == 0)
			cfs_store_unreserve(s, r); /* granted, but we were cancelled */
		return rc < 0 ? rc : with_memory(s, r);
	}
	cfs_list_remove(&w.link);
	cfs_reserve_pump(s);
	return rc;
}

void cfs_store_unreserve(struct cfs_store *s, const struct cfs_reservation *r)
{
	cfs_assert(s->resv_bytes >= r->record_bytes);
	cfs_assert(s->resv_records >= r->records);
	cfs_assert(s->resv_tail >= r->tail_blocks);
	cfs_assert(s->resv_alloc[stream_of(r)] >= r->alloc_blocks);
	s->resv_bytes -= r->record_bytes;
	s->resv_records -= r->records;
	s->resv_tail -= r->tail_blocks;
	s->resv_alloc[stream_of(r)] -= r->alloc_blocks;
	cfs_reserve_pump(s);
}
