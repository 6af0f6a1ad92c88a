/*
 * The coherence suite: several mounts of one volume have to behave as one machine.
 *
 * A cell is a change on one mount by an observation on another: the observer has just looked, so
 * that all its caches are full, the other changes something, and as soon as that call has returned
 * the observer looks again and has to see the new state. What it has to see says a model, a copy of
 * a few files and directories in memory (model.c); changes are in change.c, observations in look.c.
 *
 * One process does all of it through the folders of the mounts, whose processes are their own.
 * What only shows when mounts work at the same time is in race.c, and the judge of that in
 * linear.c. doc/design/testing.md.
 */
#ifndef CFS_TESTS_COHERENCE_H
#define CFS_TESTS_COHERENCE_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOUNTS_MAX 8u
#define OBJS_MAX 16
#define NAMES_MAX 32
#define PATHS_MAX 72u
#define TEXT_BYTES 32u
#define WHY_BYTES 400u
#define PATH_BYTES 400u /* of a path by a mount */
#define DATA_BYTES_MAX (4u << 20)
#define BIG_ENTRIES 3000u /* of the directory that is large */
#define USER 1000u        /* who is neither root nor a file's owner, at first */

/* What is held under a lock, and by which call. */
enum lock_kind { LOCK_NONE, LOCK_FLOCK, LOCK_FCNTL, LOCK_OFD };

/* A change has to move these times. */
#define MOVES_CTIME 1u
#define MOVES_MTIME 2u

struct obj {
	bool is_used;
	mode_t mode; /* with its kind */
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	ino_t ino;
	uint64_t size_bytes;
	uint8_t *data; /* of a regular file: DATA_BYTES_MAX, zero past its size */
	char target[TEXT_BYTES];
	char xattr[TEXT_BYTES]; /* of user.coh; empty: there is none */
	int acl;                /* what the ACL gives USER, 0 to 7; -1: there is no ACL */
	mode_t group;           /* what an ACL gives the group */
	unsigned iflags;
	struct timespec mtime; /* as it was set; tv_sec 0: by a change */
	unsigned moves;
	struct timespec old_ctime, old_mtime; /* as seen before the change */
};

struct name {
	int dir, obj;
	char text[TEXT_BYTES];
};

/* What an observer keeps open from before the change. */
struct hold {
	int fd[OBJS_MAX];     /* O_RDONLY; directories too; -1: none */
	int direct[OBJS_MAX]; /* O_RDONLY | O_DIRECT */
	const uint8_t *map[OBJS_MAX];
	int rw[OBJS_MAX]; /* of who is going to change it */
};

struct world {
	struct obj obj[OBJS_MAX]; /* the first is the base directory */
	struct name name[NAMES_MAX];
	int name_count;
	char base[TEXT_BYTES], prefix[TEXT_BYTES];
	int base_fd[MOUNTS_MAX]; /* -1: not yet */
	int cwd;                 /* the mount that the working directory is in; -1: none */
	bool is_big;             /* the base has BIG_ENTRIES besides */
	bool is_large;           /* files have more than one chunk */
	bool is_linked;          /* f has a second name, h */
	bool is_moved;           /* f was made in another directory */
	bool may_hold;           /* the changer works by descriptors that it had before */
	char path[PATHS_MAX][3 * TEXT_BYTES];
	unsigned path_count; /* all that are looked at, with those that do not exist */
	struct hold hold[MOUNTS_MAX];
	enum lock_kind lock;
	int lock_fd;
	int truth;           /* the mount that has changed something; -1: nobody has yet */
	const char *what;    /* the observation that runs */
	char why[WHY_BYTES]; /* the first thing that was wrong; empty: nothing */
};

struct options {
	const char *mount[MOUNTS_MAX];
	pid_t pid[MOUNTS_MAX]; /* of the mounts' processes, for what stops one */
	unsigned mount_count, pid_count;
	uint64_t seed;
	unsigned rounds;
	unsigned life_seconds;
	const char *only;   /* CHANGE, CHANGE/OBSERVATION or /OBSERVATION */
	const char *may;    /* a file of cells that may fail */
	const char *must;   /* a file of cells that must fail */
	const char *folder; /* below each mount, where all happens */
	bool is_own;        /* observe where the change was made */
	bool is_apart;      /* of the matrix: each cell by itself */
};
extern struct options options;

/* --- dice --- */
extern uint64_t dice;
uint64_t roll(void);
/* Each round's are its own, so that it can be had again by itself. */
void roll_for(unsigned round);
/* 0 to @below - 1; 0 if that is 0. */
uint64_t pick(uint64_t below);
bool chance(unsigned percent);
void fill(uint8_t *p, size_t len_bytes);

/* --- model.c --- */

