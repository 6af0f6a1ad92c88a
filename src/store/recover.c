/*
 * Recovery, first half: scan. Nothing is written.
 *
 * Headers of all zones give the journal's segments; the newest has the roots. The stream is read
 * for what is in it: checkpoints, cuts, each shard's last record. Checkpoints that counted since
 * the roots were written make it be read again, from where the last of them needs it: what is
 * before may have been let go and written over since, in part, so it says nothing. Then the part
 * behind what is known to be stable or flushed is read again: deps are handed out, and without a
 * tail the data that these records name is verified; a shard's log ends before the first record
 * whose data is not there.
 */
#include "store/recover.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define HEADERS_AT_ONCE 16u
#define REFS_MAX 4096u
#define VERIFY_BLOCKS 256u

void cfs_recover_say(struct cfs_recovery *r, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	if (!r->ops || !r->ops->finding)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	r->ops->finding(r->ops->ctx, what);
}

void cfs_recovery_destroy(struct cfs_recovery *r)
{
	if (!r)
		return;
	free(r->found);
	free(r->chain);
	free(r->bitmap);
	free(r->shards);
	free(r->cuts);
	free(r->known_shards);
	free(r);
}

/* ---- segment headers ---- */

/* Reads block @block of @n zones from @first on. What cannot be read is zeros. */
static CFS_AWAITS void headers_fetch(struct cfs_store *s, struct cfs_store_io *ios, uint8_t *blocks,
				     uint32_t first, uint32_t n, uint32_t block)
{
	struct cfs_dev_batch batch;

	cfs_dev_batch_init(&batch);
	for (uint32_t i = 0; i < n; i++) {
		struct cfs_store_io *io = &ios[i];

		io->iov[0] = (struct iovec){ blocks + (size_t)i * CFS_STORE_BLOCK,
					     CFS_STORE_BLOCK };
		io->dev = (struct cfs_dev_io){
			.op = CFS_DEV_READ,
			.off_bytes = cfs_device_off(s->dev, s->slice,
						    (cfs_addr_t)(first + i) << 32 | block),
			.iov = io->iov,
			.iov_count = 1,
			.len_bytes = CFS_STORE_BLOCK,
		};
		cfs_dev_batch_add(&batch, s->dev, &io->dev);
	}
	if (cfs_dev_batch_wait(&batch, 0) == 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (ios[i].dev.rc < 0)
			memset(blocks + (size_t)i * CFS_STORE_BLOCK, 0xff, CFS_STORE_BLOCK);
	}
}

static bool is_never_written(const uint8_t *block)
{
	for (uint32_t i = 0; i < CFS_STORE_BLOCK; i++) {
		if (block[i])
			return false;
	}
	return true;
}

/* A header that is not good, in a zone that was written: a journal segment has another at its end.
 */
static CFS_AWAITS int header_from_copy(struct cfs_store *s, struct cfs_store_io *ios,
				       uint8_t *block, uint32_t zone, struct cfs_found_segment *f)
{
	headers_fetch(s, ios, block, zone, 1, s->info.zone_blocks - 1);
	if (cfs_segment_decode(block, &s->dev->super, s->slice, zone, &f->h) < 0 ||
	    f->h.stream != CFS_STREAM_JOURNAL)
		return 0;
	f->is_good = f->is_doubtful = true;
	return 0;
}

static CFS_AWAITS int headers_read(struct cfs_store *s, struct cfs_recovery *r)
{
	CFS_CLEANUP(cfs_free_p) struct cfs_store_io *ios = calloc(HEADERS_AT_ONCE, sizeof(*ios));
	CFS_CLEANUP(cfs_free_p)
	uint8_t *blocks = aligned_alloc(CFS_STORE_BLOCK, (size_t)HEADERS_AT_ONCE * CFS_STORE_BLOCK);
	int rc = ios && blocks ? 0 : -ENOMEM;

	for (uint32_t z = 0; z < s->info.zones && rc == 0; z += HEADERS_AT_ONCE) {
		uint32_t n = CFS_MIN(HEADERS_AT_ONCE, s->info.zones - z);

		headers_fetch(s, ios, blocks, z, n, 0);
		for (uint32_t i = 0; i < n && rc == 0; i++) {
			uint8_t *block = blocks + (size_t)i * CFS_STORE_BLOCK;
			struct cfs_found_segment *f = &r->found[z + i];

			f->is_good = cfs_segment_decode(block, &s->dev->super, s->slice, z + i,
							&f->h) == 0;
			if (!f->is_good && !is_never_written(block))
				rc = header_from_copy(s, ios, block, z + i, f);
		}
	}
	return rc;
}

