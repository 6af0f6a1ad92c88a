/* Files that come and go, with more names than one; and what is left of a file without a name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsx.h"

const char *name_path(struct run *r, unsigned dir, unsigned name)
{
	static char paths[4][4200];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s%u", r->opt.dir[dir], r->prefix, name);
	return path;
}

static unsigned some_dir(struct run *r)
{
	return (unsigned)pick(r, r->opt.dir_count);
}

unsigned name_of(struct run *r, const struct file *f)
{
	int index = (int)file_index(r, f);
	unsigned start = (unsigned)pick(r, r->name_count), at;

	for (unsigned i = 0; i < r->name_count; i++) {
		at = (start + i) % r->name_count;
		if (r->name[at] == index)
			return at;
	}
	failed(r, f, "has no name in the model");
}

struct file *names_file(struct run *r)
{
	unsigned start = (unsigned)pick(r, r->opt.files), at;

	for (unsigned i = 0; i < r->opt.files; i++) {
		at = (start + i) % r->opt.files;
		if (r->files[at].exists)
			return &r->files[at];
	}
	return NULL;
}

/* A name that has a file, or with @free one that has none; -1: there is none. */
static int some_name(struct run *r, bool free)
{
	unsigned start = (unsigned)pick(r, r->name_count), at;

	for (unsigned i = 0; i < r->name_count; i++) {
		at = (start + i) % r->name_count;
		if ((r->name[at] < 0) == free)
			return (int)at;
	}
	return -1;
}

static void check_links(struct run *r, struct file *f, unsigned dir)
{
	struct stat st;

	if (fstat(f->fd[dir][HOW_RW], &st) < 0)
		failed_errno(r, f, "fstat");
	if (st.st_nlink != f->links)
		failed(r, f, "has %" PRIu64 " links, want %u", (uint64_t)st.st_nlink, f->links);
	if (st.st_ino != f->ino)
		failed(r, f, "has another inode number");
}