/* The observation is wrong; the first time counts. */
void wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A call of the test itself that has to succeed. */
#define MUST(w, call) must(w, (long)(call), #call)
long must(struct world *w, long value, const char *call);

/*
 * A path below the base, by a mount; good until the eighth call from here. It is relative, so that
 * the way to the base need not be walked: the mount's base becomes the working directory.
 */
const char *at(struct world *w, unsigned mount, const char *rel);

/* The whole path of an object. */
void absolute(const struct world *w, unsigned mount, const char *rel, char path[PATH_BYTES]);

/* Makes it all, by the mount @by, in the model and in the file system; takes it away again. */
void world_make(struct world *w, unsigned by, uint64_t number);
void world_remove(struct world *w, unsigned by);

int model_new(struct world *w, mode_t mode);
void model_name(struct world *w, int dir, const char *text, int obj);
void model_drop(struct world *w, int dir, const char *text);
/* The object; or a negative errno. @follow: what a symbolic link at the end leads to. */
int model_find(const struct world *w, const char *path, bool follow);
nlink_t model_links(const struct world *w, int obj);
/* A path of it below the base, or NULL: it has no name. */
const char *model_path(const struct world *w, int obj);
void model_write(struct obj *o, uint64_t off_bytes, const uint8_t *p, uint64_t len_bytes);
void model_resize(struct obj *o, uint64_t size_bytes);
/* Whether USER may reach and use it: 0 or a negative errno. @want: R_OK and kin. */
int model_access(const struct world *w, const char *path, int want);
/* All paths that make sense now; those of before stay. */
void model_paths(struct world *w);
bool is_kind(const struct obj *o, mode_t kind);

/* The bytes of an access ACL; returns how many. */
#define ACL_BYTES_MAX 44u
size_t acl_encode(const struct obj *o, uint8_t out[ACL_BYTES_MAX]);

/* Does the block as USER. */
#define AS_USER for (int as_ = user_begin(); as_; as_ = 0, user_end())
int user_begin(void);
void user_end(void);

/* --- change.c --- */

struct change {
	const char *name;
	void (*prepare)(struct world *w, unsigned by); /* before the observer looks; or NULL */
	void (*run)(struct world *w, unsigned by);
	bool is_lock; /* who has it cannot be asked by its own mount */
};
extern const struct change changes[];
extern const unsigned change_count;
void lock_release(struct world *w);

/* --- look.c --- */

struct look {
	const char *name;
	void (*run)(struct world *w, unsigned mount);
	bool is_slow; /* with large directories: not each time */
};
extern const struct look looks[];
extern const unsigned look_count;
/* Opens and maps what an observer keeps, or closes it. */
void hold_open(struct world *w, unsigned mount, bool is_changer);
void hold_close(struct world *w, unsigned mount);

/* --- race.c, linear.c --- */

/* @rounds from @first on; false if one was wrong, which has been reported. */
bool race_rounds(unsigned first, unsigned rounds);

#define HISTORY_MAX 96u
#define SLOTS 6u

enum op_kind {
	OP_WRITE,     /* block 0 gets the stamp @value; answered @result 0 */
	OP_READ,      /* block 0 had the stamp @result */
	OP_SIZE,      /* the size was @result */
	OP_APPEND,    /* @value bytes more */
	OP_CUT,       /* the size is @value */
	OP_CREATE,    /* name @slot: number @result, or 0: EEXIST */
	OP_UNLINK,    /* name @slot: 1, or 0: ENOENT */
	OP_RENAME,    /* name @slot to @to: 1, or 0: ENOENT */
	OP_NOREPLACE, /* the same; or 2: EEXIST */
	OP_EXCHANGE,  /* the two names: 1, or 0: ENOENT */
	OP_LOOKUP,    /* name @slot: number @result, or 0 */
};

struct op {
	enum op_kind kind;
	unsigned slot, to, mount;
	uint64_t value, result;
	uint64_t start_ns, end_ns;
};

struct state { /* of a file, or of the names */
	uint64_t stamp, size;
	uint64_t slot[SLOTS];
};

/*
 * Whether there is an order of the operations in which each is between its start and its end and
 * all results are right (Wing and Gong 1993, with the memory of Lowe 2017). 1: yes; 0: no; -1: the
 * search was too long.
 */
int linear_check(const struct op *ops, unsigned count, const struct state *first);
void linear_print(const struct op *ops, unsigned count);
/* Right and wrong histories are told apart. */
bool linear_self_test(void);

/* --- stop.c --- */
bool stop_rounds(unsigned rounds);

uint64_t now_ns(void);
extern unsigned round_now;
/* Reports a finding: what, and how to see it again. */
void report(const char *cell, const char *text);

#endif