/* The journal segment with the highest number below @below. */
static uint32_t newest_journal(const struct cfs_store *s, const struct cfs_recovery *r,
			       uint64_t below)
{
	uint32_t best = CFS_NO_ZONE;

	for (uint32_t z = 0; z < s->info.zones; z++) {
		const struct cfs_found_segment *f = &r->found[z];

		if (!f->is_good || f->h.stream != CFS_STREAM_JOURNAL || f->h.seq >= below)
			continue;
		if (best == CFS_NO_ZONE || f->h.seq > r->found[best].h.seq)
			best = z;
	}
	return best;
}

/* Reads roots and bitmap of the segment in @zone. */
static CFS_AWAITS int roots_read(struct cfs_store *s, struct cfs_recovery *r, uint32_t zone)
{
	const struct cfs_segment_header *h = &r->found[zone].h;
	size_t bytes = (size_t)h->roots_blocks * CFS_STORE_BLOCK;
	CFS_CLEANUP(cfs_free_p)
	uint8_t *buf = aligned_alloc(CFS_STORE_BLOCK, CFS_MAX(bytes, 4096u));
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	for (uint32_t b = 0; b < h->roots_blocks && rc == 0; b += VERIFY_BLOCKS)
		rc = cfs_store_data_read(s, (cfs_addr_t)zone << 32 | (1 + b),
					 buf + (size_t)b * CFS_STORE_BLOCK,
					 CFS_MIN(VERIFY_BLOCKS, h->roots_blocks - b), NULL);
	if (rc < 0)
		return rc;
	if (cfs_crc32c(0, buf, bytes) != h->roots_crc)
		return -CFS_EBAD_CHECKSUM;
	/* A shard without a root needed nothing when the segment was opened. */
	for (uint32_t i = 0; i < s->info.shards; i++)
		r->shards[i].base = (struct cfs_root){ .shard = i, .replay_pos = h->start_pos };
	for (uint32_t i = 0; i < h->root_count; i++) {
		struct cfs_root root;

		rc = cfs_root_decode(buf + (size_t)i * sizeof(struct cfs_root_format),
				     &s->dev->super, &root);
		if (rc < 0)
			return rc;
		r->shards[root.shard].has_base = true;
		r->shards[root.shard].base = root;
	}
	memcpy(r->bitmap, buf + h->bitmap_off, (s->info.zones + 7) / 8);
	return 0;
}

/* Segments from @newest back to @oldest, as far as they are there. */
static int chain_build(struct cfs_store *s, struct cfs_recovery *r, uint32_t newest,
		       uint64_t oldest)
{
	uint32_t zone = newest;

	r->chain = calloc(s->info.zones, sizeof(*r->chain));
	if (!r->chain)
		return -ENOMEM;
	while (true) {
		const struct cfs_segment_header *h = &r->found[zone].h;
		struct cfs_journal_segment *seg = &r->chain[r->chain_count++];
		uint32_t prev;

		*seg = (struct cfs_journal_segment){ .zone = zone,
						     .roots_blocks = h->roots_blocks,
						     .seq = h->seq,
						     .start_pos = h->start_pos };
		if (h->prev_seq == 0 || h->start_pos <= oldest)
			break;
		prev = newest_journal(s, r, h->prev_seq + 1);
		if (prev == CFS_NO_ZONE || r->found[prev].h.seq != h->prev_seq ||
		    r->found[prev].h.start_pos > h->start_pos)
			break; /* gone: nobody needed it, or it is damaged and somebody will miss it
				*/
		zone = prev;
	}
	for (uint32_t i = 0; i < r->chain_count / 2; i++) {
		struct cfs_journal_segment t = r->chain[i];

		r->chain[i] = r->chain[r->chain_count - 1 - i];
		r->chain[r->chain_count - 1 - i] = t;
	}
	return 0;
}

/*
 * The newest segment, and the newest whose roots are good. Roots that are not were not finished
 * when the power went, or are damaged; those before them serve as well, since what they name is
 * kept until newer ones are flushed.
 */
