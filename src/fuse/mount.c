/*
 * Mounting and unmounting by mount(2): root only, so no helper program is needed.
 *
 * What is mounted where is read from /proc/self/mountinfo, never from the mount point itself:
 * touching a mount whose daemon is gone fails, and one whose daemon hangs does not return. Where
 * that cannot be avoided a child process touches it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/str.h"
#include "fuse/fuse_internal.h"

#define FUSE_DEVICE "/dev/fuse"
#define PROBE_TRIES 100u
#define PROBE_PAUSE_NS (10l * 1000 * 1000)

/* One line of mountinfo. */
struct mount_line {
	char dir[PATH_MAX], source[256], type[64];
	uint32_t major, minor;
};

/* Where it is, and what is mounted there. */
struct place {
	char *path;               /* absolute */
	struct mount_line *mount; /* NULL: nothing */
};

static void place_fini(struct place *p)
{
	free(p->path);
	free(p->mount);
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3]) {
			*to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

static bool mount_line_parse(const char *line, struct mount_line *out)
{
	const char *rest = strstr(line, " - ");

	if (!rest ||
	    sscanf(line, "%*u %*u %u:%u %*s %4095s", &out->major, &out->minor, out->dir) != 3)
		return false;
	if (sscanf(rest, " - %63s %255s", out->type, out->source) != 2)
		return false;
	unescape(out->dir);
	unescape(out->source);
	return true;
}

/* What is mounted on top at @dir, which is absolute; malloc'd. NULL: nothing. */
static struct mount_line *mount_find(const char *dir)
{
	FILE *from = fopen("/proc/self/mountinfo", "re");
	struct mount_line *line = malloc(sizeof(*line));
	struct mount_line *found = NULL;
	char *text = NULL;
	size_t cap = 0;

	cfs_assert(dir != NULL);
	/* Later lines lie on top of earlier ones. */
	while (from && line && getline(&text, &cap, from) > 0) {
		struct mount_line *last = found;

		if (!mount_line_parse(text, line) || strcmp(line->dir, dir) != 0)
			continue;
		found = line;
		line = last ? last : malloc(sizeof(*line));
	}
	free(text);
	free(line);
	if (from)
		fclose(from);
	return found;
}

/* Absolute and without links, but without touching the last part, which may be a mount that hangs.
 * malloc'd. */
static int path_absolute(const char *dir, char **out)
{
	CFS_CLEANUP(cfs_free_p) char *parent = strdup(dir);
	CFS_CLEANUP(cfs_free_p) char *real = NULL;
	const char *last;
	char *slash;

	if (!parent)
		return -ENOMEM;
	for (size_t len = strlen(parent); len > 1 && parent[len - 1] == '/'; len--)
		parent[len - 1] = '\0';
	slash = strrchr(parent, '/');
	last = slash ? slash + 1 : parent;
	if (strcmp(last, "") == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
		*out = realpath(parent, NULL);
		return *out ? 0 : -errno;
	}
	if (slash)
		*slash = '\0';
	real = realpath(!slash ? "." : slash == parent ? "/" : parent, NULL);
	if (!real)
		return -errno;
	if (asprintf(out, "%s/%s", strcmp(real, "/") == 0 ? "" : real, last) < 0)
		return -ENOMEM;
	return 0;
}

static int place_find(const char *dir, struct place *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = path_absolute(dir, &out->path);
	if (rc == 0)
		out->mount = mount_find(out->path);
	return rc;
}

/* @touch, which returns an errno, of @dir by a child, at most a second. 0; its error; -EBUSY: no
 * answer. */
static int by_child(int (*touch)(const char *dir), const char *dir)
{
	const struct timespec pause = { .tv_nsec = PROBE_PAUSE_NS };
	pid_t child = fork();
	int status;

	if (child < 0)
		return -errno;
	if (child == 0)
		_exit(touch(dir));
	for (uint32_t i = 0; i < PROBE_TRIES; i++) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
		nanosleep(&pause, NULL);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return -EBUSY;
}

static int touch_stat(const char *dir)
{
	struct stat st;

	return stat(dir, &st) == 0 ? 0 : errno;
}

static int probe(const char *dir)
{
	return by_child(touch_stat, dir);
}

static bool is_ours(const struct mount_line *m)
{
	return m && strcmp(m->type, CFS_FUSE_TYPE) == 0;
}

static int dir_is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	int count = 0;

	if (!d)
		return -errno;
	while (count <= 2 && readdir(d))
		count++;
	closedir(d);
	return count <= 2;
}

