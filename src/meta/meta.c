/*
 * The meta part as the shard layer sees it: items applied, requests handed on, checkpoints, checks.
 *
 * A checkpoint writes the tables as they are while it walks them. What changes meanwhile is in
 * records after its begin and is replayed over it, so items may meet a table that is ahead of them:
 * a directory that is gone already (skipped), a name that has another cookie by now (a later record
 * puts it right). In running none of that can be, and is an error.
 */
#include "meta/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"
#include "meta/file.h"
#include "meta/lease.h"
#include "meta/lock.h"
#include "meta/tx.h"

#define AGAIN_ROUNDS_MAX 200u
#define AGAIN_SLEEP_NS (500ull * 1000)
#define AGAIN_SLEEP_MAX_NS (20ull * 1000 * 1000)

static int meta_create(struct cfs_shard *sh, void **part_out)
{
	struct cfs_meta *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return -ENOMEM;
	m->shard = sh;
	m->serials.next_block = CFS_INO_ROOT + 1;
	cfs_lock_init(&m->serials.fetch);
	cfs_lock_init(&m->rename);
	cfs_list_init(&m->forwards);
	rc = cfs_tables_init(&m->tables);
	if (rc == 0)
		rc = cfs_tx_table_create(m);
	if (rc == 0)
		rc = cfs_leases_create(m, &m->leases);
	if (rc == 0)
		rc = cfs_file_create(m, &m->files);
	if (rc < 0) {
		cfs_leases_destroy(m->leases);
		cfs_tx_table_destroy(m);
		cfs_tables_fini(&m->tables);
		free(m);
		return rc;
	}
	*part_out = m;
	return 0;
}

static void meta_destroy(void *part)
{
	struct cfs_meta *m = part;

	if (!m)
		return;
	cfs_tx_table_destroy(m);
	cfs_leases_destroy(m->leases);
	cfs_tables_fini(&m->tables);
	cfs_file_destroy(m, m->files);
	cfs_forwards_fini(m);
	free(m);
}

/* --- items --- */

static int apply_inode(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_attr attr;
	struct cfs_inode *i;
	int rc = cfs_attr_decode(item->data, item->len_bytes, &attr);

	if (rc < 0)
		return rc;
	if (!cfs_meta_is_home(m, attr.ino))
		return -CFS_EBAD_FORMAT;
	return cfs_inode_put(&m->tables, &attr, &i);
}

static int apply_set(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_attr_set set;
	struct cfs_attr attr;
	struct cfs_inode *i;
	uint64_t ino;
	int rc = cfs_meta_get_set(item, &ino, &set);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	attr = i->attr;
	cfs_attr_merge(&attr, &set.attr, set.mask);
	return cfs_inode_put(&m->tables, &attr, &i);
}

static int apply_inode_del(struct cfs_meta *m, const struct cfs_item *item)
{
	struct cfs_inode *i;
	struct cfs_bytes rest;
	uint64_t ino;
	int rc = cfs_meta_get_ino(item, &ino, &rest);

	if (rc < 0 || rest.len)
		return -CFS_EBAD_FORMAT;
	i = cfs_inode_find(&m->tables, ino);
	if (i)
		cfs_inode_remove(&m->tables, i);
	cfs_lease_forget(m, ino);
	return 0;
}

static int apply_target(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_inode *i;
	struct cfs_bytes target;
	uint64_t ino;
	int rc = cfs_meta_get_ino(item, &ino, &target);

	if (rc < 0 || target.len > CFS_PATH_BYTES_MAX)
		return -CFS_EBAD_FORMAT;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	if (!S_ISLNK(i->attr.mode))
		return -CFS_EBAD_FORMAT;
	return cfs_inode_set_target(i, target.p, target.len);
}

static int apply_dir_parent(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_inode *i;
	struct cfs_bytes name;
	uint64_t ino, parent;
	int rc = cfs_meta_get_dir_parent(item, &ino, &parent, &name);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	if (!i->dir)
		return -CFS_EBAD_FORMAT;
	i->attr.parent = parent;
	i->dir->name_bytes = name.len;
	memcpy(i->dir->name, name.p, name.len);
	return 0;
}

