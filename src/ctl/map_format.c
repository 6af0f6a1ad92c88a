#include "ctl/map_format.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"

#define CRC_DIGITS 8u
#define WORD_BYTES_MAX 16u

static const char magic_text[] = "claudefs-map ";
static const char columns[] = "shard epoch node slice\n";

static_assert(CFS_MAP_ROW_BYTES_MAX >= 5 + 1 + 20 + 1 + 5 + 1 + 5 + 1, "a row fits in its line");

/* --- writing --- */

/* The piece with another checksum in its place, which its own head's length tells. */
static uint32_t head_write(char head[CFS_MAP_ROWS_HEAD_BYTES_MAX], uint32_t shards, uint32_t first,
			   uint32_t count, uint32_t crc)
{
	int len = snprintf(head, CFS_MAP_ROWS_HEAD_BYTES_MAX,
			   "%s%u shards %" PRIu32 " first %" PRIu32 " count %" PRIu32
			   " crc32c %08" PRIx32 "\n%s",
			   magic_text, CFS_MAP_ROWS_VERSION, shards, first, count, crc, columns);

	cfs_assert(len > 0 && len < (int)CFS_MAP_ROWS_HEAD_BYTES_MAX);
	return (uint32_t)len;
}

uint32_t cfs_map_rows_encode(const struct cfs_map_row *rows, uint32_t shards, uint32_t first,
			     uint32_t count, uint8_t *buf)
{
	char line[CFS_MAP_ROWS_HEAD_BYTES_MAX];
	uint32_t head_bytes = head_write(line, shards, first, count, 0), len = head_bytes;

	cfs_assert(count <= CFS_MAP_ROWS_MAX);
	cfs_assert(first + count <= shards);
	memcpy(buf, line, head_bytes);
	for (uint32_t i = first; i < first + count; i++) {
		int bytes = snprintf(line, sizeof(line), "%" PRIu32 " %" PRIu64 " %u %u\n", i,
				     rows[i].epoch, rows[i].node, rows[i].slice);

		memcpy(buf + len, line, (size_t)bytes);
		len += (uint32_t)bytes;
	}
	head_write(line, shards, first, count, cfs_crc32c(0, buf, len));
	memcpy(buf, line, head_bytes);
	return len;
}

/* --- reading --- */

/* What of the text has not been read. Every reader takes exactly what the writer wrote, and false
 * is for ever. */
struct text {
	const char *at, *end;
	bool is_bad;
};

static void take_word(struct text *t, const char *word)
{
	size_t len = strnlen(word, WORD_BYTES_MAX + sizeof(columns));

	if (t->is_bad || (size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0)
		t->is_bad = true;
	else
		t->at += len;
}

static uint64_t take_number(struct text *t, uint64_t max)
{
	const char *from = t->at;
	uint64_t value = 0;

	while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
		uint64_t digit = (uint64_t)(*t->at++ - '0');

		if (value > (UINT64_MAX - digit) / 10)
			t->is_bad = true;
		value = value * 10 + digit;
	}
	if (t->at == from || (*from == '0' && t->at - from > 1) || value > max)
		t->is_bad = true;
	return t->is_bad ? 0 : value;
}

static uint32_t take_crc(struct text *t)
{
	uint32_t value = 0;

	if ((size_t)(t->end - t->at) < CRC_DIGITS)
		t->is_bad = true;
	for (uint32_t i = 0; i < CRC_DIGITS && !t->is_bad; i++, t->at++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = *t->at ? strchr(digits, *t->at) : NULL;

		t->is_bad = !digit;
		value = value << 4 | (digit ? (uint32_t)(digit - digits) : 0);
	}
	return value;
}

static void take_row(struct text *t, uint32_t shard, struct cfs_map_row *row)
{
	if (take_number(t, UINT32_MAX) != shard)
		t->is_bad = true;
	take_word(t, " ");
	row->epoch = take_number(t, UINT64_MAX);
	take_word(t, " ");
	row->node = (uint16_t)take_number(t, UINT16_MAX);
	take_word(t, " ");
	row->slice = (uint16_t)take_number(t, UINT16_MAX);
	take_word(t, "\n");
}

/* Goes over all rows; puts them into @rows if that is not NULL. */
static void take_rows(struct text *t, uint32_t first, uint32_t count, struct cfs_map_row *rows)
{
	for (uint32_t i = first; i < first + count && !t->is_bad; i++) {
		struct cfs_map_row row = { 0 };

		take_row(t, i, &row);
		if (rows && !t->is_bad)
			rows[i] = row;
	}
	if (t->at != t->end)
		t->is_bad = true;
}

struct head {
	uint32_t shards, first, count, crc;
	uint32_t head_bytes;
};

