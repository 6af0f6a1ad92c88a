/*
 * The engine `mem`: a control plane in memory, for tests and the simulator. Deterministic: the same
 * seed and the same calls give the same answers. It can be slow, fail, lose answers, hand changes
 * out late and twice, forget deletions, and end leases early or late.
 *
 * A plane belongs to one core and outlives its handles, as a cluster's control plane outlives the
 * processes.
 */
#ifndef CFS_CTL_MEM_H
#define CFS_CTL_MEM_H

#include <stdint.h>

#include "ctl/ctl.h"

struct cfs_ctl_mem;

/* Dice are in parts of a million. Zeroed: no faults. */
struct cfs_ctl_mem_faults {
	uint32_t fail_ppm; /* a call gives -EIO and does nothing */
	uint32_t lost_ppm; /* a transaction is carried out, its caller gets -EIO */
	uint32_t dup_ppm;  /* a watch hands out the latest change again */
	uint64_t delay_min_ns, delay_max_ns; /* of every call */
	uint64_t event_delay_ns;             /* from a change to its watches */
	uint64_t lease_late_ns;              /* leases end that much later */
};

int cfs_ctl_mem_create(uint64_t seed, struct cfs_ctl_mem **out); /* 0; -ENOMEM */
void cfs_ctl_mem_destroy(
	struct cfs_ctl_mem *m); /* frees what handles are left (of killed nodes); NULL is fine */
int cfs_ctl_mem_open(struct cfs_ctl_mem *m, struct cfs_ctl **out);
void cfs_ctl_mem_faults_set(struct cfs_ctl_mem *m, const struct cfs_ctl_mem_faults *faults);
void cfs_ctl_mem_forget(struct cfs_ctl_mem *m); /* all deletions so far, as compaction does */
void cfs_ctl_mem_expire(struct cfs_ctl_mem *m); /* ends every lease at once, early */
uint64_t cfs_ctl_mem_rev(const struct cfs_ctl_mem *m);

#endif
