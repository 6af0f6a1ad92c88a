#include "ctl/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/reactor.h"
#include "base/util.h"
#include "ctl/ctl_internal.h"

#define MEM_WAIT_NS \
	1000000000ull /* a wait ends after that at the latest: leases end without a change */

struct mem_entry {
	struct cfs_list link; /* in order of key; of deletions: in order of revision */
	char *key;
	uint8_t *value; /* NULL: a deletion */
	uint32_t len_bytes;
	uint64_t rev, lease;
	uint64_t at_ns; /* when it was changed */
};

struct mem_lease {
	struct cfs_list link;
	uint64_t id, ttl_ns, due_ns;
};

struct cfs_ctl_mem {
	struct cfs_list entries, gone, leases;
	struct cfs_list handles; /* of a killed node too: they go with the plane */
	uint32_t gone_count;
	uint64_t rev, forgotten, leases_given, dice;
	struct cfs_ctl_mem_faults faults;
	struct cfs_waitq changed;
};

struct mem_handle {
	struct cfs_ctl ctl;
	struct cfs_list link;
	struct cfs_ctl_mem *m;
};

static struct cfs_ctl_mem *mem_of(struct cfs_ctl *ctl)
{
	return cfs_container_of(ctl, struct mem_handle, ctl)->m;
}

static uint64_t roll(struct cfs_ctl_mem *m)
{
	return cfs_hash_u64(m->dice += 0x9e3779b97f4a7c15ull);
}

static bool happens(struct cfs_ctl_mem *m, uint32_t ppm)
{
	return ppm != 0 && roll(m) % 1000000 < ppm;
}

static void entry_free(struct mem_entry *e)
{
	cfs_list_remove(&e->link);
	free(e->key);
	free(e->value);
	free(e);
}

static struct mem_entry *entry_new(const char *key, const struct cfs_ctl_put *put)
{
	struct mem_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	cfs_list_init(&e->link);
	e->key = strdup(key);
	if (put) {
		e->value = malloc(put->len_bytes + 1u);
		if (e->value)
			memcpy(e->value, put->value, put->len_bytes);
		e->len_bytes = put->len_bytes;
		e->lease = put->lease;
	}
	if (!e->key || (put && !e->value)) {
		entry_free(e);
		return NULL;
	}
	return e;
}

static struct mem_entry *find_in(struct cfs_list *head, const char *key)
{
	cfs_list_for_each(pos, head) {
		struct mem_entry *e = cfs_list_entry(pos, struct mem_entry, link);

		if (strcmp(e->key, key) == 0)
			return e;
	}
	return NULL;
}

static void insert_sorted(struct cfs_list *head, struct mem_entry *e)
{
	struct cfs_list *before = head->next;

	while (before != head &&
	       strcmp(cfs_list_entry(before, struct mem_entry, link)->key, e->key) < 0)
		before = before->next;
	cfs_list_link(&e->link, before->prev, before);
}

static void forget_down_to(struct cfs_ctl_mem *m, uint32_t count)
{
	while (m->gone_count > count) {
		struct mem_entry *e = cfs_list_first(&m->gone, struct mem_entry, link);

		m->forgotten = e->rev;
		entry_free(e);
		m->gone_count--;
	}
}

/* A live entry becomes a deletion. */
static void bury(struct cfs_ctl_mem *m, struct mem_entry *e, uint64_t rev)
{
	cfs_list_remove(&e->link);
	free(e->value);
	e->value = NULL;
	e->len_bytes = 0;
	e->lease = 0;
	e->rev = rev;
	e->at_ns = cfs_now_ns();
	cfs_list_append(&m->gone, &e->link);
	m->gone_count++;
}

/* What changed is all in place: the revision counts now. */
static void publish(struct cfs_ctl_mem *m)
{
	m->rev++;
	forget_down_to(m, CFS_CTL_GONE_MAX);
	cfs_waitq_wake_all(&m->changed);
}

static struct mem_lease *lease_find(struct cfs_ctl_mem *m, uint64_t id)
{
	cfs_list_for_each(pos, &m->leases) {
		struct mem_lease *l = cfs_list_entry(pos, struct mem_lease, link);

		if (l->id == id)
			return l;
	}
	return NULL;
}

static void lease_drop(struct cfs_ctl_mem *m, struct mem_lease *l)
{
	cfs_list_for_each_safe(pos, next, &m->entries) {
		struct mem_entry *e = cfs_list_entry(pos, struct mem_entry, link);

		if (e->lease == l->id)
			bury(m, e, m->rev + 1);
	}
	cfs_list_remove(&l->link);
	free(l);
	publish(m);
}

static void leases_check(struct cfs_ctl_mem *m, bool is_all)
{
	uint64_t now_ns = cfs_now_ns();

	cfs_list_for_each_safe(pos, next, &m->leases) {
		struct mem_lease *l = cfs_list_entry(pos, struct mem_lease, link);

		if (is_all || now_ns >= l->due_ns + m->faults.lease_late_ns)
			lease_drop(m, l);
	}
}

