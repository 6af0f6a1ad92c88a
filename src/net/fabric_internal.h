/* What the files of the fabric transport share: fabric.c moves frames and bulk, fabric_start.c
 * opens and closes, fabric_addr.c knows addresses. */
#ifndef CFS_NET_FABRIC_INTERNAL_H
#define CFS_NET_FABRIC_INTERNAL_H

#include <errno.h>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

#include "base/reactor.h"
#include "net/conn.h"

#define SHM_PREFIX "fi_shm://" /* the provider makes such a name unique */
#define SHM_NAMED "fi_ns://"   /* and takes such a one as it is */
#define HOST_BYTES_MAX 100u

struct fabric {
	struct cfs_net *net;
	const char *provider;
	bool is_shm;
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_cq *cq;
	struct fid_av *av;
	struct fid_ep *ep;
	struct cfs_poller poller;
	struct cfs_timer timer;
	uint64_t tick_ns; /* between looks, without a descriptor */
	bool has_failed;  /* a link failed and its connections do not know yet */
	bool is_down;
	struct cfs_list links;
	struct cfs_list rmas;
	uint32_t queued; /* sends and RMA that the provider has not taken */
	uint32_t recvs, recvs_wanted;
};

static inline struct fabric *fabric_of(const struct cfs_net *net)
{
	return net->transport;
}

/* libfabric's codes are errno's, and some past them. */
static inline int rc_of(ssize_t rc)
{
	return rc < 0 && rc > -FI_ERRNO_OFFSET ? (int)rc : rc < 0 ? -EIO : 0;
}

/* "HOST:PORT" or "[HOST]:PORT"; the port as digits. */
struct host_port {
	char host[HOST_BYTES_MAX];
	char port[8];
};
int host_port_parse(const char *text, struct host_port *out);
/* May it name an endpoint in shared memory? It becomes the name of a file in memory. */
bool fabric_shm_name_is_fine(const char *name, size_t len_bytes);
/* Is @a one that this fabric can use? It may come from a peer. */
bool fabric_addr_is_fine(const struct fabric *f, const struct net_addr *a);
/* The address that we got, as text, into the endpoint's. */
void fabric_addr_print(struct fabric *f, const struct net_addr *a);

/* Opens all of @f, which is zeroed but for its provider. @wait_fd_out: -1 where the provider has
 * none. */
CFS_AWAITS int fabric_start(struct fabric *f, const struct cfs_net_opts *opts,
			    struct net_addr *self_out, int *wait_fd_out, const char **what_out);
/* No operation touches memory after that. */
CFS_AWAITS void fabric_stop_ep(struct fabric *f);
/* Closes what is left. */
CFS_AWAITS void fabric_stop(struct fabric *f);
CFS_AWAITS int fabric_resolve(struct cfs_net *net, const char *addr, struct net_addr *out);

#endif
