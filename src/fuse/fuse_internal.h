/* What the mount's files share: the session, its requests, their memory and their replies. */
#ifndef CFS_FUSE_FUSE_INTERNAL_H
#define CFS_FUSE_FUSE_INTERNAL_H

#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/hist.h"
#include "base/reactor.h"
#include "base/util.h"
#include "fuse/abi.h"
#include "fuse/fuse.h"
#include "proto/place.h"

#define CFS_FUSE_WRITE_BYTES_MAX CFS_IO_BYTES_MAX
/* One more than 1 MiB has, for memory of a caller that does not begin on a page. The kernel takes
 * 256 at most unless the sysctl fs.fuse.max_pages_limit is higher. */
#define CFS_FUSE_PAGES_MAX (CFS_FUSE_WRITE_BYTES_MAX / 4096 + 1)
#define CFS_FUSE_SMALL_BYTES \
	(8u * 1024)          /* requests up to this are copied, so large memory is free again */
#define CFS_FUSE_MEM_MAX 96u /* pieces of large memory in use; past that requests wait */
#define CFS_FUSE_MEM_IDLE_MAX 4u
#define CFS_FUSE_REQS_IDLE_MAX 256u
#define CFS_FUSE_READS_PER_TURN 16u
#define CFS_FUSE_SINGLES_MAX 16u /* turns with one request each, then one looks for more */
#define CFS_FUSE_BLKSIZE (128u * 1024)
#define CFS_FUSE_BACKGROUND_MAX 64u
/* A request is read to here, so that a WRITE's payload, behind its two headers, begins on a page.
 */
#define CFS_FUSE_RX_OFF (4096u - sizeof(struct fuse_in_header) - sizeof(struct fuse_write_in))
/* An attribute of the root; who reads it makes the mount look at its options again. */
#define CFS_FUSE_XATTR_OPTIONS "claudefs.options"
#define CFS_FUSE_INTERRUPT_PERIOD_NS (100ull * 1000 * 1000)

/* 1 MiB and a page before it. */
struct cfs_fuse_mem {
	struct cfs_list link;
	struct cfs_buf *buf; /* NULL: from the heap */
	uint8_t *data;
};
#define CFS_FUSE_MEM_BYTES CFS_BUF_LARGE_BYTES

/* acl.c: what a thread has just been told, that an inode has no ACL. */
#define CFS_FUSE_ACL_SLOTS 64u
struct cfs_fuse_acl_slot {
	uint64_t ino;                  /* 0: nothing */
	uint64_t begin_ns, learned_ns; /* of the request that was answered */
	uint32_t pid;
};

#define CFS_FUSE_LOCK_BUCKETS 1024u
#define CFS_FUSE_LAZY_BUCKETS 64u
#define CFS_FUSE_LAZY_MAX 65536u /* opens that an ioctl has marked */
/* cache.c: a request of this mount that changes something. */
#define CFS_FUSE_CHANGES 64u
struct cfs_fuse_change {
	struct cfs_list link; /* while it is under way */
	uint64_t ino[2];
	uint64_t end_ns;
	bool is_any; /* perhaps others too */
};

struct cfs_fuse {
	const struct cfs_fuse_opts *opts;
	struct cfs_fuse_cache *cache; /* NULL: nothing is kept */
	bool has_epochs;              /* the kernel can be told to drop names */
	bool has_read_mounts, is_mounted_on;
	int mounts_fd;           /* tells when mounts change */
	uint64_t names_until_ns; /* the kernel keeps names no longer than that */
	struct cfs_list changing;
	uint32_t changed_at;
	struct cfs_fuse_change changed[CFS_FUSE_CHANGES]; /* the last ones that are done */
	const struct cfs_fuse_handlers *handlers;
	int fd;
	uint32_t minor;    /* as negotiated */
	uint64_t features; /* as negotiated */
	bool is_ready, is_ended, is_stalled;
	bool keeps_atime, keeps_diratime; /* as the mount's options are now */
	bool is_crowded;                  /* there were several requests at once */
	uint32_t singles;                 /* turns that were content with one */
	int end_rc;
	struct cfs_poller poller;
	struct cfs_waitq ended;
	struct cfs_group fibers;
	struct cfs_list requests; /* under way, newest last */
	uint32_t request_count;
	struct cfs_list requests_idle;
	uint32_t requests_idle_count;

	struct cfs_fuse_mem *rx; /* the next request goes here */
	struct cfs_list mem_idle;
	uint32_t mem_idle_count, mem_count, mem_pooled, mem_pooled_max;
	struct cfs_waitq mem_waiters;

	uint64_t last_fh; /* of a file's open; odd: what is read by it, the kernel keeps */
	/* lock.c: owners that may hold locks, by the inode */
	struct cfs_list lock_owners[CFS_FUSE_LOCK_BUCKETS];
	uint32_t lock_owner_count;
	struct cfs_waitq lock_drops; /* woken when an owner is through */
	struct cfs_list lost_handles;

