#include "client/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "proto/place.h"

/* The part at *@rest; moves behind it and its slashes. Its length, 0 at the end. */
static size_t next_part(char **rest, char **part_out)
{
	size_t len;

	while (**rest == '/')
		(*rest)++;
	*part_out = *rest;
	len = strcspn(*rest, "/");
	*rest += len;
	return len;
}

static bool is_last(const char *rest)
{
	return rest[strspn(rest, "/")] == '\0';
}

/* What the link @ino says, then @rest: malloc'd. */
static CFS_AWAITS int splice_link(struct cfs_client_op *op, uint64_t ino, const char *rest,
				  char **out)
{
	struct cfs_client_bytes target = { 0 };
	int rc = cfs_client_readlink(op, ino, &target);
	size_t rest_bytes = strlen(rest);

	if (rc < 0)
		return rc;
	if (target.len_bytes == 0 || target.len_bytes + rest_bytes > CFS_PATH_BYTES_MAX)
		rc = target.len_bytes == 0 ? -ENOENT : -ENAMETOOLONG;
	*out = rc == 0 ? malloc(target.len_bytes + rest_bytes + 1) : NULL;
	if (rc == 0 && !*out)
		rc = -ENOMEM;
	if (rc == 0) {
		memcpy(*out, target.p, target.len_bytes);
		memcpy(*out + target.len_bytes, rest, rest_bytes + 1);
	}
	cfs_client_bytes_fini(&target);
	return rc;
}

/* Where the walk is: the directory @at, whose attributes they are. */
static CFS_AWAITS int enter(struct cfs_client_op *op, uint64_t ino, struct cfs_attr *at)
{
	return cfs_client_getattr(op, ino, at);
}

static CFS_AWAITS int step_dots(struct cfs_client_op *op, size_t len, struct cfs_attr *at,
				struct cfs_walk *out)
{
	out->last[0] = '\0';
	return len == 1 || at->ino == CFS_INO_ROOT ? 0 : enter(op, at->parent, at);
}

static CFS_AWAITS int step_name(struct cfs_client_op *op, const char *part, size_t len,
				const struct cfs_attr *at, struct cfs_walk *out)
{
	int rc;

	if (!S_ISDIR(at->mode))
		return -ENOTDIR;
	if (len > CFS_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	memcpy(out->last, part, len);
	out->last[len] = '\0';
	out->dir = at->ino;
	rc = cfs_client_lookup(op, at->ino, (struct cfs_client_name){ out->last, (uint32_t)len },
			       &out->attr);
	out->exists = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

/* Walks @path, or up to a link in it: then *@link_out is the rest of the way. */
static CFS_AWAITS int walk_once(struct cfs_client_op *op, const char *path, bool follows,
				struct cfs_attr *at, struct cfs_walk *out, char **link_out)
{
	CFS_CLEANUP(cfs_free_p) char *text = strdup(path);
	char *rest = text, *part;
	size_t len;
	int rc = text ? 0 : -ENOMEM;

	if (rc == 0 && text[0] == '/')
		rc = enter(op, CFS_INO_ROOT, at);
	while (rc == 0 && (len = next_part(&rest, &part)) > 0) {
		if (part[0] == '.' && (len == 1 || (len == 2 && part[1] == '.'))) {
			rc = step_dots(op, len, at, out);
			out->attr = *at;
			out->exists = true;
			continue;
		}
		rc = step_name(op, part, len, at, out);
		if (rc < 0)
			break;
		if (!out->exists)
			return is_last(rest) ? 0 : -ENOENT;
		if (S_ISLNK(out->attr.mode) && (follows || !is_last(rest)))
			return splice_link(op, out->attr.ino, rest, link_out);
		*at = out->attr;
	}
	if (rc == 0 && out->last[0] == '\0') {
		out->attr = *at;
		out->exists = true;
	}
	/* A slash at the end wants a directory. */
	if (rc == 0 && rest > text && rest[-1] == '/' && out->exists && !S_ISDIR(out->attr.mode))
		rc = -ENOTDIR;
	return rc;
}

int cfs_walk(struct cfs_client_op *op, const char *path, bool follows, struct cfs_walk *out)
{
	CFS_CLEANUP(cfs_free_p) char *way = NULL;
	struct cfs_attr at;
	int rc;

	if (path[0] == '\0')
		return -ENOENT;
	if (strlen(path) > CFS_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	memset(out, 0, sizeof(*out));
	rc = enter(op, CFS_INO_ROOT, &at);
	for (uint32_t links = 0; rc == 0; links++) {
		char *next = NULL;

		if (links > CFS_WALK_LINKS_MAX)
			return -ELOOP;
		rc = walk_once(op, way ? way : path, follows, &at, out, &next);
		if (!next)
			break;
		free(way);
		way = next;
	}
	return rc;
}
