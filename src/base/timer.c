#include "base/timer.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/util.h"

#define ARITY 4u
#define HEAP_BYTES (sizeof(struct cfs_timer_slot) * CFS_TIMERS_MAX)

int cfs_timer_heap_init(struct cfs_timer_heap *h)
{
	void *p = mmap(NULL, HEAP_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*h = (struct cfs_timer_heap){ .slots = p };
	return 0;
}

void cfs_timer_heap_fini(struct cfs_timer_heap *h)
{
	if (h->slots)
		munmap(h->slots, HEAP_BYTES);
	h->slots = NULL;
	h->count = 0;
}

uint64_t cfs_timer_heap_due(const struct cfs_timer_heap *h)
{
	return h->count ? h->slots[0].due_ns : UINT64_MAX;
}

static bool slot_before(const struct cfs_timer_slot *a, const struct cfs_timer_slot *b)
{
	if (a->due_ns != b->due_ns)
		return a->due_ns < b->due_ns;
	return a->timer->order < b->timer->order;
}

static void slot_put(struct cfs_timer_heap *h, uint32_t pos, struct cfs_timer_slot s)
{
	h->slots[pos] = s;
	s.timer->slot = pos + 1;
}

static void sift_up(struct cfs_timer_heap *h, uint32_t pos, struct cfs_timer_slot s)
{
	while (pos > 0) {
		uint32_t parent = (pos - 1) / ARITY;

		if (!slot_before(&s, &h->slots[parent]))
			break;
		slot_put(h, pos, h->slots[parent]);
		pos = parent;
	}
	slot_put(h, pos, s);
}

static void sift_down(struct cfs_timer_heap *h, uint32_t pos, struct cfs_timer_slot s)
{
	for (;;) {
		uint32_t first = pos * ARITY + 1, best = first;
		uint32_t end = CFS_MIN(first + ARITY, h->count);

		if (first >= h->count)
			break;
		for (uint32_t i = first + 1; i < end; i++)
			if (slot_before(&h->slots[i], &h->slots[best]))
				best = i;
		if (!slot_before(&h->slots[best], &s))
			break;
		slot_put(h, pos, h->slots[best]);
		pos = best;
	}
	slot_put(h, pos, s);
}

void cfs_timer_heap_add(struct cfs_timer_heap *h, struct cfs_timer *t)
{
	cfs_assert(t->slot == 0);
	cfs_assert(h->count < CFS_TIMERS_MAX);
	t->order = ++h->order;
	h->count++;
	sift_up(h, h->count - 1, (struct cfs_timer_slot){ .due_ns = t->due_ns, .timer = t });
}

void cfs_timer_heap_remove(struct cfs_timer_heap *h, struct cfs_timer *t)
{
	uint32_t pos = t->slot - 1;
	struct cfs_timer_slot last;

	cfs_assert(t->slot > 0);
	cfs_assert(pos < h->count);
	cfs_assert(h->slots[pos].timer == t);
	t->slot = 0;
	h->count--;
	if (pos == h->count)
		return;
	last = h->slots[h->count];
	if (pos > 0 && slot_before(&last, &h->slots[(pos - 1) / ARITY]))
		sift_up(h, pos, last);
	else
		sift_down(h, pos, last);
}

struct cfs_timer *cfs_timer_heap_pop(struct cfs_timer_heap *h, uint64_t now_ns)
{
	struct cfs_timer *t;

	if (cfs_timer_heap_due(h) > now_ns)
		return NULL;
	t = h->slots[0].timer;
	cfs_timer_heap_remove(h, t);
	return t;
}

void cfs_timer_heap_abandon(struct cfs_timer_heap *h, uint32_t domain)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		if (h->slots[i].timer->domain == domain)
			h->slots[i].timer->slot = 0;
		else
			slot_put(h, kept++, h->slots[i]);
	}
	h->count = kept;
	for (uint32_t i = kept; i > 0; i--)
		sift_down(h, i - 1, h->slots[i - 1]);
}
