/* What the client's files share: its state, calls with retry, and the open files' hints. */
#ifndef CFS_CLIENT_CLIENT_INTERNAL_H
#define CFS_CLIENT_CLIENT_INTERNAL_H

#include "base/buf.h"
#include "base/reactor.h"
#include "base/util.h"
#include "client/client.h"
#include "proto/place.h"

#define CFS_CLIENT_SEQ_WINDOW \
	2048u /* newest minus oldest unanswered change: servers keep answers that far */
#define CFS_CLIENT_BACKOFF_MIN_NS (1000ull * 1000)
#define CFS_CLIENT_BACKOFF_MAX_NS (500ull * 1000 * 1000)
#define CFS_CLIENT_HELLO_NS (2000ull * 1000 * 1000) /* one try to connect */
#define CFS_CLIENT_LIFE_MIN_NS (100ull * 1000 * 1000)
#define CFS_CLIENT_LIFE_NS (30000ull * 1000 * 1000) /* of a session, until a server says */
#define CFS_CLIENT_CUT_TRIES 64u /* a file truncated more often during one call is an error */
#define CFS_CLIENT_WALK_TRIES 8u /* a name that changes its inode under a lookup */
#define CFS_CLIENT_CRC_TRIES 2u
#define CFS_CLIENT_BAD_REPLY_TRIES 8u
#define CFS_CLIENT_CRCS_MAX (CFS_IO_BYTES_MAX / CFS_BLOCK_BYTES)
#define CFS_CLIENT_OPEN_FLAGS (CFS_F_TRUNC | CFS_F_KILLPRIV | CFS_F_WRITE | CFS_F_APPEND)
#define CFS_CLIENT_LOCK_WAITS_MAX 16u /* held by servers, of 64 credits of a connection */
#define CFS_CLIENT_LOCK_HOLD_MS 2000u
#define CFS_CLIENT_LOCK_POLL_NS (200ull * 1000 * 1000)
#define CFS_CLIENT_PIECES_MAX 2u /* chunks that CFS_IO_BYTES_MAX bytes can touch */

struct cfs_client_peer {
	struct cfs_list link;
	struct cfs_net_peer *net;
	char addr[CFS_NET_ADDR_BYTES];
	uint32_t refs; /* calls under way, and places in the map */
};

/* What the client knows of a file while somebody uses it. */
struct cfs_client_file {
	struct cfs_client_file *next; /* in its bucket */
	uint64_t ino;
	uint32_t refs; /* opens and operations under way */
	uint32_t opens, writes;
	bool has_hint;
	bool is_guarded; /* its inode flags may forbid writes: the inode's shard is asked each time
			  */
	bool is_read_unsaid; /* read where the inode's shard did not hear of it */
	uint64_t size, cut, seed;
	int64_t atime, changed; /* ns; changed: mtime or ctime, whatever is later */
	/* The record that made it as long as it is, while it may not be stable: what is written
	 * inside rests on it, or a power cut could leave data where nobody looks for any. */
	uint64_t grown_epoch, grown_index, grown_until_ns;
};
#define CFS_CLIENT_GROWN_NS 10000000000ull /* a store is flushed every second */

struct cfs_client_files {
	struct cfs_client_file **buckets;
	uint32_t bucket_count; /* a power of two */
	uint32_t count;
};

/* One chunk's part of a read or write; pooled, as it is too large for a stack. */
struct cfs_client_piece {
	struct cfs_list link;
	struct cfs_client_op *op;
	struct cfs_client_file *file;
	struct cfs_msg req;
	struct cfs_net_reply reply;
	uint32_t shard;
	uint32_t off_bytes, len_bytes; /* within the chunk */
	uint64_t chunk, cut;
	uint8_t *data;
	int rc;
	uint8_t crcs[CFS_CLIENT_CRCS_MAX * 4];
};

struct cfs_client {
	char addrs[CFS_CLIENT_ADDRS_MAX][CFS_NET_ADDR_BYTES];
	uint32_t addr_count;
	uint64_t wait_ns;
	struct cfs_net *net;
	struct cfs_list peers;

	struct cfs_map map;
	bool has_map;
	uint64_t map_gen; /* counts HELLOs that were answered */
	struct cfs_client_peer *core_peer[CFS_CORES_MAX];

	uint64_t session, next_seq, hlc;
	bool is_new; /* the session: no server knows it yet */
	uint64_t life_ns;
	uint64_t renewed_ns; /* when the last renewal was sent that was answered */
	uint64_t *floors;    /* [map.shards]: stamps below are overtaken */
	uint32_t floor_count;
	bool is_watched[CFS_CORES_MAX]; /* a fiber of lease.c is there */
	void (*recall)(void *ctx, uint64_t ino);
	void (*recall_all)(void *ctx);
	void (*let_go)(void *ctx, struct cfs_client_op *op, uint64_t ino);
	void (*evicted)(void *ctx);
	void *recall_ctx;
	struct cfs_list changes; /* unanswered ones in order of their sequence */
	uint32_t lock_waits;     /* LOCK_WAITs that a server holds */
	uint32_t floor_waiters;  /* operations that wait for the oldest change to be answered */

