/*
 * The FUSE kernel ABI, version 7.45, as far as ClaudeFS speaks it (doc/design/fuse.md).
 *
 * Names and layouts are the kernel's (include/uapi/linux/fuse.h of Linux 6.18), declared here
 * because the installed header of a distribution may be years older than the kernel that runs.
 * Everything after 7.31 is negotiated: a structure that grew is read by the length that came. All
 * fields are in the machine's own byte order. Never include <linux/fuse.h> beside this.
 */
#ifndef CFS_FUSE_ABI_H
#define CFS_FUSE_ABI_H

#include <stdint.h>

#define FUSE_KERNEL_VERSION 7
#define FUSE_KERNEL_MINOR_VERSION 45
#define FUSE_MINOR_OLDEST 31 /* Linux 5.4 */
#define FUSE_ROOT_ID 1
#define FUSE_MIN_READ_BUFFER 8192
#define FUSE_UNIQUE_RESEND (1ull << 63)

/* F(name, number, least bytes of its argument structure, name strings that follow it). */
#define FUSE_OPCODE_TABLE(F) \
	F(LOOKUP, 1, 0, 1) \
	F(FORGET, 2, 8, 0) \
	F(GETATTR, 3, 16, 0) \
	F(SETATTR, 4, 88, 0) \
	F(READLINK, 5, 0, 0) \
	F(SYMLINK, 6, 0, 2) \
	F(MKNOD, 8, 16, 1) \
	F(MKDIR, 9, 8, 1) \
	F(UNLINK, 10, 0, 1) \
	F(RMDIR, 11, 0, 1) \
	F(RENAME, 12, 8, 2) \
	F(LINK, 13, 8, 1) \
	F(OPEN, 14, 8, 0) \
	F(READ, 15, 40, 0) \
	F(WRITE, 16, 40, 0) \
	F(STATFS, 17, 0, 0) \
	F(RELEASE, 18, 24, 0) \
	F(FSYNC, 20, 16, 0) \
	F(SETXATTR, 21, 8, 1) \
	F(GETXATTR, 22, 8, 1) \
	F(LISTXATTR, 23, 8, 0) \
	F(REMOVEXATTR, 24, 0, 1) \
	F(FLUSH, 25, 24, 0) \
	F(INIT, 26, 16, 0) \
	F(OPENDIR, 27, 8, 0) \
	F(READDIR, 28, 40, 0) \
	F(RELEASEDIR, 29, 24, 0) \
	F(FSYNCDIR, 30, 16, 0) \
	F(GETLK, 31, 48, 0) \
	F(SETLK, 32, 48, 0) \
	F(SETLKW, 33, 48, 0) \
	F(ACCESS, 34, 8, 0) \
	F(CREATE, 35, 16, 1) \
	F(INTERRUPT, 36, 8, 0) \
	F(BMAP, 37, 16, 0) \
	F(DESTROY, 38, 0, 0) \
	F(IOCTL, 39, 32, 0) \
	F(POLL, 40, 24, 0) \
	F(NOTIFY_REPLY, 41, 0, 0) \
	F(BATCH_FORGET, 42, 8, 0) \
	F(FALLOCATE, 43, 32, 0) \
	F(READDIRPLUS, 44, 40, 0) \
	F(RENAME2, 45, 16, 2) \
	F(LSEEK, 46, 24, 0) \
	F(COPY_FILE_RANGE, 47, 56, 0) \
	F(SETUPMAPPING, 48, 0, 0) \
	F(REMOVEMAPPING, 49, 0, 0) \
	F(SYNCFS, 50, 8, 0) \
	F(TMPFILE, 51, 16, 1) \
	F(STATX, 52, 24, 0) \
	F(COPY_FILE_RANGE_64, 53, 56, 0)

enum fuse_opcode {
#define F(name, number, bytes, strings) FUSE_##name = number,
	FUSE_OPCODE_TABLE(F)
#undef F
};
#define FUSE_OPCODE_MAX 53u

