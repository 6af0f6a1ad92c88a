#include "cases.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "net/conn.h"
#include "net/net_internal.h"

#define MS 1000000ull
#define MIB (1024u * 1024)

/* --- the service --- */

void pattern_fill(uint8_t *mem, uint32_t len_bytes, uint64_t seed)
{
	for (uint32_t i = 0; i < len_bytes; i++)
		mem[i] = (uint8_t)(cfs_hash_u64(seed + i / 8) >> i % 8 * 8);
}

static uint64_t name_hash(const void *name, uint32_t len_bytes)
{
	return cfs_hash_bytes(name, len_bytes, 3);
}

static CFS_AWAITS int64_t serve_pull(struct cfs_net_call *call, const struct cfs_msg *req)
{
	uint8_t *got = malloc(req->len);
	uint8_t *want = malloc(req->len);
	int64_t rc;

	assert_true(got && want);
	rc = cfs_net_pull(call, req->off, got, (uint32_t)req->len);
	pattern_fill(want, (uint32_t)req->len, req->ino);
	if (rc == 0 && memcmp(got, want, req->len) != 0)
		rc = -CFS_EBAD_CHECKSUM;
	free(got);
	free(want);
	return rc;
}

static CFS_AWAITS int64_t serve_push(struct cfs_net_call *call, const struct cfs_msg *req)
{
	uint8_t *mem = malloc(req->len);
	int64_t rc;

	assert_true(mem);
	pattern_fill(mem, (uint32_t)req->len, req->ino);
	rc = cfs_net_push(call, req->off, mem, (uint32_t)req->len);
	free(mem);
	return rc;
}

static CFS_AWAITS int64_t serve_gate(struct pair *p)
{
	int64_t rc;

	p->at_gate++;
	p->at_gate_max = CFS_MAX(p->at_gate_max, p->at_gate);
	rc = cfs_waitq_wait(&p->gate);
	p->at_gate--;
	return rc;
}

void service(void *ctx, struct cfs_net_call *call)
{
	struct pair *p = ctx;
	const struct cfs_msg *req = cfs_net_call_request(call);
	static const uint8_t zeros[CFS_INLINE_BYTES_MAX];
	struct cfs_msg reply = { 0 };

	p->served++;
	switch (req->op) {
	case CFS_OP_LOOKUP:
		cfs_msg_set(&reply, ino, req->ino);
		cfs_msg_set(&reply, place, name_hash(req->name.p, req->name.len));
		break;
	case CFS_OP_READLINK:
		cfs_msg_set_bytes(&reply, data, zeros, (uint32_t)req->ino);
		break;
	case CFS_OP_SETXATTR:
		cfs_msg_set(&reply, rc, (int64_t)name_hash(req->data.p, req->data.len));
		break;
	case CFS_OP_GETATTR: /* a mistake: GETATTR's reply has no cookie */
		cfs_msg_set(&reply, cookie, 1);
		break;
	case CFS_OP_CHUNK_WRITE:
		cfs_msg_set(&reply, rc, serve_pull(call, req));
		break;
	case CFS_OP_CHUNK_READ:
		if (req->cut) /* not before the gate opens */
			(void)serve_gate(p);
		cfs_msg_set(&reply, rc, serve_push(call, req));
		break;
	case CFS_OP_FSYNC:
		cfs_msg_set(&reply, rc, serve_gate(p));
		break;
	default:
		p->seen_bad++;
	}
	cfs_net_reply(call, &reply);
}

/* --- pairs --- */

void pair_server_open(struct pair *p, const char *addr, uint32_t credits)
{
	char err[200] = "";
	struct cfs_net_opts opts = {
		.addr = addr,
		.handler = service,
		.ctx = p,
		.sim = p->kind->sim,
		.credits = credits,
	};
	int rc = cfs_net_open(&opts, &p->server, err, sizeof(err));

	if (rc < 0)
		print_error("%s: %s\n", cfs_err_name(rc), err);
	assert_int_equal(rc, 0);
	(void)snprintf(p->addr, sizeof(p->addr), "%s", cfs_net_addr(p->server));
}

void pair_open(struct pair *p, const struct net_case *kind, uint32_t credits)
{
	char err[200];
	struct cfs_net_opts opts = {
		.addr = kind->client_addr,
		.sim = kind->sim,
		.is_client = true,
		.credits = 64,
	};

	memset(p, 0, sizeof(*p));
	p->kind = kind;
	cfs_waitq_init(&p->gate);
	pair_server_open(p, kind->server_addr, credits);
	assert_int_equal(cfs_net_open(&opts, &p->client, err, sizeof(err)), 0);
	assert_int_equal(cfs_net_peer_open(p->client, p->addr, &p->peer), 0);
}

