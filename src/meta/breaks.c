#include "meta/breaks.h"

#ifdef CFS_BREAKS
uint32_t cfs_break_now = CFS_BREAK_NONE;
#endif
