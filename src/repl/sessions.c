#include "repl/sessions.h"

#include <errno.h>
#include <stdlib.h>

#include "base/stock.h"

static bool has_ended(const struct cfs_sessions *t, uint64_t id)
{
	for (uint32_t i = 0; t->over && i < CFS_SESSIONS_OVER_MAX; i++)
		if (t->over[i] == id)
			return true;
	return false;
}

static struct cfs_session_live **live_find(struct cfs_sessions *t, uint64_t id)
{
	struct cfs_session_live **at = &t->live;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static void live_remove(struct cfs_sessions *t, struct cfs_session_live **at)
{
	struct cfs_session_live *s = *at;

	*at = s->next;
	t->live_count--;
	free(s);
}

static int begin(struct cfs_sessions *t, uint64_t id)
{
	struct cfs_session_live *s;

	if (*live_find(t, id) || has_ended(t, id))
		return 0;
	s = cfs_stock_malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct cfs_session_live){ t->live, id };
	t->live = s;
	t->live_count++;
	return 0;
}

static int end(struct cfs_sessions *t, uint64_t id)
{
	struct cfs_session_live **at = live_find(t, id);

	if (!t->over)
		t->over = cfs_stock_calloc(CFS_SESSIONS_OVER_MAX * sizeof(*t->over));
	if (!t->over)
		return -ENOMEM;
	if (*at)
		live_remove(t, at);
	if (!has_ended(t, id))
		t->over[t->over_at++ % CFS_SESSIONS_OVER_MAX] = id;
	return 0;
}

int cfs_sessions_put(struct cfs_sessions *t, uint64_t id, bool is_over)
{
	return is_over ? end(t, id) : begin(t, id);
}

uint64_t cfs_sessions_over(const struct cfs_sessions *t, uint32_t i)
{
	return t->over ? t->over[(t->over_at + i) % CFS_SESSIONS_OVER_MAX] : 0;
}

void cfs_sessions_fini(struct cfs_sessions *t)
{
	while (t->live)
		live_remove(t, &t->live);
	free(t->over);
	*t = (struct cfs_sessions){ 0 };
}
