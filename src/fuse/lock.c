/*
 * Locks, from the kernel's requests to the client's (doc/design/locks.md).
 *
 * SETLK says whose a lock is: a table of descriptors (fcntl), or an open file description (flock,
 * and fcntl's OFD locks, which look like the first). The kernel asks for no unlocking when a file
 * is closed: FLUSH tells that a table of descriptors has closed one of the file, RELEASE that a
 * description is gone. So it is remembered here who may hold something of what, and through which
 * open; a FLUSH of who has nothing is answered at once.
 *
 * Whose description it is, RELEASE says for flock only, but its file handle is that of the SETLKs.
 * An owner that came through one handle and is still here when that is released was a description:
 * a table of descriptors would have sent FLUSH before. The kernel's numbers of owners are addresses
 * and come again, and RELEASE is late; so a flock goes by its handle, which never does, and an
 * owner whose locks are being dropped is waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/hash.h"
#include "fuse/fuse_internal.h"

#define SYSCALL_BYTES 256u
#define SYSCALL_TRIES 5u
#define SYSCALL_AGAIN_NS (1000ull * 1000)
#define OFD_SETLKW_CMD 38ull /* F_OFD_SETLKW of every architecture */

_Static_assert(F_RDLCK == CFS_LOCK_READ && F_WRLCK == CFS_LOCK_WRITE && F_UNLCK == CFS_LOCK_NONE,
	       "types of locks are the kernel's");

struct lost_handle {
	struct cfs_list link;
	uint64_t fh;
};

struct lock_owner {
	struct cfs_list link;
	uint64_t ino, owner, fh;
	uint32_t users;   /* SETLKs under way */
	bool is_flock;    /* owner is the handle */
	bool is_shared;   /* came through several handles */
	bool may_hold;    /* something */
	bool is_dropping; /* what it holds is being given up */
};

static struct cfs_list *bucket(struct cfs_fuse *f, uint64_t ino)
{
	return &f->lock_owners[cfs_hash_u64(ino) % CFS_FUSE_LOCK_BUCKETS];
}

void cfs_fuse_locks_init(struct cfs_fuse *f)
{
	for (uint32_t b = 0; b < CFS_FUSE_LOCK_BUCKETS; b++)
		cfs_list_init(&f->lock_owners[b]);
	cfs_waitq_init(&f->lock_drops);
	cfs_list_init(&f->lost_handles);
}

static void owner_free(struct cfs_fuse *f, struct lock_owner *o)
{
	cfs_list_remove(&o->link);
	f->lock_owner_count--;
	free(o);
}

void cfs_fuse_locks_fini(struct cfs_fuse *f)
{
	for (uint32_t b = 0; b < CFS_FUSE_LOCK_BUCKETS; b++)
		while (!cfs_list_is_empty(&f->lock_owners[b]))
			owner_free(f, cfs_list_first(&f->lock_owners[b], struct lock_owner, link));
	while (!cfs_list_is_empty(&f->lost_handles))
		free(cfs_list_entry(cfs_list_pop(&f->lost_handles), struct lost_handle, link));
}

static struct lock_owner *owner_find(struct cfs_fuse *f, uint64_t ino, uint64_t owner,
				     bool is_flock)
{
	if (f->lock_owner_count == 0)
		return NULL;
	cfs_list_for_each(l, bucket(f, ino)) {
		struct lock_owner *o = cfs_list_entry(l, struct lock_owner, link);

		if (o->ino == ino && o->owner == owner && o->is_flock == is_flock)
			return o;
	}
	return NULL;
}

static struct lock_owner *owner_create(struct cfs_fuse *f, uint64_t ino, uint64_t owner,
				       bool is_flock, uint64_t fh)
{
	struct lock_owner *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->ino = ino;
	o->owner = owner;
	o->is_flock = is_flock;
	o->fh = fh;
	cfs_list_append(bucket(f, ino), &o->link);
	f->lock_owner_count++;
	return o;
}

static void owner_tidy(struct cfs_fuse *f, struct lock_owner *o)
{
	if (o->users == 0 && !o->may_hold && !o->is_dropping)
		owner_free(f, o);
}

/* --- SETLK, GETLK --- */

/*
 * Deadlocks are found for fcntl(2) locks and not for those of descriptions, which only the caller's
 * system call tells apart: it stands in it. Who cannot be looked at counts as fcntl's. Reads
 * procfs, which does not wait.
 */
