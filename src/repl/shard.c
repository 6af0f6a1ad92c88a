/*
 * One record is one step: checks, placing and applying happen without a suspension between them, so
 * a shard's tables go from the state after record n to that after record n + 1 and nobody sees
 * anything else.
 *
 * Exactly once. A change's first arrival makes a running entry (answer.h). The part places its
 * record with the answer in it (cfs_shard_commit() with the request), and applying that makes the
 * entry a kept one; at recovery the same item does the same. A repeat finds the running entry and
 * waits, or the kept one and is answered from it. A request that is refused places nothing: its
 * entry goes, and a repeat runs again.
 *
 * Reservations. The store takes what a record uses out of what is reserved at the moment of
 * placing, while our callers give back what they reserved whether they placed or not. The
 * difference is counted here (used_bytes, used_records) and settled at the next
 * cfs_shard_unreserve(), whoever calls it: the sums agree, and in between the store believes more
 * to be free of promises by at most what is on its way.
 */
#include "repl/shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "repl/answer.h"
#include "repl/shard_format.h"

#define NS_PER_MS 1000000ull
#define SERVING_POLL_NS (2 * NS_PER_MS) /* only while a node starts */

_Static_assert(CFS_SHARD_ANSWER_ROOM >= sizeof(struct cfs_item_header) +
						sizeof(struct cfs_item_answer) +
						CFS_ANSWER_BYTES_MAX,
	       "an answer fits in its room");

int cfs_shard_create(uint32_t id, struct cfs_store *store, struct cfs_shard_env *env,
		     uint8_t *scratch, const struct cfs_shard_part_ops *meta,
		     const struct cfs_shard_part_ops *data, struct cfs_shard **out)
{
	struct cfs_shard *sh = calloc(1, sizeof(*sh));
	int rc;

	if (!sh)
		return -ENOMEM;
	sh->id = id;
	sh->store = store;
	sh->env = env;
	sh->scratch = scratch;
	sh->ops[0] = meta;
	sh->ops[1] = data;
	cfs_group_init(&sh->fibers);
	rc = cfs_answers_create(&sh->answers);
	for (uint32_t i = 0; rc == 0 && i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i])
			rc = sh->ops[i]->create(sh, &sh->part[i]);
	if (rc < 0) {
		for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
			if (sh->part[i])
				sh->ops[i]->destroy(sh->part[i]);
		cfs_answers_destroy(sh->answers);
		free(sh);
		return rc;
	}
	*out = sh;
	return 0;
}

CFS_AWAITS void cfs_shard_destroy(struct cfs_shard *sh)
{
	if (!sh)
		return;
	cfs_group_cancel(&sh->fibers);
	cfs_group_join(&sh->fibers);
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->part[i])
			sh->ops[i]->destroy(sh->part[i]);
	cfs_answers_destroy(sh->answers);
	cfs_sessions_fini(&sh->sessions);
	free(sh);
}

/* --- items --- */

static const struct cfs_shard_part_ops *ops_of_kind(
	const struct cfs_shard_part_ops *const ops[CFS_SHARD_PARTS], uint8_t kind, uint32_t *part)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++) {
		if (ops[i] && kind >= ops[i]->kind_first && kind <= ops[i]->kind_last) {
			*part = i;
			return ops[i];
		}
	}
	return NULL;
}

static void session_gone(struct cfs_shard *sh, uint64_t session)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i] && sh->ops[i]->session_gone)
			sh->ops[i]->session_gone(sh->part[i], session);
}

static int apply_session_end(struct cfs_shard *sh, const struct cfs_item *item)
{
	struct cfs_item_session_end h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	cfs_answers_drop_session(sh->answers, cfs_from_le64(h.session));
	session_gone(sh, cfs_from_le64(h.session));
	return 0;
}

static int apply_session_note(struct cfs_shard *sh, const struct cfs_item *item)
{
	struct cfs_item_session_end h;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	return cfs_sessions_put(&sh->sessions, cfs_from_le64(h.session),
				item->kind == CFS_ITEM_SESSION_OVER);
}