void pair_close(struct pair *p)
{
	const struct net_conns *conns = p->server ? p->server->conns : NULL;

	cfs_net_peer_close(p->peer);
	/* Shared memory within a process: nobody may send to an endpoint that is gone
	 * (doc/design/net.md). */
	for (uint32_t i = 0; i < 1000 && conns && conns->count > 0; i++)
		(void)cfs_sleep_ns(MS);
	cfs_net_close(p->client);
	cfs_net_close(p->server);
	assert_int_equal(p->seen_bad, 0);
}

int pair_echo(struct pair *p, uint64_t ino, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);
	struct cfs_msg req = { .op = CFS_OP_LOOKUP, .shard = 7, .seq = ino };
	struct cfs_net_reply reply;
	int rc;

	cfs_msg_set(&req, ino, ino);
	cfs_msg_set_bytes(&req, name, (const uint8_t *)name, len);
	rc = cfs_net_call(p->peer, &req, &reply);
	if (rc < 0)
		return rc;
	assert_int_equal(reply.msg.op, CFS_OP_LOOKUP);
	assert_int_equal(reply.msg.ino, ino);
	assert_int_equal(reply.msg.place, name_hash(name, len));
	cfs_net_reply_fini(&reply);
	return 0;
}

void pair_echo_retry(struct pair *p, uint64_t ino, const char *name, uint32_t ms)
{
	uint64_t due_ns = cfs_now_ns() + ms * MS;
	int rc;

	while ((rc = pair_echo(p, ino, name)) != 0) {
		assert_int_equal(rc, -CFS_EDISCONNECTED);
		assert_true(cfs_now_ns() < due_ns);
		assert_int_equal(cfs_sleep_ns(5 * MS), 0);
	}
}

/* --- fibers that call --- */

struct caller {
	struct pair *p;
	uint64_t number;
	int rc;
	int64_t reply_rc;
	bool is_done;
};

static CFS_AWAITS void echo_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct caller *c = arg;
	char name[32];

	(void)snprintf(name, sizeof(name), "name%llu", (unsigned long long)c->number);
	c->rc = pair_echo(c->p, c->number, name);
	c->is_done = true;
}

static CFS_AWAITS void gate_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct caller *c = arg;
	struct cfs_msg req = { .op = CFS_OP_FSYNC };
	struct cfs_net_reply reply;

	cfs_msg_set(&req, ino, c->number);
	c->rc = cfs_net_call(c->p->peer, &req, &reply);
	if (c->rc == 0) {
		c->reply_rc = reply.msg.rc;
		cfs_net_reply_fini(&reply);
	}
	c->is_done = true;
}

static CFS_AWAITS void await_gate(struct pair *p, uint32_t count)
{
	for (uint32_t i = 0; i < 5000 && p->at_gate < count; i++)
		assert_int_equal(cfs_sleep_ns(MS), 0);
	assert_int_equal(p->at_gate, count);
}

static CFS_AWAITS void gate_open_until(struct pair *p, struct cfs_group *g)
{
	for (uint32_t i = 0; i < 20000 && g->count > 0; i++) {
		cfs_waitq_wake_all(&p->gate);
		assert_int_equal(cfs_sleep_ns(MS), 0);
	}
	cfs_group_join(g);
}

/* --- cases --- */

void case_echo(const struct net_case *kind)
{
	struct cfs_net_stats client, server;
	struct pair p;
	struct cfs_msg req = { .op = CFS_OP_GETATTR };
	struct cfs_net_reply reply;

	pair_open(&p, kind, 0);
	for (uint32_t i = 0; i < kind->rounds; i++)
		assert_int_equal(pair_echo(&p, i, "some name"), 0);
	cfs_net_stats(p.client, &client);
	cfs_net_stats(p.server, &server);
	assert_int_equal(client.requests_sent, kind->rounds);
	assert_int_equal(client.replies_received, kind->rounds);
	assert_int_equal(server.requests_received, kind->rounds);
	assert_int_equal(server.replies_sent, kind->rounds);
	assert_int_equal(client.bytes_sent, server.bytes_received);
	assert_int_equal(client.bytes_received, server.bytes_sent);
	assert_int_equal(client.bad_messages + server.bad_messages, 0);
	assert_int_equal(cfs_net_op_count(p.client, CFS_OP_LOOKUP), kind->rounds);
	assert_int_equal(cfs_net_op_count(p.client, CFS_OP_PING), 0);
	/* A reply that breaks the rules reaches the caller as an error. */
	cfs_msg_set(&req, ino, 1);
	assert_int_equal(cfs_net_call(p.peer, &req, &reply), 0);
	assert_int_equal(reply.msg.rc, -EINVAL);
	cfs_net_reply_fini(&reply);
	/* And a request that does is not sent. */
	cfs_msg_set(&req, cookie, 1);
	assert_int_equal(cfs_net_call(p.peer, &req, &reply), -EINVAL);
	assert_int_equal(pair_echo(&p, 1, "still works"), 0);
	pair_close(&p);
}

