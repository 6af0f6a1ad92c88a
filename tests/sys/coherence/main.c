/* The coherence suite's program: see coh.h and usage(). */
#include "coh.h"

#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <time.h>

#define CELL_BYTES 64u
#define PATTERNS_MAX 128u
#define REPORTS_MAX 20u

unsigned round_now;
struct options options = { .seed = 1, .rounds = 100, .folder = "coherence", .life_seconds = 30 };

/* Cells that may fail, or must; with a ! in front: must not, whatever others do. */
struct pattern {
	char text[CELL_BYTES];
	bool is_not;
	unsigned hits;
};

static struct {
	struct pattern pattern[PATTERNS_MAX];
	unsigned pattern_count;
	unsigned rounds, cells, findings, known;
	uint64_t worlds;
	bool has_big;
} run;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void report(const char *cell, const char *text)
{
	if (run.findings++ < REPORTS_MAX)
		printf("# seed %" PRIu64 " round %u: %s: %s\n", options.seed, round_now, cell,
		       text);
	fflush(stdout);
}

static void read_patterns(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		struct pattern *p = &run.pattern[run.pattern_count];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (run.pattern_count++ == PATTERNS_MAX)
			abort();
		p->is_not = line[0] == '!';
		snprintf(p->text, sizeof(p->text), "%.*s", (int)strcspn(line + p->is_not, "\t\n"),
			 line + p->is_not);
	}
	if (!f) {
		fprintf(stderr, "coherence: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	fclose(f);
}

/* What a wrong cell means here. */
static void finding(const char *cell, const char *text)
{
	bool is_listed = false, is_never = false;

	for (unsigned i = 0; i < run.pattern_count; i++) {
		struct pattern *p = &run.pattern[i];

		if (fnmatch(p->text, cell, 0) != 0)
			continue;
		p->hits++;
		is_listed |= !p->is_not;
		is_never |= p->is_not;
	}
	if (!is_never && (options.must || is_listed)) {
		if (getenv("COHERENCE_KNOWN"))
			printf("# known: %s: %s\n", cell, text);
		run.known++;
	} else {
		report(cell, text);
	}
}

/* --- cells --- */

static void shuffle(unsigned *order, unsigned count)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned k = (unsigned)pick(i), kept = order[i - 1];

		order[i - 1] = order[k];
		order[k] = kept;
	}
}

/* Who looks: the changer, or two at most of the others. */
static unsigned observers(unsigned by, unsigned who[MOUNTS_MAX])
{
	unsigned count = 0;

	if (options.is_own) {
		who[0] = by;
		return 1;
	}
	for (unsigned m = 0; m < options.mount_count; m++)
		if (m != by)
			who[count++] = m;
	shuffle(who, count);
	return count < 2 ? count : 2;
}

static void look(struct world *w, const struct change *c, unsigned by, unsigned mount,
		 const unsigned *order, unsigned count)
{
	char cell[CELL_BYTES], text[WHY_BYTES + 128];

	for (unsigned k = 0; k < count; k++) {
		w->what = looks[order[k]].name;
		w->why[0] = 0;
		looks[order[k]].run(w, mount);
		run.cells += w->truth >= 0;
		if (!w->why[0])
			continue;
		snprintf(cell, sizeof(cell), "%s/%s", c->name, looks[order[k]].name);
		snprintf(text, sizeof(text), "%s [%smount %u by %u%s%s%s%s]", w->why,
			 w->truth < 0 ? "before, " : "", mount, by, w->is_big ? ", big" : "",
			 w->is_large ? ", large" : "", w->is_linked ? ", linked" : "",
			 w->is_moved ? ", moved" : "");
		finding(cell, text);
		w->why[0] = 0;
	}
}

static void warm(struct world *w, const struct change *c, unsigned by, unsigned mount,
		 const unsigned *order, unsigned count)
{
	for (unsigned times = 1 + (unsigned)pick(2); times; times--)
		look(w, c, by, mount, order, count);
}

/* Something else than the cell failed: nobody lists that. */
static bool is_broken(struct world *w, const struct change *c, const char *when)
{
	char cell[2 * CELL_BYTES];

	if (!w->why[0])
		return false;
	snprintf(cell, sizeof(cell), "%s %s", when, c->name);
	report(cell, w->why);
	w->why[0] = 0;
	return true;
}