static int apply_state(struct cfs_shard *sh, const struct cfs_item *item, bool is_load)
{
	struct cfs_item_shard_state h;

	if (item->len_bytes != sizeof(h) || !is_load)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	sh->index = CFS_MAX(sh->index, cfs_from_le64(h.index));
	return 0;
}

static int apply_item(struct cfs_shard *sh, const struct cfs_item *item,
		      const struct cfs_shard_pos *pos, bool is_load)
{
	const struct cfs_shard_part_ops *ops;
	uint32_t part;

	switch (item->kind) {
	case CFS_ITEM_ANSWER:
		return cfs_answers_apply(sh->answers, item);
	case CFS_ITEM_SESSION_END:
		return apply_session_end(sh, item);
	case CFS_ITEM_SESSION_OVER:
	case CFS_ITEM_SESSION_BEGUN:
		return apply_session_note(sh, item);
	case CFS_ITEM_SHARD_STATE:
		return apply_state(sh, item, is_load);
	default:
		ops = ops_of_kind(sh->ops, item->kind, &part);
		return ops ? ops->apply(sh->part[part], item, pos, is_load) : -CFS_EBAD_FORMAT;
	}
}

int cfs_shard_apply_items(struct cfs_shard *sh, const uint8_t *items, uint32_t len_bytes,
			  const struct cfs_shard_pos *pos, bool is_load)
{
	struct cfs_item item;
	uint32_t at = 0;
	int rc;

	while ((rc = cfs_items_next(items, len_bytes, &at, &item)) > 0) {
		rc = apply_item(sh, &item, pos, is_load);
		if (rc < 0)
			return rc;
	}
	return rc;
}

void cfs_shard_items(struct cfs_shard *sh, struct cfs_items *it)
{
	cfs_items_init(it, sh->scratch, CFS_SHARD_ITEMS_MAX);
}

/* The answer goes behind the items, into the room that was kept for it. */
static void add_answer(struct cfs_shard *sh, struct cfs_items *it, const struct cfs_shard_pos *pos,
		       struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	uint8_t reply[CFS_ANSWER_BYTES_MAX];
	int len = cfs_answer_encode(&rq->reply, reply, sizeof(reply));
	struct cfs_item_answer h = {
		.session = cfs_to_le64(m->sess),
		.seq = cfs_to_le64(m->seq),
		.floor = cfs_to_le64(m->floor),
		.epoch = cfs_to_le64(pos->epoch),
		.index = cfs_to_le64(pos->index),
		.op = cfs_to_le16(m->op),
		.len_bytes = cfs_to_le32((uint32_t)len),
	};
	uint8_t *to;

	cfs_assert(len > 0);
	if (it->buf == sh->scratch)
		it->cap_bytes = CFS_RECORD_BYTES_MAX;
	to = cfs_items_add(it, CFS_ITEM_ANSWER, (uint32_t)sizeof(h) + (uint32_t)len);
	cfs_assert(to != NULL);
	memcpy(to, &h, sizeof(h));
	memcpy(to + sizeof(h), reply, (size_t)len);
}

static bool is_once(const struct cfs_msg *m)
{
	return m->sess != 0 && m->seq != 0 && cfs_op_is_change(m->op);
}

int cfs_shard_deps(const struct cfs_shard *sh, const struct cfs_msg *m, struct cfs_record_dep *deps,
		   uint32_t *count_out)
{
	*count_out = 0;
	if (!cfs_msg_is_set(m, deps))
		return 0;
	if (m->deps.len % CFS_DEP_BYTES || m->deps.len / CFS_DEP_BYTES > CFS_RECORD_DEPS_MAX)
		return -EINVAL;
	for (uint32_t at = 0; at < m->deps.len; at += CFS_DEP_BYTES) {
		cfs_le64 v[3];

		memcpy(v, m->deps.p + at, sizeof(v));
		if (cfs_from_le64(v[0]) >= sh->env->shards)
			return -EINVAL;
		if (cfs_from_le64(v[1]) != sh->epoch)
			continue;
		deps[(*count_out)++] = (struct cfs_record_dep){
			.shard = (uint32_t)cfs_from_le64(v[0]),
			.epoch = cfs_from_le64(v[1]),
			.index = cfs_from_le64(v[2]),
		};
	}
	return 0;
}