/* INIT's flags; the upper word travels in flags2, which counts only beside INIT_EXT. */
#define FUSE_ASYNC_READ (1ull << 0)
#define FUSE_POSIX_LOCKS (1ull << 1)
#define FUSE_ATOMIC_O_TRUNC (1ull << 3)
#define FUSE_EXPORT_SUPPORT (1ull << 4)
#define FUSE_BIG_WRITES (1ull << 5)
#define FUSE_DONT_MASK (1ull << 6)
#define FUSE_FLOCK_LOCKS (1ull << 10)
#define FUSE_AUTO_INVAL_DATA (1ull << 12)
#define FUSE_DO_READDIRPLUS (1ull << 13)
#define FUSE_READDIRPLUS_AUTO (1ull << 14)
#define FUSE_ASYNC_DIO (1ull << 15)
#define FUSE_WRITEBACK_CACHE (1ull << 16)
#define FUSE_PARALLEL_DIROPS (1ull << 18)
#define FUSE_HANDLE_KILLPRIV (1ull << 19)
#define FUSE_POSIX_ACL (1ull << 20)
#define FUSE_ABORT_ERROR (1ull << 21)
#define FUSE_MAX_PAGES (1ull << 22)
#define FUSE_CACHE_SYMLINKS (1ull << 23)
#define FUSE_EXPLICIT_INVAL_DATA (1ull << 25)
#define FUSE_HANDLE_KILLPRIV_V2 (1ull << 28)
#define FUSE_SETXATTR_EXT (1ull << 29)
#define FUSE_INIT_EXT (1ull << 30)
#define FUSE_CREATE_SUPP_GROUP (1ull << 34)
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ull << 36)
#define FUSE_PASSTHROUGH (1ull << 37)
#define FUSE_HAS_RESEND (1ull << 39)
#define FUSE_OVER_IO_URING (1ull << 41)

/* SETATTR's valid. */
#define FATTR_MODE (1u << 0)
#define FATTR_UID (1u << 1)
#define FATTR_GID (1u << 2)
#define FATTR_SIZE (1u << 3)
#define FATTR_ATIME (1u << 4)
#define FATTR_MTIME (1u << 5)
#define FATTR_FH (1u << 6)
#define FATTR_ATIME_NOW (1u << 7)
#define FATTR_MTIME_NOW (1u << 8)
#define FATTR_LOCKOWNER (1u << 9)
#define FATTR_CTIME (1u << 10)
#define FATTR_KILL_SUIDGID (1u << 11)

/* Replies to OPEN and CREATE. */
#define FOPEN_DIRECT_IO (1u << 0)
#define FOPEN_KEEP_CACHE (1u << 1)
#define FOPEN_NONSEEKABLE (1u << 2)
#define FOPEN_CACHE_DIR (1u << 3)
#define FUSE_LK_FLOCK (1u << 0)
#define FOPEN_NOFLUSH (1u << 5)
#define FOPEN_PARALLEL_DIRECT_WRITES (1u << 6)

#define FUSE_OPEN_KILL_SUIDGID (1u << 0) /* open_in.open_flags */
#define FUSE_WRITE_CACHE (1u << 0)       /* write_in.write_flags */
#define FUSE_WRITE_KILL_SUIDGID (1u << 2)
#define FUSE_FSYNC_FDATASYNC (1u << 0)
#define FUSE_SETXATTR_ACL_KILL_SGID (1u << 0)
#define FUSE_IOCTL_UNRESTRICTED (1u << 1) /* ioctl_in.flags: of CUSE */

struct fuse_in_header {
	uint32_t len;
	uint32_t opcode;
	uint64_t unique;
	uint64_t nodeid;
	uint32_t uid;
	uint32_t gid;
	uint32_t pid;
	uint16_t total_extlen; /* in units of 8 bytes */
	uint16_t padding;
};

struct fuse_out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct fuse_attr {
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t atime;
	uint64_t mtime;
	uint64_t ctime;
	uint32_t atimensec;
	uint32_t mtimensec;
	uint32_t ctimensec;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint32_t rdev;
	uint32_t blksize;
	uint32_t flags;
};

