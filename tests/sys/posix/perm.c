/* Modes, owners, set-user-ID and set-group-ID. */
#include "posix.h"

#include <grp.h>

static mode_t mode_of(const char *path)
{
	return posix_lstat(path).st_mode & 07777;
}

static void chmod_bits(void)
{
	posix_make("f", "");
	for (mode_t m = 0; m < 010000; m += 0111) {
		OK(chmod("f", m));
		CHECK_EQ(mode_of("f"), m);
	}
	OK(mkdir("d", 0755));
	OK(chmod("d", 07777));
	CHECK_EQ(mode_of("d"), 07777);
	CHECK(S_ISDIR(posix_stat("d").st_mode));
	FAILS(ENOENT, chmod("x", 0644));
	OK(symlink("f", "l"));
	OK(chmod("l", 0644));
	CHECK_EQ(mode_of("f"), 0644);
	AS_USER(USER, USER)
	{
		FAILS(EPERM, chmod("f", 0666));
		FAILS(EPERM, chmod("d", 0755));
	}
}

static void chmod_group(void)
{
	posix_make("f", "");
	OK(chown("f", USER, OTHER));
	AS_USER(USER, USER)
	{
		/* chmod(2): not of the file's group: S_ISGID is turned off, without an error. */
		OK(chmod("f", 02755));
		CHECK_EQ(mode_of("f"), 0755);
		OK(chmod("f", 04755));
		CHECK_EQ(mode_of("f"), 04755);
	}
	OK(chown("f", USER, USER));
	AS_USER(USER, USER)
	{
		OK(chmod("f", 02755));
		CHECK_EQ(mode_of("f"), 02755);
	}
}

static void chown_ids(void)
{
	posix_make("f", "");
	OK(mkdir("d", 0755));
	OK(chown("f", USER, OTHER));
	CHECK_EQ(posix_stat("f").st_uid, USER);
	CHECK_EQ(posix_stat("f").st_gid, OTHER);
	OK(chown("f", (uid_t)-1, USER));
	CHECK_EQ(posix_stat("f").st_uid, USER);
	CHECK_EQ(posix_stat("f").st_gid, USER);
	OK(chown("d", USER, USER));
	CHECK_EQ(posix_stat("d").st_uid, USER);
	OK(chown("f", 4000000000u, 4000000001u));
	CHECK_EQ(posix_stat("f").st_uid, 4000000000u);
	CHECK_EQ(posix_stat("f").st_gid, 4000000001u);
	OK(chown("f", USER, USER));
	AS_USER(USER, USER)
	{
		FAILS(EPERM, chown("f", OTHER, (gid_t)-1));
		FAILS(EPERM, chown("f", (uid_t)-1, OTHER));
		OK(chown("f", (uid_t)-1, USER));
		OK(chown("f", (uid_t)-1, (gid_t)-1));
	}
	AS_USER(OTHER, OTHER)
	{
		FAILS(EPERM, chown("f", OTHER, OTHER));
	}
}

static void chown_suid(void)
{
	posix_make("f", "");
	OK(chown("f", USER, USER));
	OK(chmod("f", 06755));
	AS_USER(USER, USER)
	{
		OK(chown("f", (uid_t)-1, USER));
	}
	CHECK_EQ(mode_of("f"), 0755);
	OK(chmod("f", 06755));
	OK(chown("f", OTHER, OTHER));
	CHECK_EQ(mode_of("f"), 0755);
	/* Without group execute it is a mark for mandatory locks, and stays. */
	OK(chmod("f", 02745));
	OK(chown("f", USER, USER));
	CHECK_EQ(mode_of("f"), 02745);
	OK(mkdir("d", 0755));
	OK(chmod("d", 06755));
	OK(chown("d", USER, USER));
	CHECK_EQ(mode_of("d"), 06755);
}

static void write_suid(void)
{
	posix_make("f", "abc");
	for (int i = 0; i < 2; i++) {
		OK(chmod("f", 06777));
		AS_USER(USER, USER)
		{
			int fd = (int)OK(open("f", i ? O_WRONLY | O_APPEND : O_WRONLY));

			OK(write(fd, "x", 1));
		}
		CHECK_EQ(mode_of("f"), 0777);
	}
	OK(chmod("f", 06777));
	AS_USER(USER, USER)
	{
		OK(open("f", O_WRONLY | O_TRUNC));
	}
	CHECK_EQ(mode_of("f"), 0777);
	/* Root's writes leave it. */
	OK(chmod("f", 06777));
	posix_write_all((int)OK(open("f", O_WRONLY)), "y", 1, 0);
	CHECK_EQ(mode_of("f"), 06777);
}

static void setgid_directory(void)
{
	OK(mkdir("d", 0777));
	OK(chown("d", 0, OTHER));
	OK(chmod("d", 02777));
	AS_USER(USER, USER)
	{
		posix_make("d/f", "");
		OK(mkdir("d/e", 0755));
		OK(symlink("x", "d/l"));
		OK(mknod("d/p", S_IFIFO | 0644, 0));
	}
	CHECK_EQ(posix_stat("d/f").st_gid, OTHER);
	CHECK_EQ(mode_of("d/f"), 0644);
	CHECK_EQ(posix_stat("d/e").st_gid, OTHER);
	CHECK_EQ(mode_of("d/e"), 02755);
	CHECK_EQ(posix_lstat("d/l").st_gid, OTHER);
	CHECK_EQ(posix_lstat("d/p").st_gid, OTHER);
	CHECK_EQ(posix_stat("d/f").st_uid, USER);
	OK(mkdir("d/e/g", 0755));
	CHECK_EQ(mode_of("d/e/g"), 02755);
}

