/*
 * The engine `local`: one SQLite file that every process of the machine opens, any of which may be
 * killed at any time.
 *
 * WAL and synchronous=FULL: a transaction that was answered is on the device. A change runs in
 * BEGIN IMMEDIATE, so changes of all processes are one after the other, and takes the next
 * revision. `kv` holds the keys, `gone` the newest deletions, for watches; what was forgotten of
 * these is up to `forgotten`. Leases end by CLOCK_BOOTTIME of this boot: whoever touches the file
 * and finds one that ran out, ends it.
 *
 * Every call runs on an offload thread (SQLite blocks, and needs more stack than a fiber has), one
 * at a time for a handle.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/reactor.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/ctl_internal.h"

#define LOCAL_APPLICATION_ID 0x43464343 /* "CFCC" */
#define LOCAL_BUSY_MS 5000
#define LOCAL_WAL_RETRY_MS 5
#define LOCAL_POLL_NS 1000000000ull
#define LOCAL_POLLS_MAX 5u /* then a watch looks even if nobody seems to have changed anything */
#define BOOT_ID_BYTES 40u

enum statement {
	ST_BEGIN_READ,
	ST_BEGIN_WRITE,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_REV,
	ST_REV_SET,
	ST_LIST,
	ST_GET,
	ST_KEY_REV,
	ST_PUT,
	ST_DELETE,
	ST_GONE,
	ST_GONE_NOT,
	ST_FORGOTTEN,
	ST_FORGET_UP_TO,
	ST_FORGET,
	ST_CHANGES,
	ST_DATA_VERSION,
	ST_LEASE_ANY_DUE,
	ST_LEASE_DUE_KEYS,
	ST_LEASE_DUE_DROP,
	ST_LEASE_ADD,
	ST_LEASE_KEEP,
	ST_LEASE_KEYS,
	ST_LEASE_DROP,
	ST_LEASE_KNOWN,
	ST_COUNT
};

static const char *const sql[ST_COUNT] = {
	[ST_BEGIN_READ] = "BEGIN",
	[ST_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_REV] = "SELECT value FROM number WHERE name = 'rev'",
	[ST_REV_SET] = "UPDATE number SET value = ?1 WHERE name = 'rev'",
	[ST_LIST] = "SELECT key, value, rev, lease FROM kv WHERE key >= ?1 AND "
		    "key < ?1 || char(127) ORDER BY key",
	[ST_GET] = "SELECT key, value, rev, lease FROM kv WHERE key = ?1",
	[ST_KEY_REV] = "SELECT rev FROM kv WHERE key = ?1",
	[ST_PUT] = "INSERT INTO kv(key, value, rev, lease) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key) "
		   "DO UPDATE SET value = ?2, rev = ?3, lease = ?4",
	[ST_DELETE] = "DELETE FROM kv WHERE key = ?1",
	[ST_GONE] = "INSERT OR REPLACE INTO gone(key, rev) VALUES(?1, ?2)",
	[ST_GONE_NOT] = "DELETE FROM gone WHERE key = ?1",
	[ST_FORGOTTEN] = "SELECT value FROM number WHERE name = 'forgotten'",
	[ST_FORGET_UP_TO] = "UPDATE number SET value = (SELECT rev FROM gone ORDER BY rev DESC "
			    "LIMIT 1 OFFSET ?1) WHERE name = 'forgotten' AND "
			    "(SELECT count(*) FROM gone) > ?1",
	[ST_FORGET] = "DELETE FROM gone WHERE rev <= "
		      "(SELECT value FROM number WHERE name = 'forgotten')",
	[ST_CHANGES] = "SELECT key, value, rev, lease FROM kv WHERE rev >= ?2 AND key >= ?1 AND "
		       "key < ?1 || char(127) UNION ALL SELECT key, NULL, rev, 0 FROM gone WHERE "
		       "rev >= ?2 AND key >= ?1 AND key < ?1 || char(127) ORDER BY 3, 1",
	[ST_DATA_VERSION] = "PRAGMA data_version",
	[ST_LEASE_ANY_DUE] = "SELECT count(*) FROM lease WHERE boot <> ?1 OR due_ns <= ?2",
	[ST_LEASE_DUE_KEYS] = "SELECT key, NULL, rev, lease FROM kv WHERE lease IN "
			      "(SELECT id FROM lease WHERE boot <> ?1 OR due_ns <= ?2)",
	[ST_LEASE_DUE_DROP] = "DELETE FROM lease WHERE boot <> ?1 OR due_ns <= ?2",
	[ST_LEASE_ADD] = "INSERT INTO lease(boot, due_ns, ttl_ns) VALUES(?1, ?2 + ?3, ?3)",
	[ST_LEASE_KEEP] = "UPDATE lease SET due_ns = ?2 + ttl_ns WHERE id = ?1",
	[ST_LEASE_KEYS] = "SELECT key, NULL, rev, lease FROM kv WHERE lease = ?1",
	[ST_LEASE_DROP] = "DELETE FROM lease WHERE id = ?1",
	[ST_LEASE_KNOWN] = "SELECT count(*) FROM lease WHERE id = ?1",
};

