/*
 * The tables of transactions, the participant, and what both sides share. The coordinator is in
 * tx_run.c.
 *
 * Happy path and order of records: tx.h. What can happen besides:
 *   - A prepare comes twice: the number is found, prepared or on its way, and gets the same answer.
 * After its end it is refused: numbers that ended are kept until their coordinator says, with a
 * later prepare, that it keeps nothing below (floor). Below the floor all are refused.
 *   - Nobody tells a participant: it asks after 2 s, or soon when somebody waits for the key.
 * Decision in the log: commit. Try still running: the coordinator lets the asker wait. Neither:
 * abort, and since a number is used once, it stays so.
 *   - Any process dies: prepares and decisions are in the logs; locks and tries are not, and need
 * not be.
 *   - Power is cut: a decision rests on its prepares, a commit on its decision; logs end before
 * what rests on a lost record. A commit's record holds the results again, not the number alone, so
 * that it can be replayed over any checkpoint.
 */
#include "meta/tx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/stock.h"
#include "base/util.h"
#include "meta/tx_internal.h"

#define RETRY_NS (50ull * 1000 * 1000)
#define END_BYTES 4096u /* the end of a transaction besides its results: what they remove */

int cfs_tx_number_cmp(const struct cfs_tx_number *a, const struct cfs_tx_number *b)
{
	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return a->count == b->count ? 0 : a->count < b->count ? -1 : 1;
}

static bool number_is(const struct cfs_tx_number *a, const struct cfs_tx_number *b)
{
	return a->shard == b->shard && a->epoch == b->epoch && a->count == b->count;
}

struct cfs_meta_tx_number cfs_tx_number_encode(const struct cfs_tx_number *n)
{
	return (struct cfs_meta_tx_number){ cfs_to_le64(n->shard), cfs_to_le64(n->epoch),
					    cfs_to_le64(n->count) };
}

static struct cfs_tx_number number_decode(const struct cfs_meta_tx_number *n)
{
	return (struct cfs_tx_number){ cfs_from_le64(n->shard), cfs_from_le64(n->epoch),
				       cfs_from_le64(n->count) };
}

struct cfs_tx_number cfs_tx_number_of(const struct cfs_msg *msg)
{
	return (struct cfs_tx_number){ msg->tx_shard, msg->tx_epoch, msg->tx_count };
}

/* --- who meets a prepared key --- */

static struct cfs_tx_prepared *prepared_at(const struct cfs_meta *m, uint64_t ino)
{
	struct cfs_tx_key *k;

	if (m->tx->key_count == 0)
		return NULL;
	k = cfs_tx_key_find(m->tx, ino);
	return k && k->holder && k->holder->prepared && k->holder->prepared->is_placed
		       ? k->holder->prepared
		       : NULL;
}

bool cfs_meta_is_settled(const struct cfs_meta *m, uint64_t ino)
{
	return prepared_at(m, ino) == NULL;
}

/* Keeps the memory while somebody waits. */
static void prepared_put(struct cfs_tx_prepared *p)
{
	if (--p->refs > 0)
		return;
	free(p->results);
	free(p);
}

static CFS_AWAITS int wait_end(struct cfs_tx_prepared *p)
{
	int rc = 0;

	p->refs++;
	cfs_tx_ask_soon(p);
	while (rc == 0 && !p->is_over)
		rc = cfs_waitq_wait(&p->waiters);
	prepared_put(p);
	return rc;
}

CFS_AWAITS int cfs_meta_settle(struct cfs_meta *m, uint64_t ino)
{
	struct cfs_tx_prepared *p;
	int rc = 0;

	while (rc == 0 && (p = prepared_at(m, ino)))
		rc = wait_end(p);
	return rc;
}

CFS_AWAITS int cfs_tx_settle_name(struct cfs_meta *m, uint64_t dir, struct cfs_bytes name)
{
	struct cfs_tx_prepared *p;
	int rc = 0;

	while (rc == 0 && (p = prepared_at(m, dir)) &&
	       (!cfs_inode_find(&m->tables, dir) || /* the directory itself is what is prepared */
		cfs_tx_results_have_name(p->results, p->result_bytes, dir, name)))
		rc = wait_end(p);
	return rc;
}

