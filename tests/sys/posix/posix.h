/*
 * The POSIX suite: one program, cases that each check what a standard or a manual page says, in a
 * folder of whatever file system it is given. So the same cases run on ClaudeFS in every shape and,
 * for comparison, on ext4.
 *
 * A case runs in a process of its own, in an empty folder of its own that is its working directory,
 * as root, with umask 022. The first check that fails ends it. With --user the whole suite runs as
 * an ordinary user; those cases count that pass so on ext4, the others need root.
 *
 * What a case sees of the errors that manuals document is noted as it runs (FAILS, COVERS), and
 * tells, beside the list of all documented ones (the file errnos), which of them no case covers:
 * doc/posix-table.md, made by table.py.
 */
#ifndef CFS_TESTS_POSIX_H
#define CFS_TESTS_POSIX_H

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

struct posix_case {
	const char *name;
	const char *clause; /* what must hold, and who says so */
	void (*run)(void);
};

/* One list TOPIC_cases a topic, in a file of its own, ended by a case without a name. */
#define POSIX_TOPICS(X) \
	X(open) \
	X(rw) \
	X(size) \
	X(clone) \
	X(dir) \
	X(rename) \
	X(link) \
	X(time) \
	X(perm) \
	X(xattr) \
	X(node) \
	X(readdir) \
	X(name) \
	X(map) \
	X(lock) \
	X(race) \
	X(fs) \
	X(path) \
	X(fd) \
	X(atime) \
	X(iflags) \
	X(handle) \
	X(tmpfile) \
	X(watch) \
	X(acl) \
	X(priv) \
	X(two)
#define X(topic) extern const struct posix_case topic##_cases[];
POSIX_TOPICS(X)
#undef X

/* Full counts, instead of small ones; the seed of all dice. */
extern bool posix_is_full;
extern uint64_t posix_seed;
/* @small or @full, as the counts are. */
unsigned posix_count(unsigned small, unsigned full);
uint64_t posix_random(uint64_t *dice);

_Noreturn void posix_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The file system cannot do it, and may say so: not a failure of the case itself. */
_Noreturn void posix_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(cond) ((cond) ? (void)0 : posix_fail(__FILE__, __LINE__, "%s", #cond))
#define CHECK_EQ(a, b) posix_check_eq((long long)(a), (long long)(b), #a, #b, __FILE__, __LINE__)
/* The call must succeed; its value. */
#define OK(call) posix_ok((long)(call), #call, __FILE__, __LINE__)
/* The call must return -1 with this errno. */
#define FAILS(code, call) posix_fails((long)(call), code, 0, #call, __FILE__, __LINE__)
/* The same, of a call that stands behind @name: its manual page, or a text with its name in it. */
#define FAILS_AS(name, code, call) posix_fails((long)(call), code, 0, name, __FILE__, __LINE__)
#define FAILS_EITHER(a, b, call) posix_fails((long)(call), a, b, #call, __FILE__, __LINE__)

/* The case has seen @call, a manual page's name, fail with @code. For checks that are not FAILS().
 */
#define COVERS(call, code) posix_covers(call, code)
void posix_covers(const char *call, int code);

void posix_check_eq(long long a, long long b, const char *a_text, const char *b_text,
		    const char *file, int line);
long posix_ok(long value, const char *text, const char *file, int line);
void posix_fails(long value, int code, int other, const char *text, const char *file, int line);

/*
 * AS_USER(uid, gid) { ... } runs the block in a child with these ids, without other groups, and
 * waits; a check that fails there fails the case. IN_CHILD() the same with the ids as they are.
 */
#define AS_USER(uid, gid) \
	for (int go_ = posix_child_begin(uid, gid); go_; go_ = 0, posix_child_end())
#define IN_CHILD() for (int go_ = posix_child_begin(0, 0); go_; go_ = 0, posix_child_end())
int posix_child_begin(uid_t uid, gid_t gid);
_Noreturn void posix_child_end(void);

/* The case gets mounts of its own; then @path is the working directory once more, with MS_...
 * flags. */
void posix_own_mounts(void);
void posix_bind(const char *path, unsigned long flags);

/* The case's folder by a second mount of the same file system; without one the case is left out. */
const char *posix_second(void);

/* From here on calls with a path go by the mount of the folder @first or of the same folder
 * @second, in turn (twins.c). */
void posix_twins(const char *first, const char *second);

/* Ends the case as skipped, in a run as an ordinary user. */
void posix_needs_root(void);
/*
 * True where ClaudeFS does by design what ext4 does not: @id is a line of cover.c's list, with the
 * reason that the README gives.
 */
bool posix_differs(const char *id);

/* Starts @count children that run fn(arg, 0 .. count - 1) at the same time, and waits for all. */
void posix_children(unsigned count, void (*fn)(void *arg, unsigned i), void *arg);

#define USER 1000u
#define OTHER 1001u

/* Makes a file of @text; the text of a file (static memory, at most 64 KiB). */
void posix_make(const char *path, const char *text);
const char *posix_text(const char *path);
struct stat posix_stat(const char *path);
struct stat posix_lstat(const char *path);
bool posix_exists(const char *path);
/* Bytes that depend on where they are, and on @tag. */
void posix_pattern(void *buf, size_t len_bytes, uint64_t off_bytes, uint64_t tag);
/* Whole buffers, or the case fails. */
void posix_write_all(int fd, const void *buf, size_t len_bytes, off_t off_bytes);
void posix_read_all(int fd, void *buf, size_t len_bytes, off_t off_bytes);
/* What the runner uses (cover.c): begins a case, keeps what one saw, writes that of all, or lists
 * the differences. */
void posix_cover_begin(void);
int posix_cover_keep(const char *name);
int posix_cover_write(const char *path);
void posix_cover_fail(int code, const char *text);
void posix_differences(void);

/* Long enough that a later change has a later time, on any file system. */
void posix_wait_tick(void);
void posix_sleep_ms(unsigned ms);

#endif
