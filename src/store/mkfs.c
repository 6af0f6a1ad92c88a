/*
 * Making a store, and reading its superblock. Plain blocking calls: no runtime is needed.
 *
 * The first superblock is written last, after a sync: a store that was half made is not one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/util.h"
#include "store/device_internal.h"
#include "store/space_rules.h"

#define MIB (1024ull * 1024)
#define STORE_BYTES_MIN (64 * MIB)
#define SLICE_OFF MIB
#define ZONES_MIN 32u
#define SHARDS_DEFAULT 256u
#define USED_CHECK_BYTES MIB

__attribute__((format(printf, 3, 4))) static void say(char *out, uint32_t bytes, const char *fmt,
						      ...)
{
	va_list ap;

	if (!out || bytes == 0)
		return;
	va_start(ap, fmt);
	vsnprintf(out, bytes, fmt, ap);
	va_end(ap);
}

static uint64_t power_of_two_below(uint64_t v)
{
	return v ? 1ull << (63 - __builtin_clzll(v)) : 0;
}

uint32_t cfs_super_stores_default(uint64_t device_bytes)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t stores = cpus > 4 ? (uint64_t)cpus / 2 : 2;

	/* Each slice is to have enough zones to clean in. */
	stores = CFS_MIN(stores, device_bytes / (64 * MIB));
	return (uint32_t)CFS_MAX(stores, 1ull);
}

/* About 64 zones a slice, at most 64 MiB each; big slices have bigger zones rather than many. */
static uint64_t zone_bytes_for(uint64_t slice_bytes)
{
	uint64_t zone = power_of_two_below(slice_bytes / 64);

	zone = CFS_MIN(CFS_MAX(zone, MIB), 64 * MIB);
	while (slice_bytes / zone > 16384)
		zone *= 2;
	return zone;
}

int cfs_super_layout(uint64_t device_bytes, uint32_t stores, uint32_t shards, struct cfs_super *out)
{
	struct cfs_super s = { .version = CFS_STORE_VERSION, .epoch = 1 };
	uint64_t slice_bytes, zone_bytes;

	device_bytes = cfs_round_down(device_bytes, CFS_STORE_BLOCK);
	if (device_bytes < STORE_BYTES_MIN)
		return -EINVAL;
	s.stores = stores ? stores : cfs_super_stores_default(device_bytes);
	s.shards = shards ? shards : SHARDS_DEFAULT;
	if (s.stores > 1024 || s.shards > 65536 || (s.shards & (s.shards - 1)))
		return -EINVAL;
	s.device_bytes = device_bytes;
	s.slice_off = SLICE_OFF;
	slice_bytes = (device_bytes - SLICE_OFF - CFS_STORE_BLOCK) / s.stores;
	zone_bytes = zone_bytes_for(slice_bytes);
	s.zone_blocks = (uint32_t)(zone_bytes / CFS_STORE_BLOCK);
	s.zones = (uint32_t)(slice_bytes / zone_bytes);
	if (s.zones < ZONES_MIN || cfs_space_roots_blocks_max(&s) > s.zone_blocks / 4)
		return -EINVAL;
	*out = s;
	return 0;
}

void cfs_super_first_segment(const struct cfs_super *super, uint32_t slice, void *buf,
			     uint32_t *blocks_out)
{
	struct cfs_segment_header h = {
		.slice = slice, .zone = 0, .stream = CFS_STREAM_JOURNAL, .seq = 1
	};
	uint32_t bitmap_bytes = (super->zones + 7) / 8;
	uint32_t roots_blocks = (bitmap_bytes + CFS_STORE_BLOCK - 1) / CFS_STORE_BLOCK;
	uint8_t *bitmap = (uint8_t *)buf + CFS_STORE_BLOCK;

	cfs_assert(roots_blocks + 1 <= CFS_SUPER_FIRST_BLOCKS_MAX);
	memset(buf, 0, (size_t)(roots_blocks + 1) * CFS_STORE_BLOCK);
	for (uint32_t zone = 1; zone < super->zones; zone++)
		bitmap[zone / 8] |= (uint8_t)(1u << (zone % 8));
	memcpy(h.uuid, super->uuid, 16);
	h.roots_blocks = roots_blocks;
	h.roots_crc = cfs_crc32c(0, bitmap, (size_t)roots_blocks * CFS_STORE_BLOCK);
	cfs_segment_encode(&h, buf);
	*blocks_out = roots_blocks + 1;
}

