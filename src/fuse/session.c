/*
 * The classic transport: requests are read from one descriptor of /dev/fuse, without blocking, in
 * every turn of the reactor; each becomes a fiber, whose reply is one writev(2).
 *
 * A request is read into large memory, which is free again at once for all but large WRITEs and
 * large values of xattrs: the others are copied into their request, some hundred bytes. Large
 * memory is bounded, and only part of it is of the core's buffer pool, which those who serve the
 * requests need too. While all of it is in use nothing is read.
 *
 * INTERRUPT: a request that changes nothing stops waiting for a lost server. One that changes
 * something may have run, and few programs expect EINTR of mkdir(2); so it stops only when its
 * caller is dying. The kernel tells of the first signal only, so such requests are watched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/log.h"
#include "fuse/fuse_internal.h"

#define POOL_LARGE 1u /* class of base/buf.h */
#define STATUS_BYTES 8192u
#define KILL_BIT (1ull << 8) /* SIGKILL in a mask of /proc: what ends a process becomes that */

/* --- memory --- */

static struct cfs_fuse_mem *mem_create(struct cfs_fuse *f)
{
	struct cfs_fuse_mem *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	cfs_list_init(&m->link);
	if (f->mem_pooled < f->mem_pooled_max && cfs_buf_try(CFS_FUSE_MEM_BYTES, &m->buf) == 0) {
		f->mem_pooled++;
		m->data = m->buf->data;
		return m;
	}
	m->data = aligned_alloc(CFS_BLOCK_BYTES, CFS_FUSE_MEM_BYTES);
	if (!m->data) {
		free(m);
		return NULL;
	}
	return m;
}

static void mem_destroy(struct cfs_fuse *f, struct cfs_fuse_mem *m)
{
	if (m->buf) {
		f->mem_pooled--;
		cfs_buf_put(m->buf);
	} else {
		free(m->data);
	}
	free(m);
}

/* NULL: used up. */
static struct cfs_fuse_mem *mem_try(struct cfs_fuse *f)
{
	struct cfs_list *n = cfs_list_pop(&f->mem_idle);
	struct cfs_fuse_mem *m;

	if (n) {
		f->mem_idle_count--;
		f->mem_count++;
		return cfs_list_entry(n, struct cfs_fuse_mem, link);
	}
	if (f->mem_count >= CFS_FUSE_MEM_MAX)
		return NULL;
	m = mem_create(f);
	if (m)
		f->mem_count++;
	return m;
}

int cfs_fuse_mem_get(struct cfs_fuse *f, struct cfs_fuse_mem **out)
{
	for (;;) {
		struct cfs_fuse_mem *m = mem_try(f);
		int rc;

		if (m) {
			*out = m;
			return 0;
		}
		if (f->mem_count == 0)
			return -ENOMEM;
		rc = cfs_waitq_wait(&f->mem_waiters);
		if (rc < 0)
			return rc;
	}
}

void cfs_fuse_mem_put(struct cfs_fuse *f, struct cfs_fuse_mem *m)
{
	if (!m)
		return;
	f->mem_count--;
	/* Pooled ones are kept first: they are registered. */
	if (f->mem_idle_count < CFS_FUSE_MEM_IDLE_MAX) {
		if (m->buf)
			cfs_list_push(&f->mem_idle, &m->link);
		else
			cfs_list_append(&f->mem_idle, &m->link);
		f->mem_idle_count++;
	} else {
		mem_destroy(f, m);
	}
	cfs_waitq_wake_one(&f->mem_waiters);
	if (f->is_stalled && !f->is_ended) {
		f->is_stalled = false;
		cfs_poller_add(&f->poller);
	}
}

/* --- requests --- */

static struct cfs_fuse_req *req_get(struct cfs_fuse *f)
{
	struct cfs_list *n = cfs_list_pop(&f->requests_idle);
	struct cfs_fuse_req *req;

	if (n) {
		f->requests_idle_count--;
		req = cfs_list_entry(n, struct cfs_fuse_req, link);
	} else {
		req = malloc(sizeof(*req));
		if (!req)
			return NULL;
	}
	memset(req, 0, offsetof(struct cfs_fuse_req, small));
	req->fuse = f;
	cfs_list_append(&f->requests, &req->link);
	f->request_count++;
	return req;
}

