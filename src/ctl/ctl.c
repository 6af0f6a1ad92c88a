#include "ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"
#include "ctl/ctl_internal.h"

struct cfs_ctl_watch {
	struct cfs_ctl *ctl;
	uint64_t from_rev;
	char prefix[CFS_CTL_KEY_BYTES_MAX + 1];
};

void cfs_ctl_list_fini(struct cfs_ctl_list *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		free(l->kvs[i].key);
		free(l->kvs[i].value);
	}
	free(l->kvs);
	*l = (struct cfs_ctl_list){ 0 };
}

const struct cfs_ctl_kv *cfs_ctl_list_find(const struct cfs_ctl_list *l, const char *key)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (strcmp(l->kvs[i].key, key) == 0)
			return &l->kvs[i];
	return NULL;
}

int cfs_ctl_list_add(struct cfs_ctl_list *l, const struct cfs_ctl_kv *like, const void *value)
{
	struct cfs_ctl_kv kv = *like;

	if (l->count == l->room) {
		uint32_t room = l->room ? l->room * 2 : 16;
		struct cfs_ctl_kv *kvs = reallocarray(l->kvs, room, sizeof(*kvs));

		if (!kvs)
			return -ENOMEM;
		l->kvs = kvs;
		l->room = room;
	}
	kv.value = NULL;
	kv.key = strdup(like->key);
	if (!kv.key)
		return -ENOMEM;
	if (value) {
		kv.value = malloc(kv.len_bytes + 1u);
		if (!kv.value) {
			free(kv.key);
			return -ENOMEM;
		}
		memcpy(kv.value, value, kv.len_bytes);
		kv.value[kv.len_bytes] = '\0'; /* texts may be read as such */
	}
	l->kvs[l->count++] = kv;
	return 0;
}

static int by_rev(const void *a, const void *b)
{
	const struct cfs_ctl_kv *x = a, *y = b;

	if (x->rev != y->rev)
		return x->rev < y->rev ? -1 : 1;
	return strcmp(x->key, y->key);
}

void cfs_ctl_list_sort_by_rev(struct cfs_ctl_list *l)
{
	if (l->count > 1)
		qsort(l->kvs, l->count, sizeof(*l->kvs), by_rev);
}

bool cfs_ctl_key_matches(const char *key, const char *prefix, bool is_exact)
{
	return is_exact ? strcmp(key, prefix) == 0 : strncmp(key, prefix, strlen(prefix)) == 0;
}

static bool key_is_valid(const char *key)
{
	size_t len = strnlen(key, CFS_CTL_KEY_BYTES_MAX + 1u);

	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~')
			return false;
	return len > 0 && len <= CFS_CTL_KEY_BYTES_MAX;
}

const char *cfs_ctl_engine(const struct cfs_ctl *ctl)
{
	return ctl->ops->name;
}

const char *cfs_ctl_why(const struct cfs_ctl *ctl)
{
	return ctl->why;
}

CFS_AWAITS void cfs_ctl_close(struct cfs_ctl *ctl)
{
	if (!ctl)
		return;
	cfs_assert(ctl->watches == 0);
	ctl->ops->close(ctl);
}

CFS_AWAITS static int list(struct cfs_ctl *ctl, const char *prefix, bool is_exact,
			   struct cfs_ctl_list *out)
{
	struct cfs_ctl_list got = { 0 };
	int rc = ctl->ops->list(ctl, prefix, is_exact, &got);

	if (rc == 0 && is_exact && got.count == 0)
		rc = -ENOENT;
	if (rc < 0)
		cfs_ctl_list_fini(&got);
	else
		*out = got;
	return rc;
}

CFS_AWAITS int cfs_ctl_get(struct cfs_ctl *ctl, const char *key, struct cfs_ctl_list *out)
{
	return key_is_valid(key) ? list(ctl, key, true, out) : -EINVAL;
}

CFS_AWAITS int cfs_ctl_list(struct cfs_ctl *ctl, const char *prefix, struct cfs_ctl_list *out)
{
	return key_is_valid(prefix) ? list(ctl, prefix, false, out) : -EINVAL;
}

static bool put_is_valid(const struct cfs_ctl_txn *txn, uint32_t i)
{
	const struct cfs_ctl_put *put = &txn->puts[i];

	if (!key_is_valid(put->key) || put->len_bytes > CFS_CTL_VALUE_BYTES_MAX)
		return false;
	for (uint32_t k = 0; k < i; k++)
		if (strcmp(txn->puts[k].key, put->key) == 0)
			return false;
	return true;
}

CFS_AWAITS int cfs_ctl_txn(struct cfs_ctl *ctl, const struct cfs_ctl_txn *txn, uint64_t *rev_out)
{
	uint64_t rev;
	int rc;

	if (txn->compares_count > CFS_CTL_TXN_MAX || txn->puts_count > CFS_CTL_TXN_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < txn->compares_count; i++)
		if (!key_is_valid(txn->compares[i].key))
			return -EINVAL;
	for (uint32_t i = 0; i < txn->puts_count; i++)
		if (!put_is_valid(txn, i))
			return -EINVAL;
	rc = ctl->ops->txn(ctl, txn, &rev);
	if (rc == 0 && rev_out)
		*rev_out = rev;
	return rc;
}

CFS_AWAITS int cfs_ctl_watch_open(struct cfs_ctl *ctl, const char *prefix, uint64_t from_rev,
				  struct cfs_ctl_watch **out)
{
	struct cfs_ctl_watch *w;

	if (!key_is_valid(prefix))
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->ctl = ctl;
	w->from_rev = from_rev;
	memcpy(w->prefix, prefix, strlen(prefix) + 1);
	ctl->watches++;
	*out = w;
	return 0;
}

CFS_AWAITS int cfs_ctl_watch_next(struct cfs_ctl_watch *w, struct cfs_ctl_list *out)
{
	for (;;) {
		struct cfs_ctl_list got = { 0 };
		int rc = w->ctl->ops->changes(w->ctl, w->prefix, w->from_rev, &got);

		if (rc < 0) {
			cfs_ctl_list_fini(&got);
			return rc;
		}
		if (got.rev >= w->from_rev)
			w->from_rev = got.rev + 1;
		if (got.count > 0) {
			*out = got;
			return 0;
		}
		cfs_ctl_list_fini(&got);
		rc = w->ctl->ops->wait(w->ctl, w->prefix, w->from_rev);
		if (rc < 0)
			return rc;
	}
}

void cfs_ctl_watch_close(struct cfs_ctl_watch *w)
{
	if (!w)
		return;
	cfs_assert(w->ctl->watches > 0);
	w->ctl->watches--;
	free(w);
}

CFS_AWAITS int cfs_ctl_lease_grant(struct cfs_ctl *ctl, uint64_t ttl_ns, uint64_t *lease_out)
{
	return ctl->ops->lease_grant(ctl, ttl_ns, lease_out);
}

CFS_AWAITS int cfs_ctl_lease_keep(struct cfs_ctl *ctl, uint64_t lease)
{
	return ctl->ops->lease_keep(ctl, lease);
}

CFS_AWAITS int cfs_ctl_lease_end(struct cfs_ctl *ctl, uint64_t lease)
{
	return ctl->ops->lease_end(ctl, lease);
}