static int write_all(int fd, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -CFS_EBAD_FORMAT; /* too short to be one */
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int fd_bytes(int fd, uint64_t *bytes_out, bool *is_block_out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*is_block_out = S_ISBLK(st.st_mode);
	if (S_ISREG(st.st_mode)) {
		*bytes_out = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	return ioctl(fd, BLKGETSIZE64, bytes_out) < 0 ? -errno : 0;
}

/* ---- superblocks ---- */

static uint64_t last_block(uint64_t bytes)
{
	return cfs_round_down(bytes, CFS_STORE_BLOCK) - CFS_STORE_BLOCK;
}

int cfs_super_read(int fd, struct cfs_super *out, bool *is_damaged_out)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *block = aligned_alloc(CFS_STORE_BLOCK, CFS_STORE_BLOCK);
	struct cfs_super copy[2] = { 0 };
	uint64_t bytes = 0;
	bool is_block;
	int rc[2];

	*is_damaged_out = false;
	if (!block)
		return -ENOMEM;
	rc[0] = fd_bytes(fd, &bytes, &is_block);
	if (rc[0] < 0)
		return rc[0];
	if (bytes < STORE_BYTES_MIN)
		return -CFS_ENOT_A_STORE;
	for (int i = 0; i < 2; i++) {
		rc[i] = read_all(fd, block, CFS_STORE_BLOCK, i ? last_block(bytes) : 0);
		if (rc[i] == 0)
			rc[i] = cfs_super_decode(block, &copy[i]);
		if (rc[i] == 0 && copy[i].device_bytes > bytes)
			rc[i] = -CFS_EBAD_FORMAT;
	}
	if (rc[0] == -CFS_EBAD_VERSION || (rc[0] < 0 && rc[1] == -CFS_EBAD_VERSION)) {
		out->version = copy[rc[0] != -CFS_EBAD_VERSION].version;
		return -CFS_EBAD_VERSION;
	}
	if (rc[0] < 0 && rc[1] < 0) {
		if (rc[0] == -CFS_ENOT_A_STORE && rc[1] != -EIO)
			return rc[1];
		return rc[0];
	}
	*is_damaged_out = rc[0] < 0 || rc[1] < 0 || copy[0].epoch != copy[1].epoch;
	*out = rc[0] < 0 || (rc[1] == 0 && copy[1].epoch > copy[0].epoch) ? copy[1] : copy[0];
	return 0;
}

int cfs_super_write(int fd, const struct cfs_super *s)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *block = aligned_alloc(CFS_STORE_BLOCK, CFS_STORE_BLOCK);
	int rc;

	if (!block)
		return -ENOMEM;
	cfs_super_encode(s, block);
	rc = write_all(fd, block, CFS_STORE_BLOCK, last_block(s->device_bytes));
	if (rc == 0 && fdatasync(fd) < 0)
		rc = -errno;
	if (rc == 0)
		rc = write_all(fd, block, CFS_STORE_BLOCK, 0);
	if (rc == 0 && fdatasync(fd) < 0)
		rc = -errno;
	return rc;
}

