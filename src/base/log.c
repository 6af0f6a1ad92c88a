#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 1024

/* One log a process. The lock guards the file against its own replacement; lines are single writes.
 */
static struct {
	pthread_mutex_t lock;
	int fd;
	uint64_t bytes, bytes_max;
	char path[PATH_MAX];
	char old_path[PATH_MAX + 2];
	int level;
} sink = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.fd = -1,
	.level = CFS_LOG_INFO,
};

static int open_append(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	return fd < 0 ? -errno : fd;
}

int cfs_log_open(const char *path, uint64_t bytes_max)
{
	struct stat st;
	int fd = -1, old;

	if (path) {
		if (strlen(path) >= sizeof(sink.path))
			return -ENAMETOOLONG;
		fd = open_append(path);
		if (fd < 0)
			return fd;
	}
	pthread_mutex_lock(&sink.lock);
	old = sink.fd;
	sink.fd = fd;
	sink.bytes_max = bytes_max;
	sink.bytes = fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	if (path) {
		snprintf(sink.path, sizeof(sink.path), "%s", path);
		snprintf(sink.old_path, sizeof(sink.old_path), "%s.1", path);
	}
	pthread_mutex_unlock(&sink.lock);
	if (old >= 0)
		close(old);
	return 0;
}

void cfs_log_level_set(enum cfs_log_level level)
{
	__atomic_store_n(&sink.level, (int)level, __ATOMIC_RELAXED);
}

static const char *level_name(enum cfs_log_level level)
{
	switch (level) {
	case CFS_LOG_ERR:
		return "err";
	case CFS_LOG_WARN:
		return "warn";
	case CFS_LOG_INFO:
		return "info";
	case CFS_LOG_DEBUG:
		return "debug";
	}
	return "?";
}

/* systemd names the journal's end of the standard error that it gave; a child may have another. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char name[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, name) == 0;
}

/* The journal stamps the lines and takes the priority from "<N>". */
static size_t put_head(char *line, enum cfs_log_level level, bool to_file)
{
	struct timespec now;
	struct tm tm;
	size_t len;

	if (!to_file && is_journal())
		return (size_t)snprintf(line, LINE_BYTES_MAX, "<%d>", (int)level);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(line, LINE_BYTES_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	return len + (size_t)snprintf(line + len, LINE_BYTES_MAX - len, ".%03ldZ %s ",
				      now.tv_nsec / 1000000, level_name(level));
}

/* Values come from outside: a line stays one line. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void write_whole(int fd, const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(fd, line, len);
	while (n < 0 && errno == EINTR);
}

/* The file grew past its bound: it becomes the old one. A failure keeps the old file growing no
 * more. */
static void rotate(void)
{
	int fd;

	if (rename(sink.path, sink.old_path) < 0)
		return;
	fd = open_append(sink.path);
	if (fd < 0)
		return;
	close(sink.fd);
	sink.fd = fd;
	sink.bytes = 0;
}

static void write_file(const char *line, size_t len)
{
	if (sink.bytes_max > 0 && sink.bytes + len > sink.bytes_max)
		rotate();
	if (sink.bytes_max > 0 && sink.bytes + len > sink.bytes_max && sink.bytes > 0)
		return;
	write_whole(sink.fd, line, len);
	sink.bytes += len;
}

void cfs_log_write(enum cfs_log_level level, const char *msg, const char *fmt, ...)
{
	char line[LINE_BYTES_MAX + 1];
	size_t len, head;
	va_list args;
	bool to_file;
	int saved_errno = errno, n;

	if ((int)level > __atomic_load_n(&sink.level, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&sink.lock);
	to_file = sink.fd >= 0;
	head = len = put_head(line, level, to_file);
	n = snprintf(line + len, LINE_BYTES_MAX - len, "%s%s", msg, *fmt ? "  " : "");
	len = CFS_MIN(len + (size_t)CFS_MAX(n, 0), (size_t)LINE_BYTES_MAX - 1);
	va_start(args, fmt);
	n = vsnprintf(line + len, LINE_BYTES_MAX - len, fmt, args);
	va_end(args);
	len = CFS_MIN(len + (size_t)CFS_MAX(n, 0), (size_t)LINE_BYTES_MAX - 1);
	flatten(line + head);
	line[len++] = '\n';
	if (to_file)
		write_file(line, len);
	else
		write_whole(STDERR_FILENO, line, len);
	pthread_mutex_unlock(&sink.lock);
	errno = saved_errno;
}
