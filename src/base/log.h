/*
 * Log lines: "message  key=value ...", to stderr with <N> priorities under systemd, plain time
 * stamps otherwise, or to a bounded file for what runs in the background. Only edges (client,
 * server, fuse, cli) log.
 */
#ifndef CFS_BASE_LOG_H
#define CFS_BASE_LOG_H

#include "base/util.h"

enum cfs_log_level { CFS_LOG_ERR = 3, CFS_LOG_WARN = 4, CFS_LOG_INFO = 6, CFS_LOG_DEBUG = 7 };

/* Sends lines to @path, kept under @bytes_max by dropping to "@path.1". NULL: stderr. Returns 0 or
 * -errno. */
int cfs_log_open(const char *path, uint64_t bytes_max);
void cfs_log_level_set(enum cfs_log_level level);
/* @fmt holds the values, "seg=%u rc=%s"; may be "". */
void cfs_log_write(enum cfs_log_level level, const char *msg, const char *fmt, ...)
	CFS_PRINTF(3, 4);

#define cfs_err(msg, ...) cfs_log_write(CFS_LOG_ERR, msg, __VA_ARGS__)
#define cfs_warn(msg, ...) cfs_log_write(CFS_LOG_WARN, msg, __VA_ARGS__)
#define cfs_info(msg, ...) cfs_log_write(CFS_LOG_INFO, msg, __VA_ARGS__)
#define cfs_debug(msg, ...) cfs_log_write(CFS_LOG_DEBUG, msg, __VA_ARGS__)

#endif
