/*
 * A scripted server of two cores on a simulated network, for tests of the client: it has one file
 * of several chunks, counts what it is asked, and fails as it is told to.
 */
#ifndef CFS_TESTS_CLIENT_FAKE_SERVER_H
#define CFS_TESTS_CLIENT_FAKE_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/util.h"
#include "client/client.h"
#include "lib/test_fiber.h"
#include "proto/place.h"

#define MS 1000000ull
#define SHARDS 4u
#define CORES 2u
#define OPS 128
#define FILE_INO cfs_ino_make(1, 7)
#define DIR_INO CFS_INO_ROOT
#define FILE_BYTES (4u * CFS_CHUNK_BYTES)

struct server {
	struct cfs_net_sim *sim;
	struct cfs_net *net[CORES];
	uint8_t *file;
	uint64_t size, cut, map_epoch;
	int64_t atime, mtime;
	uint32_t iflags;
	uint32_t told;       /* requests that said that the file was read */
	uint32_t count[OPS]; /* requests, also those that were not answered */
	uint32_t runs[OPS];  /* changes carried out */
	uint64_t answered_seq[4096];
	uint32_t answered_count;
	uint64_t last_seq, last_floor, session;
	/* faults: as often as the number says */
	uint32_t silent[OPS], bad_crcs, not_here, old_cuts;
	uint64_t recall; /* the next WATCH brings a recall of this number */
	uint64_t max_ack;
	bool has_ended; /* the session: only a new one is let in */
	bool is_wrong_core;
};

static struct server srv;

static struct cfs_attr file_attr(void)
{
	return (struct cfs_attr){
		.ino = FILE_INO,
		.size = srv.size,
		.mode = S_IFREG | 0644,
		.nlink = 1,
		.atime = srv.atime,
		.mtime = srv.mtime,
		.iflags = srv.iflags,
		.cut = srv.cut,
		.seed = FILE_INO,
	};
}

/* --- the server's side --- */

static int serve_hello(const struct cfs_msg *req, struct cfs_msg *reply, uint8_t *buf)
{
	uint16_t core_of[SHARDS] = { 0, 1, 0, 1 };
	uint64_t epoch_of[SHARDS] = { 1, 1, 1, 1 };
	char addrs[CORES][128] = { "sim:server/0", "sim:server/1" };
	const struct cfs_map map = {
		.epoch = ++srv.map_epoch,
		.uuid = "test",
		.shards = SHARDS,
		.cores = CORES,
		.core_of = core_of,
		.epoch_of = epoch_of,
		.core_addr = addrs,
	};
	int64_t n = cfs_map_encode(&map, buf, CFS_BUF_SMALL_BYTES);

	if (srv.has_ended && !(req->flags & CFS_F_NEW))
		return -CFS_ENO_SESSION;
	srv.has_ended = false;
	srv.session = req->session;
	assert_true(n > 0);
	cfs_msg_set_bytes(reply, data, buf, (uint32_t)n);
	return 0;
}

static void reply_attr(struct cfs_msg *reply, uint8_t *buf)
{
	struct cfs_attr a = file_attr();

	cfs_attr_encode(&a, buf);
	cfs_msg_set_bytes(reply, attr, buf, CFS_ATTR_BYTES);
}

static int move_payload(struct cfs_net_call *call, uint64_t at, bool to_file)
{
	const struct cfs_msg *req = cfs_net_call_request(call);

	if (!to_file)
		return cfs_net_push(call, 0, srv.file + at, (uint32_t)req->len);
	if (cfs_msg_is_set(req, data)) {
		memcpy(srv.file + at, req->data.p, req->data.len);
		return 0;
	}
	return cfs_net_pull(call, 0, srv.file + at, (uint32_t)req->len);
}

