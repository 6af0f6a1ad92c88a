/* Names and paths at their limits. */
#include "posix.h"

static void fill(char *name, size_t len)
{
	memset(name, 'n', len);
	name[len] = 0;
}

static void longest(void)
{
	char name[300], other[300];

	fill(name, 255);
	fill(other, 255);
	other[0] = 'o';
	posix_make(name, "long");
	CHECK(strcmp(posix_text(name), "long") == 0);
	OK(rename(name, other));
	OK(link(other, name));
	OK(unlink(other));
	OK(symlink(name, other));
	CHECK(strcmp(posix_text(other), "long") == 0);
	OK(unlink(other));
	OK(unlink(name));
	OK(mkdir(name, 0755));
	OK(rmdir(name));
}

static void too_long(void)
{
	char name[300];

	posix_make("f", "");
	fill(name, 256);
	FAILS(ENAMETOOLONG, open(name, O_CREAT | O_WRONLY, 0644));
	FAILS(ENAMETOOLONG, open(name, O_RDONLY));
	FAILS(ENAMETOOLONG, mkdir(name, 0755));
	FAILS(ENAMETOOLONG, rmdir(name));
	FAILS(ENAMETOOLONG, unlink(name));
	FAILS(ENAMETOOLONG, rename("f", name));
	FAILS(ENAMETOOLONG, rename(name, "g"));
	FAILS(ENAMETOOLONG, link("f", name));
	FAILS(ENAMETOOLONG, symlink("f", name));
	FAILS(ENAMETOOLONG, mkfifo(name, 0644));
	FAILS(ENAMETOOLONG, truncate(name, 0));
	FAILS(ENAMETOOLONG, access(name, F_OK));
}

/* 4095 bytes of path are fine, 4096 are too many. */
static void paths(void)
{
	char *path = malloc(5000);
	size_t len = 0;

	CHECK(path);
	for (unsigned i = 0; i < 15; i++) {
		fill(path + len, 250);
		len += 250;
		OK(mkdir(path, 0755));
		strcpy(path + len++, "/");
	}
	fill(path + len, 200);
	len += 200;
	OK(mkdir(path, 0755));
	strcpy(path + len++, "/");
	fill(path + len, 4095 - len);
	CHECK_EQ(strlen(path), 4095);
	posix_make(path, "far");
	CHECK(strcmp(posix_text(path), "far") == 0);
	strcat(path, "n");
	FAILS(ENAMETOOLONG, open(path, O_RDONLY));
	FAILS(ENAMETOOLONG, mkdir(path, 0755));
	path[4095] = 0;
	OK(unlink(path));
}

static void bytes(void)
{
	char name[3] = "xx";

	for (unsigned c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		name[0] = (char)c;
		name[1] = 'b';
		OK(close((int)OK(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644))));
	}
	for (unsigned c = 1; c < 256; c++) {
		if (c == '/')
			continue;
		name[0] = (char)c;
		OK(unlink(name));
	}
}

static void odd(void)
{
	static const char *const names[] = {
		"...",      "..a", ".hidden",   " ",           "  lead",
		"trail ",   "-rf", "new\nline", "tab\t",       "\xc3\xa4\xc3\xb6\xc3\xbc",
		"\xff\xfe", "*",   "?",         "back\\slash", "a:b",
		"CON",      "~",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		posix_make(names[i], names[i]);
		CHECK(strcmp(posix_text(names[i]), names[i]) == 0);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		OK(unlink(names[i]));
}

static void cases_differ(void)
{
	posix_make("name", "1");
	posix_make("Name", "2");
	posix_make("NAME", "3");
	CHECK(strcmp(posix_text("name"), "1") == 0);
	CHECK(strcmp(posix_text("Name"), "2") == 0);
	/* Composed and decomposed are two names. */
	posix_make("\xc3\xa9", "composed");
	posix_make("e\xcc\x81", "decomposed");
	CHECK(strcmp(posix_text("\xc3\xa9"), "composed") == 0);
}

static void dots(void)
{
	OK(mkdir("d", 0755));
	posix_make("d/f", "x");
	CHECK(strcmp(posix_text("./d/./../d/f"), "x") == 0);
	CHECK(strcmp(posix_text("d//f"), "x") == 0);
	FAILS_EITHER(EISDIR, EBUSY, unlink("d/."));
	FAILS_EITHER(EISDIR, EBUSY, unlink("d/.."));
	FAILS(EEXIST, link("d/f", "d/."));
	FAILS(EEXIST, symlink("x", ".."));
	FAILS(ENOENT, open("d/f2/../f", O_RDONLY));
}

const struct posix_case name_cases[] = {
	{ "name_longest", "pathconf(3): NAME_MAX is 255", longest },
	{ "name_too_long", "ENAMETOOLONG from every call that takes a name", too_long },
	{ "name_paths", "PATH_MAX: 4095 bytes, then ENAMETOOLONG", paths },
	{ "name_bytes", "path_resolution(7): any byte but / and NUL", bytes },
	{ "name_odd", "names that scripts get wrong", odd },
	{ "name_case", "names are bytes: no folding, no normalization", cases_differ },
	{ "name_dots", "path_resolution(7): . and ..", dots },
	{ 0 },
};