/* --- prepared --- */

static struct cfs_tx_prepared *prepared_find(struct cfs_tx_table *t, const struct cfs_tx_number *n)
{
	cfs_list_for_each(l, &t->prepared[n->count % CFS_TX_BUCKETS]) {
		struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared, link);

		if (number_is(&p->number, n))
			return p;
	}
	return NULL;
}

static struct cfs_tx_prepared *prepared_create(struct cfs_meta *m, const struct cfs_tx_number *n)
{
	struct cfs_tx_prepared *p = cfs_stock_calloc(sizeof(*p));

	if (!p)
		return NULL;
	p->meta = m;
	p->number = *n;
	p->refs = 1;
	p->holder.prepared = p;
	cfs_waitq_init(&p->waiters);
	cfs_list_append(&m->tx->prepared[n->count % CFS_TX_BUCKETS], &p->link);
	return p;
}

/* It has an outcome, or was never placed: keys go, who waits goes on. */
static void prepared_end(struct cfs_tx_prepared *p)
{
	if (p->is_placed)
		p->meta->stats.tx_prepared_now--;
	p->is_over = true;
	cfs_list_remove(&p->link);
	cfs_timer_disarm(&p->timer);
	cfs_tx_unlock(p->meta, &p->holder, &p->keys);
	cfs_waitq_wake_all(&p->waiters);
	prepared_put(p);
}

/*
 * Places the end of @n with what it leaves. Told and asking may both come here; the second finds it
 * ended. 0; -ECANCELED.
 */
static CFS_AWAITS int prepared_finish(struct cfs_meta *m, const struct cfs_tx_number *n,
				      bool is_commit, const struct cfs_record_dep *dep)
{
	struct cfs_tx_prepared *p = prepared_find(m->tx, n);
	struct cfs_items it;
	struct cfs_meta_tx_end end = { cfs_tx_number_encode(n) };
	uint32_t bytes;
	uint8_t *to;
	int rc;

	if (!p || !p->is_placed)
		return 0;
	bytes = p->result_bytes + END_BYTES;

	/* The coordinator has decided: without room it waits until there is some. */
	while ((rc = cfs_shard_reserve(m->shard, bytes, true)) < 0) {
		if (rc == -ECANCELED || cfs_sleep_ns(RETRY_NS) < 0)
			return -ECANCELED;
	}
	p = prepared_find(m->tx, n);
	if (p && p->is_placed) {
		cfs_shard_items(m->shard, &it);
		to = cfs_items_add(&it, is_commit ? CFS_META_TX_COMMIT : CFS_META_TX_ABORT,
				   sizeof(end));
		memcpy(to, &end, sizeof(end));
		if (is_commit) {
			memcpy(it.buf + it.len_bytes, p->results, p->result_bytes);
			it.len_bytes += p->result_bytes;
			cfs_assert(cfs_tx_results_removals(m, p->results, p->result_bytes, &it) ==
				   0);
		}
		cfs_shard_commit(m->shard, &it, dep, is_commit && dep ? 1 : 0, NULL);
	}
	cfs_shard_unreserve(m->shard, bytes, true);
	return 0;
}

/* --- asking --- */

static struct cfs_record_dep dep_decode(struct cfs_bytes b)
{
	cfs_le64 v[3];

	memcpy(v, b.p, sizeof(v));
	return (struct cfs_record_dep){ .shard = (uint32_t)cfs_from_le64(v[0]),
					.epoch = cfs_from_le64(v[1]),
					.index = cfs_from_le64(v[2]) };
}

static bool has_dep(const struct cfs_msg *m)
{
	return cfs_msg_is_set(m, deps) && m->deps.len == CFS_TX_DEP_BYTES;
}