static const char schema[] =
	"CREATE TABLE number(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO number VALUES('rev', 1), ('forgotten', 0);"
	"CREATE TABLE kv(key TEXT PRIMARY KEY, value BLOB NOT NULL, rev INTEGER NOT NULL, "
	"lease INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE gone(key TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE lease(id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, "
	"due_ns INTEGER NOT NULL, ttl_ns INTEGER NOT NULL);";

struct local {
	struct cfs_ctl ctl;
	struct cfs_lock lock; /* one job at a time */
	sqlite3 *db;
	sqlite3_stmt *st[ST_COUNT];
	char boot[BOOT_ID_BYTES];
	uint64_t rev;          /* the newest that this handle has seen */
	uint64_t data_version; /* SQLite's count of changes by others */
};

/* What an offload thread is to do. */
struct job {
	struct local *l;
	int (*fn)(struct job *job);
	uint64_t now_ns;
	const char *key;
	bool is_exact;
	uint64_t number; /* revision, lease or time, in and out */
	const struct cfs_ctl_txn *txn;
	struct cfs_ctl_list *out;
	const char *path;
	char why[CFS_CTL_WHY_BYTES];
};

static int rc_of(int sqlite_rc)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -CFS_EBAD_FORMAT;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static sqlite3_stmt *use(struct local *l, enum statement st)
{
	sqlite3_reset(l->st[st]);
	sqlite3_clear_bindings(l->st[st]);
	return l->st[st];
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *s, int at, uint64_t v)
{
	sqlite3_bind_int64(s, at, (sqlite3_int64)v);
}

/* Runs a statement that hands out nothing. */
static int run(sqlite3_stmt *s)
{
	int rc = rc_of(sqlite3_step(s));

	sqlite3_reset(s);
	return rc;
}

/* Runs a statement that hands out one number, 0 if it has no row. */
static int run_number(sqlite3_stmt *s, uint64_t *out)
{
	int step = sqlite3_step(s);

	if (rc_of(step) == 0)
		*out = step == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	sqlite3_reset(s);
	return rc_of(step);
}

/* Adds the row that @s stands at. */
static int row_add(sqlite3_stmt *s, struct cfs_ctl_list *out)
{
	char key[CFS_CTL_KEY_BYTES_MAX + 1];
	const char *text = (const char *)sqlite3_column_text(s, 0);
	bool is_gone = sqlite3_column_type(s, 1) == SQLITE_NULL;
	const void *value = sqlite3_column_blob(s, 1);
	const struct cfs_ctl_kv like = { .key = key,
					 .len_bytes = (uint32_t)sqlite3_column_bytes(s, 1),
					 .rev = (uint64_t)sqlite3_column_int64(s, 2),
					 .lease = (uint64_t)sqlite3_column_int64(s, 3) };

	if (!text)
		return -ENOMEM;
	if (!cfs_str_copy(key, sizeof(key), text))
		return -CFS_EBAD_FORMAT;
	if (!is_gone && !value)
		value = ""; /* SQLite gives no pointer for an empty one */
	return cfs_ctl_list_add(out, &like, is_gone ? NULL : value);
}

/* Runs a statement of rows (key, value, rev, lease). */
static int run_list(sqlite3_stmt *s, struct cfs_ctl_list *out)
{
	int step, rc = 0;

	while (rc == 0 && (step = sqlite3_step(s)) != SQLITE_DONE) {
		if (step != SQLITE_ROW) {
			rc = rc_of(step);
			break;
		}
		rc = row_add(s, out);
	}
	sqlite3_reset(s);
	return rc;
}

