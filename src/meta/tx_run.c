/*
 * The coordinator: tries, decisions, telling, forgetting.
 *
 * A try is in memory only, until its decision is placed: with the process it is gone, and then
 * nobody finds it and participants abort. Its number has the shard epoch, so that the next process
 * uses others. Between the last vote and the decision's record nothing suspends but waiting for
 * room; all keys are held meanwhile. The own steps are evaluated last, in one go with the record:
 * local changes may have come first, then the try ends and the operation looks again.
 *
 * A decision is kept until the commits of all participants are stable, so that each that comes back
 * without its commit still finds it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/lease.h"
#include "meta/tx_internal.h"

#define TELL_RETRY_NS (100ull * 1000 * 1000)
#define FORGET_POLL_NS (250ull * 1000 * 1000)
#define FORGETS_PER_RECORD 128u
#define ASK_WAIT_NS (1000ull * 1000 * 1000)

void cfs_tx_init(struct cfs_tx *tx, struct cfs_meta *m, struct cfs_shard_request *rq)
{
	memset(tx, 0, sizeof(*tx));
	tx->meta = m;
	tx->rq = rq;
}

void cfs_tx_fini(struct cfs_tx *tx)
{
	for (uint32_t i = 0; i < tx->count; i++)
		free(tx->pieces[i]);
	tx->count = 0;
}

static struct cfs_tx_piece *piece_of(const struct cfs_tx *tx, uint32_t shard)
{
	for (uint32_t i = 0; i < tx->count; i++) {
		if (tx->pieces[i]->shard == shard)
			return tx->pieces[i];
	}
	return NULL;
}

const struct cfs_tx_piece *cfs_tx_piece_of(const struct cfs_tx *tx, uint32_t shard)
{
	return piece_of(tx, shard);
}

struct cfs_items *cfs_tx_at(struct cfs_tx *tx, uint32_t shard)
{
	struct cfs_tx_piece *p = piece_of(tx, shard);
	uint32_t at = 0;

	if (p)
		return &p->steps;
	p = tx->count < CFS_TX_SHARDS_MAX ? malloc(sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	memset(p, 0, offsetof(struct cfs_tx_piece, bytes));
	p->shard = shard;
	cfs_items_init(&p->steps, p->bytes, sizeof(p->bytes));
	/* In order of shard: the order in which the retry takes keys. */
	while (at < tx->count && tx->pieces[at]->shard < shard)
		at++;
	memmove(&tx->pieces[at + 1], &tx->pieces[at],
		(tx->count - at) * sizeof(struct cfs_tx_piece *));
	tx->pieces[at] = p;
	tx->count++;
	return &p->steps;
}

/* --- tries --- */

static struct cfs_tx_try *try_of(struct cfs_rb_node *n)
{
	return n ? cfs_container_of(n, struct cfs_tx_try, node) : NULL;
}

static struct cfs_tx_try *try_find(const struct cfs_tx_table *t, const struct cfs_tx_number *n)
{
	struct cfs_rb_node *at = t->tries.root;

	while (at) {
		int cmp = cfs_tx_number_cmp(n, &try_of(at)->number);

		if (cmp == 0)
			return try_of(at);
		at = cmp < 0 ? at->left : at->right;
	}
	return NULL;
}

static struct cfs_tx_try *try_create(struct cfs_meta *m, const struct cfs_tx_number *n)
{
	struct cfs_tx_try *y = calloc(1, sizeof(*y));
	struct cfs_rb_node **link = &m->tx->tries.root, *parent = NULL;

	if (!y)
		return NULL;
	y->meta = m;
	y->number = *n;
	y->refs = 1;
	cfs_waitq_init(&y->askers);
	cfs_list_init(&y->link);
	while (*link) {
		parent = *link;
		link = cfs_tx_number_cmp(n, &try_of(parent)->number) < 0 ? &parent->left
									 : &parent->right;
	}
	cfs_rb_insert(&m->tx->tries, &y->node, parent, link);
	return y;
}

static void try_put(struct cfs_tx_try *y)
{
	if (--y->refs == 0)
		free(y);
}

