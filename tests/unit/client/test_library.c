/* The public API against a real server: a child process with a store of its own, over tcp on
 * loopback. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/reactor.h"
#include "claudefs/claudefs.h"
#include "server/node.h"
#include "store/store.h"

#define STORE_BYTES (512ull << 20)
#define BIG_BYTES (5u * 1024 * 1024 + 123)
#define THREADS 4
#define FILES_EACH 25

static char dir[] = "/tmp/cfs-test-library-XXXXXX";
static char store[64], addr[128];
static pid_t server;
static int say_fd, stop_fd;

/* --- the server's process --- */

static int serve(void *arg)
{
	const char *path = store;
	const struct cfs_node_opts opts = {
		.paths = &path, .path_count = 1, .listen = "tcp:127.0.0.1:0", .tail_dir = dir
	};
	struct cfs_node *node;
	char err[512] = "";
	int rc = cfs_node_start(&opts, &node, err, sizeof(err));

	(void)arg;
	if (rc < 0) {
		fprintf(stderr, "server: %s\n", err);
		return rc;
	}
	(void)!write(say_fd, cfs_node_listen_addr(node), strlen(cfs_node_listen_addr(node)));
	(void)cfs_io_poll(stop_fd, 1 /* POLLIN: the parent is gone or wants an end */);
	return cfs_node_stop(node);
}

static void server_main(int say, int stop)
{
	const struct cfs_mkfs_opts mkfs = { .path = store, .size_bytes = STORE_BYTES };
	const struct cfs_runtime_opts runtime = { .cores = 1, .pin_cpu = -2 };
	char err[512] = "";

	say_fd = say;
	stop_fd = stop;
	cfs_log_level_set(CFS_LOG_ERR);
	if (cfs_store_mkfs(&mkfs, err, sizeof(err)) < 0) {
		fprintf(stderr, "mkfs: %s\n", err);
		_exit(1);
	}
	_exit(cfs_runtime_run(&runtime, serve, NULL) == 0 ? 0 : 1);
}

static int start_server(void **state)
{
	int say[2], stop[2];
	ssize_t n;

	(void)state;
	if (!mkdtemp(dir) || pipe(say) < 0 || pipe(stop) < 0)
		return -1;
	snprintf(store, sizeof(store), "%s/store", dir);
	server = fork();
	if (server == 0) {
		close(say[0]);
		close(stop[1]);
		server_main(say[1], stop[0]);
	}
	close(say[1]);
	close(stop[0]);
	stop_fd = stop[1];
	n = read(say[0], addr, sizeof(addr) - 1);
	close(say[0]);
	return n > 0 ? 0 : -1;
}

