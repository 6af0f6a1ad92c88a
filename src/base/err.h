/*
 * Errors: negative errno values, and our own codes where errno cannot say it. Inner code tests the
 * exact code; the edges translate once with cfs_err_class().
 */
#ifndef CFS_BASE_ERR_H
#define CFS_BASE_ERR_H

#define CFS_ERR_BASE 1024

/* X(name, number, errno class for the outside, text). Numbers are on the wire: never reused. */
#define CFS_ERR_TABLE(X) \
	X(BAD_CHECKSUM, 1025, EIO, "stored checksum does not match") \
	X(BAD_FORMAT, 1026, EIO, "bytes do not decode") \
	X(BAD_VERSION, 1027, EPROTONOSUPPORT, "format or protocol version not supported") \
	X(NOT_A_STORE, 1028, EINVAL, "not a ClaudeFS store") \
	X(STORE_BUSY, 1029, EBUSY, "store is in use by another process") \
	X(NOT_HERE, 1030, EAGAIN, "shard is not served here; read the map again") \
	X(OLD_EPOCH, 1031, EAGAIN, "request is of an older shard epoch") \
	X(BUSY_TX, 1032, EAGAIN, "a transaction holds what this one needs") \
	X(OLD_CUT, 1033, EAGAIN, "file was truncated since; read its cut again") \
	X(DISCONNECTED, 1034, EAGAIN, "connection lost; the request may or may not have run") \
	X(OLD_SEQUENCE, 1035, EIO, "request is below the session's oldest unanswered one") \
	X(NO_SESSION, 1036, EIO, "session is not known or has ended") \
	X(AGAIN_LATER, 1038, EAGAIN, "not now; try again") \
	X(LEASED, 1039, EAGAIN, "a lease is in the way")

enum {
#define X(name, number, class, text) CFS_E##name = number,
	CFS_ERR_TABLE(X)
#undef X
};

/* Name of a negative code, "EIO" or "BAD_CHECKSUM"; never NULL. 0 is "OK". */
const char *cfs_err_name(int rc);
/* Its text, as strerror(3) would say it. */
const char *cfs_err_text(int rc);
/* The negative errno that the outside sees; 0 and counts pass through. */
int cfs_err_class(int rc);

#endif