static void req_put(struct cfs_fuse_req *req)
{
	struct cfs_fuse *f = req->fuse;

	cfs_list_remove(&req->link);
	f->request_count--;
	f->interrupted_count -= req->is_interrupted;
	cfs_fuse_mem_put(f, req->mem);
	req->mem = NULL;
	if (f->requests_idle_count >= CFS_FUSE_REQS_IDLE_MAX) {
		free(req);
		return;
	}
	cfs_list_push(&f->requests_idle, &req->link);
	f->requests_idle_count++;
}

static ssize_t send_reply(struct cfs_fuse *f, uint64_t unique, int rc, const void *out,
			  size_t out_bytes)
{
	struct fuse_out_header h = {
		.len = (uint32_t)(sizeof(h) + out_bytes),
		.error = rc,
		.unique = unique,
	};
	struct iovec iov[2] = {
		{ &h, sizeof(h) },
		{ (void *)(uintptr_t)out, out_bytes },
	};
	ssize_t n = writev(f->fd, iov, out_bytes > 0 ? 2 : 1);

	return n < 0 ? -errno : n;
}

/* The kernel takes -errno below 512 only. */
static int error_for_kernel(int rc, bool may_be_again)
{
	int error = cfs_err_class(rc);

	if (error == -ECANCELED || (error == -EAGAIN && !may_be_again) || error <= -512)
		return -EIO;
	return error;
}

static void reply_unique(struct cfs_fuse *f, uint64_t unique, int rc, const void *out,
			 size_t out_bytes)
{
	ssize_t n = send_reply(f, unique, rc, out, rc < 0 ? 0 : out_bytes);

	/* ENOENT: the request was interrupted and is forgotten; ENODEV: unmounted. */
	if (n >= 0 || n == -ENOENT || n == -ENODEV || n == -ECONNABORTED)
		return;
	cfs_counter_add(&f->reply_errors, 1);
	cfs_err("the kernel refused a reply", "rc=%s bytes=%zu", cfs_err_name((int)n), out_bytes);
	/* Never leave the caller waiting. */
	(void)send_reply(f, unique, -EIO, NULL, 0);
}

void cfs_fuse_reply(struct cfs_fuse_req *req, int rc, const void *out, size_t out_bytes)
{
	struct cfs_fuse *f = req->fuse;

	cfs_assert(!req->is_replied);
	req->is_replied = true;
	/* Before the reply: who reads the counters next shall see it counted. */
	cfs_hist_add(&f->hist[req->in.opcode], cfs_now_ns() - req->begin_ns);
	if (rc < 0)
		rc = error_for_kernel(rc, req->in.opcode == FUSE_SETLK ||
						  req->in.opcode == FUSE_SETLKW);
	reply_unique(f, req->in.unique, CFS_MIN(rc, 0), out, out_bytes);
}

static CFS_AWAITS void request_fiber(void *arg)
{
	struct cfs_fuse_req *req = arg;

	cfs_fuse_change_begin(req);
	cfs_fuse_serve_request(req);
	cfs_assert(req->is_replied);
	cfs_fuse_change_end(req);
	req_put(req);
}

static void request_start(struct cfs_fuse *f, const struct fuse_in_header *in, const uint8_t *args,
			  uint32_t args_bytes)
{
	struct cfs_fuse_req *req = req_get(f);
	int rc;

	if (!req) {
		reply_unique(f, in->unique, -ENOMEM, NULL, 0);
		return;
	}
	req->in = *in;
	req->args_bytes = args_bytes;
	req->begin_ns = cfs_now_ns();
	cfs_client_op_init(&req->op, f->opts->client, in->uid, in->gid);
	if (args_bytes <= CFS_FUSE_SMALL_BYTES) {
		memcpy(req->small, args, args_bytes);
		req->args = req->small;
	} else {
		req->args = args;
		req->mem = f->rx;
		f->rx = NULL;
	}
	rc = cfs_group_start(&f->fibers, request_fiber, req);
	if (rc < 0) {
		cfs_fuse_reply(req, rc, NULL, 0);
		req_put(req);
	}
}

