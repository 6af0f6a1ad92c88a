/* read(2), write(2) and kin. */
#include "posix.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define MIB (1ull << 20)

static void ends(void)
{
	void *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char buf[16] = "";
	int fd;

	CHECK(nowhere != MAP_FAILED);
	posix_make("f", "0123456789");
	fd = (int)OK(open("f", O_RDWR));
	CHECK_EQ(OK(pread(fd, buf, 16, 0)), 10);
	CHECK_EQ(OK(pread(fd, buf, 16, 8)), 2);
	CHECK_EQ(OK(pread(fd, buf, 16, 10)), 0);
	CHECK_EQ(OK(pread(fd, buf, 16, 1 << 30)), 0);
	CHECK_EQ(OK(read(fd, buf, 4)), 4);
	CHECK_EQ(OK(read(fd, buf, 16)), 6);
	CHECK_EQ(OK(read(fd, buf, 16)), 0);
	FAILS(EINVAL, pread(fd, buf, 1, -1));
	FAILS(EINVAL, pwrite(fd, buf, 1, -1));
	CHECK_EQ(OK(write(fd, buf, 0)), 0);
	CHECK_EQ(OK(pread(fd, buf, 0, 0)), 0);
	CHECK_EQ(posix_stat("f").st_size, 10);
	FAILS(EFAULT, pwrite(fd, nowhere, 1, 0));
}

static void seeking(void)
{
	int fd;

	posix_make("f", "0123456789");
	fd = (int)OK(open("f", O_RDWR));
	CHECK_EQ(OK(lseek(fd, 0, SEEK_END)), 10);
	CHECK_EQ(OK(lseek(fd, -3, SEEK_CUR)), 7);
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	FAILS(EINVAL, lseek(fd, 0, 99));
	CHECK_EQ(OK(lseek(fd, 100, SEEK_SET)), 100);
	CHECK_EQ(posix_stat("f").st_size, 10);
	CHECK_EQ(OK(write(fd, "x", 1)), 1);
	CHECK_EQ(posix_stat("f").st_size, 101);
}

static void holes(void)
{
	static uint8_t buf[8192];
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_write_all(fd, "a", 1, 5000);
	posix_write_all(fd, "b", 1, 3 * MIB + 17);
	CHECK_EQ(posix_stat("f").st_size, (long long)(3 * MIB + 18));
	for (uint64_t at = 0; at < 3 * MIB; at += sizeof(buf)) {
		posix_read_all(fd, buf, sizeof(buf), (off_t)at);
		for (size_t i = 0; i < sizeof(buf); i++)
			if (buf[i] != (at + i == 5000 ? 'a' : 0))
				posix_fail(__FILE__, __LINE__, "byte %llu is %u",
					   (unsigned long long)(at + i), buf[i]);
	}
	CHECK(posix_stat("f").st_blocks * 512ll < (long long)(2 * MIB));
}

static void vectors(void)
{
	char a[3], b[4];
	struct iovec out[3] = { { .iov_base = "abc", .iov_len = 3 },
				{ .iov_base = "", .iov_len = 0 },
				{ .iov_base = "defg", .iov_len = 4 } };
	struct iovec in[2] = { { .iov_base = a, .iov_len = 3 }, { .iov_base = b, .iov_len = 4 } };
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	CHECK_EQ(OK(writev(fd, out, 3)), 7);
	CHECK_EQ(OK(pwritev(fd, out, 3, 100)), 7);
	CHECK_EQ(OK(preadv(fd, in, 2, 100)), 7);
	CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "defg", 4) == 0);
	CHECK_EQ(OK(pwritev2(fd, out, 1, -1, RWF_APPEND)), 3);
	CHECK_EQ(posix_stat("f").st_size, 110);
	CHECK_EQ(OK(pwritev2(fd, out, 1, 0, RWF_DSYNC)), 3);
}