/* Out of the table: whoever asks now is told that it is not there. */
static void try_remove(struct cfs_tx_try *y)
{
	if (y->state == CFS_TX_DECIDED)
		y->meta->stats.tx_decisions_now--;
	cfs_rb_remove(&y->meta->tx->tries, &y->node);
	cfs_list_remove(&y->link);
	cfs_waitq_wake_all(&y->askers);
	y->is_removed = true;
	try_put(y);
}

void cfs_tx_tries_fini(struct cfs_meta *m)
{
	struct cfs_rb_node *n;

	while ((n = cfs_rb_first(&m->tx->tries)))
		try_remove(try_of(n));
}

static struct cfs_tx_number number_new(struct cfs_meta *m)
{
	struct cfs_tx_number n = { m->shard->id, m->shard->epoch, m->tx->next_count++ };

	if (CFS_BREAK(REUSE_NUMBER))
		n.epoch = 1;
	return n;
}

/* What is below is kept no more and will not be decided. */
static struct cfs_tx_number floor_of(const struct cfs_meta *m)
{
	const struct cfs_tx_try *first = try_of(cfs_rb_first(&m->tx->tries));

	if (first)
		return first->number;
	return (struct cfs_tx_number){ m->shard->id, m->shard->epoch, m->tx->next_count };
}

/* --- items --- */

int cfs_tx_apply_decide(struct cfs_meta *m, const struct cfs_item *item,
			const struct cfs_shard_pos *pos)
{
	struct cfs_meta_tx_decide h;
	struct cfs_tx_number n;
	struct cfs_tx_try *y;
	uint32_t rest = item->len_bytes - (uint32_t)sizeof(h);

	if (item->len_bytes < sizeof(h) || rest % 8 || rest / 8 > CFS_TX_SHARDS_MAX)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	n = (struct cfs_tx_number){ cfs_from_le64(h.number.shard), cfs_from_le64(h.number.epoch),
				    cfs_from_le64(h.number.count) };
	if (n.shard != m->shard->id)
		return -CFS_EBAD_FORMAT;
	y = try_find(m->tx, &n);
	if (!y)
		y = try_create(m, &n);
	if (!y)
		return -ENOMEM;
	if (y->state != CFS_TX_DECIDED)
		m->stats.tx_decisions_now++;
	y->state = CFS_TX_DECIDED;
	y->at = *pos;
	if (cfs_from_le64(h.index))
		y->at = (struct cfs_shard_pos){ cfs_from_le64(h.epoch), cfs_from_le64(h.index) };
	y->shard_count = rest / 8;
	for (uint32_t i = 0; i < y->shard_count; i++) {
		cfs_le64 v;

		memcpy(&v, item->data + sizeof(h) + i * 8, 8);
		y->shards[i] = (uint32_t)cfs_from_le64(v);
	}
	return 0;
}

int cfs_tx_apply_forget(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_meta_tx_end h;
	struct cfs_tx_number n;
	struct cfs_tx_try *y;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	n = (struct cfs_tx_number){ cfs_from_le64(h.number.shard), cfs_from_le64(h.number.epoch),
				    cfs_from_le64(h.number.count) };
	y = try_find(m->tx, &n);
	if (y)
		try_remove(y);
	return 0;
}

static void add_decide(struct cfs_items *it, const struct cfs_tx_try *y, bool with_pos)
{
	struct cfs_meta_tx_decide h = { .number = cfs_tx_number_encode(&y->number) };
	uint8_t *to = cfs_items_add(it, CFS_META_TX_DECIDE,
				    (uint32_t)sizeof(h) + y->shard_count * 8);

	if (!to)
		return;
	if (with_pos) {
		h.epoch = cfs_to_le64(y->at.epoch);
		h.index = cfs_to_le64(y->at.index);
	}
	memcpy(to, &h, sizeof(h));
	for (uint32_t i = 0; i < y->shard_count; i++) {
		cfs_le64 v = cfs_to_le64(y->shards[i]);

		memcpy(to + sizeof(h) + i * 8, &v, 8);
	}
}

/* --- telling and forgetting --- */

static CFS_AWAITS void forget_run(void *arg);

