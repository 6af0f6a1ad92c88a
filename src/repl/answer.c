#include "repl/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/stock.h"

struct cfs_answer_session {
	struct cfs_rb_node node;
	uint64_t id, floor;
	struct cfs_rb answers;
	uint32_t count;
};

struct cfs_answers {
	struct cfs_rb sessions;
	uint32_t count;
};

int cfs_answers_create(struct cfs_answers **out)
{
	struct cfs_answers *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*out = a;
	return 0;
}

static struct cfs_answer_session *session_of(struct cfs_rb_node *n)
{
	return cfs_container_of(n, struct cfs_answer_session, node);
}

static struct cfs_answer *answer_of(struct cfs_rb_node *n)
{
	return cfs_container_of(n, struct cfs_answer, node);
}

/* The session, or the link where it belongs. */
static struct cfs_answer_session *session_find(struct cfs_answers *a, uint64_t id,
					       struct cfs_rb_node **parent,
					       struct cfs_rb_node ***link)
{
	struct cfs_rb_node **at = &a->sessions.root;

	*parent = NULL;
	while (*at) {
		struct cfs_answer_session *s = session_of(*at);

		if (s->id == id)
			return s;
		*parent = *at;
		at = id < s->id ? &(*at)->left : &(*at)->right;
	}
	*link = at;
	return NULL;
}

static struct cfs_answer_session *session_get(struct cfs_answers *a, uint64_t id)
{
	struct cfs_rb_node *parent, **link;
	struct cfs_answer_session *s = session_find(a, id, &parent, &link);