struct cfs_shard_pos cfs_shard_commit(struct cfs_shard *sh, struct cfs_items *it,
				      const struct cfs_record_dep *deps, uint32_t dep_count,
				      struct cfs_shard_request *rq)
{
	struct cfs_shard_pos pos = { .epoch = sh->epoch, .index = sh->index + 1 };
	struct cfs_record r = {
		.shard = sh->id,
		.kind = CFS_RECORD_ITEMS,
		.dep_count = (uint16_t)dep_count,
		.epoch = pos.epoch,
		.index = pos.index,
		.deps = deps,
	};

	cfs_assert(cfs_items_rc(it) == 0);
	cfs_assert(dep_count <= CFS_RECORD_DEPS_MAX);
	CFS_NO_AWAIT
	{
		if (rq) {
			cfs_assert(!rq->is_committed);
			cfs_msg_set(&rq->reply, index, pos.index);
			rq->reply.epoch = pos.epoch;
			if (is_once(rq->msg))
				add_answer(sh, it, &pos, rq);
			rq->is_committed = true;
		}
		r.payload = it->buf;
		r.len_bytes = it->len_bytes;
		cfs_store_place(sh->store, &r);
		sh->index = pos.index;
		sh->used_bytes += it->len_bytes;
		sh->used_records++;
		/* Placed is placed: what cannot be applied now could not be at recovery either. */
		cfs_assert(cfs_shard_apply_items(sh, it->buf, it->len_bytes, &pos, false) == 0);
	}
	return pos;
}

CFS_AWAITS int cfs_shard_reserve(struct cfs_shard *sh, uint32_t bytes, bool is_freeing)
{
	struct cfs_reservation r = {
		.record_bytes = bytes + CFS_SHARD_ANSWER_ROOM,
		.records = 1,
		.is_freeing = is_freeing,
	};

	cfs_assert(bytes <= CFS_SHARD_ITEMS_MAX);
	return cfs_store_reserve(sh->store, &r);
}

void cfs_shard_unreserve(struct cfs_shard *sh, uint32_t bytes, bool is_freeing)
{
	struct cfs_reservation r = {
		.record_bytes = bytes + CFS_SHARD_ANSWER_ROOM,
		.records = 1,
		.is_freeing = is_freeing,
	};
	uint32_t used_bytes = (uint32_t)CFS_MIN(sh->used_bytes, (uint64_t)r.record_bytes);
	uint32_t used_records = (uint32_t)CFS_MIN(sh->used_records, (uint64_t)r.records);

	sh->used_bytes -= used_bytes;
	sh->used_records -= used_records;
	r.record_bytes -= used_bytes;
	r.records -= used_records;
	cfs_store_unreserve(sh->store, &r);
}

/* --- recovery and checkpoints --- */

int cfs_shard_refs(const struct cfs_shard_part_ops *const ops[CFS_SHARD_PARTS],
		   const struct cfs_record *r, struct cfs_block_ref *out, uint32_t max)
{
	struct cfs_item item;
	uint32_t at = 0, count = 0, part;
	int rc;

	if (r->kind != CFS_RECORD_ITEMS)
		return -CFS_EBAD_FORMAT;
	while ((rc = cfs_items_next(r->payload, r->len_bytes, &at, &item)) > 0) {
		const struct cfs_shard_part_ops *o = ops_of_kind(ops, item.kind, &part);

		if (!o || !o->refs)
			continue;
		rc = o->refs(&item, out + count, max - count);
		if (rc < 0)
			return rc;
		count += (uint32_t)rc;
	}
	return rc < 0 ? rc : (int)count;
}

int cfs_shard_load_checkpoint(struct cfs_shard *sh, const uint8_t *data, uint32_t len_bytes)
{
	static const struct cfs_shard_pos pos = { 0, 0 };

	return cfs_shard_apply_items(sh, data, len_bytes, &pos, true);
}

