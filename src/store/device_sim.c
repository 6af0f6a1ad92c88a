/*
 * The simulated device: two images, what readers see and what a power cut leaves, and between them
 * the writes that no flush has covered. Everything random comes from cfs_rand_u64(), so a seed
 * repeats a run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "store/device_internal.h"

#define SECTOR_BYTES 512u
#define FAULTS_MAX 16u
#define TAILS_MAX 1024u

/* A request under way, or a completed write that is not flushed. */
struct sim_request {
	struct cfs_list link;
	struct cfs_timer timer;
	struct cfs_sim_disk *disk;
	struct cfs_dev_io *io; /* NULL once its callback ran or never will */
	uint8_t op;
	uint32_t domain;
	uint64_t off, len;
	uint64_t number; /* of a completed write; of a flush: the newest write that it covers */
	uint8_t *data;   /* of a write */
};

struct sim_fault {
	uint64_t off;
	bool is_write, is_armed;
};

struct cfs_sim_disk {
	struct cfs_sim_disk_opts opts;
	uint8_t *data, *stable;
	struct cfs_list under_way, unflushed;
	uint64_t writes, flushes;
	uint64_t life; /* counts kills: a callback that killed is noticed by it */
	uint64_t at_write;
	void (*at_fn)(void *arg);
	void *at_arg;
	struct sim_fault faults[FAULTS_MAX];
	struct {
		void *base;
		uint64_t bytes;
	} tails[TAILS_MAX];
};

/* What cfs_device owns: one opening of the disk. */
struct sim_handle {
	struct cfs_sim_disk *disk;
};

static void *pages_alloc(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void request_free(struct sim_request *r)
{
	cfs_timer_disarm(&r->timer);
	cfs_list_remove(&r->link);
	free(r->data);
	free(r);
}

int cfs_sim_disk_create(const struct cfs_sim_disk_opts *opts, struct cfs_sim_disk **out)
{
	struct cfs_sim_disk *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->opts = *opts;
	d->opts.size_bytes = cfs_round_down(opts->size_bytes, CFS_STORE_BLOCK);
	cfs_list_init(&d->under_way);
	cfs_list_init(&d->unflushed);
	d->data = pages_alloc(d->opts.size_bytes);
	d->stable = pages_alloc(d->opts.size_bytes);
	if (!d->data || !d->stable) {
		cfs_sim_disk_destroy(d);
		return -ENOMEM;
	}
	*out = d;
	return 0;
}

static void tail_drop(struct cfs_sim_disk *d, uint32_t slice)
{
	if (d->tails[slice].base)
		munmap(d->tails[slice].base, d->tails[slice].bytes);
	d->tails[slice].base = NULL;
	d->tails[slice].bytes = 0;
}

void cfs_sim_disk_destroy(struct cfs_sim_disk *d)
{
	if (!d)
		return;
	cfs_list_for_each_safe(pos, tmp, &d->under_way) {
		request_free(cfs_list_entry(pos, struct sim_request, link));
	}
	cfs_list_for_each_safe(pos, tmp, &d->unflushed) {
		request_free(cfs_list_entry(pos, struct sim_request, link));
	}
	for (uint32_t i = 0; i < TAILS_MAX; i++)
		tail_drop(d, i);
	if (d->data)
		munmap(d->data, d->opts.size_bytes);
	if (d->stable)
		munmap(d->stable, d->opts.size_bytes);
	free(d);
}

static void put_both(struct cfs_sim_disk *d, uint64_t off, const void *bytes, uint64_t len)
{
	memcpy(d->data + off, bytes, len);
	memcpy(d->stable + off, bytes, len);
}

int cfs_sim_disk_mkfs(struct cfs_sim_disk *d, uint32_t stores, uint32_t shards,
		      const uint8_t uuid[16], const uint8_t hash_key[16])
{
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = calloc(CFS_SUPER_FIRST_BLOCKS_MAX, CFS_STORE_BLOCK);
	struct cfs_super s;
	uint32_t blocks = 0;
	int rc = buf ? cfs_super_layout(d->opts.size_bytes, stores, shards, &s) : -ENOMEM;

	if (rc < 0)
		return rc;
	memcpy(s.uuid, uuid, 16);
	memcpy(s.hash_key, hash_key, 16);
	for (uint32_t i = 0; i < s.stores; i++) {
		uint64_t off = s.slice_off +
			       (uint64_t)i * s.zones * s.zone_blocks * CFS_STORE_BLOCK;

		cfs_super_first_segment(&s, i, buf, &blocks);
		put_both(d, off, buf, (uint64_t)blocks * CFS_STORE_BLOCK);
		off += (uint64_t)(s.zone_blocks - 1) * CFS_STORE_BLOCK;
		put_both(d, off, buf, CFS_STORE_BLOCK);
	}
	cfs_super_encode(&s, buf);
	put_both(d, 0, buf, CFS_STORE_BLOCK);
	put_both(d, s.device_bytes - CFS_STORE_BLOCK, buf, CFS_STORE_BLOCK);
	return 0;
}

/* ---- requests ---- */

static bool fault_hits(struct cfs_sim_disk *d, const struct sim_request *r)
{
	for (uint32_t i = 0; i < FAULTS_MAX; i++) {
		struct sim_fault *f = &d->faults[i];

		if (!f->is_armed || f->is_write != (r->op == CFS_DEV_WRITE) || f->off < r->off ||
		    f->off >= r->off + r->len)
			continue;
		f->is_armed = false;
		return true;
	}
	return false;
}

/* Some of the sectors of a write, by the dice. */
static void put_torn(uint8_t *image, const struct sim_request *r)
{
	for (uint64_t at = 0; at < r->len; at += SECTOR_BYTES) {
		if (cfs_rand_u64() & 1)
			memcpy(image + r->off + at, r->data + at,
			       CFS_MIN((uint64_t)SECTOR_BYTES, r->len - at));
	}
}

static void write_applied(struct cfs_sim_disk *d, struct sim_request *r)
{
	r->number = ++d->writes;
	r->io = NULL;
	cfs_list_remove(&r->link);
	cfs_list_append(&d->unflushed, &r->link);
}

static void read_out(const struct cfs_sim_disk *d, const struct cfs_dev_io *io)
{
	uint64_t off = io->off_bytes;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		memcpy(io->iov[i].iov_base, d->data + off, io->iov[i].iov_len);
		off += io->iov[i].iov_len;
	}
}

