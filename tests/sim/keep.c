#include "keep.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/reactor.h"
#include "proto/msg.h"

#define LIST_BYTES 4096u
#define DROP_US_MAX 3000u

uint64_t keep_event(void)
{
	static uint64_t events;

	return ++events;
}

/* --- recalls --- */

static void forget(struct keep_inode *k)
{
	k->is_kept = false;
	k->attr_until_ns = k->list_until_ns = 0;
	memset(k->name_until_ns, 0, sizeof(k->name_until_ns));
}

/* Dropping pages takes its time, and what is read meanwhile is dropped, too. */
static CFS_AWAITS void drop_page(struct keep_mount *m, struct keep_inode *k)
{
	uint64_t ino = k->ino;

	do {
		k->was_read = false;
		k->is_dropping = true;
		if (sim_below(&m->rand, 2))
			(void)cfs_sleep_ns(sim_below(&m->rand, DROP_US_MAX) * SIM_US);
		if (k->ino != ino)
			return;
		k->has_page = false;
	} while (k->was_read);
	k->is_dropping = false;
}

static CFS_AWAITS void recall_inode(struct keep_mount *m, struct keep_inode *k)
{
	if (!k->is_kept)
		return;
	m->recalls++;
	forget(k);
	drop_page(m, k);
}

static CFS_AWAITS void recall(void *ctx, uint64_t ino)
{
	struct keep_mount *m = ctx;

	for (uint32_t i = 0; i < KEEP_INODES_MAX; i++)
		if (m->inode[i].ino == ino)
			recall_inode(m, &m->inode[i]);
}

static CFS_AWAITS void recall_all(void *ctx)
{
	struct keep_mount *m = ctx;

	for (uint32_t i = 0; i < KEEP_INODES_MAX; i++)
		recall_inode(m, &m->inode[i]);
}

static void evicted(void *ctx)
{
	struct keep_mount *m = ctx;

	m->evictions++;
}

/* The caller has said that it changes it. */
static void let_go(void *ctx, struct cfs_client_op *op, uint64_t ino)
{
	struct keep_mount *m = ctx;

	(void)op;
	for (uint32_t i = 0; i < KEEP_INODES_MAX; i++)
		if (m->inode[i].ino == ino)
			forget(&m->inode[i]);
}

void keep_hooks(struct keep_mount *m, struct cfs_client_opts *opts)
{
	opts->recall = recall;
	opts->recall_all = recall_all;
	opts->evicted = evicted;
	opts->let_go = let_go;
	opts->recall_ctx = m;
}

void keep_reset(struct keep_mount *m, const uint64_t *inos, uint32_t count, uint32_t dirs)
{
	cfs_assert(count <= KEEP_INODES_MAX);
	memset(m->inode, 0, sizeof(m->inode));
	for (uint32_t i = 0; i < count; i++) {
		m->inode[i].ino = inos[i];
		m->inode[i].is_dir = i < dirs;
		cfs_waitq_init(&m->inode[i].unlocked);
	}
}

static CFS_AWAITS void look_begin(struct keep_inode *dir)
{
	while (dir->is_locked)
		(void)cfs_waitq_wait(&dir->unlocked);
	dir->lookers++;
}

static void look_end(struct keep_inode *dir)
{
	dir->lookers--;
	cfs_waitq_wake_all(&dir->unlocked);
}

/* --- what may be kept --- */

struct ask {
	struct cfs_client_op op;
	uint64_t event;
};

static void ask_begin(struct keep_mount *m, struct ask *a)
{
	cfs_client_op_init(&a->op, m->client, 0, 0);
	a->op.wants_lease = true;
	a->event = keep_event();
	m->asks++;
}

/* Until when what has just been returned may be kept; 0: not at all. */
static uint64_t until(const struct ask *a, struct keep_inode *k)
{
	uint64_t ns;

	if (a->op.lease_ino != k->ino || k->changing > 0 || k->changed_event > a->event)
		return 0;
	ns = cfs_client_lease_ns(&a->op);
	k->is_kept |= ns != 0;
	return ns ? cfs_now_ns() + ns : 0;
}

