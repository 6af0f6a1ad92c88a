/*
 * The client against a scripted server of two cores on a simulated network: routes, counted
 * messages, tries again, waits. One file of several chunks is all that the server has.
 */
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

/* Requests since the last time, but for those that wait. */
static uint32_t messages(void)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < OPS; i++)
		if (i != CFS_OP_WATCH)
			sum += srv.count[i];
	memset(srv.count, 0, sizeof(srv.count));
	return sum;
}

static void op_for(struct cfs_client_op *op, struct cfs_client *c)
{
	cfs_client_op_init(op, c, 0, 0);
}

static int write_at(struct cfs_client *c, uint64_t off, uint32_t len, uint32_t flags,
		    uint64_t *off_out)
{
	struct cfs_client_op op;
	uint8_t *data = malloc(len);
	struct cfs_client_write w = { off, flags, len, data };
	int rc;

	op_for(&op, c);
	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + off);
	rc = cfs_client_write(&op, FILE_INO, &w, off_out);
	if (rc == 0 && !(flags & CFS_F_APPEND))
		assert_memory_equal(srv.file + off, data, len);
	free(data);
	return rc;
}

static int read_at(struct cfs_client *c, uint64_t off, uint32_t len, uint32_t *got)
{
	struct cfs_client_bytes bytes;
	struct cfs_client_op op;
	uint8_t *buf = malloc(len);
	int rc;

	op_for(&op, c);
	rc = cfs_client_read(&op, FILE_INO, off, len, buf, &bytes);
	*got = bytes.len_bytes;
	if (rc == 0)
		assert_memory_equal(bytes.p, srv.file + off, *got);
	cfs_client_bytes_fini(&bytes);
	free(buf);
	return rc;
}

static void open_file(struct cfs_client *c)
{
	struct cfs_client_op op;
	struct cfs_attr attr;

	op_for(&op, c);
	assert_int_equal(cfs_client_file_open(&op, FILE_INO, 0, &attr), 0);
	assert_int_equal(messages(), 1);
}

CFS_TEST_SIM(messages_are_counted)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_op op;
	struct cfs_attr attr;
	uint32_t got;
	uint64_t off;

	op_for(&op, c);
	assert_int_equal(cfs_client_getattr(&op, FILE_INO, &attr), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(cfs_client_lookup(&op, DIR_INO, (struct cfs_client_name){ "f", 1 }, &attr),
			 0);
	assert_int_equal(messages(), 2); /* its inode is elsewhere */
	assert_int_equal(
		cfs_client_mkdir(&op, DIR_INO, (struct cfs_client_name){ "d", 1 }, 0755, &attr), 0);
	assert_int_equal(messages(), 1);
	open_file(c);
	/* Inside the size. */
	assert_int_equal(write_at(c, 8192, 4096, 0, &off), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES + 100, 4096, 0, &off), 0);
	assert_int_equal(messages(), 2);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, CFS_CHUNK_BYTES, 0, &off), 0);
	assert_int_equal(srv.count[CFS_OP_CHUNK_WRITE], 1);
	assert_int_equal(messages(), 2);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES + 5000, CFS_CHUNK_BYTES, 0, &off), 0);
	assert_int_equal(srv.count[CFS_OP_CHUNK_WRITE], 2);
	assert_int_equal(messages(), 3);
	assert_int_equal(read_at(c, 0, CFS_CHUNK_BYTES, &got), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(read_at(c, CFS_CHUNK_BYTES - 1000, 3000, &got), 0);
	assert_int_equal(got, 3000);
	assert_int_equal(messages(), 2);
	/* Past the size: it is asked for, as it may have grown. */
	assert_int_equal(read_at(c, FILE_BYTES - 100, 1000, &got), 0);
	assert_int_equal(got, 100);
	assert_int_equal(messages(), 2);
	srv.size = CFS_CHUNK_BYTES;
	srv.cut++;
	assert_int_equal(write_at(c, 0, 300, CFS_F_APPEND, &off), 0);
	assert_int_equal(off, CFS_CHUNK_BYTES);
	assert_int_equal(messages(), 1);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES + 300, 4096, 0, &off), 0);
	assert_int_equal(srv.count[CFS_OP_WRITE], 1);
	assert_int_equal(messages(), 1);
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), 0);
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), -EBADF);
	assert_int_equal(srv.last_floor, srv.last_seq);
	finish(c);
}

