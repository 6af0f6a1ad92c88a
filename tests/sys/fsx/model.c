/* Dice, the copy in memory, and the report of a difference. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fsx.h"

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* splitmix64 (Steele, Lea and Flood 2014). */
uint64_t roll(struct run *r)
{
	return mix(r->dice += 0x9e3779b97f4a7c15ull);
}

uint64_t pick(struct run *r, uint64_t below)
{
	return below ? roll(r) % below : 0;
}

bool chance(struct run *r, unsigned percent)
{
	return pick(r, 100) < percent;
}

static uint64_t near(struct run *r, uint64_t at, uint64_t below)
{
	static const uint64_t spread[] = { 1, 2, 2, 16, 600, 5000 };
	uint64_t by = pick(r, spread[pick(r, 6)]);

	if (chance(r, 50))
		at = at > by ? at - by : 0;
	else
		at += by;
	return at < below ? at : pick(r, below);
}

static uint64_t pick_border(struct run *r)
{
	static const uint64_t borders[] = {
		PAGE, PAGE, 64 * KIB, 64 * KIB, 128 * KIB, CHUNK_BYTES
	};

	return borders[pick(r, 6)];
}

uint64_t pick_off(struct run *r, const struct file *f, uint64_t below)
{
	unsigned kind = (unsigned)pick(r, 10);
	uint64_t border = pick_border(r);

	if (kind < 3 || below < 2)
		return pick(r, below);
	if (kind < 5)
		return near(r, f->size_bytes, below);
	return near(r, pick(r, below / border + 1) * border, below);
}

uint64_t pick_len(struct run *r, uint64_t off_bytes, uint64_t max)
{
	uint64_t len = 1 + pick(r, 1ull << pick(r, 18)), end, border = pick_border(r);

	if (chance(r, 1))
		len = 1 + pick(r, OP_BYTES_MAX);
	if (chance(r, 30)) { /* up to a border, or a whole number of blocks */
		end = (off_bytes + len + border - 1) / border * border;
		len = chance(r, 50) ? end - off_bytes : (len + PAGE - 1) / PAGE * PAGE;
	}
	if (len > OP_BYTES_MAX)
		len = OP_BYTES_MAX;
	if (len > max)
		len = max;
	return len ? len : 1;
}

void fill(struct run *r, uint8_t *p, size_t len_bytes)
{
	uint64_t word = mix(r->number * 0x9e3779b97f4a7c15ull + r->opt.seed);
	size_t at = 0;

	for (; at + 8 <= len_bytes;
	     at += 8, word = word * 6364136223846793005ull + 1442695040888963407ull)
		memcpy(p + at, &word, 8);
	memcpy(p + at, &word, len_bytes - at);
}

void model_write(struct file *f, uint64_t off_bytes, const uint8_t *p, uint64_t len_bytes)
{
	memcpy(f->want + off_bytes, p, len_bytes);
	if (off_bytes + len_bytes > f->size_bytes)
		f->size_bytes = off_bytes + len_bytes;
}

void model_zero(struct file *f, uint64_t off_bytes, uint64_t len_bytes, bool may_grow)
{
	uint64_t end = off_bytes + len_bytes;

	if (may_grow && end > f->size_bytes)
		f->size_bytes = end;
	if (end > f->size_bytes)
		end = f->size_bytes;
	if (off_bytes < end)
		memset(f->want + off_bytes, 0, end - off_bytes);
}

void model_truncate(struct file *f, uint64_t size_bytes)
{
	if (size_bytes < f->size_bytes)
		memset(f->want + size_bytes, 0, f->size_bytes - size_bytes);
	f->size_bytes = size_bytes;
}

unsigned file_index(const struct run *r, const struct file *f)
{
	return (unsigned)(f - r->files);
}

void note(struct run *r, const char *what, const struct file *f, unsigned dir, uint64_t off_bytes,
	  uint64_t len_bytes)
{
	static uint64_t next;

	r->history[next++ % HISTORY] = (struct done){
		.what = what,
		.number = r->number,
		.off_bytes = off_bytes,
		.len_bytes = len_bytes,
		.size_bytes = f->size_bytes,
		.file = file_index(r, f),
		.dir = dir,
	};
	r->history[next % HISTORY].what = NULL;
}

static void print_done(const struct done *d)
{
	printf("  %8" PRIu64 " file %u dir %u %-16s %#9" PRIx64 " + %#8" PRIx64 " of %#9" PRIx64
	       "\n",
	       d->number, d->file, d->dir, d->what, d->off_bytes, d->len_bytes, d->size_bytes);
}

/* The history is a ring; one place in it is empty, behind the newest. */
static unsigned history_end(const struct run *r)
{
	unsigned at = 0;

	while (at < HISTORY - 1 && r->history[at].what)
		at++;
	return at;
}

/* The last operations, oldest first. */
static void print_history(const struct run *r)
{
	unsigned newest = history_end(r), at;

	for (unsigned i = r->opt.report; i > 0; i--) {
		at = (newest + HISTORY - i) % HISTORY;
		if (r->history[at].what)
			print_done(&r->history[at]);
	}
}

static void print_failure(struct run *r, const struct file *f, const char *format, va_list args)
{
	printf("fsx: seed %" PRIu64 ", operation %" PRIu64 ", file %u (size %#" PRIx64 "): ",
	       r->opt.seed, r->number, file_index(r, f), f->size_bytes);
	vprintf(format, args);
	printf("\n");
}

_Noreturn void failed(struct run *r, const struct file *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_failure(r, f, format, args);
	va_end(args);
	print_history(r);
	fflush(stdout);
	_exit(1);
}

_Noreturn void failed_errno(struct run *r, const struct file *f, const char *call)
{
	failed(r, f, "%s: %s", call, strerror(errno));
}

static bool touches(const struct done *d, unsigned file, uint64_t off_bytes)
{
	return d->what && d->file == file && off_bytes >= d->off_bytes &&
	       off_bytes < d->off_bytes + d->len_bytes;
}

_Noreturn static void failed_bytes(struct run *r, const struct file *f, uint64_t off_bytes,
				   const uint8_t *p, uint64_t len_bytes, const char *how)
{
	const uint8_t *want = f->want + off_bytes;
	uint64_t first = 0, last = len_bytes - 1, wrong = 0;

	while (p[first] == want[first])
		first++;
	while (p[last] == want[last])
		last--;
	for (uint64_t i = first; i <= last; i++)
		wrong += p[i] != want[i];
	printf("operations that are remembered and touch %#" PRIx64 ":\n", off_bytes + first);
	for (unsigned i = 1; i < HISTORY; i++) {
		const struct done *d = &r->history[(history_end(r) + i) % HISTORY];

		if (touches(d, file_index(r, f), off_bytes + first))
			print_done(d);
	}
	failed(r, f,
	       "%s of %#" PRIx64 " + %#" PRIx64 " is wrong in %" PRIu64 " bytes of %#" PRIx64
	       " to %#" PRIx64 "; first %02x, want %02x",
	       how, off_bytes, len_bytes, wrong, off_bytes + first, off_bytes + last, p[first],
	       want[first]);
}

void check_bytes(struct run *r, const struct file *f, uint64_t off_bytes, const uint8_t *p,
		 uint64_t len_bytes, const char *how)
{
	if (len_bytes && memcmp(p, f->want + off_bytes, len_bytes) != 0)
		failed_bytes(r, f, off_bytes, p, len_bytes, how);
}