static int apply_xattr(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_inode *i;
	struct cfs_bytes name, value;
	uint64_t ino;
	int rc = cfs_meta_get_xattr(item, &ino, &name, &value);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	if (item->kind == CFS_META_XATTR)
		return cfs_xattr_put(i, name.p, name.len, value.p, value.len);
	cfs_xattr_remove(i, name.p, name.len);
	return 0;
}

static int apply_open(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_inode *i;
	struct cfs_opens n;
	uint64_t ino, session;
	int rc = cfs_meta_get_open(item, &ino, &session, &n);

	if (rc < 0)
		return rc;
	i = cfs_inode_find(&m->tables, ino);
	if (!i)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	return cfs_inode_set_open(i, session, n);
}

static void dir_touch(struct cfs_inode *dir, uint64_t time_ns)
{
	if (time_ns == 0)
		return;
	dir->attr.mtime = (int64_t)time_ns;
	dir->attr.ctime = (int64_t)time_ns;
}

static int apply_dentry(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_dentry_value v;
	struct cfs_inode *dir;
	uint64_t ino, time;
	int rc = cfs_meta_get_dentry(item, &ino, &v, &time);

	if (rc < 0)
		return rc;
	dir = cfs_inode_find(&m->tables, ino);
	if (!dir)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	rc = cfs_dentry_put(&m->tables, dir, &v, is_load);
	if (rc == 0 && !CFS_BREAK(MTIME_DIR))
		dir_touch(dir, time);
	return rc;
}

static int apply_dentry_del(struct cfs_meta *m, const struct cfs_item *item, bool is_load)
{
	struct cfs_bytes name;
	struct cfs_inode *dir;
	struct cfs_dentry *d;
	uint64_t ino, time;
	int rc = cfs_meta_get_dentry_del(item, &ino, &name, &time);

	if (rc < 0)
		return rc;
	dir = cfs_inode_find(&m->tables, ino);
	if (!dir)
		return is_load ? 0 : -CFS_EBAD_FORMAT;
	if (!dir->dir)
		return -CFS_EBAD_FORMAT;
	d = cfs_dentry_find(&m->tables, dir, name.p, name.len);
	if (d)
		cfs_dentry_remove(&m->tables, d);
	dir_touch(dir, time);
	return 0;
}

static int apply_serials(struct cfs_meta *m, const struct cfs_item *item)
{
	uint64_t next;
	int rc = cfs_meta_get_serials(item, &next);

	if (rc == 0)
		m->serials.next_block = CFS_MAX(m->serials.next_block, next);
	return rc;
}

static int meta_apply(void *part, const struct cfs_item *item, const struct cfs_shard_pos *pos,
		      bool is_load)
{
	struct cfs_meta *m = part;

	if (item->kind >= CFS_META_FILE_FIRST && item->kind <= CFS_META_FILE_LAST)
		return cfs_file_apply(m, item, pos, is_load);
	switch (item->kind) {
	case CFS_META_INODE:
		return apply_inode(m, item);
	case CFS_META_SET:
		return apply_set(m, item, is_load);
	case CFS_META_INODE_DEL:
		return apply_inode_del(m, item);
	case CFS_META_TARGET:
		return apply_target(m, item, is_load);
	case CFS_META_DIR_PARENT:
		return apply_dir_parent(m, item, is_load);
	case CFS_META_XATTR:
	case CFS_META_XATTR_DEL:
		return apply_xattr(m, item, is_load);
	case CFS_META_OPEN:
		return apply_open(m, item, is_load);
	case CFS_META_DENTRY:
		return apply_dentry(m, item, is_load);
	case CFS_META_DENTRY_DEL:
		return apply_dentry_del(m, item, is_load);
	case CFS_META_SERIALS:
		return apply_serials(m, item);
	case CFS_META_LEASE:
		return cfs_lease_apply(m, item);
	case CFS_META_FORWARDED:
		return cfs_forward_apply(m, item);
	case CFS_META_LOCK:
		return cfs_lock_apply(m, item, is_load);
	default:
		return cfs_tx_apply(m, item, pos, is_load);
	}
}

