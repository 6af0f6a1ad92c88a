#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

static int evaluated;

static bool holds(bool value)
{
	evaluated++;
	return value;
}

/* The failing one, in a process of its own: what it says, and how that ends. */
static int fail_in_child(char *text, size_t cap_bytes)
{
	int fds[2], status = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		cfs_assert(holds(false));
		_exit(0);
	}
	close(fds[1]);
	n = read(fds[0], text, cap_bytes - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void fails(void **state)
{
	char text[512];
	int status = fail_in_child(text, sizeof(text));

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(text, "test_assert.c:"));
	assert_non_null(strstr(text, "fail_in_child: assertion failed: holds(false)\n"));
}

static void passes(void **state)
{
	(void)state;
	evaluated = 0;
	cfs_assert(holds(true));
	assert_int_equal(evaluated, 1);
#ifndef CFS_DEBUG
	/* Not even evaluated in release. */
	cfs_debug_assert(holds(false));
	assert_int_equal(evaluated, 1);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fails),
		cmocka_unit_test(passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