static int read_rev(struct local *l, uint64_t *rev_out)
{
	return run_number(use(l, ST_REV), rev_out);
}

/* The end of every transaction. The first error wins. */
static int finish(struct local *l, int rc)
{
	if (rc == 0)
		rc = run(use(l, ST_COMMIT));
	if (rc < 0 && !sqlite3_get_autocommit(l->db))
		run(use(l, ST_ROLLBACK));
	return rc;
}

static int delete_key(struct local *l, const char *key, uint64_t rev)
{
	sqlite3_stmt *s = use(l, ST_DELETE);
	int rc;

	bind_text(s, 1, key);
	rc = run(s);
	if (rc < 0 || sqlite3_changes(l->db) == 0)
		return rc;
	s = use(l, ST_GONE);
	bind_text(s, 1, key);
	bind_u64(s, 2, rev);
	return run(s);
}

/* Keeps the memory of deletions bounded. */
static int forget(struct local *l)
{
	sqlite3_stmt *s = use(l, ST_FORGET_UP_TO);
	int rc;

	bind_u64(s, 1, CFS_CTL_GONE_MAX);
	rc = run(s);
	return rc < 0 ? rc : run(use(l, ST_FORGET));
}

/* Deletes the keys that @s hands out. */
static int delete_keys(struct local *l, sqlite3_stmt *s, uint64_t rev)
{
	struct cfs_ctl_list keys = { 0 };
	int step, rc = 0;

	while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
		rc = row_add(s, &keys);
	}
	if (rc == 0)
		rc = rc_of(step);
	sqlite3_reset(s);
	for (uint32_t i = 0; rc == 0 && i < keys.count; i++)
		rc = delete_key(l, keys.kvs[i].key, rev);
	cfs_ctl_list_fini(&keys);
	return rc == 0 ? forget(l) : rc;
}

static int rev_set(struct local *l, uint64_t rev)
{
	sqlite3_stmt *s = use(l, ST_REV_SET);
	int rc;

	bind_u64(s, 1, rev);
	rc = run(s);
	if (rc == 0)
		l->rev = rev;
	return rc;
}

static sqlite3_stmt *use_due(struct local *l, enum statement st, uint64_t now_ns)
{
	sqlite3_stmt *s = use(l, st);

	bind_text(s, 1, l->boot);
	bind_u64(s, 2, now_ns);
	return s;
}

static int expire_all(struct local *l, uint64_t now_ns)
{
	uint64_t rev = 0;
	int rc = read_rev(l, &rev);

	if (rc == 0)
		rc = delete_keys(l, use_due(l, ST_LEASE_DUE_KEYS, now_ns), rev + 1);
	if (rc == 0)
		rc = run(use_due(l, ST_LEASE_DUE_DROP, now_ns));
	return rc == 0 ? rev_set(l, rev + 1) : rc;
}

/* Ends the leases that ran out, in a transaction of its own; costs one look when none did. */
static int expire(struct local *l, uint64_t now_ns)
{
	uint64_t due = 0;
	int rc = run_number(use_due(l, ST_LEASE_ANY_DUE, now_ns), &due);

	if (rc < 0 || due == 0)
		return rc;
	rc = run(use(l, ST_BEGIN_WRITE));
	return finish(l, rc == 0 ? expire_all(l, now_ns) : rc);
}

static int do_list(struct job *job)
{
	struct local *l = job->l;
	sqlite3_stmt *s = NULL;
	int rc = expire(l, job->now_ns);

	if (rc == 0)
		rc = run(use(l, ST_BEGIN_READ));
	if (rc == 0)
		rc = read_rev(l, &job->out->rev);
	if (rc == 0) {
		s = use(l, job->is_exact ? ST_GET : ST_LIST);
		bind_text(s, 1, job->key);
		rc = run_list(s, job->out);
	}
	return finish(l, rc);
}

static int do_changes(struct job *job)
{
	struct local *l = job->l;
	uint64_t forgotten = 0;
	int rc = expire(l, job->now_ns);

	if (rc == 0)
		rc = run(use(l, ST_BEGIN_READ));
	if (rc == 0)
		rc = read_rev(l, &job->out->rev);
	if (rc == 0)
		rc = run_number(use(l, ST_FORGOTTEN), &forgotten);
	if (rc == 0 && job->number <= forgotten)
		rc = -ESTALE;
	if (rc == 0) {
		sqlite3_stmt *s = use(l, ST_CHANGES);

		bind_text(s, 1, job->key);
		bind_u64(s, 2, job->number);
		rc = run_list(s, job->out);
	}
	return finish(l, rc);
}