/* --- interrupts --- */

/* Whether a mask of pending signals in /proc/PID/status has SIGKILL. */
static bool has_kill_pending(const char *status, const char *key)
{
	const char *line = strstr(status, key);

	return line && (strtoull(line + strlen(key), NULL, 16) & KILL_BIT) != 0;
}

/* Reads procfs, which does not wait. A caller outside of our pid namespace has pid 0 and counts as
 * dying. */
static bool is_dying(uint32_t pid)
{
	CFS_CLEANUP(cfs_free_p) char *status = malloc(STATUS_BYTES);
	char path[64];
	ssize_t n;
	int fd;

	if (pid == 0 || !status)
		return true;
	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	n = read(fd, status, STATUS_BYTES - 1);
	close(fd);
	if (n <= 0)
		return true;
	status[n] = '\0';
	return has_kill_pending(status, "\nSigPnd:") || has_kill_pending(status, "\nShdPnd:");
}

static CFS_AWAITS void watch_interrupted(void *arg)
{
	struct cfs_fuse *f = arg;

	while (f->interrupted_count > 0 && cfs_sleep_ns(CFS_FUSE_INTERRUPT_PERIOD_NS) == 0) {
		cfs_list_for_each(n, &f->requests) {
			struct cfs_fuse_req *req = cfs_list_entry(n, struct cfs_fuse_req, link);

			if (req->is_interrupted && !req->op.is_interrupted && is_dying(req->in.pid))
				cfs_client_op_interrupt(&req->op);
		}
	}
	f->is_watching = false;
}

static void interrupt(struct cfs_fuse *f, uint64_t unique)
{
	cfs_counter_add(&f->interrupts, 1);
	cfs_list_for_each(n, &f->requests) {
		struct cfs_fuse_req *req = cfs_list_entry(n, struct cfs_fuse_req, link);

		if (req->in.unique != unique || req->is_interrupted)
			continue;
		req->is_interrupted = true;
		f->interrupted_count++;
		/* A wait for a lock has changed nothing yet. */
		if (req->in.opcode == FUSE_SETLKW)
			cfs_client_op_signal(&req->op);
		if (cfs_fuse_opcode_is_read(req->in.opcode) || is_dying(req->in.pid))
			cfs_client_op_interrupt(&req->op);
		else if (!f->is_watching)
			f->is_watching = cfs_group_start(&f->fibers, watch_interrupted, f) == 0;
		return;
	}
}

/* --- reading --- */

static void end(struct cfs_fuse *f, int rc)
{
	if (f->is_ended)
		return;
	f->is_ended = true;
	f->end_rc = rc;
	cfs_waitq_wake_all(&f->ended);
}

static int read_ahead_write(void *arg)
{
	const struct cfs_fuse_opts *opts = arg;
	char path[96], text[32];
	int fd, len;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", opts->dev_major,
		 opts->dev_minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = snprintf(text, sizeof(text), "%u", CFS_FUSE_READ_AHEAD_BYTES / 1024);
	len = write(fd, text, (size_t)len) < 0 ? -errno : 0;
	close(fd);
	return len;
}

/* The kernel caps read-ahead by a value that INIT can only lower; without the right to raise it
 * reads are smaller, no more. */
static CFS_AWAITS void after_init(void *arg)
{
	struct cfs_fuse *f = arg;
	struct cfs_fuse_opts opts = *f->opts;

	if (opts.dev_major != 0 || opts.dev_minor != 0) {
		int rc = cfs_offload(read_ahead_write, &opts);

		if (rc < 0)
			cfs_debug("read-ahead stays at the kernel's default", "rc=%s",
				  cfs_err_name(rc));
	}
	cfs_fuse_cache_ready(f);
	if (opts.ready)
		opts.ready(opts.arg);
}

