/*
 * The io_uring of one core. All of it is used by one thread, so the kernel may leave completion
 * work to us (DEFER_TASKRUN); it then sets a flag in shared memory that says when to enter it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/assert.h"
#include "base/reactor_internal.h"
#include "base/util.h"

#define TAG_MASK 7u
#define TAG_IO 0u   /* a struct cfs_io */
#define TAG_POLL 1u /* the number of a poll slot */
#define TAG_WAKE 2u
#define TAG_NOTHING 3u

#define IO_BATCH_MAX 256u /* completions of one turn */

enum io_op { IO_READ, IO_WRITE, IO_READV, IO_WRITEV, IO_FDATASYNC, IO_FALLOCATE, IO_POLL };

/* ---- open, close ---- */

int cfs_ring_open(struct cfs_ring *ring)
{
	/* Best first. The first needs Linux 6.1, the second 5.19. */
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int rc = -EINVAL;

	memset(ring, 0, sizeof(*ring));
	cfs_list_init(&ring->pending);
	for (size_t i = 0; i < CFS_ARRAY_COUNT(flags) && rc == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = flags[i] | IORING_SETUP_CQSIZE,
			.cq_entries = CFS_RING_CQ_ENTRIES,
		};

		rc = io_uring_queue_init_params(CFS_RING_SQ_ENTRIES, &ring->uring, &params);
		if (rc == 0 && !(params.features & IORING_FEAT_EXT_ARG)) {
			io_uring_queue_exit(&ring->uring); /* before Linux 5.11 */
			rc = -ENOSYS;
		}
	}
	ring->is_open = rc == 0;
	return rc;
}

void cfs_ring_close(struct cfs_ring *ring)
{
	io_uring_queue_exit(&ring->uring);
	ring->is_open = false;
}

bool cfs_ring_register(struct cfs_ring *ring, void *base, size_t len_bytes)
{
	struct iovec iov = { .iov_base = base, .iov_len = len_bytes };

	if (io_uring_register_buffers(&ring->uring, &iov, 1) < 0)
		return false;
	ring->fixed_low = (uintptr_t)base;
	ring->fixed_high = ring->fixed_low + len_bytes;
	return true;
}

/* ---- submission ---- */

static struct io_uring_sqe *ring_sqe(struct cfs_reactor *r, uint64_t data)
{
	struct cfs_ring *ring = &r->ring;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	while (!sqe) {
		int rc = io_uring_submit(&ring->uring);

		cfs_assert(rc >= 0 || rc == -EAGAIN || rc == -EBUSY || rc == -EINTR);
		r->stats.submits++;
		sqe = io_uring_get_sqe(&ring->uring);
	}
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = data;
	return sqe;
}

/* Buffer 0 is the only registered one, so its index need not be set. */
static bool ring_is_fixed(const struct cfs_ring *ring, const struct cfs_io *io)
{
	uintptr_t low = (uintptr_t)io->buf;

	return low >= ring->fixed_low && low < ring->fixed_high &&
	       io->len <= ring->fixed_high - low;
}

static void io_prep(struct cfs_reactor *r, struct cfs_io *io)
{
	bool is_fixed = io->op <= IO_WRITE && ring_is_fixed(&r->ring, io);
	struct io_uring_sqe *sqe = ring_sqe(r, (uintptr_t)io | TAG_IO);

	static_assert(_Alignof(struct cfs_io) > TAG_MASK, "the tag needs its low bits");
	r->ring.inflight++;
	sqe->fd = io->fd;
	sqe->addr = (uintptr_t)io->buf;
	sqe->len = (uint32_t)io->len;
	sqe->off = io->off;
	switch ((enum io_op)io->op) {
	case IO_READ:
		sqe->opcode = is_fixed ? IORING_OP_READ_FIXED : IORING_OP_READ;
		break;
	case IO_WRITE:
		sqe->opcode = is_fixed ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE;
		break;
	case IO_READV:
		sqe->opcode = IORING_OP_READV;
		break;
	case IO_WRITEV:
		sqe->opcode = IORING_OP_WRITEV;
		break;
	case IO_FDATASYNC:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case IO_FALLOCATE:
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->addr = io->len; /* the kernel takes the length here and the mode there */
		sqe->len = io->flags;
		break;
	case IO_POLL:
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->poll32_events = __io_uring_prep_poll_mask(io->flags);
		break;
	}
}

