/* sd_notify(3), as far as it is needed: one datagram to the socket that systemd names in the
 * environment. */
#ifndef CFS_CLI_NOTIFY_H
#define CFS_CLI_NOTIFY_H

/* Sends @state, "READY=1" or "STOPPING=1\nSTATUS=..."; without a supervisor it does nothing. */
void cli_notify(const char *state);

#endif
