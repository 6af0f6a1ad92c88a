/* POSIX ACLs: what a value may be, that it and the mode change together, what is inherited; on one
 * shard and over several, over crashes and with several clients at once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/reactor.h"
#include "harness.h"
#include "lib/counts.h"
#include "lib/test_fiber.h"
#include "meta/acl.h"

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static const struct harness_opts one = { .shards = 1, .stores = 1 };
static const struct harness_opts eight = { .shards = 8, .stores = 3, .delay_max_ns = 200000 };

struct acl {
	uint8_t bytes[CFS_ACL_BYTES_MAX + 16];
	uint32_t len;
};

static void acl_init(struct acl *a)
{
	*a = (struct acl){ .bytes = { 2 }, .len = 4 };
}

static void acl_add(struct acl *a, uint32_t tag, uint32_t perm, uint32_t id)
{
	struct cfs_acl_entry e = { cfs_to_le16((uint16_t)tag), cfs_to_le16((uint16_t)perm),
				   cfs_to_le32(id) };

	assert_true(a->len + sizeof(e) <= sizeof(a->bytes));
	memcpy(a->bytes + a->len, &e, sizeof(e));
	a->len += sizeof(e);
}

/* "u7 U5:1000 g5 G4:50 m5 o0": letters are tags, capital ones with an id. */
static struct acl acl_of(const char *text)
{
	static const struct {
		char letter;
		uint32_t tag;
	} tags[] = { { 'u', CFS_ACL_USER_OBJ },
		     { 'U', CFS_ACL_USER },
		     { 'g', CFS_ACL_GROUP_OBJ },
		     { 'G', CFS_ACL_GROUP },
		     { 'm', CFS_ACL_MASK },
		     { 'o', CFS_ACL_OTHER },
		     { 'x', 0x40 },
		     { 'y', 0x03 },
		     { 'z', 0 } };
	struct acl a;

	acl_init(&a);
	while (*text) {
		uint32_t tag = 0, perm = (uint32_t)(text[1] - '0'), id = UINT32_MAX;

		for (size_t k = 0; k < sizeof(tags) / sizeof(tags[0]); k++)
			if (tags[k].letter == *text)
				tag = tags[k].tag;
		text += 2;
		if (*text == ':') {
			char *end;

			id = (uint32_t)strtoul(text + 1, &end, 10);
			text = end;
		}
		acl_add(&a, tag, perm, id);
		while (*text == ' ')
			text++;
	}
	return a;
}

static struct cfs_bytes bytes_of(const struct acl *a)
{
	return (struct cfs_bytes){ a->bytes, a->len };
}

static int check_text(const char *text)
{
	struct acl a = acl_of(text);

	return cfs_acl_check(bytes_of(&a));
}

static void what_an_acl_may_be(void **state)
{
	struct acl a = acl_of("u7 g5 o0");

	(void)state;
	assert_int_equal(cfs_acl_check(bytes_of(&a)), 0);
	/* Ids need no order: so the kernel has it. */
	assert_int_equal(check_text("u7 U1:5 U7:5 U2:3 g5 G1:9 m7 o0"), 0);
	assert_int_equal(check_text("u7 g5 m7 o0"), 0);
	assert_int_equal(check_text("u7 g5 G4:0 m7 o0"), 0);
	assert_int_equal(check_text(""), -EINVAL);
	assert_int_equal(check_text("u7"), -EINVAL);
	assert_int_equal(check_text("u7 g5"), -EINVAL);
	assert_int_equal(check_text("g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 o0"), -EINVAL);
	assert_int_equal(check_text("u7 u7 g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 o0 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 m5 m5 o0"), -EINVAL);
	assert_int_equal(check_text("g5 u7 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 U5:1 m7 o0"), -EINVAL);
	assert_int_equal(check_text("u7 G5:1 g5 m7 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 m7 G5:1 o0"), -EINVAL);
	/* A named user or group needs a mask and an id. */
	assert_int_equal(check_text("u7 U5:1 g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 G5:1 o0"), -EINVAL);
	assert_int_equal(check_text("u7 U5 g5 m7 o0"), -EINVAL);
	assert_int_equal(check_text("u7 g5 G5 m7 o0"), -EINVAL);
	assert_int_equal(check_text("u8 g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 x5 g5 o0"), -EINVAL);
	assert_int_equal(check_text("y7 g5 o0"), -EINVAL);
	assert_int_equal(check_text("u7 z5 g5 o0"), -EINVAL);
	a.len--;
	assert_int_equal(cfs_acl_check(bytes_of(&a)), -EINVAL);
	a.len++;
	a.bytes[0] = 1;
	assert_int_equal(cfs_acl_check(bytes_of(&a)), -EINVAL);
	assert_false(cfs_acl_is_empty((struct cfs_bytes){ a.bytes, 4 }));
	a.bytes[0] = 2;
	assert_true(cfs_acl_is_empty((struct cfs_bytes){ a.bytes, 4 }));
	assert_true(cfs_acl_is_empty((struct cfs_bytes){ 0 }));
	assert_false(cfs_acl_is_empty((struct cfs_bytes){ a.bytes, 3 }));
}