/* --- around a change --- */

static bool is_free(const struct cfs_meta *m, uint64_t session, uint64_t ino)
{
	if (!cfs_meta_is_settled(m, ino) && !CFS_BREAK(NO_DIR_ASK))
		return false;
	return session == CFS_LEASE_SKIP || CFS_BREAK(NO_CHECK_AT_COMMIT) ||
	       !cfs_lease_is_in_way(m, ino, session);
}

static CFS_AWAITS int make_free(struct cfs_meta *m, uint64_t session, uint64_t ino)
{
	int rc = session == CFS_LEASE_SKIP ? 0 : cfs_lease_clear(m, ino, session);

	return rc < 0 || CFS_BREAK(NO_DIR_ASK) ? rc : cfs_meta_settle(m, ino);
}

CFS_AWAITS int cfs_meta_begin(struct cfs_meta *m, uint64_t session, uint64_t ino, uint64_t ino2,
			      uint32_t bytes, bool is_freeing)
{
	int rc;

	for (;;) {
		rc = make_free(m, session, ino);
		if (rc == 0 && ino2)
			rc = make_free(m, session, ino2);
		if (rc == 0)
			rc = cfs_shard_reserve(m->shard, bytes, is_freeing);
		if (rc < 0)
			return rc;
		if (cfs_shard_has_ended(m->shard, session))
			rc = -CFS_ENO_SESSION;
		else if (is_free(m, session, ino) && (!ino2 || is_free(m, session, ino2)))
			return 0;
		cfs_shard_unreserve(m->shard, bytes, is_freeing);
		if (rc < 0)
			return rc;
	}
}

void cfs_meta_end(struct cfs_meta *m, uint32_t bytes, bool is_freeing)
{
	cfs_shard_unreserve(m->shard, bytes, is_freeing);
}

void cfs_meta_reply_attr(struct cfs_shard_request *rq, const struct cfs_attr *attr)
{
	uint64_t index;

	cfs_attr_encode(attr, rq->scratch);
	cfs_msg_set_bytes(&rq->reply, attr, rq->scratch, CFS_ATTR_BYTES);
	/* Who writes inside of a size that a power cut may take back rests on its record. The reply
	 * of a change has an index only when it made one, and its own. */
	if (S_ISREG(attr->mode) && attr->size > CFS_CHUNK_BYTES && !cfs_op_is_change(rq->msg->op) &&
	    cfs_file_unstable_top(cfs_meta_of(rq->shard), attr->ino, &index))
		cfs_msg_set(&rq->reply, index, index);
}

void cfs_meta_kill_cap(const struct cfs_inode *i, struct cfs_items *it)
{
	static const char capability[] = "security.capability";
	const struct cfs_bytes name = { (const uint8_t *)capability, sizeof(capability) - 1 };

	if (i->xattrs && !i->dir && !CFS_BREAK(CAPS_KEPT) && cfs_xattr_find(i, name.p, name.len))
		cfs_meta_add_xattr_del(it, i->attr.ino, name);
}

void cfs_meta_kill_priv(const struct cfs_inode *i, struct cfs_attr_set *set, struct cfs_items *it)
{
	uint32_t mode = set->mask & CFS_A_MODE ? set->attr.mode : i->attr.mode;
	uint32_t kept = mode & ~(uint32_t)S_ISUID;

	if (S_ISDIR(mode))
		return;
	if (mode & S_IXGRP)
		kept &= ~(uint32_t)S_ISGID;
	if (kept != mode) {
		set->mask |= CFS_A_MODE;
		set->attr.mode = kept;
	}
	cfs_meta_kill_cap(i, it);
}