static void flush_applied(struct cfs_sim_disk *d, uint64_t newest)
{
	d->flushes++;
	cfs_list_for_each_safe(pos, tmp, &d->unflushed) {
		struct sim_request *w = cfs_list_entry(pos, struct sim_request, link);

		if (w->number > newest)
			break; /* in order of completion */
		memcpy(d->stable + w->off, w->data, w->len);
		request_free(w);
	}
}

static void request_due(void *arg)
{
	struct sim_request *r = arg;
	struct cfs_sim_disk *d = r->disk;
	struct cfs_dev_io *io = r->io;
	uint64_t life = d->life;
	uint32_t domain;

	if (r->op == CFS_DEV_WRITE && d->at_fn && d->writes + 1 == d->at_write) {
		void (*fn)(void *) = d->at_fn;

		d->at_fn = NULL;
		fn(d->at_arg);
		if (d->life != life)
			return; /* it killed us: the request is gone */
	}
	if (r->op != CFS_DEV_FLUSH && fault_hits(d, r)) {
		io->rc = -EIO;
		domain = r->domain;
		request_free(r);
	} else if (r->op == CFS_DEV_WRITE) {
		memcpy(d->data + r->off, r->data, r->len);
		domain = r->domain;
		write_applied(d, r);
	} else {
		if (r->op == CFS_DEV_READ)
			read_out(d, io);
		else
			flush_applied(d, r->number);
		domain = r->domain;
		request_free(r);
	}
	domain = cfs_domain_set(domain);
	io->fn(io);
	cfs_domain_set(domain);
}

static void sim_submit(void *dev, struct cfs_dev_io *io)
{
	struct sim_handle *h = dev;
	struct cfs_sim_disk *d = h->disk;
	struct sim_request *r = calloc(1, sizeof(*r));
	uint64_t span = d->opts.latency_max_ns - d->opts.latency_min_ns;
	uint32_t domain;

	cfs_assert(r != NULL);
	cfs_list_init(&r->link);
	r->disk = d;
	r->io = io;
	r->op = io->op;
	r->off = io->off_bytes;
	r->len = io->len_bytes;
	r->number = d->writes;
	cfs_assert(r->off + r->len <= d->opts.size_bytes);
	if (io->op == CFS_DEV_WRITE) {
		uint64_t at = 0;

		r->data = malloc(r->len);
		cfs_assert(r->data != NULL);
		for (uint32_t i = 0; i < io->iov_count; i++) {
			memcpy(r->data + at, io->iov[i].iov_base, io->iov[i].iov_len);
			at += io->iov[i].iov_len;
		}
		cfs_assert(at == r->len);
	}
	cfs_list_append(&d->under_way, &r->link);
	/* The disk outlives the process that asks. */
	domain = cfs_domain_set(0);
	r->domain = domain;
	cfs_timer_arm(&r->timer,
		      cfs_now_ns() + d->opts.latency_min_ns + (span ? cfs_rand_u64() % span : 0),
		      request_due, r);
	cfs_domain_set(domain);
}

/* ---- tails ---- */

