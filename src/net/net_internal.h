/*
 * What the files of net share: endpoints, peers, calls, message buffers, and the table of a
 * transport.
 *
 * rpc.c knows calls: who waits for which reply, credits, deadlines, handlers. A transport moves
 * encoded messages and does RMA. inproc.c is one by itself; fabric.c and sim.c only move frames,
 * and conn.c makes connections of them: it finds out that a peer is gone, restarted or lost a
 * frame.
 */
#ifndef CFS_NET_NET_INTERNAL_H
#define CFS_NET_NET_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "base/list.h"
#include "base/reactor.h"
#include "net/net.h"
#include "proto/msg.h"

#define NET_CREDITS_DEFAULT 64u
#define NET_CREDITS_MAX 4096u
#define NET_HEADROOM_BYTES 32u /* before a message, for a transport's own header */
#define NET_BUF_SMALL_BYTES (8u * 1024 - 256)
#define NET_BUF_LARGE_BYTES CFS_MSG_BYTES_MAX
#define NET_OP_SPACE_BYTES 80u
#define NET_BUFS_KEPT_MAX 1024u /* free ones of each size */
#define NET_CLOSE_GRACE_NS (2ull * 1000 * 1000 * 1000)

struct net_addr;
struct net_conn;
struct net_conns;
struct net_link;
struct inproc_ep;

/* Bytes of one message on their way: encoded or received, never both. Belongs to the endpoint whose
 * list it is in. */
struct cfs_net_buf {
	struct cfs_list link; /* the endpoint's used or free ones */
	struct cfs_net *net;  /* NULL while it crosses cores */
	uint32_t cap_bytes;   /* after the headroom */
	uint32_t len_bytes;   /* of the message at net_buf_msg() */
	void *mr;             /* the transport's registration */
	void *desc;
	void *owner;  /* the transport's: connection or link that it is sent by */
	uint64_t xid; /* inproc: the call, apart from the bytes, which may be broken */
	struct inproc_ep *from, *to;
	struct cfs_list send_link;                         /* fabric: waits to be sent */
	_Alignas(16) uint8_t op_space[NET_OP_SPACE_BYTES]; /* fabric: its operation */
	int bounce_rc;                                     /* inproc: not delivered, why */
	uint8_t data[];                                    /* headroom, then the message */
};

static inline uint8_t *net_buf_msg(struct cfs_net_buf *b)
{
	return b->data + NET_HEADROOM_BYTES;
}

/* A request that waits for its reply; on the caller's stack. */
struct net_pending {
	struct cfs_list link; /* of the peer's */
	struct cfs_net_peer *peer;
	struct cfs_net_reply *out;
	uint64_t xid;
	uint16_t op;
	bool has_bulk;
	bool is_answered;        /* its credit may go back */
	struct cfs_done done;    /* there is a result */
	struct cfs_done settled; /* no peer touches the bulk region any more */
};

/* Entry of the table that finds the call of a reply: xid's low bits are the slot, the others tell
 * its uses apart. */
struct net_slot {
	uint64_t xid;
	struct net_pending *pending; /* NULL: its caller left early; the credit is still out */
	struct cfs_net_peer *peer;   /* NULL: free */
	uint32_t next_free;
};
#define NET_SLOT_BITS 16
#define NET_SLOTS_MAX (1u << NET_SLOT_BITS)
#define NET_SLOT_NONE UINT32_MAX

struct cfs_net_peer {
	struct cfs_list link;
	struct cfs_net *net; /* NULL: the endpoint was closed first */
	char addr[CFS_NET_ADDR_BYTES];
	uint32_t credits_free;
	uint32_t resets; /* times that the connection was lost */
	struct cfs_waitq credit_wait;
	struct cfs_list pending;
	uint32_t callers;      /* fibers in cfs_net_call() */
	struct cfs_waitq idle; /* woken when the last of them leaves */
	bool is_closing;
	struct inproc_ep *ep;  /* inproc */
	struct net_conn *conn; /* the others */
};

struct cfs_net_call {
	struct cfs_list link; /* of the endpoint's */
	struct cfs_net *net;
	struct cfs_net_buf *buf; /* that the request's bytes are in */
	struct cfs_msg req;
	struct inproc_ep *from; /* inproc */
	struct net_conn *conn;  /* the others; NULL: it was lost */
	struct cfs_list conn_link;
	uint32_t rma_active;
	bool is_replied;
	bool is_fenced;   /* the caller took its bulk region back */
	bool fence_asked; /* and waits to hear that nothing is under way */
};

