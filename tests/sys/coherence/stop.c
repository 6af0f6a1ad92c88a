/*
 * A mount whose process is stopped while its caches are full and it holds a lock: what others
 * change goes on when its session has ended, and when it goes on it sees the new state, its open
 * files are there, and what has lost a lock says so.
 */
#include "coh.h"

#include <signal.h>
#include <sys/file.h>

#define LIVE 0u
#define STOPPED 1u

#define PATIENCE_SECONDS 10u

/* Whoever waits for the stopped one has waited long enough. */
static void on_alarm(int sig)
{
	(void)sig;
	(void)kill(options.pid[STOPPED], SIGCONT);
}

/* Others wait for the session's life and a second, all together. */
static void in_time(struct world *w, uint64_t start, const char *what)
{
	uint64_t took_ms = (now_ns() - start) / 1000000;

	if (took_ms > (options.life_seconds + 1) * 1000ull)
		wrong(w, "%s took %llu ms, the session's life is %u s", what,
		      (unsigned long long)took_ms, options.life_seconds);
}

static void look_all(struct world *w)
{
	for (unsigned i = 0; i < look_count; i++) {
		w->what = looks[i].name;
		looks[i].run(w, STOPPED);
	}
}

/* Files that have no name any more went with the session. */
static void forget_removed(struct world *w)
{
	struct hold *h = &w->hold[STOPPED];

	for (int i = 0; i < OBJS_MAX; i++) {
		if (!w->obj[i].is_used || h->fd[i] < 0 || model_path(w, i))
			continue;
		close(h->fd[i]);
		close(h->direct[i]);
		h->fd[i] = h->direct[i] = -1;
	}
}

static void while_stopped(struct world *w, const struct change *c)
{
	uint64_t start = now_ns();
	int fd;

	c->run(w, LIVE);
	in_time(w, start, c->name);
	fd = open(at(w, LIVE, "d/k"), O_RDWR);
	MUST(w, fd);
	if (fd >= 0)
		MUST(w, flock(fd, LOCK_EX));
	in_time(w, start, "the lock");
	if (fd >= 0)
		close(fd);
}

/* Which of them leave a name to everything that is locked here. */
static const struct change *some_change(void)
{
	static const char *const moving[] = { "rename-dir", "rename-away-over", "exchange-kinds" };
	const struct change *c;
	bool is_moving;

	do {
		c = &changes[pick(change_count)];
		is_moving = false;
		for (size_t i = 0; i < sizeof(moving) / sizeof(moving[0]); i++)
			is_moving |= strncmp(c->name, moving[i], strlen(moving[i])) == 0;
	} while (c->is_lock || is_moving);
	return c;
}

static bool stop_round(unsigned n)
{
	static struct world w;
	const struct change *c;
	char byte;
	int locked;

	roll_for(n);
	c = some_change();
	memset(&w, 0, sizeof(w));
	world_make(&w, LIVE, n);
	if (c->prepare)
		c->prepare(&w, LIVE);
	hold_open(&w, STOPPED, false);
	look_all(&w);
	locked = open(at(&w, STOPPED, "d/k"), O_RDWR);
	MUST(&w, locked);
	MUST(&w, flock(locked, LOCK_EX | LOCK_NB));
	MUST(&w, kill(options.pid[STOPPED], SIGSTOP));
	(void)alarm(options.life_seconds + PATIENCE_SECONDS);
	for (int i = 0; i < OBJS_MAX; i++)
		w.obj[i].moves = 0;
	while_stopped(&w, c);
	(void)alarm(0);
	MUST(&w, kill(options.pid[STOPPED], SIGCONT));
	w.truth = LIVE;
	model_paths(&w);
	forget_removed(&w);
	look_all(&w);
	if (pread(locked, &byte, 1, 0) != -1 || errno != EIO)
		wrong(&w, "a handle that has lost its lock gives no EIO");
	close(locked);
	hold_close(&w, STOPPED);
	world_remove(&w, LIVE);
	if (w.why[0])
		report(c->name, w.why);
	return !w.why[0];
}

bool stop_rounds(unsigned rounds)
{
	const struct sigaction on = { .sa_handler = on_alarm };
	bool is_right = true;

	if (sigaction(SIGALRM, &on, NULL) < 0)
		abort();
	if (options.pid_count <= STOPPED) {
		fprintf(stderr, "coherence: stop needs --pid of each mount\n");
		exit(2);
	}
	for (unsigned n = 0; n < rounds; n++)
		is_right &= stop_round(n);
	return is_right;
}
