/*
 * Happy path: CONNECT (conn 0, hello) -> ACCEPT (hello) -> MSG both ways -> CLOSE. The called side
 * makes its half when the CONNECT comes; a CONNECT that it has seen (the same number and instance)
 * is answered again, so a lost ACCEPT heals, and the same frame serves as the question whether
 * anybody is there.
 *
 * Failures. The other process is gone: its answers stop, or the fabric cannot send. It was
 * restarted: it does not know the number in the question and says CLOSE. A frame is lost (a fabric
 * that we use promises that none is, and a simulated one breaks the promise): the answer says which
 * of ours arrived, and what it sent; what is missing for CONN_SILENT_MAX ticks is lost. A frame
 * that does not decode on a connection ends it, for its sender is broken; other garbage is counted
 * and dropped.
 *
 * Invariants. A connection's number is random and never used again; what comes for an unknown one
 * does nothing. A request counts against its connection until it is answered, so a peer cannot make
 * us serve more than it was granted. When a connection is gone, its calls have their result and
 * settled bulk regions, and replies of its requests go nowhere.
 *
 * Frames are not put in order, and one that comes twice is taken twice: calls above are exactly
 * once by session and sequence.
 */
#include "net/conn.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"

#define TABLE_FIRST 16u
#define ID_SLOT_MASK (CONNS_MAX - 1)

static void tick_fired(void *arg);

/* --- the table --- */

static int conn_number(struct net_conn *conn)
{
	struct net_conns *cs = conn->net->conns;
	uint32_t slot = 0;

	while (slot < cs->table_count && cs->table[slot])
		slot++;
	if (slot == cs->table_count) {
		uint32_t count = cs->table_count > 0 ? 2 * cs->table_count : TABLE_FIRST;
		struct net_conn **table;

		if (count > CONNS_MAX)
			return -EAGAIN;
		table = realloc(cs->table, count * sizeof(struct net_conn *));
		if (!table)
			return -ENOMEM;
		memset(table + cs->table_count, 0,
		       (count - cs->table_count) * sizeof(struct net_conn *));
		cs->table = table;
		cs->table_count = count;
	}
	do {
		conn->id = (cfs_rand_u64() & ~(uint64_t)ID_SLOT_MASK) | slot;
	} while (conn->id <= ID_SLOT_MASK);
	cs->table[slot] = conn;
	cs->count++;
	return 0;
}

static void conn_unnumber(struct net_conn *conn)
{
	struct net_conns *cs = conn->net->conns;

	if (conn->id == 0)
		return;
	cs->table[conn->id & ID_SLOT_MASK] = NULL;
	cs->count--;
	conn->id = 0;
}

static struct net_conn *conn_find(struct cfs_net *net, uint64_t id)
{
	struct net_conns *cs = net->conns;
	uint64_t slot = id & ID_SLOT_MASK;

	if (slot >= cs->table_count || !cs->table[slot] || cs->table[slot]->id != id)
		return NULL;
	return cs->table[slot];
}

/* --- sending --- */

static void header_put(struct cfs_net_buf *b, enum cfs_frame_kind kind, uint64_t to, uint32_t seq)
{
	struct cfs_frame_header h = {
		.magic = cfs_to_le32(CFS_FRAME_MAGIC),
		.version = cfs_to_le16(CFS_FRAME_VERSION),
		.kind = cfs_to_le16((uint16_t)kind),
		.conn = cfs_to_le64(to),
		.seq = cfs_to_le32(seq),
		.body_bytes = cfs_to_le32(b->len_bytes),
	};
	uint32_t crc = cfs_crc32c(0, &h, offsetof(struct cfs_frame_header, crc));

	static_assert(sizeof(h) == NET_HEADROOM_BYTES, "the headroom is for this header");
	if (kind != CFS_FRAME_MSG)
		crc = cfs_crc32c(crc, net_buf_msg(b), b->len_bytes);
	h.crc = cfs_to_le32(crc);
	memcpy(b->data, &h, sizeof(h));
}

/* Sends @b, which holds the body. */
static void frame_send(struct net_conn *conn, enum cfs_frame_kind kind, struct cfs_net_buf *b)
{
	bool is_counted = kind == CFS_FRAME_MSG || kind == CFS_FRAME_FENCE ||
			  kind == CFS_FRAME_FENCED;

	header_put(b, kind, conn->remote_id, is_counted ? conn->sent++ : 0);
	conn->net->ops->link_send(conn->net, conn->link, b);
}