	/* lazy.c: opens that it knows, by the inode */
	struct cfs_list lazy_opens[CFS_FUSE_LAZY_BUCKETS];
	uint32_t lazy_open_count;

	uint32_t interrupted_count; /* requests that a signal that does not kill has reached */
	bool is_watching;

	struct cfs_fuse_acl_slot acl_slots[CFS_FUSE_ACL_SLOTS];
	uint64_t acl_changed_ns; /* what began before has learned nothing */

	struct cfs_counter malformed, unknown, interrupts, reply_errors, bytes_read, bytes_written;
	struct cfs_hist hist[FUSE_OPCODE_MAX + 1];
};

struct cfs_fuse_req {
	struct cfs_list link;
	struct cfs_fuse *fuse;
	struct cfs_client_op op;
	uint64_t fh; /* by which data is read or changed; 0: none */
	struct fuse_in_header in;
	const uint8_t *args; /* what follows the header, extensions cut off */
	uint32_t args_bytes;
	uint64_t begin_ns;
	struct cfs_fuse_mem *mem; /* holds the request if it is large */
	bool is_replied, is_interrupted, is_change;
	struct cfs_fuse_change change;
	_Alignas(16) uint8_t small[CFS_FUSE_SMALL_BYTES];
};

/* The argument structure of @req; its length was checked. Requests are read to an aligned place. */
#define ARGS(req, type) ((const struct type *)(const void *)(req)->args)
/* Calls a handler if there is one. */
#define HANDLE(req, member, ...) \
	((req)->fuse->handlers->member ? (req)->fuse->handlers->member(&(req)->op, __VA_ARGS__) \
				       : -ENOSYS)

/* The @index-th of the strings that follow @skip_bytes of arguments; they were checked to be there.
 */
static inline struct cfs_client_name cfs_fuse_string_at(const struct cfs_fuse_req *req,
							uint32_t skip_bytes, uint32_t index)
{
	struct cfs_client_name name;

	name.p = (const char *)req->args + skip_bytes;
	for (uint32_t i = 0; i < index; i++)
		name.p += strlen(name.p) + 1;
	name.len_bytes = (uint32_t)strlen(name.p);
	return name;
}

/* --- session.c --- */

/* Replies; exactly once a request. @rc negative: an error, and nothing else goes along. */
void cfs_fuse_reply(struct cfs_fuse_req *req, int rc, const void *out, size_t out_bytes);
static inline void cfs_fuse_reply_rc(struct cfs_fuse_req *req, int rc)
{
	cfs_fuse_reply(req, rc, NULL, 0);
}
/* Memory of CFS_FUSE_MEM_BYTES; waits for it. 0; -ECANCELED. */
CFS_AWAITS int cfs_fuse_mem_get(struct cfs_fuse *f, struct cfs_fuse_mem **out);
void cfs_fuse_mem_put(struct cfs_fuse *f, struct cfs_fuse_mem *m);

/* --- init.c --- */

/* Decides what to answer to INIT. 0; -EPROTO. */
int cfs_fuse_negotiate(const struct fuse_init_in *in, uint32_t in_bytes, uint64_t allowed,
		       struct fuse_init_out *out, uint64_t *features_out);

/* --- ops.c --- */

/* Carries out @req and replies. */
CFS_AWAITS void cfs_fuse_serve_request(struct cfs_fuse_req *req);
/* Whether a complete request of this kind could be these bytes. */
bool cfs_fuse_request_is_valid(const struct fuse_in_header *in, const uint8_t *args,
			       uint32_t args_bytes);
const char *cfs_fuse_opcode_name(uint32_t opcode);
/* Whether a signal that does not kill its sender may end a request's wait for a lost server: it
 * changes nothing. */
bool cfs_fuse_opcode_is_read(uint32_t opcode);

/* --- lock.c --- */

void cfs_fuse_locks_init(struct cfs_fuse *f);
void cfs_fuse_locks_fini(struct cfs_fuse *f); /* no request is under way */
CFS_AWAITS void cfs_fuse_serve_getlk(struct cfs_fuse_req *req);
CFS_AWAITS void cfs_fuse_serve_setlk(struct cfs_fuse_req *req);
CFS_AWAITS void cfs_fuse_serve_flush(struct cfs_fuse_req *req);
/* Whether a FLUSH of these arguments has nothing to do. */
bool cfs_fuse_flush_is_idle(const struct cfs_fuse *f, uint64_t ino, const uint8_t *args);
/* The open file description of a RELEASE is gone: so are its locks. */
CFS_AWAITS void cfs_fuse_locks_release(struct cfs_fuse_req *req);

/* The session has ended, and with it the locks: the handles that may have had some are lost. */
void cfs_fuse_locks_lost(struct cfs_fuse *f);
/* Whether @req is for data of such a handle; it ends, too, when that becomes so before it is sent.
 */
bool cfs_fuse_handle_is_lost(struct cfs_fuse_req *req);

/* --- lazy.c --- */