void cfs_meta_add_removal(struct cfs_meta *m, const struct cfs_inode *i, struct cfs_items *it)
{
	if (S_ISREG(i->attr.mode))
		cfs_file_dropped(m, i, it);
	cfs_meta_add_inode_del(it, i->attr.ino);
}

int cfs_meta_check_name(struct cfs_bytes name)
{
	if (name.len == 0 || memchr(name.p, '/', name.len) || memchr(name.p, 0, name.len))
		return -EINVAL;
	if (name.len > CFS_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	return cfs_meta_is_dots(name) ? -EEXIST : 0;
}

CFS_AWAITS int cfs_meta_again(uint32_t round)
{
	if (round >= AGAIN_ROUNDS_MAX)
		return -CFS_EAGAIN_LATER;
	if (round < 2) {
		cfs_fiber_yield();
		return 0;
	}
	return cfs_sleep_ns(CFS_MIN(AGAIN_SLEEP_NS * round, AGAIN_SLEEP_MAX_NS));
}

CFS_AWAITS int cfs_meta_call(struct cfs_meta *m, uint32_t shard, struct cfs_msg *msg,
			     struct cfs_net_reply *out)
{
	struct cfs_shard_env *env = m->shard->env;
	int rc = env->call(env->ctx, shard, msg, out);

	if (rc < 0)
		return rc;
	rc = cfs_msg_is_set(&out->msg, rc) ? (int)out->msg.rc : 0;
	if (rc < 0)
		cfs_net_reply_fini(out);
	return rc;
}

/* --- requests --- */

static CFS_AWAITS int serve_here(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	switch (rq->msg->op) {
	case CFS_OP_LOOKUP:
		return cfs_meta_serve_lookup(m, rq);
	case CFS_OP_GETATTR:
		return cfs_meta_serve_getattr(m, rq);
	case CFS_OP_SETATTR:
		return cfs_meta_serve_setattr(m, rq);
	case CFS_OP_CREATE:
		return cfs_meta_serve_create(m, rq);
	case CFS_OP_MKDIR:
		return cfs_meta_serve_mkdir(m, rq);
	case CFS_OP_UNLINK:
		return cfs_meta_serve_unlink(m, rq);
	case CFS_OP_RMDIR:
		return cfs_meta_serve_rmdir(m, rq);
	case CFS_OP_LINK:
		return cfs_meta_serve_link(m, rq);
	case CFS_OP_READLINK:
		return cfs_meta_serve_readlink(m, rq);
	case CFS_OP_READDIR:
		return cfs_meta_serve_readdir(m, rq);
	case CFS_OP_GETXATTR:
		return cfs_meta_serve_getxattr(m, rq);
	case CFS_OP_SETXATTR:
		return cfs_meta_serve_setxattr(m, rq);
	case CFS_OP_LISTXATTR:
		return cfs_meta_serve_listxattr(m, rq);
	case CFS_OP_REMOVEXATTR:
		return cfs_meta_serve_removexattr(m, rq);
	case CFS_OP_OPEN:
		return cfs_meta_serve_open(m, rq);
	case CFS_OP_RELEASE:
		return cfs_meta_serve_release(m, rq);
	case CFS_OP_PARENT:
		return cfs_meta_serve_parent(m, rq);
	case CFS_OP_LOCK:
		return cfs_meta_serve_lock(m, rq);
	case CFS_OP_LOCK_TEST:
		return cfs_meta_serve_lock_test(m, rq);
	case CFS_OP_LOCK_WAIT:
		return cfs_meta_serve_lock_wait(m, rq);
	case CFS_OP_WRITE:
	case CFS_OP_WROTE:
	case CFS_OP_FALLOCATE:
	case CFS_OP_COPY:
	case CFS_OP_FSYNC:
		return cfs_file_serve(m, rq);
	default:
		return -EOPNOTSUPP;
	}
}

static void ready(struct cfs_meta *m)
{
	if (m->is_ready)
		return;
	cfs_tx_ready(m);
	m->is_ready = true;
}

static CFS_AWAITS int meta_serve(void *part, struct cfs_shard_request *rq)
{
	struct cfs_meta *m = part;

	ready(m);
	switch (rq->msg->op) {
	case CFS_OP_TX_PREPARE:
		return cfs_tx_serve_prepare(m, rq);
	case CFS_OP_TX_END:
		return cfs_tx_serve_end(m, rq);
	case CFS_OP_TX_ASK:
		return cfs_tx_serve_ask(m, rq);
	case CFS_OP_TX_RECALL:
		return cfs_tx_serve_recall(m, rq);
	case CFS_OP_SERIALS:
		return cfs_serials_serve(m, rq);
	case CFS_OP_LOCK_WAITS:
		return cfs_meta_serve_lock_waits(m, rq);
	case CFS_OP_RENAME: /* shard 0 serves it for directories of others too */
		return cfs_meta_serve_rename(m, rq);
	default:
		break;
	}
	if (!cfs_meta_is_home(m, rq->msg->ino))
		return -ESTALE;
	return serve_here(m, rq);
}

CFS_AWAITS int cfs_meta_make_root(struct cfs_shard *sh, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct cfs_meta *m = cfs_meta_of(sh);
	int64_t now = (int64_t)cfs_meta_now(m);
	struct cfs_attr a = { .ino = CFS_INO_ROOT,
			      .mode = S_IFDIR | (mode & 07777),
			      .uid = uid,
			      .gid = gid,
			      .nlink = 2,
			      .atime = now,
			      .mtime = now,
			      .ctime = now,
			      .btime = now,
			      .place = CFS_PLACE_ROOT,
			      .parent = CFS_INO_ROOT };
	struct cfs_items it;
	int rc;

	if (sh->id != 0 || cfs_inode_find(&m->tables, CFS_INO_ROOT))
		return 0;
	rc = cfs_shard_reserve(sh, 512, false);
	if (rc < 0)
		return rc;
	cfs_shard_items(sh, &it);
	cfs_meta_add_inode(&it, &a);
	cfs_shard_commit(sh, &it, NULL, 0, NULL);
	cfs_shard_unreserve(sh, 512, false);
	return 0;
}

/* --- walks: a mark in the list of inodes that holds while it changes; what is new comes before it
 * --- */

struct walk {
	struct cfs_inode mark; /* is_gone: nobody takes it for an inode */
	struct cfs_tables *tables;
};

static struct walk *walk_start(struct cfs_tables *t)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->mark.is_gone = true;
	w->tables = t;
	cfs_list_push(&t->inodes, &w->mark.all);
	return w;
}

