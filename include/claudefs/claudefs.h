/*
 * libclaudefs: ClaudeFS for programs, without a mount.
 *
 * Functions return 0 or a count, or a negative errno; they wait until the operation is done and may
 *be called from any thread. Handles are opaque. A path starts at the root of the file system, with
 *or without a slash in front; links in it are followed. While no server answers, operations wait as
 *the options say. The library runs one thread of its own; a process has one file system open at a
 *time.
 *
 * The options name the owner of what is created. Permissions are not checked: who may connect may
 *do everything.
 *
 *	struct claudefs *fs;
 *	struct claudefs_file *file;
 *	char why[256];
 *
 *	if (claudefs_mount("127.0.0.1:9870", NULL, &fs, why, sizeof(why)) < 0)
 *		errx(1, "%s", why);
 *	if (claudefs_open(fs, "/notes", O_CREAT | O_WRONLY, 0644, &file) == 0) {
 *		claudefs_write(file, "hello\n", 6);
 *		claudefs_close(file);
 *	}
 *	claudefs_unmount(fs);
 */
#ifndef CLAUDEFS_CLAUDEFS_H
#define CLAUDEFS_CLAUDEFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct claudefs;
struct claudefs_file;
struct claudefs_dir;

struct claudefs_options {
	uint32_t options_bytes; /* sizeof(struct claudefs_options): later versions have more */
	uint32_t uid, gid;      /* of what is created */
	uint32_t reserved;      /* 0 */
	uint64_t wait_ms; /* how long an operation waits for a server that is away; 0: for ever */
	uint64_t connect_ms; /* the same for claudefs_mount(); 0: 10 seconds */
};

/* @server: "ADDR:PORT", or with the transport in front: "tcp:ADDR:PORT", "shm:NAME". @opts NULL:
 * root's, waits for ever. @why receives a sentence on failure. -EBUSY: the process has one open;
 * -ETIMEDOUT: nobody answers; -EINVAL; -ENOSYS: no io_uring. */
int claudefs_mount(const char *server, const struct claudefs_options *opts,
		   struct claudefs **fs_out, char *why, size_t why_bytes);
/* No call may be under way and no handle open. NULL is fine. */
void claudefs_unmount(struct claudefs *fs);

/* @flags of open(2): the access mode, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_TMPFILE,
 * O_SYNC, O_DSYNC. Regular files only. */
int claudefs_open(struct claudefs *fs, const char *path, int flags, mode_t mode,
		  struct claudefs_file **file_out);
/* Ends the handle, also when it returns an error. */
int claudefs_close(struct claudefs_file *file);
/* At the handle's position, which one thread at a time may use. */
ssize_t claudefs_read(struct claudefs_file *file, void *buf, size_t len_bytes);
ssize_t claudefs_write(struct claudefs_file *file, const void *buf, size_t len_bytes);
ssize_t claudefs_pread(struct claudefs_file *file, void *buf, size_t len_bytes, uint64_t off_bytes);
ssize_t claudefs_pwrite(struct claudefs_file *file, const void *buf, size_t len_bytes,
			uint64_t off_bytes);
/* @whence of lseek(2), SEEK_DATA and SEEK_HOLE too. The new position. */
int64_t claudefs_seek(struct claudefs_file *file, int64_t off_bytes, int whence);
int claudefs_fsync(struct claudefs_file *file);
int claudefs_fdatasync(struct claudefs_file *file);
int claudefs_ftruncate(struct claudefs_file *file, uint64_t size_bytes);
int claudefs_fallocate(struct claudefs_file *file, int mode, uint64_t off_bytes,
		       uint64_t len_bytes);
int claudefs_fstat(struct claudefs_file *file, struct stat *st_out);

int claudefs_stat(struct claudefs *fs, const char *path, struct stat *st_out);
int claudefs_lstat(struct claudefs *fs, const char *path, struct stat *st_out);
int claudefs_truncate(struct claudefs *fs, const char *path, uint64_t size_bytes);
int claudefs_chmod(struct claudefs *fs, const char *path, mode_t mode);
/* (uid_t)-1, (gid_t)-1: unchanged. Does not follow a link at the end. */
int claudefs_lchown(struct claudefs *fs, const char *path, uid_t uid, gid_t gid);
/* times[0] access, times[1] change; UTIME_NOW and UTIME_OMIT as in utimensat(2). */
int claudefs_utimens(struct claudefs *fs, const char *path, const struct timespec times[2]);

int claudefs_mkdir(struct claudefs *fs, const char *path, mode_t mode);
int claudefs_rmdir(struct claudefs *fs, const char *path);
int claudefs_unlink(struct claudefs *fs, const char *path);
/* @flags: RENAME_NOREPLACE, RENAME_EXCHANGE of renameat2(2). */
int claudefs_rename(struct claudefs *fs, const char *from, const char *to, unsigned int flags);
int claudefs_link(struct claudefs *fs, const char *existing, const char *path);
int claudefs_symlink(struct claudefs *fs, const char *target, const char *path);
/* Bytes of the target, without a NUL; cut to @len_bytes. */
ssize_t claudefs_readlink(struct claudefs *fs, const char *path, char *buf, size_t len_bytes);

struct claudefs_entry {
	uint64_t ino;
	uint32_t mode; /* the type, S_IFMT */
	char name[256];
};
int claudefs_opendir(struct claudefs *fs, const char *path, struct claudefs_dir **dir_out);
/* 1: an entry; 0: the end. */
int claudefs_readdir(struct claudefs_dir *dir, struct claudefs_entry *entry_out);
void claudefs_closedir(struct claudefs_dir *dir);

int claudefs_statvfs(struct claudefs *fs, struct statvfs *out);
/* As in getxattr(2) and its kin: a @len_bytes of 0 asks for the size. Links are followed. */
ssize_t claudefs_getxattr(struct claudefs *fs, const char *path, const char *name, void *value,
			  size_t len_bytes);
ssize_t claudefs_listxattr(struct claudefs *fs, const char *path, char *names, size_t len_bytes);
int claudefs_setxattr(struct claudefs *fs, const char *path, const char *name, const void *value,
		      size_t len_bytes, int flags);
int claudefs_removexattr(struct claudefs *fs, const char *path, const char *name);

#ifdef __cplusplus
}
#endif

#endif