/* Everybody knows; once what they placed is stable, the decision may go. */
static void told(struct cfs_tx_try *y)
{
	struct cfs_meta *m = y->meta;
	struct cfs_shard_env *env = m->shard->env;

	y->tick = env->tick_now(env->ctx);
	cfs_list_append(&m->tx->told, &y->link);
	if (!m->tx->is_forgetting && cfs_group_start(&m->shard->fibers, forget_run, m) == 0)
		m->tx->is_forgetting = true;
}

static bool may_forget(const struct cfs_meta *m, const struct cfs_tx_try *y)
{
	struct cfs_shard_env *env = m->shard->env;

	return CFS_BREAK(FORGET_FLUSHED) || env->tick_stable(env->ctx) >= y->tick;
}

/* One record for all that may go now. 0; -ECANCELED. */
static CFS_AWAITS int forget_some(struct cfs_meta *m)
{
	const uint32_t bytes = FORGETS_PER_RECORD * (uint32_t)(sizeof(struct cfs_item_header) +
							       sizeof(struct cfs_meta_tx_end));
	struct cfs_items it;
	uint32_t count = 0;
	int rc = cfs_shard_reserve(m->shard, bytes, true);

	if (rc < 0)
		return rc == -ECANCELED ? rc : 0;
	cfs_shard_items(m->shard, &it);
	cfs_list_for_each(l, &m->tx->told) {
		const struct cfs_tx_try *y = cfs_list_entry(l, struct cfs_tx_try, link);
		struct cfs_meta_tx_end h = { cfs_tx_number_encode(&y->number) };

		if (count++ == FORGETS_PER_RECORD || !may_forget(m, y))
			break;
		memcpy(cfs_items_add(&it, CFS_META_TX_FORGET, sizeof(h)), &h, sizeof(h));
	}
	if (it.len_bytes)
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	cfs_shard_unreserve(m->shard, bytes, true);
	return 0;
}

static CFS_AWAITS void forget_run(void *arg)
{
	struct cfs_meta *m = arg;
	int rc = 0;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	while (rc == 0 && !cfs_list_is_empty(&m->tx->told)) {
		if (may_forget(m, cfs_list_first(&m->tx->told, struct cfs_tx_try, link)))
			rc = forget_some(m);
		else
			rc = cfs_sleep_ns(FORGET_POLL_NS);
	}
	m->tx->is_forgetting = false;
}

/* Tells @shard how @n ended, until it has heard. */
static CFS_AWAITS int tell(struct cfs_meta *m, const struct cfs_tx_number *n, uint32_t shard,
			   const struct cfs_shard_pos *decision)
{
	struct cfs_shard_env *env = m->shard->env;
	uint8_t dep[CFS_TX_DEP_BYTES];
	int rc;

	do {
		struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_TX_END };
		struct cfs_net_reply reply;

		cfs_msg_set(&msg, tx_shard, n->shard);
		cfs_msg_set(&msg, tx_epoch, n->epoch);
		cfs_msg_set(&msg, tx_count, n->count);
		cfs_msg_set(&msg, flags, decision ? CFS_F_COMMIT : 0);
		if (decision) {
			cfs_tx_dep_encode(dep, m->shard->id, decision);
			cfs_msg_set_bytes(&msg, deps, dep, sizeof(dep));
		}
		rc = env->call(env->ctx, shard, &msg, &reply);
		if (rc == 0) {
			rc = cfs_msg_is_set(&reply.msg, rc) ? (int)reply.msg.rc : 0;
			cfs_net_reply_fini(&reply);
		} else if (rc == -ECANCELED) {
			break;
		}
		if (rc < 0 && cfs_sleep_ns(TELL_RETRY_NS) == -ECANCELED)
			break;
	} while (rc < 0);
	return rc;
}

static CFS_AWAITS void tell_run(void *arg)
{
	struct cfs_tx_try *y = arg;
	int rc = 0;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	for (uint32_t i = 0; rc == 0 && i < y->shard_count; i++)
		rc = tell(y->meta, &y->number, y->shards[i], &y->at);
	y->is_telling = false;
	if (rc == 0 && !y->is_removed)
		told(y);
	try_put(y);
}

