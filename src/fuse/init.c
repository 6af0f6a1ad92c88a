/* INIT: what the kernel offers, cut down to what is served here. */
#include <errno.h>
#include <string.h>

#include "base/breaks.h"
#include "fuse/fuse_internal.h"

/* Each one is used if offered and done without if not. */
static const uint64_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
			       FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
			       FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
			       FUSE_ABORT_ERROR | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 |
			       FUSE_INIT_EXT | FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_HAS_RESEND |
			       FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT |
			       FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;

int cfs_fuse_negotiate(const struct fuse_init_in *in, uint32_t in_bytes, uint64_t allowed,
		       struct fuse_init_out *out, uint64_t *features_out)
{
	uint64_t offered = in->flags;
	uint64_t features;

	memset(out, 0, sizeof(*out));
	out->major = FUSE_KERNEL_VERSION;
	out->minor = FUSE_KERNEL_MINOR_VERSION;
	*features_out = 0;
	if (in->major < FUSE_KERNEL_VERSION ||
	    (in->major == FUSE_KERNEL_VERSION && in->minor < FUSE_MINOR_OLDEST))
		return -EPROTO;
	/* A newer major: the kernel reads ours and asks again in it. */
	if (in->major > FUSE_KERNEL_VERSION)
		return 0;
	if ((offered & FUSE_INIT_EXT) && in_bytes >= offsetof(struct fuse_init_in, unused))
		offered |= (uint64_t)in->flags2 << 32;
	features = offered & wanted & (allowed ? allowed : UINT64_MAX);
	if (CFS_BREAK(STALE_PAGES))
		features &= ~(uint64_t)FUSE_AUTO_INVAL_DATA;
	/* The upper word counts only beside INIT_EXT. */
	if (!(features & FUSE_INIT_EXT))
		features &= UINT32_MAX;
	/* Where a default ACL is the umask does not count, so whoever has ACLs applies it himself.
	 */
	if (!(features & FUSE_POSIX_ACL) || !(features & FUSE_DONT_MASK))
		features &= ~(FUSE_POSIX_ACL | FUSE_DONT_MASK);
	/* Of both kinds, or the kernel's own. */
	if (!(features & FUSE_POSIX_LOCKS) || !(features & FUSE_FLOCK_LOCKS))
		features &= ~(FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS);
	if (!(features & FUSE_DO_READDIRPLUS))
		features &= ~FUSE_READDIRPLUS_AUTO;
	out->max_readahead = CFS_FUSE_READ_AHEAD_BYTES < in->max_readahead
				     ? CFS_FUSE_READ_AHEAD_BYTES
				     : in->max_readahead;
	out->flags = (uint32_t)features;
	out->flags2 = (uint32_t)(features >> 32);
	out->max_background = CFS_FUSE_BACKGROUND_MAX;
	out->congestion_threshold = CFS_FUSE_BACKGROUND_MAX * 3 / 4;
	out->max_write = CFS_FUSE_WRITE_BYTES_MAX;
	out->max_pages = features & FUSE_MAX_PAGES ? CFS_FUSE_PAGES_MAX : 0;
	out->time_gran = 1;
	*features_out = features;
	return 0;
}
