/*
 * Buffer pools: one stretch of memory a core, made at the first use, cut into small and large
 * buffers. It is registered with the core's io_uring where memlock allows; which operations use
 * that is decided by address (reactor_ring.c).
 */
#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "base/reactor_internal.h"
#include "base/util.h"

#define KLASSES 2u
#define SMALL_COUNT 256u
#define LARGE_COUNT 24u
/* Killed processes of a simulation take their buffers with them; memory unused costs nothing. */
#define SIM_FACTOR 8u
#define HUGE_BYTES (2u * 1024 * 1024)

static const uint32_t klass_bytes[KLASSES] = { CFS_BUF_SMALL_BYTES, CFS_BUF_LARGE_BYTES };

struct buf_klass {
	struct cfs_list free;
	uint32_t free_count;
	/* Of the free ones, promised to fibers that were woken and have not run yet. */
	uint32_t promised_count;
	struct cfs_waitq waiters;
};

struct cfs_buf_pool {
	void *map;
	size_t map_bytes;
	struct buf_klass klass[KLASSES];
	struct cfs_buf bufs[];
};

static void pool_counts(const struct cfs_reactor *r, uint32_t counts_out[KLASSES])
{
	const struct cfs_runtime_opts *o = &r->runtime->opts;
	uint32_t factor = o->is_sim ? SIM_FACTOR : 1;

	counts_out[0] = o->buf_small_count ? o->buf_small_count : SMALL_COUNT * factor;
	counts_out[1] = o->buf_large_count ? o->buf_large_count : LARGE_COUNT * factor;
}

static void *arena_map(size_t bytes, bool is_huge)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (is_huge)
		(void)madvise(map, bytes, MADV_HUGEPAGE);
	return map;
}

static int pool_create(struct cfs_reactor *r, struct cfs_buf_pool **out)
{
	uint32_t counts[KLASSES], index = 0;
	struct cfs_buf_pool *p;
	uint8_t *at;

	pool_counts(r, counts);
	p = calloc(1, sizeof(*p) + (counts[0] + counts[1]) * sizeof(p->bufs[0]));
	if (!p)
		return -ENOMEM;
	for (uint32_t k = 0; k < KLASSES; k++)
		p->map_bytes += (size_t)counts[k] * klass_bytes[k];
	p->map_bytes = cfs_round_up(p->map_bytes, HUGE_BYTES);
	p->map = arena_map(p->map_bytes, r->ring.is_open);
	if (!p->map) {
		free(p);
		return -ENOMEM;
	}
	at = p->map;
	for (uint32_t k = 0; k < KLASSES; k++) {
		cfs_list_init(&p->klass[k].free);
		cfs_waitq_init(&p->klass[k].waiters);
		p->klass[k].free_count = counts[k];
		for (uint32_t i = 0; i < counts[k]; i++, at += klass_bytes[k]) {
			struct cfs_buf *b = &p->bufs[index++];

			*b = (struct cfs_buf){
				.data = at,
				.cap_bytes = klass_bytes[k],
				.core = r->core,
				.klass = k,
			};
			cfs_list_append(&p->klass[k].free, &b->link);
		}
	}
	if (r->ring.is_open)
		(void)cfs_ring_register(&r->ring, p->map, p->map_bytes);
	*out = p;
	return 0;
}

void cfs_buf_pool_destroy(struct cfs_buf_pool *pool)
{
	if (!pool)
		return;
	munmap(pool->map, pool->map_bytes);
	free(pool);
}

static int pool_of(uint32_t len_bytes, struct buf_klass **out)
{
	struct cfs_reactor *r = cfs_reactor_self();

	cfs_assert(r != NULL);
	if (len_bytes > CFS_BUF_LARGE_BYTES)
		return -EMSGSIZE;
	if (!r->bufs) {
		int rc = pool_create(r, &r->bufs);

		if (rc < 0)
			return rc;
	}
	*out = &r->bufs->klass[len_bytes > CFS_BUF_SMALL_BYTES];
	return 0;
}

static struct cfs_buf *klass_take(struct buf_klass *k)
{
	struct cfs_buf *b = cfs_list_entry(cfs_list_pop(&k->free), struct cfs_buf, link);

	cfs_assert(k->free_count > 0);
	cfs_assert(b->refs == 0);
	k->free_count--;
	b->refs = 1;
	return b;
}

int cfs_buf_try(uint32_t len_bytes, struct cfs_buf **out)
{
	struct buf_klass *k;
	int rc = pool_of(len_bytes, &k);

	if (rc < 0)
		return rc;
	if (k->free_count == k->promised_count)
		return -EAGAIN;
	*out = klass_take(k);
	return 0;
}

int cfs_buf_get(uint32_t len_bytes, struct cfs_buf **out)
{
	struct buf_klass *k;
	int rc = pool_of(len_bytes, &k);

	if (rc < 0)
		return rc;
	if (k->free_count == k->promised_count) {
		rc = cfs_waitq_wait(&k->waiters);
		if (rc < 0)
			return rc;
		cfs_assert(k->promised_count > 0);
		k->promised_count--;
	}
	*out = klass_take(k);
	return 0;
}

void cfs_buf_ref(struct cfs_buf *b)
{
	cfs_assert(b->refs > 0);
	b->refs++;
}

static void buf_home(void *arg)
{
	struct cfs_buf *b = arg;
	struct cfs_reactor *r = cfs_reactor_self();
	struct buf_klass *k = &r->bufs->klass[b->klass];

	cfs_assert(b->core == r->core);
	/* The one used last is the one that caches know. */
	cfs_list_push(&k->free, &b->link);
	k->free_count++;
	if (!cfs_waitq_is_empty(&k->waiters)) {
		k->promised_count++;
		cfs_waitq_wake_one(&k->waiters);
	}
}

void cfs_buf_put(struct cfs_buf *b)
{
	if (!b)
		return;
	cfs_assert(b->refs > 0);
	if (--b->refs > 0)
		return;
	if (b->core == cfs_core_id())
		buf_home(b);
	else
		cfs_core_post(b->core, buf_home, b);
}

uint32_t cfs_buf_free_count(uint32_t klass)
{
	struct buf_klass *k;

	cfs_assert(klass < KLASSES);
	if (pool_of(klass_bytes[klass], &k) < 0)
		return 0;
	return k->free_count - k->promised_count;
}