/* There is a mount of ours already: alive or not? */
static int say_mounted(const struct place *p, char *err, uint32_t err_bytes)
{
	int rc = probe(p->path);

	if (rc == -ENOTCONN || rc == -ECONNABORTED) {
		snprintf(err, err_bytes,
			 "%s is a stale mount, its process is gone; run: cfs umount %s", p->path,
			 p->path);
		return -ENOTCONN;
	}
	snprintf(err, err_bytes, "%s is mounted on %s already; to end that run: cfs umount %s",
		 p->mount->source, p->path, p->path);
	return -EBUSY;
}

/* Whether @dir may be mounted on. */
static int dir_check(const char *dir, bool may_be_nonempty, char *err, uint32_t err_bytes)
{
	struct stat st;
	int rc;

	if (stat(dir, &st) < 0) {
		rc = -errno;
		if (rc == -ENOTCONN)
			snprintf(err, err_bytes,
				 "%s is a stale mount of another file system; run: umount -l %s",
				 dir, dir);
		else
			snprintf(err, err_bytes, "%s: %s; make it with: mkdir -p %s", dir,
				 strerrordesc_np(-rc), dir);
		return rc;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(err, err_bytes, "%s is not a directory; name an empty directory", dir);
		return -ENOTDIR;
	}
	rc = may_be_nonempty ? 1 : dir_is_empty(dir);
	if (rc > 0)
		return 0;
	if (rc < 0) {
		snprintf(err, err_bytes, "%s: %s", dir, strerrordesc_np(-rc));
		return rc;
	}
	snprintf(err, err_bytes,
		 "%s is not empty and its files would be hidden; name an empty directory", dir);
	return -ENOTEMPTY;
}

static int device_open(char *err, uint32_t err_bytes)
{
	int fd = open(FUSE_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		snprintf(err, err_bytes,
			 FUSE_DEVICE " is missing; load it with: modprobe fuse (in a container: "
				     "--device " FUSE_DEVICE " --cap-add SYS_ADMIN)");
		return -ENODEV;
	case EACCES:
	case EPERM:
		snprintf(err, err_bytes,
			 "no right to open " FUSE_DEVICE
			 "; run as root (in a container: --device " FUSE_DEVICE ")");
		return -EPERM;
	default:
		snprintf(err, err_bytes, FUSE_DEVICE ": %s", strerrordesc_np(errno));
		return -errno;
	}
}

static int mount_at(int fd, const struct cfs_fuse_mount_opts *opts, const char *dir, char *err,
		    uint32_t err_bytes)
{
	char data[160];
	int rc;

	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,"
		 "max_read=%u",
		 fd, CFS_FUSE_WRITE_BYTES_MAX);
	if (mount(opts->source, dir, CFS_FUSE_TYPE, opts->flags, data) == 0)
		return 0;
	rc = -errno;
	switch (rc) {
	case -EPERM:
		snprintf(err, err_bytes,
			 "no right to mount; run as root (in a container: --cap-add SYS_ADMIN)");
		break;
	case -ENODEV:
		snprintf(err, err_bytes, "this kernel has no FUSE; load it with: modprobe fuse");
		break;
	default:
		snprintf(err, err_bytes, "mount on %s: %s", dir, strerrordesc_np(-rc));
	}
	return rc;
}

