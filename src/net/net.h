/*
 * The transport and the calls over it (doc/design/net.md).
 *
 * Three transports behind one interface: `inproc` (cores of one process), `fabric` (libfabric: tcp,
 * shm, verbs), `sim`. All pass the same encoded bytes through the same encoder and decoder; only
 * bulk payloads go by reference with inproc. Addresses are text: "inproc:NAME/CORE",
 * "tcp:HOST:PORT", "verbs:HOST:PORT", "shm:NAME", "sim:NODE/CORE".
 *
 * An *endpoint* belongs to one core: it answers calls to its address and makes calls to peers. A
 * *peer* is somebody's endpoint as seen from one of ours; it connects when first used and
 * reconnects by itself.
 */
#ifndef CFS_NET_NET_H
#define CFS_NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "proto/msg.h"

struct cfs_net; /* an endpoint */
struct cfs_net_peer;
struct cfs_net_buf;  /* a message's bytes */
struct cfs_net_call; /* a request being served */
struct cfs_net_sim;  /* simulated network: all its endpoints, delays, loss, cuts */

#define CFS_NET_ADDR_BYTES 128

/* Memory of ours that a peer may read or write. */
struct cfs_net_region {
	uint64_t addr, key, len_bytes;
	void *local; /* where it is, for inproc and sim */
	void *private;
};

/* Serves one request in a fiber of its own on the endpoint's core; must end with cfs_net_reply().
 */
typedef CFS_AWAITS void (*cfs_net_handler)(void *ctx, struct cfs_net_call *call);

struct cfs_net_opts {
	/*
	 * To listen on; "tcp:127.0.0.1:0" for any port, "tcp:[::1]:4000" for IPv6; not a wildcard,
	 * which peers could not be told. Of a client: the address of a server that it will call, so
	 * that its own is on the way there; "tcp:" alone is loopback.
	 */
	const char *addr;
	cfs_net_handler handler; /* NULL: makes calls only */
	void *ctx;
	struct cfs_net_sim *sim; /* for "sim:" */
	uint32_t credits;        /* requests in flight per peer; 0: 64 */
	bool is_client;          /* does not listen */
};

/* Opens an endpoint on the calling core. @err_out: a sentence with cause and next step.
 * -EADDRINUSE; -EINVAL; -ENOSYS; -errno. */
CFS_AWAITS int cfs_net_open(const struct cfs_net_opts *opts, struct cfs_net **out, char *err_out,
			    uint32_t err_bytes);
/*
 * Ends calls under way with -CFS_EDISCONNECTED and takes no more requests; handlers may finish for
 * two seconds, then they are cancelled. Waits for all of them; not from a handler of @net itself.
 * Peers that are still open end with it, and are still to be closed. NULL is fine.
 */
CFS_AWAITS void cfs_net_close(struct cfs_net *net);
/* The first half of that: what handlers use may go after it. Calls fail with -CFS_EDISCONNECTED. */
CFS_AWAITS void cfs_net_drain(struct cfs_net *net);
const char *cfs_net_addr(const struct cfs_net *net); /* with the port that it got */

/* --- calling --- */

/* Connects when it is first used. -EINVAL: not an address of @net's transport; -ENOMEM;
 * -CFS_EDISCONNECTED: @net is closing. */
int cfs_net_peer_open(struct cfs_net *net, const char *addr, struct cfs_net_peer **out);
/* Ends its calls with -CFS_EDISCONNECTED and waits for the callers to leave. NULL is fine. */
CFS_AWAITS void cfs_net_peer_close(struct cfs_net_peer *p);

/* The received reply: decoded, and the buffer that its bytes are in. */
struct cfs_net_reply {
	struct cfs_msg msg;
	struct cfs_net_buf *buf; /* of the endpoint; only for cfs_net_reply_fini(), before its
				    cfs_net_close() */
};
void cfs_net_reply_fini(struct cfs_net_reply *r);

/*
 * Sends @req (xid is set here) and waits for its reply. 0: a reply came, whatever its rc.
 * -CFS_EDISCONNECTED: no reply, it may have run or not; found out in about a second when the other
 * process is gone; so it is, too, when bytes were damaged on the way. -ETIMEDOUT; -ECANCELED (a
 * cancelled or late call's reply is dropped when it comes, and the call still waits until no peer
 * can touch the bulk region it gave). -EINVAL, -EMSGSIZE: @req breaks the rules of proto/msg.h;
 * -ENOMEM: not sent. The fiber's deadline goes along as deadline_ms, unless @req has an earlier
 * one.
 */