static void crcs_of(uint64_t at, uint32_t len, uint8_t *out, uint32_t *bytes_out)
{
	uint64_t from = cfs_round_up(at, CFS_BLOCK_BYTES);
	uint64_t to = cfs_round_down(at + len, CFS_BLOCK_BYTES);

	*bytes_out = 0;
	for (; from < to; from += CFS_BLOCK_BYTES, *bytes_out += 4) {
		cfs_le32 crc = cfs_to_le32(cfs_crc32c(0, srv.file + from, CFS_BLOCK_BYTES));

		memcpy(out + *bytes_out, &crc, 4);
	}
}

static bool crcs_match(const struct cfs_msg *req, uint64_t at)
{
	uint8_t crcs[1024];
	uint32_t bytes;

	crcs_of(at, (uint32_t)req->len, crcs, &bytes);
	return req->crcs.len == bytes && (bytes == 0 || memcmp(req->crcs.p, crcs, bytes) == 0);
}

static bool is_cut_old(const struct cfs_msg *req)
{
	if (srv.old_cuts > 0 && srv.old_cuts--)
		srv.cut++;
	return req->cut < srv.cut;
}

static int serve_chunk_read(struct cfs_net_call *call, struct cfs_msg *reply, uint8_t *buf)
{
	const struct cfs_msg *req = cfs_net_call_request(call);
	uint64_t at = (uint64_t)req->chunk * CFS_CHUNK_BYTES + req->off;
	uint32_t bytes;

	if (is_cut_old(req))
		return -CFS_EOLD_CUT;
	assert_true(at + req->len <= srv.size);
	cfs_msg_set(reply, len, req->len);
	if (cfs_msg_is_set(req, bulk_key))
		assert_int_equal(move_payload(call, at, false), 0);
	else
		cfs_msg_set_bytes(reply, data, srv.file + at, (uint32_t)req->len);
	crcs_of(at, (uint32_t)req->len, buf, &bytes);
	if (srv.bad_crcs > 0 && srv.bad_crcs--)
		buf[0] ^= 1;
	cfs_msg_set_bytes(reply, crcs, buf, bytes);
	return 0;
}

static int serve_write(struct cfs_net_call *call, struct cfs_msg *reply)
{
	const struct cfs_msg *req = cfs_net_call_request(call);
	bool is_chunk = req->op == CFS_OP_CHUNK_WRITE;
	uint64_t at = is_chunk ? (uint64_t)req->chunk * CFS_CHUNK_BYTES + req->off : req->off;

	if (is_chunk && is_cut_old(req))
		return -CFS_EOLD_CUT;
	if (srv.bad_crcs > 0 && srv.bad_crcs--)
		return -CFS_EBAD_CHECKSUM;
	if (req->flags & CFS_F_APPEND)
		at = srv.size;
	if (!is_chunk && srv.iflags)
		return -EPERM;
	assert_true(at + req->len <= FILE_BYTES);
	assert_int_equal(move_payload(call, at, true), 0);
	if (!(req->flags & CFS_F_APPEND))
		assert_true(crcs_match(req, at));
	cfs_msg_set(reply, len, req->len);
	cfs_msg_set(reply, cut, srv.cut);
	if (is_chunk) {
		cfs_msg_set(reply, blocks, 8);
		cfs_msg_set(reply, index, 40 + req->chunk);
		reply->epoch = 3;
		return 0;
	}
	srv.size = CFS_MAX(srv.size, at + req->len);
	cfs_msg_set(reply, off, at);
	cfs_msg_set(reply, size, srv.size);
	cfs_msg_set(reply, seed, FILE_INO);
	return 0;
}

/* What a change did once it does not again. */
static bool was_answered(const struct cfs_msg *req)
{
	for (uint32_t i = 0; i < srv.answered_count; i++)
		if (srv.answered_seq[i] == req->seq)
			return true;
	return false;
}