/* One question. 0: over; -EAGAIN: still running; -ECANCELED. */
static CFS_AWAITS int ask_once(struct cfs_meta *m, const struct cfs_tx_number *n)
{
	struct cfs_shard_env *env = m->shard->env;
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_TX_ASK };
	struct cfs_net_reply reply;
	struct cfs_record_dep dep;
	bool is_commit;
	uint32_t flags;
	int rc;

	cfs_msg_set(&msg, tx_shard, n->shard);
	cfs_msg_set(&msg, tx_epoch, n->epoch);
	cfs_msg_set(&msg, tx_count, n->count);
	m->stats.tx_asked++;
	rc = env->call(env->ctx, (uint32_t)n->shard, &msg, &reply);
	if (rc < 0)
		return rc == -ECANCELED ? rc : -EAGAIN;
	flags = cfs_msg_is_set(&reply.msg, flags) ? reply.msg.flags : 0;
	rc = cfs_msg_is_set(&reply.msg, rc) ? (int)reply.msg.rc : 0;
	if (rc < 0 || (flags & CFS_F_UNDECIDED)) {
		cfs_net_reply_fini(&reply);
		return -EAGAIN;
	}
	is_commit = (flags & CFS_F_COMMIT) && has_dep(&reply.msg);
	if (is_commit)
		dep = dep_decode(reply.msg.deps);
	cfs_net_reply_fini(&reply);
	return prepared_finish(m, n, is_commit, is_commit ? &dep : NULL);
}

static CFS_AWAITS void ask_run(void *arg)
{
	struct cfs_tx_prepared *p = arg;
	int rc = 0;

	cfs_deadline_restore(CFS_DEADLINE_NONE);
	while (!p->is_over && rc != -ECANCELED) {
		rc = ask_once(p->meta, &p->number);
		if (rc == -EAGAIN && !p->is_over && cfs_sleep_ns(RETRY_NS) == -ECANCELED)
			break;
	}
	p->is_asking = false;
	prepared_put(p);
}

static void ask_now(void *arg)
{
	struct cfs_tx_prepared *p = arg;

	if (p->is_over || p->is_asking)
		return;
	p->is_asking = true;
	p->refs++;
	if (cfs_group_start(&p->meta->shard->fibers, ask_run, p) < 0) {
		p->is_asking = false;
		p->refs--;
		if (!p->meta->shard->fibers.canceled) /* no memory now: later */
			cfs_timer_arm(&p->timer, cfs_now_ns() + CFS_TX_ASK_NS, ask_now, p);
	}
}

/* Somebody waits: what we are to be told is probably on its way, so not at once. */
void cfs_tx_ask_soon(struct cfs_tx_prepared *p)
{
	uint64_t due = cfs_now_ns() + CFS_TX_ASK_SOON_NS;

	if (!p->is_placed || p->is_asking || (p->timer.slot && p->timer.due_ns <= due))
		return;
	cfs_timer_disarm(&p->timer);
	cfs_timer_arm(&p->timer, due, ask_now, p);
}

/* --- requests --- */

/* Locks, evaluates and places. The keys are released by whoever ends it. */
static CFS_AWAITS int prepare(struct cfs_meta *m, struct cfs_tx_prepared *p,
			      struct cfs_shard_request *rq, const struct cfs_tx_seen *floor)
{
	const struct cfs_msg *msg = rq->msg;
	const uint32_t results_max = cfs_tx_results_max(msg->items.len), bytes = results_max + 512;
	bool is_ordered = cfs_msg_is_set(msg, flags) && (msg->flags & CFS_F_ORDERED);
	struct cfs_items it, results;
	struct cfs_meta_tx_prepare h = { .number = cfs_tx_number_encode(&p->number),
					 .floor_epoch = cfs_to_le64(floor->floor_epoch),
					 .floor_count = cfs_to_le64(floor->floor_count),
					 .keys = cfs_to_le32(p->keys.count) };
	uint8_t *to, *buf;
	int rc;