/* A file that was made immutable, with a new cut: no chunk is written any more. */
CFS_TEST_SIM(a_guarded_file_is_written_at_home)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_op op;
	struct cfs_attr attr;
	uint64_t off;

	open_file(c);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 4096, 0, &off), 0);
	assert_int_equal(messages(), 2);
	srv.cut++;
	srv.iflags = CFS_IFLAG_IMMUTABLE;
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 4096, 0, &off), -EPERM);
	assert_int_equal(srv.count[CFS_OP_CHUNK_WRITE], 1); /* refused for its cut */
	assert_int_equal(srv.count[CFS_OP_WRITE], 1);
	assert_int_equal(messages(), 3);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 4096, 0, &off), -EPERM);
	assert_int_equal(srv.count[CFS_OP_WRITE], 1);
	assert_int_equal(messages(), 1);
	srv.iflags = 0;
	op_for(&op, c);
	assert_int_equal(cfs_client_getattr(&op, FILE_INO, &attr), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 4096, 0, &off), 0);
	assert_int_equal(srv.count[CFS_OP_WRITE], 0);
	assert_int_equal(messages(), 2);
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), 0);
	finish(c);
}

/* Offset of a chunk of the file that is in another shard than the inode. */
static uint64_t far_off(void)
{
	for (uint32_t k = 1; k < FILE_BYTES / CFS_CHUNK_BYTES; k++)
		if (cfs_chunk_shard(FILE_INO, FILE_INO, k, SHARDS) != cfs_ino_home(FILE_INO))
			return (uint64_t)k * CFS_CHUNK_BYTES;
	assert_true(false);
	return 0;
}

CFS_TEST_SIM(reads_see_to_the_access_time)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_bytes bytes;
	struct cfs_client_op op;
	uint64_t far = far_off();
	uint8_t buf[16];
	uint32_t got;

	/* With what is read of the inode's shard. */
	open_file(c);
	assert_int_equal(read_at(c, 0, 4096, &got), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(srv.told, 1);
	/* Elsewhere: nothing to be changed as far as is known. It is said at the end. */
	assert_int_equal(read_at(c, far, 4096, &got), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(srv.told, 1);
	op_for(&op, c);
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(srv.told, 2);
	/* Something to be changed: one message more, once. */
	srv.atime = srv.mtime;
	open_file(c);
	assert_int_equal(read_at(c, far, 4096, &got), 0);
	assert_int_equal(srv.count[CFS_OP_GETATTR], 1);
	assert_int_equal(messages(), 2);
	assert_int_equal(srv.told, 3);
	assert_int_equal(read_at(c, far, 4096, &got), 0);
	assert_int_equal(messages(), 1);
	/* Not by who keeps it. */
	op.keeps_atime = true;
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), 0);
	assert_int_equal(messages(), 1);
	assert_int_equal(srv.told, 4); /* of the read before */
	srv.atime = srv.mtime;
	open_file(c);
	assert_int_equal(cfs_client_read(&op, FILE_INO, far, 16, buf, &bytes), 0);
	cfs_client_bytes_fini(&bytes);
	assert_int_equal(cfs_client_read(&op, FILE_INO, 0, 16, buf, &bytes), 0);
	cfs_client_bytes_fini(&bytes);
	assert_int_equal(cfs_client_read(&op, FILE_INO, FILE_BYTES, 16, buf, &bytes), 0);
	cfs_client_bytes_fini(&bytes);
	assert_int_equal(messages(), 3);
	assert_int_equal(cfs_client_release(&op, FILE_INO, 0), 0);
	assert_int_equal(srv.told, 4);
	finish(c);
}

