#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/util.h"
#include "lib/fuzz.h"

#define INPUTS_MAX 4096
#define SAMPLES_MAX 1024
#define CHANGES_MAX 6
#define ROUNDS_SMALL 20000
#define ROUNDS_FULL 3000000

struct input {
	uint8_t *data;
	size_t len;
};

static struct input inputs[INPUTS_MAX];
static uint32_t input_count;
static uint64_t seed, draws;
/* What is being tried, for the report of a crash. */
static const uint8_t *now_data;
static size_t now_len;
static uint64_t now_round;

static uint64_t draw(uint64_t bound)
{
	return cfs_hash_u64(seed * 0x9e3779b97f4a7c15ull + ++draws) % bound;
}

/* The sanitizers abort; the input is printed so that it can become part of the corpus. */
static void report(int sig)
{
	(void)sig;
	dprintf(STDERR_FILENO, "fuzz: died in round %" PRIu64 ", seed %" PRIu64 ", %zu bytes:\n",
		now_round, seed, now_len);
	for (size_t i = 0; i < CFS_MIN(now_len, (size_t)4096); i++)
		dprintf(STDERR_FILENO, "%02x%s", now_data[i], i % 32 == 31 ? "\n" : "");
	dprintf(STDERR_FILENO, "\n");
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* On the heap, of the exact length: reading one byte past it is seen. */
static void try_input(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	memcpy(copy, data, len);
	now_data = copy;
	now_len = len;
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	now_data = NULL;
	now_len = 0;
}

static int add_input(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy || input_count == INPUTS_MAX) {
		free(copy);
		return -1;
	}
	memcpy(copy, data, len);
	inputs[input_count++] = (struct input){ copy, len };
	return 0;
}

static int add_file(const char *path)
{
	static uint8_t data[CFS_FUZZ_BYTES_MAX];
	FILE *f = fopen(path, "re");
	size_t len;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	return add_input(data, len);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, by_name), rc = 0;

	if (count < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		char file[1024];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && add_file(file) < 0)
			rc = -1;
		free(names[i]);
	}
	free(names);
	return rc;
}

static void add_samples(void)
{
	static uint8_t data[CFS_FUZZ_BYTES_MAX];

	for (uint32_t n = 0; cfs_fuzz_sample && n < SAMPLES_MAX; n++) {
		size_t len = cfs_fuzz_sample(n, data);

		if (len == 0 || add_input(data, len) < 0)
			return;
	}
}

/* Lengths and counts are where decoders break: their edges, at any alignment. */
static void set_number(uint8_t *data, size_t len)
{
	static const uint64_t edges[] = { 0,      1,      0x7f,       0x80,       0xff,
					  0x7fff, 0xffff, 0x7fffffff, 0xffffffff, UINT64_MAX };
	size_t width = 1ull << draw(4);
	uint64_t value = edges[draw(CFS_ARRAY_COUNT(edges))] + draw(3) - 1;

	if (len >= width)
		memcpy(data + draw(len - width + 1), &value, width);
}

static size_t splice(uint8_t *data, size_t len)
{
	const struct input *other = &inputs[draw(input_count)];
	size_t from = draw(other->len + 1), at = draw(len + 1);
	size_t count = CFS_MIN(draw(other->len - from + 1), (size_t)CFS_FUZZ_BYTES_MAX - at);

	memcpy(data + at, other->data + from, count);
	return CFS_MAX(len, at + count);
}

static size_t mutate(uint8_t *data, size_t len)
{
	switch (draw(6)) {
	case 0:
		if (len)
			data[draw(len)] ^= (uint8_t)(1u << draw(8));
		break;
	case 1:
		if (len)
			data[draw(len)] = (uint8_t)draw(256);
		break;
	case 2:
	case 3:
		set_number(data, len);
		break;
	case 4:
		return draw(2) ? draw(len + 1) : splice(data, len);
	default: {
		/* Longer, by what was there or by noise. */
		size_t more = CFS_MIN(draw(64), CFS_FUZZ_BYTES_MAX - len);

		for (size_t i = 0; i < more; i++)
			data[len + i] = (uint8_t)draw(256);
		return len + more;
	}
	}
	return len;
}

static void hunt(uint64_t rounds)
{
	static uint8_t data[CFS_FUZZ_BYTES_MAX];

	for (now_round = 1; now_round <= rounds; now_round++) {
		const struct input *in = &inputs[draw(input_count)];
		size_t len = in->len;
		uint64_t changes = 1 + draw(CHANGES_MAX);

		memcpy(data, in->data, len);
		while (changes-- > 0)
			len = mutate(data, len);
		if (cfs_fuzz_mend && now_round % 2 == 0)
			cfs_fuzz_mend(data, len);
		try_input(data, len);
	}
}

int main(int argc, char **argv)
{
	const char *counts = getenv("CFS_COUNTS"), *seed_text = getenv("CFS_SEED");
	const char *share = getenv("CFS_FUZZ_SHARE"); /* 1/N of the rounds, where one is dear */
	uint64_t rounds = counts && strcmp(counts, "full") == 0 ? ROUNDS_FULL : ROUNDS_SMALL;
	int bad = 0;

	if (share && strtoull(share, NULL, 10) > 0)
		rounds = rounds / strtoull(share, NULL, 10) + 1;
	seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
	signal(SIGABRT, report);
	add_input((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			bad |= add_folder(argv[i]) < 0;
		else
			bad |= add_file(argv[i]) < 0;
	}
	add_samples();
	for (uint32_t i = 0; i < input_count; i++)
		try_input(inputs[i].data, inputs[i].len);
	hunt(rounds);
	printf("%u inputs, %" PRIu64 " mutations, seed %" PRIu64 "\n", input_count, rounds, seed);
	for (uint32_t i = 0; i < input_count; i++)
		free(inputs[i].data);
	return bad;
}