static void serve_init(struct cfs_fuse *f, const struct fuse_in_header *in, const uint8_t *args,
		       uint32_t args_bytes)
{
	struct fuse_init_in init = { 0 };
	struct fuse_init_out out;
	int rc;

	memcpy(&init, args, CFS_MIN(args_bytes, (uint32_t)sizeof(init)));
	rc = cfs_fuse_negotiate(&init, args_bytes, f->opts->features, &out, &f->features);
	if (rc < 0) {
		cfs_err("this kernel's FUSE is too old", "have=%u.%u need=%u.%u", init.major,
			init.minor, FUSE_KERNEL_VERSION, FUSE_MINOR_OLDEST);
		reply_unique(f, in->unique, rc, NULL, 0);
		end(f, -EPROTONOSUPPORT);
		return;
	}
	reply_unique(f, in->unique, 0, &out, sizeof(out));
	if (init.major > FUSE_KERNEL_VERSION || f->is_ready)
		return;
	cfs_fuse_cache_start(f);
	f->minor = CFS_MIN(init.minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION);
	f->is_ready = true;
	if (cfs_group_start(&f->fibers, after_init, f) < 0 && f->opts->ready)
		f->opts->ready(f->opts->arg);
}

/* What needs no fiber. False: it does. */
static bool serve_at_once(struct cfs_fuse *f, const struct fuse_in_header *in, const uint8_t *args,
			  uint32_t args_bytes)
{
	struct fuse_interrupt_in interrupted;

	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return true; /* nothing is kept for a node id, and there is no reply */
	case FUSE_INTERRUPT:
		memcpy(&interrupted, args, sizeof(interrupted));
		interrupt(f, interrupted.unique);
		return true;
	case FUSE_INIT:
		serve_init(f, in, args, args_bytes);
		return true;
	case FUSE_DESTROY:
		reply_unique(f, in->unique, 0, NULL, 0);
		return true;
	default:
		break;
	}
	if (!f->is_ready) {
		reply_unique(f, in->unique, -EIO, NULL, 0);
		return true;
	}
	if (in->opcode == FUSE_FLUSH && cfs_fuse_flush_is_idle(f, in->nodeid, args)) {
		cfs_hist_add(&f->hist[FUSE_FLUSH], 0);
		reply_unique(f, in->unique, 0, NULL, 0);
		return true;
	}
	return false;
}

static void serve_bytes(struct cfs_fuse *f, const uint8_t *bytes, uint32_t len_bytes)
{
	const uint8_t *args = bytes + sizeof(struct fuse_in_header);
	struct fuse_in_header in;
	uint32_t args_bytes, ext_bytes;

	if (len_bytes < sizeof(in)) {
		cfs_counter_add(&f->malformed, 1);
		return;
	}
	memcpy(&in, bytes, sizeof(in));
	args_bytes = len_bytes - (uint32_t)sizeof(in);
	ext_bytes = in.total_extlen * 8u;
	if (in.len != len_bytes || ext_bytes > args_bytes) {
		cfs_counter_add(&f->malformed, 1);
		reply_unique(f, in.unique, -EIO, NULL, 0);
		return;
	}
	args_bytes -= ext_bytes;
	if (strcmp(cfs_fuse_opcode_name(in.opcode), "?") == 0) {
		cfs_counter_add(&f->unknown, 1);
		reply_unique(f, in.unique, -ENOSYS, NULL, 0);
		return;
	}
	if (!cfs_fuse_request_is_valid(&in, args, args_bytes)) {
		cfs_counter_add(&f->malformed, 1);
		/* These two want no reply. */
		if (in.opcode != FUSE_FORGET && in.opcode != FUSE_BATCH_FORGET &&
		    in.opcode != FUSE_INTERRUPT)
			reply_unique(f, in.unique, -EIO, NULL, 0);
		return;
	}
	if (!serve_at_once(f, &in, args, args_bytes))
		request_start(f, &in, args, args_bytes);
}