static int sim_tail_map(void *dev, const struct cfs_tail_request *r, struct cfs_tail_memory *out)
{
	struct sim_handle *h = dev;
	struct cfs_sim_disk *d = h->disk;

	cfs_assert(r->slice < TAILS_MAX);
	memset(out->boot_id, 0xb0, sizeof(out->boot_id));
	out->path[0] = '\0';
	if (r->is_new) {
		tail_drop(d, r->slice);
		d->tails[r->slice].base = pages_alloc(r->bytes);
		if (!d->tails[r->slice].base)
			return -ENOSPC;
		d->tails[r->slice].bytes = r->bytes;
	}
	if (!d->tails[r->slice].base)
		return -ENOENT;
	out->base = d->tails[r->slice].base;
	out->bytes = d->tails[r->slice].bytes;
	return 0;
}

static void sim_tail_unmap(void *dev, uint32_t slice, struct cfs_tail_memory *m, bool is_kept)
{
	struct sim_handle *h = dev;

	if (m->base && !is_kept && h->disk->tails[slice].base == m->base)
		tail_drop(h->disk, slice);
	m->base = NULL;
}

static void sim_close(void *dev)
{
	free(dev);
}

static const struct cfs_device_ops sim_ops = {
	.name = "sim",
	.submit = sim_submit,
	.tail_map = sim_tail_map,
	.tail_unmap = sim_tail_unmap,
	.close = sim_close,
};

int cfs_sim_disk_open(struct cfs_sim_disk *d, struct cfs_device **out)
{
	struct sim_handle *h = calloc(1, sizeof(*h));
	struct cfs_super s;
	int rc = h ? cfs_super_decode(d->data, &s) : -ENOMEM;

	if (h && rc < 0)
		rc = cfs_super_decode(d->data + d->opts.size_bytes - CFS_STORE_BLOCK, &s);
	if (rc == 0) {
		h->disk = d;
		rc = cfs_device_create(&sim_ops, h, &s, false, out);
	}
	if (rc < 0)
		free(h);
	return rc;
}

/* ---- ends ---- */

void cfs_sim_disk_kill(struct cfs_sim_disk *d)
{
	d->life++;
	cfs_list_for_each_safe(pos, tmp, &d->under_way) {
		struct sim_request *r = cfs_list_entry(pos, struct sim_request, link);
		uint64_t dice = cfs_rand_u64() % 3;

		cfs_timer_disarm(&r->timer);
		if (r->op != CFS_DEV_WRITE || dice == 0) {
			request_free(r);
			continue;
		}
		if (dice == 1)
			memcpy(d->data + r->off, r->data, r->len);
		else
			put_torn(d->data, r);
		/* What is there now is what the device may keep. */
		memcpy(r->data, d->data + r->off, r->len);
		write_applied(d, r);
	}
}

void cfs_sim_disk_power_cut(struct cfs_sim_disk *d)
{
	cfs_sim_disk_kill(d);
	cfs_list_for_each(pos, &d->unflushed) {
		const struct sim_request *r = cfs_list_entry(pos, struct sim_request, link);
		uint64_t dice = cfs_rand_u64() % 3;

		if (dice == 1)
			memcpy(d->stable + r->off, r->data, r->len);
		else if (dice == 2)
			put_torn(d->stable, r);
	}
	cfs_list_for_each_safe(pos, tmp, &d->unflushed) {
		struct sim_request *r = cfs_list_entry(pos, struct sim_request, link);

		memcpy(d->data + r->off, d->stable + r->off, r->len);
		request_free(r);
	}
	for (uint32_t i = 0; i < TAILS_MAX; i++)
		tail_drop(d, i);
}

uint64_t cfs_sim_disk_writes(const struct cfs_sim_disk *d)
{
	return d->writes;
}

uint64_t cfs_sim_disk_flushes(const struct cfs_sim_disk *d)
{
	return d->flushes;
}

void cfs_sim_disk_at_write(struct cfs_sim_disk *d, uint64_t n, void (*fn)(void *arg), void *arg)
{
	d->at_write = n;
	d->at_fn = fn;
	d->at_arg = arg;
}

void cfs_sim_disk_fail_at(struct cfs_sim_disk *d, uint64_t off_bytes, int is_write)
{
	for (uint32_t i = 0; i < FAULTS_MAX; i++) {
		if (d->faults[i].is_armed)
			continue;
		d->faults[i] = (struct sim_fault){ off_bytes, is_write != 0, true };
		return;
	}
}

void cfs_sim_disk_fail_clear(struct cfs_sim_disk *d)
{
	memset(d->faults, 0, sizeof(d->faults));
}

void cfs_sim_disk_flip(struct cfs_sim_disk *d, uint64_t off_bytes, uint8_t mask)
{
	cfs_assert(off_bytes < d->opts.size_bytes);
	d->data[off_bytes] ^= mask;
	d->stable[off_bytes] ^= mask;
}

uint64_t cfs_sim_disk_bytes(const struct cfs_sim_disk *d)
{
	return d->opts.size_bytes;
}

const uint8_t *cfs_sim_disk_data(const struct cfs_sim_disk *d)
{
	return d->data;
}
