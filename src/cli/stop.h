/*
 * SIGTERM and SIGINT as something that a fiber waits for. The first one asks to end in order; from
 * then on a second one kills, as it would any process.
 */
#ifndef CFS_CLI_STOP_H
#define CFS_CLI_STOP_H

#include "base/fiber.h"

/* Blocks the signals in this thread and those that it starts: before the runtime. Returns a
 * descriptor, or -errno. */
int cli_stop_open(void);
void cli_stop_close(int fd);
/* Waits for the first signal. 0: it came; -ECANCELED; -ETIMEDOUT. */
CFS_AWAITS int cli_stop_wait(int fd);

#endif
