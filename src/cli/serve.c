/* cfs serve: a server in the foreground, for a terminal or a service manager. */
#include <stdio.h>

#include "cli/addr.h"
#include "cli/cli.h"
#include "cli/session.h"

#define LISTEN_DEFAULT "127.0.0.1:" CLI_PORT_DEFAULT

static bool on_ready(void *arg, const char *addr)
{
	const struct cli *c = arg;

	printf("serving %s at %s\n", c->words[0], addr);
	fflush(stdout);
	return true;
}

static int run(struct cli *c)
{
	char listen[CFS_NET_ADDR_BYTES], why[128];
	struct cli_session s = {
		.store = c->words[0],
		.listen = listen,
		.cfg = &c->cfg,
		.ready = on_ready,
		.arg = c,
	};

	if (cli_addr(c->cfg.listen[0] ? c->cfg.listen : LISTEN_DEFAULT, c->cfg.fabric, listen,
		     why) < 0)
		return cli_usage(c, "%s", why);
	return cli_session_run(&s) < 0 ? cli_fail_text(c, s.why) : CLI_OK;
}

const struct cli_verb cli_serve = {
	.name = "serve",
	.synopsis = "STORE [--listen ADDR:PORT]",
	.summary = "Serve a store, in the foreground",
	.text = "Listens on " LISTEN_DEFAULT
		" unless told otherwise. There are no keys yet: who can reach\n"
		"another address has the whole file system. SIGTERM finishes what is under way "
		"and\n"
		"flushes; after kill -9 the next start goes on from the store's tail, and nothing "
		"that\n"
		"was acknowledged is lost.",
	.examples =
		"  cfs serve /srv/store\n  cfs serve /srv/store --listen 10.0.0.1:9870 --cores 2\n",
	.words_min = 1,
	.words_max = 1,
	.has_config = true,
	.run = run,
};