static void check_change(const struct cfs_msg *req)
{
	assert_int_equal(req->sess, srv.session);
	assert_true(req->seq > 0);
	assert_true(req->floor <= req->seq);
	assert_true(req->floor >= srv.last_floor);
	srv.last_floor = req->floor;
	srv.last_seq = CFS_MAX(srv.last_seq, req->seq);
}

static int serve_change(struct cfs_net_call *call, struct cfs_msg *reply, uint8_t *buf)
{
	const struct cfs_msg *req = cfs_net_call_request(call);

	check_change(req);
	if (!was_answered(req))
		srv.runs[req->op]++;
	switch (req->op) {
	case CFS_OP_WRITE:
	case CFS_OP_CHUNK_WRITE:
		return serve_write(call, reply);
	case CFS_OP_WROTE:
		/* What it rests on: (shard, epoch, index) of each chunk's record. */
		assert_true(req->deps.len % 24 == 0 && req->deps.len > 0);
		assert_int_equal(req->blocks, 8 * (req->deps.len / 24));
		cfs_msg_set(reply, size, srv.size);
		cfs_msg_set(reply, cut, srv.cut);
		cfs_msg_set(reply, seed, FILE_INO);
		return 0;
	case CFS_OP_MKDIR:
		cfs_msg_set(reply, ino, 99);
		reply_attr(reply, buf);
		return 0;
	case CFS_OP_OPEN:
	case CFS_OP_SETATTR:
		reply_attr(reply, buf);
		return 0;
	case CFS_OP_RELEASE:
		return 0;
	case CFS_OP_CREATE:
		cfs_msg_set(reply, ino, FILE_INO);
		cfs_msg_set(reply, mode, S_IFREG);
		cfs_msg_set(reply, index, 1);
		reply_attr(reply, buf);
		return 0;
	default:
		return -ENOSYS;
	}
}

/* Odd chunks are holes. */
static int serve_seek(const struct cfs_msg *req, struct cfs_msg *reply)
{
	for (uint64_t at = req->off; at < req->off + req->len;
	     at = cfs_round_down(at, CFS_CHUNK_BYTES) + CFS_CHUNK_BYTES) {
		uint64_t chunk = at / CFS_CHUNK_BYTES;

		if (cfs_chunk_shard(req->ino, req->seed, chunk, SHARDS) != req->shard ||
		    chunk % 2 == (req->whence == SEEK_DATA ? 1 : 0))
			continue;
		cfs_msg_set(reply, off, at);
		cfs_msg_set(reply, cut, srv.cut);
		return 0;
	}
	return -ENXIO;
}

/* It does not wait; the client pauses by itself then. */
static int serve_watch(const struct cfs_msg *req, struct cfs_msg *reply, uint8_t *buf)
{
	if (srv.has_ended)
		return -CFS_ENO_SESSION;
	srv.max_ack = CFS_MAX(srv.max_ack, req->ack);
	if (srv.recall == 0)
		return 0;
	cfs_recall_encode(&(struct cfs_recall){ .ino = FILE_INO }, buf);
	cfs_msg_set_bytes(reply, data, buf, CFS_RECALL_BYTES);
	cfs_msg_set(reply, ack, srv.recall);
	srv.recall = 0;
	return 0;
}

static int serve(struct cfs_net_call *call, struct cfs_msg *reply, uint8_t *buf)
{
	const struct cfs_msg *req = cfs_net_call_request(call);

	switch (req->op) {
	case CFS_OP_HELLO:
		return serve_hello(req, reply, buf);
	case CFS_OP_WATCH:
		return serve_watch(req, reply, buf);
	case CFS_OP_BYE:
		return 0;
	case CFS_OP_LOOKUP:
		cfs_msg_set(reply, ino, FILE_INO);
		cfs_msg_set(reply, mode, S_IFREG);
		return 0;
	case CFS_OP_GETATTR:
		reply_attr(reply, buf);
		return 0;
	case CFS_OP_CHUNK_READ:
		return serve_chunk_read(call, reply, buf);
	case CFS_OP_CHUNK_SEEK:
		return serve_seek(req, reply);
	default:
		return serve_change(call, reply, buf);
	}
}

