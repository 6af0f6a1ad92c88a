/*
 * The model: the file system as the answers say it is, and the history since the last time when
 * everything was known, for what a power cut may leave.
 *
 * Who does what: a worker owns names that begin with its number, in its own directories and in
 * those shared by all; so the outcome of each of its operations is known exactly, whatever the
 * others do beside it.
 *
 * History. Names: for each directory and worker a row of changes. Contents: for each file a row of
 * changes. Each change belongs to an operation, which has the times of its call and its return; the
 * one under way when everything dies may be there or not.
 */
#ifndef CFS_TESTS_SIM_MODEL_H
#define CFS_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/msg.h"
#include "sim.h"

#define MODEL_NAME_MAX 40u
#define MODEL_XATTRS 4u
#define MODEL_DATA_MAX (6u * 1024 * 1024) /* contents end here; what is behind is a hole */
#define MODEL_PLACES_MAX 12u
#define MODEL_OWNER_ALL UINT32_MAX

struct m_inode;

struct m_dentry {
	char name[MODEL_NAME_MAX];
	struct m_inode *to;
};

struct m_xattr {
	uint32_t len_bytes;
	uint64_t hash; /* of the value */
	bool is_set;
};

/* What a client sees of an inode but for its contents. */
struct m_attr {
	uint32_t mode, uid, gid;
	uint64_t size;
	struct m_xattr xattr[MODEL_XATTRS];
};

/* A change of a name. */
enum m_change_kind { M_PUT, M_REMOVE, M_BORN, M_GONE };
struct m_change {
	enum m_change_kind kind; /* M_BORN, M_GONE: of the directory itself, first and last */
	uint32_t op;
	char name[MODEL_NAME_MAX];
	struct m_inode *to;
};

/* The changes of one worker in one directory; base: what of its names was there before. */
struct m_row {
	struct m_inode *dir;
	uint32_t worker;
	struct m_dentry *base;
	uint32_t base_count;
	struct m_change *changes;
	uint32_t count, cap;
	uint32_t kept; /* while checking: so many changes are there */
};

enum m_write_kind { M_WRITE, M_ZERO, M_SIZE, M_ATTR, M_XATTR };
struct m_write {
	enum m_write_kind kind;
	uint32_t op;
	uint64_t off, len, pattern; /* M_WRITE, M_ZERO */
	uint8_t *bytes;             /* M_WRITE: what instead of the pattern, owned; or NULL */
	uint64_t size_before;
	struct m_attr before, after;
};

struct m_inode {
	struct m_inode *next; /* all of the model */
	uint64_t ino;         /* 0: not known, its making was not answered */
	uint32_t id;          /* of the model */
	uint32_t owner;
	struct m_attr attr;
	uint32_t nlink, opens, rdev;
	char *target;
	/* contents: data_bytes of them, zeros from there to size */
	uint8_t *data;
	uint64_t data_bytes, data_cap;
	/* times, where nobody changed it since they were seen */
	bool has_times;
	int64_t mtime, ctime;
	/* directory */
	struct m_inode *parent;
	char name[MODEL_NAME_MAX];
	struct m_dentry *dentries;
	uint32_t dentry_count, dentry_cap;
	struct m_row **rows;
	uint32_t row_count, row_cap;
	/* history of a file; base: as it was before */
	bool has_base;
	struct m_attr base_attr;
	uint8_t *base_data;
	uint64_t base_data_bytes;
	struct m_write *writes;
	uint32_t write_count, write_cap;
};

/* Where an operation changed a name. */
struct m_place {
	struct m_row *row;
	uint32_t index;
};

struct m_op {
	uint32_t worker;
	uint64_t call_ns, return_ns; /* UINT64_MAX: not returned */
	struct m_place places[MODEL_PLACES_MAX];
	uint32_t place_count;
};

struct sim_model {
	struct sim *sim;
	struct m_inode *inodes, *root;
	uint32_t next_id, inode_count;
	struct m_op *ops;
	uint32_t op_count, op_cap;
	uint64_t synced_ns; /* all that returned before this is on the device */
};

struct sim_model *model_create(struct sim *s);
void model_destroy(struct sim_model *m);

/* The name of extended attribute @index: "user." is for files and directories only. */
void model_xattr_name(uint32_t mode, uint32_t index, char out[16]);
struct m_inode *model_inode(struct sim_model *m, uint32_t mode, uint32_t owner);
struct m_inode *model_find(const struct sim_model *m, uint64_t ino); /* NULL */
static inline bool model_is_dir(const struct m_inode *i)
{
	return (i->attr.mode & 0170000) == 0040000;
}
static inline bool model_is_reg(const struct m_inode *i)
{
	return (i->attr.mode & 0170000) == 0100000;
}
static inline bool model_is_link(const struct m_inode *i)
{
	return (i->attr.mode & 0170000) == 0120000;
}
/* Who owns a name: a worker's number, or MODEL_OWNER_ALL. */
uint32_t model_owner(const char *name, uint32_t len);

/* --- names as they are now --- */

struct m_inode *model_look(const struct m_inode *dir, const char *name);
/* Put and remove keep link counts and parents. An inode without links and opens stays known, and is
 * not alive. */
void model_put(struct m_inode *dir, const char *name, struct m_inode *to);
void model_remove(struct m_inode *dir, const char *name);
bool model_is_alive(const struct sim_model *m, const struct m_inode *i);
bool model_is_below(const struct m_inode *dir, const struct m_inode *top); /* or the same */

/* --- contents as they are now --- */

void pattern_fill(uint64_t pattern, uint64_t off, uint8_t *out, uint64_t len);
void model_write(struct m_inode *i, uint64_t off, uint64_t len, uint64_t pattern);
void model_copy(struct m_inode *i, uint64_t off, uint64_t len, const uint8_t *bytes);
void model_zero(struct m_inode *i, uint64_t off, uint64_t len);
void model_resize(struct m_inode *i, uint64_t size);
/* What a read of at most @len gives; returns its length. */
uint64_t model_read(const struct m_inode *i, uint64_t off, uint64_t len, uint8_t *out);

/* --- history --- */

/* An operation begins: what it will change follows; then it is called. */
uint32_t model_op(struct sim_model *m, uint32_t worker);
void model_op_change(struct sim_model *m, uint32_t op, struct m_inode *dir, enum m_change_kind kind,
		     const char *name, struct m_inode *to);
struct m_write *model_op_write(struct sim_model *m, uint32_t op, struct m_inode *i,
			       enum m_write_kind kind);
/* It returned; @has_effect: what was said before took place. */
void model_op_end(struct sim_model *m, uint32_t op, bool has_effect);
/* Everything that returned before @ns is on the device. */
void model_synced(struct sim_model *m, uint64_t ns);
struct m_row *model_row(struct m_inode *dir, uint32_t worker);

#endif