CFS_TEST_SIM(a_newer_cut_is_learned)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_stats stats;
	uint64_t off;
	uint32_t got;

	open_file(c);
	srv.old_cuts = 1;
	assert_int_equal(read_at(c, 0, 4096, &got), 0);
	assert_int_equal(messages(), 3); /* refused, asked, read */
	srv.old_cuts = 1;
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 4096, 0, &off), 0);
	assert_int_equal(messages(), 4);
	/* Truncated meanwhile: the end has moved down. */
	srv.size = 1000;
	srv.cut++;
	assert_int_equal(read_at(c, 0, 4096, &got), 0);
	assert_int_equal(got, 1000);
	assert_int_equal(read_at(c, 5000, 4096, &got), 0);
	assert_int_equal(got, 0);
	srv.size = FILE_BYTES;
	srv.old_cuts = 1000;
	assert_int_equal(read_at(c, 0, 4096, &got), -EIO);
	cfs_client_stats(c, &stats);
	assert_true(stats.old_cuts > 3);
	finish(c);
}

CFS_TEST_SIM(a_wrong_checksum_is_never_data)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_stats stats;
	uint64_t off;
	uint32_t got;

	open_file(c);
	for (uint64_t at = 0; at <= CFS_CHUNK_BYTES; at += CFS_CHUNK_BYTES) {
		srv.bad_crcs = 1;
		assert_int_equal(write_at(c, at, 8192, 0, &off), 0);
		srv.bad_crcs = 2;
		assert_int_equal(write_at(c, at, 8192, 0, &off), -CFS_EBAD_CHECKSUM);
	}
	srv.bad_crcs = 1;
	assert_int_equal(read_at(c, 4096, 8192, &got), 0);
	assert_int_equal(got, 8192);
	srv.bad_crcs = 1;
	assert_int_equal(read_at(c, 0, CFS_CHUNK_BYTES, &got), 0);
	srv.bad_crcs = 2;
	assert_int_equal(read_at(c, 4096, 8192, &got), -EIO);
	assert_int_equal(got, 0);
	cfs_client_stats(c, &stats);
	assert_int_equal(stats.bad_checksums, 10);
	finish(c);
}

CFS_TEST_SIM(holes_are_found)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_op op;
	uint64_t off;

	op_for(&op, c);
	open_file(c);
	assert_int_equal(cfs_client_seek(&op, FILE_INO, 100, SEEK_DATA, &off), 0);
	assert_int_equal(off, 100);
	assert_int_equal(cfs_client_seek(&op, FILE_INO, CFS_CHUNK_BYTES + 5, SEEK_DATA, &off), 0);
	assert_int_equal(off, 2 * CFS_CHUNK_BYTES);
	assert_int_equal(cfs_client_seek(&op, FILE_INO, 5, SEEK_HOLE, &off), 0);
	assert_int_equal(off, CFS_CHUNK_BYTES);
	assert_int_equal(cfs_client_seek(&op, FILE_INO, 3 * CFS_CHUNK_BYTES, SEEK_DATA, &off),
			 -ENXIO);
	assert_int_equal(cfs_client_seek(&op, FILE_INO, FILE_BYTES, SEEK_HOLE, &off), -ENXIO);
	srv.size = CFS_CHUNK_BYTES / 2;
	srv.cut++;
	assert_int_equal(cfs_client_seek(&op, FILE_INO, 5, SEEK_HOLE, &off), 0);
	assert_int_equal(off, CFS_CHUNK_BYTES / 2);
	finish(c);
}

CFS_TEST_SIM(another_map_is_asked_for)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_op op;
	struct cfs_attr attr;

	op_for(&op, c);
	srv.not_here = 3;
	assert_int_equal(cfs_client_getattr(&op, FILE_INO, &attr), 0);
	assert_int_equal(srv.count[CFS_OP_HELLO], 3);
	assert_int_equal(srv.count[CFS_OP_GETATTR], 4);
	finish(c);
}

static void heal_later(void *arg)
{
	cfs_sleep_ns(*(uint64_t *)arg);
	cfs_net_sim_cut(srv.sim, "sim:server", "sim:client", false);
}

/* The reply is lost, so the change is sent again, under the same number. */
CFS_TEST_SIM(a_change_runs_once)
{
	struct cfs_client *c = begin(0);
	uint64_t heal_ns = 5000 * MS;
	struct cfs_group group;
	struct cfs_client_op op;
	struct cfs_attr attr;

	op_for(&op, c);
	cfs_group_init(&group);
	srv.silent[CFS_OP_MKDIR] = 1;
	assert_int_equal(cfs_group_start(&group, heal_later, &heal_ns), 0);
	assert_int_equal(
		cfs_client_mkdir(&op, DIR_INO, (struct cfs_client_name){ "d", 1 }, 0755, &attr), 0);
	assert_true(srv.count[CFS_OP_MKDIR] >= 2);
	assert_int_equal(srv.runs[CFS_OP_MKDIR], 1);
	cfs_group_join(&group);
	finish(c);
}

