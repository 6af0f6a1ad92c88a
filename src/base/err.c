#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"

struct err_row {
	int code;
	int class_errno;
	const char *name;
	const char *text;
};

static const struct err_row rows[] = {
#define X(name, number, class, text) { number, class, #name, text },
	CFS_ERR_TABLE(X)
#undef X
};

static const struct err_row *row_of(int rc)
{
	for (size_t i = 0; i < CFS_ARRAY_COUNT(rows); i++)
		if (-rows[i].code == rc)
			return &rows[i];
	return NULL;
}

const char *cfs_err_name(int rc)
{
	const struct err_row *row;
	const char *name;

	if (rc >= 0)
		return "OK";
	row = row_of(rc);
	if (row)
		return row->name;
	name = rc > -CFS_ERR_BASE ? strerrorname_np(-rc) : NULL;
	return name ? name : "UNKNOWN";
}

const char *cfs_err_text(int rc)
{
	const struct err_row *row;
	const char *text;

	if (rc >= 0)
		return "success";
	row = row_of(rc);
	if (row)
		return row->text;
	text = rc > -CFS_ERR_BASE ? strerrordesc_np(-rc) : NULL;
	return text ? text : "unknown error";
}

int cfs_err_class(int rc)
{
	const struct err_row *row;

	if (rc >= 0)
		return rc;
	row = row_of(rc);
	if (row)
		return -row->class_errno;
	/* A number that is neither ours nor the kernel's came from a peer or is a bug: never
	 * leaked. */
	return rc > -CFS_ERR_BASE ? rc : -EIO;
}