	rc = is_ordered ? cfs_tx_lock_wait(m, &p->holder, &p->keys)
			: cfs_tx_lock_try(m, &p->holder, &p->keys);
	if (rc < 0)
		return rc;
	rc = cfs_shard_reserve(m->shard, bytes, false);
	if (rc < 0)
		return rc;
	buf = malloc(results_max);
	rc = buf ? 0 : -ENOMEM;
	/* Its coordinator lets go, has it recalled, and comes again. */
	if (rc == 0 && cfs_tx_is_leased(m, &p->keys, msg->session))
		rc = -CFS_ELEASED;
	if (rc == 0 && p->holder.is_aborted)
		rc = -ECANCELED;
	if (rc == 0) {
		cfs_items_init(&results, buf, results_max);
		rc = cfs_tx_steps_eval(m, msg->items.p, msg->items.len, true, &results, &p->seen);
	}
	if (rc == 0) {
		uint32_t keys_bytes = p->keys.count * 8;

		cfs_shard_items(m->shard, &it);
		to = cfs_items_add(&it, CFS_META_TX_PREPARE,
				   (uint32_t)sizeof(h) + keys_bytes + results.len_bytes);
		memcpy(to, &h, sizeof(h));
		for (uint32_t i = 0; i < p->keys.count; i++) {
			cfs_le64 key = cfs_to_le64(p->keys.ino[i]);

			memcpy(to + sizeof(h) + i * 8, &key, 8);
		}
		memcpy(to + sizeof(h) + keys_bytes, results.buf, results.len_bytes);
		cfs_shard_commit(m->shard, &it, NULL, 0, NULL);
	}
	free(buf);
	cfs_shard_unreserve(m->shard, bytes, false);
	return rc;
}

static void reply_prepared(struct cfs_shard_request *rq, const struct cfs_tx_prepared *p)
{
	if (p->seen.has_attr)
		cfs_meta_reply_attr(rq, &p->seen.attr);
	/* After the attributes, which may set an index of their own: the decision rests on this. */
	cfs_msg_set(&rq->reply, index, p->at.index);
	rq->reply.epoch = p->at.epoch;
}

CFS_AWAITS int cfs_tx_serve_prepare(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_tx_number n = cfs_tx_number_of(rq->msg);
	struct cfs_tx_prepared *p;
	struct cfs_tx_peer *peer;
	struct cfs_tx_keys keys;
	struct cfs_tx_seen seen;
	int rc = cfs_tx_steps_keys(rq->msg->items.p, rq->msg->items.len, &keys, &seen);

	if (rc < 0)
		return rc;
	if (rq->msg->items.len > CFS_TX_STEPS_BYTES_MAX + 64)
		return -EINVAL;
	if (n.shard >= m->shard->env->shards || n.shard == m->shard->id || keys.count == 0)
		return -EINVAL;
	for (uint32_t i = 0; i < keys.count; i++) {
		if (!cfs_meta_is_home(m, keys.ino[i]))
			return -EINVAL;
	}
	while ((p = prepared_find(m->tx, &n)) &&
	       !p->is_placed) { /* a repeated one: the first is on its way */
		p->refs++;
		rc = cfs_waitq_wait(&p->waiters);
		prepared_put(p);
		if (rc < 0)
			return rc;
	}
	if (p) {
		reply_prepared(rq, p);
		return 0;
	}
	peer = cfs_tx_peer_get(m->tx, n.shard);
	if (!peer)
		return -ENOMEM;
	if (!CFS_BREAK(NO_ENDED) && cfs_tx_peer_refuses(peer, &n))
		return -CFS_EOLD_SEQUENCE;
	p = prepared_create(m, &n);
	if (!p)
		return -ENOMEM;
	p->keys = keys;
	p->refs++;
	rc = prepare(m, p, rq, &seen);
	if (rc == 0) {
		reply_prepared(rq, p);
		cfs_waitq_wake_all(&p->waiters);
		if (!p->is_over) /* it cannot be, but for what the apply did */
			cfs_timer_arm(&p->timer, cfs_now_ns() + CFS_TX_ASK_NS, ask_now, p);
	} else {
		prepared_end(p);
	}
	prepared_put(p);
	return rc;
}