static int compare_all(struct local *l, const struct cfs_ctl_txn *txn)
{
	for (uint32_t i = 0; i < txn->compares_count; i++) {
		sqlite3_stmt *s = use(l, ST_KEY_REV);
		uint64_t rev = 0;
		int rc;

		bind_text(s, 1, txn->compares[i].key);
		rc = run_number(s, &rev);
		if (rc < 0)
			return rc;
		if (rev != txn->compares[i].rev)
			return -ESTALE;
	}
	return 0;
}

static int put_one(struct local *l, const struct cfs_ctl_put *put, uint64_t rev)
{
	sqlite3_stmt *s;
	uint64_t known = 0;
	int rc;

	if (!put->value)
		return delete_key(l, put->key, rev);
	if (put->lease) {
		s = use(l, ST_LEASE_KNOWN);
		bind_u64(s, 1, put->lease);
		rc = run_number(s, &known);
		if (rc < 0 || known == 0)
			return rc < 0 ? rc : -ENOENT;
	}
	s = use(l, ST_GONE_NOT);
	bind_text(s, 1, put->key);
	rc = run(s);
	if (rc < 0)
		return rc;
	s = use(l, ST_PUT);
	bind_text(s, 1, put->key);
	sqlite3_bind_blob(s, 2, put->len_bytes ? put->value : "", (int)put->len_bytes,
			  SQLITE_STATIC);
	bind_u64(s, 3, rev);
	bind_u64(s, 4, put->lease);
	return run(s);
}

static int change(struct local *l, const struct cfs_ctl_txn *txn, uint64_t *rev_out)
{
	uint64_t rev = 0;
	int rc = compare_all(l, txn);

	if (rc == 0)
		rc = read_rev(l, &rev);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < txn->puts_count; i++) {
		rc = put_one(l, &txn->puts[i], rev + 1);
		if (rc < 0)
			return rc;
	}
	rc = forget(l);
	if (rc == 0)
		rc = rev_set(l, rev + 1);
	*rev_out = rev + 1;
	return rc;
}

static int do_txn(struct job *job)
{
	struct local *l = job->l;
	int rc = expire(l, job->now_ns);

	if (rc == 0)
		rc = run(use(l, ST_BEGIN_WRITE));
	return finish(l, rc == 0 ? change(l, job->txn, &job->number) : rc);
}

/* 1: somebody else changed the file since it was asked last. */
static int do_data_version(struct job *job)
{
	uint64_t version = 0;
	int rc = run_number(use(job->l, ST_DATA_VERSION), &version);

	if (rc < 0 || version == job->l->data_version)
		return rc;
	job->l->data_version = version;
	return 1;
}

static int do_lease_grant(struct job *job)
{
	sqlite3_stmt *s = use(job->l, ST_LEASE_ADD);
	int rc;

	bind_text(s, 1, job->l->boot);
	bind_u64(s, 2, job->now_ns);
	bind_u64(s, 3, job->number);
	rc = run(s);
	job->number = (uint64_t)sqlite3_last_insert_rowid(job->l->db);
	return rc;
}

static int do_lease_keep(struct job *job)
{
	int rc = expire(job->l, job->now_ns);
	sqlite3_stmt *s = use(job->l, ST_LEASE_KEEP);

	if (rc < 0)
		return rc;
	bind_u64(s, 1, job->number);
	bind_u64(s, 2, job->now_ns);
	rc = run(s);
	return rc == 0 && sqlite3_changes(job->l->db) == 0 ? -ENOENT : rc;
}

static int lease_end_in(struct local *l, uint64_t lease)
{
	sqlite3_stmt *s = use(l, ST_LEASE_KEYS);
	uint64_t rev = 0;
	int rc = read_rev(l, &rev);

	bind_u64(s, 1, lease);
	if (rc == 0)
		rc = delete_keys(l, s, rev + 1);
	s = use(l, ST_LEASE_DROP);
	bind_u64(s, 1, lease);
	if (rc == 0)
		rc = run(s);
	return rc == 0 ? rev_set(l, rev + 1) : rc;
}

static int do_lease_end(struct job *job)
{
	int rc = run(use(job->l, ST_BEGIN_WRITE));

	return finish(job->l, rc == 0 ? lease_end_in(job->l, job->number) : rc);
}

