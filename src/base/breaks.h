/*
 * Guards and rules that a test may take out, one at a time, to see that it finds what then breaks:
 * the simulator those of the transactions (doc/design/transactions.md), the POSIX suite those of
 * what a file system has to do, the coherence suite those of several mounts
 * (doc/design/testing.md). Only in builds with -DCFS_BREAKS; elsewhere everything is in its place
 * and costs nothing.
 */
#ifndef CFS_BASE_BREAKS_H
#define CFS_BASE_BREAKS_H

#include <stdbool.h>
#include <stdint.h>

/* Of the transactions: the simulator's. */
#define CFS_BREAK_TX_TABLE(X) \
	X(NO_DIR_LOCK, "a coordinator locks its directory against nobody") \
	X(NO_ORDERED_RETRY, "busy: all at once again") \
	X(SAME_NUMBER, "the ordered retry keeps the number of the first try") \
	X(REUSE_NUMBER, "numbers without the shard epoch start again with the process") \
	X(ASK_ABORTS_RUNNING, "an asker is told abort while the try runs") \
	X(NO_ASK_COORDINATOR, "no decision and no try is not an answer") \
	X(NO_DIR_ASK, "a local change goes past what is prepared") \
	X(NO_SYNC_ASK, "so does a sync") \
	X(NO_KEEP, "a decision is forgotten when it is placed") \
	X(FORGET_FLUSHED, \
	  "a decision is forgotten when the participants know, before it is stable") \
	X(NO_ENDED, "a number that ended may be prepared again") \
	X(WAIT_UNORDERED, "the ordered retry takes its own directory first") \
	X(NO_JOIN, "a repeated request does not wait for the first") \
	X(LOCKS_FORGOTTEN, "locks go with the process of the server")

/* Of what a file system does: the POSIX suite's (tests/sys/posix/breaks). */
#define CFS_BREAK_POSIX_TABLE(X) \
	/* Names and links. */ \
	X(EXCL_IGNORED, "O_EXCL is ignored") \
	X(NOREPLACE_IGNORED, "RENAME_NOREPLACE is ignored") \
	X(EXISTS_IGNORED, "link replaces what another has made meanwhile") \
	X(RENAME_LOOPS, "two renames may move directories into each other") \
	X(EXCHANGE_HALF, "RENAME_EXCHANGE changes one name only") \
	X(RENAME_KEEPS, "rename leaves the old name") \
	X(RENAME_OVER_FULL, "rename replaces a directory that is not empty") \
	X(RMDIR_FULL, "rmdir removes a directory that is not empty") \
	X(LINK_UNCOUNTED, "link does not count") \
	X(UNLINK_UNCOUNTED, "unlink does not count") \
	X(SUBDIRS_UNCOUNTED, "st_nlink of a directory is 2") \
	X(OPEN_UNLINKED_GONE, "a removed file is gone though it is open") \
	X(SYMLINK_SHORT, "readlink gives 255 bytes at most") \
	X(NAME_254, "names of 255 bytes are too long") \
	X(NUMBERS_AGAIN, "inode numbers are used again") \
	X(DEV_LOST, "mknod forgets the device number") \
	X(FIFO_REGULAR, "mknod makes a regular file of a FIFO") \
	X(TMPFILE_LINKED, "an O_TMPFILE file has a link") \
	X(READDIR_DOUBLE, "readdir gives the last entry of a page again") \
	X(READDIR_MISS, "readdir misses the first entry after a page") \
	X(READDIR_KIND, "d_type of all is DT_REG") \
	/* Attributes. */ \
	X(STICKY_LOST, "the sticky bit is not seen") \
	X(UID_LOST, "files belong to root") \
	X(CHMOD_LOST, "chmod of a directory does not change it") \
	X(CHOWN_GID_LOST, "chown does not change the group") \
	X(SETGID_GROUP, "a set-group-ID directory does not give its group") \
	X(SETGID_DIR, "a new directory does not inherit S_ISGID") \
	X(SUID_WRITE, "a write keeps S_ISUID") \
	X(SUID_SET, "truncate and chown keep S_ISUID") \
	X(CAPS_KEPT, "a write keeps security.capability") \
	X(CAPS_ROOT, "a write of root keeps security.capability") \
	X(NOTHING_SET, "chown of -1 takes nothing away") \
	X(CTIME_CHMOD, "chmod does not mark ctime") \
	X(CTIME_LINK, "link and unlink do not mark ctime") \
	X(CTIME_RENAME, "rename does not mark ctime of what it moves") \
	X(CTIME_XATTR, "setxattr does not mark ctime") \
	X(MTIME_WRITE, "write does not mark mtime") \
	X(MTIME_TRUNCATE, "truncate does not mark mtime") \
	X(MTIME_DIR, "a new name does not mark the directory") \
	X(ATIME_LOST, "reads do not mark atime") \
	X(ATIME_ALWAYS, "every read marks atime") \
	X(BTIME_MOVES, "the time of birth is ctime") \
	X(TIME_MICRO, "times are rounded to microseconds") \
	X(TIME_32, "times have 32 bits") \
	X(UTIME_NOW_LOST, "UTIME_NOW is 1970") \
	X(BLOCKS_OF_HOLES, "st_blocks counts holes") \
	X(XATTR_CREATE, "XATTR_CREATE is ignored") \
	X(XATTR_REPLACE, "XATTR_REPLACE is ignored") \
	X(XATTR_SHORT, "values of attributes end after 4096 bytes") \
	X(XATTR_KEPT, "removexattr removes nothing") \
	X(XATTR_UNLISTED, "listxattr does not list the last") \
	X(TRUSTED_LISTED, "everybody sees trusted.") \
	X(IMMUTABLE_WRITES, "what is immutable can be written") \
	X(IMMUTABLE_GOES, "what is immutable can be changed, renamed and removed") \
	X(APPEND_ONLY_WRITES, "what is append-only can be overwritten") \
	X(APPEND_DIR_LOSES, "what is in an append-only directory can be removed") \
	X(UMASK_IGNORED, "the umask is ignored") \
	X(ACL_MASK, "the mask of an ACL is no mask") \
	X(ACL_CHMOD, "chmod leaves the ACL") \
	X(ACL_MODE, "an ACL leaves the mode") \
	X(ACL_INHERIT, "a default ACL is not inherited") \
	X(ACL_INHERIT_DIR, "a new directory has no default ACL") \
	X(ACL_UMASK, "the umask counts beside a default ACL") \
	X(ACL_MINIMAL, "an ACL that says no more than the mode stays") \
	X(ACL_SETGID, "an ACL leaves S_ISGID of a strange group") \
	X(ACL_UNSEEN, "a mount goes on saying that there is no ACL") \
	X(STATFS_FULL, "statfs says that everything is free") \
	/* Locks. */ \
	X(LOCK_CLOSE_KEEPS, "close(2) leaves the locks of its process") \
	X(LOCK_LAST_KEEPS, "the last close(2) leaves the locks of its description") \
	X(LOCK_SPLIT_SHORT, "what is behind a range that is given back goes too") \
	X(LOCK_READERS_ALONE, "locks for reading exclude each other") \
	X(LOCK_OFD_CYCLES, "deadlocks of descriptions are found") \
	X(FLOCK_KEPT, "a flock that cannot become one for writing stays") \
	/* Contents. */ \
	X(APPEND_IGNORED, "O_APPEND writes at the start") \
	X(APPEND_HINT, "O_APPEND writes where this mount saw the end") \
	X(OLD_SIZE, "a read ends where this mount saw the end") \
	X(APPEND_SIZE, "the size after an append is one too small") \
	X(OPEN_TRUNC_IGNORED, "O_TRUNC is ignored") \
	X(TRUNCATE_STALE, "what truncate cut off comes back") \
	X(TRUNCATE_EXTENT, "truncate forgets the rest of the last block") \
	X(HOLE_NOT_ZERO, "holes are not zero") \
	X(PATCH_LOST, "a write of less than a block is lost") \
	X(SECOND_CHUNK_LOST, "what a write has in the second chunk is lost") \
	X(FAR_WRAPS, "offsets of files have 34 bits") \
	X(READ_PAST_END, "a read does not end at the end") \
	X(SEEK_HOLE, "SEEK_HOLE finds the end only") \
	X(SEEK_DATA, "SEEK_DATA finds data in holes") \
	X(PUNCH_NOTHING, "punching and zeroing change nothing") \
	X(KEEP_SIZE_IGNORED, "FALLOC_FL_KEEP_SIZE is ignored") \
	X(ALLOCATE_SHORT, "fallocate does not change the size")