static struct cfs_inode *walk_next(struct walk *w)
{
	for (;;) {
		struct cfs_list *l = w->mark.all.next;
		struct cfs_inode *i;

		if (l == &w->tables->inodes)
			return NULL;
		cfs_list_remove(&w->mark.all);
		cfs_list_push(l, &w->mark.all);
		i = cfs_list_entry(l, struct cfs_inode, all);
		if (!i->is_gone)
			return i;
	}
}

static void walk_stop(struct walk *w)
{
	if (w)
		cfs_list_remove(&w->mark.all);
	free(w);
}

/* --- checkpoint --- */

static CFS_AWAITS int meta_checkpoint(void *part, struct cfs_checkpoint *c)
{
	struct cfs_meta *m = part;
	struct cfs_meta_writer w = { .c = c, .buf = malloc(CFS_RECORD_BYTES_MAX) };
	struct cfs_inode *i;
	struct walk *walk = walk_start(&m->tables);
	int rc = w.buf && walk ? 0 : -ENOMEM;

	cfs_items_init(&w.it, w.buf, CFS_RECORD_BYTES_MAX);
	if (rc == 0 && m->shard->id == 0)
		cfs_meta_add_serials(&w.it, m->serials.next_block);
	if (rc == 0)
		cfs_forwards_add(m, &w.it);
	while (rc == 0 && (i = walk_next(walk)))
		rc = cfs_meta_write_inode(&w, i);
	walk_stop(walk);
	if (rc == 0)
		rc = cfs_meta_writer_flush(&w, 1);
	free(w.buf);
	if (rc == 0)
		rc = cfs_tx_checkpoint(m, c);
	if (rc == 0)
		rc = cfs_lease_checkpoint(m, c);
	return rc < 0 ? rc : cfs_file_checkpoint(m, c);
}