static void as_many_entries_as_fit(void **state)
{
	struct acl a;

	(void)state;
	for (uint32_t more = 0; more < 2; more++) {
		acl_init(&a);
		acl_add(&a, CFS_ACL_USER_OBJ, 7, 0);
		for (uint32_t k = 0; k < CFS_ACL_ENTRIES_MAX - 4 + more; k++)
			acl_add(&a, CFS_ACL_USER, 5, k);
		acl_add(&a, CFS_ACL_GROUP_OBJ, 5, 0);
		acl_add(&a, CFS_ACL_MASK, 5, 0);
		acl_add(&a, CFS_ACL_OTHER, 5, 0);
		assert_int_equal(cfs_acl_check(bytes_of(&a)), more ? -E2BIG : 0);
	}
}

static void an_acl_as_a_mode(void **state)
{
	struct acl a = acl_of("u7 g5 o1"), b = acl_of("u6 U7:9 g4 m3 o0"),
		   c = acl_of("u6 g4 m3 o0");

	(void)state;
	assert_int_equal(cfs_acl_perm(bytes_of(&a)), 0751);
	assert_true(cfs_acl_is_minimal(bytes_of(&a)));
	assert_int_equal(cfs_acl_perm(bytes_of(&b)), 0630);
	assert_false(cfs_acl_is_minimal(bytes_of(&b)));
	assert_int_equal(cfs_acl_perm(bytes_of(&c)), 0630);
	assert_false(cfs_acl_is_minimal(bytes_of(&c)));
	cfs_acl_chmod(a.bytes, a.len, S_IFREG | 04642);
	assert_int_equal(cfs_acl_perm(bytes_of(&a)), 0642);
	cfs_acl_chmod(b.bytes, b.len, 0715);
	c = acl_of("u7 U7:9 g4 m1 o5");
	assert_int_equal(b.len, c.len);
	assert_memory_equal(b.bytes, c.bytes, c.len);
}

/* --- of inodes --- */

static CFS_AWAITS int set(struct harness *h, uint64_t ino, const char *name, const char *text)
{
	struct acl a = acl_of(text);

	return hs_setxattr(h, ino, name, a.bytes, a.len, 0);
}

static CFS_AWAITS int drop(struct harness *h, uint64_t ino, const char *name)
{
	return hs_setxattr(h, ino, name, "", 0, 0);
}

static CFS_AWAITS void expect(struct harness *h, uint64_t ino, const char *name, const char *text)
{
	struct acl want = acl_of(text ? text : "");
	static uint8_t got[CFS_ACL_BYTES_MAX];
	int rc = hs_getxattr(h, ino, name, got, sizeof(got));

	if (!text) {
		assert_int_equal(rc, -ENODATA);
		return;
	}
	assert_int_equal(rc, (int)want.len);
	assert_memory_equal(got, want.bytes, want.len);
}

static CFS_AWAITS uint32_t mode_of(struct harness *h, uint64_t ino)
{
	struct cfs_attr a;

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return a.mode & 07777;
}

static CFS_AWAITS bool has_flag(struct harness *h, uint64_t ino)
{
	struct cfs_attr a;

	assert_int_equal(hs_getattr(h, ino, &a), 0);
	return a.iflags & CFS_IFLAG_ACL;
}