/* Of what mounts have cached: the coherence suite's (tests/sys/coherence/breaks). */
#define CFS_BREAK_COHERENCE_TABLE(X) \
	X(STALE_ATTR, "a mount keeps attributes for 10 s") \
	X(STALE_ENTRY, "a mount keeps names for 10 s") \
	X(STALE_ALL, "a mount keeps names, that there are none, and attributes for 10 s") \
	X(STALE_GONE, "a mount keeps for 10 s that there is no such name") \
	X(STALE_PAGES, "a mount keeps pages")
/* Of leases (doc/design/leases.md): the coherence suite notices the first. */
#define CFS_BREAK_LEASE_TABLE(X) \
	X(NO_RECALL, "a change recalls no lease") \
	X(GRANT_DURING_RECALL, "a lease is given while it is recalled") \
	X(NO_CHECK_AT_COMMIT, "nobody looks for leases again before the record") \
	X(READ_WHILE_WRITTEN, "a read does not ask for what somebody has to himself") \
	X(OWN_LEASE_EXEMPT, "a shared lease is not in its own holder's way") \
	X(NO_GRANT_NUMBER, "a reply that a recall overtook is kept") \
	X(ANSWER_UNNAMED, "an answer gives back a lease that is newer than its recall") \
	X(NO_SESSION_STOP, "a client goes on with leases after its session's time") \
	X(NO_SESSION_BEGUN, "a session is known after a restart only if a shard holds something") \
	X(NO_SESSION_OVER, "after a crash a session that has ended in part is let in") \
	X(NO_LOCK_CHECK, "what was begun under a lock that is lost is carried out all the same") \
	X(REFUSED_AGAIN, "a late copy of what was refused may run") \
	X(NO_REFUSE, "requests of an ended session are carried out") \
	X(RELEASE_EARLY, "a session ends before its time")

enum cfs_break {
	CFS_BREAK_NONE,
#define X(name, what) CFS_BREAK_##name,
	CFS_BREAK_TX_TABLE(X) CFS_BREAK_LEASE_TABLE(X) CFS_BREAK_POSIX_TABLE(X)
		CFS_BREAK_COHERENCE_TABLE(X)
#undef X
			CFS_BREAK_COUNT
};

#ifdef CFS_BREAKS
extern uint32_t cfs_break_now; /* the one that is out */
#define CFS_BREAK(name) (cfs_break_now == CFS_BREAK_##name)
/* By name; false: there is none of that name. The variable CFS_BREAK of the environment does the
 * same when a program starts; "?" lists the POSIX suite's. */
bool cfs_break_set(const char *name);
#else
#define CFS_BREAK(name) false
#endif

#endif
