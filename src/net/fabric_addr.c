/* Addresses of fabrics: as text, as sockaddr, as names in shared memory. */
#include "net/fabric_internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHM_NAME_BYTES_MAX 40u

/* "HOST:PORT" or "[HOST]:PORT". */
int host_port_parse(const char *text, struct host_port *out)
{
	const char *colon = strrchr(text, ':');
	size_t host_bytes, port_bytes;
	char *end;
	unsigned long port;

	if (!colon)
		return -EINVAL;
	host_bytes = (size_t)(colon - text);
	port_bytes = strlen(colon + 1);
	if (host_bytes >= 2 && text[0] == '[' && text[host_bytes - 1] == ']') {
		text++;
		host_bytes -= 2;
	} else if (memchr(text, ':', host_bytes)) {
		return -EINVAL; /* an IPv6 address without its brackets */
	}
	if (host_bytes == 0 || host_bytes >= sizeof(out->host) || port_bytes == 0 ||
	    port_bytes >= sizeof(out->port))
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > UINT16_MAX || !isdigit((unsigned char)colon[1]))
		return -EINVAL;
	memcpy(out->host, text, host_bytes);
	out->host[host_bytes] = 0;
	memcpy(out->port, colon + 1, port_bytes + 1);
	return 0;
}

bool fabric_shm_name_is_fine(const char *name, size_t len_bytes)
{
	if (len_bytes == 0 || len_bytes > SHM_NAME_BYTES_MAX)
		return false;
	for (size_t i = 0; i < len_bytes; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.:", name[i]))
			return false;
	return true;
}

static const char *shm_name(const char *addr)
{
	const char *slashes = strstr(addr, "://");

	return slashes ? slashes + strlen("://") : addr;
}

/* It becomes the name of a file in memory: no slash. */
static bool shm_addr_is_fine(const char *addr)
{
	const char *name = shm_name(addr);

	return (strncmp(addr, SHM_PREFIX, strlen(SHM_PREFIX)) == 0 ||
		strncmp(addr, SHM_NAMED, strlen(SHM_NAMED)) == 0) &&
	       fabric_shm_name_is_fine(name, strlen(name));
}

/* Is @a one that this fabric can use? It may come from a peer. */
bool fabric_addr_is_fine(const struct fabric *f, const struct net_addr *a)
{
	sa_family_t family;

	if (f->is_shm)
		return a->len_bytes > 0 && !a->bytes[a->len_bytes - 1] &&
		       shm_addr_is_fine((const char *)a->bytes);
	memcpy(&family, a->bytes, sizeof(family));
	if (f->info->addr_format == FI_SOCKADDR_IN)
		return a->len_bytes == sizeof(struct sockaddr_in) && family == AF_INET;
	return f->info->addr_format == FI_SOCKADDR_IN6 &&
	       a->len_bytes == sizeof(struct sockaddr_in6) && family == AF_INET6;
}

/* The address that we got, as text. */
void fabric_addr_print(struct fabric *f, const struct net_addr *a)
{
	struct cfs_net *net = f->net;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	char text[INET6_ADDRSTRLEN];

	if (f->is_shm) {
		(void)snprintf(net->addr, sizeof(net->addr), "shm:%s",
			       shm_name((const char *)a->bytes));
	} else if (a->len_bytes == sizeof(in)) {
		memcpy(&in, a->bytes, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		(void)snprintf(net->addr, sizeof(net->addr), "%s:%s:%u", net->ops->scheme, text,
			       ntohs(in.sin_port));
	} else {
		memcpy(&in6, a->bytes, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		(void)snprintf(net->addr, sizeof(net->addr), "%s:[%s]:%u", net->ops->scheme, text,
			       ntohs(in6.sin6_port));
	}
}
