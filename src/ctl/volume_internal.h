/* What a volume's handle and its mover share. Private to src/ctl. */
#ifndef CFS_CTL_VOLUME_INTERNAL_H
#define CFS_CTL_VOLUME_INTERNAL_H

#include "ctl/ctl_internal.h"
#include "ctl/volume.h"

#define CFS_CTL_MOVED "moved"
#define CFS_CTL_ARRIVING "arriving"
#define CFS_CTL_FROZEN "frozen " /* in front of the name, until the copy is whole */

/* What the key `moved` of an engine says. */
struct cfs_ctl_moved {
	uint64_t rev; /* 0: there is no such key */
	bool is_frozen;
	char to[CFS_CTL_NAME_BYTES];
};

CFS_AWAITS int cfs_ctl_moved_read(struct cfs_ctl *engine, const char *prefix,
				  struct cfs_ctl_moved *out);
/* The key @name below @prefix. */
void cfs_ctl_volume_key(const char *prefix, const char *name, char out[CFS_CTL_KEY_BYTES_MAX + 1]);
/* An engine by its name. */
CFS_AWAITS int cfs_ctl_engine_open(const struct cfs_ctl_volume_opts *opts, const char *name,
				   struct cfs_ctl **out, char *why, uint32_t why_bytes);
/* One key, if it still is of revision @rev; @value NULL: delete it. As cfs_ctl_txn(). */
CFS_AWAITS int cfs_ctl_put_if(struct cfs_ctl *engine, const char *key, uint64_t rev,
			      const char *value, uint64_t *rev_out);

#endif