	struct cfs_group fibers;
	struct cfs_list waiters; /* operations that wait for a server */
	bool is_connecting, is_lost, is_closing;

	struct cfs_client_files files;
	struct cfs_list pieces_free;
	struct cfs_client_stats stats;
};

/* --- call.c --- */

/*
 * Sends @req to @shard and waits for its answer, as long as it takes. Returns the answer's rc; @out
 * holds the answer whenever one came and is for the caller to end (zero it before).
 */
CFS_AWAITS int cfs_client_call(struct cfs_client_op *op, uint32_t shard, struct cfs_msg *req,
			       struct cfs_net_reply *out);
void cfs_client_request(struct cfs_msg *req, uint16_t op, uint64_t ino);
int cfs_client_reply_attr(const struct cfs_net_reply *r, struct cfs_attr *attr_out);

/* --- name.c --- */

/* cfs_client_getattr() on behalf of a read: sees to the access time too. */
CFS_AWAITS int cfs_client_getattr_read(struct cfs_client_op *op, uint64_t ino,
				       struct cfs_attr *attr_out);

/* --- connect.c --- */

/* Reads the map from whoever answers. 0; the last error. */
CFS_AWAITS int cfs_client_connect_once(struct cfs_client *c);
/* Waits until the map was read again after it was at @gen. 0; -EINTR; -ETIMEDOUT; -ECANCELED. */
CFS_AWAITS int cfs_client_wait_map(struct cfs_client_op *op, uint64_t gen, uint64_t give_up_ns);
/* Waits until it may be that the floor has moved. 0; -EINTR; -ETIMEDOUT; -ECANCELED. */
CFS_AWAITS int cfs_client_wait_floor(struct cfs_client_op *op);
void cfs_client_wake_floor(struct cfs_client *c);
/* Waits until @until_ns. 0; -EINTR; -ETIMEDOUT: the fiber's own deadline passed; -ECANCELED. */
CFS_AWAITS int cfs_client_op_sleep(struct cfs_client_op *op, uint64_t until_ns);
/* Ends @session, by whichever core hears of it first. */
CFS_AWAITS void cfs_client_bye(struct cfs_client *c, uint64_t session);
void cfs_client_peer_put(struct cfs_client_peer *p);
CFS_AWAITS void cfs_client_peers_close(struct cfs_client *c, bool is_all);
void cfs_client_map_fini(struct cfs_client *c);

/* --- lease.c --- */

/* Each core of the map is watched. 0; -ENOMEM. */
int cfs_client_watch_cores(struct cfs_client *c);
/* A server does not know the session: another one begins, nothing is kept. Like the next one it
 * does not wait: what is being dropped may be read just now, by who waits for the new map. */
void cfs_client_evicted(struct cfs_client *c);
/* Another session number; nobody knew the last one. */
void cfs_client_session_new(struct cfs_client *c);
/* The new session is known: files are opened in it. */
int cfs_client_reopen_start(struct cfs_client *c);
/* Servers have lost what they knew of leases: nothing is kept. */
void cfs_client_leases_doubt(struct cfs_client *c);
/* Before a request, and after its answer. */
void cfs_client_lease_ask(const struct cfs_client_op *op, struct cfs_msg *req);
void cfs_client_lease_take(struct cfs_client_op *op, uint32_t shard, const struct cfs_msg *req,
			   const struct cfs_msg *reply);

/* --- files.c --- */

int cfs_client_files_init(struct cfs_client_files *t);
void cfs_client_files_fini(struct cfs_client_files *t);
/* NULL: nobody uses it. */
struct cfs_client_file *cfs_client_file_find(struct cfs_client *c, uint64_t ino);
/* Takes a reference, to be given back with cfs_client_file_put(). 0; -ENOMEM. */
int cfs_client_file_get(struct cfs_client *c, uint64_t ino, struct cfs_client_file **out);
void cfs_client_file_put(struct cfs_client *c, struct cfs_client_file *f);
/* Nothing is known of any file any more: the servers started anew, perhaps without their last. */
void cfs_client_files_doubt(struct cfs_client *c);
/* Takes over what a reply says, unless something newer is known. */
void cfs_client_file_learn(struct cfs_client_file *f, uint64_t size, uint64_t cut, uint64_t seed);
/* The same of all that attributes say, of which times only help to guess. */
void cfs_client_file_learn_attr(struct cfs_client_file *f, const struct cfs_attr *attr);
void cfs_client_learn_attr(struct cfs_client *c, const struct cfs_attr *attr);
/* @reply of a change may have made the file longer than @old_size, which it had before that was
 * learnt. */
void cfs_client_file_grew(struct cfs_client_file *f, uint64_t old_size,
			  const struct cfs_msg *reply);
/* The same in one, from attributes: of a change's reply. */
void cfs_client_learn_change(struct cfs_client *c, const struct cfs_attr *attr,
			     const struct cfs_msg *reply);

/* --- file.c --- */

/* Asks for the attributes; what is known of @f is theirs then. @is_for_read: bytes are about to be
 * read. -EISDIR, -EINVAL: no regular file. */
CFS_AWAITS int cfs_client_file_refresh(struct cfs_client_op *op, struct cfs_client_file *f,
				       bool is_for_read);

#endif