struct restart {
	uint64_t after_ns;
};

static void restart_later(void *arg)
{
	cfs_sleep_ns(((struct restart *)arg)->after_ns);
	listen_again();
}

static void kill_server(void)
{
	cfs_net_sim_kill(srv.sim, "sim:server");
	memset(srv.net, 0, sizeof(srv.net));
}

CFS_TEST_SIM(operations_wait_for_a_restart)
{
	struct cfs_client *c = begin(0);
	struct restart r = { 20000 * MS };
	struct cfs_client_stats stats;
	struct cfs_group group;
	uint64_t start = cfs_now_ns(), off;
	uint32_t got;

	open_file(c);
	kill_server();
	cfs_group_init(&group);
	assert_int_equal(cfs_group_start(&group, restart_later, &r), 0);
	assert_int_equal(write_at(c, CFS_CHUNK_BYTES, 100000, 0, &off), 0);
	assert_true(cfs_now_ns() - start >= r.after_ns);
	/* Tried often enough. */
	assert_true(cfs_now_ns() - start < r.after_ns + 3000 * MS);
	assert_int_equal(srv.runs[CFS_OP_CHUNK_WRITE], 1);
	assert_int_equal(read_at(c, CFS_CHUNK_BYTES, 100000, &got), 0);
	cfs_client_stats(c, &stats);
	assert_false(stats.is_lost);
	assert_true(stats.disconnects > 0);
	cfs_group_join(&group);
	finish(c);
}

/* What is open is opened in the next session, which has answered no recall yet. */
CFS_TEST_SIM(a_session_that_ended_is_followed_by_another)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_stats stats;
	uint64_t session = srv.session;
	uint32_t opens;

	open_file(c);
	opens = srv.runs[CFS_OP_OPEN];
	srv.recall = 57;
	cfs_sleep_ns(1000 * MS);
	assert_int_equal(srv.max_ack, 57);
	srv.has_ended = true;
	srv.max_ack = 0;
	cfs_sleep_ns(1000 * MS);
	assert_true(srv.session != session);
	assert_int_equal(srv.max_ack, 0);
	cfs_client_stats(c, &stats);
	assert_int_equal(stats.evictions, 1);
	assert_int_equal(stats.recalls, 1);
	assert_int_equal(srv.runs[CFS_OP_OPEN], opens + 1);
	finish(c);
}

CFS_TEST_SIM(waits_have_an_end)
{
	struct cfs_client *c = begin(3000 * MS);
	struct cfs_client_op op;
	struct cfs_attr attr;
	uint64_t start;

	op_for(&op, c);
	kill_server();
	start = cfs_now_ns();
	assert_int_equal(cfs_client_getattr(&op, FILE_INO, &attr), -ETIMEDOUT);
	assert_in_range(cfs_now_ns() - start, 3000 * MS, 8000 * MS);
	finish(c);
}

struct waiting {
	struct cfs_client_op op;
	int rc;
};

static void wait_in_mkdir(void *arg)
{
	struct waiting *w = arg;
	struct cfs_attr attr;

	w->rc = cfs_client_mkdir(&w->op, DIR_INO, (struct cfs_client_name){ "d", 1 }, 0755, &attr);
}

CFS_TEST_SIM(waits_can_be_interrupted)
{
	struct cfs_client *c = begin(0);
	struct cfs_group group;
	struct waiting a, b;
	struct restart r = { 0 };

	op_for(&a.op, c);
	op_for(&b.op, c);
	kill_server();
	cfs_group_init(&group);
	assert_int_equal(cfs_group_start(&group, wait_in_mkdir, &a), 0);
	assert_int_equal(cfs_group_start(&group, wait_in_mkdir, &b), 0);
	cfs_sleep_ns(10000 * MS);
	assert_int_equal(group.count, 2);
	cfs_client_op_interrupt(&a.op);
	cfs_sleep_ns(1 * MS);
	assert_int_equal(group.count, 1);
	assert_int_equal(a.rc, -EINTR);
	restart_later(&r);
	cfs_group_join(&group);
	assert_int_equal(b.rc, 0);
	finish(c);
}