/* Sends a frame with a body of ours. No memory counts as lost. */
static void frame_send_body(struct net_conn *conn, enum cfs_frame_kind kind, const void *body,
			    uint32_t len_bytes)
{
	struct cfs_net_buf *b = net_buf_get(conn->net, len_bytes);

	if (!b)
		return;
	if (len_bytes > 0)
		memcpy(net_buf_msg(b), body, len_bytes);
	b->len_bytes = len_bytes;
	frame_send(conn, kind, b);
}

static void hello_send(struct net_conn *conn, enum cfs_frame_kind kind)
{
	struct net_conns *cs = conn->net->conns;
	struct cfs_frame_hello hello = {
		.conn = cfs_to_le64(conn->id),
		.instance = cfs_to_le64(cs->instance),
		.credits = cfs_to_le32(conn->peer ? conn->net->credits : conn->credits),
		.sent = cfs_to_le32(conn->sent),
		.arrived = cfs_to_le32(conn->arrived),
		.addr_bytes = cfs_to_le32(cs->self.len_bytes),
	};

	memcpy(hello.addr, cs->self.bytes, cs->self.len_bytes);
	frame_send_body(conn, kind, &hello, sizeof(hello));
}

static void xid_send(struct net_conn *conn, enum cfs_frame_kind kind, uint64_t xid)
{
	struct cfs_frame_xid body = { .xid = cfs_to_le64(xid) };

	frame_send_body(conn, kind, &body, sizeof(body));
}

/* --- life --- */

static void credits_set(struct net_conn *conn, uint32_t credits)
{
	struct net_conns *cs = conn->net->conns;

	cs->credits = cs->credits - conn->credits + credits;
	conn->credits = credits;
	if (conn->net->ops->credits_changed)
		conn->net->ops->credits_changed(conn->net, cs->credits);
}

/* Takes the connection down; the struct stays. Nothing is sent. */
static void conn_reset(struct net_conn *conn)
{
	cfs_timer_disarm(&conn->timer);
	conn_unnumber(conn);
	while (!cfs_list_is_empty(&conn->calls)) {
		struct cfs_net_call *c = cfs_list_first(&conn->calls, struct cfs_net_call,
							conn_link);

		cfs_list_remove(&c->conn_link);
		c->conn = NULL;
	}
	if (conn->link)
		conn->net->ops->link_close(conn->net, conn->link);
	conn->link = NULL;
	conn->state = CONN_IDLE;
	conn->remote_id = conn->remote_instance = 0;
	conn->net->conns->credits -= conn->credits;
	conn->credits = conn->in_flight = 0;
	conn->sent = conn->arrived = 0;
	memset(conn->window, 0, sizeof(conn->window));
	memset(conn->marks, 0, sizeof(conn->marks));
	conn->is_heard = conn->is_idle_tick = false;
	conn->silent = conn->tick = conn->sent_at_tick = 0;
}

static struct net_conn *conn_new(struct cfs_net *net, struct cfs_net_peer *p)
{
	struct net_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->net = net;
	conn->peer = p;
	cfs_list_init(&conn->calls);
	return conn;
}

/* The connection is gone. An accepted one goes with it: @conn is not valid after that. */
static void conn_lost(struct net_conn *conn)
{
	struct cfs_net_peer *p = conn->peer;

	if (p && conn->state == CONN_IDLE)
		return;
	conn_reset(conn);
	if (p) {
		net_peer_lost(p, 0);
	} else {
		conn->net->stats.disconnects++;
		free(conn);
	}
}

/* The same, and the other side is told. */
static void conn_end(struct net_conn *conn)
{
	if (conn->state == CONN_UP)
		frame_send_body(conn, CFS_FRAME_CLOSE, NULL, 0);
	conn_lost(conn);
}

void conn_link_failed(struct cfs_net *net, struct net_link *link)
{
	struct net_conns *cs = net->conns;

	for (uint32_t i = 0; cs && i < cs->table_count; i++)
		if (cs->table[i] && cs->table[i]->link == link)
			conn_lost(cs->table[i]);
}

static void tick_arm(struct net_conn *conn, bool is_idle)
{
	conn->is_idle_tick = is_idle;
	cfs_timer_arm(&conn->timer, cfs_now_ns() + (is_idle ? CONN_IDLE_TICK_NS : CONN_TICK_NS),
		      tick_fired, conn);
}

