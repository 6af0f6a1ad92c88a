/* What every transport has to do: one list of cases, run by test_inproc, test_sim and test_fabric.
 */
#ifndef CFS_TESTS_UNIT_NET_CASES_H
#define CFS_TESTS_UNIT_NET_CASES_H

#include "base/fiber.h"
#include "net/net.h"

struct net_case {
	const char *server_addr; /* to listen on */
	const char *client_addr;
	struct cfs_net_sim *sim;
	uint32_t rounds; /* of what is repeated */
};

/* A server and a client that has it as a peer. */
struct pair {
	const struct net_case *kind;
	struct cfs_net *server, *client;
	struct cfs_net_peer *peer;
	char addr[CFS_NET_ADDR_BYTES]; /* the server's, with its port */
	/* the service's */
	struct cfs_waitq gate; /* FSYNC waits here */
	uint32_t at_gate, at_gate_max, served;
	uint64_t seen_bad; /* requests that are not what was sent */
};

CFS_AWAITS void pair_open(struct pair *p, const struct net_case *kind, uint32_t credits);
CFS_AWAITS void pair_close(struct pair *p);
CFS_AWAITS void pair_server_open(struct pair *p, const char *addr, uint32_t credits);
/* One LOOKUP of @name; checks the answer. Returns what cfs_net_call() does. */
CFS_AWAITS int pair_echo(struct pair *p, uint64_t ino, const char *name);
/* Echoes until it works, as a client that retries does; fails the test after @ms. */
CFS_AWAITS void pair_echo_retry(struct pair *p, uint64_t ino, const char *name, uint32_t ms);
CFS_AWAITS void service(void *ctx, struct cfs_net_call *call);
void pattern_fill(uint8_t *mem, uint32_t len_bytes, uint64_t seed);

CFS_AWAITS void case_echo(const struct net_case *kind);
CFS_AWAITS void case_many(const struct net_case *kind);
CFS_AWAITS void case_credits(const struct net_case *kind);
CFS_AWAITS void case_deadline(const struct net_case *kind);
CFS_AWAITS void case_cancel(const struct net_case *kind);
CFS_AWAITS void case_large(const struct net_case *kind);
CFS_AWAITS void case_bulk(const struct net_case *kind);
CFS_AWAITS void case_bulk_cancel(const struct net_case *kind);
CFS_AWAITS void case_flipped(const struct net_case *kind);
CFS_AWAITS void case_bad_reply(const struct net_case *kind);
CFS_AWAITS void case_reconnect(const struct net_case *kind);
CFS_AWAITS void case_close_busy(const struct net_case *kind);
/* Not for inproc: frames that no sender of ours would send. */
CFS_AWAITS void case_garbage(const struct net_case *kind);

#endif
