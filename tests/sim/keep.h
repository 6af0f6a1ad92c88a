/*
 * What a mount's kernel keeps, in place of it: names, listings, attributes and a page of a few
 * inodes, under the client's leases, by the rules of src/fuse/cache.c. An answer from it costs no
 * message and no time.
 */
#ifndef CFS_TESTS_SIM_KEEP_H
#define CFS_TESTS_SIM_KEEP_H

#include "client/client.h"
#include "sim.h"

#define KEEP_INODES_MAX 8u
#define KEEP_NAMES 3u
#define KEEP_PAGE_BYTES 8u

/* One inode of the round; all times are ends, 0: nothing is kept. */
struct keep_inode {
	uint64_t ino;
	bool is_dir;
	bool is_kept;           /* something was kept under a lease that has not been recalled */
	uint32_t changing;      /* changes by this mount that are under way */
	uint64_t changed_event; /* when the last one ended */
	/* a directory */
	uint64_t name_until_ns[KEEP_NAMES], name[KEEP_NAMES]; /* keep_entry() */
	uint64_t list_until_ns, list[KEEP_NAMES];
	uint32_t lookers; /* its lock in the kernel: who looks without an answer at hand, */
	bool is_locked;   /* or changes it */
	struct cfs_waitq unlocked;
	/* a file */
	uint64_t attr_until_ns;
	struct cfs_attr attr;
	uint32_t opens; /* for reading, by the kernel's own count */
	bool is_open_cached, has_page, is_dropping, was_read;
	uint64_t page;
	int64_t page_mtime;
};

struct keep_mount {
	struct sim *sim;
	uint32_t id;
	uint64_t rand;
	struct cfs_client *client;
	struct keep_inode inode[KEEP_INODES_MAX];
	uint32_t evictions;
	uint64_t hits, asks, recalls;
};

/* What a name stands for, as a number; 0: nothing. */
static inline uint64_t keep_entry(uint64_t ino, uint32_t mode)
{
	return ino << 1 | ((mode & 0170000) == 0040000);
}

struct cfs_client_name keep_name(uint32_t name); /* as text */

/* Numbers what happens; the history's as well. */
uint64_t keep_event(void);

/* Hooks for @opts. */
void keep_hooks(struct keep_mount *m, struct cfs_client_opts *opts);
/* Other inodes from now on, @dirs directories first; nothing is kept. */
void keep_reset(struct keep_mount *m, const uint64_t *inos, uint32_t count, uint32_t dirs);

/* As stat(2), read(2) of the first bytes of a file, open(2) of a name, getdents(2); by number of
 * inode and name. */
CFS_AWAITS int keep_stat(struct keep_mount *m, uint32_t inode, struct cfs_attr *out);
CFS_AWAITS int keep_read(struct keep_mount *m, uint32_t inode, uint64_t *out);
/* Gives the descriptor of keep_read() back. */
CFS_AWAITS void keep_close(struct keep_mount *m, uint32_t inode);
CFS_AWAITS int keep_lookup(struct keep_mount *m, uint32_t inode, uint32_t name, uint64_t *out);
CFS_AWAITS int keep_list(struct keep_mount *m, uint32_t inode, uint64_t out[KEEP_NAMES]);

/* What is kept, without asking and without waiting, as many programs would see it; false: nothing
 * is. */
bool keep_peek_stat(struct keep_mount *m, uint32_t inode, struct cfs_attr *out);
bool keep_peek_read(struct keep_mount *m, uint32_t inode, uint64_t *out);
bool keep_peek_lookup(struct keep_mount *m, uint32_t inode, uint32_t name, uint64_t *out);
bool keep_peek_list(struct keep_mount *m, uint32_t inode, uint64_t out[KEEP_NAMES]);

/* Around each change of an inode by this mount; of a directory it waits for others' and for looks.
 * @name: which name of it, KEEP_NAMES: none. */
CFS_AWAITS void keep_change_begin(struct keep_mount *m, uint32_t inode);
void keep_change_end(struct keep_mount *m, uint32_t inode, uint32_t name);
/* This mount has written it: the page goes. */
void keep_written(struct keep_mount *m, uint32_t inode);

#endif
