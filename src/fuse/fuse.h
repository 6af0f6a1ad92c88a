/*
 * The mount: ClaudeFS as a file system of the kernel, over /dev/fuse (doc/design/fuse.md).
 *
 * Translation, no policy: each request of the kernel becomes a call of the client in a fiber of its
 * own. Inode numbers are the kernel's node ids, so nothing is kept for what the kernel knows but
 * who may hold locks, and FORGET has nothing to do. Until there are leases the kernel is told to
 * cache nothing: time-outs are 0, pages are dropped when a file's mtime or size has changed.
 */
#ifndef CFS_FUSE_FUSE_H
#define CFS_FUSE_FUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "client/client.h"

#define CFS_FUSE_TYPE "fuse.claudefs"
#define CFS_FUSE_READ_AHEAD_BYTES (4u * 1024 * 1024)

/*
 * What requests are turned into: the functions of client.h, with their contracts. A NULL member is
 * answered with ENOSYS. Another table serves something else; then op->client is whatever the
 * options say.
 */
struct cfs_fuse_handlers {
	CFS_AWAITS int (*lookup)(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, struct cfs_attr *attr_out);
	CFS_AWAITS int (*getattr)(struct cfs_client_op *op, uint64_t ino,
				  struct cfs_attr *attr_out);
	CFS_AWAITS int (*setattr)(struct cfs_client_op *op, uint64_t ino,
				  const struct cfs_client_setattr *set, struct cfs_attr *attr_out);
	CFS_AWAITS int (*create)(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, const struct cfs_client_create *how,
				 struct cfs_attr *attr_out);
	CFS_AWAITS int (*mkdir)(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
				uint32_t mode, struct cfs_attr *attr_out);
	CFS_AWAITS int (*unlink)(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name);
	CFS_AWAITS int (*rmdir)(struct cfs_client_op *op, uint64_t dir,
				struct cfs_client_name name);
	CFS_AWAITS int (*link)(struct cfs_client_op *op, uint64_t ino, uint64_t dir,
			       struct cfs_client_name name, struct cfs_attr *attr_out);
	CFS_AWAITS int (*rename)(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, uint64_t new_dir,
				 struct cfs_client_name new_name, uint32_t flags);
	CFS_AWAITS int (*readlink)(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_bytes *out);
	CFS_AWAITS int (*readdir)(struct cfs_client_op *op, uint64_t dir, uint64_t cookie,
				  uint32_t len_bytes, bool has_attrs, struct cfs_client_page *out);
	CFS_AWAITS int (*getxattr)(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_name name, uint32_t len_bytes,
				   struct cfs_client_bytes *out, uint64_t *size_out);
	CFS_AWAITS int (*listxattr)(struct cfs_client_op *op, uint64_t ino, uint32_t len_bytes,
				    struct cfs_client_bytes *out, uint64_t *size_out);
	CFS_AWAITS int (*setxattr)(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_name name, const void *value,
				   uint32_t len_bytes, uint32_t flags);
	CFS_AWAITS int (*removexattr)(struct cfs_client_op *op, uint64_t ino,
				      struct cfs_client_name name);
	CFS_AWAITS int (*open)(struct cfs_client_op *op, uint64_t ino, uint32_t flags,
			       struct cfs_attr *attr_out);
	CFS_AWAITS int (*release)(struct cfs_client_op *op, uint64_t ino, uint32_t flags);
	CFS_AWAITS int (*read)(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes,
			       uint32_t len_bytes, void *buf, struct cfs_client_bytes *out);
	CFS_AWAITS int (*write)(struct cfs_client_op *op, uint64_t ino,
				const struct cfs_client_write *w, uint64_t *off_out);
	CFS_AWAITS int (*fallocate)(struct cfs_client_op *op, uint64_t ino, uint32_t mode,
				    uint64_t off_bytes, uint64_t len_bytes);
	CFS_AWAITS int (*copy)(struct cfs_client_op *op, const struct cfs_client_copy *c,
			       uint64_t *done_out);
	CFS_AWAITS int (*seek)(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes,
			       uint32_t whence, uint64_t *off_out);
	CFS_AWAITS int (*fsync)(struct cfs_client_op *op, uint64_t ino, bool is_datasync);
	CFS_AWAITS int (*lock)(struct cfs_client_op *op, uint64_t ino,
			       const struct cfs_client_lock *l, bool waits);
	CFS_AWAITS int (*lock_test)(struct cfs_client_op *op, uint64_t ino,
				    struct cfs_client_lock *l);
	CFS_AWAITS int (*statfs)(struct cfs_client_op *op, struct cfs_statfs *out);
	CFS_AWAITS int (*status)(struct cfs_client_op *op, uint32_t flags,
				 struct cfs_client_bytes *out);
};

