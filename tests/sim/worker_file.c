/* Operations on contents. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "proto/place.h"
#include "worker_internal.h"
#include "world.h"

static bool is_file(const struct m_inode *i)
{
	return model_is_reg(i);
}

/* --- write --- */

struct range {
	uint64_t off;
	uint32_t len;
};

/* Small and unaligned, blocks, some blocks, chunks; inside, at the end and behind it. */
static struct range write_range(struct sim_worker *w, const struct m_inode *i)
{
	uint64_t size = CFS_MIN(i->attr.size, (uint64_t)MODEL_DATA_MAX);
	struct range r = { .off = size };

	switch (below(w, 8)) {
	case 0:
	case 1:
	case 2:
		r.len = 1 + below(w, 600);
		break;
	case 3:
	case 4:
		r.len = 4096 * (1 + below(w, 3));
		break;
	case 5:
		r.len = 1 + below(w, 64 * 1024);
		break;
	case 6:
		r.len = 4096 * (1 + below(w, 40));
		break;
	default:
		r.len = one_in(w, 2) ? WORKER_BUF_BYTES : 1 + below(w, WORKER_BUF_BYTES);
		break;
	}
	if (size > 0 && !one_in(w, 3))
		r.off = sim_rand(&w->rand) % size;
	else if (one_in(w, 4))
		r.off += below(w, 300 * 1024);
	if (one_in(w, 2))
		r.off = cfs_round_down(r.off, 4096);
	if (one_in(w, 6))
		r.off = cfs_round_down(r.off, CFS_CHUNK_BYTES);
	if (r.off + r.len > MODEL_DATA_MAX)
		r.off = MODEL_DATA_MAX - r.len - below(w, 4096);
	return r;
}

static CFS_AWAITS void write_one(struct sim_worker *w, struct m_inode *i, struct range r,
				 uint32_t flags)
{
	struct sim_model *m = w->sim->model;
	uint64_t pattern = ((uint64_t)w->id + 1) << 40 | ++w->patterns, off = 0;
	struct cfs_client_write how = {
		.off_bytes = r.off, .flags = flags, .len_bytes = r.len, .data = w->buf
	};
	uint32_t op = model_op(m, w->id);
	struct m_write *h = model_op_write(m, op, i, M_WRITE);
	struct wants wants = { 0 };
	int rc;

	h->off = r.off;
	h->len = r.len;
	h->pattern = pattern;
	h->after.size = CFS_MAX(i->attr.size, r.off + r.len);
	pattern_fill(pattern, r.off, w->buf, r.len);
	op_begin(w);
	rc = cfs_client_write(&w->op, i->ino, &how, &off);
	op_judge(w, "write", rc, &wants, "%llx at %llu of %u flags %x", (unsigned long long)i->ino,
		 (unsigned long long)r.off, r.len, flags);
	if (off != r.off)
		sim_finding(w->sim, "write of %llx went to %llu, not %llu",
			    (unsigned long long)i->ino, (unsigned long long)off,
			    (unsigned long long)r.off);
	model_op_end(m, op, true);
	model_write(i, r.off, r.len, pattern);
	i->has_times = false;
}

void do_write(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_file);
	uint32_t flags = one_in(w, 5) ? CFS_F_APPEND : 0, count = one_in(w, 12) ? 3 : 1;
	struct range r;

	if (!i)
		return;
	r = write_range(w, i);
	if (flags)
		r.off = i->attr.size;
	for (uint32_t n = 0; n < count && r.off + r.len <= MODEL_DATA_MAX; n++) {
		write_one(w, i, r, flags);
		r.off += r.len;
		if (flags)
			r.off = i->attr.size;
	}
}

/* --- read --- */

