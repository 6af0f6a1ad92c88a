/*
 * The client: every operation of the file system, by inode number (doc/design/client.md). FUSE and
 * the path API of include/claudefs use it.
 *
 * One client belongs to one core and has one endpoint there. It learns the cluster's map by HELLO,
 * sends each operation to the core that serves the shard of its inode, and tries again over lost
 * connections and restarts with the same (session, sequence), so that a change runs once. Nothing
 * is cached but hints: the size and cut of files that are open, which servers check.
 *
 * While no server answers, operations wait: for ever, or as long as `wait_ns` says, or until their
 * cfs_client_op is interrupted.
 *
 * Codes beside those of each operation: -EINTR: interrupted while it waited for a server (a change
 * may have run); -ETIMEDOUT: no server within `wait_ns`; -ECANCELED: the client closes; -EIO;
 * -ESTALE: no such inode (any more). All functions run on the client's core.
 */
#ifndef CFS_CLIENT_CLIENT_H
#define CFS_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fiber.h"
#include "base/list.h"
#include "net/net.h"
#include "proto/msg.h"

struct cfs_client;
struct cfs_client_op;

#define CFS_CLIENT_ADDRS_MAX 16

struct cfs_client_opts {
	const char *addrs[CFS_CLIENT_ADDRS_MAX]; /* servers, any of them will do; "inproc:NAME/0",
						    "tcp:HOST:PORT", ... */
	uint32_t addr_count;
	struct cfs_net_sim *sim; /* for "sim:" */
	const char *endpoint; /* our own address; NULL: "sim:client/0" in a simulation, else of the
			       * kind of the first server's */
	uint64_t wait_ns; /* how long an operation waits for a server that is away; 0: for ever */
	uint64_t
		connect_ns; /* how long the first connection is tried; 0: as long as wait_ns says */
	/*
	 * Whoever keeps what operations return, under leases (cfs_client_lease_ns()). @recall drops
	 * all that is kept of @ino, @recall_all everything; neither may wait for an operation that
	 * changes something. NULL: nothing is kept, and no lease is asked for.
	 */
	CFS_AWAITS void (*recall)(void *ctx, uint64_t ino);
	CFS_AWAITS void (*recall_all)(void *ctx);
	/* @op is about to open @ino for writing, which ends this client's lease of it: names and
	 * attributes that are kept under that are dropped at once, and no reply that is under way
	 * may be kept until @op is over. */
	void (*let_go)(void *ctx, struct cfs_client_op *op, uint64_t ino);
	void (*evicted)(void *ctx); /* the session has ended, and its locks; before recall_all() */
	void *recall_ctx;
};

/* Connects and reads the map. @err_out: a sentence with cause and next step. -ETIMEDOUT; -EINVAL;
 * -ECANCELED; -errno of the transport. */
CFS_AWAITS int cfs_client_open(const struct cfs_client_opts *opts, struct cfs_client **out,
			       char *err_out, uint32_t err_bytes);
/* Ends the session. No operation may be under way. NULL is fine. */
CFS_AWAITS void cfs_client_close(struct cfs_client *c);

/* One operation of a caller: who asks, and whether it was interrupted. Lives on the caller's stack
 * or in its request. */
struct cfs_client_op {
	struct cfs_client *client;
	uint32_t uid, gid; /* owner of what is created */
	uint32_t umask; /* taken from modes of what is created, where no default ACL is; init: 0 */
	bool is_interrupted;
	bool is_signaled; /* its wait for a lock is over */
	bool keeps_atime; /* its reads change no access time */
	bool wants_lease; /* of what lookup, getattr, readdir, and open return */
	bool has_lease;   /* the last of these came with one */
	uint32_t lease_shard;
	uint64_t lease_ino, lease_stamp, lease_session;
	/* Asked before it is sent in another session than it began in: whether its caller has lost
	 * a lock with the last one; then it ends with -EIO. NULL: it has none. */
	bool (*has_lost)(const struct cfs_client_op *op);
	uint64_t session; /* when it began */
	struct cfs_waitq waiters;
};

/* @c may be NULL for an operation that is not begun. */
void cfs_client_op_init(struct cfs_client_op *op, struct cfs_client *c, uint32_t uid, uint32_t gid);
/* Ends its wait for a lock with -EINTR, nothing else. */
void cfs_client_op_signal(struct cfs_client_op *op);
/* Ends its waits for a server with -EINTR. A call that a server has goes on to its answer. */
void cfs_client_op_interrupt(struct cfs_client_op *op);

/*
 * How long the last lookup, getattr, readdir or open of @op is true, at most, whatever others do: a
 * change is preceded by a recall. Of a lookup that is for the name (its absence too), of the others
 * for the inode. To be asked when what was returned is kept, with nothing awaited between. 0: not
 * at all.
 */
uint64_t cfs_client_lease_ns(const struct cfs_client_op *op);

struct cfs_client_name {
	const char *p;
	uint32_t len_bytes;
};