/* --- life --- */

/* Orphans that nobody has open: the process ended between the last close and its record, or the
 * opener's session did. */
static CFS_AWAITS int drop_orphans(struct cfs_meta *m)
{
	struct walk *walk = walk_start(&m->tables);
	struct cfs_inode *i;
	int rc = walk ? 0 : -ENOMEM;

	while (rc == 0 && (i = walk_next(walk))) {
		if (!i->dir && i->attr.nlink == 0 && !cfs_inode_is_open(i))
			rc = cfs_meta_close(m, NULL, i->attr.ino, 0, true);
	}
	walk_stop(walk);
	return rc;
}

static CFS_AWAITS int meta_resume(void *part)
{
	struct cfs_meta *m = part;
	int rc;

	ready(m);
	rc = cfs_tx_resume(m);
	if (rc == 0)
		rc = cfs_file_resume(m);
	return rc < 0 ? rc : drop_orphans(m);
}

static CFS_AWAITS void meta_session_end(void *part, uint64_t session)
{
	struct cfs_meta *m = part;
	struct walk *walk = walk_start(&m->tables);
	struct cfs_inode *i;
	int rc = walk ? 0 : -ECANCELED;

	while (rc != -ECANCELED && (i = walk_next(walk))) {
		bool is_open = cfs_inode_opens(i, session).count > 0;
		uint64_t ino = i->attr.ino;

		if (cfs_inode_has_lock_session(i, session))
			rc = cfs_lock_session_end(m, ino, session);
		if (rc != -ECANCELED && is_open)
			rc = cfs_meta_close(m, NULL, ino, session, true);
	}
	walk_stop(walk);
	cfs_forwards_session_end(m, session);
}

/* --- checks and facts --- */

static void meta_check(void *part, void (*report)(void *ctx, const char *what), void *ctx)
{
	struct cfs_meta *m = part;

	cfs_tables_check(&m->tables, report, ctx);
	cfs_tx_check(m, report, ctx);
	cfs_list_for_each(l, &m->tables.inodes) {
		const struct cfs_inode *dir = cfs_list_entry(l, struct cfs_inode, all);
		const struct cfs_dentry *d = NULL;

		if (dir->is_gone || !dir->dir)
			continue;
		while ((d = cfs_dentry_after(dir, d ? d->cookie : 0))) {
			const struct cfs_inode *i = cfs_inode_find(&m->tables, d->ino);

			if (!cfs_meta_is_home(m, d->ino) || !cfs_meta_is_settled(m, d->ino) ||
			    !cfs_meta_is_settled(m, dir->attr.ino))
				continue;
			if (!i)
				report(ctx, "dentry: its inode is not there");
			else if ((i->attr.mode & S_IFMT) != (d->mode & S_IFMT))
				report(ctx, "dentry: its inode is of another type");
			else if (!i->dir && i->attr.nlink == 0)
				report(ctx, "dentry: its inode has no links");
			else if (i->dir && i->attr.parent != dir->attr.ino)
				report(ctx, "dentry: its directory has another parent");
		}
	}
}

static void lock_is_bad(void *ctx, const char *what)
{
	(void)what;
	*(bool *)ctx = true;
}