int cfs_shard_load_record(struct cfs_shard *sh, const struct cfs_record *r)
{
	struct cfs_shard_pos pos = { .epoch = r->epoch, .index = r->index };
	int rc;

	if (r->kind != CFS_RECORD_ITEMS || r->shard != sh->id)
		return -CFS_EBAD_FORMAT;
	/* The first record after a checkpoint may be one that it covers in part: results, not
	 * steps. */
	if (r->index > sh->index + 1)
		return -CFS_EBAD_FORMAT;
	rc = cfs_shard_apply_items(sh, r->payload, r->len_bytes, &pos, true);
	if (rc < 0)
		return rc;
	sh->index = CFS_MAX(sh->index, r->index);
	return 0;
}

CFS_AWAITS int cfs_shard_resume(struct cfs_shard *sh)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++) {
		int rc = sh->ops[i] && sh->ops[i]->resume ? sh->ops[i]->resume(sh->part[i]) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

CFS_AWAITS int cfs_shard_checkpoint_add(struct cfs_checkpoint *c, uint8_t kind, const void *data,
					uint32_t len_bytes)
{
	uint8_t small[1024];
	uint32_t need = (uint32_t)sizeof(struct cfs_item_header) + len_bytes;
	uint8_t *buf = need <= sizeof(small) ? small : malloc(need);
	struct cfs_items it;
	uint8_t *to;
	int rc;

	if (!buf)
		return -ENOMEM;
	cfs_items_init(&it, buf, need);
	to = cfs_items_add(&it, kind, len_bytes);
	if (len_bytes)
		memcpy(to, data, len_bytes);
	rc = cfs_store_checkpoint_write(c, buf, need);
	if (buf != small)
		free(buf);
	return rc;
}

/* Copied first, as they come and go while it is written; that has records behind its begin. */
static CFS_AWAITS int checkpoint_sessions(struct cfs_shard *sh, struct cfs_checkpoint *c)
{
	const struct cfs_sessions *t = &sh->sessions;
	struct cfs_item_session_end *all =
		malloc((CFS_SESSIONS_OVER_MAX + t->live_count + 1ul) * sizeof(*all));
	uint32_t over = 0, count;
	int rc = all ? 0 : -ENOMEM;

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < CFS_SESSIONS_OVER_MAX; i++)
		if (cfs_sessions_over(t, i))
			all[over++].session = cfs_to_le64(cfs_sessions_over(t, i));
	count = over;
	for (const struct cfs_session_live *s = t->live; s; s = s->next)
		all[count++].session = cfs_to_le64(s->id);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = cfs_shard_checkpoint_add(
			c, i < over ? CFS_ITEM_SESSION_OVER : CFS_ITEM_SESSION_BEGUN, &all[i],
			sizeof(all[i]));
	free(all);
	return rc;
}

static CFS_AWAITS int checkpoint_own(struct cfs_shard *sh, struct cfs_checkpoint *c, uint64_t begin)
{
	struct cfs_item_shard_state state = { cfs_to_le64(sh->epoch), cfs_to_le64(begin) };
	uint64_t session = 0, seq = 0, floor;
	const struct cfs_answer *e;
	int rc = cfs_shard_checkpoint_add(c, CFS_ITEM_SHARD_STATE, &state, sizeof(state));

	if (rc == 0)
		rc = checkpoint_sessions(sh, c);
	while (rc == 0 && cfs_answers_next(sh->answers, &session, &seq, &floor, &e)) {
		uint8_t buf[sizeof(struct cfs_item_answer) + CFS_ANSWER_BYTES_MAX];
		struct cfs_item_answer h = {
			.session = cfs_to_le64(session),
			.seq = cfs_to_le64(seq),
			.floor = cfs_to_le64(floor),
			.epoch = cfs_to_le64(e->epoch),
			.index = cfs_to_le64(e->index),
			.op = cfs_to_le16(e->op),
			.len_bytes = cfs_to_le32(e->reply_bytes),
		};
		uint32_t len = (uint32_t)sizeof(h) + e->reply_bytes;

		memcpy(buf, &h, sizeof(h));
		memcpy(buf + sizeof(h), e->reply, e->reply_bytes);
		rc = cfs_shard_checkpoint_add(c, CFS_ITEM_ANSWER, buf, len);
	}
	return rc;
}