static CFS_AWAITS int journal_find(struct cfs_store *s, struct cfs_recovery *r)
{
	uint32_t newest = newest_journal(s, r, UINT64_MAX), zone = newest;
	int rc = -CFS_EBAD_FORMAT;

	while (zone != CFS_NO_ZONE) {
		rc = roots_read(s, r, zone);
		if (rc == 0 || rc == -ENOMEM)
			break;
		for (uint32_t i = 0; i < s->info.shards; i++)
			r->shards[i].has_base = false;
		r->found[zone].is_doubtful = true;
		r->found[zone].has_no_roots = true;
		zone = newest_journal(s, r, r->found[zone].h.seq);
	}
	if (zone == CFS_NO_ZONE) {
		cfs_recover_say(r, "no journal segment found");
		return -CFS_EBAD_FORMAT;
	}
	if (rc < 0)
		return rc;
	r->roots_seq = r->found[zone].h.seq;
	r->roots_pos = r->found[zone].h.start_pos;
	r->known = r->found[newest].h.flushed_pos;
	return chain_build(s, r, newest, r->found[zone].h.oldest_pos);
}

/* ---- the stream, first time ---- */

/*
 * Before what the shard's base needs. Segments there may have been let go since the base counted,
 * and be written over in part while their headers still are the old ones: records, cuts and
 * checkpoints that are found there may have gaps, and say nothing.
 */
static bool is_before_base(const struct cfs_found_shard *fs, uint64_t pos)
{
	return pos < fs->base.replay_pos;
}

bool cfs_recover_is_void(const struct cfs_recovery *r, uint32_t shard, uint64_t pos, uint64_t index)
{
	const struct cfs_found_shard *fs = &r->shards[shard];
	const struct cfs_found_cut *cuts = r->cuts;

	/* What is before the base is in it, or was cut off before it: those cuts are not looked at
	 * any more, and their indices have been used again. */
	if (index > fs->last_index || (fs->has_ended && pos >= fs->gap_pos) ||
	    is_before_base(fs, pos))
		return true;
	for (uint32_t c = cuts ? fs->cuts : UINT32_MAX; c != UINT32_MAX && cuts[c].pos > pos;
	     c = cuts[c].next) {
		if (index > cuts[c].last_index || pos >= cuts[c].void_from)
			return true;
	}
	return false;
}

const struct cfs_root *cfs_recover_root(const struct cfs_found_shard *fs)
{
	const struct cfs_root *newest = fs->candidate_count > 0
						? &fs->candidates[fs->candidate_count - 1]
						: NULL;

	if (newest && !fs->has_lost && newest->end_index <= fs->last_index)
		return newest;
	return fs->base.index_blocks ? &fs->base : NULL;
}

uint64_t cfs_recover_written(const struct cfs_store *s, const struct cfs_recovery *r)
{
	return r->had_tail ? s->tail.written : cfs_round_down(r->end_pos, CFS_STORE_BLOCK);
}

int cfs_recover_record(const struct cfs_stream_record *rec, struct cfs_record_dep *deps,
		       struct cfs_record *out)
{
	*out = (struct cfs_record){ .shard = rec->h.shard,
				    .kind = rec->h.kind,
				    .dep_count = rec->h.dep_count,
				    .epoch = rec->h.epoch,
				    .index = rec->h.index,
				    .deps = deps,
				    .payload = rec->payload,
				    .len_bytes = rec->h.len_bytes };
	return cfs_record_deps_decode(rec->bytes, rec->h.dep_count, deps);
}

static void candidate_add(struct cfs_recovery *r, struct cfs_store *s,
			  const struct cfs_stream_record *rec)
{
	struct cfs_found_shard *fs;
	struct cfs_root root;

	if (rec->h.len_bytes != sizeof(struct cfs_root_format) ||
	    cfs_root_decode(rec->payload, &s->dev->super, &root) < 0 ||
	    root.shard != rec->h.shard || root.record_pos != rec->pos || root.index_blocks == 0) {
		cfs_recover_say(r, "journal at %" PRIu64 ": a checkpoint's record is nonsense",
				rec->pos);
		return;
	}
	fs = &r->shards[root.shard];
	if (is_before_base(fs, rec->pos) || fs->base.record_pos >= root.record_pos)
		return; /* the base itself, or one before it */
	if (fs->candidate_count == CFS_RECOVER_CANDIDATES) {
		memmove(fs->candidates, fs->candidates + 1,
			(CFS_RECOVER_CANDIDATES - 1) * sizeof(fs->candidates[0]));
		fs->candidate_count--;
	}
	fs->candidates[fs->candidate_count++] = root;
}

