/*
 * Happy path: list everything below /claudefs/<uuid>/, at one revision; work out the new rows; one
 * transaction that holds only if `epoch` is still of the revision seen. Whoever changes the map
 * changes `epoch` too, so a transaction that holds replaced the map that was read.
 *
 * Failures: another change came first (-ESTALE): read again, at most CFS_MAP_TRIES_MAX times. The
 * answer was lost (-EIO): it may have been carried out; reading again and raising the epoch once
 * more is right in both cases, since nobody has used the epoch that was lost. The process dies
 * after the transaction: the next start takes a higher epoch; the one between was used by nobody.
 *
 * Invariant: an epoch handed out here is higher than every epoch that any record in the node's
 * stores carries.
 */
#include "ctl/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/reactor.h"
#include "base/str.h"
#include "base/util.h"
#include "ctl/map_format.h"
#include "ctl/volume.h"

#define CFS_MAP_TRIES_MAX 16u
#define CFS_MAP_RETRY_NS 20000000ull /* twice as long each time, up to the next */
#define CFS_MAP_RETRY_NS_MAX 1000000000ull
#define CFS_MAP_PIECES_MAX (CFS_MAP_SHARDS_MAX / CFS_MAP_ROWS_MAX)
#define CFS_MAP_MEMBER_BYTES \
	(CFS_CORES_MAX * (sizeof(((struct cfs_map *)0)->core_addr[0]) + 8) + 64)

static_assert(CFS_MAP_PIECES_MAX + 2 <= CFS_CTL_TXN_MAX, "a whole map fits in a transaction");
static_assert(CFS_MAP_ROWS_BYTES_MAX <= CFS_CTL_VALUE_BYTES_MAX, "a piece fits in a value");

struct map_key {
	char text[96];
};
static_assert(sizeof(struct map_key) >= CFS_CTL_PREFIX_BYTES + 32, "a key fits");

/* What one try works on; too big for a fiber's stack. */
struct start_try {
	const struct cfs_map_start *start;
	char *why;
	struct map_key prefix;
	struct cfs_ctl_list list;
	uint64_t epoch, epoch_rev; /* as read */
	struct cfs_map_row *rows;  /* [shards] */
	bool has_map;
	struct map_key keys[CFS_MAP_PIECES_MAX + 2];
	struct cfs_ctl_put puts[CFS_MAP_PIECES_MAX + 2];
	uint32_t puts_count;
	uint8_t *pieces; /* CFS_MAP_ROWS_BYTES_MAX each */
	char epoch_text[24];
	char member[CFS_MAP_MEMBER_BYTES];
};

static struct map_key prefix_of(const uint8_t uuid[16])
{
	struct map_key k;

	cfs_ctl_volume_prefix(uuid, k.text);
	return k;
}

static struct map_key key_of(const struct map_key *prefix, const char *what, int number)
{
	struct map_key k;

	if (number < 0)
		snprintf(k.text, sizeof(k.text), "%.64s%.16s", prefix->text, what);
	else
		snprintf(k.text, sizeof(k.text), "%.64s%.16s%05d", prefix->text, what, number);
	return k;
}

static int say(char *why, int rc, const char *text)
{
	snprintf(why, CFS_MAP_WHY_BYTES, "%s", text);
	return rc;
}

/* What the engine did not do, and what it says itself. */
static int say_engine(char *why, int rc, const char *text, const struct cfs_ctl *ctl)
{
	const char *more = cfs_ctl_why(ctl);

	snprintf(why, CFS_MAP_WHY_BYTES, "%s: %s", text, more[0] ? more : cfs_err_text(rc));
	return rc;
}

static int epoch_read(const struct cfs_ctl_kv *kv, uint64_t *epoch_out)
{
	return cfs_str_to_u64((const char *)kv->value, epoch_out) == 0 ? 0 : -CFS_EBAD_FORMAT;
}