CFS_AWAITS int cfs_tx_serve_end(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_tx_number n = cfs_tx_number_of(rq->msg);
	bool is_commit = rq->msg->flags & CFS_F_COMMIT;
	struct cfs_tx_prepared *p = prepared_find(m->tx, &n);
	struct cfs_record_dep dep;

	if (is_commit && !has_dep(rq->msg))
		return -EINVAL;
	if (!p)
		return 0; /* ended, or never here */
	if (!p->is_placed) {
		/* Let go while it still waits for its keys. */
		p->holder.is_aborted = true;
		for (uint32_t i = 0; i < p->keys.count; i++) {
			struct cfs_tx_key *k = cfs_tx_key_find(m->tx, p->keys.ino[i]);

			if (k)
				cfs_waitq_wake_all(&k->waiters);
		}
		return 0;
	}
	if (is_commit)
		dep = dep_decode(rq->msg->deps);
	return prepared_finish(m, &n, is_commit, is_commit ? &dep : NULL);
}

/* --- items --- */

static int apply_prepare(struct cfs_meta *m, const struct cfs_item *item,
			 const struct cfs_shard_pos *pos, bool is_load)
{
	struct cfs_meta_tx_prepare h;
	struct cfs_tx_number n, floor;
	struct cfs_tx_prepared *p;
	struct cfs_tx_peer *peer;
	uint32_t keys, rest;
	uint8_t *results;
	int rc;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	n = number_decode(&h.number);
	keys = cfs_from_le32(h.keys);
	rest = item->len_bytes - (uint32_t)sizeof(h);
	if (keys > CFS_TX_KEYS_MAX || keys * 8 > rest || h.reserved.raw != 0)
		return -CFS_EBAD_FORMAT;
	floor = (struct cfs_tx_number){ n.shard, cfs_from_le64(h.floor_epoch),
					cfs_from_le64(h.floor_count) };
	rc = cfs_tx_floor_raise(m->tx, &floor);
	if (rc < 0)
		return rc;
	peer = cfs_tx_peer_get(m->tx, n.shard);
	if (!peer)
		return -ENOMEM;
	p = prepared_find(m->tx, &n);
	if (is_load && (p || cfs_tx_peer_refuses(peer, &n)))
		return 0; /* the checkpoint is ahead */
	if (is_load)
		p = prepared_create(m, &n);
	rest -= keys * 8;
	results = cfs_stock_malloc(rest ? rest : 1);
	if (!p || !results) {
		free(results);
		return -ENOMEM;
	}
	p->keys.count = keys;
	for (uint32_t i = 0; i < keys; i++) {
		cfs_le64 key;

		memcpy(&key, item->data + sizeof(h) + i * 8, 8);
		p->keys.ino[i] = cfs_from_le64(key);
	}
	memcpy(results, item->data + sizeof(h) + keys * 8, rest);
	p->results = results;
	p->result_bytes = rest;
	p->at = *pos;
	if (cfs_from_le64(h.index))
		p->at = (struct cfs_shard_pos){ cfs_from_le64(h.epoch), cfs_from_le64(h.index) };
	p->is_placed = true;
	m->stats.tx_prepared_now++;
	return 0;
}