	if (s)
		return s;
	s = cfs_stock_calloc(sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	cfs_rb_insert(&a->sessions, &s->node, parent, link);
	return s;
}

static void answer_free(struct cfs_answer *e)
{
	free(e->reply);
	free(e);
}

static void answer_unlink(struct cfs_answers *a, struct cfs_answer *e)
{
	struct cfs_answer_session *s = e->session;

	cfs_assert(e->is_linked);
	cfs_rb_remove(&s->answers, &e->node);
	e->is_linked = false;
	s->count--;
	a->count--;
	if (e->holders == 0)
		answer_free(e);
}

static struct cfs_answer *answer_get(struct cfs_answers *a, struct cfs_answer_session *s,
				     uint64_t seq, bool *is_new)
{
	struct cfs_rb_node **at = &s->answers.root, *parent = NULL;
	struct cfs_answer *e;

	*is_new = false;
	while (*at) {
		e = answer_of(*at);
		if (e->seq == seq)
			return e;
		parent = *at;
		at = seq < e->seq ? &(*at)->left : &(*at)->right;
	}
	e = cfs_stock_calloc(sizeof(*e));
	if (!e)
		return NULL;
	e->seq = seq;
	e->session = s;
	e->is_linked = true;
	cfs_waitq_init(&e->waiters);
	cfs_rb_insert(&s->answers, &e->node, parent, at);
	s->count++;
	a->count++;
	*is_new = true;
	return e;
}

/* What is below the floor was answered and received; a client that says so of one that runs is
 * believed only once that has ended. */
static void session_floor(struct cfs_answers *a, struct cfs_answer_session *s, uint64_t floor)
{
	struct cfs_rb_node *n = cfs_rb_first(&s->answers);

	if (floor > s->floor)
		s->floor = floor;
	while (n) {
		struct cfs_answer *e = answer_of(n);

		if (e->seq >= s->floor || !e->reply)
			break;
		n = cfs_rb_next(n);
		answer_unlink(a, e);
	}
}

void cfs_answers_destroy(struct cfs_answers *a)
{
	struct cfs_rb_node *n;

	if (!a)
		return;
	while ((n = cfs_rb_first(&a->sessions))) {
		struct cfs_answer_session *s = session_of(n);

		cfs_answers_drop_session(a, s->id);
	}
	free(a);
}

static void hold_put(struct cfs_answer *e)
{
	cfs_assert(e->holders > 0);
	if (--e->holders == 0 && !e->is_linked)
		answer_free(e);
}

CFS_AWAITS int cfs_answers_begin(struct cfs_answers *a, uint64_t session, uint64_t seq,
				 uint64_t floor, struct cfs_answer **out)
{
	for (;;) {
		struct cfs_answer_session *s = session_get(a, session);
		struct cfs_answer *e;
		bool is_new;
		int rc;

		if (!s)
			return -ENOMEM;
		session_floor(a, s, floor);
		if (seq < s->floor)
			return -CFS_EOLD_SEQUENCE;
		e = answer_get(a, s, seq, &is_new);
		if (!e)
			return -ENOMEM;
		if (is_new && s->count > CFS_ANSWERS_PER_SESSION_MAX) {
			answer_unlink(a, e);
			return -CFS_EAGAIN_LATER;
		}
		e->holders++;
		if (is_new || e->reply) {
			*out = e;
			return is_new ? 0 : 1;
		}
		rc = cfs_waitq_wait(&e->waiters);
		if (rc == 0 && e->reply) {
			*out = e;
			return 1;
		}
		hold_put(e);
		if (rc < 0)
			return rc;
	}
}

/* Without a reply the entry goes, so that a repeat runs the request again. */
void cfs_answers_end(struct cfs_answers *a, struct cfs_answer *e)
{
	if (!e->reply && e->is_linked)
		answer_unlink(a, e);
	cfs_waitq_wake_all(&e->waiters);
	hold_put(e);
}

void cfs_answers_keep_light(struct cfs_answer *e, const struct cfs_msg *reply, uint64_t epoch)
{
	uint8_t buf[CFS_ANSWER_BYTES_MAX];
	int len = cfs_answer_encode(reply, buf, sizeof(buf));

	if (len <= 0 || e->reply || !e->is_linked)
		return;
	e->reply = malloc((size_t)len);
	if (!e->reply)
		return;
	memcpy(e->reply, buf, (size_t)len);
	e->reply_bytes = (uint32_t)len;
	e->op = reply->op;
	e->epoch = epoch;
	e->is_light = true;
}

int cfs_answers_apply(struct cfs_answers *a, const struct cfs_item *item)
{
	struct cfs_item_answer h;
	struct cfs_answer *e;
	struct cfs_answer_session *s;
	struct cfs_msg check;
	uint8_t *reply;
	bool is_new;

	if (item->len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, item->data, sizeof(h));
	if (cfs_from_le32(h.len_bytes) != item->len_bytes - sizeof(h) ||
	    cfs_from_le32(h.len_bytes) > CFS_ANSWER_BYTES_MAX || cfs_from_le16(h.reserved) != 0)
		return -CFS_EBAD_FORMAT;
	if (cfs_answer_decode(item->data + sizeof(h), cfs_from_le32(h.len_bytes), &check) < 0)
		return -CFS_EBAD_FORMAT;
	s = session_get(a, cfs_from_le64(h.session));
	if (!s)
		return -ENOMEM;
	session_floor(a, s, cfs_from_le64(h.floor));
	if (cfs_from_le64(h.seq) < s->floor)
		return 0;
	reply = cfs_stock_malloc(cfs_from_le32(h.len_bytes) + 1ul);
	if (!reply)
		return -ENOMEM;
	e = answer_get(a, s, cfs_from_le64(h.seq), &is_new);
	if (!e) {
		free(reply);
		return -ENOMEM;
	}
	memcpy(reply, item->data + sizeof(h), cfs_from_le32(h.len_bytes));
	free(e->reply);
	e->reply = reply;
	e->is_light = false;
	e->reply_bytes = cfs_from_le32(h.len_bytes);
	e->op = cfs_from_le16(h.op);
	e->epoch = cfs_from_le64(h.epoch);
	e->index = cfs_from_le64(h.index);
	return 0;
}

bool cfs_answers_drop_session(struct cfs_answers *a, uint64_t session)
{
	struct cfs_rb_node *parent, **link, *n;
	struct cfs_answer_session *s = session_find(a, session, &parent, &link);
	bool was_any = false;

	if (!s)
		return false;
	while ((n = cfs_rb_first(&s->answers))) {
		answer_unlink(a, answer_of(n));
		was_any = true;
	}
	cfs_rb_remove(&a->sessions, &s->node);
	free(s);
	return was_any;
}

/* The first kept one past @seq. */
static const struct cfs_answer *answer_after(const struct cfs_answer_session *s, uint64_t seq)
{
	struct cfs_rb_node *at = s->answers.root, *best = NULL;

	while (at) {
		if (answer_of(at)->seq <= seq) {
			at = at->right;
		} else {
			best = at;
			at = at->left;
		}
	}
	while (best && (!answer_of(best)->reply || answer_of(best)->is_light))
		best = cfs_rb_next(best);
	return best ? answer_of(best) : NULL;
}

bool cfs_answers_next(const struct cfs_answers *a, uint64_t *session, uint64_t *seq,
		      uint64_t *floor_out, const struct cfs_answer **out)
{
	/* Few sessions: a walk from the first is cheap beside writing what it finds. */
	for (struct cfs_rb_node *n = cfs_rb_first(&a->sessions); n; n = cfs_rb_next(n)) {
		const struct cfs_answer_session *s = session_of(n);
		const struct cfs_answer *e;

		if (s->id < *session)
			continue;
		e = answer_after(s, s->id == *session ? *seq : 0);
		if (!e)
			continue;
		*session = s->id;
		*seq = e->seq;
		*floor_out = s->floor;
		*out = e;
		return true;
	}
	return false;
}

bool cfs_answers_has_session(const struct cfs_answers *a, uint64_t session)
{
	for (struct cfs_rb_node *n = cfs_rb_first(&a->sessions); n; n = cfs_rb_next(n))
		if (session_of(n)->id == session)
			return session_of(n)->count > 0;
	return false;
}

uint32_t cfs_answers_count(const struct cfs_answers *a)
{
	return a->count;
}
