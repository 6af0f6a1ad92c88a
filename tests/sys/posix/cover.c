/* What the cases cover of the errors that the manuals document, and where we differ by design. */
#include "posix.h"

#include <ctype.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#define SEEN_MAX 1024u
#define CALL_BYTES 24u

/* The name of a manual page, and what calls it has; a page's own name means itself. */
static const struct {
	const char *page, *calls;
} pages[] = {
	{ "open", "open openat creat mkostemp SYS_open SYS_creat SYS_openat" },
	{ "openat2", "openat2 SYS_openat2" },
	{ "mkdir", "mkdir mkdirat" },
	{ "mknod", "mknod mknodat mkfifo mkfifoat" },
	{ "rmdir", "rmdir" },
	{ "unlink", "unlink unlinkat" },
	{ "link", "link linkat" },
	{ "symlink", "symlink symlinkat" },
	{ "readlink", "readlink readlinkat" },
	{ "rename", "rename renameat renameat2 rename2" },
	{ "stat", "stat lstat fstat fstatat" },
	{ "statx", "statx" },
	{ "chmod", "chmod fchmod fchmodat SYS_fchmodat2" },
	{ "chown", "chown fchown lchown fchownat" },
	{ "utimensat", "utimensat futimens" },
	{ "truncate", "truncate ftruncate" },
	{ "read", "read" },
	{ "pread", "pread" },
	{ "readv", "readv preadv preadv2" },
	{ "write", "write" },
	{ "pwrite", "pwrite" },
	{ "writev", "writev pwritev pwritev2" },
	{ "lseek", "lseek" },
	{ "fallocate", "fallocate" },
	{ "copy_file_range", "copy_file_range" },
	{ "fsync", "fsync fdatasync" },
	{ "sync_file_range", "sync_file_range" },
	{ "mmap", "mmap" },
	{ "msync", "msync" },
	{ "getdents", "getdents SYS_getdents64" },
	{ "chdir", "chdir fchdir" },
	{ "access", "access faccessat SYS_faccessat2" },
	{ "getxattr", "getxattr lgetxattr fgetxattr" },
	{ "setxattr", "setxattr lsetxattr fsetxattr" },
	{ "listxattr", "listxattr llistxattr flistxattr" },
	{ "removexattr", "removexattr lremovexattr fremovexattr" },
	{ "flock", "flock" },
	{ "fcntl", "fcntl lock" },
	{ "statfs", "statfs fstatfs statvfs" },
	{ "open_by_handle_at", "open_by_handle_at name_to_handle_at" },
	{ "sendfile", "sendfile" },
	{ "splice", "splice" },
	{ "ioctl", "ioctl" },
};

/*
 * Where a case that passes on ext4 has another answer here, by design. Each line is in the README,
 * in these words; the last word on how long is doc/design.
 */
static const struct {
	const char *id, *what;
} differences[] = {
	{ "removed", "In a removed directory, and of an O_PATH descriptor of a removed file, calls "
		     "give ESTALE where ext4 gives ENOENT or still answers." },
	{ "replaced",
	  "open of a path that others replace by rename all the time can give ESTALE: the "
	  "kernel opens by number what it looked up by name, and tries twice." },
	{ "linked",
	  "While several processes link and unlink one file at the same time, the kernel's "
	  "own count of its links can reach 0 for a moment; link(2) then says ENOENT until "
	  "the file is looked at again." },
	{ "whiteout",
	  "RENAME_WHITEOUT, which overlays use on their upper layer, is refused with EINVAL." },
	{ "collapse", "fallocate does not collapse or insert ranges: FUSE has no request for it." },
	{ "trunc-running",
	  "open with O_RDONLY | O_TRUNC, which POSIX leaves undefined, of a program "
	  "that runs gives ETXTBSY as it must, but has cut it." },
	{ "root-allocates",
	  "fallocate and copy_file_range by root of a set-user-ID file that has "
	  "file capabilities as well take both away; ext4 only the capabilities." },
	{ "numbers", "An inode number is never used again; ext4 uses numbers again." },
};

struct pair {
	char call[CALL_BYTES];
	int code;
};

struct shared {
	atomic_uint count;
	struct pair seen[SEEN_MAX];
};

/* Of the case that runs, shared with its processes. */
static struct shared *now;
/* Of all cases: lines "CALL ERRNO CASE". */
static char **lines;
static size_t line_count;

static const char *page_of(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		for (const char *p = pages[i].calls; *p;) {
			size_t n = strcspn(p, " ");

			if (n == len && memcmp(p, word, len) == 0)
				return pages[i].page;
			p += n + (p[n] == ' ');
		}
	}
	return NULL;
}

void posix_covers(const char *call, int code)
{
	unsigned at;

	if (!now)
		return;
	for (unsigned i = 0; i < now->count && i < SEEN_MAX; i++)
		if (now->seen[i].code == code && strcmp(now->seen[i].call, call) == 0)
			return;
	at = atomic_fetch_add(&now->count, 1);
	CHECK(at < SEEN_MAX);
	snprintf(now->seen[at].call, CALL_BYTES, "%s", call);
	now->seen[at].code = code;
}

/* The first call that the text of the expression names. */
void posix_cover_fail(int code, const char *text)
{
	while (*text) {
		size_t n = 0;

		while (isalnum((unsigned char)text[n]) || text[n] == '_')
			n++;
		if (n > 0) {
			const char *page = page_of(text, n);

			if (page) {
				posix_covers(page, code);
				return;
			}
		}
		text += n ? n : 1;
	}
}

void posix_cover_begin(void)
{
	if (!now) {
		now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
		if (now == MAP_FAILED)
			abort();
	}
	now->count = 0;
}

int posix_cover_keep(const char *name)
{
	for (unsigned i = 0; i < now->count && i < SEEN_MAX; i++) {
		char **more = realloc(lines, (line_count + 1) * sizeof(*lines));

		if (!more)
			return -ENOMEM;
		lines = more;
		if (asprintf(&lines[line_count], "%s %s %s", now->seen[i].call,
			     strerrorname_np(now->seen[i].code), name) < 0)
			return -ENOMEM;
		line_count++;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int posix_cover_write(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	qsort(lines, line_count, sizeof(*lines), compare);
	fprintf(f, "# What each case saw: CALL ERRNO CASE. Made by: posix DIR --covers FILE\n");
	for (size_t i = 0; i < line_count; i++)
		if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
			fprintf(f, "%s\n", lines[i]);
	return fclose(f) == 0 ? 0 : -errno;
}

bool posix_differs(const char *id)
{
	struct statfs fs;
	size_t i = 0;

	while (i < sizeof(differences) / sizeof(differences[0]) &&
	       strcmp(differences[i].id, id) != 0)
		i++;
	CHECK(i < sizeof(differences) / sizeof(differences[0]));
	OK(statfs("/proc/self/cwd/", &fs));
	return fs.f_type == FUSE_SUPER_MAGIC;
}

void posix_differences(void)
{
	for (size_t i = 0; i < sizeof(differences) / sizeof(differences[0]); i++)
		printf("%s\t%s\n", differences[i].id, differences[i].what);
}
