/*
 * A process's work from start to end: a server, a mount, or both in one (quickstart), in that order
 * up and in the other order down. It ends when the mount is unmounted, or by SIGTERM or SIGINT,
 * which unmount.
 */
#ifndef CFS_CLI_SESSION_H
#define CFS_CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "net/net.h"

#define CLI_WHY_BYTES 640u

struct cli;

struct cli_session {
	const char *store;   /* to serve; NULL: none, @server does */
	const char *server;  /* transport address of it; NULL: in this process */
	const char *listen;  /* transport address for others; NULL: none */
	const char *dir;     /* to mount on, absolute; NULL: no mount */
	const char *source;  /* what the kernel's list of mounts is to say */
	unsigned long flags; /* MS_ flags of the mount */
	bool may_be_nonempty;
	int consistency; /* of fuse.h, as the configuration says; and ns of `lazy` */
	uint64_t lazy_ns;
	const struct cfs_config *cfg;
	/* Called once, when it can be used; @addr: what it listens on, or NULL. False: nobody is
	 * interested any more. */
	bool (*ready)(void *arg, const char *addr);
	void *arg;
	char why[CLI_WHY_BYTES]; /* out: on failure, a sentence with cause and next step */
};

/*
 * Where a process that serves its store to itself listens for others too: the key listen, in
 * @listen, which stays the caller's; nowhere if it is empty. An exit code; it has said what is
 * wrong.
 */
int cli_listen(const struct cli *c, struct cli_session *s, char listen[CFS_NET_ADDR_BYTES]);

/* Runs it in this thread, which starts the runtime. 0: it ended in order. */
int cli_session_run(struct cli_session *s);

/* Runs @fn as the first fiber of a runtime of @cores, after a look whether io_uring may be used;
 * else -ENOSYS with @why. */
int cli_runtime_run(uint32_t cores, int (*fn)(void *arg), void *arg, char *why, uint32_t why_bytes);

#endif
