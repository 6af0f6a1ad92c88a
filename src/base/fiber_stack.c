#include "base/fiber_internal.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/util.h"

#define COLOURS 16u
#define COLOUR_BYTES 192u
#define PAGE_BYTES 4096u
#define PAGES_MAX (CFS_STACK_BYTES / PAGE_BYTES)

/* Lowest first: guard, stack, the fiber itself at the top. */
struct cfs_fiber *cfs_fiber_map(struct cfs_sched *s)
{
	size_t bytes = CFS_STACK_GUARD_BYTES + CFS_STACK_BYTES;
	uint8_t *map = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			    0);
	struct cfs_fiber *f;
	size_t top;

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map + CFS_STACK_GUARD_BYTES, CFS_STACK_BYTES, PROT_READ | PROT_WRITE) < 0) {
		munmap(map, bytes);
		return NULL;
	}
	top = bytes - cfs_round_up(sizeof(*f), 64) - (s->colour++ % COLOURS) * COLOUR_BYTES;
	f = (struct cfs_fiber *)(void *)(map + top);
	f->stack = map + CFS_STACK_GUARD_BYTES;
	f->stack_bytes = top - CFS_STACK_GUARD_BYTES;
	return f;
}

void cfs_fiber_unmap(struct cfs_sched *s, struct cfs_fiber *f)
{
	s->stack_peak_bytes = CFS_MAX(s->stack_peak_bytes, cfs_fiber_stack_used_bytes(f));
	munmap(f->stack - CFS_STACK_GUARD_BYTES, CFS_STACK_GUARD_BYTES + CFS_STACK_BYTES);
}

/* The lowest word that was written, in the lowest page that exists. Reads memory that ASan may
 * have poisoned for the frames that were there. */
__attribute__((no_sanitize("address", "thread"))) uint32_t cfs_fiber_stack_used_bytes(
	const struct cfs_fiber *f)
{
	unsigned char resident[PAGES_MAX];
	const uint64_t *word, *end = (const uint64_t *)(const void *)(f->stack + f->stack_bytes);
	uint32_t page = 0;

	if (mincore(f->stack, CFS_STACK_BYTES, resident) < 0)
		return 0;
	while (page < PAGES_MAX && !(resident[page] & 1))
		page++;
	word = (const uint64_t *)(const void *)(f->stack + (size_t)page * PAGE_BYTES);
	while (word < end && *word == 0)
		word++;
	return word < end ? (uint32_t)((uintptr_t)end - (uintptr_t)word) : 0;
}