static bool counts(struct keep_mount *m, uint64_t until_ns)
{
	bool is_hit = until_ns > cfs_now_ns();

	m->hits += is_hit;
	return is_hit;
}

bool keep_peek_stat(struct keep_mount *m, uint32_t inode, struct cfs_attr *out)
{
	const struct keep_inode *k = &m->inode[inode];

	*out = k->attr;
	return counts(m, k->attr_until_ns);
}

CFS_AWAITS int keep_stat(struct keep_mount *m, uint32_t inode, struct cfs_attr *out)
{
	struct keep_inode *k = &m->inode[inode];
	struct ask a;
	int rc;

	if (keep_peek_stat(m, inode, out))
		return 0;
	ask_begin(m, &a);
	rc = cfs_client_getattr(&a.op, k->ino, out);
	if (rc == 0) {
		k->attr_until_ns = until(&a, k);
		k->attr = *out;
	}
	return rc;
}

static CFS_AWAITS int open_to_read(struct keep_mount *m, struct keep_inode *k)
{
	struct cfs_attr attr;
	struct ask a;
	int rc;

	ask_begin(m, &a);
	rc = cfs_client_file_open(&a.op, k->ino, 0, &attr);
	if (rc < 0)
		return rc;
	k->opens++;
	k->is_open_cached = until(&a, k) != 0;
	return 0;
}

/* The kernel looks at the attributes first, and drops what it has if the file was changed. */
static CFS_AWAITS int look_at_page(struct keep_mount *m, uint32_t inode, int64_t *mtime_out)
{
	struct keep_inode *k = &m->inode[inode];
	struct cfs_attr attr;
	int rc = keep_stat(m, inode, &attr);

	if (rc == 0 && k->has_page && k->page_mtime != attr.mtime)
		k->has_page = false;
	*mtime_out = attr.mtime;
	return rc;
}

bool keep_peek_read(struct keep_mount *m, uint32_t inode, uint64_t *out)
{
	const struct keep_inode *k = &m->inode[inode];

	*out = k->page;
	return k->opens > 0 && k->is_open_cached && k->has_page && k->page_mtime == k->attr.mtime &&
	       counts(m, k->attr_until_ns);
}

CFS_AWAITS int keep_read(struct keep_mount *m, uint32_t inode, uint64_t *out)
{
	struct keep_inode *k = &m->inode[inode];
	struct cfs_client_bytes got;
	uint64_t room = 0, ino = k->ino;
	int64_t mtime = 0;
	struct ask a;
	int rc = 0;

	if (k->opens == 0)
		rc = open_to_read(m, k);
	if (rc == 0 && k->is_open_cached)
		rc = look_at_page(m, inode, &mtime);
	if (rc < 0)
		return rc;
	if (k->is_open_cached && k->has_page) {
		*out = k->page;
		return 0;
	}
	ask_begin(m, &a);
	rc = cfs_client_read(&a.op, ino, 0, KEEP_PAGE_BYTES, &room, &got);
	if (rc < 0)
		return rc;
	*out = 0;
	memcpy(out, got.p, got.len_bytes);
	cfs_client_bytes_fini(&got);
	k->was_read |= k->is_dropping;
	/* A change by this mount takes the page away, and waits for it. */
	if (k->is_open_cached && k->changing == 0 && k->changed_event < a.event) {
		k->has_page = true;
		k->page = *out;
		k->page_mtime = mtime;
	}
	return 0;
}

CFS_AWAITS void keep_close(struct keep_mount *m, uint32_t inode)
{
	struct keep_inode *k = &m->inode[inode];
	struct ask a;

	if (k->opens == 0)
		return;
	k->opens--;
	ask_begin(m, &a);
	(void)cfs_client_release(&a.op, k->ino, 0);
}

/* --- names --- */

struct cfs_client_name keep_name(uint32_t name)
{
	static const char *const names[KEEP_NAMES] = { "n0", "n1", "n2" };

