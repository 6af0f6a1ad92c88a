/*
 * A shard: one log of records, the tables that follow from it, and the answers that make requests
 * exactly once (doc/design/shard.md). Two *parts* hold the tables: meta (namespace) and data
 * (chunks); this layer holds what both share.
 *
 * A change, in its request's fiber on the shard's core:
 *   - wait for what may wait (room in the store, keys that a transaction holds, data on its way to
 * the device);
 *   - then, without suspending: check against the tables, fill in the reply, build items,
 *     cfs_shard_commit() = place + apply;
 *   - answer. An answer leaves only after its record is placed.
 * So tables never show what is not placed, and no lock is needed between local changes. What must
 * hold over an await (a transaction's keys, a file that is truncated or grows) has fiber locks of
 * its own in the part.
 */
#ifndef CFS_REPL_SHARD_H
#define CFS_REPL_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"
#include "proto/msg.h"
#include "proto/place.h"
#include "repl/item.h"
#include "repl/sessions.h"
#include "store/store.h"

struct cfs_shard;

/* What a shard needs of its node, one a core. The node's server fills it in; the simulator the same
 * one. */
struct cfs_shard_env {
	void *ctx;
	struct cfs_sipkey place_key;
	uint32_t shards;
	uint64_t drops_pending;   /* removed files whose chunks are still to go (meta/file.h) */
	uint64_t patch_max_bytes; /* memory for small writes on this core; 0: 64 MiB */
	void *data_core;          /* the data part's, shared by the core's shards; NULL at first */
	/* The endpoint that call() uses: a region for @req's bulk fields is opened on it. NULL:
	 * only payloads that fit a message can be sent. */
	struct cfs_net *net;
	/* Sends @req to @shard wherever it is and waits for its reply; tries again over disconnects
	 * and restarts with the same sequence (the node's session), so a change runs once. 0: a
	 * reply came, its rc is in it; -ECANCELED: we are stopping. A @req with sess set is a
	 * client's that is passed on, and goes under that session and sequence. */
	CFS_AWAITS int (*call)(void *ctx, uint32_t shard, struct cfs_msg *req,
			       struct cfs_net_reply *out);
	/* Flushes what every store of the node holds now (all shards that records may rest on). 0;
	 * -EIO. */
	CFS_AWAITS int (*sync_all)(void *ctx);
	/* What the node's stores could still take; NULL: nobody knows. */
	CFS_AWAITS uint64_t (*free_bytes)(void *ctx);
	/*
	 * Asks a client to let go of @ino; it answers by the part's recalled() with @stamp, or its
	 * session ends. -ENOENT: nobody knows the session. NULL: there are no leases.
	 */
	int (*recall)(void *ctx, uint64_t session, uint32_t shard, uint64_t ino, uint64_t stamp);
	/* Whether a session lives. NULL: all do. */
	bool (*knows)(void *ctx, uint64_t session);
	uint64_t quiet_until_ns; /* until then nothing changes: clients may have leases that a power
				    cut took from us; 0: they have none */
	/* Hybrid time: later than every time seen, at most 1 s ahead of the wall clock. */
	uint64_t (*hlc_now)(void *ctx);
	/* The stable tick, as in store.h. */
	uint64_t (*tick_now)(void *ctx);
	uint64_t (*tick_stable)(void *ctx);
};

/* Where a record is: for deps and for chunk versions. */
struct cfs_shard_pos {
	uint64_t epoch, index;
};

/* A request in work. The part's handler fills @reply (op, fields) or returns a negative code. */
struct cfs_shard_request {
	struct cfs_shard *shard;
	const struct cfs_msg *msg;
	struct cfs_net_call *call; /* for bulk; NULL for calls that a part makes to itself */
	struct cfs_msg reply;
	struct cfs_buf *reply_buf;             /* taken; holds bytes that @reply points to */
	uint8_t scratch[CFS_ANSWER_BYTES_MAX]; /* small bytes that @reply points to (attr) */
	bool is_committed;                     /* a record with this request's answer was placed */
};

/*
 * A write to a chunk of this shard in three steps, so that the part that holds the inode can place
 * it in the same record as the new size. begin() checks, waits for room, and writes what is large;
 * items() never suspends: it adds the write to the record that is committed next; end() always,
 * after begin() returned 0.
 */
