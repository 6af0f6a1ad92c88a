/*
 * Opening and closing of a fabric's endpoint. libfabric looks at every interface, asks resolvers
 * and starts providers, so all of it runs on offload threads.
 */
#include "net/fabric_internal.h"

#include <dlfcn.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rdma/fi_cm.h>

#include "base/err.h"

#define FABRIC_VERSION FI_VERSION(1, 17)
#define MR_MODE (FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY)

/* A signal's handler of the PSM libraries, in which libfabric has its providers psm and psm2. */
static bool is_of_psm(const struct sigaction *now)
{
	Dl_info of;

	if (now->sa_handler == SIG_DFL || now->sa_handler == SIG_IGN ||
	    dladdr((void *)now->sa_sigaction, &of) == 0 || !of.dli_fname)
		return false;
	return strstr(of.dli_fname, "/libpsm") || strstr(of.dli_fname, "/libinfinipath");
}

/*
 * As they are loaded, these libraries take the fatal signals and those that end a program, to leave
 * a backtrace in the current folder. We come after them, being linked to them, and before main():
 * what is theirs becomes the default again.
 */
__attribute__((constructor)) static void psm_signals_undo(void)
{
	for (int sig = 1; sig < SIGRTMIN; sig++) {
		struct sigaction now;

		if (sigaction(sig, NULL, &now) == 0 && is_of_psm(&now))
			(void)signal(sig, SIG_DFL);
	}
}

/* --- starting: on an offload thread, since it looks at every interface and may ask a resolver ---
 */

struct opening {
	struct fabric *f;
	const struct cfs_net_opts *opts;
	struct net_addr self;
	int wait_fd;
	const char *what; /* failed */
};

static struct fi_info *hints_make(const struct fabric *f)
{
	struct fi_info *hints = fi_allocinfo();

	if (!hints)
		return NULL;
	hints->caps = FI_MSG | FI_RMA;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->mr_mode = MR_MODE;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
	hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
	/* A reply does not overtake what was written before it. */
	hints->tx_attr->msg_order = FI_ORDER_SAS | FI_ORDER_SAW;
	hints->rx_attr->msg_order = FI_ORDER_SAS | FI_ORDER_SAW;
	hints->fabric_attr->prov_name = strdup(f->provider);
	if (!hints->fabric_attr->prov_name) {
		fi_freeinfo(hints);
		return NULL;
	}
	return hints;
}

/* Where an endpoint of shared memory is: its name, or one that nobody else has. */
static int shm_hints(const struct opening *o, struct fi_info *hints)
{
	const char *name = strchr(o->opts->addr, ':') + 1;
	char text[CFS_FRAME_ADDR_BYTES];

	if (o->opts->is_client)
		(void)snprintf(text, sizeof(text), SHM_PREFIX "claudefs-%d-%llx", (int)getpid(),
			       (unsigned long long)o->f->tick_ns);
	else if (fabric_shm_name_is_fine(name, strlen(name)))
		(void)snprintf(text, sizeof(text), SHM_NAMED "%s", name);
	else
		return -EINVAL;
	hints->addr_format = FI_ADDR_STR;
	hints->src_addr = strdup(text);
	hints->src_addrlen = strlen(text) + 1;
	return hints->src_addr ? 0 : -ENOMEM;
}

/* An address that names no interface cannot be told to peers. */
static bool is_wildcard(const struct fi_info *info)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (info->addr_format == FI_SOCKADDR_IN && info->src_addrlen == sizeof(in)) {
		memcpy(&in, info->src_addr, sizeof(in));
		return in.sin_addr.s_addr == INADDR_ANY;
	}
	if (info->addr_format == FI_SOCKADDR_IN6 && info->src_addrlen == sizeof(in6)) {
		memcpy(&in6, info->src_addr, sizeof(in6));
		return memcmp(&in6.sin6_addr, &any, sizeof(any)) == 0;
	}
	return false;
}

static int info_get(struct opening *o)
{
	struct fabric *f = o->f;
	struct fi_info *hints = hints_make(f);
	const char *text = strchr(o->opts->addr, ':') + 1;
	struct host_port hp = { "127.0.0.1", "0" };
	uint64_t flags = 0;
	int rc = hints ? 0 : -ENOMEM;

	o->what = "not an address, give HOST:PORT or NAME";
	if (rc == 0 && f->is_shm) {
		rc = shm_hints(o, hints);
		if (rc == 0)
			rc = rc_of(fi_getinfo(FABRIC_VERSION, NULL, NULL, 0, hints, &f->info));
	} else if (rc == 0) {
		if (*text)
			rc = host_port_parse(text, &hp);
		/* A client without a server in mind stays on loopback. */
		if (!o->opts->is_client || !*text)
			flags = FI_SOURCE;
		if (rc == 0) {
			o->what = "no such host, or the provider is missing (fi_info -l lists "
				  "those there are)";
			rc = rc_of(fi_getinfo(FABRIC_VERSION, hp.host, hp.port, flags, hints,
					      &f->info));
		}
		if (rc == 0 && is_wildcard(f->info)) {
			o->what = "clients cannot connect to a wildcard, name one address of this "
				  "machine";
			rc = -EINVAL;
		}
	}
	if (hints)
		fi_freeinfo(hints);
	return rc;
}

