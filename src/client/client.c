#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client_internal.h"

static int take_opts(struct cfs_client *c, const struct cfs_client_opts *opts)
{
	if (opts->addr_count == 0 || opts->addr_count > CFS_CLIENT_ADDRS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < opts->addr_count; i++)
		if (!cfs_str_copy(c->addrs[i], sizeof(c->addrs[i]), opts->addrs[i]))
			return -EINVAL;
	c->addr_count = opts->addr_count;
	c->wait_ns = opts->wait_ns;
	c->recall = opts->recall;
	c->recall_all = opts->recall_all;
	c->let_go = opts->let_go;
	c->evicted = opts->evicted;
	c->recall_ctx = opts->recall_ctx;
	return 0;
}

static CFS_AWAITS int endpoint_open(struct cfs_client *c, const struct cfs_client_opts *opts,
				    char *err_out, uint32_t err_bytes)
{
	const char *own = opts->endpoint;
	const struct cfs_net_opts net = {
		.addr = own         ? own
			: opts->sim ? "sim:client/0"
				    : c->addrs[0],
		.sim = opts->sim,
		.is_client = true,
	};

	return cfs_net_open(&net, &c->net, err_out, err_bytes);
}

/* The first connection: tried as often as the time allows. */
static CFS_AWAITS int connect_first(struct cfs_client *c, const struct cfs_client_opts *opts)
{
	uint64_t wait_ns = opts->connect_ns ? opts->connect_ns : opts->wait_ns;
	uint64_t give_up_ns = wait_ns ? cfs_now_ns() + wait_ns : CFS_DEADLINE_NONE;
	uint64_t pause_ns = CFS_CLIENT_BACKOFF_MIN_NS;

	for (;;) {
		int rc = cfs_client_connect_once(c);

		/* Only an outage is worth waiting for. */
		if (rc != -CFS_EDISCONNECTED && rc != -ETIMEDOUT && rc != -CFS_EAGAIN_LATER &&
		    rc != -CFS_ENOT_HERE)
			return rc;
		if (cfs_now_ns() >= give_up_ns)
			return -ETIMEDOUT;
		rc = cfs_sleep_ns(pause_ns);
		if (rc < 0)
			return rc;
		pause_ns = CFS_MIN(pause_ns * 2, CFS_CLIENT_BACKOFF_MAX_NS);
	}
}

static CFS_AWAITS void client_destroy(struct cfs_client *c)
{
	cfs_client_map_fini(c);
	cfs_client_peers_close(c, true);
	if (c->net)
		cfs_net_close(c->net);
	for (struct cfs_list *n; (n = cfs_list_pop(&c->pieces_free));)
		free(cfs_list_entry(n, struct cfs_client_piece, link));
	cfs_client_files_fini(&c->files);
	free(c->floors);
	free(c);
}

static void client_init(struct cfs_client *c)
{
	cfs_list_init(&c->peers);
	cfs_list_init(&c->changes);
	cfs_list_init(&c->waiters);
	cfs_list_init(&c->pieces_free);
	cfs_group_init(&c->fibers);
	c->next_seq = 1;
	c->is_new = true;
	c->life_ns = CFS_CLIENT_LIFE_NS;
	do {
		c->session = cfs_rand_u64();
	} while (c->session == 0);
}

int cfs_client_open(const struct cfs_client_opts *opts, struct cfs_client **out, char *err_out,
		    uint32_t err_bytes)
{
	struct cfs_client *c = calloc(1, sizeof(*c));
	int rc;

	if (err_bytes > 0)
		err_out[0] = '\0';
	if (!c)
		return -ENOMEM;
	client_init(c);
	rc = take_opts(c, opts);
	if (rc < 0)
		snprintf(err_out, err_bytes,
			 "no usable server address given; name one as ADDR:PORT");
	if (rc == 0)
		rc = cfs_client_files_init(&c->files);
	if (rc == 0)
		rc = endpoint_open(c, opts, err_out, err_bytes);
	if (rc == 0) {
		rc = connect_first(c, opts);
		if (rc < 0)
			snprintf(err_out, err_bytes,
				 "no answer from %s: %s; check that the server runs there (cfs "
				 "status %s)",
				 c->addrs[0], cfs_err_text(rc), c->addrs[0]);
	}
	if (rc < 0) {
		cfs_group_cancel(&c->fibers);
		cfs_group_join(&c->fibers);
		client_destroy(c);
		return rc;
	}
	c->map_gen++;
	*out = c;
	return 0;
}

void cfs_client_close(struct cfs_client *c)
{
	if (!c)
		return;
	cfs_group_cancel(&c->fibers);
	cfs_group_join(&c->fibers);
	/* Best effort: a server ends sessions that went silent by itself. */
	if (!c->is_lost)
		cfs_client_bye(c, c->session);
	c->is_closing = true;
	client_destroy(c);
}

void cfs_client_op_init(struct cfs_client_op *op, struct cfs_client *c, uint32_t uid, uint32_t gid)
{
	*op = (struct cfs_client_op){ .client = c, .uid = uid, .gid = gid };
	if (c)
		op->session = c->session;
	cfs_waitq_init(&op->waiters);
}

void cfs_client_op_interrupt(struct cfs_client_op *op)
{
	op->is_interrupted = true;
	cfs_waitq_wake_all(&op->waiters);
}

void cfs_client_op_signal(struct cfs_client_op *op)
{
	op->is_signaled = true;
	cfs_waitq_wake_all(&op->waiters);
}

void cfs_client_bytes_fini(struct cfs_client_bytes *b)
{
	cfs_net_reply_fini(&b->reply);
	memset(b, 0, sizeof(*b));
}

void cfs_client_stats(const struct cfs_client *c, struct cfs_client_stats *out)
{
	*out = c->stats;
	out->files_open = c->files.count;
	out->is_lost = c->is_lost;
	cfs_net_stats(c->net, &out->net);
}

uint64_t cfs_client_op_count(const struct cfs_client *c, uint16_t op)
{
	return cfs_net_op_count(c->net, op);
}

uint64_t cfs_client_session(const struct cfs_client *c)
{
	return c->session;
}

int cfs_client_statfs(struct cfs_client_op *op, struct cfs_statfs *out)
{
	CFS_CLEANUP(cfs_net_reply_fini) struct cfs_net_reply reply = { 0 };
	struct cfs_msg req;
	int rc;

	cfs_client_request(&req, CFS_OP_STATFS, 0);
	req.has = 0;
	rc = cfs_client_call(op, 0, &req, &reply);
	if (rc < 0)
		return rc;
	if (!cfs_msg_is_set(&reply.msg, data))
		return -EIO;
	return cfs_statfs_decode(reply.msg.data.p, reply.msg.data.len, out);
}

int cfs_client_status(struct cfs_client_op *op, uint32_t flags, struct cfs_client_bytes *out)
{
	struct cfs_msg req;
	int rc;

	memset(out, 0, sizeof(*out));
	cfs_client_request(&req, CFS_OP_STATUS, 0);
	req.has = 0;
	cfs_msg_set(&req, flags, flags);
	rc = cfs_client_call(op, 0, &req, &out->reply);
	if (rc == 0 && !cfs_msg_is_set(&out->reply.msg, data))
		rc = -EIO;
	if (rc < 0) {
		cfs_client_bytes_fini(out);
		return rc;
	}
	out->p = out->reply.msg.data.p;
	out->len_bytes = out->reply.msg.data.len;
	return 0;
}