/* Reads what there is into @t. */
CFS_AWAITS static int try_read(struct start_try *t, struct cfs_ctl *ctl)
{
	struct map_key epoch_key = key_of(&t->prefix, "epoch", -1);
	struct map_key rows_key = key_of(&t->prefix, "map/", -1);
	const struct cfs_ctl_kv *kv;
	uint32_t rows_count = 0;
	int rc;

	cfs_ctl_list_fini(&t->list);
	rc = cfs_ctl_list(ctl, t->prefix.text, &t->list);
	if (rc < 0)
		return say_engine(t->why, rc, "it cannot be read", ctl);
	kv = cfs_ctl_list_find(&t->list, epoch_key.text);
	t->epoch = 0;
	t->epoch_rev = 0;
	t->has_map = false;
	if (!kv)
		return 0;
	t->epoch_rev = kv->rev;
	if (epoch_read(kv, &t->epoch) < 0)
		return say(t->why, -CFS_EBAD_FORMAT, "the epoch in the control plane is no number");
	for (uint32_t i = 0; i < t->list.count; i++) {
		kv = &t->list.kvs[i];
		if (strncmp(kv->key, rows_key.text, strlen(rows_key.text)) != 0)
			continue;
		rc = cfs_map_rows_decode(kv->value, kv->len_bytes, t->start->shards, t->rows);
		if (rc < 0)
			return say(t->why, rc,
				   "the cluster map in the control plane is damaged or of another "
				   "number of shards");
		rows_count += (uint32_t)rc;
	}
	if (rows_count != 0 && rows_count != t->start->shards)
		return say(t->why, -CFS_EBAD_FORMAT, "the cluster map has rows missing");
	t->has_map = rows_count != 0;
	return 0;
}

/* Where the stores say that a shard is, or @instead. */
static uint16_t slice_hint(const struct cfs_map_start *start, uint32_t shard, uint16_t instead)
{
	if (!start->slice_of || start->slice_of[shard] == CFS_MAP_SLICE_UNKNOWN)
		return instead;
	return start->slice_of[shard];
}

static int rows_make(struct start_try *t, uint64_t epoch)
{
	const struct cfs_map_start *start = t->start;

	for (uint32_t i = 0; i < start->shards; i++) {
		struct cfs_map_row *row = &t->rows[i];

		if (!t->has_map) {
			row->node = start->node;
			row->slice = slice_hint(start, i, (uint16_t)(i % start->slices));
		}
		if (row->node != start->node)
			return say(
				t->why, -EINVAL,
				"the cluster map names another node, and this program serves one");
		if (row->slice >= start->slices) {
			snprintf(t->why, CFS_MAP_WHY_BYTES,
				 "shard %u is in slice %u and only %u were given: a store is "
				 "missing",
				 i, row->slice, start->slices);
			return -EINVAL;
		}
		if (slice_hint(start, i, row->slice) != row->slice) {
			snprintf(t->why, CFS_MAP_WHY_BYTES,
				 "shard %u is in slice %u, by the map in slice %u: name the stores "
				 "in "
				 "the order of their first start",
				 i, slice_hint(start, i, 0), row->slice);
			return -EINVAL;
		}
		row->epoch = epoch;
	}
	return 0;
}

static void put_add(struct start_try *t, struct map_key key, const void *value, uint32_t len_bytes)
{
	cfs_assert(t->puts_count < CFS_ARRAY_COUNT(t->puts));
	t->keys[t->puts_count] = key;
	t->puts[t->puts_count] = (struct cfs_ctl_put){
		.key = t->keys[t->puts_count].text,
		.value = value,
		.len_bytes = len_bytes,
	};
	t->puts_count++;
}

static void puts_make(struct start_try *t, uint64_t epoch)
{
	const struct cfs_map_start *start = t->start;
	int len = snprintf(t->epoch_text, sizeof(t->epoch_text), "%" PRIu64, epoch);

	t->puts_count = 0;
	put_add(t, key_of(&t->prefix, "epoch", -1), t->epoch_text, (uint32_t)len);
	len = snprintf(t->member, sizeof(t->member), "epoch %" PRIu64 "\ncores %u\n", epoch,
		       start->cores);
	for (uint32_t i = 0; i < start->cores; i++)
		len += snprintf(t->member + len, sizeof(t->member) - (size_t)len, "addr %s\n",
				start->core_addr[i]);
	if (start->cores > 0)
		put_add(t, key_of(&t->prefix, "members/", start->node), t->member, (uint32_t)len);
	for (uint32_t first = 0, i = 0; first < start->shards; first += CFS_MAP_ROWS_MAX, i++) {
		uint32_t count = CFS_MIN(start->shards - first, CFS_MAP_ROWS_MAX);
		uint8_t *piece = t->pieces + i * CFS_MAP_ROWS_BYTES_MAX;
		uint32_t bytes = cfs_map_rows_encode(t->rows, start->shards, first, count, piece);

		put_add(t, key_of(&t->prefix, "map/", (int)i), piece, bytes);
	}
}