/* inode_init_owner(): a group executable S_ISGID file of a group one is not in loses the bit. */
static void setgid_create(void)
{
	OK(mkdir("d", 0777));
	OK(chown("d", 0, OTHER));
	OK(chmod("d", 02777));
	AS_USER(USER, USER)
	{
		umask(0);
		OK(open("d/f", O_CREAT | O_WRONLY, 02775));
		CHECK_EQ(mode_of("d/f"), 0775);
	}
}

/* Runs in a child as USER, in the group OTHER besides. */
static void as_member(void (*run)(void))
{
	IN_CHILD()
	{
		gid_t group = OTHER;

		OK(setgroups(1, &group));
		OK(setresgid(USER, USER, USER));
		OK(setresuid(USER, USER, USER));
		run();
	}
}

static void make_and_mark(void)
{
	umask(0);
	OK(close((int)OK(open("d/f", O_CREAT | O_WRONLY, 02775))));
	OK(mknod("d/p", S_IFREG | 02775, 0));
	OK(chmod("mine", 02775));
}

/* A supplementary group is one's own as well. */
static void setgid_member(void)
{
	posix_needs_root();
	OK(mkdir("d", 0777));
	OK(chown("d", 0, OTHER));
	OK(chmod("d", 02777));
	posix_make("mine", "");
	OK(chown("mine", USER, OTHER));
	as_member(make_and_mark);
	CHECK_EQ(mode_of("d/f"), 02775);
	CHECK_EQ(mode_of("d/p"), 02775);
	CHECK_EQ(mode_of("mine"), 02775);
	CHECK_EQ(posix_stat("d/f").st_gid, OTHER);
}

static void access_call(void)
{
	posix_make("f", "");
	OK(chown("f", USER, OTHER));
	OK(chmod("f", 0640));
	AS_USER(USER, USER)
	{
		OK(access("f", R_OK | W_OK));
		FAILS(EACCES, access("f", X_OK));
	}
	AS_USER(OTHER, OTHER)
	{
		OK(access("f", R_OK));
		FAILS(EACCES, access("f", W_OK));
	}
	AS_USER(1002, 1002)
	{
		OK(access("f", F_OK));
		FAILS(EACCES, access("f", R_OK));
	}
	OK(access("f", R_OK | W_OK));
	FAILS(EACCES, access("f", X_OK));
	FAILS(ENOENT, access("g", F_OK));
	/* The owner's bits count for the owner, also when they give less. */
	OK(chmod("f", 0077));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, access("f", R_OK));
	}
}

static void supplementary(void)
{
	gid_t groups[2] = { 1500, OTHER };

	OK(mkdir("d", 0755));
	OK(chown("d", 0, OTHER));
	OK(chmod("d", 0770));
	posix_make("d/f", "secret");
	OK(chown("d/f", 0, 1500));
	OK(chmod("d/f", 0060));
	AS_USER(USER, USER)
	{
		FAILS(EACCES, open("d/f", O_RDONLY));
	}
	IN_CHILD()
	{
		OK(setgroups(2, groups));
		OK(setresgid(USER, USER, USER));
		OK(setresuid(USER, USER, USER));
		CHECK(strcmp(posix_text("d/f"), "secret") == 0);
		posix_make("d/g", "");
		CHECK_EQ(posix_stat("d/g").st_gid, USER);
	}
	OK(chown("d/g", USER, USER));
	IN_CHILD()
	{
		OK(setgroups(2, groups));
		OK(setresgid(USER, USER, USER));
		OK(setresuid(USER, USER, USER));
		OK(chown("d/g", (uid_t)-1, OTHER));
	}
}

static void execute(void)
{
	int fd = (int)OK(open("run", O_CREAT | O_WRONLY, 0755));

	posix_write_all(fd, "#!/bin/sh\nexit 7\n", 17, 0);
	OK(close(fd));
	CHECK_EQ(OK(system("./run")) >> 8, 7);
	OK(chmod("run", 0644));
	CHECK_EQ(OK(system("./run 2>/dev/null")) >> 8, 126);
	fd = (int)OK(open("run", O_WRONLY));
	OK(close(fd));
}

static void umasks(void)
{
	umask(077);
	posix_make("f", "");
	OK(mkdir("d", 0777));
	OK(mknod("p", S_IFIFO | 0666, 0));
	CHECK_EQ(mode_of("f"), 0600);
	CHECK_EQ(mode_of("d"), 0700);
	CHECK_EQ(mode_of("p"), 0600);
	OK(symlink("x", "l"));
	CHECK_EQ(mode_of("l"), 0777);
}

const struct posix_case perm_cases[] = {
	{ "perm_chmod", "chmod(2): all bits; EPERM for others", chmod_bits },
	{ "perm_chmod_group", "chmod(2): S_ISGID of a strange group is dropped", chmod_group },
	{ "perm_chown", "chown(2): ids, -1, EPERM", chown_ids },
	{ "perm_chown_suid", "chown(2): clears S_ISUID and S_ISGID of executables", chown_suid },
	{ "perm_write_suid", "write(2): clears S_ISUID and S_ISGID for others", write_suid },
	{ "perm_setgid_directory", "inode(7): S_ISGID on a directory is inherited",
	  setgid_directory },
	{ "perm_setgid_create", "open(2): S_ISGID of a strange group is dropped", setgid_create },
	{ "perm_setgid_member", "open(2), chmod(2): and of a supplementary one is kept",
	  setgid_member },
	{ "perm_access", "access(2)", access_call },
	{ "perm_groups", "path_resolution(7): supplementary groups count", supplementary },
	{ "perm_execute", "execve(2): a script, and EACCES without the bit", execute },
	{ "perm_umask", "umask(2)", umasks },
	{ 0 },
};