void cfs_fuse_lazy_init(struct cfs_fuse *f);
void cfs_fuse_lazy_fini(struct cfs_fuse *f);
/* How late this mount may see @ino for the sake of an open one; 0: not at all. */
uint64_t cfs_fuse_lazy_ns(struct cfs_fuse *f, uint64_t ino);
/* The ioctl of lazy.h on handle @fh of @req's inode; with @ms 0 it is undone. 0; -EINVAL; -ENOTTY;
 * -EPERM; -ENFILE; -ENOMEM. */
CFS_AWAITS int cfs_fuse_lazy_set(struct cfs_fuse_req *req, uint64_t fh, uint32_t ms);
/* The handle is gone. */
void cfs_fuse_lazy_release(struct cfs_fuse *f, uint64_t ino, uint64_t fh);

/* --- xattr.c --- */

CFS_AWAITS void cfs_fuse_serve_getxattr(struct cfs_fuse_req *req);
CFS_AWAITS void cfs_fuse_serve_listxattr(struct cfs_fuse_req *req);
CFS_AWAITS void cfs_fuse_serve_setxattr(struct cfs_fuse_req *req);
CFS_AWAITS void cfs_fuse_serve_removexattr(struct cfs_fuse_req *req);

/* --- ioctl.c --- */

CFS_AWAITS void cfs_fuse_serve_ioctl(struct cfs_fuse_req *req);

/* --- convert.c --- */

void cfs_fuse_attr_encode(const struct cfs_attr *a, struct fuse_attr *out);
void cfs_fuse_entry_encode(const struct cfs_attr *a, struct fuse_entry_out *out);
void cfs_fuse_statx_encode(const struct cfs_attr *a, struct fuse_statx_out *out);
void cfs_fuse_setattr_decode(const struct fuse_setattr_in *in, struct cfs_client_setattr *out);
/* Appends @e as READDIR or READDIRPLUS wants it. Bytes used; 0: it does not fit. */
uint32_t cfs_fuse_dirent_encode(const struct cfs_entry *e, bool is_plus, uint8_t *buf,
				uint32_t cap_bytes);
/* How a file opened with @flags (of open(2)) shall be cached. */
uint32_t cfs_fuse_open_flags(uint64_t features, uint32_t flags, uint64_t size_bytes);

/* --- cache.c --- */

void cfs_fuse_cache_start(struct cfs_fuse *f); /* after INIT */
void cfs_fuse_cache_ready(struct cfs_fuse *f); /* when it is mounted */
void cfs_fuse_cache_stop(struct cfs_fuse *f);
uint32_t cfs_fuse_cache_count(const struct cfs_fuse *f); /* inodes that something is kept of */
void cfs_fuse_change_begin(struct cfs_fuse_req *req);
void cfs_fuse_change_end(struct cfs_fuse_req *req); /* after the reply */
/* Before a request whose answer may be kept. */
void cfs_fuse_cache_ask(struct cfs_fuse_req *req);
/* How long the kernel may keep what @req's operation has just returned, ns: a name of @dir, present
 * or not; attributes. Nothing may be awaited before the reply. */
uint64_t cfs_fuse_keep_name(struct cfs_fuse_req *req, uint64_t dir);
uint64_t cfs_fuse_keep_attr(struct cfs_fuse_req *req, const struct cfs_attr *attr);
/* The FOPEN_ flags of an open with @flags of open(2). */
uint32_t cfs_fuse_keep_pages(struct cfs_fuse_req *req, uint32_t flags, const struct cfs_attr *attr);
/* The answer to a READDIR may be kept or not: sees to it that the kernel does not longer. */
void cfs_fuse_keep_listing(struct cfs_fuse_req *req);
/* An ACL, or that there is none, is about to be answered. */
void cfs_fuse_cache_acl(struct cfs_fuse_req *req);
/* A change that the kernel does not know to be one. */
void cfs_fuse_cache_attr_changed(struct cfs_fuse *f, uint64_t ino);
/* A READ of @ino was answered. @is_paged: the kernel keeps it. */
void cfs_fuse_cache_read(struct cfs_fuse *f, uint64_t ino, bool is_paged);

/* --- acl.c --- */

bool cfs_fuse_is_acl(struct cfs_client_name name);
/* @attr answers @req. */
void cfs_fuse_acl_learn(struct cfs_fuse_req *req, const struct cfs_attr *attr);
/* @req has changed one, or may have. */
void cfs_fuse_acl_changed(struct cfs_fuse_req *req);
/* Whether @req, for an ACL of its inode, follows an answer that said that there is none. */
bool cfs_fuse_acl_is_absent(struct cfs_fuse_req *req);

/* --- mount.c --- */

/* The options of the mount with this device number that reads depend on: MS_RDONLY, MS_NOATIME,
 * MS_NODIRATIME. -ENOENT: there is none. Reads procfs. */
int cfs_fuse_mount_flags(uint32_t major, uint32_t minor, unsigned long *flags_out);

/* --- stats.c --- */

/* The mount's counters and latencies as JSON, malloc'd; NULL: no memory. */
char *cfs_fuse_stats_json(const struct cfs_fuse *f);

#endif