static int head_read(const uint8_t *buf, uint32_t len_bytes, struct head *h)
{
	struct text t = { .at = (const char *)buf, .end = (const char *)buf + len_bytes };

	take_word(&t, magic_text);
	if (!t.is_bad && take_number(&t, UINT32_MAX) != CFS_MAP_ROWS_VERSION && !t.is_bad)
		return -CFS_EBAD_VERSION;
	take_word(&t, " shards ");
	h->shards = (uint32_t)take_number(&t, UINT32_MAX);
	take_word(&t, " first ");
	h->first = (uint32_t)take_number(&t, UINT32_MAX);
	take_word(&t, " count ");
	h->count = (uint32_t)take_number(&t, CFS_MAP_ROWS_MAX);
	take_word(&t, " crc32c ");
	h->crc = take_crc(&t);
	take_word(&t, "\n");
	take_word(&t, columns);
	h->head_bytes = (uint32_t)(t.at - (const char *)buf);
	return t.is_bad ? -CFS_EBAD_FORMAT : 0;
}

static int decode_2(const uint8_t *buf, uint32_t len_bytes, uint32_t shards,
		    struct cfs_map_row *rows)
{
	char zeroed[CFS_MAP_ROWS_HEAD_BYTES_MAX];
	struct head h;
	struct text t;
	uint32_t crc;
	int rc = head_read(buf, len_bytes, &h);

	if (rc < 0)
		return rc;
	head_write(zeroed, h.shards, h.first, h.count, 0);
	crc = cfs_crc32c(0, zeroed, h.head_bytes);
	if (cfs_crc32c(crc, buf + h.head_bytes, len_bytes - h.head_bytes) != h.crc)
		return -CFS_EBAD_CHECKSUM;
	if (h.shards != shards || (uint64_t)h.first + h.count > shards)
		return -CFS_EBAD_FORMAT;
	t = (struct text){ .at = (const char *)buf + h.head_bytes,
			   .end = (const char *)buf + len_bytes };
	take_rows(&t, h.first, h.count, NULL);
	if (t.is_bad)
		return -CFS_EBAD_FORMAT;
	t.at = (const char *)buf + h.head_bytes;
	take_rows(&t, h.first, h.count, rows);
	return (int)h.count;
}

/* --- version 1 --- */

static uint32_t crc_1_of(const struct cfs_map_rows_1_header *h, const uint8_t *rows,
			 uint32_t len_bytes)
{
	struct cfs_map_rows_1_header zeroed = *h;

	zeroed.crc = cfs_to_le32(0);
	return cfs_crc32c(cfs_crc32c(0, &zeroed, sizeof(zeroed)), rows, len_bytes);
}

static int header_1_verify(const struct cfs_map_rows_1_header *h, const uint8_t *buf,
			   uint32_t len_bytes, uint32_t shards)
{
	uint64_t count = cfs_from_le32(h->count);
	uint64_t rows_bytes = len_bytes - sizeof(*h);

	if (cfs_from_le32(h->magic) != CFS_MAP_ROWS_1_MAGIC)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le16(h->version) != CFS_MAP_ROWS_1_VERSION)
		return -CFS_EBAD_VERSION;
	if (cfs_from_le16(h->header_bytes) != sizeof(*h) || count > CFS_MAP_ROWS_MAX ||
	    count * sizeof(struct cfs_map_row_1_bytes) != rows_bytes)
		return -CFS_EBAD_FORMAT;
	if (cfs_from_le32(h->crc) != crc_1_of(h, buf + sizeof(*h), (uint32_t)rows_bytes))
		return -CFS_EBAD_CHECKSUM;
	if (cfs_from_le32(h->shards) != shards || cfs_from_le32(h->first) + count > shards)
		return -CFS_EBAD_FORMAT;
	return 0;
}

static int decode_1(const uint8_t *buf, uint32_t len_bytes, uint32_t shards,
		    struct cfs_map_row *rows)
{
	struct cfs_map_rows_1_header h;
	struct cfs_map_row_1_bytes r;
	uint32_t first, count;
	int rc;

	if (len_bytes < sizeof(h))
		return -CFS_EBAD_FORMAT;
	memcpy(&h, buf, sizeof(h));
	rc = header_1_verify(&h, buf, len_bytes, shards);
	if (rc < 0)
		return rc;
	first = cfs_from_le32(h.first);
	count = cfs_from_le32(h.count);
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&r, buf + sizeof(h) + i * sizeof(r), sizeof(r));
		if (cfs_from_le32(r.reserved) != 0)
			return -CFS_EBAD_FORMAT;
	}
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&r, buf + sizeof(h) + i * sizeof(r), sizeof(r));
		rows[first + i] = (struct cfs_map_row){
			.epoch = cfs_from_le64(r.epoch),
			.node = cfs_from_le16(r.node),
			.slice = cfs_from_le16(r.slice),
		};
	}
	return (int)count;
}

int cfs_map_rows_decode(const uint8_t *buf, uint32_t len_bytes, uint32_t shards,
			struct cfs_map_row *rows)
{
	cfs_le32 magic;

	if (len_bytes < sizeof(magic))
		return -CFS_EBAD_FORMAT;
	memcpy(&magic, buf, sizeof(magic));
	if (cfs_from_le32(magic) == CFS_MAP_ROWS_1_MAGIC)
		return decode_1(buf, len_bytes, shards, rows);
	return decode_2(buf, len_bytes, shards, rows);
}