/* The start of every call: takes its time, may fail. */
CFS_AWAITS static int enter(struct cfs_ctl_mem *m)
{
	uint64_t span_ns = m->faults.delay_max_ns - m->faults.delay_min_ns;
	int rc;

	if (m->faults.delay_max_ns != 0) {
		rc = cfs_sleep_ns(m->faults.delay_min_ns + (span_ns ? roll(m) % span_ns : 0));
		if (rc < 0)
			return rc;
	}
	if (happens(m, m->faults.fail_ppm))
		return -EIO;
	leases_check(m, false);
	return 0;
}

static int entry_add(const struct mem_entry *e, struct cfs_ctl_list *out)
{
	const struct cfs_ctl_kv like = {
		.key = e->key, .len_bytes = e->len_bytes, .rev = e->rev, .lease = e->lease
	};

	return cfs_ctl_list_add(out, &like, e->value);
}

CFS_AWAITS static int mem_list(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
			       struct cfs_ctl_list *out)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	int rc = enter(m);

	if (rc < 0)
		return rc;
	out->rev = m->rev;
	cfs_list_for_each(pos, &m->entries) {
		struct mem_entry *e = cfs_list_entry(pos, struct mem_entry, link);

		if (rc == 0 && cfs_ctl_key_matches(e->key, prefix, is_exact))
			rc = entry_add(e, out);
	}
	return rc;
}

/* All that can fail, before anything is changed. @fresh: the entries to come, in order of @txn's
 * puts. */
static int txn_check(struct cfs_ctl_mem *m, const struct cfs_ctl_txn *txn,
		     struct mem_entry *fresh[CFS_CTL_TXN_MAX])
{
	for (uint32_t i = 0; i < txn->compares_count; i++) {
		struct mem_entry *e = find_in(&m->entries, txn->compares[i].key);

		if ((e ? e->rev : 0) != txn->compares[i].rev)
			return -ESTALE;
	}
	for (uint32_t i = 0; i < txn->puts_count; i++) {
		const struct cfs_ctl_put *put = &txn->puts[i];

		if (put->value && put->lease && !lease_find(m, put->lease))
			return -ENOENT;
	}
	for (uint32_t i = 0; i < txn->puts_count; i++) {
		if (!txn->puts[i].value)
			continue;
		fresh[i] = entry_new(txn->puts[i].key, &txn->puts[i]);
		if (!fresh[i])
			return -ENOMEM;
	}
	return 0;
}

static void txn_carry_out(struct cfs_ctl_mem *m, const struct cfs_ctl_txn *txn,
			  struct mem_entry *fresh[CFS_CTL_TXN_MAX])
{
	for (uint32_t i = 0; i < txn->puts_count; i++) {
		struct mem_entry *old = find_in(&m->entries, txn->puts[i].key);
		struct mem_entry *gone = find_in(&m->gone, txn->puts[i].key);

		if (gone && (fresh[i] || old)) {
			entry_free(gone);
			m->gone_count--;
		}
		if (!fresh[i]) {
			if (old)
				bury(m, old, m->rev + 1);
			continue;
		}
		if (old)
			entry_free(old);
		fresh[i]->rev = m->rev + 1;
		fresh[i]->at_ns = cfs_now_ns();
		insert_sorted(&m->entries, fresh[i]);
	}
	publish(m);
}

CFS_AWAITS static int mem_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn, uint64_t *rev_out)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	struct mem_entry *fresh[CFS_CTL_TXN_MAX] = { 0 };
	int rc = enter(m);

	if (rc == 0)
		rc = txn_check(m, txn, fresh);
	if (rc < 0) {
		for (uint32_t i = 0; i < CFS_CTL_TXN_MAX; i++)
			if (fresh[i])
				entry_free(fresh[i]);
		return rc;
	}
	txn_carry_out(m, txn, fresh);
	if (happens(m, m->faults.lost_ppm))
		return -EIO;
	*rev_out = m->rev;
	return 0;
}

/* Adds what changed in @head since @from_rev and has reached the watches; lowers *@late_rev to what
 * has not. */
static int changes_of(struct cfs_ctl_mem *m, struct cfs_list *head, const char *prefix,
		      uint64_t from_rev, uint64_t *late_rev, struct cfs_ctl_list *out)
{
	uint64_t now_ns = cfs_now_ns();
	int rc = 0;

	cfs_list_for_each(pos, head) {
		struct mem_entry *e = cfs_list_entry(pos, struct mem_entry, link);

		if (e->rev < from_rev || rc < 0)
			continue;
		if (now_ns < e->at_ns + m->faults.event_delay_ns)
			*late_rev = CFS_MIN(*late_rev, e->rev);
		else if (cfs_ctl_key_matches(e->key, prefix, false))
			rc = entry_add(e, out);
	}
	return rc;
}