static int cut_add(struct cfs_recovery *r, struct cfs_store *s, const struct cfs_stream_record *rec)
{
	const struct cfs_cut_format *f = (const void *)rec->payload;
	struct cfs_found_shard *fs;
	uint64_t last = 0;

	if (rec->h.len_bytes != sizeof(*f) || rec->h.shard >= s->info.shards) {
		cfs_recover_say(r, "journal at %" PRIu64 ": a cut is nonsense", rec->pos);
		return 0;
	}
	if (is_before_base(&r->shards[rec->h.shard], rec->pos))
		return 0;
	if (r->cut_count == r->cut_cap) {
		uint32_t cap = r->cut_cap ? r->cut_cap * 2 : 16;
		void *p = realloc(r->cuts, cap * sizeof(*r->cuts));

		if (!p)
			return -ENOMEM;
		r->cuts = p;
		r->cut_cap = cap;
	}
	fs = &r->shards[rec->h.shard];
	last = cfs_from_le64(f->last_index);
	r->cuts[r->cut_count] = (struct cfs_found_cut){ .pos = rec->pos,
							.last_index = last,
							.last_epoch = cfs_from_le64(f->last_epoch),
							.void_from = UINT64_MAX,
							.next = fs->cuts };
	fs->cuts = r->cut_count++;
	/* Who placed it knew no more to be stable than its batch says. */
	while (fs->candidate_count > 0 &&
	       fs->candidates[fs->candidate_count - 1].record_pos >= r->stable)
		fs->candidate_count--;
	if (fs->has_ended && fs->last_index >= last) {
		/* Else what it lacks is before this cut. */
		r->cuts[fs->cuts].void_from = fs->gap_pos;
		fs->has_ended = false;
	}
	if (!fs->is_seen || fs->last_index > last) {
		fs->last_index = last;
		fs->last_epoch = cfs_from_le64(f->last_epoch);
	}
	if (fs->first_index > last)
		fs->is_seen = false; /* all that was seen is void */
	return 0;
}

static void own_record(struct cfs_recovery *r, struct cfs_store *s,
		       const struct cfs_stream_record *rec, int *rc)
{
	struct cfs_batch_format b;

	switch (rec->h.kind) {
	case CFS_STORE_RECORD_BATCH:
		if (!cfs_stream_batch_decode(rec, &b))
			break;
		r->known = CFS_MAX(r->known, cfs_from_le64(b.flushed_pos));
		r->stable = CFS_MAX(r->stable, cfs_from_le64(b.stable_pos));
		if (r->had_tail && rec->pos >= s->tail.written)
			cfs_journal_batch_push(&s->journal, rec->pos);
		break;
	case CFS_STORE_RECORD_CHECKPOINT:
		candidate_add(r, s, rec);
		break;
	case CFS_STORE_RECORD_CUT:
		*rc = cut_add(r, s, rec);
		break;
	default: /* PAD; kinds of a later version are in a later version's store */
		break;
	}
}

static void shard_record(struct cfs_recovery *r, struct cfs_store *s,
			 const struct cfs_stream_record *rec)
{
	struct cfs_found_shard *fs;

	if (rec->h.shard >= s->info.shards) {
		cfs_recover_say(r,
				"journal at %" PRIu64 ": a record of shard %u, which is not here",
				rec->pos, rec->h.shard);
		return;
	}
	fs = &r->shards[rec->h.shard];
	if (is_before_base(fs, rec->pos))
		return;
	if (fs->is_seen || fs->cuts != UINT32_MAX) {
		if (fs->has_ended)
			return;
		if (rec->h.index != fs->last_index + 1) {
			/* What lies between is damaged, or the power went before it was written. */
			fs->gap_pos = rec->pos;
			fs->has_ended = fs->has_lost = true;
			return;
		}
	}
	if (!fs->is_seen)
		fs->first_index = rec->h.index;
	fs->is_seen = true;
	fs->last_index = rec->h.index;
	fs->last_epoch = rec->h.epoch;
}