static int apply_end(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_meta_tx_end h;
	struct cfs_tx_number n;
	struct cfs_tx_prepared *p;

	if (item->len_bytes != sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	n = number_decode(&h.number);
	p = prepared_find(m->tx, &n);
	if (p)
		prepared_end(p);
	return cfs_tx_ended_add(m->tx, &n);
}

static int apply_ended(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_meta_tx_ended h;
	struct cfs_tx_number n;
	uint32_t rest = item->len_bytes - (uint32_t)sizeof(h);
	int rc;

	if (item->len_bytes < sizeof(h) || rest % 16)
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	n = (struct cfs_tx_number){ cfs_from_le64(h.shard), cfs_from_le64(h.floor_epoch),
				    cfs_from_le64(h.floor_count) };
	rc = cfs_tx_floor_raise(m->tx, &n);
	for (uint32_t at = 0; rc == 0 && at < rest; at += 16) {
		cfs_le64 v[2];

		memcpy(v, item->data + sizeof(h) + at, sizeof(v));
		n.epoch = cfs_from_le64(v[0]);
		n.count = cfs_from_le64(v[1]);
		rc = cfs_tx_ended_add(m->tx, &n);
	}
	return rc;
}

int cfs_tx_apply(struct cfs_meta *m, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		 bool is_load)
{
	switch (item->kind) {
	case CFS_META_TX_PREPARE:
		return apply_prepare(m, item, pos, is_load);
	case CFS_META_TX_COMMIT:
	case CFS_META_TX_ABORT:
		return apply_end(m, item);
	case CFS_META_TX_ENDED:
		return apply_ended(m, item);
	case CFS_META_TX_DECIDE:
		return cfs_tx_apply_decide(m, item, pos);
	case CFS_META_TX_FORGET:
		return cfs_tx_apply_forget(m, item);
	default:
		return -CFS_EBAD_FORMAT;
	}
}

/* --- the part's life --- */

int cfs_tx_table_create(struct cfs_meta *m)
{
	struct cfs_tx_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < CFS_TX_BUCKETS; i++) {
		cfs_list_init(&t->keys[i]);
		cfs_list_init(&t->prepared[i]);
	}
	cfs_list_init(&t->peers);
	cfs_list_init(&t->told);
	t->next_count = 1;
	m->tx = t;
	return 0;
}

void cfs_tx_table_destroy(struct cfs_meta *m)
{
	struct cfs_tx_table *t = m->tx;
	struct cfs_list *l;

	if (!t)
		return;
	cfs_tx_tries_fini(m);
	for (uint32_t i = 0; i < CFS_TX_BUCKETS; i++) {
		while (!cfs_list_is_empty(&t->prepared[i]))
			prepared_end(cfs_list_first(&t->prepared[i], struct cfs_tx_prepared, link));
		while ((l = cfs_list_pop(&t->keys[i])))
			free(cfs_list_entry(l, struct cfs_tx_key, link));
	}
	cfs_tx_peers_fini(t);
	free(t);
	m->tx = NULL;
}

void cfs_tx_ready(struct cfs_meta *m)
{
	for (uint32_t b = 0; b < CFS_TX_BUCKETS; b++) {
		cfs_list_for_each(l, &m->tx->prepared[b]) {
			struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared, link);

			/* What the log holds was locked when it was placed, one transaction a key.
			 */
			(void)cfs_tx_lock_try(m, &p->holder, &p->keys);
		}
	}
}

int cfs_tx_resume(struct cfs_meta *m)
{
	for (uint32_t b = 0; b < CFS_TX_BUCKETS; b++) {
		cfs_list_for_each(l, &m->tx->prepared[b])
			ask_now(cfs_list_entry(l, struct cfs_tx_prepared, link));
	}
	return cfs_tx_resume_tries(m);
}

static CFS_AWAITS int checkpoint_prepared(struct cfs_checkpoint *c, const struct cfs_tx_prepared *p)
{
	struct cfs_meta_tx_prepare h = { .number = cfs_tx_number_encode(&p->number),
					 .epoch = cfs_to_le64(p->at.epoch),
					 .index = cfs_to_le64(p->at.index),
					 .keys = cfs_to_le32(p->keys.count) };
	uint32_t keys_bytes = p->keys.count * 8;
	uint32_t len = (uint32_t)sizeof(h) + keys_bytes + p->result_bytes;
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = malloc(len);

	if (!buf)
		return -ENOMEM;
	memcpy(buf, &h, sizeof(h));
	for (uint32_t i = 0; i < p->keys.count; i++) {
		cfs_le64 key = cfs_to_le64(p->keys.ino[i]);

		memcpy(buf + sizeof(h) + i * 8, &key, 8);
	}
	memcpy(buf + sizeof(h) + keys_bytes, p->results, p->result_bytes);
	return cfs_shard_checkpoint_add(c, CFS_META_TX_PREPARE, buf, len);
}