CFS_TEST_SIM(an_access_acl_sets_the_mode)
{
	struct harness *h = harness_new(&one);
	struct cfs_attr before, after;
	uint64_t f;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 06644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_getattr(h, f, &before), 0);
	assert_false(has_flag(h, f));
	assert_int_equal(set(h, f, ACCESS, "u7 U5:1000 g5 m4 o1"), 0);
	expect(h, f, ACCESS, "u7 U5:1000 g5 m4 o1");
	assert_int_equal(mode_of(h, f), 06741);
	assert_true(has_flag(h, f));
	assert_int_equal(hs_getattr(h, f, &after), 0);
	assert_true(after.ctime > before.ctime);
	assert_int_equal(after.mtime, before.mtime);
	/* The mode changes it, and only it: a named user stays. */
	assert_int_equal(hs_chmod(h, f, 0620), 0);
	expect(h, f, ACCESS, "u6 U5:1000 g5 m2 o0");
	/* What the mode says alone is not kept. */
	assert_int_equal(set(h, f, ACCESS, "u6 g4 o4"), 0);
	expect(h, f, ACCESS, NULL);
	assert_int_equal(mode_of(h, f), 0644);
	assert_false(has_flag(h, f));
	assert_int_equal(set(h, f, ACCESS, "u6 g4 m7 o4"), 0);
	expect(h, f, ACCESS, "u6 g4 m7 o4");
	assert_int_equal(mode_of(h, f), 0674);
	/* Removing it leaves the mode. */
	assert_int_equal(drop(h, f, ACCESS), 0);
	assert_int_equal(mode_of(h, f), 0674);
	expect(h, f, ACCESS, NULL);
	assert_int_equal(drop(h, f, ACCESS), 0);
	/* Who may not set set-gid loses it. */
	assert_int_equal(hs_chmod(h, f, 06755), 0);
	{
		struct acl a = acl_of("u7 U5:1 g5 m5 o5");

		assert_int_equal(hs_setxattr(h, f, ACCESS, a.bytes, a.len, CFS_F_KILLPRIV), 0);
	}
	assert_int_equal(mode_of(h, f), 04755);
	harness_finish(h);
}

CFS_TEST_SIM(what_is_refused)
{
	struct harness *h = harness_new(&one);
	uint64_t f, d, l;

	assert_int_equal(hs_create(h, HARNESS_ROOT, "f", 0644, CFS_F_EXCL, &f), 0);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_symlink(h, HARNESS_ROOT, "l", "f", &l), 0);
	assert_int_equal(hs_setxattr(h, f, ACCESS, "\2\0\0\0\1", 5, 0), -EINVAL);
	assert_int_equal(hs_setxattr(h, f, ACCESS, "\1\0\0\0", 4, 0), -EINVAL);
	assert_int_equal(set(h, f, ACCESS, "u7 U5:1 g5 o5"), -EINVAL);
	assert_int_equal(set(h, f, DEFAULT, "u7 g5 o5"), -EACCES);
	assert_int_equal(drop(h, f, DEFAULT), 0);
	assert_int_equal(set(h, d, DEFAULT, "u7 o5"), -EINVAL);
	assert_int_equal(set(h, l, ACCESS, "u7 g5 o5"), -EOPNOTSUPP);
	assert_int_equal(set(h, l, DEFAULT, "u7 g5 o5"), -EOPNOTSUPP);
	assert_int_equal(mode_of(h, f), 0644);
	/* A header alone removes, as the kernel has it. */
	assert_int_equal(set(h, f, ACCESS, "u7 U5:1 g5 m5 o5"), 0);
	assert_int_equal(hs_setxattr(h, f, ACCESS, "\2\0\0\0", 4, 0), 0);
	expect(h, f, ACCESS, NULL);
	/* A default ACL that says no more than a mode is kept: there is no other place for it. */
	assert_int_equal(set(h, d, DEFAULT, "u7 g5 o0"), 0);
	expect(h, d, DEFAULT, "u7 g5 o0");
	assert_int_equal(mode_of(h, d), 0755);
	harness_finish(h);
}