static int job_run(void *arg)
{
	struct job *job = arg;

	struct local *l = job->l;
	int rc = job->fn(job);

	if (rc < 0 && rc != -ESTALE && rc != -ENOENT && l->db)
		snprintf(job->why, sizeof(job->why), "control file %.160s: %.64s",
			 sqlite3_db_filename(l->db, "main"), sqlite3_errmsg(l->db));
	return rc;
}

CFS_AWAITS static int submit(struct job *job)
{
	int rc = cfs_lock_take(&job->l->lock);

	if (rc < 0)
		return rc;
	job->now_ns = cfs_now_ns();
	job->why[0] = '\0';
	rc = cfs_offload(job_run, job);
	if (job->why[0])
		memcpy(job->l->ctl.why, job->why, sizeof(job->why));
	cfs_lock_release(&job->l->lock);
	return rc;
}

static struct local *local_of(struct cfs_ctl *ctl)
{
	return cfs_container_of(ctl, struct local, ctl);
}

CFS_AWAITS static int local_list(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
				 struct cfs_ctl_list *out)
{
	struct job job = { .l = local_of(ctl), .fn = do_list, .key = prefix, .out = out };

	job.is_exact = is_exact;
	return submit(&job);
}

CFS_AWAITS static int local_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn,
				uint64_t *rev_out)
{
	struct job job = { .l = local_of(ctl), .fn = do_txn, .txn = txn };
	int rc = submit(&job);

	if (rc == 0)
		*rev_out = job.number;
	return rc;
}

CFS_AWAITS static int local_changes(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				    struct cfs_ctl_list *out)
{
	struct job job = { .l = local_of(ctl), .fn = do_changes, .key = prefix, .out = out };

	job.number = from_rev;
	return submit(&job);
}

CFS_AWAITS static int local_wait(struct cfs_ctl *ctl, const char *prefix, uint64_t rev)
{
	struct job job = { .l = local_of(ctl), .fn = do_data_version };

	(void)prefix;
	for (uint32_t i = 0; i < LOCAL_POLLS_MAX && job.l->rev < rev; i++) {
		int rc = cfs_sleep_ns(LOCAL_POLL_NS);

		if (rc == 0)
			rc = submit(&job);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	return 0;
}

CFS_AWAITS static int local_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out)
{
	struct job job = { .l = local_of(ctl), .fn = do_lease_grant, .number = ttl_ns };
	int rc = submit(&job);

	if (rc == 0)
		*lease_out = job.number;
	return rc;
}

CFS_AWAITS static int local_lease_keep(struct cfs_ctl *ctl, uint64_t lease)
{
	struct job job = { .l = local_of(ctl), .fn = do_lease_keep, .number = lease };

	return submit(&job);
}

CFS_AWAITS static int local_lease_end(struct cfs_ctl *ctl, uint64_t lease)
{
	struct job job = { .l = local_of(ctl), .fn = do_lease_end, .number = lease };

	return submit(&job);
}

static int do_close(struct job *job)
{
	for (uint32_t i = 0; i < ST_COUNT; i++)
		sqlite3_finalize(job->l->st[i]);
	sqlite3_close(job->l->db);
	job->l->db = NULL;
	return 0;
}

CFS_AWAITS static void local_close(struct cfs_ctl *ctl)
{
	struct job job = { .l = local_of(ctl), .fn = do_close };

	cfs_lock_take_always(&job.l->lock);
	cfs_offload(job_run, &job);
	cfs_lock_release(&job.l->lock);
	free(job.l);
}

static const struct cfs_ctl_ops local_ops = {
	.name = "local",
	.list = local_list,
	.txn = local_txn,
	.changes = local_changes,
	.wait = local_wait,
	.lease_grant = local_lease_grant,
	.lease_keep = local_lease_keep,
	.lease_end = local_lease_end,
	.close = local_close,
};

static int pragma_number(sqlite3 *db, const char *pragma, uint64_t *out)
{
	sqlite3_stmt *s = NULL;
	int rc = rc_of(sqlite3_prepare_v2(db, pragma, -1, &s, NULL));

	if (rc == 0)
		rc = run_number(s, out);
	sqlite3_finalize(s);
	return rc;
}