CFS_AWAITS int cfs_tx_checkpoint(struct cfs_meta *m, struct cfs_checkpoint *c)
{
	int rc = 0;

	/* Peers are never removed, so that the list may be followed over a wait. */
	for (struct cfs_list *l = m->tx->peers.next; rc == 0 && l != &m->tx->peers; l = l->next)
		rc = cfs_tx_checkpoint_peer(cfs_list_entry(l, struct cfs_tx_peer, link), c);
	for (uint32_t b = 0; rc == 0 && b < CFS_TX_BUCKETS; b++) {
		struct cfs_list *head = &m->tx->prepared[b];
		struct cfs_list *l = head->next;

		while (rc == 0 && l != head) {
			struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared, link);

			p->refs++;
			if (p->is_placed)
				rc = checkpoint_prepared(c, p);
			/* One that ended meanwhile is out of the list, and in a record after the
			 * begin: from the bucket's start again, twice does no harm. */
			l = p->is_over ? head->next : l->next;
			prepared_put(p);
		}
	}
	return rc < 0 ? rc : cfs_tx_checkpoint_tries(m, c);
}

void cfs_tx_walk(const struct cfs_meta *m, void (*fn)(void *ctx, const struct cfs_meta_fact *fact),
		 void *ctx)
{
	for (uint32_t b = 0; b < CFS_TX_BUCKETS; b++) {
		cfs_list_for_each(l, &m->tx->prepared[b]) {
			const struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared,
									 link);
			struct cfs_meta_fact fact = { .kind = CFS_META_FACT_PREPARED,
						      .shard = m->shard->id,
						      .tx_shard = p->number.shard,
						      .tx_epoch = p->number.epoch,
						      .tx_count = p->number.count };

			for (uint32_t i = 0; p->is_placed && i < p->keys.count; i++) {
				fact.ino = p->keys.ino[i];
				fn(ctx, &fact);
			}
		}
	}
	cfs_tx_walk_tries(m, fn, ctx);
}

static int prepared_take_place(struct cfs_meta *m, struct cfs_tx_prepared *p)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = malloc(p->result_bytes + END_BYTES);
	struct cfs_items it;
	int rc;

	if (!buf)
		return -ENOMEM;
	cfs_items_init(&it, buf, p->result_bytes + END_BYTES);
	memcpy(it.buf, p->results, p->result_bytes);
	it.len_bytes = p->result_bytes;
	rc = cfs_tx_results_removals(m, p->results, p->result_bytes, &it);
	if (rc == 0)
		rc = cfs_shard_apply_items(m->shard, it.buf, it.len_bytes, &p->at, true);
	if (rc == 0)
		prepared_end(p);
	return rc;
}

int cfs_meta_resolve(struct cfs_meta *m, struct cfs_meta *(*coordinator)(void *ctx, uint64_t shard),
		     void *ctx)
{
	for (uint32_t b = 0; b < CFS_TX_BUCKETS; b++) {
		cfs_list_for_each_safe(l, next, &m->tx->prepared[b]) {
			struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared, link);
			struct cfs_meta *c = coordinator(ctx, p->number.shard);
			int rc = 0;

			if (p->is_placed && c && cfs_tx_is_decided(c, &p->number))
				rc = prepared_take_place(m, p);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

void cfs_tx_check(const struct cfs_meta *m, void (*report)(void *ctx, const char *what), void *ctx)
{
	struct cfs_tx_table *t = m->tx;
	uint32_t keys = 0;

	for (uint32_t b = 0; b < CFS_TX_BUCKETS; b++) {
		cfs_list_for_each(l, &t->keys[b]) {
			const struct cfs_tx_key *k = cfs_list_entry(l, struct cfs_tx_key, link);

			keys++;
			if (!k->holder && k->waiting == 0)
				report(ctx, "transaction: a key that nobody holds or waits for");
		}
		cfs_list_for_each(l, &t->prepared[b]) {
			const struct cfs_tx_prepared *p = cfs_list_entry(l, struct cfs_tx_prepared,
									 link);

			if (p->is_over)
				report(ctx, "transaction: an ended one is in the table");
		}
	}
	if (keys != t->key_count)
		report(ctx, "transaction: count of keys differs from the table");
}
