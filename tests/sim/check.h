/*
 * A snapshot against the model.
 *
 * check_equal(): nothing was lost, every answer was true.
 *
 * check_prefix(), after a power cut: in each directory there is a beginning of each worker's row of
 * changes, with all that an fsync waited for; what changed two directories is in both or in
 * neither; where one change had returned before another was called, the later is not there without
 * the earlier. A file's attributes and size are as after one of its changes, at or after the last
 * sync; each chunk holds a beginning of what was written to it; what the size grew by is there, and
 * what a truncate took is not.
 *
 * An fsync flushes every store of its node, and so everything that had returned before it was
 * called: more than POSIX asks, and the check holds it to that.
 */
#ifndef CFS_TESTS_SIM_CHECK_H
#define CFS_TESTS_SIM_CHECK_H

#include "snap.h"

void check_equal(struct sim *s, const struct snap *p);
void check_prefix(struct sim *s, const struct snap *p);
/* The model begins anew from what is there. */
void model_rebase(struct sim *s, const struct snap *p);

/* check_file.c: a file against its history. */
void check_file_prefix(struct sim *s, const struct snap_inode *p, const struct m_inode *i);
bool check_attr_is(const struct m_attr *seen, const struct m_attr *a, bool is_dir);

#endif
