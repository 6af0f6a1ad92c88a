/* What an engine is, and what engines share. Private to src/ctl. */
#ifndef CFS_CTL_CTL_INTERNAL_H
#define CFS_CTL_CTL_INTERNAL_H

#include "ctl/ctl.h"

/* Arguments were checked by ctl.c. Outputs are zeroed lists; on failure ctl.c clears them. */
struct cfs_ctl_ops {
	const char *name;
	CFS_AWAITS int (*list)(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
			       struct cfs_ctl_list *out);
	CFS_AWAITS int (*txn)(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn,
			      uint64_t *rev_out);
	/* What changed from @from_rev on; out->rev: the last revision looked at. -ESTALE. */
	CFS_AWAITS int (*changes)(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				  struct cfs_ctl_list *out);
	/* Waits until there may be a revision of at least @rev with a change below @prefix. */
	CFS_AWAITS int (*wait)(struct cfs_ctl *ctl, const char *prefix, uint64_t rev);
	CFS_AWAITS int (*lease_grant)(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out);
	CFS_AWAITS int (*lease_keep)(struct cfs_ctl *ctl, uint64_t lease);
	CFS_AWAITS int (*lease_end)(struct cfs_ctl *ctl, uint64_t lease);
	CFS_AWAITS void (*close)(struct cfs_ctl *ctl);
};

/* First member of every engine. */
struct cfs_ctl {
	const struct cfs_ctl_ops *ops;
	uint32_t watches;
	char why[CFS_CTL_WHY_BYTES];
};

/* Copies, the value from @value, which may be NULL, and the rest from @like. 0; -ENOMEM. */
int cfs_ctl_list_add(struct cfs_ctl_list *l, const struct cfs_ctl_kv *like, const void *value);
/* Sorts what a watch hands out. */
void cfs_ctl_list_sort_by_rev(struct cfs_ctl_list *l);
/* Is @key the exact name, or, when not @is_exact, one that begins with @prefix? */
bool cfs_ctl_key_matches(const char *key, const char *prefix, bool is_exact);

#endif