/* --- namespace; @dir is a directory's number --- */

/* -ENOENT; -ENOTDIR; -ENAMETOOLONG. One message, two for a directory that lives elsewhere. */
CFS_AWAITS int cfs_client_lookup(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, struct cfs_attr *attr_out);
CFS_AWAITS int cfs_client_getattr(struct cfs_client_op *op, uint64_t ino,
				  struct cfs_attr *attr_out);

struct cfs_client_setattr {
	uint32_t valid; /* CFS_SET_ bits; size and times below count where they say so */
	uint32_t mode, uid, gid;
	uint32_t iflags;
	uint64_t size;
	int64_t atime, mtime, ctime;
};
CFS_AWAITS int cfs_client_setattr(struct cfs_client_op *op, uint64_t ino,
				  const struct cfs_client_setattr *set, struct cfs_attr *attr_out);

struct cfs_client_create {
	uint32_t mode; /* S_IFMT type (S_IFREG if none) and permissions */
	uint32_t rdev;
	/* CFS_F_EXCL (with CFS_F_TMPFILE: it gets no name later), CFS_F_OPEN, CFS_F_TMPFILE, and
	 * those of cfs_client_file_open() */
	uint32_t flags;
	struct cfs_client_name target; /* of a symlink */
};
/*
 * Makes a file of any type but a directory, and opens it with CFS_F_OPEN (then cfs_client_release()
 * is owed). Without CFS_F_EXCL an existing regular file is opened. -EEXIST; -EISDIR; -ESTALE: the
 * name is a symlink, look it up; -ENOSPC.
 */
CFS_AWAITS int cfs_client_create(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, const struct cfs_client_create *how,
				 struct cfs_attr *attr_out);
CFS_AWAITS int cfs_client_mkdir(struct cfs_client_op *op, uint64_t dir, struct cfs_client_name name,
				uint32_t mode, struct cfs_attr *attr_out);
CFS_AWAITS int cfs_client_unlink(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name);
CFS_AWAITS int cfs_client_rmdir(struct cfs_client_op *op, uint64_t dir,
				struct cfs_client_name name);
CFS_AWAITS int cfs_client_link(struct cfs_client_op *op, uint64_t ino, uint64_t dir,
			       struct cfs_client_name name, struct cfs_attr *attr_out);
/* @flags: CFS_F_NOREPLACE, CFS_F_EXCHANGE. */
CFS_AWAITS int cfs_client_rename(struct cfs_client_op *op, uint64_t dir,
				 struct cfs_client_name name, uint64_t new_dir,
				 struct cfs_client_name new_name, uint32_t flags);

/* Bytes that an operation returns: where they are, and what keeps them there until
 * cfs_client_bytes_fini(). */
struct cfs_client_bytes {
	const uint8_t *p;
	uint32_t len_bytes;
	struct cfs_net_reply reply;
};
void cfs_client_bytes_fini(struct cfs_client_bytes *b);

CFS_AWAITS int cfs_client_readlink(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_bytes *out);

/* A page of a directory: entries in order of their cookies, to be read by cfs_entry_decode(). */
struct cfs_client_page {
	struct cfs_client_bytes bytes;
	bool is_last;
};
/* What follows @cookie (0: from the start), about @len_bytes of it. Ends with
 * cfs_client_bytes_fini(&out->bytes). */
CFS_AWAITS int cfs_client_readdir(struct cfs_client_op *op, uint64_t dir, uint64_t cookie,
				  uint32_t len_bytes, bool has_attrs, struct cfs_client_page *out);

/* @len_bytes: room of the caller; 0 asks for the length only (@size_out). -ERANGE; -ENODATA. */
CFS_AWAITS int cfs_client_getxattr(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_name name, uint32_t len_bytes,
				   struct cfs_client_bytes *out, uint64_t *size_out);
/* Names of trusted. are given to uid 0 only. */
CFS_AWAITS int cfs_client_listxattr(struct cfs_client_op *op, uint64_t ino, uint32_t len_bytes,
				    struct cfs_client_bytes *out, uint64_t *size_out);
/* @flags: CFS_F_XATTR_CREATE, CFS_F_XATTR_REPLACE; CFS_F_KILLPRIV: of an access ACL, drop set-gid.
 */
CFS_AWAITS int cfs_client_setxattr(struct cfs_client_op *op, uint64_t ino,
				   struct cfs_client_name name, const void *value,
				   uint32_t len_bytes, uint32_t flags);
CFS_AWAITS int cfs_client_removexattr(struct cfs_client_op *op, uint64_t ino,
				      struct cfs_client_name name);

/* --- files --- */

/* @flags: CFS_F_TRUNC, CFS_F_KILLPRIV, CFS_F_WRITE, CFS_F_APPEND. cfs_client_release() is owed for
 * each success. */
CFS_AWAITS int cfs_client_file_open(struct cfs_client_op *op, uint64_t ino, uint32_t flags,
				    struct cfs_attr *attr_out);