static CFS_AWAITS bool finds_deadlocks(void *arg)
{
	const struct cfs_fuse_req *req = arg;
	char path[64], text[SYSCALL_BYTES], *at;

	snprintf(path, sizeof(path), "/proc/%u/syscall", req->in.pid);
	for (uint32_t k = 0; k < SYSCALL_TRIES; k++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

		if (fd >= 0)
			close(fd);
		if (n <= 0)
			return true;
		text[n] = '\0';
		/* "running": it is on its way to sleep. Else its number and arguments. */
		if (text[0] == 'r') {
			if (cfs_sleep_ns(SYSCALL_AGAIN_NS) < 0)
				return true;
			continue;
		}
		at = strchr(text, ' ');
		at = at ? strchr(at + 1, ' ') : NULL;
		return !at || strtoull(at, NULL, 16) != OFD_SETLKW_CMD ||
		       CFS_BREAK(LOCK_OFD_CYCLES);
	}
	return true;
}

static bool is_lock(const struct fuse_lk_in *in)
{
	return in->lk.type <= CFS_LOCK_NONE && in->lk.start <= in->lk.end &&
	       in->lk.end <= INT64_MAX;
}

static struct cfs_client_lock lock_of(const struct cfs_fuse_req *req, const struct fuse_lk_in *in)
{
	bool is_flock = in->lk_flags & FUSE_LK_FLOCK;

	return (struct cfs_client_lock){
		.owner = is_flock ? in->fh : in->owner,
		.start = is_flock ? 0 : in->lk.start,
		.end = is_flock ? INT64_MAX : in->lk.end,
		.type = in->lk.type,
		.pid = in->lk.pid,
		.is_flock = is_flock,
		.finds_deadlocks = is_flock ? NULL : finds_deadlocks,
		.arg = (void *)(uintptr_t)req,
	};
}

/* Whether something of the inode is being given up that may be in the way of @l: who has closed a
 * file finds it unlocked, though RELEASE is not waited for. */
static bool is_dropped(struct cfs_fuse *f, uint64_t ino, const struct cfs_client_lock *l)
{
	if (f->lock_owner_count == 0)
		return false;
	cfs_list_for_each(n, bucket(f, ino)) {
		const struct lock_owner *o = cfs_list_entry(n, struct lock_owner, link);

		if (o->ino == ino && o->is_dropping && o->is_flock == l->is_flock)
			return true;
	}
	return false;
}

/* The owner that @l is of; NULL with 0: unlocks what it does not hold. */
static CFS_AWAITS int owner_get(struct cfs_fuse_req *req, const struct cfs_client_lock *l,
				uint64_t fh, struct lock_owner **out)
{
	struct cfs_fuse *f = req->fuse;

	while (is_dropped(f, req->in.nodeid, l)) {
		int rc = cfs_waitq_wait(&f->lock_drops);

		if (rc < 0)
			return rc;
	}
	*out = owner_find(f, req->in.nodeid, l->owner, l->is_flock);
	if (*out || l->type == CFS_LOCK_NONE)
		return 0;
	*out = owner_create(f, req->in.nodeid, l->owner, l->is_flock, fh);
	return *out ? 0 : -ENOLCK;
}

/* Whether a lock that was refused so leaves nothing behind. A caller that dies did not wait for the
 * answer. */
static bool is_refusal(const struct cfs_fuse_req *req, int rc)
{
	return rc == -EAGAIN || rc == -EDEADLK || rc == -ENOLCK || rc == -EINVAL ||
	       (rc == -EINTR && !req->op.is_interrupted);
}

static CFS_AWAITS int set_lock(struct cfs_fuse_req *req, const struct fuse_lk_in *in)
{
	struct cfs_client_lock l = lock_of(req, in);
	bool is_unlock = l.type == CFS_LOCK_NONE, could_hold;
	struct lock_owner *o;
	int rc = owner_get(req, &l, in->fh, &o);

	if (rc < 0 || !o)
		return rc;
	o->is_shared |= o->fh != in->fh;
	could_hold = o->may_hold;
	o->may_hold = true;
	o->users++;
	rc = req->fuse->handlers->lock(&req->op, req->in.nodeid, &l, req->in.opcode == FUSE_SETLKW);
	o->users--;
	if (!is_unlock && rc == 0)
		o->may_hold = true; /* a FLUSH meanwhile dropped what was there then */
	else if (o->users == 0 && (is_unlock ? rc == 0 && l.start == 0 && l.end == INT64_MAX
					     : !could_hold && is_refusal(req, rc)))
		o->may_hold = false;
	owner_tidy(req->fuse, o);
	return rc;
}