static int tell_start(struct cfs_tx_try *y)
{
	int rc;

	if (y->is_telling || !cfs_list_is_empty(&y->link))
		return 0;
	y->is_telling = true;
	y->refs++;
	rc = cfs_group_start(&y->meta->shard->fibers, tell_run, y);
	if (rc < 0) {
		y->is_telling = false;
		y->refs--;
	}
	return rc;
}

/* Lets go what an aborted try has prepared elsewhere, in the background: who is not reached asks.
 */
struct let_go {
	struct cfs_meta *meta;
	struct cfs_tx_number number;
	uint32_t count;
	uint32_t shards[CFS_TX_SHARDS_MAX];
};

static CFS_AWAITS void let_go_run(void *arg)
{
	struct let_go *g = arg;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	for (uint32_t i = 0; i < g->count; i++) {
		if (tell(g->meta, &g->number, g->shards[i], NULL) == -ECANCELED)
			break;
	}
	free(g);
}

static void let_go(const struct cfs_tx *tx, const struct cfs_tx_number *n)
{
	struct let_go *g = malloc(sizeof(*g));

	if (!g)
		return;
	*g = (struct let_go){ .meta = tx->meta, .number = *n };
	for (uint32_t i = 0; i < tx->count; i++) {
		const struct cfs_tx_piece *p = tx->pieces[i];

		/* Those that refused hold nothing. */
		if (p->shard != tx->meta->shard->id && p->rc != INT32_MIN &&
		    (p->rc == 0 || p->rc == -ECANCELED || p->rc == -ETIMEDOUT))
			g->shards[g->count++] = p->shard;
	}
	if (g->count == 0 || cfs_group_start(&tx->meta->shard->fibers, let_go_run, g) < 0)
		free(g);
}

int cfs_tx_resume_tries(struct cfs_meta *m)
{
	for (struct cfs_rb_node *n = cfs_rb_first(&m->tx->tries); n; n = cfs_rb_next(n)) {
		struct cfs_tx_try *y = try_of(n);
		int rc = y->state == CFS_TX_DECIDED ? tell_start(y) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- leases in the way --- */

/* Whose own lease is not in the way. */
static uint64_t session_of(const struct cfs_tx *tx)
{
	return tx->rq ? tx->rq->msg->sess : 0;
}

static bool is_leased(const struct cfs_meta *m, const struct cfs_tx_keys *keys, uint64_t session)
{
	for (uint32_t i = 0; i < keys->count; i++)
		if (cfs_lease_is_in_way(m, keys->ino[i], session) && !CFS_BREAK(NO_CHECK_AT_COMMIT))
			return true;
	return false;
}

bool cfs_tx_is_leased(const struct cfs_meta *m, const struct cfs_tx_keys *keys, uint64_t session)
{
	return is_leased(m, keys, session);
}

static CFS_AWAITS int recall_here(struct cfs_meta *m, const struct cfs_tx_keys *keys,
				  uint64_t session)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < keys->count; i++)
		rc = cfs_lease_clear(m, keys->ino[i], session);
	return rc;
}

/* With nothing locked. */
static CFS_AWAITS int recall_pieces(struct cfs_tx *tx)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_shard_env *env = m->shard->env;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < tx->count; i++) {
		struct cfs_tx_piece *p = tx->pieces[i];
		struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_TX_RECALL };
		struct cfs_net_reply reply;

		if (p->shard == m->shard->id) {
			rc = recall_here(m, &p->keys, session_of(tx));
			continue;
		}
		if (p->rc != -CFS_ELEASED)
			continue;
		cfs_msg_set_bytes(&msg, items, p->steps.buf, p->steps.len_bytes);
		cfs_msg_set(&msg, session, session_of(tx));
		rc = env->call(env->ctx, p->shard, &msg, &reply);
		if (rc < 0)
			break;
		rc = cfs_msg_is_set(&reply.msg, rc) ? (int)reply.msg.rc : 0;
		cfs_net_reply_fini(&reply);
	}
	return rc;
}