static int stop_server(void **state)
{
	char command[128];
	int status;

	(void)state;
	close(stop_fd);
	if (waitpid(server, &status, 0) != server || status != 0)
		return -1;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int mount_it(void **state)
{
	static const struct claudefs_options opts = { .options_bytes = sizeof(opts),
						      .uid = 11,
						      .gid = 12 };
	struct claudefs *fs;
	char why[256];
	int rc = claudefs_mount(addr, &opts, &fs, why, sizeof(why));

	if (rc < 0)
		fprintf(stderr, "%s\n", why);
	*state = fs;
	return rc;
}

static int unmount_it(void **state)
{
	claudefs_unmount(*state);
	return 0;
}

/* --- what a program does --- */

static void files_keep_what_is_written(void **state)
{
	struct claudefs *fs = *state;
	struct claudefs_file *f;
	uint8_t *out = malloc(BIG_BYTES), *in = calloc(1, BIG_BYTES);
	struct stat st;

	for (uint32_t i = 0; i < BIG_BYTES; i++)
		out[i] = (uint8_t)(i * 13 + i / 4096);
	assert_int_equal(claudefs_open(fs, "/big", O_RDWR, 0, &f), -ENOENT);
	assert_int_equal(claudefs_open(fs, "/big", O_CREAT | O_EXCL | O_RDWR, 0640, &f), 0);
	assert_int_equal(claudefs_write(f, out, BIG_BYTES), BIG_BYTES);
	assert_int_equal(claudefs_seek(f, 0, SEEK_CUR), BIG_BYTES);
	assert_int_equal(claudefs_seek(f, -10, SEEK_END), BIG_BYTES - 10);
	assert_int_equal(claudefs_read(f, in, 100), 10);
	assert_memory_equal(in, out + BIG_BYTES - 10, 10);
	assert_int_equal(claudefs_pread(f, in, BIG_BYTES, 0), BIG_BYTES);
	assert_memory_equal(in, out, BIG_BYTES);
	assert_int_equal(claudefs_fsync(f), 0);
	assert_int_equal(claudefs_fstat(f, &st), 0);
	assert_int_equal(st.st_size, BIG_BYTES);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_uid, 11);
	assert_int_equal(st.st_gid, 12);
	assert_int_equal(claudefs_ftruncate(f, 5000), 0);
	assert_int_equal(claudefs_pread(f, in, BIG_BYTES, 4000), 1000);
	assert_int_equal(claudefs_pwrite(f, "end", 3, 3 << 20), 3);
	assert_int_equal(claudefs_seek(f, 10000, SEEK_DATA), 3 << 20);
	assert_int_equal(claudefs_seek(f, 0, 77), -EINVAL);
	assert_int_equal(claudefs_close(f), 0);
	assert_int_equal(claudefs_open(fs, "big", O_WRONLY | O_APPEND, 0, &f), 0);
	assert_int_equal(claudefs_write(f, "more", 4), 4);
	assert_int_equal(claudefs_seek(f, 0, SEEK_CUR), (3 << 20) + 7);
	assert_int_equal(claudefs_read(f, in, 1), -EBADF);
	assert_int_equal(claudefs_close(f), 0);
	assert_int_equal(claudefs_open(fs, "big", O_RDONLY | O_TRUNC, 0, &f), 0);
	assert_int_equal(claudefs_fstat(f, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(claudefs_unlink(fs, "big"), 0);
	assert_int_equal(claudefs_close(f), 0);
	free(out);
	free(in);
}

static void paths_are_walked(void **state)
{
	struct claudefs *fs = *state;
	char target[16] = "";
	struct claudefs_file *f;
	struct stat st, st2;

	assert_int_equal(claudefs_mkdir(fs, "/a", 0755), 0);
	assert_int_equal(claudefs_mkdir(fs, "/a", 0755), -EEXIST);
	assert_int_equal(claudefs_mkdir(fs, "a/b/", 0755), 0);
	assert_int_equal(claudefs_mkdir(fs, "x/y", 0755), -ENOENT);
	assert_int_equal(claudefs_open(fs, "//a/./b/../b/f", O_CREAT | O_WRONLY, 0600, &f), 0);
	assert_int_equal(claudefs_close(f), 0);
	assert_int_equal(claudefs_stat(fs, "a/b/f", &st), 0);
	assert_int_equal(claudefs_stat(fs, "a/b/f/", &st2), -ENOTDIR);
	assert_int_equal(claudefs_stat(fs, "a/b/f/g", &st2), -ENOTDIR);
	assert_int_equal(claudefs_symlink(fs, "../b", "a/b/self"), 0);
	assert_int_equal(claudefs_symlink(fs, "/a/b/self/f", "link"), 0);
	assert_int_equal(claudefs_stat(fs, "link", &st2), 0);
	assert_int_equal(st2.st_ino, st.st_ino);
	assert_int_equal(claudefs_lstat(fs, "link", &st2), 0);
	assert_true(S_ISLNK(st2.st_mode));
	assert_int_equal(claudefs_readlink(fs, "link", target, sizeof(target)), 11);
	assert_memory_equal(target, "/a/b/self/f", 11);
	assert_int_equal(claudefs_open(fs, "link", O_RDONLY | O_NOFOLLOW, 0, &f), -ELOOP);
	assert_int_equal(claudefs_symlink(fs, "loop", "loop"), 0);
	assert_int_equal(claudefs_stat(fs, "loop", &st2), -ELOOP);
	assert_int_equal(claudefs_stat(fs, "/", &st2), 0);
	assert_int_equal(st2.st_ino, 1);
	assert_int_equal(claudefs_stat(fs, "a/../..", &st2), 0);
	assert_int_equal(st2.st_ino, 1);
	assert_int_equal(claudefs_stat(fs, "", &st2), -ENOENT);
	assert_int_equal(claudefs_link(fs, "a/b/f", "hard"), 0);
	assert_int_equal(claudefs_stat(fs, "hard", &st2), 0);
	assert_int_equal(st2.st_nlink, 2);
	assert_int_equal(claudefs_rename(fs, "hard", "a/hard", 0), 0);
	assert_int_equal(claudefs_rename(fs, "a/hard", "link", 1), -EEXIST);
	assert_int_equal(claudefs_rename(fs, "a", "a/b/c", 0), -EINVAL);
	assert_int_equal(claudefs_rmdir(fs, "a"), -ENOTEMPTY);
	assert_int_equal(claudefs_rmdir(fs, "/"), -EBUSY);
	assert_int_equal(claudefs_unlink(fs, "/"), -EISDIR);
	assert_int_equal(claudefs_open(fs, "a", O_RDONLY, 0, &f), -EISDIR);
}

static void attributes_are_set(void **state)
{
	const struct timespec times[2] = { { -5, 3 }, { .tv_nsec = UTIME_OMIT } };
	struct claudefs *fs = *state;
	struct claudefs_file *f;
	struct statvfs vfs;
	struct stat st;
	char value[16];

	assert_int_equal(claudefs_open(fs, "attrs", O_CREAT | O_RDWR, 0644, &f), 0);
	assert_int_equal(claudefs_close(f), 0);
	assert_int_equal(claudefs_chmod(fs, "attrs", 04711), 0);
	assert_int_equal(claudefs_utimens(fs, "attrs", times), 0);
	assert_int_equal(claudefs_truncate(fs, "attrs", 777), 0);
	assert_int_equal(claudefs_stat(fs, "attrs", &st), 0);
	assert_int_equal(st.st_atim.tv_sec, -5);
	assert_int_equal(st.st_atim.tv_nsec, 3);
	assert_int_equal(st.st_size, 777);
	assert_int_equal(claudefs_lchown(fs, "attrs", 5, (gid_t)-1), 0);
	assert_int_equal(claudefs_stat(fs, "attrs", &st), 0);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_gid, 12);
	assert_int_equal(claudefs_setxattr(fs, "attrs", "user.k", "value", 5, 0), 0);
	assert_int_equal(claudefs_setxattr(fs, "attrs", "user.k", "value", 5, 1), -EEXIST);
	assert_int_equal(claudefs_getxattr(fs, "attrs", "user.k", NULL, 0), 5);
	assert_int_equal(claudefs_getxattr(fs, "attrs", "user.k", value, 3), -ERANGE);
	assert_int_equal(claudefs_getxattr(fs, "attrs", "user.k", value, 16), 5);
	assert_memory_equal(value, "value", 5);
	assert_int_equal(claudefs_listxattr(fs, "attrs", value, 16), 7);
	assert_int_equal(claudefs_removexattr(fs, "attrs", "user.k"), 0);
	assert_int_equal(claudefs_getxattr(fs, "attrs", "user.k", value, 16), -ENODATA);
	assert_int_equal(claudefs_statvfs(fs, &vfs), 0);
	assert_true(vfs.f_blocks > 0 && vfs.f_bavail <= vfs.f_bfree);
}

struct job {
	struct claudefs *fs;
	int index, failed;
};

static void *make_files(void *arg)
{
	struct job *j = arg;
	char path[64], text[64];

	for (int i = 0; i < FILES_EACH; i++) {
		struct claudefs_file *f;

		snprintf(path, sizeof(path), "/many/%d.%d", j->index, i);
		if (claudefs_open(j->fs, path, O_CREAT | O_EXCL | O_RDWR, 0600, &f) < 0) {
			j->failed++;
			continue;
		}
		j->failed += claudefs_pwrite(f, path, strlen(path), 0) != (ssize_t)strlen(path);
		j->failed += claudefs_pread(f, text, sizeof(text), 0) != (ssize_t)strlen(path);
		j->failed += memcmp(text, path, strlen(path)) != 0;
		j->failed += claudefs_close(f) < 0;
	}
	return NULL;
}

static void threads_work_side_by_side(void **state)
{
	struct job jobs[THREADS];
	pthread_t threads[THREADS];
	struct claudefs_entry e;
	struct claudefs_dir *d;
	int count = 0, rc;

	assert_int_equal(claudefs_mkdir(*state, "many", 0755), 0);
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ *state, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, make_files, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(jobs[i].failed, 0);
	}
	assert_int_equal(claudefs_opendir(*state, "many", &d), 0);
	while ((rc = claudefs_readdir(d, &e)) > 0)
		count += S_ISREG(e.mode);
	assert_int_equal(rc, 0);
	assert_int_equal(count, THREADS * FILES_EACH);
	claudefs_closedir(d);
	assert_int_equal(claudefs_opendir(*state, "attrs", &d), -ENOTDIR);
}

static void errors_are_said(void **state)
{
	static const struct claudefs_options opts = { .options_bytes = sizeof(opts),
						      .connect_ms = 300 };
	struct claudefs *fs = NULL, *second;
	char why[256];

	(void)state;
	assert_int_equal(claudefs_mount("127.0.0.1:1", &opts, &fs, why, sizeof(why)), -ETIMEDOUT);
	assert_non_null(strstr(why, "127.0.0.1:1"));
	assert_int_equal(mount_it((void **)&fs), 0);
	assert_int_equal(claudefs_mount(addr, NULL, &second, why, sizeof(why)), -EBUSY);
	claudefs_unmount(fs);
	claudefs_unmount(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, mount_it, unmount_it)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(files_keep_what_is_written),  TEST(paths_are_walked),
		TEST(attributes_are_set),          TEST(threads_work_side_by_side),
		cmocka_unit_test(errors_are_said),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