CFS_AWAITS void cfs_fuse_serve_setlk(struct cfs_fuse_req *req)
{
	const struct fuse_lk_in *in = (const struct fuse_lk_in *)(const void *)req->args;
	int rc = -ENOSYS;

	if (req->fuse->handlers->lock)
		rc = is_lock(in) ? set_lock(req, in) : -EINVAL;
	cfs_fuse_reply(req, rc, NULL, 0);
}

CFS_AWAITS void cfs_fuse_serve_getlk(struct cfs_fuse_req *req)
{
	const struct fuse_lk_in *in = (const struct fuse_lk_in *)(const void *)req->args;
	struct fuse_lk_out out = { .lk = in->lk };
	struct cfs_client_lock l;
	int rc = -ENOSYS;

	if (req->fuse->handlers->lock_test) {
		l = lock_of(req, in);
		rc = is_lock(in) ? req->fuse->handlers->lock_test(&req->op, req->in.nodeid, &l)
				 : -EINVAL;
	}
	if (rc == 0) {
		out.lk.type = l.type;
		if (l.type != CFS_LOCK_NONE) {
			out.lk.start = l.start;
			out.lk.end = l.end;
			out.lk.pid = l.pid;
		}
	}
	cfs_fuse_reply(req, rc, &out, sizeof(out));
}

/* --- closing --- */

static void drop_begin(struct lock_owner *o)
{
	cfs_assert(!o->is_dropping);
	o->is_dropping = true;
	o->may_hold = false;
}

/* After drop_begin(). */
static CFS_AWAITS int drop(struct cfs_fuse *f, struct lock_owner *o, struct cfs_client_op *op)
{
	const struct cfs_client_lock l = {
		.owner = o->owner,
		.end = INT64_MAX,
		.type = CFS_LOCK_NONE,
		.is_flock = o->is_flock,
	};
	int rc;

	cfs_assert(o->is_dropping);
	rc = f->handlers->lock(op, o->ino, &l, false);
	o->is_dropping = false;
	owner_tidy(f, o);
	cfs_waitq_wake_all(&f->lock_drops);
	return rc;
}

/* Goes on when the FLUSH that asked for it does not wait any more, as its caller is dying. */
struct drop_job {
	struct cfs_fuse *fuse;
	struct lock_owner *owner;
	struct cfs_client_op op;
	struct cfs_client_op *asker; /* NULL: it left */
	int rc;
	bool is_done;
};

static CFS_AWAITS void drop_run(void *arg)
{
	struct drop_job *j = arg;

	j->rc = drop(j->fuse, j->owner, &j->op);
	j->is_done = true;
	if (j->asker)
		cfs_waitq_wake_all(&j->asker->waiters);
	else
		free(j);
}

static CFS_AWAITS int drop_for(struct cfs_fuse_req *req, struct lock_owner *o)
{
	struct drop_job *j = calloc(1, sizeof(*j));
	int rc;

	drop_begin(o);
	if (!j)
		return drop(req->fuse, o, &req->op);
	j->fuse = req->fuse;
	j->owner = o;
	j->asker = &req->op;
	cfs_client_op_init(&j->op, req->op.client, req->op.uid, req->op.gid);
	rc = cfs_group_start(&req->fuse->fibers, drop_run, j);
	if (rc < 0) {
		free(j);
		return drop(req->fuse, o, &req->op);
	}
	while (!j->is_done && rc == 0 && !req->op.is_interrupted)
		rc = cfs_waitq_wait(&req->op.waiters);
	if (!j->is_done) {
		j->asker = NULL;
		return rc < 0 ? rc : -EINTR;
	}
	rc = j->rc;
	free(j);
	return rc;
}

