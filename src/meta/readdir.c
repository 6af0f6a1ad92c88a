/*
 * Readdir. A cookie is the hash of the name made unique in its directory, given at birth and kept
 * as long as the name is there. Entries come in its order, so whatever comes and goes between two
 * calls, a name that stays is neither missed nor given twice.
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/breaks.h"
#include "base/err.h"
#include "base/util.h"
#include "meta/lease.h"
#include "meta/meta_internal.h"

static const uint8_t dots[] = "..";

/* Appends @e to the reply; false: no room. */
static bool put(struct cfs_shard_request *rq, const struct cfs_entry *e, uint32_t cap,
		uint32_t *used)
{
	int64_t n = cfs_entry_encode(e, rq->reply_buf->data + *used, cap - *used);

	if (n < 0)
		return false;
	*used += (uint32_t)n;
	return true;
}

static bool put_dots(struct cfs_shard_request *rq, const struct cfs_inode *dir, bool is_plus,
		     uint64_t *cookie, uint32_t cap, uint32_t *used)
{
	struct cfs_entry e = { .mode = S_IFDIR };

	if (*cookie < CFS_COOKIE_DOT) {
		e.ino = dir->attr.ino;
		e.cookie = CFS_COOKIE_DOT;
		e.name = (struct cfs_bytes){ dots, 1 };
		e.has_attr = is_plus;
		e.attr = dir->attr;
		if (!put(rq, &e, cap, used))
			return false;
		*cookie = CFS_COOKIE_DOT;
	}
	if (*cookie < CFS_COOKIE_DOTDOT) {
		e.ino = dir->attr.parent;
		e.cookie = CFS_COOKIE_DOTDOT;
		e.name = (struct cfs_bytes){ dots, 2 };
		e.has_attr = false;
		if (!put(rq, &e, cap, used))
			return false;
		*cookie = CFS_COOKIE_DOTDOT;
	}
	return true;
}

CFS_AWAITS int cfs_meta_serve_readdir(struct cfs_meta *m, struct cfs_shard_request *rq)
{
	const struct cfs_msg *msg = rq->msg;
	uint32_t cap = (uint32_t)CFS_MIN(msg->len, (uint64_t)CFS_INLINE_BYTES_MAX), used = 0;
	bool is_plus = msg->flags & CFS_F_PLUS, is_eof;
	uint64_t cookie = msg->cookie;
	struct cfs_inode *dir;
	const struct cfs_dentry *d = NULL;
	int rc = cfs_buf_get(cap ? cap : 1, &rq->reply_buf);

	if (rc == 0)
		rc = cfs_lease_look(m, rq, msg->ino);
	if (rc < 0)
		return rc;
	dir = cfs_meta_inode(m, msg->ino, &rc);
	if (!dir)
		return rc;
	if (!dir->dir)
		return -ENOTDIR;
	is_eof = put_dots(rq, dir, is_plus, &cookie, cap, &used);
	if (is_eof)
		d = cfs_dentry_after(dir, CFS_MAX(cookie - (CFS_BREAK(READDIR_DOUBLE) ? 1 : 0),
						  CFS_COOKIE_FIRST - 1));
	if (CFS_BREAK(READDIR_MISS) && d && cookie >= CFS_COOKIE_FIRST)
		d = cfs_dentry_after(dir, d->cookie);
	while (d) {
		struct cfs_entry e = { .ino = d->ino,
				       .cookie = d->cookie,
				       .mode = d->mode & S_IFMT,
				       .name = { (const uint8_t *)d->name, d->name_bytes } };
		const struct cfs_inode *i = is_plus && cfs_meta_is_home(m, d->ino) &&
							    cfs_meta_is_settled(m, d->ino) &&
							    !cfs_lease_hides(m, d->ino, msg->sess)
						    ? cfs_inode_find(&m->tables, d->ino)
						    : NULL;
		struct cfs_rb_node *next;

		if (i) {
			e.has_attr = true;
			e.attr = i->attr;
		}
		if (!put(rq, &e, cap, &used)) {
			is_eof = false;
			break;
		}
		cookie = d->cookie;
		next = cfs_rb_next(&d->by_cookie);
		d = next ? cfs_container_of(next, struct cfs_dentry, by_cookie) : NULL;
	}
	if (!is_eof && used == 0)
		return -EINVAL; /* not even one fits */
	cfs_msg_set_bytes(&rq->reply, data, rq->reply_buf->data, used);
	cfs_msg_set(&rq->reply, cookie, cookie);
	cfs_msg_set(&rq->reply, parent, dir->attr.parent);
	cfs_msg_set(&rq->reply, flags, is_eof ? CFS_F_EOF : 0);
	cfs_lease_reply(m, rq, msg->ino);
	if (msg->flags & CFS_F_ATIME)
		cfs_meta_accessed(m, msg->ino, msg->sess);
	return 0;
}