CFS_AWAITS int cfs_tx_serve_recall(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_tx_keys keys;
	struct cfs_tx_seen seen;
	int rc = cfs_tx_steps_keys(rq->msg->items.p, rq->msg->items.len, &keys, &seen);

	for (uint32_t i = 0; rc == 0 && i < keys.count; i++)
		rc = cfs_meta_is_home(m, keys.ino[i]) ? 0 : -EINVAL;
	return rc < 0 ? rc : recall_here(m, &keys, rq->msg->session);
}

/* --- preparing --- */

struct prepare_job {
	struct cfs_tx *tx;
	struct cfs_tx_piece *piece;
	struct cfs_tx_number number, floor;
	bool is_ordered;
};

/* Sends one prepare; the outcome is in the piece. */
static CFS_AWAITS void prepare_run(void *arg)
{
	struct prepare_job *j = arg;
	struct cfs_tx_piece *p = j->piece;
	struct cfs_shard_env *env = j->tx->meta->shard->env;
	uint8_t bytes[768];
	struct cfs_items steps;
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_TX_PREPARE };
	struct cfs_net_reply reply;
	uint8_t *heap = NULL, *buf = bytes;
	uint32_t len = p->steps.len_bytes + 64;

	if (len > sizeof(bytes))
		buf = heap = malloc(len);
	if (!buf) {
		p->rc = -ENOMEM;
		return;
	}
	cfs_items_init(&steps, buf, len);
	cfs_tx_add_floor(&steps, j->floor.epoch, j->floor.count);
	memcpy(buf + steps.len_bytes, p->steps.buf, p->steps.len_bytes);
	steps.len_bytes += p->steps.len_bytes;
	cfs_msg_set(&msg, tx_shard, j->number.shard);
	cfs_msg_set(&msg, tx_epoch, j->number.epoch);
	cfs_msg_set(&msg, tx_count, j->number.count);
	cfs_msg_set_bytes(&msg, items, steps.buf, steps.len_bytes);
	cfs_msg_set(&msg, session, session_of(j->tx));
	if (j->is_ordered)
		cfs_msg_set(&msg, flags, CFS_F_ORDERED);
	p->rc = -ECANCELED; /* until we know: it may have prepared */
	p->rc = env->call(env->ctx, p->shard, &msg, &reply);
	free(heap);
	if (p->rc < 0)
		return;
	p->rc = cfs_msg_is_set(&reply.msg, rc) ? (int)reply.msg.rc : 0;
	p->at = (struct cfs_record_dep){ .shard = p->shard,
					 .epoch = reply.msg.epoch,
					 .index = reply.msg.index };
	p->seen.has_attr = cfs_msg_is_set(&reply.msg, attr) &&
			   cfs_attr_decode(reply.msg.attr.p, reply.msg.attr.len, &p->seen.attr) ==
				   0;
	cfs_net_reply_fini(&reply);
}

/* Ended there before we heard of it (its node started anew): look again, under another number. */
static int vote(int rc)
{
	return rc == -CFS_EOLD_SEQUENCE ? -CFS_EAGAIN_LATER : rc;
}

/* The first error, busy last: an error that the client gets needs no retry. */
static int votes(const struct cfs_tx *tx)
{
	int rc = 0;

	for (uint32_t i = 0; i < tx->count; i++) {
		const struct cfs_tx_piece *p = tx->pieces[i];

		if (p->shard == tx->meta->shard->id || p->rc == 0)
			continue;
		if (rc == 0 || rc == -CFS_EBUSY_TX || rc == -CFS_ELEASED)
			rc = p->rc;
	}
	return vote(rc);
}

/* All at once. */
static CFS_AWAITS int prepare_all(struct cfs_tx *tx, struct cfs_tx_try *y)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_piece *own = piece_of(tx, m->shard->id);
	struct prepare_job jobs[CFS_TX_SHARDS_MAX];
	struct prepare_job *last = NULL;
	struct cfs_group group;
	int rc = own && !CFS_BREAK(NO_DIR_LOCK) ? cfs_tx_lock_try(m, &y->holder, &own->keys) : 0;

	if (rc < 0)
		return rc;
	cfs_group_init(&group);
	for (uint32_t i = 0; i < tx->count; i++) {
		if (tx->pieces[i] == own)
			continue;
		jobs[i] = (struct prepare_job){
			.tx = tx, .piece = tx->pieces[i], .number = y->number, .floor = floor_of(m)
		};
		/* The last one runs here: most have just one. */
		if (last && cfs_group_start(&group, prepare_run, last) < 0)
			prepare_run(last);
		last = &jobs[i];
	}
	if (last)
		prepare_run(last);
	cfs_group_join(&group);
	return votes(tx);
}