struct cfs_chunk_write {
	uint64_t ino, cut, chunk; /* as CHUNK_WRITE says them */
	uint32_t off_bytes, len_bytes;
	const uint8_t *data; /* borrowed until end() */
	const uint8_t *crcs; /* cfs_le32 of each whole block, checked; NULL: computed */
	uint32_t crc_count;
	uint32_t extra_bytes; /* room in the record for items of the caller's */
	int64_t blocks;       /* out, of items(): by how many 512-byte units the file grows */
	void *private;
};

/*
 * A part of a chunk of one file becomes that of another file's chunk of the same number in the same
 * shard, in three steps like a write: whole blocks are shared, what is left at the ends is copied,
 * holes become holes. One record holds it.
 */
struct cfs_chunk_clone {
	uint64_t ino, cut;   /* of the file that changes */
	uint64_t ino2, cut2; /* of the other */
	uint64_t chunk;
	uint32_t off_bytes, len_bytes;
	uint32_t extra_bytes; /* room in the record for items of the caller's */
	int64_t blocks;       /* out, of items() */
	void *private;
};

/* What the part that holds chunks lets another part put in its records. */
struct cfs_chunk_ops {
	/* 0; -EINVAL; -CFS_EBAD_CHECKSUM: nothing was stored; -CFS_EOLD_CUT; -ENOSPC; -EIO;
	 * -ENOMEM; -ETIMEDOUT; -ECANCELED. */
	CFS_AWAITS int (*begin)(void *part, struct cfs_chunk_write *w);
	int (*items)(void *part, struct cfs_chunk_write *w,
		     struct cfs_items *it); /* -CFS_EOLD_CUT */
	void (*end)(void *part, struct cfs_chunk_write *w);
	/* 0; -EINVAL; -CFS_EOLD_CUT: of one of the files; -EXDEV: the blocks have too many owners,
	 * copy them; -ENOSPC; -EIO; -ENOMEM; -ETIMEDOUT; -ECANCELED. items() says -EAGAIN when the
	 * other file has changed since, -CFS_EOLD_CUT, -EXDEV. */
	CFS_AWAITS int (*clone_begin)(void *part, struct cfs_chunk_clone *c);
	int (*clone_items)(void *part, struct cfs_chunk_clone *c, struct cfs_items *it);
	void (*clone_end)(void *part, struct cfs_chunk_clone *c);
	/* Adds what trims or drops all of a file that is in this shard (CFS_CHUNK_ITEM_BYTES of
	 * room); drop adds nothing where nothing is. trim: by how much st_blocks changes. Never
	 * suspend. */
	int64_t (*trim)(void *part, uint64_t ino, uint64_t size, uint64_t cut,
			struct cfs_items *it);
	void (*drop)(void *part, uint64_t ino, struct cfs_items *it);
};
#define CFS_CHUNK_ITEM_BYTES 64u