static void damage_add(struct cfs_recovery *r, const struct cfs_stream_reader *st)
{
	if (r->damage_count == CFS_RECOVER_DAMAGES)
		r->damage_count--; /* the last one stands for all that follow */
	else
		r->damages[r->damage_count].from = st->skipped_from;
	r->damages[r->damage_count++].to = st->skipped_to;
}

/* What is damaged, but for what nobody needs any more: it may have been written over. */
static void damages_say(struct cfs_recovery *r)
{
	uint64_t needed = r->chain[r->chain_count - 1].start_pos;

	for (uint32_t i = 0; i < r->known_count; i++) {
		const struct cfs_found_shard *fs = &r->shards[r->known_shards[i]];

		if (fs->is_seen || fs->has_lost)
			needed = CFS_MIN(needed, fs->base.replay_pos);
	}
	for (uint32_t i = 0; i < r->damage_count; i++)
		if (r->damages[i].to > needed)
			cfs_recover_say(r, "journal: bytes %" PRIu64 " to %" PRIu64 " are damaged",
					r->damages[i].from, r->damages[i].to);
}

static CFS_AWAITS int stream_scan(struct cfs_store *s, struct cfs_recovery *r)
{
	struct cfs_stream_reader st;
	struct cfs_stream_record rec;
	int rc = cfs_stream_open(&st, &r->map, r->start_pos);

	s->journal.batch_count = r->cut_count = r->damage_count = 0;
	r->stable = 0;
	for (uint32_t i = 0; i < s->info.shards; i++) {
		const struct cfs_found_shard *fs = &r->shards[i];

		r->shards[i] = (struct cfs_found_shard){ .has_base = fs->has_base,
							 .is_base_new = fs->is_base_new,
							 .base = fs->base,
							 .cuts = UINT32_MAX };
	}
	if (rc < 0)
		return rc;
	while ((rc = cfs_stream_next(&st, &rec)) == 1) {
		if (st.skipped_to > st.skipped_from)
			damage_add(r, &st);
		rc = 0;
		if (rec.h.flags & CFS_RECORD_FLAG_OWN)
			own_record(r, s, &rec, &rc);
		else
			shard_record(r, s, &rec);
		if (rc < 0)
			break;
	}
	r->end_pos = st.pos;
	r->incarnation = st.incarnation;
	r->session = st.session;
	cfs_stream_close(&st);
	return rc;
}

/*
 * Makes each shard's newest checkpoint that has counted its base. One may have counted if a BATCH
 * says that its record is stable, and none has else. True when there is any newer than the roots.
 */
static bool bases_take(const struct cfs_store *s, struct cfs_recovery *r)
{
	bool any = false;

	for (uint32_t i = 0; i < s->info.shards; i++) {
		struct cfs_found_shard *fs = &r->shards[i];
		uint32_t n = fs->candidate_count;

		while (n > 0 && fs->candidates[n - 1].record_pos >= r->stable)
			n--;
		if (n == 0)
			continue;
		fs->base = fs->candidates[n - 1];
		fs->has_base = fs->is_base_new = any = true;
	}
	return any;
}

/* To the segment before which no base needs anything: those before it may have been let go. */
static void start_advance(const struct cfs_store *s, struct cfs_recovery *r)
{
	uint64_t oldest = UINT64_MAX;
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->info.shards; i++)
		oldest = CFS_MIN(oldest, r->shards[i].base.replay_pos);
	while (n + 1 < r->chain_count && r->chain[n + 1].start_pos <= oldest)
		n++;
	r->start_pos = r->chain[n].start_pos;
}

/* ---- the stream, once more: deps and data ---- */

struct verifier {
	struct cfs_store *s;
	struct cfs_recovery *r;
	struct cfs_block_ref *refs;
	uint8_t *buf;
	bool is_data;
};

/* 0: all blocks that @rec names are there; -CFS_EBAD_CHECKSUM, -CFS_EBAD_FORMAT: not. */
static CFS_AWAITS int verify_record(struct verifier *v, const struct cfs_record *rec)
{
	int n = v->r->ops->refs(v->r->ops->ctx, rec, v->refs, REFS_MAX);

	if (n < 0)
		return -CFS_EBAD_FORMAT;
	for (int i = 0; i < n; i++) {
		const struct cfs_block_ref *ref = &v->refs[i];

		if (!cfs_addr_is_valid(&v->s->dev->super, ref->addr, ref->blocks))
			return -CFS_EBAD_FORMAT;
		for (uint32_t b = 0; b < ref->blocks; b += VERIFY_BLOCKS) {
			uint32_t k = CFS_MIN(VERIFY_BLOCKS, ref->blocks - b);
			int rc = cfs_store_data_read(v->s, ref->addr + b, v->buf, k, ref->crcs + b);

			if (rc < 0)
				return -CFS_EBAD_CHECKSUM;
		}
	}
	return 0;
}