/* A change by these observations. */
static void run_cell(const struct change *c, unsigned *order, unsigned count)
{
	static struct world w;
	unsigned by = (unsigned)pick(options.mount_count), who[MOUNTS_MAX];
	unsigned who_count = observers(by, who);

	memset(&w, 0, sizeof(w));
	w.is_big = run.has_big && chance(8);
	w.is_large = chance(15);
	w.is_linked = chance(40);
	w.is_moved = chance(30);
	world_make(&w, (unsigned)pick(options.mount_count), run.worlds++);
	if (!is_broken(&w, c, "scene of") && c->prepare)
		c->prepare(&w, by);
	for (unsigned i = 0; i < who_count; i++) {
		hold_open(&w, who[i], who[i] == by && chance(50));
		is_broken(&w, c, "before");
		warm(&w, c, by, who[i], order, count);
	}
	if (!options.is_own && chance(50)) {
		hold_open(&w, by, true);
		if (!c->is_lock)
			warm(&w, c, by, by, order, count);
	}
	is_broken(&w, c, "before");
	for (int i = 0; i < OBJS_MAX; i++)
		w.obj[i].moves = 0;
	c->run(&w, by);
	w.truth = (int)by;
	model_paths(&w);
	if (!is_broken(&w, c, "the call of")) {
		for (unsigned i = 0; i < who_count; i++) {
			shuffle(order, count);
			look(&w, c, by, who[i], order, count);
		}
	}
	for (unsigned m = 0; m < options.mount_count; m++)
		hold_close(&w, m);
	lock_release(&w);
	world_remove(&w, by);
	is_broken(&w, c, "after");
	run.rounds++;
}

static bool is_wanted(const char *text, const char *name)
{
	return !text || !text[0] || strcmp(text, name) == 0;
}

/* The part of --only before the slash, and behind it. */
static const char *only_change, *only_look;

static unsigned wanted_looks(unsigned order[64])
{
	unsigned count = 0;

	for (unsigned i = 0; i < look_count; i++)
		if (is_wanted(only_look, looks[i].name))
			order[count++] = i;
	return count;
}

static bool skips(const struct change *c)
{
	return !is_wanted(only_change, c->name) || (options.is_own && c->is_lock);
}

static void matrix(void)
{
	unsigned order[64], count;

	for (unsigned i = 0; i < change_count; i++) {
		count = wanted_looks(order);
		if (skips(&changes[i]))
			continue;
		if (!options.is_apart) {
			roll_for(i);
			shuffle(order, count);
			run_cell(&changes[i], order, count);
			continue;
		}
		for (unsigned k = 0; k < count; k++) {
			roll_for(i * look_count + k);
			run_cell(&changes[i], &order[k], 1);
		}
	}
}

static void rounds(unsigned first)
{
	unsigned order[64], count;

	for (unsigned n = first; n < first + options.rounds; n++) {
		const struct change *c;

		roll_for(n);
		count = wanted_looks(order);
		shuffle(order, count);
		do
			c = &changes[pick(change_count)];
		while (skips(c));
		run_cell(c, order, count < 3 ? count : 1 + (unsigned)pick(3));
	}
}

static void make_big(void)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s/big", options.mount[0], options.folder);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		report("big", strerrorname_np(errno));
	for (unsigned i = 0; i < BIG_ENTRIES; i++) {
		snprintf(path, sizeof(path), "%s/%s/big/e%u", options.mount[0], options.folder, i);
		if (mknod(path, S_IFREG | 0644, 0) < 0 && errno != EEXIST)
			report("big", strerrorname_np(errno));
	}
	run.has_big = true;
}

static void start(bool with_big)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s", options.mount[0], options.folder);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		fprintf(stderr, "coherence: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	if (with_big)
		make_big();
}

/* What has to fail has failed, at least once a line. */
static void judge_patterns(void)
{
	for (unsigned i = 0; i < run.pattern_count; i++) {
		const struct pattern *p = &run.pattern[i];

		if (options.must && !p->is_not && !p->hits)
			report(p->text, "was right, and is listed as stale");
	}
}

static void usage(void)
{
	fprintf(stderr,
		"usage: coherence MODE [OPTION...] MOUNT MOUNT [MOUNT...]\n"
		"modes:\n"
		"  matrix     each change by each observation\n"
		"  rounds     random ones of these\n"
		"  races      all mounts at the same time, histories\n"
		"  stop       one mount's process is stopped\n"
		"  self-test  of the judge of histories; no mounts\n"
		"  list       changes and observations; no mounts\n"
		"options:\n"
		"  --rounds N, --seed N, --first N   of rounds: those from N on\n"
		"  --only CHANGE/OBSERVATION         or one of the two\n"
		"  --apart        each cell of the matrix with nothing else around it\n"
		"  --own          observe where the change was made\n"
		"  --big          some directories have 3000 entries\n"
		"  --may FILE     cells that may fail: CHANGE/OBSERVATION, with *; tab, reason\n"
		"  --must FILE    cells that must fail, and with ! those that must not\n"
		"  --pid N        of a mount's process, in the order of the mounts\n"
		"  --life N       of a session, in seconds\n"
		"  --folder NAME  below each mount\n");
	exit(2);
}