/* Closing a client that waits: its operations are cancelled first, as an unmount does. */
CFS_TEST_SIM(waits_can_be_cancelled)
{
	struct cfs_client *c = begin(0);
	struct cfs_group group;
	struct waiting a;

	op_for(&a.op, c);
	kill_server();
	cfs_group_init(&group);
	assert_int_equal(cfs_group_start(&group, wait_in_mkdir, &a), 0);
	cfs_sleep_ns(10000 * MS);
	cfs_group_cancel(&group);
	cfs_group_join(&group);
	assert_int_equal(a.rc, -ECANCELED);
	finish(c);
}

/* One change without an answer holds the floor, so that no later one is past the servers' memory.
 */
CFS_TEST_SIM(the_window_is_bounded)
{
	struct cfs_client *c = begin(0);
	struct waiting first, last;
	struct cfs_group group;
	struct cfs_client_op op;
	struct cfs_attr attr;

	op_for(&op, c);
	op_for(&first.op, c);
	op_for(&last.op, c);
	cfs_group_init(&group);
	/* Core 0 is cut off, core 1 answers. */
	cfs_net_sim_cut(srv.sim, "sim:server/0", "sim:client", true);
	assert_int_equal(cfs_group_start(&group, wait_in_mkdir, &first), 0);
	cfs_sleep_ns(1 * MS);
	for (uint32_t i = 1; i < 2048; i++)
		assert_int_equal(cfs_client_file_open(&op, FILE_INO, 0, &attr), 0);
	assert_int_equal(srv.last_seq, 2048);
	assert_int_equal(srv.last_floor, 1);
	assert_int_equal(cfs_group_start(&group, wait_in_mkdir, &last), 0);
	cfs_sleep_ns(1 * MS);
	assert_int_equal(srv.last_seq, 2048);
	cfs_client_op_interrupt(&last.op);
	cfs_sleep_ns(1 * MS);
	assert_int_equal(group.count, 1);
	assert_int_equal(last.rc, -EINTR);
	cfs_net_sim_cut(srv.sim, "sim:server/0", "sim:client", false);
	cfs_group_join(&group);
	assert_int_equal(first.rc, 0);
	assert_int_equal(cfs_client_file_open(&op, FILE_INO, 0, &attr), 0);
	assert_int_equal(srv.last_floor, 2049);
	finish(c);
}

CFS_TEST_SIM(a_server_must_answer_first)
{
	const struct cfs_net_sim_opts net = { .delay_min_ns = 5000, .delay_max_ns = 50000 };
	struct cfs_client_opts opts = { .addrs = { "sim:nobody/0" },
					.addr_count = 1,
					.connect_ns = 2000 * MS };
	struct cfs_client *c = NULL;
	char err[256];

	assert_int_equal(cfs_net_sim_create(&net, &opts.sim), 0);
	assert_int_equal(cfs_client_open(&opts, &c, err, sizeof(err)), -ETIMEDOUT);
	assert_non_null(strstr(err, "sim:nobody/0"));
	opts.addr_count = 0;
	assert_int_equal(cfs_client_open(&opts, &c, err, sizeof(err)), -EINVAL);
	assert_null(c);
	cfs_net_sim_destroy(opts.sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_counted),
		cmocka_unit_test(reads_see_to_the_access_time),
		cmocka_unit_test(a_guarded_file_is_written_at_home),
		cmocka_unit_test(a_newer_cut_is_learned),
		cmocka_unit_test(a_wrong_checksum_is_never_data),
		cmocka_unit_test(holes_are_found),
		cmocka_unit_test(another_map_is_asked_for),
		cmocka_unit_test(a_change_runs_once),
		cmocka_unit_test(operations_wait_for_a_restart),
		cmocka_unit_test(a_session_that_ended_is_followed_by_another),
		cmocka_unit_test(waits_have_an_end),
		cmocka_unit_test(waits_can_be_interrupted),
		cmocka_unit_test(waits_can_be_cancelled),
		cmocka_unit_test(the_window_is_bounded),
		cmocka_unit_test(a_server_must_answer_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
