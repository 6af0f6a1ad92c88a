#include "base/stock.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/reactor_internal.h"
#include "base/util.h"

/* A change has some tens of items at most, each a small node or two; values, targets and prepared
 * results are larger, and few. */
static const struct {
	size_t bytes;
	unsigned int count;
} classes[CFS_STOCK_CLASSES] = { { 512, CFS_STOCK_BLOCKS_MAX },
				 { 8192, 8 },
				 { CFS_STOCK_BYTES_MAX, 4 } };

static int fill(struct cfs_stock *s)
{
	for (unsigned int k = 0; k < CFS_STOCK_CLASSES; k++) {
		while (s->count[k] < classes[k].count) {
			void *block = malloc(classes[k].bytes);

			if (!block)
				return -ENOMEM;
			s->blocks[k][s->count[k]++] = block;
			s->missing--;
		}
	}
	return 0;
}

int cfs_stock_init(struct cfs_stock *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned int k = 0; k < CFS_STOCK_CLASSES; k++)
		s->missing += classes[k].count;
	if (fill(s) == 0)
		return 0;
	cfs_stock_fini(s);
	return -ENOMEM;
}

void cfs_stock_fini(struct cfs_stock *s)
{
	for (unsigned int k = 0; k < CFS_STOCK_CLASSES; k++) {
		while (s->count[k] > 0)
			free(s->blocks[k][--s->count[k]]);
	}
}

static struct cfs_stock *own(void)
{
	struct cfs_reactor *r = cfs_reactor_self();

	return r ? &r->stock : NULL;
}

int cfs_stock_fill(void)
{
	struct cfs_stock *s = own();

	return s && s->missing > 0 ? fill(s) : 0;
}

static void *take(size_t bytes)
{
	struct cfs_stock *s = own();

	for (unsigned int k = 0; s && k < CFS_STOCK_CLASSES; k++) {
		if (bytes <= classes[k].bytes && s->count[k] > 0) {
			s->missing++;
			return s->blocks[k][--s->count[k]];
		}
	}
	return NULL;
}

void *cfs_stock_malloc(size_t bytes)
{
	void *p = malloc(bytes);

	return p ? p : take(bytes);
}

void *cfs_stock_calloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (p)
		return p;
	p = take(bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

void *cfs_stock_realloc(void *old, size_t old_bytes, size_t bytes)
{
	void *p = realloc(old, bytes);

	if (p)
		return p;
	p = take(bytes);
	if (!p)
		return NULL;
	if (old_bytes)
		memcpy(p, old, CFS_MIN(old_bytes, bytes));
	free(old);
	return p;
}
