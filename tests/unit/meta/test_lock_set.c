/* The table of locked ranges against a model that keeps each byte of each owner by itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/counts.h"
#include "meta/lock_set.h"

#define OWNERS 4u /* two sessions with two each; as flocks and as others */
#define BYTES 24u
#define LAST (BYTES - 1) /* stands for all up to the end */

static int findings;

static void report(void *ctx, const char *what)
{
	(void)ctx;
	findings++;
	fprintf(stderr, "check: %s\n", what);
}

static uint64_t dice = 42;

static uint32_t roll(uint32_t sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice % sides);
}

/* [is_flock][owner][byte]: a type. */
static uint8_t model[2][OWNERS][BYTES];

static struct cfs_range_lock random_lock(void)
{
	uint32_t owner = roll(OWNERS), a = roll(BYTES), b = roll(BYTES);
	struct cfs_range_lock l = { .session = 1 + owner / 2,
				    .owner = 7 + owner % 2,
				    .type = (uint8_t)roll(3),
				    .is_flock = roll(8) == 0 };

	if (l.is_flock) {
		a = 0;
		b = LAST;
	}
	l.start = a < b ? a : b;
	l.end = a < b ? b : a;
	if (l.end == LAST)
		l.end = CFS_LOCK_END_MAX;
	return l;
}

static uint32_t owner_of(const struct cfs_range_lock *l)
{
	return (uint32_t)((l->session - 1) * 2 + l->owner - 7);
}

static uint32_t byte_of(uint64_t at)
{
	return at == CFS_LOCK_END_MAX ? LAST : (uint32_t)at;
}

static bool model_conflicts(const struct cfs_range_lock *l)
{
	for (uint32_t o = 0; o < OWNERS; o++) {
		for (uint32_t b = (uint32_t)l->start; b <= byte_of(l->end); b++) {
			uint8_t type = model[l->is_flock][o][b];

			if (o != owner_of(l) && type != CFS_LOCK_NONE &&
			    (type == CFS_LOCK_WRITE || l->type == CFS_LOCK_WRITE))
				return true;
		}
	}
	return false;
}

static void model_put(const struct cfs_range_lock *l)
{
	for (uint32_t b = (uint32_t)l->start; b <= byte_of(l->end); b++)
		model[l->is_flock][owner_of(l)][b] = l->type;
}

/* The ranges that the model's bytes make, and that the table has them all and in order. */
static void compare(const struct cfs_lock_set *s)
{
	uint32_t count = 0;

	for (uint32_t kind = 0; kind < 2; kind++) {
		for (uint32_t o = 0; o < OWNERS; o++) {
			for (uint32_t b = 0; b < BYTES; b++) {
				uint8_t type = model[kind][o][b];
				const struct cfs_range_lock *l = &s->locks[count];

				if (type == CFS_LOCK_NONE ||
				    (b > 0 && model[kind][o][b - 1] == type))
					continue;
				assert_true(count < s->count);
				assert_int_equal(owner_of(l), o);
				assert_int_equal(l->is_flock, kind);
				assert_int_equal(l->type, type);
				assert_int_equal(l->start, b);
				while (b < LAST && model[kind][o][b + 1] == type)
					b++;
				assert_int_equal(byte_of(l->end), b);
				count++;
			}
		}
	}
	assert_int_equal(count, s->count);
}