/* One after the other, in order of shard and number, waiting. */
static CFS_AWAITS int prepare_ordered(struct cfs_tx *tx, struct cfs_tx_try *y)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_piece *own = piece_of(tx, m->shard->id);
	int rc = 0;

	if (CFS_BREAK(WAIT_UNORDERED) && own)
		rc = cfs_tx_lock_wait(m, &y->holder, &own->keys);
	for (uint32_t i = 0; rc == 0 && i < tx->count; i++) {
		struct prepare_job j = { .tx = tx,
					 .piece = tx->pieces[i],
					 .number = y->number,
					 .floor = floor_of(m),
					 .is_ordered = true };

		if (tx->pieces[i] != own) {
			prepare_run(&j);
			rc = vote(tx->pieces[i]->rc);
		} else if (!CFS_BREAK(NO_DIR_LOCK) && !CFS_BREAK(WAIT_UNORDERED)) {
			rc = cfs_tx_lock_wait(m, &y->holder, &own->keys);
		}
	}
	return rc;
}

/* --- deciding --- */

static CFS_AWAITS int decide(struct cfs_tx *tx, struct cfs_tx_try *y)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_piece *own = piece_of(tx, m->shard->id);
	const uint32_t bytes = cfs_tx_results_max(own ? own->steps.len_bytes : 0) + 512;
	struct cfs_record_dep deps[CFS_TX_SHARDS_MAX + 1];
	uint32_t dep_count = 0;
	struct cfs_items it;
	int rc = cfs_shard_reserve(m->shard, bytes, tx->is_freeing);

	if (rc < 0)
		return rc;
	if (CFS_BREAK(NO_DIR_LOCK) && own) {
		for (uint32_t i = 0; rc == 0 && i < own->keys.count; i++)
			rc = cfs_meta_settle(m, own->keys.ino[i]);
	}
	if (rc == 0 && own && is_leased(m, &own->keys, session_of(tx)))
		rc = -CFS_ELEASED;
	if (rc == 0 && cfs_shard_has_ended(m->shard, session_of(tx)))
		rc = -CFS_ENO_SESSION;
	cfs_shard_items(m->shard, &it);
	if (rc == 0 && own)
		rc = cfs_tx_steps_eval(m, own->steps.buf, own->steps.len_bytes, false, &it,
				       &own->seen);
	if (rc == 0) {
		y->shard_count = 0;
		for (uint32_t i = 0; i < tx->count; i++) {
			if (tx->pieces[i] == own)
				continue;
			deps[dep_count++] = tx->pieces[i]->at;
			y->shards[y->shard_count++] = tx->pieces[i]->shard;
		}
		add_decide(&it, y, false);
		if (tx->uses_serial && m->serials.has_dep) {
			deps[dep_count++] = m->serials.dep;
			m->serials.has_dep = false;
		}
		if (tx->reply)
			tx->reply(tx, tx->ctx);
		cfs_shard_commit(m->shard, &it, deps, dep_count, tx->rq);
	}
	cfs_shard_unreserve(m->shard, bytes, tx->is_freeing);
	return rc;
}