void case_many(const struct net_case *kind)
{
	enum { CALLERS = 1000 };
	struct caller *callers = calloc(CALLERS, sizeof(*callers));
	struct cfs_net_stats stats;
	struct cfs_group g;
	struct pair p;

	assert_non_null(callers);
	pair_open(&p, kind, 0);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .p = &p, .number = i };
		assert_int_equal(cfs_group_start(&g, echo_run, &callers[i]), 0);
	}
	cfs_group_join(&g);
	for (uint32_t i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].rc, 0);
	cfs_net_stats(p.client, &stats);
	assert_true(stats.credit_waits >= CALLERS - 64);
	assert_int_equal(p.served, CALLERS);
	free(callers);
	pair_close(&p);
}

void case_credits(const struct net_case *kind)
{
	enum { CALLERS = 40, CREDITS = 4 };
	struct caller callers[CALLERS];
	struct cfs_group g;
	struct pair p;
	uint32_t credits = strncmp(kind->server_addr, "inproc", 6) == 0 ? 64 : CREDITS;

	pair_open(&p, kind, CREDITS);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .p = &p, .number = i };
		assert_int_equal(cfs_group_start(&g, gate_run, &callers[i]), 0);
	}
	await_gate(&p, CFS_MIN(credits, (uint32_t)CALLERS));
	gate_open_until(&p, &g);
	for (uint32_t i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].rc, 0);
	assert_true(p.at_gate_max <= credits);
	assert_int_equal(p.served, CALLERS);
	pair_close(&p);
}

void case_deadline(const struct net_case *kind)
{
	struct pair p;
	struct caller c;
	uint64_t before_ns, start_ns;

	pair_open(&p, kind, 2);
	assert_int_equal(pair_echo(&p, 1, "connect"), 0);
	/* More often than there are credits: each comes back with its late answer. */
	for (uint32_t i = 0; i < 8; i++) {
		c = (struct caller){ .p = &p };
		start_ns = cfs_now_ns();
		before_ns = cfs_deadline_narrow(start_ns + 100 * MS);
		gate_run(&c);
		cfs_deadline_restore(before_ns);
		/* The server's fiber has the same deadline, and may answer first. */
		assert_true(c.rc == -ETIMEDOUT || (c.rc == 0 && c.reply_rc == -ETIMEDOUT));
		assert_true(cfs_now_ns() - start_ns >= 99 * MS);
		assert_true(cfs_now_ns() - start_ns < 2000 * MS);
	}
	assert_int_equal(pair_echo(&p, 1, "after"), 0);
	pair_close(&p);
}

void case_cancel(const struct net_case *kind)
{
	enum { CALLERS = 8 };
	struct caller callers[CALLERS];
	struct cfs_group g;
	struct pair p;

	pair_open(&p, kind, CALLERS);
	cfs_group_init(&g);
	for (uint32_t i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller){ .p = &p, .number = i };
		assert_int_equal(cfs_group_start(&g, gate_run, &callers[i]), 0);
	}
	await_gate(&p, CALLERS);
	cfs_group_cancel(&g);
	cfs_group_join(&g);
	for (uint32_t i = 0; i < CALLERS; i++)
		assert_int_equal(callers[i].rc, -ECANCELED);
	/* Their requests go on, and their credits come back with the answers. */
	assert_int_equal(p.at_gate, CALLERS);
	cfs_waitq_wake_all(&p.gate);
	for (uint32_t i = 0; i < 2 * CALLERS; i++)
		assert_int_equal(pair_echo(&p, i, "after"), 0);
	pair_close(&p);
}

