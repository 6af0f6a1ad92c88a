/*
 * Names: lookup, create, mkdir, unlink, rmdir, link. A file is born with its directory, so that
 * creating and removing it is one record of this shard. What is elsewhere (a subdirectory's content
 * half, an inode that was born in another directory) makes it a transaction; the operation is then
 * built anew until what it rests on has not changed meanwhile.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/acl.h"
#include "meta/iflags.h"
#include "meta/lease.h"
#include "meta/tx.h"

#define FOUND_STALE 1 /* a verdict of one attempt: what a name stood for is gone */

/* --- looking --- */

/* The directory of a request, as a directory. */
static struct cfs_inode *dir_of(struct cfs_meta *m, uint64_t ino, int *rc)
{
	struct cfs_inode *dir = cfs_meta_inode(m, ino, rc);

	if (dir && !dir->dir) {
		*rc = -ENOTDIR;
		return NULL;
	}
	return dir;
}

static void value_of(const struct cfs_dentry *d, struct cfs_dentry_value *v)
{
	*v = (struct cfs_dentry_value){ .cookie = d->cookie,
					.ino = d->ino,
					.place = d->place,
					.mode = d->mode,
					.uid = d->uid,
					.gid = d->gid };
}

/* Waits for what is prepared on the name, then looks. The name in @v is the caller's. */
static CFS_AWAITS int look_here(struct cfs_meta *m, uint64_t ino, struct cfs_bytes name,
				struct cfs_dentry_value *v)
{
	struct cfs_inode *dir;
	struct cfs_dentry *d;
	int rc = CFS_BREAK(NO_DIR_ASK) ? 0 : cfs_tx_settle_name(m, ino, name);

	if (rc < 0)
		return rc;
	dir = dir_of(m, ino, &rc);
	if (!dir)
		return rc;
	d = cfs_dentry_find(&m->tables, dir, name.p, name.len);
	if (!d)
		return -ENOENT;
	value_of(d, v);
	v->name = name;
	return 0;
}

CFS_AWAITS int cfs_meta_look(struct cfs_meta *m, uint64_t dir, struct cfs_bytes name,
			     struct cfs_dentry_value *out)
{
	struct cfs_msg msg = { .kind = CFS_MSG_REQUEST, .op = CFS_OP_LOOKUP };
	struct cfs_net_reply reply;
	int rc;

	if (cfs_meta_is_home(m, dir))
		return look_here(m, dir, name, out);
	if (cfs_ino_home(dir) >= m->shard->env->shards)
		return -ESTALE;
	cfs_msg_set(&msg, ino, dir);
	cfs_msg_set_bytes(&msg, name, name.p, name.len);
	rc = cfs_meta_call(m, cfs_ino_home(dir), &msg, &reply);
	if (rc < 0)
		return rc;
	*out = (struct cfs_dentry_value){
		.ino = reply.msg.ino, .mode = reply.msg.mode, .place = reply.msg.place, .name = name
	};
	cfs_net_reply_fini(&reply);
	return 0;
}

/* What a reply says of the inode behind a name: attributes too, if it lives here and nothing is
 * prepared on it. */
static void reply_inode(struct cfs_meta *m, struct cfs_shard_request *rq, uint64_t ino,
			uint32_t mode)
{
	struct cfs_inode *i = cfs_meta_is_home(m, ino) ? cfs_inode_find(&m->tables, ino) : NULL;

	cfs_msg_set(&rq->reply, ino, ino);
	cfs_msg_set(&rq->reply, mode, mode & S_IFMT);
	if (i && cfs_meta_is_settled(m, ino))
		cfs_meta_reply_attr(rq, &i->attr);
}

/* "." and "..", for those who hold numbers only (exports). */
static CFS_AWAITS int lookup_dots(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = cfs_meta_settle(m, rq->msg->ino);
	struct cfs_inode *dir;

	if (rc < 0)
		return rc;
	dir = dir_of(m, rq->msg->ino, &rc);
	if (!dir)
		return rc;
	reply_inode(m, rq, rq->msg->name.len == 1 ? dir->attr.ino : dir->attr.parent, S_IFDIR);
	return 0;
}