struct fuse_entry_out {
	uint64_t nodeid; /* 0: no such name, cached for entry_valid */
	uint64_t generation;
	uint64_t entry_valid;
	uint64_t attr_valid;
	uint32_t entry_valid_nsec;
	uint32_t attr_valid_nsec;
	struct fuse_attr attr;
};

struct fuse_attr_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t dummy;
	struct fuse_attr attr;
};

struct fuse_init_in {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint32_t flags2; /* from here on since 7.36 */
	uint32_t unused[11];
};

struct fuse_init_out {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth;
	uint16_t request_timeout;
	uint16_t unused[11];
};

struct fuse_forget_in {
	uint64_t nlookup;
};

struct fuse_getattr_in {
	uint32_t getattr_flags;
	uint32_t dummy;
	uint64_t fh;
};

struct fuse_setattr_in {
	uint32_t valid;
	uint32_t padding;
	uint64_t fh;
	uint64_t size;
	uint64_t lock_owner;
	uint64_t atime;
	uint64_t mtime;
	uint64_t ctime;
	uint32_t atimensec;
	uint32_t mtimensec;
	uint32_t ctimensec;
	uint32_t mode;
	uint32_t unused4;
	uint32_t uid;
	uint32_t gid;
	uint32_t unused5;
};

struct fuse_mknod_in {
	uint32_t mode;
	uint32_t rdev;
	uint32_t umask;
	uint32_t padding;
};

struct fuse_mkdir_in {
	uint32_t mode;
	uint32_t umask;
};

struct fuse_rename_in {
	uint64_t newdir;
};

struct fuse_rename2_in {
	uint64_t newdir;
	uint32_t flags;
	uint32_t padding;
};

struct fuse_link_in {
	uint64_t oldnodeid;
};

struct fuse_open_in {
	uint32_t flags;
	uint32_t open_flags;
};

struct fuse_create_in {
	uint32_t flags;
	uint32_t mode;
	uint32_t umask;
	uint32_t open_flags;
};

struct fuse_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

struct fuse_release_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t release_flags;
	uint64_t lock_owner;
};

struct fuse_flush_in {
	uint64_t fh;
	uint32_t unused;
	uint32_t padding;
	uint64_t lock_owner;
};

struct fuse_file_lock {
	uint64_t start;
	uint64_t end; /* last byte */
	uint32_t type;
	uint32_t pid; /* tgid */
};

struct fuse_lk_in { /* GETLK, SETLK, SETLKW */
	uint64_t fh;
	uint64_t owner;
	struct fuse_file_lock lk;
	uint32_t lk_flags; /* FUSE_LK_FLOCK */
	uint32_t padding;
};

struct fuse_lk_out {
	struct fuse_file_lock lk;
};

struct fuse_read_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t size;
	uint32_t read_flags;
	uint64_t lock_owner;
	uint32_t flags;
	uint32_t padding;
};

struct fuse_write_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t size;
	uint32_t write_flags;
	uint64_t lock_owner;
	uint32_t flags;
	uint32_t padding;
};

struct fuse_write_out {
	uint32_t size;
	uint32_t padding;
};

struct fuse_kstatfs {
	uint64_t blocks;
	uint64_t bfree;
	uint64_t bavail;
	uint64_t files;
	uint64_t ffree;
	uint32_t bsize;
	uint32_t namelen;
	uint32_t frsize;
	uint32_t padding;
	uint32_t spare[6];
};

struct fuse_fsync_in {
	uint64_t fh;
	uint32_t fsync_flags;
	uint32_t padding;
};

struct fuse_setxattr_in {
	uint32_t size;
	uint32_t flags;
	uint32_t setxattr_flags; /* from here on with SETXATTR_EXT */
	uint32_t padding;
};
#define FUSE_COMPAT_SETXATTR_IN_SIZE 8u

struct fuse_getxattr_in {
	uint32_t size;
	uint32_t padding;
};

struct fuse_getxattr_out {
	uint32_t size;
	uint32_t padding;
};

struct fuse_interrupt_in {
	uint64_t unique;
};