void cfs_meta_walk(const struct cfs_meta *m,
		   void (*fn)(void *ctx, const struct cfs_meta_fact *fact), void *ctx)
{
	cfs_list_for_each(l, &m->tables.inodes) {
		const struct cfs_inode *i = cfs_list_entry(l, struct cfs_inode, all);
		const struct cfs_dentry *d = NULL;
		struct cfs_meta_fact fact = { .kind = CFS_META_FACT_INODE,
					      .shard = m->shard->id,
					      .ino = i->attr.ino,
					      .attr = &i->attr,
					      .mode = i->attr.mode,
					      .is_open = cfs_inode_is_open(i) };

		if (i->is_gone)
			continue;
		if (i->dir)
			fact.name = (struct cfs_bytes){ (const uint8_t *)i->dir->name,
							i->dir->name_bytes };
		fn(ctx, &fact);
		if (cfs_inode_locks_of(i)) {
			fact = (struct cfs_meta_fact){ .kind = CFS_META_FACT_LOCKS,
						       .shard = m->shard->id,
						       .ino = i->attr.ino };
			cfs_lock_set_check(cfs_inode_locks_of(i), lock_is_bad, &fact.is_bad);
			fn(ctx, &fact);
		}
		while (i->dir && (d = cfs_dentry_after(i, d ? d->cookie : 0))) {
			fact = (struct cfs_meta_fact){
				.kind = CFS_META_FACT_DENTRY,
				.shard = m->shard->id,
				.ino = d->ino,
				.dir = i->attr.ino,
				.place = d->place,
				.mode = d->mode,
				.uid = d->uid,
				.gid = d->gid,
				.name = { (const uint8_t *)d->name, d->name_bytes },
			};
			fn(ctx, &fact);
		}
	}
	cfs_tx_walk(m, fn, ctx);
}

void cfs_meta_sessions(const struct cfs_meta *m, void (*fn)(void *ctx, uint64_t session), void *ctx)
{
	cfs_list_for_each(l, &m->tables.inodes) {
		const struct cfs_inode *i = cfs_list_entry(l, struct cfs_inode, all);

		const struct cfs_lock_set *locks = i->is_gone ? NULL : cfs_inode_locks_of(i);

		for (const struct cfs_open *o = i->is_gone ? NULL : i->opens; o; o = o->next)
			fn(ctx, o->session);
		for (uint32_t k = 0; locks && k < locks->count; k++)
			fn(ctx, locks->locks[k].session);
	}
	cfs_lease_sessions(m, fn, ctx);
}

void cfs_meta_stats(const struct cfs_meta *m, struct cfs_meta_stats *out)
{
	*out = m->stats;
	out->inodes = m->tables.inode_count;
	out->dentries = m->tables.dentry_count;
	cfs_list_for_each(l, &m->tables.inodes) {
		const struct cfs_inode *i = cfs_list_entry(l, struct cfs_inode, all);

		if (i->is_gone)
			continue;
		out->opens += cfs_inode_is_open(i);
		out->orphans += !i->dir && i->attr.nlink == 0;
	}
}

static CFS_AWAITS void meta_accessed(void *part, uint64_t ino, uint64_t session)
{
	cfs_meta_accessed(part, ino, session);
}

static bool meta_has_session(const void *part, uint64_t session)
{
	return cfs_lease_has_session(part, session);
}

static void meta_session_gone(void *part, uint64_t session)
{
	cfs_lease_session_end(part, session);
}

static void meta_recalled(void *part, uint64_t session, uint64_t ino, uint64_t stamp)
{
	cfs_lease_recalled(part, session, ino, stamp);
}

const struct cfs_shard_part_ops cfs_meta_part_ops = {
	.name = "meta",
	.kind_first = CFS_ITEM_META_FIRST,
	.kind_last = CFS_ITEM_META_LAST,
	.op_first = CFS_OP_LOOKUP,
	.op_last = CFS_OP_LOCK_WAITS,
	.op2_first = CFS_OP_TX_PREPARE,
	.op2_last = CFS_OP_TX_RECALL,
	.create = meta_create,
	.destroy = meta_destroy,
	.apply = meta_apply,
	.checkpoint = meta_checkpoint,
	.resume = meta_resume,
	.serve = meta_serve,
	.check = meta_check,
	.session_end = meta_session_end,
	.has_session = meta_has_session,
	.session_gone = meta_session_gone,
	.recalled = meta_recalled,
	.accessed = meta_accessed,
};
