/*
 * The control plane of one volume: an engine, and the way to it (doc/design/control.md, "Which
 * engine a volume has").
 *
 * A handle of a volume is a cfs_ctl like an engine's. It follows the map when that is moved to
 * another engine: a transaction gives -ESTALE then, and so does a watch, as if another change had
 * come first. While a move is under way transactions wait, and fail after some seconds.
 */
#ifndef CFS_CTL_VOLUME_H
#define CFS_CTL_VOLUME_H

#include <stdint.h>

#include "ctl/ctl.h"

#define CFS_CTL_LOCAL "local"
#define CFS_CTL_NAME_BYTES 256u /* of an engine: "local", "etcd:http://10.0.0.1:2379,..." */
#define CFS_CTL_PREFIX_BYTES 64u

struct cfs_ctl_volume_opts {
	const uint8_t *uuid;    /* [16] */
	const char *local_path; /* the file of `local`, where every start begins */
	const char *secrets;    /* folder, as cfs_ctl_open_etcd() takes it */
	const char *engine; /* where to put the map if there is none yet; another address of where
			       it is; NULL, "" or "local": wherever the file says */
};

/* "/claudefs/<uuid>/" */
void cfs_ctl_volume_prefix(const uint8_t uuid[16], char out[CFS_CTL_PREFIX_BYTES]);
/* Is it the name of an engine? Its addresses are not looked at. */
bool cfs_ctl_name_is_valid(const char *name);

/* All borrowed only while it opens. -EEXIST: the file has the map, and @engine is another place;
 * -EBUSY: it is being moved; -EINVAL: no name of an engine; what engines say; with @why_out. */
CFS_AWAITS int cfs_ctl_open_volume(const struct cfs_ctl_volume_opts *opts, struct cfs_ctl **out,
				   char *why_out, uint32_t why_bytes);
/* The engine that the handle uses now, "etcd:http://..."; NULL: not a handle of a volume. */
const char *cfs_ctl_volume_engine(struct cfs_ctl *ctl);

struct cfs_ctl_move_result {
	uint32_t keys;
	uint64_t bytes;
	uint64_t frozen_ns; /* how long changes of the map waited */
};

/*
 * Moves the volume's map to the engine @to, under whatever goes on. 0, also if it is there already
 * (no keys then; an unfinished move away from there is called off); -EEXIST: another map of this
 * volume is there; -EBUSY: somebody else took over; what engines say. On failure the map is where
 * it was, unless @why_out says that it is frozen: then do it again.
 */
CFS_AWAITS int cfs_ctl_volume_move(const struct cfs_ctl_volume_opts *opts, const char *to,
				   struct cfs_ctl_move_result *out, char *why_out,
				   uint32_t why_bytes);

#endif
