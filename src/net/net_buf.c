/* Message buffers. Memory is taken when the traffic grows and kept for the next message, so that
 * steady traffic allocates nothing; how much that is, is bounded by the credits. */
#include <string.h>

#include "base/assert.h"
#include "base/util.h"
#include "net/net_internal.h"

static bool is_small(const struct cfs_net_buf *b)
{
	return b->cap_bytes == NET_BUF_SMALL_BYTES;
}

static void buf_free(struct cfs_net_buf *b)
{
	if (b->net && b->net->ops->buf_unregister)
		b->net->ops->buf_unregister(b->net, b);
	free(b);
}

struct cfs_net_buf *net_buf_get(struct cfs_net *net, uint32_t len_bytes)
{
	bool small = len_bytes <= NET_BUF_SMALL_BYTES;
	uint32_t cap_bytes = small ? NET_BUF_SMALL_BYTES : NET_BUF_LARGE_BYTES;
	struct cfs_list *node = cfs_list_pop(small ? &net->bufs_small : &net->bufs_large);
	struct cfs_net_buf *b;

	cfs_assert(len_bytes <= NET_BUF_LARGE_BYTES);
	if (node) {
		b = cfs_list_entry(node, struct cfs_net_buf, link);
		*(small ? &net->bufs_small_count : &net->bufs_large_count) -= 1;
	} else {
		b = malloc(sizeof(*b) + NET_HEADROOM_BYTES + cap_bytes);
		if (!b)
			return NULL;
		*b = (struct cfs_net_buf){ .cap_bytes = cap_bytes };
		if (net->ops->buf_register && net->ops->buf_register(net, b) < 0) {
			free(b);
			return NULL;
		}
	}
	b->len_bytes = 0;
	b->owner = NULL;
	net_buf_attach(net, b);
	return b;
}

void net_buf_attach(struct cfs_net *net, struct cfs_net_buf *b)
{
	b->net = net;
	cfs_list_append(&net->bufs_used, &b->link);
}

void net_buf_detach(struct cfs_net_buf *b)
{
	if (b->net)
		cfs_list_remove(&b->link);
	b->net = NULL;
}

void net_buf_put(struct cfs_net_buf *b)
{
	struct cfs_net *net = b ? b->net : NULL;
	uint32_t *count;

	if (!b)
		return;
	if (!net) {
		buf_free(b);
		return;
	}
	cfs_list_remove(&b->link);
	count = is_small(b) ? &net->bufs_small_count : &net->bufs_large_count;
	if (*count >= NET_BUFS_KEPT_MAX) {
		buf_free(b);
		return;
	}
	cfs_list_push(is_small(b) ? &net->bufs_small : &net->bufs_large, &b->link);
	*count += 1;
}

static void list_free(struct cfs_list *l)
{
	struct cfs_list *node;

	while ((node = cfs_list_pop(l)) != NULL)
		buf_free(cfs_list_entry(node, struct cfs_net_buf, link));
}

void net_bufs_fini(struct cfs_net *net)
{
	list_free(&net->bufs_small);
	list_free(&net->bufs_large);
	list_free(&net->bufs_used);
}