void do_read(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_file);
	struct wants wants = { 0 };
	struct cfs_client_bytes got;
	uint64_t off, len, expected;
	int rc;

	if (!i)
		return;
	off = i->attr.size && !one_in(w, 8) ? sim_rand(&w->rand) % i->attr.size : 0;
	len = 1 + below(w, one_in(w, 3) ? WORKER_BUF_BYTES : 9000);
	op_begin(w);
	rc = cfs_client_read(&w->op, i->ino, off, (uint32_t)len, w->buf, &got);
	op_judge(w, "read", rc, &wants, "%llx at %llu of %llu", (unsigned long long)i->ino,
		 (unsigned long long)off, (unsigned long long)len);
	expected = model_read(i, off, len, w->expect);
	if (got.len_bytes != expected)
		sim_finding(w->sim, "read of %llx at %llu: %u bytes, not %llu",
			    (unsigned long long)i->ino, (unsigned long long)off, got.len_bytes,
			    (unsigned long long)expected);
	for (uint64_t at = 0; at < expected; at++) {
		if (got.p[at] != w->expect[at])
			sim_finding(w->sim, "read of %llx at %llu: byte %llu is %02x, not %02x",
				    (unsigned long long)i->ino, (unsigned long long)off,
				    (unsigned long long)at, got.p[at], w->expect[at]);
	}
	cfs_client_bytes_fini(&got);
}

/* --- size, holes --- */

void do_truncate(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, is_file);
	struct cfs_client_setattr set = { .valid = CFS_SET_SIZE };
	struct wants wants = { 0 };
	struct cfs_attr a;
	uint32_t op;
	int rc;

	if (!i)
		return;
	if (one_in(w, 3))
		set.size = i->attr.size + below(w, 500 * 1024);
	else if (i->attr.size > 0)
		set.size = sim_rand(&w->rand) % i->attr.size;
	if (one_in(w, 40))
		set.size = 1ull << 40;
	if (set.size > MODEL_DATA_MAX && set.size < 1ull << 40)
		set.size = MODEL_DATA_MAX - 1;
	op = model_op(m, w->id);
	model_op_write(m, op, i, M_SIZE)->after.size = set.size;
	op_begin(w);
	rc = cfs_client_setattr(&w->op, i->ino, &set, &a);
	op_judge(w, "truncate", rc, &wants, "%llx from %llu to %llu", (unsigned long long)i->ino,
		 (unsigned long long)i->attr.size, (unsigned long long)set.size);
	model_op_end(m, op, true);
	model_resize(i, set.size);
	i->has_times = false;
	attr_check(w, "truncate", i, &a);
}

void do_fallocate(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *i = pick_inode(w, is_file);
	bool is_punch = !one_in(w, 3);
	struct wants wants = { 0 };
	struct m_write *h;
	struct range r;
	uint32_t op;
	int rc;

	if (!i)
		return;
	r = write_range(w, i);
	op = model_op(m, w->id);
	h = model_op_write(m, op, i, is_punch ? M_ZERO : M_SIZE);
	h->off = r.off;
	h->len = r.len;
	if (!is_punch)
		h->after.size = CFS_MAX(i->attr.size, r.off + r.len);
	op_begin(w);
	rc = cfs_client_fallocate(&w->op, i->ino,
				  is_punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0, r.off,
				  r.len);
	op_judge(w, is_punch ? "punch" : "allocate", rc, &wants, "%llx at %llu of %u",
		 (unsigned long long)i->ino, (unsigned long long)r.off, r.len);
	if (is_punch)
		model_zero(i, r.off, r.len);
	else
		model_resize(i, h->after.size);
	model_op_end(m, op, true);
	i->has_times = false;
}

/* Where from and where to: often the same offset, and often all of it. */
static bool copy_range(struct sim_worker *w, const struct m_inode *from,
		       struct cfs_client_copy *how)
{
	uint64_t size = CFS_MIN(from->attr.size, (uint64_t)MODEL_DATA_MAX);

	if (size == 0)
		return false;
	if (!one_in(w, 3))
		how->from_off = sim_rand(&w->rand) % size;
	how->len_bytes = size - how->from_off;
	if (!one_in(w, 3))
		how->len_bytes = 1 + sim_rand(&w->rand) % how->len_bytes;
	how->to_off = how->from_off;
	if (one_in(w, 4))
		how->to_off = sim_rand(&w->rand) % (MODEL_DATA_MAX - how->len_bytes + 1);
	return true;
}

