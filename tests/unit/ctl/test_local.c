/* The SQLite file: what it refuses, and processes that are killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "ctl/ctl.h"
#include "lib/test_fiber.h"

#define KILL_ROUNDS 5
#define COUNT_WAIT_MS 60000
#define KILL_AFTER_US 30000

static char dir[64];

static int dir_make(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/cfs-test-local-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int dir_remove(void **state)
{
	static const char *const names[] = { "c", "c-wal", "c-shm" };
	char path[96];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static const char *file_path(void)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/c", dir);
	return path;
}

static void assert_refused(int rc_wanted, const char *words)
{
	char why[256] = "";
	struct cfs_ctl *ctl = NULL;

	assert_int_equal(cfs_ctl_open_local(file_path(), &ctl, why, sizeof(why)), rc_wanted);
	assert_null(ctl);
	assert_non_null(strstr(why, words));
	assert_non_null(strstr(why, file_path()));
}

static void sql_run(const char *text)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(file_path(), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

CFS_TEST_FIBER(refuses_what_is_not_its_file)
{
	static const char garbage[] = "this is not a database, however long one looks at it......";
	int fd = open(file_path(), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
	close(fd);
	assert_refused(-CFS_EBAD_FORMAT, "move it away");
}

CFS_TEST_FIBER(refuses_a_database_of_others)
{
	sql_run("CREATE TABLE photos(id INTEGER)");
	assert_refused(-CFS_EBAD_FORMAT, "move it away");
}

CFS_TEST_FIBER(refuses_a_newer_schema)
{
	struct cfs_ctl *ctl = NULL;
	char why[256];

	assert_int_equal(cfs_ctl_open_local(file_path(), &ctl, why, sizeof(why)), 0);
	cfs_ctl_close(ctl);
	sql_run("PRAGMA user_version = 2");
	assert_refused(-CFS_EBAD_VERSION, "another version");
}

CFS_TEST_FIBER(names_a_missing_folder)
{
	char why[256] = "";
	struct cfs_ctl *ctl = NULL;

	assert_int_equal(cfs_ctl_open_local("/nowhere/c", &ctl, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nowhere/c"));
}

CFS_TEST_FIBER(keeps_its_file_private)
{
	struct cfs_ctl *ctl = NULL;
	char why[256];
	struct stat st;

	assert_int_equal(cfs_ctl_open_local(file_path(), &ctl, why, sizeof(why)), 0);
	assert_int_equal(stat(file_path(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	cfs_ctl_close(ctl);
}

/* Counts up by compare and swap; says each number on the pipe once it was answered. */
static int count_up(void *arg)
{
	int pipe_fd = *(int *)arg;
	struct cfs_ctl *ctl = NULL;
	char why[256], text[24];

	if (cfs_ctl_open_local(file_path(), &ctl, why, sizeof(why)) < 0)
		return 1;
	for (;;) {
		struct cfs_ctl_list l = { 0 };
		struct cfs_ctl_compare c = { .key = "/n" };
		struct cfs_ctl_put p = { .key = "/n", .value = text };
		struct cfs_ctl_txn txn = { &c, 1, &p, 1 };
		uint64_t n = 0;
		int rc = cfs_ctl_get(ctl, "/n", &l);

		if (rc < 0 && rc != -ENOENT)
			return 1;
		if (rc == 0) {
			cfs_str_to_u64((const char *)l.kvs[0].value, &n);
			c.rev = l.kvs[0].rev;
		}
		cfs_ctl_list_fini(&l);
		n++;
		p.len_bytes = (uint32_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
		rc = cfs_ctl_txn(ctl, &txn, NULL);
		if (rc < 0 && rc != -ESTALE)
			return 1;
		if (rc == 0 && write(pipe_fd, &n, sizeof(n)) != sizeof(n))
			return 1;
	}
}

static pid_t counter_start(int fd)
{
	struct cfs_runtime_opts opts = { .cores = 1, .pin_cpu = -2 };
	pid_t pid = fork();

	if (pid == 0)
		_exit(cfs_runtime_run(&opts, count_up, &fd) == 0 ? 0 : 1);
	return pid;
}

static int read_count(void *arg)
{
	struct cfs_ctl_list l = { 0 };
	struct cfs_ctl *ctl = NULL;
	uint64_t *n = arg;
	char why[256];

	assert_int_equal(cfs_ctl_open_local(file_path(), &ctl, why, sizeof(why)), 0);
	assert_int_equal(cfs_ctl_get(ctl, "/n", &l), 0);
	assert_int_equal(cfs_str_to_u64((const char *)l.kvs[0].value, n), 0);
	cfs_ctl_list_fini(&l);
	cfs_ctl_close(ctl);
	return 0;
}

/* Two processes count, both are killed at a random moment: every answered number was counted once,
 * and stays. */
static void killed_processes_lose_nothing(void **state)
{
	struct cfs_runtime_opts opts = { .cores = 1, .pin_cpu = -2 };
	uint64_t answered = 0, n, count = 0;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	for (int round = 0; round < KILL_ROUNDS; round++) {
		pid_t pids[2] = { counter_start(fds[1]), counter_start(fds[1]) };
		struct pollfd first = { .fd = fds[0], .events = POLLIN };

		/* However busy the machine is, something is counted before the first kill. */
		assert_int_equal(poll(&first, 1, COUNT_WAIT_MS), 1);
		usleep(KILL_AFTER_US + (useconds_t)(rand() % KILL_AFTER_US));
		for (int i = 0; i < 2; i++) {
			int status;

			kill(pids[i], SIGKILL);
			assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
			assert_true(WIFSIGNALED(status));
		}
	}
	while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
		answered = n > answered ? n : answered;
		count++;
	}
	assert_true(count > 0);
	assert_int_equal(cfs_runtime_run(&opts, read_count, &n), 0);
	assert_true(n >= answered);
	assert_true(n <= count + 2 * KILL_ROUNDS);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, dir_make, dir_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_what_is_not_its_file), TEST(refuses_a_database_of_others),
		TEST(refuses_a_newer_schema),       TEST(names_a_missing_folder),
		TEST(keeps_its_file_private),       TEST(killed_processes_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
