/* A sorted array: a file has few locks, and whoever asks looks at those of all owners. */
#include "meta/lock_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/breaks.h"
#include "base/util.h"

#define ROOM_MIN 4u
#define GROWTH_MAX 2u /* a put into the middle of a range splits it in two and adds one */

void cfs_lock_set_init(struct cfs_lock_set *s)
{
	memset(s, 0, sizeof(*s));
}

void cfs_lock_set_fini(struct cfs_lock_set *s)
{
	free(s->locks);
	cfs_lock_set_init(s);
}

int cfs_lock_set_reserve(struct cfs_lock_set *s)
{
	uint32_t room = CFS_MAX(s->room, ROOM_MIN);
	struct cfs_range_lock *locks;

	while (room < s->count + GROWTH_MAX)
		room *= 2;
	if (room == s->room)
		return 0;
	locks = realloc(s->locks, room * sizeof(*locks));
	if (!locks)
		return -ENOMEM;
	s->locks = locks;
	s->room = room;
	return 0;
}

static int cmp_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int owner_cmp(const struct cfs_range_lock *a, const struct cfs_range_lock *b)
{
	int cmp = (int)a->is_flock - (int)b->is_flock;

	if (cmp == 0)
		cmp = cmp_u64(a->session, b->session);
	return cmp ? cmp : cmp_u64(a->owner, b->owner);
}

static bool overlap(const struct cfs_range_lock *a, const struct cfs_range_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

/* One behind the other, without a byte between them. */
static bool touch(const struct cfs_range_lock *a, const struct cfs_range_lock *b)
{
	return a->end + 1 == b->start || b->end + 1 == a->start;
}

bool cfs_range_locks_conflict(const struct cfs_range_lock *a, const struct cfs_range_lock *b)
{
	return a->is_flock == b->is_flock && !cfs_range_lock_is_owner(a, b) &&
	       (a->type == CFS_LOCK_WRITE || b->type == CFS_LOCK_WRITE ||
		CFS_BREAK(LOCK_READERS_ALONE)) &&
	       overlap(a, b);
}

/* Where the owner of @l begins; behind it come its ranges, if it has some. */
static uint32_t owner_at(const struct cfs_lock_set *s, const struct cfs_range_lock *l)
{
	uint32_t low = 0, high = s->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (owner_cmp(&s->locks[mid], l) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* What a put replaces, [first, last), and what it puts there. */
struct change {
	uint32_t first, last, count;
	struct cfs_range_lock with[1 + GROWTH_MAX];
};

static void change_of(const struct cfs_lock_set *s, const struct cfs_range_lock *l,
		      struct change *c)
{
	struct cfs_range_lock left, right, mid = *l;
	bool has_left = false, has_right = false;
	uint32_t at = owner_at(s, l);

	while (at < s->count && cfs_range_lock_is_owner(&s->locks[at], l) &&
	       s->locks[at].end < l->start && !touch(&s->locks[at], l))
		at++;
	c->first = at;
	for (; at < s->count && cfs_range_lock_is_owner(&s->locks[at], l); at++) {
		const struct cfs_range_lock *k = &s->locks[at];

		if (!overlap(k, l) && !touch(k, l))
			break;
		if (k->type == l->type) {
			mid.start = CFS_MIN(mid.start, k->start);
			mid.end = CFS_MAX(mid.end, k->end);
			continue;
		}
		if (k->start < l->start) {
			has_left = true;
			left = *k;
			left.end = CFS_MIN(k->end, l->start - 1);
		}
		if (k->end > l->end) {
			has_right = true;
			right = *k;
			right.start = CFS_MAX(k->start, l->end + 1);
		}
	}
	c->last = at;
	c->count = 0;
	if (has_left)
		c->with[c->count++] = left;
	if (l->type != CFS_LOCK_NONE)
		c->with[c->count++] = mid;
	if (has_right && !CFS_BREAK(LOCK_SPLIT_SHORT))
		c->with[c->count++] = right;
}

int32_t cfs_lock_set_growth(const struct cfs_lock_set *s, const struct cfs_range_lock *l,
			    bool *is_same)
{
	struct change c;

	change_of(s, l, &c);
	*is_same = c.count == c.last - c.first;
	for (uint32_t k = 0; k < c.count && *is_same; k++)
		*is_same = c.with[k].start == s->locks[c.first + k].start &&
			   c.with[k].end == s->locks[c.first + k].end &&
			   c.with[k].type == s->locks[c.first + k].type;
	return (int32_t)c.count - (int32_t)(c.last - c.first);
}

int cfs_lock_set_put(struct cfs_lock_set *s, const struct cfs_range_lock *l)
{
	struct change c;
	int rc = cfs_lock_set_reserve(s);

	if (rc < 0)
		return rc;
	cfs_assert(l->start <= l->end && l->end <= CFS_LOCK_END_MAX);
	change_of(s, l, &c);
	memmove(&s->locks[c.first + c.count], &s->locks[c.last],
		(s->count - c.last) * sizeof(*s->locks));
	memcpy(&s->locks[c.first], c.with, c.count * sizeof(*s->locks));
	s->count = s->count - (c.last - c.first) + c.count;
	return 0;
}

const struct cfs_range_lock *cfs_lock_set_next(const struct cfs_lock_set *s,
					       const struct cfs_range_lock *l, uint32_t *at)
{
	while (*at < s->count) {
		const struct cfs_range_lock *k = &s->locks[(*at)++];

		if (l->type == CFS_LOCK_NONE ? cfs_range_lock_is_owner(k, l) && overlap(k, l)
					     : cfs_range_locks_conflict(k, l))
			return k;
	}
	return NULL;
}

const struct cfs_range_lock *cfs_lock_set_of_session(const struct cfs_lock_set *s, uint64_t session)
{
	for (uint32_t k = 0; k < s->count; k++)
		if (s->locks[k].session == session)
			return &s->locks[k];
	return NULL;
}

bool cfs_lock_set_has_owner(const struct cfs_lock_set *s, const struct cfs_range_lock *l)
{
	uint32_t at = owner_at(s, l);

	return at < s->count && cfs_range_lock_is_owner(&s->locks[at], l);
}

void cfs_lock_set_check(const struct cfs_lock_set *s, void (*report)(void *ctx, const char *what),
			void *ctx)
{
	for (uint32_t k = 0; k < s->count; k++) {
		const struct cfs_range_lock *l = &s->locks[k];
		uint32_t at = k + 1;

		if (l->type != CFS_LOCK_READ && l->type != CFS_LOCK_WRITE)
			report(ctx, "lock: it is of no type");
		if (l->start > l->end || l->end > CFS_LOCK_END_MAX)
			report(ctx, "lock: its range is none");
		if (cfs_lock_set_next(s, l, &at))
			report(ctx, "lock: two owners' conflict");
		if (k == 0)
			continue;
		if (owner_cmp(l - 1, l) > 0 || (owner_cmp(l - 1, l) == 0 && l[-1].end >= l->start))
			report(ctx, "lock: not in order");
		else if (owner_cmp(l - 1, l) == 0 && touch(l - 1, l) && l[-1].type == l->type)
			report(ctx, "lock: two that touch are not one");
	}
}
