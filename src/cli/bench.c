/* cfs bench: runs the parts over one or two folders and prints a line a result. */
#include "cli/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/text.h"

#define FILE_BYTES_MIN (4ull * 1024 * 1024)
#define FILES_MAX 1000000u

static const struct cli_opt opts[] = {
	{ "size", 's', "BYTES", "of the big file (256M)" },
	{ "files", 'n', "COUNT", "files of the metadata part (2000)" },
	{ "time", 't', "TIME", "of each part that runs for a time (2s)" },
	{ "compare", 'c', "DIR", "run the same there, part by part, and print the ratio" },
	{ "seed", 0, "NUMBER", "of the random places (1)" },
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

struct bench {
	struct cli *c;
	struct bench_plan plan;
	struct bench_place places[2];
	uint32_t places_count;
	bool is_json, is_first;
};

static void on_signal(int sig)
{
	(void)sig;
	bench_is_interrupted = true;
}

static void progress(const char *part, uint64_t done, uint64_t total)
{
	fprintf(stderr, "\r%-12s %3u %%", part,
		(unsigned int)(total ? CFS_MIN(done * 100 / total, 100ull) : 0));
	fflush(stderr);
}

static void progress_clear(const struct bench_place *p)
{
	if (p->progress)
		fprintf(stderr, "\r%-20s\r", "");
}

/* "12.3 us" */
static void time_text(uint64_t ns, char out[24])
{
	if (ns < 1000000)
		snprintf(out, 24, "%.1f us", (double)ns / 1e3);
	else
		snprintf(out, 24, "%.2f ms", (double)ns / 1e6);
}

static void print_json(struct bench *b, const struct bench_place *p, const struct bench_result *r)
{
	printf("%s\n    {\"name\": \"%s\", \"dir\": ", b->is_first ? "" : ",", r->name);
	cli_json_text(stdout, p == b->places ? b->c->words[0] : cli_opt(b->c, "compare"));
	printf(", \"value\": %.3f, \"unit\": \"%s\", \"count\": %" PRIu64 ", \"seconds\": %.6f, "
	       "\"p50_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f}",
	       r->value, r->unit, r->count, (double)r->ns / 1e9,
	       (double)cfs_hist_permille_ns(&r->latency, 500) / 1e3,
	       (double)cfs_hist_permille_ns(&r->latency, 990) / 1e3,
	       (double)cfs_hist_permille_ns(&r->latency, 1000) / 1e3);
	b->is_first = false;
}

static void print_line(const struct bench_part *part, const struct bench_result *r,
		       const struct bench_result *other)
{
	char p50[24], p99[24];

	time_text(cfs_hist_permille_ns(&r->latency, 500), p50);
	time_text(cfs_hist_permille_ns(&r->latency, 990), p99);
	printf("%-11s %11.1f %-9s  p50 %-9s  p99 %-9s", part->name, r->value, part->unit, p50, p99);
	if (other)
		printf("  there %.1f, ratio %.2f", other->value,
		       other->value > 0 ? r->value / other->value : 0.0);
	else
		printf("  %s", part->help);
	printf("\n");
	fflush(stdout);
}

static int run_part(struct bench *b, const struct bench_part *part)
{
	CFS_CLEANUP(cfs_free_p) struct bench_result *r = calloc(2, sizeof(*r));

	if (!r)
		return cli_fail(b->c, "again when there is memory", "no memory");
	for (uint32_t i = 0; i < b->places_count; i++) {
		int rc;

		r[i].name = part->name;
		r[i].unit = part->unit;
		rc = part->run(&b->places[i], &r[i]);
		progress_clear(&b->places[i]);
		if (rc == -EINTR)
			return cli_fail(b->c, "again", "interrupted in %s; all was removed",
					part->name);
		if (rc < 0)
			return cli_fail(b->c, rc == -ENOSPC ? "a smaller --size" : "cfs doctor",
					"%s in %s: %s", part->name, b->places[i].dir,
					cfs_err_text(rc));
		if (b->is_json)
			print_json(b, &b->places[i], &r[i]);
	}
	if (!b->is_json)
		print_line(part, &r[0], b->places_count > 1 ? &r[1] : NULL);
	return CLI_OK;
}

static int plan_read(struct bench *b)
{
	const char *size = cli_opt(b->c, "size"), *files = cli_opt(b->c, "files");
	const char *part_time = cli_opt(b->c, "time"), *seed = cli_opt(b->c, "seed");
	uint64_t count = 2000;

	b->plan = (struct bench_plan){ 256ull << 20, 0, 2000000000ull, 1 };
	if (size &&
	    (cfs_str_to_size(size, &b->plan.file_bytes) < 0 || b->plan.file_bytes < FILE_BYTES_MIN))
		return cli_usage(b->c, "--size %.32s: must be a size of at least 4M", size);
	if (files && (cfs_str_to_u64(files, &count) < 0 || count == 0 || count > FILES_MAX))
		return cli_usage(b->c, "--files %.32s: must be from 1 to %u", files, FILES_MAX);
	if (part_time &&
	    (cfs_str_to_duration(part_time, &b->plan.part_ns) < 0 || b->plan.part_ns == 0))
		return cli_usage(b->c, "--time %.32s: must be a time, such as 500ms or 5s",
				 part_time);
	if (seed && cfs_str_to_u64(seed, &b->plan.seed) < 0)
		return cli_usage(b->c, "--seed %.32s: must be a whole number", seed);
	b->plan.file_bytes = cfs_round_down(b->plan.file_bytes, 1 << 20);
	b->plan.files = (uint32_t)count;
	return CLI_OK;
}

/* Makes our folder in @dir, if there is room for what will be written. */
static int place_add(struct bench *b, const char *dir)
{
	struct bench_place *p = &b->places[b->places_count];
	struct statvfs st;
	int rc;

	if (statvfs(dir, &st) < 0)
		return cli_fail(b->c, "an existing folder", "%s: %s", dir, strerror(errno));
	if ((uint64_t)st.f_bavail * st.f_frsize < b->plan.file_bytes)
		return cli_fail(b->c, "a smaller --size", "%s: not enough free space", dir);
	rc = bench_place_init(p, &b->plan, dir);
	b->places_count++;
	if (rc < 0)
		return cli_fail(b->c, "a folder that you may write to", "%s: %s", dir,
				cfs_err_text(rc));
	p->progress = isatty(STDERR_FILENO) ? progress : NULL;
	return CLI_OK;
}

static void print_head(const struct bench *b)
{
	char size[32];
	struct utsname uts;

	cli_bytes_text(b->plan.file_bytes, size);
	if (uname(&uts) < 0)
		uts.release[0] = '\0';
	if (b->is_json)
		printf("{\"file_bytes\": %" PRIu64 ", \"files\": %u, \"part_seconds\": %.3f, "
		       "\"cpus\": %ld, \"kernel\": \"%s\", \"results\": [",
		       b->plan.file_bytes, b->plan.files, (double)b->plan.part_ns / 1e9,
		       sysconf(_SC_NPROCESSORS_ONLN), uts.release);
	else
		printf("one thread, file of %s, %u small files, %ld CPUs, Linux %s\n", size,
		       b->plan.files, sysconf(_SC_NPROCESSORS_ONLN), uts.release);
}

static int run(struct cli *c)
{
	CFS_CLEANUP(cfs_free_p) struct bench *b = calloc(1, sizeof(*b));
	struct sigaction stop = { .sa_handler = on_signal };
	int rc;

	if (!b)
		return cli_fail(c, "again when there is memory", "no memory");
	b->c = c;
	b->is_json = cli_opt(c, "json");
	b->is_first = true;
	rc = plan_read(b);
	if (rc != CLI_OK)
		return rc;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	rc = place_add(b, c->words[0]);
	if (rc == CLI_OK && cli_opt(c, "compare"))
		rc = place_add(b, cli_opt(c, "compare"));
	if (rc == CLI_OK)
		print_head(b);
	for (const struct bench_part *part = bench_parts; rc == CLI_OK && part->name; part++)
		rc = run_part(b, part);
	for (uint32_t i = 0; i < b->places_count; i++)
		bench_place_fini(&b->places[i]);
	if (rc == CLI_OK && b->is_json)
		printf("\n]}\n");
	return rc;
}

const struct cli_verb cli_bench = {
	.name = "bench",
	.synopsis = "DIR [--compare DIR]",
	.summary = "Measure throughput, small I/O, metadata and latencies in a folder",
	.text = "Works in a folder of its own in DIR, of any file system, and removes it. One "
		"thread: what\n"
		"is measured is the way of one request. With --compare the same runs in another "
		"folder,\n"
		"part by part, and the ratio is printed.",
	.examples = "  cfs bench /srv/claudefs/mnt\n"
		    "  cfs bench /srv/claudefs/mnt --compare /var/tmp --size 1G --json\n",
	.opts = opts,
	.words_min = 1,
	.words_max = 1,
	.run = run,
};
