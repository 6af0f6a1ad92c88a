/* A process in the background and its starter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "cli/daemon.h"

static void hears_that_it_is_ready(void **state)
{
	char text[CLI_DAEMON_TEXT_BYTES];
	struct cli_daemon d;
	int rc = cli_daemon_fork(&d, text);

	(void)state;
	if (rc == 1)
		_exit(cli_daemon_report(&d, 0, "all is well") && cli_daemon_report(&d, -EIO, "late")
			      ? 0
			      : 1);
	assert_int_equal(rc, 0);
	assert_string_equal(text, "all is well");
}

static void hears_why_it_failed(void **state)
{
	char text[CLI_DAEMON_TEXT_BYTES];
	struct cli_daemon d;
	int rc = cli_daemon_fork(&d, text);

	(void)state;
	if (rc == 1) {
		cli_daemon_report(&d, -ENOSPC, "the disk is full");
		_exit(1);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_string_equal(text, "the disk is full");
}

static void hears_that_it_died(void **state)
{
	char text[CLI_DAEMON_TEXT_BYTES];
	struct cli_daemon d;
	int rc = cli_daemon_fork(&d, text);

	(void)state;
	if (rc == 1)
		_exit(1);
	assert_int_equal(rc, -EIO);
	assert_string_equal(text, "");
}

/* The background process sees that its starter is gone. */
static void gives_up_without_a_starter(void **state)
{
	int fds[2];
	struct cli_daemon d;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	d.fd = fds[1];
	assert_false(cli_daemon_report(&d, 0, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hears_that_it_is_ready),
		cmocka_unit_test(hears_why_it_failed),
		cmocka_unit_test(hears_that_it_died),
		cmocka_unit_test(gives_up_without_a_starter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