struct cfs_shard_part_ops {
	const char *name;
	uint8_t kind_first, kind_last; /* items */
	uint16_t op_first, op_last;    /* requests */
	uint16_t op2_first, op2_last;  /* a second range, or 0 */
	int (*create)(struct cfs_shard *sh, void **part_out);
	void (*destroy)(void *part);
	/* Applies one item. @pos: of its record ({0, 0} in a checkpoint); @is_load: from a
	 * checkpoint or at recovery. -CFS_EBAD_FORMAT: the record is corrupt. Never suspends. */
	int (*apply)(void *part, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		     bool is_load);
	/* Lists data blocks that an item names; NULL: none does. Count, or -CFS_EBAD_FORMAT. No
	 * part is needed. */
	int (*refs)(const struct cfs_item *item, struct cfs_block_ref *out, uint32_t max);
	/* Writes all its tables as items through cfs_shard_checkpoint_add(), which may suspend;
	 * what changes meanwhile is in records after the begin. */
	CFS_AWAITS int (*checkpoint)(void *part, struct cfs_checkpoint *c);
	/* Once all shards of the node serve: finish what was under way (intentions, undecided
	 * transactions, orphans). Starts fibers in the shard's group. */
	CFS_AWAITS int (*resume)(void *part);
	/* Serves a request. 0 with rq->reply filled in, or a negative code that becomes the reply's
	 * rc. */
	CFS_AWAITS int (*serve)(void *part, struct cfs_shard_request *rq);
	/* Checks invariants of all tables (fsck, tests): calls @report for each finding. */
	void (*check)(void *part, void (*report)(void *ctx, const char *what), void *ctx);
	/* A session has ended: drop what it held open. May place records. */
	CFS_AWAITS void (*session_end)(void *part, uint64_t session);
	/* What a session has here that ends with the record of its end, beside its answers: whether
	 * there is any, and that record applied, at a load too. NULL: nothing. */
	bool (*has_session)(const void *part, uint64_t session);
	void (*session_gone)(void *part, uint64_t session);
	/* A client has let go of @ino: env's recall() with @stamp and all before. */
	void (*recalled)(void *part, uint64_t session, uint64_t ino, uint64_t stamp);
	const struct cfs_chunk_ops *chunks; /* of the part that holds them; else NULL */
	/* A file was read, of which the chunk was in this shard: sees to its access time, if the
	 * inode is here too. Of the part that holds inodes; else NULL. */
	CFS_AWAITS void (*accessed)(void *part, uint64_t ino, uint64_t session);
};

#define CFS_SHARD_PARTS 2 /* 0: meta, 1: data */

struct cfs_shard {
	uint32_t id;
	uint64_t epoch; /* shard epoch: new records carry it */
	uint64_t index; /* of the last record placed and applied; 0: none */
	struct cfs_store *store;
	struct cfs_shard_env *env;
	struct cfs_group fibers; /* background work of this shard */
	bool is_serving; /* set by the node once recovery is done; until then requests wait */
	uint64_t used_bytes, used_records; /* of reservations that are still to be given back */
	const struct cfs_shard_part_ops *ops[CFS_SHARD_PARTS];
	void *part[CFS_SHARD_PARTS];
	struct cfs_answers *answers;
	struct cfs_sessions sessions; /* of shard 0 */
	/* CFS_RECORD_BYTES_MAX, for building items where nothing suspends; shared by the core's
	 * shards */
	uint8_t *scratch;
};

/* Room in a record that cfs_shard_items() keeps for the answer. */
#define CFS_SHARD_ANSWER_ROOM 512u
/* The most that the items of one record may take. */
#define CFS_SHARD_ITEMS_MAX (CFS_RECORD_BYTES_MAX - CFS_SHARD_ANSWER_ROOM)

/*
 * Creates an empty shard on the calling core, in epoch 0: set epoch before it serves. @env and
 * @scratch are borrowed; a part whose ops are NULL is not there. 0; -ENOMEM.
 */
int cfs_shard_create(uint32_t id, struct cfs_store *store, struct cfs_shard_env *env,
		     uint8_t *scratch, const struct cfs_shard_part_ops *meta,
		     const struct cfs_shard_part_ops *data, struct cfs_shard **out);
CFS_AWAITS void cfs_shard_destroy(struct cfs_shard *sh); /* cancels and joins its fibers */

/*
 * Recovery: what the store hands out. refs needs only the parts' ops (in order of CFS_SHARD_PARTS),
 * so it works before there is a shard. A load returns 0; -CFS_EBAD_FORMAT, -CFS_EBAD_VERSION;
 * -ENOMEM.
 */
int cfs_shard_refs(const struct cfs_shard_part_ops *const ops[CFS_SHARD_PARTS],
		   const struct cfs_record *r, struct cfs_block_ref *out, uint32_t max);
int cfs_shard_load_checkpoint(struct cfs_shard *sh, const uint8_t *data, uint32_t len_bytes);
int cfs_shard_load_record(struct cfs_shard *sh, const struct cfs_record *r);
/* All parts' resume(). May be called before is_serving is set: what needs other shards runs in
 * fibers. */
CFS_AWAITS int cfs_shard_resume(struct cfs_shard *sh);

/* The store's checkpoint callback, for this shard. */
CFS_AWAITS int cfs_shard_checkpoint(struct cfs_shard *sh);
CFS_AWAITS int cfs_shard_checkpoint_add(struct cfs_checkpoint *c, uint8_t kind, const void *data,
					uint32_t len_bytes);

