/* Addresses as people write them, and as the transport wants them. */
#ifndef CFS_CLI_ADDR_H
#define CFS_CLI_ADDR_H

#include "net/net.h"

#define CLI_PORT_DEFAULT "9870"

/*
 * "10.0.0.1:9870", "[::1]:9870", "host" (port 9870), ":9870" and "9870" (127.0.0.1), or with the
 * transport in front, "tcp:HOST:PORT", "shm:NAME". @fabric: the transport if none is in front.
 * @out: "tcp:10.0.0.1:9870". 0; -EINVAL with the reason in @why.
 */
int cli_addr(const char *text, const char *fabric, char out[CFS_NET_ADDR_BYTES], char why[128]);

#endif