void case_large(const struct net_case *kind)
{
	uint8_t *mem = malloc(CFS_INLINE_BYTES_MAX);
	struct pair p;

	assert_non_null(mem);
	pair_open(&p, kind, 0);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t len = i < 2 ? CFS_INLINE_BYTES_MAX - i
				     : 1 + (uint32_t)(cfs_rand_u64() % CFS_INLINE_BYTES_MAX);
		struct cfs_msg req = { .op = CFS_OP_SETXATTR };
		struct cfs_net_reply reply;

		pattern_fill(mem, len, i);
		cfs_msg_set(&req, ino, i);
		cfs_msg_set_bytes(&req, name, (const uint8_t *)"user.x", 6);
		cfs_msg_set_bytes(&req, data, mem, len);
		assert_int_equal(cfs_net_call(p.peer, &req, &reply), 0);
		assert_int_equal((uint64_t)reply.msg.rc, name_hash(mem, len));
		cfs_net_reply_fini(&reply);
		req = (struct cfs_msg){ .op = CFS_OP_READLINK };
		cfs_msg_set(&req, ino, len);
		assert_int_equal(cfs_net_call(p.peer, &req, &reply), 0);
		assert_int_equal(reply.msg.data.len, len);
		cfs_net_reply_fini(&reply);
	}
	free(mem);
	pair_close(&p);
}

/* One CHUNK_READ or CHUNK_WRITE over @r. */
static CFS_AWAITS int bulk_call(struct pair *p, uint16_t op, const struct cfs_net_region *r,
				uint64_t off_bytes, uint64_t len_bytes, uint64_t gate,
				int64_t *rc_out)
{
	struct cfs_msg req = { .op = op };
	struct cfs_net_reply reply;
	int rc;

	cfs_msg_set(&req, ino, 42);
	cfs_msg_set(&req, chunk, 0);
	cfs_msg_set(&req, off, off_bytes);
	cfs_msg_set(&req, len, len_bytes);
	cfs_msg_set(&req, cut, gate);
	cfs_net_region_set(&req, r);
	rc = cfs_net_call(p->peer, &req, &reply);
	if (rc < 0)
		return rc;
	*rc_out = reply.msg.rc;
	cfs_net_reply_fini(&reply);
	return 0;
}

void case_bulk(const struct net_case *kind)
{
	uint8_t *mem = malloc(MIB), *want = malloc(MIB);
	struct cfs_net_region r, other;
	struct cfs_net_stats stats;
	struct pair p;
	int64_t rc;

	assert_true(mem && want);
	pattern_fill(want, MIB, 42);
	pair_open(&p, kind, 0);
	assert_int_equal(cfs_net_region_open(p.client, mem, MIB, &r), 0);
	for (uint32_t i = 0; i < 10; i++) {
		memcpy(mem, want, MIB);
		assert_int_equal(bulk_call(&p, CFS_OP_CHUNK_WRITE, &r, 0, MIB, 0, &rc), 0);
		assert_int_equal(rc, 0);
		memset(mem, 0, MIB);
		assert_int_equal(bulk_call(&p, CFS_OP_CHUNK_READ, &r, 0, MIB, 0, &rc), 0);
		assert_int_equal(rc, 0);
		assert_memory_equal(mem, want, MIB);
	}
	cfs_net_stats(p.server, &stats);
	assert_int_equal(stats.rma_reads, 10);
	assert_int_equal(stats.rma_read_bytes, 10ull * MIB);
	assert_int_equal(stats.rma_writes, 10);
	assert_int_equal(stats.rma_write_bytes, 10ull * MIB);
	/* A part, at an offset; nothing beside it changes. */
	memset(mem, 7, MIB);
	assert_int_equal(bulk_call(&p, CFS_OP_CHUNK_READ, &r, 8192, 4096, 0, &rc), 0);
	assert_int_equal(rc, 0);
	assert_memory_equal(mem + 8192, want, 4096);
	assert_true(mem[8191] == 7 && mem[8192 + 4096] == 7);
	/* Outside of it, and with a key that is not right. */
	assert_int_equal(bulk_call(&p, CFS_OP_CHUNK_READ, &r, MIB - 1, 2, 0, &rc), 0);
	assert_int_equal(rc, -EINVAL);
	assert_int_equal(bulk_call(&p, CFS_OP_CHUNK_READ, &r, UINT64_MAX, 2, 0, &rc), 0);
	assert_int_equal(rc, -EINVAL);
	/* Providers say so, drop what they got, or end the connection; nothing is written. */
	memset(mem, 7, MIB);
	other = r;
	other.key ^= 1;
	(void)bulk_call(&p, CFS_OP_CHUNK_READ, &other, 0, 4096, 0, &rc);
	pair_echo_retry(&p, 1, "goes on", 5000);
	for (uint32_t i = 0; i < 4096; i++)
		assert_int_equal(mem[i], 7);
	cfs_net_region_close(p.client, &r);
	free(mem);
	free(want);
	pair_close(&p);
}