CFS_AWAITS int cfs_net_call(struct cfs_net_peer *p, struct cfs_msg *req, struct cfs_net_reply *out);

/* Registers memory for a peer's RMA, under a key of its own, until the region is closed. Close it
 * after the call that gave it has returned. -EINVAL: empty; -ENOMEM; -errno of the provider. */
int cfs_net_region_open(struct cfs_net *net, void *mem, uint64_t len_bytes,
			struct cfs_net_region *out);
void cfs_net_region_close(struct cfs_net *net, struct cfs_net_region *r);
static inline void cfs_net_region_set(struct cfs_msg *m, const struct cfs_net_region *r)
{
	cfs_msg_set(m, bulk_addr, r->addr);
	cfs_msg_set(m, bulk_key, r->key);
	cfs_msg_set(m, bulk_len, r->len_bytes);
}

/* --- serving --- */

const struct cfs_msg *cfs_net_call_request(const struct cfs_net_call *c);
struct cfs_net *cfs_net_call_net(const struct cfs_net_call *c);
/* Sends the reply (kind, op, xid, are set here) and ends the call: the handler does no RMA after
 * it. Errors of sending are the caller's retry's business; a reply that breaks the rules reaches
 * the caller as one with rc -EINVAL or -EMSGSIZE. The request's bytes live until the handler
 * returns. */
CFS_AWAITS void cfs_net_reply(struct cfs_net_call *c, struct cfs_msg *reply);
/* The caller's bulk region as memory (inproc), or NULL: then pull and push. Valid until the reply.
 */
void *cfs_net_call_bulk(const struct cfs_net_call *c);
/* RMA from/to the caller's region at @off_bytes of it, at most CFS_IO_BYTES_MAX. @buf is ours. 0;
 * -CFS_EDISCONNECTED: the caller is gone or took its memory back; -EINVAL: no region, or outside of
 * it. */
CFS_AWAITS int cfs_net_pull(struct cfs_net_call *c, uint64_t off_bytes, void *buf,
			    uint32_t len_bytes);
CFS_AWAITS int cfs_net_push(struct cfs_net_call *c, uint64_t off_bytes, const void *buf,
			    uint32_t len_bytes);
/* A region described in a message, of a caller that is not ours to answer: forwarded as it came (a
 * shard asks another to pull). Only works where the memory's owner is known to the peer; a node
 * forwards its own copy over fabric instead. */
bool cfs_net_bulk_is_forwardable(const struct cfs_net_call *c);

/* --- numbers --- */

struct cfs_net_stats {
	uint64_t requests_sent, replies_sent, requests_received, replies_received;
	uint64_t bytes_sent, bytes_received, rma_reads, rma_read_bytes, rma_writes, rma_write_bytes;
	uint64_t bad_messages, disconnects, credit_waits;
	uint64_t strangers; /* of connections that are not known, any more or at all */
};
void cfs_net_stats(const struct cfs_net *net, struct cfs_net_stats *out);
uint64_t cfs_net_op_count(const struct cfs_net *net, uint16_t op); /* requests sent, by operation */

/* --- the simulated network --- */

struct cfs_net_sim_opts {
	uint64_t delay_min_ns, delay_max_ns;
	/* Of frames; dice by cfs_rand_u64(). A request that comes twice is served twice. */
	uint32_t loss_ppm, dup_ppm;
	/* Some come later than others by up to so much. */
	uint32_t late_ppm;
	uint64_t late_ns;
};
int cfs_net_sim_create(const struct cfs_net_sim_opts *opts, struct cfs_net_sim **out);
void cfs_net_sim_destroy(struct cfs_net_sim *s);
/* A node's endpoints vanish as by SIGKILL: no reply, no unwinding; peers find out as with a real
 * network. Goes with cfs_domain_abandon(), before or after: neither the endpoints nor their peers
 * may be used again, not even to close them. */
void cfs_net_sim_kill(struct cfs_net_sim *s, const char *addr_prefix);
/* Cuts (or heals) what goes from one to the other prefix. */
void cfs_net_sim_cut(struct cfs_net_sim *s, const char *from_prefix, const char *to_prefix,
		     bool is_cut);
void cfs_net_sim_tune(struct cfs_net_sim *s, const struct cfs_net_sim_opts *opts);

#endif