static void as_bytes_would(void **state)
{
	uint64_t steps = cfs_test_count(100000, 3000000);
	struct cfs_lock_set s;
	uint64_t placed = 0, refused = 0;

	(void)state;
	memset(model, CFS_LOCK_NONE, sizeof(model));
	cfs_lock_set_init(&s);
	for (uint64_t n = 0; n < steps; n++) {
		struct cfs_range_lock l = random_lock();
		uint32_t before = s.count, at = 0;
		bool is_same, conflicts;
		int32_t growth;

		growth = cfs_lock_set_growth(&s, &l, &is_same);
		conflicts = l.type != CFS_LOCK_NONE && cfs_lock_set_next(&s, &l, &at);
		assert_int_equal(conflicts, l.type != CFS_LOCK_NONE && model_conflicts(&l));
		if (conflicts) {
			refused++;
			continue;
		}
		placed += !is_same;
		model_put(&l);
		assert_int_equal(cfs_lock_set_put(&s, &l), 0);
		assert_int_equal((int64_t)s.count - before, growth);
		if (is_same)
			assert_int_equal(growth, 0);
		compare(&s);
		/* Applying it twice is applying it once. */
		assert_int_equal(cfs_lock_set_growth(&s, &l, &is_same), 0);
		assert_true(is_same);
		findings = 0;
		cfs_lock_set_check(&s, report, NULL);
		assert_int_equal(findings, 0);
		for (uint64_t session = 1; session <= 2; session++) {
			const struct cfs_range_lock *k = cfs_lock_set_of_session(&s, session);
			bool has = false;

			for (uint32_t o = (uint32_t)(session - 1) * 2; o < session * 2; o++)
				for (uint32_t kind = 0; kind < 2; kind++)
					for (uint32_t b = 0; b < BYTES; b++)
						has |= model[kind][o][b] != CFS_LOCK_NONE;
			assert_int_equal(k != NULL, has);
		}
	}
	assert_true(placed > steps / 10 && refused > steps / 10);
	cfs_lock_set_fini(&s);
}

static struct cfs_range_lock range(uint64_t owner, uint8_t type, uint64_t start, uint64_t end)
{
	return (struct cfs_range_lock){
		.session = 1, .owner = owner, .type = type, .start = start, .end = end
	};
}

static void put(struct cfs_lock_set *s, uint64_t owner, uint8_t type, uint64_t start, uint64_t end)
{
	struct cfs_range_lock l = range(owner, type, start, end);

	assert_int_equal(cfs_lock_set_put(s, &l), 0);
}

/* What an owner holds itself, which F_OFD_GETLK with F_UNLCK asks for. */
static void own_ranges_are_found(void **state)
{
	struct cfs_range_lock ask = range(1, CFS_LOCK_NONE, 15, 30);
	const struct cfs_range_lock *l;
	struct cfs_lock_set s;
	uint32_t at = 0;

	(void)state;
	cfs_lock_set_init(&s);
	put(&s, 1, CFS_LOCK_READ, 0, 9);
	put(&s, 2, CFS_LOCK_READ, 0, CFS_LOCK_END_MAX);
	assert_null(cfs_lock_set_next(&s, &ask, &at));
	put(&s, 1, CFS_LOCK_WRITE, 20, 25);
	at = 0;
	l = cfs_lock_set_next(&s, &ask, &at);
	assert_non_null(l);
	assert_int_equal(l->start, 20);
	assert_int_equal(l->owner, 1);
	assert_true(cfs_lock_set_has_owner(&s, &ask));
	put(&s, 1, CFS_LOCK_NONE, 0, CFS_LOCK_END_MAX);
	assert_false(cfs_lock_set_has_owner(&s, &ask));
	assert_int_equal(s.count, 1);
	cfs_lock_set_fini(&s);
}

/* At the last byte that there is nothing wraps. */
static void the_end_is_the_end(void **state)
{
	struct cfs_lock_set s;

	(void)state;
	cfs_lock_set_init(&s);
	put(&s, 1, CFS_LOCK_WRITE, CFS_LOCK_END_MAX, CFS_LOCK_END_MAX);
	put(&s, 1, CFS_LOCK_WRITE, 0, 0);
	assert_int_equal(s.count, 2);
	put(&s, 1, CFS_LOCK_READ, 1, CFS_LOCK_END_MAX - 1);
	assert_int_equal(s.count, 3);
	put(&s, 1, CFS_LOCK_WRITE, 1, CFS_LOCK_END_MAX - 1);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.locks[0].end, CFS_LOCK_END_MAX);
	cfs_lock_set_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_bytes_would),
		cmocka_unit_test(own_ranges_are_found),
		cmocka_unit_test(the_end_is_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