/* One try under a number of its own. */
static CFS_AWAITS int try_run(struct cfs_tx *tx, bool is_ordered, struct cfs_tx_number *n)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_piece *own = piece_of(tx, m->shard->id);
	struct cfs_tx_try *y;
	int rc;

	y = try_create(m, n);
	if (!y)
		return -ENOMEM;
	y->refs++;
	m->stats.tx_started++;
	for (uint32_t i = 0; i < tx->count; i++)
		tx->pieces[i]->rc = INT32_MIN; /* not sent */
	rc = is_ordered ? prepare_ordered(tx, y) : prepare_all(tx, y);
	if (rc == 0)
		rc = decide(tx, y);
	if (own)
		cfs_tx_unlock(m, &y->holder, &own->keys);
	if (rc == 0) {
		m->stats.tx_committed++;
		cfs_waitq_wake_all(&y->askers);
		(void)tell_start(y); /* not started: told after the next start, or asked */
		if (CFS_BREAK(NO_KEEP))
			try_remove(y);
	} else {
		m->stats.tx_aborted++;
		let_go(tx, n);
		try_remove(y);
	}
	try_put(y);
	return rc;
}

/* Everything is in our own shard: one record. */
static CFS_AWAITS int run_local(struct cfs_tx *tx)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_piece *own = tx->pieces[0];
	const uint32_t bytes = cfs_tx_results_max(own->steps.len_bytes);
	uint32_t dep_count = 0;
	struct cfs_items it;
	int rc = 0;

	rc = recall_here(m, &own->keys, session_of(tx));
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < own->keys.count; i++) {
		if (cfs_meta_is_settled(m, own->keys.ino[i]) || CFS_BREAK(NO_DIR_ASK))
			continue;
		rc = cfs_meta_settle(m, own->keys.ino[i]);
		return rc < 0 ? rc : -CFS_EAGAIN_LATER;
	}
	rc = cfs_shard_reserve(m->shard, bytes, tx->is_freeing);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; rc == 0 && i < own->keys.count; i++) {
		if (!cfs_meta_is_settled(m, own->keys.ino[i]) && !CFS_BREAK(NO_DIR_ASK))
			rc = -CFS_EAGAIN_LATER;
	}
	if (rc == 0 && is_leased(m, &own->keys, session_of(tx)))
		rc = -CFS_EAGAIN_LATER;
	if (rc == 0 && cfs_shard_has_ended(m->shard, session_of(tx)))
		rc = -CFS_ENO_SESSION;
	cfs_shard_items(m->shard, &it);
	if (rc == 0)
		rc = cfs_tx_steps_eval(m, own->steps.buf, own->steps.len_bytes, false, &it,
				       &own->seen);
	if (rc == 0) {
		if (tx->uses_serial && m->serials.has_dep) {
			dep_count = 1;
			m->serials.has_dep = false;
		}
		if (tx->reply)
			tx->reply(tx, tx->ctx);
		cfs_shard_commit(m->shard, &it, dep_count ? &m->serials.dep : NULL, dep_count,
				 tx->rq);
	}
	cfs_shard_unreserve(m->shard, bytes, tx->is_freeing);
	return rc;
}

/* Until no other transaction is in the way. */
static CFS_AWAITS int until_free(struct cfs_tx *tx)
{
	struct cfs_meta *m = tx->meta;
	struct cfs_tx_number n = number_new(m);
	int rc = try_run(tx, false, &n);

	while (rc == -CFS_EBUSY_TX) {
		m->stats.tx_busy++;
		if (!CFS_BREAK(SAME_NUMBER))
			n = number_new(m);
		if (CFS_BREAK(NO_ORDERED_RETRY)) {
			rc = try_run(tx, false, &n);
			continue;
		}
		m->stats.tx_ordered++;
		rc = try_run(tx, true, &n);
	}
	return rc;
}

CFS_AWAITS int cfs_tx_run(struct cfs_tx *tx)
{
	struct cfs_meta *m = tx->meta;
	int rc;

	for (uint32_t i = 0; i < tx->count; i++) {
		struct cfs_tx_piece *p = tx->pieces[i];

		rc = cfs_items_rc(&p->steps);
		if (rc == 0)
			rc = cfs_tx_steps_keys(p->steps.buf, p->steps.len_bytes, &p->keys,
					       &p->seen);
		if (rc < 0)
			return rc;
	}
	if (tx->count == 1 && tx->pieces[0]->shard == m->shard->id)
		return run_local(tx);
	/* Most have none in the way, and then nobody is asked. */
	do {
		rc = recall_pieces(tx);
		if (rc == 0)
			rc = until_free(tx);
	} while (rc == -CFS_ELEASED);
	return rc;
}

