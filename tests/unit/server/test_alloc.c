/*
 * A node and a client in one process, from mkfs to stop, again and again with allocation 1, 2, 3
 * ... refused. Whatever was asked for then has to fail with an error, or to work: nothing crashes,
 * hangs or leaks, and the next start finds what was acknowledged. Each try is a child process.
 *
 * Allocations are refused at the boundary of our own code: the program is linked with --wrap. With
 * full counts all of them, else every so many.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"
#include "base/reactor.h"
#include "client/client.h"
#include "lib/counts.h"
#include "server/node.h"
#include "store/store.h"

#define STORE_BYTES (64ull << 20)
#define TRY_SECONDS 60u
#define FILE_BYTES 100000u

#if defined(__SANITIZE_ADDRESS__)
void __lsan_do_leak_check(void);
/* What it finds is to be told from an error that a try returns. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1:detect_stack_use_after_return=0";
}
#define leak_check() __lsan_do_leak_check()
#else
#define leak_check() ((void)0)
#endif

/* Shared with the children. */
struct shared {
	atomic_ulong count;    /* allocations so far */
	atomic_ulong refuse;   /* the one that is refused; 0: none */
	uint32_t acknowledged; /* the file is there, with its contents */
};
static struct shared *sh;

static bool is_refused(void)
{
	return atomic_fetch_add(&sh->count, 1) + 1 == atomic_load(&sh->refuse);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
int __real_posix_memalign(void **out, size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void **out, size_t align, size_t n);
char *__wrap_strdup(const char *s);

#define REFUSED(nothing) \
	do { \
		if (sh && is_refused()) { \
			errno = ENOMEM; \
			return nothing; \
		} \
	} while (0)

void *__wrap_malloc(size_t n)
{
	REFUSED(NULL);
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	REFUSED(NULL);
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	REFUSED(NULL);
	return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	REFUSED(NULL);
	return __real_aligned_alloc(align, n);
}

int __wrap_posix_memalign(void **out, size_t align, size_t n)
{
	REFUSED(ENOMEM);
	return __real_posix_memalign(out, align, n);
}

char *__wrap_strdup(const char *s)
{
	REFUSED(NULL);
	return __real_strdup(s);
}

/* --- what a try does --- */

static char dir[] = "/tmp/cfs-test-alloc-XXXXXX";
static char store[64];
static uint8_t contents[FILE_BYTES];

static struct cfs_client_name name_of(const char *s)
{
	return (struct cfs_client_name){ s, (uint32_t)strlen(s) };
}

/* What was acknowledged in an earlier try. */
static CFS_AWAITS int look(struct cfs_client_op *op)
{
	static uint8_t got[FILE_BYTES];
	struct cfs_client_bytes bytes;
	struct cfs_attr attr;
	int rc = cfs_client_lookup(op, 1, name_of("kept"), &attr);

	if (rc == 0)
		rc = cfs_client_read(op, attr.ino, 0, FILE_BYTES, got, &bytes);
	if (rc < 0)
		return rc == -ENOMEM ? rc : -ENODATA;
	rc = bytes.len_bytes == FILE_BYTES && memcmp(bytes.p, contents, FILE_BYTES) == 0 ? 0
											 : -ENODATA;
	cfs_client_bytes_fini(&bytes);
	return rc;
}

static CFS_AWAITS int work(struct cfs_client_op *op)
{
	const struct cfs_client_create how = { .mode = 0100644 };
	const struct cfs_client_write w = { .len_bytes = FILE_BYTES, .data = contents };
	struct cfs_attr attr, sub;
	int rc;

	if (sh->acknowledged) {
		rc = look(op);
		if (rc < 0)
			return rc;
		/* When it is refused, whether it ran is open. */
		sh->acknowledged = 0;
		rc = cfs_client_unlink(op, 1, name_of("kept"));
		if (rc < 0)
			return rc;
	}
	rc = cfs_client_mkdir(op, 1, name_of("d"), 0755, &sub);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = cfs_client_lookup(op, 1, name_of("d"), &sub);
	if (rc < 0)
		return rc;
	rc = cfs_client_create(op, sub.ino, name_of("made"), &how, &attr);
	if (rc < 0)
		return rc;
	rc = cfs_client_write(op, attr.ino, &w, NULL);
	if (rc < 0)
		return rc;
	rc = cfs_client_fsync(op, attr.ino, false);
	if (rc < 0)
		return rc;
	rc = cfs_client_rename(op, sub.ino, name_of("made"), 1, name_of("kept"), 0);
	if (rc < 0)
		return rc;
	sh->acknowledged = 1;
	return look(op);
}

static int body(void *arg)
{
	const char *path = store;
	const struct cfs_node_opts opts = {
		.paths = &path, .path_count = 1, .name = "node", .state_dir = dir, .tail_dir = dir
	};
	const struct cfs_client_opts client_opts = {
		.addrs = { "inproc:node/0" },
		.addr_count = 1,
		.wait_ns = 5000000000u,
		.connect_ns = 5000000000u,
	};
	struct cfs_client_op op;
	struct cfs_client *c;
	struct cfs_node *node;
	char err[512] = "";
	int rc, stop_rc;

	(void)arg;
	rc = cfs_node_start(&opts, &node, err, sizeof(err));
	if (rc < 0) {
		if (!err[0])
			fprintf(stderr, "an error without a sentence: %d\n", rc);
		else if (!atomic_load(&sh->refuse))
			fprintf(stderr, "%s\n", err);
		return err[0] ? -ENOMEM : -EPROTO;
	}
	rc = cfs_client_open(&client_opts, &c, err, sizeof(err));
	if (rc == 0) {
		cfs_client_op_init(&op, c, 0, 0);
		rc = work(&op);
		cfs_client_close(c);
	}
	stop_rc = cfs_node_stop(node);
	return rc < 0 ? rc : stop_rc;
}

static const int deadly[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };

/* 0: it worked; 1: an error that may be; else what it died of, negative. */
static int try_refusing(unsigned long n)
{
	int status = 0;
	pid_t pid;

	atomic_store(&sh->count, 0);
	atomic_store(&sh->refuse, n);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct cfs_runtime_opts runtime = { .cores = 1, .pin_cpu = -2 };
		int rc;

		/* cmocka would catch these, and go on in the child. */
		for (uint32_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
			(void)signal(deadly[i], SIG_DFL);
		alarm(TRY_SECONDS);
		cfs_log_level_set(CFS_LOG_ERR);
		rc = cfs_runtime_run(&runtime, body, NULL);
		atomic_store(&sh->refuse, 0);
		leak_check();
		if (rc == -ENODATA)
			_exit(3);
		if (rc == -EPROTO)
			_exit(4);
		if (rc < 0 && n == 0)
			fprintf(stderr, "nothing refused, and yet: %s\n", cfs_err_text(rc));
		_exit(rc == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return -WTERMSIG(status);
	return WEXITSTATUS(status) <= 1 ? WEXITSTATUS(status) : -1000 - WEXITSTATUS(status);
}

static void each_refused_allocation_is_an_error(void **state)
{
	unsigned long total, step, tried = 0, errors = 0, failed = 0, seed = 1;

	(void)state;
	assert_int_equal(try_refusing(0), 0);
	total = atomic_load(&sh->count);
	step = cfs_test_count(total / 60 + 1, 1);
	if (getenv("CFS_SEED"))
		seed = strtoul(getenv("CFS_SEED"), NULL, 10);
	if (getenv("CFS_ALLOC")) { /* this one only */
		assert_true(try_refusing(strtoul(getenv("CFS_ALLOC"), NULL, 10)) >= 0);
		return;
	}
	for (unsigned long n = 1 + seed % step; n <= total; n += step) {
		int rc = try_refusing(n);

		tried++;
		errors += rc == 1;
		if (rc < 0) {
			failed++;
			fprintf(stderr, "allocation %lu refused: %s %d\n", n,
				rc > -1000 ? "died of signal" : "exit status",
				rc > -1000 ? -rc : -rc - 1000);
		}
	}
	fprintf(stderr, "%lu allocations, %lu refused one at a time, %lu of them an error\n", total,
		tried, errors);
	assert_int_equal(failed, 0);
	assert_true(errors > tried / 20);
	assert_int_equal(try_refusing(0), 0);
}

static int set_up(void **state)
{
	const struct cfs_mkfs_opts mkfs = { .path = store, .size_bytes = STORE_BYTES };
	char err[512] = "";
	struct shared *mem = mmap(NULL, sizeof(*mem), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (mem == MAP_FAILED || !mkdtemp(dir))
		return -1;
	snprintf(store, sizeof(store), "%s/store", dir);
	for (uint32_t i = 0; i < FILE_BYTES; i++)
		contents[i] = (uint8_t)(i * 31 + i / 1000);
	if (cfs_store_mkfs(&mkfs, err, sizeof(err)) < 0) {
		fprintf(stderr, "mkfs: %s\n", err);
		return -1;
	}
	sh = mem;
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_refused_allocation_is_an_error),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