bool cfs_fuse_flush_is_idle(const struct cfs_fuse *f, uint64_t ino, const uint8_t *args)
{
	struct fuse_flush_in in;

	if (f->lock_owner_count == 0 || CFS_BREAK(LOCK_CLOSE_KEEPS))
		return true;
	memcpy(&in, args, sizeof(in));
	return owner_find((struct cfs_fuse *)(uintptr_t)f, ino, in.lock_owner, false) == NULL;
}

CFS_AWAITS void cfs_fuse_serve_flush(struct cfs_fuse_req *req)
{
	const struct fuse_flush_in *in = (const struct fuse_flush_in *)(const void *)req->args;
	struct cfs_fuse *f = req->fuse;
	struct lock_owner *o;
	int rc = 0;

	/* Another of the same owner's: then it is done with that. */
	while (rc == 0 && (o = owner_find(f, req->in.nodeid, in->lock_owner, false)) &&
	       o->is_dropping)
		rc = cfs_waitq_wait(&f->lock_drops);
	if (rc == 0 && o && o->may_hold)
		rc = drop_for(req, o);
	cfs_fuse_reply(req, rc, NULL, 0);
}

/* One that @fh's description held; NULL: no more. */
static struct lock_owner *owner_of_handle(struct cfs_fuse *f, uint64_t ino, uint64_t fh)
{
	cfs_list_for_each(l, bucket(f, ino)) {
		struct lock_owner *o = cfs_list_entry(l, struct lock_owner, link);

		if (o->ino == ino && o->fh == fh && o->may_hold && !o->is_shared && !o->is_dropping)
			return o;
	}
	return NULL;
}

/* --- locks that are lost --- */

static struct lost_handle *lost_find(const struct cfs_fuse *f, uint64_t fh)
{
	cfs_list_for_each(l, &f->lost_handles) {
		struct lost_handle *h = cfs_list_entry(l, struct lost_handle, link);

		if (h->fh == fh)
			return h;
	}
	return NULL;
}

void cfs_fuse_locks_lost(struct cfs_fuse *f)
{
	for (uint32_t b = 0; b < CFS_FUSE_LOCK_BUCKETS; b++) {
		cfs_list_for_each(l, &f->lock_owners[b]) {
			const struct lock_owner *o = cfs_list_entry(l, struct lock_owner, link);
			struct lost_handle *h;

			if (!o->may_hold || lost_find(f, o->fh))
				continue;
			h = calloc(1, sizeof(*h));
			if (!h)
				continue;
			h->fh = o->fh;
			cfs_list_append(&f->lost_handles, &h->link);
		}
	}
}

static uint64_t handle_of(const struct cfs_fuse_req *req)
{
	struct fuse_setattr_in set;
	uint64_t fh;

	switch (req->in.opcode) {
	case FUSE_READ:
	case FUSE_WRITE:
	case FUSE_FSYNC:
	case FUSE_FALLOCATE:
	case FUSE_LSEEK:
	case FUSE_COPY_FILE_RANGE:
	case FUSE_COPY_FILE_RANGE_64:
		memcpy(&fh, req->args, sizeof(fh)); /* their first argument */
		return fh;
	case FUSE_SETATTR:
		memcpy(&set, req->args, sizeof(set));
		return set.valid & FATTR_FH ? set.fh : 0;
	default:
		return 0;
	}
}

static bool has_lost(const struct cfs_client_op *op)
{
	const struct cfs_fuse_req *req = cfs_container_of_const(op, struct cfs_fuse_req, op);

	return lost_find(req->fuse, req->fh) != NULL;
}

bool cfs_fuse_handle_is_lost(struct cfs_fuse_req *req)
{
	req->fh = handle_of(req);
	if (req->fh)
		req->op.has_lost = has_lost;
	return req->fh && lost_find(req->fuse, req->fh);
}

CFS_AWAITS void cfs_fuse_locks_release(struct cfs_fuse_req *req)
{
	const struct fuse_release_in *in = (const struct fuse_release_in *)(const void *)req->args;
	struct lost_handle *h = lost_find(req->fuse, in->fh);
	struct lock_owner *o;

	if (h) {
		cfs_list_remove(&h->link);
		free(h);
	}
	while (req->fuse->lock_owner_count && !CFS_BREAK(LOCK_LAST_KEEPS) &&
	       (o = owner_of_handle(req->fuse, req->in.nodeid, in->fh))) {
		drop_begin(o);
		(void)drop(req->fuse, o, &req->op);
	}
}