struct bulk_caller {
	struct pair *p;
	struct cfs_net_region r;
	int rc;
};

static CFS_AWAITS void bulk_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct bulk_caller *c = arg;
	int64_t rc;

	c->rc = bulk_call(c->p, CFS_OP_CHUNK_READ, &c->r, 0, MIB, 1, &rc);
	/* The memory is ours again, even if the answer never came. */
	memset(c->r.local, 9, MIB);
	cfs_net_region_close(c->p->client, &c->r);
}

static CFS_AWAITS void gate_open_run(void *arg) /* CFS_FIBER_ENTRY */
{
	struct pair *p = arg;

	(void)cfs_sleep_ns(50 * MS);
	cfs_waitq_wake_all(&p->gate);
}

void case_bulk_cancel(const struct net_case *kind)
{
	uint8_t *mem = malloc(MIB);
	struct bulk_caller c = { 0 };
	struct cfs_group g, opener;
	struct pair p;

	assert_non_null(mem);
	pair_open(&p, kind, 0);
	cfs_group_init(&g);
	cfs_group_init(&opener);
	for (uint32_t i = 0; i < 5; i++) {
		c.p = &p;
		assert_int_equal(cfs_net_region_open(p.client, mem, MIB, &c.r), 0);
		cfs_group_init(&g);
		assert_int_equal(cfs_group_start(&g, bulk_run, &c), 0);
		await_gate(&p, 1);
		assert_int_equal(cfs_group_start(&opener, gate_open_run, &p), 0);
		cfs_group_cancel(&g);
		cfs_group_join(&g);
		assert_int_equal(c.rc, -ECANCELED);
		cfs_group_join(&opener);
		/* By now the server has tried to push. */
		for (uint32_t k = 0; k < 3; k++)
			assert_int_equal(pair_echo(&p, k, "between"), 0);
		(void)cfs_sleep_ns(20 * MS);
		for (uint32_t k = 0; k < MIB; k++)
			assert_int_equal(mem[k], 9);
	}
	free(mem);
	pair_close(&p);
}

struct spoiler {
	uint32_t flipped;
	bool is_on;
};

static void flip(void *ctx, uint8_t *msg, uint32_t len_bytes)
{
	struct spoiler *s = ctx;

	if (!s->is_on)
		return;
	msg[cfs_rand_u64() % len_bytes] ^= (uint8_t)(1u << cfs_rand_u64() % 8);
	s->flipped++;
}

static CFS_AWAITS void flipped(const struct net_case *kind, bool in_reply)
{
	struct spoiler s = { 0 };
	struct cfs_net_stats stats;
	uint64_t before_ns;
	struct pair p;

	pair_open(&p, kind, 0);
	cfs_net_inject(in_reply ? p.server : p.client, flip, &s);
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t served = p.served;
		int rc;

		pair_echo_retry(&p, i, "right", 5000);
		s.is_on = true;
		before_ns = cfs_deadline_narrow(cfs_now_ns() + 5000 * MS);
		rc = pair_echo(&p, i, "wrong");
		cfs_deadline_restore(before_ns);
		s.is_on = false;
		assert_int_equal(rc, -CFS_EDISCONNECTED);
		assert_int_equal(p.served, served + (in_reply ? 2 : 1));
	}
	assert_int_equal(s.flipped, 20);
	cfs_net_stats(in_reply ? p.client : p.server, &stats);
	/* A flipped xid finds no call: dropped as late, and found missing by its number. */
	assert_true(stats.bad_messages > 0);
	pair_close(&p);
}

void case_flipped(const struct net_case *kind)
{
	flipped(kind, false);
}

void case_bad_reply(const struct net_case *kind)
{
	flipped(kind, true);
}

void case_reconnect(const struct net_case *kind)
{
	struct pair p;

	pair_open(&p, kind, 0);
	for (uint32_t i = 0; i < 5; i++) {
		struct cfs_net_stats stats;

		pair_echo_retry(&p, i, "before", 5000);
		cfs_net_close(p.server);
		p.server = NULL;
		for (uint32_t k = 0; k < 3; k++)
			assert_int_equal(pair_echo(&p, k, "gone"), -CFS_EDISCONNECTED);
		pair_server_open(&p, p.addr, 0);
		pair_echo_retry(&p, i, "after", 5000);
		cfs_net_stats(p.client, &stats);
		assert_true(stats.disconnects > i);
	}
	pair_close(&p);
}