struct fuse_forget_one {
	uint64_t nodeid;
	uint64_t nlookup;
};

struct fuse_batch_forget_in {
	uint32_t count;
	uint32_t dummy;
};

struct fuse_fallocate_in {
	uint64_t fh;
	uint64_t offset;
	uint64_t length;
	uint32_t mode;
	uint32_t padding;
};

struct fuse_ioctl_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t cmd;
	uint64_t arg;
	uint32_t in_size;
	uint32_t out_size;
	/* in_size bytes */
};

struct fuse_ioctl_out {
	int32_t result;
	uint32_t flags;
	uint32_t in_iovs;
	uint32_t out_iovs;
	/* at most out_size bytes */
};

struct fuse_lseek_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t whence;
	uint32_t padding;
};

struct fuse_lseek_out {
	uint64_t offset;
};

struct fuse_copy_file_range_in { /* COPY_FILE_RANGE, which answers as WRITE does; and _64 */
	uint64_t fh_in;
	uint64_t off_in;
	uint64_t nodeid_out;
	uint64_t fh_out;
	uint64_t off_out;
	uint64_t len;
	uint64_t flags;
};

struct fuse_copy_file_range_out {
	uint64_t bytes_copied;
};

struct fuse_dirent {
	uint64_t ino;
	uint64_t off;
	uint32_t namelen;
	uint32_t type;
	/* name, padded to 8 bytes */
};

struct fuse_direntplus {
	struct fuse_entry_out entry_out;
	struct fuse_dirent dirent;
};

struct fuse_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fuse_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};

/* Notifications: an out header with the code as its error, and unique 0. */
#define FUSE_NOTIFY_INVAL_INODE 2
#define FUSE_NOTIFY_INC_EPOCH 8 /* 7.44 */

struct fuse_notify_inval_inode_out {
	uint64_t ino;
	int64_t off; /* -1: attributes only */
	int64_t len; /* 0: to the end */
};

_Static_assert(sizeof(struct fuse_in_header) == 40, "as in the kernel");
_Static_assert(sizeof(struct fuse_out_header) == 16, "as in the kernel");
_Static_assert(sizeof(struct fuse_attr) == 88, "as in the kernel");
_Static_assert(sizeof(struct fuse_entry_out) == 128, "as in the kernel");
_Static_assert(sizeof(struct fuse_attr_out) == 104, "as in the kernel");
_Static_assert(sizeof(struct fuse_init_in) == 64, "as in the kernel");
_Static_assert(sizeof(struct fuse_init_out) == 64, "as in the kernel");
_Static_assert(sizeof(struct fuse_setattr_in) == 88, "as in the kernel");
_Static_assert(sizeof(struct fuse_setxattr_in) == 16, "as in the kernel");
_Static_assert(sizeof(struct fuse_open_out) == 16, "as in the kernel");
_Static_assert(sizeof(struct fuse_flush_in) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_lk_in) == 48, "as in the kernel");
_Static_assert(sizeof(struct fuse_lk_out) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_release_in) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_read_in) == 40, "as in the kernel");
_Static_assert(sizeof(struct fuse_write_in) == 40, "as in the kernel");
_Static_assert(sizeof(struct fuse_kstatfs) == 80, "as in the kernel");
_Static_assert(sizeof(struct fuse_fallocate_in) == 32, "as in the kernel");
_Static_assert(sizeof(struct fuse_lseek_in) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_ioctl_in) == 32, "as in the kernel");
_Static_assert(sizeof(struct fuse_ioctl_out) == 16, "as in the kernel");
_Static_assert(sizeof(struct fuse_copy_file_range_in) == 56, "as in the kernel");
_Static_assert(sizeof(struct fuse_dirent) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_direntplus) == 152, "as in the kernel");
_Static_assert(sizeof(struct fuse_statx_in) == 24, "as in the kernel");
_Static_assert(sizeof(struct fuse_statx) == 256, "as in the kernel");
_Static_assert(sizeof(struct fuse_statx_out) == 288, "as in the kernel");

#endif