/* Every frame counted at a tick CONN_SILENT_MAX ago has arrived by now, or it never will. */
static bool is_frame_lost(const struct net_conn *conn, uint32_t their_arrived)
{
	for (uint32_t i = 0; i < CONN_MARKS; i++) {
		const struct conn_mark *m = &conn->marks[i];

		if (m->tick == 0 || conn->tick - m->tick < CONN_SILENT_MAX)
			continue;
		if ((int32_t)(their_arrived - m->sent) < 0 ||
		    (int32_t)(conn->arrived - m->their_sent) < 0)
			return true;
	}
	return false;
}

static void tick_fired(void *arg)
{
	struct net_conn *conn = arg;
	bool is_idle = conn->state == CONN_UP && cfs_list_is_empty(&conn->peer->pending) &&
		       conn->sent == conn->sent_at_tick;

	conn->silent = conn->is_heard || conn->is_idle_tick ? 0 : conn->silent + 1;
	if (conn->silent >= CONN_SILENT_MAX) {
		conn_lost(conn);
		return;
	}
	conn->is_heard = false;
	conn->tick++;
	conn->sent_at_tick = conn->sent;
	conn->marks[conn->tick % CONN_MARKS] = (struct conn_mark){
		.tick = conn->tick,
		.sent = conn->sent,
		.their_sent = conn->arrived,
	};
	hello_send(conn, CFS_FRAME_CONNECT);
	tick_arm(conn, is_idle);
}

/* --- the calling side --- */

int conn_peer_open(struct cfs_net_peer *p)
{
	p->conn = conn_new(p->net, p);
	return p->conn ? 0 : -ENOMEM;
}

void conn_peer_close(struct cfs_net_peer *p)
{
	struct net_conn *conn = p->conn;

	if (conn->state == CONN_UP)
		frame_send_body(conn, CFS_FRAME_CLOSE, NULL, 0);
	conn_forget(conn);
	p->conn = NULL;
}

static int connect_start(struct net_conn *conn)
{
	int rc = conn->net->ops->link_open(conn->net, &conn->addr, &conn->link);

	if (rc < 0)
		return rc;
	rc = conn_number(conn);
	if (rc < 0) {
		conn_reset(conn);
		return rc;
	}
	conn->state = CONN_CONNECTING;
	tick_arm(conn, false);
	hello_send(conn, CFS_FRAME_CONNECT);
	return 0;
}

int conn_peer_connect(struct cfs_net_peer *p)
{
	struct net_conn *conn = p->conn;
	int rc = 0;

	if (conn->state != CONN_IDLE)
		return 0;
	if (!conn->is_resolved) {
		conn->state = CONN_RESOLVING;
		rc = p->net->ops->resolve(p->net, p->addr, &conn->addr);
		conn->state = CONN_IDLE;
		conn->is_resolved = rc == 0;
		if (rc == 0 && (p->is_closing || p->net->is_closing))
			rc = -CFS_EDISCONNECTED;
	}
	if (rc == 0)
		rc = connect_start(conn);
	if (rc < 0)
		net_peer_lost(p, 0);
	return rc;
}

int conn_request(struct cfs_net_peer *p, struct cfs_net_buf *b)
{
	struct net_conn *conn = p->conn;

	/* A credit is only out while the connection is up. */
	cfs_assert(conn->state == CONN_UP);
	if (conn->is_idle_tick) {
		conn->is_heard = false;
		tick_arm(conn, false);
	}
	frame_send(conn, CFS_FRAME_MSG, b);
	return 0;
}

void conn_settle(struct net_pending *pd)
{
	struct net_conn *conn = pd->peer->conn;

	cfs_assert(conn->state == CONN_UP); /* else the loss has settled it */
	xid_send(conn, CFS_FRAME_FENCE, pd->xid);
}

/* --- the called side --- */

void conn_reply(struct cfs_net_call *c, struct cfs_net_buf *b)
{
	struct net_conn *conn = c->conn;

	if (!conn) {
		net_buf_put(b);
		return;
	}
	cfs_assert(conn->in_flight > 0);
	conn->in_flight--;
	cfs_list_remove(&c->conn_link);
	c->conn = NULL;
	frame_send(conn, CFS_FRAME_MSG, b);
}

