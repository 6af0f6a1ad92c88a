/* What the files of the workers share. */
#ifndef CFS_TESTS_SIM_WORKER_INTERNAL_H
#define CFS_TESTS_SIM_WORKER_INTERNAL_H

#include "worker.h"

/* Errors that an operation may give; none: it must succeed. */
struct wants {
	int codes[6];
	uint32_t count;
};

void want(struct wants *w, int code);
/* Begins an operation: by which client, and when. */
void op_begin(struct sim_worker *w);
/* Judges the answer and puts it in the trace; true: it succeeded. */
bool op_judge(struct sim_worker *w, const char *what, int rc, const struct wants *wants,
	      const char *fmt, ...) CFS_PRINTF(5, 6);

struct cfs_client_name name_of(const char *name);
void attr_check(struct sim_worker *w, const char *what, struct m_inode *i,
		const struct cfs_attr *a);
/* Any inode of the worker's that is alive and for which @is_fit holds; NULL. */
struct m_inode *pick_inode(struct sim_worker *w, bool (*is_fit)(const struct m_inode *i));
struct m_inode *pick_dir(struct sim_worker *w);
void pick_name(struct sim_worker *w, const struct m_inode *dir, char out[MODEL_NAME_MAX]);
void handle_add(struct sim_worker *w, struct m_inode *i);
static inline bool handles_full(const struct sim_worker *w)
{
	return w->handle_count == WORKER_HANDLES_MAX;
}
static inline uint32_t below(struct sim_worker *w, uint32_t n)
{
	return sim_below(&w->rand, n);
}
static inline bool one_in(struct sim_worker *w, uint32_t n)
{
	return below(w, n) == 0;
}

/* worker_name.c */
CFS_AWAITS void do_create(struct sim_worker *w);
CFS_AWAITS void do_mkdir(struct sim_worker *w);
CFS_AWAITS void do_remove(struct sim_worker *w);
CFS_AWAITS void do_rename(struct sim_worker *w);
CFS_AWAITS void do_link(struct sim_worker *w);
CFS_AWAITS void do_lookup(struct sim_worker *w);
CFS_AWAITS void do_readdir(struct sim_worker *w);

/* worker_file.c */
CFS_AWAITS void do_write(struct sim_worker *w);
CFS_AWAITS void do_read(struct sim_worker *w);
CFS_AWAITS void do_truncate(struct sim_worker *w);
CFS_AWAITS void do_fallocate(struct sim_worker *w);
CFS_AWAITS void do_copy(struct sim_worker *w);
CFS_AWAITS void do_fsync(struct sim_worker *w);
CFS_AWAITS void do_open(struct sim_worker *w);
CFS_AWAITS void do_release(struct sim_worker *w);
CFS_AWAITS void do_release_at(struct sim_worker *w, uint32_t index);

/* worker_attr.c */
CFS_AWAITS void do_setattr(struct sim_worker *w);
CFS_AWAITS void do_getattr(struct sim_worker *w);
CFS_AWAITS void do_setxattr(struct sim_worker *w);
CFS_AWAITS void do_getxattr(struct sim_worker *w);
CFS_AWAITS void do_readlink(struct sim_worker *w);

/* worker_lock.c */
CFS_AWAITS void do_lock(struct sim_worker *w);

#endif