/* The name, and what it names as long as it is here: its attributes may wait for the outcome of a
 * transaction, or for somebody who has it to himself, and the name may be another's then. */
static CFS_AWAITS int lookup_name(struct cfs_meta *m, struct cfs_shard_request *rq,
				  struct cfs_dentry_value *v)
{
	uint64_t dir = rq->msg->ino, session = rq->msg->sess;
	int rc;

	*v = (struct cfs_dentry_value){ 0 };
	for (;;) {
		rc = cfs_lease_look(m, rq, dir);
		if (rc < 0)
			return rc;
		rc = look_here(m, dir, rq->msg->name, v);
		if (cfs_lease_hides(m, dir, session))
			continue;
		if (rc < 0 || !cfs_meta_is_home(m, v->ino))
			return rc;
		if (cfs_meta_is_settled(m, v->ino) && !cfs_lease_hides(m, v->ino, session))
			return 0;
		rc = cfs_meta_settle(m, v->ino);
		if (rc == 0)
			rc = cfs_lease_read(m, v->ino, session);
		if (rc < 0)
			return rc;
	}
}

CFS_AWAITS int cfs_meta_serve_lookup(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	struct cfs_dentry_value v = { 0 };
	int rc = cfs_meta_check_name(rq->msg->name);

	if (rc == -EEXIST)
		return lookup_dots(m, rq);
	if (rc == 0)
		rc = lookup_name(m, rq, &v);
	if (rc == 0 || rc == -ENOENT)
		cfs_lease_reply(m, rq, rq->msg->ino);
	if (rc < 0)
		return rc;
	reply_inode(m, rq, v.ino, v.mode);
	if (S_ISDIR(v.mode))
		cfs_msg_set(&rq->reply, place, v.place);
	return 0;
}

/* --- create --- */

static bool is_creatable(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFLNK:
		return true;
	default:
		return false;
	}
}

/* @acl_out: the directory's default ACL, of which the new inode has its own; empty: there is none,
 * and then the umask counts. */
static void attr_new(struct cfs_meta *m, const struct cfs_msg *msg, const struct cfs_inode *dir,
		     uint64_t ino, struct cfs_attr *a, struct cfs_bytes *acl_out)
{
	int64_t now = (int64_t)cfs_meta_now(m);

	*a = (struct cfs_attr){
		.ino = ino,
		.mode = msg->mode & (S_IFMT | 07777),
		.nlink = 1,
		.uid = CFS_BREAK(UID_LOST) ? 0 : msg->uid,
		.gid = msg->gid,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
		.iflags = S_ISREG(msg->mode) || S_ISDIR(msg->mode) ? cfs_iflags_inherited(dir) : 0,
	};
	if (cfs_acl_inherit(dir, &a->mode, acl_out)) {
		if (S_ISDIR(a->mode) || !cfs_acl_is_minimal(*acl_out))
			a->iflags |= CFS_IFLAG_ACL;
		if (CFS_BREAK(ACL_UMASK))
			a->mode &= ~(msg->umask & 0777);
	} else {
		*acl_out = (struct cfs_bytes){ 0 };
		if (cfs_msg_is_set(msg, umask) && !S_ISLNK(a->mode) && !CFS_BREAK(UMASK_IGNORED))
			a->mode &= ~(msg->umask & 0777);
	}
	if (dir->attr.mode & S_ISGID) {
		if (!CFS_BREAK(SETGID_GROUP))
			a->gid = dir->attr.gid;
		if (S_ISDIR(a->mode) && !CFS_BREAK(SETGID_DIR))
			a->mode |= S_ISGID;
	}
	if (S_ISREG(a->mode))
		a->seed = ino;
	if (CFS_BREAK(FIFO_REGULAR) && S_ISFIFO(a->mode))
		a->mode ^= S_IFIFO ^ S_IFREG;
	if ((S_ISCHR(a->mode) || S_ISBLK(a->mode)) && cfs_msg_is_set(msg, rdev) &&
	    !CFS_BREAK(DEV_LOST))
		a->rdev = msg->rdev;
	if (S_ISLNK(a->mode)) {
		a->mode |= 0777;
		a->size = msg->data.len;
	}
}