static void io_submit(struct cfs_io *io, enum io_op op, int fd, uint64_t len, uint64_t off)
{
	struct cfs_reactor *r = cfs_reactor_self();

	cfs_assert(r != NULL);
	cfs_assert(r->ring.is_open);
	cfs_assert(len <= UINT32_MAX || op == IO_FALLOCATE);
	io->op = (uint8_t)op;
	io->fd = fd;
	io->len = len;
	io->off = off;
	/* A poll may have to be cancelled, which finds only what the kernel has. */
	if (r->ring.inflight < CFS_RING_INFLIGHT_MAX || op == IO_POLL)
		io_prep(r, io);
	else
		cfs_list_append(&r->ring.pending, &io->pending);
}

void cfs_io_submit_pread(struct cfs_io *io, int fd, void *buf, size_t len_bytes, uint64_t off_bytes)
{
	io->buf = buf;
	io_submit(io, IO_READ, fd, len_bytes, off_bytes);
}

void cfs_io_submit_pwrite(struct cfs_io *io, int fd, const void *buf, size_t len_bytes,
			  uint64_t off_bytes)
{
	io->buf = (void *)(uintptr_t)buf;
	io_submit(io, IO_WRITE, fd, len_bytes, off_bytes);
}

void cfs_io_submit_preadv(struct cfs_io *io, int fd, const struct iovec *iov, uint32_t count,
			  uint64_t off_bytes)
{
	io->buf = (void *)(uintptr_t)iov;
	io_submit(io, IO_READV, fd, count, off_bytes);
}

void cfs_io_submit_pwritev(struct cfs_io *io, int fd, const struct iovec *iov, uint32_t count,
			   uint64_t off_bytes)
{
	io->buf = (void *)(uintptr_t)iov;
	io_submit(io, IO_WRITEV, fd, count, off_bytes);
}

void cfs_io_submit_fdatasync(struct cfs_io *io, int fd)
{
	io->buf = NULL;
	io_submit(io, IO_FDATASYNC, fd, 0, 0);
}

/* ---- completion ---- */

static void io_complete(struct cfs_reactor *r, struct cfs_io *io, int res)
{
	struct cfs_list *next;

	cfs_assert(r->ring.inflight > 0);
	r->ring.inflight--;
	next = cfs_list_pop(&r->ring.pending);
	if (next)
		io_prep(r, cfs_list_entry(next, struct cfs_io, pending));
	io->res = res;
	io->fn(io);
}

static void poll_complete(struct cfs_reactor *r, uint64_t slot)
{
	struct cfs_poll_slot *s = &r->ring.polls[slot];

	cfs_assert(slot < CFS_POLLERS_MAX);
	cfs_assert(s->is_used);
	if (s->poller) {
		s->poller->is_armed = false;
		s->poller->is_drained = false;
	}
	*s = (struct cfs_poll_slot){ 0 };
}

static void cqe_dispatch(struct cfs_reactor *r, uint64_t data, int res)
{
	switch (data & TAG_MASK) {
	case TAG_IO:
		io_complete(r, (struct cfs_io *)(uintptr_t)data, res);
		break;
	case TAG_POLL:
		poll_complete(r, data >> 3);
		break;
	case TAG_WAKE:
		r->ring.is_wake_armed = false;
		break;
	default:
		break;
	}
}