/* Decides where to mount: *dir_out, malloc'd. */
static int choose_dir(const struct cfs_fuse_mount_opts *opts, char **dir_out, char *err,
		      uint32_t err_bytes)
{
	CFS_CLEANUP(place_fini) struct place p;
	int rc = place_find(opts->dir, &p);

	if (rc < 0) {
		snprintf(err, err_bytes, "%s: %s; make it with: mkdir -p %s", opts->dir,
			 strerrordesc_np(-rc), opts->dir);
		return rc;
	}
	if (is_ours(p.mount))
		return say_mounted(&p, err, err_bytes);
	rc = dir_check(p.path, opts->may_be_nonempty, err, err_bytes);
	if (rc < 0)
		return rc;
	/* The last part may be a link; mountinfo will know the real name. */
	*dir_out = realpath(p.path, NULL);
	if (!*dir_out) {
		rc = -errno;
		snprintf(err, err_bytes, "%s: %s", opts->dir, strerrordesc_np(-rc));
	}
	return rc;
}

void cfs_fuse_mount_fini(struct cfs_fuse_mount *m)
{
	if (m->fd >= 0)
		close(m->fd);
	free(m->dir);
	m->dir = NULL;
	m->fd = -1;
}

int cfs_fuse_mount(const struct cfs_fuse_mount_opts *opts, struct cfs_fuse_mount *out,
		   char *err_out, uint32_t err_bytes)
{
	struct cfs_fuse_mount made = { .fd = -1 };
	CFS_CLEANUP(cfs_free_p) struct mount_line *line = NULL;
	int rc = choose_dir(opts, &made.dir, err_out, err_bytes);

	if (rc == 0)
		rc = made.fd = device_open(err_out, err_bytes);
	if (rc >= 0)
		rc = mount_at(made.fd, opts, made.dir, err_out, err_bytes);
	if (rc < 0) {
		cfs_fuse_mount_fini(&made);
		return rc;
	}
	line = mount_find(made.dir);
	if (line) {
		made.dev_major = line->major;
		made.dev_minor = line->minor;
	}
	*out = made;
	return 0;
}

bool cfs_fuse_is_mounted(const char *dir, char *source_out, uint32_t source_bytes)
{
	CFS_CLEANUP(place_fini) struct place p;

	if (place_find(dir, &p) < 0 || !is_ours(p.mount))
		return false;
	if (source_out)
		snprintf(source_out, source_bytes, "%s", p.mount->source);
	return true;
}

/* Finds our mount at @dir. -EINVAL: there is none. */
static int place_of_mount(const char *dir, struct place *out, char *err, uint32_t err_bytes)
{
	int rc = place_find(dir, out);

	if (rc == 0 && is_ours(out->mount))
		return 0;
	snprintf(err, err_bytes, "no ClaudeFS is mounted on %s; see what is with: findmnt -t %s",
		 dir, CFS_FUSE_TYPE);
	return rc < 0 ? rc : -EINVAL;
}