CFS_AWAITS static int mem_changes(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				  struct cfs_ctl_list *out)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	uint64_t late_rev = UINT64_MAX;
	int rc = enter(m);

	if (rc < 0)
		return rc;
	if (from_rev <= m->forgotten)
		return -ESTALE;
	if (from_rev > 1 && happens(m, m->faults.dup_ppm))
		from_rev--;
	rc = changes_of(m, &m->entries, prefix, from_rev, &late_rev, out);
	if (rc == 0)
		rc = changes_of(m, &m->gone, prefix, from_rev, &late_rev, out);
	cfs_ctl_list_sort_by_rev(out);
	out->rev = CFS_MIN(m->rev, late_rev - 1);
	while (out->count > 0 && out->kvs[out->count - 1].rev > out->rev) {
		out->count--;
		free(out->kvs[out->count].key);
		free(out->kvs[out->count].value);
	}
	return rc;
}

CFS_AWAITS static int mem_wait(struct cfs_ctl *ctl, const char *prefix, uint64_t rev)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	uint64_t step_ns = m->faults.event_delay_ns ? m->faults.event_delay_ns : MEM_WAIT_NS;
	uint64_t before_ns = cfs_deadline_narrow(cfs_now_ns() + step_ns);
	uint64_t narrowed_ns = cfs_deadline();
	int rc;

	(void)prefix;
	/* What is there already is on its way, so that only time has to pass. */
	if (m->rev >= rev)
		rc = cfs_sleep_ns(step_ns);
	else
		rc = cfs_waitq_wait(&m->changed);
	cfs_deadline_restore(before_ns);
	if (rc == -ETIMEDOUT && narrowed_ns < before_ns)
		rc = 0;
	return rc;
}

CFS_AWAITS static int mem_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	struct mem_lease *l;
	int rc = enter(m);

	if (rc < 0)
		return rc;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct mem_lease){ .id = ++m->leases_given, .ttl_ns = ttl_ns };
	l->due_ns = cfs_now_ns() + ttl_ns;
	cfs_list_append(&m->leases, &l->link);
	*lease_out = l->id;
	return 0;
}

CFS_AWAITS static int mem_lease_keep(struct cfs_ctl *ctl, uint64_t lease)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	int rc = enter(m);
	struct mem_lease *l = rc == 0 ? lease_find(m, lease) : NULL;

	if (rc < 0)
		return rc;
	if (!l)
		return -ENOENT;
	l->due_ns = cfs_now_ns() + l->ttl_ns;
	return 0;
}

CFS_AWAITS static int mem_lease_end(struct cfs_ctl *ctl, uint64_t lease)
{
	struct cfs_ctl_mem *m = mem_of(ctl);
	int rc = enter(m);
	struct mem_lease *l = rc == 0 ? lease_find(m, lease) : NULL;

	if (l)
		lease_drop(m, l);
	return rc;
}

CFS_AWAITS static void mem_close(struct cfs_ctl *ctl)
{
	struct mem_handle *h = cfs_container_of(ctl, struct mem_handle, ctl);

	cfs_list_remove(&h->link);
	free(h);
}

static const struct cfs_ctl_ops mem_ops = {
	.name = "mem",
	.list = mem_list,
	.txn = mem_txn,
	.changes = mem_changes,
	.wait = mem_wait,
	.lease_grant = mem_lease_grant,
	.lease_keep = mem_lease_keep,
	.lease_end = mem_lease_end,
	.close = mem_close,
};

int cfs_ctl_mem_create(uint64_t seed, struct cfs_ctl_mem **out)
{
	struct cfs_ctl_mem *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	cfs_list_init(&m->entries);
	cfs_list_init(&m->gone);
	cfs_list_init(&m->leases);
	cfs_list_init(&m->handles);
	cfs_waitq_init(&m->changed);
	m->rev = 1;
	m->dice = seed;
	*out = m;
	return 0;
}

void cfs_ctl_mem_destroy(struct cfs_ctl_mem *m)
{
	if (!m)
		return;
	while (!cfs_list_is_empty(&m->entries))
		entry_free(cfs_list_first(&m->entries, struct mem_entry, link));
	while (!cfs_list_is_empty(&m->gone))
		entry_free(cfs_list_first(&m->gone, struct mem_entry, link));
	while (!cfs_list_is_empty(&m->leases))
		free(cfs_list_entry(cfs_list_pop(&m->leases), struct mem_lease, link));
	while (!cfs_list_is_empty(&m->handles))
		free(cfs_list_entry(cfs_list_pop(&m->handles), struct mem_handle, link));
	free(m);
}

int cfs_ctl_mem_open(struct cfs_ctl_mem *m, struct cfs_ctl **out)
{
	struct mem_handle *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->ctl.ops = &mem_ops;
	h->m = m;
	cfs_list_append(&m->handles, &h->link);
	*out = &h->ctl;
	return 0;
}

void cfs_ctl_mem_faults_set(struct cfs_ctl_mem *m, const struct cfs_ctl_mem_faults *faults)
{
	cfs_assert(faults->delay_min_ns <= faults->delay_max_ns);
	m->faults = *faults;
}

void cfs_ctl_mem_forget(struct cfs_ctl_mem *m)
{
	forget_down_to(m, 0);
}

void cfs_ctl_mem_expire(struct cfs_ctl_mem *m)
{
	leases_check(m, true);
}

uint64_t cfs_ctl_mem_rev(const struct cfs_ctl_mem *m)
{
	return m->rev;
}
