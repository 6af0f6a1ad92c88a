#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static char dir[] = "/tmp/cfs-test-log-XXXXXX";
static char path[64], old_path[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(old_path, sizeof(old_path), "%s/log.1", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cfs_log_open(NULL, 0);
	unlink(path);
	unlink(old_path);
	return rmdir(dir);
}

/* The whole file as a string, "" when there is none. */
static const char *content(const char *name)
{
	static char text[65536];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void lines(void **state)
{
	const char *text;

	(void)state;
	assert_int_equal(cfs_log_open(path, 1 << 20), 0);
	cfs_warn("segment append failed", "seg=%u rc=%s", 7, "EIO");
	cfs_debug("not shown", "");
	cfs_log_level_set(CFS_LOG_DEBUG);
	cfs_debug("shown", "");
	cfs_log_level_set(CFS_LOG_INFO);
	text = content(path);
	assert_non_null(strstr(text, "Z warn segment append failed  seg=7 rc=EIO\n"));
	assert_null(strstr(text, "not shown"));
	assert_non_null(strstr(text, "Z debug shown\n"));
}

/* What comes from outside can neither forge a line nor grow one without bound. */
static void hostile_values(void **state)
{
	static char big[5000];
	const char *text, *end;

	(void)state;
	unlink(path);
	assert_int_equal(cfs_log_open(path, 1 << 20), 0);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cfs_err("bad name", "name=%s", "a\n2026 err forged\x1b[2J");
	cfs_err("long", "name=%s", big);
	text = content(path);
	end = strchr(text, '\n');
	assert_non_null(end);
	assert_non_null(strstr(text, "a?2026 err forged?[2J\n"));
	assert_true(strlen(end + 1) <= 1024);
	assert_non_null(strchr(end + 1, '\n'));
}

static void bounded(void **state)
{
	struct stat now, old;

	(void)state;
	unlink(path);
	assert_int_equal(cfs_log_open(path, 1000), 0);
	for (int i = 0; i < 100; i++)
		cfs_info("a line", "i=%d", i);
	assert_int_equal(stat(path, &now), 0);
	assert_int_equal(stat(old_path, &old), 0);
	assert_in_range(now.st_size, 1, 1000);
	assert_in_range(old.st_size, 1, 1000);
	assert_non_null(strstr(content(path), "i=99\n"));
	/* It goes on where an earlier process stopped. */
	assert_int_equal(cfs_log_open(path, 1000), 0);
	cfs_info("again", "");
	assert_int_equal(stat(path, &now), 0);
	assert_in_range(now.st_size, 1, 1000);
}

/* A line as it arrives at standard error, which is a pipe for that time. */
static const char *through_stderr(bool as_journal)
{
	static char text[2048];
	char stream[64];
	struct stat st;
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fstat(fds[1], &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino + !as_journal);
	setenv("JOURNAL_STREAM", stream, 1);
	dup2(fds[1], STDERR_FILENO);
	cfs_log_open(NULL, 0);
	cfs_warn("a line", "i=%d", 1);
	dup2(saved, STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	n = read(fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	close(fds[1]);
	close(saved);
	return text;
}

static void standard_error(void **state)
{
	(void)state;
	assert_string_equal(through_stderr(true), "<4>a line  i=1\n");
	assert_non_null(strstr(through_stderr(false), "Z warn a line  i=1\n"));
}

static void bad_path(void **state)
{
	(void)state;
	assert_int_equal(cfs_log_open("/nonexistent/folder/log", 1000), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),    cmocka_unit_test(hostile_values),
		cmocka_unit_test(bounded),  cmocka_unit_test(standard_error),
		cmocka_unit_test(bad_path),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