	return (struct cfs_client_name){ names[name], 2 };
}

bool keep_peek_lookup(struct keep_mount *m, uint32_t inode, uint32_t name, uint64_t *out)
{
	const struct keep_inode *k = &m->inode[inode];

	*out = k->name[name];
	return counts(m, k->name_until_ns[name]);
}

CFS_AWAITS int keep_lookup(struct keep_mount *m, uint32_t inode, uint32_t name, uint64_t *out)
{
	struct keep_inode *k = &m->inode[inode];
	struct cfs_attr attr = { 0 };
	struct ask a;
	int rc;

	if (keep_peek_lookup(m, inode, name, out))
		return 0;
	look_begin(k);
	ask_begin(m, &a);
	rc = cfs_client_lookup(&a.op, k->ino, keep_name(name), &attr);
	if (rc == 0 || rc == -ENOENT) {
		*out = rc == 0 ? keep_entry(attr.ino, attr.mode) : 0;
		k->name_until_ns[name] = until(&a, k);
		k->name[name] = *out;
		rc = 0;
	}
	look_end(k);
	return rc;
}

/* All entries, into @out where their names are those of the round. */
static int list_take(const struct cfs_client_page *page, uint64_t out[KEEP_NAMES])
{
	const uint8_t *p = page->bytes.p;
	uint32_t len = page->bytes.len_bytes;

	for (uint32_t at = 0; at < len;) {
		struct cfs_entry e;
		int64_t n = cfs_entry_decode(p + at, len - at, &e);

		if (n <= 0)
			return -EIO;
		for (uint32_t i = 0; i < KEEP_NAMES; i++)
			if (e.name.len == 2 && memcmp(e.name.p, keep_name(i).p, 2) == 0)
				out[i] = keep_entry(e.ino, e.mode);
		at += (uint32_t)n;
	}
	return 0;
}

bool keep_peek_list(struct keep_mount *m, uint32_t inode, uint64_t out[KEEP_NAMES])
{
	const struct keep_inode *k = &m->inode[inode];

	memcpy(out, k->list, sizeof(k->list));
	return !k->is_locked && counts(m, k->list_until_ns);
}

CFS_AWAITS int keep_list(struct keep_mount *m, uint32_t inode, uint64_t out[KEEP_NAMES])
{
	struct keep_inode *k = &m->inode[inode];
	struct cfs_client_page page;
	struct ask a;
	int rc;

	if (keep_peek_list(m, inode, out))
		return 0;
	memset(out, 0, sizeof(k->list));
	look_begin(k);
	ask_begin(m, &a);
	rc = cfs_client_readdir(&a.op, k->ino, 0, LIST_BYTES, false, &page);
	if (rc == 0) {
		rc = page.is_last ? list_take(&page, out) : -EIO;
		cfs_client_bytes_fini(&page.bytes);
	}
	if (rc == 0) {
		k->list_until_ns = until(&a, k);
		memcpy(k->list, out, sizeof(k->list));
	}
	look_end(k);
	return rc;
}

/* --- changes by this mount --- */

CFS_AWAITS void keep_change_begin(struct keep_mount *m, uint32_t inode)
{
	struct keep_inode *k = &m->inode[inode];

	while (k->is_dir && (k->is_locked || k->lookers > 0))
		(void)cfs_waitq_wait(&k->unlocked);
	k->is_locked = k->is_dir;
	k->changing++;
}

void keep_change_end(struct keep_mount *m, uint32_t inode, uint32_t name)
{
	struct keep_inode *k = &m->inode[inode];

	k->changing--;
	k->changed_event = keep_event();
	k->attr_until_ns = 0;
	k->list_until_ns = 0;
	if (name < KEEP_NAMES)
		k->name_until_ns[name] = 0;
	k->is_locked = false;
	cfs_waitq_wake_all(&k->unlocked);
}

void keep_written(struct keep_mount *m, uint32_t inode)
{
	m->inode[inode].has_page = false;
}