/* By CREATE or MKDIR, with a umask. */
static CFS_AWAITS int make(struct harness *h, uint16_t op, uint64_t dir, const char *name,
			   uint32_t mode, struct cfs_attr *out)
{
	struct cfs_msg m = { .op = op };
	struct cfs_net_reply r;
	int rc;

	cfs_msg_set(&m, ino, dir);
	cfs_msg_set_bytes(&m, name, (const uint8_t *)name, (uint32_t)strlen(name));
	cfs_msg_set(&m, mode, mode);
	cfs_msg_set(&m, uid, 5);
	cfs_msg_set(&m, gid, 6);
	cfs_msg_set(&m, umask, 027);
	if (op == CFS_OP_CREATE)
		cfs_msg_set(&m, flags, *name ? CFS_F_EXCL : CFS_F_TMPFILE);
	rc = harness_call(h, &m, &r);
	if (rc == 0)
		rc = cfs_attr_decode(r.msg.attr.p, r.msg.attr.len, out);
	cfs_net_reply_fini(&r);
	return rc;
}

CFS_TEST_SIM(inherited)
{
	struct harness *h = harness_new(&eight);
	struct cfs_attr a;
	uint64_t d, sub;
	int others = 0;

	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(make(h, CFS_OP_CREATE, d, "plain", S_IFREG | 0666, &a), 0);
	assert_int_equal(a.mode & 07777, 0640);
	assert_int_equal(make(h, CFS_OP_MKDIR, d, "plain-dir", 0777, &a), 0);
	assert_int_equal(a.mode & 07777, 0750);
	assert_int_equal(set(h, d, DEFAULT, "u7 U7:1000 g5 m7 o1"), 0);
	assert_int_equal(make(h, CFS_OP_CREATE, d, "f", S_IFREG | 0666, &a), 0);
	assert_int_equal(a.mode & 07777, 0660);
	assert_true(a.iflags & CFS_IFLAG_ACL);
	expect(h, a.ino, ACCESS, "u6 U7:1000 g5 m6 o0");
	expect(h, a.ino, DEFAULT, NULL);
	assert_int_equal(mode_of(h, a.ino), 0660);
	assert_int_equal(make(h, CFS_OP_CREATE, d, "p", S_IFIFO | 0602, &a), 0);
	expect(h, a.ino, ACCESS, "u6 U7:1000 g5 m0 o0");
	assert_int_equal(make(h, CFS_OP_CREATE, d, "", S_IFREG | 0640, &a), 0);
	expect(h, a.ino, ACCESS, "u6 U7:1000 g5 m4 o0");
	/* Wherever a subdirectory's home is. */
	for (int k = 0; k < 16; k++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", k);
		assert_int_equal(make(h, CFS_OP_MKDIR, d, name, 0775, &a), 0);
		assert_int_equal(a.mode & 07777, 0771);
		assert_true(a.iflags & CFS_IFLAG_ACL);
		expect(h, a.ino, ACCESS, "u7 U7:1000 g5 m7 o1");
		expect(h, a.ino, DEFAULT, "u7 U7:1000 g5 m7 o1");
		others += cfs_ino_home(a.ino) != cfs_ino_home(d);
	}
	assert_true(others > 4);
	assert_int_equal(hs_symlink(h, d, "l", "target", &sub), 0);
	expect(h, sub, ACCESS, NULL);
	/* One that says no more than a mode leaves files without. */
	assert_int_equal(set(h, d, DEFAULT, "u6 g4 o2"), 0);
	assert_int_equal(make(h, CFS_OP_CREATE, d, "g", S_IFREG | 0766, &a), 0);
	assert_int_equal(a.mode & 07777, 0642);
	assert_false(a.iflags & CFS_IFLAG_ACL);
	expect(h, a.ino, ACCESS, NULL);
	assert_int_equal(make(h, CFS_OP_MKDIR, d, "t", 0777, &a), 0);
	expect(h, a.ino, ACCESS, NULL);
	expect(h, a.ino, DEFAULT, "u6 g4 o2");
	assert_int_equal(drop(h, d, DEFAULT), 0);
	assert_int_equal(make(h, CFS_OP_CREATE, d, "i", S_IFREG | 0666, &a), 0);
	assert_int_equal(a.mode & 07777, 0640);
	harness_finish(h);
}