/* One try. @epoch_out: the new epoch. */
CFS_AWAITS static int try_once(struct start_try *t, struct cfs_ctl *ctl, uint64_t *epoch_out)
{
	struct map_key epoch_key = key_of(&t->prefix, "epoch", -1);
	struct cfs_ctl_compare compare = { .key = epoch_key.text };
	struct cfs_ctl_txn txn = { .compares = &compare, .compares_count = 1, .puts = t->puts };
	uint64_t epoch;
	int rc = try_read(t, ctl);

	if (rc < 0)
		return rc;
	epoch = CFS_MAX(t->epoch, t->start->min_epoch) + 1;
	rc = rows_make(t, epoch);
	if (rc < 0)
		return rc;
	puts_make(t, epoch);
	compare.rev = t->epoch_rev;
	txn.puts_count = t->puts_count;
	rc = cfs_ctl_txn(ctl, &txn, NULL);
	if (rc < 0)
		return say_engine(t->why, rc, "the cluster map cannot be changed", ctl);
	*epoch_out = epoch;
	return 0;
}

static int map_fill(const struct start_try *t, uint64_t epoch, struct cfs_map *map,
		    uint16_t *slice_of)
{
	const struct cfs_map_start *start = t->start;

	*map = (struct cfs_map){ .epoch = epoch, .shards = start->shards, .cores = start->cores };
	memcpy(map->uuid, start->uuid, sizeof(map->uuid));
	memcpy(map->hash_key, start->hash_key, sizeof(map->hash_key));
	map->core_of = calloc(start->shards, sizeof(*map->core_of));
	map->epoch_of = calloc(start->shards, sizeof(*map->epoch_of));
	map->core_addr = calloc(start->cores, sizeof(*map->core_addr));
	if (!map->core_of || !map->epoch_of || !map->core_addr)
		return -ENOMEM;
	for (uint32_t i = 0; i < start->shards; i++) {
		slice_of[i] = t->rows[i].slice;
		map->epoch_of[i] = t->rows[i].epoch;
		map->core_of[i] = start->core_of_slice[slice_of[i]];
	}
	memcpy(map->core_addr, start->core_addr, start->cores * sizeof(*map->core_addr));
	return 0;
}

static void try_fini(struct start_try **p)
{
	struct start_try *t = *p;

	if (!t)
		return;
	cfs_ctl_list_fini(&t->list);
	free(t->rows);
	free(t->pieces);
	free(t);
}

static void map_free(struct cfs_map *map)
{
	free(map->core_of);
	free(map->epoch_of);
	free(map->core_addr);
}

CFS_AWAITS int cfs_map_start_node(struct cfs_ctl *ctl, const struct cfs_map_start *start,
				  struct cfs_map *map_out, uint16_t **slice_out,
				  char why[CFS_MAP_WHY_BYTES])
{
	CFS_CLEANUP(try_fini) struct start_try *t = calloc(1, sizeof(*t));
	CFS_CLEANUP(cfs_free_p) uint16_t *slice_of = calloc(start->shards, sizeof(*slice_of));
	uint64_t epoch = 0, pause_ns = CFS_MAP_RETRY_NS;
	struct cfs_map map;
	int rc = -EIO;

	cfs_assert(start->shards > 0 && start->shards <= CFS_MAP_SHARDS_MAX);
	cfs_assert(start->slices > 0 && start->slices < CFS_MAP_SLICE_UNKNOWN);
	cfs_assert(start->cores > 0 && start->cores <= CFS_CORES_MAX);
	if (!t || !slice_of)
		return say(why, -ENOMEM, "no memory for the cluster map");
	t->start = start;
	t->why = why;
	t->prefix = prefix_of(start->uuid);
	t->rows = calloc(start->shards, sizeof(*t->rows));
	t->pieces = malloc(CFS_MAP_PIECES_MAX * CFS_MAP_ROWS_BYTES_MAX);
	if (!t->rows || !t->pieces)
		return say(why, -ENOMEM, "no memory for the cluster map");
	for (uint32_t i = 0; i < CFS_MAP_TRIES_MAX; i++) {
		rc = try_once(t, ctl, &epoch);
		if (rc != -ESTALE && rc != -EIO)
			break;
		if (cfs_sleep_ns(pause_ns) < 0)
			break;
		pause_ns = CFS_MIN(pause_ns * 2, CFS_MAP_RETRY_NS_MAX);
	}
	if (rc < 0)
		return rc;
	rc = map_fill(t, epoch, &map, slice_of);
	if (rc < 0) {
		map_free(&map);
		return say(why, rc, "no memory for the cluster map");
	}
	*map_out = map;
	*slice_out = CFS_STEAL(slice_of);
	return 0;
}

