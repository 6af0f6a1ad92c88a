/*
 * Connections over a fabric that only moves frames (doc/design/net.md). Inside of net.
 *
 * The calling side opens one when its peer is first used. It asks every CONN_TICK_NS, while calls
 * are under way, whether the other side is there (CONNECT again, answered by ACCEPT); frames are
 * counted, so the answer also says whether one was lost. After CONN_SILENT_MAX ticks without a
 * word, when a frame stays lost that long, when the fabric says that it cannot send, or when the
 * other side does not know the connection (it was restarted), the connection is gone: every call
 * over it ends with -CFS_EDISCONNECTED, and the next use makes a new one.
 */
#ifndef CFS_NET_CONN_H
#define CFS_NET_CONN_H

#include "net/frame_format.h"
#include "net/net_internal.h"

#define CONN_TICK_NS (200ull * 1000 * 1000)
#define CONN_SILENT_MAX 4u
#define CONN_IDLE_TICK_NS (20ull * 1000 * 1000 * 1000) /* who is idle says so that often */
#define CONN_SWEEP_NS (10ull * 1000 * 1000 * 1000)
#define CONN_SWEEPS_MAX 9u /* without a word, before the called side forgets a connection */
#define CONN_WINDOW 4096u  /* frames that may overtake a lost one */
#define CONN_MARKS 8u
#define CONNS_MAX 4096u

struct net_link; /* a transport's way to one address */

struct net_addr {
	uint32_t len_bytes;
	uint8_t bytes[CFS_FRAME_ADDR_BYTES];
};

enum conn_state { CONN_IDLE, CONN_RESOLVING, CONN_CONNECTING, CONN_UP };

/* What was sent, and what the other side said it sent, at one tick. */
struct conn_mark {
	uint32_t tick;
	uint32_t sent, their_sent;
};

struct net_conn {
	struct cfs_net *net;
	struct cfs_net_peer *peer; /* whose calls go over it; NULL: it was accepted */
	struct net_addr addr;
	bool is_resolved;
	struct net_link *link; /* NULL while IDLE */
	enum conn_state state;
	uint64_t id; /* ours; 0: none */
	uint64_t remote_id, remote_instance;
	uint32_t credits;      /* granted */
	struct cfs_list calls; /* accepted: being served */
	uint32_t in_flight;
	uint32_t sent;                     /* counted frames */
	uint32_t arrived;                  /* all of theirs below have arrived */
	uint64_t window[CONN_WINDOW / 64]; /* those that came early, by seq mod CONN_WINDOW */
	struct cfs_timer timer;
	bool is_heard; /* since the last tick */
	bool is_idle_tick;
	uint32_t silent; /* ticks or sweeps without a word */
	uint32_t tick, sent_at_tick;
	struct conn_mark marks[CONN_MARKS];
};

/* All connections of an endpoint. */
struct net_conns {
	struct net_conn **table; /* by the low bits of their ids */
	uint32_t table_count, count;
	uint32_t credits; /* granted, by us and to us */
	uint64_t instance;
	struct net_addr self;
	struct cfs_timer sweep;
};

/* For the tables of the transports. */
int conn_layer_init(struct cfs_net *net, const struct net_addr *self);
void conn_layer_fini(struct cfs_net *net);   /* says goodbye where it can */
void conn_layer_forget(struct cfs_net *net); /* as if the process was killed */
void conn_forget(struct net_conn *conn);     /* that of a peer */
int conn_peer_open(struct cfs_net_peer *p);
void conn_peer_close(struct cfs_net_peer *p);
CFS_AWAITS int conn_peer_connect(struct cfs_net_peer *p);
int conn_request(struct cfs_net_peer *p, struct cfs_net_buf *b);
void conn_reply(struct cfs_net_call *c, struct cfs_net_buf *b);
void conn_refuse(struct cfs_net_call *c);
void conn_settle(struct net_pending *pd);
void conn_call_started(struct cfs_net_call *c);
/* A call's RMA ended: tells the caller, if it asked. */
void conn_rma_ended(struct cfs_net_call *c);

/* What transports report. Takes @b, which holds a whole frame: header in the headroom, body of
 * @b->len_bytes behind it. */
void conn_frame_arrived(struct cfs_net *net, struct cfs_net_buf *b);
/* The fabric cannot send over @link: every connection over it is gone. Not from within link_send().
 */
void conn_link_failed(struct cfs_net *net, struct net_link *link);

#endif