/* Makes the tables of an empty file; refuses what is not ours. Runs in a write transaction. */
static int schema_settle(struct local *l)
{
	char text[96];
	uint64_t application = 0, version = 0, tables = 0;
	int rc = pragma_number(l->db, "PRAGMA application_id", &application);

	if (rc == 0)
		rc = pragma_number(l->db, "PRAGMA user_version", &version);
	if (rc == 0)
		rc = pragma_number(l->db, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc < 0)
		return rc;
	if (application == LOCAL_APPLICATION_ID)
		return version == CFS_CTL_SCHEMA ? 0 : -CFS_EBAD_VERSION;
	if (application != 0 || tables != 0)
		return -CFS_EBAD_FORMAT;
	snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %u;",
		 LOCAL_APPLICATION_ID, CFS_CTL_SCHEMA);
	rc = rc_of(sqlite3_exec(l->db, text, NULL, NULL, NULL));
	return rc == 0 ? rc_of(sqlite3_exec(l->db, schema, NULL, NULL, NULL)) : rc;
}

/*
 * Others who open the file at the same moment hold what a change to WAL needs, and SQLite asks no
 * busy handler there, since it might wait for ever: so does this, for as long as a busy handler
 * would.
 */
static int wal_on(sqlite3 *db)
{
	int step = SQLITE_BUSY;

	for (uint32_t waited_ms = 0; waited_ms < LOCAL_BUSY_MS; waited_ms += LOCAL_WAL_RETRY_MS) {
		step = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
		if ((step & 0xff) != SQLITE_BUSY)
			break;
		sqlite3_sleep(LOCAL_WAL_RETRY_MS);
	}
	return rc_of(step);
}

static int file_open(struct local *l, const char *path)
{
	/* Made here, so that its mode is ours and SQLite's other files take it over. */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return -errno;
	close(fd);
	rc = rc_of(
		sqlite3_open_v2(path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL));
	if (rc < 0)
		return rc;
	sqlite3_busy_timeout(l->db, LOCAL_BUSY_MS);
	rc = wal_on(l->db);
	if (rc == 0)
		rc = rc_of(sqlite3_exec(l->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL));
	if (rc == 0)
		rc = rc_of(sqlite3_exec(l->db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
	if (rc < 0)
		return rc;
	rc = schema_settle(l);
	if (rc < 0) {
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
		return rc;
	}
	return rc_of(sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL));
}

static int boot_id_read(char boot[BOOT_ID_BYTES])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = read(fd, boot, BOOT_ID_BYTES - 1);
	close(fd);
	if (got <= 0)
		return -EIO;
	boot[got] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	return 0;
}

static int do_open(struct job *job)
{
	struct local *l = job->l;
	int rc = boot_id_read(l->boot);

	if (rc == 0)
		rc = file_open(l, job->path);
	for (uint32_t i = 0; rc == 0 && i < ST_COUNT; i++)
		rc = rc_of(sqlite3_prepare_v3(l->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
					      &l->st[i], NULL));
	if (rc == 0)
		rc = read_rev(l, &l->rev);
	if (rc == 0)
		rc = run_number(use(l, ST_DATA_VERSION), &l->data_version);
	if (rc < 0)
		do_close(job);
	return rc;
}

static void explain(int rc, const char *path, char *why, uint32_t why_bytes)
{
	const char *next = "look at its permissions and its disk";

	if (rc == -CFS_EBAD_FORMAT)
		next = "move it away; it is made anew from the stores at the next start";
	else if (rc == -CFS_EBAD_VERSION)
		next = "it is of another version of this program; use that one";
	else if (rc == -ENOENT)
		next = "its folder does not exist";
	else if (rc == -ENOSPC)
		next = "make room on its disk";
	snprintf(why, why_bytes, "control file %s: %s; %s", path, cfs_err_text(rc), next);
}

CFS_AWAITS int cfs_ctl_open_local(const char *path, struct cfs_ctl **out, char *why_out,
				  uint32_t why_bytes)
{
	struct local *l = calloc(1, sizeof(*l));
	struct job job = { .l = l, .fn = do_open, .path = path };
	int rc = l ? 0 : -ENOMEM;

	if (rc == 0) {
		l->ctl.ops = &local_ops;
		cfs_lock_init(&l->lock);
		rc = cfs_offload(job_run, &job);
	}
	if (rc < 0) {
		explain(rc, path, why_out, why_bytes);
		free(l);
		return rc;
	}
	*out = &l->ctl;
	return 0;
}
