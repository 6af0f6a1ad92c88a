/*
 * A process in the background, and the one that started it and waits until it is of use.
 *
 * The starter gets one message over a pipe: what is to be told to the user, and whether it went
 * well. Then the background process lets go of terminal and pipe. If the starter is gone by then,
 * the background process gives up.
 */
#ifndef CFS_CLI_DAEMON_H
#define CFS_CLI_DAEMON_H

#include <stdbool.h>

#define CLI_DAEMON_TEXT_BYTES 900 /* below PIPE_BUF with its head: one write */

struct cli_daemon {
	int fd; /* of the pipe, in the background process; -1 after it was used */
};

/*
 * Forks. In the background process: returns 1, its standard files are /dev/null, it has a session
 * of its own and works in /. In the starter: waits; 0: it is ready, @text is its report; negative:
 * it failed, @text says why. A process that dies says nothing: "".
 */
int cli_daemon_fork(struct cli_daemon *d, char text[CLI_DAEMON_TEXT_BYTES]);
/* Background process: reports. @rc 0: ready. False: the starter is gone. Only the first report
 * counts. */
bool cli_daemon_report(struct cli_daemon *d, int rc, const char *text);

#endif
