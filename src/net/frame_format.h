/*
 * Frames: what goes over a fabric (doc/format/message.md). A frame is a header and a body; the body
 * of MSG is a message with checksums of its own, the others are below. Connections are numbered by
 * each side at random: who does not know the number cannot speak on one.
 */
#ifndef CFS_NET_FRAME_FORMAT_H
#define CFS_NET_FRAME_FORMAT_H

#include <assert.h>

#include "base/endian.h"

#define CFS_FRAME_MAGIC 0x46534643u /* "CFSF" */
#define CFS_FRAME_VERSION 1u
#define CFS_FRAME_HEADER_BYTES 32u
#define CFS_FRAME_ADDR_BYTES 64u

enum cfs_frame_kind {
	CFS_FRAME_CONNECT =
		1, /* hello; also asks whether the other side is alive and has got everything */
	CFS_FRAME_ACCEPT = 2, /* hello; the answer */
	CFS_FRAME_MSG = 3,    /* a message of proto */
	CFS_FRAME_FENCE = 4,  /* xid: end the RMA of that request, begin no more */
	CFS_FRAME_FENCED = 5, /* xid: done */
	CFS_FRAME_CLOSE = 6,  /* the connection is over, or is not known */
};

struct cfs_frame_header {
	cfs_le32 magic;   /* CFS_FRAME_MAGIC */
	cfs_le16 version; /* CFS_FRAME_VERSION; anything else is refused */
	cfs_le16 kind;
	cfs_le64 conn; /* the receiver's number of the connection; 0 in a first CONNECT */
	cfs_le32 seq;  /* MSG, FENCE, FENCED: counted by the sender, from 0; else 0 */
	cfs_le32 body_bytes;
	cfs_le32 reserved; /* written 0, verified 0 */
	cfs_le32 crc;      /* CRC32C of the header up to here and, but for MSG, of the body */
} CFS_PACKED;
static_assert(sizeof(struct cfs_frame_header) == CFS_FRAME_HEADER_BYTES, "a frame has 32 bytes");

struct cfs_frame_hello {
	cfs_le64 conn;     /* the sender's number of the connection */
	cfs_le64 instance; /* of the sender's endpoint: after a restart it is another */
	cfs_le32 credits;  /* requests in flight: wanted, granted */
	cfs_le32 sent;     /* counted frames sent over this connection */
	cfs_le32 arrived;  /* all of the other side's below this one have arrived */
	cfs_le32 addr_bytes;
	uint8_t addr[CFS_FRAME_ADDR_BYTES]; /* the sender's, as its fabric has it */
} CFS_PACKED;
static_assert(sizeof(struct cfs_frame_hello) == 96, "a hello has 96 bytes");

struct cfs_frame_xid {
	cfs_le64 xid;
} CFS_PACKED;
static_assert(sizeof(struct cfs_frame_xid) == 8, "a fence has 8 bytes");

#endif