/* The caller finds out by the end of the connection. */
void conn_refuse(struct cfs_net_call *c)
{
	if (c->conn)
		conn_end(c->conn);
}

void conn_rma_ended(struct cfs_net_call *c)
{
	if (c->rma_active > 0 || !c->fence_asked || !c->conn)
		return;
	c->fence_asked = false;
	xid_send(c->conn, CFS_FRAME_FENCED, c->req.xid);
}

static void sweep_fired(void *arg)
{
	struct cfs_net *net = arg;
	struct net_conns *cs = net->conns;

	for (uint32_t i = 0; i < cs->table_count; i++) {
		struct net_conn *conn = cs->table[i];

		if (!conn || conn->peer)
			continue;
		conn->silent = conn->is_heard ? 0 : conn->silent + 1;
		conn->is_heard = false;
		if (conn->silent >= CONN_SWEEPS_MAX)
			conn_lost(conn);
	}
	if (cs->count > 0)
		cfs_timer_arm(&cs->sweep, cfs_now_ns() + CONN_SWEEP_NS, sweep_fired, net);
}

static struct net_conn *conn_accept(struct cfs_net *net, const struct cfs_frame_hello *hello)
{
	struct net_conns *cs = net->conns;
	struct net_conn *conn = conn_new(net, NULL);
	uint32_t wanted = cfs_from_le32(hello->credits);

	if (!conn)
		return NULL;
	conn->addr.len_bytes = cfs_from_le32(hello->addr_bytes);
	memcpy(conn->addr.bytes, hello->addr, conn->addr.len_bytes);
	if (net->ops->link_open(net, &conn->addr, &conn->link) < 0 || conn_number(conn) < 0) {
		conn_reset(conn);
		free(conn);
		return NULL;
	}
	conn->state = CONN_UP;
	conn->remote_id = cfs_from_le64(hello->conn);
	conn->remote_instance = cfs_from_le64(hello->instance);
	credits_set(conn, CFS_MAX(CFS_MIN(wanted, net->credits), 1u));
	if (!cs->sweep.slot)
		cfs_timer_arm(&cs->sweep, cfs_now_ns() + CONN_SWEEP_NS, sweep_fired, net);
	return conn;
}

/* The accepted connection that @hello speaks of. Those of an endpoint that was restarted at the
 * same address are over. */
static struct net_conn *accepted_find(struct cfs_net *net, const struct cfs_frame_hello *hello)
{
	struct net_conns *cs = net->conns;
	uint32_t addr_bytes = cfs_from_le32(hello->addr_bytes);
	struct net_conn *found = NULL;

	for (uint32_t i = 0; i < cs->table_count; i++) {
		struct net_conn *conn = cs->table[i];

		if (!conn || conn->peer || conn->addr.len_bytes != addr_bytes ||
		    memcmp(conn->addr.bytes, hello->addr, addr_bytes) != 0)
			continue;
		if (conn->remote_instance != cfs_from_le64(hello->instance))
			conn_lost(conn);
		else if (conn->remote_id == cfs_from_le64(hello->conn))
			found = conn;
	}
	return found;
}

/* Tells the sender of @hello that we do not know its connection. */
static void hello_refuse(struct cfs_net *net, const struct cfs_frame_hello *hello)
{
	struct net_conn *conn = conn_accept(net, hello);

	if (!conn)
		return;
	frame_send_body(conn, CFS_FRAME_CLOSE, NULL, 0);
	conn_reset(conn);
	free(conn);
}

static void connect_arrived(struct cfs_net *net, uint64_t to, const struct cfs_frame_hello *hello)
{
	struct net_conn *conn = NULL;

	if (!net->handler || net->is_closing)
		return;
	conn = to != 0 ? conn_find(net, to) : accepted_find(net, hello);
	if (conn && (conn->peer || conn->remote_id != cfs_from_le64(hello->conn)))
		return;
	if (!conn && to != 0) {
		hello_refuse(net, hello);
		return;
	}
	if (!conn)
		conn = conn_accept(net, hello);
	if (!conn)
		return;
	conn->is_heard = true;
	hello_send(conn, CFS_FRAME_ACCEPT);
}

/* --- arriving --- */

