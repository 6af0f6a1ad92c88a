/* Asserts that stay on in release, and expensive ones that do not. One condition each. */
#ifndef CFS_BASE_ASSERT_H
#define CFS_BASE_ASSERT_H

#include <assert.h>

__attribute__((noreturn, cold)) void cfs_assert_failed(const char *expr, const char *file, int line,
						       const char *func);

#define cfs_assert(cond) ((cond) ? (void)0 : cfs_assert_failed(#cond, __FILE__, __LINE__, __func__))
#ifdef CFS_DEBUG
#define cfs_debug_assert(cond) cfs_assert(cond)
#else
#define cfs_debug_assert(cond) ((void)sizeof(!!(cond)))
#endif

#endif