extern const struct cfs_fuse_handlers cfs_fuse_client_handlers;

/*
 * What the kernel keeps of a mount. It is there before the client, whose recall() and recall_all()
 * are these functions with it as their context, and after.
 */
struct cfs_fuse_cache;
int cfs_fuse_cache_create(struct cfs_fuse_cache **out); /* 0; -ENOMEM */
void cfs_fuse_cache_destroy(struct cfs_fuse_cache *c);  /* NULL is fine */
CFS_AWAITS void cfs_fuse_cache_recall(void *cache, uint64_t ino);
CFS_AWAITS void cfs_fuse_cache_recall_all(void *cache);
void cfs_fuse_cache_let_go(void *cache, struct cfs_client_op *op, uint64_t ino);
void cfs_fuse_cache_evicted(void *cache);

enum cfs_fuse_consistency {
	CFS_FUSE_STRICT,        /* what is kept is leased */
	CFS_FUSE_CLOSE_TO_OPEN, /* an open sees what was closed before */
	CFS_FUSE_LAZY,          /* what is seen may be lazy_ns old */
};

struct cfs_fuse_opts {
	int fd;                       /* of cfs_fuse_mount(); borrowed */
	struct cfs_fuse_cache *cache; /* NULL: the kernel keeps nothing */
	enum cfs_fuse_consistency consistency;
	uint64_t lazy_ns;
	struct cfs_client *client;
	const struct cfs_fuse_handlers *handlers; /* NULL: the client's */
	uint32_t dev_major, dev_minor; /* of the mount, for its read-ahead; 0: leave that alone */
	bool keeps_atime, keeps_diratime; /* noatime, nodiratime */
	uint64_t features;                /* FUSE_ flags of abi.h that may be negotiated; 0: all */
	void (*ready)(void *arg);         /* called once when the kernel has agreed; may be NULL */
	void *arg;
};

/*
 * Serves the mount from the calling fiber's core until it is unmounted. 0: unmounted;
 * -ECONNABORTED: aborted by somebody; -ECANCELED: cancelled, requests under way were answered with
 * errors; -EPROTONOSUPPORT: the kernel is too old; -ENOMEM; -errno.
 */
CFS_AWAITS int cfs_fuse_serve(const struct cfs_fuse_opts *opts);

/* --- mounting: these block, call them before the runtime starts or on an offload thread --- */

struct cfs_fuse_mount {
	int fd;
	uint32_t dev_major, dev_minor;
	char *dir; /* absolute */
};

struct cfs_fuse_mount_opts {
	const char *source; /* first column of mount's list */
	const char *dir;
	unsigned long flags; /* MS_ flags of mount(2) */
	bool may_be_nonempty;
};

/* Opens /dev/fuse and mounts. @err_out: a sentence with cause and next step. -ENOENT, -ENOTDIR,
 * -ENOTEMPTY, -EBUSY (mounted already), -ENOTCONN (stale mount), -ENODEV (no FUSE here), -EPERM;
 * -errno. Nothing is left behind then. */
int cfs_fuse_mount(const struct cfs_fuse_mount_opts *opts, struct cfs_fuse_mount *out,
		   char *err_out, uint32_t err_bytes);
/* Closes the descriptor: the mount is dead then, if it is still there. */
void cfs_fuse_mount_fini(struct cfs_fuse_mount *m);
/* -EINVAL: nothing of ours is mounted there; -EBUSY: in use. @is_forced: detaches at once and fails
 * what is under way. */
int cfs_fuse_unmount(const char *dir, bool is_forced, char *err_out, uint32_t err_bytes);
/* Whether @dir (need not be reachable) is a mount of ours; fills in @source_out then. */
bool cfs_fuse_is_mounted(const char *dir, char *source_out, uint32_t source_bytes);
/* One option of -o: sets or clears MS_ flags, ignores what concerns others (defaults, _netdev,
 * nofail, x-*, ...). 0; -ENOENT: not one of those. */
int cfs_fuse_mount_flag(const char *option, unsigned long *flags);
/* Changes flags of a mount in place. */
int cfs_fuse_remount(const char *dir, unsigned long flags, char *err_out, uint32_t err_bytes);

#endif