int cfs_fuse_unmount(const char *dir, bool is_forced, char *err_out, uint32_t err_bytes)
{
	CFS_CLEANUP(place_fini) struct place p;
	int rc = place_of_mount(dir, &p, err_out, err_bytes);

	if (rc < 0)
		return rc;
	/* MNT_FORCE fails what is under way, MNT_DETACH then succeeds also while files are open. */
	if (is_forced && umount2(p.path, MNT_FORCE | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (umount2(p.path, (is_forced ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0)
		return 0;
	rc = -errno;
	if (rc == -EBUSY)
		snprintf(err_out, err_bytes,
			 "%s is in use; see by whom with: fuser -vm %s (or detach it with --force)",
			 p.path, p.path);
	else if (rc == -EPERM)
		snprintf(err_out, err_bytes, "no right to unmount %s; run as root", p.path);
	else
		snprintf(err_out, err_bytes, "unmount %s: %s", p.path, strerrordesc_np(-rc));
	return rc;
}

/* Whether the comma-separated @list has @word. */
static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += len)
		if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
			return true;
	return false;
}

int cfs_fuse_mount_flags(uint32_t major, uint32_t minor, unsigned long *flags_out)
{
	FILE *from = fopen("/proc/self/mountinfo", "re");
	char *text = NULL, options[256];
	size_t cap = 0;
	int rc = from ? -ENOENT : -errno;

	while (rc == -ENOENT && getline(&text, &cap, from) > 0) {
		uint32_t at_major, at_minor;

		if (sscanf(text, "%*u %*u %u:%u %*s %*s %255s", &at_major, &at_minor, options) !=
			    3 ||
		    at_major != major || at_minor != minor)
			continue;
		*flags_out = (list_has(options, "ro") ? MS_RDONLY : 0u) |
			     (list_has(options, "noatime") ? MS_NOATIME : 0u) |
			     (list_has(options, "nodiratime") ? MS_NODIRATIME : 0u);
		rc = 0;
	}
	free(text);
	if (from)
		fclose(from);
	return rc;
}

static int options_tell(const char *dir)
{
	char text[64];

	return getxattr(dir, CFS_FUSE_XATTR_OPTIONS, text, sizeof(text)) < 0 ? errno : 0;
}

int cfs_fuse_remount(const char *dir, unsigned long flags, char *err_out, uint32_t err_bytes)
{
	CFS_CLEANUP(place_fini) struct place p;
	int rc = place_of_mount(dir, &p, err_out, err_bytes);

	if (rc < 0)
		return rc;
	if (mount(p.mount->source, p.path, NULL, MS_REMOUNT | flags, NULL) == 0) {
		/* A process that hangs learns of them at its next mount. */
		(void)by_child(options_tell, p.path);
		return 0;
	}
	rc = -errno;
	snprintf(err_out, err_bytes, "remount of %s: %s", p.path, strerrordesc_np(-rc));
	return rc;
}

int cfs_fuse_mount_flag(const char *option, unsigned long *flags)
{
	static const struct {
		const char *name;
		unsigned long set, clear;
	} known[] = {
		{ "ro", MS_RDONLY, 0 },
		{ "rw", 0, MS_RDONLY },
		{ "nosuid", MS_NOSUID, 0 },
		{ "suid", 0, MS_NOSUID },
		{ "nodev", MS_NODEV, 0 },
		{ "dev", 0, MS_NODEV },
		{ "noexec", MS_NOEXEC, 0 },
		{ "exec", 0, MS_NOEXEC },
		{ "sync", MS_SYNCHRONOUS, 0 },
		{ "async", 0, MS_SYNCHRONOUS },
		{ "dirsync", MS_DIRSYNC, 0 },
		{ "noatime", MS_NOATIME, 0 },
		{ "atime", 0, MS_NOATIME },
		{ "nodiratime", MS_NODIRATIME, 0 },
		{ "diratime", 0, MS_NODIRATIME },
		{ "relatime", MS_RELATIME, 0 },
		{ "norelatime", 0, MS_RELATIME },
		{ "strictatime", MS_STRICTATIME, 0 },
		{ "lazytime", MS_LAZYTIME, 0 },
		{ "defaults", 0, 0 },
		{ "auto", 0, 0 },
		{ "noauto", 0, 0 },
		{ "user", 0, 0 },
		{ "nouser", 0, 0 },
		{ "users", 0, 0 },
		{ "owner", 0, 0 },
		{ "group", 0, 0 },
		{ "_netdev", 0, 0 },
		{ "nofail", 0, 0 },
		{ "allow_other", 0, 0 },
		{ "default_permissions", 0, 0 },
		{ "acl", 0, 0 }, /* these two always are */
		{ "user_xattr", 0, 0 },
	};

	if (strncmp(option, "x-", 2) == 0 || strncmp(option, "X-", 2) == 0 ||
	    strncmp(option, "comment=", 8) == 0 || option[0] == '\0')
		return 0;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(known); i++) {
		if (strcmp(option, known[i].name) != 0)
			continue;
		*flags = (*flags | known[i].set) & ~known[i].clear;
		return 0;
	}
	return -ENOENT;
}