/* A transport. Those with `link_send` get their connections from conn.c. */
struct net_ops {
	const char *scheme;
	CFS_AWAITS int (*open)(struct cfs_net *net, const struct cfs_net_opts *opts, char *err_out,
			       uint32_t err_bytes);
	/* Handlers did not end in time: ends the RMA that they may wait for. NULL: it always ends.
	 */
	CFS_AWAITS void (*shutdown)(struct cfs_net *net);
	/* Nothing of this endpoint is touched by anybody after it. */
	CFS_AWAITS void (*close)(struct cfs_net *net);
	int (*peer_open)(struct cfs_net_peer *p);
	void (*peer_close)(struct cfs_net_peer *p);
	/* Sees that @p gets credits, or fails at once. */
	CFS_AWAITS int (*peer_connect)(struct cfs_net_peer *p);
	/* Both take @b, whatever they return. */
	int (*request)(struct cfs_net_peer *p, struct cfs_net_buf *b);
	void (*reply)(struct cfs_net_call *c, struct cfs_net_buf *b);
	/* No reply will be sent: the caller is to be told that it is disconnected. */
	void (*refuse)(struct cfs_net_call *c);
	/* Sees that @pd->settled completes. */
	void (*settle)(struct net_pending *pd);
	int (*region_open)(struct cfs_net *net, struct cfs_net_region *r);
	void (*region_close)(struct cfs_net *net, struct cfs_net_region *r);
	void *(*bulk)(const struct cfs_net_call *c);
	/* Between @buf and @remote + @off_bytes of the caller's region; bounds are checked. */
	CFS_AWAITS int (*rma)(struct cfs_net_call *c, bool is_write, uint64_t off_bytes, void *buf,
			      uint32_t len_bytes);
	/* A request over a connection is being served. */
	void (*call_started)(struct cfs_net_call *c);
	/* So many requests and replies may now come at once. NULL: no matter. */
	void (*credits_changed)(struct cfs_net *net, uint32_t credits);
	/* What conn.c needs of a fabric. A link is a way to one address; link_send() takes @b and
	 * never calls back. */
	CFS_AWAITS int (*resolve)(struct cfs_net *net, const char *addr, struct net_addr *out);
	int (*link_open)(struct cfs_net *net, const struct net_addr *addr, struct net_link **out);
	void (*link_close)(struct cfs_net *net, struct net_link *link);
	void (*link_send)(struct cfs_net *net, struct net_link *link, struct cfs_net_buf *b);
	/* Memory that messages are sent from and received in; NULL: needs nothing. */
	int (*buf_register)(struct cfs_net *net, struct cfs_net_buf *b);
	void (*buf_unregister)(struct cfs_net *net, struct cfs_net_buf *b);
};

struct cfs_net {
	const struct net_ops *ops;
	char addr[CFS_NET_ADDR_BYTES];
	uint32_t core;
	uint32_t credits;
	cfs_net_handler handler;
	void *handler_ctx;
	bool is_closing;
	struct cfs_list peers;
	struct cfs_list calls; /* being served */
	struct cfs_list calls_free;
	struct cfs_group handlers;
	uint32_t callers;      /* fibers in cfs_net_call() */
	struct cfs_waitq idle; /* woken when the last of them leaves */
	struct net_slot *slots;
	uint32_t slots_count, slot_free;
	struct cfs_list bufs_used, bufs_small, bufs_large;
	uint32_t bufs_small_count, bufs_large_count;
	struct cfs_net_stats stats;
	uint64_t op_counts[CFS_OP_COUNT_MAX];
	void (*inject)(void *ctx, uint8_t *msg,
		       uint32_t len_bytes); /* tests: spoils what is sent */
	void *inject_ctx;
	struct inproc_ep *ep;    /* inproc */
	struct net_conns *conns; /* the others */
	void *transport;
};

extern const struct net_ops net_inproc_ops, net_sim_ops;
extern const struct net_ops net_fabric_tcp_ops, net_fabric_verbs_ops, net_fabric_shm_ops;

/* --- buffers (net_buf.c) --- */

/* One of at least @len_bytes after the headroom; NULL: no memory. */
struct cfs_net_buf *net_buf_get(struct cfs_net *net, uint32_t len_bytes);
void net_buf_put(struct cfs_net_buf *b); /* NULL is fine */
/* To let one cross cores: out of the sender's lists, then into the receiver's. */
void net_buf_detach(struct cfs_net_buf *b);
void net_buf_attach(struct cfs_net *net, struct cfs_net_buf *b);
void net_bufs_fini(struct cfs_net *net);

/* --- what transports tell rpc.c --- */

/*
 * A message from a caller or a peer. Takes @b. 0; negative: it was refused, @b is gone, and the
 * sender is not to be trusted further. Of @from and @conn one is NULL.
 */
int net_request_arrived(struct cfs_net *net, struct inproc_ep *from, struct net_conn *conn,
			struct cfs_net_buf *b);
int net_reply_arrived(struct cfs_net *net, uint64_t xid, struct net_conn *conn,
		      struct cfs_net_buf *b);
/* The call's message came back: it gets @rc. */
void net_call_bounced(struct cfs_net *net, uint64_t xid, int rc);
/* The connection is gone: every call under way gets -CFS_EDISCONNECTED, credits are @credits again.
 */
void net_peer_lost(struct cfs_net_peer *p, uint32_t credits);
/* @credits more may be sent: connected. */
void net_peer_ready(struct cfs_net_peer *p, uint32_t credits);
/* No peer touches the call's bulk region any more. */
void net_pending_settled(struct net_pending *pd);
struct net_pending *net_pending_find(struct cfs_net *net, uint64_t xid);

/* Simulator only: frees @net as if its process was killed. Nobody is woken or told. */
void net_forget(struct cfs_net *net);

/* For tests of what a receiver does with broken bytes: @fn sees every message that @net sends. */
void cfs_net_inject(struct cfs_net *net, void (*fn)(void *ctx, uint8_t *msg, uint32_t len_bytes),
		    void *ctx);

__attribute__((format(printf, 3, 4))) void net_say(char *err_out, uint32_t err_bytes,
						   const char *fmt, ...);

#endif
