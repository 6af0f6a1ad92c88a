/*
 * The client against a scripted server: routes, counted messages, tries again, waits.
 */
#include "fake_server.h"

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

static void end_and_heal_later(void *arg)
{
	cfs_sleep_ns(*(uint64_t *)arg);
	srv.has_ended = true;
	cfs_net_sim_cut(srv.sim, "sim:server", "sim:client", false);
}

/* Its answer goes with its session: in the next one nobody knows whether it ran. */
CFS_TEST_SIM(a_change_is_not_sent_again_in_another_session)
{
	struct cfs_client *c = begin(0);
	uint64_t heal_ns = 5000 * MS, session = srv.session;
	struct cfs_group group;
	struct cfs_client_op op;
	struct cfs_attr attr;

	op_for(&op, c);
	cfs_group_init(&group);
	srv.silent[CFS_OP_MKDIR] = 1;
	assert_int_equal(cfs_group_start(&group, end_and_heal_later, &heal_ns), 0);
	assert_int_equal(
		cfs_client_mkdir(&op, DIR_INO, (struct cfs_client_name){ "d", 1 }, 0755, &attr),
		-EIO);
	assert_true(srv.session != session);
	assert_int_equal(srv.count[CFS_OP_MKDIR], 1);
	/* Another one does. */
	op_for(&op, c);
	assert_int_equal(
		cfs_client_mkdir(&op, DIR_INO, (struct cfs_client_name){ "e", 1 }, 0755, &attr), 0);
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

static bool has_lost(const struct cfs_client_op *op)
{
	(void)op;
	return true;
}

static CFS_AWAITS int mkdir_as(struct cfs_client_op *op)
{
	struct cfs_attr attr;

	return cfs_client_mkdir(op, DIR_INO, (struct cfs_client_name){ "d", 1 }, 0755, &attr);
}

/* What was begun under a lock is not carried out when the lock has gone with its session. */
CFS_TEST_SIM(what_needs_a_lost_lock_is_not_sent)
{
	struct cfs_client *c = begin(0);
	struct cfs_client_op locked, free;

	op_for(&locked, c);
	op_for(&free, c);
	locked.has_lost = has_lost;
	/* In the same session it is. */
	assert_int_equal(mkdir_as(&locked), 0);
	srv.has_ended = true;
	assert_int_equal(mkdir_as(&locked), -EIO);
	assert_int_equal(srv.runs[CFS_OP_MKDIR], 1);
	/* What needs none is, in the next session. */
	srv.has_ended = true;
	assert_int_equal(mkdir_as(&free), 0);
	assert_int_equal(srv.runs[CFS_OP_MKDIR], 2);
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
		cmocka_unit_test(a_change_is_not_sent_again_in_another_session),
		cmocka_unit_test(what_needs_a_lost_lock_is_not_sent),
		cmocka_unit_test(waits_have_an_end),
		cmocka_unit_test(waits_can_be_interrupted),
		cmocka_unit_test(waits_can_be_cancelled),
		cmocka_unit_test(the_window_is_bounded),
		cmocka_unit_test(a_server_must_answer_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
