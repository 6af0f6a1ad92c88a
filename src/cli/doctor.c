/* cfs doctor: the checks as a report. */
#include "cli/doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/text.h"

static const struct cli_opt opts[] = {
	{ "json", 0, NULL, "report as JSON" },
	{ 0 },
};

static const char *const state_names[] = { "ok", "WARN", "FAIL" };

static void print_json(const char *name, const struct doctor_finding *f, bool is_first)
{
	printf("%s\n  {\"check\": \"%s\", \"state\": \"%s\", \"detail\": ", is_first ? "" : ",",
	       name, state_names[f->state]);
	cli_json_text(stdout, f->detail);
	printf(", \"next\": ");
	cli_json_text(stdout, f->next);
	printf("}");
}

static void print_line(const char *name, const struct doctor_finding *f)
{
	printf("%-4s  %-12s %s\n", state_names[f->state], name, f->detail);
	if (f->next[0])
		printf("%-4s  %-12s next: %s\n", "", "", f->next);
}

static int run(struct cli *c)
{
	enum doctor_state worst = DOCTOR_OK;
	bool is_json = cli_opt(c, "json");

	if (is_json)
		printf("[");
	for (const struct doctor_check *check = doctor_checks; check->name; check++) {
		struct doctor_finding f = { 0 };

		check->run(&f);
		worst = CFS_MAX(worst, f.state);
		if (is_json)
			print_json(check->name, &f, check == doctor_checks);
		else
			print_line(check->name, &f);
	}
	if (is_json)
		printf("\n]\n");
	else if (worst == DOCTOR_OK)
		printf("all is well\n");
	return worst == DOCTOR_FAIL ? CLI_ERROR : worst == DOCTOR_WARN ? CLI_DEGRADED : CLI_OK;
}

const struct cli_verb cli_doctor = {
	.name = "doctor",
	.synopsis = "[--json]",
	.summary = "Check whether this machine has what ClaudeFS needs",
	.text = "Every line that is not ok says what to do next. Exit codes: 0 all is well, 1 "
		"something\n"
		"that is needed is missing, 3 it works, with warnings.",
	.examples = "  cfs doctor\n  cfs doctor --json\n",
	.opts = opts,
	.run = run,
};