static int create_check(const struct cfs_msg *msg, bool is_tmp)
{
	int rc = is_tmp ? 0 : cfs_meta_check_name(msg->name);

	if (rc < 0)
		return rc;
	if (!is_creatable(msg->mode) || (is_tmp && !S_ISREG(msg->mode)))
		return -EINVAL;
	if (!S_ISLNK(msg->mode))
		return 0;
	if (!cfs_msg_is_set(msg, data) || msg->data.len == 0)
		return -ENOENT;
	if (msg->data.len > CFS_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	return memchr(msg->data.p, 0, msg->data.len) ? -EINVAL : 0;
}

/* A symbolic link's target, or an ACL. */
#define CREATE_BYTES (CFS_PATH_BYTES_MAX + CFS_NAME_BYTES_MAX + 768u)
_Static_assert(CFS_ACL_BYTES_MAX <= CFS_PATH_BYTES_MAX, "an ACL takes no more room than a target");

/* The name is there: an error, or what it names, for the client to open. */
static int create_existing(struct cfs_meta *m, struct cfs_shard_request *rq,
			   const struct cfs_dentry *d)
{
	if (rq->msg->flags & CFS_F_EXCL)
		return -EEXIST;
	reply_inode(m, rq, d->ino, d->mode);
	return 0;
}

/* No wait from here: the directory is settled, there is room and a number. */
static int create_now(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	bool is_tmp = msg->flags & CFS_F_TMPFILE;
	struct cfs_dentry_value v = { .mode = msg->mode & S_IFMT, .name = msg->name };
	struct cfs_dentry *d;
	struct cfs_attr a;
	struct cfs_items it;
	struct cfs_inode *dir;
	struct cfs_bytes acl;
	bool has_dep = m->serials.has_dep;
	int rc = 0;

	dir = dir_of(m, msg->ino, &rc);
	if (!dir)
		return rc;
	d = is_tmp ? NULL : cfs_dentry_find(&m->tables, dir, msg->name.p, msg->name.len);
	if (d)
		return create_existing(m, rq, d);
	rc = cfs_iflags_may_link(dir, true);
	if (rc < 0)
		return rc;
	v.ino = cfs_serials_take(m, m->shard->id);
	if (v.ino == 0)
		return -CFS_EAGAIN_LATER;
	attr_new(m, msg, dir, v.ino, &a, &acl);
	if (is_tmp && !CFS_BREAK(TMPFILE_LINKED)) {
		a.nlink = 0;
		if (!(msg->flags & CFS_F_EXCL))
			a.iflags |= CFS_IFLAG_LINKABLE;
	}
	cfs_shard_items(m->shard, &it);
	cfs_meta_add_inode(&it, &a);
	if (S_ISLNK(a.mode))
		cfs_meta_add_target(&it, a.ino, msg->data);
	if (acl.len)
		cfs_acl_add_inherited(&it, a.ino, a.mode, acl);
	if (is_tmp || (msg->flags & CFS_F_OPEN))
		cfs_meta_add_open(
			&it, a.ino, msg->sess,
			&(struct cfs_opens){ 1, is_tmp || (msg->flags & CFS_F_WRITE) ? 1 : 0 });
	if (!is_tmp) {
		v.cookie = cfs_dentry_cookie(&m->tables, dir, v.name.p, v.name.len);
		cfs_meta_add_dentry(&it, dir->attr.ino, &v, (uint64_t)a.ctime);
	}
	cfs_msg_set(&rq->reply, ino, a.ino);
	cfs_msg_set(&rq->reply, mode, a.mode & S_IFMT);
	cfs_meta_reply_attr(rq, &a);
	m->serials.has_dep = false;
	cfs_shard_commit(m->shard, &it, has_dep ? &m->serials.dep : NULL, has_dep, rq);
	cfs_lease_reply(m, rq,
			msg->ino); /* beside the answer that is kept: later it says nothing */
	return 0;
}

CFS_AWAITS int cfs_meta_serve_create(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = create_check(rq->msg, rq->msg->flags & CFS_F_TMPFILE);

	for (uint32_t round = 0; rc == 0; round++) {
		rc = cfs_serials_fill(m);
		if (rc == 0)
			rc = cfs_meta_begin(m, rq->msg->sess, rq->msg->ino, 0, CREATE_BYTES, false);
		if (rc < 0)
			break;
		rc = create_now(m, rq);
		cfs_meta_end(m, CREATE_BYTES, false);
		if (rc != -CFS_EAGAIN_LATER)
			break;
		rc = cfs_meta_again(round);
	}
	return rc;
}

/* --- mkdir --- */

static void mkdir_reply(struct cfs_tx *tx, void *ctx)
{
	const struct cfs_attr *a = ctx;

	cfs_msg_set(&tx->rq->reply, ino, a->ino);
	cfs_meta_reply_attr(tx->rq, a);
}

static CFS_AWAITS int mkdir_once(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_dentry_value old = { 0 };
	struct cfs_inode *dir;
	struct cfs_items *own, *home;
	struct cfs_tx_link link = { .dir = msg->ino, .flags = CFS_TX_F_EXCL };
	struct cfs_bytes acl;
	struct cfs_attr a;
	struct cfs_tx tx;
	uint64_t place, ino;
	int rc = look_here(m, msg->ino, msg->name, &old);

	if (rc != -ENOENT)
		return rc == 0 ? -EEXIST : rc;
	rc = cfs_serials_fill(m);
	if (rc < 0)
		return rc;
	dir = dir_of(m, msg->ino, &rc);
	if (!dir)
		return rc;
	place = cfs_place(&m->shard->env->place_key, dir->attr.place, msg->name.p, msg->name.len);
	ino = cfs_serials_take(m, cfs_place_shard(place, m->shard->env->shards));
	if (ino == 0)
		return -CFS_EAGAIN_LATER;
	attr_new(m, msg, dir, ino, &a, &acl);
	a.nlink = 2;
	a.place = place;
	a.parent = msg->ino;
	link.time_ns = (uint64_t)a.ctime;
	link.value = (struct cfs_dentry_value){ .ino = ino,
						.place = place,
						.mode = a.mode,
						.uid = a.uid,
						.gid = a.gid,
						.name = msg->name };
	cfs_tx_init(&tx, m, rq);
	tx.uses_serial = true;
	tx.reply = mkdir_reply;
	tx.ctx = &a;
	own = cfs_tx_at(&tx, m->shard->id);
	home = cfs_tx_at(&tx, cfs_ino_home(ino));
	if (own && home) {
		cfs_tx_add_link(own, &link);
		cfs_tx_add_dir_new(home, &a, msg->name);
		if (acl.len)
			cfs_tx_add_inherited(home, ino, a.mode, acl);
		rc = cfs_tx_run(&tx);
	} else {
		rc = -ENOMEM;
	}
	cfs_tx_fini(&tx);
	if (rc == 0)
		cfs_lease_reply(m, rq, msg->ino);
	return rc;
}

/* Builds an operation until what it rests on stays. */
static CFS_AWAITS int until_done(struct cfs_meta *m, struct cfs_shard_request *rq,
				 int (*once)(struct cfs_meta *m, struct cfs_shard_request *rq))
{
	int rc;

	for (uint32_t round = 0;; round++) {
		rc = once(m, rq);
		/* What the name stood for is gone; the next look says what has become of it. */
		if (rc == FOUND_STALE)
			rc = round < CFS_META_STALE_ROUNDS ? -CFS_EAGAIN_LATER : -ESTALE;
		if (rc != -CFS_EAGAIN_LATER)
			return rc;
		rc = cfs_meta_again(round);
		if (rc < 0)
			return rc;
	}
}

CFS_AWAITS int cfs_meta_serve_mkdir(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = cfs_meta_check_name(rq->msg->name);
	struct cfs_msg msg = *rq->msg;
	const struct cfs_msg *given = rq->msg;

	if (rc < 0)
		return rc;
	msg.mode = S_IFDIR | (msg.mode & 07777);
	rq->msg = &msg;
	rc = until_done(m, rq, mkdir_once);
	rq->msg = given;
	return rc;
}

/* --- unlink, rmdir --- */

static CFS_AWAITS int remove_once(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	bool is_rmdir = msg->op == CFS_OP_RMDIR;
	struct cfs_dentry_value v = { 0 };
	struct cfs_items *own, *home;
	struct cfs_tx tx;
	uint64_t now;
	int rc = look_here(m, msg->ino, msg->name, &v);

	if (rc < 0)
		return rc;
	if (is_rmdir != S_ISDIR(v.mode))
		return is_rmdir ? -ENOTDIR : -EISDIR;
	now = cfs_meta_now(m);
	cfs_tx_init(&tx, m, rq);
	tx.is_freeing = true;
	own = cfs_tx_at(&tx, m->shard->id);
	home = cfs_tx_at(&tx, cfs_ino_home(v.ino));
	if (own && home) {
		cfs_tx_add_unlink(own, msg->ino, v.ino, msg->name, now);
		if (is_rmdir)
			cfs_tx_add_dir_gone(home, v.ino);
		else
			cfs_tx_add_nlink(home, v.ino, -1, now);
		cfs_msg_set(&rq->reply, ino, v.ino);
		rc = cfs_tx_run(&tx);
		if (rc == -ESTALE)
			rc = FOUND_STALE;
	} else {
		rc = -ENOMEM;
	}
	cfs_tx_fini(&tx);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_unlink(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = cfs_meta_check_name(rq->msg->name);

	if (rc < 0)
		return rc == -EEXIST ? -EISDIR : rc;
	return until_done(m, rq, remove_once);
}

CFS_AWAITS int cfs_meta_serve_rmdir(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = cfs_meta_check_name(rq->msg->name);

	if (rc == -EEXIST)
		return rq->msg->name.len == 1 ? -EINVAL : -ENOTEMPTY;
	return rc < 0 ? rc : until_done(m, rq, remove_once);
}

/* --- link --- */

static void link_reply(struct cfs_tx *tx, void *ctx)
{
	const struct cfs_tx_piece *p = cfs_tx_piece_of(tx, *(const uint32_t *)ctx);

	if (p && p->seen.has_attr)
		cfs_meta_reply_attr(tx->rq, &p->seen.attr);
}

static CFS_AWAITS int link_once(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	struct cfs_tx_link link = { .dir = msg->ino, .flags = CFS_TX_F_EXCL };
	uint32_t home_shard = cfs_ino_home(msg->ino2);
	struct cfs_items *own, *home;
	struct cfs_dentry_value old = { 0 };
	struct cfs_attr a;
	struct cfs_tx tx;
	int rc = look_here(m, msg->ino, msg->name, &old);

	if (rc != -ENOENT && !CFS_BREAK(EXISTS_IGNORED))
		return rc == 0 ? -EEXIST : rc;
	rc = cfs_meta_getattr(m, msg->ino2, &a);
	if (rc < 0)
		return rc;
	if (S_ISDIR(a.mode))
		return -EPERM;
	if (a.nlink >= CFS_LINKS_MAX)
		return -EMLINK;
	link.time_ns = cfs_meta_now(m);
	link.value = (struct cfs_dentry_value){ .ino = msg->ino2,
						.mode = a.mode & S_IFMT,
						.name = msg->name };
	cfs_tx_init(&tx, m, rq);
	tx.reply = link_reply;
	tx.ctx = &home_shard;
	own = cfs_tx_at(&tx, m->shard->id);
	home = cfs_tx_at(&tx, home_shard);
	if (own && home) {
		cfs_tx_add_link(own, &link);
		cfs_tx_add_nlink(home, msg->ino2, 1, link.time_ns);
		rc = cfs_tx_run(&tx);
	} else {
		rc = -ENOMEM;
	}
	cfs_tx_fini(&tx);
	if (rc == 0)
		cfs_lease_reply(m, rq, msg->ino);
	return rc;
}

CFS_AWAITS int cfs_meta_serve_link(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	int rc = cfs_meta_check_name(rq->msg->name);

	if (rc == 0 && cfs_ino_home(rq->msg->ino2) >= m->shard->env->shards)
		rc = -ESTALE;
	return rc < 0 ? rc : until_done(m, rq, link_once);
}