/* One request. 1: done; 0: there is none; -EAGAIN: no memory to read into. */
static int read_one(struct cfs_fuse *f)
{
	ssize_t n;

	if (!f->rx)
		f->rx = mem_try(f);
	if (!f->rx)
		return -EAGAIN;
	n = read(f->fd, f->rx->data + CFS_FUSE_RX_OFF, CFS_FUSE_MEM_BYTES - CFS_FUSE_RX_OFF);
	if (n == 0) { /* the other end of a socket in a test; the device never says so */
		end(f, 0);
		return 0;
	}
	if (n > 0) {
		serve_bytes(f, f->rx->data + CFS_FUSE_RX_OFF, (uint32_t)n);
		return 1;
	}
	switch (errno) {
	case EAGAIN:
		return 0;
	case EINTR:
	case ENOENT: /* it was interrupted before it was read */
		return 1;
	case ENODEV:
		end(f, 0);
		return 0;
	default:
		end(f, -errno);
		return 0;
	}
}

static int fuse_poll(void *arg)
{
	struct cfs_fuse *f = arg;
	int done = 0;

	while (!f->is_ended && (uint32_t)done < CFS_FUSE_READS_PER_TURN) {
		int rc;

		/* Where requests come one by one, the next one comes after the reply at the
		 * earliest: looking before it finds nothing. */
		if (done == 1 && !f->is_crowded && ++f->singles % CFS_FUSE_SINGLES_MAX != 0)
			return done;
		rc = read_one(f);

		if (rc == -EAGAIN) {
			/* Back when memory is: the descriptor stays readable, so polling it would
			 * only spin. */
			f->is_stalled = true;
			cfs_poller_remove(&f->poller);
		}
		if (rc <= 0) {
			f->poller.is_drained = true;
			break;
		}
		done++;
	}
	f->is_crowded = done > 1;
	return done;
}

/* --- the session --- */

static void session_destroy(struct cfs_fuse *f)
{
	struct cfs_list *n;

	if (f->rx)
		cfs_fuse_mem_put(f, f->rx);
	while ((n = cfs_list_pop(&f->mem_idle)) != NULL)
		mem_destroy(f, cfs_list_entry(n, struct cfs_fuse_mem, link));
	while ((n = cfs_list_pop(&f->requests_idle)) != NULL)
		free(cfs_list_entry(n, struct cfs_fuse_req, link));
	cfs_fuse_locks_fini(f);
	cfs_fuse_lazy_fini(f);
	free(f);
}

static struct cfs_fuse *session_create(const struct cfs_fuse_opts *opts)
{
	struct cfs_fuse *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->opts = opts;
	f->handlers = opts->handlers ? opts->handlers : &cfs_fuse_client_handlers;
	f->fd = opts->fd;
	f->keeps_atime = opts->keeps_atime;
	f->keeps_diratime = opts->keeps_diratime;
	/* Whoever serves the requests needs the rest. */
	f->mem_pooled_max = cfs_buf_free_count(POOL_LARGE) / 3;
	cfs_waitq_init(&f->ended);
	cfs_waitq_init(&f->mem_waiters);
	cfs_group_init(&f->fibers);
	cfs_list_init(&f->requests);
	cfs_list_init(&f->requests_idle);
	cfs_list_init(&f->mem_idle);
	cfs_fuse_locks_init(f);
	cfs_fuse_lazy_init(f);
	cfs_list_init(&f->changing);
	f->poller.poll = fuse_poll;
	f->poller.arg = f;
	f->poller.fd = opts->fd;
	return f;
}

int cfs_fuse_serve(const struct cfs_fuse_opts *opts)
{
	struct cfs_fuse *f;
	int flags = fcntl(opts->fd, F_GETFL);
	int rc = 0;

	if (flags < 0 || fcntl(opts->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	f = session_create(opts);
	if (!f)
		return -ENOMEM;
	cfs_poller_add(&f->poller);
	while (!f->is_ended && rc == 0)
		rc = cfs_waitq_wait(&f->ended);
	if (f->is_ended)
		rc = f->end_rc;
	f->is_ended = true;
	if (!f->is_stalled)
		cfs_poller_remove(&f->poller);
	/* Requests under way are not waited for longer than they need to notice. */
	cfs_group_cancel(&f->fibers);
	cfs_group_join(&f->fibers);
	cfs_fuse_cache_stop(f);
	session_destroy(f);
	return rc;
}
