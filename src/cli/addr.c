#include "cli/addr.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static int bad(char why[128], const char *text, const char *what)
{
	snprintf(why, 128, "address '%.48s': %s", text, what);
	return -EINVAL;
}

/* Splits "HOST:PORT"; what is missing is the default. */
static int split(const char *text, char host[CFS_NET_ADDR_BYTES], const char **port)
{
	const char *colon;

	*port = CLI_PORT_DEFAULT;
	if (is_number(text)) {
		*port = text;
		strcpy(host, "127.0.0.1");
		return 0;
	}
	if (text[0] == '[') {
		colon = strchr(text, ']');
		if (!colon || (colon[1] != ':' && colon[1] != '\0'))
			return -EINVAL;
		colon = colon[1] ? colon + 1 : NULL;
	} else {
		colon = strchr(text, ':');
		if (colon && strchr(colon + 1, ':'))
			return -EINVAL;
	}
	if (colon)
		*port = colon + 1;
	snprintf(host, CFS_NET_ADDR_BYTES, "%.*s", (int)(colon ? colon - text : (long)strlen(text)),
		 text);
	if (!host[0])
		strcpy(host, "127.0.0.1");
	return 0;
}

int cli_addr(const char *text, const char *fabric, char out[CFS_NET_ADDR_BYTES], char why[128])
{
	char host[CFS_NET_ADDR_BYTES];
	const char *port;
	uint64_t number;

	if (strlen(text) >= CFS_NET_ADDR_BYTES - 8 || !text[0])
		return bad(why, text, text[0] ? "too long" : "empty");
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(".:-_[]%/", *p))
			return bad(why, text, "has a character that no address has");
	if (strncmp(text, "shm:", 4) == 0) {
		snprintf(out, CFS_NET_ADDR_BYTES, "%s", text);
		return text[4] ? 0 : bad(why, text, "the name is missing");
	}
	if (strncmp(text, "tcp:", 4) == 0) {
		fabric = "tcp";
		text += 4;
		if (!text[0])
			return bad(why, text, "the host is missing");
	} else if (strcmp(fabric, "shm") == 0) {
		snprintf(out, CFS_NET_ADDR_BYTES, "shm:%s", text);
		return 0;
	}
	if (split(text, host, &port) < 0)
		return bad(why, text, "write ADDRESS:PORT, or [ADDRESS]:PORT for IPv6");
	if (!is_number(port) || cfs_str_to_u64(port, &number) < 0 || number > 65535)
		return bad(why, text, "the port is a number up to 65535");
	snprintf(out, CFS_NET_ADDR_BYTES, "%s:%s:%s", fabric, host, port);
	return 0;
}