static void far(void)
{
	char c;
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	posix_write_all(fd, "x", 1, 1ll << 40);
	CHECK_EQ(posix_stat("f").st_size, (1ll << 40) + 1);
	posix_read_all(fd, &c, 1, 1ll << 40);
	CHECK_EQ(c, 'x');
	posix_read_all(fd, &c, 1, 1ll << 39);
	CHECK_EQ(c, 0);
	FAILS_EITHER(EFBIG, EINVAL, pwrite(fd, "x", 1, INT64_MAX));
	CHECK_EQ(posix_stat("f").st_size, (1ll << 40) + 1);
	OK(ftruncate(fd, 0));
	CHECK_EQ(posix_stat("f").st_blocks, 0);
}

static void limit(void)
{
	struct rlimit r = { .rlim_cur = 1000, .rlim_max = 1000 };
	static char buf[2000];
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &r));
	CHECK_EQ(OK(pwrite(fd, buf, 2000, 0)), 1000);
	FAILS(EFBIG, pwrite(fd, buf, 1, 1000));
	FAILS(EFBIG, ftruncate(fd, 1001));
}

static void two_descriptors(void)
{
	char buf[8];
	int a = (int)OK(open("f", O_CREAT | O_RDWR, 0644)), b = (int)OK(open("f", O_RDWR));

	for (int i = 0; i < 50; i++) {
		posix_write_all(a, &i, sizeof(i), i * 3000);
		posix_read_all(b, buf, sizeof(i), i * 3000);
		CHECK(memcmp(buf, &i, sizeof(i)) == 0);
		IN_CHILD()
		{
			int c = (int)OK(open("f", O_RDONLY));

			posix_read_all(c, buf, sizeof(i), i * 3000);
			CHECK(memcmp(buf, &i, sizeof(i)) == 0);
		}
	}
}

static void copies(void)
{
	static uint8_t buf[300000], back[300000];
	off_t off = 0, in_off = 1000, out_off = 5000;
	int from = (int)OK(open("f", O_CREAT | O_RDWR, 0644));
	int to = (int)OK(open("g", O_CREAT | O_RDWR, 0644));
	size_t done = 0;

	posix_pattern(buf, sizeof(buf), 0, 3);
	posix_write_all(from, buf, sizeof(buf), 0);
	while (done < sizeof(buf)) {
		ssize_t n = OK(sendfile(to, from, &off, sizeof(buf) - done));

		CHECK(n > 0);
		done += (size_t)n;
	}
	posix_read_all(to, back, sizeof(back), 0);
	CHECK(memcmp(buf, back, sizeof(buf)) == 0);
	for (done = 0; done < 200000;) {
		ssize_t n = OK(copy_file_range(from, &in_off, to, &out_off, 200000 - done, 0));

		CHECK(n > 0);
		done += (size_t)n;
	}
	posix_read_all(to, back, 200000, 5000);
	CHECK(memcmp(buf + 1000, back, 200000) == 0);
	CHECK_EQ(in_off, 201000);
	CHECK_EQ(out_off, 205000);
	CHECK_EQ(OK(copy_file_range(from, &(off_t){ 300000 }, to, &out_off, 1, 0)), 0);
}

static void direct(void)
{
	uint8_t *buf, *back;
	int fd = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644), buffered;

	if (fd < 0 && errno == EINVAL)
		posix_skip("no O_DIRECT here");
	OK(fd);
	CHECK(posix_memalign((void **)&buf, 4096, 2 * MIB) == 0);
	CHECK(posix_memalign((void **)&back, 4096, 2 * MIB) == 0);
	buffered = (int)OK(open("f", O_RDWR));
	posix_pattern(buf, 2 * MIB, 0, 7);
	posix_write_all(fd, buf, 2 * MIB, 0);
	posix_read_all(buffered, back, 2 * MIB, 0);
	CHECK(memcmp(buf, back, 2 * MIB) == 0);
	posix_pattern(buf + 8192, 4096, 0, 8);
	posix_write_all(buffered, buf + 8192, 4096, 8192);
	posix_read_all(fd, back, 2 * MIB, 0);
	CHECK(memcmp(buf, back, 2 * MIB) == 0);
	posix_pattern(buf + 4096, 4096, 0, 9);
	posix_write_all(fd, buf + 4096, 4096, 4096);
	posix_read_all(buffered, back, 2 * MIB, 0);
	CHECK(memcmp(buf, back, 2 * MIB) == 0);
	CHECK_EQ(OK(pread(fd, back, 8192, (off_t)(2 * MIB - 4096))), 4096);
	CHECK_EQ(OK(pread(fd, back, 4096, (off_t)(2 * MIB))), 0);
}