CFS_AWAITS int cfs_map_make(struct cfs_ctl *ctl, const uint8_t uuid[16], uint32_t shards,
			    uint16_t slices, char why[CFS_MAP_WHY_BYTES])
{
	CFS_CLEANUP(try_fini) struct start_try *t = calloc(1, sizeof(*t));
	const struct cfs_map_start start = { .uuid = uuid, .shards = shards, .slices = slices };
	const struct map_key prefix = prefix_of(uuid), epoch_key = key_of(&prefix, "epoch", -1);
	struct cfs_ctl_compare compare = { .key = epoch_key.text };
	struct cfs_ctl_txn txn = { .compares = &compare, .compares_count = 1 };
	int rc;

	if (!t)
		return say(why, -ENOMEM, "no memory for the cluster map");
	t->start = &start;
	t->why = why;
	t->prefix = prefix;
	t->rows = calloc(shards, sizeof(*t->rows));
	t->pieces = malloc(CFS_MAP_PIECES_MAX * CFS_MAP_ROWS_BYTES_MAX);
	if (!t->rows || !t->pieces)
		return say(why, -ENOMEM, "no memory for the cluster map");
	rc = rows_make(t, 1);
	if (rc < 0)
		return rc;
	puts_make(t, 1);
	txn.puts = t->puts;
	txn.puts_count = t->puts_count;
	rc = cfs_ctl_txn(ctl, &txn, NULL);
	if (rc == -ESTALE)
		return say(why, -EEXIST, "there is a map of this volume already");
	return rc < 0 ? say_engine(why, rc, "the cluster map cannot be made", ctl) : 0;
}

/* The number that the key @name has as text; 0 when there is none. */
CFS_AWAITS static int number_get(struct cfs_ctl *ctl, const uint8_t uuid[16], const char *name,
				 uint64_t *out)
{
	struct map_key prefix = prefix_of(uuid), key = key_of(&prefix, name, -1);
	struct cfs_ctl_list list = { 0 };
	int rc = cfs_ctl_get(ctl, key.text, &list);

	if (rc == -ENOENT) {
		*out = 0;
		return 0;
	}
	if (rc < 0)
		return rc;
	rc = epoch_read(&list.kvs[0], out);
	cfs_ctl_list_fini(&list);
	return rc;
}

CFS_AWAITS int cfs_map_stopped_set(struct cfs_ctl *ctl, const uint8_t uuid[16], uint64_t epoch)
{
	struct map_key prefix = prefix_of(uuid), key = key_of(&prefix, "stopped", -1);
	struct cfs_ctl_put put = { .key = key.text };
	struct cfs_ctl_txn txn = { .puts = &put, .puts_count = 1 };
	char text[24];

	put.value = text;
	put.len_bytes = (uint32_t)snprintf(text, sizeof(text), "%" PRIu64, epoch);
	return cfs_ctl_txn(ctl, &txn, NULL);
}

CFS_AWAITS uint64_t cfs_map_stopped(struct cfs_ctl *ctl, const uint8_t uuid[16])
{
	uint64_t epoch = 0;

	return number_get(ctl, uuid, "stopped", &epoch) < 0 ? 0 : epoch;
}

CFS_AWAITS int cfs_map_epoch(struct cfs_ctl *ctl, const uint8_t uuid[16], uint64_t *epoch_out)
{
	return number_get(ctl, uuid, "epoch", epoch_out);
}
