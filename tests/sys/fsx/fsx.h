/*
 * What the parts of fsx share: options, the files with what they have to contain, the names that
 * they have, and how a difference is reported. One process has one `struct run`; main.c has the
 * essay.
 */
#ifndef TESTS_SYS_FSX_H
#define TESTS_SYS_FSX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KIB 1024u
#define MIB (1024u * KIB)
#define PAGE 4096u
#define CHUNK_BYTES MIB        /* where ClaudeFS cuts a file */
#define OP_BYTES_MAX (2 * MIB) /* the most that one operation moves */
#define DIRS_MAX 2
#define FILES_MAX 16
#define NAMES_MAX (2 * FILES_MAX)

/* How a file is open. All of it at once and in all folders, so what one way writes another reads.
 */
enum how { HOW_RW, HOW_READ, HOW_APPEND, HOW_DIRECT, HOW_COUNT };

struct file {
	bool exists;    /* has a name, or is open without one */
	unsigned links; /* names that it has */
	uint8_t *want;  /* what it has to contain; zero past size_bytes */
	uint64_t size_bytes;
	int fd[DIRS_MAX][HOW_COUNT]; /* -1: not open */
	uint8_t *map[DIRS_MAX];      /* a shared map of all of it that is kept, or NULL */
	bool map_is_dirty;           /* stored to without msync */
	uint64_t ino;
};

struct done { /* one operation, for the report */
	const char *what;
	uint64_t number, off_bytes, len_bytes, size_bytes;
	unsigned file, dir;
};

#define HISTORY 4096u

struct options {
	const char *dir[DIRS_MAX];
	unsigned dir_count;
	uint64_t ops;
	uint64_t seed;
	uint64_t len_max_bytes;
	unsigned direct_percent;
	unsigned files; /* more than one: with names that come and go */
	unsigned procs;
	uint64_t fault; /* from this operation on, the first that writes is spoilt; 0: none */
	const char *fault_kind;
	unsigned report; /* operations to print */
};

struct run {
	struct options opt;
	char prefix[32]; /* of all names of this process */
	uint64_t dice;
	uint64_t number; /* of the running operation, from 1 */
	struct file files[FILES_MAX];
	int name[NAMES_MAX]; /* the file that has it, or -1 */
	unsigned name_count;
	uint8_t *buf; /* OP_BYTES_MAX + 2 pages, on a page */
	struct done *history;
	bool fault_pending, fault_done;
	uint64_t *progress; /* shared with the parent */
};

/* --- model.c --- */

uint64_t roll(struct run *r);
/* 0 to @below - 1; @below may be 0, and then it is 0. */
uint64_t pick(struct run *r, uint64_t below);
bool chance(struct run *r, unsigned percent);

/* Places that matter: at borders of blocks, extents and chunks, at the end of the file, or any. */
uint64_t pick_off(struct run *r, const struct file *f, uint64_t below);
/* Mostly small; at least 1, at most @max and OP_BYTES_MAX. */
uint64_t pick_len(struct run *r, uint64_t off_bytes, uint64_t max);

/* Bytes that no other operation writes. */
void fill(struct run *r, uint8_t *p, size_t len_bytes);

/* Put into the model what was written; it grows the file. */
void model_write(struct file *f, uint64_t off_bytes, const uint8_t *p, uint64_t len_bytes);
void model_zero(struct file *f, uint64_t off_bytes, uint64_t len_bytes, bool may_grow);
void model_truncate(struct file *f, uint64_t size_bytes);

unsigned file_index(const struct run *r, const struct file *f);

/* Tell what is going to be done, for the report. */
void note(struct run *r, const char *what, const struct file *f, unsigned dir, uint64_t off_bytes,
	  uint64_t len_bytes);

/* Reports and ends the process with 1. */
_Noreturn void failed(struct run *r, const struct file *f, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void failed_errno(struct run *r, const struct file *f, const char *call);

/* @len_bytes at @p, read from @off_bytes, have to be what the model says. */
void check_bytes(struct run *r, const struct file *f, uint64_t off_bytes, const uint8_t *p,
		 uint64_t len_bytes, const char *how);

/* --- file.c: what is done with one file's contents --- */

void file_open_all(struct run *r, struct file *f, const char *name);
void file_close(struct run *r, struct file *f);
void file_check_size(struct run *r, struct file *f, unsigned dir);
/* All of it, read in some way, and where its holes are. */
void file_verify(struct run *r, struct file *f);
/* One operation, by the dice. */
void file_step(struct run *r, struct file *f);

/* --- names.c: files and links --- */

/* Path of a name in a folder; good until the fourth call from here. */
const char *name_path(struct run *r, unsigned dir, unsigned name);
void names_start(struct run *r);
void names_step(struct run *r);
/* What is listed, linked and open is what the model says. */
void names_verify(struct run *r);
void names_end(struct run *r);
/* Some name of the file; it must have one. */
unsigned name_of(struct run *r, const struct file *f);
/* An open file in the run, by the dice. */
struct file *names_file(struct run *r);

#endif