/* A file of 24 chunks and a bit, written and read in pieces of all sizes at random places. */
static void big(void)
{
	uint64_t dice = posix_seed, size = 24 * MIB + 12345;
	uint8_t *model = calloc(1, size), *buf = malloc(4 * MIB);
	int fd = (int)OK(open("f", O_CREAT | O_RDWR, 0644));

	CHECK(model && buf);
	posix_write_all(fd, "", 1, (off_t)size - 1);
	for (unsigned i = 0; i < posix_count(150, 1500); i++) {
		uint64_t max = i % 4 == 0 ? 4 * MIB : i % 4 == 1 ? 70000 : 5000;
		uint64_t len = posix_random(&dice) % max + 1;
		uint64_t at = posix_random(&dice) % (size - len);

		if (posix_random(&dice) % 3 == 0) {
			posix_read_all(fd, buf, len, (off_t)at);
			if (memcmp(buf, model + at, len) != 0)
				posix_fail(__FILE__, __LINE__, "step %u: read %llu at %llu", i,
					   (unsigned long long)len, (unsigned long long)at);
			continue;
		}
		posix_pattern(model + at, len, at, i + 1);
		posix_write_all(fd, model + at, len, (off_t)at);
	}
	OK(fsync(fd));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	for (uint64_t at = 0; at < size; at += MIB) {
		uint64_t len = size - at < MIB ? size - at : MIB;

		posix_read_all(fd, buf, len, (off_t)at);
		CHECK(memcmp(buf, model + at, len) == 0);
	}
	CHECK_EQ(posix_stat("f").st_size, (long long)size);
}

struct fuzz {
	uint8_t *model, *buf;
	uint64_t size, max, dice;
	int fd;
};

static void fuzz_write(struct fuzz *z, unsigned step)
{
	uint64_t at = posix_random(&z->dice) % z->max;
	uint64_t len = posix_random(&z->dice) % (posix_random(&z->dice) % 5 ? 9000 : 300000) + 1;

	if (at + len > z->max)
		len = z->max - at;
	posix_pattern(z->model + at, len, at, step + 1);
	posix_write_all(z->fd, z->model + at, len, (off_t)at);
	if (at + len > z->size)
		z->size = at + len;
}

static void fuzz_read(struct fuzz *z, unsigned step)
{
	uint64_t at = posix_random(&z->dice) % z->max, len = posix_random(&z->dice) % 200000;
	uint64_t want = at >= z->size ? 0 : z->size - at < len ? z->size - at : len;
	ssize_t n = OK(pread(z->fd, z->buf, len, (off_t)at));

	if ((uint64_t)n != want)
		posix_fail(__FILE__, __LINE__, "step %u: read %llu at %llu of %llu: got %zd", step,
			   (unsigned long long)len, (unsigned long long)at,
			   (unsigned long long)z->size, n);
	for (uint64_t i = 0; i < want; i++)
		if (z->buf[i] != z->model[at + i])
			posix_fail(__FILE__, __LINE__, "step %u: byte %llu of %llu is wrong", step,
				   (unsigned long long)(at + i), (unsigned long long)z->size);
}

static void fuzz_cut(struct fuzz *z)
{
	uint64_t size = posix_random(&z->dice) % z->max;

	OK(ftruncate(z->fd, (off_t)size));
	if (size < z->size)
		memset(z->model + size, 0, z->size - size);
	z->size = size;
}

