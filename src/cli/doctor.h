/* What ClaudeFS needs of a machine, checked one by one (cfs doctor; before a start that would
 * fail). */
#ifndef CFS_CLI_DOCTOR_H
#define CFS_CLI_DOCTOR_H

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

#define DOCTOR_TEXT_BYTES 256

struct doctor_finding {
	enum doctor_state state;
	char detail[DOCTOR_TEXT_BYTES]; /* what was found */
	char next[DOCTOR_TEXT_BYTES];   /* what to do; empty when all is well */
};

struct doctor_check {
	const char *name;
	void (*run)(struct doctor_finding *f);
};

/* Ended by one without a name. */
extern const struct doctor_check doctor_checks[];

/* What a server, or a mount, cannot do without: io_uring; /dev/fuse and the privilege to mount. */
void doctor_io_uring(struct doctor_finding *f);
void doctor_fuse(struct doctor_finding *f);
void doctor_privilege(struct doctor_finding *f);

#endif