static void handle(void *ctx, struct cfs_net_call *call)
{
	const struct cfs_msg *req = cfs_net_call_request(call);
	struct cfs_msg reply = { 0 };
	struct cfs_buf *buf;
	int rc;

	assert_int_equal(cfs_buf_get(CFS_BUF_SMALL_BYTES, &buf), 0);
	srv.count[req->op]++;
	if (cfs_msg_is_set(req, flags) && (req->flags & CFS_F_ATIME)) {
		assert_true(req->op != CFS_OP_CHUNK_READ ||
			    cfs_chunk_shard(FILE_INO, FILE_INO, req->chunk, SHARDS) ==
				    cfs_ino_home(FILE_INO));
		srv.told++;
		srv.atime = srv.mtime + 1;
	}
	if (req->op >= 16 && (uintptr_t)ctx != req->shard % CORES)
		srv.is_wrong_core = true;
	if (req->op >= 16 && srv.not_here > 0 && srv.not_here--)
		rc = -CFS_ENOT_HERE;
	else if (req->op >= 16 && srv.has_ended)
		rc = -CFS_ENO_SESSION;
	else
		rc = serve(call, &reply, buf->data);
	if (cfs_op_is_change(req->op) && rc == 0)
		srv.answered_seq[srv.answered_count++ % CFS_ARRAY_COUNT(srv.answered_seq)] =
			req->seq;
	if (rc < 0)
		reply.has = 0;
	cfs_msg_set(&reply, rc, rc);
	/* The reply is lost: the connection is cut while it is on its way. */
	if (srv.silent[req->op] > 0 && srv.silent[req->op]--)
		cfs_net_sim_cut(srv.sim, "sim:server", "sim:client", true);
	cfs_net_reply(call, &reply);
	cfs_buf_put(buf);
}

static void listen_again(void)
{
	for (uintptr_t i = 0; i < CORES; i++) {
		char addr[32], err[256];
		const struct cfs_net_opts opts = {
			.addr = addr, .handler = handle, .ctx = (void *)i, .sim = srv.sim
		};

		snprintf(addr, sizeof(addr), "sim:server/%u", (unsigned int)i);
		assert_int_equal(cfs_net_open(&opts, &srv.net[i], err, sizeof(err)), 0);
	}
}

static struct cfs_client *begin(uint64_t wait_ns)
{
	const struct cfs_net_sim_opts net = { .delay_min_ns = 5000, .delay_max_ns = 50000 };
	struct cfs_client_opts opts = { .addrs = { "sim:server/0" }, .addr_count = 1 };
	struct cfs_client *c;
	char err[256];

	memset(&srv, 0, sizeof(srv));
	srv.file = calloc(1, FILE_BYTES);
	for (uint32_t i = 0; i < FILE_BYTES; i++)
		srv.file[i] = (uint8_t)(i * 17 + i / 4096);
	srv.size = FILE_BYTES;
	srv.cut = 5;
	srv.mtime = (int64_t)cfs_wall_ns();
	srv.atime = srv.mtime + 1;
	assert_int_equal(cfs_net_sim_create(&net, &srv.sim), 0);
	listen_again();
	opts.sim = srv.sim;
	opts.wait_ns = wait_ns;
	assert_int_equal(cfs_client_open(&opts, &c, err, sizeof(err)), 0);
	memset(srv.count, 0, sizeof(srv.count));
	return c;
}

static void finish(struct cfs_client *c)
{
	cfs_client_close(c);
	for (uint32_t i = 0; i < CORES; i++)
		if (srv.net[i])
			cfs_net_close(srv.net[i]);
	assert_false(srv.is_wrong_core);
	cfs_net_sim_destroy(srv.sim);
	free(srv.file);
}

#endif