/* The largest ACL: in a new directory of another shard, and changed there. */
CFS_TEST_SIM(large_ones)
{
	struct harness *h = harness_new(&eight);
	static uint8_t got[CFS_ACL_BYTES_MAX];
	struct cfs_attr a;
	struct acl big;
	uint64_t d;

	acl_init(&big);
	acl_add(&big, CFS_ACL_USER_OBJ, 7, UINT32_MAX);
	for (uint32_t k = 0; k < CFS_ACL_ENTRIES_MAX - 4; k++)
		acl_add(&big, CFS_ACL_USER, k % 8, k);
	acl_add(&big, CFS_ACL_GROUP_OBJ, 5, UINT32_MAX);
	acl_add(&big, CFS_ACL_MASK, 7, UINT32_MAX);
	acl_add(&big, CFS_ACL_OTHER, 5, UINT32_MAX);
	assert_int_equal(hs_mkdir(h, HARNESS_ROOT, "d", &d), 0);
	assert_int_equal(hs_setxattr(h, d, DEFAULT, big.bytes, big.len, 0), 0);
	for (int k = 0; k < 8; k++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", k);
		assert_int_equal(make(h, CFS_OP_MKDIR, d, name, 0777, &a), 0);
		assert_int_equal(hs_getxattr(h, a.ino, ACCESS, got, sizeof(got)), (int)big.len);
		assert_memory_equal(got, big.bytes, big.len);
		assert_int_equal(hs_getxattr(h, a.ino, DEFAULT, got, sizeof(got)), (int)big.len);
		assert_memory_equal(got, big.bytes, big.len);
		assert_int_equal(hs_chmod(h, a.ino, 0700), 0);
		assert_int_equal(hs_setxattr(h, a.ino, ACCESS, big.bytes, big.len, 0), 0);
		assert_int_equal(mode_of(h, a.ino), 0775);
	}
	assert_int_equal(make(h, CFS_OP_CREATE, d, "f", S_IFREG | 0777, &a), 0);
	harness_quiesce(h);
	harness_checkpoint(h);
	harness_stop(h);
	harness_start(h);
	assert_int_equal(hs_getxattr(h, a.ino, ACCESS, got, sizeof(got)), (int)big.len);
	assert_true(has_flag(h, a.ino));
	assert_int_equal(mode_of(h, a.ino), 0775);
	harness_finish(h);
}

/* --- over shards --- */

/* A directory whose parent is in another shard. */
static CFS_AWAITS uint64_t far_dir(struct harness *h)
{
	char name[16];
	uint64_t ino;

	for (int k = 0;; k++) {
		snprintf(name, sizeof(name), "d%d", k);
		assert_int_equal(hs_mkdir(h, HARNESS_ROOT, name, &ino), 0);
		if (cfs_ino_home(ino) != cfs_ino_home(HARNESS_ROOT))
			return ino;
	}
}

struct scene {
	struct harness *h;
	uint64_t d;
	int rc[6];
	bool is_done;
};

static CFS_AWAITS void work(void *arg)
{
	struct scene *s = arg;
	uint64_t ino;

	s->rc[0] = set(s->h, s->d, ACCESS, "u7 U5:1000 g0 m5 o0");
	s->rc[1] = set(s->h, s->d, DEFAULT, "u7 U7:1000 g5 m7 o5");
	s->rc[2] = hs_chmod(s->h, s->d, 0770);
	s->rc[3] = hs_mkdir(s->h, s->d, "sub", &ino);
	s->rc[4] = set(s->h, s->d, ACCESS, "u7 g5 o5");
	s->rc[5] = hs_chmod(s->h, ino, 0711);
	s->is_done = true;
}

static CFS_AWAITS void check_work(struct scene *s)
{
	uint64_t sub;

	for (int k = 0; k < 6; k++) {
		if (s->rc[k])
			fail_msg("operation %d: %s", k, cfs_err_name(s->rc[k]));
	}
	assert_int_equal(hs_lookup(s->h, s->d, "sub", &sub), 0);
	assert_int_equal(mode_of(s->h, s->d), 0755);
	expect(s->h, s->d, ACCESS, NULL);
	expect(s->h, s->d, DEFAULT, "u7 U7:1000 g5 m7 o5");
	assert_int_equal(mode_of(s->h, sub), 0711);
	expect(s->h, sub, ACCESS, "u7 U7:1000 g5 m1 o1");
	expect(s->h, sub, DEFAULT, "u7 U7:1000 g5 m7 o5");
}