static int ep_start(struct opening *o)
{
	struct fabric *f = o->f;
	struct fi_cq_attr cq_attr = {
		.format = FI_CQ_FORMAT_MSG,
		.wait_obj = FI_WAIT_FD,
		.size = f->info->rx_attr->size + f->info->tx_attr->size,
	};
	struct fi_av_attr av_attr = { .type = FI_AV_TABLE };
	int rc;

	free(f->info->dest_addr); /* of the server that it named: we have many peers */
	f->info->dest_addr = NULL;
	f->info->dest_addrlen = 0;
	o->what = "cannot open the fabric";
	rc = fi_fabric(f->info->fabric_attr, &f->fabric, NULL);
	if (rc == 0)
		rc = fi_domain(f->fabric, f->info, &f->domain, NULL);
	if (rc == 0) {
		rc = fi_cq_open(f->domain, &cq_attr, &f->cq, NULL);
		if (rc != 0) {
			cq_attr.wait_obj = FI_WAIT_NONE; /* shm */
			rc = fi_cq_open(f->domain, &cq_attr, &f->cq, NULL);
		}
	}
	if (rc == 0)
		rc = fi_av_open(f->domain, &av_attr, &f->av, NULL);
	if (rc == 0)
		rc = fi_endpoint(f->domain, f->info, &f->ep, NULL);
	if (rc == 0)
		rc = fi_ep_bind(f->ep, &f->av->fid, 0);
	if (rc == 0)
		rc = fi_ep_bind(f->ep, &f->cq->fid, FI_TRANSMIT | FI_RECV);
	if (rc == 0)
		rc = fi_enable(f->ep);
	if (rc != 0)
		return rc_of(rc);
	o->wait_fd = -1;
	if (cq_attr.wait_obj == FI_WAIT_FD && fi_control(&f->cq->fid, FI_GETWAIT, &o->wait_fd) != 0)
		o->wait_fd = -1;
	return 0;
}

static int open_run(void *arg)
{
	struct opening *o = arg;
	size_t len_bytes = sizeof(o->self.bytes);
	int rc = info_get(o);

	if (rc == 0)
		rc = ep_start(o);
	if (rc < 0)
		return rc;
	o->what = "the fabric does not tell our address";
	rc = rc_of(fi_getname(&o->f->ep->fid, o->self.bytes, &len_bytes));
	o->self.len_bytes = (uint32_t)len_bytes;
	return rc == 0 && len_bytes > sizeof(o->self.bytes) ? -EMSGSIZE : rc;
}

static void fid_close(struct fid *fid)
{
	if (fid)
		(void)fi_close(fid);
}

static int close_run(void *arg)
{
	struct fabric *f = arg;

	fid_close(f->av ? &f->av->fid : NULL);
	fid_close(f->cq ? &f->cq->fid : NULL);
	fid_close(f->domain ? &f->domain->fid : NULL);
	fid_close(f->fabric ? &f->fabric->fid : NULL);
	fi_freeinfo(f->info);
	return 0;
}

/* No operation touches memory after that. */
static int ep_close_run(void *arg)
{
	struct fabric *f = arg;

	fid_close(f->ep ? &f->ep->fid : NULL);
	f->ep = NULL;
	return 0;
}

int fabric_start(struct fabric *f, const struct cfs_net_opts *opts, struct net_addr *self_out,
		 int *wait_fd_out, const char **what_out)
{
	struct opening o = { .f = f, .opts = opts, .what = "out of memory" };
	int rc = cfs_offload(open_run, &o);

	*what_out = o.what;
	*self_out = o.self;
	*wait_fd_out = o.wait_fd;
	return rc;
}

void fabric_stop_ep(struct fabric *f)
{
	(void)cfs_offload(ep_close_run, f);
}

void fabric_stop(struct fabric *f)
{
	(void)cfs_offload(close_run, f);
}

/* --- finding peers --- */

struct resolving {
	const struct fabric *f;
	struct host_port hp;
	struct net_addr *out;
};

static int resolve_run(void *arg)
{
	struct resolving *r = arg;
	struct fi_info *hints = hints_make(r->f), *info = NULL;
	int rc = hints ? 0 : -ENOMEM;

	if (rc == 0)
		rc = rc_of(fi_getinfo(FABRIC_VERSION, r->hp.host, r->hp.port, 0, hints, &info));
	if (rc == 0 && (!info->dest_addr || info->dest_addrlen > sizeof(r->out->bytes)))
		rc = -EINVAL;
	if (rc == 0) {
		r->out->len_bytes = (uint32_t)info->dest_addrlen;
		memcpy(r->out->bytes, info->dest_addr, info->dest_addrlen);
	}
	if (info)
		fi_freeinfo(info);
	if (hints)
		fi_freeinfo(hints);
	return rc;
}

int fabric_resolve(struct cfs_net *net, const char *addr, struct net_addr *out)
{
	const struct fabric *f = fabric_of(net);
	const char *text = strchr(addr, ':') + 1;
	struct net_addr got = { 0 };
	struct resolving r = { .f = f, .out = &got };
	int rc;

	if (f->is_shm) {
		got.len_bytes = (uint32_t)snprintf((char *)got.bytes, sizeof(got.bytes),
						   SHM_NAMED "%s", text) +
				1;
		rc = got.len_bytes <= sizeof(got.bytes) ? 0 : -EINVAL;
	} else {
		rc = host_port_parse(text, &r.hp);
		if (rc == 0)
			rc = cfs_offload(resolve_run, &r);
	}
	if (rc == 0 && !fabric_addr_is_fine(f, &got))
		rc = -EINVAL;
	if (rc == 0)
		*out = got;
	return rc;
}