static void fuzz_punch(struct fuzz *z)
{
	uint64_t at = posix_random(&z->dice) % z->max, len = posix_random(&z->dice) % 300000 + 1;
	int mode = FALLOC_FL_KEEP_SIZE |
		   (posix_random(&z->dice) % 2 ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	if (fallocate(z->fd, mode, (off_t)at, (off_t)len) < 0) {
		CHECK(errno == EOPNOTSUPP);
		return;
	}
	if (at < z->size)
		memset(z->model + at, 0, z->size - at < len ? z->size - at : len);
}

static void fuzz_run(const char *path, uint64_t max, unsigned steps, uint64_t seed)
{
	struct fuzz z = { .max = max, .dice = seed };

	z.model = calloc(1, max);
	z.buf = malloc(max + 300000);
	CHECK(z.model && z.buf);
	z.fd = (int)OK(open(path, O_CREAT | O_RDWR | O_TRUNC, 0644));
	for (unsigned i = 0; i < steps; i++) {
		unsigned what = (unsigned)(posix_random(&z.dice) % 16);

		if (what < 7)
			fuzz_write(&z, i);
		else if (what < 12)
			fuzz_read(&z, i);
		else if (what < 13)
			fuzz_cut(&z);
		else if (what < 15)
			fuzz_punch(&z);
		else
			OK(fsync(z.fd));
		CHECK_EQ(posix_stat(path).st_size, (long long)z.size);
	}
	CHECK_EQ(OK(pread(z.fd, z.buf, max, 0)), (long long)z.size);
	CHECK(memcmp(z.buf, z.model, z.size) == 0);
	OK(close(z.fd));
	free(z.model);
	free(z.buf);
}

static void model_small(void)
{
	for (unsigned i = 0; i < 4; i++)
		fuzz_run("f", 65536, posix_count(300, 3000), posix_seed + i);
}

static void model_large(void)
{
	fuzz_run("f", 5 * MIB + 333, posix_count(500, 6000), posix_seed + 99);
}

static void small_appends(void)
{
	uint8_t *buf = malloc(200000), *back = malloc(200000);
	int fd = (int)OK(open("f", O_CREAT | O_WRONLY, 0644));
	uint64_t dice = posix_seed;
	size_t len = 0;

	CHECK(buf && back);
	posix_pattern(buf, 200000, 0, 5);
	while (len < 200000) {
		size_t n = posix_random(&dice) % 400 + 1;

		if (n > 200000 - len)
			n = 200000 - len;
		CHECK_EQ(OK(write(fd, buf + len, n)), n);
		len += n;
	}
	posix_read_all((int)OK(open("f", O_RDONLY)), back, 200000, 0);
	CHECK(memcmp(buf, back, 200000) == 0);
}

const struct posix_case rw_cases[] = {
	{ "rw_ends", "read(2): short at the end, 0 past it; EINVAL; nothing for 0 bytes", ends },
	{ "rw_seek", "lseek(2)", seeking },
	{ "rw_holes", "lseek(2): a gap reads as zeros and takes no room", holes },
	{ "rw_vectors", "readv(2), pwritev2(2)", vectors },
	{ "rw_far", "write(2): offsets of 2^40; EFBIG", far },
	{ "rw_limit", "write(2): RLIMIT_FSIZE, EFBIG", limit },
	{ "rw_two_descriptors", "write(2): a read that follows returns the new data, everywhere",
	  two_descriptors },
	{ "rw_copies", "sendfile(2), copy_file_range(2)", copies },
	{ "rw_direct", "open(2): O_DIRECT, mixed with buffered I/O", direct },
	{ "rw_appends", "write(2): many small ones after one another", small_appends },
	{ "rw_model_small", "read, write, ftruncate, fallocate against a model, 64 KiB",
	  model_small },
	{ "rw_model_large", "the same over several chunks", model_large },
	{ "rw_big", "a file of 24 chunks, random pieces, verified", big },
	{ 0 },
};