static CFS_AWAITS struct scene new_scene(void)
{
	struct scene s = { .h = harness_new(&eight) };

	s.d = far_dir(s.h);
	harness_quiesce(s.h);
	harness_sync(s.h);
	return s;
}

static CFS_AWAITS void die_at_every_message(bool is_power_cut)
{
	struct scene s = new_scene();
	uint64_t messages = s.h->messages;

	work(&s);
	check_work(&s);
	harness_quiesce(s.h);
	messages = s.h->messages - messages;
	harness_finish(s.h);
	for (uint64_t at = 1; at <= messages; at++) {
		struct cfs_group g;

		s = new_scene();
		cfs_group_init(&g);
		s.h->crash_at = s.h->messages + at;
		assert_int_equal(cfs_group_start(&g, work, &s), 0);
		while (!s.h->is_crashing && !s.is_done)
			cfs_sleep_ns(100000);
		for (int i = 0; !s.h->is_crashing && i < 50; i++)
			cfs_sleep_ns(1000000);
		harness_kill(s.h, is_power_cut);
		harness_start(s.h);
		cfs_group_join(&g);
		if (!is_power_cut)
			check_work(&s);
		harness_quiesce(s.h);
		if (harness_check(s.h))
			fail_msg("died at message %llu", (unsigned long long)at);
		harness_fini(s.h);
		free(s.h);
	}
}

CFS_TEST_SIM(killed_at_every_message)
{
	die_at_every_message(false);
}

CFS_TEST_SIM(power_cut_at_every_message)
{
	die_at_every_message(true);
}

struct changer {
	struct harness *h;
	uint64_t d;
	int kind;
};

static CFS_AWAITS void change_run(void *arg)
{
	struct changer *c = arg;

	for (uint32_t k = 0; k < 12; k++) {
		struct cfs_msg m = { .op = CFS_OP_SETATTR };
		struct cfs_net_reply r;
		char text[32];

		switch (c->kind) {
		case 0:
			snprintf(text, sizeof(text), "u7 U7:%u g%u m%u o%u", k, k % 8, k * 3 % 8,
				 k * 5 % 8);
			assert_int_equal(set(c->h, c->d, ACCESS, k % 4 == 3 ? "u7 g7 o7" : text),
					 0);
			break;
		case 1:
			assert_int_equal(hs_chmod(c->h, c->d, 0700 | (k * 11 & 077)), 0);
			break;
		default:
			cfs_msg_set(&m, ino, c->d);
			cfs_msg_set(&m, valid, CFS_SET_UID);
			cfs_msg_set(&m, uid, 100 + k);
			assert_int_equal(harness_call(c->h, &m, &r), 0);
			cfs_net_reply_fini(&r);
		}
	}
}

/* Both halves of the directory, the mode and the ACL stay one (harness_check()). */
CFS_TEST_SIM(changed_by_several_at_once)
{
	for (int round = 0; round < 6; round++) {
		struct harness *h = harness_new(&eight);
		struct changer c[3];
		struct cfs_group g;
		uint64_t d = far_dir(h);

		cfs_group_init(&g);
		for (int k = 0; k < 3; k++) {
			c[k] = (struct changer){ .h = h, .d = d, .kind = k };
			assert_int_equal(cfs_group_start(&g, change_run, &c[k]), 0);
		}
		cfs_group_join(&g);
		harness_finish(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_acl_may_be),
		cmocka_unit_test(as_many_entries_as_fit),
		cmocka_unit_test(an_acl_as_a_mode),
		cmocka_unit_test(an_access_acl_sets_the_mode),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(inherited),
		cmocka_unit_test(large_ones),
		cmocka_unit_test(killed_at_every_message),
		cmocka_unit_test(power_cut_at_every_message),
		cmocka_unit_test(changed_by_several_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