static void create(struct run *r)
{
	int name = some_name(r, true), fd;
	struct file *f = r->files;
	unsigned dir = some_dir(r);

	while (f < r->files + r->opt.files && f->exists)
		f++;
	if (name < 0 || f == r->files + r->opt.files)
		return;
	note(r, "create", f, dir, (uint64_t)name, 0);
	fd = open(name_path(r, dir, (unsigned)name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		failed_errno(r, f, "open(O_CREAT | O_EXCL)");
	close(fd);
	f->exists = true;
	f->links = 1;
	r->name[name] = (int)(f - r->files);
	file_open_all(r, f, name_path(r, 0, (unsigned)name));
}

static void lose_name(struct run *r, unsigned name)
{
	struct file *f = &r->files[r->name[name]];

	f->links--;
	r->name[name] = -1;
}

/* A file without a name goes when nobody has it open. */
static void forget(struct run *r, struct file *f)
{
	file_verify(r, f);
	note(r, "close the last", f, 0, 0, 0);
	file_close(r, f);
	model_truncate(f, 0);
	f->exists = false;
}

static void remove_name(struct run *r)
{
	int name = some_name(r, false);
	unsigned dir = some_dir(r);
	struct file *f;

	if (name < 0)
		return;
	f = &r->files[r->name[name]];
	note(r, "unlink", f, dir, (uint64_t)name, 0);
	if (unlink(name_path(r, dir, (unsigned)name)) < 0)
		failed_errno(r, f, "unlink");
	lose_name(r, (unsigned)name);
	check_links(r, f, dir);
}

static void add_name(struct run *r)
{
	int from = some_name(r, false), to = some_name(r, true);
	unsigned dir = some_dir(r);
	struct file *f;

	if (from < 0 || to < 0)
		return;
	f = &r->files[r->name[from]];
	note(r, "link", f, dir, (uint64_t)from, (uint64_t)to);
	if (link(name_path(r, dir, (unsigned)from), name_path(r, dir, (unsigned)to)) < 0)
		failed_errno(r, f, "link");
	f->links++;
	r->name[to] = r->name[from];
	check_links(r, f, dir);
}

static void exchange(struct run *r, unsigned dir, unsigned from, unsigned to)
{
	struct file *f = &r->files[r->name[from]];
	int kept = r->name[to];

	note(r, "exchange", f, dir, from, to);
	if (renameat2(AT_FDCWD, name_path(r, dir, from), AT_FDCWD, name_path(r, dir, to),
		      RENAME_EXCHANGE) < 0)
		failed_errno(r, f, "renameat2(RENAME_EXCHANGE)");
	r->name[to] = r->name[from];
	r->name[from] = kept;
}

static void rename_name(struct run *r)
{
	int from = some_name(r, false), to = some_name(r, chance(r, 40));
	unsigned dir = some_dir(r);
	struct file *f;

	if (from < 0 || to < 0)
		return;
	f = &r->files[r->name[from]];
	if (from != to && r->name[to] >= 0 && chance(r, 30)) {
		exchange(r, dir, (unsigned)from, (unsigned)to);
		return;
	}
	note(r, "rename", f, dir, (uint64_t)from, (uint64_t)to);
	if (rename(name_path(r, dir, (unsigned)from), name_path(r, dir, (unsigned)to)) < 0)
		failed_errno(r, f, "rename");
	if (r->name[to] == r->name[from]) /* names of one file: nothing happens */
		return;
	if (r->name[to] >= 0)
		lose_name(r, (unsigned)to);
	r->name[to] = r->name[from];
	r->name[from] = -1;
	check_links(r, f, dir);
}

static void check_name(struct run *r, unsigned dir, unsigned name)
{
	struct file *f = r->name[name] < 0 ? &r->files[0] : &r->files[r->name[name]];
	struct stat st;

	if (stat(name_path(r, dir, name), &st) < 0) {
		if (errno != ENOENT || r->name[name] >= 0)
			failed(r, f, "stat of name %u: %s", name, strerror(errno));
		return;
	}
	if (r->name[name] < 0)
		failed(r, f, "name %u is there", name);
	if (st.st_ino != f->ino || (uint64_t)st.st_size != f->size_bytes || st.st_nlink != f->links)
		failed(r, f,
		       "name %u: inode %" PRIu64 " size %" PRIu64 " links %" PRIu64
		       ", want %" PRIu64 ", %" PRIu64 ", %u",
		       name, (uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_nlink,
		       f->ino, f->size_bytes, f->links);
}

static void check_listing(struct run *r, unsigned dir)
{
	bool seen[NAMES_MAX] = { false };
	size_t prefix_len = strlen(r->prefix);
	DIR *listing = opendir(r->opt.dir[dir]);
	struct dirent *entry;
	unsigned long name;

	if (!listing)
		failed_errno(r, &r->files[0], "opendir");
	while ((errno = 0, entry = readdir(listing))) {
		if (strncmp(entry->d_name, r->prefix, prefix_len) != 0)
			continue;
		name = strtoul(entry->d_name + prefix_len, NULL, 10);
		if (name >= r->name_count || r->name[name] < 0 || seen[name])
			failed(r, &r->files[0], "readdir says %s%s", entry->d_name,
			       name < r->name_count && seen[name] ? " twice" : "");
		if (entry->d_ino != r->files[r->name[name]].ino)
			failed(r, &r->files[r->name[name]], "readdir has another inode for %s",
			       entry->d_name);
		seen[name] = true;
	}
	if (errno)
		failed_errno(r, &r->files[0], "readdir");
	closedir(listing);
	for (unsigned i = 0; i < r->name_count; i++) {
		if (r->name[i] >= 0 && !seen[i])
			failed(r, &r->files[r->name[i]], "readdir does not say %u", i);
	}
}

void names_verify(struct run *r)
{
	unsigned dir = some_dir(r);

	for (unsigned i = 0; i < r->opt.files; i++) {
		if (r->files[i].exists) {
			file_verify(r, &r->files[i]);
			check_links(r, &r->files[i], dir);
		}
	}
	for (unsigned i = 0; i < r->name_count; i++)
		check_name(r, dir, i);
	check_listing(r, dir);
}

void names_step(struct run *r)
{
	struct file *f;

	switch (pick(r, 6)) {
	case 0:
		create(r);
		break;
	case 1:
		remove_name(r);
		break;
	case 2:
		add_name(r);
		break;
	case 3:
		rename_name(r);
		break;
	case 4:
		check_name(r, some_dir(r), (unsigned)pick(r, r->name_count));
		break;
	default:
		f = names_file(r);
		if (f && !f->links && chance(r, 50))
			forget(r, f);
	}
}

void names_start(struct run *r)
{
	r->name_count = r->opt.files > 1 ? 2 * r->opt.files : 1;
	for (unsigned i = 0; i < NAMES_MAX; i++)
		r->name[i] = -1;
	create(r);
}

void names_end(struct run *r)
{
	names_verify(r);
	for (unsigned i = 0; i < r->name_count; i++) {
		if (r->name[i] >= 0 && unlink(name_path(r, 0, i)) < 0)
			failed_errno(r, &r->files[r->name[i]], "unlink");
	}
	for (unsigned i = 0; i < r->opt.files; i++) {
		if (r->files[i].exists)
			file_close(r, &r->files[i]);
	}
}