/* A change of the target for each of its chunks: that is what a crash can leave. */
static void copy_told(struct sim_worker *w, uint32_t op, struct m_inode *to,
		      const struct m_inode *from, const struct cfs_client_copy *how)
{
	uint64_t at = how->to_off, end = at + how->len_bytes, size = to->attr.size;

	while (at < end) {
		uint64_t next = CFS_MIN(end, cfs_round_down(at, CFS_CHUNK_BYTES) + CFS_CHUNK_BYTES);
		struct m_write *h = model_op_write(w->sim->model, op, to, M_WRITE);

		h->off = at;
		h->len = next - at;
		h->bytes = sim_alloc(h->len);
		model_read(from, how->from_off + (at - how->to_off), h->len, h->bytes);
		h->size_before = h->before.size = size;
		size = CFS_MAX(size, next);
		h->after.size = size;
		at = next;
	}
}

void do_copy(struct sim_worker *w)
{
	struct sim_model *m = w->sim->model;
	struct m_inode *from = pick_inode(w, is_file), *to = pick_inode(w, is_file);
	struct cfs_client_copy how = { 0 };
	struct wants wants = { 0 };
	uint64_t done = 0;
	uint8_t *bytes;
	uint32_t op;
	int rc;

	if (!from || !to || from == to || !copy_range(w, from, &how))
		return;
	how.from = from->ino;
	how.to = to->ino;
	op = model_op(m, w->id);
	copy_told(w, op, to, from, &how);
	op_begin(w);
	rc = cfs_client_copy(&w->op, &how, &done);
	op_judge(w, "copy", rc, &wants, "%llx at %llu to %llx at %llu of %llu",
		 (unsigned long long)from->ino, (unsigned long long)how.from_off,
		 (unsigned long long)to->ino, (unsigned long long)how.to_off,
		 (unsigned long long)how.len_bytes);
	if (done != how.len_bytes)
		sim_finding(w->sim, "copy of %llu bytes ends after %llu",
			    (unsigned long long)how.len_bytes, (unsigned long long)done);
	bytes = sim_alloc(how.len_bytes);
	model_read(from, how.from_off, how.len_bytes, bytes);
	model_copy(to, how.to_off, how.len_bytes, bytes);
	free(bytes);
	model_op_end(m, op, true);
	to->has_times = false;
}

static bool is_syncable(const struct m_inode *i)
{
	return model_is_reg(i) || model_is_dir(i);
}

void do_fsync(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_syncable);
	struct wants wants = { 0 };
	uint64_t before = cfs_now_ns();
	int rc;

	if (!i)
		return;
	op_begin(w);
	rc = cfs_client_fsync(&w->op, i->ino, one_in(w, 2));
	op_judge(w, "fsync", rc, &wants, "%llx", (unsigned long long)i->ino);
	model_synced(w->sim->model, before);
}

/* --- handles --- */

static bool is_openable(const struct m_inode *i)
{
	return model_is_reg(i) && i->nlink > 0;
}

void do_open(struct sim_worker *w)
{
	struct m_inode *i = pick_inode(w, is_openable);
	struct wants wants = { 0 };
	struct cfs_attr a;
	int rc;

	if (!i || handles_full(w))
		return;
	op_begin(w);
	rc = cfs_client_file_open(&w->op, i->ino, 0, &a);
	op_judge(w, "open", rc, &wants, "%llx", (unsigned long long)i->ino);
	handle_add(w, i);
	attr_check(w, "open", i, &a);
}

void do_release_at(struct sim_worker *w, uint32_t index)
{
	struct worker_handle h = w->handles[index];
	struct wants wants = { 0 };
	int rc;

	op_begin(w);
	w->client = h.client;
	w->op.client = sim_client(w->sim, h.client);
	rc = cfs_client_release(&w->op, h.inode->ino, 0);
	op_judge(w, "release", rc, &wants, "%llx", (unsigned long long)h.inode->ino);
	h.inode->opens--;
	w->handles[index] = w->handles[--w->handle_count];
}

void do_release(struct sim_worker *w)
{
	if (w->handle_count > 0)
		do_release_at(w, below(w, w->handle_count));
}