enum {
	OPT_ROUNDS = 256,
	OPT_SEED,
	OPT_FIRST,
	OPT_ONLY,
	OPT_APART,
	OPT_OWN,
	OPT_BIG,
	OPT_MAY,
	OPT_MUST,
	OPT_PID,
	OPT_LIFE,
	OPT_FOLDER
};

static const struct option long_options[] = {
	{ "rounds", required_argument, NULL, OPT_ROUNDS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "first", required_argument, NULL, OPT_FIRST },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "apart", no_argument, NULL, OPT_APART },
	{ "own", no_argument, NULL, OPT_OWN },
	{ "big", no_argument, NULL, OPT_BIG },
	{ "may", required_argument, NULL, OPT_MAY },
	{ "must", required_argument, NULL, OPT_MUST },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "life", required_argument, NULL, OPT_LIFE },
	{ "folder", required_argument, NULL, OPT_FOLDER },
	{ NULL, 0, NULL, 0 },
};

static unsigned first_round;
static bool with_big;

static void take_only(char *text)
{
	char *slash = strchr(text, '/');

	if (slash)
		*slash = 0;
	only_change = text;
	only_look = slash ? slash + 1 : NULL;
}

static void take_option(int which, char *value)
{
	unsigned long n = value ? strtoul(value, NULL, 10) : 0;

	switch (which) {
	case OPT_ROUNDS:
		options.rounds = (unsigned)n;
		break;
	case OPT_SEED:
		options.seed = n;
		break;
	case OPT_FIRST:
		first_round = (unsigned)n;
		break;
	case OPT_ONLY:
		take_only(value);
		break;
	case OPT_APART:
		options.is_apart = true;
		break;
	case OPT_OWN:
		options.is_own = true;
		break;
	case OPT_BIG:
		with_big = true;
		break;
	case OPT_MAY:
	case OPT_MUST:
		*(which == OPT_MAY ? &options.may : &options.must) = value;
		read_patterns(value);
		break;
	case OPT_PID:
		if (options.pid_count < MOUNTS_MAX)
			options.pid[options.pid_count++] = (pid_t)n;
		break;
	case OPT_LIFE:
		options.life_seconds = (unsigned)n;
		break;
	case OPT_FOLDER:
		options.folder = value;
		break;
	default:
		usage();
	}
}

static void list(void)
{
	for (unsigned i = 0; i < change_count; i++)
		printf("change %s\n", changes[i].name);
	for (unsigned i = 0; i < look_count; i++)
		printf("observation %s\n", looks[i].name);
}

static bool run_mode(const char *mode)
{
	bool is_right = true;

	roll_for(0);
	start(with_big);
	if (strcmp(mode, "matrix") == 0)
		matrix();
	else if (strcmp(mode, "rounds") == 0)
		rounds(first_round);
	else if (strcmp(mode, "races") == 0)
		is_right = race_rounds(first_round, options.rounds);
	else if (strcmp(mode, "stop") == 0)
		is_right = stop_rounds(options.rounds);
	else
		usage();
	judge_patterns();
	return is_right && !run.findings;
}

int main(int argc, char **argv)
{
	uint64_t start_ns = now_ns();
	bool is_right;
	int which;

	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(which, optarg);
	if (optind == argc)
		usage();
	if (strcmp(argv[optind], "self-test") == 0)
		return linear_self_test() ? 0 : 1;
	if (strcmp(argv[optind], "list") == 0) {
		list();
		return 0;
	}
	for (int i = optind + 1; i < argc && options.mount_count < MOUNTS_MAX; i++)
		options.mount[options.mount_count++] = realpath(argv[i], NULL);
	if (options.mount_count < (options.is_own ? 1u : 2u) ||
	    !options.mount[options.mount_count - 1])
		usage();
	is_right = run_mode(argv[optind]);
	printf("rounds %u cells %u known %u findings %u seconds %.1f\n", run.rounds, run.cells,
	       run.known, run.findings, (double)(now_ns() - start_ns) / 1e9);
	return is_right ? 0 : 1;
}
