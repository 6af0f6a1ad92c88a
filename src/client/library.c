#include "client/library.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/reactor.h"
#include "base/util.h"

#define CONNECT_MS 10000u
#define NS_PER_MS 1000000ull
#define CALLS_READ_MAX 64u

struct call {
	struct claudefs *fs;
	cfs_library_fn fn;
	void *arg;
	int64_t result;
	sem_t done;
};

static void call_fiber(void *arg)
{
	struct call *call = arg;
	struct cfs_client_op op;

	cfs_client_op_init(&op, call->fs->client, call->fs->opts.uid, call->fs->opts.gid);
	call->result = call->fn(&op, call->arg);
	sem_post(&call->done);
}

static void call_start(struct claudefs *fs, struct call *call)
{
	int rc = cfs_group_start(&fs->calls, call_fiber, call);

	if (rc < 0) {
		call->result = rc;
		sem_post(&call->done);
	}
}

/* Takes calls until the pipe is closed at its other end. */
static CFS_AWAITS void take_calls(struct claudefs *fs)
{
	struct call *calls[CALLS_READ_MAX];

	for (;;) {
		/* A pipe passes writes of a pointer whole. */
		ssize_t n = cfs_io_pread(fs->pipe_out, calls, sizeof(calls), UINT64_MAX);

		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		for (size_t i = 0; i < (size_t)n / sizeof(calls[0]); i++)
			call_start(fs, calls[i]);
	}
}

static void say_started(struct claudefs *fs, int rc)
{
	fs->start_rc = rc;
	sem_post(&fs->started);
}

static CFS_AWAITS int library_run(void *arg)
{
	struct claudefs *fs = arg;
	const struct cfs_client_opts opts = {
		.addrs = { fs->server },
		.addr_count = 1,
		.wait_ns = fs->opts.wait_ms * NS_PER_MS,
		.connect_ns = (fs->opts.connect_ms ? fs->opts.connect_ms : CONNECT_MS) * NS_PER_MS,
	};
	int rc = cfs_client_open(&opts, &fs->client, fs->why, (uint32_t)fs->why_bytes);

	if (rc < 0)
		return rc;
	say_started(fs, 0);
	cfs_group_init(&fs->calls);
	take_calls(fs);
	cfs_group_join(&fs->calls);
	cfs_client_close(fs->client);
	return 0;
}

static void *library_thread(void *arg)
{
	struct claudefs *fs = arg;
	const struct cfs_runtime_opts opts = { .cores = 1, .pin_cpu = -2 };
	int rc = cfs_runtime_run(&opts, library_run, fs);

	if (rc == 0)
		return NULL;
	if (rc == -EBUSY)
		snprintf(fs->why, fs->why_bytes, "this process has a file system open already");
	else if (rc == -ENOSYS)
		snprintf(fs->why, fs->why_bytes,
			 "io_uring is missing or forbidden here; see: cfs doctor");
	say_started(fs, rc);
	return NULL;
}

int64_t cfs_library_call(struct claudefs *fs, cfs_library_fn fn, void *arg)
{
	struct call call = { .fs = fs, .fn = fn, .arg = arg };
	struct call *at = &call;

	if (sem_init(&call.done, 0, 0) < 0)
		return -errno;
	while (write(fs->pipe_in, &at, sizeof(at)) < 0)
		if (errno != EINTR)
			return -EIO;
	while (sem_wait(&call.done) < 0)
		;
	sem_destroy(&call.done);
	return call.result < 0 ? cfs_err_class((int)call.result) : call.result;
}

static int thread_start(struct claudefs *fs)
{
	sigset_t all, old;
	int rc;

	/* Signals are the program's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&fs->thread, NULL, library_thread, fs);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void library_free(struct claudefs *fs)
{
	if (fs->pipe_in >= 0)
		close(fs->pipe_in);
	if (fs->pipe_out >= 0)
		close(fs->pipe_out);
	sem_destroy(&fs->started);
	free(fs);
}

static int take_server(struct claudefs *fs, const char *server)
{
	bool has_kind = strncmp(server, "tcp:", 4) == 0 || strncmp(server, "shm:", 4) == 0;
	int n = snprintf(fs->server, sizeof(fs->server), "%s%s", has_kind ? "" : "tcp:", server);

	return n > 0 && (size_t)n < sizeof(fs->server) ? 0 : -EINVAL;
}

static int library_create(const char *server, const struct claudefs_options *opts,
			  struct claudefs **out)
{
	struct claudefs *fs = calloc(1, sizeof(*fs));
	int fds[2], rc;

	if (!fs)
		return -ENOMEM;
	fs->pipe_in = fs->pipe_out = -1;
	(void)sem_init(&fs->started, 0, 0);
	if (opts)
		memcpy(&fs->opts, opts, CFS_MIN((size_t)opts->options_bytes, sizeof(*opts)));
	rc = take_server(fs, server);
	if (rc == 0)
		rc = pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
	if (rc < 0) {
		library_free(fs);
		return rc;
	}
	fs->pipe_out = fds[0];
	fs->pipe_in = fds[1];
	*out = fs;
	return 0;
}

int claudefs_mount(const char *server, const struct claudefs_options *opts,
		   struct claudefs **fs_out, char *why, size_t why_bytes)
{
	struct claudefs *fs;
	int rc = library_create(server, opts, &fs);

	if (why_bytes > 0)
		why[0] = '\0';
	if (rc < 0) {
		snprintf(why, why_bytes, "%s: %s", server, cfs_err_text(rc));
		return rc;
	}
	fs->why = why;
	fs->why_bytes = why_bytes;
	rc = thread_start(fs);
	if (rc == 0) {
		while (sem_wait(&fs->started) < 0)
			;
		rc = fs->start_rc;
		if (rc < 0)
			pthread_join(fs->thread, NULL);
	}
	if (rc < 0) {
		library_free(fs);
		return cfs_err_class(rc);
	}
	fs->why = NULL;
	fs->why_bytes = 0;
	*fs_out = fs;
	return 0;
}

void claudefs_unmount(struct claudefs *fs)
{
	if (!fs)
		return;
	close(fs->pipe_in);
	fs->pipe_in = -1;
	pthread_join(fs->thread, NULL);
	library_free(fs);
}