static CFS_AWAITS void check_record(struct verifier *v, const struct cfs_stream_record *rec)
{
	struct cfs_recovery *r = v->r;
	struct cfs_record_dep deps[CFS_RECORD_DEPS_MAX];
	struct cfs_found_shard *fs;
	struct cfs_record out;
	int rc;

	if ((rec->h.flags & CFS_RECORD_FLAG_OWN) || rec->h.shard >= v->s->info.shards)
		return;
	fs = &r->shards[rec->h.shard];
	if (cfs_recover_is_void(r, rec->h.shard, rec->pos, rec->h.index))
		return;
	rc = cfs_recover_record(rec, deps, &out);
	if (rc == 0 && v->is_data && rec->pos >= r->known && r->ops->refs)
		rc = verify_record(v, &out);
	if (rc < 0) {
		fs->last_index = rec->h.index - 1;
		fs->has_lost = true;
		return;
	}
	if (out.dep_count > 0 && rec->pos >= r->stable && r->ops->dep)
		r->ops->dep(r->ops->ctx, &out);
}

static CFS_AWAITS int stream_verify(struct cfs_store *s, struct cfs_recovery *r)
{
	CFS_CLEANUP(cfs_free_p) struct cfs_block_ref *refs = calloc(REFS_MAX, sizeof(*refs));
	CFS_CLEANUP(cfs_free_p)
	uint8_t *buf = aligned_alloc(CFS_STORE_BLOCK, (size_t)VERIFY_BLOCKS * CFS_STORE_BLOCK);
	struct verifier v = { .s = s, .r = r, .refs = refs, .buf = buf, .is_data = !r->had_tail };
	uint64_t from = v.is_data ? CFS_MIN(r->known, r->stable) : r->stable;
	struct cfs_stream_reader st;
	struct cfs_stream_record rec;
	int rc;

	if (!refs || !buf)
		return -ENOMEM;
	from = CFS_MAX(from, r->start_pos);
	if (from >= r->end_pos)
		return 0;
	rc = cfs_stream_open(&st, &r->map, from);
	if (rc < 0)
		return rc;
	while ((rc = cfs_stream_next(&st, &rec)) == 1)
		check_record(&v, &rec);
	cfs_stream_close(&st);
	return rc;
}

/* ---- scan ---- */

static CFS_AWAITS int tail_judge(struct cfs_store *s, struct cfs_recovery *r)
{
	int rc;

	if (!s->tail.f)
		return 0;
	rc = cfs_stream_newest_session(&r->map, &r->device_session);
	if (rc < 0)
		return rc;
	r->had_tail = (cfs_tail_is_of_session(&s->tail, r->device_session) ||
		       cfs_stream_ring_has_session(&s->tail, r->device_session)) &&
		      s->tail.written >= r->start_pos &&
		      s->tail.written <= cfs_stream_limit(&r->map);
	r->map.has_tail = r->had_tail;
	if (!r->had_tail)
		cfs_tail_close(&s->tail, s->dev, s->slice, s->opts.is_read_only);
	return 0;
}

/* A log that begins with a hole cannot be replayed; one that ends before its checkpoint has that.
 */
static void shard_settle(struct cfs_recovery *r, uint32_t shard)
{
	struct cfs_found_shard *fs = &r->shards[shard];
	uint64_t begin = fs->base.begin_index;

	if (!fs->is_seen && fs->cuts == UINT32_MAX)
		fs->last_index = fs->base.end_index;
	if (fs->has_ended && (r->had_tail || fs->gap_pos < r->known))
		cfs_recover_say(r,
				"shard %u: its log ends at record %" PRIu64
				"; what follows in the journal is damaged",
				shard, fs->last_index);
	if (fs->last_index < begin ||
	    (fs->last_index > begin && (!fs->is_seen || fs->first_index > begin + 1))) {
		cfs_recover_say(r,
				"shard %u: records after %" PRIu64 " are missing from the journal",
				shard, begin);
		fs->last_index = begin;
		fs->last_epoch = fs->base.begin_epoch;
		fs->has_lost = true;
	}
	if (fs->last_index == begin)
		fs->last_epoch = CFS_MAX(fs->last_epoch, fs->base.begin_epoch);
}