/*
 * Serves @call: exactly once for changes (a kept answer is sent again, a repeated request waits for
 * the first, one below the session's floor is refused), then the part's serve(), then the reply.
 * Always replies. A reply carries the shard's epoch and the hybrid time, that to a change the index
 * of its record; epoch and index are the record's also when a kept answer is sent again.
 */
CFS_AWAITS void cfs_shard_serve(struct cfs_shard *sh, struct cfs_net_call *call);
/*
 * The same for a request of this core's own, without a transport: @rq->msg is set by the caller,
 * the rest is cleared here; @rq->reply holds the reply on return, with rc set when it was refused.
 * Byte fields of a kept answer point into @rq->scratch. The caller puts @rq->reply_buf.
 */
CFS_AWAITS void cfs_shard_serve_local(struct cfs_shard *sh, struct cfs_shard_request *rq);
/*
 * Of shard 0: writes down that a session has begun, or, and that is flushed, that it is over,
 * before any other shard is told. 0; -ENOMEM; errors of the store.
 */
CFS_AWAITS int cfs_shard_session_note(struct cfs_shard *sh, uint64_t session, bool is_over);
/* A session has ended: the parts drop what it held, its answers go. */
CFS_AWAITS void cfs_shard_session_end(struct cfs_shard *sh, uint64_t session);
/* A client has answered a recall. */
void cfs_shard_recalled(struct cfs_shard *sh, uint64_t session, uint64_t ino, uint64_t stamp);
/* Every session that an answer is kept for, once: after a load nobody else knows them. */
void cfs_shard_sessions(const struct cfs_shard *sh, void (*fn)(void *ctx, uint64_t session),
			void *ctx);
/* Checks invariants of all tables. */
void cfs_shard_check(struct cfs_shard *sh, void (*report)(void *ctx, const char *what), void *ctx);

/* Starts a list of items in the shard's scratch. From here to cfs_shard_commit() nothing may
 * suspend. */
void cfs_shard_items(struct cfs_shard *sh, struct cfs_items *it);
/*
 * What a request says that its record rests on, at most CFS_RECORD_DEPS_MAX. Records of an earlier
 * start are left out: those that are there were flushed before anybody served, and one that a power
 * cut took has its index used again, for another. 0; -EINVAL.
 */
int cfs_shard_deps(const struct cfs_shard *sh, const struct cfs_msg *m, struct cfs_record_dep *deps,
		   uint32_t *count_out);

/*
 * Places @it as the next record and applies it. With @rq (of a change): its (session, sequence) and
 * its reply as filled in so far are kept as the answer, in the same record, and that is what will
 * be sent.
 * @deps: what it rests on. The reservation was made before. Returns where it is. Never suspends.
 */
struct cfs_shard_pos cfs_shard_commit(struct cfs_shard *sh, struct cfs_items *it,
				      const struct cfs_record_dep *deps, uint32_t dep_count,
				      struct cfs_shard_request *rq);
/* Whether @session (0: nobody's, UINT64_MAX: all) has ended, so that nothing of it may be placed
 * any more. To be asked where nothing suspends before the record. */
static inline bool cfs_shard_has_ended(const struct cfs_shard *sh, uint64_t session)
{
	return session != 0 && session != UINT64_MAX && sh->env->knows &&
	       !sh->env->knows(sh->env->ctx, session);
}
/*
 * Room for one record of up to @bytes of items (and an answer); may wait. @is_freeing as in
 * store.h. Each successful reserve is followed by one unreserve with the same arguments, whether a
 * record was placed or not: what records took is known here. Returns 0; -ENOSPC; -EIO; -ETIMEDOUT;
 * -ECANCELED.
 */
CFS_AWAITS int cfs_shard_reserve(struct cfs_shard *sh, uint32_t bytes, bool is_freeing);
void cfs_shard_unreserve(struct cfs_shard *sh, uint32_t bytes, bool is_freeing);
/* Applies a nested list of items (a prepared transaction that commits). */
int cfs_shard_apply_items(struct cfs_shard *sh, const uint8_t *items, uint32_t len_bytes,
			  const struct cfs_shard_pos *pos, bool is_load);

#endif