static uint32_t ring_reap(struct cfs_reactor *r)
{
	struct io_uring *u = &r->ring.uring;
	uint32_t count = 0;
	struct io_uring_cqe *cqe;

	while (count < IO_BATCH_MAX && io_uring_cq_ready(u) > 0) {
		uint64_t data;
		int res;

		if (io_uring_peek_cqe(u, &cqe) < 0)
			break;
		data = cqe->user_data;
		res = cqe->res;
		io_uring_cqe_seen(u, cqe);
		cqe_dispatch(r, data, res);
		count++;
	}
	r->stats.cqes += count;
	return count;
}

/* ---- turns ---- */

static void ring_check(int rc)
{
	cfs_assert(rc >= 0 || rc == -EAGAIN || rc == -EBUSY || rc == -EINTR || rc == -ETIME);
}

/* The kernel holds back completions until it is entered. */
static bool ring_has_work(const struct cfs_ring *ring)
{
	return __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static void ring_enter(struct cfs_reactor *r)
{
	ring_check(io_uring_submit_and_get_events(&r->ring.uring));
	r->ring.is_old = false;
	r->stats.submits++;
}

uint32_t cfs_ring_turn(struct cfs_reactor *r)
{
	if (ring_has_work(&r->ring))
		ring_enter(r);
	return ring_reap(r);
}

void cfs_ring_submit(struct cfs_reactor *r, bool is_urgent)
{
	struct cfs_ring *ring = &r->ring;

	if (io_uring_sq_ready(&ring->uring) == 0)
		return;
	if (is_urgent || ring->is_old)
		ring_enter(r);
	else
		ring->is_old = true;
}

void cfs_ring_sleep(struct cfs_reactor *r, uint64_t timeout_ns)
{
	struct io_uring *u = &r->ring.uring;
	struct io_uring_cqe *cqe = NULL;

	r->stats.submits += io_uring_sq_ready(u) > 0;
	r->ring.is_old = false;
	if (timeout_ns == UINT64_MAX) {
		ring_check(io_uring_submit_and_wait(u, 1));
	} else {
		struct __kernel_timespec ts = {
			.tv_sec = (int64_t)(timeout_ns / 1000000000u),
			.tv_nsec = (int64_t)(timeout_ns % 1000000000u),
		};

		ring_check(io_uring_submit_and_wait_timeout(u, &cqe, 1, &ts, NULL));
	}
}

void cfs_ring_arm_wake(struct cfs_reactor *r)
{
	struct io_uring_sqe *sqe;

	if (r->ring.is_wake_armed)
		return;
	sqe = ring_sqe(r, TAG_WAKE);
	sqe->opcode = IORING_OP_READ;
	sqe->fd = r->mailbox.wake_fd;
	sqe->addr = (uintptr_t)&r->ring.wake_value;
	sqe->len = sizeof(r->ring.wake_value);
	r->ring.is_wake_armed = true;
}

void cfs_ring_arm_poller(struct cfs_reactor *r, struct cfs_poller *p)
{
	struct io_uring_sqe *sqe;
	uint32_t slot = 0;

	while (slot < CFS_POLLERS_MAX && r->ring.polls[slot].is_used)
		slot++;
	cfs_assert(slot < CFS_POLLERS_MAX);
	r->ring.polls[slot] = (struct cfs_poll_slot){ .poller = p, .is_used = true };
	sqe = ring_sqe(r, (uint64_t)slot << 3 | TAG_POLL);
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = p->fd;
	sqe->poll32_events = __io_uring_prep_poll_mask(POLLIN);
	p->is_armed = true;
	p->io.off = slot;
}

/* Enters the kernel at once: the caller may close the descriptor, and the poll holds the file. */
void cfs_ring_disarm_poller(struct cfs_reactor *r, struct cfs_poller *p)
{
	uint64_t slot = p->io.off;
	struct io_uring_sqe *sqe;

	cfs_assert(slot < CFS_POLLERS_MAX);
	cfs_assert(r->ring.polls[slot].poller == p);
	r->ring.polls[slot].poller = NULL;
	p->is_armed = false;
	sqe = ring_sqe(r, TAG_NOTHING);
	sqe->opcode = IORING_OP_POLL_REMOVE;
	sqe->fd = -1;
	sqe->addr = slot << 3 | TAG_POLL;
	ring_enter(r);
}

/* ---- awaiting ---- */

struct io_wait {
	struct cfs_io io;
	struct cfs_fiber *fiber;
	bool is_done;
};

static void io_wait_complete(struct cfs_io *io)
{
	struct io_wait *w = io->arg;

	w->is_done = true;
	if (w->fiber->state == CFS_FIBER_WAITING) /* else it was interrupted and has yet to run */
		cfs_fiber_unpark(w->fiber, 0);
}

static void io_wait_init(struct io_wait *w)
{
	*w = (struct io_wait){ .fiber = cfs_fiber_self() };
	w->io.fn = io_wait_complete;
	w->io.arg = w;
	cfs_assert(w->fiber != NULL);
}

static CFS_AWAITS int64_t io_wait_result(struct io_wait *w)
{
	(void)cfs_fiber_park(false);
	return w->io.res;
}

ssize_t cfs_io_pread(int fd, void *buf, size_t len_bytes, uint64_t off_bytes)
{
	struct io_wait w;

	io_wait_init(&w);
	cfs_io_submit_pread(&w.io, fd, buf, len_bytes, off_bytes);
	return io_wait_result(&w);
}

ssize_t cfs_io_pwrite(int fd, const void *buf, size_t len_bytes, uint64_t off_bytes)
{
	struct io_wait w;

	io_wait_init(&w);
	cfs_io_submit_pwrite(&w.io, fd, buf, len_bytes, off_bytes);
	return io_wait_result(&w);
}

ssize_t cfs_io_preadv(int fd, const struct iovec *iov, uint32_t count, uint64_t off_bytes)
{
	struct io_wait w;

	io_wait_init(&w);
	cfs_io_submit_preadv(&w.io, fd, iov, count, off_bytes);
	return io_wait_result(&w);
}

ssize_t cfs_io_pwritev(int fd, const struct iovec *iov, uint32_t count, uint64_t off_bytes)
{
	struct io_wait w;

	io_wait_init(&w);
	cfs_io_submit_pwritev(&w.io, fd, iov, count, off_bytes);
	return io_wait_result(&w);
}

int cfs_io_fdatasync(int fd)
{
	struct io_wait w;

	io_wait_init(&w);
	cfs_io_submit_fdatasync(&w.io, fd);
	return (int)io_wait_result(&w);
}

int cfs_io_fallocate(int fd, int mode, uint64_t off_bytes, uint64_t len_bytes)
{
	struct io_wait w;

	io_wait_init(&w);
	w.io.flags = (uint32_t)mode;
	io_submit(&w.io, IO_FALLOCATE, fd, len_bytes, off_bytes);
	return (int)io_wait_result(&w);
}

int cfs_io_poll(int fd, uint32_t events)
{
	struct cfs_reactor *r = cfs_reactor_self();
	struct io_uring_sqe *sqe;
	struct io_wait w;
	int rc;

	io_wait_init(&w);
	if (cfs_fiber_is_canceled())
		return -ECANCELED;
	w.io.flags = events;
	io_submit(&w.io, IO_POLL, fd, 0, 0);
	rc = cfs_fiber_park(true);
	if (w.is_done)
		return (int)w.io.res;
	/* Interrupted: the kernel still has our memory until it has answered. */
	sqe = ring_sqe(r, TAG_NOTHING);
	sqe->opcode = IORING_OP_POLL_REMOVE;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)&w.io | TAG_IO;
	(void)cfs_fiber_park(false);
	return w.io.res >= 0 ? (int)w.io.res : rc;
}