static void accept_arrived(struct net_conn *conn, const struct cfs_frame_hello *hello)
{
	uint32_t their_sent = cfs_from_le32(hello->sent);

	if (!conn->peer)
		return;
	if (conn->state == CONN_CONNECTING) {
		conn->state = CONN_UP;
		conn->remote_id = cfs_from_le64(hello->conn);
		conn->remote_instance = cfs_from_le64(hello->instance);
		credits_set(
			conn,
			CFS_MAX(CFS_MIN(cfs_from_le32(hello->credits), conn->net->credits), 1u));
		net_peer_ready(conn->peer, conn->credits);
		return;
	}
	if (conn->remote_id != cfs_from_le64(hello->conn) ||
	    conn->remote_instance != cfs_from_le64(hello->instance) ||
	    is_frame_lost(conn, cfs_from_le32(hello->arrived))) {
		conn_end(conn);
		return;
	}
	conn->marks[conn->tick % CONN_MARKS].their_sent = their_sent;
}

/* Counts a frame in. False: it cannot belong to this connection. */
static bool seq_take(struct net_conn *conn, uint32_t seq)
{
	uint32_t ahead = seq - conn->arrived;

	if ((int32_t)ahead < 0)
		return true; /* once more */
	if (ahead >= CONN_WINDOW)
		return false;
	conn->window[seq % CONN_WINDOW / 64] |= 1ull << seq % 64;
	while (conn->window[conn->arrived % CONN_WINDOW / 64] & 1ull << conn->arrived % 64) {
		conn->window[conn->arrived % CONN_WINDOW / 64] &= ~(1ull << conn->arrived % 64);
		conn->arrived++;
	}
	return true;
}

/* Requests come over accepted connections, replies over our own. */
static int msg_arrived(struct net_conn *conn, struct cfs_net_buf *b)
{
	uint64_t xid;

	if (conn->peer && cfs_msg_peek_xid(net_buf_msg(b), b->len_bytes, &xid) == 0)
		return net_reply_arrived(conn->net, xid, conn, b);
	/* Twice what was granted: in a simulation frames come twice. */
	if (!conn->peer && conn->in_flight < 2 * conn->credits)
		return net_request_arrived(conn->net, NULL, conn, b);
	conn->net->stats.bad_messages++;
	net_buf_put(b);
	return -CFS_EBAD_FORMAT;
}

void conn_call_started(struct cfs_net_call *c)
{
	c->conn->in_flight++;
	cfs_list_append(&c->conn->calls, &c->conn_link);
}

static void fence_arrived(struct net_conn *conn, uint64_t xid)
{
	cfs_list_for_each(node, &conn->calls) {
		struct cfs_net_call *c = cfs_list_entry(node, struct cfs_net_call, conn_link);

		if (c->req.xid != xid)
			continue;
		c->is_fenced = true;
		if (c->rma_active > 0) {
			c->fence_asked = true;
			return;
		}
	}
	/* Answered already, or not here yet: its region is gone when it comes. */
	xid_send(conn, CFS_FRAME_FENCED, xid);
}

static void fenced_arrived(struct net_conn *conn, uint64_t xid)
{
	struct net_pending *pd = net_pending_find(conn->net, xid);

	if (pd && pd->peer == conn->peer && pd->done.is_done)
		net_pending_settled(pd);
}

/* Checks everything that can be checked without knowing the connection. */
static int header_verify(const struct cfs_frame_header *h, const struct cfs_net_buf *b)
{
	const uint8_t *body = b->data + NET_HEADROOM_BYTES;
	uint32_t crc = cfs_crc32c(0, h, offsetof(struct cfs_frame_header, crc));
	uint16_t kind = cfs_from_le16(h->kind);

	if (cfs_from_le32(h->magic) != CFS_FRAME_MAGIC)
		return -CFS_EBAD_FORMAT;
	if (kind != CFS_FRAME_MSG)
		crc = cfs_crc32c(crc, body, b->len_bytes);
	if (cfs_from_le32(h->crc) != crc)
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le16(h->version) != CFS_FRAME_VERSION)
		return -CFS_EBAD_VERSION;
	if (cfs_from_le32(h->body_bytes) != b->len_bytes || cfs_from_le32(h->reserved) != 0)
		return -CFS_EBAD_FORMAT;
	switch (kind) {
	case CFS_FRAME_CONNECT:
	case CFS_FRAME_ACCEPT:
		return b->len_bytes == sizeof(struct cfs_frame_hello) ? 0 : -CFS_EBAD_FORMAT;
	case CFS_FRAME_FENCE:
	case CFS_FRAME_FENCED:
		return b->len_bytes == sizeof(struct cfs_frame_xid) ? 0 : -CFS_EBAD_FORMAT;
	case CFS_FRAME_CLOSE:
		return b->len_bytes == 0 ? 0 : -CFS_EBAD_FORMAT;
	case CFS_FRAME_MSG:
		return 0;
	default:
		return -CFS_EBAD_FORMAT;
	}
}

