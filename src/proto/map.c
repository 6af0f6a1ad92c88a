/* Codec of the cluster map. Rows are runs of shards whose cores follow each other by a constant
 * stride, so that the usual spreads (all on one core, round robin, in slices) take a few bytes
 * whatever the number of shards. */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "proto/msg.h"
#include "proto/msg_format.h"

struct run {
	uint32_t count;
	uint16_t core, stride;
	uint64_t epoch;
};

/* The longest run that starts at shard @at. */
static struct run run_at(const struct cfs_map *m, uint32_t at)
{
	struct run r = { .count = 1, .core = m->core_of[at], .epoch = m->epoch_of[at] };
	uint32_t core = r.core;

	if (at + 1 < m->shards && m->epoch_of[at + 1] == r.epoch)
		r.stride = (uint16_t)((m->core_of[at + 1] + m->cores - r.core) % m->cores);
	for (uint32_t i = at + 1; i < m->shards && m->epoch_of[i] == r.epoch; i++) {
		core = (core + r.stride) % m->cores;
		if (m->core_of[i] != core)
			break;
		r.count++;
	}
	return r;
}

static bool map_is_fine(const struct cfs_map *m)
{
	if (m->shards == 0 || m->shards > CFS_MAP_SHARDS_MAX || (m->shards & (m->shards - 1)) != 0)
		return false;
	if (m->cores == 0 || m->cores > CFS_MAP_CORES_MAX)
		return false;
	for (uint32_t i = 0; i < m->shards; i++)
		if (m->core_of[i] >= m->cores)
			return false;
	return true;
}

int64_t cfs_map_encode(const struct cfs_map *m, uint8_t *buf, uint32_t cap_bytes)
{
	struct cfs_map_bytes b = {
		.epoch = cfs_to_le64(m->epoch),
		.shards = cfs_to_le32(m->shards),
		.cores = cfs_to_le32(m->cores),
	};
	uint32_t at = sizeof(b), runs = 0;

	if (!map_is_fine(m))
		return -EINVAL;
	if (cap_bytes < sizeof(b))
		return -ENOSPC;
	memcpy(b.uuid, m->uuid, sizeof(b.uuid));
	memcpy(b.hash_key, m->hash_key, sizeof(b.hash_key));
	for (uint32_t i = 0; i < m->cores; i++) {
		uint32_t len = (uint32_t)strnlen(m->core_addr[i], sizeof(m->core_addr[i]) - 1);
		cfs_le16 le = cfs_to_le16((uint16_t)len);

		if (cap_bytes - at < sizeof(le) + len)
			return -ENOSPC;
		memcpy(buf + at, &le, sizeof(le));
		memcpy(buf + at + sizeof(le), m->core_addr[i], len);
		at += (uint32_t)sizeof(le) + len;
	}
	for (uint32_t shard = 0; shard < m->shards; runs++) {
		struct run r = run_at(m, shard);
		struct cfs_map_run_bytes rb = {
			.count = cfs_to_le32(r.count),
			.core = cfs_to_le16(r.core),
			.stride = cfs_to_le16(r.stride),
			.epoch = cfs_to_le64(r.epoch),
		};

		if (cap_bytes - at < sizeof(rb))
			return -ENOSPC;
		memcpy(buf + at, &rb, sizeof(rb));
		at += (uint32_t)sizeof(rb);
		shard += r.count;
	}
	b.runs = cfs_to_le32(runs);
	memcpy(buf, &b, sizeof(b));
	return at;
}

/* Takes the cores' addresses at @at into @m; NULL: they do not decode. */
static const uint8_t *addrs_decode(const uint8_t *at, const uint8_t *end, struct cfs_map *m)
{
	for (uint32_t i = 0; i < m->cores; i++) {
		cfs_le16 le;
		uint32_t len;

		if ((size_t)(end - at) < sizeof(le))
			return NULL;
		memcpy(&le, at, sizeof(le));
		at += sizeof(le);
		len = cfs_from_le16(le);
		if (len >= sizeof(m->core_addr[i]) || (size_t)(end - at) < len ||
		    memchr(at, 0, len))
			return NULL;
		memcpy(m->core_addr[i], at, len);
		at += len;
	}
	return at;
}

static int runs_decode(const uint8_t *at, const uint8_t *end, uint32_t runs, struct cfs_map *m)
{
	uint32_t shard = 0;

	if ((size_t)(end - at) != runs * sizeof(struct cfs_map_run_bytes))
		return -CFS_EBAD_FORMAT;
	for (uint32_t i = 0; i < runs; i++, at += sizeof(struct cfs_map_run_bytes)) {
		struct cfs_map_run_bytes rb;
		uint32_t count, core, stride;

		memcpy(&rb, at, sizeof(rb));
		count = cfs_from_le32(rb.count);
		core = cfs_from_le16(rb.core);
		stride = cfs_from_le16(rb.stride);
		if (count == 0 || count > m->shards - shard || core >= m->cores ||
		    stride >= m->cores)
			return -CFS_EBAD_FORMAT;
		for (uint32_t k = 0; k < count; k++, shard++) {
			m->core_of[shard] = (uint16_t)core;
			m->epoch_of[shard] = cfs_from_le64(rb.epoch);
			core = (core + stride) % m->cores;
		}
	}
	return shard == m->shards ? 0 : -CFS_EBAD_FORMAT;
}

int cfs_map_decode(const uint8_t *buf, uint32_t len_bytes, struct cfs_map *out)
{
	CFS_CLEANUP(cfs_map_fini) struct cfs_map m = { 0 };
	struct cfs_map_bytes b;
	const uint8_t *at = buf + sizeof(b), *end = buf + len_bytes;
	int rc;

	if (len_bytes < sizeof(b))
		return -CFS_EBAD_FORMAT;
	memcpy(&b, buf, sizeof(b));
	m.epoch = cfs_from_le64(b.epoch);
	m.shards = cfs_from_le32(b.shards);
	m.cores = cfs_from_le32(b.cores);
	memcpy(m.uuid, b.uuid, sizeof(m.uuid));
	memcpy(m.hash_key, b.hash_key, sizeof(m.hash_key));
	if (m.shards == 0 || m.shards > CFS_MAP_SHARDS_MAX || (m.shards & (m.shards - 1)) != 0)
		return -CFS_EBAD_FORMAT;
	if (m.cores == 0 || m.cores > CFS_MAP_CORES_MAX || cfs_from_le32(b.reserved) != 0)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(b.runs) > m.shards)
		return -CFS_EBAD_FORMAT;
	m.core_of = calloc(m.shards, sizeof(*m.core_of));
	m.epoch_of = calloc(m.shards, sizeof(*m.epoch_of));
	m.core_addr = calloc(m.cores, sizeof(*m.core_addr));
	if (!m.core_of || !m.epoch_of || !m.core_addr)
		return -ENOMEM;
	at = addrs_decode(at, end, &m);
	if (!at)
		return -CFS_EBAD_FORMAT;
	rc = runs_decode(at, end, cfs_from_le32(b.runs), &m);
	if (rc < 0)
		return rc;
	*out = m;
	m = (struct cfs_map){ 0 };
	return 0;
}

void cfs_map_fini(struct cfs_map *m)
{
	free(m->core_of);
	free(m->epoch_of);
	free(m->core_addr);
	m->core_of = NULL;
	m->epoch_of = NULL;
	m->core_addr = NULL;
}
