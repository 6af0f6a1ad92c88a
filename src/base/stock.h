/*
 * Memory that is there when it must not be refused. What a record says is put into the tables after
 * the record is placed: by then it counts, and "no memory" is no answer any more. So each core
 * keeps some blocks aside, whose number is made full before a change begins (cfs_stock_fill() may
 * refuse, and then the change does); allocations while it is carried out fall back to them.
 *
 * What these functions return is given back by free(3). Outside of a runtime they are malloc(3) and
 * its kin.
 */
#ifndef CFS_BASE_STOCK_H
#define CFS_BASE_STOCK_H

#include <stddef.h>

/* Makes this core's stock whole. 0; -ENOMEM: what is missing cannot be had now. */
int cfs_stock_fill(void);

/* NULL only when the stock has nothing of that size left, or @bytes is above CFS_STOCK_BYTES_MAX.
 */
#define CFS_STOCK_BYTES_MAX (72u * 1024)
void *cfs_stock_malloc(size_t bytes);
void *cfs_stock_calloc(size_t bytes); /* zeroed */
/* @p has @old_bytes; stays as it is when NULL is returned. */
void *cfs_stock_realloc(void *p, size_t old_bytes, size_t bytes);

/* A core's. */
#define CFS_STOCK_CLASSES 3
#define CFS_STOCK_BLOCKS_MAX 64u
struct cfs_stock {
	void *blocks[CFS_STOCK_CLASSES][CFS_STOCK_BLOCKS_MAX];
	unsigned int count[CFS_STOCK_CLASSES];
	unsigned int missing; /* of all */
};
int cfs_stock_init(struct cfs_stock *s); /* filled; -ENOMEM: nothing is held */
void cfs_stock_fini(struct cfs_stock *s);

#endif