/* Both ends of calls under way may be closed, in either order. */
void case_close_busy(const struct net_case *kind)
{
	enum { CALLERS = 6 };
	struct caller callers[CALLERS];

	for (uint32_t i = 0; i < 2; i++) {
		struct cfs_group g;
		struct pair p;

		pair_open(&p, kind, 3);
		cfs_group_init(&g);
		for (uint32_t k = 0; k < CALLERS; k++) {
			callers[k] = (struct caller){ .p = &p, .number = k };
			assert_int_equal(cfs_group_start(&g, gate_run, &callers[k]), 0);
		}
		await_gate(&p, strncmp(kind->server_addr, "inproc", 6) == 0 ? CALLERS : 3);
		if (i == 0) {
			/* The handlers are cancelled after a while, and may still answer. */
			cfs_net_close(p.server);
			p.server = NULL;
			cfs_group_join(&g);
			for (uint32_t k = 0; k < CALLERS; k++)
				assert_true(callers[k].rc == -CFS_EDISCONNECTED ||
					    callers[k].reply_rc == -ECANCELED);
		} else {
			cfs_net_close(p.client);
			p.client = NULL;
			cfs_group_join(&g);
			for (uint32_t k = 0; k < CALLERS; k++)
				assert_int_equal(callers[k].rc, -CFS_EDISCONNECTED);
		}
		pair_close(&p);
	}
}

/* Sends a frame of @len_bytes at @data (header and body) to @p's server, past all of our own
 * checks. */
static void raw_send(struct pair *p, const uint8_t *data, uint32_t len_bytes)
{
	struct net_conn *conn = p->peer->conn;
	struct cfs_net_buf *b = net_buf_get(p->client, len_bytes);

	assert_non_null(b);
	if (!conn->link) {
		net_buf_put(b);
		return;
	}
	memcpy(b->data, data, len_bytes);
	b->len_bytes = len_bytes - NET_HEADROOM_BYTES;
	p->client->ops->link_send(p->client, conn->link, b);
}

void case_garbage(const struct net_case *kind)
{
	static uint8_t data[4096];
	struct cfs_net_stats stats;
	struct pair p;

	pair_open(&p, kind, 0);
	for (uint32_t i = 0; i < 2000; i++) {
		struct cfs_frame_header h = {
			.magic = cfs_to_le32(CFS_FRAME_MAGIC),
			.version = cfs_to_le16(CFS_FRAME_VERSION),
			.kind = cfs_to_le16((uint16_t)(cfs_rand_u64() % 8)),
		};
		uint32_t len = NET_HEADROOM_BYTES + (uint32_t)(cfs_rand_u64() % 200), crc;

		if (i % 50 == 0)
			pair_echo_retry(&p, i, "between", 10000);
		for (uint32_t k = 0; k < len; k++)
			data[k] = (uint8_t)cfs_rand_u64();
		if (cfs_rand_u64() % 4 == 0)
			len = NET_HEADROOM_BYTES + sizeof(struct cfs_frame_hello);
		if (cfs_rand_u64() % 2 == 0)
			h.conn = cfs_to_le64(p.peer->conn->remote_id);
		if (cfs_rand_u64() % 2 == 0)
			h.seq = cfs_to_le32((uint32_t)(cfs_rand_u64() % 100));
		h.body_bytes = cfs_to_le32(len - NET_HEADROOM_BYTES);
		crc = cfs_crc32c(0, &h, offsetof(struct cfs_frame_header, crc));
		if (cfs_from_le16(h.kind) != CFS_FRAME_MSG)
			crc = cfs_crc32c(crc, data + NET_HEADROOM_BYTES, len - NET_HEADROOM_BYTES);
		h.crc = cfs_to_le32(crc);
		if (i % 3 != 0)
			memcpy(data, &h, sizeof(h));
		raw_send(&p, data, len);
		if (i % 10 == 0)
			(void)cfs_sleep_ns(MS);
	}
	pair_echo_retry(&p, 1, "after", 10000);
	cfs_net_stats(p.server, &stats);
	assert_true(stats.bad_messages > 100);
	assert_true(stats.strangers > 10);
	pair_close(&p);
}