int cfs_store_probe(const char *path, struct cfs_store_info *out, char *err_out, uint32_t err_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct cfs_super s = { 0 };
	bool is_damaged;
	int rc;

	if (fd < 0) {
		rc = -errno;
		say(err_out, err_bytes, "%s: %s", path, strerror(-rc));
		return rc;
	}
	rc = cfs_super_read(fd, &s, &is_damaged);
	close(fd);
	if (rc == -CFS_EBAD_VERSION)
		say(err_out, err_bytes,
		    "%s: store format %u is not known to this program, which knows format %u; use "
		    "the version of ClaudeFS that made it",
		    path, s.version, CFS_STORE_VERSION);
	else if (rc == -CFS_ENOT_A_STORE)
		say(err_out, err_bytes, "%s: not a ClaudeFS store; make one with: cfs mkfs", path);
	else if (rc == -CFS_EBAD_CHECKSUM || rc == -CFS_EBAD_FORMAT)
		say(err_out, err_bytes,
		    "%s: both superblocks are damaged; restore the file from a backup", path);
	else if (rc < 0)
		say(err_out, err_bytes, "%s: cannot read the superblock: %s", path,
		    cfs_err_text(rc));
	if (rc < 0)
		return rc;
	memset(out, 0, sizeof(*out));
	memcpy(out->uuid, s.uuid, 16);
	memcpy(out->hash_key, s.hash_key, 16);
	out->version = s.version;
	out->stores = s.stores;
	out->shards = s.shards;
	out->zone_blocks = s.zone_blocks;
	out->zones = s.zones;
	out->capacity_bytes = cfs_space_capacity_blocks(&s) * CFS_STORE_BLOCK;
	return 0;
}

/* ---- mkfs ---- */

/* True when the first MiB holds anything: a file system, a partition table, an old store. */
static int is_used(int fd, bool *out)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = malloc(USED_CHECK_BYTES);
	int rc = buf ? read_all(fd, buf, USED_CHECK_BYTES, 0) : -ENOMEM;

	if (rc < 0)
		return rc;
	*out = false;
	for (size_t i = 0; i < USED_CHECK_BYTES && !*out; i++)
		*out = buf[i] != 0;
	return 0;
}

static int fill_random(uint8_t *id)
{
	static const uint8_t zero[16];

	if (memcmp(id, zero, 16) != 0)
		return 0;
	return getrandom(id, 16, 0) == 16 ? 0 : -EIO;
}

static int format_fd(int fd, const struct cfs_mkfs_opts *o, uint64_t bytes)
{
	CFS_CLEANUP(cfs_free_p) uint8_t *buf = NULL;
	struct timespec now;
	struct cfs_super s;
	uint32_t blocks = 0;
	int rc = cfs_super_layout(bytes, o->stores, o->shards, &s);

	if (rc < 0)
		return rc;
	memcpy(s.uuid, o->uuid, 16);
	memcpy(s.hash_key, o->hash_key, 16);
	rc = fill_random(s.uuid);
	if (rc == 0)
		rc = fill_random(s.hash_key);
	if (rc < 0)
		return rc;
	clock_gettime(CLOCK_REALTIME, &now);
	s.created_ns = (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
	buf = calloc(CFS_SUPER_FIRST_BLOCKS_MAX, CFS_STORE_BLOCK);
	if (!buf)
		return -ENOMEM;
	rc = write_all(fd, buf, CFS_STORE_BLOCK, 0);
	for (uint32_t i = 0; i < s.stores && rc == 0; i++) {
		uint64_t off = s.slice_off +
			       (uint64_t)i * s.zones * s.zone_blocks * CFS_STORE_BLOCK;

		cfs_super_first_segment(&s, i, buf, &blocks);
		rc = write_all(fd, buf, (size_t)blocks * CFS_STORE_BLOCK, off);
		off += (uint64_t)(s.zone_blocks - 1) * CFS_STORE_BLOCK;
		if (rc == 0)
			rc = write_all(fd, buf, CFS_STORE_BLOCK, off);
	}
	return rc < 0 ? rc : cfs_super_write(fd, &s);
}

/* Makes the directory entry of a new file durable. */
static void sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	char *dir = slash && slash != path ? strndup(path, len) : strdup(slash ? "/" : ".");
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(dir);
}