static bool hello_is_fine(const struct cfs_frame_hello *hello)
{
	return cfs_from_le64(hello->conn) != 0 &&
	       cfs_from_le32(hello->addr_bytes) <= sizeof(hello->addr);
}

static void counted_arrived(struct net_conn *conn, const struct cfs_frame_header *h,
			    struct cfs_net_buf *b)
{
	uint16_t kind = cfs_from_le16(h->kind);
	struct cfs_net *net = conn->net;
	struct cfs_frame_xid body = { 0 };

	if (conn->state != CONN_UP || !seq_take(conn, cfs_from_le32(h->seq))) {
		net->stats.bad_messages++;
		net_buf_put(b);
		if (conn->state == CONN_UP)
			conn_end(conn);
		return;
	}
	if (kind == CFS_FRAME_MSG) {
		if (msg_arrived(conn, b) < 0)
			conn_end(conn);
		return;
	}
	memcpy(&body, net_buf_msg(b), sizeof(body));
	net_buf_put(b);
	if (kind == CFS_FRAME_FENCE && !conn->peer)
		fence_arrived(conn, cfs_from_le64(body.xid));
	else if (kind == CFS_FRAME_FENCED && conn->peer)
		fenced_arrived(conn, cfs_from_le64(body.xid));
}

void conn_frame_arrived(struct cfs_net *net, struct cfs_net_buf *b)
{
	struct cfs_frame_header h;
	struct cfs_frame_hello hello;
	struct net_conn *conn;
	uint16_t kind;

	if (!net->conns) { /* the endpoint closes, and what is under way drains */
		net_buf_put(b);
		return;
	}
	memcpy(&h, b->data, sizeof(h));
	kind = cfs_from_le16(h.kind);
	if (header_verify(&h, b) < 0) {
		net->stats.bad_messages++;
		net_buf_put(b);
		return;
	}
	conn = conn_find(net, cfs_from_le64(h.conn));
	if (conn)
		conn->is_heard = true;
	if (kind == CFS_FRAME_CONNECT || kind == CFS_FRAME_ACCEPT) {
		memcpy(&hello, net_buf_msg(b), sizeof(hello));
		net_buf_put(b);
		if (!hello_is_fine(&hello))
			net->stats.bad_messages++;
		else if (kind == CFS_FRAME_CONNECT)
			connect_arrived(net, cfs_from_le64(h.conn), &hello);
		else if (conn)
			accept_arrived(conn, &hello);
		return;
	}
	if (!conn) {
		net->stats.strangers++;
		net_buf_put(b);
	} else if (kind == CFS_FRAME_CLOSE) {
		net_buf_put(b);
		conn_lost(conn);
	} else {
		counted_arrived(conn, &h, b);
	}
}

/* --- all of an endpoint --- */

int conn_layer_init(struct cfs_net *net, const struct net_addr *self)
{
	net->conns = calloc(1, sizeof(*net->conns));
	if (!net->conns)
		return -ENOMEM;
	net->conns->instance = cfs_rand_u64();
	net->conns->self = *self;
	return 0;
}

void conn_layer_fini(struct cfs_net *net)
{
	struct net_conns *cs = net->conns;

	if (!cs)
		return;
	for (uint32_t i = 0; i < cs->table_count; i++)
		if (cs->table[i])
			conn_end(cs->table[i]);
	conn_layer_forget(net);
}

void conn_forget(struct net_conn *conn)
{
	conn_reset(conn);
	free(conn);
}

void conn_layer_forget(struct cfs_net *net)
{
	struct net_conns *cs = net->conns;

	if (!cs)
		return;
	for (uint32_t i = 0; i < cs->table_count; i++) {
		struct net_conn *conn = cs->table[i];

		if (!conn)
			continue;
		conn_reset(conn);
		if (!conn->peer)
			free(conn);
	}
	cfs_timer_disarm(&cs->sweep);
	free(cs->table);
	free(cs);
	net->conns = NULL;
}
