/*
 * The attribute of a file that may be seen late (doc/design/leases.md): its time in milliseconds,
 * as decimal text. It follows into the attributes (cfs_attr_lazy_ms()), and such a file is leased
 * to nobody.
 */
#ifndef CFS_META_LAZY_H
#define CFS_META_LAZY_H

#include "proto/msg.h"

bool cfs_lazy_is(struct cfs_bytes name);
/* 0: any bytes that are no time of 1 to CFS_LAZY_MS_MAX. */
uint32_t cfs_lazy_ms(struct cfs_bytes value);

#endif