static CFS_AWAITS int scan(struct cfs_store *s, struct cfs_recovery *r)
{
	int rc = headers_read(s, r);

	if (rc == 0)
		rc = journal_find(s, r);
	if (rc < 0)
		return rc;
	r->start_pos = r->chain[0].start_pos;
	r->map = (struct cfs_stream_map){ .store = s,
					  .segments = r->chain,
					  .count = r->chain_count };
	rc = tail_judge(s, r);
	if (rc == 0)
		rc = stream_scan(s, r);
	if (rc == 0 && bases_take(s, r)) {
		start_advance(s, r);
		rc = stream_scan(s, r);
	}
	if (rc < 0)
		return rc;
	if (!s->tail.f)
		r->device_session = r->session;
	if (r->had_tail && r->end_pos < s->tail.head) {
		cfs_recover_say(r, "tail: unreadable from journal position %" PRIu64, r->end_pos);
		s->journal.batch_count = 0;
		r->had_tail = false; /* what is in it cannot be continued */
	}
	for (uint32_t i = 0; i < r->chain_count; i++) {
		/* What was flushed behind it says that it was, too. */
		if (r->found[r->chain[i].zone].is_doubtful && r->chain[i].start_pos < r->known)
			cfs_recover_say(r,
					"segment %u: header or roots of journal segment %" PRIu64
					" are damaged",
					r->chain[i].zone, r->chain[i].seq);
	}
	for (uint32_t i = 0; i < s->info.shards; i++) {
		/* What the roots' segment begins behind may not have come through, and is written
		 * anew. */
		r->shards[i].base.replay_pos = CFS_MIN(r->shards[i].base.replay_pos, r->end_pos);
		if (r->shards[i].has_base || r->shards[i].is_seen ||
		    r->shards[i].cuts != UINT32_MAX || r->shards[i].candidate_count > 0) {
			shard_settle(r, i);
			r->known_shards[r->known_count++] = i;
		}
	}
	damages_say(r);
	return stream_verify(s, r);
}

CFS_AWAITS int cfs_store_recover_scan(struct cfs_store *s, const struct cfs_store_recovery_ops *ops)
{
	struct cfs_recovery *r = calloc(1, sizeof(*r));

	cfs_assert(!s->recovery && !s->is_ready);
	if (!r)
		return -ENOMEM;
	s->recovery = r;
	r->ops = ops;
	r->found = calloc(s->info.zones, sizeof(*r->found));
	r->bitmap = calloc(1, (s->info.zones + 7) / 8);
	r->shards = calloc(s->info.shards, sizeof(*r->shards));
	r->known_shards = calloc(s->info.shards, sizeof(*r->known_shards));
	if (!r->found || !r->bitmap || !r->shards || !r->known_shards)
		return -ENOMEM;
	return scan(s, r);
}

uint32_t cfs_store_recover_shard_count(const struct cfs_store *s)
{
	return s->recovery ? s->recovery->known_count : 0;
}

void cfs_store_recover_shard(const struct cfs_store *s, uint32_t i,
			     struct cfs_store_recovery_shard *out)
{
	const struct cfs_recovery *r = s->recovery;
	const struct cfs_found_shard *fs;
	const struct cfs_root *root;

	cfs_assert(r && i < r->known_count);
	fs = &r->shards[r->known_shards[i]];
	root = cfs_recover_root(fs);
	*out = (struct cfs_store_recovery_shard){
		.shard = r->known_shards[i],
		.last_epoch = fs->last_epoch,
		.last_index = fs->last_index,
		.checkpoint_index = root ? root->begin_index : 0,
	};
}

void cfs_store_recover_cut(struct cfs_store *s, uint32_t shard, uint64_t last_index)
{
	struct cfs_found_shard *fs;

	cfs_assert(s->recovery && shard < s->info.shards);
	fs = &s->recovery->shards[shard];
	if (last_index >= fs->last_index)
		return;
	fs->last_index = last_index;
	fs->has_lost = true;
}

bool cfs_store_recover_had_tail(const struct cfs_store *s)
{
	return s->recovery && s->recovery->had_tail;
}