CFS_AWAITS int cfs_shard_checkpoint(struct cfs_shard *sh)
{
	uint64_t begin = sh->index;
	struct cfs_checkpoint *c;
	int rc = cfs_store_checkpoint_begin(sh->store, sh->id, begin, &c);

	if (rc < 0)
		return rc;
	rc = checkpoint_own(sh, c, begin);
	for (uint32_t i = 0; rc == 0 && i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i])
			rc = sh->ops[i]->checkpoint(sh->part[i], c);
	return cfs_store_checkpoint_end(c, sh->index, rc);
}

/* --- requests --- */

static const struct cfs_shard_part_ops *ops_of_op(const struct cfs_shard *sh, uint16_t op,
						  uint32_t *part)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++) {
		const struct cfs_shard_part_ops *o = sh->ops[i];

		if (!o)
			continue;
		*part = i;
		if (op >= o->op_first && op <= o->op_last)
			return o;
		if (o->op2_last && op >= o->op2_first && op <= o->op2_last)
			return o;
	}
	return NULL;
}

static CFS_AWAITS int wait_serving(struct cfs_shard *sh)
{
	while (!sh->is_serving) {
		int rc = cfs_sleep_ns(SERVING_POLL_NS);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The kept reply becomes @rq's. Its bytes go to the scratch: the entry may be dropped before it is
 * sent. */
static int reply_kept(struct cfs_shard_request *rq, const struct cfs_answer *e)
{
	int rc;

	if (e->op != rq->msg->op)
		return -CFS_EOLD_SEQUENCE;
	memcpy(rq->scratch, e->reply, e->reply_bytes);
	rc = cfs_answer_decode(rq->scratch, e->reply_bytes, &rq->reply);
	rq->reply.epoch = e->epoch;
	return rc;
}

static CFS_AWAITS int run(struct cfs_shard *sh, struct cfs_shard_request *rq)
{
	uint32_t part;
	const struct cfs_shard_part_ops *ops = ops_of_op(sh, rq->msg->op, &part);
	int rc;

	if (!ops)
		return -EOPNOTSUPP;
	rc = ops->serve(sh->part[part], rq);
	/* With a record placed its answer stands, whatever came after. */
	return rq->is_committed ? 0 : rc;
}

/* Whether a client takes it for an answer, and does not ask again. */
static bool is_final(int rc)
{
	switch (rc) {
	case -CFS_EDISCONNECTED:
	case -CFS_ENOT_HERE:
	case -CFS_EOLD_EPOCH:
	case -CFS_ENO_SESSION:
	case -CFS_EAGAIN_LATER:
	case -CFS_EBUSY_TX:
	case -ECANCELED:
		return false;
	default:
		return true;
	}
}

static CFS_AWAITS int run_once(struct cfs_shard *sh, struct cfs_shard_request *rq)
{
	struct cfs_answer *e;
	int rc = cfs_answers_begin(sh->answers, rq->msg->sess, rq->msg->seq, rq->msg->floor, &e);

	if (rc < 0)
		return rc;
	if (rc == 1) {
		rc = reply_kept(rq, e);
	} else {
		rc = run(sh, rq);
		if (rc < 0)
			cfs_msg_set(&rq->reply, rc, rc);
		if (!rq->is_committed && is_final(rc) && !CFS_BREAK(REFUSED_AGAIN))
			cfs_answers_keep_light(e, &rq->reply, sh->epoch);
	}
	cfs_answers_end(sh->answers, e);
	return rc;
}

CFS_AWAITS void cfs_shard_serve_local(struct cfs_shard *sh, struct cfs_shard_request *rq)
{
	const struct cfs_msg *m = rq->msg;
	uint64_t deadline = cfs_deadline();
	int rc;

	rq->shard = sh;
	rq->reply = (struct cfs_msg){ .kind = CFS_MSG_REPLY, .op = m->op, .shard = sh->id };
	rq->reply.epoch = sh->epoch;
	rq->reply_buf = NULL;
	rq->is_committed = false;
	if (m->deadline_ms)
		cfs_deadline_narrow(cfs_now_ns() + m->deadline_ms * NS_PER_MS);
	rc = wait_serving(sh);
	if (rc == 0)
		rc = is_once(m) ? run_once(sh, rq) : run(sh, rq);
	cfs_deadline_restore(deadline);
	if (rc < 0)
		cfs_msg_set(&rq->reply, rc, rc);
	if (sh->env->hlc_now)
		rq->reply.hlc = sh->env->hlc_now(sh->env->ctx);
}

CFS_AWAITS void cfs_shard_serve(struct cfs_shard *sh, struct cfs_net_call *call)
{
	struct cfs_shard_request rq;

	rq.msg = cfs_net_call_request(call);
	rq.call = call;
	cfs_shard_serve_local(sh, &rq);
	cfs_net_reply(call, &rq.reply);
	cfs_buf_put(rq.reply_buf);
}

/* --- sessions, checks --- */

static bool has_session(const struct cfs_shard *sh, uint64_t session)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i] && sh->ops[i]->has_session &&
		    sh->ops[i]->has_session(sh->part[i], session))
			return true;
	return cfs_answers_has_session(sh->answers, session);
}