static int mkfs_file(int fd, const struct cfs_mkfs_opts *o, char *err_out, uint32_t err_bytes)
{
	uint64_t bytes = cfs_round_down(o->size_bytes, CFS_STORE_BLOCK);
	int rc;

	if (bytes < STORE_BYTES_MIN) {
		say(err_out, err_bytes, "%s: a store needs at least 64 MiB; use a larger --size",
		    o->path);
		return -EINVAL;
	}
	rc = fallocate(fd, 0, 0, (off_t)bytes) < 0 ? -errno : 0;
	if (rc == -EOPNOTSUPP)
		rc = -posix_fallocate(fd, 0, (off_t)bytes);
	if (rc < 0) {
		say(err_out, err_bytes, "%s: cannot allocate %llu MiB: %s; use a smaller --size",
		    o->path, (unsigned long long)(bytes / MIB), strerror(-rc));
		return rc;
	}
	return format_fd(fd, o, bytes);
}

static int mkfs_device(int fd, const struct cfs_mkfs_opts *o, char *err_out, uint32_t err_bytes)
{
	uint64_t bytes = 0;
	bool is_block = false, used = false;
	int rc = fd_bytes(fd, &bytes, &is_block);

	if (rc == 0 && !is_block && !o->is_forced) {
		say(err_out, err_bytes,
		    "%s: there is a file already; remove it, or overwrite it with --force",
		    o->path);
		return -EEXIST;
	}
	if (rc == 0 && !is_block && o->size_bytes > 0) {
		if (ftruncate(fd, 0) < 0)
			return -errno;
		return mkfs_file(fd, o, err_out, err_bytes);
	}
	if (rc == 0 && bytes < STORE_BYTES_MIN) {
		say(err_out, err_bytes, "%s: a store needs at least 64 MiB", o->path);
		return -EINVAL;
	}
	if (rc == 0)
		rc = is_used(fd, &used);
	if (rc == 0 && used && !o->is_forced) {
		say(err_out, err_bytes,
		    "%s: its first MiB is not empty; if nothing on it is needed, use --force",
		    o->path);
		return -EEXIST;
	}
	if (rc == 0)
		rc = format_fd(fd, o, o->size_bytes ? CFS_MIN(bytes, o->size_bytes) : bytes);
	return rc;
}

int cfs_store_mkfs(const struct cfs_mkfs_opts *opts, char *err_out, uint32_t err_bytes)
{
	int fd = open(opts->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool is_new = fd >= 0;
	struct stat st;
	int rc;

	say(err_out, err_bytes, "%s", "");
	if (fd < 0 && errno == EEXIST) {
		bool is_block = stat(opts->path, &st) == 0 && S_ISBLK(st.st_mode);

		/* O_EXCL on a block device: not while it is mounted. */
		fd = open(opts->path, O_RDWR | O_CLOEXEC | (is_block ? O_EXCL : 0));
	}
	if (fd < 0) {
		rc = -errno;
		say(err_out, err_bytes, "%s: %s", opts->path, strerror(-rc));
		return rc;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		say(err_out, err_bytes, "%s: in use by another process; stop that first",
		    opts->path);
		close(fd);
		return -EBUSY;
	}
	rc = is_new ? mkfs_file(fd, opts, err_out, err_bytes)
		    : mkfs_device(fd, opts, err_out, err_bytes);
	if (rc < 0 && err_out && err_bytes && !err_out[0])
		say(err_out, err_bytes, "%s: %s", opts->path,
		    rc == -EINVAL ? "too small for that many stores or shards; use fewer, or a "
				    "larger --size"
				  : cfs_err_text(rc));
	if (rc < 0 && is_new)
		unlink(opts->path);
	close(fd);
	if (rc == 0 && is_new)
		sync_parent(opts->path);
	return rc;
}