/* --- being asked --- */

void cfs_tx_dep_encode(uint8_t out[CFS_TX_DEP_BYTES], uint32_t shard,
		       const struct cfs_shard_pos *pos)
{
	cfs_le64 v[3] = { cfs_to_le64(shard), cfs_to_le64(pos->epoch), cfs_to_le64(pos->index) };

	memcpy(out, v, sizeof(v));
}

CFS_AWAITS int cfs_tx_serve_ask(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_tx_number n = cfs_tx_number_of(rq->msg);
	struct cfs_tx_try *y = try_find(m->tx, &n);
	uint64_t deadline;

	if (n.shard != m->shard->id)
		return -EINVAL;
	if (y && y->state == CFS_TX_RUNNING && !CFS_BREAK(ASK_ABORTS_RUNNING)) {
		/* The answer is near: the asker waits here rather than asks again. */
		y->refs++;
		deadline = cfs_deadline_narrow(cfs_now_ns() + ASK_WAIT_NS);
		(void)cfs_waitq_wait(&y->askers);
		cfs_deadline_restore(deadline);
		try_put(y);
		y = try_find(m->tx, &n);
	}
	if (y && y->state == CFS_TX_RUNNING && !CFS_BREAK(ASK_ABORTS_RUNNING)) {
		cfs_msg_set(&rq->reply, flags, CFS_F_UNDECIDED);
	} else if (y && y->state == CFS_TX_DECIDED) {
		cfs_tx_dep_encode(rq->scratch, m->shard->id, &y->at);
		cfs_msg_set(&rq->reply, flags, CFS_F_COMMIT);
		cfs_msg_set_bytes(&rq->reply, deps, rq->scratch, CFS_TX_DEP_BYTES);
	} else {
		cfs_msg_set(&rq->reply, flags, CFS_BREAK(NO_ASK_COORDINATOR) ? CFS_F_UNDECIDED : 0);
	}
	return 0;
}

/* --- checkpoint and facts --- */

CFS_AWAITS int cfs_tx_checkpoint_tries(struct cfs_meta *m, struct cfs_checkpoint *c)
{
	struct cfs_tx_number last = { 0 };
	int rc = 0;

	while (rc == 0) {
		uint8_t buf[sizeof(struct cfs_item_header) + sizeof(struct cfs_meta_tx_decide) +
			    CFS_TX_SHARDS_MAX * 8];
		struct cfs_rb_node *at = m->tx->tries.root;
		const struct cfs_tx_try *y = NULL;
		struct cfs_items it;

		while (at) { /* the first after the last */
			if (cfs_tx_number_cmp(&try_of(at)->number, &last) > 0) {
				y = try_of(at);
				at = at->left;
			} else {
				at = at->right;
			}
		}
		if (!y)
			break;
		last = y->number;
		if (y->state != CFS_TX_DECIDED)
			continue;
		cfs_items_init(&it, buf, sizeof(buf));
		add_decide(&it, y, true);
		rc = cfs_shard_checkpoint_add(
			c, CFS_META_TX_DECIDE, buf + sizeof(struct cfs_item_header),
			it.len_bytes - (uint32_t)sizeof(struct cfs_item_header));
	}
	return rc;
}

bool cfs_tx_is_decided(const struct cfs_meta *m, const struct cfs_tx_number *n)
{
	const struct cfs_tx_try *y = try_find(m->tx, n);

	return y && y->state == CFS_TX_DECIDED;
}

void cfs_tx_walk_tries(const struct cfs_meta *m,
		       void (*fn)(void *ctx, const struct cfs_meta_fact *fact), void *ctx)
{
	for (struct cfs_rb_node *n = cfs_rb_first(&m->tx->tries); n; n = cfs_rb_next(n)) {
		const struct cfs_tx_try *y = try_of(n);
		struct cfs_meta_fact fact = { .kind = CFS_META_FACT_DECISION,
					      .shard = m->shard->id,
					      .tx_shard = y->number.shard,
					      .tx_epoch = y->number.epoch,
					      .tx_count = y->number.count };

		if (y->state == CFS_TX_DECIDED)
			fn(ctx, &fact);
	}
}