/* @flags: CFS_F_WRITE as it was opened. */
CFS_AWAITS int cfs_client_release(struct cfs_client_op *op, uint64_t ino, uint32_t flags);

/*
 * Reads up to @len_bytes (at most CFS_IO_BYTES_MAX) at @off_bytes. What comes is in @buf (of
 * @len_bytes, with an odd address fine but page aligned better) or, to save a copy, in the reply:
 * see @out->p. Less than asked: the file ends there.
 */
CFS_AWAITS int cfs_client_read(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes,
			       uint32_t len_bytes, void *buf, struct cfs_client_bytes *out);

struct cfs_client_write {
	uint64_t off_bytes; /* not looked at with CFS_F_APPEND */
	uint32_t flags;     /* CFS_F_APPEND, CFS_F_KILLPRIV, CFS_F_INSIDE */
	uint32_t len_bytes; /* at most CFS_IO_BYTES_MAX */
	void *data;         /* borrowed, not changed */
};
/* All, but what CFS_F_INSIDE leaves out, or an error. @off_out, if not NULL: where it went.
 * -ENOSPC; -EFBIG. */
CFS_AWAITS int cfs_client_write(struct cfs_client_op *op, uint64_t ino,
				const struct cfs_client_write *w, uint64_t *off_out);
/* @mode as fallocate(2). -EOPNOTSUPP; -ENOSPC. */
CFS_AWAITS int cfs_client_fallocate(struct cfs_client_op *op, uint64_t ino, uint32_t mode,
				    uint64_t off_bytes, uint64_t len_bytes);
struct cfs_client_copy {
	uint64_t from, from_off, to, to_off; /* numbers of two regular files, or one; bytes */
	uint64_t len_bytes;
};
/*
 * Copies a range, where it can by sharing blocks, never through the kernel. *@done_out: how much of
 * it, from its start; less than asked where @from ends, or to be asked for again. Ranges of one
 * file must not overlap. -EINVAL; -EISDIR; -EFBIG; -ENOSPC.
 */
CFS_AWAITS int cfs_client_copy(struct cfs_client_op *op, const struct cfs_client_copy *c,
			       uint64_t *done_out);
/* @whence: SEEK_DATA or SEEK_HOLE. -ENXIO. */
CFS_AWAITS int cfs_client_seek(struct cfs_client_op *op, uint64_t ino, uint64_t off_bytes,
			       uint32_t whence, uint64_t *off_out);
CFS_AWAITS int cfs_client_fsync(struct cfs_client_op *op, uint64_t ino, bool is_datasync);

/* --- locks of regular files --- */

struct cfs_client_lock {
	uint64_t owner; /* a number of the caller's: what one owner holds is in nobody else's way
			 */
	uint64_t start, end; /* first and last byte, up to INT64_MAX */
	uint32_t type;       /* CFS_LOCK_ */
	uint32_t pid;        /* for others that ask who holds it */
	bool is_flock;       /* flock(2): of all of the file, and of no concern to others */
	/* Asked when it has to wait: whether the wait fails if it closes a cycle of waits. NULL:
	 * no.
	 */
	CFS_AWAITS bool (*finds_deadlocks)(void *arg);
	void *arg;
};
/*
 * Sets what the owner holds of a range. With @waits it waits until it may. -EAGAIN: others hold it
 * (a flock of the owner's is given up then); -EINTR: its wait was ended by a signal; -EDEADLK;
 * -ENOLCK: too many; -EINVAL. A server gives all of a session's locks up when it ends.
 */
CFS_AWAITS int cfs_client_lock(struct cfs_client_op *op, uint64_t ino,
			       const struct cfs_client_lock *l, bool waits);
/* Who keeps @l from being set: *@l is one of those then, without owner; else its type is
 * CFS_LOCK_NONE. Asked with CFS_LOCK_NONE: what of the range the owner holds itself. */
CFS_AWAITS int cfs_client_lock_test(struct cfs_client_op *op, uint64_t ino,
				    struct cfs_client_lock *l);

/* --- the whole --- */

CFS_AWAITS int cfs_client_statfs(struct cfs_client_op *op, struct cfs_statfs *out);
/* The server's status or counters as JSON (op STATUS with @flags). */
CFS_AWAITS int cfs_client_status(struct cfs_client_op *op, uint32_t flags,
				 struct cfs_client_bytes *out);

struct cfs_client_stats {
	uint64_t retries, disconnects, refreshes, old_cuts, bad_checksums;
	uint64_t recalls, evictions;
	uint32_t files_open;
	bool is_lost; /* no server answers */
	struct cfs_net_stats net;
};
void cfs_client_stats(const struct cfs_client *c, struct cfs_client_stats *out);
/* Requests sent, by operation, tries again included. */
uint64_t cfs_client_op_count(const struct cfs_client *c, uint16_t op);
uint64_t cfs_client_session(const struct cfs_client *c);

#endif
