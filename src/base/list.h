/*
 * Intrusive doubly linked list. The head is a node whose neighbours are itself when the list is
 * empty. Whoever embeds a node owns it; a node is in one list at a time.
 */
#ifndef CFS_BASE_LIST_H
#define CFS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct cfs_list {
	struct cfs_list *next, *prev;
};

#define CFS_LIST_INIT(name) \
	{ \
		&(name), &(name) \
	}
#define cfs_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define cfs_container_of_const(ptr, type, member) \
	((const type *)(const void *)((const char *)(ptr)-offsetof(type, member)))

static inline void cfs_list_init(struct cfs_list *l)
{
	l->next = l->prev = l;
}

static inline bool cfs_list_is_empty(const struct cfs_list *l)
{
	return l->next == l;
}

static inline void cfs_list_link(struct cfs_list *n, struct cfs_list *prev, struct cfs_list *next)
{
	n->next = next;
	n->prev = prev;
	prev->next = n;
	next->prev = n;
}

static inline void cfs_list_push(struct cfs_list *head, struct cfs_list *n)
{
	cfs_list_link(n, head, head->next);
}

static inline void cfs_list_append(struct cfs_list *head, struct cfs_list *n)
{
	cfs_list_link(n, head->prev, head);
}

/* Takes @n out; harmless when it is in no list but was initialised. */
static inline void cfs_list_remove(struct cfs_list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	cfs_list_init(n);
}

static inline struct cfs_list *cfs_list_pop(struct cfs_list *head)
{
	struct cfs_list *n = head->next;

	if (n == head)
		return NULL;
	cfs_list_remove(n);
	return n;
}

/* Moves all of @from to the end of @to; @from is empty after. */
static inline void cfs_list_splice(struct cfs_list *to, struct cfs_list *from)
{
	if (cfs_list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	cfs_list_init(from);
}

#define cfs_list_entry(node, type, member) cfs_container_of(node, type, member)
#define cfs_list_first(head, type, member) cfs_list_entry((head)->next, type, member)
#define cfs_list_for_each(pos, head) \
	for (struct cfs_list *pos = (head)->next; pos != (head); pos = pos->next)
/* Allows removal of @pos inside the loop. */
#define cfs_list_for_each_safe(pos, tmp, head) \
	for (struct cfs_list *pos = (head)->next, *tmp = pos->next; pos != (head); \
	     pos = tmp, tmp = pos->next)

#endif
