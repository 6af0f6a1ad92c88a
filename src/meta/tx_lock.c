/*
 * Keys: who holds an inode number for a transaction, and who waits for it. Tries take theirs all at
 * once or not at all; the ordered retry waits, first come first served, so whoever comes at once
 * does not take a key that somebody waits for.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/stock.h"
#include "meta/tx_internal.h"

static struct cfs_list *key_bucket(struct cfs_tx_table *t, uint64_t ino)
{
	return &t->keys[cfs_hash_u64(ino) % CFS_TX_BUCKETS];
}

struct cfs_tx_key *cfs_tx_key_find(struct cfs_tx_table *t, uint64_t ino)
{
	if (t->key_count == 0)
		return NULL;
	cfs_list_for_each(l, key_bucket(t, ino)) {
		struct cfs_tx_key *k = cfs_list_entry(l, struct cfs_tx_key, link);

		if (k->ino == ino)
			return k;
	}
	return NULL;
}

static struct cfs_tx_key *key_get(struct cfs_tx_table *t, uint64_t ino)
{
	struct cfs_tx_key *k = cfs_tx_key_find(t, ino);

	if (k)
		return k;
	k = cfs_stock_calloc(sizeof(*k));
	if (!k)
		return NULL;
	k->ino = ino;
	cfs_waitq_init(&k->waiters);
	cfs_list_append(key_bucket(t, ino), &k->link);
	t->key_count++;
	return k;
}

static void key_put(struct cfs_tx_table *t, struct cfs_tx_key *k)
{
	if (k->holder || k->waiting)
		return;
	cfs_list_remove(&k->link);
	t->key_count--;
	free(k);
}

static void key_release(struct cfs_tx_table *t, uint64_t ino, const struct cfs_tx_holder *h)
{
	struct cfs_tx_key *k = cfs_tx_key_find(t, ino);

	if (!k || k->holder != h)
		return;
	k->holder = NULL;
	cfs_waitq_wake_one(&k->waiters);
	key_put(t, k);
}

/* Whoever is in the way has been prepared perhaps for a coordinator that is gone. */
static void hurry(const struct cfs_tx_key *k)
{
	if (k->holder && k->holder->prepared)
		cfs_tx_ask_soon(k->holder->prepared);
}

int cfs_tx_lock_try(struct cfs_meta *m, struct cfs_tx_holder *h, const struct cfs_tx_keys *keys)
{
	struct cfs_tx_table *t = m->tx;

	for (uint32_t i = 0; i < keys->count; i++) {
		struct cfs_tx_key *k = key_get(t, keys->ino[i]);

		if (k && !k->holder && k->waiting == 0) {
			k->holder = h;
			continue;
		}
		if (k)
			hurry(k);
		for (uint32_t b = 0; b < i; b++)
			key_release(t, keys->ino[b], h);
		return k ? -CFS_EBUSY_TX : -ENOMEM;
	}
	return 0;
}

CFS_AWAITS int cfs_tx_lock_wait(struct cfs_meta *m, struct cfs_tx_holder *h,
				const struct cfs_tx_keys *keys)
{
	struct cfs_tx_table *t = m->tx;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < keys->count; i++) {
		struct cfs_tx_key *k = key_get(t, keys->ino[i]);

		if (!k)
			return -ENOMEM;
		/* First come, first served: behind those that wait already. Woken, it is our turn.
		 */
		if (k->holder || k->waiting) {
			hurry(k);
			k->waiting++;
			do {
				rc = cfs_waitq_wait(&k->waiters);
				if (k->holder)
					hurry(k);
			} while (rc == 0 && k->holder && !h->is_aborted);
			k->waiting--;
		}
		if (rc == 0 && h->is_aborted)
			rc = -ECANCELED;
		if (rc == 0) {
			k->holder = h;
			continue;
		}
		if (!k->holder) /* woken and going away: the next in line */
			cfs_waitq_wake_one(&k->waiters);
		key_put(t, k);
	}
	return rc;
}

void cfs_tx_unlock(struct cfs_meta *m, const struct cfs_tx_holder *h,
		   const struct cfs_tx_keys *keys)
{
	for (uint32_t i = 0; i < keys->count; i++)
		key_release(m->tx, keys->ino[i], h);
}