#define NOTE_BYTES (sizeof(struct cfs_item_session_end) + sizeof(struct cfs_item_header))

CFS_AWAITS int cfs_shard_session_note(struct cfs_shard *sh, uint64_t session, bool is_over)
{
	struct cfs_item_session_end h = { cfs_to_le64(session) };
	struct cfs_items it;
	int rc = wait_serving(sh);

	if (rc == 0)
		rc = cfs_shard_reserve(sh, NOTE_BYTES, true);
	if (rc < 0)
		return rc;
	cfs_shard_items(sh, &it);
	memcpy(cfs_items_add(&it, is_over ? CFS_ITEM_SESSION_OVER : CFS_ITEM_SESSION_BEGUN,
			     sizeof(h)),
	       &h, sizeof(h));
	cfs_shard_commit(sh, &it, NULL, 0, NULL);
	cfs_shard_unreserve(sh, NOTE_BYTES, true);
	return is_over ? cfs_store_sync(sh->store) : 0;
}

CFS_AWAITS void cfs_shard_session_end(struct cfs_shard *sh, uint64_t session)
{
	struct cfs_item_session_end h = { cfs_to_le64(session) };
	struct cfs_items it;
	uint8_t *to;

	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i] && sh->ops[i]->session_end)
			sh->ops[i]->session_end(sh->part[i], session);
	if (!has_session(sh, session))
		return;
	/* Without room its answers stay until the next time that it is told: they are only memory.
	 */
	if (cfs_shard_reserve(sh, sizeof(h) + sizeof(struct cfs_item_header), true) < 0) {
		session_gone(sh, session);
		return;
	}
	cfs_shard_items(sh, &it);
	to = cfs_items_add(&it, CFS_ITEM_SESSION_END, sizeof(h));
	memcpy(to, &h, sizeof(h));
	cfs_shard_commit(sh, &it, NULL, 0, NULL);
	cfs_shard_unreserve(sh, sizeof(h) + sizeof(struct cfs_item_header), true);
}

void cfs_shard_recalled(struct cfs_shard *sh, uint64_t session, uint64_t ino, uint64_t stamp)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i] && sh->ops[i]->recalled)
			sh->ops[i]->recalled(sh->part[i], session, ino, stamp);
}

void cfs_shard_sessions(const struct cfs_shard *sh, void (*fn)(void *ctx, uint64_t session),
			void *ctx)
{
	const struct cfs_answer *e;
	uint64_t session = 0, seq = 0, floor;

	while (cfs_answers_next(sh->answers, &session, &seq, &floor, &e)) {
		fn(ctx, session);
		seq = UINT64_MAX; /* on to the next session */
	}
}

void cfs_shard_check(struct cfs_shard *sh, void (*report)(void *ctx, const char *what), void *ctx)
{
	for (uint32_t i = 0; i < CFS_SHARD_PARTS; i++)
		if (sh->ops[i] && sh->ops[i]->check)
			sh->ops[i]->check(sh->part[i], report, ctx);
}
